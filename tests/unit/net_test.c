// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c devices/virtio/net.c devices/virtio/net_ctrl.c devices/net/rx_filter.c devices/virtio/vhost.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c */
/* virtio-net before a back end that the test holds the other end of. */
#include <linux/virtio_net.h>
#include <sys/socket.h>
#include "virtio_driver.h"
#include "devices/net/backend.h"
#include "devices/net/rx_filter.h"

#define F(bit)	(1ULL << VIRTIO_NET_F_##bit)
#define MRG	F(MRG_RXBUF)
#define CTRL	(F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_MAC_ADDR))
#define HDR	DRV_DATA
#define FRAME	(DRV_DATA + 0x1000)
#define RXBUF	0x400000ULL

/* --------------------------------------------------------------------- back end */

static struct {
	struct net_backend b;
	int ours[2], theirs[2];		/* datagram sockets, one a queue */
	bool full;			/* send() has no room */
	unsigned int queues;
	uint64_t offloads;
	unsigned int closed;
} be;

static int be_fd(struct net_backend *b, unsigned int q)
{
	(void)b;
	return be.theirs[q];
}

static int be_send(struct net_backend *b, unsigned int q, const struct iovec *iov, unsigned int n)
{
	(void)b;
	if (__atomic_load_n(&be.full, __ATOMIC_ACQUIRE))
		return -EAGAIN;
	if (writev(be.theirs[q], iov, n) < 0)
		return errno == EAGAIN ? -EAGAIN : -errno;
	return 0;
}

static ssize_t be_recv(struct net_backend *b, unsigned int q, uint8_t *buf, size_t size)
{
	ssize_t n = recv(be.theirs[q], buf, size, MSG_DONTWAIT);

	(void)b;
	return n > 0 ? n : n ? -errno : -EPIPE;
}

static void be_offloads(struct net_backend *b, uint64_t f)
{
	(void)b;
	be.offloads = f;
}

static void be_queues(struct net_backend *b, unsigned int n)
{
	(void)b;
	be.queues = n;
}

static void be_close(struct net_backend *b)
{
	unsigned int i;

	for (i = 0; i < b->nr_queues; i++) {
		close(be.theirs[i]);
		close(be.ours[i]);
	}
	be.closed++;
}

static const struct net_backend_ops be_ops = {
	be_fd, be_send, be_recv, be_offloads, be_queues, be_close,
};

static struct net_backend *be_open(unsigned int queues, bool vnet_hdr)
{
	unsigned int i;

	memset(&be, 0, sizeof(be));
	be.b.ops = &be_ops;
	be.b.nr_queues = queues;
	be.b.vnet_hdr = vnet_hdr;
	be.b.what = "test network";
	for (i = 0; i < queues; i++) {
		int pair[2], size = 1 << 20;

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		be.ours[i] = pair[0];
		be.theirs[i] = pair[1];
	}
	return &be.b;
}

struct net_backend *net_user_open(struct machine *m, const struct dom_nic *cfg)
{
	(void)m;
	(void)cfg;
	return be_open(1, false);
}

struct net_backend *net_tap_open(struct machine *m, const struct dom_nic *cfg, unsigned int queues)
{
	(void)m;
	(void)cfg;
	return be_open(queues, true);
}

static void up(enum nic_type type, unsigned int queues)
{
	struct dom_nic *nic = &fdom.nic[0];

	memset(&fdom, 0, sizeof(fdom));
	nic->type = type;
	nic->queues = queues;
	nic->vhost = 0;
	memcpy(nic->mac, "\x52\x54\x00\x12\x34\x56", 6);
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_net_create(&fm, nic), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
}

static void setup_user(void)
{
	up(NIC_USER, 0);
}

static void setup_tap(void)
{
	up(NIC_ETHERNET, 2);
}

/* ---------------------------------------------------------------------- helpers */

static void make_frame(uint8_t *p, const char *dst, size_t len, uint8_t fill)
{
	memset(p, 0, NET_HDR_LEN);
	memset(p + NET_HDR_LEN, fill, len);
	memcpy(p + NET_HDR_LEN, dst, 6);
}

static void from_net(unsigned int q, const char *dst, size_t len, uint8_t fill)
{
	static uint8_t p[NET_HDR_LEN + 70000];

	make_frame(p, dst, len, fill);
	ck_assert_int_eq(send(be.ours[q], p, NET_HDR_LEN + len, 0), NET_HDR_LEN + len);
}

