// SPDX-License-Identifier: GPL-2.0-only
/* <features>, <cpu>, <clock>. */
#include <stdlib.h>
#include <string.h>
#include "cpu_model.h"
#include "domxml_int.h"

static bool on(const xmlNode *n)
{
	return n && !x_is(n, "state", "off");
}

static bool off(const xmlNode *n)
{
	return x_is(n, "state", "off");
}

/* --- <features> --- */

static const struct { const char *name; uint32_t bit; } hyperv_bits[] = {
	{ "relaxed", HYPERV_RELAXED }, { "vapic", HYPERV_VAPIC }, { "spinlocks", HYPERV_SPINLOCKS },
	{ "vpindex", HYPERV_VPINDEX }, { "runtime", HYPERV_RUNTIME }, { "synic", HYPERV_SYNIC },
	{ "stimer", HYPERV_STIMER }, { "reset", HYPERV_RESET }, { "vendor_id", HYPERV_VENDOR_ID },
	{ "frequencies", HYPERV_FREQUENCIES }, { "reenlightenment", HYPERV_REENLIGHTENMENT },
	{ "tlbflush", HYPERV_TLBFLUSH }, { "ipi", HYPERV_IPI }, { "evmcs", HYPERV_EVMCS },
	{ "avic", HYPERV_AVIC }, { "emsr_bitmap", HYPERV_EMSR_BITMAP }, { "xmm_input", HYPERV_XMM_INPUT },
};

static const char no_hyperv[] = "left out: hvx does not offer Hyper-V enlightenments yet, the guest runs without them";

static void hint(struct px *px, const xmlNode *n, const char *attr, const char *note)
{
	if (px_first(px, note))
		px_warn(px, n, attr, "%s", note);
}

static void hyperv_values(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *vendor = x_child(n, "vendor_id");
	uint64_t retries = 0;

	if (on(x_child(n, "spinlocks")) &&
	    x_num(px, x_child(n, "spinlocks"), "retries", 4095, UINT32_MAX, &retries))
		dom->features.hyperv_spinlocks = (uint32_t)retries;
	if (on(vendor)) {
		const char *s = x_attr(vendor, "value");

		if (!s || !*s || strlen(s) > 12 || strchr(s, ','))
			px_err(px, vendor, "value", "not a vendor; write 1 to 12 characters without a comma");
		else
			memcpy(dom->features.hyperv_vendor, s, strlen(s) + 1);
	}
	if (on(x_child(x_child(n, "stimer"), "direct")))
		dom->features.hyperv_mask |= HYPERV_STIMER_DIRECT;
}

static void hyperv(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	/* All but those that need a nested hypervisor, or a name to be given. */
	const uint32_t all = HYPERV_XMM_INPUT * 2 - 1 - HYPERV_EVMCS - HYPERV_VENDOR_ID -
			     HYPERV_EMSR_BITMAP - HYPERV_AVIC;

	if (x_is(n, "mode", "passthrough") || x_is(n, "mode", "host-model"))
		dom->features.hyperv_mask = all;
	for (size_t i = 0; i < sizeof(hyperv_bits) / sizeof(hyperv_bits[0]); i++) {
		xmlNode *e = x_child(n, hyperv_bits[i].name);

		if (on(e))
			dom->features.hyperv_mask |= hyperv_bits[i].bit;
		else if (off(e))
			dom->features.hyperv_mask &= ~hyperv_bits[i].bit;
	}
	hyperv_values(px, n);
	dom->features.hyperv = dom->features.hyperv_mask != 0;
	if (dom->features.hyperv)
		hint(px, n, x_attr(n, "mode") ? "mode" : NULL, no_hyperv);
}

