/* SPDX-License-Identifier: GPL-2.0-only */
/* Snapshots of a guest, whether it runs or not. All say what fails; 0 or -1. */
#ifndef HVX_CLI_SNAPGUEST_H
#define HVX_CLI_SNAPGUEST_H

#include "guest.h"
#include "snapdisk.h"

#define SNAP_LOCKS 1024U

struct snap_locks {
	int fd[SNAP_LOCKS];
	unsigned int n;
};

/* A guest whose snapshots nobody else changes meanwhile. */
struct snap_guest {
	struct guest g;
	struct snap_tree *t;
	struct snap_locks locks;	/* its disks, kept from others while it is off */
};

/* Find the guest, take its tree, and finish what was left undone. change: with its disks locked. */
int snap_begin(struct snap_guest *s, const char *what, bool change);
void snap_end(struct snap_guest *s);

struct snap_request {
	const char *name, *description;	/* NULL: made up; none */
	bool disks_only, halt, quiet;
	bool quiesce;			/* of the disks only: of one that runs, its agent freezes its file systems meanwhile */
};

int snap_take(struct snap_guest *s, const struct snap_request *r);	/* prints what it is called */
/* A VMM that runs is ended first. running, paused: whatever it was in the snapshot. An exit status. */
int snap_go_back(struct snap_guest *s, struct snapshot *to, bool running, bool paused);
/* A text is to be run as the guest `name`: with its disks as its snapshots left them. Frees text. NULL after a message. */
char *snap_for_run(const char *name, char *text, size_t *len, struct snap_tree **tree);

/* --- snaplive.c: the guest runs --- */
int snap_take_live(struct snap_guest *s, const struct domain *dom, const char *xml, size_t len, const struct snap_request *r);
int snap_recover_live(struct snap_guest *s);
/*
 * Merge what lies under the layers that the running guest writes to, of one disk (its
 * <target dev=>) or all; top: these, too, which become the lower ones of new layers.
 */
int snap_merge_live(struct snap_guest *s, const char *target, bool top);

#endif
