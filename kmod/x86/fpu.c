// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's x87, SSE, AVX, AVX-512 and PKRU state.
 *
 * Each vCPU has an XSAVE area of its own, in the standard format (SDM vol. 1
 * 13.4, APM vol. 2 11.5). It is loaded for a run of several guest entries:
 * hvx_fpu_load() has the kernel put away whatever the CPU holds, then makes
 * registers, XCR0 and PKRU the guest's; hvx_fpu_save() undoes it in reverse.
 * In between, kernel code that asks first (irq_fpu_usable()) keeps off the FPU,
 * and the kernel's own accesses to user memory obey the guest's PKRU: they may
 * fail where they would not otherwise, and are then done again after the save.
 */
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/pkru.h>
#include "hvx.h"

#define FCW_RESET	0x40		/* SDM vol. 3 table 9-1 */
#define MXCSR_INIT	0x1f80

#define X_FP		BIT_ULL(0)
#define X_SSE		BIT_ULL(1)
#define X_YMM		BIT_ULL(2)
#define X_AVX512	(BIT_ULL(5) | BIT_ULL(6) | BIT_ULL(7))
#define X_PKRU		BIT_ULL(9)
/* No MPX (gone from Linux), no AMX (XFD and its faults would have to be switched). */
#define X_GUEST		(X_FP | X_SSE | X_YMM | X_AVX512 | X_PKRU)

/* Offsets in the area: FXSAVE image, then the XSAVE header. */
struct xarea {
	u16 fcw, fsw;
	u8  ftw, pad0;
	u16 fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8  regs[480];
	u64 xstate_bv, xcomp_bv;
	u64 hdr_reserved[6];
};
static_assert(sizeof(struct xarea) == 512 + 64);

u64 hvx_xcr0_mask __ro_after_init;
u32 hvx_xsave_size __ro_after_init;
static u64 host_xcr0 __ro_after_init, host_xss __ro_after_init;
static u32 mxcsr_valid __ro_after_init;
static bool have_xsave __ro_after_init, have_xsaveopt __ro_after_init;
/* Emulated CPUs may let the guest's XSETBV through without an exit (QEMU 7.2's TCG does). */
static bool xcr0_unseen __ro_after_init;

#define NR_COMPONENTS	10		/* up to PKRU */
static struct {
	u32 size, offset, flags;
} component[NR_COMPONENTS] __ro_after_init;

/* Bytes of an XSAVE area for the components in xcr0 (SDM vol. 1 13.4). */
u32 hvx_xsave_area_size(u64 xcr0, bool compacted)
{
	u32 size = sizeof(struct xarea);
	int i;

	xcr0 &= hvx_xcr0_mask;
	for (i = 2; i < NR_COMPONENTS; i++) {
		if (!(xcr0 & BIT_ULL(i)))
			continue;
		if (!compacted)
			size = max(size, component[i].offset + component[i].size);
		else if (component[i].flags & BIT(1))
			size = ALIGN(size, 64) + component[i].size;
		else
			size += component[i].size;
	}
	return size;
}

int hvx_fpu_setup(void)
{
	static struct xarea probe __aligned(16);
	u32 eax, ebx, ecx, edx;
	int i;

	/* The MXCSR bits that this CPU has (SDM vol. 1 11.6.6): others fault in XRSTOR. */
	kernel_fpu_begin();
	asm volatile("fxsaveq %0" : "+m" (probe));
	kernel_fpu_end();
	mxcsr_valid = probe.mxcsr_mask ?: 0xffbf;

	/* OSXSAVE and OSPKE: what the kernel really uses, whatever the CPU could do. */
	have_xsave = cpuid_ecx(1) & BIT(27);
	if (have_xsave) {
		host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
		hvx_xcr0_mask = host_xcr0 & X_GUEST;
		if ((hvx_xcr0_mask & X_AVX512) != X_AVX512)
			hvx_xcr0_mask &= ~X_AVX512;
		cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
		if (!(ecx & BIT(4)))
			hvx_xcr0_mask &= ~X_PKRU;
		xcr0_unseen = boot_cpu_has(X86_FEATURE_HYPERVISOR);
		/* One subleaf for each component: fixed by the CPU. */
		for (i = 2; i < NR_COMPONENTS; i++)
			if (hvx_xcr0_mask & BIT_ULL(i))
				cpuid_count(0xd, i, &component[i].size, &component[i].offset,
					    &component[i].flags, &edx);
		cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
		have_xsaveopt = eax & BIT(0);
		if (eax & BIT(3))
			rdmsrq(MSR_IA32_XSS, host_xss);
	}
	hvx_xsave_size = hvx_xsave_area_size(hvx_xcr0_mask, false);
	return 0;
}

int hvx_fpu_create(struct hvx_vcpu *vcpu)
{
	/* A power of two: kmalloc() aligns it naturally, XSAVE wants 64. */
	vcpu->xsave = kzalloc(roundup_pow_of_two(hvx_xsave_size), GFP_KERNEL_ACCOUNT);
	if (!vcpu->xsave)
		return -ENOMEM;
	hvx_fpu_reset(vcpu, false);
	return 0;
}

void hvx_fpu_free(struct hvx_vcpu *vcpu)
{
	kfree(vcpu->xsave);
}

