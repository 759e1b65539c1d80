// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Delivery of events: when they may come, in which order, and that none is lost or doubled on the way. */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/syscall.h>

#include "irq_guest.h"

/* What delivery touches lies in a slot of its own, so that it can be taken away. */
#define FAR		0x400000ULL
#define FAR_SIZE	0x10000
#define FAR_IDT		0x0000
#define FAR_GDT		0x1000
#define FAR_STACK	0x3000		/* top; one page */
#define FAR_CODE	0x4000		/* handlers */

static uint8_t *far;

static void new_events(struct tg *g, const uint8_t *code, size_t len)
{
	struct hvx_sregs s;
	unsigned int v;
	uint64_t *e;

	tg_new(g, 0, code, len);
	tg_set_cpuid_supported(g, 0);
	tg_long(g, 0);
	far = mmap(NULL, FAR_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(far != MAP_FAILED);
	CHECK(!tg_slot(g, 1, 0, FAR, FAR_SIZE, far));
	memcpy(far + FAR_CODE, handlers, handlers_end - handlers);
	memcpy(far + FAR_GDT, g->mem + TG_GDT, 0x18);
	for (v = 0; v < 256; v++) {
		uint64_t h = FAR + FAR_CODE + v * HANDLER_SIZE;

		e = (void *)(far + FAR_IDT + v * 16);
		e[0] = (h & 0xffff) | 8ULL << 16 | 0x8eULL << 40 | (h >> 16 & 0xffff) << 48;
		e[1] = h >> 32;
	}
	CHECK(!tg_get(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.idtr.base = FAR + FAR_IDT;
	s.gdtr.base = FAR + FAR_GDT;
	CHECK(!tg_set(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_set_reg(g, 0, 4, FAR + FAR_STACK);
}

#define NEW(g, name) new_events(g, name, GUEST_LEN(name))

static void free_events(struct tg *g)
{
	tg_free(g);
	munmap(far, FAR_SIZE);
}

static uint8_t *guest(struct tg *g, uint64_t gpa)
{
	return gpa >= FAR ? far + (gpa - FAR) : g->mem + gpa;
}

/* While a handler says its vector: the RIP that was pushed. */
static uint64_t *pushed_rip(struct tg *g, bool has_code)
{
	return (uint64_t *)guest(g, tg_reg(g, 0, 4) + 24 + (has_code ? 8 : 0));
}

/* Is the interrupted instruction "say val"? */
static bool before_say(struct tg *g, uint8_t val)
{
	const uint8_t *p = guest(g, *pushed_rip(g, false));

	return p[0] == 0xb0 && p[1] == val;
}

/* -------------------------------------------------------------------- shadows */

GUEST(g_shadow,
      "x2apic\nwr 0x83f 0x40\n"
      "sti\ncli\nnop\nsay 1\n"		/* never open for an interrupt */
      "sti\nnop\nsay 2\n"		/* behind the NOP */
      "cli\nwr 0x83f 0x41\nsti\ncpuid\nsay 3\n"
      "cli\nwr 0x83f 0x42\nsti\nin $0x20, %al\nsay 4\n"
      "cli\nwr 0x83f 0x43\nsti\nhlt\nsay 5\n"
      "cli\nwr 0x83f 0x44\npushf\norl $0x200, (%rsp)\npopf\nsay 6\n"	/* POPF has no shadow */
      "finish\n");

static void shadows(void)
{
	struct hvx_events e;
	struct tg g;
	int i;

	NEW(&g, g_shadow);
	CHECK_EQ(tg_said(&g, 0), 1);
	for (i = 2; i <= 6; i++) {
		if (i == 4) {
			tg_run_to(&g, 0, HVX_EXIT_PIO);
			CHECK_EQ(g.v[0].run->pio.port, 0x20);
			CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
			CHECK_EQ(e.injected, 0);
		}
		CHECK_EQ(tg_said(&g, 0), 0x3e + i);
		CHECK(before_say(&g, i));
		CHECK_EQ(tg_said(&g, 0), i);
	}
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	free_events(&g);
}

/* A shadow that userspace sets holds an interrupt for one instruction. */
GUEST(g_set_shadow, "x2apic\nwr 0x83f 0x40\nsay 1\nnop\nsay 2\nsay 3\nfinish\n");

static void shadow_by_state(void)
{
	struct hvx_events e;
	struct tg g;

	NEW(&g, g_set_shadow);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	e.interrupt_shadow = HVX_SHADOW_STI;
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	memset(&e, 0xff, sizeof(e));
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.interrupt_shadow, HVX_SHADOW_STI);
	tg_set_reg(&g, 0, 17, 0x202);
	CHECK_EQ(tg_said(&g, 0), 0x40);
	if (tg_host_is_tcg())
		tg_skipped = "QEMU's TCG begins without the interrupt shadow of the VMCB";
	else
		CHECK(before_say(&g, 2));
	CHECK_EQ(*guest(&g, *pushed_rip(&g, false)), tg_skipped ? 0x90 : 0xb0);
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK_EQ(tg_said(&g, 0), 3);
	free_events(&g);
}

/* ---------------------------------------------------------------- re-injection */

/* "in" is where the test takes memory away; then comes the event, 2 bytes of code at most 16 in all. */
#define EVENT(insn) "x2apic\n1: in $0x20, %al\n" insn "\nsay 1\njmp 1b\n"
GUEST(ev_ud, EVENT("ud2"));
GUEST(ev_int, EVENT("int $0x55"));
GUEST(ev_int3, EVENT("int3"));
GUEST(ev_gp, EVENT("mov (%rbx), %al"));
GUEST(ev_pf, EVENT("mov (%rdi), %al"));
GUEST(ev_msr, EVENT("mov $0x12345, %ecx\nwrmsr"));
GUEST(ev_ipi, EVENT("wr 0x83f 0x60\nsti\nnop\ncli"));
GUEST(ev_nop, EVENT("sti\nnop\ncli"));
GUEST(ev_hlt, EVENT("sti\nhlt\ncli"));

static const struct event {
	const char *name;
	const uint8_t *code, *end;
	int vector;
	bool has_code;
	int skip;		/* bytes to go on behind: a fault */
	int outside;		/* 1: an NMI of the test's, 2: a message of the test's */
} kinds[] = {
#define KIND(name, ...) { #name, name, name##_end, __VA_ARGS__ }
	KIND(ev_ud, 6, false, 2, 0), KIND(ev_int, 0x55, false, 0, 0), KIND(ev_int3, 3, false, 0, 0),
	KIND(ev_gp, 13, true, 2, 0), KIND(ev_pf, 14, true, 2, 0), KIND(ev_msr, 13, true, 2, 0),
	KIND(ev_ipi, 0x60, false, 0, 0), KIND(ev_nop, 2, false, 0, 1), KIND(ev_nop, 0x61, false, 0, 2),
	KIND(ev_hlt, 0x61, false, 0, 2),
};

/* Which pages are gone when the event comes. */
static const struct { const char *name; uint32_t at, size; } gone[] = {
	{ "nothing", 0, 0 }, { "IDT", FAR_IDT, 0x1000 }, { "GDT", FAR_GDT, 0x1000 },
	{ "stack", FAR_STACK - 0x1000, 0x1000 }, { "handlers", FAR_CODE, 0x4000 },
	{ "all", 0, FAR_SIZE },
};

static void take_away(int what)
{
	if (!gone[what].size)
		return;
	CHECK(!mprotect(far + gone[what].at, gone[what].size, PROT_NONE));
	CHECK(!mprotect(far + gone[what].at, gone[what].size, PROT_READ | PROT_WRITE));
}

static void one_event(struct tg *g, const struct event *k, int what)
{
	struct hvx_sregs s;
	uint64_t *rip;
	int r;

	tg_run_to(g, 0, HVX_EXIT_PIO);
	CHECK_EQ(g->v[0].run->pio.port, 0x20);
	CHECK_EQ(tg_reg(g, 0, 4), FAR + FAR_STACK);
	if (k->outside == 1)
		CHECK(!ioctl(g->v[0].fd, HVX_NMI, 0));
	else if (k->outside == 2)
		CHECK_EQ(msi(g, TO_CPU0, 0x61), 1);
	take_away(what);
	r = tg_said(g, 0);
	if (r != k->vector)
		printf("# %s, %s gone: %d\n", k->name, gone[what].name, r);
	CHECK_EQ(r, k->vector);
	rip = pushed_rip(g, k->has_code);
	if (!k->skip && k->code != ev_ipi && k->code != ev_nop && k->code != ev_hlt)
		CHECK(before_say(g, 1));
	if (k->has_code)
		CHECK_EQ(rip[-1], 0);
	if (k->vector == 14) {
		CHECK(!tg_get(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
		CHECK_EQ(s.cr2, 0x200000123);
	}
	*rip += k->skip;
	r = tg_said(g, 0);
	if (r != 1)
		printf("# %s, %s gone: then %d\n", k->name, gone[what].name, r);
	CHECK_EQ(r, 1);
}

static void reinjection(void)
{
	unsigned int i, w, round;
	struct tg g;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		new_events(&g, kinds[i].code, kinds[i].end - kinds[i].code);
		tg_set_reg(&g, 0, 3, 1ULL << 63);
		tg_set_reg(&g, 0, 7, 0x200000123);
		for (round = 0; round < 3; round++)
			for (w = 0; w < sizeof(gone) / sizeof(gone[0]); w++)
				one_event(&g, &kinds[i], w);
		free_events(&g);
	}
}

/* The page cannot be had at all for a while: MEMORY_FAULT, and then the event comes all the same. */
static void reinjection_after_fault(void)
{
	struct hvx_events e;
	unsigned int i;
	struct tg g;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		new_events(&g, kinds[i].code, kinds[i].end - kinds[i].code);
		tg_set_reg(&g, 0, 3, 1ULL << 63);
		tg_set_reg(&g, 0, 7, 0x200000123);
		tg_run_to(&g, 0, HVX_EXIT_PIO);
		if (kinds[i].outside == 1)
			CHECK(!ioctl(g.v[0].fd, HVX_NMI, 0));
		else if (kinds[i].outside == 2)
			CHECK_EQ(msi(&g, TO_CPU0, 0x61), 1);
		CHECK(!mprotect(far, 0x1000, PROT_NONE));
		tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
		CHECK_EQ(g.v[0].run->memory_fault.gpa & ~0xfffULL, FAR);
		/* The state shows it, and takes it back. */
		CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
		if (kinds[i].code != ev_int && kinds[i].code != ev_int3)
			CHECK_EQ(e.injected & (HVX_EVENT_VALID | HVX_EVENT_VECTOR),
				 HVX_EVENT_VALID | kinds[i].vector);
		if (kinds[i].has_code)
			CHECK(e.injected & HVX_EVENT_HAS_CODE);
		CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
		tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
		CHECK(!mprotect(far, 0x1000, PROT_READ | PROT_WRITE));
		CHECK_EQ(tg_said(&g, 0), kinds[i].vector);
		*pushed_rip(&g, kinds[i].has_code) += kinds[i].skip;
		CHECK_EQ(tg_said(&g, 0), 1);
		free_events(&g);
	}
}

/* -------------------------------------------------------------- events by state */

#define EXC(vector)	(HVX_EVENT_VALID | HVX_EVENT_EXC | (vector))

GUEST(g_say, "x2apic\n1: say 1\nnop\njmp 1b\n");

static void events_by_state(void)
{
	struct hvx_events e;
	struct hvx_sregs s;
	struct tg g;

	NEW(&g, g_say);
	CHECK_EQ(tg_said(&g, 0), 1);
	e = (struct hvx_events) { .exception = EXC(14) | HVX_EVENT_HAS_CODE,
				  .exception_code = 0x13, .exception_payload = 0xabcdef123 };
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 14);
	CHECK_EQ(pushed_rip(&g, true)[-1], 0x13);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	CHECK_EQ(s.cr2, 0xabcdef123);
	CHECK_EQ(tg_said(&g, 0), 1);

	e = (struct hvx_events) { .injected = EXC(0) };
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 0);
	CHECK_EQ(tg_said(&g, 0), 1);
	/* Its delivery was cut short. With IF clear meanwhile it waits, and is not lost. */
	e = (struct hvx_events) { .injected = HVX_EVENT_VALID | HVX_EVENT_IRQ | 0x99 };
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.extint, HVX_EVENT_VALID | HVX_EVENT_IRQ | 0x99);
	tg_set_reg(&g, 0, 17, 0x202);
	CHECK_EQ(tg_said(&g, 0), 0x99);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 0x99);
	CHECK_EQ(tg_said(&g, 0), 1);
	e = (struct hvx_events) { .injected = HVX_EVENT_VALID | HVX_EVENT_NMI, .nmi_masked = 1 };
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.nmi_masked, 0);
	free_events(&g);
}

