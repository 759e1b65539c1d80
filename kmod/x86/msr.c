// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers: one table says for each what a read gives and what
 * a write does. What is not in it is unknown: #GP, or userspace's affair.
 * Nothing here sleeps. The VM's filter is looked at by the exit handlers,
 * before they come here.
 */
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include <asm/mtrr.h>
#include <asm/tsc.h>
#include <uapi/asm/kvm_para.h>
#include "hvx.h"
#include "backend.h"

#define X2APIC_FIRST		0x800
#define X2APIC_LAST		0x8ff
#define PAT_RESET		0x0007040600070406ULL
#define MTRR_VARS		8
#define MTRR_CAP		(MTRR_VARS | BIT(8) | BIT(10))	/* fixed ranges, write-combining */
#define MTRR_DEF_WB		(MTRR_TYPE_WRBACK | BIT(10) | BIT(11))
#define MTRR_FIXED_WB		0x0606060606060606ULL
#define MCG_CAP			(1 | BIT(8))		/* one bank; MCG_CTL exists */
/* Fast strings may be switched; BTS and PEBS are not there. */
#define MISC_ENABLE_RW		MSR_IA32_MISC_ENABLE_FAST_STRING
#define MISC_ENABLE_RO		(MSR_IA32_MISC_ENABLE_BTS_UNAVAIL | MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)
#define HWCR_RESET		BIT(24)			/* the TSC counts at the P0 frequency */
#define DE_CFG_RESET		BIT(1)			/* LFENCE serialises */
#define VM_CR_NO_SVM		(BIT(3) | BIT(4))	/* SVM disabled and locked */

/* Indices in vcpu->kept[]. */
enum {
	KEPT_MTRR_FIXED,
	KEPT_MTRR_VAR = KEPT_MTRR_FIXED + 11,
	KEPT_MTRR_DEF = KEPT_MTRR_VAR + 2 * MTRR_VARS,
	KEPT_MCG_STATUS,
	KEPT_MCG_CTL,
	KEPT_MC0,		/* CTL, STATUS, ADDR, MISC */
	KEPT_UCODE = KEPT_MC0 + 4,
	KEPT_HWCR,
	KEPT_DE_CFG,
	KEPT_NR
};
static_assert(KEPT_NR <= ARRAY_SIZE(((struct hvx_vcpu *)0)->kept));

struct msr_row;
typedef int get_fn(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val, bool host);
typedef int set_fn(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host);

struct msr_row {
	u32 first, last;
	get_fn *get;		/* NULL: #GP */
	set_fn *set;		/* NULL: #GP */
	u64 arg;		/* the constant, the bits that exist, or the index in kept[] */
	u32 flags;
};
#define ROW_SAVE	BIT(0)	/* in HVX_GET_MSR_LIST */
#define ROW_SWITCHED	BIT(1)	/* the CPU switches it: no exits, no filter */
#define ROW_ADDRESS	BIT(2)	/* canonical addresses only */

/* ------------------------------------------------------------------- TSC */

static DEFINE_SPINLOCK(tsc_lock);	/* writes look at each other's offsets */

static u64 scale_tsc(const struct hvx_vcpu *vcpu, u64 host_tsc)
{
	return vcpu->tsc_ratio ? mul_u64_u64_shr(host_tsc, vcpu->tsc_ratio, 32) : host_tsc;
}

u64 hvx_guest_tsc(struct hvx_vcpu *vcpu, u64 host_tsc)
{
	return scale_tsc(vcpu, host_tsc) + vcpu->tsc_offset;
}

u64 hvx_read_guest_tsc(struct hvx_vcpu *vcpu)
{
	return hvx_guest_tsc(vcpu, rdtsc());
}

static void tsc_changed(struct hvx_vcpu *vcpu)
{
	hvx_backend->update_tsc(vcpu);
	hvx_lapic_timer_tsc_changed(vcpu);
	hvx_request(vcpu, HVX_REQ_CLOCK);
}

