// SPDX-License-Identifier: GPL-2.0-only
#include "emul_native.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../../vmm/emul.h"

struct native nat;

static uint64_t rnd_state;
static sigjmp_buf escape;
static uint8_t epilogue[1024];
static int epilogue_len, insn_at;

void rnd_seed(uint64_t seed)
{
	rnd_state = seed * 0x9e3779b97f4a7c15ULL + 1;
}

uint64_t rnd(void)
{
	/* xorshift64* */
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545f4914f6cdd1dULL;
}

unsigned int rnd_below(unsigned int n)
{
	return (rnd() >> 33) % n;
}

uint64_t rnd_value(void)
{
	static const uint64_t edge[] = {
		0, 1, 2, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
		0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xffffffffffffff80,
		0xffffffffffff8000, 0xffffffff80000000, 0x8080808080808080, 0x5555555555555555,
	};

	switch (rnd_below(4)) {
	case 0:
		return edge[rnd_below(sizeof(edge) / sizeof(edge[0]))];
	case 1:
		return rnd() >> rnd_below(64);
	default:
		return rnd();
	}
}

/* ------------------------------------------------------- the native stub */

struct writer {
	uint8_t *p;
	int n;
};

static void put(struct writer *w, int count, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, count);
	while (count--)
		w->p[w->n++] = __builtin_va_arg(ap, int);
	__builtin_va_end(ap);
}

/* SIB form of an absolute 32-bit address, for the given ModRM.reg. */
static void put_abs(struct writer *w, unsigned int reg, const void *addr)
{
	uint32_t a = (uint32_t)(uintptr_t)addr;

	put(w, 2, (int)((reg & 7) << 3 | 4), 0x25);
	memcpy(w->p + w->n, &a, 4);
	w->n += 4;
}

static void put_gpr(struct writer *w, bool load, unsigned int reg, const void *addr)
{
	put(w, 2, reg & 8 ? 0x4c : 0x48, load ? 0x8b : 0x89);
	put_abs(w, reg, addr);
}

static void put_vec(struct writer *w, bool load, unsigned int reg, const void *addr)
{
	int op = load ? 0x6f : 0x7f;

	if (nat.avx)
		put(w, 3, 0xc5, reg & 8 ? 0x7e : 0xfe, op);
	else
		put(w, 4, 0xf3, reg & 8 ? 0x44 : 0x40, 0x0f, op);
	put_abs(w, reg, addr);
}