/* -------------------------------------------------------------- events taken back */

#define PAE_DIR		0x20000
#define PAE_HANDLERS	0x3000

GUEST32(g_pae, "1: say 1\njmp 1b\n");

static int uffd;

/* 32-bit paging with PAE, whose root is a page that is not there: who looks at it waits for bring_root(). */
static bool new_pae(struct tg *g, uint8_t vector)
{
	const uint8_t handler[] = { 0xb0, vector, 0xe6, TG_SAY, 0xeb, 0xfe };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING, .range.len = TG_PAGE };
	struct hvx_sregs s;

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0) {
		tg_skipped = "no userfaultfd here";
		return false;
	}
	tg_new(g, 0, g_pae, GUEST_LEN(g_pae));
	tg_protected(g, 0);
	far = mmap(NULL, TG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(far != MAP_FAILED);
	CHECK(!tg_slot(g, 1, 0, FAR, TG_PAGE, far));
	reg.range.start = (uintptr_t)far;
	CHECK(!ioctl(uffd, UFFDIO_API, &api));
	CHECK(!ioctl(uffd, UFFDIO_REGISTER, &reg));
	memcpy(g->mem + PAE_HANDLERS, handler, sizeof(handler));
	memcpy(g->mem + TG_IDT + 8 * vector, (uint16_t []){ PAE_HANDLERS, 8, 0x8e00, 0 }, 8);
	memcpy(g->mem + TG_GDT, (uint64_t []){ 0, 0x00cf9b000000ffff, 0x00cf93000000ffff }, 24);
	memcpy(g->mem + PAE_DIR, (uint64_t []){ 0x83, 0x200083 }, 16);
	CHECK(!tg_get(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.gdtr = (struct hvx_dtable){ .base = TG_GDT, .limit = 0x17 };
	s.idtr = (struct hvx_dtable){ .base = TG_IDT, .limit = 0x7ff };
	s.cr0 = 0x80000031;
	s.cr3 = FAR;
	s.cr4 = 0x20;
	CHECK(!tg_set(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_set_reg(g, 0, 17, 0x202);
	return true;
}

/* A kick, and then the root for the one that waits. */
static void *bring_root(void *arg)
{
	static uint64_t root[TG_PAGE / 8] = { PAE_DIR | 1 };
	struct uffdio_copy copy = { .dst = (uintptr_t)far, .src = (uintptr_t)root, .len = TG_PAGE };
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct tg *g = arg;

	CHECK_EQ(poll(&p, 1, 300000), 1);	/* a guard against hangs */
	CHECK(!ioctl(g->v[0].fd, HVX_KICK, 0));
	CHECK(!ioctl(uffd, UFFDIO_COPY, &copy));
	return NULL;
}

/*
 * The entry that is to deliver an event finds the guest's root missing: on VT-x there is none, as
 * the module has to read the root first, on AMD-V it ends in a fault on it. Meanwhile comes a kick, and
 * userspace takes the event back, or does not.
 */
static void take_back(uint32_t event, bool back)
{
	struct hvx_events e = { .injected = event, .nmi_masked = event == (HVX_EVENT_VALID | HVX_EVENT_NMI) };
	uint8_t vector = event & HVX_EVENT_VECTOR;
	pthread_t t;
	struct tg g;

	if (!new_pae(&g, vector))
		return;
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK(!pthread_create(&t, NULL, bring_root, &g));
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	pthread_join(t, NULL);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.injected, event);
	if (back) {
		e.injected = e.nmi_masked = 0;
		CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	}
	CHECK_EQ(tg_said(&g, 0), back ? 1 : vector);
	tg_free(&g);
	munmap(far, TG_PAGE);
	close(uffd);
}

static void taken_back(void)
{
	static const uint32_t kinds[] = {
		EXC(6), HVX_EVENT_VALID | HVX_EVENT_IRQ | 0x40, HVX_EVENT_VALID | HVX_EVENT_NMI,
	};
	unsigned int i;

	for (i = 0; i < 3 && !tg_skipped; i++) {
		take_back(kinds[i], false);
		take_back(kinds[i], true);
	}
}

/* What no CPU delivers is refused, and changes nothing. */
static void events_refused(void)
{
	static const struct hvx_events bad[] = {
		{ .injected = 14 },
		{ .injected = HVX_EVENT_EXC | 14 },
		{ .injected = EXC(2) }, { .injected = EXC(32) },
		{ .injected = EXC(6) | HVX_EVENT_HAS_CODE },
		{ .injected = HVX_EVENT_VALID | HVX_EVENT_IRQ | HVX_EVENT_HAS_CODE | 32 },
		{ .injected = HVX_EVENT_VALID | (2 << 8) | 3 },
		{ .injected = HVX_EVENT_VALID | (4 << 8) | 0x80 },
		{ .injected = EXC(6) | 1 << 12 },
		{ .exception = HVX_EVENT_VALID | HVX_EVENT_NMI },
		{ .exception = HVX_EVENT_VALID | HVX_EVENT_IRQ | 14 },
		{ .extint = EXC(6) },
		{ .interrupt_shadow = 4 }, { .nmi_pending = 3 }, { .nmi_masked = 2 },
		{ .mp_state = HVX_MP_WAIT_SIPI + 1 }, { .reserved = { 0, 1 } },
	};
	struct hvx_events e, before;
	unsigned int i;
	struct tg g;

	NEW(&g, g_say);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &before, sizeof(before)));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_ERR(tg_set(&g, 0, HVX_STATE_EVENTS, &bad[i], sizeof(bad[i])), EINVAL);
		CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
		CHECK(!memcmp(&e, &before, sizeof(e)));
	}
	CHECK_EQ(tg_said(&g, 0), 1);
	free_events(&g);
}

