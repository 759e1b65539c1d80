/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a network card's frames go. A back end is used by one thread for each of
 * its queues. With vnet_hdr, frames begin with a struct virtio_net_hdr_v1 that
 * says what is left to do (checksums, segmentation); without it that header is
 * zeroes to the guest and is not sent.
 */
#ifndef HVX_NET_BACKEND_H
#define HVX_NET_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "vmm/machine.h"

#define NET_HDR_LEN	12U		/* struct virtio_net_hdr_v1 */
#define NET_MIN_FRAME	14U
#define NET_MAX_FRAME	(65535U + 18U)	/* an IP packet of any size, with its Ethernet and VLAN headers */

struct net_backend;

struct net_backend_ops {
	/* To be polled for queue q. */
	int (*fd)(struct net_backend *b, unsigned int q);
	/*
	 * Send a frame: iov[0] is the header, NET_HDR_LEN bytes. 0: taken, or
	 * dropped for good; -EAGAIN: not taken, wait for EPOLLOUT; else it is dead.
	 */
	int (*send)(struct net_backend *b, unsigned int q, const struct iovec *iov, unsigned int n);
	/* One frame with its header into buf: its length, -EAGAIN, or -errno when dead. */
	ssize_t (*recv)(struct net_backend *b, unsigned int q, uint8_t *buf, size_t size);
	/* What the guest understands of VIRTIO_NET_F_GUEST_*. NULL: nothing to tell. */
	void (*set_offloads)(struct net_backend *b, uint64_t guest_features);
	/* Use the first n queues. */
	void (*set_queues)(struct net_backend *b, unsigned int n);
	void (*close)(struct net_backend *b);
};

struct net_backend {
	const struct net_backend_ops *ops;
	unsigned int nr_queues;
	bool vnet_hdr;
	const char *what;		/* for messages */
};

/* Before the sandbox. NULL after a message. */
struct net_backend *net_tap_open(struct machine *m, const struct dom_nic *cfg, unsigned int queues);
struct net_backend *net_user_open(struct machine *m, const struct dom_nic *cfg);
/*
 * For what is plugged in: whoever does it opens, the VMM takes what it is sent.
 * net_user_start() runs the helper and returns its socket; the helper ends with it.
 * The adopt functions work inside the sandbox and own the descriptors on success.
 */
int net_user_start(const struct dom_nic *cfg);		/* -errno after a message */
struct net_backend *net_user_adopt(int fd);		/* NULL: no memory */
#define NET_MAX_QUEUES 32
struct net_backend *net_tap_adopt(const int *fd, unsigned int n);

#endif
