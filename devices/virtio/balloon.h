/* SPDX-License-Identifier: GPL-2.0-only */
/* The balloon as the control commands see it. Machine lock held. */
#ifndef HVX_VIRTIO_BALLOON_H
#define HVX_VIRTIO_BALLOON_H

#include "vmm/machine.h"

#define BALLOON_STATS 16	/* tags 0..15 of virtio 1.2, 5.5.6.3 and later */

struct balloon_stats {
	uint32_t valid;		/* 1 << tag for what the guest has told */
	uint64_t value[BALLOON_STATS];
	uint64_t updated_ns;	/* CLOCK_MONOTONIC */
};

/* Let the guest have this much memory. -ENODEV: no balloon; -EINVAL: more than it was given. */
int balloon_set_target(struct machine *m, uint64_t bytes);
/* What the guest says that it has now. stats may be NULL. */
int balloon_query(struct machine *m, uint64_t *bytes, struct balloon_stats *stats);

#endif
