// SPDX-License-Identifier: GPL-2.0-only
/* Linux bzImage at its 64-bit entry point (Linux: Documentation/arch/x86/boot.rst). */
#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "loader.h"
#include "vmm/log.h"

#define HDR_OFFSET	0x1f1
#define HDR_MAX_END	0x290		/* the zero page's room for the header */
#define BOOT_MAGIC	0xaa55
#define HDRS		0x53726448	/* "HdrS" */
#define VERSION_MIN	0x020c		/* 3.8: xloadflags and the 64-bit entry point */
#define ENTRY64		0x200		/* from the start of the protected-mode part */
#define LOADER_UNDEFINED 0xff
#define PAGE		4096U

struct image {
	struct setup_header hdr;
	uint8_t raw[HDR_MAX_END - HDR_OFFSET];	/* header as it is in the file */
	unsigned int raw_len;
	uint64_t payload;			/* file offset of the protected-mode part */
	uint64_t payload_size;
};

bool bzimage_probe(const struct boot_file *f)
{
	struct setup_header hdr;

	if (f->size < HDR_OFFSET + sizeof(hdr) ||
	    boot_file_read(f, HDR_OFFSET, &hdr, sizeof(hdr)))
		return false;
	return hdr.boot_flag == BOOT_MAGIC && hdr.header == HDRS;
}

static int bad(const struct boot_file *f, const char *why)
{
	log_error("%s: not a usable bzImage: %s", f->path, why);
	return -ENOEXEC;
}

static int parse(const struct boot_file *f, struct image *img)
{
	unsigned int end, sects;
	int ret;

	if (!bzimage_probe(f))
		return bad(f, "the setup header is gone");
	ret = boot_file_read(f, HDR_OFFSET, &img->hdr, sizeof(img->hdr));
	if (ret)
		return ret;
	if (img->hdr.version < VERSION_MIN)
		return bad(f, "its boot protocol is older than 2.12 (Linux 3.8)");
	if (!(img->hdr.loadflags & LOADED_HIGH))
		return bad(f, "it is a zImage, which loads below 1 MiB");
	if (!(img->hdr.xloadflags & XLF_KERNEL_64))
		return bad(f, "it has no 64-bit entry point (a 32-bit kernel?)");

	/* The header ends where the jump over it leads (boot.rst, "setup header"). */
	end = 0x202 + (img->hdr.jump >> 8);
	if (end > HDR_MAX_END)
		end = HDR_MAX_END;
	if (end <= HDR_OFFSET || end > f->size)
		return bad(f, "the setup header's length is nonsense");
	img->raw_len = end - HDR_OFFSET;
	ret = boot_file_read(f, HDR_OFFSET, img->raw, img->raw_len);
	if (ret)
		return ret;

	sects = img->hdr.setup_sects ? img->hdr.setup_sects : 4;
	img->payload = (sects + 1) * 512U;
	if (f->size <= img->payload + ENTRY64)
		return bad(f, "the file is cut off");
	img->payload_size = f->size - img->payload;
	/* syssize is in units of 16 bytes; more may follow (a signature). */
	if ((uint64_t)img->hdr.syssize * 16 > img->payload_size + 15)
		return bad(f, "the file is cut off");
	return 0;
}

/* Where the kernel goes: where it prefers to, or the first fitting place. */
static int place(const struct boot_file *f, const struct image *img, const struct guest_mem *mem,
		 uint64_t *addr, uint64_t *end)
{
	uint64_t need = img->hdr.init_size, align = img->hdr.kernel_alignment;

	if (need < img->payload_size)
		need = img->payload_size;
	*addr = img->hdr.pref_address;
	if (*addr < BOOT_HIGH_START || !guest_ptr(mem, *addr, need, true)) {
		if (!img->hdr.relocatable_kernel || !align || (align & (align - 1)) ||
		    align > 1U << 30)
			goto no_room;
		*addr = (BOOT_HIGH_START + align - 1) & ~(align - 1);
		if (!guest_ptr(mem, *addr, need, true))
			goto no_room;
	}
	*end = *addr + need;
	return 0;
no_room:
	log_error("%s: the kernel needs %llu MiB from %#llx on; give the guest more <memory>",
		  f->path, (unsigned long long)(need >> 20), (unsigned long long)*addr);
	return -ENOMEM;
}

/* First 4 GiB, one to one, in 2 MiB pages. */
static int put_page_tables(const struct guest_mem *mem)
{
	uint64_t *t = guest_ptr(mem, BOOT_PAGE_TABLES, 6 * PAGE, true);
	unsigned int i;

	if (!t)
		return -ENOMEM;
	memset(t, 0, 6 * PAGE);
	t[0] = (BOOT_PAGE_TABLES + PAGE) | 3;
	for (i = 0; i < 4; i++)
		t[512 + i] = (BOOT_PAGE_TABLES + (2 + i) * PAGE) | 3;
	for (i = 0; i < 4 * 512; i++)
		t[1024 + i] = ((uint64_t)i << 21) | 0x83;
	return 0;
}

