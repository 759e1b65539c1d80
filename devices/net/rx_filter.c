// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>
#include "devices/net/rx_filter.h"
#include "devices/virtio/virtqueue.h"

void rx_filter_init(struct rx_filter *f, const uint8_t *mac)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	memcpy(f->mac, mac, sizeof(f->mac));
	f->promisc = true;
}

void rx_filter_fini(struct rx_filter *f)
{
	pthread_mutex_destroy(&f->lock);
}

void rx_filter_reset(struct rx_filter *f)
{
	pthread_mutex_lock(&f->lock);
	f->promisc = true;
	f->allmulti = f->alluni = f->nomulti = f->nouni = f->nobcast = false;
	f->uni_overflow = f->multi_overflow = false;
	f->nr_uni = f->nr_multi = 0;
	pthread_mutex_unlock(&f->lock);
}

void rx_filter_mac(struct rx_filter *f, const uint8_t *mac)
{
	pthread_mutex_lock(&f->lock);
	memcpy(f->mac, mac, sizeof(f->mac));
	pthread_mutex_unlock(&f->lock);
}

int rx_filter_mode(struct rx_filter *f, uint8_t cmd, bool on)
{
	bool *const mode[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
	};

	if (cmd >= sizeof(mode) / sizeof(mode[0]))
		return -EINVAL;
	pthread_mutex_lock(&f->lock);
	*mode[cmd] = on;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

/* One table; offset moves behind it. Too long a one means "all", as the driver may expect. */
static int read_table(const struct iovec *iov, unsigned int n, size_t *offset,
		      uint8_t (*table)[6], unsigned int *nr, bool *overflow)
{
	uint32_t count;

	if (iov_read(iov, n, *offset, &count, sizeof(count)) != sizeof(count))
		return -EINVAL;
	count = le32toh(count);
	*offset += sizeof(count);
	if (count > iov_size(iov, n) / 6)
		return -EINVAL;
	*overflow = count > RX_FILTER_MAX;
	*nr = *overflow ? 0 : count;
	if (iov_read(iov, n, *offset, table, *nr * 6) != *nr * 6)
		return -EINVAL;
	*offset += (size_t)count * 6;
	return 0;
}

int rx_filter_table(struct rx_filter *f, const struct iovec *iov, unsigned int n, size_t offset)
{
	uint8_t uni[RX_FILTER_MAX][6], multi[RX_FILTER_MAX][6];
	bool uni_overflow, multi_overflow;
	unsigned int nr_uni, nr_multi;

	if (read_table(iov, n, &offset, uni, &nr_uni, &uni_overflow) ||
	    read_table(iov, n, &offset, multi, &nr_multi, &multi_overflow))
		return -EINVAL;
	pthread_mutex_lock(&f->lock);
	memcpy(f->uni, uni, nr_uni * 6);
	memcpy(f->multi, multi, nr_multi * 6);
	f->nr_uni = nr_uni;
	f->nr_multi = nr_multi;
	f->uni_overflow = uni_overflow;
	f->multi_overflow = multi_overflow;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

void rx_filter_load(struct rx_filter *f, const struct rx_filter *saved)
{
	pthread_mutex_lock(&f->lock);
	memcpy(f->mac, saved->mac, sizeof(*f) - offsetof(struct rx_filter, mac));
	pthread_mutex_unlock(&f->lock);
}

static bool listed(uint8_t (*table)[6], unsigned int nr, const uint8_t *mac)
{
	while (nr--) {
		if (!memcmp(table[nr], mac, 6))
			return true;
	}
	return false;
}

bool rx_filter_accepts(struct rx_filter *f, const uint8_t *frame)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	bool ok;

	pthread_mutex_lock(&f->lock);
	if (f->promisc)
		ok = true;
	else if (!memcmp(frame, broadcast, 6))
		ok = !f->nobcast;
	else if (frame[0] & 1)
		ok = !f->nomulti && (f->allmulti || f->multi_overflow ||
				     listed(f->multi, f->nr_multi, frame));
	else
		ok = !f->nouni && (f->alluni || f->uni_overflow || !memcmp(frame, f->mac, 6) ||
				   listed(f->uni, f->nr_uni, frame));
	pthread_mutex_unlock(&f->lock);
	return ok;
}
