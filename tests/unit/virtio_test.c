// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/virtio/rng.c devices/virtio/console.c devices/virtio/balloon.c devices/pci.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c */
/* The PCI transport, with the random number generator as the device; then console and balloon. */
#include <linux/virtio_console.h>
#include <linux/virtio_balloon.h>
#include <sys/mman.h>
#include "virtio_driver.h"
#include "devices/virtio/balloon.h"

static void setup(void)
{
	memset(&fdom, 0, sizeof(fdom));
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_rng_create(&fm), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
}

/* -------------------------------------------------------------------- transport */

START_TEST(identity)
{
	ck_assert_uint_eq(drv_config(2, 2), 0x1044);
	ck_assert_uint_ge(drv_config(8, 1), 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_NUMQ, 2), 1);
	ck_assert(drv_offered() & 1ULL << VIRTIO_F_VERSION_1);
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_DF, 4), 0);
}
END_TEST

START_TEST(negotiation)
{
	drv_set_status(3);
	drv_accept(0);				/* a legacy driver */
	drv_set_status(11);
	ck_assert_uint_eq(drv_status(), 3);
	drv_accept(1ULL << VIRTIO_F_VERSION_1 | 1ULL << 50);	/* not offered */
	drv_set_status(11);
	ck_assert_uint_eq(drv_status(), 3);
	drv_set_status(15);			/* DRIVER_OK without FEATURES_OK */
	ck_assert_uint_eq(drv_status(), 3);
	drv_accept(1ULL << VIRTIO_F_VERSION_1);
	drv_set_status(11);
	ck_assert_uint_eq(drv_status(), 11);
	drv_accept(0);				/* settled */
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_GF, 4), 1);
	drv_set_status(0x40);			/* NEEDS_RESET is the device's own */
	ck_assert_uint_eq(drv_status(), 11);
}
END_TEST

static uint32_t ask(uint32_t len)
{
	struct drv_buf b = { DRV_DATA, len, true };

	memset(ram(DRV_DATA), 0, len);
	drv_add(0, &b, 1);
	drv_kick(0);
	return drv_wait(0, NULL);
}

START_TEST(works)
{
	unsigned int i, zero = 0;

	drv_start(drv_offered(), 1);
	ck_assert_uint_gt(fake.nr_ioeventfd, 0);
	ck_assert_uint_eq(ask(256), 256);
	for (i = 0; i < 256; i++)
		zero += !((uint8_t *)ram(DRV_DATA))[i];
	ck_assert_uint_lt(zero, 32);
	for (i = 0; i < 500; i++)
		ck_assert_uint_eq(ask(64), 64);
	ck_assert_uint_ge(fake_msis(), 1);
	ck_assert_uint_eq(fake.msi[0].data, 0);
	drv_set_status(0);
	ck_assert_uint_eq(drv_status(), 0);
	ck_assert_uint_eq(fake.nr_ioeventfd, 0);
	drv_start(0, 1);
	ck_assert_uint_eq(ask(10), 10);
}
END_TEST

/* What a queue was enabled with stays, whatever is written later. */
START_TEST(layout_is_fixed)
{
	drv_begin(0);
	drv_msix();
	drv_layout(0, 16);
	drv.q[0].size = 16;
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 3);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 32768);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	drv_enable(0);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x500000);
	set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x500000);
	set_common(VIRTIO_PCI_COMMON_Q_USEDHI, 4, 1);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), drv_ring(0));
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_AVAILLO, 4), drv_ring(0) + 0x4000);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_USEDHI, 4), 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	drv_set_status(15);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	ck_assert_uint_eq(ask(32), 32);
}
END_TEST

START_TEST(no_such_queue)
{
	drv_begin(0);
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), 0);
	bus_write(&fm.mmio, drv.notify + 4, 2, 1);
	bus_write(&fm.mmio, drv.notify + 0xffc, 4, 1);
}
END_TEST

START_TEST(vectors)
{
	drv_begin(0);
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_MSIX, 2), 1);
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, 2);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 7);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
}
END_TEST

/* Without MSI-X the ISR register tells. */
START_TEST(isr)
{
	drv_begin(0);
	drv_layout(0, 16);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0xffff);
	drv_enable(0);
	drv_set_status(15);
	ask(16);
	while (!(bus_read(&fm.mmio, drv.isr, 1) & 1))
		usleep(100);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.isr, 1), 0);
	ck_assert_uint_eq(fake_msis(), 0);
}
END_TEST