static void build_stub(void)
{
	struct native_area *a = nat.area;
	struct writer w = { a->code, 0 };
	unsigned int i;

	put(&w, 10, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);	/* push rbx rbp r12..r15 */
	put_gpr(&w, false, 4, &a->host_rsp);
	for (i = 0; i < 16; i++)
		put_vec(&w, true, i, a->in.ymm[i]);
	put(&w, 1, 0xff);		/* push [in.flags]; popfq */
	put_abs(&w, 6, &a->in.flags);
	put(&w, 1, 0x9d);
	for (i = 0; i < 16; i++)
		put_gpr(&w, true, i, &a->in.gpr[i]);
	insn_at = w.n;

	w.p = epilogue;
	w.n = 0;
	put_gpr(&w, false, 4, &a->out.gpr[4]);
	put_gpr(&w, true, 4, &a->host_rsp);
	put(&w, 2, 0x9c, 0x8f);		/* pushfq; pop [out.flags] */
	put_abs(&w, 0, &a->out.flags);
	put(&w, 1, 0xfc);		/* cld */
	for (i = 0; i < 16; i++)
		if (i != 4)
			put_gpr(&w, false, i, &a->out.gpr[i]);
	for (i = 0; i < 16; i++)
		put_vec(&w, false, i, a->out.ymm[i]);
	if (nat.avx)
		put(&w, 3, 0xc5, 0xf8, 0x77);	/* vzeroupper */
	put(&w, 11, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
	epilogue_len = w.n;
}

static void on_fault(int sig)
{
	siglongjmp(escape, sig);
}

uint64_t native_insn_addr(void)
{
	return (uint64_t)(uintptr_t)nat.area->code + insn_at;
}

void native_setup(void)
{
	static const int sigs[] = { SIGFPE, SIGSEGV, SIGILL, SIGBUS, SIGTRAP };
	static uint8_t altstack[65536];
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };
	void *p;
	size_t i;

	p = mmap(NULL, sizeof(struct native_area), PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ck_assert_msg(p != MAP_FAILED, "no executable memory below 2 GiB");
	nat.area = p;
	nat.avx = __builtin_cpu_supports("avx");
	nat.gs_base = 0x13570;
	ck_assert_int_eq(syscall(SYS_arch_prctl, ARCH_SET_GS, nat.gs_base), 0);
	ck_assert_int_eq(sigaltstack(&ss, NULL), 0);
	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		ck_assert_int_eq(sigaction(sigs[i], &sa, NULL), 0);
	build_stub();
}

/* 0, or the signal. */
static int run_native(const struct trial *t)
{
	struct native_area *a = nat.area;
	int sig;

	memcpy(a->code + insn_at, t->insn, t->len);
	memcpy(a->code + insn_at + t->len, epilogue, epilogue_len);
	a->in = t->in;
	memset(&a->out, 0, sizeof(a->out));
	sig = sigsetjmp(escape, 1);
	if (!sig)
		((void (*)(void))(uintptr_t)a->code)();
	return sig;
}

/* --------------------------------------------------------- the emulator */

struct emu_state {
	struct cpu *cpu;
	unsigned int strays;	/* accesses outside what the test gave */
};

static uint8_t *flat(struct emu_state *s, uint64_t gpa, unsigned int len)
{
	uint64_t base = (uint64_t)(uintptr_t)nat.area;

	if (gpa < base || gpa > base + sizeof(*nat.area) - len || ((gpa ^ (gpa + len - 1)) >> 12)) {
		s->strays++;
		return NULL;
	}
	return (uint8_t *)(uintptr_t)gpa;
}

static int flat_read(void *opaque, uint64_t gpa, void *buf, unsigned int len)
{
	uint8_t *p = flat(opaque, gpa, len);

	if (p)
		memcpy(buf, p, len);
	return p ? 0 : -1;
}

static int flat_write(void *opaque, uint64_t gpa, const void *buf, unsigned int len)
{
	uint8_t *p = flat(opaque, gpa, len);

	if (p)
		memcpy(p, buf, len);
	return p ? 0 : -1;
}

static enum emul_cmpxchg flat_cmpxchg(void *opaque, uint64_t gpa, const void *expected, const void *desired,
				      unsigned int len)
{
	uint8_t *p = flat(opaque, gpa, len);

	if (!p)
		return EMUL_CMPXCHG_NOT_RAM;
	if (memcmp(p, expected, len))
		return EMUL_CMPXCHG_DIFFERS;
	memcpy(p, desired, len);
	return EMUL_CMPXCHG_DONE;
}

static void no_in(void *opaque, uint16_t port, unsigned int size, uint32_t *val)
{
	(void)port;
	(void)size;
	((struct emu_state *)opaque)->strays++;
	*val = 0;
}

static void no_out(void *opaque, uint16_t port, unsigned int size, uint32_t val)
{
	(void)port;
	(void)size;
	(void)val;
	((struct emu_state *)opaque)->strays++;
}

static int vec_get(void *opaque, unsigned int reg, void *buf, unsigned int len)
{
	memcpy(buf, ((struct emu_state *)opaque)->cpu->ymm[reg], len);
	return 0;
}

static int vec_set(void *opaque, unsigned int reg, const void *buf, unsigned int len)
{
	memcpy(((struct emu_state *)opaque)->cpu->ymm[reg], buf, len);
	return 0;
}

static uint64_t xcr0_avx(void *opaque)
{
	(void)opaque;
	return 7;
}

static const struct emul_ops flat_ops = {
	.read_phys = flat_read,
	.write_phys = flat_write,
	.cmpxchg_phys = flat_cmpxchg,
	.pio_in = no_in,
	.pio_out = no_out,
	.get_vec = vec_get,
	.set_vec = vec_set,
	.get_xcr0 = xcr0_avx,
};

/* 64-bit mode, CPL 3, everything flat; no paging, so that linear = physical = host address. */
static void user64(struct hvx_sregs *s)
{
	memset(s, 0, sizeof(*s));
	s->cr0 = 0x33;		/* PE MP ET NE */
	s->cr4 = 0x40620;	/* PAE OSFXSR OSXMMEXCPT OSXSAVE */
	s->efer = 0xd01;	/* NXE LMA LME SCE */
	s->cpl = 3;
	s->cs.attr = HVX_SEG_P | HVX_SEG_S | HVX_SEG_L | 0x60 | 0xb;
	s->ss.attr = HVX_SEG_P | HVX_SEG_S | HVX_SEG_DB | 0x60 | 3;
	s->ds = s->ss;
	s->es = s->ss;
	s->fs = s->ss;
	s->gs = s->ss;
	s->gs.base = nat.gs_base;
}

static enum emul_result run_emulator(const struct trial *t, struct cpu *cpu, struct emul_ctx *ctx, uint64_t *rip,
				     unsigned int *strays)
{
	struct emu_state state = { .cpu = cpu };
	struct hvx_sregs sregs;
	struct hvx_regs regs;
	enum emul_result r;
	/* of the bytes the CPU would hand over: all, more than needed, none */
	int give = rnd_below(3) == 0 ? 0 : rnd_below(2) ? t->len : 15;

	user64(&sregs);
	*cpu = t->in;
	memcpy(&regs, cpu->gpr, sizeof(cpu->gpr));
	regs.rip = native_insn_addr();
	regs.rflags = cpu->flags;
	memset(ctx, 0, sizeof(*ctx));
	ctx->regs = &regs;
	ctx->sregs = &sregs;
	ctx->ops = &flat_ops;
	ctx->opaque = &state;
	do {
		r = emul_insn(ctx, nat.area->code + insn_at, give);
	} while (r == EMUL_AGAIN);
	memcpy(cpu->gpr, &regs, sizeof(cpu->gpr));
	cpu->flags = regs.rflags;
	*rip = regs.rip;
	*strays = state.strays;
	return r;
}

/* ------------------------------------------------------------ comparison */

static void explain(const struct trial *t, const struct cpu *want, const struct cpu *got)
{
	unsigned int i;

	printf("%s:", t->name);
	for (i = 0; (int)i < t->len; i++)
		printf(" %02x", t->insn[i]);
	printf("\n");
	for (i = 0; i < 16; i++)
		printf("  r%-2u in %016llx cpu %016llx emul %016llx%s\n", i, (unsigned long long)t->in.gpr[i],
		       (unsigned long long)want->gpr[i], (unsigned long long)got->gpr[i],
		       want->gpr[i] == got->gpr[i] ? "" : "  <--");
	printf("  flags in %llx cpu %llx emul %llx undefined %llx\n", (unsigned long long)t->in.flags,
	       (unsigned long long)want->flags, (unsigned long long)got->flags, (unsigned long long)t->undef);
	fflush(stdout);
}

static int vector_of(int sig)
{
	return sig == SIGFPE ? 0 : sig == SIGILL ? 6 : sig == SIGSEGV ? 13 : -1;
}

void native_compare(const struct trial *t)
{
	static uint8_t before[MEM_SIZE], after[MEM_SIZE];
	uint64_t rip, mask = FLAGS_ARITH | FLAG_DF;
	struct cpu want, got;
	struct emul_ctx ctx;
	enum emul_result r;
	unsigned int i, strays;
	size_t at;
	int sig;

	memcpy(before, nat.area->mem, sizeof(before));
	sig = run_native(t);
	want = sig ? t->in : nat.area->out;
	memcpy(after, nat.area->mem, sizeof(after));
	memcpy(nat.area->mem, before, sizeof(before));
	r = run_emulator(t, &got, &ctx, &rip, &strays);
	nat.cases++;

	for (i = 0; i < 16; i++)
		if (t->undef_gpr & (1U << i))
			got.gpr[i] = want.gpr[i];
	if (r != (sig ? EMUL_FAULT : EMUL_OK)) {
		explain(t, &want, &got);
		ck_abort_msg("%s: result %d, the CPU: signal %d", t->name, r, sig);
	}
	if (sig) {
		nat.faults++;
		ck_assert_msg(ctx.vector == vector_of(sig), "%s: vector %d, the CPU: signal %d", t->name, ctx.vector,
			      sig);
		mask = ~0ULL;
	} else {
		mask &= ~t->undef;
	}
	if (memcmp(want.gpr, got.gpr, sizeof(want.gpr)) || ((want.flags ^ got.flags) & mask)) {
		explain(t, &want, &got);
		ck_abort_msg("%s: registers differ", t->name);
	}
	for (at = 0; at < sizeof(after) && after[at] == nat.area->mem[at]; at++)
		;
	if (at < sizeof(after)) {
		explain(t, &want, &got);
		ck_abort_msg("%s: memory at +%zu: CPU %02x emul %02x", t->name, at, after[at], nat.area->mem[at]);
	}
	for (i = 0; i < 16; i++)
		if (memcmp(want.ymm[i], got.ymm[i], nat.avx ? 32 : 16)) {
			explain(t, &want, &got);
			ck_abort_msg("%s: vector register %u differs", t->name, i);
		}
	ck_assert_msg(strays == 0, "%s: accesses outside the operand", t->name);
	ck_assert_msg(rip == native_insn_addr() + (sig ? 0 : t->len), "%s: RIP", t->name);
}
