// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state groups of HVX_GET_STATE / HVX_SET_STATE and of the run page, and
 * what a vCPU looks like after power-up, INIT and SIPI. vcpu->lock is held.
 *
 * A group is checked whole before anything of it takes effect. The checks are
 * those of VMRUN (APM vol. 2 15.5.1) and VM entry (SDM vol. 3 "Checks on the
 * Guest State Area") that one group can be judged by; where two groups do not
 * fit together the entry fails with HVX_EXIT_FAIL_ENTRY.
 */
#include "backend.h"

#define FLAGS_MBZ	(~0x3f7fd7ULL)	/* reserved, but for bit 1, which reads as 1 */
#define SEG_ATTR_BITS	0x1fff
#define DR7_MBZ		(~0xffff27ffULL)
/* Vectors that push an error code (SDM vol. 3 table 6-1). */
#define CODE_VECTORS	(BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17) | BIT(21))

static bool zero(const void *p, size_t n)
{
	return !memchr_inv(p, 0, n);
}

static int set_regs(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_regs *r = buf;

	if ((r->rflags & FLAGS_MBZ) || !hvx_canonical(vcpu, r->rip))
		return -EINVAL;
	vcpu->gpr = *r;
	vcpu->rflags |= X86_EFLAGS_FIXED;
	return 0;
}

static void get_sregs(struct hvx_vcpu *vcpu, void *buf)
{
	struct hvx_sregs *s = buf;
	struct hvx_segment dtable;
	int i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < HVX_SEG_GDTR; i++)
		hvx_backend->get_segment(vcpu, i, &s->es + i);
	for (i = 0; i < 2; i++) {
		hvx_backend->get_segment(vcpu, HVX_SEG_GDTR + i, &dtable);
		(&s->gdtr)[i] = (struct hvx_dtable) { .base = dtable.base, .limit = dtable.limit };
	}
	s->cr0 = hvx_backend->get_cr(vcpu, 0);
	s->cr2 = vcpu->cr2;
	s->cr3 = hvx_backend->get_cr(vcpu, 3);
	s->cr4 = hvx_backend->get_cr(vcpu, 4);
	s->efer = vcpu->efer;
	s->cpl = HVX_SEG_DPL(s->ss.attr);
	s->cr8 = hvx_lapic_get_cr8(vcpu);
	s->apic_base = vcpu->apic_base;
}

static bool cr_ok(struct hvx_vcpu *vcpu, const struct hvx_sregs *s)
{
	bool lma = s->efer & EFER_LMA;

	if (s->cr0 & ~HVX_CR0_BITS || s->cr4 & ~vcpu->cr4_allowed || s->cr8 > 15 ||
	    s->efer & ~vcpu->efer_allowed)
		return false;
	if ((s->cr0 & X86_CR0_PG && !(s->cr0 & X86_CR0_PE)) ||
	    (s->cr0 & X86_CR0_NW && !(s->cr0 & X86_CR0_CD)))
		return false;
	if (lma != (s->efer & EFER_LME && s->cr0 & X86_CR0_PG))
		return false;
	if (lma && (!(s->cr4 & X86_CR4_PAE) || (s->cs.attr & HVX_SEG_L && s->cs.attr & HVX_SEG_DB)))
		return false;
	if (s->cr4 & X86_CR4_PCIDE && !lma)
		return false;
	return !(s->cr3 >> (lma ? vcpu->phys_bits : 32));
}

