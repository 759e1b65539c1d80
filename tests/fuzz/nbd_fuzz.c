// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/storage/nbd_*.c vmm/helper.c */
/*
 * libFuzzer: NBD. The first byte says what the others are: a client's bytes, its requests
 * behind a right handshake, a server's bytes, its replies behind a right handshake.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "devices/storage/nbd.h"
#include "devices/storage/nbd_wire.h"

#define SIZE	(64U << 10)	/* of the export; its file goes on behind it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file = -1;

static void feed(int pair[2], const uint8_t *head, size_t head_len, const uint8_t *data, size_t len)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		abort();
	if (head_len && send(pair[0], head, head_len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		abort();
	if (len && send(pair[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		len = 0;
	shutdown(pair[0], SHUT_WR);
}

static void server(const uint8_t *head, size_t head_len, const uint8_t *data, size_t len)
{
	struct nbd_export e = { .name = "vda", .fd = file, .size = SIZE };
	struct nbd_server s = { .export = &e, .nr = 1 };
	uint8_t guard[16];
	const char *why;
	int pair[2];

	feed(pair, head, head_len, data, len);
	if (nbd_serve(&s, pair[1], &why) && e.complete)
		abort();
	/* Nobody gets behind the export. */
	if (lseek(file, 0, SEEK_END) != SIZE + sizeof(guard) ||
	    pread(file, guard, sizeof(guard), SIZE) != sizeof(guard) || memcmp(guard, "guard guard guar", sizeof(guard)))
		abort();
	close(pair[0]);
	close(pair[1]);
}

static void client(const uint8_t *head, size_t head_len, const uint8_t *data, size_t len)
{
	static const uint8_t bytes[4096];
	struct nbd_client c;
	int pair[2], ret;

	feed(pair, head, head_len, data, len);
	ret = nbd_open(&c, pair[1], "vda") ?: nbd_write(&c, 0, bytes, sizeof(bytes)) ?: nbd_zero(&c, 4096, 65536) ?:
	      nbd_flush(&c) ?: nbd_leave(&c);
	if (ret > 0 || (ret && !c.text[0]))
		abort();
	close(pair[0]);
	close(pair[1]);
}

static size_t hello_client(uint8_t *to)
{
	uint8_t *at = to;

	at = put_be(at, 3, 4);
	at = put_be(at, NBD_OPT_MAGIC, 8);
	at = put_be(at, NBD_OPT_GO, 4);
	at = put_be(at, 9, 4);
	at = put_be(at, 3, 4);
	memcpy(at, "vda", 3);
	return (size_t)(put_be(at + 3, 0, 2) - to);
}

static size_t hello_server(uint8_t *to)
{
	uint8_t *at = to;

	at = put_be(put_be(put_be(at, NBD_MAGIC, 8), NBD_OPT_MAGIC, 8), 3, 2);
	at = put_be(put_be(put_be(put_be(at, NBD_REP_MAGIC, 8), NBD_OPT_GO, 4), NBD_REP_INFO, 4), 12, 4);
	at = put_be(put_be(put_be(at, NBD_INFO_EXPORT, 2), SIZE, 8), 0x45, 2);
	return (size_t)(put_be(put_be(put_be(put_be(at, NBD_REP_MAGIC, 8), NBD_OPT_GO, 4), NBD_REP_ACK, 4), 0, 4) - to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t head[128];

	signal(SIGPIPE, SIG_IGN);
	if (file < 0) {
		file = memfd_create("fuzz", MFD_CLOEXEC);
		if (pwrite(file, "guard guard guar", 16, SIZE) != 16)
			abort();
	}
	if (!size || size > 65536)
		return 0;
	switch (data[0] & 3) {
	case 0:
		server(NULL, 0, data + 1, size - 1);
		break;
	case 1:
		server(head, hello_client(head), data + 1, size - 1);
		break;
	case 2:
		client(NULL, 0, data + 1, size - 1);
		break;
	default:
		client(head, hello_server(head), data + 1, size - 1);
		break;
	}
	return 0;
}
