// SPDX-License-Identifier: GPL-2.0-only
/* A machine to which a guest comes from elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/device.h"
#include "migrate.h"
#include "qmp.h"
#include "runstate.h"
#include "sandbox.h"
#include "save.h"

static int dest_machine(void *o, struct stream_in *in, struct state_error *err)
{
	struct incoming *c = o;

	return load_machine(in, c->m, err);
}

static int dest_tail(void *o, struct stream_in *in, struct state_error *err)
{
	struct incoming *c = o;

	/* The source has ended them before it began with this. */
	return disks_in_wait(&c->disks, err) ?: load_state(in, c->m, &c->clock_ns, err);
}

/*
 * Images that are new have no name yet, and the guest no definition: whoever started this
 * VMM, which can make none, sees to that now that the guest begins to need them.
 */
static int settle(struct machine *m, struct incoming *c)
{
	char answer = 0;
	struct stat st;

	if (m->ready_fd < 0 || fstat(m->ready_fd, &st) || !S_ISSOCK(st.st_mode))
		return 0;
	if (write(m->ready_fd, "n", 1) == 1 && read(m->ready_fd, &answer, 1) == 1 && answer == 'y')
		return 0;
	return state_error(&c->err, "its definition or the images of its disks cannot be given their names there");
}

/* On the main thread. Where memory is absent, this may wait for some of it. */
static void go_on(struct machine *m, void *opaque)
{
	struct incoming *c = opaque;

	guest_time_loaded(m, c->clock_ns);
	if (c->run_it && !m->start_paused)
		machine_cont(m);
	else
		machine_stop(m, RS_PAUSED);
	c->done = true;
	machine_say_ready(m);
}

/* The guest is ours. On the main thread. */
static int take_over(struct machine *m, void *opaque)
{
	struct incoming *c = opaque;
	int ret = devices_own(m, true, &c->err);

	if (ret)
		return ret;
	ret = settle(m, c);
	if (ret) {
		devices_own(m, false, &c->err);
		return ret;
	}
	if (!c->d.post.on) {
		go_on(m, c);
		return 0;
	}
	/* The connection is looked after when this has returned. */
	atomic_store(&c->partial, true);
	m->devices_held = true;
	ret = machine_call(m, go_on, c);
	if (!ret)
		return 0;
	atomic_store(&c->partial, false);
	m->devices_held = false;
	devices_own(m, false, &c->err);
	return ret;
}

static int dest_commit(void *o, bool run, struct state_error *err)
{
	struct incoming *c = o;
	int ret;

	c->run_it = run;
	ret = migrate_call(c->m, &c->call, take_over, c);
	if (ret)
		state_error(err, "%s", c->err.text[0] ? c->err.text : "the destination was told to end");
	return ret;
}

static const char *dest_ready(void *o)
{
	struct incoming *c = o;

	return postcopy_ready(&c->post, &c->m->mem);
}

static int dest_missing(void *o, struct state_error *err)
{
	struct incoming *c = o;

	return postcopy_begin(&c->post, &c->d, err);
}

static int dest_place(void *o, uint64_t offset, const uint8_t *page)
{
	struct incoming *c = o;

	return postcopy_place(&c->post, offset, page);
}

static void dest_forget(void *o)
{
	struct incoming *c = o;

	postcopy_end(&c->post);
}

static void tell(struct machine *m, const char *status)
{
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "status", json_object_new_string(status));
	pthread_mutex_lock(&m->lock);
	qmp_event(m, "MIGRATION", data);
	pthread_mutex_unlock(&m->lock);
}

/* Main loop, lock held. */
static void tell_phase(void *opaque)
{
	struct incoming *c = opaque;
	int phase = atomic_load(&c->d.post.phase);
	struct json_object *data;

	if (phase != MIG_POSTCOPY && phase != MIG_POST_PAUSED)
		return;
	data = json_object_new_object();
	json_object_object_add(data, "status", json_object_new_string(incoming_status(c->m)));
	qmp_event(c->m, "MIGRATION", data);
}

/* Who holds the machine's lock may wait for memory, and this thread must not wait for that. */
static void dest_phase(void *o, enum mig_phase phase)
{
	struct incoming *c = o;
	struct state_error err;

	if (phase == MIG_POST_PAUSED) {
		mig_dest_why(&c->d, &err);
		log_warn("the source of this guest is lost (%s) with %llu MiB of its memory: what needs that waits; `hvx migrate --postcopy-resume` at the source goes on",
			 err.text, (unsigned long long)atomic_load(&c->d.post.left) * RAM_PAGE >> 20);
	} else if (phase == MIG_COMPLETED) {
		postcopy_end(&c->post);
		atomic_store(&c->partial, false);
	}
	loop_post(c->m->loop, tell_phase, c);
}

static const struct mig_dest_ops dest_ops = {
	.machine = dest_machine, .tail = dest_tail, .commit = dest_commit,
	.ready = dest_ready, .missing = dest_missing, .place = dest_place,
	.forget = dest_forget, .phase = dest_phase,
};

const char *incoming_status(const struct machine *m)
{
	const struct incoming *c = m->incoming;

	if (!c || !c->begun)
		return NULL;
	if (c->failed)
		return "failed";
	switch (atomic_load(&c->d.post.phase)) {
	case MIG_POSTCOPY:
		return "postcopy-active";
	case MIG_POST_PAUSED:
		return "postcopy-paused";
	default:
		return c->running ? "active" : "completed";
	}
}

