// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "snapxml.h"
#include "vmm/domxml_int.h"

struct reader {
	struct snap_xml *x;
	const char *file;
	const struct domain *dom;
	int ret;
};

static void __attribute__((format(printf, 3, 4))) wrong(struct reader *r, const xmlNode *n, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_error("%s:%ld: <%s>: %s", r->file, xmlGetLineNo(n), (const char *)n->name, text);
	r->ret = -1;
}

static bool called(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name);
}

/* Only these attributes; names: ended by NULL. */
static void only(struct reader *r, const xmlNode *n, const char *const *names)
{
	for (const xmlAttr *a = n->properties; a; a = a->next) {
		const char *const *known = names;

		while (*known && strcmp(*known, (const char *)a->name))
			known++;
		if (!*known)
			wrong(r, n, "%s=: not known here; remove it", (const char *)a->name);
	}
}

static void text_of(struct reader *r, xmlNode *n, char **out)
{
	xmlChar *s = xmlNodeGetContent(n);

	only(r, n, (const char *const[]){ NULL });
	if (*out)
		wrong(r, n, "given twice; keep one");
	else
		*out = strdup(s ? (char *)s : "");
	xmlFree(s);
}

static void memory(struct reader *r, xmlNode *n)
{
	xmlChar *s = xmlGetProp(n, (const xmlChar *)"snapshot"), *file = xmlGetProp(n, (const xmlChar *)"file");
	const char *how = s ? (char *)s : "";

	only(r, n, (const char *const[]){ "snapshot", "file", NULL });
	if (file)
		wrong(r, n, "file=: hvx keeps the memory among the guest's snapshots; remove it");
	if (!strcmp(how, "no"))
		r->x->no_memory = true;
	else if (!strcmp(how, "internal") || !strcmp(how, "external"))
		r->x->memory = true;
	else
		wrong(r, n, "snapshot='%.64s': write 'internal', or 'no'", how);
	xmlFree(file);
	xmlFree(s);
}

static const struct dom_disk *find_disk(const struct domain *dom, const char *name)
{
	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];

		if ((d->target && !strcmp(d->target, name)) || (d->file && !strcmp(d->file, name)))
			return d;
	}
	return NULL;
}

static void disk(struct reader *r, xmlNode *n)
{
	xmlChar *name = xmlGetProp(n, (const xmlChar *)"name"), *s = xmlGetProp(n, (const xmlChar *)"snapshot");
	const struct dom_disk *d = name ? find_disk(r->dom, (char *)name) : NULL;
	const char *how = s ? (char *)s : "external";
	bool out = d && (d->readonly || d->transient || d->cdrom || !d->file);

	only(r, n, (const char *const[]){ "name", "snapshot", "type", NULL });
	if (!d)
		wrong(r, n, "name='%.128s': the guest has no such disk", name ? (char *)name : "");
	else if (!strcmp(how, "no") && !out)
		wrong(r, n, "snapshot='no': a snapshot has all disks that the guest writes to; make '%.64s' <readonly/> or <transient/>, or remove this",
		      (char *)name);
	else if (strcmp(how, "no") && strcmp(how, "external"))
		wrong(r, n, "snapshot='%.64s': write 'external'", how);
	else if (strcmp(how, "no") && out)
		wrong(r, n, "'%.64s' is read only or transient, and stays out of snapshots; write snapshot='no'", (char *)name);
	for (xmlNode *c = n->children; c; c = c->next)
		if (c->type == XML_ELEMENT_NODE)
			wrong(r, c, "hvx chooses the file and its format; remove it");
	xmlFree(name);
	xmlFree(s);
}

static void disks(struct reader *r, xmlNode *n)
{
	only(r, n, (const char *const[]){ NULL });
	for (xmlNode *c = n->children; c; c = c->next) {
		if (called(c, "disk"))
			disk(r, c);
		else if (c->type == XML_ELEMENT_NODE)
			wrong(r, c, "not known in <disks>; remove it");
	}
}

/* What `hvx snapshot-dumpxml` prints besides tells of a snapshot that is there. */
static bool of_another(const xmlNode *n)
{
	static const char *const names[] = { "state", "parent", "creationTime", "domain", "inactiveDomain", "active", "cookie" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (called(n, names[i]))
			return true;
	return false;
}

static void walk_snapshot(struct reader *r, xmlNode *root)
{
	only(r, root, (const char *const[]){ NULL });
	for (xmlNode *n = root->children; n; n = n->next) {
		if (n->type != XML_ELEMENT_NODE || of_another(n))
			continue;
		if (called(n, "name"))
			text_of(r, n, &r->x->name);
		else if (called(n, "description"))
			text_of(r, n, &r->x->description);
		else if (called(n, "memory"))
			memory(r, n);
		else if (called(n, "disks"))
			disks(r, n);
		else
			wrong(r, n, "not known in <domainsnapshot>; remove it");
	}
}

int snap_xml_parse(struct snap_xml *x, const char *file, const char *text, size_t len, const struct domain *dom)
{
	struct reader r = { x, file, dom, 0 };
	unsigned int line = 0;
	char *why = NULL;
	xmlDoc *doc = doc_parse(text, len, &line, &why);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	memset(x, 0, sizeof(*x));
	if (!root) {
		cli_error("%s:%u: %s", file, line, why ? why : "no element in it");
		r.ret = -1;
	} else if (!called(root, "domainsnapshot")) {
		wrong(&r, root, "the outermost element must be <domainsnapshot>");
	} else {
		walk_snapshot(&r, root);
	}
	if (x->memory && x->no_memory) {
		cli_error("%s: <memory>: given twice; keep one", file);
		r.ret = -1;
	}
	if (doc)
		xmlFreeDoc(doc);
	free(why);
	return r.ret;
}

void snap_xml_free(struct snap_xml *x)
{
	free(x->name);
	free(x->description);
	memset(x, 0, sizeof(*x));
}
