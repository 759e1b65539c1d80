// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/agent.c cli/agent_ops.c cli/base64.c vmm/qmp_frame.c */
/*
 * The client of the guest agent against agents that do as they are told: right
 * answers in pieces, stale ones, and all that a hostile guest could send.
 */
#include <check.h>
#include <dlfcn.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent_fixture.h"
#include "cli/agent.h"

/* What the agent does with each command after the synchronisation. */
static struct fake {
	const char *before_sync;	/* sent as soon as somebody is there */
	const char *answer;		/* to every command, newline included; NULL: none */
	size_t answer_len;		/* 0: strlen() */
	bool hang_up, mute, wrong_id_first;
	char last[4096];		/* command that came last */
} fake;

static void greet(int fd)
{
	if (fake.before_sync)
		agent_say(fd, fake.before_sync, strlen(fake.before_sync));
}

static void sync_as_told(int fd, long long id)
{
	if (fake.mute)
		return;
	if (fake.wrong_id_first)
		agent_synced(fd, id ^ 1);
	agent_synced(fd, id);
}

static bool command(int fd, const char *line)
{
	if (fake.mute)
		return true;
	snprintf(fake.last, sizeof(fake.last), "%s", line);
	if (fake.hang_up)
		return false;
	if (fake.answer)
		agent_say(fd, fake.answer, fake.answer_len ? fake.answer_len : strlen(fake.answer));
	return true;
}

static void start(void)
{
	memset(&fake, 0, sizeof(fake));
	agent_begin(command);
	agent_fixture.greet = greet;
	agent_fixture.sync = sync_as_told;
}

static struct agent *open_agent(void)
{
	struct agent *a = agent_open(agent_fixture.path, 5000, -1);

	ck_assert_ptr_nonnull(a);
	ck_assert_msg(a->error == AGENT_OK, "%s", a->text);
	return a;
}

