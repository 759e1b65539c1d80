// SPDX-License-Identifier: GPL-2.0-only
/* What is compared with the CPU: tables of encodings, and the generator of operands around them. */
#include "emul_native.h"

#include <stdio.h>
#include <string.h>

enum { NOIMM, I8, IZ, I16 };

/* Flags that the manuals leave undefined after an instruction. */
enum undef { U_NONE, U_LOGIC, U_MUL, U_DIV, U_SCAN, U_COUNT, U_BT, U_SHIFT, U_ROTATE, U_SHLD };

#define MEM	0x01	/* memory operand only */
#define LOCK	0x02	/* LOCK is legal with a memory operand */
#define SPLIT	0x04	/* never across an alignment boundary (locked by itself) */
#define NOMRM	0x08	/* no ModRM: accumulator and immediate */
#define BITS	0x10	/* the register operand is a bit offset */
#define DIVIDE	0x20
#define ACC	0x40	/* compares with the accumulator */

struct tmpl {
	const char *name;
	uint8_t map, op;
	int8_t reg;		/* ModRM.reg, -1 any register */
	uint8_t pfx;		/* mandatory prefix */
	uint8_t sizes;		/* operand sizes, OR of 1 2 4 8 */
	uint8_t imm;
	enum undef undef;
	uint8_t fl;
};

#define W	(2 | 4 | 8)

#define ALU(name, base, undef, fl) \
	{ name " rm8,r8", 0, base + 0, -1, 0, 1, NOIMM, undef, fl }, \
	{ name " rm,r", 0, base + 1, -1, 0, W, NOIMM, undef, fl }, \
	{ name " r8,rm8", 0, base + 2, -1, 0, 1, NOIMM, undef, 0 }, \
	{ name " r,rm", 0, base + 3, -1, 0, W, NOIMM, undef, 0 }, \
	{ name " al,imm", 0, base + 4, -1, 0, 1, I8, undef, NOMRM }, \
	{ name " ax,imm", 0, base + 5, -1, 0, W, IZ, undef, NOMRM }, \
	{ name " rm8,imm", 0, 0x80, base / 8, 0, 1, I8, undef, fl }, \
	{ name " rm,imm", 0, 0x81, base / 8, 0, W, IZ, undef, fl }, \
	{ name " rm,imm8", 0, 0x83, base / 8, 0, W, I8, undef, fl }

#define SHIFT(name, r, undef) \
	{ name " rm8,imm", 0, 0xc0, r, 0, 1, I8, undef, 0 }, \
	{ name " rm,imm", 0, 0xc1, r, 0, W, I8, undef, 0 }, \
	{ name " rm8,1", 0, 0xd0, r, 0, 1, NOIMM, undef, 0 }, \
	{ name " rm,1", 0, 0xd1, r, 0, W, NOIMM, undef, 0 }, \
	{ name " rm8,cl", 0, 0xd2, r, 0, 1, NOIMM, undef, 0 }, \
	{ name " rm,cl", 0, 0xd3, r, 0, W, NOIMM, undef, 0 }

#define GRP3(name, r, undef, fl) \
	{ name " rm8", 0, 0xf6, r, 0, 1, NOIMM, undef, fl }, \
	{ name " rm", 0, 0xf7, r, 0, W, NOIMM, undef, fl }

#define BT(name, op, r, fl) \
	{ name " rm,r", 1, op, -1, 0, W, NOIMM, U_BT, fl | BITS }, \
	{ name " rm,imm", 1, 0xba, r, 0, W, I8, U_BT, fl }