static bool segments_ok(struct hvx_vcpu *vcpu, const struct hvx_sregs *s)
{
	const struct hvx_segment *seg = &s->es;
	int i;

	/* ES CS SS DS have 32-bit bases, FS GS LDTR TR 64-bit ones. */
	for (i = 0; i < 8; i++, seg++) {
		if (seg->attr & ~SEG_ATTR_BITS)
			return false;
		if (i >= 4 && !hvx_canonical(vcpu, seg->base))
			return false;
		if (i < 4 && !(seg->attr & HVX_SEG_UNUSABLE) && seg->base >> 32)
			return false;
	}
	/* System segments, where they are there. */
	if ((s->ldtr.attr & HVX_SEG_P && s->ldtr.attr & HVX_SEG_S) ||
	    (s->tr.attr & HVX_SEG_P && s->tr.attr & HVX_SEG_S))
		return false;
	return hvx_canonical(vcpu, s->gdtr.base) && hvx_canonical(vcpu, s->idtr.base) &&
	       zero(s->gdtr.pad, sizeof(s->gdtr.pad)) && zero(s->idtr.pad, sizeof(s->idtr.pad));
}
static_assert(offsetof(struct hvx_sregs, tr) - offsetof(struct hvx_sregs, es) ==
	      7 * sizeof(struct hvx_segment));

static void load_sregs(struct hvx_vcpu *vcpu, const struct hvx_sregs *s)
{
	struct hvx_segment dtable;
	int i;

	vcpu->cr2 = s->cr2;
	hvx_backend->set_efer(vcpu, s->efer);
	hvx_backend->set_cr(vcpu, 3, s->cr3);
	hvx_backend->set_cr(vcpu, 4, s->cr4);
	hvx_backend->set_cr(vcpu, 0, s->cr0 | X86_CR0_ET);
	for (i = 0; i < HVX_SEG_GDTR; i++)
		hvx_backend->set_segment(vcpu, i, &s->es + i);
	for (i = 0; i < 2; i++) {
		dtable = (struct hvx_segment) { .base = (&s->gdtr)[i].base,
						.limit = (&s->gdtr)[i].limit };
		hvx_backend->set_segment(vcpu, HVX_SEG_GDTR + i, &dtable);
	}
}

static int set_sregs(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_sregs *s = buf;

	if (!cr_ok(vcpu, s) || !segments_ok(vcpu, s))
		return -EINVAL;
	/* The last thing that can fail. */
	if (s->apic_base != vcpu->apic_base && hvx_lapic_set_base(vcpu, s->apic_base, true))
		return -EINVAL;
	load_sregs(vcpu, s);
	hvx_lapic_set_cr8(vcpu, s->cr8);
	return 0;
}

static void get_events(struct hvx_vcpu *vcpu, void *buf)
{
	struct hvx_events *e = buf;

	*e = vcpu->ev;
	e->nmi_pending = min(e->nmi_pending + atomic_read(&vcpu->nmi_queued), 2);
	e->pv_unhalted = READ_ONCE(vcpu->pv.unhalted);
}

/* No event, or one that the CPU can deliver. */
static bool event_ok(u32 event)
{
	u32 vector = event & HVX_EVENT_VECTOR, what = event & ~(HVX_EVENT_VALID | HVX_EVENT_VECTOR);

	if (!event || event == (HVX_EVENT_NMI | HVX_EVENT_VALID))
		return true;
	if (!(event & HVX_EVENT_VALID) || what == HVX_EVENT_IRQ)
		return event & HVX_EVENT_VALID;
	return vector < 32 && vector != 2 &&
	       (what == HVX_EVENT_EXC ||
		(what == (HVX_EVENT_EXC | HVX_EVENT_HAS_CODE) && CODE_VECTORS & BIT(vector)));
}

static int set_events(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_events *e = buf;

	if (!event_ok(e->injected) || !event_ok(e->exception) || !event_ok(e->extint) ||
	    (e->exception && !hvx_event_is(e->exception, HVX_EVENT_EXC)) ||
	    !hvx_event_is(e->extint, HVX_EVENT_IRQ) || e->nmi_masked > 1 || e->nmi_pending > 2 ||
	    e->interrupt_shadow & ~(HVX_SHADOW_STI | HVX_SHADOW_MOV_SS) ||
	    e->mp_state > HVX_MP_WAIT_SIPI || e->pv_unhalted > 1 ||
	    !zero(e->pad, sizeof(e->pad)) || !zero(e->reserved, sizeof(e->reserved)))
		return -EINVAL;
	vcpu->ev = *e;
	/* Never cleared: another vCPU may have kicked since this was read. */
	if (e->pv_unhalted)
		WRITE_ONCE(vcpu->pv.unhalted, true);
	atomic_set(&vcpu->nmi_queued, 0);
	return 0;
}

