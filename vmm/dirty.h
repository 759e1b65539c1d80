/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of guest RAM have been written to, while somebody wants to know (live
 * migration). Three write: the guest and the module (the module's own log, HVX_GET_DIRTY),
 * vhost in the kernel (its log), and this process, which says so by dirty_mark(), each
 * time AFTER it has written: a page is read only after its mark was taken away.
 *
 * Pages are numbered as in the memfd of RAM: what is below 3 GiB, then what is from 4 GiB on.
 */
#ifndef HVX_VMM_DIRTY_H
#define HVX_VMM_DIRTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define DIRTY_PAGE	4096U

struct machine;

extern _Atomic bool dirty_on;
void dirty_mark_now(const void *hva, size_t len);

/* [hva, hva + len) was written to; what of it is no RAM does not matter. Any thread. */
static inline void dirty_mark(const void *hva, size_t len)
{
	if (__builtin_expect(atomic_load_explicit(&dirty_on, memory_order_relaxed), 0))
		dirty_mark_now(hva, len);
}

static inline void dirty_mark_iov(const struct iovec *iov, unsigned int n)
{
	if (__builtin_expect(atomic_load_explicit(&dirty_on, memory_order_relaxed), 0))
		while (n--) {
			dirty_mark_now(iov->iov_base, iov->iov_len);
			iov++;
		}
}

/*
 * Begin, with nothing marked. vCPUs parked, machine lock held. 0 or -errno; then it
 * is as before. -EALREADY: somebody else wants to know. Pairs with dirty_stop().
 */
int dirty_start(struct machine *m);
void dirty_stop(struct machine *m);	/* vCPUs parked, lock held; where it is not on: nothing */

/* Words of a map of all of RAM, and bits in it. */
size_t dirty_words(uint64_t ram_size);

/*
 * Move the marks into map, which has dirty_words() words: a page whose mark was
 * taken shows a write after this call in the next one. One thread, no lock. 0 or
 * -errno: then pages may have lost their marks, and all of RAM counts as written to.
 */
int dirty_sync(struct machine *m, uint64_t *map);

/* --- this process' own marks (memory.c); with no machine --- */
/* 0 or -ENOMEM. */
int dirty_log_open(uint8_t *base, uint64_t size);
void dirty_log_close(void);
void dirty_log_take(uint64_t *map);
void *dirty_new_map(size_t bytes);		/* zeroes that take no room; munmap() */

#endif