/*
 * Software writes the TSCs of a machine one after the other and means them to
 * be equal. A value within a second of what another vCPU shows is therefore
 * taken as "the same as there", to the tick.
 */
void hvx_write_guest_tsc(struct hvx_vcpu *vcpu, u64 val)
{
	u64 window = (u64)vcpu->tsc_khz * 1000, theirs, offset;
	struct hvx_vcpu *v;
	int i;

	spin_lock(&tsc_lock);
	offset = val - scale_tsc(vcpu, rdtsc());
	hvx_for_each_vcpu(i, v, vcpu->vm) {
		if (v == vcpu || READ_ONCE(v->tsc_ratio) != vcpu->tsc_ratio)
			continue;
		theirs = READ_ONCE(v->tsc_offset);
		if (theirs - offset + window < 2 * window) {
			offset = theirs;
			break;
		}
	}
	WRITE_ONCE(vcpu->tsc_offset, offset);
	spin_unlock(&tsc_lock);
	tsc_changed(vcpu);
}

/* A new vCPU joins the others' time; the first one starts at zero. */
static void tsc_power_up(struct hvx_vcpu *vcpu)
{
	struct hvx_vcpu *v, *other = NULL;
	int i;

	hvx_for_each_vcpu(i, v, vcpu->vm)
		if (v != vcpu && !other)
			other = v;
	vcpu->tsc_adjust = 0;
	if (!vcpu->tsc_khz)
		vcpu->tsc_khz = tsc_khz;
	if (!hvx_set_guest_tsc_khz(vcpu, other ? READ_ONCE(other->tsc_khz) : 0) && other) {
		WRITE_ONCE(vcpu->tsc_offset, READ_ONCE(other->tsc_offset));
		tsc_changed(vcpu);
	} else {
		hvx_write_guest_tsc(vcpu, 0);
	}
}

/*
 * Where the CPU cannot scale, a frequency within 250 ppm of the host's is the
 * same frequency measured on another day, and the guest runs at the host's.
 */
int hvx_set_guest_tsc_khz(struct hvx_vcpu *vcpu, u32 khz)
{
	u64 old_ratio = vcpu->tsc_ratio, diff;
	u32 old_khz = vcpu->tsc_khz;
	int ret;

	if (!khz)
		khz = tsc_khz;
	if (!tsc_khz)		/* never calibrated: nothing to scale by */
		return khz ? -EINVAL : 0;
	diff = khz > tsc_khz ? khz - tsc_khz : tsc_khz - khz;
	if (diff && !(hvx_backend->features & HVX_FEAT_TSC_SCALING)) {
		if (diff * 4000 > tsc_khz)
			return -EINVAL;
		khz = tsc_khz;
	}
	if (khz == old_khz)
		return 0;
	vcpu->tsc_khz = khz;
	WRITE_ONCE(vcpu->tsc_ratio, khz == tsc_khz ? 0 : div_u64((u64)khz << 32, tsc_khz));
	ret = hvx_backend->set_tsc_khz(vcpu, khz);
	if (ret) {
		vcpu->tsc_khz = old_khz;
		WRITE_ONCE(vcpu->tsc_ratio, old_ratio);
	}
	return ret;
}

static int get_tsc(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val, bool host)
{
	*val = hvx_read_guest_tsc(vcpu);
	return 0;
}

/* SDM vol. 3 "IA32_TSC_ADJUST": software's writes to the TSC show there; a restore does not. */
static int set_tsc(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host)
{
	u64 old = vcpu->tsc_offset;

	hvx_write_guest_tsc(vcpu, val);
	if (!host)
		vcpu->tsc_adjust += vcpu->tsc_offset - old;
	return 0;
}

static int get_tsc_adjust(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
			  bool host)
{
	*val = vcpu->tsc_adjust;
	return 0;
}

static int set_tsc_adjust(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			  bool host)
{
	u64 delta = val - vcpu->tsc_adjust;

	vcpu->tsc_adjust = val;
	if (!host && delta) {
		WRITE_ONCE(vcpu->tsc_offset, vcpu->tsc_offset + delta);
		tsc_changed(vcpu);
	}
	return 0;
}

