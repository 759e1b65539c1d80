// SPDX-License-Identifier: GPL-2.0-only
/* ELF images (System V ABI), and kernels with a PVH entry point (Xen's "PVH start info" ABI). */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "loader.h"
#include "vmm/log.h"

#define NOTE_MAX		4096U	/* bytes looked at of a note segment */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

bool elf_is(const struct boot_file *f)
{
	uint8_t ident[EI_NIDENT];

	if (f->size < sizeof(Elf32_Ehdr) || boot_file_read(f, 0, ident, sizeof(ident)))
		return false;
	return !memcmp(ident, ELFMAG, SELFMAG);
}

static int bad(const struct boot_file *f, bool quiet, const char *why)
{
	if (!quiet)
		log_error("%s: not a usable ELF kernel: %s", f->path, why);
	return -ENOEXEC;
}

/* The header's fields that matter, whatever its class. */
struct header {
	uint64_t entry, phoff;
	unsigned int phnum, phentsize;
};

static int read_header(const struct boot_file *f, struct elf_image *img, struct header *h,
		       bool quiet)
{
	union {
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} e;
	uint8_t *ident = e.e32.e_ident;

	if (f->size < sizeof(e.e32) || boot_file_read(f, 0, &e.e32, sizeof(e.e32)) ||
	    memcmp(ident, ELFMAG, SELFMAG))
		return bad(f, quiet, "no ELF header");
	if (ident[EI_DATA] != ELFDATA2LSB)
		return bad(f, quiet, "it is big-endian");
	if (ident[EI_CLASS] == ELFCLASS64) {
		if (f->size < sizeof(e.e64) || boot_file_read(f, 0, &e.e64, sizeof(e.e64)))
			return bad(f, quiet, "the ELF header is cut off");
		*h = (struct header){ e.e64.e_entry, e.e64.e_phoff, e.e64.e_phnum,
				      e.e64.e_phentsize };
		img->machine = e.e64.e_machine;
		img->is64 = true;
	} else if (ident[EI_CLASS] == ELFCLASS32) {
		*h = (struct header){ e.e32.e_entry, e.e32.e_phoff, e.e32.e_phnum,
				      e.e32.e_phentsize };
		img->machine = e.e32.e_machine;
	} else {
		return bad(f, quiet, "unknown ELF class");
	}
	if (img->machine != EM_386 && img->machine != EM_X86_64)
		return bad(f, quiet, "it is for another kind of CPU");
	if (h->phentsize != (img->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return bad(f, quiet, "odd program header size");
	if (!h->phnum || h->phnum > ELF_MAX_SEGMENTS)
		return bad(f, quiet, "no program headers, or too many");
	if (h->phoff > f->size || h->phnum * h->phentsize > f->size - h->phoff)
		return bad(f, quiet, "the program headers lie outside the file");
	img->entry = h->entry;
	return 0;
}

static int read_segment(const struct boot_file *f, const struct elf_image *img, uint64_t off,
			struct elf_segment *s, uint32_t *type)
{
	union {
		Elf32_Phdr p32;
		Elf64_Phdr p64;
	} p;
	int ret;

	ret = boot_file_read(f, off, &p, img->is64 ? sizeof(p.p64) : sizeof(p.p32));
	if (ret)
		return ret;
	if (img->is64) {
		*s = (struct elf_segment){ p.p64.p_offset, p.p64.p_vaddr, p.p64.p_paddr,
					   p.p64.p_filesz, p.p64.p_memsz };
		*type = p.p64.p_type;
	} else {
		*s = (struct elf_segment){ p.p32.p_offset, p.p32.p_vaddr, p.p32.p_paddr,
					   p.p32.p_filesz, p.p32.p_memsz };
		*type = p.p32.p_type;
	}
	return 0;
}

int elf_parse(const struct boot_file *f, struct elf_image *img, bool quiet)
{
	struct header h;
	unsigned int i;
	int ret;

	memset(img, 0, sizeof(*img));
	ret = read_header(f, img, &h, quiet);
	for (i = 0; !ret && i < h.phnum; i++) {
		struct elf_segment s;
		uint32_t type;

		ret = read_segment(f, img, h.phoff + (uint64_t)i * h.phentsize, &s, &type);
		if (ret || (type != PT_LOAD && type != PT_NOTE))
			continue;
		if (s.offset > f->size || s.filesz > f->size - s.offset)
			return bad(f, quiet, "a segment lies outside the file");
		if (type == PT_NOTE) {
			img->note[img->nr_note++] = s;
			continue;
		}
		if (!s.memsz)
			continue;
		if (s.filesz > s.memsz || s.paddr + s.memsz < s.paddr || s.vaddr + s.memsz < s.vaddr)
			return bad(f, quiet, "a segment's size is nonsense");
		img->load[img->nr_load++] = s;
	}
	if (!ret && !img->nr_load)
		return bad(f, quiet, "nothing to load");
	return ret;
}

int elf_load(const struct boot_file *f, const struct elf_image *img, const struct guest_mem *mem,
	     uint64_t *lo, uint64_t *hi)
{
	unsigned int i;
	int ret = 0;

	*lo = ~0ULL;
	*hi = 0;
	for (i = 0; i < img->nr_load && !ret; i++) {
		const struct elf_segment *s = &img->load[i];

		if (!guest_ptr(mem, s->paddr, s->memsz, true)) {
			log_error("%s: its segment at %#llx (%llu KiB) is not in the guest's memory; give the guest more <memory>",
				  f->path, (unsigned long long)s->paddr,
				  (unsigned long long)(s->memsz >> 10));
			return -ENOMEM;
		}
		ret = boot_file_load(f, s->offset, mem, s->paddr, s->filesz) ?:
		      boot_zero(mem, s->paddr + s->filesz, s->memsz - s->filesz);
		if (s->paddr < *lo)
			*lo = s->paddr;
		if (s->paddr + s->memsz > *hi)
			*hi = s->paddr + s->memsz;
	}
	return ret;
}

/* ------------------------------------------------------------------- PVH */

/* One note segment. Sizes in it are the file's: never trusted. */
static bool scan_notes(const uint8_t *p, size_t len, uint64_t *entry)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf32_Nhdr)) {
		Elf32_Nhdr n;
		uint64_t name, desc, next;

		memcpy(&n, p + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + (((uint64_t)n.n_namesz + 3) & ~3ULL);
		next = desc + (((uint64_t)n.n_descsz + 3) & ~3ULL);
		if (desc + n.n_descsz > len)
			return false;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
		    !memcmp(p + name, "Xen", 4) && (n.n_descsz == 4 || n.n_descsz == 8)) {
			*entry = 0;
			memcpy(entry, p + desc, n.n_descsz);
			return true;
		}
		if (next > len)
			return false;
		at = next;
	}
	return false;
}

