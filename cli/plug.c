// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "devices/net/backend.h"
#include "devices/storage/foreign.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "plug.h"
#include "store.h"
#include "vmm/domxml_int.h"
#include "xmledit.h"

int scope_find(const struct cli_cmd *cmd, const char *v[], const struct guest *g, struct scope *s)
{
	s->live = v[O_LIVE] || (v[O_PERSISTENT] && g->dir);
	s->config = v[O_CONFIG] || v[O_PERSISTENT];
	if (!s->live && !s->config) {
		s->live = g->dir;
		s->config = !g->dir;
	}
	if (v[O_CURRENT] && (v[O_LIVE] || v[O_CONFIG] || v[O_PERSISTENT])) {
		cli_error("%s: --current goes with none of --live, --config, --persistent", cmd->name);
		return VMM_ERR_USAGE;
	}
	if (s->live && !g->dir) {
		cli_error("%s: the guest is not running; --config changes its definition", g->name);
		return VMM_ERR_SETUP;
	}
	if (s->config && !g->defined) {
		cli_error("%s: the guest is not defined; --live changes the one that runs", g->name);
		return VMM_ERR_SETUP;
	}
	return VMM_OK;
}

/* -------------------------------------------------------------- its XML */

/* All on the first line, so that the lines of messages are those of the device's text. */
static char *wrap(const char *text, size_t len, size_t *out_len)
{
	static const char head[] = "<domain type='kvm'><name>plug</name><memory unit='TiB'>2</memory><os><type>hvm</type>"
				   "<kernel>/dev/null</kernel></os><devices>";
	static const char tail[] = "</devices></domain>\n";
	const char *end;
	char *out = NULL;
	int n;

	text += strspn(text, " \t\r\n");
	end = !strncmp(text, "<?xml", 5) ? strstr(text, "?>") : NULL;
	if (end)
		text = end + 2;
	(void)len;
	n = asprintf(&out, "%s%s%s", head, text, tail);
	*out_len = n < 0 ? 0 : (size_t)n;
	return n < 0 ? NULL : out;
}

static int set_mac(xmlDoc *doc, const uint8_t mac[6])
{
	xmlNode *devices = x_child(xmlDocGetRootElement(doc), "devices"), *nic = x_child(devices, "interface");
	xmlNode *n = x_child(nic, "mac");
	char text[18];

	if (!nic)
		return -1;
	if (!n)
		n = xmlNewChild(nic, NULL, (const xmlChar *)"mac", NULL);
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return n && xmlSetProp(n, (const xmlChar *)"address", (const xmlChar *)text) ? 0 : -1;
}

/* The element as it goes into other texts. */
static char *own_text(struct plug *p, const char *file, const char *wrapped, size_t len)
{
	xmlDoc *doc = xmledit_open(wrapped, len);
	struct dom_nic *nic = p->kind == XML_NIC ? &p->dom->nic[0] : NULL;
	struct xml_ref ref = { .kind = p->kind, .id = p->kind == XML_DISK ? p->dom->disk[0].target : NULL };
	const char *why = "out of memory";
	char *whole = NULL, *text = NULL;
	size_t whole_len;

	if (!doc)
		return NULL;
	if (nic && !nic->mac_given) {
		/* Of the range for virtual machines. */
		static const uint8_t range[3] = { 0x52, 0x54, 0x00 };

		memcpy(nic->mac, range, sizeof(range));
		if (getrandom(nic->mac + 3, 3, 0) != 3)
			goto out;
	}
	if (nic)
		ref.mac = nic->mac;
	if (!xmledit_absolute(doc, file) && (!nic || !set_mac(doc, nic->mac)))
		whole = xmledit_text(doc, &whole_len);
	if (whole)
		text = livexml_device(whole, whole_len, &ref, &why);
	if (!text)
		cli_error("%s: %s", file, why);
out:
	free(whole);
	xmlFreeDoc(doc);
	return text;
}

