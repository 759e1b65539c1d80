// SPDX-License-Identifier: GPL-2.0-only
/*
 * The three kinds of file descriptor, their ioctls, and the life of a VM.
 *
 * Each ioctl has a row that says which fd knows it, which lock it takes, which
 * words of its argument must be zero, and what array the argument points to.
 * The dispatcher alone copies from and to userspace: each byte once, through
 * its stack or a buffer of its own. do_call() works on those copies.
 */
#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>

#include "backend.h"

enum fd_kind { DEV, VM, VCPU };
static const struct file_operations fops[VCPU + 1];

/* ------------------------------------------------------------- counters */

#define NAME(counter)	#counter
static const char *const counters[] = { HVX_STATS(NAME) };
static_assert(sizeof(u64) * ARRAY_SIZE(counters) == offsetof(struct hvx_stats, reserved));

/* Counters are added to without locks: a sum is as of no exact moment. */
static void vm_stats(struct hvx_vm *vm, struct hvx_stats *sum)
{
	struct hvx_vcpu *vcpu;
	int i, n;

	*sum = vm->stats;
	hvx_for_each_vcpu(i, vcpu, vm)
		for (n = 0; n < ARRAY_SIZE(counters); n++)
			((u64 *)sum)[n] += READ_ONCE(((const u64 *)&vcpu->stats)[n]);
}

/* debugfs, hvx/<pid>-<vm>: a line for each counter: its name, the sum, and each vCPU's part. */
static int stats_show(struct seq_file *m, void *unused)
{
	struct hvx_vm *vm = m->private;
	struct hvx_vcpu *vcpu;
	struct hvx_stats sum;
	int i, n;

	vm_stats(vm, &sum);
	for (n = 0; n < ARRAY_SIZE(counters); n++) {
		seq_printf(m, "%s %llu", counters[n], ((const u64 *)&sum)[n]);
		hvx_for_each_vcpu(i, vcpu, vm)
			seq_printf(m, " %llu", ((const u64 *)&vcpu->stats)[n]);
		seq_putc(m, '\n');
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* ------------------------------------------------------------------ VM, vCPU */

static void vm_free(struct hvx_vm *vm)
{
	int i;

	debugfs_remove(vm->debugfs);	/* waits for readers */
	/* First those that deliver from other contexts, then what they deliver to. */
	hvx_eventfd_release(vm);
	mmu_notifier_unregister(&vm->mn, vm->mm);	/* calls release() unless the mm has */
	for (i = 0; i < HVX_MAX_VCPUS; i++)
		if (vm->vcpus[i])
			hvx_vcpu_destroy(vm->vcpus[i]);
	kfree(rcu_dereference_protected(vm->msr_filter, true));
	hvx_mmu_destroy(vm);
	mmdrop(vm->mm);
	hvx_hw_put();
	kfree(vm);
}

static void vm_put(struct hvx_vm *vm)
{
	if (refcount_dec_and_test(&vm->refs))
		vm_free(vm);
}

static int create_vm(const struct hvx_create_vm *arg)
{
	static atomic_t last_id;
	struct hvx_clock clock = {};
	struct hvx_vm *vm;
	char name[32];
	int r;

	if (arg->flags & ~(HVX_VM_EXIT_HLT | HVX_VM_EXIT_HYPERCALL | HVX_VM_EXIT_MSR))
		return -EINVAL;
	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return -ENOMEM;
	refcount_set(&vm->refs, 1);
	vm->flags = arg->flags;
	vm->id = atomic_inc_return(&last_id);
	vm->mm = current->mm;
	mutex_init(&vm->lock);
	INIT_LIST_HEAD(&vm->irqfds);
	spin_lock_init(&vm->irqfd_lock);
	r = hvx_hw_get();
	if (!r) {
		r = hvx_mmu_init(vm);
		if (r)
			hvx_hw_put();
	}
	if (r) {
		kfree(vm);
		return r;
	}
	mmgrab(vm->mm);
	hvx_set_clock(vm, &clock);
	snprintf(name, sizeof(name), "%d-%u", task_tgid_nr(current), vm->id);
	vm->debugfs = debugfs_create_file(name, 0400, hvx_debugfs, vm, &stats_fops);
	r = anon_inode_getfd("hvx-vm", &fops[VM], vm, O_RDWR | O_CLOEXEC);
	if (r < 0)
		vm_put(vm);
	return r;
}

/* vm->lock held. The file owns a reference to the VM; the vCPU itself lives as long as the VM. */
static int create_vcpu(struct hvx_vm *vm, unsigned int id)
{
	struct hvx_vcpu *vcpu;
	int fd;

	if (vm->vcpus[id])
		return -EEXIST;
	vcpu = hvx_vcpu_create(vm, id);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	/* Another thread may guess the fd: it must not run a vCPU that the VM does not know. */
	mutex_lock(&vcpu->lock);
	refcount_inc(&vm->refs);
	fd = anon_inode_getfd("hvx-vcpu", &fops[VCPU], vcpu, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		/* Who finds the pointer, or the bit, sees a whole vCPU. */
		smp_store_release(&vm->vcpus[id], vcpu);
		set_bit(id, &vm->vcpu_ids);
	}
	mutex_unlock(&vcpu->lock);
	if (fd < 0) {
		refcount_dec(&vm->refs);
		hvx_vcpu_destroy(vcpu);
	}
	return fd;
}

static int release(struct inode *inode, struct file *file)
{
	struct hvx_vcpu *vcpu = file->private_data;

	vm_put(file->f_op == &fops[VCPU] ? vcpu->vm : file->private_data);
	return 0;
}

/* The mapping holds its own reference to the page; it has nothing to show where it is grown. */
static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hvx_vcpu *vcpu = file->private_data;

	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE ||
	    !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(vcpu->run));
}

