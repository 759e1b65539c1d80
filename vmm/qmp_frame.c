// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "qmp.h"
#include "qmp_frame.h"

void qmp_frame_next(struct qmp_frame *f)
{
	f->start = f->at = 0;
	f->depth = f->values = 0;
	f->string = f->escape = false;
}

/* Outside of an object: f->at is left at its brace. */
static enum qmp_frame_result find_start(struct qmp_frame *f, const char *buf, size_t len)
{
	for (; f->at < len; f->at++) {
		char c = buf[f->at];

		if (f->skip)
			f->skip = c != '\n';
		else if (c == '{')
			return FRAME_OBJECT;
		else if (!memchr(" \t\r\n", c, 4)) {
			f->skip = true;
			f->at++;
			return FRAME_GARBAGE;
		}
	}
	return FRAME_MORE;
}

static void in_string(struct qmp_frame *f, char c)
{
	if (f->escape)
		f->escape = false;
	else if (c == '\\')
		f->escape = true;
	else if (c == '"')
		f->string = false;
}

enum qmp_frame_result qmp_frame(struct qmp_frame *f, const char *buf, size_t len)
{
	if (!f->depth) {
		enum qmp_frame_result r = find_start(f, buf, len);

		if (r != FRAME_OBJECT)
			return r;
		f->start = f->at;
	}
	for (; f->at < len; f->at++) {
		char c = buf[f->at];

		if (f->string) {
			in_string(f, c);
			continue;
		}
		switch (c) {
		case '"':
			f->string = true;
			break;
		case '{':
		case '[':
			f->depth++;
			f->values++;
			break;
		case ',':
			f->values++;
			break;
		case '}':
		case ']':
			f->depth--;
			break;
		}
		if (f->depth > QMP_MAX_DEPTH || f->values > QMP_MAX_VALUES) {
			f->skip = true;
			return f->depth > QMP_MAX_DEPTH ? FRAME_DEEP : FRAME_MANY;
		}
		if (!f->depth) {
			f->at++;
			return FRAME_OBJECT;
		}
	}
	return FRAME_MORE;
}
