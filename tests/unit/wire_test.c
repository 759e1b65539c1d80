// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/wire.c cli/tls.c */
/* Connections of a migration: addresses, greetings, TLS with and without the right certificates, and the relay. */
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/tls.h"
#include "cli/wire.h"

static char dir[64], said[4096];

void cli_error(const char *fmt, ...)
{
	size_t len = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + len, sizeof(said) - len, fmt, ap);
	va_end(ap);
}

const struct tls_ops *tls_load(void)
{
	return &hvx_tls;
}

static void sh(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	ck_assert_msg(!system(cmd), "%s", cmd);
}

/* An authority, and a server's and a client's certificate of it. */
static void make_pki(const char *sub, const char *server)
{
	sh("cd %s && mkdir %s && cd %s && exec >/dev/null 2>&1 && printf 'basicConstraints=CA:TRUE\\nkeyUsage=keyCertSign\\n' > ca.ext &&"
	   "openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -subj /CN=ca -out ca.csr &&"
	   "openssl x509 -req -in ca.csr -signkey ca.key -extfile ca.ext -days 2 -out cacert.pem &&"
	   "for n in server client; do openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ${n}key.pem -subj /CN=$n -out $n.csr &&"
	   "printf 'subjectAltName=%s\\n' > $n.ext && openssl x509 -req -in $n.csr -CA cacert.pem -CAkey ca.key -CAcreateserial -extfile $n.ext -days 2 -out ${n}cert.pem || exit 1; done",
	   dir, sub, sub, server);
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/hvx-wire.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	sh("rm -rf %s", dir);
}

START_TEST(test_uris)
{
	static const struct {
		const char *text, *host, *port;
		enum wire_kind kind;
	} good[] = {
		{ "tls://h.example:16514", "h.example", "16514", WIRE_TLS }, { "tls://h", "h", NULL, WIRE_TLS },
		{ "tls://[2001:db8::1]:7", "2001:db8::1", "7", WIRE_TLS }, { "tls://[::1]", "::1", NULL, WIRE_TLS },
		{ "tls://h/", "h", NULL, WIRE_TLS },
		{ "ssh://me@h:22", "me@h", "22", WIRE_SSH }, { "ssh://h", "h", NULL, WIRE_SSH },
		{ "tcp://127.0.0.1:1", "127.0.0.1", "1", WIRE_TCP },
	};
	static const char *const bad[] = {
		"", "h", "http://h", "tls://", "tls://h:", "tls://h:x", "tls://h:99999", "tls://h/path", "tls://me@h",
		"ssh://-oProxyCommand=x", "ssh://", "unix:", "tls://[::1", "tls://[::1]x", "-",
	};
	struct wire_options o = { .unencrypted = true };
	struct wire_uri u;
	char path[300];
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(!wire_uri_parse("migrate", good[i].text, false, &o, &u), "%s", good[i].text);
		ck_assert_str_eq(u.host, good[i].host);
		ck_assert_pstr_eq(u.port, good[i].port);
		ck_assert_int_eq(u.kind, good[i].kind);
		wire_uri_free(&u);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(wire_uri_parse("migrate", bad[i], false, &o, &u), "%s", bad[i]);
		wire_uri_free(&u);
	}
	memset(path, 'x', sizeof(path) - 1);
	memcpy(path, "unix:", 5);
	path[sizeof(path) - 1] = '\0';
	ck_assert(wire_uri_parse("migrate", path, false, &o, &u));
	wire_uri_free(&u);
	said[0] = '\0';
	o.unencrypted = false;
	ck_assert(wire_uri_parse("migrate", "tcp://h", false, &o, &u));
	ck_assert(strstr(said, "--unencrypted"));
	wire_uri_free(&u);
	ck_assert(!wire_uri_parse("receive", "tls://:99", true, &o, &u));
	ck_assert_ptr_null(u.host);
	ck_assert_str_eq(u.port, "99");
	wire_uri_free(&u);
	ck_assert(!wire_uri_parse("receive", "-", true, &o, &u));
	wire_uri_free(&u);
	ck_assert(wire_uri_parse("receive", "ssh://h", true, &o, &u));
	wire_uri_free(&u);
}
END_TEST

