// SPDX-License-Identifier: GPL-2.0-only
/* Unit tests of kmod/decode.c. With ASan: cut inputs sit at the end of their allocation. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../kmod/decode.h"

#define M16 HVX_MODE_16
#define M32 HVX_MODE_32
#define M64 HVX_MODE_64
#define B(...) { __VA_ARGS__ }, sizeof((u8[]){ __VA_ARGS__ })

struct mov_case {
	const char *text;
	enum hvx_cpu_mode mode;
	u8 bytes[16];
	int len;
	struct hvx_mov want;	/* .len is filled from len */
};

#define ST(s, r) { .size = (s), .dst_size = (s), .reg = (r), .is_write = true }
#define LD(s, r) { .size = (s), .dst_size = (s), .reg = (r) }
#define IMM(s, v) { .size = (s), .dst_size = (s), .is_write = true, .is_imm = true, .imm = (v) }
#define ZX(s, d, r) { .size = (s), .dst_size = (d), .reg = (r) }
#define SX(s, d, r) { .size = (s), .dst_size = (d), .reg = (r), .sign_extend = true }
#define HI_ST(r) { .size = 1, .dst_size = 1, .reg = (r), .is_write = true, .high_byte = true }
#define HI_LD(r) { .size = 1, .dst_size = 1, .reg = (r), .high_byte = true }

