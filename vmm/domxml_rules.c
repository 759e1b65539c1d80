// SPDX-License-Identifier: GPL-2.0-only
/*
 * What hvx makes of each element outside <devices>. One row an element or
 * attribute; hvx-domain-xml(5) says the same in prose.
 */
#include "domxml_int.h"

/* clang-format off: tables are read by row */

#define END { .name = NULL }
#define ATTRS(...) (const struct xattr[]){ __VA_ARGS__, { .name = NULL } }
#define KIDS(...) (const struct xelem[]){ __VA_ARGS__, { .name = NULL } }

#define N_TUNING "left out: hvx has no such limit; see hvx-domain-xml(5) for those that it has"
#define N_HOTPLUG "left out: see hvx-domain-xml(5) for what can be plugged in later"
#define N_NO_FIRMWARE "firmware boot is not supported yet; remove it and boot a kernel directly with <kernel>, <initrd> and <cmdline>"
#define N_CONTAINER "for containers and other hypervisors; remove it"
#define N_NUMA "NUMA nodes are not supported; remove it, the guest sees one node"
#define N_VIRT_TYPE "not x86-64 full virtualisation; write <type arch='x86_64' machine='q35'>hvm</type>"

static const struct xattr a_state[] = { { .name = "state", .only = "on|off" }, END };
static const struct xattr a_yes[] = { { .name = "enabled", .only = "yes|no" }, END };

/* --- <os> --- */

static const struct xelem os_kids[] = {
	{ .name = "type", .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "arch", .only = "x86_64", .note = "hvx runs x86-64 guests only; write arch='x86_64'" },
		{ .name = "machine" }) },
	/* Firmware: the handler of <os> has the one message for all of it. */
	{ .name = "loader", .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "readonly", .only = "yes|no" }, { .name = "type", .only = "rom|pflash" },
		{ .name = "secure", .only = "yes|no" }, { .name = "stateless", .act = IGN },
		{ .name = "format", .act = IGN }) },
	{ .name = "nvram", .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "template" }, { .name = "templateFormat", .act = IGN },
		{ .name = "format", .act = IGN }, { .name = "type", .act = IGN }) },
	{ .name = "varstore", .act = REF, .note = N_NO_FIRMWARE },
	{ .name = "firmware", .act = IGN },
	{ .name = "kernel", .flags = F_ONCE | F_TEXT },
	{ .name = "initrd", .flags = F_ONCE | F_TEXT },
	{ .name = "cmdline", .flags = F_ONCE | F_TEXT },
	{ .name = "boot", .attrs = ATTRS({ .name = "dev", .only = "hd|cdrom|network|fd" }) },
	{ .name = "bootmenu", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "enable", .only = "yes|no" }, { .name = "timeout", .act = IGN }) },
	{ .name = "bios", .act = IGN },
	{ .name = "smbios", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "mode", .only = "emulate|host|sysinfo" }) },
	{ .name = "dtb", .act = REF, .note = "device trees are not for PCs; remove it" },
	{ .name = "shim", .act = REF, .note = N_NO_FIRMWARE },
	{ .name = "acpi", .act = REF, .note = "tables of your own are not supported; remove it" },
	{ .name = "init", .act = REF, .note = N_CONTAINER },
	{ .name = "initarg", .act = REF, .note = N_CONTAINER },
	END
};

/* --- <features> --- */

static const struct xelem hyperv_kids[] = {
	{ .name = "relaxed", .attrs = a_state }, { .name = "vapic", .attrs = a_state },
	{ .name = "spinlocks", .attrs = ATTRS({ .name = "state", .only = "on|off" }, { .name = "retries" }) },
	{ .name = "vpindex", .attrs = a_state }, { .name = "runtime", .attrs = a_state },
	{ .name = "synic", .attrs = a_state },
	{ .name = "stimer", .attrs = a_state, .kids = KIDS({ .name = "direct", .attrs = a_state }) },
	{ .name = "reset", .attrs = a_state },
	{ .name = "vendor_id", .attrs = ATTRS({ .name = "state", .only = "on|off" }, { .name = "value" }) },
	{ .name = "frequencies", .attrs = a_state }, { .name = "reenlightenment", .attrs = a_state },
	{ .name = "tlbflush", .attrs = a_state, .kids = KIDS(
		{ .name = "direct", .act = IGN }, { .name = "extended", .act = IGN }) },
	{ .name = "ipi", .attrs = a_state }, { .name = "evmcs", .attrs = a_state },
	{ .name = "avic", .attrs = a_state }, { .name = "emsr_bitmap", .attrs = a_state },
	{ .name = "xmm_input", .attrs = a_state },
	END
};

