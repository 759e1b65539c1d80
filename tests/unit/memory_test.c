// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/memory.c vmm/log.c */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/memory.h"

#define MIB (1ULL << 20)

static const struct mem_backing plain = { .no_ksm = true };

START_TEST(layout)
{
	struct guest_mem mem;

	/* Not touched, so that the size costs nothing. */
	ck_assert_int_eq(guest_mem_init(&mem, 5ULL << 30, &plain), 0);
	ck_assert_uint_eq(mem.low_size, PCI_HOLE_START);
	ck_assert_uint_eq(mem.high_size, (5ULL << 30) - PCI_HOLE_START);
	ck_assert_ptr_nonnull(guest_ptr(&mem, 0, 0xa0000, true));
	ck_assert_ptr_null(guest_ptr(&mem, 0, 0xa0001, true));
	ck_assert_ptr_null(guest_ptr(&mem, 0xa0000, 1, false));
	ck_assert_ptr_null(guest_ptr(&mem, 0xbffff, 1, false));
	ck_assert_ptr_nonnull(guest_ptr(&mem, 0xc0000, 1, true));
	ck_assert_ptr_nonnull(guest_ptr(&mem, PCI_HOLE_START - 1, 1, true));
	ck_assert_ptr_null(guest_ptr(&mem, PCI_HOLE_START - 1, 2, true));
	ck_assert_ptr_null(guest_ptr(&mem, PCI_HOLE_START, 1, true));
	ck_assert_ptr_null(guest_ptr(&mem, RAM_HIGH_START - 1, 1, true));
	ck_assert_ptr_nonnull(guest_ptr(&mem, RAM_HIGH_START, mem.high_size, true));
	ck_assert_ptr_null(guest_ptr(&mem, RAM_HIGH_START, mem.high_size + 1, true));
	ck_assert_ptr_null(guest_ptr(&mem, RAM_HIGH_START + mem.high_size, 1, true));
	guest_mem_fini(&mem);
	ck_assert_int_eq(mem.fd, -1);
}
END_TEST

START_TEST(hostile_ranges)
{
	struct guest_mem mem;
	struct iovec iov[4];
	uint8_t b = 0;

	ck_assert_int_eq(guest_mem_init(&mem, 16 * MIB, &plain), 0);
	ck_assert_ptr_null(guest_ptr(&mem, 0x100000, 0, true));
	ck_assert_ptr_null(guest_ptr(&mem, 0x100000, ~0ULL, true));
	ck_assert_ptr_null(guest_ptr(&mem, 0x100000, ~0ULL - 0x100000, true));
	ck_assert_ptr_null(guest_ptr(&mem, ~0ULL, 1, true));
	ck_assert_ptr_null(guest_ptr(&mem, ~0ULL, 2, true));
	ck_assert_ptr_null(guest_ptr(&mem, 16 * MIB, 1, true));
	ck_assert_int_eq(guest_read(&mem, ~0ULL, &b, 1), -EFAULT);
	ck_assert_int_eq(guest_write(&mem, 16 * MIB, &b, 1), -EFAULT);
	ck_assert_int_eq(guest_iov(&mem, 0x100000, ~0ULL, true, iov, 4), -EFAULT);
	ck_assert_int_eq(guest_iov(&mem, 16 * MIB - 1, 2, true, iov, 4), -EFAULT);
	ck_assert_int_eq(guest_iov(&mem, 0x100000, 0, true, iov, 4), 0);
	ck_assert_int_eq(guest_read(&mem, 0x9ffff, &b, 1), 0);
	ck_assert_int_eq(guest_read(&mem, 0x100000, &b, 0), 0);
	guest_mem_fini(&mem);
}
END_TEST

static void put(struct guest_mem *mem, uint64_t gpa, char c)
{
	ck_assert_int_eq(guest_write(mem, gpa, &c, 1), 0);
}

static char get(struct guest_mem *mem, uint64_t gpa)
{
	char c = 0;

	ck_assert_int_eq(guest_read(mem, gpa, &c, 1), 0);
	return c;
}

/* What others have mapped stays as it is, and the guest's memory where it is. */
START_TEST(freeze)
{
	struct guest_mem mem, child;
	struct mem_source from = { 0 };
	struct mem_backing how = { .no_ksm = true, .from = &from };
	uint8_t *base;

	ck_assert_int_eq(guest_mem_init(&mem, 16 * MIB, &plain), 0);
	ck_assert(guest_mem_shareable(&mem));
	base = mem.region[0].hva;
	put(&mem, 0x1000, 'a');
	put(&mem, 0x200000, 'b');
	from.fd = dup(mem.fd);
	ck_assert_int_eq(guest_mem_init(&child, 16 * MIB, &how), 0);
	ck_assert(!guest_mem_shareable(&child));
	ck_assert_int_eq(guest_mem_freeze(&mem), 0);
	ck_assert(!guest_mem_shareable(&mem));
	ck_assert_ptr_eq(mem.region[0].hva, base);
	ck_assert_int_eq(get(&mem, 0x1000), 'a');
	put(&mem, 0x1000, 'A');
	put(&mem, 0x300000, 'C');
	put(&child, 0x200000, 'X');
	ck_assert_int_eq(get(&child, 0x1000), 'a');
	ck_assert_int_eq(get(&child, 0x300000), 0);
	ck_assert_int_eq(get(&mem, 0x200000), 'b');
	ck_assert_int_eq(get(&mem, 0x1000), 'A');
	guest_mem_fini(&child);
	guest_mem_fini(&mem);
	/* A later fork, after both have gone, sees what the first one saw. */
	ck_assert_int_eq(guest_mem_init(&child, 16 * MIB, &how), 0);
	ck_assert_int_eq(get(&child, 0x1000), 'a');
	ck_assert_int_eq(get(&child, 0x200000), 'b');
	ck_assert_int_eq(get(&child, 0x300000), 0);
	guest_mem_fini(&child);
	close(from.fd);
}
END_TEST

