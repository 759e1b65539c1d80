// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capabilities (libcap) and system-call filters, which were compiled with the
 * program (vmm/filters/filters.c) and are installed by each thread for itself.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <uapi/hvx.h>
#include "filters.h"
#include "log.h"
#include "sandbox.h"

#define THREAD_NAME	16

static bool active;
static __thread bool bare;	/* this thread has no rights left: nor will those that it starts */

/* A thread that is about to be. */
struct birth {
	const struct sandbox_thread *what;
	bool bare;			/* its maker was */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
	int ret;
};

#define PROGRAM(f) { sizeof(f) / sizeof((f)[0]), (struct sock_filter *)(f) }

/* By the hypervisor whose ioctls they let through. */
static const struct filters {
	unsigned int ioc;
	struct sock_fprog of[SANDBOX_NR];
} filters[] = {
	{ HVX_IOC, {
		[SANDBOX_MAIN] = PROGRAM(filter_hvx_main),
		[SANDBOX_VCPU] = PROGRAM(filter_hvx_thread),
		[SANDBOX_IO] = PROGRAM(filter_hvx_thread) } },
	{ KVMIO, {
		[SANDBOX_MAIN] = PROGRAM(filter_kvm_main),
		[SANDBOX_VCPU] = PROGRAM(filter_kvm_thread),
		[SANDBOX_IO] = PROGRAM(filter_kvm_thread) } },
};

static const struct filters *filter;

int sandbox_init(bool enabled, unsigned int ioc)
{
	size_t i;

	active = enabled;
	for (i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
		if (filters[i].ioc == ioc)
			filter = &filters[i];
	if (enabled && !filter) {
		log_error("there are no system-call filters for this hypervisor");
		return -EINVAL;
	}
	return 0;
}

static int drop_capabilities(void)
{
	cap_t none;
	cap_value_t c;
	int ret = 0;

	/* EPERM without CAP_SETPCAP: then there is nothing in the set to fear either. */
	for (c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++)
		prctl(PR_CAPBSET_DROP, c);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	none = cap_init();
	if (!none || cap_set_proc(none) < 0)
		ret = -errno;
	cap_free(none);
	return ret;
}

static int install(enum sandbox_kind kind)
{
	int ret;

	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter->of[kind]))
		return 0;
	ret = -errno;
	log_error("cannot install the system-call filter: %s; --no-sandbox runs without",
		  strerror(errno));
	return ret;
}

int sandbox_enter_thread(enum sandbox_kind kind)
{
	int ret;

	if (!active)
		return 0;
	if (bare)	/* no rights to give up are left, but for its filter's */
		return kind == SANDBOX_MAIN ? 0 : install(kind);
	ret = drop_capabilities();
	if (ret) {
		log_error("cannot drop capabilities: %s", strerror(-ret));
		return ret;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    (kind == SANDBOX_MAIN && prctl(PR_SET_DUMPABLE, 0) < 0)) {
		ret = -errno;
		log_error("cannot give up privileges: %s", strerror(errno));
		return ret;
	}
	ret = install(kind);
	bare = !ret;
	return ret;
}

bool sandbox_entered(void)
{
	return bare;
}

static void *born(void *arg)
{
	struct birth *b = arg;
	struct sandbox_thread what = *b->what;
	char name[THREAD_NAME];
	int ret;

	bare = b->bare;
	snprintf(name, sizeof(name), "%s", what.name);
	/* By the thread itself: for others it is a file in /proc. */
	pthread_setname_np(pthread_self(), name);
	if (what.prepare && !bare)
		what.prepare(what.arg);
	ret = sandbox_enter_thread(what.kind);

	pthread_mutex_lock(&b->lock);
	b->ret = ret;
	b->done = true;		/* b is gone once the lock is */
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->lock);
	return ret ? NULL : what.run(what.arg);
}

int sandbox_thread(pthread_t *thread, const struct sandbox_thread *what)
{
	struct birth b = {
		.what = what, .bare = bare,
		.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER,
	};
	pthread_attr_t attr;
	int ret;

	if (active && !bare && what->kind == SANDBOX_MAIN)
		return -EPERM;
	pthread_attr_init(&attr);
	if (what->stack)
		pthread_attr_setstacksize(&attr, what->stack);
	ret = -pthread_create(thread, &attr, born, &b);
	pthread_attr_destroy(&attr);
	if (ret)
		return ret;

	pthread_mutex_lock(&b.lock);
	while (!b.done)
		pthread_cond_wait(&b.changed, &b.lock);
	pthread_mutex_unlock(&b.lock);
	if (b.ret)
		pthread_join(*thread, NULL);
	return b.ret;
}
