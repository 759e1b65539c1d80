// SPDX-License-Identifier: GPL-2.0-only
/* Values of attributes and texts: strict, and bounded before they are used. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "domxml_int.h"
#include "livexml.h"

const char *x_attr(const xmlNode *n, const char *name)
{
	for (const xmlAttr *a = n ? n->properties : NULL; a; a = a->next) {
		if (a->ns || strcmp((const char *)a->name, name))
			continue;
		/* Entities are replaced while parsing, so there is one text node or none. */
		if (a->children && a->children->content)
			return (const char *)a->children->content;
		return "";
	}
	return NULL;
}

static bool is_elem(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !n->ns && !strcmp((const char *)n->name, name);
}

xmlNode *x_child(const xmlNode *n, const char *name)
{
	for (xmlNode *c = n ? n->children : NULL; c; c = c->next)
		if (is_elem(c, name))
			return c;
	return NULL;
}

xmlNode *x_next(const xmlNode *n, const char *name)
{
	for (xmlNode *c = n->next; c; c = c->next)
		if (is_elem(c, name))
			return c;
	return NULL;
}

const char *x_text(struct px *px, const xmlNode *n)
{
	xmlChar *all = n ? xmlNodeGetContent(n) : NULL;
	const char *start;
	char *s;
	size_t len;

	if (!all)
		return "";
	start = (const char *)all + strspn((const char *)all, " \t\r\n");
	len = strlen(start);
	while (len && strchr(" \t\r\n", start[len - 1]))
		len--;
	s = px_keep(px, strndup(start, len));
	xmlFree(all);
	return s ? s : "";
}

static char *dup_nonempty(const char *s)
{
	return s && *s ? strdup(s) : NULL;
}

char *x_attr_dup(const xmlNode *n, const char *name)
{
	return dup_nonempty(x_attr(n, name));
}

char *x_text_dup(struct px *px, const xmlNode *n)
{
	return n ? dup_nonempty(x_text(px, n)) : NULL;
}

bool x_is(const xmlNode *n, const char *name, const char *value)
{
	const char *s = x_attr(n, name);

	return s && !strcmp(s, value);
}

bool x_yes(const xmlNode *n, const char *name)
{
	return x_is(n, name, "yes") || x_is(n, name, "on");
}

int parse_u64(const char *s, uint64_t *out)
{
	unsigned int base = 10;
	uint64_t v = 0;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	if (!*s)
		return -1;
	for (; *s; s++) {
		unsigned int d;

		if (*s >= '0' && *s <= '9')
			d = *s - '0';
		else if (base == 16 && isxdigit((unsigned char)*s))
			d = tolower((unsigned char)*s) - 'a' + 10;
		else
			return -1;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return -1;
	}
	*out = v;
	return 0;
}

static bool number(struct px *px, const xmlNode *n, const char *attr, const char *s,
		   uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v;

	if (!parse_u64(s, &v) && v >= min && v <= max) {
		*out = v;
		return true;
	}
	if (max == UINT64_MAX)
		px_err(px, n, attr, "not a number; write digits only");
	else
		px_err(px, n, attr, "not a number from %llu to %llu; write one in this range",
		       (unsigned long long)min, (unsigned long long)max);
	return false;
}

bool x_num(struct px *px, const xmlNode *n, const char *attr, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *s = x_attr(n, attr);

	return s && number(px, n, attr, s, min, max, out);
}

bool x_textnum(struct px *px, const xmlNode *n, uint64_t min, uint64_t max, uint64_t *out)
{
	return number(px, n, NULL, x_text(px, n), min, max, out);
}

static const struct unit {
	const char *name;
	uint64_t bytes;
} units[] = {
	{ "b", 1 }, { "byte", 1 }, { "bytes", 1 },
	{ "KB", 1000 }, { "k", 1ULL << 10 }, { "KiB", 1ULL << 10 },
	{ "MB", 1000000 }, { "M", 1ULL << 20 }, { "MiB", 1ULL << 20 },
	{ "GB", 1000000000 }, { "G", 1ULL << 30 }, { "GiB", 1ULL << 30 },
	{ "TB", 1000000000000ULL }, { "T", 1ULL << 40 }, { "TiB", 1ULL << 40 },
	{ "PB", 1000000000000000ULL }, { "P", 1ULL << 50 }, { "PiB", 1ULL << 50 },
	{ "EB", 1000000000000000000ULL }, { "E", 1ULL << 60 }, { "EiB", 1ULL << 60 },
};

