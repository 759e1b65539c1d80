// SPDX-License-Identifier: GPL-2.0-only
/* The vCPU state of <uapi/hvx.h>, its MSRs and CPUID, by KVM's ioctls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "hv_kvm.h"

#define MSR_TSC			0x10
#define MSR_TSC_DEADLINE	0x6e0

/* ----------------------------------------------------------------- groups */

static int get_regs(struct hv_vcpu *v, struct hvx_regs *r)
{
	struct kvm_regs k;
	int ret = kvm_call(v->fd, KVM_GET_REGS, &k);

	*r = (struct hvx_regs){
		k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi,
		k.r8, k.r9, k.r10, k.r11, k.r12, k.r13, k.r14, k.r15, k.rip, k.rflags,
	};
	return ret;
}

static int set_regs(struct hv_vcpu *v, const struct hvx_regs *r)
{
	struct kvm_regs k = {
		r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rsp, r->rbp,
		r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip, r->rflags,
	};

	return kvm_call(v->fd, KVM_SET_REGS, &k);
}

static struct hvx_segment from_seg(const struct kvm_segment *k)
{
	return (struct hvx_segment){
		.base = k->base, .limit = k->limit, .selector = k->selector,
		.attr = (uint16_t)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 |
				   k->avl << 8 | k->l << 9 | k->db << 10 | k->g << 11 |
				   (k->unusable ? HVX_SEG_UNUSABLE : 0)),
	};
}

static struct kvm_segment to_seg(const struct hvx_segment *s)
{
	return (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->selector,
		.type = HVX_SEG_TYPE(s->attr), .s = !!(s->attr & HVX_SEG_S),
		.dpl = HVX_SEG_DPL(s->attr), .present = !!(s->attr & HVX_SEG_P),
		.avl = !!(s->attr & HVX_SEG_AVL), .l = !!(s->attr & HVX_SEG_L),
		.db = !!(s->attr & HVX_SEG_DB), .g = !!(s->attr & HVX_SEG_G),
		.unusable = !!(s->attr & HVX_SEG_UNUSABLE),
	};
}

static int get_sregs(struct hv_vcpu *v, struct hvx_sregs *s)
{
	struct kvm_sregs k;
	int ret = kvm_call(v->fd, KVM_GET_SREGS, &k);

	*s = (struct hvx_sregs){
		.es = from_seg(&k.es), .cs = from_seg(&k.cs), .ss = from_seg(&k.ss),
		.ds = from_seg(&k.ds), .fs = from_seg(&k.fs), .gs = from_seg(&k.gs),
		.ldtr = from_seg(&k.ldt), .tr = from_seg(&k.tr),
		.gdtr = { .base = k.gdt.base, .limit = k.gdt.limit },
		.idtr = { .base = k.idt.base, .limit = k.idt.limit },
		.cr0 = k.cr0, .cr2 = k.cr2, .cr3 = k.cr3, .cr4 = k.cr4, .cr8 = k.cr8,
		.efer = k.efer, .apic_base = k.apic_base, .cpl = k.ss.dpl,
	};
	return ret;
}

static int set_sregs(struct hv_vcpu *v, const struct hvx_sregs *s)
{
	struct kvm_sregs k;
	int ret = kvm_call(v->fd, KVM_GET_SREGS, &k);

	if (ret < 0)
		return ret;
	k.es = to_seg(&s->es);
	k.cs = to_seg(&s->cs);
	k.ss = to_seg(&s->ss);
	k.ds = to_seg(&s->ds);
	k.fs = to_seg(&s->fs);
	k.gs = to_seg(&s->gs);
	k.ldt = to_seg(&s->ldtr);
	k.tr = to_seg(&s->tr);
	k.gdt = (struct kvm_dtable){ .base = s->gdtr.base, .limit = s->gdtr.limit };
	k.idt = (struct kvm_dtable){ .base = s->idtr.base, .limit = s->idtr.limit };
	k.cr0 = s->cr0;
	k.cr2 = s->cr2;
	k.cr3 = s->cr3;
	k.cr4 = s->cr4;
	k.cr8 = s->cr8;
	k.efer = s->efer;
	k.apic_base = s->apic_base;
	/* What is on its way in is the events' group to say. */
	memset(k.interrupt_bitmap, 0, sizeof(k.interrupt_bitmap));
	return kvm_call(v->fd, KVM_SET_SREGS, &k);
}