static const struct xelem features_kids[] = {
	{ .name = "acpi", .flags = F_ONCE },
	{ .name = "apic", .flags = F_ONCE, .attrs = ATTRS({ .name = "eoi", .act = IGN }) },
	{ .name = "pae", .flags = F_ONCE },
	{ .name = "kvm", .flags = F_ONCE, .kids = KIDS(
		{ .name = "hidden", .attrs = a_state },
		{ .name = "pv-ipi", .attrs = a_state },
		{ .name = "hint-dedicated", .act = IGN }, { .name = "poll-control", .act = IGN },
		{ .name = "dirty-ring", .act = IGN }) },
	{ .name = "hyperv", .flags = F_ONCE, .kids = hyperv_kids, .attrs = ATTRS(
		{ .name = "mode", .only = "custom|passthrough|host-model" }) },
	{ .name = "pvspinlock", .flags = F_ONCE, .attrs = a_state },
	{ .name = "pmu", .flags = F_ONCE, .attrs = a_state },
	{ .name = "vmport", .attrs = ATTRS({ .name = "state", .only = "off|on" }) },
	{ .name = "smm", .act = IGN }, { .name = "ioapic", .act = IGN }, { .name = "hap", .act = IGN },
	{ .name = "tcg", .act = IGN }, { .name = "msrs", .act = IGN }, { .name = "ps2", .act = IGN },
	{ .name = "vmcoreinfo", .act = HINT, .note = "left out: hvx does not take the guest's crash notes; use kdump inside the guest" },
	{ .name = "async-teardown", .act = IGN },
	{ .name = "privnet", .act = REF, .note = N_CONTAINER }, { .name = "capabilities", .act = REF, .note = N_CONTAINER },
	{ .name = "xen", .act = REF, .note = N_CONTAINER }, { .name = "viridian", .act = REF, .note = "write <hyperv> with the enlightenments instead" },
	END
};

/* --- <cpu> --- */

static const struct xelem cpu_kids[] = {
	{ .name = "model", .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "fallback", .only = "allow|forbid" }, { .name = "vendor_id" }) },
	{ .name = "vendor", .flags = F_ONCE | F_TEXT },
	{ .name = "topology", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "sockets" }, { .name = "dies" }, { .name = "cores" }, { .name = "threads" },
		{ .name = "clusters", .only = "1", .note = "x86 has no clusters; write clusters='1'" }) },
	{ .name = "feature", .attrs = ATTRS({ .name = "name" },
		{ .name = "policy", .only = "force|require|optional|disable|forbid" }) },
	{ .name = "cache", .act = IGN },
	{ .name = "maxphysaddr", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "mode", .only = "passthrough|emulate" }, { .name = "bits" }, { .name = "limit", .act = IGN }) },
	{ .name = "numa", .flags = F_OPAQUE | F_ONCE },
	END
};

/* --- <clock> --- */

static const struct xelem clock_kids[] = {
	{ .name = "timer", .kids = KIDS({ .name = "catchup", .act = IGN }), .attrs = ATTRS(
		{ .name = "name", .only = "rtc|pit|hpet|kvmclock|hypervclock|tsc|platform" },
		{ .name = "present", .only = "yes|no" },
		{ .name = "tickpolicy", .only = "delay|catchup|merge|discard" },
		{ .name = "track", .act = IGN }, { .name = "mode", .act = IGN },
		{ .name = "frequency" }) },
	END
};

/* --- <sysinfo> --- */

#define ENTRIES .kids = KIDS({ .name = "entry", .flags = F_TEXT, .attrs = ATTRS({ .name = "name" }) })
static const struct xelem sysinfo_kids[] = {
	{ .name = "bios", .flags = F_ONCE, ENTRIES }, { .name = "system", .flags = F_ONCE, ENTRIES },
	{ .name = "baseBoard", ENTRIES }, { .name = "chassis", .flags = F_ONCE, ENTRIES },
	{ .name = "oemStrings", .flags = F_ONCE, .kids = KIDS({ .name = "entry", .flags = F_TEXT }) },
	{ .name = "processor", .act = IGN }, { .name = "memory", .act = IGN },
	END
};

/* --- <memoryBacking> --- */

#define NUMBER	.flags = F_ONCE | F_TEXT

