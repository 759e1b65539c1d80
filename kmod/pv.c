// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's documented paravirtual interface (Documentation/virt/kvm/x86/: msr.rst,
 * cpuid.rst, hypercalls.rst): clock, steal time, EOI, hypercalls. A feature
 * exists for the guest where its bit of CPUID 0x40000001 EAX is set: vcpu->caps.
 *
 * Each of the guest's areas is the MSR by which it was registered: address and
 * enable bit in vcpu->pv, rows in x86/msr.c, hvx_pv_set_*() below. The wall
 * clock, which is asked for once, is userspace's (HVX_GET_CLOCK has it).
 */
#include <linux/clocksource.h>
#include <asm/pvclock-abi.h>
#include <uapi/linux/kvm_para.h>

#include "backend.h"
#include "irq/lapic.h"

static bool has_feature(struct hvx_vcpu *vcpu, unsigned int bit)
{
	return vcpu->caps & BIT_ULL(bit);
}

/*
 * The guest's clock is its TSC in nanoseconds, counted from host TSC 0, plus
 * vm->clock_offset. Nothing in it moves between HVX_SET_CLOCKs: all vCPUs have
 * the same straight line, whenever their pages were written.
 */
struct tsc_scale {
	u32 mul;
	s8 shift;
};

/* ns = (tsc << shift) * mul / 2^32 */
static struct tsc_scale tsc_scale(u32 khz)
{
	struct tsc_scale s;
	u32 shift;

	clocks_calc_mult_shift(&s.mul, &shift, max(khz, 1000U), NSEC_PER_MSEC, 0);
	s.shift = 32 - shift;
	return s;
}

/* The VM's clock without its offset, at a host TSC: by the rate of its first vCPU. */
static u64 raw_ns(struct hvx_vm *vm, u64 host_tsc)
{
	struct hvx_vcpu *vcpu = hvx_vcpu_from(vm, 0);
	struct tsc_scale s = tsc_scale(vcpu ? READ_ONCE(vcpu->tsc_khz) : tsc_khz);

	return mul_u64_u32_shr((vcpu ? hvx_scale_tsc(vcpu, host_tsc) : host_tsc) << s.shift,
			       s.mul, 32);
}

int hvx_get_clock(struct hvx_vm *vm, struct hvx_clock *c)
{
	memset(c, 0, sizeof(*c));
	local_irq_disable();
	c->host_tsc = rdtsc_ordered();
	c->realtime_ns = ktime_get_real_ns();
	local_irq_enable();
	c->ns = raw_ns(vm, c->host_tsc) + READ_ONCE(vm->clock_offset);
	return 0;
}

int hvx_set_clock(struct hvx_vm *vm, const struct hvx_clock *c)
{
	struct hvx_vcpu *vcpu;
	unsigned int i;

	WRITE_ONCE(vm->clock_offset, c->ns - raw_ns(vm, c->host_tsc ?: rdtsc_ordered()));
	hvx_for_each_vcpu(i, vcpu, vm)
		hvx_request_kick(vcpu, HVX_REQ_CLOCK);
	return 0;
}

/* The version is odd while the data change (pvclock-abi.h). No memory there: nothing happens. */
static void write_versioned(struct hvx_vm *vm, u64 gpa, u32 *version, u64 data_gpa,
			    const void *data, size_t len)
{
	u32 v = (*version + 1) | 1;

	if (hvx_write_guest(vm, gpa, &v, sizeof(v)))
		return;
	smp_wmb();
	hvx_write_guest(vm, data_gpa, data, len);
	smp_wmb();
	*version = ++v;
	hvx_write_guest(vm, gpa, &v, sizeof(v));
}

void hvx_pv_update_clock(struct hvx_vcpu *vcpu)
{
	struct tsc_scale s = tsc_scale(vcpu->tsc_khz);
	struct pvclock_vcpu_time_info t = {
		.tsc_timestamp = hvx_guest_tsc(vcpu, 0),
		.system_time = READ_ONCE(vcpu->vm->clock_offset),
		.tsc_to_system_mul = s.mul,
		.tsc_shift = s.shift,
	};
	const size_t start = offsetof(struct pvclock_vcpu_time_info, pad0);
	u64 gpa = vcpu->pv.system_time_msr & ~1ULL;

	if (!(vcpu->pv.system_time_msr & KVM_MSR_ENABLED))
		return;
	if (has_feature(vcpu, KVM_FEATURE_CLOCKSOURCE_STABLE_BIT) && !check_tsc_unstable())
		t.flags |= PVCLOCK_TSC_STABLE_BIT;
	write_versioned(vcpu->vm, gpa, &vcpu->pv.clock_version, gpa + start, (u8 *)&t + start,
			sizeof(t) - start);
}

#define STEAL_UNKNOWN	(~0ULL)

