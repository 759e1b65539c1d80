// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: userspace writes the table, the module answers from it. What the
 * table claims is information for the guest; what the guest may then turn on
 * is never more than the host has and the module switches: controls[] below,
 * hvx_xcr0_mask, and PV_FEATURES.
 */
#include <uapi/asm/kvm_para.h>
#include "backend.h"

enum { EAX, ECX, EDX, EBX };	/* as in vcpu->regs[] */

#define F(name)		BIT(X86_FEATURE_##name & 31)

#define PV_SIGNATURE	"KVMKVMKVM\0\0"		/* 12 bytes */
#define PV_FEATURES	(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) |	\
			 BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_EOI) |	\
			 BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) |	\
			 BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

/* What every 64-bit CPU has; PCE too: RDPMC is intercepted. */
#define CR4_BASE	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | \
			 X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE |	\
			 X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

/*
 * The features that the module virtualises by more than letting the CPU execute
 * them: what the guest may set, or what exists for it, where both the host and
 * the guest's table have the bit.
 */
static const struct control {
	u32 leaf;
	u8 reg;
	bool emulated;		/* whatever the host has */
	u32 feature;
	u64 cr4, efer, caps;
	u32 subleaf;
} controls[] = {
	{ 1, ECX, false, F(PCID), X86_CR4_PCIDE },
	{ 1, ECX, false, F(XSAVE), X86_CR4_OSXSAVE },
	{ 1, ECX, true, F(X2APIC), 0, 0, HVX_CAP_X2APIC },
	{ 7, EBX, false, F(FSGSBASE), X86_CR4_FSGSBASE },
	{ 7, EBX, false, F(SMEP), X86_CR4_SMEP },
	{ 7, EBX, false, F(INVPCID), 0, 0, HVX_CAP_INVPCID },
	{ 7, EBX, false, F(SMAP), X86_CR4_SMAP },
	{ 7, ECX, false, F(UMIP), X86_CR4_UMIP },
	{ 7, ECX, false, F(PKU), X86_CR4_PKE },
	{ 7, ECX, false, F(LA57), X86_CR4_LA57 },
	{ 7, ECX, false, F(RDPID), 0, 0, HVX_CAP_RDPID },
	{ 0xd, EAX, false, F(XSAVES), 0, 0, HVX_CAP_XSAVES, 1 },
	{ 0x80000001, EDX, false, F(SYSCALL), 0, EFER_SCE },
	{ 0x80000001, EDX, false, F(NX), 0, EFER_NX },
	{ 0x80000001, EDX, false, F(FXSR_OPT), 0, EFER_FFXSR },
	{ 0x80000001, EDX, false, F(RDTSCP), 0, 0, HVX_CAP_RDTSCP },
	{ 0x80000001, EDX, false, F(LM), 0, EFER_LME | EFER_LMA },
};

static u64 key(const struct hvx_cpuid_entry *e)
{
	return (u64)e->leaf << 32 | e->subleaf;
}

static bool answers(const struct hvx_cpuid_entry *e, u32 subleaf)
{
	return e && (e->subleaf == subleaf || !(e->flags & HVX_CPUID_SUBLEAF));
}

/* The entry for a leaf and subleaf, or the one before its place; NULL: no such leaf. */
static const struct hvx_cpuid_entry *find_near(const struct hvx_vcpu *vcpu, u32 leaf, u32 subleaf)
{
	const struct hvx_cpuid_entry *e = vcpu->cpuid;
	unsigned int lo = 0, hi = vcpu->cpuid_count;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (key(&e[mid]) <= ((u64)leaf << 32 | subleaf))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && e[lo - 1].leaf == leaf ? &e[lo - 1] : NULL;
}

const struct hvx_cpuid_entry *hvx_cpuid_find(const struct hvx_vcpu *vcpu, u32 leaf)
{
	const struct hvx_cpuid_entry *e = find_near(vcpu, leaf, 0);

	return answers(e, 0) ? e : NULL;
}

/* The bits that change. Apart from hvx_cpuid(), so that the plain leaves pay nothing. */
static noinline void dynamic_bits(struct hvx_vcpu *vcpu, u32 leaf, u32 sub)
{
	u64 cr4 = hvx_backend->get_cr(vcpu, 4), *r = vcpu->regs;

	if (leaf == 1) {
		r[ECX] = (r[ECX] & ~(u64)F(OSXSAVE)) | (cr4 & X86_CR4_OSXSAVE ? F(OSXSAVE) : 0);
		if (!(vcpu->apic_base & BIT(11)))
			r[EDX] &= ~(u64)F(APIC);
	} else if (leaf == 7 && sub == 0) {
		r[ECX] = (r[ECX] & ~(u64)F(OSPKE)) | (cr4 & X86_CR4_PKE ? F(OSPKE) : 0);
	} else if (leaf == 0xd && sub <= 1) {
		/* Without XSAVEC and XSAVES nothing is compacted. */
		r[EBX] = !sub || r[EAX] & (F(XSAVEC) | F(XSAVES)) ? hvx_xsave_bytes(vcpu, sub) : 0;
	}
}

