// SPDX-License-Identifier: GPL-2.0-only
/*
 * eventfds that stand for interrupt messages (irqfd) and for guest writes
 * (ioeventfd). Changes to either are serialised by vm->resample_lock.
 */
#include <linux/bsearch.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "irq/lapic.h"

/* ------------------------------------------------------------------- irqfd */

/*
 * On vm->irqfds from assignment until deassignment or until the last user of
 * the eventfd closes it (EPOLLHUP). Whoever ends it first sets `ending` and
 * queues the work that takes it apart; nobody but that work frees it.
 *
 * The message is guarded by wqh->lock, which the eventfd's wakeup holds.
 * Locks: irqfd_lock, then wqh->lock. The wakeup takes neither.
 */
struct irqfd {
	struct hvx_vm *vm;
	struct list_head list;		/* vm->irqfd_lock; those with resample come first */
	struct eventfd_ctx *ctx;
	struct eventfd_ctx *resample;	/* NULL: edge */
	struct hvx_irqfd_resample rs;

	wait_queue_head_t *wqh;
	wait_queue_entry_t wait;
	poll_table pt;

	u64 address;
	u32 data;
	bool masked, pending;

	unsigned long ending;		/* bit 0 */
	struct work_struct end;
};

static struct workqueue_struct *irqfd_wq;

int hvx_irq_init(void)
{
	irqfd_wq = alloc_workqueue("hvx-irqfd", WQ_UNBOUND, 0);
	return irqfd_wq ? 0 : -ENOMEM;
}

void hvx_irq_exit(void)
{
	destroy_workqueue(irqfd_wq);
}

static void irqfd_free(struct irqfd *f)
{
	eventfd_ctx_put(f->ctx);
	if (f->resample)
		eventfd_ctx_put(f->resample);
	kfree(f);
}

static void irqfd_end_work(struct work_struct *work)
{
	struct irqfd *f = container_of(work, struct irqfd, end);
	u64 count;

	spin_lock_irq(&f->vm->irqfd_lock);
	list_del_init(&f->list);
	spin_unlock_irq(&f->vm->irqfd_lock);

	/* After this no wakeup runs or will run. */
	eventfd_ctx_remove_wait_queue(f->ctx, &f->wait, &count);
	irqfd_free(f);
}

static void irqfd_end(struct irqfd *f)
{
	if (!test_and_set_bit(0, &f->ending))
		queue_work(irqfd_wq, &f->end);
}

/* The eventfd was signalled. wqh->lock held. */
static void irqfd_fire(struct irqfd *f)
{
	if (f->masked) {
		f->pending = true;
		return;
	}
	f->pending = false;
	f->vm->stats.irqfd++;
	hvx_deliver_msi(f->vm, f->address, f->data, f->resample ? &f->rs : NULL);
}

static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *f = container_of(wait, struct irqfd, wait);
	__poll_t events = key_to_poll(key);
	u64 count;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(f->ctx, &count);
		irqfd_fire(f);
	}
	/* Still on the queue: the eventfd is being released and holds the queue's lock. */
	if (events & EPOLLHUP)
		irqfd_end(f);
	return 0;
}

static void irqfd_queue_proc(struct file *file, wait_queue_head_t *wqh, poll_table *pt)
{
	struct irqfd *f = container_of(pt, struct irqfd, pt);

	f->wqh = wqh;
	add_wait_queue(wqh, &f->wait);
}

/* irqfd_lock held */
static struct irqfd *irqfd_find(struct hvx_vm *vm, struct eventfd_ctx *ctx, unsigned int *count)
{
	struct irqfd *f, *found = NULL;

	*count = 0;
	list_for_each_entry(f, &vm->irqfds, list) {
		if (f->ctx == ctx)
			found = f;
		++*count;
	}
	return found;
}

static void irqfd_set_message(struct irqfd *f, const struct hvx_irqfd *arg)
{
	f->address = arg->address;
	f->data = arg->data | (f->resample ? MSG_LEVEL : 0);
	f->masked = arg->flags & HVX_IRQFD_MASKED;
}

/* resample_lock held, and a reference to file */
static int irqfd_assign(struct hvx_vm *vm, const struct hvx_irqfd *arg, struct file *file,
			struct eventfd_ctx *ctx)
{
	struct eventfd_ctx *resample = NULL;
	unsigned int count;
	struct irqfd *f;
	int ret = 0;
	u64 n;