static void give_rx(unsigned int q, uint64_t at, uint32_t len)
{
	struct drv_buf b = { at, len, true };

	drv_add(2 * q, &b, 1);
	drv_kick(2 * q);
}

/* The next frame that the guest sent, or -1 when there is none for a while. */
static ssize_t sent(unsigned int q, uint8_t *buf, size_t size, bool expect)
{
	ssize_t n = -1;
	unsigned int i;

	for (i = 0; i < (expect ? 100000 : 100) && n < 0; i++) {
		n = recv(be.ours[q], buf, size, 0);
		if (n < 0)
			usleep(100);
	}
	return n;
}

static void transmit(const struct virtio_net_hdr_v1 *h, size_t len)
{
	struct drv_buf b[2] = { { HDR, sizeof(*h), false }, { FRAME, len, false } };

	memcpy(ram(HDR), h, sizeof(*h));
	memset(ram(FRAME), 0x5a, len);
	drv_add(1, b, 2);
	drv_kick(1);
	drv_wait(1, NULL);
}

static uint8_t command(unsigned int q, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct drv_buf b[3] = { { HDR, 2, false }, { HDR + 16, len, false }, { HDR + 2048, 1, true } };

	((uint8_t *)ram(HDR))[0] = class;
	((uint8_t *)ram(HDR))[1] = cmd;
	if (len)
		memcpy(ram(HDR + 16), data, len);
	*(uint8_t *)ram(HDR + 2048) = 0xee;
	if (!len)
		b[1] = b[2];
	drv_add(q, b, len ? 3 : 2);
	drv_kick(q);
	drv_wait(q, NULL);
	return *(uint8_t *)ram(HDR + 2048);
}

static const char our_mac[] = "\x52\x54\x00\x12\x34\x56";

/* ------------------------------------------------------------------------ tests */

START_TEST(config)
{
	uint8_t mac[6];
	unsigned int i;

	for (i = 0; i < 6; i++)
		mac[i] = bus_read(&fm.mmio, drv.device + i, 1);
	ck_assert_mem_eq(mac, our_mac, 6);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 6, 2), 1);
	ck_assert(!(drv_offered() & (F(CSUM) | F(HOST_TSO4) | F(GUEST_CSUM))));
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_NUMQ, 2), 3);
}
END_TEST

START_TEST(receive)
{
	uint8_t *p = ram(RXBUF);

	drv_start(_i ? MRG : 0, 3);
	give_rx(0, RXBUF, 2048);
	from_net(0, our_mac, 1000, 0x77);
	ck_assert_uint_eq(drv_wait(0, NULL), 1012);
	ck_assert_mem_eq(p + 12, our_mac, 6);
	ck_assert_uint_eq(p[1011], 0x77);
	ck_assert_uint_eq(p[10] | p[11] << 8, 1);
	/* No buffer yet: the frame waits. */
	from_net(0, our_mac, 60, 0x11);
	usleep(10000);
	ck_assert(drv_idle(0));
	give_rx(0, RXBUF, 2048);
	ck_assert_uint_eq(drv_wait(0, NULL), 72);
	/* Shorter than an Ethernet header: dropped. */
	from_net(0, our_mac, 13, 0x22);
	from_net(0, our_mac, 61, 0x22);
	give_rx(0, RXBUF, 2048);
	ck_assert_uint_eq(drv_wait(0, NULL), 73);
}
END_TEST

START_TEST(receive_merged)
{
	uint8_t *p = ram(RXBUF);
	uint32_t total = 0;
	unsigned int i;

	drv_start(MRG, 3);
	for (i = 0; i < 3; i++)
		give_rx(0, RXBUF + i * 1000, 1000);
	from_net(0, our_mac, 3500, 0x33);
	usleep(10000);
	ck_assert(drv_idle(0));		/* three are not enough */
	give_rx(0, RXBUF + 3000, 1000);
	for (i = 0; i < 4; i++)
		total += drv_wait(0, NULL);
	ck_assert_uint_eq(total, 3512);
	ck_assert_uint_eq(p[10] | p[11] << 8, 4);
	ck_assert_uint_eq(p[3511], 0x33);
}
END_TEST

/* Without MRG_RXBUF a frame that does not fit is lost, and only that one. */
START_TEST(receive_too_large)
{
	drv_start(0, 3);
	give_rx(0, RXBUF, 1000);
	from_net(0, our_mac, 3000, 1);
	from_net(0, our_mac, 100, 2);
	ck_assert_uint_eq(drv_wait(0, NULL), 112);
}
END_TEST

