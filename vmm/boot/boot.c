// SPDX-License-Identifier: GPL-2.0-only
/* Files of a direct boot, and what all loaders need. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader.h"
#include "vmm/board.h"
#include "vmm/fileio.h"
#include "vmm/log.h"

struct boot {
	struct boot_source src;
	const struct boot_format *format;
	char *module_path[DOM_MAX_MODULES];
};

static const struct boot_format {
	const char *name;
	bool (*probe)(const struct boot_file *f);
	int (*load)(const struct boot_source *src, struct boot_entry *e);
	bool modules;	/* takes multiboot modules */
} formats[] = {
	{ "Linux bzImage", bzimage_probe, bzimage_load, false },
	{ "ELF with PVH entry", pvh_probe, pvh_load, true },
	{ "multiboot", multiboot_probe, multiboot_load, true },
};

/* ----------------------------------------------------------------- files */

int boot_file_read(const struct boot_file *f, uint64_t off, void *buf, size_t len)
{
	ssize_t n = pread_full(f->fd, buf, len, off);

	if (n < 0) {
		log_error("%s: %s", f->path, strerror((int)-n));
		return (int)n;
	}
	if ((size_t)n < len) {
		log_error("%s: the file ends too early", f->path);
		return -ENOEXEC;
	}
	return 0;
}

int boot_file_load(const struct boot_file *f, uint64_t off, const struct guest_mem *mem,
		   uint64_t gpa, uint64_t len)
{
	void *to;

	if (!len)
		return 0;
	to = guest_ptr(mem, gpa, len, true);
	if (!to || off > f->size || len > f->size - off) {
		log_error("%s: %llu bytes do not fit into the guest's memory at %#llx; give the guest more <memory>",
			  f->path, (unsigned long long)len, (unsigned long long)gpa);
		return -ENOMEM;
	}
	return boot_file_read(f, off, to, len);
}

int boot_zero(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	void *to;

	if (!len)
		return 0;
	to = guest_ptr(mem, gpa, len, true);
	if (!to)
		return -ENOMEM;
	memset(to, 0, len);
	return 0;
}

int boot_put_cmdline(const struct boot_source *src, const struct guest_mem *mem, uint64_t max)
{
	size_t len = strlen(src->cmdline);

	if (max > BOOT_CMDLINE_MAX - 1)
		max = BOOT_CMDLINE_MAX - 1;
	if (len > max) {
		log_error("<cmdline> has %zu characters; this kernel takes %llu at most", len,
			  (unsigned long long)max);
		return -E2BIG;
	}
	return guest_write(mem, BOOT_CMDLINE, src->cmdline, len + 1);
}

int boot_put_initrd(const struct boot_source *src, const struct guest_mem *mem, uint64_t floor,
		    uint64_t limit, uint64_t *addr)
{
	uint64_t size = src->initrd.size;

	*addr = 0;
	if (src->initrd.fd < 0 || !size)
		return 0;
	if (limit > mem->low_size)
		limit = mem->low_size;
	floor = (floor + 4095) & ~4095ULL;
	if (limit < floor || size > limit - floor) {
		log_error("%s: an initrd of %llu MiB does not fit beside the kernel; give the guest %llu MiB of <memory> or more",
			  src->initrd.path, (unsigned long long)(size >> 20),
			  (unsigned long long)((floor + size + (64ULL << 20)) >> 20));
		return -ENOMEM;
	}
	*addr = (limit - size) & ~4095ULL;
	return boot_file_load(&src->initrd, 0, mem, *addr, size);
}

/* ------------------------------------------------------------ CPU state */

static struct hvx_segment flat(uint16_t selector, uint16_t attr)
{
	return (struct hvx_segment){
		.selector = selector, .limit = 0xffffffff,
		.attr = (uint16_t)(attr | HVX_SEG_S | HVX_SEG_P | HVX_SEG_G),
	};
}

#define TYPE_CODE	0xb	/* execute, read, accessed */
#define TYPE_DATA	0x3	/* read, write, accessed */
#define TYPE_TSS	0xb	/* 32- or 64-bit TSS, busy */
#define CR0_PE		0x1
#define CR0_ET		0x10

void boot_flat32(struct boot_entry *e)
{
	struct hvx_sregs *s = &e->sregs;

	s->cs = flat(0x10, TYPE_CODE | HVX_SEG_DB);
	s->ds = s->es = s->fs = s->gs = s->ss = flat(0x18, TYPE_DATA | HVX_SEG_DB);
	s->tr = (struct hvx_segment){ .limit = 0x67, .attr = TYPE_TSS | HVX_SEG_P };
	s->gdtr.base = s->idtr.base = 0;
	s->gdtr.limit = s->idtr.limit = 0;
	s->cr0 = CR0_PE | CR0_ET;
	s->cr3 = s->cr4 = s->efer = 0;
	memset(&e->regs, 0, sizeof(e->regs));
	e->regs.rflags = 2;
}

/* ------------------------------------------------------------ memory map */

