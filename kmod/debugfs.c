// SPDX-License-Identifier: GPL-2.0-only
/* Counters of each VM and vCPU under debugfs: one "name value" a line. */
#include <linux/debugfs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include "hvx.h"

static struct dentry *root;

/* The counters in the order of struct hvx_stats. */
static const char *const names[] = {
	"exits", "exits_user",
	"exit_pio", "exit_mmio", "exit_msr", "exit_cpuid", "exit_hlt", "exit_pause",
	"exit_intr", "exit_nmi", "exit_page_fault",
	"exit_hypercall", "exit_cr", "exit_window", "exit_exception", "exit_other",
	"inj_irq", "inj_nmi", "inj_exception",
	"ipi_sent", "timer_fired", "halt_ns",
	"pages_mapped_4k", "pages_mapped_2m", "pages_mapped_1g",
	"pages_zapped", "tlb_flush", "table_pages",
	"ioeventfd", "irqfd", "msr_refused",
};
static_assert(sizeof(u64) * ARRAY_SIZE(names) == offsetof(struct hvx_stats, reserved));

/* Counters are added to without locks: a sum is as of no exact moment. */
void hvx_vm_stats(struct hvx_vm *vm, struct hvx_stats *sum)
{
	struct hvx_vcpu *vcpu;
	int i, n;

	*sum = vm->stats;
	hvx_for_each_vcpu(i, vcpu, vm)
		for (n = 0; n < ARRAY_SIZE(names); n++)
			((u64 *)sum)[n] += READ_ONCE(((const u64 *)&vcpu->stats)[n]);
}

static int show(struct seq_file *m, const struct hvx_stats *s)
{
	int n;

	for (n = 0; n < ARRAY_SIZE(names); n++)
		seq_printf(m, "%s %llu\n", names[n], ((const u64 *)s)[n]);
	return 0;
}

static int vm_stats_show(struct seq_file *m, void *unused)
{
	struct hvx_stats sum;

	hvx_vm_stats(m->private, &sum);
	return show(m, &sum);
}
DEFINE_SHOW_ATTRIBUTE(vm_stats);

static int vcpu_stats_show(struct seq_file *m, void *unused)
{
	return show(m, m->private);
}
DEFINE_SHOW_ATTRIBUTE(vcpu_stats);

void hvx_debugfs_init(void)
{
	root = debugfs_create_dir("hvx", NULL);
}

void hvx_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
}

void hvx_debugfs_add_vm(struct hvx_vm *vm)
{
	char name[32];

	snprintf(name, sizeof(name), "%d-%u", task_tgid_nr(current), vm->id);
	vm->debugfs = debugfs_create_dir(name, root);
	debugfs_create_file("stats", 0400, vm->debugfs, vm, &vm_stats_fops);
}

void hvx_debugfs_add_vcpu(struct hvx_vcpu *vcpu)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	debugfs_create_file("stats", 0400, debugfs_create_dir(name, vcpu->vm->debugfs), vcpu,
			    &vcpu_stats_fops);
}

/* Waits for readers; the vCPUs' entries lie below the VM's. */
void hvx_debugfs_remove_vm(struct hvx_vm *vm)
{
	debugfs_remove_recursive(vm->debugfs);
	vm->debugfs = NULL;
}
