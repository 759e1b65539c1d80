// SPDX-License-Identifier: GPL-2.0-only
/* What hvx makes of each element inside <devices>. See domxml_rules.c. */
#include "domxml_int.h"

/* clang-format off: tables are read by row */

#define END { .name = NULL }
#define ATTRS(...) (const struct xattr[]){ __VA_ARGS__, { .name = NULL } }
#define KIDS(...) (const struct xelem[]){ __VA_ARGS__, { .name = NULL } }

#define N_TUNING "left out: hvx has no such limit; see hvx-domain-xml(5) for those that it has"
#define N_DISPLAY domxml_no_display
#define N_RAW "raw images have no backing file; convert with: qemu-img convert -O raw SOURCE TARGET"
#define N_ENCRYPTED "encrypted images are not supported; encrypt inside the guest or on the host's block device"
#define N_CRYPTO_CHAN "TLS is not supported; remove it"
#define N_VIRTIO_MODEL "write model='virtio'"
#define N_NIC_OVS "Open vSwitch and switch profiles are not supported; put the guest on a Linux bridge"

const char domxml_no_display[] =
	"left out: the board has no display, sound, input or USB devices yet; use the serial console";

/* Of nearly every device: names and places that libvirt gave it. */
#define COMMON { .name = "alias", .act = IGN }, { .name = "address", .act = IGN }, { .name = "acpi", .act = IGN }
#define BOOT { .name = "boot", .flags = F_ONCE, .attrs = ATTRS({ .name = "order" }, { .name = "loadparm", .act = IGN }) }
#define VIRTIO_OPTIONS { .name = "iommu", .only = "off", .note = "there is no guest IOMMU; write iommu='off'" }, \
	{ .name = "ats", .act = IGN }, { .name = "packed", .act = IGN }, { .name = "page_per_vq", .act = IGN }

/* --- <disk> --- */

static const struct xelem disk_source_kids[] = {
	{ .name = "seclabel", .act = IGN },
	{ .name = "encryption", .act = REF, .note = N_ENCRYPTED },
	{ .name = "reservations", .act = REF, .note = "persistent reservations are not supported; remove it" },
	{ .name = "slices", .act = REF, .note = "a part of a file is not supported; make a loop device of it" },
	/* Of network and other sources, which the handler refuses with one message. */
	{ .name = "host", .act = IGN }, { .name = "auth", .act = IGN }, { .name = "address", .act = IGN },
	{ .name = "snapshot", .act = IGN }, { .name = "config", .act = IGN }, { .name = "ssl", .act = IGN },
	{ .name = "cookies", .act = IGN }, { .name = "timeout", .act = IGN }, { .name = "readahead", .act = IGN },
	{ .name = "initiator", .act = IGN }, { .name = "reconnect", .act = IGN }, { .name = "identity", .act = IGN },
	END
};

#define RATE(n) \
	{ .name = n "_sec", .flags = F_ONCE | F_TEXT }, { .name = n "_sec_max", .flags = F_ONCE | F_TEXT }, \
	{ .name = n "_sec_max_length", .flags = F_ONCE | F_TEXT }

static const struct xelem iotune_kids[] = {
	RATE("total_bytes"), RATE("read_bytes"), RATE("write_bytes"),
	RATE("total_iops"), RATE("read_iops"), RATE("write_iops"),
	{ .name = "size_iops_sec", .act = HINT, .note = N_TUNING }, { .name = "group_name", .act = HINT, .note = N_TUNING },
	END
};

#define BANDWIDTH ATTRS({ .name = "average" }, { .name = "burst" }, \
	{ .name = "peak", .act = HINT, .note = N_TUNING }, { .name = "floor", .act = HINT, .note = N_TUNING })

#define N_ERRORS	"left out: the guest is told of errors and goes on"

