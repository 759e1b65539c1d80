// SPDX-License-Identifier: GPL-2.0-only
/* <disk>. */
#include <stdlib.h>
#include <string.h>
#include "devices/storage/overlay.h"
#include "devices/storage/foreign.h"
#include "domxml_int.h"

#define DISK_QUEUES_MAX	64

#define FORMATS	"'raw', 'qcow2', 'qed', 'vdi', 'vmdk', 'vhdx' or 'vpc'"

/* One <backingStore>; its format says what it is, never its contents. */
static bool add_backing(struct px *px, xmlNode *back, struct dom_disk *d)
{
	const char *format = x_attr(x_child(back, "format"), "type");
	struct dom_backing *more = d->backing, *b;
	bool layer = format && !strcmp(format, "hvx-layer");

	if (d->nr_backing + 1 == OVERLAY_DEPTH) {
		px_err(px, back, NULL, "more than %d files in a chain; merge some with 'hvx snapshot-delete'", OVERLAY_DEPTH);
		return false;
	}
	if (!x_is(back, "type", "file") || !format || (!layer && !foreign_format(format, &d->format))) {
		px_err(px, back, "type", "under a layer is a file of <format type='hvx-layer'/>, or of %s", FORMATS);
		return false;
	}
	more = realloc(more, (d->nr_backing + 1) * sizeof(*more));
	if (!more)
		return false;
	d->backing = more;
	b = &more[d->nr_backing++];
	*b = (struct dom_backing){ .file = x_path(px, x_attr(x_child(back, "source"), "file")), .layer = layer };
	if (!b->file)
		px_err(px, back, NULL, "no <source>; add <source file='PATH'/>");
	return b->file;
}

static bool chain_ok(struct px *px, xmlNode *n, struct dom_disk *d);

/* What lies under a layer: layers, and an image in the end, which may have a chain of its own. */
static bool layers_ok(struct px *px, xmlNode *n, struct dom_disk *d)
{
	xmlNode *back, *image = NULL;

	for (back = x_child(n, "backingStore"); x_attr(back, "type"); back = x_child(back, "backingStore")) {
		if (!add_backing(px, back, d))
			return false;
		image = back;
		if (!d->backing[d->nr_backing - 1].layer)
			break;
	}
	if (d->block || !image || d->backing[d->nr_backing - 1].layer) {
		px_err(px, n, NULL, "a layer is a file over others, the last of them an image: write <backingStore type='file'> with <format> and <source> for each");
		return false;
	}
	return chain_ok(px, image, d);
}

/* One image of a chain: all that is said of it is here, and nothing is taken from the images themselves. */
static bool add_to_chain(struct px *px, xmlNode *back, struct dom_disk *d)
{
	const char *format = x_attr(x_child(back, "format"), "type");
	struct dom_backing *more, b = { 0 };

	if (d->nr_chain + 1 == OVERLAY_DEPTH) {
		px_err(px, back, NULL, "more than %d files in a chain; merge some with 'qemu-img commit' or 'qemu-img rebase'", OVERLAY_DEPTH);
		return false;
	}
	if (!x_is(back, "type", "file") || !format || !foreign_format(format, &b.format)) {
		px_err(px, back, "type", "under a qcow2 image is a file of a format that is given: <backingStore type='file'> with <format type=...> of %s", FORMATS);
		return false;
	}
	if (d->nr_chain && d->chain[d->nr_chain - 1].format != DISK_QCOW2) {
		px_err(px, back, "type", "only a qcow2 image lies on another; take this one out");
		return false;
	}
	b.file = x_path(px, x_attr(x_child(back, "source"), "file"));
	if (!b.file) {
		px_err(px, back, NULL, "no <source>; add <source file='PATH'/>");
		return false;
	}
	more = realloc(d->chain, (d->nr_chain + 1) * sizeof(*more));
	if (!more) {
		free(b.file);
		return false;
	}
	d->chain = more;
	more[d->nr_chain++] = b;
	return true;
}

