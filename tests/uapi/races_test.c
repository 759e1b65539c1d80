// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Calls against each other, deaths at bad moments, CPUs that go, and the module's own end. */
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

static const uint8_t spin[] = TG_SPIN, hlt[] = { 0xf4 };

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static unsigned int env_number(const char *name, unsigned int otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

/* Guest: counts at 0xa000, writes all over the second MiB, exits now and then. */
GUEST(g_busy,
      "x2apic\nsti\n"
      "1: lock incl 0xa000\n"
      "mov $0x100000, %edi\n"
      "2: mov %eax, (%rdi)\nadd $0x1000, %edi\ncmp $0x200000, %edi\njb 2b\n"
      "cpuid\nout %al, $0x10\njmp 1b\n");

GUEST(g_eoi,
      "push %rax\npush %rcx\npush %rdx\nwr 0x80b 0\npop %rdx\npop %rcx\npop %rax\niretq\n");

static void *keep_running(void *arg)
{
	struct tg_vcpu *v = arg;

	while (!stopped())
		if (ioctl(v->fd, HVX_RUN, 0) && errno != EINTR)
			break;
	return NULL;
}

static void busy_new(struct tg *g, unsigned int vcpus)
{
	unsigned int i;

	tg_new(g, HVX_VM_EXIT_HLT, g_busy, GUEST_LEN(g_busy));
	memcpy(g->mem + TG_HANDLERS, g_eoi, GUEST_LEN(g_eoi));
	for (i = 0; i < 256; i++)
		tg_gate(g, i, TG_HANDLERS);
	/* NMIs come before the APIC is in x2APIC mode. */
	memcpy(g->mem + TG_HANDLERS + 64, "\x48\xcf", 2);
	tg_gate(g, 2, TG_HANDLERS + 64);
	for (i = 0; i < vcpus; i++) {
		if (i)
			tg_add_vcpu(g, i);
		tg_set_cpuid_supported(g, i);
		tg_long(g, i);
		tg_set_reg(g, i, 4, 0xd000 + i * 0x1000);
	}
}

static void kick_all(struct tg *g)
{
	unsigned int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++)
		if (g->v[i].run)
			ioctl(g->v[i].fd, HVX_KICK, 0);
}

/* -------------------------------------------------------------- close, create */

/* Descriptors close under a running vCPU: the call goes on until it is kicked. */
static void close_while_running(void)
{
	pthread_t t;
	struct tg g;
	int i, fd;

	for (i = 0; i < 20; i++) {
		tg_new(&g, 0, spin, sizeof(spin));
		stop = false;
		fd = dup(g.v[0].fd);
		CHECK(!pthread_create(&t, NULL, keep_running, &g.v[0]));
		usleep(5000);
		close(g.vm);
		close(g.dev);
		if (i & 1)
			munmap(g.v[0].run, g.info.run_size);
		if (i & 2)
			munmap(g.mem, TG_MEM);	/* under the guest's feet: MEMORY_FAULT */
		usleep(1000);
		stop = true;
		CHECK(!ioctl(fd, HVX_KICK, 0));
		pthread_join(t, NULL);
		close(fd);
		close(g.v[0].fd);
		if (!(i & 1))
			munmap(g.v[0].run, g.info.run_size);
		if (!(i & 2))
			munmap(g.mem, TG_MEM);
	}
}

static void *create_vcpus(void *arg)
{
	struct tg *g = arg;
	long made = 0;
	int fd, id;

	while (!stopped()) {
		for (id = 0; id < HVX_MAX_VCPUS; id++) {
			fd = ioctl(g->vm, HVX_CREATE_VCPU, id);
			if (fd >= 0) {
				made++;
				ioctl(fd, HVX_KICK, 0);
				ioctl(fd, HVX_RUN, 0);
				close(fd);
			}
		}
	}
	return (void *)made;
}

