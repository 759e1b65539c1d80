// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's life and its run loop.
 *
 * hvx_vcpu_run() is the outer loop: everything that may sleep. run_guest() is
 * the inner one: preemption is off, the guest's FPU and MSRs are loaded, and
 * the guest is entered again and again until an exit needs the outer loop.
 * Nothing of the guest's is live in the CPU while preemption is on, so there
 * is nothing to do when the thread is scheduled.
 */
#include <linux/anon_inodes.h>
#include <linux/cpumask.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>

#include "core.h"
#include "irq/lapic.h"
#include "trace.h"

static struct kmem_cache *vcpu_cache;

/* --------------------------------------------------------------- kicking */

/* Wake the runner from HLT, or make it leave the guest so that it sees its requests. */
void hvx_kick(struct hvx_vcpu *vcpu)
{
	int cpu, me;

	if (rcuwait_wake_up(&vcpu->wait))
		return;
	me = get_cpu();
	cpu = READ_ONCE(vcpu->cpu);
	if (cpu != me && cpu >= 0 && READ_ONCE(vcpu->mode) == HVX_IN_GUEST && cpu_online(cpu))
		smp_send_reschedule(cpu);
	put_cpu();
}

static void ack_ipi(void *unused)
{
}

static DEFINE_PER_CPU(cpumask_var_t, kick_mask);

/*
 * The interrupt is taken only after the vCPU has left the guest, and a vCPU
 * that is outside looks at its requests before it goes in: so when the wait is
 * over no vCPU runs on what the request wants to see gone.
 */
void hvx_kick_all_wait(struct hvx_vm *vm, enum hvx_req req)
{
	struct hvx_vcpu *vcpu;
	struct cpumask *mask;
	int i, cpu, me;

	me = get_cpu();
	mask = *this_cpu_ptr(&kick_mask);
	cpumask_clear(mask);
	hvx_for_each_vcpu(i, vcpu, vm) {
		hvx_request(vcpu, req);
		if (READ_ONCE(vcpu->mode) != HVX_IN_GUEST)
			continue;
		cpu = READ_ONCE(vcpu->cpu);
		if (cpu >= 0 && cpu != me)
			__cpumask_set_cpu(cpu, mask);
	}
	if (!cpumask_empty(mask))
		smp_call_function_many(mask, ack_ipi, NULL, true);
	put_cpu();
}

struct hvx_vcpu *hvx_get_vcpu(struct hvx_vm *vm, unsigned int id)
{
	if (id >= HVX_MAX_VCPUS)
		return NULL;
	return smp_load_acquire(&vm->vcpus[id]);
}

/* ---------------------------------------------------------------- events */

/* SDM vol. 3 table "Interrupt and Exception Classes": do two of these make #DF? */
static bool contributory(u8 vector)
{
	return vector == 0 || (vector >= 10 && vector <= 13);
}

/*
 * Queue an exception for the next entry, with the rules of SDM vol. 3 table
 * "Conditions for Generating a Double Fault" when one is on its way already.
 */
void hvx_queue_exception(struct hvx_vcpu *vcpu, u8 vector, bool has_code, u32 code, u64 payload)
{
	struct hvx_pending *ev = &vcpu->ev;
	u8 first = ev->exc_vector;

	if (ev->exc_pending || ev->exc_injected) {
		if (first == 8) {
			ev->exc_pending = ev->exc_injected = false;
			hvx_request(vcpu, HVX_REQ_TRIPLE);
			return;
		}
		if ((contributory(first) && contributory(vector)) ||
		    (first == 14 && (contributory(vector) || vector == 14))) {
			vector = 8;
			has_code = true;
			code = 0;
			payload = 0;
		}
		ev->exc_injected = false;
	}
	ev->exc_pending = true;
	ev->exc_vector = vector;
	ev->exc_has_code = has_code;
	ev->exc_code = code;
	ev->exc_payload = payload;
}

