/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUs that XML describes, and this host's. */
#ifndef HVX_CLI_CPUDESC_H
#define HVX_CLI_CPUDESC_H

#include <stdbool.h>
#include "vmm/cpu_model.h"

#define CPUDESC_MAX	256	/* in all files together */

struct cpu_desc {
	char where[256];	/* FILE:LINE */
	const struct cpu_model *model;	/* NULL: none is named */
	enum cpu_vendor vendor;	/* VENDOR_ANY: not told */
	struct cpu_set set;
	char unknown[256];	/* features that it must have and hvx does not know; "" */
};

struct cpu_host {
	struct hvx_info info;
	bool module;		/* info is the module's; else worked out from the CPU alone */
	enum cpu_vendor vendor;
	struct cpu_set set;	/* what guests can have */
	uint32_t signature;
	const struct cpu_model *nearest;
	struct cpu_set require, disable;	/* `set` told from it */
};

/* What this host can give; a warning where the module is not there to ask. */
void cpu_host_get(struct cpu_host *h);

/*
 * All <cpu> in a file (- is the standard input), alone, in <domain>, in <capabilities>, or
 * <domainCapabilities>; several documents may follow each other. Adds to list, which has
 * CPUDESC_MAX places. 0, or -1 after a message.
 */
int cpudesc_read(const char *file, struct cpu_desc *list, unsigned int *nr);

/* <cpu mode='custom'> with what tells `set` from its model, indented by `indent`. */
void cpudesc_print_features(const struct cpu_set *require, const struct cpu_set *disable, bool policy,
			    const char *indent);

#endif
