// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/pic.c devices/legacy/ioapic.c devices/legacy/pit.c devices/legacy/rtc.c devices/legacy/i8042.c devices/legacy/acpi_pm.c devices/legacy/fw_cfg.c devices/legacy/pvpanic.c devices/legacy/serial.c devices/pci.c devices/device.c vmm/state.c vmm/stream.c vmm/stream_ram.c vmm/bus.c vmm/memory.c vmm/log.c */
/*
 * libFuzzer: saved state. The first byte says what the others are: a file, a device's
 * section behind its checksums, or a chunk of memory. Seeds: tests/snapshot.
 */
#define FAKE_CLOCK
#define FAKE_OWN_IRQ_SET
#include <check.h>
#include <stdlib.h>
/* There is no test around it: what the fake machine expects of itself aborts. */
#undef ck_assert_int_eq
#undef ck_assert_ptr_nonnull
#define ck_assert_int_eq(a, b)		do { if ((a) != (b)) abort(); } while (0)
#define ck_assert_ptr_nonnull(p)	do { if (!(p)) abort(); } while (0)
#include "tests/unit/fake_machine.h"
#include <sys/mman.h>
#include "vmm/board.h"
#include "vmm/stream_ram.h"

#define RAM	(4U << 20)

void irq_set(struct machine *m, unsigned int gsi, bool level)
{
	if (gsi < 16 && gsi != 2)
		pic_set_irq(m->pic, gsi, level);
	ioapic_set_irq(m->ioapic, gsi == 0 ? 2 : gsi, level);
}

static void setup(void)
{
	static struct dom_serial com1 = { .chr = { .type = CHR_NULL }, .port = 0 };

	fake_machine(2 << 20);
	if (pic_create(&fm) || ioapic_create(&fm) || pit_create(&fm) || rtc_create(&fm) ||
	    i8042_create(&fm) || acpi_pm_create(&fm) || fw_cfg_create(&fm) || pci_host_create(&fm) ||
	    pvpanic_create(&fm) || serial_create(&fm, &com1))
		abort();
}

/* Every port once, and some time: what was loaded must bear it. */
static void use(void)
{
	unsigned int port;

	for (port = 0; port < 0x630; port++)
		outb((uint16_t)port, inb((uint16_t)port));
	fake_advance(20000000);
}

static void load_device(const uint8_t *data, size_t len)
{
	struct sbuf b = { .data = (uint8_t *)(uintptr_t)data, .len = len };
	struct state_error err = { .text = "" };
	struct device *d;

	pthread_mutex_lock(&fm.lock);
	if (state_load_device(&b, &fm, &d, &err) && !err.text[0])
		abort();
	pthread_mutex_unlock(&fm.lock);
	use();
}

static int file_of(const uint8_t *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

static void read_file(const uint8_t *data, size_t len)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	uint64_t plain, plain_len;
	struct stream_in in;
	uint32_t type = 0;
	int fd = file_of(data, len), ret = stream_open(&in, fd, &err);

	while (!ret && type != SEC_END) {
		ret = stream_next(&in, &type, &b, &plain, &plain_len, &err);
		if (!ret && type == SEC_DEVICE)
			load_device(b.data, b.len);
	}
	sbuf_free(&b);
	close(fd);
}

/* The bytes as a chunk, with right checksums around them. */
static void load_memory(const uint8_t *data, size_t len)
{
	static uint8_t *ram;
	const uint8_t head[16] = { 0, 0, 0, 0, 0, 0, 16, 0, RAM & 0xff, RAM >> 8 & 0xff, RAM >> 16, 0 };
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	struct stream_out o;
	struct stream_in in;
	uint64_t plain, plain_len;
	struct ram_job j;
	uint32_t type;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (!ram)
		ram = malloc(RAM);
	stream_begin(&o, fd, 0, &err);
	stream_put(&o, SEC_RAM, head, sizeof(head), &err);
	stream_put(&o, SEC_RAM_CHUNK, data, len, &err);
	stream_end(&o, &err);
	lseek(fd, 0, SEEK_SET);
	if (!ram || ram_job_init(&j, ram, RAM, -1))
		abort();
	if (!stream_open(&in, fd, &err) && !stream_next(&in, &type, &b, &plain, &plain_len, &err) &&
	    !ram_load_begin(&j, &in, &b, &err)) {
		ram_load_work(&j);
		ram_load_end(&j, &err);
	}
	sbuf_free(&b);
	ram_job_free(&j);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len)
		return 0;
	setup();
	switch (data[0] % 3) {
	case 0:
		load_device(data + 1, len - 1);
		break;
	case 1:
		load_memory(data + 1, len - 1);
		break;
	default:
		read_file(data + 1, len - 1);
	}
	fake_free();
	return 0;
}