static const struct mov_case mov_cases[] = {
	/* 88, 89: stores */
	{ "mov [rax], cl", M64, B(0x88, 0x08), ST(1, 1) },
	{ "mov [rax], ah", M64, B(0x88, 0x20), HI_ST(0) },
	{ "mov [rax], bh", M64, B(0x88, 0x38), HI_ST(3) },
	{ "mov [rax], spl", M64, B(0x40, 0x88, 0x20), ST(1, 4) },
	{ "mov [rax], dil", M64, B(0x40, 0x88, 0x38), ST(1, 7) },
	{ "mov [rax], r12b", M64, B(0x44, 0x88, 0x20), ST(1, 12) },
	{ "mov [rax], ecx", M64, B(0x89, 0x08), ST(4, 1) },
	{ "mov [rax], cx", M64, B(0x66, 0x89, 0x08), ST(2, 1) },
	{ "mov [rax], rcx", M64, B(0x48, 0x89, 0x08), ST(8, 1) },
	{ "66 REX.W: W wins", M64, B(0x66, 0x48, 0x89, 0x08), ST(8, 1) },
	{ "REX before 66 does not count", M64, B(0x48, 0x66, 0x89, 0x08), ST(2, 1) },
	{ "mov [r8], r15", M64, B(0x4d, 0x89, 0x38), ST(8, 15) },
	{ "mov [eax], ecx", M32, B(0x89, 0x08), ST(4, 1) },
	{ "mov [eax], cx", M32, B(0x66, 0x89, 0x08), ST(2, 1) },
	{ "mov [bx+si], cx", M16, B(0x89, 0x08), ST(2, 1) },
	{ "mov [bx+si], ecx", M16, B(0x66, 0x89, 0x08), ST(4, 1) },
	/* 8A, 8B: loads */
	{ "mov dl, [rsi]", M64, B(0x8a, 0x16), LD(1, 2) },
	{ "mov ch, [rsi]", M64, B(0x8a, 0x2e), HI_LD(1) },
	{ "mov bpl, [rsi]", M64, B(0x40, 0x8a, 0x2e), LD(1, 5) },
	{ "mov edx, [rsi]", M64, B(0x8b, 0x16), LD(4, 2) },
	{ "mov r10, [rsi]", M64, B(0x4c, 0x8b, 0x16), LD(8, 10) },
	{ "mov dx, [esi]", M32, B(0x66, 0x8b, 0x16), LD(2, 2) },
	{ "mov dh, [esi]", M32, B(0x8a, 0x36), HI_LD(2) },
	/* memory operands, 64-bit */
	{ "mov [rip+x], eax", M64, B(0x89, 0x05, 1, 2, 3, 4), ST(4, 0) },
	{ "mov [eip+x], eax", M64, B(0x67, 0x89, 0x05, 1, 2, 3, 4), ST(4, 0) },
	{ "mov [r13+0], eax", M64, B(0x41, 0x89, 0x45, 0), ST(4, 0) },
	{ "mod 0 rm 5 with REX.B is RIP-relative too", M64, B(0x41, 0x89, 0x05, 1, 2, 3, 4), ST(4, 0) },
	{ "mov [rsp], eax", M64, B(0x89, 0x04, 0x24), ST(4, 0) },
	{ "mov [rsp+8], eax", M64, B(0x89, 0x44, 0x24, 8), ST(4, 0) },
	{ "mov [rsp+d32], eax", M64, B(0x89, 0x84, 0x24, 1, 2, 3, 4), ST(4, 0) },
	{ "mov [d32], eax", M64, B(0x89, 0x04, 0x25, 0, 0, 0xe0, 0xfe), ST(4, 0) },
	{ "mov [rcx*4+d32], eax", M64, B(0x89, 0x04, 0x8d, 1, 2, 3, 4), ST(4, 0) },
	{ "mov [rbp+rcx*4+1], eax", M64, B(0x89, 0x44, 0x8d, 1), ST(4, 0) },
	{ "mov [r12], eax", M64, B(0x41, 0x89, 0x04, 0x24), ST(4, 0) },
	{ "mov [rax+0x7f], eax", M64, B(0x89, 0x40, 0x7f), ST(4, 0) },
	{ "mov [rax+d32], eax", M64, B(0x89, 0x80, 0xb0, 0, 0, 0), ST(4, 0) },
	{ "gs mov [d32], eax", M64, B(0x65, 0x89, 0x04, 0x25, 1, 2, 3, 4), ST(4, 0) },
	/* memory operands, 32-bit */
	{ "mov [d32], ecx", M32, B(0x89, 0x0d, 0xb0, 0, 0xe0, 0xfe), ST(4, 1) },
	{ "mov [ebp+d32+ecx*8], edx", M32, B(0x89, 0x94, 0xcd, 1, 2, 3, 4), ST(4, 2) },
	{ "a16 mov [d16], ecx", M32, B(0x67, 0x89, 0x0e, 1, 2), ST(4, 1) },
	{ "a16 mov [si], ecx", M32, B(0x67, 0x89, 0x0c), ST(4, 1) },
	/* memory operands, 16-bit */
	{ "mov [d16], cx", M16, B(0x89, 0x0e, 1, 2), ST(2, 1) },
	{ "mov [si], cx", M16, B(0x89, 0x0c), ST(2, 1) },
	{ "mov [bp+1], cx", M16, B(0x89, 0x4e, 1), ST(2, 1) },
	{ "mov [bx+d16], cx", M16, B(0x89, 0x8f, 1, 2), ST(2, 1) },
	{ "a32 mov [esp], cx", M16, B(0x67, 0x89, 0x0c, 0x24), ST(2, 1) },
	{ "a32 mov [d32], ecx", M16, B(0x67, 0x66, 0x89, 0x0d, 1, 2, 3, 4), ST(4, 1) },
	/* C6, C7: immediates */
	{ "mov byte [rax], 0x80", M64, B(0xc6, 0x00, 0x80), IMM(1, 0x80) },
	{ "mov word [rax], 0x8234", M64, B(0x66, 0xc7, 0x00, 0x34, 0x82), IMM(2, 0x8234) },
	{ "mov dword [rax], -2", M64, B(0xc7, 0x00, 0xfe, 0xff, 0xff, 0xff), IMM(4, 0xfffffffe) },
	{ "mov qword [rax], -2", M64, B(0x48, 0xc7, 0x00, 0xfe, 0xff, 0xff, 0xff),
	  IMM(8, 0xfffffffffffffffeULL) },
	{ "mov qword [rax], 0x7fffffff", M64, B(0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0x7f),
	  IMM(8, 0x7fffffff) },
	{ "mov dword [rip+x], imm", M64, B(0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8), IMM(4, 0x08070605) },
	{ "mov byte [rsp+d32], imm", M64, B(0xc6, 0x84, 0x24, 1, 2, 3, 4, 5), IMM(1, 5) },
	{ "REX.R on /0 is ignored", M64, B(0x44, 0xc7, 0x00, 1, 0, 0, 0), IMM(4, 1) },
	{ "mov word [bx+si], imm", M16, B(0xc7, 0x00, 1, 2), IMM(2, 0x201) },
	{ "mov dword [bx+si], imm", M16, B(0x66, 0xc7, 0x00, 1, 2, 3, 4), IMM(4, 0x4030201) },
	{ "mov dword [d32], imm", M32, B(0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8), IMM(4, 0x08070605) },
	/* A0-A3: absolute offsets */
	{ "mov al, [m64]", M64, B(0xa0, 1, 2, 3, 4, 5, 6, 7, 8), LD(1, 0) },
	{ "mov eax, [m64]", M64, B(0xa1, 1, 2, 3, 4, 5, 6, 7, 8), LD(4, 0) },
	{ "mov [m64], al", M64, B(0xa2, 1, 2, 3, 4, 5, 6, 7, 8), ST(1, 0) },
	{ "mov [m64], rax", M64, B(0x48, 0xa3, 1, 2, 3, 4, 5, 6, 7, 8), ST(8, 0) },
	{ "a32 mov [m32], eax", M64, B(0x67, 0xa3, 1, 2, 3, 4), ST(4, 0) },
	{ "accumulator in spite of REX.R", M64, B(0x4c, 0xa1, 1, 2, 3, 4, 5, 6, 7, 8), LD(8, 0) },
	{ "mov eax, [m32]", M32, B(0xa1, 1, 2, 3, 4), LD(4, 0) },
	{ "a16 mov eax, [m16]", M32, B(0x67, 0xa1, 1, 2), LD(4, 0) },
	{ "mov [m16], ax", M16, B(0xa3, 1, 2), ST(2, 0) },
	{ "a32 mov [m32], ax", M16, B(0x67, 0xa3, 1, 2, 3, 4), ST(2, 0) },
	/* MOVZX, MOVSX, MOVSXD */
	{ "movzx eax, byte [rcx]", M64, B(0x0f, 0xb6, 0x01), ZX(1, 4, 0) },
	{ "movzx r9, byte [rcx]", M64, B(0x4c, 0x0f, 0xb6, 0x09), ZX(1, 8, 9) },
	{ "movzx sp, byte [rcx]: no high byte", M64, B(0x66, 0x0f, 0xb6, 0x21), ZX(1, 2, 4) },
	{ "movzx eax, word [rcx]", M64, B(0x0f, 0xb7, 0x01), ZX(2, 4, 0) },
	{ "movzx ax, byte [bx+di]", M16, B(0x0f, 0xb6, 0x01), ZX(1, 2, 0) },
	{ "movzx eax, word [bx+di]", M16, B(0x66, 0x0f, 0xb7, 0x01), ZX(2, 4, 0) },
	{ "movsx eax, byte [rcx]", M64, B(0x0f, 0xbe, 0x01), SX(1, 4, 0) },
	{ "movsx rax, word [rcx]", M64, B(0x48, 0x0f, 0xbf, 0x01), SX(2, 8, 0) },
	{ "movsxd rax, dword [rcx]", M64, B(0x48, 0x63, 0x01), SX(4, 8, 0) },
	{ "movsxd eax, dword [rcx]", M64, B(0x63, 0x01), SX(4, 4, 0) },
	{ "movsxd ax, word [rcx]", M64, B(0x66, 0x63, 0x01), SX(2, 2, 0) },
	/* prefixes without effect here */
	{ "rep mov", M64, B(0xf3, 0x89, 0x08), ST(4, 1) },
	{ "xrelease mov", M64, B(0xf2, 0xc6, 0x00, 1), IMM(1, 1) },
	{ "segments", M32, B(0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x8b, 0x00), LD(4, 0) },
	{ "15 bytes", M64, B(0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e,
			     0x48, 0xc7, 0x00, 1, 0, 0, 0), IMM(8, 1) },
};

