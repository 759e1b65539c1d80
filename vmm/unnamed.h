/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HVX_VMM_UNNAMED_H
#define HVX_VMM_UNNAMED_H

/*
 * A file in dir without a name, O_RDWR | O_CLOEXEC: nothing is left of it once the
 * last process that has it open is gone, however that ends. -1 with errno.
 */
int open_unnamed(const char *dir);

#endif
