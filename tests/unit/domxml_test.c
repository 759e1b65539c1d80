// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/domxml*.c vmm/cpu_model.c vmm/cpu_feature.c vmm/livexml.c vmm/config.c devices/storage/foreign.c */
/*
 * The domain XML reader: golden files with their messages (tests/config), what
 * comes out of them, hostile input, and mutations of the golden files.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <libxml/parser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/domxml_int.h"

static char *top;	/* of the source tree */

static void find_top(void)
{
	char *file = realpath(__FILE__, NULL), *slash;

	if (!file) {
		fprintf(stderr, "%s: not there; run the test in the folder that it was built in\n", __FILE__);
		exit(EXIT_FAILURE);
	}
	for (int i = 0; i < 3; i++) {
		slash = strrchr(file, '/');
		*slash = '\0';
	}
	top = file;
}

static char *in_top(const char *path)
{
	char *s;

	ck_assert_int_ge(asprintf(&s, "%s/%s", top, path), 0);
	return s;
}

/* Parse with the messages in *out (free it). Host files come from tests/config/sysroot. */
static struct domain *parse(const char *path, int fd, char **out, int *errors)
{
	char *sysroot = in_top("tests/config/sysroot");
	size_t len;
	FILE *f = open_memstream(out, &len);
	struct domain *dom = domxml_parse(path, fd, f, true, sysroot, errors);

	fclose(f);
	free(sysroot);
	return dom;
}

static int text_fd(const char *text, size_t len)
{
	int fd = memfd_create("test.xml", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	return fd;
}

static struct domain *parse_text(const char *text, size_t len, char **out, int *errors)
{
	int fd = text_fd(text, len);
	struct domain *dom = parse("test.xml", fd, out, errors);

	close(fd);
	return dom;
}

static char *slurp(const char *path)
{
	size_t len;
	char *why, *s = doc_read(path, -1, 1 << 20, &len, &why);

	if (!s)
		free(why);
	return s;
}

/* --- golden files --- */

/* An expected line that ends in '*' matches any line that begins so: libxml2's words change. */
static bool same_lines(const char *want, const char *got)
{
	while (*want && *got) {
		size_t w = strcspn(want, "\n"), g = strcspn(got, "\n");
		bool prefix = w && want[w - 1] == '*';

		if (prefix ? g < w - 1 || memcmp(want, got, w - 1) : g != w || memcmp(want, got, w))
			return false;
		want += w + (want[w] == '\n');
		got += g + (got[g] == '\n');
	}
	return !*want && !*got;
}

static void check_golden(const char *name, bool good)
{
	char msg[NAME_MAX + 8], *want, *got;
	int errors = -1;
	struct domain *dom = parse(name, -1, &got, &errors);

	snprintf(msg, sizeof(msg), "%.*s.msg", (int)(strlen(name) - 4), name);
	want = slurp(msg);
	ck_assert_msg(same_lines(want ? want : "", got), "%s: expected\n%s\ngot\n%s", name, want ? want : "", got);
	ck_assert_msg((dom != NULL) == good && (errors == 0) == good, "%s: %d errors", name, errors);
	ck_assert_msg(good || want, "%s: no %s", name, msg);
	domain_free(dom);
	free(want);
	free(got);
}

static void golden_dir(const char *dir, bool good)
{
	char *path = in_top(dir);
	unsigned int n = 0;
	struct dirent *e;
	DIR *d;

	ck_assert_int_eq(chdir(path), 0);
	d = opendir(".");
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len > 4 && !strcmp(e->d_name + len - 4, ".xml")) {
			check_golden(e->d_name, good);
			n++;
		}
	}
	closedir(d);
	ck_assert_uint_ge(n, good ? 5 : 15);
	free(path);
}

START_TEST(golden_good)
{
	golden_dir("tests/config/good", true);
}
END_TEST

START_TEST(golden_bad)
{
	golden_dir("tests/config/bad", false);
}
END_TEST

START_TEST(examples_load)
{
	char *path = in_top("examples"), *out;
	unsigned int n = 0;
	struct dirent *e;
	DIR *d;

	ck_assert_int_eq(chdir(path), 0);
	d = opendir(".");
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);
		struct domain *dom;

		if (len <= 4 || strcmp(e->d_name + len - 4, ".xml"))
			continue;
		dom = parse(e->d_name, -1, &out, NULL);
		ck_assert_msg(dom && !*out, "%s", out);
		/* One file, one guest: its name is the file's. */
		ck_assert_msg(!strncmp(dom->name, e->d_name, len - 4) && !dom->name[len - 4], "%s", e->d_name);
		domain_free(dom);
		free(out);
		n++;
	}
	closedir(d);
	free(path);
	ck_assert_uint_ge(n, 5);
}
END_TEST