static bool chain_ok(struct px *px, xmlNode *n, struct dom_disk *d)
{
	xmlNode *back = x_child(n, "backingStore");

	if (x_attr(back, "type") && d->format != DISK_QCOW2) {
		px_err(px, back, "type", "%s image has no backing file; remove it, or convert the whole chain "
		       "with 'qemu-img convert -O qcow2 IN OUT'", d->format == DISK_RAW ? "a raw" : "such an");
		return false;
	}
	for (; x_attr(back, "type"); back = x_child(back, "backingStore"))
		if (!add_to_chain(px, back, d))
			return false;
	if (x_child(back, "source")) {
		px_err(px, back, NULL, "no type=; write <backingStore type='file'>");
		return false;
	}
	return true;
}

static bool driver_ok(struct px *px, xmlNode *n, struct dom_disk *d)
{
	xmlNode *driver = x_child(n, "driver");
	const char *type = x_attr(driver, "type");

	if (type && !strcmp(type, "hvx-layer"))
		return layers_ok(px, n, d);
	if (type && !foreign_format(type, &d->format)) {
		px_err(px, driver, "type", "not a format of images; write %s, or convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2'", FORMATS);
		return false;
	}
	if (d->format != DISK_RAW && x_child(n, "shareable") && !x_child(n, "readonly")) {
		px_err(px, x_child(n, "shareable"), NULL, "only a raw image can be written to by two guests; convert it, or add <readonly/>");
		return false;
	}
	if (d->format == DISK_QED && !x_child(n, "readonly") && !x_child(n, "transient") && !x_is(n, "device", "cdrom")) {
		px_err(px, driver, "type", "qed images can be read only: add <readonly/> or <transient/>, or convert it with 'qemu-img convert -O qcow2 IN OUT' and write type='qcow2'");
		return false;
	}
	return chain_ok(px, n, d);
}

static bool volume_source(struct px *px, xmlNode *n, xmlNode *source, struct dom_disk *d)
{
	const char *pool = x_attr(source, "pool"), *volume = x_attr(source, "volume");
	const char *why = "out of memory", *dot;

	if (!pool || !volume) {
		px_err(px, source, NULL, "no pool= or no volume=; write both");
		return false;
	}
	dot = strrchr(volume, '.');
	/* libvirt asks the volume for its format; a guest could have written what we would find there. */
	if (dot && !strcmp(dot, ".qcow2") && !x_attr(x_child(n, "driver"), "type")) {
		px_err(px, source, "volume", "looks like qcow2, and a format is never guessed; write <driver type='qcow2'/>, or type='raw' if it is that");
		return false;
	}
	d->file = host_volume(px, pool, volume, &d->block, &why);
	if (!d->file)
		px_err(px, source, strchr(volume, '/') ? "volume" : "pool", "%s", why);
	return d->file;
}

/* Sets d->file, or leaves it NULL for an empty drive. False: refused. */
static bool source_ok(struct px *px, xmlNode *n, struct dom_disk *d)
{
	const char *type = x_attr(n, "type");
	xmlNode *source = x_child(n, "source");

	if (!type || !strcmp(type, "file")) {
		d->file = x_path(px, x_attr(source, "file"));
		if (!d->file && x_attr(source, "dev")) {
			px_err(px, source, "dev", "a file is given as file=; write file='PATH', or type='block' in <disk>");
			return false;
		}
	} else if (!strcmp(type, "block")) {
		d->block = true;
		d->file = x_path(px, x_attr(source, "dev"));
		if (!d->file && x_attr(source, "file")) {
			px_err(px, source, "file", "a device is given as dev=; write dev='/dev/...'");
			return false;
		}
	} else if (!strcmp(type, "volume")) {
		if (source && !volume_source(px, n, source, d))
			return false;
	} else {
		px_err(px, n, "type", "not supported; attach it on the host (nbd-client, rbd map, iscsiadm) "
		       "and write <disk type='block'> with <source dev='/dev/...'/>");
		return false;
	}
	return true;
}

