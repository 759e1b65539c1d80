// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/hotplug.c vmm/cpuplug.c devices/pci.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* A guest that lets go of devices: of its own accord, twice, and while they are being copied; and vCPUs that come then. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include <json-c/json.h>
#include "devices/net/backend.h"
#include "devices/pci.h"
#include "devices/storage/foreign.h"
#include "devices/storage/image.h"
#include "devices/virtio/mem.h"
#include "vmm/hotplug.h"
#include "vmm/livexml.h"
#include "vmm/memdev.h"
#include "vmm/qmp.h"
#include "vmm/runstate.h"

/* --- what hotplug.c has around it, of which these tests need little --- */

static struct { void (*fn)(struct machine *m, void *opaque); void *opaque; } called[4];
static unsigned int calls, deleted;

int machine_call(struct machine *m, void (*fn)(struct machine *m, void *opaque), void *opaque)
{
	ck_assert_uint_lt(calls, 4);
	called[calls].fn = fn;
	called[calls++].opaque = opaque;
	return 0;
}

void qmp_event(struct machine *m, const char *name, struct json_object *data)
{
	deleted += !strcmp(name, "DEVICE_DELETED");
	json_object_put(data);
}

const char *qmp_str(struct json_object *args, const char *name) { return NULL; }
static int64_t number = 1;
static unsigned int replies, refusals, came;
int64_t qmp_int(struct json_object *args, const char *name, int64_t otherwise) { return number; }
bool qmp_bool(struct json_object *args, const char *name, bool otherwise) { return otherwise; }
int qmp_take_fd(struct qmp_req *req, const char *name) { return -1; }
void qmp_reply(struct qmp_req *req, struct json_object *ret) { replies++; }
void qmp_fail(struct qmp_req *req, const char *fmt, ...) { refusals++; }
void acpi_hotplug_cpus(struct machine *m, uint64_t up, uint64_t down) { came += (unsigned int)__builtin_popcountll(up); }
void qmp_fail_class(struct qmp_req *req, const char *class, const char *fmt, ...) { }
enum run_state run_state(struct machine *m) { return RS_RUNNING; }
const char *run_state_name(enum run_state s) { return "running"; }
void acpi_hotplug_filled(struct machine *m, unsigned int slot) { }
void acpi_hotplug_ask(struct machine *m, unsigned int slot) { }
void memdev_pin(struct machine *m, const char *id) { }
const char *mem_device_busy(struct device *dev) { return NULL; }
bool device_id_ok(const char *id) { return true; }
bool foreign_format(const char *name, enum disk_format *format) { return true; }
void dom_disk_free(struct dom_disk *disk) { }
void dom_nic_free(struct dom_nic *nic) { }
void dom_memdev_free(struct dom_memdev *md) { }
struct net_backend *net_user_adopt(int fd) { return NULL; }
struct net_backend *net_tap_adopt(const int *fd, unsigned int n) { return NULL; }
int virtio_mem_create(struct machine *m, const struct dom_memdev *cfg) { return -1; }
int virtio_blk_create_on(struct machine *m, const struct dom_disk *cfg, struct image *img) { return -1; }
int image_adopt_served(struct image *img, const struct dom_disk *cfg, int control) { return -1; }

int virtio_net_create_on(struct machine *m, const struct dom_nic *cfg, struct net_backend *be, const int *vhost_fd)
{
	return -1;
}

int image_adopt(struct image *img, const struct dom_disk *cfg, int fd, int fd_buffered, unsigned int align)
{
	return -1;
}

char *livexml_add(const char *xml, size_t len, const char *snippet, const char *id, size_t *out_len,
		  const char **why)
{
	return NULL;
}

char *livexml_remove(const char *xml, size_t len, const struct xml_ref *ref, bool pin, size_t *out_len,
		     const char **why)
{
	return NULL;
}

char *livexml_vcpus(const char *xml, size_t len, unsigned int now, unsigned int max, size_t *out_len, const char **why)
{
	return NULL;
}

int vcpu_set_present(struct machine *m, unsigned int i, bool present)
{
	m->vcpu[i].absent = !present;
	return 0;
}

/* --- a device --- */

static struct thing {
	struct device dev;
	struct pci_func pci;
} thing;
static unsigned int destroyed;

static void thing_destroy(struct device *dev)
{
	struct device **at;

	for (at = &fm.devices; *at && *at != dev; at = &(*at)->next)
		;
	if (*at)
		*at = dev->next;
	pci_remove(&thing.pci);
	destroyed++;
}

