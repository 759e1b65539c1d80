/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPU features by libvirt's names. A set of them is the registers in which CPUID shows
 * them, one word each: what has no name can be in a set, too.
 */
#ifndef HVX_VMM_CPU_FEATURE_H
#define HVX_VMM_CPU_FEATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uapi/hvx.h>

enum cpuid_reg { R_EAX, R_EBX, R_ECX, R_EDX };

enum cpu_word {
	W_1_ECX, W_1_EDX, W_6_EAX, W_7_EBX, W_7_ECX, W_7_EDX, W_71_EAX, W_71_EDX, W_D1_EAX,
	W_81_ECX, W_81_EDX, W_87_EDX, W_88_EBX, W_8A_EDX, W_821_EAX, CPU_WORDS
};

struct cpu_word_info {
	uint32_t leaf;
	uint8_t subleaf, reg;
	const char *name[32];	/* NULL: none */
};
extern const struct cpu_word_info cpu_words[CPU_WORDS];

struct cpu_set {
	uint32_t w[CPU_WORDS];
};

/* Bits of 0x80000001 EDX that are copies of 1 EDX on AMD CPUs (APM vol. 3, E.4.2): in no set. */
#define CPU_AMD_COPY	0x0183f3ffU

/* A feature is (word << 5 | bit). -1: no such name. `_`, `.` and `-` are the same; QEMU's names are known, too. */
int cpu_feature(const char *name);
/* Its name; of one that has none, where it is. Valid until the calling thread's next call. */
const char *cpu_feature_name(int f);

static inline bool cpu_has(const struct cpu_set *s, int f)
{
	return f >= 0 && (s->w[f >> 5] >> (f & 31) & 1);
}

static inline void cpu_give(struct cpu_set *s, int f)
{
	if (f >= 0)
		s->w[f >> 5] |= 1U << (f & 31);
}

static inline void cpu_take(struct cpu_set *s, int f)
{
	if (f >= 0)
		s->w[f >> 5] &= ~(1U << (f & 31));
}

/* Names, separated by spaces; what is not known is passed over. */
void cpu_set_add(struct cpu_set *s, const char *names);
void cpu_set_sub(struct cpu_set *s, const char *names);
struct cpu_set cpu_set_minus(const struct cpu_set *a, const struct cpu_set *b);
struct cpu_set cpu_set_and(const struct cpu_set *a, const struct cpu_set *b);
unsigned int cpu_set_count(const struct cpu_set *s);
/* The next one after f (-1: the first); -1: none. */
int cpu_set_next(const struct cpu_set *s, int f);
/* "hle, rtm and 3 more", into a buffer of the calling thread. */
const char *cpu_set_text(const struct cpu_set *s);
/* What a CPUID table shows. */
struct cpu_set cpu_set_of(const struct hvx_cpuid_entry *e, unsigned int n);
/* Whatever cannot be without what is not there goes, too: SDM vol. 1 ch. 13 to 15. */
void cpu_set_close(struct cpu_set *s);

/* The entry for a leaf and subleaf, or NULL. */
struct hvx_cpuid_entry *cpuid_entry(const struct hvx_cpuid_entry *e, unsigned int n, uint32_t leaf,
				    uint32_t subleaf);
static inline uint32_t *cpuid_reg(struct hvx_cpuid_entry *e, unsigned int reg)
{
	return reg == R_EAX ? &e->eax : reg == R_EBX ? &e->ebx : reg == R_ECX ? &e->ecx : &e->edx;
}

#endif
