// SPDX-License-Identifier: GPL-2.0-only
#include "devices/throttle.h"

#define NSEC 1000000000ULL

static uint64_t time_of(uint64_t n, uint64_t rate)
{
	unsigned __int128 ns = (unsigned __int128)n * NSEC / rate;

	return ns > INT64_MAX / 4 ? INT64_MAX / 4 : (uint64_t)ns;
}

void throttle_set(struct throttle *t, const struct dom_rate *r)
{
	pthread_mutex_lock(&t->lock);
	t->rate = r->rate;
	t->full_at = 0;
	t->burst_ns = THROTTLE_BURST_NS;
	if (r->rate && r->peak)
		t->burst_ns = time_of(r->peak > UINT64_MAX / 3600 ? UINT64_MAX : r->peak * (r->peak_s ? r->peak_s : 1), r->rate);
	pthread_mutex_unlock(&t->lock);
}

void throttle_init(struct throttle *t, const struct dom_rate *r)
{
	pthread_mutex_init(&t->lock, NULL);
	throttle_set(t, r);
}

uint64_t throttle_wait(struct throttle *t, uint64_t now)
{
	uint64_t wait = 0;

	pthread_mutex_lock(&t->lock);
	/* Empty is when it takes longer than the whole bucket to be full. */
	if (t->rate && t->full_at > now + t->burst_ns)
		wait = t->full_at - now - t->burst_ns;
	pthread_mutex_unlock(&t->lock);
	return wait;
}

void throttle_charge(struct throttle *t, uint64_t n, uint64_t now)
{
	pthread_mutex_lock(&t->lock);
	if (t->rate)
		t->full_at = (t->full_at > now ? t->full_at : now) + time_of(n, t->rate);
	pthread_mutex_unlock(&t->lock);
}
