// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/cpu.c vmm/cpu_*.c vmm/log.c */
/* The guest's CPUID: topologies as an operating system decodes them, features as the XML asks. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cpu.h"
#include "vmm/emul.h"

static const struct hvx_info info = { .tsc_khz = 2000000, .phys_bits = 40 };

/* An AMD host with AVX2, and caches as leaf 0x8000001d has them. */
static const struct hvx_cpuid_entry host[] = {
	{ 0, 0, 0, 0x1f, 0x68747541, 0x444d4163, 0x69746e65, 0 },
	{ 1, 0, 0, 0x00a20f10, 0x0800, 0xb6f83203 | 1 << 9 | 1 << 12, 0x178bfbff, 0 },
	{ 4, 0, 1, 0x121, 0x1c0003f, 63, 0, 0 },
	{ 4, 3, 1, 0x163, 0x3c0003f, 16383, 0, 0 },
	{ 7, 0, 1, 1, 0x219c95ab & ~(1U << 16), 0x40068c & ~(1U << 3), 0, 0 },
	{ 0xd, 0, 1, 7, 832, 832, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d, 0 },
	{ 0x40000001, 0, 0, 0x01000889, 0, 0, 0, 0 },
	{ 0x40000010, 0, 0, 2000000, 1000000, 0, 0, 0 },
	{ 0x80000000, 0, 0, 0x80000021, 0, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0, 0x00400175 | 1 << 5, 0x2fd3fbff, 0 },
	{ 0x80000007, 0, 0, 0, 0, 0, 0x100, 0 },
	{ 0x80000008, 0, 0, 0x3028, 0, 0, 0, 0 },
	{ 0x8000001d, 0, 1, 0x121, 0x1c0003f, 63, 0, 0 },
	{ 0x8000001d, 3, 1, 0x163, 0x3c0003f, 16383, 1, 0 },
};

static struct domain dom;
static struct hvx_cpuid_entry table[HVX_MAX_CPUID];
static unsigned int nr;

static void setup(void)
{
	memset(&dom, 0, sizeof(dom));
	dom.vcpus = dom.max_vcpus = 1;
	dom.features.pmu = -1;
	dom.cpu.migratable = -1;
}

static void shape(unsigned int sockets, unsigned int dies, unsigned int cores, unsigned int threads)
{
	dom.cpu.sockets = sockets;
	dom.cpu.dies = dies;
	dom.cpu.cores = cores;
	dom.cpu.threads = threads;
	dom.vcpus = dom.max_vcpus = sockets * dies * cores * threads;
}

static struct cpu_policy *policy(void)
{
	return cpu_policy_new(&dom, &info, host, sizeof(host) / sizeof(host[0]));
}

static void feature(const char *name, int how)
{
	dom.cpu.feature[dom.cpu.nr_feature].name = (char *)name;
	dom.cpu.feature[dom.cpu.nr_feature++].policy = how;
}

/* The leaf as a vCPU reads it; NULL: zeroes. */
static const struct hvx_cpuid_entry *leaf(uint32_t l, uint32_t sub)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (table[i].leaf == l &&
		    (!(table[i].flags & HVX_CPUID_SUBLEAF) || table[i].subleaf == sub))
			return &table[i];
	return NULL;
}

static void read_table(unsigned int apic_id)
{
	struct cpu_policy *p = policy();

	ck_assert_ptr_nonnull(p);
	nr = cpu_policy_table(p, apic_id, table);
	free(p);
}

static int refused(void)
{
	int keep = dup(2), null = open("/dev/null", O_WRONLY);
	struct cpu_policy *p;

	dup2(null, 2);
	p = policy();
	dup2(keep, 2);
	close(keep);
	close(null);
	free(p);
	return !p;
}

/* --- topology --- */

static const struct {
	unsigned int sockets, dies, cores, threads;
} shapes[] = {
	{ 1, 1, 1, 1 }, { 1, 1, 4, 1 }, { 1, 1, 64, 1 }, { 64, 1, 1, 1 }, { 2, 1, 4, 2 },
	{ 2, 1, 3, 2 }, { 1, 2, 4, 2 }, { 2, 2, 2, 2 }, { 1, 1, 5, 1 }, { 1, 1, 1, 8 }, { 3, 1, 5, 1 },
};

