// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "terminal.h"
#include "vmm/machine.h"

static struct termios saved;
static volatile sig_atomic_t raw_fd = -1;

bool tty_is_raw(void)
{
	return raw_fd >= 0;
}

bool tty_foreground(int fd)
{
	return isatty(fd) && tcgetpgrp(fd) == getpgrp();
}

void tty_restore(void)
{
	int fd = raw_fd;

	raw_fd = -1;
	/* From the background it would stop us, and another has set the modes it wants. */
	if (fd >= 0 && tcgetpgrp(fd) == getpgrp())
		tcsetattr(fd, TCSADRAIN, &saved);
}

static void fatal_signal(int sig)
{
	tty_restore();
	raise(sig);	/* SA_RESETHAND: now the default action */
}

static void catch_fatal(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };
	struct sigaction sa = { .sa_handler = fatal_signal, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, NULL);
}

void tty_raw(int fd)
{
	struct termios t;

	if (!tty_foreground(fd)) {
		raw_fd = -1;	/* it was taken from us while we were stopped */
		return;
	}
	if (raw_fd < 0 && tcgetattr(fd, &saved))
		return;
	catch_fatal();
	t = saved;
	cfmakeraw(&t);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	raw_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &t))
		raw_fd = -1;
}

int escape_parse(const char *s)
{
	if (!strcmp(s, "none"))
		return 0;
	/* Ctrl- and a key are the key's code without its upper bits, as a terminal sends it. */
	if (s[0] == '^' && s[1] && !s[2]) {
		if (s[1] == '?')
			return 0x7f;
		if ((s[1] >= 'a' && s[1] <= 'z') || (s[1] >= 'A' && s[1] <= '_'))
			return s[1] & 0x1f;
		return -1;
	}
	if (s[0] > 0x20 && s[0] < 0x7f && !s[1])
		return s[0];
	return -1;
}

void console_block_signals(sigset_t *set)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGTSTP, SIGCONT };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(set, wanted[i]);
	sigprocmask(SIG_BLOCK, set, NULL);
}

int vmm_status(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM)
		return VMM_KILLED;
	fprintf(stderr, "hvx: hvx-vmm ended by a signal: %s; this is a fault of hvx, please report it\n",
		strsignal(WTERMSIG(status)));
	return VMM_ERR_INTERNAL;
}
