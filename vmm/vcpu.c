// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPU threads: run the guest, serve its exits, and stand still when told.
 *
 * A thread parks only after HVX_EXIT_KICKED: by then the module has completed
 * the instruction of the exit before it, so a parked vCPU's state is whole.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cpu.h"
#include "devices/device.h"
#include "emulate.h"
#include "gdb.h"
#include "sandbox.h"
#include "tune.h"
#include "vcpu.h"

#define VCPU_STACK	(256U << 10)
#define NAP_STEP	2000U	/* us */

#define unlikely(x)	__builtin_expect(!!(x), 0)

/* ---------------------------------------------------------------- exits */

static void fatal(struct vcpu *v, const char *what)
{
	log_error("vCPU %u: %s", v->id, what);
	vcpu_dump(v);
	machine_event(v->m, EV_FATAL, 0);
}

static void exit_pio(struct vcpu *v, struct hvx_run *run)
{
	struct hvx_exit_pio *pio = &run->pio;

	if (pio->is_write)
		bus_write(&v->m->pio, pio->port, pio->size, pio->data);
	else
		pio->data = (uint32_t)bus_read(&v->m->pio, pio->port, pio->size);
}

static void exit_mmio(struct vcpu *v, struct hvx_run *run)
{
	struct hvx_exit_mmio *mmio = &run->mmio;

	if (mmio->is_write)
		bus_write(&v->m->mmio, mmio->gpa, mmio->size, mmio->data);
	else
		mmio->data = bus_read(&v->m->mmio, mmio->gpa, mmio->size);
}

static void exit_emulate(struct vcpu *v, struct hvx_run *run)
{
	if (vcpu_emulate(v, run) < 0)
		fatal(v, "an instruction that touches a device cannot be emulated");
}

/* KVM's documented wall clock: version (odd while the rest changes), seconds, nanoseconds. */
static void wall_clock(struct vcpu *v, uint64_t gpa)
{
	struct hvx_clock c;
	uint32_t now[3];
	uint64_t zero;

	if (guest_read(&v->m->mem, gpa, &now[0], 4) || hv_get_clock(&v->m->hv, &c))
		return;
	zero = c.realtime_ns - c.ns;
	now[0] = (now[0] | 1) + 2;
	now[1] = (uint32_t)(zero / 1000000000);
	now[2] = (uint32_t)(zero % 1000000000);
	guest_write(&v->m->mem, gpa, &now[0], 4);
	atomic_thread_fence(memory_order_release);
	guest_write(&v->m->mem, gpa + 4, &now[1], 8);
	atomic_thread_fence(memory_order_release);
	now[0]++;
	guest_write(&v->m->mem, gpa, &now[0], 4);
}

static void exit_msr(struct vcpu *v, struct hvx_run *run)
{
	struct hvx_exit_msr *msr = &run->msr;
	uint64_t val = msr->data;
	uint32_t index = msr->index;
	/* Two numbers, each with a feature bit of its own. */
	bool wall = index == MSR_WALL_CLOCK || index == MSR_WALL_CLOCK_NEW;
	bool there = !wall || v->m->cpu->pv_features & (index == MSR_WALL_CLOCK ? 1 << 0 : 1 << 3);

	if (there && (msr->is_write ? msr_write(&v->msrs, v->m->cpu->phys_bits, index, val) :
				      msr_read(&v->msrs, index, &val))) {
		msr->data = val;
		if (wall && msr->is_write)
			wall_clock(v, val);
		return;
	}
	log_debug("vCPU %u: %s MSR %#x refused", v->id, msr->is_write ? "write to" : "read of",
		  index);
	msr->error = 1;
}

static void exit_hypercall(struct vcpu *v, struct hvx_run *run)
{
	(void)v;
	run->hypercall.ret = (uint64_t)-1000;	/* KVM_ENOSYS of the hypercall ABI */
}

