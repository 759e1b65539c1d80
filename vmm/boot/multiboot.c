// SPDX-License-Identifier: GPL-2.0-only
/* Multiboot 1 images (Multiboot Specification 0.6.96): ELF, or any format with load addresses in the header. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader.h"
#include "vmm/board.h"
#include "vmm/log.h"

#define SEARCH		8192U		/* the header lies in the first 8 KiB, 4-byte aligned */
#define HEADER_MAGIC	0x1badb002U
#define LOADER_MAGIC	0x2badb002U
#define PAGE		4096ULL

#define HF_ALIGN	(1U << 0)	/* modules on page boundaries: they always are */
#define HF_MEMORY	(1U << 1)	/* memory map wanted: it is always there */
#define HF_VIDEO	(1U << 2)	/* a video mode would be liked: there is no video */
#define HF_KNOWN	(HF_ALIGN | HF_MEMORY | HF_VIDEO)
#define HF_REQUIRED	0xffffU		/* unknown bits here: not to be loaded */
#define HF_ADDRESSES	(1U << 16)

#define IF_MEMORY	(1U << 0)
#define IF_CMDLINE	(1U << 2)
#define IF_MODULES	(1U << 3)
#define IF_MMAP		(1U << 6)
#define IF_LOADER	(1U << 9)

