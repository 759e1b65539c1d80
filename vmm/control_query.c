// SPDX-License-Identifier: GPL-2.0-only
/* Commands of the control socket that only ask. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "devices/virtio/balloon.h"
#include "qmp.h"
#include "runstate.h"

static void add_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s ? s : ""));
}

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

/* ------------------------------------------------------------- identity */

static void run_status(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o = json_object_new_object();
	enum run_state s = run_state(m);

	(void)args;
	add_str(o, "status", run_state_name(s));
	add_bool(o, "running", s == RS_RUNNING);
	qmp_reply(req, o);
}

static const struct qmp_command status_command = {
	.name = "query-status", .run = run_status,
	.help = "Does the guest run?",
	.returns = "`status`: `running`, `paused`, `prelaunch`, `shutdown`, `guest-panicked`, `save-vm`, `restore-vm`, `inmigrate`, `finish-migrate` or `postmigrate`; `running` (bool)",
};
QMP_COMMAND(status_command);

static void run_name(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o = json_object_new_object();

	(void)args;
	add_str(o, "name", m->dom->name);
	qmp_reply(req, o);
}

static const struct qmp_command name_command = {
	.name = "query-name", .run = run_name, .help = "The guest's name.", .returns = "`name`",
};
QMP_COMMAND(name_command);

static void run_uuid(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o = json_object_new_object();
	const uint8_t *u = m->dom->uuid;
	char text[37];

	(void)args;
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
	add_str(o, "UUID", text);
	qmp_reply(req, o);
}

static const struct qmp_command uuid_command = {
	.name = "query-uuid", .run = run_uuid, .help = "The guest's UUID.", .returns = "`UUID`",
};
QMP_COMMAND(uuid_command);

static void run_module(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const struct hvx_info *i = &m->hv.info;
	struct json_object *o = json_object_new_object();

	(void)args;
	add_u64(o, "api-version", i->api_version);
	add_str(o, "backend", i->backend);
	add_u64(o, "features", i->features);
	add_u64(o, "tsc-khz", i->tsc_khz);
	qmp_reply(req, o);
}

static const struct qmp_command module_command = {
	.name = "x-hvx-query-module", .run = run_module,
	.help = "What the kernel module said of itself when the guest was made (docs/api.md, HVX_GET_INFO).",
	.returns = "`api-version`, `backend` (`svm` or `vmx`), `features` (bits), `tsc-khz`",
};
QMP_COMMAND(module_command);

/* ------------------------------------------------------------- commands */

static void run_commands(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_new_array(), *o;
	const struct qmp_command **cmd;
	size_t i, n;

	(void)m;
	(void)args;
	cmd = qmp_sorted(&n);
	for (i = 0; cmd && i < n; i++) {
		o = json_object_new_object();
		add_str(o, "name", cmd[i]->name);
		json_object_array_add(list, o);
	}
	free(cmd);
	qmp_reply(req, list);
}

static const struct qmp_command commands_command = {
	.name = "query-commands", .run = run_commands,
	.help = "The names of all commands.", .returns = "a list of {`name`}",
};
QMP_COMMAND(commands_command);

static void run_help(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_new_array();
	const struct qmp_command **cmd;
	size_t i, n;

	(void)m;
	(void)args;
	cmd = qmp_sorted(&n);
	for (i = 0; cmd && i < n; i++)
		json_object_array_add(list, qmp_describe(cmd[i]));
	free(cmd);
	qmp_reply(req, list);
}

static const struct qmp_command help_command = {
	.name = "x-hvx-commands", .run = run_help,
	.help = "All commands with their arguments, as this page has them.",
	.returns = "a list of {`name`, `help`, `arguments`: list of {`name`, `type`, `optional`, `help`, `min`, `max`, `values`}, `returns`}",
};
QMP_COMMAND(help_command);

/* ----------------------------------------------------------------- CPUs */

static void run_cpus(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_new_array();
	char path[64];
	unsigned int i;

	(void)args;
	for (i = 0; i < m->nr_vcpus; i++) {
		struct json_object *o;

		if (m->vcpu[i].absent)
			continue;
		o = json_object_new_object();
		snprintf(path, sizeof(path), "/machine/cpu[%u]", i);
		add_u64(o, "cpu-index", i);
		add_str(o, "qom-path", path);
		json_object_object_add(o, "thread-id", json_object_new_int(m->vcpu[i].tid));
		add_u64(o, "x-hvx-apic-id", m->vcpu[i].id);
		add_str(o, "target", "x86_64");
		json_object_array_add(list, o);
	}
	qmp_reply(req, list);
}

