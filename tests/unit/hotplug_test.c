// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/acpi_hotplug.c devices/legacy/acpi_pm.c devices/pci.c devices/device.c vmm/state.c vmm/livexml.c vmm/domxml*.c vmm/cpu_model.c vmm/cpu_feature.c vmm/config.c vmm/bus.c vmm/memory.c vmm/log.c devices/storage/foreign.c */
/* Plugging: the registers, as the guest's AML drives them; places of PCI functions; devices in and out of XML text. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "devices/pci.h"
#include "vmm/board.h"
#include "vmm/hotplug.h"
#include "vmm/livexml.h"

#define UP	(BOARD_HOTPLUG_BASE + BOARD_PLUG_UP)
#define DOWN	(BOARD_HOTPLUG_BASE + BOARD_PLUG_DOWN)
#define EJECT	(BOARD_HOTPLUG_BASE + BOARD_PLUG_EJECT)

static uint32_t ejected;

void hotplug_ejected(struct machine *m, unsigned int slot)
{
	ck_assert_uint_lt(slot, PCI_NR_SLOTS);
	ejected |= 1U << slot;
}

static uint64_t cpus_ejected;

void hotplug_cpu_ejected(struct machine *m, unsigned int cpu)
{
	ck_assert_uint_lt(cpu, 64);
	cpus_ejected |= 1ULL << cpu;
}

int hotplug_can_save(struct machine *m, struct state_error *err)
{
	return 0;
}

struct thing {
	struct device dev;
	struct pci_func pci;
};

static void thing_destroy(struct device *dev)
{
	pci_remove(&((struct thing *)dev)->pci);
}

static const struct device_ops thing_ops = { .name = "thing", .destroy = thing_destroy };
static struct thing thing[40];
static struct device *hotplug;

static void add_thing(unsigned int i)
{
	static const struct pci_ids ids = { .vendor = 1, .device = 2 };

	memset(&thing[i], 0, sizeof(thing[i]));
	ck_assert_int_eq(pci_add(&fm, &thing[i].pci, &ids, -1, NULL, NULL), 0);
	thing[i].pci.dev = &thing[i].dev;
	device_init(&thing[i].dev, &fm, &thing_ops, "thing%u", i);
}

static void setup(void)
{
	fake_machine(0);
	fm.cpus_present = 1;
	ejected = 0;
	ck_assert_int_eq(acpi_pm_create(&fm), 0);
	ck_assert_int_eq(acpi_hotplug_create(&fm), 0);
	hotplug = fm.devices->next;
	ck_assert_int_eq(pci_host_create(&fm), 0);
	outw(BOARD_GPE0 + 2, 1 << BOARD_PCIHP_GPE);
}

START_TEST(registers)
{
	setup();
	ck_assert_uint_eq(inl(UP), 0);
	acpi_hotplug_filled(&fm, 5);
	ck_assert(fake.line[BOARD_SCI_IRQ]);
	ck_assert_uint_eq(inl(UP), 1 << 5);
	acpi_hotplug_filled(&fm, 31);
	ck_assert_uint_eq(inl(UP), 1U << 31 | 1 << 5);
	outl(UP, 1 << 5);
	ck_assert_uint_eq(inl(UP), 1U << 31);
	outw(BOARD_GPE0, 1 << BOARD_PCIHP_GPE);
	ck_assert(!fake.line[BOARD_SCI_IRQ]);

	acpi_hotplug_ask(&fm, 5);
	ck_assert(fake.line[BOARD_SCI_IRQ]);
	ck_assert_uint_eq(inl(DOWN), 1 << 5);
	ck_assert_uint_eq(ejected, 0);
	outl(EJECT, 1 << 5);
	ck_assert_uint_eq(ejected, 1 << 5);
	ck_assert_uint_eq(inl(DOWN), 0);
	ck_assert_uint_eq(inl(EJECT), 0);
	outl(EJECT, ~0U);
	ck_assert_uint_eq(ejected, ~0U);
	fake_free();
}
END_TEST

START_TEST(cpu_registers)
{
	const uint16_t base = BOARD_HOTPLUG_BASE;

	setup();
	cpus_ejected = 0;
	fm.nr_vcpus = 40;
	fm.cpus_present = 3ULL << 32 | 5;
	outw(BOARD_GPE0 + 2, 1 << BOARD_CPUHP_GPE);
	ck_assert_uint_eq(inl(base + BOARD_CPU_PRESENT), 5);
	ck_assert_uint_eq(inl(base + BOARD_CPU_PRESENT + 4), 3);
	outl(base + BOARD_CPU_PRESENT, 0);
	ck_assert_uint_eq(inl(base + BOARD_CPU_PRESENT), 5);
	acpi_hotplug_cpus(&fm, 1ULL << 35, 0);
	ck_assert(fake.line[BOARD_SCI_IRQ]);
	ck_assert_uint_eq(inl(base + BOARD_CPU_UP), 0);
	ck_assert_uint_eq(inl(base + BOARD_CPU_UP + 4), 8);
	outl(base + BOARD_CPU_UP + 4, 8);
	ck_assert_uint_eq(inl(base + BOARD_CPU_UP + 4), 0);
	acpi_hotplug_cpus(&fm, 0, 1ULL << 32 | 4);
	ck_assert_uint_eq(inl(base + BOARD_CPU_DOWN), 4);
	ck_assert_uint_eq(inl(base + BOARD_CPU_DOWN + 4), 1);
	outl(base + BOARD_CPU_EJECT + 4, 1);
	ck_assert_uint_eq(cpus_ejected, 1ULL << 32);
	ck_assert_uint_eq(inl(base + BOARD_CPU_DOWN + 4), 0);
	outl(base + BOARD_CPU_EJECT, ~0U);
	ck_assert_uint_eq(cpus_ejected, 1ULL << 32 | 0xffffffffULL);
	fake_free();
}
END_TEST

/* A guest may do as it likes. */
START_TEST(hostile_accesses)
{
	unsigned int i;

	setup();
	acpi_hotplug_filled(&fm, 7);
	outb(UP, 0xff);
	outw(UP, 0xffff);
	outl(UP + 1, ~0U);
	outb(EJECT, 0xff);
	ck_assert_uint_eq(inl(UP), 1 << 7);
	ck_assert_uint_eq(ejected, 0);
	for (i = 0; i < BOARD_HOTPLUG_SIZE; i++) {
		(void)inb(BOARD_HOTPLUG_BASE + i);
		(void)inw(BOARD_HOTPLUG_BASE + i);
		outl(BOARD_HOTPLUG_BASE + i, fake_random());
	}
	hotplug->ops->reset(hotplug);
	ck_assert_uint_eq(inl(UP) | inl(DOWN), 0);
	fake_free();
}
END_TEST

