/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The definition of a guest that comes from another host (hvx migrate --persistent). It is
 * checked before anything moves, kept when the guest is about to run here, and put back
 * where the guest does not run after all.
 */
#ifndef HVX_CLI_KEEPDEF_H
#define HVX_CLI_KEEPDEF_H

#include <stdbool.h>
#include <stddef.h>

struct keepdef {
	char *name, *uuid;
	char *text;		/* NULL: there is nothing to keep */
	size_t len;
	char *before;		/* what was there; NULL: nothing */
	size_t before_len;
	bool written;
};

/*
 * What is to be kept: text, under this name, and with this uuid where it has none ("": any).
 * 0, or -1 with why: it is no definition, or another guest has the name or the uuid.
 */
int keepdef_open(struct keepdef *k, const char *file, const char *text, size_t len, const char *name,
		 const char *uuid, char *why, size_t room);
int keepdef_write(struct keepdef *k);	/* -1 after a message: all is as it was */
/* As before keepdef_write(), unless somebody has changed it since. */
void keepdef_undo(struct keepdef *k);
void keepdef_close(struct keepdef *k);

#endif
