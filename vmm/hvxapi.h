/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hypervisor under the VMM: a table of operations in the terms of
 * <uapi/hvx.h>, with two implementations. hv_hvx.c hands each call to hvx.ko and
 * is the only caller of its ioctls; hv_kvm.c does the same by /dev/kvm, for hosts
 * where the module cannot be loaded. All calls return 0 (or an fd / count) or
 * -errno, and log nothing.
 */
#ifndef HVX_VMM_HVXAPI_H
#define HVX_VMM_HVXAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uapi/hvx.h>

struct hv_ops;

struct hv {			/* one VM */
	const struct hv_ops *ops;
	int dev_fd, vm_fd;
	struct hvx_info info;
	void *priv;		/* the implementation's own */
};

struct hv_vcpu {
	int fd;
	struct hvx_run *run;	/* info.run_size bytes */
	struct hv *hv;
	void *priv;
};

/*
 * vcpu_create() sets fd, run and priv; run() is called by one thread, always the
 * same; nmi(), kick(), set_extint() by any thread. What each does, with its
 * errors, is told in docs/api.md under the ioctl of its name; the KVM
 * implementation answers -EOPNOTSUPP where it cannot.
 */
struct hv_ops {
	const char *name;	/* for --accel */
	const char *dev;	/* the device file */
	unsigned int ioc;	/* the type byte of its ioctls, for the system-call filter */

	int (*open)(struct hv *hv, const char *dev, uint32_t vm_flags);	/* HVX_VM_* */
	void (*close)(struct hv *hv);
	int (*set_slot)(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
			void *hva);
	int (*get_dirty)(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first,
			 uint64_t pages, uint64_t *bitmap);
	int (*signal_msi)(struct hv *hv, uint64_t address, uint32_t data);
	int (*irqfd)(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address,
		     uint32_t data);
	int (*ioeventfd)(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len,
			 uint64_t match, int fd);
	int (*get_clock)(struct hv *hv, struct hvx_clock *c);
	int (*set_clock)(struct hv *hv, const struct hvx_clock *c);
	int (*vm_stats)(struct hv *hv, struct hvx_stats *s);

	int (*vcpu_create)(struct hv *hv, uint32_t id, struct hv_vcpu *v);
	void (*vcpu_close)(struct hv_vcpu *v);
	int (*run)(struct hv_vcpu *v);			/* 0, -EINTR, ... */
	int (*get_state)(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size);
	int (*set_state)(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size);
	int (*get_msrs)(struct hv_vcpu *v, struct hvx_msr_entry *e, unsigned int n);
	int (*set_msrs)(struct hv_vcpu *v, const struct hvx_msr_entry *e, unsigned int n);
	int (*set_cpuid)(struct hv_vcpu *v, const struct hvx_cpuid_entry *e, unsigned int n);
	int (*nmi)(struct hv_vcpu *v);
	int (*kick)(struct hv_vcpu *v);
	int (*set_extint)(struct hv_vcpu *v, bool level);
	int (*set_debug)(struct hv_vcpu *v, const struct hvx_debug *d);
	int (*vcpu_stats)(struct hv_vcpu *v, struct hvx_stats *s);
};

extern const struct hv_ops hv_hvx, hv_kvm;

/* The implementation of that name; NULL: there is none. */
const struct hv_ops *hv_named(const char *name);

/* A VM; dev NULL: ops->dev. Where it fails nothing is left open. */
int hv_open(struct hv *hv, const struct hv_ops *ops, const char *dev, uint32_t vm_flags);
void hv_close(struct hv *hv);

int hv_set_slot(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva);
int hv_get_dirty(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first, uint64_t pages, uint64_t *bitmap);
int hv_signal_msi(struct hv *hv, uint64_t address, uint32_t data);
int hv_irqfd(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address, uint32_t data);
int hv_ioeventfd(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len, uint64_t match, int fd);
int hv_get_clock(struct hv *hv, struct hvx_clock *c);
int hv_set_clock(struct hv *hv, const struct hvx_clock *c);	/* HVX_SET_CLOCK */
int hv_vm_stats(struct hv *hv, struct hvx_stats *s);
int hv_vcpu_create(struct hv *hv, uint32_t id, struct hv_vcpu *v);
void hv_vcpu_close(struct hv_vcpu *v);
int hv_run(struct hv_vcpu *v);
int hv_get_state(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size);
int hv_set_state(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size);
int hv_get_msrs(struct hv_vcpu *v, struct hvx_msr_entry *e, unsigned int n);
int hv_set_msrs(struct hv_vcpu *v, const struct hvx_msr_entry *e, unsigned int n);
int hv_set_cpuid(struct hv_vcpu *v, const struct hvx_cpuid_entry *e, unsigned int n);
int hv_nmi(struct hv_vcpu *v);
int hv_kick(struct hv_vcpu *v);
int hv_set_extint(struct hv_vcpu *v, bool level);
int hv_set_debug(struct hv_vcpu *v, const struct hvx_debug *d);
int hv_vcpu_stats(struct hv_vcpu *v, struct hvx_stats *s);

#endif