START_TEST(slots)
{
	unsigned int i;

	setup();
	for (i = 0; i < 31; i++) {
		ck_assert_int_eq(pci_free_slot(&fm), (int)i + 1);
		add_thing(i);
	}
	ck_assert_int_eq(pci_free_slot(&fm), -ENOSPC);
	ck_assert_ptr_eq(pci_alone(&fm, 3), &thing[2].pci);
	ck_assert_ptr_eq(pci_of_device(&fm, &thing[9].dev), &thing[9].pci);
	add_thing(31);	/* a further function of slot 1 */
	ck_assert_uint_eq(thing[31].pci.devfn, 1 << 3 | 1);
	ck_assert_ptr_null(pci_alone(&fm, 1));
	ck_assert_uint_eq(thing[0].pci.config[0x0e], 0x80);
	pci_hide(&thing[31].pci);
	ck_assert_ptr_eq(pci_alone(&fm, 1), &thing[0].pci);
	ck_assert_uint_eq(thing[0].pci.config[0x0e], 0);
	pci_hide(&thing[20].pci);
	ck_assert_int_eq(pci_free_slot(&fm), 21);
	ck_assert_ptr_null(pci_of_device(&fm, &thing[20].dev));
	fake_free();
}
END_TEST

/* What was at a place when it was saved is there after a load, in whatever order it is made. */
START_TEST(places_are_saved)
{
	struct sbuf b = { 0 };
	struct state_error err = { .text = "" };
	struct device *loaded;

	setup();
	add_thing(0);
	add_thing(1);
	add_thing(2);
	pci_hide(&thing[0].pci);
	thing_destroy(&thing[0].dev);
	fm.devices->next->next->next = &thing[1].dev;	/* the first one is gone */
	acpi_hotplug_ask(&fm, 2);
	ck_assert_int_eq(state_save_device(&b, hotplug, &err), 0);
	fake_free();

	setup();
	add_thing(2);
	add_thing(1);
	ck_assert_uint_eq(thing[2].pci.devfn, 1 << 3);
	ck_assert_int_eq(state_load_device(&b, &fm, &loaded, &err), 0);
	ck_assert_uint_eq(thing[1].pci.devfn, 2 << 3);
	ck_assert_uint_eq(thing[2].pci.devfn, 3 << 3);
	ck_assert_ptr_eq(pci_alone(&fm, 3), &thing[2].pci);
	ck_assert_ptr_null(pci_alone(&fm, 1));
	ck_assert_uint_eq(inl(DOWN), 1 << 2);

	/* Another machine: refused, and nothing moved. */
	add_thing(0);
	b.pos = 0;
	ck_assert_int_ne(state_load_device(&b, &fm, &loaded, &err), 0);
	ck_assert_ptr_eq(pci_alone(&fm, 3), &thing[2].pci);
	fake_free();
	sbuf_free(&b);
}
END_TEST

