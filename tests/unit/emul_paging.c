// SPDX-License-Identifier: GPL-2.0-only
/* Page walks of every mode, with permissions and error codes from SDM vol. 3, chapter "Paging". */
#include "emul_guest.h"

#define P	0x001ULL
#define RW	0x002ULL
#define US	0x004ULL
#define A	0x020ULL
#define D	0x040ULL
#define PS	0x080ULL
#define NX	(1ULL << 63)
#define KEY(k)	((uint64_t)(k) << 59)

/* error code */
#define E_P	1
#define E_W	2
#define E_U	4
#define E_RSVD	8
#define E_I	16
#define E_PK	32

/* Tables of the tests, one page each from 0x10000; data pages at DATA. */
#define T5	0x10000ULL
#define T4	0x11000ULL
#define T3	0x12000ULL
#define T2	0x13000ULL
#define T1	0x14000ULL
#define DATA	0x20000ULL
#define LIN	0x40123000ULL	/* its PT index is 0x123, PD index 0, PDPT index 1, PML4 index 0 */

static void paging_on(struct guest *g, uint64_t cr3)
{
	g->sregs.cr3 = cr3;
	g->sregs.cr0 |= T_CR0_PG;
}

/* 4-level tables for LIN; flags: of the leaf. The instruction is always handed over, not fetched. */
static void map4(struct guest *g, uint64_t flags)
{
	guest_long(g);
	g->sregs.efer |= T_EFER_NX;
	guest_wr(g, T4, 8, T3 | P | RW | US);
	guest_wr(g, T3 + 8, 8, T2 | P | RW | US);
	guest_wr(g, T2, 8, T1 | P | RW | US);
	guest_wr(g, T1 + 0x123 * 8, 8, DATA | flags);
	paging_on(g, T4);
	g->regs.rdi = LIN + 0x10;
	g->regs.rax = 0x1122334455667788ULL;
}

#define STORE	"48 89 07"	/* mov [rdi], rax */
#define LOAD	"48 8b 07"	/* mov rax, [rdi] */

START_TEST(test_walk_4_level)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	ck_assert_int_eq(guest_insn(&g, LOAD), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0);
	/* a read sets A everywhere and D nowhere */
	ck_assert_uint_eq(guest_rd(&g, T4, 8), T3 | P | RW | US | A);
	ck_assert_uint_eq(guest_rd(&g, T3 + 8, 8), T2 | P | RW | US | A);
	ck_assert_uint_eq(guest_rd(&g, T2, 8), T1 | P | RW | US | A);
	ck_assert_uint_eq(guest_rd(&g, T1 + 0x123 * 8, 8), DATA | P | RW | A);
	g.regs.rax = 0x1122334455667788ULL;
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 8), 0x1122334455667788ULL);
	ck_assert_uint_eq(guest_rd(&g, T1 + 0x123 * 8, 8), DATA | P | RW | A | D);
	ck_assert_uint_eq(guest_rd(&g, T2, 8), T1 | P | RW | US | A);
	/* nothing left to set: no more atomics */
	g.cmpxchgs = 0;
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(g.cmpxchgs, 0);
	guest_fini(&g);
}
END_TEST

START_TEST(test_walk_5_level)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	g.sregs.cr4 |= T_CR4_LA57;
	guest_wr(&g, T5 + 3 * 8, 8, T4 | P | RW);
	g.sregs.cr3 = T5;
	g.regs.rdi += 3ULL << 48;	/* not canonical with 48 bits */
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 8), 0x1122334455667788ULL);
	ck_assert_uint_eq(guest_rd(&g, T5 + 3 * 8, 8), T4 | P | RW | A);
	g.regs.rdi = 1ULL << 56;
	expect_fault(&g, guest_insn(&g, STORE), 13, 0);
	guest_fini(&g);
}
END_TEST

START_TEST(test_walk_large)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	/* 2 MiB page at physical 0: offset within the page is bits 20:0 of LIN + 0x10 */
	guest_wr(&g, T2, 8, PS | P | RW);
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, (LIN + 0x10) & 0x1fffff, 8), 0x1122334455667788ULL);
	ck_assert_uint_eq(guest_rd(&g, T2, 8), PS | P | RW | A | D);
	/* bit 12 of a large page is PAT, not reserved; 13 is reserved */
	guest_wr(&g, T2, 8, PS | P | RW | 0x1000);
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	guest_wr(&g, T2, 8, PS | P | RW | 0x2000);
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_W | E_RSVD);
	/* 1 GiB */
	guest_wr(&g, 0x123010, 8, 0);
	guest_wr(&g, T3 + 8, 8, PS | P | RW);
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, (LIN + 0x10) & 0x3fffffff, 8), 0x1122334455667788ULL);
	guest_wr(&g, T3 + 8, 8, PS | P | RW | 0x200000);
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_W | E_RSVD);
	/* there are no 512 GiB pages */
	guest_wr(&g, T4, 8, PS | P | RW);
	expect_fault(&g, guest_insn(&g, LOAD), 14, E_P | E_RSVD);
	guest_fini(&g);
}
END_TEST

