// SPDX-License-Identifier: GPL-2.0-only
/* What both ends of a machine's migration share. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "migrate.h"
#include "runstate.h"

void migrate_call_init(struct migrate_call *c)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
}

static void run_call(struct machine *m, void *opaque)
{
	struct migrate_call *c = opaque;
	int ret = c->fn(m, c->opaque);

	pthread_mutex_lock(&c->lock);
	c->ret = ret;
	c->ran = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

int migrate_call(struct machine *m, struct migrate_call *c, int (*fn)(struct machine *m, void *opaque),
		 void *opaque)
{
	int ret;

	c->fn = fn;
	c->opaque = opaque;
	c->ran = false;
	ret = machine_call(m, run_call, c);
	if (ret)
		return ret;
	pthread_mutex_lock(&c->lock);
	while (!c->ran && !c->gone)
		pthread_cond_wait(&c->changed, &c->lock);
	ret = c->ran ? c->ret : -ESHUTDOWN;
	pthread_mutex_unlock(&c->lock);
	return ret;
}

void migrate_call_abort(struct migrate_call *c)
{
	pthread_mutex_lock(&c->lock);
	c->gone = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

int devices_own(struct machine *m, bool own, struct state_error *err)
{
	struct device *dev, *undo;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	for (dev = m->devices; dev; dev = dev->next) {
		ret = dev->ops->own ? dev->ops->own(dev, own) : 0;
		if (ret)
			break;
	}
	if (ret)
		state_error(err, "%s: %s", dev->id, ret == -EAGAIN ?
			    "its image is in use by another virtual machine" : strerror(-ret));
	for (undo = m->devices; ret && undo != dev; undo = undo->next)
		if (undo->ops->own)
			undo->ops->own(undo, !own);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void migrate_abort(struct machine *m)
{
	migrate_out_abort(m);
	migrate_in_abort(m);
}
