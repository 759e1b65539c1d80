// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/mirror.c devices/storage/nbd_*.c vmm/helper.c devices/storage/disklog.c devices/storage/overlay*.c vmm/unnamed.c vmm/state.c vmm/sandbox.c vmm/log.c devices/device.c devices/storage/foreign.c devices/storage/aio.c vmm/loop.c */
/*
 * Disks that are copied while they are written to: what arrives is what is there in the
 * end, by our own server and by others'; a connection that is cut anywhere, and a peer
 * that lies, leave the disk here as it is and never a copy that passes for whole.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "devices/storage/nbd_wire.h"
#include "vmm/fileio.h"
#include "vmm/mirror.h"

#define GUARD	(256U << 10)	/* bytes behind the export in its file, which nobody may touch */

struct disk {
	char name[8], path[64];
	int fd, to;		/* here; the copy */
	uint64_t size;
	struct image img;
	struct mirror_disk *d;
};

static struct disk disk[4];
static unsigned int nr_disks;
static struct mirror m;
static struct nbd_export export[4];
static struct nbd_server server;
static int sock[4][2];
static pthread_t serving[4];
static int served[4];
static const char *served_why[4];

static void nap_us(unsigned int us)
{
	struct timespec ts = { .tv_nsec = us * 1000L };

	nanosleep(&ts, NULL);
}

static uint64_t rnd(uint64_t *x)
{
	*x = *x * 6364136223846793005ULL + 1442695040888963407ULL;
	return *x >> 20;
}

static int temp_file(void)
{
	char path[] = "/var/tmp/hvx-mirror-test.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	return fd;
}

/* Data, zeroes that are data, and holes. */
static void fill(int fd, uint64_t size, uint64_t seed)
{
	uint8_t block[4096];
	uint64_t at, x = seed, run = 0, kind = 0;

	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	for (at = 0; at < size; at += sizeof(block)) {
		size_t len = size - at < sizeof(block) ? size - at : sizeof(block);

		if (!run--) {
			run = rnd(&x) % 100;
			kind = rnd(&x) % 4;
		}
		if (kind < 2)
			continue;
		memset(block, kind == 2 ? 0 : 1 + (int)(rnd(&x) % 255), len);
		block[0] = kind == 2 ? 0 : (uint8_t)at;
		ck_assert_int_eq(pwrite(fd, block, len, (off_t)at), (ssize_t)len);
	}
}

static void pace_none(void *o, size_t bytes)
{
	(void)o;
	(void)bytes;
}

static void add_disk(uint64_t size)
{
	struct disk *k = &disk[nr_disks];

	memset(k, 0, sizeof(*k));
	snprintf(k->name, sizeof(k->name), "vd%c", 'a' + nr_disks);
	k->size = size;
	k->fd = temp_file();
	k->to = temp_file();
	fill(k->fd, size, size + nr_disks);
	/* What is there before is no zeroes. */
	fill(k->to, size + GUARD, ~size);
	k->img = (struct image){ .fd = k->fd, .fd_buffered = k->fd, .align = 1, .size = size, .raw_size = size };
	export[nr_disks] = (struct nbd_export){ .name = k->name, .fd = k->to, .size = size };
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sock[nr_disks]), 0);
	k->d = mirror_add(&m, k->name, &k->img, size, sock[nr_disks][0]);
	ck_assert_ptr_nonnull(k->d);
	nr_disks++;
}

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN);
	nr_disks = 0;
	memset(&server, 0, sizeof(server));
	mirror_init(&m);
	m.pace = pace_none;
}

static void *serve(void *arg)
{
	unsigned int i = (unsigned int)(uintptr_t)arg;

	served[i] = nbd_serve(&server, sock[i][1], &served_why[i]);
	close(sock[i][1]);
	return NULL;
}

static void start_server(void)
{
	server.export = export;
	server.nr = nr_disks;
	for (unsigned int i = 0; i < nr_disks; i++)
		ck_assert_int_eq(pthread_create(&serving[i], NULL, serve, (void *)(uintptr_t)i), 0);
}