START_TEST(bad_ring_address)
{
	drv_begin(0);
	drv_layout(0, 16);
	if (_i == 0)
		set_common(VIRTIO_PCI_COMMON_Q_USEDLO, 4, DRV_RAM);
	else if (_i == 1)
		set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 8, ~0ULL << 4);
	else
		set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x9ffff0);
	if (_i == 2)
		set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, DRV_RAM - 8);
	drv_enable(0);
	drv_set_status(15);
	ck_assert(drv_status() & 0x40);
	drv_kick(0);
	drv_start(0, 1);
	ck_assert_uint_eq(ask(16), 16);
}
END_TEST

START_TEST(bad_descriptor)
{
	struct drv_buf b = { DRV_RAM, 64, true };
	unsigned int n;

	drv_begin(0);
	drv_msix();
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	drv_layout(0, 16);
	drv_enable(0);
	drv_set_status(15);
	drv_add(0, &b, 1);
	drv_kick(0);
	drv_wait_broken();
	for (n = 0; !fake_msis() && n < 10000; n++)
		usleep(100);
	ck_assert_uint_eq(fake.msi[0].data, 1);		/* the configuration vector */
	drv_kick(0);
	ck_assert(drv_idle(0));
	drv_start(0, 1);
	ck_assert_uint_eq(ask(16), 16);
}
END_TEST

