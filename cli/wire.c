// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli.h"
#include "tls.h"
#include "vmm/number.h"
#include "wire.h"

#define DEFAULT_PORT	"49152"
#define MAGIC		"HVXMIGR1"	/* then the length, 4 bytes, then JSON */
#define MAX_MESSAGE	(4U << 20)
#define RELAY_BUF	(256U << 10)

/* --------------------------------------------------------------------- URIs */

static int bad_uri(const char *verb, const char *text)
{
	cli_error("%s: %s: write ssh://[USER@]HOST, tls://HOST[:PORT], tcp://HOST[:PORT] or unix:PATH", verb, text);
	return -1;
}

/* [USER@]HOST[:PORT], [2001:db8::1]:PORT; all may be missing. */
static int split_host(struct wire_uri *u, const char *s)
{
	const char *user = strrchr(s, '@'), *start = user ? user + 1 : s, *end, *port;
	size_t skip = 0;
	long number;

	if (*start == '[') {
		start++;
		end = strchr(start, ']');
		if (!end)
			return -1;
		port = end[1] == ':' ? end + 2 : NULL;
		if (!port && end[1] && strcmp(end + 1, "/"))
			return -1;
	} else {
		end = start + strcspn(start, ":/");
		port = *end == ':' ? end + 1 : NULL;
		if (*end == '/' && end[1])
			return -1;
	}
	if (end > start || user) {
		skip = user && u->kind == WIRE_SSH ? (size_t)(user + 1 - s) : 0;
		if (asprintf(&u->host, "%.*s%.*s", (int)skip, s, (int)(end - start), start) < 0)
			u->host = NULL;
	}
	if (port && number_parse(port, 0, 65535, &number))
		u->port = strdup(port);
	/* What ssh would take for an option is no host. */
	return (port && !u->port) || (u->host && u->host[0] == '-') || (user && u->kind != WIRE_SSH) ? -1 : 0;
}

int wire_uri_parse(const char *verb, const char *text, bool receiving, const struct wire_options *o,
		   struct wire_uri *u)
{
	static const struct {
		const char *scheme;
		enum wire_kind kind;
	} schemes[] = {
		{ "tls://", WIRE_TLS }, { "tcp://", WIRE_TCP }, { "ssh://", WIRE_SSH },
		{ "hvx+ssh://", WIRE_SSH }, { "hvx+tls://", WIRE_TLS },
	};

	memset(u, 0, sizeof(*u));
	if (receiving && !strcmp(text, "-")) {
		u->kind = WIRE_STDIO;
		return 0;
	}
	if (!strncmp(text, "unix:", 5)) {
		u->kind = WIRE_UNIX;
		u->path = strdup(text + 5 + (strncmp(text + 5, "//", 2) ? 0 : 2));
		return u->path && *u->path && strlen(u->path) < sizeof(((struct sockaddr_un *)0)->sun_path) ?
		       0 : bad_uri(verb, text);
	}
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncmp(text, schemes[i].scheme, strlen(schemes[i].scheme)))
			continue;
		u->kind = schemes[i].kind;
		if (split_host(u, text + strlen(schemes[i].scheme)) || (!u->host && !receiving) ||
		    (receiving && u->kind == WIRE_SSH))
			return bad_uri(verb, text);
		if (u->kind != WIRE_TCP || o->unencrypted)
			return 0;
		cli_error("%s: %s: the guest's memory would go over the network for all to read and to change; use tls:// or ssh://, or say --unencrypted",
			  verb, text);
		return -1;
	}
	return bad_uri(verb, text);
}

void wire_uri_free(struct wire_uri *u)
{
	free(u->host);
	free(u->port);
	free(u->path);
	memset(u, 0, sizeof(*u));
}

/* ------------------------------------------------------------- connections */

static void set_timeouts(int fd, int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* A host that has died is noticed within half a minute. */
static void set_keepalive(int fd)
{
	int on = 1, idle = 10, interval = 5, count = 4;
	unsigned int user = WIRE_PATIENCE_S * 1000;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof(user));
}