int plug_read(struct plug *p, const char *file, const char *text, size_t len)
{
	size_t wrapped_len = 0;
	char *wrapped = NULL, *target = NULL;
	const char *why = NULL;
	bool has_mac;
	uint8_t mac[6];

	memset(p, 0, sizeof(*p));
	if (livexml_kind(text, len, &p->kind, &target, mac, &has_mac, &why)) {
		cli_error("%s: %s", file, why);
		return -1;
	}
	free(target);
	wrapped = wrap(text, len, &wrapped_len);
	p->dom = wrapped ? store_parse(file, wrapped, wrapped_len, true) : NULL;
	if (p->dom && p->dom->nr_disks + p->dom->nr_nics + p->dom->nr_memdevs == 1)
		p->text = own_text(p, file, wrapped, wrapped_len);
	else if (p->dom)
		cli_error("%s: nothing in it can be plugged", file);
	free(wrapped);
	if (p->text)
		return 0;
	plug_free(p);
	return -1;
}

void plug_free(struct plug *p)
{
	domain_free(p->dom);
	free(p->text);
	p->dom = NULL;
	p->text = NULL;
}

char *plug_define(const char *guest, const struct plug *add, const struct xml_ref *take, size_t *len)
{
	const char *why = "out of memory";
	struct domain *dom = NULL;
	size_t old_len;
	char *old = store_read(guest, &old_len), *text = NULL, *path = store_path(guest);

	if (!old || !path) {
		cli_error("%s: %s", guest, !old && errno == ENOENT ? "the guest is not defined: --config has nothing to change" : strerror(errno));
		goto out;
	}
	text = add ? livexml_add(old, old_len, add->text, NULL, len, &why) :
		     livexml_remove(old, old_len, take, false, len, &why);
	if (!text)
		cli_error("%s: its definition: %s", guest, why);
	else
		dom = store_parse(path, text, *len, false);
	if (!dom) {
		free(text);
		text = NULL;
	}
	domain_free(dom);
out:
	free(old);
	free(path);
	return text;
}

/* ---------------------------------------------------------------- going in */

static void add_str(struct json_object *o, const char *key, const char *s)
{
	if (s)
		json_object_object_add(o, key, json_object_new_string(s));
}

static void add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

static void add_num(struct json_object *o, const char *key, unsigned int v)
{
	if (v)
		json_object_object_add(o, key, json_object_new_int64(v));
}

static int send_fd(struct control *c, int fd, const char *name)
{
	if (!control_send_fd(c, fd, name))
		return 0;
	cli_error("%s", control_error(c));
	return -1;
}

static struct json_object *image_args(const struct dom_disk *d, const struct image *img, const char *node)
{
	struct json_object *o = json_object_new_object(), *cache = json_object_new_object();
	bool direct = img->align > 1;

	add_str(o, "node-name", node);
	add_str(o, "driver", d->format != DISK_RAW ? foreign_name(d->format) : d->block ? "host_device" : "file");
	add_str(o, "filename", d->file);
	add_str(o, "x-hvx-fd", "image");
	if (direct)
		add_str(o, "x-hvx-fd-buffered", "buffered");
	add_num(o, "x-hvx-align", img->align);
	add_bool(o, "read-only", d->readonly);
	add_bool(o, "x-hvx-write-through", img->write_through);
	add_bool(cache, "direct", direct);
	add_bool(cache, "no-flush", img->no_flush);
	json_object_object_add(o, "cache", cache);
	add_str(o, "discard", d->discard_unmap ? "unmap" : "ignore");
	add_bool(o, "x-hvx-auto-del", true);
	return o;
}

/* device_add; the node goes again where it fails. */
static int device_add(struct control *c, struct json_object *args, const char *del, const char *key, const char *node)
{
	struct json_object *o;

	if (!control_do(c, "device_add", args, NULL))
		return 0;
	o = json_object_new_object();
	add_str(o, key, node);
	control_call(c, del, o, NULL);
	return -1;
}

static const char *member(struct json_object *list, size_t i, const char *key)
{
	const char *s = json_object_get_string(json_object_object_get(json_object_array_get_idx(list, i), key));

	return s ? s : "";
}