START_TEST(base64)
{
	static const char *const pairs[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\xff\xfe\xfd", "//79" },
	};
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg==Zg==", "====", "Z===", "Zm 9", "Zm\n9", "Zm9-", "=Zg=" };
	char out[64];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char *text = base64_encode(pairs[i][0], strlen(pairs[i][0]));

		ck_assert_str_eq(text, pairs[i][1]);
		ck_assert_int_eq(base64_decode(text, strlen(text), out, sizeof(out)), (long)strlen(pairs[i][0]));
		ck_assert_mem_eq(out, pairs[i][0], strlen(pairs[i][0]));
		free(text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(base64_decode(bad[i], strlen(bad[i]), out, sizeof(out)) < 0, "%s", bad[i]);
	ck_assert_int_eq(base64_decode("Zm9v", 4, out, 2), -1);
}
END_TEST

START_TEST(good)
{
	struct agent *a = open_agent();
	char buf[8];
	int64_t h;

	agent_fixture.in_pieces = true;
	fake.answer = "{\"return\": {}}\n";
	ck_assert_int_eq(agent_ping(a), 0);
	ck_assert_ptr_nonnull(strstr(fake.last, "\"guest-ping\""));
	fake.answer = "{\"return\": 1000}\n";
	ck_assert_int_eq(agent_file_open(a, "/a \"b\"", "r", &h), 0);
	ck_assert_int_eq(h, 1000);
	ck_assert_ptr_nonnull(strstr(fake.last, "\"/a \\\"b\\\"\""));
	fake.answer = "{\"return\": {\"count\": 3, \"buf-b64\": \"Zm9v\", \"eof\": false}}\n";
	ck_assert_int_eq(agent_file_read(a, h, buf, sizeof(buf)), 3);
	ck_assert_mem_eq(buf, "foo", 3);
	fake.answer = "{\"return\": {\"count\": 0, \"buf-b64\": \"\", \"eof\": true}}\n";
	ck_assert_int_eq(agent_file_read(a, h, buf, sizeof(buf)), 0);
	/* The rest of a short write follows. */
	fake.answer = "{\"return\": {\"count\": 1, \"eof\": false}}\n";
	ck_assert_int_eq(agent_file_write(a, h, "xyz", 3), 0);
	ck_assert_ptr_nonnull(strstr(fake.last, "\"eg==\""));
	ck_assert_int_eq(agent_fixture.connections, 1);
	agent_close(a);
}
END_TEST

START_TEST(statuses)
{
	struct agent *a = open_agent();
	struct agent_status st;

	fake.answer = "{\"return\": {\"exited\": false}}\n";
	ck_assert_int_eq(agent_exec_status(a, 5, &st), 0);
	ck_assert(!st.exited);
	fake.answer = "{\"return\": {\"exited\": true, \"exitcode\": 3, \"out-data\": \"Zm9v\"}}\n";
	ck_assert_int_eq(agent_exec_status(a, 5, &st), 0);
	ck_assert(st.exited && st.code == 3 && st.out_len == 3 && !st.err && !st.truncated);
	ck_assert_str_eq(st.out, "foo");
	agent_status_free(&st);
	fake.answer = "{\"return\": {\"exited\": true, \"signal\": 9, \"err-truncated\": true}}\n";
	ck_assert_int_eq(agent_exec_status(a, 5, &st), 0);
	ck_assert(st.exited && st.code == 137 && st.truncated);
	agent_close(a);
}
END_TEST

/* An error is an answer: the connection stays. What it says cannot drive a terminal. */
START_TEST(refusals)
{
	struct agent *a = open_agent();

	fake.answer = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no \\u001b[2J\\u0000 such\"}}\n";
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_int_eq(a->error, AGENT_REFUSED);
	ck_assert_str_eq(a->text, "no ?[2J");
	fake.answer = "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"x\"}}\n";
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_ptr_nonnull(strstr(a->text, "does not offer guest-ping"));
	fake.answer = "{\"return\": {}}\n";
	ck_assert_int_eq(agent_ping(a), 0);
	ck_assert_int_eq(agent_fixture.connections, 1);
	agent_close(a);
}
END_TEST

/* Left behind by a client before: half an answer, whole ones, another's synchronisation. */
START_TEST(stale)
{
	struct agent *a;

	fake.before_sync = "n\": {}}\n{\"return\": 7}\n\xff{\"return\": 8}\n\xff{\"retu\xffrn\": {}}\n\xffgarbage\n";
	fake.wrong_id_first = true;
	fake.answer = "{\"return\": {}}\n";
	a = open_agent();
	ck_assert_int_eq(agent_ping(a), 0);
	agent_close(a);
}
END_TEST

/* Each is refused, without harm, and the next call talks over a new connection. */
START_TEST(hostile)
{
	static const char *const answers[] = {
		"\n", "{}\n", "[]\n", "null\n", "7\n", "{\"return\": \n", "{\"return\": {}} trailing\n",
		"{\"error\": 7}\n", "{\"error\": {}}\n", "{\"error\": {\"desc\": 7}}\n", "\xff\xfe\x80\n", "{\"return\": \"\x01\"\n",
		"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1"
		"}}}}}}}}}}}}}}}}}}\n",
	};
	struct agent *a = open_agent();

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		fake.answer = answers[i];
		ck_assert_int_eq(agent_ping(a), -1);
		ck_assert_msg(a->error == AGENT_BAD && a->text[0] && a->fd < 0, "%zu: %s", i, a->text);
		fake.answer = "{\"return\": {}}\n";
		ck_assert_msg(agent_ping(a) == 0, "%zu: %s", i, a->text);
	}
	agent_close(a);
}
END_TEST

START_TEST(hostile_values)
{
	static const char *const reads[] = {
		"{\"return\": 7}\n", "{\"return\": {}}\n", "{\"return\": {\"count\": 3}}\n",
		"{\"return\": {\"count\": 3, \"buf-b64\": 3}}\n", "{\"return\": {\"count\": \"3\", \"buf-b64\": \"Zm9v\"}}\n",
		"{\"return\": {\"count\": -1, \"buf-b64\": \"Zm9v\"}}\n", "{\"return\": {\"count\": 2, \"buf-b64\": \"Zm9v\"}}\n",
		"{\"return\": {\"count\": 9, \"buf-b64\": \"Zm9vYmFyYmF6\"}}\n", "{\"return\": {\"count\": 4, \"buf-b64\": \"Zm9v\"}}\n",
		"{\"return\": {\"count\": 3, \"buf-b64\": \"Zm9vZm9vZm9v\"}}\n", "{\"return\": {\"count\": 3, \"buf-b64\": \"Zm9\"}}\n",
		"{\"return\": {\"count\": 99999999999999999999, \"buf-b64\": \"Zm9v\"}}\n",
	};
	static const char *const states[] = {
		"{\"return\": 1}\n", "{\"return\": {\"exited\": true}}\n", "{\"return\": {\"exited\": true, \"exitcode\": \"0\"}}\n",
		"{\"return\": {\"exited\": true, \"signal\": 4000}}\n", "{\"return\": {\"exited\": true, \"signal\": 0}}\n",
		"{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": 1}}\n",
		"{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"Zm9v\", \"err-data\": \"!\"}}\n",
	};
	static const char *const pids[] = { "{\"return\": {\"pid\": 0}}\n", "{\"return\": {\"pid\": -5}}\n", "{\"return\": []}\n" };
	char *argv[] = { "true", NULL }, buf[8];
	struct agent *a = open_agent();
	struct agent_status st;
	int64_t v;

	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		fake.answer = reads[i];
		ck_assert_msg(agent_file_read(a, 1, buf, sizeof(buf)) < 0 && a->error == AGENT_BAD, "%s", reads[i]);
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		fake.answer = states[i];
		ck_assert_msg(agent_exec_status(a, 1, &st) < 0 && a->error == AGENT_BAD, "%s", states[i]);
	}
	for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
		fake.answer = pids[i];
		ck_assert_msg(agent_exec(a, argv, NULL, false, &v) < 0 && a->error == AGENT_BAD, "%s", pids[i]);
	}
	/* More written than was given would make the next piece begin outside of it. */
	fake.answer = "{\"return\": {\"count\": 4}}\n";
	ck_assert_int_eq(agent_file_write(a, 1, "abc", 3), -1);
	fake.answer = "{\"return\": {\"count\": 0}}\n";
	ck_assert_int_eq(agent_file_write(a, 1, "abc", 3), -1);
	agent_close(a);
}
END_TEST

