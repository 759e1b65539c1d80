// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-net (virtio 1.2, 5.1). Queue pairs 2i (receive) and 2i + 1 (transmit),
 * then the control queue. Each pair has a thread, or belongs to vhost-net.
 *
 * Receive: a frame is read from the back end into the pair's buffer and from there
 * into as many of the driver's buffers as it takes (MRG_RXBUF). When the driver has
 * none left the frame waits and the back end is not read any further.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include "devices/virtio/net_int.h"
#include "vmm/dirty.h"
#include "vmm/sandbox.h"

#define QUEUE_SIZE	256
#define CTRL_SIZE	64
#define MAX_PAIRS	32
#define BUF_SIZE	(NET_HDR_LEN + NET_MAX_FRAME)
#define RX_BATCH	128	/* frames for one wake-up */
#define TX_MAX_PIECES	128	/* more are copied together first */

/* The back end is gone: the guest sees the cable pulled. On a pair's thread. */
static void backend_died(struct net_pair *p, int err)
{
	struct virtio_net *net = p->net;

	p->dead = true;
	p->tx_wait = false;
	p->len = 0;
	loop_del_fd(p->watch);
	p->watch = NULL;
	if (__atomic_exchange_n(&net->died, true, __ATOMIC_ACQ_REL))
		return;
	log_error("%s: the %s has ended (%s); the guest's network link is down", net->v.dev.id,
		  net->be->what, strerror(-err));
	pthread_mutex_lock(&net->v.config_lock);
	config_of(net)->status &= ~htole16(VIRTIO_NET_S_LINK_UP);
	pthread_mutex_unlock(&net->v.config_lock);
	virtio_config_changed(&net->v);
}

static void update_events(struct net_pair *p)
{
	uint32_t events = (p->rx->running && !p->rx_wait && !p->rx_held ? EPOLLIN : 0) |
			  (p->tx_wait ? EPOLLOUT : 0);

	if (!p->watch || events == p->events)
		return;
	p->events = events;
	loop_mod_fd(p->watch, events);
}

/* Must the next frame wait? Then the pair is kicked when it need not any more. */
static bool held(struct net_pair *p, bool out)
{
	uint64_t now, wait;

	if (!p->net->limit[out].rate)
		return false;
	now = clock_now_ns();
	wait = throttle_wait(&p->net->limit[out], now);
	if (wait)
		loop_timer_set(p->resume, now + wait);
	return wait;
}

static void charge(struct net_pair *p, bool out, size_t bytes)
{
	if (p->net->limit[out].rate)
		throttle_charge(&p->net->limit[out], bytes, clock_now_ns());
}

/* One timer for both ways: whoever need not go on yet, sets it again. */
static void resume_pair(void *opaque)
{
	struct net_pair *p = opaque;

	eventfd_write(p->rx->kick_fd, 1);
	eventfd_write(p->tx->kick_fd, 1);
}

/* --------------------------------------------------------------------- receive */

static uint8_t *byte_at(const struct vq_chain *c, size_t offset)
{
	unsigned int i;

	for (i = 0; i < c->nr_in; i++) {
		if (offset < c->in[i].iov_len)
			return (uint8_t *)c->in[i].iov_base + offset;
		offset -= c->in[i].iov_len;
	}
	return NULL;
}

static void unpop(struct virtio_queue *q, unsigned int n)
{
	while (n--)
		vq_unpop(&q->vq);
}

