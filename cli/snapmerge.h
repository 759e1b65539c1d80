/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of snapshots have in common. */
#ifndef HVX_CLI_SNAPMERGE_H
#define HVX_CLI_SNAPMERGE_H

#include "snaptree.h"

/*
 * Put a layer and the only one on it together, in one of their files: the other's
 * record goes, the tree is committed, its file is left. What any of the others shows
 * does not change at any moment.
 */
int snap_merge(struct snap_tree *t, struct snap_disk *d, struct snap_layer *lower, struct snap_layer *upper);
/* Has the guest written to this layer? */
bool snap_written(struct snap_disk *d, const struct snap_layer *l);
struct nbd_disk;
/*
 * A disk's image of another format than raw, by the storage daemon: to be written to, or
 * (look) for its size. NULL after a message; nbd_disk_close().
 */
struct nbd_disk *snap_serve(const struct snap_disk *d, const struct snap_layer *l, bool look);
int snap_sync_dir(const char *file);	/* of the folder that file is in */

#endif
