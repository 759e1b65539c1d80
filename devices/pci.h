/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI: one host bridge, bus 0, ECAM and the 0xcf8/0xcfc ports. Functions get
 * MSI-X; INTx is not offered by hvx's own devices (virtio 1.2 needs none).
 */
#ifndef HVX_DEVICES_PCI_H
#define HVX_DEVICES_PCI_H

#include "device.h"

#define PCI_ECAM_BASE	0xe0000000ULL	/* 256 MiB: buses 0..255 */
#define PCI_ECAM_SIZE	0x10000000ULL
#define PCI_MMIO32_BASE	0xc0000000ULL	/* BAR window below the ECAM */
#define PCI_MMIO32_END	0xe0000000ULL
#define PCI_IO_BASE	0x6000
#define PCI_MAX_BARS	6

struct pci_func;

struct pci_msix_entry {
	uint64_t address;
	uint32_t data;
	bool masked;
	bool pending;
};

struct pci_func_ops {
	/* Machine lock held for all; NULL = nothing to do. */
	/* config[] is about to be read by the guest: bring it up to date. */
	void (*config_read)(struct pci_func *f, unsigned int offset, unsigned int size);
	/* The guest has written: config[] has the new bytes where wmask lets it. */
	void (*config_written)(struct pci_func *f, unsigned int offset, unsigned int size);
	/* bar_mapped[bar] or its address changed. Called unmapped before each move. */
	void (*bar_changed)(struct pci_func *f, unsigned int bar);
	/* A vector's message or mask changed, or MSI-X was enabled/disabled (vector = -1: all): for irqfds. */
	void (*msix_changed)(struct pci_func *f, int vector);
};

struct pci_func {
	struct machine *m;
	const struct pci_func_ops *ops;
	uint8_t devfn;
	struct device *dev;		/* whose it is; NULL: the bridge's own */
	uint8_t config[256];		/* extended space reads as zero */
	uint8_t wmask[256];		/* bits that the guest can write */
	struct bus_region bar[PCI_MAX_BARS];
	uint64_t bar_size[PCI_MAX_BARS];	/* 0: none; power of two */
	bool bar_io[PCI_MAX_BARS], bar_64[PCI_MAX_BARS], bar_mapped[PCI_MAX_BARS];
	unsigned int cap_last, cap_end;	/* last capability; first byte after it */
	unsigned int msix_cap;		/* offset, 0 none */
	unsigned int msix_bar;
	unsigned int nr_vectors;
	pthread_mutex_t msix_lock;	/* the fields below; innermost */
	struct pci_msix_entry *msix;
	bool msix_enabled, msix_func_mask;
	void *opaque;
};

/* --- saved state (vmm/state.h), part of each function's device's --- */
#define PCI_MAX_VECTORS	256	/* of one function here */

struct pci_msix_state {
	uint64_t address;
	uint32_t data;
	uint8_t masked, pending;
};

struct pci_state {
	uint8_t config[256];
	uint32_t nr_vectors;
	struct pci_msix_state msix[PCI_MAX_VECTORS];
};
extern const struct state_field pci_state_fields[];

struct pci_ids {
	uint16_t vendor, device, subvendor, subdevice;
	uint8_t class_base, class_sub, prog_if, revision;
};

/*
 * Put a function on bus 0 at devfn, or (devfn -1) at the next free device number,
 * or where there is none as a further function of a device. BARs get an address
 * at reset time by pci_assign(). -ENOSPC, -EEXIST. f is zeroed first.
 */
int pci_add(struct machine *m, struct pci_func *f, const struct pci_ids *ids, int devfn, const struct pci_func_ops *ops, void *opaque);
void pci_remove(struct pci_func *f);
/* --- plugging (devices/legacy/acpi_hotplug.c); machine lock held --- */
#define PCI_NR_SLOTS	32
/* A slot without functions, -ENOSPC: pci_add() would make it a further function of a device. */
int pci_free_slot(const struct machine *m);
/* The function that is alone in its slot; NULL: there is none, or more than one. */
struct pci_func *pci_alone(const struct machine *m, unsigned int slot);
/* Function of a device; NULL: it has none. */
struct pci_func *pci_of_device(const struct machine *m, const struct device *dev);
/* The guest finds it no more, neither by its configuration nor by its BARs. pci_remove() follows. */
void pci_hide(struct pci_func *f);
/* Move functions to other places: devfn[i] for func[i], all devices' functions at once. -EINVAL: not so. */
int pci_place(struct machine *m, struct pci_func *const *func, const uint8_t *devfn, unsigned int n);
/* size: a power of two, at least 16 (256 at most for I/O). A 64-bit BAR takes two numbers; for an I/O BAR set bar_io[bar] first. */
int pci_add_bar(struct pci_func *f, unsigned int bar, uint64_t size, bool is_64, const char *name, const struct bus_ops *ops, void *opaque, unsigned int bus_flags);
/* Append a capability of len bytes (id and next included); returns its offset, or -ENOSPC. */
int pci_add_cap(struct pci_func *f, uint8_t id, unsigned int len);
/* MSI-X table and PBA in a BAR of their own. */
int pci_add_msix(struct pci_func *f, unsigned int bar, unsigned int nr_vectors);
/*
 * The message that vector stands for now. False where it must not be sent: MSI-X is
 * off, the vector or the function is masked, or the number is out of range.
 */
bool pci_msix_message(struct pci_func *f, unsigned int vector, uint64_t *address, uint32_t *data);
/* Send vector's message, or mark it pending where masked. Any thread. */
void pci_msix_notify(struct pci_func *f, unsigned int vector);
/* Give every BAR an address and switch decoding on, as firmware would (direct kernel boot). Machine lock held. */
void pci_assign(struct machine *m);
void pci_reset_func(struct pci_func *f);
void pci_save(struct pci_func *f, struct pci_state *s);
/* After reset. BARs get their addresses back; nothing is sent. 0, or -EINVAL with *err. */
int pci_load(struct pci_func *f, const struct pci_state *s, struct state_error *err);

#endif
