// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/qmp.c vmm/qmp_frame.c vmm/qmp_schema.c vmm/loop.c vmm/log.c */
/* The control socket: its wire form, and clients that are slow, malformed, huge, many, or gone. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/machine.h"
#include "vmm/qmp.h"
#include "vmm/qmp_frame.h"

static struct machine m;
static char dir[64];
static pthread_t thread;

/* --- commands of the test --- */

static void run_echo(struct machine *mp, struct qmp_req *req, struct json_object *args)
{
	(void)mp;
	qmp_reply(req, json_object_get(args));
}

static const char *const colours[] = { "red", "green", NULL };
static const struct qmp_command echo_command = {
	.name = "echo", .help = "Say it again.", .run = run_echo,
	.args = QMP_ARGS({ "s", QMP_STR, .optional = true },
			 { "n", QMP_INT, .optional = true, .min = -3, .max = 9 },
			 { "i", QMP_INT, .optional = true }, { "b", QMP_BOOL, .optional = true },
			 { "o", QMP_OBJ, .optional = true }, { "l", QMP_LIST, .optional = true },
			 { "c", QMP_STR, .optional = true, .choices = colours },
			 { "f", QMP_NUM, .optional = true }, { "a", QMP_ANY, .optional = true }),
};
QMP_COMMAND(echo_command);

static const struct qmp_command need_command = {
	.name = "need", .help = "Wants x.", .run = run_echo,
	.args = QMP_ARGS({ "x", QMP_INT, .help = "what it wants" }),
};
QMP_COMMAND(need_command);

static struct qmp_req *held;

static void run_hold(struct machine *mp, struct qmp_req *req, struct json_object *args)
{
	(void)mp;
	(void)args;
	held = req;
}

static const struct qmp_command hold_command = { .name = "hold", .help = "Answers later.", .run = run_hold };
QMP_COMMAND(hold_command);

static void run_big(struct machine *mp, struct qmp_req *req, struct json_object *args)
{
	size_t n = (size_t)qmp_int(args, "n", 0);
	char *s = malloc(n + 1);

	(void)mp;
	memset(s, 'x', n);
	qmp_reply(req, json_object_new_string_len(s, (int)n));
	free(s);
}

static const struct qmp_command big_command = {
	.name = "big", .help = "A long answer.", .run = run_big, .args = QMP_ARGS({ "n", QMP_INT, .help = "bytes" }),
};
QMP_COMMAND(big_command);

static void run_readfd(struct machine *mp, struct qmp_req *req, struct json_object *args)
{
	int fd = qmp_take_fd(req, qmp_str(args, "name"));
	char c = 0;

	(void)mp;
	if (fd < 0) {
		qmp_fail_class(req, "DeviceNotFound", "none");
		return;
	}
	ck_assert_int_eq(read(fd, &c, 1), 1);
	close(fd);
	qmp_reply(req, json_object_new_string_len(&c, 1));
}

static const struct qmp_command readfd_command = {
	.name = "readfd", .help = "A byte of it.", .run = run_readfd, .args = QMP_ARGS({ "name", QMP_STR, .help = "which" }),
};
QMP_COMMAND(readfd_command);

/* --- server and clients --- */

static void *loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void setup(void)
{
	memset(&m, 0, sizeof(m));
	held = NULL;
	pthread_mutex_init(&m.lock, NULL);
	snprintf(dir, sizeof(dir), "/tmp/hvx-qmp.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	m.loop = loop_new(&m.lock);
	ck_assert_int_eq(qmp_open(&m, dir), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, loop_thread, m.loop), 0);
}

static void teardown(void)
{
	char path[128];

	loop_stop(m.loop);
	pthread_join(thread, NULL);
	pthread_mutex_lock(&m.lock);
	qmp_close(&m);
	pthread_mutex_unlock(&m.lock);
	loop_free(m.loop);
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(rmdir(dir), 0);
}

