// SPDX-License-Identifier: GPL-2.0-only
/* Options, help and errors, all from the table. */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define OPTS_MAX 32

/* Bytes of a control character here: of ASCII, one; of those that UTF-8 has as 0xc2 and another byte, two. */
static unsigned int control(const unsigned char *s)
{
	if (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
		return 2;
	return (*s < ' ' && *s != '\n' && *s != '\t') || *s == 0x7f;
}

void cli_error(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	for (char *p = text; p && *p; p++)
		memset(p, '?', control((unsigned char *)p));
	fprintf(stderr, "hvx: %s\n", text ? text : "out of memory");
	free(text);
}

int cli_getopt(const struct cli_cmd *cmd, int argc, char **argv, const char **value)
{
	struct option longs[OPTS_MAX + 2] = { 0 };
	char shorts[2 * OPTS_MAX + 4] = ":h", *s = shorts + 2;
	unsigned int n = 0;
	int c;

	for (; cmd->opts[n].name && n < OPTS_MAX; n++) {
		const struct cli_opt *o = &cmd->opts[n];

		longs[n] = (struct option){
			.name = o->name, .has_arg = o->arg ? required_argument : no_argument,
			.val = o->letter ? o->letter : CLI_OPT_INDEX + (int)n,
		};
		if (o->letter) {
			*s++ = o->letter;
			if (o->arg)
				*s++ = ':';
		}
	}
	longs[n] = (struct option){ .name = "help", .val = 'h' };
	opterr = 0;
	c = getopt_long(argc, argv, shorts, longs, NULL);
	*value = optarg;
	switch (c) {
	case 'h':
		cli_help(stdout, cmd);
		return CLI_OPT_HELP;
	case ':':
		cli_error("%s: %s needs an argument; see: hvx help %s", cmd->name, argv[optind - 1], cmd->name);
		return CLI_OPT_BAD;
	case '?':
		cli_error("%s: %s: no such option, or an argument it does not take; see: hvx help %s", cmd->name,
			  argv[optind - 1], cmd->name);
		return CLI_OPT_BAD;
	default:
		return c;
	}
}

void cli_help(FILE *f, const struct cli_cmd *cmd)
{
	fprintf(f, "Usage: hvx %s%s%s%s\n\n%s", cmd->name, cmd->opts[0].name ? " [OPTION...]" : "",
		*cmd->args ? " " : "", cmd->args, cmd->help);
	if (cmd->opts[0].name)
		fputs("\nOptions:\n", f);
	for (const struct cli_opt *o = cmd->opts; o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			 o->letter ? ", " : "  ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(f, "  %-20s %s\n", left, o->help);
	}
}

void cli_overview(FILE *f)
{
	enum cli_group group = CLI_GROUPS;

	fputs("Usage: hvx VERB [OPTION...] [ARGUMENT...]\n", f);
	for (const struct cli_cmd *const *v = cli_verbs(); *v; v++) {
		const struct cli_cmd *c = *v;

		if (!c->summary)
			continue;
		if (c->group != group)
			fprintf(f, "\n%s:\n", cli_group_title[c->group]);
		group = c->group;
		fprintf(f, "  %-15s %s\n", c->name, c->summary);
	}
	fputs("\n`hvx help VERB` says more about one. See hvx(1), and hvx-domain-xml(5) for the XML.\n", f);
}
