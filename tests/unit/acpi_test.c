// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/boot/acpi*.c vmm/boot/aml.c vmm/memory.c vmm/log.c */
/* ACPI tables: found as an operating system finds them, sums right, AML accepted by iasl. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/board.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/aml.h"

static struct guest_mem mem;

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static const uint8_t *at(uint64_t gpa, size_t len)
{
	const uint8_t *p = guest_ptr(&mem, gpa, len, false);

	ck_assert_ptr_nonnull(p);
	return p;
}

/* A table by address: its length and sum are right. */
static const uint8_t *table(uint64_t gpa, uint32_t *len)
{
	const uint8_t *p = at(gpa, 36);

	*len = le32(p + 4);
	p = at(gpa, *len);
	ck_assert_uint_eq(sum(p, *len), 0);
	return p;
}

static void build(unsigned int cpus, uint64_t *rsdp)
{
	static uint32_t id[64];
	struct mem_backing backing = { .no_ksm = true };
	struct acpi_board ab = {
		.nr_cpus = cpus, .present = ~0ULL, .apic_id = id, .ram_top = 64 << 20, .phys_bits = 40,
		.serial_mask = 3, .pvpanic = true,
	};
	unsigned int i;

	for (i = 0; i < 64; i++)
		id[i] = i;
	ck_assert_int_eq(guest_mem_init(&mem, 64 << 20, &backing), 0);
	ck_assert_int_eq(acpi_write(&mem, &ab, rsdp), 0);
}

/* The RSDP as ACPI 5.2.5.1 has a system search for it. */
static uint64_t find_rsdp(void)
{
	uint64_t gpa;

	for (gpa = 0xe0000; gpa < 0x100000; gpa += 16)
		if (!memcmp(at(gpa, 8), "RSD PTR ", 8))
			return gpa;
	return 0;
}

static const uint8_t *find_table(const char *sig, uint32_t *len)
{
	const uint8_t *rsdp = at(find_rsdp(), 36), *xsdt;
	uint32_t size, i;

	xsdt = table(le64(rsdp + 24), &size);
	for (i = 36; i < size; i += 8) {
		const uint8_t *p = table(le64(xsdt + i), len);

		if (!memcmp(p, sig, 4))
			return p;
	}
	return NULL;
}

START_TEST(roots)
{
	uint64_t rsdp;
	const uint8_t *p;
	uint32_t len;

	build(1, &rsdp);
	ck_assert_uint_eq(find_rsdp(), rsdp);
	p = at(rsdp, 36);
	ck_assert_uint_eq(sum(p, 20), 0);
	ck_assert_uint_eq(sum(p, 36), 0);
	ck_assert_uint_eq(p[15], 2);
	/* The old table lists as many as the new. */
	ck_assert_mem_eq(table(le32(p + 16), &len), "RSDT", 4);
	ck_assert_uint_eq(len, 36 + 4 * 4);
	ck_assert_mem_eq(table(le64(p + 24), &len), "XSDT", 4);
	ck_assert_uint_eq(len, 36 + 4 * 8);
	ck_assert_uint_eq(*(const uint16_t *)(const void *)at(0x40e, 2), BOARD_EBDA_BASE >> 4);
	guest_mem_fini(&mem);
}
END_TEST

START_TEST(fadt)
{
	uint64_t rsdp;
	const uint8_t *p, *dsdt;
	uint32_t len;

	build(2, &rsdp);
	p = find_table("FACP", &len);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, 276);
	ck_assert_uint_eq(p[46], 9);			/* SCI */
	ck_assert_uint_eq(le32(p + 56), BOARD_PM1A_EVT);
	ck_assert_uint_eq(le32(p + 64), BOARD_PM1A_CNT);
	ck_assert_uint_eq(le32(p + 76), BOARD_PM_TMR);
	ck_assert_uint_eq(le32(p + 80), BOARD_GPE0);
	ck_assert_uint_eq(p[88], 4);
	ck_assert_uint_eq(p[89], 2);
	ck_assert_uint_eq(le32(p + 112) & (1 << 20), 0);	/* not hardware-reduced */
	ck_assert_uint_eq(le64(p + 120), BOARD_RESET_PORT);
	ck_assert_uint_eq(p[128], BOARD_RESET_VALUE);
	ck_assert_uint_eq(le64(p + 140), le32(p + 40));
	ck_assert_uint_eq(le64(p + 152), BOARD_PM1A_EVT);
	ck_assert_mem_eq(at(le32(p + 36), 64), "FACS", 4);
	ck_assert_uint_eq(le32(p + 36) % 64, 0);
	dsdt = table(le64(p + 140), &len);
	ck_assert_mem_eq(dsdt, "DSDT", 4);
	guest_mem_fini(&mem);
}
END_TEST

