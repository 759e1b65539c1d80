// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "domxml_int.h"
#include "livexml.h"

static const char *const element[] = { [XML_DISK] = "disk", [XML_NIC] = "interface", [XML_MEM] = "memory" };

/* Other encodings are libc's to convert, with tables that it opens files for. */
static bool encoding_ok(const char *text, size_t len)
{
	char head[200];
	const char *enc, *end;

	snprintf(head, sizeof(head), "%.*s", (int)(len < sizeof(head) ? len : sizeof(head) - 1), text);
	if ((unsigned char)head[0] >= 0xfe || strncmp(head, "<?xml", 5))
		return (unsigned char)head[0] < 0xfe;
	end = strstr(head, "?>");
	enc = strstr(head, "encoding");
	if (!enc || (end && enc > end))
		return true;
	enc += strcspn(enc, "'\"");
	return *enc && (!strncasecmp(enc + 1, "utf-8", 5) || !strncasecmp(enc + 1, "us-ascii", 8));
}

static xmlDoc *parse(const char *text, size_t len, const char **why)
{
	unsigned int line = 0;
	char *text_why = NULL;
	xmlDoc *doc = NULL;

	*why = "the XML is not in UTF-8; convert it with iconv -t UTF-8";
	if (encoding_ok(text, len)) {
		doc = doc_parse(text, len, &line, &text_why);
		*why = "not well-formed XML";
	}
	free(text_why);
	return doc;
}

static char *dump(xmlDoc *doc, size_t *len, const char **why)
{
	xmlChar *text = NULL;
	char *copy;
	int n = 0;

	xmlDocDumpMemory(doc, &text, &n);
	copy = text ? strndup((char *)text, (size_t)n) : NULL;
	if (len)
		*len = copy ? (size_t)n : 0;
	xmlFree(text);
	if (!copy)
		*why = "out of memory";
	return copy;
}

static bool is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name);
}

/* The id in an interface's alias; NULL: it has none that is ours. */
static const char *alias_of(const xmlNode *nic)
{
	const char *name = x_attr(x_child(nic, "alias"), "name");

	return name && !strncmp(name, XML_ALIAS, strlen(XML_ALIAS)) ? name + strlen(XML_ALIAS) : NULL;
}

static int set_alias(xmlNode *nic, const char *id)
{
	xmlNode *alias = x_child(nic, "alias");
	char name[64];

	snprintf(name, sizeof(name), XML_ALIAS "%s", id);
	if (!alias)
		alias = xmlNewChild(nic, NULL, (const xmlChar *)"alias", NULL);
	return alias && xmlSetProp(alias, (const xmlChar *)"name", (const xmlChar *)name) ? 0 : -1;
}

static void id_of(const xmlNode *nic, unsigned int index, char *id, size_t size)
{
	const char *alias = alias_of(nic);

	if (alias)
		snprintf(id, size, "%s", alias);
	else
		snprintf(id, size, "net%u", index % 1000);
}

static bool nic_matches(const xmlNode *n, unsigned int index, const struct xml_ref *ref)
{
	const char *mac = x_attr(x_child(n, "mac"), "address");
	uint8_t have[6];
	char id[64];

	if (ref->mac)
		return mac && !parse_mac(mac, have) && !memcmp(have, ref->mac, sizeof(have));
	id_of(n, index, id, sizeof(id));
	return !strcmp(id, ref->id);
}

/* id NULL: the only one. */
static xmlNode *find_memdev(xmlNode *devices, const char *id)
{
	xmlNode *n = x_child(devices, "memory");
	unsigned int place = 0;
	char name[24];

	if (!id)
		return n && !x_next(n, "memory") ? n : NULL;
	for (; n; n = x_next(n, "memory"), place++) {
		const char *alias = x_attr(x_child(n, "alias"), "name");

		snprintf(name, sizeof(name), "virtiomem%u", place % 1000);
		if (alias ? !strcmp(alias, id) : !strcmp(name, id))
			return n;
	}
	return NULL;
}

