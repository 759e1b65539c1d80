// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/gdb*.c vmm/emul.c vmm/emul_*.c vmm/memory.c vmm/loop.c vmm/log.c */
/*
 * The debugger's server on a machine of two vCPUs that only remember what they
 * are told: each packet, hostile ones, and peers that come and go.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "vmm/cpu.h"
#include "vmm/gdb.h"
#include "vmm/gdb_packet.h"
#include "vmm/runstate.h"

#define XSAVE_SIZE 832
#define MUST(x) do { if (!(x)) abort(); } while (0)	/* also where no test runs */

/* ------------------------------------------------- the machine's stand-in */

static struct machine m;
static struct cpu_policy policy;
static enum run_state state;
static bool quit;
static struct fake_vcpu {
	struct hvx_regs regs;
	struct hvx_sregs sregs;
	struct hvx_events events;
	struct hvx_debug debug;
	uint8_t xsave[sizeof(struct hvx_xsave_hdr) + XSAVE_SIZE];
} cpu[2];
static struct { void (*fn)(struct machine *, void *); void *opaque; } calls[64];
static unsigned int nr_calls;

static void *group(struct hv_vcpu *v, uint32_t g, uint32_t *size)
{
	struct fake_vcpu *c = &cpu[v->fd];

	switch (g) {
	case HVX_STATE_REGS:
		*size = sizeof(c->regs);
		return &c->regs;
	case HVX_STATE_SREGS:
		*size = sizeof(c->sregs);
		return &c->sregs;
	case HVX_STATE_EVENTS:
		*size = sizeof(c->events);
		return &c->events;
	case HVX_STATE_XSAVE:
		*size = sizeof(c->xsave);
		return c->xsave;
	}
	return NULL;
}

int hv_get_state(struct hv_vcpu *v, uint32_t g, void *data, uint32_t size)
{
	uint32_t want = 0;
	void *p = group(v, g, &want);

	MUST(size == want);
	memcpy(data, p, size);
	return 0;
}

int hv_set_state(struct hv_vcpu *v, uint32_t g, const void *data, uint32_t size)
{
	uint32_t want = 0;
	void *p = group(v, g, &want);

	MUST(size == want);
	memcpy(p, data, size);
	return 0;
}

int hv_set_debug(struct hv_vcpu *v, const struct hvx_debug *d)
{
	cpu[v->fd].debug = *d;
	return 0;
}

int machine_call(struct machine *machine, void (*fn)(struct machine *, void *), void *opaque)
{
	(void)machine;
	MUST(nr_calls < 64);
	calls[nr_calls].fn = fn;
	calls[nr_calls++].opaque = opaque;
	loop_stop(m.loop);
	return 0;
}

void machine_event(struct machine *machine, enum machine_event ev, int status)
{
	(void)machine;
	(void)ev;
	(void)status;
	ck_abort_msg("machine_event");
}

enum run_state run_state(struct machine *machine)
{
	(void)machine;
	return state;
}

void machine_stop(struct machine *machine, enum run_state why)
{
	(void)machine;
	state = why;
}

void machine_cont(struct machine *machine)
{
	(void)machine;
	state = RS_RUNNING;
}

void machine_quit(struct machine *machine)
{
	(void)machine;
	quit = true;
}

/* One round of the main loop, and what it was asked for. */
static void turn(void)
{
	unsigned int n;

	loop_post(m.loop, (void (*)(void *))loop_stop, m.loop);
	loop_run(m.loop);
	n = nr_calls;
	for (unsigned int i = 0; i < n; i++)
		calls[i].fn(&m, calls[i].opaque);
	memmove(calls, calls + n, (nr_calls - n) * sizeof(calls[0]));
	nr_calls -= n;
}

/* -------------------------------------------------------------- the client */

static char dir[64], where[128];
static int fd = -1;

static void dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	strcpy(sun.sun_path, where + 5);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	turn();
	turn();
}

static void hang_up(void)
{
	close(fd);
	fd = -1;
	for (int i = 0; i < 4 || (i < 1000 && state != RS_RUNNING); i++)
		turn();
}

/* The payload of the next packet, acknowledgements dropped; NULL: none comes. */
static const char *answer(void)
{
	static struct gdb_framer f;
	uint8_t byte;

	memset(&f, 0, sizeof(f));
	for (int idle = 0; idle < 4;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 0) <= 0) {
			turn();
			idle++;
			continue;
		}
		if (read(fd, &byte, 1) != 1)
			return NULL;
		if (gdb_feed(&f, byte) == GDB_PACKET)
			return f.data;
	}
	return NULL;
}

