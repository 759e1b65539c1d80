// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/mig_*.c vmm/stream.c vmm/state.c devices/device.c vmm/sandbox.c vmm/log.c */
/*
 * Post-copy, both ends in one process: a guest that runs at the destination finds in each page
 * what was in it at the source, whichever way the connection breaks and however often; it runs
 * once at most; and who lies harms nobody.
 */
#include "mig_post_fixture.h"

static void reconnect(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	while (d.post.phase != MIG_POST_PAUSED)
		nap_us(100);
	ck_assert(mig_source_resume(&s, pair[0]));
	ck_assert(mig_dest_resume(&d, pair[1]));
}

/* ------------------------------------------------------------------- tests */

/* A guest that runs there and looks at its memory, in no order. */
static void *guest(void *arg)
{
	uint64_t x = (uintptr_t)arg, page;
	unsigned int i;

	while (!world->runs_there)
		nap_us(50);
	for (i = 0; i < 300; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		page = (x >> 33) % NR_PAGES;
		touch(page);
		ck_assert_msg(!memcmp(here + page * RAM_PAGE, there + page * RAM_PAGE, RAM_PAGE), "page %lu",
			      (unsigned long)page);
	}
	return NULL;
}

START_TEST(test_move)
{
	pthread_t g[3];
	unsigned int i;

	begin(3 * RAM_CHUNK + 5 * RAM_PAGE, _i % 2 ? 3 : 1);
	s.ram.compress = _i >= 4;
	switch_at = _i / 2 % 2 ? 1 : 3;		/* before anything has gone, or late */
	connect_directly();
	start_both();
	for (i = 0; i < 3; i++)
		pthread_create(&g[i], NULL, guest, (void *)(uintptr_t)(i + 1));
	for (i = 0; i < 3; i++)
		pthread_join(g[i], NULL);
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_msg(s.phase == MIG_COMPLETED && !dest_result, "%s / %s", s.err.text, d.err.text);
	ck_assert(!world->runs_here && world->runs_there && !world->owns_here && world->owns_there);
	ck_assert_uint_eq(d.post.left, 0);
	check_memory("move", _i);
	finish();
}
END_TEST

/* With a background that stands still, what is waited for comes nevertheless; and by itself nothing else. */
START_TEST(test_priority)
{
	pthread_t g;

	begin(3 * RAM_CHUNK, 1);
	s.post_limit = 1;
	connect_directly();
	start_both();
	pthread_create(&g, NULL, guest, (void *)7);
	pthread_join(g, NULL);
	ck_assert_uint_gt(s.wants, 40);
	ck_assert_uint_gt(d.post.left, 50);
	ck_assert_int_eq(s.phase, MIG_POSTCOPY);
	s.post_limit = 0;
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	check_memory("priority", 0);
	finish();
}
END_TEST

/* Rounds get small enough before anybody asks for post-copy. */
START_TEST(test_not_needed)
{
	begin(RAM_CHUNK, 2);
	switch_at = 0;
	s.downtime_ns = 10000000000ULL;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_COMPLETED);
	ck_assert(!d.post.on && world->runs_there);
	ck_assert(!mig_source_postcopy(&s) && !mig_source_pause(&s) && !mig_source_reclaim(&s));
	ck_assert(!memcmp(here, there, size));
	finish();
}
END_TEST

START_TEST(test_refusals)
{
	static const char *const why[] = { "the disk is in use", "cannot be made absent", "post-copy: no rights", "post-copy: it is not there" };
	static const struct mig_dest_ops without = { .machine = dst_machine, .tail = dst_tail, .commit = dst_commit };

	begin(RAM_CHUNK, 1);
	refuse_commit = _i == 0;
	refuse_missing = _i == 1;
	if (_i == 2)
		d.opaque = (void *)(uintptr_t)"no rights";
	if (_i == 3)
		d.ops = &without;
	connect_directly();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(s.phase, MIG_FAILED);
	ck_assert_msg(strstr(s.err.text, why[_i]), "%s", s.err.text);
	ck_assert(world->runs_here && world->owns_here && !world->runs_there && !world->owns_there);
	finish();
}
END_TEST

/* ------------------------------------------------------- a cut at each byte */

