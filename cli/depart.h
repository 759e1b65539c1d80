/* SPDX-License-Identifier: GPL-2.0-only */
/* Disks that go with a guest to a host that has not its storage. */
#ifndef HVX_CLI_DEPART_H
#define HVX_CLI_DEPART_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "guest.h"
#include "vmm/config.h"
#include "wire.h"

struct moving_disk {
	char target[16];
	int64_t size;
	struct wire wire;
};

struct moving {
	struct moving_disk disk[DOM_MAX_DISKS];
	unsigned int nr;
};

/*
 * Which: those of list, "vda,vdb"; NULL: all that the guest writes to and shares with
 * nobody. 0, or -1 after a message.
 */
int moving_choose(struct moving *mv, const struct guest *g, struct control *c, const char *list);
/* `disks` of the greeting. */
struct json_object *moving_list(const struct moving *mv);
/* The guest's XML with those disks as they will be: raw images, without layers. NULL after a message. */
char *moving_xml(const struct moving *mv, const char *text, size_t *len);

#endif
