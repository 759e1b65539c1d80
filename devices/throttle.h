/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A limit on what goes through in a second: a token bucket, kept as the time at which
 * it is full again. What goes through may overdraw it once; then nothing does until it
 * has filled up. Any thread.
 */
#ifndef HVX_DEVICES_THROTTLE_H
#define HVX_DEVICES_THROTTLE_H

#include <pthread.h>
#include <stdint.h>
#include "vmm/config.h"

#define THROTTLE_BURST_NS	50000000ULL	/* of the rate, that may come at once */

struct throttle {
	pthread_mutex_t lock;
	uint64_t rate;		/* a second; 0: no limit */
	uint64_t burst_ns;	/* time in which the whole bucket fills */
	uint64_t full_at;	/* CLOCK_MONOTONIC, ns */
};

void throttle_init(struct throttle *t, const struct dom_rate *r);
/* Another limit; the bucket is full. */
void throttle_set(struct throttle *t, const struct dom_rate *r);
/* ns to wait; 0: it may go through now, and is then charged. */
uint64_t throttle_wait(struct throttle *t, uint64_t now);
void throttle_charge(struct throttle *t, uint64_t n, uint64_t now);

#endif
