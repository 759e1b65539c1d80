/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The storage daemon's monitor (QMP, QEMU's docs/interop/qmp-spec.rst), for its helper. The
 * daemon is not trusted: what it says has bounds, and nothing is done because it says so.
 */
#ifndef HVX_STORAGE_IMAGE_QMP_H
#define HVX_STORAGE_IMAGE_QMP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define IMAGE_QMP_LINE	(64U << 10)	/* bytes of one message, at most */

struct image_qmp {
	int sock;			/* -1: there is none */
	bool greeted;
	int serial;			/* of the last command */
	size_t len;			/* of what has come of a message */
	char line[IMAGE_QMP_LINE];
	bool (*wait)(void);		/* until sock can be read; false: give up */
};

/*
 * A command, its arguments (they go), and the event that must come too before it is done
 * (NULL: none). False with why: the daemon's words, or what is wrong with them.
 */
bool image_qmp_call(struct image_qmp *q, const char *command, struct json_object *args, const char *event,
		    char *why, size_t size);

#endif
