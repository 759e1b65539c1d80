// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/mig_*.c vmm/stream.c vmm/state.c devices/device.c vmm/sandbox.c vmm/log.c */
/*
 * libFuzzer: live migration. The first byte says what the others are: a source's bytes,
 * a source's sections behind right checksums, a chunk of memory, a destination's answers.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/mig.h"

#define RAM	(RAM_CHUNK + 3 * RAM_PAGE)

static bool runs;

static int want(struct stream_in *in, uint32_t type, struct state_error *err)
{
	uint64_t plain, len;
	struct sbuf b = { 0 };
	uint32_t got;
	int ret = stream_next(in, &got, &b, &plain, &len, err);

	sbuf_free(&b);
	return ret ?: got != type ? state_error(err, "another section") : 0;
}

static int dst_machine(void *o, struct stream_in *in, struct state_error *err)
{
	(void)o;
	return want(in, SEC_MACHINE, err);
}

static int dst_tail(void *o, struct stream_in *in, struct state_error *err)
{
	(void)o;
	return want(in, SEC_DEVICE, err);
}

static int dst_commit(void *o, bool run, struct state_error *err)
{
	(void)o;
	(void)err;
	(void)run;
	runs = true;
	return 0;
}

/* Its words are waiting; it listens to nothing. */
static void receive(int fd)
{
	static const struct mig_dest_ops ops = { dst_machine, dst_tail, dst_commit };
	struct state_error err = { .text = "" };
	struct stream_in in = { 0 };
	struct mig_dest d = { .ops = &ops, .in = &in, .nr_streams = 1 };
	uint8_t *ram = calloc(1, RAM);

	d.fd[0] = fd;
	runs = false;
	if (!ram || mig_ram_init(&d.ram, ram, RAM, 1))
		abort();
	if (!stream_open(&in, fd, &err) && !want(&in, SEC_XML, &err) && !mig_dest_run(&d) != runs)
		abort();
	mig_ram_free(&d.ram);
	free(ram);
}

static void pair_with(int pair[2], const uint8_t *data, size_t len)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		abort();
	if (send(pair[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && len)
		len = 0;
	shutdown(pair[0], SHUT_WR);
}

/* type, two bytes of length, payload; again and again. */
static void sections(const uint8_t *data, size_t len)
{
	static const uint32_t type[] = {
		SEC_XML, SEC_MIGRATE, SEC_MACHINE, SEC_RAM, SEC_RAM_DIRTY, SEC_ROUND, SEC_DEVICE, SEC_COMMIT,
		SEC_END, SEC_PAD, SEC_RAM_PLAIN, SEC_STREAM,
	};
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	struct stream_out out;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		abort();
	stream_begin(&out, pair[0], 0, &err);
	out.to = &b;
	while (len >= 3) {
		size_t n = data[1] | (size_t)data[2] << 8;

		n = n > len - 3 ? len - 3 : n;
		stream_put(&out, type[data[0] % (sizeof(type) / sizeof(type[0]))], data + 3, n, &err);
		data += 3 + n;
		len -= 3 + n;
	}
	if (!b.failed && b.len && send(pair[0], b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		b.len = 0;
	shutdown(pair[0], SHUT_WR);
	receive(pair[1]);
	close(pair[0]);
	close(pair[1]);
	sbuf_free(&b);
}

static void chunk(const uint8_t *data, size_t len)
{
	struct sbuf b = { .data = (uint8_t *)(uintptr_t)data, .len = len };
	struct state_error err = { .text = "" };
	struct mig_scratch *s = mig_scratch_new();
	uint8_t *ram = malloc(RAM);
	struct mig_ram r;

	if (!s || !ram || mig_ram_init(&r, ram, RAM, 1))
		abort();
	if (mig_ram_place(&r, s, &b, 0, &err) && !err.text[0])
		abort();
	mig_ram_free(&r);
	mig_scratch_free(s);
	free(ram);
}

/* ---------------------------------------------------------------- a source */

static int put(void *o, struct stream_out *out, struct state_error *err)
{
	(void)o;
	return stream_put(out, SEC_DEVICE, "x", 1, err);
}

static int pages(void *o, uint64_t *map, struct state_error *err)
{
	(void)o;
	(void)err;
	map[0] |= 1;
	return 0;
}

static int stop(void *o, bool *ran, struct state_error *err)
{
	(void)o;
	(void)err;
	*ran = true;
	return 0;
}

static int own(void *o, struct state_error *err)
{
	(void)o;
	(void)err;
	return 0;
}

static int throttle(void *o, unsigned int percent)
{
	(void)o;
	(void)percent;
	return 0;
}

static void phase(void *o, enum mig_phase p)
{
	(void)o;
	(void)p;
}

static void pass(void *o, unsigned int round)
{
	(void)o;
	(void)round;
}

static void answers(const uint8_t *data, size_t len)
{
	static const struct mig_source_ops ops = {
		.xml = put, .machine = put, .first = pages, .sync = pages, .throttle = throttle,
		.phase = phase, .pass = pass, .stop = stop, .tail = put, .release = own, .take_back = own,
	};
	struct mig_source s = { .ops = &ops, .nr_streams = 1 };
	uint8_t *ram = calloc(1, RAM);
	int pair[2];

	pair_with(pair, data, len);
	s.fd[0] = pair[1];
	s.downtime_ns = 1000000000;
	pthread_mutex_init(&s.lock, NULL);
	if (!ram || mig_ram_init(&s.ram, ram, RAM, 1))
		abort();
	mig_source_run(&s);
	for (const char *c = s.err.text; *c; c++)
		if (*c < ' ')
			abort();
	mig_ram_free(&s.ram);
	close(pair[0]);
	close(pair[1]);
	free(ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	if (!len)
		return 0;
	switch (data[0] % 4) {
	case 0:
		pair_with(pair, data + 1, len - 1);
		receive(pair[1]);
		close(pair[0]);
		close(pair[1]);
		break;
	case 1:
		sections(data + 1, len - 1);
		break;
	case 2:
		chunk(data + 1, len - 1);
		break;
	case 3:
		answers(data + 1, len - 1);
		break;
	}
	return 0;
}
