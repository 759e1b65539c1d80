// SPDX-License-Identifier: GPL-2.0-only
/* Serial ports, consoles, channels, and the small devices. */
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include "domxml_int.h"

unsigned int boot_order(struct px *px, xmlNode *device)
{
	const unsigned int max = sizeof(px->boot_node) / sizeof(px->boot_node[0]);
	xmlNode *boot = x_child(device, "boot");
	uint64_t order = 0;

	if (!boot)
		return 0;
	if (!x_attr(boot, "order"))
		px_err(px, boot, NULL, "no order=; write order='1' for the first device");
	if (!x_num(px, boot, "order", 1, max, &order))
		return 0;
	if (px->boot_node[order - 1])
		px_err(px, boot, "order", "line %ld has this order; take another", xmlGetLineNo(px->boot_node[order - 1]));
	else
		px->boot_node[order - 1] = boot;
	return (unsigned int)order;
}

/* --- where characters go --- */

static const struct { const char *name; enum chr_type type; } chr_types[] = {
	{ "pty", CHR_PTY }, { "stdio", CHR_STDIO }, { "file", CHR_FILE },
	{ "unix", CHR_UNIX }, { "tcp", CHR_TCP }, { "null", CHR_NULL },
};

/* Sockets that libvirt makes for a running guest are not the guest's configuration. */
static bool libvirts_own(const char *path)
{
	return !strncmp(path, "/var/lib/libvirt/qemu/", 22) || !strncmp(path, "/run/libvirt/qemu/", 18) ||
	       !strncmp(path, "/var/run/libvirt/qemu/", 22);
}