int parse_size(const char *num, const char *unit, uint64_t *bytes)
{
	uint64_t v;

	if (!*num || num[strspn(num, "0123456789")])
		return -1;
	if (parse_u64(num, &v))
		return -3;
	if (!unit || !*unit)
		unit = "KiB";
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcasecmp(unit, units[i].name))
			return __builtin_mul_overflow(v, units[i].bytes, bytes) ? -3 : 0;
	return -2;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 32 digits; dashes only where RFC 4122 puts them, all or none. */
int parse_uuid(const char *s, uint8_t uuid[16])
{
	bool dashes = strlen(s) == 36;
	uint8_t out[16];

	if (!dashes && strlen(s) != 32)
		return -1;
	for (unsigned int i = 0; i < 16; i++) {
		int hi, lo;

		if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return -1;
		hi = hex_digit(s[0]);
		lo = hi < 0 ? -1 : hex_digit(s[1]);
		if (lo < 0)
			return -1;
		out[i] = (uint8_t)(hi << 4 | lo);
		s += 2;
	}
	memcpy(uuid, out, 16);
	return 0;
}

int parse_mac(const char *s, uint8_t mac[6])
{
	uint8_t out[6];

	if (strlen(s) != 17)
		return -1;
	for (unsigned int i = 0; i < 6; i++, s += 3) {
		int hi = hex_digit(s[0]), lo = hex_digit(s[1]);

		if (hi < 0 || lo < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return -1;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(mac, out, 6);
	return 0;
}

char *x_path(struct px *px, const char *path)
{
	char *s = NULL;

	if (!path || !*path)
		return NULL;
	if (*path == '/' || !px->dir)
		return strdup(path);
	while (!strncmp(path, "./", 2))
		path += 2;
	if (asprintf(&s, "%s%s%s", px->dir, strcmp(px->dir, "/") ? "/" : "", path) < 0)
		return NULL;
	return s;
}

/* FNV-1a, then mixed (splitmix64's finaliser): not secret, only spread out. */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ h >> 27) * 0x94d049bb133111ebULL;
	return h ^ h >> 31;
}

/*
 * The same name gives the same UUID each time on one host, so that a guest
 * keeps its identity; another host's guest of that name gets another.
 */
void make_uuid(struct px *px, uint8_t uuid[16])
{
	const char *name = px->dom->name ? px->dom->name : "";
	char path[4096], id[64];
	ssize_t got = 0;
	uint64_t half[2];
	int fd;

	snprintf(path, sizeof(path), "%s/etc/machine-id", px->sysroot);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0) {
		got = read(fd, id, sizeof(id));
		close(fd);
	}
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t h = hash(0xcbf29ce484222325ULL + i, id, got > 0 ? (size_t)got : 0);

		half[i] = hash(h, name, strlen(name));
	}
	memcpy(uuid, half, 16);
	uuid[6] = (uuid[6] & 0x0f) | 0x80;	/* version 8: by a rule of our own (RFC 9562, 5.8) */
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

/* 52:54:00 is what virtual machines' own addresses begin with: local, not multicast. */
void make_mac(const uint8_t uuid[16], unsigned int index, uint8_t mac[6])
{
	uint8_t n = (uint8_t)index;
	uint64_t h = hash(hash(0xcbf29ce484222325ULL, uuid, 16), &n, 1);

	mac[0] = 0x52;
	mac[1] = 0x54;
	mac[2] = 0x00;
	mac[3] = (uint8_t)(h >> 16);
	mac[4] = (uint8_t)(h >> 8);
	mac[5] = (uint8_t)h;
}

bool device_id_ok(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	return n && n < 16 && !id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")];
}
