// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>

#include "device.h"

void device_init(struct device *dev, struct machine *m, const struct device_ops *ops,
		 const char *id_fmt, ...)
{
	struct device **at;
	va_list ap;

	dev->ops = ops;
	dev->m = m;
	dev->next = NULL;
	va_start(ap, id_fmt);
	vsnprintf(dev->id, sizeof(dev->id), id_fmt, ap);
	va_end(ap);
	for (at = &m->devices; *at; at = &(*at)->next)
		;
	*at = dev;
}