/* The frame in p->buf to the driver. False: no buffers now (or the queue is broken). */
static bool deliver(struct net_pair *p)
{
	struct virtio_queue *q = p->rx;
	bool merge = virtio_has(&p->net->v, VIRTIO_NET_F_MRG_RXBUF);
	unsigned int n = 0, i, max = merge ? RX_MAX_BUFFERS : 1;
	uint8_t *count[2] = { NULL, NULL };
	size_t done = 0;
	struct vq_chain c;

	/* With all of the ring taken, waiting for more would wait for ever. */
	if (max > q->vq.size)
		max = q->vq.size;
	while (done < p->len && n < max) {
		if (!virtio_pop(q, &c)) {
			unpop(q, n);
			return false;
		}
		if (c.in_len < (n ? 1 : NET_HDR_LEN)) {
			virtio_broken(q, "a receive buffer too small for the header");
			return false;
		}
		if (!n) {
			count[0] = byte_at(&c, offsetof(struct virtio_net_hdr_v1, num_buffers));
			count[1] = byte_at(&c, offsetof(struct virtio_net_hdr_v1, num_buffers) + 1);
		}
		p->head[n] = c.head;
		p->used[n] = iov_write(c.in, c.nr_in, 0, p->buf + done, p->len - done);
		done += p->used[n++];
	}
	if (done < p->len) {
		/* Too large for what this driver offers: dropped. */
		unpop(q, n);
		return true;
	}
	*count[0] = n;
	*count[1] = n >> 8;
	dirty_mark(count[0], 1);
	dirty_mark(count[1], 1);
	for (i = 0; i < n; i++)
		vq_push(&q->vq, p->head[i], p->used[i]);
	return true;
}

static bool fetch_frame(struct net_pair *p)
{
	struct net_backend *be = p->net->be;
	ssize_t n;

	if (p->len)
		return true;
	n = be->ops->recv(be, p->index, p->buf, BUF_SIZE);
	if (n < 0) {
		if (n != -EAGAIN)
			backend_died(p, n);
		return false;
	}
	p->len = n;
	return true;
}

static bool wanted(struct net_pair *p)
{
	return p->len >= NET_HDR_LEN + NET_MIN_FRAME &&
	       config_of(p->net)->status & htole16(VIRTIO_NET_S_LINK_UP) &&
	       rx_filter_accepts(&p->net->filter, p->buf + NET_HDR_LEN);
}

static void receive(struct net_pair *p)
{
	unsigned int batch;

	for (batch = 0; !p->dead && !(p->rx_held = held(p, false)) && fetch_frame(p); batch++) {
		if (batch == RX_BATCH) {
			/* Others' turn; the back end may hold more without being readable. */
			eventfd_write(p->rx->kick_fd, 1);
			break;
		}
		if (!wanted(p)) {
			stat_add(p->rx_dropped, 1);
		} else if (!deliver(p)) {
			p->rx_wait = true;
			break;
		} else {
			stat_add(p->rx_frames, 1);
			stat_add(p->rx_bytes, p->len - NET_HDR_LEN);
			charge(p, false, p->len - NET_HDR_LEN);
		}
		p->len = 0;
	}
	virtio_publish(p->rx);
	update_events(p);
}

/* -------------------------------------------------------------------- transmit */

/* Is the header one that the negotiated features allow, for a frame of len bytes? */
static bool header_ok(struct virtio_net *net, const struct virtio_net_hdr_v1 *h, size_t len)
{
	uint16_t hdr_len = le16toh(h->hdr_len), gso_size = le16toh(h->gso_size);

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!virtio_has(&net->v, VIRTIO_NET_F_CSUM) ||
		    (size_t)le16toh(h->csum_start) + le16toh(h->csum_offset) + 2 > len)
			return false;
	}
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		if (!virtio_has(&net->v, VIRTIO_NET_F_HOST_TSO4))
			return false;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		if (!virtio_has(&net->v, VIRTIO_NET_F_HOST_TSO6))
			return false;
		break;
	default:
		return false;
	}
	return h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && gso_size && hdr_len <= len;
}

static int send_copied(struct net_pair *p, struct virtio_net_hdr_v1 *h, const struct iovec *iov,
		       unsigned int n, size_t len)
{
	struct net_backend *be = p->net->be;
	uint8_t *copy = malloc(len);
	struct iovec out[2] = { { h, sizeof(*h) }, { copy, len } };
	int ret;

	if (!copy)
		return 0;
	iov_read(iov, n, 0, copy, len);
	ret = be->ops->send(be, p->index, out, 2);
	free(copy);
	return ret;
}

