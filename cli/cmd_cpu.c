// SPDX-License-Identifier: GPL-2.0-only
/* Verbs on CPUs: which models there are, what this host gives, and what several hosts have in common. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "cpudesc.h"
#include "guest.h"
#include "vmm/cpu.h"

static void put_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static struct json_object *names_json(const struct cpu_set *s)
{
	struct json_object *a = json_object_new_array();
	int f = -1;

	while ((f = cpu_set_next(s, f)) >= 0)
		json_object_array_add(a, json_object_new_string(cpu_feature_name(f)));
	return a;
}

static void add_str(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

/* What keeps a model from being usable here: what the CPU lacks; what hvx gives nobody does not count. */
static struct cpu_set blockers(const struct cpu_model *m, const struct cpu_host *h)
{
	struct cpu_set set = cpu_model_set(m), possible = cpu_possible(), lacks = cpu_set_minus(&set, &h->set);

	return cpu_set_and(&lacks, &possible);
}

/* ----------------------------------------------------------------- cpu-models */

enum { M_USABLE, M_JSON, M_NR };

static int cmd_cpu_models(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[M_NR + 1];
	struct json_object *all = NULL;
	const struct cpu_model *m;
	struct cpu_host h;
	int status = cli_parse(cmd, argc, argv, v, 0, 1);

	if (status >= 0)
		return status;
	if (optind < argc && strcmp(argv[optind], "x86_64")) {
		cli_error("%s: %s: only x86_64", cmd->name, argv[optind]);
		return VMM_ERR_USAGE;
	}
	if (v[M_USABLE] || v[M_JSON])
		cpu_host_get(&h);
	if (v[M_JSON])
		all = json_object_new_array();
	for (m = cpu_models; m->name; m++) {
		struct cpu_set lacks = { { 0 } };

		if (v[M_USABLE] || v[M_JSON])
			lacks = blockers(m, &h);
		if (v[M_USABLE] && cpu_set_count(&lacks))
			continue;
		if (all) {
			struct json_object *o = json_object_new_object();
			struct cpu_set set = cpu_model_set(m);

			add_str(o, "name", m->name);
			add_str(o, "vendor", cpu_vendor_name(cpu_model_vendor(m)));
			json_object_object_add(o, "usable", json_object_new_boolean(!cpu_set_count(&lacks)));
			json_object_object_add(o, "missing", names_json(&lacks));
			json_object_object_add(o, "features", names_json(&set));
			json_object_array_add(all, o);
		} else {
			puts(m->name);
		}
	}
	if (all)
		put_json(all);
	return VMM_OK;
}

static const struct cli_cmd models_verb = {
	.name = "cpu-models", .group = CLI_TOOLS, .args = "[ARCH]", .run = cmd_cpu_models,
	.summary = "list the CPU models that <cpu> may name",
	.help =
"By libvirt's and QEMU's names, for <cpu mode='custom'><model>. ARCH is x86_64, if given.\n",
	.opts = OPTS(
		[M_USABLE] = { "usable", 'u', NULL, "only those whose features this host has" },
		[M_JSON] = { "json", 'j', NULL, "print an array of {name, vendor, usable, missing, features}" }),
};
CLI_VERB(models_verb);

/* --------------------------------------------------------------- cpu-baseline */

enum { B_FEATURES, B_MIGRATABLE, B_JSON, B_NR };

static int common(const struct cpu_desc *list, unsigned int nr, struct cpu_set *set, enum cpu_vendor *vendor)
{
	unsigned int i, first = 0;

	*set = list[0].set;
	*vendor = list[0].vendor;
	for (i = 1; i < nr; i++) {
		*set = cpu_set_and(set, &list[i].set);
		if (*vendor == VENDOR_ANY) {
			*vendor = list[i].vendor;
			first = i;
		}
		if (list[i].vendor != VENDOR_ANY && list[i].vendor != *vendor) {
			cli_error("%s: a CPU of %s, that of %s is of %s: no guest can move between the two",
				  list[i].where, cpu_vendor_name(list[i].vendor), list[first].where,
				  cpu_vendor_name(*vendor));
			return -1;
		}
	}
	cpu_set_close(set);
	return 0;
}

