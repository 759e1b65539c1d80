// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Arguments that no honest caller gives, descriptors in the wrong hands. */
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

enum kind { DEV, VM, VCPU };

/* Every call, where its reserved fields are, and a valid argument's flags. */
static const struct call {
	const char *name;
	unsigned int cmd;
	enum kind kind;
	int size;		/* bytes that are read; 0: no structure in */
	struct { int at, len; } zero[3];	/* bytes that must be zero */
} calls[] = {
#define AT(type, field) { offsetof(type, field), sizeof(((type *)0)->field) }
	{ "GET_INFO", HVX_GET_INFO, DEV, 0, { { 0, 0 } } },
	{ "CREATE_VM", HVX_CREATE_VM, DEV, sizeof(struct hvx_create_vm),
	  { AT(struct hvx_create_vm, pad), AT(struct hvx_create_vm, reserved) } },
	{ "CREATE_VCPU", HVX_CREATE_VCPU, VM, 0, { { 0, 0 } } },
	{ "SET_SLOT", HVX_SET_SLOT, VM, sizeof(struct hvx_slot), { AT(struct hvx_slot, reserved) } },
	{ "GET_DIRTY", HVX_GET_DIRTY, VM, sizeof(struct hvx_dirty),
	  { AT(struct hvx_dirty, reserved) } },
	{ "SIGNAL_MSI", HVX_SIGNAL_MSI, VM, sizeof(struct hvx_msi), { AT(struct hvx_msi, flags) } },
	{ "IRQFD", HVX_IRQFD, VM, sizeof(struct hvx_irqfd), { AT(struct hvx_irqfd, reserved) } },
	{ "IOEVENTFD", HVX_IOEVENTFD, VM, sizeof(struct hvx_ioeventfd),
	  { AT(struct hvx_ioeventfd, pad), AT(struct hvx_ioeventfd, reserved) } },
	{ "SET_MSR_FILTER", HVX_SET_MSR_FILTER, VM, sizeof(struct hvx_msr_filter),
	  { AT(struct hvx_msr_filter, pad) } },
	{ "GET_CLOCK", HVX_GET_CLOCK, VM, 0, { { 0, 0 } } },
	{ "SET_CLOCK", HVX_SET_CLOCK, VM, sizeof(struct hvx_clock),
	  { AT(struct hvx_clock, realtime_ns), AT(struct hvx_clock, reserved) } },
	{ "GET_STATS", HVX_GET_STATS, VM, 0, { { 0, 0 } } },
	{ "GET_STATS", HVX_GET_STATS, VCPU, 0, { { 0, 0 } } },
	{ "RUN", HVX_RUN, VCPU, 0, { { 0, 0 } } },
	{ "GET_STATE", HVX_GET_STATE, VCPU, sizeof(struct hvx_state),
	  { AT(struct hvx_state, reserved) } },
	{ "SET_STATE", HVX_SET_STATE, VCPU, sizeof(struct hvx_state),
	  { AT(struct hvx_state, reserved) } },
	{ "GET_MSRS", HVX_GET_MSRS, VCPU, sizeof(struct hvx_msrs), { AT(struct hvx_msrs, pad) } },
	{ "SET_MSRS", HVX_SET_MSRS, VCPU, sizeof(struct hvx_msrs), { AT(struct hvx_msrs, pad) } },
	{ "SET_CPUID", HVX_SET_CPUID, VCPU, sizeof(struct hvx_cpuid), { AT(struct hvx_cpuid, pad) } },
	{ "SET_DEBUG", HVX_SET_DEBUG, VCPU, sizeof(struct hvx_debug),
	  { AT(struct hvx_debug, pad), AT(struct hvx_debug, reserved) } },
	{ "NMI", HVX_NMI, VCPU, 0, { { 0, 0 } } },
	{ "KICK", HVX_KICK, VCPU, 0, { { 0, 0 } } },
	{ "SET_EXTINT", HVX_SET_EXTINT, VCPU, 0, { { 0, 0 } } },
};
#define NCALLS (sizeof(calls) / sizeof(calls[0]))

static const uint8_t hlt[] = { 0xf4 };

static int fd_of(struct tg *g, enum kind kind)
{
	return kind == DEV ? g->dev : kind == VM ? g->vm : g->v[0].fd;
}

static bool knows(enum kind kind, unsigned int cmd)
{
	unsigned int i;

	for (i = 0; i < NCALLS; i++)
		if (calls[i].kind == kind && calls[i].cmd == cmd)
			return true;
	return false;
}

