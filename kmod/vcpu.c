// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's life and its run loop.
 *
 * run_loop() is the outer loop: everything that may sleep. run_guest() is the
 * inner one: preemption is off, the guest's FPU and MSRs are loaded, and the
 * guest is entered again and again until an exit needs the outer loop. Nothing
 * of the guest's is live in the CPU while preemption is on, so there is nothing
 * to do when the thread is scheduled.
 */
#include <linux/interrupt.h>
#include <linux/sched/stat.h>
#include <asm/apic.h>

#include "backend.h"
#include "irq/lapic.h"
#include "trace.h"

struct kmem_cache *hvx_vcpu_cache;
static atomic64_t serials;

/* --------------------------------------------------------------- kicking */

void hvx_kick(struct hvx_vcpu *vcpu, u8 vector)
{
	int me = get_cpu(), cpu = READ_ONCE(vcpu->cpu);

	if (!rcuwait_wake_up(&vcpu->wait) && READ_ONCE(vcpu->in_guest) && cpu != me) {
		if (vector)
			apic->send_IPI(cpu, vector);
		else
			smp_send_reschedule(cpu);
	}
	put_cpu();
}

/*
 * With posted interrupts a guest that runs goes on, or exits as by any IPI where it
 * cannot have them now. Who is outside looks at IRR before each entry, without a request.
 */
void hvx_notify(struct hvx_vcpu *vcpu, bool posted)
{
	if (posted && hvx_backend->notify_vector)
		hvx_kick(vcpu, hvx_backend->notify_vector);
	else
		hvx_request_kick(vcpu, HVX_REQ_EVENT);
}

static void ack_ipi(void *unused)
{
}

/*
 * The interrupt is taken only after the vCPU has left the guest, and a vCPU
 * that is outside looks at its requests before it goes in: so when the wait is
 * over no vCPU runs on what the request wants to see gone.
 */
void hvx_kick_all_wait(struct hvx_vm *vm, enum hvx_req req)
{
	struct hvx_vcpu *vcpu;
	int i, cpu;

	cpumask_clear(&vm->kick_mask);
	hvx_for_each_vcpu(i, vcpu, vm) {
		hvx_request(vcpu, req);
		cpu = READ_ONCE(vcpu->cpu);
		if (READ_ONCE(vcpu->in_guest))
			__cpumask_set_cpu(cpu, &vm->kick_mask);
	}
	/* This leaves out this CPU, which is not in a guest. */
	if (!cpumask_empty(&vm->kick_mask))
		smp_call_function_many(&vm->kick_mask, ack_ipi, NULL, true);
}

/* ---------------------------------------------------------------- events */

/* SDM vol. 3 table "Interrupt and Exception Classes": two of these make #DF. */
#define CONTRIBUTORY (BIT(0) | BIT(10) | BIT(11) | BIT(12) | BIT(13))

/*
 * Queue an exception for the next entry, with the rules of SDM vol. 3 table
 * "Conditions for Generating a Double Fault" when one is on its way already.
 */
enum hvx_next hvx_queue_exception(struct hvx_vcpu *vcpu, u8 vector, bool has_code, u32 code,
				  u64 payload)
{
	struct hvx_events *ev = &vcpu->ev;
	u32 before = ev->exception;
	u8 first;

	if (!before && hvx_event_is(ev->injected, HVX_EVENT_EXC)) {
		before = ev->injected;
		ev->injected = 0;
	}
	first = before & HVX_EVENT_VECTOR;
	if (before && first == 8) {
		ev->exception = 0;
		hvx_request(vcpu, HVX_REQ_TRIPLE);
		return HVX_REENTER;
	}
	if (before && ((CONTRIBUTORY & BIT(first) && CONTRIBUTORY & BIT(vector)) ||
		       (first == 14 && (CONTRIBUTORY | BIT(14)) & BIT(vector)))) {
		vector = 8;
		has_code = true;
		code = 0;
		payload = 0;
	}
	ev->exception = vector | HVX_EVENT_EXC | HVX_EVENT_VALID |
			(has_code ? HVX_EVENT_HAS_CODE : 0);
	ev->exception_code = code;
	ev->exception_payload = payload;
	return HVX_REENTER;
}

static bool extint_wanted(struct hvx_vcpu *vcpu)
{
	return READ_ONCE(vcpu->extint_level) && hvx_lapic_accepts_extint(vcpu);
}

