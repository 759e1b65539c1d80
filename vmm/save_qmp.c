// SPDX-License-Identifier: GPL-2.0-only
/* The control socket's way to save a guest's state: x-hvx-save and its events. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/device.h"
#include "fdpass.h"
#include "qmp.h"
#include "runstate.h"
#include "save.h"

#define PROGRESS_NS	250000000ULL

struct save_request {
	struct machine *m;
	struct qmp_req *req;		/* NULL: answered */
	struct save_options o;
	unsigned int number;		/* which saving of this VMM: for its event */
	bool cont;			/* afterwards */
	int socket;			/* fork: where the memory goes, -1 none */
	enum run_state before;
	struct loop_timer *timer;
};

static struct json_object *progress_object(const struct save_progress *p)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "total", json_object_new_int64((int64_t)p->total));
	json_object_object_add(o, "done", json_object_new_int64((int64_t)p->done));
	json_object_object_add(o, "zero", json_object_new_int64((int64_t)p->zero));
	json_object_object_add(o, "written", json_object_new_int64((int64_t)p->written));
	json_object_object_add(o, "elapsed-ms", json_object_new_int64((int64_t)(p->elapsed_ns / 1000000)));
	return o;
}

static void tell_progress(void *opaque)
{
	struct save_request *r = opaque;
	struct save_progress p;

	if (!save_running(r->m, &p))
		return;
	qmp_event(r->m, "X_HVX_SAVE_PROGRESS", progress_object(&p));
	loop_timer_set(r->timer, clock_now_ns() + PROGRESS_NS);
}

static void request_free(struct save_request *r)
{
	if (r->socket >= 0)
		close(r->socket);
	if (r->timer)
		loop_del_timer(r->timer);
	if (r->o.fd >= 0)
		close(r->o.fd);
	free(r);
}

/* The memory itself, to whoever is at the other end. */
static void send_memory(struct save_request *r, struct state_error *err)
{
	if (fd_send(r->socket, "m", 1, r->m->mem.fd, MSG_DONTWAIT) != 1)
		state_error(err, "memory-socket: %s", strerror(errno));
}

/* Its disks and its memory become what forks are made of: both, or none. */
static void share(struct save_request *r, struct state_error *err)
{
	struct machine *m = r->m;

	if (!m->template && virtio_blk_share(m, true)) {
		state_error(err, "its disks cannot be shared; see the guest's log");
		return;
	}
	send_memory(r, err);
	if (err->text[0] && !m->template)
		virtio_blk_share(m, false);
}

/* A guest that could not be saved goes on as before. */
static void saved(struct machine *m, void *opaque, const struct state_error *err)
{
	struct save_request *r = opaque;
	struct json_object *data = json_object_new_object();
	struct state_error failed = { .text = "" }, still = { .text = "" };

	if (!err && r->o.form == RAM_SHARED) {
		share(r, &failed);
		err = failed.text[0] ? &failed : NULL;
		m->template |= !err;
	}
	json_object_object_add(data, "status", json_object_new_string(err ? "failed" : "completed"));
	json_object_object_add(data, "save", json_object_new_int((int)r->number));
	if (err)
		json_object_object_add(data, "error-desc", json_object_new_string(err->text));
	if (r->before == RS_RUNNING && (err || r->cont) && machine_unshare(m, &still))
		json_object_object_add(data, "stands-still", json_object_new_string(still.text));
	if (r->before == RS_RUNNING && (err || r->cont) && !m->template)
		machine_cont(m);
	else
		machine_stop(m, r->before == RS_RUNNING ? RS_PAUSED : r->before);
	pthread_mutex_lock(&m->lock);
	qmp_event(m, "X_HVX_SAVE_COMPLETED", data);
	r->o.fd = -1;		/* machine_save() has closed it */
	request_free(r);
	pthread_mutex_unlock(&m->lock);
}

