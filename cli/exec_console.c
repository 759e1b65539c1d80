// SPDX-License-Identifier: GPL-2.0-only
/*
 * A command in a guest without an agent: typed to the shell at the prompt of its
 * console. What a console cannot do is said in exec.h.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "conn.h"
#include "exec.h"
#include "guest.h"

#define ANSWER_MS	10000	/* for the shell */
#define GIVE_UP_MS	5000	/* after Ctrl-C */
#define QUIET_MS	300	/* nothing follows a prompt, at least so long */
#define LINE_MAX_BYTES	3500	/* terminals take 4095 */
#define KEEP		65536U

struct session {
	const struct exec_req *req;
	int fd;
	char tag[17];
	bool crlf;		/* the guest has no stty: its terminal adds CRs */
	bool begun;		/* the output has */
	bool looking;		/* for a shell: a signal ends that */
	unsigned int signals;
	int64_t deadline;	/* ms; 0: none */
	bool timed_out, broken_pipe;	/* the latter: nobody reads our output */
	bool stopping;		/* Ctrl-C was pressed for one of them */
	char buf[KEEP + 1];	/* not yet looked through, or not yet known to be output */
	size_t len;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- what is typed --- */

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool typed;
	bool bad;		/* too long, or with characters that cannot be typed */
};

static void add(struct line *l, const char *s)
{
	size_t n = strlen(s);

	if (l->len + n >= sizeof(l->text)) {
		l->bad = true;
		return;
	}
	memcpy(l->text + l->len, s, n + 1);
	l->len += n;
}

static void add_quoted(struct line *l, const char *s)
{
	char one[5] = "";

	add(l, "'");
	for (; *s; s++) {
		l->bad |= l->typed && ((unsigned char)*s < ' ' || *s == 0x7f);
		one[0] = *s;
		add(l, *s == '\'' ? "'\\''" : one);
	}
	add(l, "'");
}

void exec_quote(const struct exec_req *req, bool typed, char *text, size_t size, bool *bad)
{
	struct line l = { .typed = typed };

	l.text[0] = '\0';
	if (req->dir) {
		add(&l, "cd ");
		add_quoted(&l, req->dir);
		add(&l, " && ");
	}
	for (char *const *e = req->env; e && *e; e++) {
		size_t name = strcspn(*e, "=");
		char copy[128];

		l.bad |= name >= sizeof(copy);
		snprintf(copy, sizeof(copy), "export %.*s=", (int)(name < 100 ? name : 100), *e);
		add(&l, copy);
		add_quoted(&l, *e + name + ((*e)[name] == '='));
		add(&l, " && ");
	}
	add(&l, "exec");
	for (char *const *a = req->argv; *a; a++) {
		add(&l, " ");
		add_quoted(&l, *a);
	}
	*bad = l.bad || l.len >= size;
	if (!*bad)
		memcpy(text, l.text, l.len + 1);
}

