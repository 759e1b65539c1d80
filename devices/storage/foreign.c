// SPDX-License-Identifier: GPL-2.0-only
/*
 * A look at an image's header. An image may come from anywhere, and most formats can name
 * files that are read as a part of it. All that hvx follows is in the XML; whatever would
 * lead elsewhere is found here and refused. Layouts: QEMU's docs/interop/qcow2.txt and
 * qed_spec.txt, VMware's "Virtual Disk Format 5.0", Microsoft's "VHD Image Format
 * Specification" and [MS-VHDX].
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "devices/storage/foreign.h"
#include "vmm/fileio.h"

#define HEAD		512U
#define VMDK_DESC_MAX	(64U << 10)	/* bytes of a descriptor that are looked at */

static const char *const names[] = {
	[DISK_RAW] = "raw", [DISK_QCOW2] = "qcow2", [DISK_QED] = "qed", [DISK_VDI] = "vdi",
	[DISK_VMDK] = "vmdk", [DISK_VHDX] = "vhdx", [DISK_VPC] = "vpc",
};

bool foreign_format(const char *name, enum disk_format *format)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(name, names[i])) {
			*format = (enum disk_format)i;
			return true;
		}
	}
	return false;
}

const char *foreign_name(enum disk_format format)
{
	return names[format];
}

static uint64_t be(const uint8_t *at, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *at++;
	return v;
}

static uint64_t le(const uint8_t *at, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | at[bytes];
	return v;
}

/* Zeroes behind the file's end. */
static ssize_t get(int fd, void *to, size_t len, uint64_t at)
{
	memset(to, 0, len);
	return pread_full(fd, to, len, at);
}

/* The name that an image has for what is below it, for a message: nothing a terminal would obey. */
static void printable(char *to, const uint8_t *from, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = from[i] >= ' ' && from[i] < 0x7f ? (char)from[i] : '?';
	to[len] = '\0';
}

static const char *no_backing(int fd, uint64_t at, uint64_t len, const char *example, char *buf, size_t size)
{
	char name[257];
	uint8_t raw[256];
	size_t n = len < sizeof(raw) ? len : sizeof(raw);

	if (get(fd, raw, n, at) < 0)
		n = 0;
	printable(name, raw, n);
	snprintf(buf, size, "it lies on another image that it calls '%s', and no file is opened because an image says so; %s", name, example);
	return buf;
}

static const char *check_qcow2(int fd, const uint8_t *h, bool backing, char *buf, size_t size)
{
	uint64_t version = be(h + 4, 4), features = version >= 3 ? be(h + 72, 8) : 0;
	uint64_t at = be(h + 8, 8), len = be(h + 16, 4);

	if (version < 2 || version > 3)
		return "not a version of qcow2 that there is; convert it with 'qemu-img convert -O qcow2 IN OUT'";
	if (features & 4)
		return "its data are in another file, and no file is opened because an image says so; convert it with 'qemu-img convert -O qcow2 IN OUT'";
	if (features & 2)
		return "it is marked as corrupt; repair it with 'qemu-img check -r all FILE'";
	if (be(h + 32, 4))
		return "it is encrypted; convert it with 'qemu-img convert', and encrypt inside of the guest or under the file";
	if (at && !backing)
		return no_backing(fd, at, len, "if you trust it, write <backingStore type='file'> with its <format type='...'/> and its <source file='...'/>", buf, size);
	if (!at && backing)
		return "it lies on no other image; take <backingStore> out";
	return NULL;
}

/* Whether the text within an image says that it lies on nothing. */
static bool vmdk_alone(int fd, const uint8_t *h)
{
	static char desc[VMDK_DESC_MAX + 1];
	uint64_t at = le(h + 28, 8), len = le(h + 36, 8);
	const char *cid;

	if (!at || at > INT64_MAX >> 10 || !len || len > VMDK_DESC_MAX / 512)
		return false;
	if (get(fd, desc, len * 512, at * 512) < 0)
		return false;
	desc[len * 512] = '\0';
	cid = strcasestr(desc, "parentCID=");
	return cid && !strncasecmp(cid + 10, "ffffffff", 8);
}

static const char *check_vmdk(int fd, const uint8_t *h, bool write)
{
	if (memcmp(h, "KDMV", 4))
		return "only vmdk images that are one file with all in it (monolithicSparse) are supported; convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2'";
	if (!le(h + 12, 8) || !vmdk_alone(fd, h))
		return "its data are in other files, or it lies on another image, and no file is opened because an image says so; convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2'";
	if (write && le(h + 8, 4) & 1U << 16)
		return "it is compressed (streamOptimized) and cannot be written to; convert it with 'qemu-img convert -O qcow2 IN OUT', or add <readonly/> or <transient/>";
	return NULL;
}

static const char *wrong(enum disk_format format, char *buf, size_t size)
{
	snprintf(buf, size, "it is not of the format %s; <driver type=> says what an image is ('qemu-img info FILE' tells)", names[format]);
	return buf;
}

const char *foreign_check(int fd, enum disk_format format, bool backing, bool write, char *buf, size_t size)
{
	static const struct { unsigned int at, len; const char *magic; } magic[] = {
		[DISK_QCOW2] = { 0, 4, "QFI\xfb" }, [DISK_QED] = { 0, 4, "QED" },
		[DISK_VDI] = { 64, 4, "\x7f\x10\xda\xbe" }, [DISK_VMDK] = { 0, 0, "" },
		[DISK_VHDX] = { 0, 8, "vhdxfile" }, [DISK_VPC] = { 0, 0, "" },
	};
	uint8_t h[HEAD];
	ssize_t n = get(fd, h, sizeof(h), 0);

	if (n < 0) {
		snprintf(buf, size, "it cannot be read: %s", strerror((int)-n));
		return buf;
	}
	if (format == DISK_RAW)
		return backing ? "a raw image lies on no other" : NULL;
	if (memcmp(h + magic[format].at, magic[format].magic, magic[format].len))
		return wrong(format, buf, size);
	if (format == DISK_QCOW2)
		return check_qcow2(fd, h, backing, buf, size);
	if (backing)
		return "only qcow2 images are taken that lie on others; take <backingStore> out, or convert it";
	if (format == DISK_VMDK)
		return check_vmdk(fd, h, write);
	if (format == DISK_QED && write)
		return "QEMU cannot be trusted to write to qed images (several writes at a time end it); convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2', or add <readonly/>";
	if (format == DISK_QED && le(h + 16, 8) & 1)
		return "it lies on another image; convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2'";
	if (format == DISK_VPC && !memcmp(h, "conectix", 8) && be(h + 60, 4) == 4)
		return "it lies on another image; convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2'";
	return NULL;
}
