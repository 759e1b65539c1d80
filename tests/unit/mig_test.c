// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/mig_*.c vmm/stream.c vmm/state.c devices/device.c vmm/sandbox.c vmm/log.c */
/*
 * Live migration, both ends in one process: memory that is written to meanwhile arrives
 * as it is; and wherever the connection is cut, whoever lies, the guest runs once at most.
 */
#include "mig_fixture.h"

#define PAGES(r) ((r) / RAM_PAGE)

/* A guest: memory, and somebody who writes to it while it runs here. */
struct side {
	uint8_t *ram;
	uint64_t size;
	_Atomic uint64_t *dirty;
	_Atomic bool runs, quit;
	bool owns;		/* what only one side may hold */
	bool refuse_machine, refuse_tail, refuse_commit, refuse_release, refuse_take_back, paused;
	_Atomic unsigned int throttle, throttles, passes, phases[MIG_UNCONFIRMED + 1];
	unsigned int write_us;	/* between two writes; 0: none */
	bool hot;		/* all of memory is written to before each look */
	unsigned int until_round, until_throttle;	/* then it is stopped whatever is left; 0: no */
	bool refuse_copy, refuse_end;	/* disks */
	_Atomic unsigned int copied, ended, looks, behind;	/* looks at which the disks are behind */
	pthread_t writer;
};

static struct side src, dst;

static void touch(struct side *g, uint64_t page)
{
	atomic_fetch_or(&g->dirty[page / 64], 1ULL << page % 64);
}

static void *writer(void *arg)
{
	struct side *g = arg;
	uint64_t x = 1, page;

	while (!atomic_load(&g->quit)) {
		nap_us(g->write_us);
		if (!atomic_load(&g->runs))
			continue;
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		page = (x >> 33) % PAGES(g->size);
		/* Some pages become zero again. */
		__atomic_store_n((uint64_t *)(void *)(g->ram + page * RAM_PAGE + (x >> 20) % 512 * 8),
				 x & 1 ? x : 0, __ATOMIC_RELAXED);
		touch(g, page);
	}
	return NULL;
}

static void side_init(struct side *g, uint64_t size)
{
	memset(g, 0, sizeof(*g));
	g->size = size;
	g->ram = aligned_alloc(RAM_PAGE, size);
	memset(g->ram, 0, size);
	g->dirty = calloc(PAGES(size) / 64 + 1, sizeof(*g->dirty));
}

static void side_free(struct side *g)
{
	free(g->ram);
	free((void *)g->dirty);
}

/* ---------------------------------------------------------------- the source */

static int src_sync(void *o, uint64_t *map, struct state_error *err)
{
	struct side *g = o;
	uint64_t i;

	(void)err;
	for (i = 0; g->hot && atomic_load(&g->runs) && i < PAGES(g->size); i++) {
		g->ram[i * RAM_PAGE]++;
		touch(g, i);
	}
	for (i = 0; i <= (PAGES(g->size) - 1) / 64; i++)
		map[i] |= atomic_exchange(&g->dirty[i], 0);
	return 0;
}

static int src_first(void *o, uint64_t *map, struct state_error *err)
{
	struct side *g = o;

	(void)err;
	every_page(map, PAGES(g->size));
	return 0;
}

static int src_throttle(void *o, unsigned int percent)
{
	struct side *g = o;

	atomic_store(&g->throttle, percent);
	atomic_fetch_add(&g->throttles, 1);
	if (g->until_throttle && percent >= g->until_throttle)
		atomic_store(&s.force_ns, 1);
	return 0;
}

static void src_phase(void *o, enum mig_phase phase)
{
	struct side *g = o;

	atomic_fetch_add(&g->phases[phase], 1);
}

static void src_pass(void *o, unsigned int round)
{
	struct side *g = o;

	atomic_fetch_add(&g->passes, 1);
	if (g->until_round && round >= g->until_round)
		atomic_store(&s.force_ns, 1);
}

