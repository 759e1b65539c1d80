// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cpu.h"
#include "emul_int.h"
#include "gdb_target.h"

#define INT3		0xcc
#define RFLAGS_IF	(1ULL << 9)
#define DR7_FIXED	(1ULL << 10)

/* ------------------------------------------------------------ registers */

/* The area is as long as the host's XSAVE wants it; ours is its beginning. */
static int xsave(struct vcpu *v, struct gdb_cpu *c, bool store)
{
	uint32_t size = (uint32_t)sizeof(struct hvx_xsave_hdr) + v->m->hv.info.xsave_size;
	struct hvx_xsave_hdr *h = calloc(1, size);
	int ret;

	if (!h || size < sizeof(*h) + sizeof(c->fx)) {
		free(h);
		return -ENOMEM;
	}
	ret = hv_get_state(&v->hv, HVX_STATE_XSAVE, h, size);
	if (!ret && !store)
		memcpy(c->fx, h + 1, sizeof(c->fx));
	if (!ret && store) {
		memcpy(h + 1, c->fx, sizeof(c->fx));
		ret = hv_set_state(&v->hv, HVX_STATE_XSAVE, h, size);
	}
	free(h);
	return ret;
}

int gdb_load(struct vcpu *v, struct gdb_cpu *c)
{
	c->dirty = 0;
	return hv_get_state(&v->hv, HVX_STATE_REGS, &c->regs, sizeof(c->regs)) ?:
	       hv_get_state(&v->hv, HVX_STATE_SREGS, &c->sregs, sizeof(c->sregs)) ?:
	       xsave(v, c, false);
}

int gdb_store(struct vcpu *v, const struct gdb_cpu *c)
{
	struct gdb_cpu copy = *c;
	int ret = 0;

	if (c->dirty & 1U << HVX_STATE_SREGS)
		ret = hv_set_state(&v->hv, HVX_STATE_SREGS, &c->sregs, sizeof(c->sregs));
	if (!ret && c->dirty & 1U << HVX_STATE_REGS)
		ret = hv_set_state(&v->hv, HVX_STATE_REGS, &c->regs, sizeof(c->regs));
	if (!ret && c->dirty & 1U << HVX_STATE_XSAVE)
		ret = xsave(v, &copy, true);
	return ret;
}

/* --------------------------------------------------------------- memory */

static int read_phys(void *opaque, uint64_t gpa, void *buf, unsigned int len)
{
	struct vcpu *v = opaque;

	return guest_read(&v->m->mem, gpa, buf, len);
}

/* Accessed and dirty bits stay as they are: it is not the guest who looks. */
static enum emul_cmpxchg no_cmpxchg(void *opaque, uint64_t gpa, const void *expected, const void *desired,
				    unsigned int len)
{
	(void)opaque;
	(void)gpa;
	(void)expected;
	(void)desired;
	(void)len;
	return EMUL_CMPXCHG_DONE;
}

static int translate(struct vcpu *v, const struct hvx_sregs *sregs, uint64_t address, uint64_t *gpa)
{
	static const struct emul_ops ops = { .read_phys = read_phys, .cmpxchg_phys = no_cmpxchg };
	struct hvx_sregs s = *sregs;
	struct hvx_regs regs = { 0 };
	struct emul_ctx ctx = {
		.regs = &regs, .sregs = &s, .ops = &ops, .opaque = v, .phys_bits = v->m->cpu->phys_bits,
	};
	struct emul e = { .ctx = &ctx };

	s.cr4 &= ~(uint64_t)(CR4_SMAP | CR4_PKE);
	if ((s.efer & EFER_LMA) && !emul_canonical(&e, address))
		return -EFAULT;
	return emul_translate(&e, address, ACC_SYSTEM, gpa) == EMUL_OK ? 0 : -EFAULT;
}

int gdb_memory(struct vcpu *v, uint64_t address, void *buf, size_t len, bool write)
{
	struct hvx_sregs s;
	uint8_t *p = buf;
	uint64_t gpa;

	if (hv_get_state(&v->hv, HVX_STATE_SREGS, &s, sizeof(s)))
		return -EFAULT;
	while (len) {
		size_t n = 4096 - (address & 4095);

		if (n > len)
			n = len;
		if (translate(v, &s, address, &gpa) ||
		    (write ? guest_write(&v->m->mem, gpa, p, n) : guest_read(&v->m->mem, gpa, p, n)))
			return -EFAULT;
		address += n;
		p += n;
		len -= n;
	}
	return 0;
}

/* ---------------------------------------------------------- breakpoints */

int gdb_break_add(struct gdb_target *t, struct vcpu *v, uint64_t address)
{
	struct gdb_break *b = &t->brk[t->nr_breaks];
	const uint8_t int3 = INT3;
	struct hvx_sregs s;

	for (unsigned int i = 0; i < t->nr_breaks; i++)
		if (t->brk[i].address == address)
			return -EEXIST;
	if (t->nr_breaks == GDB_MAX_BREAK)
		return -ENOSPC;
	b->address = address;
	if (hv_get_state(&v->hv, HVX_STATE_SREGS, &s, sizeof(s)) || translate(v, &s, address, &b->gpa) ||
	    guest_read(&t->m->mem, b->gpa, &b->was, 1) || guest_write(&t->m->mem, b->gpa, &int3, 1))
		return -EFAULT;
	t->nr_breaks++;
	return 0;
}

/* Whatever else has been written there meanwhile stays. */
static void unpatch(struct gdb_target *t, const struct gdb_break *b)
{
	uint8_t now;

	if (!guest_read(&t->m->mem, b->gpa, &now, 1) && now == INT3)
		guest_write(&t->m->mem, b->gpa, &b->was, 1);
}

