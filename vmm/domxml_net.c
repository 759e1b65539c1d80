// SPDX-License-Identifier: GPL-2.0-only
/* <interface>. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include "domxml_int.h"
#include "livexml.h"

#define NIC_QUEUES_MAX	64
#define RANGES_MAX	512	/* of port forwards, of all interfaces */

/* --- where it is connected --- */

static const struct { const char *name; enum nic_type type; } nic_types[] = {
	{ "user", NIC_USER }, { "bridge", NIC_BRIDGE }, { "network", NIC_NETWORK },
	{ "ethernet", NIC_ETHERNET }, { "direct", NIC_DIRECT },
};

static bool ifname_ok(const char *s)
{
	size_t n = strlen(s);

	return n && n < IFNAMSIZ && strcmp(s, ".") && strcmp(s, "..") && !s[strcspn(s, "/: \t\r\n")];
}

static void need_device(struct px *px, xmlNode *n, const char *attr, struct dom_nic *nic)
{
	xmlNode *source = x_child(n, "source");
	const char *s = x_attr(source, attr);

	if (!s)
		px_err(px, source ? source : n, source ? NULL : "type", "no %s=; add <source %s='NAME'/>", attr, attr);
	else if (!ifname_ok(s))
		px_err(px, source, attr, "not an interface's name; see: ip link");
	else
		nic->source = strdup(s);
}

/* libvirt's networks are bridges; where this one's does not exist, NAT in the VMM's own helper does as well. */
static void network(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	static const char note[] =
		"no bridge of this network exists on this host: the guest gets user-mode networking "
		"(it reaches out; nothing reaches in, except by <portForward>)";
	xmlNode *source = x_child(n, "source");
	const char *name = x_attr(source, "network");

	if (!name || !*name) {
		px_err(px, source ? source : n, source ? NULL : "type", "no network=; add <source network='default'/>");
		return;
	}
	nic->source = host_network_bridge(px, name);
	nic->type = nic->source ? NIC_BRIDGE : NIC_USER;
	if (!nic->source && px_first(px, note))
		px_warn(px, source, "network", "%s", note);
}

static void connection(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	const char *type = x_attr(n, "type");
	size_t i = 0;

	while (i < sizeof(nic_types) / sizeof(nic_types[0]) && (!type || strcmp(type, nic_types[i].name)))
		i++;
	if (i == sizeof(nic_types) / sizeof(nic_types[0])) {
		px_err(px, n, type ? "type" : NULL, "not a connection that hvx has; write type='user', 'bridge', "
		       "'network', 'ethernet' or 'direct'");
		return;
	}
	nic->type = nic_types[i].type;
	if (nic->type == NIC_BRIDGE) {
		need_device(px, n, "bridge", nic);
	} else if (nic->type == NIC_NETWORK) {
		network(px, n, nic);
	} else if (nic->type == NIC_DIRECT) {
		need_device(px, n, "dev", nic);
		if (!x_is(x_child(n, "source"), "mode", "bridge"))
			px_err(px, x_child(n, "source") ? x_child(n, "source") : n, "mode",
			       "only macvtap's bridge mode is supported; write mode='bridge'");
	}
}

static void target(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	xmlNode *t = x_child(n, "target");
	const char *dev = x_attr(t, "dev");

	nic->managed_tap = !x_is(t, "managed", "no");
	/* A running libvirt guest's XML has vnetN, which is libvirt's choice of the day. */
	if (dev && *dev && strncmp(dev, "vnet", 4)) {
		if (ifname_ok(dev))
			nic->ifname = strdup(dev);
		else
			px_err(px, t, "dev", "not an interface's name; write at most 15 characters, as in: ip link");
	}
	if (nic->type == NIC_ETHERNET && !nic->ifname)
		px_err(px, t ? t : n, t ? "dev" : "type", "no tap device; add <target dev='tap0' managed='no'/>");
}

/* --- port forwards --- */

static bool address_ok(const char *s)
{
	struct in6_addr a;

	return inet_pton(AF_INET, s, &a) == 1 || inet_pton(AF_INET6, s, &a) == 1;
}

struct range {
	uint16_t start, end, to;
};

static bool read_range(struct px *px, xmlNode *n, struct range *r)
{
	uint64_t start = 0, end, to;

	if (++px->nr_ranges > RANGES_MAX) {
		if (px->nr_ranges == RANGES_MAX + 1)
			px_err(px, n, NULL, "more than %d ranges; leave some out", RANGES_MAX);
		return false;
	}
	if (!x_attr(n, "start"))
		px_err(px, n, NULL, "no start=; write start='2222' to='22'");
	if (!x_num(px, n, "start", 1, 65535, &start))
		return false;
	end = to = start;
	if (x_attr(n, "end") && !x_num(px, n, "end", start, 65535, &end))
		return false;
	if (x_attr(n, "to") && !x_num(px, n, "to", 1, 65535 - (end - start), &to))
		return false;
	r->start = (uint16_t)start;
	r->end = (uint16_t)end;
	r->to = (uint16_t)to;
	return true;
}