/* 0: gone or dropped; -EAGAIN; else the back end is dead. */
static int send_frame(struct net_pair *p, struct vq_chain *c)
{
	struct net_backend *be = p->net->be;
	struct iovec out[TX_MAX_PIECES + 1], *iov = c->out;
	struct virtio_net_hdr_v1 h;
	size_t len = c->out_len - NET_HDR_LEN;
	unsigned int n;

	/* The header, once, into a copy that the driver cannot change any more. */
	if (iov_read(c->out, c->nr_out, 0, &h, sizeof(h)) != sizeof(h) ||
	    len < NET_MIN_FRAME || len > NET_MAX_FRAME || !header_ok(p->net, &h, len))
		return 0;
	h.num_buffers = 0;
	n = iov_slice(&iov, c->nr_out, NET_HDR_LEN, len);
	if (n > TX_MAX_PIECES)
		return send_copied(p, &h, iov, n, len);
	out[0] = (struct iovec){ &h, sizeof(h) };
	memcpy(out + 1, iov, n * sizeof(*iov));
	return be->ops->send(be, p->index, out, n + 1);
}

static void handle_tx(struct net_pair *p)
{
	struct virtio_queue *q = p->tx;
	struct vq_chain c;
	int ret;

	while (!p->tx_wait && !held(p, true) && virtio_pop(q, &c)) {
		ret = p->dead ? 0 : send_frame(p, &c);
		if (ret == -EAGAIN) {
			vq_unpop(&q->vq);
			p->tx_wait = true;
			break;
		}
		vq_push(&q->vq, c.head, 0);
		if (ret || p->dead || c.out_len < NET_HDR_LEN + NET_MIN_FRAME) {
			stat_add(p->tx_dropped, 1);
		} else {
			stat_add(p->tx_frames, 1);
			stat_add(p->tx_bytes, c.out_len - NET_HDR_LEN);
			charge(p, true, c.out_len - NET_HDR_LEN);
		}
		if (ret)
			backend_died(p, ret);
	}
	virtio_publish(q);
	update_events(p);
}

static void on_backend(void *opaque, uint32_t events)
{
	struct net_pair *p = opaque;

	if (events & EPOLLOUT && p->tx_wait) {
		p->tx_wait = false;
		if (p->tx->running) {
			p->tx->budget = p->tx->vq.size;
			handle_tx(p);
		}
	}
	if (events & EPOLLIN && p->rx->running) {
		p->rx->budget = p->rx->vq.size;
		receive(p);
	} else if (events & (EPOLLHUP | EPOLLERR) && !p->dead && !(events & EPOLLIN)) {
		backend_died(p, -EPIPE);
	}
	update_events(p);
}

/* ------------------------------------------------------------------ the device */

/* Without MQ the control queue is number 2, whatever the number of pairs offered. */
static unsigned int control_index(const struct virtio_net *net)
{
	return virtio_has(&net->v, VIRTIO_NET_F_MQ) ? 2 * net->nr_pairs : 2;
}

static void net_handle(struct virtio_queue *q)
{
	struct virtio_net *net = (struct virtio_net *)q->v;
	struct net_pair *p;

	if (q->index == control_index(net)) {
		net_handle_control(net, q);
		return;
	}
	if (q->index / 2 >= net->nr_pairs)
		return;
	p = &net->pair[q->index / 2];
	if (q->index & 1) {
		handle_tx(p);
	} else {
		p->rx_wait = false;
		receive(p);
	}
}

static void net_queue_stop(struct virtio_queue *q)
{
	struct virtio_net *net = (struct virtio_net *)q->v;
	struct net_pair *p;

	if (q->index / 2 >= net->nr_pairs || net->vhost)
		return;
	p = &net->pair[q->index / 2];
	if (q->index & 1)
		p->tx_wait = false;
	else
		p->len = 0;
	update_events(p);
}

static int attach(struct vhost *vh, int fd)
{
	struct vhost_vring_file file;

	for (file.index = 0; file.index < 2; file.index++) {
		file.fd = fd;
		if (ioctl(vh->fd, VHOST_NET_SET_BACKEND, &file) < 0)
			return -errno;
	}
	return 0;
}