/* All at once: the exception goes in first, so its handler is what the NMI interrupts; the interrupt is last. */
static void priority(void)
{
	struct hvx_events e = { .exception = EXC(6) };
	struct tg g;

	NEW(&g, g_say);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK(!ioctl(g.v[0].fd, HVX_NMI, 0));
	CHECK_EQ(msi(&g, TO_CPU0, 0x60), 1);
	CHECK_EQ(msi(&g, TO_CPU0, 0x70), 1);
	tg_set_reg(&g, 0, 17, 0x202);
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK_EQ(tg_said(&g, 0), 6);
	CHECK_EQ(tg_said(&g, 0), 0x70);
	CHECK_EQ(tg_said(&g, 0), 0x60);
	CHECK_EQ(tg_said(&g, 0), 1);
	free_events(&g);
}

/* ------------------------------------------------------------------------- NMI */

GUEST(g_nmi, "push %rax\nsay 2\nnop\nsay 0x99\npop %rax\niretq\n");

static bool nmi_masked(struct tg *g)
{
	struct hvx_events e;

	CHECK(!tg_get(g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	return e.nmi_masked;
}

/* Blocked until IRET; one in progress and one latched. */
static void nmis(void)
{
	struct tg g;
	int i;

	NEW(&g, g_say);
	memcpy(far + FAR_CODE + 2 * HANDLER_SIZE, g_nmi, GUEST_LEN(g_nmi));
	CHECK_EQ(tg_said(&g, 0), 1);
	for (i = 0; i < 4; i++)
		CHECK(!ioctl(g.v[0].fd, HVX_NMI, 0));
	CHECK(!nmi_masked(&g));
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK(nmi_masked(&g));
	CHECK_EQ(tg_said(&g, 0), 0x99);
	CHECK_EQ(tg_said(&g, 0), 2);
	/* In the second's handler: again only one is kept. */
	for (i = 0; i < 4; i++)
		CHECK(!ioctl(g.v[0].fd, HVX_NMI, 0));
	CHECK_EQ(tg_said(&g, 0), 0x99);
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK_EQ(tg_said(&g, 0), 0x99);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!nmi_masked(&g));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_NMI, 1), EINVAL);
	free_events(&g);
}