START_TEST(place_refuses)
{
	struct pci_func *f[2] = { &thing[0].pci, &thing[0].pci };
	uint8_t devfn[2] = { 8, 16 };

	setup();
	add_thing(0);
	add_thing(1);
	ck_assert_int_eq(pci_place(&fm, f, devfn, 2), -EINVAL);	/* one twice */
	f[1] = &thing[1].pci;
	devfn[1] = 8;
	ck_assert_int_eq(pci_place(&fm, f, devfn, 2), -EINVAL);	/* one place */
	devfn[1] = 0;
	ck_assert_int_eq(pci_place(&fm, f, devfn, 2), -EINVAL);	/* the bridge's */
	ck_assert_int_eq(pci_place(&fm, f, devfn, 1), -EINVAL);	/* one is left over */
	ck_assert_ptr_eq(pci_alone(&fm, 1), &thing[0].pci);
	ck_assert_ptr_eq(pci_alone(&fm, 2), &thing[1].pci);
	fake_free();
}
END_TEST

/* ------------------------------------------------------------------ XML */

static const char xml[] =
	"<domain>\n  <name>x</name>\n  <devices>\n"
	"    <disk><source file='/a'/><target dev='vda'/></disk>\n"
	"    <interface type='user'/>\n"
	"    <interface type='user'><mac address='52:54:00:00:00:02'/></interface>\n"
	"  </devices>\n</domain>\n";

static char *must_(char *text, const char *why, int line)
{
	ck_assert_msg(text != NULL, "line %d: %s", line, why);
	return text;
}

#define must(text, why) must_(text, why, __LINE__)

START_TEST(xml_in_and_out)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 2 };
	struct xml_ref ref = { .kind = XML_DISK, .id = "vdb" };
	const char *why = "";
	char *a, *b, *c;
	size_t len;

	a = must(livexml_add(xml, sizeof(xml) - 1, "<disk><target dev='vdb'/><!-- &lt; --></disk>", NULL, &len, &why), why);
	ck_assert_uint_eq(len, strlen(a));
	ck_assert_ptr_nonnull(strstr(a, "dev=\"vdb\""));
	b = must(livexml_device(a, len, &ref, &why), why);
	ck_assert_int_eq(strncmp(b, "<disk>", 6), 0);
	free(b);
	b = must(livexml_remove(a, len, &ref, false, &len, &why), why);
	ck_assert_ptr_null(strstr(b, "vdb"));
	ck_assert_ptr_nonnull(strstr(b, "vda"));
	ck_assert_ptr_null(livexml_remove(b, len, &ref, false, &len, &why));
	free(a);
	free(b);

	/* The first interface goes; the second is net1 still. */
	ref = (struct xml_ref){ .kind = XML_NIC, .id = "net0" };
	a = must(livexml_remove(xml, sizeof(xml) - 1, &ref, true, &len, &why), why);
	ck_assert_ptr_nonnull(strstr(a, "52:54:00:00:00:02"));
	ck_assert_ptr_nonnull(strstr(a, "<alias name=\"hvx-net1\"/>"));
	b = must(livexml_add(a, len, "<interface type='user'/>", "net0", &len, &why), why);
	ck_assert_ptr_nonnull(strstr(b, "<alias name=\"hvx-net0\"/>"));
	ref.id = "net1";
	c = must(livexml_remove(b, len, &ref, true, &len, &why), why);
	ck_assert_ptr_null(strstr(c, "52:54:00:00:00:02"));
	free(c);
	ref = (struct xml_ref){ .kind = XML_NIC, .mac = mac };
	c = must(livexml_remove(b, strlen(b), &ref, false, &len, &why), why);
	ck_assert_ptr_null(strstr(c, "52:54:00:00:00:02"));
	free(a);
	free(b);
	free(c);
}
END_TEST

