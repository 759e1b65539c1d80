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

enum msr_kind {
	CONST,			/* reads as ->value; writes within ->mask are ignored */
	WRITE_ONLY,		/* the same, but a read is #GP */
	SWITCHED,		/* the CPU switches it: no exits, no filter */
	SWITCHED_ADDR,		/* the same, canonical addresses only */
	PV,			/* pv.c */
	TSC, TSC_ADJUST, TSC_AUX, APICBASE, EFER, PAT,
	/* The rest lie in vcpu->kept[] and start with ->value; with rules of their own: */
	KEPT,
	KEPT_HOST,		/* the guest's writes do nothing, a restore counts */
	KEPT_MISC_ENABLE, KEPT_MTRR, KEPT_MC0,
};

/* Indices in vcpu->kept[]. */
enum {
	AT_MTRR_FIXED,
	AT_MTRR_VAR = AT_MTRR_FIXED + 11,
	AT_MTRR_DEF = AT_MTRR_VAR + 2 * MTRR_VARS,
	AT_MCG_STATUS,
	AT_MCG_CTL,
	AT_MC0,			/* CTL, STATUS, ADDR, MISC */
	AT_UCODE = AT_MC0 + 4,
	AT_MISC_ENABLE,
	AT_HWCR,
	AT_DE_CFG,
	AT_NR
};
static_assert(AT_NR <= ARRAY_SIZE(((struct hvx_vcpu *)0)->kept));

struct msr_row {
	u32 first, last;
	u8 kind;
	bool save;		/* in HVX_GET_MSR_LIST */
	u64 mask;		/* bits that a write may have, else #GP; 0: read-only */
	u64 value;		/* at power-up */
	u8 at;			/* index in kept[] */
};
#define ONE(i)		(i), (i)
#define ANY		(~0ULL)
#define IGNORED		CONST, false, ANY	/* reads as zero */

/*
 * In order of index. Left out on purpose, so that guests see that they are not
 * there: SPEC_CTRL, PRED_CMD, ARCH_CAPABILITIES, XSS, LS_CFG (its SSBD bit would
 * be believed), RAPL, P-states, MPERF/APERF, and Hyper-V's 0x40000000 on.
 */