static int src_stop(void *o, bool *ran, struct state_error *err)
{
	struct side *g = o;

	(void)err;
	*ran = !g->paused;
	atomic_store(&g->runs, false);
	nap_us(300);	/* a writer in the middle of it has ended */
	return 0;
}

static int src_tail(void *o, struct stream_out *out, struct state_error *err)
{
	(void)o;
	return section(out, SEC_DEVICE, "devices", err);
}

static int src_release(void *o, struct state_error *err)
{
	struct side *g = o;

	if (g->refuse_release)
		return state_error(err, "it cannot be let go");
	g->owns = false;
	return 0;
}

static int src_take_back(void *o, struct state_error *err)
{
	struct side *g = o;

	if (g->refuse_take_back)
		return state_error(err, "it is gone");
	g->owns = true;
	return 0;
}

static int src_disks_copy(void *o, struct state_error *err)
{
	struct side *g = o;

	ck_assert(atomic_load(&g->runs));
	atomic_fetch_add(&g->copied, 1);
	return g->refuse_copy ? state_error(err, "disk vda: no space is left there") : 0;
}

static int src_disks_left(void *o, uint64_t *ns, struct state_error *err)
{
	struct side *g = o;

	(void)err;
	*ns = atomic_fetch_add(&g->looks, 1) < g->behind && !g->throttles ? 1000000000000 : 0;
	return 0;
}

static int src_disks_end(void *o, struct state_error *err)
{
	struct side *g = o;

	ck_assert(!atomic_load(&g->runs));
	atomic_fetch_add(&g->ended, 1);
	return g->refuse_end ? state_error(err, "disk vda: the connection is lost") : 0;
}

static void src_disks_stop(void *o)
{
	(void)o;
}

static const struct mig_source_ops disk_ops = {
	.xml = src_xml, .machine = src_machine, .first = src_first, .sync = src_sync,
	.throttle = src_throttle, .phase = src_phase, .pass = src_pass, .stop = src_stop,
	.tail = src_tail, .release = src_release, .take_back = src_take_back,
	.disks_copy = src_disks_copy, .disks_left = src_disks_left, .disks_end = src_disks_end,
	.disks_stop = src_disks_stop,
};

static const struct mig_source_ops source_ops = {
	.xml = src_xml, .machine = src_machine, .first = src_first, .sync = src_sync,
	.throttle = src_throttle, .phase = src_phase, .pass = src_pass, .stop = src_stop,
	.tail = src_tail, .release = src_release, .take_back = src_take_back,
};

static void *run_source(void *arg)
{
	enum mig_phase end;

	(void)arg;
	end = mig_source_run(&s);
	/* What vmm/migrate_out.c does with the ends. */
	if ((end == MIG_FAILED || end == MIG_CANCELLED) && !src.paused)
		atomic_store(&src.runs, true);
	return NULL;
}

/* ----------------------------------------------------------- the destination */

static int dst_machine(void *o, struct stream_in *in, struct state_error *err)
{
	struct side *g = o;
	int ret = want(in, SEC_MACHINE, "a machine", err);

	return ret ?: g->refuse_machine ? state_error(err, "another\nCPU") : 0;
}

static int dst_tail(void *o, struct stream_in *in, struct state_error *err)
{
	struct side *g = o;
	int ret = want(in, SEC_DEVICE, "devices", err);

	return ret ?: g->refuse_tail ? state_error(err, "an unknown device") : 0;
}

static int dst_commit(void *o, bool run, struct state_error *err)
{
	struct side *g = o;

	if (g->refuse_commit)
		return state_error(err, "the disk is in use");
	ck_assert(!atomic_load(&src.runs));
	ck_assert(!src.owns);
	g->owns = true;
	atomic_store(&g->runs, run);
	return 0;
}

static const struct mig_dest_ops dest_ops = {
	.machine = dst_machine, .tail = dst_tail, .commit = dst_commit,
};

static int dest_result;

static void *run_dest(void *arg)
{
	struct state_error err = { .text = "" };
	unsigned int i;

	(void)arg;
	if (stream_open(&din, d.fd[0], &err) || want(&din, SEC_XML, "<domain/>", &err)) {
		mig_refuse(d.fd[0], err.text);
		dest_result = -1;
	} else {
		dest_result = mig_dest_run(&d);
	}
	for (i = 0; i < d.nr_streams; i++)
		close(d.fd[i]);
	return NULL;
}

