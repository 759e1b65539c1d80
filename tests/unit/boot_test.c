// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/boot/boot.c vmm/boot/elf.c vmm/boot/bzimage.c vmm/boot/multiboot.c vmm/memory.c vmm/log.c */
/*
 * Kernel loaders: what they leave in guest memory and registers, and that no
 * kernel file, cut off anywhere or with any bytes changed, does harm.
 */
#include <asm/bootparam.h>
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/board.h"
#include "vmm/boot/loader.h"

#define MIB		(1ULL << 20)
#define INITRD_SIZE	5000

static struct guest_mem mem;
static int saved_stderr = -1;

static void setup(void)
{
	struct mem_backing backing = { .no_ksm = true };

	ck_assert_int_eq(guest_mem_init(&mem, 64 * MIB, &backing), 0);
}

static void teardown(void)
{
	guest_mem_fini(&mem);
}

/* Thousands of expected messages. */
static void quiet(bool on)
{
	int null;

	if (on) {
		saved_stderr = dup(2);
		null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		close(null);
	} else {
		dup2(saved_stderr, 2);
		close(saved_stderr);
	}
}

static struct boot_file file(const void *data, size_t len)
{
	struct boot_file f = { .fd = memfd_create("kernel", 0), .size = len, .path = "kernel" };

	ck_assert_int_ge(f.fd, 0);
	ck_assert_int_eq(write(f.fd, data, len), (ssize_t)len);
	return f;
}

static uint8_t byte_at(uint64_t gpa)
{
	uint8_t b;

	ck_assert_int_eq(guest_read(&mem, gpa, &b, 1), 0);
	return b;
}

static uint32_t u32_at(uint64_t gpa)
{
	uint32_t v;

	ck_assert_int_eq(guest_read(&mem, gpa, &v, 4), 0);
	return v;
}

static uint64_t u64_at(uint64_t gpa)
{
	uint64_t v;

	ck_assert_int_eq(guest_read(&mem, gpa, &v, 8), 0);
	return v;
}

static const char *string_at(uint64_t gpa)
{
	return guest_ptr(&mem, gpa, 1, false);
}

/* --------------------------------------------------------------- images */

struct image {
	uint8_t data[8192];
	size_t len;
};

#define BZ_SETUP	(3 * 512)	/* setup_sects 2 */
#define BZ_PAYLOAD	1600

static void make_bzimage(struct image *i)
{
	struct setup_header h = {
		.setup_sects = 2, .syssize = BZ_PAYLOAD / 16, .boot_flag = 0xaa55, .jump = 0x66eb,
		.header = 0x53726448, .version = 0x20f, .loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff, .kernel_alignment = 0x200000,
		.relocatable_kernel = 1, .xloadflags = XLF_KERNEL_64, .cmdline_size = 2047,
		.pref_address = 0x1000000, .init_size = 4 << 20,
	};
	unsigned int n;

	memset(i, 0, sizeof(*i));
	memcpy(i->data + 0x1f1, &h, sizeof(h));
	for (n = 0; n < BZ_PAYLOAD; n++)
		i->data[BZ_SETUP + n] = (uint8_t)(n * 7 + 1);
	i->len = BZ_SETUP + BZ_PAYLOAD;
}

/* ELF64: headers, a PVH note at 0x200, 256 bytes to load at 2 MiB with as much bss. */
static void make_pvh(struct image *i)
{
	Elf64_Ehdr *e = (void *)i->data;
	Elf64_Phdr *p = (void *)(i->data + sizeof(*e));
	Elf64_Nhdr n = { 4, 4, 18 };
	uint32_t entry = 0x200010;

	memset(i, 0, sizeof(*i));
	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_machine = EM_X86_64;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(*p);
	e->e_phnum = 2;
	p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 0x300, .p_vaddr = 0xffffffff80200000,
			     .p_paddr = 0x200000, .p_filesz = 256, .p_memsz = 512 };
	p[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 40 };
	/* Another note first. */
	n.n_type = 6;
	memcpy(i->data + 0x200, &n, sizeof(n));
	memcpy(i->data + 0x20c, "Xen", 4);
	n.n_type = 18;
	memcpy(i->data + 0x214, &n, sizeof(n));
	memcpy(i->data + 0x220, "Xen", 4);
	memcpy(i->data + 0x224, &entry, 4);
	memset(i->data + 0x300, 0xab, 256);
	i->len = 0x400;
}

