// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/pci.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* PCI: both ways to configuration space, BAR sizing and moves, MSI-X, and anything a guest may write. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "devices/pci.h"
#include "vmm/board.h"

#define NR_VECTORS	5

static struct pci_func func;
static unsigned int bar_changes, msix_changes;
static uint64_t last_write;

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)opaque;
	(void)size;
	return offset;
}

static void bar_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	(void)opaque;
	(void)size;
	last_write = offset << 32 | (val & 0xffffffff);
}

static void bar_changed(struct pci_func *f, unsigned int bar)
{
	(void)f;
	(void)bar;
	bar_changes++;
}

static void msix_changed(struct pci_func *f, int vector)
{
	ck_assert_int_lt(vector, (int)f->nr_vectors);
	msix_changes++;
}

static const struct bus_ops ops = { bar_read, bar_write };
static const struct pci_func_ops func_ops = { .bar_changed = bar_changed, .msix_changed = msix_changed };
static const struct pci_ids ids = {
	.vendor = 0x1234, .device = 0x5678, .subvendor = 0x9abc, .subdevice = 0xdef0,
	.class_base = 1, .class_sub = 2, .prog_if = 3, .revision = 4,
};

static void setup(void)
{
	fake_machine(0);
	ck_assert_int_eq(pci_host_create(&fm), 0);
	ck_assert_int_eq(pci_add(&fm, &func, &ids, -1, &func_ops, NULL), 0);
	ck_assert_int_eq(pci_add_bar(&func, 0, 0x4000, false, "a", &ops, NULL, 0), 0);
	ck_assert_int_eq(pci_add_msix(&func, 1, NR_VECTORS), 0);
	ck_assert_int_eq(pci_add_bar(&func, 2, 0x100000, true, "b", &ops, NULL, 0), 0);
	bar_changes = msix_changes = 0;
}

static void teardown(void)
{
	pci_remove(&func);
	fake_free();
}

static uint64_t ecam(unsigned int devfn, unsigned int reg)
{
	return PCI_ECAM_BASE + (devfn << 12) + reg;
}

static uint32_t rd(unsigned int reg, unsigned int size)
{
	return bus_read(&fm.mmio, ecam(func.devfn, reg), size);
}

static void wr(unsigned int reg, unsigned int size, uint32_t val)
{
	bus_write(&fm.mmio, ecam(func.devfn, reg), size, val);
}

START_TEST(ids_and_ways)
{
	ck_assert_uint_eq(func.devfn, 1 << 3);
	ck_assert_uint_eq(rd(0, 4), 0x56781234);
	ck_assert_uint_eq(rd(2, 2), 0x5678);
	ck_assert_uint_eq(rd(8, 4), 0x01020304);
	ck_assert_uint_eq(rd(0x2c, 4), 0xdef09abc);
	ck_assert_uint_eq(rd(0x3d, 1), 0);		/* no INTx */
	ck_assert_uint_eq(bus_read(&fm.mmio, ecam(func.devfn, 0), 8), 0x0010000056781234);
	ck_assert_uint_eq(rd(0x100, 4), 0);		/* no extended capabilities */
	wr(0, 4, 0xffffffff);
	ck_assert_uint_eq(rd(0, 4), 0x56781234);
	/* The ports. */
	outl(0xcf8, 0x80000000 | func.devfn << 8);
	ck_assert_uint_eq(inl(0xcf8), 0x80000000 | func.devfn << 8);
	ck_assert_uint_eq(inl(0xcfc), 0x56781234);
	ck_assert_uint_eq(inw(0xcfe), 0x5678);
	outl(0xcf8, func.devfn << 8);
	ck_assert_uint_eq(inl(0xcfc), 0xffffffff);
	outl(0xcf8, 0x80010000);
	ck_assert_uint_eq(inl(0xcfc), 0xffffffff);
	/* Nothing there. */
	ck_assert_uint_eq(bus_read(&fm.mmio, ecam(0x50, 0), 4), 0xffffffff);
	ck_assert_uint_eq(bus_read(&fm.mmio, PCI_ECAM_BASE + (1 << 20), 4), 0xffffffff);
	ck_assert_uint_eq(bus_read(&fm.mmio, ecam(0, 0xa), 2), 0x0600);
}
END_TEST

