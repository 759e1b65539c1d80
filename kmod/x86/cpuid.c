// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: what hvx and this host can offer, and what a vCPU's guest reads.
 *
 * The supported table is the host's CPUID through the masks below. A feature
 * is in a mask when the guest can use it with what hvx switches and intercepts:
 * no mask bit, no feature. The same masks bound what a guest may set in CR4,
 * EFER and XCR0, whatever table userspace has given it.
 */
#include <linux/sort.h>
#include <linux/mm.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>
#include <asm/tsc.h>
#include <uapi/asm/kvm_para.h>
#include "hvx.h"
#include "backend.h"

enum { EAX, EBX, ECX, EDX };

/* Sets of registers, for the table. */
#define A	BIT(EAX)
#define B	BIT(EBX)
#define C	BIT(ECX)
#define D	BIT(EDX)

#define F(name)		BIT(X86_FEATURE_##name & 31)

#define MAX_BASIC	0x1f
#define MAX_EXT		0x80000021
#define PV_BASE		KVM_CPUID_SIGNATURE
#define PV_SIGNATURE	"KVMKVMKVM\0\0"		/* 12 bytes */
#define PV_FREQ		(PV_BASE + 0x10)	/* TSC and APIC bus frequency, kHz */
#define PV_APIC_KHZ	1000000			/* the APIC timer counts nanoseconds */
#define PV_FEATURES	(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) |	\
			 BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_EOI) |	\
			 BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) |	\
			 BIT(KVM_FEATURE_POLL_CONTROL) | BIT(KVM_FEATURE_PV_SCHED_YIELD) | \
			 BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

/* XCR0 bits that a feature needs. */
#define X_ANY	BIT(0)
#define X_YMM	BIT(2)
#define X_ZMM	BIT(5)
#define X_PKRU	BIT(9)

#define L1_EDX_BOTH	(F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) |	\
			 F(MCE) | F(CX8) | F(APIC) | F(MTRR) | F(PGE) | F(MCA) |	\
			 F(CMOV) | F(PAT) | F(PSE36) | F(MMX) | F(FXSR))

/*
 * What passes from the host's registers to the guest's, and what is set
 * whatever the host says because it is emulated. A register is made from all of
 * its rows; a leaf without a row is not offered.
 */
