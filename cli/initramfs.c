// SPDX-License-Identifier: GPL-2.0-only
/* The image that a kernel without a disk begins with: part of hvx-archive.so. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "archive.h"
#include "cli.h"

#define COMMAND_PATH	".hvx/command"
#define COMMAND_MAX	(128U << 10)

static int complain(const char *what, struct archive *a)
{
	cli_error("run: %s: %s", what, archive_error_string(a) ? archive_error_string(a) : "out of memory");
	return -1;
}

static int add_bytes(struct archive *out, const char *name, mode_t mode, const void *data, size_t len)
{
	struct archive_entry *e = archive_entry_new();
	int ret;

	archive_entry_set_pathname(e, name);
	archive_entry_set_mode(e, mode);
	archive_entry_set_size(e, (la_int64_t)len);
	if (S_ISCHR(mode)) {
		archive_entry_set_rdevmajor(e, 5);	/* /dev/console, the only one */
		archive_entry_set_rdevminor(e, 1);
	}
	ret = archive_write_header(out, e) < ARCHIVE_WARN || (len && archive_write_data(out, data, len) < 0);
	archive_entry_free(e);
	return ret ? complain(name, out) : 0;
}

static int add_contents(struct archive *out, const char *path)
{
	char buf[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		if (archive_write_data(out, buf, (size_t)n) < 0) {
			close(fd);
			return complain(path, out);
		}
	if (n < 0)
		cli_error("run: %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

static int add_file(struct archive *out, struct archive *disk, FTSENT *f, size_t prefix)
{
	struct archive_entry *e = archive_entry_new();
	const char *name = f->fts_path + prefix;
	int ret;

	while (*name == '/')
		name++;
	archive_entry_copy_sourcepath(e, f->fts_accpath);
	archive_entry_set_pathname(e, *name ? name : ".");
	ret = archive_read_disk_entry_from_file(disk, e, -1, f->fts_statp);
	archive_entry_unset_size(e);
	archive_entry_set_size(e, S_ISREG(f->fts_statp->st_mode) ? f->fts_statp->st_size : 0);
	archive_entry_set_nlink(e, 1);	/* a hard link becomes a file */
	/* Whoever has unpacked the folder is its root. */
	if (geteuid() && f->fts_statp->st_uid == geteuid()) {
		archive_entry_set_uid(e, 0);
		archive_entry_set_gid(e, 0);
	}
	if (ret < ARCHIVE_WARN) {
		ret = complain(f->fts_path, disk);
	} else if (S_ISSOCK(f->fts_statp->st_mode)) {
		ret = 0;
	} else if (archive_write_header(out, e) < ARCHIVE_WARN) {
		ret = complain(f->fts_path, out);
	} else {
		ret = S_ISREG(f->fts_statp->st_mode) && f->fts_statp->st_size ? add_contents(out, f->fts_accpath) : 0;
	}
	archive_entry_free(e);
	return ret;
}

static int add_tree(struct archive *out, const char *dir)
{
	char *const roots[] = { (char *)dir, NULL };
	struct archive *disk = archive_read_disk_new();
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *f;
	int ret = fts ? 0 : -1;

	archive_read_disk_set_symlink_physical(disk);
	while (!ret && (f = fts_read(fts))) {
		if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS) {
			cli_error("run: --root: %s: %s", f->fts_path, strerror(f->fts_errno));
			ret = -1;
		} else if (f->fts_info != FTS_DP) {
			ret = add_file(out, disk, f, strlen(dir));
		}
	}
	if (fts)
		fts_close(fts);
	archive_read_free(disk);
	return ret;
}

/* Folder, number of variables, variables, command: cli/init/hvx_init.c reads it. */
static int add_command(struct archive *out, const struct kernel_guest *k, const char *init)
{
	char *buf = malloc(COMMAND_MAX);
	size_t len = 0, nr = 0;
	struct stat st;
	int ret = -1;

	while (k->env && k->env[nr])
		nr++;
	if (buf && !stat(init, &st)) {
		len = (size_t)snprintf(buf, COMMAND_MAX, "%s%c%zu", k->dir ? k->dir : "", 0, nr) + 1;
		for (char *const *list = k->env; list && *list && len < COMMAND_MAX; list++)
			len += (size_t)snprintf(buf + len, COMMAND_MAX - len, "%s", *list) + 1;
		for (char *const *list = k->argv; *list && len < COMMAND_MAX; list++)
			len += (size_t)snprintf(buf + len, COMMAND_MAX - len, "%s", *list) + 1;
		if (len >= COMMAND_MAX)
			cli_error("run: the command line is longer than %u KiB", COMMAND_MAX >> 10);
		else
			ret = add_bytes(out, ".hvx", S_IFDIR | 0755, NULL, 0) ?:
			      add_bytes(out, COMMAND_PATH, S_IFREG | 0600, buf, len);
	} else {
		cli_error("run: %s: %s", init, strerror(errno));
	}
	if (!ret) {
		struct archive_entry *e = archive_entry_new();

		archive_entry_set_pathname(e, KERNEL_INIT);
		archive_entry_set_mode(e, S_IFREG | 0755);
		archive_entry_set_size(e, st.st_size);
		ret = archive_write_header(out, e) < ARCHIVE_WARN ? complain(init, out) : add_contents(out, init);
		archive_entry_free(e);
	}
	free(buf);
	return ret;
}

int initramfs_write(int fd, const struct kernel_guest *k, const char *init)
{
	static const char *const dirs[] = { "dev", "proc", "sys", "tmp", "run" };
	struct archive *out = archive_write_new();
	int ret = 0;

	archive_write_set_format_cpio_newc(out);
	archive_write_add_filter_none(out);
	if (archive_write_open_fd(out, fd) != ARCHIVE_OK)
		ret = complain("initramfs", out);
	if (!ret && k->root)
		ret = add_tree(out, k->root);
	for (size_t i = 0; !ret && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", k->root ? k->root : "", dirs[i]);
		if (!k->root || access(path, F_OK))
			ret = add_bytes(out, dirs[i], S_IFDIR | 0755, NULL, 0);
	}
	if (!ret)
		ret = add_bytes(out, "dev/console", S_IFCHR | 0600, NULL, 0);
	if (!ret && k->argv)
		ret = add_command(out, k, init);
	if (!ret && archive_write_close(out) != ARCHIVE_OK)
		ret = complain("initramfs", out);
	archive_write_free(out);
	return ret;
}