/* ----------------------------------------------------------------- one go */


static void begin(uint64_t size, unsigned int streams)
{
	side_init(&src, size);
	side_init(&dst, size);
	memset(&s, 0, sizeof(s));
	memset(&d, 0, sizeof(d));
	memset(&din, 0, sizeof(din));
	mig_source_init(&s, &source_ops, &src);
	mig_dest_init(&d, &dest_ops, &dst);
	d.in = &din;
	s.nr_streams = d.nr_streams = streams;
	ck_assert_int_eq(mig_ram_init(&s.ram, src.ram, size, streams), 0);
	ck_assert_int_eq(mig_ram_init(&d.ram, dst.ram, size, streams), 0);
	s.downtime_ns = 300000000;
	s.throttle_first = 20;
	s.throttle_step = 30;
	s.throttle_max = 90;
	atomic_store(&src.runs, true);
	src.owns = true;
}

static void start_both(void)
{
	pthread_create(&source_thread, NULL, run_source, NULL);
	pthread_create(&dest_thread, NULL, run_dest, NULL);
}

static void join_source(void)
{
	unsigned int i;

	pthread_join(source_thread, NULL);
	for (i = 0; i < s.nr_streams; i++)
		close(s.fd[i]);
}

static void finish(void)
{
	mig_source_fini(&s);
	mig_dest_fini(&d);
	mig_ram_free(&s.ram);
	mig_ram_free(&d.ram);
	side_free(&src);
	side_free(&dst);
}

/* The rule. */
static void check_once(const char *where, long at)
{
	bool here = atomic_load(&src.runs), there = atomic_load(&dst.runs);
	int end = atomic_load(&s.phase);

	ck_assert_msg(!(here && there), "%s %ld: both run", where, at);
	ck_assert_msg(!(src.owns && dst.owns), "%s %ld: both own the disks", where, at);
	if (end == MIG_FAILED || end == MIG_CANCELLED)
		ck_assert_msg(here && src.owns && dest_result, "%s %ld: failed, and it does not run here", where, at);
	else if (end == MIG_COMPLETED)
		ck_assert_msg(there && dst.owns && !dest_result, "%s %ld: completed, and it does not run there", where, at);
	else
		ck_assert_msg(end == MIG_UNCONFIRMED && !here && !src.owns, "%s %ld: end %d", where, at, end);
}

static void check_memory(void)
{
	for (uint64_t i = 0; i < PAGES(src.size); i++)
		ck_assert_msg(!memcmp(src.ram + i * RAM_PAGE, dst.ram + i * RAM_PAGE, RAM_PAGE), "page %lu",
			      (unsigned long)i);
}

static void fill(struct side *g, unsigned int every)
{
	for (uint64_t i = 0; i < PAGES(g->size); i++)
		if (i % every == 0)
			memset(g->ram + i * RAM_PAGE, (int)(i * 7 + 1), RAM_PAGE);
}

/* ------------------------------------------------------------------- tests */

/* Streams 1, 3, 16; plain and zstd; a size that is no multiple of a chunk. */
START_TEST(test_move)
{
	unsigned int streams = _i % 3 == 0 ? 1 : _i % 3 == 1 ? 3 : MIG_MAX_STREAMS;

	begin(6 * RAM_CHUNK + 5 * RAM_PAGE, streams);
	s.ram.compress = _i >= 3;
	fill(&src, 3);
	src.write_us = 20;
	s.downtime_ns = 1000000;
	s.force_ns = 400000000;
	connect_directly();
	pthread_create(&src.writer, NULL, writer, &src);
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	atomic_store(&src.quit, true);
	pthread_join(src.writer, NULL);
	ck_assert_msg(s.phase == MIG_COMPLETED, "%s / %s", s.err.text, d.err.text);
	check_once("move", _i);
	check_memory();
	ck_assert_uint_ge(src.passes, 1);
	ck_assert_uint_eq(s.ram.pages, d.ram.pages);
	ck_assert_uint_eq(s.ram.zero, d.ram.zero);
	if (s.ram.compress)
		ck_assert_uint_lt(s.ram.wire, s.ram.pages * RAM_PAGE);
	finish();
}
END_TEST