struct reject_case {
	const char *text;
	enum hvx_cpu_mode mode;
	u8 bytes[20];
	int len;
};

static const struct reject_case reject_cases[] = {
	{ "lock mov", M64, B(0xf0, 0x89, 0x08) },
	{ "register operand", M64, B(0x89, 0xc8) },
	{ "movzx register", M64, B(0x0f, 0xb6, 0xc1) },
	{ "xabort", M64, B(0xc6, 0xf8, 0x00) },
	{ "c7 /1", M64, B(0xc7, 0x08, 0, 0, 0, 0) },
	{ "arpl", M32, B(0x63, 0x01) },
	{ "arpl", M16, B(0x63, 0x01) },
	{ "mov r, imm", M64, B(0xb8, 1, 2, 3, 4) },
	{ "mov ds, m", M64, B(0x8e, 0x18) },
	{ "add", M64, B(0x01, 0x08) },
	{ "movs", M64, B(0xa4) },
	{ "stos", M64, B(0xab) },
	{ "xchg", M64, B(0x87, 0x08) },
	{ "bswap", M64, B(0x0f, 0xc8) },
	{ "rex where there is none: inc eax", M32, B(0x40, 0x89, 0x08) },
	{ "prefixes only", M64, B(0x66, 0x67, 0x48) },
	{ "16 bytes", M64, B(0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e,
			     0x48, 0xc7, 0x00, 1, 0, 0, 0) },
};

