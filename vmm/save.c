// SPDX-License-Identifier: GPL-2.0-only
/* A whole machine to and from a stream: which sections there are, and in which order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "cpu.h"
#include "devices/device.h"
#include "migrate.h"
#include "runstate.h"
#include "save.h"
#include "vcpu.h"

struct save_job {
	struct machine *m;
	struct save_options o;
	struct stream_out out;
	struct ram_job ram;
	uint64_t started_ns;
	_Atomic unsigned int working;	/* threads that have not returned */
};

/* What a reader wants to know before it makes a machine, and to compare. */
struct machine_state {
	uint32_t nr_vcpus, tsc_khz, xsave_size, phys_bits;
	uint64_t ram_size;
	uint8_t backend[12];
};

static const struct state_field machine_fields[] = {
	STATE_NUM(struct machine_state, nr_vcpus, 1, .max = HVX_MAX_VCPUS),
	STATE_NUM(struct machine_state, tsc_khz, 1),
	STATE_NUM(struct machine_state, xsave_size, 1),
	STATE_NUM(struct machine_state, phys_bits, 1, .max = 64),
	STATE_NUM(struct machine_state, ram_size, 1),
	STATE_ARRAY(struct machine_state, backend, 1),
	STATE_END
};
#define MACHINE_VERSION	1

static struct machine_state describe(const struct machine *m)
{
	struct machine_state s = {
		.nr_vcpus = m->nr_vcpus, .tsc_khz = m->hv.info.tsc_khz,
		.xsave_size = m->hv.info.xsave_size, .phys_bits = m->cpu->phys_bits,
		.ram_size = m->mem.ram_size,
	};

	memcpy(s.backend, m->hv.info.backend, sizeof(s.backend));
	return s;
}

/* ------------------------------------------------------------------- saving */

static int put(struct stream_out *out, uint32_t type, struct sbuf *b, int ret, struct state_error *err)
{
	if (!ret && b->failed)
		ret = -ENOMEM;
	if (!ret)
		ret = stream_put(out, type, b->data, b->len, err);
	if (ret)
		state_error(err, "cannot write the state: %s", strerror(-ret));
	b->len = 0;
	return ret;
}

static uint64_t wall_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int save_machine(struct stream_out *out, struct machine *m, struct state_error *err)
{
	struct machine_state s = describe(m);
	struct sbuf b = { 0 };
	int ret;

	sbuf_put_num(&b, MACHINE_VERSION, 4);
	state_encode(&b, machine_fields, &s);
	ret = put(out, SEC_MACHINE, &b, 0, err) ?: put(out, SEC_CPUID, &b, cpuid_save(&b, m), err);
	sbuf_free(&b);
	return ret;
}

static int save_head(struct save_job *j, struct state_error *err)
{
	return stream_begin(&j->out, j->o.fd, wall_clock_ns(), err) ?:
	       stream_put(&j->out, SEC_XML, j->m->xml, j->m->xml_len, err) ?:
	       save_machine(&j->out, j->m, err);
}

int save_state(struct stream_out *out, struct machine *m, struct state_error *err)
{
	struct sbuf b = { 0 };
	struct device *dev;
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	for (dev = m->devices; dev && !ret; dev = dev->next)
		ret = put(out, SEC_DEVICE, &b, state_save_device(&b, dev, err), err);
	/* Last, so that what devices sent is in the local APICs. */
	for (i = 0; i < m->nr_vcpus && !ret; i++)
		ret = put(out, SEC_VCPU, &b, vcpu_save(&b, &m->vcpu[i], err), err);
	pthread_mutex_unlock(&m->lock);
	sbuf_put_num(&b, m->time.clock_ns, 8);
	ret = ret ?: put(out, SEC_CLOCK, &b, 0, err);
	sbuf_free(&b);
	return ret;
}

/* On the main thread, all workers have returned. */
static void finish(struct machine *m, void *opaque)
{
	struct save_job *j = opaque;
	struct state_error err = { .text = "" };
	struct save_options o = j->o;
	int ret;

	vcpus_work_wait(m);
	ret = ram_save_end(&j->ram, &err) ?: save_state(&j->out, m, &err) ?:
	      stream_end(&j->out, &err);
	/* A disk that fills up late, or breaks, shows here. */
	if (!ret && fsync(o.fd) < 0 && errno != EINVAL && errno != EROFS)
		state_error(&err, "cannot write the state: %s", strerror(errno));
	else if (ret)
		state_error(&err, "cannot write the state: %s", strerror(-ret));
	m->save = NULL;
	close(o.fd);
	ram_job_free(&j->ram);
	free(j);
	o.done(m, o.opaque, err.text[0] ? &err : NULL);
}

