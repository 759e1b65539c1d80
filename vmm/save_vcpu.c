// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's state in a stream: the UAPI's state groups as they are, which the module
 * checks, and MSRs. Its CPUID table, to compare with what this host gives.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "save.h"

#define MAX_GROUP	(64U << 10)

/* In the order in which they are set; the LAPIC is read before the TSC so that no deadline is missed. */
static const struct {
	uint32_t group, size;
	const char *name;
} groups[] = {
	{ HVX_STATE_SREGS, sizeof(struct hvx_sregs), "control registers and segments" },
	{ HVX_STATE_REGS, sizeof(struct hvx_regs), "registers" },
	{ HVX_STATE_DEBUGREGS, sizeof(struct hvx_debugregs), "debug registers" },
	{ HVX_STATE_XSAVE, 0, "FPU and vector registers" },
	{ HVX_STATE_TSC, sizeof(struct hvx_tsc_state), "TSC" },
	{ HVX_STATE_LAPIC, sizeof(struct hvx_lapic_state), "local APIC" },
	{ HVX_STATE_EVENTS, sizeof(struct hvx_events), "events in flight and run state" },
};
#define NR_GROUPS	(sizeof(groups) / sizeof(groups[0]))

static uint32_t group_size(const struct vcpu *v, unsigned int i)
{
	return groups[i].size ? groups[i].size :
	       (uint32_t)sizeof(struct hvx_xsave_hdr) + v->m->hv.info.xsave_size;
}

/* ------------------------------------------------------------------- saving */

static int save_groups(struct sbuf *b, struct vcpu *v, struct state_error *err)
{
	uint8_t *data[NR_GROUPS] = { NULL };
	unsigned int i;
	int ret = 0;

	/* Backwards: the LAPIC first, then the TSC. */
	for (i = NR_GROUPS; i-- > 0 && !ret;) {
		data[i] = calloc(1, group_size(v, i));
		ret = data[i] ? hv_get_state(&v->hv, groups[i].group, data[i], group_size(v, i)) :
				-ENOMEM;
		if (ret)
			state_error(err, "vCPU %u: cannot read its %s: %s", v->id, groups[i].name,
				    strerror(-ret));
		else if (groups[i].group == HVX_STATE_TSC && v->m->time.stands)
			((struct hvx_tsc_state *)data[i])->value = v->tsc;
	}
	sbuf_put_num(b, NR_GROUPS, 4);
	for (i = 0; i < NR_GROUPS; i++) {
		if (!ret) {
			sbuf_put_num(b, groups[i].group, 4);
			sbuf_put_num(b, group_size(v, i), 4);
			sbuf_put(b, data[i], group_size(v, i));
		}
		free(data[i]);
	}
	return ret;
}

/* Those of the module that this host has, then those of this process. */
static void save_msrs(struct sbuf *b, struct vcpu *v)
{
	static const uint32_t saved[] = HVX_SAVED_MSRS;
	struct hvx_msr_entry e[sizeof(saved) / sizeof(saved[0])];
	uint32_t index[MSR_KEPT + 1];
	uint64_t val[MSR_KEPT + 1];
	unsigned int i, n = 0;

	for (i = 0; i < sizeof(saved) / sizeof(saved[0]); i++) {
		e[n] = (struct hvx_msr_entry){ .index = saved[i] };
		n += hv_get_msrs(&v->hv, &e[n], 1) == 1;
	}
	sbuf_put_num(b, n, 4);
	for (i = 0; i < n; i++) {
		sbuf_put_num(b, e[i].index, 4);
		sbuf_put_num(b, e[i].value, 8);
	}
	n = msr_save(&v->msrs, index, val);
	sbuf_put_num(b, n, 4);
	for (i = 0; i < n; i++) {
		sbuf_put_num(b, index[i], 4);
		sbuf_put_num(b, val[i], 8);
	}
}

/* Reading a local APIC has this effect: kmod/irq/lapic.c, hvx_lapic_get(). */
void vcpus_settle(struct machine *m)
{
	struct hvx_lapic_state s;
	unsigned int i;

	for (i = 0; i < m->nr_vcpus; i++)
		hv_get_state(&m->vcpu[i].hv, HVX_STATE_LAPIC, &s, sizeof(s));
}

