// SPDX-License-Identifier: GPL-2.0-only
/* Verbs that start, stop and pause guests. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "exec.h"
#include "guest.h"
#include "rundir.h"
#include "savefile.h"
#include "store.h"
#include "vmm/domxml_int.h"

/* --- start, create --- */

/* From what `hvx managedsave` kept, which is used up by that. */
static int start_saved(const struct guest *g, const char *state, bool paused)
{
	int status = run_saved(state, paused);

	if (status == VMM_OK && unlink(state))
		cli_error("%s: %s; remove it: it must not be used again", state, strerror(errno));
	if (status != VMM_OK)
		cli_error("%s: its saved state is kept; `hvx managedsave-remove %s` drops it", g->name, g->name);
	return status;
}

static int start_defined(const struct guest *g, bool paused)
{
	char *path = store_path(g->name), *text;
	int status = VMM_ERR_SETUP;
	size_t len;

	text = guest_xml(g, true, &len);
	if (text && path)
		status = run_detached(path, text, len, paused);
	free(text);
	free(path);
	return status;
}

static int cmd_start(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[4];
	struct guest g;
	int status = cli_guest(cmd, argc, argv, value, 1, 1, &g);
	char *state;

	if (status >= 0)
		return status;
	if (g.dir) {
		cli_error("%s: the guest is %s already", g.name, guest_state_name(g.state));
		guest_free(&g);
		return VMM_ERR_SETUP;
	}
	state = managedsave_path(g.name, false);
	if (state && !value[0] && !access(state, F_OK))
		status = start_saved(&g, state, value[1]);
	else
		status = start_defined(&g, value[1]);
	if (status == VMM_OK && value[0] && state)
		unlink(state);
	if (status == VMM_OK)
		printf("%s started\n", g.name);
	free(state);
	return status;
}

static const struct cli_cmd start_verb = {
	.name = "start", .group = CLI_RUN, .args = "NAME", .run = cmd_start,
	.summary = "start a defined guest, in the background",
	.help =
"Starts the guest as its definition says, and returns when it has been started.\n"
"`hvx console NAME` shows its console, `hvx logs NAME` what its VMM has to say.\n"
"A guest that `hvx managedsave` saved goes on from there.\n",
	.opts = OPTS(
		{ "force-boot", 'b', NULL, "boot it, and drop what managedsave kept" },
		{ "paused", 'p', NULL, "let it wait for `hvx resume`" }),
};
CLI_VERB(start_verb);

static int cmd_create(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[4], *file;
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	char *text, *why = NULL;
	bool in;
	size_t len;

	if (status >= 0)
		return status;
	file = argv[optind];
	in = !strcmp(file, "-");
	text = doc_read(in ? NULL : file, in ? STDIN_FILENO : -1, DOMXML_MAX_FILE, &len, &why);
	if (!text) {
		cli_error("%s: %s", file, why ? why : "out of memory");
		free(why);
		return VMM_ERR_USAGE;
	}
	status = run_detached(in ? "(stdin)" : file, text, len, value[0]);
	free(text);
	return status;
}

static const struct cli_cmd create_verb = {
	.name = "create", .group = CLI_RUN, .args = "FILE", .run = cmd_create,
	.summary = "start a guest from XML without defining it",
	.help =
"Starts the guest in the background. When it ends nothing is left of it but its\n"
"disks. - is the standard input.\n",
	.opts = OPTS({ "paused", 'p', NULL, "let it wait for `hvx resume`" }),
};
CLI_VERB(create_verb);

/* --- one command of the control socket --- */

static int one_command(const char *what, const char *command, const char *done)
{
	struct guest g;
	struct control *c = guest_control(what, &g);
	int ret;

	if (!c)
		return VMM_ERR_SETUP;
	ret = control_do(c, command, NULL, NULL);
	control_close(c);
	if (!ret)
		printf("%s %s\n", g.name, done);
	guest_free(&g);
	return ret ? VMM_ERR_SETUP : VMM_OK;
}

