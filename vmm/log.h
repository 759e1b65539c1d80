/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages to the user. Each is one line on stderr: "hvx: NAME: text". Errors say what to do next. */
#ifndef HVX_VMM_LOG_H
#define HVX_VMM_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* stderr may be a terminal in raw mode: end lines in CR LF. */
extern bool log_raw_terminal;

void log_init(const char *guest_name, int verbosity);
/* Lines go there, by any thread and one at a time, not to stderr (NULL). While there is one thread. */
void log_to(void (*put)(void *opaque, const char *line, size_t len), void *opaque);
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));	/* with -v */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));	/* with -vv */
/* What this thread's last log_error() said; "": none yet. */
void log_last_error(char *to, size_t room);
/* A warning that a guest could repeat without end: at most 10 a call site. */
#define log_guest(fmt, ...) do { \
	static unsigned int log_n_; \
	if (__atomic_fetch_add(&log_n_, 1, __ATOMIC_RELAXED) < 10) \
		log_warn(fmt, ##__VA_ARGS__); \
} while (0)

#endif
