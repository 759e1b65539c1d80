/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest for one command: `hvx run ... -- COMMAND`. The guest runs in a child
 * process that ends with this one, however it ends, and hvx-vmm with that; what
 * could be left then is the runtime folder, which the next hvx command removes.
 */
#ifndef HVX_CLI_THROWAWAY_H
#define HVX_CLI_THROWAWAY_H

#include "kernel.h"

#define MAX_ARTIFACTS	32
#define MAX_VARIABLES	64

struct throwaway {
	char *const *argv;			/* NULL: no command */
	char *env[MAX_VARIABLES + 1];
	unsigned int nr_env;
	const char *dir;
	unsigned int timeout_s, boot_timeout_s;	/* 0: none, the default */
	const char *artifact[MAX_ARTIFACTS], *artifact_dir;
	unsigned int nr_artifacts;
	bool rm;		/* what the guest writes to its disks is dropped */
	bool verbose;		/* show its console */
};

/*
 * start(opaque) runs the guest, in the child, and returns its exit status; name is
 * that of its runtime folder. Returns the command's status, or EXEC_*.
 */
int throwaway_run(const struct throwaway *t, const struct kernel_guest *k, const char *name,
		  int (*start)(void *opaque), void *opaque);

#endif