START_TEST(madt)
{
	unsigned int lapics = 0, ioapics = 0, overrides = 0, nmis = 0;
	uint64_t rsdp;
	const uint8_t *p;
	uint32_t len, i;

	build(64, &rsdp);
	p = find_table("APIC", &len);
	ck_assert_ptr_nonnull(p);
	for (i = 44; i < len; i += p[i + 1]) {
		ck_assert_uint_ge(p[i + 1], 2);
		ck_assert_uint_le(i + p[i + 1], len);
		lapics += p[i] == 0;
		ioapics += p[i] == 1;
		overrides += p[i] == 2;
		nmis += p[i] == 4;
		if (p[i] == 0)
			ck_assert_uint_eq(p[i + 3], p[i + 2]);
	}
	ck_assert_uint_eq(i, len);
	ck_assert_uint_eq(lapics, 64);
	ck_assert_uint_eq(ioapics, 1);
	ck_assert_uint_eq(overrides, 2);
	ck_assert_uint_eq(nmis, 1);
	p = find_table("MCFG", &len);
	ck_assert_uint_eq(le64(p + 44), BOARD_ECAM_BASE);
	ck_assert_uint_eq(p[55], 255);
	guest_mem_fini(&mem);
}
END_TEST

/* iasl takes the DSDT apart and puts it together again without a complaint. */
START_TEST(dsdt_iasl)
{
	char dir[] = "/tmp/hvx-acpi.XXXXXX", cmd[512], path[64];
	uint64_t rsdp;
	uint32_t len;
	const uint8_t *p;
	FILE *f;

	if (system("command -v iasl > /dev/null 2>&1")) {
		fprintf(stderr, "SKIP: the AML check: iasl is missing (package acpica-tools)\n");
		return;
	}
	build(_i, &rsdp);
	p = find_table("FACP", &len);
	p = table(le64(p + 140), &len);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(p, 1, len, f), len);
	fclose(f);
	snprintf(cmd, sizeof(cmd),
		 "cd %s && iasl -d dsdt.aml > log 2>&1 && mv dsdt.aml orig && "
		 "iasl -oa -we dsdt.dsl >> log 2>&1 && ! grep -iE 'warning|error' dsdt.dsl && "
		 "tail -c +37 orig > a && tail -c +37 dsdt.aml > b && cmp a b; s=$?; "
		 "[ $s = 0 ] || cat log dsdt.dsl; cd / && rm -r %s; exit $s", dir, dir);
	ck_assert_int_eq(system(cmd), 0);
	guest_mem_fini(&mem);
}
END_TEST

/* Package lengths of one to three bytes, at the edges. */
START_TEST(package_lengths)
{
	static const struct {
		size_t body;
		unsigned int bytes;
	} edge[] = { { 62, 1 }, { 63, 2 }, { 4093, 2 }, { 4094, 3 }, { 70000, 3 } };
	unsigned int i;

	for (i = 0; i < 5; i++) {
		uint8_t *data = calloc(1, edge[i].body);
		size_t total, n;
		struct aml a;

		aml_init(&a);
		aml_if_begin(&a);
		aml_raw(&a, data, edge[i].body);
		aml_end(&a);
		ck_assert(!a.failed);
		ck_assert_uint_eq(a.len, 1 + edge[i].bytes + edge[i].body);
		ck_assert_uint_eq((a.buf[1] >> 6) + 1U, edge[i].bytes);
		total = edge[i].bytes == 1 ? a.buf[1] & 0x3f : a.buf[1] & 0xf;
		for (n = 1; n < edge[i].bytes; n++)
			total |= (size_t)a.buf[1 + n] << (4 + 8 * (n - 1));
		ck_assert_uint_eq(total, edge[i].bytes + edge[i].body);
		aml_free(&a);
		free(data);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acpi");
	TCase *t = tcase_create("tables");
	SRunner *r;
	int failed;

	tcase_add_test(t, roots);
	tcase_add_test(t, fadt);
	tcase_add_test(t, madt);
	tcase_add_test(t, package_lengths);
	tcase_add_loop_test(t, dsdt_iasl, 1, 3);
	tcase_add_loop_test(t, dsdt_iasl, 64, 65);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
