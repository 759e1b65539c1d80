// SPDX-License-Identifier: GPL-2.0-only
/*
 * Character back ends. Output is collected in a ring and written a millisecond
 * later, or as soon as a block's worth is there: a guest's serial port gives a
 * byte at a time, and a system call for each would dominate its boot.
 *
 * Nothing here blocks. File descriptors that are shared with other processes
 * (the terminal, a pipe to a pager) are reopened rather than switched to
 * non-blocking mode, which would hit those others too.
 *
 * All functions: machine lock held.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "chardev.h"
#include "console_share.h"
#include "devices/device.h"
#include "logfile.h"

#define TX_RING		(64U << 10)	/* bytes kept for a slow peer */
#define TX_BLOCK	4096U		/* written at once */
#define TX_DELAY_NS	1000000ULL
#define RX_CHUNK	4096U
#define RX_BURST	16U		/* chunks at once, of a socket */

struct chardev {
	struct machine *m;
	char id[32];
	int in, out;			/* -1: none; may be the same */
	int listen_fd;
	struct logfile *log, *file;	/* <log file=>; type='file', unless that is no regular file. NULL: none */
	char *socket_path;		/* ours, removed on close */
	int pty_fd;			/* the pty's other side, kept open: without it the first would hang up */
	char *link_path;		/* runtime directory's link to the pty, removed on close */
	bool in_always;			/* input cannot be polled (a file): always ready */
	bool polling;			/* rx_poll() will run: a guest can make room without end, faster than it does */
	bool nonblocking;		/* in: can be read until it has no more */
	bool escapes;			/* Ctrl-] commands apply */
	bool escape_seen;
	struct loop_fd *in_watch, *out_watch, *listen_watch;
	uint32_t in_events;
	struct loop_timer *flush_timer;
	struct console_share *share;	/* `hvx console`, NULL: this is no console */

	uint8_t *ring;			/* TX_RING bytes, allocated at the first byte */
	unsigned int head, len;
	uint64_t dropped;

	size_t (*room)(void *opaque);
	void (*rx)(void *opaque, const uint8_t *data, size_t len);
	void *opaque;
};

/* ------------------------------------------------------------- terminal */

static struct termios saved_termios;
static volatile sig_atomic_t saved_fd = -1;

void terminal_restore(void)
{
	int fd = saved_fd;

	saved_fd = -1;
	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &saved_termios);
}

static void fatal_signal(int sig)
{
	terminal_restore();
	raise(sig);	/* SA_RESETHAND: the default action this time */
}

int terminal_raw(int fd)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGQUIT };
	struct sigaction sa = { .sa_handler = fatal_signal, .sa_flags = (int)SA_RESETHAND };
	struct termios t;
	unsigned int i;

	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &saved_termios) < 0)
		return -errno;
	t = saved_termios;
	cfmakeraw(&t);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	saved_fd = fd;
	for (i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, NULL);
	atexit(terminal_restore);
	if (tcsetattr(fd, TCSANOW, &t) < 0) {
		saved_fd = -1;
		return -errno;
	}
	log_raw_terminal = isatty(STDERR_FILENO);
	return 0;
}

/* --------------------------------------------------------------- output */

static void hang_up(struct chardev *chr);

/* Its guest loses nothing but text; said once. */
static void file_error(struct chardev *chr, const char *what, int err)
{
	if (err)
		log_warn("%s: %s: %s; what does not fit is left out", chr->id, what, strerror(-err));
}

static bool files_wait(const struct chardev *chr)
{
	return (chr->log && logfile_pending(chr->log)) || (chr->file && logfile_pending(chr->file));
}

/* What can be written soon: the guest waits. */
static void flush_files(struct chardev *chr)
{
	if (chr->log)
		file_error(chr, "log file", logfile_some(chr->log));
	if (chr->file)
		file_error(chr, "file", logfile_some(chr->file));
	if (files_wait(chr))
		loop_timer_set(chr->flush_timer, clock_now_ns() + TX_DELAY_NS);
}

