// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c vmm/loop.c vmm/log.c vmm/unnamed.c */
/* Servers of a disk that lie, stall their words, hang up anywhere, or do not answer. */
#include <signal.h>
#include "vmm/log.h"
#include "foreign_fixture.h"
#include "liar_fixture.h"

static bool served_up(struct liar *l)
{
	t.img = (struct image){ .fd = AIO_SERVED, .served = liar_up(l, &t.cfg) };
	return t.img.served;
}

static void served_down(struct liar *l)
{
	liar_down(l, t.img.served);
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

		ck_assert(served_up(&l));
		ck_assert_int_eq(try_queue(), cut >= HANDSHAKE + REPLIES);
		served_down(&l);
	}
}
END_TEST

START_TEST(hangs_up_at_once)
{
	for (unsigned int cut = 0; cut < HANDSHAKE; cut++) {
		struct liar l = { .cut = cut };

		ck_assert(!served_up(&l));
		pthread_join(l.thread, NULL);
	}
}
END_TEST

START_TEST(lies)
{
	struct liar l = { .cut = UINT_MAX, .lie = (enum lie)_i };

	ck_assert(served_up(&l));
	ck_assert_int_eq(try_queue(), _i == TRUE);
	served_down(&l);
}
END_TEST

START_TEST(lies_to_who_waits)
{
	struct liar l = { .cut = UINT_MAX, .lie = (enum lie)_i };
	int ret;

	ck_assert(served_up(&l));
	ret = nbd_disk_read(t.img.served, t.data, 4096, 4096) ?: nbd_disk_read(t.img.served, t.data, 4096, 0);
	ck_assert_int_eq(ret, _i == TRUE ? 0 : _i == ERROR ? -ENOSPC : -EIO);
	served_down(&l);
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

	ck_assert(served_up(&l));
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
	served_down(&l);
}
END_TEST

/* ------------------------------------------------------ nobody waits for ever */

static void *hurry_on(void *arg)
{
	sem_wait(&late.came);
	nbd_disk_hurry(arg, clock_now_ns());
	return NULL;
}

/* Whoever waits stops when he is told to, and the answer that comes later is nobody else's. */
START_TEST(not_waited_for)
{
	struct liar l = { .cut = UINT_MAX, .lie = LATE };
	pthread_t thread;

	ck_assert(served_up(&l));
	memset(t.data, 'd', 8192);
	pthread_create(&thread, NULL, hurry_on, t.img.served);
	ck_assert_int_eq(nbd_disk_read(t.img.served, t.data, 4096, 0), -ECANCELED);
	pthread_join(thread, NULL);
	/* As long as that holds; others get their turn, and no more. */
	ck_assert_int_eq(nbd_disk_read(t.img.served, t.data, 4096, 0), -ECANCELED);
	ck_assert_int_eq(nbd_disk_flush(t.img.served), -ECANCELED);
	nbd_disk_hurry(t.img.served, 0);
	sem_post(&late.may);
	sem_post(&late.may);
	ck_assert_int_eq(nbd_disk_read(t.img.served, t.data + 4096, 512, 0), 0);
	ck_assert(t.data[4095] == 'd' && !t.data[4096] && !t.data[4607] && t.data[4608] == 'd');
	served_down(&l);
}
END_TEST

/* A flush has a time; what was given up has none, and cannot be put anywhere. */
START_TEST(no_flush)
{
	struct liar l = { .cut = UINT_MAX, .lie = LATE };

	ck_assert(served_up(&l));
	t.img.served->flush_ms = 50;
	ck_assert_int_eq(nbd_disk_flush(t.img.served), -ETIMEDOUT);
	sem_post(&late.may);
	sem_post(&late.may);
	t.img.served->flush_ms = 600000;
	ck_assert_int_eq(nbd_disk_flush(t.img.served), 0);
	queue_up();
	prepare(0, AIO_WRITE, 0, 4096);
	t.left = 100;
	aio_add(t.aio, &t.op[0]);
	nbd_disk_hurry(t.img.served, clock_now_ns());
	aio_drain(t.aio);
	ck_assert_int_eq(t.err[0], -ECANCELED);
	nbd_disk_hurry(t.img.served, 0);
	aio_drain(t.aio);	/* nothing of it is anybody's */
	ck_assert_int_eq(nbd_disk_flush(t.img.served), -ETIMEDOUT);
	sem_post(&late.may);
	prepare(1, AIO_SYNC, 0, 0);
	t.left = 1;
	sem_post(&late.may);
	aio_add(t.aio, &t.op[1]);
	loop_run(t.loop);
	sem_post(&late.may);
	ck_assert_int_eq(nbd_disk_flush(t.img.served), 0);
	queue_down();
	served_down(&l);
}
END_TEST

/* Its helper does not answer: the image is closed without it. */
START_TEST(deaf_helper)
{
	struct liar l = { .cut = UINT_MAX, .deaf = true };

	ck_assert(served_up(&l));
	t.img.served->order_ms = 50;
	served_down(&l);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, given_up);
	tcase_add_test(tc, not_waited_for);
	tcase_add_test(tc, no_flush);
	tcase_add_test(tc, deaf_helper);
	tcase_add_test(tc, hangs_up);
	tcase_add_test(tc, hangs_up_at_once);
	tcase_add_loop_test(tc, lies, 0, NR_LIES);
	tcase_add_loop_test(tc, lies_to_who_waits, 0, NR_LIES);
}

int main(void)
{
	return foreign_main("served", add);
}
