// SPDX-License-Identifier: GPL-2.0-only
/*
 * eventfds that stand for interrupt messages (irqfd) and for guest writes
 * (ioeventfd). Changes to either are made under vm->lock.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "lapic.h"

/* ------------------------------------------------------------------- irqfd */

/*
 * It holds the eventfd's file, so that the wait queue is there for as long as
 * the irqfd is on it. wqh->lock, which every wakeup holds, guards the message.
 */
struct irqfd {
	struct hvx_vm *vm;
	struct list_head list;		/* vm->lock to change, with vm->irqfd_lock */
	struct file *file;
	struct eventfd_ctx *ctx;
	struct eventfd_ctx *resample;	/* NULL: edge */
	wait_queue_head_t *wqh;
	wait_queue_entry_t wait;
	poll_table pt;
	u64 address;
	u32 data;
};

/* The eventfd was signalled, as often as it counts: one message. wqh->lock held. */
static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *f = container_of(wait, struct irqfd, wait);
	u64 count = 0;

	if (key_to_poll(key) & EPOLLIN)
		eventfd_ctx_do_read(f->ctx, &count);
	if (count) {
		f->vm->stats.irqfd++;
		hvx_deliver_msi(f->vm, f->address, f->data);
	}
	return 0;
}

static void irqfd_queue_proc(struct file *file, wait_queue_head_t *wqh, poll_table *pt)
{
	struct irqfd *f = container_of(pt, struct irqfd, pt);

	f->wqh = wqh;
	add_wait_queue(wqh, &f->wait);
}

static void irqfd_set_message(struct irqfd *f, const struct hvx_irqfd *arg)
{
	f->address = arg->address;
	f->data = arg->data | (f->resample ? MSG_LEVEL : 0);
}

static void irqfd_free(struct irqfd *f)
{
	if (!IS_ERR_OR_NULL(f->ctx))
		eventfd_ctx_put(f->ctx);
	if (!IS_ERR_OR_NULL(f->resample))
		eventfd_ctx_put(f->resample);
	fput(f->file);
	kfree(f);
}

static int irqfd_assign(struct hvx_vm *vm, const struct hvx_irqfd *arg, struct file *file)
{
	struct irqfd *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->file = get_file(file);
	f->ctx = eventfd_ctx_fileget(file);
	if (arg->flags & HVX_IRQFD_RESAMPLE)
		f->resample = eventfd_ctx_fdget(arg->resample_fd);
	ret = PTR_ERR_OR_ZERO(f->ctx) ?: PTR_ERR_OR_ZERO(f->resample);
	if (ret) {
		irqfd_free(f);
		return ret;
	}
	irqfd_set_message(f, arg);
	init_waitqueue_func_entry(&f->wait, irqfd_wakeup);
	init_poll_funcptr(&f->pt, irqfd_queue_proc);

	/* On the list before the first message, whose EOI looks there. */
	spin_lock_irq(&vm->irqfd_lock);
	list_add(&f->list, &vm->irqfds);
	spin_unlock_irq(&vm->irqfd_lock);
	if (vfs_poll(file, &f->pt) & EPOLLIN) {
		spin_lock_irq(&f->wqh->lock);
		irqfd_wakeup(&f->wait, 0, 0, poll_to_key(EPOLLIN));
		spin_unlock_irq(&f->wqh->lock);
	}
	return 0;
}

static void irqfd_deassign(struct irqfd *f)
{
	u64 count;

	spin_lock_irq(&f->vm->irqfd_lock);
	list_del(&f->list);
	spin_unlock_irq(&f->vm->irqfd_lock);
	/* After this no wakeup runs or will run. */
	eventfd_ctx_remove_wait_queue(f->ctx, &f->wait, &count);
	irqfd_free(f);
}

/* vm->lock held */
int hvx_irqfd(struct hvx_vm *vm, const struct hvx_irqfd *arg)
{
	bool resample = arg->flags & HVX_IRQFD_RESAMPLE;
	struct irqfd *i, *f = NULL;
	unsigned int count = 0;
	struct file *file;
	int ret = 0;

	if (arg->flags & ~(HVX_IRQFD_DEASSIGN | HVX_IRQFD_RESAMPLE) ||
	    arg->flags == (HVX_IRQFD_DEASSIGN | HVX_IRQFD_RESAMPLE) ||
	    (!resample && arg->resample_fd != -1))
		return -EINVAL;
	file = fget(arg->fd);
	if (!file)
		return -EBADF;
	list_for_each_entry(i, &vm->irqfds, list) {
		count++;
		if (i->file == file)
			f = i;
	}
	if (arg->flags & HVX_IRQFD_DEASSIGN) {
		if (f)
			irqfd_deassign(f);
		else
			ret = -ENOENT;
	} else if (!f) {
		ret = count < HVX_MAX_IRQFDS ? irqfd_assign(vm, arg, file) : -ENOSPC;
	} else if (resample != !!f->resample) {
		ret = -EINVAL;
	} else {
		spin_lock_irq(&f->wqh->lock);
		irqfd_set_message(f, arg);
		spin_unlock_irq(&f->wqh->lock);
	}
	fput(file);
	return ret;
}

