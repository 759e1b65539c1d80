// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/guest_time.c */
/*
 * A guest's clock and TSCs go on from where they stood, all from one moment: on the same
 * frequency as the host's, on a scaled one, and after state was loaded.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "vmm/machine.h"

#define HOST_KHZ	2000000
#define STOOD		123456789012ULL	/* ns */

static struct machine m;
static struct hvx_tsc_state tsc[3];
static struct hvx_clock stop, set;
static unsigned int warnings;
static int fail;	/* hv_set_state() */

/* ------------------------------------------------- the module's stand-in */

int hv_get_clock(struct hv *hv, struct hvx_clock *c)
{
	(void)hv;
	stop = (struct hvx_clock) { .ns = STOOD, .host_tsc = __rdtsc() };
	*c = stop;
	return 0;
}

int hv_set_clock(struct hv *hv, const struct hvx_clock *c)
{
	(void)hv;
	set = *c;
	return 0;
}

static struct hvx_tsc_state *of(struct hv_vcpu *v)
{
	for (unsigned int i = 0; i < 3; i++)
		if (v == &m.vcpu[i].hv)
			return &tsc[i];
	abort();
}

int hv_get_state(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size)
{
	ck_assert_uint_eq(group, HVX_STATE_TSC);
	ck_assert_uint_eq(size, sizeof(tsc[0]));
	memcpy(data, of(v), size);
	return 0;
}

int hv_set_state(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size)
{
	const struct hvx_tsc_state *t = data;

	ck_assert_uint_eq(group, HVX_STATE_TSC);
	ck_assert_uint_eq(size, sizeof(*t));
	ck_assert_uint_eq(t->flags, HVX_TSC_BY_OFFSET);
	ck_assert_uint_eq(t->khz, of(v)->khz);
	of(v)->offset = t->offset;
	return fail;
}

void log_warn(const char *fmt, ...)
{
	(void)fmt;
	warnings++;
}

/* ------------------------------------------------------------------- tests */

static const uint32_t khz[] = { HOST_KHZ, 1234567, 3999999 };

static uint64_t scaled(uint64_t host_tsc, uint32_t f)
{
	uint64_t ratio = ((uint64_t)f << 32) / HOST_KHZ;

	return f == HOST_KHZ ? host_tsc : (uint64_t)((unsigned __int128)host_tsc * ratio >> 32);
}

static void begin(uint32_t f)
{
	memset(&m, 0, sizeof(m));
	memset(&set, 0, sizeof(set));
	m.nr_vcpus = 3;
	m.hv.info.tsc_khz = HOST_KHZ;
	warnings = 0;
	fail = 0;
	for (unsigned int i = 0; i < 3; i++)
		tsc[i] = (struct hvx_tsc_state) { .khz = f, .offset = 1000 * i - (1ULL << 40) };
}

START_TEST(test_stands)
{
	uint64_t value[3];
	unsigned int i;

	begin(khz[_i]);
	guest_time_go_on(&m);		/* it runs: nothing */
	ck_assert_uint_eq(set.ns, 0);
	guest_time_stop(&m);
	ck_assert(m.time.stands);
	ck_assert_uint_eq(m.time.clock_ns, STOOD);
	for (i = 0; i < 3; i++) {
		value[i] = scaled(stop.host_tsc, khz[_i]) + tsc[i].offset;
		ck_assert_uint_eq(m.vcpu[i].tsc, value[i]);
	}
	guest_time_go_on(&m);
	ck_assert(!m.time.stands);
	ck_assert_uint_eq(set.ns, STOOD);
	ck_assert_uint_gt(set.host_tsc, stop.host_tsc);
	for (i = 0; i < 3; i++)
		ck_assert_uint_eq(scaled(set.host_tsc, khz[_i]) + tsc[i].offset, value[i]);
	ck_assert_uint_eq(warnings, 0);
}
END_TEST

/* The TSCs are as far apart as setting them made them, whatever values were saved. */
START_TEST(test_loaded)
{
	unsigned int i;

	begin(khz[_i]);
	tsc[1].offset = tsc[0].offset;
	m.vcpu[0].tsc = 1ULL << 50;
	m.vcpu[1].tsc = (1ULL << 50) + 777;
	guest_time_loaded(&m, STOOD);
	ck_assert(m.time.stands);
	guest_time_go_on(&m);
	ck_assert_uint_eq(set.ns, STOOD);
	for (i = 0; i < 3; i++)
		ck_assert_uint_eq(scaled(set.host_tsc, khz[_i]) + tsc[i].offset,
				  (1ULL << 50) + (i == 2 ? 2000 : 0));
}
END_TEST

START_TEST(test_refused)
{
	begin(HOST_KHZ);
	guest_time_stop(&m);
	fail = -EINVAL;
	guest_time_go_on(&m);
	ck_assert_uint_eq(warnings, 1);
	ck_assert_uint_eq(set.ns, STOOD);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_time");
	TCase *c = tcase_create("guest_time");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(c, test_stands, 0, 3);
	tcase_add_loop_test(c, test_loaded, 0, 3);
	tcase_add_test(c, test_refused);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