static void *nmi_when_halted(void *arg)
{
	struct hvx_stats st = {};
	struct tg *g = arg;

	while (!st.exit_hlt && !ioctl(g->v[0].fd, HVX_GET_STATS, &st))
		usleep(1000);
	usleep(10000);
	CHECK(!ioctl(g->v[0].fd, HVX_NMI, 0));
	return NULL;
}

/* Masked by state, as after a restore in a handler: the next IRET ends it, and HLT wakes. */
GUEST(g_masked, "x2apic\nsay 1\nint $0x55\nsay 7\nint $0x56\ncli\nhlt\nsay 8\n");

static void nmi_masked_by_state(void)
{
	struct hvx_events e = { .nmi_masked = 1, .nmi_pending = 1 };
	pthread_t t;
	struct tg g;

	NEW(&g, g_masked);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 0x55);
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK(before_say(&g, 7));
	CHECK_EQ(tg_said(&g, 0), 7);
	e.nmi_pending = 0;
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK(nmi_masked(&g));
	CHECK_EQ(tg_said(&g, 0), 0x56);
	CHECK(nmi_masked(&g));
	CHECK(!pthread_create(&t, NULL, nmi_when_halted, &g));
	CHECK_EQ(tg_said(&g, 0), 2);
	pthread_join(t, NULL);
	CHECK_EQ(tg_said(&g, 0), 8);
	free_events(&g);
}

