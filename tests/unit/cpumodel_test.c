// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/cpu.c vmm/cpu_*.c vmm/log.c */
/*
 * Named CPUs on recorded hosts: what a model gives, what is refused and how that is said,
 * and which guests may go from one host to another.
 */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cpu.h"

#define SUB HVX_CPUID_SUBLEAF

struct recorded {
	const char *name;
	struct hvx_info info;
	unsigned int nr;
	struct hvx_cpuid_entry e[24];
};

/* What hvx offers on these, from their CPUID. */
static const struct recorded skylake = {
	"Intel Core i7-6700", { .tsc_khz = 3400000, .phys_bits = 39 }, 15, {
	{ 0, 0, 0, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69, 0 },
	{ 1, 0, 0, 0x000506e3, 0x0800, 0xf7fa3203 & ~(1U << 27), 0x1fcbfbff & ~(1U << 18), 0 },
	{ 4, 0, SUB, 0x121, 0x1c0003f, 63, 0, 0 },
	{ 6, 0, 0, 4, 0, 0, 0, 0 },
	{ 7, 0, SUB, 0, 0x009c27ab & ~(1U << 11), 0, 0x400, 0 },
	{ 0xd, 0, SUB, 7, 832, 832, 0, 0 }, { 0xd, 1, SUB, 7, 0, 0, 0, 0 }, { 0xd, 2, SUB, 256, 576, 0, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d, 0 },
	{ 0x40000001, 0, 0, 0x01000889, 0, 0, 0, 0 },
	{ 0x40000010, 0, 0, 3400000, 1000000, 0, 0, 0 },
	{ 0x80000000, 0, 0, 0x80000008, 0, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0, 0x121, 0x2c100800, 0 },
	{ 0x80000007, 0, 0, 0, 0, 0, 0x100, 0 },
	{ 0x80000008, 0, 0, 0x3027, 0, 0, 0, 0 } }
};

static const struct recorded icelake = {
	"Intel Xeon Gold 6338", { .tsc_khz = 2000000, .phys_bits = 46, .features = HVX_FEAT_TSC_SCALING }, 20, {
	{ 0, 0, 0, 0x1b, 0x756e6547, 0x6c65746e, 0x49656e69, 0 },
	{ 1, 0, 0, 0x000606a6, 0x0800, 0xf7fa3203 & ~(1U << 27), 0x1fcbfbff & ~(1U << 18), 0 },
	{ 4, 0, SUB, 0x121, 0x2c0003f, 63, 0, 0 },
	{ 6, 0, 0, 4, 0, 0, 0, 0 },
	{ 7, 0, SUB, 1, 0xf1bf27eb & ~(1U << 11), 0x00415f4e, 0x410, 0 }, { 7, 1, SUB, 0, 0, 0, 0, 0 },
	{ 0xd, 0, SUB, 0x2e7, 2696, 2696, 0, 0 }, { 0xd, 1, SUB, 7, 0, 0, 0, 0 },
	{ 0xd, 2, SUB, 256, 576, 0, 0, 0 }, { 0xd, 5, SUB, 64, 1088, 0, 0, 0 },
	{ 0xd, 6, SUB, 512, 1152, 0, 0, 0 }, { 0xd, 7, SUB, 1024, 1664, 0, 0, 0 }, { 0xd, 9, SUB, 8, 2688, 0, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d, 0 },
	{ 0x40000001, 0, 0, 0x01000889, 0, 0, 0, 0 },
	{ 0x40000010, 0, 0, 2000000, 1000000, 0, 0, 0 },
	{ 0x80000000, 0, 0, 0x80000008, 0, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0, 0x121, 0x2c100800, 0 },
	{ 0x80000007, 0, 0, 0, 0, 0, 0x100, 0 },
	{ 0x80000008, 0, 0, 0x392e, 0, 0, 0, 0 } }
};

