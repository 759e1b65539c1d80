// SPDX-License-Identifier: GPL-2.0-only
/* Libraries of this program that few verbs need, loaded when one does. */
#include <dlfcn.h>
#include <stdlib.h>
#include "archive.h"
#include "cli.h"
#include "tls.h"

static const void *load(const char *file, const char *symbol)
{
	char *path = find_program(file);
	void *lib = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	const void *ops = lib ? dlsym(lib, symbol) : NULL;

	if (!ops && path)
		cli_error("%s: %s", file, dlerror());
	else if (!ops)
		cli_error("%s is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again", file);
	free(path);
	return ops;
}

const struct tls_ops *tls_load(void)
{
	static const struct tls_ops *ops;

	ops = ops ? ops : load("hvx-tls.so", "hvx_tls");
	return ops;
}

const struct archive_ops *archive_load(void)
{
	static const struct archive_ops *ops;

	ops = ops ? ops : load("hvx-archive.so", "hvx_archive");
	return ops;
}
