// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an interrupt message to the local APICs that take it. APIC ids are vCPU
 * ids for life, so that a physical destination needs no search. Nothing here
 * takes a lock or sleeps: any context may deliver.
 */
#include <linux/slab.h>
#include <uapi/linux/kvm_para.h>

#include "irq/lapic.h"

/* A message, decoded. */
struct message {
	u32 mode;			/* MSG_* */
	u8 vector;
	bool level;
	struct hvx_vcpu *src;		/* whose runner sends it, NULL: somebody else */
	struct hvx_irqfd_resample *rs;
};

static __always_inline int deliver_fixed(struct hvx_vcpu *vcpu, struct hvx_vcpu *src,
					 u8 vector, bool level)
{
	int r = hvx_apic_accept(&vcpu->lapic->apic, vector, level);

	/* The source's own runner is here, and looks at the APIC before each entry. */
	if (r == 2 && vcpu != src) {
		hvx_request(vcpu, HVX_REQ_EVENT);
		hvx_kick(vcpu);
	}
	return r > 0;
}

static int deliver(struct hvx_vcpu *vcpu, const struct message *m)
{
	struct hvx_irqfd_resample *rs = m->rs;

	switch (m->mode) {
	case MSG_FIXED:
	case MSG_LOWEST:
		if (!rs)
			return deliver_fixed(vcpu, m->src, m->vector, m->level);
		/* Before the guest can EOI it. */
		WRITE_ONCE(rs->vector, m->vector);
		set_bit(vcpu->id, &rs->took);
		if (deliver_fixed(vcpu, m->src, m->vector, m->level))
			return 1;
		clear_bit(vcpu->id, &rs->took);
		return 0;
	case MSG_NMI:
		hvx_apic_do_nmi(&vcpu->lapic->apic);
		return 1;
	case MSG_INIT:
		clear_bit(1, &vcpu->init_sipi);
		set_bit(0, &vcpu->init_sipi);
		break;
	case MSG_SIPI:
		WRITE_ONCE(vcpu->sipi_queued, m->vector);
		smp_mb__before_atomic();
		set_bit(1, &vcpu->init_sipi);
		break;
	default:
		return 0;
	}
	hvx_apic_do_wake(&vcpu->lapic->apic);
	return 1;
}

static int deliver_mask(struct hvx_vm *vm, unsigned long mask, const struct message *m)
{
	int takers = 0;

	for (mask &= READ_ONCE(vm->vcpu_ids); mask; mask &= mask - 1) {
		struct hvx_vcpu *vcpu = vm->vcpus[__ffs(mask)];

		if (READ_ONCE(vcpu->lapic->apic.mode) != LAPIC_OFF)
			takers += deliver(vcpu, m);
	}
	return takers;
}

static unsigned long destinations(struct hvx_vm *vm, u32 dest, bool logical)
{
	unsigned long left, mask = 0;

	if (!logical && dest < HVX_MAX_VCPUS)
		return 1UL << dest;
	if (!logical || dest == LAPIC_BROADCAST)
		return dest == LAPIC_BROADCAST ? ~0UL : 0;
	for (left = READ_ONCE(vm->vcpu_ids); left; left &= left - 1)
		if (hvx_apic_is_dest(&vm->vcpus[__ffs(left)]->lapic->apic, dest))
			mask |= left & -left;
	return mask;
}

/* Of the destinations, the one that takes a lowest-priority interrupt. */
static unsigned long lowest(struct hvx_vm *vm, unsigned long mask, u8 vector)
{
	unsigned long left;

	mask &= READ_ONCE(vm->vcpu_ids);
	for (left = mask; left; left &= left - 1)
		if (!READ_ONCE(vm->vcpus[__ffs(left)]->lapic->apic.accepting))
			mask &= ~(left & -left);
	return hvx_apic_lowest(mask, vector);
}