/* Put the event that is on its way in into the entry. */
static void inject(struct hvx_vcpu *vcpu)
{
	struct hvx_events *ev = &vcpu->ev;

	if (unlikely((ev->injected & ~HVX_EVENT_VALID) == (HVX_EVENT_EXC | 1))) {
		/* As the exception's own microcode would do. */
		vcpu->dr7 &= ~(u64)HVX_DR_GD;
		hvx_backend->update(vcpu);
	}
	hvx_backend->inject(vcpu, ev->injected, ev->injected_code);
}

static void deliver_exception(struct hvx_vcpu *vcpu)
{
	struct hvx_events *ev = &vcpu->ev;
	u8 vector = ev->exception & HVX_EVENT_VECTOR;

	ev->injected = ev->exception;
	ev->injected_code = ev->exception_code;
	ev->exception = 0;
	if (vector == 14)
		vcpu->cr2 = ev->exception_payload;
	else if (vector == 1)
		vcpu->dr6 |= ev->exception_payload;
	vcpu->stats.inj_exception++;
	trace_hvx_inject(vcpu, 2, vector, ev->injected_code);
	inject(vcpu);
}

/* The NMIs that wait, if any can go in; true: one does. */
static bool deliver_nmi(struct hvx_vcpu *vcpu, bool busy)
{
	struct hvx_events *ev = &vcpu->ev;
	/* One in progress and one latched is all there can be. */
	int n = ev->nmi_pending + atomic_xchg(&vcpu->nmi_queued, 0);

	ev->nmi_pending = min(n, ev->nmi_masked ? 1 : 2);
	if (!busy && !ev->nmi_masked && !ev->interrupt_shadow) {
		busy = true;
		ev->nmi_pending--;
		ev->nmi_masked = true;
		ev->injected = HVX_EVENT_NMI | HVX_EVENT_VALID;
		vcpu->stats.inj_nmi++;
		trace_hvx_inject(vcpu, 1, 2, 0);
		inject(vcpu);
	}
	if (ev->nmi_pending)
		hvx_backend->request_window(vcpu, true);
	return busy;
}

/*
 * Which event was delivered, and which must go in again. Software interrupts, INT3 and INTO among
 * them, do not: RIP still points at the instruction, which runs again.
 */
void hvx_event_cut_short(struct hvx_vcpu *vcpu, u32 event, u32 code)
{
	struct hvx_events *ev = &vcpu->ev;
	u32 vector = event & HVX_EVENT_VECTOR;

	ev->injected = 0;
	if (likely(!(event & HVX_EVENT_VALID)))
		return;
	if (hvx_event_is(event, HVX_EVENT_NMI)) {
		ev->nmi_masked = true;
		ev->injected = HVX_EVENT_NMI | HVX_EVENT_VALID;
	} else if (hvx_event_is(event, HVX_EVENT_IRQ) ||
		   (hvx_event_is(event, HVX_EVENT_EXC) && vector != 3 && vector != 4)) {
		ev->injected = event & HVX_EVENT_BITS;
		ev->injected_code = event & HVX_EVENT_HAS_CODE ? code : 0;
	}
}

static int vector_to_inject(struct hvx_lapic *l)
{
	return l->delivers ? -1 : hvx_lapic_pending(l);
}

/*
 * Put at most one event into the entry, the one of the highest priority, and ask for a window for
 * the next. Interrupts off. Returns false when userspace must acknowledge the 8259 first.
 */
