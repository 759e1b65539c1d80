// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/*
 * hvx beside KVM: guests of both in one process, on one CPU. Neither may see
 * the other's memory through translations left in the TLB, whatever
 * identifiers (ASID, VPID) the two happen to use; and each must find the CPU
 * as it left it. KVM is the reference for what a guest sees, too.
 *
 * HVX_SWITCHES=N: how often the CPU changes hands in a case (default 3000).
 */
#include <linux/kvm.h>
#include <sched.h>

#include "guest.h"

#define SHARED_GPA	0x200000	/* the same GPA, GVA: other host memory */
#define SHARED_GVA	0xc0000000	/* the same GVA: another GPA in each guest */
#define HVX_PAGE	0x210000	/* that one */
#define KVM_PAGE	0x220000
#define COUNT_GVA	0x201000	/* counts the guest's turns */
#define RESULT		0x2000		/* what it read */
#define HVX_MARK	0x6876782d67756573ULL
#define KVM_MARK	0x6b766d2d67756573ULL

/* ---------------------------------------------------------- KVM's side */

struct kg {
	int dev, vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_size;
};

/* Loaded here where it is not; then taken away again at the end, so that other tests have the CPU to themselves. */
static bool kvm_loaded;

static bool kvm_there(void)
{
	if (access("/dev/kvm", R_OK | W_OK) && !kvm_loaded)
		kvm_loaded = !system("modprobe -q kvm_amd || modprobe -q kvm_intel enable_apicv=0");
	if (access("/dev/kvm", R_OK | W_OK)) {
		tg_skipped = "no /dev/kvm";
		return false;
	}
	return true;
}

static void kg_segment(struct kvm_segment *out, const struct hvx_segment *s)
{
	*out = (struct kvm_segment) {
		.base = s->base, .limit = s->limit, .selector = s->selector,
		.type = HVX_SEG_TYPE(s->attr), .s = !!(s->attr & HVX_SEG_S),
		.dpl = HVX_SEG_DPL(s->attr), .present = !!(s->attr & HVX_SEG_P),
		.avl = !!(s->attr & HVX_SEG_AVL), .l = !!(s->attr & HVX_SEG_L),
		.db = !!(s->attr & HVX_SEG_DB), .g = !!(s->attr & HVX_SEG_G),
		.unusable = !!(s->attr & HVX_SEG_UNUSABLE),
	};
}

/* A KVM guest with the memory and the registers that vCPU 0 of the hvx guest has now. */
static bool kg_like(struct kg *k, struct tg *g)
{
	struct kvm_userspace_memory_region region = { .memory_size = g->mem_size };
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} cpuid;
	struct kvm_sregs ks;
	struct hvx_sregs s;
	struct hvx_regs r;

	memset(k, 0, sizeof(*k));
	k->dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	k->vm = ioctl(k->dev, KVM_CREATE_VM, 0);
	CHECK(k->vm >= 0);
	k->mem = mmap(NULL, g->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memcpy(k->mem, g->mem, g->mem_size);
	region.userspace_addr = (uintptr_t)k->mem;
	/* VT-x: KVM needs three pages for itself, above. */
	ioctl(k->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	CHECK(!ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &region));
	CHECK(!ioctl(k->vm, KVM_CREATE_IRQCHIP, 0));
	k->vcpu = ioctl(k->vm, KVM_CREATE_VCPU, 0);
	CHECK(k->vcpu >= 0);
	if (k->vm < 0 || k->vcpu < 0)
		return false;
	k->run_size = (size_t)ioctl(k->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	k->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->vcpu, 0);
	CHECK(k->run != MAP_FAILED);
	cpuid.head.nent = 256;
	CHECK(!ioctl(k->dev, KVM_GET_SUPPORTED_CPUID, &cpuid));
	CHECK(!ioctl(k->vcpu, KVM_SET_CPUID2, &cpuid));

	tg_get(g, 0, HVX_STATE_REGS, &r, sizeof(r));
	tg_get(g, 0, HVX_STATE_SREGS, &s, sizeof(s));
	CHECK(!ioctl(k->vcpu, KVM_GET_SREGS, &ks));
	kg_segment(&ks.cs, &s.cs);
	kg_segment(&ks.ds, &s.ds);
	kg_segment(&ks.es, &s.es);
	kg_segment(&ks.fs, &s.fs);
	kg_segment(&ks.gs, &s.gs);
	kg_segment(&ks.ss, &s.ss);
	ks.gdt.base = s.gdtr.base;
	ks.gdt.limit = s.gdtr.limit;
	ks.idt.base = s.idtr.base;
	ks.idt.limit = s.idtr.limit;
	ks.cr0 = s.cr0;
	ks.cr3 = s.cr3;
	ks.cr4 = s.cr4;
	ks.efer = s.efer;
	CHECK(!ioctl(k->vcpu, KVM_SET_SREGS, &ks));
	struct kvm_regs kr = {
		.rip = r.rip, .rsp = r.rsp, .rflags = r.rflags, .rax = r.rax, .rbx = r.rbx,
		.rcx = r.rcx, .rdx = r.rdx, .rsi = r.rsi, .rdi = r.rdi, .rbp = r.rbp,
	};
	CHECK(!ioctl(k->vcpu, KVM_SET_REGS, &kr));
	return !tg_failed;
}