static int simple(const struct cli_cmd *cmd, int argc, char **argv, const char *command, const char *done)
{
	const char *value[1];
	int status = cli_parse(cmd, argc, argv, value, 1, 1);

	return status >= 0 ? status : one_command(argv[optind], command, done);
}

static int cmd_suspend(const struct cli_cmd *cmd, int argc, char **argv)
{
	return simple(cmd, argc, argv, "stop", "suspended");
}

static const struct cli_cmd suspend_verb = {
	.name = "suspend", .group = CLI_RUN, .args = "NAME", .run = cmd_suspend,
	.summary = "let a guest stand still",
	.help = "The guest keeps its memory and executes nothing until `hvx resume`.\n", .opts = NO_OPTS,
};
CLI_VERB(suspend_verb);

static int cmd_resume(const struct cli_cmd *cmd, int argc, char **argv)
{
	return simple(cmd, argc, argv, "cont", "resumed");
}

static const struct cli_cmd resume_verb = {
	.name = "resume", .group = CLI_RUN, .args = "NAME", .run = cmd_resume,
	.summary = "let a suspended guest go on", .help = "The other way from `hvx suspend`.\n", .opts = NO_OPTS,
};
CLI_VERB(resume_verb);

static int cmd_reset(const struct cli_cmd *cmd, int argc, char **argv)
{
	return simple(cmd, argc, argv, "system_reset", "reset");
}

static const struct cli_cmd reset_verb = {
	.name = "reset", .group = CLI_RUN, .args = "NAME", .run = cmd_reset,
	.summary = "reset a guest at once",
	.help =
"As a PC's reset button: the guest's system is not asked, and unwritten data is lost.\n", .opts = NO_OPTS,
};
CLI_VERB(reset_verb);

/* --- shutdown, reboot --- */

static int press_power(const struct guest *g, struct control *c)
{
	if (control_do(c, "system_powerdown", NULL, NULL))
		return -1;
	printf("%s: its power button was pressed\n", g->name);
	return 0;
}

static int ask_agent(const struct cli_cmd *cmd, const struct guest *g, const char *mode)
{
	struct agent *a = NULL;
	char *sock = NULL;
	int ret = -1;

	if (!exec_find(cmd->name, g->name, &sock))
		a = exec_agent(cmd->name, g->name, sock, AGENT_SYNC_MS, -1);
	if (a && agent_shutdown(a, mode))
		cli_error("%s: %s", g->name, a->text);
	else if (a)
		ret = printf("%s: its agent was asked to %s\n", g->name,
			     !strcmp(mode, "reboot") ? "reboot" : "shut down") < 0;
	agent_close(a);
	free(sock);
	return ret;
}

static int wait_off(const struct guest *g, long ms)
{
	if (!guest_wait_end(g, ms))
		return VMM_OK;
	cli_error("%s: it is still running; `hvx destroy %s` ends it at once", g->name, g->name);
	return CLI_TIMEOUT;
}

static int bad_mode(const struct cli_cmd *cmd, const char *mode)
{
	cli_error("%s: --mode %s: acpi or agent", cmd->name, mode);
	return VMM_ERR_USAGE;
}

static int cmd_shutdown(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[4];
	struct guest g;
	struct control *c;
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	bool agent;
	long ms = 0;

	if (status >= 0)
		return status;
	agent = value[0] && !strcmp(value[0], "agent");
	if (value[0] && !agent && strcmp(value[0], "acpi"))
		return bad_mode(cmd, value[0]);
	if (value[1] && (ms = cli_seconds(cmd, "timeout", value[1])) < 0)
		return VMM_ERR_USAGE;
	c = guest_control(argv[optind], &g);
	if (!c)
		return VMM_ERR_SETUP;
	status = (agent ? ask_agent(cmd, &g, "powerdown") : press_power(&g, c)) ? VMM_ERR_SETUP : VMM_OK;
	control_close(c);
	if (!status && value[1])
		status = wait_off(&g, ms);
	else if (!status && value[2])
		status = wait_off(&g, -1);
	guest_free(&g);
	return status;
}

