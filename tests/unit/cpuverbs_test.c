// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/stream.c vmm/state.c devices/device.c devices/storage/image.c devices/storage/overlay*.c devices/net/tap.c devices/net/user.c vmm/helper.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/cgroup.c vmm/sandbox.c vmm/log.c vmm/logfile.c cli/[!m]*.c vmm/domxml*.c vmm/config.c vmm/hvxapi.c vmm/hv_*.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c vmm/qmp_frame.c */
/* cpu-models, cpu-baseline and cpu-compare on files, as several hosts print them. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/cpudesc.h"

static char out[65536], err[8192];
static char dir[] = "/tmp/hvx-cpuverbs.XXXXXX";

static void slurp(const char *name, char *to, size_t room)
{
	int fd = open(name, O_RDONLY);
	ssize_t n = read(fd, to, room - 1);

	to[n > 0 ? n : 0] = '\0';
	close(fd);
	unlink(name);
}

static int redirect(int fd, const char *name)
{
	int keep = dup(fd), to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(to, 0);
	dup2(to, fd);
	close(to);
	return keep;
}

/* Its exit status; what it said in out[] and err[]. */
static int hvx(const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = { "hvx", a, b, c, d, NULL };
	int argc = 2 + !!b + !!c + !!d, status, keep1, keep2;

	fflush(stdout);
	keep1 = redirect(1, "out");
	keep2 = redirect(2, "err");
	optind = 0;
	status = cli_main(argc, (char **)argv);
	fflush(stdout);
	dup2(keep1, 1);
	dup2(keep2, 2);
	close(keep1);
	close(keep2);
	slurp("out", out, sizeof(out));
	slurp("err", err, sizeof(err));
	return status;
}