/* --- the man page knows what the tables know --- */

static bool word_in(const char *text, const char *word)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
	size_t n = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += n)
		if (!strchr(letters, p[-1]) && (!p[n] || !strchr(letters, p[n])))
			return true;
	return false;
}

static void documented(const char *page, const struct xelem *e, unsigned int *missing)
{
	/* Of what is ignored, only what users look for is listed. */
	if (e->act != IGN && !word_in(page, e->name) && ++*missing)
		fprintf(stderr, "hvx-domain-xml.5 does not have <%s>\n", e->name);
	for (const struct xattr *a = e->attrs; a && a->name; a++)
		if (a->act == USE && !word_in(page, a->name) && ++*missing)
			fprintf(stderr, "hvx-domain-xml.5 does not have %s= of <%s>\n", a->name, e->name);
	for (const struct xelem *k = e->kids; k && k->name; k++)
		documented(page, k, missing);
}

START_TEST(man_page)
{
	char *path = in_top("docs/man/hvx-domain-xml.5"), *page = slurp(path);
	unsigned int missing = 0;

	ck_assert_ptr_nonnull(page);
	documented(page, &domxml_root, &missing);
	ck_assert_uint_eq(missing, 0);
	free(page);
	free(path);
}
END_TEST

/* --- what comes out --- */

static struct domain *load_good(const char *name)
{
	char *rel, *path, *out;
	struct domain *dom;

	ck_assert_int_ge(asprintf(&rel, "tests/config/good/%s", name), 0);
	path = in_top(rel);
	dom = parse(path, -1, &out, NULL);
	ck_assert_msg(dom != NULL, "%s", out);
	free(out);
	free(path);
	free(rel);
	return dom;
}

static void ends_with(const char *s, const char *end)
{
	ck_assert_ptr_nonnull(s);
	ck_assert_msg(*s == '/' && strlen(s) > strlen(end) && !strcmp(s + strlen(s) - strlen(end), end), "%s", s);
}

START_TEST(everything_general)
{
	struct domain *dom = load_good("everything.xml");

	ck_assert_str_eq(dom->name, "everything");
	ck_assert(dom->uuid_given);
	ck_assert_int_eq(dom->uuid[0], 0x3f);
	ck_assert_int_eq(dom->uuid[15], 0x3e);
	ck_assert_uint_eq(dom->memory, 954ULL << 20);	/* 1 GB, up to a MiB */
	ck_assert_uint_eq(dom->current_memory, 512ULL << 20);
	ck_assert_uint_eq(dom->max_memory, 2048ULL << 20);
	ck_assert(dom->backing.hugepages && dom->backing.locked && dom->backing.nosharepages);
	ck_assert(dom->backing.prealloc && dom->backing.shared);
	ck_assert_uint_eq(dom->backing.hugepage_size, 2ULL << 20);
	ck_assert_uint_eq(dom->vcpus, 2);
	ck_assert_uint_eq(dom->max_vcpus, 4);
	ck_assert_str_eq(dom->sysinfo.bios_vendor, "Some & Sons");
	ck_assert_str_eq(dom->sysinfo.serial, "ds=nocloud");
	ck_assert_str_eq(dom->sysinfo.oem[1], "two");
	ck_assert_int_eq(dom->on_poweroff, LIFE_RESTART);
	ck_assert_int_eq(dom->on_reboot, LIFE_DESTROY);
	ck_assert_int_eq(dom->on_crash, LIFE_PRESERVE);
	ck_assert(dom->suspend_mem && !dom->suspend_disk);
	ck_assert(dom->debug_exit.present && dom->debug_exit.port == 0xf4);
	ck_assert(dom->panic.present && dom->rng.present && dom->balloon.present);
	ck_assert_str_eq(dom->rng.source, "/dev/random");
	ck_assert_uint_eq(dom->rng.rate_bytes, 1024);
	ck_assert_uint_eq(dom->rng.rate_period_ms, 2000);
	ck_assert(dom->balloon.autodeflate && dom->balloon.free_page_reporting && dom->balloon.stats_period == 10);
	ck_assert(dom->vsock.present && !dom->vsock.auto_cid && dom->vsock.cid == 42);
	domain_free(dom);
}
END_TEST

