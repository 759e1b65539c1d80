/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues whose data path is in the host's kernel (vhost-net, vhost-vsock). The
 * driver's kicks go to the kernel through the queue's ioeventfd, and the kernel's
 * calls come back as interrupt messages through an irqfd.
 */
#ifndef HVX_VIRTIO_VHOST_H
#define HVX_VIRTIO_VHOST_H

#include "devices/virtio/virtio.h"

struct vhost {
	int fd;
	struct virtio_device *v;
	unsigned int first, nr;		/* the device's queues that it owns */
	uint64_t features;		/* that the kernel offers */
	int call_fd[2];			/* nr eventfds; a vhost owns a pair of queues */
	bool irqfd[2];			/* call_fd is an irqfd now */
	struct loop_fd *watch[2];	/* else the main loop passes it on */
	bool running;
	struct vhost *next;		/* of all there are */
};

/* Open path (/dev/vhost-net, ...) for nr (at most 2) queues from first. -errno, without a message. */
int vhost_open(struct vhost *vh, const char *path, struct virtio_device *v, unsigned int first,
	       unsigned int nr);
/* The same on a descriptor of it; vhost_close() closes it, as does an error. */
int vhost_adopt(struct vhost *vh, int fd, struct virtio_device *v, unsigned int first, unsigned int nr);
void vhost_close(struct vhost *vh);
/*
 * Give the mapped queues to the kernel, with these (accepted) feature bits. The caller
 * then attaches the back end. first_time: indices begin at 0; else where vhost_stop() left them.
 */
int vhost_start(struct vhost *vh, uint64_t features);
/* After the back end was detached: take them back; the indices are kept for the next start. */
void vhost_stop(struct vhost *vh);
/*
 * From now on each write of the kernel's to guest memory sets a bit of log, one for
 * 4096 bytes of guest-physical addresses; NULL: no more. Of all vhosts there are, and
 * those that are started later. Machine lock held. 0 or -errno.
 */
int vhost_set_log(void *log);
bool vhost_present(void);		/* is there any? */
/* The message of queue q (NULL: of all) changed. */
void vhost_vector_changed(struct vhost *vh, struct virtio_queue *q);

#endif
