/* SPDX-License-Identifier: GPL-2.0-only */
/* TLS by GnuTLS, with certificates where libvirt has them. */
#ifndef HVX_CLI_TLS_H
#define HVX_CLI_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* A library of its own, hvx-tls.so: GnuTLS takes more memory than the rest of `hvx`, which stays as long as its guest. */
struct tls_ops {
	/*
	 * TLS 1.2 or later on a connected socket, both sides with certificates of the same
	 * authority; host: whom the peer must be, NULL on the server's side. pki: a folder with
	 * cacert.pem, {server,client}{cert,key}.pem; NULL: libvirt's places. NULL after a message.
	 */
	struct tls *(*start)(int fd, bool server, const char *host, const char *pki);
	/* Whether the certificates that start() takes are there and fit: 0, or -1 after a message. */
	int (*check)(bool server, const char *pki);
	/* As read() and write(); -1 with errno EAGAIN on a non-blocking socket. */
	ssize_t (*read)(struct tls *t, void *buf, size_t len);
	ssize_t (*write)(struct tls *t, const void *buf, size_t len);
	bool (*pending)(const struct tls *t);	/* bytes that poll() does not see */
	void (*bye)(struct tls *t);		/* nothing more will be written */
	void (*free)(struct tls *t);
};

extern const struct tls_ops hvx_tls;		/* tls.c, in the library */
/* It, loaded once. NULL after a message. */
const struct tls_ops *tls_load(void);

#endif