/* Every id is given once, whoever asks. */
static void create_races(void)
{
	pthread_t t[3];
	struct tg g;
	long made;
	void *ret;
	int i, k;

	for (k = 0; k < 5; k++) {
		busy_new(&g, 1);
		stop = false;
		for (i = 0; i < 3; i++)
			CHECK(!pthread_create(&t[i], NULL, create_vcpus, &g));
		usleep(50000);
		stop = true;
		for (made = 0, i = 0; i < 3; i++) {
			pthread_join(t[i], &ret);
			made += (long)ret;
		}
		CHECK_EQ(made, HVX_MAX_VCPUS - 1);
		tg_free(&g);
	}
}

/* ---------------------------------------------------- everything against running */

static void *poke(void *arg)
{
	struct hvx_msr_range range = { .first = 0xc0000080, .last = 0xc0000080, .flags = 3 };
	struct hvx_msr_filter f = { .ranges = (uintptr_t)&range };
	struct tg *g = arg;
	struct hvx_stats st;
	struct hvx_clock clock = { .ns = 1000 };
	struct hvx_debug d = {};
	struct hvx_msi m = { .address = 0xfeeff000, .data = 0x40 };
	struct hvx_regs r;
	unsigned int n = 0;

	while (!stopped()) {
		struct tg_vcpu *v = &g->v[n % 2];

		switch (n++ % 11) {
		case 0: ioctl(v->fd, HVX_KICK, 0); break;
		case 1: ioctl(v->fd, HVX_NMI, 0); break;
		case 2: ioctl(v->fd, HVX_SET_EXTINT, n >> 4 & 1); break;
		case 3: ioctl(g->vm, HVX_SIGNAL_MSI, &m); break;
		case 4:
			f.count = n >> 4 & 1;
			ioctl(g->vm, HVX_SET_MSR_FILTER, &f);
			break;
		case 5: ioctl(g->vm, HVX_SET_CLOCK, &clock); break;
		case 6: ioctl(g->vm, HVX_GET_STATS, &st); break;
		case 7: ioctl(v->fd, HVX_GET_STATS, &st); break;
		case 8:
			ioctl(v->fd, HVX_KICK, 0);
			if (tg_get(g, n % 2, HVX_STATE_REGS, &r, sizeof(r)))
				CHECK(0);
			break;
		case 9:
			ioctl(v->fd, HVX_KICK, 0);
			ioctl(v->fd, HVX_SET_DEBUG, &d);
			break;
		case 10: usleep(100); break;
		}
	}
	return NULL;
}

static void *move_slots(void *arg)
{
	static uint64_t bits[16];
	struct hvx_dirty d = { .slot = 1, .flags = HVX_DIRTY_CLEAR, .num_pages = 256, .bitmap = (uintptr_t)bits };
	struct tg *g = arg;
	void *hva = g->mem + 0x100000;
	unsigned int n = 0;

	while (!stopped()) {
		CHECK(!tg_slot(g, 1, n & 1 ? HVX_SLOT_LOG_DIRTY : 0, 0x100000, 0x100000, hva));
		usleep(200);
		d.flags = HVX_DIRTY_CLEAR;
		CHECK_EQ(ioctl(g->vm, HVX_GET_DIRTY, &d) ? errno : 0, n & 1 ? 0 : ENOENT);
		CHECK(!tg_slot(g, 1, HVX_SLOT_LOG_DIRTY, 0x100000, 0x100000, hva));
		CHECK(!tg_slot(g, 1, HVX_SLOT_READONLY, 0x100000, 0x100000, hva));
		CHECK(!tg_slot(g, 1, 0, 0x10000000, 0x100000, hva));
		madvise(hva, 0x80000, n & 2 ? MADV_DONTNEED : MADV_REMOVE);
		mprotect(hva, 0x4000, PROT_NONE);
		CHECK(!tg_slot(g, 1, 0, 0x100000, 0x100000, hva));
		mprotect(hva, 0x4000, PROT_READ | PROT_WRITE);
		CHECK(!tg_slot(g, 1, 0, 0, 0, NULL));
		n++;
	}
	return (void *)(long)n;
}