static bool has_disk(struct control *c, const char *target)
{
	struct json_object *list = NULL;
	bool has = false;

	if (!control_call(c, "query-block", NULL, &list))
		for (size_t i = 0; i < json_object_array_length(list) && !has; i++)
			has = !strcmp(member(list, i, "device"), target);
	json_object_put(list);
	return has;
}

static int disk_in(struct control *c, const struct plug *p)
{
	struct dom_disk *d = &p->dom->disk[0];
	struct json_object *args;
	struct image img;
	char node[64];
	int ret = -1;

	if (d->transient || d->nr_backing) {
		cli_error("disk %s: <transient/> and <backingStore> are for disks that the guest starts with; take them out", d->target);
		return -1;
	}
	if (has_disk(c, d->target)) {
		cli_error("disk %s: the guest has a disk of this name; take another", d->target);
		return -1;
	}
	d->handed_on = true;
	if (image_open(&img, d, p->dom->file))
		return -1;
	snprintf(node, sizeof(node), "plug-%s", d->target);
	if (!send_fd(c, img.served ? nbd_disk_control(img.served) : img.fd, "image") && (img.align == 1 || !send_fd(c, img.fd_buffered, "buffered")) &&
	    !control_do(c, "blockdev-add", image_args(d, &img, node), NULL)) {
		args = json_object_new_object();
		add_str(args, "driver", "virtio-blk-pci");
		add_str(args, "id", d->target);
		add_str(args, "drive", node);
		add_str(args, "serial", d->serial);
		add_num(args, "num-queues", d->queues);
		/* What a block device says of itself, the VMM cannot ask it. */
		add_num(args, "logical_block_size", img.logical_block);
		add_num(args, "physical_block_size", img.physical_block);
		add_str(args, "x-hvx-xml", p->text);
		ret = device_add(c, args, "blockdev-del", "node-name", node);
	}
	if (ret)
		image_close(&img);
	else
		image_hand_on(&img);
	return ret;
}

/* The interfaces of a running guest. NULL after a message. */
static struct json_object *query_nics(struct control *c)
{
	struct json_object *list = NULL;

	return control_do(c, "x-hvx-query-nics", NULL, &list) ? NULL : list;
}

/* A name that none has. -1 after a message: its address is another's. */
static int new_nic_id(struct json_object *list, const char *mac, char id[16])
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < json_object_array_length(list); i++)
		if (!strcasecmp(member(list, i, "mac"), mac)) {
			cli_error("%s: the guest has an interface with this MAC address", mac);
			return -1;
		}
	do {
		snprintf(id, 16, "net%u", n++ % 10000);
		for (i = 0; i < json_object_array_length(list) && strcmp(member(list, i, "name"), id); i++)
			;
	} while (i < json_object_array_length(list));
	return 0;
}

/* Send n descriptors as PREFIX0, PREFIX1, ...; their names with colons between to names. */
static int send_queues(struct control *c, const int *fd, unsigned int n, char prefix, char *names, size_t size)
{
	size_t at = 0;
	unsigned int i;
	char name[8];

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%c%u", prefix, i % 100);
		at += (size_t)snprintf(names + at, at < size ? size - at : 0, "%s%s", i ? ":" : "", name);
		if (send_fd(c, fd[i], name))
			return -1;
	}
	return 0;
}

struct net_fds {
	int fd[NET_MAX_QUEUES], vhost[NET_MAX_QUEUES];
	unsigned int nr, nr_vhost;
	struct net_backend *tap;	/* whose descriptors they are */
	char ifname[IFNAMSIZ];
};

