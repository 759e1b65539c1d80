// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading and unloading, the choice of backend, and who owns the
 * virtualisation extension of each CPU.
 *
 * The extension is on only while a VM exists, and follows CPUs that come and
 * go, suspend and reboot. It is turned on and off by each CPU's hotplug thread,
 * so never under a vCPU that has the CPU: that one has preemption off.
 */
#include <linux/cpuhotplug.h>
#include <linux/debugfs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/reboot.h>

#include "backend.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

MODULE_DESCRIPTION("hvx hypervisor");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");

const struct hvx_backend *hvx_backend;
bool hvx_beside;
struct dentry *hvx_debugfs;

/* Backends in the order in which they are tried. */
static struct hvx_backend *const backends[] = {
	&hvx_vmx,
	&hvx_svm,
};

DEFINE_PER_CPU(bool, hvx_cpu_on);	/* changed on its own CPU, interrupts off */

static DEFINE_MUTEX(hw_lock);
static unsigned int hw_users;		/* VMs; hw_lock */
static bool hw_shutdown;		/* reboot: never turn on again; hw_lock */
static int hw_state;			/* the hotplug state while the extension is on, else 0; hw_lock */
static bool hw_emergency;		/* the callback is registered; hw_lock */
static atomic_t hw_refused;		/* CPUs that could not be turned on */

/*
 * Never an error: a CPU that comes up later and is refused serves the rest of
 * the host, and vCPUs that land there get -EIO.
 */
static int cpu_up(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	if (hvx_backend->enable_cpu())
		atomic_inc(&hw_refused);
	else
		this_cpu_write(hvx_cpu_on, true);
	local_irq_restore(flags);
	return 0;
}

static int cpu_down(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	if (this_cpu_read(hvx_cpu_on)) {
		this_cpu_write(hvx_cpu_on, false);
		hvx_backend->disable_cpu();
	}
	local_irq_restore(flags);
	return 0;
}

/* Crash and emergency restart, on each CPU, maybe in an NMI: no locks. */
static void emergency(void)
{
	cpu_down(0);
}

static const char *const others[] = { "kvm_amd", "kvm_intel", "vboxdrv", "vmmon" };

/*
 * Which other hypervisor's module is loaded? For messages, and for what is best
 * avoided beside it: whether it can be done rests on what the CPU says.
 */
static const char *other_hypervisor(void)
{
	char path[32];
	struct path p;
	int i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", others[i]);
		if (!kern_path(path, 0, &p)) {
			path_put(&p);
			return others[i];
		}
	}
	return NULL;
}

static void set_emergency(bool on)
{
	if (on && !hw_emergency)
		hvx_register_emergency(emergency);
	else if (!on && hw_emergency)
		hvx_unregister_emergency(emergency);
	hw_emergency = on;
}

static void disown(void *unused)
{
	hvx_backend->disable_cpu();
}

/* KVM comes, and wants to find the extension off: running guests go on through windows. */
static void share(bool other)
{
	WRITE_ONCE(hvx_beside, other);
	if (other)
		on_each_cpu(disown, NULL, 1);
}

static void hw_stop(void)
{
	set_emergency(false);
	if (hw_state)
		cpuhp_remove_state(hw_state);
	hw_state = 0;
}

static int hw_start(void)
{
	const char *who = other_hypervisor();
	int r;

	/* A module that is just being loaded has no directory yet, but was announced. */
	share(who || hvx_beside);
	atomic_set(&hw_refused, 0);
	r = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "virt/hvx:online", cpu_up, cpu_down);
	if (r < 0)
		return r;
	hw_state = r;
	if (atomic_read(&hw_refused)) {
		hw_stop();
		hvx_err("cannot run guests: the CPU is held by %s; stop its guests or run \"modprobe -r %s\"\n",
			who ?: "another hypervisor", who ?: "MODULE");
		return -EBUSY;
	}
	/* The kernel has room for one callback, which KVM takes when it is loaded. */
	set_emergency(!hvx_beside);
	return 0;
}

/* The first VM turns every CPU on. -EBUSY: another hypervisor is there; the log names it. */
int hvx_hw_get(void)
{
	int r = 0;

	mutex_lock(&hw_lock);
	if (hw_shutdown)
		r = -ESHUTDOWN;
	else if (!hw_users)
		r = hw_start();
	if (!r)
		hw_users++;
	mutex_unlock(&hw_lock);
	return r;
}

void hvx_hw_put(void)
{
	mutex_lock(&hw_lock);
	if (!--hw_users)
		hw_stop();
	mutex_unlock(&hw_lock);
}

/* Another hypervisor's module comes or goes: what it needs for itself is out of its way before it starts. */
static int module_event(struct notifier_block *nb, unsigned long event, void *data)
{
	const struct module *mod = data;

	if ((event != MODULE_STATE_COMING && event != MODULE_STATE_GOING) ||
	    match_string(others, ARRAY_SIZE(others), mod->name) < 0)
		return NOTIFY_DONE;
	mutex_lock(&hw_lock);
	if (event == MODULE_STATE_COMING)
		set_emergency(false);
	share(event == MODULE_STATE_COMING);
	mutex_unlock(&hw_lock);
	return NOTIFY_OK;
}

static struct notifier_block module_nb = { .notifier_call = module_event };

/* Suspend and resume see the boot CPU only, no task runs; the others go through hotplug. */
static int pm_suspend(void)
{
	return cpu_down(0);
}

static void pm_resume(void)
{
	if (hw_state)
		cpu_up(0);
}

HVX_SYSCORE(hvx_syscore, pm_suspend, pm_resume);

/* Before a reboot or kexec the CPUs must be as the next kernel expects them. */
static int reboot_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	mutex_lock(&hw_lock);
	hw_shutdown = true;
	hw_stop();
	mutex_unlock(&hw_lock);
	return NOTIFY_OK;
}

static struct notifier_block reboot_nb = { .notifier_call = reboot_notify };

/* Where loading has failed, also what was not begun. */
static void leave(void)
{
	debugfs_remove(hvx_debugfs);
	unregister_reboot_notifier(&reboot_nb);
	unregister_module_notifier(&module_nb);
	hvx_unregister_syscore(&hvx_syscore);
	kmem_cache_destroy(hvx_vcpu_cache);
	hvx_backend->teardown();
}

static int __init hvx_init(void)
{
	int i, r = -ENODEV;

	for (i = 0; r && i < ARRAY_SIZE(backends); i++) {
		hvx_backend = backends[i];
		r = hvx_backend->setup();
	}
	if (r == -ENODEV)
		hvx_err("no usable VT-x or AMD-V: this CPU has none, or the firmware has switched it off\n");
	if (r)
		return r;
	hvx_register_syscore(&hvx_syscore);
	/* Neither can fail. */
	register_module_notifier(&module_nb);
	register_reboot_notifier(&reboot_nb);
	hvx_debugfs = debugfs_create_dir("hvx", NULL);
	hvx_vcpu_cache = KMEM_CACHE(hvx_vcpu, SLAB_ACCOUNT);
	r = hvx_vcpu_cache ? hvx_fpu_setup() : -ENOMEM;
	if (!r)
		r = misc_register(&hvx_misc);
	if (r)
		leave();
	else
		hvx_info("ready, %s\n", hvx_backend->name);
	return r;
}

static void __exit hvx_exit(void)
{
	misc_deregister(&hvx_misc);
	leave();
}

module_init(hvx_init);
module_exit(hvx_exit);
