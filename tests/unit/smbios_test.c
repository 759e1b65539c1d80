// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/boot/smbios.c vmm/log.c */
/* SMBIOS tables, walked as an operating system walks them. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/boot/smbios.h"

static struct domain dom;
static uint8_t *blob;
static size_t blob_len;

static uint64_t le(const uint8_t *p, unsigned int bits)
{
	uint64_t v = 0;

	memcpy(&v, p, bits / 8);
	return v;
}

static void setup(void)
{
	unsigned int i;

	memset(&dom, 0, sizeof(dom));
	dom.vcpus = 4;
	dom.memory = 1ULL << 30;
	for (i = 0; i < 16; i++)
		dom.uuid[i] = (uint8_t)(0x10 + i);
}

static void build(void)
{
	free(blob);
	blob = smbios_new(&dom, &blob_len);
	ck_assert_ptr_nonnull(blob);
}

/* The n-th structure of a type; each must lie within the table that the entry point tells of. */
static const uint8_t *structure(unsigned int type, unsigned int n)
{
	const uint8_t *p = blob + 0x20, *end = p + le(blob + 12, 32), *found = NULL;
	uint16_t handle = 0;

	ck_assert_ptr_eq(end, blob + blob_len);
	while (p < end) {
		const uint8_t *s = p;

		ck_assert_int_ge(end - p, 6);
		ck_assert_uint_ge(p[1], 4);
		ck_assert_uint_eq(p[2] | p[3] << 8, handle++);
		p += p[1];
		while (p + 1 < end && (p[0] || p[1]))
			p++;
		p += 2;
		ck_assert(p <= end);
		if (s[0] == type && !n--)
			found = s;
		if (s[0] == 127)
			break;
	}
	ck_assert_ptr_eq(p, end);
	return found;
}

static const char *string(const uint8_t *s, unsigned int offset)
{
	unsigned int n = s[offset];
	const char *p = (const char *)s + s[1];

	if (!n)
		return "";
	while (--n) {
		ck_assert_int_ne(*p, 0);
		p += strlen(p) + 1;
	}
	return p;
}

START_TEST(entry_point)
{
	uint8_t sum = 0;
	unsigned int i;

	build();
	ck_assert_int_eq(memcmp(blob, "_SM3_", 5), 0);
	ck_assert_uint_eq(blob[6], 24);
	for (i = 0; i < 24; i++)
		sum = (uint8_t)(sum + blob[i]);
	ck_assert_uint_eq(sum, 0);
	ck_assert_uint_eq(le(blob + 16, 64), SMBIOS_BASE + 0x20);
	ck_assert_ptr_nonnull(structure(127, 0));
	ck_assert_ptr_null(structure(11, 0));
}
END_TEST

START_TEST(identity)
{
	static const uint8_t uuid[16] = { 0x13, 0x12, 0x11, 0x10, 0x15, 0x14, 0x17, 0x16, 0x18, 0x19,
					  0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f };
	const uint8_t *s;

	dom.sysinfo.bios_vendor = (char *)"V";
	dom.sysinfo.manufacturer = (char *)"ACME";
	dom.sysinfo.product = (char *)"Rocket";
	dom.sysinfo.serial = (char *)"0815";
	dom.sysinfo.family = (char *)"F";
	dom.sysinfo.chassis_asset = (char *)"tag";
	dom.sysinfo.oem[0] = (char *)"one";
	dom.sysinfo.oem[1] = (char *)"";
	dom.sysinfo.oem[2] = (char *)"three";
	build();
	ck_assert_str_eq(string(structure(0, 0), 4), "V");
	s = structure(1, 0);
	ck_assert_uint_eq(s[1], 27);
	ck_assert_str_eq(string(s, 4), "ACME");
	ck_assert_str_eq(string(s, 5), "Rocket");
	ck_assert_str_eq(string(s, 7), "0815");
	ck_assert_str_eq(string(s, 25), "");
	ck_assert_str_eq(string(s, 26), "F");
	ck_assert_mem_eq(s + 8, uuid, 16);
	s = structure(2, 0);
	ck_assert_uint_eq(s[11] | s[12] << 8, structure(3, 0)[2]);
	ck_assert_str_eq(string(structure(3, 0), 8), "tag");
	s = structure(11, 0);
	ck_assert_uint_eq(s[1], 5);
	ck_assert_uint_eq(s[4], 3);
	ck_assert_str_eq((const char *)s + 5, "one");
	ck_assert_str_eq((const char *)s + 5 + 4, " ");
	ck_assert_str_eq((const char *)s + 5 + 4 + 2, "three");
}
END_TEST

START_TEST(memory_and_cpus)
{
	const uint8_t *s;

	dom.memory = 6ULL << 30;
	dom.cpu.sockets = 2;
	build();
	ck_assert_ptr_nonnull(structure(4, 1));
	ck_assert_ptr_null(structure(4, 2));
	ck_assert_uint_eq(structure(4, 0)[1], 48);
	ck_assert_uint_eq(structure(4, 0)[0x23], 2);
	s = structure(16, 0);
	ck_assert_uint_eq(le(s + 7, 32), 6U << 20);
	s = structure(17, 0);
	ck_assert_uint_eq(s[1], 40);
	ck_assert_uint_eq(le(s + 12, 16), 6144);
	ck_assert_uint_eq(le(s + 4, 16), structure(16, 0)[2]);
	s = structure(19, 0);
	ck_assert_uint_eq(s[1], 31);
	ck_assert_uint_eq(le(s + 8, 32), (3U << 20) - 1);
	s = structure(19, 1);
	ck_assert_uint_eq(le(s + 15, 64), 4ULL << 30);
	ck_assert_uint_eq(le(s + 23, 64), (7ULL << 30) - 1);
}
END_TEST

/* Strings as long as anybody likes, from the XML: cut, and never beyond the table. */
START_TEST(long_strings)
{
	char *s = malloc(100000);
	unsigned int i;

	memset(s, 'x', 99999);
	s[99999] = 0;
	dom.sysinfo.bios_vendor = dom.sysinfo.bios_version = dom.sysinfo.bios_date = s;
	dom.sysinfo.manufacturer = dom.sysinfo.product = dom.sysinfo.serial = s;
	for (i = 0; i < 8; i++)
		dom.sysinfo.oem[i] = s;
	dom.vcpus = 64;
	build();
	ck_assert_uint_le(blob_len, SMBIOS_MAX);
	ck_assert_uint_eq(strlen(string(structure(1, 0), 4)), 256);
	ck_assert_ptr_nonnull(structure(4, 63));
	free(s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("smbios");
	TCase *t = tcase_create("smbios");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, entry_point);
	tcase_add_test(t, identity);
	tcase_add_test(t, memory_and_cpus);
	tcase_add_test(t, long_strings);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	free(blob);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
