// SPDX-License-Identifier: GPL-2.0-only
/* New files of snapshots, and the operations on the tree. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "devices/storage/foreign.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "savefile.h"
#include "snapdisk.h"
#include "snapmerge.h"
#include "vmm/config.h"
#include "xmledit.h"

static int reflink(int out, int in)
{
	return ioctl(out, FICLONE, in);
}

int (*snap_clone)(int out, int in) = reflink;

int snap_sync_dir(const char *file)
{
	char *copy = strdup(file);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, ret = fd < 0 ? -1 : fsync(fd);

	if (fd >= 0)
		close(fd);
	free(copy);
	return ret;
}

/* ------------------------------------------------------------------ new files */

/* The file of a new layer, with the rights of the disk's. */
static int make_file(const struct snap_disk *d, const struct snap_layer *l, char **path)
{
	struct stat st = { .st_mode = 0600 };
	int fd;

	*path = layer_path(d, l);
	if (!*path)
		return -1;
	stat(d->file, &st);
	fd = snap_step("layer-begun") ? -1 : open(*path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && !fchmod(fd, st.st_mode & 0777))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int made(int fd, char *path, bool ok)
{
	int err;

	ok = ok && !snap_step("layer-written") && !fsync(fd) && !snap_sync_dir(path) && !snap_step("layer-made");
	err = errno;
	if (!ok && fd >= 0)
		unlink(path);
	if (fd >= 0)
		close(fd);
	free(path);
	errno = err;
	return ok ? 0 : -1;
}

/* Bytes of the disk whose uppermost file this is. */
static int size_of(const struct snap_disk *d, const struct snap_layer *l, uint64_t *size)
{
	char *path = layer_path(d, l);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct overlay *o = NULL;
	struct nbd_disk *served;
	const char *why = NULL;
	struct stat st;

	if (!l->layer && l->format != DISK_RAW) {
		served = snap_serve(d, l, true);
		*size = served ? nbd_disk_size(served) / IMAGE_SECTOR * IMAGE_SECTOR : 0;
		nbd_disk_close(served);
		close(fd);
		free(path);
		return served ? 0 : -1;
	}
	if (fd < 0 || fstat(fd, &st)) {
		why = strerror(errno);
	} else if (!l->layer) {
		*size = (uint64_t)st.st_size / IMAGE_SECTOR * IMAGE_SECTOR;
	} else {
		o = overlay_load(fd, &why);
		fd = -1;
		if (o)
			*size = o->size;
		overlay_free(o);
	}
	if (why)
		cli_error("%s: %s", path ? path : d->file, why);
	if (fd >= 0)
		close(fd);
	free(path);
	return why ? -1 : 0;
}

static unsigned int depth(struct snap_disk *d, const struct snap_layer *l)
{
	unsigned int n = 1;

	while ((l = snap_layer(d, l->below)))
		n++;
	return n;
}

/* A layer on `below`. The array of layers moves. */
static struct snap_layer *add_on(struct snap_disk *d, const char *below)
{
	uint8_t id[OVERLAY_ID] = { 0 };
	struct snap_layer *l, *under = snap_layer(d, below);
	uint64_t size = 0;
	char *path = NULL;
	int fd, ret;

	if (depth(d, under) >= OVERLAY_DEPTH) {
		cli_error("%s: %u files lie on each other, and no more can; `hvx snapshot-delete` merges them", d->file, OVERLAY_DEPTH);
		return NULL;
	}
	if (size_of(d, under, &size))
		return NULL;
	l = snap_add_layer(d);
	if (!l)
		return NULL;
	snap_new_id(l->id);
	snprintf(l->below, sizeof(l->below), "%s", below);
	l->layer = true;
	for (int i = 0; i < 8; i++)
		sscanf(l->id + 2 * i, "%2hhx", &id[i]);
	fd = make_file(d, l, &path);
	ret = fd < 0 ? -errno : overlay_format(fd, id, size);
	errno = -ret;
	if (!made(fd, path, !ret))
		return l;
	cli_error("%s: no layer can be made over it: %s", d->file, strerror(errno));
	return NULL;
}

struct snap_layer *snap_add_top(struct snap_disk *d)
{
	char active[SNAP_ID];
	struct snap_layer *l;

	memcpy(active, d->active, SNAP_ID);
	l = add_on(d, active);
	if (l)
		memcpy(d->active, l->id, SNAP_ID);
	return l;
}

static int clone_into(struct snap_disk *d, struct snap_layer *from, int out)
{
	char *path = layer_path(d, from);
	int in = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, ret, err;

	ret = in < 0 ? -1 : snap_clone(out, in);
	err = errno;
	if (in >= 0)
		close(in);
	free(path);
	errno = err;
	return ret;
}

/* A raw copy that shares its blocks. NULL with errno, without a message. */
static struct snap_layer *add_clone(struct snap_disk *d, const char *of)
{
	struct snap_layer *l = snap_add_layer(d);
	char *path = NULL;
	int fd;

	if (!l)
		return NULL;
	snap_new_id(l->id);
	fd = make_file(d, l, &path);
	if (!made(fd, path, fd >= 0 && !clone_into(d, snap_layer(d, of), fd)))
		return l;
	snap_remove_layer(d, l);
	return NULL;
}

/* Of other images than raw there is one file, and layers on it: nothing else has to know their format. */
static bool can_share(const struct snap_layer *l)
{
	return !l->layer && l->format == DISK_RAW;
}

/* Why sharing blocks did not work: is it that the file system cannot? */
static bool cannot_clone(int err)
{
	return err == EOPNOTSUPP || err == ENOTTY || err == EXDEV || err == EINVAL || err == ENOSYS;
}

/* --------------------------------------------------------------------- create */

static bool takes_part(const struct dom_disk *disk)
{
	return disk->file && !disk->readonly && !disk->cdrom && !disk->transient;
}

int snap_disks_ok(const char *guest, const struct domain *dom)
{
	struct stat st;

	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];
		const char *why = NULL;

		if (!takes_part(d))
			continue;
		if (d->shareable)
			why = "other guests write to it (<shareable/>)";
		else if (d->block)
			why = "it is a block device; let its volume manager make the snapshot";
		else if (d->nr_backing)
			why = "its definition names a layer; name the image";
		else if (lstat(d->file, &st))
			why = strerror(errno);
		else if (!S_ISREG(st.st_mode))
			why = "it is no plain file; name the file itself in the definition";
		if (why) {
			cli_error("%s: disk %s, %s: no snapshot: %s", guest, d->target, d->file, why);
			return -1;
		}
	}
	return 0;
}