/* As virt-install, vagrant-libvirt and Terraform's provider write guests: what it comes to. */
START_TEST(other_tools)
{
	struct domain *dom = load_good("virt-install.xml");

	ck_assert_uint_eq(dom->vcpus, 2);
	ck_assert_uint_eq(dom->nr_disks, 1);
	ck_assert_int_eq(dom->disk[0].format, DISK_QCOW2);
	ck_assert(dom->disk[0].discard_unmap && dom->disk[0].boot_order == 1);
	ck_assert_int_eq(dom->nic[0].type, NIC_BRIDGE);		/* network='default', without libvirtd */
	ck_assert_str_eq(dom->nic[0].source, "virbr0");
	ck_assert(dom->nr_serials == 1 && dom->nr_ports == 1 && dom->balloon.present && dom->rng.present);
	ck_assert_str_eq(dom->port[0].name, "org.qemu.guest_agent.0");
	ck_assert(!dom->suspend_mem && !dom->suspend_disk && !dom->features.hyperv);
	domain_free(dom);

	dom = load_good("vagrant.xml");
	ck_assert(!dom->uuid_given && dom->features.kvm_hidden && dom->backing.shared);
	ck_assert_int_eq(dom->cpu.mode, CPU_HOST_MODEL);
	ck_assert_uint_eq(dom->nr_disks, 2);	/* not the empty drives */
	ck_assert_uint_eq(dom->disk[0].nr_chain, 1);
	ck_assert_str_eq(dom->disk[0].chain[0].file, "/var/lib/libvirt/images/debian-12_vagrant_box_image_0.img");
	ck_assert_int_eq(dom->disk[1].cache, CACHE_NONE);
	ck_assert_str_eq(dom->disk[1].serial, "data");
	ck_assert_int_eq(dom->nic[0].type, NIC_USER);
	ck_assert_ptr_null(dom->nic[0].ifname);	/* vnet0 was the choice of a day */
	domain_free(dom);

	dom = load_good("terraform.xml");
	ck_assert_str_eq(dom->disk[0].file, "/var/lib/libvirt/images/root.qcow2");
	ck_assert_str_eq(dom->disk[1].file, "/srv/vm/data");
	ck_assert_str_eq(dom->nic[0].source, "virbr0");
	ck_assert(dom->nr_serials == 1 && dom->nr_ports == 2 && dom->port[0].console);
	domain_free(dom);
}
END_TEST

START_TEST(memory_devices)
{
	struct domain *dom = load_good("memory.xml");

	ck_assert_uint_eq(dom->memory, 1ULL << 30);	/* less the devices' sizes */
	ck_assert_uint_eq(dom->current_memory, 512ULL << 20);
	ck_assert_uint_eq(dom->max_memory, 8ULL << 30);
	ck_assert_uint_eq(dom->device_room, 7ULL << 30);
	ck_assert_uint_eq(dom->nr_memdevs, 2);
	ck_assert_str_eq(dom->memdev[0].id, "ua-first");
	ck_assert_uint_eq(dom->memdev[0].size, 1ULL << 30);
	ck_assert_uint_eq(dom->memdev[0].block, 4ULL << 20);
	ck_assert_uint_eq(dom->memdev[0].requested, 64ULL << 20);
	ck_assert_uint_eq(dom->memdev[0].base, 0x140000000);
	ck_assert_str_eq(dom->memdev[1].id, "virtiomem1");
	ck_assert_uint_eq(dom->memdev[1].block, 2ULL << 20);
	ck_assert_uint_eq(dom->memdev[1].requested, 0);
	ck_assert_uint_eq(dom->cpu.phys_bits, 42);
	domain_free(dom);
}
END_TEST

START_TEST(everything_boot_and_cpu)
{
	struct domain *dom = load_good("everything.xml");

	ends_with(dom->os.kernel, "/tests/config/good/images/kernel.elf");
	ends_with(dom->os.initrd, "/first.mod one,two,,with comma.mod");
	ck_assert_uint_eq(dom->os.nr_modules, 3);
	ends_with(dom->os.module[0], "/tests/config/good/first.mod one");
	ends_with(dom->os.module[1], "/tests/config/good/two,with comma.mod");
	ends_with(dom->os.module[2], "/tests/config/good/third.mod with arguments");
	ck_assert_str_eq(dom->os.cmdline, "a=<b> & c");
	ck_assert_mem_eq(dom->os.boot_dev, "hn\0", 4);
	ck_assert(dom->features.acpi && dom->features.apic && dom->features.pae);
	ck_assert(dom->features.kvm_hidden && dom->features.kvm_pv_ipi_off && dom->features.pvspinlock_off);
	ck_assert_int_eq(dom->features.pmu, 0);
	ck_assert(dom->features.hyperv);
	ck_assert_uint_eq(dom->features.hyperv_mask, HYPERV_RELAXED | HYPERV_SPINLOCKS | HYPERV_STIMER |
			  HYPERV_STIMER_DIRECT | HYPERV_VENDOR_ID);
	ck_assert_uint_eq(dom->features.hyperv_spinlocks, 8191);
	ck_assert_str_eq(dom->features.hyperv_vendor, "Other");
	ck_assert_int_eq(dom->cpu.mode, CPU_CUSTOM);
	ck_assert_str_eq(dom->cpu.model, "Skylake-Client");
	ck_assert_uint_eq(dom->cpu.cores * 10 + dom->cpu.threads, 22);
	ck_assert_uint_eq(dom->cpu.nr_feature, 2);
	ck_assert_str_eq(dom->cpu.feature[1].name, "hle");
	ck_assert_int_eq(dom->cpu.feature[1].policy, FEAT_DISABLE);
	ck_assert_int_eq(dom->clock.offset, CLOCK_VARIABLE);
	ck_assert_int_eq(dom->clock.adjustment, -3600);
	ck_assert_uint_eq(dom->clock.tsc_khz, 3000000);
	ck_assert(dom->clock.kvmclock.present_set && !dom->clock.kvmclock.present);
	domain_free(dom);
}
END_TEST