static bool add_fwd(struct px *px, xmlNode *n, struct dom_nic *nic, const struct dom_fwd *fwd, const char *addr)
{
	if (nic->nr_fwd == DOM_MAX_FWD) {
		px_err(px, n, NULL, "more than %d runs of ports on one interface; leave some out", DOM_MAX_FWD);
		return false;
	}
	nic->fwd[nic->nr_fwd] = *fwd;
	nic->fwd[nic->nr_fwd].host_addr = addr && *addr ? strdup(addr) : NULL;
	nic->nr_fwd++;
	return true;
}

/* The runs of a range that `excluded` (a bit a port) leaves. */
static bool add_range(struct px *px, xmlNode *n, struct dom_nic *nic, const struct range *r,
		      const uint8_t *excluded, const char *addr, bool udp)
{
	struct dom_fwd fwd = { .udp = udp };

	for (unsigned int p = r->start; p <= r->end; p++) {
		bool skip = excluded[p / 8] & (1u << p % 8);

		if (!skip && !fwd.count) {
			fwd.host_port = (uint16_t)p;
			fwd.guest_port = (uint16_t)(r->to + (p - r->start));
		}
		fwd.count += !skip;
		if (fwd.count && (skip || p == r->end)) {
			if (!add_fwd(px, n, nic, &fwd, addr))
				return false;
			fwd.count = 0;
		}
	}
	return true;
}

static void port_forward(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	uint8_t excluded[65536 / 8] = { 0 };
	const char *addr = x_attr(n, "address");
	struct range r;

	if (!x_attr(n, "proto"))
		px_err(px, n, NULL, "no proto=; write proto='tcp' or proto='udp'");
	if (addr && *addr && !address_ok(addr))
		px_err(px, n, "address", "not an IP address; write one of this host's, as in: ip address");
	if (!x_child(n, "range"))
		px_err(px, n, "proto", "all ports at once are not forwarded; add <range start='2222' to='22'/>");
	for (xmlNode *c = x_child(n, "range"); c; c = x_next(c, "range")) {
		if (!x_yes(c, "exclude") || !read_range(px, c, &r))
			continue;
		for (unsigned int p = r.start; p <= r.end; p++)
			excluded[p / 8] |= (uint8_t)(1u << p % 8);
	}
	for (xmlNode *c = x_child(n, "range"); c; c = x_next(c, "range")) {
		if (!x_yes(c, "exclude") && read_range(px, c, &r) &&
		    !add_range(px, c, nic, &r, excluded, addr, x_is(n, "proto", "udp")))
			return;
	}
}

/* --- addresses --- */

static void ip_address(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	static const char other[] = "left out: set addresses inside the guest";
	const char *addr = x_attr(n, "address");
	uint64_t prefix = 24;
	struct in_addr a;

	if (nic->type != NIC_USER || x_is(n, "family", "ipv6")) {
		if (px_first(px, other))
			px_warn(px, n, "address", "%s", other);
		return;
	}
	if (nic->ip_address) {
		px_err(px, n, "address", "a second IPv4 address; keep one");
	} else if (!addr || inet_pton(AF_INET, addr, &a) != 1) {
		px_err(px, n, addr ? "address" : NULL, "not an IPv4 address; write address='10.0.2.0' prefix='24'");
	} else if (!x_attr(n, "prefix") || x_num(px, n, "prefix", 8, 30, &prefix)) {
		nic->ip_address = strdup(addr);
		nic->ip_prefix = (unsigned int)prefix;
	}
}

static void mac_address(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	static const uint8_t zero[6];
	xmlNode *mac = x_child(n, "mac");
	const char *s = x_attr(mac, "address");

	if (!s)
		return;		/* check_nics() makes one */
	if (parse_mac(s, nic->mac))
		px_err(px, mac, "address", "not a MAC address; write 52:54:00:12:34:56, or remove <mac> to have one made");
	else if (nic->mac[0] & 1)
		px_err(px, mac, "address", "a multicast address; make the first byte even, as in 52:54:00:12:34:56");
	else if (!memcmp(nic->mac, zero, 6))
		px_err(px, mac, "address", "all zero; write another, or remove <mac> to have one made");
	else
		nic->mac_given = true;
}