static void kg_free(struct kg *k, size_t mem_size)
{
	if (k->run)
		munmap(k->run, k->run_size);
	close(k->vcpu);
	close(k->vm);
	close(k->dev);
	munmap(k->mem, mem_size);
}

/* What the guest says on TG_SAY, as tg_said(). */
static int kg_said(struct kg *k)
{
	while (ioctl(k->vcpu, KVM_RUN, 0))
		if (errno != EINTR)
			return -errno;
	if (k->run->exit_reason != KVM_EXIT_IO || k->run->io.direction != KVM_EXIT_IO_OUT ||
	    k->run->io.port != TG_SAY)
		return -1000 - (int)k->run->exit_reason;
	return *((uint8_t *)k->run + k->run->io.data_offset);
}

/* ------------------------------------------------------------- the leak */

/* Each turn: read both addresses, count, say so. */
GUEST(turn,
      "1: mov 0x200000, %rax\n"
      "mov %rax, 0x2000\n"
      "mov $0xc0000000, %ebx\n"
      "mov (%rbx), %rax\n"
      "mov %rax, 0x2008\n"
      "incq 0x201000\n"
      "say 1\n"
      "jmp 1b");

static uint64_t *at(uint8_t *mem, uint64_t gpa)
{
	return (uint64_t *)(mem + gpa);
}

/* The 2 MiB at SHARED_GVA by 4 KiB pages, the first of which is this one. */
static void map_page(uint8_t *mem, uint64_t gpa)
{
	*at(mem, TG_PML4 + 0x2000 + (SHARED_GVA >> 21) * 8) = 0x5000 | 7;
	*at(mem, 0x5000) = gpa | 7;
}

static unsigned int switches(void)
{
	const char *n = getenv("HVX_SWITCHES");

	return n ? (unsigned int)atoi(n) : 3000;
}

static bool pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void stay_on_this_cpu(void)
{
	CHECK(pin(sched_getcpu()));
}

static void check_turn(uint8_t *mem, uint64_t mark, unsigned int turns, int said)
{
	CHECK_EQ(said, 1);
	CHECK_EQ(*at(mem, RESULT), mark);
	CHECK_EQ(*at(mem, RESULT + 8), mark + 1);
	CHECK_EQ(*at(mem, COUNT_GVA), turns);
}

static void hvx_guest(struct tg *g)
{
	tg_new(g, 0, turn, GUEST_LEN(turn));
	tg_long(g, 0);
	map_page(g->mem, HVX_PAGE);
	*at(g->mem, SHARED_GPA) = HVX_MARK;
	*at(g->mem, HVX_PAGE) = HVX_MARK + 1;
}

