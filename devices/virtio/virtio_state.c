// SPDX-License-Identifier: GPL-2.0-only
/* What is saved of a virtio device: its registers and where its rings stand. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include "devices/virtio/virtio.h"

#define STATUS_BITS	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
			 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK | \
			 VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)

static const struct state_field queue_fields[] = {
	STATE_BOOL(struct virtio_queue_state, enabled, 1),
	STATE_BOOL(struct virtio_queue_state, mapped, 1),
	STATE_NUM(struct virtio_queue_state, size, 1, .max = VQ_MAX_SIZE),
	STATE_NUM(struct virtio_queue_state, vector, 1),
	STATE_NUM(struct virtio_queue_state, last_avail, 1),
	STATE_NUM(struct virtio_queue_state, desc, 1),
	STATE_NUM(struct virtio_queue_state, avail, 1),
	STATE_NUM(struct virtio_queue_state, used, 1),
	STATE_END
};

const struct state_field virtio_state_fields[] = {
	STATE_NUM(struct virtio_state, features, 1),
	STATE_NUM(struct virtio_state, status, 1, .bits = STATUS_BITS),
	STATE_NUM(struct virtio_state, isr, 1, .max = 3),
	STATE_NUM(struct virtio_state, generation, 1),
	STATE_BOOL(struct virtio_state, started, 1),
	STATE_NUM(struct virtio_state, config_vector, 1),
	STATE_NUM(struct virtio_state, queue_select, 1),
	STATE_NUM(struct virtio_state, feature_select, 1),
	STATE_NUM(struct virtio_state, driver_select, 1),
	STATE_NUM(struct virtio_state, nr_queues, 1, .max = VIRTIO_MAX_QUEUES),
	STATE_NUM(struct virtio_state, config_len, 1, .max = VIRTIO_MAX_CONFIG),
	STATE_SOME_GROUPS(struct virtio_state, queue, nr_queues, queue_fields, 1),
	STATE_SOME(struct virtio_state, config, config_len, 1),
	STATE_GROUP(struct virtio_state, pci, pci_state_fields, 1),
	STATE_END
};

int virtio_save(struct device *dev, void *state, struct state_error *err)
{
	struct virtio_device *v = (struct virtio_device *)dev;
	struct virtio_state *s = state;
	unsigned int i;

	s->features = v->features;
	s->status = v->status;
	s->isr = v->isr;
	s->generation = v->generation;
	s->started = v->started;
	s->config_vector = v->config_vector;
	s->queue_select = v->queue_select;
	s->feature_select = v->feature_select;
	s->driver_select = v->driver_select;
	s->nr_queues = v->nr_queues;
	for (i = 0; i < v->nr_queues; i++) {
		const struct virtio_queue *q = &v->queue[i];

		s->queue[i] = (struct virtio_queue_state){
			.enabled = q->enabled, .mapped = q->mapped, .size = q->size,
			.vector = q->vector, .last_avail = q->vq.last_avail,
			.desc = q->desc, .avail = q->avail, .used = q->used,
		};
	}
	s->config_len = v->config_len;
	pthread_mutex_lock(&v->config_lock);
	memcpy(s->config, v->config, v->config_len);
	pthread_mutex_unlock(&v->config_lock);
	pci_save(&v->pci, &s->pci);
	return 0;
}

static int check_queue(const struct virtio_queue *q, const struct virtio_queue_state *s,
		       const struct virtio_device *v, struct state_error *err)
{
	if (!s->size || s->size & (s->size - 1) || s->size > q->max_size)
		return state_error(err, "queue %u has %u entries; it can have up to %u", q->index,
				   s->size, q->max_size);
	if (s->vector != VIRTIO_MSI_NO_VECTOR && s->vector >= v->pci.nr_vectors)
		return state_error(err, "queue %u interrupts by vector %u, which is not there",
				   q->index, s->vector);
	if (s->mapped && !s->enabled)
		return state_error(err, "queue %u runs without being enabled", q->index);
	return 0;
}

/* All that does not depend on memory. */
static int check(const struct virtio_device *v, const struct virtio_state *s, struct state_error *err)
{
	unsigned int i;
	int ret = 0;

	if (s->status & VIRTIO_CONFIG_S_FEATURES_OK && s->features & ~v->offered)
		return state_error(err, "the guest uses features %#llx that are not offered here",
				   (unsigned long long)(s->features & ~v->offered));
	if (s->status & VIRTIO_CONFIG_S_FEATURES_OK && !(s->features >> VIRTIO_F_VERSION_1 & 1))
		return state_error(err, "status %#x without the feature VERSION_1", s->status);
	if (s->status & VIRTIO_CONFIG_S_DRIVER_OK && !(s->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return state_error(err, "status %#x cannot be", s->status);
	if (s->started && !(s->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return state_error(err, "it runs with status %#x", s->status);
	if (s->nr_queues != v->nr_queues)
		return state_error(err, "%u queues, here there are %u; has the number of <vcpu> or <driver queues=> changed?",
				   s->nr_queues, v->nr_queues);
	if (s->config_len != v->config_len)
		return state_error(err, "a configuration space of %u bytes, here it has %u",
				   s->config_len, v->config_len);
	if (s->config_vector != VIRTIO_MSI_NO_VECTOR && s->config_vector >= v->pci.nr_vectors)
		return state_error(err, "config_vector %u is not there", s->config_vector);
	for (i = 0; i < v->nr_queues && !ret; i++)
		ret = check_queue(&v->queue[i], &s->queue[i], v, err);
	for (i = 0; i < v->nr_queues && !ret; i++)
		if (s->queue[i].mapped && !s->started)
			ret = state_error(err, "queue %u runs while the device does not", i);
	return ret;
}

static int load_config(struct virtio_device *v, const uint8_t *saved, struct state_error *err)
{
	unsigned int i;

	if (v->ops->load_config)
		return v->ops->load_config(v, saved, err);
	for (i = 0; i < v->config_len; i++)
		if ((saved[i] ^ v->config[i]) & ~(v->config_wmask ? v->config_wmask[i] : 0))
			return state_error(err, "its configuration has %#x at byte %u, here it is %#x: the XML or the host's resource is another",
					   saved[i], i, v->config[i]);
	memcpy(v->config, saved, v->config_len);
	return 0;
}

static int load_ring(struct virtio_queue *q, const struct virtio_queue_state *s,
		     struct state_error *err)
{
	struct virtio_device *v = q->v;

	if (vq_start(&q->vq, &v->dev.m->mem, q->size, q->desc, q->avail, q->used,
		     virtio_has(v, VIRTIO_RING_F_EVENT_IDX)))
		return state_error(err, "queue %u has its rings at %#llx, %#llx, %#llx, where they cannot be",
				   q->index, (unsigned long long)q->desc,
				   (unsigned long long)q->avail, (unsigned long long)q->used);
	/* All that was pushed is published while paused: the ring says where it ends. */
	q->vq.last_avail = s->last_avail;
	q->vq.used_idx = q->vq.signalled = le16toh(q->vq.used->idx);
	q->mapped = true;
	return 0;
}

static int load_queue(struct virtio_queue *q, const struct virtio_queue_state *s,
		      struct state_error *err)
{
	q->size = s->size;
	q->enabled = s->enabled;
	q->vector = s->vector;
	q->desc = s->desc;
	q->avail = s->avail;
	q->used = s->used;
	return s->mapped ? load_ring(q, s, err) : 0;
}

int virtio_load(struct device *dev, const void *state, unsigned int version, struct state_error *err)
{
	struct virtio_device *v = (struct virtio_device *)dev;
	const struct virtio_state *s = state;
	unsigned int i;
	int ret = check(v, s, err) ?: load_config(v, s->config, err);

	if (ret)
		return ret;
	v->features = s->features;
	v->status = s->status;
	v->isr = s->isr;
	v->generation = s->generation;
	v->config_vector = s->config_vector;
	v->queue_select = s->queue_select;
	v->feature_select = s->feature_select;
	v->driver_select = s->driver_select;
	for (i = 0; i < v->nr_queues && !ret; i++)
		ret = load_queue(&v->queue[i], &s->queue[i], err);
	ret = ret ?: pci_load(&v->pci, &s->pci, err);
	if (ret || !s->started)
		return ret;
	/* virtio_resume() lets it run. */
	v->started = v->paused = true;
	if (v->ops->loaded)
		v->ops->loaded(v);
	return 0;
}

const struct state_field virtio_only_fields[] = {
	{ .name = "virtio", .size = sizeof(struct virtio_state), .count = 1, .since = 1,
	  .group = virtio_state_fields },
	STATE_END
};

const struct state_desc virtio_state_desc = {
	.version = 1, .size = sizeof(struct virtio_state), .fields = virtio_only_fields,
	.save = virtio_save, .load = virtio_load,
};
