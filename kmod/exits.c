// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exits after the backend has made them neutral. What a guest does most is
 * answered here with preemption off; the rest goes to userspace.
 */
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <asm/debugreg.h>

#include "core.h"
#include "irq/lapic.h"
#include "trace.h"

/* The instruction is done. APM vol. 2 15.7: the interrupt shadow ends, RF is cleared, TF traps. */
void hvx_skip(struct hvx_vcpu *vcpu, u64 next_rip)
{
	if (!(hvx_backend->get_efer(vcpu) & EFER_LMA))
		next_rip = (u32)next_rip;
	vcpu->rip = next_rip;
	vcpu->rflags &= ~(u64)X86_EFLAGS_RF;
	if (unlikely(hvx_backend->get_shadow(vcpu)))
		hvx_backend->set_shadow(vcpu, 0);
	if (unlikely(vcpu->debug_flags & HVX_DEBUG_STEP))
		hvx_request(vcpu, HVX_REQ_STEP);
	else if (unlikely(vcpu->rflags & X86_EFLAGS_TF))
		hvx_queue_exception(vcpu, 1, false, 0, DR_STEP);
}

static enum hvx_next to_user(struct hvx_vcpu *vcpu, u32 reason)
{
	vcpu->run->exit_reason = reason;
	return HVX_TO_USER;
}

enum hvx_next hvx_exit_cpuid(struct hvx_vcpu *vcpu, unsigned int len)
{
	u32 eax = vcpu->regs[0], ecx = vcpu->regs[1], ebx, edx;

	vcpu->stats.exit_cpuid++;
	hvx_cpuid(vcpu, &eax, &ebx, &ecx, &edx);
	vcpu->regs[0] = eax;
	vcpu->regs[3] = ebx;
	vcpu->regs[1] = ecx;
	vcpu->regs[2] = edx;
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

static enum hvx_next msr_to_user(struct hvx_vcpu *vcpu, u32 index, bool write, unsigned int len)
{
	struct hvx_exit_msr *m = &vcpu->run->msr;

	memset(m, 0, sizeof(*m));
	m->index = index;
	m->is_write = write;
	if (write)
		m->data = (u32)vcpu->regs[0] | vcpu->regs[2] << 32;
	vcpu->complete = write ? HVX_COMPLETE_MSR_WRITE : HVX_COMPLETE_MSR_READ;
	vcpu->complete_rip = vcpu->rip + len;
	return to_user(vcpu, HVX_EXIT_MSR);
}

static enum hvx_next msr_gp(struct hvx_vcpu *vcpu)
{
	vcpu->stats.msr_refused++;
	hvx_inject_gp(vcpu);
	return HVX_REENTER;
}

enum hvx_next hvx_exit_rdmsr(struct hvx_vcpu *vcpu, unsigned int len)
{
	u32 index = vcpu->regs[1];
	u64 val = 0;
	int r = HVX_MSR_TO_USER;

	vcpu->stats.exit_msr++;
	if (!rcu_access_pointer(vcpu->vm->msr_filter) || !hvx_msr_filtered(vcpu->vm, index, false))
		r = hvx_get_msr(vcpu, index, &val, false);
	trace_hvx_msr(vcpu, false, index, val, r);
	if (unlikely(r == HVX_MSR_TO_USER))
		return msr_to_user(vcpu, index, false, len);
	if (unlikely(r))
		return msr_gp(vcpu);
	vcpu->regs[0] = (u32)val;
	vcpu->regs[2] = val >> 32;
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

enum hvx_next hvx_exit_wrmsr(struct hvx_vcpu *vcpu, unsigned int len)
{
	u32 index = vcpu->regs[1];
	u64 val = (u32)vcpu->regs[0] | vcpu->regs[2] << 32;
	int r = HVX_MSR_TO_USER;