static xmlNode *find(xmlNode *devices, const struct xml_ref *ref)
{
	const char *dev;
	unsigned int nics = 0;
	xmlNode *n;

	if (ref->kind == XML_MEM)
		return find_memdev(devices, ref->id);
	for (n = devices ? devices->children : NULL; n; n = n->next) {
		if (!is(n, element[ref->kind]))
			continue;
		if (ref->kind == XML_NIC && nic_matches(n, nics++, ref))
			return n;
		dev = ref->kind == XML_DISK ? x_attr(x_child(n, "target"), "dev") : NULL;
		if (dev && ref->id && !strcmp(dev, ref->id))
			return n;
	}
	return NULL;
}

static xmlNode *devices_of(xmlDoc *doc)
{
	return x_child(xmlDocGetRootElement(doc), "devices");
}

static int pin_names(xmlNode *devices)
{
	unsigned int nics = 0;
	char id[64];
	xmlNode *n;

	for (n = devices->children; n; n = n->next) {
		if (!is(n, element[XML_NIC]))
			continue;
		id_of(n, nics++, id, sizeof(id));
		if (set_alias(n, id))
			return -1;
	}
	return 0;
}

static int name_memdev(xmlNode *memory, const char *id)
{
	xmlNode *alias = x_child(memory, "alias");

	if (!alias)
		alias = xmlNewChild(memory, NULL, (const xmlChar *)"alias", NULL);
	return alias && xmlSetProp(alias, (const xmlChar *)"name", (const xmlChar *)id) ? 0 : -1;
}

char *livexml_add(const char *xml, size_t len, const char *snippet, const char *id, size_t *out_len,
		  const char **why)
{
	xmlDoc *doc = parse(xml, len, why), *part = doc ? parse(snippet, strlen(snippet), why) : NULL;
	xmlNode *root = part ? xmlDocGetRootElement(part) : NULL, *copy = NULL, *devices;
	char *text = NULL;

	if (!root)
		goto out;
	*why = "not a <disk>, an <interface> or a <memory>";
	if (!is(root, element[XML_DISK]) && !is(root, element[XML_NIC]) && !is(root, element[XML_MEM]))
		goto out;
	*why = "out of memory";
	devices = devices_of(doc);
	if (!devices)
		devices = xmlNewChild(xmlDocGetRootElement(doc), NULL, (const xmlChar *)"devices", NULL);
	copy = devices ? xmlDocCopyNode(root, doc, 1) : NULL;
	if (!copy || (id && is(copy, element[XML_NIC]) && set_alias(copy, id)) ||
	    (id && is(copy, element[XML_MEM]) && name_memdev(copy, id)))
		goto out;
	/* As the lines around it: two columns more than </devices>. */
	xmlAddChild(devices, xmlNewText((const xmlChar *)"  "));
	xmlAddChild(devices, copy);
	copy = NULL;
	xmlAddChild(devices, xmlNewText((const xmlChar *)"\n  "));
	text = dump(doc, out_len, why);
out:
	xmlFreeNode(copy);
	xmlFreeDoc(part);
	xmlFreeDoc(doc);
	return text;
}

char *livexml_remove(const char *xml, size_t len, const struct xml_ref *ref, bool pin,
		     size_t *out_len, const char **why)
{
	xmlDoc *doc = parse(xml, len, why);
	xmlNode *devices = doc ? devices_of(doc) : NULL, *n, *space;
	char *text = NULL;

	if (!doc)
		return NULL;
	n = find(devices, ref);
	*why = n ? "out of memory" : "there is no such device in the XML";
	if (n && (!pin || !pin_names(devices))) {
		space = n->prev;
		if (space && space->type == XML_TEXT_NODE && xmlIsBlankNode(space)) {
			xmlUnlinkNode(space);
			xmlFreeNode(space);
		}
		xmlUnlinkNode(n);
		xmlFreeNode(n);
		text = dump(doc, out_len, why);
	}
	xmlFreeDoc(doc);
	return text;
}