static void join_server(void)
{
	for (unsigned int i = 0; i < nr_disks; i++)
		pthread_join(serving[i], NULL);
}

static uint8_t *contents(const struct disk *k, uint64_t size)
{
	uint8_t *all = calloc(1, size);

	if (k->img.overlay)
		ck_assert_int_eq(overlay_read(k->img.overlay, all, size, 0), 0);
	else
		ck_assert_int_eq(file_read(k->fd, all, size, 0), 0);
	return all;
}

static bool same(const struct disk *k)
{
	uint8_t *here = contents(k, k->size), *there = calloc(1, k->size);
	bool is;

	ck_assert_int_eq(file_read(k->to, there, k->size, 0), 0);
	is = !memcmp(here, there, k->size);
	free(here);
	free(there);
	return is;
}

/* Behind the export all is as it was. */
static void check_guard(const struct disk *k)
{
	uint8_t *guard = malloc(GUARD), *was = malloc(GUARD);
	int fd = temp_file();
	struct stat st;

	fill(fd, k->size + GUARD, ~k->size);
	ck_assert_int_eq(fstat(k->to, &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)(k->size + GUARD));
	ck_assert_int_eq(pread(k->to, guard, GUARD, (off_t)k->size), GUARD);
	ck_assert_int_eq(pread(fd, was, GUARD, (off_t)k->size), GUARD);
	ck_assert_mem_eq(guard, was, GUARD);
	close(fd);
	free(guard);
	free(was);
}

static void end(void)
{
	mirror_stop(&m);
	mirror_join(&m);
	mirror_free(&m);
	for (unsigned int i = 0; i < nr_disks; i++) {
		close(sock[i][0]);
		if (disk[i].img.overlay)
			overlay_free(disk[i].img.overlay);
		close(disk[i].fd);
		close(disk[i].to);
	}
}

/* ---------------------------------------------------------------------- the guest */

static _Atomic bool quit;
static _Atomic uint64_t writes;

/* Writes, zeroes and holes, of all sizes; each is marked when it is done. */
static void *guest(void *arg)
{
	struct disk *k = arg;
	uint64_t x = k->size, at, len;
	uint8_t *buf = malloc(128 << 10);

	while (!atomic_load(&quit)) {
		at = rnd(&x) % (k->size / 512) * 512;
		len = (rnd(&x) % 256 + 1) * 512;
		len = len > k->size - at ? k->size - at : len;
		memset(buf, (int)(rnd(&x) % 3 ? rnd(&x) : 0), len);
		if (k->img.overlay) {
			struct overlay_claim *claim;

			ck_assert_int_eq(overlay_begin(k->img.overlay, at, len, true, &claim), 0);
			ck_assert_int_eq(pwrite_full(k->img.overlay->fd, buf, len, at + k->img.overlay->data), 0);
			overlay_end(k->img.overlay, claim, true);
		} else if (rnd(&x) % 4) {
			ck_assert_int_eq(pwrite_full(k->fd, buf, len, at), 0);
		} else {
			ck_assert_int_eq(fallocate(k->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len), 0);
		}
		disk_log_mark(k->d->log, at, len);
		atomic_fetch_add(&writes, 1);
		nap_us(200);
	}
	free(buf);
	return NULL;
}

/* Copied under a guest that writes; then it stands still. */
static void copy_all(void)
{
	struct state_error err = { .text = "" };
	pthread_t t[4];
	uint64_t ns, mark;
	unsigned int i;

	atomic_store(&quit, false);
	for (i = 0; i < nr_disks; i++)
		pthread_create(&t[i], NULL, guest, &disk[i]);
	ck_assert_msg(!mirror_copy(&m, &err), "%s", err.text);
	ck_assert_int_eq(mirror_left(&m, &ns, &err), 0);
	/* It goes on writing when all is copied. */
	for (mark = writes; writes < mark + 200;)
		nap_us(1000);
	atomic_store(&quit, true);
	for (i = 0; i < nr_disks; i++)
		pthread_join(t[i], NULL);
	ck_assert_msg(!mirror_end(&m, &err), "%s", err.text);
}

