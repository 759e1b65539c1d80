// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/logfile.c cli/logs.c */
/* Log files stay short, whatever is written; their text stays in order, and `hvx logs` finds it again. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/guest.h"
#include "cli/rundir.h"
#include "vmm/logfile.h"

#define FILES (LOGFILE_BACKUPS + 1)

static char dir[] = "/tmp/hvx-logfile.XXXXXX";
static char path[128];

static void setup(void)
{
	strcpy(dir, "/tmp/hvx-logfile.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
}

static void remove_files(void)
{
	for (unsigned int i = 0; i < FILES; i++) {
		char *name = logfile_name(path, i);

		unlink(name);
		free(name);
	}
}

static void teardown(void)
{
	remove_files();
	ck_assert_int_eq(rmdir(dir), 0);
}

/* -1: it is not there. */
static off_t size_of(unsigned int n)
{
	char *name = logfile_name(path, n);
	struct stat st;
	int ret = stat(name, &st);

	free(name);
	return ret ? -1 : st.st_size;
}

/* All files, the oldest first. free() it. */
static char *text_of(size_t *len)
{
	char *text = malloc(FILES * LOGFILE_MAX);

	*len = 0;
	for (unsigned int i = FILES; i--;) {
		char *name = logfile_name(path, i);
		int fd = open(name, O_RDONLY);
		ssize_t n;

		while (fd >= 0 && (n = read(fd, text + *len, FILES * LOGFILE_MAX - *len)) > 0)
			*len += (size_t)n;
		if (fd >= 0)
			close(fd);
		free(name);
	}
	return text;
}

static struct logfile *open_it(bool append)
{
	struct logfile *f = logfile_open(path, append);

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(logfile_backups(f), LOGFILE_BACKUPS);
	return f;
}

/* Numbered lines. */
#define LINE 64U

static void make_line(char line[LINE + 1], unsigned int i)
{
	snprintf(line, LINE + 1, "line %010u%*s\n", i, (int)LINE - 16, "");
}

static void put_lines(struct logfile *f, unsigned int from, unsigned int n)
{
	char line[LINE + 1];

	for (unsigned int i = from; i < from + n; i++) {
		make_line(line, i);
		if (logfile_put(f, line, LINE))
			ck_abort();
	}
}

/* n lines, numbered from `from` on. */
static void are_lines(const char *text, unsigned int from, unsigned int n)
{
	char line[LINE + 1];

	for (unsigned int i = 0; i < n; i++) {
		make_line(line, from + i);
		if (memcmp(text + i * LINE, line, LINE))
			ck_abort_msg("not line %u: %.64s", from + i, text + i * LINE);
	}
}

static bool all_short(void)
{
	for (unsigned int i = 0; i < FILES; i++)
		if (size_of(i) > (off_t)LOGFILE_MAX)
			return false;
	return true;
}

START_TEST(endless)
{
	unsigned int lines = 6 * LOGFILE_MAX / LINE, first;
	struct logfile *f = open_it(false);
	size_t len;
	char *text;

	put_lines(f, 0, lines);
	ck_assert_int_eq(logfile_flush(f), 0);
	ck_assert(all_short());
	text = text_of(&len);
	/* The last of it, whole lines, without a gap; and not much less than there may be. */
	ck_assert_uint_eq(len % LINE, 0);
	ck_assert_uint_gt(len, LOGFILE_BACKUPS * (LOGFILE_MAX - 8192));
	first = lines - (unsigned int)(len / LINE);
	are_lines(text, first, (unsigned int)(len / LINE));
	free(text);
	ck_assert_uint_eq(logfile_lost(f), 0);
	logfile_close(f);
}
END_TEST

/* A guest that has filled its file waits for a part of what moves at a time; what it says meanwhile comes behind. */
START_TEST(in_pieces)
{
	struct logfile *f = open_it(false);
	unsigned int lines, n = 0;
	size_t len;
	char *text;

	put_lines(f, 0, 4 * LOGFILE_MAX / LINE);
	ck_assert_int_eq(logfile_flush(f), 0);
	ck_assert_int_eq(size_of(FILES - 1), LOGFILE_MAX);
	lines = 4 * LOGFILE_MAX / LINE;
	while (size_of(FILES - 1) == LOGFILE_MAX && n++ < 1000)
		put_lines(f, lines++, 1);
	/* It has begun, with the oldest. */
	ck_assert_int_lt(size_of(FILES - 1), LOGFILE_MAX / 4);
	ck_assert_int_eq(size_of(0), LOGFILE_MAX);
	ck_assert(logfile_pending(f));
	if (_i) {
		for (n = 0; logfile_pending(f) && n < 1000; n++)
			ck_assert_int_eq(logfile_some(f), 0);
		ck_assert_uint_gt(n, 5);
	} else {
		put_lines(f, lines, 2 * LOGFILE_MAX / LINE);
		lines += 2 * LOGFILE_MAX / LINE;
		ck_assert_int_eq(logfile_flush(f), 0);
	}
	ck_assert(!logfile_pending(f));
	ck_assert(all_short());
	text = text_of(&len);
	are_lines(text, lines - (unsigned int)(len / LINE), (unsigned int)(len / LINE));
	ck_assert_uint_gt(len, LOGFILE_BACKUPS * (LOGFILE_MAX - 8192));
	ck_assert_uint_eq(logfile_lost(f), 0);
	free(text);
	logfile_close(f);
}
END_TEST