static int open_net(const struct dom_nic *nic, struct net_fds *n)
{
	struct ifreq ifr = { 0 };
	unsigned int i;

	memset(n, 0, sizeof(*n));
	if (nic->type == NIC_USER) {
		n->fd[0] = net_user_start(nic);
		n->nr = n->fd[0] >= 0;
		return n->nr ? 0 : -1;
	}
	n->tap = net_tap_open(NULL, nic, nic->queues ? nic->queues : 1);
	if (!n->tap)
		return -1;
	n->nr = n->tap->nr_queues;
	for (i = 0; i < n->nr; i++)
		n->fd[i] = n->tap->ops->fd(n->tap, i);
	if (!ioctl(n->fd[0], TUNGETIFF, &ifr))
		snprintf(n->ifname, sizeof(n->ifname), "%.*s", IFNAMSIZ - 1, ifr.ifr_name);
	for (i = 0; nic->vhost && i < n->nr; i++) {
		n->vhost[i] = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
		if (n->vhost[i] < 0)
			break;
		n->nr_vhost++;
	}
	if (nic->vhost == 1 && n->nr_vhost < n->nr) {
		cli_error("/dev/vhost-net: %s; drop <driver name='vhost'>", strerror(errno));
		return -1;
	}
	if (n->nr_vhost < n->nr) {
		while (n->nr_vhost)
			close(n->vhost[--n->nr_vhost]);
	}
	return 0;
}

static void close_net(struct net_fds *n)
{
	while (n->nr_vhost)
		close(n->vhost[--n->nr_vhost]);
	if (n->tap)
		n->tap->ops->close(n->tap);
	else if (n->nr)
		close(n->fd[0]);
}

static int connect_nic(struct control *c, const struct plug *p, struct net_fds *n, const char *id, const char *mac)
{
	const struct dom_nic *nic = &p->dom->nic[0];
	struct json_object *args;
	char fds[256] = "", vhost[256] = "";

	if (send_queues(c, n->fd, n->nr, 'q', fds, sizeof(fds)) ||
	    send_queues(c, n->vhost, n->nr_vhost, 'v', vhost, sizeof(vhost)))
		return -1;
	args = json_object_new_object();
	add_str(args, "type", n->tap ? "tap" : "stream");
	add_str(args, "id", id);
	add_str(args, "fds", fds);
	add_str(args, "vhostfds", *vhost ? vhost : NULL);
	add_bool(args, "x-hvx-auto-del", true);
	if (control_do(c, "netdev_add", args, NULL))
		return -1;
	args = json_object_new_object();
	add_str(args, "driver", "virtio-net-pci");
	add_str(args, "id", id);
	add_str(args, "netdev", id);
	add_str(args, "mac", mac);
	add_num(args, "host_mtu", nic->mtu);
	add_str(args, "x-hvx-ifname", *n->ifname ? n->ifname : nic->ifname);
	add_bool(args, "x-hvx-link-down", nic->link_down);
	add_str(args, "x-hvx-xml", p->text);
	return device_add(c, args, "netdev_del", "id", id);
}

static int nic_in(struct control *c, const struct plug *p)
{
	const uint8_t *m = p->dom->nic[0].mac;
	struct json_object *list = query_nics(c);
	struct net_fds n = { 0 };
	char id[16], mac[18];
	int ret = -1;

	if (!list)
		return -1;
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	if (!new_nic_id(list, mac, id)) {
		if (!open_net(&p->dom->nic[0], &n))
			ret = connect_nic(c, p, &n, id, mac);
		close_net(&n);
	}
	json_object_put(list);
	return ret;
}

/* The ids of a running guest's memory devices. NULL after a message. */
static struct json_object *query_memory(struct control *c)
{
	struct json_object *list = NULL;

	return control_do(c, "query-memory-devices", NULL, &list) ? NULL : list;
}

static const char *memory_id(struct json_object *list, size_t i)
{
	struct json_object *data = json_object_object_get(json_object_array_get_idx(list, i), "data");
	const char *id = json_object_get_string(json_object_object_get(data, "id"));

	return id ? id : "";
}

static bool has_memory(struct json_object *list, const char *id)
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (!strcmp(memory_id(list, i), id))
			return true;
	return false;
}

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	if (v)
		json_object_object_add(o, key, json_object_new_uint64(v));
}

