// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Memory slots, the dirty log, and the host's memory changing under a running guest. */
#include <sys/wait.h>

#include "guest.h"

#define MIB	(1UL << 20)
#define FAR	0x40000000ULL	/* where the slots of these tests lie */

/* Reads *rbx to rax and writes it back plus one, each time that it is resumed. */
GUEST(g_inc, "1: mov (%rbx), %rax\nin $0x20, %al\nmov (%rbx), %rax\ninc %rax\nmov %rax, (%rbx)\njmp 1b\n");

/* Guest: writes one word to each page of [rdi, rsi), says 1, again. */
GUEST(g_sweep,
      "1: mov %rdi, %rbx\n2: incq (%rbx)\nadd $0x1000, %rbx\ncmp %rsi, %rbx\njb 2b\n"
      "say 1\njmp 1b\n");
/* The same by reading. */
GUEST(g_read,
      "1: mov %rdi, %rbx\n2: mov (%rbx), %rax\nadd $0x1000, %rbx\ncmp %rsi, %rbx\njb 2b\n"
      "say 1\njmp 1b\n");

static void new_range(struct tg *g, const uint8_t *code, size_t len, uint64_t from, uint64_t to)
{
	tg_new(g, HVX_VM_EXIT_HLT, code, len);
	tg_long(g, 0);
	tg_set_reg(g, 0, 7, from);
	tg_set_reg(g, 0, 6, to);
}

static uint8_t *map(size_t size, int flags)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* Aligned to 2 MiB. */
static uint8_t *map_aligned(size_t size, int flags)
{
	uint8_t *p = map(size + 2 * MIB, flags);
	uintptr_t a = ((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1);

	if (a > (uintptr_t)p)
		munmap(p, a - (uintptr_t)p);
	munmap((void *)(a + size), (uintptr_t)p + 2 * MIB - a);
	return (void *)a;
}

static struct hvx_stats vm_stats(struct tg *g)
{
	struct hvx_stats st;

	CHECK(!ioctl(g->vm, HVX_GET_STATS, &st));
	return st;
}

/* ----------------------------------------------------------------- arguments */

static void slot_arguments(void)
{
	static const uint8_t hlt[] = { 0xf4 };
	uint8_t *p = map(4 * MIB, MAP_PRIVATE);
	uint64_t limit;
	unsigned int i;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	limit = 1ULL << g.info.phys_bits;
	CHECK_ERR(tg_slot(&g, 1, 0, FAR + 1, TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, TG_PAGE + 1, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, TG_PAGE, p + 8), EINVAL);
	CHECK_ERR(tg_slot(&g, HVX_MAX_SLOTS, 0, FAR, TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, ~0U, 0, FAR, TG_PAGE, p), EINVAL);
	for (i = 2; i < 32; i++)
		CHECK_ERR(tg_slot(&g, 1, 1U << i, FAR, TG_PAGE, p), EINVAL);
	/* Beyond what can be mapped, wrapping round, beyond the caller's half. */
	CHECK_ERR(tg_slot(&g, 1, 0, limit, TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, limit - TG_PAGE, 2 * TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, ~0xfffULL, TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, ~0xfffULL, 2 * TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, ~0xfffULL, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, TG_PAGE, (void *)~0xfffULL), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, TG_PAGE, (void *)0xffff888000000000), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, 0, 0, NULL), ENOENT);
	CHECK(!tg_slot(&g, 1, 0, FAR, MIB, p));
	/* Overlaps of every kind. */
	CHECK_ERR(tg_slot(&g, 2, 0, FAR, MIB, p), EEXIST);
	CHECK_ERR(tg_slot(&g, 2, 0, FAR + MIB - TG_PAGE, TG_PAGE, p), EEXIST);
	CHECK_ERR(tg_slot(&g, 2, 0, FAR - TG_PAGE, 2 * TG_PAGE, p), EEXIST);
	CHECK_ERR(tg_slot(&g, 2, 0, FAR - TG_PAGE, MIB, p), EEXIST);
	CHECK_ERR(tg_slot(&g, 1, 0, 0, MIB, p), EEXIST);	/* a move onto slot 0 */
	/* Neighbours, of the same memory too. */
	CHECK(!tg_slot(&g, 2, 0, FAR + MIB, MIB, p));
	CHECK(!tg_slot(&g, 3, 0, FAR - MIB, MIB, p));
	/* What needs delete and add. */
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, MIB - TG_PAGE, p), EINVAL);
	CHECK_ERR(tg_slot(&g, 1, 0, FAR, MIB, p + 2 * MIB), EINVAL);
	CHECK(!tg_slot(&g, 1, 0, FAR, MIB, p));			/* nothing changes */
	for (i = 4; i < HVX_MAX_SLOTS; i++)
		CHECK(!tg_slot(&g, i, 0, FAR + i * MIB, TG_PAGE, p));
	for (i = 1; i < HVX_MAX_SLOTS; i++)
		CHECK(!tg_slot(&g, i, 0, 0, 0, NULL));
	CHECK(!tg_slot(&g, 1, 0, limit - TG_PAGE, TG_PAGE, p));
	tg_free(&g);
	munmap(p, 4 * MIB);
}

