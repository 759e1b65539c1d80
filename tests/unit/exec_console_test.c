// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/exec_console.c */
/*
 * Commands typed on a console: to a real shell on a terminal of its own, and to what is not a
 * shell. Whatever they say comes byte by byte, as from a slow guest's serial port.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/conn.h"
#include "cli/exec.h"
#include "cli/guest.h"

#define PIECE_US	1000

static int sock[2], output[2];
static char error[512], role;

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, sizeof(error), fmt, ap);
	va_end(ap);
}

int console_connect(const char *guest, const char *dir, const char *device, char wanted, bool replay, char *got)
{
	ck_assert_int_eq(wanted, 'w');
	ck_assert(guest && dir && !device && !replay);
	*got = role;
	return sock[0];
}

static void say(int fd, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (send(fd, s + i, 1, MSG_NOSIGNAL) != 1)
			return;
		usleep(PIECE_US);
	}
}

/* --- guests --- */

/* agetty(8): whatever is typed, it asks again; the pieces are far apart. */
static void *login_program(void *opaque)
{
	static const char *const text[] = { "\r\n\r\nDebi", "an GNU/Linux 12\r\n\r\ndebi", "an lo", "gin: " };
	char c;

	while (read(sock[1], &c, 1) == 1) {
		for (unsigned int i = 0; i < 4 && c == '\r'; i++) {
			usleep(100000);
			say(sock[1], text[i], strlen(text[i]));
		}
	}
	return opaque;
}

/* Does not say that it asks until something was typed: the password of a user called "stty...". */
static void *secret_program(void *opaque)
{
	const char *text = "\r\n> ";
	char c;

	while (read(sock[1], &c, 1) == 1) {
		if (c != '\r')
			continue;
		say(sock[1], text, strlen(text));
		text = "\r\nPassword: ";
	}
	return opaque;
}

static char typed[1024];

/* A prompt, and no more: the shell behind it is slow. */
static void *slow_program(void *opaque)
{
	size_t len = 0;
	char c;

	while (read(sock[1], &c, 1) == 1) {
		if (!len)
			say(sock[1], "\r\n# ", 4);
		if (len + 1 < sizeof(typed))
			typed[len++] = c;
	}
	return opaque;
}

static void *mute_program(void *opaque)
{
	char c;

	while (read(sock[1], &c, 1) == 1)
		continue;
	return opaque;
}

/* A terminal with sh(1) on it. */
static void *shell(void *opaque)
{
	struct pollfd p[2];
	char buf[512];
	int tty;
	pid_t pid = forkpty(&tty, NULL, NULL, NULL);

	if (!pid) {
		setenv("PS1", "guest# ", 1);
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		execl("/bin/sh", "sh", "-i", NULL);
		_exit(127);
	}
	p[0] = (struct pollfd){ .fd = tty, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = sock[1], .events = POLLIN };
	while (poll(p, 2, -1) > 0) {
		ssize_t n;

		if (p[0].revents) {
			n = read(tty, buf, sizeof(buf));
			if (n <= 0)
				break;
			say(sock[1], buf, (size_t)n);
		}
		if (p[1].revents) {
			n = read(sock[1], buf, sizeof(buf));
			if (n <= 0 || write(tty, buf, (size_t)n) != n)
				break;
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(tty);
	return opaque;
}

/* The command's status; its output in text. */
static int on(void *(*program)(void *), struct exec_req *req, char *text, size_t size)
{
	struct guest g = { .name = "guest", .dir = (char *)"/nowhere" };
	pthread_t thread;
	ssize_t n = 0;
	int status;

	error[0] = '\0';
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
	ck_assert_int_eq(pipe(output), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, program, NULL), 0);
	req->in = -1;
	req->out = req->err = output[1];
	status = exec_console(&g, NULL, req);	/* closes its end */
	pthread_join(thread, NULL);
	close(sock[1]);
	close(output[1]);
	if (text) {
		n = read(output[0], text, size - 1);
		text[n > 0 ? n : 0] = '\0';
	}
	close(output[0]);
	return status;
}

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })

