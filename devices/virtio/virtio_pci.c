// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over PCI, modern interface (virtio 1.2, 4.1): device status, feature
 * negotiation, queue registers, notification and interrupts.
 *
 * BAR 0, 16 KiB:  0x0000 common, 0x1000 ISR, 0x2000 device config, 0x3000 notify
 * (4 bytes a queue). BAR 1: MSI-X, vectors for all queues and one for config.
 */
#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#undef PCI_IO_BASE
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "devices/virtio/virtio.h"

#define BAR_REGS	0
#define BAR_MSIX	1
#define BAR_SIZE	0x4000
#define REGION_SIZE	0x1000
#define AT_COMMON	0x0000
#define AT_ISR		0x1000
#define AT_DEVICE	0x2000
#define AT_NOTIFY	0x3000
#define NOTIFY_MULT	4

#define F_RING_RESET	40		/* virtio 1.2, 6 */
#define COMMON_LEN	60		/* with queue_notify_data and queue_reset */
#define Q_RESET		58

#define NO_VECTOR	VIRTIO_MSI_NO_VECTOR
#define ISR_QUEUE	1
#define ISR_CONFIG	2

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

/* -------------------------------------------------------------- interrupts */

static void raise(struct virtio_device *v, uint16_t vector, uint8_t isr)
{
	if (vector != NO_VECTOR)
		pci_msix_notify(&v->pci, vector);
	else
		__atomic_or_fetch(&v->isr, isr, __ATOMIC_RELEASE);
}

void virtio_notify(struct virtio_queue *q)
{
	raise(q->v, LOAD(q->vector), ISR_QUEUE);
}

void virtio_publish(struct virtio_queue *q)
{
	if (vq_publish(&q->vq))
		virtio_notify(q);
}

