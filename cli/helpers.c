// SPDX-License-Identifier: GPL-2.0-only
/* Finding the programs that belong to this one. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

char *find_program(const char *name)
{
	char self[PATH_MAX], *slash, *path = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dirs[] = { "", "../libexec/hvx/", HVX_LIBEXECDIR "/" };

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		slash[1] = '\0';
	for (size_t i = slash ? 0 : 2; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		/* The build's folder, an installation that was moved, the one it was built for. */
		if (asprintf(&path, "%s%s%s", dirs[i][0] == '/' ? "" : self, dirs[i], name) < 0)
			return NULL;
		if (!access(path, X_OK))
			return path;
		free(path);
	}
	return NULL;
}