static void put_files(struct chardev *chr, const void *buf, size_t len)
{
	bool timed = files_wait(chr);

	if (chr->log)
		file_error(chr, "log file", logfile_put(chr->log, buf, len));
	if (chr->file)
		file_error(chr, "file", logfile_put(chr->file, buf, len));
	if (!timed && (chr->log || chr->file))
		loop_timer_set(chr->flush_timer, clock_now_ns() + TX_DELAY_NS);
}

/* Write what can be written now. False: the peer is gone. */
static bool flush(struct chardev *chr)
{
	while (chr->len && chr->out >= 0) {
		unsigned int n = TX_RING - chr->head;
		ssize_t done;

		if (n > chr->len)
			n = chr->len;
		done = write(chr->out, chr->ring + chr->head, n);
		if (done < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN;
		}
		chr->head = (chr->head + (unsigned int)done) % TX_RING;
		chr->len -= (unsigned int)done;
	}
	return true;
}

static void out_ready(void *opaque, uint32_t events);

/* flush(), and wait for room where some is left. */
static void push(struct chardev *chr)
{
	if (!flush(chr)) {
		if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
			log_warn("%s: its output: %s; from here on it goes nowhere", chr->id, strerror(errno));
		hang_up(chr);
		return;
	}
	if (chr->len && !chr->out_watch && chr->out != chr->in) {
		chr->out_watch = loop_add_fd(chr->m->loop, chr->out, EPOLLOUT, out_ready, chr);
	} else if (chr->out == chr->in && chr->in_watch) {
		uint32_t ev = (chr->in_events & ~(uint32_t)EPOLLOUT) | (chr->len ? EPOLLOUT : 0);

		if (ev != chr->in_events) {
			chr->in_events = ev;
			loop_mod_fd(chr->in_watch, ev);
		}
	}
	if (!chr->len && chr->out_watch) {
		loop_del_fd(chr->out_watch);
		chr->out_watch = NULL;
	}
}

static void out_ready(void *opaque, uint32_t events)
{
	(void)events;
	push(opaque);
}

static void flush_due(void *opaque)
{
	flush_files(opaque);
	push(opaque);
}

/* epoll will tell when there is room. */
static bool waiting(const struct chardev *chr)
{
	return chr->out_watch || (chr->out == chr->in && (chr->in_events & EPOLLOUT));
}

/* The ring is full: what was said last matters most. */
static void drop_oldest(struct chardev *chr)
{
	if (!chr->dropped && chr->out >= 0)
		log_warn("%s: nobody takes its output; the oldest of it is dropped", chr->id);
	chr->head = (chr->head + TX_BLOCK) % TX_RING;
	chr->len -= TX_BLOCK;
	chr->dropped += TX_BLOCK;
}

size_t chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t done = 0;

	if (!chr)
		return len;
	put_files(chr, buf, len);
	console_share_output(chr->share, buf, len);
	if (chr->out < 0 && chr->listen_fd < 0)
		return len;	/* null */
	if (!chr->ring) {
		chr->ring = malloc(TX_RING);
		if (!chr->ring)
			return len;
	}
	while (done < len) {
		unsigned int tail = (chr->head + chr->len) % TX_RING;
		size_t n = len - done;

		if (chr->len == TX_RING)
			drop_oldest(chr);
		if (n > TX_RING - chr->len)
			n = TX_RING - chr->len;
		if (n > TX_RING - tail)
			n = TX_RING - tail;
		if (!chr->len && chr->out >= 0)
			loop_timer_set(chr->flush_timer, clock_now_ns() + TX_DELAY_NS);
		memcpy(chr->ring + tail, p + done, n);
		chr->len += (unsigned int)n;
		done += n;
		if (chr->len >= TX_BLOCK && chr->out >= 0 && !waiting(chr))
			push(chr);
	}
	return len;
}

/* ---------------------------------------------------------------- input */

