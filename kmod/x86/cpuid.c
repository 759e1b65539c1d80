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

#define F(name)		BIT(X86_FEATURE_##name & 31)

#define L1_ECX_AVX	(F(FMA) | F(AVX) | F(F16C))
#define L1_ECX		(F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(CX16) | F(PCID) |	\
			 F(XMM4_1) | F(XMM4_2) | F(MOVBE) | F(POPCNT) | F(AES) |	\
			 F(XSAVE) | F(RDRAND) | L1_ECX_AVX)
/* Emulated, so offered on every host. OSXSAVE is worked out at each read. */
#define L1_ECX_ALWAYS	(F(X2APIC) | F(TSC_DEADLINE_TIMER) | F(HYPERVISOR))
#define L1_EDX_BOTH	(F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) |	\
			 F(MCE) | F(CX8) | F(APIC) | F(MTRR) | F(PGE) | F(MCA) |	\
			 F(CMOV) | F(PAT) | F(PSE36) | F(MMX) | F(FXSR))
#define L1_EDX		(L1_EDX_BOTH | F(SEP) | F(CLFLUSH) | F(XMM) | F(XMM2) | F(SELFSNOOP))

#define L7_EBX_AVX	F(AVX2)
#define L7_EBX_AVX512	(F(AVX512F) | F(AVX512DQ) | F(AVX512IFMA) | F(AVX512PF) |	\
			 F(AVX512ER) | F(AVX512CD) | F(AVX512BW) | F(AVX512VL))
/* Not: SGX, HLE, RTM, PQM/PQE, MPX, PT. */
#define L7_EBX		(F(FSGSBASE) | F(BMI1) | F(FDP_EXCPTN_ONLY) | F(SMEP) | F(BMI2) |	\
			 F(ERMS) | F(INVPCID) | F(ZERO_FCS_FDS) | F(RDSEED) | F(ADX) |	\
			 F(SMAP) | F(CLFLUSHOPT) | F(CLWB) | F(SHA_NI) |		\
			 L7_EBX_AVX | L7_EBX_AVX512)
#define L7_EBX_ALWAYS	F(TSC_ADJUST)
#define L7_ECX_AVX	(F(VAES) | F(VPCLMULQDQ))
#define L7_ECX_AVX512	(F(AVX512VBMI) | F(AVX512_VBMI2) | F(AVX512_VNNI) |		\
			 F(AVX512_BITALG) | F(AVX512_VPOPCNTDQ))
/* Not: WAITPKG (an MSR of its own), CET, bus lock detect, ENQCMD, key locker. */
#define L7_ECX		(BIT(0) /* PREFETCHWT1 */ | F(UMIP) | F(PKU) | F(GFNI) | F(LA57) |	\
			 F(RDPID) | F(CLDEMOTE) | F(MOVDIRI) | F(MOVDIR64B) |		\
			 L7_ECX_AVX | L7_ECX_AVX512)
#define L7_EDX_AVX512	(BIT(2) /* 4VNNIW */ | BIT(3) /* 4FMAPS */ |			\
			 BIT(8) /* VP2INTERSECT */ | BIT(23) /* FP16 */)
/* Not: SPEC_CTRL and its kin, ARCH_CAPABILITIES: their MSRs are not switched. */
#define L7_EDX		(BIT(4) /* FSRM */ | BIT(10) /* MD_CLEAR */ |			\
			 BIT(14) /* SERIALIZE */ | L7_EDX_AVX512)

#define L7_1_EAX_AVX	(BIT(0) /* SHA512 */ | BIT(1) /* SM3 */ | BIT(2) /* SM4 */ |	\
			 BIT(4) /* AVX_VNNI */ | BIT(23) /* AVX_IFMA */)
#define L7_1_EAX_AVX512	BIT(5) /* AVX512_BF16 */
#define L7_1_EAX	(BIT(7) /* CMPCCXADD */ | BIT(10) | BIT(11) | BIT(12) /* FZRM FSRS FSRC */ | \
			 L7_1_EAX_AVX | L7_1_EAX_AVX512)
