/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * GDB's Remote Serial Protocol, served for the whole machine: a thread is a vCPU,
 * and all stand still while one is looked at ("all-stop").
 *
 * gdb.c has the connection and the packets, gdb_target.c what they do to vCPUs
 * and memory, gdb_regs.c the registers, gdb_packet.c the framing.
 */
#ifndef HVX_VMM_GDB_H
#define HVX_VMM_GDB_H

#include "machine.h"

struct gdb;

/*
 * Listen at "unix:PATH", "tcp:HOST:PORT", "tcp:PORT" (127.0.0.1) or "unix" (gdb.sock
 * in the runtime directory). Sets m->gdb. 0 or -errno after a message. Whoever can
 * connect can do with the guest whatever there is to do.
 */
int gdb_create(struct machine *m, const char *where);
void gdb_free(struct machine *m);

/*
 * HVX_EXIT_DEBUG, on the vCPU's thread. The guest stops, or gets the exception
 * that it raised itself.
 */
void gdb_exit(struct vcpu *v, const struct hvx_exit_debug *debug);

#endif
