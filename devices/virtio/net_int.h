/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of virtio-net: net.c has the data path and the device, net_ctrl.c the control queue. */
#ifndef HVX_VIRTIO_NET_INT_H
#define HVX_VIRTIO_NET_INT_H

#include <linux/virtio_net.h>
#include "devices/net/backend.h"
#include "devices/net/rx_filter.h"
#include "devices/throttle.h"
#include "devices/virtio/vhost.h"

#define RX_MAX_BUFFERS	512	/* of the driver's, for one frame */

struct virtio_net;

struct net_pair {
	struct virtio_net *net;
	unsigned int index;
	struct iothread *io;
	struct loop_fd *watch;
	uint32_t events;	/* that are watched */
	struct virtio_queue *rx, *tx;
	bool rx_held;		/* by a limit, until `resume` */
	struct loop_timer *resume;
	bool rx_wait;		/* for buffers of the driver */
	bool tx_wait;		/* for room in the back end */
	bool dead;		/* the back end is gone */
	uint8_t *buf;		/* BUF_SIZE: a frame on its way to the driver, with its header */
	size_t len;		/* of it, 0: none */
	/* stat_add() on the pair's thread */
	uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped;
	uint16_t head[RX_MAX_BUFFERS];
	uint32_t used[RX_MAX_BUFFERS];
};

struct virtio_net {
	struct virtio_device v;
	const struct dom_nic *cfg;
	struct net_backend *be;
	struct rx_filter filter;
	struct throttle limit[2];	/* what the guest receives, sends */
	unsigned int nr_pairs;
	struct net_pair *pair;
	struct vhost *vhost;	/* nr_pairs, or NULL */
	bool died;		/* atomic: said so already */
	bool announce;		/* after a load: tell the network where the guest is now */
	/* What the driver chose by its control queue; machine lock, or the queue stands. */
	uint64_t offloads;
	uint16_t active_pairs;
};

static inline struct virtio_net_config *config_of(struct virtio_net *net)
{
	return (void *)net->v.config;
}

/* Machine lock, or the control queue stands. */
void net_set_pairs(struct virtio_net *net, uint16_t pairs);
void net_set_offloads(struct virtio_net *net, uint64_t offloads);
/* What the driver asks for. On the queue's thread. */
void net_handle_control(struct virtio_net *net, struct virtio_queue *q);

#endif