static bool inject_events(struct hvx_vcpu *vcpu)
{
	struct hvx_events *ev = &vcpu->ev;
	bool busy = true, allowed;
	int vector;

	/* Userspace may have cleared IF meanwhile: then it waits, as one that the 8259 has let go of. */
	if (unlikely(ev->injected && hvx_event_is(ev->injected, HVX_EVENT_IRQ) &&
		     !(vcpu->rflags & X86_EFLAGS_IF) && !ev->extint)) {
		ev->extint = ev->injected;
		ev->injected = 0;
	}
	if (unlikely(ev->injected))
		inject(vcpu);
	else if (unlikely(ev->exception))
		deliver_exception(vcpu);
	else
		busy = false;
	if (unlikely(ev->nmi_pending || atomic_read(&vcpu->nmi_queued)))
		busy = deliver_nmi(vcpu, busy);

	vector = vector_to_inject(vcpu->lapic);
	if (likely(vector < 0 && !vcpu->extint_level && !ev->extint))
		goto tpr;
	allowed = !busy && vcpu->rflags & X86_EFLAGS_IF && !ev->interrupt_shadow;
	if (!ev->extint && vector < 0) {
		if (!extint_wanted(vcpu))
			goto tpr;
		if (allowed)
			return false;
	}
	if (!allowed)
		goto window;
	if (ev->extint) {
		ev->injected = ev->extint;
		ev->extint = 0;
	} else {
		hvx_lapic_ack(vcpu->lapic, vector);
		ev->injected = vector | HVX_EVENT_IRQ | HVX_EVENT_VALID;
	}
	vcpu->stats.inj_irq++;
	trace_hvx_inject(vcpu, 0, ev->injected & HVX_EVENT_VECTOR, 0);
	inject(vcpu);
	if (vcpu->pv.eoi_msr)
		hvx_pv_eoi_set(vcpu);
	if (vector_to_inject(vcpu->lapic) < 0 && !vcpu->extint_level)
		goto tpr;
window:
	hvx_backend->request_window(vcpu, false);
tpr:
	/* Taken back when another interrupt has come to wait for the EOI. */
	if (unlikely(vcpu->pv.eoi_set))
		hvx_pv_eoi_set(vcpu);
	if (!vcpu->lapic->delivers)
		hvx_backend->set_tpr_threshold(vcpu, hvx_lapic_highest_irr(vcpu->lapic));
	return true;
}

/* Is there anything for a halted vCPU to wake up for? */
static bool has_work(struct hvx_vcpu *vcpu)
{
	const struct hvx_events *ev = &vcpu->ev;

	if (READ_ONCE(vcpu->init_sipi) ||
	    READ_ONCE(vcpu->requests) & ~(BIT(HVX_REQ_EVENT) | BIT(HVX_REQ_TLB_FLUSH) |
					  BIT(HVX_REQ_CLOCK) | BIT(HVX_REQ_STEAL)))
		return true;
	if (ev->mp_state != HVX_MP_HALTED)
		return ev->mp_state == HVX_MP_RUNNABLE;
	if (((atomic_read(&vcpu->nmi_queued) || ev->nmi_pending) && !ev->nmi_masked) ||
	    ev->exception || ev->injected || READ_ONCE(vcpu->pv.unhalted))
		return true;
	return vcpu->rflags & X86_EFLAGS_IF &&
	       (hvx_lapic_pending(vcpu->lapic) >= 0 || ev->extint || extint_wanted(vcpu));
}

/* --------------------------------------------------------------- the loop */

/* Requests that the inner loop can serve; false: there are others. Interrupts on. */
static bool serve_fast(struct hvx_vcpu *vcpu)
{
	if (hvx_take_request(vcpu, HVX_REQ_TLB_FLUSH)) {
		vcpu->stats.tlb_flush++;
		vcpu->flush_tlb = true;
	}
	if (hvx_take_request(vcpu, HVX_REQ_TIMER))
		hvx_lapic_timer(vcpu->lapic);
	/* INIT and SIPI are for serve_slow(), which has to be reached. */
	if (hvx_take_request(vcpu, HVX_REQ_EVENT) && unlikely(READ_ONCE(vcpu->init_sipi)))
		hvx_request(vcpu, HVX_REQ_EVENT);
	return !READ_ONCE(vcpu->requests);
}

/* A reason to give the CPU back to the host: scheduling, signals, task work, softirqs held off by the FPU. */
static bool host_wants(void)
{
	return hvx_work_pending() || local_softirq_pending();
}

/* For ->enter(), interrupts off: an exit has been answered, and the next entry needs nothing of the run loop. */
bool hvx_goes_on(struct hvx_vcpu *vcpu)
{
	const struct hvx_events *ev = &vcpu->ev;
	struct hvx_lapic *l = vcpu->lapic;

	return !(READ_ONCE(vcpu->requests) | ev->injected | ev->exception | ev->extint |
		 READ_ONCE(vcpu->extint_level) | ev->nmi_pending |
		 atomic_read(&vcpu->nmi_queued)) && !host_wants() &&
	       (l->delivers || hvx_lapic_highest_irr(l) < 0);
}

/* The host's values of what load_cpu() gave to the guest, and the vCPU that ran last. */
static DEFINE_PER_CPU(struct {
	u64 serial;
	u64 turn;		/* its thread, and which of its turns on a CPU */
	u64 tsc_aux;
	unsigned long dr[4];
	bool dr_loaded;
}, host);

