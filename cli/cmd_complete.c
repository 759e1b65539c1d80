// SPDX-License-Identifier: GPL-2.0-only
/*
 * hvx complete: what the shells' completions (packaging/completion) offer for a
 * command line, from the table of verbs. A line is "word TAB description"; the line
 * ":files" asks the shell for names of files.
 */
#include <string.h>
#include "cli.h"
#include "rundir.h"
#include "store.h"

struct offer {
	const char *prefix;
	FILE *f;
};

static void offer(const struct offer *o, const char *word, const char *what)
{
	if (!strncmp(word, o->prefix, strlen(o->prefix)))
		fprintf(o->f, "%s%s%s\n", word, what ? "\t" : "", what ? what : "");
}

static bool offer_guest(void *opaque, const char *name, const char *path)
{
	(void)path;
	offer(opaque, name, NULL);
	return true;
}

static void offer_verbs(const struct offer *o)
{
	for (const struct cli_cmd *const *v = cli_verbs(); *v; v++)
		if ((*v)->summary)
			offer(o, (*v)->name, (*v)->summary);
}

static void offer_options(const struct offer *o, const struct cli_cmd *cmd)
{
	char word[40];

	for (const struct cli_opt *opt = cmd->opts; opt->name; opt++) {
		snprintf(word, sizeof(word), "--%s", opt->name);
		offer(o, word, opt->help);
	}
	offer(o, "--help", "explain this verb");
}

/* The option that word is, if it takes an argument. */
static const struct cli_opt *wants_argument(const struct cli_cmd *cmd, const char *word)
{
	for (const struct cli_opt *o = cmd->opts; o->name; o++) {
		if (!o->arg)
			continue;
		if (word[0] == '-' && word[1] == '-' ? !strcmp(word + 2, o->name) :
		    word[0] == '-' && o->letter && word[1] == o->letter && !word[2])
			return o;
	}
	return NULL;
}

/* The nth operand's name in "NAME [FILE...]"; the last one, if it may be repeated. */
static const char *operand(const char *args, unsigned int n, char *buf, size_t size)
{
	size_t len = 0;

	for (;;) {
		args += strspn(args, " [");
		if (!*args)
			return "";
		len = strcspn(args, " ]");
		if (!n || strstr(args, "...") == args + len - 3)
			break;
		args += len;
		args += strspn(args, "]");
		n--;
	}
	snprintf(buf, size, "%.*s", (int)len, args);
	return buf;
}

static void offer_operand(const struct offer *o, const struct cli_cmd *cmd, unsigned int n)
{
	char buf[32];
	const char *what = operand(cmd->args, n, buf, sizeof(buf));

	if (!strncmp(what, "NAME", 4)) {
		rundir_each(offer_guest, (void *)(uintptr_t)o);
		store_each(offer_guest, (void *)(uintptr_t)o);
	} else if (!strncmp(what, "FILE", 4)) {
		fputs(":files\n", o->f);
	} else if (!strcmp(what, "VERB")) {
		offer_verbs(o);
	}
}

/* argv: the words after "hvx", the last one unfinished. */
static void complete(int argc, char **argv, FILE *f)
{
	struct offer o = { .prefix = argc ? argv[argc - 1] : "", .f = f };
	const struct cli_cmd *cmd = argc > 1 ? cli_find(argv[0]) : NULL;
	const struct cli_opt *opt = NULL;
	unsigned int n = 0;

	if (argc < 2) {
		offer_verbs(&o);
		offer(&o, "--help", "list the verbs");
		offer(&o, "--version", "print the version");
		return;
	}
	if (!cmd)
		return;
	for (int i = 1; i < argc - 1; i++) {
		opt = opt ? NULL : wants_argument(cmd, argv[i]);
		n += !opt && argv[i][0] != '-' && !wants_argument(cmd, argv[i - 1]);
	}
	if (opt) {
		if (!strncmp(opt->arg, "FILE", 4))
			fputs(":files\n", f);
	} else if (o.prefix[0] == '-') {
		offer_options(&o, cmd);
	} else {
		offer_operand(&o, cmd, n);
	}
}

static int cmd_complete(const struct cli_cmd *cmd, int argc, char **argv)
{
	(void)cmd;
	complete(argc - 1, argv + 1, stdout);
	return VMM_OK;
}

static const struct cli_cmd complete_verb = {
	.name = "complete", .group = CLI_TOOLS, .args = "WORD...", .run = cmd_complete,
	.help = "For the shells' completions.\n", .opts = NO_OPTS,
};
CLI_VERB(complete_verb);