static void print_baseline(const struct cpu_model *m, enum cpu_vendor vendor, const struct cpu_set *require,
			   const struct cpu_set *disable)
{
	printf("<cpu mode='custom' match='exact'>\n  <model fallback='allow'>%s</model>\n", m->name);
	if (*cpu_vendor_name(vendor))
		printf("  <vendor>%s</vendor>\n", cpu_vendor_name(vendor));
	cpudesc_print_features(require, disable, true, "  ");
	puts("</cpu>");
}

static struct json_object *baseline_json(const struct cpu_model *m, enum cpu_vendor vendor,
					 const struct cpu_set *require, const struct cpu_set *disable)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "model", m->name);
	add_str(o, "vendor", cpu_vendor_name(vendor));
	json_object_object_add(o, "require", names_json(require));
	json_object_object_add(o, "disable", names_json(disable));
	return o;
}

static int cmd_cpu_baseline(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct cpu_set set, possible = cpu_possible(), require, disable, of_model;
	const char *v[B_NR + 1];
	struct cpu_desc *list;
	const struct cpu_model *m;
	enum cpu_vendor vendor;
	unsigned int nr = 0;
	int status = cli_parse(cmd, argc, argv, v, 1, CPUDESC_MAX), ret = 0;

	if (status >= 0)
		return status;
	list = calloc(CPUDESC_MAX, sizeof(*list));
	for (; list && optind < argc && !ret; optind++)
		ret = cpudesc_read(argv[optind], list, &nr);
	if (!list || ret || common(list, nr, &set, &vendor)) {
		free(list);
		return VMM_ERR_USAGE;
	}
	free(list);
	if (v[B_MIGRATABLE])
		cpu_set_sub(&set, "invtsc");
	m = cpu_model_nearest(&set, vendor, &possible);
	cpu_model_differences(m, &set, &require, &disable);
	/* Nothing is said of what no guest of hvx gets in any case. */
	disable = cpu_set_and(&disable, &possible);
	cpu_set_sub(&disable, "x2apic hypervisor");
	if (v[B_FEATURES]) {
		of_model = cpu_model_set(m);
		of_model = cpu_set_and(&of_model, &set);
		for (unsigned int i = 0; i < CPU_WORDS; i++)
			require.w[i] |= of_model.w[i];
	}
	if (v[B_JSON])
		put_json(baseline_json(m, vendor, &require, &disable));
	else
		print_baseline(m, vendor, &require, &disable);
	return VMM_OK;
}

static const struct cli_cmd baseline_verb = {
	.name = "cpu-baseline", .group = CLI_TOOLS, .args = "FILE...", .run = cmd_cpu_baseline,
	.summary = "work out a CPU that several hosts can give a guest",
	.help =
"FILEs hold what `hvx capabilities` or `hvx domcapabilities` printed on each host, <cpu>\n"
"or <domain>; several may follow each other in one, - is the standard input. Prints the\n"
"<cpu> with the features that all of them have: a guest that is started with it can move\n"
"between them. Exit status: 64 where there is none, as for CPUs of two vendors.\n",
	.opts = OPTS(
		[B_FEATURES] = { "features", 'f', NULL, "name the model's own features, too" },
		[B_MIGRATABLE] = { "migratable", 'm', NULL, "without those that tie a guest to its host (invtsc)" },
		[B_JSON] = { "json", 'j', NULL, "print {model, vendor, require, disable}" }),
};
CLI_VERB(baseline_verb);

/* ---------------------------------------------------------------- cpu-compare */

enum { C_ERROR, C_JSON, C_NR };

