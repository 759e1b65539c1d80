// SPDX-License-Identifier: GPL-2.0-only
/* One descriptor with a message, none, and more than there is room for: none of them stays open unseen. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/fdpass.h"

static int pair[2];

static void setup(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void teardown(void)
{
	close(pair[0]);
	close(pair[1]);
}

static unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(one)
{
	struct stat a, b;
	char text[8];
	int fd;

	ck_assert_int_eq(fd_send(pair[0], "one", 3, pair[0], 0), 3);
	ck_assert_int_eq(fd_recv(pair[1], text, sizeof(text), &fd, 0), 3);
	ck_assert_mem_eq(text, "one", 3);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ne(fd, pair[0]);
	ck_assert(!fstat(fd, &a) && !fstat(pair[0], &b));
	ck_assert_uint_eq(a.st_ino, b.st_ino);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}
END_TEST

START_TEST(none)
{
	unsigned int before = open_fds();
	char text[8];
	int fd = 5;

	ck_assert_int_eq(fd_send(pair[0], "none", 4, -1, 0), 4);
	ck_assert_int_eq(fd_recv(pair[1], text, sizeof(text), &fd, 0), 4);
	ck_assert_int_eq(fd, -1);
	fd = 5;
	ck_assert_int_eq(fd_recv(pair[1], text, sizeof(text), &fd, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(fd, -1);
	shutdown(pair[0], SHUT_WR);
	ck_assert_int_eq(fd_recv(pair[1], text, sizeof(text), &fd, 0), 0);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

/* _i more than one. */
START_TEST(more)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} room = { .buf = { 0 } };
	struct iovec iov = { "x", 1 };
	size_t size = (1 + (size_t)_i) * sizeof(int);
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = CMSG_SPACE(size) };
	unsigned int before = open_fds();
	char text[8];
	int fd;

	*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ CMSG_LEN(size), SOL_SOCKET, SCM_RIGHTS };
	for (int i = 0; i <= _i; i++)
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)) + (size_t)i * sizeof(int), &pair[1], sizeof(int));
	ck_assert_int_eq(sendmsg(pair[0], &msg, 0), 1);
	ck_assert_int_eq(fd_recv(pair[1], text, sizeof(text), &fd, 0), 1);
	ck_assert_int_eq(fd, -1);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fdpass");
	TCase *t = tcase_create("fdpass");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one);
	tcase_add_test(t, none);
	tcase_add_loop_test(t, more, 1, 16);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
