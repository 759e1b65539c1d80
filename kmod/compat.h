/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels that hvx builds on, one shim each, with the
 * release it is for. Where a header can be asked, ask it: stable updates carry
 * changes back.
 */
#ifndef _HVX_COMPAT_H
#define _HVX_COMPAT_H

#include <linux/version.h>
#include <linux/mmu_notifier.h>

/* 7.2: the *_young callbacks return bool instead of int. */
typedef typeof(((const struct mmu_notifier_ops *)0)->test_young(NULL, NULL, 0)) hvx_young_t;

/* 6.16 renamed the MSR accessors; the old names are gone in 7.x. */
#include <asm/msr.h>
#ifndef rdmsrq
#define rdmsrq(msr, val)	rdmsrl(msr, val)
#define wrmsrq(msr, val)	wrmsrl(msr, val)
#define rdmsrq_safe(msr, p)	rdmsrl_safe(msr, p)
#define wrmsrq_safe(msr, val)	wrmsrl_safe(msr, val)
#endif

#endif