struct end {
	struct wire_uri u;
	struct wire_options o;
	struct wire w;
	int listener, ret, vmm;
	const char *why;
	struct json_object *got;
	pthread_t t;
};

static void *serve(void *arg)
{
	struct end *e = arg;
	struct json_object *o = json_object_new_object();

	e->ret = wire_accept(e->listener, &e->u, &e->o, &e->w);
	if (!e->ret) {
		e->got = wire_receive(&e->w, &e->why);
		json_object_object_add(o, "ok", json_object_new_boolean(true));
		wire_send(&e->w, o, &e->why);
		e->vmm = wire_give(&e->w);
	}
	json_object_put(o);
	return NULL;
}

/* Where it came to listen: `connect` has no port then. */
static void add_port(struct wire_uri *u, int listener)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);

	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	ck_assert_ptr_null(u->port);
	ck_assert_int_gt(asprintf(&u->port, "%u", ntohs(sa.sin_port)), 0);
}

/* Connect by uri; false: not possible. */
static bool meet(struct end *s, struct end *c, const char *listen, const char *connect, const char *pki_s, const char *pki_c)
{
	struct json_object *hello = json_object_new_object(), *answer = NULL;
	bool ok = false;

	memset(s, 0, sizeof(*s));
	memset(c, 0, sizeof(*c));
	said[0] = '\0';
	s->o = (struct wire_options){ .unencrypted = true, .pki = pki_s };
	c->o = (struct wire_options){ .unencrypted = true, .pki = pki_c };
	ck_assert_int_eq(wire_uri_parse("receive", listen, true, &s->o, &s->u), 0);
	ck_assert_int_eq(wire_uri_parse("migrate", connect, false, &c->o, &c->u), 0);
	s->listener = wire_listen(&s->u, &s->o);
	ck_assert_int_ge(s->listener, 0);
	if (s->u.kind != WIRE_UNIX)
		add_port(&c->u, s->listener);
	pthread_create(&s->t, NULL, serve, s);
	json_object_object_add(hello, "name", json_object_new_string("g"));
	if (!wire_connect(&c->u, &c->o, &c->w)) {
		if (!wire_send(&c->w, hello, &c->why))
			answer = wire_receive(&c->w, &c->why);
		ok = answer && json_object_object_get(answer, "ok");
		if (ok)
			c->vmm = wire_give(&c->w);
		else
			wire_close(&c->w);
	}
	json_object_put(hello);
	json_object_put(answer);
	pthread_join(s->t, NULL);
	close(s->listener);
	return ok;
}

static void part(struct end *s, struct end *c)
{
	wire_close(&c->w);
	wire_close(&s->w);
	json_object_put(s->got);
	wire_uri_free(&s->u);
	wire_uri_free(&c->u);
}

static void *pump(void *arg)
{
	int fd = *(int *)arg;
	static uint8_t buf[1 << 16];

	for (unsigned int i = 0; i < 300; i++) {
		memset(buf, (int)i, sizeof(buf));
		for (size_t at = 0; at < sizeof(buf);) {
			ssize_t n = write(fd, buf + at, sizeof(buf) - at);

			if (n <= 0)
				return NULL;
			at += (size_t)n;
		}
	}
	shutdown(fd, SHUT_WR);
	return NULL;
}