static void expect(const char *what, int r, int err)
{
	if (r >= 0 || errno != err) {
		tg_failed++;
		printf("# %s: %s: %d, errno %d, not %d\n", tg_case, what, r, r < 0 ? errno : 0, err);
	}
}

/* Numbers that the fd does not know, those of the other kinds, and known ones of another size. */
static void unknown_calls(void)
{
	static uint8_t buf[65536];
	unsigned int nr, dir, kind, i;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	for (kind = DEV; kind <= VCPU; kind++) {
		for (nr = 0; nr < 256; nr++) {
			for (dir = 0; dir < 4; dir++) {
				unsigned int cmd = _IOC(dir, HVX_IOC, nr, dir ? 64 : 0);

				if (!knows(kind, cmd))
					expect("unknown", ioctl(fd_of(&g, kind), cmd, buf), ENOTTY);
			}
		}
		for (i = 0; i < NCALLS; i++) {
			if (calls[i].kind != kind && !knows(kind, calls[i].cmd))
				expect(calls[i].name, ioctl(fd_of(&g, kind), calls[i].cmd, buf), ENOTTY);
			if (calls[i].kind == kind)
				expect(calls[i].name, ioctl(fd_of(&g, kind),
							    calls[i].cmd ^ 4 << _IOC_SIZESHIFT, buf), ENOTTY);
		}
		CHECK(read(fd_of(&g, kind), buf, 16) < 0);
		CHECK(write(fd_of(&g, kind), buf, 16) < 0);
	}
	tg_free(&g);
}

static void reserved_fields(void)
{
	uint8_t buf[512];
	unsigned int i, z;
	struct tg g;
	int b;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	for (i = 0; i < NCALLS; i++) {
		for (z = 0; z < 3; z++) {
			for (b = 0; b < calls[i].zero[z].len; b++) {
				memset(buf, 0, sizeof(buf));
				buf[calls[i].zero[z].at + b] = 1 << b % 8;
				expect(calls[i].name, ioctl(fd_of(&g, calls[i].kind), calls[i].cmd, buf), EINVAL);
			}
		}
	}
	tg_free(&g);
}

/* Structures that cannot be read or written, whole or from some byte on. */
static void bad_pointers(void)
{
	uint8_t *edge = mmap(NULL, 2 * TG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *ro = mmap(NULL, TG_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const uintptr_t bad[] = { 0, 8, 0x7ffffffff000, 0x800000000000, 0xffff888000000000,
					 0xffffffff81000000, ~0UL, ~0UL - 7, 0xffffffffff600000 };
	unsigned int i, j;
	struct tg g;

	CHECK(edge != MAP_FAILED && ro != MAP_FAILED);
	CHECK(!mprotect(edge + TG_PAGE, TG_PAGE, PROT_NONE));
	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	for (i = 0; i < NCALLS; i++) {
		int fd = fd_of(&g, calls[i].kind), size = _IOC_SIZE(calls[i].cmd);

		if (!size)
			continue;
		for (j = 0; j < sizeof(bad) / sizeof(bad[0]); j++)
			expect(calls[i].name, ioctl(fd, calls[i].cmd, bad[j]), EFAULT);
		expect(calls[i].name, ioctl(fd, calls[i].cmd, edge + TG_PAGE - size + 1), EFAULT);
		if (!calls[i].size)
			expect(calls[i].name, ioctl(fd, calls[i].cmd, ro), EFAULT);
	}
	tg_free(&g);
	munmap(edge, 2 * TG_PAGE);
	munmap(ro, TG_PAGE);
}

/* The pointers inside. */
static void bad_inner_pointers(void)
{
	struct hvx_state s = { .group = HVX_STATE_REGS, .size = sizeof(struct hvx_regs), .data = 8 };
	struct hvx_cpuid c = { .nent = HVX_MAX_CPUID, .entries = 0xffff888000000000 };
	struct hvx_msrs m = { .count = 2, .entries = 8 };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	CHECK_ERR(ioctl(g.v[0].fd, HVX_GET_STATE, &s), EFAULT);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_STATE, &s), EFAULT);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_CPUID, &c), EFAULT);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_GET_MSRS, &m), EFAULT);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_MSRS, &m), EFAULT);
	tg_free(&g);
}