static const struct { const char *name, *prefix; enum disk_bus bus; } buses[] = {
	{ "virtio", "vd", DISK_VIRTIO }, { "sata", NULL, DISK_SATA }, { "ide", "hd", DISK_IDE },
	{ "scsi", "sd", DISK_SCSI }, { "usb", NULL, DISK_USB }, { "fdc", "fd", DISK_FLOPPY },
};

/* As in libvirt: without bus=, the target's first letters tell. */
static bool find_bus(xmlNode *target, enum disk_bus *bus)
{
	const char *name = x_attr(target, "bus"), *dev = x_attr(target, "dev");

	for (size_t i = 0; i < sizeof(buses) / sizeof(buses[0]); i++) {
		if (name ? strcmp(name, buses[i].name) :
		    !buses[i].prefix || strncmp(dev, buses[i].prefix, 2))
			continue;
		*bus = buses[i].bus;
		return true;
	}
	return false;
}

static bool target_name_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n && n < 16 && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789")];
}

static bool target_ok(struct px *px, xmlNode *n, struct dom_disk *d)
{
	xmlNode *target = x_child(n, "target");
	const char *dev = x_attr(target, "dev");

	if (!target) {
		px_err(px, n, NULL, "no <target>; add <target dev='vda' bus='virtio'/>");
		return false;
	}
	if (!target_name_ok(dev)) {
		px_err(px, target, dev ? "dev" : NULL, "not a disk's name; write dev='vda', 'vdb', ...");
		return false;
	}
	d->target = strdup(dev);
	if (!find_bus(target, &d->bus)) {
		px_err(px, target, x_attr(target, "bus") ? "bus" : "dev", "not a bus; write bus='virtio'");
		return false;
	}
	return true;
}

static void bus_refused(struct px *px, xmlNode *n, const struct dom_disk *d)
{
	xmlNode *target = x_child(n, "target");
	const char *attr = x_attr(target, "bus") ? "bus" : "dev";

	if (d->bus == DISK_FLOPPY)
		px_err(px, target, attr, "no floppy drive; make it a disk: device='disk', dev='vdb' bus='virtio'");
	else
		px_err(px, target, attr, "only virtio disks are supported for now; write dev='vd%s' bus='virtio', "
		       "and root=/dev/vd... where <cmdline> names the disk",
		       strlen(d->target) == 3 ? d->target + 2 : "a");
}

static const struct { const char *name; enum disk_cache cache; } caches[] = {
	{ "default", CACHE_DEFAULT }, { "none", CACHE_NONE }, { "writethrough", CACHE_WRITETHROUGH },
	{ "writeback", CACHE_WRITEBACK }, { "directsync", CACHE_DIRECTSYNC }, { "unsafe", CACHE_UNSAFE },
};

static void driver_options(struct px *px, xmlNode *driver, struct dom_disk *d)
{
	uint64_t queues = 0;

	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++)
		if (x_is(driver, "cache", caches[i].name))
			d->cache = caches[i].cache;
	d->discard_unmap = x_is(driver, "discard", "unmap");
	d->detect_zeroes_unmap = x_is(driver, "detect_zeroes", "unmap");
	if (x_num(px, driver, "queues", 1, DISK_QUEUES_MAX, &queues))
		d->queues = (unsigned int)queues;
}

static void block_size(struct px *px, xmlNode *n, const char *attr, unsigned int *out)
{
	uint64_t v = 0;

	if (!x_num(px, n, attr, 0, 32768, &v) || !v)
		return;
	if (v < 512 || (v & (v - 1)))
		px_err(px, n, attr, "not a block size; write a power of two from 512 to 32768");
	else
		*out = (unsigned int)v;
}