static void exit_eoi(struct vcpu *v, struct hvx_run *run)
{
	pthread_mutex_lock(&v->m->lock);
	ioapic_eoi(v->m->ioapic, (uint8_t)run->eoi.vector);
	pthread_mutex_unlock(&v->m->lock);
}

static void exit_intr_window(struct vcpu *v, struct hvx_run *run)
{
	pthread_mutex_lock(&v->m->lock);
	run->extint_vector = (uint8_t)pic_ack(v->m->pic);
	run->extint_valid = 1;
	pthread_mutex_unlock(&v->m->lock);
}

static void exit_debug(struct vcpu *v, struct hvx_run *run)
{
	struct hvx_exit_debug d = run->debug;

	gdb_exit(v, &d);
}

static void exit_none(struct vcpu *v, struct hvx_run *run)
{
	(void)v;
	(void)run;
}

static void exit_halted(struct vcpu *v, struct hvx_run *run)
{
	(void)run;
	fatal(v, "HLT came to userspace, which did not ask for it");
}

static void exit_shutdown(struct vcpu *v, struct hvx_run *run)
{
	(void)run;
	if (v->m->dom->on_crash != LIFE_RESTART) {
		log_warn("vCPU %u: triple fault; its registers:", v->id);
		vcpu_dump(v);
	}
	machine_event(v->m, EV_CRASH, 0);
}

static void exit_task_switch(struct vcpu *v, struct hvx_run *run)
{
	int ret = vcpu_task_switch(v, run);

	if (ret == VCPU_SHUTDOWN)
		exit_shutdown(v, run);
	else if (ret)
		fatal(v, "a task switch cannot be done");
}

/* SDM vol. 3 "Checks on Guest Segment Registers", what does not depend on other state. */
static bool segment_ok(int seg, const struct hvx_segment *s)
{
	unsigned int type = s->attr & 0x1f;

	if (s->attr & HVX_SEG_UNUSABLE)
		return seg != 1 && seg != 7;
	if (!(s->attr & HVX_SEG_P) ||
	    (s->attr & HVX_SEG_G ? ~s->limit & 0xfff : s->limit >> 20))
		return false;
	if (seg >= 6)
		return seg == 6 ? type == 2 : type == 3 || type == 11;
	if (seg == 1)
		return (type & 0x19) == 0x19 || type == 0x13;
	return (type & 0x11) == 0x11 && (seg != 2 || (type & ~4U) == 0x13);
}

/* The registers of an entry that VT-x refused for the guest's state, and the segments that it does not take. */
static void explain_entry(struct vcpu *v)
{
	static const char name[8][5] = { "es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr" };
	struct hvx_sregs s;
	int i;

	vcpu_dump(v);
	if (strcmp(v->m->hv.info.backend, "vmx") != 0 ||
	    hv_get_state(&v->hv, HVX_STATE_SREGS, &s, sizeof(s)))
		return;
	for (i = 0; i < 8; i++)
		if (!segment_ok(i, &s.es + i))
			log_error("  no entry with %s: attr %04x limit %08x", name[i],
				  (&s.es + i)->attr, (&s.es + i)->limit);
}

static void exit_fail_entry(struct vcpu *v, struct hvx_run *run)
{
	log_error("vCPU %u: the CPU refused to enter the guest: reason %#llx, info %#llx %#llx %#llx %#llx (host CPU %u)",
		  v->id, (unsigned long long)run->fail.hw_reason,
		  (unsigned long long)run->fail.info[0], (unsigned long long)run->fail.info[1],
		  (unsigned long long)run->fail.info[2], (unsigned long long)run->fail.info[3],
		  run->fail.cpu);
	explain_entry(v);
	fatal(v, "the guest cannot go on");
}