static int set_debugregs(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_debugregs *d = buf;

	if (d->dr6 >> 32 || d->dr7 & DR7_MBZ || !zero(d->reserved, sizeof(d->reserved)))
		return -EINVAL;
	vcpu->dr = *d;
	vcpu->dr6 = (d->dr6 & HVX_DR6_BITS) | HVX_DR6_FIXED;
	vcpu->dr7 |= HVX_DR7_FIXED;
	hvx_backend->update(vcpu);
	return 0;
}

static void get_tsc(struct hvx_vcpu *vcpu, void *buf)
{
	*(struct hvx_tsc_state *)buf = (struct hvx_tsc_state) {
		.value = hvx_read_guest_tsc(vcpu), .offset = vcpu->tsc_offset, .khz = vcpu->tsc_khz,
	};
}

static int set_tsc(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_tsc_state *t = buf;

	if (t->flags & ~HVX_TSC_BY_OFFSET || !zero(t->reserved, sizeof(t->reserved)) ||
	    hvx_set_guest_tsc_khz(vcpu, t->khz))
		return -EINVAL;
	if (t->flags)
		hvx_set_tsc_offset(vcpu, t->offset);
	else
		hvx_write_guest_tsc(vcpu, t->value);
	return 0;
}

static const struct group {
	u16 size;
	u16 run;	/* offset in the run page, 0: not there */
	void (*get)(struct hvx_vcpu *vcpu, void *buf);	/* NULL: it is just copied */
	int (*set)(struct hvx_vcpu *vcpu, const void *buf);	/* 0 or -EINVAL */
	u16 at;		/* offset in struct hvx_vcpu, where it is just copied */
} groups[HVX_STATE_NR] = {
	[HVX_STATE_REGS] = { sizeof(struct hvx_regs), offsetof(struct hvx_run, regs),
			     NULL, set_regs, offsetof(struct hvx_vcpu, gpr) },
	[HVX_STATE_SREGS] = { sizeof(struct hvx_sregs), offsetof(struct hvx_run, sregs),
			      get_sregs, set_sregs },
	[HVX_STATE_EVENTS] = { sizeof(struct hvx_events), offsetof(struct hvx_run, events),
			       get_events, set_events },
	[HVX_STATE_DEBUGREGS] = { sizeof(struct hvx_debugregs), 0, NULL, set_debugregs,
				  offsetof(struct hvx_vcpu, dr) },
	[HVX_STATE_XSAVE] = { sizeof(struct hvx_xsave_hdr), 0, hvx_fpu_get, hvx_fpu_set },
	[HVX_STATE_LAPIC] = { sizeof(struct hvx_lapic_state), 0, hvx_lapic_get, hvx_lapic_set },
	[HVX_STATE_TSC] = { sizeof(struct hvx_tsc_state), 0, get_tsc, set_tsc },
};

static void get_group(struct hvx_vcpu *vcpu, const struct group *g, void *buf)
{
	if (g->get)
		g->get(vcpu, buf);
	else
		memcpy(buf, (void *)vcpu + g->at, g->size);
}

int hvx_state(struct hvx_vcpu *vcpu, u32 group, void *buf, u32 size, bool set)
{
	const struct group *g;

	if (group >= HVX_STATE_NR)
		return -EINVAL;
	g = &groups[array_index_nospec(group, HVX_STATE_NR)];
	if (size != g->size + (group == HVX_STATE_XSAVE ? hvx_xsave_size : 0))
		return -EINVAL;
	if (set)
		return g->set(vcpu, buf);
	get_group(vcpu, g, buf);
	return 0;
}