static bool kvm_guest(struct kg *k, struct tg *g)
{
	if (!kg_like(k, g))
		return false;
	map_page(k->mem, KVM_PAGE);
	*at(k->mem, SHARED_GPA) = KVM_MARK;
	*at(k->mem, KVM_PAGE) = KVM_MARK + 1;
	*at(k->mem, COUNT_GVA) = 0;
	return true;
}

static void take_turns(struct tg *g, struct kg *k, unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from + 1; i <= to && !tg_failed; i++) {
		check_turn(g->mem, HVX_MARK, i, tg_said(g, 0));
		check_turn(k->mem, KVM_MARK, i, kg_said(k));
	}
}

static void turns_by_turns(void)
{
	struct tg g;
	struct kg k;

	if (!kvm_there())
		return;
	stay_on_this_cpu();
	hvx_guest(&g);
	if (kvm_guest(&k, &g))
		take_turns(&g, &k, 0, switches());
	kg_free(&k, g.mem_size);
	tg_free(&g);
}

/* Many vCPUs on each side, so that both run through their identifiers. */
static void many_guests(void)
{
	enum { N = 12 };
	static struct tg g[N];
	static struct kg k[N];
	unsigned int i, n, turns = switches() / N / 4 + 2;

	if (!kvm_there())
		return;
	stay_on_this_cpu();
	for (n = 0; n < N; n++) {
		hvx_guest(&g[n]);
		if (!kvm_guest(&k[n], &g[n]))
			return;
		*at(g[n].mem, SHARED_GPA) += n << 8;
		*at(g[n].mem, HVX_PAGE) += n << 8;
		*at(k[n].mem, SHARED_GPA) += n << 8;
		*at(k[n].mem, KVM_PAGE) += n << 8;
	}
	for (i = 1; i <= turns && !tg_failed; i++) {
		for (n = 0; n < N; n++)
			check_turn(g[n].mem, HVX_MARK + (n << 8), i, tg_said(&g[n], 0));
		for (n = 0; n < N; n++)
			check_turn(k[n].mem, KVM_MARK + (n << 8), i, kg_said(&k[n]));
	}
	for (n = 0; n < N; n++) {
		kg_free(&k[n], g[n].mem_size);
		tg_free(&g[n]);
	}
}

/* KVM turns the CPU's extension on with its first VM and off with its last: an hvx guest lives on through both. */
static void kvm_comes_and_goes(void)
{
	unsigned int i, turns = 0;
	struct tg g;
	struct kg k;

	if (!kvm_there())
		return;
	hvx_guest(&g);
	for (i = 0; i < 20 && !tg_failed; i++) {
		check_turn(g.mem, HVX_MARK, ++turns, tg_said(&g, 0));
		if (kvm_guest(&k, &g)) {
			check_turn(k.mem, KVM_MARK, 1, kg_said(&k));
			check_turn(g.mem, HVX_MARK, ++turns, tg_said(&g, 0));
			check_turn(k.mem, KVM_MARK, 2, kg_said(&k));
		}
		kg_free(&k, g.mem_size);
		check_turn(g.mem, HVX_MARK, ++turns, tg_said(&g, 0));
	}
	tg_free(&g);
}

/* The same the other way round. */
static void hvx_comes_and_goes(void)
{
	unsigned int i;
	struct tg g;
	struct kg k;

	if (!kvm_there())
		return;
	hvx_guest(&g);
	if (!kvm_guest(&k, &g))
		return;
	tg_free(&g);
	for (i = 0; i < 20 && !tg_failed; i++) {
		check_turn(k.mem, KVM_MARK, i + 1, kg_said(&k));
		hvx_guest(&g);
		check_turn(g.mem, HVX_MARK, 1, tg_said(&g, 0));
		tg_free(&g);
	}
	kg_free(&k, TG_MEM);
}