START_TEST(queue_reset)
{
	drv_start(drv_offered(), 1);
	ck_assert_uint_eq(ask(16), 16);
	set_common(58, 2, 1);
	ck_assert_uint_eq(common(58, 2), 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	drv_layout(0, 8);
	drv_enable(0);
	ck_assert_uint_eq(drv_status(), 15);
	ck_assert_uint_eq(ask(16), 16);
}
END_TEST

START_TEST(config_access_capability)
{
	unsigned int at;

	for (at = drv_config(0x34, 1); at; at = drv_config(at + 1, 1)) {
		if (drv_config(at, 1) == 9 && drv_config(at + 3, 1) == VIRTIO_PCI_CAP_PCI_CFG)
			break;
	}
	ck_assert(at);
	drv_config_write(at + 4, 1, 0);
	drv_config_write(at + 8, 4, VIRTIO_PCI_COMMON_STATUS);
	drv_config_write(at + 12, 4, 1);
	drv_config_write(at + 16, 4, 3);
	ck_assert_uint_eq(drv_status(), 3);
	ck_assert_uint_eq(drv_config(at + 16, 1), 3);
	/* Outside, misaligned, of a strange size, another BAR. */
	drv_config_write(at + 8, 4, 0x4000);
	drv_config_write(at + 16, 4, 0);
	drv_config_write(at + 8, 4, 0xfffffffc);
	drv_config_write(at + 12, 4, 4);
	drv_config_write(at + 16, 4, 0);
	drv_config_write(at + 8, 4, 18);
	drv_config_write(at + 16, 4, 0);
	drv_config_write(at + 12, 4, 8);
	drv_config_write(at + 16, 4, 0);
	drv_config_write(at + 4, 1, 1);
	drv_config_write(at + 16, 4, 0);
	ck_assert_uint_eq(drv_status(), 3);
}
END_TEST

START_TEST(pause_resume)
{
	struct drv_buf b = { DRV_DATA, 16, true };
	struct device *d = fm.devices->next;

	drv_start(0, 1);
	ask(16);
	pthread_mutex_lock(&fm.lock);
	d->ops->pause(d);
	pthread_mutex_unlock(&fm.lock);
	drv_add(0, &b, 1);
	drv_kick(0);
	usleep(20000);
	ck_assert(drv_idle(0));
	pthread_mutex_lock(&fm.lock);
	d->ops->resume(d);
	pthread_mutex_unlock(&fm.lock);
	ck_assert_uint_eq(drv_wait(0, NULL), 16);
}
END_TEST

START_TEST(bar_moves)
{
	drv_start(0, 1);
	ask(16);
	drv_config_write(0x10, 4, 0xd0000000);
	drv_probe(1 << 3);
	ck_assert_uint_eq(drv.common, 0xd0000000);
	ck_assert_uint_eq(drv_status(), 15);
	ck_assert_uint_eq(fake.nr_ioeventfd, 1);
	drv_config_write(4, 2, 0);
	ck_assert_uint_eq(fake.nr_ioeventfd, 0);
}
END_TEST

START_TEST(rate_limit)
{
	struct drv_buf b = { DRV_DATA, 1000, true };

	drv_free();
	fdom.rng.rate_bytes = 100;
	fdom.rng.rate_period_ms = 50;
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_rng_create(&fm), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
	drv_start(0, 1);
	drv_add(0, &b, 1);
	drv_add(0, &b, 1);
	drv_kick(0);
	ck_assert_uint_eq(drv_wait(0, NULL), 100);
	ck_assert_uint_le(drv_wait(0, NULL), 100);	/* in the next period */
}
END_TEST

START_TEST(anything)
{
	drv_start(0, 1);
	drv_fuzz(100000);
	drv_start(0, 1);
	ck_assert_uint_eq(ask(16), 16);
}
END_TEST

/* ---------------------------------------------------------------------- console */

#define CON	(1ULL << VIRTIO_CONSOLE_F_MULTIPORT)

static void setup_console(void)
{
	static struct dom_port port[] = {
		{ .chr.type = CHR_UNIX, .name = (char *)"org.test.0" },
		{ .chr.type = CHR_STDIO, .console = true },
	};

	memset(&fdom, 0, sizeof(fdom));
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_console_create(&fm, port, 2), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
}

static void control(uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control c = { id, event, value };
	struct drv_buf b = { DRV_DATA, sizeof(c), false };

	memcpy(ram(DRV_DATA), &c, sizeof(c));
	drv_add(3, &b, 1);
	drv_kick(3);
	drv_wait(3, NULL);
}

static uint32_t next_message(struct virtio_console_control *c, char *rest)
{
	struct drv_buf b = { DRV_DATA + 4096, 128, true };
	uint32_t len;

	drv_add(2, &b, 1);
	drv_kick(2);
	len = drv_wait(2, NULL);
	memcpy(c, ram(DRV_DATA + 4096), sizeof(*c));
	if (rest)
		memcpy(rest, (char *)ram(DRV_DATA + 4096) + sizeof(*c), len - sizeof(*c));
	return len;
}

START_TEST(console_ports)
{
	struct virtio_console_control c;
	char name[128] = { 0 };

	drv_start(CON, 6);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 4, 4), 2);
	control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	next_message(&c, NULL);
	ck_assert_uint_eq(c.event, VIRTIO_CONSOLE_PORT_ADD);
	ck_assert_uint_eq(c.id, 0);
	next_message(&c, NULL);
	ck_assert_uint_eq(c.id, 1);
	control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	next_message(&c, NULL);
	ck_assert_uint_eq(c.event, VIRTIO_CONSOLE_CONSOLE_PORT);
	next_message(&c, NULL);
	ck_assert_uint_eq(c.event, VIRTIO_CONSOLE_PORT_OPEN);
	control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	next_message(&c, name);
	ck_assert_uint_eq(c.event, VIRTIO_CONSOLE_PORT_NAME);
	ck_assert_str_eq(name, "org.test.0");
	/* Ports that are not there, and a flood. */
	control(7, VIRTIO_CONSOLE_PORT_READY, 1);
	control(~0U, VIRTIO_CONSOLE_PORT_OPEN, 1);
	control(1, 99, 1);
	for (int i = 0; i < 300; i++)
		control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	ck_assert_uint_eq(drv_status(), 15);
}
END_TEST

static void feed(unsigned int chr, const char *text)
{
	size_t room;

	pthread_mutex_lock(&fm.lock);
	room = fake_chr[chr]->room(fake_chr[chr]->opaque);
	ck_assert_uint_ge(room, strlen(text));
	fake_chr[chr]->rx(fake_chr[chr]->opaque, (const uint8_t *)text, strlen(text));
	pthread_mutex_unlock(&fm.lock);
}

static size_t room_of(unsigned int chr)
{
	size_t room;

	pthread_mutex_lock(&fm.lock);
	room = fake_chr[chr]->room(fake_chr[chr]->opaque);
	pthread_mutex_unlock(&fm.lock);
	return room;
}

