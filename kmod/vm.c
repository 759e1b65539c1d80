// SPDX-License-Identifier: GPL-2.0-only
/* A VM's life, and the ioctls of its file descriptor. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core.h"

static atomic_t next_vm_id = ATOMIC_INIT(0);

void hvx_vm_get(struct hvx_vm *vm)
{
	refcount_inc(&vm->refs);
}

static void vm_free(struct hvx_vm *vm)
{
	struct hvx_vcpu *vcpu;
	int i;

	hvx_debugfs_remove_vm(vm);
	/* First those that deliver from other contexts, then what they deliver to. */
	hvx_irqfd_release(vm);
	hvx_ioeventfd_release(vm);
	hvx_mmu_stop(vm);
	hvx_for_each_vcpu(i, vcpu, vm) {
		vm->vcpus[i] = NULL;
		hvx_vcpu_destroy(vcpu);
	}
	hvx_msr_filter_free(vm);
	hvx_mmu_destroy(vm);
	mmdrop(vm->mm);
	hvx_hw_put();
	kfree(vm);
}

void hvx_vm_put(struct hvx_vm *vm)
{
	if (refcount_dec_and_test(&vm->refs))
		vm_free(vm);
}

static int vm_create_vcpu(void *obj, void *buf, unsigned long arg)
{
	return hvx_vcpu_create(obj, arg);
}

static int vm_set_slot(void *obj, void *buf, unsigned long arg)
{
	const struct hvx_slot *s = buf;

	if (!hvx_all_zero(s->reserved, sizeof(s->reserved)))
		return -EINVAL;
	return hvx_mmu_set_slot(obj, s);
}

static int vm_get_dirty(void *obj, void *buf, unsigned long arg)
{
	struct hvx_dirty *d = buf;

	if (!hvx_all_zero(d->reserved, sizeof(d->reserved)))
		return -EINVAL;
	return hvx_mmu_get_dirty(obj, d);
}

static int vm_signal_msi(void *obj, void *buf, unsigned long arg)
{
	const struct hvx_msi *m = buf;

	if (m->flags)
		return -EINVAL;
	return hvx_deliver_msi(obj, m->address, m->data, NULL);
}

static int vm_irqfd(void *obj, void *buf, unsigned long arg)
{
	const struct hvx_irqfd *f = buf;

	if (!hvx_all_zero(f->reserved, sizeof(f->reserved)))
		return -EINVAL;
	return hvx_irqfd(obj, f);
}

static int vm_ioeventfd(void *obj, void *buf, unsigned long arg)
{
	const struct hvx_ioeventfd *f = buf;

	if (f->pad || !hvx_all_zero(f->reserved, sizeof(f->reserved)))
		return -EINVAL;
	return hvx_ioeventfd(obj, f);
}

static int vm_msr_filter(void *obj, void *buf, unsigned long arg)
{
	const struct hvx_msr_filter *f = buf;

	if (f->pad)
		return -EINVAL;
	return hvx_set_msr_filter(obj, f);
}

static int vm_get_clock(void *obj, void *buf, unsigned long arg)
{
	return hvx_get_clock(obj, buf);
}

static int vm_set_clock(void *obj, void *buf, unsigned long arg)
{
	const struct hvx_clock *c = buf;

	if (c->realtime_ns || c->host_tsc || !hvx_all_zero(c->reserved, sizeof(c->reserved)))
		return -EINVAL;
	return hvx_set_clock(obj, c);
}

static int vm_get_stats(void *obj, void *buf, unsigned long arg)
{
	hvx_vm_stats(obj, buf);
	return 0;
}

/* hvx_mmu_*, the eventfds and the clock take the locks that they need themselves. */
static const struct hvx_ioctl vm_ioctls[] = {
	{ HVX_SIGNAL_MSI, 0, vm_signal_msi },
	{ HVX_CREATE_VCPU, HVX_IOCTL_VM_LOCK, vm_create_vcpu },
	{ HVX_SET_SLOT, 0, vm_set_slot },
	{ HVX_GET_DIRTY, 0, vm_get_dirty },
	{ HVX_IRQFD, HVX_IOCTL_VM_LOCK, vm_irqfd },
	{ HVX_IOEVENTFD, HVX_IOCTL_VM_LOCK, vm_ioeventfd },
	{ HVX_SET_MSR_FILTER, HVX_IOCTL_VM_LOCK, vm_msr_filter },
	{ HVX_GET_CLOCK, HVX_IOCTL_VM_LOCK, vm_get_clock },
	{ HVX_SET_CLOCK, HVX_IOCTL_VM_LOCK, vm_set_clock },
	{ HVX_GET_STATS, 0, vm_get_stats },
};

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct hvx_ioctl *row = hvx_find_ioctl(vm_ioctls, ARRAY_SIZE(vm_ioctls), cmd);
	struct hvx_vm *vm = file->private_data;

	if (!row)
		return -ENOTTY;
	if (vm->mm != current->mm)
		return -EIO;
	return hvx_dispatch(row, vm, row->flags & HVX_IOCTL_VM_LOCK ? &vm->lock : NULL, arg);
}

static int vm_release(struct inode *inode, struct file *file)
{
	hvx_vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vm_ioctl,
	.release = vm_release,
	.llseek = noop_llseek,
};

static void vm_init(struct hvx_vm *vm, u32 flags)
{
	refcount_set(&vm->refs, 1);
	vm->flags = flags;
	vm->id = atomic_inc_return(&next_vm_id);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	mutex_init(&vm->lock);
	INIT_LIST_HEAD(&vm->irqfds);
	spin_lock_init(&vm->irqfd_lock);
	mutex_init(&vm->resample_lock);
}

int hvx_vm_create(const struct hvx_create_vm *arg)
{
	struct hvx_clock clock = {};
	struct hvx_vm *vm;
	int r;

	if (arg->flags & ~(HVX_VM_EXIT_HLT | HVX_VM_EXIT_HYPERCALL | HVX_VM_EXIT_MSR) ||
	    arg->pad || !hvx_all_zero(arg->reserved, sizeof(arg->reserved)))
		return -EINVAL;
	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return -ENOMEM;
	vm_init(vm, arg->flags);
	r = hvx_hw_get();
	if (r)
		goto err_free;
	r = hvx_mmu_init(vm);
	if (r)
		goto err_hw;
	r = hvx_set_clock(vm, &clock);
	if (r)
		goto err_mmu;
	hvx_debugfs_add_vm(vm);
	r = anon_inode_getfd("hvx-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (r < 0)
		goto err_debugfs;
	return r;

err_debugfs:
	hvx_debugfs_remove_vm(vm);
err_mmu:
	hvx_mmu_stop(vm);
	hvx_mmu_destroy(vm);
err_hw:
	hvx_hw_put();
err_free:
	mmdrop(vm->mm);
	kfree(vm);
	return r;
}
