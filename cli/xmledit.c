// SPDX-License-Identifier: GPL-2.0-only
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "vmm/domxml_int.h"
#include "xmledit.h"

xmlDoc *xmledit_open(const char *text, size_t len)
{
	unsigned int line = 0;
	char *why = NULL;
	xmlDoc *doc = doc_parse(text, len, &line, &why);

	if (!doc)
		cli_error("XML, line %u: %s", line, why ? why : "out of memory");
	free(why);
	return doc;
}

char *xmledit_text(xmlDoc *doc, size_t *len)
{
	xmlChar *text = NULL;
	char *copy;
	int n = 0;

	xmlDocDumpMemory(doc, &text, &n);
	copy = text ? strndup((char *)text, (size_t)n) : NULL;
	*len = copy ? (size_t)n : 0;
	xmlFree(text);
	return copy;
}

static bool is(const xmlNode *n, const char *name)
{
	return n && n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name);
}

static xmlNode *child_of(xmlNode *parent, const char *name)
{
	for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
		if (is(n, name))
			return n;
	return NULL;
}

void xmledit_set(xmlDoc *doc, const char *child, const char *text)
{
	xmlNode *root = xmlDocGetRootElement(doc), *n = child_of(root, child), *name;

	if (n) {
		xmlNodeSetContent(n, NULL);
	} else {
		name = child_of(root, "name");
		n = xmlNewNode(NULL, (const xmlChar *)child);
		if (!n)
			return;
		if (name && name->next)
			xmlAddNextSibling(name->next, n);	/* after its line's end */
		else
			xmlAddChild(root, n);
		xmlAddNextSibling(n, xmlNewText((const xmlChar *)"\n  "));
	}
	xmlNodeAddContent(n, (const xmlChar *)text);
}

void xmledit_set_uuid(xmlDoc *doc, const uint8_t u[16])
{
	char text[37];

	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
	xmledit_set(doc, "uuid", text);
}

/* ----------------------------------------------------------------- paths */

/* "a,b" -> "/folder/a,/folder/b"; NULL: out of memory. */
static char *prefixed(const char *folder, const char *paths)
{
	size_t pieces = 1;
	char *out, *to;

	for (const char *p = paths; *p; p++)
		pieces += *p == ',';
	out = malloc(strlen(paths) + pieces * (strlen(folder) + 1) + 1);
	if (!out)
		return NULL;
	to = out;
	for (const char *p = paths, *end; ; p = end + 1) {
		end = strchrnul(p, ',');
		if (*p != '/')
			to += sprintf(to, "%s/", folder);
		to = mempcpy(to, p, (size_t)(end - p));
		if (!*end)
			break;
		*to++ = ',';
	}
	*to = '\0';
	return out;
}

static void fix_text(xmlNode *n, const char *folder)
{
	xmlChar *raw = xmlNodeGetContent(n);
	char *text = (char *)raw, *fixed;
	size_t len;

	if (!text)
		return;
	text += strspn(text, " \t\r\n");
	for (len = strlen(text); len && strchr(" \t\r\n", text[len - 1]); len--)
		text[len - 1] = '\0';
	fixed = *text && (*text != '/' || strchr(text, ',')) ? prefixed(folder, text) : NULL;
	if (fixed) {
		xmlNodeSetContent(n, NULL);
		xmlNodeAddContent(n, (const xmlChar *)fixed);
	}
	free(fixed);
	xmlFree(raw);
}

static void fix_attr(xmlNode *n, const char *attr, const char *folder)
{
	xmlChar *value = xmlGetProp(n, (const xmlChar *)attr);
	char *fixed = NULL;

	if (value && *value && *value != '/' && asprintf(&fixed, "%s/%s", folder, (char *)value) > 0)
		xmlSetProp(n, (const xmlChar *)attr, (const xmlChar *)fixed);
	free(fixed);
	xmlFree(value);
}

