/* SPDX-License-Identifier: GPL-2.0-only */
/* Decimal numbers that people, or other programs of hvx, write. */
#ifndef HVX_VMM_NUMBER_H
#define HVX_VMM_NUMBER_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* A number from min to max, of digits alone: no sign, no space, nothing behind. False: *out means nothing. */
static inline bool number_parse(const char *text, long min, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	return *text >= '0' && *text <= '9' && !errno && !*end && *out >= min && *out <= max;
}

#endif
