/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libvirt domain XML -> struct domain. Errors go to stderr as
 * "FILE:LINE: <element attr='value'>: what is wrong; what to write instead".
 */
#ifndef HVX_VMM_DOMXML_H
#define HVX_VMM_DOMXML_H

#include "config.h"

#define DOMXML_MAX_FILE (4U << 20)	/* larger files are refused unread */

/* Namespace of hvx's own elements: <hvx:debug-exit>, <hvx:module>. */
#define DOMXML_HVX_NS	"urn:hvx:domain:1"

/* <features><hyperv>: bits of domain.features.hyperv_mask. */
enum domxml_hyperv {
	HYPERV_RELAXED		= 1 << 0,
	HYPERV_VAPIC		= 1 << 1,
	HYPERV_SPINLOCKS	= 1 << 2,	/* retries in hyperv_spinlocks */
	HYPERV_VPINDEX		= 1 << 3,
	HYPERV_RUNTIME		= 1 << 4,
	HYPERV_SYNIC		= 1 << 5,
	HYPERV_STIMER		= 1 << 6,
	HYPERV_STIMER_DIRECT	= 1 << 7,
	HYPERV_RESET		= 1 << 8,
	HYPERV_VENDOR_ID	= 1 << 9,	/* name in hyperv_vendor */
	HYPERV_FREQUENCIES	= 1 << 10,
	HYPERV_REENLIGHTENMENT	= 1 << 11,
	HYPERV_TLBFLUSH		= 1 << 12,
	HYPERV_IPI		= 1 << 13,
	HYPERV_EVMCS		= 1 << 14,
	HYPERV_AVIC		= 1 << 15,
	HYPERV_EMSR_BITMAP	= 1 << 16,
	HYPERV_XMM_INPUT	= 1 << 17,
};

/* Whole file; fd >= 0 is used instead of opening path. NULL: errors were printed; their number in *errors if not NULL. */
struct domain *domxml_load(const char *path, int fd, int *errors);

#endif
