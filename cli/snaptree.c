// SPDX-License-Identifier: GPL-2.0-only
/* tree.json: read with suspicion, written in one step. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "devices/storage/foreign.h"
#include "devices/storage/overlay.h"
#include "rundir.h"
#include "savefile.h"
#include "snaptree.h"
#include "vmm/domxml_int.h"

#define VERSION	1
#define DEPTH	8

static const char *const state_names[SNAP_STATES] = {
	[SNAP_SHUTOFF] = "shutoff", [SNAP_RUNNING] = "running", [SNAP_PAUSED] = "paused", [SNAP_DISKS] = "disk-snapshot",
};

const char *snap_state_name(enum snap_state s)
{
	return state_names[s];
}

int snap_step(const char *name)
{
	static unsigned long n;
	const char *die = getenv("HVX_TEST_KILL_AT"), *full = getenv("HVX_TEST_FULL_AT"), *stop = getenv("HVX_TEST_STOP_AT");

	if (!die && !full && !stop)
		return 0;
	n++;
	if (stop && !strcmp(stop, name))
		kill(getpid(), SIGSTOP);
	if (die && (!strcmp(die, name) || strtoul(die, NULL, 10) == n))
		kill(getpid(), SIGKILL);
	if (full && (!strcmp(full, name) || strtoul(full, NULL, 10) == n))
		return errno = ENOSPC, -1;
	return 0;
}

/* ------------------------------------------------------------------ the parts */

void snap_new_id(char id[SNAP_ID])
{
	uint64_t r = 0;

	while (getrandom(&r, sizeof(r), 0) != sizeof(r))
		;
	snprintf(id, SNAP_ID, "%016llx", (unsigned long long)r);
}

struct snapshot *snap_by_id(struct snap_tree *t, const char *id)
{
	for (size_t i = 0; *id && i < t->nr_snaps; i++)
		if (!strcmp(t->snap[i].id, id))
			return &t->snap[i];
	return NULL;
}

struct snapshot *snap_find(struct snap_tree *t, const char *name)
{
	for (size_t i = 0; i < t->nr_snaps; i++)
		if (!strcmp(t->snap[i].name, name))
			return &t->snap[i];
	return NULL;
}

struct snap_disk *snap_disk(struct snap_tree *t, const char *file)
{
	for (size_t i = 0; i < t->nr_disks; i++)
		if (!strcmp(t->disk[i].file, file))
			return &t->disk[i];
	return NULL;
}

struct snap_layer *snap_layer(struct snap_disk *d, const char *id)
{
	for (size_t i = 0; *id && i < d->nr_layers; i++)
		if (!strcmp(d->layer[i].id, id))
			return &d->layer[i];
	return NULL;
}

/* One more, zeroed, in an array of n. */
static void *grow(void *array, size_t *n, size_t size)
{
	char *p = realloc(*(void **)array, (*n + 1) * size);

	if (!p)
		return NULL;
	*(void **)array = p;
	memset(p + *n * size, 0, size);
	return p + (*n)++ * size;
}

struct snapshot *snap_add(struct snap_tree *t)
{
	return grow(&t->snap, &t->nr_snaps, sizeof(*t->snap));
}

struct snap_disk *snap_add_disk(struct snap_tree *t, const char *file)
{
	struct snap_disk *d = grow(&t->disk, &t->nr_disks, sizeof(*t->disk));

	if (d && !(d->file = strdup(file)))
		t->nr_disks--, d = NULL;
	return d;
}

struct snap_layer *snap_add_layer(struct snap_disk *d)
{
	return grow(&d->layer, &d->nr_layers, sizeof(*d->layer));
}

int snap_add_chain(struct snap_disk *d, enum disk_format format, const char *file)
{
	size_t n = d->nr_chain;
	struct dom_backing *b = grow(&d->chain, &n, sizeof(*d->chain));

	if (!b)
		return -1;
	b->format = format;
	b->file = strdup(file);
	if (b->file)
		d->nr_chain++;
	return b->file ? 0 : -1;
}

struct snap_layer *snap_home(struct snap_disk *d)
{
	for (size_t i = 0; i < d->nr_layers; i++)
		if (d->layer[i].home)
			return &d->layer[i];
	return NULL;
}

int snap_add_ref(struct snapshot *s, const char *target, const char *file, const char *layer)
{
	struct snap_ref *r = grow(&s->ref, &s->nr_refs, sizeof(*s->ref));

	if (!r)
		return -1;
	r->target = strdup(target);
	r->file = strdup(file);
	snprintf(r->layer, sizeof(r->layer), "%s", layer);
	return r->target && r->file ? 0 : -1;
}

