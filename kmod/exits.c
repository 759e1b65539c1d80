// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exits after the backend has made them neutral. What a guest does most is
 * answered here with preemption off; the rest goes to userspace. What is
 * written to the run page is never relied on afterwards.
 */
#include "backend.h"
#include "irq/lapic.h"
#include "trace.h"

/* The instruction is done. APM vol. 2 15.7: the interrupt shadow ends, RF is cleared, TF traps. */
enum hvx_next hvx_skip(struct hvx_vcpu *vcpu, u64 next_rip)
{
	if (!(vcpu->efer & EFER_LMA))
		next_rip = (u32)next_rip;
	vcpu->rip = next_rip;
	vcpu->rflags &= ~(u64)X86_EFLAGS_RF;
	vcpu->ev.interrupt_shadow = 0;
	if (unlikely(vcpu->debug_flags & HVX_DEBUG_STEP))
		hvx_request(vcpu, HVX_REQ_STEP);
	else if (unlikely(vcpu->rflags & X86_EFLAGS_TF))
		hvx_queue_exception(vcpu, 1, false, 0, DR_STEP);
	return HVX_REENTER;
}

/* Of CS, for the decoder, and for the width of operands. */
enum hvx_cpu_mode hvx_mode(struct hvx_vcpu *vcpu)
{
	u16 cs = hvx_backend->get_attr(vcpu, HVX_SEG_CS);

	if (vcpu->efer & EFER_LMA && cs & HVX_SEG_L)
		return HVX_MODE_64;
	if (!(hvx_backend->get_cr(vcpu, 0) & X86_CR0_PE) || vcpu->rflags & X86_EFLAGS_VM)
		return HVX_MODE_16;
	return cs & HVX_SEG_DB ? HVX_MODE_32 : HVX_MODE_16;
}

int hvx_cpl(struct hvx_vcpu *vcpu)
{
	return HVX_SEG_DPL(hvx_backend->get_attr(vcpu, HVX_SEG_SS));
}

static u64 reg_mask(struct hvx_vcpu *vcpu)
{
	return hvx_mode(vcpu) == HVX_MODE_64 ? ~0ULL : U32_MAX;
}

static u64 edx_eax(struct hvx_vcpu *vcpu)
{
	return (u32)vcpu->regs[0] | vcpu->regs[2] << 32;
}

static void set_edx_eax(struct hvx_vcpu *vcpu, u64 val)
{
	vcpu->regs[0] = (u32)val;
	vcpu->regs[2] = val >> 32;
}

enum hvx_next hvx_exit_to_user(struct hvx_vcpu *vcpu, u32 reason)
{
	vcpu->run->exit_reason = reason;
	return HVX_TO_USER;
}

/* Userspace's answer ends the instruction: hvx_exit_complete(). */
static enum hvx_next ask_user(struct hvx_vcpu *vcpu, u32 reason, u64 next_rip)
{
	vcpu->complete = reason;
	vcpu->complete_rip = next_rip;
	return hvx_exit_to_user(vcpu, reason);
}

enum hvx_next hvx_exit_debug(struct hvx_vcpu *vcpu, u32 vector, u64 dr6)
{
	struct hvx_segment cs;

	hvx_backend->get_segment(vcpu, HVX_SEG_CS, &cs);
	vcpu->run->debug = (struct hvx_exit_debug) {
		.rip = vcpu->rip + cs.base,
		.dr6 = dr6,
		.dr7 = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7,
		.vector = vector,
	};
	return hvx_exit_to_user(vcpu, HVX_EXIT_DEBUG);
}

enum hvx_next hvx_exit_fail(struct hvx_vcpu *vcpu, u32 reason, u32 suberror, u64 hw_reason,
			    u64 info0, u64 info1, u64 info2)
{
	vcpu->run->fail = (struct hvx_exit_fail) {
		.hw_reason = hw_reason,
		.info = { info0, info1, info2, vcpu->rip },
		.suberror = suberror,
		.cpu = raw_smp_processor_id(),
	};
	return hvx_exit_to_user(vcpu, reason);
}

