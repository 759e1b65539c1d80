// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is plugged into a running guest, and what goes: QMP's blockdev-add, netdev_add,
 * device_add, device_del and their partners. Nodes (what a disk or an interface stands
 * on) and devices are on the main thread, under the machine lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "devices/net/backend.h"
#include "devices/pci.h"
#include "devices/storage/foreign.h"
#include "devices/storage/image.h"
#include "devices/virtio/mem.h"
#include "hotplug.h"
#include "livexml.h"
#include "memdev.h"
#include "qmp.h"
#include "runstate.h"

#define MAX_NODES	64

struct node {
	char name[64];
	bool is_net, auto_del, used;
	struct dom_disk disk;		/* file and options; of it, what a node says */
	int fd, fd_buffered;		/* disk */
	unsigned int align;
	bool stream;			/* network: a socket to a helper; else tap queues */
	unsigned int nr_fds;
	int fds[NET_MAX_QUEUES], vhost[NET_MAX_QUEUES];	/* vhost[0] -1: none */
	LIST_ENTRY(node) link;
};

/* A device that came with device_add. */
struct plugged {
	struct device *dev;
	struct dom_disk disk;		/* one of them, which the device looks at */
	struct dom_nic nic;
	struct dom_memdev mem;
	struct node *node;		/* NULL: memory */
	bool in_xml;
	LIST_ENTRY(plugged) link;
};

struct hotplug {
	unsigned int nr_nodes;
	char stale[120];			/* why the XML is not the guest's any more; "" it is */
	LIST_HEAD(, node) nodes;
	LIST_HEAD(, plugged) devices;
};

static struct hotplug *state(struct machine *m)
{
	if (!m->hotplug) {
		m->hotplug = calloc(1, sizeof(*m->hotplug));
		if (m->hotplug) {
			LIST_INIT(&m->hotplug->nodes);
			LIST_INIT(&m->hotplug->devices);
		}
	}
	return m->hotplug;
}

/* ---------------------------------------------------------------- nodes */

static struct node *find_node(struct machine *m, const char *name, bool is_net)
{
	struct node *n = NULL;

	if (m->hotplug)
		LIST_FOREACH(n, &m->hotplug->nodes, link)
			if (n->is_net == is_net && !strcmp(n->name, name))
				break;
	return n;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void node_free(struct hotplug *h, struct node *n)
{
	unsigned int i;

	LIST_REMOVE(n, link);
	h->nr_nodes--;
	close_fd(n->fd);
	close_fd(n->fd_buffered);
	for (i = 0; i < NET_MAX_QUEUES; i++) {
		close_fd(n->fds[i]);
		close_fd(n->vhost[i]);
	}
	dom_disk_free(&n->disk);
	free(n);
}

/* NULL after qmp_fail(). */
static struct node *node_new(struct machine *m, struct qmp_req *req, const char *name, bool is_net)
{
	struct hotplug *h = state(m);
	struct node *n = NULL;
	unsigned int i;

