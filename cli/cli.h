/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command-line tool. A verb is a struct cli_cmd and CLI_VERB() in its file,
 * cli/cmd_*.c: dispatch, options, help and completion are made from that.
 */
#ifndef HVX_CLI_CLI_H
#define HVX_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "vmm/machine.h"	/* enum vmm_status: the exit statuses */

struct cli_opt {
	const char *name;	/* without the dashes */
	char letter;		/* short form, 0: none */
	const char *arg;	/* name of its argument, NULL: takes none */
	const char *help;
};

enum cli_group { CLI_RUN, CLI_DEFINE, CLI_LOOK, CLI_CHANGE, CLI_STATE, CLI_TOOLS, CLI_GROUPS };
extern const char *const cli_group_title[CLI_GROUPS];

struct cli_cmd {
	const char *name;
	enum cli_group group;
	/* Operands: "NAME [FILE...]". NAME is completed as a guest's name, FILE as a file. */
	const char *args;
	const char *summary;	/* one line, for the list of verbs; NULL: not listed */
	const char *help;	/* paragraphs, for `hvx help VERB` */
	const struct cli_opt *opts;	/* ends with name NULL; an argument called FILE or NAME is completed */
	int (*run)(const struct cli_cmd *cmd, int argc, char **argv);	/* exit status */
};

#define OPTS(...) (const struct cli_opt[]){ __VA_ARGS__, { .name = NULL } }
#define NO_OPTS (const struct cli_opt[]){ { .name = NULL } }

/* The table of verbs, collected by the linker. */
#define CLI_VERB(cmd_) \
	static const struct cli_cmd *const cli_reg_##cmd_ \
	__attribute__((used, section("hvx_verbs"))) = &(cmd_)
extern const struct cli_cmd *const __start_hvx_verbs[], *const __stop_hvx_verbs[];

extern const struct cli_cmd cli_commands[];	/* more of them; ends with name NULL */

const struct cli_cmd *const *cli_verbs(void);	/* by group and name; ends with NULL */
const struct cli_cmd *cli_find(const char *name);	/* NULL: none */
int cli_main(int argc, char **argv);

/* --- args.c --- */
/*
 * Next option of argv (argv[0] is the verb): the letter, or for an option
 * without one its index in the table plus CLI_OPT_INDEX; *value its argument.
 * -1: none left, optind is the first operand. CLI_OPT_BAD after a message,
 * CLI_OPT_HELP after the verb's help was printed.
 */
#define CLI_OPT_INDEX	256
#define CLI_OPT_BAD	-2
#define CLI_OPT_HELP	-3
int cli_getopt(const struct cli_cmd *cmd, int argc, char **argv, const char **value);
void cli_help(FILE *f, const struct cli_cmd *cmd);
void cli_overview(FILE *f);
/* "hvx: text" on stderr; what is a control character in it shows as "?": a guest may have said a part of it. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- verbs --- */
int cmd_run(const struct cli_cmd *cmd, int argc, char **argv);
int cmd_restore(const struct cli_cmd *cmd, int argc, char **argv);
int cmd_validate(const struct cli_cmd *cmd, int argc, char **argv);
int cmd_host(const struct cli_cmd *cmd, int argc, char **argv);
int cmd_qmp(const struct cli_cmd *cmd, int argc, char **argv);
int cmd_help(const struct cli_cmd *cmd, int argc, char **argv);
int cmd_version(const struct cli_cmd *cmd, int argc, char **argv);

/* --- helpers.c: programs of hvx --- */
/* Path of a program that comes with hvx: beside this one, or in libexec. NULL: not found. free() it. */
char *find_program(const char *name);

#ifndef HVX_VERSION
#define HVX_VERSION "0"
#endif
#ifndef HVX_LIBEXECDIR
#define HVX_LIBEXECDIR "/usr/local/libexec/hvx"
#endif

#endif
