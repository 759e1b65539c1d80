// SPDX-License-Identifier: GPL-2.0-only
/* virtio-net's control queue (virtio 1.2, 5.1.6.5): filters, MAC address, queue pairs, offloads. */
#include <endian.h>
#include <string.h>
#include "devices/virtio/net_int.h"

static uint8_t control_rx(struct virtio_net *net, uint8_t cmd, const struct vq_chain *c)
{
	uint8_t on;

	if (iov_read(c->out, c->nr_out, 2, &on, 1) != 1)
		return VIRTIO_NET_ERR;
	return rx_filter_mode(&net->filter, cmd, on) ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

static uint8_t control_mac(struct virtio_net *net, uint8_t cmd, const struct vq_chain *c)
{
	uint8_t mac[6];

	if (cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return rx_filter_table(&net->filter, c->out, c->nr_out, 2) ? VIRTIO_NET_ERR :
									     VIRTIO_NET_OK;
	if (cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    iov_read(c->out, c->nr_out, 2, mac, sizeof(mac)) != sizeof(mac))
		return VIRTIO_NET_ERR;
	pthread_mutex_lock(&net->v.config_lock);
	memcpy(config_of(net)->mac, mac, sizeof(mac));
	pthread_mutex_unlock(&net->v.config_lock);
	rx_filter_mac(&net->filter, mac);
	return VIRTIO_NET_OK;
}

void net_set_pairs(struct virtio_net *net, uint16_t pairs)
{
	net->active_pairs = pairs;
	if (net->be->ops->set_queues)
		net->be->ops->set_queues(net->be, pairs);
}

void net_set_offloads(struct virtio_net *net, uint64_t offloads)
{
	net->offloads = offloads;
	if (net->be->ops->set_offloads)
		net->be->ops->set_offloads(net->be, offloads);
}

static uint8_t control_mq(struct virtio_net *net, uint8_t cmd, const struct vq_chain *c)
{
	uint16_t pairs;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !virtio_has(&net->v, VIRTIO_NET_F_MQ) ||
	    iov_read(c->out, c->nr_out, 2, &pairs, sizeof(pairs)) != sizeof(pairs))
		return VIRTIO_NET_ERR;
	pairs = le16toh(pairs);
	if (!pairs || pairs > net->nr_pairs)
		return VIRTIO_NET_ERR;
	net_set_pairs(net, pairs);
	return VIRTIO_NET_OK;
}

static uint8_t control_offloads(struct virtio_net *net, uint8_t cmd, const struct vq_chain *c)
{
	uint64_t offloads;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || !net->be->ops->set_offloads ||
	    !virtio_has(&net->v, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    iov_read(c->out, c->nr_out, 2, &offloads, sizeof(offloads)) != sizeof(offloads))
		return VIRTIO_NET_ERR;
	offloads = le64toh(offloads);
	if (offloads & ~net->v.features)
		return VIRTIO_NET_ERR;
	net_set_offloads(net, offloads);
	return VIRTIO_NET_OK;
}

static uint8_t control_announce(struct virtio_net *net, uint8_t cmd)
{
	if (cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return VIRTIO_NET_ERR;
	pthread_mutex_lock(&net->v.config_lock);
	config_of(net)->status &= ~htole16(VIRTIO_NET_S_ANNOUNCE);
	pthread_mutex_unlock(&net->v.config_lock);
	return VIRTIO_NET_OK;
}

static uint8_t control(struct virtio_net *net, const struct vq_chain *c)
{
	struct virtio_net_ctrl_hdr hdr;

	if (iov_read(c->out, c->nr_out, 0, &hdr, sizeof(hdr)) != sizeof(hdr))
		return VIRTIO_NET_ERR;
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		return control_rx(net, hdr.cmd, c);
	case VIRTIO_NET_CTRL_MAC:
		return control_mac(net, hdr.cmd, c);
	case VIRTIO_NET_CTRL_MQ:
		return control_mq(net, hdr.cmd, c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return control_offloads(net, hdr.cmd, c);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return control_announce(net, hdr.cmd);
	default:
		return VIRTIO_NET_ERR;
	}
}

void net_handle_control(struct virtio_net *net, struct virtio_queue *q)
{
	struct vq_chain c;
	uint8_t ack;

	while (virtio_pop(q, &c)) {
		if (!c.in_len) {
			virtio_broken(q, "a control request without room for the answer");
			break;
		}
		ack = control(net, &c);
		iov_write(c.in, c.nr_in, 0, &ack, 1);
		vq_push(&q->vq, c.head, 1);
	}
	virtio_publish(q);
}
