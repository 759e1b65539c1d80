// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/*
 * Random calls from several threads on several VMs, in several processes: what
 * takes most of the time of a call is the wait for an RCU grace period, and
 * those of different VMs pass together. The host must come through it without a
 * word in its log, and a VM made afterwards must work. Structures are valid
 * ones with a few words changed, most of the time.
 * HVX_FUZZ_CALLS: number of calls of ioctl (default 100,000); HVX_FUZZ_SEED.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"
#include "vmm/cpu.h"

#define PROCESSES	8
#define THREADS		4
#define VMS		3
#define VCPUS		4
#define BEYOND		(8UL << 20)	/* after the memory: more than do_slot() asks for */

struct vm {
	int fd;
	int vcpu[VCPUS];
	struct hvx_run *run[VCPUS];
};

/* Slots of the table are replaced under everybody's hands: a stale descriptor number is part of it. */
static struct vm vms[VMS];
static int dev, events[8];
static uint8_t *mem;
static long calls_wanted;
static __thread long calls;	/* of this thread, since it last added them to shared->made */
static pthread_t threads[THREADS];
static uint64_t seed;		/* of this process; its threads count on from there */

/* What every process starts from. */
static struct hvx_info info;
static struct hvx_cpuid_entry cpuid[HVX_MAX_CPUID];
static uint32_t cpuid_entries;
static bool done;

/*
 * QEMU's TCG does not get CR0 back at #VMEXIT from a guest that has EFER.LME and neither
 * CR0.PG nor CR4.PAE: such a host is lost, whoever runs the guest, so they are kept from it.
 */
static bool lme_is_fatal;

/* The vCPU that a thread is about to run or has asked something of, to kick it out of there. */
static int running[THREADS] = { -1, -1, -1, -1 };
static __thread int self;

struct rng { uint64_t s; };

static uint64_t next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(struct rng *r, uint64_t n)
{
	return next(r) % n;
}

/* A number as likely to be near an edge as anywhere. */
static uint64_t odd(struct rng *r)
{
	switch (below(r, 8)) {
	case 0: return 0;
	case 1: return below(r, 4);
	case 2: return ~0ULL - below(r, 3);
	case 3: return 1ULL << below(r, 64);
	case 4: return (1ULL << below(r, 64)) - 1;
	case 5: return below(r, 4096);
	case 6: return below(r, 1024) << 12;
	default: return next(r);
	}
}

static uint64_t pointer(struct rng *r)
{
	switch (below(r, 6)) {
	case 0: return odd(r);
	case 1: return (uintptr_t)mem + TG_MEM - below(r, 64);
	default: return (uintptr_t)mem + (below(r, TG_MEM - 65536) & ~7ULL);
	}
}

static const uint32_t known[] = {
	HVX_GET_INFO, HVX_CREATE_VM, HVX_CREATE_VCPU,
	HVX_SET_SLOT, HVX_GET_DIRTY, HVX_SIGNAL_MSI, HVX_IRQFD, HVX_IOEVENTFD, HVX_SET_MSR_FILTER,
	HVX_GET_CLOCK, HVX_SET_CLOCK, HVX_GET_STATS, HVX_RUN, HVX_GET_STATE, HVX_SET_STATE,
	HVX_GET_MSRS, HVX_SET_MSRS, HVX_SET_CPUID, HVX_SET_DEBUG, HVX_NMI, HVX_KICK,
	HVX_SET_EXTINT,
};

static const uint32_t msrs[] = {
	0x10, 0x1b, 0x3b, 0x6e0, 0x174, 0x176, 0x1a0, 0x1d9, 0x200, 0x250, 0x277, 0x2ff, 0x400,
	0x802, 0x808, 0x80b, 0x80f, 0x830, 0x832, 0x838, 0x83e, 0x83f, 0xc0000080, 0xc0000081,
	0xc0000082, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010015, 0x4b564d00,
	0x4b564d01, 0x4b564d03, 0x4b564d04, 0x11, 0x12,
};

/* Calls by number, and how many of them succeeded: a fuzzer whose calls all fail tries little. */
struct tally { long made, succeeded; };
static struct shared {
	long made;
	struct tally total[256];
} *shared;
static __thread struct tally tally[256];