static const struct recorded rome = {
	"AMD EPYC 7302", { .tsc_khz = 3000000, .phys_bits = 48, .features = HVX_FEAT_TSC_SCALING | HVX_FEAT_XSAVES }, 17, {
	{ 0, 0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65, 0 },
	{ 1, 0, 0, 0x00830f10, 0x0800, 0xf7fa3203 & ~(1U << 27 | 1U << 17), 0x178bfbff, 0 },
	{ 6, 0, 0, 4, 0, 0, 0, 0 },
	{ 7, 0, SUB, 0, 0x219c91ab, 0x00400004, 0, 0 },
	{ 0xd, 0, SUB, 7, 832, 832, 0, 0 }, { 0xd, 1, SUB, 0xf, 0, 0, 0, 0 }, { 0xd, 2, SUB, 256, 576, 0, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d, 0 },
	{ 0x40000001, 0, 0, 0x01000889, 0, 0, 0, 0 },
	{ 0x40000010, 0, 0, 3000000, 1000000, 0, 0, 0 },
	{ 0x80000000, 0, 0, 0x80000021, 0, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0x00830f10, 0, 0x004001f1, 0x2fd3fbff, 0 },
	{ 0x80000007, 0, 0, 0, 0, 0, 0x100, 0 },
	{ 0x80000008, 0, 0, 0x3030, 0x5, 0, 0, 0 },
	{ 0x8000001d, 0, SUB, 0x121, 0x1c0003f, 63, 0, 0 },
	{ 0x8000001d, 3, SUB, 0x163, 0x3c0003f, 16383, 1, 0 },
	{ 0x80000021, 0, 0, 0x41, 0, 0, 0, 0 } }
};

static const struct recorded *const hosts[] = { &skylake, &icelake, &rome };

static struct domain dom;
static struct hvx_cpuid_entry table[HVX_MAX_CPUID];
static unsigned int nr;
static char said[4096];

static void setup(void)
{
	memset(&dom, 0, sizeof(dom));
	dom.file = (char *)"guest.xml";
	dom.vcpus = dom.max_vcpus = 2;
	dom.memory = dom.max_memory = 1 << 30;
	dom.features.pmu = -1;
	dom.cpu.migratable = -1;
	dom.cpu.line = 7;
	dom.cpu.model_line = 8;
}

static void model(const char *name)
{
	dom.cpu.mode = CPU_CUSTOM;
	dom.cpu.model = (char *)name;
}

static void feature(const char *name, int how)
{
	dom.cpu.feature[dom.cpu.nr_feature].name = (char *)name;
	dom.cpu.feature[dom.cpu.nr_feature].line = 9 + dom.cpu.nr_feature;
	dom.cpu.feature[dom.cpu.nr_feature++].policy = how;
}

/* The policy on this host; what went to standard error is in said[]. */
static struct cpu_policy *on(const struct recorded *h)
{
	int keep = dup(2), p[2];
	struct cpu_policy *policy;
	ssize_t n;

