// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers: one table for those that the module has to know,
 * because the CPU or the module itself acts on them. What is not in it is
 * unknown: #GP, or userspace's affair (MTRRs, machine check banks and the like
 * hold no more than what was written to them). Nothing here sleeps, but for
 * hvx_set_msr_filter().
 */
#include <uapi/asm/kvm_para.h>
#include "backend.h"

#define X2APIC_FIRST		0x800
#define X2APIC_LAST		0x8ff
#define PAT_RESET		0x0007040600070406ULL

/* ------------------------------------------------------------------- TSC */

static DEFINE_SPINLOCK(tsc_lock);	/* writes look at each other's offsets */

u64 hvx_scale_tsc(const struct hvx_vcpu *vcpu, u64 host_tsc)
{
	u64 ratio = READ_ONCE(vcpu->tsc_ratio);

	return ratio ? mul_u64_u64_shr(host_tsc, ratio, 32) : host_tsc;
}

u64 hvx_guest_tsc(struct hvx_vcpu *vcpu, u64 host_tsc)
{
	return hvx_scale_tsc(vcpu, host_tsc) + READ_ONCE(vcpu->tsc_offset);
}

u64 hvx_read_guest_tsc(struct hvx_vcpu *vcpu)
{
	return hvx_guest_tsc(vcpu, rdtsc());
}

void hvx_set_tsc_offset(struct hvx_vcpu *vcpu, u64 offset)
{
	WRITE_ONCE(vcpu->tsc_offset, offset);
	hvx_backend->update(vcpu);
	hvx_lapic_timer_restart(vcpu->lapic);
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
	offset = val - hvx_scale_tsc(vcpu, rdtsc());
	hvx_for_each_vcpu(i, v, vcpu->vm) {
		theirs = READ_ONCE(v->tsc_offset);
		if (v != vcpu && READ_ONCE(v->tsc_ratio) == vcpu->tsc_ratio &&
		    theirs - offset + window < 2 * window) {
			offset = theirs;
			break;
		}
	}
	WRITE_ONCE(vcpu->tsc_offset, offset);
	spin_unlock(&tsc_lock);
	hvx_set_tsc_offset(vcpu, offset);
}

/*
 * Where the CPU cannot scale, a frequency within 250 ppm of the host's is the
 * same frequency measured on another day, and the guest runs at the host's.
 */
int hvx_set_guest_tsc_khz(struct hvx_vcpu *vcpu, u32 khz)
{
	if (!khz)
		khz = tsc_khz;
	if (!tsc_khz)		/* never calibrated: nothing to scale by */
		return khz ? -EINVAL : 0;
	if (!(hvx_backend->features & HVX_FEAT_TSC_SCALING)) {
		if ((u64)(max(khz, tsc_khz) - min(khz, tsc_khz)) * 4000 > tsc_khz)
			return -EINVAL;
		khz = tsc_khz;
	}
	if (khz / tsc_khz >= 256)	/* AMD CPUs have 8 bits for it */
		return -EINVAL;
	vcpu->tsc_khz = khz;
	WRITE_ONCE(vcpu->tsc_ratio, khz == tsc_khz ? 0 : div_u64((u64)khz << 32, tsc_khz));
	return 0;
}

/* SDM vol. 3 "IA32_TSC_ADJUST": software's writes to the TSC show there; a restore does not. */
static int set_tsc(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	u64 old = vcpu->tsc_offset;

	hvx_write_guest_tsc(vcpu, val);
	if (!host)
		vcpu->tsc_adjust += vcpu->tsc_offset - old;
	return 0;
}

static int set_tsc_adjust(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	u64 delta = val - vcpu->tsc_adjust;

	vcpu->tsc_adjust = val;
	if (!host && delta)
		hvx_set_tsc_offset(vcpu, vcpu->tsc_offset + delta);
	return 0;
}

/* ------------------------------------------------------------ rules of writes */

static int set_tsc_aux(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	/* RDTSCP reads the CPU's own: while loaded, that is the guest's. */
	if (vcpu->msrs_loaded && boot_cpu_has(X86_FEATURE_RDTSCP))
		wrmsrq(MSR_TSC_AUX, val);
	vcpu->tsc_aux = val;
	return 0;
}