static const struct policy {
	u32 leaf;
	s8  sub;		/* -1: every subleaf */
	u8  regs;
	u16 xcr0;		/* the row counts where guests may have this bit */
	u32 mask, always;
} policy[] = {
	{ 0x00,  0, B | C | D, 0, ~0 },
	{ 0x01,  0, A, 0, ~0 },
	{ 0x01,  0, B, 0, 0xff00 },
	/* OSXSAVE is worked out at each read. */
	{ 0x01,  0, C, 0, F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(CX16) | F(PCID) | F(XMM4_1) |
	  F(XMM4_2) | F(MOVBE) | F(POPCNT) | F(AES) | F(RDRAND),
	  F(X2APIC) | F(TSC_DEADLINE_TIMER) | F(HYPERVISOR) },
	{ 0x01,  0, C, X_ANY, F(XSAVE) },
	{ 0x01,  0, C, X_YMM, F(FMA) | F(AVX) | F(F16C) },
	{ 0x01,  0, D, 0, L1_EDX_BOTH | F(SEP) | F(CLFLUSH) | F(XMM) | F(XMM2) | F(SELFSNOOP),
	  F(APIC) | F(MTRR) },
	{ 0x02,  0, A | B | C | D, 0, ~0 },
	{ 0x04, -1, A, 0, 0x3fff },	/* not: how many CPUs share it */
	{ 0x04, -1, B | C | D, 0, ~0 },
	{ 0x06,  0, A, 0, 0, BIT(2) /* ARAT */ },
	{ 0x07,  0, A, 0, 0, 1 /* the highest subleaf */ },
	/* Not: SGX, HLE, RTM, PQM/PQE, MPX, PT. */
	{ 0x07,  0, B, 0, F(FSGSBASE) | F(BMI1) | F(FDP_EXCPTN_ONLY) | F(SMEP) | F(BMI2) | F(ERMS) |
	  F(INVPCID) | F(ZERO_FCS_FDS) | F(RDSEED) | F(ADX) | F(SMAP) | F(CLFLUSHOPT) | F(CLWB) |
	  F(SHA_NI), F(TSC_ADJUST) },
	{ 0x07,  0, B, X_YMM, F(AVX2) },
	{ 0x07,  0, B, X_ZMM, F(AVX512F) | F(AVX512DQ) | F(AVX512IFMA) | F(AVX512PF) |
	  F(AVX512ER) | F(AVX512CD) | F(AVX512BW) | F(AVX512VL) },
	/* Not: WAITPKG (an MSR of its own), CET, bus lock detect, ENQCMD, key locker. */
	{ 0x07,  0, C, 0, BIT(0) /* PREFETCHWT1 */ | F(UMIP) | F(GFNI) | F(LA57) | F(RDPID) |
	  F(CLDEMOTE) | F(MOVDIRI) | F(MOVDIR64B) },
	{ 0x07,  0, C, X_PKRU, F(PKU) },
	{ 0x07,  0, C, X_YMM, F(VAES) | F(VPCLMULQDQ) },
	{ 0x07,  0, C, X_ZMM, F(AVX512VBMI) | F(AVX512_VBMI2) | F(AVX512_VNNI) |
	  F(AVX512_BITALG) | F(AVX512_VPOPCNTDQ) },
	/* Not: SPEC_CTRL and its kin, ARCH_CAPABILITIES: their MSRs are not switched. */
	{ 0x07,  0, D, 0, BIT(4) /* FSRM */ | BIT(10) /* MD_CLEAR */ | BIT(14) /* SERIALIZE */ },
	{ 0x07,  0, D, X_ZMM, BIT(2) /* 4VNNIW */ | BIT(3) /* 4FMAPS */ |
	  BIT(8) /* VP2INTERSECT */ | BIT(23) /* FP16 */ },
	{ 0x07,  1, A, 0, BIT(7) /* CMPCCXADD */ | BIT(10) | BIT(11) | BIT(12) /* FZRM FSRS FSRC */ },
	{ 0x07,  1, A, X_YMM, BIT(0) /* SHA512 */ | BIT(1) /* SM3 */ | BIT(2) /* SM4 */ |
	  BIT(4) /* AVX_VNNI */ | BIT(23) /* AVX_IFMA */ },
	{ 0x07,  1, A, X_ZMM, BIT(5) /* AVX512_BF16 */ },
	{ 0x07,  1, D, 0, BIT(14) /* PREFETCHI */ },
	{ 0x07,  1, D, X_YMM, BIT(4) /* AVX_VNNI_INT8 */ | BIT(5) /* AVX_NE_CONVERT */ |
	  BIT(10) /* AVX_VNNI_INT16 */ },
	{ 0x0d,  1, A, 0, BIT(0) /* XSAVEOPT */ | BIT(1) /* XSAVEC */ | BIT(2) /* XGETBV1 */ },
	{ 0x15,  0, A | B | C, 0, ~0 },
	{ 0x16,  0, A | B | C, 0, 0xffff },
	{ 0x80000000, 0, B | C | D, 0, ~0 },
	{ 0x80000001, 0, A, 0, ~0 },
	/* Not: SVM, IBS, SKINIT, WDT, LWP, performance counters, MWAITX, DR masks. */
	{ 0x80000001, 0, C, 0, F(LAHF_LM) | F(CR8_LEGACY) | F(ABM) | F(SSE4A) | F(MISALIGNSSE) |
	  F(3DNOWPREFETCH) | F(TBM) | F(TOPOEXT) },
	{ 0x80000001, 0, C, X_YMM, F(XOP) | F(FMA4) },
	{ 0x80000001, 0, D, 0, L1_EDX_BOTH | F(SYSCALL) | F(NX) | F(MMXEXT) | F(FXSR_OPT) |
	  F(GBPAGES) | F(RDTSCP) | F(LM) | F(3DNOWEXT) | F(3DNOW) },
	{ 0x80000002, 0, A | B | C | D, 0, ~0 },
	{ 0x80000003, 0, A | B | C | D, 0, ~0 },
	{ 0x80000004, 0, A | B | C | D, 0, ~0 },
	{ 0x80000005, 0, A | B | C | D, 0, ~0 },
	{ 0x80000006, 0, A | B | C | D, 0, ~0 },
	{ 0x80000007, 0, D, 0, BIT(8) /* invariant TSC */ },
	{ 0x80000008, 0, A, 0, 0xff00 },
	/* The immunities are facts about the CPU; the IB* controls are not offered. */
	{ 0x80000008, 0, B, 0, BIT(0) /* CLZERO */ | BIT(2) /* XSAVEERPTR */ |
	  BIT(26) /* SSB_NO */ | BIT(29) /* BTC_NO */ },
	{ 0x80000019, 0, A | B, 0, ~0 },
	{ 0x8000001a, 0, A, 0, 7 },
	{ 0x8000001d, -1, A, 0, 0x3fff },
	{ 0x8000001d, -1, B | C | D, 0, ~0 },
	{ 0x80000021, 0, A, 0, BIT(0) /* no nested data BP */ | BIT(2) /* LFENCE serialises */ |
	  BIT(6) /* null selector clears base */ | BIT(29) /* SRSO_NO */ },
};
#define for_each_policy(p) for ((p) = policy; (p) < policy + ARRAY_SIZE(policy); (p)++)

