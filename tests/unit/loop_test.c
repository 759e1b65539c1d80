// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/loop.c */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/loop.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct loop *loop;
static int pipe_a[2], pipe_b[2];
static char order[64];

static void note(char c)
{
	size_t n = strlen(order);

	ck_assert_uint_lt(n, sizeof(order) - 1);
	order[n] = c;
}

static void setup(void)
{
	memset(order, 0, sizeof(order));
	ck_assert_int_eq(pipe(pipe_a), 0);
	ck_assert_int_eq(pipe(pipe_b), 0);
	loop = loop_new(&lock);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	loop_free(loop);
	close(pipe_a[0]);
	close(pipe_a[1]);
	close(pipe_b[0]);
	close(pipe_b[1]);
}

static void stop_cb(void *opaque)
{
	(void)opaque;
	note('!');
	loop_stop(loop);
}

/* --- descriptors --- */

static struct loop_fd *watch_a, *watch_b;

static void read_a(void *opaque, uint32_t events)
{
	char c;

	ck_assert_ptr_eq(opaque, order);
	ck_assert(events & EPOLLIN);
	ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
	ck_assert_int_eq(read(pipe_a[0], &c, 1), 1);
	note(c);
	if (c == 'z')
		loop_stop(loop);
}

START_TEST(descriptors)
{
	watch_a = loop_add_fd(loop, pipe_a[0], EPOLLIN, read_a, order);
	ck_assert_ptr_nonnull(watch_a);
	ck_assert_int_eq(write(pipe_a[1], "xyz", 3), 3);
	loop_run(loop);
	ck_assert_str_eq(order, "xyz");
	/* Masked: the timer ends it. */
	loop_mod_fd(watch_a, 0);
	ck_assert_int_eq(write(pipe_a[1], "q", 1), 1);
	loop_timer_set(loop_add_timer(loop, stop_cb, NULL), clock_now_ns() + 1000000);
	loop_run(loop);
	ck_assert_str_eq(order, "xyz!");
}
END_TEST

/* Of two that are ready at once, the first removes the other: that must not run. */
static void remove_other(void *opaque, uint32_t events)
{
	struct loop_fd **other = opaque;

	(void)events;
	note('r');
	loop_del_fd(*other);
	loop_stop(loop);
}

START_TEST(removed_while_ready)
{
	watch_a = loop_add_fd(loop, pipe_a[0], EPOLLIN, remove_other, &watch_b);
	watch_b = loop_add_fd(loop, pipe_b[0], EPOLLIN, remove_other, &watch_a);
	ck_assert_int_eq(write(pipe_a[1], "1", 1), 1);
	ck_assert_int_eq(write(pipe_b[1], "1", 1), 1);
	loop_run(loop);
	ck_assert_str_eq(order, "r");
}
END_TEST

START_TEST(not_pollable)
{
	char path[] = "/tmp/hvx-loop.XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	errno = 0;
	ck_assert_ptr_null(loop_add_fd(loop, fd, EPOLLIN, read_a, NULL));
	ck_assert_int_eq(errno, EPERM);
	close(fd);
	loop_del_fd(NULL);
	loop_del_timer(NULL);
}
END_TEST

/* --- timers --- */

static void note_cb(void *opaque)
{
	note(*(char *)opaque);
}

START_TEST(timer_order)
{
	char a = 'a', b = 'b', c = 'c';
	struct loop_timer *ta = loop_add_timer(loop, note_cb, &a);
	struct loop_timer *tb = loop_add_timer(loop, note_cb, &b);
	struct loop_timer *tc = loop_add_timer(loop, note_cb, &c);
	uint64_t now = clock_now_ns();

	loop_timer_set(ta, now + 20000000);
	loop_timer_set(tb, now + 5000000);	/* earlier than what is armed */
	loop_timer_set(tc, now + 10000000);
	loop_timer_set(tc, 0);			/* disarmed */
	loop_timer_set(loop_add_timer(loop, stop_cb, NULL), now + 30000000);
	loop_run(loop);
	ck_assert_str_eq(order, "ba!");
	ck_assert_uint_ge(clock_now_ns(), now + 30000000);
	/* So it is where all of them are due when the loop comes to them. */
	memset(order, 0, sizeof(order));
	loop_timer_set(ta, now + 2);
	loop_timer_set(tb, now + 1);
	loop_timer_set(tc, now + 3);
	loop_timer_set(loop_add_timer(loop, stop_cb, NULL), now + 4);
	loop_run(loop);
	ck_assert_str_eq(order, "bac!");
	loop_del_timer(ta);
	loop_del_timer(tb);
	loop_del_timer(tc);
}
END_TEST