static void say_bytes(const char *data, size_t len)
{
	static char frame[3 * GDB_MAX_PACKET];
	size_t n = gdb_frame(data, len, frame);

	ck_assert_int_eq(send(fd, frame, n, MSG_NOSIGNAL), (ssize_t)n);
}

static const char *ask(const char *text)
{
	say_bytes(text, strlen(text));
	return answer() ?: "(nothing)";
}
#define ASK(text, wanted) ck_assert_str_eq(ask(text), wanted)

static void setup(void)
{
	struct mem_backing backing = { 0 };

	memset(&m, 0, sizeof(m));
	memset(cpu, 0, sizeof(cpu));
	nr_calls = 0;
	quit = false;
	state = RS_RUNNING;
	pthread_mutex_init(&m.lock, NULL);
	m.loop = loop_new(&m.lock);
	policy.phys_bits = 40;
	m.cpu = &policy;
	m.hv.info.xsave_size = XSAVE_SIZE;
	m.hv.info.features = HVX_FEAT_SINGLE_STEP;
	m.nr_vcpus = 2;
	for (unsigned int i = 0; i < 2; i++) {
		m.vcpu[i].m = &m;
		m.vcpu[i].id = i;
		m.vcpu[i].hv.fd = (int)i;
	}
	MUST(!guest_mem_init(&m.mem, 4 << 20, &backing));
	strcpy(dir, "/tmp/hvx-gdb.XXXXXX");
	MUST(mkdtemp(dir));
	snprintf(where, sizeof(where), "unix:%s/gdb.sock", dir);
	MUST(!gdb_create(&m, where));
}

static void teardown(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
	gdb_free(&m);
	rmdir(dir);
	guest_mem_fini(&m.mem);
	loop_free(m.loop);
}

/* ------------------------------------------------------------------ tests */

START_TEST(attach)
{
	dial();
	ck_assert_int_eq(state, RS_DEBUG);
	ASK("?", "T05thread:1;");
	ASK("qC", "QC1");
	ASK("qfThreadInfo", "m1,2");
	ASK("qsThreadInfo", "l");
	ASK("T2", "OK");
	ASK("T3", "E16");
	ASK("Hg2", "OK");
	ASK("qC", "QC2");
	ASK("Hc-1", "OK");
	ASK("Hg0", "OK");
	ASK("qAttached", "1");
	ASK("vMustReplyEmpty", "");
	ASK("vCont?", "vCont;c;C;s;S");
	ASK("qFrob", "");
	ASK("!", "");
	ASK("QStartNoAckMode", "OK");
	ck_assert_ptr_nonnull(strstr(ask("qSupported:multiprocess+"), "PacketSize=1000;"));
	ASK("D", "OK");
	turn();
	ck_assert_int_eq(state, RS_RUNNING);
}
END_TEST

START_TEST(memory)
{
	dial();
	ASK("M1000,4:deadbeef", "OK");
	ASK("m1000,4", "deadbeef");
	ASK("m1001,1", "ad");
	say_bytes("X1002,2:}\x03", 10);	/* the frame escapes it */
	ck_assert_str_eq(answer(), "OK");
	ASK("m1000,4", "dead7d03");
	/* Up to the end of RAM; nothing of what is behind it. */
	ck_assert_uint_eq(strlen(ask("m3ffffe,10")), 4);
	ASK("m400000,1", "E0e");
	ASK("mffffffffffffffff,4", "E0e");
	ASK("m0,0", "E0e");
	ck_assert_uint_eq(strlen(ask("m0,ffffffffffffffff")), GDB_MAX_PACKET);
	ASK("m0", "E16");
	ASK("m,4", "E16");
	ASK("M0,ffffffff:00", "E16");
	ASK("M0,2:00", "E16");
	ASK("X0,3:ab", "E16");
	ASK("Mfffffffffffffffff,1:00", "E16");
}
END_TEST

