// SPDX-License-Identifier: GPL-2.0-only
/* The guest's CPUID: SDM vol. 2 "CPUID", APM vol. 3 appendix E. */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "emul.h"
#include "cpu_feature.h"

#define LEAF_FEATURES	0x1
#define LEAF_CACHE	0x4
#define LEAF_TOPOLOGY	0xb
#define LEAF_TSC	0x15
#define LEAF_TOPOLOGY2	0x1f
#define LEAF_PV		0x40000000
#define LEAF_PV_FEATURES 0x40000001
#define LEAF_PV_FREQ	0x40000010
#define LEAF_PV_END	0x400000ff
#define LEAF_EXT	0x80000000
#define LEAF_EXT_FEATURES 0x80000001
#define LEAF_EXT_POWER	0x80000007
#define LEAF_EXT_SIZES	0x80000008
#define LEAF_EXT_CACHE	0x8000001d
#define LEAF_EXT_TOPOLOGY 0x8000001e

#define F1_EBX_APIC_ID	24
#define F1_EDX_HTT	(1U << 28)
#define F81_ECX_CMP_LEGACY (1U << 1)
#define F81_ECX_TOPOEXT	(1U << 22)

/* ------------------------------------------------------------- topology */

/* Bits that number n things. */
static unsigned int width(unsigned int n)
{
	return n > 1 ? 32 - (unsigned int)__builtin_clz(n - 1) : 0;
}

int cpu_topology_init(struct cpu_topology *t, const struct domain *dom)
{
	unsigned int max = dom->max_vcpus > dom->vcpus ? dom->max_vcpus : dom->vcpus, last;

	memset(t, 0, sizeof(*t));
	if (dom->cpu.sockets) {
		t->sockets = dom->cpu.sockets;
		t->dies = dom->cpu.dies ? dom->cpu.dies : 1;
		t->cores = dom->cpu.cores ? dom->cpu.cores : 1;
		t->threads = dom->cpu.threads ? dom->cpu.threads : 1;
	} else {
		/* One socket: some systems are licensed or limited by the socket. */
		t->sockets = t->dies = t->threads = 1;
		t->cores = max;
	}
	t->thread_shift = width(t->threads);
	t->core_shift = t->thread_shift + width(t->cores);
	t->die_shift = t->core_shift + width(t->dies);

	if (!dom->vcpus || dom->vcpus > HVX_MAX_VCPUS) {
		log_error("<vcpu>: %u; 1 to %u are possible", dom->vcpus, HVX_MAX_VCPUS);
		return -1;
	}
	last = cpu_apic_id(t, max - 1);
	if (last >= HVX_MAX_VCPUS) {
		log_error("<topology>: the last vCPU would get APIC id %u, above %u; make cores and threads powers of two",
			  last, HVX_MAX_VCPUS - 1);
		return -1;
	}
	return 0;
}

unsigned int cpu_apic_id(const struct cpu_topology *t, unsigned int index)
{
	unsigned int thread = index % t->threads;
	unsigned int core = index / t->threads % t->cores;
	unsigned int die = index / t->threads / t->cores % t->dies;
	unsigned int socket = index / t->threads / t->cores / t->dies;

	return socket << t->die_shift | die << t->core_shift | core << t->thread_shift | thread;
}

/* ---------------------------------------------------------------- table */

static struct hvx_cpuid_entry *find(struct cpu_policy *p, uint32_t leaf, uint32_t subleaf)
{
	return cpuid_entry(p->entry, p->nr, leaf, subleaf);
}

struct hvx_cpuid_entry *cpu_policy_add(struct cpu_policy *p, uint32_t leaf, uint32_t subleaf,
				       uint32_t flags)
{
	struct hvx_cpuid_entry *e;

	if (p->nr == HVX_MAX_CPUID)
		return NULL;
	e = &p->entry[p->nr++];
	*e = (struct hvx_cpuid_entry){ .leaf = leaf, .subleaf = subleaf, .flags = flags };
	return e;
}

void cpu_policy_drop(struct cpu_policy *p, uint32_t first, uint32_t last)
{
	unsigned int i, kept = 0;

	for (i = 0; i < p->nr; i++)
		if (p->entry[i].leaf < first || p->entry[i].leaf > last)
			p->entry[kept++] = p->entry[i];
	p->nr = kept;
}

/* -------------------------------------------------------- paravirtual ABI */

#define PV_CLOCK	(1U << 0 | 1U << 3 | 1U << 24)	/* clocksource, clocksource2, stable */
#define PV_UNHALT	(1U << 7)
#define PV_SEND_IPI	(1U << 11)