/* One that sets itself into the past again and again leaves room for others. */
static struct loop_timer *greedy;

static void greedy_cb(void *opaque)
{
	unsigned int *n = opaque;

	(*n)++;
	loop_timer_set(greedy, 1);
}

START_TEST(greedy_timer)
{
	unsigned int n = 0;

	greedy = loop_add_timer(loop, greedy_cb, &n);
	loop_timer_set(greedy, 1);
	watch_a = loop_add_fd(loop, pipe_a[0], EPOLLIN, read_a, order);
	ck_assert_int_eq(write(pipe_a[1], "z", 1), 1);
	loop_run(loop);
	ck_assert_str_eq(order, "z");
	ck_assert_uint_gt(n, 0);
}
END_TEST

/* A timer that deletes itself. */
static void suicidal_cb(void *opaque)
{
	loop_del_timer(*(struct loop_timer **)opaque);
	note('d');
	loop_stop(loop);
}

START_TEST(timer_deletes_itself)
{
	static struct loop_timer *t;

	t = loop_add_timer(loop, suicidal_cb, &t);
	loop_timer_set(t, 1);
	loop_run(loop);
	ck_assert_str_eq(order, "d");
}
END_TEST

/* --- posts --- */

START_TEST(posts)
{
	char a = 'a', b = 'b';

	ck_assert_int_eq(loop_post(loop, note_cb, &a), 0);
	ck_assert_int_eq(loop_post(loop, note_cb, &b), 0);
	ck_assert_int_eq(loop_post(loop, stop_cb, NULL), 0);
	loop_run(loop);
	ck_assert_str_eq(order, "ab!");
	/* A stop before the run is not lost. */
	loop_stop(loop);
	loop_run(loop);
	/* One that never ran is freed with the loop. */
	ck_assert_int_eq(loop_post(loop, note_cb, &a), 0);
}
END_TEST

/* --- connections --- */

static struct loop_fd *listener;
static unsigned int asked;

static void accept_one(void *opaque, uint32_t events)
{
	int *fd = opaque;

	ck_assert_uint_eq(events, EPOLLIN);
	asked++;
	*fd = loop_accept(listener);
	if (*fd >= 0)
		stop_cb(NULL);
	else
		ck_assert_int_eq(errno, EMFILE);
}

/* No descriptor is left for a connection that waits: the loop sleeps meanwhile, and takes it once one is. */
START_TEST(accept_without_descriptors)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };	/* a name of the kernel's */
	socklen_t len = sizeof(sun);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), peer, got = -1;
	struct loop_timer *t = loop_add_timer(loop, stop_cb, NULL);
	struct rlimit many, none;

	peer = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sun, &len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&sun, len), 0);
	listener = loop_add_fd(loop, fd, EPOLLIN, accept_one, &got);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &many), 0);
	none = many;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	/* This ends before the rest does, and is first, however late it is. */
	loop_timer_set(t, clock_now_ns() + LOOP_REST_NS / 4);
	loop_run(loop);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &many), 0);
	ck_assert_uint_eq(asked, 1);
	loop_run(loop);
	ck_assert_uint_eq(asked, 2);
	ck_assert_int_ge(got, 0);
	ck_assert_int_eq(fcntl(got, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
	/* What rests can be deleted. */
	close(peer);
	peer = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&sun, len), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(loop_accept(listener), -1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &many), 0);
	loop_del_fd(listener);
	loop_timer_set(t, clock_now_ns() + 2 * LOOP_REST_NS);
	loop_run(loop);
	ck_assert_uint_eq(asked, 2);
	close(got);
	close(peer);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, removed_while_ready);
	tcase_add_test(t, not_pollable);
	tcase_add_test(t, timer_order);
	tcase_add_test(t, greedy_timer);
	tcase_add_test(t, timer_deletes_itself);
	tcase_add_test(t, posts);
	tcase_add_test(t, accept_without_descriptors);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