bool incoming_partial(const struct machine *m)
{
	return m->incoming && atomic_load(&m->incoming->partial);
}

static void close_all(struct incoming *c)
{
	/* A connection that broke was replaced, and d knows by which. */
	if (c->begun && c->nr)
		c->fd[0] = c->d.fd[0];
	while (c->nr)
		close(c->fd[--c->nr]);
	postcopy_close(&c->post);
}

static void ended(struct machine *m, void *opaque)
{
	struct incoming *c = opaque;

	pthread_join(c->thread, NULL);
	c->running = false;
	m->devices_held = false;
	tell(m, c->failed ? "failed" : "completed");
	mig_ram_free(&c->d.ram);
	close_all(c);
	disks_in_stop(&c->disks);
	disks_in_end(&c->disks);
	mig_dest_fini(&c->d);
	if (!c->failed)
		return;
	log_error("the guest did not come: %s", c->d.err.text);
	machine_event(m, EV_STOP, 0);
}

/* The XML is what this machine was made from, or it was given one: pass over it. */
static int pass_xml(struct incoming *c, struct state_error *err)
{
	struct sbuf b = { 0 };
	uint64_t plain, len;
	uint32_t type;
	int ret;

	if (c->in.bytes)
		return 0;
	ret = stream_open(&c->in, c->fd[0], err) ?:
	      stream_next(&c->in, &type, &b, &plain, &len, err);
	if (!ret && type != SEC_XML)
		ret = state_error(err, "no XML in it");
	sbuf_free(&b);
	return ret;
}

static void *receive(void *arg)
{
	struct incoming *c = arg;

	if (pass_xml(c, &c->d.err)) {
		mig_refuse(c->fd[0], c->d.err.text);
		c->failed = true;
	} else {
		c->failed = mig_dest_run(&c->d);
	}
	while (machine_call(c->m, ended, c))
		usleep(1000);
	return NULL;
}

static int begin(struct machine *m)
{
	struct incoming *c = m->incoming;
	int ret;

	mig_dest_init(&c->d, &dest_ops, c);
	c->d.in = &c->in;
	c->d.nr_streams = c->nr;
	memcpy(c->d.fd, c->fd, sizeof(c->fd));
	ret = mig_ram_init(&c->d.ram, m->mem.region[0].hva, m->mem.ram_size, c->nr);
	if (ret)
		return ret;
	c->running = c->begun = true;
	ret = disks_in_start(&c->disks) ?: sandbox_thread(&c->thread, &(struct sandbox_thread){
		SANDBOX_MAIN, "receive", .run = receive, .arg = c });
	if (ret) {
		c->running = false;
		disks_in_stop(&c->disks);
		disks_in_end(&c->disks);
		mig_ram_free(&c->d.ram);
	}
	return ret;
}

int incoming_begin(struct machine *m)
{
	int ret;

	m->incoming->m = m;
	migrate_call_init(&m->incoming->call);
	ret = m->incoming->nr ? begin(m) : 0;
	if (ret)
		log_error("cannot receive a guest: %s", strerror(-ret));
	return ret;
}

bool incoming_failed(const struct machine *m)
{
	return m->incoming && m->incoming->failed;
}

void incoming_refuse(struct incoming *in)
{
	char text[MIG_MAX_TEXT];

	log_last_error(text, sizeof(text));
	if (in->nr)
		mig_refuse(in->fd[0], text[0] ? text : "the guest cannot be started there");
	close_all(in);
}

void migrate_in_abort(struct machine *m)
{
	struct incoming *c = m->incoming;

	if (!c)
		return;
	if (c->running) {
		migrate_call_abort(&c->call);
		mig_dest_stop(&c->d);
		disks_in_stop(&c->disks);
		pthread_join(c->thread, NULL);
		c->running = false;
		disks_in_end(&c->disks);
		mig_ram_free(&c->d.ram);
		mig_dest_fini(&c->d);
	}
	close_all(c);
}

/* ------------------------------------------------------------------- command */

static void run_incoming(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct incoming *c = m->incoming;
	int ret;

	if (!c || c->running || c->done || run_state(m) != RS_INMIGRATE) {
		qmp_fail(req, "this guest does not wait for a migration; see hvx-vmm --incoming");
		return;
	}
	if (migrate_take_fds(req, qmp_str(args, "uri"), c->fd, &c->nr))
		return;
	ret = begin(m);
	if (ret) {
		close_all(c);
		qmp_fail(req, "%s", strerror(-ret));
		return;
	}
	qmp_reply(req, NULL);
}

static const struct qmp_command incoming_command = {
	.name = "migrate-incoming", .run = run_incoming,
	.help = "Receive a guest, in a VMM that was started with --incoming and waits (state `inmigrate`). Answers when it begins; event MIGRATION tells how it ended. Where it fails, the VMM ends.",
	.args = QMP_ARGS({ "uri", QMP_STR,
			   .help = "`fd:NAME`, a connected stream socket by its getfd name; further streams of the same migration behind commas" }),
};
QMP_COMMAND(incoming_command);
