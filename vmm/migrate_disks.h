/* SPDX-License-Identifier: GPL-2.0-only */
/* Disks that go with their guest: a machine's part of it, at both ends (docs/migration.md). */
#ifndef HVX_VMM_MIGRATE_DISKS_H
#define HVX_VMM_MIGRATE_DISKS_H

#include <json-c/json.h>
#include "machine.h"
#include "mirror.h"

/* ------------------------------------------------- the source: migrate_disks.c */

/* What query-migrate says of them: after the end, too. */
struct disk_figures {
	char name[NBD_MAX_NAME];
	uint64_t total, left, wire;
	bool copied;
};

struct migrate_disks {
	struct mirror mirror;		/* between add and end */
	bool on;
	struct disk_figures figures[MIRROR_MAX];
	unsigned int nr;
	bool running;			/* for query-block-jobs */
};

/*
 * This disk goes along over the socket, which is taken whatever comes. The first call of a
 * migration forgets the last one's. Machine lock held. 0, or -EINVAL with *err.
 */
int migrate_disks_add(struct machine *m, struct migrate_disks *d, const char *device, int sock, struct state_error *err);
/* Before the first migrate_disks_add(), also where there will be none. */
void migrate_disks_reset(struct migrate_disks *d, void (*pace)(void *opaque, size_t bytes), void *opaque);
/* The migration has ended: threads, logs and sockets go. Machine lock not held. */
void migrate_disks_end(struct machine *m, struct migrate_disks *d);
/* The same where it has not begun. Machine lock held. */
void migrate_disks_drop(struct machine *m, struct migrate_disks *d);

struct qmp_req;
struct disk_arg {
	char device[NBD_MAX_NAME];
	int sock;
};
/* A list of {device, target: "fd:NAME"}, NULL: none. 0; else the request was answered, and nothing is open. */
int migrate_disks_args(struct qmp_req *req, struct json_object *list, struct disk_arg *to, unsigned int *n);
/* `disk` of query-migrate; NULL: none go along. Machine lock. */
struct json_object *migrate_disks_query(struct migrate_disks *d);
/* For mig_source_ops. */
int migrate_disks_copy(struct migrate_disks *d, struct state_error *err);
int migrate_disks_left(struct migrate_disks *d, uint64_t *ns, struct state_error *err);
int migrate_disks_finish(struct migrate_disks *d, struct state_error *err);
void migrate_disks_stop(struct migrate_disks *d);

/* ------------------------------------------ the destination: migrate_disks_in.c */

struct disks_in {
	struct nbd_export export[MIRROR_MAX];
	unsigned int nr;
	int sock[MIRROR_MAX];
	unsigned int nr_socks;
	struct nbd_server server;
	struct disks_in_thread {
		struct disks_in *of;
		pthread_t thread;
		int sock, ret;
		bool started;
		const char *why;
	} thread[MIRROR_MAX];
};

/* "TARGET=FD": this disk's image, to be written to. False: it is none. The text stays the caller's, and is kept. */
bool disks_in_add(struct disks_in *d, char *text);
/* The XML's disks to those images. -1 after a message. Before they are opened. */
int disks_in_apply(const struct disks_in *d, struct domain *dom);
/* A client on each socket. 0 or -errno. */
int disks_in_start(struct disks_in *d);
/* Until all clients have left; 0: each disk is here whole, and nobody has it any more. */
int disks_in_wait(struct disks_in *d, struct state_error *err);
/* They are to end. Any thread. */
void disks_in_stop(struct disks_in *d);
/* They have; the descriptors are closed. */
void disks_in_end(struct disks_in *d);

#endif