/* Whose TSC_AUX is in the CPU: the guest's from before an entry until others may look at it. */
void hvx_tsc_aux(struct hvx_vcpu *vcpu, bool guest)
{
	u64 tsc_aux = this_cpu_read(host.tsc_aux);

	vcpu->msrs_loaded = guest;
	if (boot_cpu_has(X86_FEATURE_RDTSCP) && tsc_aux != vcpu->tsc_aux)
		wrmsrq(MSR_TSC_AUX, guest ? vcpu->tsc_aux : tsc_aux);
}

/* What neither vendor's CPU switches. Preemption off. */
static void load_cpu(struct hvx_vcpu *vcpu)
{
	const u64 *db = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_db : vcpu->db;
	u64 dr7 = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7;
	u64 turn = (u64)current->pid << 32 ^ (current->nvcsw + current->nivcsw);
	int i;

	/* One vCPU must not steer another's branches, nor KVM's, which may have had this CPU's last turn. */
	if (this_cpu_read(host.serial) != vcpu->serial ||
	    (READ_ONCE(hvx_beside) && this_cpu_read(host.turn) != turn))
		hvx_branch_barrier();
	this_cpu_write(host.serial, vcpu->serial);
	this_cpu_write(host.turn, turn);
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		rdmsrq(MSR_TSC_AUX, *this_cpu_ptr(&host.tsc_aux));
	this_cpu_write(host.dr_loaded, dr7 & 0xff);
	/* The host's own breakpoints must not be in force at addresses of the guest's. */
	if (unlikely(dr7 & 0xff))
		set_debugreg(0, 7);
	for (i = 0; unlikely(dr7 & 0xff) && i < 4; i++) {
		get_debugreg(*this_cpu_ptr(&host.dr[i]), i);
		set_debugreg(db[i], i);
	}
}

static void put_cpu_back(struct hvx_vcpu *vcpu)
{
	int i;

	hvx_guest_ran();
	for (i = 0; unlikely(this_cpu_read(host.dr_loaded)) && i < 4; i++)
		set_debugreg(this_cpu_read(host.dr[i]), i);
	/* Exits leave DR7 with everything off (APM vol. 2 15.6, SDM vol. 3 "Loading Host State"). */
	if (unlikely(hw_breakpoint_active()))
		set_debugreg(__this_cpu_read(cpu_dr7), 7);
	/*
	 * Exits bring back no LDT, or the one of ->load(): another thread may have
	 * replaced the process's since, so that it is freed memory. The GDT has the
	 * new one. Before ->put(): segments that it loads may lie there.
	 */
	if (unlikely(hvx_has_ldt()))
		asm volatile("lldt %w0" : : "r" (GDT_ENTRY_LDT * 8));
}

/* The inner loop. enum hvx_next (never HVX_REENTER), or -errno. */
static int run_guest(struct hvx_vcpu *vcpu)
{
	const struct hvx_backend *be = hvx_backend;
	int next;

	preempt_disable();
	next = this_cpu_read(hvx_cpu_on) ? HVX_LEAVE : -EIO;
	if (unlikely(next < 0 || hvx_kvm_msrs_left())) {
		preempt_enable();
		return next;
	}
	hvx_fpu_load(vcpu);
	vcpu->cpu = smp_processor_id();
	load_cpu(vcpu);
	be->load(vcpu);
	do {
		local_irq_disable();
		WRITE_ONCE(vcpu->in_guest, true);
		/* Pairs with hvx_request() before hvx_kick(): we see the request, or they see us. */
		smp_mb();
		if (unlikely(READ_ONCE(vcpu->requests) || host_wants())) {
			WRITE_ONCE(vcpu->in_guest, false);
			local_irq_enable();
			next = host_wants() || !serve_fast(vcpu) ? HVX_LEAVE : HVX_REENTER;
			continue;
		}
		if (unlikely(!inject_events(vcpu))) {
			WRITE_ONCE(vcpu->in_guest, false);
			local_irq_enable();
			next = hvx_exit_to_user(vcpu, HVX_EXIT_INTR_WINDOW);
			break;
		}
		trace_hvx_entry(vcpu, vcpu->rflags, vcpu->cr2, vcpu->cpu);
		be->enter(vcpu);
		WRITE_ONCE(vcpu->in_guest, false);
		vcpu->stats.exits++;
		local_irq_enable();

		if (unlikely(vcpu->pv.eoi_set))
			hvx_pv_eoi_check(vcpu);
		next = be->handle_exit(vcpu);
	} while (next == HVX_REENTER);
	put_cpu_back(vcpu);
	if (be->put)
		be->put(vcpu);
	hvx_fpu_save(vcpu);
	preempt_enable();
	if (unlikely(vcpu->lapic->near))
		hvx_lapic_timer(vcpu->lapic);
	return next;
}