static void save_now(struct machine *m, void *opaque)
{
	static unsigned int number;
	struct save_request *r = opaque;
	struct json_object *ret_object;
	enum run_state s = run_state(m);
	bool can = s == RS_RUNNING || s == RS_PAUSED || s == RS_PRELAUNCH;
	int ret;

	pthread_mutex_lock(&m->lock);
	/* Memory that is not whole in one file is copied into one, once for all forks. */
	if (r->o.form == RAM_SHARED && !guest_mem_shareable(&m->mem))
		r->o.form = RAM_PLAIN;
	if (!can || m->save || m->devices_held) {
		qmp_fail(r->req, "the guest is in state %s%s and cannot be saved now", run_state_name(s),
			 m->devices_held ? ", on its way to another host or from one," : "");
		request_free(r);
		pthread_mutex_unlock(&m->lock);
		return;
	}
	r->number = ++number;
	ret_object = json_object_new_object();
	json_object_object_add(ret_object, "save", json_object_new_int((int)number));
	qmp_reply(r->req, ret_object);
	r->req = NULL;
	pthread_mutex_unlock(&m->lock);
	r->before = s;
	machine_stop(m, RS_SAVE_VM);
	ret = machine_save(m, &r->o);
	if (ret) {
		struct state_error err = { .text = "" };

		state_error(&err, "%s", strerror(-ret));
		close(r->o.fd);
		saved(m, r, &err);
		return;
	}
	pthread_mutex_lock(&m->lock);
	if (m->save)
		loop_timer_set(r->timer, clock_now_ns() + PROGRESS_NS);
	pthread_mutex_unlock(&m->lock);
}

static void run_save(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const char *form = qmp_str(args, "form"), *then = qmp_str(args, "then");
	struct save_request *r = calloc(1, sizeof(*r));

	if (!r) {
		qmp_fail(req, "out of memory");
		return;
	}
	r->m = m;
	r->req = req;
	r->socket = -1;
	r->o.fd = -1;
	r->cont = then && !strcmp(then, "cont");
	r->o = (struct save_options){
		.form = form && !strcmp(form, "plain") ? RAM_PLAIN : RAM_ZSTD,
		.level = (int)qmp_int(args, "level", 0), .done = saved, .opaque = r,
	};
	r->o.fd = -1;
	if (form && !strcmp(form, "shared")) {
		r->o.form = RAM_SHARED;
		r->socket = qmp_str(args, "memory-socket") ?
			    qmp_take_fd(req, qmp_str(args, "memory-socket")) : -1;
		if (r->socket < 0) {
			qmp_fail(req, "memory-socket: no socket of this name was sent; see getfd");
			request_free(r);
			return;
		}
	}
	r->o.fd = qmp_take_fd(req, qmp_str(args, "fd"));
	if (r->o.fd < 0) {
		qmp_fail(req, "fd: no file of this name was sent; see getfd");
		request_free(r);
		return;
	}
	r->timer = loop_add_timer(m->loop, tell_progress, r);
	if (!r->timer || machine_call(m, save_now, r)) {
		qmp_fail(req, "out of memory");
		request_free(r);
	}
}

static const char *const forms[] = { "zstd", "plain", "shared", NULL };
static const char *const thens[] = { "stop", "cont", NULL };

static const struct qmp_command save_command = {
	.name = "x-hvx-save", .run = run_save,
	.returns = "save: a number, which X_HVX_SAVE_COMPLETED of this saving has, too",
	.help = "Let the guest stand still and write its state (docs/stream.md) to a file that was sent before. Answers when it begins; X_HVX_SAVE_PROGRESS events tell how far it is, X_HVX_SAVE_COMPLETED that it ended (status: completed or failed, error-desc). A guest that could not be saved goes on. The file is complete and on stable storage only with status completed.",
	.args = QMP_ARGS({ "fd", QMP_STR, .help = "the file, by its getfd name" },
			 { "form", QMP_STR, .optional = true, .choices = forms,
			   .help = "memory compressed (default); plain, to be mapped by forks: regular files only; shared: for forks of this guest: not in the file but behind memory-socket, and the guest goes on with a copy that grows as it writes; as plain where it is a fork itself, has gone on since it was forked, or has huge or locked pages" },
			 { "memory-socket", QMP_STR, .optional = true,
			   .help = "with shared: a Unix socket, by its getfd name; one message carries the descriptor of the guest's memory, to be mapped copy-on-write; none comes where it is in the file" },
			 { "level", QMP_INT, .optional = true, .min = 1, .max = 19, .help = "zstd's" },
			 { "then", QMP_STR, .optional = true, .choices = thens,
			   .help = "stand still afterwards (default), or go on. A guest that was forked with shared can go on where it writes to no disk: its forks read them; stands-still in X_HVX_SAVE_COMPLETED says that it cannot" }),
};
QMP_COMMAND(save_command);

static void run_query_save(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct save_progress p;

	(void)args;
	qmp_reply(req, save_running(m, &p) ? progress_object(&p) : NULL);
}

static const struct qmp_command query_save_command = {
	.name = "x-hvx-query-save", .run = run_query_save,
	.help = "How far a saving is.",
	.returns = "total, done, zero: bytes of guest memory; written: bytes that it took; elapsed-ms. Nothing where none is under way",
};
QMP_COMMAND(query_save_command);
