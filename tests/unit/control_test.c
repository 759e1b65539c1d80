// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/control.c cli/rundir.c */
/* Who asks for a guest that has just begun, or is about to end: its folder is there, its socket not. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/control.h"
#include "vmm/cgroup.h"

static char base[] = "/tmp/hvx-control.XXXXXX", dir[sizeof(base) + 16];
static int ready[2], asked[2];
static pid_t pid;

void cgroup_sweep(void)
{
}

void cli_error(const char *fmt, ...)
{
	(void)fmt;
}

/* A VMM that holds its folder's lock; then it opens its socket, or ends without. */
static void vmm(bool opens)
{
	static const char greeting[] = "{\"QMP\": {}}\n", answer[] = "{\"return\": {}}\n";
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char c, path[sizeof(dir) + 16], line[256];
	int fd, s = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(path, sizeof(path), "%s/lock", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) || write(ready[1], "", 1) != 1 || read(asked[0], &c, 1) != 1)
		_exit(1);
	usleep(100000);		/* it is asked for meanwhile; sooner would be no fault */
	if (!opens)
		_exit(0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", dir);
	if (bind(s, (struct sockaddr *)&sun, sizeof(sun)) || listen(s, 1))
		_exit(1);
	fd = accept(s, NULL, NULL);
	if (write(fd, greeting, sizeof(greeting) - 1) < 0 || read(fd, line, sizeof(line)) <= 0 ||
	    write(fd, answer, sizeof(answer) - 1) < 0)
		_exit(1);
	_exit(0);
}

static void begin(bool opens)
{
	char c;

	ck_assert_ptr_nonnull(mkdtemp(base));
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", base, 1), 0);
	snprintf(dir, sizeof(dir), "%s/hvx", base);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	strcat(dir, "/guest");
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert(!pipe(ready) && !pipe(asked));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		vmm(opens);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	ck_assert_int_eq(write(asked[1], "", 1), 1);
}

static void end(void)
{
	char command[sizeof(base) + 16];
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	snprintf(command, sizeof(command), "rm -r %s", base);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(begins)
{
	struct control *c;

	begin(true);
	c = control_open("guest");
	ck_assert_msg(c, "%s", strerror(errno));
	control_close(c);
	end();
}
END_TEST

START_TEST(ends)
{
	begin(false);
	ck_assert_ptr_null(control_open("guest"));
	ck_assert_int_eq(errno, ESRCH);
	end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tc = tcase_create("socket");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, begins);
	tcase_add_test(tc, ends);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
