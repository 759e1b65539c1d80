// SPDX-License-Identifier: GPL-2.0-only
/* Disks of a machine that go with its guest to elsewhere. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/device.h"
#include "migrate_disks.h"
#include "migrate_out.h"
#include "qmp.h"

void migrate_disks_reset(struct migrate_disks *d, void (*pace)(void *opaque, size_t bytes), void *opaque)
{
	mirror_init(&d->mirror);
	d->mirror.pace = pace;
	d->mirror.opaque = opaque;
	d->on = true;
	d->nr = 0;
	d->running = false;
}

int migrate_disks_add(struct machine *m, struct migrate_disks *d, const char *device, int sock, struct state_error *err)
{
	const char *why = NULL;
	const struct image *img = virtio_blk_log(m, device, NULL, &why);
	struct mirror_disk *k;

	for (unsigned int i = 0; i < d->mirror.nr; i++)
		if (!strcmp(d->mirror.disk[i].name, device))
			why = "is named twice";
	k = why ? NULL : mirror_add(&d->mirror, device, img, img->size, sock);
	if (!k) {
		close(sock);
		return state_error(err, "disk %s: %s", device, why ? why : "out of memory, or too many");
	}
	virtio_blk_log(m, device, k->log, &why);
	d->nr = d->mirror.nr;
	snprintf(d->figures[d->nr - 1].name, sizeof(d->figures[0].name), "%s", device);
	return 0;
}

/* Machine lock held, or the threads have ended. */
static void take_figures(struct migrate_disks *d)
{
	for (unsigned int i = 0; d->on && i < d->nr; i++) {
		struct disk_figures *f = &d->figures[i];

		mirror_figures(&d->mirror.disk[i], &f->total, &f->left, &f->wire);
		pthread_mutex_lock(&d->mirror.lock);
		f->copied = d->mirror.disk[i].copied;
		pthread_mutex_unlock(&d->mirror.lock);
	}
}

void migrate_disks_drop(struct machine *m, struct migrate_disks *d)
{
	const char *ignored;

	take_figures(d);
	for (unsigned int i = 0; i < d->mirror.nr; i++) {
		virtio_blk_log(m, d->mirror.disk[i].name, NULL, &ignored);
		close(d->mirror.disk[i].sock);
	}
	mirror_free(&d->mirror);
	d->on = d->running = false;
}

void migrate_disks_end(struct machine *m, struct migrate_disks *d)
{
	if (!d->on)
		return;
	mirror_stop(&d->mirror);
	mirror_join(&d->mirror);
	pthread_mutex_lock(&m->lock);
	migrate_disks_drop(m, d);
	pthread_mutex_unlock(&m->lock);
}

int migrate_disks_args(struct qmp_req *req, struct json_object *list, struct disk_arg *to, unsigned int *n)
{
	size_t i, all = list ? json_object_array_length(list) : 0;

	*n = 0;
	for (i = 0; i < all && i < MIRROR_MAX; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *device = json_object_is_type(o, json_type_object) ? qmp_str(o, "device") : NULL;
		const char *target = device ? qmp_str(o, "target") : NULL;
		int sock = target && !strncmp(target, "fd:", 3) && strlen(device) < NBD_MAX_NAME ?
			   qmp_take_fd(req, target + 3) : -1;

		if (sock < 0)
			break;
		snprintf(to[i].device, sizeof(to[i].device), "%s", device);
		to[i].sock = sock;
		++*n;
	}
	if (i == all)
		return 0;
	while (*n)
		close(to[--*n].sock);
	qmp_fail(req, "x-hvx-disks: a list of {device, target: fd:NAME of a socket that was sent by getfd}, at most %d of them", MIRROR_MAX);
	return -EINVAL;
}

/* ------------------------------------------------- what the protocol asks for */

/* The connection that the protocol speaks on is another one: nothing that it says is an answer to this. */
static int disk_error(int ret)
{
	return ret == -EPIPE || ret == -ECONNRESET ? -EIO : ret;
}

int migrate_disks_copy(struct migrate_disks *d, struct state_error *err)
{
	d->running = d->nr;
	return disk_error(mirror_copy(&d->mirror, err));
}

int migrate_disks_left(struct migrate_disks *d, uint64_t *ns, struct state_error *err)
{
	return disk_error(mirror_left(&d->mirror, ns, err));
}

int migrate_disks_finish(struct migrate_disks *d, struct state_error *err)
{
	return disk_error(mirror_end(&d->mirror, err));
}

void migrate_disks_stop(struct migrate_disks *d)
{
	if (d->on)
		mirror_stop(&d->mirror);
}

/* ---------------------------------------------------------------------- figures */

static void add(struct json_object *o, const char *name, uint64_t val)
{
	json_object_object_add(o, name, json_object_new_int64((int64_t)val));
}

struct json_object *migrate_disks_query(struct migrate_disks *d)
{
	uint64_t total = 0, left = 0, wire = 0;
	struct json_object *o;

	if (!d->nr)
		return NULL;
	take_figures(d);
	for (unsigned int i = 0; i < d->nr; i++) {
		total += d->figures[i].total;
		left += d->figures[i].left;
		wire += d->figures[i].wire;
	}
	o = json_object_new_object();
	add(o, "total", total);
	add(o, "remaining", left);
	add(o, "transferred", wire);
	return o;
}

static void run_query_jobs(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct migrate_disks *d = m->migration ? &m->migration->disks : NULL;
	struct json_object *list = json_object_new_array();

	(void)args;
	if (d)
		take_figures(d);
	for (unsigned int i = 0; d && d->running && i < d->nr; i++) {
		const struct disk_figures *f = &d->figures[i];
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "type", json_object_new_string("mirror"));
		json_object_object_add(o, "device", json_object_new_string(f->name));
		add(o, "len", f->total);
		add(o, "offset", f->total - f->left);
		add(o, "speed", atomic_load(&m->migration->s.ram.limit));
		json_object_object_add(o, "busy", json_object_new_boolean(true));
		json_object_object_add(o, "paused", json_object_new_boolean(false));
		json_object_object_add(o, "ready", json_object_new_boolean(f->copied));
		json_object_object_add(o, "status", json_object_new_string(f->copied ? "ready" : "running"));
		json_object_object_add(o, "io-status", json_object_new_string("ok"));
		json_object_array_add(list, o);
	}
	qmp_reply(req, list);
}

static const struct qmp_command query_jobs_command = {
	.name = "query-block-jobs", .run = run_query_jobs,
	.help = "Disks that are on their way with the guest (`migrate`, x-hvx-disks).",
	.returns = "a list of {`type`: `mirror`, `device`, `len`, `offset` (bytes; what is copied), `speed` (limit of all streams together, bytes a second; 0: none), `busy`, `paused`, `ready` (copied once: only what the guest writes is left), `status`: `running` or `ready`, `io-status`: `ok`}; nothing where none is",
};
QMP_COMMAND(query_jobs_command);
