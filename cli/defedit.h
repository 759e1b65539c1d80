/* SPDX-License-Identifier: GPL-2.0-only */
/* Values in a guest's definition, changed in one step (store.h), the rest left as its author wrote it. */
#ifndef HVX_CLI_DEFEDIT_H
#define HVX_CLI_DEFEDIT_H

#include <libxml/tree.h>
#include <stddef.h>

struct def {
	const char *guest;
	int lock;
	xmlDoc *doc;
	xmlNode *base;		/* paths start here: <domain>, or a device's element */
	char *text;		/* the new definition, after def_check() */
	size_t len;
};

/* What the paths start from. */
enum def_base { DEF_DOMAIN, DEF_DISK, DEF_NIC };

/*
 * Locks and reads the definition. id: a disk's target; an interface's MAC address, or net0,
 * net1, ... 0, or -1 after a message; def_close() it in either case.
 */
int def_open(struct def *d, const char *guest, enum def_base base, const char *id);
/*
 * "a/b" or "a/b[x=y]", of which the last finds, or makes, the <b> whose attribute x is y.
 * attr NULL: the element's text. text NULL: the value goes, and where attr is NULL the element.
 * -1: out of memory.
 */
int def_put(struct def *d, const char *path, const char *attr, const char *text);
/* The value; xmlFree() it. NULL: there is none. */
char *def_get(const struct def *d, const char *path, const char *attr);
/* Is it a good definition? 0, or -1 after messages. */
int def_check(struct def *d);
int def_keep(struct def *d);	/* after def_check(). 0, or -1 after a message */
void def_close(struct def *d);

#endif