START_TEST(everything_disks)
{
	struct domain *dom = load_good("everything.xml");
	struct dom_disk *d = dom->disk;

	ck_assert_uint_eq(dom->nr_disks, 5);
	ends_with(d[0].file, "/tests/config/good/disk.img");
	ck_assert(d[0].transient && !d[0].readonly && !d[0].block && d[0].discard_unmap && d[0].detect_zeroes_unmap);
	ck_assert_int_eq(d[0].cache, CACHE_WRITEBACK);
	ck_assert_uint_eq(d[0].queues, 4);
	ck_assert_uint_eq(d[0].boot_order, 2);
	ck_assert_uint_eq(d[0].logical_block, 512);
	ck_assert_uint_eq(d[0].physical_block, 4096);
	ck_assert_str_eq(d[0].serial, "WD-1234");
	ck_assert_str_eq(d[0].target, "vda");
	ck_assert(d[1].block && d[1].readonly && d[1].shareable && !d[1].cdrom);
	ck_assert_str_eq(d[2].file, "/var/lib/libvirt/images/a.img");
	ck_assert_str_eq(d[3].file, "/srv/vm/b.img");
	ck_assert(!d[3].block);
	ck_assert_str_eq(d[4].file, "/dev/vg0/c");
	ck_assert(d[4].block && d[4].cdrom && d[4].readonly);
	domain_free(dom);
}
END_TEST

static void check_fwd(const struct dom_fwd *f, bool udp, unsigned int host, unsigned int guest, unsigned int count)
{
	ck_assert_int_eq(f->udp, udp);
	ck_assert_uint_eq(f->host_port, host);
	ck_assert_uint_eq(f->guest_port, guest);
	ck_assert_uint_eq(f->count, count);
}

START_TEST(everything_nics)
{
	struct domain *dom = load_good("everything.xml");
	struct dom_nic *n = dom->nic;

	ck_assert_uint_eq(dom->nr_nics, 7);
	ck_assert_int_eq(n[0].type, NIC_USER);
	ck_assert(n[0].mac_given && n[0].mac[5] == 1 && n[0].boot_order == 1);
	ck_assert_str_eq(n[0].ip_address, "192.168.9.0");
	ck_assert_uint_eq(n[0].nr_fwd, 4);
	check_fwd(&n[0].fwd[0], false, 2222, 22, 1);
	check_fwd(&n[0].fwd[1], false, 8000, 8000, 5);
	check_fwd(&n[0].fwd[2], false, 8006, 8006, 5);
	check_fwd(&n[0].fwd[3], true, 5353, 53, 1);
	ck_assert_ptr_null(n[0].fwd[0].host_addr);
	ck_assert_str_eq(n[0].fwd[3].host_addr, "127.0.0.1");
	ck_assert_int_eq(n[1].type, NIC_BRIDGE);
	ck_assert_str_eq(n[1].source, "br0");
	ck_assert_str_eq(n[1].ifname, "tap7");
	ck_assert(n[1].vhost == 1 && n[1].queues == 4 && n[1].mtu == 9000 && n[1].link_down && n[1].managed_tap);
	ck_assert(!n[1].mac_given && n[1].mac[0] == 0x52 && !(n[1].mac[0] & 1));
	ck_assert(memcmp(n[1].mac, n[2].mac, 6));
	ck_assert_int_eq(n[2].type, NIC_BRIDGE);
	ck_assert_str_eq(n[2].source, "br-lan");
	ck_assert_int_eq(n[3].type, NIC_USER);
	ck_assert_int_eq(n[4].type, NIC_USER);
	ck_assert(n[5].type == NIC_ETHERNET && !n[5].managed_tap && n[5].vhost == 0);
	ck_assert_int_eq(n[6].type, NIC_DIRECT);
	domain_free(dom);
}
END_TEST