static int type(struct session *s, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(s->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- what is said --- */

/* More of it. 1: something came, 0: nothing within ms or a signal, -1: the guest has ended. */
static int listen_for(struct session *s, int ms)
{
	struct pollfd p[] = { { .fd = s->fd, .events = POLLIN }, { .fd = s->req->signals, .events = POLLIN } };
	ssize_t n;

	if (poll(p, 2, ms) <= 0 || !p[0].revents)
		return 0;
	if (s->len == KEEP) {		/* nothing of it was looked for */
		memmove(s->buf, s->buf + KEEP / 2, KEEP / 2);
		s->len = KEEP / 2;
	}
	n = recv(s->fd, s->buf + s->len, KEEP - s->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	/* A NUL is no text, and would end the string. */
	for (ssize_t i = 0; i < n; i++)
		if (!s->buf[s->len + (size_t)i] && !s->begun)
			s->buf[s->len + (size_t)i] = ' ';
	s->len += (size_t)n;
	s->buf[s->len] = '\0';
	return 1;
}

/* Nothing of the command's can be interrupted yet. */
static bool called_off(const struct session *s)
{
	struct pollfd p = { .fd = s->req->signals, .events = POLLIN };

	return s->looking && p.fd >= 0 && poll(&p, 1, 0) > 0;
}

static void drop(struct session *s, size_t n)
{
	memmove(s->buf, s->buf + n, s->len - n + 1);
	s->len -= n;
}

/* The line that has not ended yet; NULL: nothing is in it. */
static const char *last_line(const struct session *s)
{
	const char *nl = strrchr(s->buf, '\n'), *line = nl ? nl + 1 : s->buf;

	line += strspn(line, "\r");
	return *line ? line : NULL;
}

/* It is one that login programs ask with. */
static bool asks_login(const char *line)
{
	static const char *const ends[] = { "ogin:", "ogin: ", "assword:", "assword: " };
	size_t len = line ? strlen(line) : 0;

	for (unsigned int i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (len >= strlen(ends[i]) && !strcmp(line + len - strlen(ends[i]), ends[i]))
			return true;
	return false;
}

/* Past the line that mark begins. False: not within ms, or a login program asks instead. */
static bool heard(struct session *s, const char *mark, int ms)
{
	int64_t end = now_ms() + ms;
	char *at, *nl;

	for (;;) {
		at = strstr(s->buf, mark);
		nl = at ? strchr(at, '\n') : NULL;
		if (nl) {
			s->crlf = nl[-1] == '\r';
			drop(s, (size_t)(nl + 1 - s->buf));
			return true;
		}
		if (called_off(s) || asks_login(last_line(s)) || now_ms() >= end || listen_for(s, (int)(end - now_ms())) < 0)
			return false;
	}
}

static void put(struct session *s, const char *p, size_t len)
{
	size_t from = 0, i;

	for (i = 0; s->crlf && i + 1 < len; i++) {
		if (p[i] != '\r' || p[i + 1] != '\n')
			continue;
		s->broken_pipe |= !s->broken_pipe && !exec_write(s->req->out, p + from, i - from);
		from = i + 1;
	}
	s->broken_pipe |= !s->broken_pipe && !exec_write(s->req->out, p + from, len - from);
}

/* Pass on what cannot be the beginning of mark. True: mark stands at the beginning of what is left. */
static bool pass_output(struct session *s, const char *mark)
{
	size_t mark_len = strlen(mark), n;
	char *at = memmem(s->buf, s->len, mark, mark_len);

	if (at)
		n = (size_t)(at - s->buf);
	else
		for (n = s->len > mark_len ? s->len - mark_len : 0; n < s->len; n++)
			if (!memcmp(s->buf + n, mark, s->len - n < mark_len ? s->len - n : mark_len))
				break;
	/* Its CR may be the one that belongs to mark. */
	if (n && s->crlf && s->buf[n - 1] == '\r')
		n--;
	put(s, s->buf, n);
	drop(s, n);
	return at;
}

/*
 * A shell that is interrupted forgets the rest of its line, and the terminal what was typed
 * ahead: ask once more for the end.
 */
static void press(struct session *s, const char *key)
{
	char text[80];
	int n = snprintf(text, sizeof(text), " printf '\\nhvx'-%s'-end %%d\\n' $?\r", s->tag);

	type(s, key, 1);
	poll(NULL, 0, 200);
	type(s, text, (size_t)n);
}

/* True: go on no more. */
static bool interrupt(struct session *s)
{
	struct signalfd_siginfo si;
	bool late;

	while (s->req->signals >= 0 && read(s->req->signals, &si, sizeof(si)) == sizeof(si)) {
		press(s, si.ssi_signo == SIGQUIT ? "\034" : "\003");
		if (++s->signals >= 3)
			return true;
	}
	late = s->deadline && now_ms() >= s->deadline;
	if (late && s->stopping)
		return true;
	s->timed_out |= late;
	if ((late || s->broken_pipe) && !s->stopping) {
		press(s, "\003");
		s->stopping = true;
		s->deadline = now_ms() + GIVE_UP_MS;
	}
	return false;
}

static int outcome(const struct session *s, int status)
{
	return s->broken_pipe ? 128 + SIGPIPE : s->timed_out ? EXEC_TIMED_OUT : status;
}

static int follow(struct session *s)
{
	char mark[48];
	int status, left;

	snprintf(mark, sizeof(mark), "\nhvx-%s-end ", s->tag);
	for (;;) {
		if (pass_output(s, mark)) {
			char *at = strstr(s->buf, mark);

			if (at && strchr(at + 1, '\n') && sscanf(at + strlen(mark), "%d", &status) == 1)
				return outcome(s, status & 0xff);
		}
		if (interrupt(s))
			return outcome(s, 128 + SIGKILL);
		left = s->deadline ? (int)(s->deadline - now_ms()) : -1;
		if (listen_for(s, s->deadline && left < 0 ? 0 : left) < 0) {
			cli_error("exec: the guest has ended");
			return EXEC_FAILED;
		}
	}
}

/* --- the whole --- */

/*
 * After Enter: a prompt is a line that does not end and that nothing follows. It comes in pieces,
 * so wait for some time, more of it where the guest took long to say anything. NULL: there is none.
 */
static const char *prompt(struct session *s)
{
	int64_t begin = now_ms(), end = begin + ANSWER_MS, quiet = 0;
	const char *line;
	int ret;

	if (type(s, "\r", 1))
		return NULL;
	for (;;) {
		line = quiet ? last_line(s) : NULL;
		if (called_off(s) || asks_login(line) || now_ms() >= end)
			return line;
		ret = listen_for(s, (int)(line ? quiet : end - now_ms()));
		if (ret < 0 || (!ret && line))
			return line;
		if (ret && !quiet)
			quiet = QUIET_MS + 4 * (now_ms() - begin);
	}
}

static const char restore[] = " stty \"$hvx_s\" 2>/dev/null; unset hvx_s\r";

static int find_shell(struct session *s, const char *guest)
{
	char text[160], mark[32];
	bool asked;

	snprintf(mark, sizeof(mark), "hvx-%s", s->tag);
	/* What is typed comes back as an echo: the mark is written in two parts. */
	snprintf(text, sizeof(text), " hvx_s=$(stty -g 2>/dev/null); stty -echo -opost 2>/dev/null; echo hvx'-%s'\r", s->tag);
	asked = !asks_login(prompt(s)) && !called_off(s) && last_line(s);
	if (asked && !type(s, text, strlen(text)) && heard(s, mark, ANSWER_MS))
		return 0;
	/* A shell that is only slow would keep its terminal without an echo. */
	if (asked && !asks_login(last_line(s)))
		type(s, restore, sizeof(restore) - 1);
	if (called_off(s))
		cli_error("exec: interrupted before a shell on the console of %s answered", guest);
	else if (asks_login(last_line(s)))
		cli_error("exec: the console of %s asks for a login; log in with `hvx console %s`, leave it, and try again",
			  guest, guest);
	else
		cli_error("exec: no shell answers on the console of %s; see `hvx console %s`", guest, guest);
	return -1;
}

static int run(struct session *s, const char *guest)
{
	char command[LINE_MAX_BYTES], text[LINE_MAX_BYTES + 256], mark[48];
	int status = EXEC_FAILED, n;
	bool bad;

	exec_quote(s->req, true, command, sizeof(command), &bad);
	if (bad) {
		cli_error("exec: only %d bytes, without control characters, can be typed on a console", LINE_MAX_BYTES);
		return EXEC_FAILED;
	}
	s->looking = true;
	if (find_shell(s, guest))
		return EXEC_FAILED;
	s->looking = false;
	n = snprintf(text, sizeof(text), " (printf 'hvx'-%s'-begin\\n'; %s) </dev/null 2>&1; printf '\\nhvx'-%s'-end %%d\\n' $?\r",
		     s->tag, command, s->tag);
	snprintf(mark, sizeof(mark), "hvx-%s-begin", s->tag);
	if (s->req->timeout_s)
		s->deadline = now_ms() + (int64_t)s->req->timeout_s * 1000;
	if (n >= (int)sizeof(text) || type(s, text, (size_t)n) || !heard(s, mark, ANSWER_MS)) {
		cli_error("exec: the shell on the console of %s does not answer", guest);
	} else {
		s->begun = true;
		status = follow(s);
	}
	type(s, restore, sizeof(restore) - 1);
	return status;
}

int exec_console(const struct guest *g, const char *device, const struct exec_req *req)
{
	static struct session s;
	unsigned char r[8] = { 0 };
	int status = EXEC_FAILED;
	char role = 'r';

	s = (struct session){ .req = req, .fd = console_connect(g->name, g->dir, device, 'w', false, &role) };
	if (s.fd >= 0 && role != 'w') {
		cli_error("exec: somebody else writes to the console of %s", g->name);
	} else if (s.fd >= 0) {
		if (getrandom(r, sizeof(r), 0) < 0)
			memcpy(r, &(int64_t){ now_ms() }, sizeof(r));
		for (unsigned int i = 0; i < sizeof(r); i++)
			snprintf(s.tag + 2 * i, 3, "%02x", r[i]);
		status = run(&s, g->name);
	}
	if (s.fd >= 0)
		close(s.fd);
	return status;
}
