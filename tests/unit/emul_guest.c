// SPDX-License-Identifier: GPL-2.0-only
#include "emul_guest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include "emul_native.h"

static uint8_t *ram_at(struct guest *g, uint64_t gpa, unsigned int len)
{
	g->accesses++;
	g->last_gpa = gpa;
	/* ck_assert() writes a record even when it holds: too dear on this path */
	if (len < 1 || len > 32)
		ck_abort_msg("access of %u bytes", len);
	if ((gpa >> 12) != ((gpa + len - 1) >> 12))
		ck_abort_msg("access across a page");
	return gpa < RAM_SIZE && len <= RAM_SIZE - gpa ? g->ram + gpa : NULL;
}

static bool is_mmio(uint64_t gpa)
{
	return gpa >= MMIO_BASE && gpa < MMIO_BASE + MMIO_SIZE;
}

static void log_access(struct guest *g, bool write, uint64_t addr, unsigned int len, const void *val)
{
	struct access *a = &g->log[g->logged % MAX_LOG];

	memset(a, 0, sizeof(*a));
	a->write = write;
	a->addr = addr;
	a->len = len;
	memcpy(&a->val, val, len < 8 ? len : 8);
	g->logged++;
}

static int g_read(void *opaque, uint64_t gpa, void *buf, unsigned int len)
{
	struct guest *g = opaque;
	uint8_t *p = ram_at(g, gpa, len);
	unsigned int i;

	if (p) {
		memcpy(buf, p, len);
		return 0;
	}
	if (!is_mmio(gpa))
		return -1;
	for (i = 0; i < len; i++)
		((uint8_t *)buf)[i] = g->mmio_value >> (i % 8 * 8);
	log_access(g, false, gpa, len, buf);
	return 0;
}

static int g_write(void *opaque, uint64_t gpa, const void *buf, unsigned int len)
{
	struct guest *g = opaque;
	uint8_t *p = ram_at(g, gpa, len);

	if (p) {
		memcpy(p, buf, len);
		return 0;
	}
	if (!is_mmio(gpa))
		return -1;
	log_access(g, true, gpa, len, buf);
	return 0;
}

static enum emul_cmpxchg g_cmpxchg(void *opaque, uint64_t gpa, const void *expected, const void *desired,
				   unsigned int len)
{
	struct guest *g = opaque;
	uint8_t *p = ram_at(g, gpa, len);

	if (len > 16 || (gpa & 63) + len > 64)
		ck_abort_msg("cmpxchg of %u bytes", len);
	g->cmpxchgs++;
	if (!p)
		return EMUL_CMPXCHG_NOT_RAM;
	if (g->races) {
		g->races--;
		(*p)++;
	}
	if (memcmp(p, expected, len))
		return EMUL_CMPXCHG_DIFFERS;
	memcpy(p, desired, len);
	return EMUL_CMPXCHG_DONE;
}

static void g_in(void *opaque, uint16_t port, unsigned int size, uint32_t *val)
{
	struct guest *g = opaque;

	g->accesses++;
	if (size != 1 && size != 2 && size != 4)
		ck_abort_msg("port access of %u bytes", size);
	*val = g->port_value++;
	log_access(g, false, port, size, val);
}

static void g_out(void *opaque, uint16_t port, unsigned int size, uint32_t val)
{
	struct guest *g = opaque;

	g->accesses++;
	if (size != 1 && size != 2 && size != 4)
		ck_abort_msg("port access of %u bytes", size);
	log_access(g, true, port, size, &val);
}

static int g_get_vec(void *opaque, unsigned int reg, void *buf, unsigned int len)
{
	ck_assert(reg < 16 && (len == 16 || len == 32));
	memcpy(buf, ((struct guest *)opaque)->vec[reg], len);
	return 0;
}

static int g_set_vec(void *opaque, unsigned int reg, const void *buf, unsigned int len)
{
	ck_assert(reg < 16 && (len == 16 || len == 32));
	memcpy(((struct guest *)opaque)->vec[reg], buf, len);
	return 0;
}

