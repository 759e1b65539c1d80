// SPDX-License-Identifier: GPL-2.0-only
/*
 * Named CPUs, by the names of libvirt and QEMU: each by what it has more than the one
 * before it in its line. From the CPUID listings of the vendors' manuals and data
 * sheets; the levels from the x86-64 psABI, section 3.1.1.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "cpu_model.h"

#define IBRS	" spec-ctrl"

const struct cpu_model cpu_models[] = {
	/* Levels, and processors that never were. */
	{ "x86-64-v1", NULL, "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush "
	  "mmx fxsr sse sse2 syscall nx lm", NULL, VENDOR_ANY, 15, 107, 1 },
	{ "x86-64-v2", "x86-64-v1", "pni ssse3 cx16 sse4.1 sse4.2 popcnt lahf_lm", NULL, 0, 0, 0, 0 },
	{ "x86-64-v2-AES", "x86-64-v2", "aes", NULL, 0, 0, 0, 0 },
	{ "x86-64-v3", "x86-64-v2", "fma movbe xsave avx f16c bmi1 avx2 bmi2 abm", NULL, 0, 0, 0, 0 },
	{ "x86-64-v4", "x86-64-v3", "avx512f avx512dq avx512cd avx512bw avx512vl", NULL, 0, 0, 0, 0 },
	{ "qemu64", "x86-64-v1", "pni cx16 lahf_lm", NULL, VENDOR_ANY, 15, 107, 1 },
	{ "kvm64", "x86-64-v1", "pni cx16", NULL, VENDOR_ANY, 15, 6, 1 },

	/* Intel */
	{ "core2duo", "x86-64-v1", "vme pni monitor ssse3", NULL, VENDOR_INTEL, 6, 15, 11 },
	{ "Conroe", "x86-64-v1", "pni ssse3 lahf_lm", NULL, VENDOR_INTEL, 6, 15, 3 },
	{ "Penryn", "Conroe", "cx16 sse4.1", NULL, 0, 6, 23, 3 },
	{ "Nehalem", "Penryn", "sse4.2 popcnt", NULL, 0, 6, 26, 3 },
	{ "Nehalem-IBRS", "Nehalem", "vme" IBRS, NULL, 0, 0, 0, 0 },
	{ "Westmere", "Nehalem", "aes", NULL, 0, 6, 44, 1 },
	{ "Westmere-IBRS", "Westmere", "arat pclmuldq vme" IBRS, NULL, 0, 0, 0, 0 },
	{ "SandyBridge", "Westmere", "pclmuldq rdtscp tsc-deadline x2apic xsave avx", NULL, 0, 6, 42, 1 },
	{ "SandyBridge-IBRS", "SandyBridge", "arat vme xsaveopt" IBRS, NULL, 0, 0, 0, 0 },
	{ "IvyBridge", "SandyBridge", "f16c rdrand fsgsbase smep erms vme", NULL, 0, 6, 58, 9 },
	{ "IvyBridge-IBRS", "IvyBridge", "arat xsaveopt" IBRS, NULL, 0, 0, 0, 0 },
	{ "Haswell", "IvyBridge", "fma pcid movbe bmi1 hle avx2 bmi2 invpcid rtm", "f16c rdrand vme", 0, 6, 60, 4 },
	{ "Haswell-IBRS", "Haswell", "abm arat f16c rdrand vme xsaveopt" IBRS, NULL, 0, 0, 0, 0 },
	{ "Haswell-noTSX", "Haswell", NULL, "hle rtm", 0, 6, 60, 1 },
	{ "Haswell-noTSX-IBRS", "Haswell-IBRS", NULL, "hle rtm", 0, 6, 60, 1 },
	{ "Broadwell", "Haswell", "rdseed adx smap 3dnowprefetch", NULL, 0, 6, 61, 2 },
	{ "Broadwell-IBRS", "Broadwell", "abm arat f16c rdrand vme xsaveopt" IBRS, NULL, 0, 0, 0, 0 },
	{ "Broadwell-noTSX", "Broadwell", NULL, "hle rtm", 0, 0, 0, 0 },
	{ "Broadwell-noTSX-IBRS", "Broadwell-IBRS", NULL, "hle rtm", 0, 0, 0, 0 },
	{ "Skylake-Client", "Broadwell", "abm arat f16c rdrand vme xsaveopt xsavec xgetbv1", NULL, 0, 6, 94, 3 },
	{ "Skylake-Client-IBRS", "Skylake-Client", IBRS, NULL, 0, 0, 0, 0 },
	{ "Skylake-Client-noTSX-IBRS", "Skylake-Client-IBRS", NULL, "hle rtm", 0, 0, 0, 0 },
	{ "Skylake-Server", "Skylake-Client", "avx512f avx512dq clwb avx512cd avx512bw avx512vl pdpe1gb", NULL,
	  0, 6, 85, 4 },
	{ "Skylake-Server-IBRS", "Skylake-Server", IBRS, NULL, 0, 0, 0, 0 },
	{ "Skylake-Server-noTSX-IBRS", "Skylake-Server-IBRS", NULL, "hle rtm", 0, 0, 0, 0 },
	{ "Cascadelake-Server", "Skylake-Server-IBRS", "clflushopt pku avx512vnni ssbd", NULL, 0, 6, 85, 6 },
	{ "Cascadelake-Server-noTSX", "Cascadelake-Server", "arch-capabilities", "hle rtm", 0, 0, 0, 0 },
	{ "Cooperlake", "Cascadelake-Server", "arch-capabilities avx512-bf16 stibp", NULL, 0, 6, 85, 10 },
	{ "Denverton", "Nehalem-IBRS", "pclmuldq movbe tsc-deadline aes xsave rdrand x2apic arat fsgsbase smep "
	  "erms rdseed smap clflushopt sha-ni xsaveopt xsavec xgetbv1 3dnowprefetch pdpe1gb rdtscp ssbd "
	  "arch-capabilities", NULL, 0, 6, 95, 1 },
	{ "Snowridge", "Denverton", "cldemote clwb gfni movdiri movdir64b umip core-capability", NULL, 0, 6, 134, 1 },
	{ "Icelake-Server", "Cascadelake-Server", "umip avx512vbmi avx512vbmi2 gfni vaes vpclmulqdq "
	  "avx512bitalg avx512-vpopcntdq la57 wbnoinvd", NULL, 0, 6, 134, 0 },
	{ "Icelake-Server-noTSX", "Icelake-Server", "arch-capabilities", "hle rtm", 0, 0, 0, 0 },
	{ "SapphireRapids", "Icelake-Server", "avx512ifma sha-ni rdpid bus-lock-detect fsrm serialize tsx-ldtrk "
	  "amx-bf16 avx512-fp16 amx-tile amx-int8 arch-capabilities avx-vnni avx512-bf16 fzrm fsrs fsrc xfd",
	  NULL, 0, 6, 143, 4 },
	{ "GraniteRapids", "SapphireRapids", "amx-fp16 prefetchiti", NULL, 0, 6, 173, 0 },

	/* AMD, and Hygon's after it */
	{ "Opteron_G1", "x86-64-v1", "pni", NULL, VENDOR_AMD, 15, 6, 1 },
	{ "Opteron_G2", "Opteron_G1", "cx16 lahf_lm svm", NULL, 0, 0, 0, 0 },
	{ "Opteron_G3", "Opteron_G2", "monitor popcnt abm sse4a misalignsse rdtscp", NULL, 0, 16, 2, 3 },
	{ "phenom", "Opteron_G3", "vme mmxext fxsr_opt 3dnowext 3dnow", "abm misalignsse rdtscp lahf_lm", 0, 16, 2, 3 },
	{ "Opteron_G4", "Opteron_G3", "pclmuldq ssse3 sse4.1 sse4.2 aes xsave avx 3dnowprefetch xop fma4 pdpe1gb",
	  "monitor", 0, 21, 1, 2 },
	{ "Opteron_G5", "Opteron_G4", "fma f16c tbm", NULL, 0, 21, 2, 0 },
	{ "EPYC", "Opteron_G5", "vme movbe rdrand arat fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt "
	  "sha-ni xsaveopt xsavec xgetbv1 cr8legacy osvw mmxext fxsr_opt", "xop fma4 tbm", 0, 23, 1, 2 },
	{ "EPYC-IBPB", "EPYC", "ibpb", NULL, 0, 0, 0, 0 },
	{ "EPYC-Rome", "EPYC-IBPB", "umip rdpid clwb xsaves topoext perfctr_core xsaveerptr wbnoinvd amd-stibp npt "
	  "nrip-save", NULL, 0, 23, 49, 0 },
	{ "EPYC-Milan", "EPYC-Rome", "pcid erms invpcid pku fsrm ibrs amd-ssbd svme-addr-chk", NULL, 0, 25, 1, 1 },
	{ "EPYC-Genoa", "EPYC-Milan", "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 "
	  "gfni vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq la57 avx512-bf16 stibp-always-on amd-psfd "
	  "vnmi no-nested-data-bp lfence-always-serializing null-sel-clr-base auto-ibrs", NULL, 0, 25, 17, 0 },
	{ "EPYC-Turin", "EPYC-Genoa", "movdiri movdir64b avx512-vp2intersect avx-vnni prefetchiti sbpb ibpb-brtype "
	  "srso-no", NULL, 0, 26, 0, 0 },
	{ "Dhyana", "EPYC-IBPB", NULL, "sha-ni", VENDOR_HYGON, 24, 0, 1 },
	{ NULL, NULL, NULL, NULL, 0, 0, 0, 0 }
};

