/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The split virtqueue (virtio 1.2, 2.7), device side.
 *
 * A virtqueue is how driver and device hand each other buffers. The driver lays
 * three tables into its own memory and tells the device their addresses:
 *
 *   descriptor table   size entries {addr, len, flags, next}. One entry is one
 *                      piece of guest memory; NEXT links pieces into a chain.
 *                      In a chain all pieces that the device reads come first,
 *                      then those that it writes (flag WRITE).
 *   available ring     {flags, idx, ring[size], used_event}. The driver puts the
 *                      number of a chain's first descriptor into ring[idx % size]
 *                      and then increments idx. Only the driver writes it.
 *   used ring          {flags, idx, ring[size] of {id, len}, avail_event}. The
 *                      device gives the chain back here, with the count of bytes
 *                      that it wrote. Only the device writes it.
 *
 * Both idx fields run freely modulo 2^16; available minus used is what the device
 * owns. So a ring is never "full", and a driver that moves idx by more than size
 * is lying.
 *
 * A descriptor with the flag INDIRECT does not point to data but to a table of
 * descriptors elsewhere, which holds the whole chain: one ring entry can so carry
 * hundreds of pieces. An indirect descriptor ends its chain and cannot nest.
 *
 * Notifications. A driver kicks the device after it moved avail.idx, and the
 * device interrupts the driver after it moved used.idx, unless the other side
 * said not to. With RING_EVENT_IDX each side writes, after the other's ring, the
 * index at which it wants to hear next: "tell me when idx moves past used_event".
 * Without it there is a flag. Either way the pattern is: say that you sleep,
 * a full memory barrier, and look once more, else a wake-up is lost.
 *
 * What this file promises about a hostile driver:
 *  - each field is fetched once, into a local, before it is checked and used;
 *  - every address goes through guest_ptr()/guest_iov(), with its length;
 *  - a chain is at most VQ_MAX_CHAIN descriptors and 4 GiB - 1 each way;
 *  - no more chains are popped and not pushed yet than the ring has entries;
 *  - on nonsense the queue is broken: vq_pop() fails from then on, and the device
 *    shows DEVICE_NEEDS_RESET. Nothing is asserted, nothing loops unbounded.
 *
 * A queue is used by one thread at a time; who that is, is the device's matter.
 */
#ifndef HVX_VIRTIO_VIRTQUEUE_H
#define HVX_VIRTIO_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/memory.h"

#define VQ_MAX_SIZE	1024	/* entries of a ring */
#define VQ_MAX_CHAIN	1024	/* descriptors of a chain, indirect ones included */
#define VQ_MAX_IOV	(VQ_MAX_CHAIN + GUEST_MEM_MAX_REGIONS)	/* a piece may cross regions */

struct vring_desc;
struct vring_avail;
struct vring_used;

struct virtqueue {
	const struct guest_mem *mem;
	uint16_t size;			/* a power of two */
	bool event_idx;
	const struct vring_desc *desc;	/* checked for the whole size; guest memory never moves */
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t last_avail;		/* next entry of the available ring to take */
	uint16_t used_idx;		/* next entry of the used ring to fill */
	uint16_t signalled;		/* used_idx at the last vq_publish() */
	const char *broken;		/* why, NULL while sound */
	struct iovec *iov;		/* VQ_MAX_IOV, scratch of vq_pop() */
};

/* A chain taken from the queue. Valid until the next vq_pop(). */
struct vq_chain {
	uint16_t head;			/* for vq_push() */
	unsigned int nr_out, nr_in;	/* iovecs: device reads out[], writes in[] */
	struct iovec *out, *in;
	uint32_t out_len, in_len;	/* bytes */
};

/*
 * Begin with rings at these guest addresses. 0, -EINVAL (size, alignment), -EFAULT
 * (not in RAM, or across two regions), -ENOMEM. Pairs with vq_stop().
 */
int vq_start(struct virtqueue *vq, const struct guest_mem *mem, uint16_t size,
	     uint64_t desc, uint64_t avail, uint64_t used, bool event_idx);
void vq_stop(struct virtqueue *vq);

/* Take the next chain: 1, or 0 (none), or -EBADMSG (the queue is broken now; vq->broken says why). */
int vq_pop(struct virtqueue *vq, struct vq_chain *c);
/* Put the last chain popped back, as if it had not been taken. Not after a push of it. */
void vq_unpop(struct virtqueue *vq);
/* Is there a chain to pop? */
bool vq_has_avail(struct virtqueue *vq);
/* Give a chain back; len: bytes written to it, from the first on. Not seen by the driver until vq_publish(). */
void vq_push(struct virtqueue *vq, uint16_t head, uint32_t len);
/* Show the driver what was pushed. True: it wants an interrupt. */
bool vq_publish(struct virtqueue *vq);
/* Ask not to be kicked (a hint), or to be kicked from now on; the latter returns true if there is work already. */
void vq_disable_kick(struct virtqueue *vq);
bool vq_enable_kick(struct virtqueue *vq);

/*
 * Bytes at offset of an iovec array, whatever its split. Return the count copied,
 * less than len where the array ends.
 */
size_t iov_read(const struct iovec *iov, unsigned int n, size_t offset, void *buf, size_t len);
size_t iov_write(const struct iovec *iov, unsigned int n, size_t offset, const void *buf, size_t len);
size_t iov_zero(const struct iovec *iov, unsigned int n, size_t offset, size_t len);
size_t iov_size(const struct iovec *iov, unsigned int n);
/*
 * Drop the first `skip` bytes and all after `len` more, in place. Returns the
 * new count; *iov moves to the first one left.
 */
unsigned int iov_slice(struct iovec **iov, unsigned int n, size_t skip, size_t len);

#endif