	if (arg->flags & HVX_IRQFD_RESAMPLE)
		resample = eventfd_ctx_fdget(arg->resample_fd);
	if (IS_ERR(resample))
		return PTR_ERR(resample);
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f) {
		if (resample)
			eventfd_ctx_put(resample);
		return -ENOMEM;
	}
	f->resample = resample;
	f->vm = vm;
	f->ctx = eventfd_ctx_fileget(file);	/* cannot fail: ctx is from the same file */
	irqfd_set_message(f, arg);
	INIT_WORK(&f->end, irqfd_end_work);
	init_waitqueue_func_entry(&f->wait, irqfd_wakeup);
	init_poll_funcptr(&f->pt, irqfd_queue_proc);

	spin_lock_irq(&vm->irqfd_lock);
	if (irqfd_find(vm, ctx, &count))
		ret = -EEXIST;
	else if (count >= HVX_MAX_IRQFDS)
		ret = -ENOSPC;
	else if (f->resample)
		list_add(&f->list, &vm->irqfds);
	else
		list_add_tail(&f->list, &vm->irqfds);
	spin_unlock_irq(&vm->irqfd_lock);
	if (ret) {
		irqfd_free(f);
		return ret;
	}

	/* The file is held, so there is no EPOLLHUP before the caller lets go of it. */
	if (vfs_poll(file, &f->pt) & EPOLLIN) {
		spin_lock_irq(&f->wqh->lock);
		eventfd_ctx_do_read(f->ctx, &n);
		if (n)
			irqfd_fire(f);
		spin_unlock_irq(&f->wqh->lock);
	}
	return 0;
}

static int irqfd_update(struct hvx_vm *vm, const struct hvx_irqfd *arg, struct eventfd_ctx *ctx)
{
	unsigned int count;
	struct irqfd *f;
	int ret = 0;

	spin_lock_irq(&vm->irqfd_lock);
	f = irqfd_find(vm, ctx, &count);
	if (!f) {
		ret = -ENOENT;
	} else if (!(arg->flags & HVX_IRQFD_RESAMPLE) != !f->resample) {
		ret = -EINVAL;
	} else {
		spin_lock(&f->wqh->lock);
		irqfd_set_message(f, arg);
		if (f->pending)
			irqfd_fire(f);
		spin_unlock(&f->wqh->lock);
	}
	spin_unlock_irq(&vm->irqfd_lock);
	return ret;
}

static int irqfd_deassign(struct hvx_vm *vm, struct eventfd_ctx *ctx)
{
	unsigned int count;
	struct irqfd *f;

	spin_lock_irq(&vm->irqfd_lock);
	f = irqfd_find(vm, ctx, &count);
	if (f) {
		list_del_init(&f->list);
		irqfd_end(f);
	}
	spin_unlock_irq(&vm->irqfd_lock);
	/* Also for the one that its HUP has just taken off the list. */
	flush_workqueue(irqfd_wq);
	return f ? 0 : -ENOENT;
}

int hvx_irqfd(struct hvx_vm *vm, const struct hvx_irqfd *arg)
{
	u32 flags = arg->flags;
	struct eventfd_ctx *ctx;
	struct file *file;
	int ret;

	if (flags & ~(HVX_IRQFD_DEASSIGN | HVX_IRQFD_UPDATE | HVX_IRQFD_MASKED |
		      HVX_IRQFD_RESAMPLE) ||
	    (flags & HVX_IRQFD_DEASSIGN && flags != HVX_IRQFD_DEASSIGN) ||
	    memchr_inv(arg->reserved, 0, sizeof(arg->reserved)))
		return -EINVAL;
	if (!(flags & HVX_IRQFD_RESAMPLE) && arg->resample_fd != -1)
		return -EINVAL;

	file = fget(arg->fd);
	if (!file)
		return -EBADF;
	ctx = eventfd_ctx_fileget(file);
	if (IS_ERR(ctx)) {
		fput(file);
		return PTR_ERR(ctx);
	}

	mutex_lock(&vm->resample_lock);
	if (flags & HVX_IRQFD_DEASSIGN)
		ret = irqfd_deassign(vm, ctx);
	else if (flags & HVX_IRQFD_UPDATE)
		ret = irqfd_update(vm, arg, ctx);
	else
		ret = irqfd_assign(vm, arg, file, ctx);
	mutex_unlock(&vm->resample_lock);

	eventfd_ctx_put(ctx);
	fput(file);
	return ret;
}

void hvx_irqfd_release(struct hvx_vm *vm)
{
	struct irqfd *f, *next;

	spin_lock_irq(&vm->irqfd_lock);
	list_for_each_entry_safe(f, next, &vm->irqfds, list) {
		list_del_init(&f->list);
		irqfd_end(f);
	}
	spin_unlock_irq(&vm->irqfd_lock);
	flush_workqueue(irqfd_wq);
}

bool hvx_irqfd_eoi(struct hvx_vcpu *vcpu, int vector)
{
	struct hvx_vm *vm = vcpu->vm;
	unsigned long flags;
	struct irqfd *f;
	bool took = false;

	spin_lock_irqsave(&vm->irqfd_lock, flags);
	list_for_each_entry(f, &vm->irqfds, list) {
		if (!f->resample)
			break;
		if (READ_ONCE(f->rs.vector) != vector || !test_bit(vcpu->id, &f->rs.took) ||
		    !test_and_clear_bit(vcpu->id, &f->rs.took))
			continue;
		took = true;
		hvx_eventfd_signal(f->resample);
	}
	spin_unlock_irqrestore(&vm->irqfd_lock, flags);
	return took;
}

