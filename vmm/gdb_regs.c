// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "gdb_regs.h"

/* FXSAVE area (SDM vol. 1, table 10-2, 64-bit format) */
#define FX_FCW		0
#define FX_FSW		2
#define FX_FTW		4	/* a bit for each register that is in use */
#define FX_FOP		6
#define FX_FIP		8
#define FX_FDP		16
#define FX_MXCSR	24
#define FX_ST		32
#define FX_XMM		160
#define FX_XSTATE_BV	512
#define XSTATE_X87	(1U << 0)
#define XSTATE_SSE	(1U << 1)
#define FCW_INIT	0x37f
#define MXCSR_INIT	0x1f80

enum { R_GPR, R_EFLAGS, R_SEG, R_ST, R_FCTRL, R_XMM, R_MXCSR, R_BASE, R_SYS };

struct reg {
	const char *name, *type;
	uint8_t kind, size;
	uint16_t offset;	/* in hvx_regs, hvx_sregs, or the FXSAVE area */
};

#define GPR(n, t)	{ #n, t, R_GPR, 8, offsetof(struct hvx_regs, n) }
#define SEG(n)		{ #n, "int32", R_SEG, 4, offsetof(struct hvx_sregs, n) }
#define ST(n)		{ "st" #n, "i387_ext", R_ST, 10, FX_ST + 16 * n }
#define FCTRL(n, i)	{ #n, "int", R_FCTRL, 4, i }
#define XMM(n)		{ "xmm" #n, "vec128", R_XMM, 16, FX_XMM + 16 * n }
#define SYS(n)		{ #n, "int64", R_SYS, 8, offsetof(struct hvx_sregs, n) }

enum { FCTRL_CW, FCTRL_SW, FCTRL_TAG, FCTRL_ISEG, FCTRL_IOFF, FCTRL_OSEG, FCTRL_OOFF, FCTRL_OP };

static const struct reg table[GDB_REGS] = {
	GPR(rax, "int64"), GPR(rbx, "int64"), GPR(rcx, "int64"), GPR(rdx, "int64"),
	GPR(rsi, "int64"), GPR(rdi, "int64"), GPR(rbp, "data_ptr"), GPR(rsp, "data_ptr"),
	GPR(r8, "int64"), GPR(r9, "int64"), GPR(r10, "int64"), GPR(r11, "int64"),
	GPR(r12, "int64"), GPR(r13, "int64"), GPR(r14, "int64"), GPR(r15, "int64"),
	GPR(rip, "code_ptr"),
	{ "eflags", "i386_eflags", R_EFLAGS, 4, 0 },
	SEG(cs), SEG(ss), SEG(ds), SEG(es), SEG(fs), SEG(gs),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	FCTRL(fctrl, FCTRL_CW), FCTRL(fstat, FCTRL_SW), FCTRL(ftag, FCTRL_TAG), FCTRL(fiseg, FCTRL_ISEG),
	FCTRL(fioff, FCTRL_IOFF), FCTRL(foseg, FCTRL_OSEG), FCTRL(fooff, FCTRL_OOFF), FCTRL(fop, FCTRL_OP),
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	{ "mxcsr", "i386_mxcsr", R_MXCSR, 4, FX_MXCSR },
	{ "fs_base", "int64", R_BASE, 8, offsetof(struct hvx_sregs, fs) },
	{ "gs_base", "int64", R_BASE, 8, offsetof(struct hvx_sregs, gs) },
	SYS(cr0), SYS(cr2), SYS(cr3), SYS(cr4), SYS(cr8), SYS(efer),
};

unsigned int gdb_reg_size(unsigned int n)
{
	return table[n].size;
}

