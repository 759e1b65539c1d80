// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "vmm/domxml_int.h"

static void warn_file(const struct domain *dom, unsigned int line, const char *what, const char *path, int mode)
{
	if (!path || !access(path, mode))
		return;
	fprintf(stderr, "%s:", dom->file);
	if (line)
		fprintf(stderr, "%u:", line);
	fprintf(stderr, " warning: %s %s: %s; it is needed to run the guest\n", what, path,
		errno == ENOENT ? "not there" : strerror(errno));
}

/* What is missing is no fault of the XML: the files may come before the guest runs. */
static void warn_files(const struct domain *dom)
{
	warn_file(dom, 0, "<kernel>", dom->os.kernel, R_OK);
	/* Modules, where there is more than one name or arguments, are the loader's to find. */
	if (dom->os.initrd && !strpbrk(dom->os.initrd, " ,"))
		warn_file(dom, 0, "<initrd>", dom->os.initrd, R_OK);
	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];

		warn_file(dom, d->line, "<disk>", d->file, d->readonly || d->transient ? R_OK : R_OK | W_OK);
	}
}

static bool validate(const char *file, bool quiet)
{
	bool in = !strcmp(file, "-");
	struct domain *dom = domxml_parse(in ? NULL : file, in ? STDIN_FILENO : -1, stderr, !quiet, "", NULL);

	if (!dom)
		return false;
	if (!quiet) {
		warn_files(dom);
		printf("%s: %s can be run\n", dom->file, dom->name);
	}
	domain_free(dom);
	return true;
}

int cmd_validate(const struct cli_cmd *cmd, int argc, char **argv)
{
	bool quiet = false, ok = true;
	const char *value;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		if (c == 'q')
			quiet = true;
		else
			return c == CLI_OPT_HELP ? VMM_OK : VMM_ERR_USAGE;
	}
	if (optind == argc) {
		cli_error("validate: no file given; see: hvx help validate");
		return VMM_ERR_USAGE;
	}
	for (; optind < argc; optind++)
		ok &= validate(argv[optind], quiet);
	return ok ? VMM_OK : VMM_ERR_USAGE;
}
