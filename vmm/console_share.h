/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's console for many: what it says is kept in a ring, and given to each
 * client of the Unix socket RUNTIME_DIR/ID.console from as far back as the ring
 * goes; one of them at a time writes. Beside whatever else the console is
 * connected to.
 *
 * Wire form: the client sends two bytes, its role ('r' reader, 'w' writer where
 * there is none, 'f' writer instead of the one there is) and 'y' or 'n', whether it
 * wants what was said before. The server answers with one byte, 'w' or 'r', the
 * role that it has, and then the console's bytes follow, until either side
 * closes. What a client sends that does not write is dropped. One that takes
 * nothing while the ring goes round misses what was overwritten.
 *
 * All functions: machine lock held.
 */
#ifndef HVX_VMM_CONSOLE_SHARE_H
#define HVX_VMM_CONSOLE_SHARE_H

#include <stddef.h>
#include <stdint.h>

struct console_share;
struct machine;

#define SHARE_RING	(256U << 10)	/* bytes kept */
#define SHARE_CLIENTS	16

struct share_ops {
	size_t (*room)(void *opaque);	/* bytes of input that can be taken now */
	void (*input)(void *opaque, const uint8_t *data, size_t len);
};

/* NULL after a message. Before the sandbox. */
struct console_share *console_share_open(struct machine *m, const char *id, const struct share_ops *ops,
					 void *opaque);
void console_share_close(struct console_share *s);	/* sends what the clients take at once */
void console_share_output(struct console_share *s, const void *buf, size_t len);
void console_share_room(struct console_share *s);	/* room() has grown */

#endif