/* Each vCPU's place, as leaf 0xb tells it, is the one it should have; no two are the same. */
START_TEST(topology)
{
	unsigned int i, n, ids = 0;
	uint64_t used = 0;

	shape(shapes[_i].sockets, shapes[_i].dies, shapes[_i].cores, shapes[_i].threads);
	n = dom.vcpus;
	for (i = 0; i < n; i++) {
		struct cpu_policy *p = policy();
		unsigned int id, thread, core, per_socket = n / shapes[_i].sockets;
		const struct hvx_cpuid_entry *smt, *pkg;

		ck_assert_ptr_nonnull(p);
		id = cpu_apic_id(&p->topo, i);
		nr = cpu_policy_table(p, id, table);
		free(p);
		ck_assert_uint_lt(id, HVX_MAX_VCPUS);
		ck_assert(!(used & 1ULL << id));
		used |= 1ULL << id;
		ids++;
		smt = leaf(0xb, 0);
		pkg = leaf(0xb, 1);
		ck_assert_uint_eq(smt->ecx, 0x100);
		ck_assert_uint_eq(pkg->ecx, 0x201);
		ck_assert_uint_eq(smt->edx, id);
		ck_assert_uint_eq(pkg->edx, id);
		ck_assert_uint_eq(smt->ebx, shapes[_i].threads);
		ck_assert_uint_eq(pkg->ebx, per_socket);
		thread = id & ((1U << smt->eax) - 1);
		core = (id & ((1U << pkg->eax) - 1)) >> smt->eax;
		ck_assert_uint_eq(id >> pkg->eax, i / per_socket);
		ck_assert_uint_eq(thread, i % shapes[_i].threads);
		if (shapes[_i].dies == 1)
			ck_assert_uint_eq(core, i / shapes[_i].threads % shapes[_i].cores);
		ck_assert_uint_eq(leaf(0xb, 2)->ecx, 2);
		ck_assert_uint_eq(leaf(1, 0)->ebx >> 24, id);
		ck_assert_uint_eq(leaf(1, 0)->ebx >> 16 & 0xff, 1U << pkg->eax);
		ck_assert_uint_eq(leaf(1, 0)->edx >> 28 & 1, pkg->eax > 0);
		ck_assert_uint_eq((leaf(0x80000008, 0)->ecx & 0xff) + 1, per_socket);
		ck_assert_uint_eq(leaf(0x80000008, 0)->ecx >> 12 & 15, pkg->eax);
		ck_assert_uint_eq(leaf(0x8000001e, 0)->eax, id);
		ck_assert_uint_eq((leaf(0x8000001e, 0)->ebx >> 8 & 0xff) + 1, shapes[_i].threads);
		/* First-level caches belong to a core, the third to a die. */
		ck_assert_uint_eq(leaf(0x8000001d, 0)->eax >> 14 & 0xfff, (1U << smt->eax) - 1);
		if (shapes[_i].dies == 1)
			ck_assert_uint_eq(leaf(0x8000001d, 3)->eax >> 14 & 0xfff,
					  (1U << pkg->eax) - 1);
		ck_assert_int_eq(leaf(0x1f, 0) != NULL, shapes[_i].dies > 1);
	}
	ck_assert_uint_eq(ids, n);
}
END_TEST

START_TEST(topology_limits)
{
	shape(13, 1, 3, 1);	/* two bits for three cores: ids up to 50 */
	read_table(0);
	shape(21, 1, 3, 1);	/* up to 82 */
	ck_assert(refused());
	dom.vcpus = 65;
	dom.max_vcpus = 65;
	dom.cpu.sockets = 0;
	ck_assert(refused());
	dom.vcpus = 0;
	ck_assert(refused());
}
END_TEST

/* --- features --- */

