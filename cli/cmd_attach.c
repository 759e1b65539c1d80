// SPDX-License-Identifier: GPL-2.0-only
/* Verbs that plug disks and network interfaces in, and take them out. */
#include <errno.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "plug.h"
#include "store.h"
#include "vmm/domxml_int.h"

#define OUT_MS 60000

static int attach(const struct cli_cmd *cmd, const char *v[], const char *guest, const char *file, const char *text, size_t len)
{
	struct control *c = NULL;
	char *definition = NULL;
	struct scope s;
	size_t def_len;
	struct plug p;
	struct guest g;
	int status, lock = -1;

	if (plug_read(&p, file, text, len))
		return VMM_ERR_USAGE;
	if (guest_find(guest, &g)) {
		plug_free(&p);
		return VMM_ERR_SETUP;
	}
	status = scope_find(cmd, v, &g, &s);
	if (!status && s.config) {
		/* Checked before anything is done, kept when the guest has it. */
		lock = store_lock();
		definition = lock >= 0 ? plug_define(g.name, &p, NULL, &def_len) : NULL;
		status = definition ? VMM_OK : VMM_ERR_SETUP;
	}
	if (!status && s.live) {
		c = control_open_or_say(g.name);
		status = c && !plug_in(c, &p) ? VMM_OK : VMM_ERR_SETUP;
	}
	if (!status && s.config && store_write(g.name, definition, def_len)) {
		cli_error("%s: its definition: %s", g.name, strerror(errno));
		status = VMM_ERR_SETUP;
	}
	if (lock >= 0)
		close(lock);
	control_close(c);
	free(definition);
	guest_free(&g);
	plug_free(&p);
	return status;
}

/* mac NULL: the only interface. */
static int detach(const struct cli_cmd *cmd, const char *v[], const char *guest, enum xml_dev kind, const char *target,
		  const uint8_t *mac, long ms)
{
	struct xml_ref ref = { .kind = kind, .id = kind != XML_NIC ? target : mac ? NULL : "net0", .mac = mac };
	char *definition = NULL, *id = NULL;
	struct control *c = NULL;
	struct scope s;
	struct guest g;
	size_t len;
	int status, lock;

	if (guest_find(guest, &g))
		return VMM_ERR_SETUP;
	status = scope_find(cmd, v, &g, &s);
	if (!status && s.live) {
		c = control_open_or_say(g.name);
		id = c ? plug_find(c, g.name, kind, target, mac) : NULL;
		status = id ? VMM_OK : VMM_ERR_SETUP;
	}
	if (!status && s.config) {
		lock = store_lock();
		definition = lock >= 0 ? plug_define(g.name, NULL, &ref, &len) : NULL;
		status = definition ? VMM_OK : VMM_ERR_SETUP;
		if (!status && store_write(g.name, definition, len)) {
			cli_error("%s: its definition: %s", g.name, strerror(errno));
			status = VMM_ERR_SETUP;
		}
		if (lock >= 0)
			close(lock);
	}
	if (!status && s.live)
		status = plug_out(c, g.name, id, ms);
	control_close(c);
	free(definition);
	free(id);
	guest_free(&g);
	return status;
}

/* ------------------------------------------------------------ by XML */

static char *read_xml(const char *file, size_t *len)
{
	char *why = NULL, *text = doc_read(file, -1, DOMXML_MAX_FILE, len, &why);

	if (!text)
		cli_error("%s: %s", file, why ? why : "out of memory");
	free(why);
	return text;
}

static int cmd_attach_device(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 1];
	size_t len;
	char *text;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	text = read_xml(argv[optind + 1], &len);
	status = text ? attach(cmd, v, argv[optind], argv[optind + 1], text, len) : VMM_ERR_SETUP;
	free(text);
	return status;
}

#define HELP_OUT \
"A guest gives a device up in its own time: this waits until it has, or says that it\n" \
"keeps it (exit status 124). Unmount file systems first.\n"

static const struct cli_cmd attach_device_verb = {
	.name = "attach-device", .group = CLI_CHANGE, .args = "NAME FILE", .run = cmd_attach_device,
	.summary = "plug a disk, a network interface or memory in",
	.help =
"FILE holds one <disk>, <interface> or <memory>, as in a domain's XML. Files are opened,\n"
"taps and user-mode networks made by this command, with the rights of who types it.\n"
"Memory devices find room up to <maxMemory>.\n"
"\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS),
};
CLI_VERB(attach_device_verb);

static int timeout_of(const struct cli_cmd *cmd, const char *value, long *ms)
{
	*ms = value ? cli_seconds(cmd, "timeout", value) : OUT_MS;
	return *ms < 0 ? VMM_ERR_USAGE : VMM_OK;
}