static bool has_tsc_aux(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e = hvx_cpuid_find(vcpu, 0x80000001, 0);

	if (e && (e->edx & BIT(27)))
		return true;
	e = hvx_cpuid_find(vcpu, 7, 0);
	return e && (e->ecx & BIT(22));
}

static int get_tsc_aux(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
		       bool host)
{
	if (!host && !has_tsc_aux(vcpu))
		return 1;
	*val = vcpu->tsc_aux;
	return 0;
}

static int set_tsc_aux(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
		       bool host)
{
	if (val >> 32 || (!host && !has_tsc_aux(vcpu)))
		return 1;
	/* RDTSCP reads the CPU's own: while loaded, that is the guest's. */
	if (vcpu->fpu_loaded && boot_cpu_has(X86_FEATURE_RDTSCP))
		wrmsrq(MSR_TSC_AUX, val);
	vcpu->tsc_aux = val;
	return 0;
}

/* ------------------------------------------------- constants, kept, switched */

static int get_const(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
		     bool host)
{
	*val = row->arg;
	return 0;
}

static int set_ignore(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
		      bool host)
{
	return 0;
}

static int get_kept(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
		    bool host)
{
	*val = vcpu->kept[row->arg + index - row->first];
	return 0;
}

static int set_kept(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host)
{
	vcpu->kept[row->arg + index - row->first] = val;
	return 0;
}

/* The guest's writes do nothing, a restore counts. */
static int set_kept_host(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			 bool host)
{
	return host ? set_kept(vcpu, row, index, val, host) : 0;
}

bool hvx_canonical(struct hvx_vcpu *vcpu, u64 addr)
{
	int shift = vcpu->cr4_allowed & X86_CR4_LA57 ? 64 - 57 : 64 - 48;

	return (u64)((s64)(addr << shift) >> shift) == addr;
}

static int get_switched(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
			bool host)
{
	return hvx_backend->get_msr(vcpu, index, val) ? 1 : 0;
}

static int set_switched(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			bool host)
{
	if ((row->flags & ROW_ADDRESS) && !hvx_canonical(vcpu, val))
		return 1;
	return hvx_backend->set_msr(vcpu, index, val) ? 1 : 0;
}

/* -------------------------------------------------- those with rules of their own */

static int get_efer(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
		    bool host)
{
	*val = hvx_backend->get_efer(vcpu);
	return 0;
}

/* APM vol. 2 3.1.7: LMA follows LME and CR0.PG; LME is fixed while paging is on. */
static int set_efer(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host)
{
	u64 old = hvx_backend->get_efer(vcpu);

	val = (val & ~(u64)EFER_LMA) | (old & EFER_LMA);
	if (val & ~vcpu->efer_allowed)
		return 1;
	if (((val ^ old) & EFER_LME) && (hvx_backend->get_cr(vcpu, 0) & X86_CR0_PG))
		return 1;
	hvx_backend->set_efer(vcpu, val);
	return 0;
}

static int get_apic_base(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
			 bool host)
{
	*val = vcpu->apic_base;
	return 0;
}

static int set_apic_base(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			 bool host)
{
	return hvx_lapic_set_base(vcpu, val, host) ? 1 : 0;
}

static int get_pat(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val, bool host)
{
	*val = vcpu->pat;
	return 0;
}

/* Memory types 0, 1, 4..7 in each byte. */
static bool pat_ok(u64 val)
{
	const u64 ones = 0x0101010101010101ULL;

	if (val & ~(7 * ones))
		return false;
	/* 2 and 3 have bit 1 without bit 2. */
	return !((val >> 1) & ~(val >> 2) & ones);
}

static int set_pat(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host)
{
	if (!pat_ok(val))
		return 1;
	vcpu->pat = val;
	hvx_backend->set_msr(vcpu, index, val);
	return 0;
}

