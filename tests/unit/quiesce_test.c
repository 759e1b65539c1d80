// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/quiesce.c cli/agent.c vmm/qmp_frame.c */
/*
 * File systems of a guest that are frozen for a snapshot, and thawed whatever happens: to the
 * command (killed at any moment), to the agent (silent, refuses, talks nonsense), to the guest
 * (stopped, gone).
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent_fixture.h"
#include "cli/agent.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/quiesce.h"
#include "cli/rundir.h"

/* --- what the unit wants of others --- */

static char said[1000];

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
}

char *rundir_find(const char *name)
{
	return strdup(name);
}

struct control *control_open(const char *guest)
{
	(void)guest;
	return NULL;
}

void control_close(struct control *c)
{
	(void)c;
}

int control_call(struct control *c, const char *command, struct json_object *args, struct json_object **ret)
{
	(void)c, (void)command, (void)args, (void)ret;
	return -1;
}

/* --- the guest: shared with all processes --- */

static struct guest {
	_Atomic int state;		/* enum quiesce_guest */
	_Atomic int looked;		/* how often it was asked for */
	_Atomic int freezes, thaws;	/* commands */
	_Atomic bool asked;
	_Atomic bool frozen;
	_Atomic int silent;		/* so many commands get no answer */
	_Atomic bool deaf;		/* what gets no answer is not done either */
	_Atomic bool refuses, nonsense, slow;
	_Atomic bool go_on;		/* of one that is slow */
} *g;

static struct quiesce q;

static enum quiesce_guest state(const char *guest)
{
	(void)guest;
	g->looked++;
	return (enum quiesce_guest)g->state;
}

static void wait_until(_Atomic bool *what)
{
	while (!*what)
		usleep(1000);
}

static bool command(int fd, const char *line)
{
	const char *answer = "{\"return\": 2}\n";
	bool freeze = strstr(line, "guest-fsfreeze-freeze"), silent = g->silent > 0;

	ck_assert(freeze || strstr(line, "guest-fsfreeze-thaw"));
	if (silent)
		g->silent--;
	g->asked = true;
	if (freeze && g->slow)
		wait_until(&g->go_on);
	if (!g->refuses && !(silent && g->deaf))
		g->frozen = freeze;
	if (freeze)
		g->freezes++;
	else
		g->thaws++;
	if (g->refuses)
		answer = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no, never\"}}\n";
	else if (g->nonsense && freeze)
		answer = "{\"return\": \"two\"}\n";
	if (!silent)
		agent_say(fd, answer, strlen(answer));
	return true;
}

static void setup(void)
{
	g = mmap(NULL, sizeof(*g), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(g, MAP_FAILED);
	quiesce_state = state;
	agent_begin(command);
	/* Those that outlive their command are ours to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	said[0] = '\0';
}

static void teardown(void)
{
	agent_end();
	munmap(g, sizeof(*g));
}

/* quiesce_begin(), with that answer; what it says has why in it. */
static void begin(int ret, const char *why)
{
	ck_assert_int_eq(quiesce_begin(&q, "web", agent_fixture.path), ret);
	ck_assert_msg(strstr(said, why), "%s", said);
}

static void end(int ret, const char *why)
{
	ck_assert_int_eq(quiesce_end(&q, "web"), ret);
	ck_assert_msg(strstr(said, why), "%s", said);
}

/* All other processes have ended: nothing more is to come. */
static void all_ended(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

/* At the end of all, after so many commands to thaw. */
static void thawed(int least, int most)
{
	all_ended();
	ck_assert_int_ge(g->thaws, least);
	ck_assert_int_le(g->thaws, most);
	ck_assert(!g->frozen);
}

START_TEST(frozen_and_thawed)
{
	begin(0, "");
	ck_assert(g->frozen);
	ck_assert_int_eq(g->thaws, 0);
	end(0, "");
	ck_assert(!g->frozen);
	end(0, "");
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
	thawed(1, 1);
}
END_TEST

/* With the guest frozen; while it is being frozen; when it has been asked to thaw. */
START_TEST(killed)
{
	int ready[2];
	pid_t pid;
	char c;

	g->slow = _i == 1;
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		close(ready[0]);
		if (_i == 2)
			g->state = QUIESCE_STILL;
		if (!quiesce_begin(&q, "web", agent_fixture.path) && write(ready[1], "", 1) == 1)
			_i == 2 ? quiesce_end(&q, "web") : pause();
		_exit(0);
	}
	close(ready[1]);
	if (_i != 1)
		ck_assert_int_eq(read(ready[0], &c, 1), 1);
	else
		wait_until(&g->asked);	/* and it has not answered */
	while (_i == 2 && !g->looked)
		usleep(1000);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	g->state = QUIESCE_RUNS;
	g->go_on = true;
	all_ended();
	ck_assert_int_le(g->freezes, 1);
	thawed(g->freezes, g->freezes);
	close(ready[0]);
}
END_TEST

START_TEST(refused)
{
	g->refuses = true;
	begin(-1, "no, never");
	ck_assert_int_eq(q.pid, 0);
	thawed(0, 0);
	/* It freezes, and will not thaw: that is said, and is the end of it. */
	said[0] = '\0';
	g->refuses = false;
	begin(0, "");
	g->refuses = true;
	end(-1, "no, never");
	all_ended();
}
END_TEST

/* It says nothing, and freezes all the same; or its answer is none. */
START_TEST(silent)
{
	quiesce_freeze_ms = quiesce_thaw_ms = 100;
	g->nonsense = _i;
	g->silent = _i ? 0 : 3;
	begin(-1, "cannot be frozen");
	thawed(1, INT_MAX);
}
END_TEST

/* What asks it to thaw is lost some times. */
START_TEST(thawed_late)
{
	quiesce_thaw_ms = quiesce_end_ms = 100;
	begin(0, "");
	g->deaf = true;
	g->silent = 3;
	end(-1, "goes on trying");
	thawed(4, INT_MAX);
}
END_TEST

/* A guest that stands still is sent nothing until it goes on. */
START_TEST(stands_still)
{
	quiesce_end_ms = 50;
	begin(0, "");
	g->state = QUIESCE_STILL;
	end(-1, "");
	while (g->looked < 3)
		usleep(1000);
	ck_assert_int_eq(g->thaws, 0);
	g->state = QUIESCE_RUNS;
	thawed(1, 1);
}
END_TEST

START_TEST(gone)
{
	begin(0, "");
	g->state = QUIESCE_GONE;
	end(0, "");
	ck_assert_int_eq(g->thaws, 0);
	/* It never had an agent. */
	ck_assert_int_eq(quiesce_begin(&q, "web", "/nonexistent/agent.sock"), -1);
	ck_assert_int_eq(g->freezes, 1);
	all_ended();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quiesce");
	TCase *tc = tcase_create("all");
	SRunner *sr;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, frozen_and_thawed);
	tcase_add_loop_test(tc, killed, 0, 3);
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, silent, 0, 2);
	tcase_add_test(tc, thawed_late);
	tcase_add_test(tc, stands_still);
	tcase_add_test(tc, gone);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