struct comparison {
	const char *result;
	struct cpu_set missing, more;
	bool vendor;		/* another one */
	const char *unknown;
};

static struct comparison compare(const struct cpu_desc *d, const struct cpu_host *h)
{
	struct cpu_set possible = cpu_possible();
	struct comparison c = { .unknown = d->unknown };

	c.missing = cpu_set_minus(&d->set, &h->set);
	/* A model's that no guest of hvx gets are left out of it. */
	if (d->model) {
		struct cpu_set own = cpu_model_set(d->model), never = cpu_set_minus(&own, &possible);

		c.missing = cpu_set_minus(&c.missing, &never);
	}
	c.more = cpu_set_minus(&h->set, &d->set);
	cpu_set_sub(&c.more, "x2apic hypervisor");
	c.vendor = d->vendor != VENDOR_ANY && d->vendor != h->vendor;
	c.result = c.vendor || cpu_set_count(&c.missing) || *c.unknown ? "incompatible" :
		   cpu_set_count(&c.more) ? "superset" : "identical";
	return c;
}

static void print_comparison(const struct cpu_desc *d, const struct cpu_host *h, const struct comparison *c)
{
	if (!strcmp(c->result, "identical"))
		printf("CPU described in %s is identical to host CPU\n", d->where);
	else if (!strcmp(c->result, "superset"))
		printf("Host CPU is a superset of CPU described in %s\n", d->where);
	else
		printf("CPU described in %s is incompatible with host CPU\n", d->where);
	if (c->vendor)
		printf("  it is of %s, the host's is of %s\n", cpu_vendor_name(d->vendor), cpu_vendor_name(h->vendor));
	if (cpu_set_count(&c->missing))
		printf("  the host lacks: %s\n", cpu_set_text(&c->missing));
	if (*c->unknown)
		printf("  not known: %s\n", c->unknown);
}

static int cmd_cpu_compare(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[C_NR + 1];
	struct json_object *all = NULL;
	struct cpu_desc *list;
	struct cpu_host h;
	unsigned int nr = 0, i;
	bool ok = true;
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	if (status >= 0)
		return status;
	list = calloc(CPUDESC_MAX, sizeof(*list));
	if (!list || cpudesc_read(argv[optind], list, &nr)) {
		free(list);
		return VMM_ERR_USAGE;
	}
	cpu_host_get(&h);
	all = v[C_JSON] ? json_object_new_array() : NULL;
	for (i = 0; i < nr; i++) {
		struct comparison c = compare(&list[i], &h);

		ok &= strcmp(c.result, "incompatible") != 0;
		if (all) {
			struct json_object *o = json_object_new_object();

			add_str(o, "where", list[i].where);
			add_str(o, "result", c.result);
			json_object_object_add(o, "vendor-differs", json_object_new_boolean(c.vendor));
			json_object_object_add(o, "missing", names_json(&c.missing));
			add_str(o, "unknown", c.unknown);
			json_object_array_add(all, o);
		} else {
			print_comparison(&list[i], &h, &c);
		}
	}
	free(list);
	if (all)
		put_json(all);
	if (!ok && v[C_ERROR])
		cli_error("%s: %s: this host cannot give it", cmd->name, argv[optind]);
	return ok ? VMM_OK : VMM_ERR_SETUP;
}

static const struct cli_cmd compare_verb = {
	.name = "cpu-compare", .group = CLI_TOOLS, .args = "FILE", .run = cmd_cpu_compare,
	.summary = "compare a CPU with what this host can give",
	.help =
"FILE is as for `hvx cpu-baseline`. Says for each CPU in it whether what guests can have on\n"
"this host is identical, a superset, or incompatible, and then which features it lacks.\n"
"Exit status: 0, or 65 where one is incompatible.\n",
	.opts = OPTS(
		[C_ERROR] = { "error", 'e', NULL, "report an incompatible CPU as an error, too" },
		[C_JSON] = { "json", 'j', NULL, "print an array of {where, result, vendor-differs, missing, unknown}" }),
};
CLI_VERB(compare_verb);