/* An interrupt does come into an NMI handler that allows it. */
GUEST(g_nmi_sti, "push %rax\nsay 2\nsti\nnop\ncli\nsay 0x99\npop %rax\niretq\n");

static void interrupt_in_nmi(void)
{
	struct tg g;

	NEW(&g, g_say);
	memcpy(far + FAR_CODE + 2 * HANDLER_SIZE, g_nmi_sti, GUEST_LEN(g_nmi_sti));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!ioctl(g.v[0].fd, HVX_NMI, 0));
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK_EQ(msi(&g, TO_CPU0, 0x60), 1);
	CHECK_EQ(tg_said(&g, 0), 0x60);
	/* Its IRET ends NMI blocking, as on any CPU. */
	CHECK_EQ(tg_said(&g, 0), 0x99);
	CHECK_EQ(tg_said(&g, 0), 1);
	free_events(&g);
}

/* ---------------------------------------------------------------------- ExtINT */

GUEST(g_extint,
      "x2apic\nsay 1\nsti\nsay 2\ncli\nsay 3\n"
      "wr 0x835 0x10700\n"		/* LINT0 masked */
      "sti\nnop\nnop\nsay 4\ncli\n"
      "wr 0x835 0x700\nsay 5\nsti\nnop\ncli\n"
      "mov $0x1b, %ecx\nrdmsr\nand $~0xc00, %eax\nwrmsr\nsay 6\n"	/* no APIC: INTR is the pin */
      "sti\n1: hlt\njmp 1b\n");