static void exit_internal(struct vcpu *v, struct hvx_run *run)
{
	static const char *const what[] = {
		[HVX_INTERNAL_UNHANDLED] = "an exit that the module does not know",
		[HVX_INTERNAL_DELIVERY] = "event delivery touched a device's memory",
	};
	uint32_t sub = run->fail.suberror;

	log_error("vCPU %u: %s: reason %#llx, info %#llx %#llx %#llx %#llx", v->id,
		  sub < sizeof(what) / sizeof(what[0]) && what[sub] ? what[sub] : "internal error",
		  (unsigned long long)run->fail.hw_reason,
		  (unsigned long long)run->fail.info[0], (unsigned long long)run->fail.info[1],
		  (unsigned long long)run->fail.info[2], (unsigned long long)run->fail.info[3]);
	fatal(v, "the guest cannot go on");
}

static void exit_memory_fault(struct vcpu *v, struct hvx_run *run)
{
	log_error("vCPU %u: guest memory at %#llx cannot be had: %s", v->id,
		  (unsigned long long)run->memory_fault.gpa,
		  strerror((int)run->memory_fault.error));
	fatal(v, "the host is out of memory, or out of huge pages");
}

static void exit_kicked(struct vcpu *v, struct hvx_run *run);

static void (*const exit_handler[HVX_EXIT_NR])(struct vcpu *v, struct hvx_run *run) = {
	[HVX_EXIT_NONE] = exit_none,
	[HVX_EXIT_PIO] = exit_pio,
	[HVX_EXIT_MMIO] = exit_mmio,
	[HVX_EXIT_EMULATE] = exit_emulate,
	[HVX_EXIT_MSR] = exit_msr,
	[HVX_EXIT_HYPERCALL] = exit_hypercall,
	[HVX_EXIT_EOI] = exit_eoi,
	[HVX_EXIT_INTR_WINDOW] = exit_intr_window,
	[HVX_EXIT_DEBUG] = exit_debug,
	[HVX_EXIT_HALTED] = exit_halted,
	[HVX_EXIT_SHUTDOWN] = exit_shutdown,
	[HVX_EXIT_INTERRUPTED] = exit_none,
	[HVX_EXIT_KICKED] = exit_kicked,
	[HVX_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[HVX_EXIT_INTERNAL] = exit_internal,
	[HVX_EXIT_MEMORY_FAULT] = exit_memory_fault,
	[HVX_EXIT_TASK_SWITCH] = exit_task_switch,
};

/* ----------------------------------------------------------------- dump */

static void dump_seg(const char *name, const struct hvx_segment *s)
{
	log_error("  %s %04x base %016llx limit %08x attr %04x", name, s->selector,
		  (unsigned long long)s->base, s->limit, s->attr);
}

void vcpu_dump(struct vcpu *v)
{
	struct hvx_regs r;
	struct hvx_sregs s;
	struct hvx_events e;

#define X(x) ((unsigned long long)(x))
	if (!hv_get_state(&v->hv, HVX_STATE_REGS, &r, sizeof(r))) {
		log_error("  rip %016llx rflags %08llx rsp %016llx rbp %016llx", X(r.rip),
			  X(r.rflags), X(r.rsp), X(r.rbp));
		log_error("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", X(r.rax), X(r.rbx),
			  X(r.rcx), X(r.rdx));
		log_error("  rsi %016llx rdi %016llx r8  %016llx r9  %016llx", X(r.rsi), X(r.rdi),
			  X(r.r8), X(r.r9));
		log_error("  r10 %016llx r11 %016llx r12 %016llx r13 %016llx", X(r.r10), X(r.r11),
			  X(r.r12), X(r.r13));
		log_error("  r14 %016llx r15 %016llx", X(r.r14), X(r.r15));
	}
	if (!hv_get_state(&v->hv, HVX_STATE_SREGS, &s, sizeof(s))) {
		log_error("  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %llx cr8 %llx",
			  X(s.cr0), X(s.cr2), X(s.cr3), X(s.cr4), X(s.efer), X(s.cr8));
		dump_seg("cs", &s.cs);
		dump_seg("ss", &s.ss);
		dump_seg("ds", &s.ds);
		dump_seg("es", &s.es);
		dump_seg("fs", &s.fs);
		dump_seg("gs", &s.gs);
		dump_seg("tr", &s.tr);
		log_error("  gdt %016llx/%04x idt %016llx/%04x apic base %llx", X(s.gdtr.base),
			  s.gdtr.limit, X(s.idtr.base), s.idtr.limit, X(s.apic_base));
	}
	if (!hv_get_state(&v->hv, HVX_STATE_EVENTS, &e, sizeof(e)))
		log_error("  exception %x code %x, injected %x code %x, extint %x, shadow %u, nmi %u masked %u, state %u",
			  e.exception, e.exception_code, e.injected, e.injected_code, e.extint,
			  e.interrupt_shadow, e.nmi_pending, e.nmi_masked, e.mp_state);
#undef X
}

/* -------------------------------------------------------------- threads */

static bool must_park(const struct machine *m)
{
	return atomic_load_explicit(&m->event, memory_order_relaxed) ||
	       atomic_load_explicit(&m->paused, memory_order_relaxed);
}

/* A share of what was given to the parked threads. park_lock held, but not meanwhile. */
static void work(struct vcpu *v)
{
	struct machine *m = v->m;

	v->work_seen = m->work_round;
	pthread_mutex_unlock(&m->park_lock);
	m->work(m->work_arg);
	pthread_mutex_lock(&m->park_lock);
	m->working--;
	pthread_cond_signal(&m->parked_cond);
}

void vcpus_work(struct machine *m, void (*fn)(void *), void *arg)
{
	pthread_mutex_lock(&m->park_lock);
	m->work = fn;
	m->work_arg = arg;
	m->working = m->parked;
	m->work_round++;
	pthread_cond_broadcast(&m->park_cond);
	pthread_mutex_unlock(&m->park_lock);
}

void vcpus_work_wait(struct machine *m)
{
	pthread_mutex_lock(&m->park_lock);
	while (m->working)
		pthread_cond_wait(&m->parked_cond, &m->park_lock);
	pthread_mutex_unlock(&m->park_lock);
}

/* Wait until the machine goes on, or ends. */
static void park(struct vcpu *v)
{
	struct machine *m = v->m;

	pthread_mutex_lock(&m->park_lock);
	m->parked++;
	pthread_cond_signal(&m->parked_cond);
	while ((must_park(m) || v->held || v->absent) && !m->stopping) {
		if (v->work_seen != m->work_round)
			work(v);
		else
			pthread_cond_wait(&m->park_cond, &m->park_lock);
	}
	m->parked--;
	pthread_mutex_unlock(&m->park_lock);
	v->hv.run->immediate_exit = 0;
}

static void exit_kicked(struct vcpu *v, struct hvx_run *run)
{
	(void)run;
	if (must_park(v->m))
		park(v);
}

/* HVX_RUN itself failed. False: it will not work again. */
static bool run_failed(struct vcpu *v, int err)
{
	switch (err) {
	case -EINTR:
	case -EAGAIN:
		return true;
	case -EIO:
		log_error("the CPU's virtualisation is gone, or held in a way that cannot be shared: see the kernel log (dmesg) and `hvx host` for who holds it and what to type");
		fatal(v, "HVX_RUN: the hardware cannot be had");
		return false;
	default:
		log_error("vCPU %u: HVX_RUN: %s", v->id, strerror(-err));
		fatal(v, "the module refuses the vCPU's state");
		return false;
	}
}

/* In short steps, so that whoever wants the vCPU parked need not wait. */
static void nap(struct vcpu *v)
{
	uint32_t left = atomic_exchange(&v->nap_us, 0), step;

	for (; left && !must_park(v->m) && !v->m->stopping; left -= step) {
		step = left < NAP_STEP ? left : NAP_STEP;
		usleep(step);
	}
}

void vcpus_nap(struct machine *m, uint32_t us)
{
	unsigned int i;

	for (i = 0; i < m->nr_vcpus; i++)
		if (m->vcpu[i].started) {
			atomic_store(&m->vcpu[i].nap_us, us);
			hv_kick(&m->vcpu[i].hv);
		}
}

static void run(struct vcpu *v)
{
	struct machine *m = v->m;
	struct hvx_run *page = v->hv.run;
	bool alive = true;

	while (!atomic_load_explicit(&m->stopping, memory_order_relaxed)) {
		uint32_t reason;
		int ret;

		if (unlikely(!alive)) {
			park(v);
			continue;
		}
		ret = hv_run(&v->hv);
		if (unlikely(ret)) {
			alive = run_failed(v, ret);
			/* A signal is no reason to miss a pause. */
			page->immediate_exit = must_park(m);
			continue;
		}
		reason = page->exit_reason;
		if (unlikely(reason >= HVX_EXIT_NR))
			fatal(v, "the module gave an exit reason that is not defined");
		else
			exit_handler[reason](v, page);
		if (unlikely(atomic_load_explicit(&v->nap_us, memory_order_relaxed)))
			nap(v);
		/* Complete this exit's instruction, then leave again at once. */
		if (unlikely(must_park(m)))
			page->immediate_exit = 1;
	}
}

/*
 * Where KVM is, its guests may share a CPU with this thread. The module keeps their
 * branch predictions from our guest; that ours do not reach them is the kernel's to
 * do as it switches processes, which it does for those that ask for it.
 */
static void ask_for_barrier(void)
{
	if (!access("/sys/module/kvm_amd", F_OK) || !access("/sys/module/kvm_intel", F_OK))
		prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE, 0, 0);
}