/* Device memory is no guest memory, nor is what is not mapped. */
static void pfnmap(void)
{
	static const char *const files[] = {
		"/dev/mem", "/sys/bus/pci/devices/0000:00:1f.2/resource5", "/dev/hpet",
	};
	void *p = MAP_FAILED;
	unsigned int i;
	struct tg g;
	int fd;

	for (i = 0; i < 3 && p == MAP_FAILED; i++) {
		fd = open(files[i], O_RDWR);
		if (fd < 0)
			continue;
		p = mmap(NULL, TG_PAGE, PROT_READ, MAP_SHARED, fd, i ? 0 : 0xfed00000);
		close(fd);
	}
	if (p == MAP_FAILED) {
		tg_skipped = "no device whose memory can be mapped";
		return;
	}
	tg_new(&g, 0, g_inc, GUEST_LEN(g_inc));
	tg_long(&g, 0);
	tg_set_reg(&g, 0, 3, FAR);
	CHECK(!tg_slot(&g, 1, 0, FAR, TG_PAGE, p));
	for (i = 0; i < 2; i++) {
		tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
		CHECK_EQ(g.v[0].run->memory_fault.gpa, FAR);
		CHECK_EQ(g.v[0].run->memory_fault.is_write, 0);
		CHECK_EQ(g.v[0].run->memory_fault.error, EFAULT);
		munmap(p, TG_PAGE);
	}
	tg_free(&g);
}

/* --------------------------------------------------------- the layout changes */

static void add_move_delete(void)
{
	uint8_t *p = map(2 * MIB, MAP_PRIVATE);
	struct tg g;

	tg_new(&g, 0, g_inc, GUEST_LEN(g_inc));
	tg_long(&g, 0);
	tg_set_reg(&g, 0, 3, FAR + 0x1238);
	*(uint64_t *)(p + 0x1238) = 0x1111111111111100;
	tg_run_to(&g, 0, HVX_EXIT_MMIO);			/* not there yet */
	CHECK(!tg_slot(&g, 1, 0, FAR, MIB, p));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK(!tg_slot(&g, 1, 0, 0, 0, NULL));
	tg_run_to(&g, 0, HVX_EXIT_MMIO);			/* gone again */
	CHECK_EQ(g.v[0].run->mmio.gpa, FAR + 0x1238);
	g.v[0].run->mmio.data = 5;
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.is_write, 1);
	CHECK_EQ(g.v[0].run->mmio.data, 6);
	/* Back, moved elsewhere, and the guest with it. */
	CHECK(!tg_slot(&g, 1, 0, FAR, MIB, p));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK(!tg_slot(&g, 1, 0, 2 * FAR, MIB, p));
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	g.v[0].run->immediate_exit = 1;		/* the read is completed before RIP changes */
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	g.v[0].run->immediate_exit = 0;
	tg_set_reg(&g, 0, 3, 2 * FAR + 0x1238);
	tg_set_reg(&g, 0, 16, TG_CODE);
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x1111111111111100);
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(*(uint64_t *)(p + 0x1238), 0x1111111111111101);
	tg_free(&g);
	munmap(p, 2 * MIB);
}

/* As many as there can be, in no order, with holes between: each shows its own page, before and after others go. */
static void many_slots(void)
{
	const int n = HVX_MAX_SLOTS - 1;
	uint8_t *p = map(n * TG_PAGE, MAP_PRIVATE);
	struct tg g;
	int i, at, round;

	new_range(&g, g_sweep, GUEST_LEN(g_sweep), 0, 0);
	for (i = 0; i < n; i++) {
		at = i * 37 % n;
		CHECK(!tg_slot(&g, 1 + i, 0, FAR + 2 * at * TG_PAGE, TG_PAGE, p + at * TG_PAGE));
		CHECK_ERR(tg_slot(&g, n, 0, FAR + 2 * at * TG_PAGE - TG_PAGE, 3 * TG_PAGE, p),
			  i == n - 1 ? EINVAL : EEXIST);
	}
	for (round = 0; round < 2; round++) {
		for (at = 0; at < n; at++) {
			tg_set_reg(&g, 0, 7, FAR + 2 * at * TG_PAGE);
			tg_set_reg(&g, 0, 6, FAR + 2 * at * TG_PAGE + 8);
			tg_set_reg(&g, 0, 16, TG_CODE);
			CHECK_EQ(tg_said(&g, 0), round && at & 1 ? -1000 - HVX_EXIT_EMULATE : 1);
			CHECK_EQ(p[at * TG_PAGE], round && !(at & 1) ? 2 : 1);
		}
		for (i = 0; i < n && !round; i++)
			if (i * 37 % n & 1)
				CHECK(!tg_slot(&g, 1 + i, 0, 0, 0, NULL));
	}
	tg_free(&g);
	munmap(p, n * TG_PAGE);
}

