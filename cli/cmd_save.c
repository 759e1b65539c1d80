// SPDX-License-Identifier: GPL-2.0-only
/* hvx save, managedsave, managedsave-remove: a guest's state into a file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "guest.h"
#include "rundir.h"
#include "savefile.h"

static int parse(const struct cli_cmd *cmd, int argc, char **argv, struct save_request *r, int operands)
{
	const char *value;
	long level;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		switch (c) {
		case 'p':
			r->form = "plain";
			break;
		case 'l':
			if (!cli_number(cmd, "level", value, 1, 19, &level))
				return VMM_ERR_USAGE;
			r->level = (int)level;
			break;
		case 'r':
			r->cont = true;
			break;
		case 'q':
			r->quiet = true;
			break;
		default:
			return c == CLI_OPT_HELP ? -1 : VMM_ERR_USAGE;
		}
	}
	if (argc - optind != operands) {
		cli_error("%s: wanted are: %s; see: hvx help %s", cmd->name, cmd->args, cmd->name);
		return VMM_ERR_USAGE;
	}
	return 0;
}

static int save(const char *guest, const char *path, const struct save_request *r)
{
	struct control *c = control_open_or_say(guest);
	int ret;

	if (!c)
		return VMM_ERR_SETUP;
	ret = save_guest(c, guest, path, r);
	if (!ret && !r->cont)
		ret = save_quit(c, guest);
	control_close(c);
	return ret ? VMM_ERR_SETUP : VMM_OK;
}

static int cmd_save(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct save_request r = { 0 };
	int status = parse(cmd, argc, argv, &r, 2);

	if (status)
		return status < 0 ? VMM_OK : status;
	return save(argv[optind], argv[optind + 1], &r);
}

static int cmd_managedsave(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct save_request r = { 0 };
	int status = parse(cmd, argc, argv, &r, 1);
	char *path;

	if (status)
		return status < 0 ? VMM_OK : status;
	if (!guest_name_ok(argv[optind])) {
		cli_error("managedsave: %s: not the name of a guest", argv[optind]);
		return VMM_ERR_USAGE;
	}
	path = managedsave_path(argv[optind], true);
	if (!path) {
		cli_error("managedsave: no folder for it; set XDG_STATE_HOME to one of yours");
		return VMM_ERR_SETUP;
	}
	status = save(argv[optind], path, &r);
	if (!status && !r.quiet)
		printf("%s is saved in %s\n", argv[optind], path);
	free(path);
	return status;
}

static int cmd_managedsave_remove(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct save_request r = { 0 };
	int status = parse(cmd, argc, argv, &r, 1);
	char *path;

	if (status)
		return status < 0 ? VMM_OK : status;
	path = guest_name_ok(argv[optind]) ? managedsave_path(argv[optind], false) : NULL;
	if (!path || (unlink(path) && errno == ENOENT)) {
		cli_error("managedsave-remove: %s has no saved state; nothing was removed", argv[optind]);
	} else if (!access(path, F_OK)) {
		cli_error("managedsave-remove: %s: %s", path, strerror(errno));
		status = VMM_ERR_SETUP;
	}
	free(path);
	return status;
}

/* clang-format off: tables are read by row */

static const struct cli_cmd save_verb = {
	.name = "save", .group = CLI_STATE, .args = "NAME FILE", .run = cmd_save,
	.summary = "write a running guest's state to a file, and end it",
	.help =
"The guest stands still while its memory, devices and CPUs are written; then its VMM\n"
"ends. `hvx restore FILE` lets it go on from there. FILE gets its name when all of it\n"
"is on the disk: a crash, a full disk or Ctrl-C leaves what was there, and the guest\n"
"going on. The disks' contents are not in FILE: they must be as they are until then.\n"
"Connections of user-mode networking end, as if the host had rebooted.\n",
	.opts = OPTS(
		{ "level", 'l', "N", "compress by zstd's level N, 1 (default) to 19" },
		{ "plain", 'p', NULL, "memory as it is, page-aligned: to be mapped by forks" },
		{ "quiet", 'q', NULL, "no progress line" },
		{ "running", 'r', NULL, "let the guest go on afterwards" }),
};
CLI_VERB(save_verb);

static const struct cli_cmd restore_verb = {
	.name = "restore", .group = CLI_STATE, .args = "FILE", .run = cmd_restore,
	.summary = "let a guest go on from its saved state",
	.help =
"Runs the guest whose state `hvx save` wrote to FILE, as `hvx run` would. All of FILE\n"
"is checked before the guest executes an instruction. FILE stays; once the guest has\n"
"gone on from it, its disks have changed, and FILE must not be restored again.\n"
"Exit status: as `hvx run`; 65 also where FILE cannot be restored.\n",
	.opts = OPTS(
		{ "detach", 'd', NULL, "run in the background; print where its console is" },
		{ "escape", 'e', "KEY", "escape key: ^X for Ctrl-X, or none (default ^])" },
		{ "name", 'n', "NAME", "call the guest NAME instead of the XML's <name>" },
		{ "paused", 'p', NULL, "wait for `hvx resume`" },
		{ "verbose", 'v', NULL, "say more; twice: much more" }),
};
CLI_VERB(restore_verb);

static const struct cli_cmd managedsave_verb = {
	.name = "managedsave", .group = CLI_STATE, .args = "NAME", .run = cmd_managedsave,
	.summary = "save a guest where its next start finds it",
	.help =
"As `hvx save`, to a file that hvx keeps: in /var/lib/hvx/save for root, else in\n"
"$XDG_STATE_HOME/hvx/save (~/.local/state/hvx/save).\n",
	.opts = OPTS(
		{ "level", 'l', "N", "compress by zstd's level N, 1 (default) to 19" },
		{ "quiet", 'q', NULL, "no progress line" }),
};
CLI_VERB(managedsave_verb);

static const struct cli_cmd managedsave_remove_verb = {
	.name = "managedsave-remove", .group = CLI_STATE, .args = "NAME", .run = cmd_managedsave_remove,
	.summary = "drop the state that managedsave kept",
	.help = "The guest's next start is then a boot. Where there is none, nothing happens.\n",
	.opts = NO_OPTS,
};
CLI_VERB(managedsave_remove_verb);

/* clang-format on */