static const struct device_ops plug_ops = { .name = "thing", .destroy = thing_destroy, .pluggable = true };
static const struct device_ops fixed_ops = { .name = "thing", .destroy = thing_destroy };
static unsigned int slot;

static void up(const struct device_ops *ops)
{
	static const struct pci_ids ids = { .vendor = 1, .device = 2 };

	fake_machine(0);
	calls = deleted = destroyed = 0;
	ck_assert_int_eq(pci_host_create(&fm), 0);
	memset(&thing, 0, sizeof(thing));
	ck_assert_int_eq(pci_add(&fm, &thing.pci, &ids, -1, NULL, NULL), 0);
	thing.pci.dev = &thing.dev;
	device_init(&thing.dev, &fm, ops, "disk vda");
	slot = thing.pci.devfn >> 3;
}

static void eject(void)
{
	pthread_mutex_lock(&fm.lock);
	hotplug_ejected(&fm, slot);
	pthread_mutex_unlock(&fm.lock);
}

static bool visible(void)
{
	return pci_of_device(&fm, &thing.dev);
}

/* Unasked, and more than once: it is hidden at once, and taken apart once, when no vCPU runs. */
START_TEST(goes)
{
	up(&plug_ops);
	eject();
	eject();
	ck_assert(!visible());
	ck_assert_uint_eq(calls, 1);
	ck_assert_uint_eq(destroyed, 0);
	ck_assert_uint_eq(fm.leaving, 1);	/* save_can() refuses */
	called[0].fn(&fm, called[0].opaque);
	ck_assert_uint_eq(destroyed, 1);
	ck_assert_uint_eq(deleted, 1);
	ck_assert_uint_eq(fm.leaving, 0);
	eject();
	ck_assert_uint_eq(calls, 1);
	hotplug_free(&fm);
	fake_free();
}
END_TEST

/* While threads read the disk, or the machine is written to a stream: it stays. */
START_TEST(held)
{
	up(&plug_ops);
	fm.devices_held = _i == 0;
	fm.template = _i == 1;
	fm.save = _i == 2 ? (struct save_job *)&fm : NULL;
	eject();
	ck_assert(visible());
	ck_assert_uint_eq(calls, 0);
	fm.devices_held = fm.template = false;
	fm.save = NULL;
	eject();
	ck_assert(!visible());
	ck_assert_uint_eq(calls, 1);
	called[0].fn(&fm, called[0].opaque);
	ck_assert_uint_eq(destroyed, 1);
	hotplug_free(&fm);
	fake_free();
}
END_TEST

START_TEST(fixed)
{
	up(&fixed_ops);
	eject();
	ck_assert(visible());
	slot = 31;	/* nothing is there */
	eject();
	ck_assert_uint_eq(calls, 0);
	fake_free();
}
END_TEST

static void set_vcpus(unsigned int n)
{
	const struct qmp_command *const *c = __start_hvx_qmp;

	while (!*c || strcmp((*c)->name, "x-hvx-set-vcpus"))
		c++;
	number = n;
	pthread_mutex_lock(&fm.lock);
	(*c)->run(&fm, NULL, NULL);
	pthread_mutex_unlock(&fm.lock);
}

/* Asked for while all was well; by the time that no vCPU runs a save or a move has begun, and has its list of vCPUs. */
START_TEST(vcpus)
{
	up(&plug_ops);
	fdom.features.acpi = true;
	fm.nr_vcpus = 4;
	fm.cpus_present = 1;
	for (unsigned int i = 0; i < 4; i++)
		fm.vcpu[i].absent = i > 0;
	set_vcpus(3);
	ck_assert_uint_eq(calls, 1);
	fm.devices_held = _i == 0;
	fm.template = _i == 1;
	fm.save = _i == 2 ? (struct save_job *)&fm : NULL;
	called[0].fn(&fm, called[0].opaque);
	ck_assert_uint_eq(came, _i == 3 ? 2 : 0);
	ck_assert_uint_eq(fm.cpus_present, _i == 3 ? 7 : 1);
	ck_assert_int_eq(fm.vcpu[1].absent, _i != 3);
	ck_assert_uint_eq(replies, _i == 3);
	ck_assert_uint_eq(refusals, _i != 3);
	fm.devices_held = fm.template = false;
	fm.save = NULL;
	hotplug_free(&fm);
	fake_free();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("eject");
	TCase *t = tcase_create("eject");

	tcase_add_test(t, goes);
	tcase_add_loop_test(t, held, 0, 3);
	tcase_add_test(t, fixed);
	tcase_add_loop_test(t, vcpus, 0, 4);
	suite_add_tcase(s, t);
	return fake_main(s);
}
