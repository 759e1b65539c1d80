// SPDX-License-Identifier: GPL-2.0-only
/* From a guest's name to its snapshots. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "devices/storage/image.h"
#include "rundir.h"
#include "savefile.h"
#include "snapguest.h"
#include "store.h"
#include "vmm/config.h"
#include "vmm/stream.h"

/* ---------------------------------------------------------------- begin, end */

static void unlock_images(struct snap_locks *l)
{
	while (l->n)
		close(l->fd[--l->n]);
}

/* A disk that is not there is nobody's. */
static int lock_image(struct snap_locks *l, const char *path, bool quiet)
{
	int fd = l->n < SNAP_LOCKS ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1, ret = 0;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		ret = -1;
		if (!quiet)
			cli_error("%s: %s", path, strerror(errno));
	} else if (image_lock(fd, true, false)) {
		ret = -1;
		if (!quiet)
			cli_error("%s: it is in use by another virtual machine; stop that one", path);
		close(fd);
	} else {
		l->fd[l->n++] = fd;
	}
	return ret;
}

/* What the guest would write to. */
static int lock_images(struct snap_tree *t, struct snap_locks *l, bool quiet)
{
	int ret = 0;

	for (size_t i = 0; i < t->nr_disks && !ret; i++) {
		struct snap_disk *d = &t->disk[i];
		char *path = layer_path(d, snap_layer(d, d->active));

		ret = path ? lock_image(l, path, quiet) : -1;
		free(path);
	}
	if (ret)
		unlock_images(l);
	return ret;
}

/* The guest is off as far as we know; one without a runtime folder shows by its disks. */
static int recover_off(struct snap_tree *t, bool quiet)
{
	struct snap_locks l = { .n = 0 };
	int ret;

	if (!t->exists)
		return 0;
	if (lock_images(t, &l, quiet))
		return quiet ? 0 : -1;
	ret = snap_recover(t, false);
	unlock_images(&l);
	return ret;
}

int snap_begin(struct snap_guest *s, const char *what, bool change)
{
	int ret;

	memset(s, 0, sizeof(*s));
	if (guest_find(what, &s->g))
		return -1;
	if (!s->g.defined) {
		cli_error("%s: the guest is not defined, and snapshots go with a definition; see: hvx help define", s->g.name);
		snap_end(s);
		return -1;
	}
	s->t = snap_open(s->g.name, change);
	if (!s->t) {
		snap_end(s);
		return -1;
	}
	/* It may have started or ended while we waited. */
	guest_free(&s->g);
	ret = guest_find(what, &s->g);
	if (!ret)
		ret = s->g.dir ? snap_recover_live(s) : recover_off(s->t, !change);
	if (!ret && change && !s->g.dir)
		ret = lock_images(s->t, &s->locks, false);
	if (ret)
		snap_end(s);
	return ret;
}

void snap_end(struct snap_guest *s)
{
	unlock_images(&s->locks);
	snap_close(s->t);
	s->t = NULL;
	guest_free(&s->g);
}

/* ---------------------------------------------------------------------- create */

static bool name_ok(const char *name)
{
	const char *p;

	for (p = name; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '/')
			return false;
	return *name && p - name <= 255;
}

static const char *pick_name(struct snap_guest *s, const char *name, char made[32])
{
	if (!name) {
		/* As virsh does: the time. */
		snprintf(made, 32, "%lld", (long long)time(NULL));
		for (int i = 2; snap_find(s->t, made) && i < 1000; i++)
			snprintf(made, 32, "%lld-%d", (long long)time(NULL), i);
		name = made;
	}
	if (!name_ok(name))
		cli_error("%s: a snapshot's name has 1 to 255 bytes, no '/', and nothing that cannot be printed", name);
	else if (snap_find(s->t, name))
		cli_error("%s: it has a snapshot called %s already", s->g.name, name);
	else
		return name;
	return NULL;
}

static bool has_saved_state(const struct guest *g)
{
	char *state = managedsave_path(g->name, false);
	bool has = state && !access(state, F_OK);

	if (has)
		cli_error("%s: it has a saved state, which goes with its disks as they are; start it, or drop that with `hvx managedsave-remove %s`",
			  g->name, g->name);
	free(state);
	return has;
}

static int take_off(struct snap_guest *s, const struct domain *dom, const char *xml, size_t len, const struct snap_request *r)
{
	struct snapshot *snap = NULL;

	if (has_saved_state(&s->g))
		return -1;
	/* Those that had no snapshot yet. */
	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];

		if (d->file && !d->readonly && !d->transient && !snap_disk(s->t, d->file) && lock_image(&s->locks, d->file, false))
			return -1;
	}
	snap = snap_prepare(s->t, dom, r->name, r->description, xml, len);
	if (snap && !snap_commit(s->t))
		return snap_recover(s->t, false);
	if (!snap_reload(s->t))
		snap_recover(s->t, false);
	return -1;
}