START_TEST(reset_register)
{
	outb(0xcf9, 0x02);
	ck_assert_int_eq(fake.event, EV_NONE);
	outb(0xcf9, 0x06);
	ck_assert_int_eq(fake.event, EV_RESET);
}
END_TEST

START_TEST(sizing)
{
	wr(0x10, 4, 0xffffffff);
	ck_assert_uint_eq(rd(0x10, 4), 0xffffc000);
	wr(0x18, 4, 0xffffffff);
	wr(0x1c, 4, 0xffffffff);
	ck_assert_uint_eq(rd(0x18, 4), 0xfff00004);
	ck_assert_uint_eq(rd(0x1c, 4), 0xffffffff);
	wr(0x20, 4, 0xffffffff);
	ck_assert_uint_eq(rd(0x20, 4), 0);
	/* With decoding on, the all-ones address must not appear on the bus. */
	wr(4, 2, 2);
	ck_assert_uint_eq(bar_changes, 1);		/* BAR 0 at 0xffffc000 fits below 4 GiB */
}
END_TEST

START_TEST(mapping)
{
	wr(0x10, 4, 0xc0004000);
	ck_assert_uint_eq(bus_read(&fm.mmio, 0xc0004010, 4), 0xffffffff);
	wr(4, 2, 2);
	ck_assert_uint_eq(bus_read(&fm.mmio, 0xc0004010, 4), 0x10);
	bus_write(&fm.mmio, 0xc0004020, 4, 7);
	ck_assert_uint_eq(last_write, 0x20ULL << 32 | 7);
	wr(0x10, 4, 0xc0008000);
	ck_assert_uint_eq(bus_read(&fm.mmio, 0xc0004010, 4), 0xffffffff);
	ck_assert_uint_eq(bus_read(&fm.mmio, 0xc0008010, 4), 0x10);
	ck_assert_uint_eq(bar_changes, 3);
	/* Over the ECAM: that stays. */
	wr(0x10, 4, (uint32_t)PCI_ECAM_BASE);
	ck_assert(!func.bar_mapped[0]);
	ck_assert_uint_eq(rd(0, 4), 0x56781234);
	wr(0x10, 4, 0xc0004000);
	wr(4, 2, 0);
	ck_assert(!func.bar_mapped[0]);
}
END_TEST

/* Two functions change places while both decode: neither gets lost on the way. */
START_TEST(covered)
{
	struct pci_func other;
	uint64_t a = 0xc0004000, b = 0xc0008000;

	ck_assert_int_eq(pci_add(&fm, &other, &ids, -1, NULL, NULL), 0);
	ck_assert_int_eq(pci_add_bar(&other, 0, 0x4000, false, "c", &ops, NULL, 0), 0);
	wr(0x10, 4, a);
	wr(4, 2, 2);
	bus_write(&fm.mmio, ecam(other.devfn, 0x10), 4, b);
	bus_write(&fm.mmio, ecam(other.devfn, 4), 2, 2);
	bus_write(&fm.mmio, ecam(other.devfn, 0x10), 4, a);
	ck_assert(func.bar_mapped[0] && !other.bar_mapped[0]);
	wr(0x10, 4, b);
	ck_assert(func.bar_mapped[0] && func.bar[0].base == b);
	ck_assert(other.bar_mapped[0] && other.bar[0].base == a);
	/* The same where the other stops decoding. */
	wr(0x10, 4, a);
	ck_assert(!func.bar_mapped[0]);
	bus_write(&fm.mmio, ecam(other.devfn, 4), 2, 0);
	ck_assert(func.bar_mapped[0] && !other.bar_mapped[0]);
	pci_remove(&other);
}
END_TEST