/* Two neighbouring regions at different host addresses. */
START_TEST(crossing)
{
	struct guest_mem mem;
	static uint8_t rom_a[8192], rom_b[8192];
	struct iovec iov[4];
	uint8_t buf[16];

	memset(rom_a, 'a', sizeof(rom_a));
	memset(rom_b, 'b', sizeof(rom_b));
	ck_assert_int_eq(guest_mem_init(&mem, 16 * MIB, &plain), 0);
	ck_assert_int_eq(guest_mem_add(&mem, 0xffff0000, 8192, rom_a, true), 0);
	ck_assert_int_eq(guest_mem_add(&mem, 0xffff2000, 8192, rom_b, false), 0);
	ck_assert_int_eq(guest_read(&mem, 0xffff1ff8, buf, 16), 0);
	ck_assert_int_eq(memcmp(buf, "aaaaaaaabbbbbbbb", 16), 0);
	ck_assert_ptr_null(guest_ptr(&mem, 0xffff1ff8, 16, false));
	ck_assert_ptr_nonnull(guest_ptr(&mem, 0xffff1ff0, 16, false));
	ck_assert_int_eq(guest_iov(&mem, 0xffff1ff8, 16, false, iov, 4), 2);
	ck_assert_uint_eq(iov[0].iov_len, 8);
	ck_assert_ptr_eq(iov[1].iov_base, rom_b);
	ck_assert_int_eq(guest_iov(&mem, 0xffff1ff8, 16, false, iov, 1), -E2BIG);
	/* Read-only */
	ck_assert_ptr_null(guest_ptr(&mem, 0xffff0000, 1, true));
	ck_assert_int_eq(guest_write(&mem, 0xffff0000, buf, 1), -EFAULT);
	ck_assert_int_eq(guest_write(&mem, 0xffff1ff8, buf, 16), -EFAULT);
	ck_assert_int_eq(guest_iov(&mem, 0xffff1ff8, 16, true, iov, 4), -EFAULT);
	ck_assert_int_eq(guest_write(&mem, 0xffff2000, "x", 1), 0);
	ck_assert_int_eq(rom_b[0], 'x');
	ck_assert_int_eq(rom_a[8191], 'a');
	/* Overlap, emptiness, wrap-around, too many */
	ck_assert_int_eq(guest_mem_add(&mem, 0xffff1000, 4096, rom_a, true), -EEXIST);
	ck_assert_int_eq(guest_mem_add(&mem, 0, 4096, rom_a, true), -EEXIST);
	ck_assert_int_eq(guest_mem_add(&mem, 0x200000000, 0, rom_a, true), -EINVAL);
	ck_assert_int_eq(guest_mem_add(&mem, ~0ULL - 4095, 8192, rom_a, true), -EINVAL);
	while (mem.nr < GUEST_MEM_MAX_REGIONS)
		ck_assert_int_eq(guest_mem_add(&mem, 0x200000000 + mem.nr * 8192, 8192, rom_a,
					       true), 0);
	ck_assert_int_eq(guest_mem_add(&mem, 0x300000000, 8192, rom_a, true), -ENOSPC);
	guest_mem_fini(&mem);
}
END_TEST

START_TEST(sharing)
{
	struct guest_mem mem;
	uint32_t v = 0;

	ck_assert_int_eq(guest_mem_init(&mem, 16 * MIB, &plain), 0);
	ck_assert_int_eq(guest_write(&mem, 0x234567, "\x11\x22\x33\x44", 4), 0);
	ck_assert_int_eq(pread(mem.fd, &v, 4, 0x234567), 4);
	ck_assert_uint_eq(v, 0x44332211);
	/* Nobody who has the descriptor can pull the memory away. */
	ck_assert_int_ne(ftruncate(mem.fd, 4096), 0);
	ck_assert_uint_eq((uintptr_t)mem.region[0].hva % (2 * MIB), 0);
	guest_mem_fini(&mem);
}
END_TEST

START_TEST(refused)
{
	struct mem_backing odd = { .hugetlb = true, .hugepage_size = 3 * MIB };
	struct guest_mem mem;

	ck_assert_int_eq(guest_mem_init(&mem, 4096, &plain), -EINVAL);
	ck_assert_int_eq(guest_mem_init(&mem, 1ULL << 50, &plain), -EINVAL);
	ck_assert_int_eq(guest_mem_init(&mem, 64 * MIB, &odd), -EINVAL);
	ck_assert_int_eq(mem.fd, -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory");
	TCase *t = tcase_create("memory");
	SRunner *r;
	int failed;

	tcase_add_test(t, layout);
	tcase_add_test(t, hostile_ranges);
	tcase_add_test(t, freeze);
	tcase_add_test(t, crossing);
	tcase_add_test(t, sharing);
	tcase_add_test(t, refused);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