void h_features(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	xmlNode *kvm = x_child(n, "kvm"), *pmu = x_child(n, "pmu");

	dom->features.acpi = x_child(n, "acpi");
	dom->features.apic = x_child(n, "apic");
	dom->features.pae = x_child(n, "pae");
	dom->features.kvm_hidden = on(x_child(kvm, "hidden"));
	dom->features.kvm_pv_ipi_off = off(x_child(kvm, "pv-ipi"));
	dom->features.pvspinlock_off = off(x_child(n, "pvspinlock"));
	dom->features.pmu = pmu ? on(pmu) : -1;
	if (on(pmu))
		px_warn(px, pmu, "state", "left out: guests have no performance counters");
	if (x_is(x_child(n, "vmport"), "state", "on"))
		px_warn(px, x_child(n, "vmport"), "state", "left out: there is no VMware port");
	if (x_child(n, "hyperv"))
		hyperv(px, x_child(n, "hyperv"));
}

/* --- <cpu> --- */

static bool feature_name_ok(const char *s)
{
	return *s && strlen(s) < 48 && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.")];
}

static void add_feature(struct px *px, xmlNode *n)
{
	static const char *const policies[] = {
		[FEAT_FORCE] = "force", [FEAT_REQUIRE] = "require", [FEAT_OPTIONAL] = "optional",
		[FEAT_DISABLE] = "disable", [FEAT_FORBID] = "forbid",
	};
	struct domain *dom = px->dom;
	const char *name = x_attr(n, "name");
	unsigned int nr = dom->cpu.nr_feature;

	if (!name || !feature_name_ok(name)) {
		px_err(px, n, "name", "not a CPU feature; write libvirt's name of one, as in /proc/cpuinfo");
		return;
	}
	for (unsigned int i = 0; i < nr; i++) {
		if (!strcmp(dom->cpu.feature[i].name, name)) {
			px_err(px, n, "name", "given twice; keep one");
			return;
		}
	}
	if (nr == DOM_MAX_CPU_FEATURES) {
		if (px_first(px, "cpu features"))
			px_err(px, n, "name", "more than %d features; leave some out", DOM_MAX_CPU_FEATURES);
		return;
	}
	dom->cpu.feature[nr].name = strdup(name);
	if (!dom->cpu.feature[nr].name)
		return;
	dom->cpu.feature[nr].policy = FEAT_REQUIRE;
	dom->cpu.feature[nr].line = (unsigned int)xmlGetLineNo(n);
	for (unsigned int p = 0; p < sizeof(policies) / sizeof(policies[0]); p++)
		if (x_is(n, "policy", policies[p]))
			dom->cpu.feature[nr].policy = p;
	dom->cpu.nr_feature = nr + 1;
}

static void topology(struct px *px, xmlNode *n)
{
	struct { const char *name; unsigned int *where; } t[] = {
		{ "sockets", &px->dom->cpu.sockets }, { "dies", &px->dom->cpu.dies },
		{ "cores", &px->dom->cpu.cores }, { "threads", &px->dom->cpu.threads },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t v = 1;

		x_num(px, n, t[i].name, 1, 64, &v);
		*t[i].where = (unsigned int)v;
	}
}

static void maxphysaddr(struct px *px, xmlNode *n)
{
	uint64_t bits = 0;

	if (x_is(n, "mode", "passthrough"))
		px->dom->cpu.host_bits = true;
	else if (x_is(n, "mode", "emulate") && !x_attr(n, "bits"))
		px_err(px, n, "mode", "no bits=; write how many");
	else if (x_num(px, n, "bits", 32, 52, &bits))
		px->dom->cpu.phys_bits = (unsigned int)bits;
}

static void check_model(struct px *px, xmlNode *model)
{
	const char *name = px->dom->cpu.model, *like[3] = { NULL };
	unsigned int n;

	if (px->dom->cpu.mode != CPU_CUSTOM || !name || cpu_model_find(name))
		return;
	n = cpu_model_similar(name, like, 3);
	px_err(px, model, NULL, "'%.64s' is not known%s%s%s%s%s%s; `hvx cpu-models` lists those that are, or write mode='host-passthrough'",
	       name, n ? "; meant may be " : "", n ? like[0] : "", n > 2 ? ", " : n > 1 ? " or " : "", n > 1 ? like[1] : "",
	       n > 2 ? " or " : "", n > 2 ? like[2] : "");
}