/* The page is shared: nothing that is written there is relied on afterwards. */
void hvx_state_to_run(struct hvx_vcpu *vcpu, u32 mask)
{
	unsigned int i;

	for (i = 0; mask >> i; i++)
		if (mask & BIT(i))
			get_group(vcpu, &groups[i], (void *)vcpu->run + groups[i].run);
}

int hvx_state_from_run(struct hvx_vcpu *vcpu, u32 mask)
{
	u64 copy[sizeof(struct hvx_sregs) / sizeof(u64)];
	unsigned int i;
	int r = 0;

	static_assert(sizeof(struct hvx_regs) <= sizeof(copy));
	static_assert(sizeof(struct hvx_events) <= sizeof(copy));
	if (mask & ~HVX_RUN_GROUPS)
		return -EINVAL;
	for (i = 0; !r && mask >> i; i++) {
		if (!(mask & BIT(i)))
			continue;
		/* Copied out first, then judged; the compiler must not go back to the page. */
		memcpy(copy, (void *)vcpu->run + groups[i].run, groups[i].size);
		barrier();
		r = groups[i].set(vcpu, copy);
	}
	return r;
}

/* SDM vol. 3 table 9-1, APM vol. 2 table 14-1. Attributes: present, accessed, and what it is. */
#define RESET_DATA	{ .limit = 0xffff, .attr = 0x93 }
static const struct hvx_sregs reset_sregs = {
	.es = RESET_DATA, .ss = RESET_DATA, .ds = RESET_DATA, .fs = RESET_DATA, .gs = RESET_DATA,
	.cs = { .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attr = 0x9b },
	.ldtr = { .limit = 0xffff, .attr = 0x82 },
	.tr = { .limit = 0xffff, .attr = 0x8b },	/* busy TSS */
	.gdtr = { .limit = 0xffff },
	.idtr = { .limit = 0xffff },
};

void hvx_vcpu_reset(struct hvx_vcpu *vcpu, bool init)
{
	const u64 cache = X86_CR0_CD | X86_CR0_NW;
	const struct hvx_cpuid_entry *sig = hvx_cpuid_find(vcpu, 1);
	struct hvx_sregs s = reset_sregs;

	s.cr0 |= init ? hvx_backend->get_cr(vcpu, 0) & cache : cache;
	vcpu->gpr = (struct hvx_regs) {
		.rdx = sig ? sig->eax : 0, .rip = 0xfff0, .rflags = X86_EFLAGS_FIXED,
	};
	vcpu->dr = (struct hvx_debugregs) { .dr6 = HVX_DR6_FIXED, .dr7 = HVX_DR7_FIXED };
	vcpu->ev = (struct hvx_events) {
		.mp_state = vcpu->id ? HVX_MP_WAIT_SIPI : HVX_MP_RUNNABLE,
	};
	atomic_set(&vcpu->nmi_queued, 0);
	vcpu->complete = HVX_EXIT_NONE;

	hvx_lapic_reset(vcpu, init);
	memset(&vcpu->pv, 0, sizeof(vcpu->pv));
	hvx_backend->vcpu_reset(vcpu, init);
	load_sregs(vcpu, &s);
	hvx_backend->update(vcpu);
	if (!init)
		hvx_msr_reset(vcpu);
}

/* SDM vol. 3 "MP Initialization". */
void hvx_serve_init_sipi(struct hvx_vcpu *vcpu)
{
	struct hvx_segment cs;
	u8 vector;

	if (test_and_clear_bit(0, &vcpu->init_sipi))
		hvx_vcpu_reset(vcpu, true);
	if (!test_and_clear_bit(1, &vcpu->init_sipi) || vcpu->ev.mp_state != HVX_MP_WAIT_SIPI)
		return;
	vector = READ_ONCE(vcpu->sipi_queued);
	hvx_backend->get_segment(vcpu, HVX_SEG_CS, &cs);
	cs.selector = vector << 8;
	cs.base = (u64)vector << 12;
	hvx_backend->set_segment(vcpu, HVX_SEG_CS, &cs);
	vcpu->rip = 0;
	vcpu->ev.mp_state = HVX_MP_RUNNABLE;
}