static int start_vhost(struct virtio_net *net)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < net->nr_pairs && !ret; i++) {
		if (!net->v.queue[2 * i].mapped || !net->v.queue[2 * i + 1].mapped ||
		    !net->v.queue[2 * i].external)
			continue;
		ret = vhost_start(&net->vhost[i], net->v.features);
		if (!ret)
			ret = attach(&net->vhost[i], net->be->ops->fd(net->be, i));
	}
	if (ret)
		log_guest("%s: vhost-net does not start: %s", net->v.dev.id, strerror(-ret));
	return ret;
}

static void stop_vhost(struct virtio_net *net)
{
	unsigned int i;

	for (i = 0; i < net->nr_pairs; i++) {
		if (!net->vhost[i].running)
			continue;
		attach(&net->vhost[i], -1);
		vhost_stop(&net->vhost[i]);
	}
}

/* A driver without MQ has its control queue where the second pair would begin. */
static void set_owners(struct virtio_net *net)
{
	if (net->vhost && net->nr_pairs > 1)
		virtio_set_external(&net->v.queue[2], virtio_has(&net->v, VIRTIO_NET_F_MQ));
}

static int net_start(struct virtio_device *v)
{
	struct virtio_net *net = (struct virtio_net *)v;

	net_set_offloads(net, v->features);
	net_set_pairs(net, 1);
	set_owners(net);
	return net->vhost ? start_vhost(net) : 0;
}

static void net_stop(struct virtio_device *v)
{
	struct virtio_net *net = (struct virtio_net *)v;

	if (net->vhost)
		stop_vhost(net);
	rx_filter_reset(&net->filter);
}

/*
 * The guest is at another port of the network now: a RARP frame in its name teaches
 * the switches (RFC 903), and a driver that knows GUEST_ANNOUNCE sends gratuitous ARP.
 */