int vcpu_save(struct sbuf *b, struct vcpu *v, struct state_error *err)
{
	int ret;

	sbuf_put_num(b, v->id, 4);
	ret = save_groups(b, v, err);
	if (!ret)
		save_msrs(b, v);
	return ret ?: b->failed ? -ENOMEM : 0;
}

/* ------------------------------------------------------------------ loading */

#define XSTATE_BV	512	/* in the XSAVE area: SDM vol. 1, 13.4.2 */
#define XSAVE_MIN	576

/*
 * Another host's area may be longer or shorter: what both have is in the same place
 * (cpu_check.c). What only that one has, the guest must not have turned on.
 */
static int fit_xsave(struct vcpu *v, struct hvx_xsave_hdr *hdr, uint32_t size, struct state_error *err)
{
	uint64_t have = v->m->hv.info.xcr0, missing, in_use;
	uint8_t *area = (uint8_t *)(hdr + 1);

	if (size < sizeof(*hdr) + XSAVE_MIN || hdr->size != size - sizeof(*hdr))
		return state_error(err, "vCPU %u: its FPU and vector registers have a wrong size", v->id);
	missing = hdr->xcr0 & ~have;
	if (missing)
		return state_error(err, "vCPU %u uses vector registers that this host's CPU has not (XCR0 bits %#llx)",
				   v->id, (unsigned long long)missing);
	memcpy(&in_use, area + XSTATE_BV, sizeof(in_use));
	in_use &= have | 3;
	memcpy(area + XSTATE_BV, &in_use, sizeof(in_use));
	hdr->size = v->m->hv.info.xsave_size;
	return 0;
}

static int load_group(struct sbuf *b, struct vcpu *v, unsigned int i, struct state_error *err)
{
	uint32_t group = (uint32_t)sbuf_get_num(b, 4), size = (uint32_t)sbuf_get_num(b, 4);
	const void *at = size <= MAX_GROUP ? sbuf_get(b, size) : NULL;
	uint32_t here = group_size(v, i);
	void *data;
	int ret = 0;

	if (!at || group != groups[i].group || (size != here && group != HVX_STATE_XSAVE))
		return state_error(err, "vCPU %u: its %s have another size than on this host", v->id,
				   groups[i].name);
	data = calloc(1, size > here ? size : here);	/* aligned */
	if (!data)
		return state_error(err, "out of memory");
	memcpy(data, at, size);
	if (group == HVX_STATE_XSAVE)
		ret = fit_xsave(v, data, size, err);
	if (!ret && hv_set_state(&v->hv, group, data, here))
		ret = group == HVX_STATE_TSC ?
		      state_error(err, "vCPU %u: its TSC runs at %u kHz, this host's at %u, and the CPU cannot scale it",
				  v->id, ((struct hvx_tsc_state *)data)->khz, v->m->hv.info.tsc_khz) :
		      state_error(err, "vCPU %u: its %s cannot be so", v->id, groups[i].name);
	if (group == HVX_STATE_TSC)
		v->tsc = ((struct hvx_tsc_state *)data)->value;
	free(data);
	return ret;
}

static int load_msrs(struct sbuf *b, struct vcpu *v, struct state_error *err)
{
	uint32_t n = (uint32_t)sbuf_get_num(b, 4);

	while (n-- && !b->failed) {
		struct hvx_msr_entry e = { .index = (uint32_t)sbuf_get_num(b, 4),
					   .value = sbuf_get_num(b, 8) };

		/* One that this host has not, and the guest's CPU neither, or it would not be here: still as at power-on. */
		if (!b->failed && hv_set_msrs(&v->hv, &e, 1) != 1 && e.value)
			return state_error(err, "vCPU %u: MSR %#x cannot be %#llx", v->id, e.index,
					   (unsigned long long)e.value);
	}
	n = (uint32_t)sbuf_get_num(b, 4);
	while (n-- && !b->failed) {
		uint32_t index = (uint32_t)sbuf_get_num(b, 4);
		uint64_t val = sbuf_get_num(b, 8);

		if (!b->failed && !msr_load(&v->msrs, v->m->cpu->phys_bits, index, val))
			return state_error(err, "vCPU %u: MSR %#x cannot be %#llx", v->id, index,
					   (unsigned long long)val);
	}
	return b->failed || sbuf_left(b) ? state_error(err, "vCPU %u: the section's length", v->id) : 0;
}

