// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/migrate_out.c vmm/state.c devices/device.c */
/* What the migration's thread reads of a machine that goes on living beside it. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "devices/device.h"
#include "vmm/dirty.h"
#include "vmm/loop.h"
#include "vmm/migrate_out.h"
#include "vmm/qmp.h"
#include "vmm/sandbox.h"
#include "vmm/save.h"

static struct machine m;
static const struct mig_source_ops *ops;
static char sent[64];

void mig_source_init(struct mig_source *s, const struct mig_source_ops *o, void *opaque)
{
	ops = o;
}

/* While the network takes it, the main thread gives the guest another XML. */
int stream_put(struct stream_out *o, uint32_t type, const void *data, size_t len, struct state_error *err)
{
	ck_assert_int_eq(pthread_mutex_trylock(&m.lock), 0);
	free(m.new_xml);
	m.new_xml = m.xml = strdup("<other/>");
	m.xml_len = strlen(m.xml);
	pthread_mutex_unlock(&m.lock);
	ck_assert_uint_lt(len, sizeof(sent));
	memcpy(sent, data, len);
	sent[len] = '\0';
	return 0;
}

/* --- not reached --- */

uint64_t clock_now_ns(void) { return 0; }
int devices_own(struct machine *machine, bool own, struct state_error *err) { return 0; }
int dirty_start(struct machine *machine) { return 0; }
void dirty_stop(struct machine *machine) { }
int dirty_sync(struct machine *machine, uint64_t *map) { return 0; }
void log_error(const char *fmt, ...) { }
void log_warn(const char *fmt, ...) { }
struct loop_timer *loop_add_timer(struct loop *loop, void (*cb)(void *opaque), void *opaque) { return NULL; }
void loop_del_timer(struct loop_timer *t) { }
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns) { }
int machine_call(struct machine *machine, void (*fn)(struct machine *m, void *opaque), void *opaque) { return 0; }
void machine_cont(struct machine *machine) { }
void machine_stop(struct machine *machine, enum run_state why) { }
enum run_state run_state(struct machine *machine) { return RS_RUNNING; }
void mig_ram_free(struct mig_ram *r) { }
int mig_ram_init(struct mig_ram *r, uint8_t *base, uint64_t size, unsigned int nr_streams) { return 0; }
void mig_ram_pace(struct mig_ram *r, size_t bytes) { }
bool mig_source_cancel(struct mig_source *s, bool late) { return true; }
void mig_source_fini(struct mig_source *s) { }
void mig_source_over(struct mig_source *s) { }
bool mig_source_reclaim(struct mig_source *s) { return false; }
enum mig_phase mig_source_run(struct mig_source *s) { return MIG_FAILED; }
void mig_source_why(struct mig_source *s, struct state_error *err) { }
void migrate_call_abort(struct migrate_call *c) { }
void migrate_call_init(struct migrate_call *c) { }
int migrate_disks_copy(struct migrate_disks *d, struct state_error *err) { return 0; }
void migrate_disks_drop(struct machine *machine, struct migrate_disks *d) { }
void migrate_disks_end(struct machine *machine, struct migrate_disks *d) { }
int migrate_disks_finish(struct migrate_disks *d, struct state_error *err) { return 0; }
int migrate_disks_left(struct migrate_disks *d, uint64_t *ns, struct state_error *err) { return 0; }
void migrate_disks_reset(struct migrate_disks *d, void (*pace)(void *opaque, size_t bytes), void *opaque) { }
void migrate_disks_stop(struct migrate_disks *d) { }
void mirror_hurry(struct mirror *mirror) { }
void qmp_event(struct machine *machine, const char *name, struct json_object *data) { }
uint64_t ram_drop_untouched(const struct ram_job *j, uint64_t *map) { return 0; }
int sandbox_thread(pthread_t *thread, const struct sandbox_thread *what) { return -1; }
int save_can(struct machine *machine, struct state_error *err) { return 0; }
int save_machine(struct stream_out *out, struct machine *machine, struct state_error *err) { return 0; }
int save_state(struct stream_out *out, struct machine *machine, struct state_error *err) { return 0; }
int stream_append(struct stream_out *o, const struct stream_out *from, struct state_error *err) { return 0; }
void vcpus_nap(struct machine *machine, uint32_t us) { }
void vcpus_settle(struct machine *machine) { }

int migrate_call(struct machine *machine, struct migrate_call *c, int (*fn)(struct machine *m, void *opaque), void *opaque)
{
	return 0;
}

START_TEST(xml)
{
	struct state_error err = { .text = "" };
	struct migration *mg;

	pthread_mutex_init(&m.lock, NULL);
	m.new_xml = m.xml = strdup("<domain/>");
	m.xml_len = strlen(m.xml);
	mg = migrate_get(&m);
	ck_assert_ptr_nonnull(ops);
	ck_assert_int_eq(ops->xml(mg, NULL, &err), 0);
	ck_assert_str_eq(sent, "<domain/>");
	free(m.new_xml);
	free(mg);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("migrate_out");
	TCase *t = tcase_create("migrate_out");
	SRunner *sr;
	int failed;

	tcase_add_test(t, xml);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