	if (!*name || strlen(name) >= sizeof(n->name)) {
		qmp_fail(req, "%s: a name has 1 to %zu characters", name, sizeof(n->name) - 1);
		return NULL;
	}
	if (find_node(m, name, is_net)) {
		qmp_fail(req, "%s: there is one of this name", name);
		return NULL;
	}
	if (h && h->nr_nodes >= MAX_NODES) {
		qmp_fail(req, "%s: there are %u already", name, h->nr_nodes);
		return NULL;
	}
	n = h ? calloc(1, sizeof(*n)) : NULL;
	if (!n) {
		qmp_fail(req, "out of memory");
		return NULL;
	}
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->is_net = is_net;
	n->fd = n->fd_buffered = -1;
	for (i = 0; i < NET_MAX_QUEUES; i++)
		n->fds[i] = n->vhost[i] = -1;
	LIST_INSERT_HEAD(&h->nodes, n, link);
	h->nr_nodes++;
	return n;
}

static void run_blockdev_add(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *cache = json_object_object_get(args, "cache");
	const char *buffered = qmp_str(args, "x-hvx-fd-buffered"), *discard = qmp_str(args, "discard");
	bool direct = qmp_bool(cache, "direct", false), flush = !qmp_bool(cache, "no-flush", false);
	struct node *n = node_new(m, req, qmp_str(args, "node-name"), false);

	if (!n)
		return;
	n->fd = qmp_take_fd(req, qmp_str(args, "x-hvx-fd"));
	n->fd_buffered = buffered ? qmp_take_fd(req, buffered) : -1;
	n->align = (unsigned int)qmp_int(args, "x-hvx-align", 1);
	n->auto_del = qmp_bool(args, "x-hvx-auto-del", false);
	n->disk.file = strdup(qmp_str(args, "filename"));
	n->disk.block = !strcmp(qmp_str(args, "driver"), "host_device");
	foreign_format(qmp_str(args, "driver"), &n->disk.format);
	n->disk.readonly = qmp_bool(args, "read-only", false);
	n->disk.discard_unmap = discard && !strcmp(discard, "unmap");
	n->disk.cache = !flush ? CACHE_UNSAFE :
			qmp_bool(args, "x-hvx-write-through", false) ?
			(direct ? CACHE_DIRECTSYNC : CACHE_WRITETHROUGH) :
			direct ? CACHE_NONE : CACHE_WRITEBACK;
	if (n->fd < 0 || (buffered && n->fd_buffered < 0))
		qmp_fail(req, "%s: no descriptor of that name came before: send it with getfd", n->name);
	else if (!n->disk.file)
		qmp_fail(req, "out of memory");
	else {
		qmp_reply(req, NULL);
		return;
	}
	node_free(m->hotplug, n);
}

static const struct qmp_command blockdev_add_command = {
	.name = "blockdev-add", .run = run_blockdev_add,
	.help = "Make an image known that `device_add` then gives to the guest. It was opened by the client, and its locks taken, as the VMM opens nothing.",
	.args = QMP_ARGS({ "node-name", QMP_STR, .help = "its name" },
			 { "driver", QMP_STR, .choices = (const char *const[]){ "file", "host_device", "qcow2", "qed", "vdi", "vmdk", "vhdx", "vpc", NULL }, .help = "what it is" },
			 { "filename", QMP_STR, .help = "its path, for messages and queries" },
			 { "x-hvx-fd", QMP_STR, .help = "the image, by its `getfd` name; of one that is not raw, the socket of the helper that has it open" },
			 { "x-hvx-fd-buffered", QMP_STR, .optional = true, .help = "with O_DIRECT on the first: the same without" },
			 { "x-hvx-align", QMP_INT, .optional = true, .min = 1, .max = 4096, .help = "what O_DIRECT wants requests to be multiples of; 1 without it" },
			 { "read-only", QMP_BOOL, .optional = true, .help = "default: no" },
			 { "cache", QMP_OBJ, .optional = true, .help = "`direct` (bool), `no-flush` (bool): the guest's flushes do nothing" },
			 { "x-hvx-write-through", QMP_BOOL, .optional = true, .help = "the image was opened with O_DSYNC" },
			 { "discard", QMP_STR, .optional = true, .choices = (const char *const[]){ "ignore", "unmap", NULL }, .help = "default: ignore" },
			 { "x-hvx-auto-del", QMP_BOOL, .optional = true, .help = "it goes with its device" }),
};
QMP_COMMAND(blockdev_add_command);

/* "a:b": descriptors by their names. How many, -1: one is not there, or there are too many. */
static int take_fds(struct qmp_req *req, const char *names, int fd[NET_MAX_QUEUES])
{
	char *copy = strdup(names), *save = NULL, *name = copy ? strtok_r(copy, ":", &save) : NULL;
	unsigned int n;

	for (n = 0; name && n < NET_MAX_QUEUES; n++) {
		fd[n] = qmp_take_fd(req, name);
		if (fd[n] < 0)
			break;
		name = strtok_r(NULL, ":", &save);
	}
	free(copy);
	return name ? -1 : (int)n;
}

static void run_netdev_add(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const char *fds = qmp_str(args, "fds"), *vhost = qmp_str(args, "vhostfds");
	struct node *n = node_new(m, req, qmp_str(args, "id"), true);
	int got, nr_vhost;

	if (!n)
		return;
	n->stream = !strcmp(qmp_str(args, "type"), "stream");
	n->auto_del = qmp_bool(args, "x-hvx-auto-del", false);
	got = take_fds(req, fds, n->fds);
	nr_vhost = vhost && got > 0 ? take_fds(req, vhost, n->vhost) : 0;
	n->nr_fds = got > 0 ? (unsigned int)got : 0;
	if (got <= 0 || nr_vhost < 0) {
		qmp_fail(req, "%s: no descriptor of one of the names came before (send it with getfd), or there are more than %d", n->name, NET_MAX_QUEUES);
	} else if ((n->stream && (got > 1 || nr_vhost)) || (nr_vhost && nr_vhost != got)) {
		qmp_fail(req, "%s: one vhost descriptor for each of a tap's queues; a stream has one queue and no vhost", n->name);
	} else {
		qmp_reply(req, NULL);
		return;
	}
	node_free(m->hotplug, n);
}

static const struct qmp_command netdev_add_command = {
	.name = "netdev_add", .run = run_netdev_add,
	.help = "Make a network known that `device_add` then connects an interface to.",
	.args = QMP_ARGS({ "type", QMP_STR, .choices = (const char *const[]){ "tap", "stream", NULL }, .help = "a tap device with virtio-net headers of 12 bytes; or a socket on which each frame follows its length (32 bits, big-endian), as passt and `hvx-net-slirp` speak it" },
			 { "id", QMP_STR, .help = "its name" },
			 { "fds", QMP_STR, .help = "the descriptors by their `getfd` names, one for each queue, with colons between" },
			 { "vhostfds", QMP_STR, .optional = true, .help = "of a tap: /dev/vhost-net, opened once for each queue" },
			 { "x-hvx-auto-del", QMP_BOOL, .optional = true, .help = "it goes with its device" }),
};
QMP_COMMAND(netdev_add_command);

static void node_del(struct machine *m, struct qmp_req *req, const char *name, bool is_net)
{
	struct node *n = find_node(m, name, is_net);

	if (!n) {
		qmp_fail_class(req, "DeviceNotFound", "%s: there is none of this name", name);
	} else if (n->used) {
		qmp_fail(req, "%s: a device of the guest is on it; see device_del", name);
	} else {
		node_free(m->hotplug, n);
		qmp_reply(req, NULL);
	}
}

static void run_blockdev_del(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	node_del(m, req, qmp_str(args, "node-name"), false);
}

static const struct qmp_command blockdev_del_command = {
	.name = "blockdev-del", .run = run_blockdev_del,
	.help = "Close an image that `blockdev-add` made known and no device is on.",
	.args = QMP_ARGS({ "node-name", QMP_STR, .help = "its name" }),
};
QMP_COMMAND(blockdev_del_command);

static void run_netdev_del(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	node_del(m, req, qmp_str(args, "id"), true);
}

static const struct qmp_command netdev_del_command = {
	.name = "netdev_del", .run = run_netdev_del,
	.help = "Close a network that `netdev_add` made known and no device is on.",
	.args = QMP_ARGS({ "id", QMP_STR, .help = "its name" }),
};
QMP_COMMAND(netdev_del_command);

/* -------------------------------------------------------------- devices */

static enum xml_dev kind_of(const struct device *d)
{
	return !strncmp(d->id, "disk ", 5) ? XML_DISK : !strncmp(d->id, "memory ", 7) ? XML_MEM : XML_NIC;
}

static const char *short_id(const struct device *d)
{
	static const unsigned int prefix[] = { [XML_DISK] = 5, [XML_NIC] = 0, [XML_MEM] = 7 };

	return d->id + prefix[kind_of(d)];
}

/* "vda", "disk vda", "net0", "virtiomem0". */
static struct device *find_device(struct machine *m, const char *id)
{
	struct device *d;