static const struct msr_row rows[] = {
	{ 0x00, 0x01, IGNORED },			/* P5 machine check */
	{ ONE(MSR_IA32_TSC), TSC, false, ANY },
	{ MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, PV, false, ANY },
	{ ONE(0x17), CONST },				/* platform id */
	{ ONE(MSR_IA32_APICBASE), APICBASE, false, ANY },
	{ ONE(0x2a), IGNORED },				/* power-on configuration */
	{ ONE(MSR_IA32_FEAT_CTL), CONST, .value = 1 },	/* locked, nothing enabled */
	{ ONE(MSR_IA32_TSC_ADJUST), TSC_ADJUST, true, ANY },
	{ ONE(MSR_IA32_UCODE_WRITE), WRITE_ONLY, false, ANY },
	{ ONE(MSR_IA32_UCODE_REV), KEPT_HOST, true, ANY, 0, AT_UCODE },
	{ 0xc1, 0xc2, IGNORED },			/* P6 counters */
	{ ONE(MSR_PLATFORM_INFO), CONST },
	{ ONE(MSR_MTRRcap), CONST, .value = MTRR_CAP },
	{ ONE(MSR_IA32_SYSENTER_CS), SWITCHED, true, ANY },
	{ MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, SWITCHED_ADDR, true, ANY },
	{ ONE(MSR_IA32_MCG_CAP), CONST, .value = MCG_CAP },
	{ ONE(MSR_IA32_MCG_STATUS), KEPT, true, 7, 0, AT_MCG_STATUS },
	{ ONE(MSR_IA32_MCG_CTL), KEPT, true, ANY, ANY, AT_MCG_CTL },
	{ 0x186, 0x187, IGNORED },			/* P6 event selects */
	{ 0x198, 0x199, IGNORED },			/* IA32_PERF_STATUS, _CTL */
	{ ONE(MSR_IA32_MISC_ENABLE), KEPT_MISC_ENABLE, true, ANY,
	  MISC_ENABLE_RW | MISC_ENABLE_RO, AT_MISC_ENABLE },
	/* LBR and BTF are asked for by debuggers and have no effect. */
	{ ONE(MSR_IA32_DEBUGCTLMSR), CONST, false, 3 },
	{ MSR_IA32_LASTBRANCHFROMIP, MSR_IA32_LASTINTTOIP, CONST },
	{ 0x200, 0x200 + 2 * MTRR_VARS - 1, KEPT_MTRR, true, ANY, 0, AT_MTRR_VAR },
	{ ONE(0x250), KEPT_MTRR, true, ANY, MTRR_FIXED_WB, AT_MTRR_FIXED },
	{ 0x258, 0x259, KEPT_MTRR, true, ANY, MTRR_FIXED_WB, AT_MTRR_FIXED + 1 },
	{ 0x268, 0x26f, KEPT_MTRR, true, ANY, MTRR_FIXED_WB, AT_MTRR_FIXED + 3 },
	{ ONE(MSR_IA32_CR_PAT), PAT, true, ANY },
	{ ONE(MSR_MTRRdefType), KEPT_MTRR, true, 0xcff, MTRR_DEF_WB, AT_MTRR_DEF },
	{ MSR_IA32_MC0_CTL, MSR_IA32_MC0_MISC, KEPT_MC0, true, ANY, 0, AT_MC0 },
	{ MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW, PV, true, ANY },
	{ ONE(MSR_KVM_ASYNC_PF_EN), PV, false, ANY },
	{ MSR_KVM_STEAL_TIME, MSR_KVM_POLL_CONTROL, PV, true, ANY },
	{ MSR_KVM_ASYNC_PF_INT, MSR_KVM_ASYNC_PF_ACK, PV, false, ANY },
	{ ONE(MSR_EFER), EFER, false, ANY },
	{ ONE(MSR_STAR), SWITCHED, true, ANY },
	{ MSR_LSTAR, MSR_CSTAR, SWITCHED_ADDR, true, ANY },
	{ ONE(MSR_SYSCALL_MASK), SWITCHED, true, ANY },
	{ MSR_FS_BASE, MSR_GS_BASE, SWITCHED_ADDR, false, ANY },
	{ ONE(MSR_KERNEL_GS_BASE), SWITCHED_ADDR, true, ANY },
	{ ONE(MSR_TSC_AUX), TSC_AUX, true, U32_MAX },
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3, IGNORED },
	{ ONE(MSR_AMD64_SYSCFG), IGNORED },
	{ ONE(MSR_K7_HWCR), KEPT, true, ANY, HWCR_RESET, AT_HWCR },
	{ ONE(MSR_K8_TOP_MEM1), IGNORED },
	{ ONE(MSR_K8_TOP_MEM2), IGNORED },
	{ ONE(MSR_AMD64_NB_CFG), IGNORED },
	{ ONE(MSR_AMD64_PATCH_LOADER), WRITE_ONLY, false, ANY },
	{ ONE(MSR_K8_INT_PENDING_MSG), IGNORED },
	{ ONE(MSR_FAM10H_MMIO_CONF_BASE), IGNORED },
	{ MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK, IGNORED },
	{ ONE(MSR_VM_CR), CONST, false, ANY, VM_CR_NO_SVM },
	{ ONE(MSR_VM_HSAVE_PA), CONST },
	{ MSR_AMD64_OSVW_ID_LENGTH, MSR_AMD64_OSVW_STATUS, IGNORED },
	{ MSR_AMD64_DC_CFG, MSR_AMD64_DC_CFG + 1, IGNORED },	/* and BU_CFG */
	{ ONE(MSR_AMD64_DE_CFG), KEPT, true, ANY, DE_CFG_RESET, AT_DE_CFG },
	{ ONE(MSR_AMD64_BU_CFG2), IGNORED },
	{ ONE(MSR_F15H_EX_CFG), IGNORED },
};
#define for_each_row(row) for ((row) = rows; (row) < rows + ARRAY_SIZE(rows); (row)++)

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
	u64 diff;

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
	if (khz == vcpu->tsc_khz)
		return 0;
	if (hvx_backend->set_tsc_khz(vcpu, khz))
		return -EINVAL;
	vcpu->tsc_khz = khz;
	WRITE_ONCE(vcpu->tsc_ratio, khz == tsc_khz ? 0 : div_u64((u64)khz << 32, tsc_khz));
	return 0;
}

