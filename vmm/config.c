// SPDX-License-Identifier: GPL-2.0-only
/* struct domain owns its strings; here they go. */
#include <stdlib.h>
#include "config.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static void chr_free(struct dom_chr *chr)
{
	free(chr->path);
	free(chr->host);
	free(chr->service);
	free(chr->log_file);
}

static void os_free(struct domain *dom)
{
	free(dom->os.machine);
	free(dom->os.kernel);
	free(dom->os.initrd);
	free(dom->os.cmdline);
	for (unsigned int i = 0; i < dom->os.nr_modules; i++)
		free(dom->os.module[i]);
	free(dom->os.loader);
	free(dom->os.nvram);
	free(dom->os.nvram_template);
}

static void sysinfo_free(struct domain *dom)
{
	char *const s[] = {
		dom->sysinfo.bios_vendor, dom->sysinfo.bios_version, dom->sysinfo.bios_date,
		dom->sysinfo.manufacturer, dom->sysinfo.product, dom->sysinfo.version,
		dom->sysinfo.serial, dom->sysinfo.sku, dom->sysinfo.family,
		dom->sysinfo.base_manufacturer, dom->sysinfo.base_product,
		dom->sysinfo.base_version, dom->sysinfo.base_serial,
		dom->sysinfo.chassis_manufacturer, dom->sysinfo.chassis_asset,
	};

	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		free(s[i]);
	for (size_t i = 0; i < ARRAY_SIZE(dom->sysinfo.oem); i++)
		free(dom->sysinfo.oem[i]);
}

static void clock_free(struct domain *dom)
{
	struct dom_timer *const t[] = {
		&dom->clock.rtc, &dom->clock.pit, &dom->clock.hpet,
		&dom->clock.kvmclock, &dom->clock.hypervclock, &dom->clock.tsc,
	};

	free(dom->clock.timezone);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		free(t[i]->tickpolicy);
}

void dom_disk_free(struct dom_disk *disk)
{
	for (unsigned int i = 0; i < disk->nr_backing; i++)
		free(disk->backing[i].file);
	free(disk->backing);
	for (unsigned int i = 0; i < disk->nr_chain; i++)
		free(disk->chain[i].file);
	free(disk->chain);
	free(disk->file);
	free(disk->opened_as);
	free(disk->target);
	free(disk->serial);
}

void dom_nic_free(struct dom_nic *nic)
{
	free(nic->id);
	free(nic->model);
	free(nic->source);
	free(nic->ifname);
	free(nic->ip_address);
	for (unsigned int i = 0; i < nic->nr_fwd; i++)
		free(nic->fwd[i].host_addr);
}

void dom_memdev_free(struct dom_memdev *md)
{
	free(md->id);
}

void domain_free(struct domain *dom)
{
	if (!dom)
		return;
	free(dom->file);
	free(dom->name);
	free(dom->title);
	free(dom->description);
	os_free(dom);
	sysinfo_free(dom);
	free(dom->cpu.model);
	free(dom->cpu.vendor);
	for (unsigned int i = 0; i < dom->cpu.nr_feature; i++)
		free(dom->cpu.feature[i].name);
	clock_free(dom);
	for (unsigned int i = 0; i < dom->nr_disks; i++)
		dom_disk_free(&dom->disk[i]);
	for (unsigned int i = 0; i < dom->nr_nics; i++)
		dom_nic_free(&dom->nic[i]);
	for (unsigned int i = 0; i < dom->nr_memdevs; i++)
		dom_memdev_free(&dom->memdev[i]);
	for (unsigned int i = 0; i < dom->nr_serials; i++)
		chr_free(&dom->serial[i].chr);
	for (unsigned int i = 0; i < dom->nr_ports; i++) {
		chr_free(&dom->port[i].chr);
		free(dom->port[i].name);
	}
	for (unsigned int i = 0; i < DOM_MAX_IO_DEVS; i++)
		free(dom->tune.io_dev[i].path);
	free(dom->rng.source);
	free(dom->watchdog.action);
	free(dom);
}
