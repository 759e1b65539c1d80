/* SPDX-License-Identifier: GPL-2.0-only */
/* Libvirt's <domainsnapshot>, of a snapshot that is to be made. */
#ifndef HVX_CLI_SNAPXML_H
#define HVX_CLI_SNAPXML_H

#include <stdbool.h>
#include <stddef.h>

struct domain;

struct snap_xml {
	char *name, *description;	/* NULL: not said */
	bool no_memory;
	bool memory;			/* its memory, in so many words */
};

/*
 * dom: the guest, whose disks may be named. What hvx cannot do as it is asked for is an error.
 * 0, or -1 after messages with file and line. snap_xml_free() it in any case.
 */
int snap_xml_parse(struct snap_xml *x, const char *file, const char *text, size_t len, const struct domain *dom);
void snap_xml_free(struct snap_xml *x);

#endif