void virtio_config_changed(struct virtio_device *v)
{
	__atomic_add_fetch(&v->generation, 1, __ATOMIC_RELEASE);
	if (LOAD(v->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		raise(v, LOAD(v->config_vector), ISR_CONFIG);
}

void virtio_broken(struct virtio_queue *q, const char *why)
{
	struct virtio_device *v = q->v;

	log_guest("%s: queue %u: the guest's driver made %s; the device needs a reset",
		  v->dev.id, q->index, why);
	if (!q->vq.broken)
		q->vq.broken = why;
	__atomic_or_fetch(&v->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_RELEASE);
	if (LOAD(v->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		raise(v, LOAD(v->config_vector), ISR_CONFIG);
}

static void kick(struct virtio_queue *q)
{
	eventfd_write(q->kick_fd, 1);
}

bool virtio_pop(struct virtio_queue *q, struct vq_chain *c)
{
	int ret;

	if (q->vq.broken)
		return false;
	if (!q->budget) {
		kick(q);
		return false;
	}
	q->budget--;
	for (;;) {
		ret = vq_pop(&q->vq, c);
		if (ret > 0)
			return true;
		if (ret < 0) {
			virtio_broken(q, q->vq.broken);
			return false;
		}
		if (!vq_enable_kick(&q->vq))
			return false;
		vq_disable_kick(&q->vq);
	}
}

/* ------------------------------------------------------ queues, start and stop */

static void on_kick(void *opaque, uint32_t events)
{
	struct virtio_queue *q = opaque;
	eventfd_t n;

	eventfd_read(q->kick_fd, &n);
	if (!q->running || q->vq.broken)
		return;
	q->budget = q->vq.size;
	vq_disable_kick(&q->vq);
	q->v->ops->handle(q);
}

static void run_queue(void *opaque)
{
	struct virtio_queue *q = opaque;

	q->running = true;
	kick(q);	/* what came before is seen on the queue's own loop */
}

static void halt_queue(void *opaque)
{
	struct virtio_queue *q = opaque;

	q->running = false;
	if (q->v->ops->queue_stop)
		q->v->ops->queue_stop(q);
}

static void drop_queue(void *opaque)
{
	struct virtio_queue *q = opaque;

	q->running = false;
	if (q->v->ops->queue_drop)
		q->v->ops->queue_drop(q);
	else if (q->v->ops->queue_stop)
		q->v->ops->queue_stop(q);
}

/* Let the kernel signal the kick eventfd by itself while the queue can be kicked. */
static void update_ioeventfd(struct virtio_queue *q)
{
	struct virtio_device *v = q->v;
	uint64_t addr = 0;

	if (q->mapped && v->pci.bar_mapped[BAR_REGS])
		addr = v->pci.bar[BAR_REGS].base + AT_NOTIFY + NOTIFY_MULT * q->index;
	if (addr == q->ioeventfd_addr)
		return;
	if (q->ioeventfd_addr)
		hv_ioeventfd(&v->dev.m->hv, HVX_IOEVENTFD_DEASSIGN, q->ioeventfd_addr, 0, 0,
			     q->kick_fd);
	/* Where it cannot be had, the write exits and notify_write() does the same. */
	if (addr && hv_ioeventfd(&v->dev.m->hv, 0, addr, 0, 0, q->kick_fd) < 0)
		addr = 0;
	q->ioeventfd_addr = addr;
}

static int map_queue(struct virtio_queue *q)
{
	struct virtio_device *v = q->v;
	int ret = vq_start(&q->vq, &v->dev.m->mem, q->size, q->desc, q->avail, q->used,
			   virtio_has(v, VIRTIO_RING_F_EVENT_IDX));

	if (ret) {
		virtio_broken(q, ret == -ENOMEM ? "too many queues for the host's memory" :
			      "a ring at a bad address");
		return ret;
	}
	q->mapped = true;
	return 0;
}

static void unmap_queue(struct virtio_queue *q)
{
	q->mapped = false;
	update_ioeventfd(q);
	vq_stop(&q->vq);
}

static void start_queue(struct virtio_queue *q)
{
	update_ioeventfd(q);
	if (!q->external)
		iothread_call(q->io, run_queue, q);
}

static void hurry(struct virtio_device *v, bool on, bool reset)
{
	if (v->ops->hurry)
		v->ops->hurry(v, on, reset);
}

static void stop_queue(struct virtio_queue *q, bool reset)
{
	if (!q->external)
		iothread_call(q->io, reset ? drop_queue : halt_queue, q);
}

static void start_device(struct virtio_device *v)
{
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++) {
		if (v->queue[i].enabled)
			map_queue(&v->queue[i]);
	}
	v->started = true;
	if (v->ops->start && v->ops->start(v)) {
		__atomic_or_fetch(&v->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_RELEASE);
		return;
	}
	for (i = 0; i < v->nr_queues; i++) {
		if (v->queue[i].mapped)
			start_queue(&v->queue[i]);
	}
}

static void clear_queue(struct virtio_queue *q)
{
	q->size = q->max_size;
	q->enabled = false;
	q->desc = q->avail = q->used = 0;
	STORE(q->vector, NO_VECTOR);
}

static void reset_device(struct virtio_device *v)
{
	unsigned int i;

	/* No new kicks first, then one queue after the other runs dry. */
	hurry(v, true, true);
	for (i = 0; i < v->nr_queues; i++) {
		if (v->queue[i].mapped)
			stop_queue(&v->queue[i], true);
	}
	hurry(v, false, true);
	if (v->started && v->ops->stop)
		v->ops->stop(v);
	v->started = false;
	for (i = 0; i < v->nr_queues; i++) {
		unmap_queue(&v->queue[i]);
		clear_queue(&v->queue[i]);
	}
	STORE(v->status, 0);
	STORE(v->isr, 0);
	STORE(v->config_vector, NO_VECTOR);
	v->features = 0;
	v->feature_select = v->driver_select = 0;
	v->queue_select = 0;
}

/* ----------------------------------------------------------- common registers */

static void write_status(struct virtio_device *v, uint8_t val)
{
	uint8_t old = LOAD(v->status);

	if (!val) {
		reset_device(v);
		return;
	}
	/* Bits are only ever added by the driver, and NEEDS_RESET is not its. */
	val = (val & ~VIRTIO_CONFIG_S_NEEDS_RESET) | old;
	if (val & ~old & VIRTIO_CONFIG_S_FEATURES_OK &&
	    (!virtio_has(v, VIRTIO_F_VERSION_1) || v->features & ~v->offered))
		val &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!(val & VIRTIO_CONFIG_S_FEATURES_OK))
		val &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	__atomic_or_fetch(&v->status, val, __ATOMIC_RELEASE);
	if (val & ~old & VIRTIO_CONFIG_S_DRIVER_OK)
		start_device(v);
}

static struct virtio_queue *selected(struct virtio_device *v)
{
	return v->queue_select < v->nr_queues ? &v->queue[v->queue_select] : NULL;
}

/* All registers as the driver would read them now. */
static void common_image(struct virtio_device *v, uint8_t *image)
{
	struct virtio_pci_common_cfg c = {
		.device_feature_select = htole32(v->feature_select),
		.guest_feature_select = htole32(v->driver_select),
		.msix_config = htole16(v->config_vector),
		.num_queues = htole16(v->nr_queues),
		.device_status = LOAD(v->status),
		.config_generation = LOAD(v->generation),
		.queue_select = htole16(v->queue_select),
	};
	struct virtio_queue *q = selected(v);

	if (v->feature_select < 2)
		c.device_feature = htole32(v->offered >> 32 * v->feature_select);
	if (v->driver_select < 2)
		c.guest_feature = htole32(v->features >> 32 * v->driver_select);
	if (q) {
		c.queue_size = htole16(q->size);
		c.queue_msix_vector = htole16(q->vector);
		c.queue_enable = htole16(q->enabled);
		c.queue_notify_off = htole16(q->index);
		c.queue_desc_lo = htole32(q->desc);
		c.queue_desc_hi = htole32(q->desc >> 32);
		c.queue_avail_lo = htole32(q->avail);
		c.queue_avail_hi = htole32(q->avail >> 32);
		c.queue_used_lo = htole32(q->used);
		c.queue_used_hi = htole32(q->used >> 32);
	}
	memset(image, 0, COMMON_LEN);	/* queue_reset reads 0: a reset is done at once */
	memcpy(image, &c, sizeof(c));
}

static uint16_t check_vector(struct virtio_device *v, uint16_t vector)
{
	return vector < v->pci.nr_vectors ? vector : NO_VECTOR;
}

static void put_half(uint64_t *addr, bool high, uint32_t val)
{
	if (high)
		*addr = (*addr & 0xffffffffULL) | (uint64_t)val << 32;
	else
		*addr = (*addr & ~0xffffffffULL) | val;
}

static void enable_queue(struct virtio_queue *q)
{
	q->enabled = true;
	/* After a reset of this queue alone the device is running already. */
	if (q->v->started && !map_queue(q))
		start_queue(q);
}

static void reset_queue(struct virtio_queue *q)
{
	if (!virtio_has(q->v, F_RING_RESET) || !q->enabled)
		return;
	if (q->mapped) {
		hurry(q->v, true, true);
		stop_queue(q, true);
		hurry(q->v, false, true);
		unmap_queue(q);
	}
	clear_queue(q);
}

/* Layout registers: once the queue is enabled they are fixed. */
static void write_queue_layout(struct virtio_queue *q, unsigned int off, uint32_t val)
{
	if (q->enabled)
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (val && val <= q->max_size && !(val & (val - 1)))
			q->size = val;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (val == 1)
			enable_queue(q);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		put_half(&q->desc, off == VIRTIO_PCI_COMMON_Q_DESCHI, val);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		put_half(&q->avail, off == VIRTIO_PCI_COMMON_Q_AVAILHI, val);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		put_half(&q->used, off == VIRTIO_PCI_COMMON_Q_USEDHI, val);
		break;
	}
}

static void write_queue(struct virtio_device *v, unsigned int off, uint32_t val)
{
	struct virtio_queue *q = selected(v);

	if (!q)
		return;
	if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
		STORE(q->vector, check_vector(v, val));
		if (v->ops->vector_changed)
			v->ops->vector_changed(v, q);
	} else if (off == Q_RESET) {
		if (val == 1)
			reset_queue(q);
	} else {
		write_queue_layout(q, off, val);
	}
}

