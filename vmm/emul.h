/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The instruction emulator: executes the one guest instruction that made an
 * HVX_EXIT_EMULATE exit. It is pure: no system calls, no globals, no memory
 * other than what the caller hands in. Everything that the instruction reaches
 * goes through emul_ops.
 *
 * Protocol of one exit:
 *   1. fill in struct emul_ctx (inputs), call emul_insn();
 *   2. EMUL_OK:        registers hold the state after the instruction. The caller
 *                      ends an interrupt shadow, clears RFLAGS.RF and raises a
 *                      single-step #DB if RFLAGS.TF was set.
 *      EMUL_AGAIN:     a string instruction did part of its work, or a locked
 *                      update kept losing its race; run the guest or call again.
 *                      RIP is unchanged, RCX/RSI/RDI may have advanced.
 *      EMUL_FAULT:     inject ctx->vector (with error_code where has_error_code;
 *                      CR2 = ctx->cr2 for #PF). RIP is unchanged.
 *      EMUL_UNHANDLED: not an instruction of the set below; no state changed.
 *                      A guest program can cause it by rewriting the instruction
 *                      from another vCPU, so it must not bring the VMM down when
 *                      the guest is at CPL 3: inject #UD then.
 *   3. write back the groups of ctx->dirty.
 *
 * Hardware task switches are done by emul_task_switch() in the same way.
 *
 * What is executed: MOV in all forms but segment and control register loads,
 * string and string I/O instructions, integer ALU, shift, bit, exchange and
 * compare-exchange instructions, PUSH/POP/near CALL/JMP/RET, SETcc, CMOVcc, and
 * the SSE/AVX (VEX, 128 and 256 bit) moves between memory and registers.
 * Protection is checked as the CPU does: segmentation, paging in all modes,
 * U/S, R/W, NX, SMEP, SMAP, WP, protection keys, I/O permission, alignment.
 */
#ifndef HVX_VMM_EMUL_H
#define HVX_VMM_EMUL_H

#include <stdbool.h>
#include <stdint.h>
#include <uapi/hvx.h>

enum emul_result {
	EMUL_OK = 0,
	EMUL_FAULT,
	EMUL_UNHANDLED,
	EMUL_AGAIN,
	EMUL_SHUTDOWN,		/* emul_task_switch() only: a triple fault */
};

/* What cmpxchg_phys() says. */
enum emul_cmpxchg {
	EMUL_CMPXCHG_DONE = 0,	/* memory held *expected and now holds *desired */
	EMUL_CMPXCHG_DIFFERS,	/* memory held something else; nothing was written */
	EMUL_CMPXCHG_NOT_RAM,	/* cannot be done atomically there (MMIO, ROM, split) */
};

/*
 * The callbacks. A single call never crosses a 4 KiB page; len is 1..32.
 * A non-zero return of read_phys means nothing answered: the bytes read as
 * ones. Of write_phys: the write is lost. In neither case does the guest see
 * an exception, as on a real bus.
 */
struct emul_ops {
	int (*read_phys)(void *opaque, uint64_t gpa, void *buf, unsigned int len);
	int (*write_phys)(void *opaque, uint64_t gpa, const void *buf, unsigned int len);
	/*
	 * Atomic compare and exchange on guest RAM; len 1, 2, 4, 8 or 16. gpa
	 * need not be aligned, but all is in one 64-byte line. Used for locked
	 * instructions and for accessed and dirty bits of guest page tables.
	 */
	enum emul_cmpxchg (*cmpxchg_phys)(void *opaque, uint64_t gpa, const void *expected, const void *desired,
					  unsigned int len);
	/* One port access; size 1, 2 or 4. *val is zero-extended. */
	void (*pio_in)(void *opaque, uint16_t port, unsigned int size, uint32_t *val);
	void (*pio_out)(void *opaque, uint16_t port, unsigned int size, uint32_t val);
	/*
	 * Vector registers, 0..15, from the XSAVE group; len 16 (XMM) or 32 (YMM).
	 * set_vec with 16 leaves the rest of the register alone; with 32 it also
	 * zeroes everything above bit 255 (SDM vol. 1, "AVX: upper bits").
	 * NULL, or non-zero returned: EMUL_UNHANDLED.
	 */
	int (*get_vec)(void *opaque, unsigned int reg, void *buf, unsigned int len);
	int (*set_vec)(void *opaque, unsigned int reg, const void *buf, unsigned int len);
	/* XCR0; called for VEX instructions only. NULL: as if AVX were off. */
	uint64_t (*get_xcr0)(void *opaque);
	/* PKRU; called only while the guest has CR4.PKE set. NULL: all keys allow all. */
	uint32_t (*get_pkru)(void *opaque);
};

/* struct emul_ctx.quirks: where CPU models decode the same bytes differently */
#define EMUL_NO_LZCNT	(1U << 0)	/* F3 0F BD is BSR (CPUID 80000001 ECX.ABM clear) */
#define EMUL_NO_TZCNT	(1U << 1)	/* F3 0F BC is BSF (CPUID 7 EBX.BMI1 clear) */

/* Iterations of a REP string instruction done by one call. */
#define EMUL_MAX_BATCH	4096

struct emul_ctx {
	/* in */
	struct hvx_regs *regs;		/* in and out */
	const struct hvx_sregs *sregs;
	const struct emul_ops *ops;
	void *opaque;
	unsigned int phys_bits;		/* the guest's MAXPHYADDR, for reserved bits; 0 = 52 */
	unsigned int quirks;		/* EMUL_NO_* */

	/* out */
	uint32_t dirty;			/* groups changed: bits 1 << HVX_STATE_REGS, HVX_STATE_SREGS */
	uint8_t vector;			/* with EMUL_FAULT */
	bool has_error_code;
	uint32_t error_code;
	uint64_t cr2;			/* with vector 14 */
};

/*
 * Execute the instruction at CS:RIP. insn/len: its first bytes as the CPU
 * handed them over, 0..15 of them; what is missing is fetched from the guest.
 */
enum emul_result emul_insn(struct emul_ctx *ctx, const uint8_t *insn, int len);

/* A switch to another task, as an HVX_EXIT_TASK_SWITCH tells of it. */
struct emul_task {
	uint16_t selector;		/* of the new TSS */
	uint8_t source;			/* HVX_TASK_* */
	uint8_t insn_len;		/* RIP + insn_len is where the old task goes on */
	uint32_t event;			/* what led to it, an HVX_EVENT_*, or 0 */
	uint32_t error_code;		/* with HVX_EVENT_HAS_CODE */
	/* out */
	bool trap;			/* the new TSS has its T flag set: #DB with DR6.BT before its first instruction */
};

/*
 * Does it: SDM vol. 3 "Task Switching", for TSSs of 16 and 32 bits. *sregs is
 * what ctx->sregs points to, and changes with *ctx->regs. EMUL_OK; EMUL_FAULT:
 * where ctx->dirty has groups the new task runs already, and the fault is its own,
 * else nothing has changed, and the fault comes in place of the event, as a double
 * fault where the two make one. EMUL_AGAIN as above. What is in no group that ctx
 * has is the caller's: DR7's local enable bits are cleared with each switch.
 */
enum emul_result emul_task_switch(struct emul_ctx *ctx, struct hvx_sregs *sregs, struct emul_task *t);

#endif
