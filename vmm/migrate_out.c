// SPDX-License-Identifier: GPL-2.0-only
/* A machine whose guest moves elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dirty.h"
#include "migrate_out.h"
#include "qmp.h"
#include "sandbox.h"
#include "save.h"

#define NS		1000000000ULL
#define WATCH_NS	(NS / 4)
/* A destination that does not begin, or end, within this time is given up. */
#define PATIENCE_NS	(60 * NS)
#define RUN_US		10000U		/* a throttled vCPU runs for so long at a time */

bool migrate_running(struct machine *m)
{
	return m->migration && m->migration->running;
}

bool migrate_owns(struct machine *m)
{
	enum run_state s = run_state(m);

	return s == RS_FINISH_MIGRATE || s == RS_POSTMIGRATE || s == RS_INMIGRATE;
}

const char *migrate_status(const struct migration *mg)
{
	static const char *const name[] = {
		[MIG_SETUP] = "setup", [MIG_ACTIVE] = "active", [MIG_DEVICE] = "device",
		[MIG_COMMITTED] = "device", [MIG_POSTCOPY] = "postcopy-active",
		[MIG_POST_PAUSED] = "postcopy-paused", [MIG_POST_RECOVER] = "postcopy-recover",
		[MIG_COMPLETED] = "completed", [MIG_FAILED] = "failed",
		[MIG_CANCELLED] = "cancelled", [MIG_UNCONFIRMED] = "failed",
	};
	int phase = atomic_load(&mg->s.phase);

	if (mg->running && phase < MIG_COMPLETED && atomic_load(&mg->s.cancelled))
		return "cancelling";
	/* The guest's state is settled last. */
	return mg->running && phase >= MIG_COMPLETED ? "device" : name[phase];
}

static void tell(struct migration *mg)
{
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "status", json_object_new_string(migrate_status(mg)));
	qmp_event(mg->m, "MIGRATION", data);
}

/* -------------------------------------------------- what the protocol asks for */

/* A copy: the network may be slow, and a guest that lets go of a vCPU meanwhile has another XML. */
static int source_xml(void *o, struct stream_out *out, struct state_error *err)
{
	struct machine *m = ((struct migration *)o)->m;
	struct sbuf b = { 0 };
	int ret;

	pthread_mutex_lock(&m->lock);
	sbuf_put(&b, m->xml, m->xml_len);
	pthread_mutex_unlock(&m->lock);
	ret = b.failed ? -ENOMEM : stream_put(out, SEC_XML, b.data, b.len, err);
	sbuf_free(&b);
	return ret;
}

static int source_machine(void *o, struct stream_out *out, struct state_error *err)
{
	struct migration *mg = o;

	return save_machine(out, mg->m, err);
}

/* What was ever written to; the rest is zeroes, as is the destination's new memory. */
static int source_first(void *o, uint64_t *map, struct state_error *err)
{
	struct migration *mg = o;
	const struct guest_mem *mem = &mg->m->mem;
	struct ram_job j = {
		.base = mem->region[0].hva, .size = mem->ram_size, .fd = mem->fd,
		.source = mem->source, .source_offset = mem->source_offset, .pagemap = mem->pagemap,
	};

	(void)err;
	for (uint64_t page = 0; page < mem->ram_size / RAM_PAGE; page++)
		map[page / 64] |= 1ULL << page % 64;
	ram_drop_untouched(&j, map);
	return 0;
}

static int source_sync(void *o, uint64_t *map, struct state_error *err)
{
	struct migration *mg = o;
	int ret = dirty_sync(mg->m, map);

	if (ret)
		state_error(err, "the log of written pages: %s", strerror(-ret));
	return ret;
}

static void nap(void *opaque)
{
	struct migration *mg = opaque;
	uint32_t us = RUN_US * mg->throttle / (100 - mg->throttle);

	if (!mg->throttle)
		return;
	vcpus_nap(mg->m, us);
	loop_timer_set(mg->nap, clock_now_ns() + (uint64_t)(us + RUN_US) * 1000);
}

