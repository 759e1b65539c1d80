// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of struct hv_ops on /dev/kvm: KVM's local APICs in the kernel,
 * everything else here ("split irqchip"). Linux, Documentation/virt/kvm/api.rst.
 *
 * KVM emulates instructions itself, so that HVX_EXIT_EMULATE is never made. It
 * reports the EOI of a level-triggered interrupt only for messages that it has
 * in its routing table, at the numbers of I/O APIC pins: hv_signal_msi() puts
 * them there.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "hv_kvm.h"

#define PINS		64U	/* level-triggered messages, all vectors of the I/O APICs */
#define MAX_ROUTES	1024U	/* they and those of irqfds */
#define MSI_LEVEL	(1U << 15)
#define KVM_PAGES	0xfeffc000UL	/* four pages that VT-x needs, where no slot is */
#define KICK_SIGNAL	SIGRTMIN

struct kvm_vm {
	pthread_mutex_t lock;
	unsigned int next_pin;
	int irqfd[MAX_ROUTES];		/* whose route; -1: free */
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[MAX_ROUTES];
	} table;			/* entry[i] is GSI i */
};

int kvm_call(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static int call_val(int fd, unsigned long request, unsigned long arg)
{
	return kvm_call(fd, request, (void *)arg);
}

/* -------------------------------------------------------------------- VM */

static void on_kick(int sig)
{
	(void)sig;	/* KVM_RUN ends with EINTR */
}

static int enable(int vm_fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

	return kvm_call(vm_fd, KVM_ENABLE_CAP, &e);
}

static int set_up_vm(struct hv *hv, uint32_t vm_flags)
{
	uint64_t pages = KVM_PAGES;
	int ret;

	/* Another processor vendor's KVM does without these two. */
	kvm_call(hv->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &pages);
	call_val(hv->vm_fd, KVM_SET_TSS_ADDR, KVM_PAGES + 0x1000);
	ret = enable(hv->vm_fd, KVM_CAP_SPLIT_IRQCHIP, PINS);
	if (ret >= 0)
		ret = enable(hv->vm_fd, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS |
			     KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
	if (ret >= 0 && vm_flags & HVX_VM_EXIT_MSR)
		ret = enable(hv->vm_fd, KVM_CAP_X86_USER_SPACE_MSR,
			     KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL);
	return ret < 0 ? ret : 0;
}

static struct kvm_vm *new_vm(void)
{
	struct kvm_vm *vm = calloc(1, sizeof(*vm));
	unsigned int i;

	for (i = 0; vm && i < MAX_ROUTES; i++) {
		vm->irqfd[i] = -1;
		vm->table.entry[i] = (struct kvm_irq_routing_entry){
			.gsi = i, .type = KVM_IRQ_ROUTING_MSI,
		};
	}
	if (vm)
		pthread_mutex_init(&vm->lock, NULL);
	return vm;
}

static int kvm_open(struct hv *hv, const char *dev, uint32_t vm_flags)
{
	const struct sigaction sa = { .sa_handler = on_kick };
	int ret;

	if (vm_flags & ~HVX_VM_EXIT_MSR)
		return -EOPNOTSUPP;
	hv->dev_fd = open(dev, O_RDWR | O_CLOEXEC);
	if (hv->dev_fd < 0)
		return -errno;
	ret = call_val(hv->dev_fd, KVM_GET_API_VERSION, 0);
	if (ret != KVM_API_VERSION) {
		ret = ret < 0 ? ret : -EPROTO;
		goto fail;
	}
	strcpy(hv->info.backend, "kvm");
	hv->info.api_version = HVX_API_VERSION;
	hv->info.run_size = sizeof(struct hvx_run);
	hv->info.max_vcpus = HVX_MAX_VCPUS;
	hv->info.max_slots = HVX_MAX_SLOTS;
	ret = kvm_fill_info(hv->dev_fd, &hv->info);
	if (ret < 0)
		goto fail;
	hv->priv = new_vm();
	ret = hv->priv ? call_val(hv->dev_fd, KVM_CREATE_VM, 0) : -ENOMEM;
	if (ret < 0)
		goto fail;
	hv->vm_fd = ret;
	sigaction(KICK_SIGNAL, &sa, NULL);
	ret = call_val(hv->vm_fd, KVM_GET_TSC_KHZ, 0);
	if (ret > 0) {
		hv->info.tsc_khz = (uint32_t)ret;
		ret = set_up_vm(hv, vm_flags);
	}
	if (!ret)
		return 0;
	close(hv->vm_fd);
fail:
	close(hv->dev_fd);
	free(hv->priv);
	hv->priv = NULL;
	return ret;
}

static void kvm_close(struct hv *hv)
{
	struct kvm_vm *vm = hv->priv;

	close(hv->vm_fd);
	close(hv->dev_fd);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	hv->priv = NULL;
}

static int kvm_set_slot(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
			void *hva)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
		.flags = (flags & HVX_SLOT_READONLY ? KVM_MEM_READONLY : 0) |
			 (flags & HVX_SLOT_LOG_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0),
	};

	return kvm_call(hv->vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
}

/* KVM's log is of whole slots, and reading it clears it. */
static int kvm_get_dirty(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first,
			 uint64_t pages, uint64_t *bitmap)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	(void)pages;
	if (first || !(flags & HVX_DIRTY_CLEAR))
		return -EOPNOTSUPP;
	return kvm_call(hv->vm_fd, KVM_GET_DIRTY_LOG, &log);
}

