// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cost of exits, in executed instructions: the same guest code under /dev/hvx
 * and under /dev/kvm. Meant for a nested host under -icount, where the TSC
 * counts executed instructions; elsewhere the numbers are TSC ticks.
 *
 * Usage: exits hvx|kvm|beside [NAME...] ("beside": hvx while there is a VM of KVM's,
 * so that SVM is on, and KVM's); prints "NAME COST" lines, COST an operation
 * (of faults: a 4 KiB page). "native_fault" is what a process of the host
 * pays for touching such memory itself, clearing of the page included.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vmm/cpu.h"

#define MEM		(16UL << 20)
#define CODE		0x1000
#define RESULT		0x3000	/* TSC ticks of the loop */
#define READY		0x3010	/* a byte: the second vCPU takes interrupts */
#define IDT		0x7000
#define GDT		0x8000
#define STACK		0x9000
#define STACK2		0xa000
#define CODE2		0x6000	/* second vCPU */
#define PML4		0x10000
#define FAULT_GPA	0x40000000UL	/* region for the page-fault test */
#define FAULT_SIZE	(128UL << 20)
#define MMIO_GPA	0xd0000000UL
#define PORT		0x80
#define PORT_EVENT	0x82
#define PORT_DONE	0xf4

/* ---------------------------------------------------------- guest code */

#define CODE_BLOCK(name, text) \
	asm(".pushsection .rodata\n.globl " #name ", " #name "_end\n" #name ":\n" text \
	    "\n" #name "_end:\n.popsection"); \
	extern const uint8_t name[], name##_end[]

#define WRMSR(msr, lo) "mov $" #msr ", %ecx; mov $" #lo ", %eax; xor %edx, %edx; wrmsr\n"

CODE_BLOCK(op_cpuid, "xor %eax, %eax; cpuid");
CODE_BLOCK(op_hypercall, "mov $1, %eax; vmmcall");
CODE_BLOCK(op_rdmsr, "mov $0x3b, %ecx; rdmsr");
CODE_BLOCK(op_wrmsr, WRMSR(0x808, 0));
CODE_BLOCK(op_tsc_adjust, WRMSR(0x3b, 0));
CODE_BLOCK(op_xapic_w, "mov $0xfee00080, %ecx; xor %eax, %eax; mov %eax, (%rcx)");
CODE_BLOCK(op_xapic_r, "mov $0xfee00080, %ecx; mov (%rcx), %eax");
CODE_BLOCK(op_deadline, "mov $0x6e0, %ecx; mov $-1, %eax; mov $0xffff, %edx; wrmsr");
CODE_BLOCK(op_timer, WRMSR(0x6e0, 1));
CODE_BLOCK(op_selfipi, WRMSR(0x83f, 0x40));
CODE_BLOCK(op_out, "out %al, $0x80");
CODE_BLOCK(op_in, "in $0x80, %al");
CODE_BLOCK(op_out_event, "out %al, $0x82");
CODE_BLOCK(op_mmio_w, "mov %eax, (%rbx)");
CODE_BLOCK(op_mmio_r, "mov (%rbx), %eax");
CODE_BLOCK(op_mmio_event, "mov %eax, 0x800(%rbx)");
CODE_BLOCK(op_fault, "mov %eax, (%rbx); add $4096, %rbx");
/* Sleep until a deadline some ticks from now: shorter and longer than KVM polls for. */
#define SLEEP(ticks) "rdtsc; shl $32, %rdx; or %rdx, %rax; add $" #ticks ", %rax\n" \
	"mov %rax, %rdx; shr $32, %rdx; mov $0x6e0, %ecx; wrmsr; sti; hlt; cli"
CODE_BLOCK(op_sleep_20us, SLEEP(20000));
CODE_BLOCK(op_sleep_2ms, SLEEP(2000000));
/* An interrupt to a vCPU that is not running. */
CODE_BLOCK(op_ipi_send, "mov $0x830, %ecx; mov $0x40, %eax; mov $1, %edx; wrmsr");
CODE_BLOCK(idle, "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n" WRMSR(0x80f, 0x1ff)
	   "out %al, $0xf4");
/* Ping: wake the other vCPU, sleep until it answers. */
CODE_BLOCK(op_ping, "mov $0x830, %ecx; mov $0x40, %eax; mov $1, %edx; wrmsr; sti; hlt; cli");
CODE_BLOCK(pong, "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n" WRMSR(0x80f, 0x1ff)
	   "movb $1, 0x3010\n"
	   "1: sti; hlt; cli; mov $0x830, %ecx; mov $0x40, %eax; xor %edx, %edx; wrmsr; jmp 1b");
/* Switch to x2APIC, enable it, timer in TSC-deadline mode on vector 0x40. */
CODE_BLOCK(setup, "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n" WRMSR(0x80f, 0x1ff)
	   WRMSR(0x832, 0x40040));
CODE_BLOCK(setup_xapic, "mov $0xfee000f0, %ecx; movl $0x1ff, (%rcx)");
CODE_BLOCK(handler, "push %rax; push %rcx; push %rdx\n" WRMSR(0x80b, 0)
	   "pop %rdx; pop %rcx; pop %rax; iretq");
CODE_BLOCK(time_start, "mov $0xd0000000, %ebx\nrdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %r14");
CODE_BLOCK(fault_base, "mov $0x40000000, %ebx");
CODE_BLOCK(time_end, "rdtsc; shl $32, %rdx; or %rdx, %rax; sub %r14, %rax; mov %rax, 0x3000\n"
	   "out %al, $0xf4");

enum peer {
	PEER_NONE,
	PEER_IDLE,		/* the second vCPU is set up and stays outside */
	PEER_PONG,		/* it answers */
};

struct op {
	const char *name;
	const uint8_t *code, *end;
	unsigned int n;		/* iterations */
	unsigned int wait;	/* ticks of each that are waiting */
	enum peer peer;
	bool irqs;		/* with interrupts on */
	bool xapic;		/* APIC registers in memory */
	bool fault;		/* page faults */
	bool thp;
	bool populated;		/* the host has mapped the memory already */
};

#define OP(c, ...) { .name = #c, .code = op_##c, .end = op_##c##_end, __VA_ARGS__ }
#define FAULTS(label, ...) { .name = label, .code = op_fault, .end = op_fault_end, \
			     .n = FAULT_SIZE / 4096, .fault = true, __VA_ARGS__ }
static const struct op ops[] = {
	OP(cpuid, .n = 2000),
	OP(hypercall, .n = 2000),
	OP(rdmsr, .n = 2000),
	OP(wrmsr, .n = 2000),
	OP(tsc_adjust, .n = 2000),
	OP(deadline, .n = 2000),
	OP(xapic_w, .n = 2000, .xapic = true),
	OP(xapic_r, .n = 2000, .xapic = true),
	OP(timer, .n = 1000, .irqs = true),
	OP(sleep_20us, .n = 500, .wait = 20000),
	OP(sleep_2ms, .n = 50, .wait = 2000000),
	OP(selfipi, .n = 1000, .irqs = true),
	OP(ipi_send, .n = 1000, .peer = PEER_IDLE),
	OP(ping, .n = 500, .peer = PEER_PONG),
	OP(out_event, .n = 2000),
	OP(mmio_event, .n = 2000),
	OP(out, .n = 2000),
	OP(in, .n = 2000),
	OP(mmio_w, .n = 2000),
	OP(mmio_r, .n = 2000),
	FAULTS("fault"),
	FAULTS("fault_thp", .thp = true),
	FAULTS("map", .populated = true),
	FAULTS("map_thp", .thp = true, .populated = true),
};

static uint8_t *put(uint8_t *p, const uint8_t *code, const uint8_t *end)
{
	uint8_t *call;

	memcpy(p, code, end - code);
	/* VT-x has the instruction as VMCALL. KVM would put it there. */
	call = memmem(p, end - code, "\x0f\x01\xd9", 3);
	if (call && __builtin_cpu_is("intel"))
		call[2] = 0xc1;
	return p + (end - code);
}

static void make_code(uint8_t *mem, const struct op *op, bool empty)
{
	uint8_t *p = mem + CODE, *loop;
	int32_t rel;

	p = op->xapic ? put(p, setup_xapic, setup_xapic_end) : put(p, setup, setup_end);
	if (op->irqs)
		*p++ = 0xfb;	/* sti */
	*p++ = 0x41;		/* mov r15d, n */
	*p++ = 0xbf;
	memcpy(p, &op->n, 4);
	p += 4;
	p = put(p, time_start, time_start_end);
	if (op->fault)
		p = put(p, fault_base, fault_base_end);
	loop = p;
	if (!empty)
		p = put(p, op->code, op->end);
	*p++ = 0x41;		/* dec r15d; jnz loop */
	*p++ = 0xff;
	*p++ = 0xcf;
	*p++ = 0x0f;
	*p++ = 0x85;
	rel = loop - (p + 4);
	memcpy(p, &rel, 4);
	p = put(p + 4, time_end, time_end_end);
	if (op->peer == PEER_IDLE)
		put(mem + CODE2, idle, idle_end);
	else
		put(mem + CODE2, pong, pong_end);
	put(mem + CODE2 + 0x800, handler, handler_end);
}

static void make_tables(uint8_t *mem)
{
	uint64_t *pml4 = (void *)(mem + PML4), *gdt = (void *)(mem + GDT), *idt = (void *)(mem + IDT);
	uint64_t handler_at = CODE2 + 0x800;
	int i;

	pml4[0] = (PML4 + 0x1000) | 7;
	for (i = 0; i < 4; i++)
		pml4[512 + i] = (PML4 + 0x2000 + i * 0x1000) | 7;
	for (i = 0; i < 2048; i++)
		pml4[1024 + i] = ((uint64_t)i << 21) | 0x87;
	gdt[1] = 0x00af9b000000ffffULL;
	gdt[2] = 0x00cf93000000ffffULL;
	idt[0x40 * 2] = handler_at | 8ULL << 16 | 0x8eULL << 40;
}

/* -------------------------------------------------- the two hypervisors */

struct vm {
	int dev, fd, vcpu[2];
	void *run[2];
	uint8_t *mem, *fault;
	int event;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int check(int r, const char *what)
{
	if (r < 0)
		die(what);
	return r;
}

static void *map(size_t size, int fd)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

struct hypervisor {
	void (*create)(struct vm *vm);
	void (*vcpu)(struct vm *vm, int id, uint64_t rip, uint64_t rsp);
	/* Run until PORT_DONE; answers other exits. */
	void (*run)(struct vm *vm, int id);
};

static void hvx_slot(struct vm *vm, unsigned int n, uint64_t gpa, size_t size, void *hva)
{
	struct hvx_slot s = { .slot = n, .gpa = gpa, .size = size, .hva = (uintptr_t)hva };

	check(ioctl(vm->fd, HVX_SET_SLOT, &s), "HVX_SET_SLOT");
}

static void hvx_create(struct vm *vm)
{
	struct hvx_create_vm c = {};
	struct hvx_ioeventfd pio = { .addr = PORT_EVENT, .len = 1, .fd = vm->event,
				     .flags = HVX_IOEVENTFD_PIO };
	struct hvx_ioeventfd mmio = { .addr = MMIO_GPA + 0x800, .len = 4, .fd = vm->event };

	vm->dev = check(open("/dev/hvx", O_RDWR), "/dev/hvx");
	vm->fd = check(ioctl(vm->dev, HVX_CREATE_VM, &c), "HVX_CREATE_VM");
	hvx_slot(vm, 0, 0, MEM, vm->mem);
	hvx_slot(vm, 1, FAULT_GPA, FAULT_SIZE, vm->fault);
	check(ioctl(vm->fd, HVX_IOEVENTFD, &pio), "HVX_IOEVENTFD");
	check(ioctl(vm->fd, HVX_IOEVENTFD, &mmio), "HVX_IOEVENTFD");
}

static void hvx_vcpu(struct vm *vm, int id, uint64_t rip, uint64_t rsp)
{
	static struct hvx_cpuid_entry e[HVX_MAX_CPUID];
	struct hvx_cpuid c = { .entries = (uintptr_t)e };
	struct hvx_segment data = {
		.limit = ~0U, .selector = 16,
		.attr = 3 | HVX_SEG_S | HVX_SEG_P | HVX_SEG_G | HVX_SEG_DB,
	};
	struct hvx_regs r = { .rip = rip, .rsp = rsp, .rflags = 2 };
	struct hvx_events e_run = { .mp_state = HVX_MP_RUNNABLE };
	struct hvx_sregs s;
	struct hvx_state st = { .group = HVX_STATE_SREGS, .size = sizeof(s), .data = (uintptr_t)&s };
	struct hvx_info info;
	int fd = check(ioctl(vm->fd, HVX_CREATE_VCPU, id), "HVX_CREATE_VCPU");

	check(ioctl(vm->dev, HVX_GET_INFO, &info), "HVX_GET_INFO");
	vm->vcpu[id] = fd;
	vm->run[id] = map(info.run_size, fd);
	c.nent = cpu_host_table(&info, e);
	check(ioctl(fd, HVX_SET_CPUID, &c), "HVX_SET_CPUID");
	check(ioctl(fd, HVX_GET_STATE, &st), "HVX_GET_STATE");
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cs = data;
	s.cs.selector = 8;
	s.cs.attr = 0xb | HVX_SEG_S | HVX_SEG_P | HVX_SEG_G | HVX_SEG_L;
	s.gdtr.base = GDT;
	s.gdtr.limit = 0x17;
	s.idtr.base = IDT;
	s.idtr.limit = 0xfff;
	s.cr0 = 0x80010033;
	s.cr3 = PML4;
	s.cr4 = 0x620;
	s.efer = 0xd01;
	check(ioctl(fd, HVX_SET_STATE, &st), "set sregs");
	st = (struct hvx_state){ .group = HVX_STATE_REGS, .size = sizeof(r), .data = (uintptr_t)&r };
	check(ioctl(fd, HVX_SET_STATE, &st), "set regs");
	st = (struct hvx_state){ .group = HVX_STATE_EVENTS, .size = sizeof(e_run), .data = (uintptr_t)&e_run };
	check(ioctl(fd, HVX_SET_STATE, &st), "set events");
}

static void hvx_run(struct vm *vm, int id)
{
	struct hvx_run *run = vm->run[id];

	for (;;) {
		if (ioctl(vm->vcpu[id], HVX_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			die("HVX_RUN");
		}
		switch (run->exit_reason) {
		case HVX_EXIT_PIO:
			if (run->pio.port == PORT_DONE)
				return;
			if (!run->pio.is_write)
				run->pio.data = 0x55;
			break;
		case HVX_EXIT_MMIO:
			if (!run->mmio.is_write)
				run->mmio.data = 0x55;
			break;
		default:
			fprintf(stderr, "hvx: exit %u\n", run->exit_reason);
			exit(1);
		}
	}
}

static void kvm_slot(struct vm *vm, unsigned int n, uint64_t gpa, size_t size, void *hva)
{
	struct kvm_userspace_memory_region r = { .slot = n, .guest_phys_addr = gpa,
						 .memory_size = size,
						 .userspace_addr = (uintptr_t)hva };

	check(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
}

static void kvm_create(struct vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_ioeventfd pio = { .addr = PORT_EVENT, .len = 1, .fd = vm->event,
				     .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct kvm_ioeventfd mmio = { .addr = MMIO_GPA + 0x800, .len = 4, .fd = vm->event };

	vm->dev = check(open("/dev/kvm", O_RDWR), "/dev/kvm");
	vm->fd = check(ioctl(vm->dev, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), "KVM_CAP_SPLIT_IRQCHIP");
	kvm_slot(vm, 0, 0, MEM, vm->mem);
	kvm_slot(vm, 1, FAULT_GPA, FAULT_SIZE, vm->fault);
	check(ioctl(vm->fd, KVM_IOEVENTFD, &pio), "KVM_IOEVENTFD");
	check(ioctl(vm->fd, KVM_IOEVENTFD, &mmio), "KVM_IOEVENTFD");
}

static void kvm_vcpu(struct vm *vm, int id, uint64_t rip, uint64_t rsp)
{
	static struct { struct kvm_cpuid2 h; struct kvm_cpuid_entry2 e[256]; } c;
	struct kvm_segment data = { .limit = ~0U, .selector = 16, .type = 3, .present = 1, .s = 1,
				    .g = 1, .db = 1 };
	struct kvm_regs r = { .rip = rip, .rsp = rsp, .rflags = 2 };
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	int fd = check(ioctl(vm->fd, KVM_CREATE_VCPU, id), "KVM_CREATE_VCPU");
	struct kvm_sregs s;

	vm->vcpu[id] = fd;
	vm->run[id] = map(check(ioctl(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0), "mmap size"), fd);
	c.h.nent = 256;
	check(ioctl(vm->dev, KVM_GET_SUPPORTED_CPUID, &c), "KVM_GET_SUPPORTED_CPUID");
	for (unsigned int i = 0; i < c.h.nent; i++)
		if (c.e[i].function == 1)
			c.e[i].ecx |= 1 << 24 | 1 << 21;	/* TSC deadline, x2APIC */
	check(ioctl(fd, KVM_SET_CPUID2, &c), "KVM_SET_CPUID2");
	check(ioctl(fd, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 0xb;
	s.cs.db = 0;
	s.cs.l = 1;
	s.gdt.base = GDT;
	s.gdt.limit = 0x17;
	s.idt.base = IDT;
	s.idt.limit = 0xfff;
	s.cr0 = 0x80010033;
	s.cr3 = PML4;
	s.cr4 = 0x620;
	s.efer = 0xd01;
	check(ioctl(fd, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	check(ioctl(fd, KVM_SET_REGS, &r), "KVM_SET_REGS");
	check(ioctl(fd, KVM_SET_MP_STATE, &mp), "KVM_SET_MP_STATE");
}

static void kvm_run(struct vm *vm, int id)
{
	struct kvm_run *run = vm->run[id];

	for (;;) {
		if (ioctl(vm->vcpu[id], KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			die("KVM_RUN");
		}
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			if (run->io.port == PORT_DONE)
				return;
			if (run->io.direction == KVM_EXIT_IO_IN)
				*((uint8_t *)run + run->io.data_offset) = 0x55;
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0x55, 8);
			break;
		default:
			fprintf(stderr, "kvm: exit %u\n", run->exit_reason);
			exit(1);
		}
	}
}

static const struct hypervisor hvx = { hvx_create, hvx_vcpu, hvx_run };
static const struct hypervisor kvm = { kvm_create, kvm_vcpu, kvm_run };

/* --------------------------------------------------------------- measuring */

struct second {
	const struct hypervisor *h;
	struct vm *vm;
};

static void *run_second(void *arg)
{
	struct second *s = arg;

	s->h->run(s->vm, 1);
	return NULL;
}

static uint8_t *fault_memory(bool thp, bool populate)
{
	const size_t huge = 2UL << 20;
	uint8_t *p = map(FAULT_SIZE + huge, -1);

	p = (uint8_t *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
	check(madvise(p, FAULT_SIZE, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE), "madvise");
	if (populate)
		check(madvise(p, FAULT_SIZE, MADV_POPULATE_WRITE), "MADV_POPULATE_WRITE");
	return p;
}

static uint64_t run_guest(const struct hypervisor *h, const struct op *op, bool empty)
{
	struct vm vm = { .event = check(eventfd(0, 0), "eventfd") };
	struct second s = { h, &vm };
	pthread_t thread;
	uint64_t ticks;

	vm.mem = map(MEM, -1);
	vm.fault = fault_memory(op->thp, op->populated && !empty);
	make_tables(vm.mem);
	make_code(vm.mem, op, empty);
	h->create(&vm);
	h->vcpu(&vm, 0, CODE, STACK);
	if (op->peer != PEER_NONE) {
		h->vcpu(&vm, 1, CODE2, STACK2);
		errno = pthread_create(&thread, NULL, run_second, &s);
		if (errno)
			die("pthread_create");
		if (op->peer == PEER_IDLE)
			pthread_join(thread, NULL);
		else
			while (!((volatile uint8_t *)vm.mem)[READY])
				usleep(100);
	}
	h->run(&vm, 0);
	memcpy(&ticks, vm.mem + RESULT, 8);
	return ticks;
}

/* Ticks of the whole loop, in a process of its own: nothing is left over from the run before. */
static uint64_t measure(const struct hypervisor *h, const struct op *op, bool empty)
{
	uint64_t ticks;
	int out[2];

	check(pipe(out), "pipe");
	if (!check(fork(), "fork")) {
		ticks = run_guest(h, op, empty);
		check(write(out[1], &ticks, 8), "write");
		_exit(0);
	}
	close(out[1]);
	if (read(out[0], &ticks, 8) != 8) {
		fprintf(stderr, "%s: failed\n", op->name);
		exit(1);
	}
	close(out[0]);
	wait(NULL);
	return ticks;
}

/* The host's own ticks and other work fall into some runs: the best of three. */
static uint64_t best(const struct hypervisor *h, const struct op *op, bool empty)
{
	uint64_t ticks, min = UINT64_MAX;
	int i;

	for (i = 0; i < (op->fault && !empty ? 1 : 3); i++) {
		ticks = measure(h, op, empty);
		if (ticks < min)
			min = ticks;
	}
	return min;
}

/* What the host's own process pays for the same memory. */
static uint64_t touch(bool thp)
{
	volatile uint8_t *p = fault_memory(thp, false);
	uint64_t start = __builtin_ia32_rdtsc();
	size_t i;

	for (i = 0; i < FAULT_SIZE; i += 4096)
		p[i] = 1;
	return (__builtin_ia32_rdtsc() - start) / (FAULT_SIZE / 4096);
}

static bool wanted(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const struct hypervisor *h;
	uint64_t ticks;
	unsigned int i;

	if (argc < 2 || (strcmp(argv[1], "hvx") && strcmp(argv[1], "kvm") && strcmp(argv[1], "beside"))) {
		fprintf(stderr, "usage: exits hvx|kvm|beside [NAME...]\n");
		return 2;
	}
	if (!strcmp(argv[1], "beside"))
		check(ioctl(check(open("/dev/kvm", O_RDWR), "/dev/kvm"), KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	h = strcmp(argv[1], "kvm") ? &hvx : &kvm;
	if (wanted("native_fault", argv + 2)) {
		printf("native_fault %llu\n", (unsigned long long)touch(false));
		printf("native_fault_thp %llu\n", (unsigned long long)touch(true));
	}
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (!wanted(ops[i].name, argv + 2))
			continue;
		ticks = best(h, &ops[i], false) - best(h, &ops[i], true);
		printf("%s %lld\n", ops[i].name,
		       (long long)(ticks / ops[i].n) - ops[i].wait);
		fflush(stdout);
	}
	return 0;
}
