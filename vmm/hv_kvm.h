/* SPDX-License-Identifier: GPL-2.0-only */
/* What hv_kvm.c (the VM, the run loop) and hv_kvm_state.c (vCPU state) share. */
#ifndef HVX_VMM_HV_KVM_H
#define HVX_VMM_HV_KVM_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "hvxapi.h"

struct kvm_vcpu {
	struct kvm_run *run;
	size_t run_size;
	pid_t tid;		/* of the thread that runs it */
	_Atomic pid_t runner;	/* it is in KVM_RUN; 0: it is not */
	atomic_bool kicked;	/* HVX_EXIT_KICKED is owed */
	atomic_bool extint;	/* level of the 8259's INTR */
	unsigned int done;	/* bytes of the I/O exit that were answered */
	unsigned int part;	/* ... and that userspace is answering now */
};

/* ioctl(), with -errno. */
int kvm_call(int fd, unsigned long request, void *arg);

/* hv_kvm_state.c: operations of hv_kvm */
int kvm_get_state(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size);
int kvm_set_state(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size);
int kvm_get_msrs(struct hv_vcpu *v, struct hvx_msr_entry *e, unsigned int n);
int kvm_set_msrs(struct hv_vcpu *v, const struct hvx_msr_entry *e, unsigned int n);
int kvm_set_cpuid(struct hv_vcpu *v, const struct hvx_cpuid_entry *e, unsigned int n);
/* What a guest can be given: fills info's xcr0, xsave_size, cr4, efer, pv_features. */
int kvm_fill_info(int dev_fd, struct hvx_info *info);

#endif