/* All of the ring is too small for a frame: it is dropped, as nothing more can come. */
START_TEST(receive_ring_too_small)
{
	unsigned int i;

	drv_start(MRG, 3);
	for (i = 0; i < DRV_SIZE; i++)
		give_rx(0, RXBUF + i * 100, 100);
	from_net(0, our_mac, 3500, 0x33);
	from_net(0, our_mac, 60, 0x44);
	ck_assert_uint_eq(drv_wait(0, NULL), 72);
}
END_TEST

START_TEST(receive_tiny_buffers)
{
	drv_start(MRG, 3);
	give_rx(0, RXBUF, 11);
	from_net(0, our_mac, 100, 1);
	drv_wait_broken();
}
END_TEST

START_TEST(transmit_frames)
{
	struct virtio_net_hdr_v1 h = { 0 };
	uint8_t buf[70000];
	struct drv_buf one = { HDR, 12 + 100, false };

	drv_start(MRG, 3);
	transmit(&h, 100);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), true), 112);
	ck_assert_uint_eq(buf[12], 0x5a);
	/* Header and frame in one piece. */
	memset(ram(HDR), 0, 12);
	memset((char *)ram(HDR) + 12, 0x66, 100);
	drv_add(1, &one, 1);
	drv_kick(1);
	drv_wait(1, NULL);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), true), 112);
	ck_assert_uint_eq(buf[12], 0x66);
	transmit(&h, 65535);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), true), 65547);
}
END_TEST

START_TEST(transmit_pieces)
{
	struct drv_buf b[16];
	uint8_t buf[2000];
	unsigned int i;

	drv_start(0, 3);
	memset(ram(HDR), 0, 4096);
	/* The header itself in three pieces. */
	b[0] = (struct drv_buf){ HDR, 1, false };
	b[1] = (struct drv_buf){ HDR + 1, 10, false };
	for (i = 2; i < 16; i++)
		b[i] = (struct drv_buf){ HDR + 100 + i, 7, false };
	drv_add(1, b, 16);
	drv_kick(1);
	drv_wait(1, NULL);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), true), 11 + 14 * 7);
}
END_TEST

static const struct {
	struct virtio_net_hdr_v1 h;
	size_t len;
} bad_tx[] = {
	{ { .flags = 1, .csum_start = 14, .csum_offset = 16 }, 100 },	/* not negotiated */
	{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448 }, 100 },
	{ { .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1448 }, 100 },
	{ { .gso_type = 0x7f }, 100 },
	{ { 0 }, 13 },
	{ { 0 }, 1 },
	{ { 0 }, NET_MAX_FRAME + 1 },
};

START_TEST(transmit_bad)
{
	struct virtio_net_hdr_v1 good = { 0 };
	uint8_t buf[2000];

	drv_start(MRG, 3);
	transmit(&bad_tx[_i].h, bad_tx[_i].len);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), false), -1);
	transmit(&good, 60);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), true), 72);
	ck_assert_uint_eq(drv_status(), 15);
}
END_TEST

START_TEST(transmit_no_header)
{
	struct drv_buf b = { HDR, 11, false };
	uint8_t buf[100];

	drv_start(MRG, 3);
	drv_add(1, &b, 1);
	drv_kick(1);
	drv_wait(1, NULL);
	ck_assert_int_eq(sent(0, buf, sizeof(buf), false), -1);
}
END_TEST

START_TEST(back_pressure)
{
	struct virtio_net_hdr_v1 h = { 0 };
	struct drv_buf b[2] = { { HDR, 12, false }, { FRAME, 100, false } };
	uint8_t buf[2000];
	unsigned int i;

	drv_start(MRG, 3);
	__atomic_store_n(&be.full, true, __ATOMIC_RELEASE);
	memcpy(ram(HDR), &h, sizeof(h));
	for (i = 0; i < 8; i++)
		drv_add(1, b, 2);
	drv_kick(1);
	usleep(20000);
	ck_assert(drv_idle(1));
	__atomic_store_n(&be.full, false, __ATOMIC_RELEASE);
	for (i = 0; i < 8; i++) {
		drv_wait(1, NULL);
		ck_assert_int_eq(sent(0, buf, sizeof(buf), true), 112);
	}
}
END_TEST