#define OUT_OPT { "timeout", 't', "SECONDS", "wait so long for the guest (default: 60)" }

static int cmd_detach_device(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 2], *why = NULL;
	enum xml_dev kind;
	uint8_t mac[6];
	char *text, *target = NULL;
	bool has_mac;
	size_t len;
	long ms;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	if (timeout_of(cmd, v[O_OWN], &ms))
		return VMM_ERR_USAGE;
	text = read_xml(argv[optind + 1], &len);
	if (!text)
		return VMM_ERR_SETUP;
	status = VMM_ERR_USAGE;
	if (livexml_kind(text, len, &kind, &target, mac, &has_mac, &why))
		cli_error("%s: %s", argv[optind + 1], why);
	else
		status = detach(cmd, v, argv[optind], kind, target, has_mac ? mac : NULL, ms);
	free(target);
	free(text);
	return status;
}

static const struct cli_cmd detach_device_verb = {
	.name = "detach-device", .group = CLI_CHANGE, .args = "NAME FILE", .run = cmd_detach_device,
	.summary = "take a disk, a network interface or memory out",
	.help =
"FILE holds one <disk>, <interface> or <memory>: a disk is found by its <target dev=>, an\n"
"interface by its MAC address, memory by its <alias name=>; or where it has none in FILE, as\n"
"the guest's only one. Memory goes when nothing is requested of it and the guest has given\n"
"all of it back: `hvx update-memory-device`.\n"
"\n" HELP_OUT "\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS, [O_OWN] = OUT_OPT),
};
CLI_VERB(detach_device_verb);

/* ------------------------------------------------------------ by words */

static xmlNode *child(xmlNode *parent, const char *name)
{
	return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

static void attr(xmlNode *n, const char *name, const char *value)
{
	if (value)
		xmlNewProp(n, (const xmlChar *)name, (const xmlChar *)value);
}

/* Print the element, or plug it in; frees doc. */
static int attach_doc(const struct cli_cmd *cmd, const char *v[], const char *guest, xmlDoc *doc, bool print)
{
	xmlBuffer *buf = xmlBufferCreate();
	const char *text;
	int status = VMM_ERR_SETUP;

	if (buf && xmlNodeDump(buf, doc, xmlDocGetRootElement(doc), 0, 1) > 0) {
		text = (const char *)xmlBufferContent(buf);
		status = VMM_OK;
		if (print)
			puts(text);
		else
			status = attach(cmd, v, guest, cmd->name, text, strlen(text));
	}
	xmlBufferFree(buf);
	xmlFreeDoc(doc);
	return status;
}

static xmlNode *new_doc(xmlDoc **doc, const char *root)
{
	*doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlDocSetRootElement(*doc, xmlNewNode(NULL, (const xmlChar *)root));
	return xmlDocGetRootElement(*doc);
}

enum { D_SOURCETYPE = O_OWN, D_MODE, D_CACHE, D_SERIAL, D_SUBDRIVER, D_PRINT, D_NR };

static int cmd_attach_disk(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[D_NR + 1], *source, *type;
	xmlNode *disk, *n;
	xmlDoc *doc;
	int status = cli_parse(cmd, argc, argv, v, 3, 3);

	if (status >= 0)
		return status;
	source = argv[optind + 1];
	type = v[D_SOURCETYPE] ? v[D_SOURCETYPE] : strncmp(source, "/dev/", 5) ? "file" : "block";
	disk = new_doc(&doc, "disk");
	attr(disk, "type", type);
	attr(disk, "device", "disk");
	n = child(disk, "driver");
	attr(n, "name", "qemu");
	attr(n, "type", v[D_SUBDRIVER] ? v[D_SUBDRIVER] : "raw");
	attr(n, "cache", v[D_CACHE]);
	attr(child(disk, "source"), strcmp(type, "block") ? "file" : "dev", source);
	n = child(disk, "target");
	attr(n, "dev", argv[optind + 2]);
	attr(n, "bus", "virtio");
	if (v[D_SERIAL])
		xmlNewTextChild(disk, NULL, (const xmlChar *)"serial", (const xmlChar *)v[D_SERIAL]);
	if (v[D_MODE] && strcmp(v[D_MODE], "readonly") && strcmp(v[D_MODE], "shareable")) {
		cli_error("%s: --mode %s: readonly or shareable", cmd->name, v[D_MODE]);
		xmlFreeDoc(doc);
		return VMM_ERR_USAGE;
	}
	if (v[D_MODE])
		child(disk, v[D_MODE]);
	return attach_doc(cmd, v, argv[optind], doc, v[D_PRINT]);
}

static const struct cli_cmd attach_disk_verb = {
	.name = "attach-disk", .group = CLI_CHANGE, .args = "NAME FILE TARGET", .run = cmd_attach_disk,
	.summary = "plug a disk in",
	.help =
"FILE is an image or a block device, TARGET the disk's name: vdb.\n"
"\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS,
		[D_SOURCETYPE] = { "sourcetype", 0, "TYPE", "file or block (default: block below /dev)" },
		[D_MODE] = { "mode", 0, "MODE", "readonly or shareable" },
		[D_CACHE] = { "cache", 0, "MODE", "none, writeback, writethrough, directsync, unsafe" },
		[D_SERIAL] = { "serial", 0, "TEXT", "the serial number that the guest sees" },
		[D_SUBDRIVER] = { "subdriver", 0, "FORMAT", "the image's format: raw (default), qcow2, vdi, vmdk, vhdx or vpc" },
		[D_PRINT] = { "print-xml", 0, NULL, "print its XML and do nothing" }),
};
CLI_VERB(attach_disk_verb);

