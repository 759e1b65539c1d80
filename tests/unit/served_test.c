// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c vmm/loop.c vmm/log.c vmm/unnamed.c */
/* Servers of a disk that lie, stall their words, hang up anywhere, or do not answer. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include "devices/storage/foreign.h"
#include "devices/storage/nbd_wire.h"
#include "vmm/fdpass.h"
#include "vmm/log.h"
#include "foreign_fixture.h"

/* ------------------------------------------------------- servers that lie */

enum lie { TRUE, GARBAGE, WRONG_HANDLE, NO_SUCH_HANDLE, TWICE, SHORT_DATA, ERROR, STRANGE_ERROR, NR_LIES, LATE };

/* The helper and the daemon in one: it answers with connections, each of which breaks off after so many bytes. */
struct liar {
	int control;
	unsigned int cut;	/* bytes until it hangs up; UINT_MAX: never */
	enum lie lie;
	unsigned int cut_from;	/* the connection that it begins with */
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
	at = put_be(at, SIZE, 8);
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

static bool liar_up(struct liar *l)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	l->control = pair[1];
	pthread_create(&l->thread, NULL, lie, l);
	t.img = (struct image){ .fd = AIO_SERVED };
	t.img.served = nbd_disk_adopt(&t.cfg, pair[0]);
	if (!t.img.served)
		close(pair[0]);
	return t.img.served;
}

static void liar_down(struct liar *l)
{
	nbd_disk_close(t.img.served);
	pthread_join(l->thread, NULL);
}

/* Reads, writes and a flush: each ends, well or with an error. Whether all went well. */
static bool try_queue(void)
{
	bool good = true;

	t.loop = loop_new(NULL);
	t.aio = aio_new(t.loop, idle, NULL);
	if (aio_serve_by(t.aio, t.img.served, t.loop)) {
		queue_down();
		return false;
	}
	prepare(0, AIO_READ, 0, 4096);
	prepare(1, AIO_WRITE, 8192, 2048);
	prepare(2, AIO_SYNC, 0, 0);
	prepare(3, AIO_READ, 65536, 512);
	/* This server cannot do it: as on a file system that cannot. */
	prepare(4, AIO_ALLOCATE, 65536, 512);
	run(5);
	for (unsigned int i = 0; i < 5; i++) {
		ck_assert(t.err[i] == 0 || t.err[i] == -EIO || t.err[i] == -ENOSPC || (i == 4 && t.err[i] == -EOPNOTSUPP));
		good &= !t.err[i] || t.err[i] == -EOPNOTSUPP;
	}
	aio_drain(t.aio);
	queue_down();
	return good;
}

#define HANDSHAKE	(18 + 20 + 12 + 20)
#define REPLIES		(4 * 16 + 4096 + 512)

START_TEST(hangs_up)
{
	for (unsigned int cut = 0; cut <= HANDSHAKE + REPLIES; cut += cut < HANDSHAKE + 80 || cut > HANDSHAKE + REPLIES - 80 ? 1 : 97) {
		struct liar l = { .cut = cut, .cut_from = 1 };

		ck_assert(liar_up(&l));
		ck_assert_int_eq(try_queue(), cut >= HANDSHAKE + REPLIES);
		liar_down(&l);
	}
}
END_TEST

START_TEST(hangs_up_at_once)
{
	for (unsigned int cut = 0; cut < HANDSHAKE; cut++) {
		struct liar l = { .cut = cut };

		ck_assert(!liar_up(&l));
		pthread_join(l.thread, NULL);
	}
}
END_TEST

START_TEST(lies)
{
	struct liar l = { .cut = UINT_MAX, .lie = (enum lie)_i };

	ck_assert(liar_up(&l));
	ck_assert_int_eq(try_queue(), _i == TRUE);
	liar_down(&l);
}
END_TEST

START_TEST(lies_to_who_waits)
{
	struct liar l = { .cut = UINT_MAX, .lie = (enum lie)_i };
	int ret;

	ck_assert(liar_up(&l));
	ret = nbd_disk_read(t.img.served, t.data, 4096, 4096) ?: nbd_disk_read(t.img.served, t.data, 4096, 0);
	ck_assert_int_eq(ret, _i == TRUE ? 0 : _i == ERROR ? -ENOSPC : -EIO);
	liar_down(&l);
}
END_TEST

#define LONG	(4U << 20)	/* more than a socket takes */

/*
 * A reset does not wait for a server that does not answer: memory is the guest's again at once.
 * When it does answer, what had begun to go out is whole, and as it was; what the guest wrote later,
 * by whichever queue, comes behind it.
 */
START_TEST(given_up)
{
	struct liar l = { .cut = UINT_MAX, .lie = LATE };
	struct aio *first;

	memset(&late, 0, sizeof(late));
	sem_init(&late.came, 0, 0);
	sem_init(&late.may, 0, 0);
	ck_assert(liar_up(&l));
	queue_up();
	first = t.aio;
	t.aio = aio_new(t.loop, idle, NULL);
	ck_assert_int_eq(aio_serve_by(t.aio, t.img.served, t.loop), 0);
	memset(t.data, 'r', SIZE);
	memset(t.data + 8192, 'w', LONG);
	prepare(0, AIO_READ, 0, 4096);
	prepare(1, AIO_WRITE, 8192, LONG);
	prepare(2, AIO_WRITE, 8192, 512);
	t.left = 100;
	for (unsigned int i = 0; i < 3; i++) {
		t.err[i] = 1;
		aio_add(first, &t.op[i]);
	}
	sem_wait(&late.came);
	aio_cancel(first);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_int_eq(t.err[i], -ECANCELED);
	ck_assert_uint_eq(late.writes, 0);
	memset(t.data, 'n', SIZE);
	prepare(3, AIO_WRITE, 8192, 1024);
	t.err[3] = 1;
	t.left = 1;
	aio_add(t.aio, &t.op[3]);
	/* Nothing of it goes out. */
	ck_assert_int_eq(sem_trywait(&late.came), -1);
	for (unsigned int i = 0; i < 3; i++)
		sem_post(&late.may);
	loop_run(t.loop);
	ck_assert_int_eq(t.err[3], 0);
	ck_assert_uint_eq(late.writes, 2);
	ck_assert(late.write[0].len == LONG && late.write[0].first == 'w' && late.write[0].last == 'w');
	ck_assert(late.write[1].len == 1024 && late.write[1].first == 'n');
	ck_assert(t.data[0] == 'n' && !memcmp(t.data, t.data + 1, SIZE - 1));
	/* And all is as ever; nothing is left but what is nobody's when it ends. */
	prepare(0, AIO_READ, 0, 4096);
	t.left = 100;
	aio_add(first, &t.op[0]);
	aio_cancel(first);
	sem_post(&late.may);
	aio_free(first);
	queue_down();
	liar_down(&l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("served");
	TCase *tc = tcase_create("servers");
	SRunner *sr;
	int failed;

	log_init("test", -2);
	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, given_up);
	tcase_add_test(tc, hangs_up);
	tcase_add_test(tc, hangs_up_at_once);
	tcase_add_loop_test(tc, lies, 0, NR_LIES);
	tcase_add_loop_test(tc, lies_to_who_waits, 0, NR_LIES);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
