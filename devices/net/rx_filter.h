/* SPDX-License-Identifier: GPL-2.0-only */
/* Which received frames the driver wants (virtio 1.2, 5.1.6.5.1 and .2). Any thread. */
#ifndef HVX_NET_RX_FILTER_H
#define HVX_NET_RX_FILTER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define RX_FILTER_MAX	64	/* addresses of a kind; more mean all of that kind */

struct rx_filter {
	pthread_mutex_t lock;
	uint8_t mac[6];
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow;
	unsigned int nr_uni, nr_multi;
	uint8_t uni[RX_FILTER_MAX][6], multi[RX_FILTER_MAX][6];
};

void rx_filter_init(struct rx_filter *f, const uint8_t *mac);
void rx_filter_fini(struct rx_filter *f);
/* What a driver finds: everything passes until it says otherwise. The MAC stays. */
void rx_filter_reset(struct rx_filter *f);
void rx_filter_mac(struct rx_filter *f, const uint8_t *mac);
/* cmd: VIRTIO_NET_CTRL_RX_*. 0 or -EINVAL. */
int rx_filter_mode(struct rx_filter *f, uint8_t cmd, bool on);
/* Two tables (unicast, multicast) at offset of iov, each a le32 count and so many addresses. 0 or -EINVAL. */
int rx_filter_table(struct rx_filter *f, const struct iovec *iov, unsigned int n, size_t offset);
/* All but the lock from what was saved. */
void rx_filter_load(struct rx_filter *f, const struct rx_filter *saved);
bool rx_filter_accepts(struct rx_filter *f, const uint8_t *frame);

#endif
