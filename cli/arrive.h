/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Images for the disks that come with a guest. A new one has no name until its guest
 * begins to run: whatever goes wrong before, and whoever is killed, nothing is left of it.
 */
#ifndef HVX_CLI_ARRIVE_H
#define HVX_CLI_ARRIVE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/config.h"

struct arriving_disk {
	char target[16];
	char *path;
	char *temp;		/* its name until then, where the file system makes none without; else NULL */
	int fd;
	bool made, named;
};

struct arriving {
	struct arriving_disk disk[DOM_MAX_DISKS];
	unsigned int nr;
};

/*
 * `disks` of a greeting: a list of {target, size}, against the XML that will be used. New
 * images are made, and those that exist locked, where they may be overwritten. 0; or -1 with
 * why, for people at both ends; nothing is left then.
 */
int arriving_open(struct arriving *a, struct json_object *list, const struct domain *dom, bool overwrite,
		  char *why, size_t room);
int arriving_find(const struct arriving *a, const char *target);	/* -1: no */
/* The new ones get their names, or none does: -1 after a message. */
int arriving_name(struct arriving *a);
/* What was made and has no name by then goes. */
void arriving_close(struct arriving *a);

#endif
