// SPDX-License-Identifier: GPL-2.0-only
/* hvx exec: run a command in a guest. hvx wait: until its agent answers. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "exec.h"
#include "guest.h"
#include "rundir.h"
#include "vmm/config.h"
#include "vmm/domxml.h"

#define ANSWER_MS	5000	/* for an agent that runs */
#define MAX_ENV		64

bool variable_ok(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return *s == '=';
}

/* There is nothing to pass on from /dev/null: the guest is spared the machinery. */
bool stdin_wanted(void)
{
	struct stat st;

	return !fstat(STDIN_FILENO, &st) && !(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* WAY is "console", "ssh", or either with ":" and where. */
static const char *after(const char *way, const char *name)
{
	size_t n = strlen(name);

	return strncmp(way, name, n) ? NULL : way[n] == ':' ? way + n + 1 : way[n] ? NULL : "";
}

static int run_without_agent(const char *way, const char *vm, struct exec_req *req)
{
	const char *device = after(way, "console"), *user = after(way, "ssh");
	int status = EXEC_FAILED;
	struct guest g;

	if (!device && !user) {
		cli_error("exec: --over %s: agent, console[:ID] or ssh[:USER]", way);
		return EXEC_FAILED;
	}
	if (guest_find(vm, &g))
		return EXEC_FAILED;
	if (!g.dir) {
		cli_error("exec: %s: the guest is not running", g.name);
	} else if (device) {
		req->signals = exec_signals();
		status = exec_console(&g, *device ? device : NULL, req);
	} else {
		status = exec_ssh(&g, *user ? user : NULL, req);
	}
	guest_free(&g);
	return status;
}

static int cmd_exec(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct exec_req req = { .in = STDIN_FILENO, .out = STDOUT_FILENO, .err = STDERR_FILENO };
	char *env[MAX_ENV + 1] = { NULL }, *sock;
	unsigned int nr_env = 0;
	struct agent *a;
	const char *value, *vm, *way = "agent";
	long seconds;
	int c, status;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		if (c == 't') {
			if (!cli_number(cmd, "timeout", value, 0, 31536000, &seconds))
				return EXEC_FAILED;
			req.timeout_s = (unsigned int)seconds;
		} else if (c == 'e' && nr_env < MAX_ENV && variable_ok(value)) {
			env[nr_env++] = (char *)value;
		} else if (c == 'w') {
			req.dir = value;
		} else if (c == 'o') {
			way = value;
		} else if (c == 'n') {
			req.in = -1;
		} else if (c == CLI_OPT_HELP) {
			return VMM_OK;
		} else {
			if (c == 'e')
				cli_error("exec: --env %s: write VAR=VALUE, at most %d times", value, MAX_ENV);
			return EXEC_FAILED;
		}
	}
	if (argc - optind < 2) {
		cli_error("exec: a guest and a command are wanted; see: hvx help exec");
		return EXEC_FAILED;
	}
	vm = argv[optind++];
	if (!strcmp(argv[optind], "--"))
		optind++;
	req.argv = argv + optind;
	req.env = env;
	if (!*req.argv) {
		cli_error("exec: no command; see: hvx help exec");
		return EXEC_FAILED;
	}
	if (req.in >= 0 && !stdin_wanted())
		req.in = -1;
	if (strcmp(way, "agent"))
		return run_without_agent(way, vm, &req);
	if (exec_find("exec", vm, &sock))
		return EXEC_FAILED;
	req.signals = exec_signals();
	a = exec_agent("exec", vm, sock, ANSWER_MS, req.signals);
	free(sock);
	status = a ? exec_run(a, &req) : EXEC_FAILED;
	agent_close(a);
	return status;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int agent_wait(const char *vm, int64_t deadline, int stop_fd)
{
	bool seen = false;
	int wait_ms = 1000, pause = 1;

	for (;;) {
		char *dir = rundir_find(vm), *sock = NULL;
		struct agent *a = NULL;
		int64_t left = deadline ? deadline - now_ms() : wait_ms;
		bool alive = dir;
		enum agent_error error = AGENT_GONE;

		if (alive && asprintf(&sock, "%s/agent.sock", dir) > 0 && !access(sock, F_OK)) {
			a = agent_open(sock, left > wait_ms ? wait_ms : left > 0 ? (int)left : 1, stop_fd);
			error = a ? a->error : AGENT_GONE;
			agent_close(a);
			/* Each hanging up is work for a guest that is slow as it is. */
			wait_ms = wait_ms < 30000 ? wait_ms * 2 : wait_ms;
		}
		free(sock);
		free(dir);
		if (error == AGENT_OK)
			return 0;
		if (error == AGENT_STOPPED)
			return 1;
		if (seen && !alive)
			return 2;
		seen |= alive;
		if (deadline && now_ms() >= deadline)
			return 1;
		poll(NULL, 0, pause);
		pause = pause < 50 ? pause * 2 : 50;
	}
}

/* clang-format off: tables are read by row */
static const struct cli_cmd exec_verb = {
	.name = "exec", .args = "NAME -- COMMAND...", .group = CLI_TOOLS, .run = cmd_exec,
	.summary = "run a command in a guest",
	.help =
"Runs COMMAND in the guest through its agent (qemu-guest-agent), as the agent's\n"
"user, root. Its output comes while it runs, its input is this command's; SIGINT,\n"
"SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on, the third kills it.\n"
"\n"
"A guest without the agent: with --over console, COMMAND is typed to the shell that\n"
"waits on its serial console, where output and errors come together and there is no\n"
"input; with --over ssh, ssh runs it through the guest's vsock.\n"
"\n"
"The guest keeps the output in /tmp, /var/tmp or /run until the command ends.\n"
"\n"
"Exit status: that of COMMAND; 128 + N if signal N ended it; 124 time is up;\n"
"125 hvx or the agent failed; 126 COMMAND cannot be executed; 127 it is not there.\n",
	.opts = OPTS(
		{ "timeout", 't', "SEC", "end it after SEC seconds: SIGTERM, 5 s later SIGKILL" },
		{ "env", 'e', "VAR=VAL", "set a variable; may be repeated" },
		{ "workdir", 'w', "DIR", "run it in this folder of the guest" },
		{ "over", 'o', "WAY", "agent (default), console[:ID] or ssh[:USER]" },
		{ "no-stdin", 'n', NULL, "leave the input alone: COMMAND reads /dev/null" }),
};
CLI_VERB(exec_verb);
/* clang-format on */
