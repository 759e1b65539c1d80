// SPDX-License-Identifier: GPL-2.0-only
/* Guest RAM and the checked way into it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dirty.h"
#include "log.h"
#include "memory.h"

#define ALIGN_THP	(2ULL << 20)
#define VGA_START	0xa0000ULL	/* no RAM shows from here ... */
#define VGA_END		0xc0000ULL	/* ... to here: the legacy video window */

int guest_mem_add(struct guest_mem *mem, uint64_t gpa, uint64_t size, uint8_t *hva, bool readonly)
{
	struct guest_region *r;
	unsigned int i;

	if (!size || gpa + size < gpa)
		return -EINVAL;
	if (mem->nr == GUEST_MEM_MAX_REGIONS)
		return -ENOSPC;
	for (i = 0; i < mem->nr; i++) {
		r = &mem->region[i];
		if (gpa < r->gpa + r->size && r->gpa < gpa + size)
			return -EEXIST;
	}
	r = &mem->region[mem->nr];
	*r = (struct guest_region){
		.gpa = gpa, .size = size, .hva = hva, .fd_offset = ~0ULL,
		.readonly = readonly, .slot = mem->nr,
	};
	mem->nr++;
	return 0;
}

static void add_ram(struct guest_mem *mem, uint64_t gpa, uint64_t size, uint8_t *base,
		    uint64_t offset)
{
	if (!size)
		return;
	guest_mem_add(mem, gpa, size, base + offset, false);
	mem->region[mem->nr - 1].fd_offset = offset;
}