/* ------------------------------------------------------------- capabilities */

static void signature(uint32_t eax, unsigned int out[3])
{
	unsigned int family = eax >> 8 & 15, model = eax >> 4 & 15;

	out[0] = family == 15 ? family + (eax >> 20 & 255) : family;
	out[1] = family == 15 || family == 6 ? model | (eax >> 16 & 15) << 4 : model;
	out[2] = eax & 15;
}

static struct json_object *host_json(const struct cpu_host *h)
{
	struct json_object *o = baseline_json(h->nearest, h->vendor, &h->require, &h->disable);
	unsigned int s[3];

	signature(h->signature, s);
	json_object_object_add(o, "family", json_object_new_int((int)s[0]));
	json_object_object_add(o, "model-number", json_object_new_int((int)s[1]));
	json_object_object_add(o, "stepping", json_object_new_int((int)s[2]));
	json_object_object_add(o, "physical-address-bits", json_object_new_int((int)h->info.phys_bits));
	json_object_object_add(o, "tsc-khz", json_object_new_int64(h->info.tsc_khz));
	json_object_object_add(o, "tsc-scaling",
			       json_object_new_boolean(h->info.features & HVX_FEAT_TSC_SCALING));
	return o;
}

static void print_host_cpu(const struct cpu_host *h)
{
	unsigned int s[3];

	signature(h->signature, s);
	puts("    <cpu>\n      <arch>x86_64</arch>");
	printf("      <model>%s</model>\n", h->nearest->name);
	if (*cpu_vendor_name(h->vendor))
		printf("      <vendor>%s</vendor>\n", cpu_vendor_name(h->vendor));
	printf("      <signature family='%u' model='%u' stepping='%u'/>\n", s[0], s[1], s[2]);
	if (h->info.tsc_khz)
		printf("      <counter name='tsc' frequency='%u000' scaling='%s'/>\n", h->info.tsc_khz,
		       h->info.features & HVX_FEAT_TSC_SCALING ? "yes" : "no");
	printf("      <maxphysaddr mode='emulate' bits='%u'/>\n", h->info.phys_bits);
	/* What the model has and this host has not: libvirt's form of it, too. */
	cpudesc_print_features(&h->require, &h->disable, false, "      ");
	puts("    </cpu>");
}

/* A verb without arguments that tells of this host, in XML or with --json. */
static int tell(const struct cli_cmd *cmd, int argc, char **argv, void (*xml)(const struct cpu_host *h),
		void (*json)(const struct cpu_host *h, struct json_object *o))
{
	const char *v[2];
	struct cpu_host h;
	int status = cli_parse(cmd, argc, argv, v, 0, 0);

	if (status >= 0)
		return status;
	cpu_host_get(&h);
	if (v[0]) {
		struct json_object *o = json_object_new_object();

		json(&h, o);
		put_json(o);
	} else {
		xml(&h);
	}
	return VMM_OK;
}

static void capabilities_json(const struct cpu_host *h, struct json_object *o)
{
	json_object_object_add(o, "cpu", host_json(h));
}

static void capabilities_xml(const struct cpu_host *h)
{
	puts("<capabilities>\n\n  <host>");
	print_host_cpu(h);
	puts("    <migration_features>\n      <live/>\n      <uri_transports>\n"
	     "        <uri_transport>tcp</uri_transport>\n        <uri_transport>tls</uri_transport>\n"
	     "        <uri_transport>ssh</uri_transport>\n        <uri_transport>unix</uri_transport>\n"
	     "      </uri_transports>\n    </migration_features>\n  </host>\n");
	printf("  <guest>\n    <os_type>hvm</os_type>\n    <arch name='x86_64'>\n      <wordsize>64</wordsize>\n"
	       "      <machine maxCpus='%u'>q35</machine>\n      <domain type='kvm'/>\n    </arch>\n  </guest>\n\n",
	       HVX_MAX_VCPUS);
	puts("</capabilities>");
}