static void acknowledge(struct tg *g, uint8_t vector, int level)
{
	tg_run_to(g, 0, HVX_EXIT_INTR_WINDOW);
	CHECK_EQ(g->v[0].run->if_flag, 1);
	CHECK(!ioctl(g->v[0].fd, HVX_SET_EXTINT, level));
	g->v[0].run->extint_vector = vector;
	g->v[0].run->extint_valid = 1;
	CHECK_EQ(tg_said(g, 0), vector);
	CHECK_EQ(g->v[0].run->extint_valid, 0);
}

static void *raise_later(void *arg)
{
	struct tg *g = arg;

	usleep(20000);
	CHECK(!ioctl(g->v[0].fd, HVX_SET_EXTINT, 1));
	return NULL;
}

static void extint(void)
{
	pthread_t t;
	struct tg g;

	NEW(&g, g_extint);
	CHECK(!ioctl(g.v[0].fd, HVX_SET_EXTINT, 1));
	CHECK_EQ(tg_said(&g, 0), 1);		/* IF is 0 */
	acknowledge(&g, 0x77, 1);		/* the line stays up: again when IF comes back */
	acknowledge(&g, 0x21, 0);
	CHECK_EQ(tg_said(&g, 0), 2);
	CHECK(!ioctl(g.v[0].fd, HVX_SET_EXTINT, 1));
	CHECK(!ioctl(g.v[0].fd, HVX_SET_EXTINT, 0));	/* gone before it was seen */
	CHECK_EQ(tg_said(&g, 0), 3);
	CHECK(!ioctl(g.v[0].fd, HVX_SET_EXTINT, 1));
	CHECK_EQ(tg_said(&g, 0), 4);		/* masked */
	CHECK_EQ(tg_said(&g, 0), 5);
	acknowledge(&g, 0x22, 0);
	CHECK_EQ(tg_said(&g, 0), 6);
	CHECK(!pthread_create(&t, NULL, raise_later, &g));	/* it wakes from HLT */
	acknowledge(&g, 0x23, 0);
	pthread_join(t, NULL);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_EXTINT, 2), EINVAL);
	free_events(&g);
}

