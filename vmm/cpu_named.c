// SPDX-License-Identifier: GPL-2.0-only
/*
 * <cpu>: which features the guest gets; and the CPUID table of a named model, made so
 * that it is the same on every host that can give the model.
 */
#include <stdio.h>
#include <string.h>

#include "cpu.h"

#define NAMED_BITS	40		/* of physical address, where the XML and the host allow */
#define NAMED_RAM	(256ULL << 30)	/* ... and guests with no more than this */
#define VIRT_BITS	48
#define VIRT_BITS_LA57	57

/* What hvx decides whatever the model: the topology's bits, and those that only it sets. */
static struct cpu_set decided(void)
{
	struct cpu_set s = { { 0 } };

	cpu_set_add(&s, "ht cmp_legacy osxsave ospke");
	return s;
}

/* What every guest of hvx has unless the XML disables it. */
static struct cpu_set implied(void)
{
	struct cpu_set s = { { 0 } };

	cpu_set_add(&s, "x2apic hypervisor");
	return s;
}

struct cpu_set cpu_set_for_xml(const struct cpu_set *set)
{
	struct cpu_set no = decided(), s = cpu_set_minus(set, &no);
	int f = -1;

	while ((f = cpu_set_next(&s, f)) >= 0)
		if (!cpu_words[f >> 5].name[f & 31])
			cpu_take(&s, f);
	return s;
}

void cpu_model_differences(const struct cpu_model *m, const struct cpu_set *set, struct cpu_set *require,
			   struct cpu_set *disable)
{
	struct cpu_set mine = cpu_set_for_xml(set), of_model = cpu_model_set(m), all = implied();
	unsigned int i;

	*require = cpu_set_minus(&mine, &of_model);
	for (i = 0; i < CPU_WORDS; i++)
		all.w[i] |= of_model.w[i];
	*disable = cpu_set_minus(&all, &mine);
}

/* ------------------------------------------------------------ which features */

struct wish {
	const struct domain *dom;
	struct cpu_set host, possible, want;
	enum cpu_vendor vendor;
};

static const char *where(const struct domain *dom, unsigned int line)
{
	static __thread char text[512];

	snprintf(text, sizeof(text), "%s:%u: ", dom->file ? dom->file : "", line);
	return line ? text : "";
}

static int vendor_ok(const struct wish *w, const struct hvx_cpuid_entry *host, unsigned int n)
{
	const char *name = w->dom->cpu.vendor;
	char id[13] = "";
	const struct hvx_cpuid_entry *e = cpuid_entry(host, n, 0, 0);

	if (!name || w->dom->cpu.mode != CPU_CUSTOM || cpu_vendor_by_name(name) == w->vendor)
		return 0;
	if (e) {
		memcpy(id, &e->ebx, 4);
		memcpy(id + 4, &e->edx, 4);
		memcpy(id + 8, &e->ecx, 4);
	}
	log_error("%s<vendor>%s</vendor>: this host's CPU is of %s; a guest that was installed or started on the other may not run on it; remove <vendor> to try",
		  where(w->dom, w->dom->cpu.line), name,
		  *cpu_vendor_name(w->vendor) ? cpu_vendor_name(w->vendor) : id);
	return -1;
}

static bool disabled(const struct domain *dom, int f)
{
	unsigned int i;

	for (i = 0; i < dom->cpu.nr_feature; i++)
		if (dom->cpu.feature[i].policy == FEAT_DISABLE && cpu_feature(dom->cpu.feature[i].name) == f)
			return true;
	return false;
}

/* The model's features that cannot be given: an error, or left out. */
static int leave_out(struct wish *w, const char *name)
{
	const struct domain *dom = w->dom;
	struct cpu_set missing = cpu_set_minus(&w->want, &w->host), lacks, never;
	int f = -1;

	while ((f = cpu_set_next(&missing, f)) >= 0)
		if (disabled(dom, f))
			cpu_take(&missing, f);
	lacks = cpu_set_and(&missing, &w->possible);
	never = cpu_set_minus(&missing, &w->possible);
	w->want = cpu_set_and(&w->want, &w->host);
	if (cpu_set_count(&lacks) && dom->cpu.check != CHECK_NONE) {
		log_error("%s<model>%s</model>: this host's CPU has no %s; take a model that it has (hvx cpu-models), write <feature policy='disable'> for each, or check='none' to leave them out",
			  where(dom, dom->cpu.model_line), name, cpu_set_text(&lacks));
		return -1;
	}
	if (cpu_set_count(&never) && dom->cpu.check != CHECK_NONE &&
	    (dom->cpu.forbid_fallback || dom->cpu.check == CHECK_FULL)) {
		log_error("%s<model>%s</model>: hvx gives no guest %s; write fallback='allow' to leave them out, or <feature policy='disable'> for each",
			  where(dom, dom->cpu.model_line), name, cpu_set_text(&never));
		return -1;
	}
	if (cpu_set_count(&missing))
		log_info("<model>%s</model>: left out: %s", name, cpu_set_text(&missing));
	return 0;
}