/* Multiboot with addresses in the header: loads at 1 MiB, header at 0x40. */
static void make_multiboot(struct image *i, uint32_t flags)
{
	uint32_t h[8] = { 0x1badb002, flags, 0, 0x100040, 0x100000, 0x100400, 0x101000, 0x100080 };

	h[2] = -(h[0] + h[1]);
	memset(i, 0, sizeof(*i));
	memset(i->data, 0xcd, 0x400);
	memcpy(i->data + 0x40, h, sizeof(h));
	i->len = 0x400;
}

/* ELF32 with a multiboot header inside its segment, linked 0xc0000000 above its load address. */
static void make_multiboot_elf(struct image *i)
{
	Elf32_Ehdr *e = (void *)i->data;
	Elf32_Phdr *p = (void *)(i->data + sizeof(*e));
	uint32_t h[3] = { 0x1badb002, 3, 0 };

	h[2] = -(h[0] + h[1]);
	memset(i, 0, sizeof(*i));
	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS32;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_machine = EM_386;
	e->e_entry = 0xc0100020;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(*p);
	e->e_phnum = 1;
	p[0] = (Elf32_Phdr){ .p_type = PT_LOAD, .p_offset = 0x100, .p_vaddr = 0xc0100000,
			     .p_paddr = 0x100000, .p_filesz = 256, .p_memsz = 0x2000 };
	memcpy(i->data + 0x100, h, sizeof(h));
	i->len = 0x200;
}

/* As boot.c does it: the first format that knows the file loads it. */
static int load(struct boot_source *src, struct boot_entry *e)
{
	e->mem = &mem;
	if (bzimage_probe(&src->kernel))
		return bzimage_load(src, e);
	if (pvh_probe(&src->kernel))
		return pvh_load(src, e);
	if (multiboot_probe(&src->kernel))
		return multiboot_load(src, e);
	return -ENOEXEC;
}

static int load_image(const struct image *i, size_t len, struct boot_entry *e)
{
	struct boot_source src = { .cmdline = "quiet", .initrd.fd = -1 };
	int ret;

	src.kernel = file(i->data, len);
	ret = load(&src, e);
	close(src.kernel.fd);
	return ret;
}

/* ------------------------------------------------------------ good images */

START_TEST(bzimage)
{
	struct boot_source src = { .cmdline = "console=ttyS0" };
	struct boot_entry e = { .mem = &mem, .rsdp = 0xe0000 };
	uint8_t initrd[INITRD_SIZE];
	struct boot_params *bp;
	struct image img;
	unsigned int i;
	uint64_t end = 0;

	memset(initrd, 0x5a, sizeof(initrd));
	make_bzimage(&img);
	src.kernel = file(img.data, img.len);
	src.initrd = file(initrd, sizeof(initrd));
	ck_assert_int_eq(load(&src, &e), 0);

	ck_assert_uint_eq(e.regs.rip, 0x1000000 + 0x200);
	ck_assert_uint_eq(e.regs.rsi, BOOT_ZERO_PAGE);
	ck_assert_uint_eq(e.sregs.cs.selector, 0x10);
	ck_assert_uint_eq(e.sregs.ds.selector, 0x18);
	ck_assert(e.sregs.cs.attr & HVX_SEG_L);
	ck_assert_uint_eq(e.sregs.efer, 0x500);
	ck_assert_uint_eq(byte_at(0x1000000 + 9), 9 * 7 + 1);
	ck_assert_uint_eq(byte_at(0x1000000 + BZ_PAYLOAD - 1), (uint8_t)((BZ_PAYLOAD - 1) * 7 + 1));
	bp = guest_ptr(&mem, BOOT_ZERO_PAGE, sizeof(*bp), true);
	ck_assert_str_eq(string_at(bp->hdr.cmd_line_ptr), "console=ttyS0");
	ck_assert_uint_eq(bp->hdr.ramdisk_size, INITRD_SIZE);
	ck_assert_uint_eq(bp->hdr.ramdisk_image % 4096, 0);
	ck_assert_uint_eq(byte_at(bp->hdr.ramdisk_image + INITRD_SIZE - 1), 0x5a);
	ck_assert_uint_le(bp->hdr.ramdisk_image + INITRD_SIZE, 64 * MIB);
	ck_assert_uint_eq(bp->acpi_rsdp_addr, 0xe0000);
	ck_assert_uint_eq(bp->hdr.type_of_loader, 0xff);
	/* Ranges in order, none overlapping, RAM ending where RAM ends. */
	for (i = 0; i < bp->e820_entries; i++) {
		if (bp->e820_table[i].addr < 3ULL << 30 && bp->e820_table[i].type == 1)
			end = bp->e820_table[i].addr + bp->e820_table[i].size;
		if (i)
			ck_assert_uint_ge(bp->e820_table[i].addr, bp->e820_table[i - 1].addr +
					  bp->e820_table[i - 1].size);
	}
	ck_assert_uint_eq(end, 64 * MIB);
	/* The identity map: a large page for every 2 MiB. */
	ck_assert_uint_eq(u64_at(e.sregs.cr3), (e.sregs.cr3 + 0x1000) | 3);
	ck_assert_uint_eq(u64_at(e.sregs.cr3 + 0x1000 + 3 * 8), (e.sregs.cr3 + 0x5000) | 3);
	ck_assert_uint_eq(u64_at(e.sregs.cr3 + 0x5000 + 511 * 8), 0xffe00083);
	close(src.kernel.fd);
	close(src.initrd.fd);
}
END_TEST

