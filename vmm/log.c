// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

bool log_raw_terminal;
static char guest[64];
static int verbosity;
static void (*line_put)(void *opaque, const char *line, size_t len);	/* NULL: stderr */
static void *line_opaque;
static pthread_mutex_t line_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local char last_error[512];	/* without the guest's name */

void log_init(const char *guest_name, int verbose)
{
	snprintf(guest, sizeof(guest), "%s", guest_name ? guest_name : "");
	verbosity = verbose;
}

void log_to(void (*put)(void *opaque, const char *line, size_t len), void *opaque)
{
	line_put = put;
	line_opaque = opaque;
}

/*
 * One write() a line, so that lines of several threads do not mix. The line
 * ends in CR LF where stderr may be the raw terminal of the guest's console.
 */
static void put(const char *level, const char *fmt, va_list ap)
{
	char line[1024];
	size_t len;
	int n;

	n = snprintf(line, sizeof(line) - 2, "hvx: %s%s%s", guest, guest[0] ? ": " : "", level);
	if (n < 0)
		return;
	len = (size_t)n < sizeof(line) - 2 ? (size_t)n : sizeof(line) - 3;
	n = vsnprintf(line + len, sizeof(line) - 2 - len, fmt, ap);
	if (n < 0)
		return;
	len += (size_t)n;
	if (len > sizeof(line) - 3)
		len = sizeof(line) - 3;
	if (log_raw_terminal)
		line[len++] = '\r';
	line[len++] = '\n';
	if (line_put) {
		pthread_mutex_lock(&line_lock);
		line_put(line_opaque, line, len);
		pthread_mutex_unlock(&line_lock);
	} else if (write(STDERR_FILENO, line, len) < 0) {
		return;		/* nowhere left to complain */
	}
}

#define LOG_FUNCTION(name, level, min)				\
	void name(const char *fmt, ...)				\
	{							\
		va_list ap;					\
								\
		if (verbosity < (min))				\
			return;					\
		va_start(ap, fmt);				\
		put(level, fmt, ap);				\
		va_end(ap);					\
	}

void log_error(const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	vsnprintf(last_error, sizeof(last_error), fmt, again);
	va_end(again);
	put("", fmt, ap);
	va_end(ap);
}

void log_last_error(char *to, size_t room)
{
	snprintf(to, room, "%s", last_error);
}

LOG_FUNCTION(log_warn, "warning: ", 0)
LOG_FUNCTION(log_info, "", 1)
LOG_FUNCTION(log_debug, "", 2)