START_TEST(endless)
{
	struct agent *a = open_agent();
	char *big = malloc(4 * AGENT_MAX_REPLY);

	memset(big, ' ', 4 * AGENT_MAX_REPLY);
	fake.answer_len = 4 * AGENT_MAX_REPLY;
	fake.answer = big;
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_int_eq(a->error, AGENT_BAD);
	ck_assert_uint_le(a->room, AGENT_MAX_REPLY);
	agent_close(a);
}
END_TEST

static unsigned int parsed;	/* bytes that json-c was given */

struct json_object *json_tokener_parse_ex(struct json_tokener *tok, const char *text, int len)
{
	struct json_object *(*real)(struct json_tokener *tok, const char *text, int len) = dlsym(RTLD_NEXT, __func__);

	parsed += (unsigned int)len;
	return real(tok, text, len);
}

/* Small to receive, and large once it is parsed: so it is not. An array is no answer, either. */
START_TEST(many_values)
{
	static const struct {
		const char *begin, *end, *why;
	} forms[] = { { "{\"return\": [{}", "]}\n", "too many values" }, { "[{}", "]\n", "not a JSON object" } };
	static char big[AGENT_MAX_REPLY / 2];
	struct agent *a = open_agent();
	size_t at = (size_t)sprintf(big, "%s", forms[_i].begin);

	while (at + 8 < sizeof(big))
		at += (size_t)sprintf(big + at, ",{}");
	sprintf(big + at, "%s", forms[_i].end);
	fake.answer = big;
	parsed = 0;
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_int_eq(a->error, AGENT_BAD);
	ck_assert_msg(strstr(a->text, forms[_i].why), "%s", a->text);
	ck_assert_uint_eq(parsed, 0);
	fake.answer = "{\"return\": {}}\n";
	ck_assert_int_eq(agent_ping(a), 0);
	agent_close(a);
}
END_TEST

START_TEST(silent)
{
	struct agent *a = open_agent();
	int p[2];

	a->timeout_ms = 100;
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_int_eq(a->error, AGENT_SILENT);
	fake.hang_up = true;
	a->timeout_ms = 5000;
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_int_eq(a->error, AGENT_GONE);
	fake.hang_up = false;
	/* Told to stop, it does not wait for its whole time. */
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], "", 1), 1);
	a->stop_fd = p[0];
	a->timeout_ms = INT_MAX;
	ck_assert_int_eq(agent_ping(a), -1);
	ck_assert_int_eq(a->error, AGENT_STOPPED);
	agent_close(a);
	fake.mute = true;
	a = agent_open(agent_fixture.path, 100, -1);
	ck_assert_int_eq(a->error, AGENT_SILENT);
	agent_close(a);
	a = agent_open("/nonexistent/agent.sock", 100, -1);
	ck_assert_int_eq(a->error, AGENT_GONE);
	agent_close(a);
}
END_TEST

/* Two clients take turns: one that rests lets the other in. */
START_TEST(turns)
{
	struct agent *a = open_agent(), *b;

	fake.answer = "{\"return\": {}}\n";
	agent_rest(a);
	b = open_agent();
	ck_assert_int_eq(agent_ping(b), 0);
	agent_rest(b);
	ck_assert_int_eq(agent_ping(a), 0);
	agent_close(a);
	ck_assert_int_eq(agent_ping(b), 0);
	agent_close(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent");
	TCase *tc = tcase_create("agent");
	SRunner *sr;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 60);	/* against hangs only */
	tcase_add_checked_fixture(tc, start, agent_end);
	tcase_add_test(tc, base64);
	tcase_add_test(tc, good);
	tcase_add_test(tc, statuses);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, stale);
	tcase_add_test(tc, hostile);
	tcase_add_test(tc, hostile_values);
	tcase_add_test(tc, endless);
	tcase_add_loop_test(tc, many_values, 0, 2);
	tcase_add_test(tc, silent);
	tcase_add_test(tc, turns);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
