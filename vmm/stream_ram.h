/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest RAM in a stream, by as many threads as the caller has. RAM is one range of
 * ram_size bytes, as in its memfd; pages that are all zeroes take no room.
 *
 * Compressed: chunks of 1 MiB, each a section of its own, in any order. Plain: the
 * whole range page by page at a page-aligned offset of the file, with holes, so that
 * it can be mapped; its checksums stand behind it.
 */
#ifndef HVX_VMM_STREAM_RAM_H
#define HVX_VMM_STREAM_RAM_H

#include <pthread.h>
#include <stdatomic.h>
#include "stream.h"

#define RAM_CHUNK	(1U << 20)
#define RAM_PAGE	4096U
#define RAM_CHUNK_PAGES	(RAM_CHUNK / RAM_PAGE)

/* RAM_SHARED: not in the stream; whoever reads it gets the memory beside it. */
enum ram_form { RAM_ZSTD, RAM_PLAIN, RAM_SHARED, RAM_NR };

/* One saving or loading. Zeroed by ram_job_init(); counters may be read by any thread. */
struct ram_job {
	uint8_t *base;
	uint64_t size;
	int fd;				/* its memfd, to pass over holes; -1: none, or see pagemap */
	/* Memory that is a private copy: of this file from this offset on, and what it has of its own. -1: not known. */
	int source, pagemap;
	uint64_t source_offset;
	enum ram_form form;
	int level;			/* zstd's */
	struct stream_out *out;
	struct stream_in *in;
	uint64_t plain;			/* offset of RAM_PLAIN in the file */
	uint64_t nr_chunks;
	uint32_t *sums;			/* of RAM_PLAIN, one a chunk */
	uint8_t *seen;			/* chunks loaded, one byte each */
	pthread_mutex_t lock;		/* the stream, err */
	struct state_error err;		/* the first one */
	_Atomic int failed;		/* 0 or -errno */
	_Atomic bool stop;		/* give up soon */
	_Atomic uint64_t next;		/* chunk to take */
	_Atomic uint64_t done;		/* bytes of RAM finished */
	_Atomic uint64_t zero;		/* of them, zeroes */
	_Atomic uint64_t written;	/* bytes that went into the stream */
};

int ram_job_init(struct ram_job *j, uint8_t *base, uint64_t size, int fd);	/* 0 or -ENOMEM */
void ram_job_free(struct ram_job *j);

/*
 * Takes pages that nothing was ever written to out of map, one bit a page: they are zeroes, and
 * reading them would make them take room. Of j it needs base, size, fd, source, source_offset and
 * pagemap. Returns their number.
 */
uint64_t ram_drop_untouched(const struct ram_job *j, uint64_t *map);

/* --- saving --- */
/* Writes the section RAM, and makes room for RAM_PLAIN. 0 or -errno, *err. */
int ram_save_begin(struct ram_job *j, struct stream_out *out, enum ram_form form,
		   struct state_error *err);
void ram_save_work(void *job);		/* on each of the threads; returns when all is taken */
int ram_save_end(struct ram_job *j, struct state_error *err);	/* after all have returned */

/* --- loading: after the section RAM was read into b --- */
int ram_load_begin(struct ram_job *j, struct stream_in *in, struct sbuf *b, struct state_error *err);
void ram_load_work(void *job);
int ram_load_end(struct ram_job *j, struct state_error *err);
/* Instead of work and end, where the memory is mapped: pass over what the stream has of it. */
int ram_load_mapped(struct ram_job *j, struct state_error *err);

#endif