/* An event's delivery was begun or is to be repeated: nothing else may go in. */
static bool event_in_flight(struct hvx_vcpu *vcpu)
{
	return vcpu->ev.exc_injected || vcpu->ev.irq_injected || vcpu->ev.nmi_injected;
}

static void deliver_exception(struct hvx_vcpu *vcpu)
{
	struct hvx_pending *ev = &vcpu->ev;

	ev->exc_pending = false;
	ev->exc_injected = true;
	if (ev->exc_vector == 14)
		vcpu->cr2 = ev->exc_payload;
	else if (ev->exc_vector == 1)
		vcpu->dr6 |= ev->exc_payload;
	vcpu->stats.inj_exception++;
	hvx_backend->inject_exception(vcpu);
}

/* Take over the NMIs that others have queued: one in progress and one latched is all there can be. */
static void collect_nmis(struct hvx_vcpu *vcpu)
{
	int n = atomic_xchg(&vcpu->nmi_queued, 0);

	vcpu->ev.nmi_pending_taken = min(vcpu->ev.nmi_pending_taken + n,
					 vcpu->ev.nmi_masked ? 1 : 2);
}

static bool inject_nmi(struct hvx_vcpu *vcpu)
{
	struct hvx_pending *ev = &vcpu->ev;

	if (!hvx_backend->nmi_allowed(vcpu))
		return false;
	ev->nmi_pending_taken--;
	ev->nmi_injected = true;
	ev->nmi_masked = true;
	vcpu->stats.inj_nmi++;
	hvx_backend->inject_nmi(vcpu);
	return true;
}

static bool extint_wanted(struct hvx_vcpu *vcpu)
{
	return READ_ONCE(vcpu->extint_level) && hvx_lapic_accepts_extint(vcpu);
}

/*
 * Put at most one event into the entry, the one of the highest priority, and
 * ask for a window for the next. Interrupts off. Returns false when userspace
 * must acknowledge the 8259 first.
 */
static bool inject_events(struct hvx_vcpu *vcpu)
{
	struct hvx_pending *ev = &vcpu->ev;
	bool busy = false, allowed;
	int vector;

	if (unlikely(event_in_flight(vcpu))) {
		if (ev->exc_injected)
			hvx_backend->inject_exception(vcpu);
		else if (ev->nmi_injected)
			hvx_backend->inject_nmi(vcpu);
		else
			hvx_backend->inject_irq(vcpu, ev->irq_vector);
		busy = true;
	} else if (unlikely(ev->exc_pending)) {
		deliver_exception(vcpu);
		busy = true;
	}

	if (unlikely(atomic_read(&vcpu->nmi_queued)))
		collect_nmis(vcpu);
	if (unlikely(ev->nmi_pending_taken)) {
		if (!busy)
			busy = inject_nmi(vcpu);
		if (ev->nmi_pending_taken)
			hvx_backend->request_nmi_window(vcpu);
	}

	vector = hvx_apic_pending(&vcpu->lapic->apic);
	if (likely(vector < 0 && !vcpu->extint_level && vcpu->extint_vector < 0))
		goto tpr;
	allowed = !busy && hvx_backend->irq_allowed(vcpu);
	if (vcpu->extint_vector >= 0) {
		if (!allowed)
			goto window;
		ev->irq_vector = vcpu->extint_vector;
		vcpu->extint_vector = -1;
	} else if (vector >= 0) {
		if (!allowed)
			goto window;
		hvx_apic_ack(&vcpu->lapic->apic, vector);
		ev->irq_vector = vector;
	} else if (extint_wanted(vcpu)) {
		if (allowed)
			return false;
		goto window;
	} else {
		goto tpr;
	}
	ev->irq_injected = true;
	vcpu->stats.inj_irq++;
	trace_hvx_inject(vcpu, 0, ev->irq_vector, 0);
	hvx_backend->inject_irq(vcpu, ev->irq_vector);
	if (vcpu->pv.eoi_msr)
		hvx_pv_eoi_set(vcpu);
	if (hvx_apic_pending(&vcpu->lapic->apic) < 0 && !vcpu->extint_level)
		goto tpr;
window:
	hvx_backend->request_irq_window(vcpu);
tpr:
	/* Taken back when another interrupt has come to wait for the EOI. */
	if (unlikely(vcpu->pv.eoi_set))
		hvx_pv_eoi_set(vcpu);
	hvx_backend->set_tpr_threshold(vcpu, hvx_apic_highest_irr(&vcpu->lapic->apic));
	return true;
}