	for (d = m->devices; d; d = d->next)
		if (!strcmp(d->id, id) || !strcmp(short_id(d), id))
			return d;
	return NULL;
}

static struct plugged *find_plugged(struct machine *m, const struct device *dev)
{
	struct plugged *p = NULL;

	if (m->hotplug)
		LIST_FOREACH(p, &m->hotplug->devices, link)
			if (p->dev == dev)
				break;
	return p;
}

/* Takes text. */
static void set_xml(struct machine *m, char *text, size_t len)
{
	free(m->new_xml);
	m->new_xml = m->xml = text;
	m->xml_len = len;
}

void hotplug_set_xml(struct machine *m, char *text, size_t len)
{
	set_xml(m, text, len);
}

static void plugged_free(struct plugged *p)
{
	dom_disk_free(&p->disk);
	dom_nic_free(&p->nic);
	dom_memdev_free(&p->mem);
	free(p);
}

const char *hotplug_not_now(struct machine *m)
{
	enum run_state s = run_state(m);

	if (!m->dom->features.acpi)
		return "the guest has no ACPI: add <features><acpi/></features>";
	if (m->save || m->template || m->devices_held)
		return "the guest is being saved, moved or forked";
	if (s != RS_RUNNING && s != RS_PAUSED && s != RS_PRELAUNCH)
		return run_state_name(s);
	return NULL;
}

static int dup_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int add_disk(struct machine *m, struct plugged *p, struct json_object *args)
{
	struct node *n = p->node;
	const char *serial = qmp_str(args, "serial");
	struct dom_disk *d = &p->disk;
	struct image img;
	int fd, buffered, ret;

	*d = n->disk;
	d->file = strdup(n->disk.file);
	d->target = strdup(qmp_str(args, "id"));
	d->serial = serial ? strdup(serial) : NULL;
	d->queues = (unsigned int)qmp_int(args, "num-queues", 0);
	d->logical_block = (unsigned int)qmp_int(args, "logical_block_size", 0);
	d->physical_block = (unsigned int)qmp_int(args, "physical_block_size", 0);
	if (!d->file || !d->target)
		return -ENOMEM;
	fd = dup_fd(n->fd);
	buffered = dup_fd(n->fd_buffered);
	if (fd >= 0 && d->format != DISK_RAW) {
		close_fd(buffered);
		ret = image_adopt_served(&img, d, fd);
		return ret ? ret : virtio_blk_create_on(m, d, &img);
	}
	ret = fd < 0 ? -errno : image_adopt(&img, d, fd, buffered, n->align);
	if (ret) {
		close_fd(fd);
		close_fd(buffered);
		return ret;
	}
	return virtio_blk_create_on(m, d, &img);
}

static int add_nic(struct machine *m, struct plugged *p, struct json_object *args)
{
	struct node *n = p->node;
	struct dom_nic *nic = &p->nic;
	int fd[NET_MAX_QUEUES], vhost[NET_MAX_QUEUES];
	struct net_backend *be;
	int ret = -ENOMEM;
	unsigned int i;

	nic->id = strdup(qmp_str(args, "id"));
	nic->type = n->stream ? NIC_USER : NIC_ETHERNET;
	nic->mtu = (unsigned int)qmp_int(args, "host_mtu", 0);
	nic->vhost = n->vhost[0] >= 0 ? -1 : 0;
	nic->link_down = qmp_bool(args, "x-hvx-link-down", false);
	if (qmp_str(args, "x-hvx-ifname"))
		nic->ifname = strdup(qmp_str(args, "x-hvx-ifname"));
	if (!nic->id)
		return -ENOMEM;
	for (i = 0; i < n->nr_fds; i++) {
		fd[i] = dup_fd(n->fds[i]);
		/* The kernel lets a vhost serve one device: this one has it. */
		vhost[i] = n->vhost[i];
		n->vhost[i] = -1;
	}
	be = n->stream ? net_user_adopt(fd[0]) : net_tap_adopt(fd, n->nr_fds);
	if (be)
		ret = virtio_net_create_on(m, nic, be, nic->vhost ? vhost : NULL);
	for (i = 0; i < n->nr_fds; i++) {
		if (!be)
			close_fd(fd[i]);
		close_fd(vhost[i]);	/* a device that was made has its own */
	}
	return ret;
}

static int add_memory(struct machine *m, struct plugged *p, struct json_object *args)
{
	struct dom_memdev *md = &p->mem;

	md->id = strdup(qmp_str(args, "id"));
	md->size = (uint64_t)qmp_int(args, "x-hvx-size", 0);
	md->block = (uint64_t)qmp_int(args, "block-size", 2 << 20);
	md->requested = (uint64_t)qmp_int(args, "requested-size", 0);
	md->base = (uint64_t)qmp_int(args, "memaddr", 0);
	return md->id ? virtio_mem_create(m, md) : -ENOMEM;
}

/* As domxml_memdev.c has it of those that the guest begins with. */
static bool memory_args_ok(struct machine *m, struct json_object *args, const char **why)
{
	uint64_t size = (uint64_t)qmp_int(args, "x-hvx-size", 0), block = (uint64_t)qmp_int(args, "block-size", 2 << 20);
	uint64_t requested = (uint64_t)qmp_int(args, "requested-size", 0);
	uint64_t page = m->dom->backing.hugepages ? m->dom->backing.hugepage_size : 0;

	*why = !size ? "x-hvx-size: how much it can give is needed" :
	       block < 2 << 20 || block & (block - 1) || block < page ?
	       "block-size: a power of two from 2 MiB, and from the size of the guest's huge pages, up" :
	       size % block || size / block > MEM_MAX_BLOCKS ? "x-hvx-size: no multiple of the blocks, or too many of them" :
	       requested % block || requested > size ? "requested-size: no multiple of the blocks, or more than its size" : NULL;
	return !*why;
}

/* Its XML goes into the guest's, for saved state and `hvx dumpxml`. */
static int add_xml(struct machine *m, struct plugged *p, const char *snippet, const char **why)
{
	size_t len;
	char *text;

	if (!snippet || !m->xml)
		return 0;
	text = livexml_add(m->xml, m->xml_len, snippet, p->mem.id ? p->mem.id : p->nic.id, &len, why);
	if (!text)
		return -EINVAL;
	set_xml(m, text, len);
	p->in_xml = true;
	return 0;
}

static int parse_nic_args(struct plugged *p, struct json_object *args, const char **why)
{
	const char *mac = qmp_str(args, "mac");
	unsigned int b[6], i;
	char end;

	*why = "mac: six bytes in hex, with colons, and not of a group";
	if (!mac || sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &end) != 6 ||
	    b[0] & 1)
		return -EINVAL;
	for (i = 0; i < 6; i++)
		p->nic.mac[i] = (uint8_t)b[i];
	p->nic.mac_given = true;
	return 0;
}