static int source_throttle(void *o, unsigned int percent)
{
	struct migration *mg = o;

	pthread_mutex_lock(&mg->m->lock);
	mg->throttle = percent;
	loop_timer_set(mg->nap, percent ? clock_now_ns() : 0);
	pthread_mutex_unlock(&mg->m->lock);
	return 0;
}

static void warn_paused(struct migration *mg)
{
	struct state_error err;

	mig_source_why(&mg->s, &err);
	log_warn("the connection to the destination is lost (%s): memory that the guest lacks there is kept here; `hvx migrate --postcopy-resume` goes on",
		 err.text);
}

static void source_phase(void *o, enum mig_phase phase)
{
	struct migration *mg = o;

	if (phase == MIG_COMMITTED || phase >= MIG_COMPLETED)
		return;			/* ends are told when the guest is where it belongs */
	if (phase == MIG_POST_PAUSED)
		warn_paused(mg);
	pthread_mutex_lock(&mg->m->lock);
	tell(mg);
	pthread_mutex_unlock(&mg->m->lock);
}

static void source_pass(void *o, unsigned int round)
{
	struct migration *mg = o;
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "pass", json_object_new_int((int)round));
	pthread_mutex_lock(&mg->m->lock);
	qmp_event(mg->m, "MIGRATION_PASS", data);
	pthread_mutex_unlock(&mg->m->lock);
}

static int stop_now(struct machine *m, void *opaque)
{
	struct migration *mg = opaque;
	enum run_state s = run_state(m);

	if (s != RS_RUNNING && s != RS_PAUSED && s != RS_PRELAUNCH)
		return -ESRCH;
	mg->before = s;
	mg->stopped = true;
	machine_stop(m, RS_FINISH_MIGRATE);
	vcpus_settle(m);
	return 0;
}

static int source_stop(void *o, bool *ran, struct state_error *err)
{
	struct migration *mg = o;
	int ret = migrate_call(mg->m, &mg->call, stop_now, mg);

	*ran = mg->before == RS_RUNNING;
	mirror_hurry(&mg->disks.mirror);
	if (ret)
		state_error(err, ret == -ESRCH ? "the guest has ended meanwhile, or a debugger holds it" :
			    "the VMM was told to end");
	return ret;
}

/* To memory first: the machine's lock does not wait for a network. */
static int source_tail(void *o, struct stream_out *out, struct state_error *err)
{
	struct migration *mg = o;
	struct sbuf b = { 0 };
	struct stream_out mem = { .fd = -1, .to = &b };
	int ret = save_state(&mem, mg->m, err) ?: stream_append(out, &mem, err);

	sbuf_free(&b);
	return ret;
}

static int source_release(void *o, struct state_error *err)
{
	return devices_own(((struct migration *)o)->m, false, err);
}

static int source_take_back(void *o, struct state_error *err)
{
	return devices_own(((struct migration *)o)->m, true, err);
}

static int source_disks_copy(void *o, struct state_error *err)
{
	return migrate_disks_copy(&((struct migration *)o)->disks, err);
}

static int source_disks_left(void *o, uint64_t *ns, struct state_error *err)
{
	return migrate_disks_left(&((struct migration *)o)->disks, ns, err);
}

static int source_disks_end(void *o, struct state_error *err)
{
	return migrate_disks_finish(&((struct migration *)o)->disks, err);
}

static void source_disks_stop(void *o)
{
	migrate_disks_stop(&((struct migration *)o)->disks);
}

static const struct mig_source_ops source_ops = {
	.xml = source_xml, .machine = source_machine, .first = source_first, .sync = source_sync,
	.throttle = source_throttle, .phase = source_phase, .pass = source_pass,
	.stop = source_stop, .tail = source_tail, .release = source_release,
	.take_back = source_take_back,
	.disks_copy = source_disks_copy, .disks_left = source_disks_left,
	.disks_end = source_disks_end, .disks_stop = source_disks_stop,
};