static void announce(struct virtio_net *net)
{
	static const uint8_t rarp[] = {
		0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3,	/* Ethernet, IPv4, request reverse */
	};
	uint8_t hdr[NET_HDR_LEN] = { 0 }, frame[60] = { 0 };
	struct iovec iov[2] = { { hdr, sizeof(hdr) }, { frame, sizeof(frame) } };
	const uint8_t *mac = net->filter.mac;

	net->announce = false;
	if (net->be->vnet_hdr) {
		memset(frame, 0xff, 6);
		memcpy(frame + 6, mac, 6);
		memcpy(frame + 12, rarp, sizeof(rarp));
		memcpy(frame + 22, mac, 6);
		memcpy(frame + 32, mac, 6);
		net->be->ops->send(net->be, 0, iov, 2);
	}
	if (!virtio_has(&net->v, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	pthread_mutex_lock(&net->v.config_lock);
	config_of(net)->status |= htole16(VIRTIO_NET_S_ANNOUNCE);
	pthread_mutex_unlock(&net->v.config_lock);
	virtio_config_changed(&net->v);
}

static void net_pause(struct virtio_device *v)
{
	struct virtio_net *net = (struct virtio_net *)v;

	if (net->vhost)
		stop_vhost(net);
}

static void net_resume(struct virtio_device *v)
{
	struct virtio_net *net = (struct virtio_net *)v;

	if (net->announce)
		announce(net);
	if (net->vhost)
		start_vhost(net);
}

static void net_vector_changed(struct virtio_device *v, struct virtio_queue *q)
{
	struct virtio_net *net = (struct virtio_net *)v;
	unsigned int i;

	for (i = 0; net->vhost && i < net->nr_pairs; i++)
		vhost_vector_changed(&net->vhost[i], q);
}

static void net_loaded(struct virtio_device *v)
{
	struct virtio_net *net = (struct virtio_net *)v;

	net_set_offloads(net, net->offloads);
	net_set_pairs(net, net->active_pairs);
	set_owners(net);
	net->announce = true;
}

/* The driver keeps the address that it knows; the link is as the XML has it now. */
static int net_load_config(struct virtio_device *v, const uint8_t *saved, struct state_error *err)
{
	struct virtio_net *net = (struct virtio_net *)v;
	const struct virtio_net_config *then = (const void *)saved;

	if (then->max_virtqueue_pairs != config_of(net)->max_virtqueue_pairs)
		return state_error(err, "%u queue pairs, here there are %u; see <driver queues=>",
				   le16toh(then->max_virtqueue_pairs), net->nr_pairs);
	if (then->mtu != config_of(net)->mtu)
		return state_error(err, "an MTU of %u, here it is %u; see <mtu size=>",
				   le16toh(then->mtu), le16toh(config_of(net)->mtu));
	memcpy(config_of(net)->mac, then->mac, sizeof(then->mac));
	return 0;
}

static const struct virtio_ops net_virtio_ops = {
	.loaded = net_loaded,
	.load_config = net_load_config,
	.start = net_start,
	.stop = net_stop,
	.handle = net_handle,
	.queue_stop = net_queue_stop,
	.pause = net_pause,
	.resume = net_resume,
	.vector_changed = net_vector_changed,
};

/* ---------------------------------------------------------------------- making */

static void drop_timer(void *opaque)
{
	struct net_pair *p = opaque;

	loop_del_timer(p->resume);
	p->resume = NULL;
}

static void net_destroy(struct device *dev)
{
	struct virtio_net *net = (struct virtio_net *)dev;
	unsigned int i;

	virtio_reset(dev);
	for (i = 0; i < net->nr_pairs; i++) {
		if (net->pair[i].resume)
			iothread_call(net->pair[i].io, drop_timer, &net->pair[i]);
		iothread_free(net->pair[i].io);
		free(net->pair[i].buf);
		if (net->vhost)
			vhost_close(&net->vhost[i]);
	}
	virtio_fini(&net->v);
	if (net->be)
		net->be->ops->close(net->be);
	rx_filter_fini(&net->filter);
	free(net->vhost);
	free(net->pair);
	free(net);
}

/* -------------------------------------------------------------------- state */

struct net_state {
	struct virtio_state virtio;
	uint64_t offloads;
	uint16_t active_pairs;
	uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast, uni_overflow, multi_overflow;
	uint32_t nr_uni, nr_multi;
	uint8_t uni[RX_FILTER_MAX * 6], multi[RX_FILTER_MAX * 6];
};

static const struct state_field net_fields[] = {
	STATE_GROUP(struct net_state, virtio, virtio_state_fields, 1),
	STATE_NUM(struct net_state, offloads, 1),
	STATE_NUM(struct net_state, active_pairs, 1, .max = MAX_PAIRS),
	STATE_BOOL(struct net_state, promisc, 1),
	STATE_BOOL(struct net_state, allmulti, 1),
	STATE_BOOL(struct net_state, alluni, 1),
	STATE_BOOL(struct net_state, nomulti, 1),
	STATE_BOOL(struct net_state, nouni, 1),
	STATE_BOOL(struct net_state, nobcast, 1),
	STATE_BOOL(struct net_state, uni_overflow, 1),
	STATE_BOOL(struct net_state, multi_overflow, 1),
	STATE_NUM(struct net_state, nr_uni, 1, .max = RX_FILTER_MAX),
	STATE_NUM(struct net_state, nr_multi, 1, .max = RX_FILTER_MAX),
	STATE_ARRAY(struct net_state, uni, 1),
	STATE_ARRAY(struct net_state, multi, 1),
	STATE_END
};

/* A frame that waited for buffers is dropped by pause, as any network may. */
static int net_save(struct device *dev, void *state, struct state_error *err)
{
	struct virtio_net *net = (struct virtio_net *)dev;
	const struct rx_filter *f = &net->filter;
	struct net_state *s = state;

	s->offloads = net->offloads;
	s->active_pairs = net->active_pairs;
	s->promisc = f->promisc;
	s->allmulti = f->allmulti;
	s->alluni = f->alluni;
	s->nomulti = f->nomulti;
	s->nouni = f->nouni;
	s->nobcast = f->nobcast;
	s->uni_overflow = f->uni_overflow;
	s->multi_overflow = f->multi_overflow;
	s->nr_uni = f->nr_uni;
	s->nr_multi = f->nr_multi;
	memcpy(s->uni, f->uni, sizeof(s->uni));
	memcpy(s->multi, f->multi, sizeof(s->multi));
	return virtio_save(dev, state, err);
}

static void load_filter(struct virtio_net *net, const struct net_state *s)
{
	struct rx_filter f = {
		.promisc = s->promisc, .allmulti = s->allmulti, .alluni = s->alluni,
		.nomulti = s->nomulti, .nouni = s->nouni, .nobcast = s->nobcast,
		.uni_overflow = s->uni_overflow, .multi_overflow = s->multi_overflow,
		.nr_uni = s->nr_uni, .nr_multi = s->nr_multi,
	};

	memcpy(f.mac, config_of(net)->mac, sizeof(f.mac));
	memcpy(f.uni, s->uni, sizeof(f.uni));
	memcpy(f.multi, s->multi, sizeof(f.multi));
	rx_filter_load(&net->filter, &f);
}

static int net_load(struct device *dev, const void *state, unsigned int version,
		    struct state_error *err)
{
	struct virtio_net *net = (struct virtio_net *)dev;
	const struct net_state *s = state;
	int ret;

	if (s->virtio.started && (s->offloads & ~s->virtio.features))
		return state_error(err, "offloads %#llx that the guest has not accepted",
				   (unsigned long long)s->offloads);
	if (s->virtio.started && (!s->active_pairs || s->active_pairs > net->nr_pairs))
		return state_error(err, "%u queue pairs in use of %u", s->active_pairs, net->nr_pairs);
	net->offloads = s->offloads;
	net->active_pairs = s->active_pairs;
	ret = virtio_load(dev, state, version, err);
	if (!ret)
		load_filter(net, s);
	return ret;
}

static const struct state_desc net_state_desc = {
	.version = 1, .size = sizeof(struct net_state), .fields = net_fields,
	.save = net_save, .load = net_load,
};

static void net_stats(struct device *dev, struct device_stats *s)
{
	struct virtio_net *net = (struct virtio_net *)dev;

	s->kind = DEV_NIC;
	s->name = net->cfg && net->cfg->ifname ? net->cfg->ifname : "";
	s->nic.backend = net->be->vnet_hdr ? "tap" : "user";
	s->nic.in_kernel = net->vhost;
	pthread_mutex_lock(&net->v.config_lock);
	memcpy(s->nic.mac, config_of(net)->mac, 6);
	s->nic.link_up = config_of(net)->status & htole16(VIRTIO_NET_S_LINK_UP);
	pthread_mutex_unlock(&net->v.config_lock);
	for (unsigned int i = 0; i < net->nr_pairs; i++) {
		const struct net_pair *p = &net->pair[i];

		s->nic.rx_frames += stat_get(p->rx_frames);
		s->nic.rx_bytes += stat_get(p->rx_bytes);
		s->nic.rx_dropped += stat_get(p->rx_dropped);
		s->nic.tx_frames += stat_get(p->tx_frames);
		s->nic.tx_bytes += stat_get(p->tx_bytes);
		s->nic.tx_dropped += stat_get(p->tx_dropped);
	}
}

static const struct device_ops net_ops = {
	.name = "virtio-net",
	.pluggable = true,
	.xml = "<interface type='user|bridge|network|ethernet|direct'> with <model type='virtio'/>",
	.help = "Network card: user mode (DHCP, DNS, <portForward>) through a helper process, or a tap, on a bridge or alone, with vhost-net where the host has it.",
	.reset = virtio_reset,
	.pause = virtio_pause,
	.resume = virtio_resume,
	.destroy = net_destroy,
	.stats = net_stats,
	.state = &net_state_desc,
};
DEVICE_REGISTER(net_ops);

static uint64_t net_features(const struct net_backend *be, const struct dom_nic *cfg)
{
	uint64_t f = 1ULL << VIRTIO_NET_F_MAC | 1ULL << VIRTIO_NET_F_STATUS |
		     1ULL << VIRTIO_NET_F_MRG_RXBUF | 1ULL << VIRTIO_NET_F_CTRL_VQ |
		     1ULL << VIRTIO_NET_F_CTRL_RX | 1ULL << VIRTIO_NET_F_CTRL_RX_EXTRA |
		     1ULL << VIRTIO_NET_F_CTRL_MAC_ADDR | 1ULL << VIRTIO_NET_F_GUEST_ANNOUNCE;

	if (be->vnet_hdr)
		f |= 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM |
		     1ULL << VIRTIO_NET_F_HOST_TSO4 | 1ULL << VIRTIO_NET_F_HOST_TSO6 |
		     1ULL << VIRTIO_NET_F_HOST_ECN | 1ULL << VIRTIO_NET_F_GUEST_TSO4 |
		     1ULL << VIRTIO_NET_F_GUEST_TSO6 | 1ULL << VIRTIO_NET_F_GUEST_ECN |
		     1ULL << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
	if (be->nr_queues > 1)
		f |= 1ULL << VIRTIO_NET_F_MQ;
	if (cfg->mtu)
		f |= 1ULL << VIRTIO_NET_F_MTU;
	return f;
}

static void fill_config(struct virtio_net *net, const struct dom_nic *cfg)
{
	struct virtio_net_config *c = config_of(net);

	memcpy(c->mac, cfg->mac, sizeof(c->mac));
	c->status = cfg->link_down ? 0 : htole16(VIRTIO_NET_S_LINK_UP);
	c->max_virtqueue_pairs = htole16(net->nr_pairs);
	c->mtu = htole16(cfg->mtu);
}

/* 0 with net->vhost set or, where it is not to be had and not asked for, NULL. */
static int open_vhost(struct virtio_net *net, const struct dom_nic *cfg, const int *vhost_fd)
{
	unsigned int i;
	int ret = 0;

	/* In the sandbox nothing is opened; and the kernel keeps to no limit. */
	if (cfg->vhost == 0 || cfg->inbound.rate || cfg->outbound.rate || (sandbox_entered() && !vhost_fd) || !net->be->vnet_hdr)
		return 0;
	net->vhost = calloc(net->nr_pairs, sizeof(*net->vhost));
	if (!net->vhost)
		return -ENOMEM;
	for (i = 0; i < net->nr_pairs; i++)
		net->vhost[i].fd = -1;
	for (i = 0; i < net->nr_pairs && !ret; i++)
		ret = vhost_fd ? vhost_adopt(&net->vhost[i], fcntl(vhost_fd[i], F_DUPFD_CLOEXEC, 3), &net->v, 2 * i, 2) :
		      vhost_open(&net->vhost[i], "/dev/vhost-net", &net->v, 2 * i, 2);
	if (!ret) {
		for (i = 0; i < 2 * net->nr_pairs; i++)
			net->v.queue[i].external = true;
		return 0;
	}
	for (i = 0; i < net->nr_pairs; i++)
		vhost_close(&net->vhost[i]);
	free(net->vhost);
	net->vhost = NULL;
	if (cfg->vhost == 1) {
		log_error("%s: /dev/vhost-net: %s; %s, or drop <driver name='vhost'>", net->v.dev.id,
			  strerror(-ret), ret == -ENOENT ? "load it: sudo modprobe vhost_net" :
			  "give yourself read and write permission on it");
		return ret;
	}
	log_info("%s: /dev/vhost-net: %s; frames go through this process", net->v.dev.id,
		 strerror(-ret));
	return 0;
}

static int start_pair(struct net_pair *p, unsigned int nic)
{
	struct virtio_net *net = p->net;
	char name[16];

	p->buf = malloc(BUF_SIZE);
	if (!p->buf)
		return -ENOMEM;
	snprintf(name, sizeof(name), "net%u/%u", nic % 1000, p->index % 1000);
	p->io = iothread_new(name);
	if (!p->io)
		return -EIO;
	p->rx->io = p->tx->io = p->io;
	p->watch = loop_add_fd(iothread_loop(p->io, NULL), net->be->ops->fd(net->be, p->index), 0,
			       on_backend, p);
	p->resume = loop_add_timer(iothread_loop(p->io, NULL), resume_pair, p);
	return p->watch && p->resume ? 0 : -ENOMEM;
}

static int start_pairs(struct virtio_net *net, unsigned int nic)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < net->nr_pairs && !ret; i++)
		ret = start_pair(&net->pair[i], nic);
	if (!ret)
		net->v.queue[2 * net->nr_pairs].io = net->pair[0].io;
	return ret;
}