static const struct xelem cputune_kids[] = {
	{ .name = "shares", NUMBER }, { .name = "period", NUMBER }, { .name = "quota", NUMBER },
	{ .name = "global_period", NUMBER }, { .name = "global_quota", NUMBER },
	{ .name = "emulator_period", NUMBER }, { .name = "emulator_quota", NUMBER },
	{ .name = "iothread_period", .act = HINT, .note = N_TUNING }, { .name = "iothread_quota", .act = HINT, .note = N_TUNING },
	{ .name = "vcpupin", .attrs = ATTRS({ .name = "vcpu" }, { .name = "cpuset" }) },
	{ .name = "emulatorpin", .flags = F_ONCE, .attrs = ATTRS({ .name = "cpuset" }) },
	{ .name = "iothreadpin", .attrs = ATTRS({ .name = "iothread", .act = IGN }, { .name = "cpuset" }) },
	{ .name = "vcpusched", .act = HINT, .note = N_TUNING }, { .name = "iothreadsched", .act = HINT, .note = N_TUNING },
	{ .name = "emulatorsched", .act = HINT, .note = N_TUNING }, { .name = "cachetune", .act = HINT, .note = N_TUNING },
	{ .name = "memorytune", .act = HINT, .note = N_TUNING },
	END
};

#define SIZE	NUMBER, .attrs = ATTRS({ .name = "unit" })

static const struct xelem memtune_kids[] = {
	{ .name = "hard_limit", SIZE }, { .name = "soft_limit", SIZE }, { .name = "min_guarantee", SIZE },
	{ .name = "swap_hard_limit", SIZE },
	END
};

static const struct xelem blkiotune_kids[] = {
	{ .name = "weight", NUMBER },
	{ .name = "device", .kids = KIDS({ .name = "path", NUMBER }, { .name = "weight", NUMBER },
		{ .name = "read_bytes_sec", NUMBER }, { .name = "write_bytes_sec", NUMBER },
		{ .name = "read_iops_sec", NUMBER }, { .name = "write_iops_sec", NUMBER }) },
	END
};

static const struct xelem backing_kids[] = {
	{ .name = "hugepages", .flags = F_ONCE, .kids = KIDS({ .name = "page", .attrs = ATTRS(
		{ .name = "size" }, { .name = "unit" }, { .name = "nodeset", .act = IGN }) }) },
	{ .name = "locked", .flags = F_ONCE }, { .name = "nosharepages", .flags = F_ONCE },
	{ .name = "source", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "type", .only = "anonymous|memfd", .note = "guest memory is a memfd; write type='memfd'" }) },
	{ .name = "access", .flags = F_ONCE, .attrs = ATTRS({ .name = "mode", .only = "shared|private" }) },
	{ .name = "allocation", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "mode", .only = "immediate|ondemand" }, { .name = "threads", .act = IGN }) },
	{ .name = "discard", .act = IGN },
	END
};