static void snapshot_free(struct snapshot *s)
{
	for (size_t i = 0; i < s->nr_refs; i++) {
		free(s->ref[i].target);
		free(s->ref[i].file);
	}
	free(s->ref);
	free(s->name);
	free(s->description);
}

void snap_remove(struct snap_tree *t, struct snapshot *s)
{
	size_t at = (size_t)(s - t->snap);

	for (size_t i = 0; i < t->nr_snaps; i++)
		if (!strcmp(t->snap[i].parent, s->id))
			memcpy(t->snap[i].parent, s->parent, SNAP_ID);
	if (!strcmp(t->current, s->id))
		memcpy(t->current, s->parent, SNAP_ID);
	if (!strcmp(t->define, s->id))
		t->define[0] = '\0';
	snapshot_free(s);
	memmove(s, s + 1, (t->nr_snaps - at - 1) * sizeof(*s));
	t->nr_snaps--;
}

void snap_remove_layer(struct snap_disk *d, struct snap_layer *l)
{
	memmove(l, l + 1, (d->nr_layers - (size_t)(l - d->layer) - 1) * sizeof(*l));
	d->nr_layers--;
}

void snap_remove_disk(struct snap_tree *t, struct snap_disk *d)
{
	for (unsigned int i = 0; i < d->nr_chain; i++)
		free(d->chain[i].file);
	free(d->chain);
	free(d->file);
	free(d->layer);
	memmove(d, d + 1, (t->nr_disks - (size_t)(d - t->disk) - 1) * sizeof(*d));
	t->nr_disks--;
}

static void clear(struct snap_tree *t)
{
	while (t->nr_snaps)
		snapshot_free(&t->snap[--t->nr_snaps]);
	while (t->nr_disks)
		snap_remove_disk(t, &t->disk[t->nr_disks - 1]);
	free(t->snap);
	free(t->disk);
	t->snap = NULL;
	t->disk = NULL;
	t->current[0] = t->define[0] = '\0';
}

char *snap_path(const struct snap_tree *t, const char *id, const char *suffix)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s.%s", t->dir, id, suffix) < 0 ? NULL : path;
}

char *layer_path(const struct snap_disk *d, const struct snap_layer *l)
{
	char *path = NULL;
	int n = l->home ? asprintf(&path, "%s", d->file) : asprintf(&path, "%s.hvx-%s", d->file, l->id);

	return n < 0 ? NULL : path;
}

/* ------------------------------------------------------------------- reading */

static bool id_ok(const char *s)
{
	return strlen(s) == SNAP_ID - 1 && !s[strspn(s, "0123456789abcdef")];
}

static struct json_object *member(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *m = NULL;

	return json_object_object_get_ex(o, key, &m) && json_object_is_type(m, type) ? m : NULL;
}

static bool get_id(struct json_object *o, const char *key, char id[SNAP_ID], bool optional)
{
	struct json_object *m = member(o, key, json_type_string);
	const char *s = m ? json_object_get_string(m) : "";

	id[0] = '\0';
	if (!m)
		return optional && !json_object_object_get_ex(o, key, NULL);
	if (!id_ok(s))
		return false;
	memcpy(id, s, SNAP_ID);
	return true;
}

static bool get_flag(struct json_object *o, const char *key)
{
	return json_object_get_boolean(member(o, key, json_type_boolean));
}

static const char *get_text(struct json_object *o, const char *key, size_t max)
{
	struct json_object *m = member(o, key, json_type_string);
	const char *s = m ? json_object_get_string(m) : NULL;

	return s && (size_t)json_object_get_string_len(m) == strlen(s) && strlen(s) < max ? s : NULL;
}

static bool get_list(struct json_object *o, const char *key, size_t max, struct json_object **list, size_t *n)
{
	*list = member(o, key, json_type_array);
	*n = *list ? json_object_array_length(*list) : 0;
	return *list && *n <= max;
}

static bool read_layer(struct snap_disk *d, struct json_object *o)
{
	const char *format = get_text(o, "format", 8);
	struct snap_layer *l = snap_add_layer(d);
	char id[SNAP_ID];

	if (!l || !format || !get_id(o, "id", id, false) || !get_id(o, "below", l->below, true) || snap_layer(d, id))
		return false;
	memcpy(l->id, id, SNAP_ID);
	l->layer = !strcmp(format, "layer");
	l->home = get_flag(o, "home");
	l->moving = get_flag(o, "moving");
	if (!l->home && l->moving)
		return false;
	if (l->layer)
		return l->below[0] && !l->home;
	return foreign_format(format, &l->format) && !l->below[0] && (l->format == DISK_RAW || l->home);
}

