// SPDX-License-Identifier: GPL-2.0-only
/* Control groups, version 2 (the kernel's Documentation/admin-guide/cgroup-v2.rst). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "cgroup.h"

#define MOUNT	"/sys/fs/cgroup"
#define PREFIX	"hvx-"

static int read_file(const char *dir, const char *file, char *buf, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n < 0 ? -EIO : 0;
}

int cgroup_write(const char *dir, const char *file, const char *text)
{
	char path[PATH_MAX];
	int fd, ret = 0;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Group of a process, without the mount point: "/user.slice/...". */
static int group_of(const char *proc, char *path, size_t size)
{
	char buf[PATH_MAX], *line, *end;
	int ret = read_file(proc, "cgroup", buf, sizeof(buf));

	if (ret)
		return ret;
	line = !strncmp(buf, "0::", 3) ? buf : strstr(buf, "\n0::");
	if (!line)
		return -ENOENT;
	line += line == buf ? 3 : 4;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	return snprintf(path, size, "%s%s", MOUNT, strcmp(line, "/") ? line : "") < (int)size ? 0 : -ENAMETOOLONG;
}

static bool is_v2(void)
{
	struct statfs fs;

	return !statfs(MOUNT, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static bool has_controller(const char *dir, const char *file, const char *name)
{
	char buf[512], *word, *save = NULL;

	if (read_file(dir, file, buf, sizeof(buf)))
		return false;
	for (word = strtok_r(buf, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (!strcmp(word, name))
			return true;
	return false;
}

/* systemd marks what it leaves to others. */
static bool delegated(const char *dir)
{
	char c = 0;

	return (getxattr(dir, "trusted.delegate", &c, 1) == 1 || getxattr(dir, "user.delegate", &c, 1) == 1) && c == '1';
}

/* Where groups of guests are made. root: in hvx.slice, where nothing was delegated. */
static int find_base(char *base, size_t size, bool make)
{
	char file[PATH_MAX + 32];
	int ret;

	if (!is_v2())
		return -ENOSYS;
	ret = group_of("/proc/self", base, size);
	if (ret)
		return ret;
	if (!geteuid() && !delegated(base)) {
		if (snprintf(base, size, "%s/hvx.slice", MOUNT) >= (int)size)
			return -ENAMETOOLONG;
		if (make && mkdir(base, 0755) && errno != EEXIST)
			return -errno;
		return 0;
	}
	snprintf(file, sizeof(file), "%s/cgroup.subtree_control", base);
	if (strcmp(base, MOUNT) && !access(base, W_OK) && !access(file, W_OK))
		return 0;
	return -EACCES;
}

/* No group has both processes and controllers for its children: ours go into a leaf. */
static int make_room(const char *base)
{
	char leaf[PATH_MAX], buf[4096], *pid, *save = NULL;

	if (snprintf(leaf, sizeof(leaf), "%s/hvx-self", base) >= (int)sizeof(leaf))
		return -ENAMETOOLONG;
	if (mkdir(leaf, 0755) && errno != EEXIST)
		return -errno;
	if (read_file(base, "cgroup.procs", buf, sizeof(buf)))
		return -EIO;
	for (pid = strtok_r(buf, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save))
		cgroup_write(leaf, "cgroup.procs", pid);
	return 0;
}

static int enable(const char *dir, const char *name)
{
	char text[32];
	int ret;

	if (has_controller(dir, "cgroup.subtree_control", name))
		return 0;
	if (!has_controller(dir, "cgroup.controllers", name))
		return -ENOENT;
	snprintf(text, sizeof(text), "+%.16s", name);
	ret = cgroup_write(dir, "cgroup.subtree_control", text);
	if (ret == -EBUSY)
		ret = make_room(dir) ?: cgroup_write(dir, "cgroup.subtree_control", text);
	return ret;
}

int cgroup_make(struct cgroup *cg, const char *name)
{
	char self[PATH_MAX], safe[65];
	unsigned int i;
	int ret;

	memset(cg, 0, sizeof(*cg));
	cg->back = -1;
	ret = find_base(cg->base, sizeof(cg->base), true);
	if (ret)
		return ret;
	snprintf(safe, sizeof(safe), "%s", name);
	for (i = 0; safe[i]; i++)
		if (safe[i] == '/' || (unsigned char)safe[i] <= ' ')
			safe[i] = '_';
	for (i = 0; i < CG_NR; i++) {
		static const char *const names[CG_NR] = { "cpu", "memory", "io" };

		if (!strcmp(cg->base, MOUNT "/hvx.slice"))
			enable(MOUNT, names[i]);
		cg->has[i] = !enable(cg->base, names[i]);
	}
	if (snprintf(cg->path, sizeof(cg->path), "%s/" PREFIX "%s-%d", cg->base, safe, (int)getpid()) >= (int)sizeof(cg->path))
		return -ENAMETOOLONG;
	if (mkdir(cg->path, 0755))
		return -errno;
	/* Where we go back to at the end: opened now, while it can be. */
	ret = group_of("/proc/self", self, sizeof(self));
	if (!ret && strlen(self) < sizeof(self) - 16) {
		strcat(self, "/cgroup.procs");
		cg->back = open(self, O_WRONLY | O_CLOEXEC);
	}
	ret = cgroup_write(cg->path, "cgroup.procs", "0");
	if (ret)
		cgroup_leave(cg);
	return ret;
}

int cgroup_thread_group(struct cgroup *cg, const char *name)
{
	char path[PATH_MAX];
	int ret;

	if (snprintf(path, sizeof(path), "%s/%s", cg->path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	ret = cgroup_write(path, "cgroup.type", "threaded");
	return ret ?: cgroup_write(cg->path, "cgroup.subtree_control", "+cpu");
}

/* A group without processes, with those below it. False: it stays. */
static bool remove_group(const char *path)
{
	char sub[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(path);

	while (d && (e = readdir(d))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.' ||
		    snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) >= (int)sizeof(sub))
			continue;
		rmdir(sub);
	}
	if (d)
		closedir(d);
	return !rmdir(path);
}

void cgroup_leave(struct cgroup *cg)
{
	char sub[PATH_MAX + 16];
	int i;

	if (!cg->path[0])
		return;
	if (cg->back >= 0) {
		/* Where that fails, the group stays until the next command finds it empty. */
		i = write(cg->back, "0", 1) == 1;
		close(cg->back);
		cg->back = -1;
	}
	/* In the sandbox no directory is read: those that can be there are known. */
	for (i = 0; i < 64 && cg->threads; i++) {
		snprintf(sub, sizeof(sub), "%s/vcpu%d", cg->path, i);
		rmdir(sub);
	}
	if (cg->threads) {
		snprintf(sub, sizeof(sub), "%s/emulator", cg->path);
		rmdir(sub);
	}
	rmdir(cg->path);
	if (!strcmp(cg->base, MOUNT "/hvx.slice"))
		rmdir(cg->base);
	cg->path[0] = '\0';
}

/* The VMM whose group it is may not have moved in yet. */
static bool owner_lives(const char *name)
{
	const char *last = strrchr(name, '-');
	int pid = last ? atoi(last + 1) : 0;

	return pid > 0 && (!kill(pid, 0) || errno == EPERM);
}

void cgroup_sweep(void)
{
	char base[PATH_MAX], path[PATH_MAX], events[256];
	struct dirent *e;
	DIR *d;

	if (find_base(base, sizeof(base), false))
		return;
	d = opendir(base);
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) || owner_lives(e->d_name) ||
		    snprintf(path, sizeof(path), "%s/%s", base, e->d_name) >= (int)sizeof(path))
			continue;
		if (!read_file(path, "cgroup.events", events, sizeof(events)) && strstr(events, "populated 0"))
			remove_group(path);
	}
	if (d)
		closedir(d);
	if (!strcmp(base, MOUNT "/hvx.slice"))
		rmdir(base);
}

char *cgroup_of(int pid)
{
	char proc[32], path[PATH_MAX], *last;

	snprintf(proc, sizeof(proc), "/proc/%d", pid);
	if (!is_v2() || group_of(proc, path, sizeof(path)))
		return NULL;
	/* Its main thread can be in the emulator's part. */
	last = strrchr(path, '/');
	if (last && !strcmp(last, "/emulator")) {
		*last = '\0';
		last = strrchr(path, '/');
	}
	return last && !strncmp(last + 1, PREFIX, strlen(PREFIX)) && strcmp(last + 1, "hvx-self") ? strdup(path) : NULL;
}

int cgroup_read(const char *dir, const char *file, char *buf, size_t size)
{
	int ret = read_file(dir, file, buf, size);

	if (!ret)
		buf[strcspn(buf, "\n")] = '\0';
	return ret;
}
