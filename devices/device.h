/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every device has. A device is one file with one `const struct device_ops`
 * registered by DEVICE_REGISTER(), and a foo_create() that machine.c calls; its
 * struct begins with (or embeds) struct device.
 */
#ifndef HVX_DEVICES_DEVICE_H
#define HVX_DEVICES_DEVICE_H

#include "vmm/machine.h"
#include "vmm/state.h"

/* Bus and device callbacks have the signature of their slot, needed or not. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

struct device;

/* What a device has done since the guest was started, for the control socket. */
enum device_kind { DEV_DISK, DEV_NIC };
struct device_stats {
	enum device_kind kind;
	const char *name;	/* the disk's <target dev=>; the interface's <target dev=>, "" where it has none */
	union {
		struct {
			const char *file;
			uint64_t size, rd_ops, rd_bytes, rd_ns, wr_ops, wr_bytes, wr_ns;
			uint64_t flush_ops, flush_ns, failed;
			uint64_t rate[RATE_NR];	/* limits */
			bool readonly;
			bool layered;		/* writes go to a layer, of this id */
			uint8_t layer[16];
		} disk;
		struct {
			uint8_t mac[6];
			const char *backend;	/* "user", "tap" */
			bool link_up;
			bool in_kernel;		/* vhost: frames are not counted here */
			uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped;
		} nic;
	};
};
/* A counter of one thread that others read. */
#define stat_add(counter, n) \
	__atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED)
#define stat_get(counter) __atomic_load_n(&(counter), __ATOMIC_RELAXED)

struct device_ops {
	const char *name;	/* "virtio-blk" */
	const char *xml;	/* "<disk device='disk'> with <target bus='virtio'>" */
	const char *help;	/* one paragraph for hvx-domain-xml(5) and `hvx-vmm --devices` */
	/* Machine lock held for all; NULL = nothing to do. */
	void (*reset)(struct device *dev);	/* to power-on state; I/O in flight is finished or cancelled first */
	void (*pause)(struct device *dev);	/* no guest-memory access after it returns, until resume */
	void (*resume)(struct device *dev);
	void (*destroy)(struct device *dev);	/* stops threads, frees dev; vCPUs are gone */
	void (*stats)(struct device *dev, struct device_stats *s);	/* s is zeroed */
	bool pluggable;		/* may come and go while the guest runs */
	/*
	 * Paused: give to another VMM (own false), or take from it, what only one may have:
	 * image locks. 0 or -errno. NULL: there is nothing.
	 */
	int (*own)(struct device *dev, bool own);
	/* What is saved of it (vmm/state.h). NULL: a machine with such a device cannot be saved. */
	const struct state_desc *state;
};

struct device {
	const struct device_ops *ops;
	struct machine *m;
	struct device *next;
	bool loaded;		/* by machine_load() */
	char id[32];		/* "disk vda": for messages and in saved state, one of its kind in a machine */
};