struct mb_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name;
	uint32_t apm_table;
	uint32_t vbe[4];
};

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_mmap {
	uint32_t size;			/* of what follows */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

static const char loader_name[] = "hvx";

static bool find_header(const struct boot_file *f, struct mb_header *h, uint32_t *offset)
{
	uint8_t *buf = calloc(1, SEARCH + sizeof(*h));
	size_t len = f->size < SEARCH ? f->size : SEARCH, at;
	bool found = false;

	/* The header's tail may reach beyond the searched part. */
	size_t have = f->size < SEARCH + sizeof(*h) ? f->size : SEARCH + sizeof(*h);

	if (!buf)
		return false;
	if (len >= 12 && !boot_file_read(f, 0, buf, have)) {
		for (at = 0; at + 12 <= len && !found; at += 4) {
			memcpy(h, buf + at, sizeof(*h));
			found = h->magic == HEADER_MAGIC &&
				h->magic + h->flags + h->checksum == 0 &&
				(!(h->flags & HF_ADDRESSES) || at + sizeof(*h) <= have);
		}
		*offset = (uint32_t)(at - 4);
	}
	free(buf);
	return found;
}

bool multiboot_probe(const struct boot_file *f)
{
	struct mb_header h;
	uint32_t offset;

	return find_header(f, &h, &offset);
}

static int bad(const struct boot_file *f, const char *why)
{
	log_error("%s: not a usable multiboot image: %s", f->path, why);
	return -ENOEXEC;
}

/* The header gives the addresses ("a.out kludge"). */
static int load_by_header(const struct boot_file *f, const struct mb_header *h, uint32_t offset,
			  const struct guest_mem *mem, uint64_t *entry, uint64_t *hi)
{
	uint64_t file_off, len, bss;
	int ret;

	if (h->load_addr > h->header_addr || h->header_addr - h->load_addr > offset)
		return bad(f, "its load address lies above its header");
	file_off = offset - (h->header_addr - h->load_addr);
	len = h->load_end_addr ? (uint64_t)h->load_end_addr - h->load_addr : f->size - file_off;
	if ((h->load_end_addr && h->load_end_addr < h->load_addr) || len > f->size - file_off)
		return bad(f, "it is to be loaded beyond its own end");
	bss = h->bss_end_addr ? h->bss_end_addr : h->load_addr + len;
	if (bss < h->load_addr + len)
		return bad(f, "its bss ends before its data");
	if (!guest_ptr(mem, h->load_addr, bss - h->load_addr, true)) {
		log_error("%s: it loads at %#x-%#llx, which is not in the guest's memory; give the guest more <memory>",
			  f->path, h->load_addr, (unsigned long long)bss);
		return -ENOMEM;
	}
	ret = boot_file_load(f, file_off, mem, h->load_addr, len) ?:
	      boot_zero(mem, h->load_addr + len, bss - (h->load_addr + len));
	*entry = h->entry_addr;
	*hi = bss;
	return ret;
}

static int load_elf(const struct boot_file *f, const struct guest_mem *mem, uint64_t *entry,
		    uint64_t *hi)
{
	struct elf_image img;
	unsigned int i;
	uint64_t lo;
	int ret;

	if (!elf_is(f))
		return bad(f, "it is no ELF file, and its header has no load addresses");
	ret = elf_parse(f, &img, false) ?: elf_load(f, &img, mem, &lo, hi);
	if (ret)
		return ret;
	/* The entry point is virtual where the image is linked apart from its load address. */
	*entry = img.entry;
	for (i = 0; i < img.nr_load; i++)
		if (img.entry - img.load[i].vaddr < img.load[i].memsz) {
			*entry = img.entry - img.load[i].vaddr + img.load[i].paddr;
			break;
		}
	if (*entry > UINT32_MAX || *hi > mem->low_size)
		return bad(f, "it loads above 4 GiB");
	return 0;
}

/* Boot information, put behind the kernel piece by piece. */
struct place {
	const struct guest_mem *mem;
	uint64_t at;
	int err;
};

static uint32_t put(struct place *p, const void *data, size_t len)
{
	uint64_t addr = (p->at + 7) & ~7ULL;

	if (!p->err && addr + len > p->mem->low_size)
		p->err = -ENOMEM;
	if (!p->err)
		p->err = guest_write(p->mem, addr, data, len);
	p->at = addr + len;
	return (uint32_t)addr;
}

static uint32_t put_string(struct place *p, const char *s)
{
	return put(p, s, strlen(s) + 1);
}

static void put_modules(struct place *p, const struct boot_source *src, struct mb_info *info)
{
	struct mb_module mod[DOM_MAX_MODULES] = { 0 };
	const struct boot_file *file = src->nr_modules ? src->module : &src->initrd;
	unsigned int i, n = src->nr_modules ? src->nr_modules : src->initrd.fd >= 0;

	for (i = 0; i < n && !p->err; i++) {
		p->at = (p->at + PAGE - 1) & ~(PAGE - 1);
		if (file[i].size > p->mem->low_size) {
			p->err = -ENOMEM;
			return;
		}
		mod[i].start = (uint32_t)p->at;
		mod[i].end = (uint32_t)(p->at + file[i].size);
		p->err = boot_file_load(&file[i], 0, p->mem, p->at, file[i].size);
		p->at += file[i].size;
	}
	for (i = 0; i < n && !p->err; i++)
		mod[i].string = put_string(p, src->nr_modules ? src->module_args[i]
							      : src->initrd.path);
	if (!n || p->err)
		return;
	info->mods_count = n;
	info->mods_addr = put(p, mod, n * sizeof(mod[0]));
	info->flags |= IF_MODULES;
}

static void put_memory_map(struct place *p, struct mb_info *info)
{
	struct boot_range map[BOOT_MAX_RANGES];
	struct mb_mmap mmap[BOOT_MAX_RANGES];
	unsigned int i, n = boot_memory_map(p->mem, map);

	for (i = 0; i < n; i++)
		mmap[i] = (struct mb_mmap){ sizeof(mmap[0]) - 4, map[i].base, map[i].size,
					    map[i].type };
	info->mmap_length = (uint32_t)(n * sizeof(mmap[0]));
	info->mmap_addr = put(p, mmap, info->mmap_length);
	info->mem_lower = BOARD_EBDA_BASE >> 10;
	info->mem_upper = (uint32_t)((p->mem->low_size - BOOT_HIGH_START) >> 10);
	info->flags |= IF_MEMORY | IF_MMAP;
}

int multiboot_load(const struct boot_source *src, struct boot_entry *e)
{
	const struct boot_file *f = &src->kernel;
	struct mb_info info = { 0 };
	struct place p = { .mem = e->mem };
	uint32_t offset, info_addr;
	struct mb_header h;
	uint64_t entry, hi;
	char *cmdline;
	int ret;

	if (!find_header(f, &h, &offset))
		return bad(f, "the multiboot header is gone");
	if (h.flags & HF_REQUIRED & ~HF_KNOWN)
		return bad(f, "it requires what this loader does not have");
	ret = h.flags & HF_ADDRESSES ? load_by_header(f, &h, offset, e->mem, &entry, &hi)
				     : load_elf(f, e->mem, &entry, &hi);
	if (ret)
		return ret;

	/* All information behind the kernel, but not below 1 MiB. */
	p.at = ((hi > BOOT_HIGH_START ? hi : BOOT_HIGH_START) + PAGE - 1) & ~(PAGE - 1);
	put_modules(&p, src, &info);
	put_memory_map(&p, &info);
	/* The image's own name comes first, as from other loaders. */
	if (asprintf(&cmdline, "%s%s%s", f->path, src->cmdline[0] ? " " : "", src->cmdline) < 0)
		return -ENOMEM;
	info.cmdline = put_string(&p, cmdline);
	free(cmdline);
	info.loader_name = put_string(&p, loader_name);
	info.flags |= IF_CMDLINE | IF_LOADER;
	info_addr = put(&p, &info, sizeof(info));
	if (p.err) {
		log_error("%s: kernel and modules do not fit; give the guest more <memory>",
			  f->path);
		return p.err;
	}
	boot_flat32(e);
	e->regs.rip = entry;
	e->regs.rax = LOADER_MAGIC;
	e->regs.rbx = info_addr;
	return 0;
}