struct cut {
	int a[2], b[2];		/* [0] the proxy's end */
	long left[2];		/* bytes after which nothing passes any more; -1: all */
	pthread_t thread;
};

static bool pass(int from, int to, long *left)
{
	char buf[4096];
	size_t room = *left < 0 || *left > (long)sizeof(buf) ? sizeof(buf) : (size_t)*left;
	ssize_t n = recv(from, buf, room, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN;
	if (!n || send(to, buf, (size_t)n, MSG_NOSIGNAL) < 0)
		return false;
	if (*left > 0)
		*left -= n;
	return *left != 0;
}

/* Between the two; both ends lose the connection at the same time. */
static void *proxy(void *arg)
{
	struct cut *c = arg;
	struct pollfd p[2] = { { .fd = c->a[0], .events = POLLIN }, { .fd = c->b[0], .events = POLLIN } };
	bool ok = c->left[0] && c->left[1];

	while (ok && poll(p, 2, -1) > 0) {
		if (p[0].revents)
			ok = pass(c->a[0], c->b[0], &c->left[0]);
		if (ok && p[1].revents)
			ok = pass(c->b[0], c->a[0], &c->left[1]);
	}
	close(c->a[0]);
	close(c->b[0]);
	return NULL;
}

static void connect_cut(struct cut *c, long forward, long back)
{
	c->left[0] = forward;
	c->left[1] = back;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c->a), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c->b), 0);
	pthread_create(&c->thread, NULL, proxy, c);
}

/* Where and how it ended: the counts tell that each kind was met. */
static unsigned int ends[4];
enum { END_HERE, END_THERE, END_RECOVERED, END_RECLAIMED };

static void with_cut(long forward, long back, uint64_t *went, uint64_t *came)
{
	struct cut c;
	bool again;

	begin(8 * RAM_PAGE, 1);
	s.ram.compress = true;
	connect_cut(&c, forward, back);
	s.fd[0] = c.a[1];
	d.fd[0] = c.b[1];
	start_both();
	again = paused();
	pthread_join(c.thread, NULL);
	*went = s.out.bytes;
	*came = s.in.bytes;
	/* Somebody looks whether it runs there, as docs/migration.md says; the commit may be under way. */
	while (again && !dest_ended && d.post.phase != MIG_POST_PAUSED && d.post.phase != MIG_COMPLETED)
		nap_us(100);
	if (again && d.post.phase == MIG_COMPLETED) {
		/* All had arrived, only the word of it is lost. */
		ck_assert(world->runs_there);
		mig_source_over(&s);
		ends[END_THERE]++;
	} else if (again && dest_ended) {
		ck_assert(!world->runs_there && !s.post.confirmed);
		ck_assert(mig_source_reclaim(&s));
		ends[END_RECLAIMED]++;
	} else if (again) {
		reconnect();
		ends[END_RECOVERED]++;
	}
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_msg(!(world->runs_here && world->runs_there) && !(world->owns_here && world->owns_there), "cut %ld %ld: both", forward, back);
	ck_assert_msg(world->runs_here || world->runs_there, "cut %ld %ld: none; %s / %s", forward, back, s.err.text, d.err.text);
	if (world->runs_there)
		check_memory(forward < 0 ? "answers cut" : "cut", forward < 0 ? back : forward);
	else
		ck_assert_int_eq(s.phase, MIG_FAILED);
	if (!again)
		ends[world->runs_there ? END_THERE : END_HERE]++;
	finish();
}

START_TEST(test_cut)
{
	uint64_t went, came, all, back;
	long at;

	memset(ends, 0, sizeof(ends));
	with_cut(-1, -1, &all, &back);
	for (at = _i; at < (long)all; at += 8)
		with_cut(at, -1, &went, &came);
	ck_assert_uint_gt(ends[END_RECOVERED], 10);
	for (at = _i; at < (long)back; at += 8)
		with_cut(-1, at, &went, &came);
	ck_assert_uint_gt(ends[END_HERE], 20);
	ck_assert_uint_gt(ends[END_RECLAIMED], 1);
}
END_TEST

