/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What CPU the guest sees: the CPUID table from what the host and hvx can do
 * together, <cpu>, <features> and <clock>.
 */
#ifndef HVX_VMM_CPU_H
#define HVX_VMM_CPU_H

#include "cpu_feature.h"
#include "cpu_model.h"
#include "machine.h"

struct cpu_topology {
	unsigned int sockets, dies, cores, threads;
	unsigned int thread_shift;	/* APIC id bits of a core's threads */
	unsigned int core_shift;	/* ... and of a die's cores and threads */
	unsigned int die_shift;		/* ... and of a socket */
};

struct cpu_policy {
	struct hvx_cpuid_entry entry[HVX_MAX_CPUID];
	unsigned int nr;
	struct cpu_topology topo;
	unsigned int phys_bits;		/* MAXPHYADDR */
	unsigned int emul_quirks;	/* EMUL_NO_* */
	unsigned int pv_features;	/* leaf 0x40000001 EAX, 0: hidden */
	/* Of a named model: it, with the features that differ from what it has. NULL: host-passthrough. */
	const struct cpu_model *model;
	enum cpu_vendor vendor;
	struct cpu_set require, disable;
};

/* Fill in topo for nr vCPUs. 0, or -EINVAL after a message. */
int cpu_topology_init(struct cpu_topology *topo, const struct domain *dom);
/* APIC id of the vCPU with this number. */
unsigned int cpu_apic_id(const struct cpu_topology *topo, unsigned int index);

/*
 * What this host's CPU and the module can do together: HVX_MAX_CPUID entries of
 * room, returns the count. Topology and APIC ids are left to the policy.
 */
unsigned int cpu_host_table(const struct hvx_info *info, struct hvx_cpuid_entry *out);

/* What hvx can give on some host; the rest has registers that it does not switch. */
struct cpu_set cpu_possible(void);

/*
 * The policy from the table of the supported (nr_host entries). Pure: reads the
 * domain only. NULL after a message; free() it.
 */
struct cpu_policy *cpu_policy_new(const struct domain *dom, const struct hvx_info *info,
				  const struct hvx_cpuid_entry *host, unsigned int nr_host);
/* The table is that of a guest which ran elsewhere, as cpu_table_fits() has found good: topology as here. */
void cpu_policy_adopt(struct cpu_policy *p, const struct hvx_info *info,
		      const struct hvx_cpuid_entry *table, unsigned int n);
/* The table for one vCPU: its APIC id filled in where CPUID shows it; sorted. Returns the count. */
unsigned int cpu_policy_table(const struct cpu_policy *p, unsigned int apic_id,
			      struct hvx_cpuid_entry *out);

/* --- cpu_named.c: <cpu> --- */
int cpu_features_apply(struct cpu_policy *p, const struct domain *dom, const struct hvx_info *info);
/* Those of a set that have a name which XML can have, and that are not of the topology or of hvx. */
struct cpu_set cpu_set_for_xml(const struct cpu_set *s);
/*
 * The features that tell a CPU from a model: require, what is in `set` and not in the model's;
 * disable, what the model has and `set` has not. Both are what <feature> elements are made of.
 */
void cpu_model_differences(const struct cpu_model *m, const struct cpu_set *set, struct cpu_set *require,
			   struct cpu_set *disable);
/* For policies under construction. */
struct hvx_cpuid_entry *cpu_policy_add(struct cpu_policy *p, uint32_t leaf, uint32_t subleaf, uint32_t flags);
void cpu_policy_drop(struct cpu_policy *p, uint32_t first, uint32_t last);

/*
 * --- cpu_check.c ---
 * Can this host give a guest, which has run elsewhere, the CPU that it knows? 0; or -1 with the
 * reason in why: features by name, the vendor, sizes. tsc_khz: the guest's, where its table does
 * not tell. host: as cpu_host_table() makes it.
 */
int cpu_table_fits(const struct hvx_cpuid_entry *guest, unsigned int n, uint32_t tsc_khz,
		   const struct hvx_cpuid_entry *host, unsigned int nr_host, const struct hvx_info *info,
		   char *why, size_t room);

#endif