static void run_against_all(void)
{
	pthread_t r[2], p[2], s;
	struct tg g;
	void *rounds;
	int i;

	busy_new(&g, 2);
	/* A second slot of the guest's busy MiB, so that it comes and goes. */
	CHECK(!tg_slot(&g, 0, 0, 0, 0, NULL));
	CHECK(!tg_slot(&g, 0, 0, 0, 0x100000, g.mem));
	stop = false;
	for (i = 0; i < 2; i++) {
		CHECK(!pthread_create(&r[i], NULL, keep_running, &g.v[i]));
		CHECK(!pthread_create(&p[i], NULL, poke, &g));
	}
	CHECK(!pthread_create(&s, NULL, move_slots, &g));
	sleep(env_number("HVX_RACE_SECONDS", 5));
	stop = true;
	kick_all(&g);
	pthread_join(s, &rounds);
	for (i = 0; i < 2; i++)
		pthread_join(p[i], NULL);
	kick_all(&g);
	for (i = 0; i < 2; i++)
		pthread_join(r[i], NULL);
	CHECK((long)rounds > 2);
	CHECK(*(uint32_t *)(g.mem + 0xa000) > 2);
	tg_free(&g);
}

/* --------------------------------------------------------------------- deaths */

static void victim(unsigned int n)
{
	pthread_t t[4];
	struct tg g;
	unsigned int i;

	if (n % 3 == 0) {
		tg_new(&g, 0, hlt, sizeof(hlt));
		for (i = 1; i < 3; i++)
			tg_add_vcpu(&g, i);
	} else {
		busy_new(&g, 3);
		CHECK(!tg_slot(&g, 0, 0, 0, 0, NULL));
		CHECK(!tg_slot(&g, 0, 0, 0, 0x100000, g.mem));
	}
	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, keep_running, &g.v[i]);
	if (n % 3 == 1)
		pthread_create(&t[3], NULL, poke, &g);
	else if (n % 3 == 2)
		pthread_create(&t[3], NULL, move_slots, &g);
	pause();
}

/* kill -9 with everything running, at moments spread over a child's youth. */
static void kills(void)
{
	unsigned int i, n = env_number("HVX_KILLS", 60), seed = 4711;
	int status;
	pid_t pid;

	fflush(stdout);
	stop = false;
	for (i = 0; i < n; i++) {
		pid = fork();
		if (!pid) {
			freopen("/dev/null", "w", stdout);
			victim(i);
			_exit(0);
		}
		usleep(rand_r(&seed) % 40000);
		kill(pid, SIGKILL);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

/* A thread that waits for a vCPU's lock can be killed, and so can one in HLT. */
static void *wait_for_state(void *arg)
{
	struct hvx_regs r;

	tg_get(arg, 0, HVX_STATE_REGS, &r, sizeof(r));
	return NULL;
}

static void killed_waiters(void)
{
	pthread_t t[4];
	struct tg g;
	int status, i;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		tg_new(&g, 0, spin, sizeof(spin));
		stop = false;
		pthread_create(&t[0], NULL, keep_running, &g.v[0]);
		usleep(20000);
		for (i = 1; i < 4; i++)
			pthread_create(&t[i], NULL, wait_for_state, &g);
		pause();
	}
	usleep(300000);
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
}

/* --------------------------------------------------------------- CPU hotplug */

static int cpu1(const char *how)
{
	int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY), r;

	if (fd < 0)
		return -1;
	r = write(fd, how, 1);
	close(fd);
	return r == 1 ? 0 : -1;
}