char *livexml_device(const char *xml, size_t len, const struct xml_ref *ref, const char **why)
{
	xmlDoc *doc = parse(xml, len, why);
	xmlNode *n = doc ? find(devices_of(doc), ref) : NULL;
	xmlBuffer *buf;
	char *text = NULL;

	if (doc && !n)
		*why = "there is no such device in the XML";
	buf = n ? xmlBufferCreate() : NULL;
	if (buf && xmlNodeDump(buf, doc, n, 2, 1) > 0)
		text = strdup((const char *)xmlBufferContent(buf));
	if (n && !text)
		*why = "out of memory";
	xmlBufferFree(buf);
	xmlFreeDoc(doc);
	return text;
}

char *livexml_vcpus(const char *xml, size_t len, unsigned int now, unsigned int max, size_t *out_len, const char **why)
{
	xmlDoc *doc = parse(xml, len, why);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL, *n = x_child(root, "vcpu");
	char text[16], *out = NULL;
	xmlChar *old;

	if (!doc)
		return NULL;
	*why = "out of memory";
	if (!n)
		n = xmlNewChild(root, NULL, (const xmlChar *)"vcpu", (const xmlChar *)"1");
	if (n && max) {
		snprintf(text, sizeof(text), "%u", max);
		xmlNodeSetContent(n, (const xmlChar *)text);
	}
	old = n ? xmlNodeGetContent(n) : NULL;
	snprintf(text, sizeof(text), "%u", now);
	if (old && strtoul((const char *)old, NULL, 10) == now)
		xmlUnsetProp(n, (const xmlChar *)"current");
	else if (old)
		xmlSetProp(n, (const xmlChar *)"current", (const xmlChar *)text);
	if (old)
		out = dump(doc, out_len, why);
	xmlFree(old);
	xmlFreeDoc(doc);
	return out;
}

static void drop_children(xmlNode *n, const char *name)
{
	xmlNode *c, *next;

	for (c = n->children; c; c = next) {
		next = c->next;
		if (!is(c, name))
			continue;
		/* With the white space before it. */
		if (c->prev && xmlIsBlankNode(c->prev)) {
			xmlNode *blank = c->prev;

			xmlUnlinkNode(blank);
			xmlFreeNode(blank);
		}
		xmlUnlinkNode(c);
		xmlFreeNode(c);
	}
}

/* A child of <cpu> in the given place (NULL: the last one), on a line of its own. */
static xmlNode *cpu_child(xmlNode *cpu, xmlNode *before, const char *name, const char *text)
{
	xmlNode *n = xmlNewDocNode(cpu->doc, NULL, (const xmlChar *)name, NULL);
	xmlNode *blank = xmlNewDocText(cpu->doc, (const xmlChar *)"\n    ");

	if (!n || !blank)
		return NULL;
	if (text)
		xmlNodeAddContent(n, (const xmlChar *)text);
	if (before) {
		xmlAddPrevSibling(before, n);
		xmlAddPrevSibling(n, blank);
	} else {
		xmlAddChild(cpu, blank);
		xmlAddChild(cpu, n);
	}
	return n;
}

static int write_cpu(xmlNode *cpu, const char *model, const char *vendor, const struct xml_cpu_feature *f,
		     unsigned int nr)
{
	xmlNode *first, *n;
	unsigned int i;

	drop_children(cpu, "model");
	drop_children(cpu, "vendor");
	drop_children(cpu, "feature");
	xmlUnsetProp(cpu, (const xmlChar *)"migratable");
	xmlSetProp(cpu, (const xmlChar *)"mode", (const xmlChar *)"custom");
	xmlSetProp(cpu, (const xmlChar *)"match", (const xmlChar *)"exact");
	xmlSetProp(cpu, (const xmlChar *)"check", (const xmlChar *)"full");
	for (n = cpu->last; n && xmlIsBlankNode(n); n = cpu->last) {
		xmlUnlinkNode(n);
		xmlFreeNode(n);
	}
	first = cpu->children;
	n = cpu_child(cpu, first, "model", model);
	if (!n)
		return -1;
	xmlSetProp(n, (const xmlChar *)"fallback", (const xmlChar *)"allow");
	if (vendor && *vendor)
		cpu_child(cpu, first, "vendor", vendor);
	for (i = 0; i < nr; i++) {
		n = cpu_child(cpu, NULL, "feature", NULL);
		if (!n)
			return -1;
		xmlSetProp(n, (const xmlChar *)"policy", (const xmlChar *)(f[i].disable ? "disable" : "require"));
		xmlSetProp(n, (const xmlChar *)"name", (const xmlChar *)f[i].name);
	}
	xmlAddChild(cpu, xmlNewDocText(cpu->doc, (const xmlChar *)"\n  "));
	return 0;
}

