// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/number.c */
#include <check.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/guest.h"

static char said[256];

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
}

START_TEST(numbers)
{
	static const char *const bad[] = {
		"", " ", "+5", "-1", "-0", " 5", "5 ", "5k", "0x5", "5.0", "4", "66", "99999999999999999999", "\xd9\xa5",
	};
	long n = 0;

	ck_assert(number_parse("5", 5, 65, &n) && n == 5);
	ck_assert(number_parse("0065", 5, 65, &n) && n == 65);
	ck_assert(number_parse("9223372036854775807", 0, LONG_MAX, &n) && n == LONG_MAX);
	ck_assert(!number_parse("9223372036854775808", 0, LONG_MAX, &n));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!number_parse(bad[i], 5, 65, &n), "'%s' is taken for %ld", bad[i], n);
}
END_TEST

START_TEST(messages)
{
	const struct cli_cmd cmd = { .name = "verb" };
	long n = 0;

	ck_assert(cli_number(&cmd, "count", "7", 1, 9, &n) && n == 7);
	ck_assert(!cli_number(&cmd, "count", "10", 1, 9, &n));
	ck_assert_str_eq(said, "verb: --count 10: a number from 1 to 9 is wanted");
	ck_assert(!cli_number(&cmd, NULL, "x", 1, LONG_MAX, &n));
	ck_assert_str_eq(said, "verb: x: a number is wanted, 1 at least");
	ck_assert_int_eq(cli_seconds(&cmd, "timeout", "1.5"), 1500);
	ck_assert_int_eq(cli_seconds(&cmd, "timeout", "nan"), -1);
	ck_assert_int_eq(cli_seconds(&cmd, "timeout", "-1"), -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("number");
	TCase *t = tcase_create("number");
	SRunner *sr;
	int failed;

	tcase_add_test(t, numbers);
	tcase_add_test(t, messages);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