START_TEST(test_walk_32bit)
{
	struct guest g;

	guest_init(&g);
	guest_prot32(&g);
	/* 0x40123010: directory entry 0x100, table entry 0x123 */
	guest_wr(&g, T2 + 0x100 * 4, 4, T1 | P | RW | US);
	guest_wr(&g, T1 + 0x123 * 4, 4, DATA | P | RW);
	paging_on(&g, T2);
	g.regs.rdi = LIN + 0x10;
	g.regs.rax = 0xcafe;
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 4), 0xcafe);
	ck_assert_uint_eq(guest_rd(&g, T2 + 0x100 * 4, 4), T1 | P | RW | US | A);
	ck_assert_uint_eq(guest_rd(&g, T1 + 0x123 * 4, 8), DATA | P | RW | A | D);

	/* 4 MiB page: only with CR4.PSE, else the bit is ignored and this is a table at 0 */
	guest_wr(&g, T2 + 0x100 * 4, 4, PS | P | RW);
	expect_fault(&g, guest_insn(&g, "89 07"), 14, E_W);
	ck_assert_uint_eq(g.ctx.cr2, LIN + 0x10);
	g.sregs.cr4 |= T_CR4_PSE;
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x123010, 4), 0xcafe);
	/* bit 21 is reserved; bits 20:13 are address bits 39:32: a write that nobody answers */
	guest_wr(&g, T2 + 0x100 * 4, 4, PS | P | RW | 0x200000);
	expect_fault(&g, guest_insn(&g, "89 07"), 14, E_P | E_W | E_RSVD);
	guest_wr(&g, T2 + 0x100 * 4, 4, PS | P | RW | 0x2000);
	guest_wr(&g, 0x123010, 4, 0);
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x123010, 4), 0);
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0xffffffff);
	ck_assert_uint_eq(g.last_gpa, 0x100123010ULL);
	g.ctx.phys_bits = 32;
	expect_fault(&g, guest_insn(&g, "8b 07"), 14, E_P | E_RSVD);
	guest_fini(&g);
}
END_TEST

START_TEST(test_walk_pae)
{
	struct guest g;

	guest_init(&g);
	guest_prot32(&g);
	g.sregs.cr4 |= T_CR4_PAE;
	/* the PDPT may lie anywhere 32-byte aligned */
	guest_wr(&g, T3 + 0x20 + 8, 8, T2 | P);
	guest_wr(&g, T2, 8, T1 | P | RW | US);
	guest_wr(&g, T1 + 0x123 * 8, 8, DATA | P | RW | US);
	paging_on(&g, T3 + 0x20);
	g.regs.rdi = LIN + 0x10;
	g.regs.rax = 0xbeef;
	guest_user(&g);
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 4), 0xbeef);
	/* PDPTEs have neither permissions nor an accessed bit */
	ck_assert_uint_eq(guest_rd(&g, T3 + 0x20 + 8, 8), T2 | P);
	ck_assert_uint_eq(guest_rd(&g, T1 + 0x123 * 8, 8), DATA | P | RW | US | A | D);
	/* RW in a PDPTE is reserved, as are bits 62:52 of a PTE, and NX without EFER.NXE */
	guest_wr(&g, T3 + 0x20 + 8, 8, T2 | P | RW);
	expect_fault(&g, guest_insn(&g, "89 07"), 14, E_P | E_W | E_U | E_RSVD);
	guest_wr(&g, T3 + 0x20 + 8, 8, T2 | P);
	guest_wr(&g, T1 + 0x123 * 8, 8, DATA | P | RW | US | (1ULL << 52));
	expect_fault(&g, guest_insn(&g, "8b 07"), 14, E_P | E_U | E_RSVD);
	guest_wr(&g, T1 + 0x123 * 8, 8, DATA | P | RW | US | NX);
	expect_fault(&g, guest_insn(&g, "8b 07"), 14, E_P | E_U | E_RSVD);
	g.sregs.efer |= T_EFER_NX;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	/* 2 MiB page */
	guest_wr(&g, T2, 8, PS | P | RW | US);
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x123010, 4), 0xbeef);
	guest_fini(&g);
}
END_TEST

