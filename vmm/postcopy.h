/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory that is not there yet (post-copy), by userfaultfd: whoever touches an absent
 * page waits, and the protocol (mig.h) is told which. Faults of the kernel count as well: the
 * module's for a vCPU, vhost's, those of system calls; that takes a right, see postcopy_open().
 *
 * While memory is absent the machine's lock may be held by somebody who waits for a page, so
 * nothing here takes it: the thread that hears of faults also takes new connections, as
 * descriptors (SCM_RIGHTS) that come with a datagram to RUNTIME_DIR/migrate.sock.
 */
#ifndef HVX_VMM_POSTCOPY_H
#define HVX_VMM_POSTCOPY_H

#include <pthread.h>
#include <stdbool.h>

#include "memory.h"
#include "mig.h"

struct postcopy {
	bool open;
	int uffd;		/* -1: why_not */
	int sock, wake;
	char *path;		/* of the socket; NULL: none */
	char why_not[160];
	const struct guest_mem *mem;
	struct mig_dest *d;
	pthread_t thread;
	bool running;
};

/*
 * Before the sandbox, and before other descriptors are opened: as a process is killed, those
 * with lower numbers are closed first, and this one lets go of whoever waits for a page (a
 * vhost worker, for whose end others would wait). Partner of postcopy_close(), which
 * may be called again.
 */
void postcopy_open(struct postcopy *p, const char *runtime_dir);
void postcopy_close(struct postcopy *p);

/* A post-copy may come, no memory has: NULL, or why it cannot. */
const char *postcopy_ready(struct postcopy *p, const struct guest_mem *mem);
/* What d->post.missing has becomes absent, with all that was never written to. 0 or -EINVAL. */
int postcopy_begin(struct postcopy *p, struct mig_dest *d, struct state_error *err);
/* A page at this offset of RAM; NULL: zeroes. -EEXIST: there is one. Any thread. */
int postcopy_place(struct postcopy *p, uint64_t offset, const uint8_t *page);
/* All is there, or nobody waits any more: what is absent is zeroes. */
void postcopy_end(struct postcopy *p);

#endif