static int unix_socket(const char *path, bool listening)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;
	mode_t mask;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	mask = umask(0177);
	ret = fd < 0 ? -1 : listening ? bind(fd, (struct sockaddr *)&sa, sizeof(sa)) :
	      connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	if (ret || (listening && listen(fd, 16))) {
		cli_error("%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int tcp_socket(const struct wire_uri *u, bool listening)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = listening ? AI_PASSIVE : 0,
	}, *list = NULL, *a;
	const char *port = u->port ? u->port : DEFAULT_PORT;
	int fd = -1, on = 1, ret = getaddrinfo(u->host, port, &hints, &list), err = 0;

	if (ret) {
		cli_error("%s: %s", u->host ? u->host : "*", gai_strerror(ret));
		return -1;
	}
	for (a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd < 0) {
			err = errno;
			continue;
		}
		if (listening)
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (listening ? bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 16) :
		    connect(fd, a->ai_addr, a->ai_addrlen)) {
			err = errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		cli_error("%s port %s: %s%s", u->host ? u->host : "*", port, strerror(err),
			  err == ECONNREFUSED ? "; `hvx receive` must wait there" : "");
	return fd;
}

/* ssh with our socket for its standard input and output; it ends when that host is silent for half a minute. */
static int start_ssh(const struct wire_uri *u, const struct wire_options *o, struct wire *w)
{
	const char *remote = o->remote ? o->remote : "hvx";
	const char *argv[] = { "ssh", "-T", "-p", u->port ? u->port : "22", "-e", "none",
			       "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=2", "--", u->host, remote,
			       "receive", o->join ? "--join" : "-", o->join ? o->join : NULL, o->join ? "-" : NULL, NULL };
	int pair[2];

	if (!u->port) {		/* what ssh's own configuration says */
		memmove(argv + 2, argv + 4, sizeof(argv) - 4 * sizeof(argv[0]));
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		cli_error("socketpair: %s", strerror(errno));
		return -1;
	}
	w->ssh = fork();
	if (!w->ssh) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		signal(SIGINT, SIG_IGN);	/* Ctrl-C asks for an orderly end */
		dup2(pair[1], STDIN_FILENO);
		dup2(pair[1], STDOUT_FILENO);
		execvp("ssh", (char *const *)(uintptr_t)argv);
		dprintf(STDERR_FILENO, "hvx: ssh: %s\n", strerror(errno));
		_exit(127);
	}
	close(pair[1]);
	if (w->ssh < 0) {
		cli_error("ssh: %s", strerror(errno));
		close(pair[0]);
		w->ssh = 0;
		return -1;
	}
	return pair[0];
}

static const struct tls_ops *tls;	/* once one is wanted */

static bool start_tls(struct wire *w, bool server, const char *host, const struct wire_options *o)
{
	tls = tls_load();
	w->tls = tls ? tls->start(w->in, server, host, o->pki) : NULL;
	return w->tls;
}

int wire_connect(const struct wire_uri *u, const struct wire_options *o, struct wire *w)
{
	int fd;

	*w = (struct wire)WIRE_NONE;
	fd = u->kind == WIRE_UNIX ? unix_socket(u->path, false) :
	     u->kind == WIRE_SSH ? start_ssh(u, o, w) : tcp_socket(u, false);
	if (fd < 0)
		return -1;
	w->in = w->out = fd;
	w->socket = true;
	if (u->kind == WIRE_TCP || u->kind == WIRE_TLS)
		set_keepalive(fd);
	/* ssh may have to ask for a password first. */
	if (u->kind != WIRE_SSH)
		set_timeouts(fd, WIRE_PATIENCE_S);
	if (u->kind != WIRE_TLS)
		return 0;
	if (start_tls(w, false, u->host, o))
		return 0;
	wire_close(w);
	return -1;
}

int wire_listen(const struct wire_uri *u, const struct wire_options *o)
{
	/* What is missing is said now, not when a guest comes. */
	if (u->kind == WIRE_TLS) {
		tls = tls_load();
		if (!tls || tls->check(true, o->pki))
			return -1;
	}
	return u->kind == WIRE_STDIO ? -2 : u->kind == WIRE_UNIX ? unix_socket(u->path, true) :
	       tcp_socket(u, true);
}

int wire_listen_more(const char *path)
{
	return unix_socket(path, true);
}