/* One leaf of the supported table; false: not offered. */
static bool offered(u32 leaf, u32 sub, u32 *r)
{
	u32 max = cpuid_eax(leaf & 0x80000000), host[4];
	const struct policy *p;
	bool known = false;
	int i;

	memset(r, 0, 4 * sizeof(*r));
	if (leaf > max)
		return false;
	cpuid_count(leaf, sub, &host[EAX], &host[EBX], &host[ECX], &host[EDX]);
	for_each_policy(p) {
		if (p->leaf != leaf || (p->sub >= 0 && p->sub != sub))
			continue;
		known = true;
		if (p->xcr0 && !(hvx_xcr0_mask & p->xcr0))
			continue;
		for (i = 0; i < 4; i++)
			if (p->regs & BIT(i))
				r[i] |= (host[i] & p->mask) | p->always;
	}
	if (leaf == 0)
		r[EAX] = min_t(u32, max, MAX_BASIC);
	else if (leaf == 0x80000000)
		r[EAX] = min_t(u32, max, MAX_EXT);
	else if (leaf == 0x80000008)
		r[EAX] |= hvx_mmu_phys_bits();
	return known;
}

struct table {
	struct hvx_cpuid_entry *out;
	unsigned int room, count;
};

static void add(struct table *t, u32 leaf, u32 sub, u32 flags, const u32 *r)
{
	if (t->count < t->room)
		t->out[t->count] = (struct hvx_cpuid_entry) {
			.leaf = leaf, .subleaf = sub, .flags = flags,
			.eax = r[EAX], .ebx = r[EBX], .ecx = r[ECX], .edx = r[EDX],
		};
	t->count++;
}

/* Cache leaves 4 and 0x8000001d: subleaves up to the first of type 0. */
static void add_caches(struct table *t, u32 leaf)
{
	u32 sub, r[4];

	for (sub = 0; sub < 16; sub++) {
		if (!offered(leaf, sub, r) || !(r[EAX] & 0x1f))
			break;
		add(t, leaf, sub, HVX_CPUID_SUBLEAF, r);
	}
}

