// SPDX-License-Identifier: GPL-2.0-only
/* Commands of the control socket on disks and network interfaces. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "qmp.h"
#include "runstate.h"

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

/* A list with what fn makes of each device of this kind. */
static struct json_object *each(struct machine *m, enum device_kind kind,
				struct json_object *(*fn)(const struct device *dev, const struct device_stats *s))
{
	struct json_object *list = json_object_new_array();
	struct device *dev;

	for (dev = m->devices; dev; dev = dev->next) {
		struct device_stats s = { 0 };

		if (!dev->ops->stats)
			continue;
		dev->ops->stats(dev, &s);
		if (s.kind == kind)
			json_object_array_add(list, fn(dev, &s));
	}
	return list;
}

/* ---------------------------------------------------------------- disks */

static struct json_object *blockstats(const struct device *dev, const struct device_stats *s)
{
	struct json_object *o = json_object_new_object(), *n = json_object_new_object();

	add_str(o, "device", s->name);
	add_str(o, "qdev", dev->id);
	add_u64(n, "rd_bytes", s->disk.rd_bytes);
	add_u64(n, "wr_bytes", s->disk.wr_bytes);
	add_u64(n, "rd_operations", s->disk.rd_ops);
	add_u64(n, "wr_operations", s->disk.wr_ops);
	add_u64(n, "flush_operations", s->disk.flush_ops);
	add_u64(n, "rd_total_time_ns", s->disk.rd_ns);
	add_u64(n, "wr_total_time_ns", s->disk.wr_ns);
	add_u64(n, "flush_total_time_ns", s->disk.flush_ns);
	add_u64(n, "x-hvx-failed_operations", s->disk.failed);
	json_object_object_add(o, "stats", n);
	return o;
}

static void run_blockstats(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	qmp_reply(req, each(m, DEV_DISK, blockstats));
}

static const struct qmp_command blockstats_command = {
	.name = "query-blockstats", .run = run_blockstats,
	.help = "What was read from and written to each disk since the guest was started.",
	.returns = "a list of {`device`: the disk's `<target dev=>`, `stats`: {`rd_bytes`, `wr_bytes`, `rd_operations`, `wr_operations`, `flush_operations`, `rd_total_time_ns`, `wr_total_time_ns`, `flush_total_time_ns`, `x-hvx-failed_operations`}}",
};
QMP_COMMAND(blockstats_command);

static const char *const rate_key[RATE_NR] = {
	[RATE_BYTES] = "bps", [RATE_BYTES_RD] = "bps_rd", [RATE_BYTES_WR] = "bps_wr",
	[RATE_OPS] = "iops", [RATE_OPS_RD] = "iops_rd", [RATE_OPS_WR] = "iops_wr",
};

static struct json_object *block(const struct device *dev, const struct device_stats *s)
{
	struct json_object *o = json_object_new_object(), *in = json_object_new_object();
	struct json_object *image = json_object_new_object();
	char id[33];

	add_str(o, "device", s->name);
	add_str(o, "qdev", dev->id);
	json_object_object_add(o, "removable", json_object_new_boolean(false));
	add_str(in, "file", s->disk.file);
	add_str(in, "drv", s->disk.layered ? "hvx-layer" : "raw");
	if (s->disk.layered) {
		for (int i = 0; i < 16; i++)
			snprintf(id + 2 * i, 3, "%02x", s->disk.layer[i]);
		add_str(in, "x-hvx-layer", id);
	}
	json_object_object_add(in, "ro", json_object_new_boolean(s->disk.readonly));
	add_u64(image, "virtual-size", s->disk.size);
	add_str(image, "filename", s->disk.file);
	add_str(image, "format", s->disk.layered ? "hvx-layer" : "raw");
	for (unsigned int i = 0; i < RATE_NR; i++)
		add_u64(in, rate_key[i], s->disk.rate[i]);
	json_object_object_add(in, "image", image);
	json_object_object_add(o, "inserted", in);
	return o;
}

static void run_block(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	qmp_reply(req, each(m, DEV_DISK, block));
}

