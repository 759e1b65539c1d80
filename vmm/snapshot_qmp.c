// SPDX-License-Identifier: GPL-2.0-only
/* The control socket's part of a snapshot: new layers over the disks of a guest that stands still. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/device.h"
#include "devices/storage/overlay.h"
#include "fdpass.h"
#include "qmp.h"
#include "runstate.h"

#define MAX_DISKS	32
#define MAX_XML		(4U << 20)

struct new_layers {
	struct qmp_req *req;
	unsigned int n;
	struct new_layer {
		char *device, *file;
		struct overlay *o;
	} disk[MAX_DISKS];
	char *xml;
	size_t xml_len;
	bool live;
};

static void layers_free(struct new_layers *l)
{
	for (unsigned int i = 0; i < l->n; i++) {
		free(l->disk[i].device);
		free(l->disk[i].file);
		overlay_free(l->disk[i].o);
	}
	free(l->xml);
	free(l);
}

/* What a later saving of the guest says of it. */
static bool take_xml(struct qmp_req *req, const char *name, char **xml, size_t *len)
{
	int fd = qmp_take_fd(req, name);
	struct stat st;
	bool ok = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= MAX_XML;

	if (ok) {
		*xml = malloc((size_t)st.st_size);
		*len = (size_t)st.st_size;
		ok = *xml && pread(fd, *xml, *len, 0) == (ssize_t)*len;
	}
	if (fd >= 0)
		close(fd);
	if (!ok)
		qmp_fail(req, "xml: no file of this name was sent, or none of 1 byte to 4 MiB; see getfd");
	return ok;
}

static bool take_layer(struct new_layers *l, struct json_object *o)
{
	const char *device = qmp_str(o, "device"), *file = qmp_str(o, "file"), *why = NULL;
	struct new_layer *d = &l->disk[l->n];
	int fd = qmp_str(o, "fd") ? qmp_take_fd(l->req, qmp_str(o, "fd")) : -1;

	if (!device || !file || fd < 0) {
		qmp_fail(l->req, "disks: a device, a file and the name of an fd that was sent are wanted for each");
		if (fd >= 0)
			close(fd);
		return false;
	}
	*d = (struct new_layer){ strdup(device), strdup(file), overlay_load(fd, &why) };
	l->n++;
	if (!d->device || !d->file || !d->o) {
		qmp_fail(l->req, "%s: %s", device, why ? why : "out of memory");
		return false;
	}
	return true;
}

static bool still(enum run_state s)
{
	return s == RS_PAUSED || s == RS_PRELAUNCH;
}

/* May its disks become others now? Where it is moved the other host has them open as they were. */
static bool free_to_change(struct machine *m)
{
	return !m->save && !m->devices_held;
}

/* Why they may not; with the guest standing still where it could be let. NULL: they may. */
static const char *not_now(struct machine *m)
{
	if (m->devices_held)
		return "not now: the guest is on its way to another host, or from one";
	return !still(run_state(m)) || m->save ? "not now: the guest is being saved, or has ended" : NULL;
}

static void new_xml(struct machine *m, char **xml, size_t len)
{
	free(m->new_xml);
	m->xml = m->new_xml = *xml;
	m->xml_len = len;
	*xml = NULL;
}

/* On the main thread: first all that can fail. A guest that runs stands still meanwhile. */
static void put_on(struct machine *m, void *opaque)
{
	struct new_layers *l = opaque;
	bool ran = l->live && run_state(m) == RS_RUNNING && free_to_change(m);
	const char *why;
	unsigned int i = 0;

	if (ran)
		machine_stop(m, RS_PAUSED);
	pthread_mutex_lock(&m->lock);
	why = run_state(m) == RS_RUNNING && free_to_change(m) ? "the guest must stand still; send stop" : not_now(m);
	for (i = 0; i < l->n && !why; i++) {
		why = virtio_blk_layer(m, l->disk[i].device, l->disk[i].o, NULL, true);
		for (unsigned int k = 0; k < i && !why; k++)
			if (!strcmp(l->disk[k].device, l->disk[i].device))
				why = "is named twice";
	}
	if (why) {
		qmp_fail(l->req, "%s%s%s", i ? l->disk[i - 1].device : "", i ? ": " : "", why);
	} else {
		for (i = 0; i < l->n; i++) {
			virtio_blk_layer(m, l->disk[i].device, l->disk[i].o, l->disk[i].file, false);
			l->disk[i].o = NULL;
			l->disk[i].file = NULL;
		}
		new_xml(m, &l->xml, l->xml_len);
		qmp_reply(l->req, NULL);
	}
	pthread_mutex_unlock(&m->lock);
	if (ran)
		machine_cont(m);
	layers_free(l);
}

