// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/console_share.c vmm/loop.c vmm/log.c */
/* A console for many: what was missed, who may write, clients that are slow or gone. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/console_share.h"
#include "vmm/machine.h"

static struct machine m;
static struct console_share *share;
static char dir[64];
static pthread_t thread;

/* The device: under the lock. */
static uint8_t got[4096];
static size_t got_len, room;

static size_t dev_room(void *opaque)
{
	(void)opaque;
	return room;
}

static void dev_input(void *opaque, const uint8_t *data, size_t len)
{
	(void)opaque;
	ck_assert_uint_le(len, room);
	memcpy(got + got_len, data, len);
	got_len += len;
	room -= len;
}

static const struct share_ops ops = { .room = dev_room, .input = dev_input };

static void *loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void setup(void)
{
	memset(&m, 0, sizeof(m));
	got_len = 0;
	room = sizeof(got);
	pthread_mutex_init(&m.lock, NULL);
	snprintf(dir, sizeof(dir), "/tmp/hvx-share.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	m.runtime_dir = dir;
	m.loop = loop_new(&m.lock);
	share = console_share_open(&m, "serial0", &ops, NULL);
	ck_assert_ptr_nonnull(share);
	pthread_create(&thread, NULL, loop_thread, m.loop);
}

static void teardown(void)
{
	loop_stop(m.loop);
	pthread_join(thread, NULL);
	console_share_close(share);
	loop_free(m.loop);
	ck_assert_int_eq(rmdir(dir), 0);	/* the socket is gone */
}

static void output(const void *text, size_t len)
{
	pthread_mutex_lock(&m.lock);
	console_share_output(share, text, len);
	pthread_mutex_unlock(&m.lock);
}

static int client(const char *hello)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/serial0.console", dir);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	send(fd, hello, strlen(hello), MSG_NOSIGNAL);	/* it may have been hung up on */
	return fd;
}

/* The next byte; -1: hung up. 20 s are a guard. */
static int byte(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned char c;

	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	return recv(fd, &c, 1, 0) == 1 ? c : -1;
}

static void expect(int fd, const char *text)
{
	for (; *text; text++)
		ck_assert_int_eq(byte(fd), *text);
}

static void wait_got(const char *text)
{
	for (int i = 0; i < 20000; i++) {
		bool done;

		pthread_mutex_lock(&m.lock);
		done = got_len == strlen(text) && !memcmp(got, text, got_len);
		pthread_mutex_unlock(&m.lock);
		if (done)
			return;
		usleep(1000);
	}
	ck_abort_msg("the device did not get %s", text);
}

START_TEST(history_and_more)
{
	int a, b, c;

	output("before\n", 7);
	a = client("ry");
	expect(a, "rbefore\n");
	b = client("rn");
	expect(b, "r");
	output("after", 5);
	expect(a, "after");
	expect(b, "after");
	c = client("ry");
	expect(c, "rbefore\nafter");
	close(a);
	close(b);
	close(c);
}
END_TEST

START_TEST(one_writes)
{
	int a = client("wn"), b, c;

	expect(a, "w");
	b = client("wn");
	expect(b, "r");
	send(b, "ignored", 7, 0);
	send(a, "typed", 5, 0);
	wait_got("typed");
	/* Taken over: the first one looks on. */
	c = client("fn");
	expect(c, "w");
	send(a, "ignored", 7, 0);
	send(c, "!", 1, 0);
	wait_got("typed!");
	output("x", 1);
	expect(a, "x");
	expect(b, "x");
	close(c);
	close(b);
	/* The place is free again. */
	for (int i = 0; i < 1000; i++) {
		b = client("wn");
		if (byte(b) == 'w')
			break;
		close(b);
		usleep(1000);
	}
	send(b, "?", 1, 0);
	wait_got("typed!?");
	close(a);
	close(b);
}
END_TEST

/* The device has no room: input waits, and is not lost. */
START_TEST(no_room)
{
	int a;

	room = 3;
	a = client("wn");
	expect(a, "w");
	send(a, "abcdef", 6, 0);
	wait_got("abc");
	pthread_mutex_lock(&m.lock);
	room = 100;
	console_share_room(share);
	pthread_mutex_unlock(&m.lock);
	wait_got("abcdef");
	close(a);
}
END_TEST

/* Far behind: it misses what was overwritten, from the beginning of a line. */
START_TEST(slow)
{
	char line[64];
	int a = client("rn"), n, last = -1, c, lines = 0;

	expect(a, "r");
	for (int i = 0; i < 60000; i++) {
		n = snprintf(line, sizeof(line), "%09d\n", i);
		output(line, (size_t)n);
	}
	/* Nothing was taken meanwhile: what the socket held, a gap, the ring. */
	while (last != 59999) {
		int v = 0;

		for (n = 0; (c = byte(a)) != '\n'; n++)
			v = (int)((v * 10LL + (c - '0')) % 1000000000);	/* a line that was cut is joined to the next */
		ck_assert_msg(v > last, "%d after %d", v, last);
		last = v;
		lines++;
	}
	ck_assert_int_lt(lines, 60000);
	ck_assert_int_gt(lines, 20000);
	close(a);
}
END_TEST

START_TEST(hostile)
{
	int fd[SHARE_CLIENTS + 4], a;

	/* Nonsense is hung up on. */
	a = client("xy");
	ck_assert_int_eq(byte(a), -1);
	close(a);
	a = client("rx");
	ck_assert_int_eq(byte(a), -1);
	close(a);
	/* Half a greeting, for ever; more of them than there are places. */
	for (int i = 0; i < SHARE_CLIENTS + 4; i++)
		fd[i] = client("w");
	ck_assert_int_eq(byte(fd[SHARE_CLIENTS + 3]), -1);
	output("alive\n", 6);
	for (int i = 0; i < SHARE_CLIENTS + 4; i++)
		close(fd[i]);
	for (int i = 0; i < 1000; i++) {
		a = client("ry");
		if (byte(a) == 'r')
			break;
		close(a);
		usleep(1000);
	}
	expect(a, "alive\n");
	close(a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("share");
	TCase *tc = tcase_create("share");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, history_and_more);
	tcase_add_test(tc, one_writes);
	tcase_add_test(tc, no_room);
	tcase_add_test(tc, slow);
	tcase_add_test(tc, hostile);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