int snap_take(struct snap_guest *s, const struct snap_request *request)
{
	struct snap_request r = *request;
	struct domain *dom = NULL;
	char made[32], *xml = NULL;
	size_t len = 0;
	int ret = -1;

	r.name = pick_name(s, r.name, made);
	r.description = r.description ? r.description : "";
	if (strlen(r.description) >= SNAP_TEXT) {
		cli_error("--description: more than %u bytes", SNAP_TEXT - 1);
		return -1;
	}
	xml = r.name ? guest_xml(&s->g, true, &len) : NULL;
	dom = xml ? guest_domain(&s->g, true) : NULL;
	if (dom && !snap_disks_ok(s->g.name, dom))
		ret = s->g.dir ? snap_take_live(s, dom, xml, len, &r) : take_off(s, dom, xml, len, &r);
	if (!ret)
		printf("Domain snapshot %s created\n", r.name);
	domain_free(dom);
	free(xml);
	return ret;
}

/* ---------------------------------------------------------------------- revert */

/* Before anything is given up for it: all of the file is there, and its checksums are right. */
static int check_state(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct state_error err = { .text = "" };
	uint64_t plain, plain_len;
	struct sbuf b = { 0 };
	struct stream_in in;
	uint32_t type = 0;
	int ret = fd < 0 ? state_error(&err, "%s", strerror(errno)) : stream_open(&in, fd, &err);

	while (!ret && type != SEC_END)
		ret = stream_next(&in, &type, &b, &plain, &plain_len, &err);
	if (ret)
		cli_error("%s: %s", path, err.text[0] ? err.text : strerror(-ret));
	sbuf_free(&b);
	if (fd >= 0)
		close(fd);
	return ret ? -1 : 0;
}

static int end_guest(struct snap_guest *s)
{
	struct control *c = control_open(s->g.name);
	int ret = c ? control_call(c, "quit", NULL, NULL) : -1;

	control_close(c);
	if (ret || guest_wait_end(&s->g, 30000)) {
		cli_error("%s: its VMM does not end; see: hvx destroy", s->g.name);
		return -1;
	}
	guest_free(&s->g);
	return lock_images(s->t, &s->locks, false);
}

/* With what it is to be started from. */
static int start_again(struct snap_guest *s, const char *state, bool paused)
{
	char *xml, *path, name[65];
	int status = VMM_ERR_SETUP;
	size_t len = 0;

	snprintf(name, sizeof(name), "%s", s->g.name);
	xml = state ? NULL : guest_xml(&s->g, true, &len);
	snap_end(s);	/* it takes its disks */
	if (state)
		return run_reverted(state, paused);
	path = store_path(name);
	if (xml && path)
		status = run_detached(path, xml, len, paused);
	free(path);
	free(xml);
	return status;
}

int snap_go_back(struct snap_guest *s, struct snapshot *to, bool running, bool paused)
{
	bool memory = to->state == SNAP_RUNNING || to->state == SNAP_PAUSED;
	bool start = memory || running || paused;
	char *state = memory ? snap_path(s->t, to->id, "state") : NULL, id[SNAP_ID];
	int status = VMM_ERR_SETUP;

	memcpy(id, to->id, SNAP_ID);
	if (!running && to->state == SNAP_PAUSED)
		paused = true;
	if (memory && (!state || check_state(state))) {
		cli_error("%s: nothing was changed; its disks alone are in the snapshot, too: take --disk-only", s->g.name);
		goto out;
	}
	if (s->g.dir && end_guest(s))
		goto out;
	if (has_saved_state(&s->g))
		goto out;
	if (snap_revert(s->t, snap_by_id(s->t, id)))
		goto out;
	status = start ? start_again(s, state, paused) : VMM_OK;
out:
	free(state);
	return status;
}

/* ------------------------------------------------------------------------- run */

char *snap_for_run(const char *name, char *text, size_t *len, struct snap_tree **tree)
{
	struct snap_tree *t;
	char *dir;
	int ret = 0;

	*tree = NULL;
	if (!snap_exists(name))
		return text;
	t = snap_open(name, false);
	if (t) {
		dir = rundir_find(name);	/* that one has its layers open */
		if (!dir)
			ret = recover_off(t, true);
		free(dir);
	}
	if (!t || ret) {
		free(text);
		snap_close(t);
		return NULL;
	}
	text = snap_map_text(t, text, len);
	if (text)
		*tree = t;
	else
		snap_close(t);
	return text;
}