/* Four levels of tables that map 0xffff800000000000 to 0x5000, nothing else. */
START_TEST(paging)
{
	uint64_t pte = 0x11000 | 7;

	guest_write(&m.mem, 0x10000 + 8 * 256, &pte, 8);
	pte = 0x12000 | 7;
	guest_write(&m.mem, 0x11000, &pte, 8);
	pte = 0x13000 | 7;
	guest_write(&m.mem, 0x12000, &pte, 8);
	pte = 0x5000 | 5;		/* a user's page, read-only: a debugger may all the same */
	guest_write(&m.mem, 0x13000, &pte, 8);
	guest_write(&m.mem, 0x5000, "\x90\x90", 2);
	cpu[0].sregs.cr0 = 0x80010001;
	cpu[0].sregs.cr4 = 0x200020;	/* PAE, SMAP */
	cpu[0].sregs.efer = 0x500;
	cpu[0].sregs.cr3 = 0x10000;
	dial();
	ASK("mffff800000000000,2", "9090");
	ASK("mffff800000000fff,2", "00");
	ASK("m0,1", "E0e");
	ASK("m0000800000000000,1", "E0e");
	ASK("Z0,ffff800000000001,1", "OK");
	ASK("mffff800000000000,2", "90cc");
	ASK("Z0,ffff800000000001,1", "OK");
	ASK("Z0,ffff900000000000,1", "E0e");
	ck_assert_uint_eq(cpu[0].debug.flags, 0);
	say_bytes("c", 1);
	ck_assert_ptr_null(answer());
	ck_assert_int_eq(state, RS_RUNNING);
	ck_assert_uint_eq(cpu[0].debug.flags, HVX_DEBUG_SW);
	ck_assert_uint_eq(cpu[1].debug.flags, HVX_DEBUG_SW);
	/* It is met. */
	gdb_exit(&m.vcpu[0], &(struct hvx_exit_debug){ .vector = 3, .rip = 0xffff800000000001 });
	turn();
	ck_assert_str_eq(answer(), "T05thread:1;swbreak:;");
	ck_assert_int_eq(state, RS_DEBUG);
	ASK("z0,ffff800000000001,1", "OK");
	ASK("mffff800000000000,2", "9090");
	/* An INT3 of the guest's own is the guest's. */
	cpu[0].regs.rip = 0xffff800000000000;
	say_bytes("c", 1);
	ck_assert_ptr_null(answer());
	gdb_exit(&m.vcpu[0], &(struct hvx_exit_debug){ .vector = 3, .rip = 0xffff800000000000 });
	ck_assert_ptr_null(answer());
	ck_assert_int_eq(state, RS_RUNNING);
	ck_assert_uint_eq(cpu[0].events.exception, (3 | HVX_EVENT_EXC | HVX_EVENT_VALID));
}
END_TEST

START_TEST(stepping)
{
	cpu[0].regs.rflags = 0x202;
	dial();
	say_bytes("vCont;s:1", 9);
	ck_assert_ptr_null(answer());
	ck_assert_int_eq(state, RS_RUNNING);
	ck_assert_uint_eq(cpu[0].debug.flags, HVX_DEBUG_STEP);
	ck_assert_uint_eq(cpu[0].events.interrupt_shadow, HVX_SHADOW_STI);
	ck_assert(!m.vcpu[0].held && m.vcpu[1].held);
	gdb_exit(&m.vcpu[0], &(struct hvx_exit_debug){ .vector = 1, .dr6 = 1 << 14 });
	turn();
	ck_assert_str_eq(answer(), "T05thread:1;");
	ck_assert(!m.vcpu[1].held && !cpu[0].debug.flags);
	say_bytes("vCont;s:2;c", 11);
	ck_assert_ptr_null(answer());
	ck_assert(!m.vcpu[0].held && !m.vcpu[1].held);
	ck_assert_uint_eq(cpu[0].debug.flags, 0);
	ck_assert_uint_eq(cpu[1].debug.flags, HVX_DEBUG_STEP);
	ck_assert_int_eq(send(fd, "\x03", 1, 0), 1);
	ck_assert_str_eq(answer(), "T02thread:1;");
	ASK("vCont;s:3", "E16");
	ASK("vCont", "E16");
	ASK("vCont;x", "E16");
	ASK("vCont;c:", "E16");
	ASK("vCont;Czz", "E16");
}
END_TEST

START_TEST(hardware)
{
	dial();
	ASK("Z1,401000,1", "OK");
	ASK("Z2,402000,8", "OK");
	ASK("Z3,403000,4", "OK");
	ASK("Z4,404000,2", "OK");
	ASK("Z1,405000,1", "E1c");
	ASK("Z2,402001,8", "E16");
	ASK("Z2,402000,3", "E16");
	ASK("Z2,0000800000000000,1", "E16");
	ASK("Z2,402000,100000001", "E16");
	ASK("Z5,402000,1", "");
	say_bytes("c", 1);
	ck_assert_ptr_null(answer());
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(cpu[i].debug.flags, HVX_DEBUG_HW);
		ck_assert_uint_eq(cpu[i].debug.db[1], 0x402000);
		ck_assert_uint_eq(cpu[i].debug.dr7, 0x7f9004aa);
	}
	gdb_exit(&m.vcpu[1], &(struct hvx_exit_debug){ .vector = 1, .dr6 = 2 });
	turn();
	ck_assert_str_eq(answer(), "T05thread:2;watch:402000;");
	ASK("z2,402000,8", "OK");
	ASK("z2,402000,8", "OK");
	hang_up();
	ck_assert_int_eq(state, RS_RUNNING);
	ck_assert_uint_eq(cpu[1].debug.flags, 0);
}
END_TEST

