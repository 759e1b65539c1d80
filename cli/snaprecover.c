// SPDX-License-Identifier: GPL-2.0-only
/* The files become what the tree says. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "cli.h"
#include "devices/storage/image.h"
#include "snapdisk.h"
#include "snapmerge.h"
#include "store.h"
#include "vmm/domxml_int.h"

/* ------------------------------------------------------- what was left undone */

/* Only a VMM with the new layers writes to them: and it has them once all else is done. */
static bool was_done(struct snap_tree *t, const struct snapshot *s)
{
	for (size_t i = 0; i < s->nr_refs; i++) {
		struct snap_disk *d = snap_disk(t, s->ref[i].file);
		struct snap_layer *active = snap_layer(d, d->active);

		if (active->layer && snap_written(d, active))
			return true;
	}
	return false;
}

static int finish_pending(struct snap_tree *t)
{
	for (size_t i = t->nr_snaps; i--;) {
		struct snapshot *s = &t->snap[i];
		bool done;

		if (!s->pending)
			continue;
		done = was_done(t, s);
		if (!done)
			cli_error("%s: snapshot %s was not finished when hvx was killed; it is dropped, and nothing else is lost", t->guest, s->name);
		if (snap_finish(t, s, done))
			return -1;
	}
	return 0;
}

/* The definition that a snapshot was made with. */
static int finish_define(struct snap_tree *t)
{
	char *path = snap_path(t, t->define, "xml"), *why = NULL, *text;
	size_t len = 0;
	int lock, ret = -1;

	text = path ? doc_read(path, -1, DOMXML_MAX_FILE, &len, &why) : NULL;
	lock = text ? store_lock() : -1;
	if (!text)
		cli_error("%s: %s; the definition of %s stays as it is", path, why ? why : "out of memory", t->guest);
	else if (lock >= 0 && !snap_step("define") && !store_write(t->guest, text, len))
		ret = 0;
	else
		cli_error("%s: its definition: %s", t->guest, strerror(errno));
	if (lock >= 0)
		close(lock);
	free(text);
	free(why);
	free(path);
	if (ret && text)
		return -1;
	t->define[0] = '\0';
	return snap_commit(t);
}

/* The disk is called as before once more: its new file takes the old one's name. */
static int finish_move(struct snap_tree *t, struct snap_disk *d, struct snap_layer *l)
{
	char *from = NULL;
	int ret = asprintf(&from, "%s.hvx-%s", d->file, l->id) < 0 ? -1 : 0;

	if (!ret && !snap_step("move"))
		ret = rename(from, d->file) && errno != ENOENT ? -1 : snap_sync_dir(d->file);
	else
		ret = -1;
	if (ret)
		cli_error("%s: %s cannot take its place: %s", d->file, from ? from : "?", strerror(errno));
	free(from);
	if (ret)
		return -1;
	snap_step("moved");
	l->moving = false;
	return snap_commit(t);
}

/* ---------------------------------------------------- what nobody needs any more */

static unsigned int needed(struct snap_tree *t, struct snap_disk *d, const struct snap_layer *l)
{
	unsigned int n = !strcmp(d->active, l->id);

	for (size_t i = 0; i < t->nr_snaps; i++)
		for (size_t k = 0; k < t->snap[i].nr_refs; k++)
			n += !strcmp(t->snap[i].ref[k].file, d->file) && !strcmp(t->snap[i].ref[k].layer, l->id);
	return n;
}

static unsigned int kids(struct snap_disk *d, const struct snap_layer *l, struct snap_layer **kid)
{
	unsigned int n = 0;

	for (size_t i = 0; i < d->nr_layers; i++) {
		if (strcmp(d->layer[i].below, l->id))
			continue;
		*kid = &d->layer[i];
		n++;
	}
	return n;
}

/*
 * Under a guest that runs, files are merged of which it writes to neither: what it sees of
 * them does not change, as each block is covered that a merge writes to. An image that is not raw
 * is open in the daemon of its VMM, and written to by that.
 */
static bool can_merge(struct snap_tree *t, struct snap_disk *d, const struct snap_layer *l, const struct snap_layer *kid)
{
	return kid && !needed(t, d, l) && (l->layer || l->format == DISK_RAW || !t->live || t->serve);
}

bool snap_wants_top(struct snap_tree *t, struct snap_disk *d)
{
	struct snap_layer *active = snap_layer(d, d->active), *below = snap_layer(d, active->below), *kid = NULL;

	return below && kids(d, below, &kid) == 1 && can_merge(t, d, below, active);
}