START_TEST(pvh)
{
	struct boot_source src = { .cmdline = "a b" };
	uint8_t initrd[INITRD_SIZE] = { 7 };
	struct boot_entry e = { .rsdp = 0xe0000 };
	struct image img;

	make_pvh(&img);
	src.kernel = file(img.data, img.len);
	src.initrd = file(initrd, sizeof(initrd));
	memset(guest_ptr(&mem, 0x200000, 512, true), 0xff, 512);
	ck_assert_int_eq(load(&src, &e), 0);
	ck_assert_uint_eq(e.regs.rip, 0x200010);
	ck_assert_uint_eq(e.regs.rbx, BOOT_START_INFO);
	ck_assert_uint_eq(e.sregs.cr0 & 0x80000001, 1);
	ck_assert_uint_eq(e.sregs.cs.limit, 0xffffffff);
	ck_assert_uint_eq(byte_at(0x2000ff), 0xab);
	ck_assert_uint_eq(byte_at(0x200100), 0);
	ck_assert_uint_eq(byte_at(0x2001ff), 0);
	ck_assert_uint_eq(u32_at(BOOT_START_INFO), 0x336ec578);
	ck_assert_uint_eq(u32_at(BOOT_START_INFO + 4), 1);
	ck_assert_uint_eq(u32_at(BOOT_START_INFO + 12), 1);
	ck_assert_uint_eq(byte_at(u64_at(u64_at(BOOT_START_INFO + 16))), 7);
	ck_assert_uint_eq(u64_at(u64_at(BOOT_START_INFO + 16) + 8), INITRD_SIZE);
	ck_assert_str_eq(string_at(u64_at(BOOT_START_INFO + 24)), "a b");
	ck_assert_uint_eq(u64_at(BOOT_START_INFO + 32), 0xe0000);
	ck_assert_uint_eq(u32_at(BOOT_START_INFO + 48), 6);
	close(src.kernel.fd);
	close(src.initrd.fd);
}
END_TEST

/* i = 0: addresses in the header; 1: ELF. */
START_TEST(multiboot)
{
	struct boot_source src = { .cmdline = "x=1", .initrd.fd = -1, .nr_modules = 2 };
	struct boot_entry e = { 0 };
	uint32_t info, mods, mmap, len, seen = 0;
	struct image img;

	if (_i)
		make_multiboot_elf(&img);
	else
		make_multiboot(&img, 0x10003);
	src.kernel = file(img.data, img.len);
	src.module[0] = file("first", 5);
	src.module[1] = file("second", 6);
	src.module_args[0] = "one 1";
	src.module_args[1] = "two";
	ck_assert_int_eq(load(&src, &e), 0);
	ck_assert_uint_eq(e.regs.rip, _i ? 0x100020 : 0x100080);
	ck_assert_uint_eq(e.regs.rax, 0x2badb002);
	ck_assert_uint_eq(byte_at(_i ? 0x101fff : 0x100fff), 0);
	info = (uint32_t)e.regs.rbx;
	ck_assert_uint_eq(u32_at(info), 0x24d);
	ck_assert_uint_eq(u32_at(info + 4), 639);
	ck_assert_uint_eq(u32_at(info + 8), 63 * 1024);
	ck_assert_str_eq(string_at(u32_at(info + 16)), "kernel x=1");
	ck_assert_uint_eq(u32_at(info + 20), 2);
	mods = u32_at(info + 24);
	ck_assert_uint_eq(u32_at(mods) % 4096, 0);
	ck_assert_int_eq(memcmp(string_at(u32_at(mods)), "first", 5), 0);
	ck_assert_uint_eq(u32_at(mods + 4) - u32_at(mods), 5);
	ck_assert_str_eq(string_at(u32_at(mods + 8)), "one 1");
	ck_assert_int_eq(memcmp(string_at(u32_at(mods + 16)), "second", 6), 0);
	ck_assert_str_eq(string_at(u32_at(mods + 24)), "two");
	len = u32_at(info + 44);
	for (mmap = u32_at(info + 48); len; len -= 24, mmap += 24) {
		ck_assert_uint_eq(u32_at(mmap), 20);
		seen += u64_at(mmap + 4) == 0x100000 && u64_at(mmap + 12) == 63 * MIB &&
			u32_at(mmap + 20) == 1;
	}
	ck_assert_uint_eq(seen, 1);
	ck_assert_ptr_nonnull(string_at(u32_at(info + 64)));
	close(src.kernel.fd);
	close(src.module[0].fd);
	close(src.module[1].fd);
}
END_TEST