/* Link dev into m->devices (at the end). */
void device_init(struct device *dev, struct machine *m, const struct device_ops *ops, const char *id_fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* All device types, for help: a linker-collected array. */
#define DEVICE_REGISTER(ops_) \
	static const struct device_ops *const device_reg_##ops_ \
	__attribute__((used, section("hvx_devices"))) = &(ops_)
extern const struct device_ops *const __start_hvx_devices[], *const __stop_hvx_devices[];

/*
 * The board's devices. Each returns 0 or -errno after a message. `cfg` stays
 * the domain's. Files that a device needs are opened here, before the sandbox.
 */
int pic_create(struct machine *m);		/* devices/legacy/pic.c: sets m->pic */
int ioapic_create(struct machine *m);		/* legacy/ioapic.c: sets m->ioapic */
int pit_create(struct machine *m);		/* legacy/pit.c, port 0x61 too */
int rtc_create(struct machine *m);		/* legacy/rtc.c */
int i8042_create(struct machine *m);		/* legacy/i8042.c: reset and a keyboard that is not there */
int serial_create(struct machine *m, const struct dom_serial *cfg);	/* legacy/serial.c */
int debug_exit_create(struct machine *m, uint16_t port);		/* legacy/debug_exit.c */
int pvpanic_create(struct machine *m);		/* legacy/pvpanic.c: port 0x505 */
int acpi_pm_create(struct machine *m);		/* legacy/acpi_pm.c: PM1 event/control, GPE0, reset register, timer */
void acpi_pm_power_button(struct machine *m);
void acpi_pm_gpe(struct machine *m, unsigned int gpe);	/* a general-purpose event has happened */
/*
 * legacy/acpi_hotplug.c: tells the guest of PCI slots that were filled, or shall be
 * emptied, and of vCPUs; what it lets go of goes to hotplug_ejected() and
 * hotplug_cpu_ejected() (vmm/hotplug.h).
 */
int acpi_hotplug_create(struct machine *m);
void acpi_hotplug_filled(struct machine *m, unsigned int slot);
void acpi_hotplug_ask(struct machine *m, unsigned int slot);
void acpi_hotplug_cpus(struct machine *m, uint64_t up, uint64_t down);	/* that came; that shall go */
int fw_cfg_create(struct machine *m);		/* legacy/fw_cfg.c */
int fw_cfg_add(struct machine *m, const char *name, const void *data, uint32_t len);	/* copies */
int pci_host_create(struct machine *m);		/* devices/pci.c: sets m->pci */
int virtio_blk_create(struct machine *m, const struct dom_disk *cfg);
/* On an image that is open: it is the device's from now on. cfg stays the caller's, longer than the device. */
struct image;
struct net_backend;
int virtio_blk_create_on(struct machine *m, const struct dom_disk *cfg, struct image *img);
/*
 * Give the disk with this <target dev=> another size, and tell the guest. vCPUs
 * parked, machine lock. -ENODEV; -EPERM: read only, transient, of layers or a raw block device;
 * -EBUSY: it is being copied to another host; -EINVAL: no multiple of its block size; or what
 * ftruncate() says, or the storage daemon (with its words in why, else that is "").
 */
int virtio_blk_resize(struct machine *m, const char *target, uint64_t size, char *why, size_t len);
struct overlay;
/*
 * Put a new layer over the disk with this <target dev=>, which becomes the disk's, as
 * does file. The guest stands still, machine lock. NULL, or why not; check: only ask.
 */
const char *virtio_blk_layer(struct machine *m, const char *target, struct overlay *o, char *file, bool check);
/*
 * What lies on this disk's image, which is not raw, is to be merged into it by another
 * process, which has opened it for that: image. A connection to write to it by
 * (nbd_disk_on()), the caller's, or -1 with why. virtio_blk_relink() ends it. The same holds.
 */
int virtio_blk_merge(struct machine *m, const char *target, int image, char *why, size_t len);
/*
 * Of the layers under the uppermost one of this disk only those in keep stay; see
 * overlay_relink(). The guest stands still, machine lock. NULL, or why not.
 */
const char *virtio_blk_relink(struct machine *m, const char *target, const uint8_t (*keep)[16], unsigned int nr);
/*
 * Disks that another process serves and the guest writes to: forks of the guest, which
 * stands still for good, can read them now; share false: as before. 0 or -errno, then all
 * are as before.
 */
int virtio_blk_share(struct machine *m, bool share);
struct disk_log;
/*
 * What is written to the disk with this <target dev=> is marked in log from now on; NULL: no
 * more, and the last one is out of use. Its image, which stays as it is as long as there is a log;
 * NULL with *why (static). Machine lock.
 */
const struct image *virtio_blk_log(struct machine *m, const char *target, struct disk_log *log, const char **why);
/* What a disk may carry in a second. -ENODEV. Machine lock held. */
int virtio_blk_set_rates(struct machine *m, const char *target, const struct dom_rate rate[RATE_NR]);
int virtio_net_create(struct machine *m, const struct dom_nic *cfg);
/*
 * On a back end that is open, with a vhost descriptor (/dev/vhost-net) for each of its
 * queues, or vhost_fd NULL: it makes its own of those. The back end is the device's from
 * now on, whatever is returned.
 */
int virtio_net_create_on(struct machine *m, const struct dom_nic *cfg, struct net_backend *be, const int *vhost_fd);
/* The same of an interface, by its device id. -EOPNOTSUPP: the kernel carries its frames. */
int virtio_net_set_rates(struct machine *m, const char *id, const struct dom_rate *in, const struct dom_rate *out);
int virtio_console_create(struct machine *m, const struct dom_port *cfg, unsigned int nr);
int virtio_rng_create(struct machine *m);
int virtio_balloon_create(struct machine *m);
int virtio_vsock_create(struct machine *m);

/* Interrupt controllers, for irq_set() and the vCPU threads. Machine lock held. */
void pic_set_irq(struct pic *pic, unsigned int irq, bool level);	/* drives hv_set_extint() on vCPU 0 */
int pic_ack(struct pic *pic);						/* vector; spurious included */
void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level);
void ioapic_eoi(struct ioapic *io, uint8_t vector);

/*
 * A character back end: what a serial port or console port is connected to.
 * vmm/chardev.c. Output never blocks the caller: what the peer does not take is
 * kept up to a bound, then dropped and counted.
 */
struct chardev;
struct chardev *chardev_open(struct machine *m, const struct dom_chr *cfg, const char *id);
void chardev_close(struct chardev *chr);
size_t chardev_write(struct chardev *chr, const void *buf, size_t len);	/* bytes taken (all but on overflow) */
/* rx is called on the main loop, lock held; room says how many bytes the device can take now. */
void chardev_set_rx(struct chardev *chr, size_t (*room)(void *), void (*rx)(void *, const uint8_t *, size_t), void *opaque);
void chardev_rx_ready(struct chardev *chr);	/* room has grown */

#endif
