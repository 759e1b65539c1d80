/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A domain as the VMM understands it: what domxml.c makes of the XML, and all
 * that machine.c and the devices see of it. Strings are malloc()ed and owned by
 * the struct; NULL where absent. Sizes are bytes. domain_free() frees it whole.
 */
#ifndef HVX_VMM_CONFIG_H
#define HVX_VMM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#define DOM_MAX_DISKS	32
#define DOM_MAX_NICS	16
#define DOM_MAX_SERIALS	4
#define DOM_MAX_PORTS	16	/* virtio-console ports and channels */
#define DOM_MAX_FWD	64	/* port forwards of one interface */
#define DOM_MAX_MODULES	16	/* multiboot modules */
#define DOM_MAX_CPU_FEATURES 128
#define DOM_MAX_MEMDEVS	16

enum chr_type { CHR_NONE, CHR_STDIO, CHR_PTY, CHR_FILE, CHR_UNIX, CHR_TCP, CHR_NULL };

/* Where a serial port's or console's characters go. <console type='pty'> is the terminal under `hvx run`. */
struct dom_chr {
	enum chr_type type;
	char *path;		/* file, Unix socket; NULL for a socket: in the runtime directory */
	char *host, *service;	/* TCP */
	bool listen;		/* <source mode='bind'> */
	bool append;		/* file */
	char *log_file;		/* <log file=> */
	bool log_append;
};

struct dom_serial {
	struct dom_chr chr;
	unsigned int port;	/* 0..3: COM1..4 */
};

struct dom_port {		/* virtio-console port */
	struct dom_chr chr;
	char *name;		/* channel name, NULL for a console */
	bool console;
	unsigned int port;
};

#define DOM_MAX_VCPUS	64
#define DOM_MAX_HOST_CPUS 1024
#define DOM_MAX_IO_DEVS	16

struct dom_cpuset {		/* of the host's CPUs, or NUMA nodes */
	bool given;
	uint64_t bits[DOM_MAX_HOST_CPUS / 64];
};

/* What a device may carry in a second, 0: any. In bursts of peak for peak_s seconds. */
struct dom_rate {
	uint64_t rate, peak, peak_s;
};
/* Of a disk; of both directions together, or of each. */
enum { RATE_BYTES, RATE_BYTES_RD, RATE_BYTES_WR, RATE_OPS, RATE_OPS_RD, RATE_OPS_WR, RATE_NR };

struct dom_io_dev {		/* <blkiotune><device>: a block device of the host */
	char *path;
	unsigned int weight;	/* 0: not given */
	uint64_t limit[4];	/* bytes read, written, operations read, written a second; 0: any */
};

/* The guest's share of the host (vmm/tune.h). 0: not given; quotas: negative: no limit. */
struct dom_tune {
	uint64_t shares, period, global_period, emulator_period;	/* us */
	int64_t quota, global_quota, emulator_quota;
	struct dom_cpuset vcpu_set, vcpu[DOM_MAX_VCPUS], emulator, iothread;
	uint64_t hard_limit, soft_limit, min_guarantee, swap_hard_limit;	/* bytes */
	unsigned int io_weight, nr_io_devs;
	struct dom_io_dev io_dev[DOM_MAX_IO_DEVS];
	enum { NUMA_STRICT, NUMA_PREFERRED, NUMA_INTERLEAVE, NUMA_RESTRICTIVE } numa_mode;
	struct dom_cpuset nodes;
};

enum disk_cache { CACHE_DEFAULT, CACHE_NONE, CACHE_WRITETHROUGH, CACHE_WRITEBACK, CACHE_DIRECTSYNC, CACHE_UNSAFE };
enum disk_bus { DISK_VIRTIO, DISK_SATA, DISK_IDE, DISK_SCSI, DISK_USB, DISK_FLOPPY };

/* What a disk's file is; all but raw by qemu-storage-daemon (devices/storage/foreign.h). */
enum disk_format { DISK_RAW, DISK_QCOW2, DISK_QED, DISK_VDI, DISK_VMDK, DISK_VHDX, DISK_VPC };

