// SPDX-License-Identifier: GPL-2.0-only
/* A guest's life from power-on to its end. */
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "devices/device.h"
#include "devices/storage/nbd_disk.h"
#include "migrate.h"
#include "qmp.h"
#include "runstate.h"
#include "sandbox.h"
#include "save.h"
#include "vcpu.h"

struct call {
	void (*fn)(struct machine *m, void *opaque);
	void *opaque;
	STAILQ_ENTRY(call) link;
};

struct run_state_data {
	_Atomic enum run_state state;
	_Atomic bool quit;		/* EV_STOP came from the control socket */
	pthread_mutex_t lock;		/* calls; innermost */
	STAILQ_HEAD(, call) calls;
};

static const char *const state_name[RS_NR] = {
	[RS_PRELAUNCH] = "prelaunch", [RS_RUNNING] = "running", [RS_PAUSED] = "paused",
	[RS_DEBUG] = "debug",
	[RS_SHUTDOWN] = "shutdown", [RS_PANICKED] = "guest-panicked", [RS_SAVE_VM] = "save-vm",
	[RS_RESTORE_VM] = "restore-vm", [RS_INMIGRATE] = "inmigrate",
	[RS_FINISH_MIGRATE] = "finish-migrate", [RS_POSTMIGRATE] = "postmigrate",
};

enum run_state run_state(struct machine *m)
{
	return atomic_load(&m->run->state);
}

const char *run_state_name(enum run_state s)
{
	return s < RS_NR ? state_name[s] : "unknown";
}

int run_state_init(struct machine *m)
{
	m->run = calloc(1, sizeof(*m->run));
	if (!m->run)
		return -ENOMEM;
	pthread_mutex_init(&m->run->lock, NULL);
	STAILQ_INIT(&m->run->calls);
	return 0;
}

static struct call *next_call(struct machine *m)
{
	struct call *c;

	pthread_mutex_lock(&m->run->lock);
	c = STAILQ_FIRST(&m->run->calls);
	if (c)
		STAILQ_REMOVE_HEAD(&m->run->calls, link);
	pthread_mutex_unlock(&m->run->lock);
	return c;
}

void run_state_free(struct machine *m)
{
	struct call *c;

	if (!m->run)
		return;
	while ((c = next_call(m)))
		free(c);
	pthread_mutex_destroy(&m->run->lock);
	free(m->run);
	m->run = NULL;
}

/* ------------------------------------------------------- stop and go on */

int machine_call(struct machine *m, void (*fn)(struct machine *m, void *opaque), void *opaque)
{
	struct call *c = malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fn = fn;
	c->opaque = opaque;
	pthread_mutex_lock(&m->run->lock);
	STAILQ_INSERT_TAIL(&m->run->calls, c, link);
	pthread_mutex_unlock(&m->run->lock);
	machine_event(m, EV_CALL, 0);
	return 0;
}

static void devices_pause(struct machine *m)
{
	struct device *dev;

	for (dev = m->devices; dev; dev = dev->next)
		if (dev->ops->pause)
			dev->ops->pause(dev);
}

static void devices_resume(struct machine *m)
{
	struct device *dev;

	for (dev = m->devices; dev; dev = dev->next)
		if (dev->ops->resume)
			dev->ops->resume(dev);
}

void machine_stop(struct machine *m, enum run_state why)
{
	bool ran = run_state(m) == RS_RUNNING;

	pthread_mutex_lock(&m->lock);
	if (ran) {
		devices_pause(m);
		guest_time_stop(m);
	}
	atomic_store(&m->run->state, why);
	if (ran)
		qmp_event(m, "STOP", NULL);
	pthread_mutex_unlock(&m->lock);
}

void machine_cont(struct machine *m)
{
	if (run_state(m) == RS_RUNNING)
		return;
	pthread_mutex_lock(&m->lock);
	guest_time_go_on(m);
	devices_resume(m);
	atomic_store(&m->run->state, RS_RUNNING);
	qmp_event(m, "RESUME", NULL);
	pthread_mutex_unlock(&m->lock);
}

void machine_quit(struct machine *m)
{
	atomic_store(&m->run->quit, true);
	machine_event(m, EV_STOP, 0);
}

/* --------------------------------------------------------------- events */

