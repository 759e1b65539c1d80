// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/boot/boot.c vmm/boot/elf.c vmm/boot/bzimage.c vmm/boot/multiboot.c vmm/memory.c vmm/log.c */
/* libFuzzer: a kernel's file, with an initrd beside it, into a guest of 64 MiB. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vmm/boot/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int put(const uint8_t *data, size_t size)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_mem mem;
	static const struct mem_backing backing = { .no_ksm = true };
	struct boot_entry e = { .mem = &mem };
	struct boot_source src = { .cmdline = "console=ttyS0" };
	int fd = put(data, size);

	if (!mem.nr && guest_mem_init(&mem, 64ULL << 20, &backing))
		abort();
	src.kernel = (struct boot_file){ .fd = fd, .size = size, .path = "kernel" };
	src.initrd = (struct boot_file){ .fd = fd, .size = size, .path = "initrd" };
	if (bzimage_probe(&src.kernel))
		bzimage_load(&src, &e);
	if (pvh_probe(&src.kernel))
		pvh_load(&src, &e);
	if (multiboot_probe(&src.kernel))
		multiboot_load(&src, &e);
	close(fd);
	return 0;
}