static int custom(struct wish *w, struct cpu_policy *p)
{
	const struct domain *dom = w->dom;
	struct cpu_set also = implied(), extra;
	unsigned int i;

	p->model = cpu_model_find(dom->cpu.model);
	if (!p->model) {
		log_error("%s<model>%s</model>: not known; `hvx cpu-models` lists those that are, or write mode='host-passthrough'",
			  where(dom, dom->cpu.model_line), dom->cpu.model);
		return -1;
	}
	w->want = cpu_model_set(p->model);
	for (i = 0; i < CPU_WORDS; i++)
		w->want.w[i] |= also.w[i];
	if (leave_out(w, p->model->name))
		return -1;
	extra = cpu_set_for_xml(&w->host);
	if (dom->cpu.match == MATCH_MINIMUM)
		for (i = 0; i < CPU_WORDS; i++)
			w->want.w[i] |= extra.w[i];
	return 0;
}

static int one_feature(struct wish *w, unsigned int i)
{
	const struct domain *dom = w->dom;
	const char *name = dom->cpu.feature[i].name, *at = where(dom, dom->cpu.feature[i].line);
	int f = cpu_feature(name);

	switch (dom->cpu.feature[i].policy) {
	case FEAT_DISABLE:
		cpu_take(&w->want, f);	/* one that is not known is not offered either */
		return 0;
	case FEAT_FORBID:
		if (!cpu_has(&w->host, f))
			return 0;
		log_error("%s<feature name='%s'>: this host's CPU has it, which policy='forbid' rules out; write 'disable' to hide it",
			  at, name);
		return -1;
	case FEAT_OPTIONAL:
		if (cpu_has(&w->host, f))
			cpu_give(&w->want, f);
		return 0;
	case FEAT_FORCE:
	case FEAT_REQUIRE:
		break;
	}
	if (cpu_has(&w->host, f)) {
		cpu_give(&w->want, f);
		return 0;
	}
	if (dom->cpu.check == CHECK_NONE)
		return 0;
	log_error("%s<feature name='%s'>: %s; remove it, or write policy='optional'", at, name,
		  f < 0 ? "not a feature that hvx knows" :
		  cpu_has(&w->possible, f) ? "this host's CPU does not have it" : "hvx gives it to no guest");
	return -1;
}

static int strict(const struct wish *w)
{
	struct cpu_set extra = cpu_set_for_xml(&w->host);

	if (w->dom->cpu.match != MATCH_STRICT || w->dom->cpu.mode != CPU_CUSTOM)
		return 0;
	extra = cpu_set_minus(&extra, &w->want);
	if (!cpu_set_count(&extra))
		return 0;
	log_error("%s<cpu match='strict'>: this host's CPU also has %s; write match='exact'",
		  where(w->dom, w->dom->cpu.line), cpu_set_text(&extra));
	return -1;
}

/* ------------------------------------------------------------- the CPUID table */

static void set_words(struct cpu_policy *p, const struct cpu_set *set, bool amd)
{
	struct cpu_set own = decided();
	unsigned int i;

	for (i = 0; i < CPU_WORDS; i++) {
		struct hvx_cpuid_entry *e = cpuid_entry(p->entry, p->nr, cpu_words[i].leaf, cpu_words[i].subleaf);

		if (e)
			*cpuid_reg(e, cpu_words[i].reg) = set->w[i] & ~own.w[i];
	}
	if (amd) {
		struct hvx_cpuid_entry *e = cpuid_entry(p->entry, p->nr, 0x80000001, 0);

		if (e)
			e->edx |= set->w[W_1_EDX] & CPU_AMD_COPY;
	}
}