START_TEST(test_paused)
{
	begin(RAM_CHUNK, 1);
	atomic_store(&src.runs, false);
	src.paused = true;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	ck_assert(!dst.runs && dst.owns && !src.owns);
	finish();
}
END_TEST

/* Pages that were zero, then were not, and are zero again; and those that never were anything. */
START_TEST(test_zero)
{
	begin(RAM_CHUNK, 1);
	fill(&src, 2);
	memset(dst.ram + RAM_PAGE, 0xee, RAM_PAGE);	/* would show a needless write */
	src.hot = true;
	s.downtime_ns = 0;
	src.until_round = 3;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	check_memory();
	ck_assert_uint_gt(s.round, 2);
	finish();
}
END_TEST

START_TEST(test_converge)
{
	begin(4 * RAM_CHUNK, 1);
	fill(&src, 1);
	src.hot = true;
	s.converge = true;
	s.downtime_ns = 0;
	src.until_throttle = 90;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	ck_assert_uint_ge(src.throttles, 4);	/* 20, 50, 80, 90, and 0 again */
	ck_assert_uint_eq(src.throttle, 0);
	ck_assert_uint_eq(s.throttle, 90);
	finish();
}
END_TEST

/* 4 MiB at 16 MiB/s take a quarter of a second at least. */
START_TEST(test_limit)
{
	begin(4 * RAM_CHUNK, _i ? 4 : 1);
	fill(&src, 1);
	s.ram.limit = 16 << 20;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	ck_assert_uint_ge(s.end_ns - s.start_ns, 150000000);
	check_memory();
	finish();
}
END_TEST

/* Disks first, and the guest is not stopped while they are behind; without them it stays. */
START_TEST(test_disks)
{
	begin(2 * RAM_CHUNK, 1);
	fill(&src, 1);
	s.ops = &disk_ops;
	src.behind = _i == 3 ? UINT32_MAX : 5;
	src.refuse_copy = _i == 1;
	src.refuse_end = _i == 2;
	s.converge = _i == 3;	/* they do not catch up before vCPUs sleep */
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	check_once("disks", _i);
	ck_assert_uint_eq(src.copied, 1);
	ck_assert_uint_eq(src.ended, _i != 1);
	if (_i == 1 || _i == 2) {
		ck_assert_int_eq(s.phase, MIG_FAILED);
		ck_assert_msg(strstr(s.err.text, "disk vda"), "%s", s.err.text);
	} else {
		ck_assert_int_eq(s.phase, MIG_COMPLETED);
		ck_assert_uint_ge(src.looks, 6);
		ck_assert_uint_ge(s.round, 3);
		check_memory();
	}
	if (_i == 3)
		ck_assert_uint_ge(src.throttles, 2);
	finish();
}
END_TEST

static void *cancel_soon(void *arg)
{
	nap_us((unsigned int)(uintptr_t)arg);
	mig_source_cancel(&s, false);
	return NULL;
}

START_TEST(test_cancel)
{
	static const unsigned int after[] = { 0, 50, 200, 1000, 3000, 8000, 20000, 60000 };
	pthread_t t;

	begin(4 * RAM_CHUNK, _i % 2 ? 4 : 1);
	fill(&src, 1);
	s.ram.limit = 64 << 20;
	connect_directly();
	start_both();
	pthread_create(&t, NULL, cancel_soon, (void *)(uintptr_t)after[_i]);
	join_source();
	pthread_join(dest_thread, NULL);
	pthread_join(t, NULL);
	check_once("cancel", after[_i]);
	finish();
}
END_TEST