/* -------------------------------------------------------- hostile images */

static void make(struct image *i, int kind)
{
	switch (kind) {
	case 0:
		make_bzimage(i);
		break;
	case 1:
		make_pvh(i);
		break;
	case 2:
		make_multiboot(i, 0x10003);
		break;
	default:
		make_multiboot_elf(i);
	}
}

/* Cut off anywhere: refused. */
START_TEST(truncated)
{
	struct boot_entry e = { 0 };
	struct image img;
	size_t len;

	make(&img, _i);
	ck_assert_int_eq(load_image(&img, img.len, &e), 0);
	quiet(true);
	for (len = 0; len < img.len; len++) {
		/* syssize counts in units of 16 bytes: less than that cannot be seen. */
		if (_i == 0 && len > img.len - 16)
			break;
		if (!load_image(&img, len, &e)) {
			quiet(false);
			ck_abort_msg("%zu of %zu bytes were accepted", len, img.len);
		}
	}
	quiet(false);
}
END_TEST

/* A file that shrinks after it was measured. */
START_TEST(shrunk)
{
	struct boot_source src = { .cmdline = "", .initrd.fd = -1 };
	struct boot_entry e = { 0 };
	struct image img;

	make(&img, _i);
	src.kernel = file(img.data, img.len);
	ck_assert_int_eq(ftruncate(src.kernel.fd, (off_t)img.len - 20), 0);
	quiet(true);
	ck_assert_int_ne(load(&src, &e), 0);
	quiet(false);
	close(src.kernel.fd);
}
END_TEST

/* Bytes of the headers replaced by extreme values, then several at random: nothing but errors or a load. */
START_TEST(mutated)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	struct boot_entry e = { 0 };
	size_t at, v, n;
	struct image img, bad;

	srandom(1);
	make(&img, _i);
	quiet(true);
	for (at = 0; at < img.len && at < 0x300; at++)
		for (v = 0; v < sizeof(values); v++) {
			bad = img;
			bad.data[at] = values[v];
			load_image(&bad, bad.len, &e);
		}
	for (n = 0; n < 3000; n++) {
		bad = img;
		for (v = 0; v < 1 + n % 8; v++)
			bad.data[(size_t)random() % (_i == 0 ? 0x300 : img.len)] =
				(uint8_t)random();
		load_image(&bad, bad.len, &e);
	}
	quiet(false);
	/* The right image still loads. */
	ck_assert_int_eq(load_image(&img, img.len, &e), 0);
}
END_TEST