static const struct qmp_command block_command = {
	.name = "query-block", .run = run_block,
	.help = "The disks.",
	.returns = "a list of {`device`, `inserted`: {`file`, `drv`, `ro`, `x-hvx-layer` (the layer's id, docs/snapshots.md), `bps`, `bps_rd`, `bps_wr`, `iops`, `iops_rd`, `iops_wr` (limits; 0: none), `image`: {`virtual-size`, `filename`, `format`}}}",
};
QMP_COMMAND(block_command);

struct resize {
	struct qmp_req *req;
	uint64_t size;
	char target[32];
};

static void resize_now(struct machine *m, void *opaque)
{
	struct resize *r = opaque;
	char why[1024];
	int ret;

	pthread_mutex_lock(&m->lock);
	/* Where it is moved the other host has its disks open, as large as they were. */
	ret = m->devices_held ? -EBUSY : virtio_blk_resize(m, r->target, r->size, why, sizeof(why));
	if (!ret)
		qmp_reply(r->req, NULL);
	else if (ret == -ENODEV)
		qmp_fail_class(r->req, "DeviceNotFound", "%s: no such disk", r->target);
	else if (ret == -EPERM)
		qmp_fail(r->req, "%s: read only, transient, a block device, or it has snapshots (delete them first): its size cannot be changed", r->target);
	else if (ret == -EBUSY)
		qmp_fail(r->req, "%s: the guest is on its way to another host, or from one; try again afterwards", r->target);
	else if (ret == -EINVAL)
		qmp_fail(r->req, "%s: the size is a multiple of the disk's block size, more than 0", r->target);
	else
		qmp_fail(r->req, "%s: %s", r->target, *why ? why : strerror(-ret));
	pthread_mutex_unlock(&m->lock);
	free(r);
}

static void run_resize(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct resize *r = calloc(1, sizeof(*r));

	if (r) {
		r->req = req;
		r->size = (uint64_t)qmp_int(args, "size", 0);
		snprintf(r->target, sizeof(r->target), "%s", qmp_str(args, "device"));
	}
	if (r && !machine_call(m, resize_now, r))
		return;
	free(r);
	qmp_fail(req, "out of memory");
}

static const struct qmp_command resize_command = {
	.name = "block_resize", .run = run_resize,
	.help = "Give a disk's image another size, and tell the guest. What is beyond a smaller size is lost. Of images that are not raw, qcow2 ones can have another size.",
	.args = QMP_ARGS({ "device", QMP_STR, .help = "the disk's `<target dev=>`" },
			 { "size", QMP_INT, .min = 512, .max = INT64_MAX, .help = "bytes" }),
};
QMP_COMMAND(resize_command);

static void run_throttle(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct dom_rate rate[RATE_NR] = { 0 };
	unsigned int i;

	for (i = 0; i < RATE_NR; i++)
		rate[i].rate = (uint64_t)qmp_int(args, rate_key[i], 0);
	for (i = 0; i < RATE_NR; i += RATE_OPS)
		if (rate[i].rate && (rate[i + 1].rate || rate[i + 2].rate)) {
			qmp_fail(req, "%s goes with neither of %s and %s", rate_key[i], rate_key[i + 1], rate_key[i + 2]);
			return;
		}
	if (virtio_blk_set_rates(m, qmp_str(args, "device"), rate))
		qmp_fail_class(req, "DeviceNotFound", "%s: no such disk", qmp_str(args, "device"));
	else
		qmp_reply(req, NULL);
}

#define LIMIT(name, help_) { name, QMP_INT, .optional = true, .min = 0, .max = INT64_MAX, .help = help_ }

static const struct qmp_command throttle_command = {
	.name = "block_set_io_throttle", .run = run_throttle,
	.help = "What a disk may carry in a second, instead of what was said before. What is not given has no limit.",
	.args = QMP_ARGS({ "device", QMP_STR, .help = "the disk's `<target dev=>`" },
			 LIMIT("bps", "bytes; 0: no limit, as for all"), LIMIT("bps_rd", "bytes read"),
			 LIMIT("bps_wr", "bytes written"), LIMIT("iops", "requests"),
			 LIMIT("iops_rd", "requests to read"), LIMIT("iops_wr", "other requests")),
};
QMP_COMMAND(throttle_command);

