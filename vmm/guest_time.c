// SPDX-License-Identifier: GPL-2.0-only
/* What a guest's clocks show while it stands still. */
#include <x86intrin.h>

#include "guest_time.h"
#include "log.h"
#include "machine.h"

static int get_tsc(struct vcpu *v, struct hvx_tsc_state *t)
{
	return hv_get_state(&v->hv, HVX_STATE_TSC, t, sizeof(*t));
}

/* As <uapi/hvx.h> has it: struct hvx_tsc_state. */
static uint64_t scaled(const struct machine *m, uint32_t khz, uint64_t host_tsc)
{
	uint32_t host_khz = m->hv.info.tsc_khz;

	if (khz == host_khz || !host_khz)
		return host_tsc;
	return (uint64_t)((unsigned __int128)host_tsc * (((uint64_t)khz << 32) / host_khz) >> 32);
}

void guest_time_stop(struct machine *m)
{
	struct hvx_clock now = { 0 };
	struct hvx_tsc_state t;
	unsigned int i;

	m->time.stands = false;
	if (hv_get_clock(&m->hv, &now))
		return;
	for (i = 0; i < m->nr_vcpus; i++) {
		if (get_tsc(&m->vcpu[i], &t))
			return;
		m->vcpu[i].tsc = scaled(m, t.khz, now.host_tsc) + t.offset;
	}
	m->time.clock_ns = now.ns;
	m->time.stands = true;
}

void guest_time_go_on(struct machine *m)
{
	struct hvx_clock now = { .host_tsc = __rdtsc(), .ns = m->time.clock_ns };
	struct hvx_tsc_state t;
	unsigned int i;
	int ret = 0;

	if (!m->time.stands)
		return;
	m->time.stands = false;
	for (i = 0; i < m->nr_vcpus && !ret; i++) {
		ret = get_tsc(&m->vcpu[i], &t);
		if (ret)
			break;
		t.offset = m->vcpu[i].tsc - scaled(m, t.khz, now.host_tsc);
		t.flags = HVX_TSC_BY_OFFSET;
		ret = hv_set_state(&m->vcpu[i].hv, HVX_STATE_TSC, &t, sizeof(t));
	}
	if (hv_set_clock(&m->hv, &now) || ret)
		log_warn("the guest's clock and TSC could not be set back to where they stood: for it, time went by");
}

/*
 * The others' TSCs were saved one after the other, by older versions at different moments, too.
 * Setting them has seen to it that those which are meant to be equal are.
 */
void guest_time_loaded(struct machine *m, uint64_t clock_ns)
{
	struct hvx_tsc_state first, t;
	unsigned int i;

	m->time.stands = false;
	if (get_tsc(&m->vcpu[0], &first))
		return;
	for (i = 1; i < m->nr_vcpus; i++) {
		if (get_tsc(&m->vcpu[i], &t))
			return;
		m->vcpu[i].tsc = m->vcpu[0].tsc + t.offset - first.offset;
	}
	m->time.clock_ns = clock_ns;
	m->time.stands = true;
}
