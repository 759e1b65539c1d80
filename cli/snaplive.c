// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots of a guest that runs. The tree says first that one is pending, then the
 * guest stands still while its state is written and its VMM takes the new layers.
 * Whoever finds it pending asks the VMM whether it has them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "exec.h"
#include "quiesce.h"
#include "savefile.h"
#include "snapguest.h"
#include "store.h"
#include "vmm/config.h"
#include "vmm/fdpass.h"
#include "xmledit.h"

/* ---------------------------------------------------------------- the VMM's view */

/* The layer that the VMM writes to, of the disk with this target; "" raw. False: no such disk. */
static bool vmm_layer(struct json_object *disks, const char *target, char id[SNAP_ID])
{
	for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
		struct json_object *o = json_object_array_get_idx(disks, i);
		struct json_object *in = json_object_object_get(o, "inserted");
		const char *name = json_object_get_string(json_object_object_get(o, "device"));
		const char *layer = json_object_get_string(json_object_object_get(in, "x-hvx-layer"));

		if (!name || strcmp(name, target))
			continue;
		snprintf(id, SNAP_ID, "%.16s", layer ? layer : "");
		return true;
	}
	return false;
}

static int vmm_has(struct snap_guest *s, struct control *c, const struct snapshot *snap, bool *has)
{
	struct json_object *disks = NULL;
	char id[SNAP_ID];

	*has = false;
	if (control_do(c, "query-block", NULL, &disks))
		return -1;
	for (size_t i = 0; i < snap->nr_refs; i++) {
		struct snap_disk *d = snap_disk(s->t, snap->ref[i].file);

		if (vmm_layer(disks, snap->ref[i].target, id) && *id && !strcmp(id, d->active))
			*has = true;
	}
	json_object_put(disks);
	return 0;
}

/* By what the snapshot left the guest in. */
static void go_on(struct control *c, const char *guest)
{
	struct json_object *ret = NULL;
	const char *status;

	if (!control_call(c, "query-status", NULL, &ret)) {
		status = json_object_get_string(json_object_object_get(ret, "status"));
		if (status && !strcmp(status, "paused") && !control_call(c, "cont", NULL, NULL))
			cli_error("%s: it stood still for a snapshot whose command was killed, and goes on", guest);
	}
	json_object_put(ret);
}

static int settle(struct snap_guest *s, struct control *c, struct snapshot *snap)
{
	bool has, resume = snap->resume;

	if (!strcmp(s->g.status, "save-vm")) {
		cli_error("%s: its state is being written; try again later", s->g.name);
		return -1;
	}
	if (vmm_has(s, c, snap, &has))
		return -1;
	if (!has)
		cli_error("%s: snapshot %s was not finished when hvx was killed; it is dropped, and nothing else is lost", s->g.name, snap->name);
	if (snap_finish(s->t, snap, has))
		return -1;
	if (resume)
		go_on(c, s->g.name);
	return 0;
}

int snap_recover_live(struct snap_guest *s)
{
	struct control *c;
	int ret = 0;

	for (size_t i = s->t->nr_snaps; i-- && !ret;) {
		if (!s->t->snap[i].pending)
			continue;
		c = control_open_or_say(s->g.name);
		ret = c ? settle(s, c, &s->t->snap[i]) : -1;
		control_close(c);
	}
	return ret ?: snap_recover(s->t, true);
}

/* ------------------------------------------------------------------- new layers */

/* The XML of the running guest, with its disks as the tree has them now. */
static char *live_xml(struct snap_guest *s, size_t *len)
{
	char *text = guest_xml(&s->g, false, len);

	return text ? snap_map_text(s->t, text, len) : NULL;
}