static void vcpu_prepare(void *arg)
{
	struct vcpu *v = arg;

	v->tid = (int)gettid();
	ask_for_barrier();
	tune_vcpu((unsigned int)(v - v->m->vcpu));
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	park(v);
	run(v);
	return NULL;
}

int vcpus_start(struct machine *m)
{
	unsigned int i;
	char name[16];
	int ret = 0;

	m->paused = true;
	for (i = 0; i < m->nr_vcpus && !ret; i++) {
		struct vcpu *v = &m->vcpu[i];

		snprintf(name, sizeof(name), "vcpu%u", i);
		ret = sandbox_thread(&v->thread, &(struct sandbox_thread){
			SANDBOX_VCPU, name, VCPU_STACK, vcpu_prepare, vcpu_main, v });
		if (ret)
			log_error("cannot start the thread of vCPU %u: %s", i, strerror(-ret));
		v->started = !ret;
	}
	return ret;
}

static unsigned int kick_all(struct machine *m)
{
	unsigned int i, n = 0;

	for (i = 0; i < m->nr_vcpus; i++)
		if (m->vcpu[i].started) {
			hv_kick(&m->vcpu[i].hv);
			n++;
		}
	return n;
}

void vcpus_pause(struct machine *m)
{
	unsigned int n;

	m->paused = true;
	n = kick_all(m);
	pthread_mutex_lock(&m->park_lock);
	while (m->parked < n)
		pthread_cond_wait(&m->parked_cond, &m->park_lock);
	pthread_mutex_unlock(&m->park_lock);
}