START_TEST(test_copy)
{
	begin();
	add_disk(64 << 20);
	if (_i) {
		add_disk((7 << 20) + 512);
		add_disk(512);
		add_disk(3 * 65536 + 1536);
	}
	start_server();
	copy_all();
	join_server();
	for (unsigned int i = 0; i < nr_disks; i++) {
		uint64_t total, left, wire;

		ck_assert_msg(!served[i], "%s", served_why[i]);
		ck_assert(export[i].complete);
		ck_assert_msg(same(&disk[i]), "disk %u", i);
		check_guard(&disk[i]);
		mirror_figures(disk[i].d, &total, &left, &wire);
		ck_assert_uint_eq(total, disk[i].size);
		ck_assert_uint_eq(left, 0);
		ck_assert_uint_gt(wire, 28);
	}
	end();
}
END_TEST

/* A disk of a layer over a raw image becomes one raw image. */
START_TEST(test_layers)
{
	struct overlay *o;

	begin();
	add_disk(16 << 20);
	o = overlay_new("/var/tmp", disk[0].fd, disk[0].size);
	ck_assert_ptr_nonnull(o);
	disk[0].img.overlay = o;
	start_server();
	copy_all();
	join_server();
	ck_assert(export[0].complete);
	ck_assert(same(&disk[0]));
	end();
}
END_TEST

/* A terabyte of nothing takes no time, and no room. */
START_TEST(test_holes)
{
	struct state_error err = { .text = "" };
	struct stat st;

	begin();
	add_disk(1 << 20);
	disk[0].size = export[0].size = disk[0].img.size = 1ULL << 40;
	ck_assert_int_eq(ftruncate(disk[0].fd, 1LL << 40), 0);
	ck_assert_int_eq(ftruncate(disk[0].to, 0), 0);
	ck_assert_int_eq(ftruncate(disk[0].to, 1LL << 40), 0);
	disk_log_free(disk[0].d->log);
	disk[0].d->log = disk_log_new(1ULL << 40);
	ck_assert_int_eq(pwrite(disk[0].fd, "end", 3, (1LL << 40) - 3), 3);
	start_server();
	ck_assert_msg(!mirror_copy(&m, &err), "%s", err.text);
	ck_assert_msg(!mirror_end(&m, &err), "%s", err.text);
	join_server();
	ck_assert(export[0].complete);
	ck_assert_int_eq(fstat(disk[0].to, &st), 0);
	ck_assert_uint_lt((uint64_t)st.st_blocks * 512, 4 << 20);
	disk[0].size = 1 << 20;
	ck_assert(same(&disk[0]));
	end();
}
END_TEST

/* ------------------------------------------------------------------------- failures */

/* The copy has no room, is of another size, is not known, or belongs to somebody else. */
START_TEST(test_refusals)
{
	static const char *const why[] = { "no space is left there", "bytes here and", "does not know this disk", "somebody writes" };
	struct state_error err = { .text = "" };
	int full = open("/dev/full", O_RDWR), ret;

	begin();
	add_disk(4 << 20);
	if (_i == 0)
		export[0].fd = full;
	if (_i == 1)
		export[0].size += 512;
	if (_i == 2)
		export[0].name = "vdx";
	if (_i == 3)
		export[0].taken = true;
	start_server();
	ret = mirror_copy(&m, &err);
	ck_assert_int_lt(ret, 0);
	ck_assert_msg(strstr(err.text, why[_i]), "%s", err.text);
	mirror_stop(&m);
	join_server();
	ck_assert(!export[0].complete);
	close(full);
	end();
}
END_TEST