/* Each side's refusals; what a destination says is one line when it is shown. */
START_TEST(test_refusals)
{
	static const char *const why[] = { "another?CPU", "an unknown device", "the disk is in use", "it cannot be let go" };

	begin(2 * RAM_CHUNK, 2);
	fill(&src, 1);
	dst.refuse_machine = _i == 0;
	dst.refuse_tail = _i == 1;
	dst.refuse_commit = _i == 2 || _i == 4;
	src.refuse_release = _i == 3;
	src.refuse_take_back = _i == 4;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	if (_i < 4) {
		ck_assert_int_eq(s.phase, MIG_FAILED);
		ck_assert_msg(strstr(s.err.text, why[_i]), "%s", s.err.text);
	} else {
		ck_assert_int_eq(s.phase, MIG_UNCONFIRMED);
	}
	check_once("refusal", _i);
	finish();
}
END_TEST

/* ------------------------------------------------------- a cut at each byte */

struct cut {
	int a[2], b[2];		/* [0] the proxy's end */
	long forward, back;	/* bytes after which nothing passes any more; -1: all */
	pthread_t thread;
};

static bool pass(int from, int to, long *left, bool *open)
{
	char buf[4096];
	size_t room = *left < 0 || *left > (long)sizeof(buf) ? sizeof(buf) : (size_t)*left;
	ssize_t n;

	n = room ? recv(from, buf, room, MSG_DONTWAIT) : 0;
	if (n < 0)
		return true;
	if (!n) {
		*open = false;
		return room;		/* hung up; or the cut */
	}
	if (send(to, buf, (size_t)n, MSG_NOSIGNAL) < 0)
		return false;
	if (*left > 0)
		*left -= n;
	return *left != 0;
}

/* Between the two; both ends lose the connection at the same time. */
static void *proxy(void *arg)
{
	struct cut *c = arg;
	bool ab = true, ba = true, ok = true;

	while (ok && (ab || ba)) {
		struct pollfd p[2] = {
			{ .fd = ab ? c->a[0] : -1, .events = POLLIN }, { .fd = ba ? c->b[0] : -1, .events = POLLIN },
		};

		if (poll(p, 2, 1000) <= 0)
			break;
		if (p[0].revents)
			ok = pass(c->a[0], c->b[0], &c->forward, &ab);
		if (!ab && ok)
			shutdown(c->b[0], SHUT_WR);
		if (ok && p[1].revents)
			ok = pass(c->b[0], c->a[0], &c->back, &ba);
		if (!ba && ok)
			shutdown(c->a[0], SHUT_WR);
	}
	close(c->a[0]);
	close(c->b[0]);
	return NULL;
}

/* Bytes that went each way. */
static void with_cut(long forward, long back, uint64_t *went, uint64_t *came)
{
	struct cut c = { .forward = forward, .back = back };

	begin(4 * RAM_PAGE, 1);
	fill(&src, 2);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c.a), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c.b), 0);
	s.fd[0] = c.a[1];
	d.fd[0] = c.b[1];
	s.ram.compress = true;
	pthread_create(&c.thread, NULL, proxy, &c);
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	pthread_join(c.thread, NULL);
	*went = s.out.bytes;
	*came = s.in.bytes;
}

START_TEST(test_cut)
{
	unsigned int ends[MIG_UNCONFIRMED + 1] = { 0 };
	uint64_t went, came, all, back;
	long at;

	with_cut(-1, -1, &all, &back);
	ck_assert_msg(s.phase == MIG_COMPLETED, "%s / %s", s.err.text, d.err.text);
	check_memory();
	finish();
	for (at = _i; at < (long)all; at += 8) {
		with_cut(at, -1, &went, &came);
		check_once("cut after", at);
		/* As long as a byte of COMMIT is missing it does not run there. */
		ck_assert(!dst.runs);
		ends[s.phase]++;
		finish();
	}
	for (at = _i; at < (long)back; at += 8) {
		with_cut(-1, at, &went, &came);
		check_once("answers cut after", at);
		ends[s.phase]++;
		finish();
	}
	ck_assert_uint_gt(ends[MIG_FAILED], 20);
	ck_assert_uint_gt(ends[MIG_UNCONFIRMED], 2);
	ck_assert_uint_eq(ends[MIG_COMPLETED], 0);
}
END_TEST

