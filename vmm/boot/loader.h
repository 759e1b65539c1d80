/* SPDX-License-Identifier: GPL-2.0-only */
/* Between boot.c and the loaders of the kernel formats. */
#ifndef HVX_BOOT_LOADER_H
#define HVX_BOOT_LOADER_H

#include <stdbool.h>
#include "boot.h"

/* Low memory that the loaders use, free to the kernel once it has taken over. */
#define BOOT_GDT		0x1000
#define BOOT_START_INFO		0x2000	/* PVH */
#define BOOT_ZERO_PAGE		0x7000
#define BOOT_PAGE_TABLES	0x9000	/* 6 pages: identity map of the first 4 GiB */
#define BOOT_CMDLINE		0x20000
#define BOOT_CMDLINE_MAX	0x10000	/* with the NUL */
#define BOOT_LOW_END		0x9f000	/* nothing above, below 1 MiB */
#define BOOT_HIGH_START		0x100000

struct boot_file {
	int fd;			/* -1: none */
	uint64_t size;
	const char *path;	/* for messages; borrowed */
};

struct boot_source {
	struct boot_file kernel, initrd;
	struct boot_file module[DOM_MAX_MODULES];
	const char *module_args[DOM_MAX_MODULES];	/* "file args" */
	unsigned int nr_modules;
	const char *cmdline;	/* never NULL */
};

/* Exactly len bytes at off. 0 or -errno after a message (a short file: -ENOEXEC). */
int boot_file_read(const struct boot_file *f, uint64_t off, void *buf, size_t len);
/* The same into guest RAM, which must be one region. */
int boot_file_load(const struct boot_file *f, uint64_t off, const struct guest_mem *mem,
		   uint64_t gpa, uint64_t len);
/* Zero guest RAM. */
int boot_zero(const struct guest_mem *mem, uint64_t gpa, uint64_t len);
/* Command line to BOOT_CMDLINE; max: bytes without the NUL that the kernel takes. */
int boot_put_cmdline(const struct boot_source *src, const struct guest_mem *mem, uint64_t max);
/* Initrd as high as it goes below `limit`, not below `floor`. *addr = 0 where there is none. */
int boot_put_initrd(const struct boot_source *src, const struct guest_mem *mem, uint64_t floor,
		    uint64_t limit, uint64_t *addr);
/* 32-bit protected mode, flat segments, paging off. */
void boot_flat32(struct boot_entry *e);

/* Memory map, as E820 has it. */
enum { E820_RAM_TYPE = 1, E820_RESERVED_TYPE = 2 };
struct boot_range {
	uint64_t base, size;
	uint32_t type;
};
#define BOOT_MAX_RANGES 8
unsigned int boot_memory_map(const struct guest_mem *mem, struct boot_range *map);

/* ELF, 32 and 64 bit */
#define ELF_MAX_SEGMENTS 64
struct elf_image {
	bool is64;
	uint16_t machine;
	uint64_t entry;
	unsigned int nr_load, nr_note;
	struct elf_segment {
		uint64_t offset, vaddr, paddr, filesz, memsz;
	} load[ELF_MAX_SEGMENTS], note[ELF_MAX_SEGMENTS];
};
bool elf_is(const struct boot_file *f);
/* Silent where `quiet`. 0 or -ENOEXEC. */
int elf_parse(const struct boot_file *f, struct elf_image *img, bool quiet);
/* All segments to their physical addresses. The lowest and the end of the highest in *lo, *hi. */
int elf_load(const struct boot_file *f, const struct elf_image *img, const struct guest_mem *mem,
	     uint64_t *lo, uint64_t *hi);
/* Entry point of the PVH note; false: there is none. */
bool elf_pvh_entry(const struct boot_file *f, const struct elf_image *img, uint64_t *entry);

/* The formats. Probes are silent; loads print why not. */
bool bzimage_probe(const struct boot_file *f);
int bzimage_load(const struct boot_source *src, struct boot_entry *e);
bool pvh_probe(const struct boot_file *f);
int pvh_load(const struct boot_source *src, struct boot_entry *e);
bool multiboot_probe(const struct boot_file *f);
int multiboot_load(const struct boot_source *src, struct boot_entry *e);

#endif