/*
 * As KVM turns the extension on it notes what each CPU has in MSRs, TSC_AUX here, for the
 * host's, in an interrupt that finds an hvx guest on the CPU; and puts that there when a
 * guest of its own has been on the CPU, and user mode comes.
 */
#define AUX	0x777
#define OWN_AUX(name, again)						\
	GUEST(name,							\
	      "mov $0xc0000103, %ecx\n"					\
	      "mov $0x777, %eax\n"					\
	      "xor %edx, %edx\n"					\
	      "wrmsr\n"							\
	      "movq $1, 0x3000\n"					\
	      "1: cli\n"		/* TG_SPIN says why */		\
	      again							\
	      "cmpq $0, 0x3008\n"					\
	      "je 1b\n"							\
	      "rdtscp\n"						\
	      "mov %ecx, %eax\n"					\
	      "out %eax, $0x10\n")
OWN_AUX(own_aux, "");
OWN_AUX(writes_aux, "wrmsr\n");		/* the interrupt finds hvx at work for it */

static uint32_t aux_of_this_cpu(void)
{
	uint32_t aux;

	asm volatile("rdtscp" : "=c" (aux) : : "eax", "edx");
	return aux;
}

static struct tg aux_guest;
static int aux_cpu;

static void *run_with_aux(void *unused)
{
	(void)unused;
	CHECK(pin(aux_cpu));
	CHECK_EQ(tg_run_on(&aux_guest, 0), HVX_EXIT_PIO);
	CHECK_EQ(aux_guest.v[0].run->pio.data, AUX);
	return NULL;
}

static void starts_beside(const void *code, size_t len)
{
	volatile uint64_t *there, *go;
	uint32_t aux, eax = 0x80000001, edx;
	struct tg like;
	pthread_t thread;
	struct kg k;
	bool made;
	int other;

	if (!kvm_there())
		return;
	asm volatile("cpuid" : "+a" (eax), "=d" (edx) : : "ebx", "ecx");
	aux_cpu = sched_getcpu();
	for (other = 0; other < 64 && (other == aux_cpu || !pin(other)); other++)
		;
	if (other == 64 || !(edx & 1U << 27)) {
		tg_skipped = other == 64 ? "one CPU only" : "the CPU has no RDTSCP";
		return;
	}
	CHECK(pin(aux_cpu));
	aux = aux_of_this_cpu();
	CHECK(pin(other));

	hvx_guest(&like);
	tg_new(&aux_guest, 0, code, len);
	tg_set_cpuid_supported(&aux_guest, 0);
	tg_long(&aux_guest, 0);
	there = at(aux_guest.mem, 0x3000);
	go = at(aux_guest.mem, 0x3008);
	CHECK(!pthread_create(&thread, NULL, run_with_aux, NULL));
	while (!*there && !tg_failed)
		usleep(1000);
	made = kvm_guest(&k, &like);
	*go = 1;
	pthread_join(thread, NULL);
	if (made) {
		CHECK(pin(aux_cpu));
		check_turn(k.mem, KVM_MARK, 1, kg_said(&k));
		CHECK_EQ(aux_of_this_cpu(), aux);
	}
	kg_free(&k, like.mem_size);
	CHECK_EQ(aux_of_this_cpu(), aux);
	tg_free(&aux_guest);
	tg_free(&like);
}

static void kvm_starts_meanwhile(void)
{
	starts_beside(own_aux, GUEST_LEN(own_aux));
}

static void kvm_starts_at_writes(void)
{
	starts_beside(writes_aux, GUEST_LEN(writes_aux));
}

/* ----------------------------------------------- a holder that nobody knows */

#define MSR_EFER	0xc0000080
#define MSR_HSAVE_PA	0xc0010117
#define EFER_SVME	(1ULL << 12)

static uint64_t msr_read(int fd, uint32_t msr)
{
	uint64_t val = ~0ULL;

	CHECK_EQ(pread(fd, &val, sizeof(val), msr), sizeof(val));
	return val;
}