bool elf_pvh_entry(const struct boot_file *f, const struct elf_image *img, uint64_t *entry)
{
	uint8_t buf[NOTE_MAX];
	unsigned int i;

	for (i = 0; i < img->nr_note; i++) {
		size_t len = img->note[i].filesz < NOTE_MAX ? img->note[i].filesz : NOTE_MAX;

		if (boot_file_read(f, img->note[i].offset, buf, len))
			return false;
		if (scan_notes(buf, len, entry))
			return true;
	}
	return false;
}

bool pvh_probe(const struct boot_file *f)
{
	struct elf_image img;
	uint64_t entry;

	return elf_is(f) && !elf_parse(f, &img, true) && elf_pvh_entry(f, &img, &entry);
}

#define START_MAGIC	0x336ec578

struct start_info {		/* struct hvm_start_info, version 1 */
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct start_module {
	uint64_t paddr, size, cmdline, reserved;
};

struct start_range {
	uint64_t addr, size;
	uint32_t type, reserved;
};

/* One page: the start info, the memory map, the modules. */
struct start_page {
	struct start_info info;
	struct start_range map[BOOT_MAX_RANGES];
	struct start_module module[DOM_MAX_MODULES];
};

_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct start_range) == 24, "PVH ABI");
_Static_assert(BOOT_START_INFO + sizeof(struct start_page) <= BOOT_ZERO_PAGE, "low memory layout");

/* Modules one above the other after the kernel; the initrd is the first where there are no others. */
static int put_modules(const struct boot_source *src, const struct guest_mem *mem, uint64_t at,
		       struct start_page *page)
{
	uint64_t addr;
	unsigned int i;
	int ret;

	if (!src->nr_modules) {
		ret = boot_put_initrd(src, mem, at, mem->low_size, &addr);
		if (!ret && addr) {
			page->module[0].paddr = addr;
			page->module[0].size = src->initrd.size;
			page->info.nr_modules = 1;
		}
		return ret;
	}
	for (i = 0; i < src->nr_modules; i++) {
		at = (at + 4095) & ~4095ULL;
		ret = boot_file_load(&src->module[i], 0, mem, at, src->module[i].size);
		if (ret)
			return ret;
		page->module[i].paddr = at;
		page->module[i].size = src->module[i].size;
		at += src->module[i].size;
	}
	page->info.nr_modules = src->nr_modules;
	return 0;
}

int pvh_load(const struct boot_source *src, struct boot_entry *e)
{
	struct boot_range map[BOOT_MAX_RANGES];
	struct start_page page = { .info = { .magic = START_MAGIC, .version = 1 } };
	uint64_t entry, lo, hi;
	struct elf_image img;
	unsigned int i, n;
	int ret;

	ret = elf_parse(&src->kernel, &img, false);
	if (ret)
		return ret;
	if (!elf_pvh_entry(&src->kernel, &img, &entry) || entry > UINT32_MAX) {
		log_error("%s: its PVH entry point is gone, or above 4 GiB", src->kernel.path);
		return -ENOEXEC;
	}
	ret = elf_load(&src->kernel, &img, e->mem, &lo, &hi);
	if (ret)
		return ret;
	if (lo < BOOT_HIGH_START || hi > e->mem->low_size) {
		log_error("%s: a PVH kernel must load above 1 MiB and below the PCI window, not at %#llx-%#llx",
			  src->kernel.path, (unsigned long long)lo, (unsigned long long)hi);
		return -ENOEXEC;
	}
	ret = put_modules(src, e->mem, hi, &page) ?:
	      boot_put_cmdline(src, e->mem, BOOT_CMDLINE_MAX - 1);
	if (ret)
		return ret;

	n = boot_memory_map(e->mem, map);
	for (i = 0; i < n; i++)
		page.map[i] = (struct start_range){ map[i].base, map[i].size, map[i].type, 0 };
	page.info.memmap = BOOT_START_INFO + offsetof(struct start_page, map);
	page.info.memmap_entries = n;
	page.info.modlist = page.info.nr_modules
			    ? BOOT_START_INFO + offsetof(struct start_page, module) : 0;
	page.info.cmdline = BOOT_CMDLINE;
	page.info.rsdp = e->rsdp;
	ret = guest_write(e->mem, BOOT_START_INFO, &page, sizeof(page));

	boot_flat32(e);
	e->regs.rip = entry;
	e->regs.rbx = BOOT_START_INFO;
	return ret;
}
