// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/callers.c cli/wire.c */
/* Who connects to `hvx receive`: nobody is held up by those who say nothing, or nothing sensible. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/callers.h"
#include "cli/tls.h"

#define PLACES	16U

static const struct wire_options none;
static struct wire_uri uri = { .kind = WIRE_UNIX };
static struct callers *callers;
static char path[64], said[4096];
static int listener;
static struct rlimit files;	/* set again at the first message, if it was taken away */

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
	if (files.rlim_cur)
		setrlimit(RLIMIT_NOFILE, &files);
}

const struct tls_ops *tls_load(void)
{
	return NULL;
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(path, "/tmp/hvx-callers-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	strcat(path, "/s");
	uri.path = path;
	listener = wire_listen(&uri, &none);
	ck_assert_int_ge(listener, 0);
	callers = callers_new(listener, &uri, &none);
	ck_assert_ptr_nonnull(callers);
}

static void teardown(void)
{
	callers_free(callers);
	close(listener);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static struct wire call(void)
{
	struct wire w;

	ck_assert_int_eq(wire_connect(&uri, &none, &w), 0);
	return w;
}

static void say(struct wire *w, const char *name)
{
	struct json_object *o = json_object_new_object();
	const char *why;

	json_object_object_add(o, "name", json_object_new_string(name));
	ck_assert_int_eq(wire_send(w, o, &why), 0);
	json_object_put(o);
}

/* The next that is heard is this one. */
static void assert_next(const char *name)
{
	struct json_object *hello;
	const char *why;
	struct wire w;

	ck_assert_int_eq(callers_next(callers, NULL, &w, &hello, &why), 0);
	ck_assert_ptr_nonnull(hello);
	ck_assert_str_eq(json_object_get_string(json_object_object_get(hello, "name")), name);
	json_object_put(hello);
	wire_close(&w);
}

START_TEST(silent)
{
	struct wire mute = call(), begins = call(), w = call();

	ck_assert_int_eq(write(begins.out, "HVXMIGR1", 8), 8);
	say(&w, "one");
	assert_next("one");
	wire_close(&w);
	w = call();
	say(&w, "two");
	assert_next("two");
	say(&mute, "three");
	assert_next("three");
	wire_close(&w);
	wire_close(&mute);
	wire_close(&begins);	/* the end comes while it is heard */
}
END_TEST

START_TEST(too_many)
{
	struct wire w[PLACES + 1];
	struct json_object *hello;
	struct wire gone;
	const char *why;
	unsigned int i;
	char c;

	for (i = 0; i < PLACES; i++)
		w[i] = call();
	w[PLACES] = call();
	say(&w[PLACES], "late");
	/* The first makes room for it. */
	ck_assert_int_eq(callers_next(callers, NULL, &gone, &hello, &why), 0);
	ck_assert_ptr_null(hello);
	ck_assert_str_eq(why, "the other side does not answer");
	wire_close(&gone);
	ck_assert_int_eq(read(w[0].in, &c, 1), 0);
	assert_next("late");
	/* The others are still there. */
	say(&w[1], "second");
	assert_next("second");
	for (i = 0; i <= PLACES; i++)
		wire_close(&w[i]);
}
END_TEST

START_TEST(nonsense)
{
	struct json_object *hello;
	struct wire w = call(), got;
	const char *why = NULL;

	ck_assert_int_eq(write(w.out, "GET / HTTP/1.1\r\n", 16), 16);
	ck_assert_int_eq(callers_next(callers, NULL, &got, &hello, &why), 0);
	ck_assert_ptr_null(hello);
	ck_assert_str_eq(why, "the other side is no hvx");
	wire_close(&got);
	wire_close(&w);
}
END_TEST

/* Descriptors have run out as one comes: it is heard when there are some again. */
START_TEST(no_descriptors)
{
	struct wire w = call();
	struct rlimit few;
	int next = dup(listener);

	say(&w, "patient");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	few = (struct rlimit){ next, files.rlim_max };
	close(next);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_next("patient");
	ck_assert_ptr_nonnull(strstr(said, strerror(EMFILE)));
	wire_close(&w);
}
END_TEST

/* Further connections of one that has gone do not come. */
START_TEST(first_has_gone)
{
	struct json_object *hello;
	struct wire w = call(), first, got;
	const char *why;

	say(&w, "first");
	ck_assert_int_eq(callers_next(callers, NULL, &first, &hello, &why), 0);
	json_object_put(hello);
	wire_close(&w);
	ck_assert_int_eq(callers_next(callers, &first, &got, &hello, &why), -1);
	ck_assert_ptr_nonnull(strstr(said, "hung up"));
	wire_close(&first);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("callers");
	TCase *tc = tcase_create("callers");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, silent);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, nonsense);
	tcase_add_test(tc, no_descriptors);
	tcase_add_test(tc, first_has_gone);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
