// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c devices/virtio/blk*.c devices/virtio/net.c devices/virtio/net_ctrl.c devices/net/rx_filter.c devices/virtio/vhost.c devices/virtio/console.c devices/virtio/rng.c devices/virtio/mem.c devices/storage/disklog.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/state.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c */
/*
 * libFuzzer: a virtio driver that does anything. The first byte says to which device (disk,
 * network card, console, random numbers, memory); the others are what it does: registers,
 * configuration space, rings and descriptors, kicks, resets. After each input the device is
 * reset, and must have forgotten all of it.
 */
#include <check.h>
#include <stdlib.h>
#undef ck_assert_int_eq
#undef ck_assert_ptr_nonnull
#undef ck_assert_uint_eq
#undef ck_assert_msg
#undef ck_assert
#define ck_assert(c)			do { if (!(c)) abort(); } while (0)
#define ck_assert_int_eq(a, b)		ck_assert((a) == (b))
#define ck_assert_uint_eq(a, b)		ck_assert((a) == (b))
#define ck_assert_ptr_nonnull(p)	ck_assert(p)
#define ck_assert_msg(c, ...)		ck_assert(c)
#include "tests/unit/virtio_driver.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include "devices/net/backend.h"
#include "devices/virtio/mem.h"
#include "vmm/qmp.h"

#define DEVICES		5U
#define MB		(1ULL << 20)
#define DISK_SIZE	(4U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void qmp_event(struct machine *m, const char *name, struct json_object *data)
{
	(void)m;
	(void)name;
	json_object_put(data);
}

/* A network that takes all frames, and sends each back. */
static int wire[2];

static int be_fd(struct net_backend *b, unsigned int q)
{
	(void)b;
	(void)q;
	return wire[0];
}

static int be_send(struct net_backend *b, unsigned int q, const struct iovec *iov, unsigned int n)
{
	(void)b;
	(void)q;
	return writev(wire[1], iov, n) < 0 && errno == EAGAIN ? -EAGAIN : 0;
}

static ssize_t be_recv(struct net_backend *b, unsigned int q, uint8_t *buf, size_t size)
{
	ssize_t n = recv(wire[0], buf, size, MSG_DONTWAIT);

	(void)b;
	(void)q;
	return n > 0 ? n : -EAGAIN;
}

static void be_close(struct net_backend *b)
{
	(void)b;
}

struct net_backend *net_user_open(struct machine *m, const struct dom_nic *cfg)
{
	static const struct net_backend_ops ops = { .fd = be_fd, .send = be_send, .recv = be_recv, .close = be_close };
	static struct net_backend b = { .ops = &ops, .nr_queues = 1, .vnet_hdr = true, .what = "wire" };

	(void)m;
	(void)cfg;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, wire), 0);
	return &b;
}

struct net_backend *net_tap_open(struct machine *m, const struct dom_nic *cfg, unsigned int queues)
{
	(void)queues;
	return net_user_open(m, cfg);
}

static void setup(void)
{
	static struct dom_disk disk = { .target = (char *)"vda", .serial = (char *)"S", .queues = 1, .discard_unmap = true };
	static struct dom_port port[2] = {
		{ .console = true, .chr = { .type = CHR_NULL } }, { .name = (char *)"org.test.0", .chr = { .type = CHR_NULL } },
	};
	static struct dom_memdev md = { .id = (char *)"a", .size = 64 * MB, .block = 2 * MB, .requested = 32 * MB };
	static struct dom_nic nic = { .type = NIC_USER, .mac = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } };
	static char path[32];
	int fd = memfd_create("disk", 0);

	ck_assert(fd >= 0 && !ftruncate(fd, DISK_SIZE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	disk.file = path;
	fdom.device_room = 256 * MB;
	fdom.rng.present = true;
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_blk_create(&fm, &disk), 0);
	ck_assert_int_eq(virtio_net_create(&fm, &nic), 0);
	ck_assert_int_eq(virtio_console_create(&fm, port, 2), 0);
	ck_assert_int_eq(virtio_rng_create(&fm), 0);
	ck_assert_int_eq(virtio_mem_create(&fm, &md), 0);
	pthread_mutex_unlock(&fm.lock);
}