static const struct qmp_command cpus_command = {
	.name = "query-cpus-fast", .run = run_cpus,
	.help = "The vCPUs and the host threads that run them.",
	.returns = "a list of {`cpu-index`, `thread-id`, `qom-path`, `target`, `x-hvx-apic-id`}",
};
QMP_COMMAND(cpus_command);

/* ----------------------------------------------------------- statistics */

static struct json_object *one_stat(const char *name, uint64_t value)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "name", name);
	add_u64(o, "value", value);
	return o;
}

static struct json_object *stats_list(const struct hvx_stats *s)
{
	struct json_object *list = json_object_new_array();

#define STAT(counter) json_object_array_add(list, one_stat(#counter, s->counter))
	HVX_STATS(STAT);
#undef STAT
	return list;
}

static struct json_object *provider(const char *path, const struct hvx_stats *s)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "provider", "hvx");
	if (path)
		add_str(o, "qom-path", path);
	json_object_object_add(o, "stats", stats_list(s));
	return o;
}

static void run_stats(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_new_array();
	struct hvx_stats s;
	char path[64];
	unsigned int i;
	int ret = 0;

	if (!strcmp(qmp_str(args, "target"), "vm")) {
		ret = hv_vm_stats(&m->hv, &s);
		if (!ret)
			json_object_array_add(list, provider(NULL, &s));
	} else {
		for (i = 0; i < m->nr_vcpus && !ret; i++) {
			ret = hv_vcpu_stats(&m->vcpu[i].hv, &s);
			snprintf(path, sizeof(path), "/machine/cpu[%u]", i);
			if (!ret)
				json_object_array_add(list, provider(path, &s));
		}
	}
	if (!ret) {
		qmp_reply(req, list);
		return;
	}
	json_object_put(list);
	qmp_fail(req, "the module gives no counters: %s", strerror(-ret));
}

static const char *const stats_targets[] = { "vm", "vcpu", NULL };
static const struct qmp_command stats_command = {
	.name = "query-stats", .run = run_stats,
	.help = "The kernel module's counters (docs/api.md, HVX_GET_STATS), since the guest was started.",
	.args = QMP_ARGS({ "target", QMP_STR, .choices = stats_targets, .help = "sums, or each vCPU" }),
	.returns = "a list of {`provider`: `hvx`, `qom-path` (of vCPUs), `stats`: list of {`name`, `value`}}",
};
QMP_COMMAND(stats_command);

/* virtio 1.2, 5.5.6.3 */
static const char *const balloon_stat[BALLOON_STATS] = {
	"swap-in", "swap-out", "major-faults", "minor-faults", "free", "total", "available",
	"disk-caches", "hugetlb-allocations", "hugetlb-failures",
};

static void run_query_balloon(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o, *stats;
	struct balloon_stats bs;
	uint64_t bytes;
	unsigned int i;

	(void)args;
	if (balloon_query(m, &bytes, &bs)) {
		qmp_fail_class(req, "DeviceNotActive", "the guest has no <memballoon>");
		return;
	}
	o = json_object_new_object();
	stats = json_object_new_object();
	add_u64(o, "actual", bytes);
	add_u64(o, "x-hvx-maximum", m->mem.boot_size);
	for (i = 0; i < BALLOON_STATS; i++)
		if (balloon_stat[i] && (bs.valid >> i & 1))
			add_u64(stats, balloon_stat[i], bs.value[i]);
	json_object_object_add(o, "x-hvx-stats", stats);
	qmp_reply(req, o);
}

static const struct qmp_command query_balloon_command = {
	.name = "query-balloon", .run = run_query_balloon,
	.help = "How much memory the guest says that it has, and what else its balloon's driver tells.",
	.returns = "`actual` and `x-hvx-maximum` (bytes); `x-hvx-stats`: those of virtio 1.2, 5.5.6.3, that the guest gave (`<stats period=>`)",
};
QMP_COMMAND(query_balloon_command);