static const struct hvx_cpuid_entry bad_tables[][2] = {
	{ { .leaf = 1 }, { .leaf = 0 } },
	{ { .leaf = 1 }, { .leaf = 1 } },
	{ { .leaf = 4 }, { .leaf = 4, .subleaf = 1, .flags = HVX_CPUID_SUBLEAF } },
	{ { .leaf = 4, .subleaf = 1, .flags = HVX_CPUID_SUBLEAF },
	  { .leaf = 4, .subleaf = 0, .flags = HVX_CPUID_SUBLEAF } },
	{ { .leaf = 4, .subleaf = 1, .flags = HVX_CPUID_SUBLEAF }, { .leaf = 4 } },
	{ { .leaf = 0 }, { .leaf = 4, .subleaf = 1 } },
	{ { .leaf = 0 }, { .leaf = 1, .flags = 2 } },
	{ { .leaf = 0 }, { .leaf = 1, .pad = 1 } },
	{ { .leaf = 0 }, { .leaf = 0x80000008, .eax = 31 } },
	{ { .leaf = 0 }, { .leaf = 0x80000008, .eax = 53 } },
};

static void sizes_and_counts(void)
{
	static struct hvx_cpuid_entry e[HVX_MAX_CPUID + 1];
	static struct hvx_msr_entry me[257];
	static const uint32_t saved[] = HVX_SAVED_MSRS;
	const unsigned int nr_saved = sizeof(saved) / sizeof(saved[0]);
	struct hvx_cpuid c = { .nent = 0, .entries = (uintptr_t)e };
	struct hvx_msrs m = { .count = HVX_MAX_MSRS + 1, .entries = (uintptr_t)me };
	uint32_t group, size, i;
	static uint8_t buf[65536];
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_CPUID, &c), EINVAL);
	c.nent = HVX_MAX_CPUID + 1;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_CPUID, &c), EINVAL);

	/* Order, doubles, one for all beside one for a subleaf, flags, address widths. */
	for (i = 0; i < sizeof(bad_tables) / sizeof(bad_tables[0]); i++) {
		c = (struct hvx_cpuid) { .nent = 2, .entries = (uintptr_t)bad_tables[i] };
		CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_CPUID, &c), EINVAL);
	}

	/* What the header says must be saved can be, whatever the guest has. */
	for (i = 0; i < nr_saved; i++)
		me[i].index = saved[i];
	m.count = nr_saved;
	CHECK_EQ(ioctl(g.v[0].fd, HVX_GET_MSRS, &m), nr_saved);
	CHECK_EQ(ioctl(g.v[0].fd, HVX_SET_MSRS, &m), nr_saved);
	m.count = HVX_MAX_MSRS + 1;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_GET_MSRS, &m), EINVAL);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_MSRS, &m), EINVAL);
	m.count = 0;
	CHECK_EQ(ioctl(g.v[0].fd, HVX_GET_MSRS, &m), 0);

	for (group = 0; group <= HVX_STATE_NR; group++) {
		for (size = 0; size < 8192; size += size < 2048 ? 1 : 61) {
			struct hvx_state s = { .group = group, .size = size, .data = (uintptr_t)buf };
			int r = ioctl(g.v[0].fd, HVX_GET_STATE, &s);

			if (r && errno != EINVAL)
				CHECK_EQ(errno, EINVAL);
		}
		for (size = ~0U; size; size >>= 1) {
			struct hvx_state s = { .group = group | size, .size = size, .data = (uintptr_t)buf };

			CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_STATE, &s), EINVAL);
		}
	}
	tg_free(&g);
}

