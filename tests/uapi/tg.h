/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tiny guests: a VM with a few pages of memory and a few bytes of code, driven
 * straight through the UAPI. Each test program is a list of cases; a case
 * fails by CHECK(), the program prints one line a case and exits 1 if any failed.
 */
#ifndef HVX_TESTS_TG_H
#define HVX_TESTS_TG_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uapi/hvx.h>

#define TG_PAGE		4096UL
#define TG_MEM		(4UL << 20)	/* default guest RAM at gpa 0 */
#define TG_CODE		0x1000		/* where code goes */
#define TG_STACK	0x9000
/*
 * Code that never exits by itself: 1: cli; jmp 1b. Bochs forgets that a guest
 * with IF clear can be interrupted, until the guest executes CLI.
 */
#define TG_SPIN		{ 0xfa, 0xeb, 0xfd }
#define TG_PML4		0x10000		/* tg_long(): identity map of 4 GiB by 2 MiB pages */
#define TG_GDT		0x8000
#define TG_IDT		0x7000

struct tg_vcpu {
	int fd;
	struct hvx_run *run;
};

struct tg {
	int dev, vm;
	uint8_t *mem;
	size_t mem_size;
	struct hvx_info info;
	struct tg_vcpu v[HVX_MAX_VCPUS];
};

extern int tg_failed;		/* checks failed in this case */
extern const char *tg_case;
extern const char *tg_skipped;	/* why the rest of this case cannot be tried here */

#define CHECK(cond) do {								\
	if (!(cond)) {									\
		tg_failed++;								\
		printf("# %s: %s:%d: %s (errno %d)\n", tg_case, __FILE__, __LINE__, #cond, errno); \
	}										\
} while (0)
#define CHECK_EQ(a, b) do {								\
	long long a_ = (long long)(a), b_ = (long long)(b);				\
	if (a_ != b_) {									\
		tg_failed++;								\
		printf("# %s: %s:%d: %s is %lld (%#llx), not %s = %lld (%#llx)\n", tg_case,	\
		       __FILE__, __LINE__, #a, a_, a_, #b, b_, b_);			\
	}										\
} while (0)
/* An ioctl that must fail with this errno. */
#define CHECK_ERR(call, err) do {							\
	int e_ = (call) < 0 ? errno : 0;						\
	if (e_ != (err)) {								\
		tg_failed++;								\
		printf("# %s: %s:%d: %s: errno %d, not %s\n", tg_case, __FILE__, __LINE__, #call, e_, #err); \
	}										\
} while (0)

struct tg_test {
	const char *name;
	void (*fn)(void);
};
#define TG_TEST(f) { #f, f }
int tg_main(const struct tg_test *tests, unsigned int n, int argc, char **argv);

/* Code at TG_CODE; a hypercall is written VMMCALL. */
void tg_code(struct tg *g, const void *code, size_t len);
/* A VM with TG_MEM of RAM at 0 and vCPU 0 in real mode, about to run code at TG_CODE. Exits the program when that fails. */
void tg_new(struct tg *g, uint32_t vm_flags, const void *code, size_t len);
void tg_free(struct tg *g);
void tg_add_vcpu(struct tg *g, unsigned int id);
int tg_slot(struct tg *g, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva);
/* Put the vCPU into flat 32-bit protected mode, or into long mode with an identity map; RIP = TG_CODE, RSP = TG_STACK. */
void tg_protected(struct tg *g, unsigned int id);
void tg_long(struct tg *g, unsigned int id);
int tg_get(struct tg *g, unsigned int id, uint32_t group, void *data, uint32_t size);
int tg_set(struct tg *g, unsigned int id, uint32_t group, const void *data, uint32_t size);
void tg_set_cpuid_supported(struct tg *g, unsigned int id);
/* HVX_RUN; returns the exit reason, or -errno. */
int tg_run(struct tg *g, unsigned int id);
/* The same past INTERRUPTED, which also comes without a signal. */
int tg_run_on(struct tg *g, unsigned int id);
/* Run past INTERRUPTED/KICKED until this exit; CHECKs it. */
int tg_run_to(struct tg *g, unsigned int id, int reason);
uint64_t tg_reg(struct tg *g, unsigned int id, int n);	/* 0 RAX .. 15, 16 RIP, 17 RFLAGS */
void tg_set_reg(struct tg *g, unsigned int id, int n, uint64_t val);
/* 64-bit IDT gate to handler (gpa). */
void tg_gate(struct tg *g, unsigned int vector, uint64_t handler);

#endif
