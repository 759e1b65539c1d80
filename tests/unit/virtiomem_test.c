// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/virtio/mem.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/state.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c */
/* Memory devices: what a driver may ask, what a hostile one asks, and what is saved. */
#include <linux/virtio_mem.h>
#include <sys/mman.h>
#include "virtio_driver.h"
#include "devices/virtio/mem.h"
#include "vmm/qmp.h"

#define MB		(1ULL << 20)
#define BLOCK		(2 * MB)
#define SIZE		(64 * MB)
#define BLOCKS		(SIZE / BLOCK)
#define BASE		RAM_HIGH_START

static struct dom_memdev md[2];
static _Atomic unsigned int events;
static _Atomic uint64_t event_size;

void qmp_event(struct machine *m, const char *name, struct json_object *data)
{
	(void)m;
	if (!strcmp(name, "MEMORY_DEVICE_SIZE_CHANGE")) {
		event_size = json_object_get_uint64(json_object_object_get(data, "size"));
		events++;
	}
	json_object_put(data);
}

static int make(unsigned int i)
{
	int ret;

	pthread_mutex_lock(&fm.lock);
	ret = virtio_mem_create(&fm, &md[i]);
	pthread_mutex_unlock(&fm.lock);
	return ret;
}

static void begin(void)
{
	memset(&fdom, 0, sizeof(fdom));
	fdom.device_room = 256 * MB;
	md[0] = (struct dom_memdev){ .id = (char *)"a", .size = SIZE, .block = BLOCK, .requested = 16 * MB };
	md[1] = (struct dom_memdev){ .id = (char *)"b", .size = SIZE, .block = BLOCK };
	events = 0;
	drv_machine();
}

static void setup(void)
{
	begin();
	ck_assert_int_eq(make(0), 0);
	drv_up();
}

static struct virtio_mem_config config(void)
{
	struct virtio_mem_config c;
	unsigned int i;

	for (i = 0; i < sizeof(c) / 8; i++)
		((uint64_t *)(void *)&c)[i] = bus_read(&fm.mmio, drv.device + 8 * i, 8);
	return c;
}

/* One request; the answer's type, and its state. */
static uint16_t ask(uint16_t type, uint64_t addr, uint16_t blocks, uint16_t *state)
{
	struct virtio_mem_req req = { .type = type, .u.plug = { .addr = addr, .nb_blocks = blocks } };
	struct virtio_mem_resp resp;
	struct drv_buf b[2] = { { DRV_DATA, sizeof(req), false }, { DRV_DATA + 64, sizeof(resp), true } };

	memcpy(ram(DRV_DATA), &req, sizeof(req));
	memset(ram(DRV_DATA + 64), 0xff, sizeof(resp));
	drv_add(0, b, 2);
	drv_kick(0);
	ck_assert_uint_eq(drv_wait(0, NULL), sizeof(resp));
	memcpy(&resp, ram(DRV_DATA + 64), sizeof(resp));
	if (state)
		*state = resp.u.state.state;
	return resp.type;
}

#define plug(addr, n)	ask(VIRTIO_MEM_REQ_PLUG, addr, n, NULL)
#define unplug(addr, n)	ask(VIRTIO_MEM_REQ_UNPLUG, addr, n, NULL)
#define unplug_all()	ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0, NULL)

static uint16_t state_of(uint64_t addr, uint16_t n)
{
	uint16_t s = 99;

	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_STATE, addr, n, &s), VIRTIO_MEM_RESP_ACK);
	return s;
}

static bool resident(uint64_t gpa)
{
	unsigned char vec;

	ck_assert_int_eq(mincore((void *)((uintptr_t)guest_ptr(&fm.mem, gpa, 1, true) & ~4095UL), 1, &vec), 0);
	return vec & 1;
}

static int request(uint64_t bytes)
{
	int ret;

	pthread_mutex_lock(&fm.lock);
	ret = mem_device_request(&fm, "a", bytes);
	pthread_mutex_unlock(&fm.lock);
	return ret;
}

