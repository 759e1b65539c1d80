// SPDX-License-Identifier: GPL-2.0-only
/* Ties the pure instruction emulator to the machine: memory, buses, vector registers. */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "dirty.h"
#include "emul.h"
#include "emulate.h"

#define XSTATE_SSE		(1ULL << 1)
#define XSTATE_AVX		(1ULL << 2)
#define XSTATE_ZMM_HI		(1ULL << 6)	/* upper halves of ZMM0-15 */
#define XSTATE_PKRU		(1ULL << 9)
#define XSAVE_XMM_OFFSET	160U		/* SDM vol. 1, "Legacy Region of an XSAVE Area" */
#define XSAVE_BV_OFFSET		512U

#define RFLAGS_TF		(1ULL << 8)
#define RFLAGS_RF		(1ULL << 16)
#define DR6_BS			(1ULL << 14)
#define DR6_BT			(1ULL << 15)
#define DR7_LOCAL		0x155ULL	/* L0-L3, LE: end with the task */
#define VECTOR_DB		1
#define VECTOR_UD		6
#define VECTOR_PF		14

struct emulation {
	struct vcpu *v;
	struct hvx_xsave_hdr *xsave;	/* read on first use */
	bool xsave_dirty;
};

/* ------------------------------------------------------ memory and ports */

/* The largest naturally aligned piece, as a CPU would put on the bus. */
static unsigned int piece(uint64_t gpa, unsigned int len)
{
	unsigned int n = 8;

	while (n > len || (gpa & (n - 1)))
		n /= 2;
	return n;
}