/* <cpu> tells what the guest got; topology stays, and so does all around it. */
START_TEST(xml_cpu)
{
	static const char host_model[] =
		"<domain><name>a</name>\n  <cpu mode='host-model' migratable='on'>\n    <model fallback='forbid'/>\n"
		"    <topology sockets='1' cores='2' threads='1'/>\n    <feature policy='disable' name='avx'/>\n  </cpu>\n"
		"  <devices/></domain>";
	static const struct xml_cpu_feature f[] = { { "invtsc", false }, { "hle", true } };
	const char *why = "";
	char *a;
	size_t len;

	a = must(livexml_cpu(host_model, sizeof(host_model) - 1, "EPYC-Rome", "AMD", f, 2, &len, &why), why);
	ck_assert_uint_eq(len, strlen(a));
	ck_assert_msg(strstr(a, "<cpu mode=\"custom\" match=\"exact\" check=\"full\">\n"
			     "    <model fallback=\"allow\">EPYC-Rome</model>\n"
			     "    <vendor>AMD</vendor>\n"
			     "    <topology sockets=\"1\" cores=\"2\" threads=\"1\"/>\n"
			     "    <feature policy=\"require\" name=\"invtsc\"/>\n"
			     "    <feature policy=\"disable\" name=\"hle\"/>\n"
			     "  </cpu>\n  <devices/>"), "%s", a);
	free(a);
	a = must(livexml_cpu("<domain/>", 9, "qemu64", "", NULL, 0, &len, &why), why);
	ck_assert_ptr_nonnull(strstr(a, "<model fallback=\"allow\">qemu64</model>"));
	ck_assert_ptr_null(strstr(a, "vendor"));
	free(a);
	ck_assert_ptr_null(livexml_cpu("<domain>", 8, "qemu64", "", NULL, 0, &len, &why));
}
END_TEST

START_TEST(xml_memdev)
{
	static const char two[] =
		"<domain><devices><memory model='virtio-mem'><target><size>1</size></target><alias name='ua-x'/></memory>"
		"<memory model='virtio-mem'><target><requested unit='GiB'>7</requested></target></memory></devices></domain>";
	const char *why = "";
	char *a, *b;
	size_t len;

	a = must(livexml_memdev(two, sizeof(two) - 1, "virtiomem1", 64 << 20, 0x140000000, &len, &why), why);
	ck_assert_uint_eq(len, strlen(a));
	ck_assert_msg(strstr(a, "<requested unit=\"KiB\">65536</requested><address base=\"0x140000000\"/></target>"
			     "<alias name=\"virtiomem1\"/></memory></devices>"), "%s", a);
	b = must(livexml_memdev(a, len, "ua-x", 0, 0, &len, &why), why);
	ck_assert_msg(strstr(b, "<size>1</size><requested unit=\"KiB\">0</requested></target><alias name=\"ua-x\"/>"), "%s", b);
	free(a);
	free(b);
	/* One more, by a name; out they go by theirs, the last one without. */
	a = must(livexml_add(two, sizeof(two) - 1, "<memory model='virtio-mem'/>", "m2", &len, &why), why);
	ck_assert_ptr_nonnull(strstr(a, "<alias name=\"m2\"/>"));
	ck_assert_ptr_null(livexml_remove(a, len, &(struct xml_ref){ .kind = XML_MEM }, false, &len, &why));
	b = must(livexml_remove(a, strlen(a), &(struct xml_ref){ .kind = XML_MEM, .id = "ua-x" }, false, &len, &why), why);
	free(a);
	a = must(livexml_remove(b, len, &(struct xml_ref){ .kind = XML_MEM, .id = "m2" }, false, &len, &why), why);
	free(b);
	b = must(livexml_remove(a, len, &(struct xml_ref){ .kind = XML_MEM }, false, &len, &why), why);
	ck_assert_ptr_null(strstr(b, "memory"));
	free(a);
	free(b);
	ck_assert_ptr_null(livexml_memdev(two, sizeof(two) - 1, "virtiomem0", 0, 0, &len, &why));
	ck_assert_ptr_null(livexml_memdev(two, sizeof(two) - 1, "virtiomem2", 0, 0, &len, &why));
}
END_TEST

/* Nothing that makes the C library open a file, and nothing that is no device. */
START_TEST(xml_refused)
{
	static const char *const bad[] = {
		"", "x", "<disk>", "<video/>", "<disk/><disk/>",
		"<?xml version='1.0' encoding='EUC-JP'?><disk/>",
		"<?xml version='1.0' encoding=\"ISO-8859-7\"?><interface/>",
		"\xff\xfe<\0d\0", "<!DOCTYPE disk [<!ENTITY a 'b'>]><disk>&a;</disk>",
	};
	const char *why = "";
	size_t i, len;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!livexml_add(xml, sizeof(xml) - 1, bad[i], NULL, &len, &why), "%zu", i);
	ck_assert(!device_id_ok(""));
	ck_assert(!device_id_ok("a b"));
	ck_assert(!device_id_ok("0123456789abcdef"));
	ck_assert(device_id_ok("vdaa"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hotplug");
	TCase *t = tcase_create("hotplug");

	tcase_add_test(t, registers);
	tcase_add_test(t, cpu_registers);
	tcase_add_test(t, hostile_accesses);
	tcase_add_test(t, slots);
	tcase_add_test(t, places_are_saved);
	tcase_add_test(t, place_refuses);
	tcase_add_test(t, xml_in_and_out);
	tcase_add_test(t, xml_cpu);
	tcase_add_test(t, xml_memdev);
	tcase_add_test(t, xml_refused);
	suite_add_tcase(s, t);
	return fake_main(s);
}