static void fix_devices(xmlNode *devices, const char *folder)
{
	for (xmlNode *dev = devices ? devices->children : NULL; dev; dev = dev->next) {
		bool disk = is(dev, "disk");

		for (xmlNode *n = dev->children; n; n = n->next) {
			if (is(n, "source")) {
				fix_attr(n, "file", folder);
				if (!disk && !is(dev, "interface"))
					fix_attr(n, "path", folder);
			} else if (is(n, "log")) {
				fix_attr(n, "file", folder);
			}
		}
	}
}

int xmledit_absolute(xmlDoc *doc, const char *file)
{
	static const char *const texts[] = { "kernel", "initrd", "loader", "nvram" };
	xmlNode *root = xmlDocGetRootElement(doc), *os = child_of(root, "os"), *n;
	const char *slash = strrchr(file, '/');
	char *part = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
	char *folder = part ? realpath(part, NULL) : NULL;

	free(part);
	if (!folder) {
		cli_error("%s: its folder cannot be found", file);
		return -1;
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		n = child_of(os, texts[i]);
		if (n)
			fix_text(n, folder);
	}
	n = child_of(os, "nvram");
	if (n)
		fix_attr(n, "template", folder);
	fix_devices(child_of(root, "devices"), folder);
	free(folder);
	return 0;
}

/* ------------------------------------------------------------ for clones */

void xmledit_drop_macs(xmlDoc *doc)
{
	xmlNode *devices = child_of(xmlDocGetRootElement(doc), "devices"), *mac;

	for (xmlNode *dev = devices ? devices->children : NULL; dev; dev = dev->next) {
		mac = is(dev, "interface") ? child_of(dev, "mac") : NULL;
		if (mac) {
			xmlUnlinkNode(mac);
			xmlFreeNode(mac);
		}
	}
}

void xmledit_move_disk(xmlDoc *doc, const char *from, const char *to)
{
	xmlNode *devices = child_of(xmlDocGetRootElement(doc), "devices"), *source;

	for (xmlNode *dev = devices ? devices->children : NULL; dev; dev = dev->next) {
		xmlChar *file;

		source = is(dev, "disk") ? child_of(dev, "source") : NULL;
		file = source ? xmlGetProp(source, (const xmlChar *)"file") : NULL;
		if (file && !strcmp((char *)file, from))
			xmlSetProp(source, (const xmlChar *)"file", (const xmlChar *)to);
		xmlFree(file);
	}
}

static void copy_file(xmlNode *from, xmlNode *to)
{
	xmlNode *source = child_of(from, "source");
	xmlChar *file = source ? xmlGetProp(source, (const xmlChar *)"file") : NULL;

	if (file && to)
		xmlSetProp(to, (const xmlChar *)"file", file);
	xmlFree(file);
}

static void flatten(xmlNode *disk)
{
	xmlNode *back = child_of(disk, "backingStore"), *low = back, *driver = child_of(disk, "driver");

	if (!back || !child_of(back, "source"))
		return;
	while (child_of(low, "backingStore") && child_of(child_of(low, "backingStore"), "source"))
		low = child_of(low, "backingStore");
	copy_file(low, child_of(disk, "source"));
	if (driver)
		xmlSetProp(driver, (const xmlChar *)"type", (const xmlChar *)"raw");
	xmlUnlinkNode(back);
	xmlFreeNode(back);
}

void xmledit_flatten_disk(xmlDoc *doc, const char *target)
{
	xmlNode *devices = child_of(xmlDocGetRootElement(doc), "devices");

	for (xmlNode *dev = devices ? devices->children : NULL; dev; dev = dev->next) {
		xmlNode *t = is(dev, "disk") ? child_of(dev, "target") : NULL;
		xmlChar *name = t ? xmlGetProp(t, (const xmlChar *)"dev") : NULL;

		if (name && !strcmp((char *)name, target))
			flatten(dev);
		xmlFree(name);
	}
}