/* So that a next command knows where to look for files that this one left. */
static int register_disks(struct snap_tree *t, const struct domain *dom)
{
	bool added = false;

	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *disk = &dom->disk[i];
		struct snap_disk *d = takes_part(disk) ? snap_disk(t, disk->file) : NULL;
		struct snap_layer *l = d ? snap_home(d) : NULL;

		if (l && l->format != disk->format) {
			cli_error("%s: its snapshots have it as an image of format %s, and the definition as %s; write that, or delete them first",
				  d->file, foreign_name(l->format), foreign_name(disk->format));
			return -1;
		}
		if (!takes_part(disk) || d)
			continue;
		d = snap_add_disk(t, disk->file);
		l = d ? snap_add_layer(d) : NULL;
		if (!l)
			return -1;
		snap_new_id(l->id);
		memcpy(d->active, l->id, SNAP_ID);
		l->home = added = true;
		l->format = disk->format;
		for (unsigned int k = 0; k < disk->nr_chain; k++)
			if (snap_add_chain(d, disk->chain[k].format, disk->chain[k].file))
				return -1;
	}
	return added ? snap_commit(t) : 0;
}

static int keep_xml(const struct snap_tree *t, const struct snapshot *s, const char *xml, size_t len)
{
	char *path = snap_path(t, s->id, "xml");
	struct savefile f;
	int ret = -1;

	if (path && !savefile_begin(&f, path)) {
		if (snap_step("xml-begun") || write(f.fd, xml, len) != (ssize_t)len)
			cli_error("%s: %s", path, strerror(errno));
		else
			ret = savefile_commit(&f);
		savefile_abort(&f);
	}
	free(path);
	return ret;
}