enum hvx_next hvx_exit_cpuid(struct hvx_vcpu *vcpu, unsigned int len)
{
	/* Leaf 0xd needs the guest's XCR0 in the CPU: the same exit comes again. */
	if (unlikely(!vcpu->fpu_loaded))
		return HVX_REENTER;
	vcpu->stats.exit_cpuid++;
	hvx_cpuid(vcpu);
	return hvx_skip(vcpu, vcpu->rip + len);
}

enum hvx_next hvx_exit_msr(struct hvx_vcpu *vcpu, unsigned int len, bool write)
{
	u32 index = vcpu->regs[1];
	u64 val = write ? edx_eax(vcpu) : 0;
	int r = hvx_msr(vcpu, index, &val, write, false);

	vcpu->stats.exit_msr++;
	if (write)
		trace_hvx_wrmsr(vcpu, index, val, r);
	else
		trace_hvx_rdmsr(vcpu, index, val, r);
	if (unlikely(r == HVX_MSR_TO_USER)) {
		vcpu->run->msr = (struct hvx_exit_msr) {
			.index = index, .is_write = write, .data = val,
		};
		vcpu->complete_mov.is_write = write;
		return ask_user(vcpu, HVX_EXIT_MSR, vcpu->rip + len);
	}
	if (unlikely(r)) {
		vcpu->stats.msr_refused++;
		return hvx_inject_gp(vcpu);
	}
	if (!write)
		set_edx_eax(vcpu, val);
	return hvx_skip(vcpu, vcpu->rip + len);
}

/*
 * KVM's documented hypercall convention. Callers at CPL > 0 get -EPERM, as
 * there: a hypercall is the guest kernel's affair.
 */
enum hvx_next hvx_exit_hypercall(struct hvx_vcpu *vcpu, unsigned int len)
{
	u64 mask = reg_mask(vcpu), *r = vcpu->regs;
	long ret = hvx_cpl(vcpu) ? -EPERM : hvx_pv_hypercall(vcpu, mask);

	vcpu->stats.exit_hypercall++;
	if (ret == HVX_PV_UNKNOWN && vcpu->vm->flags & HVX_VM_EXIT_HYPERCALL) {
		vcpu->run->hypercall = (struct hvx_exit_hypercall) {
			.nr = r[0] & mask,
			.args = { r[3] & mask, r[1] & mask, r[2] & mask, r[6] & mask },
			.longmode = !~mask,
		};
		vcpu->complete_mov = (struct hvx_mov) {
			.size = ~mask ? 4 : 8, .dst_size = ~mask ? 4 : 8,
		};
		return ask_user(vcpu, HVX_EXIT_HYPERCALL, vcpu->rip + len);
	}
	r[0] = ret & mask;
	return hvx_skip(vcpu, vcpu->rip + len);
}

enum hvx_next hvx_exit_hlt(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_hlt++;
	hvx_skip(vcpu, vcpu->rip + len);
	if (vcpu->vm->flags & HVX_VM_EXIT_HLT)
		return hvx_exit_to_user(vcpu, HVX_EXIT_HALTED);
	vcpu->ev.mp_state = HVX_MP_HALTED;
	return HVX_LEAVE;
}

/* Triple fault. State is undefined after it (APM vol. 2 15.14.3), but helps to see why. */
enum hvx_next hvx_exit_shutdown(struct hvx_vcpu *vcpu, unsigned int len)
{
	return hvx_exit_to_user(vcpu, HVX_EXIT_SHUTDOWN);
}

enum hvx_next hvx_exit_xsetbv(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_other++;
	if (!(hvx_backend->get_cr(vcpu, 4) & X86_CR4_OSXSAVE))
		return hvx_inject_ud(vcpu);
	if (hvx_cpl(vcpu) || (u32)vcpu->regs[1] || !hvx_set_xcr0(vcpu, edx_eax(vcpu)))
		return hvx_inject_gp(vcpu);
	return hvx_skip(vcpu, vcpu->rip + len);
}