/* --------------------------------------------------------------- ioeventfd */

struct ioev {
	u64 addr;
	u64 match;
	u32 len;		/* 0: any */
	bool pio, has_match;
	struct eventfd_ctx *ctx;
};

/* All of them, sorted, replaced as a whole under RCU. Lookups do not sleep. */
struct hvx_ioevents {
	unsigned int count;
	struct ioev e[];
};

bool hvx_ioeventfd_write(struct hvx_vcpu *vcpu, bool pio, u64 addr, u32 len, u64 val)
{
	struct hvx_ioevents *all;
	unsigned int lo = 0, hi;
	bool hit = false;

	rcu_read_lock();
	all = rcu_dereference(vcpu->vm->ioevents);
	hi = all ? all->count : 0;
	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct ioev *e = &all->e[mid];

		if (e->pio != pio ? e->pio : e->addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; all && lo < all->count && !hit; lo++) {
		const struct ioev *e = &all->e[lo];

		if (e->pio != pio || e->addr != addr)
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

/* Ports, then memory; by address; the more specific first: the first that fits is signalled. */
static int ioev_cmp(const void *a, const void *b)
{
	const struct ioev *x = a, *y = b;

	if (x->pio != y->pio)
		return x->pio ? -1 : 1;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->has_match != y->has_match)
		return x->has_match ? -1 : 1;
	if (x->len != y->len)
		return x->len > y->len ? -1 : 1;
	if (x->has_match && x->match != y->match)
		return x->match < y->match ? -1 : 1;
	return 0;
}

/* resample_lock held. Takes over the reference to want->ctx where it adds. */
static int ioeventfd_change(struct hvx_vm *vm, const struct ioev *want, bool remove)
{
	struct hvx_ioevents *new, *old;
	struct eventfd_ctx *drop = NULL;
	struct ioev *found = NULL;
	unsigned int i, count;

	old = rcu_dereference_protected(vm->ioevents, lockdep_is_held(&vm->resample_lock));
	count = old ? old->count : 0;
	if (old)
		found = bsearch(want, old->e, count, sizeof(*want), ioev_cmp);
	if (remove && (!found || found->ctx != want->ctx))
		return -ENOENT;
	if (!remove && found)
		return -EEXIST;
	if (!remove && count >= HVX_MAX_IOEVENTFDS)
		return -ENOSPC;

	new = kzalloc(struct_size(new, e, count + 1), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		if (&old->e[i] != found)
			new->e[new->count++] = old->e[i];
	if (found)
		drop = found->ctx;
	else
		new->e[new->count++] = *want;
	sort(new->e, new->count, sizeof(new->e[0]), ioev_cmp, NULL);

	rcu_assign_pointer(vm->ioevents, new);
	synchronize_rcu_expedited();
	if (drop)
		eventfd_ctx_put(drop);
	kfree(old);
	return 0;
}

int hvx_ioeventfd(struct hvx_vm *vm, const struct hvx_ioeventfd *arg)
{
	bool pio = arg->flags & HVX_IOEVENTFD_PIO, remove = arg->flags & HVX_IOEVENTFD_DEASSIGN;
	struct ioev want = {
		.addr = arg->addr,
		.len = arg->len,
		.pio = pio,
		.has_match = arg->flags & HVX_IOEVENTFD_DATAMATCH,
	};
	int ret;

	if (arg->flags & ~(HVX_IOEVENTFD_PIO | HVX_IOEVENTFD_DATAMATCH | HVX_IOEVENTFD_DEASSIGN) ||
	    arg->pad || memchr_inv(arg->reserved, 0, sizeof(arg->reserved)))
		return -EINVAL;
	if ((arg->len & (arg->len - 1)) || arg->len > (pio ? 4 : 8))
		return -EINVAL;
	if (arg->addr + max(arg->len, 1U) - 1 < arg->addr ||
	    (pio && arg->addr + max(arg->len, 1U) > 0x10000))
		return -EINVAL;
	if (want.has_match ? !arg->len : arg->datamatch)
		return -EINVAL;
	want.match = arg->datamatch;

	want.ctx = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(want.ctx))
		return PTR_ERR(want.ctx);
	mutex_lock(&vm->resample_lock);
	ret = ioeventfd_change(vm, &want, remove);
	mutex_unlock(&vm->resample_lock);
	if (ret || remove)
		eventfd_ctx_put(want.ctx);
	return ret;
}

/* No vCPU runs any more. */
void hvx_ioeventfd_release(struct hvx_vm *vm)
{
	struct hvx_ioevents *all = rcu_replace_pointer(vm->ioevents, NULL, true);
	unsigned int i;

	for (i = 0; all && i < all->count; i++)
		eventfd_ctx_put(all->e[i].ctx);
	kfree(all);
}
