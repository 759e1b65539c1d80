/* SPDX-License-Identifier: GPL-2.0-only */
/* Helper programs: processes of their own for what the VMM's should not do, each at the end of a socket. */
#ifndef HVX_VMM_HELPER_H
#define HVX_VMM_HELPER_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Start the program argv[0], which is beside ours or in HVX_LIBEXECDIR. It gets one
 * end of a socket pair of this type (SOCK_STREAM, ...) as descriptor `as` (3 or above);
 * its input and output are /dev/null, and where it is `quiet`, its error output, too.
 * Our end (close-on-exec), which the caller closes, and its *pid, which the caller waits
 * for; or -errno, which has been said in a message that begins with `what`.
 */
int helper_start(const char *what, char **argv, int type, int as, bool quiet, pid_t *pid);

#endif
