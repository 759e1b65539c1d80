// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c devices/virtio/blk*.c devices/storage/disklog.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c */
/* virtio-blk on a server that does not answer: whatever stops the disk comes back, and no request is lost. */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include "virtio_driver.h"
#include "devices/storage/image.h"
#include "devices/virtio/blk_int.h"
#include "liar_fixture.h"

#define HDR	DRV_DATA
#define STATUS	(DRV_DATA + 0x1000)
#define DATA	(DRV_DATA + 0x2000)
#define FLUSH	(1ULL << VIRTIO_BLK_F_FLUSH)
#define RING_RESET (1ULL << VIRTIO_F_RING_RESET)
#define SLOT	0x10000U	/* of a request in guest memory */

static struct dom_disk cfg;
static struct liar liar;
static struct virtio_blk *blk;

/* layered: with a file for what is written over what is served. */
static void up(bool layered, unsigned int queues)
{
	struct image img = {
		.fd = AIO_SERVED, .fd_buffered = AIO_SERVED, .size = LIAR_SIZE, .raw_size = LIAR_SIZE, .align = 1,
		.logical_block = 512, .physical_block = 512,
	};

	memset(&fdom, 0, sizeof(fdom));
	cfg = (struct dom_disk){ .file = (char *)"served", .target = (char *)"vda", .queues = queues };
	liar = (struct liar){ .cut = UINT_MAX, .lie = LATE };
	img.served = liar_up(&liar, &cfg);
	ck_assert_ptr_nonnull(img.served);
	if (layered) {
		img.overlay = overlay_new("/var/tmp", AIO_SERVED, LIAR_SIZE);
		ck_assert_ptr_nonnull(img.overlay);
		img.overlay->served = img.served;
		img.no_flush = true;
	}
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_blk_create_on(&fm, &cfg, &img), 0);
	blk = (struct virtio_blk *)fm.devices;
	while (blk->v.dev.ops != &blk_ops)
		blk = (struct virtio_blk *)blk->v.dev.next;
	blk->stop_ms = 100;
	pthread_mutex_unlock(&fm.lock);
	drv_up();
	drv_start(drv_offered() & (FLUSH | RING_RESET), queues);
}

static void down(void)
{
	drv_free();
	pthread_join(liar.thread, NULL);
}

static uint8_t *status(unsigned int i)
{
	return ram(STATUS + i * SLOT);
}

/* The ith request under way, with 4096 bytes at most of data. */
static void start(unsigned int q, unsigned int i, uint32_t type, uint64_t sector, uint32_t len)
{
	uint64_t at = i * SLOT;
	struct virtio_blk_outhdr h = { type, 0, sector };
	struct drv_buf b[3] = { { HDR + at, 16, false }, { DATA + at, len, type == VIRTIO_BLK_T_IN }, { STATUS + at, 1, true } };

	if (!len)
		b[1] = b[2];
	memcpy(ram(HDR + at), &h, sizeof(h));
	*status(i) = 0xee;
	drv_add(q, b, len ? 3 : 2);
	drv_kick(q);
}

static void answer_all(void)
{
	for (unsigned int i = 0; i < 1000; i++)
		sem_post(&late.may);
}

static void stop_disk(void)
{
	pthread_mutex_lock(&fm.lock);
	blk_ops.pause(&blk->v.dev);
	pthread_mutex_unlock(&fm.lock);
}

static void go_on(void)
{
	pthread_mutex_lock(&fm.lock);
	blk_ops.resume(&blk->v.dev);
	pthread_mutex_unlock(&fm.lock);
}

/* A part of a block is written: its rest is read first, by the queue's own thread. */
static void write_part(unsigned int q, unsigned int i)
{
	memset(ram(DATA + i * SLOT), 'w', 512);
	start(q, i, VIRTIO_BLK_T_OUT, 1 + 8 * i, 512);
	sem_wait(&late.came);
}

static void check_part(unsigned int i)
{
	const char *data = ram(DATA + i * SLOT);

	memset(ram(DATA + i * SLOT), 'r', 4096);
	start(0, i, VIRTIO_BLK_T_IN, 8 * i, 4096);
	drv_wait(0, NULL);
	ck_assert_uint_eq(*status(i), 0);
	ck_assert(!data[0] && !data[511] && data[512] == 'w' && data[1023] == 'w' && !data[1024] && !data[4095]);
}