void machine_event(struct machine *m, enum machine_event ev, int status)
{
	int none = -1;

	if (ev == EV_STOP)
		nbd_disks_wake();
	if (ev == EV_DEBUG_EXIT)
		atomic_compare_exchange_strong(&m->event_status, &none, status);
	atomic_fetch_or(&m->event, 1U << ev);
	loop_stop(m->loop);
}

enum action { ACT_EXIT, ACT_RESET, ACT_PRESERVE, ACT_RESUME };

static enum action lifecycle_action(enum lifecycle l)
{
	switch (l) {
	case LIFE_RESTART:
		return ACT_RESET;
	case LIFE_PRESERVE:
		return ACT_PRESERVE;
	case LIFE_DESTROY:
		break;
	}
	return ACT_EXIT;
}

/*
 * What the domain wants done about the events in bits; the status with which
 * an exit would be. Where several came at once, the gravest counts.
 */
static enum action decide(struct machine *m, unsigned int bits, int *status)
{
	const struct domain *dom = m->dom;

	if (bits & (1U << EV_FATAL)) {
		*status = VMM_ERR_INTERNAL;
		return ACT_EXIT;
	}
	if (bits & (1U << EV_STOP)) {
		*status = incoming_failed(m) ? VMM_ERR_SETUP : VMM_KILLED;
		return ACT_EXIT;
	}
	/*
	 * It stands still because its state is being written, or is elsewhere: what comes now is a
	 * key or a command, and one that let it run could make it run twice.
	 */
	if (m->save || m->template || migrate_owns(m))
		return ACT_RESUME;
	if (bits & (1U << EV_HOST_RESET))
		return ACT_RESET;
	if (bits & (1U << EV_DEBUG_EXIT)) {
		*status = ((m->event_status & 0x7f) << 1) | 1;
		return ACT_EXIT;
	}
	if (bits & (1U << EV_PANIC)) {
		*status = VMM_GUEST_PANIC;
		log_warn("the guest panicked");
		return lifecycle_action(dom->on_crash);
	}
	if (bits & (1U << EV_CRASH)) {
		*status = VMM_GUEST_SHUTDOWN;
		if (dom->on_crash != LIFE_RESTART)
			log_warn("triple fault");
		return lifecycle_action(dom->on_crash);
	}
	*status = VMM_OK;
	if (bits & (1U << EV_POWEROFF))
		return lifecycle_action(dom->on_poweroff);
	if (bits & (1U << EV_RESET))
		return lifecycle_action(dom->on_reboot);
	return ACT_RESUME;
}

static void dump(struct machine *m)
{
	unsigned int i;

	for (i = 0; i < m->nr_vcpus; i++) {
		log_warn("registers of vCPU %u:", m->vcpu[i].id);
		vcpu_dump(&m->vcpu[i]);
	}
}

static void send_event(struct machine *m, const char *name, bool guest, const char *reason)
{
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "guest", json_object_new_boolean(guest));
	json_object_object_add(data, "reason", json_object_new_string(reason));
	pthread_mutex_lock(&m->lock);
	qmp_event(m, name, data);
	pthread_mutex_unlock(&m->lock);
}

static void tell_panic(struct machine *m, enum action act)
{
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "action",
			       json_object_new_string(act == ACT_PRESERVE ? "pause" :
						      act == ACT_RESET ? "run" : "poweroff"));
	pthread_mutex_lock(&m->lock);
	qmp_event(m, "GUEST_PANICKED", data);
	pthread_mutex_unlock(&m->lock);
}

static void tell_end(struct machine *m, unsigned int bits)
{
	bool host = bits & (1U << EV_STOP);
	const char *reason = "guest-shutdown";

	if (bits & (1U << EV_FATAL))
		reason = "subsystem-reset";	/* QMP has no word for it */
	else if (host)
		reason = atomic_load(&m->run->quit) ? "host-qmp-quit" : "host-signal";
	else if (bits & (1U << EV_PANIC | 1U << EV_CRASH))
		reason = "guest-panic";
	else if (!(bits & (1U << EV_POWEROFF)) && bits & (1U << EV_RESET))
		reason = "guest-reset";
	send_event(m, "SHUTDOWN", !host, reason);
}

