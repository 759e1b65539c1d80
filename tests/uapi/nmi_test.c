// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* The host's own NMIs, on a CPU that runs a guest. */
#include <sched.h>
#include <sys/klog.h>

#include "tg.h"

#define CPU 1

static bool stop;

static bool pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void *spins(void *arg)
{
	struct tg_vcpu *v = arg;

	CHECK(pin(CPU));
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		if (ioctl(v->fd, HVX_RUN, 0) && errno != EINTR)
			break;
	return NULL;
}

/* NMIs that the CPU took so far. */
static unsigned long nmis(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	unsigned long n[CPU + 1] = { 0 };
	char line[4096];

	CHECK(f);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " NMI: %lu %lu", &n[0], &n[1]) == 2)
			break;
	if (f)
		fclose(f);
	return n[CPU];
}

/* The kernel sends each other CPU an NMI for its backtrace, and waits for 10 s at most. */
static bool backtraces(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY);
	bool done = fd >= 0 && write(fd, "l", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

/*
 * tests/run would take the backtraces for complaints of the kernel: they are
 * taken out of its log, and complaints looked for here. How many backtraces of
 * the CPU were of the thread with the guest?
 */
static int of_guest(void)
{
	static char log[1 << 18];
	int n = klogctl(4, log, sizeof(log) - 1), seen = 0;	/* SYSLOG_ACTION_READ_CLEAR */
	char *line, *rest = log;

	CHECK(n > 0);
	while ((line = strsep(&rest, "\n"))) {
		seen += strstr(line, "CPU: 1 ") && strstr(line, "Comm: nmi_test");
		CHECK(!strstr(line, "WARNING: ") && !strstr(line, "BUG: ") && !strstr(line, "stall"));
	}
	return seen;
}

/* An NMI that ends the guest is the host's: none may be lost, and each must let the next one in. */
static void host_nmis(void)
{
	static const uint8_t spin[] = TG_SPIN;
	unsigned long before;
	cpu_set_t all;
	pthread_t t;
	struct tg g;
	int i;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	if (!CPU_ISSET(0, &all) || !CPU_ISSET(CPU, &all)) {
		tg_skipped = "needs two CPUs";
		return;
	}
	if (access("/proc/sysrq-trigger", W_OK)) {
		tg_skipped = "no sysrq to send NMIs by";
		return;
	}
	CHECK(pin(0));
	tg_new(&g, 0, spin, sizeof(spin));
	CHECK(!pthread_create(&t, NULL, spins, &g.v[0]));
	for (i = 0; i < 5; i++) {
		usleep(100000);
		before = nmis();
		CHECK(backtraces());
		CHECK(nmis() > before);
	}
	CHECK(of_guest());
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	CHECK(!ioctl(g.v[0].fd, HVX_KICK, 0));
	pthread_join(t, NULL);
	tg_free(&g);
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
}

static const struct tg_test tests[] = {
	TG_TEST(host_nmis),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
