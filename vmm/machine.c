// SPDX-License-Identifier: GPL-2.0-only
/* The board: what it is made of, how it is put together, reset and taken apart. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "board.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/smbios.h"
#include "cpu.h"
#include "dirty.h"
#include "devices/device.h"
#include "devices/pci.h"
#include "devices/virtio/mem.h"
#include "gdb.h"
#include "hotplug.h"
#include "livexml.h"
#include "memdev.h"
#include "migrate.h"
#include "qmp.h"
#include "runstate.h"
#include "save.h"
#include "tune.h"
#include "vcpu.h"

_Static_assert(BOARD_ECAM_BASE == PCI_ECAM_BASE && BOARD_ECAM_SIZE == PCI_ECAM_SIZE &&
	       BOARD_PCI_MMIO32 == PCI_MMIO32_BASE, "board.h and pci.h disagree");

/* ------------------------------------------------------------- the board */

static int board_chipset(struct machine *m)
{
	return pic_create(m) ?:
	       ioapic_create(m) ?:
	       pit_create(m) ?:
	       rtc_create(m) ?:
	       i8042_create(m) ?:
	       acpi_pm_create(m) ?:
	       acpi_hotplug_create(m) ?:
	       fw_cfg_create(m) ?:
	       pci_host_create(m);
}

static int board_guest_to_host(struct machine *m)
{
	const struct domain *dom = m->dom;
	int ret = 0;

	if (dom->panic.present)
		ret = pvpanic_create(m);
	if (!ret && dom->debug_exit.present)
		ret = debug_exit_create(m, dom->debug_exit.port ?: BOARD_DEBUG_EXIT_PORT);
	return ret;
}

static int board_peripherals(struct machine *m)
{
	const struct domain *dom = m->dom;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < dom->nr_serials && !ret; i++)
		ret = serial_create(m, &dom->serial[i]);
	for (i = 0; i < dom->nr_disks && !ret; i++)
		ret = virtio_blk_create(m, &dom->disk[i]);
	for (i = 0; i < dom->nr_nics && !ret; i++)
		ret = virtio_net_create(m, &dom->nic[i]);
	if (!ret && dom->nr_ports)
		ret = virtio_console_create(m, dom->port, dom->nr_ports);
	if (!ret && dom->rng.present)
		ret = virtio_rng_create(m);
	if (!ret && dom->balloon.present)
		ret = virtio_balloon_create(m);
	for (i = 0; i < dom->nr_memdevs && !ret; i++)
		ret = virtio_mem_create(m, &dom->memdev[i]) ?: memdev_name(m, i);
	if (!ret && dom->vsock.present)
		ret = virtio_vsock_create(m);
	return ret;
}

/* RAM as the guest finds it after firmware: what the board has to say of itself. */
static int board_tables(struct machine *m, uint64_t *rsdp)
{
	uint32_t apic_id[HVX_MAX_VCPUS];
	struct acpi_board ab = {
		.nr_cpus = m->nr_vcpus,
		.present = m->cpus_present,
		.apic_id = apic_id,
		.ram_top = guest_mem_top(&m->mem),
		.phys_bits = m->cpu->phys_bits,
		.pvpanic = m->dom->panic.present,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < m->nr_vcpus; i++)
		apic_id[i] = m->vcpu[i].id;
	for (i = 0; i < m->dom->nr_serials; i++)
		ab.serial_mask |= 1U << (m->dom->serial[i].port & 3);
	*rsdp = 0;
	ret = m->dom->features.acpi ? acpi_write(&m->mem, &ab, rsdp) : 0;
	return ret ?: guest_write(&m->mem, SMBIOS_BASE, m->smbios, m->smbios_len) ?:
	       guest_write(&m->mem, BOARD_VMGENID, m->vmgenid, sizeof(m->vmgenid));
}

/* The whole machine to its power-on state, as if firmware had just jumped to the kernel. */
int machine_reset(struct machine *m)
{
	struct boot_entry entry = { .mem = &m->mem };
	struct device *dev;
	int ret;

	pthread_mutex_lock(&m->lock);
	for (dev = m->devices; dev; dev = dev->next)
		if (dev->ops->reset)
			dev->ops->reset(dev);
	pci_assign(m);
	vcpus_reset_sregs(m, &entry.sregs);
	ret = board_tables(m, &entry.rsdp) ?:
	      boot_load(m->boot, &entry);
	/* Kernel and initrd were read into memory directly. */
	dirty_mark(m->mem.region[0].hva, m->mem.ram_size);
	pthread_mutex_unlock(&m->lock);
	return ret ?: vcpus_reset(m, &entry.regs, &entry.sregs);
}

