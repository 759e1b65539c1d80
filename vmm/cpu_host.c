// SPDX-License-Identifier: GPL-2.0-only
/*
 * What CPU a guest can have on this host: the host's CPUID, read by the
 * instruction itself, through the masks below. A feature is in a mask when the
 * guest can use it with what hvx switches, intercepts or emulates (uapi/hvx.h,
 * struct hvx_cpuid_entry): no mask bit, no feature.
 */
#include <cpuid.h>
#include <stdbool.h>
#include <string.h>

#include "cpu.h"

enum { EAX, EBX, ECX, EDX };

/* Sets of registers, for the table. */
#define A	(1U << EAX)
#define B	(1U << EBX)
#define C	(1U << ECX)
#define D	(1U << EDX)

#define BIT(n)	(1U << (n))
#define F(name)	BIT(F_##name)

/* Bit numbers, by the names of the manuals. */
enum {
	/* 1 ECX */
	F_XMM3 = 0, F_PCLMULQDQ = 1, F_SSSE3 = 9, F_FMA = 12, F_CX16 = 13, F_PCID = 17, F_XMM4_1 =
	19, F_XMM4_2 = 20, F_X2APIC = 21, F_MOVBE = 22, F_POPCNT = 23, F_TSC_DEADLINE_TIMER = 24,
	F_AES = 25, F_XSAVE = 26, F_AVX = 28, F_F16C = 29, F_RDRAND = 30, F_HYPERVISOR = 31,
	/* 1 EDX */
	F_FPU = 0, F_VME = 1, F_DE = 2, F_PSE = 3, F_TSC = 4, F_MSR = 5, F_PAE = 6, F_MCE = 7,
	F_CX8 = 8, F_APIC = 9, F_SEP = 11, F_MTRR = 12, F_PGE = 13, F_MCA = 14, F_CMOV = 15, F_PAT
	= 16, F_PSE36 = 17, F_CLFLUSH = 19, F_MMX = 23, F_FXSR = 24, F_XMM = 25, F_XMM2 = 26,
	F_SELFSNOOP = 27,
	/* 7 EBX */
	F_FSGSBASE = 0, F_TSC_ADJUST = 1, F_BMI1 = 3, F_AVX2 = 5, F_FDP_EXCPTN_ONLY = 6, F_SMEP =
	7, F_BMI2 = 8, F_ERMS = 9, F_INVPCID = 10, F_ZERO_FCS_FDS = 13, F_AVX512F = 16, F_AVX512DQ
	= 17, F_RDSEED = 18, F_ADX = 19, F_SMAP = 20, F_AVX512IFMA = 21, F_CLFLUSHOPT = 23, F_CLWB
	= 24, F_AVX512PF = 26, F_AVX512ER = 27, F_AVX512CD = 28, F_SHA_NI = 29, F_AVX512BW = 30,
	F_AVX512VL = 31,
	/* 7 ECX */
	F_AVX512VBMI = 1, F_UMIP = 2, F_PKU = 3, F_AVX512_VBMI2 = 6, F_GFNI = 8, F_VAES = 9,
	F_VPCLMULQDQ = 10, F_AVX512_VNNI = 11, F_AVX512_BITALG = 12, F_AVX512_VPOPCNTDQ = 14,
	F_LA57 = 16, F_RDPID = 22, F_CLDEMOTE = 25, F_MOVDIRI = 27, F_MOVDIR64B = 28,
	/* 0x80000001 ECX */
	F_LAHF_LM = 0, F_CR8_LEGACY = 4, F_ABM = 5, F_SSE4A = 6, F_MISALIGNSSE = 7, F_3DNOWPREFETCH
	= 8, F_XOP = 11, F_FMA4 = 16, F_TBM = 21, F_TOPOEXT = 22,
	/* 0x80000001 EDX */
	F_SYSCALL = 11, F_NX = 20, F_MMXEXT = 22, F_FXSR_OPT = 25, F_GBPAGES = 26, F_RDTSCP = 27,
	F_LM = 29, F_3DNOWEXT = 30, F_3DNOW = 31,
};

