// SPDX-License-Identifier: GPL-2.0-only
/* Base64 as the guest agent writes it: RFC 4648, section 4, padded, no line ends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "agent.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t len)
{
	const uint8_t *in = data;
	char *text = malloc((len + 2) / 3 * 4 + 1), *p = text;

	for (size_t i = 0; text && i < len; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			v |= in[i + 2];
		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? digits[v & 63] : '=';
	}
	if (text)
		*p = '\0';
	return text;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

long base64_decode(const char *text, size_t len, void *out, size_t max)
{
	uint8_t *p = out;
	size_t pad = 0, n;

	if (len % 4)
		return -1;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	n = len / 4 * 3 - pad;
	if (n > max)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t v = 0;

		for (size_t j = i; j < i + 4; j++) {
			int d = j >= len - pad ? 0 : digit(text[j]);

			if (d < 0)
				return -1;
			v = v << 6 | (uint32_t)d;
		}
		for (unsigned int k = 0; k < 3 && p < (uint8_t *)out + n; k++)
			*p++ = (uint8_t)(v >> (16 - 8 * k));
	}
	return (long)n;
}