/* Given up at any time: all threads end. */
START_TEST(test_stop)
{
	struct state_error err = { .text = "" };
	int ret;

	begin();
	add_disk(32 << 20);
	start_server();
	if (_i == 0)
		mirror_stop(&m);
	ret = mirror_copy(&m, &err);
	ck_assert(_i != 0 || ret);
	mirror_stop(&m);
	ck_assert_int_lt(mirror_end(&m, &err), 0);
	join_server();
	ck_assert(!export[0].complete);
	end();
}
END_TEST

/* Given up where all is copied, nothing is written, and the end was not asked for. */
START_TEST(test_stop_idle)
{
	struct state_error err = { .text = "" };

	begin();
	add_disk(4 << 20);
	start_server();
	ck_assert_int_eq(mirror_copy(&m, &err), 0);
	mirror_stop(&m);
	mirror_join(&m);
	join_server();
	ck_assert_int_eq(disk_log_count(m.disk[0].log), 0);
	ck_assert(!export[0].complete);
	end();
}
END_TEST

struct cut {
	int a, b;		/* the client's side; the server's */
	long forward, back;	/* bytes after which the connection is gone; -1: never */
	long went, came;
};

static bool pass_on(int from, int to, long *left, long *count)
{
	char buf[65536];
	size_t room = *left < 0 || *left > (long)sizeof(buf) ? sizeof(buf) : (size_t)*left;
	ssize_t n = room ? recv(from, buf, room, MSG_DONTWAIT) : 0;

	if (n < 0)
		return errno == EAGAIN;
	if (!n || send(to, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return false;
	*count += n;
	*left -= *left > 0 ? n : 0;
	return true;
}

static void *proxy(void *arg)
{
	struct cut *c = arg;
	struct pollfd p[2] = { { .fd = c->a, .events = POLLIN }, { .fd = c->b, .events = POLLIN } };
	bool ok = true;

	while (ok && poll(p, 2, 20000) > 0) {
		if (p[0].revents)
			ok = pass_on(c->a, c->b, &c->forward, &c->went);
		if (p[1].revents && ok)
			ok = pass_on(c->b, c->a, &c->back, &c->came);
	}
	close(c->a);
	close(c->b);
	return NULL;
}

static void with_cut(long forward, long back, struct cut *c)
{
	struct state_error err = { .text = "" };
	uint8_t *before, *after;
	int pair[2], ret;
	pthread_t t;

	begin();
	add_disk(4 * 65536 + 512);
	before = contents(&disk[0], disk[0].size);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	*c = (struct cut){ .a = sock[0][1], .b = pair[0], .forward = forward, .back = back };
	sock[0][1] = pair[1];
	start_server();
	pthread_create(&t, NULL, proxy, c);
	ret = mirror_copy(&m, &err) ?: mirror_end(&m, &err);
	/* Whatever happened. */
	after = contents(&disk[0], disk[0].size);
	ck_assert_mem_eq(before, after, disk[0].size);
	if (ret)
		ck_assert_uint_gt(strlen(err.text), 10);
	mirror_stop(&m);
	join_server();
	pthread_join(t, NULL);
	if (export[0].complete)
		ck_assert(same(&disk[0]));
	if (forward >= 0 || back >= 0)
		ck_assert_msg(ret || !export[0].complete || same(&disk[0]), "cut at %ld %ld", forward, back);
	check_guard(&disk[0]);
	free(before);
	free(after);
}

START_TEST(test_cut)
{
	struct cut c;
	long all, answers, at, step;

	with_cut(-1, -1, &c);
	ck_assert(export[0].complete && same(&disk[0]));
	end();
	all = c.went;
	answers = c.came;
	/* Each byte of what is no data, and some of what is. */
	for (at = _i; at < all; at += step) {
		step = at < 400 || all - at < 200 ? 8 : 4099;
		with_cut(at, -1, &c);
		ck_assert_msg(!export[0].complete, "%ld of %ld", at, all);
		end();
	}
	/* An answer that is missing is no answer. */
	for (at = _i; at < answers; at += 8) {
		with_cut(-1, at, &c);
		ck_assert_msg(!export[0].complete, "answers: %ld of %ld", at, answers);
		end();
	}
}
END_TEST

/* ------------------------------------------------------------------------ liars */

static void *copy_in_background(void *arg)
{
	if (!mirror_copy(&m, arg))
		mirror_end(&m, arg);
	return NULL;
}

/* What a client sends, recorded. */
static uint8_t *record(size_t *len)
{
	struct state_error err = { .text = "" };
	uint8_t *all = malloc(1 << 20), buf[4096];
	struct pollfd p[2];
	struct cut c;
	int pair[2];
	pthread_t t;

	begin();
	add_disk(2 * 65536);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	c = (struct cut){ .a = sock[0][1], .b = pair[0] };
	p[0] = (struct pollfd){ .fd = c.a, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = c.b, .events = POLLIN };
	sock[0][1] = pair[1];
	start_server();
	*len = 0;
	mirror_hurry(&m);
	pthread_create(&t, NULL, copy_in_background, &err);
	for (;;) {
		ssize_t n;

		ck_assert_int_gt(poll(p, 2, 20000), 0);
		if (p[0].revents) {
			n = recv(c.a, all + *len, (1 << 20) - *len, MSG_DONTWAIT);
			if (n <= 0)
				break;
			ck_assert_int_eq(send(c.b, all + *len, (size_t)n, MSG_NOSIGNAL), n);
			*len += (size_t)n;
		}
		if (p[1].revents) {
			n = recv(c.b, buf, sizeof(buf), MSG_DONTWAIT);
			if (n <= 0)
				break;	/* it has taken leave */
			ck_assert_int_eq(send(c.a, buf, (size_t)n, MSG_NOSIGNAL), n);
		}
	}
	pthread_join(t, NULL);
	close(c.a);
	close(c.b);
	join_server();
	ck_assert(export[0].complete);
	end();
	return all;
}

struct feed {
	int fd;
	const uint8_t *data;
	size_t len;
};

static void *feed(void *arg)
{
	struct feed *f = arg;
	size_t at = 0;

	while (at < f->len) {
		ssize_t n = send(f->fd, f->data + at, f->len - at, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	shutdown(f->fd, SHUT_WR);
	return NULL;
}

static void *drain(void *arg)
{
	char sink[4096];

	while (recv(*(int *)arg, sink, sizeof(sink), 0) > 0)
		;
	return NULL;
}

/* The server on these bytes. */
static void serve_bytes(const uint8_t *data, size_t len)
{
	struct feed f = { .data = data, .len = len };
	pthread_t t, reader;

	begin();
	add_disk(2 * 65536);
	f.fd = sock[0][0];
	start_server();
	pthread_create(&t, NULL, feed, &f);
	pthread_create(&reader, NULL, drain, &f.fd);
	join_server();
	pthread_join(t, NULL);
	pthread_join(reader, NULL);
	check_guard(&disk[0]);
	end();
}

/* Each bit of a true session that is no data, changed; and truncated, and twice as long. */
START_TEST(test_flips)
{
	uint8_t *all, *twice;
	size_t len, at;

	all = record(&len);
	twice = malloc(2 * len);
	for (at = (size_t)_i; at < len; at += at < 300 || len - at < 300 ? 8 : 1999) {
		all[at] ^= (uint8_t)(1 << at / 8 % 8);
		serve_bytes(all, len);
		all[at] ^= (uint8_t)(1 << at / 8 % 8);
		all[at] = (uint8_t)~all[at];
		serve_bytes(all, len);
		all[at] = (uint8_t)~all[at];
		serve_bytes(all, at);
		ck_assert(!export[0].complete);
	}
	memcpy(twice, all, len);
	memcpy(twice + len, all, len);
	serve_bytes(twice, 2 * len);
	free(twice);
	free(all);
}
END_TEST

/* Requests by hand. */
static int knock(const char *name, struct nbd_client *c)
{
	begin();
	add_disk(2 * 65536);
	start_server();
	return nbd_open(c, sock[0][0], name);
}

static uint32_t ask(struct nbd_client *c, unsigned int flags, unsigned int type, uint64_t offset, uint32_t len, uint32_t data)
{
	uint8_t head[NBD_REQUEST_LEN], reply[NBD_REPLY_LEN], *at = head, *bytes = calloc(1, data + 1);

	at = put_be(at, NBD_REQUEST_MAGIC, 4);
	at = put_be(at, flags, 2);
	at = put_be(at, type, 2);
	at = put_be(at, 0x1122334455667788, 8);
	at = put_be(at, offset, 8);
	put_be(at, len, 4);
	ck_assert_int_eq(sock_put(c->sock, head, sizeof(head), false), 0);
	sock_put(c->sock, bytes, data, false);
	free(bytes);
	if (sock_get(c->sock, reply, sizeof(reply)))
		return UINT32_MAX;
	ck_assert_uint_eq(get_be(reply, 4), NBD_SIMPLE_REPLY_MAGIC);
	ck_assert_uint_eq(get_be(reply + 8, 8), 0x1122334455667788);
	return (uint32_t)get_be(reply + 4, 4);
}

START_TEST(test_requests)
{
	const uint64_t size = 2 * 65536;
	struct nbd_client c;

	ck_assert_int_eq(knock("vda", &c), 0);
	ck_assert_uint_eq(c.size, size);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE, size - 512, 512, 512), 0);
	ck_assert_uint_eq(ask(&c, NBD_CMD_FLAG_FUA, NBD_CMD_WRITE, 1, 3, 3), 0);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE, size - 511, 512, 512), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE, size, 1, 1), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE, UINT64_MAX - 511, 512, 512), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE, 0, 300000, 300000), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, 8, NBD_CMD_WRITE, 0, 512, 512), NBD_EINVAL);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE_ZEROES, 0, UINT32_MAX, 0), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE_ZEROES, size - 1, 2, 0), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, NBD_CMD_FLAG_NO_HOLE, NBD_CMD_WRITE_ZEROES, 0, (uint32_t)size, 0), 0);
	ck_assert_uint_eq(ask(&c, NBD_CMD_FLAG_NO_HOLE, NBD_CMD_TRIM, 0, 512, 0), NBD_EINVAL);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_TRIM, 512, (uint32_t)size - 512, 0), 0);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_TRIM, 512, (uint32_t)size, 0), NBD_ENOSPC);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_READ, 0, 512, 0), NBD_EPERM);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_CACHE, 0, 512, 0), NBD_EINVAL);
	ck_assert_uint_eq(ask(&c, 0, 7, 0, 512, 0), NBD_EINVAL);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_FLUSH, 1, 0, 0), NBD_EINVAL);
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_FLUSH, 0, 0, 0), 0);
	/* More than a write can have: no more is said. */
	ck_assert_uint_eq(ask(&c, 0, NBD_CMD_WRITE, 0, NBD_MAX_DATA + 1, 0), UINT32_MAX);
	join_server();
	ck_assert_int_eq(served[0], -EPROTO);
	ck_assert(!export[0].complete);
	check_guard(&disk[0]);
	end();
	ck_assert_int_lt(knock("vdb", &c), 0);
	mirror_stop(&m);
	join_server();
	end();
}
END_TEST

