/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's share of the host, as <cputune>, <memtune>, <blkiotune> and <numatune> have
 * it: a control group where one can be had (vmm/cgroup.h), and the scheduler's and the
 * memory policy's own calls for what is pinned.
 */
#ifndef HVX_VMM_TUNE_H
#define HVX_VMM_TUNE_H

#include "config.h"

/*
 * Before any thread and guest memory: make the group, move into it, pin the calling
 * thread, from which others inherit. What cannot be done is said, with what to do; it
 * is no error.
 */
void tune_begin(const struct domain *dom);
/* Of a vCPU's thread, of a device's I/O thread: by itself, before the sandbox. */
void tune_vcpu(unsigned int vcpu);
void tune_io_thread(void);
/* Where guest memory comes from: a MPOL_* of these nodes, 0: anywhere. */
int tune_numa(const struct domain *dom, unsigned long nodes[DOM_MAX_HOST_CPUS / 64]);
/* At the end: leave the group and remove it. */
void tune_end(void);

#endif