/* A copy whose end is the end of an allocation. */
static u8 *exact_copy(const u8 *bytes, int len)
{
	u8 *p = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(p);
	memcpy(p, bytes, len);
	return p;
}

START_TEST(mov_decodes)
{
	const struct mov_case *c = &mov_cases[_i];
	struct hvx_mov mov;
	u8 longer[16];

	memset(&mov, 0xff, sizeof(mov));
	ck_assert_msg(!hvx_decode_mov(c->bytes, c->len, c->mode, &mov), "%s", c->text);
	ck_assert_msg(mov.len == c->len, "%s: len %d", c->text, mov.len);
	ck_assert_msg(mov.size == c->want.size, "%s: size %d", c->text, mov.size);
	ck_assert_msg(mov.dst_size == c->want.dst_size, "%s: dst_size %d", c->text, mov.dst_size);
	ck_assert_msg(mov.reg == c->want.reg, "%s: reg %d", c->text, mov.reg);
	ck_assert_msg(mov.is_write == c->want.is_write, "%s: is_write", c->text);
	ck_assert_msg(mov.sign_extend == c->want.sign_extend, "%s: sign_extend", c->text);
	ck_assert_msg(mov.high_byte == c->want.high_byte, "%s: high_byte", c->text);
	ck_assert_msg(mov.is_imm == c->want.is_imm, "%s: is_imm", c->text);
	ck_assert_msg(mov.imm == c->want.imm, "%s: imm %llx", c->text,
		      (unsigned long long)mov.imm);

	/* What follows the instruction does not matter. */
	memset(longer, 0xcc, sizeof(longer));
	memcpy(longer, c->bytes, c->len);
	ck_assert_int_eq(hvx_decode_mov(longer, sizeof(longer), c->mode, &mov), 0);
	ck_assert_int_eq(mov.len, c->len);
}
END_TEST

START_TEST(mov_truncated)
{
	const struct mov_case *c = &mov_cases[_i];
	struct hvx_mov mov;
	int n;

	for (n = 0; n < c->len; n++) {
		u8 *p = exact_copy(c->bytes, n);

		ck_assert_msg(hvx_decode_mov(p, n, c->mode, &mov) == -EINVAL, "%s cut to %d",
			      c->text, n);
		free(p);
	}
}
END_TEST