#define MAX_BASIC	0x1f
#define MAX_EXT		0x80000021U
#define PV_BASE		0x40000000
#define PV_SIGNATURE	"KVMKVMKVM\0\0"		/* 12 bytes */
#define PV_FREQ		(PV_BASE + 0x10)	/* TSC and APIC bus frequency, kHz */
#define PV_APIC_KHZ	1000000			/* the APIC timer counts nanoseconds */

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
	uint32_t leaf;
	int8_t sub;		/* -1: every subleaf */
	uint8_t regs;
	uint16_t xcr0;		/* the row counts where guests may have this bit */
	uint32_t mask, always;
} policy[] = {
	{ 0x00,  0, B | C | D, 0, ~0U, 0 },
	{ 0x01,  0, A, 0, ~0U, 0 },
	{ 0x01,  0, B, 0, 0xff00, 0 },
	/* OSXSAVE is the module's, worked out at each read. */
	{ 0x01,  0, C, 0, F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(CX16) | F(PCID) | F(XMM4_1) |
	  F(XMM4_2) | F(MOVBE) | F(POPCNT) | F(AES) | F(RDRAND),
	  F(X2APIC) | F(TSC_DEADLINE_TIMER) | F(HYPERVISOR) },
	{ 0x01,  0, C, X_ANY, F(XSAVE), 0 },
	{ 0x01,  0, C, X_YMM, F(FMA) | F(AVX) | F(F16C), 0 },
	{ 0x01,  0, D, 0, L1_EDX_BOTH | F(SEP) | F(CLFLUSH) | F(XMM) | F(XMM2) | F(SELFSNOOP),
	  F(APIC) | F(MTRR) },
	{ 0x02,  0, A | B | C | D, 0, ~0U, 0 },
	{ 0x04, -1, A, 0, 0x3fff, 0 },	/* not: how many CPUs share it */
	{ 0x04, -1, B | C | D, 0, ~0U, 0 },
	{ 0x06,  0, A, 0, 0, BIT(2) /* ARAT */ },
	{ 0x07,  0, A, 0, 0, 1 /* the highest subleaf */ },
	/* Not: SGX, HLE, RTM, PQM/PQE, MPX, PT. */
	{ 0x07,  0, B, 0, F(FSGSBASE) | F(BMI1) | F(FDP_EXCPTN_ONLY) | F(SMEP) | F(BMI2) | F(ERMS) |
	  F(INVPCID) | F(ZERO_FCS_FDS) | F(RDSEED) | F(ADX) | F(SMAP) | F(CLFLUSHOPT) | F(CLWB) |
	  F(SHA_NI), F(TSC_ADJUST) },
	{ 0x07,  0, B, X_YMM, F(AVX2), 0 },
	{ 0x07,  0, B, X_ZMM, F(AVX512F) | F(AVX512DQ) | F(AVX512IFMA) | F(AVX512PF) |
	  F(AVX512ER) | F(AVX512CD) | F(AVX512BW) | F(AVX512VL), 0 },
	/* Not: WAITPKG (an MSR of its own), CET, bus lock detect, ENQCMD, key locker. */
	{ 0x07,  0, C, 0, BIT(0) /* PREFETCHWT1 */ | F(UMIP) | F(GFNI) | F(LA57) | F(RDPID) |
	  F(CLDEMOTE) | F(MOVDIRI) | F(MOVDIR64B), 0 },
	{ 0x07,  0, C, X_PKRU, F(PKU), 0 },
	{ 0x07,  0, C, X_YMM, F(VAES) | F(VPCLMULQDQ), 0 },
	{ 0x07,  0, C, X_ZMM, F(AVX512VBMI) | F(AVX512_VBMI2) | F(AVX512_VNNI) |
	  F(AVX512_BITALG) | F(AVX512_VPOPCNTDQ), 0 },
	/* Not: SPEC_CTRL and its kin, ARCH_CAPABILITIES: their MSRs are not switched. */
	{ 0x07,  0, D, 0, BIT(4) /* FSRM */ | BIT(10) /* MD_CLEAR */ | BIT(14) /* SERIALIZE */, 0 },
	{ 0x07,  0, D, X_ZMM, BIT(2) /* 4VNNIW */ | BIT(3) /* 4FMAPS */ |
	  BIT(8) /* VP2INTERSECT */ | BIT(23) /* FP16 */, 0 },
	{ 0x07,  1, A, 0, BIT(7) /* CMPCCXADD */ |
	  BIT(10) | BIT(11) | BIT(12) /* FZRM FSRS FSRC */, 0 },
	{ 0x07,  1, A, X_YMM, BIT(0) /* SHA512 */ | BIT(1) /* SM3 */ | BIT(2) /* SM4 */ |
	  BIT(4) /* AVX_VNNI */ | BIT(23) /* AVX_IFMA */, 0 },
	{ 0x07,  1, A, X_ZMM, BIT(5) /* AVX512_BF16 */, 0 },
	{ 0x07,  1, D, 0, BIT(14) /* PREFETCHI */, 0 },
	{ 0x07,  1, D, X_YMM, BIT(4) /* AVX_VNNI_INT8 */ | BIT(5) /* AVX_NE_CONVERT */ |
	  BIT(10) /* AVX_VNNI_INT16 */, 0 },
	{ 0x0d,  1, A, 0, BIT(0) /* XSAVEOPT */ | BIT(1) /* XSAVEC */ | BIT(2) /* XGETBV1 */ |
	  BIT(3) /* XSAVES */, 0 },
	{ 0x15,  0, A | B | C, 0, ~0U, 0 },
	{ 0x16,  0, A | B | C, 0, 0xffff, 0 },
	{ 0x80000000, 0, B | C | D, 0, ~0U, 0 },
	{ 0x80000001, 0, A, 0, ~0U, 0 },
	/* Not: SVM, IBS, SKINIT, WDT, LWP, performance counters, MWAITX, DR masks. */
	{ 0x80000001, 0, C, 0, F(LAHF_LM) | F(CR8_LEGACY) | F(ABM) | F(SSE4A) | F(MISALIGNSSE) |
	  F(3DNOWPREFETCH) | F(TBM) | F(TOPOEXT), 0 },
	{ 0x80000001, 0, C, X_YMM, F(XOP) | F(FMA4), 0 },
	{ 0x80000001, 0, D, 0, L1_EDX_BOTH | F(SYSCALL) | F(NX) | F(MMXEXT) | F(FXSR_OPT) |
	  F(GBPAGES) | F(RDTSCP) | F(LM) | F(3DNOWEXT) | F(3DNOW), 0 },
	{ 0x80000002, 0, A | B | C | D, 0, ~0U, 0 },
	{ 0x80000003, 0, A | B | C | D, 0, ~0U, 0 },
	{ 0x80000004, 0, A | B | C | D, 0, ~0U, 0 },
	{ 0x80000005, 0, A | B | C | D, 0, ~0U, 0 },
	{ 0x80000006, 0, A | B | C | D, 0, ~0U, 0 },
	{ 0x80000007, 0, D, 0, BIT(8) /* invariant TSC */, 0 },
	{ 0x80000008, 0, A, 0, 0xff00, 0 },
	/* The immunities are facts about the CPU; the IB* controls are not offered. */
	{ 0x80000008, 0, B, 0, BIT(0) /* CLZERO */ | BIT(2) /* XSAVEERPTR */ |
	  BIT(26) /* SSB_NO */ | BIT(29) /* BTC_NO */, 0 },
	{ 0x80000019, 0, A | B, 0, ~0U, 0 },
	{ 0x8000001a, 0, A, 0, 7, 0 },
	{ 0x8000001d, -1, A, 0, 0x3fff, 0 },
	{ 0x8000001d, -1, B | C | D, 0, ~0U, 0 },
	{ 0x80000021, 0, A, 0, BIT(0) /* no nested data BP */ | BIT(2) /* LFENCE serialises */ |
	  BIT(6) /* null selector clears base */ | BIT(29) /* SRSO_NO */, 0 },
};