#define CC4(name, op, sz, n) \
	{ name "." #n "0", 1, op + n, -1, 0, sz, NOIMM, U_NONE, 0 }, \
	{ name "." #n "1", 1, op + n + 1, -1, 0, sz, NOIMM, U_NONE, 0 }, \
	{ name "." #n "2", 1, op + n + 2, -1, 0, sz, NOIMM, U_NONE, 0 }, \
	{ name "." #n "3", 1, op + n + 3, -1, 0, sz, NOIMM, U_NONE, 0 }
#define CC(name, op, sz) \
	CC4(name, op, sz, 0), CC4(name, op, sz, 4), CC4(name, op, sz, 8), CC4(name, op, sz, 12)

static const struct tmpl tmpls[] = {
	ALU("add", 0x00, U_NONE, LOCK),
	ALU("or", 0x08, U_LOGIC, LOCK),
	ALU("adc", 0x10, U_NONE, LOCK),
	ALU("sbb", 0x18, U_NONE, LOCK),
	ALU("and", 0x20, U_LOGIC, LOCK),
	ALU("sub", 0x28, U_NONE, LOCK),
	ALU("xor", 0x30, U_LOGIC, LOCK),
	ALU("cmp", 0x38, U_NONE, 0),
	{ "test rm8,r8", 0, 0x84, -1, 0, 1, NOIMM, U_LOGIC, 0 },
	{ "test rm,r", 0, 0x85, -1, 0, W, NOIMM, U_LOGIC, 0 },
	{ "test al,imm", 0, 0xa8, -1, 0, 1, I8, U_LOGIC, NOMRM },
	{ "test ax,imm", 0, 0xa9, -1, 0, W, IZ, U_LOGIC, NOMRM },
	{ "test rm8,imm", 0, 0xf6, 0, 0, 1, I8, U_LOGIC, 0 },
	{ "test rm,imm", 0, 0xf7, 0, 0, W, IZ, U_LOGIC, 0 },
	{ "test rm8,imm /1", 0, 0xf6, 1, 0, 1, I8, U_LOGIC, 0 },
	GRP3("not", 2, U_NONE, LOCK),
	GRP3("neg", 3, U_NONE, LOCK),
	GRP3("mul", 4, U_MUL, 0),
	GRP3("imul", 5, U_MUL, 0),
	GRP3("div", 6, U_DIV, DIVIDE),
	GRP3("idiv", 7, U_DIV, DIVIDE),
	{ "inc rm8", 0, 0xfe, 0, 0, 1, NOIMM, U_NONE, LOCK },
	{ "dec rm8", 0, 0xfe, 1, 0, 1, NOIMM, U_NONE, LOCK },
	{ "inc rm", 0, 0xff, 0, 0, W, NOIMM, U_NONE, LOCK },
	{ "dec rm", 0, 0xff, 1, 0, W, NOIMM, U_NONE, LOCK },
	{ "imul r,rm", 1, 0xaf, -1, 0, W, NOIMM, U_MUL, 0 },
	{ "imul r,rm,imm", 0, 0x69, -1, 0, W, IZ, U_MUL, 0 },
	{ "imul r,rm,imm8", 0, 0x6b, -1, 0, W, I8, U_MUL, 0 },

	SHIFT("rol", 0, U_ROTATE),
	SHIFT("ror", 1, U_ROTATE),
	SHIFT("rcl", 2, U_ROTATE),
	SHIFT("rcr", 3, U_ROTATE),
	SHIFT("shl", 4, U_SHIFT),
	SHIFT("shr", 5, U_SHIFT),
	SHIFT("sal", 6, U_SHIFT),
	SHIFT("sar", 7, U_SHIFT),
	{ "shld imm", 1, 0xa4, -1, 0, W, I8, U_SHLD, 0 },
	{ "shld cl", 1, 0xa5, -1, 0, W, NOIMM, U_SHLD, 0 },
	{ "shrd imm", 1, 0xac, -1, 0, W, I8, U_SHLD, 0 },
	{ "shrd cl", 1, 0xad, -1, 0, W, NOIMM, U_SHLD, 0 },
	BT("bt", 0xa3, 4, 0),
	BT("bts", 0xab, 5, LOCK),
	BT("btr", 0xb3, 6, LOCK),
	BT("btc", 0xbb, 7, LOCK),
	{ "bsf", 1, 0xbc, -1, 0, W, NOIMM, U_SCAN, 0 },
	{ "bsr", 1, 0xbd, -1, 0, W, NOIMM, U_SCAN, 0 },
	{ "tzcnt", 1, 0xbc, -1, 0xf3, W, NOIMM, U_COUNT, 0 },
	{ "lzcnt", 1, 0xbd, -1, 0xf3, W, NOIMM, U_COUNT, 0 },
	{ "popcnt", 1, 0xb8, -1, 0xf3, W, NOIMM, U_NONE, 0 },
	CC("set", 0x90, 1),
	CC("cmov", 0x40, W),

	{ "mov rm8,r8", 0, 0x88, -1, 0, 1, NOIMM, U_NONE, 0 },
	{ "mov rm,r", 0, 0x89, -1, 0, W, NOIMM, U_NONE, 0 },
	{ "mov r8,rm8", 0, 0x8a, -1, 0, 1, NOIMM, U_NONE, 0 },
	{ "mov r,rm", 0, 0x8b, -1, 0, W, NOIMM, U_NONE, 0 },
	{ "mov rm8,imm", 0, 0xc6, 0, 0, 1, I8, U_NONE, 0 },
	{ "mov rm,imm", 0, 0xc7, 0, 0, W, IZ, U_NONE, 0 },
	{ "movzx r,rm8", 1, 0xb6, -1, 0, W, NOIMM, U_NONE, MEM },
	{ "movzx r,rm16", 1, 0xb7, -1, 0, W, NOIMM, U_NONE, 0 },
	{ "movsx r,rm8", 1, 0xbe, -1, 0, W, NOIMM, U_NONE, 0 },
	{ "movsx r,rm16", 1, 0xbf, -1, 0, W, NOIMM, U_NONE, 0 },
	{ "movsxd", 0, 0x63, -1, 0, W, NOIMM, U_NONE, 0 },
	{ "movbe r,m", 2, 0xf0, -1, 0, W, NOIMM, U_NONE, MEM },
	{ "movbe m,r", 2, 0xf1, -1, 0, W, NOIMM, U_NONE, MEM },
	{ "movnti", 1, 0xc3, -1, 0, 4 | 8, NOIMM, U_NONE, MEM },
	{ "xchg rm8,r8", 0, 0x86, -1, 0, 1, NOIMM, U_NONE, LOCK | SPLIT },
	{ "xchg rm,r", 0, 0x87, -1, 0, W, NOIMM, U_NONE, LOCK | SPLIT },
	{ "xadd rm8,r8", 1, 0xc0, -1, 0, 1, NOIMM, U_NONE, LOCK },
	{ "xadd rm,r", 1, 0xc1, -1, 0, W, NOIMM, U_NONE, LOCK },
	{ "cmpxchg rm8,r8", 1, 0xb0, -1, 0, 1, NOIMM, U_NONE, LOCK | ACC },
	{ "cmpxchg rm,r", 1, 0xb1, -1, 0, W, NOIMM, U_NONE, LOCK | ACC },
	{ "cmpxchg8b/16b", 1, 0xc7, 1, 0, 4 | 8, NOIMM, U_NONE, MEM | LOCK | ACC },
	{ "clflush", 1, 0xae, 7, 0, 4, NOIMM, U_NONE, MEM },
};

/* One instruction to be encoded around random operands. */
struct form {
	uint8_t map, op, pfx, size;
	bool modrm, mem, lock, addr32, gs, w;
	bool vex, vex_l;
	uint8_t vex_v;
	int reg, rm;
	uint64_t target;	/* address of the memory operand */
	int imm_len;
	uint64_t imm;
	uint32_t keep;		/* registers that must not become base or index */
	uint32_t used;		/* out: registers that did */
};

static void put8(struct trial *t, uint8_t b)
{
	t->insn[t->len++] = b;
}

static void put_bytes(struct trial *t, uint64_t v, int n)
{
	for (; n; n--, v >>= 8)
		put8(t, v & 0xff);
}

static int pick_reg(uint32_t not)
{
	int r;

	do {
		r = rnd_below(16);
	} while (not & (1U << r));
	return r;
}

static void put_prefixes(const struct form *f, struct trial *t)
{
	uint8_t list[6];
	int n = 0, i;

	if (f->lock)
		list[n++] = 0xf0;
	if (!f->vex && (f->size == 2 || f->pfx == 0x66))
		list[n++] = 0x66;
	if (f->gs)
		list[n++] = 0x65;
	else if (rnd_below(16) == 0)
		list[n++] = rnd_below(2) ? 0x2e : 0x36;	/* without meaning in 64-bit mode */
	if (f->addr32)
		list[n++] = 0x67;
	if (!f->vex && f->pfx >= 0xf2)
		list[n++] = f->pfx;
	while (n) {
		i = rnd_below(n);
		put8(t, list[i]);
		list[i] = list[--n];
	}
}

static void put_opcode(const struct form *f, struct trial *t, int rm, int index)
{
	uint8_t rex = (f->w ? 8 : 0) | (f->reg & 8 ? 4 : 0) | (index & 8 ? 2 : 0) | (rm & 8 ? 1 : 0);
	uint8_t pp = f->pfx == 0x66 ? 1 : f->pfx == 0xf3 ? 2 : f->pfx == 0xf2 ? 3 : 0;
	uint8_t tail = (~f->vex_v & 15) << 3 | (f->vex_l ? 4 : 0) | pp;

	if (f->vex && f->map == 1 && !(rex & 11) && rnd_below(2)) {
		put8(t, 0xc5);
		put8(t, (rex & 4 ? 0 : 0x80) | tail);
	} else if (f->vex) {
		put8(t, 0xc4);
		put8(t, (~rex & 7) << 5 | f->map);
		put8(t, (f->w ? 0x80 : 0) | tail);
	} else {
		if (rex || rnd_below(4) == 0)
			put8(t, 0x40 | rex);
		if (f->map)
			put8(t, 0x0f);
		if (f->map == 2)
			put8(t, 0x38);
	}
	put8(t, f->op);
}

/* Registers and displacement such that base + (index << scale) + disp is the target. */
static void encode_mem(struct form *f, struct trial *t)
{
	enum { BASE, BASE_INDEX, INDEX, ABS, RIP } kind = rnd_below(5);
	uint64_t off = f->target - (f->gs ? nat.gs_base : 0);
	int base = -1, index = -1, scale = rnd_below(4), disp_len, disp_at, mod;
	uint64_t garbage = f->addr32 ? rnd() << 32 : 0;
	int64_t disp = rnd_below(2) ? (int8_t)rnd() : (int32_t)rnd();
	bool sib;

	if (kind == BASE && rnd_below(4) == 0)
		disp = 0;
	if (kind == BASE || kind == BASE_INDEX)
		base = pick_reg(f->keep);
	if (kind == BASE_INDEX || kind == INDEX)
		index = pick_reg(f->keep | 1U << 4 | (base >= 0 ? 1U << base : 0));
	if (kind == INDEX) {
		disp -= (int64_t)((uint64_t)disp - off) & ((1 << scale) - 1);
		if (disp != (int32_t)disp)
			disp = off & ((1 << scale) - 1);
		t->in.gpr[index] = (uint64_t)((int64_t)(off - disp) >> scale);
		if (f->addr32 && !scale)
			t->in.gpr[index] += garbage;
	}
	if (base >= 0)
		t->in.gpr[base] = off - disp + garbage - (index >= 0 ? t->in.gpr[index] << scale : 0);
	if (kind == ABS)
		disp = off;
	f->used = (base >= 0 ? 1U << base : 0) | (index >= 0 ? 1U << index : 0);

	sib = kind == INDEX || kind == ABS || kind == BASE_INDEX || (base & 7) == 4 || rnd_below(8) == 0;
	if (kind == RIP)
		sib = false;
	if (base < 0)
		mod = 0;
	else if (disp == 0 && (base & 7) != 5)
		mod = 0;
	else
		mod = disp == (int8_t)disp && rnd_below(4) ? 1 : 2;
	disp_len = base < 0 ? 4 : mod == 1 ? 1 : mod == 2 ? 4 : 0;

	put_opcode(f, t, base < 0 ? 0 : base, index < 0 ? 0 : index);
	put8(t, mod << 6 | (f->reg & 7) << 3 | (sib ? 4 : base < 0 ? 5 : base & 7));
	if (sib)
		put8(t, scale << 6 | (index < 0 ? 4 : index & 7) << 3 | (base < 0 ? 5 : base & 7));
	disp_at = t->len;
	put_bytes(t, disp, disp_len);
	put_bytes(t, f->imm, f->imm_len);
	if (kind == RIP) {
		uint32_t rel = off - (native_insn_addr() + t->len);

		memcpy(t->insn + disp_at, &rel, 4);
	}
}

static void encode(struct form *f, struct trial *t)
{
	t->len = 0;
	f->used = 0;
	put_prefixes(f, t);
	if (f->modrm && f->mem) {
		encode_mem(f, t);
		return;
	}
	put_opcode(f, t, f->modrm ? f->rm : 0, 0);
	if (f->modrm)
		put8(t, 0xc0 | (f->reg & 7) << 3 | (f->rm & 7));
	put_bytes(t, f->imm, f->imm_len);
}

static uint64_t buf_addr(void)
{
	return (uint64_t)(uintptr_t)nat.area->mem;
}

static uint64_t stack_addr(void)
{
	return buf_addr() + BUF_SIZE;
}

static void random_state(struct trial *t, const char *name)
{
	uint64_t *words = (uint64_t *)nat.area->mem;
	unsigned int i;

	memset(t, 0, sizeof(*t));
	t->name = name;
	for (i = 0; i < 16; i++)
		t->in.gpr[i] = rnd_value();
	t->in.gpr[4] = stack_addr() + STACK_SIZE / 2;
	t->in.flags = 0x202 | (rnd() & FLAGS_ARITH);
	if (rnd_below(8) == 0)
		t->in.flags |= FLAG_DF;
	for (i = 0; i < sizeof(t->in.ymm) / 8; i++)
		((uint64_t *)t->in.ymm)[i] = rnd();
	for (i = 0; i < MEM_SIZE / 8; i++)
		words[i] = rnd();
}

/* Somewhere in the middle of the buffer, sometimes across its page boundary. */
static uint64_t pick_target(unsigned int size, bool aligned)
{
	uint64_t at = buf_addr() + 2048 + rnd_below(4096);

	if (rnd_below(8) == 0)
		at = buf_addr() + 4096 - rnd_below(size + 1);
	return aligned ? at & ~(uint64_t)(size - 1) : at;
}

static unsigned int one_of(unsigned int sizes)
{
	unsigned int s;

	do {
		s = 1U << rnd_below(4);
	} while (!(s & sizes));
	return s;
}

static unsigned int count_of(const struct tmpl *m, const struct form *f, const struct trial *t)
{
	unsigned int mask = f->size == 8 ? 63 : 31;

	if (m->imm == I8)
		return f->imm & mask;
	if (f->op == 0xd0 || f->op == 0xd1)
		return 1;
	return t->in.gpr[1] & mask;
}

static void set_undefined(const struct tmpl *m, const struct form *f, struct trial *t)
{
	unsigned int n = count_of(m, f, t);

	switch (m->undef) {
	case U_NONE:
		break;
	case U_LOGIC:
		t->undef = FLAG_AF;
		break;
	case U_MUL:
		t->undef = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
		break;
	case U_DIV:
		t->undef = FLAGS_ARITH;
		break;
	case U_SCAN:
		t->undef = FLAGS_ARITH & ~FLAG_ZF;
		break;
	case U_COUNT:
		t->undef = FLAGS_ARITH & ~(FLAG_ZF | FLAG_CF);
		break;
	case U_BT:
		t->undef = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
		break;
	case U_SHIFT:
	case U_SHLD:
		if (n)
			t->undef = FLAG_AF;
		if (n > 1)
			t->undef |= FLAG_OF;
		if (n >= f->size * 8u && m->undef == U_SHIFT)
			t->undef |= FLAG_CF;
		break;
	case U_ROTATE:
		if (n > 1)
			t->undef = FLAG_OF;
		break;
	}
}

/* Make the interesting outcomes common: equal comparisons, quotients that fit. */
static void steer(const struct tmpl *m, const struct form *f, struct trial *t)
{
	uint64_t *rax = &t->in.gpr[0], *rdx = &t->in.gpr[2], op = 0;

	memcpy(&op, (void *)(uintptr_t)f->target, f->size);
	if (!f->mem)
		op = t->in.gpr[f->rm];
	if ((m->fl & ACC) && rnd_below(2) && !(f->used & 1))
		*rax = op;
	if ((m->fl & ACC) && f->op == 0xc7 && rnd_below(2) && !(f->used & 5)) {
		memcpy(rax, (void *)(uintptr_t)f->target, f->size);
		memcpy(rdx, (void *)(uintptr_t)(f->target + f->size), f->size);
	}
	if ((m->fl & DIVIDE) && rnd_below(4) && !(f->used & 5) && (f->mem || (f->rm != 0 && f->rm != 2))) {
		if (f->size == 1)
			*rax = rnd_below((op & 0xff) / 2 + 1) << 8 | rnd_below(256);
		else if (rnd_below(2))
			*rdx = rnd() % (op / 2 + 1);
		else
			*rdx = *rax >> (f->size * 8 - 1) & 1 ? ~0ULL : 0;
	}
}

static void one_case(const struct tmpl *m)
{
	bool want_lock = rnd_below(m->fl & LOCK ? 3 : 24) == 0;
	struct form f = { .map = m->map, .op = m->op, .pfx = m->pfx, .lock = want_lock };
	unsigned int len;
	struct trial t;

	random_state(&t, m->name);
	f.size = one_of(m->sizes);
	f.w = f.size == 8;
	len = m->op == 0xc7 && m->map == 1 ? f.size * 2 : f.size;
	f.modrm = !(m->fl & NOMRM);
	f.mem = f.modrm && ((m->fl & MEM) || rnd_below(4));
	f.reg = m->reg >= 0 ? m->reg : f.modrm ? (int)rnd_below(16) : 0;
	f.rm = rnd_below(16);
	f.gs = rnd_below(6) == 0;
	f.addr32 = rnd_below(6) == 0;
	f.imm_len = m->imm == I8 ? 1 : m->imm == IZ ? (f.size == 2 ? 2 : 4) : 0;
	f.imm = rnd_value();
	f.target = pick_target(len, want_lock || (m->fl & SPLIT));
	/* CMPXCHG16B faults unless aligned */
	if (len == 16 && rnd_below(8))
		f.target &= ~15ULL;
	if (f.mem && (m->fl & BITS)) {
		int64_t bit = (int64_t)rnd_below(16000) - 8000;

		f.keep = 1U << f.reg;
		t.in.gpr[f.reg] = f.size == 8 ? (uint64_t)bit : (rnd() << (f.size * 8)) +
				  ((uint64_t)bit & ((1ULL << (f.size * 8)) - 1));
		/* rSP can be an index for nobody, and only here a bit offset */
	}
	encode(&f, &t);
	if (f.mem && rnd_below(4) == 0) {
		uint64_t v = rnd_value();

		memcpy((void *)(uintptr_t)f.target, &v, f.size);
	}
	steer(m, &f, &t);
	set_undefined(m, &f, &t);
	/* SDM vol. 2, SHLD: with a count above the operand size everything is undefined */
	if (m->undef == U_SHLD && count_of(m, &f, &t) > f.size * 8u)
		return;
	/* BSF, BSR of zero: some CPUs clear the upper half of a 32-bit destination */
	if (m->undef == U_SCAN && f.size == 4)
		t.undef_gpr = 1U << f.reg;
	native_compare(&t);
}

START_TEST(test_native_integer)
{
	const struct tmpl *m = &tmpls[_i];
	int i;

	native_setup();
	rnd_seed(1 + _i);
	for (i = 0; i < 400; i++)
		one_case(m);
	printf("native %-18s %u cases, %u of them faults\n", m->name, nat.cases, nat.faults);
}
END_TEST

/* ------------------------------------------------------------ vector moves */

#define VLOAD	0x01
#define VMERGE	0x02
#define VALIGN	0x04
#define VANYL	0x08	/* VEX.L ignored */
#define VFULL	0x10
#define VBYW	0x20	/* 4 or 8 by REX.W */
#define VAVX2	0x40	/* the 256-bit form is AVX2's */

static const struct vtmpl {
	const char *name;
	uint8_t map, op, pfx, fl;
} vtmpls[] = {
	{ "movups load", 1, 0x10, 0, VLOAD | VFULL },
	{ "movups store", 1, 0x11, 0, VFULL },
	{ "movupd load", 1, 0x10, 0x66, VLOAD | VFULL },
	{ "movupd store", 1, 0x11, 0x66, VFULL },
	{ "movss load", 1, 0x10, 0xf3, VLOAD | VANYL },
	{ "movss store", 1, 0x11, 0xf3, VANYL },
	{ "movsd load", 1, 0x10, 0xf2, VLOAD | VANYL },
	{ "movsd store", 1, 0x11, 0xf2, VANYL },
	{ "movlps load", 1, 0x12, 0, VLOAD | VMERGE },
	{ "movlps store", 1, 0x13, 0, 0 },
	{ "movlpd load", 1, 0x12, 0x66, VLOAD | VMERGE },
	{ "movlpd store", 1, 0x13, 0x66, 0 },
	{ "movhps load", 1, 0x16, 0, VLOAD | VMERGE },
	{ "movhps store", 1, 0x17, 0, 0 },
	{ "movhpd load", 1, 0x16, 0x66, VLOAD | VMERGE },
	{ "movhpd store", 1, 0x17, 0x66, 0 },
	{ "movaps load", 1, 0x28, 0, VLOAD | VFULL | VALIGN },
	{ "movaps store", 1, 0x29, 0, VFULL | VALIGN },
	{ "movapd load", 1, 0x28, 0x66, VLOAD | VFULL | VALIGN },
	{ "movapd store", 1, 0x29, 0x66, VFULL | VALIGN },
	{ "movntps", 1, 0x2b, 0, VFULL | VALIGN },
	{ "movntpd", 1, 0x2b, 0x66, VFULL | VALIGN },
	{ "movd/q load", 1, 0x6e, 0x66, VLOAD | VBYW },
	{ "movd/q store", 1, 0x7e, 0x66, VBYW },
	{ "movq load", 1, 0x7e, 0xf3, VLOAD },
	{ "movq store", 1, 0xd6, 0x66, 0 },
	{ "movdqa load", 1, 0x6f, 0x66, VLOAD | VFULL | VALIGN },
	{ "movdqa store", 1, 0x7f, 0x66, VFULL | VALIGN },
	{ "movdqu load", 1, 0x6f, 0xf3, VLOAD | VFULL },
	{ "movdqu store", 1, 0x7f, 0xf3, VFULL },
	{ "movntdq", 1, 0xe7, 0x66, VFULL | VALIGN },
	{ "lddqu", 1, 0xf0, 0xf2, VLOAD | VFULL },
	{ "movntdqa", 2, 0x2a, 0x66, VLOAD | VFULL | VALIGN | VAVX2 },
};

static void one_vector_case(const struct vtmpl *m)
{
	struct form f = { .map = m->map, .op = m->op, .pfx = m->pfx, .modrm = true, .mem = true };
	unsigned int len;
	struct trial t;

	random_state(&t, m->name);
	f.vex = nat.avx && rnd_below(2);
	/* VEX.L and VEX.vvvv also where they must not be set: #UD on both sides */
	f.vex_l = f.vex && rnd_below(m->fl & (VFULL | VANYL) ? 2 : 8) == 0;
	if (f.vex_l && (m->fl & VAVX2) && !__builtin_cpu_supports("avx2"))
		f.vex_l = false;
	if (f.vex && rnd_below(m->fl & VMERGE ? 1 : 10) == 0)
		f.vex_v = rnd_below(16);
	f.w = (m->fl & VBYW) && rnd_below(2);
	f.reg = rnd_below(16);
	f.gs = rnd_below(6) == 0;
	f.addr32 = rnd_below(6) == 0;
	len = m->fl & VFULL ? (f.vex_l ? 32 : 16) : 8;
	f.target = pick_target(len, (m->fl & VALIGN) && rnd_below(5));
	encode(&f, &t);
	native_compare(&t);
}

START_TEST(test_native_vector)
{
	const struct vtmpl *m = &vtmpls[_i];
	int i;

	native_setup();
	rnd_seed(1000 + _i);
	for (i = 0; i < 400; i++)
		one_vector_case(m);
	printf("native %-18s %u cases, %u of them faults%s\n", m->name, nat.cases, nat.faults,
	       nat.avx ? "" : " (no AVX here: VEX forms SKIPPED)");
}
END_TEST

/* ----------------------------------------------- stack, string, the others */

static const char *const string_names[] = { "movs", "cmps", "stos", "lods", "scas" };

static void one_string_case(int which)
{
	static const uint8_t op[] = { 0xa4, 0xa6, 0xaa, 0xac, 0xae };
	struct form f = { .op = op[which] };
	uint64_t src = buf_addr() + 2048 + rnd_below(1024), dst = src + rnd_below(2048);
	uint64_t high;
	struct trial t;

	random_state(&t, string_names[which]);
	f.size = one_of(1 | W);
	f.op |= f.size > 1;
	f.w = f.size == 8;
	f.pfx = rnd_below(3) ? (rnd_below(2) ? 0xf3 : 0xf2) : 0;
	f.addr32 = rnd_below(4) == 0;
	f.gs = rnd_below(5) == 0 && op[which] != 0xaa && op[which] != 0xae;
	high = f.addr32 ? rnd() << 32 : 0;
	if (rnd_below(2)) {
		t.in.flags ^= FLAG_DF;
	}
	if (rnd_below(2)) {	/* long runs of equal elements, for REPE and REPNE */
		memset(nat.area->mem, rnd() & 0xff, BUF_SIZE);
		t.in.gpr[0] = rnd_below(2) ? *(uint64_t *)nat.area->mem : rnd();
		if (rnd_below(2))
			nat.area->mem[2000 + rnd_below(2500)] ^= 1;
	}
	t.in.gpr[6] = src - (f.gs ? nat.gs_base : 0) + high;
	t.in.gpr[7] = dst + high;
	t.in.gpr[1] = f.pfx ? rnd_below(200) + high : rnd_value();
	encode(&f, &t);
	native_compare(&t);
}

START_TEST(test_native_string)
{
	int i;

	native_setup();
	rnd_seed(2000 + _i);
	for (i = 0; i < 2000; i++)
		one_string_case(_i);
	printf("native %-18s %u cases\n", string_names[_i], nat.cases);
}
END_TEST

/* The way out of the code under test follows it, so a branch target is its end. */
static void put_target(uint64_t at, int len)
{
	uint64_t end = native_insn_addr() + len;

	memcpy((void *)(uintptr_t)at, &end, 8);
}

static void one_stack_case(int which)
{
	enum { PUSH_M, POP_M, CALL_M, JMP_M, PUSH_R, POP_R, PUSH_I8, PUSH_IZ, CALL_REL, RET, RET_I, LEAVE };
	static const struct { uint8_t op; int8_t reg, imm; bool no66; } ops[] = {
		[PUSH_M] = { 0xff, 6, 0, 0 }, [POP_M] = { 0x8f, 0, 0, 0 }, [CALL_M] = { 0xff, 2, 0, 1 },
		[JMP_M] = { 0xff, 4, 0, 1 }, [PUSH_R] = { 0x50, -1, 0, 0 }, [POP_R] = { 0x58, -1, 0, 0 },
		[PUSH_I8] = { 0x6a, -1, 1, 0 }, [PUSH_IZ] = { 0x68, -1, 4, 0 }, [CALL_REL] = { 0xe8, -1, 4, 1 },
		[RET] = { 0xc3, -1, 0, 1 }, [RET_I] = { 0xc2, -1, 2, 1 }, [LEAVE] = { 0xc9, -1, 0, 0 },
	};
	struct form f = { .op = ops[which].op };
	struct trial t;

	random_state(&t, "stack");
	f.modrm = ops[which].reg >= 0;
	f.mem = f.modrm;
	f.reg = f.modrm ? ops[which].reg : 0;
	f.size = !ops[which].no66 && rnd_below(4) == 0 ? 2 : 8;
	f.w = f.size == 8 && rnd_below(4) == 0;
	f.target = pick_target(8, false);
	f.gs = rnd_below(6) == 0;
	f.keep = 1U << 4;
	f.imm_len = ops[which].imm == 4 && f.size == 2 ? 2 : ops[which].imm;
	f.imm = which == CALL_REL ? 0 : which == RET_I ? rnd_below(512) : rnd_value();
	t.in.gpr[4] = stack_addr() + 1024 + rnd_below(1024);
	if (f.modrm && rnd_below(4) == 0) {
		/* the operand is on the stack: rSP-based addresses, POP's in particular */
		uint8_t disp = rnd_below(120);
		bool pfx = f.size == 2;

		if (pfx)
			put8(&t, 0x66);
		put8(&t, f.op);
		put8(&t, 0x44 | f.reg << 3);
		put8(&t, 0x24);
		put8(&t, disp);
		f.target = t.in.gpr[4] + disp;
	} else {
		if (which == PUSH_R || which == POP_R)
			f.op |= rnd_below(8);
		if (which == LEAVE)
			t.in.gpr[5] = t.in.gpr[4] + rnd_below(512);
		encode(&f, &t);
	}
	if (which == CALL_M || which == JMP_M)
		put_target(f.target, t.len);
	if (which == RET || which == RET_I)
		put_target(t.in.gpr[4], t.len);
	native_compare(&t);
}

START_TEST(test_native_stack)
{
	int i;

	native_setup();
	rnd_seed(3000 + _i);
	for (i = 0; i < 300; i++)
		one_stack_case(_i);
	printf("native stack %-12d %u cases\n", _i, nat.cases);
}
END_TEST

/* XLAT, the absolute-offset moves, and prefix oddities. */
START_TEST(test_native_misc)
{
	struct trial t;
	int i;

	native_setup();
	rnd_seed(4000);
	for (i = 0; i < 800; i++) {
		struct form f = { .op = 0xd7, .size = 1 };

		random_state(&t, "xlat");
		f.gs = rnd_below(3) == 0;
		f.addr32 = rnd_below(3) == 0;
		f.target = pick_target(1, false);
		t.in.gpr[3] = f.target - (t.in.gpr[0] & 0xff) - (f.gs ? nat.gs_base : 0) +
			      (f.addr32 ? rnd() << 32 : 0);
		encode(&f, &t);
		native_compare(&t);
	}
	for (i = 0; i < 1600; i++) {
		struct form f = { .op = 0xa0 | (i & 3) };

		random_state(&t, "mov moffs");
		f.size = i & 1 ? one_of(W) : 1;
		f.w = f.size == 8;
		f.gs = rnd_below(3) == 0;
		f.addr32 = rnd_below(3) == 0;
		f.target = pick_target(f.size, false);
		f.imm = f.target - (f.gs ? nat.gs_base : 0);
		f.imm_len = f.addr32 ? 4 : 8;
		encode(&f, &t);
		native_compare(&t);
	}
	for (i = 0; i < 400; i++) {
		/* a REX before a legacy prefix does not count: mov [rdi], eax / ax, mov ah */
		static const uint8_t odd[][5] = {
			{ 0x48, 0x66, 0x89, 0x07 }, { 0x66, 0x48, 0x89, 0x07 }, { 0x4f, 0x65, 0x89, 0x07 },
			{ 0x88, 0x27, 0x90 }, { 0x40, 0x88, 0x27 }, { 0x8a, 0x2f, 0x90 }, { 0x44, 0x8a, 0x2f },
			{ 0x66, 0x66, 0x89, 0x07 }, { 0x3e, 0x65, 0x8b, 0x07 }, { 0x65, 0x3e, 0x8b, 0x07 },
		};
		unsigned int n = rnd_below(sizeof(odd) / sizeof(odd[0]));
		bool gs = memchr(odd[n], 0x65, 5) != NULL;

		random_state(&t, "prefix oddities");
		t.in.gpr[7] = pick_target(8, false) - (gs ? nat.gs_base : 0);
		for (t.len = 0; t.len < 5 && (odd[n][t.len] != 0x90 && (t.len < 2 || odd[n][t.len])); t.len++)
			t.insn[t.len] = odd[n][t.len];
		native_compare(&t);
	}
	/* 15 bytes are an instruction, 16 are not */
	for (i = 12; i <= 14; i++) {
		random_state(&t, "length limit");
		t.in.gpr[7] = pick_target(8, false);
		memset(t.insn, 0x2e, sizeof(t.insn));
		memcpy(t.insn + i, "\x89\x07", 2);
		t.len = i + 2;
		native_compare(&t);
	}
	ck_assert_uint_eq(nat.faults, 1);
	printf("native misc               %u cases\n", nat.cases);
}
END_TEST

TCase *emul_native_cases(void)
{
	TCase *tc = tcase_create("native");

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, test_native_integer, 0, sizeof(tmpls) / sizeof(tmpls[0]));
	tcase_add_loop_test(tc, test_native_vector, 0, sizeof(vtmpls) / sizeof(vtmpls[0]));
	tcase_add_loop_test(tc, test_native_string, 0, 5);
	tcase_add_loop_test(tc, test_native_stack, 0, 12);
	tcase_add_test(tc, test_native_misc);
	return tc;
}