static int get_misc_enable(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
			   bool host)
{
	*val = vcpu->misc_enable;
	return 0;
}

static int set_misc_enable(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			   bool host)
{
	vcpu->misc_enable = (val & MISC_ENABLE_RW) | MISC_ENABLE_RO;
	return 0;
}

static bool mtrr_type_ok(u8 type)
{
	return type < 8 && (BIT(type) & 0x73);	/* UC, WC, WT, WP, WB */
}

static int set_mtrr_fixed(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			  bool host)
{
	int i;

	for (i = 0; i < 8; i++)
		if (!mtrr_type_ok(val >> i * 8))
			return 1;
	return set_kept(vcpu, row, index, val, host);
}

static int set_mtrr_var(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			bool host)
{
	/* Bits that exist, SDM vol. 3 "Variable Range MTRRs". */
	u64 bits = GENMASK_ULL((host ? 52 : vcpu->phys_bits) - 1, 12);

	if (index & 1)
		bits |= BIT(11);
	else if (!mtrr_type_ok(val))
		return 1;
	else
		bits |= 0xff;
	return val & ~bits ? 1 : set_kept(vcpu, row, index, val, host);
}

static int set_mtrr_def(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			bool host)
{
	if ((val & ~0xcffULL) || !mtrr_type_ok(val))
		return 1;
	return set_kept(vcpu, row, index, val, host);
}

static int set_mcg_status(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			  bool host)
{
	return val & ~7ULL ? 1 : set_kept(vcpu, row, index, val, host);
}

/* CTL takes anything, the others only zero from the guest: no error is ever logged. */
static int set_mc0(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host)
{
	if (index != row->first && val && !host)
		return 1;
	return set_kept(vcpu, row, index, val, host);
}

/* LBR and BTF are asked for by debuggers and have no effect. */
static int set_debugctl(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
			bool host)
{
	return val & ~3ULL ? 1 : 0;
}

static int get_pv(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val, bool host)
{
	return hvx_pv_get_msr(vcpu, index, val) ? 1 : 0;
}

static int set_pv(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val, bool host)
{
	return hvx_pv_set_msr(vcpu, index, val, host) ? 1 : 0;
}

static int get_lapic(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 *val,
		     bool host)
{
	return hvx_lapic_msr_read(vcpu, index, val) ? 1 : 0;
}

static int set_lapic(struct hvx_vcpu *vcpu, const struct msr_row *row, u32 index, u64 val,
		     bool host)
{
	return hvx_lapic_msr_write(vcpu, index, val) ? 1 : 0;
}

/* ------------------------------------------------------------------ policy */

#define ONE(i)		(i), (i)
#define ZERO		get_const, set_ignore	/* reads zero, writes are ignored */

/*
 * In order of index. Left out on purpose, so that guests see that they are not
 * there: SPEC_CTRL, PRED_CMD, ARCH_CAPABILITIES, XSS, LS_CFG (its SSBD bit would
 * be believed), RAPL, P-states, MPERF/APERF, and Hyper-V's 0x40000000 on.
 */