static const struct xelem disk_kids[] = {
	{ .name = "driver", .flags = F_ONCE, .kids = KIDS(
			{ .name = "metadata_cache", .act = IGN }, { .name = "iothreads", .act = IGN },
			{ .name = "statistics", .act = IGN }),
		.attrs = ATTRS(VIRTIO_OPTIONS,
		{ .name = "name", .only = "qemu|hvx" }, { .name = "type" },
		{ .name = "cache", .only = "default|none|writethrough|writeback|directsync|unsafe" },
		{ .name = "discard", .only = "unmap|ignore" },
		{ .name = "detect_zeroes", .only = "off|on|unmap" },
		{ .name = "queues" },
		{ .name = "copy_on_read", .only = "off", .note = "raw images have no backing file to read from; remove it" },
		{ .name = "error_policy", .act = HINT, .only = "report", .note = N_ERRORS },
		{ .name = "rerror_policy", .act = HINT, .only = "report", .note = N_ERRORS },
		{ .name = "io", .act = IGN }, { .name = "ioeventfd", .act = IGN }, { .name = "event_idx", .act = IGN },
		{ .name = "iothread", .act = IGN }, { .name = "queue_size", .act = IGN },
		{ .name = "discard_no_unref", .act = IGN }) },
	{ .name = "source", .flags = F_ONCE, .kids = disk_source_kids, .attrs = ATTRS(
		{ .name = "file" }, { .name = "dev" }, { .name = "pool" }, { .name = "volume" },
		{ .name = "mode", .act = IGN },
		{ .name = "startupPolicy", .act = HINT, .only = "mandatory",
		  .note = "left out: without its image the guest does not start" },
		{ .name = "index", .act = IGN }, { .name = "dir", .act = IGN }, { .name = "protocol", .act = IGN },
		{ .name = "name", .act = IGN }, { .name = "query", .act = IGN }, { .name = "type", .act = IGN },
		{ .name = "tls", .act = IGN }, { .name = "managed", .act = IGN }, { .name = "namespace", .act = IGN },
		{ .name = "path", .act = IGN }, { .name = "fdgroup", .act = REF, .note = "write file='PATH'" }) },
	{ .name = "target", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "dev" }, { .name = "bus" }, { .name = "tray", .act = IGN },
		{ .name = "removable", .act = IGN }, { .name = "rotation_rate", .act = IGN }) },
	BOOT,
	{ .name = "serial", .flags = F_ONCE | F_TEXT },
	{ .name = "wwn", .act = REF, .note = "virtio disks have no world wide name; remove it, and write <serial> for a name in the guest's /dev/disk/by-id" },
	{ .name = "vendor", .act = IGN }, { .name = "product", .act = IGN },
	{ .name = "readonly", .flags = F_ONCE }, { .name = "shareable", .flags = F_ONCE },
	{ .name = "transient", .flags = F_ONCE, .attrs = ATTRS({ .name = "shareBacking", .act = IGN }) },
	{ .name = "blockio", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "logical_block_size" }, { .name = "physical_block_size" },
		{ .name = "discard_granularity", .act = IGN }) },
	{ .name = "backingStore", .flags = F_OPAQUE },
	{ .name = "mirror", .act = REF, .note = "copy jobs are not supported; finish it with virsh blockjob and write the XML again" },
	{ .name = "iotune", .flags = F_ONCE, .kids = iotune_kids },
	{ .name = "throttlefilters", .act = HINT, .note = N_TUNING },
	{ .name = "geometry", .act = IGN },	/* virtio guests use LBA */
	{ .name = "auth", .act = IGN },
	{ .name = "encryption", .act = REF, .note = N_ENCRYPTED },
	COMMON,
	END
};

#define DISK_ATTRS ATTRS( \
	{ .name = "type" }, { .name = "device", .only = "disk|cdrom|floppy|lun" }, \
	{ .name = "model", .only = "virtio|virtio-transitional|virtio-non-transitional", .note = N_VIRTIO_MODEL }, \
	{ .name = "rawio", .only = "no", .note = "SCSI commands of the guest are not passed on; remove it" }, \
	{ .name = "sgio", .act = IGN }, { .name = "snapshot", .act = IGN })

/* --- <interface> --- */