/* ------------------------------------------------------------- interrupts */

/* With the lock held. All entries travel: KVM wants the table whole. */
static int set_route(struct hv *hv, unsigned int gsi, uint64_t address, uint32_t data)
{
	struct kvm_vm *vm = hv->priv;
	struct kvm_irq_routing_msi *msi = &vm->table.entry[gsi].u.msi;

	if (vm->table.head.nr > gsi && msi->address_lo == (uint32_t)address && msi->data == data)
		return 0;
	msi->address_lo = (uint32_t)address;
	msi->address_hi = (uint32_t)(address >> 32);
	msi->data = data;
	if (vm->table.head.nr <= gsi)
		vm->table.head.nr = gsi + 1;
	return kvm_call(hv->vm_fd, KVM_SET_GSI_ROUTING, &vm->table);
}

/* Have KVM tell of the EOI: one pin for each message, the oldest gives way. */
static int route_level(struct hv *hv, uint64_t address, uint32_t data)
{
	struct kvm_vm *vm = hv->priv;
	unsigned int i, n = vm->table.head.nr < PINS ? vm->table.head.nr : PINS;
	int ret;

	pthread_mutex_lock(&vm->lock);
	for (i = 0; i < n; i++)
		if (vm->table.entry[i].u.msi.data == data &&
		    vm->table.entry[i].u.msi.address_lo == (uint32_t)address)
			break;
	if (i == n)
		i = vm->next_pin++ % PINS;
	ret = set_route(hv, i, address, data);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

static int kvm_signal_msi(struct hv *hv, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32),
		.data = data,
	};
	int ret = data & MSI_LEVEL ? route_level(hv, address, data) : 0;

	return ret < 0 ? ret : kvm_call(hv->vm_fd, KVM_SIGNAL_MSI, &msi);
}

