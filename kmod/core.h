/* SPDX-License-Identifier: GPL-2.0-only */
/* What main.c, dev.c, vm.c and vcpu.c offer to each other only. */
#ifndef _HVX_CORE_H
#define _HVX_CORE_H

#include "backend.h"

/* main.c */
bool hvx_cpu_ready(void);	/* this CPU's extension is ours; preemption off */
int hvx_hw_get(void);		/* one per VM */
void hvx_hw_put(void);

/*
 * A row of an ioctl table. The dispatcher copies the argument structure in
 * (and out for _IOR/_IOWR) by the command's size; `fn` sees a kernel copy, or
 * for _IO commands NULL and the plain argument.
 */
struct hvx_ioctl {
	unsigned int cmd;
	unsigned int flags;
	int (*fn)(void *obj, void *buf, unsigned long arg);
};
#define HVX_IOCTL_VM_LOCK	(1U << 0)	/* dispatcher takes vm->lock */
#define HVX_IOCTL_VCPU_LOCK	(1U << 1)	/* dispatcher takes vcpu->lock */

/* dev.c */
int hvx_dev_register(void);
void hvx_dev_unregister(void);
long hvx_dispatch(const struct hvx_ioctl *row, void *obj, struct mutex *lock, unsigned long arg);
const struct hvx_ioctl *hvx_find_ioctl(const struct hvx_ioctl *table, unsigned int n, unsigned int cmd);
bool hvx_all_zero(const void *p, size_t n);	/* reserved fields */
int hvx_get_cpuid_table(const struct hvx_cpuid *arg, struct hvx_cpuid_entry **out);	/* kvmalloc()ed copy */

/* vm.c */
int hvx_vm_create(const struct hvx_create_vm *arg);	/* fd */

/* vcpu.c */
int hvx_vcpu_setup(void);
void hvx_vcpu_teardown(void);
int hvx_vcpu_create(struct hvx_vm *vm, unsigned long id);	/* fd; vm->lock held */
void hvx_vcpu_destroy(struct hvx_vcpu *vcpu);			/* nobody knows of it any more */
long hvx_vcpu_run(struct hvx_vcpu *vcpu);			/* vcpu->lock held */
bool hvx_vcpu_has_work(struct hvx_vcpu *vcpu);

#endif