enum hvx_next hvx_exit_skip(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_other++;
	return hvx_skip(vcpu, vcpu->rip + len);
}

/* A spinning vCPU gives its time away. */
enum hvx_next hvx_exit_pause(struct hvx_vcpu *vcpu, unsigned int len)
{
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vcpu->stats.exit_pause++;
	hvx_skip(vcpu, vcpu->rip + len);
	yield();
	return HVX_REENTER;
}

enum hvx_next hvx_exit_ud(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_other++;
	return hvx_inject_ud(vcpu);
}

enum hvx_next hvx_exit_gp(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_other++;
	return hvx_inject_gp(vcpu);
}

/* -------------------------------------------- control and debug registers */

/* SDM vol. 2 "MOV to/from Control Registers", APM vol. 2 14.6: what is #GP, how long mode comes and goes. */
static bool mov_to_cr0(struct hvx_vcpu *vcpu, u64 val)
{
	u64 efer = vcpu->efer, cr4 = hvx_backend->get_cr(vcpu, 4);
	u64 change = val ^ hvx_backend->get_cr(vcpu, 0);
	u16 cs = hvx_backend->get_attr(vcpu, HVX_SEG_CS);

	if (val >> 32 || (val & X86_CR0_PG && !(val & X86_CR0_PE)) ||
	    (val & X86_CR0_NW && !(val & X86_CR0_CD)))
		return false;
	if (change & val & X86_CR0_PG && efer & EFER_LME) {
		if (!(cr4 & X86_CR4_PAE) || cs & HVX_SEG_L ||
		    HVX_SEG_TYPE(hvx_backend->get_attr(vcpu, HVX_SEG_TR)) != 11)
			return false;
		hvx_backend->set_efer(vcpu, efer | EFER_LMA);
	} else if (change & ~val & X86_CR0_PG) {
		if ((efer & EFER_LMA && cs & HVX_SEG_L) || cr4 & X86_CR4_PCIDE)
			return false;
		hvx_backend->set_efer(vcpu, efer & ~(u64)EFER_LMA);
	}
	hvx_backend->set_cr(vcpu, 0, (val & HVX_CR0_BITS) | X86_CR0_ET);
	return true;
}

static bool mov_to_cr4(struct hvx_vcpu *vcpu, u64 val)
{
	u64 efer = vcpu->efer, change = val ^ hvx_backend->get_cr(vcpu, 4);

	if (val & ~vcpu->cr4_allowed)
		return false;
	if (efer & EFER_LMA && (!(val & X86_CR4_PAE) || change & X86_CR4_LA57))
		return false;
	if (change & val & X86_CR4_PCIDE &&
	    (!(efer & EFER_LMA) || hvx_backend->get_cr(vcpu, 3) & 0xfff))
		return false;
	hvx_backend->set_cr(vcpu, 4, val);
	return true;
}

enum hvx_next hvx_exit_mov_to_cr(struct hvx_vcpu *vcpu, int cr, int reg, unsigned int len)
{
	u64 val = vcpu->regs[reg] & reg_mask(vcpu);

	vcpu->stats.exit_cr++;
	if (!(cr == 0 ? mov_to_cr0(vcpu, val) : cr == 4 ? mov_to_cr4(vcpu, val) : val <= 15))
		return hvx_inject_gp(vcpu);
	if (cr == 8)
		hvx_lapic_set_cr8(vcpu, val);
	return hvx_skip(vcpu, vcpu->rip + len);
}

/* The guest's own debug registers, SDM vol. 3 "Debug Registers". DR4 and 5 are 6 and 7 unless CR4.DE. */
enum hvx_next hvx_exit_mov_dr(struct hvx_vcpu *vcpu, int dr, int reg, bool write, unsigned int len)
{
	u64 *p = dr < 4 ? &vcpu->db[dr] : dr & 1 ? &vcpu->dr7 : &vcpu->dr6;
	u64 val = (write ? vcpu->regs[reg] : *p) & reg_mask(vcpu);