char *livexml_cpu(const char *xml, size_t len, const char *model, const char *vendor,
		  const struct xml_cpu_feature *f, unsigned int nr, size_t *out_len, const char **why)
{
	xmlDoc *doc = parse(xml, len, why);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL, *n = x_child(root, "cpu");
	char *text = NULL;

	if (root && !n)
		n = xmlNewChild(root, NULL, (const xmlChar *)"cpu", NULL);
	if (n && !write_cpu(n, model, vendor, f, nr))
		text = dump(doc, out_len, why);
	else if (root)
		*why = "out of memory";
	xmlFreeDoc(doc);
	return text;
}

static xmlNode *own_child(xmlNode *n, const char *name)
{
	xmlNode *c = x_child(n, name);

	return c ? c : xmlNewChild(n, NULL, (const xmlChar *)name, NULL);
}

char *livexml_memdev(const char *xml, size_t len, const char *id, uint64_t requested, uint64_t base,
		     size_t *out_len, const char **why)
{
	xmlDoc *doc = parse(xml, len, why);
	xmlNode *n = doc ? find_memdev(devices_of(doc), id) : NULL, *target, *child;
	char text[24], *out = NULL;

	if (doc)
		*why = n ? "out of memory" : "there is no such device in the XML";
	target = n ? own_child(n, "target") : NULL;
	child = target ? own_child(target, "requested") : NULL;
	if (child) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)requested >> 10);
		xmlNodeSetContent(child, (const xmlChar *)text);
		xmlSetProp(child, (const xmlChar *)"unit", (const xmlChar *)"KiB");
		child = base ? own_child(target, "address") : NULL;
		snprintf(text, sizeof(text), "%#llx", (unsigned long long)base);
		if (child)
			xmlSetProp(child, (const xmlChar *)"base", (const xmlChar *)text);
		child = own_child(n, "alias");
		if (child && xmlSetProp(child, (const xmlChar *)"name", (const xmlChar *)id))
			out = dump(doc, out_len, why);
	}
	xmlFreeDoc(doc);
	return out;
}

int livexml_kind(const char *snippet, size_t len, enum xml_dev *kind, char **target, uint8_t mac[6],
		 bool *has_mac, const char **why)
{
	xmlDoc *doc = parse(snippet, len, why);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	const char *value;
	int ret = -1;

	if (!doc)
		return -1;
	*target = NULL;
	*has_mac = false;
	if (is(root, element[XML_DISK])) {
		*kind = XML_DISK;
		value = x_attr(x_child(root, "target"), "dev");
		*target = value ? strdup(value) : NULL;
		*why = "no <target dev=>: it tells which disk";
		ret = *target ? 0 : -1;
	} else if (is(root, element[XML_NIC])) {
		*kind = XML_NIC;
		value = x_attr(x_child(root, "mac"), "address");
		*has_mac = value && !parse_mac(value, mac);
		ret = 0;
	} else if (is(root, element[XML_MEM])) {
		*kind = XML_MEM;
		value = x_attr(x_child(root, "alias"), "name");
		*target = value ? strdup(value) : NULL;
		ret = 0;
	} else {
		*why = "only <disk>, <interface> and <memory> can be plugged";
	}
	xmlFreeDoc(doc);
	return ret;
}
