/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where one JSON object ends in a stream of bytes, found without parsing: so a
 * parser only ever sees whole messages of bounded size, depth and number of values.
 */
#ifndef HVX_VMM_QMP_FRAME_H
#define HVX_VMM_QMP_FRAME_H

#include <stdbool.h>
#include <stddef.h>

struct qmp_frame {
	size_t start, at;		/* of the object; bytes of the buffer that were looked at */
	unsigned int depth, values;
	bool string, escape;
	bool skip;			/* to the end of the line, after nonsense */
};

enum qmp_frame_result {
	FRAME_MORE,		/* no whole object yet */
	FRAME_OBJECT,		/* buf[f->start, f->at) is one */
	FRAME_GARBAGE,		/* something that is no object; its line is skipped */
	FRAME_DEEP,		/* nested too deeply */
	FRAME_MANY,		/* too many values */
};

/* Go on looking, in buf[0, len). After all but FRAME_MORE: drop buf[0, f->at) and qmp_frame_next(). */
enum qmp_frame_result qmp_frame(struct qmp_frame *f, const char *buf, size_t len);
void qmp_frame_next(struct qmp_frame *f);

#endif