START_TEST(test_reserved_bits)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	g.ctx.phys_bits = 40;
	guest_wr(&g, T2, 8, T1 | P | RW | (1ULL << 40));
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_W | E_RSVD);
	guest_wr(&g, T2, 8, T1 | P | RW | (1ULL << 52));	/* software's */
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	/* not present: nothing else is looked at */
	guest_wr(&g, T2, 8, T1 | RW | (1ULL << 40));
	expect_fault(&g, guest_insn(&g, STORE), 14, E_W);
	ck_assert_uint_eq(g.ctx.cr2, LIN + 0x10);
	guest_wr(&g, T2, 8, T1 | P | RW | NX);
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	g.sregs.efer &= ~T_EFER_NX;
	expect_fault(&g, guest_insn(&g, LOAD), 14, E_P | E_RSVD);
	guest_fini(&g);
}
END_TEST

/* Each row: who does what to which leaf, and the error code (0: allowed). */
static const struct perm {
	uint64_t leaf;
	bool user, write, wp, smap, ac;
	uint32_t code;
} perms[] = {
	/* supervisor on supervisor pages */
	{ P | RW, 0, 0, 1, 0, 0, 0 },
	{ P | RW, 0, 1, 1, 0, 0, 0 },
	{ P, 0, 0, 1, 0, 0, 0 },
	{ P, 0, 1, 1, 0, 0, E_P | E_W },
	{ P, 0, 1, 0, 0, 0, 0 },		/* without WP */
	/* user on supervisor pages */
	{ P | RW, 1, 0, 1, 0, 0, E_P | E_U },
	{ P | RW, 1, 1, 1, 0, 0, E_P | E_U | E_W },
	/* user on user pages */
	{ P | RW | US, 1, 1, 1, 0, 0, 0 },
	{ P | US, 1, 0, 1, 0, 0, 0 },
	{ P | US, 1, 1, 1, 0, 0, E_P | E_U | E_W },
	{ P | US, 1, 1, 0, 0, 0, E_P | E_U | E_W },	/* WP is for supervisors */
	{ P | RW | US | NX, 1, 0, 1, 0, 0, 0 },		/* NX is for fetches */
	{ P | RW | US, 1, 1, 1, 1, 0, 0 },		/* SMAP is for supervisors */
	/* supervisor on user pages: SMAP, and AC that lifts it */
	{ P | RW | US, 0, 1, 1, 0, 0, 0 },
	{ P | RW | US, 0, 0, 1, 1, 0, E_P },
	{ P | RW | US, 0, 1, 1, 1, 0, E_P | E_W },
	{ P | RW | US, 0, 0, 1, 1, 1, 0 },
	{ P | RW | US, 0, 1, 1, 1, 1, 0 },
	{ P | US, 0, 1, 1, 1, 1, E_P | E_W },
	{ P | RW, 0, 1, 1, 1, 0, 0 },
	/* not present */
	{ 0, 0, 0, 1, 0, 0, 0x80000000 },
	{ 0, 1, 1, 1, 0, 0, E_U | E_W },
};

START_TEST(test_permissions)
{
	const struct perm *p = &perms[_i];
	uint64_t before;
	struct guest g;
	enum emul_result r;

	guest_init(&g);
	map4(&g, p->leaf);
	if (p->user)
		guest_user(&g);
	if (p->wp)
		g.sregs.cr0 |= T_CR0_WP;
	if (p->smap)
		g.sregs.cr4 |= T_CR4_SMAP;
	if (p->ac)
		g.regs.rflags |= T_FL_AC;
	before = guest_rd(&g, T1 + 0x123 * 8, 8);
	r = guest_insn(&g, p->write ? STORE : LOAD);
	if (!p->code) {
		ck_assert_int_eq(r, EMUL_OK);
	} else {
		expect_fault(&g, r, 14, p->code & 0xff);
		ck_assert_uint_eq(g.ctx.cr2, LIN + 0x10);
		ck_assert_uint_eq(guest_rd(&g, T1 + 0x123 * 8, 8), before);
		ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 8), 0);
		ck_assert_uint_eq(g.regs.rip, 0x1000);
		ck_assert_uint_eq(g.ctx.dirty, 0);
	}
	guest_fini(&g);
}
END_TEST