START_TEST(console_data)
{
	struct drv_buf out[2] = { { DRV_DATA, 3, false }, { DRV_DATA + 100, 2, false } };
	struct drv_buf in = { DRV_DATA + 4096, 16, true };

	drv_start(CON, 6);
	memcpy(ram(DRV_DATA), "abc", 3);
	memcpy(ram(DRV_DATA + 100), "de", 2);
	drv_add(1, out, 2);
	drv_kick(1);
	drv_wait(1, NULL);
	ck_assert_mem_eq(fake.tx, "abcde", 5);
	/* Input: port 0 is the console, the second in the XML. */
	ck_assert_uint_eq(room_of(0), 0);
	drv_add(0, &in, 1);
	ck_assert_uint_eq(room_of(0), 0);		/* not opened by the guest */
	control(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(room_of(0), 16);
	feed(0, "hello");
	ck_assert_uint_eq(drv_wait(0, NULL), 5);
	ck_assert_mem_eq(ram(DRV_DATA + 4096), "hello", 5);
	ck_assert_uint_eq(room_of(0), 0);
	/* A buffer that is held goes with a reset. */
	drv_add(0, &in, 1);
	ck_assert_uint_eq(room_of(0), 16);
	drv_set_status(0);
	ck_assert_uint_eq(room_of(0), 0);
}
END_TEST

START_TEST(console_alone)
{
	struct drv_buf in = { DRV_DATA + 4096, 16, true };

	drv_start(0, 2);		/* no MULTIPORT */
	drv_add(0, &in, 1);
	feed(0, "x");
	ck_assert_uint_eq(drv_wait(0, NULL), 1);
	bus_write(&fm.mmio, drv.device + 8, 4, '!');	/* emergency write */
	ck_assert_int_eq(fake.tx[0], '!');
	bus_write(&fm.mmio, drv.device + 4, 4, 77);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 4, 4), 2);
}
END_TEST

START_TEST(console_anything)
{
	drv_start(CON, 6);
	drv_fuzz(100000);
}
END_TEST

/* ---------------------------------------------------------------------- balloon */

static void setup_balloon(void)
{
	memset(&fdom, 0, sizeof(fdom));
	fdom.balloon.free_page_reporting = true;
	fdom.current_memory = DRV_RAM - (1 << 20);
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_balloon_create(&fm), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
}

static bool resident(uint64_t gpa)
{
	unsigned char vec;

	ck_assert_int_eq(mincore((void *)((uintptr_t)ram(gpa) & ~4095UL), 1, &vec), 0);
	return vec & 1;
}

START_TEST(balloon_inflate)
{
	uint32_t pfn[] = {
		0x500, 0x501, 0x502, 0x700,
		DRV_RAM >> 12, 0xfffffff, 0xffffffff, 0xa0, 0x9f,	/* not RAM; the last one is */
	};
	struct drv_buf b = { DRV_DATA, sizeof(pfn), false };
	unsigned int i;

	drv_start(drv_offered(), 3);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device, 4), 256);
	for (i = 0; i < 4; i++)
		*(char *)ram((uint64_t)pfn[i] << 12) = 'x';
	*(char *)ram(0x503000) = 'y';
	memcpy(ram(DRV_DATA), pfn, sizeof(pfn));
	drv_add(0, &b, 1);
	drv_kick(0);
	drv_wait(0, NULL);
	for (i = 0; i < 4; i++) {
		ck_assert(!resident((uint64_t)pfn[i] << 12));
		ck_assert_int_eq(*(char *)ram((uint64_t)pfn[i] << 12), 0);
	}
	ck_assert_int_eq(*(char *)ram(0x503000), 'y');
	drv_add(1, &b, 1);
	drv_kick(1);
	drv_wait(1, NULL);
	ck_assert_uint_eq(drv_status(), 15);
}
END_TEST

START_TEST(balloon_too_long)
{
	struct drv_buf b[2] = { { DRV_DATA, 200000, false }, { DRV_DATA, 200000, false } };

	drv_start(0, 2);
	drv_add(0, b, 2);
	drv_kick(0);
	drv_wait_broken();
}
END_TEST