static const struct msr_row rows[] = {
	{ 0x00, 0x01, ZERO },				/* P5 machine check */
	{ ONE(0x10), get_tsc, set_tsc },
	{ MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, get_pv, set_pv },
	{ ONE(0x17), get_const },			/* platform id */
	{ ONE(MSR_IA32_APICBASE), get_apic_base, set_apic_base },
	{ ONE(0x2a), ZERO },				/* power-on configuration */
	{ ONE(MSR_IA32_FEAT_CTL), get_const, NULL, 1 },	/* locked, nothing enabled */
	{ ONE(MSR_IA32_TSC_ADJUST), get_tsc_adjust, set_tsc_adjust, 0, ROW_SAVE },
	{ ONE(MSR_IA32_UCODE_WRITE), NULL, set_ignore },
	{ ONE(MSR_IA32_UCODE_REV), get_kept, set_kept_host, KEPT_UCODE, ROW_SAVE },
	{ 0xc1, 0xc2, ZERO },				/* P6 counters */
	{ ONE(MSR_PLATFORM_INFO), get_const },
	{ ONE(MSR_MTRRcap), get_const, NULL, MTRR_CAP },
	{ ONE(MSR_IA32_SYSENTER_CS), get_switched, set_switched, 0, ROW_SAVE | ROW_SWITCHED },
	{ MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, get_switched, set_switched, 0,
	  ROW_SAVE | ROW_SWITCHED | ROW_ADDRESS },
	{ ONE(MSR_IA32_MCG_CAP), get_const, NULL, MCG_CAP },
	{ ONE(MSR_IA32_MCG_STATUS), get_kept, set_mcg_status, KEPT_MCG_STATUS, ROW_SAVE },
	{ ONE(MSR_IA32_MCG_CTL), get_kept, set_kept, KEPT_MCG_CTL, ROW_SAVE },
	{ 0x186, 0x187, ZERO },				/* P6 event selects */
	{ 0x198, 0x199, ZERO },				/* IA32_PERF_STATUS, _CTL */
	{ ONE(MSR_IA32_MISC_ENABLE), get_misc_enable, set_misc_enable, 0, ROW_SAVE },
	{ ONE(MSR_IA32_DEBUGCTLMSR), get_const, set_debugctl },
	{ MSR_IA32_LASTBRANCHFROMIP, MSR_IA32_LASTINTTOIP, get_const },
	{ 0x200, 0x200 + 2 * MTRR_VARS - 1, get_kept, set_mtrr_var, KEPT_MTRR_VAR, ROW_SAVE },
	{ ONE(0x250), get_kept, set_mtrr_fixed, KEPT_MTRR_FIXED, ROW_SAVE },
	{ 0x258, 0x259, get_kept, set_mtrr_fixed, KEPT_MTRR_FIXED + 1, ROW_SAVE },
	{ 0x268, 0x26f, get_kept, set_mtrr_fixed, KEPT_MTRR_FIXED + 3, ROW_SAVE },
	{ ONE(MSR_IA32_CR_PAT), get_pat, set_pat, 0, ROW_SAVE },
	{ ONE(MSR_MTRRdefType), get_kept, set_mtrr_def, KEPT_MTRR_DEF, ROW_SAVE },
	{ MSR_IA32_MC0_CTL, MSR_IA32_MC0_MISC, get_kept, set_mc0, KEPT_MC0, ROW_SAVE },
	{ ONE(MSR_IA32_TSC_DEADLINE), get_lapic, set_lapic },
	{ X2APIC_FIRST, X2APIC_LAST, get_lapic, set_lapic },
	{ MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW, get_pv, set_pv, 0, ROW_SAVE },
	{ ONE(MSR_KVM_ASYNC_PF_EN), get_pv, set_pv },
	{ MSR_KVM_STEAL_TIME, MSR_KVM_POLL_CONTROL, get_pv, set_pv, 0, ROW_SAVE },
	{ MSR_KVM_ASYNC_PF_INT, MSR_KVM_ASYNC_PF_ACK, get_pv, set_pv },
	{ ONE(MSR_EFER), get_efer, set_efer },
	{ ONE(MSR_STAR), get_switched, set_switched, 0, ROW_SAVE | ROW_SWITCHED },
	{ MSR_LSTAR, MSR_CSTAR, get_switched, set_switched, 0,
	  ROW_SAVE | ROW_SWITCHED | ROW_ADDRESS },
	{ ONE(MSR_SYSCALL_MASK), get_switched, set_switched, 0, ROW_SAVE | ROW_SWITCHED },
	{ MSR_FS_BASE, MSR_GS_BASE, get_switched, set_switched, 0, ROW_SWITCHED | ROW_ADDRESS },
	{ ONE(MSR_KERNEL_GS_BASE), get_switched, set_switched, 0,
	  ROW_SAVE | ROW_SWITCHED | ROW_ADDRESS },
	{ ONE(MSR_TSC_AUX), get_tsc_aux, set_tsc_aux, 0, ROW_SAVE },
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3, ZERO },
	{ ONE(MSR_AMD64_SYSCFG), ZERO },
	{ ONE(MSR_K7_HWCR), get_kept, set_kept, KEPT_HWCR, ROW_SAVE },
	{ ONE(MSR_K8_TOP_MEM1), ZERO },
	{ ONE(MSR_K8_TOP_MEM2), ZERO },
	{ ONE(MSR_AMD64_NB_CFG), ZERO },
	{ ONE(MSR_AMD64_PATCH_LOADER), NULL, set_ignore },
	{ ONE(MSR_K8_INT_PENDING_MSG), ZERO },
	{ ONE(MSR_FAM10H_MMIO_CONF_BASE), ZERO },
	{ MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK, ZERO },
	{ ONE(MSR_VM_CR), get_const, set_ignore, VM_CR_NO_SVM },
	{ ONE(MSR_VM_HSAVE_PA), get_const },
	{ MSR_AMD64_OSVW_ID_LENGTH, MSR_AMD64_OSVW_STATUS, ZERO },
	{ MSR_AMD64_DC_CFG, MSR_AMD64_DC_CFG + 1, ZERO },	/* and BU_CFG */
	{ ONE(MSR_AMD64_DE_CFG), get_kept, set_kept, KEPT_DE_CFG, ROW_SAVE },
	{ ONE(MSR_AMD64_BU_CFG2), ZERO },
	{ ONE(MSR_F15H_EX_CFG), ZERO },
};