static void common_write(struct virtio_device *v, unsigned int off, unsigned int size, uint64_t val)
{
	if (size == 8) {	/* the 64-bit addresses may be written whole */
		common_write(v, off, 4, val & 0xffffffff);
		common_write(v, off + 4, 4, val >> 32);
		return;
	}
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		v->feature_select = val;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		v->driver_select = val;
		break;
	case VIRTIO_PCI_COMMON_GF:
		if (!(LOAD(v->status) & VIRTIO_CONFIG_S_FEATURES_OK) && v->driver_select < 2)
			put_half(&v->features, v->driver_select, val);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		STORE(v->config_vector, check_vector(v, val));
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		write_status(v, val);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		v->queue_select = val;
		break;
	default:
		write_queue(v, off, val);
		break;
	}
}

/* ----------------------------------------------------------------------- BAR */

static void device_config_write(struct virtio_device *v, unsigned int off, unsigned int size,
				uint64_t val)
{
	unsigned int i;

	if (!v->config_wmask || off + size > v->config_len)
		return;
	pthread_mutex_lock(&v->config_lock);
	for (i = 0; i < size; i++) {
		uint8_t mask = v->config_wmask[off + i];

		v->config[off + i] = (v->config[off + i] & ~mask) | (val >> 8 * i & mask);
	}
	pthread_mutex_unlock(&v->config_lock);
	if (v->ops->config_written)
		v->ops->config_written(v, off, size);
}