/* KVM_GET_MP_STATE against HVX_MP_*. */
static const uint8_t mp_state[][2] = {
	{ KVM_MP_STATE_RUNNABLE, HVX_MP_RUNNABLE },
	{ KVM_MP_STATE_HALTED, HVX_MP_HALTED },
	{ KVM_MP_STATE_INIT_RECEIVED, HVX_MP_WAIT_SIPI },
	{ KVM_MP_STATE_UNINITIALIZED, HVX_MP_WAIT_SIPI },
	{ KVM_MP_STATE_SIPI_RECEIVED, HVX_MP_WAIT_SIPI },
};

#define MP_STATES	(sizeof(mp_state) / sizeof(mp_state[0]))

static int get_events(struct hv_vcpu *v, struct hvx_events *e)
{
	struct kvm_vcpu_events k;
	struct kvm_mp_state mp;
	int ret = kvm_call(v->fd, KVM_GET_VCPU_EVENTS, &k);
	uint32_t exception;
	size_t i;

	if (ret >= 0)
		ret = kvm_call(v->fd, KVM_GET_MP_STATE, &mp);
	if (ret < 0)
		return ret;
	*e = (struct hvx_events){
		.nmi_pending = k.nmi.pending, .nmi_masked = k.nmi.masked,
		.interrupt_shadow =
			(k.interrupt.shadow & KVM_X86_SHADOW_INT_STI ? HVX_SHADOW_STI : 0) |
			(k.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? HVX_SHADOW_MOV_SS : 0),
	};
	exception = k.exception.nr | HVX_EVENT_EXC | HVX_EVENT_VALID |
		    (k.exception.has_error_code ? HVX_EVENT_HAS_CODE : 0);
	if (k.exception.injected) {
		e->injected = exception;
		e->injected_code = k.exception.error_code;
	} else if (k.nmi.injected) {
		e->injected = HVX_EVENT_NMI | HVX_EVENT_VALID;
	} else if (k.interrupt.injected && !k.interrupt.soft) {
		e->injected = k.interrupt.nr | HVX_EVENT_IRQ | HVX_EVENT_VALID;
	}
	if (k.exception.pending) {
		e->exception = exception;
		e->exception_code = k.exception.error_code;
		e->exception_payload = k.exception_payload;
	}
	for (i = 0; i < MP_STATES; i++)
		if (mp_state[i][0] == mp.mp_state)
			e->mp_state = mp_state[i][1];
	return 0;
}

static bool is_kind(uint32_t event, uint32_t kind)
{
	return event & HVX_EVENT_VALID && (event & HVX_EVENT_TYPE) == (kind & HVX_EVENT_TYPE);
}

static int set_events(struct hv_vcpu *v, const struct hvx_events *e)
{
	/* KVM knows no other order than one after the other: what is to be delivered next counts as on its way. */
	uint32_t exception = is_kind(e->injected, HVX_EVENT_EXC) ? e->injected : e->exception;
	uint32_t code = exception == e->injected ? e->injected_code : e->exception_code;
	struct kvm_vcpu_events k = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.exception.injected = is_kind(exception, HVX_EVENT_EXC),
		.exception.nr = exception & HVX_EVENT_VECTOR,
		.exception.has_error_code = !!(exception & HVX_EVENT_HAS_CODE),
		.exception.error_code = code,
		.interrupt.injected = is_kind(e->injected, HVX_EVENT_IRQ),
		.interrupt.nr = e->injected & HVX_EVENT_VECTOR,
		.interrupt.shadow =
			(e->interrupt_shadow & HVX_SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0) |
			(e->interrupt_shadow & HVX_SHADOW_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0),
		.nmi.injected = is_kind(e->injected, HVX_EVENT_NMI),
		.nmi.pending = e->nmi_pending, .nmi.masked = e->nmi_masked,
	};
	struct kvm_mp_state mp;
	size_t i;
	int ret;

	for (i = 0; i < MP_STATES && mp_state[i][1] != e->mp_state; i++)
		;
	if (i == MP_STATES)
		return -EINVAL;
	mp.mp_state = mp_state[i][0];
	ret = kvm_call(v->fd, KVM_SET_MP_STATE, &mp);
	return ret < 0 ? ret : kvm_call(v->fd, KVM_SET_VCPU_EVENTS, &k);
}