	ck_assert_int_eq(pipe(p), 0);
	dup2(p[1], 2);
	close(p[1]);
	policy = cpu_policy_new(&dom, &h->info, h->e, h->nr);
	dup2(keep, 2);
	close(keep);
	n = read(p[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(p[0]);
	if (policy)
		nr = cpu_policy_table(policy, 0, table);
	return policy;
}

static void gives(const struct recorded *h)
{
	struct cpu_policy *p = on(h);

	ck_assert_msg(p != NULL, "%s: %s", h->name, said);
	free(p);
}

static void refuses(const struct recorded *h, const char *text)
{
	struct cpu_policy *p = on(h);

	ck_assert_msg(!p, "%s gives it", h->name);
	ck_assert_msg(strstr(said, text) != NULL, "no \"%s\" in: %s", text, said);
}

static bool shows(const char *name)
{
	struct cpu_set s = cpu_set_of(table, nr);

	ck_assert_int_ge(cpu_feature(name), 0);
	return cpu_has(&s, cpu_feature(name));
}

static uint32_t eax(uint32_t leaf, uint32_t sub)
{
	struct hvx_cpuid_entry *e = cpuid_entry(table, nr, leaf, sub);

	return e ? e->eax : 0;
}

/* --- names --- */

START_TEST(names)
{
	ck_assert_int_eq(cpu_feature("sse4_1"), cpu_feature("sse4.1"));
	ck_assert_int_eq(cpu_feature("pclmulqdq"), cpu_feature("pclmuldq"));
	ck_assert_int_eq(cpu_feature("lahf-lm"), cpu_feature("lahf_lm"));
	ck_assert_int_eq(cpu_feature("lzcnt"), cpu_feature("abm"));
	ck_assert_int_eq(cpu_feature("warp-drive"), -1);
	ck_assert_int_eq(cpu_feature(""), -1);
	ck_assert_str_eq(cpu_feature_name(cpu_feature("sse3")), "pni");
	ck_assert_str_eq(cpu_feature_name(W_1_EDX << 5 | 10), "bit 10 of EDX of CPUID leaf 0x1.0");
}
END_TEST

/* Every name in the table is one; each model can be found and is not empty; none twice. */
START_TEST(table_is_sound)
{
	const struct cpu_model *m, *o;
	char word[64];
	const char *p;
	size_t n;
	int k;

	for (m = cpu_models; m->name; m++) {
		struct cpu_set set = cpu_model_set(m);

		ck_assert_ptr_eq(cpu_model_find(m->name), m);
		ck_assert_msg(!m->base || cpu_model_find(m->base), "%s: no base %s", m->name, m->base);
		ck_assert_msg(cpu_has(&set, cpu_feature("sse2")) && cpu_has(&set, cpu_feature("lm")), "%s", m->name);
		ck_assert_uint_ne(cpu_model_signature(m), 0);
		for (o = cpu_models; o != m; o++) {
			struct cpu_set other = cpu_model_set(o);

			ck_assert_msg(memcmp(&set, &other, sizeof(set)) || cpu_model_vendor(m) != cpu_model_vendor(o) ||
				      cpu_model_signature(m) != cpu_model_signature(o), "%s is %s", m->name, o->name);
		}
		for (k = 0; k < 2; k++)
			for (p = k ? m->sub : m->add; p && *p; p += n + (p[n] == ' ')) {
				n = strcspn(p, " ");
				if (!n)
					continue;
				ck_assert_uint_lt(n, sizeof(word));
				memcpy(word, p, n);
				word[n] = '\0';
				ck_assert_msg(cpu_feature(word) >= 0, "%s: %s", m->name, word);
			}
	}
}
END_TEST

START_TEST(signatures)
{
	ck_assert_uint_eq(cpu_signature(6, 94, 3), 0x000506e3);
	ck_assert_uint_eq(cpu_signature(23, 49, 0), 0x00830f10);
	ck_assert_uint_eq(cpu_signature(25, 1, 1), 0x00a00f11);
	ck_assert_uint_eq(cpu_model_signature(cpu_model_find("Haswell-IBRS")), 0x000306c4);
}
END_TEST

/* --- a model on a host --- */

START_TEST(exactly_the_model)
{
	struct cpu_set want, got, by_hvx = { { 0 } };
	struct cpu_policy *p;

	/* Nothing of the host's shows but its vendor. */
	model("Westmere");
	p = on(&icelake);
	ck_assert_ptr_nonnull(p);
	want = cpu_model_set(cpu_model_find("Westmere"));
	cpu_set_add(&want, "x2apic hypervisor ht");
	got = cpu_set_of(table, nr);
	ck_assert_msg(!memcmp(&want, &got, sizeof(want)), "%s", cpu_set_text(&got));
	ck_assert_uint_eq(eax(1, 0), 0x000206c1);
	ck_assert_uint_eq(eax(0xd, 0), 0);
	ck_assert_uint_eq(p->phys_bits, 40);
	ck_assert_uint_eq(eax(0x80000000, 0), 0x80000008);
	ck_assert_uint_eq(cpu_set_count(&p->disable), 0);
	cpu_set_add(&by_hvx, "x2apic hypervisor");
	ck_assert_mem_eq(&p->require, &by_hvx, sizeof(by_hvx));
	free(p);
}
END_TEST

/* The same table on hosts that are not alike. */
START_TEST(same_everywhere)
{
	static const char *const both[] = { "x86-64-v1", "x86-64-v2-AES", "x86-64-v3", "Penryn", "SandyBridge" };
	struct hvx_cpuid_entry first[HVX_MAX_CPUID];
	unsigned int n;

	model(both[_i]);
	dom.cpu.phys_bits = 39;
	gives(&skylake);
	/* Which clock it is told is the host's. */
	cpuid_entry(table, nr, 0x40000010, 0)->eax = 0;
	memcpy(first, table, nr * sizeof(*first));
	n = nr;
	gives(&icelake);
	cpuid_entry(table, nr, 0x40000010, 0)->eax = 0;
	ck_assert_uint_eq(nr, n);
	ck_assert_mem_eq(first, table, n * sizeof(*first));
}
END_TEST

START_TEST(refusals)
{
	model("Skylake-Server");
	refuses(&skylake, "guest.xml:8: <model>Skylake-Server</model>: this host's CPU has no "
		"avx512f, avx512dq, clwb, avx512cd, avx512bw, avx512vl;");
	dom.cpu.check = CHECK_NONE;
	gives(&skylake);
	ck_assert(!shows("avx512f") && shows("avx2") && shows("smap"));
	dom.cpu.check = CHECK_DEFAULT;
	feature("avx512f", FEAT_DISABLE);
	refuses(&skylake, "has no avx512dq, clwb,");
	setup();
	model("Nehalem");
	feature("avx2", FEAT_REQUIRE);
	feature("avx512f", FEAT_REQUIRE);
	refuses(&skylake, "guest.xml:10: <feature name='avx512f'>: this host's CPU does not have it");
	setup();
	feature("vmx", FEAT_REQUIRE);
	refuses(&skylake, "hvx gives it to no guest");
	setup();
	feature("turbo-button", FEAT_REQUIRE);
	refuses(&skylake, "not a feature that hvx knows");
	setup();
	feature("avx2", FEAT_FORBID);
	refuses(&rome, "guest.xml:9: <feature name='avx2'>: this host's CPU has it");
	setup();
	model("Nehalem");
	dom.cpu.vendor = (char *)"Intel";
	refuses(&rome, "<vendor>Intel</vendor>: this host's CPU is of AMD");
	dom.cpu.vendor = (char *)"AMD";
	gives(&rome);
	setup();
	model("Pentium-9");
	refuses(&rome, "guest.xml:8: <model>Pentium-9</model>: not known");
	setup();
	dom.cpu.phys_bits = 40;
	refuses(&skylake, "<maxphysaddr bits='40'>: this host's CPU has 39");
}
END_TEST

/* What hvx gives nobody is left out, unless the XML will have all or nothing. */
START_TEST(what_no_guest_gets)
{
	struct cpu_policy *p;

	model("Haswell");
	p = on(&skylake);
	ck_assert_msg(p != NULL, "%s", said);
	ck_assert(!shows("hle") && !shows("rtm") && shows("avx2"));
	ck_assert(cpu_has(&p->disable, cpu_feature("rtm")));
	free(p);
	dom.cpu.forbid_fallback = true;
	refuses(&skylake, "guest.xml:8: <model>Haswell</model>: hvx gives no guest hle, rtm;");
	dom.cpu.forbid_fallback = false;
	dom.cpu.check = CHECK_FULL;
	refuses(&skylake, "hle, rtm");
	feature("hle", FEAT_DISABLE);
	feature("rtm", FEAT_DISABLE);
	gives(&skylake);
}
END_TEST

START_TEST(match)
{
	model("Westmere");
	dom.cpu.match = MATCH_MINIMUM;
	gives(&skylake);
	ck_assert(shows("avx2") && shows("smap"));
	dom.cpu.match = MATCH_STRICT;
	refuses(&skylake, "guest.xml:7: <cpu match='strict'>: this host's CPU also has");
}
END_TEST

START_TEST(optional_and_migratable)
{
	model("Westmere");
	feature("avx512f", FEAT_OPTIONAL);
	feature("avx", FEAT_OPTIONAL);
	feature("xsave", FEAT_OPTIONAL);
	gives(&skylake);
	ck_assert(shows("avx") && !shows("avx512f") && eax(0xd, 0) == 7);
	setup();
	gives(&skylake);
	ck_assert(shows("invtsc"));
	dom.cpu.migratable = 1;
	gives(&skylake);
	ck_assert(!shows("invtsc"));
}
END_TEST

START_TEST(vector_state)
{
	model("Skylake-Server");
	gives(&icelake);
	ck_assert_uint_eq(eax(0xd, 0), 0xe7);
	ck_assert_uint_eq(cpuid_entry(table, nr, 0xd, 0)->ecx, 2688);
	ck_assert_ptr_null(cpuid_entry(table, nr, 0xd, 9));
	model("Skylake-Client");
	gives(&icelake);
	ck_assert_uint_eq(eax(0xd, 0), 7);
	ck_assert_uint_eq(cpuid_entry(table, nr, 0xd, 0)->ecx, 832);
}
END_TEST

START_TEST(supervisor_state)
{
	model("EPYC-Rome");
	gives(&rome);
	ck_assert(shows("xsaves") && eax(0xd, 1) == 0xf);
	model("EPYC");
	gives(&rome);
	ck_assert(!shows("xsaves") && eax(0xd, 1) == 7);
	model("EPYC");
	feature("xsaves", FEAT_REQUIRE);
	gives(&rome);
	ck_assert(shows("xsaves"));
	setup();
	model("Icelake-Server");
	feature("xsaves", FEAT_REQUIRE);
	refuses(&icelake, "xsaves");
}
END_TEST

/* host-model: a model and features that make the same guest again, here and on a greater host. */
START_TEST(host_model)
{
	static const char *const nearest[] = { "Skylake-Client-noTSX-IBRS", "Icelake-Server-noTSX", "EPYC-Rome" };
	struct hvx_cpuid_entry first[HVX_MAX_CPUID];
	struct cpu_policy *p;
	unsigned int n;
	int f = -1;

	dom.cpu.mode = CPU_HOST_MODEL;
	p = on(hosts[_i]);
	ck_assert_msg(p && p->model, "%s", said);
	ck_assert_str_eq(p->model->name, nearest[_i]);
	ck_assert(!shows("invtsc"));
	memcpy(first, table, nr * sizeof(*first));
	n = nr;
	model(p->model->name);
	dom.cpu.check = CHECK_FULL;
	while ((f = cpu_set_next(&p->require, f)) >= 0)
		feature(cpu_feature_name(f), FEAT_REQUIRE);
	while ((f = cpu_set_next(&p->disable, f)) >= 0)
		feature(cpu_feature_name(f), FEAT_DISABLE);
	free(p);
	gives(hosts[_i]);
	ck_assert_uint_eq(nr, n);
	ck_assert_mem_eq(first, table, n * sizeof(*first));
}
END_TEST

/* --- from host to host --- */

static char why[320];

/* A guest that was started on `from` as the XML says: may it go to `to`? */
static bool goes(const struct recorded *from, const struct recorded *to)
{
	gives(from);
	why[0] = '\0';
	return !cpu_table_fits(table, nr, from->info.tsc_khz, to->e, to->nr, &to->info, why, sizeof(why));
}

START_TEST(who_may_go_where)
{
	unsigned int a, b;

	for (a = 0; a < 3; a++)
		ck_assert_msg(goes(hosts[a], hosts[a]), "%s: %s", hosts[a]->name, why);
	/* All that Skylake has, Icelake has; TSC scaling makes up for the clock. */
	ck_assert_msg(goes(&skylake, &icelake), "%s", why);
	ck_assert(!goes(&icelake, &skylake));
	ck_assert_msg(strstr(why, "avx512f") && strstr(why, "cannot give"), "%s", why);
	for (a = 0; a < 3; a++)
		for (b = 0; b < 3; b++)
			if ((a == 2) != (b == 2)) {
				ck_assert(!goes(hosts[a], hosts[b]));
				ck_assert_msg(strstr(why, "AuthenticAMD") && strstr(why, "GenuineIntel"), "%s", why);
			}
	/* With a model that both have there is the clock left. */
	model("x86-64-v3");
	dom.cpu.phys_bits = 39;
	ck_assert(!goes(&icelake, &skylake));
	ck_assert_str_eq(why, "the guest's TSC runs at 2000000 kHz, this host's at 3400000, and its CPU cannot scale it");
	dom.cpu.phys_bits = 0;
	ck_assert(!goes(&icelake, &skylake));
	ck_assert_msg(strstr(why, "40 bits of physical address, this host has 39"), "%s", why);
}
END_TEST

START_TEST(what_does_not_fit)
{
	struct hvx_cpuid_entry *e;
	struct recorded to = icelake;

	ck_assert(goes(&icelake, &to));
	e = cpuid_entry(to.e, to.nr, 0xd, 9);
	e->ebx = 832;
	ck_assert(!goes(&icelake, &to));
	ck_assert_msg(strstr(why, "XCR0 bit 9 are saved in 8 bytes at 2688"), "%s", why);
	to = icelake;
	cpuid_entry(to.e, to.nr, 0x40000001, 0)->eax = 0x09;
	ck_assert(!goes(&icelake, &to));
	ck_assert_msg(strstr(why, "0x1000880"), "%s", why);
	gives(&icelake);
	table[nr++] = (struct hvx_cpuid_entry){ .leaf = 0x14, .eax = 1 };
	ck_assert(cpu_table_fits(table, nr, 0, icelake.e, icelake.nr, &icelake.info, why, sizeof(why)));
	ck_assert_msg(strstr(why, "leaf 0x14"), "%s", why);
	/* A bit without a name is told by its place. */
	gives(&icelake);
	cpuid_entry(table, nr, 7, 0)->ecx |= 1U << 15;
	ck_assert(cpu_table_fits(table, nr, 0, icelake.e, icelake.nr, &icelake.info, why, sizeof(why)));
	ck_assert_msg(strstr(why, "bit 15 of ECX of CPUID leaf 0x7.0"), "%s", why);
}
END_TEST

START_TEST(adopted)
{
	struct hvx_cpuid_entry first[HVX_MAX_CPUID];
	struct cpu_policy *p;
	unsigned int n;

	gives(&skylake);
	memcpy(first, table, nr * sizeof(*first));
	n = nr;
	p = on(&icelake);
	cpu_policy_adopt(p, &icelake.info, first, n);
	ck_assert_uint_eq(p->phys_bits, 39);
	nr = cpu_policy_table(p, 0, table);
	ck_assert_uint_eq(nr, n);
	ck_assert_mem_eq(first, table, n * sizeof(*first));
	free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpumodel");
	TCase *t = tcase_create("models");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, names);
	tcase_add_test(t, table_is_sound);
	tcase_add_test(t, signatures);
	tcase_add_test(t, exactly_the_model);
	tcase_add_loop_test(t, same_everywhere, 0, 5);
	tcase_add_test(t, refusals);
	tcase_add_test(t, what_no_guest_gets);
	tcase_add_test(t, match);
	tcase_add_test(t, optional_and_migratable);
	tcase_add_test(t, vector_state);
	tcase_add_test(t, supervisor_state);
	tcase_add_loop_test(t, host_model, 0, 3);
	tcase_add_test(t, who_may_go_where);
	tcase_add_test(t, what_does_not_fit);
	tcase_add_test(t, adopted);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