static void notify_write(struct virtio_device *v, unsigned int off)
{
	unsigned int i = off / NOTIFY_MULT;

	if (i < v->nr_queues && v->queue[i].mapped)
		kick(&v->queue[i]);
}

static uint64_t virtio_bar_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio_device *v = opaque;
	unsigned int off = offset % REGION_SIZE;
	uint8_t image[COMMON_LEN];
	uint64_t val = 0;

	switch (offset - off) {
	case AT_COMMON:
		if (off + size > sizeof(image))
			break;
		common_image(v, image);
		memcpy(&val, image + off, size);
		break;
	case AT_ISR:
		if (off == 0)
			val = __atomic_exchange_n(&v->isr, 0, __ATOMIC_ACQ_REL);
		break;
	case AT_DEVICE:
		if (off + size > v->config_len)
			break;
		if (v->ops->config_read)
			v->ops->config_read(v);
		pthread_mutex_lock(&v->config_lock);
		memcpy(&val, v->config + off, size);
		pthread_mutex_unlock(&v->config_lock);
		break;
	}
	return le64toh(val);
}

static void virtio_bar_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct virtio_device *v = opaque;
	unsigned int off = offset % REGION_SIZE;

	switch (offset - off) {
	case AT_COMMON:
		common_write(v, off, size, val);
		break;
	case AT_DEVICE:
		device_config_write(v, off, size, val);
		break;
	case AT_NOTIFY:
		notify_write(v, off);
		break;
	}
}

static const struct bus_ops virtio_bus_ops = { .read = virtio_bar_read, .write = virtio_bar_write };

/* ------------------------------------------- configuration access capability */

/* The window that the capability describes now. False: not one into the registers. */
static bool cfg_window(struct virtio_device *v, uint32_t *offset, uint32_t *size)
{
	struct virtio_pci_cap cap;

	memcpy(&cap, v->pci.config + v->cfg_cap, sizeof(cap));
	*offset = le32toh(cap.offset);
	*size = le32toh(cap.length);
	return cap.bar == BAR_REGS && (*size == 1 || *size == 2 || *size == 4) &&
	       !(*offset & (*size - 1)) && *offset < BAR_SIZE;
}

static bool cfg_touched(const struct virtio_device *v, unsigned int offset, unsigned int size)
{
	unsigned int data = v->cfg_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

	return offset < data + 4 && data < offset + size;
}

