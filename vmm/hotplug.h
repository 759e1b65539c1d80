/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks and network interfaces that come and go while the guest runs.
 *
 * The sandboxed VMM opens nothing: whoever plugs opens files, takes their locks,
 * starts helpers and sends descriptors through the control socket (docs/control.md,
 * device_add). A device that comes gets a free PCI slot; one that shall go stays
 * until the guest has let go of its slot.
 */
#ifndef HVX_VMM_HOTPLUG_H
#define HVX_VMM_HOTPLUG_H

#include "machine.h"
#include "state.h"

/* The guest has let go of what is in this slot. Machine lock held, any thread. */
void hotplug_ejected(struct machine *m, unsigned int slot);
void hotplug_cpu_ejected(struct machine *m, unsigned int cpu);	/* the same of a vCPU */
/* 0; -EINVAL with *err: what is plugged in is not in the guest's XML. */
int hotplug_can_save(struct machine *m, struct state_error *err);
/* What hotplug.c keeps. Devices are gone already. */
void hotplug_free(struct machine *m);
/* Why devices cannot come and go now; NULL: they can. Machine lock held. */
const char *hotplug_not_now(struct machine *m);
/* The guest's XML was changed to text, which is taken. */
void hotplug_set_xml(struct machine *m, char *text, size_t len);

#endif
