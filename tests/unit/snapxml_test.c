// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/snapxml.c vmm/domxml*.c vmm/livexml.c vmm/config.c vmm/cpu_model.c vmm/cpu_feature.c devices/storage/foreign.c */
/* <domainsnapshot>: what is taken, and what is refused, with its line. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/snapxml.h"
#include "vmm/config.h"

static char said[4096];
static struct dom_disk disks[3] = {
	{ .file = (char *)"/a.img", .target = (char *)"vda" },
	{ .file = (char *)"/b.img", .target = (char *)"vdb", .readonly = true },
	{ .target = (char *)"sda", .cdrom = true },
};
static struct domain dom;
static struct snap_xml x;

void cli_error(const char *fmt, ...)
{
	size_t len = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + len, sizeof(said) - len, fmt, ap);
	va_end(ap);
}

static int parse(const char *text)
{
	memset(&x, 0xa5, sizeof(x));
	said[0] = '\0';
	memset(&dom, 0, sizeof(dom));
	memcpy(dom.disk, disks, sizeof(disks));
	dom.nr_disks = 3;
	return snap_xml_parse(&x, "s.xml", text, strlen(text), &dom);
}

START_TEST(taken)
{
	ck_assert_msg(!parse("<domainsnapshot/>"), "%s", said);
	ck_assert(!x.name && !x.description && !x.no_memory && !x.memory);
	snap_xml_free(&x);
	/* As snapshot-dumpxml prints it. */
	ck_assert_msg(!parse("<?xml version='1.0'?>\n<domainsnapshot>\n<!-- one --><name>one</name><description>a\nb</description>"
			     "<state>running</state><parent><name>zero</name></parent><creationTime>7</creationTime>"
			     "<memory snapshot='internal'/><disks><disk name='vda' snapshot='external'/>"
			     "<disk name='/a.img'/><disk name='vdb' snapshot='no'/><disk name='sda' snapshot='no'/></disks>"
			     "<domain><name>x</name><odd/></domain></domainsnapshot>"), "%s", said);
	ck_assert_str_eq(x.name, "one");
	ck_assert_str_eq(x.description, "a\nb");
	ck_assert(x.memory && !x.no_memory);
	snap_xml_free(&x);
	ck_assert_msg(!parse("<domainsnapshot><memory snapshot='no'/></domainsnapshot>"), "%s", said);
	ck_assert(!x.memory && x.no_memory);
	snap_xml_free(&x);
}
END_TEST

static const struct {
	const char *in, *out;
} bad[] = {
	{ "", "s.xml:" },
	{ "<domain/>", "s.xml:1: <domain>: the outermost element must be <domainsnapshot>" },
	{ "<domainsnapshot>\n<name>a</name>\n<nmae>b</nmae></domainsnapshot>", "s.xml:3: <nmae>: not known in <domainsnapshot>" },
	{ "<domainsnapshot>\n<name>a</name>\n<name>b</name></domainsnapshot>", "s.xml:3: <name>: given twice" },
	{ "<domainsnapshot x='1'/>", "s.xml:1: <domainsnapshot>: x=: not known" },
	{ "<domainsnapshot><memory/></domainsnapshot>", "<memory>: snapshot=''" },
	{ "<domainsnapshot>\n<memory snapshot='external' file='/m'/></domainsnapshot>", "s.xml:2: <memory>: file=" },
	{ "<domainsnapshot><memory snapshot='no'/><memory snapshot='internal'/></domainsnapshot>", "<memory>: given twice" },
	{ "<domainsnapshot><disks>\n<disk name='vdx'/></disks></domainsnapshot>", "s.xml:2: <disk>: name='vdx': the guest has no such disk" },
	{ "<domainsnapshot><disks><disk/></disks></domainsnapshot>", "<disk>: name=''" },
	{ "<domainsnapshot><disks><disk name='vda' snapshot='no'/></disks></domainsnapshot>", "has all disks that the guest writes to" },
	{ "<domainsnapshot><disks><disk name='vda' snapshot='internal'/></disks></domainsnapshot>", "write 'external'" },
	{ "<domainsnapshot><disks><disk name='vdb'/></disks></domainsnapshot>", "stays out of snapshots" },
	{ "<domainsnapshot><disks><disk name='vda'>\n<source file='/x'/></disk></disks></domainsnapshot>", "s.xml:2: <source>: hvx chooses" },
	{ "<domainsnapshot><disks><disc/></disks></domainsnapshot>", "<disc>: not known in <disks>" },
	{ "<!DOCTYPE x [<!ENTITY e 'y'>]><domainsnapshot><name>&e;</name></domainsnapshot>", "s.xml:1: " },
};

START_TEST(refused)
{
	ck_assert_msg(parse(bad[_i].in) == -1, "%s", bad[_i].in);
	ck_assert_msg(strstr(said, bad[_i].out), "%s: %s", bad[_i].in, said);
	snap_xml_free(&x);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapxml");
	TCase *tc = tcase_create("snapxml");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, taken);
	tcase_add_loop_test(tc, refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