/* Is there anything for a halted vCPU to wake up for? */
bool hvx_vcpu_has_work(struct hvx_vcpu *vcpu)
{
	if (READ_ONCE(vcpu->requests) & ~(1UL << HVX_REQ_EVENT | 1UL << HVX_REQ_TLB_FLUSH |
					  1UL << HVX_REQ_CLOCK | 1UL << HVX_REQ_STEAL))
		return true;
	if (READ_ONCE(vcpu->init_sipi))
		return true;
	if (vcpu->mp_state != HVX_MP_HALTED)
		return vcpu->mp_state == HVX_MP_RUNNABLE;
	if (atomic_read(&vcpu->nmi_queued) || vcpu->ev.nmi_pending_taken)
		return !vcpu->ev.nmi_masked;
	if (vcpu->ev.exc_pending || event_in_flight(vcpu))
		return true;
	if (READ_ONCE(vcpu->pv.unhalted))
		return true;
	if (!(vcpu->rflags & X86_EFLAGS_IF))
		return false;
	return hvx_apic_pending(&vcpu->lapic->apic) >= 0 || vcpu->extint_vector >= 0 || extint_wanted(vcpu);
}

/* --------------------------------------------------------------- the loop */

/* Requests that the inner loop can serve; false: there are others. Interrupts on. */
static bool serve_fast(struct hvx_vcpu *vcpu)
{
	if (hvx_take_request(vcpu, HVX_REQ_TLB_FLUSH)) {
		vcpu->stats.tlb_flush++;
		hvx_backend->flush_tlb(vcpu);
	}
	if (hvx_take_request(vcpu, HVX_REQ_TIMER))
		hvx_lapic_timer_expired(vcpu);
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

/* The inner loop. enum hvx_next (never HVX_REENTER), or -errno. */
static int run_guest(struct hvx_vcpu *vcpu)
{
	const struct hvx_backend *be = hvx_backend;
	int next;

	preempt_disable();
	if (unlikely(!hvx_cpu_ready())) {
		preempt_enable();
		return -EIO;
	}
	hvx_fpu_load(vcpu);
	vcpu->cpu = smp_processor_id();
	be->load(vcpu);

	for (;;) {
		if (vcpu->requests && !serve_fast(vcpu)) {
			next = HVX_LEAVE;
			break;
		}
		local_irq_disable();
		WRITE_ONCE(vcpu->mode, HVX_IN_GUEST);
		/* Pairs with hvx_request() before hvx_kick(): either we see the request or they see the mode. */
		smp_mb();
		if (unlikely(READ_ONCE(vcpu->requests) || host_wants())) {
			WRITE_ONCE(vcpu->mode, HVX_OUTSIDE);
			local_irq_enable();
			if (host_wants()) {
				next = HVX_LEAVE;
				break;
			}
			continue;
		}
		if (unlikely(!inject_events(vcpu))) {
			WRITE_ONCE(vcpu->mode, HVX_OUTSIDE);
			local_irq_enable();
			vcpu->run->exit_reason = HVX_EXIT_INTR_WINDOW;
			next = HVX_TO_USER;
			break;
		}
		trace_hvx_entry(vcpu);
		be->enter(vcpu);
		WRITE_ONCE(vcpu->mode, HVX_OUTSIDE);
		vcpu->stats.exits++;
		local_irq_enable();

		if (unlikely(vcpu->pv.eoi_set))
			hvx_pv_eoi_check(vcpu);
		next = be->handle_exit(vcpu);
		if (next != HVX_REENTER)
			break;
	}
	be->put(vcpu);
	hvx_fpu_save(vcpu);
	preempt_enable();
	return next;
}

static int exit_to_user(struct hvx_vcpu *vcpu, u32 reason)
{
	vcpu->run->exit_reason = reason;
	return HVX_TO_USER;
}

/* A debugger's step over an instruction that the CPU did not do itself. */
static int step_exit(struct hvx_vcpu *vcpu)
{
	struct hvx_exit_debug *d = &vcpu->run->debug;
	struct hvx_segment cs;

	hvx_backend->get_segment(vcpu, 1, &cs);
	memset(d, 0, sizeof(*d));
	d->rip = vcpu->rip + cs.base;
	d->dr6 = vcpu->dr6 | DR_STEP;
	d->dr7 = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7;
	d->vector = 1;
	return exit_to_user(vcpu, HVX_EXIT_DEBUG);
}

/* INIT and SIPI, SDM vol. 3 "MP Initialization". */
static void serve_init_sipi(struct hvx_vcpu *vcpu)
{
	if (test_and_clear_bit(0, &vcpu->init_sipi)) {
		hvx_vcpu_reset(vcpu, true);
		vcpu->mp_state = vcpu->id ? HVX_MP_WAIT_SIPI : HVX_MP_RUNNABLE;
	}
	if (test_and_clear_bit(1, &vcpu->init_sipi) && vcpu->mp_state == HVX_MP_WAIT_SIPI) {
		hvx_vcpu_sipi(vcpu, READ_ONCE(vcpu->sipi_queued));
		vcpu->mp_state = HVX_MP_RUNNABLE;
	}
}

/* Everything that may sleep before an entry. HVX_REENTER, HVX_TO_USER or -errno. */
static int serve_slow(struct hvx_vcpu *vcpu)
{
	int vector;

	if (READ_ONCE(vcpu->vm->dead))
		return -EIO;
	if (READ_ONCE(vcpu->init_sipi))
		serve_init_sipi(vcpu);
	if (serve_fast(vcpu))
		return HVX_REENTER;
	if (hvx_take_request(vcpu, HVX_REQ_MSR_FILTER))
		hvx_backend->update_msr_filter(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_CLOCK))
		hvx_pv_update_clock(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_STEAL))
		hvx_pv_update_steal(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_PV_EOI))
		hvx_pv_eoi_slow(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_EOI)) {
		vector = hvx_lapic_take_eoi_exit(vcpu);
		if (vector >= 0) {
			vcpu->run->eoi.vector = vector;
			vcpu->run->eoi.pad = 0;
			return exit_to_user(vcpu, HVX_EXIT_EOI);
		}
	}
	if (hvx_take_request(vcpu, HVX_REQ_TRIPLE))
		return exit_to_user(vcpu, HVX_EXIT_SHUTDOWN);
	if (hvx_take_request(vcpu, HVX_REQ_STEP) && vcpu->debug_flags & HVX_DEBUG_STEP)
		return step_exit(vcpu);
	if (hvx_take_request(vcpu, HVX_REQ_KICK))
		return exit_to_user(vcpu, HVX_EXIT_KICKED);
	return HVX_REENTER;
}

