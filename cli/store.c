// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "rundir.h"
#include "store.h"
#include "vmm/domxml_int.h"
#include "vmm/fileio.h"
#include "xmledit.h"

static char *wanted_dir(void)
{
	const char *own = getenv("HVX_CONFIG_DIR"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n;

	if (own && *own == '/')
		n = asprintf(&path, "%s", own);
	else if (!geteuid())
		n = asprintf(&path, "/etc/hvx");
	else if (xdg && *xdg == '/')
		n = asprintf(&path, "%s/hvx", xdg);
	else if (home && *home == '/')
		n = asprintf(&path, "%s/.config/hvx", home);
	else
		return errno = ENOENT, NULL;
	return n < 0 ? NULL : path;
}

/* With the folders above it. */
static int make_dirs(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

const char *store_dir(void)
{
	static char *dir;

	if (dir)
		return dir;
	dir = wanted_dir();
	if (!dir) {
		cli_error("no folder for definitions; set HVX_CONFIG_DIR or HOME");
		return NULL;
	}
	if (make_dirs(dir)) {
		int err = errno;

		cli_error("%s: %s", dir, strerror(err));
		free(dir);
		dir = NULL;
		errno = err;
	}
	return dir;
}

char *store_path(const char *name)
{
	const char *dir = guest_name_ok(name) ? store_dir() : NULL;
	char *path = NULL;

	if (!dir || asprintf(&path, "%s/%s.xml", dir, name) < 0)
		return NULL;
	return path;
}

bool store_has(const char *name)
{
	char *path = store_path(name);
	bool has = path && !access(path, F_OK);

	free(path);
	return has;
}

void store_each(bool (*fn)(void *opaque, const char *name, const char *path), void *opaque)
{
	char *dir = wanted_dir();	/* looking makes no folder */
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;
	bool more = true;

	while (d && more && (e = readdir(d))) {
		size_t len = strlen(e->d_name);
		char *name, *path = NULL;

		if (len <= 4 || e->d_name[0] == '.' || strcmp(e->d_name + len - 4, ".xml"))
			continue;
		name = strndup(e->d_name, len - 4);
		if (name && guest_name_ok(name) && asprintf(&path, "%s/%s", dir, e->d_name) > 0)
			more = fn(opaque, name, path);
		free(path);
		free(name);
	}
	if (d)
		closedir(d);
	free(dir);
}

char *store_read(const char *name, size_t *len)
{
	char *path = store_path(name), *text, *why = NULL;

	if (!path)
		return errno = ENOENT, NULL;
	if (access(path, R_OK)) {
		free(path);
		return NULL;
	}
	text = doc_read(path, -1, DOMXML_MAX_FILE, len, &why);
	if (!text) {
		cli_error("%s: %s", path, why ? why : "out of memory");
		errno = EIO;
	}
	free(why);
	free(path);
	return text;
}

int store_lock(void)
{
	const char *dir = store_dir();
	char *path = NULL;
	int fd = -1;

	if (!dir)
		return -1;
	if (asprintf(&path, "%s/.lock", dir) > 0)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	while (fd >= 0 && flock(fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		cli_error("%s: %s", path ? path : dir, strerror(errno));
	free(path);
	return fd;
}

int store_id(char id[STORE_ID])
{
	const char *dir = store_dir();
	char boot[40] = "";
	struct stat st;
	int fd;

	if (!dir || stat(dir, &st))
		return -1;
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (read(fd, boot, sizeof(boot) - 1) < 0)
		boot[0] = '\0';
	close(fd);
	snprintf(id, STORE_ID, "%.36s:%llx:%llx", boot, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return 0;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = fsync(fd);
	close(fd);
	return ret;
}

/* Beside it, to stable storage, then over it: a crash leaves the old one or the new one. */
int store_write(const char *name, const char *text, size_t len)
{
	const char *dir = store_dir();
	char *path = store_path(name), *temp = NULL;
	int fd = -1, ret = -1, err;

	if (dir && path && asprintf(&temp, "%s/.%s.XXXXXX", dir, name) > 0)
		fd = mkostemp(temp, O_CLOEXEC);
	if (fd >= 0) {
		ret = write_full(fd, text, len) || fsync(fd) || rename(temp, path) ? -1 : 0;
		err = errno;
		if (ret)
			unlink(temp);
		close(fd);
		errno = err;
		ret = ret ? ret : sync_dir(dir);
	}
	err = errno;
	free(temp);
	free(path);
	errno = err;
	return ret;
}

int store_remove(const char *name)
{
	char *path = store_path(name);
	int ret = path ? unlink(path) : -1;

	free(path);
	return ret ? ret : sync_dir(store_dir());
}

int text_fd(const char *text, size_t len)
{
	int fd = memfd_create("domain.xml", MFD_CLOEXEC);

	if (fd >= 0 && write_full(fd, text, len)) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

struct domain *store_parse(const char *file, const char *text, size_t len, bool warn)
{
	int fd = text_fd(text, len);
	struct domain *dom;

	if (fd < 0) {
		cli_error("%s: %s", file, strerror(errno));
		return NULL;
	}
	dom = domxml_parse(file, fd, stderr, warn, "", NULL);
	close(fd);
	return dom;
}

/* Kept definitions carry a UUID, so that what derives from it stays, and whole paths. */
static char *complete_text(const struct domain *dom, const char *file, const char *text, size_t len,
			   size_t *new_len)
{
	xmlDoc *doc = xmledit_open(text, len);
	char *done = NULL;

	if (!doc)
		return NULL;
	if (!dom->uuid_given)
		xmledit_set_uuid(doc, dom->uuid);
	if (!xmledit_absolute(doc, file))
		done = xmledit_text(doc, new_len);
	xmlFreeDoc(doc);
	return done;
}

int store_define(const char *file, const char *text, size_t len, bool replace, char **name)
{
	struct domain *dom = store_parse(file, text, len, true);
	size_t new_len = 0;
	char *done = NULL;
	int lock = -1, ret = -1;

	*name = NULL;
	if (!dom)
		return -1;
	if (!guest_name_ok(dom->name)) {
		cli_error("%s: <name>%s</name>: a name has 1 to 64 characters, no '/', and no dot in front", file, dom->name);
		goto out;
	}
	done = complete_text(dom, file, text, len, &new_len);
	lock = done ? store_lock() : -1;
	if (lock < 0)
		goto out;
	if (!replace && store_has(dom->name)) {
		cli_error("%s: a guest called %s is defined already", file, dom->name);
	} else if (store_write(dom->name, done, new_len)) {
		cli_error("%s/%s.xml: %s", store_dir(), dom->name, strerror(errno));
	} else {
		*name = strdup(dom->name);
		ret = 0;
	}
	close(lock);
out:
	free(done);
	domain_free(dom);
	return ret;
}

/* ------------------------------------------------------------- autostart */

static char *autostart_path(const char *name)
{
	char *path = NULL;

	if (!store_dir() || !guest_name_ok(name) ||
	    asprintf(&path, "%s/autostart/%s.xml", store_dir(), name) < 0)
		return NULL;
	return path;
}

bool store_autostart(const char *name)
{
	char *path = autostart_path(name);
	struct stat st;
	bool on = path && !lstat(path, &st);

	free(path);
	return on;
}

int store_set_autostart(const char *name, bool on)
{
	char *path = autostart_path(name), *target = NULL, *slash;
	int ret = -1;

	if (!path || asprintf(&target, "../%s.xml", name) < 0)
		goto out;
	slash = strrchr(path, '/');
	*slash = '\0';
	if (on && mkdir(path, 0700) && errno != EEXIST)
		goto out;
	*slash = '/';
	ret = on ? symlink(target, path) : unlink(path);
	if (ret && errno == (on ? EEXIST : ENOENT))
		ret = 0;
	*slash = '\0';
	if (!ret)
		sync_dir(path);
out:
	free(target);
	free(path);
	return ret;
}
