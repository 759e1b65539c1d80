/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control group (v2) for a guest, where one can be had: below the group that this
 * process is in, if that was delegated to its user (a systemd scope or unit with
 * Delegate=yes); for root else in hvx.slice. It is called hvx-NAME-PID and goes with
 * the VMM; what a killed one leaves, cgroup_sweep() removes.
 */
#ifndef HVX_VMM_CGROUP_H
#define HVX_VMM_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum { CG_CPU, CG_MEMORY, CG_IO, CG_NR };

struct cgroup {
	char base[PATH_MAX], path[PATH_MAX];	/* path "": there is none */
	bool has[CG_NR];	/* controllers */
	bool threads;		/* with groups of threads in it */
	int back;		/* cgroup.procs of the group that we came from */
};

/*
 * Make it and move this process into it. 0; -ENOSYS: no cgroup v2; -EACCES: none was
 * delegated; -errno.
 */
int cgroup_make(struct cgroup *cg, const char *name);
/* A part of it for threads (cpu only): "vcpu0", "emulator". 0 or -errno. */
int cgroup_thread_group(struct cgroup *cg, const char *name);
/* Move out and remove it. Works inside the sandbox. */
void cgroup_leave(struct cgroup *cg);
void cgroup_sweep(void);
/* Path of a VMM's group; free() it. NULL: it has none of its own. */
char *cgroup_of(int pid);
/* One file of a group: 0 or -errno. Reading takes its first line. */
int cgroup_write(const char *dir, const char *file, const char *text);
int cgroup_read(const char *dir, const char *file, char *buf, size_t size);

#endif