/* Wait in HLT or for SIPI. HVX_REENTER when there is something to look at. */
static void wait_for_work(struct hvx_vcpu *vcpu)
{
	u64 start = ktime_get_ns();

	prepare_to_rcuwait(&vcpu->wait);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (hvx_vcpu_has_work(vcpu) || signal_pending(current) || hvx_work_pending())
			break;
		schedule();
	}
	finish_rcuwait(&vcpu->wait);
	vcpu->stats.halt_ns += ktime_get_ns() - start;
	if (vcpu->pv.steal_msr)
		hvx_request(vcpu, HVX_REQ_STEAL);
}

/* An event that ends HLT is there. */
static void wake_up_guest(struct hvx_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->pv.unhalted, false);
	vcpu->mp_state = HVX_MP_RUNNABLE;
}

/* The outer loop: until userspace is wanted. 0 or -errno. */
static int run_loop(struct hvx_vcpu *vcpu)
{
	int r;

	for (;;) {
		r = serve_slow(vcpu);
		if (r)
			break;
		if (signal_pending(current)) {
			vcpu->run->exit_reason = HVX_EXIT_INTERRUPTED;
			return -EINTR;
		}
		if (hvx_work_pending()) {
			if (vcpu->pv.steal_msr)
				hvx_request(vcpu, HVX_REQ_STEAL);
			/* Task work and rseq are done on the way to userspace, and only there. */
			if (test_thread_flag(TIF_NOTIFY_RESUME)) {
				vcpu->run->exit_reason = HVX_EXIT_INTERRUPTED;
				return -EINTR;
			}
			schedule();
			continue;
		}
		if (vcpu->mp_state != HVX_MP_RUNNABLE) {
			if (!hvx_vcpu_has_work(vcpu))
				wait_for_work(vcpu);
			else if (!READ_ONCE(vcpu->requests) && vcpu->mp_state == HVX_MP_HALTED)
				wake_up_guest(vcpu);
			continue;
		}
		r = run_guest(vcpu);
		if (r == HVX_SLOW)
			r = hvx_backend->handle_slow(vcpu);
		if (r == HVX_LEAVE)
			r = HVX_REENTER;
		if (r)
			break;
	}
	return r < 0 ? r : 0;
}