static uint64_t g_xcr0(void *opaque)
{
	return ((struct guest *)opaque)->xcr0;
}

static uint32_t g_pkru(void *opaque)
{
	return ((struct guest *)opaque)->pkru;
}

static const struct emul_ops guest_ops = {
	.read_phys = g_read,
	.write_phys = g_write,
	.cmpxchg_phys = g_cmpxchg,
	.pio_in = g_in,
	.pio_out = g_out,
	.get_vec = g_get_vec,
	.set_vec = g_set_vec,
	.get_xcr0 = g_xcr0,
	.get_pkru = g_pkru,
};

void guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	g->ram = calloc(1, RAM_SIZE);
	ck_assert_ptr_nonnull(g->ram);
	g->xcr0 = 7;
	g->mmio_value = 0x8877665544332211ULL;
	g->regs.rflags = 2;
	g->ctx.regs = &g->regs;
	g->ctx.sregs = &g->sregs;
	g->ctx.ops = &guest_ops;
	g->ctx.opaque = g;
}

void guest_fini(struct guest *g)
{
	free(g->ram);
	g->ram = NULL;
}

static void all_segments(struct guest *g, uint32_t limit, uint16_t attr)
{
	struct hvx_segment *s = &g->sregs.es;
	int i;

	for (i = 0; i < 6; i++)
		s[i] = (struct hvx_segment){ .limit = limit, .attr = attr };
}

/* Selector 0x1000 * n in ES, CS, SS, DS, FS, GS order from 0. */
void guest_real(struct guest *g)
{
	struct hvx_segment *s = &g->sregs.es;
	int i;

	all_segments(g, 0xffff, DATA_RW);
	for (i = 0; i < 6; i++) {
		s[i].selector = 0x1000 * i;
		s[i].base = 0x10000 * i;
	}
	g->sregs.cr0 = 0;
	g->regs.rip = 0x100;
}

void guest_prot32(struct guest *g)
{
	all_segments(g, 0xffffffff, DATA_RW | HVX_SEG_DB | HVX_SEG_G);
	g->sregs.cs.attr = CODE_RX | HVX_SEG_DB | HVX_SEG_G;
	g->sregs.cr0 = T_CR0_PE;
	g->sregs.cr4 = T_CR4_OSFXSR;
	g->regs.rip = 0x1000;
	g->regs.rsp = 0x8000;
}

void guest_long(struct guest *g)
{
	guest_prot32(g);
	g->sregs.cs.attr = CODE_RX | HVX_SEG_L | HVX_SEG_G;
	g->sregs.cr4 = T_CR4_OSFXSR | T_CR4_PAE | T_CR4_OSXSAVE;
	g->sregs.efer = T_EFER_LMA;
}

void guest_user(struct guest *g)
{
	g->sregs.cpl = 3;
	g->sregs.cs.attr |= 0x60;
	g->sregs.ss.attr |= 0x60;
}

unsigned int guest_hex(const char *hex, uint8_t *bytes)
{
	unsigned int n = 0, v;

	while (*hex) {
		if (isspace((unsigned char)*hex)) {
			hex++;
			continue;
		}
		ck_assert(sscanf(hex, "%2x", &v) == 1 && n < 32);
		bytes[n++] = v;
		hex += 2;
	}
	return n;
}

/* The bytes sit at the end of an allocation: a read beyond them is caught. */
enum emul_result guest_insn(struct guest *g, const char *hex)
{
	uint8_t bytes[32], *exact;
	unsigned int n = guest_hex(hex, bytes);
	enum emul_result r;

	exact = malloc(n);
	ck_assert_ptr_nonnull(exact);
	memcpy(exact, bytes, n);
	r = emul_insn(&g->ctx, exact, n);
	free(exact);
	return r;
}

