// SPDX-License-Identifier: GPL-2.0-only
/* Loading a domain: the steps in order, and the messages. See domxml_int.h. */
#include <libxml/parser.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "domxml_int.h"

#define SHOW_MAX 60	/* bytes of a value that a message repeats */

char *px_keep(struct px *px, char *s)
{
	char **more;

	if (!s)
		return NULL;
	more = reallocarray(px->scratch, px->nr_scratch + 1, sizeof(*more));
	if (!more) {
		free(s);
		return NULL;
	}
	px->scratch = more;
	px->scratch[px->nr_scratch++] = s;
	return s;
}

bool px_first(struct px *px, const char *text)
{
	const char **more;

	for (unsigned int i = 0; i < px->nr_warned; i++)
		if (px->warned[i] == text)
			return false;
	more = reallocarray(px->warned, px->nr_warned + 1, sizeof(*more));
	if (!more)
		return true;
	px->warned = more;
	px->warned[px->nr_warned++] = text;
	return true;
}

/* Takes text over. Errors beyond the limit are only counted. */
static void add_msg(struct px *px, unsigned int line, bool warning, char *text)
{
	struct msg *more;

	if (!warning && px->errors++ >= DOMXML_MAX_ERRORS)
		goto drop;
	if (warning && px->nr_msg >= 4 * DOMXML_MAX_ERRORS)
		goto drop;
	if (px->nr_msg == px->room_msg) {
		more = reallocarray(px->msg, px->room_msg + 32, sizeof(*more));
		if (!more)
			goto drop;
		px->msg = more;
		px->room_msg += 32;
	}
	px->msg[px->nr_msg++] = (struct msg){ .line = line, .warning = warning, .text = text };
	return;
drop:
	free(text);
}

/* Printable on one line: a terminal must not obey what a file says. */
static void put_value(FILE *f, const char *s, size_t max)
{
	size_t n = strlen(s), show = n > max ? max : n;

	/* Do not cut a UTF-8 character in two. */
	while (show < n && show && ((unsigned char)s[show] & 0xc0) == 0x80)
		show--;
	for (size_t i = 0; i < show; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == 0x7f)
			fputc(' ', f);
		else if (c == 0xc2 && i + 1 < show && (unsigned char)s[i + 1] < 0xa0)
			i++;	/* C1 control character, U+0080 to U+009F */
		else
			fputc(c, f);
	}
	if (show < n)
		fputs("...", f);
}

/* <element attr='value'>, or <element>text</element> */
static void put_element(struct px *px, FILE *f, const xmlNode *n, const char *attr)
{
	const char *value = attr ? x_attr(n, attr) : NULL, *prefix = NULL;
	bool leaf = true;

	if (n->ns && n->ns->prefix)
		prefix = (const char *)n->ns->prefix;
	fputc('<', f);
	if (prefix) {
		put_value(f, prefix, SHOW_MAX);
		fputc(':', f);
	}
	put_value(f, (const char *)n->name, SHOW_MAX);
	if (value) {
		fputc(' ', f);
		put_value(f, attr, SHOW_MAX);
		fputs("='", f);
		put_value(f, value, SHOW_MAX);
		fputc('\'', f);
	}
	fputc('>', f);
	for (const xmlNode *c = n->children; c; c = c->next)
		leaf = leaf && c->type != XML_ELEMENT_NODE;
	if (!attr && leaf) {
		const char *text = x_text(px, n);

		if (*text) {
			put_value(f, text, SHOW_MAX);
			fprintf(f, "</%s>", (const char *)n->name);
		}
	}
}

static void vmsg(struct px *px, const xmlNode *n, const char *attr, bool warning,
		 const char *fmt, va_list ap)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	if (!warning && px->errors >= DOMXML_MAX_ERRORS) {
		px->errors++;	/* counted, not shown */
		return;
	}
	f = open_memstream(&text, &len);
	if (!f) {
		px->errors += !warning;
		return;
	}
	put_element(px, f, n, attr);
	fputs(": ", f);
	vfprintf(f, fmt, ap);
	fclose(f);
	add_msg(px, (unsigned int)xmlGetLineNo(n), warning, text);
}

void px_err(struct px *px, const xmlNode *n, const char *attr, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmsg(px, n, attr, false, fmt, ap);
	va_end(ap);
}

void px_warn(struct px *px, const xmlNode *n, const char *attr, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmsg(px, n, attr, true, fmt, ap);
	va_end(ap);
}

void px_msg(struct px *px, unsigned int line, bool warning, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	add_msg(px, line, warning, text);
}