static int get_debugregs(struct hv_vcpu *v, struct hvx_debugregs *d)
{
	struct kvm_debugregs k;
	int ret = kvm_call(v->fd, KVM_GET_DEBUGREGS, &k);

	*d = (struct hvx_debugregs){ .dr6 = k.dr6, .dr7 = k.dr7 };
	memcpy(d->db, k.db, sizeof(d->db));
	return ret;
}

static int set_debugregs(struct hv_vcpu *v, const struct hvx_debugregs *d)
{
	struct kvm_debugregs k = { .dr6 = d->dr6, .dr7 = d->dr7 };

	memcpy(k.db, d->db, sizeof(k.db));
	return kvm_call(v->fd, KVM_SET_DEBUGREGS, &k);
}

/* KVM's area is 4 KiB without the features that a process must ask for; ours is what XCR0 needs, at most that. */
static int get_xsave(struct hv_vcpu *v, struct hvx_xsave_hdr *h)
{
	struct kvm_xsave x;
	struct kvm_xcrs c;
	int ret = kvm_call(v->fd, KVM_GET_XSAVE, &x);

	if (ret >= 0)
		ret = kvm_call(v->fd, KVM_GET_XCRS, &c);
	if (ret < 0)
		return ret;
	*h = (struct hvx_xsave_hdr){ .xcr0 = c.xcrs[0].value, .size = v->hv->info.xsave_size };
	memcpy(h + 1, x.region, h->size);
	return 0;
}

static int set_xsave(struct hv_vcpu *v, const struct hvx_xsave_hdr *h)
{
	struct kvm_xsave x = { 0 };
	struct kvm_xcrs c = { .nr_xcrs = 1, .xcrs = { { .value = h->xcr0 } } };
	int ret;

	memcpy(x.region, h + 1, v->hv->info.xsave_size);
	ret = kvm_call(v->fd, KVM_SET_XSAVE, &x);
	return ret < 0 ? ret : kvm_call(v->fd, KVM_SET_XCRS, &c);
}

static int one_msr(struct hv_vcpu *v, unsigned long request, uint32_t index, __u64 *val)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry = { .index = index, .data = *val } };
	int ret = kvm_call(v->fd, request, &m);

	*val = m.entry.data;
	return ret;
}

static int get_lapic(struct hv_vcpu *v, struct hvx_lapic_state *l)
{
	struct kvm_lapic_state k;
	int ret = kvm_call(v->fd, KVM_GET_LAPIC, &k);

	memset(l, 0, sizeof(*l));
	memcpy(l->regs, k.regs, sizeof(l->regs));
	if (ret >= 0)
		ret = one_msr(v, KVM_GET_MSRS, MSR_TSC_DEADLINE, &l->tsc_deadline);
	return ret < 0 ? ret : 0;
}

static int set_lapic(struct hv_vcpu *v, const struct hvx_lapic_state *l)
{
	__u64 deadline = l->tsc_deadline;
	struct kvm_lapic_state k;
	int ret;

	memcpy(k.regs, l->regs, sizeof(k.regs));
	ret = kvm_call(v->fd, KVM_SET_LAPIC, &k);
	if (ret >= 0)
		ret = one_msr(v, KVM_SET_MSRS, MSR_TSC_DEADLINE, &deadline);
	return ret < 0 ? ret : 0;
}

static int tsc_offset(struct hv_vcpu *v, unsigned long request, __u64 *offset)
{
	struct kvm_device_attr a = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)offset,
	};

	return kvm_call(v->fd, request, &a);
}

static int get_tsc(struct hv_vcpu *v, struct hvx_tsc_state *t)
{
	int ret, khz = kvm_call(v->fd, KVM_GET_TSC_KHZ, NULL);

	*t = (struct hvx_tsc_state){ .khz = khz > 0 ? (uint32_t)khz : 0 };
	ret = one_msr(v, KVM_GET_MSRS, MSR_TSC, &t->value);
	/* From Linux 5.16 on; before, by what both show about now. */
	if (ret >= 0 && tsc_offset(v, KVM_GET_DEVICE_ATTR, &t->offset))
		t->offset = t->value - __rdtsc();
	return ret < 0 ? ret : 0;
}