/* Cut again and again, the connections that were to mend it too; a guest looks on all the time. */
START_TEST(test_many_cuts)
{
	unsigned int cuts = 0, x = (unsigned int)_i * 7919 + 1;
	pthread_t g[2];
	struct cut c;
	bool sr, dr;

	begin(8 * RAM_CHUNK, 1);
	switch_at = 1;
	s.post_limit = 1;	/* the background sends 64 pages each time, and then stands still */
	connect_directly();
	start_both();
	pthread_create(&g[0], NULL, guest, (void *)3);
	pthread_create(&g[1], NULL, guest, (void *)4);
	while (!source_ended && s.phase != MIG_POSTCOPY)
		nap_us(50);
	ck_assert(mig_source_pause(&s));
	while (paused() && d.post.phase != MIG_COMPLETED) {
		bool last = ++cuts == 20;

		x = x * 1103515245 + 12345;
		s.post_limit = !last;
		connect_cut(&c, last ? -1 : (long)(x >> 8) % 90000, last || x & 64 ? -1 : (long)(x >> 16) % 300);
		while (d.post.phase == MIG_POSTCOPY)
			nap_us(50);
		sr = mig_source_resume(&s, c.a[1]);
		dr = mig_dest_resume(&d, c.b[1]);
		ck_assert_msg((sr && dr) || source_ended || d.post.phase == MIG_COMPLETED, "cut %u: %d %d, phases %d %d",
			      cuts, sr, dr, s.phase, d.post.phase);
		pthread_join(c.thread, NULL);
		while (s.phase == MIG_POSTCOPY || s.phase == MIG_POST_RECOVER)
			nap_us(50);
	}
	mig_source_over(&s);
	join_source();
	pthread_join(dest_thread, NULL);
	pthread_join(g[0], NULL);
	pthread_join(g[1], NULL);
	ck_assert_uint_gt(cuts, 5);
	ck_assert_int_eq(dest_result, 0);
	ck_assert(world->runs_there && !world->runs_here);
	check_memory("many cuts", _i);
	finish();
}
END_TEST

/* The guest ends there, or its process does, with memory still on its way. */
START_TEST(test_ends_there)
{
	begin(2 * RAM_CHUNK, 1);
	s.post_limit = 1;
	connect_directly();
	start_both();
	while (s.phase != MIG_POSTCOPY || !d.post.connected)
		nap_us(50);
	if (_i == 0) {
		mig_dest_stop(&d);
		pthread_join(dest_thread, NULL);
		join_source();
		ck_assert_int_eq(s.phase, MIG_COMPLETED);
	} else {
		/* As a process that is killed: no word. */
		d.post.connected = false;
		mig_dest_stop(&d);
		pthread_join(dest_thread, NULL);
		ck_assert(paused());
		ck_assert(!mig_source_reclaim(&s));	/* it ran there: never here again */
		mig_source_over(&s);
		join_source();
		ck_assert_int_eq(s.phase, MIG_UNCONFIRMED);
	}
	ck_assert_int_eq(dest_result, -ESHUTDOWN);
	ck_assert(!world->runs_here && !world->owns_here);
	finish();
}
END_TEST

/* ------------------------------------------------------------- who lies */

static void put_ram(struct stream_out *out, uint64_t offset, int page, int zero)
{
	struct state_error err = { .text = "" };
	uint8_t maps[64] = { 0 }, data[RAM_PAGE];
	struct sbuf b = { 0 };

	memset(data, 0x77, sizeof(data));
	if (page >= 0)
		maps[page / 8] |= (uint8_t)(1 << page % 8);
	if (zero >= 0)
		maps[32 + zero / 8] |= (uint8_t)(1 << zero % 8);
	sbuf_put_num(&b, offset, 8);
	sbuf_put_num(&b, page >= 0, 4);
	sbuf_put_num(&b, 0, 4);
	sbuf_put(&b, maps, sizeof(maps));
	if (page >= 0)
		sbuf_put(&b, data, sizeof(data));
	stream_put(out, SEC_RAM_DIRTY, b.data, b.len, &err);
	sbuf_free(&b);
}

static void put_missing(struct stream_out *out, uint64_t first, uint64_t word, unsigned int n, size_t cut)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };

	sbuf_put_num(&b, first, 8);
	while (n--)
		sbuf_put_num(&b, word, 8);
	stream_put(out, SEC_MISSING, b.data, b.len - cut, &err);
	sbuf_free(&b);
}