static void run_snapshot_disks(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_object_get(args, "disks");
	struct new_layers *l = calloc(1, sizeof(*l));
	size_t n = json_object_array_length(list);

	if (!l) {
		qmp_fail(req, "out of memory");
		return;
	}
	l->req = req;
	if (!n || n > MAX_DISKS) {
		qmp_fail(req, "disks: 1 to %d", MAX_DISKS);
		layers_free(l);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!json_object_is_type(o, json_type_object)) {
			qmp_fail(req, "disks: a list of objects is wanted");
			layers_free(l);
			return;
		}
		if (!take_layer(l, o)) {
			layers_free(l);
			return;
		}
	}
	l->live = json_object_get_boolean(json_object_object_get(args, "live"));
	if (!take_xml(req, qmp_str(args, "xml"), &l->xml, &l->xml_len)) {
		layers_free(l);
		return;
	}
	if (machine_call(m, put_on, l)) {
		qmp_fail(req, "out of memory");
		layers_free(l);
	}
}

static const struct qmp_command snapshot_disks_command = {
	.name = "x-hvx-snapshot-disks", .run = run_snapshot_disks,
	.help = "Put a new, empty layer (docs/snapshots.md) on each of these disks: what the guest writes goes there from now on. All of them or, with an error, none. The guest must stand still, or does so for a moment (live).",
	.args = QMP_ARGS({ "disks", QMP_LIST, .help = "of {`device`: the disk's `<target dev=>`, `fd`: the layer, by its getfd name, `file`: what it is called}" },
			 { "xml", QMP_STR, .help = "a file with the guest's XML as it is with them, by its getfd name" },
			 { "live", QMP_BOOL, .optional = true, .help = "a guest that runs goes on afterwards (default: it must stand still)" }),
};
QMP_COMMAND(snapshot_disks_command);

/* ---------------------------------------------------------------- layers that are merged */

struct serve {
	struct qmp_req *req;
	char *device;
	int image, socket;
};

static void serve_free(struct serve *s)
{
	free(s->device);
	if (s->image >= 0)
		close(s->image);
	if (s->socket >= 0)
		close(s->socket);
	free(s);
}

static void serve_now(struct machine *m, void *opaque)
{
	struct serve *s = opaque;
	bool ran = run_state(m) == RS_RUNNING && free_to_change(m);
	char why[1100];
	int sock = -1;

	if (ran)
		machine_stop(m, RS_PAUSED);
	pthread_mutex_lock(&m->lock);
	if (not_now(m))
		snprintf(why, sizeof(why), "%s", not_now(m));
	else
		sock = virtio_blk_merge(m, s->device, s->image, why, sizeof(why));
	if (sock < 0)
		qmp_fail(s->req, "%s: %s", s->device, why);
	else if (fd_send(s->socket, "n", 1, sock, MSG_DONTWAIT) != 1)
		qmp_fail(s->req, "socket: %s", strerror(errno));
	else
		qmp_reply(s->req, NULL);
	pthread_mutex_unlock(&m->lock);
	if (sock >= 0)
		close(sock);
	if (ran)
		machine_cont(m);
	serve_free(s);
}

static void run_serve(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct serve *s = calloc(1, sizeof(*s));

	if (!s) {
		qmp_fail(req, "out of memory");
		return;
	}
	*s = (struct serve){ .req = req, .device = strdup(qmp_str(args, "device")) };
	s->image = qmp_take_fd(req, qmp_str(args, "image"));
	s->socket = qmp_take_fd(req, qmp_str(args, "socket"));
	if (s->image < 0 || s->socket < 0) {
		qmp_fail(req, "image, socket: no descriptor of this name was sent; see getfd");
		serve_free(s);
	} else if (!s->device || machine_call(m, serve_now, s)) {
		qmp_fail(req, "out of memory");
		serve_free(s);
	}
}