void vcpus_resume(struct machine *m)
{
	pthread_mutex_lock(&m->park_lock);
	m->paused = false;
	pthread_cond_broadcast(&m->park_cond);
	pthread_mutex_unlock(&m->park_lock);
}

/* ---------------------------------------------------------------- reset */

/* What a vCPU powers on with, as the module made it. */
struct vcpu_power_on {
	struct hvx_regs regs;
	struct hvx_sregs sregs;
	struct hvx_events events;
	struct hvx_debugregs debugregs;
	struct hvx_lapic_state lapic;
};

struct reset_state {
	void *xsave;			/* the same for all */
	uint32_t xsave_size;
	unsigned int nr_msrs;
	struct hvx_msr_entry msr[32];	/* the same for all */
	struct vcpu_power_on vcpu[];
};

#define MSR_TSC_ADJUST	0x3b

static void take_msrs(struct machine *m, struct reset_state *rs)
{
	static const uint32_t saved[] = HVX_SAVED_MSRS;
	unsigned int i;

	for (i = 0; i < sizeof(saved) / sizeof(saved[0]); i++) {
		struct hvx_msr_entry e = { .index = saved[i] };

		/* A reset leaves the TSCs as they are: set one by one they would drift apart. */
		if (e.index == MSR_TSC_ADJUST)
			continue;
		if (hv_get_msrs(&m->vcpu[0].hv, &e, 1) == 1)
			rs->msr[rs->nr_msrs++] = e;
	}
}

