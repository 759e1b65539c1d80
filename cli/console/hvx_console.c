// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `hvx run` becomes when the guest has begun: it carries the console, waits for
 * the VMM and clears away behind it. A program of its own, as `hvx` with its
 * libraries would stay in memory, several times this, as long as each guest.
 *
 * Usage: hvx-console PID TO-VMM FROM-OUT FROM-ERR ESCAPE LOCK [RUNTIME-DIR]
 *
 * The VMM is this process's child; descriptors are inherited, -1: none.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/rundir.h"
#include "cli/terminal.h"
#include "vmm/machine.h"
#include "vmm/number.h"

static bool number(const char *s, int *n)
{
	long v = -1;
	bool ok = !strcmp(s, "-1") || number_parse(s, 0, 1 << 30, &v);

	*n = (int)v;
	return ok;
}

int main(int argc, char **argv)
{
	struct rundir dir = { .lock = -1 };
	int n[6], i, status;

	for (i = 0; i < 6 && i + 1 < argc && number(argv[i + 1], &n[i]); i++)
		;
	if (i < 6 || n[0] <= 0 || argc > 8) {
		fprintf(stderr, "hvx-console: is started by hvx run\n");
		return VMM_ERR_USAGE;
	}
	for (i = 1; i < 6; i++)
		if (i != 4 && n[i] >= 0)
			fcntl(n[i], F_SETFD, FD_CLOEXEC);
	dir.lock = n[5];
	dir.path = argc == 8 ? strdup(argv[7]) : NULL;
	status = vmm_status(console_run(n[0], n[1], n[2], n[3], n[4]));
	rundir_remove(&dir);
	return status;
}