static noinline void send_other_ipi(struct hvx_vcpu *src, u64 icr)
{
	struct message m = {
		.mode = MSG_MODE(icr),
		.vector = MSG_VECTOR(icr),
		.src = src,
	};
	struct hvx_vm *vm = src->vm;
	unsigned long mask;

	switch (ICR_SHORTHAND(icr)) {
	case SHORT_SELF:
		mask = 1UL << src->id;
		break;
	case SHORT_ALL:
		mask = ~0UL;
		break;
	case SHORT_OTHERS:
		mask = ~(1UL << src->id);
		break;
	default:
		mask = destinations(vm, icr >> 32, icr & MSG_LOGICAL);
	}

	if (m.mode <= MSG_LOWEST) {
		if (m.vector < 16) {
			hvx_apic_error(&src->lapic->apic, ESR_SEND_VECTOR);
			return;
		}
		if (m.mode == MSG_LOWEST)
			mask = lowest(vm, mask, m.vector);
	} else {
		/* SDM vol. 3 "Valid Combinations": to oneself only fixed; no ExtINT. */
		if (ICR_SHORTHAND(icr) == SHORT_SELF || ICR_SHORTHAND(icr) == SHORT_ALL ||
		    m.mode == MSG_EXTINT)
			return;
		/* INIT level de-assert sets arbitration ids on old buses, nothing else. */
		if (m.mode == MSG_INIT && (icr & MSG_LEVEL) && !(icr & MSG_ASSERT))
			return;
	}
	deliver_mask(vm, mask, &m);
}

void hvx_send_ipi(struct hvx_vcpu *src, u64 icr)
{
	struct hvx_vcpu *vcpu;
	u32 dest = icr >> 32;

	src->stats.ipi_sent++;
	/* Fixed, to one physical id: what guests send most. */
	if (unlikely((icr & (MSG_LOGICAL | 7 << 8 | 3 << 18)) || dest >= HVX_MAX_VCPUS ||
		     MSG_VECTOR(icr) < 16)) {
		send_other_ipi(src, icr);
		return;
	}
	vcpu = smp_load_acquire(&src->vm->vcpus[dest]);
	if (likely(vcpu))
		deliver_fixed(vcpu, src, MSG_VECTOR(icr), false);
}

int hvx_pv_send_ipi(struct hvx_vcpu *src, u64 lo, u64 hi, u64 min, u64 icr, bool mode64)
{
	struct message m = { .mode = MSG_MODE(icr), .vector = MSG_VECTOR(icr), .src = src };
	unsigned long mask;

	/* Only vector and delivery mode, fixed or NMI; the destination is the bitmap. */
	if ((icr & ~0x7ffULL & ~(u64)MSG_ASSERT) || (m.mode != MSG_FIXED && m.mode != MSG_NMI) ||
	    (m.mode == MSG_FIXED && m.vector < 16))
		return -KVM_EINVAL;
	if (!mode64) {
		lo = (u32)lo | hi << 32;
		min = (u32)min;
	}
	if (min >= HVX_MAX_VCPUS)
		return 0;
	/* The bitmap's upper half in 64-bit mode starts at id min + 64: nobody there. */
	mask = lo << min;
	src->stats.ipi_sent++;
	return deliver_mask(src->vm, mask, &m);
}

int hvx_deliver_msi(struct hvx_vm *vm, u64 address, u32 data, struct hvx_irqfd_resample *rs)
{
	struct message m = {
		.mode = MSG_MODE(data),
		.vector = MSG_VECTOR(data),
		.level = data & MSG_LEVEL,
		.rs = rs,
	};
	bool hint = address & BIT(3), logical = address & BIT(2);
	/* Address bits 11:5 are bits 14:8 of the destination ("extended destination id"). */
	u32 dest = (address >> 12 & 0xff) | (address >> 5 & 0x7f) << 8;
	unsigned long mask;

	if (address >> 20 != 0xfee)
		return 0;
	if (dest == 0xff && !logical)
		dest = LAPIC_BROADCAST;
	mask = destinations(vm, dest, logical);
	if (m.mode == MSG_LOWEST || (m.mode == MSG_FIXED && hint))
		mask = lowest(vm, mask, m.vector);
	else if (m.mode == MSG_SIPI || m.mode == MSG_EXTINT)
		return 0;
	return deliver_mask(vm, mask, &m);
}