/* What userspace left in the run page. Each field is read once. */
static int take_input(struct hvx_vcpu *vcpu)
{
	struct hvx_run *run = vcpu->run;
	u32 dirty = READ_ONCE(run->dirty);
	u8 vector;
	int r;

	if (unlikely(dirty)) {
		r = hvx_state_apply_run(vcpu, dirty);
		if (r)
			return r;
		WRITE_ONCE(run->dirty, 0);
	}
	if (vcpu->complete != HVX_COMPLETE_NONE) {
		r = hvx_exit_complete(vcpu);
		if (r)
			return r;
	}
	if (READ_ONCE(run->extint_valid)) {
		vector = READ_ONCE(run->extint_vector);
		WRITE_ONCE(run->extint_valid, 0);
		vcpu->extint_vector = vector;
	}
	return 0;
}

static void give_output(struct hvx_vcpu *vcpu)
{
	struct hvx_run *run = vcpu->run;
	u32 want = READ_ONCE(run->want);
	u32 valid = want;

	if (run->exit_reason == HVX_EXIT_EMULATE)
		valid |= 1U << HVX_STATE_REGS | 1U << HVX_STATE_SREGS;
	valid &= 1U << HVX_STATE_REGS | 1U << HVX_STATE_SREGS | 1U << HVX_STATE_EVENTS;
	if (valid)
		hvx_state_fill_run(vcpu, valid);
	WRITE_ONCE(run->valid, valid);
	run->if_flag = !!(vcpu->rflags & X86_EFLAGS_IF);
	vcpu->stats.exits_user++;
}

long hvx_vcpu_run(struct hvx_vcpu *vcpu)
{
	struct hvx_run *run = vcpu->run;
	int r;

	vcpu->launched = true;
	r = take_input(vcpu);
	if (r)
		return r;
	if (READ_ONCE(run->immediate_exit)) {
		run->exit_reason = HVX_EXIT_KICKED;
		r = 0;
	} else {
		r = run_loop(vcpu);
	}
	trace_hvx_user_exit(vcpu, run->exit_reason, r);
	give_output(vcpu);
	return r;
}

/* ----------------------------------------------------------------- ioctls */

static int vcpu_run(void *obj, void *buf, unsigned long arg)
{
	return arg ? -EINVAL : hvx_vcpu_run(obj);
}

