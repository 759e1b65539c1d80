/* SPDX-License-Identifier: GPL-2.0-only */
/* What lapic.c and route.c use of the kernel and of the module, for their unit test on the host. */
#ifndef _HVX_LAPIC_HOST_H
#define _HVX_LAPIC_HOST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/cdefs.h>

#include "include/uapi/hvx.h"

typedef struct { int counter; } atomic_t;

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define noinline		__attribute__((noinline))
#define fallthrough		__attribute__((fallthrough))
#define __aligned(n)		__attribute__((aligned(n)))
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))
#define smp_mb__before_atomic()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_mb__after_atomic()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define array_index_nospec(i, n)	(i)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define BIT(n)			(1UL << (n))
#define GENMASK_ULL(h, l)	((~0ULL << (l)) & (~0ULL >> (63 - (h))))
#define __ffs(w)		((unsigned int)__builtin_ctzl(w))
#define __fls(w)		((unsigned int)(63 - __builtin_clzl(w)))
#define hweight_long(w)		((unsigned int)__builtin_popcountl(w))
#define hweight32(w)		((unsigned int)__builtin_popcount(w))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min_t(t, a, b)		min((t)(a), (t)(b))
#define div64_u64(a, b)		((a) / (b))
#define mul_u64_u64_div_u64(a, b, c)	((u64)((unsigned __int128)(a) * (b) / (c)))
#define container_of(p, t, m)	((t *)((char *)(p) - offsetof(t, m)))
#define module_param(...)	extern int module_param_here
#define MODULE_PARM_DESC(...)	extern int module_param_here

/* By bytes, so that the bits may lie in anything. */
static inline bool test_bit(unsigned int n, const void *p)
{
	return __atomic_load_n((const u8 *)p + n / 8, __ATOMIC_RELAXED) >> n % 8 & 1;
}

static inline bool test_and_set_bit(unsigned int n, void *p)
{
	return __atomic_fetch_or((u8 *)p + n / 8, 1 << n % 8, __ATOMIC_SEQ_CST) >> n % 8 & 1;
}

static inline void clear_bit(unsigned int n, void *p)
{
	__atomic_fetch_and((u8 *)p + n / 8, ~(1 << n % 8), __ATOMIC_SEQ_CST);
}

#define set_bit(n, p)		test_and_set_bit(n, p)
#define __set_bit(n, p)		test_and_set_bit(n, p)
#define __clear_bit(n, p)	clear_bit(n, p)

static inline void atomic_add_unless(atomic_t *v, int add, int unless)
{
	if (v->counter != unless)
		v->counter += add;
}

static inline void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *b = p;

	for (; n; n--, b++)
		if (*b != c)
			return (void *)b;
	return NULL;
}

#define GFP_KERNEL_ACCOUNT	0
#define __GFP_ZERO		0
#define free_pages_exact(p, n)	free(p)

static inline void *alloc_pages_exact(size_t n, int flags)
{
	void *p = aligned_alloc(4096, n);

	(void)flags;
	return p ? memset(p, 0, n) : NULL;
}

#define MSR_IA32_TSC_DEADLINE	0x6e0
#define NSEC_PER_USEC		1000ULL

/* A clock that the test turns. */
extern u64 fake_ns, fake_tsc;
extern u32 tsc_khz;
#define ktime_get_ns()		fake_ns
#define ns_to_ktime(ns)		(ns)

enum hrtimer_restart { HRTIMER_NORESTART };
struct hrtimer {
	enum hrtimer_restart (*function)(struct hrtimer *timer);
	u64 at;			/* 0: not started */
	unsigned int starts;
};
#define hvx_hrtimer_setup(t, fn, clock, mode)	((t)->function = (fn))
#define hrtimer_start(t, when, mode)		((t)->at = (when), (t)->starts++)
#define hrtimer_cancel(t)			((t)->at = 0)

#define HVX_CAP_X2APIC	(1ULL << 32)
enum hvx_req { HVX_REQ_EVENT, HVX_REQ_TIMER, HVX_REQ_EOI };

struct hvx_vm {
	struct hvx_vcpu *vcpus[HVX_MAX_VCPUS];
	unsigned long vcpu_ids;
};

struct hvx_backend { u32 near_ns; };
extern const struct hvx_backend *hvx_backend;

struct hvx_vcpu {
	struct hvx_vm *vm;
	u32 id;
	struct hvx_lapic *lapic;
	u64 apic_base;
	u64 caps;
	bool fpu_loaded;	/* never here: no guest runs */
	u32 tsc_khz;
	unsigned int phys_bits;
	atomic_t nmi_queued;
	unsigned long init_sipi;
	u8 sipi_queued;
	struct hvx_stats stats;
	unsigned long requests;
	unsigned int kicks;
};

static inline void hvx_request(struct hvx_vcpu *vcpu, enum hvx_req req)
{
	set_bit(req, &vcpu->requests);
}

static inline void hvx_request_kick(struct hvx_vcpu *vcpu, enum hvx_req req)
{
	hvx_request(vcpu, req);
	__atomic_fetch_add(&vcpu->kicks, 1, __ATOMIC_SEQ_CST);
}

#define hvx_notify(vcpu, posted)	hvx_request_kick(vcpu, HVX_REQ_EVENT)

/* The test's own */
void hvx_irqfd_eoi(struct hvx_vm *vm, u8 vector);
u64 hvx_read_guest_tsc(struct hvx_vcpu *vcpu);
#define hvx_pv_eoi_settle(vcpu, how)	((void)(vcpu))

/* What is tested: as kmod/hvx.h */
struct hvx_lapic;
int hvx_lapic_create(struct hvx_vcpu *vcpu);
void hvx_lapic_destroy(struct hvx_vcpu *vcpu);
void hvx_lapic_reset(struct hvx_vcpu *vcpu, bool init);
void hvx_lapic_get(struct hvx_vcpu *vcpu, void *buf);
int hvx_lapic_set(struct hvx_vcpu *vcpu, const void *buf);
int hvx_lapic_set_base(struct hvx_vcpu *vcpu, u64 val, bool host);
int hvx_lapic_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write);
bool hvx_lapic_accepts_extint(struct hvx_vcpu *vcpu);
u8 hvx_lapic_get_cr8(struct hvx_vcpu *vcpu);
void hvx_lapic_set_cr8(struct hvx_vcpu *vcpu, u8 val);
void hvx_lapic_timer(struct hvx_lapic *l);
void hvx_lapic_timer_restart(struct hvx_lapic *l);
int hvx_deliver_msi(struct hvx_vm *vm, u64 address, u32 data);
void hvx_send_ipi(struct hvx_vcpu *src, u64 icr);
int hvx_pv_send_ipi(struct hvx_vcpu *src, u64 lo, u64 hi, u64 min, u64 icr, bool mode64);

#endif