static int send_layer(struct control *c, struct snap_disk *d, const char *target, struct json_object *list)
{
	struct json_object *o = json_object_new_object();
	char *path = layer_path(d, snap_layer(d, d->active)), name[32];
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1, ret;

	snprintf(name, sizeof(name), "layer-%s", target);
	json_object_object_add(o, "device", json_object_new_string(target));
	json_object_object_add(o, "fd", json_object_new_string(name));
	json_object_object_add(o, "file", json_object_new_string(path ? path : ""));
	json_object_array_add(list, o);
	/* The lock goes with the descriptor. */
	ret = fd < 0 || image_lock(fd, true, false) ? -1 : control_send_fd(c, fd, name);
	if (ret)
		cli_error("%s: it cannot be given to the VMM: %s", path ? path : d->file, fd < 0 ? strerror(errno) : control_error(c));
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

static int send_xml(struct control *c, const char *xml, size_t len)
{
	int fd = text_fd(xml, len), ret = fd < 0 ? -1 : control_send_fd(c, fd, "xml");

	if (fd >= 0)
		close(fd);
	return ret;
}

/* All at once, or none. */
static int switch_layers(struct snap_guest *s, struct control *c, const struct snapshot *snap, bool live)
{
	struct json_object *args = json_object_new_object(), *list = json_object_new_array();
	char *xml = NULL;
	size_t len = 0;
	int ret = 0;

	for (size_t i = 0; i < snap->nr_refs && !ret; i++) {
		struct snap_disk *d = snap_disk(s->t, snap->ref[i].file);

		if (snap_layer(d, d->active)->layer)
			ret = send_layer(c, d, snap->ref[i].target, list);
	}
	json_object_object_add(args, "disks", list);
	if (live)
		json_object_object_add(args, "live", json_object_new_boolean(true));
	json_object_object_add(args, "xml", json_object_new_string("xml"));
	if (ret || !json_object_array_length(list)) {
		json_object_put(args);
		return ret;
	}
	xml = live_xml(s, &len);
	ret = !xml || send_xml(c, xml, len) ? -1 : 0;
	if (ret)
		json_object_put(args);
	else
		ret = snap_step("switch") ? -1 : control_do(c, "x-hvx-snapshot-disks", args, NULL);
	free(xml);
	return ret;
}

/* For the verbs that look at the running guest. */
static void keep_live_xml(struct snap_guest *s)
{
	char *path = NULL, *xml;
	struct savefile f;
	size_t len = 0;

	xml = live_xml(s, &len);
	if (xml && asprintf(&path, "%s/domain.xml", s->g.dir) > 0 && !savefile_begin(&f, path)) {
		if (write(f.fd, xml, len) == (ssize_t)len)
			savefile_commit(&f);
		savefile_abort(&f);
	}
	free(path);
	free(xml);
}

/* -------------------------------------------------------------- merging under it */

struct live_disk {
	struct snap_disk *d;
	char target[16];
};

/* The VMM has not got the layer that a command made, which was killed then: it goes. */
static bool undo_top(struct snap_disk *d, const char *file)
{
	struct snap_layer *active = snap_layer(d, d->active), *below = snap_layer(d, active->below);
	char *path = below ? layer_path(d, below) : NULL;
	bool is = path && !strcmp(path, file);

	if (is) {
		memcpy(d->active, below->id, SNAP_ID);
		snap_remove_layer(d, active);
	}
	free(path);
	return is;
}

/* Disks of the tree that the VMM has, each with the file that the tree says it writes to. -1: it does not agree. */
static int live_disks(struct snap_guest *s, struct control *c, struct live_disk list[DOM_MAX_DISKS], unsigned int *n)
{
	struct json_object *disks = NULL;
	int ret = control_do(c, "query-block", NULL, &disks);
	bool undone = false;

	*n = 0;
	for (size_t i = 0; !ret && i < json_object_array_length(disks) && *n < DOM_MAX_DISKS; i++) {
		struct json_object *o = json_object_array_get_idx(disks, i), *in = json_object_object_get(o, "inserted");
		const char *file = json_object_get_string(json_object_object_get(in, "file"));
		const char *name = json_object_get_string(json_object_object_get(o, "device"));
		struct snap_disk *d = file ? snap_whose(s->t, file) : NULL;
		char *path = d ? layer_path(d, snap_layer(d, d->active)) : NULL;

		if (path && name) {
			list[*n].d = d;
			snprintf(list[(*n)++].target, sizeof(list->target), "%s", name);
		}
		if (path && strcmp(path, file)) {
			ret = undo_top(d, file) ? 0 : -1;
			undone |= !ret;
		}
		if (ret)
			cli_error("%s: disk %s: it writes to %s, and its snapshots say %s; its files are merged when it is off",
				  s->g.name, name, file, path);
		free(path);
	}
	json_object_put(disks);
	return ret ?: undone ? snap_commit(s->t) : 0;
}

/* What the guest writes to becomes what nobody writes to any more. */
static int new_tops(struct snap_guest *s, struct control *c, const struct live_disk *list, unsigned int n, const char *target)
{
	struct snapshot all = { .nr_refs = 0 };
	int ret = 0;

	for (unsigned int i = 0; i < n && !ret; i++) {
		if ((target && strcmp(target, list[i].target)) || !snap_wants_top(s->t, list[i].d))
			continue;
		ret = !snap_add_top(list[i].d) || snap_add_ref(&all, list[i].target, list[i].d->file, "") ? -1 : 0;
	}
	if (!ret && all.nr_refs)
		ret = snap_commit(s->t) || snap_step("top-committed") || switch_layers(s, c, &all, true) || snap_step("top-switched") ? -1 : 0;
	for (size_t i = 0; i < all.nr_refs; i++) {
		free(all.ref[i].target);
		free(all.ref[i].file);
	}
	free(all.ref);
	return ret;
}

/* The VMM's chain becomes the tree's. Without that it is right, too, and keeps files open that have no names. */
static int relink(struct snap_guest *s, struct control *c, const struct live_disk *of)
{
	struct json_object *args = json_object_new_object(), *keep = json_object_new_array();
	struct snap_layer *l = snap_layer(of->d, of->d->active);
	size_t len = 0;
	char *xml = live_xml(s, &len);
	int ret = !xml || send_xml(c, xml, len) ? -1 : 0;

	for (; l && l->layer; l = snap_layer(of->d, l->below))
		json_object_array_add(keep, json_object_new_string(l->id));
	json_object_object_add(args, "device", json_object_new_string(of->target));
	json_object_object_add(args, "keep", keep);
	json_object_object_add(args, "xml", json_object_new_string("xml"));
	if (ret)
		json_object_put(args);
	else
		ret = control_do(c, "x-hvx-snapshot-relink", args, NULL);
	free(xml);
	return ret;
}

/* ------------------------------------------------- into an image that is not raw */

struct served {
	struct snap_guest *s;
	struct control *c;
	const struct live_disk *list;
	unsigned int n;
	bool asked;		/* the VMM is to be told when it is over */
};

static const char *target_of(const struct served *v, const struct snap_disk *d)
{
	for (unsigned int i = 0; i < v->n; i++)
		if (v->list[i].d == d)
			return v->list[i].target;
	return NULL;
}

/* Our right to write to it goes along: the VMM's is to read it, as it lies under layers. */
static int ask_for(struct served *v, const char *target, int image, int to)
{
	struct json_object *args;

	if (control_send_fd(v->c, image, "image") || control_send_fd(v->c, to, "socket")) {
		cli_error("%s: %s", v->s->g.name, control_error(v->c));
		return -1;
	}
	v->asked = true;
	args = json_object_new_object();
	json_object_object_add(args, "device", json_object_new_string(target));
	json_object_object_add(args, "image", json_object_new_string("image"));
	json_object_object_add(args, "socket", json_object_new_string("socket"));
	return control_do(v->c, "x-hvx-snapshot-serve", args, NULL);
}

static struct nbd_disk *serve(const struct snap_disk *d, void *opaque)
{
	struct served *v = opaque;
	const char *target = target_of(v, d);
	int pair[2] = { -1, -1 }, image, sock = -1;
	char byte;

	if (!target) {
		cli_error("%s: %s: the guest that runs has no such disk; it is merged when the guest is off", v->s->g.name, d->file);
		return NULL;
	}
	image = open(d->file, O_RDWR | O_CLOEXEC);
	if (image < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		cli_error("%s: %s", d->file, strerror(errno));
	else if (!ask_for(v, target, image, pair[1]) && (fd_recv(pair[0], &byte, 1, &sock, MSG_DONTWAIT) != 1 || sock < 0))
		cli_error("%s: %s: its VMM sent no connection", v->s->g.name, d->file);
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
	if (image >= 0)
		close(image);
	return sock < 0 ? NULL : nbd_disk_on(sock, d->file);
}

static size_t count_layers(const struct snap_tree *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->nr_disks; i++)
		n += t->disk[i].nr_layers;
	return n;
}

int snap_merge_live(struct snap_guest *s, const char *target, bool top)
{
	size_t before = count_layers(s->t);
	struct control *c = control_open_or_say(s->g.name);
	struct live_disk list[DOM_MAX_DISKS];
	struct served v = { .s = s, .c = c, .list = list };
	unsigned int n = 0, of = 0;
	int ret = c ? live_disks(s, c, list, &n) : -1;

	s->t->serve = serve;
	s->t->serve_opaque = &v;

	for (unsigned int i = 0; i < n; i++)
		of += !target || !strcmp(target, list[i].target);
	if (!ret && target && !of) {
		cli_error("%s: no disk %s that has snapshots, or had some", s->g.name, target);
		ret = -1;
	}
	if (!ret && top)
		ret = new_tops(s, c, list, n, target);
	/* What was not committed is undone; so is what the VMM did not take. */
	if (ret && c && !snap_reload(s->t) && !live_disks(s, c, list, &n))
		snap_recover(s->t, true);
	s->t->live = !ret;
	v.n = n;
	if (!ret)
		ret = snap_recover(s->t, true);
	s->t->live = false;
	s->t->serve = NULL;
	if (!ret)
		snap_step("merged");
	/* blockcommit also tells it what a command that was killed did not. */
	if (!ret && (top || v.asked || count_layers(s->t) != before) && !live_disks(s, c, list, &n))
		for (unsigned int i = 0; i < n && !ret; i++)
			if (snap_layer(list[i].d, list[i].d->active)->layer)
				ret = relink(s, c, &list[i]);
	if (!ret)
		keep_live_xml(s);
	control_close(c);
	return ret;
}

/* --------------------------------------------------------------------- the whole */

static int stand_still(struct snap_guest *s, struct control *c, const struct snapshot *snap, const struct snap_request *r)
{
	struct save_request save = { .quiet = r->quiet };
	char *path;
	int ret;

	if (r->disks_only)
		return control_do(c, "stop", NULL, NULL);
	path = snap_path(s->t, snap->id, "state");
	ret = path ? save_guest(c, s->g.name, path, &save) : -1;
	free(path);
	return ret;
}

static int quiet_disks(struct snap_guest *s, struct quiesce *q)
{
	char *sock = NULL;
	int ret;

	if (s->g.state != GUEST_RUNNING) {
		cli_error("%s: it stands still, and its agent with it: resume it first, or leave --quiesce out", s->g.name);
		return -1;
	}
	ret = exec_find("snapshot-create", s->g.name, &sock) ?: quiesce_begin(q, s->g.name, sock);
	free(sock);
	return ret;
}

static int frozen(struct snap_guest *s, struct control *c, const struct snapshot *snap)
{
	return snap_step("frozen") || snap_copy_again(s->t, snap) || snap_step("copied") ? -1 : switch_layers(s, c, snap, false);
}

/* The memory knows all disks that the guest has: so must the snapshot. */
static int same_disks(struct snap_guest *s, const struct domain *dom)
{
	struct domain *live = guest_domain(&s->g, false);
	const struct dom_disk *missing = NULL;

	for (unsigned int i = 0; live && i < live->nr_disks; i++) {
		const struct dom_disk *d = &live->disk[i];
		const struct snap_disk *own = d->file ? snap_whose(s->t, d->file) : NULL;
		bool has = !d->file || d->readonly || d->transient;

		for (unsigned int k = 0; !has && k < dom->nr_disks; k++)
			has = dom->disk[k].file && !strcmp(dom->disk[k].file, own ? own->file : d->file) &&
			      !strcmp(dom->disk[k].target, d->target);
		if (!has)
			missing = d;
	}
	if (missing)
		cli_error("%s: disk %s, %s, is not in its definition: add it there, too, or take it out of the running guest",
			  s->g.name, missing->target, missing->file);
	if (!live)
		return -1;
	domain_free(live);
	return missing ? -1 : 0;
}

int snap_take_live(struct snap_guest *s, const struct domain *dom, const char *xml, size_t len, const struct snap_request *r)
{
	struct control *c = control_open_or_say(s->g.name);
	bool running = s->g.state == GUEST_RUNNING, has = false;
	struct quiesce q = { .sock = -1 };
	struct snapshot *snap;
	char id[SNAP_ID];
	int ret = -1;

	if (!c)
		return -1;
	if (!running && s->g.state != GUEST_PAUSED) {
		cli_error("%s: it is %s; start it or stop it first", s->g.name, s->g.status);
		goto out;
	}
	if (same_disks(s, dom))
		goto out;
	snap = snap_prepare(s->t, dom, r->name, r->description, xml, len);
	if (snap) {
		snap->pending = true;
		snap->resume = running && !r->halt;
		snap->state = r->disks_only ? SNAP_DISKS : running ? SNAP_RUNNING : SNAP_PAUSED;
	}
	if (!snap || snap_commit(s->t)) {
		if (!snap_reload(s->t))
			snap_recover(s->t, true);
		goto out;
	}
	memcpy(id, snap->id, SNAP_ID);
	ret = (r->quiesce && quiet_disks(s, &q)) || snap_step("quiesced") || stand_still(s, c, snap, r) || frozen(s, c, snap) ? -1 : 0;
	/* A VMM that has hung up leaves it to the next command to see what it did. */
	if (ret && vmm_has(s, c, snap, &has))
		goto out;
	snap_step(ret ? "failed" : "switched");
	if (snap_finish(s->t, snap, !ret || has)) {
		ret = -1;	/* pending still; the VMM and the tree agree on the layers */
	} else {
		keep_live_xml(s);
		snap_recover(s->t, true);
	}
	if (running && (ret || !r->halt))
		control_call(c, "cont", NULL, NULL);
	else if (!ret && r->halt)
		ret = save_quit(c, s->g.name);
out:
	quiesce_end(&q, s->g.name);
	control_close(c);
	return ret;
}