/* The key after Ctrl-]. */
static void escape_command(struct chardev *chr, uint8_t key)
{
	static const char help[] =
		"\r\nhvx: Ctrl-] then: q stop the guest at once, p press its power button, "
		"r reset it, Ctrl-] send Ctrl-]\r\n";

	switch (key) {
	case 'q': case '.': case 'x':
		machine_event(chr->m, EV_STOP, 0);
		break;
	case 'p':
		acpi_pm_power_button(chr->m);
		break;
	case 'r':
		machine_event(chr->m, EV_RESET, 0);
		break;
	case CONSOLE_ESCAPE:
		if (chr->rx && chr->room(chr->opaque))
			chr->rx(chr->opaque, &key, 1);
		break;
	default:
		chardev_write(chr, help, sizeof(help) - 1);
		push(chr);
		break;
	}
}

static void deliver(struct chardev *chr, const uint8_t *data, size_t len)
{
	size_t i, start = 0;

	for (i = 0; chr->escapes && i < len; i++) {
		if (chr->escape_seen) {
			chr->escape_seen = false;
			start = i + 1;
			escape_command(chr, data[i]);
		} else if (data[i] == CONSOLE_ESCAPE) {
			if (i > start)
				chr->rx(chr->opaque, data + start, i - start);
			chr->escape_seen = true;
			start = i + 1;
		}
	}
	if (start < len)
		chr->rx(chr->opaque, data + start, len - start);
}

static void watch_input(struct chardev *chr);

/* Input ended: keep the output, unless both are one socket. */
static void input_ended(struct chardev *chr)
{
	if (chr->out == chr->in) {
		hang_up(chr);
		return;
	}
	loop_del_fd(chr->in_watch);
	chr->in_watch = NULL;
	chr->in_always = false;
	close(chr->in);
	chr->in = -1;
}

static void rx_poll(void *opaque);

/* Look for input that cannot be polled, soon: not from within the device. */
static void poll_soon(struct chardev *chr)
{
	if (!chr->polling && !loop_post(chr->m->loop, rx_poll, chr))
		chr->polling = true;
}

static void pump(struct chardev *chr)
{
	uint8_t buf[RX_CHUNK];
	unsigned int i;
	size_t room;
	ssize_t n;

	for (i = 0; chr->in >= 0 && i < RX_BURST; i++) {
		room = chr->rx ? chr->room(chr->opaque) : 0;
		if (!room)
			break;
		n = read(chr->in, buf, room < sizeof(buf) ? room : sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			input_ended(chr);
			return;
		}
		deliver(chr, buf, (size_t)n);
		if (!chr->in_always && !chr->nonblocking)
			break;	/* a descriptor that may block: only what epoll promised */
	}
	if (i == RX_BURST && chr->in_always)
		poll_soon(chr);
	watch_input(chr);
}

