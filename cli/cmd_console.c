// SPDX-License-Identifier: GPL-2.0-only
/* hvx console: a running guest's console on this terminal. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "conn.h"
#include "guest.h"
#include "terminal.h"
#include "vmm/fileio.h"

int socket_in(const char *folder, const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = -1, err, d = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (d < 0)
		return -1;
	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%s", d, name) < (int)sizeof(sun.sun_path))
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		err = errno;
		close(fd);
		errno = err;
		fd = -1;
	}
	err = errno;
	close(d);
	errno = err;
	return fd;
}

/* "serial0.console" before "console1.console": a PC's serial port is where it speaks first. */
static char *first_console(const char *dir)
{
	struct dirent *e;
	char *best = NULL;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len < 9 || strcmp(e->d_name + len - 8, ".console"))
			continue;
		if (!best || (best[0] != 's' && e->d_name[0] == 's') ||
		    (best[0] == e->d_name[0] && strcmp(e->d_name, best) < 0)) {
			free(best);
			best = strdup(e->d_name);
		}
	}
	if (d)
		closedir(d);
	return best;
}

int console_connect(const char *guest, const char *dir, const char *device, char role, bool replay, char *got)
{
	char *name = NULL, hello[2] = { role, replay ? 'y' : 'n' }, answer;
	int fd;

	if (!device)
		name = first_console(dir);
	else if (strchr(device, '/') || asprintf(&name, "%s.console", device) < 0)
		name = NULL;
	if (!name) {
		cli_error("%s: it has no console%s%s; add <console type='pty'/> to its <devices>", guest,
			  device ? " called " : "", device ? device : "");
		return -1;
	}
	fd = socket_in(dir, name);
	if (fd < 0 || send(fd, hello, 2, MSG_NOSIGNAL) != 2 || recv(fd, &answer, 1, 0) != 1) {
		cli_error("%s: %s: %s", guest, name, errno == ENOENT ? "no such console" : strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	} else if (got) {
		*got = answer;
	}
	free(name);
	return fd;
}

/* --- hvx console --- */

struct session {
	int fd, escape;
	bool input;		/* stdin is read */
	size_t len, done;
	char buf[4096];
};

/* False: the escape key. */
static bool read_input(struct session *s)
{
	ssize_t n = read(STDIN_FILENO, s->buf, sizeof(s->buf));
	char *esc;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		s->input = false;
		return true;
	}
	s->done = 0;
	s->len = (size_t)n;
	esc = s->escape && tty_is_raw() ? memchr(s->buf, s->escape, s->len) : NULL;
	if (esc)
		s->len = (size_t)(esc - s->buf);
	return !esc;
}

static bool send_input(struct session *s)
{
	ssize_t n = send(s->fd, s->buf + s->done, s->len - s->done, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	s->done += (size_t)n;
	if (s->done == s->len)
		s->done = s->len = 0;
	return true;
}

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	ended = sig;
}

/* Until either side ends. True: the guest did. */
static bool carry(struct session *s)
{
	char out[65536];
	ssize_t n;

	while (!ended) {
		struct pollfd p[2] = {
			{ .fd = s->fd, .events = (short)(POLLIN | (s->len ? POLLOUT : 0)) },
			{ .fd = s->input && !s->len ? STDIN_FILENO : -1, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents && !read_input(s))
			return false;
		if (s->len && !send_input(s))
			return true;
		if (!(p[0].revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		n = recv(s->fd, out, sizeof(out), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return true;
		if (write_full(STDOUT_FILENO, out, (size_t)n))
			return false;
	}
	return false;
}

static void catch_signals(void)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaction(wanted[i], &sa, NULL);
}

static void run_session(const char *guest, struct session *s, char role)
{
	bool gone, tty = isatty(STDIN_FILENO);

	if (tty)
		fprintf(stderr, "Connected to %s%s. %s\n", guest, role == 'w' ? "" : ", to read only",
			s->escape ? "The escape key (Ctrl-] unless chosen otherwise) leaves." : "");
	catch_signals();
	if (tty)
		tty_raw(STDIN_FILENO);
	gone = carry(s);
	tty_restore();
	if (tty)
		fprintf(stderr, "\n%s\n", gone ? "The guest has ended." : "Left the console; the guest goes on.");
}

enum { C_DEVICE, C_ESCAPE, C_FORCE, C_HISTORY, C_READ, C_NR };

static int cmd_console(const struct cli_cmd *cmd, int argc, char **argv)
{
	static struct session s = { .escape = 0x1d };
	const char *v[C_NR + 1];
	struct guest g;
	char role, got = 'r';
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	if (status >= 0)
		return status;
	if (v[C_ESCAPE] && (s.escape = escape_parse(v[C_ESCAPE])) < 0) {
		cli_error("console: --escape %s: not a key; write ^X, one character, or none", v[C_ESCAPE]);
		return VMM_ERR_USAGE;
	}
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	if (!g.dir) {
		cli_error("%s: the guest is not running; `hvx start %s` starts it", g.name, g.name);
		return VMM_ERR_SETUP;
	}
	role = v[C_FORCE] ? 'f' : v[C_READ] ? 'r' : 'w';
	s.fd = console_connect(g.name, g.dir, v[C_DEVICE], role, !v[C_HISTORY], &got);
	status = VMM_ERR_SETUP;
	if (s.fd >= 0 && got == 'r' && !v[C_READ])
		cli_error("%s: somebody else writes to it; --force takes that over, --read-only looks on", g.name);
	if (s.fd >= 0 && (got == 'w' || v[C_READ])) {
		s.input = got == 'w' || isatty(STDIN_FILENO);
		run_session(g.name, &s, got);
		status = VMM_OK;
	}
	if (s.fd >= 0)
		close(s.fd);
	guest_free(&g);
	return status;
}

static const struct cli_cmd console_verb = {
	.name = "console", .group = CLI_LOOK, .args = "NAME", .run = cmd_console,
	.summary = "connect to a guest's console",
	.help =
"Shows what the guest's console has said before (its last 256 KiB) and says from now\n"
"on, until the escape key, Ctrl-], is typed or the guest ends. There may be several;\n"
"one at a time can type. Where the standard input is not a terminal, it is sent to the\n"
"guest, and its end is not the end of the output.\n",
	.opts = OPTS(
		[C_DEVICE] = { "devname", 'd', "ID", "serial0, console0, ... (default: the first there is)" },
		[C_ESCAPE] = { "escape", 'e', "KEY", "escape key: ^X for Ctrl-X, or none (default ^])" },
		[C_FORCE] = { "force", 'f', NULL, "type, and let whoever did so look on" },
		[C_HISTORY] = { "no-history", 'n', NULL, "only what is said from now on" },
		[C_READ] = { "read-only", 'r', NULL, "look on" }),
};
CLI_VERB(console_verb);
