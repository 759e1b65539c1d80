/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What forks are made from: a file that `hvx save --plain` wrote, or a running guest,
 * which then stands still as their template. Both are opened once, for any number.
 */
#ifndef HVX_CLI_TEMPLATE_H
#define HVX_CLI_TEMPLATE_H

#include <stddef.h>
#include "rundir.h"

struct template {
	int state;		/* its saved state */
	int ram;		/* its memory, where that is not in the file; else -1 */
	char *xml;		/* the domain, as it was saved */
	size_t xml_len;
	unsigned int last;	/* number of the last fork without a name of its own; 0: none yet */
};

/* what: the name of a running guest, or a file. 0, or -1 after a message. */
int template_open(struct template *t, const char *what);
void template_close(struct template *t);
/*
 * The template's name and the first number that no running guest has, with the runtime
 * folder of that name. free() it; NULL after a message.
 */
char *template_claim(struct template *t, struct rundir *dir);
/* The template's name and our process's number. free() it; NULL: no memory. */
char *template_name(const struct template *t);
/*
 * The XML of a fork called name: with an UUID of its own, and so with MAC addresses of its
 * own. free() it; NULL after a message.
 */
char *template_xml(const struct template *t, const char *name, size_t *len);
/* The same file at its beginning, read-only, with an offset of its own. -1: errno. */
int template_reopen(int fd);

/*
 * cmd_run.c: count forks of t in the background, the only one called name, where that is not
 * NULL. begun() is called for each that runs, in order; it returns an exit status. The first bad
 * exit status.
 */
int run_forks(struct template *t, const char *what, const char *name, unsigned int count,
	      int (*begun)(void *opaque, const char *name), void *opaque);

#endif