static int take_reset_state(struct machine *m)
{
	struct reset_state *rs = calloc(1, sizeof(*rs) + m->nr_vcpus * sizeof(rs->vcpu[0]));
	unsigned int i;
	int ret;

	if (!rs)
		return -ENOMEM;
	m->reset_state = rs;
	rs->xsave_size = (uint32_t)sizeof(struct hvx_xsave_hdr) + m->hv.info.xsave_size;
	rs->xsave = calloc(1, rs->xsave_size);
	if (!rs->xsave)
		return -ENOMEM;
	ret = hv_get_state(&m->vcpu[0].hv, HVX_STATE_XSAVE, rs->xsave, rs->xsave_size);
	take_msrs(m, rs);
	for (i = 0; i < m->nr_vcpus && !ret; i++) {
		struct hv_vcpu *hv = &m->vcpu[i].hv;
		struct vcpu_power_on *p = &rs->vcpu[i];

		ret = hv_get_state(hv, HVX_STATE_REGS, &p->regs, sizeof(p->regs)) ?:
		      hv_get_state(hv, HVX_STATE_SREGS, &p->sregs, sizeof(p->sregs)) ?:
		      hv_get_state(hv, HVX_STATE_EVENTS, &p->events, sizeof(p->events)) ?:
		      hv_get_state(hv, HVX_STATE_DEBUGREGS, &p->debugregs, sizeof(p->debugregs)) ?:
		      hv_get_state(hv, HVX_STATE_LAPIC, &p->lapic, sizeof(p->lapic));
	}
	return ret;
}

void vcpus_reset_sregs(struct machine *m, struct hvx_sregs *sregs)
{
	*sregs = m->reset_state->vcpu[0].sregs;
}

static int reset_one(struct machine *m, unsigned int i)
{
	struct reset_state *rs = m->reset_state;
	struct vcpu_power_on *p = &rs->vcpu[i];
	struct hv_vcpu *hv = &m->vcpu[i].hv;
	unsigned int done = 0;
	int n;

	/* MSRs first: paravirtual ones make the module write to guest memory. */
	while (done < rs->nr_msrs) {
		n = hv_set_msrs(hv, rs->msr + done, rs->nr_msrs - done);
		if (n < 0)
			return n;
		done += (unsigned int)n;
		if (done < rs->nr_msrs) {
			log_debug("vCPU %u: MSR %#x keeps its value", i, rs->msr[done].index);
			done++;
		}
	}
	return hv_set_state(hv, HVX_STATE_SREGS, &p->sregs, sizeof(p->sregs)) ?:
	       hv_set_state(hv, HVX_STATE_REGS, &p->regs, sizeof(p->regs)) ?:
	       hv_set_state(hv, HVX_STATE_DEBUGREGS, &p->debugregs, sizeof(p->debugregs)) ?:
	       hv_set_state(hv, HVX_STATE_XSAVE, rs->xsave, rs->xsave_size) ?:
	       hv_set_state(hv, HVX_STATE_LAPIC, &p->lapic, sizeof(p->lapic)) ?:
	       hv_set_state(hv, HVX_STATE_EVENTS, &p->events, sizeof(p->events));
}

