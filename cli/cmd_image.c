// SPDX-License-Identifier: GPL-2.0-only
/* hvx image build: a small guest from the distribution's packages, made by hvx-image-build. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

#define MAX_PACKAGES 64

static int build(const struct cli_cmd *cmd, int argc, char **argv)
{
	char *program, *args[2 * MAX_PACKAGES + 20];
	unsigned int n = 1, packages = 0;
	const char *value;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		const struct cli_opt *o = cmd->opts;

		if (c == CLI_OPT_HELP)
			return VMM_OK;
		if (c < 0)
			return VMM_ERR_USAGE;
		while (o->letter != c)
			o++;
		if ((c == 'p' && ++packages > MAX_PACKAGES) || n + 6 > sizeof(args) / sizeof(args[0])) {
			cli_error("image: too many options; --package takes a list with commas");
			return VMM_ERR_USAGE;
		}
		if (asprintf(&args[n++], "--%s", o->name) < 0)
			return VMM_ERR_SETUP;
		args[n++] = (char *)value;
	}
	if (argc - optind != 2 || strcmp(argv[optind], "build")) {
		cli_error("image: write: hvx image build [OPTION...] NAME; see: hvx help image");
		return VMM_ERR_USAGE;
	}
	program = find_program("hvx-image-build");
	if (!program) {
		cli_error("hvx-image-build is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again");
		return VMM_ERR_SETUP;
	}
	args[0] = program;
	args[n++] = "--";
	args[n++] = argv[optind + 1];
	args[n] = NULL;
	execv(program, args);
	cli_error("%s: %s", program, strerror(errno));
	return VMM_ERR_SETUP;
}

/* clang-format off: tables are read by row */
static const struct cli_cmd image_verb = {
	.name = "image", .group = CLI_DEFINE, .args = "build NAME", .run = build,
	.summary = "build a small guest image",
	.help =
"Makes a Debian guest with systemd, qemu-guest-agent and, with --user-data, cloud-init\n"
"and a NoCloud seed: NAME.img (an ext4 file system), NAME.vmlinuz, NAME.initrd and\n"
"NAME.xml, which `hvx run NAME.xml` boots. Needs mmdebstrap and a mirror, and root or\n"
"user namespaces. Root has no password: it logs in on the console, or by --ssh-key.\n"
"A clone gets a name, a machine-id and SSH host keys of its own.\n"
"\n"
"Exit status: 0, 64 bad command line, 65 it could not be made.\n",
	.opts = OPTS(
		{ "suite", 's', "NAME", "of Debian (default bookworm)" },
		{ "mirror", 'm', "URL", "where its packages are" },
		{ "package", 'p', "LIST", "more packages, with commas between; may be repeated" },
		{ "size", 'z', "MIB", "of the file system (default 2048; the file has holes)" },
		{ "user-data", 'u', "FILE", "for cloud-init, which is installed then" },
		{ "ssh-key", 'k', "FILE", "public key for root; installs openssh-server" }),
};
CLI_VERB(image_verb);
/* clang-format on */
