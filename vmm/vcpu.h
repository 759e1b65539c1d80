/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HVX_VMM_VCPU_H
#define HVX_VMM_VCPU_H

#include "machine.h"

/* Registers to the log. From the vCPU's thread, or while it is parked. */
void vcpu_dump(struct vcpu *v);

#endif