static void file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void begin(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void end(void)
{
	char cmd[64];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

#define says(text, what) ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in: %s", what, text)
#define says_not(text, what) ck_assert_msg(strstr(text, what) == NULL, "\"%s\" in: %s", what, text)

static const char haswell[] =
	"<?xml version='1.0'?>\n<capabilities>\n<host>\n<cpu><arch>x86_64</arch><model>Haswell-noTSX</model><vendor>Intel</vendor>"
	"<feature name='invtsc'/><feature name='abm'/></cpu></host></capabilities>\n";
static const char broadwell[] =
	"<domainCapabilities><cpu><mode name='host-passthrough' supported='yes'/><mode name='host-model' supported='yes'>"
	"<model fallback='forbid'>Broadwell-noTSX</model><vendor>Intel</vendor><feature policy='require' name='invtsc'/>"
	"<feature policy='disable' name='erms'/></mode></cpu></domainCapabilities>\n";

START_TEST(baseline)
{
	file("a", haswell);
	file("b", broadwell);
	ck_assert_int_eq(hvx("cpu-baseline", "a", "b", NULL), 0);
	says(out, "<model fallback='allow'>Haswell-noTSX</model>");
	says(out, "<vendor>Intel</vendor>");
	says(out, "<feature policy='require' name='invtsc'/>");
	says(out, "<feature policy='disable' name='erms'/>");
	says_not(out, "abm");
	says_not(out, "rtm");
	ck_assert_int_eq(hvx("cpu-baseline", "--migratable", "a", "b"), 0);
	says_not(out, "invtsc");
	ck_assert_int_eq(hvx("cpu-baseline", "--features", "a", "b"), 0);
	says(out, "name='avx2'/>");
	/* What it prints is a CPU again, and several fit into one file. */
	file("c", out);
	ck_assert_int_eq(hvx("cpu-baseline", "c", NULL, NULL), 0);
	says(out, "Haswell-noTSX");
	ck_assert_int_eq(system("cat a b > both"), 0);
	ck_assert_int_eq(hvx("cpu-baseline", "--json", "both", NULL), 0);
	says(out, "\"model\":\"Haswell-noTSX\"");
	says(out, "\"disable\":[\n    \"erms\"\n  ]");
}
END_TEST

START_TEST(no_baseline)
{
	file("a", haswell);
	file("b", "<cpu mode='custom'>\n<model>EPYC</model></cpu>");
	ck_assert_int_eq(hvx("cpu-baseline", "a", "b", NULL), 64);
	says(err, "b:1: a CPU of AMD, that of a:4 is of Intel");
	file("b", "<domain>\n<cpu mode='host-passthrough'/></domain>");
	ck_assert_int_eq(hvx("cpu-baseline", "b", NULL, NULL), 64);
	says(err, "b:2: <cpu> without <model>");
	file("b", "<domain>\n<cpu><model>Zilog</model></cpu></domain>");
	ck_assert_int_eq(hvx("cpu-baseline", "b", NULL, NULL), 64);
	says(err, "b:2: <model>: not known");
	file("b", "<network/>");
	ck_assert_int_eq(hvx("cpu-baseline", "b", NULL, NULL), 64);
	file("b", "");
	ck_assert_int_eq(hvx("cpu-baseline", "b", NULL, NULL), 64);
	file("b", "<cpu><model>EPYC</cpu>");
	ck_assert_int_eq(hvx("cpu-baseline", "b", NULL, NULL), 64);
	file("b", "<!DOCTYPE x [<!ENTITY e 'EPYC'>]><cpu><model>&e;</model></cpu>");
	ck_assert_int_eq(hvx("cpu-baseline", "b", NULL, NULL), 64);
	ck_assert_int_eq(hvx("cpu-baseline", "not-there", NULL, NULL), 64);
}
END_TEST

START_TEST(too_many)
{
	FILE *f = fopen("a", "w");
	int i;

	for (i = 0; i < CPUDESC_MAX + 1; i++)
		fputs("<cpu><model>EPYC</model></cpu>", f);
	fclose(f);
	ck_assert_int_eq(hvx("cpu-baseline", "a", NULL, NULL), 64);
	says(err, "too many");
}
END_TEST

START_TEST(compare)
{
	/* This very host, as it tells of itself. */
	ck_assert_int_eq(hvx("capabilities", NULL, NULL, NULL), 0);
	says(out, "<arch>x86_64</arch>");
	file("host", out);
	ck_assert_int_eq(hvx("cpu-compare", "host", NULL, NULL), 0);
	says(out, "CPU described in host:4 is identical to host CPU");
	ck_assert_int_eq(hvx("domcapabilities", NULL, NULL, NULL), 0);
	says(out, "<mode name='host-model' supported='yes'>");
	says(out, "<model usable='yes' vendor='unknown'>x86-64-v1</model>");
	file("b", "<cpu><model>x86-64-v1</model></cpu>");
	ck_assert_int_eq(hvx("cpu-compare", "b", NULL, NULL), 0);
	says(out, "Host CPU is a superset of CPU described in b:1");
	/* No CPU has both. */
	file("b", "<cpu><feature name='xop'/><feature name='avx512er'/></cpu>");
	ck_assert_int_eq(hvx("cpu-compare", "--error", "b", NULL), 65);
	says(out, "is incompatible with host CPU\n  the host lacks: avx512er");
	says(err, "cpu-compare: b: this host cannot give it");
	file("b", "<cpu><model>x86-64-v1</model><feature policy='require' name='warp'/></cpu>");
	ck_assert_int_eq(hvx("cpu-compare", "--json", "b", NULL), 65);
	says(out, "\"result\":\"incompatible\"");
	says(out, "\"unknown\":\"warp\"");
	file("b", "<cpu><model>x86-64-v1</model><vendor>Transmeta</vendor></cpu>");
	ck_assert_int_eq(hvx("cpu-compare", "b", NULL, NULL), 65);
}
END_TEST

START_TEST(model_lists)
{
	ck_assert_int_eq(hvx("cpu-models", NULL, NULL, NULL), 0);
	says(out, "EPYC-Rome\n");
	says(out, "Haswell-noTSX-IBRS\n");
	ck_assert_int_eq(hvx("cpu-models", "x86_64", NULL, NULL), 0);
	ck_assert_int_eq(hvx("cpu-models", "sparc", NULL, NULL), 64);
	ck_assert_int_eq(hvx("cpu-models", "--json", NULL, NULL), 0);
	says(out, "\"name\":\"x86-64-v1\",");
	ck_assert_int_eq(hvx("cpu-models", "--usable", NULL, NULL), 0);
	says(out, "x86-64-v1\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpuverbs");
	TCase *t = tcase_create("verbs");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, baseline);
	tcase_add_test(t, no_baseline);
	tcase_add_test(t, too_many);
	tcase_add_test(t, compare);
	tcase_add_test(t, model_lists);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