	/* DR0-3 are loaded on the way in: leave, so that a change takes effect. */
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vcpu->stats.exit_cr++;
	if ((dr == 4 || dr == 5) && hvx_backend->get_cr(vcpu, 4) & X86_CR4_DE)
		return hvx_inject_ud(vcpu);
	if (vcpu->dr7 & HVX_DR_GD)	/* general detect: #DB before the access */
		return hvx_queue_exception(vcpu, 1, false, 0, HVX_DR_GD);
	if (write && dr >= 4 && val >> 32)
		return hvx_inject_gp(vcpu);
	*(write ? p : &vcpu->regs[reg]) = !write || dr < 4 ? val :
					  dr & 1 ? (val & HVX_DR7_BITS) | HVX_DR7_FIXED :
						   (val & HVX_DR6_BITS) | HVX_DR6_FIXED;
	if (write)
		hvx_backend->update(vcpu);
	return hvx_skip(vcpu, vcpu->rip + len);
}

/* ------------------------------------------------------------- port I/O, MMIO */

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

/* Finish a load: SDM vol. 1 3.4.1.1, 32-bit results clear the upper half. */
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

/*
 * A MOV, or what does as one, between a register and a device's port or memory. A write
 * is done when it has been handed on: to an ioeventfd, or else to userspace.
 */
static enum hvx_next device_access(struct hvx_vcpu *vcpu, u32 reason, u64 addr,
				   const struct hvx_mov *m, u64 next_rip)
{
	u64 data = m->is_write ? mov_source(vcpu, m) : 0;
	bool pio = reason == HVX_EXIT_PIO;

	if (m->is_write) {
		hvx_skip(vcpu, next_rip);
		if (READ_ONCE(vcpu->vm->nr_ioevents) &&
		    hvx_ioeventfd_write(vcpu, pio, addr, m->size, data))
			return HVX_REENTER;
	}
	if (pio)
		vcpu->run->pio = (struct hvx_exit_pio) {
			.port = addr, .size = m->size, .is_write = m->is_write, .data = data,
		};
	else
		vcpu->run->mmio = (struct hvx_exit_mmio) {
			.gpa = addr, .size = m->size, .is_write = m->is_write, .data = data,
		};
	if (m->is_write)
		return hvx_exit_to_user(vcpu, reason);
	vcpu->complete_mov = *m;
	return ask_user(vcpu, reason, next_rip);
}

enum hvx_next hvx_exit_pio(struct hvx_vcpu *vcpu, u16 port, u8 size, bool write, u64 next_rip)
{
	const struct hvx_mov m = { .size = size, .dst_size = size, .is_write = write };

	vcpu->stats.exit_pio++;
	return device_access(vcpu, HVX_EXIT_PIO, port, &m, next_rip);
}

static enum hvx_next emulate(struct hvx_vcpu *vcpu, u64 gpa, bool write, bool pio,
			     const u8 *insn, int insn_len)
{
	struct hvx_exit_emulate *e = &vcpu->run->emulate;

	*e = (struct hvx_exit_emulate) {
		.gpa = gpa, .is_write = write, .is_pio = pio, .insn_len = insn_len,
	};
	if (insn_len)
		memcpy(e->insn, insn, min_t(size_t, insn_len, sizeof(e->insn)));
	return hvx_exit_to_user(vcpu, HVX_EXIT_EMULATE);
}

enum hvx_next hvx_exit_emulate_pio(struct hvx_vcpu *vcpu, bool write)
{
	vcpu->stats.exit_pio++;
	return emulate(vcpu, ~0ULL, write, true, NULL, 0);
}

static enum hvx_next lapic_mmio(struct hvx_vcpu *vcpu, const struct hvx_mov *m, u64 gpa)
{
	struct hvx_lapic *l = vcpu->lapic;
	u32 offset = gpa & 0xfff, val;