static uint8_t *cfg_data(struct virtio_device *v)
{
	return v->pci.config + v->cfg_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

static void virtio_config_read(struct pci_func *f, unsigned int offset, unsigned int size)
{
	struct virtio_device *v = f->opaque;
	uint32_t at, len, val;

	if (!cfg_touched(v, offset, size) || !cfg_window(v, &at, &len))
		return;
	val = htole32((uint32_t)virtio_bar_read(v, at, len));
	memcpy(cfg_data(v), &val, len);
}

static void virtio_config_written(struct pci_func *f, unsigned int offset, unsigned int size)
{
	struct virtio_device *v = f->opaque;
	uint32_t at, len, val = 0;

	if (!cfg_touched(v, offset, size) || !cfg_window(v, &at, &len))
		return;
	memcpy(&val, cfg_data(v), len);
	virtio_bar_write(v, at, len, le32toh(val));
}

static void virtio_bar_changed(struct pci_func *f, unsigned int bar)
{
	struct virtio_device *v = f->opaque;
	unsigned int i;

	for (i = 0; bar == BAR_REGS && i < v->nr_queues; i++)
		update_ioeventfd(&v->queue[i]);
}

static void virtio_msix_changed(struct pci_func *f, int vector)
{
	struct virtio_device *v = f->opaque;
	unsigned int i;

	if (!v->ops->vector_changed)
		return;
	if (vector < 0) {
		v->ops->vector_changed(v, NULL);
		return;
	}
	for (i = 0; i < v->nr_queues; i++) {
		if (v->queue[i].vector == vector)
			v->ops->vector_changed(v, &v->queue[i]);
	}
}

static const struct pci_func_ops virtio_pci_ops = {
	.config_read = virtio_config_read,
	.config_written = virtio_config_written,
	.bar_changed = virtio_bar_changed,
	.msix_changed = virtio_msix_changed,
};

static int add_cap(struct virtio_device *v, uint8_t type, uint32_t at, uint32_t len,
		   unsigned int cap_len)
{
	struct virtio_pci_cap cap = {
		.cap_len = cap_len, .cfg_type = type, .bar = BAR_REGS,
		.offset = htole32(at), .length = htole32(len),
	};
	int pos = pci_add_cap(&v->pci, PCI_CAP_ID_VNDR, cap_len);

	if (pos < 0)
		return pos;
	memcpy(v->pci.config + pos + 2, (uint8_t *)&cap + 2, sizeof(cap) - 2);
	return pos;
}

static int add_caps(struct virtio_device *v)
{
	uint32_t mult = htole32(NOTIFY_MULT);
	int pos, ret;

	ret = add_cap(v, VIRTIO_PCI_CAP_COMMON_CFG, AT_COMMON, COMMON_LEN,
		      sizeof(struct virtio_pci_cap));
	if (ret < 0)
		return ret;
	pos = add_cap(v, VIRTIO_PCI_CAP_NOTIFY_CFG, AT_NOTIFY, NOTIFY_MULT * v->nr_queues,
		      sizeof(struct virtio_pci_notify_cap));
	if (pos < 0)
		return pos;
	memcpy(v->pci.config + pos + VIRTIO_PCI_NOTIFY_CAP_MULT, &mult, 4);
	ret = add_cap(v, VIRTIO_PCI_CAP_ISR_CFG, AT_ISR, 1, sizeof(struct virtio_pci_cap));
	if (ret < 0)
		return ret;
	if (v->config_len) {
		ret = add_cap(v, VIRTIO_PCI_CAP_DEVICE_CFG, AT_DEVICE, v->config_len,
			      sizeof(struct virtio_pci_cap));
		if (ret < 0)
			return ret;
	}
	pos = add_cap(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(struct virtio_pci_cfg_cap));
	if (pos < 0)
		return pos;
	v->cfg_cap = pos;
	v->pci.wmask[pos + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(v->pci.wmask + pos + VIRTIO_PCI_CAP_OFFSET, 0xff, 12);
	return 0;
}

/* ------------------------------------------------------------ making, the rest */

static struct pci_ids ids_of(uint16_t type)
{
	struct pci_ids ids = {
		.vendor = 0x1af4, .device = 0x1040 + type,
		.subvendor = 0x1af4, .subdevice = 0x1100, .revision = 1,
	};

	switch (type) {
	case VIRTIO_ID_NET:
		ids.class_base = 0x02;	/* Ethernet controller */
		break;
	case VIRTIO_ID_BLOCK:
		ids.class_base = 0x01;	/* SCSI storage: what the field's drivers know */
		break;
	case VIRTIO_ID_CONSOLE:
		ids.class_base = 0x07;	/* communication controller, other */
		ids.class_sub = 0x80;
		break;
	case VIRTIO_ID_VSOCK:
		ids.class_base = 0x02;	/* network controller, other */
		ids.class_sub = 0x80;
		break;
	default:
		ids.class_base = 0xff;	/* unassigned */
		break;
	}
	return ids;
}

static int init_queues(struct virtio_device *v, unsigned int nr, const uint16_t *sizes)
{
	unsigned int i;

	v->queue = calloc(nr, sizeof(*v->queue));
	if (!v->queue)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		struct virtio_queue *q = &v->queue[i];

		q->v = v;
		q->index = i;
		q->max_size = sizes[i];
		clear_queue(q);
		q->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (q->kick_fd < 0)
			return -errno;
		v->nr_queues = i + 1;
	}
	return 0;
}

static void free_parts(struct virtio_device *v)
{
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++) {
		struct virtio_queue *q = &v->queue[i];

		if (q->watch && !q->io)
			loop_del_fd(q->watch);
		vq_stop(&q->vq);
		close(q->kick_fd);
	}
	pthread_mutex_destroy(&v->config_lock);
	free(v->queue);
	free(v->config);
	free(v->config_wmask);
	v->queue = NULL;
	v->config = v->config_wmask = NULL;
	v->nr_queues = 0;
}

