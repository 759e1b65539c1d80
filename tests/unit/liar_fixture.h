/* SPDX-License-Identifier: GPL-2.0-only */
/* Servers of a disk that lie, stall their words, hang up anywhere, or do not answer. */
#ifndef HVX_TESTS_LIAR_FIXTURE_H
#define HVX_TESTS_LIAR_FIXTURE_H

#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "devices/storage/foreign.h"
#include "devices/storage/nbd_disk.h"
#include "devices/storage/nbd_wire.h"
#include "vmm/fdpass.h"

#define LIAR_SIZE	(8U << 20)	/* bytes of its disk, all zero */

enum lie { TRUE, GARBAGE, WRONG_HANDLE, NO_SUCH_HANDLE, TWICE, SHORT_DATA, ERROR, STRANGE_ERROR, NR_LIES, LATE };

/* The helper and the daemon in one: it answers with connections, each of which breaks off after so many bytes. */
struct liar {
	int control;
	unsigned int cut;	/* bytes until it hangs up; UINT_MAX: never */
	enum lie lie;
	unsigned int cut_from;	/* the connection that it begins with */
	bool deaf;		/* it does not answer when it is to close the image */
	pthread_t thread;
};

struct session {
	int sock;
	unsigned int left;
	enum lie lie;
};

/* LATE: requests come in, and are answered when they may; what was written, in the order in which it came. */
static struct {
	sem_t came, may;
	_Atomic unsigned int writes;
	struct { uint64_t offset; uint32_t len; uint8_t first, last; } write[4];
} late;

static bool say(struct session *s, const void *data, size_t len)
{
	size_t n = len < s->left ? len : s->left;

	if (n && send(s->sock, data, n, MSG_NOSIGNAL) != (ssize_t)n)
		return false;
	if (s->left != UINT_MAX)
		s->left -= (unsigned int)n;
	return n == len;
}

static bool greet(struct session *s)
{
	uint8_t b[64], *at = b;
	char in[256];

	at = put_be(at, NBD_MAGIC, 8);
	at = put_be(at, NBD_OPT_MAGIC, 8);
	at = put_be(at, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
	if (!say(s, b, 18) || sock_get(s->sock, in, 4 + 16 + 4 + 4 + 2 + 2))
		return false;
	at = put_be(b, NBD_REP_MAGIC, 8);
	at = put_be(at, NBD_OPT_GO, 4);
	at = put_be(at, NBD_REP_INFO, 4);
	at = put_be(at, 12, 4);
	at = put_be(at, NBD_INFO_EXPORT, 2);
	at = put_be(at, LIAR_SIZE, 8);
	at = put_be(at, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH, 2);
	if (!say(s, b, (size_t)(at - b)))
		return false;
	at = put_be(b, NBD_REP_MAGIC, 8);
	at = put_be(at, NBD_OPT_GO, 4);
	at = put_be(at, NBD_REP_ACK, 4);
	at = put_be(at, 0, 4);
	return say(s, b, (size_t)(at - b));
}

static bool reply(struct session *s, const uint8_t *request)
{
	unsigned int cmd = (unsigned int)get_be(request + 6, 2);
	uint64_t handle = get_be(request + 8, 8);
	uint32_t len = (uint32_t)get_be(request + 24, 4);
	uint8_t b[16], *at, *data = calloc(1, len ? len : 1);
	bool good, has_data = cmd == NBD_CMD_READ && s->lie != ERROR && s->lie != STRANGE_ERROR;

	if (s->lie == LATE) {
		sem_post(&late.came);
		sem_wait(&late.may);
	}
	good = cmd != NBD_CMD_WRITE || !sock_get(s->sock, data, len);
	if (s->lie == LATE && cmd == NBD_CMD_WRITE && good && late.writes < 4) {
		late.write[late.writes].offset = get_be(request + 16, 8);
		late.write[late.writes].len = len;
		late.write[late.writes].first = data[0];
		late.write[late.writes++].last = data[len - 1];
	}
	at = put_be(b, s->lie == GARBAGE ? 0x6e6f6e73 : NBD_SIMPLE_REPLY_MAGIC, 4);
	at = put_be(at, s->lie == ERROR ? NBD_ENOSPC : s->lie == STRANGE_ERROR ? 0xdeadbeef : 0, 4);
	put_be(at, s->lie == WRONG_HANDLE ? handle + 1 : s->lie == NO_SUCH_HANDLE ? ~0ULL : handle, 8);
	good = good && say(s, b, 16) && (!has_data || say(s, data, s->lie == SHORT_DATA ? len / 2 : len)) &&
	       s->lie != SHORT_DATA && (s->lie != TWICE || say(s, b, 16));
	free(data);
	return good;
}

static void *serve(void *arg)
{
	struct session *s = arg;
	uint8_t request[NBD_REQUEST_LEN];

	if (greet(s))
		while (!sock_get(s->sock, request, sizeof(request)) && reply(s, request))
			;
	shutdown(s->sock, SHUT_RDWR);
	close(s->sock);
	free(s);
	return NULL;
}

static void *lie(void *arg)
{
	struct liar *l = arg;
	pthread_t thread[8];
	unsigned int n = 0;
	char order;

	while (n < 8 && recv(l->control, &order, 1, 0) == 1) {
		struct session *s = malloc(sizeof(*s));
		char answer = FOREIGN_OK;
		int pair[2];

		if (order == FOREIGN_CLOSE) {
			free(s);
			if (!l->deaf)
				send(l->control, &answer, 1, MSG_NOSIGNAL);
			continue;
		}
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
			abort();
		*s = (struct session){ pair[0], n >= l->cut_from ? l->cut : UINT_MAX, l->lie };
		pthread_create(&thread[n++], NULL, serve, s);
		fd_send(l->control, &answer, 1, pair[1], 0);
		close(pair[1]);
	}
	while (n--)
		pthread_join(thread[n], NULL);
	close(l->control);
	return NULL;
}

/* NULL: no disk came of it, and it has ended. */
static inline struct nbd_disk *liar_up(struct liar *l, const struct dom_disk *cfg)
{
	struct nbd_disk *d;
	int pair[2];

	memset(&late, 0, sizeof(late));
	sem_init(&late.came, 0, 0);
	sem_init(&late.may, 0, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	l->control = pair[1];
	pthread_create(&l->thread, NULL, lie, l);
	d = nbd_disk_adopt(cfg, pair[0]);
	if (!d)
		close(pair[0]);
	return d;
}

static inline void liar_down(struct liar *l, struct nbd_disk *d)
{
	nbd_disk_close(d);
	pthread_join(l->thread, NULL);
}

#endif
