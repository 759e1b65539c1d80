// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Interrupts from eventfds, and eventfds from port and memory writes. */
#include <sys/eventfd.h>
#include <sys/resource.h>
#include "irq_guest.h"

/* -------------------------------------------------------------------- irqfd */

static int irqfd(struct tg *g, int fd, int resample, uint32_t flags, uint64_t address, uint32_t data)
{
	struct hvx_irqfd i = { .fd = fd, .resample_fd = resample, .flags = flags,
			       .address = address, .data = data };

	return ioctl(g->vm, HVX_IRQFD, &i);
}

static uint64_t take(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	CHECK_EQ(write(fd, &one, sizeof(one)), sizeof(one));
}

static void *signal_later(void *arg)
{
	usleep(20000);
	signal_fd((long)arg);
	return NULL;
}

static void irqfds(void)
{
	int e = eventfd(0, EFD_NONBLOCK), e2 = eventfd(0, EFD_NONBLOCK), e3;
	int file = open("/dev/null", 0);
	pthread_t t;
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_ERR(irqfd(&g, -1, -1, 0, 0, 0), EBADF);
	CHECK_ERR(irqfd(&g, file, -1, 0, 0, 0), EINVAL);
	CHECK_ERR(irqfd(&g, e, -1, 1 << 2, 0, 0), EINVAL);
	CHECK_ERR(irqfd(&g, e, 5, 0, 0, 0), EINVAL);
	CHECK_ERR(irqfd(&g, e, -1, HVX_IRQFD_RESAMPLE, 0, 0), EBADF);
	CHECK_ERR(irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0), ENOENT);
	CHECK_ERR(irqfd(&g, e, e, HVX_IRQFD_DEASSIGN | HVX_IRQFD_RESAMPLE, 0, 0), EINVAL);

	/* Signalled before it is assigned; while the guest halts; twice the same. */
	signal_fd(e);
	CHECK(!irqfd(&g, e, -1, 0, 0xfee00000, 0x60));
	CHECK_EQ(tg_said(&g, 0), 0x60);
	CHECK(!pthread_create(&t, NULL, signal_later, (void *)(long)e));
	CHECK_EQ(tg_said(&g, 0), 0x60);
	pthread_join(t, NULL);
	CHECK_EQ(take(e), 0);

	/* A new message for one of two. */
	CHECK(!irqfd(&g, e2, -1, 0, 0xfee00000, 0x61));
	CHECK(!irqfd(&g, e, -1, 0, 0xfee00000, 0x62));
	signal_fd(e);
	CHECK_EQ(tg_said(&g, 0), 0x62);
	signal_fd(e2);
	CHECK_EQ(tg_said(&g, 0), 0x61);

	/* Held back by deassigning it: signals stay in the eventfd, and make one message. */
	CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	signal_fd(e);
	signal_fd(e);
	CHECK(!irqfd(&g, e, -1, 0, 0xfee00000, 0x63));
	CHECK_EQ(tg_said(&g, 0), 0x63);
	signal_fd(e2);
	CHECK_EQ(tg_said(&g, 0), 0x61);

	/* Gone: the eventfd counts for itself again. */
	CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	CHECK_ERR(irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0), ENOENT);
	signal_fd(e);
	CHECK_EQ(take(e), 1);
	/* Closing it does not end it: the guest hears of what the other reference says. */
	e3 = dup(e2);
	close(e2);
	signal_fd(e3);
	CHECK_EQ(tg_said(&g, 0), 0x61);
	close(e3);
	tg_free(&g);
	close(e);
	close(file);
}

static void irqfd_limit(void)
{
	struct rlimit many = { HVX_MAX_IRQFDS + 100, HVX_MAX_IRQFDS + 100 };
	static int fd[HVX_MAX_IRQFDS + 1];
	struct tg g;
	int i;

	CHECK(!setrlimit(RLIMIT_NOFILE, &many));
	START(&g, g_wait, 0);
	for (i = 0; i <= HVX_MAX_IRQFDS; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK);
		CHECK(fd[i] >= 0);
		if (i < HVX_MAX_IRQFDS)
			CHECK(!irqfd(&g, fd[i], -1, 0, 0xfee00000, 0x60));
		else
			CHECK_ERR(irqfd(&g, fd[i], -1, 0, 0xfee00000, 0x60), ENOSPC);
	}
	/* Half of them close before the VM, half after. */
	for (i = 0; i <= HVX_MAX_IRQFDS; i += 2)
		close(fd[i]);
	tg_free(&g);
	for (i = 1; i <= HVX_MAX_IRQFDS; i += 2) {
		signal_fd(fd[i]);
		close(fd[i]);
	}
}

