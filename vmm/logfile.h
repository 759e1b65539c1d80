/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text files that a guest, or what is said about it, fills: of a limited size, as
 * virtlogd keeps them. A FILE that would become longer than LOGFILE_MAX bytes becomes
 * FILE.0, FILE.0 becomes FILE.1, and so on; the last is dropped.
 *
 * All files are opened at once, as a confined VMM opens none, nor renames any: what is
 * in them moves from one to the next, a piece with each block that comes, as the guest
 * stands still meanwhile; and what comes waits in memory. What else appends to the file, or truncates it,
 * may do so. No locks: one thread at a time.
 */
#ifndef HVX_VMM_LOGFILE_H
#define HVX_VMM_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGFILE_MAX	(2U << 20)
#define LOGFILE_BACKUPS	3

struct logfile;

/*
 * Append to the file, or begin anew, without backups. NULL with errno. What is no regular
 * file, or the caller's own descriptor (/proc/self/fd/N), has no limit. Where a backup cannot
 * be had, what it would hold is dropped: logfile_backups() tells.
 */
struct logfile *logfile_open(const char *path, bool append);
/* How many of LOGFILE_BACKUPS there are; all where there is no limit. */
unsigned int logfile_backups(const struct logfile *f);
/*
 * Collect, and write as a block's worth is there; logfile_flush() writes the rest, however long
 * that takes, and logfile_some() what can be written soon. What finds no
 * room, on a full disk, is left out, and the next is tried again. 0; -errno the first time, once.
 */
int logfile_put(struct logfile *f, const void *data, size_t len);
int logfile_flush(struct logfile *f);
int logfile_some(struct logfile *f);
/* Something waits for logfile_flush() or logfile_some(). */
bool logfile_pending(const struct logfile *f);
/* Bytes that were left out. */
uint64_t logfile_lost(const struct logfile *f);
/* Flushes; removes backups that are empty. NULL is none. */
void logfile_close(struct logfile *f);

/* FILE, FILE.0 and so on as n is 0, 1...: to be freed; NULL: no memory. */
char *logfile_name(const char *path, unsigned int n);

#endif
