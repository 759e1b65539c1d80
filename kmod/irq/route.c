// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an interrupt message to the local APICs that take it. APIC ids are vCPU
 * ids for life, so that a physical destination needs no search. Nothing here
 * takes a lock or sleeps: any context may deliver.
 */
#include "lapic.h"

/* src: whose runner sends it; NULL: somebody else. Was it taken? */
static __always_inline int deliver_fixed(struct hvx_vcpu *vcpu, struct hvx_vcpu *src,
					 u8 vector, bool level)
{
	int r = hvx_lapic_accept(vcpu->lapic, vector, level);

	/* The source's own runner is here, and looks at the APIC before each entry. */
	if (r >= 2 && vcpu != src)
		hvx_notify(vcpu, r == 2);
	return r > 0;
}

/*
 * Of the candidates, the one that takes a lowest-priority interrupt. Current
 * processors pick by a hash of the vector: no state, no look at the others' PPR.
 */
static unsigned long lowest(struct hvx_vm *vm, unsigned long mask, u8 vector)
{
	unsigned long left;
	unsigned int n;

	for (left = mask; left; left &= left - 1)
		if (!READ_ONCE(vm->vcpus[__ffs(left)]->lapic->accepting))
			mask &= ~(left & -left);
	for (n = mask ? vector % hweight_long(mask) : 0; n; n--)
		mask &= mask - 1;
	return mask & -mask;
}

/* Vector, delivery mode and trigger mode of msg to the vCPUs of a mask: how many took it. */
static int deliver(struct hvx_vm *vm, struct hvx_vcpu *src, unsigned long mask, u32 msg)
{
	struct hvx_vcpu *vcpu;
	int takers = 0;

	mask &= READ_ONCE(vm->vcpu_ids);
	if (MSG_MODE(msg) == MSG_LOWEST)
		mask = lowest(vm, mask, MSG_VECTOR(msg));
	for (; mask; mask &= mask - 1) {
		vcpu = vm->vcpus[__ffs(mask)];
		if (READ_ONCE(vcpu->lapic->mode) == LAPIC_OFF)
			continue;
		switch (MSG_MODE(msg)) {
		case MSG_FIXED:
		case MSG_LOWEST:
			takers += deliver_fixed(vcpu, src, MSG_VECTOR(msg), msg & MSG_LEVEL);
			continue;
		case MSG_NMI:
			/* One being handled and one latched is all that the CPU remembers. */
			atomic_add_unless(&vcpu->nmi_queued, 1, 2);
			break;
		case MSG_INIT:
			clear_bit(1, &vcpu->init_sipi);
			set_bit(0, &vcpu->init_sipi);
			break;
		case MSG_SIPI:
			WRITE_ONCE(vcpu->sipi_queued, MSG_VECTOR(msg));
			smp_mb__before_atomic();
			set_bit(1, &vcpu->init_sipi);
			break;
		default:
			continue;
		}
		takers++;
		hvx_request_kick(vcpu, HVX_REQ_EVENT);
	}
	return takers;
}

/* SDM vol. 3 "Logical Destination Mode" and "Logical Destination Mode in x2APIC Mode". */
static bool matches(const struct hvx_lapic *l, u32 dest)
{
	u32 ldr = READ_ONCE(l->regs[AREG_LDR * 4]), id = ldr >> 24;
	u32 model = READ_ONCE(l->regs[AREG_DFR * 4]) >> 28;
	enum hvx_apic_mode mode = READ_ONCE(l->mode);

	if (mode == LAPIC_X2APIC)
		return dest >> 16 == ldr >> 16 && dest & ldr & 0xffff;
	if (mode != LAPIC_XAPIC || dest > 0xff)
		return false;
	if (model == 0xf)	/* flat */
		return id & dest;
	return model == 0 && (id >> 4 == dest >> 4 || dest >> 4 == 0xf) && id & dest & 0xf;
}

static unsigned long destinations(struct hvx_vm *vm, u32 dest, bool logical)
{
	unsigned long left, mask = 0;

	if (dest == LAPIC_BROADCAST)
		return ~0UL;
	if (!logical)
		return dest < HVX_MAX_VCPUS ? 1UL << dest : 0;
	for (left = READ_ONCE(vm->vcpu_ids); left; left &= left - 1)
		if (matches(vm->vcpus[__ffs(left)]->lapic, dest))
			mask |= left & -left;
	return mask;
}

static noinline void send_other_ipi(struct hvx_vcpu *src, u64 icr)
{
	unsigned int mode = MSG_MODE(icr), to = ICR_SHORTHAND(icr);
	unsigned long self = 1UL << src->id, mask;

	if (mode <= MSG_LOWEST && MSG_VECTOR(icr) < 16) {
		hvx_lapic_error(src->lapic, ESR_SEND_VECTOR);
		return;
	}
	/* SDM vol. 3 "Valid Combinations": to oneself only fixed; no ExtINT. */
	if (mode > MSG_LOWEST && (to == SHORT_SELF || to == SHORT_ALL))
		return;
	/* INIT level de-assert sets arbitration ids on old buses, nothing else. */
	if (mode == MSG_INIT && (icr & MSG_LEVEL) && !(icr & MSG_ASSERT))
		return;
	if (to == SHORT_SELF)
		mask = self;
	else if (to)
		mask = to == SHORT_ALL ? ~0UL : ~self;
	else
		mask = destinations(src->vm, icr >> 32, icr & MSG_LOGICAL);
	deliver(src->vm, src, mask, icr & 0x7ff);
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
	vcpu = smp_load_acquire(&src->vm->vcpus[array_index_nospec(dest, HVX_MAX_VCPUS)]);
	if (likely(vcpu))
		deliver_fixed(vcpu, src, MSG_VECTOR(icr), false);
}

int hvx_pv_send_ipi(struct hvx_vcpu *src, u64 lo, u64 hi, u64 min, u64 icr, bool mode64)
{
	unsigned int mode = MSG_MODE(icr);

	/* Only vector and delivery mode, fixed or NMI; the destination is the bitmap. */
	if ((icr & ~0x7ffULL & ~(u64)MSG_ASSERT) || (mode != MSG_FIXED && mode != MSG_NMI) ||
	    (mode == MSG_FIXED && MSG_VECTOR(icr) < 16))
		return -EINVAL;
	if (!mode64) {
		lo = (u32)lo | hi << 32;
		min = (u32)min;
	}
	if (min >= HVX_MAX_VCPUS)
		return 0;
	src->stats.ipi_sent++;
	/* The bitmap's upper half in 64-bit mode starts at id min + 64: nobody there. */
	return deliver(src->vm, src, lo << min, icr & 0x7ff);
}

int hvx_deliver_msi(struct hvx_vm *vm, u64 address, u32 data)
{
	bool hint = address & BIT(3), logical = address & BIT(2);
	/* Address bits 11:5 are bits 14:8 of the destination ("extended destination id"). */
	u32 dest = (address >> 12 & 0xff) | (address >> 5 & 0x7f) << 8;
	u32 msg = data & (MSG_LEVEL | 0x7ff);

	if (address >> 20 != 0xfee || MSG_MODE(msg) == MSG_SIPI)
		return 0;
	if (dest == 0xff && !logical)
		dest = LAPIC_BROADCAST;
	if (MSG_MODE(msg) == MSG_FIXED && hint)
		msg |= MSG_LOWEST << 8;
	return deliver(vm, NULL, destinations(vm, dest, logical), msg);
}