bool hvx_canonical(struct hvx_vcpu *vcpu, u64 addr)
{
	int shift = vcpu->cr4_allowed & X86_CR4_LA57 ? 64 - 57 : 64 - 48;

	return (u64)((s64)(addr << shift) >> shift) == addr;
}

/* APM vol. 2 3.1.7: LMA follows LME and CR0.PG; LME is fixed while paging is on. */
static int set_efer(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	u64 old = vcpu->efer;

	val = (val & ~(u64)EFER_LMA) | (old & EFER_LMA);
	if (val & ~vcpu->efer_allowed)
		return 1;
	if (((val ^ old) & EFER_LME) && (hvx_backend->get_cr(vcpu, 0) & X86_CR0_PG))
		return 1;
	hvx_backend->set_efer(vcpu, val);
	return 0;
}

static int set_pat(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	const u64 ones = 0x0101010101010101ULL;

	/* Memory types 0, 1, 4..7 in each byte: 2 and 3 have bit 1 without bit 2. */
	if ((val & ~(7 * ones)) || ((val >> 1) & ~(val >> 2) & ones))
		return 1;
	vcpu->pat = val;
	return hvx_backend->msr(vcpu, MSR_IA32_CR_PAT, &val, true);
}

/* There is no supervisor state: nothing but 0. */
static int set_xss(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	return 0;
}

/* ------------------------------------------------------------------- table */

struct msr_row {
	u32 first, last;
	int (*set)(struct hvx_vcpu *vcpu, u64 val, bool host);	/* 0; 1: #GP. NULL: the CPU switches it */
	u64 (*get)(struct hvx_vcpu *vcpu);	/* NULL: read from `at` */
	u16 at;			/* offset of a u64 in struct hvx_vcpu; 0: it reads 0 */
	bool address;		/* must be canonical */
	u64 caps;		/* not for the guest unless it has one of these; 0: always */
	u64 reserved;		/* bits that must be zero */
};
#define ONE(i)		(i), (i)
#define AT(field)	NULL, offsetof(struct hvx_vcpu, field), false
#define PV(feature)	BIT_ULL(KVM_FEATURE_##feature)
static_assert(sizeof(struct hvx_vcpu) <= U16_MAX);

/*
 * In order of index. Left out on purpose, so that guests see that they are not
 * there: SPEC_CTRL, PRED_CMD, ARCH_CAPABILITIES, LS_CFG. HVX_SAVED_MSRS
 * of the UAPI lists what is state and in no state group.
 */
static const struct msr_row rows[] = {
	{ ONE(MSR_IA32_TSC), set_tsc, hvx_read_guest_tsc },
	{ ONE(MSR_KVM_SYSTEM_TIME), hvx_pv_set_clock, AT(pv.system_time_msr), PV(CLOCKSOURCE), 2 },
	{ ONE(MSR_IA32_APICBASE), hvx_lapic_set_base, AT(apic_base) },
	{ ONE(MSR_IA32_TSC_ADJUST), set_tsc_adjust, AT(tsc_adjust) },
	{ ONE(MSR_IA32_SYSENTER_CS) },
	{ MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, .address = true },
	{ ONE(MSR_IA32_CR_PAT), set_pat, AT(pat) },
	{ ONE(MSR_IA32_XSS), set_xss, .caps = HVX_CAP_XSAVES, .reserved = ~0ULL },
	{ ONE(MSR_KVM_SYSTEM_TIME_NEW), hvx_pv_set_clock, AT(pv.system_time_msr),
	  PV(CLOCKSOURCE2), 2 },
	{ ONE(MSR_KVM_STEAL_TIME), hvx_pv_set_steal, AT(pv.steal_msr), PV(STEAL_TIME),
	  KVM_STEAL_RESERVED_MASK },
	{ ONE(MSR_KVM_PV_EOI_EN), hvx_pv_set_eoi, AT(pv.eoi_msr), PV(PV_EOI), 2 },
	{ ONE(MSR_EFER), set_efer, AT(efer) },
	{ ONE(MSR_STAR) },
	{ MSR_LSTAR, MSR_CSTAR, .address = true },
	{ ONE(MSR_SYSCALL_MASK) },
	{ MSR_FS_BASE, MSR_KERNEL_GS_BASE, .address = true },
	{ ONE(MSR_TSC_AUX), set_tsc_aux, AT(tsc_aux), HVX_CAP_RDTSCP | HVX_CAP_RDPID, ~0ULL << 32 },
};

