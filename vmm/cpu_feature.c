// SPDX-License-Identifier: GPL-2.0-only
/* CPU features: SDM vol. 2 "CPUID", APM vol. 3 appendix E. */
#include <stdio.h>
#include <string.h>

#include "cpu_feature.h"

/* Bits in order from 0; NULL is one without a name. */
const struct cpu_word_info cpu_words[CPU_WORDS] = {
	[W_1_ECX] = { 1, 0, R_ECX, {
		"pni", "pclmuldq", "dtes64", "monitor", "ds_cpl", "vmx", "smx", "est",
		"tm2", "ssse3", "cid", NULL, "fma", "cx16", "xtpr", "pdcm",
		NULL, "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe", "popcnt",
		"tsc-deadline", "aes", "xsave", "osxsave", "avx", "f16c", "rdrand", "hypervisor" } },
	[W_1_EDX] = { 1, 0, R_EDX, {
		"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce",
		"cx8", "apic", NULL, "sep", "mtrr", "pge", "mca", "cmov",
		"pat", "pse36", "pn", "clflush", NULL, "ds", "acpi", "mmx",
		"fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe" } },
	[W_6_EAX] = { 6, 0, R_EAX, { [2] = "arat" } },
	[W_7_EBX] = { 7, 0, R_EBX, {
		"fsgsbase", "tsc_adjust", "sgx", "bmi1", "hle", "avx2", "fdp-excptn-only", "smep",
		"bmi2", "erms", "invpcid", "rtm", "cmt", "zero-fcs-fds", "mpx", "rdt-a",
		"avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "pcommit", "clflushopt",
		"clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni", "avx512bw", "avx512vl" } },
	[W_7_ECX] = { 7, 0, R_ECX, {
		"prefetchwt1", "avx512vbmi", "umip", "pku", "ospke", "waitpkg", "avx512vbmi2", "shstk",
		"gfni", "vaes", "vpclmulqdq", "avx512vnni", "avx512bitalg", "tme", "avx512-vpopcntdq", NULL,
		"la57", NULL, NULL, NULL, NULL, NULL, "rdpid", "kl",
		"bus-lock-detect", "cldemote", NULL, "movdiri", "movdir64b", "enqcmd", "sgxlc", "pks" } },
	[W_7_EDX] = { 7, 0, R_EDX, {
		NULL, "sgx-keys", "avx512-4vnniw", "avx512-4fmaps", "fsrm", "uintr", NULL, NULL,
		"avx512-vp2intersect", "srbds-ctrl", "md-clear", "rtm-always-abort", NULL, "tsx-force-abort", "serialize", "hybrid",
		"tsx-ldtrk", NULL, "pconfig", "arch-lbr", "ibt", NULL, "amx-bf16", "avx512-fp16",
		"amx-tile", "amx-int8", "spec-ctrl", "stibp", "flush-l1d", "arch-capabilities", "core-capability", "ssbd" } },
	[W_71_EAX] = { 7, 1, R_EAX, {
		"sha512", "sm3", "sm4", NULL, "avx-vnni", "avx512-bf16", "lass", "cmpccxadd",
		NULL, NULL, "fzrm", "fsrs", "fsrc", NULL, NULL, NULL,
		NULL, "fred", "lkgs", "wrmsrns", NULL, "amx-fp16", NULL, "avx-ifma",
		NULL, NULL, "lam" } },
	[W_71_EDX] = { 7, 1, R_EDX, {
		[4] = "avx-vnni-int8", [5] = "avx-ne-convert", [8] = "amx-complex", [10] = "avx-vnni-int16",
		[14] = "prefetchiti" } },
	[W_D1_EAX] = { 0xd, 1, R_EAX, { "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd" } },
	[W_81_ECX] = { 0x80000001, 0, R_ECX, {
		"lahf_lm", "cmp_legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse",
		"3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", NULL, "lwp",
		"fma4", "tce", NULL, "nodeid_msr", NULL, "tbm", "topoext", "perfctr_core",
		"perfctr_nb", NULL, NULL, NULL, NULL, "mwaitx" } },
	[W_81_EDX] = { 0x80000001, 0, R_EDX, {
		[11] = "syscall", [19] = "mp", [20] = "nx", [22] = "mmxext", [25] = "fxsr_opt",
		[26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow" } },
	[W_87_EDX] = { 0x80000007, 0, R_EDX, { [8] = "invtsc" } },
	[W_88_EBX] = { 0x80000008, 0, R_EBX, {
		[0] = "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs",
		[15] = "amd-stibp", [16] = "ibrs-always-on", [17] = "stibp-always-on", [19] = "ibrs-same-mode",
		[24] = "amd-ssbd", [25] = "virt-ssbd", [26] = "amd-no-ssb", [28] = "amd-psfd", [29] = "btc-no" } },
	[W_8A_EDX] = { 0x8000000a, 0, R_EDX, {
		[0] = "npt", [1] = "lbrv", [2] = "svm-lock", [3] = "nrip-save", [4] = "tsc-scale",
		[5] = "vmcb-clean", [6] = "flushbyasid", [7] = "decodeassists", [10] = "pause-filter",
		[12] = "pfthreshold", [13] = "avic", [15] = "v-vmsave-vmload", [16] = "vgif", [25] = "vnmi",
		[28] = "svme-addr-chk" } },
	[W_821_EAX] = { 0x80000021, 0, R_EAX, {
		[0] = "no-nested-data-bp", [2] = "lfence-always-serializing", [6] = "null-sel-clr-base",
		[8] = "auto-ibrs", [27] = "sbpb", [28] = "ibpb-brtype", [29] = "srso-no" } },
};

/* What else they are called: by QEMU, by Linux. */
static const char *const aliases[][2] = {
	{ "sse3", "pni" }, { "pclmulqdq", "pclmuldq" }, { "lzcnt", "abm" }, { "i64", "lm" },
	{ "xd", "nx" }, { "ffxsr", "fxsr_opt" }, { "sha", "sha-ni" }, { "sse41", "sse4.1" },
	{ "sse42", "sse4.2" },
	{ "avx512-vnni", "avx512vnni" }, { "avx512-ifma", "avx512ifma" }, { "gbpages", "pdpe1gb" },
	{ "pqm", "cmt" },
};

static bool same(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_.", *a) && strchr("-_.", *b)))
			return false;
	return *a == *b;
}

int cpu_feature(const char *name)
{
	unsigned int i, bit;

	for (i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (same(aliases[i][0], name))
			name = aliases[i][1];
	for (i = 0; i < CPU_WORDS; i++)
		for (bit = 0; bit < 32; bit++)
			if (cpu_words[i].name[bit] && same(cpu_words[i].name[bit], name))
				return (int)(i << 5 | bit);
	return -1;
}

const char *cpu_feature_name(int f)
{
	static const char *const reg[] = { "EAX", "EBX", "ECX", "EDX" };
	static __thread char where[48];
	const struct cpu_word_info *w = &cpu_words[f >> 5];

	if (w->name[f & 31])
		return w->name[f & 31];
	snprintf(where, sizeof(where), "bit %d of %s of CPUID leaf %#x.%u", f & 31, reg[w->reg], w->leaf,
		 w->subleaf);
	return where;
}

static void each(struct cpu_set *s, const char *names, void (*fn)(struct cpu_set *, int))
{
	char name[32];
	size_t n;

	for (; names && *names; names += n + (names[n] == ' ')) {
		n = strcspn(names, " ");
		if (!n || n >= sizeof(name))
			continue;
		memcpy(name, names, n);
		name[n] = '\0';
		fn(s, cpu_feature(name));
	}
}

void cpu_set_add(struct cpu_set *s, const char *names)
{
	each(s, names, cpu_give);
}

void cpu_set_sub(struct cpu_set *s, const char *names)
{
	each(s, names, cpu_take);
}

struct cpu_set cpu_set_minus(const struct cpu_set *a, const struct cpu_set *b)
{
	struct cpu_set r;
	unsigned int i;

	for (i = 0; i < CPU_WORDS; i++)
		r.w[i] = a->w[i] & ~b->w[i];
	return r;
}

struct cpu_set cpu_set_and(const struct cpu_set *a, const struct cpu_set *b)
{
	struct cpu_set r;
	unsigned int i;

	for (i = 0; i < CPU_WORDS; i++)
		r.w[i] = a->w[i] & b->w[i];
	return r;
}

unsigned int cpu_set_count(const struct cpu_set *s)
{
	unsigned int i, n = 0;

	for (i = 0; i < CPU_WORDS; i++)
		n += (unsigned int)__builtin_popcount(s->w[i]);
	return n;
}

int cpu_set_next(const struct cpu_set *s, int f)
{
	for (f++; f < CPU_WORDS * 32; f++)
		if (cpu_has(s, f))
			return f;
	return -1;
}

const char *cpu_set_text(const struct cpu_set *s)
{
	static __thread char text[512];
	unsigned int left = cpu_set_count(s);
	size_t at = 0;
	int f = -1;

	text[0] = '\0';
	while ((f = cpu_set_next(s, f)) >= 0) {
		if (at > sizeof(text) - 80) {
			snprintf(text + at, sizeof(text) - at, " and %u more", left);
			break;
		}
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "", cpu_feature_name(f));
		left--;
	}
	return text;
}

struct hvx_cpuid_entry *cpuid_entry(const struct hvx_cpuid_entry *e, unsigned int n, uint32_t leaf,
				    uint32_t subleaf)
{
	for (; n--; e++)
		if (e->leaf == leaf && (!(e->flags & HVX_CPUID_SUBLEAF) || e->subleaf == subleaf))
			return (struct hvx_cpuid_entry *)e;
	return NULL;
}

struct cpu_set cpu_set_of(const struct hvx_cpuid_entry *table, unsigned int n)
{
	struct cpu_set s;
	unsigned int i;

	for (i = 0; i < CPU_WORDS; i++) {
		struct hvx_cpuid_entry *e = cpuid_entry(table, n, cpu_words[i].leaf, cpu_words[i].subleaf);

		s.w[i] = e ? *cpuid_reg(e, cpu_words[i].reg) : 0;
	}
	s.w[W_81_EDX] &= ~CPU_AMD_COPY;
	return s;
}

void cpu_set_close(struct cpu_set *s)
{
	static const struct {
		const char *without, *gone;
	} rules[] = {
		{ "xsave", "avx xsaveopt xsavec xgetbv1 xsaves xfd pku mpx amx-tile" },
		{ "avx", "fma f16c avx2 xop fma4 avx512f vaes vpclmulqdq avx-vnni avx-ifma avx-vnni-int8 "
			 "avx-ne-convert avx-vnni-int16 sha512 sm3 sm4" },
		{ "avx2", "avx512f" },
		{ "avx512f", "avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl avx512vbmi "
			     "avx512vbmi2 avx512vnni avx512bitalg avx512-vpopcntdq avx512-4vnniw avx512-4fmaps "
			     "avx512-vp2intersect avx512-bf16 avx512-fp16" },
		{ "avx512bw", "avx512vbmi avx512vbmi2 avx512bitalg avx512-fp16" },
		{ "amx-tile", "amx-bf16 amx-int8 amx-fp16 amx-complex" },
		{ "svm", "npt lbrv nrip-save tsc-scale vmcb-clean flushbyasid decodeassists pause-filter "
			 "pfthreshold avic v-vmsave-vmload vgif vnmi svme-addr-chk" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!cpu_has(s, cpu_feature(rules[i].without)))
			cpu_set_sub(s, rules[i].gone);
}