static void creation(void)
{
	struct hvx_create_vm c = {};
	struct rlimit old, few;
	unsigned int i;
	struct tg g;
	int fd;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	CHECK_EQ(g.info.api_version, HVX_API_VERSION);
	CHECK(g.info.run_size >= sizeof(struct hvx_run) && g.info.run_size % TG_PAGE == 0);
	CHECK_EQ(g.info.max_vcpus, HVX_MAX_VCPUS);
	CHECK_EQ(g.info.max_slots, HVX_MAX_SLOTS);
	CHECK(g.info.phys_bits >= 36 && g.info.phys_bits <= 52);
	CHECK_EQ(g.info.xcr0 & 3, 3);
	CHECK(g.info.xsave_size >= 512 + 64);
	CHECK(g.info.tsc_khz > 0);
	for (i = 0; i < sizeof(g.info.reserved) / sizeof(g.info.reserved[0]); i++)
		CHECK_EQ(g.info.reserved[i], 0);

	for (i = 3; i < 32; i++) {
		c.flags = 1U << i;
		CHECK_ERR(ioctl(g.dev, HVX_CREATE_VM, &c), EINVAL);
	}
	CHECK(fcntl(g.vm, F_GETFD) & FD_CLOEXEC);
	CHECK(fcntl(g.v[0].fd, F_GETFD) & FD_CLOEXEC);
	CHECK_ERR(ioctl(g.vm, HVX_CREATE_VCPU, 0), EEXIST);
	CHECK_ERR(ioctl(g.vm, HVX_CREATE_VCPU, HVX_MAX_VCPUS), EINVAL);
	CHECK_ERR(ioctl(g.vm, HVX_CREATE_VCPU, ~0UL), EINVAL);
	CHECK_ERR(ioctl(g.vm, HVX_CREATE_VCPU, 1UL << 32), EINVAL);
	tg_add_vcpu(&g, HVX_MAX_VCPUS - 1);

	/* No descriptor left: nothing stays behind. */
	fd = dup(0);
	close(fd);
	getrlimit(RLIMIT_NOFILE, &old);
	few = (struct rlimit) { fd, old.rlim_max };
	CHECK(!setrlimit(RLIMIT_NOFILE, &few));
	c.flags = 0;
	CHECK_ERR(ioctl(g.dev, HVX_CREATE_VM, &c), EMFILE);
	CHECK_ERR(ioctl(g.vm, HVX_CREATE_VCPU, 5), EMFILE);
	CHECK(!setrlimit(RLIMIT_NOFILE, &old));
	tg_add_vcpu(&g, 5);
	tg_free(&g);

	/* All the vCPUs there can be. */
	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	for (i = 1; i < HVX_MAX_VCPUS; i++)
		tg_add_vcpu(&g, i);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

static void run_page_maps(void)
{
	struct hvx_run *run;
	struct tg g;
	int fds[2];
	void *p;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	CHECK(mmap(NULL, 2 * TG_PAGE, PROT_READ, MAP_SHARED, g.v[0].fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, TG_PAGE, PROT_READ, MAP_SHARED, g.v[0].fd, TG_PAGE) == MAP_FAILED);
	CHECK(mmap(NULL, TG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, g.v[0].fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, TG_PAGE, PROT_READ, MAP_SHARED, g.vm, 0) == MAP_FAILED);
	CHECK(mmap(NULL, TG_PAGE, PROT_READ, MAP_SHARED, g.dev, 0) == MAP_FAILED);
	p = mmap(NULL, TG_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g.v[0].fd, 0);
	CHECK(p != MAP_FAILED);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	run = p;
	CHECK_EQ(run->exit_reason, HVX_EXIT_HALTED);
	/* Growing the mapping gives no more pages. */
	p = mremap(p, TG_PAGE, 2 * TG_PAGE, MREMAP_MAYMOVE);
	if (p == MAP_FAILED) {
		p = run;
	} else {
		CHECK(!pipe(fds));
		CHECK_ERR(write(fds[1], p + TG_PAGE, 1), EFAULT);
		CHECK_EQ(write(fds[1], p, 1), 1);
		close(fds[0]);
		close(fds[1]);
		run = p;
	}
	/* It outlives its vCPU. */
	tg_free(&g);
	run->want = 7;
	CHECK_EQ(run->exit_reason, HVX_EXIT_HALTED);
	munmap(p, 2 * TG_PAGE);
}

/* ------------------------------------------------------------ the wrong hands */

static void other_process(void)
{
	uint8_t buf[512] = { 0 };
	unsigned int i;
	struct tg g;
	int status;
	pid_t pid;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		for (i = 0; i < NCALLS; i++)
			if (calls[i].kind != DEV)
				expect(calls[i].name, ioctl(fd_of(&g, calls[i].kind), calls[i].cmd, buf), EIO);
		/* Unknown is unknown everywhere. */
		expect("unknown", ioctl(g.vm, _IO(HVX_IOC, 0xff), 0), ENOTTY);
		fflush(stdout);
		_exit(tg_failed ? 1 : 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

/* The child keeps the descriptors; the parent, whose memory it is, goes first. */
static void orphaned(void)
{
	int go[2], status;
	pid_t pid, child;
	struct tg g;
	char c;

	CHECK(!pipe(go));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
		tg_run_to(&g, 0, HVX_EXIT_HALTED);
		child = fork();
		if (!child) {
			usleep(100000);		/* the parent is gone, the VM's memory with it */
			expect("RUN", ioctl(g.v[0].fd, HVX_RUN, 0), EIO);
			expect("GET_STATS", ioctl(g.vm, HVX_GET_STATS, &g.info), EIO);
			close(g.vm);
			close(g.v[0].fd);
			c = tg_failed;
			if (write(go[1], &c, 1) != 1)
				_exit(1);
			_exit(0);
		}
		_exit(child < 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(read(go[0], &c, 1), 1);
	CHECK_EQ(c, 0);
	close(go[0]);
	close(go[1]);
}

/* A 32-bit entry into the kernel: nothing answers. */
static long ioctl32(int fd, unsigned int cmd, unsigned int arg)
{
	long r;

	asm volatile("int $0x80" : "=a" (r) : "a" (54), "b" (fd), "c" (cmd), "d" (arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return r;
}

static void caller_32bit(void)
{
	void *p = mmap(NULL, TG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned int i;
	struct tg g;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		/* getpid of the 32-bit table, where there is one. */
		long r;

		asm volatile("int $0x80" : "=a" (r) : "a" (20) : "memory", "r8", "r9", "r10", "r11");
		_exit(r != getpid());
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (status) {
		tg_skipped = "this kernel has no 32-bit system calls";
		return;
	}
	CHECK(p != MAP_FAILED);
	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	for (i = 0; i < NCALLS; i++)
		CHECK_EQ(ioctl32(fd_of(&g, calls[i].kind), calls[i].cmd, (uintptr_t)p), -ENOTTY);
	tg_free(&g);
	munmap(p, TG_PAGE);
}

/* VM and vCPU descriptors close in every order. */
static void close_orders(void)
{
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	close(g.vm);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	g.vm = open("/dev/null", O_RDONLY);
	tg_free(&g);

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	close(g.dev);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	close(g.v[0].fd);
	/* The vCPU is there as long as the VM. */
	CHECK_ERR(ioctl(g.vm, HVX_CREATE_VCPU, 0), EEXIST);
	g.dev = open("/dev/null", O_RDONLY);
	g.v[0].fd = open("/dev/null", O_RDONLY);
	tg_free(&g);
}

/* As many pages as the cgroup lets it have; the first failure, or its end, may come at any allocation. */
static void make_vcpus(void)
{
	int dev = open("/dev/hvx", O_RDWR), vm, id;
	struct hvx_create_vm arg = {};

	for (;;) {
		vm = ioctl(dev, HVX_CREATE_VM, &arg);
		for (id = 0; vm >= 0 && id < HVX_MAX_VCPUS; id++)
			if (ioctl(vm, HVX_CREATE_VCPU, id) < 0)
				_exit(0);
		if (vm < 0)
			_exit(0);
	}
}

static bool write_to(const char *dir, const char *file, long val)
{
	char path[64], text[24];
	int fd, n = snprintf(text, sizeof(text), "%ld", val);

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY);
	n = write(fd, text, n) == n;
	close(fd);
	return n;
}

/* Kernel memory is charged to the caller's cgroup: creation fails there, at every step, and unwinds. */
static void no_memory(void)
{
	static const char dir[] = "/sys/fs/cgroup/hvx-hostile";
	struct tg g;
	int kib;
	pid_t pid;

	fflush(stdout);
	mkdir(dir, 0755);
	for (kib = 1200; kib < 1360; kib += 4) {
		if (!write_to(dir, "memory.max", kib * 1024L)) {
			tg_skipped = "no memory controller in /sys/fs/cgroup";
			break;
		}
		pid = fork();
		if (!pid) {
			if (!write_to(dir, "cgroup.procs", 0))
				_exit(1);
			make_vcpus();
		}
		CHECK_EQ(waitpid(pid, &pid, 0) > 0, true);
		CHECK(WIFSIGNALED(pid) || !WEXITSTATUS(pid));
	}
	rmdir(dir);
	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(unknown_calls), TG_TEST(reserved_fields), TG_TEST(bad_pointers),
	TG_TEST(bad_inner_pointers), TG_TEST(sizes_and_counts), TG_TEST(creation),
	TG_TEST(run_page_maps), TG_TEST(other_process), TG_TEST(orphaned), TG_TEST(caller_32bit),
	TG_TEST(close_orders), TG_TEST(no_memory),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