static const struct msr_row *find_row(u32 index)
{
	unsigned int lo = 0, hi = ARRAY_SIZE(rows);

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (index > rows[mid].last)
			lo = mid + 1;
		else if (index < rows[mid].first)
			hi = mid;
		else
			return &rows[mid];
	}
	return NULL;
}

static int unknown(const struct hvx_vcpu *vcpu, bool host)
{
	return !host && (vcpu->vm->flags & HVX_VM_EXIT_MSR) ? HVX_MSR_TO_USER : 1;
}

int hvx_get_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	const struct msr_row *row;

	if (index - X2APIC_FIRST <= X2APIC_LAST - X2APIC_FIRST)
		return hvx_lapic_msr_read(vcpu, index, val) ? 1 : 0;
	row = find_row(index);
	if (unlikely(!row))
		return unknown(vcpu, host);
	return row->get ? row->get(vcpu, row, index, val, host) : 1;
}

int hvx_set_msr(struct hvx_vcpu *vcpu, u32 index, u64 val, bool host)
{
	const struct msr_row *row;

	if (index - X2APIC_FIRST <= X2APIC_LAST - X2APIC_FIRST ||
	    likely(index == MSR_IA32_TSC_DEADLINE))
		return hvx_lapic_msr_write(vcpu, index, val) ? 1 : 0;
	row = find_row(index);
	if (unlikely(!row))
		return unknown(vcpu, host);
	return row->set ? row->set(vcpu, row, index, val, host) : 1;
}

/* -E2BIG with the count where room is too small. */
int hvx_msr_list(u32 *out, unsigned int room, unsigned int *count)
{
	const struct msr_row *row;
	unsigned int n = 0;
	u32 index;

	for (row = rows; row < rows + ARRAY_SIZE(rows); row++) {
		if (!(row->flags & ROW_SAVE))
			continue;
		for (index = row->first; index <= row->last; index++, n++)
			if (n < room)
				out[n] = index;
	}
	*count = n;
	return n > room ? -E2BIG : 0;
}