/* Only qcow2 images lie on others, and hvx opens no more of them than a guest may have. */
static bool read_chain(struct snap_disk *d, struct json_object *o)
{
	struct snap_layer *home = snap_home(d);
	enum disk_format above = home ? home->format : DISK_RAW, format;
	struct json_object *list;
	size_t n;

	if (!json_object_object_get_ex(o, "chain", NULL))
		return true;
	if (!get_list(o, "chain", OVERLAY_DEPTH - 1, &list, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *b = json_object_array_get_idx(list, i);
		const char *file = get_text(b, "file", 4096), *name = get_text(b, "format", 8);

		if (above != DISK_QCOW2 || !file || *file != '/' || !name || !foreign_format(name, &format) ||
		    snap_add_chain(d, format, file))
			return false;
		above = format;
	}
	return true;
}

/* What is below a layer stands before it: so there is no ring. */
static bool layers_ok(struct snap_disk *d)
{
	unsigned int homes = 0;

	for (size_t i = 0; i < d->nr_layers; i++) {
		struct snap_layer *l = &d->layer[i], *below = snap_layer(d, l->below);

		homes += l->home;
		if ((l->below[0] && (!below || below >= l)) || !strcmp(l->below, d->active))
			return false;
	}
	return homes <= 1 && snap_layer(d, d->active);
}

static const char *read_disk(struct snap_tree *t, struct json_object *o)
{
	const char *file = get_text(o, "file", 4096);
	struct json_object *list;
	struct snap_disk *d;
	size_t n;

	if (!file || *file != '/' || snap_disk(t, file))
		return "a disk without a path of its own";
	d = snap_add_disk(t, file);
	if (!d || !get_id(o, "active", d->active, false) || !get_list(o, "layers", 2 * SNAP_MAX, &list, &n))
		return "a disk without layers";
	for (size_t i = 0; i < n; i++)
		if (!read_layer(d, json_object_array_get_idx(list, i)))
			return "a layer that cannot be";
	if (!read_chain(d, o))
		return "a chain that cannot be";
	return layers_ok(d) ? NULL : "layers that do not lie on each other";
}

static bool read_ref(struct snap_tree *t, struct snapshot *s, struct json_object *o)
{
	const char *file = get_text(o, "file", 4096), *target = get_text(o, "target", 16);
	struct snap_disk *d = file ? snap_disk(t, file) : NULL;
	char id[SNAP_ID];

	return d && target && get_id(o, "layer", id, false) && snap_layer(d, id) && strcmp(id, d->active) &&
	       !snap_add_ref(s, target, file, id);
}

static const char *read_snapshot(struct snap_tree *t, struct json_object *o)
{
	const char *name = get_text(o, "name", SNAP_TEXT), *description = get_text(o, "description", SNAP_TEXT);
	const char *state = get_text(o, "state", 16);
	char id[SNAP_ID], parent[SNAP_ID];
	struct json_object *list;
	struct snapshot *s;
	size_t n;

	if (!name || !*name || snap_find(t, name))
		return "a snapshot without a name of its own";
	if (!get_id(o, "id", id, false) || snap_by_id(t, id) || !get_id(o, "parent", parent, true) ||
	    (parent[0] && !snap_by_id(t, parent)))
		return "a snapshot whose parent does not stand before it";
	s = snap_add(t);
	if (!s || !(s->name = strdup(name)) || !(s->description = strdup(description ? description : "")))
		return "out of memory";
	memcpy(s->id, id, SNAP_ID);
	memcpy(s->parent, parent, SNAP_ID);
	s->created = json_object_get_int64(member(o, "created", json_type_int));
	s->pending = get_flag(o, "pending");
	s->resume = get_flag(o, "resume");
	for (s->state = 0; s->state < SNAP_STATES && (!state || strcmp(state, state_names[s->state])); s->state++)
		;
	if (s->state == SNAP_STATES)
		return "a snapshot without a state";
	if (!get_list(o, "disks", DOM_MAX_DISKS, &list, &n))
		return "a snapshot without disks";
	for (size_t i = 0; i < n; i++)
		if (!read_ref(t, s, json_object_array_get_idx(list, i)))
			return "a snapshot of a disk that there is not";
	return NULL;
}

static const char *read_tree(struct snap_tree *t, struct json_object *o)
{
	struct json_object *disks, *snaps;
	const char *why = NULL;
	size_t nr_disks, nr_snaps, i;

	if (!o || !json_object_is_type(o, json_type_object))
		return "not JSON";
	if (json_object_get_int64(member(o, "version", json_type_int)) != VERSION)
		return "not of version 1: a newer hvx made it";
	if (!get_list(o, "disks", DOM_MAX_DISKS * 16, &disks, &nr_disks) || !get_list(o, "snapshots", SNAP_MAX, &snaps, &nr_snaps))
		return "no list of disks and snapshots, or too many";
	for (i = 0; i < nr_disks && !why; i++)
		why = read_disk(t, json_object_array_get_idx(disks, i));
	for (i = 0; i < nr_snaps && !why; i++)
		why = read_snapshot(t, json_object_array_get_idx(snaps, i));
	if (why)
		return why;
	if (!get_id(o, "current", t->current, true) || (t->current[0] && !snap_by_id(t, t->current)) ||
	    !get_id(o, "define", t->define, true) || (t->define[0] && !snap_by_id(t, t->define)))
		return "a current snapshot that there is not";
	return NULL;
}

int snap_parse(struct snap_tree *t, const char *text, size_t len, const char **why)
{
	struct json_tokener *tok = json_tokener_new_ex(DEPTH);
	struct json_object *o = NULL;

	if (tok && len < SNAP_TREE_MAX) {
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		o = json_tokener_parse_ex(tok, text, (int)len);
		/* The brace that ends it must have been there. */
		if (json_tokener_get_error(tok) != json_tokener_success) {
			json_object_put(o);
			o = NULL;
		}
	}
	json_tokener_free(tok);
	*why = read_tree(t, o);
	json_object_put(o);
	if (*why)
		clear(t);
	return *why ? -1 : 0;
}

/* ------------------------------------------------------------------- writing */

static void put_text(struct json_object *o, const char *key, const char *s)
{
	if (*s)
		json_object_object_add(o, key, json_object_new_string(s));
}

static void put_flag(struct json_object *o, const char *key, bool set)
{
	if (set)
		json_object_object_add(o, key, json_object_new_boolean(true));
}

static struct json_object *print_disk(const struct snap_disk *d)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	put_text(o, "file", d->file);
	put_text(o, "active", d->active);
	for (size_t i = 0; i < d->nr_layers; i++) {
		const struct snap_layer *l = &d->layer[i];
		struct json_object *p = json_object_new_object();

		put_text(p, "id", l->id);
		put_text(p, "format", l->layer ? "layer" : foreign_name(l->format));
		put_text(p, "below", l->below);
		put_flag(p, "home", l->home);
		put_flag(p, "moving", l->moving);
		json_object_array_add(list, p);
	}
	json_object_object_add(o, "layers", list);
	if (!d->nr_chain)
		return o;
	list = json_object_new_array();
	for (unsigned int i = 0; i < d->nr_chain; i++) {
		struct json_object *b = json_object_new_object();

		put_text(b, "format", foreign_name(d->chain[i].format));
		put_text(b, "file", d->chain[i].file);
		json_object_array_add(list, b);
	}
	json_object_object_add(o, "chain", list);
	return o;
}