static int complete(struct virtio_net *net, const struct dom_nic *cfg, unsigned int nic,
		    const int *vhost_fd)
{
	unsigned int i;
	int ret;

	for (i = 0; i < net->nr_pairs; i++) {
		net->pair[i].net = net;
		net->pair[i].index = i;
		net->pair[i].rx = &net->v.queue[2 * i];
		net->pair[i].tx = &net->v.queue[2 * i + 1];
	}
	fill_config(net, cfg);
	rx_filter_init(&net->filter, cfg->mac);
	ret = open_vhost(net, cfg, vhost_fd);
	if (!ret && !net->vhost)
		ret = start_pairs(net, nic);
	if (!ret)
		ret = virtio_add_kicks(&net->v);
	return ret;
}

static struct net_backend *open_backend(struct machine *m, const struct dom_nic *cfg)
{
	unsigned int queues = cfg->queues ? cfg->queues : 1;

	if (cfg->type == NIC_USER)
		return net_user_open(m, cfg);
	return net_tap_open(m, cfg, queues);
}

/* Its place among the guest's, for names; one that was plugged in has none. */
static unsigned int nic_index(const struct machine *m, const struct dom_nic *cfg)
{
	if (!m->dom || cfg < m->dom->nic || cfg >= m->dom->nic + m->dom->nr_nics)
		return 0;
	return (unsigned int)(cfg - m->dom->nic);
}