#define MAX_STATE (sizeof(struct hvx_xsave_hdr) + 16384)

static int vcpu_state(struct hvx_vcpu *vcpu, struct hvx_state *s, bool set)
{
	void *data;
	int r;

	if (!hvx_all_zero(s->reserved, sizeof(s->reserved)) || s->group >= HVX_STATE_NR ||
	    !s->size || s->size > MAX_STATE)
		return -EINVAL;
	data = kvzalloc(s->size, GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	if (set) {
		r = -EFAULT;
		if (!copy_from_user(data, u64_to_user_ptr(s->data), s->size))
			r = hvx_state_set(vcpu, s->group, data, s->size);
	} else {
		r = hvx_state_get(vcpu, s->group, data, s->size);
		if (!r && copy_to_user(u64_to_user_ptr(s->data), data, s->size))
			r = -EFAULT;
	}
	kvfree(data);
	return r;
}

static int vcpu_get_state(void *obj, void *buf, unsigned long arg)
{
	return vcpu_state(obj, buf, false);
}

static int vcpu_set_state(void *obj, void *buf, unsigned long arg)
{
	return vcpu_state(obj, buf, true);
}

static int vcpu_msrs(struct hvx_vcpu *vcpu, const struct hvx_msrs *m, bool set)
{
	struct hvx_msr_entry *e;
	unsigned int i;
	size_t size;
	int r;

	if (m->pad || m->count > 256)
		return -EINVAL;
	if (!m->count)
		return 0;
	size = m->count * sizeof(*e);
	e = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	r = -EFAULT;
	if (copy_from_user(e, u64_to_user_ptr(m->entries), size))
		goto out;
	for (i = 0; i < m->count; i++) {
		if (e[i].pad)
			break;
		if (set ? hvx_set_msr(vcpu, e[i].index, e[i].value, true) :
			  hvx_get_msr(vcpu, e[i].index, &e[i].value, true))
			break;
	}
	r = i;
	if (!set && copy_to_user(u64_to_user_ptr(m->entries), e, size))
		r = -EFAULT;
out:
	kvfree(e);
	return r;
}

static int vcpu_get_msrs(void *obj, void *buf, unsigned long arg)
{
	return vcpu_msrs(obj, buf, false);
}

static int vcpu_set_msrs(void *obj, void *buf, unsigned long arg)
{
	return vcpu_msrs(obj, buf, true);
}

static int vcpu_set_cpuid(void *obj, void *buf, unsigned long arg)
{
	struct hvx_cpuid *c = buf;
	struct hvx_cpuid_entry *e;
	int r;

	r = hvx_get_cpuid_table(c, &e);
	if (r)
		return r;
	r = hvx_vcpu_set_cpuid(obj, e, c->nent);
	if (r)
		kvfree(e);
	return r;
}

static int vcpu_get_cpuid(void *obj, void *buf, unsigned long arg)
{
	struct hvx_vcpu *vcpu = obj;
	struct hvx_cpuid *c = buf;
	unsigned int room = c->nent;

	if (c->pad)
		return -EINVAL;
	c->nent = vcpu->cpuid_count;
	if (room < vcpu->cpuid_count)
		return -E2BIG;
	if (copy_to_user(u64_to_user_ptr(c->entries), vcpu->cpuid,
			 vcpu->cpuid_count * sizeof(*vcpu->cpuid)))
		return -EFAULT;
	return 0;
}

static int vcpu_set_debug(void *obj, void *buf, unsigned long arg)
{
	struct hvx_vcpu *vcpu = obj;
	const struct hvx_debug *d = buf;
	int i;

	if (d->pad || !hvx_all_zero(d->reserved, sizeof(d->reserved)) ||
	    d->flags & ~(HVX_DEBUG_STEP | HVX_DEBUG_HW | HVX_DEBUG_SW))
		return -EINVAL;
	if (d->flags & HVX_DEBUG_HW) {
		/* The upper half must be zero, and general detect is the guest's own business. */
		if (d->dr7 >> 32 || d->dr7 & (1U << 13))
			return -EINVAL;
		for (i = 0; i < 4; i++)
			if (d->db[i] >= TASK_SIZE_MAX && (s64)d->db[i] >> 47 != -1)
				return -EINVAL;
	}
	vcpu->debug_flags = d->flags;
	memcpy(vcpu->debug_db, d->db, sizeof(vcpu->debug_db));
	vcpu->debug_dr7 = d->dr7 | 0x400;
	hvx_backend->update_debug(vcpu);
	return 0;
}

static int vcpu_nmi(void *obj, void *buf, unsigned long arg)
{
	struct hvx_vcpu *vcpu = obj;

	if (arg)
		return -EINVAL;
	atomic_add_unless(&vcpu->nmi_queued, 1, 2);
	hvx_request(vcpu, HVX_REQ_EVENT);
	hvx_kick(vcpu);
	return 0;
}

static int vcpu_kick(void *obj, void *buf, unsigned long arg)
{
	if (arg)
		return -EINVAL;
	hvx_request(obj, HVX_REQ_KICK);
	hvx_kick(obj);
	return 0;
}

static int vcpu_set_extint(void *obj, void *buf, unsigned long arg)
{
	struct hvx_vcpu *vcpu = obj;

	if (arg > 1)
		return -EINVAL;
	WRITE_ONCE(vcpu->extint_level, arg);
	if (arg) {
		hvx_request(vcpu, HVX_REQ_EVENT);
		hvx_kick(vcpu);
	}
	return 0;
}

static int vcpu_get_stats(void *obj, void *buf, unsigned long arg)
{
	struct hvx_vcpu *vcpu = obj;

	memcpy(buf, &vcpu->stats, sizeof(vcpu->stats));
	return 0;
}

static const struct hvx_ioctl vcpu_ioctls[] = {
	{ HVX_RUN, HVX_IOCTL_VCPU_LOCK, vcpu_run },
	{ HVX_GET_STATE, HVX_IOCTL_VCPU_LOCK, vcpu_get_state },
	{ HVX_SET_STATE, HVX_IOCTL_VCPU_LOCK, vcpu_set_state },
	{ HVX_GET_MSRS, HVX_IOCTL_VCPU_LOCK, vcpu_get_msrs },
	{ HVX_SET_MSRS, HVX_IOCTL_VCPU_LOCK, vcpu_set_msrs },
	{ HVX_SET_CPUID, HVX_IOCTL_VCPU_LOCK, vcpu_set_cpuid },
	{ HVX_GET_CPUID, HVX_IOCTL_VCPU_LOCK, vcpu_get_cpuid },
	{ HVX_SET_DEBUG, HVX_IOCTL_VCPU_LOCK, vcpu_set_debug },
	{ HVX_NMI, 0, vcpu_nmi },
	{ HVX_KICK, 0, vcpu_kick },
	{ HVX_SET_EXTINT, 0, vcpu_set_extint },
	{ HVX_GET_STATS, 0, vcpu_get_stats },
};

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct hvx_ioctl *row;
	struct hvx_vcpu *vcpu = file->private_data;

	row = hvx_find_ioctl(vcpu_ioctls, ARRAY_SIZE(vcpu_ioctls), cmd);
	if (!row)
		return -ENOTTY;
	if (vcpu->vm->mm != current->mm)
		return -EIO;
	return hvx_dispatch(row, vcpu, row->flags & HVX_IOCTL_VCPU_LOCK ? &vcpu->lock : NULL, arg);
}