/* A client that leaves before what it wrote is safe has not finished. */
START_TEST(test_leave)
{
	static const uint8_t data[512];
	struct nbd_client c;

	ck_assert_int_eq(knock("vda", &c), 0);
	ck_assert_int_eq(nbd_flush(&c), 0);
	ck_assert_int_eq(nbd_write(&c, 0, data, sizeof(data)), 0);
	if (_i)
		ck_assert_int_eq(nbd_flush(&c), 0);
	ck_assert_int_eq(nbd_leave(&c), 0);
	join_server();
	ck_assert_int_eq(export[0].complete, _i);
	end();
}
END_TEST

/* A server that says what it likes. */
struct liar {
	int fd;
	int kind;
};

static void *lie(void *arg)
{
	struct liar *l = arg;
	uint8_t buf[4096] = { 0 }, *at = buf;

	if (l->kind > 0) {
		at = put_be(at, NBD_MAGIC, 8);
		at = put_be(at, NBD_OPT_MAGIC, 8);
		at = put_be(at, l->kind == 1 ? 0 : 3, 2);
	} else {
		at += 18;
	}
	if (l->kind == 2)	/* an answer of 4 GiB */
		at = put_be(put_be(put_be(put_be(at, NBD_REP_MAGIC, 8), NBD_OPT_GO, 4), NBD_REP_INFO, 4), UINT32_MAX, 4);
	if (l->kind == 3)	/* answers without end */
		for (int i = 0; i < 150; i++)
			at = put_be(put_be(put_be(put_be(at, NBD_REP_MAGIC, 8), NBD_OPT_GO, 4), NBD_REP_INFO, 4), 0, 4);
	if (l->kind >= 4) {	/* it begins, with flags and answers of its own */
		at = put_be(put_be(put_be(put_be(at, NBD_REP_MAGIC, 8), NBD_OPT_GO, 4), NBD_REP_INFO, 4), 12, 4);
		at = put_be(put_be(put_be(at, 0, 2), 2 * 65536, 8), l->kind == 4 ? 1 : l->kind == 5 ? 7 : 5, 2);
		at = put_be(put_be(put_be(put_be(at, NBD_REP_MAGIC, 8), NBD_OPT_GO, 4), NBD_REP_ACK, 4), 0, 4);
	}
	if (l->kind >= 6)
		at = put_be(put_be(put_be(at, l->kind == 6 ? 1 : NBD_SIMPLE_REPLY_MAGIC, 4), 0, 4), l->kind == 7 ? 77777 : l->kind == 8 ? 0 : 1, 8);
	if (l->kind == 9)	/* the same answer twice */
		at = put_be(put_be(put_be(at, NBD_SIMPLE_REPLY_MAGIC, 4), 0, 4), 1, 8);
	sock_put(l->fd, buf, (size_t)(at - buf), false);
	shutdown(l->fd, SHUT_WR);
	drain(&l->fd);
	return NULL;
}