START_TEST(everything_chardevs)
{
	struct domain *dom = load_good("everything.xml");

	ck_assert_uint_eq(dom->nr_serials, 2);
	ck_assert_uint_eq(dom->serial[0].port, 1);
	ck_assert_int_eq(dom->serial[0].chr.type, CHR_FILE);
	ck_assert(dom->serial[0].chr.append);
	ends_with(dom->serial[0].chr.path, "/tests/config/good/out.log");
	ck_assert_uint_eq(dom->serial[1].port, 0);
	ck_assert_int_eq(dom->serial[1].chr.type, CHR_TCP);
	ck_assert(dom->serial[1].chr.listen);
	ck_assert_str_eq(dom->serial[1].chr.service, "4555");
	ends_with(dom->serial[1].chr.log_file, "/tests/config/good/serial.log");
	ck_assert(dom->serial[1].chr.log_append && !dom->serial[1].chr.append);
	ck_assert_ptr_null(dom->serial[0].chr.log_file);
	ck_assert_uint_eq(dom->nr_ports, 2);
	ck_assert(dom->port[0].console && dom->port[0].port == 0 && dom->port[0].chr.type == CHR_PTY);
	ck_assert(!dom->port[1].console && dom->port[1].port == 1 && !dom->port[1].chr.listen);
	ck_assert_str_eq(dom->port[1].name, "org.example.0");
	domain_free(dom);
}
END_TEST

START_TEST(desktop_details)
{
	struct domain *dom = load_good("desktop.xml");

	/* The console is the serial port's other name, the SPICE channel and the empty drive are out. */
	ck_assert_uint_eq(dom->nr_serials, 1);
	ck_assert_uint_eq(dom->nr_ports, 1);
	ck_assert_uint_eq(dom->port[0].port, 1);	/* 0 is for consoles */
	ck_assert_ptr_null(dom->port[0].chr.path);	/* libvirt's own socket is not taken */
	ck_assert(dom->port[0].chr.listen);
	ck_assert_uint_eq(dom->nr_disks, 1);
	ck_assert_int_eq(dom->disk[0].cache, CACHE_NONE);
	ck_assert_uint_eq(dom->nr_nics, 1);
	ck_assert_int_eq(dom->nic[0].type, NIC_BRIDGE);	/* sysroot has virbr0 */
	ck_assert_str_eq(dom->nic[0].source, "virbr0");
	ck_assert_ptr_null(dom->nic[0].ifname);
	ck_assert(dom->clock.hpet.present_set && !dom->clock.hpet.present);
	ck_assert(!dom->watchdog.present);
	domain_free(dom);
}
END_TEST

START_TEST(identity_is_stable)
{
	struct domain *a = load_good("minimal.xml"), *b = load_good("minimal.xml"), *c = load_good("tuning.xml");

	ck_assert(!a->uuid_given);
	ck_assert_mem_eq(a->uuid, b->uuid, 16);
	ck_assert(memcmp(a->uuid, c->uuid, 16));
	ck_assert_int_eq(a->uuid[6] >> 4, 8);
	ck_assert_int_eq(a->uuid[8] >> 6, 2);
	ck_assert_int_eq(a->cpu.mode, CPU_HOST_PASSTHROUGH);
	ck_assert_uint_eq(a->vcpus, 1);
	ck_assert_int_eq(a->on_reboot, LIFE_RESTART);
	domain_free(a);
	domain_free(b);
	domain_free(c);
}
END_TEST

/* --- values --- */

