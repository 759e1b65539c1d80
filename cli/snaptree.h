/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's snapshots: which there are, and which files hold their disks. All of
 * it is in one file, STATE/hvx/snapshots/NAME/tree.json (docs/snapshots.md), which
 * changes in one step; every other file follows from it. What a command that was
 * killed left undone, snap_recover() (snapdisk.h) does or undoes.
 */
#ifndef HVX_CLI_SNAPTREE_H
#define HVX_CLI_SNAPTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/config.h"

#define SNAP_ID		17	/* 16 hex digits */
#define SNAP_TREE_MAX	(16U << 20)	/* bytes of tree.json */
#define SNAP_MAX	4096U	/* snapshots of a guest; layers of a disk: twice as many */
#define SNAP_TEXT	1024U	/* bytes of a name or a description */

/* A file of a disk. */
struct snap_layer {
	char id[SNAP_ID];
	char below[SNAP_ID];	/* "": nothing */
	bool layer;		/* devices/storage/overlay.h; false: an image */
	enum disk_format format;	/* of the image; of those that are not raw there is one, which is home */
	bool home;		/* it is called as the disk is; else DISK.hvx-ID */
	bool moving;		/* it gets that name just now */
};

struct snap_disk {
	char *file;		/* as in the definition: a whole path */
	char active[SNAP_ID];	/* what the guest writes to: nothing lies on it, no snapshot has it */
	struct snap_layer *layer;
	size_t nr_layers;
	struct dom_backing *chain;	/* what a qcow2 image lies on, as in the definition; the lowest last */
	unsigned int nr_chain;
};

struct snap_ref {
	char *target;		/* "vda" */
	char *file;		/* of a snap_disk */
	char layer[SNAP_ID];
};

enum snap_state { SNAP_SHUTOFF, SNAP_RUNNING, SNAP_PAUSED, SNAP_DISKS, SNAP_STATES };

struct snapshot {
	char id[SNAP_ID];
	char parent[SNAP_ID];	/* "": none */
	char *name, *description;
	int64_t created;	/* s since the epoch */
	enum snap_state state;	/* of the guest; SNAP_DISKS: it ran, and its memory is not kept */
	bool pending;		/* of a guest that runs, and not done: its VMM may still be without the new layers */
	bool resume;		/* pending: it is to go on afterwards */
	struct snap_ref *ref;
	size_t nr_refs;
};

struct nbd_disk;

struct snap_tree {
	char guest[65];
	char *dir;		/* its folder */
	int lock;
	bool exists;		/* tree.json does */
	struct snap_disk *disk;
	size_t nr_disks;
	struct snapshot *snap;	/* a parent stands before its children */
	size_t nr_snaps;
	char current[SNAP_ID];	/* "": none */
	char define[SNAP_ID];	/* this snapshot's XML becomes the definition just now; "": none */
	bool quiet;		/* no word about merges */
	bool live;		/* the guest runs on the tree's active layers, and what lies under them is to be merged */
	/* live: an image that is not raw, to be written to by the daemon of the guest's VMM; as snap_serve(). NULL: not possible */
	struct nbd_disk *(*serve)(const struct snap_disk *d, void *opaque);
	void *serve_opaque;
};

/*
 * $HVX_STATE_DIR, else /var/lib/hvx for root and $XDG_STATE_HOME/hvx (~/.local/state/hvx)
 * for others. free() it; NULL: there is no home.
 */
char *state_dir(void);

/* Is there a tree? Without waiting for the lock. */
bool snap_exists(const char *guest);
/*
 * Take the guest's lock, for as long as it is open, and read its tree: an empty one where
 * there is none. NULL after a message. make: with its folder, where something is to come.
 */
struct snap_tree *snap_open(const char *guest, bool make);
void snap_close(struct snap_tree *t);
int snap_reload(struct snap_tree *t);	/* forget what is not committed. -1 after a message */
/* The tree as it is now to the disk. 0, or -1 after a message: then it is there as it was. */
int snap_commit(struct snap_tree *t);
/* Nothing is left to be said: without it, a guest is as if it never had a snapshot. */
int snap_drop(struct snap_tree *t);
/* Check and read a text; -1 with *why, a static text. For snap_open(). */
int snap_parse(struct snap_tree *t, const char *text, size_t len, const char **why);
char *snap_print(const struct snap_tree *t);	/* free() it; NULL: out of memory */

void snap_new_id(char id[SNAP_ID]);
struct snapshot *snap_find(struct snap_tree *t, const char *name);	/* NULL: none */
struct snapshot *snap_by_id(struct snap_tree *t, const char *id);
struct snap_disk *snap_disk(struct snap_tree *t, const char *file);
struct snap_layer *snap_layer(struct snap_disk *d, const char *id);
const char *snap_state_name(enum snap_state s);
/* Makes room for one more: zeroed, NULL: out of memory. Pointers into the array move. */
struct snapshot *snap_add(struct snap_tree *t);
struct snap_disk *snap_add_disk(struct snap_tree *t, const char *file);
struct snap_layer *snap_add_layer(struct snap_disk *d);
int snap_add_chain(struct snap_disk *d, enum disk_format format, const char *file);
int snap_add_ref(struct snapshot *s, const char *target, const char *file, const char *layer);
void snap_remove(struct snap_tree *t, struct snapshot *s);	/* its children become its parent's */
void snap_remove_layer(struct snap_disk *d, struct snap_layer *l);
void snap_remove_disk(struct snap_tree *t, struct snap_disk *d);

char *snap_path(const struct snap_tree *t, const char *id, const char *suffix);	/* DIR/ID.SUFFIX; free() it */
char *layer_path(const struct snap_disk *d, const struct snap_layer *l);	/* free() it */
struct snap_layer *snap_home(struct snap_disk *d);	/* that is called as the disk is; NULL: none */

/*
 * For tests: the process dies, or the disk is full, at this step: HVX_TEST_KILL_AT and
 * HVX_TEST_FULL_AT are its name, or the how-manieth it is. 0, or -1 with ENOSPC.
 * At that called HVX_TEST_STOP_AT it waits for SIGCONT.
 */
int snap_step(const char *name);

#endif
