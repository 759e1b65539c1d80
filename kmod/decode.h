/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instruction decoding for the exits that need it. Pure functions of their
 * arguments, which the host's unit tests build in userspace.
 */
#ifndef _HVX_DECODE_H
#define _HVX_DECODE_H

#include <linux/types.h>

/* Longest instruction (SDM vol. 2, 2.3.11). */
#define HVX_INSN_MAX	15

/* Default operand and address size of the code segment. */
enum hvx_cpu_mode { HVX_MODE_16, HVX_MODE_32, HVX_MODE_64 };

/* A decoded plain MOV. */
struct hvx_mov {
	u8 len;			/* instruction bytes */
	u8 size;		/* memory operand bytes: 1, 2, 4, 8 */
	u8 dst_size;		/* register operand bytes; may be more with MOVZX, MOVSX, MOVSXD */
	u8 reg;			/* 0..15; register source or destination */
	bool is_write;
	bool sign_extend;
	bool high_byte;		/* AH, CH, DH, BH: reg is 0..3 */
	bool is_imm;		/* write of imm */
	u64 imm;		/* truncated to size */
};

/*
 * A MOV between register or immediate and memory: 88, 89, 8A, 8B, A0-A3, C6,
 * C7, MOVZX, MOVSX, MOVSXD. Reads at most len bytes of insn. 0; or -EINVAL: it
 * is something else, has a LOCK prefix, has no memory operand, or is cut short.
 */
int hvx_decode_mov(const u8 *insn, int len, enum hvx_cpu_mode mode, struct hvx_mov *mov);

/*
 * Length, prefixes included, of an instruction whose opcode is already known
 * from the exit; 0 if the bytes are something else or cut short. opcode may
 * begin with F3 as a mandatory prefix (F3 90 is PAUSE). rm: a ModRM byte follows
 * that names a register whatever its mod says, as that of MOV to and from CRn and
 * DRn does (SDM vol. 2, "MOV"); its number, 0..15, is handed out. NULL: none does.
 */
int hvx_insn_len(const u8 *insn, int len, enum hvx_cpu_mode mode,
		 const u8 *opcode, int opcode_len, u8 *rm);

#endif
