// SPDX-License-Identifier: GPL-2.0-only
/*
 * Setting up needs far more of the libraries than running: their code and
 * constants go back to the page cache. What is still needed faults in again.
 */
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trim.h"

static int drop_segments(struct dl_phdr_info *info, size_t size, void *page_size)
{
	uintptr_t page = *(uintptr_t *)page_size;
	unsigned int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start, end;

		/* Never written to, so that dropping loses nothing. */
		if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
			continue;
		start = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		end = (info->dlpi_addr + p->p_vaddr + p->p_filesz + page - 1) & ~(page - 1);
		madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

void trim_memory(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	malloc_trim(0);
	dl_iterate_phdr(drop_segments, &page);
}