	vcpu->stats.exit_msr++;
	if (!rcu_access_pointer(vcpu->vm->msr_filter) || !hvx_msr_filtered(vcpu->vm, index, true))
		r = hvx_set_msr(vcpu, index, val, false);
	trace_hvx_msr(vcpu, true, index, val, r);
	if (unlikely(r == HVX_MSR_TO_USER))
		return msr_to_user(vcpu, index, true, len);
	if (unlikely(r))
		return msr_gp(vcpu);
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

/*
 * KVM's documented hypercall convention. Callers at CPL > 0 get -EPERM, as
 * there: a hypercall is the guest kernel's affair.
 */
enum hvx_next hvx_exit_hypercall(struct hvx_vcpu *vcpu, unsigned int len)
{
	bool lm = hvx_vcpu_mode(vcpu) == HVX_MODE_64;
	u64 mask = lm ? ~0ULL : 0xffffffffULL;
	u64 nr = vcpu->regs[0] & mask, ret;
	u64 args[4] = { vcpu->regs[3] & mask, vcpu->regs[1] & mask,
			vcpu->regs[2] & mask, vcpu->regs[6] & mask };
	struct hvx_exit_hypercall *h;
	int cpl = hvx_backend->get_cpl(vcpu);

	vcpu->stats.exit_hypercall++;
	if (cpl) {
		ret = -EPERM;
	} else if (hvx_pv_hypercall(vcpu, nr, args, &ret)) {
		if (vcpu->vm->flags & HVX_VM_EXIT_HYPERCALL) {
			h = &vcpu->run->hypercall;
			h->nr = nr;
			memcpy(h->args, args, sizeof(args));
			h->ret = 0;
			h->longmode = lm;
			h->cpl = cpl;
			vcpu->complete = HVX_COMPLETE_HYPERCALL;
			vcpu->complete_rip = vcpu->rip + len;
			return to_user(vcpu, HVX_EXIT_HYPERCALL);
		}
		ret = -1000;	/* KVM_ENOSYS of the documented ABI */
	}
	vcpu->regs[0] = ret & mask;
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

enum hvx_next hvx_exit_hlt(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_hlt++;
	hvx_skip(vcpu, vcpu->rip + len);
	if (vcpu->vm->flags & HVX_VM_EXIT_HLT)
		return to_user(vcpu, HVX_EXIT_HALTED);
	vcpu->mp_state = HVX_MP_HALTED;
	return HVX_LEAVE;
}

enum hvx_next hvx_exit_xsetbv(struct hvx_vcpu *vcpu, unsigned int len)
{
	u64 val = (u32)vcpu->regs[0] | vcpu->regs[2] << 32;

	vcpu->stats.exit_other++;
	if (!(hvx_backend->get_cr(vcpu, 4) & X86_CR4_OSXSAVE)) {
		hvx_inject_ud(vcpu);
	} else if (hvx_backend->get_cpl(vcpu) || (u32)vcpu->regs[1] || !hvx_set_xcr0(vcpu, val)) {
		hvx_inject_gp(vcpu);
	} else {
		hvx_skip(vcpu, vcpu->rip + len);
	}
	return HVX_REENTER;
}

enum hvx_next hvx_exit_pio(struct hvx_vcpu *vcpu, u16 port, u8 size, bool write, u64 next_rip)
{
	struct hvx_exit_pio *p = &vcpu->run->pio;
	u32 data = 0;