/* State components without a feature that uses them go: SDM vol. 1, 13.2. */
static void set_xsave(struct cpu_policy *p, const struct cpu_set *set)
{
	struct hvx_cpuid_entry *xs = cpuid_entry(p->entry, p->nr, 0xd, 0), *c;
	uint32_t size = 576, i, kept = 0, mask;

	if (!cpu_has(set, cpu_feature("xsave")) || !xs) {
		cpu_policy_drop(p, 0xd, 0xd);
		return;
	}
	if (!cpu_has(set, cpu_feature("avx")))
		xs->eax &= ~0x4U;
	if (!cpu_has(set, cpu_feature("avx512f")))
		xs->eax &= ~0xe0U;
	if (!cpu_has(set, cpu_feature("pku")))
		xs->eax &= ~0x200U;
	for (i = 2; i < 32; i++) {
		if (!(xs->eax >> i & 1))
			continue;
		c = cpuid_entry(p->entry, p->nr, 0xd, i);
		if (!c)
			size = xs->ecx;
		else if (c->eax + c->ebx > size)
			size = c->eax + c->ebx;
	}
	xs->ecx = xs->ebx = size;
	for (i = 0, mask = xs->eax; i < p->nr; i++) {
		const struct hvx_cpuid_entry *e = &p->entry[i];

		if (e->leaf != 0xd || e->subleaf < 2 || (e->subleaf < 32 && mask >> e->subleaf & 1))
			p->entry[kept++] = *e;
	}
	p->nr = kept;
}

static void put(struct cpu_policy *p, uint32_t leaf, int sub, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	struct hvx_cpuid_entry *e = cpu_policy_add(p, leaf, sub < 0 ? 0 : (uint32_t)sub,
						   sub < 0 ? 0 : HVX_CPUID_SUBLEAF);

	if (!e)
		return;
	e->eax = eax;
	e->ebx = ebx;
	e->ecx = ecx;
	e->edx = edx;
}

/* 32 KiB and 32 KiB, 1 MiB, 16 MiB, in lines of 64 bytes. The topology adds who shares them. */
static void put_caches(struct cpu_policy *p, uint32_t leaf)
{
	put(p, leaf, 0, 0x121, 7U << 22 | 63, 63, 0);
	put(p, leaf, 1, 0x122, 7U << 22 | 63, 63, 0);
	put(p, leaf, 2, 0x143, 15U << 22 | 63, 1023, 0);
	put(p, leaf, 3, 0x163, 15U << 22 | 63, 16383, 0);
}

static void put_brand(struct cpu_policy *p)
{
	const char *vendor = cpu_vendor_name(cpu_model_vendor(p->model));
	char text[64] = "";
	uint32_t r[12];
	unsigned int i;

	snprintf(text, sizeof(text), "%s Processor (%s)", *vendor ? vendor : "Virtual", p->model->name);
	memcpy(r, text, sizeof(r));
	r[11] &= 0x00ffffff;
	cpu_policy_drop(p, 0x80000002, 0x80000004);
	for (i = 0; i < 3; i++)
		put(p, 0x80000002 + i, -1, r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]);
}

static void put_cache_leaves(struct cpu_policy *p, const struct cpu_set *set, bool amd)
{
	bool topoext = cpu_has(set, cpu_feature("topoext"));

	cpu_policy_drop(p, 2, 4);
	cpu_policy_drop(p, 0x80000005, 0x80000006);
	cpu_policy_drop(p, 0x80000019, 0x8000001d);
	if (!amd) {
		put(p, 2, -1, 0x00ff01, 0, 0, 0);	/* see leaf 4 */
		put_caches(p, 4);
		put(p, 0x80000006, -1, 0, 0, 0x04008040, 0);
		return;
	}
	put(p, 0x80000005, -1, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140);
	put(p, 0x80000006, -1, 0, 0x42004200, 0x04008140, 0x00808140);
	if (topoext)
		put_caches(p, 0x8000001d);
}