static long call_arg(int fd, uint32_t cmd, uintptr_t arg)
{
	long ret = ioctl(fd, cmd, arg);

	calls++;
	tally[_IOC_NR(cmd)].made++;
	tally[_IOC_NR(cmd)].succeeded += ret >= 0;
	return ret;
}
#define call(fd, cmd, arg) call_arg(fd, cmd, (uintptr_t)(arg))

static void tally_up(void)
{
	int i;

	for (i = 0; i < 256; i++) {
		__atomic_add_fetch(&shared->total[i].made, tally[i].made, __ATOMIC_RELAXED);
		__atomic_add_fetch(&shared->total[i].succeeded, tally[i].succeeded, __ATOMIC_RELAXED);
	}
}

static int some_vm(struct rng *r)
{
	return __atomic_load_n(&vms[below(r, VMS)].fd, __ATOMIC_RELAXED);
}

static int some_vcpu(struct rng *r)
{
	return __atomic_load_n(&vms[below(r, VMS)].vcpu[below(r, VCPUS)], __ATOMIC_RELAXED);
}

/* ------------------------------------------------------- calls that nearly fit */

static void do_slot(struct rng *r)
{
	struct hvx_slot s = { .slot = below(r, 6), .flags = below(r, 5), .gpa = below(r, 512) << 12,
			      .size = below(r, 512) << 12 };

	s.hva = (uintptr_t)mem + (below(r, 1024) << 12);
	if (!below(r, 3)) {
		/* The same each time, so that moves and changes of flags happen. */
		s.size = 0x40000;
		s.hva = (uintptr_t)mem + s.slot * 0x40000;
		s.gpa = (uint64_t)s.slot * 0x40000 + (below(r, 2) << 30);
	}
	if (!below(r, 8))
		*(&s.gpa + below(r, 3)) = odd(r);
	if (!below(r, 8))
		s.slot = odd(r);
	call(some_vm(r), HVX_SET_SLOT, &s);
}

static void do_dirty(struct rng *r)
{
	struct hvx_dirty d = { .slot = below(r, 6), .flags = below(r, 4), .first_page = below(r, 3) * 64,
			       .num_pages = below(r, 300), .bitmap = pointer(r) };

	if (!below(r, 8))
		d.num_pages = odd(r);
	call(some_vm(r), HVX_GET_DIRTY, &d);
}

static void do_irqfd(struct rng *r)
{
	struct hvx_irqfd i = { .fd = events[below(r, 8)], .resample_fd = -1, .flags = below(r, 16),
			       .address = 0xfee00000 | below(r, 1 << 20), .data = odd(r) };

	if (i.flags & HVX_IRQFD_RESAMPLE && below(r, 4))
		i.resample_fd = events[below(r, 8)];
	if (!below(r, 16))
		i.fd = below(r, 40);
	call(some_vm(r), HVX_IRQFD, &i);
}

static void do_ioeventfd(struct rng *r)
{
	struct hvx_ioeventfd i = { .fd = events[below(r, 8)], .addr = below(r, 8), .len = 1 << below(r, 4),
				   .flags = below(r, 8), .datamatch = below(r, 3) };

	if (!below(r, 4))
		i.len = below(r, 9);
	if (!below(r, 8))
		i.addr = odd(r);
	call(some_vm(r), HVX_IOEVENTFD, &i);
}

static void do_filter(struct rng *r)
{
	struct hvx_msr_range range[4];
	struct hvx_msr_filter f = { .count = below(r, 5), .ranges = (uintptr_t)range };
	int i;

	for (i = 0; i < 4; i++) {
		range[i] = (struct hvx_msr_range) { .first = msrs[below(r, 36)], .flags = below(r, 4) };
		range[i].last = range[i].first + below(r, 3);
	}
	call(some_vm(r), HVX_SET_MSR_FILTER, &f);
}