START_TEST(sizes)
{
	static const struct { const char *num, *unit; int ret; uint64_t bytes; } t[] = {
		{ "1", NULL, 0, 1024 }, { "1", "", 0, 1024 }, { "1", "b", 0, 1 }, { "1", "bytes", 0, 1 },
		{ "1", "KB", 0, 1000 }, { "1", "k", 0, 1024 }, { "2", "MB", 0, 2000000 }, { "2", "MiB", 0, 2097152 },
		{ "2", "mib", 0, 2097152 }, { "3", "G", 0, 3ULL << 30 }, { "15", "EiB", 0, 15ULL << 60 },
		{ "16", "EiB", -3, 0 }, { "18446744073709551615", "b", 0, UINT64_MAX },
		{ "18446744073709551616", "b", -3, 0 }, { "18014398509481984", "KiB", -3, 0 },
		{ "", "KiB", -1, 0 }, { "-1", "b", -1, 0 }, { "+1", "b", -1, 0 }, { "0x10", "b", -1, 0 },
		{ "1 ", "b", -1, 0 }, { "1.5", "G", -1, 0 }, { "1", "KiBi", -2, 0 }, { "1", "Ki", -2, 0 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t bytes = 0;

		ck_assert_msg(parse_size(t[i].num, t[i].unit, &bytes) == t[i].ret, "%s %s", t[i].num, t[i].unit);
		ck_assert_msg(t[i].ret || bytes == t[i].bytes, "%s %s: %ju", t[i].num, t[i].unit, (uintmax_t)bytes);
	}
}
END_TEST

START_TEST(numbers)
{
	uint64_t v;

	ck_assert(!parse_u64("0", &v) && v == 0);
	ck_assert(!parse_u64("0xfF", &v) && v == 255);
	ck_assert(!parse_u64("18446744073709551615", &v) && v == UINT64_MAX);
	ck_assert(parse_u64("18446744073709551616", &v));
	ck_assert(parse_u64("0x10000000000000000", &v));
	ck_assert(parse_u64("", &v) && parse_u64("0x", &v) && parse_u64("1a", &v) && parse_u64(" 1", &v));
	ck_assert(parse_u64("-1", &v) && parse_u64("1e3", &v));
}
END_TEST

START_TEST(identifiers)
{
	uint8_t uuid[16], mac[6];

	ck_assert(!parse_uuid("00112233-4455-6677-8899-aabbccddeeff", uuid) && uuid[15] == 0xff);
	ck_assert(!parse_uuid("00112233445566778899AABBCCDDEEFF", uuid) && uuid[10] == 0xaa);
	ck_assert(parse_uuid("00112233-4455-6677-8899-aabbccddeef", uuid));
	ck_assert(parse_uuid("0011223-34455-6677-8899-aabbccddeeff", uuid));
	ck_assert(parse_uuid("0011223344556677-8899-aabbccddeeff00", uuid));
	ck_assert(parse_uuid("00112233-4455-6677-8899-aabbccddeefg", uuid));
	ck_assert(!parse_mac("52:54:00:aB:cD:0f", mac) && mac[3] == 0xab && mac[5] == 0x0f);
	ck_assert(parse_mac("52-54-00-ab-cd-0f", mac) && parse_mac("52:54:00:ab:cd:0", mac));
	ck_assert(parse_mac("52:54:00:ab:cd:0f:", mac) && parse_mac("5254.00ab.cd0f...", mac));
}
END_TEST

/* --- hostile input --- */

static void expect_refused(const char *text, size_t len, const char *words)
{
	char *out;
	int errors;
	struct domain *dom = parse_text(text, len, &out, &errors);

	ck_assert_ptr_null(dom);
	ck_assert_int_ge(errors, 1);
	ck_assert_msg(strstr(out, words) != NULL, "wanted \"%s\", got %.500s", words, out);
	free(out);
}

/* `times` times `what` */
static char *repeat(const char *what, size_t times, size_t *len)
{
	size_t n = strlen(what);
	char *s = malloc(n * times + 1);

	for (size_t i = 0; i < times; i++)
		memcpy(s + i * n, what, n);
	s[n * times] = '\0';
	*len = n * times;
	return s;
}

START_TEST(bounds)
{
	static const struct { const char *what; size_t times; const char *words; } t[] = {
		{ "<a>", 1000000, "nested deeper" },
		{ "<a><b/>", 500000, "nested deeper" },
		{ "<a/>", 1000000, "more than 20000 elements" },
		{ "<a b='1'/>\n", 100000, "more than 20000 elements" },
		{ "<a b='' c='' ", 100000, "more than 64 attributes" },
		{ " xmlns:a='b'", 300, "more than 256 namespace" },
		{ "<!--", 1000000, "inside a comment" },
		{ "<!-- ", 1, "not well-formed" },
		{ "<!---", 1, "not well-formed" },
		{ "<!--->", 1, "not well-formed" },
		{ "]]>", 1000000, "not well-formed" },
		{ "<?xml?>", 500000, "not well-formed" },
		{ "<a:b c:d='' e:f=''></a:b>", 19000, "not well-formed" },
		{ "&a;", 1000000, "not well-formed" },
		{ "\x01", 1000000, "not well-formed" },
		{ "<![CDATA[", 400000, "not well-formed" },
		{ "<?x ", 1000000, "not well-formed" },
		{ "</a>", 1000000, "not well-formed" },
		{ "<!ENTITY", 100000, "declarations are refused" },
		{ "x", 4000000, "not well-formed" },
		{ "&#0;", 1000, "not well-formed" },
		{ "<x a='", 500000, "more than 64 attributes" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		size_t len;
		char *s = repeat(t[i].what, t[i].times, &len);

		expect_refused(s, len, t[i].words);
		free(s);
	}
}
END_TEST

START_TEST(too_large)
{
	size_t len;
	char *s = repeat("<a>", DOMXML_MAX_FILE / 3 + 1, &len), *out;

	expect_refused(s, len, "larger than");
	free(s);
	/* Not even an endless one is read further. */
	ck_assert_ptr_null(parse("/dev/zero", -1, &out, NULL));
	ck_assert_ptr_nonnull(strstr(out, "larger than"));
	free(out);
}
END_TEST

START_TEST(not_files)
{
	char dir[] = "/tmp/hvx-domxml.XXXXXX", fifo[64], *out;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_ptr_null(parse(dir, -1, &out, NULL));
	ck_assert_ptr_nonnull(strstr(out, "cannot be read"));
	free(out);
	ck_assert_ptr_null(parse(fifo, -1, &out, NULL));	/* and does not wait for a writer */
	free(out);
	unlink(fifo);
	ck_assert_ptr_null(parse(fifo, -1, &out, NULL));
	ck_assert_ptr_nonnull(strstr(out, "cannot be opened"));
	free(out);
	rmdir(dir);
}
END_TEST

START_TEST(encodings)
{
	static const char utf16[] = "\xff\xfe<\0d\0o\0m\0a\0i\0n\0/\0>\0";
	/* A tag that only a UTF-7 reader would see. */
	static const char utf7[] = "<?xml version='1.0' encoding='UTF-7'?><domain>+ADw-a+AD4-</domain>";
	static const char latin1[] = "<domain><title>\xe9</title></domain>";

	expect_refused(utf16, sizeof(utf16) - 1, "NUL bytes");
	expect_refused(utf7, sizeof(utf7) - 1, "no text");
	expect_refused(latin1, sizeof(latin1) - 1, "not well-formed");
}
END_TEST

/* The file can be given as a descriptor that was read before, or as a pipe. */
START_TEST(descriptors)
{
	static const char text[] = "<domain><name>n</name><memory>1024</memory>"
				   "<os><type>hvm</type><kernel>k</kernel></os></domain>";
	int fd = text_fd(text, sizeof(text) - 1), p[2];
	struct domain *dom;
	char *out;

	dom = parse("/some/where/x.xml", fd, &out, NULL);
	ck_assert_msg(dom != NULL, "%s", out);
	ck_assert_str_eq(dom->os.kernel, "/some/where/k");
	ck_assert_uint_eq(dom->memory, 1 << 20);
	domain_free(dom);
	free(out);
	close(fd);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], text, sizeof(text) - 1), sizeof(text) - 1);
	close(p[1]);
	dom = parse(NULL, p[0], &out, NULL);
	ck_assert_msg(dom != NULL, "%s", out);
	domain_free(dom);
	free(out);
	close(p[0]);
}
END_TEST