START_TEST(filter)
{
	static const char multi[] = "\x01\x00\x5e\x00\x00\x01", other[] = "\x52\x54\x00\x99\x99\x99";
	static const char all[] = "\xff\xff\xff\xff\xff\xff";
	uint8_t off = 0, on = 1, table[4 + 6 + 4 + 6] = { 0 };

	drv_start(MRG | CTRL, 3);
	give_rx(0, RXBUF, 2048);
	from_net(0, other, 60, 1);		/* promiscuous at first */
	drv_wait(0, NULL);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
	give_rx(0, RXBUF, 2048);
	from_net(0, other, 60, 1);
	from_net(0, multi, 61, 1);
	from_net(0, our_mac, 62, 1);
	ck_assert_uint_eq(drv_wait(0, NULL), 74);
	give_rx(0, RXBUF, 2048);
	from_net(0, all, 63, 1);
	ck_assert_uint_eq(drv_wait(0, NULL), 75);
	/* Tables: one unicast, one multicast address. */
	table[0] = 1;
	memcpy(table + 4, other, 6);
	table[10] = 1;
	memcpy(table + 14, multi, 6);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), 0);
	give_rx(0, RXBUF, 2048);
	give_rx(0, RXBUF + 2048, 2048);
	from_net(0, other, 64, 1);
	from_net(0, multi, 65, 1);
	ck_assert_uint_eq(drv_wait(0, NULL), 76);
	ck_assert_uint_eq(drv_wait(0, NULL), 77);
	/* A new address. */
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\x54\1\1\1\1", 6), 0);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 2, 1), 1);
	/* Wrong ones. */
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_RX, 6, &on, 1), 1);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_RX, 0, NULL, 0), 1);
	ck_assert_uint_eq(command(2, 77, 0, &on, 1), 1);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "abc", 3), 1);
	memset(table, 0xff, 4);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), 1);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 3), 1);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_MQ, 0, "\2\0", 2), 1);
}
END_TEST

START_TEST(control_without_answer)
{
	struct drv_buf b = { HDR, 16, false };

	drv_start(MRG | CTRL, 3);
	drv_add(2, &b, 1);
	drv_kick(2);
	drv_wait_broken();
}
END_TEST

/* The other side dies: link down, a message, and the guest goes on. */
START_TEST(backend_dies)
{
	struct virtio_net_hdr_v1 h = { 0 };
	unsigned int n;

	drv_start(MRG | F(STATUS), 3);
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, 3);
	if (_i)
		give_rx(0, RXBUF, 2048);
	shutdown(be.ours[0], SHUT_RDWR);
	for (n = 0; bus_read(&fm.mmio, drv.device + 6, 2) & 1; n++) {
		ck_assert_uint_lt(n, 100000);
		usleep(100);
	}
	for (n = 0; !fake_msis(); n++) {	/* the configuration interrupt */
		ck_assert_uint_lt(n, 100000);
		usleep(100);
	}
	transmit(&h, 60);
	transmit(&h, 60);
	ck_assert_uint_eq(drv_status(), 15);
	drv_start(MRG, 3);
	transmit(&h, 60);
}
END_TEST

START_TEST(reset_under_load)
{
	struct virtio_net_hdr_v1 h = { 0 };
	uint8_t buf[2000], out[112] = { 0 };
	unsigned int round, i;

	for (round = 0; round < 200; round++) {
		struct drv_buf b[2] = { { HDR, 12, false }, { FRAME, 100, false } };

		drv_start(MRG, 3);
		memcpy(ram(HDR), &h, sizeof(h));
		for (i = 0; i < 8; i++) {
			drv_add(1, b, 2);
			give_rx(0, RXBUF + i * 2048, 2048);
			send(be.ours[0], out, sizeof(out), 0);
		}
		drv_kick(1);
		drv_set_status(0);
		memset(ram(RXBUF), 0xaa, 0x4000);
		for (i = 0; i < 0x4000; i += 512)
			ck_assert_uint_eq(((uint8_t *)ram(RXBUF))[i], 0xaa);
		while (recv(be.ours[0], buf, sizeof(buf), 0) > 0)
			;
	}
}
END_TEST

/* ------------------------------------------------------------------------- tap */

#define TSO (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(GUEST_CSUM) | F(GUEST_TSO4))

