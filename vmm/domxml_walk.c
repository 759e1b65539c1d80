// SPDX-License-Identifier: GPL-2.0-only
/* The walk along the tables: what is known, what is not, and what each needs. */
#include <string.h>
#include "domxml_int.h"

static bool in_ns(const xmlNode *n, const char *uri)
{
	return n->ns && n->ns->href && !strcmp((const char *)n->ns->href, uri);
}

static bool matches(const xmlNode *n, const struct xelem *r)
{
	if (strcmp((const char *)n->name, r->name))
		return false;
	if (r->flags & F_QEMU)
		return in_ns(n, QEMU_NS);
	if (r->flags & F_HVX)
		return in_ns(n, DOMXML_HVX_NS);
	return !n->ns;
}

static const struct xelem *find_elem(const xmlNode *n, const struct xelem *r)
{
	for (; r && r->name; r++)
		if (matches(n, r))
			return r;
	return NULL;
}

static const struct xattr *find_attr(const char *name, const struct xattr *r)
{
	for (; r && r->name; r++)
		if (!strcmp(name, r->name))
			return r;
	return NULL;
}

/* value is one of "a|b|c" */
static bool one_of(const char *value, const char *list)
{
	size_t n = strlen(value);

	while (*list) {
		size_t w = strcspn(list, "|");

		if (w == n && !memcmp(list, value, n))
			return true;
		list += w + (list[w] == '|');
	}
	return false;
}

static void print_choices(char *out, size_t room, const char *only)
{
	size_t n = 0;

	for (; *only && n + 4 < room; only++) {
		if (*only == '|') {
			memcpy(out + n, ", ", 2);
			n += 2;
		} else {
			out[n++] = *only;
		}
	}
	out[n] = '\0';
}

static void walk_attr(struct px *px, xmlNode *n, const xmlAttr *a, const struct xelem *rule)
{
	const char *name = (const char *)a->name, *value = x_attr(n, name);
	const struct xattr *r;
	char choices[256];

	if (a->ns)	/* xml:lang and the like say nothing about the guest */
		return;
	r = find_attr(name, rule->attrs);
	if (!r) {
		px_err(px, n, name, "not an attribute that hvx knows here; remove it, or see hvx-domain-xml(5)");
		return;
	}
	switch (r->act) {
	case IGN:
		return;
	case HINT:
		if (r->only && value && one_of(value, r->only))
			return;
		if (px_first(px, r->note))
			px_warn(px, n, name, "%s", r->note);
		return;
	case REF:
		px_err(px, n, name, "%s", r->note);
		return;
	case USE:
		break;
	}
	if (!r->only || !value || one_of(value, r->only))
		return;
	if (r->note) {
		px_err(px, n, name, "%s", r->note);
		return;
	}
	print_choices(choices, sizeof(choices), r->only);
	px_err(px, n, name, "not a value that hvx accepts; write %s%s",
	       strchr(r->only, '|') ? "one of " : "", choices);
}

static bool seen_before(const xmlNode *n, const struct xelem *rule)
{
	for (const xmlNode *p = n->prev; p; p = p->prev)
		if (p->type == XML_ELEMENT_NODE && matches(p, rule))
			return true;
	return false;
}

static void walk_text(struct px *px, const xmlNode *n)
{
	for (const xmlNode *c = n->children; c; c = c->next) {
		const char *s = (const char *)c->content;

		if (c->type != XML_TEXT_NODE || !s || !s[strspn(s, " \t\r\n")])
			continue;
		px_err(px, n, NULL, "this element has no text; remove it");
		return;
	}
}

/* hvx's own elements inside <metadata>, the one place where libvirt keeps them. */
static void walk_metadata(struct px *px, xmlNode *n)
{
	for (xmlNode *c = n->children; c; c = c->next) {
		const struct xelem *r;

		if (c->type != XML_ELEMENT_NODE || !in_ns(c, DOMXML_HVX_NS))
			continue;
		r = find_elem(c, domxml_root.kids);
		if (r)
			walk(px, c, r);
		else
			px_err(px, c, NULL, "not one of hvx's elements; see hvx-domain-xml(5)");
	}
}

static void walk_kids(struct px *px, xmlNode *n, const struct xelem *rule)
{
	for (xmlNode *c = n->children; c; c = c->next) {
		const struct xelem *r;

		if (c->type != XML_ELEMENT_NODE)
			continue;
		r = find_elem(c, rule->kids);
		if (r)
			walk(px, c, r);
		else
			px_err(px, c, NULL,
			       "not an element that hvx knows here; remove it, or see hvx-domain-xml(5)");
	}
}

/* Recursion is bounded by DOMXML_MAX_DEPTH. */
void walk(struct px *px, xmlNode *n, const struct xelem *rule)
{
	switch (rule->act) {
	case IGN:
		if (rule->flags & F_META)
			walk_metadata(px, n);
		return;
	case HINT:
		if (px_first(px, rule->note))
			px_warn(px, n, NULL, "%s", rule->note);
		return;
	case REF:
		px_err(px, n, NULL, "%s", rule->note);
		return;
	case USE:
		break;
	}
	if ((rule->flags & F_ONCE) && seen_before(n, rule)) {
		px_err(px, n, NULL, "given twice; keep one");
		return;
	}
	if (!(rule->flags & F_OPAQUE)) {
		for (const xmlAttr *a = n->properties; a; a = a->next)
			walk_attr(px, n, a, rule);
		if (!(rule->flags & F_TEXT))
			walk_text(px, n);
		walk_kids(px, n, rule);
	}
	if (rule->fn)
		rule->fn(px, n);
}