enum emul_result guest_fetch(struct guest *g)
{
	return emul_insn(&g->ctx, NULL, 0);
}

uint64_t guest_rd(const struct guest *g, uint64_t gpa, unsigned int len)
{
	uint64_t v = 0;

	ck_assert(gpa + len <= RAM_SIZE);
	memcpy(&v, g->ram + gpa, len);
	return v;
}

void guest_wr(struct guest *g, uint64_t gpa, unsigned int len, uint64_t val)
{
	ck_assert(gpa + len <= RAM_SIZE);
	memcpy(g->ram + gpa, &val, len);
}

/* ----------------------------------------------------------- random bytes */

/* A random machine: any mode, segments and control registers at random, tables of random bytes. */
static void random_guest(struct guest *g)
{
	struct hvx_segment *s = &g->sregs.es;
	uint64_t *r = (uint64_t *)&g->regs;
	int i;

	for (i = 0; i < 17; i++)
		r[i] = rnd_below(2) ? rnd_below(RAM_SIZE) : rnd_value();
	g->regs.rflags = (rnd() & 0x47fd5) | 2;
	for (i = 0; i < 6; i++)
		s[i] = (struct hvx_segment){
			.base = rnd_below(3) ? 0 : rnd_below(2) ? rnd_below(RAM_SIZE) : rnd(),
			.limit = rnd_below(3) ? 0xffffffff : rnd(),
			.attr = rnd_below(2) ? DATA_RW : rnd() & 0x1fff,
		};
	g->sregs.tr = (struct hvx_segment){ .base = rnd_below(RAM_SIZE), .limit = rnd() & 0xffff, .attr = 0x8b };
	g->sregs.cr0 = (rnd_below(4) ? 1 : 0) | (rnd() & (T_CR0_WP | T_CR0_AM)) |
		       (rnd_below(8) ? 0 : rnd() & (T_CR0_TS | T_CR0_EM));
	g->sregs.cr3 = rnd_below(RAM_SIZE);
	g->sregs.cr4 = rnd() & 0xffffff;
	g->sregs.efer = rnd() & T_EFER_NX;
	g->sregs.cpl = rnd() & 3;
	if ((g->sregs.cr0 & 1) && rnd_below(2))
		g->sregs.cr0 |= T_CR0_PG;
	if ((g->sregs.cr0 & 1) && rnd_below(2)) {
		g->sregs.efer |= T_EFER_LMA;
		g->sregs.cr4 |= T_CR4_PAE;
		g->sregs.cs.attr |= HVX_SEG_L;
	} else if (rnd_below(3) == 0) {
		g->regs.rflags |= T_FL_VM;
	}
	g->pkru = rnd();
	g->races = rnd_below(8) ? 0 : rnd_below(100);
	g->ctx.phys_bits = rnd_below(60);
	g->ctx.quirks = rnd_below(4);
}

/* Page tables in which much is mapped: random entries that mostly pass. */
static void random_tables(struct guest *g)
{
	uint64_t i, *pte = (uint64_t *)g->ram;

	for (i = 0; i < RAM_SIZE / 8; i++)
		pte[i] = rnd_below(8) ? (rnd() & (RAM_SIZE - 1) & ~0xff8ULL) | 7 | (rnd() & 0x60) : rnd();
}

static void random_bytes(uint8_t *b, unsigned int n)
{
	static const uint8_t prefix[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x64, 0x65, 0x48, 0x4f };
	unsigned int i = 0;

	while (i < n && rnd_below(3) == 0)
		b[i++] = prefix[rnd_below(sizeof(prefix))];
	if (i < n && rnd_below(3) == 0)
		b[i++] = rnd_below(4) ? 0x0f : 0xc4 + rnd_below(2);
	while (i < n)
		b[i++] = rnd();
}

