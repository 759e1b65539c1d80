// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/pic.c devices/legacy/ioapic.c devices/legacy/pit.c devices/legacy/rtc.c devices/legacy/i8042.c devices/legacy/acpi_pm.c devices/legacy/fw_cfg.c devices/legacy/pvpanic.c devices/legacy/debug_exit.c devices/legacy/serial.c devices/pci.c devices/device.c vmm/state.c vmm/stream.c vmm/bus.c vmm/memory.c vmm/log.c */
/* Saved state of the chipset: what a guest did to it is there after a load; damage and lies are refused. */
#define FAKE_CLOCK
#define FAKE_OWN_IRQ_SET
#include "fake_machine.h"
#include <fcntl.h>
#include "vmm/board.h"
#include "vmm/stream.h"

void irq_set(struct machine *m, unsigned int gsi, bool level)
{
	if (gsi < 16 && gsi != 2)
		pic_set_irq(m->pic, gsi, level);
	ioapic_set_irq(m->ioapic, gsi == 0 ? 2 : gsi, level);
}

static struct dom_serial com1 = { .chr = { .type = CHR_NULL }, .port = 0 };

static void setup(void)
{
	fake_machine(2 << 20);
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(pic_create(&fm) ?: ioapic_create(&fm) ?: pit_create(&fm) ?: rtc_create(&fm) ?:
			 i8042_create(&fm) ?: acpi_pm_create(&fm) ?: fw_cfg_create(&fm) ?:
			 pci_host_create(&fm) ?: pvpanic_create(&fm) ?:
			 debug_exit_create(&fm, BOARD_DEBUG_EXIT_PORT) ?: serial_create(&fm, &com1), 0);
	ck_assert_int_eq(fw_cfg_add(&fm, "opt/test", "0123456789", 10), 0);
	pthread_mutex_unlock(&fm.lock);
}

/* As if freshly started. */
static void renew(void)
{
	fake_free();
	setup();
}

static void save_all(struct sbuf *out, unsigned int *nr)
{
	struct state_error err = { .text = "" };
	struct device *d;

	pthread_mutex_lock(&fm.lock);
	for (*nr = 0, d = fm.devices; d; d = d->next, ++*nr)
		ck_assert_msg(!state_save_device(&out[*nr], d, &err), "%s", err.text);
	pthread_mutex_unlock(&fm.lock);
}

static int load_one(const uint8_t *data, size_t len, struct state_error *err)
{
	/* A copy of its own, so that reads beyond the end show. */
	struct sbuf b = { .data = malloc(len ? len : 1), .len = len };
	struct device *d;
	int ret;

	memcpy(b.data, data, len);
	*err = (struct state_error){ .text = "" };
	pthread_mutex_lock(&fm.lock);
	ret = state_load_device(&b, &fm, &d, err);
	pthread_mutex_unlock(&fm.lock);
	free(b.data);
	return ret;
}

static void free_all(struct sbuf *b, unsigned int nr)
{
	while (nr--)
		sbuf_free(&b[nr]);
}

/* What a guest may do to any port of the chipset, but end the machine. The RTC stands still. */
static void scribble(unsigned int count)
{
	static const uint16_t port[] = {
		0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x43, 0x61, 0x60, 0x64,
		0x70, 0x71, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3ff, 0x600, 0x602, 0x604, 0x620,
		0x622, 0x510, 0xcf8,
	};
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint16_t p = port[fake_random() % (sizeof(port) / sizeof(port[0]))];

		if (p == 0x510)
			outw(p, fake_random() % 0x30);
		else if (p == 0xcf8)
			outl(p, fake_random());
		else
			outb(p, (uint8_t)fake_random());
		if (!(i % 7))
			inb(p);
		if (!(i % 5))
			fake_advance(fake_random() % 3000000);
		bus_write(&fm.mmio, BOARD_IOAPIC_BASE, 4, fake_random() % 0x40);
		bus_write(&fm.mmio, BOARD_IOAPIC_BASE + 0x10, 4, fake_random());
	}
	/* SET: the time registers are what was written. */
	outb(0x70, 0x0b);
	outb(0x71, 0x82);
}

START_TEST(round_trip)
{
	struct sbuf first[16] = { 0 }, second[16] = { 0 };
	struct state_error err;
	unsigned int i, nr, again;

	setup();
	scribble((unsigned int)_i * 40);
	save_all(first, &nr);
	ck_assert_uint_eq(nr, 11);
	renew();
	for (i = 0; i < nr; i++)
		ck_assert_msg(!load_one(first[i].data, first[i].len, &err), "%s", err.text);
	save_all(second, &again);
	ck_assert_uint_eq(nr, again);
	for (i = 0; i < nr; i++) {
		ck_assert_uint_eq(first[i].len, second[i].len);
		ck_assert_msg(!memcmp(first[i].data, second[i].data, first[i].len),
			      "device %u differs after a load", i);
	}
	free_all(first, nr);
	free_all(second, nr);
	fake_free();
}
END_TEST