/* As a source does, up to and with the announcement of what is missing. */
static int lie_until_missing(struct stream_out *out)
{
	struct state_error err = { .text = "" };
	uint8_t post = MIG_ROUND_POSTCOPY;
	struct sbuf b = { 0 };
	int pair[2];

	begin(RAM_CHUNK + 2 * RAM_PAGE, 1);
	world->runs_here = world->owns_here = false;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	d.fd[0] = pair[1];
	stream_begin(out, pair[0], 0, &err);
	src_xml(NULL, out, &err);
	sbuf_put(&b, "0123456789abcdef", MIG_ID);
	sbuf_put_num(&b, MIG_VERSION_MORE, 4);
	sbuf_put_num(&b, 1, 4);
	sbuf_put_num(&b, MIG_POSTCOPY_MAY, 4);
	stream_put(out, SEC_MIGRATE, b.data, b.len, &err);
	src_machine(NULL, out, &err);
	b.len = 0;
	sbuf_put_num(&b, RAM_LIVE, 4);
	sbuf_put_num(&b, RAM_CHUNK, 4);
	sbuf_put_num(&b, size, 8);
	stream_put(out, SEC_RAM, b.data, b.len, &err);
	stream_put(out, SEC_ROUND, &post, 1, &err);
	sbuf_free(&b);
	return pair[0];
}

/* Maps that cannot be: refused, the guest never ran there. */
START_TEST(test_false_maps)
{
	static const struct {
		uint64_t first, word;
		unsigned int n;
		size_t cut;
	} bad[] = {
		{ 4, 4, 1, 0 },			/* page 258 of 258 */
		{ 7, 1, 1, 0 },
		{ 8, 1, 1, 0 },			/* beyond the map */
		{ 9, 0, 0, 0 },
		{ ~0ULL, 1, 1, 0 },
		{ ~0ULL - 3, 1, 8, 0 },
		{ 0, 1, 1, 1 },			/* half a word */
		{ 0, 0, 0, 3 },			/* not even a number */
		{ 0, ~0ULL, 9, 0 },
	};
	struct stream_out out;
	int fd = lie_until_missing(&out);

	put_missing(&out, 0, 3, 1, 0);
	put_missing(&out, bad[_i].first, bad[_i].word, bad[_i].n, bad[_i].cut);
	shutdown(fd, SHUT_WR);
	run_dest(NULL);
	close(fd);
	ck_assert(dest_result && !world->runs_there && !world->owns_there);
	ck_assert_msg(strstr(d.err.text, "section MISS"), "%s", d.err.text);
	finish();
}
END_TEST

static void *waiter(void *arg)
{
	while (!world->runs_there)
		nap_us(50);
	touch(9);
	return arg;
}