/* Apart from features, nothing of the host's is left but the vendor and the paravirtual leaves. */
static void make_named(struct cpu_policy *p, const struct cpu_set *set, bool amd, unsigned int phys_bits)
{
	struct hvx_cpuid_entry *e = cpuid_entry(p->entry, p->nr, 0, 0);

	if (e)
		e->eax = p->topo.dies > 1 ? 0x1f : 0xd;
	e = cpuid_entry(p->entry, p->nr, 1, 0);
	if (e) {
		e->eax = cpu_model_signature(p->model);
		e->ebx = 8 << 8;
	}
	e = cpuid_entry(p->entry, p->nr, 7, 0);
	if (e)
		e->eax = set->w[W_71_EAX] || set->w[W_71_EDX];
	e = cpuid_entry(p->entry, p->nr, 7, 1);
	if (e && !set->w[W_71_EAX] && !set->w[W_71_EDX])
		*e = p->entry[--p->nr];
	cpu_policy_drop(p, 0x15, 0x16);
	e = cpuid_entry(p->entry, p->nr, 0x80000000, 0);
	if (e)
		e->eax = set->w[W_821_EAX] ? 0x80000021 :
			 cpu_has(set, cpu_feature("topoext")) ? 0x8000001e : 0x80000008;
	e = cpuid_entry(p->entry, p->nr, 0x80000001, 0);
	if (e)
		e->eax = amd ? cpu_model_signature(p->model) : 0;
	put_brand(p);
	put_cache_leaves(p, set, amd);
	e = cpuid_entry(p->entry, p->nr, 0x80000008, 0);
	if (e)
		e->eax = phys_bits | (cpu_has(set, cpu_feature("la57")) ? VIRT_BITS_LA57 : VIRT_BITS) << 8;
}

static int address_bits(const struct cpu_policy *p, const struct domain *dom, const struct hvx_info *info,
			unsigned int *bits)
{
	unsigned int want = dom->cpu.phys_bits;

	if (want > info->phys_bits) {
		log_error("%s<maxphysaddr bits='%u'>: this host's CPU has %u; write no more",
			  where(dom, dom->cpu.line), want, info->phys_bits);
		return -1;
	}
	if (!want && p->model && !dom->cpu.host_bits && info->phys_bits > NAMED_BITS &&
	    dom->memory <= NAMED_RAM && dom->max_memory <= NAMED_RAM)
		want = NAMED_BITS;
	*bits = want ? want : info->phys_bits;
	return 0;
}

static int passthrough(struct wish *w)
{
	w->want = w->host;
	if (w->dom->cpu.migratable == 1)
		cpu_set_sub(&w->want, "invtsc");
	return 0;
}

/* The nearest model, and what this host has besides: named, so that another host can give the same. */
static int host_model(struct wish *w, struct cpu_policy *p)
{
	w->want = cpu_set_for_xml(&w->host);
	cpu_set_sub(&w->want, "invtsc");
	p->model = cpu_model_nearest(&w->want, w->vendor, &w->possible);
	return 0;
}

int cpu_features_apply(struct cpu_policy *p, const struct domain *dom, const struct hvx_info *info)
{
	struct wish w = { .dom = dom, .host = cpu_set_of(p->entry, p->nr), .possible = cpu_possible(),
			  .vendor = cpu_vendor_of(p->entry, p->nr) };
	bool amd = w.vendor == VENDOR_AMD || w.vendor == VENDOR_HYGON;
	struct hvx_cpuid_entry *e;
	unsigned int i, bits;
	int ret;

	ret = vendor_ok(&w, p->entry, p->nr);
	if (!ret)
		ret = dom->cpu.mode == CPU_CUSTOM && dom->cpu.model ? custom(&w, p) :
		      dom->cpu.mode == CPU_HOST_MODEL ? host_model(&w, p) : passthrough(&w);
	for (i = 0; i < dom->cpu.nr_feature && !ret; i++)
		ret = one_feature(&w, i);
	if (ret || strict(&w) || address_bits(p, dom, info, &bits))
		return -1;
	cpu_set_close(&w.want);
	set_words(p, &w.want, amd);
	set_xsave(p, &w.want);
	p->vendor = w.vendor;
	if (p->model) {
		make_named(p, &w.want, amd, bits);
		cpu_model_differences(p->model, &w.want, &p->require, &p->disable);
		log_info("CPU model %s, with %s, without %s", p->model->name,
			 cpu_set_count(&p->require) ? cpu_set_text(&p->require) : "nothing more",
			 cpu_set_count(&p->disable) ? "some" : "nothing less");
	} else {
		e = cpuid_entry(p->entry, p->nr, 0x80000008, 0);
		if (e && dom->cpu.phys_bits)
			e->eax = (e->eax & ~0xffU) | bits;
	}
	return 0;
}
