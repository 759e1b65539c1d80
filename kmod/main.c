// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading and unloading, the choice of backend, and who owns the
 * virtualisation extension of each CPU.
 *
 * The extension is on only while a VM exists. CPUs that come and go meanwhile,
 * suspend and reboot are followed here.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/reboot.h>
#include <linux/syscore_ops.h>

#include "core.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

MODULE_DESCRIPTION("hvx hypervisor");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");

const struct hvx_backend *hvx_backend;

/* Backends in the order in which they are tried. */
static struct hvx_backend *const backends[] = {
	&hvx_svm,
};

static DEFINE_MUTEX(hvx_hw_lock);
static unsigned int hw_users;		/* VMs; hvx_hw_lock */
static bool hw_shutdown;		/* reboot: never turn on again; hvx_hw_lock */
static DEFINE_PER_CPU(bool, cpu_on);	/* changed on its own CPU, interrupts off */
static int cpuhp_state;

bool hvx_cpu_ready(void)
{
	return this_cpu_read(cpu_on);
}

/* Turn this CPU's extension on. Interrupts off. */
static int cpu_enable(void)
{
	const char *who;
	int r;

	if (this_cpu_read(cpu_on))
		return 0;
	who = hvx_backend->busy();
	if (who) {
		hvx_err("CPU %d: %s is in use by another hypervisor\n",
			raw_smp_processor_id(), who);
		return -EBUSY;
	}
	r = hvx_backend->enable_cpu();
	if (!r)
		this_cpu_write(cpu_on, true);
	return r;
}

static void cpu_disable(void *unused)
{
	unsigned long flags;

	local_irq_save(flags);
	if (this_cpu_read(cpu_on)) {
		this_cpu_write(cpu_on, false);
		hvx_backend->disable_cpu();
	}
	local_irq_restore(flags);
}

static void cpu_enable_ipi(void *failed)
{
	unsigned long flags;

	local_irq_save(flags);
	if (cpu_enable())
		atomic_inc(failed);
	local_irq_restore(flags);
}

/*
 * Which other hypervisor's module is loaded? Only to name it in a message: the
 * decision rests on what the CPU says.
 */
static const char *other_hypervisor(void)
{
	static const char *const names[] = { "kvm_amd", "kvm_intel", "vboxdrv", "vmmon" };
	char path[32];
	struct path p;
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", names[i]);
		if (!kern_path(path, 0, &p)) {
			path_put(&p);
			return names[i];
		}
	}
	return NULL;
}

/* The first VM turns every CPU on. -EBUSY: another hypervisor is there; the log names it. */
int hvx_hw_get(void)
{
	atomic_t failed = ATOMIC_INIT(0);
	const char *who;
	int r = 0;

	cpus_read_lock();
	mutex_lock(&hvx_hw_lock);
	if (hw_shutdown) {
		r = -ESHUTDOWN;
	} else if (!hw_users) {
		on_each_cpu(cpu_enable_ipi, &failed, 1);
		if (atomic_read(&failed)) {
			on_each_cpu(cpu_disable, NULL, 1);
			r = -EBUSY;
		}
	}
	if (!r)
		hw_users++;
	mutex_unlock(&hvx_hw_lock);
	cpus_read_unlock();
	if (r == -EBUSY) {
		who = other_hypervisor();
		hvx_err("cannot run guests: the CPU is held by %s; stop its guests or run \"modprobe -r %s\"\n",
			who ?: "another hypervisor", who ?: "MODULE");
	}
	return r;
}

void hvx_hw_put(void)
{
	cpus_read_lock();
	mutex_lock(&hvx_hw_lock);
	if (!--hw_users)
		on_each_cpu(cpu_disable, NULL, 1);
	mutex_unlock(&hvx_hw_lock);
	cpus_read_unlock();
}

/*
 * A CPU comes up: runs on it before any user thread can. Where it cannot be
 * turned on it stays usable for the rest of the host; vCPUs that land there
 * get -EIO from the run loop.
 */
static int hvx_cpu_up(unsigned int cpu)
{
	unsigned long flags;

	/* hw_users cannot change: both its writers hold cpus_read_lock(). */
	if (!hw_users || hw_shutdown)
		return 0;
	local_irq_save(flags);
	cpu_enable();
	local_irq_restore(flags);
	return 0;
}

static int hvx_cpu_down(unsigned int cpu)
{
	cpu_disable(NULL);
	return 0;
}

/* Suspend and resume see the boot CPU only; the others go through cpu hotplug. */
static int pm_suspend(void)
{
	cpu_disable(NULL);
	return 0;
}

static void pm_resume(void)
{
	if (hw_users && !hw_shutdown)
		cpu_enable();
}

HVX_SYSCORE(hvx_syscore, pm_suspend, pm_resume);

/* Before a reboot or kexec the CPUs must be as the next kernel expects them. */
static int reboot_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	mutex_lock(&hvx_hw_lock);
	hw_shutdown = true;
	mutex_unlock(&hvx_hw_lock);
	on_each_cpu(cpu_disable, NULL, 1);
	return NOTIFY_OK;
}

static struct notifier_block reboot_nb = { .notifier_call = reboot_notify };

static int choose_backend(void)
{
	int i, r = -ENODEV;

	for (i = 0; i < ARRAY_SIZE(backends); i++) {
		r = backends[i]->setup();
		if (!r) {
			hvx_backend = backends[i];
			return 0;
		}
	}
	return r;
}

static int __init hvx_init(void)
{
	int r;

	r = choose_backend();
	if (r)
		return r;
	r = hvx_fpu_setup();
	if (r)
		goto err_backend;
	r = hvx_vcpu_setup();
	if (r)
		goto err_backend;
	r = hvx_irq_init();
	if (r)
		goto err_vcpu;
	r = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "virt/hvx:online", hvx_cpu_up, hvx_cpu_down);
	if (r < 0)
		goto err_irq;
	cpuhp_state = r;
	hvx_register_syscore(&hvx_syscore);
	r = register_reboot_notifier(&reboot_nb);
	if (r)
		goto err_syscore;
	hvx_debugfs_init();
	r = hvx_dev_register();
	if (r)
		goto err_debugfs;
	hvx_info("ready, %s\n", hvx_backend->name);
	return 0;

err_debugfs:
	hvx_debugfs_exit();
	unregister_reboot_notifier(&reboot_nb);
err_syscore:
	hvx_unregister_syscore(&hvx_syscore);
	cpuhp_remove_state(cpuhp_state);
err_irq:
	hvx_irq_exit();
err_vcpu:
	hvx_vcpu_teardown();
err_backend:
	hvx_backend->teardown();
	return r;
}

static void __exit hvx_exit(void)
{
	hvx_dev_unregister();
	hvx_debugfs_exit();
	unregister_reboot_notifier(&reboot_nb);
	hvx_unregister_syscore(&hvx_syscore);
	cpuhp_remove_state(cpuhp_state);
	hvx_irq_exit();
	hvx_vcpu_teardown();
	hvx_backend->teardown();
}

module_init(hvx_init);
module_exit(hvx_exit);
