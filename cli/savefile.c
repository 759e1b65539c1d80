// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "rundir.h"
#include "savefile.h"

/* ------------------------------------------------------------------- files */

static char *dir_of(const char *path)
{
	char *copy = strdup(path), *dir = copy ? strdup(dirname(copy)) : NULL;

	free(copy);
	return dir;
}

int savefile_begin(struct savefile *f, const char *path)
{
	*f = (struct savefile){ .fd = -1, .path = strdup(path), .dir = dir_of(path) };
	if (!f->path || !f->dir)
		goto fail;
	f->fd = open(f->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (f->fd >= 0)
		return 0;
	/* Not every file system can make one without a name. */
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		goto fail;
	if (asprintf(&f->temp, "%s.XXXXXX", path) < 0) {
		f->temp = NULL;
		errno = ENOMEM;
		goto fail;
	}
	f->fd = mkostemp(f->temp, O_CLOEXEC);
	if (f->fd >= 0)
		return 0;
	free(f->temp);
	f->temp = NULL;
fail:
	cli_error("%s: %s", path, strerror(errno));
	savefile_abort(f);
	return -1;
}

/* rename() replaces, linkat() does not: a name of its own first. */
static int give_name(struct savefile *f)
{
	char proc[32];
	int tries;

	if (f->temp)
		return 0;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", f->fd);
	for (tries = 0; tries < 100; tries++) {
		if (asprintf(&f->temp, "%s.%d.%d", f->path, (int)getpid(), tries) < 0) {
			f->temp = NULL;
			errno = ENOMEM;
			return -1;
		}
		if (!linkat(AT_FDCWD, proc, AT_FDCWD, f->temp, AT_SYMLINK_FOLLOW))
			return 0;
		free(f->temp);
		f->temp = NULL;
		if (errno != EEXIST)
			break;
	}
	return -1;
}

int savefile_commit(struct savefile *f)
{
	int dir;

	if (fsync(f->fd) || give_name(f) || rename(f->temp, f->path)) {
		cli_error("%s: %s", f->path, strerror(errno));
		return -1;
	}
	free(f->temp);
	f->temp = NULL;
	dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		fsync(dir);
		close(dir);
	}
	return 0;
}

void savefile_abort(struct savefile *f)
{
	if (f->temp)
		unlink(f->temp);
	if (f->fd >= 0)
		close(f->fd);
	free(f->temp);
	free(f->path);
	free(f->dir);
	*f = (struct savefile){ .fd = -1 };
}

/* ---------------------------------------------------------------- progress */

static int64_t number(struct json_object *o, const char *name)
{
	return json_object_get_int64(json_object_object_get(o, name));
}

static void show_progress(struct json_object *data)
{
	int64_t total = number(data, "total"), done = number(data, "done");
	int64_t ms = number(data, "elapsed-ms"), written = number(data, "written");
	double rate = ms > 0 ? (double)done / 1048.576 / (double)ms : 0;

	if (total <= 0)
		return;
	fprintf(stderr, "\r%3d %%  %lld of %lld MiB, %lld MiB written, %.0f MiB/s, %.0f s left \033[K",
		(int)(done * 100 / total), (long long)done >> 20, (long long)total >> 20,
		(long long)written >> 20, rate,
		rate > 0 ? (double)(total - done) / 1048576 / rate : 0);
}

static int number_of(struct json_object *data)
{
	return json_object_get_int(json_object_object_get(data, "save"));
}

/* 0: completed. Others may have it saved, too: number is ours. */
static int wait_completed(struct control *c, const char *guest, int number, bool show)
{
	struct json_object *o, *data;
	const char *name;
	int ret = 1;

	while (ret > 0 && (o = control_event(c, -1))) {
		name = json_object_get_string(json_object_object_get(o, "event"));
		data = json_object_object_get(o, "data");
		if (name && !strcmp(name, "X_HVX_SAVE_PROGRESS") && show)
			show_progress(data);
		if (name && !strcmp(name, "X_HVX_SAVE_COMPLETED") && number_of(data) == number) {
			const char *status = json_object_get_string(json_object_object_get(data, "status"));
			const char *why = json_object_get_string(json_object_object_get(data, "error-desc"));

			ret = status && !strcmp(status, "completed") ? 0 : -1;
			if (show)
				fputs("\r\033[K", stderr);
			if (ret)
				cli_error("%s: it was not saved and goes on: %s", guest, why ? why : "?");
		}
		json_object_put(o);
	}
	if (ret > 0)
		cli_error("%s: its VMM has hung up before its state was written", guest);
	return ret ? -1 : 0;
}

/* ----------------------------------------------------------------- savings */

int save_guest(struct control *c, const char *guest, const char *path, const struct save_request *r)
{
	struct json_object *args = json_object_new_object(), *begun = NULL;
	struct savefile f;
	int ret;

	if (savefile_begin(&f, path)) {
		json_object_put(args);
		return -1;
	}
	json_object_object_add(args, "fd", json_object_new_string("state"));
	if (r->form)
		json_object_object_add(args, "form", json_object_new_string(r->form));
	if (r->level)
		json_object_object_add(args, "level", json_object_new_int(r->level));
	json_object_object_add(args, "then", json_object_new_string(r->cont ? "cont" : "stop"));
	ret = control_send_fd(c, f.fd, "state");
	if (ret) {
		cli_error("%s: %s", guest, control_error(c));
		json_object_put(args);
	} else {
		ret = control_do(c, "x-hvx-save", args, &begun);
	}
	if (!ret)
		ret = wait_completed(c, guest, number_of(begun), !r->quiet && isatty(STDERR_FILENO));
	json_object_put(begun);
	if (!ret) {
		ret = savefile_commit(&f);
		if (ret && !r->cont)
			control_call(c, "cont", NULL, NULL);
	}
	savefile_abort(&f);
	return ret;
}

int save_quit(struct control *c, const char *guest)
{
	struct json_object *o;
	char *dir = NULL;
	int tries;

	if (control_do(c, "quit", NULL, NULL))
		return -1;
	while ((o = control_event(c, 60000)))
		json_object_put(o);
	for (tries = 0; tries < 3000 && (dir = rundir_find(guest)); tries++) {
		free(dir);
		poll(NULL, 0, 20);
	}
	return 0;
}

char *managedsave_path(const char *guest, bool make)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *base = NULL, *dir = NULL, *path = NULL, *p;
	int n;

	if (!geteuid())
		n = asprintf(&base, "/var/lib");
	else if (state && *state == '/')
		n = asprintf(&base, "%s", state);
	else if (home && *home == '/')
		n = asprintf(&base, "%s/.local/state", home);
	else
		n = -1;
	if (n < 0)
		return NULL;
	if (asprintf(&dir, "%s/hvx/save", base) < 0 ||
	    asprintf(&path, "%s/%s.hvxs", dir, guest) < 0)
		path = NULL;
	for (p = make && path ? dir + 1 : NULL; p; p = strchr(p + 1, '/')) {
		*p = *p == '/' ? '\0' : *p;
		mkdir(dir, 0700);
		if (!*p)
			*p = '/';
	}
	if (make && path)
		mkdir(dir, 0700);
	free(base);
	free(dir);
	return path;
}