static void do_state(struct rng *r)
{
	static const uint32_t size[] = { sizeof(struct hvx_regs), sizeof(struct hvx_sregs),
					 sizeof(struct hvx_events), sizeof(struct hvx_debugregs), 0,
					 sizeof(struct hvx_lapic_state),
					 sizeof(struct hvx_tsc_state) };
	uint64_t buf[1024] = { 0 };
	struct hvx_state s = { .group = below(r, HVX_STATE_NR), .data = (uintptr_t)buf };
	uint32_t words, tries, n;
	int fd = some_vcpu(r);

	s.size = size[s.group];
	if (!s.size)
		s.size = sizeof(struct hvx_xsave_hdr) + info.xsave_size;
	/* Not one that waits for a guest that spins. */
	call(fd, HVX_KICK, 0);
	if (call(fd, HVX_GET_STATE, &s))
		return;
	words = s.size / 8;
	/* Each time a little further from what it was. */
	for (tries = 1 + below(r, 4); tries; tries--) {
		for (n = below(r, 4); n; n--)
			buf[below(r, words)] ^= odd(r);
		if (lme_is_fatal && s.group == HVX_STATE_SREGS &&
		    buf[offsetof(struct hvx_sregs, efer) / 8] & 0x100)
			buf[offsetof(struct hvx_sregs, cr4) / 8] |= 0x20;
		s.size = below(r, 16) ? words * 8 : (uint32_t)odd(r);
		call(fd, HVX_KICK, 0);
		call(fd, HVX_SET_STATE, &s);
	}
}

static void do_msrs(struct rng *r)
{
	struct hvx_msr_entry e[8];
	struct hvx_msrs m = { .count = below(r, 9), .entries = (uintptr_t)e };
	int i;

	for (i = 0; i < 8; i++)
		e[i] = (struct hvx_msr_entry) { .index = msrs[below(r, 36)], .value = odd(r) };
	for (i = 0; i < 8; i++)
		if (lme_is_fatal && e[i].index == 0xc0000080)
			e[i].value &= ~0x100ULL;
	call(some_vcpu(r), below(r, 2) ? HVX_SET_MSRS : HVX_GET_MSRS, &m);
}

static void do_cpuid(struct rng *r)
{
	struct hvx_cpuid_entry e[HVX_MAX_CPUID];
	struct hvx_cpuid c = { .entries = (uintptr_t)e };
	int n;

	c.nent = cpuid_entries;
	memcpy(e, cpuid, sizeof(e));
	for (n = below(r, 4); n; n--) {
		uint32_t *word = (uint32_t *)&e[below(r, c.nent)];

		word[below(r, 8)] ^= odd(r);
	}
	call(some_vcpu(r), HVX_SET_CPUID, &c);
}

static void do_run(struct rng *r)
{
	struct vm *vm = &vms[below(r, VMS)];
	int i = below(r, VCPUS), n;
	volatile uint8_t *page = (void *)vm->run[i];

	for (n = below(r, 3); n && page; n--) {
		uint32_t at = below(r, sizeof(struct hvx_run));

		if (lme_is_fatal && at >= offsetof(struct hvx_run, sregs.cr4) &&
		    at < offsetof(struct hvx_run, sregs.apic_base))
			continue;	/* CR4 and EFER */
		page[at] = odd(r);
	}
	/* Inside it goes on until somebody kicks it; most of the calls are about what comes before. */
	if (page)
		vm->run[i]->immediate_exit = !!below(r, 4);
	if (page && below(r, 2))
		vm->run[i]->dirty = 0;
	n = __atomic_load_n(&vm->vcpu[i], __ATOMIC_RELAXED);
	__atomic_store_n(&running[self], n, __ATOMIC_RELAXED);
	call(n, HVX_RUN, 0);
	__atomic_store_n(&running[self], -1, __ATOMIC_RELAXED);
}

static void do_small(struct rng *r)
{
	struct hvx_clock clock = { .ns = odd(r), .host_tsc = below(r, 2) ? odd(r) : 0 };
	struct hvx_debug d = { .flags = below(r, 8), .db = { odd(r) }, .dr7 = odd(r) };
	struct hvx_msi m = { .address = 0xfee00000 | below(r, 1 << 20), .data = odd(r) };
	uint64_t one = 1;
	int fd = some_vcpu(r);

	switch (below(r, 8)) {
	case 0: call(fd, HVX_KICK, 0); break;
	case 1: call(fd, HVX_NMI, 0); break;
	case 2: call(fd, HVX_SET_EXTINT, below(r, 2)); break;
	case 3: call(fd, HVX_SET_DEBUG, &d); break;
	case 4: call(some_vm(r), HVX_SET_CLOCK, &clock); break;
	case 5: call(some_vm(r), HVX_SIGNAL_MSI, &m); break;
	default:
		if (write(events[below(r, 8)], &one, 8) < 0)
			break;
	}
}