struct client {
	int fd;
	size_t len;
	char line[QMP_MAX_UNSENT + 4096];
	char buf[QMP_MAX_UNSENT + 4096];
};

static struct client a, b;

static int open_client(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", dir);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/* The next line, or NULL: hung up. 20 s are a guard. */
static const char *next_line(struct client *c)
{
	for (;;) {
		char *end = memchr(c->buf, '\n', c->len);
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		ssize_t n;

		if (end) {
			size_t len = (size_t)(end - c->buf) + 1;

			memcpy(c->line, c->buf, len);
			c->line[len - 1] = '\0';
			memmove(c->buf, c->buf + len, c->len -= len);
			return c->line;
		}
		ck_assert_int_eq(poll(&p, 1, 20000), 1);
		ck_assert_uint_lt(c->len, sizeof(c->buf));
		n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
		if (n <= 0)
			return NULL;
		c->len += (size_t)n;
	}
}

static void say(struct client *c, const char *text)
{
	size_t len = strlen(text);

	ck_assert_int_eq(send(c->fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void expect(struct client *c, const char *want)
{
	const char *line = next_line(c);

	ck_assert_msg(line && strstr(line, want), "wanted %s, got %.200s", want, line ? line : "(hung up)");
}

static void ask(struct client *c, const char *text, const char *want)
{
	say(c, text);
	expect(c, want);
}

static void greet(struct client *c)
{
	c->fd = open_client();
	c->len = 0;
	expect(c, "{\"QMP\":{\"version\":{\"qemu\":");
	ask(c, "{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
}

static void works(void)
{
	greet(&b);
	ask(&b, "{\"execute\":\"echo\",\"arguments\":{\"s\":\"alive\"}}", "alive");
	close(b.fd);
}

/* --- the wire form --- */

START_TEST(negotiation)
{
	a.fd = open_client();
	a.len = 0;
	expect(&a, "\"capabilities\":[]");
	ask(&a, "{\"execute\":\"echo\",\"id\":7}", "CommandNotFound");
	ask(&a, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}", "GenericError");
	ask(&a, "{\"execute\":\"qmp_capabilities\",\"id\":[1,{\"x\":null}]}", "{\"return\":{},\"id\":[1,{\"x\":null}]}");
	ask(&a, "{\"execute\":\"qmp_capabilities\"}", "CommandNotFound");
	ask(&a, "{\"execute\":\"query-version\",\"id\":\"v\"}", "\"id\":\"v\"");
	close(a.fd);
}
END_TEST

START_TEST(arguments)
{
	static const struct { const char *args, *want; } cases[] = {
		{ "{}", "\"return\":{}" },
		{ "{\"n\":9,\"i\":-9223372036854775808,\"b\":true,\"s\":\"\\u00e9\"}", "-9223372036854775808" },
		{ "{\"n\":10}", "n: from -3 to 9" },
		{ "{\"n\":-4}", "n: from -3 to 9" },
		{ "{\"n\":18446744073709551615}", "n: from -3 to 9" },
		{ "{\"n\":1.5}", "n: not of type int" },
		{ "{\"n\":\"1\"}", "n: not of type int" },
		{ "{\"n\":null}", "n: not of type int" },
		{ "{\"s\":5}", "s: not of type string" },
		{ "{\"s\":\"a\\u0000b\"}", "s: not of type string" },
		{ "{\"b\":1}", "b: not of type bool" },
		{ "{\"o\":[]}", "o: not of type object" },
		{ "{\"l\":{}}", "l: not of type list" },
		{ "{\"f\":1}", "\"f\":1" },
		{ "{\"f\":\"x\"}", "f: not of type number" },
		{ "{\"a\":null}", "\"a\":null" },
		{ "{\"c\":\"green\"}", "green" },
		{ "{\"c\":\"blue\"}", "c: blue is not one of its values" },
		{ "{\"frob\":1}", "frob: there is no such argument" },
		{ "[]", "arguments: not an object" },
	};
	char text[512];

	greet(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "{\"execute\":\"echo\",\"arguments\":%s}", cases[i].args);
		ask(&a, text, cases[i].want);
	}
	ask(&a, "{\"execute\":\"need\"}", "x: missing");
	ask(&a, "{\"execute\":\"need\",\"arguments\":{\"x\":3}}", "\"x\":3");
	ask(&a, "{\"execute\":\"frob\"}", "frob: no such command");
	ask(&a, "{\"execute\":7}", "execute: not a string");
	ask(&a, "{\"exec-oob\":\"echo\"}", "GenericError");
	ask(&a, "{\"execute\":\"echo\",\"frob\":1}", "no members but");
	close(a.fd);
}
END_TEST

/* Cut anywhere, or several at once: it is a stream. */
START_TEST(framing)
{
	static const char text[] = " \r\n{ \"execute\": \"echo\", \"arguments\": {\"s\": \"}{\\\"\\\\\"} }\n";

	greet(&a);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		ck_assert_int_eq(send(a.fd, text + i, 1, MSG_NOSIGNAL), 1);
	expect(&a, "}{\\\"\\\\");
	say(&a, "{\"execute\":\"echo\",\"id\":1}{\"execute\":\"echo\",\"id\":2}\n{\"execute\":\"echo\",\"id\":3}");
	expect(&a, "\"id\":1");
	expect(&a, "\"id\":2");
	expect(&a, "\"id\":3");
	close(a.fd);
}
END_TEST

START_TEST(frames)
{
	struct qmp_frame f = { 0 };

	ck_assert_int_eq(qmp_frame(&f, "  {\"a", 5), FRAME_MORE);
	ck_assert_uint_eq(f.at, 5);
	ck_assert_int_eq(qmp_frame(&f, "  {\"a}\":[1]} x", 14), FRAME_OBJECT);
	ck_assert_uint_eq(f.start, 2);
	ck_assert_uint_eq(f.at, 12);
	qmp_frame_next(&f);
	ck_assert_int_eq(qmp_frame(&f, " x {\n{}", 7), FRAME_GARBAGE);
	ck_assert_uint_eq(f.at, 2);
	qmp_frame_next(&f);
	ck_assert_int_eq(qmp_frame(&f, " {\n{}", 5), FRAME_OBJECT);
	ck_assert_uint_eq(f.start, 3);
}
END_TEST

/* --- malformed --- */

START_TEST(malformed)
{
	static const char *const bad[] = {
		"{\"execute\" \"echo\"}", "{\"execute\":\"echo\"]", "{\"execute\":\"echo\",}", "{'execute':'echo'}",
		"{\"execute\":\"\xff\xfe\"}", "{\"execute\":\"echo\",\"arguments\":{\"f\":NaN}}", "{]",
	};

	greet(&a);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ask(&a, bad[i], "\"GenericError\"");
	ask(&a, "hello {\"execute\":\"echo\"}\n", "this line is skipped");
	ask(&a, "[1,2]\n", "this line is skipped");
	/* It is still the same connection. */
	ask(&a, "{\"execute\":\"echo\",\"id\":1}", "{\"return\":{},\"id\":1}");
	close(a.fd);
}
END_TEST

static void repeat(struct client *c, const char *piece, size_t total)
{
	char chunk[4096];
	size_t n = strlen(piece), len = sizeof(chunk) / n * n;

	for (size_t i = 0; i < len; i++)
		chunk[i] = piece[i % n];
	for (size_t done = 0; done < total; done += len)
		if (send(c->fd, chunk, len, MSG_NOSIGNAL) < 0)
			return;
}

START_TEST(too_deep)
{
	greet(&a);
	repeat(&a, "{\"a\":", 8192);
	expect(&a, "too deeply");
	ask(&a, "\n{\"execute\":\"echo\",\"id\":1}", "\"id\":1");
	close(a.fd);
}
END_TEST

START_TEST(too_many)
{
	greet(&a);
	say(&a, "{\"execute\":\"echo\",\"arguments\":{\"l\":[");
	repeat(&a, "[],", 200000);
	expect(&a, "too many values");
	ask(&a, "\n{\"execute\":\"echo\",\"id\":1}", "\"id\":1");
	close(a.fd);
}
END_TEST

START_TEST(too_long)
{
	greet(&a);
	say(&a, "{\"execute\":\"");
	repeat(&a, "x", 2 * QMP_MAX_MESSAGE);
	expect(&a, "longer than 1 MiB");
	ck_assert_ptr_null(next_line(&a));
	close(a.fd);
	works();
}
END_TEST

/* As long as is allowed. */
START_TEST(long_enough)
{
	greet(&a);
	say(&a, "{\"execute\":\"echo\",\"arguments\":{\"s\":\"");
	repeat(&a, "y", QMP_MAX_MESSAGE - 8192);
	ask(&a, "\"},\"id\":5}", "\"id\":5");
	ask(&a, "{\"execute\":\"echo\",\"id\":6}", "\"id\":6");
	close(a.fd);
}
END_TEST

/* --- slow, many, gone --- */

/* It asks and does not read: others are served; what it is owed stays within bounds. */
START_TEST(never_reads)
{
	char text[128];

	greet(&a);
	fcntl(a.fd, F_SETFL, O_NONBLOCK);
	snprintf(text, sizeof(text), "{\"execute\":\"big\",\"arguments\":{\"n\":%u}}", 60000);
	for (int i = 0; i < 20000; i++)
		if (send(a.fd, text, strlen(text), MSG_NOSIGNAL) < 0)
			break;
	ck_assert_int_eq(errno, EAGAIN);	/* nothing more is taken from it */
	works();
	/* Events come unasked: over the bound, it is cut off. */
	snprintf(text, sizeof(text), "%0100d", 0);
	for (unsigned int i = 0; i < QMP_MAX_UNSENT / 100; i++) {
		pthread_mutex_lock(&m.lock);
		qmp_event(&m, "NOISE", json_object_new_string(text));
		pthread_mutex_unlock(&m.lock);
	}
	works();
	fcntl(a.fd, F_SETFL, 0);
	while (next_line(&a))
		;
	close(a.fd);
}
END_TEST

START_TEST(answer_over_the_bound)
{
	greet(&a);
	say(&a, "{\"execute\":\"big\",\"arguments\":{\"n\":5000000}}");
	ck_assert_ptr_null(next_line(&a));
	close(a.fd);
	works();
}
END_TEST

START_TEST(large_answer)
{
	const char *line;

	greet(&a);
	say(&a, "{\"execute\":\"big\",\"arguments\":{\"n\":3000000}}{\"execute\":\"echo\",\"id\":2}");
	usleep(1000);
	line = next_line(&a);
	ck_assert_uint_gt(strlen(line), 3000000);
	expect(&a, "\"id\":2");
	close(a.fd);
}
END_TEST

START_TEST(too_many_clients)
{
	int fd[QMP_MAX_CLIENTS];

	for (int i = 0; i < QMP_MAX_CLIENTS; i++)
		fd[i] = open_client();
	a.fd = open_client();
	a.len = 0;
	expect(&a, "too many clients");
	ck_assert_ptr_null(next_line(&a));
	close(a.fd);
	for (int i = 0; i < QMP_MAX_CLIENTS; i++)
		close(fd[i]);
	/* Their places become free. */
	for (int tries = 0; tries < 1000; tries++) {
		a.fd = open_client();
		a.len = 0;
		next_line(&a);
		close(a.fd);
		if (strstr(a.line, "QMP"))
			break;
	}
	for (int i = 0; i < 5 * QMP_MAX_CLIENTS; i++)
		works();
}
END_TEST

static struct qmp_req *wait_held(void)
{
	struct qmp_req *r = NULL;

	for (int i = 0; i < 20000 && !r; i++) {
		pthread_mutex_lock(&m.lock);
		r = held;
		held = NULL;
		pthread_mutex_unlock(&m.lock);
		usleep(1000);
	}
	ck_assert_ptr_nonnull(r);
	return r;
}

/* The next command waits; another client does not; events pass. */
START_TEST(answers_later)
{
	struct qmp_req *req;

	greet(&a);
	say(&a, "{\"execute\":\"hold\",\"id\":1}{\"execute\":\"echo\",\"id\":2}");
	req = wait_held();
	works();
	pthread_mutex_lock(&m.lock);
	qmp_event(&m, "PING", NULL);
	qmp_fail(req, "no %d", 42);
	pthread_mutex_unlock(&m.lock);
	expect(&a, "{\"event\":\"PING\",\"timestamp\":{\"seconds\":");
	expect(&a, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no 42\"},\"id\":1}");
	expect(&a, "\"id\":2");
	close(a.fd);
}
END_TEST

START_TEST(gone_before_the_answer)
{
	struct qmp_req *req;
	bool gone = false;

	greet(&a);
	say(&a, "{\"execute\":\"hold\",\"id\":1}");
	req = wait_held();
	close(a.fd);
	for (int i = 0; i < 20000 && !gone; i++) {
		usleep(1000);
		pthread_mutex_lock(&m.lock);
		gone = qmp_gone(req);
		pthread_mutex_unlock(&m.lock);
	}
	ck_assert(gone);
	works();
	pthread_mutex_lock(&m.lock);
	qmp_reply(req, json_object_new_string("nobody hears it"));
	pthread_mutex_unlock(&m.lock);
	/* And one that is never answered: qmp_close() frees it. */
	greet(&a);
	say(&a, "{\"execute\":\"hold\"}");
	wait_held();
	close(a.fd);
	works();
}
END_TEST

/* It closes its writing half, and still gets its answers. */
START_TEST(half_closed)
{
	greet(&a);
	say(&a, "{\"execute\":\"echo\",\"id\":1}{\"execute\":\"echo\",\"id\":2}");
	shutdown(a.fd, SHUT_WR);
	expect(&a, "\"id\":1");
	expect(&a, "\"id\":2");
	ck_assert_ptr_null(next_line(&a));
	close(a.fd);
}
END_TEST

/* --- descriptors --- */

static void send_fds(struct client *c, const char *text, int fd, unsigned int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(32 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned int i = 0; i < n; i++)
		memcpy(CMSG_DATA(cm) + i * sizeof(int), &fd, sizeof(int));
	ck_assert_int_eq(sendmsg(c->fd, &mh, MSG_NOSIGNAL), (ssize_t)iov.iov_len);
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(descriptors)
{
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], "QR", 2), 2);
	greet(&a);
	ask(&a, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"x\"}}", "no file descriptor came");
	send_fds(&a, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"x\"}}", p[0], 1);
	expect(&a, "{\"return\":{}}");
	ask(&a, "{\"execute\":\"readfd\",\"arguments\":{\"name\":\"y\"}}", "DeviceNotFound");
	ask(&a, "{\"execute\":\"readfd\",\"arguments\":{\"name\":\"x\"}}", "{\"return\":\"Q\"}");
	ask(&a, "{\"execute\":\"readfd\",\"arguments\":{\"name\":\"x\"}}", "DeviceNotFound");
	send_fds(&a, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"x\"}}", p[0], 1);
	expect(&a, "{\"return\":{}}");
	ask(&a, "{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"x\"}}", "{\"return\":{}}");
	ask(&a, "{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"x\"}}", "no descriptor");
	close(a.fd);
	close(p[0]);
	close(p[1]);
}
END_TEST

/* Nobody fills the VMM's table of descriptors. */
START_TEST(too_many_descriptors)
{
	unsigned int before;
	int i, p[2];

	ck_assert_int_eq(pipe(p), 0);
	greet(&a);
	ask(&a, "{\"execute\":\"echo\",\"id\":1}", "\"id\":1");
	before = open_fds();
	say(&a, "{\"execute\":");
	for (i = 0; i < 40; i++)
		send_fds(&a, " ", p[0], 10);
	/* Those of one message are there for a moment before the surplus is closed. */
	for (i = 0; i < 100; i++) {
		ck_assert_uint_le(open_fds(), before + QMP_MAX_FDS + 10);
		usleep(1000);
	}
	ask(&a, "\"echo\",\"id\":2}", "\"id\":2");
	/* What was not wanted is closed. */
	for (i = 0; i < 1000 && open_fds() > before; i++)
		usleep(1000);
	ck_assert_uint_eq(open_fds(), before);
	close(a.fd);
	close(p[0]);
	close(p[1]);
}
END_TEST

/* --- random bytes --- */

START_TEST(noise)
{
	static const char alphabet[] = "{}[]\",:\\ \nexecut1e-.nullé\x00\xff";
	uint64_t x = 88172645463325252ULL;
	char buf[512];

	for (int round = 0; round < 60; round++) {
		int fd = open_client();

		for (int n = 0; n < 20; n++) {
			for (size_t i = 0; i < sizeof(buf); i++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				buf[i] = alphabet[x % sizeof(alphabet)];
			}
			if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				break;
		}
		close(fd);
	}
	works();
}
END_TEST

/* --- the table --- */

START_TEST(described)
{
	const struct qmp_command **list;
	struct json_object *o;
	size_t n;

	list = qmp_sorted(&n);
	ck_assert_uint_eq(n, 9);
	for (size_t i = 1; i < n; i++)
		ck_assert_int_lt(strcmp(list[i - 1]->name, list[i]->name), 0);
	free(list);
	o = qmp_describe(&need_command);
	ck_assert_str_eq(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
			 "{\"name\":\"need\",\"help\":\"Wants x.\",\"arguments\":[{\"name\":\"x\",\"type\":\"int\","
			 "\"optional\":false,\"help\":\"what it wants\"}]}");
	json_object_put(o);
}
END_TEST

START_TEST(only_ours)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/control.sock", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_int_eq(st.st_mode & 077, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qmp");
	TCase *wire = tcase_create("wire"), *hostile = tcase_create("hostile"), *fds = tcase_create("fds");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(wire, setup, teardown);
	tcase_add_checked_fixture(hostile, setup, teardown);
	tcase_add_checked_fixture(fds, setup, teardown);
	tcase_set_timeout(wire, 60);
	tcase_set_timeout(hostile, 120);
	tcase_add_test(wire, negotiation);
	tcase_add_test(wire, arguments);
	tcase_add_test(wire, framing);
	tcase_add_test(wire, frames);
	tcase_add_test(wire, answers_later);
	tcase_add_test(wire, half_closed);
	tcase_add_test(wire, large_answer);
	tcase_add_test(wire, described);
	tcase_add_test(wire, only_ours);
	tcase_add_test(hostile, malformed);
	tcase_add_test(hostile, too_deep);
	tcase_add_test(hostile, too_many);
	tcase_add_test(hostile, too_long);
	tcase_add_test(hostile, long_enough);
	tcase_add_test(hostile, never_reads);
	tcase_add_test(hostile, answer_over_the_bound);
	tcase_add_test(hostile, too_many_clients);
	tcase_add_test(hostile, gone_before_the_answer);
	tcase_add_test(hostile, noise);
	tcase_add_test(fds, descriptors);
	tcase_add_test(fds, too_many_descriptors);
	suite_add_tcase(s, wire);
	suite_add_tcase(s, hostile);
	suite_add_tcase(s, fds);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
