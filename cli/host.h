/* SPDX-License-Identifier: GPL-2.0-only */
/* What hvx needs of the host, checked one by one. */
#ifndef HVX_CLI_HOST_H
#define HVX_CLI_HOST_H

#include <stdarg.h>

enum host_level { HOST_PASS, HOST_WARN, HOST_FAIL };

struct host_result {
	enum host_level level;
	const char *check;	/* "cpu", "module", ... */
	char text[320];
	char remedy[320];	/* command or advice, "" if nothing is to be done */
};

typedef void host_report_fn(void *opaque, const struct host_result *r);

/* Run all checks on the files below root ("" for this host) and report each. */
void host_check(const char *root, host_report_fn *report, void *opaque);

#endif
