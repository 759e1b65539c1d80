// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capabilities (libcap) and system-call filters (libseccomp). The filters are
 * compiled once and installed by each thread for itself.
 *
 * What a thread may call is listed by purpose, so that a look at a list says
 * what its holder can do. No list has a way to open a file, to start a program,
 * or to make memory executable.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <linux/vhost.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"

static bool active;
static _Atomic bool entered;	/* by the main thread: those that it starts inherit what it is */
static struct sock_fprog filter[SANDBOX_NR];

#define SC(name) SCMP_SYS(name)

/* What the C library does for any thread: memory, locks, time, dying. */
static const int base_calls[] = {
	SC(read), SC(write), SC(readv), SC(writev), SC(close), SC(futex),
	SC(munmap), SC(madvise), SC(brk), SC(mremap),
	SC(clock_gettime), SC(gettimeofday), SC(time), SC(nanosleep), SC(clock_nanosleep),
	SC(rt_sigreturn), SC(rt_sigprocmask), SC(rt_sigaction), SC(restart_syscall),
	SC(sigaltstack), SC(getpid), SC(gettid), SC(tgkill), SC(sched_yield), SC(getrandom),
	SC(exit), SC(exit_group), SC(rseq), SC(set_robust_list), SC(fstat), SC(newfstatat),
	/* eventfds, timers and polling of the event loops */
	SC(timerfd_settime), SC(epoll_ctl), SC(epoll_wait), SC(epoll_pwait), SC(poll), SC(ppoll),
	SC(eventfd2),
};

/* Data in and out of descriptors that are open: disks, sockets, tap. */
static const int io_calls[] = {
	SC(pread64), SC(pwrite64), SC(preadv), SC(pwritev), SC(preadv2), SC(pwritev2),
	SC(lseek), SC(fsync), SC(fdatasync), SC(fallocate), SC(ftruncate),
	SC(io_uring_enter), SC(io_uring_register),
	SC(sendto), SC(recvfrom), SC(sendmsg), SC(recvmsg), SC(shutdown),
};

/* Console connections, and clearing away at the end. */
static const int main_calls[] = {
	SC(accept4), SC(fcntl), SC(unlink), SC(unlinkat), SC(rmdir), SC(wait4), SC(waitid),
	SC(kill), SC(getsockopt), SC(setsockopt),
	/* an event loop for a device that is plugged in */
	SC(epoll_create1), SC(timerfd_create),
};

/*
 * The main thread starts the threads of devices that are plugged in later: a thread
 * of this process, by the flags that the C library gives, and nothing that is less
 * than that. clone3's are in memory, where a filter cannot look: it fails as on old
 * kernels, and the C library takes clone. Such a thread has the main thread's filter
 * already and puts its own, narrower one on top. So do the threads of a migration,
 * but for the narrower one: they take and let go of image locks.
 */
#define THREAD_FLAGS	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
			 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static int allow_threads(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SC(clone3), 0) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(clone), 1,
				SCMP_A0(SCMP_CMP_EQ, THREAD_FLAGS)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(seccomp), 2,
				SCMP_A0(SCMP_CMP_EQ, SECCOMP_SET_MODE_FILTER), SCMP_A1(SCMP_CMP_EQ, 0)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
}

/* ioctls by exact number; those of the hypervisor and vhost go by their type byte. */
static const unsigned long io_ioctls[] = {
	BLKDISCARD, BLKZEROOUT, BLKSECDISCARD,
	TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETQUEUE,
};

static const unsigned long main_ioctls[] = {
	TCGETS, TCSETS, TCSETSW, TCSETSF, FIONREAD,
	/* a migration's threads: memory that comes after the guest */
	UFFDIO_REGISTER, UFFDIO_UNREGISTER, UFFDIO_COPY, UFFDIO_WAKE,
};

#define IOC_TYPE_MASK	0xff00U
#define VHOST_IOC	0xaf

static int allow(scmp_filter_ctx ctx, const int *calls, size_t n)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < n && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return ret;
}

static int allow_ioctls(scmp_filter_ctx ctx, const unsigned long *req, size_t n)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < n && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(ioctl), 1,
				       SCMP_A1(SCMP_CMP_EQ, req[i]));
	return ret;
}

static int allow_ioctl_type(scmp_filter_ctx ctx, unsigned int type)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(ioctl), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, IOC_TYPE_MASK, type << 8));
}

/* Memory may be mapped and protected, but never made executable. */
static int allow_memory(scmp_filter_ctx ctx)
{
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(mmap), 1,
				   SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	return ret ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(mprotect), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

#define LIST(l) l, sizeof(l) / sizeof((l)[0])

static int add_rules(scmp_filter_ctx ctx, enum sandbox_kind kind, unsigned int ioc)
{
	int ret = allow(ctx, LIST(base_calls)) ?: allow(ctx, LIST(io_calls)) ?:
		  allow_memory(ctx) ?: allow_ioctls(ctx, LIST(io_ioctls)) ?:
		  allow_ioctl_type(ctx, ioc) ?: allow_ioctl_type(ctx, VHOST_IOC);

	if (!ret && kind == SANDBOX_MAIN)
		ret = allow(ctx, LIST(main_calls)) ?: allow_ioctls(ctx, LIST(main_ioctls)) ?: allow_threads(ctx);
	return ret;
}

/* libseccomp writes programs to descriptors only. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *prog)
{
	int ret, fd = memfd_create("seccomp", MFD_CLOEXEC);
	off_t len;

	if (fd < 0)
		return -errno;
	ret = seccomp_export_bpf(ctx, fd);
	if (ret)
		goto out;
	len = lseek(fd, 0, SEEK_END);
	prog->len = (unsigned short)((size_t)len / sizeof(struct sock_filter));
	prog->filter = malloc((size_t)len);
	if (!prog->filter)
		ret = -ENOMEM;
	else if (pread(fd, prog->filter, (size_t)len, 0) != len)
		ret = -EIO;
out:
	close(fd);
	return ret;
}

static int compile(enum sandbox_kind kind, unsigned int ioc)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret;

	if (!ctx)
		return -ENOMEM;
	/* HVX_RUN is by far the most frequent call of a vCPU thread. */
	ret = seccomp_syscall_priority(ctx, SC(ioctl), 255) ?: add_rules(ctx, kind, ioc) ?:
	      export(ctx, &filter[kind]);
	seccomp_release(ctx);
	return ret;
}

int sandbox_init(bool enabled, unsigned int ioc)
{
	int kind, ret = 0;

	active = enabled;
	for (kind = 0; enabled && kind < SANDBOX_NR && !ret; kind++)
		ret = compile(kind, ioc);
	if (ret)
		log_error("cannot compile the system-call filters: %s", strerror(-ret));
	return ret;
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

	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter[kind]))
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
	if (entered)	/* a late thread: no rights to give up are left, but for its filter's */
		return install(kind);
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
	if (!ret && kind == SANDBOX_MAIN)
		entered = true;
	return ret;
}

bool sandbox_entered(void)
{
	return entered;
}