/* Acknowledged but not delivered yet: the state has it. */
static void extint_in_state(void)
{
	struct hvx_events e;
	struct tg g;

	NEW(&g, g_extint);
	CHECK(!ioctl(g.v[0].fd, HVX_SET_EXTINT, 1));
	CHECK_EQ(tg_said(&g, 0), 1);
	tg_run_to(&g, 0, HVX_EXIT_INTR_WINDOW);
	CHECK(!ioctl(g.v[0].fd, HVX_SET_EXTINT, 0));
	g.v[0].run->extint_vector = 0x78;
	g.v[0].run->extint_valid = 1;
	g.v[0].run->immediate_exit = 1;
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	g.v[0].run->immediate_exit = 0;
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.extint, HVX_EVENT_VALID | HVX_EVENT_IRQ | 0x78);
	/* Beside it an NMI on its way in, as an exit in the middle of its delivery leaves it. */
	e.injected = HVX_EVENT_VALID | HVX_EVENT_NMI;
	e.nmi_masked = 1;
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	memset(&e, 0xff, sizeof(e));
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.injected, HVX_EVENT_VALID | HVX_EVENT_NMI);
	e.injected = e.nmi_masked = 0;
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 0x78);
	CHECK_EQ(tg_said(&g, 0), 2);
	free_events(&g);
}

/* --------------------------------------------------------------- faults in faults */

static void no_gate(int vector)
{
	far[FAR_IDT + vector * 16 + 5] &= 0x7f;
}

/* What comes of an event whose gate is not present, nor that of another: a vector, or minus the exit. */
static int second_fault(const struct event *k, int absent, uint64_t *ecode)
{
	struct tg g;
	int r;

	new_events(&g, k->code, k->end - k->code);
	tg_set_reg(&g, 0, 3, 1ULL << 63);
	tg_set_reg(&g, 0, 7, 0x200000123);
	/* Once without trouble, so that every page is there. */
	one_event(&g, k, 0);
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	no_gate(k->vector);
	no_gate(absent);
	r = tg_run_on(&g, 0);
	if (r == HVX_EXIT_PIO) {
		r = g.v[0].run->pio.data;
		*ecode = pushed_rip(&g, true)[-1];
	} else {
		r = -r;
	}
	free_events(&g);
	return r;
}

static void double_faults(void)
{
	const struct event *ud = &kinds[0], *gp = &kinds[3], *pf = &kinds[4], *msr = &kinds[5];
	uint64_t code = ~0ULL;

	/* Benign, then contributory: one after the other. */
	CHECK_EQ(second_fault(ud, 6, &code), 11);
	/* So says QEMU's TCG. Bit 0, EXT: Intel counts an exception that is being delivered as an external event. */
	CHECK_EQ(code & ~1ULL, tg_host_is_tcg() ? 6 * 16 + 2 : 6 * 8 + 2);
	CHECK_EQ(second_fault(gp, 13, &code), 8);
	CHECK_EQ(code, 0);
	CHECK_EQ(second_fault(pf, 14, &code), 8);
	CHECK_EQ(code, 0);
	CHECK_EQ(second_fault(gp, 8, &code), -HVX_EXIT_SHUTDOWN);
	/* The same where the module injects the first. */
	if (tg_host_is_tcg()) {
		tg_skipped = "QEMU's TCG does not know that an injected exception is being delivered";
		return;
	}
	CHECK_EQ(second_fault(msr, 13, &code), 8);
	CHECK_EQ(code, 0);
	CHECK_EQ(second_fault(msr, 8, &code), -HVX_EXIT_SHUTDOWN);
}

/* ------------------------------------------------------------------------- HLT */

static void *message_later(void *arg)
{
	usleep(20000);
	CHECK_EQ(msi(arg, TO_CPU0, 0x60), 1);
	return NULL;
}