static void chr_path(struct px *px, xmlNode *n, xmlNode *source, struct dom_chr *c, bool optional)
{
	const char *path = x_attr(source, "path");

	if (path && *path && !(optional && libvirts_own(path)))
		c->path = x_path(px, path);
	if (!c->path && !optional)
		px_err(px, source ? source : n, source ? NULL : "type", "no path=; add <source path='PATH'/>");
	if (c->path && c->type == CHR_UNIX && strlen(c->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		px_err(px, source, "path", "too long for a socket; take one of fewer than %zu bytes",
		       sizeof(((struct sockaddr_un *)0)->sun_path));
}

static void chr_tcp(struct px *px, xmlNode *n, xmlNode *source, struct dom_chr *c)
{
	uint64_t port;

	if (!x_attr(source, "service"))
		px_err(px, source ? source : n, source ? NULL : "type",
		       "no port; add <source mode='bind' host='127.0.0.1' service='4555'/>");
	else if (x_num(px, source, "service", 1, 65535, &port))
		c->service = x_attr_dup(source, "service");
	c->host = x_attr_dup(source, "host");
	if (!c->host)
		c->host = strdup("127.0.0.1");
}

/* socket_optional: a Unix socket without a path is put into the runtime folder. */
static bool read_chr(struct px *px, xmlNode *n, struct dom_chr *c, bool socket_optional)
{
	const char *type = x_attr(n, "type");
	xmlNode *source = x_child(n, "source");
	size_t i = 0;

	while (i < sizeof(chr_types) / sizeof(chr_types[0]) && (!type || strcmp(type, chr_types[i].name)))
		i++;
	if (i == sizeof(chr_types) / sizeof(chr_types[0])) {
		px_err(px, n, type ? "type" : NULL,
		       "not supported; write type='pty', 'stdio', 'file', 'unix', 'tcp' or 'null'");
		return false;
	}
	c->type = chr_types[i].type;
	c->listen = x_is(source, "mode", "bind");
	c->append = x_yes(source, "append");
	c->log_file = x_path(px, x_attr(x_child(n, "log"), "file"));
	c->log_append = x_yes(x_child(n, "log"), "append");
	if (c->type == CHR_FILE) {
		chr_path(px, n, source, c, false);
	} else if (c->type == CHR_UNIX) {
		chr_path(px, n, source, c, socket_optional);
		c->listen |= !c->path;
	} else if (c->type == CHR_TCP) {
		chr_tcp(px, n, source, c);
	}
	return true;
}

static void chr_clear(struct dom_chr *c)
{
	free(c->path);
	free(c->host);
	free(c->service);
	free(c->log_file);
	memset(c, 0, sizeof(*c));
}

/* --- serial ports --- */

static bool port_taken(const struct domain *dom, unsigned int port)
{
	for (unsigned int i = 0; i < dom->nr_serials; i++)
		if (dom->serial[i].port == port)
			return true;
	return false;
}

void h_serial(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	struct dom_serial *s = &dom->serial[dom->nr_serials];
	xmlNode *target = x_child(n, "target");
	uint64_t port = 0;

	if (dom->nr_serials == DOM_MAX_SERIALS) {
		if (px_first(px, "serials"))
			px_err(px, n, "type", "more than %d serial ports; leave some out", DOM_MAX_SERIALS);
		return;
	}
	if (x_attr(target, "port")) {
		if (!x_num(px, target, "port", 0, DOM_MAX_SERIALS - 1, &port))
			return;
		if (port_taken(dom, (unsigned int)port)) {
			px_err(px, target, "port", "another <serial> is at this port; take another");
			return;
		}
	} else {
		while (port_taken(dom, (unsigned int)port))
			port++;
	}
	s->port = (unsigned int)port;
	if (read_chr(px, n, &s->chr, false))
		dom->nr_serials++;
	else
		chr_clear(&s->chr);
}

/* --- virtio-console ports --- */

static struct dom_port *new_port(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;

	if (dom->nr_ports < DOM_MAX_PORTS)
		return &dom->port[dom->nr_ports];
	if (px_first(px, "ports"))
		px_err(px, n, "type", "more than %d consoles and channels; leave some out", DOM_MAX_PORTS);
	return NULL;
}

void h_console(struct px *px, xmlNode *n)
{
	xmlNode *target = x_child(n, "target");
	struct dom_port *p;

	if (!x_is(target, "type", "virtio")) {
		/* The serial port under another name; with no <serial> it is that port. */
		if (!x_child(n->parent, "serial"))
			h_serial(px, n);
		return;
	}
	p = new_port(px, n);
	if (!p)
		return;
	p->console = true;
	if (read_chr(px, n, &p->chr, false))
		px->dom->nr_ports++;
	else
		chr_clear(&p->chr);
}

static bool channel_name_ok(struct px *px, xmlNode *target)
{
	const struct domain *dom = px->dom;
	const char *name = x_attr(target, "name");

	if (!name || !*name || strlen(name) > 63 || name[strcspn(name, "/ \t\r\n")]) {
		px_err(px, target, name ? "name" : NULL, "not a channel's name; write name='org.example.0'");
		return false;
	}
	for (unsigned int i = 0; i < dom->nr_ports; i++) {
		if (dom->port[i].name && !strcmp(dom->port[i].name, name)) {
			px_err(px, target, "name", "another channel has this name; take another");
			return false;
		}
	}
	return true;
}

void h_channel(struct px *px, xmlNode *n)
{
	static const char *const desktop[] = { "spicevmc", "spiceport", "qemu-vdagent", "dbus" };
	xmlNode *target = x_child(n, "target");
	struct dom_port *p;

	for (size_t i = 0; i < sizeof(desktop) / sizeof(desktop[0]); i++) {
		if (!x_is(n, "type", desktop[i]))
			continue;
		if (px_first(px, domxml_no_display))
			px_warn(px, n, "type", "%s", domxml_no_display);
		return;
	}
	if (target && x_attr(target, "type") && !x_is(target, "type", "virtio"))
		return;		/* the table has refused it */
	if (!target) {
		px_err(px, n, "type", "no <target>; add <target type='virtio' name='NAME'/>");
		return;
	}
	p = new_port(px, n);
	if (!p || !channel_name_ok(px, target))
		return;
	if (read_chr(px, n, &p->chr, true)) {
		p->name = x_attr_dup(target, "name");
		px->dom->nr_ports++;
	} else {
		chr_clear(&p->chr);
	}
}

/* Consoles from port 0, channels behind them: a driver takes port 0 for a console. */
static void number_ports(struct domain *dom)
{
	unsigned int next = 0;

	for (unsigned int i = 0; i < dom->nr_ports; i++)
		if (dom->port[i].console)
			dom->port[i].port = next++;
	if (!next)
		next = 1;
	for (unsigned int i = 0; i < dom->nr_ports; i++)
		if (!dom->port[i].console)
			dom->port[i].port = next++;
}

/* --- the rest --- */

/* The board has its own; what is plugged into them is refused where it stands. */
void h_controller(struct px *px, xmlNode *n)
{
	static const char *const silent[] = { "pci", "virtio-serial", "sata", "ide", "scsi", "fdc", "ccid" };

	if (x_is(n, "type", "usb")) {
		if (!x_is(n, "model", "none") && px_first(px, domxml_no_display))
			px_warn(px, n, "type", "%s", domxml_no_display);
		return;
	}
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		if (x_is(n, "type", silent[i]))
			return;
	px_err(px, n, "type", "not a controller of a PC; remove it");
}

void h_rng(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *backend = x_child(n, "backend"), *rate = x_child(n, "rate");
	const char *s = x_text(px, backend);
	uint64_t bytes = 0, period = 1000;

	if (dom->rng.present) {
		px_err(px, n, "model", "a second random number device; keep one");
		return;
	}
	if (!*s)
		s = "/dev/urandom";
	if (strcmp(s, "/dev/urandom") && strcmp(s, "/dev/random") && strcmp(s, "/dev/hwrng"))
		px_err(px, backend, NULL, "not a source of random numbers; write /dev/urandom");
	if (rate && !x_attr(rate, "bytes"))
		px_err(px, rate, NULL, "no bytes=; write bytes='1024' period='1000'");
	x_num(px, rate, "bytes", 1, 1ULL << 32, &bytes);
	x_num(px, rate, "period", 1, 86400000, &period);
	dom->rng.present = true;
	dom->rng.source = strdup(s);
	dom->rng.rate_bytes = bytes;
	dom->rng.rate_period_ms = (uint32_t)period;
}

void h_memballoon(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	uint64_t period = 0;

	dom->balloon.present = !x_is(n, "model", "none");
	dom->balloon.autodeflate = x_yes(n, "autodeflate");
	dom->balloon.free_page_reporting = x_yes(n, "freePageReporting");
	x_num(px, x_child(n, "stats"), "period", 0, 86400, &period);
	dom->balloon.stats_period = (unsigned int)period;
}

void h_vsock(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *cid = x_child(n, "cid");
	uint64_t v = 0;

	dom->vsock.present = true;
	dom->vsock.auto_cid = x_yes(cid, "auto") || !x_attr(cid, "address");
	/* 0 to 2 are the hypervisor's, loopback's and the host's; ~0 is "any". */
	if (!dom->vsock.auto_cid && x_num(px, cid, "address", 3, UINT32_MAX - 1, &v))
		dom->vsock.cid = (uint32_t)v;
}

void h_panic(struct px *px, xmlNode *n)
{
	(void)n;
	px->dom->panic.present = true;
}

/* libvirt adds this one to every q35 guest, wanted or not. */
void h_watchdog(struct px *px, xmlNode *n)
{
	static const char note[] = "left out: the board has no watchdog yet";

	if (x_is(n, "model", "itco") && px_first(px, note))
		px_warn(px, n, "model", "%s", note);
}

void check_devices(struct px *px)
{
	number_ports(px->dom);
}