#define L7_1_EDX_AVX	(BIT(4) /* AVX_VNNI_INT8 */ | BIT(5) /* AVX_NE_CONVERT */ |	\
			 BIT(10) /* AVX_VNNI_INT16 */)
#define L7_1_EDX	(BIT(14) /* PREFETCHI */ | L7_1_EDX_AVX)

#define LD_1_EAX	(BIT(0) /* XSAVEOPT */ | BIT(1) /* XSAVEC */ | BIT(2) /* XGETBV1 */)

/* Not: SVM, IBS, SKINIT, WDT, LWP, performance counters, MWAITX, DR masks. */
#define X1_ECX		(F(LAHF_LM) | F(CR8_LEGACY) | F(ABM) | F(SSE4A) | F(MISALIGNSSE) |	\
			 F(3DNOWPREFETCH) | F(TBM) | F(TOPOEXT) | X1_ECX_AVX)
#define X1_ECX_AVX	(F(XOP) | F(FMA4))
#define X1_EDX		(L1_EDX_BOTH | F(SYSCALL) | F(NX) | F(MMXEXT) | F(FXSR_OPT) |	\
			 F(GBPAGES) | F(RDTSCP) | F(LM) | F(3DNOWEXT) | F(3DNOW))
#define X7_EDX		BIT(8)	/* invariant TSC */
/* The immunities are facts about the CPU; the IB* controls are not offered. */
#define X8_EBX		(BIT(0) /* CLZERO */ | BIT(2) /* XSAVEERPTR */ |		\
			 BIT(26) /* SSB_NO */ | BIT(29) /* BTC_NO */)
#define X21_EAX		(BIT(0) /* no nested data BP */ | BIT(2) /* LFENCE serialises */ |	\
			 BIT(6) /* null selector clears base */ | BIT(29) /* SRSO_NO */)

#define MAX_BASIC	0x1f
#define MAX_EXT		0x80000021
#define PV_BASE		KVM_CPUID_SIGNATURE
#define PV_FREQ		(PV_BASE + 0x10)	/* TSC and APIC bus frequency, kHz */
#define PV_APIC_KHZ	1000000			/* the APIC timer counts nanoseconds */
#define PV_FEATURES	(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) |	\
			 BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_EOI) |	\
			 BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) |	\
			 BIT(KVM_FEATURE_POLL_CONTROL) | BIT(KVM_FEATURE_PV_SCHED_YIELD) | \
			 BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

static void mask_avx(u32 leaf, u32 sub, u32 *r)
{
	bool no_avx = !(hvx_xcr0_mask & BIT(2));
	bool no_avx512 = !(hvx_xcr0_mask & BIT(5));

	if (leaf == 1 && !hvx_xcr0_mask)
		r[ECX] &= ~F(XSAVE);
	if (leaf == 1 && no_avx)
		r[ECX] &= ~L1_ECX_AVX;
	if (leaf == 0x80000001 && no_avx)
		r[ECX] &= ~X1_ECX_AVX;
	if (leaf != 7)
		return;
	if (sub == 0) {
		if (!(hvx_xcr0_mask & BIT(9)))
			r[ECX] &= ~F(PKU);
		r[EBX] &= ~((no_avx ? L7_EBX_AVX : 0) | (no_avx512 ? L7_EBX_AVX512 : 0));
		r[ECX] &= ~((no_avx ? L7_ECX_AVX : 0) | (no_avx512 ? L7_ECX_AVX512 : 0));
		r[EDX] &= ~(no_avx512 ? L7_EDX_AVX512 : 0);
	} else {
		r[EAX] &= ~((no_avx ? L7_1_EAX_AVX : 0) | (no_avx512 ? L7_1_EAX_AVX512 : 0));
		r[EDX] &= ~(no_avx ? L7_1_EDX_AVX : 0);
	}
}

/* Masks of EAX..EDX; a leaf that is not here reads zero. */
struct leaf_mask {
	u32 leaf;
	s8  sub;		/* -1: every subleaf */
	u32 mask[4];
	u32 always[4];
};

