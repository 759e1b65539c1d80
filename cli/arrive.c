// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "arrive.h"
#include "cli.h"
#include "devices/storage/image.h"
#include "vmm/livexml.h"

static char *folder(const char *path)
{
	char *copy = strdup(path), *dir = copy ? strdup(dirname(copy)) : NULL;

	free(copy);
	return dir;
}

static const struct dom_disk *find_disk(const struct domain *dom, const char *target)
{
	for (unsigned int i = 0; i < dom->nr_disks; i++)
		if (dom->disk[i].target && !strcmp(dom->disk[i].target, target))
			return &dom->disk[i];
	return NULL;
}

/* --------------------------------------------------------------------- opening */

/* One that has no name; or, where the file system knows none such, a name of its own. */
static int make(struct arriving_disk *d, uint64_t size)
{
	char *dir = folder(d->path);
	int err;

	d->fd = dir ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
	if (d->fd < 0 && dir && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		if (asprintf(&d->temp, "%s/.hvx-incoming-XXXXXX", dir) < 0)
			d->temp = NULL;
		d->fd = d->temp ? mkostemp(d->temp, O_CLOEXEC) : -1;
		if (d->fd < 0) {
			err = errno;
			free(d->temp);
			d->temp = NULL;
			errno = err;
		}
	}
	err = errno;
	free(dir);
	errno = err;
	if (d->fd < 0)
		return -1;
	d->made = true;
	return ftruncate(d->fd, (off_t)size);
}

/* What is there: NULL, or why it may not be used. */
static const char *check_old(struct arriving_disk *d, uint64_t size, bool overwrite)
{
	struct stat st;
	off_t end;

	if (!overwrite)
		return "exists there; remove it, or let it be overwritten with --overwrite";
	if (fstat(d->fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return "is there, and neither a file nor a block device";
	if (fgetxattr(d->fd, IMAGE_BASE_XATTR, NULL, 0) >= 0)
		return "is what snapshots there are made on";
	if (image_lock(d->fd, true, false))
		return "is in use there by another virtual machine; is the storage shared?";
	end = lseek(d->fd, 0, SEEK_END);
	if ((uint64_t)end == size)
		return NULL;
	if (S_ISBLK(st.st_mode))
		return "has another size there";
	return ftruncate(d->fd, (off_t)size) ? "has another size there, which cannot be changed" : NULL;
}

static int open_one(struct arriving_disk *d, const struct dom_disk *cfg, uint64_t size, bool overwrite,
		    char *why, size_t room)
{
	const char *bad = NULL;

	d->fd = open(d->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (d->fd >= 0)
		bad = check_old(d, size, overwrite);
	else if (errno != ENOENT)
		bad = strerror(errno);
	else if (cfg->block)
		bad = "is no block device there";
	else if (make(d, size))
		bad = errno == ENOENT ? "lies in a folder that is not there" : strerror(errno);
	if (bad)
		snprintf(why, room, "disk %s: '%s': %s", d->target, d->path, bad);
	return bad ? -1 : 0;
}

int arriving_open(struct arriving *a, struct json_object *list, const struct domain *dom, bool overwrite,
		  char *why, size_t room)
{
	size_t i, n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	for (i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *target = json_object_get_string(json_object_object_get(o, "target"));
		int64_t size = json_object_get_int64(json_object_object_get(o, "size"));
		struct arriving_disk *d = &a->disk[a->nr];
		const struct dom_disk *cfg;

		if (a->nr == DOM_MAX_DISKS || !target || !device_id_ok(target) || size < 512 || size % 512 ||
		    arriving_find(a, target) >= 0) {
			snprintf(why, room, "disks that cannot be");
			break;
		}
		cfg = find_disk(dom, target);
		if (!cfg || !cfg->file || cfg->nr_backing || cfg->format != DISK_RAW || cfg->transient) {
			snprintf(why, room, "disk %s: the XML there has no such disk with a raw image", target);
			break;
		}
		*d = (struct arriving_disk){ .fd = -1, .path = strdup(cfg->file) };
		snprintf(d->target, sizeof(d->target), "%s", target);
		a->nr++;
		if (!d->path || open_one(d, cfg, (uint64_t)size, overwrite, why, room))
			break;
	}
	if (i == n)
		return 0;
	arriving_close(a);
	return -1;
}

int arriving_find(const struct arriving *a, const char *target)
{
	for (unsigned int i = 0; i < a->nr; i++)
		if (!strcmp(a->disk[i].target, target))
			return (int)i;
	return -1;
}

/* ---------------------------------------------------------------------- naming */

static int name_one(struct arriving_disk *d)
{
	char proc[32], *dir;
	int fd, ret;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", d->fd);
	/* None of these replaces what is there. */
	if (!d->temp)
		ret = linkat(AT_FDCWD, proc, AT_FDCWD, d->path, AT_SYMLINK_FOLLOW);
	else
		ret = renameat2(AT_FDCWD, d->temp, AT_FDCWD, d->path, RENAME_NOREPLACE);
	if (ret && d->temp && errno == EINVAL) {
		ret = link(d->temp, d->path);
		if (!ret)
			unlink(d->temp);
	}
	if (ret)
		return -1;
	d->named = true;
	dir = folder(d->path);
	fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	free(dir);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	return 0;
}

/* Only if it is still the one that was made here. */
static void unname(struct arriving_disk *d)
{
	struct stat ours, there;

	if (d->named && !fstat(d->fd, &ours) && !lstat(d->path, &there) && ours.st_ino == there.st_ino &&
	    ours.st_dev == there.st_dev)
		unlink(d->path);
}

int arriving_name(struct arriving *a)
{
	unsigned int i;

	for (i = 0; i < a->nr; i++) {
		if (!a->disk[i].made || !name_one(&a->disk[i]))
			continue;
		cli_error("receive: disk %s: '%s': %s", a->disk[i].target, a->disk[i].path, strerror(errno));
		while (i--)
			unname(&a->disk[i]);
		return -1;
	}
	return 0;
}

void arriving_close(struct arriving *a)
{
	for (unsigned int i = 0; i < a->nr; i++) {
		struct arriving_disk *d = &a->disk[i];

		if (d->temp && !d->named)
			unlink(d->temp);
		if (d->fd >= 0)
			close(d->fd);
		free(d->path);
		free(d->temp);
	}
	a->nr = 0;
}
