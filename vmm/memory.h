/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest-physical memory, seen from userspace. The only way devices, loaders
 * and the emulator reach guest RAM: every access is length-checked here.
 *
 * Regions are added before the first vCPU runs and never move after that, so
 * lookups need no lock. RAM is one memfd (vhost and vhost-user share it).
 */
#ifndef HVX_VMM_MEMORY_H
#define HVX_VMM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GUEST_MEM_MAX_REGIONS 16

struct guest_region {
	uint64_t gpa;
	uint64_t size;
	uint8_t *hva;
	uint64_t fd_offset;	/* offset in mem->fd, or ~0: not from the memfd */
	bool readonly;
	uint32_t slot;
};

/* Memory that exists already, of ram_size bytes: it is mapped copy-on-write, and never written to. */
struct mem_source {
	int fd;
	uint64_t offset;	/* a multiple of 4096 */
};

struct mem_backing {
	const struct mem_source *from;	/* NULL: new memory, zeroes */
	bool hugetlb;		/* hugetlbfs pages */
	uint64_t hugepage_size;	/* bytes, 0 = default */
	bool locked;		/* mlock */
	bool no_ksm;
	int numa_policy;	/* MPOL_*, of numa_nodes; 0: none */
	unsigned long numa_nodes[16];
	bool prealloc;		/* not with from: that would copy all of it */
	uint64_t device_size;	/* room for memory devices, behind RAM; takes no memory by itself */
};

struct guest_mem {
	int fd;			/* the RAM memfd; -1: mapped from a struct mem_source, or frozen */
	struct mem_backing backing;	/* without from */
	/* Where fd is -1: what RAM is a private copy of, to know which pages it has. -1: not known. */
	int source;
	uint64_t source_offset;
	int pagemap;			/* /proc/self/pagemap; -1: not to be had */
	uint64_t ram_size;	/* bytes of the one mapping: RAM, and the room for memory devices behind it */
	uint64_t boot_size;	/* bytes of RAM, below and above the hole, that the guest begins with */
	uint64_t low_size;	/* RAM at 0..low_size */
	uint64_t high_size;	/* RAM at 4 GiB.. */
	uint64_t device_gpa, device_size;	/* the room for memory devices; one region, size 0: none */
	unsigned int nr;
	struct guest_region region[GUEST_MEM_MAX_REGIONS];
};

#define PCI_HOLE_START	0xc0000000ULL	/* RAM below 4 GiB ends here at the latest */
#define RAM_HIGH_START	0x100000000ULL
#define DEVICE_ALIGN	(1ULL << 30)	/* of the room for memory devices */
#define MEMDEV_ALIGN	(128ULL << 20)	/* of a device in it: Linux adds memory in such blocks */

/* End of all that may be memory, and where the room for devices would begin. */
static inline uint64_t guest_mem_top(const struct guest_mem *mem)
{
	return mem->device_size ? mem->device_gpa + mem->device_size :
	       mem->high_size ? RAM_HIGH_START + mem->high_size : mem->low_size;
}

/* Make RAM and its regions. 0 or -errno with a message logged. */
int guest_mem_init(struct guest_mem *mem, uint64_t ram_size, const struct mem_backing *backing);
void guest_mem_fini(struct guest_mem *mem);
/* Whether RAM is all in mem->fd, and can be frozen there. */
bool guest_mem_shareable(const struct guest_mem *mem);
/*
 * What is in mem->fd stays as it is from now on, for others to map; RAM goes on as a private
 * copy of it, at the same addresses, and takes memory as it is written to. Nobody may use RAM
 * meanwhile. 0 or -errno after a message: then nothing has changed, unless mem->nr is 0.
 */
int guest_mem_freeze(struct guest_mem *mem);
/* Add a region that is not RAM (firmware). */
int guest_mem_add(struct guest_mem *mem, uint64_t gpa, uint64_t size, uint8_t *hva, bool readonly);

/* Host address of [gpa, gpa+len) if it lies in one region (writable if write), else NULL. len 0: NULL. */
void *guest_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool write);
/* Copy; may cross regions. 0 or -EFAULT (then nothing is promised of the buffer). */
int guest_read(const struct guest_mem *mem, uint64_t gpa, void *buf, size_t len);
int guest_write(const struct guest_mem *mem, uint64_t gpa, const void *buf, size_t len);
/* Split [gpa, gpa+len) into at most max iovecs. Count, or -EFAULT / -E2BIG. */
int guest_iov(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool write, struct iovec *iov, int max);

#endif