static const struct xelem domain_kids[] = {
	{ .name = "name", .fn = h_name, .flags = F_ONCE | F_TEXT },
	{ .name = "uuid", .fn = h_uuid, .flags = F_ONCE | F_TEXT },
	{ .name = "title", .fn = h_title, .flags = F_ONCE | F_TEXT },
	{ .name = "description", .fn = h_description, .flags = F_ONCE | F_TEXT },
	{ .name = "metadata", .act = IGN, .flags = F_META },
	{ .name = "memory", .fn = h_memory, .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "unit" }, { .name = "dumpCore", .act = IGN }) },
	{ .name = "currentMemory", .fn = h_memory, .flags = F_ONCE | F_TEXT, .attrs = ATTRS({ .name = "unit" }) },
	{ .name = "maxMemory", .fn = h_memory, .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "unit" }, { .name = "slots", .act = IGN }) },
	{ .name = "memoryBacking", .fn = h_backing, .flags = F_ONCE, .kids = backing_kids },
	{ .name = "vcpu", .fn = h_vcpu, .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
		{ .name = "current" }, { .name = "placement", .act = IGN },
		{ .name = "cpuset" }) },
	{ .name = "vcpus", .act = HINT, .note = N_HOTPLUG },
	{ .name = "os", .fn = h_os, .flags = F_ONCE, .kids = os_kids, .attrs = ATTRS(
		{ .name = "firmware", .only = "bios|efi" }) },
	{ .name = "sysinfo", .fn = h_sysinfo, .kids = sysinfo_kids, .attrs = ATTRS(
		{ .name = "type", .only = "smbios", .note = "only type='smbios' is supported; remove the element" }) },
	{ .name = "features", .fn = h_features, .flags = F_ONCE, .kids = features_kids },
	{ .name = "cpu", .fn = h_cpu, .flags = F_ONCE, .kids = cpu_kids, .attrs = ATTRS(
		{ .name = "mode", .only = "host-passthrough|host-model|custom|maximum" },
		{ .name = "match", .only = "exact|minimum|strict" },
		{ .name = "check", .only = "none|partial|full" },
		{ .name = "migratable", .only = "on|off" },
		{ .name = "deprecated_features", .act = IGN }) },
	{ .name = "clock", .fn = h_clock, .flags = F_ONCE, .kids = clock_kids, .attrs = ATTRS(
		{ .name = "offset", .only = "utc|localtime|timezone|variable|absolute" },
		{ .name = "adjustment" }, { .name = "basis", .only = "utc|localtime" },
		{ .name = "timezone" }, { .name = "start" }) },
	{ .name = "on_poweroff", .fn = h_lifecycle, .flags = F_ONCE | F_TEXT },
	{ .name = "on_reboot", .fn = h_lifecycle, .flags = F_ONCE | F_TEXT },
	{ .name = "on_crash", .fn = h_lifecycle, .flags = F_ONCE | F_TEXT },
	{ .name = "on_lockfailure", .act = IGN },
	{ .name = "pm", .fn = h_pm, .flags = F_ONCE, .kids = KIDS(
		{ .name = "suspend-to-mem", .flags = F_ONCE, .attrs = a_yes },
		{ .name = "suspend-to-disk", .flags = F_ONCE, .attrs = a_yes }) },
	{ .name = "devices", .flags = F_ONCE, .kids = domxml_devices_rules },
	{ .name = "seclabel", .act = IGN }, { .name = "resource", .act = IGN },
	{ .name = "perf", .act = IGN }, { .name = "iothreads", .act = IGN },
	{ .name = "iothreadids", .act = IGN }, { .name = "defaultiothread", .act = IGN },
	{ .name = "cputune", .fn = h_cputune, .flags = F_ONCE, .kids = cputune_kids },
	{ .name = "memtune", .fn = h_memtune, .flags = F_ONCE, .kids = memtune_kids },
	{ .name = "numatune", .fn = h_numatune, .flags = F_ONCE, .kids = KIDS(
		{ .name = "memory", .flags = F_ONCE, .attrs = ATTRS(
			{ .name = "mode", .only = "strict|preferred|interleave|restrictive" }, { .name = "nodeset" },
			{ .name = "placement", .only = "static|auto" }) },
		{ .name = "memnode", .act = HINT, .note = N_TUNING }) },
	{ .name = "blkiotune", .fn = h_blkiotune, .flags = F_ONCE, .kids = blkiotune_kids },
	{ .name = "throttlegroups", .act = HINT, .note = N_TUNING },
	{ .name = "genid", .act = REF, .note = "a generation ID is not supported; remove it" },
	{ .name = "launchSecurity", .act = REF, .note = "encrypted guests (SEV, TDX) are not supported; remove it" },
	{ .name = "bootloader", .act = REF, .note = N_CONTAINER }, { .name = "bootloader_args", .act = REF, .note = N_CONTAINER },
	{ .name = "idmap", .act = REF, .note = N_CONTAINER }, { .name = "keywrap", .act = REF, .note = N_CONTAINER },
	{ .name = "commandline", .fn = h_qemu_commandline, .flags = F_QEMU | F_OPAQUE },
	{ .name = "capabilities", .act = REF, .flags = F_QEMU, .note = "for QEMU only; remove it" },
	{ .name = "override", .act = REF, .flags = F_QEMU, .note = "for QEMU only; remove it" },
	{ .name = "deprecation", .act = IGN, .flags = F_QEMU },
	{ .name = "debug-exit", .fn = h_hvx_debug_exit, .flags = F_HVX, .attrs = ATTRS({ .name = "port" }) },
	{ .name = "module", .fn = h_hvx_module, .flags = F_HVX | F_TEXT },
	END
};

const struct xelem domxml_root = {
	.name = "domain", .kids = domain_kids, .attrs = ATTRS(
		{ .name = "type", .only = "kvm|qemu|hvx", .note = "not a virtual machine of this kind; write <domain type='kvm'>" },
		{ .name = "id", .act = IGN }),
};