int virtio_init(struct virtio_device *v, struct machine *m, const struct device_ops *dev_ops,
		const struct virtio_ops *ops, uint16_t type, uint64_t features,
		unsigned int config_len, unsigned int nr_queues, const uint16_t *queue_sizes,
		const char *id)
{
	struct pci_ids ids = ids_of(type);
	int ret;

	if (!nr_queues || nr_queues > VIRTIO_MAX_QUEUES)
		return -EINVAL;
	v->dev.m = m;
	v->ops = ops;
	v->type = type;
	v->config_len = config_len;
	v->config_vector = NO_VECTOR;
	v->offered = features | 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX |
		     1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	if (!v->no_ring_reset)
		v->offered |= 1ULL << F_RING_RESET;
	pthread_mutex_init(&v->config_lock, NULL);
	v->config = calloc(1, config_len + 1);
	if (!v->config) {
		ret = -ENOMEM;
		goto fail_parts;
	}
	ret = init_queues(v, nr_queues, queue_sizes);
	if (ret)
		goto fail_parts;
	ret = pci_add(m, &v->pci, &ids, -1, &virtio_pci_ops, v);
	if (ret)
		goto fail_parts;
	v->pci.dev = &v->dev;
	ret = pci_add_bar(&v->pci, BAR_REGS, BAR_SIZE, false, "virtio", &virtio_bus_ops, v, 0);
	if (!ret)
		ret = add_caps(v);
	if (!ret)
		ret = pci_add_msix(&v->pci, BAR_MSIX, nr_queues + 1);
	if (ret)
		goto fail_pci;
	device_init(&v->dev, m, dev_ops, "%s", id);
	return 0;

fail_pci:
	pci_remove(&v->pci);
fail_parts:
	log_error("%s: cannot be put on the PCI bus: %s", id, strerror(-ret));
	free_parts(v);
	return ret;
}

static int watch_kicks(struct virtio_queue *q)
{
	q->watch = loop_add_fd(iothread_loop(q->io, q->v->dev.m), q->kick_fd, EPOLLIN, on_kick, q);
	if (q->watch)
		return 0;
	log_error("%s: out of memory", q->v->dev.id);
	return -ENOMEM;
}

int virtio_add_kicks(struct virtio_device *v)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < v->nr_queues && !ret; i++) {
		if (!v->queue[i].external)
			ret = watch_kicks(&v->queue[i]);
	}
	return ret;
}

static void unwatch(void *opaque)
{
	struct virtio_queue *q = opaque;

	loop_del_fd(q->watch);
	q->watch = NULL;
}

int virtio_set_external(struct virtio_queue *q, bool external)
{
	if (external == q->external)
		return 0;
	q->external = external;
	if (!external)
		return watch_kicks(q);
	if (q->watch)
		iothread_call(q->io, unwatch, q);
	return 0;
}

static void unlink_device(struct device *dev)
{
	struct device **at;

	for (at = &dev->m->devices; *at; at = &(*at)->next) {
		if (*at == dev) {
			*at = dev->next;
			return;
		}
	}
}

void virtio_fini(struct virtio_device *v)
{
	/* Linked still when a create function gives up half-way. */
	unlink_device(&v->dev);
	pci_remove(&v->pci);
	free_parts(v);
}

void virtio_reset(struct device *dev)
{
	struct virtio_device *v = (struct virtio_device *)dev;

	reset_device(v);
	pci_reset_func(&v->pci);
}

void virtio_pause(struct device *dev)
{
	struct virtio_device *v = (struct virtio_device *)dev;
	unsigned int i;

	if (!v->started || v->paused)
		return;
	v->paused = true;
	if (v->ops->pause)
		v->ops->pause(v);
	hurry(v, true, false);
	for (i = 0; i < v->nr_queues; i++) {
		if (v->queue[i].mapped)
			stop_queue(&v->queue[i], false);
	}
	hurry(v, false, false);
}

void virtio_resume(struct device *dev)
{
	struct virtio_device *v = (struct virtio_device *)dev;
	unsigned int i;

	if (!v->paused)
		return;
	v->paused = false;
	if (v->ops->resume)
		v->ops->resume(v);
	for (i = 0; i < v->nr_queues; i++) {
		if (v->queue[i].mapped)
			start_queue(&v->queue[i]);
	}
}
