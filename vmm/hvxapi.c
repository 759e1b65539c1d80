// SPDX-License-Identifier: GPL-2.0-only
/* The hypervisor under the VMM: the choice, and the calls handed on. */
#include <string.h>

#include "hvxapi.h"

const struct hv_ops *hv_named(const char *name)
{
	return !strcmp(name, hv_hvx.name) ? &hv_hvx : !strcmp(name, hv_kvm.name) ? &hv_kvm : NULL;
}

int hv_open(struct hv *hv, const struct hv_ops *ops, const char *dev, uint32_t vm_flags)
{
	int ret;

	memset(hv, 0, sizeof(*hv));
	hv->vm_fd = hv->dev_fd = -1;
	hv->ops = ops;
	ret = ops->open(hv, dev ? dev : ops->dev, vm_flags);
	if (ret)
		hv->vm_fd = hv->dev_fd = -1;
	return ret;
}

void hv_close(struct hv *hv)
{
	if (hv->vm_fd >= 0)
		hv->ops->close(hv);
	hv->vm_fd = hv->dev_fd = -1;
}

void hv_vcpu_close(struct hv_vcpu *v)
{
	if (!v->run)
		return;
	v->hv->ops->vcpu_close(v);
	v->run = NULL;
	v->fd = -1;
}

int hv_set_slot(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
		void *hva)
{
	return hv->ops->set_slot(hv, slot, flags, gpa, size, hva);
}

int hv_get_dirty(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first, uint64_t pages,
		uint64_t *bitmap)
{
	return hv->ops->get_dirty(hv, slot, flags, first, pages, bitmap);
}

int hv_signal_msi(struct hv *hv, uint64_t address, uint32_t data)
{
	return hv->ops->signal_msi(hv, address, data);
}

int hv_irqfd(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address,
		uint32_t data)
{
	return hv->ops->irqfd(hv, fd, resample_fd, flags, address, data);
}

int hv_ioeventfd(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len, uint64_t match,
		int fd)
{
	return hv->ops->ioeventfd(hv, flags, addr, len, match, fd);
}

int hv_get_clock(struct hv *hv, struct hvx_clock *c)
{
	return hv->ops->get_clock(hv, c);
}

int hv_set_clock(struct hv *hv, const struct hvx_clock *c)
{
	return hv->ops->set_clock(hv, c);
}

int hv_vm_stats(struct hv *hv, struct hvx_stats *s)
{
	return hv->ops->vm_stats(hv, s);
}

int hv_vcpu_create(struct hv *hv, uint32_t id, struct hv_vcpu *v)
{
	return hv->ops->vcpu_create(hv, id, v);
}

int hv_run(struct hv_vcpu *v)
{
	return v->hv->ops->run(v);
}

int hv_get_state(struct hv_vcpu *v, uint32_t group, void *data, uint32_t size)
{
	return v->hv->ops->get_state(v, group, data, size);
}

int hv_set_state(struct hv_vcpu *v, uint32_t group, const void *data, uint32_t size)
{
	return v->hv->ops->set_state(v, group, data, size);
}

int hv_get_msrs(struct hv_vcpu *v, struct hvx_msr_entry *e, unsigned int n)
{
	return v->hv->ops->get_msrs(v, e, n);
}

int hv_set_msrs(struct hv_vcpu *v, const struct hvx_msr_entry *e, unsigned int n)
{
	return v->hv->ops->set_msrs(v, e, n);
}

int hv_set_cpuid(struct hv_vcpu *v, const struct hvx_cpuid_entry *e, unsigned int n)
{
	return v->hv->ops->set_cpuid(v, e, n);
}

int hv_nmi(struct hv_vcpu *v)
{
	return v->hv->ops->nmi(v);
}

int hv_kick(struct hv_vcpu *v)
{
	return v->hv->ops->kick(v);
}

int hv_set_extint(struct hv_vcpu *v, bool level)
{
	return v->hv->ops->set_extint(v, level);
}

int hv_set_debug(struct hv_vcpu *v, const struct hvx_debug *d)
{
	return v->hv->ops->set_debug(v, d);
}

int hv_vcpu_stats(struct hv_vcpu *v, struct hvx_stats *s)
{
	return v->hv->ops->vcpu_stats(v, s);
}
