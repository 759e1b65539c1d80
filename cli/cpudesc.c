// SPDX-License-Identifier: GPL-2.0-only
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cpudesc.h"
#include "vmm/cpu.h"
#include "vmm/domxml_int.h"

/* ------------------------------------------------------------------ this host */

#define XCR0_GUESTS	0x2e7	/* what guests get of XCR0: x87, SSE, AVX, AVX-512, PKRU */

/* As the module would tell it. */
static void guess(struct hvx_info *info)
{
	uint32_t a, b, c, d;

	memset(info, 0, sizeof(*info));
	info->cr4 = info->efer = ~0ULL;
	info->xcr0 = 3;
	info->phys_bits = 36;
	if (__get_cpuid(1, &a, &b, &c, &d) && (c >> 27 & 1)) {
		__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
		info->xcr0 = a & XCR0_GUESTS;
	}
	if (__get_cpuid(0x80000008, &a, &b, &c, &d))
		info->phys_bits = a & 0xff;
	info->xsave_size = 576;
	if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
		info->xsave_size = c;
}

void cpu_host_get(struct cpu_host *h)
{
	struct hvx_cpuid_entry table[HVX_MAX_CPUID], *e;
	struct cpu_set possible = cpu_possible(), movable;
	struct hv hv;
	unsigned int n;

	memset(h, 0, sizeof(*h));
	h->module = !hv_open(&hv, &hv_hvx, NULL, 0);
	if (h->module) {
		h->info = hv.info;
		hv_close(&hv);
	} else {
		guess(&h->info);
		fprintf(stderr, "hvx: warning: /dev/hvx cannot be asked (see `hvx host`); what guests can have is worked out from the CPU alone\n");
	}
	n = cpu_host_table(&h->info, table);
	h->vendor = cpu_vendor_of(table, n);
	h->set = cpu_set_of(table, n);
	h->set = cpu_set_for_xml(&h->set);
	e = cpuid_entry(table, n, 1, 0);
	h->signature = e ? e->eax : 0;
	movable = h->set;
	cpu_set_sub(&movable, "invtsc");
	h->nearest = cpu_model_nearest(&movable, h->vendor, &possible);
	cpu_model_differences(h->nearest, &h->set, &h->require, &h->disable);
}

/* ------------------------------------------------------------------------ XML */

static bool is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name);
}

struct reader {
	const char *file;
	struct cpu_desc *list;
	unsigned int *nr;
	struct px px;		/* for x_text() */
};

static int bad(const struct reader *r, const xmlNode *n, const char *why)
{
	cli_error("%s:%ld: %s", r->file, xmlGetLineNo(n), why);
	return -1;
}

static void add_feature(struct cpu_desc *d, const xmlNode *n)
{
	const char *name = x_attr(n, "name"), *policy = x_attr(n, "policy");
	int f = name ? cpu_feature(name) : -1;
	size_t len = strlen(d->unknown);

	if (!name || (policy && !strcmp(policy, "optional")))
		return;
	if (policy && (!strcmp(policy, "disable") || !strcmp(policy, "forbid")))
		cpu_take(&d->set, f);
	else if (f >= 0)
		cpu_give(&d->set, f);
	else if (len + strlen(name) + 3 < sizeof(d->unknown))
		sprintf(d->unknown + len, "%s%s", len ? ", " : "", name);
}

/* A <cpu>, or the <mode> of <domainCapabilities> that is host-model. */
static int add_cpu(struct reader *r, xmlNode *n)
{
	struct cpu_desc *d = &r->list[*r->nr];
	xmlNode *model = x_child(n, "model"), *c;
	const char *name = model ? x_text(&r->px, model) : "", *vendor;

	if (*r->nr == CPUDESC_MAX)
		return bad(r, n, "too many <cpu>");
	memset(d, 0, sizeof(*d));
	snprintf(d->where, sizeof(d->where), "%s:%ld", r->file, xmlGetLineNo(n));
	if (*name) {
		d->model = cpu_model_find(name);
		if (!d->model)
			return bad(r, model, "<model>: not known; `hvx cpu-models` lists those that are");
		d->set = cpu_model_set(d->model);
	} else if (!x_child(n, "feature")) {
		return bad(r, n, "<cpu> without <model> and <feature> tells nothing of a CPU; take what `hvx capabilities` prints on its host");
	}
	vendor = x_child(n, "vendor") ? x_text(&r->px, x_child(n, "vendor")) : "";
	d->vendor = *vendor ? cpu_vendor_by_name(vendor) : d->model ? cpu_model_vendor(d->model) : VENDOR_ANY;
	for (c = x_child(n, "feature"); c; c = x_next(c, "feature"))
		add_feature(d, c);
	++*r->nr;
	return 0;
}

