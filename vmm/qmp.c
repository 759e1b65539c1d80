// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket's server. Everything here runs with the machine lock held,
 * on the main loop or (answers, events) wherever they come from.
 *
 * A client has one command in hand at a time. While it has, or while it does not
 * take what it is sent, nothing more is read from it: its own memory here stays
 * within bounds, and others do not notice it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "machine.h"
#include "qmp.h"
#include "qmp_frame.h"

#define CHUNK		16384U	/* read at once: small commands behind a large one are moved up cheaply */
#define READ_AHEAD	(64U << 10)	/* unsent bytes above which no command is taken */

struct qmp_fd {
	int fd;
	char *name;			/* NULL: came, and "getfd" has not named it */
	STAILQ_ENTRY(qmp_fd) link;
};

struct qmp_client {
	struct qmp_server *server;
	int fd;
	struct loop_fd *watch;
	uint32_t events;		/* that are watched for */
	bool ready;			/* capabilities were negotiated */
	bool eof, dead;
	struct qmp_req *req;		/* in hand */
	struct qmp_frame frame;
	char *in, *out;
	size_t in_len, in_room;
	size_t out_len, out_room;
	unsigned int nr_fds;
	STAILQ_HEAD(, qmp_fd) fds;
	LIST_ENTRY(qmp_client) link;
};

struct qmp_req {
	struct qmp_client *client;	/* NULL: gone */
	struct qmp_server *server;
	struct json_object *id;		/* NULL: none */
	LIST_ENTRY(qmp_req) link;
};

struct qmp_server {
	struct machine *m;
	int listen_fd;
	char *path;
	struct loop_fd *watch;
	bool posted;			/* service() will run */
	unsigned int nr_clients;
	LIST_HEAD(, qmp_client) clients;
	LIST_HEAD(, qmp_req) orphans;	/* requests whose client is gone */
};

/* -------------------------------------------------------------- clients */

static void service(void *opaque);

/* Look after the clients soon, from the main loop: not in the midst of whatever runs now. */
static void need_service(struct qmp_server *s)
{
	if (!s->posted && !loop_post(s->m->loop, service, s))
		s->posted = true;
}

static void client_kill(struct qmp_client *c)
{
	c->dead = true;
	need_service(c->server);
}

static void watch(struct qmp_client *c)
{
	bool hungry = !c->req && !c->eof && c->out_len < READ_AHEAD;
	uint32_t ev = (hungry ? EPOLLIN : 0) | (c->out_len ? EPOLLOUT : 0);

	if (ev != c->events && c->watch) {
		c->events = ev;
		loop_mod_fd(c->watch, ev);
	}
}

static void fd_free(struct qmp_client *c, struct qmp_fd *f)
{
	STAILQ_REMOVE(&c->fds, f, qmp_fd, link);
	c->nr_fds--;
	free(f->name);
	free(f);
}

static void client_free(struct qmp_client *c)
{
	struct qmp_fd *f;

	LIST_REMOVE(c, link);
	c->server->nr_clients--;
	if (c->req) {
		c->req->client = NULL;
		LIST_INSERT_HEAD(&c->server->orphans, c->req, link);
	}
	loop_del_fd(c->watch);
	close(c->fd);
	while ((f = STAILQ_FIRST(&c->fds))) {
		close(f->fd);
		fd_free(c, f);
	}
	free(c->in);
	free(c->out);
	free(c);
}

/* --------------------------------------------------------------- output */

static void flush(struct qmp_client *c)
{
	size_t done = 0;
	ssize_t n;

	while (done < c->out_len) {
		n = send(c->fd, c->out + done, c->out_len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			client_kill(c);
			return;
		}
		done += (size_t)n;
	}
	c->out_len -= done;
	if (c->out_len && done)
		memmove(c->out, c->out + done, c->out_len);
}

static bool grow(char **buf, size_t *room, size_t need)
{
	size_t want = *room ? *room : CHUNK;
	char *p;

	while (want < need)
		want *= 2;
	if (want == *room)
		return true;
	p = realloc(*buf, want);
	if (!p)
		return false;
	*buf = p;
	*room = want;
	return true;
}

