/* SPDX-License-Identifier: GPL-2.0-only */
/* HVX_EXIT_EMULATE, HVX_EXIT_TASK_SWITCH: the emulator (emul.h) on this machine's memory and buses. */
#ifndef HVX_VMM_EMULATE_H
#define HVX_VMM_EMULATE_H

#include "machine.h"

/* Execute the exit's instruction. 0, or -ENOSYS: it cannot be. */
int vcpu_emulate(struct vcpu *v, struct hvx_run *run);
/*
 * Do the exit's task switch. 0; VCPU_SHUTDOWN: it ended in a triple fault, as HVX_EXIT_SHUTDOWN tells of
 * others, and the vCPU is as it was; -ENOSYS: there is none to do; else the errno of a call of the module's.
 */
#define VCPU_SHUTDOWN 1
int vcpu_task_switch(struct vcpu *v, struct hvx_run *run);

#endif
