// SPDX-License-Identifier: GPL-2.0-only
/* The split virtqueue, device side. virtqueue.h explains it. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include "devices/virtio/virtqueue.h"
#include "vmm/dirty.h"

/* One load, whatever the compiler would like. */
#define FETCH(x)	__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define STORE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define full_barrier()	__atomic_thread_fence(__ATOMIC_SEQ_CST)

static uint16_t *used_event(const struct virtqueue *vq)
{
	return (uint16_t *)&vq->avail->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
	return (uint16_t *)&vq->used->ring[vq->size];
}

int vq_start(struct virtqueue *vq, const struct guest_mem *mem, uint16_t size,
	     uint64_t desc, uint64_t avail, uint64_t used, bool event_idx)
{
	memset(vq, 0, sizeof(*vq));
	if (!size || size > VQ_MAX_SIZE || size & (size - 1))
		return -EINVAL;
	if (desc % VRING_DESC_ALIGN_SIZE || avail % VRING_AVAIL_ALIGN_SIZE ||
	    used % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	/* The event fields behind the rings belong to them even when unused. */
	vq->desc = guest_ptr(mem, desc, size * sizeof(struct vring_desc), false);
	vq->avail = guest_ptr(mem, avail, sizeof(struct vring_avail) + 2 * size + 2, false);
	vq->used = guest_ptr(mem, used, sizeof(struct vring_used) +
			     size * sizeof(struct vring_used_elem) + 2, true);
	if (!vq->desc || !vq->avail || !vq->used)
		return -EFAULT;
	vq->iov = malloc(VQ_MAX_IOV * sizeof(*vq->iov));
	if (!vq->iov)
		return -ENOMEM;
	vq->mem = mem;
	vq->size = size;
	vq->event_idx = event_idx;
	return 0;
}

void vq_stop(struct virtqueue *vq)
{
	free(vq->iov);
	memset(vq, 0, sizeof(*vq));
}

static int broken(struct virtqueue *vq, const char *why)
{
	vq->broken = why;
	return -EBADMSG;
}

/* ------------------------------------------------------------------- popping */

/* Where a walk along a chain is. */
struct walk {
	const uint8_t *table;		/* of struct vring_desc; an indirect one may lie at any address */
	unsigned int entries;		/* of the table */
	unsigned int next;		/* index to read */
	unsigned int seen;		/* descriptors so far */
	unsigned int nr_iov;
	uint64_t out_len, in_len;
	bool indirect, end;
};

static int add_piece(struct virtqueue *vq, struct walk *w, struct vq_chain *c,
		     uint64_t addr, uint32_t len, bool write)
{
	int n;

	if (!len)
		return broken(vq, "a descriptor of no length");
	if (!write && c->nr_in)
		return broken(vq, "a readable descriptor after a writable one");
	n = guest_iov(vq->mem, addr, len, write, vq->iov + w->nr_iov, VQ_MAX_IOV - w->nr_iov);
	if (n < 0)
		return broken(vq, "a buffer outside of RAM");
	w->nr_iov += n;
	if (write) {
		c->nr_in += n;
		w->in_len += len;
	} else {
		c->nr_out += n;
		w->out_len += len;
	}
	if (w->in_len > UINT32_MAX || w->out_len > UINT32_MAX)
		return broken(vq, "a chain of more than 4 GiB");
	return 0;
}

static int enter_indirect(struct virtqueue *vq, struct walk *w, uint64_t addr, uint32_t len,
			  uint16_t flags)
{
	if (w->indirect)
		return broken(vq, "an indirect descriptor inside of an indirect table");
	if (flags & VRING_DESC_F_NEXT)
		return broken(vq, "an indirect descriptor with a next one");
	if (!len || len % sizeof(struct vring_desc) ||
	    len / sizeof(struct vring_desc) > VQ_MAX_CHAIN)
		return broken(vq, "an indirect table of bad length");
	w->table = guest_ptr(vq->mem, addr, len, false);
	if (!w->table)
		return broken(vq, "an indirect table outside of RAM");
	w->entries = len / sizeof(struct vring_desc);
	w->next = 0;
	w->indirect = true;
	return 0;
}

static int step(struct virtqueue *vq, struct walk *w, struct vq_chain *c)
{
	struct vring_desc d;
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
	int ret;

	if (w->next >= w->entries)
		return broken(vq, "a descriptor index beyond the table");
	/* Also what ends a loop: no chain has more descriptors than its table. */
	if (w->seen++ >= VQ_MAX_CHAIN || (!w->indirect && w->seen > vq->size))
		return broken(vq, "a chain that is too long");
	memcpy(&d, w->table + w->next * sizeof(d), sizeof(d));
	/* From here on the copy, which the driver cannot change any more. */
	__asm__ volatile("" : : : "memory");
	addr = le64toh(d.addr);
	len = le32toh(d.len);
	flags = le16toh(d.flags);
	next = le16toh(d.next);

	if (flags & VRING_DESC_F_INDIRECT)
		return enter_indirect(vq, w, addr, len, flags);
	ret = add_piece(vq, w, c, addr, len, flags & VRING_DESC_F_WRITE);
	if (ret)
		return ret;
	w->end = !(flags & VRING_DESC_F_NEXT);
	w->next = next;
	return 0;
}

bool vq_has_avail(struct virtqueue *vq)
{
	if (vq->broken || !vq->avail)
		return false;
	return le16toh(__atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE)) != vq->last_avail;
}

