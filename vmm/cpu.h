/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What CPU the guest sees: the CPUID table from what the host and hvx can do
 * together, <cpu>, <features> and <clock>.
 */
#ifndef HVX_VMM_CPU_H
#define HVX_VMM_CPU_H

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

/*
 * The policy from the table of the supported (nr_host entries). Pure: reads the
 * domain only. NULL after a message; free() it.
 */
struct cpu_policy *cpu_policy_new(const struct domain *dom, const struct hvx_info *info,
				  const struct hvx_cpuid_entry *host, unsigned int nr_host);
/* The table for one vCPU: its APIC id filled in where CPUID shows it; sorted. Returns the count. */
unsigned int cpu_policy_table(const struct cpu_policy *p, unsigned int apic_id,
			      struct hvx_cpuid_entry *out);

#endif
