/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One guest: memory, vCPUs, buses, devices. machine.c puts the board together
 * in machine_build(), which reads as the machine's parts list.
 *
 * Threads: the main thread runs the main loop; each vCPU has a thread; devices
 * may have I/O threads. machine->lock guards all device state that is touched
 * by more than one of them, except where a device says otherwise.
 */
#ifndef HVX_VMM_MACHINE_H
#define HVX_VMM_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include "bus.h"
#include "config.h"
#include "hvxapi.h"
#include "log.h"
#include "loop.h"
#include "memory.h"

struct device;
struct pci_bus;
struct ioapic;
struct pic;

/* Exit statuses of `hvx run` and hvx-vmm, documented in hvx(1). */
enum vmm_status {
	VMM_OK = 0,		/* the guest powered off */
	VMM_ERR_USAGE = 64,	/* bad command line or XML */
	VMM_ERR_SETUP = 65,	/* could not be started (file, permission, memory) */
	VMM_ERR_HOST = 66,	/* no /dev/hvx, or the CPU is held by another hypervisor */
	VMM_GUEST_PANIC = 67,	/* pvpanic */
	VMM_GUEST_SHUTDOWN = 68, /* triple fault with on_crash=destroy */
	VMM_ERR_INTERNAL = 69,	/* the VMM or the module failed: a bug */
	VMM_KILLED = 70,	/* told to stop by a signal or `hvx destroy` */
	/* debug-exit: (v << 1) | 1, always odd */
};

enum machine_event { EV_NONE, EV_POWEROFF, EV_RESET, EV_PANIC, EV_CRASH, EV_DEBUG_EXIT, EV_STOP, EV_FATAL };

struct vcpu {
	struct machine *m;
	unsigned int id;
	struct hv_vcpu hv;
	pthread_t thread;
	bool started;
};

struct machine {
	const struct domain *dom;
	struct hv hv;
	struct guest_mem mem;
	pthread_mutex_t lock;
	struct bus pio, mmio;
	struct loop *loop;		/* main */
	struct vcpu vcpu[HVX_MAX_VCPUS];
	unsigned int nr_vcpus;

	/* board parts */
	struct pci_bus *pci;
	struct ioapic *ioapic;
	struct pic *pic;
	struct device *devices;		/* singly linked, in creation order */
	int console_in, console_out;	/* the terminal, -1 none */

	/* what is asked of the main thread; first one wins until handled */
	_Atomic int event;		/* enum machine_event */
	_Atomic int event_status;	/* debug-exit value */
	_Atomic bool stopping, paused;
};

/* Ask for an event from any thread; the main thread acts on it. */
void machine_event(struct machine *m, enum machine_event ev, int status);

/* --- interrupts --- */
/* Level of one of the 24 I/O APIC pins (and of the 8259 for 0..15, ISA numbering; 0 = PIT on pin 2). Machine lock held. */
void irq_set(struct machine *m, unsigned int gsi, bool level);
/* A message; any thread. */
static inline void msi_send(struct machine *m, uint64_t address, uint32_t data)
{
	hv_signal_msi(&m->hv, address, data);
}

/* --- machine.c --- */
int machine_build(struct machine *m, const struct domain *dom);	/* vmm_status */
int machine_run(struct machine *m);				/* vmm_status or debug-exit status */
void machine_free(struct machine *m);

#endif