static const struct xelem nic_kids[] = {
	{ .name = "mac", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "address" }, { .name = "type", .act = IGN }, { .name = "check", .act = IGN },
		{ .name = "currentAddress", .act = IGN }) },
	{ .name = "source", .flags = F_ONCE, .kids = KIDS(
			{ .name = "address", .act = IGN },
			{ .name = "local", .act = IGN }, { .name = "reconnect", .act = IGN }),
		.attrs = ATTRS({ .name = "bridge" }, { .name = "network" }, { .name = "dev" },
		{ .name = "portgroup", .act = IGN }, { .name = "portid", .act = IGN }, { .name = "port", .act = IGN },
		{ .name = "type", .act = IGN }, { .name = "path", .act = IGN }, { .name = "address", .act = IGN },
		{ .name = "name", .act = IGN },
		{ .name = "mode", .only = "vepa|bridge|private|passthrough|server|client" }) },
	{ .name = "model", .flags = F_ONCE, .attrs = ATTRS({ .name = "type" }) },
	{ .name = "target", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "dev" }, { .name = "managed", .only = "yes|no" }) },
	{ .name = "link", .flags = F_ONCE, .attrs = ATTRS({ .name = "state", .only = "up|down" }) },
	{ .name = "mtu", .flags = F_ONCE, .attrs = ATTRS({ .name = "size" }) },
	{ .name = "driver", .flags = F_ONCE, .kids = KIDS(
			{ .name = "host", .act = IGN }, { .name = "guest", .act = IGN }),
		.attrs = ATTRS(VIRTIO_OPTIONS,
		{ .name = "name", .only = "qemu|vhost" }, { .name = "queues" },
		{ .name = "txmode", .act = IGN }, { .name = "ioeventfd", .act = IGN }, { .name = "event_idx", .act = IGN },
		{ .name = "rx_queue_size", .act = IGN }, { .name = "tx_queue_size", .act = IGN },
		{ .name = "rss", .act = IGN }, { .name = "rss_hash_report", .act = IGN }) },
	{ .name = "backend", .flags = F_ONCE, .attrs = ATTRS(
		{ .name = "type", .only = "default|passt|slirp" }, { .name = "logFile", .act = IGN },
		{ .name = "tap", .act = IGN }, { .name = "vhost", .act = IGN }, { .name = "hostname", .act = IGN },
		{ .name = "fqdn", .act = IGN }) },
	{ .name = "portForward", .kids = KIDS({ .name = "range", .attrs = ATTRS(
			{ .name = "start" }, { .name = "end" }, { .name = "to" },
			{ .name = "exclude", .only = "yes|no" }) }),
		.attrs = ATTRS({ .name = "proto", .only = "tcp|udp" }, { .name = "address" },
		{ .name = "dev", .act = REF, .note = "forwarding from one interface is not supported; write address='ITS ADDRESS'" }) },
	{ .name = "ip", .attrs = ATTRS({ .name = "family", .only = "ipv4|ipv6" },
		{ .name = "address" }, { .name = "prefix" }, { .name = "peer", .act = IGN }) },
	{ .name = "route", .act = HINT, .note = "left out: set routes inside the guest" },
	BOOT,
	{ .name = "bandwidth", .flags = F_ONCE, .kids = KIDS(
		{ .name = "inbound", .flags = F_ONCE, .attrs = BANDWIDTH }, { .name = "outbound", .flags = F_ONCE, .attrs = BANDWIDTH }) },
	{ .name = "tune", .act = IGN },
	{ .name = "coalesce", .act = IGN }, { .name = "rom", .act = IGN }, { .name = "guest", .act = IGN },
	{ .name = "script", .act = REF, .note = "scripts are not run; set the interface up beforehand and name it in <target dev=/>" },
	{ .name = "downscript", .act = REF, .note = "scripts are not run; remove it" },
	{ .name = "filterref", .act = REF, .note = "libvirt's filters are not installed; remove it and filter with nftables on the bridge" },
	{ .name = "virtualport", .act = REF, .note = N_NIC_OVS },
	{ .name = "vlan", .act = REF, .note = "tags are not added here; use a bridge port or a VLAN interface with the tag" },
	{ .name = "port", .act = REF, .note = "port isolation is not set here; remove it and use: bridge link set dev TAP isolated on" },
	{ .name = "teaming", .act = REF, .note = "not supported; remove it" },
	{ .name = "backenddomain", .act = REF, .note = "for Xen; remove it" },
	COMMON,
	END
};