static void in_ready(void *opaque, uint32_t events)
{
	struct chardev *chr = opaque;

	if (chr->in == chr->out && (events & EPOLLOUT))
		push(chr);
	if (chr->in >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		pump(chr);
}

/* Poll for input while the device has room for it. */
static void watch_input(struct chardev *chr)
{
	bool want = chr->in >= 0 && chr->rx && chr->room(chr->opaque);
	uint32_t ev = want ? EPOLLIN : 0;

	if (chr->in < 0 || chr->in_always)
		return;
	if (chr->out == chr->in && chr->len)
		ev |= EPOLLOUT;
	if (!chr->in_watch) {
		if (!ev)
			return;
		chr->in_watch = loop_add_fd(chr->m->loop, chr->in, ev, in_ready, chr);
		if (!chr->in_watch && errno == EPERM)
			chr->in_always = true;
		chr->in_events = ev;
	} else if (!ev && !(chr->out == chr->in)) {
		/* EPOLLHUP cannot be masked: stop watching altogether. */
		loop_del_fd(chr->in_watch);
		chr->in_watch = NULL;
	} else if (ev != chr->in_events) {
		chr->in_events = ev;
		loop_mod_fd(chr->in_watch, ev);
	}
}

static void rx_poll(void *opaque)
{
	struct chardev *chr = opaque;

	chr->polling = false;
	watch_input(chr);
	if (chr->in_always)
		pump(chr);
}

void chardev_set_rx(struct chardev *chr, size_t (*room)(void *),
		    void (*rx)(void *, const uint8_t *, size_t), void *opaque)
{
	if (!chr)
		return;
	chr->room = room;
	chr->rx = rx;
	chr->opaque = opaque;
	chardev_rx_ready(chr);
}

void chardev_rx_ready(struct chardev *chr)
{
	if (!chr)
		return;
	console_share_room(chr->share);
	if (chr->in < 0)
		return;
	if (chr->in_always)
		poll_soon(chr);
	else
		watch_input(chr);
}

/* -------------------------------------------------------- open and close */

/* The peer is gone, or can take nothing any more. */
static void hang_up(struct chardev *chr)
{
	loop_del_fd(chr->in_watch);
	loop_del_fd(chr->out_watch);
	chr->in_watch = chr->out_watch = NULL;
	chr->in_events = 0;
	if (chr->in == chr->out)
		chr->in = -1;
	if (chr->out >= 0)
		close(chr->out);
	chr->out = -1;
	chr->in_always = false;
	if (chr->in >= 0)
		watch_input(chr);
}

static void peer_arrived(void *opaque, uint32_t events)
{
	struct chardev *chr = opaque;
	int fd = loop_accept(chr->listen_watch);

	(void)events;
	if (fd < 0)
		return;
	/* One that left while the guest took no input has not been read to its end. */
	if (chr->out >= 0 && poll(&(struct pollfd){ .fd = chr->out }, 1, 0) > 0)
		hang_up(chr);
	if (chr->out >= 0) {
		close(fd);	/* one peer at a time */
		return;
	}
	chr->in = chr->out = fd;
	chr->nonblocking = true;
	watch_input(chr);
	push(chr);
}

/*
 * A descriptor of our own for what fd is open on, which does not block. Files
 * never block, and opened anew would lose their place.
 */
static int own_fd(int fd, int flags)
{
	struct stat st;
	char path[32];
	int new;

	if (fstat(fd, &st) < 0)
		return -1;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		new = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (new >= 0)
			return new;
	}
	new = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	/* A socket, or a terminal of another user: this cannot be had apart. */
	if (new >= 0 && !S_ISREG(st.st_mode))
		fcntl(new, F_SETFL, fcntl(new, F_GETFL) | O_NONBLOCK);
	return new;
}

static int open_terminal(struct chardev *chr)
{
	struct machine *m = chr->m;

	chr->in = own_fd(m->console_in, O_RDONLY);
	chr->out = own_fd(m->console_out, O_WRONLY);
	chr->escapes = isatty(m->console_in);
	m->console_in = m->console_out = -1;	/* taken */
	return chr->out < 0 ? -errno : 0;
}

static int open_pty(struct chardev *chr)
{
	struct termios t;
	char name[64];
	int fd;

	fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)) ||
	    (chr->pty_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	if (!tcgetattr(chr->pty_fd, &t)) {
		cfmakeraw(&t);
		tcsetattr(chr->pty_fd, TCSANOW, &t);
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	chr->in = chr->out = fd;
	if (chr->m->runtime_dir &&
	    asprintf(&chr->link_path, "%s/%s.pty", chr->m->runtime_dir, chr->id) > 0) {
		unlink(chr->link_path);
		if (symlink(name, chr->link_path) < 0)
			log_warn("%s: %s: %s", chr->id, chr->link_path, strerror(errno));
	}
	log_info("%s is on %s", chr->id, name);
	return 0;
}

/* Those who know the guest's name only find a socket of another folder, too. */
static void link_into_rundir(struct chardev *chr, const struct dom_chr *cfg)
{
	if (!cfg->path || *cfg->path != '/' || !chr->m->runtime_dir ||
	    asprintf(&chr->link_path, "%s/%s.sock", chr->m->runtime_dir, chr->id) < 0)
		return;
	if (symlink(cfg->path, chr->link_path) < 0) {
		log_warn("%s: %s: %s", chr->id, chr->link_path, strerror(errno));
		free(chr->link_path);
		chr->link_path = NULL;
	}
}

static int open_unix(struct chardev *chr, const struct dom_chr *cfg)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd, ret;

	/* Without a path it is put into the runtime directory; without one, nobody can come. */
	if (!cfg->path && !chr->m->runtime_dir)
		return 0;
	ret = cfg->path ? snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", cfg->path) :
	      snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s.sock", chr->m->runtime_dir, chr->id);
	if (ret < 0 || (size_t)ret >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!cfg->listen) {
		if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
			goto fail;
		fcntl(fd, F_SETFL, O_NONBLOCK);
		chr->in = chr->out = fd;
		return 0;
	}
	/* A socket left behind by a guest that is gone may be replaced, nothing else. */
	if (!lstat(sun.sun_path, &st) && S_ISSOCK(st.st_mode)) {
		if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
			errno = EADDRINUSE;
		if (errno != ECONNREFUSED)
			goto fail;
		unlink(sun.sun_path);
	}
	mask = umask(077);
	ret = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	umask(mask);
	if (ret < 0)
		goto fail;
	chr->socket_path = strdup(sun.sun_path);
	if (listen(fd, 1) < 0)
		goto fail;
	link_into_rundir(chr, cfg);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	chr->listen_fd = fd;
	return 0;
fail:
	ret = -errno;
	close(fd);
	return ret;
}