START_TEST(mov_rejects)
{
	const struct reject_case *c = &reject_cases[_i];
	struct hvx_mov mov;
	int n;

	for (n = 0; n <= c->len; n++) {
		u8 *p = exact_copy(c->bytes, n);

		ck_assert_msg(hvx_decode_mov(p, n, c->mode, &mov) == -EINVAL, "%s, %d bytes",
			      c->text, n);
		free(p);
	}
}
END_TEST

START_TEST(mov_negative_length)
{
	struct hvx_mov mov;
	u8 b = 0x89;

	ck_assert_int_eq(hvx_decode_mov(&b, -1, M64, &mov), -EINVAL);
	ck_assert_int_eq(hvx_insn_len(&b, -1, M64, &b, 1, NULL), 0);
}
END_TEST

/* Whatever the bytes, fields stay in their ranges and nothing is read past the end. */
START_TEST(mov_random)
{
	static const u8 heads[] = { 0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0xa0, 0xa1, 0xa2, 0xa3,
				    0x63, 0x0f, 0x66, 0x67, 0x40, 0x48, 0x4f, 0xf2, 0xf3, 0x2e };
	unsigned int seed = 1;
	int i, j;

	for (i = 0; i < 300000; i++) {
		int len = rand_r(&seed) % 19;
		u8 *p = malloc(len ? len : 1);
		struct hvx_mov mov;

		ck_assert_ptr_nonnull(p);
		for (j = 0; j < len; j++)
			p[j] = rand_r(&seed) % 3 ? heads[rand_r(&seed) % sizeof(heads)] :
						   rand_r(&seed) & 0xff;
		if (!hvx_decode_mov(p, len, i % 3, &mov)) {
			ck_assert(mov.len >= 2 && mov.len <= len && mov.len <= HVX_INSN_MAX);
			ck_assert(mov.size == 1 || mov.size == 2 || mov.size == 4 || mov.size == 8);
			ck_assert(mov.dst_size >= mov.size && mov.dst_size <= 8);
			ck_assert(mov.reg < 16 && (!mov.high_byte || (mov.reg < 4 && mov.size == 1)));
			ck_assert(mov.size == 8 || !(mov.imm >> (8 * mov.size)));
			ck_assert(i % 3 == M64 || (mov.reg < 8 && mov.size < 8 && mov.dst_size < 8));
		}
		free(p);
	}
}
END_TEST

struct len_case {
	const char *text;
	enum hvx_cpu_mode mode;
	u8 opcode[3];
	int opcode_len;
	bool modrm;
	u8 bytes[16];
	int len;
	int rm;			/* with modrm */
};

static const struct len_case len_cases[] = {
	{ "cpuid", M64, B(0x0f, 0xa2), false, B(0x0f, 0xa2), 0 },
	{ "66 rex cpuid", M64, B(0x0f, 0xa2), false, B(0x66, 0x48, 0x0f, 0xa2), 0 },
	{ "cpuid", M16, B(0x0f, 0xa2), false, B(0x0f, 0xa2), 0 },
	{ "rdmsr", M64, B(0x0f, 0x32), false, B(0x0f, 0x32), 0 },
	{ "wrmsr", M64, B(0x0f, 0x30), false, B(0x0f, 0x30), 0 },
	{ "rdpmc", M64, B(0x0f, 0x33), false, B(0x0f, 0x33), 0 },
	{ "vmmcall", M64, B(0x0f, 0x01, 0xd9), false, B(0x0f, 0x01, 0xd9), 0 },
	{ "vmcall", M64, B(0x0f, 0x01, 0xc1), false, B(0x0f, 0x01, 0xc1), 0 },
	{ "xsetbv", M64, B(0x0f, 0x01, 0xd1), false, B(0x0f, 0x01, 0xd1), 0 },
	{ "hlt", M64, B(0xf4), false, B(0xf4), 0 },
	{ "rep hlt", M32, B(0xf4), false, B(0xf3, 0xf4), 0 },
	{ "pause", M64, B(0xf3, 0x90), false, B(0xf3, 0x90), 0 },
	{ "segment pause", M64, B(0xf3, 0x90), false, B(0x2e, 0xf3, 0x66, 0x90), 0 },
	{ "invd", M64, B(0x0f, 0x08), false, B(0x0f, 0x08), 0 },
	{ "wbinvd", M64, B(0x0f, 0x09), false, B(0x0f, 0x09), 0 },
	{ "mov cr4, r15", M64, B(0x0f, 0x22), true, B(0x41, 0x0f, 0x22, 0xe7), 15 },
	{ "mov rax, cr8", M64, B(0x0f, 0x20), true, B(0x44, 0x0f, 0x20, 0xc0), 0 },
	{ "lock mov eax, cr0", M32, B(0x0f, 0x20), true, B(0xf0, 0x0f, 0x20, 0xc0), 0 },
	{ "mov cr3, rcx, mod 0", M64, B(0x0f, 0x22), true, B(0x0f, 0x22, 0x1d), 5 },
	{ "mov dr7, rax", M64, B(0x0f, 0x23), true, B(0x0f, 0x23, 0xf8), 0 },
};