/* An alias of libvirt's is one, too. */
static bool memory_id_ok(const char *id)
{
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

	return n && n <= 20 && !id[n];
}

/* What can be refused before anything is made: *why. The node; NULL: it has none. */
static struct node *check_add(struct machine *m, struct json_object *args, enum xml_dev kind, const char **why)
{
	const char *id = qmp_str(args, "id"), *name = qmp_str(args, kind == XML_NIC ? "netdev" : "drive");
	struct node *n = name && kind != XML_MEM ? find_node(m, name, kind == XML_NIC) : NULL;

	*why = hotplug_not_now(m);
	if (*why)
		return NULL;
	if (kind == XML_MEM ? !memory_id_ok(id) : !device_id_ok(id))
		*why = "an id has 1 to 15 letters and digits";
	else if (find_device(m, id))
		*why = "there is a device of this id";
	else if (!n && kind != XML_MEM)
		*why = kind == XML_NIC ? "netdev: there is none of this name: see netdev_add" :
					 "drive: there is none of this name: see blockdev-add";
	else if (n && n->used)
		*why = "another device is on it";
	else if (pci_free_slot(m) < 0)
		*why = "no PCI slot is free; take another device out first";
	return n;
}

static void run_device_add(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const char *driver = qmp_str(args, "driver");
	enum xml_dev kind = !strncmp(driver, "virtio-net", 10) ? XML_NIC : !strncmp(driver, "virtio-mem", 10) ? XML_MEM : XML_DISK;
	const char *why = "out of memory", *id = qmp_str(args, "id");
	struct plugged *p = calloc(1, sizeof(*p));
	struct device *last;
	int ret;

	if (!p || !state(m)) {
		free(p);
		qmp_fail(req, "out of memory");
		return;
	}
	p->node = check_add(m, args, kind, &why);
	if (why || (kind == XML_NIC && parse_nic_args(p, args, &why)) || (kind == XML_MEM && !memory_args_ok(m, args, &why))) {
		qmp_fail(req, "%s: %s", id, why);
		plugged_free(p);
		return;
	}
	ret = kind == XML_NIC ? add_nic(m, p, args) : kind == XML_MEM ? add_memory(m, p, args) : add_disk(m, p, args);
	last = ret ? NULL : find_device(m, id);
	why = ret ? strerror(-ret) : "it came without its name";
	if (last && add_xml(m, p, qmp_str(args, "x-hvx-xml"), &why)) {
		last->ops->destroy(last);
		last = NULL;
	}
	if (!last) {
		qmp_fail(req, "%s: %s; the VMM's log may tell more", id, why);
		plugged_free(p);
		return;
	}
	p->dev = last;
	if (p->node)
		p->node->used = true;
	else
		memdev_pin(m, id);
	LIST_INSERT_HEAD(&m->hotplug->devices, p, link);
	acpi_hotplug_filled(m, pci_of_device(m, last)->devfn >> 3);
	log_info("%s is plugged in", last->id);
	qmp_reply(req, NULL);
}