static int memory_in(struct control *c, const struct plug *p)
{
	const struct dom_memdev *md = &p->dom->memdev[0];
	struct json_object *list = query_memory(c), *args;
	char id[32];
	unsigned int n = 0;

	if (!list)
		return -1;
	snprintf(id, sizeof(id), "%.20s", md->id);
	/* Of those without an alias, the first name that is free. */
	while (has_memory(list, id) && !strncmp(md->id, "virtiomem", 9))
		snprintf(id, sizeof(id), "virtiomem%u", n++ % 1000);
	json_object_put(list);
	args = json_object_new_object();
	add_str(args, "driver", "virtio-mem-pci");
	add_str(args, "id", id);
	add_u64(args, "x-hvx-size", md->size);
	add_u64(args, "block-size", md->block);
	add_u64(args, "requested-size", md->requested);
	add_u64(args, "memaddr", md->base);
	add_str(args, "x-hvx-xml", p->text);
	return control_do(c, "device_add", args, NULL) ? -1 : 0;
}

int plug_in(struct control *c, const struct plug *p)
{
	return p->kind == XML_DISK ? disk_in(c, p) : p->kind == XML_MEM ? memory_in(c, p) : nic_in(c, p);
}

/* --------------------------------------------------------------- going out */

static char *find_nic(struct control *c, const char *guest, const uint8_t *m)
{
	struct json_object *list = query_nics(c);
	size_t i, n = list ? json_object_array_length(list) : 0;
	char mac[18] = "", *id = NULL;

	if (!list)
		return NULL;
	if (m)
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	for (i = 0; i < n && m && strcasecmp(member(list, i, "mac"), mac); i++)
		;
	if (i < n && (m || n == 1))
		id = strdup(member(list, i, "name"));
	else if (!m && n > 1)
		cli_error("%s: it has %zu interfaces; tell which by its MAC address", guest, n);
	else
		cli_error("%s: it has no interface%s%s", guest, m ? " with the MAC address " : "", mac);
	json_object_put(list);
	return id;
}

static char *find_memory(struct control *c, const char *guest, const char *alias)
{
	struct json_object *list = query_memory(c);
	size_t n = list ? json_object_array_length(list) : 0;
	char *id = NULL;

	if (list && alias && has_memory(list, alias))
		id = strdup(alias);
	else if (n == 1 && !alias)
		id = strdup(memory_id(list, 0));
	else if (list && n > 1 && !alias)
		cli_error("%s: it has %zu memory devices; tell which by its <alias name=>", guest, n);
	else if (list)
		cli_error("%s: it has no memory device%s%s", guest, alias ? " " : "", alias ? alias : "");
	json_object_put(list);
	return id;
}

char *plug_find(struct control *c, const char *guest, enum xml_dev kind, const char *target, const uint8_t *mac)
{
	struct json_object *list = NULL;
	char *id = NULL;

	if (kind == XML_NIC)
		return find_nic(c, guest, mac);
	if (kind == XML_MEM)
		return find_memory(c, guest, target);
	if (control_do(c, "query-block", NULL, &list))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(list) && !id; i++)
		if (!strcmp(member(list, i, "device"), target))
			id = strdup(target);
	if (!id)
		cli_error("%s: it has no disk %s", guest, target);
	json_object_put(list);
	return id;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool says_gone(struct json_object *event, const char *id)
{
	const char *name = json_object_get_string(json_object_object_get(event, "event"));
	const char *dev = json_object_get_string(json_object_object_get(json_object_object_get(event, "data"), "device"));

	return name && dev && !strcmp(name, "DEVICE_DELETED") && !strcmp(dev, id);
}

int plug_out(struct control *c, const char *guest, const char *id, long ms)
{
	struct json_object *args = json_object_new_object(), *event;
	int64_t end = now_ms() + ms, left;
	bool gone = false;

	add_str(args, "id", id);
	if (control_do(c, "device_del", args, NULL))
		return VMM_ERR_SETUP;
	while (!gone && (left = end - now_ms()) > 0) {
		event = control_event(c, (int)left);
		if (!event && errno != ETIMEDOUT) {
			cli_error("%s: the guest has ended", guest);
			return VMM_ERR_SETUP;
		}
		gone = event && says_gone(event, id);
		json_object_put(event);
	}
	if (gone)
		return VMM_OK;
	cli_error("%s: the guest has not let go of %s in %ld s, and keeps it; it still goes when the guest does so later. "
		  "A kernel without ACPI hotplug of PCI, a paused guest or one that is not up yet cannot", guest, id, ms / 1000);
	return CLI_TIMEOUT;
}
