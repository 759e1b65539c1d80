// SPDX-License-Identifier: GPL-2.0-only
/* The ioctls of /dev/hvx, one wrapper each: the operations of struct hv_ops on hvx.ko. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hvxapi.h"

static int call(int fd, unsigned long request, const void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static int call_val(int fd, unsigned long request, unsigned long arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static int hvx_open(struct hv *hv, const char *dev, uint32_t vm_flags)
{
	struct hvx_create_vm create = { .flags = vm_flags };
	int ret;

	hv->dev_fd = open(dev, O_RDWR | O_CLOEXEC);
	if (hv->dev_fd < 0)
		return -errno;
	ret = call(hv->dev_fd, HVX_GET_INFO, &hv->info);
	if (ret < 0)
		goto fail;
	if (hv->info.api_version != HVX_API_VERSION || hv->info.run_size < sizeof(struct hvx_run)) {
		ret = -EPROTO;
		goto fail;
	}
	ret = call(hv->dev_fd, HVX_CREATE_VM, &create);
	if (ret < 0)
		goto fail;
	hv->vm_fd = ret;
	return 0;

fail:
	close(hv->dev_fd);
	return ret;
}

static void hvx_close(struct hv *hv)
{
	close(hv->vm_fd);
	close(hv->dev_fd);
}

static int hvx_set_slot(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
		void *hva)
{
	struct hvx_slot s = {
		.slot = slot, .flags = flags, .gpa = gpa, .size = size, .hva = (uintptr_t)hva,
	};

	return call(hv->vm_fd, HVX_SET_SLOT, &s);
}

static int hvx_get_dirty(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first, uint64_t pages,
		 uint64_t *bitmap)
{
	struct hvx_dirty d = {
		.slot = slot, .flags = flags, .first_page = first, .num_pages = pages,
		.bitmap = (uintptr_t)bitmap,
	};

	return call(hv->vm_fd, HVX_GET_DIRTY, &d);
}

static int hvx_signal_msi(struct hv *hv, uint64_t address, uint32_t data)
{
	struct hvx_msi msi = { .address = address, .data = data };

	return call(hv->vm_fd, HVX_SIGNAL_MSI, &msi);
}

static int hvx_irqfd(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address,
	     uint32_t data)
{
	struct hvx_irqfd i = {
		.fd = fd, .resample_fd = resample_fd, .flags = flags, .address = address,
		.data = data,
	};

	return call(hv->vm_fd, HVX_IRQFD, &i);
}

static int hvx_ioeventfd(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len, uint64_t match,
		 int fd)
{
	struct hvx_ioeventfd i = {
		.addr = addr, .datamatch = match, .len = len, .fd = fd, .flags = flags,
	};

	return call(hv->vm_fd, HVX_IOEVENTFD, &i);
}

static int hvx_get_clock(struct hv *hv, struct hvx_clock *c)
{
	return call(hv->vm_fd, HVX_GET_CLOCK, c);
}

static int hvx_set_clock(struct hv *hv, const struct hvx_clock *c)
{
	return call(hv->vm_fd, HVX_SET_CLOCK, (void *)c);
}

static int hvx_vm_stats(struct hv *hv, struct hvx_stats *s)
{
	return call(hv->vm_fd, HVX_GET_STATS, s);
}

static int hvx_vcpu_create(struct hv *hv, uint32_t id, struct hv_vcpu *v)
{
	int fd = call_val(hv->vm_fd, HVX_CREATE_VCPU, id);
	void *run;

	if (fd < 0)
		return fd;
	run = mmap(NULL, hv->info.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	v->fd = fd;
	v->run = run;
	v->hv = hv;
	return 0;
}

static void hvx_vcpu_close(struct hv_vcpu *v)
{
	munmap(v->run, v->hv->info.run_size);
	close(v->fd);
}

static int hvx_run(struct hv_vcpu *v)
{
	return ioctl(v->fd, HVX_RUN, 0) < 0 ? -errno : 0;
}

static int hvx_get_state(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size)
{
	struct hvx_state s = { .group = group, .size = size, .data = (uintptr_t)data };

	return call(v->fd, HVX_GET_STATE, &s);
}

static int hvx_set_state(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size)
{
	struct hvx_state s = { .group = group, .size = size, .data = (uintptr_t)data };

	return call(v->fd, HVX_SET_STATE, &s);
}

static int hvx_get_msrs(struct hv_vcpu *v, struct hvx_msr_entry *e, unsigned int n)
{
	struct hvx_msrs m = { .count = n, .entries = (uintptr_t)e };

	return call(v->fd, HVX_GET_MSRS, &m);
}

static int hvx_set_msrs(struct hv_vcpu *v, const struct hvx_msr_entry *e, unsigned int n)
{
	struct hvx_msrs m = { .count = n, .entries = (uintptr_t)e };

	return call(v->fd, HVX_SET_MSRS, &m);
}

static int hvx_set_cpuid(struct hv_vcpu *v, const struct hvx_cpuid_entry *e, unsigned int n)
{
	struct hvx_cpuid c = { .nent = n, .entries = (uintptr_t)e };

	return call(v->fd, HVX_SET_CPUID, &c);
}

static int hvx_nmi(struct hv_vcpu *v)
{
	return call_val(v->fd, HVX_NMI, 0);
}

static int hvx_kick(struct hv_vcpu *v)
{
	return call_val(v->fd, HVX_KICK, 0);
}

static int hvx_set_extint(struct hv_vcpu *v, bool level)
{
	return call_val(v->fd, HVX_SET_EXTINT, level);
}

static int hvx_set_debug(struct hv_vcpu *v, const struct hvx_debug *d)
{
	return call(v->fd, HVX_SET_DEBUG, d);
}

static int hvx_vcpu_stats(struct hv_vcpu *v, struct hvx_stats *s)
{
	return call(v->fd, HVX_GET_STATS, s);
}

const struct hv_ops hv_hvx = {
	.name = "hvx",
	.dev = "/dev/hvx",
	.ioc = HVX_IOC,
	.open = hvx_open,
	.close = hvx_close,
	.set_slot = hvx_set_slot,
	.get_dirty = hvx_get_dirty,
	.signal_msi = hvx_signal_msi,
	.irqfd = hvx_irqfd,
	.ioeventfd = hvx_ioeventfd,
	.get_clock = hvx_get_clock,
	.set_clock = hvx_set_clock,
	.vm_stats = hvx_vm_stats,
	.vcpu_create = hvx_vcpu_create,
	.vcpu_close = hvx_vcpu_close,
	.run = hvx_run,
	.get_state = hvx_get_state,
	.set_state = hvx_set_state,
	.get_msrs = hvx_get_msrs,
	.set_msrs = hvx_set_msrs,
	.set_cpuid = hvx_set_cpuid,
	.nmi = hvx_nmi,
	.kick = hvx_kick,
	.set_extint = hvx_set_extint,
	.set_debug = hvx_set_debug,
	.vcpu_stats = hvx_vcpu_stats,
};
