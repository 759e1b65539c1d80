/* SPDX-License-Identifier: GPL-2.0-only */
/* Copies between this host and a guest, through its agent. */
#ifndef HVX_CLI_COPY_H
#define HVX_CLI_COPY_H

#include "agent.h"

/* --- progress.c: a line on standard error with percent, rate and time left --- */
struct progress {
	bool quiet, always;	/* never; where standard error is no terminal, too (a line each ten percent) */
	const char *what;
	uint64_t total, done;	/* bytes; total 0: not known */
	int64_t start_ms, shown_ms;
	unsigned int tenth;
	bool on_line;
};
void progress_begin(struct progress *p, const char *what, uint64_t total);
void progress_add(struct progress *p, uint64_t bytes);
void progress_set(void *p, uint64_t done);	/* struct progress */
void progress_end(struct progress *p, bool ok);

/* --- cmd_cp.c --- */
struct copy {
	struct agent *a;
	int signals;		/* signalfd; -1 */
	struct progress progress;
};
/* As cp -r: where dst is a folder, into it. 0, -1 after a message, 1: told to stop. */
int copy_in(struct copy *c, const char *from, const char *dst);
int copy_out(struct copy *c, const char *path, const char *dst);

#endif
