// SPDX-License-Identifier: GPL-2.0-only
/* The guest as a whole: names, memory, <os>, <sysinfo>, lifecycle, hvx's and QEMU's own elements. */
#include <stdlib.h>
#include <string.h>
#include "domxml_int.h"

#define MIB		(1ULL << 20)
#define MEMORY_MAX	(1ULL << 46)	/* more than any guest's address width here */
#define NAME_MAX_LEN	64		/* the runtime folder's name is made of it */
#define QEMU_DEBUG_EXIT_PORT 0x501	/* isa-debug-exit without iobase= */

void h_name(struct px *px, xmlNode *n)
{
	const char *s = x_text(px, n);

	px->name_seen = true;
	if (!*s)
		px_err(px, n, NULL, "empty; give the guest a name");
	else if (strlen(s) > NAME_MAX_LEN)
		px_err(px, n, NULL, "longer than %d bytes; shorten it", NAME_MAX_LEN);
	else if (strchr(s, '/') || s[0] == '.')
		px_err(px, n, NULL, "a name has no '/' and does not begin with a dot; change it");
	else if (s[strcspn(s, "\t\r\n")])
		px_err(px, n, NULL, "a name is one line; change it");
	else
		px->dom->name = strdup(s);
}

void h_title(struct px *px, xmlNode *n)
{
	px->dom->title = x_text_dup(px, n);
}

void h_description(struct px *px, xmlNode *n)
{
	px->dom->description = x_text_dup(px, n);
}

void h_uuid(struct px *px, xmlNode *n)
{
	const char *s = x_text(px, n);

	if (!*s)
		return;		/* as if it were not there */
	if (parse_uuid(s, px->dom->uuid))
		px_err(px, n, NULL, "not a UUID; write 32 hex digits as 8-4-4-4-12, or remove the element");
	else
		px->dom->uuid_given = true;
}

void size_error(struct px *px, const xmlNode *n, int err)
{
	if (err == -1)
		px_err(px, n, NULL, "not a whole number; write digits, and the unit as unit='MiB'");
	else if (err == -2)
		px_err(px, n, "unit", "not a unit; write one of b, KB, KiB, MB, MiB, GB, GiB, TB, TiB");
	else
		px_err(px, n, NULL, "more memory than a guest can have; check the unit");
}

void h_memory(struct px *px, xmlNode *n)
{
	const char *name = (const char *)n->name;
	uint64_t bytes = 0;
	int err = parse_size(x_text(px, n), x_attr(n, "unit"), &bytes);

	if (!strcmp(name, "memory"))
		px->memory_seen = true;
	if (!err && bytes > MEMORY_MAX)
		err = -3;
	if (err) {
		size_error(px, n, err);
		return;
	}
	bytes = (bytes + MIB - 1) & ~(MIB - 1);
	if (!strcmp(name, "currentMemory")) {
		px->dom->current_memory = bytes;
	} else if (!strcmp(name, "maxMemory")) {
		px->dom->max_memory = bytes;
		px->max_memory_node = n;
	} else if (!bytes) {
		px_err(px, n, NULL, "no memory at all; write at least 1 MiB");
	} else {
		px->dom->memory = bytes;
	}
}

void h_vcpu(struct px *px, xmlNode *n)
{
	uint64_t max = 1, now;

	if (*x_text(px, n) && !x_textnum(px, n, 1, 64, &max))
		return;
	now = max;
	x_num(px, n, "current", 1, max, &now);
	px->dom->max_vcpus = (unsigned int)max;
	px->dom->vcpus = (unsigned int)now;
	if (x_attr(n, "cpuset"))
		x_cpuset(px, n, "cpuset", &px->dom->tune.vcpu_set);
}

static void hugepage_size(struct px *px, xmlNode *page)
{
	uint64_t bytes = 0;
	const char *size = x_attr(page, "size");

	if (!size || parse_size(size, x_attr(page, "unit"), &bytes) ||
	    (bytes != 2 * MIB && bytes != 1024 * MIB))
		px_err(px, page, "size", "not a huge page of x86; write size='2' unit='M' or size='1' unit='G'");
	else
		px->dom->backing.hugepage_size = bytes;
	if (x_next(page, "page"))
		px_err(px, x_next(page, "page"), "size", "one size of pages only; keep one <page>");
}

void h_backing(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *huge = x_child(n, "hugepages");

	dom->backing.hugepages = huge;
	if (x_child(huge, "page"))
		hugepage_size(px, x_child(huge, "page"));
	dom->backing.locked = x_child(n, "locked");
	dom->backing.nosharepages = x_child(n, "nosharepages");
	dom->backing.prealloc = x_is(x_child(n, "allocation"), "mode", "immediate");
	dom->backing.shared = x_is(x_child(n, "access"), "mode", "shared");
}

/* --- <os> --- */