/* By line; a stable insertion sort, as the walk has them nearly in order. */
static void sort_msgs(struct px *px)
{
	for (unsigned int i = 1; i < px->nr_msg; i++) {
		struct msg m = px->msg[i];
		unsigned int j = i;

		for (; j && px->msg[j - 1].line > m.line; j--)
			px->msg[j] = px->msg[j - 1];
		px->msg[j] = m;
	}
}

static void print_msgs(struct px *px, FILE *out, bool warnings)
{
	if (!out)
		return;
	sort_msgs(px);
	for (unsigned int i = 0; i < px->nr_msg; i++) {
		const struct msg *m = &px->msg[i];

		if (m->warning && !warnings)
			continue;
		put_value(out, px->file, PATH_MAX);
		if (m->line)
			fprintf(out, ":%u", m->line);
		fprintf(out, ": %s%s\n", m->warning ? "warning: " : "", m->text ? m->text : "out of memory");
	}
	if (px->errors > DOMXML_MAX_ERRORS)
		fprintf(out, "%s: %u more errors are not shown\n", px->file,
			px->errors - DOMXML_MAX_ERRORS);
}

/* Absolute folder of the file, without resolving the file itself: a link's neighbours are the link's. */
static char *folder_of(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char *part, *full;

	if (!slash)
		return realpath(".", NULL);
	part = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	if (!part)
		return NULL;
	full = realpath(part, NULL);
	if (!full)
		return part;
	free(part);
	return full;
}

static void defaults(struct domain *dom)
{
	dom->features.pmu = -1;
	dom->cpu.mode = CPU_HOST_PASSTHROUGH;
	dom->cpu.migratable = -1;
	dom->vcpus = dom->max_vcpus = 1;
	dom->on_poweroff = LIFE_DESTROY;
	dom->on_reboot = LIFE_RESTART;
	dom->on_crash = LIFE_DESTROY;
}

static void check_domain(struct px *px, const xmlNode *root)
{
	struct domain *dom = px->dom;

	if (!px->name_seen)
		px_err(px, root, NULL, "no <name>; add <name>NAME</name>");
	if (!px->memory_seen)
		px_err(px, root, NULL, "no <memory>; add <memory unit='MiB'>1024</memory>");
	check_memory(px);
	if (!dom->current_memory || dom->current_memory > dom->memory)
		dom->current_memory = dom->memory;
	if (dom->max_memory < dom->memory)
		dom->max_memory = dom->memory;
	if (!dom->uuid_given)
		make_uuid(px, dom->uuid);
	check_os(px);
	check_cpu(px);
	check_disks(px);
	check_nics(px);
	check_devices(px);
}

static void walk_tree(struct px *px, const char *buf, size_t len)
{
	unsigned int line;
	char *why = NULL;
	xmlDoc *doc = doc_parse(buf, len, &line, &why);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	if (!root) {
		px_msg(px, line, false, "%s", why ? why : "no element in it");
	} else if (root->ns || strcmp((const char *)root->name, "domain")) {
		px_err(px, root, NULL, "not a domain; the outermost element must be <domain>");
	} else {
		walk(px, root, &domxml_root);
		check_domain(px, root);
	}
	free(why);
	if (doc)
		xmlFreeDoc(doc);
}

static void px_free(struct px *px)
{
	for (unsigned int i = 0; i < px->nr_msg; i++)
		free(px->msg[i].text);
	for (unsigned int i = 0; i < px->nr_scratch; i++)
		free(px->scratch[i]);
	free(px->msg);
	free(px->warned);
	free(px->scratch);
	free(px->dir);
}

struct domain *domxml_parse(const char *path, int fd, FILE *out, bool warnings,
			    const char *sysroot, int *errors)
{
	struct px px = { .file = path ? path : "<stdin>", .sysroot = sysroot };
	char *buf, *why = NULL;
	size_t len = 0;

	px.dom = calloc(1, sizeof(*px.dom));
	px.dir = folder_of(path);
	if (px.dom) {
		px.dom->file = strdup(px.file);
		defaults(px.dom);
	}
	buf = px.dom ? doc_read(path, fd, DOMXML_MAX_FILE, &len, &why) : NULL;
	if (!buf)
		px_msg(&px, 0, false, "%s", why ? why : "out of memory");
	else
		walk_tree(&px, buf, len);
	free(buf);
	free(why);
	print_msgs(&px, out, warnings);
	if (px.errors) {
		domain_free(px.dom);
		px.dom = NULL;
	}
	if (errors)
		*errors = (int)px.errors;
	px_free(&px);
	return px.dom;
}

struct domain *domxml_load(const char *path, int fd, int *errors)
{
	return domxml_parse(path, fd, stderr, true, "", errors);
}