/* ------------------------------------------------------------------ the input */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	for (; bytes && in->left; bytes--, in->left--)
		v = v << 8 | *in->at++;
	return v;
}

/* Registers where firmware puts them: the driver may have moved them. */
static void place(unsigned int devfn)
{
	pthread_mutex_lock(&fm.lock);
	pci_assign(&fm);
	pthread_mutex_unlock(&fm.lock);
	drv_probe(devfn);
}

static void begin(struct input *in)
{
	uint64_t features = take(in, 1) & 1 ? drv_offered() : take(in, 8);
	unsigned int i, nr;

	drv_set_status(0);
	drv_set_status(3);
	drv_accept(features | 1ULL << VIRTIO_F_VERSION_1);
	drv_set_status(11);
	if (take(in, 1) & 1)
		drv_msix();
	nr = common(VIRTIO_PCI_COMMON_NUMQ, 2);
	for (i = 0; i < nr && i < DRV_QUEUES; i++) {
		drv_layout(i, DRV_SIZE);
		drv_enable(i);
	}
	drv_set_status(15);
}

static void descriptor(struct input *in, struct drv_queue *q)
{
	uint64_t where = take(in, 2);
	struct vring_desc d = {
		.addr = where & 0x8000 ? where << 20 : DRV_DATA + (where << 4),
		.len = take(in, 2), .flags = take(in, 1), .next = take(in, 1) % (DRV_SIZE + 1),
	};

	if (d.len & 0x8000)
		d.len <<= 12;
	if (q->desc)
		q->desc[take(in, 1) % DRV_SIZE] = d;
}

static void step(struct input *in)
{
	struct drv_queue *q = &drv.q[take(in, 1) % DRV_QUEUES];
	unsigned int i = q - drv.q, n;
	uint64_t at;

	switch (take(in, 1) % 12) {
	case 0:
		place(drv.devfn);
		begin(in);
		break;
	case 1:
		at = take(in, 1);
		bus_write(&fm.mmio, drv.common + at % 64, 1U << take(in, 1) % 4, take(in, 8));
		break;
	case 2:
		at = take(in, 2) % 0x4000;
		bus_write(&fm.mmio, drv.common + at, 1U << take(in, 1) % 4, take(in, 8));
		bus_read(&fm.mmio, drv.common + at, 1U << take(in, 1) % 4);
		break;
	case 3:
		at = take(in, 1);
		n = 1U << take(in, 1) % 3;
		drv_config_write(at & ~(n - 1), n, take(in, 4));
		drv_config(take(in, 1) & 0xfc, 4);
		break;
	case 4:
		for (at = DRV_DATA + take(in, 1) * 64, n = take(in, 1) % 32; n--; at++)
			*(uint8_t *)ram(at) = take(in, 1);
		break;
	case 5: case 6: case 7:
		descriptor(in, q);
		break;
	case 8:
		if (!q->avail)
			break;
		q->avail->ring[q->avail->idx % DRV_SIZE] = take(in, 1) % (DRV_SIZE + 1);
		__atomic_store_n(&q->avail->idx, q->avail->idx + 1, __ATOMIC_RELEASE);
		break;
	case 9:
		if (q->avail)
			q->avail->idx = take(in, 2);
		break;
	case 10:
		drv_set_status(take(in, 1));
		break;
	default:
		bus_write(&fm.mmio, drv.notify + i * drv.mult, 2, i);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool made;
	struct input in = { data, size };
	unsigned int devfn;

	if (!made)
		setup();
	made = true;
	devfn = (1 + take(&in, 1) % DEVICES) << 3;
	place(devfn);
	begin(&in);
	while (in.left)
		step(&in);
	place(devfn);
	drv_set_status(0);
	ck_assert_uint_eq(drv_status(), 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
	return 0;
}