/* ---------------------------------------------------------------- the ioctls */

struct row {
	unsigned int cmd;
	u8 fds;			/* BIT(enum fd_kind) */
	u8 lock;		/* VM or VCPU: that one's; DEV: none */
	u8 array;		/* ARRAY_* */
	u8 elem;		/* bytes of an element */
	u16 max;		/* elements; of an _IO call: its largest argument */
	u32 zero;		/* 32-bit words of the argument that must be zero */
};
#define ARRAY_IN	1
#define ARRAY_OUT	2
#define ZERO(type, field) \
	((u32)GENMASK((offsetofend(struct type, field) - 1) / 4, offsetof(struct type, field) / 4))

static const struct row rows[] = {
	{ HVX_KICK, BIT(VCPU) },
	{ HVX_SET_EXTINT, BIT(VCPU), .max = 1 },
	{ HVX_NMI, BIT(VCPU) },
	{ HVX_SIGNAL_MSI, BIT(VM), .zero = ZERO(hvx_msi, flags) },
	{ HVX_GET_STATE, BIT(VCPU), VCPU, ARRAY_OUT, 1, HVX_MAX_STATE, ZERO(hvx_state, reserved) },
	{ HVX_SET_STATE, BIT(VCPU), VCPU, ARRAY_IN, 1, HVX_MAX_STATE, ZERO(hvx_state, reserved) },
	{ HVX_GET_MSRS, BIT(VCPU), VCPU, ARRAY_IN | ARRAY_OUT, sizeof(struct hvx_msr_entry),
	  HVX_MAX_MSRS, ZERO(hvx_msrs, pad) },
	{ HVX_SET_MSRS, BIT(VCPU), VCPU, ARRAY_IN, sizeof(struct hvx_msr_entry),
	  HVX_MAX_MSRS, ZERO(hvx_msrs, pad) },
	{ HVX_SET_CPUID, BIT(VCPU), VCPU, ARRAY_IN, sizeof(struct hvx_cpuid_entry),
	  HVX_MAX_CPUID, ZERO(hvx_cpuid, pad) },
	{ HVX_SET_DEBUG, BIT(VCPU), VCPU, .zero = ZERO(hvx_debug, pad) | ZERO(hvx_debug, reserved) },
	{ HVX_GET_STATS, BIT(VM) | BIT(VCPU) },
	/* These take the locks that they need themselves. */
	{ HVX_SET_SLOT, BIT(VM), .zero = ZERO(hvx_slot, reserved) },
	{ HVX_GET_DIRTY, BIT(VM), .zero = ZERO(hvx_dirty, reserved) },
	{ HVX_IRQFD, BIT(VM), VM, .zero = ZERO(hvx_irqfd, reserved) },
	{ HVX_IOEVENTFD, BIT(VM), VM,
	  .zero = ZERO(hvx_ioeventfd, pad) | ZERO(hvx_ioeventfd, reserved) },
	{ HVX_SET_MSR_FILTER, BIT(VM), VM, ARRAY_IN, sizeof(struct hvx_msr_range),
	  HVX_MAX_MSR_RANGES, ZERO(hvx_msr_filter, pad) },
	{ HVX_GET_CLOCK, BIT(VM), VM },
	{ HVX_SET_CLOCK, BIT(VM), VM,
	  .zero = ZERO(hvx_clock, realtime_ns) | ZERO(hvx_clock, reserved) },
	{ HVX_CREATE_VCPU, BIT(VM), VM, .max = HVX_MAX_VCPUS - 1 },
	{ HVX_CREATE_VM, BIT(DEV),
	  .zero = ZERO(hvx_create_vm, pad) | ZERO(hvx_create_vm, reserved) },
	{ HVX_GET_INFO, BIT(DEV) },
};

