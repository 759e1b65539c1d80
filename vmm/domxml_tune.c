// SPDX-License-Identifier: GPL-2.0-only
/* <cputune>, <memtune>, <blkiotune>, <numatune>, and the limits of disks and interfaces. */
#include <stdlib.h>
#include <string.h>
#include "domxml_int.h"

#define QUOTA_MIN	1000		/* us, as in libvirt */
#define QUOTA_MAX	18446744073709551ULL
#define PERIOD_MAX	1000000

/* A number up to max; the rest of the text to *end. */
static int number(const char *s, const char **end, unsigned int max, unsigned int *out)
{
	char *stop;
	unsigned long v;

	if (*s < '0' || *s > '9')
		return -1;
	v = strtoul(s, &stop, 10);
	*end = stop;
	*out = (unsigned int)v;
	return v < max ? 0 : -1;
}

int cpuset_parse(const char *s, struct dom_cpuset *set)
{
	unsigned int a, b, i;
	bool not;

	memset(set, 0, sizeof(*set));
	for (;; s++) {
		s += strspn(s, " \t\n");
		not = *s == '^';
		if (number(s + not, &s, DOM_MAX_HOST_CPUS, &a))
			return -1;
		b = a;
		if (*s == '-' && !not && (number(s + 1, &s, DOM_MAX_HOST_CPUS, &b) || b < a))
			return -1;
		for (i = a; i <= b; i++) {
			if (not)
				set->bits[i / 64] &= ~(1ULL << i % 64);
			else
				set->bits[i / 64] |= 1ULL << i % 64;
		}
		s += strspn(s, " \t\n");
		if (*s != ',')
			break;
	}
	for (i = 0; i < DOM_MAX_HOST_CPUS / 64; i++)
		set->given |= set->bits[i] != 0;
	return *s || !set->given ? -1 : 0;
}

void x_cpuset(struct px *px, xmlNode *n, const char *attr, struct dom_cpuset *set)
{
	const char *s = x_attr(n, attr);

	if (s && cpuset_parse(s, set)) {
		px_err(px, n, attr, "not a set of numbers; write '0-3,^2' or '0,2'");
		set->given = false;
	} else if (!s) {
		px_err(px, n, NULL, "no %s=; add %s='0-1'", attr, attr);
	}
}

static void num_child(struct px *px, xmlNode *n, const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
	xmlNode *c = x_child(n, name);

	if (c)
		x_textnum(px, c, min, max, out);
}

/* us of CPU time; negative: no limit. */
static void quota_child(struct px *px, xmlNode *n, const char *name, int64_t *out)
{
	xmlNode *c = x_child(n, name);
	uint64_t v = 0;

	if (!c)
		return;
	if (*x_text(px, c) == '-')
		*out = -1;
	else if (x_textnum(px, c, 0, QUOTA_MAX, &v) && v && v < QUOTA_MIN)
		px_err(px, c, NULL, "at least %d us, 0 for nothing said, or -1 for no limit", QUOTA_MIN);
	else
		*out = (int64_t)v;
}

void h_cputune(struct px *px, xmlNode *n)
{
	struct dom_tune *t = &px->dom->tune;
	struct dom_cpuset set;

	num_child(px, n, "shares", 1, 262144, &t->shares);
	if (t->shares > 10000)
		px_warn(px, x_child(n, "shares"), NULL, "control groups of version 2 have weights of 1 to 10000: it is 10000");
	num_child(px, n, "period", QUOTA_MIN, PERIOD_MAX, &t->period);
	num_child(px, n, "global_period", QUOTA_MIN, PERIOD_MAX, &t->global_period);
	num_child(px, n, "emulator_period", QUOTA_MIN, PERIOD_MAX, &t->emulator_period);
	quota_child(px, n, "quota", &t->quota);
	quota_child(px, n, "global_quota", &t->global_quota);
	quota_child(px, n, "emulator_quota", &t->emulator_quota);
	for (xmlNode *c = x_child(n, "vcpupin"); c; c = x_next(c, "vcpupin")) {
		uint64_t vcpu = DOM_MAX_VCPUS;

		if (x_num(px, c, "vcpu", 0, DOM_MAX_VCPUS - 1, &vcpu))
			x_cpuset(px, c, "cpuset", &t->vcpu[vcpu]);
	}
	if (x_child(n, "emulatorpin"))
		x_cpuset(px, x_child(n, "emulatorpin"), "cpuset", &t->emulator);
	/* Devices' threads here are not numbered: they get all that is allowed to any. */
	for (xmlNode *c = x_child(n, "iothreadpin"); c; c = x_next(c, "iothreadpin")) {
		x_cpuset(px, c, "cpuset", &set);
		for (unsigned int i = 0; i < DOM_MAX_HOST_CPUS / 64; i++)
			t->iothread.bits[i] |= set.bits[i];
		t->iothread.given |= set.given;
	}
}

static void size_child(struct px *px, xmlNode *n, const char *name, uint64_t *out)
{
	xmlNode *c = x_child(n, name);

	if (c && parse_size(x_text(px, c), x_attr(c, "unit"), out))
		px_err(px, c, NULL, "not a size; write a number, and unit='MiB'");
}

