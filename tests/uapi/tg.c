// SPDX-License-Identifier: GPL-2.0-only
#include "tg.h"
#include "vmm/cpu.h"

int tg_failed;
const char *tg_skipped;
const char *tg_case = "setup";

static void die(const char *what)
{
	printf("# %s: %s\n", what, strerror(errno));
	exit(2);
}

int tg_main(const struct tg_test *tests, unsigned int n, int argc, char **argv)
{
	unsigned int i, failed = 0, run = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < n; i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name))
			continue;
		tg_case = tests[i].name;
		tg_failed = 0;
		tg_skipped = NULL;
		tests[i].fn();
		run++;
		printf("%s %u - %s%s%s\n", tg_failed ? "not ok" : "ok", run, tests[i].name,
		       tg_skipped ? " # SKIP " : "", tg_skipped ?: "");
		failed += !!tg_failed;
	}
	printf("%u passed, %u failed\n", run - failed, failed);
	return failed || !run;
}

int tg_slot(struct tg *g, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct hvx_slot s = { .slot = slot, .flags = flags, .gpa = gpa, .size = size,
			      .hva = (uintptr_t)hva };

	return ioctl(g->vm, HVX_SET_SLOT, &s);
}

void tg_add_vcpu(struct tg *g, unsigned int id)
{
	struct tg_vcpu *v = &g->v[id];

	v->fd = ioctl(g->vm, HVX_CREATE_VCPU, id);
	if (v->fd < 0)
		die("HVX_CREATE_VCPU");
	v->run = mmap(NULL, g->info.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		die("mmap of the run page");
}

int tg_get(struct tg *g, unsigned int id, uint32_t group, void *data, uint32_t size)
{
	struct hvx_state s = { .group = group, .size = size, .data = (uintptr_t)data };

	return ioctl(g->v[id].fd, HVX_GET_STATE, &s);
}

int tg_set(struct tg *g, unsigned int id, uint32_t group, const void *data, uint32_t size)
{
	struct hvx_state s = { .group = group, .size = size, .data = (uintptr_t)data };

	return ioctl(g->v[id].fd, HVX_SET_STATE, &s);
}

void tg_set_reg(struct tg *g, unsigned int id, int n, uint64_t val)
{
	struct hvx_regs r;

	if (tg_get(g, id, HVX_STATE_REGS, &r, sizeof(r)))
		die("get regs");
	(&r.rax)[n] = val;
	if (tg_set(g, id, HVX_STATE_REGS, &r, sizeof(r)))
		die("set regs");
}

uint64_t tg_reg(struct tg *g, unsigned int id, int n)
{
	struct hvx_regs r;

	if (tg_get(g, id, HVX_STATE_REGS, &r, sizeof(r)))
		die("get regs");
	return (&r.rax)[n];
}

static void start_at(struct tg *g, unsigned int id)
{
	struct hvx_regs r = { .rip = TG_CODE, .rsp = TG_STACK, .rflags = 2 };
	struct hvx_events e = { .mp_state = HVX_MP_RUNNABLE };

	if (tg_set(g, id, HVX_STATE_REGS, &r, sizeof(r)) ||
	    tg_set(g, id, HVX_STATE_EVENTS, &e, sizeof(e)))
		die("set regs");
}

static void real_mode(struct tg *g, unsigned int id)
{
	struct hvx_sregs s;

	if (tg_get(g, id, HVX_STATE_SREGS, &s, sizeof(s)))
		die("get sregs");
	s.cs.base = 0;
	s.cs.selector = 0;
	if (tg_set(g, id, HVX_STATE_SREGS, &s, sizeof(s)))
		die("set sregs");
	start_at(g, id);
}

void tg_code(struct tg *g, const void *code, size_t len)
{
	static const uint8_t vmmcall[] = { 0x0f, 0x01, 0xd9 };
	uint8_t *to = g->mem + TG_CODE, *p;

	memcpy(to, code, len);
	/* VT-x has the instruction as VMCALL. */
	if (strcmp(g->info.backend, "svm"))
		while ((p = memmem(to, len, vmmcall, sizeof(vmmcall))))
			p[2] = 0xc1;
}

void tg_new(struct tg *g, uint32_t vm_flags, const void *code, size_t len)
{
	struct hvx_create_vm c = { .flags = vm_flags };

	memset(g, 0, sizeof(*g));
	g->dev = open("/dev/hvx", O_RDWR | O_CLOEXEC);
	if (g->dev < 0)
		die("/dev/hvx");
	if (ioctl(g->dev, HVX_GET_INFO, &g->info))
		die("HVX_GET_INFO");
	g->vm = ioctl(g->dev, HVX_CREATE_VM, &c);
	if (g->vm < 0)
		die("HVX_CREATE_VM");
	g->mem_size = TG_MEM;
	g->mem = mmap(NULL, TG_MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->mem == MAP_FAILED)
		die("mmap");
	if (tg_slot(g, 0, 0, 0, TG_MEM, g->mem))
		die("HVX_SET_SLOT");
	tg_code(g, code, len);
	tg_add_vcpu(g, 0);
	real_mode(g, 0);
}

void tg_free(struct tg *g)
{
	unsigned int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++) {
		if (!g->v[i].run)
			continue;
		munmap(g->v[i].run, g->info.run_size);
		close(g->v[i].fd);
	}
	close(g->vm);
	munmap(g->mem, g->mem_size);
	close(g->dev);
}

