// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cgroup.h"
#include "log.h"
#include "tune.h"

static struct cgroup cg;
static const struct domain *guest;	/* whose tuning is in force; NULL: none */

static const char *const controller[CG_NR] = { "cpu", "memory", "io" };

static bool wanted(const struct domain *dom, int which)
{
	const struct dom_tune *t = &dom->tune;

	switch (which) {
	case CG_CPU:
		return t->shares || t->quota || t->global_quota || t->emulator_quota;
	case CG_MEMORY:
		return t->hard_limit || t->soft_limit || t->min_guarantee || t->swap_hard_limit;
	default:
		return t->io_weight || t->nr_io_devs;
	}
}

static void put(const char *file, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(const char *file, const char *what, const char *fmt, ...)
{
	char text[128];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ret = cgroup_write(cg.path, file, text);
	if (ret)
		log_warn("%s: the control group does not take %s in %s: %s", what, text, file, strerror(-ret));
}

static void put_max(const char *file, const char *what, int64_t quota, uint64_t period)
{
	unsigned long long p = period ? period : 100000;

	if (quota > 0)
		put(file, what, "%lld %llu", (long long)quota, p);
	else if (quota < 0)
		put(file, what, "max %llu", p);
}

/* A part of the group for threads that have a quota of their own. */
static void part(const char *name, const char *what, int64_t quota, uint64_t period)
{
	int ret = cgroup_thread_group(&cg, name);
	char file[64];

	if (ret) {
		log_warn("%s: no group for %s: %s", what, name, strerror(-ret));
		return;
	}
	cg.threads = true;
	snprintf(file, sizeof(file), "%.40s/cpu.max", name);
	put_max(file, what, quota, period);
}

static void set_cpu(const struct dom_tune *t, unsigned int vcpus)
{
	unsigned int i;
	char name[16];

	if (t->shares)
		put("cpu.weight", "<shares>", "%llu", (unsigned long long)(t->shares > 10000 ? 10000 : t->shares));
	put_max("cpu.max", "<global_quota>", t->global_quota, t->global_period);
	for (i = 0; t->quota && i < vcpus; i++) {
		snprintf(name, sizeof(name), "vcpu%u", i % 1000);
		part(name, "<quota>", t->quota, t->period);
	}
	if (t->emulator_quota) {
		part("emulator", "<emulator_quota>", t->emulator_quota, t->emulator_period);
		put("emulator/cgroup.threads", "<emulator_quota>", "%d", (int)gettid());
	}
}

static void set_memory(const struct dom_tune *t)
{
	if (t->hard_limit)
		put("memory.max", "<hard_limit>", "%llu", (unsigned long long)t->hard_limit);
	if (t->soft_limit)
		put("memory.high", "<soft_limit>", "%llu", (unsigned long long)t->soft_limit);
	if (t->min_guarantee)
		put("memory.min", "<min_guarantee>", "%llu", (unsigned long long)t->min_guarantee);
	/* libvirt's is of memory and swap together. */
	if (t->swap_hard_limit)
		put("memory.swap.max", "<swap_hard_limit>", "%llu",
		    (unsigned long long)(t->swap_hard_limit > t->hard_limit ? t->swap_hard_limit - t->hard_limit : 0));
}

static void set_io(const struct dom_tune *t)
{
	static const char *const key[] = { "rbps", "wbps", "riops", "wiops" };
	unsigned int i, k;

	if (t->io_weight)
		put("io.weight", "<weight>", "default %u", t->io_weight);
	for (i = 0; i < t->nr_io_devs; i++) {
		const struct dom_io_dev *d = &t->io_dev[i];
		unsigned int maj, min;
		struct stat st;

		if (stat(d->path, &st) || !S_ISBLK(st.st_mode)) {
			log_warn("<blkiotune>: %s is no block device of this host: left out", d->path);
			continue;
		}
		maj = major(st.st_rdev);
		min = minor(st.st_rdev);
		if (d->weight)
			put("io.weight", "<device>", "%u:%u %u", maj, min, d->weight);
		for (k = 0; k < 4; k++)
			if (d->limit[k])
				put("io.max", "<device>", "%u:%u %s=%llu", maj, min, key[k], (unsigned long long)d->limit[k]);
	}
}

/* What to type where there is no group for the guest. */
static void say_none(int err, bool root)
{
	if (err == -ENOSYS)
		log_warn("<cputune>, <memtune>, <blkiotune>: this host has no control groups of version 2 on /sys/fs/cgroup: left out; boot it with systemd.unified_cgroup_hierarchy=1");
	else if (err == -EACCES && !root)
		log_warn("<cputune>, <memtune>, <blkiotune>: no control group was delegated to you: left out; start the guest with: systemd-run --user --scope -p Delegate=yes hvx ...");
	else
		log_warn("<cputune>, <memtune>, <blkiotune>: no control group can be made: %s: left out", strerror(-err));
}

static void make_group(const struct domain *dom)
{
	const struct dom_tune *t = &dom->tune;
	bool any = false;
	int i, ret;

	for (i = 0; i < CG_NR; i++)
		any |= wanted(dom, i);
	if (!any)
		return;
	cgroup_sweep();
	ret = cgroup_make(&cg, dom->name);
	if (ret) {
		say_none(ret, !geteuid());
		return;
	}
	for (i = 0; i < CG_NR; i++)
		if (wanted(dom, i) && !cg.has[i])
			log_warn("the control group has no controller %s: what the XML says of it is left out; in the unit or scope: Delegate=yes, and on the host: cgroup_enable=memory where that is missing",
				 controller[i]);
	if (cg.has[CG_MEMORY])
		set_memory(t);
	if (cg.has[CG_IO])
		set_io(t);
	if (cg.has[CG_CPU])
		set_cpu(t, dom->max_vcpus);
}

/* ------------------------------------------------------------------ pinning */

static void pin(const struct dom_cpuset *set, const char *what)
{
	cpu_set_t cpus;
	unsigned int i;

	if (!set->given)
		return;
	CPU_ZERO(&cpus);
	for (i = 0; i < DOM_MAX_HOST_CPUS && i < CPU_SETSIZE; i++)
		if (set->bits[i / 64] >> i % 64 & 1)
			CPU_SET(i, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		log_warn("%s: none of these CPUs can be used: %s", what, strerror(errno));
}

void tune_begin(const struct domain *dom)
{
	guest = dom;
	make_group(dom);
	pin(dom->tune.emulator.given ? &dom->tune.emulator : &dom->tune.vcpu_set, "<emulatorpin>");
}

void tune_vcpu(unsigned int vcpu)
{
	char file[32], tid[16];
	int ret;

	if (!guest || vcpu >= DOM_MAX_VCPUS)
		return;
	if (guest->tune.vcpu[vcpu].given)
		pin(&guest->tune.vcpu[vcpu], "<vcpupin>");
	else
		pin(&guest->tune.vcpu_set, "<vcpu cpuset=>");
	if (!cg.threads || !guest->tune.quota)
		return;
	snprintf(file, sizeof(file), "vcpu%u/cgroup.threads", vcpu);
	snprintf(tid, sizeof(tid), "%d", (int)gettid());
	ret = cgroup_write(cg.path, file, tid);
	if (ret)
		log_warn("<quota>: vCPU %u cannot be put into its group: %s", vcpu, strerror(-ret));
}

void tune_io_thread(void)
{
	if (guest)
		pin(&guest->tune.iothread, "<iothreadpin>");
}

int tune_numa(const struct domain *dom, unsigned long nodes[DOM_MAX_HOST_CPUS / 64])
{
	static const int policy[] = {
		[NUMA_STRICT] = MPOL_BIND, [NUMA_PREFERRED] = MPOL_PREFERRED,
		[NUMA_INTERLEAVE] = MPOL_INTERLEAVE, [NUMA_RESTRICTIVE] = MPOL_BIND,
	};

	if (!dom->tune.nodes.given)
		return 0;
	memcpy(nodes, dom->tune.nodes.bits, sizeof(dom->tune.nodes.bits));
	return policy[dom->tune.numa_mode];
}

void tune_end(void)
{
	cgroup_leave(&cg);
	guest = NULL;
}