static const uint64_t gdt[] = {
	0, 0,
	0x00af9b000000ffffULL,	/* 0x10: 64-bit code */
	0x00cf93000000ffffULL,	/* 0x18: data */
	0x00008b0000000067ULL, 0,	/* 0x20: TSS */
};

static struct hvx_segment segment(uint16_t selector, uint16_t attr, uint32_t limit)
{
	return (struct hvx_segment){ .selector = selector, .attr = attr, .limit = limit };
}

/* CPU state of boot.rst, "64-bit BOOT PROTOCOL". */
static void set_cpu(struct boot_entry *e, uint64_t entry)
{
	const uint16_t common = HVX_SEG_S | HVX_SEG_P | HVX_SEG_G;
	struct hvx_sregs *s = &e->sregs;

	s->cs = segment(0x10, 0xb | common | HVX_SEG_L, 0xffffffff);
	s->ds = segment(0x18, 0x3 | common | HVX_SEG_DB, 0xffffffff);
	s->es = s->fs = s->gs = s->ss = s->ds;
	s->tr = segment(0x20, 0xb | HVX_SEG_P, 0x67);
	s->gdtr.base = BOOT_GDT;
	s->gdtr.limit = sizeof(gdt) - 1;
	s->idtr.base = 0;
	s->idtr.limit = 0;
	s->cr0 = 0x80000033;	/* PG, NE, ET, MP, PE */
	s->cr3 = BOOT_PAGE_TABLES;
	s->cr4 = 0x20;		/* PAE */
	s->efer = 0x500;	/* LMA, LME */
	memset(&e->regs, 0, sizeof(e->regs));
	e->regs.rip = entry;
	e->regs.rsi = BOOT_ZERO_PAGE;
	e->regs.rsp = BOOT_ZERO_PAGE;	/* a stack that grows down from there */
	e->regs.rflags = 2;
}

static void fill_zero_page(struct boot_params *bp, const struct image *img,
			   const struct boot_source *src, const struct boot_entry *e,
			   uint64_t initrd)
{
	struct boot_range map[BOOT_MAX_RANGES];
	unsigned int i, n;

	memset(bp, 0, sizeof(*bp));
	memcpy((uint8_t *)bp + HDR_OFFSET, img->raw, img->raw_len);
	bp->hdr.vid_mode = 0xffff;	/* normal */
	bp->hdr.type_of_loader = LOADER_UNDEFINED;
	bp->hdr.loadflags |= CAN_USE_HEAP;
	bp->hdr.heap_end_ptr = 0xde00;
	bp->hdr.cmd_line_ptr = BOOT_CMDLINE;
	bp->hdr.setup_data = 0;
	if (initrd) {
		bp->hdr.ramdisk_image = (uint32_t)initrd;
		bp->hdr.ramdisk_size = (uint32_t)src->initrd.size;
	}
	bp->acpi_rsdp_addr = e->rsdp;
	n = boot_memory_map(e->mem, map);
	for (i = 0; i < n; i++) {
		bp->e820_table[i].addr = map[i].base;
		bp->e820_table[i].size = map[i].size;
		bp->e820_table[i].type = map[i].type;
	}
	bp->e820_entries = (uint8_t)n;
}

int bzimage_load(const struct boot_source *src, struct boot_entry *e)
{
	uint64_t addr, end, initrd, initrd_limit;
	struct boot_params *bp;
	struct image img;
	int ret;

	memset(&img, 0, sizeof(img));
	ret = parse(&src->kernel, &img) ?: place(&src->kernel, &img, e->mem, &addr, &end);
	if (ret)
		return ret;
	initrd_limit = (uint64_t)img.hdr.initrd_addr_max + 1;
	ret = boot_file_load(&src->kernel, img.payload, e->mem, addr, img.payload_size) ?:
	      boot_put_initrd(src, e->mem, end, initrd_limit, &initrd) ?:
	      boot_put_cmdline(src, e->mem, img.hdr.cmdline_size) ?:
	      put_page_tables(e->mem) ?:
	      guest_write(e->mem, BOOT_GDT, gdt, sizeof(gdt));
	if (ret)
		return ret;
	bp = guest_ptr(e->mem, BOOT_ZERO_PAGE, sizeof(*bp), true);
	if (!bp)
		return -ENOMEM;
	fill_zero_page(bp, &img, src, e, initrd);
	set_cpu(e, addr + ENTRY64);
	return 0;
}
