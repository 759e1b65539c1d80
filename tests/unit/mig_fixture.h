/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of both kinds of live migration share: both ends in one process, and sections of text. */
#ifndef MIG_FIXTURE_H
#define MIG_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "vmm/mig.h"

static struct mig_source s;
static struct mig_dest d;
static struct stream_in din;
static pthread_t source_thread, dest_thread;

static void nap_us(unsigned int us)
{
	struct timespec ts = { .tv_nsec = us * 1000L };

	nanosleep(&ts, NULL);
}

static int section(struct stream_out *out, uint32_t type, const char *text, struct state_error *err)
{
	return stream_put(out, type, text, strlen(text), err);
}

static int want(struct stream_in *in, uint32_t type, const char *text, struct state_error *err)
{
	uint64_t plain, len;
	struct sbuf b = { 0 };
	uint32_t got;
	int ret = stream_next(in, &got, &b, &plain, &len, err);

	if (!ret && (got != type || b.len != strlen(text) || memcmp(b.data, text, b.len)))
		ret = state_error(err, "not what was expected");
	sbuf_free(&b);
	return ret;
}

/* At first it is all of memory. */
static void every_page(uint64_t *map, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		map[i / 64] |= 1ULL << i % 64;
}

/* What the source says of its machine. */
static int src_xml(void *o, struct stream_out *out, struct state_error *err)
{
	(void)o;
	return section(out, SEC_XML, "<domain/>", err);
}

static int src_machine(void *o, struct stream_out *out, struct state_error *err)
{
	(void)o;
	return section(out, SEC_MACHINE, "a machine", err);
}

/* Each of the source's connections ends at the destination. */
static void connect_directly(void)
{
	for (unsigned int i = 0; i < s.nr_streams; i++) {
		int pair[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		s.fd[i] = pair[0];
		d.fd[i] = pair[1];
	}
}

#endif