/* Many of each device: bounds of the arrays in struct domain. */
START_TEST(many_devices)
{
	static const struct { const char *what, *words; unsigned int times; } t[] = {
		{ "<interface type='user'/>", "more than 16 interfaces", 100 },
		{ "<serial type='pty'/>", "more than 4 serial ports", 100 },
		{ "<console type='pty'><target type='virtio'/></console>", "more than 16 consoles", 100 },
		{ "<disk><source file='/a'/><target dev='vda'/><readonly/></disk>", "more than 32 disks", 100 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		size_t len;
		char *many = repeat(t[i].what, t[i].times, &len), *text, *out;
		struct domain *dom;

		ck_assert_int_ge(asprintf(&text, "<domain><name>n</name><memory>1024</memory><os><type>hvm</type>"
					  "<kernel>k</kernel></os><devices>%s</devices></domain>", many), 0);
		dom = parse_text(text, strlen(text), &out, NULL);
		ck_assert_ptr_null(dom);
		if (i < 3)	/* equal names of disks fill the first twenty messages */
			ck_assert_msg(strstr(out, t[i].words) != NULL, "%s", out);
		free(out);
		free(text);
		free(many);
	}
}
END_TEST

START_TEST(many_forwards)
{
	size_t len;
	char *ranges = repeat("<range start='1' end='65535'/><range start='1' end='65535' exclude='yes'/>", 3000, &len);
	char *odd = repeat("<range start='7'/>", 600, &len), *text, *out;

	ck_assert_int_ge(asprintf(&text, "<domain><devices><interface type='user'><portForward proto='tcp'>%s"
				  "</portForward></interface><interface type='user'><portForward proto='tcp'>%s"
				  "</portForward></interface></devices></domain>", ranges, odd), 0);
	expect_refused(text, strlen(text), "more than 512 ranges");
	ck_assert_ptr_null(parse_text(text, strlen(text), &out, NULL));
	free(out);
	free(text);
	free(odd);
	free(ranges);
}
END_TEST

/* --- mutations --- */

static uint64_t rng_state = 0x9e3779b97f4a7c15ULL;

static uint32_t rnd(uint32_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)(rng_state >> 32) % below;
}

