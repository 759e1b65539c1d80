/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's runtime folder: BASE/hvx/NAME with its pid, log, console links and
 * a lock that is held as long as its VMM lives. BASE is $XDG_RUNTIME_DIR, or
 * /run for root and /run/user/UID for others where that is not set.
 */
#ifndef HVX_CLI_RUNDIR_H
#define HVX_CLI_RUNDIR_H

#include <stdbool.h>

struct rundir {
	char *path;
	int lock;	/* the VMM inherits it, and with it the lock */
};

/*
 * Make the folder of that name and lock it. 0, or -1 with errno:
 * EWOULDBLOCK a guest of this name runs, ENXIO there is no BASE.
 */
int rundir_open(struct rundir *r, const char *name);
/* The descriptor only: the folder stays, for a guest in the background. */
void rundir_close(struct rundir *r);
/* The folder too. */
void rundir_remove(struct rundir *r);

/*
 * The folder of a guest whose VMM lives; free() it. NULL: there is none, with
 * what a dead VMM left behind removed.
 */
char *rundir_find(const char *name);
/* Call fn for each guest whose VMM lives, in no order, until it returns false; dead ones are removed. */
void rundir_each(bool (*fn)(void *opaque, const char *name, const char *path), void *opaque);
/* Remove what killed guests left. */
void rundir_sweep(void);
/* BASE/hvx, which is made where it is not there. free() it; NULL: errno. */
char *rundir_base(void);
/* 1 to 64 characters, no '/', no control characters, no dot in front. */
bool guest_name_ok(const char *name);

#endif