/* ------------------------------------------------------------- who lies */

/* A source that says what it likes, with right checksums. */
struct liar {
	struct stream_out out;
	int fd;
};

static void lie_head(struct liar *l, uint32_t version, uint32_t streams)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	int pair[2];

	begin(RAM_CHUNK + 2 * RAM_PAGE, 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	l->fd = pair[0];
	d.fd[0] = pair[1];
	atomic_store(&src.runs, false);
	src.owns = false;
	stream_begin(&l->out, l->fd, 0, &err);
	src_xml(NULL, &l->out, &err);
	sbuf_put(&b, "0123456789abcdef", MIG_ID);
	sbuf_put_num(&b, version, 4);
	sbuf_put_num(&b, streams, 4);
	stream_put(&l->out, SEC_MIGRATE, b.data, b.len, &err);
	src_machine(NULL, &l->out, &err);
	sbuf_free(&b);
}

static void lie_ram(struct liar *l, uint32_t form, uint64_t size)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };

	sbuf_put_num(&b, form, 4);
	sbuf_put_num(&b, RAM_CHUNK, 4);
	sbuf_put_num(&b, size, 8);
	stream_put(&l->out, SEC_RAM, b.data, b.len, &err);
	sbuf_free(&b);
}

static void lie_pages(struct liar *l, uint64_t offset, uint32_t n, uint32_t form, int first_page,
		      int zero_page, size_t bytes)
{
	struct state_error err = { .text = "" };
	uint8_t maps[64] = { 0 }, *data = calloc(1, bytes + 1);
	struct sbuf b = { 0 };

	if (first_page >= 0)
		maps[first_page / 8] |= (uint8_t)(1 << first_page % 8);
	if (zero_page >= 0)
		maps[32 + zero_page / 8] |= (uint8_t)(1 << zero_page % 8);
	sbuf_put_num(&b, offset, 8);
	sbuf_put_num(&b, n, 4);
	sbuf_put_num(&b, form, 4);
	sbuf_put(&b, maps, sizeof(maps));
	sbuf_put(&b, data, bytes);
	stream_put(&l->out, SEC_RAM_DIRTY, b.data, b.len, &err);
	sbuf_free(&b);
	free(data);
}

static const char *refused(struct liar *l)
{
	shutdown(l->fd, SHUT_WR);
	run_dest(NULL);
	close(l->fd);
	ck_assert_int_ne(dest_result, 0);
	ck_assert(!dst.runs && !dst.owns);
	return d.err.text;
}

START_TEST(test_lies)
{
	static const struct {
		uint64_t offset;
		uint32_t n, form;
		int page, zero;
		size_t bytes;
		const char *says;
	} bad[] = {
		{ RAM_CHUNK / 2, 1, 0, 0, -1, RAM_PAGE, "a chunk of memory at" },
		{ 2ULL * RAM_CHUNK, 1, 0, 0, -1, RAM_PAGE, "a chunk of memory at" },
		{ 1ULL << 63, 1, 0, 0, -1, RAM_PAGE, "a chunk of memory at" },
		{ 0, 1, 2, 0, -1, RAM_PAGE, "a chunk of memory at" },
		{ RAM_CHUNK, 1, 0, 2, -1, RAM_PAGE, "beyond its end" },
		{ RAM_CHUNK, 0, 0, -1, 255, 0, "beyond its end" },
		{ 0, 1, 0, 5, 5, RAM_PAGE, "is zero and is not" },
		{ 0, 2, 0, 5, -1, 2 * RAM_PAGE, "1 pages where 2" },
		{ 0, 0xffffffff, 0, 5, -1, RAM_PAGE, "1 pages where" },
		{ 0, 1, 0, 5, -1, RAM_PAGE - 1, "cannot be uncompressed" },
		{ 0, 1, 0, 5, -1, RAM_PAGE + 1, "cannot be uncompressed" },
		{ 0, 1, 1, 5, -1, 30, "cannot be uncompressed" },
		{ 0, 0, 0, -1, 1, 1, "cannot be uncompressed" },
	};
	struct liar l;

	lie_head(&l, MIG_VERSION, 1);
	lie_ram(&l, RAM_LIVE, dst.size);
	lie_pages(&l, bad[_i].offset, bad[_i].n, bad[_i].form, bad[_i].page, bad[_i].zero, bad[_i].bytes);
	ck_assert_msg(strstr(refused(&l), bad[_i].says), "%s", d.err.text);
	finish();
}
END_TEST