START_TEST(balloon_target)
{
	struct balloon_stats stats;
	uint64_t bytes;
	int ret;

	drv_start(drv_offered(), 3);
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, 4);
	bus_write(&fm.mmio, drv.device + 4, 4, 100);
	pthread_mutex_lock(&fm.lock);
	ret = balloon_query(&fm, &bytes, &stats);
	ck_assert_int_eq(ret, 0);
	ck_assert_uint_eq(bytes, DRV_RAM - 100 * 4096);
	ck_assert_int_eq(balloon_set_target(&fm, DRV_RAM / 2), 0);
	ck_assert_int_eq(balloon_set_target(&fm, DRV_RAM + 1), -EINVAL);
	pthread_mutex_unlock(&fm.lock);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device, 4), DRV_RAM / 2 / 4096);
	ck_assert_uint_ge(fake_msis(), 1);
}
END_TEST

START_TEST(balloon_reporting)
{
	struct drv_buf b[2] = { { 0x600000, 0x4000, true }, { 0x700800, 0x2000, true } };

	/* Statistics are not accepted: reporting is then queue 2. */
	drv_start(1ULL << 5, 3);
	memset(ram(0x600000), 'x', 0x4000);
	memset(ram(0x700000), 'x', 0x4000);
	drv_add(2, b, 2);
	drv_kick(2);
	drv_wait(2, NULL);
	ck_assert_int_eq(*(char *)ram(0x603fff), 0);
	ck_assert_int_eq(*(char *)ram(0x700800), 'x');	/* not the whole page */
	ck_assert_int_eq(*(char *)ram(0x701000), 0);
}
END_TEST

START_TEST(balloon_stats)
{
	struct virtio_balloon_stat st[2] = { { 5, 12345 }, { 999, 1 } };
	struct drv_buf b = { DRV_DATA, sizeof(st), false };
	struct balloon_stats got = { 0 };
	uint64_t bytes;
	unsigned int n;

	drv_start(1ULL << VIRTIO_BALLOON_F_STATS_VQ, 3);
	memcpy(ram(DRV_DATA), st, sizeof(st));
	drv_add(2, &b, 1);
	drv_kick(2);
	for (n = 0; n < 10000 && !got.valid; n++) {
		pthread_mutex_lock(&fm.lock);
		balloon_query(&fm, &bytes, &got);
		pthread_mutex_unlock(&fm.lock);
		usleep(100);
	}
	ck_assert_uint_eq(got.valid, 1 << 5);
	ck_assert_uint_eq(got.value[5], 12345);
	/* A second one gives the first back. */
	drv_add(2, &b, 1);
	drv_kick(2);
	drv_wait(2, NULL);
}
END_TEST

START_TEST(balloon_anything)
{
	drv_start(drv_offered(), 4);
	drv_fuzz(100000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio");
	TCase *t = tcase_create("transport"), *c = tcase_create("console"), *b = tcase_create("balloon");

	tcase_add_checked_fixture(t, setup, drv_free);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, identity);
	tcase_add_test(t, negotiation);
	tcase_add_test(t, works);
	tcase_add_test(t, layout_is_fixed);
	tcase_add_test(t, no_such_queue);
	tcase_add_test(t, vectors);
	tcase_add_test(t, isr);
	tcase_add_loop_test(t, bad_ring_address, 0, 3);
	tcase_add_test(t, bad_descriptor);
	tcase_add_test(t, queue_reset);
	tcase_add_test(t, config_access_capability);
	tcase_add_test(t, pause_resume);
	tcase_add_test(t, bar_moves);
	tcase_add_test(t, rate_limit);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(c, setup_console, drv_free);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, console_ports);
	tcase_add_test(c, console_data);
	tcase_add_test(c, console_alone);
	tcase_add_test(c, console_anything);
	suite_add_tcase(s, c);
	tcase_add_checked_fixture(b, setup_balloon, drv_free);
	tcase_set_timeout(b, 120);
	tcase_add_test(b, balloon_inflate);
	tcase_add_test(b, balloon_too_long);
	tcase_add_test(b, balloon_target);
	tcase_add_test(b, balloon_reporting);
	tcase_add_test(b, balloon_stats);
	tcase_add_test(b, balloon_anything);
	suite_add_tcase(s, b);
	return fake_main(s);
}