START_TEST(truncated_at_every_byte)
{
	struct sbuf saved[16] = { 0 };
	struct state_error err;
	unsigned int i, nr;
	size_t len;

	setup();
	scribble(100);
	save_all(saved, &nr);
	renew();
	for (i = 0; i < nr; i++) {
		for (len = 0; len < saved[i].len; len++) {
			ck_assert_int_eq(load_one(saved[i].data, len, &err), -EINVAL);
			ck_assert(err.text[0]);
		}
	}
	free_all(saved, nr);
	fake_free();
}
END_TEST

/* Below the checksums: what gets through must leave devices that work. */
START_TEST(any_bit_flipped)
{
	struct sbuf saved[16] = { 0 };
	struct state_error err;
	unsigned int i, nr, refused = 0, taken = 0;
	size_t bit;

	setup();
	scribble(60);
	save_all(saved, &nr);
	for (i = 0; i < nr; i++) {
		for (bit = 0; bit < saved[i].len * 8; bit++) {
			saved[i].data[bit / 8] ^= 1 << bit % 8;
			if (load_one(saved[i].data, saved[i].len, &err)) {
				ck_assert(err.text[0]);
				refused++;
			} else {
				taken++;
			}
			saved[i].data[bit / 8] ^= 1 << bit % 8;
			if (!(bit % 64))
				scribble(3);
		}
		renew();
	}
	ck_assert_uint_gt(refused, taken);
	free_all(saved, nr);
	fake_free();
}
END_TEST

/* The timer of IRQ 0 and the PM timer go on from where they stood, however long the state lay. */
START_TEST(time_stands_still_while_saved)
{
	struct sbuf saved[16] = { 0 };
	struct state_error err;
	unsigned int i, nr;
	uint32_t timer;

	setup();
	outb(0x43, 0x34);
	outb(0x40, 0xa9);	/* 11945: 10.01 ms */
	outb(0x40, 0x2e);
	fake_advance(4000000);
	timer = inl(BOARD_PM_TMR);
	save_all(saved, &nr);
	fake_now += 86400ULL * 1000000000;
	renew();
	for (i = 0; i < nr; i++)
		ck_assert_msg(!load_one(saved[i].data, saved[i].len, &err), "%s", err.text);
	ck_assert_uint_eq(inl(BOARD_PM_TMR), timer);
	pthread_mutex_lock(&fm.lock);
	for (struct device *d = fm.devices; d; d = d->next)
		if (d->ops->resume)
			d->ops->resume(d);
	/* The I/O APIC's pin 2 is masked: count at the 8259, by its request bit. */
	pthread_mutex_unlock(&fm.lock);
	outb(0x20, 0x0a);
	fake_advance(5000000);
	ck_assert_uint_eq(inb(0x20) & 1, 1);
	free_all(saved, nr);
	fake_free();
}
END_TEST

/* Byte offset of a field's data in a saved device; by its name in the records. */
static uint8_t *field(struct sbuf *b, const char *name)
{
	size_t len = strlen(name), i;

	/* A record's head is the name's length, the elements' size, and their count. */
	for (i = 6; i + len < b->len; i++)
		if (b->data[i - 6] == len && !memcmp(b->data + i, name, len))
			return b->data + i + len;
	ck_abort_msg("no field %s", name);
	return NULL;
}

static void expect_refused(struct sbuf *saved, unsigned int nr, const char *device,
			   const char *name, const void *val, size_t len, const char *why)
{
	struct state_error err;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uint8_t old[8], *at;

		if (!memmem(saved[i].data, 64, device, strlen(device)))
			continue;
		at = field(&saved[i], name);
		memcpy(old, at, len);
		memcpy(at, val, len);
		ck_assert_int_eq(load_one(saved[i].data, saved[i].len, &err), -EINVAL);
		ck_assert_msg(strstr(err.text, why), "%s", err.text);
		memcpy(at, old, len);
		ck_assert_msg(!load_one(saved[i].data, saved[i].len, &err), "%s", err.text);
		return;
	}
	ck_abort_msg("no device %s", device);
}