/* ------------------------------------------------------------- run page, life */

static vm_fault_t run_page_fault(struct vm_fault *vmf)
{
	struct hvx_vcpu *vcpu = vmf->vma->vm_file->private_data;

	if (vmf->pgoff)
		return VM_FAULT_SIGBUS;
	vmf->page = virt_to_page(vcpu->run);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct run_page_vm_ops = {
	.fault = run_page_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE ||
	    !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vma->vm_ops = &run_page_vm_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct hvx_vcpu *vcpu = file->private_data;

	hvx_vm_put(vcpu->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

void hvx_vcpu_destroy(struct hvx_vcpu *vcpu)
{
	hvx_backend->vcpu_destroy(vcpu);
	hvx_lapic_destroy(vcpu);
	hvx_fpu_free(vcpu);
	kvfree(vcpu->cpuid);
	/* A mapping may outlive the vCPU; it holds its own reference to the page. */
	free_page((unsigned long)vcpu->run);
	kmem_cache_free(vcpu_cache, vcpu);
}

static int vcpu_alloc(struct hvx_vm *vm, u32 id, struct hvx_vcpu **out)
{
	struct hvx_vcpu *vcpu;
	int r = -ENOMEM;

	BUILD_BUG_ON(sizeof(struct hvx_run) > PAGE_SIZE);
	vcpu = kmem_cache_zalloc(vcpu_cache, GFP_KERNEL_ACCOUNT);
	if (!vcpu)
		return -ENOMEM;
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = -1;
	vcpu->extint_vector = -1;
	vcpu->tsc_khz = tsc_khz;
	mutex_init(&vcpu->lock);
	rcuwait_init(&vcpu->wait);
	vcpu->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->run)
		goto err_vcpu;
	r = hvx_fpu_create(vcpu);
	if (r)
		goto err_run;
	r = hvx_lapic_create(vcpu);
	if (r)
		goto err_fpu;
	r = hvx_backend->vcpu_create(vcpu);
	if (r)
		goto err_lapic;
	hvx_cpuid_init(vcpu);
	hvx_vcpu_reset(vcpu, false);
	*out = vcpu;
	return 0;

err_lapic:
	hvx_lapic_destroy(vcpu);
err_fpu:
	hvx_fpu_free(vcpu);
err_run:
	free_page((unsigned long)vcpu->run);
err_vcpu:
	kmem_cache_free(vcpu_cache, vcpu);
	return r;
}

int hvx_vcpu_create(struct hvx_vm *vm, unsigned long id)
{
	struct hvx_vcpu *vcpu;
	struct file *file;
	int fd, r;

	if (id >= HVX_MAX_VCPUS)
		return -EINVAL;
	if (vm->vcpus[id])
		return -EEXIST;
	r = vcpu_alloc(vm, id, &vcpu);
	if (r)
		return r;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		r = fd;
		goto err_vcpu;
	}
	/* The file owns one reference to the VM; the vCPU itself lives as long as the VM. */
	file = anon_inode_getfile("hvx-vcpu", &vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		r = PTR_ERR(file);
		goto err_fd;
	}
	hvx_vm_get(vm);
	smp_store_release(&vm->vcpus[id], vcpu);
	vm->nr_vcpus++;
	set_bit(id, &vm->vcpu_ids);
	hvx_debugfs_add_vcpu(vcpu);
	fd_install(fd, file);
	return fd;

err_fd:
	put_unused_fd(fd);
err_vcpu:
	hvx_vcpu_destroy(vcpu);
	return r;
}

int hvx_vcpu_setup(void)
{
	int cpu;

	vcpu_cache = kmem_cache_create("hvx_vcpu", sizeof(struct hvx_vcpu), 0, SLAB_ACCOUNT, NULL);
	if (!vcpu_cache)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		if (!zalloc_cpumask_var_node(per_cpu_ptr(&kick_mask, cpu), GFP_KERNEL,
					     cpu_to_node(cpu))) {
			hvx_vcpu_teardown();
			return -ENOMEM;
		}
	}
	return 0;
}

void hvx_vcpu_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		free_cpumask_var(per_cpu(kick_mask, cpu));
	kmem_cache_destroy(vcpu_cache);
}