/* NULL: not there. */
static const struct msr_row *find_row(const struct hvx_vcpu *vcpu, u32 index, bool host)
{
	const struct msr_row *row;

	for (row = rows; row < rows + ARRAY_SIZE(rows) && index >= row->first; row++)
		if (index <= row->last)
			return host || !row->caps || vcpu->caps & row->caps ? row : NULL;
	return NULL;
}

/* Those of the local APIC have no row: they are the ones that are in a hurry. */
static bool is_lapic(u32 index)
{
	return index == MSR_IA32_TSC_DEADLINE || index - X2APIC_FIRST <= X2APIC_LAST - X2APIC_FIRST;
}

static bool filtered(struct hvx_vm *vm, u32 index, u32 flag)
{
	const struct hvx_msr_range *r;
	bool hit = false;

	rcu_read_lock();
	for (r = rcu_dereference(vm->msr_filter); r && r->flags && !hit; r++)
		hit = index >= r->first && index <= r->last && (r->flags & flag);
	rcu_read_unlock();
	return hit;
}

int hvx_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write, bool host)
{
	const struct msr_row *row;

	if (unlikely(rcu_access_pointer(vcpu->vm->msr_filter)) && !host &&
	    filtered(vcpu->vm, index, write ? HVX_MSR_FILTER_WRITE : HVX_MSR_FILTER_READ))
		return HVX_MSR_TO_USER;
	if (is_lapic(index))
		return hvx_lapic_msr(vcpu, index, val, write);
	row = find_row(vcpu, index, host);
	if (unlikely(!row))
		return !host && (vcpu->vm->flags & HVX_VM_EXIT_MSR) ? HVX_MSR_TO_USER : 1;
	if (write && (*val & row->reserved || (row->address && !hvx_canonical(vcpu, *val))))
		return 1;
	if (!row->set)
		return hvx_backend->msr(vcpu, index, val, write);
	if (write)
		return row->set(vcpu, *val, host);
	*val = row->get ? row->get(vcpu) : row->at ? *(u64 *)((void *)vcpu + row->at) : 0;
	return 0;
}

/*
 * A new vCPU, which the VM does not know yet: all zero but what SDM vol. 3 table
 * 9-1 says otherwise. It joins the others' time; the first one starts at zero.
 */
void hvx_msr_reset(struct hvx_vcpu *vcpu)
{
	struct hvx_vcpu *other = hvx_vcpu_from(vcpu->vm, 0);

	set_pat(vcpu, PAT_RESET, true);
	vcpu->tsc_khz = tsc_khz;
	if (other)
		hvx_set_guest_tsc_khz(vcpu, READ_ONCE(other->tsc_khz));
	hvx_write_guest_tsc(vcpu, other ? hvx_read_guest_tsc(other) : 0);
}

/* ------------------------------------------------------------------ filter */

static bool range_ok(const struct hvx_msr_range *r)
{
	const struct msr_row *row;

	if (r->pad || r->first > r->last || !r->flags ||
	    (r->flags & ~(HVX_MSR_FILTER_READ | HVX_MSR_FILTER_WRITE)))
		return false;
	if (r->first <= X2APIC_LAST && r->last >= X2APIC_FIRST)
		return false;
	for (row = rows; row < rows + ARRAY_SIZE(rows); row++)
		if (!row->set && r->first <= row->last && r->last >= row->first)
			return false;
	return true;
}

/* vm->lock held. Afterwards everyone sees the new table, which ends with a range of no flags. */
int hvx_set_msr_filter(struct hvx_vm *vm, const struct hvx_msr_range *range, unsigned int count)
{
	struct hvx_msr_range *new = NULL, *old;
	unsigned int i;

	for (i = 0; i < count; i++)
		if (!range_ok(&range[i]))
			return -EINVAL;
	if (count) {
		new = kcalloc(count + 1, sizeof(*new), GFP_KERNEL_ACCOUNT);
		if (!new)
			return -ENOMEM;
		memcpy(new, range, count * sizeof(*new));
	}
	old = rcu_replace_pointer(vm->msr_filter, new, lockdep_is_held(&vm->lock));
	synchronize_rcu_expedited();
	kfree(old);
	return 0;
}