static void add_xsave(struct table *t)
{
	u32 r[4];
	int i;

	if (!hvx_xcr0_mask)
		return;
	add(t, 0xd, 0, HVX_CPUID_SUBLEAF, (const u32[4]) {
		hvx_xcr0_mask, hvx_xsave_size, hvx_xsave_size, hvx_xcr0_mask >> 32 });
	if (offered(0xd, 1, r)) {
		r[EBX] = r[EAX] & BIT(1) ? hvx_xsave_area_size(hvx_xcr0_mask, true) : 0;
		add(t, 0xd, 1, HVX_CPUID_SUBLEAF, r);
	}
	for (i = 2; i < 63; i++) {
		if (!(hvx_xcr0_mask & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
		r[ECX] &= BIT(1);	/* 64-byte aligned when compacted; not supervisor */
		r[EDX] = 0;
		add(t, 0xd, i, HVX_CPUID_SUBLEAF, r);
	}
}

static void add_pv(struct table *t)
{
	u32 r[4] = { PV_FREQ };

	memcpy(&r[EBX], PV_SIGNATURE, 12);
	add(t, PV_BASE, 0, 0, r);
	add(t, PV_BASE + 1, 0, 0, (const u32[4]) { PV_FEATURES });
	add(t, PV_FREQ, 0, 0, (const u32[4]) { tsc_khz, PV_APIC_KHZ });
}

/* Returns -E2BIG with the count where room is too small. */
int hvx_supported_cpuid(struct hvx_cpuid_entry *out, unsigned int room, unsigned int *count)
{
	struct table t = { .out = out, .room = room };
	const struct policy *p;
	u32 r[4];

	for_each_policy(p) {
		/* A leaf's rows stand together; the first one speaks for it. */
		if (p > policy && p->leaf == p[-1].leaf && p->sub == p[-1].sub)
			continue;
		if (p->leaf == 0x80000000)
			add_pv(&t);
		if (p->sub < 0)
			add_caches(&t, p->leaf);
		else if (p->leaf == 0xd)
			add_xsave(&t);
		else if (offered(p->leaf, p->sub, r) && (r[EAX] | r[EBX] | r[ECX] | r[EDX]))
			add(&t, p->leaf, p->sub, p->leaf == 7 ? HVX_CPUID_SUBLEAF : 0, r);
	}
	*count = t.count;
	return t.count > room ? -E2BIG : 0;
}

/* ------------------------------------------------------------ a vCPU's table */

#define IDX_NONE	0xffff
#define IDX_SLOW	0x8000		/* has subleaves, or bits that change */

static int cmp_entry(const void *a, const void *b)
{
	const struct hvx_cpuid_entry *x = a, *y = b;

	if (x->leaf != y->leaf)
		return x->leaf < y->leaf ? -1 : 1;
	if (x->subleaf != y->subleaf)
		return x->subleaf < y->subleaf ? -1 : 1;
	return 0;
}

/* Index of a leaf's first entry, in the form of vcpu->cpuid_basic[]. */
static u16 find_leaf(const struct hvx_vcpu *vcpu, u32 leaf)
{
	unsigned int i;

	for (i = 0; i < vcpu->cpuid_count && vcpu->cpuid[i].leaf < leaf; i++)
		;
	if (i == vcpu->cpuid_count || vcpu->cpuid[i].leaf != leaf)
		return IDX_NONE;
	if ((vcpu->cpuid[i].flags & HVX_CPUID_SUBLEAF) || leaf == 1 || leaf == 7 || leaf == 0xd)
		return i | IDX_SLOW;
	return i;
}

/* idx: of the leaf; IDX_NONE is past every table's end. */
static const struct hvx_cpuid_entry *find_subleaf(const struct hvx_vcpu *vcpu, u16 idx, u32 leaf,
						  u32 subleaf)
{
	unsigned int i = idx & ~IDX_SLOW;

	for (; i < vcpu->cpuid_count && vcpu->cpuid[i].leaf == leaf; i++)
		if (!(vcpu->cpuid[i].flags & HVX_CPUID_SUBLEAF) ||
		    vcpu->cpuid[i].subleaf == subleaf)
			return &vcpu->cpuid[i];
	return NULL;
}

const struct hvx_cpuid_entry *hvx_cpuid_find(struct hvx_vcpu *vcpu, u32 leaf, u32 subleaf)
{
	return find_subleaf(vcpu, find_leaf(vcpu, leaf), leaf, subleaf);
}

static void dynamic_bits(struct hvx_vcpu *vcpu, u32 leaf, u32 sub, u32 *r)
{
	if (leaf == 1) {
		r[ECX] &= ~F(OSXSAVE);
		r[ECX] |= hvx_backend->get_cr(vcpu, 4) & X86_CR4_OSXSAVE ? F(OSXSAVE) : 0;
		if (!(vcpu->apic_base & BIT(11)))
			r[EDX] &= ~F(APIC);
	} else if (leaf == 7 && sub == 0) {
		r[ECX] &= ~F(OSPKE);
		r[ECX] |= hvx_backend->get_cr(vcpu, 4) & X86_CR4_PKE ? F(OSPKE) : 0;
	} else if (leaf == 0xd && sub == 0) {
		r[EBX] = hvx_xsave_area_size(hvx_guest_xcr0(vcpu), false);
	} else if (leaf == 0xd && sub == 1) {
		/* Of the compacted format: without XSAVEC there is none. */
		r[EBX] = r[EAX] & BIT(1) ? hvx_xsave_area_size(hvx_guest_xcr0(vcpu), true) : 0;
	}
}

static void entry_regs(const struct hvx_cpuid_entry *e, u32 *r)
{
	r[EAX] = e->eax;
	r[EBX] = e->ebx;
	r[ECX] = e->ecx;
	r[EDX] = e->edx;
}

/* Apart from hvx_cpuid() so that its array costs the plain leaves nothing. */
static noinline void cpuid_slow(struct hvx_vcpu *vcpu, u16 idx, u32 *eax, u32 *ebx, u32 *ecx,
				u32 *edx)
{
	u32 leaf = *eax, sub = *ecx, r[4] = { 0 };
	const struct hvx_cpuid_entry *e = find_subleaf(vcpu, idx, leaf, sub);

	if (e) {
		entry_regs(e, r);
		dynamic_bits(vcpu, leaf, sub, r);
	} else if ((leaf == 0xb || leaf == 0x1f) && idx != IDX_NONE) {
		/* Past the last level: the level asked for, and still the x2APIC id. */
		r[ECX] = sub & 0xff;
		r[EDX] = vcpu->cpuid[idx & ~IDX_SLOW].edx;
	}
	*eax = r[EAX];
	*ebx = r[EBX];
	*ecx = r[ECX];
	*edx = r[EDX];
}

void hvx_cpuid(struct hvx_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	u32 leaf = *eax;
	u16 idx;

	if (leaf < ARRAY_SIZE(vcpu->cpuid_basic))
		idx = vcpu->cpuid_basic[leaf];
	else if (leaf - 0x80000000 < ARRAY_SIZE(vcpu->cpuid_ext))
		idx = vcpu->cpuid_ext[leaf - 0x80000000];
	else
		idx = find_leaf(vcpu, leaf);

	if (likely(idx < IDX_SLOW)) {
		const struct hvx_cpuid_entry *e = &vcpu->cpuid[idx];

		*eax = e->eax;
		*ebx = e->ebx;
		*ecx = e->ecx;
		*edx = e->edx;
		return;
	}
	cpuid_slow(vcpu, idx, eax, ebx, ecx, edx);
}

/* The features that decide what the guest may set in CR4 and EFER. */
static const struct {
	u32 leaf;
	int reg;
	u32 feature;
	u64 cr4, efer;
} controls[] = {
	{ 1, ECX, F(PCID), X86_CR4_PCIDE },
	{ 1, ECX, F(XSAVE), X86_CR4_OSXSAVE },
	{ 7, EBX, F(FSGSBASE), X86_CR4_FSGSBASE },
	{ 7, EBX, F(SMEP), X86_CR4_SMEP },
	{ 7, EBX, F(SMAP), X86_CR4_SMAP },
	{ 7, ECX, F(UMIP), X86_CR4_UMIP },
	{ 7, ECX, F(LA57), X86_CR4_LA57 },
	{ 7, ECX, F(PKU), X86_CR4_PKE },
	{ 0x80000001, EDX, F(SYSCALL), 0, EFER_SCE },
	{ 0x80000001, EDX, F(LM), 0, EFER_LME | EFER_LMA },
	{ 0x80000001, EDX, F(NX), 0, EFER_NX },
	{ 0x80000001, EDX, F(FXSR_OPT), 0, EFER_FFXSR },
};
/* What every 64-bit CPU has; PCE too: RDPMC is intercepted. */
#define CR4_BASE	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | \
			 X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE |	\
			 X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

static u32 table_pv_features(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e;
	u32 base;

	/* A second signature may stand before it: the next base is 0x100 on. */
	for (base = PV_BASE; base <= PV_BASE + 0x100; base += 0x100) {
		e = hvx_cpuid_find(vcpu, base, 0);
		if (!e || memcmp(&e->ebx, PV_SIGNATURE, 12))
			continue;
		e = hvx_cpuid_find(vcpu, base + 1, 0);
		return e ? e->eax & PV_FEATURES : 0;
	}
	return 0;
}

/* Everything that follows from the table; no table: everything that hvx offers. */
void hvx_cpuid_init(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e;
	u32 host[4], guest[4];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->cpuid_basic); i++)
		vcpu->cpuid_basic[i] = find_leaf(vcpu, i);
	for (i = 0; i < ARRAY_SIZE(vcpu->cpuid_ext); i++)
		vcpu->cpuid_ext[i] = find_leaf(vcpu, 0x80000000 + i);

	vcpu->cr4_allowed = CR4_BASE;
	vcpu->efer_allowed = 0;
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		offered(controls[i].leaf, 0, host);
		memset(guest, vcpu->cpuid ? 0 : 0xff, sizeof(guest));
		e = hvx_cpuid_find(vcpu, controls[i].leaf, 0);
		if (e)
			entry_regs(e, guest);
		if (host[controls[i].reg] & guest[controls[i].reg] & controls[i].feature) {
			vcpu->cr4_allowed |= controls[i].cr4;
			vcpu->efer_allowed |= controls[i].efer;
		}
	}

	vcpu->xcr0_allowed = vcpu->cr4_allowed & X86_CR4_OSXSAVE ? hvx_xcr0_mask : 0;
	vcpu->phys_bits = hvx_mmu_phys_bits();
	vcpu->pv_features = 0;
	if (vcpu->cpuid) {
		e = hvx_cpuid_find(vcpu, 0xd, 0);
		vcpu->xcr0_allowed &= e ? e->eax | (u64)e->edx << 32 : 0;
		e = hvx_cpuid_find(vcpu, 0x80000008, 0);
		vcpu->phys_bits = min_t(u32, vcpu->phys_bits, e ? e->eax & 0xff : 36);
		vcpu->pv_features = table_pv_features(vcpu);
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
		/* Sorted: twice the same, or one for all beside one for a subleaf. */
		if (i && e[i].leaf == e[i - 1].leaf &&
		    (e[i].subleaf == e[i - 1].subleaf ||
		     !(e[i - 1].flags & HVX_CPUID_SUBLEAF)))
			return false;
	}
	return true;
}

int hvx_vcpu_set_cpuid(struct hvx_vcpu *vcpu, struct hvx_cpuid_entry *e, unsigned int count)
{
	if (count > HVX_MAX_CPUID)
		return -EINVAL;
	sort(e, count, sizeof(*e), cmp_entry, NULL);
	if (!table_ok(e, count))
		return -EINVAL;

	if (vcpu->launched) {
		if (count != vcpu->cpuid_count ||
		    memcmp(e, vcpu->cpuid, count * sizeof(*e)))
			return -EBUSY;
		kvfree(e);
		return 0;
	}
	kvfree(vcpu->cpuid);
	vcpu->cpuid = e;
	vcpu->cpuid_count = count;
	hvx_cpuid_init(vcpu);
	hvx_backend->update_cpuid(vcpu);
	return 0;
}