static void apply_pv(struct cpu_policy *p, const struct domain *dom, const struct hvx_info *info)
{
	struct hvx_cpuid_entry *e;

	if (dom->features.kvm_hidden) {
		cpu_policy_drop(p, LEAF_PV, LEAF_PV_END);
		return;
	}
	e = find(p, LEAF_PV_FEATURES, 0);
	if (e) {
		if (dom->clock.kvmclock.present_set && !dom->clock.kvmclock.present)
			e->eax &= ~PV_CLOCK;
		if (dom->features.kvm_pv_ipi_off)
			e->eax &= ~PV_SEND_IPI;
		if (dom->features.pvspinlock_off)
			e->eax &= ~PV_UNHALT;
	}
	e = find(p, LEAF_PV_FREQ, 0);
	if (e)
		e->eax = dom->clock.tsc_khz ? dom->clock.tsc_khz : info->tsc_khz;
}

/* -------------------------------------------------------------- topology */

/* "Cores and threads that share it", in the form of leaves 4 and 0x8000001d. */
static void cache_sharing(struct cpu_policy *p)
{
	unsigned int i, level;

	for (i = 0; i < p->nr; i++) {
		struct hvx_cpuid_entry *e = &p->entry[i];
		unsigned int shift;

		if (e->leaf != LEAF_CACHE && e->leaf != LEAF_EXT_CACHE)
			continue;
		level = e->eax >> 5 & 7;
		shift = level >= 3 ? p->topo.core_shift : p->topo.thread_shift;
		e->eax = (e->eax & 0x3fff) | ((1U << shift) - 1) << 14;
		if (e->leaf == LEAF_CACHE)
			e->eax |= ((1U << (p->topo.die_shift - p->topo.thread_shift)) - 1) << 26;
	}
}

static void add_level(struct cpu_policy *p, uint32_t leaf, uint32_t sub, unsigned int type,
		      unsigned int shift, unsigned int count)
{
	struct hvx_cpuid_entry *e = cpu_policy_add(p, leaf, sub, HVX_CPUID_SUBLEAF);

	if (!e)
		return;
	e->eax = shift;
	e->ebx = count;
	e->ecx = sub | type << 8;
}

enum { LEVEL_THREAD = 1, LEVEL_CORE = 2, LEVEL_DIE = 5 };

static void extended_topology(struct cpu_policy *p, uint32_t max_basic)
{
	const struct cpu_topology *t = &p->topo;
	unsigned int socket = t->threads * t->cores * t->dies;

	cpu_policy_drop(p, LEAF_TOPOLOGY, LEAF_TOPOLOGY);
	cpu_policy_drop(p, LEAF_TOPOLOGY2, LEAF_TOPOLOGY2);
	add_level(p, LEAF_TOPOLOGY, 0, LEVEL_THREAD, t->thread_shift, t->threads);
	add_level(p, LEAF_TOPOLOGY, 1, LEVEL_CORE, t->die_shift, socket);
	add_level(p, LEAF_TOPOLOGY, 2, 0, 0, 0);
	if (t->dies < 2 || max_basic < LEAF_TOPOLOGY2)
		return;
	add_level(p, LEAF_TOPOLOGY2, 0, LEVEL_THREAD, t->thread_shift, t->threads);
	add_level(p, LEAF_TOPOLOGY2, 1, LEVEL_CORE, t->core_shift, t->threads * t->cores);
	add_level(p, LEAF_TOPOLOGY2, 2, LEVEL_DIE, t->die_shift, socket);
	add_level(p, LEAF_TOPOLOGY2, 3, 0, 0, 0);
}

static void apply_topology(struct cpu_policy *p)
{
	const struct cpu_topology *t = &p->topo;
	unsigned int socket = 1U << t->die_shift;
	struct hvx_cpuid_entry *e0 = find(p, 0, 0), *e;
	bool amd = e0 && e0->ecx == 0x444d4163;	/* "cAMD" */

	/* Guests read topology from leaf 0xb, which the host's highest leaf may hide. */
	if (e0 && e0->eax < LEAF_TOPOLOGY)
		e0->eax = LEAF_TOPOLOGY;
	e = find(p, LEAF_FEATURES, 0);
	if (e) {
		e->ebx = (e->ebx & 0xff00ffff) | (socket & 0xff) << 16;
		e->edx &= ~F1_EDX_HTT;
		if (socket > 1)
			e->edx |= F1_EDX_HTT;
	}
	cache_sharing(p);
	extended_topology(p, e0 ? e0->eax : 0);

	e = find(p, LEAF_EXT_FEATURES, 0);
	if (e && amd && socket > 1)
		e->ecx |= F81_ECX_CMP_LEGACY;
	e = find(p, LEAF_EXT_SIZES, 0);
	if (e && amd)
		e->ecx = t->die_shift << 12 | (t->threads * t->cores * t->dies - 1);
	e = find(p, LEAF_EXT_FEATURES, 0);
	cpu_policy_drop(p, LEAF_EXT_TOPOLOGY, LEAF_EXT_TOPOLOGY);
	if (e && (e->ecx & F81_ECX_TOPOEXT)) {
		e = cpu_policy_add(p, LEAF_EXT_TOPOLOGY, 0, 0);
		if (e)
			e->ebx = (t->threads - 1) << 8;
	}
}