START_TEST(reset_in_a_fill)
{
	up(true, 1);
	write_part(0, 0);
	drv_set_status(0);
	ck_assert_uint_eq(drv_status(), 0);
	/* The next that waits gets what it asks for, and not what comes for the first. */
	drv_start(FLUSH & drv_offered(), 1);
	answer_all();
	write_part(0, 1);
	drv_wait(0, NULL);
	ck_assert_uint_eq(*status(1), 0);
	check_part(1);
	down();
}
END_TEST

START_TEST(pause_in_a_fill)
{
	up(true, 1);
	write_part(0, 0);
	stop_disk();
	ck_assert_uint_eq(*status(0), 0xee);
	/* Again, and again it waits. */
	go_on();
	stop_disk();
	ck_assert_uint_eq(*status(0), 0xee);
	answer_all();
	go_on();
	drv_wait(0, NULL);
	ck_assert_uint_eq(*status(0), 0);
	check_part(0);
	down();
}
END_TEST

/* What is under way when the guest stops does not touch its memory, and is done when it goes on. */
START_TEST(pause_under_way)
{
	struct virtio_state *state = calloc(1, sizeof(*state));
	struct state_error err = { .text = "" };

	up(false, 1);
	memset(ram(DATA + SLOT), 'w', 4096);
	start(0, 0, VIRTIO_BLK_T_IN, 0, 4096);
	start(0, 1, VIRTIO_BLK_T_OUT, 8, 4096);
	start(0, 2, VIRTIO_BLK_T_FLUSH, 0, 0);
	sem_wait(&late.came);
	memset(ram(DATA), 'r', 4096);
	stop_disk();
	ck_assert_int_ne(blk_ops.state->save(&blk->v.dev, state, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "does not answer"));
	memset(ram(DATA + SLOT), 'x', 4096);	/* as a debugger might */
	answer_all();
	for (unsigned int i = 0; late.writes < 1 && i < 100000; i++)
		usleep(100);
	ck_assert(late.write[0].first == 'w' && late.write[0].last == 'w');
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_uint_eq(*status(i), 0xee);
	ck_assert(!memcmp(ram(DATA), (char *)ram(DATA) + 1, 4095) && *(char *)ram(DATA) == 'r');
	go_on();
	for (unsigned int i = 0; i < 3; i++)
		drv_wait(0, NULL);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_uint_eq(*status(i), 0);
	ck_assert(!*(char *)ram(DATA));
	ck_assert(late.writes == 2 && late.write[1].first == 'x' && late.write[1].last == 'x');
	/* And now it can be saved. */
	stop_disk();
	ck_assert_int_eq(blk_ops.state->save(&blk->v.dev, state, &err), 0);
	free(state);
	down();
}
END_TEST

/* What was parked is the guest's again by a reset. */
START_TEST(reset_of_what_is_parked)
{
	up(false, 1);
	start(0, 0, VIRTIO_BLK_T_IN, 0, 4096);
	sem_wait(&late.came);
	stop_disk();
	go_on();
	drv_set_status(0);
	drv_start(FLUSH & drv_offered(), 1);
	memset(ram(DATA), 'r', 4096);
	answer_all();
	start(0, 1, VIRTIO_BLK_T_IN, 0, 4096);
	drv_wait(0, NULL);
	ck_assert_uint_eq(*status(1), 0);
	ck_assert_uint_eq(*(char *)ram(DATA), 'r');
	down();
}
END_TEST

/* One queue alone is reset: another's request begins anew, and is not lost. */
START_TEST(ring_reset_beside_a_fill)
{
	up(true, 2);
	write_part(0, 0);
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	set_common(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	answer_all();
	drv_wait(0, NULL);
	ck_assert_uint_eq(*status(0), 0);
	check_part(0);
	down();
}
END_TEST

/* The guest is destroyed: while its queue's thread waits, or with what is parked. */
START_TEST(destroyed)
{
	up(_i, 1);
	if (_i)
		write_part(0, 0);
	else
		start(0, 0, VIRTIO_BLK_T_IN, 0, 4096);
	if (_i == 2)
		stop_disk();
	drv_free();
	answer_all();
	pthread_join(liar.thread, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hung");
	TCase *tc = tcase_create("hung");

	tcase_set_timeout(tc, 120);	/* that nothing hangs is what is tested */
	tcase_add_test(tc, reset_in_a_fill);
	tcase_add_test(tc, pause_in_a_fill);
	tcase_add_test(tc, pause_under_way);
	tcase_add_test(tc, reset_of_what_is_parked);
	tcase_add_test(tc, ring_reset_beside_a_fill);
	tcase_add_loop_test(tc, destroyed, 0, 3);
	suite_add_tcase(s, tc);
	return fake_main(s);
}