START_TEST(a_login)
{
	struct exec_req req = { .argv = ARGV("true"), .signals = -1 };

	ck_assert_int_eq(on(login_program, &req, NULL, 0), EXEC_FAILED);
	ck_assert_msg(strstr(error, "asks for a login") != NULL, "%s", error);
}
END_TEST

START_TEST(a_late_login)
{
	struct exec_req req = { .argv = ARGV("true"), .signals = -1 };

	ck_assert_int_eq(on(secret_program, &req, NULL, 0), EXEC_FAILED);
	ck_assert_msg(strstr(error, "asks for a login") != NULL, "%s", error);
}
END_TEST

START_TEST(nobody)
{
	struct exec_req req = { .argv = ARGV("true"), .signals = -1 };

	ck_assert_int_eq(on(mute_program, &req, NULL, 0), EXEC_FAILED);
	ck_assert_msg(strstr(error, "no shell answers") != NULL, "%s", error);
}
END_TEST

/* It shows again what is typed, once it has come to all of this. */
START_TEST(slow)
{
	struct exec_req req = { .argv = ARGV("true"), .signals = -1 };

	memset(typed, 0, sizeof(typed));
	ck_assert_int_eq(on(slow_program, &req, NULL, 0), EXEC_FAILED);
	ck_assert_ptr_nonnull(strstr(typed, "stty -echo"));
	ck_assert_msg(strstr(strstr(typed, "stty -echo"), "stty \"$hvx_s\"") != NULL, "%s", typed);
}
END_TEST

/* Ctrl-C before there is a command: nothing is waited for. */
START_TEST(called_off)
{
	struct exec_req req = { .argv = ARGV("true") };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	req.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	raise(SIGINT);
	ck_assert_int_eq(on(mute_program, &req, NULL, 0), EXEC_FAILED);
	ck_assert_msg(strstr(error, "interrupted") != NULL, "%s", error);
	close(req.signals);
}
END_TEST

START_TEST(somebody_else)
{
	struct exec_req req = { .argv = ARGV("true"), .signals = -1 };

	role = 'r';
	ck_assert_int_eq(on(shell, &req, NULL, 0), EXEC_FAILED);
	ck_assert_msg(strstr(error, "somebody else writes") != NULL, "%s", error);
}
END_TEST

START_TEST(commands)
{
	static const struct {
		char *command;
		int status;
		const char *text;
	} t[] = {
		{ (char *)"echo \"$A $PWD\"; echo errors >&2; printf end; exit 42", 42, "it's  b /usr/lib\nerrors\nend" },
		{ (char *)"true", 0, "" },
		{ (char *)"kill -TERM $$", 128 + SIGTERM, NULL },
		{ (char *)"echo; echo; exit 1", 1, "\n\n" },
	};
	char text[4096];

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct exec_req req = { .argv = ARGV((char *)"sh", (char *)"-c", t[i].command), .signals = -1,
					.dir = "/usr/lib", .env = ARGV((char *)"A=it's  b") };

		ck_assert_int_eq(on(shell, &req, text, sizeof(text)), t[i].status);
		ck_assert_str_eq(error, "");
		if (t[i].text)
			ck_assert_str_eq(text, t[i].text);
	}
}
END_TEST

START_TEST(not_there)
{
	struct exec_req req = { .argv = ARGV((char *)"nothing-of-this-name"), .signals = -1 };
	char text[4096];

	ck_assert_int_eq(on(shell, &req, text, sizeof(text)), 127);
}
END_TEST

START_TEST(time_is_up)
{
	struct exec_req req = { .argv = ARGV((char *)"sleep", (char *)"1000"), .signals = -1, .timeout_s = 1 };

	ck_assert_int_eq(on(shell, &req, NULL, 0), EXEC_TIMED_OUT);
}
END_TEST

START_TEST(a_signal)
{
	struct exec_req req = { .argv = ARGV((char *)"sh", (char *)"-c", (char *)"kill -INT $HVX_PID; exec sleep 1000") };
	char pid[32];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	req.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	snprintf(pid, sizeof(pid), "HVX_PID=%d", getpid());
	req.env = ARGV(pid);
	ck_assert_int_eq(on(shell, &req, NULL, 0), 128 + SIGINT);
	close(req.signals);
}
END_TEST