static void add_module(struct px *px, const xmlNode *n, const char *path, size_t len)
{
	struct domain *dom = px->dom;
	char *one;

	if (dom->os.nr_modules == DOM_MAX_MODULES) {
		px_err(px, n, NULL, "more than %d modules; leave some out", DOM_MAX_MODULES);
		return;
	}
	one = px_keep(px, strndup(path, len));
	if (one && *one)
		dom->os.module[dom->os.nr_modules++] = x_path(px, one);
}

/*
 * Multiboot modules as QEMU's -initrd has them: "FILE ARGUMENTS,FILE ...", a
 * comma inside is written twice. A Linux kernel takes os.initrd as it is.
 */
static void split_modules(struct px *px, const xmlNode *n)
{
	const char *s = x_text(px, n);
	char *one = px_keep(px, calloc(1, strlen(s) + 1));
	size_t len = 0;

	if (!one)
		return;
	for (; *s && px->dom->os.nr_modules < DOM_MAX_MODULES; s++) {
		if (*s == ',' && s[1] != ',') {
			add_module(px, n, one, len);
			len = 0;
			continue;
		}
		s += *s == ',';
		one[len++] = *s;
	}
	if (*s || len)
		add_module(px, n, one, len);
}

static void boot_devices(struct px *px, xmlNode *n)
{
	static const struct { const char *name; char code; } dev[] = {
		{ "hd", 'h' }, { "cdrom", 'c' }, { "network", 'n' }, { "fd", 'f' },
	};
	unsigned int nr = 0;

	for (xmlNode *b = x_child(n, "boot"); b; b = x_next(b, "boot")) {
		if (!x_attr(b, "dev")) {
			px_err(px, b, NULL, "no dev=; write dev='hd', 'cdrom', 'network' or 'fd'");
			continue;
		}
		for (size_t i = 0; i < sizeof(dev) / sizeof(dev[0]); i++) {
			if (!x_is(b, "dev", dev[i].name))
				continue;
			if (memchr(px->dom->os.boot_dev, dev[i].code, nr))
				px_err(px, b, "dev", "given twice; keep one");
			else if (nr < sizeof(px->dom->os.boot_dev))
				px->dom->os.boot_dev[nr++] = dev[i].code;
		}
	}
}

static bool machine_is_pc(const char *s)
{
	return !s || !*s || !strncmp(s, "pc", 2) || !strcmp(s, "q35") || !strcmp(s, "microvm");
}

static void os_type(struct px *px, xmlNode *n)
{
	xmlNode *type = x_child(n, "type");
	const char *machine = x_attr(type, "machine");

	if (!type)
		return;
	if (strcmp(x_text(px, type), "hvm"))
		px_err(px, type, NULL, "not a virtual machine that hvx can run; write <type arch='x86_64' machine='q35'>hvm</type>");
	if (machine_is_pc(machine))
		px->dom->os.machine = x_attr_dup(type, "machine");
	else
		px_err(px, type, "machine", "not a PC; write machine='q35'");
}

#define NO_FIRMWARE \
	"firmware boot (UEFI or BIOS) is not supported yet; for now remove it and boot a kernel directly: " \
	"<kernel>, <initrd>, <cmdline>"

static void os_firmware(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *loader = x_child(n, "loader"), *nvram = x_child(n, "nvram");

	dom->os.efi = x_is(n, "firmware", "efi");
	dom->os.loader = x_text_dup(px, loader);
	dom->os.nvram = x_text_dup(px, nvram);
	dom->os.nvram_template = x_attr_dup(nvram, "template");
	dom->os.secure_boot = x_yes(loader, "secure");
	if (dom->os.efi)
		px_err(px, n, "firmware", NO_FIRMWARE);
	else if (dom->os.loader)
		px_err(px, loader, NULL, NO_FIRMWARE);
	else if (dom->os.nvram)
		px_err(px, nvram, NULL, NO_FIRMWARE);
}

void h_os(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *initrd = x_child(n, "initrd");

	px->os_node = n;
	os_type(px, n);
	os_firmware(px, n);
	boot_devices(px, n);
	dom->os.kernel = x_path(px, x_text(px, x_child(n, "kernel")));
	dom->os.cmdline = x_text_dup(px, x_child(n, "cmdline"));
	if (initrd && *x_text(px, initrd)) {
		dom->os.initrd = x_path(px, x_text(px, initrd));
		split_modules(px, initrd);
	}
	dom->os.boot_menu = x_yes(x_child(n, "bootmenu"), "enable");
	dom->os.smbios_host = x_is(x_child(n, "smbios"), "mode", "host");
}