struct migration *migrate_get(struct machine *m)
{
	struct migration *mg = m->migration;

	if (mg)
		return mg;
	mg = calloc(1, sizeof(*mg));
	if (!mg)
		return NULL;
	mg->m = m;
	mg->p = (struct migrate_params){
		.downtime_ms = 300, .zstd_level = 1,
		.throttle_first = 20, .throttle_step = 10, .throttle_max = 99,
	};
	migrate_call_init(&mg->call);
	mig_source_init(&mg->s, &source_ops, mg);
	m->migration = mg;
	return mg;
}

/* ------------------------------------------------------------- begin and end */

/* Main loop, lock held. */
static void watch(void *opaque)
{
	struct migration *mg = opaque;
	uint64_t since = atomic_load(&mg->s.stop_ns);

	/* In post-copy the guest runs there, however long its memory takes. */
	if (!mg->running || atomic_load(&mg->s.phase) >= MIG_POSTCOPY)
		return;
	if (atomic_load(&mg->s.phase) == MIG_SETUP)
		since = atomic_load(&mg->s.start_ns);
	if (since && clock_now_ns() - since > PATIENCE_NS)
		mig_source_cancel(&mg->s, true);
	loop_timer_set(mg->watch, clock_now_ns() + WATCH_NS);
}

static void close_all(struct mig_source *s)
{
	while (s->nr_streams)
		close(s->fd[--s->nr_streams]);
}

static void finish(struct migration *mg)
{
	struct machine *m = mg->m;

	pthread_join(mg->thread, NULL);
	atomic_store(&mg->s.ram.stop, true);	/* whoever waits for his turn */
	migrate_disks_end(m, &mg->disks);
	pthread_mutex_lock(&m->lock);
	dirty_stop(m);
	m->devices_held = false;
	pthread_mutex_unlock(&m->lock);
	free(mg->s.ram.map);		/* the figures are asked for later */
	mg->s.ram.map = NULL;
	close_all(&mg->s);
}

static void ended(struct machine *m, void *opaque)
{
	struct migration *mg = opaque;
	enum mig_phase end = (enum mig_phase)atomic_load(&mg->s.phase);

	finish(mg);
	if (end == MIG_COMPLETED || end == MIG_UNCONFIRMED)
		machine_stop(m, RS_POSTMIGRATE);
	else if (mg->stopped && mg->before == RS_RUNNING)
		machine_cont(m);
	else if (mg->stopped)
		machine_stop(m, mg->before);
	if (end == MIG_UNCONFIRMED)
		log_error("the destination was given the guest, and has not said that it runs it: the guest stands still here. See whether it runs there; if not, `hvx migrate --recover` lets it go on here");
	pthread_mutex_lock(&m->lock);
	mg->running = false;
	tell(mg);
	pthread_mutex_unlock(&m->lock);
}

static void *migrate(void *arg)
{
	struct migration *mg = arg;

	mig_source_run(&mg->s);
	while (machine_call(mg->m, ended, mg))
		usleep(1000);
	return NULL;
}

void migrate_apply(struct migration *mg)
{
	const struct migrate_params *p = &mg->p;
	struct mig_source *s = &mg->s;

	/* Once the guest stands still the limit is no help to anyone. */
	if (!atomic_load(&s->stop_ns))
		atomic_store(&s->ram.limit, p->max_bandwidth);
	atomic_store(&s->post_limit, p->post_bandwidth);
	atomic_store(&s->downtime_ns, p->downtime_ms * 1000000);
	atomic_store(&s->force_ns, p->force_ms * 1000000);
	atomic_store(&s->converge, p->converge);
	atomic_store(&s->throttle_first, p->throttle_first);
	atomic_store(&s->throttle_step, p->throttle_step);
	atomic_store(&s->throttle_max, p->throttle_max);
}