/* Power-up and INIT, SDM vol. 3 table 9-1: INIT leaves FPU, SSE, AVX and XCR0 alone. */
void hvx_fpu_reset(struct hvx_vcpu *vcpu, bool init)
{
	struct xarea *a = vcpu->xsave;

	if (init)
		return;
	memset(a, 0, hvx_xsave_size);
	a->fcw = FCW_RESET;
	a->mxcsr = MXCSR_INIT;
	/* All tags "valid", all registers +0. */
	a->ftw = 0xff;
	a->xstate_bv = X_FP | X_SSE;
	vcpu->xcr0 = X_FP;
}

/* One of the save and restore instructions, with the mask of components. */
#define XSAVE_OP(insn, area)								\
	asm volatile(insn " %0" : "+m" (*(struct xarea *)(area))			\
		     : "a" ((u32)hvx_xcr0_mask), "d" ((u32)(hvx_xcr0_mask >> 32)) : "memory")

static void restore_area(void *area)
{
	if (have_xsave)
		XSAVE_OP("xrstor64", area);
	else
		XSAVE_OP("fxrstorq", area);
}

static void save_area(void *area)
{
	/*
	 * XSAVEOPT skips what the guest has not touched since restore_area():
	 * nobody writes the area while it is loaded.
	 */
	if (have_xsaveopt)
		XSAVE_OP("xsaveopt64", area);
	else if (have_xsave)
		XSAVE_OP("xsave64", area);
	else
		XSAVE_OP("fxsaveq", area);
}

u64 hvx_guest_xcr0(struct hvx_vcpu *vcpu)
{
	if (xcr0_unseen && vcpu->fpu_loaded)
		vcpu->xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	return vcpu->xcr0;
}

void hvx_fpu_load(struct hvx_vcpu *vcpu)
{
	/* No FNINIT, no LDMXCSR: all of it is loaded below. */
	kernel_fpu_begin_mask(0);
	/* The kernel switches PKRU with the task, not with the FPU: it is ours to keep. */
	if (hvx_xcr0_mask & X_PKRU)
		vcpu->host_pkru = rdpkru();
	restore_area(vcpu->xsave);
	if (have_xsave && vcpu->xcr0 != host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, vcpu->xcr0);
	/*
	 * Where the CPU cannot intercept XSAVES, a guest may execute it whatever
	 * its CPUID says: let it reach none of the host's supervisor state.
	 */
	if (host_xss)
		wrmsrq(MSR_IA32_XSS, 0);
	vcpu->fpu_loaded = true;
}

void hvx_fpu_save(struct hvx_vcpu *vcpu)
{
	if (have_xsave) {
		if (host_xss)
			wrmsrq(MSR_IA32_XSS, host_xss);
		hvx_guest_xcr0(vcpu);
		if (vcpu->xcr0 != host_xcr0)
			xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
	}
	vcpu->fpu_loaded = false;
	save_area(vcpu->xsave);
	if (hvx_xcr0_mask & X_PKRU)
		wrpkru(vcpu->host_pkru);
	kernel_fpu_end();
}

/* SDM vol. 1 13.3: which combinations XSETBV takes. */
static bool xcr0_ok(u64 val, u64 allowed)
{
	if (!(val & X_FP) || (val & ~allowed))
		return false;
	if ((val & X_YMM) && !(val & X_SSE))
		return false;
	if (val & X_AVX512)
		return (val & X_AVX512) == X_AVX512 && (val & X_YMM);
	return true;
}

bool hvx_set_xcr0(struct hvx_vcpu *vcpu, u64 val)
{
	/* cpuid.c has taken xcr0_allowed from within hvx_xcr0_mask. */
	if (!xcr0_ok(val, vcpu->xcr0_allowed))
		return false;
	if (vcpu->fpu_loaded && vcpu->xcr0 != val)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, val);
	vcpu->xcr0 = val;
	return true;
}

/* HVX_STATE_XSAVE: the buffer is kernel memory, the header and hvx_xsave_size bytes. */
void hvx_fpu_get(struct hvx_vcpu *vcpu, void *buf)
{
	struct hvx_xsave_hdr *hdr = buf;
	struct xarea *a = buf + sizeof(*hdr);

	*hdr = (struct hvx_xsave_hdr) { .xcr0 = vcpu->xcr0, .size = hvx_xsave_size };
	memcpy(a, vcpu->xsave, hvx_xsave_size);
	if (!have_xsave)
		a->xstate_bv = X_FP | X_SSE;
}

/*
 * Everything that XRSTOR would fault on is refused (SDM vol. 1 13.8.1):
 * components not in the mask, the compacted format, reserved header bytes,
 * and reserved MXCSR bits, which count even where SSE is in its initial state.
 */
int hvx_fpu_set(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_xsave_hdr *hdr = buf;
	const struct xarea *a = buf + sizeof(*hdr);
	u64 allowed = have_xsave ? hvx_xcr0_mask : X_FP | X_SSE;

	if (hdr->size != hvx_xsave_size || hdr->pad ||
	    memchr_inv(hdr->reserved, 0, sizeof(hdr->reserved)))
		return -EINVAL;
	/* Not xcr0_allowed: state may be restored before the CPUID table. */
	if (have_xsave ? !xcr0_ok(hdr->xcr0, hvx_xcr0_mask) : hdr->xcr0 != X_FP)
		return -EINVAL;
	if ((a->xstate_bv & ~allowed) || a->xcomp_bv || (a->mxcsr & ~mxcsr_valid) ||
	    memchr_inv(a->hdr_reserved, 0, sizeof(a->hdr_reserved)))
		return -EINVAL;

	memcpy(vcpu->xsave, a, hvx_xsave_size);
	vcpu->xcr0 = hdr->xcr0;
	return 0;
}
