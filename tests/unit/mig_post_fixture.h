/* SPDX-License-Identifier: GPL-2.0-only */
/* Post-copy with a fake machine at each end, both in one process or each in one of its own. */
#ifndef MIG_POST_FIXTURE_H
#define MIG_POST_FIXTURE_H

#include <sys/mman.h>
#include "mig_fixture.h"

#define NR_PAGES	(size / RAM_PAGE)

static uint64_t size;
static uint8_t *here, *there;
static _Atomic bool source_ended, dest_ended;
static bool refuse_commit, refuse_missing;
static int dest_result, fail_place;

/* Where an end is: what a test has done there is done on its thread. */
enum point { AT_PASS, AT_STOP, AT_SOURCE_TAIL, AT_MISSING, AT_DEST_TAIL, AT_RELEASE, AT_COMMIT, AT_RUNNING, NR_POINTS };
static void (*at_point)(enum point p);

/* Who runs the guest and holds its images: seen by a process that outlives one of the ends. */
static struct {
	_Atomic bool runs_here, runs_there, owns_here, owns_there;
	_Atomic int reached;
} *world;

static unsigned int switch_at;		/* the pass with which post-copy begins; 0: by hand */

/* Absent memory at the destination. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t placed = PTHREAD_COND_INITIALIZER;
static bool *present, forgotten;

static void pass_point(enum point p)
{
	if (at_point)
		at_point(p);
}

/* ---------------------------------------------------------------- the source */

static int src_first(void *o, uint64_t *map, struct state_error *err)
{
	(void)o;
	(void)err;
	every_page(map, NR_PAGES);
	return 0;
}

/* The guest writes to every third page between two looks. */
static int src_sync(void *o, uint64_t *map, struct state_error *err)
{
	(void)o;
	(void)err;
	for (uint64_t i = 0; i < NR_PAGES; i += 3) {
		here[i * RAM_PAGE + i % RAM_PAGE] ^= world->runs_here ? 0x55 : 0;
		map[i / 64] |= 1ULL << i % 64;
	}
	return 0;
}

static int src_throttle(void *o, unsigned int percent)
{
	(void)o;
	(void)percent;
	return 0;
}

static void src_phase(void *o, enum mig_phase phase)
{
	(void)o;
	(void)phase;
}

static void src_pass(void *o, unsigned int round)
{
	(void)o;
	pass_point(AT_PASS);
	if (round == switch_at)
		ck_assert(mig_source_postcopy(&s));
}

static int src_stop(void *o, bool *ran, struct state_error *err)
{
	(void)o;
	(void)err;
	*ran = true;
	world->runs_here = false;
	pass_point(AT_STOP);
	return 0;
}

static int src_tail(void *o, struct stream_out *out, struct state_error *err)
{
	(void)o;
	pass_point(AT_SOURCE_TAIL);
	return section(out, SEC_DEVICE, "devices", err) ?: section(out, SEC_CLOCK, "a clock", err);
}

static int src_release(void *o, struct state_error *err)
{
	(void)o;
	(void)err;
	world->owns_here = false;
	pass_point(AT_RELEASE);
	return 0;
}

static int src_take_back(void *o, struct state_error *err)
{
	(void)o;
	if (world->owns_there)
		return state_error(err, "the disk is in use");
	world->owns_here = true;
	return 0;
}

static const struct mig_source_ops source_ops = {
	.xml = src_xml, .machine = src_machine, .first = src_first, .sync = src_sync,
	.throttle = src_throttle, .phase = src_phase, .pass = src_pass, .stop = src_stop,
	.tail = src_tail, .release = src_release, .take_back = src_take_back,
};

static void *run_source(void *arg)
{
	enum mig_phase end = mig_source_run(&s);

	(void)arg;
	if (end == MIG_FAILED || end == MIG_CANCELLED)
		world->runs_here = true;
	source_ended = true;
	return NULL;
}

/* ----------------------------------------------------------- the destination */

static int dst_machine(void *o, struct stream_in *in, struct state_error *err)
{
	(void)o;
	return want(in, SEC_MACHINE, "a machine", err);
}

static void touch(uint64_t page)
{
	pthread_mutex_lock(&lock);
	while (!present[page]) {
		pthread_mutex_unlock(&lock);
		mig_dest_fault(&d, page * RAM_PAGE + 5);
		pthread_mutex_lock(&lock);
		if (!present[page] && !forgotten)
			pthread_cond_wait(&placed, &lock);
		if (forgotten)
			break;
	}
	pthread_mutex_unlock(&lock);
}

/* Devices look at memory while they are loaded: at what is missing, too. */
static int dst_tail(void *o, struct stream_in *in, struct state_error *err)
{
	int ret = want(in, SEC_DEVICE, "devices", err);

	(void)o;
	pass_point(AT_DEST_TAIL);
	if (d.post.on) {
		touch(0);
		touch(NR_PAGES - 1);
	}
	return ret ?: want(in, SEC_CLOCK, "a clock", err);
}

static void dst_forget(void *o)
{
	(void)o;
	ck_assert(!world->runs_there && !world->owns_there);
	pthread_mutex_lock(&lock);
	forgotten = true;
	pthread_cond_broadcast(&placed);
	pthread_mutex_unlock(&lock);
}