static int open_tcp(struct chardev *chr, const struct dom_chr *cfg)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = cfg->listen ? AI_PASSIVE : 0,
	};
	struct addrinfo *list, *ai;
	int ret, fd = -1, one = 1;

	ret = getaddrinfo(cfg->host, cfg->service, &hints, &list);
	if (ret) {
		log_error("%s: %s:%s: %s", chr->id, cfg->host ? cfg->host : "", cfg->service,
			  gai_strerror(ret));
		return -EHOSTUNREACH;
	}
	ret = -EHOSTUNREACH;
	for (ai = list; ai; ai = ai->ai_next) {
		fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
		if (fd < 0) {
			ret = -errno;
			continue;
		}
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (cfg->listen ? !bind(fd, ai->ai_addr, ai->ai_addrlen) && !listen(fd, 1)
				: !connect(fd, ai->ai_addr, ai->ai_addrlen))
			break;
		ret = -errno;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	if (fd < 0)
		return ret;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (cfg->listen)
		chr->listen_fd = fd;
	else
		chr->in = chr->out = fd;
	return 0;
}

static struct logfile *open_log(struct chardev *chr, const char *path, bool append)
{
	struct logfile *f = logfile_open(path, append);

	if (f && logfile_backups(f) < LOGFILE_BACKUPS)
		log_warn("%s: %s.0 to %s.%u cannot all be written; of what the guest writes, less than %u MiB are kept",
			 chr->id, path, path, LOGFILE_BACKUPS - 1, (LOGFILE_BACKUPS + 1) * (LOGFILE_MAX >> 20));
	return f;
}

static int open_file(struct chardev *chr, const struct dom_chr *cfg)
{
	struct stat st;

	if (stat(cfg->path, &st) < 0 || S_ISREG(st.st_mode)) {
		chr->file = open_log(chr, cfg->path, cfg->append);
		return chr->file ? 0 : -errno;
	}
	chr->out = open(cfg->path, O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC |
			(cfg->append ? O_APPEND : O_TRUNC), 0600);
	return chr->out < 0 ? -errno : 0;
}

static int open_backend(struct chardev *chr, const struct dom_chr *cfg)
{
	switch (cfg->type) {
	case CHR_STDIO:
		return chr->m->console_out >= 0 ? open_terminal(chr) : 0;
	case CHR_PTY:	/* the terminal of `hvx run`, for the first one that asks */
		return chr->m->console_out >= 0 ? open_terminal(chr) : open_pty(chr);
	case CHR_FILE:
		return open_file(chr, cfg);
	case CHR_UNIX:
		return open_unix(chr, cfg);
	case CHR_TCP:
		return open_tcp(chr, cfg);
	case CHR_NONE:
	case CHR_NULL:
		break;
	}
	return 0;
}