static void *nmi_later(void *arg)
{
	struct tg *g = arg;

	usleep(20000);
	CHECK(!ioctl(g->v[0].fd, HVX_NMI, 0));
	return NULL;
}

static void *kick_later(void *arg)
{
	struct tg *g = arg;

	usleep(50000);
	CHECK(!ioctl(g->v[0].fd, HVX_KICK, 0));
	return NULL;
}

GUEST(g_hlt, "x2apic\nsay 1\nsti\nhlt\ncli\nsay 2\nhlt\nsay 3\n1: hlt\njmp 1b\n");

static void halts(void)
{
	struct hvx_events e;
	pthread_t t;
	struct tg g;

	NEW(&g, g_hlt);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!pthread_create(&t, NULL, message_later, &g));
	CHECK_EQ(tg_said(&g, 0), 0x60);
	pthread_join(t, NULL);
	CHECK_EQ(tg_said(&g, 0), 2);
	/* Interrupts off: a message does not end it, an NMI does, and then the message is still there. */
	CHECK_EQ(msi(&g, TO_CPU0, 0x61), 1);
	CHECK(!pthread_create(&t, NULL, kick_later, &g));
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	pthread_join(t, NULL);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.mp_state, HVX_MP_HALTED);
	CHECK(!pthread_create(&t, NULL, nmi_later, &g));
	CHECK_EQ(tg_said(&g, 0), 2);
	pthread_join(t, NULL);
	CHECK(before_say(&g, 3));
	CHECK_EQ(tg_said(&g, 0), 3);
	/* A second NMI wakes it as well: the first one's IRET has made room. */
	CHECK(!pthread_create(&t, NULL, nmi_later, &g));
	CHECK_EQ(tg_said(&g, 0), 2);
	pthread_join(t, NULL);
	CHECK(!pthread_create(&t, NULL, kick_later, &g));
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	pthread_join(t, NULL);
	tg_set_reg(&g, 0, 17, 0x202);
	CHECK_EQ(tg_said(&g, 0), 0x61);
	free_events(&g);
}

/* A kick that finds its vCPU awake ends the next HLT: also where the state has gone elsewhere meanwhile. */
GUEST(g_kick, "mov $5, %eax\nxor %ebx, %ebx\nxor %ecx, %ecx\nvmmcall\nsay 1\ncli\nhlt\nsay 2\n");

static void kick_in_state(void)
{
	struct hvx_events e, bad;
	struct hvx_sregs s;
	struct hvx_regs r;
	struct tg g;

	new_events(&g, g_kick, GUEST_LEN(g_kick));
	CHECK_EQ(tg_said(&g, 0), 1);
	g.v[0].run->immediate_exit = 1;
	CHECK_EQ(tg_run(&g, 0), HVX_EXIT_KICKED);
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	CHECK(!tg_get(&g, 0, HVX_STATE_REGS, &r, sizeof(r)));
	CHECK_EQ(e.pv_unhalted, 1);
	free_events(&g);

	new_events(&g, g_kick, GUEST_LEN(g_kick));
	bad = e;
	bad.pv_unhalted = 2;
	CHECK(tg_set(&g, 0, HVX_STATE_EVENTS, &bad, sizeof(bad)));
	bad = e;
	bad.pad[6] = 1;
	CHECK(tg_set(&g, 0, HVX_STATE_EVENTS, &bad, sizeof(bad)));
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	CHECK(!tg_set(&g, 0, HVX_STATE_REGS, &r, sizeof(r)));
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	/* A 0 that was read before a kick takes none back. */
	e.pv_unhalted = 0;
	CHECK(!tg_set(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(tg_said(&g, 0), 2);
	/* It was used up. */
	CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.pv_unhalted, 0);
	free_events(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(shadows), TG_TEST(shadow_by_state), TG_TEST(reinjection), TG_TEST(reinjection_after_fault),
	TG_TEST(events_by_state), TG_TEST(taken_back), TG_TEST(events_refused), TG_TEST(priority), TG_TEST(nmis),
	TG_TEST(nmi_masked_by_state), TG_TEST(interrupt_in_nmi),
	TG_TEST(extint), TG_TEST(extint_in_state), TG_TEST(double_faults), TG_TEST(halts), TG_TEST(kick_in_state),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