static int cmd_capabilities(const struct cli_cmd *cmd, int argc, char **argv)
{
	return tell(cmd, argc, argv, capabilities_xml, capabilities_json);
}

static const struct cli_cmd capabilities_verb = {
	.name = "capabilities", .group = CLI_TOOLS, .args = "", .run = cmd_capabilities,
	.summary = "print what this host has, in libvirt's XML",
	.help =
"The CPU that guests can have here, as a model and the features besides, and what else\n"
"libvirt's <capabilities> tell that hvx has. For `hvx cpu-baseline` and `hvx cpu-compare`.\n",
	.opts = OPTS({ "json", 'j', NULL, "print {cpu: {model, vendor, require, disable, ...}}" }),
};
CLI_VERB(capabilities_verb);

static void print_models(const struct cpu_host *h)
{
	const struct cpu_model *m;
	int f;

	for (m = cpu_models; m->name; m++) {
		struct cpu_set lacks = blockers(m, h);
		const char *vendor = cpu_vendor_name(cpu_model_vendor(m));

		printf("      <model usable='%s' vendor='%s'>%s</model>\n", cpu_set_count(&lacks) ? "no" : "yes",
		       *vendor ? vendor : "unknown", m->name);
		if (!cpu_set_count(&lacks))
			continue;
		printf("      <blockers model='%s'>\n", m->name);
		for (f = -1; (f = cpu_set_next(&lacks, f)) >= 0;)
			printf("        <feature name='%s'/>\n", cpu_feature_name(f));
		puts("      </blockers>");
	}
}

static void domcapabilities_json(const struct cpu_host *h, struct json_object *o)
{
	json_object_object_add(o, "host-model", host_json(h));
	json_object_object_add(o, "max-vcpus", json_object_new_int(HVX_MAX_VCPUS));
}

static void domcapabilities_xml(const struct cpu_host *h)
{
	struct cpu_set require = h->require;

	printf("<domainCapabilities>\n  <domain>kvm</domain>\n  <machine>q35</machine>\n  <arch>x86_64</arch>\n"
	       "  <vcpu max='%u'/>\n  <cpu>\n", HVX_MAX_VCPUS);
	puts("    <mode name='host-passthrough' supported='yes'>\n      <enum name='hostPassthroughMigratable'>\n"
	     "        <value>on</value>\n        <value>off</value>\n      </enum>\n    </mode>\n"
	     "    <mode name='maximum' supported='yes'/>\n    <mode name='host-model' supported='yes'>");
	printf("      <model fallback='allow'>%s</model>\n", h->nearest->name);
	if (*cpu_vendor_name(h->vendor))
		printf("      <vendor>%s</vendor>\n", cpu_vendor_name(h->vendor));
	cpu_set_sub(&require, "invtsc");
	cpudesc_print_features(&require, &h->disable, true, "      ");
	puts("    </mode>\n    <mode name='custom' supported='yes'>");
	print_models(h);
	puts("    </mode>\n  </cpu>\n</domainCapabilities>");
}

static int cmd_domcapabilities(const struct cli_cmd *cmd, int argc, char **argv)
{
	return tell(cmd, argc, argv, domcapabilities_xml, domcapabilities_json);
}

static const struct cli_cmd domcapabilities_verb = {
	.name = "domcapabilities", .group = CLI_TOOLS, .args = "", .run = cmd_domcapabilities,
	.summary = "print what guests can have, in libvirt's XML",
	.help =
"The part <cpu> of libvirt's <domainCapabilities>: the modes, the CPU that host-model gives\n"
"here, and for each model what keeps it from being usable.\n",
	.opts = OPTS({ "json", 'j', NULL, "print {host-model, max-vcpus}" }),
};
CLI_VERB(domcapabilities_verb);