int machine_new_generation(struct machine *m)
{
	int ret;

	if (getrandom(m->vmgenid, sizeof(m->vmgenid), 0) != sizeof(m->vmgenid))
		return -EIO;
	ret = guest_write(&m->mem, BOARD_VMGENID, m->vmgenid, sizeof(m->vmgenid));
	if (!ret)
		acpi_pm_gpe(m, BOARD_VMGENID_GPE);
	return ret;
}

/* ----------------------------------------------------------------- build */

static int open_hv(struct machine *m)
{
	int ret = hv_open(&m->hv, m->accel, NULL, HVX_VM_EXIT_MSR);

	if (m->accel != &hv_hvx) {
		if (ret)
			log_error("%s: %s; `hvx host` tells more", m->accel->dev, strerror(-ret));
		return ret;
	}

	switch (ret) {
	case 0:
		break;
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		log_error("/dev/hvx is not there: load the module (modprobe hvx); `hvx host` tells what is missing. Where it cannot be loaded, --accel kvm uses KVM");
		break;
	case -EACCES:
	case -EPERM:
		log_error("no permission to open /dev/hvx: join the group hvx (usermod -aG hvx $USER) and log in again");
		break;
	case -EBUSY:
		log_error("the CPU's virtualisation is held by another hypervisor: stop it, or see the kernel log (dmesg) for its name");
		break;
	case -EPROTO:
		log_error("the loaded module hvx is of another version than this program: load the one that came with it");
		break;
	default:
		log_error("/dev/hvx: %s; see the kernel log (dmesg)", strerror(-ret));
	}
	return ret;
}

static int build_memory(struct machine *m)
{
	const struct domain *dom = m->dom;
	struct mem_backing backing = {
		.hugetlb = dom->backing.hugepages,
		.hugepage_size = dom->backing.hugepage_size,
		.locked = dom->backing.locked,
		.no_ksm = dom->backing.nosharepages,
		.prealloc = dom->backing.prealloc,
		.device_size = dom->device_room,
		.from = m->ram_from,
	};
	unsigned int i;
	int ret;

	backing.numa_policy = tune_numa(dom, backing.numa_nodes);
	if (dom->memory + (dom->device_room ? dom->device_room + 2 * DEVICE_ALIGN : 0) > (1ULL << m->cpu->phys_bits) / 2) {
		log_error("<memory>: %llu MiB is more than this host's CPU can map for a guest",
			  (unsigned long long)((dom->memory + dom->device_room) >> 20));
		return -EINVAL;
	}
	ret = guest_mem_init(&m->mem, dom->memory, &backing);
	for (i = 0; !ret && i < m->mem.nr; i++) {
		const struct guest_region *r = &m->mem.region[i];

		ret = hv_set_slot(&m->hv, r->slot, r->readonly ? HVX_SLOT_READONLY : 0, r->gpa,
				  r->size, r->hva);
		if (ret)
			log_error("the module refuses guest memory at %#llx: %s",
				  (unsigned long long)r->gpa, strerror(-ret));
	}
	return ret;
}

/* The guest's XML tells which CPU it got, so that it gets the same one elsewhere. */
static int name_cpu(struct machine *m)
{
	struct xml_cpu_feature f[DOM_MAX_CPU_FEATURES];
	const char *why = "";
	unsigned int n = 0;
	int i = -1;
	size_t len;
	char *text;

	if (!m->cpu->model || !m->xml)
		return 0;
	while (n < DOM_MAX_CPU_FEATURES && (i = cpu_set_next(&m->cpu->require, i)) >= 0)
		f[n++] = (struct xml_cpu_feature){ cpu_feature_name(i), false };
	for (i = -1; n < DOM_MAX_CPU_FEATURES && (i = cpu_set_next(&m->cpu->disable, i)) >= 0;)
		f[n++] = (struct xml_cpu_feature){ cpu_feature_name(i), true };
	text = livexml_cpu(m->xml, m->xml_len, m->cpu->model->name, cpu_vendor_name(m->cpu->vendor), f, n, &len, &why);
	if (!text) {
		log_error("cannot write <cpu> into the guest's XML: %s", why);
		return -ENOMEM;
	}
	hotplug_set_xml(m, text, len);
	return 0;
}

