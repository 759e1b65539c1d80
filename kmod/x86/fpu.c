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
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/pkru.h>
#include "backend.h"

/* No MPX (gone from Linux), no AMX (XFD and its faults would have to be switched). */
#define X_GUEST		(XFEATURE_MASK_FPSSE | XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512 | \
			 XFEATURE_MASK_PKRU)

u64 hvx_xcr0_mask __ro_after_init;
u32 hvx_xsave_size __ro_after_init;
static u64 host_xcr0 __ro_after_init, host_xss __ro_after_init;
static u32 mxcsr_valid __ro_after_init;
/* Emulated CPUs may let the guest's XSETBV through without an exit (QEMU 7.2's TCG does). */
static bool xcr0_unseen __ro_after_init;

int hvx_fpu_setup(void)
{
	static struct fxregs_state probe __aligned(16);
	u32 eax, ebx, ecx, edx;
	int i;

	/* The kernel clears what it does not use, whatever the CPU could do. */
	if (!boot_cpu_has(X86_FEATURE_XSAVE)) {
		hvx_err("this CPU has no XSAVE, or the kernel does not use it\n");
		return -ENODEV;
	}
	/* The MXCSR bits that this CPU has (SDM vol. 1 11.6.6): others fault in XRSTOR. */
	kernel_fpu_begin();
	asm volatile("fxsaveq %0" : "+m" (probe));
	kernel_fpu_end();
	mxcsr_valid = probe.mxcsr_mask ?: 0xffbf;

	host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	hvx_xcr0_mask = host_xcr0 & X_GUEST;
	if ((hvx_xcr0_mask & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512)
		hvx_xcr0_mask &= ~XFEATURE_MASK_AVX512;
	if (!boot_cpu_has(X86_FEATURE_OSPKE))
		hvx_xcr0_mask &= ~XFEATURE_MASK_PKRU;
	xcr0_unseen = boot_cpu_has(X86_FEATURE_HYPERVISOR);

	/* SDM vol. 1 13.4: a component's size and, in the standard format, its offset. */
	hvx_xsave_size = sizeof(struct xregs_state);
	for (i = 2; i < 64; i++) {
		if (!(hvx_xcr0_mask & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx);
		hvx_xsave_size = max(hvx_xsave_size, ebx + eax);
	}
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrq(MSR_IA32_XSS, host_xss);
	return 0;
}

/* Power-up state, SDM vol. 3 table 9-1; INIT leaves FPU, SSE, AVX and XCR0 alone. */
int hvx_fpu_create(struct hvx_vcpu *vcpu)
{
	/* A power of two: kmalloc() aligns it naturally, XSAVE wants 64. */
	struct xregs_state *a = kzalloc(roundup_pow_of_two(hvx_xsave_size), GFP_KERNEL_ACCOUNT);

	if (!a)
		return -ENOMEM;
	a->i387.cwd = 0x40;
	a->i387.mxcsr = MXCSR_DEFAULT;
	/* All tags "valid", all registers +0. */
	a->i387.twd = 0xff;
	a->header.xfeatures = XFEATURE_MASK_FPSSE;
	vcpu->xsave = a;
	vcpu->xcr0 = XFEATURE_MASK_FP;
	return 0;
}

/* One of the save and restore instructions, with the mask of components. */
#define XSAVE_OP(insn, area)								\
	asm volatile(insn " %0" : "+m" (*(struct xregs_state *)(area))			\
		     : "a" ((u32)hvx_xcr0_mask), "d" ((u32)(hvx_xcr0_mask >> 32)) : "memory")

/*
 * Guests reach none of the host's supervisor state. Where the CPU cannot keep XSAVES
 * from a guest, it may execute it whatever its CPUID says.
 */
static bool xss_switched(const struct hvx_vcpu *vcpu)
{
	return host_xss && (vcpu->caps & HVX_CAP_XSAVES || !hvx_backend->hides_xsaves);
}

void hvx_fpu_load(struct hvx_vcpu *vcpu)
{
	/* No FNINIT, no LDMXCSR: all of it is loaded below. */
	kernel_fpu_begin_mask(0);
	/* The kernel switches PKRU with the task, not with the FPU: it is ours to keep. */
	if (hvx_xcr0_mask & XFEATURE_MASK_PKRU)
		vcpu->host_pkru = rdpkru();
	XSAVE_OP("xrstor64", vcpu->xsave);
	if (vcpu->xcr0 != host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, vcpu->xcr0);
	if (xss_switched(vcpu))
		wrmsrq(MSR_IA32_XSS, 0);
	vcpu->fpu_loaded = true;
}

void hvx_fpu_save(struct hvx_vcpu *vcpu)
{
	if (xss_switched(vcpu))
		wrmsrq(MSR_IA32_XSS, host_xss);
	if (xcr0_unseen)
		vcpu->xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (vcpu->xcr0 != host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
	vcpu->fpu_loaded = false;
	/*
	 * XSAVEOPT skips what the guest has not touched since the XRSTOR: nobody
	 * writes the area while it is loaded.
	 */
	if (boot_cpu_has(X86_FEATURE_XSAVEOPT))
		XSAVE_OP("xsaveopt64", vcpu->xsave);
	else
		XSAVE_OP("xsave64", vcpu->xsave);
	if (hvx_xcr0_mask & XFEATURE_MASK_PKRU)
		wrpkru(vcpu->host_pkru);
	kernel_fpu_end();
}

/* SDM vol. 1 13.3: which combinations XSETBV takes. */
static bool xcr0_ok(u64 val, u64 allowed)
{
	u64 avx512 = val & XFEATURE_MASK_AVX512;

	return val & XFEATURE_MASK_FP && !(val & ~allowed) &&
	       (!(val & XFEATURE_MASK_YMM) || val & XFEATURE_MASK_SSE) &&
	       (!avx512 || (avx512 == XFEATURE_MASK_AVX512 && val & XFEATURE_MASK_YMM));
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

/* By XCR0 and IA32_XSS: the guest's, but that the latter may be the host's still. */
u32 hvx_xsave_bytes(struct hvx_vcpu *vcpu, u32 subleaf)
{
	bool host = host_xss && !xss_switched(vcpu);
	u32 eax, ebx, ecx, edx;

	if (host)
		wrmsrq(MSR_IA32_XSS, 0);
	cpuid_count(0xd, subleaf, &eax, &ebx, &ecx, &edx);
	if (host)
		wrmsrq(MSR_IA32_XSS, host_xss);
	return ebx;
}

/* HVX_STATE_XSAVE: the buffer is kernel memory, the header and hvx_xsave_size bytes. */
void hvx_fpu_get(struct hvx_vcpu *vcpu, void *buf)
{
	struct hvx_xsave_hdr *hdr = buf;

	*hdr = (struct hvx_xsave_hdr) { .xcr0 = vcpu->xcr0, .size = hvx_xsave_size };
	memcpy(hdr + 1, vcpu->xsave, hvx_xsave_size);
}

/*
 * Everything that XRSTOR would fault on is refused (SDM vol. 1 13.8.1):
 * components not in the mask, the compacted format, reserved header bytes,
 * and reserved MXCSR bits, which count even where SSE is in its initial state.
 */
int hvx_fpu_set(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_xsave_hdr *hdr = buf;
	const struct xregs_state *a = (void *)(hdr + 1);

	if (hdr->size != hvx_xsave_size || hdr->pad ||
	    memchr_inv(hdr->reserved, 0, sizeof(hdr->reserved)))
		return -EINVAL;
	/* Not xcr0_allowed: state may be restored before the CPUID table. */
	if (!xcr0_ok(hdr->xcr0, hvx_xcr0_mask))
		return -EINVAL;
	if ((a->header.xfeatures & ~hvx_xcr0_mask) || a->header.xcomp_bv ||
	    (a->i387.mxcsr & ~mxcsr_valid) ||
	    memchr_inv(a->header.reserved, 0, sizeof(a->header.reserved)))
		return -EINVAL;

	memcpy(vcpu->xsave, a, hvx_xsave_size);
	vcpu->xcr0 = hdr->xcr0;
	return 0;
}