static const struct qmp_command device_add_command = {
	.name = "device_add", .run = run_device_add,
	.help = "Plug a disk, a network interface or a memory device in. The guest finds it in its own time.",
	.args = QMP_ARGS({ "driver", QMP_STR, .choices = (const char *const[]){ "virtio-blk-pci", "virtio-net-pci", "virtio-mem-pci", NULL }, .help = "what it is" },
			 { "id", QMP_STR, .help = "its name: a disk's `<target dev=>`; 1 to 15 letters and digits" },
			 { "x-hvx-size", QMP_INT, .optional = true, .min = 0, .max = INT64_MAX, .help = "of memory: the most that it can give, bytes; needed" },
			 { "block-size", QMP_INT, .optional = true, .min = 4096, .max = 1LL << 40, .help = "of memory: in multiples of which, bytes; 2 MiB without it" },
			 { "requested-size", QMP_INT, .optional = true, .min = 0, .max = INT64_MAX, .help = "of memory: what it gives to begin with, bytes; none without it" },
			 { "memaddr", QMP_INT, .optional = true, .min = 0, .max = INT64_MAX, .help = "of memory: where; without it where there is room" },
			 { "drive", QMP_STR, .optional = true, .help = "of a disk: the `blockdev-add` name" },
			 { "serial", QMP_STR, .optional = true, .help = "of a disk: at most 20 characters are shown" },
			 { "num-queues", QMP_INT, .optional = true, .min = 1, .max = 64, .help = "of a disk" },
			 { "logical_block_size", QMP_INT, .optional = true, .min = 512, .max = 32768, .help = "of a disk, bytes" },
			 { "physical_block_size", QMP_INT, .optional = true, .min = 512, .max = 32768, .help = "of a disk, bytes" },
			 { "netdev", QMP_STR, .optional = true, .help = "of an interface: the `netdev_add` id" },
			 { "mac", QMP_STR, .optional = true, .help = "of an interface: its address; needed" },
			 { "host_mtu", QMP_INT, .optional = true, .min = 68, .max = 65535, .help = "of an interface" },
			 { "x-hvx-ifname", QMP_STR, .optional = true, .help = "of an interface: its name on the host, for queries" },
			 { "x-hvx-link-down", QMP_BOOL, .optional = true, .help = "of an interface: begin without a link" },
			 { "x-hvx-xml", QMP_STR, .optional = true, .help = "its <disk>, <interface> or <memory>, for the guest's XML; without it the guest cannot be saved while it has the device" }),
};
QMP_COMMAND(device_add_command);