/* Power-up values: SDM vol. 3 table 9-1, and MTRRs as firmware leaves them for RAM. */
void hvx_msr_reset(struct hvx_vcpu *vcpu)
{
	const struct msr_row *row;
	u32 index;
	int i;

	memset(vcpu->kept, 0, sizeof(vcpu->kept));
	for (i = 0; i < 11; i++)
		vcpu->kept[KEPT_MTRR_FIXED + i] = MTRR_FIXED_WB;
	vcpu->kept[KEPT_MTRR_DEF] = MTRR_DEF_WB;
	vcpu->kept[KEPT_HWCR] = HWCR_RESET;
	vcpu->kept[KEPT_DE_CFG] = DE_CFG_RESET;
	vcpu->kept[KEPT_MCG_CTL] = ~0ULL;
	/* The host's, so that the guest judges the CPU's errata as the host does. */
	if (rdmsrq_safe(MSR_IA32_UCODE_REV, &vcpu->kept[KEPT_UCODE]))
		vcpu->kept[KEPT_UCODE] = 0;
	vcpu->misc_enable = MISC_ENABLE_RW | MISC_ENABLE_RO;
	vcpu->spec_ctrl = 0;

	for (row = rows; row < rows + ARRAY_SIZE(rows); row++)
		if (row->flags & ROW_SWITCHED)
			for (index = row->first; index <= row->last; index++)
				hvx_backend->set_msr(vcpu, index, 0);
	set_pat(vcpu, NULL, MSR_IA32_CR_PAT, PAT_RESET, true);
	set_tsc_aux(vcpu, NULL, MSR_TSC_AUX, 0, true);
	tsc_power_up(vcpu);
}

/* ------------------------------------------------------------------ filter */

struct hvx_msr_filter_tbl {
	struct rcu_head rcu;
	unsigned int count;
	struct hvx_msr_range range[];
};

static bool range_ok(const struct hvx_msr_range *r)
{
	const struct msr_row *row;

	if (r->pad || r->first > r->last || !r->flags ||
	    (r->flags & ~(HVX_MSR_FILTER_READ | HVX_MSR_FILTER_WRITE)))
		return false;
	if (r->first <= X2APIC_LAST && r->last >= X2APIC_FIRST)
		return false;
	for (row = rows; row < rows + ARRAY_SIZE(rows); row++)
		if ((row->flags & ROW_SWITCHED) && r->first <= row->last && r->last >= row->first)
			return false;
	return true;
}

/* vm->lock held. */
int hvx_set_msr_filter(struct hvx_vm *vm, const struct hvx_msr_filter *arg)
{
	struct hvx_msr_filter_tbl *new = NULL, *old;
	size_t size;
	unsigned int i;

	if (arg->count > HVX_MAX_MSR_RANGES || arg->pad)
		return -EINVAL;
	if (arg->count) {
		size = arg->count * sizeof(new->range[0]);
		new = kmalloc(sizeof(*new) + size, GFP_KERNEL_ACCOUNT);
		if (!new)
			return -ENOMEM;
		new->count = arg->count;
		if (copy_from_user(new->range, u64_to_user_ptr(arg->ranges), size)) {
			kfree(new);
			return -EFAULT;
		}
		for (i = 0; i < new->count; i++) {
			if (!range_ok(&new->range[i])) {
				kfree(new);
				return -EINVAL;
			}
		}
	}
	old = rcu_replace_pointer(vm->msr_filter, new, lockdep_is_held(&vm->lock));
	hvx_kick_all_wait(vm, HVX_REQ_MSR_FILTER);
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

/* Any context. */
bool hvx_msr_filtered(struct hvx_vm *vm, u32 index, bool write)
{
	u32 flag = write ? HVX_MSR_FILTER_WRITE : HVX_MSR_FILTER_READ;
	const struct hvx_msr_filter_tbl *t;
	bool hit = false;
	unsigned int i;

	rcu_read_lock();
	t = rcu_dereference(vm->msr_filter);
	for (i = 0; t && i < t->count && !hit; i++)
		hit = index >= t->range[i].first && index <= t->range[i].last &&
		      (t->range[i].flags & flag);
	rcu_read_unlock();
	return hit;
}

/* The VM's last user is gone. */
void hvx_msr_filter_free(struct hvx_vm *vm)
{
	kfree(rcu_dereference_protected(vm->msr_filter, true));
	RCU_INIT_POINTER(vm->msr_filter, NULL);
}
