// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logfile.h"

#define BLOCK		4096U
#define COPY_BLOCK	16384U
#define PIECE		(16 * COPY_BLOCK)	/* of what moves, for each BLOCK that comes */
#define WAITING		(2 * BLOCK * LOGFILE_BACKUPS * (LOGFILE_MAX / PIECE))	/* more than comes meanwhile */
#define OPEN_FLAGS	(O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)

struct logfile {
	char *path;
	int fd, backup[LOGFILE_BACKUPS];
	bool limited;
	bool failed;			/* the caller knows */
	uint64_t lost;
	unsigned int moving;		/* backups that are to be filled yet, from the one before; 0: none moves */
	off_t at;			/* of what goes into the last of these; -1: it has not begun */
	size_t len;			/* in buf */
	char copy[COPY_BLOCK];
	char buf[WAITING];		/* of which the kernel gives what is used */
};

char *logfile_name(const char *path, unsigned int n)
{
	char *name = NULL;

	if (!n)
		return strdup(path);
	return asprintf(&name, "%s.%u", path, n - 1) < 0 ? NULL : name;
}

/* ---------------------------------------------------------- open and close */

/* Held for as long as the backup is open: who ends does not remove one that another guest has open. */
static bool lock(int fd, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET };

	return !fcntl(fd, F_OFD_SETLK, &l);
}

/* Not through links: whoever may write to the folder could lay them. */
static int open_backup(const char *path, unsigned int n, bool append)
{
	char *name = logfile_name(path, n + 1);
	int fd = name ? open(name, O_RDWR | OPEN_FLAGS | O_NOFOLLOW, 0600) : -1;
	struct stat st;

	free(name);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (!append && ftruncate(fd, 0)))) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		lock(fd, F_RDLCK);
	return fd;
}

static int open_file(struct logfile *f, bool append)
{
	struct stat st;
	bool regular = stat(f->path, &st) < 0 || S_ISREG(st.st_mode);

	f->fd = open(f->path, (regular ? O_RDWR : O_WRONLY) | O_APPEND | OPEN_FLAGS | (append ? 0 : O_TRUNC), 0600);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return -errno;
	f->limited = regular && S_ISREG(st.st_mode) && strncmp(f->path, "/proc/", 6) != 0;
	return 0;
}

struct logfile *logfile_open(const char *path, bool append)
{
	struct logfile *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return NULL;
	f->fd = -1;
	for (unsigned int i = 0; i < LOGFILE_BACKUPS; i++)
		f->backup[i] = -1;
	f->path = strdup(path);
	ret = f->path ? open_file(f, append) : -ENOMEM;
	if (ret) {
		logfile_close(f);
		errno = -ret;
		return NULL;
	}
	for (unsigned int i = 0; f->limited && i < LOGFILE_BACKUPS; i++)
		f->backup[i] = open_backup(path, i, append);
	return f;
}

unsigned int logfile_backups(const struct logfile *f)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < LOGFILE_BACKUPS; i++)
		n += !f->limited || f->backup[i] >= 0;
	return n;
}

static void close_backup(struct logfile *f, unsigned int i)
{
	char *name = logfile_name(f->path, i + 1);
	struct stat st;

	if (name && !fstat(f->backup[i], &st) && !st.st_size && lock(f->backup[i], F_WRLCK))
		unlink(name);
	free(name);
	close(f->backup[i]);
}

void logfile_close(struct logfile *f)
{
	if (!f)
		return;
	logfile_flush(f);
	for (unsigned int i = 0; i < LOGFILE_BACKUPS; i++)
		if (f->backup[i] >= 0)
			close_backup(f, i);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f);
}

/* ------------------------------------------------------------------- write */

/* All of it; else -errno, *left what was not written. */
static int write_all(int fd, const char *p, size_t len, uint64_t *left)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*left += len;
			return n < 0 ? -errno : -EIO;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* What `from` has, or the last of it, goes into `to`, which has nothing else then. */
