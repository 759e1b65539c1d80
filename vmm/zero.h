/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HVX_VMM_ZERO_H
#define HVX_VMM_ZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether `len` bytes are all zeroes. They begin at a multiple of 8. */
static inline bool is_zero(const uint8_t *p, size_t len)
{
	const uint64_t *w = (const uint64_t *)(const void *)p;
	size_t i;

	for (i = 0; i + 8 <= len / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	for (i *= 8; i < len; i++)
		if (p[i])
			return false;
	return true;
}

#endif