static void check_result(const struct guest *g, enum emul_result r, const struct hvx_regs *before,
			 unsigned int counts[4])
{
	/* the worst: a REP MOVS batch, both operands across pages, each with a 5-level walk and its A/D bits */
	ck_assert_uint_le(g->accesses, EMUL_MAX_BATCH * 64);
	ck_assert(r == EMUL_OK || r == EMUL_FAULT || r == EMUL_UNHANDLED || r == EMUL_AGAIN);
	counts[r]++;
	if (r != EMUL_OK)
		ck_assert_uint_eq(g->regs.rip, before->rip);
	if (r == EMUL_UNHANDLED) {
		ck_assert(!memcmp(&g->regs, before, sizeof(*before)));
		ck_assert_uint_eq(g->ctx.dirty, 0);
	}
	if (memcmp(&g->regs, before, sizeof(*before)))
		ck_assert(g->ctx.dirty & (1U << HVX_STATE_REGS));
	if (r == EMUL_FAULT)
		ck_assert(g->ctx.vector == 0 || g->ctx.vector == 6 || g->ctx.vector == 7 ||
			  (g->ctx.vector >= 12 && g->ctx.vector <= 14) || g->ctx.vector == 17);
}

START_TEST(test_random_bytes)
{
	unsigned int counts[4] = { 0 };
	struct guest g;
	int i;

	guest_init(&g);
	rnd_seed(5000 + _i);
	for (i = 0; i < 60000; i++) {
		unsigned int len = rnd_below(16);
		uint8_t *exact = malloc(len ? len : 1);
		struct hvx_regs before;
		enum emul_result r;

		ck_assert_ptr_nonnull(exact);
		if (i % 4096 == 0)
			random_tables(&g);
		random_guest(&g);
		random_bytes(exact, len);
		before = g.regs;
		g.accesses = 0;
		r = emul_insn(&g.ctx, exact, len);
		free(exact);
		check_result(&g, r, &before, counts);
	}
	printf("random bytes: %u done, %u faults, %u unhandled, %u again\n", counts[EMUL_OK], counts[EMUL_FAULT],
	       counts[EMUL_UNHANDLED], counts[EMUL_AGAIN]);
	/* the generator must reach all ends */
	ck_assert(counts[0] > 100 && counts[1] > 100 && counts[2] > 100 && counts[3] > 0);
	guest_fini(&g);
}
END_TEST

/* Bytes cut off anywhere: the rest is fetched, the outcome is the same. */
START_TEST(test_truncated)
{
	static const char *const insns[] = {
		"89 07", "48 c7 44 24 10 78 56 34 12", "f0 48 0f b1 8c 4e 00 01 00 00", "f3 48 a5",
		"66 0f 6f 44 24 20", "c4 e1 7e 7f 46 20", "48 69 05 00 01 00 00 11 22 33 44", "0f 38 f0 06",
		"65 67 66 41 81 84 48 00 10 00 00 34 12",
	};
	unsigned int i, cut, n;
	uint8_t bytes[32];

	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		n = guest_hex(insns[i], bytes);
		for (cut = 0; cut <= n; cut++) {
			uint8_t *exact = malloc(cut ? cut : 1);
			struct guest g;
			uint64_t base;

			ck_assert_ptr_nonnull(exact);
			guest_init(&g);
			guest_long(&g);
			/* across a page boundary, too */
			base = cut & 1 ? 0x1ffe : 0x1100;
			g.regs.rip = base;
			g.regs.rsi = 0x4000;
			g.regs.rdi = 0x5000;
			g.regs.rcx = 3;
			memcpy(g.ram + base, bytes, n);
			memcpy(exact, bytes, cut);
			ck_assert_int_eq(emul_insn(&g.ctx, exact, cut), EMUL_OK);
			ck_assert_uint_eq(g.regs.rip, base + n);
			free(exact);
			guest_fini(&g);
		}
	}
}
END_TEST

TCase *emul_random_cases(void)
{
	TCase *tc = tcase_create("random");

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, test_random_bytes, 0, 4);
	tcase_add_test(tc, test_truncated);
	return tc;
}