/* Takes o. */
static void send_object(struct qmp_client *c, struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							      JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	size_t len = text ? strlen(text) : 0;

	if (c->dead)
		goto out;
	if (!text || c->out_len + len + 2 > QMP_MAX_UNSENT ||
	    !grow(&c->out, &c->out_room, c->out_len + len + 2)) {
		client_kill(c);
		goto out;
	}
	memcpy(c->out + c->out_len, text, len);
	memcpy(c->out + c->out_len + len, "\r\n", 2);
	c->out_len += len + 2;
	flush(c);
	watch(c);
out:
	json_object_put(o);
}

static struct json_object *error_object(const char *class, const char *desc)
{
	struct json_object *o = json_object_new_object(), *e = json_object_new_object();

	json_object_object_add(e, "class", json_object_new_string(class));
	json_object_object_add(e, "desc", json_object_new_string(desc));
	json_object_object_add(o, "error", e);
	return o;
}

static void complain(struct qmp_client *c, const char *desc)
{
	send_object(c, error_object("GenericError", desc));
}

/* ---------------------------------------------------- requests and answers */

/* Takes o, frees req. */
static void answer(struct qmp_req *req, struct json_object *o)
{
	struct qmp_client *c = req->client;

	if (req->id)
		json_object_object_add(o, "id", req->id);
	if (c) {
		c->req = NULL;
		send_object(c, o);
		watch(c);
		need_service(c->server);	/* the next command may be here already */
	} else {
		LIST_REMOVE(req, link);
		json_object_put(o);
	}
	free(req);
}

void qmp_reply(struct qmp_req *req, struct json_object *ret)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "return", ret ? ret : json_object_new_object());
	answer(req, o);
}

static void fail(struct qmp_req *req, const char *class, const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	answer(req, error_object(class, text ? text : "out of memory"));
	free(text);
}

void qmp_fail(struct qmp_req *req, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(req, "GenericError", fmt, ap);
	va_end(ap);
}

void qmp_fail_class(struct qmp_req *req, const char *class, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(req, class, fmt, ap);
	va_end(ap);
}

bool qmp_gone(const struct qmp_req *req)
{
	return !req->client || req->client->dead;
}

static const struct qmp_command *find_command(const char *name)
{
	const struct qmp_command *const *c;

	for (c = __start_hvx_qmp; c < __stop_hvx_qmp; c++)
		if (*c && !strcmp((*c)->name, name))
			return *c;
	return NULL;
}

static struct json_object *greeting(void)
{
	struct json_object *o = json_object_new_object(), *qmp = json_object_new_object();
	struct json_object *version = json_object_new_object(), *n = json_object_new_object();
	int major = 0, minor = 0, micro = 0;

	sscanf(HVX_VERSION, "%d.%d.%d", &major, &minor, &micro);
	json_object_object_add(n, "major", json_object_new_int(major));
	json_object_object_add(n, "minor", json_object_new_int(minor));
	json_object_object_add(n, "micro", json_object_new_int(micro));
	/* The member's name is the protocol's. */
	json_object_object_add(version, "qemu", n);
	json_object_object_add(version, "package", json_object_new_string("hvx " HVX_VERSION));
	json_object_object_add(qmp, "version", version);
	json_object_object_add(qmp, "capabilities", json_object_new_array());
	json_object_object_add(o, "QMP", qmp);
	return o;
}

static void run_version(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o = greeting(), *version;

	(void)m;
	(void)args;
	version = json_object_get(json_object_object_get(json_object_object_get(o, "QMP"), "version"));
	json_object_put(o);
	qmp_reply(req, version);
}

static const struct qmp_command version_command = {
	.name = "query-version", .run = run_version,
	.help = "The version of hvx.",
	.returns = "`qemu`: {`major`, `minor`, `micro`}, which are hvx's here; `package`",
};
QMP_COMMAND(version_command);

static void run_capabilities(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *enable = json_object_object_get(args, "enable");

	(void)m;
	if (enable && json_object_array_length(enable)) {
		qmp_fail(req, "enable: there are no capabilities to enable");
		return;
	}
	req->client->ready = true;
	qmp_reply(req, NULL);
}