static int add_disk(struct snapshot *s, struct snap_disk *d, const char *target)
{
	char active[SNAP_ID];
	struct snap_layer *l;

	memcpy(active, d->active, SNAP_ID);
	if (can_share(snap_layer(d, active))) {
		l = add_clone(d, active);
		if (l)
			return snap_add_ref(s, target, d->file, l->id);
		if (!cannot_clone(errno)) {
			cli_error("%s: no copy can be made of it: %s", d->file, strerror(errno));
			return -1;
		}
	}
	l = add_on(d, active);
	if (!l)
		return -1;
	memcpy(d->active, l->id, SNAP_ID);
	return snap_add_ref(s, target, d->file, active);
}

struct snapshot *snap_prepare(struct snap_tree *t, const struct domain *dom, const char *name, const char *description,
			      const char *xml, size_t xml_len)
{
	struct snapshot *s;

	if (t->nr_snaps >= SNAP_MAX) {
		cli_error("%s: it has %u snapshots, and more are not possible", t->guest, SNAP_MAX);
		return NULL;
	}
	if (register_disks(t, dom))
		return NULL;
	s = snap_add(t);
	if (!s || !(s->name = strdup(name)) || !(s->description = strdup(description)))
		return NULL;
	snap_new_id(s->id);
	memcpy(s->parent, t->current, SNAP_ID);
	s->created = time(NULL);
	if (keep_xml(t, s, xml, xml_len))
		return NULL;
	for (unsigned int i = 0; i < dom->nr_disks; i++)
		if (takes_part(&dom->disk[i]) && add_disk(s, snap_disk(t, dom->disk[i].file), dom->disk[i].target))
			return NULL;
	memcpy(t->current, s->id, SNAP_ID);
	return s;
}

int snap_copy_again(struct snap_tree *t, const struct snapshot *s)
{
	for (size_t i = 0; i < s->nr_refs; i++) {
		struct snap_disk *d = snap_disk(t, s->ref[i].file);
		struct snap_layer *l = snap_layer(d, s->ref[i].layer), *active = snap_layer(d, d->active);
		char *path;
		int fd, ret;

		if (!can_share(active))
			continue;	/* the copy is what lies below */
		path = layer_path(d, l);
		fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
		ret = fd < 0 || ftruncate(fd, 0) || snap_step("copy-again") || clone_into(d, active, fd) || fsync(fd) ? -1 : 0;
		if (ret)
			cli_error("%s: %s", path ? path : d->file, strerror(errno));
		if (fd >= 0)
			close(fd);
		free(path);
		if (ret)
			return -1;
	}
	return 0;
}

/* Take back what snap_prepare() made of the tree. */
static void undo(struct snap_tree *t, struct snapshot *s)
{
	for (size_t i = 0; i < s->nr_refs; i++) {
		struct snap_disk *d = snap_disk(t, s->ref[i].file);
		struct snap_layer *active = snap_layer(d, d->active);

		if (!strcmp(active->below, s->ref[i].layer)) {
			memcpy(d->active, s->ref[i].layer, SNAP_ID);
			snap_remove_layer(d, active);
		} else {
			snap_remove_layer(d, snap_layer(d, s->ref[i].layer));
		}
	}
	snap_remove(t, s);
}

int snap_finish(struct snap_tree *t, struct snapshot *s, bool done)
{
	s->pending = s->resume = false;
	if (!done)
		undo(t, s);
	return snap_commit(t);
}

/* --------------------------------------------------------------------- revert */

static int revert_disk(struct snap_tree *t, const struct snap_ref *r)
{
	struct snap_disk *d = snap_disk(t, r->file);
	struct snap_layer *l = NULL;

	if (can_share(snap_layer(d, r->layer))) {
		l = add_clone(d, r->layer);
		if (!l && !cannot_clone(errno)) {
			cli_error("%s: no copy can be made for it: %s", d->file, strerror(errno));
			return -1;
		}
	}
	if (!l)
		l = add_on(d, r->layer);
	if (!l)
		return -1;
	memcpy(d->active, l->id, SNAP_ID);
	return 0;
}

int snap_revert(struct snap_tree *t, struct snapshot *s)
{
	for (size_t i = 0; i < s->nr_refs; i++)
		if (revert_disk(t, &s->ref[i]))
			goto fail;
	memcpy(t->current, s->id, SNAP_ID);
	memcpy(t->define, s->id, SNAP_ID);
	if (!snap_commit(t))
		return snap_recover(t, false);
fail:
	if (!snap_reload(t))
		snap_recover(t, false);
	return -1;
}

