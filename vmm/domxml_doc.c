// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a file to a tree, with bounds. What the scan lets through is parsed by
 * libxml2 with the network, DTDs and entities off; the scan is needed because
 * some of libxml2's work grows with the square of a tag's attributes or with
 * the depth, and because its own messages for limits help nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "domxml_int.h"

static char *why_errno(const char *what, int err)
{
	char *s = NULL;

	if (asprintf(&s, "%s: %s", what, strerror(err)) < 0)
		return NULL;
	return s;
}

/* All of fd, growing the buffer as it comes: it may be a pipe. */
static char *read_fd(int fd, size_t max, size_t *len, char **why)
{
	size_t room = 0, n = 0;
	char *buf = NULL;

	for (;;) {
		ssize_t got;

		if (n == room) {
			char *bigger;

			if (n > max) {
				if (asprintf(why, "larger than %zu bytes; no domain XML is that large", max) < 0)
					*why = NULL;
				goto fail;
			}
			room = room ? 2 * room : 16384;
			if (room > max + 1)
				room = max + 1;
			bigger = realloc(buf, room + 1);
			if (!bigger) {
				*why = why_errno("cannot be read", ENOMEM);
				goto fail;
			}
			buf = bigger;
		}
		got = read(fd, buf + n, room - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			*why = why_errno("cannot be read", errno);
			goto fail;
		}
		if (got == 0)
			break;
		n += got;
	}
	buf[n] = '\0';
	*len = n;
	return buf;
fail:
	free(buf);
	return NULL;
}

char *doc_read(const char *path, int fd, size_t max, size_t *len, char **why)
{
	int own = -1;
	char *buf;

	*why = NULL;
	if (fd < 0) {
		/* O_NONBLOCK: a FIFO without a writer must not hang us. */
		fd = own = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0) {
			*why = why_errno("cannot be opened", errno);
			return NULL;
		}
	} else {
		/* The caller may have read it before. Pipes cannot be rewound, and need not be. */
		(void)lseek(fd, 0, SEEK_SET);
	}
	buf = read_fd(fd, max, len, why);
	if (own >= 0)
		close(own);
	return buf;
}

struct scan {
	const char *p, *end;
	unsigned int line;
};

/* Move behind the next `mark`, or to the end. */
static void skip_past(struct scan *s, const char *mark)
{
	size_t n = strlen(mark);

	for (; s->p < s->end; s->p++) {
		if ((size_t)(s->end - s->p) >= n && !memcmp(s->p, mark, n)) {
			s->p += n;
			return;
		}
		if (*s->p == '\n')
			s->line++;
	}
}

/* Behind a start tag's '>'. Counts quoted values; *empty: it ends in "/>". */
static unsigned int skip_tag(struct scan *s, bool *empty)
{
	unsigned int attrs = 0;
	char quote = 0, prev = 0;

	for (; s->p < s->end; prev = *s->p++) {
		if (*s->p == '\n')
			s->line++;
		if (quote) {
			if (*s->p == quote)
				quote = 0;
		} else if (*s->p == '"' || *s->p == '\'') {
			quote = *s->p;
			attrs++;
		} else if (*s->p == '>') {
			s->p++;
			break;
		}
	}
	*empty = prev == '/';
	return attrs;
}

static bool starts(const struct scan *s, const char *what)
{
	size_t n = strlen(what);

	return (size_t)(s->end - s->p) >= n && !memcmp(s->p, what, n);
}

/* libxml2 looks through all namespaces in scope for each prefix. */
static bool many_namespaces(const char *buf, size_t len)
{
	static const char mark[] = "xmlns";
	unsigned int n = 0;

	for (const char *p = buf; (p = memmem(p, len - (size_t)(p - buf), mark, 5)); p += 5)
		if (++n > DOMXML_MAX_NAMESPACES)
			return true;
	return false;
}

/*
 * Sees the same tags as an XML parser does up to the first error; behind it no
 * tree is built. "--" in a comment, an error, is found here because libxml2
 * goes on after it and copies the comment for each.
 */
int doc_scan(const char *buf, size_t len, unsigned int *line, const char **why)
{
	struct scan s = { .p = buf, .end = buf + len, .line = 1 };
	unsigned int depth = 0, elements = 0;
	bool empty;

	*why = NULL;
	if (memchr(buf, 0, len))
		*why = "has NUL bytes; write it as UTF-8 text";
	else if (many_namespaces(buf, len))
		*why = "more than 256 namespace declarations; no domain XML needs that many";
	while (!*why && s.p < s.end) {
		if (*s.p != '<') {
			if (*s.p++ == '\n')
				s.line++;
		} else if (starts(&s, "<!--")) {
			s.p += 4;
			skip_past(&s, "--");
			if (s.p < s.end && *s.p++ != '>')
				*why = "'--' inside a comment, which XML does not allow; write one dash";
		} else if (starts(&s, "<![CDATA[")) {
			skip_past(&s, "]]>");
		} else if (starts(&s, "<!")) {
			*why = "document type and entity declarations are refused; remove the <!DOCTYPE>";
		} else if (starts(&s, "<?")) {
			skip_past(&s, "?>");
		} else if (starts(&s, "</")) {
			depth -= depth > 0;
			skip_past(&s, ">");
		} else {
			*line = s.line;
			if (++depth > DOMXML_MAX_DEPTH)
				*why = "elements are nested deeper than 32 levels; no domain XML needs that";
			else if (++elements > DOMXML_MAX_ELEMENTS)
				*why = "more than 20000 elements; no domain XML needs that many";
			else if (skip_tag(&s, &empty) > DOMXML_MAX_ATTRS)
				*why = "an element with more than 64 attributes; no domain XML needs that many";
			else if (empty)
				depth--;
			if (*why)
				return -1;
		}
	}
	*line = s.line;
	return *why ? -1 : 0;
}

static char *parser_error(const xmlError *err)
{
	char *s = NULL;
	size_t n;

	if (!err || !err->message)
		return strdup("not well-formed XML");
	n = strcspn(err->message, "\n");
	if (asprintf(&s, "not well-formed XML: %.*s", (int)(n > 200 ? 200 : n), err->message) < 0)
		return NULL;
	return s;
}

xmlDoc *doc_parse(const char *buf, size_t len, unsigned int *line, char **why)
{
	const int options = XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOCDATA |
			    XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_COMPACT |
			    XML_PARSE_BIG_LINES | XML_PARSE_IGNORE_ENC;
	const char *text;
	xmlParserCtxt *ctxt;
	xmlDoc *doc = NULL;

	*line = 1;
	*why = NULL;
	if (doc_scan(buf, len, line, &text)) {
		*why = strdup(text);
		return NULL;
	}
	ctxt = xmlNewParserCtxt();
	if (!ctxt)
		goto nomem;
	/*
	 * NOENT: put the values of &amp; and &#10; into the text. There can be no
	 * others: the scan has refused declarations. The encoding is given, so that
	 * the file's own claim cannot make the parser see other tags than the scan did.
	 */
	doc = xmlCtxtReadMemory(ctxt, buf, (int)len, NULL, "UTF-8", options);
	if (!doc) {
		const xmlError *err = xmlCtxtGetLastError(ctxt);

		*why = parser_error(err);
		*line = err && err->line > 0 ? (unsigned int)err->line : 1;
	}
	xmlFreeParserCtxt(ctxt);
	if (doc || *why)
		return doc;
nomem:
	*why = strdup("out of memory");
	return NULL;
}
