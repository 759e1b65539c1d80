// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "devices/virtio/vhost.h"

static int call(struct vhost *vh, unsigned long req, const void *arg)
{
	return ioctl(vh->fd, req, arg) < 0 ? -errno : 0;
}

/* All of this process', under the machine lock; what their writes are logged in. */
static struct vhost *all;
static void *dirty_log;

int vhost_open(struct vhost *vh, const char *path, struct virtio_device *v, unsigned int first,
	       unsigned int nr)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : vhost_adopt(vh, fd, v, first, nr);
}

int vhost_adopt(struct vhost *vh, int fd, struct virtio_device *v, unsigned int first, unsigned int nr)
{
	unsigned int i;
	int ret;

	memset(vh, 0, sizeof(*vh));
	vh->v = v;
	vh->first = first;
	vh->call_fd[0] = vh->call_fd[1] = -1;
	vh->fd = fd;
	ret = call(vh, VHOST_SET_OWNER, NULL);
	if (!ret)
		ret = call(vh, VHOST_GET_FEATURES, &vh->features);
	for (i = 0; i < nr && !ret; i++) {
		vh->call_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (vh->call_fd[i] < 0)
			ret = -errno;
		vh->nr = i + 1;
	}
	vh->next = all;
	all = vh;
	if (ret)
		vhost_close(vh);
	return ret;
}

/* -------------------------------------------------------------- interrupts */

static void on_call(void *opaque, uint32_t events)
{
	struct vhost *vh = opaque;
	unsigned int i;
	eventfd_t n;

	for (i = 0; i < vh->nr; i++) {
		if (vh->watch[i] && !eventfd_read(vh->call_fd[i], &n))
			virtio_notify(&vh->v->queue[vh->first + i]);
	}
}

static void drop_irqfd(struct vhost *vh, unsigned int i)
{
	struct machine *m = vh->v->dev.m;
	eventfd_t n;

	if (vh->irqfd[i])
		hv_irqfd(&m->hv, vh->call_fd[i], -1, HVX_IRQFD_DEASSIGN, 0, 0);
	vh->irqfd[i] = false;
	if (!vh->watch[i])
		return;
	loop_del_fd(vh->watch[i]);
	vh->watch[i] = NULL;
	/* A call that the main loop has not come to yet. */
	if (!eventfd_read(vh->call_fd[i], &n))
		virtio_notify(&vh->v->queue[vh->first + i]);
}

static void update_call(struct vhost *vh, unsigned int i)
{
	struct virtio_queue *q = &vh->v->queue[vh->first + i];
	struct machine *m = vh->v->dev.m;
	uint64_t address;
	uint32_t data;

	/* A masked vector goes through the main loop, which keeps it pending in the PBA. */
	if (pci_msix_message(&vh->v->pci, q->vector, &address, &data)) {
		if (!vh->irqfd[i])
			drop_irqfd(vh, i);
		if (!hv_irqfd(&m->hv, vh->call_fd[i], -1, 0, address, data)) {
			vh->irqfd[i] = true;
			return;
		}
	}
	if (vh->watch[i])
		return;
	drop_irqfd(vh, i);
	vh->watch[i] = loop_add_fd(m->loop, vh->call_fd[i], EPOLLIN, on_call, vh);
}

void vhost_vector_changed(struct vhost *vh, struct virtio_queue *q)
{
	unsigned int i;

	for (i = 0; vh->running && i < vh->nr; i++) {
		if (!q || q->index == vh->first + i)
			update_call(vh, i);
	}
}

/* ---------------------------------------------------------------- start, stop */

static int set_memory(struct vhost *vh)
{
	const struct guest_mem *mem = &vh->v->dev.m->mem;
	struct vhost_memory *table;
	unsigned int i;
	int ret;

	table = calloc(1, sizeof(*table) + mem->nr * sizeof(table->regions[0]));
	if (!table)
		return -ENOMEM;
	for (i = 0; i < mem->nr; i++) {
		const struct guest_region *r = &mem->region[i];

		if (r->readonly)
			continue;
		table->regions[table->nregions++] = (struct vhost_memory_region){
			.guest_phys_addr = r->gpa, .memory_size = r->size,
			.userspace_addr = (uintptr_t)r->hva,
		};
	}
	ret = call(vh, VHOST_SET_MEM_TABLE, table);
	free(table);
	return ret;
}