START_TEST(test_false_server)
{
	struct state_error err = { .text = "" };
	struct liar l = { .kind = _i };
	pthread_t t;

	begin();
	add_disk(2 * 65536);
	l.fd = sock[0][1];
	pthread_create(&t, NULL, lie, &l);
	ck_assert_int_lt(mirror_copy(&m, &err), 0);
	ck_assert_uint_gt(strlen(err.text), 10);
	mirror_stop(&m);
	pthread_join(t, NULL);
	close(l.fd);
	end();
}
END_TEST

/* ------------------------------------------------------------- other people's NBD */

static bool there(const char *program)
{
	char path[64];

	snprintf(path, sizeof(path), "/usr/bin/%s", program);
	return !access(path, X_OK);
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		nap_us(10000);
	return fd;
}

/* Our client, qemu-nbd's server. */
START_TEST(test_their_server)
{
	char dir[] = "/tmp/hvx-mirror.XXXXXX", image[64], where[64];
	struct state_error err = { .text = "" };
	pid_t pid;

	if (!there("qemu-nbd"))
		return;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(where, sizeof(where), "%s/sock", dir);
	begin();
	add_disk(8 << 20);
	close(disk[0].to);
	disk[0].to = open(image, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(ftruncate(disk[0].to, 8 << 20), 0);
	pid = fork();
	if (!pid) {
		execl("/usr/bin/qemu-nbd", "qemu-nbd", "-f", "raw", "-x", "vda", "-k", where, image, NULL);
		_exit(1);
	}
	close(sock[0][0]);
	close(sock[0][1]);
	sock[0][0] = disk[0].d->sock = connect_to(where);
	copy_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert(same(&disk[0]));
	ck_assert_msg(!mirror_end(&m, &err), "%s", err.text);
	end();
	unlink(image);
	unlink(where);
	rmdir(dir);
}
END_TEST

/* qemu-io's client, our server. */
START_TEST(test_their_client)
{
	char dir[] = "/tmp/hvx-mirror.XXXXXX", cmd[512];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	uint8_t want[65536], got[65536];
	int listener, status;
	pid_t pid;

	if (!there("qemu-io"))
		return;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	begin();
	add_disk(2 << 20);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sock", dir);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	snprintf(cmd, sizeof(cmd),
		 "exec timeout 60 qemu-io -f raw -c 'write -P 0x41 64k 64k' -c 'write -z 128k 64k' -c 'discard 192k 64k' -c flush 'nbd+unix:///vda?socket=%s' > /dev/null",
		 sa.sun_path);
	pid = fork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", cmd, NULL);
		_exit(127);
	}
	close(sock[0][1]);
	sock[0][1] = accept(listener, NULL, NULL);
	start_server();
	join_server();
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_msg(!served[0], "%s", served_why[0]);
	ck_assert(export[0].complete);
	memset(want, 0x41, sizeof(want));
	ck_assert_int_eq(pread(disk[0].to, got, sizeof(got), 65536), sizeof(got));
	ck_assert_mem_eq(got, want, sizeof(got));
	memset(want, 0, sizeof(want));
	for (off_t at = 128 << 10; at < 256 << 10; at += 64 << 10) {
		ck_assert_int_eq(pread(disk[0].to, got, sizeof(got), at), sizeof(got));
		ck_assert_mem_eq(got, want, sizeof(got));
	}
	check_guard(&disk[0]);
	end();
	close(listener);
	unlink(sa.sun_path);
	rmdir(dir);
}
END_TEST