const struct cpu_model *cpu_model_find(const char *name)
{
	const struct cpu_model *m;

	for (m = cpu_models; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

static const struct cpu_model *base_of(const struct cpu_model *m)
{
	return m->base ? cpu_model_find(m->base) : NULL;
}

#define LONGEST 64U	/* names that are longer are like none */

/* Letters to be added, left out or changed, whatever their case; 0 where b only goes on behind a. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[LONGEST + 1], la = (unsigned int)strlen(a), lb = (unsigned int)strlen(b), i, j, corner, was, best;

	if (!la || la > LONGEST || lb > LONGEST)
		return LONGEST;
	if (!strncasecmp(a, b, la))
		return 0;
	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		corner = row[0];
		row[0] = i;
		for (j = 1; j <= lb; j++) {
			was = row[j];
			best = corner + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
			best = was + 1 < best ? was + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			corner = was;
		}
	}
	return row[lb];
}

unsigned int cpu_model_similar(const char *name, const char *similar[], unsigned int n)
{
	unsigned int limit = (unsigned int)strlen(name) / 2, found = 0;

	for (unsigned int d = 0; d <= limit && d < LONGEST; d++)
		for (const struct cpu_model *m = cpu_models; m->name && found < n; m++)
			if (distance(name, m->name) == d)
				similar[found++] = m->name;
	return found;
}

struct cpu_set cpu_model_set(const struct cpu_model *m)
{
	const struct cpu_model *line[24];
	struct cpu_set s = { { 0 } };
	unsigned int n = 0;

	for (; m && n < 24; m = base_of(m))
		line[n++] = m;
	while (n--) {
		cpu_set_add(&s, line[n]->add);
		cpu_set_sub(&s, line[n]->sub);
	}
	return s;
}

enum cpu_vendor cpu_model_vendor(const struct cpu_model *m)
{
	while (m && m->vendor == VENDOR_ANY)
		m = base_of(m);
	return m ? m->vendor : VENDOR_ANY;
}

/* SDM vol. 2, CPUID leaf 1: families above 15 are in the extended field. */
uint32_t cpu_signature(unsigned int family, unsigned int model, unsigned int stepping)
{
	uint32_t base = family > 15 ? 15 : family, extended = family > 15 ? family - 15 : 0;

	return extended << 20 | (model >> 4 & 15) << 16 | base << 8 | (model & 15) << 4 | (stepping & 15);
}

uint32_t cpu_model_signature(const struct cpu_model *m)
{
	while (!m->family && base_of(m))
		m = base_of(m);
	return cpu_signature(m->family, m->model, m->stepping);
}

const struct cpu_model *cpu_model_nearest(const struct cpu_set *have, enum cpu_vendor vendor,
					  const struct cpu_set *count)
{
	const struct cpu_model *m, *best = &cpu_models[0];
	unsigned int least = ~0U;

	for (m = cpu_models; m->name; m++) {
		struct cpu_set set = cpu_model_set(m), missing, more;
		unsigned int far, never;

		if (cpu_model_vendor(m) != VENDOR_ANY && cpu_model_vendor(m) != vendor)
			continue;
		missing = cpu_set_minus(&set, have);
		never = cpu_set_count(&missing);
		if (count)
			missing = cpu_set_and(&missing, count);
		more = cpu_set_minus(have, &set);
		/* A feature too few counts more than one too many; those that do not count decide a draw. */
		far = (2 * cpu_set_count(&missing) + cpu_set_count(&more)) << 8;
		far += never - cpu_set_count(&missing);
		if (far < least) {
			least = far;
			best = m;
		}
	}
	return best;
}

/* ------------------------------------------------------------------- vendors */

static const struct {
	const char *name, *id;
} vendors[] = {
	[VENDOR_ANY] = { "", NULL },
	[VENDOR_INTEL] = { "Intel", "GenuineIntel" },
	[VENDOR_AMD] = { "AMD", "AuthenticAMD" },
	[VENDOR_HYGON] = { "Hygon", "HygonGenuine" },
	[VENDOR_OTHER] = { "", NULL },
};

const char *cpu_vendor_name(enum cpu_vendor v)
{
	return vendors[v].name;
}

const char *cpu_vendor_id(enum cpu_vendor v)
{
	return vendors[v].id;
}

enum cpu_vendor cpu_vendor_by_name(const char *name)
{
	enum cpu_vendor v;

	for (v = VENDOR_INTEL; v < VENDOR_OTHER; v++)
		if (!strcmp(name, vendors[v].name) || !strcmp(name, vendors[v].id))
			return v;
	return VENDOR_OTHER;
}

enum cpu_vendor cpu_vendor_of(const struct hvx_cpuid_entry *table, unsigned int n)
{
	const struct hvx_cpuid_entry *e = cpuid_entry(table, n, 0, 0);
	char id[13] = "";

	if (!e)
		return VENDOR_OTHER;
	memcpy(id, &e->ebx, 4);
	memcpy(id + 4, &e->edx, 4);
	memcpy(id + 8, &e->ecx, 4);
	return cpu_vendor_by_name(id);
}
