/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Plugging, from the outside: this side opens files, takes their locks and starts
 * helpers, as the user who types the command; the VMM gets descriptors.
 */
#ifndef HVX_CLI_PLUG_H
#define HVX_CLI_PLUG_H

#include "guest.h"
#include "vmm/config.h"
#include "vmm/livexml.h"

/* What is to be changed: the guest that runs, its definition. virsh's options, the first of a verb's. */
struct scope {
	bool live, config;
};

enum { O_LIVE, O_CONFIG, O_PERSISTENT, O_CURRENT, O_OWN };
#define SCOPE_OPTS \
	[O_LIVE] = { "live", 'l', NULL, "the guest that runs" }, \
	[O_CONFIG] = { "config", 'c', NULL, "its definition, for the next start" }, \
	[O_PERSISTENT] = { "persistent", 'p', NULL, "its definition, and the guest where it runs" }, \
	[O_CURRENT] = { "current", 0, NULL, "the guest where it runs, else its definition (default)" }
#define HELP_SCOPE \
"Without an option, the guest that runs is changed, and where it does not run, its\n" \
"definition.\n"
/* VMM_OK, or an exit status after a message. */
int scope_find(const struct cli_cmd *cmd, const char *v[], const struct guest *g, struct scope *s);

/* A device's XML that was read and found good. plug_free() it. */
struct plug {
	struct domain *dom;		/* with this device only */
	enum xml_dev kind;
	char *text;			/* its element, with whole paths and a MAC address */
};

/*
 * file: in messages, and the folder that paths start from. text: one <disk>,
 * <interface> or <memory>. 0, or -1 after messages.
 */
int plug_read(struct plug *p, const char *file, const char *text, size_t len);
void plug_free(struct plug *p);

/* Into the running guest behind c. 0, or -1 after a message. */
int plug_in(struct control *c, const struct plug *p);

/*
 * The id of a running guest's device: a disk by its target, an interface by its MAC
 * address, or the only one where mac is NULL, a memory device by its alias (target), or
 * the only one. free() it; NULL after a message.
 */
char *plug_find(struct control *c, const char *guest, enum xml_dev kind, const char *target, const uint8_t *mac);
/* Ask the guest to let go of it, and wait. VMM_OK, or an exit status after a message. */
int plug_out(struct control *c, const char *guest, const char *id, long ms);

/*
 * A definition with it, or without what ref tells. The new text, checked; free() it.
 * NULL after messages.
 */
char *plug_define(const char *guest, const struct plug *add, const struct xml_ref *take, size_t *len);

#endif
