// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/emul.c vmm/emul_decode.c vmm/emul_walk.c vmm/emul_mem.c vmm/emul_alu.c vmm/emul_bits.c vmm/emul_mov.c vmm/emul_stack.c vmm/emul_string.c vmm/emul_sse.c */
/*
 * libFuzzer target: the whole machine state and the instruction bytes come from
 * the input. Build with clang -fsanitize=fuzzer,address,undefined.
 *
 * Input: struct hvx_regs, the start of struct hvx_sregs up to and including
 * the EFER, 4 bytes of choices, up to 15 bytes of instruction, then guest
 * memory (repeated to fill RAM).
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/emul.h"

#define RAM	0x10000u	/* physical addresses wrap here, so that most of them exist */

struct machine {
	uint8_t ram[RAM];
	uint8_t vec[16][32];
	unsigned int accesses, races;
	uint32_t pkru;
	uint64_t xcr0;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *at(struct machine *m, uint64_t gpa, unsigned int len)
{
	m->accesses++;
	check(len >= 1 && len <= 32 && (gpa >> 12) == ((gpa + len - 1) >> 12));
	/* one page in sixteen is a device */
	return (gpa >> 12) % 16 == 15 ? NULL : m->ram + gpa % RAM;
}

static int rd(void *opaque, uint64_t gpa, void *buf, unsigned int len)
{
	uint8_t *p = at(opaque, gpa, len);

	if (p)
		memcpy(buf, p, len);
	return p ? 0 : -1;
}

static int wr(void *opaque, uint64_t gpa, const void *buf, unsigned int len)
{
	uint8_t *p = at(opaque, gpa, len);

	if (p)
		memcpy(p, buf, len);
	return p ? 0 : -1;
}

static enum emul_cmpxchg cmpxchg(void *opaque, uint64_t gpa, const void *expected, const void *desired,
				 unsigned int len)
{
	struct machine *m = opaque;
	uint8_t *p = at(m, gpa, len);

	check(len <= 16 && (gpa & 63) + len <= 64);
	if (!p)
		return EMUL_CMPXCHG_NOT_RAM;
	if (m->races) {
		m->races--;
		return EMUL_CMPXCHG_DIFFERS;
	}
	if (memcmp(p, expected, len))
		return EMUL_CMPXCHG_DIFFERS;
	memcpy(p, desired, len);
	return EMUL_CMPXCHG_DONE;
}

static void in(void *opaque, uint16_t port, unsigned int size, uint32_t *val)
{
	((struct machine *)opaque)->accesses++;
	check(size == 1 || size == 2 || size == 4);
	*val = port;
}

static void out(void *opaque, uint16_t port, unsigned int size, uint32_t val)
{
	(void)port;
	(void)val;
	((struct machine *)opaque)->accesses++;
	check(size == 1 || size == 2 || size == 4);
}

static int get_vec(void *opaque, unsigned int reg, void *buf, unsigned int len)
{
	check(reg < 16 && (len == 16 || len == 32));
	memcpy(buf, ((struct machine *)opaque)->vec[reg], len);
	return 0;
}

static int set_vec(void *opaque, unsigned int reg, const void *buf, unsigned int len)
{
	check(reg < 16 && (len == 16 || len == 32));
	memcpy(((struct machine *)opaque)->vec[reg], buf, len);
	return 0;
}

static uint64_t get_xcr0(void *opaque)
{
	return ((struct machine *)opaque)->xcr0;
}

static uint32_t get_pkru(void *opaque)
{
	return ((struct machine *)opaque)->pkru;
}

static const struct emul_ops ops = {
	.read_phys = rd,
	.write_phys = wr,
	.cmpxchg_phys = cmpxchg,
	.pio_in = in,
	.pio_out = out,
	.get_vec = get_vec,
	.set_vec = set_vec,
	.get_xcr0 = get_xcr0,
	.get_pkru = get_pkru,
};

struct input {
	const uint8_t *p;
	size_t left;
};

static void take(struct input *i, void *to, size_t n)
{
	size_t have = n < i->left ? n : i->left;

	memcpy(to, i->p, have);
	i->p += have;
	i->left -= have;
}

static void fill_ram(struct machine *m, const struct input *i)
{
	size_t at = 0, n;

	while (i->left && at < RAM) {
		n = i->left < RAM - at ? i->left : RAM - at;
		memcpy(m->ram + at, i->p, n);
		at += n;
	}
}

static void check_end(const struct machine *m, const struct emul_ctx *ctx, const struct hvx_regs *before,
		      enum emul_result r)
{
	bool same = !memcmp(ctx->regs, before, sizeof(*before));

	/* a batch, each element with two operands across pages, and every lost race */
	check(m->accesses <= EMUL_MAX_BATCH * 64);
	check(r == EMUL_OK || r == EMUL_FAULT || r == EMUL_UNHANDLED || r == EMUL_AGAIN);
	check(r == EMUL_OK || ctx->regs->rip == before->rip);
	check(r != EMUL_UNHANDLED || (same && !ctx->dirty));
	check(same || (ctx->dirty & (1U << HVX_STATE_REGS)));
	check(r != EMUL_FAULT || ctx->vector == 0 || ctx->vector == 6 || ctx->vector == 7 ||
	      (ctx->vector >= 12 && ctx->vector <= 14) || ctx->vector == 17);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	struct input i = { data, size };
	struct hvx_sregs sregs = { 0 };
	struct hvx_regs regs = { 0 }, before;
	uint8_t choice[4] = { 0 }, *insn;
	struct emul_ctx ctx = { .regs = &regs, .sregs = &sregs, .ops = &ops, .opaque = &m };
	int len;

	memset(&m, 0, sizeof(m));
	take(&i, &regs, sizeof(regs));
	take(&i, &sregs, offsetof(struct hvx_sregs, apic_base));
	take(&i, choice, sizeof(choice));
	sregs.cpl = choice[0] & 3;
	m.xcr0 = choice[0] >> 2 & 7;
	m.races = choice[1] & 7 ? 0 : choice[1] >> 2;
	m.pkru = choice[2] * 0x01010101u;
	ctx.phys_bits = choice[3] & 63;
	ctx.quirks = choice[3] >> 6;
	len = choice[1] >> 4;
	insn = malloc(len ? len : 1);	/* exact: a read beyond it is seen */
	if (!insn)
		return 0;
	memset(insn, 0, len);
	take(&i, insn, len);
	fill_ram(&m, &i);
	before = regs;
	check_end(&m, &ctx, &before, emul_insn(&ctx, insn, len));
	free(insn);
	return 0;
}