void check_os(struct px *px)
{
	struct domain *dom = px->dom;

	if (dom->os.kernel || dom->os.efi || dom->os.loader || dom->os.nvram)
		return;
	if (px->os_node)
		px_err(px, px->os_node, NULL, "no <kernel>; booting from a disk needs firmware, which is not supported yet: "
		       "add <kernel>, and <initrd> and <cmdline> as the kernel needs them");
	else
		px_msg(px, 0, false, "no <os>; add <os><type arch='x86_64' machine='q35'>hvm</type><kernel>PATH</kernel></os>");
}

void h_hvx_module(struct px *px, xmlNode *n)
{
	const char *s = x_text(px, n);

	if (!*s)
		px_err(px, n, NULL, "empty; write the file, a space, and its arguments");
	else
		add_module(px, n, s, strlen(s));
}

/* --- <sysinfo> --- */

struct sysinfo_entry {
	const char *name;
	size_t offset;		/* of a char * in struct domain; 0: no effect */
};
#define SYS(field) offsetof(struct domain, sysinfo.field)

static const struct sysinfo_entry sys_bios[] = {
	{ "vendor", SYS(bios_vendor) }, { "version", SYS(bios_version) },
	{ "date", SYS(bios_date) }, { "release", 0 }, { NULL, 0 },
};
static const struct sysinfo_entry sys_system[] = {
	{ "manufacturer", SYS(manufacturer) }, { "product", SYS(product) }, { "version", SYS(version) },
	{ "serial", SYS(serial) }, { "sku", SYS(sku) }, { "family", SYS(family) }, { "uuid", 0 }, { NULL, 0 },
};
static const struct sysinfo_entry sys_board[] = {
	{ "manufacturer", SYS(base_manufacturer) }, { "product", SYS(base_product) },
	{ "version", SYS(base_version) }, { "serial", SYS(base_serial) },
	{ "asset", 0 }, { "location", 0 }, { NULL, 0 },
};
static const struct sysinfo_entry sys_chassis[] = {
	{ "manufacturer", SYS(chassis_manufacturer) }, { "asset", SYS(chassis_asset) },
	{ "version", 0 }, { "serial", 0 }, { "sku", 0 }, { NULL, 0 },
};

static void sysinfo_group(struct px *px, xmlNode *group, const struct sysinfo_entry *table)
{
	for (xmlNode *e = x_child(group, "entry"); e; e = x_next(e, "entry")) {
		const char *name = x_attr(e, "name");
		const struct sysinfo_entry *t = table;
		char **field;

		while (t->name && (!name || strcmp(t->name, name)))
			t++;
		if (!t->name) {
			px_err(px, e, name ? "name" : NULL, "not an SMBIOS entry that hvx knows here; remove it");
			continue;
		}
		if (!t->offset)
			continue;
		field = (char **)((char *)px->dom + t->offset);
		free(*field);
		*field = x_text_dup(px, e);
	}
}

/* libvirt insists that <entry name='uuid'> is the guest's own; it can stand in for <uuid>. */
static void sysinfo_uuid(struct px *px, xmlNode *system, xmlNode *domain)
{
	for (xmlNode *e = x_child(system, "entry"); e; e = x_next(e, "entry")) {
		uint8_t uuid[16], own[16];
		xmlNode *given = x_child(domain, "uuid");

		if (!x_is(e, "name", "uuid"))
			continue;
		if (parse_uuid(x_text(px, e), uuid)) {
			px_err(px, e, NULL, "not a UUID; write 32 hex digits as 8-4-4-4-12");
		} else if (!given || !*x_text(px, given)) {
			memcpy(px->dom->uuid, uuid, 16);
			px->dom->uuid_given = true;
		} else if (!parse_uuid(x_text(px, given), own) && memcmp(own, uuid, 16)) {
			px_err(px, e, NULL, "not the guest's <uuid>; write the same, or remove this entry");
		}
	}
}

static void sysinfo_oem(struct px *px, xmlNode *oem)
{
	const unsigned int max = sizeof(px->dom->sysinfo.oem) / sizeof(px->dom->sysinfo.oem[0]);
	unsigned int nr = 0;

	for (xmlNode *e = x_child(oem, "entry"); e; e = x_next(e, "entry")) {
		if (nr == max) {
			px_err(px, e, NULL, "more than %u OEM strings; leave some out", max);
			return;
		}
		free(px->dom->sysinfo.oem[nr]);
		px->dom->sysinfo.oem[nr++] = x_text_dup(px, e);
	}
}

void h_sysinfo(struct px *px, xmlNode *n)
{
	if (!x_is(x_child(x_child(n->parent, "os"), "smbios"), "mode", "sysinfo")) {
		px_warn(px, n, NULL, "no effect without <smbios mode='sysinfo'/> in <os>");
		return;
	}
	sysinfo_group(px, x_child(n, "bios"), sys_bios);
	sysinfo_group(px, x_child(n, "system"), sys_system);
	sysinfo_group(px, x_child(n, "baseBoard"), sys_board);
	sysinfo_group(px, x_child(n, "chassis"), sys_chassis);
	sysinfo_uuid(px, x_child(n, "system"), n->parent);
	sysinfo_oem(px, x_child(n, "oemStrings"));
}