/* SDM vol. 3 "IA32_TSC_ADJUST": software's writes to the TSC show there; a restore does not. */
static void set_tsc(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	u64 old = vcpu->tsc_offset;

	hvx_write_guest_tsc(vcpu, val);
	if (!host)
		vcpu->tsc_adjust += vcpu->tsc_offset - old;
}

static void set_tsc_adjust(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	u64 delta = val - vcpu->tsc_adjust;

	vcpu->tsc_adjust = val;
	if (!host && delta) {
		WRITE_ONCE(vcpu->tsc_offset, vcpu->tsc_offset + delta);
		tsc_changed(vcpu);
	}
}

static bool has_tsc_aux(struct hvx_vcpu *vcpu)
{
	const struct hvx_cpuid_entry *e = hvx_cpuid_find(vcpu, 0x80000001, 0);

	if (e && (e->edx & BIT(27)))
		return true;
	e = hvx_cpuid_find(vcpu, 7, 0);
	return e && (e->ecx & BIT(22));
}

static void set_tsc_aux(struct hvx_vcpu *vcpu, u64 val)
{
	/* RDTSCP reads the CPU's own: while loaded, that is the guest's. */
	if (vcpu->fpu_loaded && boot_cpu_has(X86_FEATURE_RDTSCP))
		wrmsrq(MSR_TSC_AUX, val);
	vcpu->tsc_aux = val;
}

/* ------------------------------------------------------------ rules of writes */

bool hvx_canonical(struct hvx_vcpu *vcpu, u64 addr)
{
	int shift = vcpu->cr4_allowed & X86_CR4_LA57 ? 64 - 57 : 64 - 48;

	return (u64)((s64)(addr << shift) >> shift) == addr;
}

/* APM vol. 2 3.1.7: LMA follows LME and CR0.PG; LME is fixed while paging is on. */
static int set_efer(struct hvx_vcpu *vcpu, u64 val)
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

static int set_pat(struct hvx_vcpu *vcpu, u64 val)
{
	const u64 ones = 0x0101010101010101ULL;

	/* Memory types 0, 1, 4..7 in each byte: 2 and 3 have bit 1 without bit 2. */
	if ((val & ~(7 * ones)) || ((val >> 1) & ~(val >> 2) & ones))
		return 1;
	vcpu->pat = val;
	return hvx_backend->set_msr(vcpu, MSR_IA32_CR_PAT, val);
}

/* SDM vol. 3 "Memory Type Range Registers": types, and the bits that exist in variable ranges. */
static bool mtrr_ok(struct hvx_vcpu *vcpu, u32 index, u64 val, bool host)
{
	bool variable = index < 0x250, mask = variable && (index & 1);
	int i, types = variable ? !mask : index == MSR_MTRRdefType ? 1 : 8;

	for (i = 0; i < types; i++)	/* UC, WC, WT, WP, WB */
		if (((val >> i * 8) & 0xff) > 7 || !(BIT((val >> i * 8) & 7) & 0x73))
			return false;
	return !variable || !(val & ~(GENMASK_ULL((host ? 52 : vcpu->phys_bits) - 1, 12) |
				      (mask ? BIT(11) : 0xff)));
}

/* ------------------------------------------------------------------ access */

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

static bool is_switched(const struct msr_row *row)
{
	return row->kind == SWITCHED || row->kind == SWITCHED_ADDR;
}

static int unknown(const struct hvx_vcpu *vcpu, bool host)
{
	return !host && (vcpu->vm->flags & HVX_VM_EXIT_MSR) ? HVX_MSR_TO_USER : 1;
}

/* Those of the local APIC have no row: they are the ones that are in a hurry. */
static bool is_lapic(u32 index)
{
	return index == MSR_IA32_TSC_DEADLINE ||
	       index - X2APIC_FIRST <= X2APIC_LAST - X2APIC_FIRST;
}