/* Permissions come from all levels, not only the leaf. */
START_TEST(test_upper_levels)
{
	static const uint64_t table[] = { T4, T3 + 8, T2 };
	static const uint64_t to[] = { T3, T2, T1 };
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW | US);
	guest_user(&g);
	g.sregs.cr0 |= T_CR0_WP;
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	guest_wr(&g, table[_i], 8, to[_i] | P | US);
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_W | E_U);
	ck_assert_int_eq(guest_insn(&g, LOAD), EMUL_OK);
	guest_wr(&g, table[_i], 8, to[_i] | P | RW);
	expect_fault(&g, guest_insn(&g, LOAD), 14, E_P | E_U);
	/* NX above the leaf stops a fetch */
	guest_wr(&g, table[_i], 8, to[_i] | P | RW | US | NX);
	g.regs.rip = LIN;
	expect_fault(&g, guest_fetch(&g), 14, E_P | E_U | E_I);
	guest_fini(&g);
}
END_TEST

START_TEST(test_protection_keys)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW | US | KEY(5));
	guest_user(&g);
	g.sregs.cr0 |= T_CR0_WP;
	g.pkru = 3U << 10;
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);	/* CR4.PKE is clear */
	g.sregs.cr4 |= T_CR4_PKE;
	expect_fault(&g, guest_insn(&g, LOAD), 14, E_P | E_U | E_PK);
	g.pkru = 2U << 10;	/* write disabled */
	ck_assert_int_eq(guest_insn(&g, LOAD), EMUL_OK);
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_U | E_W | E_PK);
	g.sregs.cpl = 0;
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_W | E_PK);
	g.sregs.cr0 &= ~T_CR0_WP;
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	g.pkru = 3U << 8;	/* another key */
	g.sregs.cpl = 3;
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	guest_fini(&g);
}
END_TEST

START_TEST(test_fetch)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P);
	guest_wr(&g, T1 + 0x124 * 8, 8, (DATA + 0x5000) | P);
	/* mov dword [rsp], 0x12345678 across two pages that are not adjacent in memory */
	memcpy(g.ram + DATA + 0xffd, "\xc7\x04\x24", 3);
	memcpy(g.ram + DATA + 0x5000, "\x78\x56\x34\x12", 4);
	g.regs.rip = LIN + 0xffd;
	g.regs.rsp = LIN + 0x2000;
	guest_wr(&g, T1 + 0x125 * 8, 8, (DATA + 0x6000) | P | RW);
	ck_assert_int_eq(guest_fetch(&g), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x6000, 4), 0x12345678);
	ck_assert_uint_eq(g.regs.rip, LIN + 0x1004);

	/* second page missing: CR2 is its first byte */
	guest_wr(&g, T1 + 0x124 * 8, 8, 0);
	g.regs.rip = LIN + 0xffd;
	expect_fault(&g, guest_fetch(&g), 14, E_I);
	ck_assert_uint_eq(g.ctx.cr2, LIN + 0x1000);
	/* NX */
	guest_wr(&g, T1 + 0x123 * 8, 8, DATA | P | NX);
	expect_fault(&g, guest_fetch(&g), 14, E_P | E_I);
	/* SMEP; and without NXE and SMEP the I bit is never reported */
	guest_wr(&g, T1 + 0x123 * 8, 8, DATA | P | US);
	guest_wr(&g, T1 + 0x124 * 8, 8, (DATA + 0x5000) | P | US);
	ck_assert_int_eq(guest_fetch(&g), EMUL_OK);
	g.regs.rip = LIN + 0xffd;
	g.sregs.cr4 |= T_CR4_SMEP;
	expect_fault(&g, guest_fetch(&g), 14, E_P | E_I);
	g.sregs.cr4 &= ~T_CR4_SMEP;
	g.sregs.efer &= ~T_EFER_NX;
	guest_wr(&g, T1 + 0x123 * 8, 8, 0);
	expect_fault(&g, guest_fetch(&g), 14, 0);
	guest_fini(&g);
}
END_TEST

/* An operand across two pages: both are checked before anything is written. */
START_TEST(test_crossing)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	guest_wr(&g, T1 + 0x124 * 8, 8, (DATA + 0x3000) | P);
	g.sregs.cr0 |= T_CR0_WP;
	g.regs.rdi = LIN + 0xffc;
	expect_fault(&g, guest_insn(&g, STORE), 14, E_P | E_W);
	ck_assert_uint_eq(g.ctx.cr2, LIN + 0x1000);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0xffc, 4), 0);
	guest_wr(&g, T1 + 0x124 * 8, 8, (DATA + 0x3000) | P | RW);
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0xffc, 4), 0x55667788);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x3000, 4), 0x11223344);
	g.regs.rax = 0;
	ck_assert_int_eq(guest_insn(&g, LOAD), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0x1122334455667788ULL);
	/* lock add, split: done without the atomic */
	g.cmpxchgs = 0;
	ck_assert_int_eq(guest_insn(&g, "f0 48 01 07"), EMUL_OK);
	ck_assert_uint_eq(g.cmpxchgs, 0);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x3000, 4), 0x22446688);
	guest_fini(&g);
}
END_TEST