void hvx_pv_update_steal(struct hvx_vcpu *vcpu)
{
	u64 value_gpa = vcpu->pv.steal_msr & KVM_STEAL_VALID_BITS;
	u64 version_gpa = value_gpa + offsetof(struct kvm_steal_time, version);
	u64 waited = current->sched_info.run_delay, steal;
	u32 version;

	if (!(vcpu->pv.steal_msr & KVM_MSR_ENABLED))
		return;
	/* Another thread's count may have taken over. */
	if (vcpu->pv.steal_last == STEAL_UNKNOWN || waited < vcpu->pv.steal_last)
		vcpu->pv.steal_last = waited;
	if (hvx_read_guest(vcpu->vm, value_gpa, &steal, sizeof(steal)) ||
	    hvx_read_guest(vcpu->vm, version_gpa, &version, sizeof(version)))
		return;
	steal += waited - vcpu->pv.steal_last;
	vcpu->pv.steal_last = waited;
	write_versioned(vcpu->vm, version_gpa, &version, value_gpa, &steal, sizeof(steal));
}

/*
 * Bit 0 of a byte in guest memory, set: the guest may clear it instead of
 * writing EOI. pv.eoi_set says what the byte holds as far as the module knows;
 * it is brought into line before each entry and looked at after each exit.
 */
static u64 eoi_gpa(struct hvx_vcpu *vcpu)
{
	return vcpu->pv.eoi_msr & ~3ULL;
}

void hvx_pv_eoi_set(struct hvx_vcpu *vcpu)
{
	u8 flag;

	if (!(vcpu->pv.eoi_msr & KVM_MSR_ENABLED))
		return;
	flag = hvx_lapic_eoi_can_wait(vcpu->lapic);
	/* Where it cannot be cleared now, an EOI through it is seen at the next exit. */
	if (flag != vcpu->pv.eoi_set &&
	    !hvx_guest_mem(vcpu->vm, eoi_gpa(vcpu), &flag, 1, HVX_MEM_WRITE | HVX_MEM_ATOMIC))
		vcpu->pv.eoi_set = flag;
}

/*
 * Tell the APIC of an EOI that the guest made by the byte. Without `keep` the
 * byte is clear afterwards. how: HVX_MEM_ATOMIC or 0. False: not without sleeping.
 */
static bool eoi_take(struct hvx_vcpu *vcpu, unsigned int how, bool keep)
{
	u8 flag;

	if (hvx_guest_mem(vcpu->vm, eoi_gpa(vcpu), &flag, 1, how))
		return false;
	if (flag & KVM_PV_EOI_MASK && keep)
		return true;
	if (flag & KVM_PV_EOI_MASK) {
		flag = 0;
		hvx_guest_mem(vcpu->vm, eoi_gpa(vcpu), &flag, 1, how | HVX_MEM_WRITE);
	} else {
		hvx_lapic_eoi(vcpu->lapic);
	}
	vcpu->pv.eoi_set = false;
	return true;
}

void hvx_pv_eoi_check(struct hvx_vcpu *vcpu)
{
	if (!eoi_take(vcpu, HVX_MEM_ATOMIC, true))
		hvx_request(vcpu, HVX_REQ_PV_EOI);
}

void hvx_pv_eoi_settle(struct hvx_vcpu *vcpu, unsigned int how)
{
	if (vcpu->pv.eoi_set)
		eoi_take(vcpu, how, false);
	vcpu->pv.eoi_set = false;
}

int hvx_pv_set_clock(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	vcpu->pv.system_time_msr = val;
	hvx_request(vcpu, HVX_REQ_CLOCK);
	return 0;
}

int hvx_pv_set_steal(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	vcpu->pv.steal_msr = val;
	vcpu->pv.steal_last = STEAL_UNKNOWN;
	hvx_request(vcpu, HVX_REQ_STEAL);
	return 0;
}

int hvx_pv_set_eoi(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	hvx_pv_eoi_settle(vcpu, HVX_MEM_ATOMIC);
	vcpu->pv.eoi_msr = val;
	return 0;
}

long hvx_pv_hypercall(struct hvx_vcpu *vcpu, u64 mask)
{
	u64 nr = vcpu->regs[0] & mask, a1 = vcpu->regs[1] & mask;
	struct hvx_vcpu *target;

	if (nr == KVM_HC_VAPIC_POLL_IRQ && (u32)vcpu->caps)
		return 0;	/* the exit is all that is wanted */
	if (nr == KVM_HC_SEND_IPI && has_feature(vcpu, KVM_FEATURE_PV_SEND_IPI))
		return hvx_pv_send_ipi(vcpu, vcpu->regs[3] & mask, a1, vcpu->regs[2] & mask,
				       vcpu->regs[6] & mask, !~mask);
	if (nr == KVM_HC_KICK_CPU && has_feature(vcpu, KVM_FEATURE_PV_UNHALT)) {
		target = a1 < HVX_MAX_VCPUS ?
			 smp_load_acquire(&vcpu->vm->vcpus[array_index_nospec(a1, HVX_MAX_VCPUS)]) : NULL;
		if (target) {
			WRITE_ONCE(target->pv.unhalted, true);
			hvx_request_kick(target, HVX_REQ_EVENT);
		}
		return 0;
	}
	return HVX_PV_UNKNOWN;
}