/* -------------------------------------------------------------------------- the log */

START_TEST(test_log)
{
	struct disk_log *l = disk_log_new(100 * DISK_LOG_BLOCK + 1);
	uint64_t block = 0;

	ck_assert_uint_eq(disk_log_count(l), 101);
	ck_assert_uint_eq(disk_log_take(l, 0, 1000), 101);
	ck_assert_uint_eq(disk_log_count(l), 0);
	ck_assert(!disk_log_next(l, &block));
	disk_log_mark(l, DISK_LOG_BLOCK - 1, 2);
	disk_log_mark(l, 0, 1);
	disk_log_mark(l, 100 * DISK_LOG_BLOCK, 1ULL << 40);
	ck_assert_uint_eq(disk_log_count(l), 3);
	ck_assert(disk_log_next(l, &block));
	ck_assert_uint_eq(block, 0);
	ck_assert_uint_eq(disk_log_take(l, 0, 1), 1);
	ck_assert_uint_eq(disk_log_take(l, 0, 1), 0);
	ck_assert(disk_log_next(l, &block));
	ck_assert_uint_eq(block, 1);
	block = 2;
	ck_assert(disk_log_next(l, &block));
	ck_assert_uint_eq(block, 100);
	block = 101;
	ck_assert(!disk_log_next(l, &block));
	disk_log_free(l);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mirror");
	TCase *tc = tcase_create("mirror");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_log);
	tcase_add_loop_test(tc, test_copy, 0, 2);
	tcase_add_test(tc, test_layers);
	tcase_add_test(tc, test_holes);
	tcase_add_loop_test(tc, test_refusals, 0, 4);
	tcase_add_loop_test(tc, test_stop, 0, 2);
	tcase_add_test(tc, test_stop_idle);
	tcase_add_loop_test(tc, test_cut, 0, 8);
	tcase_add_loop_test(tc, test_flips, 0, 8);
	tcase_add_test(tc, test_requests);
	tcase_add_loop_test(tc, test_leave, 0, 2);
	tcase_add_loop_test(tc, test_false_server, 0, 10);
	tcase_add_test(tc, test_their_server);
	tcase_add_test(tc, test_their_client);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
