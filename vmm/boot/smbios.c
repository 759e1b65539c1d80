// SPDX-License-Identifier: GPL-2.0-only
/* SMBIOS 3.0 (DMTF DSP0134): the entry point, and the structure table behind it. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smbios.h"
#include "vmm/board.h"
#include "vmm/log.h"

#define TABLE_OFFSET	0x20		/* of the structures, behind the entry point */
#define STRING_MAX	256U

struct __attribute__((packed)) entry_point {
	char anchor[5];
	uint8_t checksum, length, major, minor, docrev, revision, reserved;
	uint32_t max_size;
	uint64_t address;
};

/* One structure being made: the formatted part, then its strings. */
struct table {
	uint8_t *buf;
	size_t len, room;
	size_t start;		/* of the structure in hand */
	uint8_t strings;	/* in it so far */
	uint8_t *text;		/* its strings, each with its NUL */
	size_t text_len;
	uint16_t handle;
	bool failed;
};

static void append(struct table *t, const void *data, size_t len)
{
	if (t->room - t->len < len) {
		t->failed = true;
		return;
	}
	memcpy(t->buf + t->len, data, len);
	t->len += len;
}

static void u8(struct table *t, uint8_t v)
{
	append(t, &v, 1);
}

static void u16(struct table *t, uint16_t v)
{
	append(t, &v, 2);
}

static void u32(struct table *t, uint32_t v)
{
	append(t, &v, 4);
}

static void u64(struct table *t, uint64_t v)
{
	append(t, &v, 8);
}

static void begin(struct table *t, uint8_t type)
{
	t->start = t->len;
	t->strings = 0;
	t->text_len = 0;
	u8(t, type);
	u8(t, 0);		/* length: end() */
	u16(t, t->handle++);
}

/* A string's number, which is what the formatted part holds; 0: none. */
static void str(struct table *t, const char *s)
{
	size_t len = s ? strnlen(s, STRING_MAX) : 0;

	if (!len) {
		u8(t, 0);
		return;
	}
	if (t->text_len + len + 1 > SMBIOS_MAX) {
		t->failed = true;
		return;
	}
	memcpy(t->text + t->text_len, s, len);
	t->text_len += len;
	t->text[t->text_len++] = 0;
	u8(t, ++t->strings);
}

static void end(struct table *t)
{
	if (t->failed)
		return;
	t->buf[t->start + 1] = (uint8_t)(t->len - t->start);
	append(t, t->text, t->text_len);
	if (!t->strings)
		u8(t, 0);
	u8(t, 0);
}

