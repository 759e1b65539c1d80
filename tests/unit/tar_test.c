// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/tar.c cli/initramfs.c */
/* Archives of a guest: what is in them comes out below the folder, or not at all. */
#include <archive.h>
#include <archive_entry.h>
#include <check.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/archive.h"

void cli_error(const char *fmt, ...)
{
	(void)fmt;
}

static char top[64], dir[80], path[256];

static void make_top(void)
{
	strcpy(top, "/tmp/hvx-tar.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/in", top);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	umask(022);
}

static void remove_top(void)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "chmod -R u+rwX %s && rm -rf %s", top, top);
	ck_assert_int_eq(system(cmd), 0);
}

static const char *in_top(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

/* One entry: what it is, and the data of a file or the target of a link. */
static void add(struct archive *a, const char *name, mode_t mode, const char *what)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_mode(e, mode);
	if (S_ISLNK(mode))
		archive_entry_set_symlink(e, what);
	else if (!(mode & S_IFMT))
		archive_entry_set_hardlink(e, what);
	else if (S_ISREG(mode))
		archive_entry_set_size(e, (la_int64_t)strlen(what));
	ck_assert_int_ge(archive_write_header(a, e), ARCHIVE_WARN);
	if (S_ISREG(mode))
		ck_assert_int_eq(archive_write_data(a, what, strlen(what)), (la_ssize_t)strlen(what));
	archive_entry_free(e);
}

static struct archive *begin(int *fd)
{
	struct archive *a = archive_write_new();

	*fd = open(in_top("tar"), O_RDWR | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(*fd, 0);
	archive_write_set_format_gnutar(a);
	ck_assert_int_eq(archive_write_open_fd(a, *fd), ARCHIVE_OK);
	return a;
}

/* In a child: it changes its folder. */
static int unpack(struct archive *a, int fd)
{
	int status;
	pid_t pid;

	if (a)
		archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	pid = fork();
	if (!pid)
		_exit(tar_read(fd, dir) ? 1 : 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	close(fd);
	return WEXITSTATUS(status);
}

START_TEST(there_and_back)
{
	char cmd[512];
	int p[2], status;
	pid_t pid;

	snprintf(cmd, sizeof(cmd), "cd %s && mkdir -p from/a/b && echo 1 > from/a/one && echo 2 > from/a/b/two && "
		 "ln -s b/two from/a/link && ln from/a/one from/hard && chmod 750 from/a/one && : > from/empty", top);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(pipe(p), 0);
	pid = fork();
	if (!pid) {
		close(p[0]);
		snprintf(path, sizeof(path), "%s/from", top);
		_exit(tar_write(p[1], path) ? 1 : 0);
	}
	close(p[1]);
	if (!fork())
		_exit(tar_read(p[0], dir) ? 1 : 0);
	close(p[0]);
	for (int i = 0; i < 2; i++) {
		wait(&status);
		ck_assert_int_eq(status, 0);
	}
	snprintf(cmd, sizeof(cmd), "diff -r %s/from %s && [ -L %s/a/link ] && [ \"$(stat -c %%a %s/a/one)\" = 750 ]", top, dir, dir, dir);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_uint_eq(tree_size(in_top("from")), 6);
}
END_TEST

static const char *const escapes[][2] = {
	{ "../out", NULL }, { "a/../../out", NULL }, { "/tmp/hvx-tar-absolute", NULL },
	{ "link", ".." }, { "link", "/tmp" },
};

START_TEST(escape)
{
	const char *const *e = escapes[_i];
	int fd;
	struct archive *a = begin(&fd);

	if (e[1]) {
		/* Through a link that came before: it is refused, or replaced by a folder of that name. */
		add(a, e[0], S_IFLNK | 0777, e[1]);
		add(a, "link/hvx-tar-through", S_IFREG | 0644, "x");
	} else {
		add(a, e[0], S_IFREG | 0644, "x");
	}
	unpack(a, fd);
	ck_assert_int_ne(access(in_top("out"), F_OK), 0);
	ck_assert_int_ne(access("/tmp/hvx-tar-absolute", F_OK), 0);
	ck_assert_int_ne(access("/tmp/hvx-tar-through", F_OK), 0);
	ck_assert_int_ne(access(in_top("hvx-tar-through"), F_OK), 0);
}
END_TEST

START_TEST(hard_link_out)
{
	struct archive *a;
	struct stat st;
	int fd = open(in_top("secret"), O_WRONLY | O_CREAT, 0600);

	ck_assert_int_eq(write(fd, "s", 1), 1);
	close(fd);
	a = begin(&fd);
	add(a, "mine", 0, "../secret");
	unpack(a, fd);
	ck_assert_int_eq(stat(in_top("secret"), &st), 0);
	ck_assert_uint_eq(st.st_nlink, 1);
}
END_TEST

START_TEST(kinds)
{
	int fd;
	struct archive *a = begin(&fd);
	struct stat st;

	add(a, "pipe", S_IFIFO | 0666, "");
	add(a, "device", S_IFCHR | 0666, "");
	add(a, "block", S_IFBLK | 0666, "");
	add(a, "setuid", S_IFREG | 06755, "x");
	add(a, "sub", S_IFDIR | 03777, "");
	ck_assert_int_eq(unpack(a, fd), 0);
	ck_assert_int_ne(lstat(in_top("in/pipe"), &st), 0);
	ck_assert_int_ne(lstat(in_top("in/device"), &st), 0);
	ck_assert_int_ne(lstat(in_top("in/block"), &st), 0);
	ck_assert_int_eq(lstat(in_top("in/setuid"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0755);
	ck_assert_int_eq(lstat(in_top("in/sub"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07000, 0);
}
END_TEST

/* Cut off, or no archive at all. */
START_TEST(broken)
{
	int fd;
	struct archive *a = begin(&fd);

	add(a, "file", S_IFREG | 0644, "0123456789");
	archive_write_free(a);
	ck_assert_int_eq(ftruncate(fd, 515), 0);
	ck_assert_int_ne(unpack(NULL, fd), 0);
	fd = open(in_top("tar"), O_RDWR | O_TRUNC);
	for (int i = 0; i < 5000; i++)
		ck_assert_int_eq(write(fd, "\xa5\x5a garbage", 10), 10);
	ck_assert_int_ne(unpack(NULL, fd), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tar");
	TCase *tc = tcase_create("tar");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);	/* against hangs only */
	tcase_add_checked_fixture(tc, make_top, remove_top);
	tcase_add_test(tc, there_and_back);
	tcase_add_loop_test(tc, escape, 0, sizeof(escapes) / sizeof(escapes[0]));
	tcase_add_test(tc, hard_link_out);
	tcase_add_test(tc, kinds);
	tcase_add_test(tc, broken);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
