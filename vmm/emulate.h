/* SPDX-License-Identifier: GPL-2.0-only */
/* HVX_EXIT_EMULATE: the instruction emulator (emul.h) on this machine's memory and buses. */
#ifndef HVX_VMM_EMULATE_H
#define HVX_VMM_EMULATE_H

#include "machine.h"

/* Execute the exit's instruction. 0, or -ENOSYS: it cannot be. */
int vcpu_emulate(struct vcpu *v, struct hvx_run *run);

#endif
