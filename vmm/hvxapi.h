/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only file that calls ioctls of /dev/hvx is hvxapi.c; this is what it
 * offers. All calls return 0 (or an fd / count) or -errno, and log nothing.
 */
#ifndef HVX_VMM_HVXAPI_H
#define HVX_VMM_HVXAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uapi/hvx.h>

struct hv {			/* one VM */
	int dev_fd, vm_fd;
	struct hvx_info info;
};

struct hv_vcpu {
	int fd;
	struct hvx_run *run;	/* info.run_size bytes */
	struct hv *hv;
};

int hv_open(struct hv *hv, const char *dev, uint32_t vm_flags);
void hv_close(struct hv *hv);
int hv_set_slot(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva);
int hv_get_dirty(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first, uint64_t pages, uint64_t *bitmap);
int hv_signal_msi(struct hv *hv, uint64_t address, uint32_t data);
int hv_irqfd(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address, uint32_t data);
int hv_ioeventfd(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len, uint64_t match, int fd);
int hv_get_clock(struct hv *hv, struct hvx_clock *c);
int hv_set_clock(struct hv *hv, uint64_t ns);
int hv_vm_stats(struct hv *hv, struct hvx_stats *s);

int hv_vcpu_create(struct hv *hv, uint32_t id, struct hv_vcpu *v);
void hv_vcpu_close(struct hv_vcpu *v);
int hv_run(struct hv_vcpu *v);			/* 0, -EINTR, ... */
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