static int dst_commit(void *o, bool run, struct state_error *err)
{
	(void)o;
	pass_point(AT_COMMIT);
	if (refuse_commit)
		return state_error(err, "the disk is in use");
	ck_assert(!world->runs_here && !world->owns_here);
	world->owns_there = true;
	world->runs_there = run;
	pass_point(AT_RUNNING);
	return 0;
}

static const char *dst_ready(void *o)
{
	return o;
}

static int dst_missing(void *o, struct state_error *err)
{
	(void)o;
	pass_point(AT_MISSING);
	if (refuse_missing)
		return state_error(err, "memory cannot be made absent");
	for (uint64_t i = 0; i < NR_PAGES; i++) {
		present[i] = d.ram.map[i / 64] >> i % 64 & 1 && !(d.post.missing[i / 64] >> i % 64 & 1);
		if (!present[i])
			memset(there + i * RAM_PAGE, 0xcc, RAM_PAGE);
	}
	return 0;
}

static int late_fd = -1;	/* a connection that comes with the last page */

static int dst_place(void *o, uint64_t offset, const uint8_t *page)
{
	int ret = 0;

	(void)o;
	if (late_fd >= 0 && d.post.left == 1) {
		ck_assert(mig_dest_resume(&d, late_fd));
		late_fd = -1;
	}
	ck_assert_uint_lt(offset, size);
	pthread_mutex_lock(&lock);
	if (page && fail_place) {
		ret = fail_place;
	} else if (present[offset / RAM_PAGE]) {
		ret = -EEXIST;
	} else {
		if (page)
			memcpy(there + offset, page, RAM_PAGE);
		else
			memset(there + offset, 0, RAM_PAGE);
		present[offset / RAM_PAGE] = true;
	}
	pthread_cond_broadcast(&placed);
	pthread_mutex_unlock(&lock);
	return ret;
}

static void dst_phase(void *o, enum mig_phase phase)
{
	(void)o;
	(void)phase;
}

static const struct mig_dest_ops dest_ops = {
	.machine = dst_machine, .tail = dst_tail, .commit = dst_commit, .ready = dst_ready,
	.missing = dst_missing, .place = dst_place, .forget = dst_forget, .phase = dst_phase,
};

static void *run_dest(void *arg)
{
	struct state_error err = { .text = "" };

	(void)arg;
	if (stream_open(&din, d.fd[0], &err) || want(&din, SEC_XML, "<domain/>", &err))
		dest_result = -1;
	else
		dest_result = mig_dest_run(&d);
	for (unsigned int i = 0; i < d.nr_streams; i++)
		close(d.fd[i]);
	dest_ended = true;
	return NULL;
}

/* ----------------------------------------------------------------- one go */

static void begin(uint64_t bytes, unsigned int streams)
{
	size = bytes;
	here = aligned_alloc(RAM_PAGE, size);
	there = aligned_alloc(RAM_PAGE, size);
	present = calloc(NR_PAGES, sizeof(*present));
	for (uint64_t i = 0; i < NR_PAGES; i++)
		memset(here + i * RAM_PAGE, i % 4 ? (int)(i * 7 + 1) : 0, RAM_PAGE);
	memset(there, 0, size);
	if (!world)
		world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(world, MAP_FAILED);
	memset(&s, 0, sizeof(s));
	memset(&d, 0, sizeof(d));
	memset(&din, 0, sizeof(din));
	mig_source_init(&s, &source_ops, NULL);
	mig_dest_init(&d, &dest_ops, NULL);
	s.postcopy = true;
	s.nr_streams = d.nr_streams = streams;
	d.in = &din;
	ck_assert_int_eq(mig_ram_init(&s.ram, here, size, streams), 0);
	ck_assert_int_eq(mig_ram_init(&d.ram, there, size, streams), 0);
	s.downtime_ns = 0;
	switch_at = 2;
	world->runs_here = world->owns_here = true;
	world->runs_there = world->owns_there = source_ended = dest_ended = false;
	refuse_commit = refuse_missing = forgotten = false;
	fail_place = 0;
}

static void start_both(void)
{
	pthread_create(&source_thread, NULL, run_source, NULL);
	pthread_create(&dest_thread, NULL, run_dest, NULL);
}

static void join_source(void)
{
	pthread_join(source_thread, NULL);
	for (unsigned int i = 0; i < s.nr_streams; i++)
		close(s.fd[i]);
}

static void finish(void)
{
	mig_source_fini(&s);
	mig_dest_fini(&d);
	mig_ram_free(&s.ram);
	mig_ram_free(&d.ram);
	free(here);
	free(there);
	free(present);
}

static void check_memory(const char *what, long at)
{
	ck_assert(!forgotten);
	for (uint64_t i = 0; i < NR_PAGES; i++) {
		touch(i);
		ck_assert_msg(!memcmp(here + i * RAM_PAGE, there + i * RAM_PAGE, RAM_PAGE),
			      "%s %ld: page %lu: %02x here, %02x there", what, at, (unsigned long)i,
			      here[i * RAM_PAGE], there[i * RAM_PAGE]);
	}
}

/* Until the source has ended or waits for a connection. */
static bool paused(void)
{
	while (!source_ended && s.phase != MIG_POST_PAUSED)
		nap_us(100);
	return !source_ended;
}

#endif