/* A level-triggered vector was EOIed on some vCPU: whoever sends it may look at its line again. */
void hvx_irqfd_eoi(struct hvx_vm *vm, u8 vector)
{
	unsigned long flags;
	struct irqfd *f;

	spin_lock_irqsave(&vm->irqfd_lock, flags);
	list_for_each_entry(f, &vm->irqfds, list)
		if (f->resample && MSG_VECTOR(READ_ONCE(f->data)) == vector)
			hvx_eventfd_signal(f->resample);
	spin_unlock_irqrestore(&vm->irqfd_lock, flags);
}

/* --------------------------------------------------------------- ioeventfd */

/* Sorted by place, at one place the more specific first, then by match. */
struct ioev {
	u64 key;		/* IOEV_KEY() + rank */
	u64 match;		/* 0 without datamatch */
	u8 len;			/* 0: any */
	bool has_match;
	struct eventfd_ctx *ctx;
};
#define IOEV_KEY(pio, addr)	((u64)(pio) << 63 | (u64)(addr) << 5)	/* addresses have 52 bits */

/* All of them, replaced as a whole under RCU. Lookups do not sleep. */
struct hvx_ioevents {
	unsigned int count;
	struct ioev e[];
};

static __always_inline bool before(const struct ioev *e, u64 key, u64 match)
{
	return e->key != key ? e->key < key : e->match < match;
}

/* Index of the first that is not before these. */
static __always_inline unsigned int find(const struct hvx_ioevents *all, u64 key, u64 match)
{
	unsigned int lo = 0, hi = all ? all->count : 0, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (before(&all->e[mid], key, match))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The first that fits is signalled. */
bool hvx_ioeventfd_write(struct hvx_vcpu *vcpu, bool pio, u64 addr, u32 len, u64 val)
{
	const u64 key = IOEV_KEY(pio, addr);
	const struct hvx_ioevents *all;
	const struct ioev *e;
	bool hit = false;
	unsigned int i;

	rcu_read_lock();
	all = rcu_dereference(vcpu->vm->ioevents);
	for (i = find(all, key, 0); all && i < all->count && !hit; i++) {
		e = &all->e[i];
		if (e->key >> 5 != key >> 5)
			break;
		hit = (!e->len || e->len == len) && (!e->has_match || e->match == val);
		if (hit) {
			vcpu->stats.ioeventfd++;
			hvx_eventfd_signal(e->ctx);
		}
	}
	rcu_read_unlock();
	return hit;
}

/* vm->lock held. Takes over the reference to want->ctx where it adds. */
static int ioeventfd_change(struct hvx_vm *vm, const struct ioev *want, bool remove)
{
	struct hvx_ioevents *new, *old;
	unsigned int at, count, i;
	bool found;

	old = rcu_dereference_protected(vm->ioevents, lockdep_is_held(&vm->lock));
	count = old ? old->count : 0;
	at = find(old, want->key, want->match);
	found = at < count && old->e[at].key == want->key && old->e[at].match == want->match;
	if (remove && (!found || old->e[at].ctx != want->ctx))
		return -ENOENT;
	if (!remove && (found || count >= HVX_MAX_IOEVENTFDS))
		return found ? -EEXIST : -ENOSPC;

	new = kzalloc(struct_size(new, e, count + 1), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	for (i = 0; i <= count; i++) {
		if (i == at && !remove)
			new->e[new->count++] = *want;
		if (i < count && !(i == at && remove))
			new->e[new->count++] = old->e[i];
	}
	rcu_assign_pointer(vm->ioevents, new);
	synchronize_rcu_expedited();
	if (remove)
		eventfd_ctx_put(old->e[at].ctx);
	kfree(old);
	return 0;
}

/* vm->lock held */
int hvx_ioeventfd(struct hvx_vm *vm, const struct hvx_ioeventfd *arg)
{
	bool pio = arg->flags & HVX_IOEVENTFD_PIO, match = arg->flags & HVX_IOEVENTFD_DATAMATCH,
	     remove = arg->flags & HVX_IOEVENTFD_DEASSIGN;
	struct ioev want = {
		.key = IOEV_KEY(pio, arg->addr) + (match ? 0 : 16) + 8 - arg->len,
		.match = arg->datamatch,
		.len = arg->len,
		.has_match = match,
	};
	int ret;

	if (arg->flags & ~(HVX_IOEVENTFD_PIO | HVX_IOEVENTFD_DATAMATCH | HVX_IOEVENTFD_DEASSIGN) ||
	    (arg->len & (arg->len - 1)) || arg->len > (pio ? 4 : 8) ||
	    arg->addr > (pio ? 0x10000 : 1ULL << 52) - max(arg->len, 1U) ||
	    (match ? !arg->len : arg->datamatch))
		return -EINVAL;

	want.ctx = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(want.ctx))
		return PTR_ERR(want.ctx);
	ret = ioeventfd_change(vm, &want, remove);
	if (ret || remove)
		eventfd_ctx_put(want.ctx);
	return ret;
}

/* No vCPU runs any more. */
void hvx_eventfd_release(struct hvx_vm *vm)
{
	struct hvx_ioevents *all = rcu_replace_pointer(vm->ioevents, NULL, true);
	struct irqfd *f, *next;
	unsigned int i;

	list_for_each_entry_safe(f, next, &vm->irqfds, list)
		irqfd_deassign(f);
	for (i = 0; all && i < all->count; i++)
		eventfd_ctx_put(all->e[i].ctx);
	kfree(all);
}