/* ---------------------------------------------------------------- policy */

/* What follows from the table. */
static void derive(struct cpu_policy *p, const struct hvx_info *info)
{
	struct cpu_set set = cpu_set_of(p->entry, p->nr);
	struct hvx_cpuid_entry *e = find(p, LEAF_PV_FEATURES, 0);

	p->pv_features = e ? e->eax : 0;
	e = find(p, LEAF_EXT_SIZES, 0);
	p->phys_bits = e ? e->eax & 0xff : info->phys_bits;
	if (p->phys_bits < 32 || p->phys_bits > 52)
		p->phys_bits = info->phys_bits;
	p->emul_quirks = (cpu_has(&set, cpu_feature("abm")) ? 0 : EMUL_NO_LZCNT) |
			 (cpu_has(&set, cpu_feature("bmi1")) ? 0 : EMUL_NO_TZCNT);
}

static int check_tsc(const struct domain *dom, const struct hvx_info *info)
{
	if (dom->clock.tsc_khz && dom->clock.tsc_khz != info->tsc_khz &&
	    !(info->features & HVX_FEAT_TSC_SCALING)) {
		log_error("<timer name='tsc' frequency=>: this host's TSC runs at %u kHz and cannot be scaled; remove the frequency",
			  info->tsc_khz);
		return -1;
	}
	return 0;
}

struct cpu_policy *cpu_policy_new(const struct domain *dom, const struct hvx_info *info,
				  const struct hvx_cpuid_entry *host, unsigned int nr_host)
{
	struct cpu_policy *p = calloc(1, sizeof(*p));

	if (!p || nr_host > HVX_MAX_CPUID) {
		log_error("cannot make the CPUID table");
		free(p);
		return NULL;
	}
	memcpy(p->entry, host, nr_host * sizeof(*host));
	p->nr = nr_host;
	if (cpu_topology_init(&p->topo, dom) || check_tsc(dom, info) || cpu_features_apply(p, dom, info)) {
		free(p);
		return NULL;
	}
	apply_pv(p, dom, info);
	apply_topology(p);

	derive(p, info);
	return p;
}

void cpu_policy_adopt(struct cpu_policy *p, const struct hvx_info *info,
		      const struct hvx_cpuid_entry *table, unsigned int n)
{
	memcpy(p->entry, table, n * sizeof(*table));
	p->nr = n;
	derive(p, info);
}

static int by_leaf(const void *a, const void *b)
{
	const struct hvx_cpuid_entry *x = a, *y = b;

	if (x->leaf != y->leaf)
		return x->leaf < y->leaf ? -1 : 1;
	return x->subleaf < y->subleaf ? -1 : x->subleaf > y->subleaf;
}

unsigned int cpu_policy_table(const struct cpu_policy *p, unsigned int apic_id,
			      struct hvx_cpuid_entry *out)
{
	unsigned int i;

	memcpy(out, p->entry, p->nr * sizeof(*out));
	for (i = 0; i < p->nr; i++) {
		struct hvx_cpuid_entry *e = &out[i];

		switch (e->leaf) {
		case LEAF_FEATURES:
			e->ebx = (e->ebx & 0x00ffffff) | apic_id << F1_EBX_APIC_ID;
			break;
		case LEAF_TOPOLOGY:
		case LEAF_TOPOLOGY2:
			e->edx = apic_id;
			break;
		case LEAF_EXT_TOPOLOGY:
			e->eax = apic_id;
			e->ebx |= (apic_id >> p->topo.thread_shift) & 0xff;
			e->ecx = apic_id >> p->topo.die_shift & 0xff;
			break;
		}
	}
	qsort(out, p->nr, sizeof(*out), by_leaf);
	return p->nr;
}