START_TEST(len_known)
{
	const struct len_case *c = &len_cases[_i];
	u8 rm = 0xff;
	int n;

	n = hvx_insn_len(c->bytes, c->len, c->mode, c->opcode, c->opcode_len,
			 c->modrm ? &rm : NULL);
	ck_assert_msg(n == c->len, "%s: %d", c->text, n);
	if (c->modrm)
		ck_assert_msg(rm == c->rm, "%s: rm %d", c->text, rm);
	for (n = 0; n < c->len; n++) {
		u8 *p = exact_copy(c->bytes, n);

		ck_assert_msg(!hvx_insn_len(p, n, c->mode, c->opcode, c->opcode_len,
					    c->modrm ? &rm : NULL), "%s cut to %d", c->text, n);
		free(p);
	}
}
END_TEST

START_TEST(len_other)
{
	static const u8 cpuid[] = { 0x0f, 0xa2 }, pause[] = { 0xf3, 0x90 }, hlt[] = { 0xf4 };
	static const u8 nop[] = { 0x90 }, rdmsr[] = { 0x0f, 0x32 }, rep_nop_f2[] = { 0xf2, 0x90 };
	u8 padded[17];

	ck_assert_int_eq(hvx_insn_len(rdmsr, 2, M64, cpuid, 2, NULL), 0);
	ck_assert_int_eq(hvx_insn_len(nop, 1, M64, pause, 2, NULL), 0);
	ck_assert_int_eq(hvx_insn_len(rep_nop_f2, 2, M64, pause, 2, NULL), 0);
	ck_assert_int_eq(hvx_insn_len(pause, 2, M64, hlt, 1, NULL), 0);
	ck_assert_int_eq(hvx_insn_len(hlt, 1, M64, hlt, 0, NULL), 0);

	/* No instruction is longer than 15 bytes. */
	memset(padded, 0x2e, sizeof(padded));
	memcpy(padded + 13, cpuid, 2);
	ck_assert_int_eq(hvx_insn_len(padded, 15, M64, cpuid, 2, NULL), 15);
	padded[13] = 0x2e;
	memcpy(padded + 14, cpuid, 2);
	ck_assert_int_eq(hvx_insn_len(padded, 16, M64, cpuid, 2, NULL), 0);
}
END_TEST

#define N(a) ((int)(sizeof(a) / sizeof((a)[0])))

int main(void)
{
	Suite *s = suite_create("decode");
	TCase *t = tcase_create("decode");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, mov_decodes, 0, N(mov_cases));
	tcase_add_loop_test(t, mov_truncated, 0, N(mov_cases));
	tcase_add_loop_test(t, mov_rejects, 0, N(reject_cases));
	tcase_add_test(t, mov_negative_length);
	tcase_add_test(t, mov_random);
	tcase_add_loop_test(t, len_known, 0, N(len_cases));
	tcase_add_test(t, len_other);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