static int nothing(void *o, bool run, struct state_error *err)
{
	(void)o;
	(void)run;
	return state_error(err, "it must not come to this");
}

/* The same sections at the wrong time, or of the wrong kind. */
START_TEST(test_order)
{
	static const struct mig_dest_ops never = { .machine = dst_machine, .tail = dst_tail, .commit = nothing };
	struct state_error err = { .text = "" };
	struct liar l;
	uint8_t two = 2, one = 1;

	lie_head(&l, MIG_VERSION_MORE + 1, 1);
	ck_assert_msg(strstr(refused(&l), "version 3"), "%s", d.err.text);
	finish();
	lie_head(&l, MIG_VERSION, 2);
	ck_assert_msg(strstr(refused(&l), "2 streams are announced"), "%s", d.err.text);
	finish();
	lie_head(&l, MIG_VERSION, 1);
	lie_ram(&l, RAM_ZSTD, dst.size);
	ck_assert_msg(strstr(refused(&l), "in a form"), "%s", d.err.text);
	finish();
	lie_head(&l, MIG_VERSION, 1);
	lie_ram(&l, RAM_LIVE, dst.size + RAM_PAGE);
	ck_assert_msg(strstr(refused(&l), "the XML says"), "%s", d.err.text);
	finish();
	lie_head(&l, MIG_VERSION, 1);
	lie_ram(&l, RAM_LIVE, dst.size);
	stream_put(&l.out, SEC_ROUND, &two, 1, &err);
	ck_assert_msg(strstr(refused(&l), "RNDE"), "%s", d.err.text);
	finish();
	/* COMMIT before all is here. */
	lie_head(&l, MIG_VERSION, 1);
	d.ops = &never;
	lie_ram(&l, RAM_LIVE, dst.size);
	stream_put(&l.out, SEC_COMMIT, &one, 1, &err);
	ck_assert_msg(strstr(refused(&l), "CMIT where memory"), "%s", d.err.text);
	finish();
	lie_head(&l, MIG_VERSION, 1);
	d.ops = &never;
	lie_ram(&l, RAM_LIVE, dst.size);
	stream_put(&l.out, SEC_ROUND, &one, 1, &err);
	src_tail(NULL, &l.out, &err);
	stream_put(&l.out, SEC_COMMIT, &two, 1, &err);
	ck_assert_msg(strstr(refused(&l), "CMIT"), "%s", d.err.text);
	finish();
}
END_TEST

/* A destination that answers out of turn, with rubbish, or for ever. */
struct false_dest {
	int fd;
	unsigned int kind;
};

static void *lie_back(void *arg)
{
	struct false_dest *f = arg;
	struct state_error err = { .text = "" };
	struct stream_out out;
	char sink[4096], text[2000];
	struct sbuf b = { 0 };

	memset(text, '\033', sizeof(text));
	if (f->kind == 0) {
		if (write(f->fd, text, sizeof(text)) < 0)
			return NULL;
	} else {
		static const uint32_t code[] = { 0, MIG_LOADED, MIG_RUNNING, MIG_REFUSED, 77 };

		stream_begin(&out, f->fd, 0, &err);
		if (f->kind < 5) {
			sbuf_put_num(&b, code[f->kind], 4);
			sbuf_put(&b, text, sizeof(text));
		} else if (f->kind == 6) {
			sbuf_put_num(&b, MIG_READY, 4);	/* and no more */
		}
		stream_put(&out, f->kind == 5 ? SEC_XML : SEC_REPLY, b.data, b.len, &err);
		sbuf_free(&b);
	}
	if (f->kind == 6)
		shutdown(f->fd, SHUT_WR);
	while (read(f->fd, sink, sizeof(sink)) > 0)
		;
	close(f->fd);
	return NULL;
}

