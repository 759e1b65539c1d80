// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include "devices/throttle.h"

#define SEC 1000000000ULL

/* What goes through in `ns` from t on, in pieces of `piece`, looking each time as early as it may. */
static uint64_t through(struct throttle *t, uint64_t *now, uint64_t ns, uint64_t piece)
{
	uint64_t end = *now + ns, n = 0, wait;

	while (*now < end) {
		wait = throttle_wait(t, *now);
		*now += wait;
		if (wait || *now >= end)
			continue;
		throttle_charge(t, piece, *now);
		n += piece;
	}
	return n;
}

START_TEST(keeps_the_rate)
{
	static const uint64_t rates[] = { 1, 1000, 1 << 20, 1ULL << 40 }, pieces[] = { 1, 4096, 1 << 20 };
	struct dom_rate r = { .rate = rates[_i % 4] };
	uint64_t now = 5 * SEC, piece = pieces[_i / 4], n, most;
	struct throttle t;

	if (r.rate / piece > 100000)	/* too many to count */
		piece = r.rate / 1000;
	throttle_init(&t, &r);
	n = through(&t, &now, 100 * SEC, piece);
	most = r.rate * 100 + r.rate / 20 + 2 * piece;
	ck_assert_msg(n <= most, "%llu of %llu", (unsigned long long)n, (unsigned long long)most);
	ck_assert_msg(n + 2 * piece >= r.rate * 100 - r.rate / 10, "%llu", (unsigned long long)n);
}
END_TEST

START_TEST(bursts)
{
	struct dom_rate r = { .rate = 1000, .peak = 5000, .peak_s = 2 };
	uint64_t now = SEC, n = 0;
	struct throttle t;

	throttle_init(&t, &r);
	while (!throttle_wait(&t, now)) {
		throttle_charge(&t, 100, now);
		n += 100;
	}
	/* The bucket, and what overdraws it. */
	ck_assert_uint_eq(n, 10100);
	now += 3 * SEC;
	for (n = 0; !throttle_wait(&t, now); n += 100)
		throttle_charge(&t, 100, now);
	ck_assert_uint_eq(n, 3000);
}
END_TEST

START_TEST(extremes)
{
	struct dom_rate none = { 0 }, r = { .rate = 1, .peak = UINT64_MAX, .peak_s = 3600 };
	struct throttle t;

	throttle_init(&t, &none);
	throttle_charge(&t, UINT64_MAX, 1);
	ck_assert_uint_eq(throttle_wait(&t, 1), 0);
	throttle_set(&t, &r);
	throttle_charge(&t, UINT64_MAX, 1);
	(void)throttle_wait(&t, 2);
	r = (struct dom_rate){ .rate = 1 };
	throttle_set(&t, &r);
	throttle_charge(&t, UINT64_MAX, 1);
	ck_assert_uint_gt(throttle_wait(&t, 2), SEC);
	/* Another limit begins with a full bucket. */
	throttle_set(&t, &none);
	ck_assert_uint_eq(throttle_wait(&t, 2), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("throttle");
	TCase *t = tcase_create("throttle");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, keeps_the_rate, 0, 12);
	tcase_add_test(t, bursts);
	tcase_add_test(t, extremes);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