int snap_flatten(struct snap_tree *t)
{
	while (t->nr_snaps)
		snap_remove(t, &t->snap[t->nr_snaps - 1]);
	return snap_commit(t) ?: snap_recover(t, false);
}

/* ------------------------------------------------------------------------ XML */

static xmlNode *child_of(xmlNode *parent, const char *name)
{
	for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name))
			return n;
	return NULL;
}

static xmlNode *child_made(xmlNode *parent, const char *name, bool first)
{
	xmlNode *n = child_of(parent, name);

	if (!n) {
		n = xmlNewNode(NULL, (const xmlChar *)name);
		if (n && first && parent->children)
			xmlAddPrevSibling(parent->children, n);
		else if (n)
			xmlAddChild(parent, n);
	}
	return n;
}

static void set(xmlNode *n, const char *attr, const char *value)
{
	if (n)
		xmlSetProp(n, (const xmlChar *)attr, (const xmlChar *)value);
}

struct snap_disk *snap_whose(struct snap_tree *t, const char *file)
{
	for (size_t i = 0; i < t->nr_disks; i++) {
		size_t n = strlen(t->disk[i].file);

		if (!strncmp(file, t->disk[i].file, n) &&
		    (!file[n] || (!strncmp(file + n, ".hvx-", 5) && strlen(file + n + 5) == SNAP_ID - 1)))
			return &t->disk[i];
	}
	return NULL;
}

static xmlNode *add_backing(xmlNode *above, const char *format, const char *file)
{
	xmlNode *n = xmlNewChild(above, NULL, (const xmlChar *)"backingStore", NULL);

	set(n, "type", "file");
	set(n ? xmlNewChild(n, NULL, (const xmlChar *)"format", NULL) : NULL, "type", format);
	set(n ? xmlNewChild(n, NULL, (const xmlChar *)"source", NULL) : NULL, "file", file);
	return n;
}

static int map_disk(xmlNode *disk, struct snap_disk *d)
{
	struct snap_layer *l = snap_layer(d, d->active);
	xmlNode *back = child_of(disk, "backingStore"), *at = disk;
	bool layered = l->layer;
	char *path = layer_path(d, l);

	if (back) {
		xmlUnlinkNode(back);
		xmlFreeNode(back);
	}
	/* A raw disk stays as its author wrote it. */
	if (layered || child_of(disk, "driver"))
		set(child_made(disk, "driver", true), "type", layered ? "hvx-layer" : foreign_name(l->format));
	set(child_made(disk, "source", false), "file", path);
	while (path && (l = snap_layer(d, l->below))) {
		free(path);
		path = layer_path(d, l);
		at = add_backing(at, l->layer ? "hvx-layer" : foreign_name(l->format), path);
	}
	for (unsigned int i = 0; i < d->nr_chain; i++)
		at = add_backing(at, foreign_name(d->chain[i].format), d->chain[i].file);
	free(path);
	return path ? 0 : -1;
}

int snap_map(struct snap_tree *t, xmlDoc *doc)
{
	xmlNode *devices = child_of(xmlDocGetRootElement(doc), "devices");
	int ret = 0;

	for (xmlNode *n = devices ? devices->children : NULL; n && !ret; n = n->next) {
		xmlNode *source = n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, "disk") ? child_of(n, "source") : NULL;
		xmlChar *file = source ? xmlGetProp(source, (const xmlChar *)"file") : NULL;
		struct snap_disk *d = file ? snap_whose(t, (char *)file) : NULL;

		if (d && (snap_layer(d, d->active)->layer || strcmp((char *)file, d->file)))
			ret = map_disk(n, d);
		xmlFree(file);
	}
	return ret;
}

char *snap_map_text(struct snap_tree *t, char *text, size_t *len)
{
	xmlDoc *doc;
	char *mapped;

	if (!t->nr_disks)
		return text;
	doc = xmledit_open(text, *len);
	mapped = doc && !snap_map(t, doc) ? xmledit_text(doc, len) : NULL;
	if (doc && !mapped)
		cli_error("out of memory");
	if (doc)
		xmlFreeDoc(doc);
	free(text);
	return mapped;
}