/* One ioctl in progress. */
struct call {
	struct hvx_vm *vm;
	struct hvx_vcpu *vcpu;
	unsigned long arg;
	void *array;		/* copy of the caller's; kvfree()d afterwards unless taken over */
	union {			/* copy of the argument structure */
		u32 words[96];
		struct { u32 count, unused; u64 ptr; } list;	/* all that point to an array */
	};
};
/* HVX_GET_STATS is the largest. */
static_assert(sizeof(struct hvx_stats) <= sizeof_field(struct call, words));

static void get_info(struct hvx_info *info)
{
	u64 caps;

	info->api_version = HVX_API_VERSION;
	info->run_size = PAGE_SIZE;
	info->features = hvx_backend->features | HVX_FEAT_DIRTY_RANGE | HVX_FEAT_SINGLE_STEP;
	info->max_vcpus = HVX_MAX_VCPUS;
	info->max_slots = HVX_MAX_SLOTS;
	info->tsc_khz = tsc_khz;
	info->phys_bits = hvx_mmu_phys_bits();
	info->xcr0 = hvx_xcr0_mask;
	info->xsave_size = hvx_xsave_size;
	hvx_cpuid_limits(NULL, &info->cr4, &info->efer, &caps);
	info->pv_features = (u32)caps;
	strscpy(info->backend, hvx_backend->name, sizeof(info->backend));
}

static int set_cpuid(struct call *c)
{
	u32 n = c->list.count;
	int r = n ? hvx_vcpu_set_cpuid(c->vcpu, c->array, n) : -EINVAL;

	if (!r)
		c->array = NULL;	/* the vCPU has it */
	return r;
}

/* Stops at the first that is unknown or refused; the number done. */
static int do_msrs(struct call *c, bool set)
{
	struct hvx_msr_entry *e = c->array;
	unsigned int i;

	for (i = 0; i < c->list.count && !e[i].pad; i++)
		if (hvx_msr(c->vcpu, e[i].index, &e[i].value, set, true))
			break;
	return i;
}

static int set_debug(struct hvx_vcpu *vcpu, const struct hvx_debug *d)
{
	int i;

	if (d->flags & ~(HVX_DEBUG_STEP | HVX_DEBUG_HW | HVX_DEBUG_SW))
		return -EINVAL;
	if (d->flags & HVX_DEBUG_HW) {
		/* The upper half must be zero, and general detect is the guest's own business. */
		if (d->dr7 >> 32 || d->dr7 & (1U << 13))
			return -EINVAL;
		for (i = 0; i < 4; i++)
			if (d->db[i] >= TASK_SIZE_MAX && (s64)d->db[i] >> 47 != -1)
				return -EINVAL;
	}
	vcpu->debug_flags = d->flags;
	memcpy(vcpu->debug_db, d->db, sizeof(vcpu->debug_db));
	vcpu->debug_dr7 = d->dr7 | 0x400;
	hvx_backend->update(vcpu);
	return 0;
}

static long do_call(struct call *c, unsigned int cmd)
{
	struct hvx_vcpu *vcpu = c->vcpu;
	struct hvx_vm *vm = c->vm;
	void *buf = c->words;

	switch (cmd) {
	case HVX_GET_INFO:
		get_info(buf);
		return 0;
	case HVX_CREATE_VM:
		return create_vm(buf);
	case HVX_CREATE_VCPU:
		return create_vcpu(vm, c->arg);
	case HVX_SET_SLOT:
		return hvx_mmu_set_slot(vm, buf);
	case HVX_GET_DIRTY:
		return hvx_mmu_get_dirty(vm, buf);
	case HVX_SIGNAL_MSI:
		return hvx_deliver_msi(vm, ((struct hvx_msi *)buf)->address,
				       ((struct hvx_msi *)buf)->data);
	case HVX_IRQFD:
		return hvx_irqfd(vm, buf);
	case HVX_IOEVENTFD:
		return hvx_ioeventfd(vm, buf);
	case HVX_SET_MSR_FILTER:
		return hvx_set_msr_filter(vm, c->array, c->list.count);
	case HVX_GET_CLOCK:
		return hvx_get_clock(vm, buf);
	case HVX_SET_CLOCK:
		return hvx_set_clock(vm, buf);
	case HVX_GET_STATS:
		if (vcpu)
			*(struct hvx_stats *)buf = vcpu->stats;
		else
			vm_stats(vm, buf);
		return 0;
	case HVX_GET_STATE:
	case HVX_SET_STATE:
		return hvx_state(vcpu, ((struct hvx_state *)buf)->group, c->array, c->list.count,
				 cmd == HVX_SET_STATE);
	case HVX_GET_MSRS:
	case HVX_SET_MSRS:
		return do_msrs(c, cmd == HVX_SET_MSRS);
	case HVX_SET_CPUID:
		return set_cpuid(c);
	case HVX_SET_DEBUG:
		return set_debug(vcpu, buf);
	case HVX_NMI:
		atomic_add_unless(&vcpu->nmi_queued, 1, 2);
		hvx_request_kick(vcpu, HVX_REQ_EVENT);
		return 0;
	case HVX_KICK:
		hvx_request_kick(vcpu, HVX_REQ_KICK);
		return 0;
	case HVX_SET_EXTINT:
		WRITE_ONCE(vcpu->extint_level, c->arg);
		hvx_request_kick(vcpu, HVX_REQ_EVENT);
		return 0;
	}
	return -ENOTTY;
}

