// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/terminal.c cli/console.c */
/*
 * The terminal of `hvx run`: a process with a pseudo-terminal runs the console
 * loop on a child that plays the VMM. Whatever ends them, the terminal must be
 * as it was before.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>
#include "cli/terminal.h"

#define VMM_STATUS	70	/* of the played VMM, when it is told to stop */
#define BY_SIGNAL	99	/* console_run() says that a signal ended it */

/* --- the played VMM --- */

static void on_usr1(int sig)
{
	(void)sig;
	if (write(STDOUT_FILENO, "<power>", 7) < 0)
		_exit(1);
}

static void on_term(int sig)
{
	(void)sig;
	if (write(STDOUT_FILENO, "<stop>", 6) < 0)
		_exit(1);
	_exit(VMM_STATUS);
}

/* Says <ready>, then answers each key with (key). Some keys are orders. */
static void __attribute__((noreturn)) play_vmm(void)
{
	sigset_t none;
	char key;
	ssize_t n;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGUSR1, on_usr1);
	signal(SIGTERM, on_term);
	signal(SIGSEGV, SIG_DFL);	/* the sanitizers have their own */
	dprintf(STDOUT_FILENO, "<ready>");
	for (;;) {
		n = read(STDIN_FILENO, &key, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (key == 'x')
			_exit(7);
		if (key == 'k')
			kill(getpid(), SIGKILL);
		if (key == 's')
			kill(getpid(), SIGSEGV);
		if (key == 'i')
			signal(SIGTERM, SIG_IGN);
		if (key == 'e')
			dprintf(STDERR_FILENO, "one\ntwo\n");
		if (key == 'b')		/* more than any buffer on the way */
			for (int i = 0; i < 20000; i++)
				dprintf(STDOUT_FILENO, "0123456789");
		dprintf(STDOUT_FILENO, "(%02x)", (unsigned char)key);
	}
	dprintf(STDOUT_FILENO, "<eof>");
	for (;;)
		pause();
}

/* --- the process that has the terminal --- */

static int terminal_process(void)
{
	int in[2], out[2], err[2], status;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return 1;
	pid = fork();
	if (!pid) {
		setsid();
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		for (int fd = 3; fd < 32; fd++)
			close(fd);
		play_vmm();
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	status = console_run(pid, in[1], out[0], err[0], 0x1d);
	return WIFEXITED(status) ? WEXITSTATUS(status) : BY_SIGNAL;
}

/* --- the test, at the terminal's other end --- */

static int master;
static pid_t cli;
static struct termios before;

static char got[1 << 20];
static size_t nr_got;

/* Read until the words come. */
static void expect(const char *words)
{
	while (!strstr(got, words)) {
		ssize_t n = read(master, got + nr_got, sizeof(got) - 1 - nr_got);

		ck_assert_msg(n > 0, "no %s in %s", words, got);
		nr_got += (size_t)n;
		got[nr_got] = '\0';
	}
}

static void type(const char *keys)
{
	ck_assert_int_eq(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static bool is_raw(void)
{
	struct termios t;

	ck_assert_int_eq(tcgetattr(master, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG)) && !(t.c_oflag & OPOST);
}

static void assert_restored(void)
{
	struct termios t;

	ck_assert_int_eq(tcgetattr(master, &t), 0);
	ck_assert_uint_eq(t.c_lflag, before.c_lflag);
	ck_assert_uint_eq(t.c_iflag, before.c_iflag);
	ck_assert_uint_eq(t.c_oflag, before.c_oflag);
	ck_assert_mem_eq(t.c_cc, before.c_cc, sizeof(t.c_cc));
}

static void start(void)
{
	int slave;

	nr_got = 0;
	got[0] = '\0';
	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	ck_assert_int_eq(tcgetattr(master, &before), 0);
	cli = fork();
	ck_assert_int_ge(cli, 0);
	if (!cli) {
		close(master);
		if (login_tty(slave))
			_exit(1);
		_exit(terminal_process());
	}
	close(slave);
	expect("<ready>");
	ck_assert(is_raw());
}

/* The process ends with this status, and the terminal is as it was. */
static void ends(int want)
{
	int status;
	char rest[4096];
	struct pollfd p = { .fd = master, .events = POLLIN };

	/* TCSADRAIN waits until its output is read. */
	while (waitpid(cli, &status, WNOHANG) == 0) {
		if (poll(&p, 1, 10) > 0 && read(master, rest, sizeof(rest)) < 0 && errno != EIO)
			break;
	}
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == want, "status %#x, wanted %d", status, want);
	assert_restored();
	close(master);
}

START_TEST(keys)
{
	start();
	type("ac\r\003\032");	/* what a terminal that is not raw would keep or change */
	expect("(61)(63)(0d)(03)(1a)");
	ck_assert_ptr_null(strstr(got, "ac"));	/* no echo */
	type("x");
	ends(7);
}
END_TEST

START_TEST(killed_vmm)
{
	start();
	type("k");
	ends(BY_SIGNAL);
	start();
	type("s");
	ends(BY_SIGNAL);
}
END_TEST

START_TEST(escape_commands)
{
	start();
	type("\035\035");
	expect("(1d)");
	type("\035p");
	expect("<power>");
	type("\035?");
	expect("stop the guest");
	type("y");
	expect("(79)");
	type("\035q");
	expect("<stop>");
	ends(VMM_STATUS);
}
END_TEST

START_TEST(signals)
{
	static const int fatal[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

	start();
	kill(cli, SIGUSR1);
	expect("<power>");
	kill(cli, fatal[_i]);
	ends(VMM_STATUS);
}
END_TEST

START_TEST(stubborn_vmm)
{
	start();
	type("i");
	expect("(69)");
	kill(cli, SIGTERM);
	type("y");
	expect("(79)");
	type("\035q\035q");
	expect("it is killed");
	ends(BY_SIGNAL);
}
END_TEST

START_TEST(suspended)
{
	int status;

	start();
	for (int i = 0; i < 2; i++) {
		if (i)
			type("\035z");
		else
			kill(cli, SIGTSTP);
		ck_assert_int_eq(waitpid(cli, &status, WUNTRACED), cli);
		ck_assert(WIFSTOPPED(status));
		assert_restored();
		kill(cli, SIGCONT);
		nr_got = 0;
		got[0] = '\0';
		/* Keys may come before it is raw again; the terminal keeps them for whoever reads. */
		while (!is_raw())
			poll(NULL, 0, 5);
		type("y");
		expect("(79)");
	}
	type("x");
	ends(7);
}
END_TEST

/* The window is closed: the guest is stopped, nothing is left behind. */
START_TEST(hang_up)
{
	int status;

	start();
	close(master);
	ck_assert_int_eq(waitpid(cli, &status, 0), cli);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), VMM_STATUS);
}
END_TEST

START_TEST(much_output)
{
	start();
	type("b");
	expect("(62)");
	ck_assert_uint_ge(nr_got, 200000);
	type("x");
	ends(7);
}
END_TEST

START_TEST(messages)
{
	start();
	type("e");
	expect("one\r\ntwo\r\n");
	type("x");
	ends(7);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("console");
	TCase *tc = tcase_create("terminal");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);	/* against hangs only */
	tcase_add_test(tc, keys);
	tcase_add_test(tc, killed_vmm);
	tcase_add_test(tc, escape_commands);
	tcase_add_loop_test(tc, signals, 0, 4);
	tcase_add_test(tc, stubborn_vmm);
	tcase_add_test(tc, suspended);
	tcase_add_test(tc, hang_up);
	tcase_add_test(tc, much_output);
	tcase_add_test(tc, messages);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