int hvx_get_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	const struct msr_row *row;

	if (is_lapic(index))
		return hvx_lapic_msr_read(vcpu, index, val);
	row = find_row(index);
	if (unlikely(!row))
		return unknown(vcpu, host);
	switch (row->kind) {
	case CONST:
		*val = row->value;
		break;
	case WRITE_ONLY:
		return 1;
	case SWITCHED:
	case SWITCHED_ADDR:
		return hvx_backend->get_msr(vcpu, index, val);
	case PV:
		return hvx_pv_get_msr(vcpu, index, val);
	case TSC:
		*val = hvx_read_guest_tsc(vcpu);
		break;
	case TSC_ADJUST:
		*val = vcpu->tsc_adjust;
		break;
	case TSC_AUX:
		if (!host && !has_tsc_aux(vcpu))
			return 1;
		*val = vcpu->tsc_aux;
		break;
	case APICBASE:
		*val = vcpu->apic_base;
		break;
	case EFER:
		*val = hvx_backend->get_efer(vcpu);
		break;
	case PAT:
		*val = vcpu->pat;
		break;
	default:
		*val = vcpu->kept[row->at + index - row->first];
	}
	return 0;
}

int hvx_set_msr(struct hvx_vcpu *vcpu, u32 index, u64 val, bool host)
{
	const struct msr_row *row;

	if (is_lapic(index))
		return hvx_lapic_msr_write(vcpu, index, val);
	row = find_row(index);
	if (unlikely(!row))
		return unknown(vcpu, host);
	if (!row->mask || (val & ~row->mask))
		return 1;
	switch (row->kind) {
	case CONST:
	case WRITE_ONLY:
		return 0;
	case SWITCHED_ADDR:
		if (!hvx_canonical(vcpu, val))
			return 1;
		fallthrough;
	case SWITCHED:
		return hvx_backend->set_msr(vcpu, index, val);
	case PV:
		return hvx_pv_set_msr(vcpu, index, val, host);
	case TSC:
		set_tsc(vcpu, val, host);
		return 0;
	case TSC_ADJUST:
		set_tsc_adjust(vcpu, val, host);
		return 0;
	case TSC_AUX:
		if (!host && !has_tsc_aux(vcpu))
			return 1;
		set_tsc_aux(vcpu, val);
		return 0;
	case APICBASE:
		return hvx_lapic_set_base(vcpu, val, host);
	case EFER:
		return set_efer(vcpu, val);
	case PAT:
		return set_pat(vcpu, val);
	case KEPT_HOST:
		if (!host)
			return 0;
		break;
	case KEPT_MISC_ENABLE:
		val = (val & MISC_ENABLE_RW) | MISC_ENABLE_RO;
		break;
	case KEPT_MTRR:
		if (!mtrr_ok(vcpu, index, val, host))
			return 1;
		break;
	case KEPT_MC0:
		/* CTL takes anything, the others only zero from the guest: no error is ever logged. */
		if (index != row->first && val && !host)
			return 1;
		break;
	}
	vcpu->kept[row->at + index - row->first] = val;
	return 0;
}

/* -E2BIG with the count where room is too small. */
int hvx_msr_list(u32 *out, unsigned int room, unsigned int *count)
{
	const struct msr_row *row;
	unsigned int n = 0;
	u32 index;

	for_each_row(row) {
		if (!row->save)
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

	for_each_row(row) {
		for (index = row->first; index <= row->last; index++) {
			if (row->kind >= KEPT)
				vcpu->kept[row->at + index - row->first] = row->value;
			else if (is_switched(row))
				hvx_backend->set_msr(vcpu, index, 0);
		}
	}
	/* The host's, so that the guest judges the CPU's errata as the host does. */
	if (rdmsrq_safe(MSR_IA32_UCODE_REV, &vcpu->kept[AT_UCODE]))
		vcpu->kept[AT_UCODE] = 0;
	set_pat(vcpu, PAT_RESET);
	set_tsc_aux(vcpu, 0);
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
	for_each_row(row)
		if (is_switched(row) && r->first <= row->last && r->last >= row->first)
			return false;
	return true;
}

/* vm->lock held. Whoever looks an MSR up after this sees the new table. */
int hvx_set_msr_filter(struct hvx_vm *vm, const struct hvx_msr_range *range, unsigned int count)
{
	struct hvx_msr_filter_tbl *new = NULL, *old;
	unsigned int i;

	for (i = 0; i < count; i++)
		if (!range_ok(&range[i]))
			return -EINVAL;
	if (count) {
		new = kmalloc(struct_size(new, range, count), GFP_KERNEL_ACCOUNT);
		if (!new)
			return -ENOMEM;
		new->count = count;
		memcpy(new->range, range, count * sizeof(*range));
	}
	old = rcu_replace_pointer(vm->msr_filter, new, lockdep_is_held(&vm->lock));
	kfree_rcu(old, rcu);	/* NULL is fine */
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