/* Pieces that mean something to the reader. */
static const char *const words[] = {
	"<", ">", "/>", "='", "'", "\"", "&#x9b;", "&amp;", "<!--", "-->", "<![CDATA[", "]]>", "0x", "-1",
	"99999999999999999999", "65536", "yes", "no", "on", "virtio", "<disk>", "</disk>", "<target dev='vda'/>",
	"<portForward proto='tcp'>", "<range start='1' end='65535'/>", "type='volume'", "pool='default'",
	"volume='..'", "bus='usb'", "<hvx:module>a b</hvx:module>", "<name/>", "<os/>", "unit='EiB'", "\xc3", "\xff", "",
};

/* In place, with room for growth. New length. */
static size_t mutate(char *s, size_t len, size_t room)
{
	for (unsigned int n = 1 + rnd(6); n; n--) {
		const char *w = words[rnd(sizeof(words) / sizeof(words[0]))];
		size_t at = len ? rnd((uint32_t)len) : 0, cut = rnd(24), wl = strlen(w);

		if (cut > len - at)
			cut = len - at;
		switch (rnd(4)) {
		case 0:		/* a bit */
			if (len)
				s[at] ^= (char)(1u << rnd(8));
			break;
		case 1:		/* take out */
			memmove(s + at, s + at + cut, len - at - cut);
			len -= cut;
			break;
		case 2:		/* put in */
			if (len + wl > room)
				break;
			memmove(s + at + wl, s + at, len - at);
			memcpy(s + at, w, wl);
			len += wl;
			break;
		default:	/* copy a piece of itself over another */
			if (len > 200) {
				size_t from = rnd((uint32_t)len - 100), to = rnd((uint32_t)len - 100);

				memmove(s + to, s + from, 1 + rnd(99));
			}
		}
	}
	return len;
}

static void mutations_of(const char *path, unsigned int rounds, unsigned int *good)
{
	char *seed = slurp(path), *s;
	size_t len, room;

	ck_assert_msg(seed != NULL, "%s", path);
	room = 2 * strlen(seed) + 4096;
	s = malloc(room);
	for (unsigned int i = 0; i < rounds; i++) {
		struct domain *dom;
		char *out;
		int errors = -1;

		memcpy(s, seed, strlen(seed));
		len = mutate(s, strlen(seed), room);
		dom = parse_text(s, len, &out, &errors);
		/* No guest comes without a word on what is wrong, nor with one. */
		ck_assert_msg((dom != NULL) == (errors == 0) && (dom || *out), "%s: %d errors:\n%s\n%.*s", path, errors,
			      out, (int)len, s);
		*good += dom != NULL;
		domain_free(dom);
		free(out);
	}
	free(s);
	free(seed);
}

START_TEST(mutations)
{
	static const char *const seeds[] = {
		"good/everything.xml", "good/desktop.xml", "good/metadata-hvx.xml", "bad/network.xml",
		"bad/disks.xml", "bad/chardevs.xml", "bad/qemu-arguments.xml", "bad/numbers.xml",
	};
	unsigned int good = 0;

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		char *rel, *path;

		ck_assert_int_ge(asprintf(&rel, "tests/config/%s", seeds[i]), 0);
		path = in_top(rel);
		mutations_of(path, 3000, &good);
		free(path);
		free(rel);
	}
	ck_assert_uint_gt(good, 100);	/* they reach beyond the parser */
}
END_TEST

static TCase *new_case(Suite *s, const char *name, double timeout)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, timeout);	/* against hangs only */
	suite_add_tcase(s, tc);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("domxml");
	TCase *golden = new_case(s, "golden", 60), *values = new_case(s, "values", 60);
	TCase *hostile = new_case(s, "hostile", 250);
	SRunner *sr = srunner_create(s);
	int failed;

	find_top();
	tcase_add_test(golden, golden_good);
	tcase_add_test(golden, golden_bad);
	tcase_add_test(golden, examples_load);
	tcase_add_test(golden, man_page);
	tcase_add_test(values, everything_general);
	tcase_add_test(values, other_tools);
	tcase_add_test(values, memory_devices);
	tcase_add_test(values, everything_boot_and_cpu);
	tcase_add_test(values, everything_disks);
	tcase_add_test(values, everything_nics);
	tcase_add_test(values, everything_chardevs);
	tcase_add_test(values, desktop_details);
	tcase_add_test(values, identity_is_stable);
	tcase_add_test(values, sizes);
	tcase_add_test(values, numbers);
	tcase_add_test(values, identifiers);
	tcase_add_test(hostile, bounds);
	tcase_add_test(hostile, too_large);
	tcase_add_test(hostile, not_files);
	tcase_add_test(hostile, encodings);
	tcase_add_test(hostile, descriptors);
	tcase_add_test(hostile, many_devices);
	tcase_add_test(hostile, many_forwards);
	tcase_add_test(hostile, mutations);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	free(top);
	xmlCleanupParser();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
