// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/msr.c */
/* MSRs without effect: what they start with, which writes they take, that a reset undoes them. */
#include <check.h>
#include <stdlib.h>

#include "vmm/msr.h"

static struct msr_store s;

static void setup(void)
{
	msr_init(&s);
}

static uint64_t get(uint32_t index)
{
	uint64_t val = 0;

	ck_assert(msr_read(&s, index, &val));
	return val;
}

static const struct {
	uint32_t index;
	uint64_t start, good, bad, after;	/* bad 0: none */
} kept[] = {
	{ 0x200, 0, 0x80000006, 0x80000002, 0x80000006 },	/* variable base: memory types */
	{ 0x201, 0, 0xff80000800, 1ULL << 40, 0xff80000800 },	/* ... mask: 40 address bits */
	{ 0x20f, 0, 0x800, 0x400, 0x800 },
	{ 0x250, 0x0606060606060606, 0x0001040506000000, 0x0700000000000000, 0x0001040506000000 },
	{ 0x259, 0x0606060606060606, 0, 0x02, 0 },
	{ 0x26f, 0x0606060606060606, 5, 0x0800, 5 },
	{ 0x2ff, 0xc06, 0x800, 0x1000, 0x800 },
	{ 0x17a, 0, 7, 8, 7 },
	{ 0x17b, ~0ULL, 1, 0, 1 },
	{ 0x400, 0, 99, 0, 99 },
	{ 0x401, 0, 0, 1, 0 },
	{ 0x403, 0, 0, 1, 0 },
	{ 0x1a0, 0x1801, 0, 0, 0x1800 },			/* BTS and PEBS stay away */
	{ 0x1d9, 0, 3, 4, 0 },
	{ 0x3a, 1, 0, 0, 0 },
	{ 0xfe, 0x508, 0, 0, 0 },
	{ 0xc0010015, 1 << 24, 1, 0, 1 },
	{ 0xc0011029, 2, 0x202, 0, 0x202 },
	{ 0xc0010114, 0x18, 0, 0, 0x18 },
	{ 0xc0010007, 0, 5, 0, 0 },
	{ MSR_WALL_CLOCK_NEW, 0, 0xb000, 0xb001, 0xb000 },
};

START_TEST(values)
{
	uint32_t index = kept[_i].index;
	bool read_only = index == 0x3a || index == 0xfe;

	ck_assert_uint_eq(get(index), kept[_i].start);
	ck_assert_int_eq(msr_write(&s, 40, index, kept[_i].good), !read_only);
	if (!read_only)
		ck_assert_uint_eq(get(index), kept[_i].after);
	if (kept[_i].bad) {
		ck_assert(!msr_write(&s, 40, index, kept[_i].bad));
		ck_assert_uint_eq(get(index), kept[_i].after);
	}
	msr_power_on(&s);
	ck_assert_uint_eq(get(index), kept[_i].start);
}
END_TEST

/* Each MTRR has a place of its own; both numbers of the wall clock have the same. */
START_TEST(places)
{
	uint32_t i;

	for (i = 0; i < 16; i++)
		ck_assert(msr_write(&s, 40, 0x200 + i, (uint64_t)(i + 1) << 12));
	for (i = 0; i < 8; i++)
		ck_assert(msr_write(&s, 40, 0x268 + i, i % 2));
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(get(0x200 + i), (uint64_t)(i + 1) << 12);
	for (i = 0; i < 8; i++)
		ck_assert_uint_eq(get(0x268 + i), i % 2);
	ck_assert(msr_write(&s, 40, MSR_WALL_CLOCK, 0x1000));
	ck_assert_uint_eq(get(MSR_WALL_CLOCK_NEW), 0x1000);
	ck_assert_uint_eq(get(0x17a), 0);
}
END_TEST

/* No such MSR; write-only; the microcode revision stays the host's through all. */
START_TEST(others)
{
	static const uint32_t none[] = { 0x48, 0x49, 0x10a, 0xe7, 0x210, 0x251, 0x404, 0x40000000,
					 0xc0010008, 0xc0011020, 0xdeadbeef, ~0U };
	uint64_t val, microcode = get(0x8b);
	unsigned int i;

	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		ck_assert(!msr_read(&s, none[i], &val));
		ck_assert(!msr_write(&s, 40, none[i], 0));
	}
	ck_assert(!msr_read(&s, 0x79, &val));
	ck_assert(msr_write(&s, 40, 0x79, 1));
	ck_assert(msr_write(&s, 40, 0x8b, microcode + 1));
	msr_power_on(&s);
	ck_assert_uint_eq(get(0x8b), microcode);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msr");
	TCase *t = tcase_create("msr");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, values, 0, sizeof(kept) / sizeof(kept[0]));
	tcase_add_test(t, places);
	tcase_add_test(t, others);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