static const struct qmp_command serve_command = {
	.name = "x-hvx-snapshot-serve", .run = run_serve,
	.help = "The lowest image of a disk of layers, which is not raw, is to be written to by whoever merges layers into it (docs/snapshots.md): a connection to its storage daemon (NBD, the export `disk`) comes by a socket. Until x-hvx-snapshot-relink. A guest that runs stands still for a moment.",
	.args = QMP_ARGS({ "device", QMP_STR, .help = "the disk's `<target dev=>`" },
			 { "image", QMP_STR, .help = "the image, open for reading and writing, by its getfd name: who has not this right cannot ask" },
			 { "socket", QMP_STR, .help = "a Unix socket, by its getfd name: the connection is sent there, with one byte, before the answer" }),
};
QMP_COMMAND(serve_command);

struct relink {
	struct qmp_req *req;
	char *device, *xml;
	size_t xml_len;
	unsigned int nr;
	uint8_t keep[OVERLAY_DEPTH][OVERLAY_ID];
};

static void relink_free(struct relink *r)
{
	free(r->device);
	free(r->xml);
	free(r);
}

static void relink_now(struct machine *m, void *opaque)
{
	struct relink *r = opaque;
	bool ran = run_state(m) == RS_RUNNING && free_to_change(m);
	const char *why;

	if (ran)
		machine_stop(m, RS_PAUSED);
	pthread_mutex_lock(&m->lock);
	why = not_now(m) ?: virtio_blk_relink(m, r->device, (const uint8_t (*)[OVERLAY_ID])r->keep, r->nr);
	if (why) {
		qmp_fail(r->req, "%s: %s", r->device, why);
	} else {
		new_xml(m, &r->xml, r->xml_len);
		qmp_reply(r->req, NULL);
	}
	pthread_mutex_unlock(&m->lock);
	if (ran)
		machine_cont(m);
	relink_free(r);
}

/* 16 hex digits; the rest of an id is zero. */
static bool get_layer_id(const char *s, uint8_t id[OVERLAY_ID])
{
	size_t n = s ? strlen(s) : 0;

	if (n != 16 || s[strspn(s, "0123456789abcdef")])
		return false;
	for (int i = 0; i < 8; i++)
		sscanf(s + 2 * i, "%2hhx", &id[i]);
	return true;
}

static void run_relink(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_object_get(args, "keep");
	struct relink *r = calloc(1, sizeof(*r));
	size_t n = json_object_array_length(list);
	bool ok = r && n <= OVERLAY_DEPTH;

	for (size_t i = 0; ok && i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		ok = json_object_is_type(o, json_type_string) && get_layer_id(json_object_get_string(o), r->keep[r->nr++]);
	}
	if (!ok) {
		qmp_fail(req, "keep: a list of at most %d ids of layers is wanted, 16 hex digits each", OVERLAY_DEPTH);
		free(r);
		return;
	}
	r->req = req;
	r->device = strdup(qmp_str(args, "device"));
	if (!take_xml(req, qmp_str(args, "xml"), &r->xml, &r->xml_len)) {
		relink_free(r);
	} else if (!r->device || machine_call(m, relink_now, r)) {
		qmp_fail(req, "out of memory");
		relink_free(r);
	}
}

static const struct qmp_command relink_command = {
	.name = "x-hvx-snapshot-relink", .run = run_relink,
	.help = "Layers of a disk have been merged into others by whoever manages its files (docs/snapshots.md): let go of those that are not named, and read what the others have. The uppermost one stays. A guest that runs stands still for a moment.",
	.args = QMP_ARGS({ "device", QMP_STR, .help = "the disk's `<target dev=>`" },
			 { "keep", QMP_LIST, .help = "the ids of the layers that there are now" },
			 { "xml", QMP_STR, .help = "a file with the guest's XML as it is with them, by its getfd name" }),
};
QMP_COMMAND(relink_command);
