// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/runstate.c */
/*
 * What may let a guest run. One that stands still because its state is being written, or
 * because it is on its way to another host or there, is let run by nobody's key and by no
 * command: it would run twice.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "devices/storage/nbd_disk.h"
#include "vmm/migrate.h"
#include "vmm/qmp.h"
#include "vmm/runstate.h"
#include "vmm/sandbox.h"
#include "vmm/save.h"
#include "vmm/vcpu.h"

static struct machine m;
static struct domain dom;
static unsigned int resets, turns;
static bool cpus_run;
static enum run_state stop_as;		/* what the guest is stopped for in the first turn */
static enum machine_event event;	/* what comes in the second */
static enum run_state seen;		/* what it is in the third */

/* ------------------------------------------------- the machine's stand-in */

int vcpus_start(struct machine *mm)
{
	(void)mm;
	return 0;
}

void vcpus_pause(struct machine *mm)
{
	(void)mm;
	cpus_run = false;
}

void vcpus_resume(struct machine *mm)
{
	(void)mm;
	cpus_run = true;
}

void vcpu_dump(struct vcpu *v)
{
	(void)v;
}

int machine_reset(struct machine *mm)
{
	(void)mm;
	resets++;
	return 0;
}

int machine_load(struct machine *mm, uint64_t *clock_ns)
{
	(void)mm;
	(void)clock_ns;
	return -1;
}

void guest_time_stop(struct machine *mm)
{
	mm->time.stands = true;
}

void guest_time_go_on(struct machine *mm)
{
	mm->time.stands = false;
}

void guest_time_loaded(struct machine *mm, uint64_t clock_ns)
{
	(void)clock_ns;
	mm->time.stands = true;
}

int sandbox_enter_thread(enum sandbox_kind kind)
{
	(void)kind;
	return 0;
}

void qmp_event(struct machine *mm, const char *name, struct json_object *data)
{
	(void)mm;
	(void)name;
	json_object_put(data);
}

void nbd_disks_wake(void)
{
}

void log_warn(const char *fmt, ...)
{
	(void)fmt;
}

int incoming_begin(struct machine *mm)
{
	(void)mm;
	return 0;
}

bool incoming_failed(const struct machine *mm)
{
	(void)mm;
	return false;
}

bool incoming_partial(const struct machine *mm)
{
	(void)mm;
	return false;
}

bool migrate_owns(struct machine *mm)
{
	enum run_state s = run_state(mm);

	return s == RS_FINISH_MIGRATE || s == RS_POSTMIGRATE || s == RS_INMIGRATE;
}

void loop_stop(struct loop *loop)
{
	(void)loop;
}

static void stop_it(struct machine *mm, void *opaque)
{
	(void)opaque;
	machine_stop(mm, stop_as);
}

void loop_run(struct loop *loop)
{
	(void)loop;
	switch (turns++) {
	case 0:
		ck_assert_int_eq(machine_call(&m, stop_it, NULL), 0);
		break;
	case 1:
		ck_assert(!cpus_run);
		machine_event(&m, event, 0);
		break;
	default:
		seen = run_state(&m);
		machine_quit(&m);
	}
}

/* ------------------------------------------------------------------- tests */

static void run_machine(void)
{
	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.lock, NULL);
	m.dom = &dom;
	m.ready_fd = -1;
	m.event_status = -1;
	dom.on_reboot = dom.on_crash = dom.on_poweroff = LIFE_RESTART;
	resets = turns = 0;
	cpus_run = false;
	seen = RS_NR;
	ck_assert_int_eq(run_state_init(&m), 0);
	ck_assert_int_eq(machine_run(&m), VMM_KILLED);
	run_state_free(&m);
	pthread_mutex_destroy(&m.lock);
}

START_TEST(test_elsewhere)
{
	static const enum run_state state[] = { RS_FINISH_MIGRATE, RS_POSTMIGRATE };
	static const enum machine_event ev[] = { EV_RESET, EV_HOST_RESET, EV_POWEROFF, EV_PANIC, EV_CRASH };

	stop_as = state[_i / 5];
	event = ev[_i % 5];
	run_machine();
	ck_assert_int_eq(seen, stop_as);
	ck_assert(!cpus_run);
	ck_assert_uint_eq(resets, 1);	/* power-on's */
}
END_TEST

/* One that its user has stopped is reset, and stands still then. */
START_TEST(test_here)
{
	static const enum machine_event ev[] = { EV_RESET, EV_HOST_RESET };

	stop_as = RS_PAUSED;
	event = ev[_i];
	run_machine();
	ck_assert_int_eq(seen, RS_PAUSED);
	ck_assert(!cpus_run);
	ck_assert(m.time.stands);
	ck_assert_uint_eq(resets, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runstate");
	TCase *tc = tcase_create("life");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_elsewhere, 0, 10);
	tcase_add_loop_test(tc, test_here, 0, 2);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
