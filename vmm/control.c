// SPDX-License-Identifier: GPL-2.0-only
/* Commands of the control socket that change a guest: run, stand still, reset, end, memory. */
#include <errno.h>
#include <string.h>

#include "devices/device.h"
#include "devices/virtio/balloon.h"
#include "migrate.h"
#include "qmp.h"
#include "runstate.h"
#include "save.h"

/* ------------------------------------------------------------ stop, cont */

static void reply_locked(struct machine *m, struct qmp_req *req)
{
	pthread_mutex_lock(&m->lock);
	qmp_reply(req, NULL);
	pthread_mutex_unlock(&m->lock);
}

static void stop_now(struct machine *m, void *opaque)
{
	if (run_state(m) == RS_RUNNING || run_state(m) == RS_PRELAUNCH)
		machine_stop(m, RS_PAUSED);
	reply_locked(m, opaque);
}

static void run_stop(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	if (machine_call(m, stop_now, req))
		qmp_fail(req, "out of memory");
}

static const struct qmp_command stop_command = {
	.name = "stop", .run = run_stop,
	.help = "Let the guest stand still: no vCPU runs and no device touches its memory when the answer comes. Where it stands already, nothing changes.",
};
QMP_COMMAND(stop_command);

static void cont_now(struct machine *m, void *opaque)
{
	struct state_error err = { .text = "" };
	enum run_state s = run_state(m);

	if (machine_unshare(m, &err)) {
		pthread_mutex_lock(&m->lock);
		qmp_fail(opaque, "the guest is a template and cannot go on: %s; fork it once more instead", err.text);
		pthread_mutex_unlock(&m->lock);
		return;
	}
	if (s == RS_RUNNING || s == RS_PAUSED || s == RS_PRELAUNCH) {
		machine_cont(m);
		reply_locked(m, opaque);
		return;
	}
	pthread_mutex_lock(&m->lock);
	qmp_fail(opaque, "the guest is in state %s and cannot go on%s", run_state_name(s),
		 s == RS_SHUTDOWN || s == RS_PANICKED ? "; system_reset starts it anew" :
		 s == RS_POSTMIGRATE ? ": it runs elsewhere; see x-hvx-migrate-recover" : "");
	pthread_mutex_unlock(&m->lock);
}

static void run_cont(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	if (machine_call(m, cont_now, req))
		qmp_fail(req, "out of memory");
}

static const struct qmp_command cont_command = {
	.name = "cont", .run = run_cont,
	.help = "Let the guest go on after `stop`. A guest that was preserved after its power-off or panic needs `system_reset` first.",
};
QMP_COMMAND(cont_command);

/* ------------------------------------------------------- power and reset */

static void run_powerdown(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	acpi_pm_power_button(m);
	qmp_event(m, "POWERDOWN", NULL);
	qmp_reply(req, NULL);
}

static const struct qmp_command powerdown_command = {
	.name = "system_powerdown", .run = run_powerdown,
	.help = "Press the guest's ACPI power button. What follows is the guest's choice; event SHUTDOWN when it has.",
};
QMP_COMMAND(powerdown_command);

static void run_reset(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	if (m->save || m->template || migrate_owns(m)) {
		qmp_fail(req, migrate_owns(m) ? "the guest is on its way to another host, or there" :
			 m->template ? "the guest is a template: its forks share its memory" :
			 "the guest's state is being written; try again when that has ended");
		return;
	}
	machine_event(m, EV_HOST_RESET, 0);
	qmp_reply(req, NULL);
}

static const struct qmp_command reset_command = {
	.name = "system_reset", .run = run_reset,
	.help = "Reset the guest, whatever its `<on_reboot>` says; event RESET when it was. One that was stopped stays so, at its power-on state.",
};
QMP_COMMAND(reset_command);

static void run_quit(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	qmp_reply(req, NULL);
	machine_quit(m);
}

static const struct qmp_command quit_command = {
	.name = "quit", .run = run_quit,
	.help = "End the guest at once. The VMM's exit status is 70.",
};
QMP_COMMAND(quit_command);

static void run_nmi(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	unsigned int i;

	(void)args;
	for (i = 0; i < m->nr_vcpus; i++)
		if (!m->vcpu[i].absent)
			hv_nmi(&m->vcpu[i].hv);
	qmp_reply(req, NULL);
}

static const struct qmp_command nmi_command = {
	.name = "inject-nmi", .run = run_nmi,
	.help = "Send a non-maskable interrupt to every vCPU.",
};
QMP_COMMAND(nmi_command);

/* --------------------------------------------------------------- memory */

static void run_balloon(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	switch (balloon_set_target(m, (uint64_t)qmp_int(args, "value", 0))) {
	case 0:
		qmp_reply(req, NULL);
		break;
	case -ENODEV:
		qmp_fail_class(req, "DeviceNotActive", "the guest has no <memballoon>");
		break;
	default:
		qmp_fail(req, "value: the guest was made with %llu bytes and cannot have more",
			 (unsigned long long)m->mem.boot_size);
	}
}

static const struct qmp_command balloon_command = {
	.name = "balloon", .run = run_balloon,
	.help = "Let the guest have this much memory, by its balloon. It follows in its own time: see `query-balloon`.",
	.args = QMP_ARGS({ "value", QMP_INT, .min = 4096, .max = INT64_MAX, .help = "bytes" }),
};
QMP_COMMAND(balloon_command);