/* A source that lies once the guest runs: the guest waits, the destination for a true connection. */
START_TEST(test_false_source)
{
	struct state_error err = { .text = "" };
	struct stream_out out;
	uint8_t one = 1, id[MIG_ID];
	int pair[2], late[2], fd = lie_until_missing(&out);
	pthread_t g;

	put_missing(&out, 0, 1ULL << 7 | 1ULL << 9 | 1ULL << 11, 1, 0);
	put_missing(&out, 8, 0, 0, 0);
	src_tail(NULL, &out, &err);
	stream_put(&out, SEC_COMMIT, &one, 1, &err);
	pthread_create(&dest_thread, NULL, run_dest, NULL);
	pthread_create(&g, NULL, waiter, NULL);
	while (d.post.phase != MIG_POSTCOPY)
		nap_us(50);
	switch (_i) {
	case 0:		/* not missing */
		put_ram(&out, 0, 8, -1);
		break;
	case 1:		/* twice */
		put_ram(&out, 0, 9, -1);
		put_ram(&out, 0, 9, -1);
		break;
	case 2:		/* and once more, as zeroes */
		put_ram(&out, 0, 9, -1);
		put_ram(&out, 0, -1, 9);
		break;
	case 3:		/* beyond the end */
		put_ram(&out, 2 * RAM_CHUNK, 0, -1);
		break;
	case 4:
		put_ram(&out, RAM_CHUNK, 2, -1);
		break;
	case 5:		/* another section */
		stream_put(&out, SEC_COMMIT, &one, 1, &err);
		break;
	case 6:		/* rubbish */
		ck_assert_int_eq(send(fd, "rubbish rubbish rubbish rubbish", 31, MSG_NOSIGNAL), 31);
		break;
	case 7:		/* no memory for it */
		fail_place = -ENOMEM;
		put_ram(&out, 0, 9, -1);
		break;
	case 8:		/* half a section, and gone */
		ck_assert_int_eq(send(fd, "RAMD", 4, MSG_NOSIGNAL), 4);
		shutdown(fd, SHUT_WR);
		break;
	}
	while (d.post.phase != MIG_POST_PAUSED)
		nap_us(50);
	close(fd);
	mig_dest_why(&d, &err);
	ck_assert_uint_gt(strlen(err.text), 5);
	fail_place = 0;
	/* Strangers' connections. */
	memset(id, _i, sizeof(id));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(mig_dest_resume(&d, pair[1]));
	if (_i % 2) {
		stream_begin(&out, pair[0], 0, &err);
		stream_put(&out, SEC_RESUME, id, _i % 4 == 1 ? sizeof(id) : 3, &err);
	} else {
		ck_assert_int_gt(send(pair[0], "GET / HTTP/1.1\r\nHost: there\r\n\r\n0", 32, MSG_NOSIGNAL), 0);
	}
	shutdown(pair[0], SHUT_WR);
	while (recv(pair[0], &err, sizeof(err), 0) > 0)
		;
	close(pair[0]);
	ck_assert_int_eq(d.post.phase, MIG_POST_PAUSED);
	/* The true one: what it has not sent yet is missing still. */
	memset(&err, 0, sizeof(err));
	memset(&s.in, 0, sizeof(s.in));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(mig_dest_resume(&d, pair[1]));
	s.fd[0] = pair[0];
	stream_begin(&out, pair[0], 0, &err);
	stream_put(&out, SEC_RESUME, "0123456789abcdef", MIG_ID, &err);
	{
		enum mig_reply reply;

		ck_assert_int_eq(mig_read_reply(&s, &reply, &err), 0);
		ck_assert_int_eq(reply, MIG_RUNNING);
		ck_assert_int_eq(mig_map_read(&s.ram, s.ram.map, &s.in, &err), 0);
		ck_assert_uint_eq(s.ram.map[0] & ~(1ULL << 9), 1ULL << 7 | 1ULL << 11);
		ck_assert_int_eq(!(s.ram.map[0] & 1ULL << 9), _i == 1 || _i == 2);
	}
	/* And one that comes too late: it is told so by its end. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, late), 0);
	late_fd = late[1];
	for (int i = 11; i >= 7; i -= 2)
		if (s.ram.map[0] >> i & 1)
			put_ram(&out, 0, i == 11 ? -1 : i, i == 11 ? i : -1);
	pthread_join(dest_thread, NULL);
	ck_assert_msg(!dest_result, "%s", d.err.text);
	ck_assert_int_eq(late_fd, -1);
	ck_assert_int_eq(recv(late[0], &one, 1, MSG_DONTWAIT), 0);
	close(late[0]);
	ck_assert(!mig_dest_resume(&d, -1));
	touch(7);
	touch(9);
	touch(11);
	ck_assert(there[7 * RAM_PAGE] == 0x77 && there[9 * RAM_PAGE] == 0x77 && !there[11 * RAM_PAGE]);
	ck_assert(there[8 * RAM_PAGE] != 0x77);
	pthread_join(g, NULL);
	close(pair[0]);
	finish();
}
END_TEST

/* A destination that lies after it was given the guest. */
static void *false_dest(void *arg)
{
	int kind = *(int *)arg, fd = d.fd[0];
	struct state_error err = { .text = "" };
	struct stream_out *out = &d.post.out;
	uint64_t plain, len, i;
	struct sbuf b = { 0 };
	uint32_t type = 0, code;
	char sink[4096];

	stream_open(&din, fd, &err);
	stream_begin(out, fd, 0, &err);
	while (type != SEC_COMMIT) {
		if (stream_next(&din, &type, &b, &plain, &len, &err))
			return NULL;
		code = type == SEC_MACHINE ? MIG_READY : MIG_LOADED;
		b.len = b.pos = 0;
		sbuf_put_num(&b, code, 4);
		if (type == SEC_MACHINE || type == SEC_DEVICE)
			stream_put(out, SEC_REPLY, b.data, b.len, &err);
	}
	b.len = 0;
	sbuf_put_num(&b, kind == 0 ? MIG_ARRIVED : kind == 1 ? MIG_LOADED : kind == 2 ? 99 : MIG_RUNNING, 4);
	stream_put(out, SEC_REPLY, b.data, b.len, &err);
	if (kind == 3)		/* it runs; and now it does not? */
		b.data[0] = MIG_REFUSED;
	if (kind == 3 || kind == 4)
		stream_put(out, SEC_REPLY, b.data, b.len, &err);
	b.len = 0;
	sbuf_put_num(&b, kind == 5 ? NR_PAGES : kind == 6 ? ~0ULL : 5, 8);
	if (kind == 7)
		sbuf_put_num(&b, 5, 1);
	/* Without end, and nothing is read of what comes. */
	for (i = 0; i < (kind == 8 ? 50000 : 3); i++)
		if (stream_put(out, kind == 9 ? SEC_XML : SEC_WANT, b.data, b.len, &err))
			break;
	if (kind == 10)
		shutdown(fd, SHUT_WR);
	sbuf_free(&b);
	while (read(fd, sink, sizeof(sink)) > 0)
		;
	return NULL;
}

START_TEST(test_false_dest)
{
	int kind = _i, pair[2];
	struct state_error err;
	struct stream_out out;
	struct sbuf b = { 0 };

	begin(2 * RAM_CHUNK, 1);
	connect_directly();
	pthread_create(&dest_thread, NULL, false_dest, &kind);
	pthread_create(&source_thread, NULL, run_source, NULL);
	/* Who asks for ever and takes nothing is told to stop by people. */
	while (kind == 8 && s.post.nr_want < MIG_WANTS)
		nap_us(100);
	if (kind == 8)
		ck_assert(mig_source_pause(&s));
	ck_assert_msg(paused(), "%d", s.phase);
	pthread_join(dest_thread, NULL);
	close(d.fd[0]);
	mig_source_why(&s, &err);
	ck_assert_uint_gt(strlen(err.text), 10);
	ck_assert(!world->runs_here && !world->owns_here);
	/* And again, when it is to go on: a map that cannot be. */
	memset(&err, 0, sizeof(err));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(mig_source_resume(&s, pair[0]));
	stream_begin(&out, pair[1], 0, &err);
	sbuf_put_num(&b, _i % 2 ? MIG_LOADED : MIG_RUNNING, 4);
	stream_put(&out, SEC_REPLY, b.data, b.len, &err);
	put_missing(&out, 7, ~0ULL, 3, 0);
	sbuf_free(&b);
	shutdown(pair[1], SHUT_WR);
	while (recv(pair[1], &err, sizeof(err), 0) > 0)
		;
	close(pair[1]);
	ck_assert(paused());
	/* Only who was never told that it runs there may have it back. */
	world->owns_there = false;
	ck_assert_int_eq(mig_source_reclaim(&s), !s.post.confirmed);
	if (s.post.confirmed)
		mig_source_over(&s);
	join_source();
	ck_assert_int_eq(world->runs_here, !s.post.confirmed);
	ck_assert_int_eq(s.post.confirmed, _i > 2 || !(_i % 2));
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mig_post");
	TCase *tc = tcase_create("both ends");
	SRunner *sr;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, test_move, 0, 8);
	tcase_add_test(tc, test_priority);
	tcase_add_test(tc, test_not_needed);
	tcase_add_loop_test(tc, test_refusals, 0, 4);
	tcase_add_loop_test(tc, test_cut, 0, 8);
	tcase_add_loop_test(tc, test_many_cuts, 0, 6);
	tcase_add_loop_test(tc, test_ends_there, 0, 2);
	tcase_add_loop_test(tc, test_false_maps, 0, 9);
	tcase_add_loop_test(tc, test_false_source, 0, 9);
	tcase_add_loop_test(tc, test_false_dest, 0, 11);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
