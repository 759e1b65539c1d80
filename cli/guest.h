/* SPDX-License-Identifier: GPL-2.0-only */
/* What the verbs on guests share. */
#ifndef HVX_CLI_GUEST_H
#define HVX_CLI_GUEST_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "cli.h"
#include "control.h"
#include "vmm/number.h"

struct domain;

#define CLI_TIMEOUT 124	/* exit status: time is up */

/*
 * All of a verb's command line: value[i] is the argument of its ith option, "" for
 * one that takes none, NULL where it was not given; argv[optind] on are the min to
 * max operands. -1: go on; else the exit status, after a message.
 */
int cli_parse(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max);
/* "12", "1.5": seconds, as ms. -1 after a message. */
long cli_seconds(const struct cli_cmd *cmd, const char *option, const char *text);
/* number_parse() of an option, or of an operand (NULL). False after a message. */
bool cli_number(const struct cli_cmd *cmd, const char *option, const char *text, long min, long max, long *out);

enum guest_state { GUEST_OFF, GUEST_RUNNING, GUEST_PAUSED, GUEST_SHUTDOWN, GUEST_CRASHED, GUEST_STARTING };

struct guest {
	char name[65];
	char uuid[37];			/* "" where it is not known */
	enum guest_state state;
	pid_t pid;			/* of its VMM, 0: off */
	char *dir;			/* runtime folder, NULL: off */
	bool defined, autostart;
	char status[32];		/* QMP's word */
};

/* By name, UUID or id (the VMM's pid). 0, or -1 after a message. guest_free() it. */
int guest_find(const char *what, struct guest *g);
void guest_free(struct guest *g);
const char *guest_state_name(enum guest_state s);	/* virsh's: "shut off" */
/* All guests, by name; *n their number. defined: those that are off, too. guests_free() them. */
struct guest *guests_list(bool defined, size_t *n);
/* The same of those that are defined, without a question to any VMM: not whether they run. */
struct guest *guests_defined(size_t *n);
void guests_free(struct guest *g, size_t n);

/*
 * The head of a verb whose first operand is a guest: as cli_parse(), then guest_find(), or
 * guest_control() into *c. -1: go on, *g (and *c) are the caller's; else the exit status, after a message.
 */
int cli_guest(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max,
	      struct guest *g);
int cli_control(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max,
		struct guest *g, struct control **c);

/* Its XML: of the running one, unless inactive; else the definition. NULL after a message. */
char *guest_xml(const struct guest *g, bool inactive, size_t *len);
struct domain *guest_domain(const struct guest *g, bool inactive);	/* the same, parsed */

/* Connect to a guest that must be running. NULL after a message. */
struct control *guest_control(const char *what, struct guest *g);
/* Wait until its VMM has gone. 0, -1: not within ms (-1: any time). */
int guest_wait_end(const struct guest *g, long ms);

/* User and system time of its VMM, in ns; 0: not to be had. */
uint64_t guest_cpu_time(pid_t pid);
/* cmd_domstats.c: all that `hvx domstats` prints, as one flat object. */
struct json_object *guest_stats(const struct guest *g);

/* cmd_run.c: start in the background what text says; messages about `file`. An exit status. */
int run_detached(const char *file, const char *text, size_t len, bool paused);
int run_saved(const char *file, bool paused);	/* the same, from a saved state */
int run_reverted(const char *file, bool paused);	/* of a snapshot: the guest is told that it went back */

/* What comes with a guest: disks, the definition to be kept, and the sockets that bring it all. */
struct arriving;
struct keepdef;
struct incoming {
	struct arriving *images;
	const int *disk;	/* a socket for each */
	unsigned int nr_disks;
	struct keepdef *def;
	const int *fd;		/* the guest's */
	unsigned int nr;
};

/*
 * A guest that comes from elsewhere; the sockets are closed. name NULL: the XML's. Returns
 * when it is here, or will not come.
 */
int run_incoming(const char *file, const char *text, size_t len, const char *name, bool paused,
		 const struct incoming *in);

/*
 * logs.c: where a guest in the background writes: /var/log/hvx/NAME.log for root,
 * $XDG_STATE_HOME/hvx/NAME.log (~/.local/state/hvx) for others. free() it.
 */
char *log_path(const char *name);
/* Its path, opened to append (*fd, -1 with errno), *start its end now. The VMM keeps it short (vmm/logfile.h). */
char *log_open(const char *name, int *fd, off_t *start);

void print_json(struct json_object *o);		/* puts it, too */

#endif