static void read_only(void)
{
	uint8_t *p = map(MIB, MAP_PRIVATE);
	struct tg g;

	tg_new(&g, 0, g_inc, GUEST_LEN(g_inc));
	tg_long(&g, 0);
	tg_set_reg(&g, 0, 3, FAR + 8);
	p[8] = 0x41;
	CHECK(!tg_slot(&g, 1, HVX_SLOT_READONLY, FAR, MIB, p));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x41);
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.is_write, 1);
	CHECK_EQ(g.v[0].run->mmio.gpa, FAR + 8);
	CHECK_EQ(g.v[0].run->mmio.data, 0x42);
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(p[8], 0x41);
	/* Writable, and read-only again after the guest has written. */
	CHECK(!tg_slot(&g, 1, 0, FAR, MIB, p));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(p[8], 0x42);
	CHECK(!tg_slot(&g, 1, HVX_SLOT_READONLY, FAR, MIB, p));
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(p[8], 0x42);
	/* The host's own rights do not matter to a read-only slot. */
	CHECK(!mprotect(p, MIB, PROT_READ));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(tg_reg(&g, 0, 0) & ~0xffULL, 0);
	tg_free(&g);
	munmap(p, MIB);
}

/* ------------------------------------------------------------------- dirty log */

#define LOG_PAGES	200

static int get_dirty(struct tg *g, uint32_t flags, uint64_t first, uint64_t n, uint64_t *bits,
		     uint64_t *count)
{
	struct hvx_dirty d = { .slot = 1, .flags = flags, .first_page = first, .num_pages = n,
			       .bitmap = (uintptr_t)bits, .dirty_pages = 77 };
	int r = ioctl(g->vm, HVX_GET_DIRTY, &d);

	*count = d.dirty_pages;
	return r;
}