static const struct leaf_mask masks[] = {
	{ 0x00,  0, { 0, ~0, ~0, ~0 } },
	{ 0x01,  0, { ~0, 0xff00, L1_ECX, L1_EDX }, { 0, 0, L1_ECX_ALWAYS, F(APIC) | F(MTRR) } },
	{ 0x02,  0, { ~0, ~0, ~0, ~0 } },
	{ 0x04, -1, { 0x3fff, ~0, ~0, ~0 } },	/* not: how many CPUs share it */
	{ 0x06,  0, { 0 }, { BIT(2) /* ARAT */ } },
	{ 0x07,  0, { 0, L7_EBX, L7_ECX, L7_EDX }, { 1, L7_EBX_ALWAYS } },
	{ 0x07,  1, { L7_1_EAX, 0, 0, L7_1_EDX } },
	{ 0x0d,  1, { LD_1_EAX } },
	{ 0x15,  0, { ~0, ~0, ~0, 0 } },
	{ 0x16,  0, { 0xffff, 0xffff, 0xffff, 0 } },
	{ 0x80000000, 0, { 0, ~0, ~0, ~0 } },
	{ 0x80000001, 0, { ~0, 0, X1_ECX, X1_EDX } },
	{ 0x80000002, 0, { ~0, ~0, ~0, ~0 } },
	{ 0x80000003, 0, { ~0, ~0, ~0, ~0 } },
	{ 0x80000004, 0, { ~0, ~0, ~0, ~0 } },
	{ 0x80000005, 0, { ~0, ~0, ~0, ~0 } },
	{ 0x80000006, 0, { ~0, ~0, ~0, ~0 } },
	{ 0x80000007, 0, { 0, 0, 0, X7_EDX } },
	{ 0x80000008, 0, { 0xff00, X8_EBX, 0, 0 } },
	{ 0x80000019, 0, { ~0, ~0, 0, 0 } },
	{ 0x8000001a, 0, { 7, 0, 0, 0 } },
	{ 0x8000001d, -1, { 0x3fff, ~0, ~0, ~0 } },
	{ 0x80000021, 0, { X21_EAX } },
};

static u32 host_max(u32 leaf)
{
	return cpuid_eax(leaf & 0x80000000);
}