/* ----------------------------------------------------------- interfaces */

static struct json_object *nic(const struct device *dev, const struct device_stats *s)
{
	struct json_object *o = json_object_new_object();
	const uint8_t *a = s->nic.mac;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]);
	add_str(o, "name", dev->id);
	add_str(o, "mac", mac);
	add_str(o, "type", s->nic.backend);
	add_str(o, "ifname", s->name);
	json_object_object_add(o, "link", json_object_new_boolean(s->nic.link_up));
	json_object_object_add(o, "vhost", json_object_new_boolean(s->nic.in_kernel));
	add_u64(o, "rx-frames", s->nic.rx_frames);
	add_u64(o, "rx-bytes", s->nic.rx_bytes);
	add_u64(o, "rx-dropped", s->nic.rx_dropped);
	add_u64(o, "tx-frames", s->nic.tx_frames);
	add_u64(o, "tx-bytes", s->nic.tx_bytes);
	add_u64(o, "tx-dropped", s->nic.tx_dropped);
	return o;
}

static void run_nics(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	qmp_reply(req, each(m, DEV_NIC, nic));
}

static const struct qmp_command nics_command = {
	.name = "x-hvx-query-nics", .run = run_nics,
	.help = "The network interfaces, and what they carried since the guest was started. Frames that vhost carries are counted by the host's tap device (`ifname`), not here.",
	.returns = "a list of {`name`, `mac`, `type`: `user` or `tap`, `ifname`, `link`, `vhost`, `rx-frames`, `rx-bytes`, `rx-dropped`, `tx-frames`, `tx-bytes`, `tx-dropped`}; received is what the guest received",
};
QMP_COMMAND(nics_command);

/* By its name or its MAC address. NULL: none. */
static const char *find_nic(struct machine *m, const char *what)
{
	struct device *dev;
	char mac[18];

	for (dev = m->devices; dev; dev = dev->next) {
		struct device_stats s = { 0 };
		const uint8_t *a = s.nic.mac;

		if (!dev->ops->stats)
			continue;
		dev->ops->stats(dev, &s);
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]);
		if (s.kind == DEV_NIC && (!strcmp(dev->id, what) || !strcasecmp(mac, what)))
			return dev->id;
	}
	return NULL;
}

static void run_nic_rates(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct dom_rate in = { .rate = (uint64_t)qmp_int(args, "inbound", 0), .peak = (uint64_t)qmp_int(args, "inbound-burst", 0), .peak_s = 1 };
	struct dom_rate out = { .rate = (uint64_t)qmp_int(args, "outbound", 0), .peak = (uint64_t)qmp_int(args, "outbound-burst", 0), .peak_s = 1 };
	const char *id = find_nic(m, qmp_str(args, "id"));
	int ret = id ? virtio_net_set_rates(m, id, &in, &out) : -ENODEV;

	if (!ret)
		qmp_reply(req, NULL);
	else if (ret == -ENODEV)
		qmp_fail_class(req, "DeviceNotFound", "%s: no such interface", qmp_str(args, "id"));
	else
		qmp_fail(req, "%s: the kernel carries its frames (vhost) and knows no limit: give it <driver name='qemu'/>, or <bandwidth> when it starts", id);
}

static const struct qmp_command nic_rates_command = {
	.name = "x-hvx-set-nic-rates", .run = run_nic_rates,
	.help = "What a network interface may carry in a second, instead of what was said before. What is not given has no limit.",
	.args = QMP_ARGS({ "id", QMP_STR, .help = "its `name` in `x-hvx-query-nics`, or its MAC address" },
			 LIMIT("inbound", "bytes that the guest receives; 0: no limit"), LIMIT("inbound-burst", "bytes at once"),
			 LIMIT("outbound", "bytes that it sends"), LIMIT("outbound-burst", "bytes at once")),
};
QMP_COMMAND(nic_rates_command);
