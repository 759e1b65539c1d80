// SPDX-License-Identifier: GPL-2.0-only
/*
 * In place of ICU, which Debian's libxml2 asks for encodings that the C library's iconv()
 * does not know: with ICU and the C++ library behind it, a program takes millions of
 * instructions to start. Linked only with the archive of libxml2 (see the Makefile), where all
 * names of ICU's converters lead here.
 */
#include <stddef.h>

#define NO_CONVERTER	4	/* U_FILE_ACCESS_ERROR */

void *no_icu(const char *name, int *status);

/* As ucnv_open(): there is no such converter. The others are not called without one. */
void *no_icu(const char *name, int *status)
{
	(void)name;
	*status = NO_CONVERTER;
	return NULL;
}
