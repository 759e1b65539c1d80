// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/quiesce.c cli/agent.c vmm/qmp_frame.c */
/*
 * File systems of a guest that are frozen for a snapshot, and thawed whatever happens: to the
 * command (killed at any moment), to the agent (silent, refuses, talks nonsense), to the guest
 * (stopped, gone).
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
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

static char dir[64], path[128];
static int listen_fd;
static pthread_t thread;

static enum quiesce_guest state(const char *guest)
{
	(void)guest;
	g->looked++;
	return (enum quiesce_guest)g->state;
}

static void say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return;
}

static bool get_line(int fd, char *line, size_t room)
{
	size_t n = 0;
	char c;

	while (recv(fd, &c, 1, 0) == 1) {
		if (c == '\n') {
			line[n] = '\0';
			return true;
		}
		if (c != '\xff' && n + 1 < room)
			line[n++] = c;
	}
	return false;
}

static void wait_until(_Atomic bool *what)
{
	while (!*what)
		usleep(1000);
}

static void command(int fd, const char *line)
{
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
	if (!silent)
		say(fd, g->refuses ? "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no, never\"}}\n" :
		    g->nonsense && freeze ? "{\"return\": \"two\"}\n" : "{\"return\": 2}\n");
}

static void *agent_main(void *arg)
{
	char line[1024], text[64];
	int fd;

	while ((fd = accept(listen_fd, NULL, NULL)) >= 0) {
		while (get_line(fd, line, sizeof(line))) {
			const char *id = strstr(line, "\"id\":");

			if (!strstr(line, "guest-sync-delimited")) {
				command(fd, line);
				continue;
			}
			snprintf(text, sizeof(text), "\xff{\"return\": %lld}\n", id ? atoll(id + 5) : -1LL);
			say(fd, text);
		}
		close(fd);
	}
	return arg;
}

static void setup(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	g = mmap(NULL, sizeof(*g), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(g, MAP_FAILED);
	quiesce_state = state;
	strcpy(dir, "/tmp/hvx-quiesce.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/agent.sock", dir);
	strcpy(sun.sun_path, path);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(listen_fd, 4), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, agent_main, NULL), 0);
	/* Those that outlive their command are ours to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	said[0] = '\0';
}

static void teardown(void)
{
	char cmd[128];

	shutdown(listen_fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listen_fd);
	munmap(g, sizeof(*g));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* All other processes have ended: nothing more is to come. */
static void all_ended(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

START_TEST(frozen_and_thawed)
{
	struct quiesce q;

	ck_assert_int_eq(quiesce_begin(&q, "web", path), 0);
	ck_assert(g->frozen);
	ck_assert_int_eq(g->thaws, 0);
	ck_assert_int_eq(quiesce_end(&q, "web"), 0);
	ck_assert(!g->frozen);
	ck_assert_int_eq(g->thaws, 1);
	ck_assert_int_eq(quiesce_end(&q, "web"), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
}
END_TEST

/* With the guest frozen; while it is being frozen; when it has been asked to thaw. */
START_TEST(killed)
{
	int ready[2];
	struct quiesce q;
	pid_t pid;
	char c;

	g->slow = _i == 1;
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		close(ready[0]);
		if (_i == 2)
			g->state = QUIESCE_STILL;
		if (!quiesce_begin(&q, "web", path) && write(ready[1], "", 1) == 1)
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
	ck_assert_int_eq(g->thaws, g->freezes);
	ck_assert(!g->frozen);
	close(ready[0]);
}
END_TEST

START_TEST(refused)
{
	struct quiesce q;

	g->refuses = true;
	ck_assert_int_eq(quiesce_begin(&q, "web", path), -1);
	ck_assert_ptr_nonnull(strstr(said, "no, never"));
	ck_assert_int_eq(q.pid, 0);
	all_ended();
	ck_assert_int_eq(g->thaws, 0);
	/* It freezes, and will not thaw: that is said, and is the end of it. */
	g->refuses = false;
	ck_assert_int_eq(quiesce_begin(&q, "web", path), 0);
	g->refuses = true;
	ck_assert_int_eq(quiesce_end(&q, "web"), -1);
	ck_assert_ptr_nonnull(strstr(said, "no, never"));
	all_ended();
}
END_TEST

/* It says nothing, and freezes all the same; or its answer is none. */
START_TEST(silent)
{
	struct quiesce q;

	quiesce_freeze_ms = quiesce_thaw_ms = 100;
	g->nonsense = _i;
	g->silent = _i ? 0 : 3;
	ck_assert_int_eq(quiesce_begin(&q, "web", path), -1);
	ck_assert_ptr_nonnull(strstr(said, "cannot be frozen"));
	all_ended();
	ck_assert_int_ge(g->thaws, 1);
	ck_assert(!g->frozen);
}
END_TEST

/* What asks it to thaw is lost some times. */
START_TEST(thawed_late)
{
	struct quiesce q;

	quiesce_thaw_ms = quiesce_end_ms = 100;
	ck_assert_int_eq(quiesce_begin(&q, "web", path), 0);
	g->deaf = true;
	g->silent = 3;
	ck_assert_int_eq(quiesce_end(&q, "web"), -1);
	ck_assert_ptr_nonnull(strstr(said, "goes on trying"));
	all_ended();
	ck_assert_int_ge(g->thaws, 4);
	ck_assert(!g->frozen);
}
END_TEST

/* A guest that stands still is sent nothing until it goes on. */
START_TEST(stands_still)
{
	struct quiesce q;

	quiesce_end_ms = 50;
	ck_assert_int_eq(quiesce_begin(&q, "web", path), 0);
	g->state = QUIESCE_STILL;
	ck_assert_int_eq(quiesce_end(&q, "web"), -1);
	while (g->looked < 3)
		usleep(1000);
	ck_assert_int_eq(g->thaws, 0);
	g->state = QUIESCE_RUNS;
	all_ended();
	ck_assert_int_eq(g->thaws, 1);
	ck_assert(!g->frozen);
}
END_TEST

START_TEST(gone)
{
	struct quiesce q;

	ck_assert_int_eq(quiesce_begin(&q, "web", path), 0);
	g->state = QUIESCE_GONE;
	ck_assert_int_eq(quiesce_end(&q, "web"), 0);
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