static void serial_options(struct px *px, xmlNode *n, struct dom_disk *d)
{
	static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+- ";
	xmlNode *serial = x_child(n, "serial");

	d->serial = x_text_dup(px, serial);
	if (d->serial && d->serial[strspn(d->serial, ok)])
		px_err(px, serial, NULL, "not a serial number; write letters, digits, and _ . + - only");
	else if (d->serial && strlen(d->serial) > 20)
		px_warn(px, serial, NULL, "the guest sees the first 20 characters");
}

static void disk_options(struct px *px, xmlNode *n, struct dom_disk *d)
{
	xmlNode *io = x_child(n, "blockio");

	driver_options(px, x_child(n, "driver"), d);
	serial_options(px, n, d);
	d->cdrom = x_is(n, "device", "cdrom");
	d->readonly = d->cdrom || x_child(n, "readonly");
	d->shareable = x_child(n, "shareable");
	d->transient = x_child(n, "transient");
	block_size(px, io, "logical_block_size", &d->logical_block);
	block_size(px, io, "physical_block_size", &d->physical_block);
	if (d->logical_block && d->physical_block && d->physical_block < d->logical_block)
		px_err(px, io, "physical_block_size", "smaller than logical_block_size; make it at least as large");
	d->boot_order = boot_order(px, n);
}

/* False: not to be kept, whether with an error or without. */
static bool read_disk(struct px *px, xmlNode *n, struct dom_disk *d)
{
	bool removable = x_is(n, "device", "cdrom") || x_is(n, "device", "floppy");

	if (x_is(n, "device", "lun")) {
		px_err(px, n, "device", "SCSI devices are not passed through; write device='disk'");
		return false;
	}
	if (!target_ok(px, n, d) || !source_ok(px, n, d))
		return false;
	if (!d->file && removable) {
		static const char note[] = "an empty drive is left out: nothing can be put in later";

		if (px_first(px, note))
			px_warn(px, n, "device", "%s", note);
		return false;
	}
	if (!d->file) {
		px_err(px, n, NULL, "no <source>; add <source file='PATH'/>");
		return false;
	}
	if (d->bus != DISK_VIRTIO)
		bus_refused(px, n, d);
	return driver_ok(px, n, d) && d->bus == DISK_VIRTIO;
}

void h_disk(struct px *px, xmlNode *n)
{
	struct domain *dom = px->dom;
	struct dom_disk *d = &dom->disk[dom->nr_disks];

	if (dom->nr_disks == DOM_MAX_DISKS) {
		if (px_first(px, "disks"))
			px_err(px, n, "device", "more than %d disks; leave some out", DOM_MAX_DISKS);
		return;
	}
	if (read_disk(px, n, d)) {
		disk_options(px, n, d);
		disk_rates(px, n, d);
		d->line = (unsigned int)xmlGetLineNo(n);
		px->disk_node[dom->nr_disks++] = n;
		return;
	}
	dom_disk_free(d);
	memset(d, 0, sizeof(*d));
}

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static void check_pair(struct px *px, unsigned int i, unsigned int j)
{
	const struct dom_disk *a = &px->dom->disk[j], *b = &px->dom->disk[i];
	xmlNode *n = px->disk_node[i];

	if (same(a->target, b->target))
		px_err(px, x_child(n, "target"), "dev", "the disk at line %u has this name; take another", a->line);
	if (same(a->serial, b->serial))
		px_err(px, x_child(n, "serial"), NULL, "the disk at line %u has this serial number; take another", a->line);
	if (same(a->file, b->file) && !(a->readonly && b->readonly) &&
	    !(a->shareable && b->shareable) && !(a->transient && b->transient))
		px_err(px, x_child(n, "source"), a->block ? "dev" : "file",
		       "the disk at line %u is the same image; two disks that write one image destroy it", a->line);
}

void check_disks(struct px *px)
{
	for (unsigned int i = 1; i < px->dom->nr_disks; i++)
		for (unsigned int j = 0; j < i; j++)
			check_pair(px, i, j);
}