/* One leaf of the supported table; false: not offered. */
static bool offered(u32 leaf, u32 sub, u32 *r)
{
	const struct leaf_mask *m;
	int i;

	memset(r, 0, 4 * sizeof(*r));
	for (m = masks; m < masks + ARRAY_SIZE(masks); m++)
		if (m->leaf == leaf && (m->sub < 0 || m->sub == sub))
			break;
	if (m == masks + ARRAY_SIZE(masks) || leaf > host_max(leaf))
		return false;

	cpuid_count(leaf, sub, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
	for (i = 0; i < 4; i++)
		r[i] = (r[i] & m->mask[i]) | m->always[i];
	mask_avx(leaf, sub, r);
	if (leaf == 0)
		r[EAX] = min_t(u32, host_max(0), MAX_BASIC);
	else if (leaf == 0x80000000)
		r[EAX] = min_t(u32, host_max(leaf), MAX_EXT);
	else if (leaf == 0x80000008)
		r[EAX] |= hvx_mmu_phys_bits();
	else if (leaf == 7 && sub == 1)
		r[EBX] = r[ECX] = 0;
	return true;
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
	r[EAX] = (u32)hvx_xcr0_mask;
	r[EDX] = hvx_xcr0_mask >> 32;
	r[EBX] = hvx_xsave_size;
	r[ECX] = hvx_xsave_size;
	add(t, 0xd, 0, HVX_CPUID_SUBLEAF, r);
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
	static const char sig[12] = "KVMKVMKVM";
	u32 r[4] = { PV_FREQ };

	memcpy(&r[EBX], sig, sizeof(sig));
	add(t, PV_BASE, 0, 0, r);
	add(t, PV_BASE + 1, 0, 0, (const u32[4]) { PV_FEATURES });
	add(t, PV_FREQ, 0, 0, (const u32[4]) { tsc_khz, PV_APIC_KHZ });
}

/* Returns -E2BIG with the count where room is too small. */
int hvx_supported_cpuid(struct hvx_cpuid_entry *out, unsigned int room, unsigned int *count)
{
	struct table t = { .out = out, .room = room };
	const struct leaf_mask *m;
	u32 last = ~0, r[4];

	for (m = masks; m < masks + ARRAY_SIZE(masks); m++) {
		if (m->leaf >= PV_BASE && last < PV_BASE)
			add_pv(&t);
		if (m->sub < 0)
			add_caches(&t, m->leaf);
		else if (m->leaf == 0xd)
			add_xsave(&t);
		else if (offered(m->leaf, m->sub, r) &&
			 (r[EAX] | r[EBX] | r[ECX] | r[EDX]))
			add(&t, m->leaf, m->sub, m->leaf == 7 ? HVX_CPUID_SUBLEAF : 0, r);
		last = m->leaf;
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
	unsigned int lo = 0, hi = vcpu->cpuid_count;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (vcpu->cpuid[mid].leaf < leaf)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == vcpu->cpuid_count || vcpu->cpuid[lo].leaf != leaf)
		return IDX_NONE;
	if ((vcpu->cpuid[lo].flags & HVX_CPUID_SUBLEAF) || leaf == 1 || leaf == 7 || leaf == 0xd)
		return lo | IDX_SLOW;
	return lo;
}

static const struct hvx_cpuid_entry *find_subleaf(const struct hvx_vcpu *vcpu, u16 idx, u32 subleaf)
{
	const struct hvx_cpuid_entry *e, *end;
	u32 leaf;

	if (idx == IDX_NONE)
		return NULL;
	e = &vcpu->cpuid[idx & ~IDX_SLOW];
	end = &vcpu->cpuid[vcpu->cpuid_count];
	for (leaf = e->leaf; e < end && e->leaf == leaf; e++)
		if (!(e->flags & HVX_CPUID_SUBLEAF) || e->subleaf == subleaf)
			return e;
	return NULL;
}

const struct hvx_cpuid_entry *hvx_cpuid_find(struct hvx_vcpu *vcpu, u32 leaf, u32 subleaf)
{
	return find_subleaf(vcpu, find_leaf(vcpu, leaf), subleaf);
}

static void dynamic_bits(struct hvx_vcpu *vcpu, u32 leaf, u32 sub, u32 *r)
{
	if (leaf == 1) {
		r[ECX] &= ~F(OSXSAVE);
		if (hvx_backend->get_cr(vcpu, 4) & X86_CR4_OSXSAVE)
			r[ECX] |= F(OSXSAVE);
		if (!(vcpu->apic_base & BIT(11)))
			r[EDX] &= ~F(APIC);
	} else if (leaf == 7 && sub == 0) {
		r[ECX] &= ~F(OSPKE);
		if (hvx_backend->get_cr(vcpu, 4) & X86_CR4_PKE)
			r[ECX] |= F(OSPKE);
	} else if (leaf == 0xd && sub == 0) {
		r[EBX] = hvx_xsave_area_size(hvx_guest_xcr0(vcpu), false);
	} else if (leaf == 0xd && sub == 1) {
		/* Of the compacted format: without XSAVEC there is none. */
		r[EBX] = r[EAX] & BIT(1) ? hvx_xsave_area_size(hvx_guest_xcr0(vcpu), true) : 0;
	}
}

/* Apart from hvx_cpuid() so that its array costs the plain leaves nothing. */
static noinline void cpuid_slow(struct hvx_vcpu *vcpu, u16 idx, u32 *eax, u32 *ebx, u32 *ecx,
				u32 *edx)
{
	u32 leaf = *eax, sub = *ecx, r[4] = { 0 };
	const struct hvx_cpuid_entry *e = find_subleaf(vcpu, idx, sub);

	if (e) {
		r[EAX] = e->eax;
		r[EBX] = e->ebx;
		r[ECX] = e->ecx;
		r[EDX] = e->edx;
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

/* The features that decide what else the guest may touch. */
struct features {
	u32 l1_ecx, l7_ebx, l7_ecx, x1_edx;
};

static void host_features(struct features *f)
{
	u32 r[4];

	offered(1, 0, r);
	f->l1_ecx = r[ECX];
	offered(7, 0, r);
	f->l7_ebx = r[EBX];
	f->l7_ecx = r[ECX];
	offered(0x80000001, 0, r);
	f->x1_edx = r[EDX];
}

static void guest_features(struct hvx_vcpu *vcpu, struct features *f)
{
	const struct hvx_cpuid_entry *e;

	e = hvx_cpuid_find(vcpu, 1, 0);
	f->l1_ecx &= e ? e->ecx : 0;
	e = hvx_cpuid_find(vcpu, 7, 0);
	f->l7_ebx &= e ? e->ebx : 0;
	f->l7_ecx &= e ? e->ecx : 0;
	e = hvx_cpuid_find(vcpu, 0x80000001, 0);
	f->x1_edx &= e ? e->edx : 0;
}

static u64 features_cr4(const struct features *f)
{
	/* What every 64-bit CPU has; PCE too: RDPMC is intercepted. */
	u64 cr4 = X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE |
		  X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE |
		  X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;

	cr4 |= f->l1_ecx & F(PCID) ? X86_CR4_PCIDE : 0;
	cr4 |= f->l1_ecx & F(XSAVE) ? X86_CR4_OSXSAVE : 0;
	cr4 |= f->l7_ebx & F(FSGSBASE) ? X86_CR4_FSGSBASE : 0;
	cr4 |= f->l7_ebx & F(SMEP) ? X86_CR4_SMEP : 0;
	cr4 |= f->l7_ebx & F(SMAP) ? X86_CR4_SMAP : 0;
	cr4 |= f->l7_ecx & F(UMIP) ? X86_CR4_UMIP : 0;
	cr4 |= f->l7_ecx & F(LA57) ? X86_CR4_LA57 : 0;
	cr4 |= f->l7_ecx & F(PKU) ? X86_CR4_PKE : 0;
	return cr4;
}

static u32 table_pv_features(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e;
	u32 base;

	/* A second signature may stand before it: the next base is 0x100 on. */
	for (base = PV_BASE; base <= PV_BASE + 0x100; base += 0x100) {
		e = hvx_cpuid_find(vcpu, base, 0);
		if (!e || memcmp(&e->ebx, "KVMKVMKVM\0\0", 12))
			continue;
		e = hvx_cpuid_find(vcpu, base + 1, 0);
		return e ? e->eax & PV_FEATURES : 0;
	}
	return 0;
}

/* Everything that follows from the table; no table: everything that hvx offers. */
static void derive(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e;
	struct features f;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->cpuid_basic); i++)
		vcpu->cpuid_basic[i] = find_leaf(vcpu, i);
	for (i = 0; i < ARRAY_SIZE(vcpu->cpuid_ext); i++)
		vcpu->cpuid_ext[i] = find_leaf(vcpu, 0x80000000 + i);

	host_features(&f);
	vcpu->xcr0_allowed = hvx_xcr0_mask;
	vcpu->phys_bits = hvx_mmu_phys_bits();
	vcpu->pv_features = 0;
	if (vcpu->cpuid) {
		guest_features(vcpu, &f);
		e = hvx_cpuid_find(vcpu, 0xd, 0);
		if (!e || !(f.l1_ecx & F(XSAVE)))
			vcpu->xcr0_allowed = 0;
		else
			vcpu->xcr0_allowed &= e->eax | (u64)e->edx << 32;
		e = hvx_cpuid_find(vcpu, 0x80000008, 0);
		vcpu->phys_bits = min_t(u32, vcpu->phys_bits, e ? e->eax & 0xff : 36);
		vcpu->pv_features = table_pv_features(vcpu);
	}
	vcpu->cr4_allowed = features_cr4(&f);
	vcpu->efer_allowed = f.x1_edx & F(SYSCALL) ? EFER_SCE : 0;
	vcpu->efer_allowed |= f.x1_edx & F(LM) ? EFER_LME | EFER_LMA : 0;
	vcpu->efer_allowed |= f.x1_edx & F(NX) ? EFER_NX : 0;
	vcpu->efer_allowed |= f.x1_edx & F(FXSR_OPT) ? EFER_FFXSR : 0;
}

void hvx_cpuid_init(struct hvx_vcpu *vcpu)
{
	derive(vcpu);
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
	derive(vcpu);
	hvx_backend->update_cpuid(vcpu);
	return 0;
}
