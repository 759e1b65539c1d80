/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Definitions: DIR/NAME.xml, one for each guest that outlives its run. DIR is
 * $HVX_CONFIG_DIR, else /etc/hvx for root and $XDG_CONFIG_HOME/hvx
 * (~/.config/hvx) for others. A definition appears, changes and goes in one
 * step, on stable storage: whoever reads sees the one before or the one after.
 *
 * A guest's lock is taken for as long as its definition is changed or it is
 * being started; DIR/.lock is held over changes of names.
 */
#ifndef HVX_CLI_STORE_H
#define HVX_CLI_STORE_H

#include <stdbool.h>
#include <stddef.h>

struct domain;

/* DIR, made if it was not there. NULL with errno after a message. Not to be freed. */
const char *store_dir(void);
char *store_path(const char *name);		/* free() it; NULL: no such name can be */
bool store_has(const char *name);
/* fn gets each definition's name and path, in no order, until it returns false. */
void store_each(bool (*fn)(void *opaque, const char *name, const char *path), void *opaque);

/* The XML's text, NUL-terminated; free() it. NULL with errno. */
char *store_read(const char *name, size_t *len);
/*
 * Check text as `hvx validate` does (file: its name in messages) and keep it under the
 * name that it gives. replace false: -1 where there is one. 0 and *name (free() it), or
 * -1 after a message.
 */
int store_define(const char *file, const char *text, size_t len, bool replace, char **name);
/* Keep text, which was checked, under this name. -1 with errno. */
int store_write(const char *name, const char *text, size_t len);
int store_remove(const char *name);		/* -1 with errno */

/*
 * What no other folder of definitions on any host that runs now has: two that are the same
 * are one. -1 with errno.
 */
#define STORE_ID 96
int store_id(char id[STORE_ID]);

/* One hvx at a time. A descriptor to close, or -1 with errno after a message. */
int store_lock(void);

/*
 * The definition of a text: parsed, with warnings to stderr where warn. NULL after
 * messages. domain_free() it. The text's <name> is changed to rename where that is not NULL.
 */
struct domain *store_parse(const char *file, const char *text, size_t len, bool warn);

/* A memfd with the text, at its start; -1 with errno. */
int text_fd(const char *text, size_t len);

/* Is the guest to be started with the host? DIR/autostart/NAME.xml says so. */
bool store_autostart(const char *name);
int store_set_autostart(const char *name, bool on);	/* -1 with errno */

#endif