#define NR(a)	(sizeof(a) / sizeof((a)[0]))

/* The control bits that the module must give the guest for a feature to be of use. */
static const struct {
	uint32_t leaf;
	int reg;
	uint32_t feature;
	uint64_t cr4, efer;
} controls[] = {
	{ 1, ECX, F(PCID), 1 << 17, 0 },
	{ 7, EBX, F(FSGSBASE), 1 << 16, 0 },
	{ 7, EBX, F(SMEP), 1 << 20, 0 },
	{ 7, EBX, F(SMAP), 1 << 21, 0 },
	{ 7, ECX, F(UMIP), 1 << 11, 0 },
	{ 7, ECX, F(PKU), 1 << 22, 0 },
	{ 7, ECX, F(LA57), 1 << 12, 0 },
	{ 0x80000001, EDX, F(SYSCALL), 0, 1 << 0 },
	{ 0x80000001, EDX, F(LM), 0, 1 << 8 },
	{ 0x80000001, EDX, F(NX), 0, 1 << 11 },
	{ 0x80000001, EDX, F(FXSR_OPT), 0, 1 << 14 },
};

/* One leaf; false: not offered. */
static bool offered(const struct hvx_info *info, uint32_t leaf, uint32_t sub, uint32_t *r)
{
	uint32_t max = __get_cpuid_max(leaf & 0x80000000, NULL), host[4];
	bool known = false;
	unsigned int i, n;

	memset(r, 0, 4 * sizeof(*r));
	if (leaf > max)
		return false;
	__cpuid_count(leaf, sub, host[EAX], host[EBX], host[ECX], host[EDX]);
	for (n = 0; n < NR(policy); n++) {
		const struct policy *p = &policy[n];

		if (p->leaf != leaf || (p->sub >= 0 && (uint32_t)p->sub != sub))
			continue;
		known = true;
		if (p->xcr0 && !(info->xcr0 & p->xcr0))
			continue;
		for (i = 0; i < 4; i++)
			if (p->regs & BIT(i))
				r[i] |= (host[i] & p->mask) | p->always;
	}
	for (n = 0; n < NR(controls) && !sub; n++)
		if (controls[n].leaf == leaf && ((controls[n].cr4 & ~info->cr4) ||
						 (controls[n].efer & ~info->efer)))
			r[controls[n].reg] &= ~controls[n].feature;
	if (leaf == 0xd && sub == 1 && !(info->features & HVX_FEAT_XSAVES))
		r[EAX] &= ~BIT(3);
	if (leaf == 0)
		r[EAX] = max < MAX_BASIC ? max : MAX_BASIC;
	else if (leaf == 0x80000000)
		r[EAX] = max < MAX_EXT ? max : MAX_EXT;
	else if (leaf == 0x80000008)
		r[EAX] |= info->phys_bits;
	return known;
}