/* --- character devices --- */

#define CHR_KIDS \
	{ .name = "source", .kids = KIDS({ .name = "seclabel", .act = IGN }, { .name = "reconnect", .act = IGN }), \
		.attrs = ATTRS({ .name = "path" }, { .name = "mode", .only = "bind|connect" }, \
		{ .name = "host" }, { .name = "service" }, { .name = "append", .only = "on|off" }, \
		{ .name = "tls", .only = "no", .note = N_CRYPTO_CHAN }, { .name = "channel", .act = IGN }, \
		{ .name = "master", .act = IGN }, { .name = "slave", .act = IGN }) }, \
	{ .name = "protocol", .flags = F_ONCE, .attrs = ATTRS( \
		{ .name = "type", .only = "raw", .note = "only raw TCP is supported; write <protocol type='raw'/>" }) }, \
	{ .name = "log", .flags = F_ONCE, .attrs = ATTRS({ .name = "file" }, { .name = "append", .only = "on|off" }) }, \
	COMMON

#define CHR_ATTRS ATTRS({ .name = "type" }, { .name = "tty", .act = IGN })

const struct xelem domxml_devices_rules[] = {
	{ .name = "disk", .fn = h_disk, .kids = disk_kids, .attrs = DISK_ATTRS },
	{ .name = "interface", .fn = h_interface, .kids = nic_kids, .attrs = ATTRS(
		{ .name = "type" }, { .name = "trustGuestRxFilters", .act = IGN }, { .name = "managed", .act = IGN }) },
	{ .name = "serial", .fn = h_serial, .attrs = CHR_ATTRS, .kids = KIDS(CHR_KIDS,
		{ .name = "target", .flags = F_ONCE, .kids = KIDS({ .name = "model", .attrs = ATTRS(
				{ .name = "name", .only = "isa-serial", .note = "only 16550 ports at COM1 to COM4; write <model name='isa-serial'/>" }) }),
			.attrs = ATTRS({ .name = "port" },
			{ .name = "type", .only = "isa-serial", .note = "only 16550 ports at COM1 to COM4; write type='isa-serial'" }) }) },
	{ .name = "console", .fn = h_console, .attrs = CHR_ATTRS, .kids = KIDS(CHR_KIDS,
		{ .name = "target", .flags = F_ONCE, .attrs = ATTRS({ .name = "port" },
			{ .name = "type", .only = "serial|virtio", .note = "write type='serial' or type='virtio'" }) }) },
	{ .name = "channel", .fn = h_channel, .attrs = CHR_ATTRS, .kids = KIDS(CHR_KIDS,
		{ .name = "clipboard", .act = IGN }, { .name = "mouse", .act = IGN },
		{ .name = "target", .flags = F_ONCE, .attrs = ATTRS({ .name = "name" }, { .name = "state", .act = IGN },
			{ .name = "address", .act = IGN }, { .name = "port", .act = IGN },
			{ .name = "type", .only = "virtio", .note = "only virtio channels; write <target type='virtio' name='NAME'/>" }) }) },
	{ .name = "controller", .fn = h_controller, .flags = F_OPAQUE },
	{ .name = "rng", .fn = h_rng, .kids = KIDS(COMMON,
			{ .name = "backend", .flags = F_ONCE | F_TEXT, .attrs = ATTRS(
				{ .name = "type", .act = IGN },
				{ .name = "model", .only = "random|builtin", .note = "only the host's random numbers; write <backend model='random'>/dev/urandom</backend>" }) },
			{ .name = "rate", .flags = F_ONCE, .attrs = ATTRS({ .name = "bytes" }, { .name = "period" }) },
			{ .name = "driver", .attrs = ATTRS(VIRTIO_OPTIONS) }),
		.attrs = ATTRS({ .name = "model", .only = "virtio|virtio-transitional|virtio-non-transitional", .note = N_VIRTIO_MODEL }) },
	{ .name = "memballoon", .fn = h_memballoon, .flags = F_ONCE, .kids = KIDS(COMMON,
			{ .name = "stats", .flags = F_ONCE, .attrs = ATTRS({ .name = "period" }) },
			{ .name = "driver", .attrs = ATTRS(VIRTIO_OPTIONS) }),
		.attrs = ATTRS(
		{ .name = "model", .only = "virtio|virtio-transitional|virtio-non-transitional|none", .note = "write model='virtio' or model='none'" },
		{ .name = "autodeflate", .only = "on|off" }, { .name = "freePageReporting", .only = "on|off" }) },
	{ .name = "vsock", .fn = h_vsock, .flags = F_ONCE, .kids = KIDS(COMMON,
			{ .name = "cid", .flags = F_ONCE, .attrs = ATTRS({ .name = "auto", .only = "yes|no" }, { .name = "address" }) },
			{ .name = "driver", .attrs = ATTRS(VIRTIO_OPTIONS) }),
		.attrs = ATTRS({ .name = "model", .only = "virtio|virtio-transitional|virtio-non-transitional", .note = N_VIRTIO_MODEL }) },
	{ .name = "panic", .fn = h_panic, .kids = KIDS(COMMON), .attrs = ATTRS(
		{ .name = "model", .only = "isa", .note = "only pvpanic at port 0x505; write <panic model='isa'/>" }) },
	{ .name = "watchdog", .fn = h_watchdog, .kids = KIDS(COMMON), .attrs = ATTRS(
		{ .name = "model", .only = "itco", .note = "not supported yet; remove it" }, { .name = "action" }) },
	{ .name = "emulator", .act = IGN },
	{ .name = "graphics", .act = HINT, .note = N_DISPLAY }, { .name = "video", .act = HINT, .note = N_DISPLAY },
	{ .name = "sound", .act = HINT, .note = N_DISPLAY }, { .name = "audio", .act = HINT, .note = N_DISPLAY },
	{ .name = "input", .act = HINT, .note = N_DISPLAY }, { .name = "redirdev", .act = HINT, .note = N_DISPLAY },
	{ .name = "redirfilter", .act = HINT, .note = N_DISPLAY }, { .name = "hub", .act = HINT, .note = N_DISPLAY },
	{ .name = "smartcard", .act = REF, .note = "smart cards are not supported; remove it" },
	{ .name = "hostdev", .act = REF, .note = "host devices are not passed through; remove it" },
	{ .name = "filesystem", .act = REF, .note = "shared folders are not supported yet; remove it and use NFS or sshfs in the guest" },
	{ .name = "tpm", .act = REF, .note = "no TPM is supported yet; remove it" },
	{ .name = "parallel", .act = REF, .note = "no parallel port; remove it" },
	{ .name = "memory", .fn = h_memdev, .kids = KIDS(COMMON,
			{ .name = "source", .act = IGN },
			{ .name = "target", .flags = F_ONCE, .kids = KIDS(
				{ .name = "size", .flags = F_ONCE | F_TEXT, .attrs = ATTRS({ .name = "unit" }) },
				{ .name = "node", .flags = F_ONCE | F_TEXT },
				{ .name = "block", .flags = F_ONCE | F_TEXT, .attrs = ATTRS({ .name = "unit" }) },
				{ .name = "requested", .flags = F_ONCE | F_TEXT, .attrs = ATTRS({ .name = "unit" }) },
				{ .name = "current", .act = IGN },
				{ .name = "address", .flags = F_ONCE, .attrs = ATTRS({ .name = "base" }) }) }),
		.attrs = ATTRS({ .name = "model", .only = "virtio-mem", .note = "only virtio-mem is supported; write model='virtio-mem', with <block> and <requested> in <target>" },
			{ .name = "access", .act = IGN }, { .name = "discard", .act = IGN }) },
	{ .name = "iommu", .act = REF, .note = "there is no guest IOMMU; remove it" },
	{ .name = "shmem", .act = REF, .note = "shared memory devices are not supported; remove it" },
	{ .name = "crypto", .act = REF, .note = "virtio-crypto is not supported; remove it" },
	{ .name = "nvram", .act = REF, .note = "not for PCs; remove it" },
	{ .name = "lease", .act = REF, .note = "lock leases are not taken; remove it" },
	{ .name = "pstore", .act = REF, .note = "not supported; remove it" },
	END
};