/* Nobody reads what the command says: it ends, as it would with a signal here. */
START_TEST(nobody_reads)
{
	struct exec_req req = { .argv = ARGV((char *)"sh", (char *)"-c", (char *)"echo text; exec sleep 1000"), .signals = -1 };
	struct guest g = { .name = "guest", .dir = (char *)"/nowhere" };
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
	ck_assert_int_eq(pipe(output), 0);
	close(output[0]);
	ck_assert_int_eq(pthread_create(&thread, NULL, shell, NULL), 0);
	req.in = -1;
	req.out = req.err = output[1];
	ck_assert_int_eq(exec_console(&g, NULL, &req), 128 + SIGPIPE);
	pthread_join(thread, NULL);
	close(sock[1]);
	close(output[1]);
}
END_TEST

#define MANY	300

/* A shell without stty(1), whose terminal ends lines by CR and LF, and a command that says much. */
static void *verbose_program(void *opaque)
{
	char line[1024] = "", out[256], tag[17] = "", c, *at;
	size_t len = 0;

	while (read(sock[1], &c, 1) == 1) {
		if (c != '\r') {
			line[len++ % (sizeof(line) - 1)] = c;
			continue;
		}
		at = strstr(line, "hvx'-");
		if (at)
			memcpy(tag, at + 5, 16);
		snprintf(out, sizeof(out), "\r\nhvx-%s%s\r\n", tag, strstr(line, "-begin") ? "-begin" : "");
		send(sock[1], out, at ? strlen(out) : 2, MSG_NOSIGNAL);
		for (int i = 0; at && strstr(line, "-begin") && i < MANY; i++) {
			snprintf(out, sizeof(out), "%0100d\r\n", i);
			send(sock[1], out, strlen(out), MSG_NOSIGNAL);
		}
		snprintf(out, sizeof(out), strstr(line, "-begin") ? "\r\nhvx-%s-end 0\r\n# " : "# ", tag);
		send(sock[1], out, strlen(out), MSG_NOSIGNAL);
		memset(line, 0, sizeof(line));
		len = 0;
	}
	return opaque;
}

static char heard[2 * MANY * 102];

/* Once there is no room. */
static void *read_late(void *opaque)
{
	size_t len = 0;
	ssize_t n;

	while (poll(&(struct pollfd){ .fd = output[1], .events = POLLOUT }, 1, 0) > 0)
		usleep(1000);
	while ((n = read(output[0], heard + len, sizeof(heard) - 1 - len)) > 0)
		len += (size_t)n;
	return opaque;
}

/* An output that does not block, and is full: what is said waits, and all of it comes, but for the CRs. */
START_TEST(full_output)
{
	struct exec_req req = { .argv = ARGV("true"), .signals = -1, .in = -1 };
	struct guest g = { .name = "guest", .dir = (char *)"/nowhere" };
	pthread_t thread, reader;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
	ck_assert_int_eq(pipe2(output, O_NONBLOCK), 0);
	ck_assert_int_ge(fcntl(output[1], F_SETPIPE_SZ, 4096), 4096);
	ck_assert_int_eq(fcntl(output[0], F_SETFL, 0), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, verbose_program, NULL), 0);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_late, NULL), 0);
	req.out = req.err = output[1];
	ck_assert_int_eq(exec_console(&g, NULL, &req), 0);
	pthread_join(thread, NULL);
	close(output[1]);
	pthread_join(reader, NULL);
	ck_assert_uint_eq(strlen(heard), MANY * 101);
	close(sock[1]);
	close(output[0]);
}
END_TEST

static void setup(void)
{
	role = 'w';
}

static Suite *suite(void)
{
	Suite *s = suite_create("exec_console");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);	/* against hangs only */
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_login);
	tcase_add_test(tc, a_late_login);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, somebody_else);
	tcase_add_test(tc, commands);
	tcase_add_test(tc, not_there);
	tcase_add_test(tc, time_is_up);
	tcase_add_test(tc, a_signal);
	tcase_add_test(tc, slow);
	tcase_add_test(tc, called_off);
	tcase_add_test(tc, nobody_reads);
	tcase_add_test(tc, full_output);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(suite());
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