int wire_take(int listener, const struct wire_uri *u, struct wire *w)
{
	*w = (struct wire)WIRE_NONE;
	if (u->kind == WIRE_STDIO) {
		/* What is printed by accident does not belong into the stream. */
		w->in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		w->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		return w->in < 0 || w->out < 0 ? -1 : 0;
	}
	do {
		w->in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	} while (w->in < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (w->in < 0) {
		int err = errno;

		if (err != EAGAIN)
			cli_error("accept: %s", strerror(err));
		errno = err;
		return -1;
	}
	w->out = w->in;
	w->socket = true;
	set_timeouts(w->in, WIRE_PATIENCE_S);
	if (u->kind != WIRE_UNIX)
		set_keepalive(w->in);
	return 0;
}

int wire_secure(const struct wire_uri *u, const struct wire_options *o, struct wire *w)
{
	return u->kind != WIRE_TLS || start_tls(w, true, NULL, o) ? 0 : -1;
}

int wire_accept(int listener, const struct wire_uri *u, const struct wire_options *o, struct wire *w)
{
	if (wire_take(listener, u, w))
		return -1;
	if (!wire_secure(u, o, w))
		return 0;
	wire_close(w);
	return 1;
}

/* ---------------------------------------------------------------- greetings */

static ssize_t wire_read(struct wire *w, void *buf, size_t len)
{
	return w->tls ? tls->read(w->tls, buf, len) : read(w->in, buf, len);
}

static ssize_t wire_write(struct wire *w, const void *buf, size_t len)
{
	return w->tls ? tls->write(w->tls, buf, len) : write(w->out, buf, len);
}

static int move_all(struct wire *w, void *buf, size_t len, bool sending, const char **why)
{
	uint8_t *at = buf;

	while (len) {
		ssize_t n = sending ? wire_write(w, at, len) : wire_read(w, at, len);

		/* A signal: somebody has enough of waiting. */
		if (n <= 0) {
			*why = !n ? "the other side has hung up" : errno == EAGAIN ? "the other side does not answer" :
			       errno == EINTR ? "interrupted" : strerror(errno);
			return -1;
		}
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int wire_send(struct wire *w, struct json_object *o, const char **why)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	uint32_t len = (uint32_t)strlen(text);
	uint8_t head[12] = MAGIC;

	for (int i = 0; i < 4; i++)
		head[8 + i] = (uint8_t)(len >> 8 * i);
	return move_all(w, head, sizeof(head), true, why) ?:
	       move_all(w, (void *)(uintptr_t)text, len, true, why);
}

struct json_object *wire_receive(struct wire *w, const char **why)
{
	struct json_object *o = NULL;
	struct json_tokener *tok;
	uint8_t head[12];
	uint32_t len;
	char *text;

	if (move_all(w, head, sizeof(head), false, why))
		return NULL;
	len = (uint32_t)head[8] | (uint32_t)head[9] << 8 | (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
	*why = "the other side is no hvx";
	text = memcmp(head, MAGIC, 8) || !len || len > MAX_MESSAGE ? NULL : malloc(len);
	if (!text)
		return NULL;
	tok = json_tokener_new_ex(8);
	if (tok && !move_all(w, text, len, false, why)) {
		*why = "the other side is no hvx";
		o = json_tokener_parse_ex(tok, text, (int)len);
	}
	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	if (tok)
		json_tokener_free(tok);
	free(text);
	return o;
}

/* -------------------------------------------------------------------- relay */

/* What goes one way. */
struct flow {
	uint8_t buf[RELAY_BUF];
	size_t at, len;
	bool eof;		/* nothing more comes */
	bool ended;		/* and that was passed on */
};

static bool fatal(void)
{
	return errno != EAGAIN && errno != EINTR;
}

/* False: the connection is gone. */
static bool take(struct flow *f, struct wire *w, bool from_wire)
{
	ssize_t n;

	if (f->eof || f->len)
		return true;
	n = from_wire ? wire_read(w, f->buf, sizeof(f->buf)) : read(w->relay, f->buf, sizeof(f->buf));
	f->at = 0;
	f->len = n > 0 ? (size_t)n : 0;
	f->eof = !n;
	return n >= 0 || !fatal();
}

static bool give(struct flow *f, struct wire *w, bool to_wire)
{
	ssize_t n;

	while (f->len) {
		n = to_wire ? wire_write(w, f->buf + f->at, f->len) : write(w->relay, f->buf + f->at, f->len);
		if (n < 0)
			return !fatal();
		f->at += (size_t)n;
		f->len -= (size_t)n;
	}
	if (!f->eof || f->ended)
		return true;
	f->ended = true;
	if (!to_wire) {
		shutdown(w->relay, SHUT_WR);
	} else if (w->tls) {
		tls->bye(w->tls);
		shutdown(w->out, SHUT_WR);
	} else if (w->socket) {
		shutdown(w->out, SHUT_WR);
	} else {
		close(w->out);
		w->out = -1;
	}
	return true;
}

/* Both ways until both have ended, or one end is gone: then neither sees a connection any more. */
static void *relay(void *arg)
{
	struct wire *w = arg;
	struct flow *in = calloc(1, sizeof(*in)), *out = calloc(1, sizeof(*out));

	while (in && out && !(in->ended && out->ended)) {
		struct pollfd p[3] = {
			{ .fd = in->eof || in->len ? -1 : w->in, .events = POLLIN },
			{ .fd = w->relay, .events = (short)((out->eof || out->len ? 0 : POLLIN) | (in->len ? POLLOUT : 0)) },
			{ .fd = out->len ? w->out : -1, .events = POLLOUT },
		};
		bool more = w->tls && !in->len && !in->eof && tls->pending(w->tls);
		/* Once one way has ended the other has nothing to wait for. */
		int wait = more ? 0 : in->ended || out->ended ? WIRE_PATIENCE_S * 1000 : -1, n;

		/* Behind ssh, whose two pipes are one socket at the other end, only this process' end is seen there. */
		bool told = w->socket || !out->ended;

		if (!p[1].events && told)
			p[1].fd = -1;
		n = poll(p, 3, wait);
		if ((n < 0 && errno != EINTR) || (!n && wait > 0) || (!told && p[1].revents & POLLHUP))
			break;
		if (!take(in, w, true) || !give(in, w, false) || !take(out, w, false) || !give(out, w, true))
			break;
	}
	shutdown(w->relay, SHUT_RDWR);
	free(in);
	free(out);
	return NULL;
}

int wire_join(const char *path)
{
	const struct wire_uri here = { .kind = WIRE_STDIO };
	struct wire w = WIRE_NONE;
	int ret = -1;

	if (!wire_accept(-2, &here, NULL, &w))
		w.relay = unix_socket(path, false);
	if (w.relay >= 0) {
		fcntl(w.relay, F_SETFL, O_NONBLOCK);
		fcntl(w.in, F_SETFL, fcntl(w.in, F_GETFL) | O_NONBLOCK);
		fcntl(w.out, F_SETFL, fcntl(w.out, F_GETFL) | O_NONBLOCK);
		relay(&w);
		close(w.relay);
		ret = 0;
	}
	w.relay = -1;
	wire_close(&w);
	return ret;
}

int wire_give(struct wire *w)
{
	int pair[2], fd;

	if (w->socket)
		set_timeouts(w->in, 0);
	if (w->socket && !w->tls) {
		fd = w->in;
		w->in = w->out = -1;
		return fd;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		cli_error("socketpair: %s", strerror(errno));
		return -1;
	}
	w->relay = pair[0];
	fcntl(w->relay, F_SETFL, O_NONBLOCK);
	fcntl(w->in, F_SETFL, fcntl(w->in, F_GETFL) | O_NONBLOCK);
	fcntl(w->out, F_SETFL, fcntl(w->out, F_GETFL) | O_NONBLOCK);
	if (pthread_create(&w->thread, NULL, relay, w)) {
		cli_error("cannot start a thread");
		close(pair[1]);
		return -1;
	}
	w->relayed = true;
	return pair[1];
}

void wire_close(struct wire *w)
{
	if (w->relayed) {
		/* The VMM has closed its end, or will never: what it wrote is on its way. */
		pthread_join(w->thread, NULL);
		close(w->relay);
	}
	if (w->tls)
		tls->free(w->tls);
	if (w->in >= 0)
		close(w->in);
	if (w->out >= 0 && w->out != w->in)
		close(w->out);
	/* It goes when its standard input ends. */
	if (w->ssh > 0)
		waitpid(w->ssh, NULL, 0);
	*w = (struct wire)WIRE_NONE;
}
