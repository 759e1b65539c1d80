/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HVX_VMM_TRIM_H
#define HVX_VMM_TRIM_H

/* Give back the memory that only setting up needed. Once, before the guest runs. */
void trim_memory(void);

#endif
