/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The files behind a guest's snapshots. In each of these the order is: new files,
 * on stable storage; the tree, in one step; what the tree no longer names. All say
 * what fails, and give 0 or -1.
 */
#ifndef HVX_CLI_SNAPDISK_H
#define HVX_CLI_SNAPDISK_H

#include <libxml/tree.h>
#include "snaptree.h"

struct domain;

/*
 * Make the files what the tree says: finish or undo what was left undone, merge
 * layers that no snapshot needs, remove files that the tree does not know. running:
 * the guest runs, its layers stay as they are, and no snapshot is pending.
 */
int snap_recover(struct snap_tree *t, bool running);

/* Can all of these disks have snapshots? */
int snap_disks_ok(const char *guest, const struct domain *dom);
/*
 * A snapshot called name of dom's disks, with its new files, on top of the current one;
 * not committed. xml: the definition. NULL: undo it by snap_reload() and snap_recover().
 */
struct snapshot *snap_prepare(struct snap_tree *t, const struct domain *dom, const char *name, const char *description,
			      const char *xml, size_t xml_len);
/* A new layer over what the guest writes to, which takes its place. Not committed. NULL after a message. */
struct snap_layer *snap_add_top(struct snap_disk *d);
/* Could more be merged if the guest wrote to a new layer? */
bool snap_wants_top(struct snap_tree *t, struct snap_disk *d);
/* Make the raw copies of s again, of what the disks hold now. */
int snap_copy_again(struct snap_tree *t, const struct snapshot *s);
/* s is done (the guest's VMM has its layers) or undone. Commits. */
int snap_finish(struct snap_tree *t, struct snapshot *s, bool done);

/* Disks, and the definition, as in s; the guest is off. */
int snap_revert(struct snap_tree *t, struct snapshot *s);
/* No snapshots, each disk one raw file. The guest is off. */
int snap_flatten(struct snap_tree *t);

/* Change what doc, a definition or the XML of a running guest, calls its disks to the files that they are in. */
int snap_map(struct snap_tree *t, xmlDoc *doc);
/* The same of a text, which is freed: a new one, or NULL after a message. Where the guest has no snapshots, text. */
char *snap_map_text(struct snap_tree *t, char *text, size_t *len);

/* The disk that has this file, by any of its names; NULL: none. */
struct snap_disk *snap_whose(struct snap_tree *t, const char *file);

/* Share blocks (FICLONE): 0 or -1 with errno. Tests have their own. */
extern int (*snap_clone)(int out, int in);

#endif