static const struct cli_cmd shutdown_verb = {
	.name = "shutdown", .group = CLI_RUN, .args = "NAME", .run = cmd_shutdown,
	.summary = "ask a guest to power off",
	.help =
"Presses the guest's ACPI power button, or asks its agent (qemu-guest-agent). It is\n"
"the guest's own choice what it does then; `hvx destroy` does not ask.\n"
"\n"
"Exit status: 0 asked (and, with --wait or --timeout, off), 65 not asked, 124 time is up.\n",
	.opts = OPTS(
		{ "mode", 'm', "MODE", "acpi (default) or agent" },
		{ "timeout", 't', "SECONDS", "wait until it is off, at most this long" },
		{ "wait", 'w', NULL, "wait until it is off" }),
};
CLI_VERB(shutdown_verb);

static int cmd_reboot(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[4];
	struct guest g;
	struct control *c;
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	bool acpi;

	if (status >= 0)
		return status;
	acpi = value[0] && !strcmp(value[0], "acpi");
	if (value[0] && !acpi && strcmp(value[0], "agent"))
		return bad_mode(cmd, value[0]);
	c = guest_control(argv[optind], &g);
	if (!c)
		return VMM_ERR_SETUP;
	if (acpi)
		cli_error("%s: ACPI has no button to reboot; take --mode agent, or `hvx reset %s`", g.name, g.name);
	status = !acpi && !ask_agent(cmd, &g, "reboot") ? VMM_OK : VMM_ERR_SETUP;
	control_close(c);
	guest_free(&g);
	return status;
}

static const struct cli_cmd reboot_verb = {
	.name = "reboot", .group = CLI_RUN, .args = "NAME", .run = cmd_reboot,
	.summary = "ask a guest to reboot",
	.help =
"Asks the guest's agent (qemu-guest-agent). Without one, `hvx reset` reboots at once.\n",
	.opts = OPTS({ "mode", 'm', "MODE", "agent (default)" }),
};
CLI_VERB(reboot_verb);

/* --- destroy --- */

/* Ask first; a VMM that does not answer, which it may be slow to do on a busy host, is killed. */
static int destroy(struct guest *g)
{
	struct control *c = control_open(g->name);
	int ret = -1;

	if (c) {
		control_timeout(c, 10000);
		ret = control_call(c, "quit", NULL, NULL);
		control_close(c);
	}
	if (!ret && !guest_wait_end(g, 20000))
		return VMM_OK;
	if (g->pid > 1 && !kill(g->pid, SIGTERM) && !guest_wait_end(g, 10000))
		return VMM_OK;
	if (g->pid > 1 && !kill(g->pid, SIGKILL) && !guest_wait_end(g, 10000)) {
		cli_error("%s: its VMM did not answer and was killed", g->name);
		return VMM_OK;
	}
	cli_error("%s: its VMM (pid %d) cannot be ended: %s", g->name, (int)g->pid, strerror(errno));
	return VMM_ERR_SETUP;
}

static int cmd_destroy(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[2];
	struct guest g;
	int status = cli_guest(cmd, argc, argv, value, 1, 1, &g);

	if (status >= 0)
		return status;
	if (!g.dir) {
		cli_error("%s: the guest is not running", g.name);
		return VMM_ERR_SETUP;
	}
	if (value[0]) {
		struct control *c = control_open(g.name);

		if (c && !control_call(c, "system_powerdown", NULL, NULL))
			guest_wait_end(&g, 10000);
		control_close(c);
	}
	status = destroy(&g);
	if (status == VMM_OK)
		printf("%s destroyed\n", g.name);
	guest_free(&g);
	return status;
}

static const struct cli_cmd destroy_verb = {
	.name = "destroy", .group = CLI_RUN, .args = "NAME", .run = cmd_destroy,
	.summary = "end a guest at once",
	.help =
"As pulling the plug: the guest is not asked. Its definition and its disks stay.\n",
	.opts = OPTS({ "graceful", 'g', NULL, "press its power button first, and give it 10 s" }),
};
CLI_VERB(destroy_verb);
