// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-vsock (virtio 1.2, 5.10) through the host's /dev/vhost-vsock: sockets
 * between host and guest. Receive and transmit queues are the kernel's. The event
 * queue tells the driver, after its state was loaded, that all connections are gone
 * and that its CID may be another.
 */
#include <endian.h>
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "devices/virtio/vhost.h"
#include "vmm/qmp.h"

#define DEVICE		"/dev/vhost-vsock"
#define QUEUE_SIZE	128
#define EVENT_QUEUE	2
#define FIRST_CID	3U		/* 0 to 2 are reserved */
#define LAST_AUTO_CID	65535U

struct virtio_vsock {
	struct virtio_device v;
	struct vhost vh;
	bool reset_event;	/* to be sent: connections and perhaps the CID are others now */
};

static void attach(struct virtio_vsock *vs, int on)
{
	if (ioctl(vs->vh.fd, VHOST_VSOCK_SET_RUNNING, &on) < 0)
		log_warn("vsock: the host's kernel refuses to %s: %s", on ? "start" : "stop",
			 strerror(errno));
}

static int vsock_start(struct virtio_device *v)
{
	struct virtio_vsock *vs = (struct virtio_vsock *)v;
	int ret = vhost_start(&vs->vh, v->features);

	if (ret) {
		log_guest("vsock: cannot start: %s", strerror(-ret));
		return ret;
	}
	attach(vs, 1);
	return 0;
}

static void vsock_stop(struct virtio_device *v)
{
	struct virtio_vsock *vs = (struct virtio_vsock *)v;

	if (!vs->vh.running)
		return;
	attach(vs, 0);
	vhost_stop(&vs->vh);
}

static void vsock_pause(struct virtio_device *v)
{
	vsock_stop(v);
}

static void vsock_resume(struct virtio_device *v)
{
	vsock_start(v);
}

static void vsock_vector_changed(struct virtio_device *v, struct virtio_queue *q)
{
	vhost_vector_changed(&((struct virtio_vsock *)v)->vh, q);
}

/* Event buffers stay with the device until there is something to say. */
static void vsock_handle(struct virtio_queue *q)
{
	struct virtio_vsock *vs = (struct virtio_vsock *)q->v;
	struct virtio_vsock_event event = { .id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) };
	struct vq_chain c;

	if (q->index != EVENT_QUEUE || !vs->reset_event || !virtio_pop(q, &c))
		return;
	vs->reset_event = false;
	vq_push(&q->vq, c.head, (uint32_t)iov_write(c.in, c.nr_in, 0, &event, sizeof(event)));
	virtio_publish(q);
}

static void vsock_loaded(struct virtio_device *v)
{
	((struct virtio_vsock *)v)->reset_event = true;
}

/* The CID is the one that this host gave. */
static int vsock_load_config(struct virtio_device *v, const uint8_t *saved, struct state_error *err)
{
	return 0;
}

static const struct virtio_ops vsock_virtio_ops = {
	.start = vsock_start,
	.stop = vsock_stop,
	.handle = vsock_handle,
	.loaded = vsock_loaded,
	.load_config = vsock_load_config,
	.pause = vsock_pause,
	.resume = vsock_resume,
	.vector_changed = vsock_vector_changed,
};

static void vsock_destroy(struct device *dev)
{
	struct virtio_vsock *vs = (struct virtio_vsock *)dev;

	virtio_reset(dev);
	vhost_close(&vs->vh);
	virtio_fini(&vs->v);
	free(vs);
}

static const struct device_ops vsock_ops = {
	.name = "virtio-vsock",
	.xml = "<vsock model='virtio'> with <cid auto= address=>",
	.help = "Sockets between host and guest, by the host's vhost_vsock module.",
	.reset = virtio_reset,
	.pause = virtio_pause,
	.resume = virtio_resume,
	.destroy = vsock_destroy,
	.state = &virtio_state_desc,
};
DEVICE_REGISTER(vsock_ops);

static int set_cid(struct virtio_vsock *vs, uint64_t cid)
{
	return ioctl(vs->vh.fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? -errno : 0;
}

static int choose_cid(struct virtio_vsock *vs, uint64_t *cid)
{
	const struct domain *dom = vs->v.dev.m->dom;
	int ret;

	*cid = dom->vsock.cid;
	if (!dom->vsock.auto_cid || *cid) {
		ret = set_cid(vs, *cid);
		if (ret)
			log_error("vsock: cid %llu: %s%s", (unsigned long long)*cid, strerror(-ret),
				  ret == -EADDRINUSE ? "; another guest has it, use <cid auto='yes'/>" :
				  "; use a number from 3 up");
		return ret;
	}
	for (*cid = FIRST_CID; *cid <= LAST_AUTO_CID; ++*cid) {
		ret = set_cid(vs, *cid);
		if (ret != -EADDRINUSE)
			break;
	}
	if (ret)
		log_error("vsock: no free cid: %s", strerror(-ret));
	else
		log_info("vsock: cid %llu", (unsigned long long)*cid);
	return ret;
}

static void run_query_vsock(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct virtio_vsock_config *c = NULL;
	struct json_object *o;
	struct device *d;

	(void)args;
	for (d = m->devices; d && !c; d = d->next)
		if (d->ops == &vsock_ops)
			c = (void *)((struct virtio_vsock *)d)->v.config;
	if (!c) {
		qmp_fail_class(req, "DeviceNotActive", "the guest has no <vsock>");
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "cid", json_object_new_int64((int64_t)le64toh(c->guest_cid)));
	qmp_reply(req, o);
}

static const struct qmp_command query_vsock_command = {
	.name = "x-hvx-query-vsock", .run = run_query_vsock,
	.help = "The address of the guest's vsock; with `<cid auto='yes'/>`, the one that was free.",
	.returns = "`cid`",
};
QMP_COMMAND(query_vsock_command);

int virtio_vsock_create(struct machine *m)
{
	static const uint16_t sizes[3] = { QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE };
	struct virtio_vsock *vs = calloc(1, sizeof(*vs));
	uint64_t cid;
	int ret;

	if (!vs)
		return -ENOMEM;
	vs->v.no_ring_reset = true;
	vs->vh.fd = -1;
	ret = virtio_init(&vs->v, m, &vsock_ops, &vsock_virtio_ops, VIRTIO_ID_VSOCK, 0,
			  sizeof(struct virtio_vsock_config), 3, sizes, "vsock");
	if (ret) {
		free(vs);
		return ret;
	}
	vs->v.queue[0].external = vs->v.queue[1].external = true;
	ret = vhost_open(&vs->vh, DEVICE, &vs->v, 0, 2);
	if (ret) {
		log_error("vsock: cannot use " DEVICE ": %s; %s", strerror(-ret),
			  ret == -ENOENT || ret == -ENODEV ? "load it: sudo modprobe vhost_vsock" :
			  "give yourself read and write permission on it");
		goto fail;
	}
	ret = choose_cid(vs, &cid);
	if (ret)
		goto fail;
	((struct virtio_vsock_config *)(void *)vs->v.config)->guest_cid = htole64(cid);
	ret = virtio_add_kicks(&vs->v);
	if (!ret)
		return 0;
fail:
	vsock_destroy(&vs->v.dev);
	return ret;
}