static void cpu_hotplug(void)
{
	uint32_t before;
	pthread_t r[3];
	struct tg g, h;
	int i;

	if (cpu1("1")) {
		tg_skipped = "CPU 1 cannot be turned off and on here";
		return;
	}
	busy_new(&g, 3);
	stop = false;
	for (i = 0; i < 3; i++)
		CHECK(!pthread_create(&r[i], NULL, keep_running, &g.v[i]));
	for (i = 0; i < 4; i++) {
		CHECK(!cpu1("0"));
		before = *(volatile uint32_t *)(g.mem + 0xa000);
		/* A VM can be made while the CPU is away. */
		tg_new(&h, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
		tg_run_to(&h, 0, HVX_EXIT_HALTED);
		CHECK(!cpu1("1"));
		usleep(50000);
		tg_free(&h);
		CHECK(*(volatile uint32_t *)(g.mem + 0xa000) != before);
	}
	stop = true;
	kick_all(&g);
	for (i = 0; i < 3; i++)
		pthread_join(r[i], NULL);
	tg_free(&g);
	/* The first VM while it is away, the CPU comes back later. */
	CHECK(!cpu1("0"));
	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	CHECK(!cpu1("1"));
	for (i = 0; i < 20; i++) {
		tg_set_reg(&g, 0, 16, TG_CODE);
		tg_run_to(&g, 0, HVX_EXIT_HALTED);
		usleep(1000);
	}
	tg_free(&g);
}

/* ------------------------------------------------------------------ unloading */

static int unload(void)
{
	return syscall(SYS_delete_module, "hvx", O_NONBLOCK);
}

static void rmmod_in_use(void)
{
	const char *file = getenv("HVX_MODULE");
	int fd, i;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	CHECK_ERR(unload(), EAGAIN);
	close(g.dev);
	CHECK_ERR(unload(), EAGAIN);
	close(g.vm);				/* the vCPU alone holds it */
	CHECK_ERR(unload(), EAGAIN);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	g.vm = open("/dev/null", O_RDONLY);
	g.dev = open("/dev/null", O_RDONLY);
	tg_free(&g);
	if (!file) {
		tg_skipped = "HVX_MODULE is not set, so it would not come back";
		return;
	}
	for (i = 0; i < 3; i++) {
		int tries = 50;

		/* The last reference may still be on its way out. */
		while (unload() && --tries)
			usleep(100000);
		CHECK(tries > 0);
		fd = open(file, O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0);
		CHECK(!syscall(SYS_finit_module, fd, "", 0));
		close(fd);
		for (tries = 50; access("/dev/hvx", F_OK) && --tries;)
			usleep(100000);
		tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
		tg_run_to(&g, 0, HVX_EXIT_HALTED);
		tg_free(&g);
	}
}

/* ------------------------------------------------------------------ the dirty log */

/* Writes to a page, says at 0xa000 that it has, and waits for an answer at 0xa008 in the guest: nothing exits. */
GUEST(g_writes,
      "1: incl (%rdi)\nincl %eax\nmov %eax, 0xa000\n"
      "2: cli\ncmp %eax, 0xa008\njne 2b\njmp 1b\n");

static uint32_t word(struct tg *g, unsigned int at)
{
	return __atomic_load_n((uint32_t *)(g->mem + at), __ATOMIC_SEQ_CST);
}

/* The log shows a write by a vCPU that has not left the guest since. */
static void log_of_running(void)
{
	struct hvx_dirty d = { .slot = 1, .flags = HVX_DIRTY_CLEAR, .num_pages = 1 };
	unsigned int round, missed = 0;
	uint64_t bits;
	pthread_t t;
	uint8_t *p;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, g_writes, GUEST_LEN(g_writes));
	tg_long(&g, 0);
	p = mmap(NULL, TG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!tg_slot(&g, 1, HVX_SLOT_LOG_DIRTY, 0x40000000, TG_PAGE, p));
	tg_set_reg(&g, 0, 0, 0);
	tg_set_reg(&g, 0, 7, 0x40000000);
	d.bitmap = (uintptr_t)&bits;
	stop = false;
	CHECK(!pthread_create(&t, NULL, keep_running, &g.v[0]));
	for (round = 1; round <= 200; round++) {
		while (word(&g, 0xa000) != round)
			sched_yield();
		CHECK(!ioctl(g.vm, HVX_GET_DIRTY, &d));
		missed += !(bits & 1);
		__atomic_store_n((uint32_t *)(g.mem + 0xa008), round, __ATOMIC_SEQ_CST);
	}
	CHECK_EQ(missed, 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	kick_all(&g);
	pthread_join(t, NULL);
	tg_free(&g);
	munmap(p, TG_PAGE);
}

static const struct tg_test tests[] = {
	TG_TEST(close_while_running), TG_TEST(create_races), TG_TEST(run_against_all), TG_TEST(kills),
	TG_TEST(killed_waiters), TG_TEST(cpu_hotplug), TG_TEST(log_of_running), TG_TEST(rmmod_in_use),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
