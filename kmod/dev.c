// SPDX-License-Identifier: GPL-2.0-only
/* /dev/hvx, and the dispatcher that all ioctl tables share. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/tsc.h>

#include "core.h"

/* Largest argument structure; checked for each table at compile time by its use. */
#define MAX_ARG 512

bool hvx_all_zero(const void *p, size_t n)
{
	return !memchr_inv(p, 0, n);
}

const struct hvx_ioctl *hvx_find_ioctl(const struct hvx_ioctl *table, unsigned int n,
				       unsigned int cmd)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (table[i].cmd == cmd)
			return &table[i];
	return NULL;
}

long hvx_dispatch(const struct hvx_ioctl *row, void *obj, struct mutex *lock, unsigned long arg)
{
	unsigned int size = _IOC_SIZE(row->cmd), dir = _IOC_DIR(row->cmd);
	u64 buf[MAX_ARG / 8];
	long r;

	if (WARN_ON_ONCE(size > sizeof(buf)))
		return -ENOTTY;
	if (dir & _IOC_WRITE) {
		if (copy_from_user(buf, (void __user *)arg, size))
			return -EFAULT;
	} else if (dir & _IOC_READ) {
		memset(buf, 0, size);
	}
	if (lock && mutex_lock_killable(lock))
		return -EINTR;
	r = row->fn(obj, dir == _IOC_NONE ? NULL : buf, arg);
	if (lock)
		mutex_unlock(lock);
	/* E2BIG tells the caller how much room it needs. */
	if ((dir & _IOC_READ) && (r >= 0 || r == -E2BIG) &&
	    copy_to_user((void __user *)arg, buf, size))
		return -EFAULT;
	return r;
}

int hvx_get_cpuid_table(const struct hvx_cpuid *arg, struct hvx_cpuid_entry **out)
{
	struct hvx_cpuid_entry *e;

	if (arg->pad || !arg->nent || arg->nent > HVX_MAX_CPUID)
		return -EINVAL;
	e = kvmalloc_array(arg->nent, sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	if (copy_from_user(e, u64_to_user_ptr(arg->entries), arg->nent * sizeof(*e))) {
		kvfree(e);
		return -EFAULT;
	}
	*out = e;
	return 0;
}

static int dev_get_info(void *obj, void *buf, unsigned long arg)
{
	struct hvx_info *info = buf;

	info->api_version = HVX_API_VERSION;
	info->run_size = PAGE_SIZE;
	info->features = hvx_backend->features | HVX_FEAT_DIRTY_RANGE | HVX_FEAT_SINGLE_STEP |
			 HVX_FEAT_XSAVE;
	info->max_vcpus = HVX_MAX_VCPUS;
	info->max_slots = HVX_MAX_SLOTS;
	info->tsc_khz = tsc_khz;
	info->phys_bits = hvx_mmu_phys_bits();
	info->xcr0 = hvx_xcr0_mask;
	info->xsave_size = hvx_xsave_size;
	strscpy(info->backend, hvx_backend->name, sizeof(info->backend));
	return 0;
}

static int dev_get_cpuid(void *obj, void *buf, unsigned long arg)
{
	struct hvx_cpuid *c = buf;
	struct hvx_cpuid_entry *e;
	unsigned int count = 0;
	int r;

	if (c->pad || c->nent > HVX_MAX_CPUID)
		return -EINVAL;
	e = kvcalloc(HVX_MAX_CPUID, sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	r = hvx_supported_cpuid(e, HVX_MAX_CPUID, &count);
	if (!r && count > c->nent)
		r = -E2BIG;
	else if (!r && copy_to_user(u64_to_user_ptr(c->entries), e, count * sizeof(*e)))
		r = -EFAULT;
	c->nent = count;
	kvfree(e);
	return r;
}

static int dev_get_msr_list(void *obj, void *buf, unsigned long arg)
{
	struct hvx_msr_list *l = buf;
	unsigned int count = 0, room = 512;
	u32 *idx;
	int r;

	if (l->pad)
		return -EINVAL;
	idx = kvcalloc(room, sizeof(*idx), GFP_KERNEL_ACCOUNT);
	if (!idx)
		return -ENOMEM;
	r = hvx_msr_list(idx, room, &count);
	if (!r && count > l->count)
		r = -E2BIG;
	else if (!r && copy_to_user(u64_to_user_ptr(l->indices), idx, count * sizeof(*idx)))
		r = -EFAULT;
	l->count = count;
	kvfree(idx);
	return r;
}

static int dev_create_vm(void *obj, void *buf, unsigned long arg)
{
	return hvx_vm_create(buf);
}

static const struct hvx_ioctl dev_ioctls[] = {
	{ HVX_GET_INFO, 0, dev_get_info },
	{ HVX_GET_SUPPORTED_CPUID, 0, dev_get_cpuid },
	{ HVX_GET_MSR_LIST, 0, dev_get_msr_list },
	{ HVX_CREATE_VM, 0, dev_create_vm },
};

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct hvx_ioctl *row = hvx_find_ioctl(dev_ioctls, ARRAY_SIZE(dev_ioctls), cmd);

	return row ? hvx_dispatch(row, NULL, NULL, arg) : -ENOTTY;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dev_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hvx",
	.fops = &dev_fops,
	.mode = 0660,
};

int hvx_dev_register(void)
{
	return misc_register(&dev_misc);
}

void hvx_dev_unregister(void)
{
	misc_deregister(&dev_misc);
}