static void work(void *opaque)
{
	struct save_job *j = opaque;
	struct machine *m = j->m;

	ram_save_work(&j->ram);
	/* Without memory for the call nothing can be told; there is always a moment with some. */
	if (atomic_fetch_sub(&j->working, 1) == 1)
		while (machine_call(m, finish, j))
			usleep(1000);
}

/* All that can be refused before a byte is written. */
int save_can(struct machine *m, struct state_error *err)
{
	struct device *dev;

	for (dev = m->devices; dev; dev = dev->next)
		if (!dev->ops->state)
			return state_error(err, "%s (%s) cannot be saved; take it out of the XML",
					   dev->id, dev->ops->name);
	if (!m->xml)
		return state_error(err, "the guest's XML is not known");
	if (m->leaving)
		return state_error(err, "a device is just being taken out; try again");
	if (incoming_partial(m))
		return state_error(err, "memory of the guest is still at the host that it came from");
	return 0;
}

int machine_save(struct machine *m, const struct save_options *o)
{
	struct state_error err = { .text = "" };
	struct save_job *j;
	int ret;

	if (m->save || migrate_running(m))
		return -EBUSY;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->m = m;
	j->o = *o;
	j->started_ns = clock_now_ns();
	ret = ram_job_init(&j->ram, m->mem.region[0].hva, m->mem.ram_size, m->mem.fd);
	j->ram.source = m->mem.source;
	j->ram.source_offset = m->mem.source_offset;
	j->ram.pagemap = m->mem.pagemap;
	if (o->level)
		j->ram.level = o->level;
	ret = ret ?: save_can(m, &err) ?: save_head(j, &err) ?:
	      ram_save_begin(&j->ram, &j->out, o->form, &err);
	if (ret) {
		state_error(&err, "%s", strerror(-ret));
		close(o->fd);
		ram_job_free(&j->ram);
		free(j);
		o->done(m, o->opaque, &err);
		return 0;
	}
	vcpus_settle(m);
	m->save = j;
	if (o->form == RAM_SHARED) {
		finish(m, j);
		return 0;
	}
	j->working = m->nr_vcpus;
	vcpus_work(m, work, j);
	return 0;
}

int machine_unshare(struct machine *m, struct state_error *err)
{
	unsigned int i;
	int ret;

	if (!m->template)
		return 0;
	for (i = 0; i < m->dom->nr_disks; i++)
		if (!m->dom->disk[i].readonly)
			return state_error(err, "its forks read its disk %s, which it would write to",
					   m->dom->disk[i].target);
	ret = guest_mem_freeze(&m->mem);
	if (ret && !m->mem.nr)
		machine_event(m, EV_FATAL, 0);
	if (ret) {
		state_error(err, "no memory for it beside that of its forks: %s", strerror(-ret));
		return ret;
	}
	m->template = false;
	return 0;
}

bool save_running(struct machine *m, struct save_progress *p)
{
	struct save_job *j = m->save;

	if (!j)
		return false;
	*p = (struct save_progress){
		.total = j->ram.size, .done = j->ram.done, .zero = j->ram.zero,
		.written = j->ram.written, .elapsed_ns = clock_now_ns() - j->started_ns,
	};
	return true;
}

void save_abort(struct machine *m)
{
	struct save_job *j = m->save;

	if (!j)
		return;
	atomic_store(&j->ram.stop, true);
	vcpus_work_wait(m);
	m->save = NULL;
	close(j->o.fd);
	ram_job_free(&j->ram);
	free(j);
}

/* ------------------------------------------------------------------ loading */

/* The next section, which must be of this type. */
static int want(struct stream_in *in, uint32_t type, struct sbuf *b, struct state_error *err)
{
	uint64_t plain, len;
	uint32_t got;
	int ret = stream_next(in, &got, b, &plain, &len, err);

	if (!ret && got != type) {
		/* Two names, one buffer. */
		char name[5];

		memcpy(name, stream_type_name(type), sizeof(name));
		ret = state_error(err, "section %s where %s should be", stream_type_name(got), name);
	}
	return ret;
}

static int load_head(struct stream_in *in, struct machine *m, struct sbuf *b, struct state_error *err)
{
	struct machine_state s = { 0 }, here = describe(m);
	uint32_t version;
	int ret;

	ret = want(in, SEC_MACHINE, b, err);
	if (ret)
		return ret;
	version = (uint32_t)sbuf_get_num(b, 4);
	if (!version || version > MACHINE_VERSION)
		return state_error(err, "a machine of version %u; this hvx knows %u", version,
				   MACHINE_VERSION);
	ret = state_decode(b, machine_fields, version, &s, err);
	if (ret)
		return ret;
	if (s.nr_vcpus != here.nr_vcpus)
		return state_error(err, "%u vCPUs, the XML says %u", s.nr_vcpus, here.nr_vcpus);
	return want(in, SEC_CPUID, b, err) ?: cpuid_load(b, m, s.tsc_khz, err);
}