static size_t share_room(void *opaque)
{
	struct chardev *chr = opaque;

	return chr->rx ? chr->room(chr->opaque) : 0;
}

static void share_input(void *opaque, const uint8_t *data, size_t len)
{
	struct chardev *chr = opaque;

	if (chr->rx)
		chr->rx(chr->opaque, data, len);
}

static const struct share_ops share_ops = { .room = share_room, .input = share_input };

struct chardev *chardev_open(struct machine *m, const struct dom_chr *cfg, const char *id)
{
	struct chardev *chr = calloc(1, sizeof(*chr));
	int ret;

	if (!chr) {
		log_error("%s: out of memory", id);
		return NULL;
	}
	chr->m = m;
	chr->in = chr->out = chr->listen_fd = chr->pty_fd = -1;
	snprintf(chr->id, sizeof(chr->id), "%s", id);
	ret = open_backend(chr, cfg);
	if (ret) {
		log_error("%s: cannot open %s: %s", id,
			  cfg->path ? cfg->path : cfg->service ? cfg->service : "the console",
			  strerror(-ret));
		goto fail;
	}
	if (cfg->log_file) {
		chr->log = open_log(chr, cfg->log_file, cfg->log_append);
		if (!chr->log) {
			log_error("%s: cannot open log file %s: %s", id, cfg->log_file,
				  strerror(errno));
			goto fail;
		}
	}
	if (m->runtime_dir && (cfg->type == CHR_PTY || cfg->type == CHR_STDIO))
		chr->share = console_share_open(m, id, &share_ops, chr);
	chr->flush_timer = loop_add_timer(m->loop, flush_due, chr);
	if (chr->listen_fd >= 0)
		chr->listen_watch = loop_add_fd(m->loop, chr->listen_fd, EPOLLIN, peer_arrived, chr);
	if (!chr->flush_timer || (chr->listen_fd >= 0 && !chr->listen_watch)) {
		log_error("%s: out of memory", id);
		goto fail;
	}
	return chr;
fail:
	chardev_close(chr);
	return NULL;
}

/* The last words of a guest reach a peer that still listens. */
static void drain(struct chardev *chr)
{
	uint64_t end = clock_now_ns() + 2000000000ULL;

	while (chr->len && chr->out >= 0 && flush(chr) && chr->len) {
		struct pollfd pfd = { .fd = chr->out, .events = POLLOUT };
		uint64_t now = clock_now_ns();

		/* A pty may have nobody at its other end. */
		if (chr->pty_fd >= 0 || now >= end ||
		    poll(&pfd, 1, (int)((end - now) / 1000000) + 1) <= 0)
			break;
	}
}

static void close_file(struct chardev *chr, const char *what, struct logfile *f)
{
	if (f)
		file_error(chr, what, logfile_flush(f));
	if (f && logfile_lost(f))
		log_warn("%s: %llu bytes of output are not in its file", chr->id,
			 (unsigned long long)logfile_lost(f));
	logfile_close(f);
}

void chardev_close(struct chardev *chr)
{
	if (!chr)
		return;
	close_file(chr, "log file", chr->log);
	close_file(chr, "file", chr->file);
	chr->log = chr->file = NULL;
	drain(chr);
	console_share_close(chr->share);
	if (chr->dropped)
		log_warn("%s: %llu bytes of output were dropped", chr->id,
			 (unsigned long long)chr->dropped);
	hang_up(chr);
	loop_del_fd(chr->in_watch);
	loop_del_fd(chr->listen_watch);
	loop_del_timer(chr->flush_timer);
	if (chr->in >= 0)
		close(chr->in);
	if (chr->listen_fd >= 0)
		close(chr->listen_fd);
	if (chr->pty_fd >= 0)
		close(chr->pty_fd);
	if (chr->socket_path)
		unlink(chr->socket_path);
	if (chr->link_path)
		unlink(chr->link_path);
	free(chr->socket_path);
	free(chr->link_path);
	free(chr->ring);
	free(chr);
}