static int set_tsc(struct hv_vcpu *v, const struct hvx_tsc_state *t)
{
	__u64 value = t->value, offset = t->offset;
	int ret = 0;

	if (t->khz)
		ret = kvm_call(v->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)t->khz);
	if (ret >= 0 && t->flags & HVX_TSC_BY_OFFSET) {
		if (!tsc_offset(v, KVM_SET_DEVICE_ATTR, &offset))
			return 0;
		value = offset + __rdtsc();
	}
	if (ret >= 0)
		ret = one_msr(v, KVM_SET_MSRS, MSR_TSC, &value);
	return ret < 0 ? ret : 0;
}

static size_t group_size(const struct hv_vcpu *v, uint32_t group)
{
	switch (group) {
	case HVX_STATE_REGS: return sizeof(struct hvx_regs);
	case HVX_STATE_SREGS: return sizeof(struct hvx_sregs);
	case HVX_STATE_EVENTS: return sizeof(struct hvx_events);
	case HVX_STATE_DEBUGREGS: return sizeof(struct hvx_debugregs);
	case HVX_STATE_XSAVE: return sizeof(struct hvx_xsave_hdr) + v->hv->info.xsave_size;
	case HVX_STATE_LAPIC: return sizeof(struct hvx_lapic_state);
	case HVX_STATE_TSC: return sizeof(struct hvx_tsc_state);
	default: return 0;
	}
}

int kvm_get_state(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size)
{
	if (!size || size != group_size(v, group))
		return -EINVAL;
	switch (group) {
	case HVX_STATE_REGS: return get_regs(v, data);
	case HVX_STATE_SREGS: return get_sregs(v, data);
	case HVX_STATE_EVENTS: return get_events(v, data);
	case HVX_STATE_DEBUGREGS: return get_debugregs(v, data);
	case HVX_STATE_XSAVE: return get_xsave(v, data);
	case HVX_STATE_LAPIC: return get_lapic(v, data);
	default: return get_tsc(v, data);
	}
}

int kvm_set_state(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size)
{
	if (!size || size != group_size(v, group))
		return -EINVAL;
	switch (group) {
	case HVX_STATE_REGS: return set_regs(v, data);
	case HVX_STATE_SREGS: return set_sregs(v, data);
	case HVX_STATE_EVENTS: return set_events(v, data);
	case HVX_STATE_DEBUGREGS: return set_debugregs(v, data);
	case HVX_STATE_XSAVE: return set_xsave(v, data);
	case HVX_STATE_LAPIC: return set_lapic(v, data);
	default: return set_tsc(v, data);
	}
}

/* ------------------------------------------------------------------- MSRs */

int kvm_get_msrs(struct hv_vcpu *v, struct hvx_msr_entry *e, unsigned int n)
{
	unsigned int i;
	int ret;

	for (i = 0; i < n; i++) {
		ret = one_msr(v, KVM_GET_MSRS, e[i].index, &e[i].value);
		if (ret != 1)
			return ret < 0 ? ret : (int)i;
	}
	return (int)n;
}

int kvm_set_msrs(struct hv_vcpu *v, const struct hvx_msr_entry *e, unsigned int n)
{
	unsigned int i;
	__u64 value;
	int ret;

	for (i = 0; i < n; i++) {
		value = e[i].value;
		ret = one_msr(v, KVM_SET_MSRS, e[i].index, &value);
		if (ret != 1)
			return ret < 0 ? ret : (int)i;
	}
	return (int)n;
}

/* ------------------------------------------------------------------ CPUID */

#define MAX_ENTRIES	256

struct table {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[MAX_ENTRIES];
};

static int supported(int dev_fd, struct table *t)
{
	t->head.nent = MAX_ENTRIES;
	return kvm_call(dev_fd, KVM_GET_SUPPORTED_CPUID, t);
}

