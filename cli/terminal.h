/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The terminal under a guest's console: raw while the guest has it, and given
 * back on every way out. One terminal a process.
 */
#ifndef HVX_CLI_TERMINAL_H
#define HVX_CLI_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Raw mode for fd, if it is a terminal and this process is in its foreground. */
void tty_raw(int fd);
void tty_restore(void);		/* async-signal-safe; again: nothing */
bool tty_is_raw(void);
/* Is fd a terminal that this process may read? Another may be in its foreground. */
bool tty_foreground(int fd);

/* "^X", a character, or "none": the key, 0 for none. -1: cannot be one. */
int escape_parse(const char *s);

/*
 * console.c, in hvx-console: carry bytes between this process's terminal and a VMM's pipes (to_vmm, or -1;
 * from_out, from_err) until the VMM ends, and obey signals and the escape key
 * meanwhile. Closes the pipes. Returns the VMM's wait status.
 */
int console_run(pid_t vmm, int to_vmm, int from_out, int from_err, int escape);
/* Blocks the signals that console_run() obeys: those that come before wait for it. */
void console_block_signals(sigset_t *set);
/* The exit status that a VMM's wait status makes, after a message where it was a crash. */
int vmm_status(int status);

#endif
