// SPDX-License-Identifier: GPL-2.0-only
/* hvx fork: guests that go on from where another one stands. */
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "template.h"

#define MAX_COUNT 10000

static int cmd_fork(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value, *name = NULL;
	long count = 1, i;
	struct template t;
	int c, status = VMM_OK;
	char *end;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		switch (c) {
		case 'c':
			count = strtol(value, &end, 10);
			if (end != value && !*end && count >= 1 && count <= MAX_COUNT)
				break;
			cli_error("fork: --count %s: 1 to %d", value, MAX_COUNT);
			return VMM_ERR_USAGE;
		case 'n':
			name = value;
			break;
		default:
			return c == CLI_OPT_HELP ? VMM_OK : VMM_ERR_USAGE;
		}
	}
	if (optind + 1 != argc || (name && count > 1)) {
		cli_error("fork: one guest or file is wanted, and --name for one fork only; see: hvx help fork");
		return VMM_ERR_USAGE;
	}
	if (template_open(&t, argv[optind]))
		return VMM_ERR_SETUP;
	for (i = 0; i < count && !status; i++)
		status = run_fork(&t, name, argv[optind]);
	template_close(&t);
	return status;
}

/* clang-format off: tables are read by row */

static const struct cli_cmd fork_verb = {
	.name = "fork", .group = CLI_STATE, .args = "NAME", .run = cmd_fork,
	.summary = "make guests that go on from where another one stands",
	.help =
"NAME is a running guest, or a file that `hvx save --plain` wrote. Each fork runs in\n"
"the background, shares the template's memory until it writes to it, and has a name,\n"
"a UUID and MAC addresses of its own. What it writes to its disks goes with it.\n"
"\n"
"A running guest that is forked stands still from then on, for the rest of its life:\n"
"its forks see its memory and its disks. A file's disks must stay as they are, too.\n"
"Prints the names of the forks.\n",
	.opts = OPTS(
		{ "count", 'c', "N", "make N forks" },
		{ "name", 'n', "NAME", "call the fork NAME (default: the template's, and a number)" }),
};
CLI_VERB(fork_verb);

/* clang-format on */