/* One change to the tree: 1; 0: there is nothing to do; -2: what could be left as it is went wrong. */
static int tidy_layer(struct snap_tree *t, struct snap_disk *d, struct snap_layer *l, bool running)
{
	struct snap_layer *kid = NULL, *active = snap_layer(d, d->active);
	unsigned int n = kids(d, l, &kid);

	if (!needed(t, d, l) && !n && !l->home) {
		snap_remove_layer(d, l);
		return snap_commit(t) ? -1 : 1;
	}
	if (running && !(t->live && can_merge(t, d, l, kid) && kid != active))
		return 0;
	if (!needed(t, d, l) && n == 1)
		return snap_merge(t, d, l, kid) ? -2 : 1;
	/* A raw file that the guest writes to gets the disk's name, unless a snapshot has that. */
	if (l == active && !l->layer && !l->home) {
		for (size_t i = 0; i < d->nr_layers; i++) {
			if (!d->layer[i].home)
				continue;
			if (needed(t, d, &d->layer[i]) || kids(d, &d->layer[i], &kid))
				return 0;
			snap_remove_layer(d, &d->layer[i]);
			break;
		}
		l = snap_layer(d, d->active);
		l->home = l->moving = true;
		return snap_commit(t) || finish_move(t, d, snap_layer(d, d->active)) ? -1 : 1;
	}
	return 0;
}

static int tidy(struct snap_tree *t, bool running)
{
	int ret = 0;

	for (size_t i = 0; i < t->nr_disks; i++)
		for (size_t k = 0; k < t->disk[i].nr_layers; k++) {
			ret = tidy_layer(t, &t->disk[i], &t->disk[i].layer[k], running);
			if (ret == -2)
				return snap_reload(t);	/* layers that could be one are as good as two */
			if (ret < 0)
				return ret;
			if (ret)
				k = (size_t)-1;	/* once more from the first */
		}
	return 0;
}

/* Files that are called as those of snapshots are, and belong to none. */
static void sweep(const char *dir, bool (*known)(void *opaque, const char *name), void *opaque)
{
	DIR *f = opendir(dir);
	struct dirent *e;
	char *path;

	while (f && (e = readdir(f))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || known(opaque, e->d_name))
			continue;
		if (asprintf(&path, "%s/%s", dir, e->d_name) < 0)
			continue;
		snap_step("sweep");
		if (unlink(path))
			cli_error("%s: %s", path, strerror(errno));
		free(path);
	}
	if (f)
		closedir(f);
}

static bool is_id(const char *s)
{
	return strlen(s) == SNAP_ID - 1 && !s[strspn(s, "0123456789abcdef")];
}

static bool known_layer(void *opaque, const char *name)
{
	struct snap_disk *d = opaque;
	const char *base = strrchr(d->file, '/') + 1;
	size_t n = strlen(base);
	struct snap_layer *l;

	if (strncmp(name, base, n) || strncmp(name + n, ".hvx-", 5) || !is_id(name + n + 5))
		return true;
	l = snap_layer(d, name + n + 5);
	return l && (!l->home || l->moving);
}

static bool known_file(void *opaque, const char *name)
{
	char id[SNAP_ID] = "";

	if (!strcmp(name, "tree.json") || !strcmp(name, ".lock"))
		return true;
	if (strlen(name) < SNAP_ID || name[SNAP_ID - 1] != '.')
		return false;
	memcpy(id, name, SNAP_ID - 1);
	return snap_by_id(opaque, id) && (!strcmp(name + SNAP_ID, "xml") || !strcmp(name + SNAP_ID, "state"));
}

/* Nobody is to write to what lies under layers: image_open() looks at this. */
static void mark(const struct snap_tree *t, struct snap_disk *d)
{
	if (snap_layer(d, d->active)->home)
		removexattr(d->file, IMAGE_BASE_XATTR);
	else
		setxattr(d->file, IMAGE_BASE_XATTR, t->guest, strlen(t->guest), 0);
}

int snap_recover(struct snap_tree *t, bool running)
{
	bool plain = !t->nr_snaps;

	if (!t->exists)
		return 0;
	if (!running && finish_pending(t))
		return -1;
	if (t->define[0] && finish_define(t))
		return -1;
	for (size_t i = 0; i < t->nr_disks; i++)
		for (size_t k = 0; k < t->disk[i].nr_layers; k++)
			if (t->disk[i].layer[k].moving && finish_move(t, &t->disk[i], &t->disk[i].layer[k]))
				return -1;
	if (tidy(t, running))
		return -1;
	plain = !t->nr_snaps;
	for (size_t i = 0; i < t->nr_disks; i++) {
		struct snap_disk *d = &t->disk[i];
		char *dir = strndup(d->file, (size_t)(strrchr(d->file, '/') - d->file) ?: 1);

		if (dir)
			sweep(dir, known_layer, d);
		free(dir);
		mark(t, d);
		plain = plain && d->nr_layers == 1 && d->layer[0].home;
	}
	sweep(t->dir, known_file, t);
	return plain ? snap_drop(t) : 0;
}