static long locked_call(struct call *c, const struct row *row)
{
	struct mutex *lock = row->lock == VCPU ? &c->vcpu->lock : &c->vm->lock;
	long r;

	if (row->lock == DEV)
		return do_call(c, row->cmd);
	if (mutex_lock_killable(lock))
		return -EINTR;
	r = do_call(c, row->cmd);
	mutex_unlock(lock);
	return r;
}

static long array_call(struct call *c, const struct row *row)
{
	void __user *ptr = u64_to_user_ptr(c->list.ptr);
	u32 room = c->list.count;
	long r = -EFAULT;

	if (room > row->max)
		return -EINVAL;
	c->array = kvcalloc(room, row->elem, GFP_KERNEL_ACCOUNT);
	if (!c->array)
		return -ENOMEM;
	if (!(row->array & ARRAY_IN) || !copy_from_user(c->array, ptr, room * row->elem))
		r = locked_call(c, row);
	if (r >= 0 && row->array & ARRAY_OUT && copy_to_user(ptr, c->array, room * row->elem))
		r = -EFAULT;
	kvfree(c->array);
	return r;
}

static long hvx_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	enum fd_kind kind = file->f_op - fops;
	unsigned int i, size = _IOC_SIZE(cmd);
	const struct row *row = rows;
	unsigned long zero;
	struct call c;
	long r;

	while (row->cmd != cmd || !(row->fds & BIT(kind)))
		if (++row == rows + ARRAY_SIZE(rows))
			return -ENOTTY;
	c.vcpu = kind == VCPU ? file->private_data : NULL;
	c.vm = kind == VM ? file->private_data : kind == VCPU ? c.vcpu->vm : NULL;
	c.arg = arg;
	if (c.vm && c.vm->mm != current->mm)
		return -EIO;
	if (_IOC_DIR(cmd) == _IOC_NONE) {
		if (arg > row->max)
			return -EINVAL;
	} else if (_IOC_DIR(cmd) == _IOC_READ) {
		memset(c.words, 0, size);
	} else if (copy_from_user(c.words, (void __user *)arg, size)) {
		return -EFAULT;
	}
	zero = row->zero;
	for_each_set_bit(i, &zero, 32)
		if (c.words[i])
			return -EINVAL;
	r = row->array ? array_call(&c, row) : locked_call(&c, row);
	if (_IOC_DIR(cmd) & _IOC_READ && r >= 0 && copy_to_user((void __user *)arg, c.words, size))
		return -EFAULT;
	return r;
}

/* The one call whose speed matters goes past the table, and past struct call on the stack. */
static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hvx_vcpu *vcpu = file->private_data;
	long r;

	if (unlikely(cmd != HVX_RUN))
		return hvx_ioctl(file, cmd, arg);
	if (vcpu->vm->mm != current->mm)
		return -EIO;
	if (arg)
		return -EINVAL;
	if (mutex_lock_killable(&vcpu->lock))
		return -EINTR;
	r = hvx_vcpu_run(vcpu);
	mutex_unlock(&vcpu->lock);
	return r;
}

static const struct file_operations fops[] = {
	[DEV] = { .owner = THIS_MODULE, .unlocked_ioctl = hvx_ioctl },
	[VM] = { .owner = THIS_MODULE, .unlocked_ioctl = hvx_ioctl, .release = release },
	[VCPU] = { .owner = THIS_MODULE, .unlocked_ioctl = vcpu_ioctl, .release = release,
		   .mmap = vcpu_mmap },
};

struct miscdevice hvx_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hvx",
	.fops = &fops[DEV],
	.mode = 0660,
};