/* Power-on state; who stood still because of a user does so afterwards. */
static int reset(struct machine *m, unsigned int bits)
{
	bool host = bits & (1U << EV_HOST_RESET);
	enum run_state before = run_state(m);
	int ret;

	pthread_mutex_lock(&m->lock);
	if (before != RS_RUNNING)
		devices_resume(m);
	pthread_mutex_unlock(&m->lock);
	ret = machine_reset(m);
	if (ret)
		return ret;
	pthread_mutex_lock(&m->lock);
	if (before == RS_PAUSED || before == RS_PRELAUNCH || before == RS_DEBUG)
		devices_pause(m);
	else
		atomic_store(&m->run->state, RS_RUNNING);
	pthread_mutex_unlock(&m->lock);
	send_event(m, "RESET", !host, host ? "host-qmp-system-reset" : "guest-reset");
	return 0;
}

static void run_calls(struct machine *m)
{
	struct call *c;

	while ((c = next_call(m))) {
		c->fn(m, c->opaque);
		free(c);
	}
}

/* vCPUs are parked. True: the guest's life goes on; else *status is its end. */
static bool handle_events(struct machine *m, unsigned int bits, int *status)
{
	enum action act;

	if (bits & (1U << EV_DUMP))
		dump(m);
	act = decide(m, bits, status);
	if (bits & (1U << EV_PANIC | 1U << EV_CRASH))
		tell_panic(m, act);
	switch (act) {
	case ACT_EXIT:
		tell_end(m, bits);
		return false;
	case ACT_RESET:
		if (reset(m, bits)) {
			*status = VMM_ERR_INTERNAL;
			return false;
		}
		break;
	case ACT_PRESERVE:
		if (run_state(m) == RS_RUNNING)
			log_warn("the guest stands still, as its XML wants; `hvx reset` or `hvx destroy` goes on from here");
		machine_stop(m, bits & (1U << EV_PANIC | 1U << EV_CRASH) ? RS_PANICKED : RS_SHUTDOWN);
		break;
	case ACT_RESUME:
		break;
	}
	run_calls(m);
	return true;
}

/* Begin with saved state: stopped, as machine_stop() leaves it. */
static int load(struct machine *m)
{
	uint64_t clock_ns;

	pthread_mutex_lock(&m->lock);
	devices_pause(m);
	pthread_mutex_unlock(&m->lock);
	atomic_store(&m->run->state, RS_RESTORE_VM);
	if (machine_load(m, &clock_ns))
		return -EINVAL;
	guest_time_loaded(m, clock_ns);
	atomic_store(&m->run->state, RS_PAUSED);
	return 0;
}

/* Whoever has started us learns that all went well; from here on the guest's end is its own. */
void machine_say_ready(struct machine *m)
{
	if (m->ready_fd < 0)
		return;
	if (write(m->ready_fd, "", 1) != 1)
		log_warn("nobody waits any more for the guest to begin");
	close(m->ready_fd);
	m->ready_fd = -1;
}

/* Begin with nothing, stopped, until a guest comes over the network. */
static int wait_incoming(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	devices_pause(m);
	pthread_mutex_unlock(&m->lock);
	atomic_store(&m->run->state, RS_INMIGRATE);
	return incoming_begin(m);
}

int machine_run(struct machine *m)
{
	int status = VMM_ERR_SETUP;
	unsigned int bits;

	if (vcpus_start(m) || sandbox_enter_thread(SANDBOX_MAIN))
		return VMM_ERR_SETUP;
	vcpus_pause(m);		/* parked, they share in what is loaded */
	if (m->incoming ? wait_incoming(m) : m->load ? load(m) : machine_reset(m))
		return VMM_ERR_SETUP;
	if (m->incoming) {
		; /* it begins when the other side has let go of it */
	} else if (m->load && !m->start_paused) {
		machine_cont(m);
		vcpus_resume(m);
	} else if (!m->start_paused) {
		atomic_store(&m->run->state, RS_RUNNING);
		vcpus_resume(m);
	}
	if (!m->incoming)
		machine_say_ready(m);
	for (;;) {
		loop_run(m->loop);
		if (!atomic_load(&m->event))
			continue;
		/* vCPUs that wait for memory do not park, and who holds the lock may wait, too. */
		if (incoming_partial(m) && atomic_load(&m->event) & (1U << EV_STOP | 1U << EV_FATAL))
			return atomic_load(&m->event) & 1U << EV_FATAL ? VMM_ERR_INTERNAL : VMM_KILLED;
		vcpus_pause(m);
		bits = atomic_exchange(&m->event, 0);
		if (!handle_events(m, bits, &status))
			return status;
		if (run_state(m) == RS_RUNNING)
			vcpus_resume(m);
	}
}
