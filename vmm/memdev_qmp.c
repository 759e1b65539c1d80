// SPDX-License-Identifier: GPL-2.0-only
/* QMP on memory devices, and their place in the guest's XML. */
#include <errno.h>
#include <string.h>

#include "devices/virtio/mem.h"
#include "hotplug.h"
#include "livexml.h"
#include "memdev.h"
#include "qmp.h"

int memdev_name(struct machine *m, unsigned int n)
{
	struct mem_device_info i;
	const char *why = "out of memory";
	size_t len;
	char *text;

	if (!m->xml || !mem_device_info(m, n, &i))
		return 0;
	text = livexml_memdev(m->xml, m->xml_len, i.id, i.requested, i.addr, &len, &why);
	if (!text) {
		log_error("cannot write <memory> %s into the guest's XML: %s", i.id, why);
		return -ENOMEM;
	}
	hotplug_set_xml(m, text, len);
	return 0;
}

static bool find(struct machine *m, const char *path, unsigned int *n, struct mem_device_info *info)
{
	static const char peripheral[] = "/machine/peripheral/";

	if (!strncmp(path, peripheral, sizeof(peripheral) - 1))
		path += sizeof(peripheral) - 1;
	for (*n = 0; mem_device_info(m, *n, info); ++*n)
		if (!strcmp(info->id, path))
			return true;
	return false;
}

void memdev_pin(struct machine *m, const char *id)
{
	struct mem_device_info i;
	unsigned int n;

	if (find(m, id, &n, &i))
		memdev_name(m, n);
}

static void run_qom_set(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const char *path = qmp_str(args, "path"), *why = hotplug_not_now(m);
	int64_t bytes = qmp_int(args, "value", 0);
	struct mem_device_info i;
	unsigned int n;

	if (!find(m, path, &n, &i)) {
		qmp_fail_class(req, "DeviceNotFound", "%s: no memory device of this name", path);
	} else if (why) {
		qmp_fail(req, "%s: %s", path, why);
	} else if (mem_device_request(m, i.id, (uint64_t)bytes)) {
		qmp_fail(req, "%s: a multiple of %llu bytes, and no more than %llu", path, (unsigned long long)i.block,
			 (unsigned long long)i.size);
	} else {
		memdev_name(m, n);
		qmp_reply(req, NULL);
	}
}

static const char *const properties[] = { "requested-size", NULL };
static const struct qmp_command qom_set_command = {
	.name = "qom-set", .run = run_qom_set,
	.help = "Ask a memory device's driver to give the guest more memory, or take some back. The guest follows in its own time: event MEMORY_DEVICE_SIZE_CHANGE.",
	.args = QMP_ARGS({ "path", QMP_STR, .help = "the device's id, `/machine/peripheral/` may stand before it" },
			 { "property", QMP_STR, .choices = properties, .help = "what to set" },
			 { "value", QMP_INT, .min = 0, .max = INT64_MAX, .help = "bytes" }),
};
QMP_COMMAND(qom_set_command);

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void run_query(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_new_array(), *o, *data;
	struct mem_device_info i;
	unsigned int n;

	(void)args;
	for (n = 0; mem_device_info(m, n, &i); n++) {
		o = json_object_new_object();
		data = json_object_new_object();
		json_object_object_add(data, "id", json_object_new_string(i.id));
		add_u64(data, "memaddr", i.addr);
		add_u64(data, "requested-size", i.requested);
		add_u64(data, "size", i.plugged);
		add_u64(data, "max-size", i.size);
		add_u64(data, "block-size", i.block);
		add_u64(data, "node", 0);
		json_object_object_add(o, "type", json_object_new_string("virtio-mem"));
		json_object_object_add(o, "data", data);
		json_object_array_add(list, o);
	}
	qmp_reply(req, list);
}

static const struct qmp_command query_command = {
	.name = "query-memory-devices", .run = run_query,
	.help = "The guest's memory devices, and how much memory each gives it now.",
	.returns = "a list of {`type`: `virtio-mem`, `data`: {`id`, `memaddr`, `requested-size`, `size`, `max-size`, `block-size`, `node`}}",
};
QMP_COMMAND(query_command);

static void run_summary(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o = json_object_new_object();
	struct mem_device_info i;
	uint64_t plugged = 0;
	unsigned int n;

	(void)args;
	for (n = 0; mem_device_info(m, n, &i); n++)
		plugged += i.plugged;
	add_u64(o, "base-memory", m->mem.boot_size);
	add_u64(o, "plugged-memory", plugged);
	qmp_reply(req, o);
}

static const struct qmp_command summary_command = {
	.name = "query-memory-size-summary", .run = run_summary,
	.help = "What the guest began with, and what its memory devices give it now.",
	.returns = "`base-memory` and `plugged-memory`, bytes",
};
QMP_COMMAND(summary_command);
