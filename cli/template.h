/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What forks are made from: a file that `hvx save --plain` wrote, or a running guest,
 * which then stands still as their template. Both are opened once, for any number.
 */
#ifndef HVX_CLI_TEMPLATE_H
#define HVX_CLI_TEMPLATE_H

#include <stddef.h>

struct template {
	int state;		/* its saved state */
	int ram;		/* its memory, where that is not in the file; else -1 */
	char *xml;		/* the domain, as it was saved */
	size_t xml_len;
};

/* what: the name of a running guest, or a file. 0, or -1 after a message. */
int template_open(struct template *t, const char *what);
void template_close(struct template *t);
/*
 * The XML of a fork called name (NULL: the template's name and a number): with an
 * UUID of its own, and so with MAC addresses of its own. free() it; NULL after a message.
 */
char *template_xml(const struct template *t, const char *name, size_t *len);
/* The same file at its beginning, read-only, with an offset of its own. -1: errno. */
int template_reopen(int fd);

/* cmd_run.c: a fork of t in the background. An exit status. */
int run_fork(const struct template *t, const char *name, const char *what);

#endif