/* ------------------------------------------------------------ and go */

static void run_device_del(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	const char *id = qmp_str(args, "id"), *why = hotplug_not_now(m);
	struct device *dev = find_device(m, id);
	struct pci_func *f = dev ? pci_of_device(m, dev) : NULL;

	if (why)
		qmp_fail(req, "%s: %s", id, why);
	else if (!dev)
		qmp_fail_class(req, "DeviceNotFound", "%s: no such device", id);
	else if (!dev->ops->pluggable)
		qmp_fail(req, "%s: only disks, network interfaces and memory devices can be taken out", id);
	else if (mem_device_busy(dev))
		qmp_fail(req, "%s: %s", id, mem_device_busy(dev));
	else if (!f)
		qmp_fail_class(req, "DeviceNotActive", "%s: the guest has let go of it; it is about to go", id);
	else if (pci_alone(m, f->devfn >> 3) != f)
		qmp_fail(req, "%s: it shares its PCI slot with other devices, and would take them along", id);
	else {
		acpi_hotplug_ask(m, f->devfn >> 3);
		qmp_reply(req, NULL);
	}
}

static const struct qmp_command device_del_command = {
	.name = "device_del", .run = run_device_del,
	.help = "Ask the guest to let go of a disk, a network interface or a memory device that gives it nothing. The device is gone with event DEVICE_DELETED; a guest that does not answer keeps it, and so does one that answers while it is saved, moved or forked.",
	.args = QMP_ARGS({ "id", QMP_STR, .help = "its id; of what the guest began with: a disk's `<target dev=>`, an interface's `name` in `x-hvx-query-nics`" }),
};
QMP_COMMAND(device_del_command);