static const struct qmp_command capabilities_command = {
	.name = "qmp_capabilities", .run = run_capabilities,
	.help = "The first command of a connection.",
	.args = QMP_ARGS({ "enable", QMP_LIST, .optional = true, .help = "must be empty" }),
};
QMP_COMMAND(capabilities_command);

/* What a message must be, apart from its command's arguments. NULL: it is. */
static const char *check_message(struct json_object *msg, struct json_object **args)
{
	struct json_object *name = json_object_object_get(msg, "execute");

	if (!name)
		return "a command is {\"execute\": NAME, \"arguments\": {...}, \"id\": ...}";
	if (!json_object_is_type(name, json_type_string))
		return "execute: not a string";
	json_object_object_foreach(msg, key, value) {
		if (!strcmp(key, "arguments")) {
			if (!json_object_is_type(value, json_type_object))
				return "arguments: not an object";
			*args = value;
		} else if (strcmp(key, "execute") && strcmp(key, "id")) {
			return "a command has no members but execute, arguments and id";
		}
	}
	return NULL;
}

static void dispatch(struct qmp_client *c, struct json_object *msg)
{
	struct json_object *id = json_object_object_get(msg, "id"), *args = NULL;
	struct qmp_req *req = calloc(1, sizeof(*req));
	const struct qmp_command *cmd;
	const char *why, *name;
	char *misfit;

	if (!req) {
		client_kill(c);
		return;
	}
	req->client = c;
	req->server = c->server;
	req->id = json_object_get(id);
	c->req = req;
	why = check_message(msg, &args);
	if (why) {
		qmp_fail(req, "%s", why);
		return;
	}
	name = json_object_get_string(json_object_object_get(msg, "execute"));
	cmd = find_command(name);
	if (!cmd) {
		qmp_fail_class(req, "CommandNotFound", "%.64s: no such command", name);
		return;
	}
	if (c->ready == (cmd == &capabilities_command)) {
		qmp_fail_class(req, "CommandNotFound", c->ready ? "capabilities are negotiated already" :
			       "the first command is qmp_capabilities");
		return;
	}
	misfit = qmp_check_args(cmd, args);
	if (misfit)
		qmp_fail(req, "%s: %s", cmd->name, misfit);
	else
		cmd->run(c->server->m, req, args);
	free(misfit);
}

/* ---------------------------------------------------------------- input */

static void take_message(struct qmp_client *c, const char *text, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(QMP_MAX_DEPTH + 1);
	struct json_object *msg;

	if (!tok) {
		client_kill(c);
		return;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	msg = json_tokener_parse_ex(tok, text, (int)len);
	if (msg && json_object_is_type(msg, json_type_object))
		dispatch(c, msg);
	else
		complain(c, "not JSON");
	json_object_put(msg);
	json_tokener_free(tok);
}

/* Descriptors that came with commands which did not want them. */
static void drop_unnamed(struct qmp_client *c)
{
	struct qmp_fd *f, *next;

	for (f = STAILQ_FIRST(&c->fds); f; f = next) {
		next = STAILQ_NEXT(f, link);
		if (f->name)
			continue;
		close(f->fd);
		fd_free(c, f);
	}
}

/* Commands that are here, while the client may have one more in hand. */
static void pump(struct qmp_client *c)
{
	enum qmp_frame_result r = FRAME_OBJECT;
	struct qmp_frame *f = &c->frame;

	while (!c->dead && !c->req && c->out_len < READ_AHEAD && r != FRAME_MORE) {
		r = qmp_frame(f, c->in, c->in_len);
		if (r == FRAME_MORE && f->at < QMP_MAX_MESSAGE && f->depth)
			break;
		switch (r) {
		case FRAME_OBJECT:
			take_message(c, c->in + f->start, f->at - f->start);
			break;
		case FRAME_GARBAGE:
			complain(c, "a command is a JSON object; this line is skipped");
			break;
		case FRAME_DEEP:
			complain(c, "nested too deeply; this line is skipped");
			break;
		case FRAME_MANY:
			complain(c, "too many values in one command; this line is skipped");
			break;
		case FRAME_MORE:
			if (f->depth) {
				complain(c, "the command is longer than 1 MiB");
				client_kill(c);
			}
			break;
		}
		c->in_len -= f->at;
		if (c->in_len)
			memmove(c->in, c->in + f->at, c->in_len);
		qmp_frame_next(f);
	}
	if (!c->in_len && !c->req)
		drop_unnamed(c);
	if (!c->in_len && c->in_room > 4 * CHUNK) {
		free(c->in);
		c->in = NULL;
		c->in_room = 0;
	}
	if (c->eof && !c->req && !c->out_len)
		client_kill(c);
	watch(c);
}

static void take_fds(struct qmp_client *c, struct msghdr *mh)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		int *fd = (int *)CMSG_DATA(cm);
		size_t i, n;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			struct qmp_fd *f = c->nr_fds < QMP_MAX_FDS ? calloc(1, sizeof(*f)) : NULL;

			if (!f) {
				close(fd[i]);
				continue;
			}
			f->fd = fd[i];
			c->nr_fds++;
			STAILQ_INSERT_TAIL(&c->fds, f, link);
		}
	}
}