static void msr_write(int fd, uint32_t msr, uint64_t val)
{
	CHECK_EQ(pwrite(fd, &val, sizeof(val), msr), sizeof(val));
}

/*
 * SVM is on, with a save area that is not ours: both are there after each turn. Where
 * it is off, turns leave it so; ours is not named any more when the last VM has gone.
 */
static void foreign_holder(void)
{
	const uint64_t area = 0x1000;	/* firmware's: Linux does not use it */
	char path[32];
	struct tg g;
	int fd, i;

	hvx_guest(&g);
	if (strcmp(g.info.backend, "svm")) {
		tg_skipped = "not AMD-V";
		tg_free(&g);
		return;
	}
	tg_free(&g);
	stay_on_this_cpu();
	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", sched_getcpu());
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && !system("modprobe -q msr"))
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || msr_read(fd, MSR_EFER) & EFER_SVME) {
		tg_skipped = fd < 0 ? "no /dev/cpu/N/msr: modprobe msr" : "another holds the CPU already";
		if (fd >= 0)
			close(fd);
		return;
	}
	msr_write(fd, MSR_EFER, msr_read(fd, MSR_EFER) | EFER_SVME);
	msr_write(fd, MSR_HSAVE_PA, area);
	hvx_guest(&g);
	for (i = 1; i <= 50 && !tg_failed; i++) {
		check_turn(g.mem, HVX_MARK, (unsigned int)i, tg_said(&g, 0));
		CHECK(msr_read(fd, MSR_EFER) & EFER_SVME);
		CHECK_EQ(msr_read(fd, MSR_HSAVE_PA), area);
		if (i != 25)
			continue;
		/* It goes, and the guest goes on. */
		msr_write(fd, MSR_HSAVE_PA, 0);
		msr_write(fd, MSR_EFER, msr_read(fd, MSR_EFER) & ~EFER_SVME);
		check_turn(g.mem, HVX_MARK, (unsigned int)++i, tg_said(&g, 0));
		CHECK(!(msr_read(fd, MSR_EFER) & EFER_SVME));
		CHECK(msr_read(fd, MSR_HSAVE_PA) != area);
		msr_write(fd, MSR_EFER, msr_read(fd, MSR_EFER) | EFER_SVME);
		msr_write(fd, MSR_HSAVE_PA, area);
	}
	msr_write(fd, MSR_HSAVE_PA, 0);
	msr_write(fd, MSR_EFER, msr_read(fd, MSR_EFER) & ~EFER_SVME);
	check_turn(g.mem, HVX_MARK, (unsigned int)i, tg_said(&g, 0));
	CHECK(!(msr_read(fd, MSR_EFER) & EFER_SVME));
	tg_free(&g);
	CHECK_EQ(msr_read(fd, MSR_HSAVE_PA), 0);
	close(fd);
}

/* -------------------------------------------------- the same for both */

/* Each program says what it sees, byte by byte, and ends with TG_DONE or in an exception. */
#define TELL "out %al, $0x10\nshr $8, %rax\nout %al, $0x10\n"

GUEST(p_flags, "mov $0x7fffffff, %eax\nadd $1, %eax\npushf\npop %rax\n" TELL
      "mov $0x80, %al\nneg %al\npushf\npop %rax\n" TELL
      "stc\nadc $0xff, %al\npushf\npop %rax\n" TELL "finish");
GUEST(p_strings, "mov $0x2000, %edi\nmov $0x5a, %al\nmov $300, %ecx\nrep stosb\n"
      "mov $0x2000, %esi\nmov $0x2201, %edi\nmov $299, %ecx\nrep movsb\n"
      "mov %edi, %eax\n" TELL "mov 0x2301, %al\nout %al, $0x10\nfinish");
GUEST(p_divide, "xor %edx, %edx\nmov $7, %eax\nxor %ecx, %ecx\ndiv %ecx\nfinish");
GUEST(p_undefined, "say 1\nud2\nfinish");

#define MAX_SAID 64