int vcpu_set_present(struct machine *m, unsigned int i, bool present)
{
	struct vcpu *v = &m->vcpu[i];
	int ret = 0;

	if (present && v->absent) {
		v->hv.run->dirty = 0;
		v->hv.run->extint_valid = 0;
		msr_power_on(&v->msrs);
		ret = reset_one(m, i);
	}
	if (!ret)
		v->absent = !present;
	return ret;
}

int vcpus_reset(struct machine *m, const struct hvx_regs *regs, const struct hvx_sregs *sregs)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < m->nr_vcpus && !ret; i++) {
		m->vcpu[i].hv.run->dirty = 0;
		m->vcpu[i].hv.run->extint_valid = 0;
		msr_power_on(&m->vcpu[i].msrs);
		ret = reset_one(m, i);
	}
	if (!ret)
		ret = hv_set_state(&m->vcpu[0].hv, HVX_STATE_SREGS, sregs, sizeof(*sregs)) ?:
		      hv_set_state(&m->vcpu[0].hv, HVX_STATE_REGS, regs, sizeof(*regs));
	if (ret)
		log_error("cannot set the vCPUs' power-on state: %s", strerror(-ret));
	return ret;
}

/* --------------------------------------------------- creation and end */

int vcpus_set_cpuid(struct machine *m)
{
	struct hvx_cpuid_entry table[HVX_MAX_CPUID];
	unsigned int i, n;
	int ret = 0;

	for (i = 0; i < m->nr_vcpus && !ret; i++) {
		n = cpu_policy_table(m->cpu, m->vcpu[i].id, table);
		ret = hv_set_cpuid(&m->vcpu[i].hv, table, n);
	}
	return ret;
}

int vcpus_create(struct machine *m)
{
	/* All that may come later are made now: the sandbox makes none. They cost memory only. */
	unsigned int possible = m->dom->features.acpi ? m->dom->max_vcpus : m->dom->vcpus;
	unsigned int i;
	int ret = 0;

	if (possible < m->dom->vcpus)
		possible = m->dom->vcpus;
	for (i = 0; i < possible; i++) {
		struct vcpu *v = &m->vcpu[i];

		v->m = m;
		v->id = cpu_apic_id(&m->cpu->topo, i);
		msr_init(&v->msrs);
		ret = hv_vcpu_create(&m->hv, v->id, &v->hv);
		if (ret) {
			log_error("cannot create vCPU %u: %s", i, strerror(-ret));
			return ret;
		}
		m->nr_vcpus = i + 1;
		v->absent = i >= m->dom->vcpus;
		if (!v->absent)
			m->cpus_present |= 1ULL << i;
	}
	ret = vcpus_set_cpuid(m);
	if (ret)
		log_error("the module refuses the CPUID table: %s", strerror(-ret));
	if (!ret) {
		ret = take_reset_state(m);
		if (ret)
			log_error("cannot read the vCPUs' power-on state: %s", strerror(-ret));
	}
	return ret;
}

void vcpus_destroy(struct machine *m)
{
	unsigned int i;

	pthread_mutex_lock(&m->park_lock);
	m->stopping = true;
	pthread_cond_broadcast(&m->park_cond);
	pthread_mutex_unlock(&m->park_lock);
	kick_all(m);
	for (i = 0; i < m->nr_vcpus; i++)
		if (m->vcpu[i].started) {
			pthread_join(m->vcpu[i].thread, NULL);
			m->vcpu[i].started = false;
		}
	for (i = 0; i < m->nr_vcpus; i++)
		hv_vcpu_close(&m->vcpu[i].hv);
	if (m->reset_state)
		free(m->reset_state->xsave);
	free(m->reset_state);
	m->reset_state = NULL;
	m->nr_vcpus = 0;
}
