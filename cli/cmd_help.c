// SPDX-License-Identifier: GPL-2.0-only
#include "cli.h"

int cmd_help(const struct cli_cmd *cmd, int argc, char **argv)
{
	const struct cli_cmd *about;

	(void)cmd;
	if (argc < 2) {
		cli_overview(stdout);
		return VMM_OK;
	}
	about = cli_find(argv[1]);
	if (!about || argc > 2) {
		cli_error("help: %s: no such verb; `hvx help` lists them", argv[argc - 1]);
		return VMM_ERR_USAGE;
	}
	cli_help(stdout, about);
	return VMM_OK;
}

int cmd_version(const struct cli_cmd *cmd, int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		cli_error("%s: takes no arguments", cmd->name);
		return VMM_ERR_USAGE;
	}
	puts("hvx " HVX_VERSION);
	return VMM_OK;
}
