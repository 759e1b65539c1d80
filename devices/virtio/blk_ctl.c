// SPDX-License-Identifier: GPL-2.0-only
/* What is changed on a disk while its guest has it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "devices/storage/nbd_disk.h"
#include "devices/virtio/blk_int.h"

/* With the queues standing still: their threads read the size. */
static int resize(struct virtio_blk *blk, uint64_t size, char *why, size_t len)
{
	bool paused = blk->v.paused;
	int ret = 0;

	if (!blk->v.paused)
		virtio_pause(&blk->v.dev);
	if (blk->img.served)
		ret = nbd_disk_resize(blk->img.served, size, why, len);
	else if (ftruncate(blk->img.fd_buffered, (off_t)size) < 0)
		ret = -errno;
	if (!ret) {
		blk->img.size = blk->img.raw_size = size;
		pthread_mutex_lock(&blk->v.config_lock);
		blk_fill_config(blk);
		pthread_mutex_unlock(&blk->v.config_lock);
	}
	if (!paused)
		virtio_resume(&blk->v.dev);
	if (!ret)
		virtio_config_changed(&blk->v);
	return ret;
}

static struct virtio_blk *find_blk(struct machine *m, const char *target)
{
	struct device *d;

	for (d = m->devices; d; d = d->next) {
		struct virtio_blk *blk = (struct virtio_blk *)d;

		if (d->ops == &blk_ops && blk->cfg->target && !strcmp(blk->cfg->target, target))
			return blk;
	}
	return NULL;
}

int virtio_blk_resize(struct machine *m, const char *target, uint64_t size, char *why, size_t len)
{
	struct virtio_blk *blk = find_blk(m, target);

	*why = '\0';
	if (!blk)
		return -ENODEV;
	if (blk->img.readonly || blk->img.overlay || (blk->cfg->block && !blk->img.served))
		return -EPERM;
	if (blk->log)
		return -EBUSY;
	if (!size || size % blk->img.logical_block || size > INT64_MAX)
		return -EINVAL;
	return resize(blk, size, why, len);
}

const char *virtio_blk_layer(struct machine *m, const char *target, struct overlay *o, char *file, bool check)
{
	struct virtio_blk *blk = find_blk(m, target);

	if (!blk)
		return "no such disk";
	if (blk->log)
		return "it is on its way to another host";
	if (blk->img.readonly || blk->cfg->transient || blk->cfg->shareable || blk->cfg->block)
		return "read only, transient, shareable or a block device: no layer can be put on it";
	if (o->size != blk->img.raw_size)
		return "the layer was made for a disk of another size";
	/* What is below from now on is a snapshot's: that must not be lost with a daemon, or the host. */
	if (check)
		return image_flush(&blk->img) ? "what the guest wrote cannot be put on stable storage: is there room for it?" : NULL;
	/* The queues' threads have drained and stand still; O_DIRECT's descriptor reads, from now on. */
	o->below = blk->img.overlay;
	o->base_fd = blk->img.overlay ? -1 : blk->img.fd_buffered;
	o->served = blk->img.served;
	blk->img.overlay = o;
	free(blk->file);
	blk->file = file;
	return NULL;
}

int virtio_blk_merge(struct machine *m, const char *target, int image, char *why, size_t len)
{
	struct virtio_blk *blk = find_blk(m, target);
	int sock;

	snprintf(why, len, "%s", !blk ? "no such disk" : blk->log ? "it is on its way to another host" :
		 !blk->img.served || !image_layered(&blk->img) ? "it has no layers over an image that is not raw" : "");
	if (*why || nbd_disk_merge(blk->img.served, image, why, len))
		return -1;
	sock = nbd_disk_hand_out(blk->img.served);
	if (sock < 0)
		snprintf(why, len, "its storage daemon takes no further connection; see the guest's log");
	return sock;
}

const char *virtio_blk_relink(struct machine *m, const char *target, const uint8_t (*keep)[OVERLAY_ID], unsigned int nr)
{
	struct virtio_blk *blk = find_blk(m, target);

	if (!blk)
		return "no such disk";
	if (blk->log)
		return "it is on its way to another host";
	if (!image_layered(&blk->img))
		return "it has no layers";
	/* The queues' threads have drained and stand still. */
	if (blk->img.served && nbd_disk_merged(blk->img.served))
		return "its storage daemon is lost; see the guest's log";
	return overlay_relink(blk->img.overlay, keep, nr) ? "its layers cannot be read" : NULL;
}

int virtio_blk_share(struct machine *m, bool share)
{
	int ret = 0;

	for (struct device *d = m->devices; d && !ret; d = d->next) {
		struct virtio_blk *blk = (struct virtio_blk *)d;

		/* What lies under a layer, or a <transient/> disk, is only read as it is. */
		if (d->ops == &blk_ops && blk->img.served && !blk->img.readonly && !blk->img.overlay)
			ret = nbd_disk_share(blk->img.served, share);
	}
	if (ret && share)
		virtio_blk_share(m, false);
	return ret;
}

int virtio_blk_set_rates(struct machine *m, const char *target, const struct dom_rate rate[RATE_NR])
{
	struct virtio_blk *blk = find_blk(m, target);
	bool limited = false;
	unsigned int i;

	if (!blk)
		return -ENODEV;
	for (i = 0; i < RATE_NR; i++) {
		throttle_set(&blk->limit[i], &rate[i]);
		limited |= rate[i].rate != 0;
	}
	blk->limited = limited;
	/* Those that wait look again. */
	for (i = 0; i < blk->nr_queues; i++)
		blk_resume_queue(&blk->bq[i]);
	return 0;
}

static void nothing(void *opaque)
{
	(void)opaque;
}

const struct image *virtio_blk_log(struct machine *m, const char *target, struct disk_log *log, const char **why)
{
	struct virtio_blk *blk = find_blk(m, target);
	unsigned int i;

	*why = !blk ? "no such disk" : blk->cfg->transient || blk->cfg->shareable ?
	       "transient or shareable: it cannot be copied" : blk->img.served ?
	       "only raw images are copied: have it where both hosts see it, or convert it with 'qemu-img convert -O raw IN OUT'" : NULL;
	if (*why)
		return NULL;
	blk->log = log;
	/* Each queue's thread is out of op_done(): what was before is out of use. */
	for (i = 0; i < blk->nr_queues; i++)
		iothread_call(blk->bq[i].io, nothing, NULL);
	return &blk->img;
}