static const struct {
	struct virtio_net_hdr_v1 h;
	size_t len;
	bool ok;
} tso[] = {
	{ { .flags = 1, .csum_start = 34, .csum_offset = 16 }, 100, true },
	{ { .flags = 1, .csum_start = 34, .csum_offset = 16 }, 52, true },
	{ { .flags = 1, .csum_start = 34, .csum_offset = 16 }, 51, false },
	{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff }, 100, false },
	{ { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448, .hdr_len = 66,
	    .csum_start = 34, .csum_offset = 16 }, 60000, true },
	{ { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, .gso_size = 1448,
	    .hdr_len = 66, .csum_start = 34, .csum_offset = 16 }, 60000, true },
	{ { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0, .hdr_len = 66,
	    .csum_start = 34, .csum_offset = 16 }, 60000, false },		/* no MSS */
	{ { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448, .hdr_len = 101,
	    .csum_start = 34, .csum_offset = 16 }, 100, false },		/* headers beyond the frame */
	{ { .flags = 0, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448, .hdr_len = 66 }, 6000, false },
	{ { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1448, .hdr_len = 42,
	    .csum_start = 34, .csum_offset = 6 }, 6000, false },		/* never offered */
};

START_TEST(tap_offloads)
{
	uint8_t buf[70000];
	ssize_t n;

	drv_start(TSO | MRG, 5);
	ck_assert(be.offloads & F(GUEST_TSO4));
	transmit(&tso[_i].h, tso[_i].len);
	n = sent(0, buf, sizeof(buf), tso[_i].ok);
	if (tso[_i].ok) {
		ck_assert_int_eq(n, tso[_i].len + 12);
		ck_assert_mem_eq(buf, &tso[_i].h, 10);
	} else {
		ck_assert_int_eq(n, -1);
	}
}
END_TEST

START_TEST(tap_multi_queue)
{
	uint64_t offloads = F(GUEST_CSUM);

	ck_assert(drv_offered() & F(MQ));
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 8, 2), 2);
	drv_start(TSO | MRG | CTRL | F(MQ) | F(CTRL_GUEST_OFFLOADS), 5);
	ck_assert_uint_eq(be.queues, 1);
	ck_assert_uint_eq(command(4, VIRTIO_NET_CTRL_MQ, 0, "\2\0", 2), 0);
	ck_assert_uint_eq(be.queues, 2);
	ck_assert_uint_eq(command(4, VIRTIO_NET_CTRL_MQ, 0, "\3\0", 2), 1);
	ck_assert_uint_eq(command(4, VIRTIO_NET_CTRL_MQ, 0, "\0\0", 2), 1);
	ck_assert_uint_eq(command(4, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), 0);
	ck_assert_uint_eq(be.offloads, offloads);
	offloads = F(GUEST_TSO6);			/* not negotiated */
	ck_assert_uint_eq(command(4, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), 1);
	give_rx(1, RXBUF, 2048);
	from_net(1, our_mac, 100, 1);
	ck_assert_uint_eq(drv_wait(2, NULL), 112);
}
END_TEST

/* A driver without MQ finds its control queue where the second pair would be. */
START_TEST(tap_single_queue_driver)
{
	uint8_t off = 0;

	drv_start(MRG | CTRL, 3);
	ck_assert_uint_eq(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
}
END_TEST

START_TEST(anything)
{
	drv_start(MRG | CTRL, 3);
	drv_fuzz(50000);
	drv_start(MRG | CTRL, 3);
	give_rx(0, RXBUF, 2048);
	from_net(0, our_mac, 1000, 0x77);
	drv_wait(0, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net");
	TCase *u = tcase_create("user"), *t = tcase_create("tap");

	tcase_add_checked_fixture(u, setup_user, drv_free);
	tcase_set_timeout(u, 240);
	tcase_add_test(u, config);
	tcase_add_loop_test(u, receive, 0, 2);
	tcase_add_test(u, receive_merged);
	tcase_add_test(u, receive_too_large);
	tcase_add_test(u, receive_ring_too_small);
	tcase_add_test(u, receive_tiny_buffers);
	tcase_add_test(u, transmit_frames);
	tcase_add_test(u, transmit_pieces);
	tcase_add_loop_test(u, transmit_bad, 0, sizeof(bad_tx) / sizeof(bad_tx[0]));
	tcase_add_test(u, transmit_no_header);
	tcase_add_test(u, back_pressure);
	tcase_add_test(u, filter);
	tcase_add_test(u, control_without_answer);
	tcase_add_loop_test(u, backend_dies, 0, 2);
	tcase_add_test(u, reset_under_load);
	tcase_add_test(u, anything);
	suite_add_tcase(s, u);
	tcase_add_checked_fixture(t, setup_tap, drv_free);
	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, tap_offloads, 0, sizeof(tso) / sizeof(tso[0]));
	tcase_add_test(t, tap_multi_queue);
	tcase_add_test(t, tap_single_queue_driver);
	suite_add_tcase(s, t);
	return fake_main(s);
}