unsigned int boot_memory_map(const struct guest_mem *mem, struct boot_range *map)
{
	unsigned int n = 0;

	map[n++] = (struct boot_range){ 0, BOARD_EBDA_BASE, E820_RAM_TYPE };
	map[n++] = (struct boot_range){ BOARD_EBDA_BASE, 0xa0000 - BOARD_EBDA_BASE,
					E820_RESERVED_TYPE };
	map[n++] = (struct boot_range){ BOARD_ROM_BASE, BOARD_ROM_END - BOARD_ROM_BASE,
					E820_RESERVED_TYPE };
	map[n++] = (struct boot_range){ BOARD_ROM_END, mem->low_size - BOARD_ROM_END,
					E820_RAM_TYPE };
	/* The ECAM must be reserved here for Linux to trust it. */
	map[n++] = (struct boot_range){ BOARD_ECAM_BASE, BOARD_ECAM_SIZE, E820_RESERVED_TYPE };
	map[n++] = (struct boot_range){ BOARD_LAPIC_BASE, 0x1000, E820_RESERVED_TYPE };
	if (mem->high_size)
		map[n++] = (struct boot_range){ RAM_HIGH_START, mem->high_size, E820_RAM_TYPE };
	return n;
}

/* ------------------------------------------------------- open and close */

static int open_file(struct boot_file *f, const char *path, const char *element)
{
	struct stat st;

	f->path = path;
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0) {
		int err = errno;

		log_error("%s: %s: %s", element, path, strerror(err));
		return -err;
	}
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		log_error("%s: %s: not a regular file", element, path);
		return -EINVAL;
	}
	f->size = (uint64_t)st.st_size;
	return 0;
}

/* What somebody may have given instead of a kernel. */
static const char *what_it_is(const struct boot_file *f)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *what;
	} known[] = {
		{ "\x1f\x8b", 2, "a gzip file" },
		{ "\x28\xb5\x2f\xfd", 4, "a zstd file" },
		{ "\xfd" "7zXZ", 5, "an xz file" },
		{ "BZh", 3, "a bzip2 file" },
		{ "070701", 6, "a cpio archive" },
		{ "MZ", 2, "an EFI program" },
		{ "QFI\xfb", 4, "a qcow2 disk image" },
		{ "#!", 2, "a script" },
	};
	char head[8] = "";
	unsigned int i;

	if (!f->size)
		return "an empty file";
	if (pread(f->fd, head, sizeof(head), 0) < 2)
		return "a file of one byte";
	if (elf_is(f))
		return "an ELF file with neither a PVH note nor a multiboot header";
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!memcmp(head, known[i].magic, known[i].len))
			return known[i].what;
	return "a file of unknown format";
}

static int find_format(struct boot *b)
{
	unsigned int i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].probe(&b->src.kernel)) {
			b->format = &formats[i];
			log_debug("kernel %s: %s", b->src.kernel.path, formats[i].name);
			return 0;
		}
	log_error("<kernel>%s: this is %s; a Linux bzImage, an ELF kernel with a PVH note, or a multiboot 1 image is wanted",
		  b->src.kernel.path, what_it_is(&b->src.kernel));
	return -ENOEXEC;
}

/* "file args": the file is what comes before the first blank. */
static int open_modules(struct boot *b, const struct domain *dom)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < dom->os.nr_modules && !ret; i++) {
		const char *spec = dom->os.module[i];

		b->module_path[i] = strndup(spec, strcspn(spec, " \t"));
		if (!b->module_path[i])
			return -ENOMEM;
		b->src.module_args[i] = spec;
		ret = open_file(&b->src.module[i], b->module_path[i], "<initrd>");
		b->src.nr_modules = i + 1;
	}
	return ret;
}

int boot_open(struct boot **out, const struct domain *dom)
{
	struct boot *b;
	unsigned int i;
	int ret;

	if (!dom->os.kernel) {
		log_error("<os> has no <kernel>: this version boots a kernel directly, not from the guest's disk");
		return -ENOTSUP;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->src.kernel.fd = b->src.initrd.fd = -1;
	for (i = 0; i < DOM_MAX_MODULES; i++)
		b->src.module[i].fd = -1;
	b->src.cmdline = dom->os.cmdline ? dom->os.cmdline : "";

	ret = open_file(&b->src.kernel, dom->os.kernel, "<kernel>") ?: find_format(b);
	if (!ret && b->format->modules && dom->os.nr_modules)
		ret = open_modules(b, dom);
	if (!ret && dom->os.initrd && !b->src.nr_modules)
		ret = open_file(&b->src.initrd, dom->os.initrd, "<initrd>");
	if (ret) {
		boot_close(b);
		return ret;
	}
	*out = b;
	return 0;
}

int boot_load(struct boot *b, struct boot_entry *entry)
{
	return b->format->load(&b->src, entry);
}

static void close_file(struct boot_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
}

void boot_close(struct boot *b)
{
	unsigned int i;

	if (!b)
		return;
	close_file(&b->src.kernel);
	close_file(&b->src.initrd);
	for (i = 0; i < DOM_MAX_MODULES; i++) {
		close_file(&b->src.module[i]);
		free(b->module_path[i]);
	}
	free(b);
}