struct table {
	struct hvx_cpuid_entry *out;
	unsigned int count;
};

static void add(struct table *t, uint32_t leaf, uint32_t sub, uint32_t flags, const uint32_t *r)
{
	if (t->count < HVX_MAX_CPUID)
		t->out[t->count++] = (struct hvx_cpuid_entry) {
			.leaf = leaf, .subleaf = sub, .flags = flags,
			.eax = r[EAX], .ebx = r[EBX], .ecx = r[ECX], .edx = r[EDX],
		};
}

/* Cache leaves 4 and 0x8000001d: subleaves up to the first of type 0. */
static void add_caches(struct table *t, const struct hvx_info *info, uint32_t leaf)
{
	uint32_t sub, r[4];

	for (sub = 0; sub < 16; sub++) {
		if (!offered(info, leaf, sub, r) || !(r[EAX] & 0x1f))
			break;
		add(t, leaf, sub, HVX_CPUID_SUBLEAF, r);
	}
}

/* The module works out EBX of the first two: sizes for XCR0 as the guest has set it. */
static void add_xsave(struct table *t, const struct hvx_info *info)
{
	uint32_t r[4] = { (uint32_t)info->xcr0, info->xsave_size, info->xsave_size,
			  (uint32_t)(info->xcr0 >> 32) };
	unsigned int i;

	add(t, 0xd, 0, HVX_CPUID_SUBLEAF, r);
	if (offered(info, 0xd, 1, r))
		add(t, 0xd, 1, HVX_CPUID_SUBLEAF, r);
	for (i = 2; i < 63; i++) {
		if (!(info->xcr0 >> i & 1))
			continue;
		__cpuid_count(0xd, i, r[EAX], r[EBX], r[ECX], r[EDX]);
		r[ECX] &= BIT(1);	/* 64-byte aligned when compacted; not supervisor */
		r[EDX] = 0;
		add(t, 0xd, i, HVX_CPUID_SUBLEAF, r);
	}
}

static void add_pv(struct table *t, const struct hvx_info *info)
{
	uint32_t r[4] = { PV_FREQ };

	memcpy(&r[EBX], PV_SIGNATURE, 12);
	add(t, PV_BASE, 0, 0, r);
	add(t, PV_BASE + 1, 0, 0, (const uint32_t[4]) { info->pv_features });
	add(t, PV_FREQ, 0, 0, (const uint32_t[4]) { info->tsc_khz, PV_APIC_KHZ });
}

unsigned int cpu_host_table(const struct hvx_info *info, struct hvx_cpuid_entry *out)
{
	struct table t = { .out = out };
	unsigned int n;
	uint32_t r[4];

	for (n = 0; n < NR(policy); n++) {
		const struct policy *p = &policy[n];

		/* A leaf's rows stand together; the first one speaks for it. */
		if (n && p->leaf == p[-1].leaf && p->sub == p[-1].sub)
			continue;
		if (p->leaf == 0x80000000)
			add_pv(&t, info);
		if (p->sub < 0)
			add_caches(&t, info, p->leaf);
		else if (p->leaf == 0xd)
			add_xsave(&t, info);
		else if (offered(info, p->leaf, p->sub, r) &&
			 (r[EAX] | r[EBX] | r[ECX] | r[EDX]))
			add(&t, p->leaf, p->sub, p->leaf == 7 ? HVX_CPUID_SUBLEAF : 0, r);
	}
	return t.count;
}

struct cpu_set cpu_possible(void)
{
	struct cpu_set s = { { 0 } };
	unsigned int i, n;

	for (i = 0; i < CPU_WORDS; i++)
		for (n = 0; n < NR(policy); n++)
			if (policy[n].leaf == cpu_words[i].leaf &&
			    policy[n].sub == (int)cpu_words[i].subleaf &&
			    policy[n].regs & BIT(cpu_words[i].reg))
				s.w[i] |= policy[n].mask | policy[n].always;
	s.w[W_81_EDX] &= ~CPU_AMD_COPY;
	return s;
}
