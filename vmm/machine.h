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
#include "guest_time.h"
#include "hvxapi.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "msr.h"

struct boot;
struct cpu_policy;
struct device;
struct pci_bus;
struct reset_state;
struct ioapic;
struct pic;
struct hotplug;
struct qmp_server;
struct run_state_data;
struct incoming;
struct migration;
struct save_job;
struct stream_in;

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

enum machine_event {
	EV_NONE,
	/* from the guest */
	EV_POWEROFF, EV_RESET, EV_PANIC, EV_CRASH, EV_DEBUG_EXIT,
	/* from the host: end the VMM; power-on state again, whatever <on_reboot> says */
	EV_STOP, EV_HOST_RESET,
	EV_FATAL, EV_DUMP,
	EV_CALL,	/* machine_call(), vmm/runstate.h */
};

struct vcpu {
	struct machine *m;
	unsigned int id;		/* APIC id */
	struct hv_vcpu hv;
	struct msr_store msrs;
	pthread_t thread;
	_Atomic int tid;		/* of the thread, 0 before it runs */
	unsigned int work_seen;		/* vcpus_work() */
	_Atomic uint32_t nap_us;	/* sleep so long, soon, and once: vcpus_nap() */
	bool started;
	_Atomic bool absent;		/* not plugged in: parked, whatever the guest sends it */
	_Atomic bool held;		/* parked when others run: a debugger wants it so */
	struct hvx_exit_debug debug;	/* the last one, under machine->lock */
	uint64_t tsc;			/* while the guest's time stands: guest_time.h */
};

struct machine {
	const struct domain *dom;
	struct hv hv;
	struct guest_mem mem;
	pthread_mutex_t lock;
	struct bus pio, mmio;
	struct loop *loop;		/* main */
	int signal_fd;
	struct vcpu vcpu[HVX_MAX_VCPUS];
	unsigned int nr_vcpus;		/* that can be */
	uint64_t cpus_present;		/* that the guest has: bits by number; machine lock */

	/* board parts */
	struct pci_bus *pci;
	struct ioapic *ioapic;
	struct pic *pic;
	struct device *devices;		/* singly linked, in creation order */
	int console_in, console_out;	/* the terminal, -1 none (or taken by a chardev) */
	const struct hv_ops *accel;	/* what runs the guest */
	const char *runtime_dir;	/* NULL: none; holds the pid and links to ptys */
	struct boot *boot;		/* vmm/boot/boot.h */
	void *smbios;			/* made once, written at each reset */
	size_t smbios_len;
	uint8_t vmgenid[16];		/* as the guest sees it at BOARD_VMGENID */

	/* vCPU threads that wait to be let run again (vcpu.c) */
	pthread_mutex_t park_lock;
	pthread_cond_t park_cond, parked_cond;
	unsigned int parked;
	void (*work)(void *);		/* vcpus_work() */
	void *work_arg;
	unsigned int work_round, working;
	struct reset_state *reset_state; /* power-on state, taken when the vCPUs were made */
	struct cpu_policy *cpu;		/* vmm/cpu.h */

	/* what is asked of the main thread: machine_event() */
	_Atomic unsigned int event;	/* bits (1 << enum machine_event) */
	_Atomic int event_status;	/* debug-exit value, the first one; -1 none */
	_Atomic bool stopping, paused;
	bool start_paused;		/* machine_run() waits for `cont` */
	int ready_fd;			/* gets a byte when the guest begins; -1: nobody waits for that */
	char *xml;			/* the domain as text, for saved state; the caller's */
	size_t xml_len;
	char *new_xml;			/* what xml points to since a snapshot or a plug; the machine's own */
	struct save_job *save;		/* a saving under way (vmm/save.h), else NULL */
	const struct mem_source *ram_from; /* a fork's memory, with load; NULL: load brings it */
	bool reverted;			/* with load: others go on from there, too; the guest is told */
	struct migration *migration;	/* of this guest to elsewhere, under way or ended (vmm/migrate.h) */
	struct incoming *incoming;	/* this guest comes from elsewhere (vmm/migrate.h) */
	bool template;			/* forks share its memory: it stands still until machine_unshare() */
	struct stream_in *load;		/* saved state to begin with, behind its XML; NULL: power-on */
	struct run_state_data *run;	/* vmm/runstate.h */
	struct guest_time time;		/* main thread */
	struct gdb *gdb;		/* vmm/gdb.h; NULL: no debugger can come */
	const char *gdb_where;		/* where it can; NULL: nowhere */
	struct hotplug *hotplug;	/* vmm/hotplug.c; NULL: nothing was plugged yet */
	bool devices_held;		/* none may come or go now: the machine is being moved */
	unsigned int leaving;		/* devices that the guest has let go of, and that are not gone yet */
	struct qmp_server *qmp;		/* vmm/qmp.h; NULL: no control socket */
};

/*
 * Ask for an event from any thread; the main thread acts on it. A vCPU whose
 * exit caused it executes nothing more until then. status: the byte written to
 * the debug-exit port, else 0.
 */
void machine_event(struct machine *m, enum machine_event ev, int status);

/* --- interrupts --- */
/* Level of one of the 24 I/O APIC pins (and of the 8259 for 0..15, ISA numbering; 0 = PIT on pin 2). Machine lock held. */
void irq_set(struct machine *m, unsigned int gsi, bool level);
/* A message; any thread. */
static inline void msi_send(struct machine *m, uint64_t address, uint32_t data)
{
	hv_signal_msi(&m->hv, address, data);
}

/* --- vcpu.c --- */
int vcpus_create(struct machine *m);		/* -errno after a message */
int vcpus_set_cpuid(struct machine *m);		/* m->cpu's, before any has run. -errno */
int vcpus_start(struct machine *m);		/* threads, without rights; they wait until vcpus_resume() */
void vcpus_pause(struct machine *m);		/* returns when none runs; machine lock not held */
void vcpus_resume(struct machine *m);
/*
 * Let each of the parked threads call fn(arg) once; one piece of work at a time.
 * vcpus_work_wait() returns when all have; before that none may be resumed.
 */
void vcpus_work(struct machine *m, void (*fn)(void *), void *arg);
void vcpus_work_wait(struct machine *m);
/* Each of the running vCPUs sleeps for so long, once. Any thread. */
void vcpus_nap(struct machine *m, uint32_t us);
/* Power-on state for all, then regs and sregs for the boot processor. Paused. */
int vcpus_reset(struct machine *m, const struct hvx_regs *regs, const struct hvx_sregs *sregs);
void vcpus_reset_sregs(struct machine *m, struct hvx_sregs *sregs);	/* what vCPU 0 powers on with */
/* Let a vCPU come, at its power-on state, or go. vCPUs parked, not the first one. 0 or -errno. */
int vcpu_set_present(struct machine *m, unsigned int i, bool present);
void vcpus_destroy(struct machine *m);		/* ends the threads, closes the vCPUs */

/* --- machine.c --- */
int machine_build(struct machine *m, const struct domain *dom);	/* vmm_status */
/* The whole machine to its power-on state. vCPUs parked, devices not paused, lock not held. 0 or -errno. */
int machine_reset(struct machine *m);
/* The guest was copied, or went back in time: another id, and its driver is told. Machine lock held. */
int machine_new_generation(struct machine *m);
void machine_free(struct machine *m);
/* --- runstate.c --- */
int machine_run(struct machine *m);				/* vmm_status or debug-exit status */

#endif
