/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network Block Device, as far as a disk that moves with its guest needs it: the fixed
 * newstyle handshake by NBD_OPT_GO and simple replies, as the protocol's published
 * document has them (NetworkBlockDevice/nbd, doc/proto.md). The connection is a stream
 * socket that is there already; whoever is at its other end may be anyone.
 *
 * libnbd is not used: with it come GnuTLS and libxml2 into every VMM, 4 MiB of memory a
 * guest that never moves, and in the sandbox nothing can be loaded when it is wanted.
 */
#ifndef HVX_STORAGE_NBD_H
#define HVX_STORAGE_NBD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_MAX_NAME	64U		/* of an export, here */
#define NBD_MAX_DATA	(32U << 20)	/* bytes of a write: the protocol's own bound */
#define NBD_MAX_ZEROES	(1U << 30)	/* bytes that are zeroed by one request of ours */
#define NBD_WINDOW	32U		/* requests of ours under way */

/* ----------------------------------------------------------- server: nbd_server.c */

struct nbd_export {
	const char *name;
	int fd;				/* of a file or a block device, for writing; the caller's */
	uint64_t size;
	/* how far it is; any thread */
	_Atomic bool taken;		/* by a session: there is one each, ever */
	_Atomic bool complete;		/* its client has taken its leave, and all that it wrote is on stable storage */
	_Atomic uint64_t written, zeroed;	/* bytes */
};

struct nbd_server {
	struct nbd_export *export;
	unsigned int nr;
	_Atomic bool stop;		/* give up soon; the sockets are to be shut down as well */
};

/*
 * Speak to the client on sock until it takes its leave or is gone, or breaks the
 * protocol. For writing only: reads are refused. 0: it has taken its leave; else
 * -errno with *why (static). Any thread.
 */
int nbd_serve(struct nbd_server *s, int sock, const char **why);

/* ----------------------------------------------------------- client: nbd_client.c */

struct nbd_client {
	int sock;			/* the caller's */
	uint64_t size;			/* of the export */
	unsigned int flags;		/* NBD_FLAG_*, nbd_wire.h */
	uint32_t max_data;		/* bytes of a write that the server takes */
	uint64_t next;			/* handle of the next request */
	uint64_t handle[NBD_WINDOW];	/* of those under way, by handle % NBD_WINDOW; 0: none */
	unsigned int under_way;
	int error;			/* the first that a request met with, as errno */
	char text[160];			/* of a failure */
};

/*
 * Each: 0; or -errno, and text says why: then the connection is good for nothing more.
 * Requests only begin; what comes of them is known by nbd_flush().
 */
/* The handshake alone: size, flags and max_data are known then, whatever they are. */
int nbd_hello(struct nbd_client *c, int sock, const char *name);
int nbd_open(struct nbd_client *c, int sock, const char *name);
int nbd_write(struct nbd_client *c, uint64_t offset, const void *data, uint32_t len);
/* As holes where the server can. len at most NBD_MAX_ZEROES. */
int nbd_zero(struct nbd_client *c, uint64_t offset, uint32_t len);
/* All requests before it are done, and what they wrote is on stable storage. */
int nbd_flush(struct nbd_client *c);
/* Take leave, after nbd_flush(). */
int nbd_leave(struct nbd_client *c);

#endif