/* Another vCPU changes an entry while its accessed bit is set: the walk starts over. */
START_TEST(test_walk_race)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	/* the race adds 1 to the low byte: P | RW | US = 7 becomes 8, not present */
	g.races = 1;
	expect_fault(&g, guest_insn(&g, STORE), 14, E_W);
	ck_assert_uint_eq(guest_rd(&g, T4, 8), (T3 | P | RW | US) + 1);
	guest_fini(&g);
}
END_TEST

/* Tables in a device or nowhere: read as ones, reserved bits set; no loop, no crash. */
START_TEST(test_tables_nowhere)
{
	struct guest g;

	guest_init(&g);
	map4(&g, P | RW);
	g.sregs.cr3 = 0x7ff000000ULL;
	expect_fault(&g, guest_insn(&g, LOAD), 14, E_P | E_RSVD);
	/* a self-referencing table is a valid one */
	g.sregs.cr3 = T4;
	memset(g.ram + T4, 0, 4096);
	guest_wr(&g, T4, 8, T4 | P | RW);
	guest_wr(&g, T4 + 8, 8, T4 | P | RW);
	guest_wr(&g, T4 + 0x123 * 8, 8, T4 | P | RW);
	ck_assert_int_eq(guest_insn(&g, STORE), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, T4 + 0x10, 8), 0x1122334455667788ULL);
	guest_fini(&g);
}
END_TEST

/* Virtual-8086 mode runs at CPL 3 whatever the segments say; compatibility mode uses 4-level tables. */
START_TEST(test_other_modes)
{
	struct guest g;

	guest_init(&g);
	guest_real(&g);
	g.sregs.cr0 |= T_CR0_PE;
	g.sregs.cpl = 0;	/* RFLAGS.VM decides */
	g.regs.rflags |= T_FL_VM;
	/* DS base 0x30000: linear 0x30010, table entry 0x30 */
	guest_wr(&g, T2, 4, T1 | P | RW | US);
	guest_wr(&g, T1 + 0x30 * 4, 4, DATA | P | RW);
	paging_on(&g, T2);
	g.regs.rbx = 0x10;
	g.regs.rax = 0x4321;
	expect_fault(&g, guest_insn(&g, "89 07"), 14, E_P | E_W | E_U);
	ck_assert_uint_eq(g.ctx.cr2, 0x30010);
	guest_wr(&g, T1 + 0x30 * 4, 4, DATA | P | RW | US);
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 4), 0x4321);

	memset(g.ram, 0, RAM_SIZE);
	g.regs.rflags = 2;
	g.sregs.cpl = 0;
	map4(&g, P | RW);
	g.sregs.cs.attr = CODE_RX | HVX_SEG_DB | HVX_SEG_G;	/* compatibility */
	g.sregs.ds.base = 0xf0000000;
	g.regs.rdi = LIN + 0x10 + 0x10000000;	/* base + offset wraps at 4 GiB */
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, DATA + 0x10, 8), 0x55667788);
	guest_fini(&g);
}
END_TEST

TCase *emul_paging_cases(void)
{
	TCase *tc = tcase_create("paging");

	tcase_add_test(tc, test_walk_4_level);
	tcase_add_test(tc, test_walk_5_level);
	tcase_add_test(tc, test_walk_large);
	tcase_add_test(tc, test_walk_32bit);
	tcase_add_test(tc, test_walk_pae);
	tcase_add_test(tc, test_reserved_bits);
	tcase_add_loop_test(tc, test_permissions, 0, sizeof(perms) / sizeof(perms[0]));
	tcase_add_loop_test(tc, test_upper_levels, 0, 3);
	tcase_add_test(tc, test_protection_keys);
	tcase_add_test(tc, test_fetch);
	tcase_add_test(tc, test_crossing);
	tcase_add_test(tc, test_walk_race);
	tcase_add_test(tc, test_tables_nowhere);
	tcase_add_test(tc, test_other_modes);
	return tc;
}
