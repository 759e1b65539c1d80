/* SPDX-License-Identifier: GPL-2.0-only */
/* Guest code as assembly in the test: position-independent, runs at TG_CODE. */
#ifndef HVX_TESTS_GUEST_H
#define HVX_TESTS_GUEST_H

#include "tg.h"

#define GUEST_AS(bits, name, code)					\
	extern const uint8_t name[], name##_end[];			\
	asm(".pushsection .rodata\n.code" #bits "\n" #name ":\n" code	\
	    "\n" #name "_end:\n.code64\n.popsection")
#define GUEST16(name, code)	GUEST_AS(16, name, code)
#define GUEST32(name, code)	GUEST_AS(32, name, code)
#define GUEST(name, code)	GUEST_AS(64, name, code)
#define GUEST_LEN(name)		(size_t)(name##_end - name)

asm(".macro wr msr lo hi=0\n"
    "mov $\\msr, %ecx\nmov $\\lo, %eax\nmov $\\hi, %edx\nwrmsr\n"
    ".endm\n"
    ".macro say val\n"			/* TG_SAY: tg_said() returns it */
    "mov $\\val, %al\nout %al, $0x10\n"
    ".endm\n"
    ".macro x2apic\n"			/* x2APIC mode, software-enabled */
    "mov $0x1b, %ecx\nrdmsr\nor $0xc00, %eax\nwrmsr\n"
    "wr 0x80f 0x1ff\n"
    ".endm\n"
    ".macro finish\n"
    "1: cli\nsay 0xee\njmp 1b\n"
    ".endm");

#define TG_DONE		0xee	/* what `finish` says */
#define TG_SAY		0x10
#define TG_EXC		0x11	/* tg_handlers(): the vector goes out here */
#define TG_HANDLERS	0x3000	/* 256 of 16 bytes */
#define TG_TSS		0x6000
#define TG_TSS_STACK	0x5f00	/* for entries from CPL 3 */

static inline int tg_said(struct tg *g, unsigned int id)
{
	struct hvx_run *run = g->v[id].run;
	int r;

	do {
		r = tg_run(g, id);
	} while (r == -EINTR || r == HVX_EXIT_KICKED);
	if (r != HVX_EXIT_PIO || !run->pio.is_write || run->pio.port != TG_SAY)
		return -1000 - r;
	return run->pio.data;
}

/* Gates for all vectors: each outputs its vector to TG_EXC, then halts with the stack as it was. */
static inline void tg_handlers(struct tg *g)
{
	unsigned int v;

	for (v = 0; v < 256; v++) {
		const uint8_t code[] = { 0xb0, v, 0xe6, TG_EXC, 0xf4, 0xeb, 0xfd };

		memcpy(g->mem + TG_HANDLERS + v * 16, code, sizeof(code));
		tg_gate(g, v, TG_HANDLERS + v * 16);
	}
}

/* After tg_long(): CPL 3, with a TSS to come back by. */
static inline void tg_user(struct tg *g, unsigned int id)
{
	struct hvx_sregs s;

	CHECK(!tg_get(g, id, HVX_STATE_SREGS, &s, sizeof(s)));
	memset(g->mem + TG_TSS, 0, 0x68);
	*(uint64_t *)(g->mem + TG_TSS + 4) = TG_TSS_STACK;
	*(uint16_t *)(g->mem + TG_TSS + 0x66) = 0x68;	/* beyond the limit: no ports */
	s.tr = (struct hvx_segment) { .base = TG_TSS, .limit = 0x67, .selector = 0x28,
				      .attr = 0xb | HVX_SEG_P };
	s.cs.selector = 0x1b;
	s.cs.attr |= 3 << 5;
	s.ss.selector = s.ds.selector = s.es.selector = 0x13;
	s.ss.attr |= 3 << 5;
	s.ds = s.es = s.ss;
	CHECK(!tg_set(g, id, HVX_STATE_SREGS, &s, sizeof(s)));
}

/* After tg_protected(): 16-bit segments. */
static inline void tg_protected16(struct tg *g, unsigned int id)
{
	struct hvx_sregs s;

	CHECK(!tg_get(g, id, HVX_STATE_SREGS, &s, sizeof(s)));
	s.cs.attr &= ~HVX_SEG_DB;
	s.ss.attr &= ~HVX_SEG_DB;
	CHECK(!tg_set(g, id, HVX_STATE_SREGS, &s, sizeof(s)));
}

/* Does QEMU's TCG play this host's CPU? Some corners of its AMD-V are missing. */
static inline bool tg_host_is_tcg(void)
{
	uint32_t a, b, c, d;

	asm("cpuid" : "=a" (a), "=b" (b), "=c" (c), "=d" (d) : "a" (0x40000000));
	return b == 0x54474354 && c == 0x43544743 && d == 0x47435447;
}

#endif