START_TEST(test_false_dest)
{
	struct false_dest f = { .kind = (unsigned int)_i };
	pthread_t t;
	int pair[2];

	begin(2 * RAM_CHUNK, 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	s.fd[0] = pair[0];
	f.fd = pair[1];
	pthread_create(&t, NULL, lie_back, &f);
	run_source(NULL);
	close(s.fd[0]);
	pthread_join(t, NULL);
	dest_result = -1;
	ck_assert_int_eq(s.phase, MIG_FAILED);
	check_once("false destination", _i);
	ck_assert_uint_gt(strlen(s.err.text), 10);
	ck_assert_ptr_null(strchr(s.err.text, '\033'));
	finish();
}
END_TEST

/* Each byte of a true session, changed: refused, and nothing outside of RAM is touched. */
START_TEST(test_flips)
{
	struct cut c = { .forward = -1, .back = -1 };
	uint8_t *all;
	size_t len = 0, at;
	char buf[65536];
	ssize_t n;
	int pair[2];

	/* Record: the destination's answers are READY and LOADED, whatever came. */
	begin(4 * RAM_PAGE, 1);
	fill(&src, 2);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c.a), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c.b), 0);
	s.fd[0] = c.a[1];
	d.fd[0] = c.b[1];
	s.ram.compress = true;
	start_both();
	all = malloc(1 << 20);
	for (;;) {
		struct pollfd p[2] = { { .fd = c.a[0], .events = POLLIN }, { .fd = c.b[0], .events = POLLIN } };

		ck_assert_int_gt(poll(p, 2, 10000), 0);
		if (p[0].revents) {
			n = recv(c.a[0], all + len, (1 << 20) - len, MSG_DONTWAIT);
			if (n <= 0)
				break;
			ck_assert_int_eq(send(c.b[0], all + len, (size_t)n, MSG_NOSIGNAL), n);
			len += (size_t)n;
		}
		if (p[1].revents) {
			n = recv(c.b[0], buf, sizeof(buf), MSG_DONTWAIT);
			if (n > 0)
				ck_assert_int_eq(send(c.a[0], buf, (size_t)n, MSG_NOSIGNAL), n);
			else
				shutdown(c.a[0], SHUT_WR);
		}
	}
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	finish();
	close(c.a[0]);
	close(c.b[0]);
	for (at = 0; at < len; at++) {
		begin(4 * RAM_PAGE, 1);
		atomic_store(&src.runs, false);
		src.owns = false;
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		d.fd[0] = pair[1];
		all[at] ^= (uint8_t)(1 << at % 8);
		ck_assert_int_eq(write(pair[0], all, len), (ssize_t)len);
		all[at] ^= (uint8_t)(1 << at % 8);
		shutdown(pair[0], SHUT_WR);
		run_dest(NULL);
		close(pair[0]);
		/* When it was saved, and the migration's own number, are anybody's. */
		ck_assert_msg(dest_result && !dst.runs, "byte %zu of %zu", at, len);
		finish();
	}
	free(all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mig");
	TCase *tc = tcase_create("both ends");
	SRunner *sr;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_move, 0, 6);
	tcase_add_test(tc, test_paused);
	tcase_add_test(tc, test_zero);
	tcase_add_test(tc, test_converge);
	tcase_add_loop_test(tc, test_limit, 0, 2);
	tcase_add_loop_test(tc, test_disks, 0, 4);
	tcase_add_loop_test(tc, test_cancel, 0, 8);
	tcase_add_loop_test(tc, test_refusals, 0, 5);
	tcase_add_loop_test(tc, test_cut, 0, 8);
	tcase_add_loop_test(tc, test_lies, 0, 13);
	tcase_add_test(tc, test_order);
	tcase_add_loop_test(tc, test_false_dest, 0, 7);
	tcase_add_test(tc, test_flips);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