/* --- lifecycle --- */

void h_lifecycle(struct px *px, xmlNode *n)
{
	static const struct { const char *name; enum lifecycle what; bool dump; } table[] = {
		{ "destroy", LIFE_DESTROY, false }, { "restart", LIFE_RESTART, false },
		{ "preserve", LIFE_PRESERVE, false },
		{ "coredump-destroy", LIFE_DESTROY, true }, { "coredump-restart", LIFE_RESTART, true },
	};
	const char *s = x_text(px, n), *name = (const char *)n->name;
	enum lifecycle *where = !strcmp(name, "on_poweroff") ? &px->dom->on_poweroff :
				!strcmp(name, "on_reboot") ? &px->dom->on_reboot : &px->dom->on_crash;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(s, table[i].name) || (table[i].dump && where != &px->dom->on_crash))
			continue;
		*where = table[i].what;
		if (table[i].dump)
			px_warn(px, n, NULL, "no core dump is written; use kdump inside the guest");
		return;
	}
	px_err(px, n, NULL, "not supported; write destroy, restart or preserve");
}

void h_pm(struct px *px, xmlNode *n)
{
	static const char note[] = "left out: the board has no sleep states; 'hvx suspend' and 'hvx managedsave' do the same from outside";
	xmlNode *mem = x_child(n, "suspend-to-mem"), *disk = x_child(n, "suspend-to-disk");

	px->dom->suspend_mem = x_yes(mem, "enabled");
	px->dom->suspend_disk = x_yes(disk, "enabled");
	if ((px->dom->suspend_mem || px->dom->suspend_disk) && px_first(px, note))
		px_warn(px, px->dom->suspend_mem ? mem : disk, "enabled", "%s", note);
}

/* --- the debug-exit port, in hvx's words and in QEMU's --- */

static void set_debug_exit(struct px *px, const xmlNode *n, uint64_t port)
{
	if (px->dom->debug_exit.present) {
		px_err(px, n, NULL, "a second debug-exit port; keep one");
		return;
	}
	px->dom->debug_exit.present = true;
	px->dom->debug_exit.port = (uint16_t)port;
}

void h_hvx_debug_exit(struct px *px, xmlNode *n)
{
	uint64_t port = QEMU_DEBUG_EXIT_PORT;

	if (!x_attr(n, "port") || x_num(px, n, "port", 1, 0xfffc, &port))
		set_debug_exit(px, n, port);
}

#define ONLY_DEBUG_EXIT \
	"arguments for QEMU are not taken, except -device isa-debug-exit,iobase=PORT,iosize=SIZE; " \
	"remove it, and see hvx-domain-xml(5) for elements that do the same"

/* "isa-debug-exit,iobase=0xf4,iosize=0x4" */
static void qemu_debug_exit(struct px *px, const xmlNode *arg, const char *value)
{
	uint64_t port = QEMU_DEBUG_EXIT_PORT, size = 2;
	char *s = px_keep(px, strdup(value)), *save = NULL;
	bool first = true;

	for (char *o = s ? strtok_r(s, ",", &save) : NULL; o; o = strtok_r(NULL, ",", &save), first = false) {
		if (first)
			continue;
		if (!strncmp(o, "iobase=", 7) && !parse_u64(o + 7, &port) && port && port <= 0xfffc)
			continue;
		if (!strncmp(o, "iosize=", 7) && !parse_u64(o + 7, &size) && size && size <= 8)
			continue;
		if (!strncmp(o, "id=", 3))
			continue;
		px_err(px, arg, "value", "not options of isa-debug-exit; write isa-debug-exit,iobase=0xf4,iosize=0x4");
		return;
	}
	set_debug_exit(px, arg, port);
}

void h_qemu_commandline(struct px *px, xmlNode *n)
{
	bool device = false;	/* the argument before was -device */

	for (xmlNode *c = n->children; c; c = c->next) {
		const char *v;

		if (c->type != XML_ELEMENT_NODE)
			continue;
		v = x_attr(c, "value");
		if (strcmp((const char *)c->name, "arg") || !v) {
			px_err(px, c, v ? "value" : NULL, "for QEMU only; remove it");
		} else if (device && !strncmp(v, "isa-debug-exit", 14) && (!v[14] || v[14] == ',')) {
			qemu_debug_exit(px, c, v);
			device = false;
		} else if (device || strcmp(v, "-device")) {
			/* Not for the value of an option that has been refused. */
			if (device || v[0] == '-')
				px_err(px, c, "value", ONLY_DEBUG_EXIT);
			device = false;
		} else {
			device = true;
		}
	}
}