int vq_pop(struct virtqueue *vq, struct vq_chain *c)
{
	struct walk w = { .table = (const uint8_t *)vq->desc, .entries = vq->size };
	uint16_t idx, waiting;
	int ret;

	if (vq->broken || !vq->avail)
		return -EBADMSG;
	idx = le16toh(__atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE));
	waiting = idx - vq->last_avail;
	if (!waiting)
		return 0;
	if (waiting > vq->size)
		return broken(vq, "an available index that jumps");
	/* A chain has a descriptor at least: more of them than the table holds are in use twice. */
	if ((uint16_t)(vq->last_avail - vq->used_idx) >= vq->size)
		return broken(vq, "more chains available than the ring has descriptors");
	*c = (struct vq_chain){ .out = vq->iov };
	c->head = w.next = le16toh(FETCH(vq->avail->ring[vq->last_avail & (vq->size - 1)]));
	while (!w.end) {
		ret = step(vq, &w, c);
		if (ret)
			return ret;
	}
	c->in = vq->iov + c->nr_out;
	c->out_len = w.out_len;
	c->in_len = w.in_len;
	vq->last_avail++;
	return 1;
}

void vq_unpop(struct virtqueue *vq)
{
	vq->last_avail--;
}

/* ------------------------------------------------------------------- pushing */

void vq_push(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e = &vq->used->ring[vq->used_idx & (vq->size - 1)];

	STORE(e->id, htole32(head));
	STORE(e->len, htole32(len));
	dirty_mark(e, sizeof(*e));
	vq->used_idx++;
}

bool vq_publish(struct virtqueue *vq)
{
	uint16_t old = vq->signalled, new = vq->used_idx;

	if (old == new)
		return false;
	__atomic_store_n(&vq->used->idx, htole16(new), __ATOMIC_RELEASE);
	dirty_mark(&vq->used->idx, sizeof(vq->used->idx));
	vq->signalled = new;
	/* The index before the look at what the driver wants; vq_enable_kick()'s mirror. */
	full_barrier();
	if (vq->event_idx)
		return vring_need_event(le16toh(FETCH(*used_event(vq))), new, old);
	return !(le16toh(FETCH(vq->avail->flags)) & VRING_AVAIL_F_NO_INTERRUPT);
}

static void set_flags(struct virtqueue *vq, uint16_t flags)
{
	STORE(vq->used->flags, htole16(flags));
	dirty_mark(&vq->used->flags, sizeof(vq->used->flags));
}

void vq_disable_kick(struct virtqueue *vq)
{
	/* With event indices there is nothing to do: the old one lies behind. */
	if (!vq->event_idx)
		set_flags(vq, VRING_USED_F_NO_NOTIFY);
}

bool vq_enable_kick(struct virtqueue *vq)
{
	if (vq->broken)
		return false;
	if (vq->event_idx) {
		STORE(*avail_event(vq), htole16(vq->last_avail));
		dirty_mark(avail_event(vq), sizeof(uint16_t));
	} else {
		set_flags(vq, 0);
	}
	full_barrier();
	return vq_has_avail(vq);
}

/* -------------------------------------------------------------------- iovecs */

enum iov_op { IOV_READ, IOV_WRITE, IOV_ZERO };

static size_t iov_walk(const struct iovec *iov, unsigned int n, size_t offset, uint8_t *buf,
		       size_t len, enum iov_op op)
{
	size_t done = 0;
	unsigned int i;

	for (i = 0; i < n && done < len; i++) {
		size_t part = iov[i].iov_len;
		uint8_t *base = iov[i].iov_base;

		if (offset >= part) {
			offset -= part;
			continue;
		}
		base += offset;
		part -= offset;
		offset = 0;
		if (part > len - done)
			part = len - done;
		if (op == IOV_READ)
			memcpy(buf + done, base, part);
		else if (op == IOV_WRITE)
			memcpy(base, buf + done, part);
		else
			memset(base, 0, part);
		if (op != IOV_READ)
			dirty_mark(base, part);
		done += part;
	}
	return done;
}

size_t iov_read(const struct iovec *iov, unsigned int n, size_t offset, void *buf, size_t len)
{
	return iov_walk(iov, n, offset, buf, len, IOV_READ);
}

size_t iov_write(const struct iovec *iov, unsigned int n, size_t offset, const void *buf, size_t len)
{
	return iov_walk(iov, n, offset, (uint8_t *)(uintptr_t)buf, len, IOV_WRITE);
}

size_t iov_zero(const struct iovec *iov, unsigned int n, size_t offset, size_t len)
{
	return iov_walk(iov, n, offset, NULL, len, IOV_ZERO);
}

size_t iov_size(const struct iovec *iov, unsigned int n)
{
	size_t len = 0;

	while (n--)
		len += (iov++)->iov_len;
	return len;
}

unsigned int iov_slice(struct iovec **iov, unsigned int n, size_t skip, size_t len)
{
	struct iovec *v = *iov;
	unsigned int i;

	while (n && skip >= v->iov_len) {
		skip -= v->iov_len;
		v++;
		n--;
	}
	*iov = v;
	if (!n)
		return 0;
	v->iov_base = (uint8_t *)v->iov_base + skip;
	v->iov_len -= skip;
	for (i = 0; i < n && len; i++) {
		if (v[i].iov_len > len)
			v[i].iov_len = len;
		len -= v[i].iov_len;
	}
	return i;
}