static void resample(void)
{
	int e = eventfd(0, EFD_NONBLOCK), r = eventfd(0, EFD_NONBLOCK), e2 = eventfd(0, EFD_NONBLOCK);
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0xc070));
	CHECK(!irqfd(&g, e2, -1, 0, 0xfee00000, 0x71));
	signal_fd(e);
	CHECK_EQ(tg_said(&g, 0), 0x70);
	CHECK_EQ(take(r), 0);			/* not EOIed yet */
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(g.v[0].run->eoi.vector, 0x70);
	CHECK_EQ(take(r), 1);
	signal_fd(e2);
	CHECK_EQ(tg_said(&g, 0), 0x71);
	/* The same vector from the I/O APIC, as of a shared pin: both hear of the EOI. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc070), 1);
	CHECK_EQ(tg_said(&g, 0), 0x70);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(take(r), 1);
	/* Another vector, and an edge of the same: not its affair. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc072), 1);
	CHECK_EQ(tg_said(&g, 0), 0x72);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(msi(&g, 0xfee00000, 0x70), 1);
	CHECK_EQ(tg_said(&g, 0), 0x70);
	CHECK_EQ(msi(&g, 0xfee00000, 0x71), 1);
	CHECK_EQ(tg_said(&g, 0), 0x71);
	CHECK_EQ(take(r), 0);
	/* It follows the message, and ends with it. */
	CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x73));
	signal_fd(e);
	CHECK_EQ(tg_said(&g, 0), 0x73);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(take(r), 1);
	CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	CHECK_EQ(msi(&g, 0xfee00000, 0xc073), 1);
	CHECK_EQ(tg_said(&g, 0), 0x73);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(take(r), 0);
	tg_free(&g);
	close(e);
	close(e2);
	close(r);
}

/* ---------------------------------------------------------------- ioeventfd */

GUEST(g_ioev,
      "mov $0x500, %dx\nmov $7, %eax\nout %al, %dx\nout %ax, %dx\nout %eax, %dx\n"
      "mov $8, %eax\nout %ax, %dx\n"
      "mov $0x40000000, %ebx\nmov %eax, (%rbx)\nmov %rax, (%rbx)\nmov %al, 8(%rbx)\n"
      "finish\n");

static int ioev(struct tg *g, int fd, uint64_t addr, uint32_t len, uint32_t flags, uint64_t match)
{
	struct hvx_ioeventfd i = { .fd = fd, .addr = addr, .len = len, .flags = flags,
				   .datamatch = match };

	return ioctl(g->vm, HVX_IOEVENTFD, &i);
}

static void ioeventfds(void)
{
	const uint32_t pio = HVX_IOEVENTFD_PIO, dm = HVX_IOEVENTFD_DATAMATCH,
		       del = HVX_IOEVENTFD_DEASSIGN;
	int e = eventfd(0, EFD_NONBLOCK), w = eventfd(0, EFD_NONBLOCK), i;
	struct tg g;

	START(&g, g_ioev, 0);
	CHECK_ERR(ioev(&g, -1, 0x500, 2, pio, 0), EBADF);
	CHECK_ERR(ioev(&g, e, 0x500, 3, pio, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 8, pio, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0xffff, 2, pio, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, ~0ULL, 2, 0, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 0, pio | dm, 7), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 2, 1 << 3, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 2, pio | del, 0), ENOENT);

	/* The word 7; any long; MMIO of any length at 0x40000000. */
	CHECK(!ioev(&g, e, 0x500, 2, pio | dm, 7));
	CHECK_ERR(ioev(&g, w, 0x500, 2, pio | dm, 7), EEXIST);
	CHECK(!ioev(&g, w, 0x500, 4, pio, 0));
	CHECK(!ioev(&g, w, 0x40000000, 0, 0, 0));
	tg_run_to(&g, 0, HVX_EXIT_PIO);			/* the byte */
	CHECK_EQ(g.v[0].run->pio.size, 1);
	CHECK_EQ(take(e), 0);
	tg_run_to(&g, 0, HVX_EXIT_PIO);			/* the word 8 */
	CHECK_EQ(g.v[0].run->pio.data, 8);
	CHECK_EQ(take(e), 1);
	CHECK_EQ(take(w), 1);
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.gpa, 0x40000008);
	CHECK_EQ(take(w), 2);
	CHECK_ERR(ioev(&g, w, 0x500, 2, pio | dm | del, 7), ENOENT);	/* another's */
	CHECK(!ioev(&g, e, 0x500, 2, pio | dm | del, 7));
	for (i = 2; i < HVX_MAX_IOEVENTFDS; i++)
		CHECK(!ioev(&g, e, 0x600 + i, 1, i & 1 ? pio : 0, 0));
	CHECK_ERR(ioev(&g, e, 0x600, 1, pio, 0), ENOSPC);
	tg_free(&g);
	close(e);
	close(w);
}

/* -------------------------------------------------------------------- races */

static bool stop;

static void *signaller(void *arg)
{
	uint64_t one = 1;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		if (write((long)arg, &one, sizeof(one)) < 0)
			break;
	return NULL;
}

/* Signals, assignments, updates and closes against each other, then the VM goes first. */
static void irqfd_races(void)
{
	int i, e = eventfd(0, EFD_NONBLOCK), r = eventfd(0, EFD_NONBLOCK), e2;
	pthread_t t;
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(tg_said(&g, 0), 1);
	stop = false;
	CHECK(!pthread_create(&t, NULL, signaller, (void *)(long)e));
	for (i = 0; i < 500; i++) {
		CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x60));
		CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x61));
		if (i & 1)
			CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
		e2 = eventfd(0, 0);
		CHECK(!irqfd(&g, e2, -1, 0, 0xfee00000, 0x63));
		close(e2);
		if (!(i & 1))
			CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	}
	CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x60));
	tg_free(&g);
	stop = true;
	pthread_join(t, NULL);
	close(e);
	close(r);
}

static const struct tg_test tests[] = {
	TG_TEST(irqfds),
	TG_TEST(irqfd_limit),
	TG_TEST(resample),
	TG_TEST(ioeventfds),
	TG_TEST(irqfd_races),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
