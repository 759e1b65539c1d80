/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who connects to `hvx receive`, and what each says first. Each is heard on a thread of its
 * own, for 30 s at most: one that is silent, or slow, holds nobody up. Where too many are, the
 * oldest goes.
 */
#ifndef HVX_CLI_CALLERS_H
#define HVX_CLI_CALLERS_H

#include "wire.h"

struct callers;

/* listener, u and o stay the caller's, and live longer. NULL after a message. */
struct callers *callers_new(int listener, const struct wire_uri *u, const struct wire_options *o);
/* NULL is none. Those that have not been heard are sent away. */
void callers_free(struct callers *all);
/*
 * The next that has been heard: 0, and *w and *hello are the caller's; *hello NULL: it said
 * nothing that can be understood, *why (static) tells. -1: no more can come, after a message;
 * or the peer of `until`, whom they belong to (NULL: nobody), has hung up.
 */
int callers_next(struct callers *all, const struct wire *until, struct wire *w, struct json_object **hello,
		 const char **why);

#endif
