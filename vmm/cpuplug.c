// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs that come and go while the guest runs. All that can be (<vcpu>) are made when
 * the guest is; those that it has not are parked, and run nothing whatever the guest
 * sends them. One that shall go stays until the guest has let go of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "devices/device.h"
#include "hotplug.h"
#include "livexml.h"
#include "qmp.h"
#include "runstate.h"

static unsigned int count(uint64_t bits)
{
	return (unsigned int)__builtin_popcountll(bits);
}

static void update_xml(struct machine *m)
{
	const char *why = NULL;
	size_t len;
	char *text = m->xml ? livexml_vcpus(m->xml, m->xml_len, count(m->cpus_present), 0, &len, &why) : NULL;

	if (text)
		hotplug_set_xml(m, text, len);
}

static uint64_t present_now(const struct machine *m)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		bits |= (uint64_t)!m->vcpu[i].absent << i;
	return bits;
}

/* On the main thread, no vCPU runs: those that the guest has let go of are parked from now on. */
static void finish_eject(struct machine *m, void *opaque)
{
	struct json_object *data;
	char name[16], path[64];
	unsigned int i;

	(void)opaque;
	pthread_mutex_lock(&m->lock);
	for (i = 1; i < m->nr_vcpus; i++) {
		if (m->cpus_present >> i & 1 || m->vcpu[i].absent)
			continue;
		vcpu_set_present(m, i, false);
		snprintf(name, sizeof(name), "vcpu%u", i);
		snprintf(path, sizeof(path), "/machine/cpu[%u]", i);
		data = json_object_new_object();
		json_object_object_add(data, "device", json_object_new_string(name));
		json_object_object_add(data, "path", json_object_new_string(path));
		qmp_event(m, "DEVICE_DELETED", data);
		log_info("vCPU %u is gone: the guest has let go of it", i);
	}
	update_xml(m);
	pthread_mutex_unlock(&m->lock);
}

void hotplug_cpu_ejected(struct machine *m, unsigned int cpu)
{
	if (!cpu || cpu >= m->nr_vcpus || !(m->cpus_present >> cpu & 1))
		return;
	/* Its _STA is to say so at once. */
	m->cpus_present &= ~(1ULL << cpu);
	if (machine_call(m, finish_eject, NULL))
		log_error("vCPU %u: out of memory; it goes with the next one", cpu);
}

struct set_vcpus {
	struct qmp_req *req;
	unsigned int want;
};

/* The lowest that are not there come; the highest that are shall go. */
static void set_now(struct machine *m, void *opaque)
{
	struct set_vcpus *s = opaque;
	uint64_t up = 0, down = 0, have;
	const char *why;
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	/* A save or a move may have begun since it was asked for. */
	why = hotplug_not_now(m);
	if (why) {
		qmp_fail(s->req, "%s", why);
		pthread_mutex_unlock(&m->lock);
		free(s);
		return;
	}
	have = m->cpus_present & present_now(m);
	for (i = 1; i < m->nr_vcpus && count(have | up) < s->want && !ret; i++) {
		/* One that is just being let go of is not there, and not to be had yet. */
		if (have >> i & 1 || !m->vcpu[i].absent)
			continue;
		ret = vcpu_set_present(m, i, true);
		if (!ret)
			up |= 1ULL << i;
	}
	for (i = m->nr_vcpus; i-- > 1 && count(have & ~down) > s->want;)
		down |= have & 1ULL << i;
	m->cpus_present |= up;
	if (up | down)
		acpi_hotplug_cpus(m, up, down);
	if (up)
		update_xml(m);
	if (ret)
		qmp_fail(s->req, "a vCPU cannot be set to its power-on state: %s", strerror(-ret));
	else
		qmp_reply(s->req, NULL);
	pthread_mutex_unlock(&m->lock);
	free(s);
}

static void run_set_vcpus(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct set_vcpus *s = calloc(1, sizeof(*s));
	const char *why = hotplug_not_now(m);

	if (s) {
		s->req = req;
		s->want = (unsigned int)qmp_int(args, "vcpus", 1);
	}
	if (!why && s && s->want > m->nr_vcpus)
		qmp_fail(req, "%u vCPUs are the most that the guest can have (<vcpu>)", m->nr_vcpus);
	else if (why)
		qmp_fail(req, "%s", why);
	else if (!s || machine_call(m, set_now, s))
		qmp_fail(req, "out of memory");
	else
		return;
	free(s);
}

static const struct qmp_command set_vcpus_command = {
	.name = "x-hvx-set-vcpus", .run = run_set_vcpus,
	.help = "Let the guest have so many vCPUs, up to <vcpu>. Those that come are there at once; those that shall go do with event DEVICE_DELETED (`device`: vcpuN), when the guest lets go of them.",
	.args = QMP_ARGS({ "vcpus", QMP_INT, .min = 1, .max = HVX_MAX_VCPUS, .help = "how many" }),
};
QMP_COMMAND(set_vcpus_command);

static void run_hotpluggable(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	(void)args;
	for (i = m->nr_vcpus; i--;) {
		struct json_object *o = json_object_new_object(), *props = json_object_new_object();
		char path[64];

		snprintf(path, sizeof(path), "/machine/cpu[%u]", i);
		json_object_object_add(o, "type", json_object_new_string("host-x86_64-cpu"));
		json_object_object_add(o, "vcpus-count", json_object_new_int(1));
		if (m->cpus_present >> i & 1)
			json_object_object_add(o, "qom-path", json_object_new_string(path));
		json_object_object_add(props, "x-hvx-cpu-index", json_object_new_int((int)i));
		json_object_object_add(props, "x-hvx-apic-id", json_object_new_int((int)m->vcpu[i].id));
		json_object_object_add(o, "props", props);
		json_object_array_add(list, o);
	}
	qmp_reply(req, list);
}

static const struct qmp_command hotpluggable_command = {
	.name = "query-hotpluggable-cpus", .run = run_hotpluggable,
	.help = "The vCPUs that the guest can have; those that it has are told by `qom-path`. See `x-hvx-set-vcpus`.",
	.returns = "a list of {`type`, `vcpus-count`, `qom-path` (of those that are there), `props`: {`x-hvx-cpu-index`, `x-hvx-apic-id`}}",
};
QMP_COMMAND(hotpluggable_command);