/* A component that is not in XSTATE_BV has its initial value, whatever the area says. */
static bool in_use(const struct gdb_cpu *c, unsigned int component)
{
	return c->fx[FX_XSTATE_BV] & component;
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/* Two bits a register; "valid", "zero" and "special" are all told as 0 here. */
static uint32_t full_tag(uint8_t abridged)
{
	uint32_t tag = 0;

	for (unsigned int i = 0; i < 8; i++)
		if (!(abridged & 1U << i))
			tag |= 3U << (2 * i);
	return tag;
}

static uint32_t get_fctrl(const struct gdb_cpu *c, unsigned int i)
{
	if (!in_use(c, XSTATE_X87))
		return i == FCTRL_CW ? FCW_INIT : i == FCTRL_TAG ? 0xffff : 0;
	switch (i) {
	case FCTRL_CW:
		return get16(c->fx + FX_FCW);
	case FCTRL_SW:
		return get16(c->fx + FX_FSW);
	case FCTRL_TAG:
		return full_tag(c->fx[FX_FTW]);
	case FCTRL_ISEG:
		return get32(c->fx + FX_FIP + 4);
	case FCTRL_IOFF:
		return get32(c->fx + FX_FIP);
	case FCTRL_OSEG:
		return get32(c->fx + FX_FDP + 4);
	case FCTRL_OOFF:
		return get32(c->fx + FX_FDP);
	}
	return get16(c->fx + FX_FOP) & 0x7ff;
}

static const struct hvx_segment *segment(const struct gdb_cpu *c, const struct reg *r)
{
	return (const void *)((const char *)&c->sregs + r->offset);
}

void gdb_reg_get(const struct gdb_cpu *c, unsigned int n, void *out)
{
	const struct reg *r = &table[n];
	uint32_t v = 0;

	memset(out, 0, r->size);
	switch (r->kind) {
	case R_GPR:
		memcpy(out, (const char *)&c->regs + r->offset, 8);
		return;
	case R_SYS:
		memcpy(out, (const char *)&c->sregs + r->offset, 8);
		return;
	case R_BASE:
		memcpy(out, &segment(c, r)->base, 8);
		return;
	case R_ST:
	case R_XMM:
		if (in_use(c, r->kind == R_ST ? XSTATE_X87 : XSTATE_SSE))
			memcpy(out, c->fx + r->offset, r->size);
		return;
	case R_EFLAGS:
		v = (uint32_t)c->regs.rflags;
		break;
	case R_SEG:
		v = segment(c, r)->selector;
		break;
	case R_FCTRL:
		v = get_fctrl(c, r->offset);
		break;
	case R_MXCSR:
		v = in_use(c, XSTATE_SSE) ? get32(c->fx + FX_MXCSR) : MXCSR_INIT;
		break;
	}
	memcpy(out, &v, 4);
}

/* Give the component its initial value, before a part of it gets another. */
static void use(struct gdb_cpu *c, unsigned int component)
{
	uint16_t fcw = FCW_INIT;
	uint32_t mxcsr = MXCSR_INIT;

	c->dirty |= 1U << HVX_STATE_XSAVE;
	if (in_use(c, component))
		return;
	if (component == XSTATE_X87) {
		memset(c->fx, 0, FX_MXCSR);
		memset(c->fx + FX_ST, 0, FX_XMM - FX_ST);
		memcpy(c->fx + FX_FCW, &fcw, 2);
	} else {
		memset(c->fx + FX_XMM, 0, 256);
		memcpy(c->fx + FX_MXCSR, &mxcsr, 4);
	}
	c->fx[FX_XSTATE_BV] |= (uint8_t)component;
}

static void set_fctrl(struct gdb_cpu *c, unsigned int i, uint32_t v)
{
	static const uint8_t where[][2] = {	/* offset, bytes */
		[FCTRL_CW] = { FX_FCW, 2 }, [FCTRL_SW] = { FX_FSW, 2 }, [FCTRL_TAG] = { FX_FTW, 1 },
		[FCTRL_ISEG] = { FX_FIP + 4, 4 }, [FCTRL_IOFF] = { FX_FIP, 4 }, [FCTRL_OSEG] = { FX_FDP + 4, 4 },
		[FCTRL_OOFF] = { FX_FDP, 4 }, [FCTRL_OP] = { FX_FOP, 2 },
	};
	uint8_t abridged = 0;

	if (v == get_fctrl(c, i))
		return;
	use(c, XSTATE_X87);
	if (i == FCTRL_TAG) {
		for (unsigned int k = 0; k < 8; k++)
			if ((v >> (2 * k) & 3) != 3)
				abridged |= (uint8_t)(1U << k);
		v = abridged;
	}
	memcpy(c->fx + where[i][0], &v, where[i][1]);
}

bool gdb_reg_set(struct gdb_cpu *c, unsigned int n, const void *in)
{
	const struct reg *r = &table[n];
	uint8_t now[GDB_MAX_REG];
	uint32_t v = 0;

	gdb_reg_get(c, n, now);
	if (!memcmp(now, in, r->size))
		return true;	/* 'G' writes them all: most are as they were */
	if (r->size == 4)
		memcpy(&v, in, 4);
	switch (r->kind) {
	case R_GPR:
		memcpy((char *)&c->regs + r->offset, in, 8);
		c->dirty |= 1U << HVX_STATE_REGS;
		return true;
	case R_EFLAGS:
		c->regs.rflags = v;
		c->dirty |= 1U << HVX_STATE_REGS;
		return true;
	case R_SYS:
		memcpy((char *)&c->sregs + r->offset, in, 8);
		c->dirty |= 1U << HVX_STATE_SREGS;
		return true;
	case R_BASE:
		memcpy((char *)&c->sregs + r->offset + offsetof(struct hvx_segment, base), in, 8);
		c->dirty |= 1U << HVX_STATE_SREGS;
		return true;
	case R_ST:
	case R_XMM:
		use(c, r->kind == R_ST ? XSTATE_X87 : XSTATE_SSE);
		memcpy(c->fx + r->offset, in, r->size);
		return true;
	case R_FCTRL:
		set_fctrl(c, r->offset, v);
		return true;
	case R_MXCSR:
		use(c, XSTATE_SSE);
		memcpy(c->fx + FX_MXCSR, &v, 4);
		return true;
	}
	return false;	/* a selector goes with a descriptor, which GDB does not give */
}

static const char vec128[] =
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	"<vector id=\"v16i\" type=\"int8\" count=\"16\"/><vector id=\"v4i\" type=\"int32\" count=\"4\"/>"
	"<vector id=\"v2i\" type=\"int64\" count=\"2\"/><union id=\"vec128\">"
	"<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
	"<field name=\"v16_int8\" type=\"v16i\"/><field name=\"v4_int32\" type=\"v4i\"/>"
	"<field name=\"v2_int64\" type=\"v2i\"/><field name=\"uint128\" type=\"uint128\"/></union>";

/* Names of single bits; "" where there is none. */
static const char *const eflags[] = { "CF", "", "PF", "", "AF", "", "ZF", "SF", "TF", "IF", "DF", "OF", "", "", "NT", "",
				      "RF", "VM", "AC", "VIF", "VIP", "ID", NULL };
static const char *const mxcsr[] = { "IE", "DE", "ZE", "OE", "UE", "PE", "DAZ", "IM", "DM", "ZM", "OM", "UM", "PM", "", "",
				     "FZ", NULL };

static void describe_flags(char **p, const char *end, const char *id, const char *const *names)
{
	*p += snprintf(*p, (size_t)(end - *p), "<flags id=\"%s\" size=\"4\">", id);
	for (unsigned int i = 0; names[i]; i++)
		if (*names[i])
			*p += snprintf(*p, (size_t)(end - *p), "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", names[i], i, i);
	*p += snprintf(*p, (size_t)(end - *p), "</flags>");
}

static void describe(char **p, const char *end, unsigned int first, unsigned int last, const char *feature)
{
	*p += snprintf(*p, (size_t)(end - *p), "<feature name=\"%s\">%s", feature, first == 40 ? vec128 : "");
	if (first == 0)
		describe_flags(p, end, "i386_eflags", eflags);
	else if (first == 40)
		describe_flags(p, end, "i386_mxcsr", mxcsr);
	for (unsigned int n = first; n <= last; n++)
		*p += snprintf(*p, (size_t)(end - *p), "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>",
			       table[n].name, 8U * table[n].size, table[n].type, n);
	*p += snprintf(*p, (size_t)(end - *p), "</feature>");
}

const char *gdb_target_xml(void)
{
	static char xml[16384];
	char *p = xml;
	const char *end = xml + sizeof(xml);

	if (*xml)
		return xml;
	p += snprintf(p, sizeof(xml), "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
		      "<target><architecture>i386:x86-64</architecture>");
	describe(&p, end, 0, 39, "org.gnu.gdb.i386.core");
	describe(&p, end, 40, 56, "org.gnu.gdb.i386.sse");
	describe(&p, end, 57, 58, "org.gnu.gdb.i386.segments");
	describe(&p, end, 59, GDB_REGS - 1, "org.hvx.control");
	snprintf(p, (size_t)(end - p), "</target>");
	return xml;
}