static struct json_object *print_snapshot(const struct snapshot *s)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	put_text(o, "id", s->id);
	put_text(o, "parent", s->parent);
	put_text(o, "name", s->name);
	put_text(o, "description", s->description);
	put_text(o, "state", state_names[s->state]);
	json_object_object_add(o, "created", json_object_new_int64(s->created));
	put_flag(o, "pending", s->pending);
	put_flag(o, "resume", s->resume);
	for (size_t i = 0; i < s->nr_refs; i++) {
		struct json_object *p = json_object_new_object();

		put_text(p, "target", s->ref[i].target);
		put_text(p, "file", s->ref[i].file);
		put_text(p, "layer", s->ref[i].layer);
		json_object_array_add(list, p);
	}
	json_object_object_add(o, "disks", list);
	return o;
}

char *snap_print(const struct snap_tree *t)
{
	struct json_object *o = json_object_new_object(), *disks = json_object_new_array(), *snaps = json_object_new_array();
	const char *s;
	char *text;

	json_object_object_add(o, "version", json_object_new_int(VERSION));
	put_text(o, "current", t->current);
	put_text(o, "define", t->define);
	for (size_t i = 0; i < t->nr_disks; i++)
		json_object_array_add(disks, print_disk(&t->disk[i]));
	for (size_t i = 0; i < t->nr_snaps; i++)
		json_object_array_add(snaps, print_snapshot(&t->snap[i]));
	json_object_object_add(o, "disks", disks);
	json_object_object_add(o, "snapshots", snaps);
	s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	text = s ? strdup(s) : NULL;
	json_object_put(o);
	return text;
}