	vcpu->stats.exit_pio++;
	if (write) {
		data = vcpu->regs[0] & (size == 4 ? ~0U : (1U << size * 8) - 1);
		if (rcu_access_pointer(vcpu->vm->ioevents) &&
		    hvx_ioeventfd_write(vcpu, true, port, size, data)) {
			hvx_skip(vcpu, next_rip);
			return HVX_REENTER;
		}
		hvx_skip(vcpu, next_rip);
	} else {
		vcpu->complete = HVX_COMPLETE_PIO_IN;
		vcpu->complete_rip = next_rip;
		vcpu->complete_size = size;
	}
	p->port = port;
	p->size = size;
	p->is_write = write;
	p->data = data;
	return to_user(vcpu, HVX_EXIT_PIO);
}

static enum hvx_next emulate(struct hvx_vcpu *vcpu, u64 gpa, bool write, bool pio,
			     const u8 *insn, int insn_len)
{
	struct hvx_exit_emulate *e = &vcpu->run->emulate;

	memset(e, 0, sizeof(*e));
	e->gpa = gpa;
	e->is_write = write;
	e->is_pio = pio;
	if (insn_len > 0) {
		e->insn_len = min_t(int, insn_len, sizeof(e->insn));
		memcpy(e->insn, insn, e->insn_len);
	}
	return to_user(vcpu, HVX_EXIT_EMULATE);
}

enum hvx_next hvx_exit_emulate_pio(struct hvx_vcpu *vcpu, bool write)
{
	vcpu->stats.exit_pio++;
	return emulate(vcpu, ~0ULL, write, true, NULL, 0);
}

/* ------------------------------------------------------------------ MMIO */

static u64 size_mask(u8 size)
{
	return size == 8 ? ~0ULL : (1ULL << size * 8) - 1;
}

/* The register or immediate that a decoded store writes. */
static u64 mov_source(struct hvx_vcpu *vcpu, const struct hvx_mov *m)
{
	u64 val = m->is_imm ? m->imm : vcpu->regs[m->reg];

	if (m->high_byte)
		val >>= 8;
	return val & size_mask(m->size);
}

/* Finish a decoded load: SDM vol. 1 3.4.1.1, 32-bit results clear the upper half. */
static void mov_load(struct hvx_vcpu *vcpu, const struct hvx_mov *m, u64 data)
{
	u64 *reg = &vcpu->regs[m->reg];

	data &= size_mask(m->size);
	if (m->sign_extend)
		data = sign_extend64(data, m->size * 8 - 1);
	if (m->high_byte)
		*reg = (*reg & ~0xff00ULL) | data << 8;
	else if (m->dst_size >= 4)
		*reg = data & size_mask(m->dst_size);
	else
		*reg = (*reg & ~size_mask(m->dst_size)) | (data & size_mask(m->dst_size));
}

static enum hvx_next lapic_mmio(struct hvx_vcpu *vcpu, const struct hvx_mov *m, u64 gpa)
{
	u32 offset = gpa & 0xfff, val;

	/* SDM vol. 3 "Local APIC Register Access": aligned 32-bit; others are undefined. */
	if (m->is_write) {
		if (m->size == 4 && !(offset & 3))
			hvx_apic_mmio_write(&vcpu->lapic->apic, offset, mov_source(vcpu, m));
	} else {
		val = hvx_apic_mmio_read(&vcpu->lapic->apic, offset & ~3U);
		mov_load(vcpu, m, val >> (offset & 3) * 8);
	}
	hvx_skip(vcpu, vcpu->rip + m->len);
	return HVX_REENTER;
}

static enum hvx_next mmio_mov(struct hvx_vcpu *vcpu, const struct hvx_mov *m, u64 gpa)
{
	struct hvx_exit_mmio *e = &vcpu->run->mmio;
	u64 data = 0;

