/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory devices, for those who give orders to them. All under the machine lock. */
#ifndef HVX_VIRTIO_MEM_H
#define HVX_VIRTIO_MEM_H

#include "vmm/config.h"
#include "vmm/machine.h"

#define MEM_MAX_BLOCKS	65536U	/* of one device */

struct mem_device_info {
	const char *id;		/* "virtiomem0" */
	uint64_t addr;		/* guest-physical, of its room */
	uint64_t size;		/* of its room: the most that it can give */
	uint64_t block, requested, plugged;
};

/* The nth one, from 0. False: there are fewer. */
bool mem_device_info(struct machine *m, unsigned int n, struct mem_device_info *info);
/* Of its id. -ENODEV; -EINVAL: no multiple of its block, or more than its size. The guest follows in its own time. */
int mem_device_request(struct machine *m, const char *id, uint64_t bytes);
/* cfg stays the caller's, longer than the device. cfg->base 0: where there is room. */
int virtio_mem_create(struct machine *m, const struct dom_memdev *cfg);
/* Why it cannot go now (static text); NULL: it can, or it is no memory device. */
const char *mem_device_busy(struct device *dev);

#endif