static void flat_segments(struct hvx_sregs *s, bool lm)
{
	struct hvx_segment data = { .limit = 0xffffffff, .selector = 0x10,
				    .attr = 0x3 | HVX_SEG_S | HVX_SEG_P | HVX_SEG_G | HVX_SEG_DB };
	struct hvx_segment code = { .limit = 0xffffffff, .selector = 8,
				    .attr = 0xb | HVX_SEG_S | HVX_SEG_P | HVX_SEG_G };

	code.attr |= lm ? HVX_SEG_L : HVX_SEG_DB;
	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
}

void tg_protected(struct tg *g, unsigned int id)
{
	struct hvx_sregs s;

	if (tg_get(g, id, HVX_STATE_SREGS, &s, sizeof(s)))
		die("get sregs");
	flat_segments(&s, false);
	s.cr0 |= 1;
	if (tg_set(g, id, HVX_STATE_SREGS, &s, sizeof(s)))
		die("set protected mode");
	start_at(g, id);
}

void tg_long(struct tg *g, unsigned int id)
{
	uint64_t *pml4 = (void *)(g->mem + TG_PML4), *pdpt = pml4 + 512, *pd = pdpt + 512;
	uint64_t *gdt = (void *)(g->mem + TG_GDT);
	struct hvx_sregs s;
	int i;

	pml4[0] = (TG_PML4 + 0x1000) | 7;
	for (i = 0; i < 4; i++)
		pdpt[i] = (TG_PML4 + 0x2000 + i * 0x1000) | 7;
	for (i = 0; i < 2048; i++)
		pd[i] = ((uint64_t)i << 21) | 0x87;
	gdt[1] = 0x00af9b000000ffffULL;
	gdt[2] = 0x00cf93000000ffffULL;

	if (tg_get(g, id, HVX_STATE_SREGS, &s, sizeof(s)))
		die("get sregs");
	flat_segments(&s, true);
	s.gdtr.base = TG_GDT;
	s.gdtr.limit = 0x17;
	s.idtr.base = TG_IDT;
	s.idtr.limit = 0xfff;
	s.cr0 = 0x80010033;
	s.cr3 = TG_PML4;
	s.cr4 = 0x620;		/* PAE, OSFXSR, OSXMMEXCPT */
	s.efer = 0xd01;		/* SCE, LME, LMA, NXE */
	if (tg_set(g, id, HVX_STATE_SREGS, &s, sizeof(s)))
		die("set long mode");
	start_at(g, id);
}

void tg_gate(struct tg *g, unsigned int vector, uint64_t handler)
{
	uint64_t *e = (void *)(g->mem + TG_IDT + vector * 16);

	e[0] = (handler & 0xffff) | 8ULL << 16 | 0x8eULL << 40 | (handler >> 16 & 0xffff) << 48;
	e[1] = handler >> 32;
}

void tg_set_cpuid_supported(struct tg *g, unsigned int id)
{
	static struct hvx_cpuid_entry e[HVX_MAX_CPUID];
	struct hvx_cpuid c = { .entries = (uintptr_t)e };

	c.nent = cpu_host_table(&g->info, e);
	if (ioctl(g->v[id].fd, HVX_SET_CPUID, &c))
		die("CPUID");
}

int tg_run(struct tg *g, unsigned int id)
{
	return ioctl(g->v[id].fd, HVX_RUN, 0) ? -errno : (int)g->v[id].run->exit_reason;
}

int tg_run_on(struct tg *g, unsigned int id)
{
	int r;

	do {
		r = tg_run(g, id);
	} while (r == -EINTR);
	return r;
}

int tg_run_to(struct tg *g, unsigned int id, int reason)
{
	int r;

	do {
		r = tg_run(g, id);
	} while (r == -EINTR || r == HVX_EXIT_KICKED);
	CHECK_EQ(r, reason);
	return r;
}
