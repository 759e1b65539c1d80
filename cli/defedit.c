// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "cli.h"
#include "defedit.h"
#include "store.h"
#include "vmm/config.h"
#include "vmm/domxml_int.h"
#include "xmledit.h"

#define STEP_MAX 64U	/* bytes of a step of a path, or of a part of it */

static bool attr_is(xmlNode *n, const char *attr, const char *value)
{
	xmlChar *got = n ? xmlGetProp(n, (const xmlChar *)attr) : NULL;
	bool same = got && !strcasecmp((char *)got, value);

	xmlFree(got);
	return same;
}

/* --- devices --- */

static xmlNode *find_device(xmlNode *devices, enum def_base base, const char *id)
{
	const char *name = base == DEF_DISK ? "disk" : "interface";
	unsigned int nr = 0, want;
	char rest;
	bool numbered = base == DEF_NIC && sscanf(id, "net%u%c", &want, &rest) == 1;

	for (xmlNode *n = x_child(devices, name); n; n = x_next(n, name), nr++)
		if (numbered ? nr == want : base == DEF_DISK ? attr_is(x_child(n, "target"), "dev", id) :
					    attr_is(x_child(n, "mac"), "address", id))
			return n;
	return NULL;
}

int def_open(struct def *d, const char *guest, enum def_base base, const char *id)
{
	size_t len;
	char *text;

	*d = (struct def){ .guest = guest, .lock = store_lock() };
	if (d->lock < 0)
		return -1;
	text = store_read(guest, &len);
	if (!text)
		cli_error("%s: its definition: %s", guest, strerror(errno));
	d->doc = text ? xmledit_open(text, len) : NULL;
	free(text);
	if (!d->doc)
		return -1;
	d->base = xmlDocGetRootElement(d->doc);
	if (base == DEF_DOMAIN)
		return 0;
	d->base = find_device(x_child(d->base, "devices"), base, id);
	if (d->base)
		return 0;
	cli_error("%s: its definition has no %s %s", guest, base == DEF_DISK ? "disk" : "interface", id);
	return -1;
}

/* --- paths --- */

/* One step of *path: its name, and where it has one the attribute that tells the element from others. */
struct step {
	char name[STEP_MAX], attr[STEP_MAX], value[STEP_MAX];
};

static bool next_step(const char **path, struct step *s)
{
	size_t len = strcspn(*path, "/");
	char text[2 * STEP_MAX];

	if (!len || len >= sizeof(text))
		return false;
	memcpy(text, *path, len);
	text[len] = '\0';
	*path += len + ((*path)[len] == '/');
	*s = (struct step){ .attr = "" };
	return sscanf(text, "%63[^[][%63[^=]=%63[^]]", s->name, s->attr, s->value) >= 1;
}

static xmlNode *take_step(xmlNode *n, const struct step *s, bool make)
{
	xmlNode *c;

	for (c = x_child(n, s->name); c && s->attr[0] && !attr_is(c, s->attr, s->value); c = x_next(c, s->name))
		;
	if (c || !make)
		return c;
	/* A new part of the domain gets a line of its own. */
	if (n == xmlDocGetRootElement(n->doc))
		xmlNodeAddContent(n, (const xmlChar *)"  ");
	c = xmlNewChild(n, NULL, (const xmlChar *)s->name, NULL);
	if (c && n == xmlDocGetRootElement(n->doc))
		xmlAddNextSibling(c, xmlNewText((const xmlChar *)"\n"));
	if (c && s->attr[0] && !xmlSetProp(c, (const xmlChar *)s->attr, (const xmlChar *)s->value))
		return NULL;
	return c;
}

static xmlNode *follow(const struct def *d, const char *path, bool make)
{
	xmlNode *n = d->base;
	struct step s;

	while (n && next_step(&path, &s))
		n = take_step(n, &s, make);
	return n;
}

int def_put(struct def *d, const char *path, const char *attr, const char *text)
{
	xmlNode *n = follow(d, path, text != NULL);
	xmlChar *escaped;

	if (!n)
		return text ? -1 : 0;
	if (text && attr)
		return xmlSetProp(n, (const xmlChar *)attr, (const xmlChar *)text) ? 0 : -1;
	if (text) {
		escaped = xmlEncodeSpecialChars(d->doc, (const xmlChar *)text);
		xmlNodeSetContent(n, escaped);
		xmlFree(escaped);
		return escaped ? 0 : -1;
	}
	if (attr) {
		xmlUnsetProp(n, (const xmlChar *)attr);
	} else {
		xmlUnlinkNode(n);
		xmlFreeNode(n);
	}
	return 0;
}

char *def_get(const struct def *d, const char *path, const char *attr)
{
	xmlNode *n = follow(d, path, false);

	return !n ? NULL : (char *)(attr ? xmlGetProp(n, (const xmlChar *)attr) : xmlNodeGetContent(n));
}

/* --- keeping --- */

int def_check(struct def *d)
{
	struct domain *dom;

	d->text = xmledit_text(d->doc, &d->len);
	if (!d->text) {
		cli_error("out of memory");
		return -1;
	}
	dom = store_parse(d->guest, d->text, d->len, false);
	if (!dom)
		return -1;
	domain_free(dom);
	return 0;
}

int def_keep(struct def *d)
{
	if (!store_write(d->guest, d->text, d->len))
		return 0;
	cli_error("%s: its definition: %s", d->guest, strerror(errno));
	return -1;
}

void def_close(struct def *d)
{
	if (d->doc)
		xmlFreeDoc(d->doc);
	free(d->text);
	if (d->lock >= 0)
		close(d->lock);
}
