// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rundir.h"
#include "vmm/cgroup.h"

static bool is_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static char *base_dir(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	char *path = NULL;

	if (xdg && *xdg == '/' && is_dir(xdg))
		return strdup(xdg);
	if (!geteuid())
		return strdup("/run");
	if (asprintf(&path, "/run/user/%u", (unsigned int)geteuid()) < 0)
		return NULL;
	if (is_dir(path))
		return path;
	free(path);
	errno = ENXIO;
	return NULL;
}

/* Ours alone, whoever made it: sockets in it are the guest's console. */
static int make_dir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return -1;
	if (lstat(path, &st))
		return -1;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022)) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/* Everything in it but the lock; it holds no folders. */
static void empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "lock"))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* The lock file at path, locked; -1. It may be removed between open and lock: then again. */
static int take_lock(const char *dir)
{
	struct stat at_path, locked;
	char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/lock", dir) < 0)
		return -1;
	for (int tries = 0; tries < 100; tries++) {
		if (make_dir(dir))
			break;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			break;
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			int err = errno;

			close(fd);
			errno = err;
			break;
		}
		if (!fstat(fd, &locked) && !stat(path, &at_path) && locked.st_ino == at_path.st_ino &&
		    locked.st_dev == at_path.st_dev) {
			free(path);
			return fd;
		}
		close(fd);
		errno = EAGAIN;
	}
	free(path);
	return -1;
}

/* Another hvx may hold the lock for a moment, to see whether somebody else does. */
static int lock_soon(const char *dir)
{
	int fd = take_lock(dir);

	for (int tries = 0; fd < 0 && errno == EWOULDBLOCK && tries < 10; tries++) {
		poll(NULL, 0, 20);
		fd = take_lock(dir);
		if (fd < 0 && errno != EWOULDBLOCK)
			break;
	}
	return fd;
}

int rundir_open(struct rundir *r, const char *name)
{
	char *base = base_dir(), *all = NULL;
	int err;

	r->path = NULL;
	r->lock = -1;
	if (!base)
		return -1;
	if (asprintf(&all, "%s/hvx", base) < 0 || asprintf(&r->path, "%s/hvx/%s", base, name) < 0)
		errno = ENOMEM;
	else if (!make_dir(all))
		r->lock = lock_soon(r->path);
	err = errno;
	free(all);
	free(base);
	if (r->lock >= 0) {
		empty(r->path);
		return 0;
	}
	free(r->path);
	r->path = NULL;
	errno = err;
	return -1;
}

void rundir_close(struct rundir *r)
{
	if (r->lock >= 0)
		close(r->lock);
	free(r->path);
	r->path = NULL;
	r->lock = -1;
}

void rundir_remove(struct rundir *r)
{
	char *lock = NULL;

	if (r->path) {
		empty(r->path);
		/* Still locked: whoever waits for it finds that the file is another. */
		if (asprintf(&lock, "%s/lock", r->path) > 0)
			unlink(lock);
		rmdir(r->path);
		free(lock);
	}
	rundir_close(r);
}

bool guest_name_ok(const char *s)
{
	if (!*s || *s == '.' || strlen(s) > 64)
		return false;
	for (; *s; s++)
		if (*s == '/' || (unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

/* False: nobody holds its lock, and what was in the folder is gone. */
static bool alive(const char *path)
{
	struct rundir r = { .path = strdup(path), .lock = -1 };
	struct stat st;

	if (!r.path || lstat(path, &st) || !S_ISDIR(st.st_mode)) {
		free(r.path);
		return false;
	}
	r.lock = take_lock(path);
	if (r.lock < 0) {
		bool held = errno == EWOULDBLOCK;

		free(r.path);
		return held;
	}
	rundir_remove(&r);
	cgroup_sweep();
	return false;
}

char *rundir_base(void)
{
	char *base = base_dir(), *path = NULL;

	if (!base || asprintf(&path, "%s/hvx", base) < 0)
		path = NULL;
	free(base);
	if (path && make_dir(path)) {
		free(path);
		path = NULL;
	}
	return path;
}

char *rundir_find(const char *name)
{
	char *base = base_dir(), *path = NULL;

	if (!base || !guest_name_ok(name) || asprintf(&path, "%s/hvx/%s", base, name) < 0)
		path = NULL;
	free(base);
	if (path && alive(path))
		return path;
	free(path);
	return NULL;
}

void rundir_each(bool (*fn)(void *opaque, const char *name, const char *path), void *opaque)
{
	char *base = base_dir(), *all = NULL;
	struct dirent *e;
	DIR *d = NULL;
	bool more = true;

	cgroup_sweep();
	if (base && asprintf(&all, "%s/hvx", base) > 0)
		d = opendir(all);
	while (d && more && (e = readdir(d))) {
		char *path = NULL;

		if (!guest_name_ok(e->d_name) || asprintf(&path, "%s/%s", all, e->d_name) < 0)
			continue;
		if (alive(path))
			more = fn(opaque, e->d_name, path);
		free(path);
	}
	if (d)
		closedir(d);
	free(all);
	free(base);
}

static bool go_on(void *opaque, const char *name, const char *path)
{
	(void)opaque;
	(void)name;
	(void)path;
	return true;
}

void rundir_sweep(void)
{
	rundir_each(go_on, NULL);
}