static int kvm_irqfd(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address,
		     uint32_t data)
{
	struct kvm_vm *vm = hv->priv;
	bool off = flags & HVX_IRQFD_DEASSIGN;
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .flags = off ? KVM_IRQFD_FLAG_DEASSIGN : 0 };
	unsigned int gsi, unused = 0;
	int ret;

	(void)resample_fd;
	if (flags & HVX_IRQFD_RESAMPLE)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&vm->lock);
	for (gsi = PINS; gsi < MAX_ROUTES && vm->irqfd[gsi] != fd; gsi++)
		if (vm->irqfd[gsi] < 0 && !unused)
			unused = gsi;
	ret = off ? -ENOENT : 0;
	if (gsi < MAX_ROUTES) {
		/* An fd that is assigned already: only its message changes. */
		irqfd.gsi = gsi;
		if (off) {
			ret = kvm_call(hv->vm_fd, KVM_IRQFD, &irqfd);
			vm->irqfd[gsi] = -1;
		} else {
			ret = set_route(hv, gsi, address, data);
		}
	} else if (!off && unused) {
		irqfd.gsi = unused;
		ret = set_route(hv, unused, address, data);
		if (ret >= 0)
			ret = kvm_call(hv->vm_fd, KVM_IRQFD, &irqfd);
		if (ret >= 0)
			vm->irqfd[unused] = fd;
	} else if (!off) {
		ret = -ENOSPC;
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

static int kvm_ioeventfd(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len,
			 uint64_t match, int fd)
{
	struct kvm_ioeventfd e = {
		.addr = addr, .len = len, .datamatch = match, .fd = fd,
		.flags = (flags & HVX_IOEVENTFD_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (flags & HVX_IOEVENTFD_DATAMATCH ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (flags & HVX_IOEVENTFD_DEASSIGN ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0),
	};

	return kvm_call(hv->vm_fd, KVM_IOEVENTFD, &e);
}

static int kvm_get_clock(struct hv *hv, struct hvx_clock *c)
{
	struct kvm_clock_data d = { 0 };
	int ret = kvm_call(hv->vm_fd, KVM_GET_CLOCK, &d);
	struct timespec now;

	memset(c, 0, sizeof(*c));
	c->ns = d.clock;
	c->host_tsc = d.flags & KVM_CLOCK_HOST_TSC ? d.host_tsc : __rdtsc();
	c->realtime_ns = d.realtime;
	if (!(d.flags & KVM_CLOCK_REALTIME)) {
		clock_gettime(CLOCK_REALTIME, &now);
		c->realtime_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	}
	return ret;
}

/* KVM knows only now. */
static int kvm_set_clock(struct hv *hv, const struct hvx_clock *c)
{
	uint32_t khz = hv->info.tsc_khz;
	uint64_t ago = c->host_tsc && khz ? __rdtsc() - c->host_tsc : 0;
	struct kvm_clock_data d = {
		.clock = c->ns + (uint64_t)((unsigned __int128)ago * 1000000 / (khz ?: 1)),
	};

	return kvm_call(hv->vm_fd, KVM_SET_CLOCK, &d);
}

/* KVM counts in ways of its own, in debugfs. */
static int kvm_vm_stats(struct hv *hv, struct hvx_stats *s)
{
	(void)hv;
	memset(s, 0, sizeof(*s));
	return -EOPNOTSUPP;
}

static int kvm_vcpu_stats(struct hv_vcpu *v, struct hvx_stats *s)
{
	return kvm_vm_stats(v->hv, s);
}

/* ------------------------------------------------------------------ vCPUs */

static int kvm_vcpu_create(struct hv *hv, uint32_t id, struct hv_vcpu *v)
{
	int size = call_val(hv->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_vcpu *kv = calloc(1, sizeof(*kv));
	int fd = call_val(hv->vm_fd, KVM_CREATE_VCPU, id), ret = -ENOMEM;

	v->run = calloc(1, sizeof(*v->run));
	if (fd < 0 || size < 0)
		ret = fd < 0 ? fd : size;
	if (fd < 0 || size < 0 || !kv || !v->run)
		goto fail;
	kv->run_size = (size_t)size;
	kv->run = mmap(NULL, kv->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (kv->run == MAP_FAILED) {
		ret = -errno;
		goto fail;
	}
	v->fd = fd;
	v->hv = hv;
	v->priv = kv;
	return 0;

fail:
	if (fd >= 0)
		close(fd);
	free(v->run);
	free(kv);
	v->run = NULL;
	return ret;
}

static void kvm_vcpu_close(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;

	munmap(kv->run, kv->run_size);
	close(v->fd);
	free(v->run);
	free(kv);
}

/* Out of KVM_RUN, or not into it. */
static void leave(struct kvm_vcpu *kv)
{
	pid_t tid;

	atomic_store((_Atomic uint8_t *)&kv->run->immediate_exit, 1);
	tid = atomic_load(&kv->runner);
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
}

static int kvm_kick(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;

	atomic_store(&kv->kicked, true);
	leave(kv);
	return 0;
}

static int kvm_set_extint(struct hv_vcpu *v, bool level)
{
	struct kvm_vcpu *kv = v->priv;

	if (!atomic_exchange(&kv->extint, level) && level)
		leave(kv);
	return 0;
}

static int kvm_nmi(struct hv_vcpu *v)
{
	return call_val(v->fd, KVM_NMI, 0);
}

static int kvm_set_debug(struct hv_vcpu *v, const struct hvx_debug *d)
{
	struct kvm_guest_debug g = { 0 };

	return d->flags ? -EOPNOTSUPP : kvm_call(v->fd, KVM_SET_GUEST_DEBUG, &g);
}

/* -------------------------------------------------------------- the exits */

/*
 * An I/O exit of KVM's may be of many elements (string I/O), or of a size that is
 * no power of two (what is left of an access at a slot's end). Each becomes exits
 * of 1, 2, 4 or 8 bytes. False: all are done.
 */
static bool next_part(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;
	struct kvm_run *kr = kv->run;
	struct hvx_run *run = v->run;
	unsigned int left;
	uint8_t *data;

	if (kr->exit_reason == KVM_EXIT_IO) {
		data = (uint8_t *)kr + kr->io.data_offset + kv->done;
		left = kr->io.size * kr->io.count - kv->done;
		if (!left)
			return false;
		kv->part = kr->io.size;
		run->exit_reason = HVX_EXIT_PIO;
		run->pio = (struct hvx_exit_pio){
			.port = kr->io.port, .size = kr->io.size,
			.is_write = kr->io.direction == KVM_EXIT_IO_OUT,
		};
		if (run->pio.is_write)
			memcpy(&run->pio.data, data, kv->part);
		return true;
	}
	left = kr->mmio.len - kv->done;
	if (!left)
		return false;
	kv->part = left & (left - 1) || kv->done ? 1 : left;
	run->exit_reason = HVX_EXIT_MMIO;
	run->mmio = (struct hvx_exit_mmio){
		.gpa = kr->mmio.phys_addr + kv->done, .size = (uint8_t)kv->part,
		.is_write = kr->mmio.is_write,
	};
	if (kr->mmio.is_write)
		memcpy(&run->mmio.data, kr->mmio.data + kv->done, kv->part);
	return true;
}

/* What userspace answered to the exit before. True: the exit has another part. */
static bool complete(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;
	struct kvm_run *kr = kv->run;
	struct hvx_run *run = v->run;
	uint8_t *data;

	switch (run->exit_reason) {
	case HVX_EXIT_PIO:
		data = (uint8_t *)kr + kr->io.data_offset;
		if (!run->pio.is_write)
			memcpy(data + kv->done, &run->pio.data, kv->part);
		break;
	case HVX_EXIT_MMIO:
		if (!run->mmio.is_write)
			memcpy(kr->mmio.data + kv->done, &run->mmio.data, kv->part);
		break;
	case HVX_EXIT_MSR:
		kr->msr.data = run->msr.data;
		kr->msr.error = run->msr.error;
		return false;
	default:
		return false;
	}
	kv->done += kv->part;
	return next_part(v);
}

static void fail(struct hv_vcpu *v, uint32_t reason, uint64_t hw_reason, uint64_t info)
{
	v->run->exit_reason = reason;
	v->run->fail = (struct hvx_exit_fail){
		.hw_reason = hw_reason, .info = { info }, .suberror = HVX_INTERNAL_UNHANDLED,
	};
}

/* KVM's exit as one of hvx. False: nothing for userspace, enter again. */
static bool translate(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;
	struct kvm_run *kr = kv->run;
	struct hvx_run *run = v->run;

	switch (kr->exit_reason) {
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
		kv->done = 0;
		return next_part(v);
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		run->exit_reason = HVX_EXIT_MSR;
		run->msr = (struct hvx_exit_msr){
			.index = kr->msr.index, .data = kr->msr.data,
			.is_write = kr->exit_reason == KVM_EXIT_X86_WRMSR,
		};
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		run->exit_reason = HVX_EXIT_EOI;
		run->eoi = (struct hvx_exit_eoi){ .vector = kr->eoi.vector };
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		run->exit_reason = HVX_EXIT_INTR_WINDOW;
		return atomic_load(&kv->extint);
	case KVM_EXIT_SHUTDOWN:
		run->exit_reason = HVX_EXIT_SHUTDOWN;
		return true;
	case KVM_EXIT_FAIL_ENTRY:
		fail(v, HVX_EXIT_FAIL_ENTRY, kr->fail_entry.hardware_entry_failure_reason, 0);
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		fail(v, HVX_EXIT_INTERNAL, kr->internal.suberror, kr->internal.data[0]);
		return true;
	default:
		fail(v, HVX_EXIT_INTERNAL, kr->exit_reason, 0);
		return true;
	}
}

/* A signal, a kick, or the 8259. 0: enter again. */
static int interrupted(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;

	/* This first: a kick that comes now sets it again. */
	atomic_store((_Atomic uint8_t *)&kv->run->immediate_exit, 0);
	if (atomic_exchange(&kv->kicked, false) || v->run->immediate_exit) {
		v->run->exit_reason = HVX_EXIT_KICKED;
		return 1;
	}
	v->run->exit_reason = HVX_EXIT_INTERRUPTED;
	return atomic_load(&kv->extint) ? 0 : -EINTR;
}

static int kvm_run_vcpu(struct hv_vcpu *v)
{
	struct kvm_vcpu *kv = v->priv;
	struct hvx_run *run = v->run;
	struct kvm_interrupt irq = { .irq = run->extint_vector };
	int ret;

	if (complete(v))
		return 0;
	if (run->extint_valid) {
		run->extint_valid = 0;
		ret = kvm_call(v->fd, KVM_INTERRUPT, &irq);
		if (ret < 0)
			return ret;
	}
	run->exit_reason = HVX_EXIT_NONE;
	if (!kv->tid)
		kv->tid = gettid();
	atomic_store(&kv->runner, kv->tid);
	do {
		/* KVM finishes the instruction of the exit before even when it is to leave at once. */
		if (run->immediate_exit || atomic_load(&kv->kicked))
			atomic_store((_Atomic uint8_t *)&kv->run->immediate_exit, 1);
		kv->run->request_interrupt_window = atomic_load(&kv->extint);
		ret = call_val(v->fd, KVM_RUN, 0);
		if (ret == -EINTR) {
			ret = interrupted(v);
			if (!ret)
				continue;
			break;
		}
		if (ret == -EFAULT) {
			run->exit_reason = HVX_EXIT_MEMORY_FAULT;
			run->memory_fault = (struct hvx_exit_memory_fault){ .gpa = ~0ULL, .error = EFAULT };
			ret = 1;
		} else if (ret >= 0) {
			ret = translate(v);
		}
	} while (!ret);
	atomic_store(&kv->runner, 0);
	run->if_flag = kv->run->if_flag;
	return ret > 0 ? 0 : ret;
}

const struct hv_ops hv_kvm = {
	.name = "kvm",
	.dev = "/dev/kvm",
	.ioc = KVMIO,
	.open = kvm_open,
	.close = kvm_close,
	.set_slot = kvm_set_slot,
	.get_dirty = kvm_get_dirty,
	.signal_msi = kvm_signal_msi,
	.irqfd = kvm_irqfd,
	.ioeventfd = kvm_ioeventfd,
	.get_clock = kvm_get_clock,
	.set_clock = kvm_set_clock,
	.vm_stats = kvm_vm_stats,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_close = kvm_vcpu_close,
	.run = kvm_run_vcpu,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.get_msrs = kvm_get_msrs,
	.set_msrs = kvm_set_msrs,
	.set_cpuid = kvm_set_cpuid,
	.nmi = kvm_nmi,
	.kick = kvm_kick,
	.set_extint = kvm_set_extint,
	.set_debug = kvm_set_debug,
	.vcpu_stats = kvm_vcpu_stats,
};