static int set_addr(struct vhost *vh, unsigned int i)
{
	struct virtio_queue *q = &vh->v->queue[vh->first + i];
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = (uintptr_t)q->vq.desc,
		.avail_user_addr = (uintptr_t)q->vq.avail,
		.used_user_addr = (uintptr_t)q->vq.used,
		.flags = dirty_log ? 1U << VHOST_VRING_F_LOG : 0,
		.log_guest_addr = dirty_log ? q->used : 0,
	};

	return call(vh, VHOST_SET_VRING_ADDR, &addr);
}

static int set_ring(struct vhost *vh, unsigned int i)
{
	struct virtio_queue *q = &vh->v->queue[vh->first + i];
	struct vhost_vring_state num = { .index = i, .num = q->size };
	struct vhost_vring_state base = { .index = i, .num = q->vq.last_avail };
	struct vhost_vring_file kick = { .index = i, .fd = q->kick_fd };
	struct vhost_vring_file back = { .index = i, .fd = vh->call_fd[i] };

	return call(vh, VHOST_SET_VRING_NUM, &num) ?:
	       call(vh, VHOST_SET_VRING_BASE, &base) ?:
	       set_addr(vh, i) ?:
	       call(vh, VHOST_SET_VRING_KICK, &kick) ?:
	       call(vh, VHOST_SET_VRING_CALL, &back);
}

/* With the log first: the kernel refuses the feature without one. */
static int set_features(struct vhost *vh, uint64_t features)
{
	uint64_t base = (uintptr_t)dirty_log;

	features &= vh->features & ~(1ULL << VHOST_F_LOG_ALL);
	if (dirty_log)
		features |= 1ULL << VHOST_F_LOG_ALL;
	return (dirty_log ? call(vh, VHOST_SET_LOG_BASE, &base) : 0) ?:
	       call(vh, VHOST_SET_FEATURES, &features);
}

int vhost_start(struct vhost *vh, uint64_t features)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vh->nr; i++) {
		if (!vh->v->queue[vh->first + i].mapped)
			return -EINVAL;
	}
	ret = set_memory(vh);
	if (!ret)
		ret = set_features(vh, features);
	for (i = 0; i < vh->nr && !ret; i++)
		ret = set_ring(vh, i);
	if (ret)
		return ret;
	vh->running = true;
	vhost_vector_changed(vh, NULL);
	return 0;
}

void vhost_stop(struct vhost *vh)
{
	unsigned int i;

	if (!vh->running)
		return;
	for (i = 0; i < vh->nr; i++) {
		struct virtio_queue *q = &vh->v->queue[vh->first + i];
		struct vhost_vring_state base = { .index = i };
		struct vhost_vring_file none = { .index = i, .fd = VHOST_FILE_UNBIND };

		if (!call(vh, VHOST_GET_VRING_BASE, &base))
			q->vq.last_avail = base.num;
		call(vh, VHOST_SET_VRING_KICK, &none);
		call(vh, VHOST_SET_VRING_CALL, &none);
		drop_irqfd(vh, i);
	}
	vh->running = false;
}

static int set_log(struct vhost *vh)
{
	unsigned int i;
	int ret = set_features(vh, vh->v->features);

	for (i = 0; i < vh->nr && !ret; i++)
		ret = set_addr(vh, i);
	return ret;
}

int vhost_set_log(void *log)
{
	struct vhost *vh;
	int ret = 0;

	dirty_log = log;
	for (vh = all; vh && !ret; vh = vh->next)
		if (vh->running)
			ret = set_log(vh);
	return ret;
}

bool vhost_present(void)
{
	return all;
}

void vhost_close(struct vhost *vh)
{
	struct vhost **at;
	unsigned int i;

	vhost_stop(vh);
	for (at = &all; *at; at = &(*at)->next)
		if (*at == vh) {
			*at = vh->next;
			break;
		}
	for (i = 0; i < vh->nr; i++) {
		if (vh->call_fd[i] >= 0)
			close(vh->call_fd[i]);
	}
	if (vh->fd >= 0)
		close(vh->fd);
	vh->fd = -1;
	vh->nr = 0;
}