/* A file under a disk's. */
struct dom_backing {
	char *file;
	bool layer;		/* false: the last one, an image of the disk's format */
	enum disk_format format;	/* in a chain */
};

struct dom_disk {
	char *file;		/* or block device; NULL: empty drive */
	char *opened_as;	/* not in the XML: where it is found, instead of file; NULL: there */
	unsigned int nr_backing; /* 0: file is an image; else a layer over backing[0], and so on down to an image */
	struct dom_backing *backing;
	enum disk_format format;	/* of the image */
	unsigned int nr_chain;	/* format is DISK_QCOW2: the images that this lies on, as the XML has them, the lowest last */
	struct dom_backing *chain;
	bool block;		/* <disk type='block'> */
	char *target;		/* "vda" */
	char *serial;		/* at most 20 bytes are shown by virtio-blk */
	enum disk_bus bus;
	enum disk_cache cache;
	bool readonly, transient, shareable, cdrom;
	bool incoming;		/* not in the XML: another VMM has the image until it hands it over */
	bool handed_on;		/* not in the XML: opened for a VMM that runs already, image_hand_on() */
	bool discard_unmap;	/* discard='unmap' (default 'ignore') */
	bool detect_zeroes_unmap;
	unsigned int queues;	/* 0: default (one a vCPU, at most 8) */
	struct dom_rate rate[RATE_NR];	/* <iotune> */
	unsigned int boot_order; /* 0: none */
	unsigned int logical_block, physical_block;	/* 0: default 512 */
	unsigned int line;	/* in the XML, for messages */
};

enum nic_type { NIC_USER, NIC_BRIDGE, NIC_NETWORK, NIC_ETHERNET /* existing tap */, NIC_DIRECT /* macvtap */ };

struct dom_fwd {
	bool udp;
	char *host_addr;	/* NULL: any */
	uint16_t host_port, guest_port;
	uint16_t count;		/* of consecutive ports, at least 1 */
};

struct dom_nic {
	enum nic_type type;
	uint8_t mac[6];		/* generated from the UUID when the XML has none */
	bool mac_given;
	char *id;		/* of the device: <alias name='hvx-ID'/>; NULL: netN, by its place */
	char *model;		/* "virtio" */
	char *source;		/* bridge, network or device name */
	char *ifname;		/* <target dev=> */
	bool managed_tap;	/* <target managed='no'>: false = use as it is */
	bool link_down;
	unsigned int mtu;	/* 0: default */
	unsigned int queues;
	struct dom_rate inbound, outbound;	/* <bandwidth>, bytes: what the guest receives, sends */
	int vhost;		/* <driver name=>: -1 default, 0 'qemu', 1 'vhost' */
	unsigned int boot_order;
	unsigned int nr_fwd;
	struct dom_fwd fwd[DOM_MAX_FWD];
	char *ip_address;	/* <ip address=> for user mode, NULL default */
	unsigned int ip_prefix;
	unsigned int line;
};

struct dom_memdev {		/* <memory model='virtio-mem'> */
	char *id;		/* <alias name=>; else virtiomemN, by its place */
	uint64_t size, block, requested;	/* bytes */
	uint64_t base;		/* guest-physical, 0: where there is room */
	unsigned int line;
};

enum lifecycle { LIFE_DESTROY, LIFE_RESTART, LIFE_PRESERVE };
enum cpu_mode { CPU_HOST_PASSTHROUGH, CPU_HOST_MODEL, CPU_CUSTOM, CPU_MAXIMUM };

struct dom_timer {
	bool present_set, present;
	char *tickpolicy;
};

struct domain {
	char *file;		/* the XML's path, for messages */
	char *name, *title, *description;
	uint8_t uuid[16];
	bool uuid_given;
	/* What the guest begins with, without memory devices; all that it can ever have. */
	uint64_t memory, current_memory, max_memory;
	uint64_t device_room;	/* for memory devices, those that may come included */
	unsigned int vcpus, max_vcpus;
	struct { bool hugepages; uint64_t hugepage_size; bool locked, nosharepages, prealloc, shared; } backing;

	struct dom_tune tune;