static int cmd_detach_disk(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 2];
	long ms;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	if (timeout_of(cmd, v[O_OWN], &ms))
		return VMM_ERR_USAGE;
	return detach(cmd, v, argv[optind], XML_DISK, argv[optind + 1], NULL, ms);
}

static const struct cli_cmd detach_disk_verb = {
	.name = "detach-disk", .group = CLI_CHANGE, .args = "NAME TARGET", .run = cmd_detach_disk,
	.summary = "take a disk out",
	.help = "TARGET is the disk's name: vdb.\n\n" HELP_OUT "\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS, [O_OWN] = OUT_OPT),
};
CLI_VERB(detach_disk_verb);

enum { I_MAC = O_OWN, I_MODEL, I_TARGET, I_PRINT, I_NR };

static int cmd_attach_interface(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[I_NR + 1], *type, *source;
	xmlNode *nic;
	xmlDoc *doc;
	int status = cli_parse(cmd, argc, argv, v, 2, 3);

	if (status >= 0)
		return status;
	type = argv[optind + 1];
	source = argc - optind > 2 ? argv[optind + 2] : NULL;
	nic = new_doc(&doc, "interface");
	attr(nic, "type", type);
	if (v[I_MAC])
		attr(child(nic, "mac"), "address", v[I_MAC]);
	if (source)
		attr(child(nic, "source"), !strcmp(type, "network") ? "network" : !strcmp(type, "direct") ? "dev" : "bridge", source);
	if (v[I_TARGET])
		attr(child(nic, "target"), "dev", v[I_TARGET]);
	attr(child(nic, "model"), "type", v[I_MODEL] ? v[I_MODEL] : "virtio");
	return attach_doc(cmd, v, argv[optind], doc, v[I_PRINT]);
}

static const struct cli_cmd attach_interface_verb = {
	.name = "attach-interface", .group = CLI_CHANGE, .args = "NAME TYPE [SOURCE]", .run = cmd_attach_interface,
	.summary = "plug a network interface in",
	.help =
"TYPE is user, bridge, network, ethernet or direct; SOURCE the bridge, the network, or\n"
"the host's device of type direct.\n"
"\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS,
		[I_MAC] = { "mac", 0, "ADDRESS", "its MAC address (default: a new one)" },
		[I_MODEL] = { "model", 0, "MODEL", "virtio" },
		[I_TARGET] = { "target", 0, "DEVICE", "its name on the host" },
		[I_PRINT] = { "print-xml", 0, NULL, "print its XML and do nothing" }),
};
CLI_VERB(attach_interface_verb);

enum { E_MAC = O_OWN, E_TIMEOUT, E_NR };

static int cmd_detach_interface(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[E_NR + 1];
	uint8_t mac[6];
	long ms;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);

	if (status >= 0)
		return status;
	if (timeout_of(cmd, v[E_TIMEOUT], &ms))
		return VMM_ERR_USAGE;
	if (v[E_MAC] && parse_mac(v[E_MAC], mac)) {
		cli_error("%s: --mac %s: six bytes in hex, with colons", cmd->name, v[E_MAC]);
		return VMM_ERR_USAGE;
	}
	return detach(cmd, v, argv[optind], XML_NIC, NULL, v[E_MAC] ? mac : NULL, ms);
}

static const struct cli_cmd detach_interface_verb = {
	.name = "detach-interface", .group = CLI_CHANGE, .args = "NAME [TYPE]", .run = cmd_detach_interface,
	.summary = "take a network interface out",
	.help =
"Which one is told by --mac; a guest's only one needs none. TYPE is for scripts that\n"
"were written for virsh, and has no effect.\n"
"\n" HELP_OUT "\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS,
		[E_MAC] = { "mac", 0, "ADDRESS", "of the interface" },
		[E_TIMEOUT] = OUT_OPT),
};
CLI_VERB(detach_interface_verb);