	if (hvx_lapic_mmio_hit(vcpu, gpa))
		return lapic_mmio(vcpu, m, gpa);
	if (m->is_write) {
		data = mov_source(vcpu, m);
		if (rcu_access_pointer(vcpu->vm->ioevents) &&
		    hvx_ioeventfd_write(vcpu, false, gpa, m->size, data)) {
			hvx_skip(vcpu, vcpu->rip + m->len);
			return HVX_REENTER;
		}
		hvx_skip(vcpu, vcpu->rip + m->len);
	} else {
		vcpu->complete = HVX_COMPLETE_MMIO_READ;
		vcpu->complete_mov = *m;
		vcpu->complete_rip = vcpu->rip + m->len;
	}
	memset(e, 0, sizeof(*e));
	e->gpa = gpa;
	e->size = m->size;
	e->is_write = m->is_write;
	e->data = data;
	return to_user(vcpu, HVX_EXIT_MMIO);
}

static int mmio(struct hvx_vcpu *vcpu, u64 gpa, bool write, const u8 *insn, int insn_len,
		bool can_sleep)
{
	u8 buf[HVX_INSN_MAX];
	struct hvx_mov m;

	/*
	 * The access was the CPU's own, while it delivered an event (a stack or
	 * descriptor table in device memory): there is no instruction to emulate.
	 */
	if (unlikely(vcpu->ev.exc_injected || vcpu->ev.irq_injected || vcpu->ev.nmi_injected)) {
		memset(&vcpu->run->fail, 0, sizeof(vcpu->run->fail));
		vcpu->run->fail.suberror = HVX_INTERNAL_DELIVERY;
		vcpu->run->fail.info[0] = gpa;
		vcpu->run->fail.cpu = raw_smp_processor_id();
		return to_user(vcpu, HVX_EXIT_INTERNAL);
	}
	vcpu->stats.exit_mmio++;
	if (!insn_len) {
		insn_len = hvx_fetch_insn(vcpu, buf, sizeof(buf), can_sleep);
		insn = buf;
		if (!insn_len && !can_sleep)
			return HVX_SLOW;
	}
	if (hvx_decode_mov(insn, insn_len, hvx_vcpu_mode(vcpu), &m) || m.is_write != write ||
	    (gpa & 0xfff) + m.size > 0x1000)
		return emulate(vcpu, gpa, write, false, insn, insn_len);
	return mmio_mov(vcpu, &m, gpa);
}

int hvx_exit_mmio(struct hvx_vcpu *vcpu, u64 gpa, bool write, const u8 *insn, int insn_len)
{
	return mmio(vcpu, gpa, write, insn, insn_len, true);
}

enum hvx_next hvx_exit_mmio_fast(struct hvx_vcpu *vcpu, u64 gpa, bool write,
				 const u8 *insn, int insn_len)
{
	return mmio(vcpu, gpa, write, insn, insn_len, false);
}

/* ---------------------------------------------------------- completion */

/* Start of HVX_RUN: what userspace answered to the last exit. Run page fields are read once. */
int hvx_exit_complete(struct hvx_vcpu *vcpu)
{
	struct hvx_run *run = vcpu->run;
	enum hvx_complete what = vcpu->complete;
	u64 data;

	vcpu->complete = HVX_COMPLETE_NONE;
	switch (what) {
	case HVX_COMPLETE_NONE:
		return 0;
	case HVX_COMPLETE_PIO_IN:
		data = READ_ONCE(run->pio.data);
		if (vcpu->complete_size == 4)
			vcpu->regs[0] = (u32)data;
		else
			vcpu->regs[0] = (vcpu->regs[0] & ~size_mask(vcpu->complete_size)) |
					(data & size_mask(vcpu->complete_size));
		break;
	case HVX_COMPLETE_MMIO_READ:
		mov_load(vcpu, &vcpu->complete_mov, READ_ONCE(run->mmio.data));
		break;
	case HVX_COMPLETE_MSR_READ:
	case HVX_COMPLETE_MSR_WRITE:
		if (READ_ONCE(run->msr.error)) {
			msr_gp(vcpu);
			return 0;
		}
		if (what == HVX_COMPLETE_MSR_READ) {
			data = READ_ONCE(run->msr.data);
			vcpu->regs[0] = (u32)data;
			vcpu->regs[2] = data >> 32;
		}
		break;
	case HVX_COMPLETE_HYPERCALL:
		data = READ_ONCE(run->hypercall.ret);
		vcpu->regs[0] = hvx_vcpu_mode(vcpu) == HVX_MODE_64 ? data : (u32)data;
		break;
	}
	hvx_skip(vcpu, vcpu->complete_rip);
	return 0;
}