static const struct kvm_cpuid_entry2 *find(const struct table *t, uint32_t leaf, uint32_t sub)
{
	unsigned int i;

	for (i = 0; i < t->head.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entry[i];

		if (e->function == leaf &&
		    (e->index == sub || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	}
	return NULL;
}

#define A 1
#define B 2
#define C 4
#define D 8

/* Leaves of feature bits, with the registers that hold them. */
static const struct {
	uint32_t leaf, sub;
	unsigned int regs;
} features[] = {
	{ 1, 0, C | D }, { 7, 0, B | C | D }, { 7, 1, A | B | C | D }, { 0xd, 1, A },
	{ 0x40000001, 0, A }, { 0x80000001, 0, C | D }, { 0x80000008, 0, B },
	{ 0x80000021, 0, A },
};

#define F_TSC_DEADLINE	(1U << 24)
#define F_OSXSAVE	(1U << 27)
#define F_HYPERVISOR	(1U << 31)

static void limit(struct kvm_cpuid_entry2 *e, const struct table *host)
{
	const struct kvm_cpuid_entry2 *h = find(host, e->function, e->index);
	size_t i;

	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		unsigned int r = features[i].regs;

		if (features[i].leaf != e->function || features[i].sub != e->index)
			continue;
		e->eax &= r & A ? (h ? h->eax : 0) : ~0U;
		e->ebx &= r & B ? (h ? h->ebx : 0) : ~0U;
		/* KVM's local APIC has the deadline timer, and a guest may know of KVM, though its list lacks them. */
		e->ecx &= r & C ? (h ? h->ecx : 0) | (e->function == 1 ? F_TSC_DEADLINE | F_HYPERVISOR : 0) : ~0U;
		e->edx &= r & D ? (h ? h->edx : 0) : ~0U;
	}
}

/* The table, less what KVM does not virtualise. The sizes of leaf 0xd are KVM's own. */
int kvm_set_cpuid(struct hv_vcpu *v, const struct hvx_cpuid_entry *e, unsigned int n)
{
	struct table *host = calloc(2, sizeof(*host)), *t = host + 1;
	unsigned int i;
	int ret;

	if (!host)
		return -ENOMEM;
	ret = supported(v->hv->dev_fd, host);
	for (i = 0; ret >= 0 && i < n && t->head.nent < MAX_ENTRIES; i++) {
		struct kvm_cpuid_entry2 *k = &t->entry[t->head.nent];

		if (e[i].leaf == 0xd && e[i].subleaf > 1)
			continue;
		*k = (struct kvm_cpuid_entry2){
			.function = e[i].leaf, .index = e[i].subleaf,
			.flags = e[i].flags & HVX_CPUID_SUBLEAF ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = e[i].eax, .ebx = e[i].ebx, .ecx = e[i].ecx, .edx = e[i].edx,
		};
		limit(k, host);
		t->head.nent++;
	}
	for (i = 0; ret >= 0 && i < host->head.nent && t->head.nent < MAX_ENTRIES; i++)
		if (host->entry[i].function == 0xd && host->entry[i].index > 1)
			t->entry[t->head.nent++] = host->entry[i];
	if (ret >= 0)
		ret = kvm_call(v->fd, KVM_SET_CPUID2, t);
	free(host);
	return ret;
}

int kvm_fill_info(int dev_fd, struct hvx_info *info)
{
	struct table *host = calloc(1, sizeof(*host));
	const struct kvm_cpuid_entry2 *e;
	int ret = host ? supported(dev_fd, host) : -ENOMEM;

	if (ret < 0)
		goto out;
	/* kvm_set_cpuid() takes features away by name, and KVM refuses the bits that belong to them. */
	info->cr4 = info->efer = ~0ULL;
	info->xsave_size = 576;
	e = find(host, 0xd, 0);
	if (e) {
		info->xcr0 = e->eax | (uint64_t)e->edx << 32;
		/* Not the tiles, which a process has to ask the kernel for. */
		info->xcr0 &= ~(3ULL << 17);
		info->xsave_size = e->ecx < sizeof(struct kvm_xsave) ? e->ecx : sizeof(struct kvm_xsave);
	}
	e = find(host, 0x80000008, 0);
	info->phys_bits = e ? e->eax & 0xff : 36;
	e = find(host, 0x40000001, 0);
	info->pv_features = e ? e->eax : 0;
	ret = 0;
out:
	free(host);
	return ret;
}