void h_memtune(struct px *px, xmlNode *n)
{
	struct dom_tune *t = &px->dom->tune;

	size_child(px, n, "hard_limit", &t->hard_limit);
	size_child(px, n, "soft_limit", &t->soft_limit);
	size_child(px, n, "min_guarantee", &t->min_guarantee);
	size_child(px, n, "swap_hard_limit", &t->swap_hard_limit);
	if (t->swap_hard_limit && t->swap_hard_limit < t->hard_limit)
		px_err(px, x_child(n, "swap_hard_limit"), NULL, "it is of memory and swap together: less than hard_limit cannot be");
}

void h_blkiotune(struct px *px, xmlNode *n)
{
	static const char *const limit[] = { "read_bytes_sec", "write_bytes_sec", "read_iops_sec", "write_iops_sec" };
	struct dom_tune *t = &px->dom->tune;
	uint64_t v = 0;

	num_child(px, n, "weight", 1, 10000, &v);
	t->io_weight = (unsigned int)v;
	for (xmlNode *c = x_child(n, "device"); c; c = x_next(c, "device")) {
		struct dom_io_dev *d = &t->io_dev[t->nr_io_devs];

		if (t->nr_io_devs == DOM_MAX_IO_DEVS) {
			px_err(px, c, NULL, "more than %d devices; leave some out", DOM_MAX_IO_DEVS);
			return;
		}
		d->path = x_text_dup(px, x_child(c, "path"));
		if (!d->path) {
			px_err(px, c, NULL, "no <path>; add <path>/dev/sda</path>");
			continue;
		}
		v = 0;
		num_child(px, c, "weight", 1, 10000, &v);
		d->weight = (unsigned int)v;
		for (unsigned int i = 0; i < 4; i++)
			num_child(px, c, limit[i], 0, INT64_MAX, &d->limit[i]);
		t->nr_io_devs++;
	}
}

void h_numatune(struct px *px, xmlNode *n)
{
	static const char *const mode[] = {
		[NUMA_STRICT] = "strict", [NUMA_PREFERRED] = "preferred",
		[NUMA_INTERLEAVE] = "interleave", [NUMA_RESTRICTIVE] = "restrictive",
	};
	struct dom_tune *t = &px->dom->tune;
	xmlNode *m = x_child(n, "memory");

	if (!m || x_is(m, "placement", "auto"))
		return;
	for (unsigned int i = 0; i < sizeof(mode) / sizeof(mode[0]); i++)
		if (x_is(m, "mode", mode[i]))
			t->numa_mode = i;
	x_cpuset(px, m, "nodeset", &t->nodes);
}

/* --- what a device may carry in a second --- */

static void rate(struct px *px, xmlNode *n, const char *name, struct dom_rate *r)
{
	char key[64];

	snprintf(key, sizeof(key), "%s_sec", name);
	num_child(px, n, key, 0, INT64_MAX, &r->rate);
	snprintf(key, sizeof(key), "%s_sec_max", name);
	num_child(px, n, key, 0, INT64_MAX, &r->peak);
	r->peak_s = 1;
	snprintf(key, sizeof(key), "%s_sec_max_length", name);
	num_child(px, n, key, 1, 3600, &r->peak_s);
}

void disk_rates(struct px *px, xmlNode *disk, struct dom_disk *d)
{
	static const char *const names[RATE_NR] = {
		[RATE_BYTES] = "total_bytes", [RATE_BYTES_RD] = "read_bytes", [RATE_BYTES_WR] = "write_bytes",
		[RATE_OPS] = "total_iops", [RATE_OPS_RD] = "read_iops", [RATE_OPS_WR] = "write_iops",
	};
	xmlNode *n = x_child(disk, "iotune");
	unsigned int i;

	for (i = 0; n && i < RATE_NR; i++)
		rate(px, n, names[i], &d->rate[i]);
	for (i = 0; n && i < RATE_NR; i += RATE_OPS)
		if (d->rate[i].rate && (d->rate[i + 1].rate || d->rate[i + 2].rate))
			px_err(px, n, NULL, "%s_sec goes with neither of read and write; keep one kind", names[i]);
}

static void bandwidth(struct px *px, xmlNode *n, struct dom_rate *r)
{
	uint64_t v = 0;

	if (!n)
		return;
	if (!x_num(px, n, "average", 1, INT64_MAX >> 20, &v))
		return;
	r->rate = v << 10;
	v = 0;
	if (x_num(px, n, "burst", 1, INT64_MAX >> 20, &v)) {
		r->peak = v << 10;	/* bytes at once */
		r->peak_s = 1;
	}
}

void nic_rates(struct px *px, xmlNode *nic, struct dom_nic *d)
{
	xmlNode *n = x_child(nic, "bandwidth");

	bandwidth(px, x_child(n, "inbound"), &d->inbound);
	bandwidth(px, x_child(n, "outbound"), &d->outbound);
}