void h_cpu(struct px *px, xmlNode *n)
{
	static const struct { const char *name; enum cpu_mode mode; } modes[] = {
		{ "host-passthrough", CPU_HOST_PASSTHROUGH }, { "host-model", CPU_HOST_MODEL },
		{ "custom", CPU_CUSTOM }, { "maximum", CPU_MAXIMUM },
	};
	struct domain *dom = px->dom;
	xmlNode *model = x_child(n, "model"), *numa = x_child(n, "numa"), *second;

	px->cpu_node = n;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (x_is(n, "mode", modes[i].name))
			dom->cpu.mode = modes[i].mode;
	dom->cpu.model = x_text_dup(px, model);
	dom->cpu.vendor = x_text_dup(px, x_child(n, "vendor"));
	if (!x_attr(n, "mode") && dom->cpu.model)
		dom->cpu.mode = CPU_CUSTOM;
	else if (x_is(n, "mode", "custom") && !dom->cpu.model)
		px_err(px, n, "mode", "no <model> in it; add one, or write mode='host-passthrough'");
	check_model(px, model);
	if (x_attr(n, "migratable"))
		dom->cpu.migratable = x_is(n, "migratable", "on");
	dom->cpu.match = x_is(n, "match", "minimum") ? MATCH_MINIMUM :
			 x_is(n, "match", "strict") ? MATCH_STRICT : MATCH_EXACT;
	dom->cpu.check = x_is(n, "check", "none") ? CHECK_NONE : x_is(n, "check", "partial") ? CHECK_PARTIAL :
			 x_is(n, "check", "full") ? CHECK_FULL : CHECK_DEFAULT;
	dom->cpu.forbid_fallback = x_is(model, "fallback", "forbid");
	dom->cpu.line = (unsigned int)xmlGetLineNo(n);
	dom->cpu.model_line = model ? (unsigned int)xmlGetLineNo(model) : 0;
	maxphysaddr(px, x_child(n, "maxphysaddr"));
	if (x_child(n, "topology"))
		topology(px, x_child(n, "topology"));
	for (xmlNode *f = x_child(n, "feature"); f; f = x_next(f, "feature"))
		add_feature(px, f);
	second = x_child(numa, "cell");
	if (x_attr(second, "memory"))
		parse_size(x_attr(second, "memory"), x_attr(second, "unit"), &px->cell_memory);
	second = second ? x_next(second, "cell") : NULL;
	if (second)
		px_err(px, second, "id", "a second NUMA node; only one is supported: keep one <cell>, or remove <numa>");
}

void check_cpu(struct px *px)
{
	struct domain *dom = px->dom;
	unsigned int n = dom->cpu.sockets * dom->cpu.dies * dom->cpu.cores * dom->cpu.threads;

	if (px->cpu_node && dom->cpu.sockets && n != dom->max_vcpus)
		px_err(px, x_child(px->cpu_node, "topology"), NULL,
		       "sockets x dies x cores x threads is %u, but <vcpu> is %u; make them equal",
		       n, dom->max_vcpus);
}

/* --- <clock> --- */

static int parse_s64(const char *s, int64_t *out)
{
	bool neg = *s == '-';
	uint64_t v;

	if (!s[0] || s[strspn(s, "-0123456789")] || parse_u64(s + neg, &v) || v > INT64_MAX)
		return -1;
	*out = neg ? -(int64_t)v : (int64_t)v;
	return 0;
}

static void tsc_frequency(struct px *px, xmlNode *n)
{
	uint64_t hz;

	if (x_num(px, n, "frequency", 1000000, 100000000000ULL, &hz))
		px->dom->clock.tsc_khz = (uint32_t)(hz / 1000);
}

