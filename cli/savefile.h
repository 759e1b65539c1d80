/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files of saved state. A file gets its name only when all of it is on stable
 * storage: whatever happens before, the name stays what it was.
 */
#ifndef HVX_CLI_SAVEFILE_H
#define HVX_CLI_SAVEFILE_H

#include <stdbool.h>
#include "control.h"

struct savefile {
	int fd;
	char *path, *dir;
	char *temp;		/* NULL: the file has no name yet */
};

/* Begin a file that will be called path. 0, or -1 after a message. */
int savefile_begin(struct savefile *f, const char *path);
/* All is written and synced: give it its name. 0, or -1 after a message. */
int savefile_commit(struct savefile *f);
void savefile_abort(struct savefile *f);	/* after commit: nothing left to do */

struct save_request {
	const char *form;	/* "zstd", "plain"; NULL: default */
	int level;		/* 0: default */
	bool cont;		/* the guest goes on afterwards */
	bool quiet;		/* no progress line */
};

/* Let the guest write its state to path. 0, or -1 after a message; it then goes on. */
int save_guest(struct control *c, const char *guest, const char *path, const struct save_request *r);
/* End the guest's VMM and wait until it is gone. */
int save_quit(struct control *c, const char *guest);
/* Where `hvx managedsave` keeps the guest's state; free() it. NULL: no home. Makes the folders with make. */
char *managedsave_path(const char *guest, bool make);

#endif
