// SPDX-License-Identifier: GPL-2.0-only
/* Finding and starting helper programs. See helper.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/helper.h"
#include "vmm/log.h"

#ifndef HVX_LIBEXECDIR
#define HVX_LIBEXECDIR	"/usr/local/libexec/hvx"
#endif

extern char **environ;

/* Beside our own program, else where it is installed. */
static int find(const char *name, char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		if (slash && (size_t)(slash + 1 - path) + strlen(name) < size) {
			strcpy(slash + 1, name);
			if (!access(path, X_OK))
				return 0;
		}
	}
	snprintf(path, size, "%s/%s", HVX_LIBEXECDIR, name);
	return access(path, X_OK) ? -errno : 0;
}

static int spawn(const char *path, char **argv, int fd, int as, bool quiet, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t child;
	int ret;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	/* The VMM's signal mask is for its signalfd; a group of its own keeps Ctrl-C away. */
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	ret = posix_spawn_file_actions_adddup2(&actions, fd, as);
	/* It may outlive a tool that starts it, whose output somebody reads to the end. */
	for (int i = 0; i < (quiet ? 3 : 2) && !ret; i++)
		ret = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
	if (!ret)
		ret = posix_spawn(&child, path, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (!ret)
		*pid = child;
	return -ret;
}

int helper_start(const char *what, char **argv, int type, int as, bool quiet, pid_t *pid)
{
	char path[PATH_MAX];
	int pair[2], high, ret = find(argv[0], path, sizeof(path));

	if (ret) {
		log_error("%s: %s is neither beside this program nor in %s; install hvx whole (make install)",
			  what, argv[0], HVX_LIBEXECDIR);
		return ret;
	}
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0) {
		ret = -errno;
		log_error("%s: socketpair: %s", what, strerror(-ret));
		return ret;
	}
	/* dup2() of a number to itself would leave close-on-exec on. */
	high = fcntl(pair[1], F_DUPFD_CLOEXEC, as + 1);
	ret = high < 0 ? -errno : spawn(path, argv, high, as, quiet, pid);
	if (high >= 0)
		close(high);
	close(pair[1]);
	if (!ret)
		return pair[0];
	log_error("%s: cannot run %s: %s", what, path, strerror(-ret));
	close(pair[0]);
	return ret;
}