static void remove_xml(struct machine *m, const char *id, enum xml_dev kind)
{
	struct xml_ref ref = { .kind = kind, .id = id };
	const char *why = "out of memory";
	size_t len;
	char *text;

	if (!m->xml)
		return;
	text = state(m) ? livexml_remove(m->xml, m->xml_len, &ref, true, &len, &why) : NULL;
	if (text)
		set_xml(m, text, len);
	else if (m->hotplug)
		snprintf(m->hotplug->stale, sizeof(m->hotplug->stale), "%.15s is gone, but not from the XML: %.60s", id, why);
}

/* On the main thread, no vCPU runs. */
static void finish_eject(struct machine *m, void *opaque)
{
	struct device *dev = opaque;
	struct json_object *data = json_object_new_object();
	enum xml_dev kind;
	struct plugged *p;
	char id[sizeof(dev->id)], path[80];

	pthread_mutex_lock(&m->lock);
	p = find_plugged(m, dev);
	kind = kind_of(dev);
	snprintf(id, sizeof(id), "%s", short_id(dev));
	m->leaving--;
	/* A guest that lets go of memory which it has loses it. */
	if (kind == XML_MEM)
		dev->ops->reset(dev);
	dev->ops->destroy(dev);
	if (!p || p->in_xml)
		remove_xml(m, id, kind);
	if (p) {
		LIST_REMOVE(p, link);
		if (p->node)
			p->node->used = false;
		if (p->node && p->node->auto_del)
			node_free(m->hotplug, p->node);
		plugged_free(p);
	}
	snprintf(path, sizeof(path), "/machine/peripheral/%s", id);
	json_object_object_add(data, "device", json_object_new_string(id));
	json_object_object_add(data, "path", json_object_new_string(path));
	qmp_event(m, "DEVICE_DELETED", data);
	log_info("%s is gone: the guest has let go of it", id);
	pthread_mutex_unlock(&m->lock);
}

void hotplug_ejected(struct machine *m, unsigned int slot)
{
	struct pci_func *f = pci_alone(m, slot);

	if (!f || !f->dev)
		return;
	if (!f->dev->ops->pluggable) {
		log_guest("the guest lets go of %s, which stays", f->dev->id);
		return;
	}
	/* A thread may be copying the disk, or what is saved of the device. A guest can do this without being asked. */
	if (m->save || m->template || m->devices_held) {
		log_guest("the guest lets go of %s while it is saved, moved or forked, so that stays: take it out once more afterwards",
			  f->dev->id);
		return;
	}
	/* Out of sight at once; what is behind it is taken apart when no vCPU can be in it. */
	pci_hide(f);
	if (machine_call(m, finish_eject, f->dev))
		log_error("%s: out of memory; its files stay open", f->dev->id);
	else
		m->leaving++;
}

int hotplug_can_save(struct machine *m, struct state_error *err)
{
	struct plugged *p;

	if (!m->hotplug)
		return 0;
	if (m->hotplug->stale[0])
		return state_error(err, "%s", m->hotplug->stale);
	LIST_FOREACH(p, &m->hotplug->devices, link)
		if (!p->in_xml)
			return state_error(err, "%s was plugged in without its XML (x-hvx-xml): take it out first",
					   p->dev->id);
	return 0;
}

void hotplug_free(struct machine *m)
{
	struct hotplug *h = m->hotplug;
	struct plugged *p;
	struct node *n;

	if (!h)
		return;
	while ((p = LIST_FIRST(&h->devices))) {
		LIST_REMOVE(p, link);
		plugged_free(p);
	}
	while ((n = LIST_FIRST(&h->nodes)))
		node_free(h, n);
	free(h);
	m->hotplug = NULL;
}

/* ------------------------------------------------------------------- XML */

static void run_xml(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *o = json_object_new_object();

	(void)args;
	json_object_object_add(o, "xml", json_object_new_string_len(m->xml ? m->xml : "", (int)m->xml_len));
	qmp_reply(req, o);
}

static const struct qmp_command xml_command = {
	.name = "x-hvx-query-xml", .run = run_xml,
	.help = "The guest's XML, with what was plugged in and without what is gone.",
	.returns = "`xml`",
};
QMP_COMMAND(xml_command);