static int read_phys(void *opaque, uint64_t gpa, void *buf, unsigned int len)
{
	struct emulation *e = opaque;
	uint8_t *p = buf;
	void *ram = guest_ptr(&e->v->m->mem, gpa, len, false);

	if (ram) {
		memcpy(buf, ram, len);
		return 0;
	}
	while (len) {
		unsigned int n = piece(gpa, len);
		uint64_t val = bus_read(&e->v->m->mmio, gpa, n);

		memcpy(p, &val, n);
		p += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

static int write_phys(void *opaque, uint64_t gpa, const void *buf, unsigned int len)
{
	struct emulation *e = opaque;
	const uint8_t *p = buf;
	void *ram = guest_ptr(&e->v->m->mem, gpa, len, true);

	if (ram) {
		memcpy(ram, buf, len);
		dirty_mark(ram, len);
		return 0;
	}
	while (len) {
		unsigned int n = piece(gpa, len);
		uint64_t val = 0;

		memcpy(&val, p, n);
		bus_write(&e->v->m->mmio, gpa, n, val);
		p += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

/*
 * LOCK CMPXCHG on guest RAM, of whatever alignment: the instruction itself is
 * used, since the C operations assume aligned objects.
 */
static bool cmpxchg_ram(void *ram, const void *expected, const void *desired, unsigned int len)
{
	uint64_t old[2] = { 0 }, new[2] = { 0 };
	bool done = false;

	memcpy(old, expected, len);
	memcpy(new, desired, len);
	switch (len) {
	case 1:
		asm volatile("lock cmpxchgb %b[n], %[m]" : "=@ccz" (done), "+a" (old[0]),
			     [m] "+m" (*(uint8_t *)ram) : [n] "q" (new[0]) : "memory");
		break;
	case 2:
		asm volatile("lock cmpxchgw %w[n], %[m]" : "=@ccz" (done), "+a" (old[0]),
			     [m] "+m" (*(uint16_t *)ram) : [n] "r" (new[0]) : "memory");
		break;
	case 4:
		asm volatile("lock cmpxchgl %k[n], %[m]" : "=@ccz" (done), "+a" (old[0]),
			     [m] "+m" (*(uint32_t *)ram) : [n] "r" (new[0]) : "memory");
		break;
	case 8:
		asm volatile("lock cmpxchgq %q[n], %[m]" : "=@ccz" (done), "+a" (old[0]),
			     [m] "+m" (*(uint64_t *)ram) : [n] "r" (new[0]) : "memory");
		break;
	case 16:
		asm volatile("lock cmpxchg16b %[m]" : "=@ccz" (done), "+a" (old[0]), "+d" (old[1]),
			     [m] "+m" (*(unsigned __int128 *)ram)
			     : "b" (new[0]), "c" (new[1]) : "memory");
		break;
	}
	return done;
}

static enum emul_cmpxchg cmpxchg_phys(void *opaque, uint64_t gpa, const void *expected,
				      const void *desired, unsigned int len)
{
	struct emulation *e = opaque;
	void *ram = guest_ptr(&e->v->m->mem, gpa, len, true);

	if (!ram || (len == 16 && (gpa & 15)))
		return EMUL_CMPXCHG_NOT_RAM;
	if (!cmpxchg_ram(ram, expected, desired, len))
		return EMUL_CMPXCHG_DIFFERS;
	dirty_mark(ram, len);
	return EMUL_CMPXCHG_DONE;
}

static void pio_in(void *opaque, uint16_t port, unsigned int size, uint32_t *val)
{
	struct emulation *e = opaque;

	*val = (uint32_t)bus_read(&e->v->m->pio, port, size);
}

static void pio_out(void *opaque, uint16_t port, unsigned int size, uint32_t val)
{
	struct emulation *e = opaque;

	bus_write(&e->v->m->pio, port, size, val);
}

/* ------------------------------------------------------ vector registers */

static int xsave_get(struct emulation *e)
{
	uint32_t size = (uint32_t)sizeof(*e->xsave) + e->v->m->hv.info.xsave_size;

	if (e->xsave)
		return 0;
	e->xsave = calloc(1, size);
	if (!e->xsave)
		return -ENOMEM;
	return hv_get_state(&e->v->hv, HVX_STATE_XSAVE, e->xsave, size);
}

static uint8_t *xsave_area(struct emulation *e)
{
	return (uint8_t *)(e->xsave + 1);
}

/* Where a register's part is in the area; NULL where this host has no such part. */
static uint8_t *xsave_reg(struct emulation *e, uint64_t component, unsigned int reg)
{
	unsigned int eax, ebx, ecx, edx, size = 16, offset = XSAVE_XMM_OFFSET;

	if (component != XSTATE_SSE) {
		unsigned int bit = (unsigned int)__builtin_ctzll(component);

		if (!__get_cpuid_count(0xd, bit, &eax, &ebx, &ecx, &edx) || !eax)
			return NULL;
		size = component == XSTATE_ZMM_HI ? 32 : component == XSTATE_AVX ? 16 : 4;
		offset = ebx;
	}
	if (offset + (reg + 1) * size > e->v->m->hv.info.xsave_size)
		return NULL;
	return xsave_area(e) + offset + reg * size;
}

static uint64_t *xstate_bv(struct emulation *e)
{
	return (uint64_t *)(xsave_area(e) + XSAVE_BV_OFFSET);
}

/* A component that is not in XSTATE_BV has its initial value, whatever the area says. */
static uint8_t *component_in_use(struct emulation *e, uint64_t component, unsigned int reg)
{
	uint8_t *p = xsave_reg(e, component, reg);
	unsigned int i;

	if (p && !(*xstate_bv(e) & component)) {
		unsigned int size = component == XSTATE_ZMM_HI ? 32 : 16;

		for (i = 0; i < 16; i++) {
			uint8_t *r = xsave_reg(e, component, i);

			if (r)
				memset(r, 0, size);
		}
		*xstate_bv(e) |= component;
	}
	return p;
}

static int get_vec(void *opaque, unsigned int reg, void *buf, unsigned int len)
{
	struct emulation *e = opaque;
	uint8_t *out = buf, *p;

	if (reg > 15 || xsave_get(e))
		return -EINVAL;
	memset(buf, 0, len);
	if (*xstate_bv(e) & XSTATE_SSE)
		memcpy(out, xsave_reg(e, XSTATE_SSE, reg), 16);
	if (len == 32 && (*xstate_bv(e) & XSTATE_AVX)) {
		p = xsave_reg(e, XSTATE_AVX, reg);
		if (!p)
			return -EINVAL;
		memcpy(out + 16, p, 16);
	}
	return 0;
}

static int set_vec(void *opaque, unsigned int reg, const void *buf, unsigned int len)
{
	struct emulation *e = opaque;
	const uint8_t *in = buf;
	uint8_t *p;

	if (reg > 15 || xsave_get(e))
		return -EINVAL;
	memcpy(component_in_use(e, XSTATE_SSE, reg), in, 16);
	if (len == 32) {
		p = component_in_use(e, XSTATE_AVX, reg);
		if (!p)
			return -EINVAL;
		memcpy(p, in + 16, 16);
		if (*xstate_bv(e) & XSTATE_ZMM_HI) {
			p = xsave_reg(e, XSTATE_ZMM_HI, reg);
			if (p)
				memset(p, 0, 32);
		}
	}
	e->xsave_dirty = true;
	return 0;
}

static uint64_t get_xcr0(void *opaque)
{
	struct emulation *e = opaque;

	return xsave_get(e) ? 0 : e->xsave->xcr0;
}

static uint32_t get_pkru(void *opaque)
{
	struct emulation *e = opaque;
	uint32_t pkru = 0;
	uint8_t *p;

	if (xsave_get(e))
		return 0;
	p = xsave_reg(e, XSTATE_PKRU, 0);
	if (p && (*xstate_bv(e) & XSTATE_PKRU))
		memcpy(&pkru, p, sizeof(pkru));
	return pkru;
}

/* ------------------------------------------------------------- the exit */

static const struct emul_ops emul_ops = {
	.read_phys = read_phys,
	.write_phys = write_phys,
	.cmpxchg_phys = cmpxchg_phys,
	.pio_in = pio_in,
	.pio_out = pio_out,
	.get_vec = get_vec,
	.set_vec = set_vec,
	.get_xcr0 = get_xcr0,
	.get_pkru = get_pkru,
};

static void queue_exception(struct hvx_run *run, uint8_t vector, bool has_code, uint32_t code,
			    uint64_t payload)
{
	run->events.exception = vector | HVX_EVENT_EXC | HVX_EVENT_VALID |
				(has_code ? HVX_EVENT_HAS_CODE : 0);
	run->events.exception_code = code;
	run->events.exception_payload = payload;
	run->dirty |= 1U << HVX_STATE_EVENTS;
}

/* The instruction is done: what the CPU does between instructions. */
static void finish(struct hvx_run *run, uint64_t rflags_before)
{
	if (run->events.interrupt_shadow) {
		run->events.interrupt_shadow = 0;
		run->dirty |= 1U << HVX_STATE_EVENTS;
	}
	run->regs.rflags &= ~RFLAGS_RF;
	if (rflags_before & RFLAGS_TF)
		queue_exception(run, VECTOR_DB, false, 0, DR6_BS);
}

int vcpu_emulate(struct vcpu *v, struct hvx_run *run)
{
	struct emulation e = { .v = v };
	struct hvx_exit_emulate ex = run->emulate;
	struct hvx_regs regs = run->regs;
	struct hvx_sregs sregs = run->sregs;
	struct emul_ctx ctx = {
		.regs = &regs, .sregs = &sregs, .ops = &emul_ops, .opaque = &e,
		.phys_bits = v->m->cpu->phys_bits, .quirks = v->m->cpu->emul_quirks,
	};
	uint64_t rflags = regs.rflags;
	int ret = 0;

	/* Modules of before task switches fill in registers only. */
	if (!(run->valid & (1U << HVX_STATE_EVENTS)))
		ret = hv_get_state(&v->hv, HVX_STATE_EVENTS, &run->events, sizeof(run->events));
	if (ret)
		return ret;
	switch (emul_insn(&ctx, ex.insn, ex.insn_len > 15 ? 15 : ex.insn_len)) {
	case EMUL_OK:
		run->regs = regs;
		finish(run, rflags);
		run->dirty |= 1U << HVX_STATE_REGS;
		break;
	case EMUL_AGAIN:
		run->regs = regs;
		run->dirty |= 1U << HVX_STATE_REGS;
		break;
	case EMUL_FAULT:
		if (ctx.dirty & (1U << HVX_STATE_REGS)) {
			run->regs = regs;
			run->dirty |= 1U << HVX_STATE_REGS;
		}
		queue_exception(run, ctx.vector, ctx.has_error_code, ctx.error_code,
				ctx.vector == VECTOR_PF ? ctx.cr2 : 0);
		break;
	case EMUL_UNHANDLED:
	default:
		/* A program may do this to its kernel: it is the program's fault then. */
		if (sregs.cpl == 3)
			queue_exception(run, VECTOR_UD, false, 0, 0);
		else
			ret = -ENOSYS;
		break;
	}
	if (!ret && e.xsave_dirty)
		ret = hv_set_state(&v->hv, HVX_STATE_XSAVE, e.xsave,
				   (uint32_t)sizeof(*e.xsave) + v->m->hv.info.xsave_size);
	free(e.xsave);
	return ret;
}

/* ---------------------------------------------------------- task switches */

/* SDM vol. 3 "Debug Registers", DR7: what is the old task's own. */
static int clear_local_breakpoints(struct vcpu *v)
{
	struct hvx_debugregs d;
	int ret = hv_get_state(&v->hv, HVX_STATE_DEBUGREGS, &d, sizeof(d));

	if (ret || !(d.dr7 & DR7_LOCAL))
		return ret;
	d.dr7 &= ~DR7_LOCAL;
	return hv_set_state(&v->hv, HVX_STATE_DEBUGREGS, &d, sizeof(d));
}

int vcpu_task_switch(struct vcpu *v, struct hvx_run *run)
{
	struct emulation e = { .v = v };
	struct hvx_exit_task_switch ex = run->task_switch;
	struct hvx_regs regs = run->regs;
	struct hvx_sregs sregs = run->sregs;
	struct emul_ctx ctx = {
		.regs = &regs, .sregs = &sregs, .ops = &emul_ops, .opaque = &e,
		.phys_bits = v->m->cpu->phys_bits,
	};
	struct emul_task task = {
		.selector = ex.selector, .source = ex.source, .insn_len = ex.insn_len,
		.event = run->events.injected, .error_code = run->events.injected_code,
	};
	enum emul_result r = emul_task_switch(&ctx, &sregs, &task);

	if (r == EMUL_AGAIN)	/* the guest comes by here again */
		return 0;
	if (r == EMUL_UNHANDLED)
		return -ENOSYS;
	if (r == EMUL_SHUTDOWN)
		return VCPU_SHUTDOWN;
	run->events.injected = 0;
	run->events.interrupt_shadow = 0;
	if (ex.source == HVX_TASK_IRET)
		run->events.nmi_masked = 0;
	run->dirty |= 1U << HVX_STATE_EVENTS | ctx.dirty;
	if (r == EMUL_FAULT)
		queue_exception(run, ctx.vector, ctx.has_error_code, ctx.error_code,
				ctx.vector == VECTOR_PF ? ctx.cr2 : 0);
	else if (task.trap)
		queue_exception(run, VECTOR_DB, false, 0, DR6_BT);
	if (!ctx.dirty)
		return 0;
	run->regs = regs;
	run->sregs = sregs;
	return clear_local_breakpoints(v);
}