static int build_cpu(struct machine *m)
{
	struct hvx_cpuid_entry host[HVX_MAX_CPUID];
	unsigned int n = cpu_host_table(&m->hv.info, host);

	m->cpu = cpu_policy_new(m->dom, &m->hv.info, host, n);
	return m->cpu ? name_cpu(m) : -EINVAL;
}

static void signal_arrived(void *opaque, uint32_t events)
{
	struct machine *m = opaque;
	struct signalfd_siginfo si;

	(void)events;
	if (read(m->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGUSR1)
		acpi_pm_power_button(m);
	else if (si.ssi_signo == SIGUSR2)
		machine_event(m, EV_DUMP, 0);
	else
		machine_event(m, EV_STOP, 0);
}

static int build_loop(struct machine *m)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);	/* all threads inherit it */
	m->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	m->loop = loop_new(&m->lock);
	if (m->signal_fd < 0 || !m->loop ||
	    !loop_add_fd(m->loop, m->signal_fd, EPOLLIN, signal_arrived, m)) {
		log_error("cannot make the event loop: %s", strerror(errno));
		return -ENOMEM;
	}
	return 0;
}

static int build_smbios(struct machine *m)
{
	m->smbios = smbios_new(m->dom, &m->smbios_len);
	if (getrandom(m->vmgenid, sizeof(m->vmgenid), 0) != sizeof(m->vmgenid))
		return -EIO;
	return m->smbios ? 0 : -ENOMEM;
}

static int status_of(int err)
{
	return err ? VMM_ERR_SETUP : VMM_OK;
}

int machine_build(struct machine *m, const struct domain *dom)
{
	int ret;

	m->dom = dom;
	m->mem.source = m->mem.pagemap = -1;
	m->mem.fd = m->signal_fd = m->hv.dev_fd = m->hv.vm_fd = -1;
	m->event_status = -1;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->park_lock, NULL);
	pthread_cond_init(&m->park_cond, NULL);
	pthread_cond_init(&m->parked_cond, NULL);
	bus_init(&m->pio, &m->lock);
	bus_init(&m->mmio, &m->lock);

	ret = run_state_init(m) ?: build_loop(m) ?: boot_open(&m->boot, dom) ?: build_smbios(m);
	if (ret)
		return status_of(ret);
	if (open_hv(m))
		return VMM_ERR_HOST;
	ret = build_cpu(m) ?:
	      build_memory(m) ?:
	      vcpus_create(m);
	if (!ret) {
		pthread_mutex_lock(&m->lock);
		ret = board_chipset(m) ?:
		      board_guest_to_host(m) ?:
		      board_peripherals(m);
		pthread_mutex_unlock(&m->lock);
	}
	if (!ret && m->gdb_where)
		ret = gdb_create(m, m->gdb_where);
	if (!ret && m->runtime_dir)
		ret = qmp_open(m, m->runtime_dir);
	return status_of(ret);
}

void machine_free(struct machine *m)
{
	struct device *dev, *next, *reversed = NULL;

	migrate_abort(m);
	save_abort(m);
	free(m->new_xml);
	m->new_xml = NULL;
	vcpus_destroy(m);
	pthread_mutex_lock(&m->lock);
	gdb_free(m);
	qmp_close(m);
	/* Last made, first gone: a function leaves before its bus. */
	for (dev = m->devices; dev; dev = next) {
		next = dev->next;
		dev->next = reversed;
		reversed = dev;
	}
	m->devices = NULL;
	for (dev = reversed; dev; dev = next) {
		next = dev->next;
		if (dev->ops->destroy)
			dev->ops->destroy(dev);
	}
	hotplug_free(m);
	pthread_mutex_unlock(&m->lock);
	hv_close(&m->hv);
	guest_mem_fini(&m->mem);
	boot_close(m->boot);
	free(m->smbios);
	free(m->cpu);
	loop_free(m->loop);
	run_state_free(m);
	if (m->signal_fd >= 0)
		close(m->signal_fd);
	bus_fini(&m->pio);
	bus_fini(&m->mmio);
	pthread_cond_destroy(&m->parked_cond);
	pthread_cond_destroy(&m->park_cond);
	pthread_mutex_destroy(&m->park_lock);
	pthread_mutex_destroy(&m->lock);
}

void irq_set(struct machine *m, unsigned int gsi, bool level)
{
	if (gsi < 16 && gsi != 2)	/* 2 is the slave 8259's cascade */
		pic_set_irq(m->pic, gsi, level);
	ioapic_set_irq(m->ioapic, gsi == 0 ? 2 : gsi, level);
}
