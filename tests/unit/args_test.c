// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/args.c */
/* Messages: what a guest or another host said may be a part of one. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli/cli.h"

const char *const cli_group_title[CLI_GROUPS];

const struct cli_cmd *const *cli_verbs(void)
{
	return NULL;
}

static void says(const char *what, const char *want)
{
	int keep = dup(STDERR_FILENO), fd = memfd_create("said", 0);
	char text[256] = "", line[256];

	dup2(fd, STDERR_FILENO);
	cli_error("vm: %s", what);
	fflush(stderr);
	dup2(keep, STDERR_FILENO);
	close(keep);
	ck_assert_int_gt(pread(fd, text, sizeof(text) - 1, 0), 0);
	close(fd);
	snprintf(line, sizeof(line), "hvx: vm: %s\n", want);
	ck_assert_str_eq(text, line);
}

/* Nothing that a terminal obeys; other languages stay as they are. */
START_TEST(plain)
{
	says("no such file", "no such file");
	says("\x1b]0;root@host\x07\x1b[2Jgone", "?]0;root@host??[2Jgone");
	says("one\ntwo\tthree\rfour\x7f", "one\ntwo\tthree?four?");
	says("\xc2\x9b" "2J", "??2J");	/* CSI */
	says("K\xc3\xb6ln \xc2\xa0\xe2\x82\xac", "K\xc3\xb6ln \xc2\xa0\xe2\x82\xac");
	says("\xc2", "\xc2");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("args");
	TCase *t = tcase_create("args");
	SRunner *sr;
	int failed;

	tcase_add_test(t, plain);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
