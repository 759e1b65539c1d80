/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libvirt domain XML -> struct domain. Errors go to stderr as
 * "FILE:LINE: <element attr='value'>: what is wrong; what to write instead".
 */
#ifndef HVX_VMM_DOMXML_H
#define HVX_VMM_DOMXML_H

#include "config.h"

#define DOMXML_MAX_FILE (4U << 20)	/* larger files are refused unread */

/* Whole file; fd >= 0 is used instead of opening path. NULL: errors were printed; their number in *errors if not NULL. */
struct domain *domxml_load(const char *path, int fd, int *errors);

#endif
