// SPDX-License-Identifier: GPL-2.0-only
/* Verbs on a guest's disks, interfaces and memory. */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"
#include "vmm/domxml_int.h"

static const char *str_of(struct json_object *o, const char *key)
{
	const char *s = json_object_get_string(json_object_object_get(o, key));

	return s ? s : "";
}

static uint64_t num_of(struct json_object *o, const char *key)
{
	return json_object_get_uint64(json_object_object_get(o, key));
}

static struct json_object *str(const char *s)
{
	return s ? json_object_new_string(s) : NULL;
}

/* ------------------------------------------------- what the XML says: lists */

static const char *disk_device(const struct dom_disk *d)
{
	return d->cdrom ? "cdrom" : d->bus == DISK_FLOPPY ? "floppy" : "disk";
}

static void list_disks(const struct domain *dom, bool json)
{
	struct json_object *list = json_object_new_array();

	if (!json)
		printf(" %-7s %-8s %-8s %s\n----------------------------------------\n", "Type", "Device", "Target", "Source");
	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];
		struct json_object *o;

		if (!json) {
			printf(" %-7s %-8s %-8s %s\n", d->block ? "block" : "file", disk_device(d),
			       d->target ? d->target : "-", d->file ? d->file : "-");
			continue;
		}
		o = json_object_new_object();
		json_object_object_add(o, "type", str(d->block ? "block" : "file"));
		json_object_object_add(o, "device", str(disk_device(d)));
		json_object_object_add(o, "target", str(d->target));
		json_object_object_add(o, "source", str(d->file));
		json_object_object_add(o, "readonly", json_object_new_boolean(d->readonly));
		json_object_array_add(list, o);
	}
	if (json)
		print_json(json_object_get(list));
	json_object_put(list);
}

static const char *const nic_type[] = {
	[NIC_USER] = "user", [NIC_BRIDGE] = "bridge", [NIC_NETWORK] = "network",
	[NIC_ETHERNET] = "ethernet", [NIC_DIRECT] = "direct",
};

static void mac_text(const uint8_t m[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void list_nics(const struct domain *dom, bool json)
{
	struct json_object *list = json_object_new_array();
	char mac[18];

	if (!json)
		printf(" %-10s %-8s %-12s %-8s %s\n------------------------------------------------------------\n",
		       "Interface", "Type", "Source", "Model", "MAC");
	for (unsigned int i = 0; i < dom->nr_nics; i++) {
		const struct dom_nic *n = &dom->nic[i];
		struct json_object *o;

		mac_text(n->mac, mac);
		if (!json) {
			printf(" %-10s %-8s %-12s %-8s %s\n", n->ifname ? n->ifname : "-", nic_type[n->type],
			       n->source ? n->source : "-", n->model ? n->model : "virtio", mac);
			continue;
		}
		o = json_object_new_object();
		json_object_object_add(o, "interface", str(n->ifname));
		json_object_object_add(o, "type", str(nic_type[n->type]));
		json_object_object_add(o, "source", str(n->source));
		json_object_object_add(o, "model", str(n->model ? n->model : "virtio"));
		json_object_object_add(o, "mac", str(mac));
		json_object_array_add(list, o);
	}
	if (json)
		print_json(json_object_get(list));
	json_object_put(list);
}

enum { O_JSON, O_INACTIVE, O_NR };
#define LIST_OPTS OPTS( \
		[O_JSON] = { "json", 'j', NULL, "print an array of objects" }, \
		[O_INACTIVE] = { "inactive", 'i', NULL, "of the definition, not of what runs" })

static int lists(const struct cli_cmd *cmd, int argc, char **argv, void (*print)(const struct domain *dom, bool json))
{
	const char *v[O_NR + 1];
	struct domain *dom;
	struct guest g;
	int status = cli_guest(cmd, argc, argv, v, 1, 1, &g);

	if (status >= 0)
		return status;
	dom = guest_domain(&g, v[O_INACTIVE]);
	if (dom)
		print(dom, v[O_JSON]);
	status = dom ? VMM_OK : VMM_ERR_SETUP;
	domain_free(dom);
	guest_free(&g);
	return status;
}

static int cmd_domblklist(const struct cli_cmd *cmd, int argc, char **argv)
{
	return lists(cmd, argc, argv, list_disks);
}

static const struct cli_cmd domblklist_verb = {
	.name = "domblklist", .group = CLI_LOOK, .args = "NAME", .run = cmd_domblklist,
	.summary = "list a guest's disks", .help = "Type, device, target and source of each disk.\n", .opts = LIST_OPTS,
};
CLI_VERB(domblklist_verb);

static int cmd_domiflist(const struct cli_cmd *cmd, int argc, char **argv)
{
	return lists(cmd, argc, argv, list_nics);
}

static const struct cli_cmd domiflist_verb = {
	.name = "domiflist", .group = CLI_LOOK, .args = "NAME", .run = cmd_domiflist,
	.summary = "list a guest's network interfaces", .help = "Name on the host, type, source, model and MAC address.\n",
	.opts = LIST_OPTS,
};
CLI_VERB(domiflist_verb);

/* ----------------------------------------------------- what the VMM says */

/* The element of list whose member key is wanted (any case), or its first where that is NULL. */
static struct json_object *pick(struct json_object *list, const char *key, const char *key2, const char *wanted)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!wanted || !strcasecmp(str_of(o, key), wanted) || (key2 && !strcasecmp(str_of(o, key2), wanted)))
			return o;
	}
	return NULL;
}

