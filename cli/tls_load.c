// SPDX-License-Identifier: GPL-2.0-only
#include <dlfcn.h>
#include <stdlib.h>
#include "cli.h"
#include "tls.h"

const struct tls_ops *tls_load(void)
{
	static const struct tls_ops *ops;
	char *path = ops ? NULL : find_program("hvx-tls.so");
	void *lib = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;

	if (!ops && lib)
		ops = dlsym(lib, "hvx_tls");
	if (!ops && path)
		cli_error("TLS: %s", dlerror());
	else if (!ops)
		cli_error("TLS: hvx-tls.so is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again, or use ssh://");
	free(path);
	return ops;
}