void hvx_cpuid(struct hvx_vcpu *vcpu)
{
	u32 leaf = vcpu->regs[EAX], sub = vcpu->regs[ECX];
	u16 *hint = &vcpu->cpuid_hint[(leaf ^ leaf >> 26) % ARRAY_SIZE(vcpu->cpuid_hint)];
	const struct hvx_cpuid_entry *e = vcpu->cpuid_count ? &vcpu->cpuid[*hint] : NULL;

	/* Guests ask for a few leaves again and again. */
	if (unlikely(!e || e->leaf != leaf || !answers(e, sub))) {
		e = find_near(vcpu, leaf, sub);
		*hint = e ? e - vcpu->cpuid : 0;
	}
	if (likely(answers(e, sub))) {
		vcpu->regs[EAX] = e->eax;
		vcpu->regs[ECX] = e->ecx;
		vcpu->regs[EDX] = e->edx;
		vcpu->regs[EBX] = e->ebx;
		if (leaf == 1 || leaf == 7 || leaf == 0xd)
			dynamic_bits(vcpu, leaf, sub);
		return;
	}
	vcpu->regs[EAX] = vcpu->regs[ECX] = vcpu->regs[EDX] = vcpu->regs[EBX] = 0;
	if (e && (leaf == 0xb || leaf == 0x1f)) {
		/* Past the last level: the level asked for, and still the x2APIC id. */
		vcpu->regs[ECX] = sub & 0xff;
		vcpu->regs[EDX] = e->edx;
	}
}

static u32 pv_features(const struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e;
	u32 base;

	/* A second signature may stand before it: the next base is 0x100 on. */
	for (base = KVM_CPUID_SIGNATURE; base <= KVM_CPUID_SIGNATURE + 0x100; base += 0x100) {
		e = hvx_cpuid_find(vcpu, base);
		if (!e || memcmp(&e->ebx, PV_SIGNATURE, 12))
			continue;
		e = hvx_cpuid_find(vcpu, base + 1);
		return e ? e->eax & PV_FEATURES : 0;
	}
	return 0;
}

/* What a guest may be given: with the vCPU's table, or (NULL) the most there can be. */
void hvx_cpuid_limits(const struct hvx_vcpu *vcpu, u64 *cr4, u64 *efer, u64 *caps)
{
	const struct hvx_cpuid_entry *e;
	const struct control *c;
	u32 r[4];

	*cr4 = CR4_BASE;
	*efer = 0;
	*caps = vcpu ? pv_features(vcpu) : PV_FEATURES;
	for (c = controls; c < controls + ARRAY_SIZE(controls); c++) {
		cpuid_count(c->leaf, c->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
		if (!c->emulated && !(r[c->reg] & c->feature))
			continue;
		if (vcpu && vcpu->cpuid) {
			e = find_near(vcpu, c->leaf, c->subleaf);
			if (!answers(e, c->subleaf) ||
			    !((c->reg == EAX ? e->eax : c->reg == EBX ? e->ebx :
			       c->reg == ECX ? e->ecx : e->edx) & c->feature))
				continue;
		}
		*cr4 |= c->cr4;
		*efer |= c->efer;
		*caps |= c->caps;
	}
	if (!(hvx_backend->features & HVX_FEAT_XSAVES))
		*caps &= ~HVX_CAP_XSAVES;
	/* The kernel may leave PKU alone; then PKRU is not switched. */
	if (!(hvx_xcr0_mask & XFEATURE_MASK_PKRU))
		*cr4 &= ~(u64)X86_CR4_PKE;
}

/* Everything that follows from the table; no table: everything that hvx offers. */
void hvx_cpuid_init(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e;

	hvx_cpuid_limits(vcpu, &vcpu->cr4_allowed, &vcpu->efer_allowed, &vcpu->caps);
	vcpu->xcr0_allowed = vcpu->cr4_allowed & X86_CR4_OSXSAVE ? hvx_xcr0_mask : 0;
	vcpu->phys_bits = hvx_mmu_phys_bits();
	if (vcpu->cpuid) {
		e = hvx_cpuid_find(vcpu, 0xd);
		vcpu->xcr0_allowed &= e ? e->eax | (u64)e->edx << 32 : 0;
		e = hvx_cpuid_find(vcpu, 0x80000008);
		vcpu->phys_bits = min_t(u32, vcpu->phys_bits, e ? e->eax & 0xff : 36);
	}
}

static bool table_ok(const struct hvx_cpuid_entry *e, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if ((e[i].flags & ~HVX_CPUID_SUBLEAF) || e[i].pad)
			return false;
		if (!(e[i].flags & HVX_CPUID_SUBLEAF) && e[i].subleaf)
			return false;
		if (e[i].leaf == 0x80000008 && ((e[i].eax & 0xff) < 32 || (e[i].eax & 0xff) > 52))
			return false;
		/* In order, nothing twice, nothing after an entry for every subleaf. */
		if (i && (key(&e[i]) <= key(&e[i - 1]) ||
			  (e[i].leaf == e[i - 1].leaf && !(e[i - 1].flags & HVX_CPUID_SUBLEAF))))
			return false;
	}
	return true;
}

int hvx_vcpu_set_cpuid(struct hvx_vcpu *vcpu, struct hvx_cpuid_entry *e, unsigned int count)
{
	if (!table_ok(e, count))
		return -EINVAL;
	if (vcpu->launched) {
		if (count != vcpu->cpuid_count || memcmp(e, vcpu->cpuid, count * sizeof(*e)))
			return -EBUSY;
		kvfree(e);
		return 0;
	}
	kvfree(vcpu->cpuid);
	vcpu->cpuid = e;
	vcpu->cpuid_count = count;
	memset(vcpu->cpuid_hint, 0, sizeof(vcpu->cpuid_hint));
	hvx_cpuid_init(vcpu);
	hvx_backend->update(vcpu);
	return 0;
}
