/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel primitives that lapic_core.c uses, for its unit test on the host. */
#ifndef _HVX_LAPIC_HOST_H
#define _HVX_LAPIC_HOST_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))
#define smp_mb()		__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define GENMASK_ULL(h, l)	((~0ULL << (l)) & (~0ULL >> (63 - (h))))
#define __fls(w)		(63 - __builtin_clzl(w))
#define hweight_long(w)		((unsigned int)__builtin_popcountl(w))

static inline bool test_bit(unsigned int n, const unsigned long *p)
{
	return (__atomic_load_n(&p[n / 64], __ATOMIC_RELAXED) >> (n % 64)) & 1;
}

static inline bool test_and_set_bit(unsigned int n, unsigned long *p)
{
	unsigned long bit = 1UL << (n % 64);

	return __atomic_fetch_or(&p[n / 64], bit, __ATOMIC_SEQ_CST) & bit;
}

static inline void set_bit(unsigned int n, unsigned long *p)
{
	test_and_set_bit(n, p);
}

static inline void clear_bit(unsigned int n, unsigned long *p)
{
	__atomic_fetch_and(&p[n / 64], ~(1UL << (n % 64)), __ATOMIC_SEQ_CST);
}

#define __set_bit(n, p)		set_bit(n, p)
#define __clear_bit(n, p)	clear_bit(n, p)

#endif
