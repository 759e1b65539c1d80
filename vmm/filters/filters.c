// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system-call filters of hvx-vmm and of the programs beside it, compiled by
 * libseccomp when they are built: that takes millions of instructions, and each
 * start of a guest would pay it. Prints them as C, build/gen/filters.h.
 *
 * What a thread may call is listed by purpose, so that a look at a list says
 * what its holder can do. No list of hvx-vmm has a way to open a file, to start a
 * program, or to make memory executable.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <linux/vhost.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uapi/hvx.h>

#define SC(name) SCMP_SYS(name)
#define LIST(l) l, sizeof(l) / sizeof((l)[0])

static int act(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < n && !ret; i++)
		ret = seccomp_rule_add(ctx, action, calls[i], 0);
	return ret;
}

static int allow(scmp_filter_ctx ctx, const int *calls, size_t n)
{
	return act(ctx, SCMP_ACT_ALLOW, calls, n);
}

/* ----------------------------------------------------------------- hvx-vmm */

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

/* Threads with the data path of a device, and vCPUs: HVX_RUN, and what register handlers do. */
static int thread_rules(scmp_filter_ctx ctx, unsigned int ioc)
{
	/* HVX_RUN is by far the most frequent call of a vCPU thread. */
	return seccomp_syscall_priority(ctx, SC(ioctl), 255) ?:
	       allow(ctx, LIST(base_calls)) ?: allow(ctx, LIST(io_calls)) ?:
	       allow_memory(ctx) ?: allow_ioctls(ctx, LIST(io_ioctls)) ?:
	       allow_ioctl_type(ctx, ioc) ?: allow_ioctl_type(ctx, VHOST_IOC);
}

static int main_rules(scmp_filter_ctx ctx, unsigned int ioc)
{
	return thread_rules(ctx, ioc) ?: allow(ctx, LIST(main_calls)) ?:
	       allow_ioctls(ctx, LIST(main_ioctls)) ?: allow_threads(ctx);
}

/* ------------------------------------------------------------ hvx-net-slirp */

static const int net_calls[] = {
	SC(read), SC(write), SC(readv), SC(writev), SC(close),
	SC(poll), SC(ppoll), SC(clock_gettime), SC(gettimeofday),
	SC(time), SC(brk), SC(munmap), SC(mremap), SC(madvise),
	SC(futex), SC(getrandom), SC(rt_sigreturn), SC(restart_syscall),
	SC(rt_sigprocmask), SC(exit), SC(exit_group), SC(getpid),
	SC(gettid), SC(tgkill), SC(fstat), SC(newfstatat),
	SC(stat), SC(lstat), SC(statx), SC(lseek), SC(fcntl),
	/* sockets */
	SC(connect), SC(bind), SC(listen), SC(accept),
	SC(accept4), SC(shutdown), SC(getsockname), SC(getpeername),
	SC(setsockopt), SC(getsockopt), SC(sendto), SC(recvfrom),
	SC(sendmsg), SC(recvmsg), SC(ioctl),
};

/* Internet sockets only; files for reading only; memory never executable. */
static int net_rules(scmp_filter_ctx ctx, unsigned int ioc)
{
	(void)ioc;
	return allow(ctx, LIST(net_calls)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_INET)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_INET6)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SC(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(openat), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SC(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* -------------------------------------------- qemu-storage-daemon, by hvx-image-qsd */

/* What is forbidden, for a program that is not ours and is another one with each release. */
static const int daemon_forbidden[] = {
	SC(connect), SC(bind), SC(ptrace),
	SC(process_vm_readv), SC(process_vm_writev), SC(pidfd_getfd), SC(pidfd_open),
	SC(mount), SC(umount2), SC(move_mount), SC(open_tree), SC(fsopen),
	SC(pivot_root), SC(chroot), SC(setns), SC(unshare), SC(fork), SC(vfork),
	SC(bpf), SC(perf_event_open), SC(userfaultfd), SC(keyctl), SC(add_key),
	SC(request_key), SC(init_module), SC(finit_module), SC(delete_module),
	SC(kexec_load), SC(kexec_file_load), SC(reboot), SC(swapon), SC(swapoff),
	SC(open_by_handle_at), SC(io_uring_setup), SC(kill), SC(tkill),
	SC(setuid), SC(setgid), SC(setreuid), SC(setresuid), SC(setgroups),
	SC(acct), SC(quotactl), SC(settimeofday), SC(clock_settime), SC(sethostname),
	SC(personality), SC(iopl), SC(ioperm), SC(modify_ldt), SC(memfd_create),
	SC(execveat),
};

static int daemon_rules(scmp_filter_ctx ctx, unsigned int ioc)
{
	(void)ioc;
	return act(ctx, SCMP_ACT_ERRNO(EPERM), LIST(daemon_forbidden)) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SC(socket), 0) ?:
	       /* Threads, but no processes: clone3's flags are where no filter can look. */
	       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SC(clone3), 0) ?:
	       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SC(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) ?:
	       /* Typing into the terminal that the guest was started from. */
	       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SC(ioctl), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCSTI));
}

/* ------------------------------------------------------------------- as C */

static const struct filter {
	const char *name;
	uint32_t otherwise;
	int (*rules)(scmp_filter_ctx ctx, unsigned int ioc);
	unsigned int ioc;
} filters[] = {
	{ "hvx_main", SCMP_ACT_KILL_PROCESS, main_rules, HVX_IOC },
	{ "hvx_thread", SCMP_ACT_KILL_PROCESS, thread_rules, HVX_IOC },
	{ "kvm_main", SCMP_ACT_KILL_PROCESS, main_rules, KVMIO },
	{ "kvm_thread", SCMP_ACT_KILL_PROCESS, thread_rules, KVMIO },
	{ "net", SCMP_ACT_KILL_PROCESS, net_rules, 0 },
	{ "daemon", SCMP_ACT_ALLOW, daemon_rules, 0 },
};

/* libseccomp writes programs to descriptors only. */
static int print(const char *name, FILE *f)
{
	struct sock_filter insn;

	rewind(f);
	printf("static const struct sock_filter __attribute__((unused)) filter_%s[] = {\n", name);
	while (fread(&insn, sizeof(insn), 1, f) == 1)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", insn.code, insn.jt, insn.jf, insn.k);
	printf("};\n");
	return ferror(f) ? -EIO : 0;
}

static int compile(const struct filter *flt)
{
	scmp_filter_ctx ctx = seccomp_init(flt->otherwise);
	FILE *f = tmpfile();
	int ret = ctx && f ? 0 : -ENOMEM;

	ret = ret ?: flt->rules(ctx, flt->ioc) ?: seccomp_export_bpf(ctx, fileno(f)) ?: print(flt->name, f);

	if (ctx)
		seccomp_release(ctx);
	if (f)
		fclose(f);
	if (ret)
		fprintf(stderr, "filter %s: %s\n", flt->name, strerror(-ret));
	return ret;
}

int main(void)
{
	int ret = 0;

	printf("/* Made by vmm/filters/filters.c. */\n");
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
		ret |= compile(&filters[i]);
	return ret || fflush(stdout) ? 1 : 0;
}
