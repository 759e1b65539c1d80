/* SPDX-License-Identifier: GPL-2.0-only */
/* Small changes to a domain's XML that leave the rest as its author wrote it. */
#ifndef HVX_CLI_XMLEDIT_H
#define HVX_CLI_XMLEDIT_H

#include <libxml/tree.h>
#include <stddef.h>
#include <stdint.h>

xmlDoc *xmledit_open(const char *text, size_t len);	/* NULL after a message; xmlFreeDoc() it */
char *xmledit_text(xmlDoc *doc, size_t *len);		/* free() it; NULL: out of memory */
/* The text of a child of <domain>, which is made where it is not there (<uuid> after <name>). */
void xmledit_set(xmlDoc *doc, const char *child, const char *text);
void xmledit_set_uuid(xmlDoc *doc, const uint8_t uuid[16]);
/* Paths that are relative to the folder of `file` in full. -1 after a message. */
int xmledit_absolute(xmlDoc *doc, const char *file);
/* Take the MAC addresses out: others are made from the UUID. */
void xmledit_drop_macs(xmlDoc *doc);
/* Every <source file=> of a disk that is `from` becomes `to`. */
void xmledit_move_disk(xmlDoc *doc, const char *from, const char *to);
/* The disk with this <target dev=>, where it is one of layers: the raw image under them alone. */
void xmledit_flatten_disk(xmlDoc *doc, const char *target);

#endif