static void nic_options(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	xmlNode *model = x_child(n, "model"), *driver = x_child(n, "driver");
	const char *type = x_attr(model, "type");
	uint64_t v;

	if (type && strcmp(type, "virtio") && strcmp(type, "virtio-transitional") &&
	    strcmp(type, "virtio-non-transitional"))
		px_err(px, model, "type", "only virtio network cards are supported for now; write <model type='virtio'/>");
	nic->model = strdup("virtio");
	nic->vhost = x_is(driver, "name", "qemu") ? 0 : x_is(driver, "name", "vhost") ? 1 : -1;
	if (x_num(px, driver, "queues", 1, NIC_QUEUES_MAX, &v))
		nic->queues = (unsigned int)v;
	if (x_num(px, x_child(n, "mtu"), "size", 68, 65535, &v))
		nic->mtu = (unsigned int)v;
	nic->link_down = x_is(x_child(n, "link"), "state", "down");
	nic->boot_order = boot_order(px, n);
}

/* Which one it is of a running guest, where its place does not tell (vmm/livexml.h). Others' aliases have no effect. */
static void device_id(struct px *px, xmlNode *n, struct dom_nic *nic)
{
	const char *name = x_attr(x_child(n, "alias"), "name");
	size_t prefix = strlen(XML_ALIAS);

	if (!name || strncmp(name, XML_ALIAS, prefix))
		return;
	if (!device_id_ok(name + prefix))
		px_err(px, x_child(n, "alias"), "name", "an id behind " XML_ALIAS " has 1 to 15 letters and digits, for example " XML_ALIAS "net1");
	else
		nic->id = strdup(name + prefix);
}

void h_interface(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	struct dom_nic *nic = &dom->nic[dom->nr_nics];

	if (dom->nr_nics == DOM_MAX_NICS) {
		if (px_first(px, "interfaces"))
			px_err(px, n, "type", "more than %d interfaces; leave some out", DOM_MAX_NICS);
		return;
	}
	px->nic_node[dom->nr_nics++] = n;
	nic->line = (unsigned int)xmlGetLineNo(n);
	connection(px, n, nic);
	target(px, n, nic);
	mac_address(px, n, nic);
	nic_options(px, n, nic);
	nic_rates(px, n, nic);
	device_id(px, n, nic);
	for (xmlNode *c = x_child(n, "ip"); c; c = x_next(c, "ip"))
		ip_address(px, c, nic);
	for (xmlNode *c = x_child(n, "portForward"); c; c = x_next(c, "portForward")) {
		if (nic->type == NIC_USER)
			port_forward(px, c, nic);
		else
			px_err(px, c, "proto", "only of <interface type='user'>; remove it, a bridged guest is reached directly");
	}
}

static void check_macs(struct px *px, unsigned int i)
{
	struct dom_nic *nic = &px->dom->nic[i];

	for (unsigned int j = 0; j < i; j++) {
		struct dom_nic *other = &px->dom->nic[j];

		if (nic->id && other->id && !strcmp(nic->id, other->id))
			px_err(px, x_child(px->nic_node[i], "alias"), "name",
			       "the interface at line %u has this alias; take another", other->line);
		if (memcmp(nic->mac, other->mac, 6))
			continue;
		if (nic->mac_given && other->mac_given)
			px_err(px, x_child(px->nic_node[i], "mac"), "address",
			       "the interface at line %u has this address; take another", other->line);
		else	/* a made one met another: 1 in 16 million */
			(nic->mac_given ? other : nic)->mac[3] ^= 0x80 | (uint8_t)i;
	}
}

static bool fwd_overlap(const struct dom_fwd *a, const struct dom_fwd *b)
{
	bool ports = a->host_port < b->host_port + b->count && b->host_port < a->host_port + a->count;
	bool addr = !a->host_addr || !b->host_addr || !strcmp(a->host_addr, b->host_addr);

	return a->udp == b->udp && ports && addr;
}

static void check_forwards(struct px *px, unsigned int i)
{
	const struct dom_nic *nic = &px->dom->nic[i];

	for (unsigned int f = 0; f < nic->nr_fwd; f++) {
		for (unsigned int j = 0; j <= i; j++) {
			const struct dom_nic *o = &px->dom->nic[j];

			for (unsigned int g = 0; g < (j == i ? f : o->nr_fwd); g++) {
				if (!fwd_overlap(&nic->fwd[f], &o->fwd[g]))
					continue;
				px_err(px, x_child(px->nic_node[i], "portForward"), "proto",
				       "host port %u is forwarded twice; take another port or address",
				       nic->fwd[f].host_port > o->fwd[g].host_port ?
				       nic->fwd[f].host_port : o->fwd[g].host_port);
				return;
			}
		}
	}
}

void check_nics(struct px *px)
{
	for (unsigned int i = 0; i < px->dom->nr_nics; i++) {
		if (!px->dom->nic[i].mac_given)
			make_mac(px->dom->uuid, i, px->dom->nic[i].mac);
		check_macs(px, i);
		check_forwards(px, i);
	}
}