int snap_commit(struct snap_tree *t)
{
	char *path = NULL, *text = snap_print(t);
	size_t len = text ? strlen(text) : 0;
	struct savefile f;
	int ret = -1;

	if (text && asprintf(&path, "%s/tree.json", t->dir) > 0 && !savefile_begin(&f, path)) {
		if (snap_step("tree-begun") || write(f.fd, text, len) != (ssize_t)len || snap_step("tree-written"))
			cli_error("%s: %s", path, strerror(errno));
		else
			ret = savefile_commit(&f);
		savefile_abort(&f);
	}
	if (!ret) {
		t->exists = true;
		snap_step("tree-committed");
	}
	free(path);
	free(text);
	return ret;
}

int snap_drop(struct snap_tree *t)
{
	char *path = NULL;
	int ret = asprintf(&path, "%s/tree.json", t->dir) < 0 ? -1 : unlink(path);

	if (ret && errno != ENOENT)
		cli_error("%s: %s", path, strerror(errno));
	else
		ret = 0;
	free(path);
	if (!ret) {
		clear(t);
		t->exists = false;
	}
	return ret;
}

/* -------------------------------------------------------------------- opening */

char *state_dir(void)
{
	const char *own = getenv("HVX_STATE_DIR"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n = -1;

	if (own && *own == '/')
		n = asprintf(&path, "%s", own);
	else if (!geteuid())
		n = asprintf(&path, "/var/lib/hvx");
	else if (xdg && *xdg == '/')
		n = asprintf(&path, "%s/hvx", xdg);
	else if (home && *home == '/')
		n = asprintf(&path, "%s/.local/state/hvx", home);
	return n < 0 ? NULL : path;
}

static char *tree_dir(const char *guest)
{
	char *base = guest_name_ok(guest) ? state_dir() : NULL, *dir = NULL;

	if (!base || asprintf(&dir, "%s/snapshots/%s", base, guest) < 0)
		dir = NULL;
	free(base);
	return dir;
}

bool snap_exists(const char *guest)
{
	char *dir = tree_dir(guest), *path = NULL;
	bool is = dir && asprintf(&path, "%s/tree.json", dir) > 0 && !access(path, F_OK);

	free(path);
	free(dir);
	return is;
}

static void make_dirs(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	mkdir(path, 0700);
}

static int take_lock(const struct snap_tree *t)
{
	char *path = NULL;
	int fd = -1;

	if (asprintf(&path, "%s/.lock", t->dir) > 0)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	while (fd >= 0 && flock(fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		cli_error("%s: %s", path ? path : t->dir, strerror(errno));
	free(path);
	return fd;
}

static int load(struct snap_tree *t)
{
	char *path = NULL, *text = NULL;
	const char *why = NULL;
	struct stat st;
	int fd = -1, ret = -1;

	if (asprintf(&path, "%s/tree.json", t->dir) > 0)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		ret = 0;
	} else if (fd < 0 || fstat(fd, &st)) {
		cli_error("%s: %s", path ? path : t->dir, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SNAP_TREE_MAX || !(text = calloc(1, (size_t)st.st_size + 1)) ||
		   read(fd, text, (size_t)st.st_size) != st.st_size) {
		why = "it cannot be read";
	} else {
		ret = snap_parse(t, text, (size_t)st.st_size, &why);
		t->exists = !ret;
	}
	if (why)
		cli_error("%s: the snapshots of %s are not known: %s; put back a copy of this file, or see docs/snapshots.md for which files hold its disks",
			  path, t->guest, why);
	if (fd >= 0)
		close(fd);
	free(text);
	free(path);
	return ret;
}

int snap_reload(struct snap_tree *t)
{
	clear(t);
	return load(t);
}

struct snap_tree *snap_open(const char *guest, bool make)
{
	struct snap_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->lock = -1;
	snprintf(t->guest, sizeof(t->guest), "%s", guest);
	t->dir = tree_dir(guest);
	if (!t->dir) {
		cli_error("%s: no folder for snapshots; set HVX_STATE_DIR or HOME", guest);
		goto fail;
	}
	if (!make && access(t->dir, F_OK))
		return t;
	make_dirs(t->dir);
	t->lock = take_lock(t);
	if (t->lock >= 0 && !load(t))
		return t;
fail:
	snap_close(t);
	return NULL;
}

void snap_close(struct snap_tree *t)
{
	if (!t)
		return;
	clear(t);
	if (t->lock >= 0)
		close(t->lock);
	free(t->dir);
	free(t);
}
