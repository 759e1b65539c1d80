/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A client of qemu-guest-agent, over the Unix socket of the guest's channel
 * org.qemu.guest_agent.0. The protocol is QEMU's "Guest Agent Protocol
 * Reference": JSON objects, one answer for each command, in order.
 *
 * The guest is not trusted. An answer is bounded in size, depth and time, and
 * every value of it is checked before it is used; after anything that is not an
 * answer to what was asked the connection is given up, and the next call makes a
 * new one, which guest-sync-delimited clears of what was left behind.
 *
 * One client at a time has the channel: it is locked, from agent_open() or
 * the first call after agent_rest(), to agent_rest() or agent_close().
 */
#ifndef HVX_CLI_AGENT_H
#define HVX_CLI_AGENT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_CHUNK	(46U << 10)	/* bytes of one file read or write: its answer fits in the channel's buffer */
#define AGENT_MAX_REPLY	(256U << 10)	/* bytes of one answer; more is a fault of the agent */
#define AGENT_SYNC_MS	10000		/* for the first answer: who is silent so long is not there */
#define AGENT_TIMEOUT_MS 60000		/* for any other, unless told otherwise: the host may be busy with many guests */

enum agent_error {
	AGENT_OK,
	AGENT_GONE,	/* no socket, or the guest ended */
	AGENT_BUSY,	/* somebody else has the channel */
	AGENT_SILENT,	/* no answer in time */
	AGENT_BAD,	/* an answer that is none */
	AGENT_REFUSED,	/* the agent says that it failed, or that it may not */
	AGENT_STOPPED,	/* interrupted: see stop_fd */
};

struct agent {
	char *path;		/* the socket */
	int fd, lock;		/* -1: at rest */
	int stop_fd;		/* readable: an answer is waited for two seconds more at most. -1: none */
	int64_t stop_at;	/* CLOCK_MONOTONIC, ms: when that is over; 0: not begun */
	int timeout_ms;		/* for one answer */
	size_t max_reply;	/* its bytes: AGENT_MAX_REPLY, unless more is asked for */
	char *buf;		/* received, not yet used */
	size_t len, room;
	enum agent_error error;	/* of the last call */
	char text[320];		/* what went wrong, printable, without a newline */
};

/* sync_ms: how long to wait for the first answer. NULL only without memory; else see a->error. */
struct agent *agent_open(const char *path, int sync_ms, int stop_fd);
void agent_close(struct agent *a);
/* Let others have the channel; the next call takes it again. */
void agent_rest(struct agent *a);

/*
 * One command. args (may be NULL) is used up. 0 and the value of "return" in
 * *ret (put it; ret may be NULL), or -1 with a->error.
 */
int agent_call(struct agent *a, const char *command, struct json_object *args, struct json_object **ret);

/* --- agent_ops.c: commands, with their answers checked. 0, or -1 with a->error. --- */

int agent_ping(struct agent *a);
/* mode as fopen(). *handle is the agent's, until agent_file_close(). */
int agent_file_open(struct agent *a, const char *path, const char *mode, int64_t *handle);
/* At most size (<= AGENT_CHUNK) bytes into buf: their number, 0 at the end for now, or -1. */
long agent_file_read(struct agent *a, int64_t handle, void *buf, size_t size);
int agent_file_write(struct agent *a, int64_t handle, const void *buf, size_t size);	/* all of it */
int agent_file_flush(struct agent *a, int64_t handle);
int agent_file_close(struct agent *a, int64_t handle);

struct agent_status {
	bool exited;
	int code;		/* exit code, or 128 and the signal's number */
	char *out, *err;	/* captured, with a NUL added; free() them */
	size_t out_len, err_len;
	bool truncated;
};
/* Start argv in the guest; env NULL: the agent's own. *pid for agent_exec_status(), until that says exited. */
int agent_exec(struct agent *a, char *const argv[], char *const env[], bool capture, int64_t *pid);
int agent_exec_status(struct agent *a, int64_t pid, struct agent_status *st);
void agent_status_free(struct agent_status *st);
/* Both, for something short: waits for its end, at most ms. *st is the caller's to free. */
int agent_exec_wait(struct agent *a, char *const argv[], int ms, struct agent_status *st);
/* mode: "powerdown", "halt" or "reboot". The agent does not answer. */
int agent_shutdown(struct agent *a, const char *mode);
/* The guest's clock to this host's. */
int agent_set_time(struct agent *a);

/* --- base64.c (RFC 4648, with padding) --- */
char *base64_encode(const void *data, size_t len);		/* NULL: no memory */
/* At most max bytes into out: their number, or -1 where text is not base64 or has more. */
long base64_decode(const char *text, size_t len, void *out, size_t max);

#endif