START_TEST(registers)
{
	char all[2 * 600 + 2];

	cpu[1].regs.rax = 0x1122334455667788;
	dial();
	ASK("Hg2", "OK");
	ASK("p0", "8877665544332211");
	ASK("P0=0100000000000000", "OK");
	ck_assert_uint_eq(cpu[1].regs.rax, 1);
	ck_assert_uint_eq(cpu[0].regs.rax, 0);
	ASK("P0=01", "E16");
	ASK("P12=01000000", "E16");	/* a selector */
	ASK("p41", "E16");
	ASK("pffffffffffffffff", "E16");
	ASK("P28=000102030405060708090a0b0c0d0e0f", "OK");
	ASK("p28", "000102030405060708090a0b0c0d0e0f");
	snprintf(all, sizeof(all), "G%s", ask("g"));
	ck_assert_uint_eq(strlen(all), 1201);
	all[1] = 'f';
	ASK(all, "OK");
	ck_assert_uint_eq(cpu[1].regs.rax, 0xf1);
	all[1199] = '\0';
	ASK(all, "E16");
	ck_assert_ptr_nonnull(strstr(ask("qXfer:features:read:target.xml:0,ffff"), "m<?xml"));
	ASK("qXfer:features:read:target.xml:ffff,1", "E16");
	ASK("qXfer:features:read:other.xml:0,1", "");
}
END_TEST

/* Whatever comes: an answer or none, and the next peer is served. */
START_TEST(hostile)
{
	static const char letters[] = "gpmMPXzZHTvqQs?0123456789abcdef,:;=-";
	static char junk[3 * GDB_MAX_PACKET];
	char text[64];

	srand(1);
	for (int round = 0; round < 300; round++) {
		dial();
		ck_assert_msg(state == RS_DEBUG, "round %d", round);
		for (int i = 0; i < 20; i++) {
			size_t n = (size_t)rand() % 40;

			for (size_t k = 0; k < n; k++)
				text[k] = letters[(size_t)rand() % (sizeof(letters) - 1)];
			say_bytes(text, n);
			turn();
		}
		hang_up();
		ck_assert_int_eq(state, RS_RUNNING);
		ck_assert(!cpu[0].debug.flags && !cpu[1].debug.flags && !m.vcpu[0].held && !m.vcpu[1].held);
	}
	memset(junk, 'a', sizeof(junk));
	junk[0] = '$';
	dial();
	for (int i = 0; i < 10; i++) {
		if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn();
	}
	hang_up();
	dial();
	ck_assert_int_eq(send(fd, "GET / HTTP/1.0\r\n", 16, MSG_NOSIGNAL), 16);
	ck_assert_ptr_null(answer());
	ck_assert_int_eq(state, RS_RUNNING);
	hang_up();
	/* A breakpoint everywhere, and gone with the peer. */
	dial();
	for (unsigned int i = 0; i < 1100; i++) {
		snprintf(text, sizeof(text), "Z0,%x,1", 0x2000 + i);
		ASK(text, i < 1024 ? "OK" : "E1c");
	}
	ASK("m2000,2", "cccc");
	hang_up();
	dial();
	ASK("m2000,2", "0000");
	/* One at a time. */
	hang_up();
	dial();
	say_bytes("k", 1);
	turn();
	turn();
	ck_assert(quit);
}
END_TEST

/* For a look with a real GDB: HVX_GDB_SERVE=1, then `target remote` what is printed. */
static int serve(void)
{
	setup();
	printf("%s\n", where + 5);
	fflush(stdout);
	while (!quit)
		turn();
	return 0;
}

int main(void)
{
	Suite *s = suite_create("gdbserver");
	TCase *tc = tcase_create("gdbserver");
	SRunner *sr;
	int failed;

	if (getenv("HVX_GDB_SERVE"))
		return serve();
	tcase_set_timeout(tc, 120);	/* against hangs only */
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, attach);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, paging);
	tcase_add_test(tc, stepping);
	tcase_add_test(tc, hardware);
	tcase_add_test(tc, registers);
	tcase_add_test(tc, hostile);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
