// SPDX-License-Identifier: GPL-2.0-only
/* Numbers on the command line. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include "guest.h"

long cli_seconds(const struct cli_cmd *cmd, const char *option, const char *text)
{
	char *end;
	double s;

	errno = 0;
	s = strtod(text, &end);
	if (!errno && end != text && !*end && s >= 0 && s <= 1000000)
		return (long)(s * 1000);
	cli_error("%s: --%s %s: not a number of seconds", cmd->name, option, text);
	return -1;
}

bool cli_number(const struct cli_cmd *cmd, const char *option, const char *text, long min, long max, long *out)
{
	if (number_parse(text, min, max, out))
		return true;
	if (max == LONG_MAX)
		cli_error("%s: %s%s%s%s: a number is wanted, %ld at least", cmd->name, option ? "--" : "", option ?: "",
			  option ? " " : "", text, min);
	else
		cli_error("%s: %s%s%s%s: a number from %ld to %ld is wanted", cmd->name, option ? "--" : "", option ?: "",
			  option ? " " : "", text, min, max);
	return false;
}
