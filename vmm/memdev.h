/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HVX_VMM_MEMDEV_H
#define HVX_VMM_MEMDEV_H

#include "machine.h"

/* The nth memory device's name, place and requested size into the guest's XML. 0 or -errno after a message. */
int memdev_name(struct machine *m, unsigned int n);
void memdev_pin(struct machine *m, const char *id);	/* the same of one that was plugged in */

#endif
