// SPDX-License-Identifier: GPL-2.0-only
#include "lapic_fixture.h"

u64 fake_ns, fake_tsc;
u32 tsc_khz = 2000000;

struct lapic_did did;

struct hvx_vm vm;
struct hvx_vcpu vcpus[HVX_MAX_VCPUS];

void hvx_irqfd_eoi(struct hvx_vm *m, u8 vector)
{
	(void)m;
	did.resamples++;
	did.vector = vector;
}

u64 hvx_read_guest_tsc(struct hvx_vcpu *vcpu)
{
	(void)vcpu;
	return fake_tsc;
}

u32 mmio_read(struct hvx_lapic *a, u32 offset)
{
	return hvx_lapic_mmio(a, offset, false, 0);
}

void mmio_write(struct hvx_lapic *a, u32 offset, u32 val)
{
	hvx_lapic_mmio(a, offset, true, val);
}

struct hvx_lapic *new_apic(u32 id)
{
	struct hvx_vcpu *v = &vcpus[id];

	if (v->lapic)
		hvx_lapic_destroy(v);
	memset(v, 0, sizeof(*v));
	v->id = id;
	v->vm = &vm;
	v->phys_bits = 40;
	v->caps = HVX_CAP_X2APIC;
	ck_assert_int_eq(hvx_lapic_create(v), 0);
	hvx_lapic_reset(v, false);
	vm.vcpus[id] = v;
	vm.vcpu_ids |= 1UL << id;
	return v->lapic;
}

static void setup(void)
{
	memset(&did, 0, sizeof(did));
	memset(&vm, 0, sizeof(vm));
	fake_ns = 1000000;
	fake_tsc = 5000000;
}

static void teardown(void)
{
	int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++)
		if (vcpus[i].lapic)
			hvx_lapic_destroy(&vcpus[i]);
	memset(vcpus, 0, sizeof(vcpus));
}

const struct hvx_backend *hvx_backend = &(const struct hvx_backend) { 0 };

int msr_write(struct hvx_lapic *a, u32 reg, u64 val)
{
	return hvx_lapic_msr(a->vcpu, AREG_MSR + reg, &val, true);
}

int msr_read(struct hvx_lapic *a, u32 reg, u64 *val)
{
	return hvx_lapic_msr(a->vcpu, AREG_MSR + reg, val, false);
}

void enable(struct hvx_lapic *a)
{
	mmio_write(a, OFF(AREG_SVR), SVR_ENABLE | 0xff);
}

void set_base(struct hvx_lapic *a, u64 bits)
{
	ck_assert_int_eq(hvx_lapic_set_base(a->vcpu, BASE_DEFAULT | bits, false), 0);
}

struct hvx_lapic *new_enabled(u32 id)
{
	struct hvx_lapic *a = new_apic(id);

	enable(a);
	return a;
}

struct hvx_lapic *new_x2(u32 id)
{
	struct hvx_lapic *a = new_enabled(id);

	set_base(a, BASE_ENABLE | BASE_X2APIC);
	return a;
}

/* A level-triggered EOI waits for userspace: its vector, else -1. */
int eoi_exit(struct hvx_lapic *a)
{
	int v = a->eoi_exit;

	a->eoi_exit = -1;
	ck_assert_int_eq(v >= 0, test_bit(HVX_REQ_EOI, &a->vcpu->requests));
	clear_bit(HVX_REQ_EOI, &a->vcpu->requests);
	return v;
}

int take(struct hvx_lapic *a)
{
	int v = hvx_lapic_pending(a);

	if (v >= 0)
		hvx_lapic_ack(a, v);
	return v;
}

/* Whose IRR has the vector? It is taken out. */
unsigned long requested(u8 vector)
{
	unsigned long mask = 0;
	int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++) {
		if (!vm.vcpus[i] ||
		    !test_bit(VECTOR_BIT(vector), hvx_lapic_bits(vcpus[i].lapic, AREG_IRR)))
			continue;
		clear_bit(VECTOR_BIT(vector), hvx_lapic_bits(vcpus[i].lapic, AREG_IRR));
		mask |= 1UL << i;
	}
	return mask;
}

/* Who takes an IPI of the lowest id? */
unsigned long sent(u64 icr)
{
	hvx_send_ipi(&vcpus[__ffs(vm.vcpu_ids)], icr);
	return requested(icr);
}

unsigned long logical_dest(u32 dest)
{
	return sent((u64)dest << 32 | MSG_LOGICAL | 0x40);
}


/* The clock reaches the time that the hrtimer was started for, and the runner sees it. */
u32 run_timer(struct hvx_lapic *a)
{
	u64 fired = a->vcpu->stats.timer_fired;

	if (a->timer.at > fake_ns) {
		fake_tsc += (a->timer.at - fake_ns) * 2;
		fake_ns = a->timer.at;
	}
	a->timer.function(&a->timer);
	ck_assert(test_bit(HVX_REQ_TIMER, &a->vcpu->requests));
	hvx_lapic_timer(a);
	return a->vcpu->stats.timer_fired - fired;
}

u64 deadline(struct hvx_lapic *a)
{
	u64 v;

	ck_assert_int_eq(hvx_lapic_msr(a->vcpu, MSR_IA32_TSC_DEADLINE, &v, false), 0);
	return v;
}

void set_deadline(struct hvx_lapic *a, u64 tsc)
{
	ck_assert_int_eq(hvx_lapic_msr(a->vcpu, MSR_IA32_TSC_DEADLINE, &tsc, true), 0);
}

int lapic_run(const char *name, const TTest *const *tests, unsigned int count)
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);
	unsigned int i;
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	for (i = 0; i < count; i++)
		tcase_add_test(t, tests[i]);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