/* Load addresses that are no RAM, or wrap around. */
START_TEST(bad_addresses)
{
	static const struct {
		uint64_t paddr, memsz;
	} elf[] = {
		{ 0x200000, 65 * MIB }, { 64 * MIB - 256, 512 }, { ~0ULL - 255, 512 },
		{ 0xa0000, 512 }, { 0x9ff80, 512 }, { 0xe0000000, 512 }, { 0x200000, 255 },
		{ 0x1000, 512 }, { 0x200000, ~0ULL }, { 0x200000, 1ULL << 63 },
	};
	static const uint32_t mb[][5] = {	/* header, load, load end, bss end, entry */
		{ 0x100040, 0x0ff000, 0x100400, 0x101000, 0 },
		{ 0x100040, 0x100000, 0x100401, 0x101000, 0 },
		{ 0x100040, 0x100000, 0x0fffff, 0x101000, 0 },
		{ 0x100040, 0x100000, 0x100400, 0x100200, 0 },
		{ 0x100040, 0x100000, 0x100400, 0xffffffff, 0 },
		{ 0xffffffff, 0xffffffbf, 0, 0, 0 },
		{ 0x00000000, 0x100000, 0x100400, 0x101000, 0 },
	};
	struct boot_entry e = { 0 };
	struct image img;
	unsigned int i;

	quiet(true);
	for (i = 0; i < sizeof(elf) / sizeof(elf[0]); i++) {
		Elf64_Phdr *p;

		make_pvh(&img);
		p = (void *)(img.data + sizeof(Elf64_Ehdr));
		p->p_paddr = elf[i].paddr;
		p->p_memsz = elf[i].memsz;
		ck_assert_int_ne(load_image(&img, img.len, &e), 0);
	}
	for (i = 0; i < sizeof(mb) / sizeof(mb[0]); i++) {
		make_multiboot(&img, 0x10003);
		memcpy(img.data + 0x40 + 12, mb[i], sizeof(mb[i]));
		ck_assert_int_ne(load_image(&img, img.len, &e), 0);
	}
	quiet(false);
}
END_TEST

/* What cannot be kept: too long a command line, too large an initrd, unknown requirements. */
START_TEST(limits)
{
	struct boot_source src = { .initrd.fd = -1 };
	struct boot_entry e = { .mem = &mem };
	char line[2049];
	struct image img;

	memset(line, 'a', sizeof(line) - 1);
	line[2048] = 0;
	make_bzimage(&img);
	src.kernel = file(img.data, img.len);
	src.cmdline = line;
	quiet(true);
	ck_assert_int_eq(load(&src, &e), -E2BIG);
	line[2047] = 0;
	ck_assert_int_eq(load(&src, &e), 0);
	src.initrd = file("", 0);
	ck_assert_int_eq(ftruncate(src.initrd.fd, 64 * MIB), 0);
	src.initrd.size = 64 * MIB;
	ck_assert_int_eq(load(&src, &e), -ENOMEM);
	close(src.kernel.fd);
	close(src.initrd.fd);

	make_multiboot(&img, 0x10003 | 8);
	ck_assert_int_eq(load_image(&img, img.len, &e), -ENOEXEC);
	make_bzimage(&img);
	((struct setup_header *)(img.data + 0x1f1))->xloadflags = 0;
	ck_assert_int_eq(load_image(&img, img.len, &e), -ENOEXEC);
	make_bzimage(&img);
	((struct setup_header *)(img.data + 0x1f1))->version = 0x20b;
	ck_assert_int_eq(load_image(&img, img.len, &e), -ENOEXEC);
	quiet(false);
}
END_TEST

/* boot_open() says what a file is that is no kernel. */
START_TEST(not_kernels)
{
	static const struct {
		const char *data;
		size_t len;
	} none[] = { { "", 0 }, { "x", 1 }, { "\x1f\x8b", 2 }, { "#!/bin/sh\n", 10 },
		     { "QFI\xfb", 4 }, { "just text, and not much of it", 29 } };
	char path[] = "/tmp/hvx-boot.XXXXXX";
	struct domain dom = { 0 };
	struct boot *b = NULL;
	unsigned int i;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	dom.os.kernel = path;
	quiet(true);
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		ck_assert_int_eq(pwrite(fd, none[i].data, none[i].len, 0), (ssize_t)none[i].len);
		ck_assert_int_eq(boot_open(&b, &dom), -ENOEXEC);
	}
	dom.os.kernel = NULL;
	ck_assert_int_eq(boot_open(&b, &dom), -ENOTSUP);
	dom.os.kernel = (char *)"/dev/null";
	ck_assert_int_eq(boot_open(&b, &dom), -EINVAL);
	dom.os.kernel = (char *)"/nonexistent/kernel";
	ck_assert_int_eq(boot_open(&b, &dom), -ENOENT);
	quiet(false);
	ck_assert_ptr_null(b);
	close(fd);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot");
	TCase *t = tcase_create("loaders");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, bzimage);
	tcase_add_test(t, pvh);
	tcase_add_loop_test(t, multiboot, 0, 2);
	tcase_add_loop_test(t, truncated, 0, 4);
	tcase_add_loop_test(t, shrunk, 0, 4);
	tcase_add_loop_test(t, mutated, 0, 4);
	tcase_add_test(t, bad_addresses);
	tcase_add_test(t, limits);
	tcase_add_test(t, not_kernels);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
