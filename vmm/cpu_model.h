/* SPDX-License-Identifier: GPL-2.0-only */
/* Named CPUs: what features each has, and which one comes nearest to a set of features. */
#ifndef HVX_VMM_CPU_MODEL_H
#define HVX_VMM_CPU_MODEL_H

#include "cpu_feature.h"

enum cpu_vendor { VENDOR_ANY, VENDOR_INTEL, VENDOR_AMD, VENDOR_HYGON, VENDOR_OTHER };

struct cpu_model {
	const char *name;
	const char *base;	/* has what this model has, and... */
	const char *add, *sub;	/* ... with, without these */
	enum cpu_vendor vendor;	/* VENDOR_ANY: as the base's */
	uint16_t family, model, stepping;	/* family 0: the base's three */
};

extern const struct cpu_model cpu_models[];	/* the last one's name is NULL */

const struct cpu_model *cpu_model_find(const char *name);	/* NULL: none */
/* Up to n names that somebody may have meant, the likeliest first. How many. */
unsigned int cpu_model_similar(const char *name, const char *similar[], unsigned int n);
struct cpu_set cpu_model_set(const struct cpu_model *m);
enum cpu_vendor cpu_model_vendor(const struct cpu_model *m);
uint32_t cpu_model_signature(const struct cpu_model *m);	/* as 1 EAX */
uint32_t cpu_signature(unsigned int family, unsigned int model, unsigned int stepping);
/*
 * The model that describes `have` with the fewest features to name besides; of the
 * vendor's, or of none. Only bits of `count` tell models apart (NULL: all).
 */
const struct cpu_model *cpu_model_nearest(const struct cpu_set *have, enum cpu_vendor vendor,
					  const struct cpu_set *count);

/* "Intel", "AMD", "Hygon", as in <vendor>; "" for others. */
const char *cpu_vendor_name(enum cpu_vendor v);
const char *cpu_vendor_id(enum cpu_vendor v);	/* "GenuineIntel"; NULL: others */
enum cpu_vendor cpu_vendor_by_name(const char *name);	/* either form */
enum cpu_vendor cpu_vendor_of(const struct hvx_cpuid_entry *e, unsigned int n);

#endif
