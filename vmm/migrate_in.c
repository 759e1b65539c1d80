// SPDX-License-Identifier: GPL-2.0-only
/* A machine to which a guest comes from elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/device.h"
#include "migrate.h"
#include "qmp.h"
#include "runstate.h"
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
 * Images that are new have no name yet: whoever started this VMM, which can make none,
 * gives it to them now that the guest begins to need them.
 */
static int name_disks(struct machine *m, struct incoming *c)
{
	char answer = 0;

	if (!c->disks.nr || m->ready_fd < 0)
		return 0;
	if (write(m->ready_fd, "n", 1) == 1 && read(m->ready_fd, &answer, 1) == 1 && answer == 'y')
		return 0;
	return state_error(&c->err, "the disks' images cannot be given their names there");
}

/* The guest is ours. On the main thread. */
static int take_over(struct machine *m, void *opaque)
{
	struct incoming *c = opaque;
	int ret = devices_own(m, true, &c->err);

	if (ret)
		return ret;
	ret = name_disks(m, c);
	if (ret) {
		devices_own(m, false, &c->err);
		return ret;
	}
	run_state_set_clock(m, c->clock_ns);
	if (c->run_it && !m->start_paused)
		machine_cont(m);
	else
		machine_stop(m, RS_PAUSED);
	c->done = true;
	machine_say_ready(m);
	return 0;
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

static const struct mig_dest_ops dest_ops = {
	.machine = dest_machine, .tail = dest_tail, .commit = dest_commit,
};

static void tell(struct machine *m, const char *status)
{
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "status", json_object_new_string(status));
	pthread_mutex_lock(&m->lock);
	qmp_event(m, "MIGRATION", data);
	pthread_mutex_unlock(&m->lock);
}

static void close_all(struct incoming *c)
{
	while (c->nr)
		close(c->fd[--c->nr]);
}

static void ended(struct machine *m, void *opaque)
{
	struct incoming *c = opaque;

	pthread_join(c->thread, NULL);
	c->running = false;
	tell(m, c->failed ? "failed" : "completed");
	mig_ram_free(&c->d.ram);
	close_all(c);
	disks_in_stop(&c->disks);
	disks_in_end(&c->disks);
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

	c->d = (struct mig_dest){
		.ops = &dest_ops, .opaque = c, .in = &c->in, .nr_streams = c->nr,
	};
	memcpy(c->d.fd, c->fd, sizeof(c->fd));
	ret = mig_ram_init(&c->d.ram, m->mem.region[0].hva, m->mem.ram_size, c->nr);
	if (ret)
		return ret;
	c->running = true;
	ret = disks_in_start(&c->disks) ?: -pthread_create(&c->thread, NULL, receive, c);
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

	if (!c || !c->running)
		return;
	migrate_call_abort(&c->call);
	mig_dest_stop(&c->d);
	disks_in_stop(&c->disks);
	pthread_join(c->thread, NULL);
	c->running = false;
	disks_in_end(&c->disks);
	mig_ram_free(&c->d.ram);
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