static int begin_move(struct logfile *f, int from, int to)
{
	struct stat st;

	if (fstat(from, &st) < 0 || ftruncate(to, 0) < 0 || lseek(to, 0, SEEK_SET) < 0)
		return -errno;
	f->at = st.st_size > (off_t)LOGFILE_MAX ? st.st_size - (off_t)LOGFILE_MAX : 0;
	return 0;
}

/* A block of it, to the backup that is to be filled. True: there is more. */
static bool move_block(struct logfile *f, int *err)
{
	unsigned int i = f->moving - 1;
	int from = i ? f->backup[i - 1] : f->fd, to = f->backup[i], ret = 0;
	ssize_t n = 0;

	if (to < 0 || from < 0)
		return false;
	if (f->at < 0)
		ret = begin_move(f, from, to);
	if (!ret)
		n = pread(from, f->copy, sizeof(f->copy), f->at);
	if (n > 0) {
		ret = write_all(to, f->copy, (size_t)n, &f->lost);
		f->at += n;
	}
	*err = *err ? *err : ret;
	return n > 0;
}

/* At most so many bytes of all that moves. 0; *err: what became of backups. -errno: the file is as long as it was. */
static int rotate(struct logfile *f, size_t most, int *err)
{
	for (size_t done = 0; f->moving && done < most;) {
		if (move_block(f, err)) {
			done += COPY_BLOCK;
		} else {
			f->moving--;
			f->at = -1;
		}
	}
	return !f->moving && ftruncate(f->fd, 0) < 0 ? -errno : 0;
}

/* How much of it the file has room for: whole lines, unless all of it. */
static size_t fits(const struct logfile *f, const char *p, size_t len)
{
	const char *end;
	struct stat st;
	size_t room;

	if (!f->limited || fstat(f->fd, &st) < 0)
		return len;
	room = st.st_size < (off_t)LOGFILE_MAX ? LOGFILE_MAX - (size_t)st.st_size : 0;
	if (len <= room)
		return len;
	end = memrchr(p, '\n', room);
	return end ? (size_t)(end - p) + 1 : 0;
}

/* The caller hears of an error once. */
static int tell(struct logfile *f, int err)
{
	if (!err || f->failed)
		return 0;
	f->failed = true;
	return err;
}

/* Of what moves at most so many bytes: then the rest waits. */
static int write_out(struct logfile *f, size_t most)
{
	char *p = f->buf;
	int err = 0, ret = 0;

	while (f->len && !ret) {
		size_t n = f->moving ? 0 : fits(f, p, f->len);

		if (n) {
			ret = write_all(f->fd, p, n, &f->lost);
			p += n;
			f->len -= n;
			continue;
		}
		if (!f->moving) {
			f->moving = LOGFILE_BACKUPS;
			f->at = -1;
		}
		ret = rotate(f, most, &err);
		if (f->moving)
			break;
	}
	if (ret) {
		f->lost += f->len;
		f->len = 0;
	}
	memmove(f->buf, p, f->len);
	return tell(f, ret ?: err);
}

int logfile_flush(struct logfile *f)
{
	return write_out(f, SIZE_MAX);
}

int logfile_some(struct logfile *f)
{
	return write_out(f, PIECE);
}

int logfile_put(struct logfile *f, const void *data, size_t len)
{
	const char *p = data;
	int err = 0;

	while (len) {
		size_t room = BLOCK - f->len % BLOCK, n = len < room ? len : room;

		memcpy(f->buf + f->len, p, n);
		f->len += n;
		p += n;
		len -= n;
		if (f->len == WAITING)
			err = logfile_flush(f) ?: err;
		else if (f->len % BLOCK == 0)
			err = logfile_some(f) ?: err;
	}
	return err;
}

bool logfile_pending(const struct logfile *f)
{
	return f->len;
}

uint64_t logfile_lost(const struct logfile *f)
{
	return f->lost;
}