int vcpu_load(struct sbuf *b, struct vcpu *v, struct state_error *err)
{
	unsigned int i;
	int ret = 0;

	if (sbuf_get_num(b, 4) != v->id)
		return state_error(err, "the vCPUs are numbered differently; has <cpu><topology> changed?");
	if (sbuf_get_num(b, 4) != NR_GROUPS)
		return state_error(err, "vCPU %u: other groups of state than this hvx knows", v->id);
	v->hv.run->dirty = 0;
	v->hv.run->extint_valid = 0;
	for (i = 0; i < NR_GROUPS && !ret; i++)
		ret = load_group(b, v, i, err);
	return ret ?: load_msrs(b, v, err);
}

/* -------------------------------------------------------------------- CPUID */

int cpuid_save(struct sbuf *b, const struct machine *m)
{
	struct hvx_cpuid_entry e[HVX_MAX_CPUID];
	unsigned int i, n = cpu_policy_table(m->cpu, 0, e);

	sbuf_put_num(b, n, 4);
	for (i = 0; i < n; i++) {
		sbuf_put_num(b, e[i].leaf, 4);
		sbuf_put_num(b, e[i].flags & HVX_CPUID_SUBLEAF ? e[i].subleaf : ~0U, 4);
		sbuf_put_num(b, e[i].eax, 4);
		sbuf_put_num(b, e[i].ebx, 4);
		sbuf_put_num(b, e[i].ecx, 4);
		sbuf_put_num(b, e[i].edx, 4);
	}
	return b->failed ? -ENOMEM : 0;
}

static int read_table(struct sbuf *b, struct hvx_cpuid_entry *e, unsigned int *n, struct state_error *err)
{
	uint32_t count = (uint32_t)sbuf_get_num(b, 4), i, sub;

	if (b->failed || !count || count > HVX_MAX_CPUID)
		return state_error(err, "the CPUID table's length");
	for (i = 0; i < count; i++) {
		e[i] = (struct hvx_cpuid_entry){ .leaf = (uint32_t)sbuf_get_num(b, 4) };
		sub = (uint32_t)sbuf_get_num(b, 4);
		if (sub != ~0U) {
			e[i].flags = HVX_CPUID_SUBLEAF;
			e[i].subleaf = sub;
		}
		e[i].eax = (uint32_t)sbuf_get_num(b, 4);
		e[i].ebx = (uint32_t)sbuf_get_num(b, 4);
		e[i].ecx = (uint32_t)sbuf_get_num(b, 4);
		e[i].edx = (uint32_t)sbuf_get_num(b, 4);
	}
	*n = count;
	return b->failed || sbuf_left(b) ? state_error(err, "the CPUID table's length") : 0;
}

/* A guest has read its CPUID long ago: it gets the same here, bit by bit, where this host can give that. */
int cpuid_load(struct sbuf *b, struct machine *m, uint32_t tsc_khz, struct state_error *err)
{
	struct hvx_cpuid_entry theirs[HVX_MAX_CPUID], ours[HVX_MAX_CPUID];
	unsigned int n = 0, nr = cpu_policy_table(m->cpu, 0, ours);
	char why[320];
	int ret = read_table(b, theirs, &n, err);

	if (ret)
		return ret;
	if (n == nr && !memcmp(theirs, ours, n * sizeof(*ours)))
		return 0;
	nr = cpu_host_table(&m->hv.info, ours);
	if (cpu_table_fits(theirs, n, tsc_khz, ours, nr, &m->hv.info, why, sizeof(why)))
		return state_error(err, "%s", why);
	cpu_policy_adopt(m->cpu, &m->hv.info, theirs, n);
	ret = vcpus_set_cpuid(m);
	return ret ? state_error(err, "the module refuses the guest's CPUID table: %s", strerror(-ret)) : 0;
}
