/* SPDX-License-Identifier: GPL-2.0-only */
/* HVX_EXIT_EMULATE, HVX_EXIT_TASK_SWITCH: the emulator (emul.h) on this machine's memory and buses. */
#ifndef HVX_VMM_EMULATE_H
#define HVX_VMM_EMULATE_H

#include "machine.h"

/* Execute the exit's instruction. 0, or -ENOSYS: it cannot be. */
int vcpu_emulate(struct vcpu *v, struct hvx_run *run);
/* Do the exit's task switch. 0; -ENOSYS: there is none to do; -EIO: the guest has shut down (triple fault). */
int vcpu_task_switch(struct vcpu *v, struct hvx_run *run);

#endif