START_TEST(lies_are_refused)
{
	struct sbuf s[16] = { 0 };
	unsigned int nr;

	setup();
	save_all(s, &nr);
	expect_refused(s, nr, "pit", "count", "\0\0\0\0", 4, "counts 0");
	expect_refused(s, nr, "pit", "count", "\1\0\1\0", 4, "count is 0x10001");
	expect_refused(s, nr, "pit", "mode", "\6", 1, "mode is 0x6");
	expect_refused(s, nr, "pic", "lowest", "\10", 1, "lowest is 0x8");
	expect_refused(s, nr, "pic", "elcr", "\1", 1, "elcr");
	expect_refused(s, nr, "ioapic", "rte", "\0\100\0\0\0\0\0\0", 8, "EOI of an edge");
	expect_refused(s, nr, "rtc", "index", "\200", 1, "index is 0x80");
	expect_refused(s, nr, "serial0", "count", "\21\0\0\0", 4, "count is 0x11");
	expect_refused(s, nr, "fw-cfg", "offset", "\377\377\0\0", 4, "beyond item");
	expect_refused(s, nr, "acpi-pm", "carries", "\377\0\0\0\0\0\0\0", 8, "carries 255");
	expect_refused(s, nr, "pci-host", "config", "\1", 1, "made differently");
	expect_refused(s, nr, "pci-host", "nr_vectors", "\1\1\0\0", 4, "nr_vectors is 0x101");
	free_all(s, nr);
	fake_free();
}
END_TEST

/* A field of version 2 reads as zero from version 1, and is read from version 2. */
struct two { uint32_t a, b; };
static const struct state_field two_fields[] = {
	STATE_NUM(struct two, a, 1), STATE_NUM(struct two, b, 2, .max = 9), STATE_END
};
static const struct state_field one_field[] = { STATE_NUM(struct two, a, 1), STATE_END };

START_TEST(versions)
{
	struct two in = { 5, 7 }, out = { 0 };
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };

	state_encode(&b, one_field, &in);
	ck_assert_int_eq(state_decode(&b, two_fields, 1, &out, &err), 0);
	ck_assert(out.a == 5 && out.b == 0);
	b.pos = 0;
	ck_assert_int_eq(state_decode(&b, two_fields, 2, &out, &err), -EINVAL);
	ck_assert_str_eq(err.text, "ends before b");
	sbuf_free(&b);
	state_encode(&b, two_fields, &in);
	ck_assert_int_eq(state_decode(&b, two_fields, 2, &out, &err), 0);
	ck_assert(out.a == 5 && out.b == 7);
	sbuf_free(&b);
}
END_TEST

/*
 * A file of each version that was ever written: it loads, or is refused with the
 * reason. HVX_GOLDEN=FILE writes one of today's.
 */
static void write_golden(const char *path)
{
	struct state_error err = { .text = "" };
	struct sbuf saved[16] = { 0 };
	struct stream_out o;
	unsigned int i, nr;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	ck_assert_int_ge(fd, 0);
	setup();
	scribble(200);
	save_all(saved, &nr);
	ck_assert_int_eq(stream_begin(&o, fd, 0, &err), 0);
	for (i = 0; i < nr; i++)
		ck_assert_int_eq(stream_put(&o, SEC_DEVICE, saved[i].data, saved[i].len, &err), 0);
	ck_assert_int_eq(stream_end(&o, &err), 0);
	close(fd);
	free_all(saved, nr);
	fake_free();
}

START_TEST(golden_files)
{
	static const char *const file[] = { "tests/snapshot/chipset-1.hvxs" };
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	uint64_t plain, len;
	struct stream_in in;
	uint32_t type;
	unsigned int nr = 0;
	int fd;

	if (getenv("HVX_GOLDEN"))
		write_golden(getenv("HVX_GOLDEN"));
	fd = open(file[_i], O_RDONLY);
	ck_assert_msg(fd >= 0, "%s: %s", file[_i], strerror(errno));
	setup();
	ck_assert_msg(!stream_open(&in, fd, &err), "%s", err.text);
	for (;;) {
		ck_assert_msg(!stream_next(&in, &type, &b, &plain, &len, &err), "%s", err.text);
		if (type == SEC_END)
			break;
		ck_assert_msg(!load_one(b.data, b.len, &err), "%s", err.text);
		nr++;
	}
	ck_assert_uint_eq(nr, 11);
	/* A few things that are known to be in it. */
	ck_assert_uint_eq(inb(0x3ff), 0x0a);
	sbuf_free(&b);
	close(fd);
	fake_free();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state");
	TCase *tc = tcase_create("state");

	tcase_add_loop_test(tc, round_trip, 0, 30);
	tcase_add_test(tc, truncated_at_every_byte);
	tcase_add_test(tc, any_bit_flipped);
	tcase_add_test(tc, time_stands_still_while_saved);
	tcase_add_test(tc, lies_are_refused);
	tcase_add_test(tc, versions);
	tcase_add_loop_test(tc, golden_files, 0, 1);
	suite_add_tcase(s, tc);
	return fake_main(s);
}