static int visit(struct reader *r, xmlNode *root)
{
	xmlNode *n = root;

	if (is(root, "cpu"))
		return add_cpu(r, root);
	if (is(root, "capabilities"))
		n = x_child(root, "host");
	else if (is(root, "domainCapabilities"))
		for (n = x_child(x_child(root, "cpu"), "mode"); n; n = x_next(n, "mode"))
			if (x_is(n, "name", "host-model"))
				return add_cpu(r, n);
	n = n ? x_child(n, "cpu") : NULL;
	if (!n)
		return bad(r, root, "no <cpu> in it; what is taken is <cpu>, <domain>, <capabilities> and <domainCapabilities>");
	return add_cpu(r, n);
}

/* One document of all that are in the file, in the same lines. */
static char *wrap(char *text, size_t len, size_t *out_len)
{
	char *all = malloc(len + 16), *p, *end;

	if (!all)
		return NULL;
	memcpy(all, "<cpus>", 6);
	memcpy(all + 6, text, len);
	memcpy(all + 6 + len, "</cpus>", 8);
	*out_len = len + 13;
	for (p = all; (p = strstr(p, "<?xml ")); p = end) {
		end = strstr(p, "?>");
		end = end ? end + 2 : p + 5;
		for (; p < end; p++)
			*p = *p == '\n' ? '\n' : ' ';
	}
	return all;
}

int cpudesc_read(const char *file, struct cpu_desc *list, unsigned int *nr)
{
	bool in = !strcmp(file, "-");
	struct reader r = { .file = in ? "<stdin>" : file, .list = list, .nr = nr };
	unsigned int line = 0, before = *nr, i;
	size_t len = 0, all_len = 0;
	char *why = NULL, *text = doc_read(in ? NULL : file, in ? STDIN_FILENO : -1, DOMXML_MAX_FILE, &len, &why);
	char *all = text ? wrap(text, strnlen(text, len), &all_len) : NULL;
	xmlDoc *doc = all ? doc_parse(all, all_len, &line, &why) : NULL;
	xmlNode *n;
	int ret = doc ? 0 : -1;

	if (!doc && all)
		cli_error("%s:%u: %s", r.file, line, why ? why : "not well-formed XML");
	else if (!doc)
		cli_error("%s: %s", r.file, why ? why : "out of memory");
	for (n = doc ? xmlDocGetRootElement(doc)->children : NULL; n && !ret; n = n->next)
		if (n->type == XML_ELEMENT_NODE)
			ret = visit(&r, n);
	if (!ret && *nr == before) {
		cli_error("%s: no <cpu> in it", r.file);
		ret = -1;
	}
	for (i = 0; i < r.px.nr_scratch; i++)
		free(r.px.scratch[i]);
	free(r.px.scratch);
	xmlFreeDoc(doc);
	free(all);
	free(text);
	free(why);
	return ret;
}

void cpudesc_print_features(const struct cpu_set *require, const struct cpu_set *disable, bool policy,
			    const char *indent)
{
	int f;

	for (f = -1; require && (f = cpu_set_next(require, f)) >= 0;)
		printf("%s<feature %sname='%s'/>\n", indent, policy ? "policy='require' " : "", cpu_feature_name(f));
	for (f = -1; disable && (f = cpu_set_next(disable, f)) >= 0;)
		printf("%s<feature policy='disable' name='%s'/>\n", indent, cpu_feature_name(f));
}