static void dirty_log(void)
{
	uint64_t bits[8], n, flags = HVX_SLOT_LOG_DIRTY;
	uint8_t *p = map(MIB, MAP_PRIVATE);
	struct tg g;

	new_range(&g, g_sweep, GUEST_LEN(g_sweep), FAR + 10 * TG_PAGE, FAR + 75 * TG_PAGE);
	CHECK(!tg_slot(&g, 1, 0, FAR, LOG_PAGES * TG_PAGE, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_ERR(get_dirty(&g, 0, 0, 1, bits, &n), ENOENT);	/* not logged */
	CHECK(!tg_slot(&g, 1, flags, FAR, LOG_PAGES * TG_PAGE, p));
	CHECK(!get_dirty(&g, 0, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(n, 0);
	CHECK_EQ(bits[0] | bits[1] | bits[2] | bits[3], 0);
	CHECK_EQ(tg_said(&g, 0), 1);
	/* Reading leaves the bits. */
	CHECK(!get_dirty(&g, 0, 0, LOG_PAGES, bits, &n));
	CHECK(!get_dirty(&g, 0, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(n, 65);
	CHECK_EQ(bits[0], ~0ULL << 10);
	CHECK_EQ(bits[1], (1ULL << 11) - 1);
	CHECK_EQ(bits[2] | bits[3], 0);
	/* Ranges: the second word only, and part of it. */
	CHECK(!get_dirty(&g, HVX_DIRTY_CLEAR, 64, 5, bits, &n));
	CHECK_EQ(n, 5);
	CHECK_EQ(bits[0], 0x1f);
	CHECK(!get_dirty(&g, 0, 64, 64, bits, &n));
	CHECK_EQ(bits[0], 0x7e0);
	CHECK(!get_dirty(&g, HVX_DIRTY_CLEAR, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(bits[0], ~0ULL << 10);
	CHECK_EQ(n, 65 - 5);
	CHECK(!get_dirty(&g, 0, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(n, 0);
	/* All of them are seen again. */
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!get_dirty(&g, HVX_DIRTY_CLEAR, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(n, 65);
	/* Off and on: it starts clean. */
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_slot(&g, 1, 0, FAR, LOG_PAGES * TG_PAGE, p));
	CHECK(!tg_slot(&g, 1, flags, FAR, LOG_PAGES * TG_PAGE, p));
	CHECK(!get_dirty(&g, 0, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(n, 0);

	CHECK_ERR(get_dirty(&g, 0, 32, 1, bits, &n), EINVAL);
	CHECK_ERR(get_dirty(&g, 0, 0, LOG_PAGES + 1, bits, &n), EINVAL);
	CHECK_ERR(get_dirty(&g, 0, 256, 1, bits, &n), EINVAL);
	CHECK_ERR(get_dirty(&g, 0, 64, ~0ULL, bits, &n), EINVAL);
	CHECK_ERR(get_dirty(&g, 3, 0, 1, bits, &n), EINVAL);
	CHECK_ERR(get_dirty(&g, 2, 0, 1, bits, &n), EINVAL);
	CHECK(!get_dirty(&g, 0, 0, 0, NULL, &n));
	/* What cannot be told is not lost. */
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_ERR(get_dirty(&g, HVX_DIRTY_CLEAR, 0, LOG_PAGES, (void *)8, &n), EFAULT);
	CHECK(!get_dirty(&g, 0, 0, LOG_PAGES, bits, &n));
	CHECK_EQ(n, 65);
	tg_free(&g);
	munmap(p, MIB);
}

/* Reads are no writes, and a read before does not hide the write after. */
static void dirty_reads(void)
{
	uint8_t *p = map(MIB, MAP_SHARED);
	uint64_t bits[4], n;
	struct tg g;

	new_range(&g, g_read, GUEST_LEN(g_read), FAR, FAR + 64 * TG_PAGE);
	memset(p, 1, MIB);
	CHECK(!tg_slot(&g, 1, HVX_SLOT_LOG_DIRTY, FAR, 64 * TG_PAGE, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!get_dirty(&g, 0, 0, 64, bits, &n));
	CHECK_EQ(n, 0);
	memcpy(g.mem + TG_CODE, g_sweep, GUEST_LEN(g_sweep));
	tg_set_reg(&g, 0, 16, TG_CODE);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!get_dirty(&g, 0, 0, 64, bits, &n));
	CHECK_EQ(bits[0], ~0ULL);
	tg_free(&g);
	munmap(p, MIB);
}

/* The module's own writes: the paravirtual clock. */
GUEST(g_clock, "1: wr 0x4b564d01 0x40003001\nsay 1\nsay 2\njmp 1b\n");

static void dirty_by_module(void)
{
	uint8_t *p = map(MIB, MAP_PRIVATE);
	struct hvx_clock clock = { .ns = 12345 };
	uint64_t bits[1], n;
	struct tg g;

	tg_new(&g, 0, g_clock, GUEST_LEN(g_clock));
	tg_set_cpuid_supported(&g, 0);
	tg_long(&g, 0);
	CHECK(!tg_slot(&g, 1, HVX_SLOT_LOG_DIRTY, FAR, 16 * TG_PAGE, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK(!get_dirty(&g, HVX_DIRTY_CLEAR, 0, 16, bits, &n));
	CHECK_EQ(bits[0], 1 << 3);
	CHECK(!ioctl(g.vm, HVX_SET_CLOCK, &clock));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!get_dirty(&g, HVX_DIRTY_CLEAR, 0, 16, bits, &n));
	CHECK_EQ(bits[0], 1 << 3);
	tg_free(&g);
	munmap(p, MIB);
}

/* ------------------------------------------------------------------ huge pages */

static void huge(uint8_t *p, const char *what)
{
	const size_t size = 8 * MIB;
	struct hvx_stats st;
	uint64_t bits[32], n;
	struct tg g;

	memset(p, 1, size);
	new_range(&g, g_sweep, GUEST_LEN(g_sweep), FAR, FAR + size);
	CHECK(!tg_slot(&g, 1, 0, FAR, size, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	st = vm_stats(&g);
	if (st.pages_mapped_2m < 3)
		printf("# %s: %llu leaves of 2 MiB\n", what, st.pages_mapped_2m);
	CHECK(st.pages_mapped_2m >= 3);
	CHECK(st.pages_mapped_4k < 512);
	/* Logging wants small ones; without it they grow again. */
	CHECK(!tg_slot(&g, 1, HVX_SLOT_LOG_DIRTY, FAR, size, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!get_dirty(&g, 0, 0, 2048, bits, &n));
	CHECK_EQ(n, 2048);
	CHECK(!tg_slot(&g, 1, 0, FAR, size, p));
	n = vm_stats(&g).pages_mapped_2m;
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(vm_stats(&g).pages_mapped_2m >= n + 3);
	/* At a guest address that is not aligned alike there are none. */
	CHECK(!tg_slot(&g, 1, 0, FAR + 64 * TG_PAGE, size, p));
	tg_set_reg(&g, 0, 7, FAR + 64 * TG_PAGE);
	tg_set_reg(&g, 0, 16, TG_CODE);
	n = vm_stats(&g).pages_mapped_2m;
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(vm_stats(&g).pages_mapped_2m, n);
	CHECK_EQ(*(uint64_t *)(p + size - 65 * TG_PAGE), 0x0101010101010105);
	tg_free(&g);
}

static bool write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void huge_transparent(void)
{
	uint8_t *p;

	if (!write_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise")) {
		tg_skipped = "no transparent huge pages in this kernel";
		return;
	}
	p = map_aligned(8 * MIB, MAP_PRIVATE);
	CHECK(!madvise(p, 8 * MIB, MADV_HUGEPAGE));
	huge(p, "THP");
	munmap(p, 8 * MIB);
}

static void huge_tlbfs(void)
{
	uint8_t *p;

	if (!write_file("/proc/sys/vm/nr_hugepages", "8")) {
		tg_skipped = "no hugetlbfs in this kernel";
		return;
	}
	p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1, 0);
	if (p == MAP_FAILED) {
		tg_skipped = "no 2 MiB pages to be had";
	} else {
		huge(p, "hugetlbfs");
		munmap(p, 8 * MIB);
	}
	write_file("/proc/sys/vm/nr_hugepages", "0");
}

/* A part of a huge page changes: the rest stays what it is. */
static void huge_split(void)
{
	uint8_t *p;
	struct tg g;

	write_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	p = map_aligned(4 * MIB, MAP_PRIVATE);
	madvise(p, 4 * MIB, MADV_HUGEPAGE);
	memset(p, 0, 4 * MIB);
	new_range(&g, g_sweep, GUEST_LEN(g_sweep), FAR, FAR + 4 * MIB);
	CHECK(!tg_slot(&g, 1, 0, FAR, 4 * MIB, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!madvise(p + MIB, 4 * TG_PAGE, MADV_DONTNEED));
	CHECK(!mprotect(p + 3 * MIB, TG_PAGE, PROT_READ));
	tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
	CHECK_EQ(g.v[0].run->memory_fault.gpa & ~0xfffULL, FAR + 3 * MIB);
	CHECK_EQ(*(uint64_t *)(p + MIB), 1);
	CHECK_EQ(*(uint64_t *)p, 2);
	CHECK(!mprotect(p + 3 * MIB, TG_PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(*(uint64_t *)(p + 3 * MIB), 2);
	CHECK_EQ(*(uint64_t *)(p + 4 * MIB - TG_PAGE), 2);
	tg_free(&g);
	munmap(p, 4 * MIB);
}

/* ------------------------------------------------ the host changes its mappings */

/* After fork() each has its own pages: what the guest writes the parent must see, the child not. */
static void fork_cow(void)
{
	const size_t size = 64 * TG_PAGE;
	uint8_t *p = map(size, MAP_PRIVATE);
	int go[2], status;
	uint64_t sum = 0;
	struct tg g;
	pid_t pid;
	char c = 0;
	int i;

	new_range(&g, g_sweep, GUEST_LEN(g_sweep), FAR, FAR + size);
	CHECK(!tg_slot(&g, 1, 0, FAR, size, p));
	CHECK_EQ(tg_said(&g, 0), 1);		/* all mapped writable */
	CHECK(!pipe(go));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		for (i = 0; i < 64; i++)
			sum += *(uint64_t *)(p + i * TG_PAGE);
		_exit(sum != 64);
	}
	CHECK_EQ(tg_said(&g, 0), 1);
	for (i = 0; i < 64; i++)
		sum += *(volatile uint64_t *)(p + i * TG_PAGE);
	CHECK_EQ(sum, 128);
	CHECK_EQ(write(go[1], &c, 1), 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	tg_free(&g);
	munmap(p, size);
	close(go[0]);
	close(go[1]);
}

/* Read first: the shared zero page, or a private page of a file. The write must show to both sides. */
static void read_then_write(void)
{
	uint8_t *p = map(64 * TG_PAGE, MAP_PRIVATE);
	char name[] = "/tmp/hvx-memory.XXXXXX";
	int fd = mkstemp(name), i;
	struct tg g;

	CHECK(fd >= 0 && !ftruncate(fd, 32 * TG_PAGE));
	unlink(name);
	CHECK(mmap(p, 32 * TG_PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE, fd, 0) == p);
	new_range(&g, g_read, GUEST_LEN(g_read), FAR, FAR + 64 * TG_PAGE);
	CHECK(!tg_slot(&g, 1, 0, FAR, 64 * TG_PAGE, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	memcpy(g.mem + TG_CODE, g_sweep, GUEST_LEN(g_sweep));
	tg_set_reg(&g, 0, 16, TG_CODE);
	CHECK_EQ(tg_said(&g, 0), 1);
	for (i = 0; i < 64; i++)
		CHECK_EQ(*(volatile uint64_t *)(p + i * TG_PAGE), 1);
	/* The host writes to what the guest has read, and the guest sees it. */
	*(volatile uint64_t *)p = 100;
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(*(volatile uint64_t *)p, 101);
	tg_free(&g);
	munmap(p, 64 * TG_PAGE);
	close(fd);
}

/* Shared file memory, cut short under the guest. */
static void truncated_file(void)
{
	char name[] = "/dev/shm/hvx-memory.XXXXXX";
	int fd = mkstemp(name);
	uint8_t *p;
	struct tg g;

	if (fd < 0) {
		strcpy(name, "/tmp/hvx-memory.XXXXXX");
		fd = mkstemp(name);
	}
	CHECK(fd >= 0 && !ftruncate(fd, 32 * TG_PAGE));
	unlink(name);
	p = mmap(NULL, 32 * TG_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	new_range(&g, g_sweep, GUEST_LEN(g_sweep), FAR, FAR + 32 * TG_PAGE);
	CHECK(!tg_slot(&g, 1, 0, FAR, 32 * TG_PAGE, p));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!ftruncate(fd, 16 * TG_PAGE));
	tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
	CHECK_EQ(g.v[0].run->memory_fault.gpa & ~0xfffULL, FAR + 16 * TG_PAGE);
	CHECK_EQ(g.v[0].run->memory_fault.error, EFAULT);
	CHECK(!ftruncate(fd, 32 * TG_PAGE));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(*(uint64_t *)(p + 16 * TG_PAGE), 1);
	CHECK_EQ(*(uint64_t *)p, 2);
	tg_free(&g);
	munmap(p, 32 * TG_PAGE);
	close(fd);
}

/* ------------------------------------------------------- under running vCPUs */

#define PAGES		1024UL		/* at most */
#define VCPUS		2
#define ROUNDS		12

/*
 * Two vCPUs count in words of their own of each page while something changes
 * beneath them. A change that keeps contents must not lose a single count.
 */
struct load {
	struct tg g;
	uint8_t *p, *copy;
	size_t size;
	bool stop, hold;
	unsigned int held;		/* vCPUs that stand still */
	bool logged;			/* the slot is logged: copy is kept up by the log alone */
	unsigned long rounds[VCPUS];	/* sweeps done */
	unsigned long away[VCPUS];	/* exits because memory was not there, or not writable */
	int bad;			/* an exit that must not be */
};

struct load_arg {
	struct load *l;
	unsigned int id;
};

static void add(unsigned long *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
}

static unsigned long get(unsigned long *n)
{
	return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}

static void *load_run(void *arg)
{
	struct load_arg *a = arg;
	struct load *l = a->l;
	int r;

	while (!__atomic_load_n(&l->bad, __ATOMIC_SEQ_CST)) {
		if (__atomic_load_n(&l->hold, __ATOMIC_SEQ_CST)) {
			__atomic_fetch_add(&l->held, 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(&l->hold, __ATOMIC_SEQ_CST))
				usleep(100);
			__atomic_fetch_sub(&l->held, 1, __ATOMIC_SEQ_CST);
		}
		r = tg_run(&l->g, a->id);
		if (r == HVX_EXIT_PIO) {
			add(&l->rounds[a->id]);
			if (__atomic_load_n(&l->stop, __ATOMIC_SEQ_CST))
				break;
		} else if (r == HVX_EXIT_EMULATE || r == HVX_EXIT_MEMORY_FAULT) {
			add(&l->away[a->id]);	/* INC of what is not there: the guest tries again */
		} else if (r != -EINTR && r != HVX_EXIT_KICKED) {
			__atomic_store_n(&l->bad, 1000 + r, __ATOMIC_SEQ_CST);
		}
	}
	return NULL;
}

/* Until each vCPU has counted on; `away`: or has found the memory gone. */
static void load_wait(struct load *l, bool away)
{
	unsigned long rounds[VCPUS], gone[VCPUS];
	int i;

	for (i = 0; i < VCPUS; i++) {
		rounds[i] = get(&l->rounds[i]);
		gone[i] = get(&l->away[i]);
	}
	for (i = 0; i < VCPUS; i++)
		while (get(&l->rounds[i]) == rounds[i] && !(away && get(&l->away[i]) != gone[i]) &&
		       !__atomic_load_n(&l->bad, __ATOMIC_SEQ_CST))
			usleep(100);
}

/* Bring the copy up to date by the log, in two ranges. */
static void load_harvest(struct load *l)
{
	const uint64_t pages = l->size / TG_PAGE, half = pages / 2;
	uint64_t bits[PAGES / 64], n, k;

	if (!l->logged)
		return;
	CHECK(!get_dirty(&l->g, HVX_DIRTY_CLEAR, 0, half, bits, &n));
	CHECK(!get_dirty(&l->g, HVX_DIRTY_CLEAR, half, pages - half, bits + half / 64, &n));
	for (k = 0; k < pages; k++)
		if (bits[k / 64] >> k % 64 & 1)
			memcpy(l->copy + k * TG_PAGE, l->p + k * TG_PAGE, TG_PAGE);
}

static uint32_t load_flags(const struct load *l)
{
	return l->logged ? HVX_SLOT_LOG_DIRTY : 0;
}

/* change: one step or NULL, run again and again; keeps contents unless `loses`. */
static void load(uint8_t *p, size_t size, bool logged, bool loses, void (*change)(struct load *l))
{
	struct load l = { .p = p, .size = size, .logged = logged, .copy = map(size, MAP_PRIVATE) };
	struct load_arg args[VCPUS];
	pthread_t t[VCPUS];
	unsigned long k, wrong = 0;
	int i;

	tg_new(&l.g, HVX_VM_EXIT_HLT, g_sweep, GUEST_LEN(g_sweep));
	CHECK(!tg_slot(&l.g, 1, load_flags(&l), FAR, size, p));
	for (i = 0; i < VCPUS; i++) {
		if (i)
			tg_add_vcpu(&l.g, i);
		tg_long(&l.g, i);
		tg_set_reg(&l.g, i, 7, FAR + 8 * i);
		tg_set_reg(&l.g, i, 6, FAR + size);
		args[i] = (struct load_arg) { &l, i };
		CHECK(!pthread_create(&t[i], NULL, load_run, &args[i]));
	}
	for (i = 0; i < ROUNDS; i++) {
		if (change)
			change(&l);
		load_harvest(&l);
		if (i & 1)
			load_wait(&l, false);
	}
	__atomic_store_n(&l.stop, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < VCPUS; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(l.bad, 0);
	load_harvest(&l);
	for (k = 0; k < size; k += TG_PAGE) {
		for (i = 0; i < VCPUS; i++) {
			uint64_t n = *(uint64_t *)(p + k + 8 * i);

			wrong += loses ? n > l.rounds[i] : n != l.rounds[i];
		}
	}
	CHECK_EQ(wrong, 0);
	CHECK(!logged || loses || !memcmp(l.copy, p, size));
	tg_free(&l.g);
	munmap(l.copy, size);
}

static void change_slot_gone(struct load *l)
{
	CHECK(!tg_slot(&l->g, 1, 0, 0, 0, NULL));
	load_wait(l, true);
	CHECK(!tg_slot(&l->g, 1, 0, FAR, l->size, l->p));
}

static void change_slot_moved(struct load *l)
{
	load_harvest(l);
	CHECK(!tg_slot(&l->g, 1, load_flags(l), 2 * FAR, l->size, l->p));
	load_wait(l, true);
	CHECK(!tg_slot(&l->g, 1, load_flags(l), FAR, l->size, l->p));
}

static void change_slot_flags(struct load *l)
{
	CHECK(!tg_slot(&l->g, 1, HVX_SLOT_READONLY, FAR, l->size, l->p));
	load_wait(l, true);
	CHECK(!tg_slot(&l->g, 1, HVX_SLOT_LOG_DIRTY, FAR, l->size, l->p));
	load_wait(l, true);
	CHECK(!tg_slot(&l->g, 1, 0, FAR, l->size, l->p));
}

/* A neighbour comes and goes: this slot's index in the array changes. */
static void change_neighbour(struct load *l)
{
	CHECK(!tg_slot(&l->g, 2, 0, FAR - MIB, MIB, l->p));
	load_wait(l, false);
	CHECK(!tg_slot(&l->g, 2, 0, 0, 0, NULL));
}

static void change_protection(struct load *l)
{
	CHECK(!mprotect(l->p + TG_PAGE, 7 * TG_PAGE, PROT_READ));
	load_wait(l, true);
	CHECK(!mprotect(l->p, l->size, PROT_NONE));
	load_wait(l, true);
	CHECK(!mprotect(l->p, l->size, PROT_READ | PROT_WRITE));
}

static void change_address(struct load *l)
{
	uint8_t *q = map(l->size, MAP_PRIVATE);
	uint64_t sum[2] = { 0 };
	size_t i;
	int k;

	CHECK(mremap(l->p, l->size, l->size, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	for (k = 0; k < 2; k++) {	/* nothing is written there any more */
		for (i = 0; i < l->size; i += 8)
			sum[k] += *(volatile uint64_t *)(q + i);
		load_wait(l, true);
	}
	CHECK_EQ(sum[0], sum[1]);
	CHECK(mremap(q, l->size, l->size, MREMAP_MAYMOVE | MREMAP_FIXED, l->p) == l->p);
}

/* The child has the memory of one moment: its copy stands still while the guest goes on. */
static void change_fork(struct load *l)
{
	uint64_t sum[2] = { 0 };
	int status, k, go[2];
	size_t i;
	pid_t pid;
	char c;

	CHECK(!pipe(go));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(go[1]);
		for (k = 0; k < 2; k++) {
			for (i = 0; i < l->size; i += 8)
				sum[k] += *(volatile uint64_t *)(l->p + i);
			if (!k && read(go[0], &c, 1))
				_exit(2);
		}
		_exit(sum[0] != sum[1]);
	}
	close(go[0]);
	load_wait(l, false);
	close(go[1]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static unsigned long swapped;

/* What the guest touches all the time is not swapped: once while it runs, then while it is held. */
static void change_swap(struct load *l)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	const size_t pages = l->size / TG_PAGE;
	uint64_t e[PAGES];
	unsigned int i;

	CHECK(!madvise(l->p, l->size, MADV_PAGEOUT));
	__atomic_store_n(&l->hold, true, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&l->held, __ATOMIC_SEQ_CST) < VCPUS &&
	       !__atomic_load_n(&l->bad, __ATOMIC_SEQ_CST))
		usleep(100);
	/* The first clears the guest's accessed bits. */
	for (i = 0; i < 3; i++)
		CHECK(!madvise(l->p, l->size, MADV_PAGEOUT));
	CHECK_EQ(pread(fd, e, pages * 8, (uintptr_t)l->p / TG_PAGE * 8), pages * 8);
	for (i = 0; i < pages; i++)
		swapped += e[i] >> 62 & 1;
	__atomic_store_n(&l->hold, false, __ATOMIC_SEQ_CST);
	close(fd);
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Small pages become a large one, and a large one comes apart. */
static void change_size(struct load *l)
{
	madvise(l->p, l->size, MADV_COLLAPSE);
	load_wait(l, false);
	CHECK(!mprotect(l->p + 2 * MIB + TG_PAGE, TG_PAGE, PROT_READ));
	CHECK(!mprotect(l->p + 2 * MIB + TG_PAGE, TG_PAGE, PROT_READ | PROT_WRITE));
}

/* Memory is thrown away and replaced. Only that nothing lands in what is gone can be said. */
static void change_contents(struct load *l)
{
	uint8_t *q = map(l->size, MAP_PRIVATE);
	size_t half = l->size / 2;
	uint64_t before;

	CHECK(!madvise(l->p, l->size, MADV_DONTNEED));
	CHECK(mremap(l->p, half, half, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, q) == q);
	before = *(volatile uint64_t *)q;
	load_wait(l, false);
	CHECK_EQ(*(volatile uint64_t *)q, before);
	munmap(q, l->size);
	CHECK(mmap(l->p + half, half, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0) != MAP_FAILED);
}

static void load_both(void (*change)(struct load *l), bool loses)
{
	const size_t size = MIB;
	int logged;

	for (logged = 0; logged < 2; logged++) {
		uint8_t *p = map_aligned(size, MAP_PRIVATE);

		load(p, size, logged, loses, change);
		munmap(p, size);
	}
}

static void running_log(void)
{
	const size_t size = MIB;
	uint8_t *p = map(size, MAP_SHARED);

	load_both(NULL, false);
	load(p, size, true, false, NULL);
	munmap(p, size);
}

static void running_slots(void)
{
	uint8_t *p = map_aligned(MIB, MAP_PRIVATE);

	load(p, MIB, false, false, change_slot_gone);
	memset(p, 0, MIB);
	load(p, MIB, false, false, change_slot_flags);
	munmap(p, MIB);
	load_both(change_slot_moved, false);
	load_both(change_neighbour, false);
}

static void running_protection(void)
{
	load_both(change_protection, false);
}

static void running_address(void)
{
	load_both(change_address, false);
}

static void running_fork(void)
{
	load_both(change_fork, false);
}

static void running_contents(void)
{
	load_both(change_contents, true);
}

/* Compressed memory as a swap device. */
static void running_swap(void)
{
	if (system("modprobe -q zram num_devices=1 && echo 64M >/sys/block/zram0/disksize && "
		   "mkswap /dev/zram0 >/dev/null && swapon /dev/zram0")) {
		tg_skipped = "no swap device to be had";
		return;
	}
	swapped = 0;
	load_both(change_swap, false);
	CHECK(swapped > 0);
	CHECK(!system("swapoff /dev/zram0 && echo 1 >/sys/block/zram0/reset"));
}

static void running_huge(void)
{
	const size_t size = PAGES * TG_PAGE;
	int logged;

	if (!write_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise")) {
		tg_skipped = "no transparent huge pages in this kernel";
		return;
	}
	for (logged = 0; logged < 2; logged++) {
		uint8_t *p = map_aligned(size, MAP_PRIVATE);

		CHECK(!madvise(p, size, MADV_HUGEPAGE));
		load(p, size, logged, false, change_size);
		munmap(p, size);
	}
}

static const struct tg_test tests[] = {
	TG_TEST(slot_arguments), TG_TEST(pfnmap), TG_TEST(add_move_delete), TG_TEST(many_slots),
	TG_TEST(read_only),
	TG_TEST(dirty_log), TG_TEST(dirty_reads), TG_TEST(dirty_by_module), TG_TEST(huge_transparent),
	TG_TEST(huge_tlbfs), TG_TEST(huge_split), TG_TEST(fork_cow), TG_TEST(read_then_write),
	TG_TEST(truncated_file), TG_TEST(running_log), TG_TEST(running_slots),
	TG_TEST(running_protection), TG_TEST(running_address), TG_TEST(running_fork),
	TG_TEST(running_contents), TG_TEST(running_swap), TG_TEST(running_huge),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