/* Map the memfd, or what there is, where its huge pages can be huge in the mapping too. */
static uint8_t *map_aligned(int fd, const struct mem_source *from, uint64_t size, uint64_t align)
{
	uint8_t *area, *start;
	size_t head;

	area = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	start = (uint8_t *)(((uintptr_t)area + align - 1) & ~(uintptr_t)(align - 1));
	head = (size_t)(start - area);
	if (head)
		munmap(area, head);
	munmap(start + size, align - head);
	if (mmap(start, size, PROT_READ | PROT_WRITE,
		 (from ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED | MAP_NORESERVE,
		 from ? from->fd : fd, from ? (off_t)from->offset : 0) == MAP_FAILED) {
		int err = errno;

		munmap(start, size);
		errno = err;
		return NULL;
	}
	return start;
}

static int ram_fd(uint64_t size, const struct mem_backing *backing, uint64_t page)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, err;

	if (backing->hugetlb) {
		flags |= MFD_HUGETLB;
		if (backing->hugepage_size)
			flags |= (unsigned int)__builtin_ctzll(page) << MFD_HUGE_SHIFT;
	}
	fd = memfd_create("guest-ram", flags);
	if (fd < 0)
		return -errno;
	/* No helper that is handed the fd can shrink it under the VMM. */
	if (ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

/* now: bytes from base on that shall be there from the beginning, where the backing asks for that. */
static int ram_advise(uint8_t *base, uint64_t size, uint64_t now, const struct mem_backing *backing)
{
	/* Hints: where the kernel lacks one, the guest runs without it. */
	madvise(base, size, MADV_DONTFORK);
	madvise(base, size, MADV_DONTDUMP);
	if (!backing->hugetlb)
		madvise(base, size, MADV_HUGEPAGE);
	if (!backing->no_ksm)
		madvise(base, size, MADV_MERGEABLE);

	/* Before a page is there. The kernel takes one bit less than maxnode says. */
	if (backing->numa_policy && syscall(SYS_mbind, base, size, backing->numa_policy, backing->numa_nodes,
					    sizeof(backing->numa_nodes) * 8 + 1, 0) < 0) {
		int err = errno;

		log_error("<numatune>: memory of these nodes cannot be had: %s; see: numactl --hardware", strerror(err));
		return -err;
	}
	if (backing->prealloc && !backing->from && madvise(base, now, MADV_POPULATE_WRITE) < 0) {
		int err = errno;

		log_error("cannot allocate %llu MiB of guest memory at once: %s; give the guest less <memory> or drop <allocation mode='immediate'/>",
			  (unsigned long long)(now >> 20), strerror(err));
		return -err;
	}
	if (backing->locked && (mlock(base, now) < 0 ||
				(size > now && mlock2(base + now, size - now, MLOCK_ONFAULT) < 0))) {
		int err = errno;

		log_error("cannot lock %llu MiB of guest memory: %s; raise `ulimit -l` or drop <locked/>",
			  (unsigned long long)(size >> 20), strerror(err));
		return -err;
	}
	return 0;
}

/* What RAM is mapped from: a memfd of its own, or a template's. */
static int ram_open(struct guest_mem *mem, uint64_t size, const struct mem_backing *backing, uint64_t page)
{
	int fd;

	if (backing->from) {
		mem->source = fcntl(backing->from->fd, F_DUPFD_CLOEXEC, 3);
		mem->source_offset = backing->from->offset;
		return 0;
	}
	fd = ram_fd(size, backing, page);
	if (fd < 0) {
		log_error("cannot create guest memory: %s%s", strerror(-fd),
			  backing->hugetlb ? "; is that huge page size configured? see /sys/kernel/mm/hugepages" : "");
		return fd;
	}
	mem->fd = fd;
	return 0;
}

/* base: size bytes, the first boot of them RAM, those at the end for memory devices. */
static void lay_out(struct guest_mem *mem, uint8_t *base, uint64_t boot, uint64_t size, uint64_t device_size)
{
	mem->ram_size = size;
	mem->boot_size = boot;
	mem->low_size = boot < PCI_HOLE_START ? boot : PCI_HOLE_START;
	mem->high_size = boot - mem->low_size;
	add_ram(mem, 0, VGA_START, base, 0);
	add_ram(mem, VGA_END, mem->low_size - VGA_END, base, VGA_END);
	add_ram(mem, RAM_HIGH_START, mem->high_size, base, mem->low_size);
	if (device_size) {
		mem->device_gpa = (RAM_HIGH_START + mem->high_size + DEVICE_ALIGN - 1) & ~(DEVICE_ALIGN - 1);
		mem->device_size = device_size;
		add_ram(mem, mem->device_gpa, device_size, base, size - device_size);
	}
}

int guest_mem_init(struct guest_mem *mem, uint64_t ram_size, const struct mem_backing *backing)
{
	uint64_t page = backing->hugetlb ? backing->hugepage_size : 4096;
	uint64_t align, boot;
	uint8_t *base;
	int ret;

	memset(mem, 0, sizeof(*mem));
	mem->fd = mem->source = mem->pagemap = -1;
	mem->backing = *backing;
	mem->backing.from = NULL;
	if (!page)
		page = ALIGN_THP;
	if (page & (page - 1)) {
		log_error("<hugepages>: page size %llu is not a power of two",
			  (unsigned long long)page);
		return -EINVAL;
	}
	boot = (ram_size + page - 1) & ~(page - 1);
	if (boot < VGA_END + page || boot > 1ULL << 46 || backing->device_size > 1ULL << 46) {
		log_error("<memory>: a guest of %llu bytes cannot be made; use 1 MiB to 64 TiB",
			  (unsigned long long)boot);
		return -EINVAL;
	}

	align = page > ALIGN_THP ? page : ALIGN_THP;
	ram_size = backing->device_size ? ((boot + align - 1) & ~(align - 1)) + backing->device_size : boot;
	mem->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ret = ram_open(mem, ram_size, backing, page);
	if (ret)
		goto fail;
	base = map_aligned(mem->fd, backing->from, ram_size, align);
	if (!base) {
		ret = -errno;
		log_error("cannot map %llu MiB of guest memory: %s%s",
			  (unsigned long long)(ram_size >> 20), strerror(-ret),
			  backing->hugetlb ? "; reserve more huge pages: sysctl vm.nr_hugepages" : "");
		goto fail;
	}
	lay_out(mem, base, boot, ram_size, backing->device_size);
	ret = ram_advise(base, ram_size, boot, backing);
	if (!ret)
		return 0;
fail:
	guest_mem_fini(mem);
	return ret;
}

void guest_mem_fini(struct guest_mem *mem)
{
	/* Region 0 is where the one mapping of all RAM starts. */
	if (mem->nr && mem->region[0].fd_offset == 0)
		munmap(mem->region[0].hva, mem->ram_size);
	if (mem->fd >= 0)
		close(mem->fd);
	if (mem->source >= 0)
		close(mem->source);
	if (mem->pagemap >= 0)
		close(mem->pagemap);
	memset(mem, 0, sizeof(*mem));
	mem->fd = mem->source = mem->pagemap = -1;
}

bool guest_mem_shareable(const struct guest_mem *mem)
{
	/* Locked memory would be copied at once; huge pages may run out when they are. */
	return mem->fd >= 0 && !mem->backing.hugetlb && !mem->backing.locked;
}

int guest_mem_freeze(struct guest_mem *mem)
{
	const struct mem_source from = { .fd = mem->fd };
	struct mem_backing how = mem->backing;
	uint8_t *base = mem->region[0].hva, *copy;
	int err;

	/* Made beside it first: where the kernel refuses it, RAM is still there. */
	copy = map_aligned(-1, &from, mem->ram_size, ALIGN_THP);
	if (!copy) {
		err = errno;
		log_error("cannot map %llu MiB of guest memory once more: %s",
			  (unsigned long long)(mem->ram_size >> 20), strerror(err));
		return -err;
	}
	if (mremap(copy, mem->ram_size, mem->ram_size, MREMAP_MAYMOVE | MREMAP_FIXED, base) != base) {
		err = errno;
		log_error("the guest's memory is lost: %s", strerror(err));
		munmap(copy, mem->ram_size);
		guest_mem_fini(mem);
		return -err;
	}
	mem->source = mem->fd;
	mem->source_offset = 0;
	mem->fd = -1;
	how.from = &from;
	ram_advise(base, mem->ram_size, mem->boot_size, &how);
	return 0;
}

static const struct guest_region *find(const struct guest_mem *mem, uint64_t gpa)
{
	unsigned int i;

	/* A handful of regions, big RAM last: it is tried first. */
	for (i = mem->nr; i-- > 0;) {
		const struct guest_region *r = &mem->region[i];

		if (gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

void *guest_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool write)
{
	const struct guest_region *r = find(mem, gpa);

	if (!r || !len || len > r->size - (gpa - r->gpa) || (write && r->readonly))
		return NULL;
	return r->hva + (gpa - r->gpa);
}

static int copy(const struct guest_mem *mem, uint64_t gpa, uint8_t *buf, size_t len, bool write)
{
	while (len) {
		const struct guest_region *r = find(mem, gpa);
		uint8_t *hva;
		uint64_t n;

		if (!r || (write && r->readonly))
			return -EFAULT;
		n = r->size - (gpa - r->gpa);
		if (n > len)
			n = len;
		hva = r->hva + (gpa - r->gpa);
		if (write) {
			memcpy(hva, buf, n);
			dirty_mark(hva, n);
		} else {
			memcpy(buf, hva, n);
		}
		buf += n;
		gpa += n;	/* cannot wrap: regions end at or below 2^64 - 1 */
		len -= n;
	}
	return 0;
}

int guest_read(const struct guest_mem *mem, uint64_t gpa, void *buf, size_t len)
{
	return copy(mem, gpa, buf, len, false);
}

int guest_write(const struct guest_mem *mem, uint64_t gpa, const void *buf, size_t len)
{
	return copy(mem, gpa, (uint8_t *)(uintptr_t)buf, len, true);
}

int guest_iov(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool write,
	      struct iovec *iov, int max)
{
	int n = 0;

	while (len) {
		const struct guest_region *r = find(mem, gpa);
		uint64_t part;

		if (!r || (write && r->readonly))
			return -EFAULT;
		if (n == max)
			return -E2BIG;
		part = r->size - (gpa - r->gpa);
		if (part > len)
			part = len;
		iov[n].iov_base = r->hva + (gpa - r->gpa);
		iov[n].iov_len = part;
		n++;
		gpa += part;
		len -= part;
	}
	return n;
}

/* ---------------------------------------------- what this process wrote: dirty.h */

_Atomic bool dirty_on;

/*
 * One process, one guest: this needs no machine. The map stays when the log is off,
 * so that a thread that saw it on a moment ago writes to memory that is there.
 */
static struct {
	uint8_t *base;
	uint64_t size;
	_Atomic uint64_t *bits;
	size_t words;
} own;

size_t dirty_words(uint64_t ram_size)
{
	return (size_t)((ram_size / DIRTY_PAGE + 63) / 64);
}

void dirty_mark_now(const void *hva, size_t len)
{
	uint64_t at = (uintptr_t)hva - (uintptr_t)own.base, page, last;

	if (!len || !own.size || at >= own.size)
		return;
	if (len > own.size - at)
		len = (size_t)(own.size - at);
	last = (at + len - 1) / DIRTY_PAGE;
	for (page = at / DIRTY_PAGE; page <= last; page++)
		atomic_fetch_or(&own.bits[page / 64], 1ULL << page % 64);
}

void *dirty_new_map(size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

int dirty_log_open(uint8_t *base, uint64_t size)
{
	size_t words = dirty_words(size);

	if (own.words != words) {
		_Atomic uint64_t *bits = dirty_new_map(words * sizeof(*bits));

		if (!bits)
			return -ENOMEM;
		if (own.bits)
			munmap((void *)own.bits, own.words * sizeof(*bits));
		own.bits = bits;
		own.words = words;
	} else {
		memset((void *)own.bits, 0, words * sizeof(*own.bits));
	}
	own.base = base;
	own.size = size;
	atomic_store(&dirty_on, true);
	return 0;
}

void dirty_log_close(void)
{
	atomic_store(&dirty_on, false);
}

void dirty_log_take(uint64_t *map)
{
	size_t i;

	for (i = 0; i < own.words; i++)
		if (atomic_load_explicit(&own.bits[i], memory_order_relaxed))
			map[i] |= atomic_exchange(&own.bits[i], 0);
}
