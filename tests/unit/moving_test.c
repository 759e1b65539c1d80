// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/snapshot_qmp.c vmm/save_qmp.c vmm/control_dev.c devices/device.c */
/*
 * What the control socket is asked for while the guest is on its way to another host, which has its
 * disks open as they were: its disks do not become others, and it does not stand still for that.
 */
#include <check.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "devices/device.h"
#include "devices/storage/overlay.h"
#include "vmm/loop.h"
#include "vmm/qmp.h"
#include "vmm/runstate.h"
#include "vmm/save.h"

static struct machine m;
static enum run_state state;
static unsigned int stops, changes, replies;
static char failure[512];

/* --- what is around the commands --- */

int machine_call(struct machine *machine, void (*fn)(struct machine *m, void *opaque), void *opaque)
{
	fn(machine, opaque);
	return 0;
}

enum run_state run_state(struct machine *machine)
{
	return state;
}

const char *run_state_name(enum run_state s)
{
	return "running";
}

void machine_stop(struct machine *machine, enum run_state why)
{
	state = why;
	stops++;
}

void machine_cont(struct machine *machine)
{
	state = RS_RUNNING;
}

int machine_unshare(struct machine *machine, struct state_error *err)
{
	return 0;
}

int machine_save(struct machine *machine, const struct save_options *o)
{
	changes++;
	close(o->fd);
	o->done(machine, o->opaque, NULL);
	return 0;
}

const char *virtio_blk_layer(struct machine *machine, const char *target, struct overlay *o, char *file, bool check)
{
	changes += !check;
	free(file);
	return NULL;
}

int virtio_blk_merge(struct machine *machine, const char *target, int image, char *why, size_t len)
{
	changes++;
	return dup(image);
}

const char *virtio_blk_relink(struct machine *machine, const char *target, const uint8_t (*keep)[OVERLAY_ID],
			      unsigned int nr)
{
	changes++;
	return NULL;
}

int virtio_blk_resize(struct machine *machine, const char *target, uint64_t size, char *why, size_t len)
{
	changes++;
	return 0;
}

struct overlay *overlay_load(int fd, const char **why)
{
	static struct overlay o;

	close(fd);
	return &o;
}

void overlay_free(struct overlay *o) { }
int virtio_blk_share(struct machine *machine, bool share) { return 0; }
int virtio_blk_set_rates(struct machine *machine, const char *target, const struct dom_rate rate[RATE_NR]) { return 0; }
bool save_running(struct machine *machine, struct save_progress *p) { return false; }
bool guest_mem_shareable(const struct guest_mem *mem) { return true; }
uint64_t clock_now_ns(void) { return 0; }
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns) { }
void loop_del_timer(struct loop_timer *t) { }

struct loop_timer *loop_add_timer(struct loop *loop, void (*cb)(void *opaque), void *opaque)
{
	return (struct loop_timer *)&m;
}

int virtio_net_set_rates(struct machine *machine, const char *id, const struct dom_rate *in, const struct dom_rate *out)
{
	return 0;
}

/* --- the control socket: its arguments are the test's, all descriptors have been sent --- */

const char *qmp_str(struct json_object *args, const char *name)
{
	return json_object_get_string(json_object_object_get(args, name));
}

int64_t qmp_int(struct json_object *args, const char *name, int64_t otherwise)
{
	struct json_object *o = json_object_object_get(args, name);

	return o ? json_object_get_int64(o) : otherwise;
}

int qmp_take_fd(struct qmp_req *req, const char *name)
{
	int fd = memfd_create(name, 0);

	ck_assert_int_eq(write(fd, "<domain/>", 9), 9);
	return fd;
}

void qmp_reply(struct qmp_req *req, struct json_object *ret)
{
	json_object_put(ret);
	replies++;
}

void qmp_fail(struct qmp_req *req, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(failure, sizeof(failure), fmt, ap);
	va_end(ap);
}

void qmp_fail_class(struct qmp_req *req, const char *class, const char *fmt, ...)
{
	snprintf(failure, sizeof(failure), "%s", class);
}

void qmp_event(struct machine *machine, const char *name, struct json_object *data)
{
	json_object_put(data);
}

static void run(const char *name, const char *args)
{
	const struct qmp_command *const *c;
	struct json_object *o = json_tokener_parse(args);

	for (c = __start_hvx_qmp; strcmp((*c)->name, name); c++)
		ck_assert_ptr_ne(c + 1, __stop_hvx_qmp);
	stops = changes = replies = 0;
	failure[0] = '\0';
	(*c)->run(&m, NULL, o);
	json_object_put(o);
}

static const struct {
	const char *name, *args;
} command[] = {
	{ "x-hvx-snapshot-disks", "{\"disks\": [{\"device\": \"vda\", \"file\": \"/f\", \"fd\": \"a\"}], \"xml\": \"x\", \"live\": true}" },
	{ "x-hvx-snapshot-relink", "{\"device\": \"vda\", \"keep\": [], \"xml\": \"x\"}" },
	{ "x-hvx-save", "{\"fd\": \"f\", \"then\": \"cont\"}" },
	{ "block_resize", "{\"device\": \"vda\", \"size\": 512}" },
	/* The last: what it would send somewhere goes nowhere here. */
	{ "x-hvx-snapshot-serve", "{\"device\": \"vda\", \"image\": \"i\", \"socket\": \"s\"}" },
};

START_TEST(stays)
{
	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.lock, NULL);
	for (int paused = 0; paused < 2; paused++) {
		state = paused ? RS_PAUSED : RS_RUNNING;
		m.devices_held = true;
		run(command[_i].name, command[_i].args);
		ck_assert_msg(strstr(failure, "on its way to another host"), "%s", failure);
		ck_assert_uint_eq(replies, 0);
		ck_assert_uint_eq(changes, 0);
		ck_assert_uint_eq(stops, 0);
		m.devices_held = false;
		run(command[_i].name, command[_i].args);
		ck_assert_uint_eq(changes, 1);
		ck_assert_int_eq(state, paused ? RS_PAUSED : RS_RUNNING);
	}
	free(m.new_xml);
}
END_TEST

/* Without `live` the guest must have been stopped. */
START_TEST(not_live)
{
	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.lock, NULL);
	state = RS_RUNNING;
	run("x-hvx-snapshot-disks", "{\"disks\": [{\"device\": \"vda\", \"file\": \"/f\", \"fd\": \"a\"}], \"xml\": \"x\"}");
	ck_assert_msg(strstr(failure, "must stand still"), "%s", failure);
	ck_assert_uint_eq(changes + stops, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("moving");
	TCase *t = tcase_create("moving");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, stays, 0, sizeof(command) / sizeof(command[0]));
	tcase_add_test(t, not_live);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