int virtio_net_create_on(struct machine *m, const struct dom_nic *cfg, struct net_backend *be, const int *vhost_fd)
{
	uint16_t sizes[2 * MAX_PAIRS + 1];
	unsigned int i, nic = nic_index(m, cfg);
	struct virtio_net *net = calloc(1, sizeof(*net));
	char id[32];
	int ret;

	if (!net) {
		be->ops->close(be);
		return -ENOMEM;
	}
	net->cfg = cfg;
	net->be = be;
	throttle_init(&net->limit[0], &cfg->inbound);
	throttle_init(&net->limit[1], &cfg->outbound);
	net->nr_pairs = net->be->nr_queues;
	net->pair = calloc(net->nr_pairs, sizeof(*net->pair));
	for (i = 0; i < 2 * net->nr_pairs; i++)
		sizes[i] = QUEUE_SIZE;
	sizes[i] = CTRL_SIZE;
	if (cfg->id)
		snprintf(id, sizeof(id), "%s", cfg->id);
	else
		snprintf(id, sizeof(id), "net%u", nic % 1000);
	/* Kernel queues cannot be reset one by one, and which it will be is not known yet. */
	net->v.no_ring_reset = net->be->vnet_hdr;
	ret = net->pair ? virtio_init(&net->v, m, &net_ops, &net_virtio_ops, VIRTIO_ID_NET,
				      net_features(net->be, cfg), sizeof(struct virtio_net_config),
				      2 * net->nr_pairs + 1, sizes, id) : -ENOMEM;
	if (ret) {
		net->be->ops->close(net->be);
		free(net->pair);
		free(net);
		return ret;
	}
	ret = complete(net, cfg, nic, vhost_fd);
	if (ret)
		net_destroy(&net->v.dev);
	return ret;
}

int virtio_net_create(struct machine *m, const struct dom_nic *cfg)
{
	struct net_backend *be = open_backend(m, cfg);

	return be ? virtio_net_create_on(m, cfg, be, NULL) : -EIO;
}

int virtio_net_set_rates(struct machine *m, const char *id, const struct dom_rate *in, const struct dom_rate *out)
{
	struct device *d;
	unsigned int i;

	for (d = m->devices; d; d = d->next) {
		struct virtio_net *net = (struct virtio_net *)d;

		if (d->ops != &net_ops || strcmp(d->id, id))
			continue;
		if (net->vhost)
			return -EOPNOTSUPP;
		throttle_set(&net->limit[0], in);
		throttle_set(&net->limit[1], out);
		for (i = 0; i < net->nr_pairs; i++)
			resume_pair(&net->pair[i]);
		return 0;
	}
	return -ENODEV;
}