static void receive(struct qmp_client *c)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(QMP_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	ssize_t n;

	if (!grow(&c->in, &c->in_room, c->in_len + CHUNK)) {
		client_kill(c);
		return;
	}
	iov = (struct iovec){ c->in + c->in_len, CHUNK };
	n = recvmsg(c->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		client_kill(c);
		return;
	}
	take_fds(c, &mh);
	c->in_len += (size_t)n;
	c->eof = !n;
}

static void client_ready(void *opaque, uint32_t events)
{
	struct qmp_client *c = opaque;

	if (c->dead)
		return;
	if (events & EPOLLOUT)
		flush(c);
	if (events & EPOLLIN)
		receive(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		client_kill(c);
	if (!c->dead)
		pump(c);
}

static void service(void *opaque)
{
	struct qmp_server *s = opaque;
	struct qmp_client *c, *next;

	s->posted = false;
	for (c = LIST_FIRST(&s->clients); c; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->dead)
			pump(c);
		if (c->dead)
			client_free(c);
	}
}

/* All places are taken: by clients that have gone and were not noticed yet? */
static void notice_gone(struct qmp_server *s)
{
	struct qmp_client *c, *next;

	for (c = LIST_FIRST(&s->clients); c; c = next) {
		struct pollfd p = { .fd = c->fd };

		next = LIST_NEXT(c, link);
		if (c->dead || (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR) && !c->req))
			client_free(c);
	}
}

static void client_arrived(void *opaque, uint32_t events)
{
	struct qmp_server *s = opaque;
	int fd = loop_accept(s->watch);
	struct qmp_client *c;

	(void)events;
	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	if (s->nr_clients == QMP_MAX_CLIENTS)
		notice_gone(s);
	c->server = s;
	c->fd = fd;
	STAILQ_INIT(&c->fds);
	LIST_INSERT_HEAD(&s->clients, c, link);
	s->nr_clients++;
	if (s->nr_clients > QMP_MAX_CLIENTS) {
		complain(c, "too many clients");
		client_kill(c);
		return;
	}
	c->events = EPOLLIN;
	c->watch = loop_add_fd(s->m->loop, fd, EPOLLIN, client_ready, c);
	if (!c->watch)
		client_kill(c);
	else
		send_object(c, greeting());
}

/* ---------------------------------------------------------- descriptors */

int qmp_take_fd(struct qmp_req *req, const char *name)
{
	struct qmp_fd *f;
	int fd;

	if (!req->client)
		return -1;
	STAILQ_FOREACH(f, &req->client->fds, link)
		if (f->name && !strcmp(f->name, name))
			break;
	if (!f)
		return -1;
	fd = f->fd;
	fd_free(req->client, f);
	return fd;
}