START_TEST(what_it_is)
{
	struct virtio_mem_config c = config();

	ck_assert_uint_eq(drv_config(2, 2), 0x1040 + 24);
	ck_assert_uint_eq(c.block_size, BLOCK);
	ck_assert_uint_eq(c.addr, BASE);
	ck_assert_uint_eq(c.region_size, SIZE);
	ck_assert_uint_eq(c.usable_region_size, SIZE);
	ck_assert_uint_eq(c.requested_size, 16 * MB);
	ck_assert_uint_eq(c.plugged_size, 0);
	ck_assert(drv_offered() >> VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE & 1);
	/* The configuration is the device's alone. */
	bus_write(&fm.mmio, drv.device + 48, 8, SIZE);
	ck_assert_uint_eq(config().requested_size, 16 * MB);
	ck_assert_uint_eq(fm.mem.boot_size, DRV_RAM);
	ck_assert_uint_eq(fm.mem.device_gpa, BASE);
}
END_TEST

START_TEST(plug_and_unplug)
{
	unsigned int n;

	drv_start(drv_offered(), 1);
	ck_assert_uint_eq(plug(BASE, 3), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(config().plugged_size, 3 * BLOCK);
	ck_assert_uint_eq(state_of(BASE, 3), VIRTIO_MEM_STATE_PLUGGED);
	ck_assert_uint_eq(state_of(BASE, 4), VIRTIO_MEM_STATE_MIXED);
	ck_assert_uint_eq(state_of(BASE + 3 * BLOCK, 4), VIRTIO_MEM_STATE_UNPLUGGED);
	memset(guest_ptr(&fm.mem, BASE + BLOCK, BLOCK, true), 'x', BLOCK);
	ck_assert(resident(BASE + BLOCK));
	ck_assert_uint_eq(unplug(BASE + BLOCK, 1), VIRTIO_MEM_RESP_ACK);
	ck_assert(!resident(BASE + BLOCK));
	ck_assert_int_eq(*(char *)guest_ptr(&fm.mem, BASE + BLOCK, 1, false), 0);
	ck_assert_uint_eq(config().plugged_size, 2 * BLOCK);
	ck_assert_uint_eq(unplug_all(), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(config().plugged_size, 0);
	ck_assert_uint_eq(state_of(BASE, BLOCKS), VIRTIO_MEM_STATE_UNPLUGGED);
	ck_assert_uint_eq(unplug_all(), VIRTIO_MEM_RESP_ACK);
	/* Whoever listens is told; once for several. */
	for (n = 0; !events; n++) {
		ck_assert_msg(n < 100000, "no event");
		usleep(100);
	}
	ck_assert_uint_eq(drv_status(), 15);
}
END_TEST

START_TEST(no_more_than_requested)
{
	drv_start(drv_offered(), 1);
	ck_assert_uint_eq(plug(BASE, 9), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(plug(BASE, 8), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(plug(BASE + 8 * BLOCK, 1), VIRTIO_MEM_RESP_NACK);
	ck_assert_int_eq(request(20 * MB), 0);
	ck_assert_uint_eq(config().requested_size, 20 * MB);
	ck_assert_uint_eq(plug(BASE + 8 * BLOCK, 3), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(plug(BASE + 8 * BLOCK, 2), VIRTIO_MEM_RESP_ACK);
	/* Less than there is: what is plugged stays until the driver unplugs it. */
	ck_assert_int_eq(request(0), 0);
	ck_assert_uint_eq(config().plugged_size, 20 * MB);
	ck_assert_uint_eq(plug(BASE + 10 * BLOCK, 1), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(unplug(BASE, 10), VIRTIO_MEM_RESP_ACK);
	ck_assert_int_eq(request(SIZE), 0);
	ck_assert_uint_eq(plug(BASE, BLOCKS), VIRTIO_MEM_RESP_ACK);
	ck_assert_int_eq(request(SIZE + BLOCK), -EINVAL);
	ck_assert_int_eq(request(MB), -EINVAL);
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(mem_device_request(&fm, "c", 0), -ENODEV);
	pthread_mutex_unlock(&fm.lock);
}
END_TEST

START_TEST(hostile_ranges)
{
	static const struct {
		uint64_t addr;
		uint16_t n;
	} bad[] = {
		{ 0, 1 }, { BASE - BLOCK, 1 }, { BASE - BLOCK, 2 }, { BASE + 4096, 1 }, { BASE, 0 },
		{ BASE + SIZE, 1 }, { BASE + SIZE - BLOCK, 2 }, { BASE, BLOCKS + 1 }, { BASE, 65535 },
		{ ~0ULL, 1 }, { ~0ULL - BLOCK + 1, 1 }, { ~0ULL - BLOCK + 1, 65535 }, { BASE + (1ULL << 63), 1 },
	};
	unsigned int i;

	drv_start(drv_offered(), 1);
	ck_assert_int_eq(request(SIZE), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_uint_eq(plug(bad[i].addr, bad[i].n), VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(unplug(bad[i].addr, bad[i].n), VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_STATE, bad[i].addr, bad[i].n, NULL), VIRTIO_MEM_RESP_ERROR);
	}
	ck_assert_uint_eq(ask(77, BASE, 1, NULL), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(config().plugged_size, 0);
	ck_assert_uint_eq(plug(BASE + BLOCK, 2), VIRTIO_MEM_RESP_ACK);
	/* Some of them twice, some not at all. */
	ck_assert_uint_eq(plug(BASE, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(unplug(BASE, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(unplug(BASE + 2 * BLOCK, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(config().plugged_size, 2 * BLOCK);
	ck_assert_uint_eq(drv_status(), 15);
}
END_TEST

START_TEST(no_room_for_it)
{
	struct drv_buf b[2] = { { DRV_DATA, _i ? 23 : 24, false }, { DRV_DATA + 64, _i ? 10 : 9, true } };

	memset(ram(DRV_DATA), 0, 64);
	drv_start(drv_offered(), 1);
	drv_add(0, b, 2);
	drv_kick(0);
	drv_wait_broken();
}
END_TEST

/* The driver's reset leaves memory where it is, the machine's takes it. */
START_TEST(resets)
{
	struct device *d;

	drv_start(drv_offered(), 1);
	ck_assert_uint_eq(plug(BASE, 4), VIRTIO_MEM_RESP_ACK);
	memset(guest_ptr(&fm.mem, BASE, 1, true), 'x', 1);
	drv_start(drv_offered(), 1);
	ck_assert_uint_eq(config().plugged_size, 4 * BLOCK);
	ck_assert_uint_eq(state_of(BASE, 4), VIRTIO_MEM_STATE_PLUGGED);
	ck_assert(resident(BASE));
	pthread_mutex_lock(&fm.lock);
	for (d = fm.devices; d; d = d->next)
		if (d->ops->reset)
			d->ops->reset(d);
	pci_assign(&fm);
	pthread_mutex_unlock(&fm.lock);
	drv_probe(1 << 3);
	ck_assert_uint_eq(config().plugged_size, 0);
	ck_assert_uint_eq(config().requested_size, 16 * MB);
	ck_assert(!resident(BASE));
}
END_TEST

START_TEST(places)
{
	struct mem_device_info a, b;

	begin();
	md[0].size = 130 * MB;
	ck_assert_int_eq(make(0), 0);
	md[1].size = 128 * MB;
	ck_assert_int_eq(make(1), -ENOSPC);	/* 256 MiB are there, in pieces of 128 */
	md[1].size = 256 * MB;
	ck_assert_int_eq(make(1), -ENOSPC);
	md[1].size = 512 * MB;
	ck_assert_int_eq(make(1), -ENOSPC);
	md[1].size = SIZE;
	md[1].base = BASE + 128 * MB;		/* in the first one */
	ck_assert_int_eq(make(1), -ENOSPC);
	md[1].base = BASE + 200 * MB;		/* beyond the end */
	ck_assert_int_eq(make(1), -ENOSPC);
	md[1].base = 0x1000000;
	ck_assert_int_eq(make(1), -ENOSPC);
	md[1].base = BASE + 192 * MB;
	ck_assert_int_eq(make(1), 0);
	pthread_mutex_lock(&fm.lock);
	ck_assert(mem_device_info(&fm, 0, &a) && mem_device_info(&fm, 1, &b));
	ck_assert(!mem_device_info(&fm, 2, &b));
	pthread_mutex_unlock(&fm.lock);
	ck_assert_uint_eq(a.addr, BASE);
	ck_assert_uint_eq(b.addr, BASE + 192 * MB);
	ck_assert_str_eq(b.id, "b");
}
END_TEST

/* --- saved state --- */

static struct device *device(void)
{
	struct device *d;

	for (d = fm.devices; d && strcmp(d->ops->name, "virtio-mem"); d = d->next)
		;
	return d;
}

static void save(struct sbuf *b)
{
	struct state_error err = { .text = "" };
	struct device *d;

	pthread_mutex_lock(&fm.lock);
	d = device();
	d->ops->pause(d);
	ck_assert_msg(!state_save_device(b, d, &err), "%s", err.text);
	pthread_mutex_unlock(&fm.lock);
}

static int load(struct sbuf *b, struct state_error *err)
{
	struct device *d;
	int ret;

	b->pos = 0;
	memset(err, 0, sizeof(*err));
	pthread_mutex_lock(&fm.lock);
	d = device();
	d->ops->pause(d);
	ret = state_load_device(b, &fm, &d, err);
	if (!ret)
		d->ops->resume(d);
	pthread_mutex_unlock(&fm.lock);
	return ret;
}

/* Another machine, as its XML has it, with the memory of the first. */
static void renew(void)
{
	static uint8_t low[DRV_RAM];
	struct dom_memdev keep = md[0];

	memcpy(low + MB, ram(MB), DRV_RAM - MB);
	drv_free();
	begin();
	md[0] = keep;
	ck_assert_int_eq(make(0), 0);
	drv_up();
	memcpy(ram(MB), low + MB, DRV_RAM - MB);
}

START_TEST(goes_on)
{
	struct sbuf b = { 0 };
	struct state_error err;
	typeof(drv) keep;

	drv_start(drv_offered(), 1);
	ck_assert_int_eq(request(32 * MB), 0);
	ck_assert_uint_eq(plug(BASE, 2), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(plug(BASE + 30 * BLOCK, 2), VIRTIO_MEM_RESP_ACK);
	save(&b);
	keep = drv;
	renew();
	ck_assert_msg(!load(&b, &err), "%s", err.text);
	drv.q[0] = keep.q[0];
	drv.q[0].desc = ram(drv_ring(0));
	drv.q[0].avail = ram(drv_ring(0) + 0x4000);
	drv.q[0].used = ram(drv_ring(0) + 0x8000);
	ck_assert_uint_eq(config().plugged_size, 4 * BLOCK);
	ck_assert_uint_eq(config().requested_size, 32 * MB);
	ck_assert_uint_eq(state_of(BASE, 2), VIRTIO_MEM_STATE_PLUGGED);
	ck_assert_uint_eq(state_of(BASE + 2 * BLOCK, 28), VIRTIO_MEM_STATE_UNPLUGGED);
	ck_assert_uint_eq(plug(BASE + 2 * BLOCK, 12), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(plug(BASE + 14 * BLOCK, 1), VIRTIO_MEM_RESP_NACK);
	sbuf_free(&b);
}
END_TEST

START_TEST(another_device)
{
	struct sbuf b = { 0 };
	struct state_error err;

	drv_start(drv_offered(), 1);
	save(&b);
	md[0].size = 32 * MB;
	renew();
	ck_assert(load(&b, &err));
	ck_assert_msg(strstr(err.text, "blocks"), "%s", err.text);
	md[0].size = SIZE;
	md[0].base = BASE + 128 * MB;
	renew();
	ck_assert(load(&b, &err));
	ck_assert_msg(strstr(err.text, "0x108000000"), "%s", err.text);
	sbuf_free(&b);
}
END_TEST

/* Any bit of it: refused, or a device that holds what it says. */
START_TEST(any_bit_flipped)
{
	struct sbuf b = { 0 };
	struct state_error err;
	size_t bit;

	drv_start(drv_offered(), 1);
	ck_assert_uint_eq(plug(BASE, 3), VIRTIO_MEM_RESP_ACK);
	save(&b);
	for (bit = 0; bit < b.len * 8; bit += 5 + bit % 97) {
		b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		renew();
		if (load(&b, &err)) {
			ck_assert(err.text[0]);
		} else {
			struct mem_device_info i;

			pthread_mutex_lock(&fm.lock);
			ck_assert(mem_device_info(&fm, 0, &i));
			pthread_mutex_unlock(&fm.lock);
			ck_assert_uint_le(i.plugged, i.size);
			ck_assert_uint_le(i.requested, i.size);
			drv_fuzz(10);
		}
		b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	sbuf_free(&b);
}
END_TEST

START_TEST(anything)
{
	drv_fuzz(20000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtiomem");
	TCase *t = tcase_create("requests"), *p = tcase_create("places");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, drv_free);
	tcase_add_test(t, what_it_is);
	tcase_add_test(t, plug_and_unplug);
	tcase_add_test(t, no_more_than_requested);
	tcase_add_test(t, hostile_ranges);
	tcase_add_loop_test(t, no_room_for_it, 0, 2);
	tcase_add_test(t, resets);
	tcase_add_test(t, goes_on);
	tcase_add_test(t, another_device);
	tcase_add_test(t, any_bit_flipped);
	tcase_add_test(t, anything);
	tcase_add_checked_fixture(p, NULL, drv_free);
	tcase_add_test(p, places);
	suite_add_tcase(s, t);
	suite_add_tcase(s, p);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
