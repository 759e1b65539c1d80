/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A verb's end of a guest's control socket (docs/control.md): one command at a
 * time, the events that come in between are kept.
 */
#ifndef HVX_CLI_CONTROL_H
#define HVX_CLI_CONTROL_H

#include <json-c/json.h>
#include <stdbool.h>

struct control;

/*
 * Connect to the running guest of that name. NULL with errno: ESRCH no such guest
 * runs (a stale runtime folder was removed); else after no message either.
 */
struct control *control_open(const char *guest);
/* The same, with a message where it fails. */
struct control *control_open_or_say(const char *guest);
void control_close(struct control *c);

/*
 * Send a command and wait for its answer. args is taken, NULL: none. *ret, where
 * ret is not NULL, is the caller's. 0; -1: control_error() says why, errno EPIPE
 * where the VMM is gone, EPROTO where the command failed, ETIMEDOUT.
 */
int control_call(struct control *c, const char *command, struct json_object *args,
		 struct json_object **ret);
/* The same; an error is printed as "hvx: GUEST: why". */
int control_do(struct control *c, const char *command, struct json_object *args,
	       struct json_object **ret);
/* Send a file descriptor along and name it for the next commands ("getfd"). As control_call(). */
int control_send_fd(struct control *c, int fd, const char *name);
/* Of the last call: what failed; and QMP's class of the error, "" where it was none. */
const char *control_error(const struct control *c);
const char *control_error_class(const struct control *c);

/* Answers may take this long, in ms; -1: any time. 60 s from control_open(). */
void control_timeout(struct control *c, int ms);

/*
 * The next event, the caller's; NULL with errno ETIMEDOUT, or EPIPE: the VMM is
 * gone. ms: -1: any time.
 */
struct json_object *control_event(struct control *c, int ms);
int control_fd(const struct control *c);	/* for poll(); control_event(c, 0) then */

#endif