static void run_getfd(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const char *name = qmp_str(args, "fdname");
	struct qmp_fd *f;
	int old;

	(void)m;
	STAILQ_FOREACH(f, &req->client->fds, link)
		if (!f->name)
			break;
	if (!f || !*name) {
		qmp_fail(req, f ? "fdname: empty" : "no file descriptor came with the command");
		return;
	}
	old = qmp_take_fd(req, name);
	if (old >= 0)
		close(old);
	f->name = strdup(name);
	if (f->name)
		qmp_reply(req, NULL);
	else
		qmp_fail(req, "out of memory");
}

static const struct qmp_command getfd_command = {
	.name = "getfd", .run = run_getfd,
	.help = "Name a file descriptor that came with this message as SCM_RIGHTS, for a later command of this connection. One of the same name is closed.",
	.args = QMP_ARGS({ "fdname", QMP_STR, .help = "the name" }),
};
QMP_COMMAND(getfd_command);

static void run_closefd(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	int fd = qmp_take_fd(req, qmp_str(args, "fdname"));

	(void)m;
	if (fd < 0) {
		qmp_fail(req, "fdname: no descriptor of this name");
		return;
	}
	close(fd);
	qmp_reply(req, NULL);
}

static const struct qmp_command closefd_command = {
	.name = "closefd", .run = run_closefd,
	.help = "Close a descriptor that `getfd` named.",
	.args = QMP_ARGS({ "fdname", QMP_STR, .help = "its name" }),
};
QMP_COMMAND(closefd_command);

/* --------------------------------------------------------------- events */

void qmp_event(struct machine *m, const char *name, struct json_object *data)
{
	struct json_object *o, *stamp;
	struct qmp_client *c;
	struct timeval tv;

	if (!m->qmp) {
		json_object_put(data);
		return;
	}
	gettimeofday(&tv, NULL);
	o = json_object_new_object();
	stamp = json_object_new_object();
	json_object_object_add(o, "event", json_object_new_string(name));
	if (data)
		json_object_object_add(o, "data", data);
	json_object_object_add(stamp, "seconds", json_object_new_int64(tv.tv_sec));
	json_object_object_add(stamp, "microseconds", json_object_new_int64(tv.tv_usec));
	json_object_object_add(o, "timestamp", stamp);
	LIST_FOREACH(c, &m->qmp->clients, link)
		if (c->ready)
			send_object(c, json_object_get(o));
	json_object_put(o);
}

/* ------------------------------------------------------- open and close */

/* The directory's name may be longer than a socket's address: go by its descriptor. */
static int bind_in(int fd, const char *dir)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int ret = 0, d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	mode_t mask;

	if (d < 0)
		return -errno;
	unlinkat(d, "control.sock", 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/control.sock", d);
	mask = umask(077);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 16) < 0)
		ret = -errno;
	umask(mask);
	close(d);
	return ret;
}

int qmp_open(struct machine *m, const char *dir)
{
	struct qmp_server *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		return ret;
	s->m = m;
	m->qmp = s;
	LIST_INIT(&s->clients);
	LIST_INIT(&s->orphans);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->listen_fd < 0)
		ret = -errno;
	else if (asprintf(&s->path, "%s/control.sock", dir) < 0)
		s->path = NULL;
	else
		ret = bind_in(s->listen_fd, dir);
	if (!ret) {
		s->watch = loop_add_fd(m->loop, s->listen_fd, EPOLLIN, client_arrived, s);
		ret = s->watch ? 0 : -errno;
	}
	if (ret) {
		log_error("the control socket in %s: %s", dir, strerror(-ret));
		qmp_close(m);
	}
	return ret;
}

void qmp_close(struct machine *m)
{
	struct qmp_server *s = m->qmp;
	struct qmp_client *c;
	struct qmp_req *req;

	if (!s)
		return;
	m->qmp = NULL;
	while ((c = LIST_FIRST(&s->clients))) {
		flush(c);
		client_free(c);
	}
	while ((req = LIST_FIRST(&s->orphans))) {
		LIST_REMOVE(req, link);
		json_object_put(req->id);
		free(req);
	}
	loop_del_fd(s->watch);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->path)
		unlink(s->path);
	free(s->path);
	free(s);
}
