// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
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

static const struct state_field no_fields[] = { STATE_END };

const struct state_desc state_nothing = { .version = 1, .fields = no_fields };

int state_error(struct state_error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err->text[0]) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}