START_TEST(assign)
{
	unsigned int i;

	pci_assign(&fm);
	for (i = 0; i < 3; i++) {
		ck_assert(func.bar_mapped[i]);
		ck_assert_uint_ge(func.bar[i].base, PCI_MMIO32_BASE);
		ck_assert_uint_le(func.bar[i].base + func.bar[i].size, PCI_MMIO32_END);
		ck_assert_uint_eq(func.bar[i].base % func.bar[i].size, 0);
	}
	ck_assert_uint_eq(rd(4, 2), 3);
	pci_reset_func(&func);
	ck_assert(!func.bar_mapped[0]);
	ck_assert_uint_eq(rd(4, 2), 0);
	ck_assert_uint_eq(rd(0x18, 4), 4);
	pci_assign(&fm);
	ck_assert(func.bar_mapped[0]);
}
END_TEST

/* ----------------------------------------------------------------------- MSI-X */

static uint64_t table(unsigned int vector)
{
	return func.bar[1].base + 16 * vector;
}

static void set_vector(unsigned int v, uint64_t addr, uint32_t data, bool masked)
{
	bus_write(&fm.mmio, table(v), 4, addr);
	bus_write(&fm.mmio, table(v) + 4, 4, addr >> 32);
	bus_write(&fm.mmio, table(v) + 8, 4, data);
	bus_write(&fm.mmio, table(v) + 12, 4, masked);
}

static uint64_t pba(void)
{
	return bus_read(&fm.mmio, func.bar[1].base + 16 * NR_VECTORS, 8);
}

START_TEST(msix)
{
	uint64_t address;
	uint32_t data;

	pci_assign(&fm);
	ck_assert_uint_eq(rd(func.msix_cap, 1), 0x11);
	ck_assert_uint_eq(rd(func.msix_cap + 2, 2), NR_VECTORS - 1);
	ck_assert_uint_eq(bus_read(&fm.mmio, table(0) + 12, 4), 1);	/* masked at reset */
	pci_msix_notify(&func, 0);
	ck_assert_uint_eq(fake.nr_msi, 0);
	ck_assert_uint_eq(pba(), 0);			/* MSI-X is off */

	wr(func.msix_cap + 2, 2, 0x8000);
	set_vector(2, 0xfee01000, 0x42, false);
	ck_assert_uint_eq(bus_read(&fm.mmio, table(2), 8), 0xfee01000);
	pci_msix_notify(&func, 2);
	ck_assert_uint_eq(fake.nr_msi, 1);
	ck_assert_uint_eq(fake.msi[0].address, 0xfee01000);
	ck_assert_uint_eq(fake.msi[0].data, 0x42);
	ck_assert(pci_msix_message(&func, 2, &address, &data));
	ck_assert(!pci_msix_message(&func, 1, &address, &data));

	/* Masked by itself: pending, and sent once when unmasked. */
	bus_write(&fm.mmio, table(2) + 12, 4, 1);
	pci_msix_notify(&func, 2);
	pci_msix_notify(&func, 2);
	ck_assert_uint_eq(fake.nr_msi, 1);
	ck_assert_uint_eq(pba(), 4);
	bus_write(&fm.mmio, table(2) + 12, 4, 0);
	ck_assert_uint_eq(fake.nr_msi, 2);
	ck_assert_uint_eq(pba(), 0);

	/* Masked by the function. */
	wr(func.msix_cap + 2, 2, 0xc000);
	pci_msix_notify(&func, 2);
	ck_assert_uint_eq(fake.nr_msi, 2);
	wr(func.msix_cap + 2, 2, 0x8000);
	ck_assert_uint_eq(fake.nr_msi, 3);
	pci_msix_notify(&func, NR_VECTORS);
	pci_msix_notify(&func, 0xffff);
	ck_assert_uint_eq(fake.nr_msi, 3);
}
END_TEST

