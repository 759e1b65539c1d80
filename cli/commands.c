// SPDX-License-Identifier: GPL-2.0-only
/* The verbs that have no table row in a file of their own, and finding them all. */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

/* clang-format off: tables are read by row */

const struct cli_cmd cli_commands[] = {
	{
		.name = "run", .args = "FILE.xml [-- COMMAND...]", .run = cmd_run,
		.summary = "run the guest that FILE.xml describes",
		.help =
"Runs the guest in the foreground, with its console on this terminal, until it\n"
"powers off; then gives its exit status. Ctrl-] is the escape key: Ctrl-] ? says\n"
"what can follow it, Ctrl-] q stops the guest.\n"
"\n"
"With --detach the guest runs on its own. Its runtime folder, $XDG_RUNTIME_DIR/hvx/NAME\n"
"or /run/hvx/NAME, holds its pid, its log and its console.\n"
"\n"
"With a COMMAND, the guest is there for that: it boots, COMMAND runs in it through\n"
"its agent as by `hvx exec`, the guest ends, and COMMAND's status is this one's (124\n"
"to 127 as of `hvx exec`). With --kernel there is no XML: --root DIR is the guest's\n"
"system, and COMMAND its first program, without need of an agent.\n"
"\n"
"Exit status, without COMMAND:\n"
"   0   the guest powered off (with --detach: it was started)\n"
"  64   bad command line or XML\n"
"  65   the guest could not be started: a file, a permission, memory\n"
"  66   no /dev/hvx, or the CPU is held by another hypervisor: see `hvx host`\n"
"  67   the guest's kernel panicked (where the XML has <panic>)\n"
"  68   triple fault\n"
"  69   hvx-vmm or the module failed\n"
"  70   stopped by a signal or from the console\n"
"  odd  (V << 1) | 1, where the guest wrote V to its debug-exit port\n",
		.opts = OPTS(
			{ "accel", 'V', "hvx|kvm", "what runs the guest (default hvx); kvm where hvx.ko cannot be loaded" },
			{ "detach", 'd', NULL, "run in the background; print where its console is" },
			{ "escape", 'e', "KEY", "escape key: ^X for Ctrl-X, or none (default ^])" },
			{ "from", 'f', "TEMPLATE", "a fork of this guest or saved state instead of a FILE: see `hvx help fork`" },
			{ "gdb", 'g', "WHERE", "let GDB come: unix (gdb.sock in the runtime folder), unix:PATH, tcp:[HOST:]PORT" },
			{ "name", 'n', "NAME", "call the guest NAME instead of the XML's <name>" },
			{ "paused", 'p', NULL, "let it wait for `hvx resume`" },
			{ "rm", 'R', NULL, "drop what the guest writes to its disks" },
			{ "timeout", 't', "SEC", "end COMMAND after SEC seconds" },
			{ "boot-timeout", 'b', "SEC", "wait so long for the guest's agent (default 300)" },
			{ "env", 'E', "VAR=VAL", "set a variable for COMMAND; may be repeated" },
			{ "workdir", 'w', "DIR", "run COMMAND in this folder of the guest" },
			{ "artifact", 'a', "GLOB", "copy these files out of the guest in the end; may be repeated" },
			{ "artifact-dir", 'A', "DIR", "where to (default: here)" },
			{ "kernel", 'k', "FILE", "no XML: boot this bzImage, or ELF with a PVH note" },
			{ "initrd", 'i', "FILE", "its initramfs" },
			{ "append", 'x', "TEXT", "more kernel command line" },
			{ "root", 'r', "DIR", "a folder of this host becomes its root, as an initramfs" },
			{ "memory", 'm', "MIB", "its memory (default: 256 and what --root needs)" },
			{ "cpus", 'c', "N", "its vCPUs (default 1)" },
			{ "verbose", 'v', NULL, "say more; twice: much more" }),
	}, {
		.name = "validate", .group = CLI_DEFINE, .args = "FILE...", .run = cmd_validate,
		.summary = "check domain XML without running it",
		.help =
"Reports all that hvx would refuse, ignore with a warning, or not find. - is the\n"
"standard input. Exit status: 0 all can be run, 64 one of them cannot.\n",
		.opts = OPTS({ "quiet", 'q', NULL, "print errors only" }),
	}, {
		.name = "host", .group = CLI_TOOLS, .args = "", .run = cmd_host,
		.summary = "check what this host offers",
		.help =
"One line a check: PASS, WARN (guests run, but something will be missed) or FAIL\n"
"(guests do not run), each with the command that mends it. Exit status: 0 nothing\n"
"failed, 66 something did.\n",
		.opts = OPTS({ "json", 'j', NULL, "print an array of {check, result, text, remedy}" }),
	}, {
		.name = "qmp", .group = CLI_TOOLS, .args = "NAME COMMAND [ARGUMENTS]", .run = cmd_qmp,
		.summary = "send a command to a guest's control socket",
		.help =
"Sends one command of docs/control.md, with its arguments as a JSON object, and\n"
"prints what it returns. x-hvx-commands describes them all. Exit status: 0 it\n"
"succeeded, 65 it failed or there is no such guest.\n",
		.opts = OPTS({ "events", 'e', NULL, "then print events, until the guest ends" }),
	}, {
		.name = "help", .group = CLI_TOOLS, .args = "[VERB]", .run = cmd_help,
		.summary = "explain a verb, or list them",
		.help = "Without VERB, lists the verbs. See also hvx(1).\n",
		.opts = OPTS({ .name = NULL }),
	}, {
		.name = "version", .group = CLI_TOOLS, .args = "", .run = cmd_version,
		.summary = "print the version",
		.help = "Prints the version of this program.\n",
		.opts = OPTS({ .name = NULL }),
	},
	{ .name = NULL },
};

/* clang-format on */

const char *const cli_group_title[CLI_GROUPS] = {
	[CLI_RUN] = "Start and stop", [CLI_DEFINE] = "Definitions", [CLI_LOOK] = "Look at guests",
	[CLI_CHANGE] = "Change a guest", [CLI_STATE] = "Saved state", [CLI_TOOLS] = "Tools",
};

static int in_order(const void *a, const void *b)
{
	const struct cli_cmd *x = *(const struct cli_cmd *const *)a, *y = *(const struct cli_cmd *const *)b;

	return x->group != y->group ? (int)x->group - (int)y->group : strcmp(x->name, y->name);
}

const struct cli_cmd *const *cli_verbs(void)
{
	static const struct cli_cmd **list;
	size_t n = (size_t)(__stop_hvx_verbs - __start_hvx_verbs);

	if (list)
		return list;
	list = calloc(n + sizeof(cli_commands) / sizeof(cli_commands[0]), sizeof(*list));
	if (!list)
		abort();
	memcpy(list, __start_hvx_verbs, n * sizeof(*list));
	for (const struct cli_cmd *c = cli_commands; c->name; c++)
		list[n++] = c;
	qsort(list, n, sizeof(*list), in_order);
	return list;
}

const struct cli_cmd *cli_find(const char *name)
{
	for (const struct cli_cmd *const *c = cli_verbs(); *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	return NULL;
}

int cli_main(int argc, char **argv)
{
	const struct cli_cmd *cmd;

	if (argc < 2) {
		cli_overview(stderr);
		return VMM_ERR_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		argv[1] = (char *)"help";
	else if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		argv[1] = (char *)"version";
	cmd = cli_find(argv[1]);
	if (!cmd) {
		cli_error("%s: no such verb; `hvx help` lists them", argv[1]);
		return VMM_ERR_USAGE;
	}
	return cmd->run(cmd, argc - 1, argv + 1);
}