/* Everything that may sleep before an entry. HVX_REENTER or HVX_TO_USER. */
static int serve_slow(struct hvx_vcpu *vcpu)
{
	int vector;

	/* Before an INIT, which would forget it. */
	if (hvx_take_request(vcpu, HVX_REQ_EOI)) {
		vector = vcpu->lapic->eoi_exit;
		vcpu->lapic->eoi_exit = -1;
		if (vector >= 0) {
			vcpu->run->eoi = (struct hvx_exit_eoi) { .vector = vector };
			return hvx_exit_to_user(vcpu, HVX_EXIT_EOI);
		}
	}
	if (READ_ONCE(vcpu->init_sipi))
		hvx_serve_init_sipi(vcpu);
	if (serve_fast(vcpu))
		return HVX_REENTER;
	if (hvx_take_request(vcpu, HVX_REQ_CLOCK))
		hvx_pv_update_clock(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_STEAL))
		hvx_pv_update_steal(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_PV_EOI))
		hvx_pv_eoi_settle(vcpu, 0);
	if (hvx_take_request(vcpu, HVX_REQ_TRIPLE))
		return hvx_exit_to_user(vcpu, HVX_EXIT_SHUTDOWN);
	/* A debugger's step over an instruction that the CPU did not do itself. */
	if (hvx_take_request(vcpu, HVX_REQ_STEP) && vcpu->debug_flags & HVX_DEBUG_STEP)
		return hvx_exit_debug(vcpu, 1, vcpu->dr6 | DR_STEP);
	if (hvx_take_request(vcpu, HVX_REQ_KICK))
		return hvx_exit_to_user(vcpu, HVX_EXIT_KICKED);
	return HVX_REENTER;
}

static unsigned int halt_poll_ns = 50000;
module_param(halt_poll_ns, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns, "A vCPU in HLT polls this long before it sleeps, if its last wait was shorter, in ns; 0 = never (default 50000)");

static bool wait_is_over(struct hvx_vcpu *vcpu)
{
	return has_work(vcpu) || signal_pending(current) || hvx_work_pending();
}

/* Wait in HLT or for SIPI until there is something to look at. */
static void wait_for_work(struct hvx_vcpu *vcpu)
{
	u64 start = ktime_get_ns(), now = start, poll = READ_ONCE(halt_poll_ns);

	/* A short wait follows a short one; to sleep and be woken costs more than it, and idle CPUs wake up slowly. */
	if (vcpu->halt_last_ns < poll && vcpu->ev.mp_state == HVX_MP_HALTED) {
		while (!wait_is_over(vcpu) && single_task_running() && now - start < poll) {
			cpu_relax();
			now = ktime_get_ns();
		}
	}
	prepare_to_rcuwait(&vcpu->wait);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (wait_is_over(vcpu))
			break;
		schedule();
	}
	finish_rcuwait(&vcpu->wait);
	vcpu->halt_last_ns = ktime_get_ns() - start;
	vcpu->stats.halt_ns += vcpu->halt_last_ns;
	if (vcpu->pv.steal_msr)
		hvx_request(vcpu, HVX_REQ_STEAL);
}

/* The exit again, now with preemption on. */
static int handle_slow(struct hvx_vcpu *vcpu)
{
	enum hvx_next next = hvx_backend->handle_exit(vcpu);
	u8 insn[HVX_INSN_MAX];

	if (next != HVX_SLOW)
		return next;
	/* The instruction could not be read. If that cannot be mended the guest's own fetch decides what happens. */
	hvx_fetch_insn(vcpu, insn, sizeof(insn), true);
	return HVX_REENTER;
}