	/* SDM vol. 3 "Local APIC Register Access": aligned 32-bit; others are undefined. */
	if (m->is_write) {
		if (m->size == 4 && !(offset & 3))
			hvx_lapic_mmio(l, offset, true, mov_source(vcpu, m));
	} else {
		val = hvx_lapic_mmio(l, offset & ~3U, false, 0);
		mov_load(vcpu, m, val >> (offset & 3) * 8);
	}
	return hvx_skip(vcpu, vcpu->rip + m->len);
}

/* Nothing is mapped at gpa, or it cannot be written: a device's, the LAPIC's, an ioeventfd's. */
enum hvx_next hvx_exit_mmio(struct hvx_vcpu *vcpu, u64 gpa, bool write, const u8 *insn, int insn_len)
{
	u8 buf[HVX_INSN_MAX];
	struct hvx_mov m;

	/*
	 * The access was the CPU's own, while it delivered an event (a stack or
	 * descriptor table in device memory): there is no instruction to emulate.
	 */
	if (unlikely(vcpu->ev.injected))
		return hvx_exit_fail(vcpu, HVX_EXIT_INTERNAL, HVX_INTERNAL_DELIVERY, 0, gpa, 0, 0);
	vcpu->stats.exit_mmio++;
	if (!insn_len) {
		insn_len = hvx_fetch_insn(vcpu, buf, sizeof(buf), !vcpu->fpu_loaded);
		insn = buf;
		if (!insn_len && vcpu->fpu_loaded)
			return HVX_SLOW;
	}
	if (hvx_decode_mov(insn, insn_len, hvx_mode(vcpu), &m) ||
	    m.is_write != write || (gpa & 0xfff) + m.size > 0x1000)
		return emulate(vcpu, gpa, write, false, insn, insn_len);
	if ((gpa & ~0xfffULL) == vcpu->lapic->mmio_page)
		return lapic_mmio(vcpu, &m, gpa);
	return device_access(vcpu, HVX_EXIT_MMIO, gpa, &m, vcpu->rip + m.len);
}

enum hvx_next hvx_exit_page_fault(struct hvx_vcpu *vcpu, u64 gpa, u32 access,
				  const u8 *insn, int insn_len)
{
	bool can_sleep = !vcpu->fpu_loaded, write = access == HVX_ACC_WRITE;
	int r = hvx_mmu_fault(vcpu, gpa, access, can_sleep);

	trace_hvx_page_fault(vcpu, gpa, access, r);
	if (r == -EAGAIN && !can_sleep)
		return HVX_SLOW;
	vcpu->stats.exit_page_fault++;
	if (r == HVX_FAULT_MMIO)
		return hvx_exit_mmio(vcpu, gpa, write, insn, insn_len);
	/* After a signal the run loop sees it. */
	if (r == HVX_FAULT_OK || r == -EINTR || r == -ERESTARTSYS || r == -EAGAIN)
		return HVX_REENTER;
	vcpu->run->memory_fault = (struct hvx_exit_memory_fault) {
		.gpa = gpa, .is_write = write, .error = -r,
	};
	return hvx_exit_to_user(vcpu, HVX_EXIT_MEMORY_FAULT);
}

/* Start of HVX_RUN: what userspace answered to the last exit. Run page fields are read once. */
void hvx_exit_complete(struct hvx_vcpu *vcpu)
{
	const struct hvx_run *run = vcpu->run;
	u32 what = vcpu->complete;
	u64 data = what == HVX_EXIT_PIO ? READ_ONCE(run->pio.data) :
		   what == HVX_EXIT_MMIO ? READ_ONCE(run->mmio.data) :
		   what == HVX_EXIT_MSR ? READ_ONCE(run->msr.data) : READ_ONCE(run->hypercall.ret);

	vcpu->complete = HVX_EXIT_NONE;
	if (what != HVX_EXIT_MSR) {
		mov_load(vcpu, &vcpu->complete_mov, data);
	} else if (READ_ONCE(run->msr.error)) {
		vcpu->stats.msr_refused++;
		hvx_inject_gp(vcpu);
		return;
	} else if (!vcpu->complete_mov.is_write) {
		set_edx_eax(vcpu, data);
	}
	hvx_skip(vcpu, vcpu->complete_rip);
}