int gdb_break_del(struct gdb_target *t, uint64_t address)
{
	for (unsigned int i = 0; i < t->nr_breaks; i++) {
		if (t->brk[i].address != address)
			continue;
		unpatch(t, &t->brk[i]);
		t->brk[i] = t->brk[--t->nr_breaks];
		return 0;
	}
	return -ENOENT;
}

int gdb_hw_add(struct gdb_target *t, enum gdb_hw type, uint64_t address, unsigned int len)
{
	int64_t high = (int64_t)address >> 47;
	unsigned int i = 0;

	if (type == GDB_HW_EXEC)
		len = 1;
	if ((len != 1 && len != 2 && len != 4 && len != 8) || address & (len - 1) || (high && high != -1))
		return -EINVAL;
	while (i < GDB_MAX_HW && t->hw[i].used)
		i++;
	if (i == GDB_MAX_HW)
		return -ENOSPC;
	t->hw[i].used = true;
	t->hw[i].type = type;
	t->hw[i].address = address;
	t->hw[i].len = len;
	return 0;
}

int gdb_hw_del(struct gdb_target *t, enum gdb_hw type, uint64_t address, unsigned int len)
{
	if (type == GDB_HW_EXEC)
		len = 1;
	for (unsigned int i = 0; i < GDB_MAX_HW; i++) {
		if (!t->hw[i].used || t->hw[i].type != type || t->hw[i].address != address || t->hw[i].len != len)
			continue;
		t->hw[i].used = false;
		return 0;
	}
	return -ENOENT;
}

void gdb_break_clear(struct gdb_target *t)
{
	while (t->nr_breaks)
		unpatch(t, &t->brk[--t->nr_breaks]);
	for (unsigned int i = 0; i < GDB_MAX_HW; i++)
		t->hw[i].used = false;
}

/* SDM vol. 3, 18.2.4 "Debug Control Register": global enable, and R/W and LEN fields. */
static uint64_t dr7(const struct gdb_target *t)
{
	static const uint8_t len_field[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	uint64_t v = DR7_FIXED;

	for (unsigned int i = 0; i < GDB_MAX_HW; i++)
		if (t->hw[i].used)
			v |= 2ULL << (2 * i) |
			     (uint64_t)(t->hw[i].type | (unsigned int)len_field[t->hw[i].len] << 2) << (16 + 4 * i);
	return v;
}

/* Nothing is delivered between here and the next instruction: a step shows the code, not the timer. */
static int hold_interrupts(struct vcpu *v)
{
	struct hvx_events e;
	struct hvx_regs r;
	int ret = hv_get_state(&v->hv, HVX_STATE_REGS, &r, sizeof(r)) ?:
		  hv_get_state(&v->hv, HVX_STATE_EVENTS, &e, sizeof(e));

	if (ret || !(r.rflags & RFLAGS_IF) || e.interrupt_shadow || e.injected || e.exception)
		return ret;
	e.interrupt_shadow = HVX_SHADOW_STI;
	return hv_set_state(&v->hv, HVX_STATE_EVENTS, &e, sizeof(e));
}

int gdb_arm(struct gdb_target *t, struct vcpu *v, bool step)
{
	struct hvx_debug d = { .flags = step ? HVX_DEBUG_STEP : 0 };

	if (t->nr_breaks)
		d.flags |= HVX_DEBUG_SW;
	for (unsigned int i = 0; i < GDB_MAX_HW; i++) {
		if (!t->hw[i].used)
			continue;
		d.flags |= HVX_DEBUG_HW;
		d.db[i] = t->hw[i].address;
	}
	if (d.flags & HVX_DEBUG_HW)
		d.dr7 = dr7(t);
	return hv_set_debug(&v->hv, &d) ?: (step ? hold_interrupts(v) : 0);
}

bool gdb_is_ours(struct gdb_target *t, struct vcpu *v, uint64_t linear)
{
	struct hvx_sregs s;
	uint64_t gpa;

	if (hv_get_state(&v->hv, HVX_STATE_SREGS, &s, sizeof(s)) || translate(v, &s, linear, &gpa))
		return false;
	for (unsigned int i = 0; i < t->nr_breaks; i++)
		if (t->brk[i].gpa == gpa)
			return true;
	return false;
}

/* A trap: RIP is behind the instruction, which is CC, or CD 03. */
int gdb_reflect_bp(struct vcpu *v)
{
	struct hvx_events e;
	struct hvx_sregs s;
	struct hvx_regs r;
	uint8_t opcode = INT3;
	int ret = hv_get_state(&v->hv, HVX_STATE_REGS, &r, sizeof(r)) ?:
		  hv_get_state(&v->hv, HVX_STATE_SREGS, &s, sizeof(s)) ?:
		  hv_get_state(&v->hv, HVX_STATE_EVENTS, &e, sizeof(e));

	if (ret)
		return ret;
	gdb_memory(v, s.efer & EFER_LMA && s.cs.attr & HVX_SEG_L ? r.rip : s.cs.base + r.rip, &opcode, 1, false);
	r.rip += opcode == INT3 ? 1 : 2;
	e.exception = 3 | HVX_EVENT_EXC | HVX_EVENT_VALID;
	e.exception_code = 0;
	e.exception_payload = 0;
	return hv_set_state(&v->hv, HVX_STATE_REGS, &r, sizeof(r)) ?:
	       hv_set_state(&v->hv, HVX_STATE_EVENTS, &e, sizeof(e));
}
