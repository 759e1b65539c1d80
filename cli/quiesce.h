/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * File systems of a running guest that stand still for a moment: its agent freezes them.
 * A process of its own freezes and thaws, so that they are thawed however this one ends.
 */
#ifndef HVX_CLI_QUIESCE_H
#define HVX_CLI_QUIESCE_H

#include <stdbool.h>
#include <sys/types.h>

struct quiesce {
	int sock;	/* to that process; it thaws when this is closed */
	pid_t pid;	/* 0: there is none */
};

/* All that the agent freezes is frozen: 0, or -1 after a message; then nothing is, or is going to be. */
int quiesce_begin(struct quiesce *q, const char *guest, const char *agent_sock);
/*
 * Thawed; the guest runs, or has ended. -1 after a message: its agent does not answer, and
 * the other process goes on trying. Not begun is fine.
 */
int quiesce_end(struct quiesce *q, const char *guest);

enum quiesce_guest { QUIESCE_RUNS, QUIESCE_STILL, QUIESCE_GONE };
/* What the guest does: only one that runs can thaw. Tests have their own. */
extern enum quiesce_guest (*quiesce_state)(const char *guest);
/* How long, in ms, the agent may take: to freeze, to thaw, and how long quiesce_end() waits for it all. */
extern int quiesce_freeze_ms, quiesce_thaw_ms, quiesce_end_ms;

#endif
