// SPDX-License-Identifier: GPL-2.0-only
/* Archives between this host and a guest: part of hvx-archive.so. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "archive.h"
#include "cli.h"

#define BLOCK	(64U << 10)

static int complain(const char *dir, struct archive *a)
{
	const char *text = archive_error_string(a);

	cli_error("cp: %s: %s", dir, text ? text : "out of memory");
	return -1;
}

/* --- writing --- */

static int add_data(struct archive *out, const char *path)
{
	char buf[BLOCK];
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -1;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (archive_write_data(out, buf, (size_t)n) < 0) {
			n = -1;
			break;
		}
	close(fd);
	return n < 0 ? -1 : 0;
}

static int add(struct archive *out, struct archive *disk, struct archive_entry_linkresolver *links, FTSENT *f,
	       size_t prefix)
{
	struct archive_entry *e = archive_entry_new(), *spare = NULL;
	char name[8192];
	int ret;

	snprintf(name, sizeof(name), ".%s", f->fts_path + prefix);
	archive_entry_copy_sourcepath(e, f->fts_accpath);
	archive_entry_set_pathname(e, name);
	ret = archive_read_disk_entry_from_file(disk, e, -1, f->fts_statp);
	if (ret == ARCHIVE_OK && archive_entry_filetype(e) != AE_IFSOCK) {
		archive_entry_linkify(links, &e, &spare);
		if (e)
			ret = archive_write_header(out, e);
		if (e && ret >= ARCHIVE_WARN && archive_entry_filetype(e) == AE_IFREG && archive_entry_size(e) > 0)
			ret = add_data(out, f->fts_accpath);
	}
	archive_entry_free(e);
	archive_entry_free(spare);
	return ret < ARCHIVE_WARN ? -1 : 0;
}

int tar_write(int fd, const char *dir)
{
	char *const roots[] = { (char *)dir, NULL };
	struct archive *out = archive_write_new(), *disk = archive_read_disk_new();
	struct archive_entry_linkresolver *links = archive_entry_linkresolver_new();
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *f;
	int ret = 0;

	archive_read_disk_set_symlink_physical(disk);
	archive_write_set_format_gnutar(out);
	archive_write_set_bytes_per_block(out, (int)BLOCK);
	archive_entry_linkresolver_set_strategy(links, archive_format(out));
	if (!fts || archive_write_open_fd(out, fd) != ARCHIVE_OK)
		ret = complain(dir, out);
	while (!ret && (f = fts_read(fts))) {
		if (f->fts_info == FTS_DP)
			continue;
		if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS) {
			cli_error("cp: %s: %s", f->fts_path, strerror(f->fts_errno));
			ret = -1;
		} else if (add(out, disk, links, f, strlen(dir))) {
			cli_error("cp: %s: %s", f->fts_path, archive_error_string(out) ? archive_error_string(out) : strerror(errno));
			ret = -1;
		}
	}
	if (!ret && archive_write_close(out) != ARCHIVE_OK)
		ret = complain(dir, out);
	if (fts)
		fts_close(fts);
	archive_entry_linkresolver_free(links);
	archive_read_free(disk);
	archive_write_free(out);
	return ret;
}

uint64_t tree_size(const char *dir)
{
	char *const roots[] = { (char *)dir, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	uint64_t sum = 0;
	FTSENT *f;

	while (fts && (f = fts_read(fts)))
		if (f->fts_info == FTS_F)
			sum += (uint64_t)f->fts_statp->st_size;
	if (fts)
		fts_close(fts);
	return sum;
}

/* --- reading --- */

/* Only what can do no harm below dir. */
static bool acceptable(struct archive_entry *e)
{
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
	case AE_IFDIR:
	case AE_IFLNK:
		break;
	default:	/* a hard link has no type of its own */
		if (!archive_entry_hardlink(e))
			return false;
	}
	archive_entry_set_perm(e, archive_entry_perm(e) & 0777);
	return archive_entry_pathname(e);
}

static int copy_data(struct archive *in, struct archive *out)
{
	const void *buf;
	la_int64_t offset;
	size_t len;
	int r;

	while ((r = archive_read_data_block(in, &buf, &len, &offset)) == ARCHIVE_OK)
		if (archive_write_data_block(out, buf, len, offset) < ARCHIVE_WARN)
			return -1;
	return r == ARCHIVE_EOF ? 0 : -1;
}

int tar_read(int fd, const char *dir)
{
	struct archive *in = archive_read_new(), *out = archive_write_disk_new();
	unsigned int skipped = 0;
	struct archive_entry *e;
	int r = ARCHIVE_OK, ret = 0;

	archive_read_support_format_tar(in);
	archive_write_disk_set_options(out, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
				       ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS |
				       ARCHIVE_EXTRACT_UNLINK);
	if (chdir(dir)) {
		cli_error("cp: %s: %s", dir, strerror(errno));
		ret = -1;
	} else if (archive_read_open_fd(in, fd, BLOCK) != ARCHIVE_OK) {
		ret = complain(dir, in);
	}
	while (!ret && (r = archive_read_next_header(in, &e)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
		if (!acceptable(e)) {
			skipped++;
			continue;
		}
		if (archive_write_header(out, e) < ARCHIVE_WARN || (archive_entry_size(e) > 0 && copy_data(in, out)) ||
		    archive_write_finish_entry(out) < ARCHIVE_WARN)
			ret = complain(dir, archive_error_string(out) ? out : in);
	}
	if (!ret && r != ARCHIVE_EOF)
		ret = complain(dir, in);
	if (!ret && archive_write_close(out) < ARCHIVE_WARN)
		ret = complain(dir, out);
	if (skipped)
		cli_error("cp: %s: %u devices, sockets or pipes were left out", dir, skipped);
	archive_write_free(out);
	archive_read_free(in);
	return ret;
}

const struct archive_ops hvx_archive = {
	.tar_write = tar_write,
	.tar_read = tar_read,
	.tree_size = tree_size,
	.initramfs = initramfs_write,
};