/* What the host's own firmware says, with <smbios mode='host'>. */
static const char *host_value(const struct domain *dom, const char *name, char *buf, size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	if (!dom->os.smbios_host)
		return NULL;
	snprintf(path, sizeof(path), "/sys/class/dmi/id/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n <= 0)
		return NULL;
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return buf;
}

static const char *pick(const char *given, const char *host, const char *standard)
{
	return given ? given : host ? host : standard;
}

static void bios(struct table *t, const struct domain *dom)
{
	char a[STRING_MAX], b[STRING_MAX], c[STRING_MAX];

	begin(t, 0);
	str(t, pick(dom->sysinfo.bios_vendor, host_value(dom, "bios_vendor", a, sizeof(a)), "hvx"));
	str(t, pick(dom->sysinfo.bios_version, host_value(dom, "bios_version", b, sizeof(b)), "1"));
	u16(t, 0xe800);		/* segment: only a placeholder of the format */
	str(t, pick(dom->sysinfo.bios_date, host_value(dom, "bios_date", c, sizeof(c)),
		    "01/01/2024"));
	u8(t, 0);		/* ROM size: 64 KiB */
	u64(t, 1 << 3);		/* characteristics: not given */
	u8(t, 1);		/* ACPI */
	u8(t, 1 << 4 | 1 << 2);	/* a virtual machine; targeted content distribution */
	u8(t, 0);
	u8(t, 0);
	u8(t, 0xff);
	u8(t, 0xff);
	end(t);
}

static void system_info(struct table *t, const struct domain *dom)
{
	char a[STRING_MAX], b[STRING_MAX], c[STRING_MAX], d[STRING_MAX], e[STRING_MAX];
	uint8_t uuid[16];
	unsigned int i;

	/* The first three fields of the UUID are little-endian here. */
	memcpy(uuid, dom->uuid, 16);
	for (i = 0; i < 4; i++)
		uuid[i] = dom->uuid[3 - i];
	uuid[4] = dom->uuid[5];
	uuid[5] = dom->uuid[4];
	uuid[6] = dom->uuid[7];
	uuid[7] = dom->uuid[6];

	begin(t, 1);
	str(t, pick(dom->sysinfo.manufacturer, host_value(dom, "sys_vendor", a, sizeof(a)), "hvx"));
	str(t, pick(dom->sysinfo.product, host_value(dom, "product_name", b, sizeof(b)),
		    "Virtual machine"));
	str(t, pick(dom->sysinfo.version, host_value(dom, "product_version", c, sizeof(c)), "1"));
	str(t, dom->sysinfo.serial);
	append(t, uuid, sizeof(uuid));
	u8(t, 6);		/* woken by the power switch */
	str(t, pick(dom->sysinfo.sku, host_value(dom, "product_sku", d, sizeof(d)), NULL));
	str(t, pick(dom->sysinfo.family, host_value(dom, "product_family", e, sizeof(e)), NULL));
	end(t);
}

static void base_board(struct table *t, const struct domain *dom)
{
	begin(t, 2);
	str(t, pick(dom->sysinfo.base_manufacturer, NULL, "hvx"));
	str(t, pick(dom->sysinfo.base_product, NULL, "Board"));
	str(t, dom->sysinfo.base_version);
	str(t, dom->sysinfo.base_serial);
	str(t, NULL);
	u8(t, 1);		/* a hosting board */
	str(t, NULL);
	u16(t, t->handle);	/* in the chassis, which comes next */
	u8(t, 0xa);		/* motherboard */
	u8(t, 0);
	end(t);
}

static void chassis(struct table *t, const struct domain *dom)
{
	begin(t, 3);
	str(t, pick(dom->sysinfo.chassis_manufacturer, NULL, "hvx"));
	u8(t, 1);		/* other */
	str(t, NULL);
	str(t, NULL);
	str(t, dom->sysinfo.chassis_asset);
	u8(t, 3);		/* boot-up, power supply, thermal: safe */
	u8(t, 3);
	u8(t, 3);
	u8(t, 2);		/* security: unknown */
	u32(t, 0);
	u8(t, 0);
	u8(t, 0);
	u8(t, 0);
	u8(t, 0);
	str(t, NULL);
	end(t);
}

static void processors(struct table *t, const struct domain *dom)
{
	unsigned int sockets = dom->cpu.sockets ? dom->cpu.sockets : dom->vcpus;
	unsigned int each = dom->vcpus / sockets ? dom->vcpus / sockets : 1, i;
	char name[16];

	for (i = 0; i < sockets && i < 64; i++) {
		begin(t, 4);
		snprintf(name, sizeof(name), "CPU %u", i);
		str(t, name);
		u8(t, 3);		/* central processor */
		u8(t, 0xfe);		/* family: see family 2 */
		str(t, "hvx");
		u64(t, 0);
		str(t, NULL);
		u8(t, 0);		/* voltage, clocks: unknown */
		u16(t, 0);
		u16(t, 2000);
		u16(t, 2000);
		u8(t, 0x41);		/* socket populated, enabled */
		u8(t, 1);		/* upgrade: other */
		u16(t, 0xffff);		/* no cache structures */
		u16(t, 0xffff);
		u16(t, 0xffff);
		str(t, NULL);
		str(t, NULL);
		str(t, NULL);
		u8(t, (uint8_t)(each < 255 ? each : 255));	/* cores, enabled, threads */
		u8(t, (uint8_t)(each < 255 ? each : 255));
		u8(t, (uint8_t)(each < 255 ? each : 255));
		u16(t, 1 << 2);		/* 64-bit capable */
		u16(t, 2);		/* family: unknown */
		u16(t, (uint16_t)each);
		u16(t, (uint16_t)each);
		u16(t, (uint16_t)each);
		end(t);
	}
}

static void oem_strings(struct table *t, const struct domain *dom)
{
	unsigned int i, n;

	for (n = 0; n < 8 && dom->sysinfo.oem[n]; n++)
		;
	if (!n)
		return;
	begin(t, 11);
	u8(t, (uint8_t)n);
	/* The strings are this structure's whole content; their numbers are not in it. */
	for (i = 0; i < n; i++) {
		size_t before = t->len;

		str(t, dom->sysinfo.oem[i][0] ? dom->sysinfo.oem[i] : " ");
		t->len = before;
	}
	end(t);
}

static void memory(struct table *t, const struct domain *dom)
{
	uint64_t kib = dom->memory >> 10, mib = dom->memory >> 20;
	uint16_t array = t->handle;

	begin(t, 16);		/* array */
	u8(t, 3);		/* system board */
	u8(t, 3);		/* system memory */
	u8(t, 6);		/* multi-bit ECC */
	u32(t, kib < 0x80000000 ? (uint32_t)kib : 0x80000000);
	u16(t, 0xfffe);		/* no error information */
	u16(t, 1);
	u64(t, kib < 0x80000000 ? 0 : dom->memory);
	end(t);

	begin(t, 17);		/* device */
	u16(t, array);
	u16(t, 0xfffe);
	u16(t, 0xffff);		/* widths: unknown */
	u16(t, 0xffff);
	u16(t, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
	u8(t, 9);		/* DIMM */
	u8(t, 0);
	str(t, "DIMM 0");
	str(t, NULL);
	u8(t, 7);		/* RAM */
	u16(t, 1 << 1);		/* other */
	u16(t, 0);
	str(t, "hvx");
	str(t, NULL);
	str(t, NULL);
	str(t, NULL);
	u8(t, 0);
	u32(t, mib < 0x7fff ? 0 : (uint32_t)mib);
	u16(t, 0);
	u16(t, 0);
	u16(t, 0);
	u16(t, 0);
	end(t);

	begin(t, 19);		/* mapped addresses, below the PCI window and above 4 GiB */
	u32(t, 0);
	u32(t, (uint32_t)((dom->memory < PCI_HOLE_START ? dom->memory : PCI_HOLE_START) >> 10) - 1);
	u16(t, array);
	u8(t, 1);
	u64(t, 0);
	u64(t, 0);
	end(t);
	if (dom->memory > PCI_HOLE_START) {
		begin(t, 19);
		u32(t, 0xffffffff);	/* see the 64-bit fields */
		u32(t, 0xffffffff);
		u16(t, array);
		u8(t, 1);
		u64(t, RAM_HIGH_START);
		u64(t, RAM_HIGH_START + dom->memory - PCI_HOLE_START - 1);
		end(t);
	}
}

static void boot_status(struct table *t)
{
	begin(t, 32);
	u32(t, 0);
	u16(t, 0);
	u8(t, 0);		/* no errors */
	end(t);
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

void *smbios_new(const struct domain *dom, size_t *len)
{
	struct entry_point ep = {
		.anchor = { '_', 'S', 'M', '3', '_' }, .length = sizeof(ep), .major = 3, .minor = 0, .revision = 1,
		.address = SMBIOS_BASE + TABLE_OFFSET,
	};
	struct table t = { .room = SMBIOS_MAX, .len = TABLE_OFFSET };

	t.buf = calloc(1, SMBIOS_MAX);
	t.text = malloc(SMBIOS_MAX);
	t.failed = !t.buf || !t.text;
	if (!t.failed) {
		bios(&t, dom);
		system_info(&t, dom);
		base_board(&t, dom);
		chassis(&t, dom);
		processors(&t, dom);
		oem_strings(&t, dom);
		memory(&t, dom);
		boot_status(&t);
		begin(&t, 127);
		end(&t);
	}
	free(t.text);
	if (t.failed) {
		log_error("cannot make the SMBIOS tables: <sysinfo> is too long, or memory is short");
		free(t.buf);
		return NULL;
	}
	ep.max_size = (uint32_t)(t.len - TABLE_OFFSET);
	ep.checksum = (uint8_t)-sum((uint8_t *)&ep, sizeof(ep));
	memcpy(t.buf, &ep, sizeof(ep));
	*len = t.len;
	return realloc(t.buf, t.len);
}