START_TEST(append_or_not)
{
	struct logfile *f = open_it(false);

	put_lines(f, 0, 2 * LOGFILE_MAX / LINE - 30);
	logfile_close(f);
	ck_assert_int_gt(size_of(1), 0);
	/* What never held anything is not left lying about. */
	ck_assert_int_eq(size_of(FILES - 1), -1);
	f = open_it(true);
	put_lines(f, 0, 1);
	logfile_close(f);
	ck_assert_int_gt(size_of(0), LINE);
	ck_assert_int_gt(size_of(1), 0);
	f = open_it(false);
	put_lines(f, 0, 1);
	ck_assert(logfile_pending(f));
	logfile_close(f);
	ck_assert_int_eq(size_of(0), LINE);
	ck_assert_int_eq(size_of(1), -1);
}
END_TEST

/* One that is too long already, as others write to it, too: its end is kept. */
START_TEST(too_long)
{
	struct logfile *f = open_it(true);
	int fd = open(path, O_WRONLY);
	char *text;
	size_t len;

	ck_assert_int_eq(ftruncate(fd, 3 * LOGFILE_MAX), 0);
	ck_assert_int_eq(pwrite(fd, "end\n", 4, 3 * LOGFILE_MAX - 4), 4);
	close(fd);
	put_lines(f, 7, 1);
	logfile_close(f);
	ck_assert(all_short());
	text = text_of(&len);
	ck_assert_uint_eq(len, LOGFILE_MAX + LINE);
	ck_assert_int_eq(memcmp(text + LOGFILE_MAX - 4, "end\nline 0000000007 ", 20), 0);
	free(text);
}
END_TEST

/* Bytes without an end of a line. */
START_TEST(no_lines)
{
	struct logfile *f = open_it(true);
	static char block[1U << 20];

	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 12; i++)
		ck_assert_int_eq(logfile_put(f, block, sizeof(block) - 1), 0);
	logfile_close(f);
	ck_assert(all_short());
}
END_TEST