static void reset_source(struct migration *mg)
{
	mig_source_fini(&mg->s);
	memset(&mg->s, 0, sizeof(mg->s));
	mig_source_init(&mg->s, &source_ops, mg);
}

static int start(struct migration *mg, struct state_error *err)
{
	struct machine *m = mg->m;
	int ret;

	ret = save_can(m, err);
	if (ret)
		return ret;
	ret = mig_ram_init(&mg->s.ram, m->mem.region[0].hva, m->mem.ram_size, mg->s.nr_streams);
	if (ret)
		return ret;
	mg->s.ram.compress = mg->p.zstd;
	mg->s.ram.level = mg->p.zstd_level;
	mg->s.postcopy = mg->p.postcopy;
	migrate_apply(mg);
	ret = dirty_start(m);
	if (ret) {
		state_error(err, "the guest's memory cannot be watched: %s", strerror(-ret));
		return ret;
	}
	if (!mg->watch)
		mg->watch = loop_add_timer(m->loop, watch, mg);
	if (!mg->nap)
		mg->nap = loop_add_timer(m->loop, nap, mg);
	mg->running = true;
	ret = mg->watch && mg->nap ? sandbox_thread(&mg->thread, &(struct sandbox_thread){
		SANDBOX_MAIN, "migrate", .run = migrate, .arg = mg }) : -ENOMEM;
	if (ret) {
		mg->running = false;
		dirty_stop(m);
		return ret;
	}
	m->devices_held = true;
	loop_timer_set(mg->watch, clock_now_ns() + WATCH_NS);
	return 0;
}

static void pace_disk(void *opaque, size_t bytes)
{
	mig_ram_pace(&((struct migration *)opaque)->s.ram, bytes);
}

void migrate_prepare(struct migration *mg)
{
	migrate_disks_reset(&mg->disks, pace_disk, mg);
}

int migrate_begin(struct migration *mg, const int *fd, unsigned int nr, struct state_error *err)
{
	int ret;

	reset_source(mg);
	memcpy(mg->s.fd, fd, nr * sizeof(*fd));
	mg->s.nr_streams = nr;
	mg->stopped = false;
	mg->throttle = 0;
	mg->started = true;
	ret = start(mg, err);
	if (!ret)
		return 0;
	state_error(err, "%s", strerror(-ret));
	mg->s.err = *err;
	atomic_store(&mg->s.phase, MIG_FAILED);
	migrate_disks_drop(mg->m, &mg->disks);
	mig_ram_free(&mg->s.ram);
	close_all(&mg->s);
	return -EINVAL;
}

int migrate_recover(struct migration *mg, struct state_error *err)
{
	int ret;

	/* Its thread takes the locks back, and ended() lets it go on. */
	if (mg->running)
		return mig_source_reclaim(&mg->s) ? 0 :
		       state_error(err, mg->s.post.confirmed ? "the guest runs elsewhere" : "the migration has not ended");
	if (atomic_load(&mg->s.phase) != MIG_UNCONFIRMED || run_state(mg->m) != RS_POSTMIGRATE)
		return state_error(err, "there is nothing to recover: the guest %s",
				   run_state(mg->m) == RS_POSTMIGRATE ? "runs elsewhere" : "is here");
	ret = devices_own(mg->m, true, err);
	if (ret)
		return ret;
	atomic_store(&mg->s.phase, MIG_FAILED);
	if (mg->before == RS_RUNNING)
		machine_cont(mg->m);
	else
		machine_stop(mg->m, mg->before);
	return 0;
}

void migrate_out_abort(struct machine *m)
{
	struct migration *mg = m->migration;

	if (!mg)
		return;
	if (mg->running) {
		migrate_call_abort(&mg->call);
		mig_source_over(&mg->s);
		finish(mg);
	}
	if (mg->watch)
		loop_del_timer(mg->watch);
	if (mg->nap)
		loop_del_timer(mg->nap);
	mig_source_fini(&mg->s);
	free(mg);
	m->migration = NULL;
}