START_TEST(msix_odd_access)
{
	pci_assign(&fm);
	set_vector(0, 0xfee00000, 1, false);
	bus_write(&fm.mmio, table(0) + 1, 4, ~0U);
	bus_write(&fm.mmio, table(0), 2, ~0U);
	bus_write(&fm.mmio, table(0), 1, ~0U);
	ck_assert_uint_eq(bus_read(&fm.mmio, table(0), 8), 0xfee00000);
	bus_write(&fm.mmio, table(1), 8, 0x1122334455667788);
	ck_assert_uint_eq(bus_read(&fm.mmio, table(1), 8), 0x1122334455667788);
	/* The PBA is read only. */
	bus_write(&fm.mmio, func.bar[1].base + 16 * NR_VECTORS, 8, ~0ULL);
	ck_assert_uint_eq(pba(), 0);
	/* Beyond both. */
	bus_write(&fm.mmio, func.bar[1].base + 0xff8, 8, ~0ULL);
	ck_assert_uint_eq(bus_read(&fm.mmio, func.bar[1].base + 0xff8, 8), 0);
}
END_TEST

START_TEST(many_functions)
{
	static struct pci_func f[260];
	unsigned int i, n;

	for (n = 0; n < 260; n++) {
		if (pci_add(&fm, &f[n], &ids, -1, NULL, NULL))
			break;
	}
	/* All but those of the host bridge's device. */
	ck_assert_uint_eq(n, 30 + 31 * 7);
	ck_assert_uint_eq(bus_read(&fm.mmio, ecam(func.devfn, 0xe), 1), 0x80);
	ck_assert_int_eq(pci_add(&fm, &f[n], &ids, func.devfn, NULL, NULL), -EEXIST);
	for (i = 0; i < n; i++)
		pci_remove(&f[i]);
}
END_TEST

START_TEST(capabilities)
{
	unsigned int at = rd(0x34, 1), n = 0;

	ck_assert(rd(6, 2) & 0x10);
	while (at && n++ < 48)
		at = rd(at + 1, 1);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(pci_add_cap(&func, 9, 0xb0), 0x4c);
	ck_assert_int_eq(pci_add_cap(&func, 9, 8), -ENOSPC);
	ck_assert_int_eq(pci_add_bar(&func, 0, 0x1000, false, "", &ops, NULL, 0), -EINVAL);
	ck_assert_int_eq(pci_add_bar(&func, 5, 0x1000, true, "", &ops, NULL, 0), -EINVAL);
	ck_assert_int_eq(pci_add_bar(&func, 4, 0x3000, false, "", &ops, NULL, 0), -EINVAL);
}
END_TEST

START_TEST(anything)
{
	unsigned int i;

	for (i = 0; i < 300000; i++) {
		uint32_t r = fake_random(), v = fake_random();
		unsigned int size = 1 << (r & 3), reg = r >> 8 & 0x1ff;

		switch (r >> 4 & 7) {
		case 0:
			bus_write(&fm.mmio, ecam(func.devfn, reg), size, v);
			break;
		case 1:
			bus_read(&fm.mmio, ecam(func.devfn, reg), size);
			break;
		case 2:
			wr(reg & 0x7f, size > 4 ? 4 : size, v);
			break;
		case 3:
			outl(0xcf8, v | 0x80000000);
			outl(0xcf8 + (r >> 20 & 7), v);
			break;
		case 4:
			bus_write(&fm.pio, 0xcf8 + (r >> 20 & 7), size, v);
			break;
		case 5:
			bus_read(&fm.pio, 0xcf8 + (r >> 20 & 7), size);
			break;
		case 6:
			if (func.bar_mapped[1]) {
				bus_write(&fm.mmio, func.bar[1].base + (v & 0xff8), size, v);
				bus_read(&fm.mmio, func.bar[1].base + (v & 0xff8), size);
			}
			break;
		default:
			pci_msix_notify(&func, v & 7);
			break;
		}
	}
	ck_assert_uint_eq(rd(0, 4), 0x56781234);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci");
	TCase *t = tcase_create("pci");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, ids_and_ways);
	tcase_add_test(t, reset_register);
	tcase_add_test(t, sizing);
	tcase_add_test(t, mapping);
	tcase_add_test(t, covered);
	tcase_add_test(t, assign);
	tcase_add_test(t, msix);
	tcase_add_test(t, msix_odd_access);
	tcase_add_test(t, many_functions);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