/* A verb that prints the numbers of one element of what a query returns. */
static int one_of(const struct cli_cmd *cmd, int argc, char **argv, const char *query, const char *key,
		  const char *key2, void (*print)(struct json_object *o))
{
	const char *v[2], *wanted;
	struct json_object *list = NULL, *o;
	struct guest g;
	struct control *c;
	int status = cli_control(cmd, argc, argv, v, 1, 2, &g, &c);

	if (status >= 0)
		return status;
	wanted = argc - optind > 1 ? argv[optind + 1] : NULL;
	status = VMM_ERR_SETUP;
	if (!control_do(c, query, NULL, &list)) {
		o = pick(list, key, key2, wanted);
		if (o && v[0])
			print_json(json_object_get(o));
		else if (o)
			print(o);
		else
			cli_error("%s: %s%s", g.name, wanted ? wanted : "", wanted ? ": no such device" : "it has none");
		status = o ? VMM_OK : VMM_ERR_SETUP;
	}
	json_object_put(list);
	control_close(c);
	guest_free(&g);
	return status;
}

static void print_blkstat(struct json_object *o)
{
	static const char *const names[][2] = {
		{ "rd_req", "rd_operations" }, { "rd_bytes", "rd_bytes" }, { "wr_req", "wr_operations" },
		{ "wr_bytes", "wr_bytes" }, { "flush_operations", "flush_operations" },
		{ "rd_total_times", "rd_total_time_ns" }, { "wr_total_times", "wr_total_time_ns" },
		{ "flush_total_times", "flush_total_time_ns" }, { "errs", "x-hvx-failed_operations" },
	};
	struct json_object *s = json_object_object_get(o, "stats");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf("%s %s %" PRIu64 "\n", str_of(o, "device"), names[i][0], num_of(s, names[i][1]));
}

static int cmd_domblkstat(const struct cli_cmd *cmd, int argc, char **argv)
{
	return one_of(cmd, argc, argv, "query-blockstats", "device", NULL, print_blkstat);
}

#define JSON_OPT OPTS({ "json", 'j', NULL, "print JSON" })

static const struct cli_cmd domblkstat_verb = {
	.name = "domblkstat", .group = CLI_LOOK, .args = "NAME [DISK]", .run = cmd_domblkstat,
	.summary = "show what a disk has carried",
	.help = "DISK is a target, vda; without it, the first disk. Since the guest was started; times in ns.\n",
	.opts = JSON_OPT,
};
CLI_VERB(domblkstat_verb);