/* Of a timer that the XML wants or does not want, and the board cannot follow. */
static void timer_presence(struct px *px, xmlNode *n)
{
	static const char always[] = "left out: every guest has an RTC, a PIT and a TSC";

	if (x_is(n, "present", "yes")) {
		if (x_is(n, "name", "hpet"))
			px_warn(px, n, "name", "left out: the board has no HPET; guests keep time by kvmclock or the TSC");
		else if (x_is(n, "name", "hypervclock"))
			hint(px, n, "name", no_hyperv);
	} else if (x_is(n, "present", "no") &&
		   (x_is(n, "name", "rtc") || x_is(n, "name", "pit") || x_is(n, "name", "tsc"))) {
		hint(px, n, "name", always);
	}
}

static void timer(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	struct { const char *name; struct dom_timer *t; } timers[] = {
		{ "rtc", &dom->clock.rtc }, { "pit", &dom->clock.pit }, { "hpet", &dom->clock.hpet },
		{ "kvmclock", &dom->clock.kvmclock }, { "hypervclock", &dom->clock.hypervclock },
		{ "tsc", &dom->clock.tsc },
	};

	if (!x_attr(n, "name"))
		px_err(px, n, NULL, "no name=; write which timer is meant");
	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
		if (!x_is(n, "name", timers[i].name))
			continue;
		if (x_attr(n, "present")) {
			timers[i].t->present_set = true;
			timers[i].t->present = x_yes(n, "present");
		}
		free(timers[i].t->tickpolicy);
		timers[i].t->tickpolicy = x_attr_dup(n, "tickpolicy");
	}
	timer_presence(px, n);
	if (x_is(n, "name", "tsc"))
		tsc_frequency(px, n);
	else if (x_attr(n, "frequency"))
		px_err(px, n, "frequency", "only of <timer name='tsc'>; remove it");
}

/* The C library makes a file name of it. */
static bool timezone_ok(const char *s)
{
	return s && *s != '/' && !strstr(s, "..") && strlen(s) < 64 &&
	       !s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/")];
}

static void clock_offset(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	const char *adj = x_attr(n, "adjustment"), *start = x_attr(n, "start");

	if (x_is(n, "offset", "localtime"))
		dom->clock.offset = CLOCK_LOCALTIME;
	else if (x_is(n, "offset", "timezone"))
		dom->clock.offset = CLOCK_TIMEZONE;
	else if (x_is(n, "offset", "variable"))
		dom->clock.offset = CLOCK_VARIABLE;
	else if (x_is(n, "offset", "absolute"))
		dom->clock.offset = CLOCK_ABSOLUTE;
	if (dom->clock.offset == CLOCK_VARIABLE && x_is(n, "basis", "localtime"))
		px_err(px, n, "basis", "seconds are counted from UTC; write basis='utc', or offset='localtime'");
	if (adj && strcmp(adj, "reset") && parse_s64(adj, &dom->clock.adjustment))
		px_err(px, n, "adjustment", "not a number of seconds; write digits, or 'reset'");
	dom->clock.timezone = x_attr_dup(n, "timezone");
	if (dom->clock.offset == CLOCK_TIMEZONE && !timezone_ok(dom->clock.timezone))
		px_err(px, n, dom->clock.timezone ? "timezone" : "offset",
		       "no time zone; write timezone='Europe/Paris'");
	if (dom->clock.offset == CLOCK_ABSOLUTE &&
	    (!start || parse_s64(start, &dom->clock.adjustment) || dom->clock.adjustment < 0))
		px_err(px, n, start ? "start" : "offset", "no starting time; write start='SECONDS', since 1970");
}

void h_clock(struct px *px, xmlNode *n)
{
	clock_offset(px, n);
	for (xmlNode *t = x_child(n, "timer"); t; t = x_next(t, "timer"))
		timer(px, t);
}