struct said {
	unsigned int n;
	struct {
		uint16_t port, size;
		uint32_t data;
	} what[MAX_SAID];
};

static bool note(struct said *s, uint16_t port, uint16_t size, uint32_t data)
{
	s->what[s->n].port = port;
	s->what[s->n].size = size;
	s->what[s->n].data = data;
	return ++s->n < MAX_SAID && port == TG_SAY && data != TG_DONE;
}

static void hvx_says(struct tg *g, struct said *s)
{
	struct hvx_exit_pio *pio = &g->v[0].run->pio;

	do {
		int r = tg_run_on(g, 0);

		if (r == HVX_EXIT_EMULATE) {	/* string output is userspace's */
			tg_skipped = "hvx leaves it to userspace";
			return;
		}
		CHECK_EQ(r, HVX_EXIT_PIO);
	} while (!tg_failed && note(s, pio->port, pio->size, pio->data));
}

static void kvm_says(struct kg *k, struct said *s)
{
	uint32_t i, data;
	bool more = true;

	while (more && !tg_failed) {
		while (ioctl(k->vcpu, KVM_RUN, 0) && errno == EINTR)
			;
		CHECK_EQ(k->run->exit_reason, KVM_EXIT_IO);
		for (i = 0; more && !tg_failed && i < k->run->io.count; i++) {
			data = 0;
			memcpy(&data, (uint8_t *)k->run + k->run->io.data_offset + i * k->run->io.size,
			       k->run->io.size);
			more = note(s, k->run->io.port, k->run->io.size, data);
		}
	}
}

static void agree(void)
{
#define P(name) { #name, name, GUEST_LEN(name) }
	const struct {
		const char *name;
		const uint8_t *code;
		size_t len;
	} programs[] = {
		P(p_flags), P(p_strings), P(p_divide), P(p_undefined),
	};
	unsigned int i;

	for (i = 0; i < sizeof(programs) / sizeof(programs[0]) && kvm_there(); i++) {
		struct said hvx = { 0 }, kvm = { 0 };
		struct hvx_sregs s = { 0 };
		struct kvm_sregs ks = { 0 };
		struct tg g;
		struct kg k;

		tg_new(&g, 0, programs[i].code, programs[i].len);
		tg_set_cpuid_supported(&g, 0);
		tg_long(&g, 0);
		tg_handlers(&g);
		if (kg_like(&k, &g)) {
			hvx_says(&g, &hvx);
			if (!tg_skipped) {
				kvm_says(&k, &kvm);
				tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s));
				ioctl(k.vcpu, KVM_GET_SREGS, &ks);
				CHECK_EQ(hvx.n, kvm.n);
				CHECK(!memcmp(&hvx, &kvm, sizeof(hvx)));
				/* Not the stack: KVM raises an intercepted exception anew, without RF. */
				CHECK(!memcmp(g.mem + RESULT, k.mem + RESULT, TG_PAGE));
				CHECK_EQ(s.cr0, ks.cr0);
				CHECK_EQ(s.cr2, ks.cr2);
				CHECK_EQ(s.efer, ks.efer);
			}
			tg_skipped = NULL;
		}
		if (tg_failed)
			printf("# in %s: hvx said %u, KVM %u\n", programs[i].name, hvx.n, kvm.n);
		kg_free(&k, g.mem_size);
		tg_free(&g);
		if (tg_failed)
			return;
	}
}

int main(int argc, char **argv)
{
	static const struct tg_test tests[] = {
		TG_TEST(foreign_holder), TG_TEST(kvm_comes_and_goes),
		TG_TEST(hvx_comes_and_goes), TG_TEST(kvm_starts_meanwhile),
		TG_TEST(kvm_starts_at_writes), TG_TEST(agree), TG_TEST(turns_by_turns), TG_TEST(many_guests),
	};

	int status = tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);

	if (kvm_loaded)
		status |= system("rmmod kvm_amd 2> /dev/null || rmmod kvm_intel") ? 1 : 0;
	return status;
}