/* Frames that the kernel carries are counted at the tap device. */
static uint64_t tap_count(const char *ifname, const char *what)
{
	unsigned long long n = 0;
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", ifname, what);
	f = strchr(ifname, '/') ? NULL : fopen(path, "re");
	if (f && fscanf(f, "%llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void print_ifstat(struct json_object *o)
{
	/* The host's tap sends what the guest receives. */
	static const char *const names[][3] = {
		{ "rx_bytes", "rx-bytes", "tx_bytes" }, { "rx_packets", "rx-frames", "tx_packets" },
		{ "rx_drop", "rx-dropped", "tx_dropped" }, { "tx_bytes", "tx-bytes", "rx_bytes" },
		{ "tx_packets", "tx-frames", "rx_packets" }, { "tx_drop", "tx-dropped", "rx_dropped" },
	};
	bool kernel = json_object_get_boolean(json_object_object_get(o, "vhost")) && *str_of(o, "ifname");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf("%s %s %" PRIu64 "\n", str_of(o, "mac"), names[i][0],
		       kernel ? tap_count(str_of(o, "ifname"), names[i][2]) : num_of(o, names[i][1]));
}

static int cmd_domifstat(const struct cli_cmd *cmd, int argc, char **argv)
{
	return one_of(cmd, argc, argv, "x-hvx-query-nics", "mac", "ifname", print_ifstat);
}

static const struct cli_cmd domifstat_verb = {
	.name = "domifstat", .group = CLI_LOOK, .args = "NAME [INTERFACE]", .run = cmd_domifstat,
	.summary = "show what a network interface has carried",
	.help = "INTERFACE is a MAC address or the interface's name on the host; without it, the first one.\n",
	.opts = JSON_OPT,
};
CLI_VERB(domifstat_verb);

/* --- domifaddr --- */

struct addr {
	char mac[18], address[64];
	const char *source;
};

/* The neighbours that the host has spoken to. */
static void from_arp(struct addr *a)
{
	char line[256], ip[64], mac[64];
	FILE *f = fopen("/proc/net/arp", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %*s %*s %63s", ip, mac) != 2 || strcasecmp(mac, a->mac))
			continue;
		snprintf(a->address, sizeof(a->address), "%s", ip);
		a->source = "arp";
	}
	if (f)
		fclose(f);
}

/* User mode: DHCP there gives the address in the XML, or where that is a network the fifteenth of it. */
static void from_user(struct addr *a, const struct dom_nic *n)
{
	unsigned int prefix = n->ip_prefix ? n->ip_prefix : 24;
	struct in_addr ip;
	uint32_t host;

	if (!inet_aton(n->ip_address ? n->ip_address : "10.0.2.0", &ip))
		return;
	host = ntohl(ip.s_addr) & (uint32_t)((1ULL << (32 - prefix)) - 1);
	if (!host)
		ip.s_addr = htonl(ntohl(ip.s_addr) + 15);
	snprintf(a->address, sizeof(a->address), "%s/%u", inet_ntoa(ip), prefix);
	a->source = "user";
}

static void find_address(struct addr *a, const struct dom_nic *n)
{
	memset(a, 0, sizeof(*a));
	mac_text(n->mac, a->mac);
	if (n->type == NIC_USER)
		from_user(a, n);
	else
		from_arp(a);
}

static void print_addresses(const struct domain *dom, bool json)
{
	struct json_object *list = json_object_new_array();

	if (!json)
		printf(" %-10s %-19s %-9s %s\n--------------------------------------------------------\n", "Name",
		       "MAC address", "Source", "Address");
	for (unsigned int i = 0; i < dom->nr_nics; i++) {
		const char *name = dom->nic[i].ifname ? dom->nic[i].ifname : "-";
		struct json_object *o;
		struct addr a;

		find_address(&a, &dom->nic[i]);
		if (!a.source)
			continue;
		if (!json) {
			printf(" %-10s %-19s %-9s %s\n", name, a.mac, a.source, a.address);
			continue;
		}
		o = json_object_new_object();
		json_object_object_add(o, "name", str(dom->nic[i].ifname));
		json_object_object_add(o, "mac", str(a.mac));
		json_object_object_add(o, "source", str(a.source));
		json_object_object_add(o, "address", str(a.address));
		json_object_array_add(list, o);
	}
	if (json)
		print_json(json_object_get(list));
	json_object_put(list);
}

static int cmd_domifaddr(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[2];
	struct domain *dom;
	struct guest g;
	int status = cli_guest(cmd, argc, argv, v, 1, 1, &g);

	if (status >= 0)
		return status;
	dom = g.dir ? guest_domain(&g, false) : NULL;
	if (!g.dir)
		cli_error("%s: the guest is not running", g.name);
	if (dom)
		print_addresses(dom, v[0]);
	status = dom ? VMM_OK : VMM_ERR_SETUP;
	domain_free(dom);
	guest_free(&g);
	return status;
}

static const struct cli_cmd domifaddr_verb = {
	.name = "domifaddr", .group = CLI_LOOK, .args = "NAME", .run = cmd_domifaddr,
	.summary = "show a guest's network addresses",
	.help =
"Source user: the address that user-mode networking gives by DHCP. Source arp: the\n"
"host's table of neighbours, where a guest appears that the host has spoken to.\n",
	.opts = JSON_OPT,
};
CLI_VERB(domifaddr_verb);

/* ---------------------------------------------------------------- memory */

/* "1048576" KiB as virsh has it, "512M", "2GiB". 0 after a message: none of them. */
static uint64_t size_of(const struct cli_cmd *cmd, const char *s)
{
	static const char units[] = "KMGT";
	size_t len = strspn(s, "0123456789");
	const char *u = units, *unit = s + len;
	char number[24];
	unsigned int shift;
	long n;

	/* A space would become the NUL that ends units. */
	if (*unit)
		u = isalpha((unsigned char)*unit) ? strchr(units, toupper((unsigned char)*unit)) : NULL;
	if (u && len < sizeof(number) && (!*unit || !unit[1] || !strcasecmp(unit + 1, "iB"))) {
		shift = 10 * (unsigned int)(u - units + 1);
		snprintf(number, sizeof(number), "%.*s", (int)len, s);
		if (number_parse(number, 1, LONG_MAX >> shift, &n))
			return (uint64_t)n << shift;
	}
	cli_error("%s: %s: not a size; write KiB, or a number with K, M, G or T", cmd->name, s);
	return 0;
}

/* The last argument, a size, to the VMM as `key` of a command; the one before it, where there is one, as `device`. */
static int set_size(const struct cli_cmd *cmd, int argc, char **argv, int nr, const char *command, const char *key)
{
	struct json_object *args;
	const char *v[1];
	struct guest g;
	struct control *c;
	uint64_t bytes;
	int status = cli_parse(cmd, argc, argv, v, nr, nr);

	if (status >= 0)
		return status;
	bytes = size_of(cmd, argv[argc - 1]);
	if (!bytes)
		return VMM_ERR_USAGE;
	c = guest_control(argv[optind], &g);
	if (!c)
		return VMM_ERR_SETUP;
	args = json_object_new_object();
	if (nr == 3)
		json_object_object_add(args, "device", json_object_new_string(argv[optind + 1]));
	json_object_object_add(args, key, json_object_new_int64((int64_t)bytes));
	status = control_do(c, command, args, NULL) ? VMM_ERR_SETUP : VMM_OK;
	control_close(c);
	guest_free(&g);
	return status;
}

static int cmd_setmem(const struct cli_cmd *cmd, int argc, char **argv)
{
	return set_size(cmd, argc, argv, 2, "balloon", "value");
}

static const struct cli_cmd setmem_verb = {
	.name = "setmem", .group = CLI_CHANGE, .args = "NAME SIZE", .run = cmd_setmem,
	.summary = "let a running guest have more or less memory",
	.help =
"Asks the guest's balloon to give up memory, or gives it back, up to what the guest began\n"
"with: memory devices do not count, see `hvx update-memory-device`. SIZE is in KiB, or has\n"
"a unit: K, M, G, T. The guest follows in its own time: see `hvx dommemstat`.\n",
	.opts = NO_OPTS,
};
CLI_VERB(setmem_verb);

static int cmd_blockresize(const struct cli_cmd *cmd, int argc, char **argv)
{
	return set_size(cmd, argc, argv, 3, "block_resize", "size");
}

static const struct cli_cmd blockresize_verb = {
	.name = "blockresize", .group = CLI_CHANGE, .args = "NAME DISK SIZE", .run = cmd_blockresize,
	.summary = "give a running guest's disk another size",
	.help =
"DISK is a target, vda. SIZE is in KiB, or has a unit: K, M, G, T. The guest sees the\n"
"new size at once; its partitions and file systems are its own to change. What is\n"
"beyond a smaller size is lost. Of images that are not raw, qcow2 ones can have another\n"
"size; a disk with snapshots cannot.\n",
	.opts = NO_OPTS,
};
CLI_VERB(blockresize_verb);

static int cmd_dommemstat(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *ret = NULL;
	const char *v[2];
	struct guest g;
	struct control *c;
	int status = cli_control(cmd, argc, argv, v, 1, 1, &g, &c);

	if (status >= 0)
		return status;
	status = control_do(c, "query-balloon", NULL, &ret) ? VMM_ERR_SETUP : VMM_OK;
	if (!status && v[0]) {
		print_json(json_object_get(ret));
	} else if (!status) {
		printf("actual %" PRIu64 "\n", num_of(ret, "actual") >> 10);
		json_object_object_foreach(json_object_object_get(ret, "x-hvx-stats"), key, value)
			printf("%s %" PRIu64 "\n", key, json_object_get_uint64(value) >> (strstr(key, "fault") ? 0 : 10));
	}
	json_object_put(ret);
	control_close(c);
	guest_free(&g);
	return status;
}

static const struct cli_cmd dommemstat_verb = {
	.name = "dommemstat", .group = CLI_LOOK, .args = "NAME", .run = cmd_dommemstat,
	.summary = "show a guest's memory as its balloon's driver tells",
	.help =
"In KiB, but for counts of faults. More than `actual` is there where the XML has\n"
"<stats period='N'/> in <memballoon>.\n",
	.opts = OPTS({ "json", 'j', NULL, "print JSON; bytes" }),
};
CLI_VERB(dommemstat_verb);