/* The outer loop: until userspace is wanted. 0 or -errno. */
static int run_loop(struct hvx_vcpu *vcpu)
{
	int r;

	for (;;) {
		r = serve_slow(vcpu);
		if (r)
			break;
		/* Task work, rseq and KVM's MSRs are done on the way to userspace, and only there. */
		if (signal_pending(current) || test_thread_flag(TIF_NOTIFY_RESUME) || hvx_kvm_msrs_left()) {
			hvx_exit_to_user(vcpu, HVX_EXIT_INTERRUPTED);
			return -EINTR;
		}
		if (hvx_work_pending()) {
			if (vcpu->pv.steal_msr)
				hvx_request(vcpu, HVX_REQ_STEAL);
			schedule();
			continue;
		}
		if (vcpu->ev.mp_state != HVX_MP_RUNNABLE) {
			if (!has_work(vcpu)) {
				wait_for_work(vcpu);
			} else if (!READ_ONCE(vcpu->requests) && vcpu->ev.mp_state == HVX_MP_HALTED) {
				WRITE_ONCE(vcpu->pv.unhalted, false);
				vcpu->ev.mp_state = HVX_MP_RUNNABLE;
			}
			continue;
		}
		r = run_guest(vcpu);
		if (r == HVX_SLOW)
			r = handle_slow(vcpu);
		if (r && r != HVX_LEAVE)
			break;
	}
	return r < 0 ? r : 0;
}

/* The run page is shared: each field that userspace left in it is read once. */
int hvx_vcpu_run(struct hvx_vcpu *vcpu)
{
	struct hvx_run *run = vcpu->run;
	u32 groups = READ_ONCE(run->dirty);
	int r;

	vcpu->launched = true;
	if (unlikely(groups)) {
		r = hvx_state_from_run(vcpu, groups);
		if (r)
			return r;
		WRITE_ONCE(run->dirty, 0);
	}
	if (vcpu->complete != HVX_EXIT_NONE)
		hvx_exit_complete(vcpu);
	if (READ_ONCE(run->extint_valid)) {
		vcpu->ev.extint = READ_ONCE(run->extint_vector) | HVX_EVENT_IRQ | HVX_EVENT_VALID;
		WRITE_ONCE(run->extint_valid, 0);
	}
	r = 0;
	if (READ_ONCE(run->immediate_exit))
		hvx_exit_to_user(vcpu, HVX_EXIT_KICKED);
	else
		r = run_loop(vcpu);
	trace_hvx_user_exit(vcpu, run->exit_reason, r, vcpu->ev.mp_state);

	groups = READ_ONCE(run->want) & HVX_RUN_GROUPS;
	if (run->exit_reason == HVX_EXIT_EMULATE || run->exit_reason == HVX_EXIT_TASK_SWITCH)
		groups = HVX_RUN_GROUPS;
	if (groups)
		hvx_state_to_run(vcpu, groups);
	WRITE_ONCE(run->valid, groups);
	run->if_flag = !!(vcpu->rflags & X86_EFLAGS_IF);
	vcpu->stats.exits_user++;
	return r;
}

/* ------------------------------------------------------------------- life */

void hvx_vcpu_destroy(struct hvx_vcpu *vcpu)
{
	if (vcpu->backend)
		hvx_backend->vcpu_destroy(vcpu);
	hvx_lapic_destroy(vcpu);
	kfree(vcpu->xsave);
	kvfree(vcpu->cpuid);
	free_page((unsigned long)vcpu->run);
	kmem_cache_free(hvx_vcpu_cache, vcpu);
}

struct hvx_vcpu *hvx_vcpu_create(struct hvx_vm *vm, u32 id)
{
	struct hvx_vcpu *vcpu;
	int r = -ENOMEM;

	BUILD_BUG_ON(sizeof(struct hvx_run) > PAGE_SIZE);
	vcpu = kmem_cache_zalloc(hvx_vcpu_cache, GFP_KERNEL_ACCOUNT);
	if (!vcpu)
		return ERR_PTR(r);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->serial = atomic64_inc_return(&serials);
	vcpu->cpu = -1;
	mutex_init(&vcpu->lock);
	rcuwait_init(&vcpu->wait);
	vcpu->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (vcpu->run)
		r = hvx_fpu_create(vcpu);
	if (!r)
		r = hvx_lapic_create(vcpu);
	if (!r)
		r = hvx_backend->vcpu_create(vcpu);
	if (r) {
		hvx_vcpu_destroy(vcpu);
		return ERR_PTR(r);
	}
	hvx_cpuid_init(vcpu);
	hvx_vcpu_reset(vcpu, false);
	return vcpu;
}