/* What somebody else put there is not written through, and the limit holds without it. */
START_TEST(no_backup)
{
	char *name = logfile_name(path, 1), victim[160];
	struct logfile *f;
	struct stat st;

	snprintf(victim, sizeof(victim), "%s/victim", dir);
	close(open(victim, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(symlink(victim, name), 0);
	f = logfile_open(path, true);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(logfile_backups(f), LOGFILE_BACKUPS - 1);
	put_lines(f, 0, 3 * LOGFILE_MAX / LINE);
	logfile_close(f);
	ck_assert_int_eq(stat(victim, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	ck_assert_int_le(size_of(0), LOGFILE_MAX);
	unlink(victim);
	free(name);
}
END_TEST

/* Two guests that write to one: the first to end takes no file from the other. */
START_TEST(shared)
{
	struct logfile *a = open_it(true), *b = open_it(true);

	logfile_close(a);
	ck_assert_int_eq(size_of(1), 0);
	put_lines(b, 0, LOGFILE_MAX / LINE + 1);
	logfile_close(b);
	ck_assert_int_gt(size_of(1), 0);
	ck_assert_int_eq(size_of(2), -1);
}
END_TEST

START_TEST(unlimited)
{
	char name[64];
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	struct logfile *f;

	/* Where standard output goes is the user's own. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	f = logfile_open(name, true);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(logfile_backups(f), LOGFILE_BACKUPS);
	put_lines(f, 0, 2 * LOGFILE_MAX / LINE);
	logfile_close(f);
	ck_assert_int_eq(size_of(0), 2 * LOGFILE_MAX);
	ck_assert_int_eq(size_of(1), -1);
	close(fd);
	ck_assert_ptr_null(logfile_open("/nonexistent/log", true));
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

/* A file that must not grow is as a full disk: a write comes up short, the next fails. */
START_TEST(full)
{
	struct rlimit rl = { 10000, RLIM_INFINITY };
	struct logfile *f = open_it(true);
	unsigned int told = 0;
	char line[LINE + 1];

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	for (unsigned int i = 0; i < 2000; i++) {
		make_line(line, i);
		told += logfile_put(f, line, LINE) != 0;
	}
	told += logfile_flush(f) != 0;
	ck_assert_uint_eq(told, 1);
	ck_assert_int_eq(size_of(0), 10000);
	ck_assert_uint_eq(logfile_lost(f), 2000 * LINE - 10000);
	/* There is room again. */
	rl.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	put_lines(f, 0, 1);
	logfile_close(f);
	ck_assert_int_eq(size_of(0), 10000 + LINE);
}
END_TEST

/* --- hvx logs --- */

static bool all, follow;
static unsigned int polls;	/* while the guest runs */
static struct logfile *guests;
static unsigned int next_line;

uid_t geteuid(void)
{
	return 1000;
}

void cli_error(const char *fmt, ...)
{
	(void)fmt;
}

int cli_parse(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max)
{
	(void)cmd, (void)argc, (void)argv, (void)min, (void)max;
	value[0] = all ? "" : NULL;
	value[1] = follow ? "" : NULL;
	optind = 1;
	return -1;
}

bool guest_name_ok(const char *name)
{
	return *name != '.';
}

/* The guest goes on. */
char *rundir_find(const char *name)
{
	(void)name;
	if (!polls)
		return NULL;
	polls--;
	put_lines(guests, next_line, LOGFILE_MAX / 2 / LINE);
	next_line += LOGFILE_MAX / 2 / LINE;
	logfile_flush(guests);
	return strdup("");
}

/* What the verb prints; free() it. */
static char *logs_say(bool all_of, bool follow_it, size_t *len)
{
	char *argv[] = { (char *)"logs", (char *)"web", NULL }, *text = NULL, buf[65536];
	int keep = dup(1), out = fileno(tmpfile());
	FILE *f = open_memstream(&text, len);
	off_t at = 0;
	ssize_t n;

	all = all_of;
	follow = follow_it;
	fflush(stdout);
	dup2(out, 1);
	ck_assert_int_eq((*__start_hvx_verbs)->run(*__start_hvx_verbs, 2, argv), 0);
	dup2(keep, 1);
	close(keep);
	while ((n = pread(out, buf, sizeof(buf), at)) > 0) {
		fwrite(buf, 1, (size_t)n, f);
		at += n;
	}
	close(out);
	fclose(f);
	return text;
}

static void start_guest(void)
{
	char *p;
	off_t start;
	int fd;

	ck_assert_int_eq(setenv("XDG_STATE_HOME", dir, 1), 0);
	p = log_open("web", &fd, &start);
	ck_assert_int_ge(fd, 0);
	close(fd);
	snprintf(path, sizeof(path), "%s", p);
	free(p);
	guests = open_it(true);
}

static void end_guest(void)
{
	char sub[160];

	logfile_close(guests);
	remove_files();
	snprintf(sub, sizeof(sub), "%s/hvx", dir);
	rmdir(sub);
}

START_TEST(logs_of_runs)
{
	char *text;
	size_t len;

	start_guest();
	put_lines(guests, 0, 2);
	logfile_close(guests);
	start_guest();
	put_lines(guests, 2, 1);
	logfile_flush(guests);
	text = logs_say(false, false, &len);
	ck_assert_ptr_nonnull(strstr(text, "--- web: started"));
	ck_assert_ptr_nonnull(strstr(text, "line 0000000002 "));
	ck_assert_ptr_null(strstr(text, "line 0000000001 "));
	free(text);
	text = logs_say(true, false, &len);
	ck_assert_ptr_nonnull(strstr(text, "line 0000000001 "));
	free(text);
	end_guest();
}
END_TEST

/* Where the run began in a file that is an older one by now. */
START_TEST(logs_of_all_files)
{
	unsigned int n = 2 * LOGFILE_MAX / LINE;
	char *text;
	size_t len;

	start_guest();
	put_lines(guests, 0, 1);
	logfile_close(guests);
	start_guest();
	put_lines(guests, 1, n);
	logfile_flush(guests);
	text = logs_say(false, false, &len);
	ck_assert_int_eq(memcmp(text, "--- web: started", 16), 0);
	ck_assert_uint_gt(len, n * LINE);
	are_lines(text + len - n * LINE, 1, n);
	free(text);
	text = logs_say(true, false, &len);
	ck_assert_ptr_nonnull(strstr(text, "line 0000000000 "));
	free(text);
	end_guest();
}
END_TEST

START_TEST(logs_followed)
{
	unsigned int n;
	char *text;
	size_t len;

	start_guest();
	polls = 8;
	next_line = 0;
	text = logs_say(false, true, &len);
	n = next_line;
	ck_assert_uint_eq(n, 4 * LOGFILE_MAX / LINE);
	ck_assert_uint_gt(len, n * LINE);
	are_lines(text + len - n * LINE, 0, n);
	free(text);
	end_guest();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("logfile");
	TCase *tc = tcase_create("logfile");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);	/* against hangs only */
	tcase_add_test(tc, endless);
	tcase_add_loop_test(tc, in_pieces, 0, 2);
	tcase_add_test(tc, append_or_not);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, no_lines);
	tcase_add_test(tc, no_backup);
	tcase_add_test(tc, shared);
	tcase_add_test(tc, unlimited);
	tcase_add_test(tc, full);
	tcase_add_test(tc, logs_of_runs);
	tcase_add_test(tc, logs_of_all_files);
	tcase_add_test(tc, logs_followed);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