/* 19 MiB from one VMM to the other, and a word back after the end of it. */
static void exchange(struct end *s, struct end *c)
{
	uint8_t buf[65536];
	size_t all = 0;
	ssize_t n;
	pthread_t t;
	char word[8] = "";

	pthread_create(&t, NULL, pump, &c->vmm);
	while ((n = read(s->vmm, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i += 997)
			ck_assert_uint_eq(buf[i], (uint8_t)((all + (size_t)i) >> 16));
		all += (size_t)n;
	}
	ck_assert_uint_eq(all, 300U << 16);
	ck_assert_int_eq(write(s->vmm, "running", 7), 7);
	shutdown(s->vmm, SHUT_WR);
	ck_assert_int_eq(recv(c->vmm, word, 7, MSG_WAITALL), 7);
	ck_assert_str_eq(word, "running");
	pthread_join(t, NULL);
	close(s->vmm);
	close(c->vmm);
}

START_TEST(test_plain)
{
	char uri[128];
	struct end s, c;

	snprintf(uri, sizeof(uri), "unix:%s/sock", dir);
	ck_assert(meet(&s, &c, uri, uri, NULL, NULL));
	ck_assert_str_eq(json_object_get_string(json_object_object_get(s.got, "name")), "g");
	exchange(&s, &c);
	part(&s, &c);
	ck_assert(meet(&s, &c, "tcp://127.0.0.1:0", "tcp://127.0.0.1", NULL, NULL));
	exchange(&s, &c);
	part(&s, &c);
}
END_TEST

START_TEST(test_tls)
{
	static const char at[] = "tls://127.0.0.1:0", to[] = "tls://localhost";
	char good[96], other[96], wrong[96], none[96];
	struct end s, c;

	make_pki("good", "DNS:localhost");
	make_pki("other", "DNS:localhost");
	make_pki("wrong", "DNS:elsewhere.example");
	snprintf(good, sizeof(good), "%s/good", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	snprintf(wrong, sizeof(wrong), "%s/wrong", dir);
	snprintf(none, sizeof(none), "%s/none", dir);
	ck_assert_msg(meet(&s, &c, at, to, good, good), "%s", said);
	exchange(&s, &c);
	part(&s, &c);
	/* Another authority, on either side. */
	ck_assert(!meet(&s, &c, at, to, other, good));
	ck_assert_msg(strstr(said, "certificate"), "%s", said);
	part(&s, &c);
	ck_assert(!meet(&s, &c, at, to, good, other));
	ck_assert_int_eq(s.ret, 1);
	part(&s, &c);
	/* The right authority, somebody else's name. */
	ck_assert(!meet(&s, &c, at, to, wrong, wrong));
	ck_assert_msg(strstr(said, "name"), "%s", said);
	part(&s, &c);
	/* No certificates at all: says where they belong. */
	ck_assert(!meet(&s, &c, at, to, good, none));
	ck_assert_msg(strstr(said, "cacert.pem"), "%s", said);
	part(&s, &c);
	/* And at the receiving end before anybody comes. */
	s.o = (struct wire_options){ .pki = none };
	said[0] = '\0';
	ck_assert_int_eq(wire_uri_parse("receive", at, true, &s.o, &s.u), 0);
	ck_assert_int_eq(wire_listen(&s.u, &s.o), -1);
	ck_assert_msg(strstr(said, "none/cacert.pem"), "%s", said);
	wire_uri_free(&s.u);
}
END_TEST

/* `receive --join`: what comes on standard input goes to the one that waits, and back. */
START_TEST(test_join)
{
	const struct wire_uri here = { .kind = WIRE_UNIX };
	const struct wire_options o = { 0 };
	char path[96], byte = 0;
	int listener, to[2], from[2], status;
	struct wire w;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/.receive-0123456789abcdef", dir);
	listener = wire_listen_more(path);
	ck_assert_int_ge(listener, 0);
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		for (int i = 0; i < 2; i++) {
			close(to[i]);
			close(from[i]);
		}
		_exit(wire_join(path) ? 1 : 0);
	}
	close(to[0]);
	close(from[1]);
	ck_assert_int_eq(wire_accept(listener, &here, &o, &w), 0);
	ck_assert_int_eq(write(to[1], "x", 1), 1);
	ck_assert_int_eq(read(w.in, &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
	ck_assert_int_eq(write(w.out, "y", 1), 1);
	ck_assert_int_eq(read(from[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'y');
	if (_i)
		wire_close(&w);
	else
		close(to[1]);
	ck_assert_int_eq(read(_i ? from[0] : w.in, &byte, 1), 0);
	if (_i)
		close(to[1]);
	else
		wire_close(&w);
	close(from[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(listener);
	/* Nobody waits. */
	unlink(path);
	ck_assert_int_eq(wire_join(path), -1);
}
END_TEST

/* One end of the relay is gone: the other sees it. */
START_TEST(test_gone)
{
	static const char at[] = "tls://127.0.0.1:0", to[] = "tls://localhost";
	char good[96], byte;
	struct end s, c;

	make_pki("good", "DNS:localhost");
	snprintf(good, sizeof(good), "%s/good", dir);
	ck_assert_msg(meet(&s, &c, at, to, good, good), "%s", said);
	if (_i)
		close(c.vmm);		/* a VMM that was killed */
	else
		shutdown(c.w.in, SHUT_RDWR);	/* a cable */
	ck_assert_int_le(read(s.vmm, &byte, 1), 0);
	if (!_i) {
		ck_assert_int_le(read(c.vmm, &byte, 1), 0);
		close(c.vmm);
	}
	close(s.vmm);
	part(&s, &c);
}
END_TEST

static void on_signal(int sig)
{
	(void)sig;
}

static void *wait_for_word(void *arg)
{
	struct end *e = arg;

	e->got = wire_receive(&e->w, &e->why);
	__atomic_store_n(&e->ret, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* A destination that says nothing: `hvx migrate` gives up in time, and before that by Ctrl-C. */
START_TEST(test_silent)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct end e = { .w = WIRE_NONE };
	struct timeval tv;
	socklen_t len = sizeof(tv);
	char uri[128];
	pthread_t t;
	int fd;

	sigaction(SIGUSR1, &sa, NULL);
	snprintf(uri, sizeof(uri), "unix:%s/silent", dir);
	ck_assert_int_eq(wire_uri_parse("migrate", uri, false, &e.o, &e.u), 0);
	e.listener = wire_listen(&e.u, &e.o);
	ck_assert_int_eq(wire_connect(&e.u, &e.o, &e.w), 0);
	ck_assert_int_eq(getsockopt(e.w.in, SOL_SOCKET, SO_RCVTIMEO, &tv, &len), 0);
	ck_assert_int_eq(tv.tv_sec, WIRE_PATIENCE_S);
	pthread_create(&t, NULL, wait_for_word, &e);
	while (!__atomic_load_n(&e.ret, __ATOMIC_ACQUIRE)) {
		pthread_kill(t, SIGUSR1);
		usleep(1000);
	}
	pthread_join(t, NULL);
	ck_assert_ptr_null(e.got);
	ck_assert_str_eq(e.why, "interrupted");
	/* A VMM has other limits. */
	fd = wire_give(&e.w);
	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len), 0);
	ck_assert_int_eq(tv.tv_sec, 0);
	close(fd);
	close(e.listener);
	wire_uri_free(&e.u);
}
END_TEST

/* Greetings that are none: bad magic, lengths, JSON that is no object, too deep, cut off. */
START_TEST(test_greetings)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{ "", 0 }, { "GET / HTTP/1.1\r\n\r\n", 18 }, { "HVXMIGR1\0\0\0\0", 12 }, { "HVXMIGR1\377\377\377\377", 12 },
		{ "HVXMIGR1\2\0\0\0[]", 14 }, { "HVXMIGR1\5\0\0\0{}", 14 }, { "HVXMIGR1\2\0\0\0{\"", 14 },
		{ "HVXMIGR1\30\0\0\0{\"a\":[[[[[[[[[[[[[[[[[[[", 36 },
	};
	const char *why;
	int pair[2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wire w = WIRE_NONE;

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		ck_assert_int_eq(write(pair[1], bad[i].bytes, bad[i].len), (ssize_t)bad[i].len);
		close(pair[1]);
		w.in = w.out = pair[0];
		w.socket = true;
		why = NULL;
		ck_assert_msg(!wire_receive(&w, &why), "%zu", i);
		ck_assert_ptr_nonnull(why);
		wire_close(&w);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wire");
	TCase *tc = tcase_create("wire");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_uris);
	tcase_add_test(tc, test_plain);
	tcase_add_test(tc, test_tls);
	tcase_add_loop_test(tc, test_gone, 0, 2);
	tcase_add_loop_test(tc, test_join, 0, 2);
	tcase_add_test(tc, test_greetings);
	tcase_add_test(tc, test_silent);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