int load_machine(struct stream_in *in, struct machine *m, struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret = load_head(in, m, &b, err);

	sbuf_free(&b);
	return ret;
}

static int load_ram(struct machine *m, struct sbuf *b, struct state_error *err)
{
	struct ram_job j;
	int ret;

	if (ram_job_init(&j, m->mem.region[0].hva, m->mem.ram_size, m->mem.fd)) {
		ram_job_free(&j);
		return -ENOMEM;
	}
	ret = want(m->load, SEC_RAM, b, err) ?: ram_load_begin(&j, m->load, b, err);
	if (!ret && m->ram_from) {
		ret = ram_load_mapped(&j, err);
	} else if (!ret && j.form == RAM_SHARED) {
		ret = state_error(err, "its memory is not in it: it was made for forks of a running guest");
	} else if (!ret) {
		vcpus_work(m, ram_load_work, &j);
		ram_load_work(&j);
		vcpus_work_wait(m);
		ret = ram_load_end(&j, err);
	}
	ram_job_free(&j);
	return ret;
}

/* The next device. The stream may be slow: the lock is for what is here. */
static int load_device(struct stream_in *in, struct machine *m, struct sbuf *b, struct device **loaded,
		       struct state_error *err)
{
	int ret = want(in, SEC_DEVICE, b, err);

	if (ret)
		return ret;
	pthread_mutex_lock(&m->lock);
	ret = state_load_device(b, m, loaded, err);
	pthread_mutex_unlock(&m->lock);
	if (!ret && (*loaded)->loaded)
		ret = state_error(err, "the state of %s twice", (*loaded)->id);
	return ret;
}

/*
 * Each of the machine's devices once, in any order: what is plugged in comes last
 * while it runs, and in the place that its XML gives it afterwards.
 */
static int load_devices(struct stream_in *in, struct machine *m, struct sbuf *b, struct state_error *err)
{
	struct device *dev, *loaded = NULL;
	unsigned int left = 0, lacking = 0;
	int ret = 0;

	for (dev = m->devices; dev; dev = dev->next) {
		dev->loaded = false;
		left++;
		lacking += dev->ops->state && dev->ops->state->may_lack;
	}
	while (left > lacking && !ret) {
		ret = load_device(in, m, b, &loaded, err);
		if (ret)
			break;
		loaded->loaded = true;
		left--;
		lacking -= loaded->ops->state->may_lack;
	}
	return ret;
}

static int load_tail(struct stream_in *in, struct machine *m, struct sbuf *b, uint64_t *clock_ns,
		     struct state_error *err)
{
	unsigned int i;
	int ret = load_devices(in, m, b, err);

	for (i = 0; i < m->nr_vcpus && !ret; i++)
		ret = want(in, SEC_VCPU, b, err) ?: vcpu_load(b, &m->vcpu[i], err);
	pthread_mutex_lock(&m->lock);
	if (!ret)
		ret = guest_read(&m->mem, BOARD_VMGENID, m->vmgenid, sizeof(m->vmgenid));
	/* Its interrupt goes to a local APIC that is loaded. */
	if (!ret && m->reverted)
		ret = machine_new_generation(m);
	pthread_mutex_unlock(&m->lock);
	ret = ret ?: want(in, SEC_CLOCK, b, err);
	if (ret)
		return ret;
	*clock_ns = sbuf_get_num(b, 8);
	return b->failed || sbuf_left(b) ? state_error(err, "section CLCK has a wrong length") : 0;
}

int load_state(struct stream_in *in, struct machine *m, uint64_t *clock_ns, struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret = load_tail(in, m, &b, clock_ns, err);

	sbuf_free(&b);
	return ret;
}

int machine_load(struct machine *m, uint64_t *clock_ns)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	int ret = load_head(m->load, m, &b, &err) ?: load_ram(m, &b, &err) ?:
		  load_tail(m->load, m, &b, clock_ns, &err) ?: want(m->load, SEC_END, &b, &err);

	sbuf_free(&b);
	if (ret)
		log_error("the saved state cannot be restored: %s",
			  err.text[0] ? err.text : strerror(-ret));
	close(m->load->fd);
	m->load->fd = -1;
	return ret;
}
