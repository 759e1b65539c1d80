/* SPDX-License-Identifier: GPL-2.0-only */
/* A connection to a guest's shared console (vmm/console_share.h). */
#ifndef HVX_CLI_CONN_H
#define HVX_CLI_CONN_H

#include <stdbool.h>

/* Connect to folder/name; -1 with errno. The folder's path may be of any length. */
int socket_in(const char *folder, const char *name);

/*
 * Connect to the guest's console of this name ("serial0"), or to its first where
 * device is NULL. role: 'r', 'w' or 'f'. *got, where it is not NULL, is the role that was given.
 * A socket, or -1 after a message.
 */
int console_connect(const char *guest, const char *dir, const char *device, char role, bool replay, char *got);

#endif