START_TEST(features)
{
	read_table(0);
	ck_assert(leaf(1, 0)->ecx & 1U << 28);
	feature("avx", FEAT_DISABLE);
	feature("no-such-thing", FEAT_DISABLE);
	feature("aes", FEAT_REQUIRE);
	feature("avx512f", FEAT_OPTIONAL);
	feature("avx512f", FEAT_FORBID);
	read_table(0);
	ck_assert(!(leaf(1, 0)->ecx & 1U << 28));
	/* What needs AVX goes with it, and the state that only it uses. */
	ck_assert(!(leaf(7, 0)->ebx & 1U << 5));
	ck_assert(!(leaf(1, 0)->ecx & 1U << 12));
	ck_assert_uint_eq(leaf(0xd, 0)->eax, 3);
	ck_assert(leaf(7, 0)->ebx & 1U << 8);	/* BMI2 stays */
	feature("xsave", FEAT_DISABLE);
	read_table(0);
	ck_assert_ptr_null(leaf(0xd, 0));
}
END_TEST

START_TEST(feature_refusals)
{
	feature("avx512f", FEAT_REQUIRE);
	ck_assert(refused());
	setup();
	feature("no-such-thing", FEAT_REQUIRE);
	ck_assert(refused());
	setup();
	feature("no-such-thing", FEAT_OPTIONAL);
	read_table(0);
	feature("avx2", FEAT_FORBID);
	ck_assert(refused());
}
END_TEST

/* AMD's copy of the basic features follows; bits that only its own leaf has do not. */
START_TEST(amd_copy)
{
	feature("pge", FEAT_DISABLE);
	feature("sep", FEAT_DISABLE);	/* bit 11 there is SYSCALL */
	read_table(0);
	ck_assert(!(leaf(0x80000001, 0)->edx & 1U << 13));
	ck_assert(leaf(0x80000001, 0)->edx & 1U << 11);
	ck_assert(leaf(0x80000001, 0)->edx & 1U << 20);
}
END_TEST

/* The models themselves: cpumodel_test.c. */
START_TEST(models)
{
	dom.cpu.mode = CPU_CUSTOM;
	dom.cpu.model = (char *)"Nehalem";
	read_table(0);
	ck_assert(leaf(1, 0)->ecx & 1U << 20);		/* SSE4.2 */
	ck_assert(!(leaf(1, 0)->ecx & 1U << 28));	/* AVX */
	ck_assert(!(leaf(7, 0)->ebx & 1U << 8));	/* BMI2 */
	dom.cpu.model = (char *)"Cyrix";
	ck_assert(refused());
	dom.cpu.mode = CPU_HOST_MODEL;
	read_table(0);
}
END_TEST

START_TEST(paravirtual)
{
	read_table(0);
	ck_assert_uint_eq(leaf(0x40000001, 0)->eax, 0x01000889);
	ck_assert_uint_eq(leaf(0x40000010, 0)->eax, 2000000);
	dom.features.kvm_pv_ipi_off = true;
	dom.features.pvspinlock_off = true;
	dom.clock.kvmclock.present_set = true;
	read_table(0);
	ck_assert_uint_eq(leaf(0x40000001, 0)->eax, 0);
	dom.features.kvm_hidden = true;
	read_table(0);
	ck_assert_ptr_null(leaf(0x40000000, 0));
	ck_assert_ptr_null(leaf(0x40000001, 0));
	dom.clock.tsc_khz = 1000000;
	ck_assert(refused());
}
END_TEST

START_TEST(for_the_emulator)
{
	struct cpu_policy *p = policy();

	ck_assert_uint_eq(p->phys_bits, 40);
	ck_assert_uint_eq(p->emul_quirks, 0);
	free(p);
	feature("bmi1", FEAT_DISABLE);
	feature("abm", FEAT_DISABLE);
	p = policy();
	ck_assert_uint_eq(p->emul_quirks, EMUL_NO_LZCNT | EMUL_NO_TZCNT);
	free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpu");
	TCase *t = tcase_create("cpuid");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, topology, 0, sizeof(shapes) / sizeof(shapes[0]));
	tcase_add_test(t, topology_limits);
	tcase_add_test(t, features);
	tcase_add_test(t, feature_refusals);
	tcase_add_test(t, amd_copy);
	tcase_add_test(t, models);
	tcase_add_test(t, paravirtual);
	tcase_add_test(t, for_the_emulator);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