/* The caller's memory changes under the guests; where it was, something is again. */
static void do_memory(struct rng *r)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uint8_t *p = mem + (below(r, 1008) << 12);
	size_t n = (1 + below(r, 15)) << 12;
	uint64_t i;

	pthread_mutex_lock(&lock);	/* none writes what another protects */
	switch (below(r, 6)) {
	case 0: madvise(p, n, MADV_DONTNEED); break;
	case 1:
		mprotect(p, n, PROT_READ);
		mprotect(p, n, PROT_READ | PROT_WRITE);
		break;
	case 2:
		if (mmap(p, n, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			abort();
		break;
	case 3: madvise(p, n, MADV_HUGEPAGE); break;
	case 4:
		/* Random guest code, with instructions that exit sprinkled in. */
		for (i = 0; i < 256; i++)
			p[i] = next(r);
		memcpy(p + below(r, 200), "\xe4\x10\x0f\xa2\xf4\x0f\x30\x0f\x01\xd9", 10);
		break;
	default:
		memset(p, 0, n);
	}
	pthread_mutex_unlock(&lock);
}

static void do_raw(struct rng *r)
{
	uint64_t buf[64];
	uint32_t cmd = known[below(r, sizeof(known) / sizeof(known[0]))];
	int fd = below(r, 3) == 0 ? dev : below(r, 2) ? some_vm(r) : some_vcpu(r), i, ret;
	uint64_t arg;

	for (i = 0; i < 64; i++)
		buf[i] = below(r, 3) ? 0 : odd(r);
	if (!below(r, 8))
		cmd ^= 1U << below(r, 32);
	arg = below(r, 4) ? (uintptr_t)buf : pointer(r);
	if (cmd == HVX_RUN || cmd == HVX_CREATE_VCPU)
		arg = odd(r);
	ret = call(fd, cmd, arg);
	/* Descriptors that came out of it. */
	if (ret > 2 && (cmd == HVX_CREATE_VM || cmd == HVX_CREATE_VCPU))
		close(ret);
}

static void vm_close(struct vm *vm)
{
	int i;

	for (i = 0; i < VCPUS; i++) {
		call(vm->vcpu[i], HVX_KICK, 0);
		close(vm->vcpu[i]);
	}
	close(vm->fd);
}

/* The run page stays where it is: a mapping of the new vCPU's replaces it at the same place. */
static void vm_open(struct vm *vm)
{
	struct hvx_create_vm c = { .flags = HVX_VM_EXIT_HLT };
	struct hvx_slot s = { .size = 0x100000, .hva = (uintptr_t)mem };
	struct hvx_events ev;
	struct hvx_state state = { .group = HVX_STATE_EVENTS, .size = sizeof(ev), .data = (uintptr_t)&ev };
	void *p;
	int i;

	vm->fd = call(dev, HVX_CREATE_VM, &c);
	call(vm->fd, HVX_SET_SLOT, &s);
	for (i = 0; i < VCPUS; i++) {
		vm->vcpu[i] = call(vm->fd, HVX_CREATE_VCPU, i);
		p = mmap(vm->run[i], info.run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (vm->run[i] ? MAP_FIXED : 0), vm->vcpu[i], 0);
		if (p != MAP_FAILED)
			vm->run[i] = p;
		/* Nobody sends it a SIPI: it would only ever wait. The last does. */
		if (!call(vm->vcpu[i], HVX_GET_STATE, &state) && i < VCPUS - 1) {
			ev.mp_state = HVX_MP_RUNNABLE;
			call(vm->vcpu[i], HVX_SET_STATE, &state);
		}
	}
}

/* Only the first thread replaces VMs. */
static void do_replace(struct rng *r)
{
	struct vm *vm = &vms[below(r, VMS)];

	vm_close(vm);
	vm_open(vm);
}

/* What waits for a grace period, whoever is the caller: rarer than the rest. */
static void do_waiting(struct rng *r)
{
	switch (below(r, 8)) {
	case 0: do_filter(r); break;
	case 1: case 2: do_ioeventfd(r); break;
	case 3:
		if (!self && !below(r, 4)) {
			do_replace(r);
			break;
		}
		/* fall through */
	default: do_slot(r);
	}
}

static void *fuzz(void *arg)
{
	long id = (long)arg;
	struct rng r = { seed + id };

	self = id;
	while (__atomic_add_fetch(&shared->made, calls, __ATOMIC_RELAXED) < calls_wanted) {
		calls = 0;
		switch (below(&r, 32)) {
		case 0: do_waiting(&r); break;
		case 1: case 2: case 3: do_dirty(&r); break;
		case 4: case 5: do_irqfd(&r); break;
		case 6: case 7: case 8: case 9: case 10: do_state(&r); break;
		case 11: case 12: case 13: case 14: do_msrs(&r); break;
		case 15: case 16: do_cpuid(&r); break;
		case 17: case 18: case 19: do_run(&r); break;
		case 20: do_memory(&r); break;
		case 21: case 22: case 23: case 24: do_small(&r); break;
		default: do_raw(&r);
		}
	}
	tally_up();
	return NULL;
}

static void no_op(int sig)
{
	(void)sig;
}

/* Guests that wait or spin are brought back, soon: a run is one call like any other. */
static void *disturb(void *arg)
{
	struct rng r = { seed + THREADS };
	int i, fd;

	(void)arg;
	while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
		usleep(200);
		if (!below(&r, 4))
			pthread_kill(threads[below(&r, THREADS)], SIGUSR1);
		for (i = 0; i < THREADS; i++) {
			fd = __atomic_load_n(&running[i], __ATOMIC_RELAXED);
			if (fd >= 0)
				call(fd, HVX_KICK, 0);
		}
	}
	tally_up();
	return NULL;
}

