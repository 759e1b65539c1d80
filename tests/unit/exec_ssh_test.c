// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/exec_ssh.c cli/number.c cli/exec_console.c */
/* What ssh(1) is told: a program of that name, first in PATH, says it. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/control.h"
#include "cli/exec.h"
#include "cli/guest.h"

static char dir[64], said[8192], error[512];
static const char *error_class;	/* NULL: the guest has a vsock */

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, sizeof(error), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", error);
}

int console_connect(const char *guest, const char *at, const char *device, char wanted, bool replay, char *got)
{
	(void)guest, (void)at, (void)device, (void)wanted, (void)replay, (void)got;
	return -1;
}

struct control *control_open_or_say(const char *guest)
{
	ck_assert_str_eq(guest, "debian");
	return (struct control *)dir;
}

void control_close(struct control *c)
{
	(void)c;
}

const char *control_error(const struct control *c)
{
	(void)c;
	return "why";
}

const char *control_error_class(const struct control *c)
{
	(void)c;
	return error_class;
}

int control_call(struct control *c, const char *command, struct json_object *args, struct json_object **ret)
{
	(void)c;
	ck_assert_str_eq(command, "x-hvx-query-vsock");
	ck_assert_ptr_null(args);
	if (error_class)
		return -1;
	*ret = json_object_new_object();
	json_object_object_add(*ret, "cid", json_object_new_int64(4294967290));
	return 0;
}

static void setup(void)
{
	char path[128];
	FILE *f;

	snprintf(dir, sizeof(dir), "/tmp/hvx-ssh-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ssh", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs("#!/bin/sh\nprintf '[%s]\\n' \"$@\"\nexit 7\n", f);
	fclose(f);
	ck_assert(!chmod(path, 0755));
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", dir);
	setenv("PATH", path, 1);
	error_class = NULL;
}

static void teardown(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/ssh", dir);
	unlink(path);
	rmdir(dir);
}

/* Its status; what the stand-in, and complaints, said is in said. */
static int run(const char *user, const struct exec_req *req)
{
	struct guest g = { .name = "debian" };
	int out[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	ck_assert(!pipe(out));
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		_exit(exec_ssh(&g, user, req));
	}
	close(out[1]);
	while ((n = read(out[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(out[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void has(const char *text)
{
	ck_assert_msg(strstr(said, text), "no %s in:\n%s", text, said);
}

START_TEST(command)
{
	char *const argv[] = { "sh", "-c", "echo it's\n  two lines", NULL }, *const env[] = { "A=b c", NULL };
	const struct exec_req req = { .argv = argv, .env = env, .dir = "/usr/lib", .in = 0, .out = 1, .err = 2 };

	ck_assert_int_eq(run(NULL, &req), 7);
	has("[-T]\n[-o]\n[ProxyUseFdpass=yes]\n");
	has("/exec_ssh_test' vsock-connect 4294967290 22]\n");
	has("[ProxyCommand='/");
	has("[--]\n[root@debian]\n[cd '/usr/lib' && export A='b c' && exec 'sh' '-c' 'echo it'\\''s\n  two lines']\n");
	ck_assert_ptr_null(strstr(said, "[-n]"));
}
END_TEST

START_TEST(options)
{
	char *const argv[] = { "true", NULL };
	const struct exec_req req = { .argv = argv, .in = -1, .out = 1, .err = 2, .timeout_s = 100 };

	ck_assert_int_eq(run("me", &req), 7);
	has("[-n]\n");
	has("[me@debian]\n[exec 'true']\n");
}
END_TEST

START_TEST(too_long)
{
	char text[4000] = "", *const argv[] = { "echo", text, NULL };
	const struct exec_req req = { .argv = argv, .in = -1, .out = 1, .err = 2 };

	memset(text, 'x', sizeof(text) - 1);
	ck_assert_int_eq(run(NULL, &req), EXEC_FAILED);
	has("longer than");
}
END_TEST

START_TEST(no_vsock)
{
	char *const argv[] = { "true", NULL };
	const struct exec_req req = { .argv = argv, .in = -1, .out = 1, .err = 2 };

	error_class = "DeviceNotActive";
	ck_assert_int_eq(run(NULL, &req), EXEC_FAILED);
	has("debian has no vsock; add to its <devices>: <vsock>");
	error_class = "GenericError";
	ck_assert_int_eq(run(NULL, &req), EXEC_FAILED);
	has("debian: why");
}
END_TEST

START_TEST(no_ssh)
{
	char *const argv[] = { "true", NULL };
	const struct exec_req req = { .argv = argv, .in = -1, .out = 1, .err = 2 };

	setenv("PATH", "/nonexistent", 1);
	ck_assert_int_eq(run(NULL, &req), EXEC_FAILED);
	has("install openssh-client");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("exec_ssh");
	TCase *tc = tcase_create("exec_ssh");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, command);
	tcase_add_test(tc, options);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, no_vsock);
	tcase_add_test(tc, no_ssh);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