	struct {
		char *machine;		/* "q35", "pc", ... : only a name here */
		char *kernel, *initrd, *cmdline;
		char *module[DOM_MAX_MODULES];	/* multiboot modules: initrd split at commas, "file args" each */
		unsigned int nr_modules;
		char *loader, *nvram, *nvram_template;
		bool efi, secure_boot;
		bool boot_menu;
		char boot_dev[4];	/* 'h', 'c', 'n', 'f' in order, 0 ends */
		bool smbios_host;	/* <smbios mode=> */
	} os;
	struct {			/* <sysinfo type='smbios'>, NULL: default */
		char *bios_vendor, *bios_version, *bios_date;
		char *manufacturer, *product, *version, *serial, *sku, *family;
		char *base_manufacturer, *base_product, *base_version, *base_serial;
		char *chassis_manufacturer, *chassis_asset;
		char *oem[8];
	} sysinfo;
	struct {
		bool acpi, apic, pae;
		bool kvm_hidden, kvm_pv_ipi_off;
		bool hyperv;		/* any enlightenment asked for */
		uint32_t hyperv_mask;	/* enum in domxml.h */
		uint32_t hyperv_spinlocks;
		char hyperv_vendor[13];
		bool pvspinlock_off;
		int pmu;		/* -1 default */
	} features;
	struct {
		enum cpu_mode mode;
		char *model, *vendor;
		enum { MATCH_EXACT, MATCH_MINIMUM, MATCH_STRICT } match;
		enum { CHECK_DEFAULT, CHECK_NONE, CHECK_PARTIAL, CHECK_FULL } check;
		bool forbid_fallback;
		int migratable;		/* -1 not given */
		bool host_bits;		/* <maxphysaddr mode='passthrough'> */
		unsigned int phys_bits;	/* ... bits=, 0: not given */
		unsigned int line, model_line;	/* in the XML, for messages; 0: not there */
		unsigned int sockets, dies, cores, threads;	/* 0: not given */
		unsigned int nr_feature;
		struct { char *name; enum { FEAT_FORCE, FEAT_REQUIRE, FEAT_OPTIONAL, FEAT_DISABLE, FEAT_FORBID } policy; unsigned int line; } feature[DOM_MAX_CPU_FEATURES];
	} cpu;
	struct {
		enum { CLOCK_UTC, CLOCK_LOCALTIME, CLOCK_TIMEZONE, CLOCK_VARIABLE, CLOCK_ABSOLUTE } offset;
		int64_t adjustment;	/* s; absolute: start, s since the epoch */
		char *timezone;
		struct dom_timer rtc, pit, hpet, kvmclock, hypervclock, tsc;
		uint32_t tsc_khz;	/* <timer name='tsc' frequency=>; 0 host's */
	} clock;
	enum lifecycle on_poweroff, on_reboot, on_crash;
	bool suspend_mem, suspend_disk;	/* <pm>, default off */

	unsigned int nr_disks, nr_nics, nr_serials, nr_ports, nr_memdevs;
	struct dom_memdev memdev[DOM_MAX_MEMDEVS];
	struct dom_disk disk[DOM_MAX_DISKS];
	struct dom_nic nic[DOM_MAX_NICS];
	struct dom_serial serial[DOM_MAX_SERIALS];
	struct dom_port port[DOM_MAX_PORTS];
	struct { bool present; char *source; uint64_t rate_bytes; uint32_t rate_period_ms; } rng;
	struct { bool present, autodeflate, free_page_reporting; unsigned int stats_period; } balloon;
	struct { bool present, auto_cid; uint32_t cid; } vsock;
	struct { bool present; } panic;		/* pvpanic */
	struct { bool present; uint16_t port; } debug_exit;	/* <hvx:debug-exit port=>, also with qemu:commandline's isa-debug-exit */
	struct { bool present; char *action; } watchdog;
};

void domain_free(struct domain *dom);
void dom_disk_free(struct dom_disk *disk);	/* what it points to */
void dom_nic_free(struct dom_nic *nic);
void dom_memdev_free(struct dom_memdev *md);

#endif