/* One process, with VMs of its own; every other leaves them for the kernel to close. */
static int process(int n)
{
	struct sigaction sa = { .sa_handler = no_op };
	pthread_t d;
	long i;

	seed += n * (THREADS + 1);
	sigaction(SIGUSR1, &sa, NULL);
	/* Slots reach beyond it: what guests and calls write there shall not be this program's. */
	mem = mmap(NULL, TG_MEM + BEYOND, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || mprotect(mem, TG_MEM, PROT_READ | PROT_WRITE))
		return 1;
	for (i = 0; i < 8; i++)
		events[i] = eventfd(0, EFD_NONBLOCK);
	for (i = 0; i < VMS; i++)
		vm_open(&vms[i]);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, fuzz, (void *)i))
			return 2;
	if (pthread_create(&d, NULL, disturb, NULL))
		return 3;
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	pthread_join(d, NULL);
	if (n % 2)
		return 0;
	for (i = 0; i < VMS; i++)
		vm_close(&vms[i]);
	for (i = 0; i < 8; i++)
		close(events[i]);
	return 0;
}

static void fuzz_calls(void)
{
	static const uint8_t hlt[] = { 0xf4 };
	const char *s = getenv("HVX_FUZZ_CALLS");
	int i, status;
	pid_t pid[PROCESSES];
	struct tg g;

	calls_wanted = s ? strtol(s, NULL, 0) : 100000;
	s = getenv("HVX_FUZZ_SEED");
	seed = s ? strtoull(s, NULL, 0) : 20261122;
	printf("# %ld calls, seed %llu\n", calls_wanted, (unsigned long long)seed);
	dev = open("/dev/hvx", O_RDWR | O_CLOEXEC);
	CHECK(!ioctl(dev, HVX_GET_INFO, &info));
	/* do_state()'s buffer, with room for more than there is. */
	CHECK(sizeof(struct hvx_xsave_hdr) + info.xsave_size <= 8192);
	cpuid_entries = cpu_host_table(&info, cpuid);
	lme_is_fatal = tg_host_is_tcg();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	for (i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(process(i));
		CHECK(pid[i] > 0);
	}
	for (i = 0; i < PROCESSES; i++) {
		CHECK(waitpid(pid[i], &status, 0) == pid[i]);
		CHECK_EQ(status, 0);
	}
	for (i = 0; i < 256; i++)
		if (shared->total[i].made > 1000 || _IOC_NR(HVX_CREATE_VM) == i)
			printf("# ioctl 0x%02x: %ld calls, %ld succeeded\n", i, shared->total[i].made,
			       shared->total[i].succeeded);
	printf("# %ld calls made\n", shared->made);
	/* Every thread ends with less than a hundred calls too many. */
	CHECK(shared->made >= calls_wanted && shared->made < calls_wanted + PROCESSES * (THREADS + 1) * 100);

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(fuzz_calls),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
