// SPDX-License-Identifier: GPL-2.0-only
/*
 * PUSH, POP, and the near branches that use memory. All translations come
 * before the first read: an operand in MMIO is read once or not at all.
 */
#include "emul_int.h"

static int stack_map(struct emul *e, u64 sp, unsigned int acc, struct emul_span *s)
{
	return emul_span(e, SEG_SS, sp & e->stack_mask, e->opsize, acc, s);
}

static void set_sp(struct emul *e, u64 sp)
{
	e->regs.rsp = (e->regs.rsp & ~e->stack_mask) | (sp & e->stack_mask);
}

int emul_push(struct emul *e, u64 val)
{
	u64 sp = e->regs.rsp - e->opsize;
	struct emul_span s;
	int r = stack_map(e, sp, ACC_WRITE, &s);

	if (r)
		return r;
	emul_span_write(e, &s, &val);
	set_sp(e, sp);
	return EMUL_OK;
}

static int pop(struct emul *e, u64 *val)
{
	struct emul_span s;
	int r = stack_map(e, e->regs.rsp, ACC_READ, &s);

	if (r)
		return r;
	*val = 0;
	emul_span_read(e, &s, val);
	set_sp(e, e->regs.rsp + e->opsize);
	return EMUL_OK;
}

static unsigned int opcode_reg(const struct emul *e)
{
	return (e->opcode & 7) | (e->rex & 1 ? 8 : 0);
}

int x_push_r(struct emul *e)
{
	return emul_push(e, emul_gpr(e, opcode_reg(e)));
}

int x_pop_r(struct emul *e)
{
	u64 val;
	int r = pop(e, &val);

	if (!r)
		emul_gpr_set(e, opcode_reg(e), e->opsize, val);
	return r;
}

int x_push_imm(struct emul *e)
{
	return emul_push(e, e->imm);
}

/* 8F /0. An address based on rSP uses its value after the increment. */
int x_pop_rm(struct emul *e)
{
	struct emul_span from;
	struct emul_rm rm;
	u64 val = 0;
	int r;

	if (e->reg & 7)
		return EMUL_UNHANDLED;
	r = stack_map(e, e->regs.rsp, ACC_READ, &from);
	if (r)
		return r;
	set_sp(e, e->regs.rsp + e->opsize);
	r = emul_rm_map(e, &rm, e->opsize, ACC_WRITE);
	if (r)
		return r;
	emul_span_read(e, &from, &val);
	return emul_rm_store(e, &rm, val);
}

/*
 * Near branches. With shadow stacks they would have a second stack to keep; a
 * 66 prefix in 64-bit mode is ignored by some CPUs and obeyed by others.
 */
static bool branch_supported(const struct emul *e)
{
	return !(e->ctx->sregs->cr4 & CR4_CET) && !(e->mode64 && e->opsz66);
}

static int call_rm(struct emul *e)
{
	u64 sp = e->regs.rsp - e->opsize, ret = e->next_rip;
	struct emul_span s;
	struct emul_rm rm;
	int r;

	r = emul_rm_map(e, &rm, e->opsize, ACC_READ);
	if (!r)
		r = stack_map(e, sp, ACC_WRITE, &s);
	if (r)
		return r;
	emul_rm_read(e, &rm);
	r = emul_branch(e, rm.val);
	if (r)
		return r;
	emul_span_write(e, &s, &ret);
	set_sp(e, sp);
	return EMUL_OK;
}

static int jmp_rm(struct emul *e)
{
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_READ);

	return r ? r : emul_branch(e, rm.val);
}

static int push_rm(struct emul *e)
{
	u64 sp = e->regs.rsp - e->opsize;
	struct emul_span s;
	struct emul_rm rm;
	int r;

	r = emul_rm_map(e, &rm, e->opsize, ACC_READ);
	if (!r)
		r = stack_map(e, sp, ACC_WRITE, &s);
	if (r)
		return r;
	emul_rm_read(e, &rm);
	emul_span_write(e, &s, &rm.val);
	set_sp(e, sp);
	return EMUL_OK;
}

int x_grp5(struct emul *e)
{
	unsigned int op = e->reg & 7;

	if (op < 2)
		return x_incdec(e);
	if (e->mode64)
		e->opsize = e->opsz66 ? 2 : 8;
	if (op == 6)
		return push_rm(e);
	if ((op != 2 && op != 4) || !branch_supported(e))
		return EMUL_UNHANDLED;
	return op == 2 ? call_rm(e) : jmp_rm(e);
}

int x_call_rel(struct emul *e)
{
	u64 ret = e->next_rip;
	int r;

	if (!branch_supported(e))
		return EMUL_UNHANDLED;
	r = emul_branch(e, ret + e->imm);
	return r ? r : emul_push(e, ret);
}

int x_ret(struct emul *e)
{
	u64 target;
	int r;

	if (!branch_supported(e))
		return EMUL_UNHANDLED;
	r = pop(e, &target);
	if (r)
		return r;
	set_sp(e, e->regs.rsp + e->imm);
	return emul_branch(e, target);
}

int x_leave(struct emul *e)
{
	u64 val;
	int r;

	set_sp(e, e->regs.rbp);
	r = pop(e, &val);
	if (!r)
		emul_gpr_set(e, R_BP, e->opsize, val);
	return r;
}
