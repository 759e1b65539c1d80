// SPDX-License-Identifier: GPL-2.0-only
/*
 * eventfds that stand for interrupt messages (irqfd) and for guest writes
 * (ioeventfd). Changes to either are made under vm->lock.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>

#include "lapic.h"

/*
 * Fixed once it is on the list. It holds the eventfd's file, so that the wait
 * queue is there for as long as the irqfd is on it.
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
	f->address = arg->address;
	f->data = arg->data | (f->resample ? MSG_LEVEL : 0);
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
	struct irqfd *i, *f = NULL;
	unsigned int count = 0;
	struct file *file;
	int ret;

	/* One flag at most. */
	if (arg->flags > HVX_IRQFD_RESAMPLE ||
	    (arg->flags != HVX_IRQFD_RESAMPLE && arg->resample_fd != -1))
		return -EINVAL;
	file = fget(arg->fd);
	if (!file)
		return -EBADF;
	list_for_each_entry(i, &vm->irqfds, list) {
		count++;
		if (i->file == file)
			f = i;
	}
	ret = count < HVX_MAX_IRQFDS || f ? 0 : -ENOSPC;
	if (arg->flags & HVX_IRQFD_DEASSIGN)
		ret = f ? 0 : -ENOENT;
	/* For a new message as well: signals that come in between stay in the eventfd. */
	if (f)
		irqfd_deassign(f);
	if (!ret && !(arg->flags & HVX_IRQFD_DEASSIGN))
		ret = irqfd_assign(vm, arg, file);
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
		if (f->resample && MSG_VECTOR(f->data) == vector)
			hvx_eventfd_signal(f->resample);
	spin_unlock_irqrestore(&vm->irqfd_lock, flags);
}

/* In a hash table under RCU, so that look-ups do not sleep. Fixed once it is there. */
struct ioev {
	struct hlist_node node;		/* vm->ioevents, vm->lock to change */
	struct hvx_ioeventfd arg;
	struct eventfd_ctx *ctx;
};

/* Where several fit, the most specific: with datamatch, else longer before any length. */
static unsigned int rank(const struct ioev *e)
{
	return (e->arg.flags & HVX_IOEVENTFD_DATAMATCH) << 4 | e->arg.len;
}

bool hvx_ioeventfd_write(struct hvx_vcpu *vcpu, bool pio, u64 addr, u32 len, u64 val)
{
	struct ioev *e, *best = NULL;

	rcu_read_lock_sched();
	hash_for_each_possible_rcu(vcpu->vm->ioevents, e, node, addr, rcu_read_lock_sched_held())
		if (e->arg.addr == addr && !!(e->arg.flags & HVX_IOEVENTFD_PIO) == pio &&
		    (!e->arg.len || e->arg.len == len) &&
		    (!(e->arg.flags & HVX_IOEVENTFD_DATAMATCH) || e->arg.datamatch == val) &&
		    (!best || rank(e) > rank(best)))
			best = e;
	if (best) {
		vcpu->stats.ioeventfd++;
		hvx_eventfd_signal(best->ctx);
	}
	rcu_read_unlock_sched();
	return best;
}

static void ioev_free(struct hvx_vm *vm, struct ioev *e)
{
	hash_del_rcu(&e->node);
	WRITE_ONCE(vm->nr_ioevents, vm->nr_ioevents - 1);
	synchronize_rcu_expedited();
	eventfd_ctx_put(e->ctx);
	kfree(e);
}

static int ioev_add(struct hvx_vm *vm, const struct hvx_ioeventfd *arg, struct eventfd_ctx *ctx)
{
	struct ioev *e;

	if (vm->nr_ioevents >= HVX_MAX_IOEVENTFDS)
		return -ENOSPC;
	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	e->arg = *arg;
	e->ctx = ctx;
	hash_add_rcu(vm->ioevents, &e->node, arg->addr);
	WRITE_ONCE(vm->nr_ioevents, vm->nr_ioevents + 1);
	return 0;
}

/* vm->lock held */
int hvx_ioeventfd(struct hvx_vm *vm, const struct hvx_ioeventfd *arg)
{
	bool pio = arg->flags & HVX_IOEVENTFD_PIO, match = arg->flags & HVX_IOEVENTFD_DATAMATCH,
	     remove = arg->flags & HVX_IOEVENTFD_DEASSIGN;
	u32 flags = arg->flags & ~HVX_IOEVENTFD_DEASSIGN;
	struct eventfd_ctx *ctx;
	struct ioev *e;
	int ret;

	if (flags & ~(HVX_IOEVENTFD_PIO | HVX_IOEVENTFD_DATAMATCH) ||
	    (arg->len & (arg->len - 1)) || arg->len > (pio ? 4 : 8) ||
	    arg->addr > (pio ? 0x10000 : 1ULL << 52) - max(arg->len, 1U) ||
	    (match ? !arg->len : arg->datamatch))
		return -EINVAL;
	ctx = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	hash_for_each_possible(vm->ioevents, e, node, arg->addr)
		if (e->arg.addr == arg->addr && e->arg.len == arg->len && e->arg.flags == flags &&
		    e->arg.datamatch == arg->datamatch)
			break;
	if (remove)
		ret = e && e->ctx == ctx ? 0 : -ENOENT;
	else
		ret = e ? -EEXIST : ioev_add(vm, arg, ctx);
	if (remove && !ret)
		ioev_free(vm, e);
	if (remove || ret)
		eventfd_ctx_put(ctx);
	return ret;
}

/* No vCPU runs any more. */
void hvx_eventfd_release(struct hvx_vm *vm)
{
	struct irqfd *f, *next;
	struct hlist_node *tmp;
	struct ioev *e;
	int i;

	list_for_each_entry_safe(f, next, &vm->irqfds, list)
		irqfd_deassign(f);
	hash_for_each_safe(vm->ioevents, i, tmp, e, node) {
		eventfd_ctx_put(e->ctx);
		kfree(e);
	}
}
