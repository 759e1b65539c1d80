// SPDX-License-Identifier: GPL-2.0-only
/*
 * The checks of `hvx host`. All but the last step of the device check read
 * files only, below a root that tests choose. A check reports once, or once
 * for each thing it looks at; a remedy is a command wherever there is one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "cli.h"
#include "host.h"
#include "vmm/hvxapi.h"

struct host {
	const char *root;
	host_report_fn *report;
	void *opaque;
	bool module_loaded, device_ok;
};

static void __attribute__((format(printf, 5, 6)))
result(struct host *h, enum host_level level, const char *check, const char *remedy, const char *fmt, ...)
{
	struct host_result r = { .level = level, .check = check };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	snprintf(r.remedy, sizeof(r.remedy), "%s", level == HOST_PASS ? "" : remedy);
	h->report(h->opaque, &r);
}

/* Path below the root, in a buffer that the next call reuses. */
static const char *at(struct host *h, const char *path)
{
	static char buf[4096];

	snprintf(buf, sizeof(buf), "%s%s", h->root, path);
	return buf;
}

static bool exists(struct host *h, const char *path)
{
	return !access(at(h, path), F_OK);
}

static bool usable(struct host *h, const char *path)
{
	return !access(at(h, path), R_OK | W_OK);
}

/* First bytes of a file, as a string without its last newline; "" if it cannot be read. */
static const char *content(struct host *h, const char *path, char *buf, size_t size)
{
	int fd = open(at(h, path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	if (n > 0 && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	return buf;
}

static bool dir_has_entries(struct host *h, const char *path)
{
	DIR *d = opendir(at(h, path));
	struct dirent *e;
	bool any = false;

	while (d && !any && (e = readdir(d)))
		any = e->d_name[0] != '.';
	if (d)
		closedir(d);
	return any;
}

/* --- CPU --- */

struct cpu {
	char vendor[32], model[96], flags[8192];
};

static void cpu_line(const char *line, const char *key, char *out, size_t size)
{
	const char *colon = strchr(line, ':');
	size_t n = strlen(key);

	if (out[0] || strncmp(line, key, n) || (line[n] != '\t' && line[n] != ' ') || !colon)
		return;
	snprintf(out, size, "%s ", colon + 2);
	out[strcspn(out, "\n")] = '\0';
	if (!strcmp(key, "flags"))
		strncat(out, " ", size - strlen(out) - 1);	/* each flag ends in a space */
}

static void read_cpu(struct host *h, struct cpu *cpu)
{
	FILE *f = fopen(at(h, "/proc/cpuinfo"), "re");
	char *line = NULL;
	size_t room = 0;

	memset(cpu, 0, sizeof(*cpu));
	strcpy(cpu->flags, "");
	while (f && !cpu->flags[0] && getline(&line, &room, f) > 0) {
		cpu_line(line, "vendor_id", cpu->vendor, sizeof(cpu->vendor));
		cpu_line(line, "model name", cpu->model, sizeof(cpu->model));
		cpu_line(line, "flags", cpu->flags, sizeof(cpu->flags));
	}
	free(line);
	if (f)
		fclose(f);
}

static bool has_flag(const struct cpu *cpu, const char *flag)
{
	size_t n = strlen(flag);

	for (const char *p = cpu->flags; (p = strstr(p, flag)); p += n)
		if ((p == cpu->flags || p[-1] == ' ') && p[n] == ' ')
			return true;
	return false;
}

#define IN_FIRMWARE "turn on SVM (AMD-V) in the firmware's setup; in a virtual machine, nested virtualisation on its host"

static void check_cpu(struct host *h)
{
	struct cpu cpu;

	read_cpu(h, &cpu);
	if (has_flag(&cpu, "svm") && has_flag(&cpu, "npt"))
		result(h, HOST_PASS, "cpu", "", "AMD-V with nested paging: %s", cpu.model);
	else if (has_flag(&cpu, "svm"))
		result(h, HOST_FAIL, "cpu", "a CPU with nested paging is needed (AMD: since 2007); in a virtual machine, "
		       "nested paging on its host", "AMD-V, but without nested paging: %s", cpu.model);
	else if (has_flag(&cpu, "vmx"))
		result(h, HOST_FAIL, "cpu", "run hvx on an AMD CPU; VT-x comes with a later version",
		       "VT-x is not supported by this version: %s", cpu.model);
	else
		result(h, HOST_FAIL, "cpu", IN_FIRMWARE, "no AMD-V: %s", cpu.model[0] ? cpu.model : "unknown CPU");
	if (has_flag(&cpu, "hypervisor"))
		result(h, HOST_WARN, "nested", "for speed, run hvx on the machine itself",
		       "this host is a virtual machine itself: guests are slower in it");
}

/* --- module --- */

static bool module_installed(struct host *h, const char *release)
{
	char path[256], *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	f = fopen(at(h, path), "re");
	while (f && !found && getline(&line, &room, f) > 0) {
		char *colon = strchr(line, ':'), *name;

		if (!colon)
			continue;
		*colon = '\0';
		name = strrchr(line, '/');
		name = name ? name + 1 : line;
		found = !strcmp(name, "hvx.ko") || !strncmp(name, "hvx.ko.", 7);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* EFI variable: 4 bytes of attributes, then the value. */
static bool secure_boot(struct host *h)
{
	char buf[8] = { 0 };
	int fd = open(at(h, "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"),
		      O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (fd >= 0)
		close(fd);
	return n >= 5 && buf[4] == 1;
}

static void check_module(struct host *h)
{
	struct utsname u;
	char build[300];

	uname(&u);
	h->module_loaded = exists(h, "/sys/module/hvx");
	if (h->module_loaded) {
		result(h, HOST_PASS, "module", "", "hvx is loaded");
		return;
	}
	if (module_installed(h, u.release)) {
		result(h, HOST_FAIL, "module", "modprobe hvx", "hvx is installed, but not loaded");
	} else {
		snprintf(build, sizeof(build), "/lib/modules/%s/build", u.release);
		result(h, HOST_FAIL, "module", exists(h, build) ? "make install (or: dkms autoinstall)" :
		       "install this kernel's headers (Debian: apt install linux-headers-$(uname -r)), then: dkms autoinstall",
		       "hvx is not installed for kernel %s", u.release);
	}
	if (secure_boot(h))
		result(h, HOST_WARN, "secureboot", "mokutil --import /var/lib/dkms/mok.pub, then restart and enrol it",
		       "Secure Boot is on: the module loads only if its key is enrolled");
}

/* --- device --- */

static bool in_group(const char *name)
{
	struct group *g = getgrnam(name);
	gid_t list[256];
	int n = getgroups(256, list);

	if (!g || geteuid() == 0 || getegid() == g->gr_gid)
		return g && geteuid();
	for (int i = 0; i < n; i++)
		if (list[i] == g->gr_gid)
			return true;
	return false;
}

static const char *user_name(void)
{
	struct passwd *pw = getpwuid(geteuid());

	return pw ? pw->pw_name : "$USER";
}

/* Who has the CPU, when hvx cannot. */
static void check_busy(struct host *h)
{
	static const struct { const char *module, *what, *remedy; } others[] = {
		{ "kvm_amd", "KVM", "stop KVM's guests; or: modprobe -r kvm_amd kvm" },
		{ "kvm_intel", "KVM", "stop KVM's guests; or: modprobe -r kvm_intel kvm" },
		{ "vboxdrv", "VirtualBox", "close VirtualBox's guests; or: modprobe -r vboxnetadp vboxnetflt vboxdrv" },
		{ "vmmon", "VMware", "systemctl stop vmware" },
	};
	char path[64];

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", others[i].module);
		if (!exists(h, path))
			continue;
		result(h, HOST_FAIL, "device", others[i].remedy,
		       "the CPU's virtualisation is held by another hypervisor, probably %s", others[i].what);
		return;
	}
	result(h, HOST_FAIL, "device", "dmesg | grep hvx", "the CPU's virtualisation is held by another hypervisor");
}

static void try_device(struct host *h)
{
	struct hv hv = { .dev_fd = -1, .vm_fd = -1 };
	int ret = hv_open(&hv, &hv_hvx, at(h, "/dev/hvx"), 0);

	switch (ret) {
	case 0:
		h->device_ok = true;
		result(h, HOST_PASS, "device", "", "/dev/hvx makes guests (%.11s, API %u, up to %u vCPUs)",
		       hv.info.backend, hv.info.api_version, hv.info.max_vcpus);
		hv_close(&hv);
		return;
	case -EBUSY:
		check_busy(h);
		return;
	case -EPROTO:
		result(h, HOST_FAIL, "device", "modprobe -r hvx && modprobe hvx", "the loaded module is of another version than this program");
		return;
	default:
		result(h, HOST_FAIL, "device", "dmesg | grep hvx", "/dev/hvx: %s", strerror(-ret));
	}
}

static void check_device(struct host *h)
{
	char remedy[200];

	if (!exists(h, "/dev/hvx")) {
		result(h, HOST_FAIL, "device", h->module_loaded ? "udevadm trigger --subsystem-match=misc" : "modprobe hvx",
		       "/dev/hvx is not there");
	} else if (usable(h, "/dev/hvx")) {
		try_device(h);
	} else if (in_group("hvx")) {
		result(h, HOST_FAIL, "device", "chgrp hvx /dev/hvx && chmod 660 /dev/hvx",
		       "you are in the group hvx, but /dev/hvx is not open to it");
	} else {
		snprintf(remedy, sizeof(remedy), "usermod -aG hvx %s, then log in again", user_name());
		result(h, HOST_FAIL, "device", remedy, "you may not open /dev/hvx");
	}
}

/* KVM and hvx share CPUs; only a module that could not start tells otherwise. */
static void check_kvm(struct host *h)
{
	const char *vendor = exists(h, "/sys/module/kvm_amd") ? "kvm_amd" :
			     exists(h, "/sys/module/kvm_intel") ? "kvm_intel" : NULL;
	char path[64], count[32], at_load[8], remedy[200];

	if (!vendor) {
		result(h, HOST_PASS, "kvm", "", "KVM is not loaded");
		return;
	}
	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", vendor);
	content(h, path, count, sizeof(count));
	content(h, "/sys/module/kvm/parameters/enable_virt_at_load", at_load, sizeof(at_load));
	snprintf(remedy, sizeof(remedy), "modprobe -r %s kvm; for good: echo options kvm enable_virt_at_load=0 "
		 "> /etc/modprobe.d/hvx-kvm.conf", vendor);
	if (h->device_ok)
		result(h, HOST_PASS, "kvm", "", "KVM is loaded, and hvx runs beside it (each exit costs some more; "
		       "without KVM's guests, modprobe -r %s gives it back)", vendor);
	else if (at_load[0] == 'Y' || at_load[0] == '1')
		result(h, HOST_WARN, "kvm", remedy, "KVM holds the CPU from its loading on");
	else if (count[0] && strcmp(count, "0"))
		result(h, HOST_WARN, "kvm", "stop KVM's guests before hvx's are started", "KVM is in use (%s)", count);
	else
		result(h, HOST_PASS, "kvm", "", "KVM is loaded, but not in use");
}

/* What runs the guests here, and why. */
static void check_accel(struct host *h)
{
	if (h->device_ok)
		result(h, HOST_PASS, "accel", "", "guests are run by hvx.ko, as /dev/hvx works");
	else if (usable(h, "/dev/kvm"))
		result(h, HOST_WARN, "accel", "hvx run --accel kvm FILE.xml",
		       "guests can be run by KVM, when asked for: /dev/kvm works, /dev/hvx does not");
	else
		result(h, HOST_WARN, "accel", "modprobe hvx",
		       "nothing here runs guests: neither /dev/hvx nor /dev/kvm can be used");
}

/* --- memory --- */

static void check_memory(struct host *h)
{
	char thp[128], nr[32];

	content(h, "/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof(thp));
	if (strstr(thp, "[always]") || strstr(thp, "[madvise]"))
		result(h, HOST_PASS, "hugepages", "", "transparent huge pages: %s", thp);
	else
		result(h, HOST_WARN, "hugepages", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
		       "transparent huge pages are off: guests are slower");
	content(h, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", thp, sizeof(thp));
	if (strstr(thp, "[never]") || strstr(thp, "[deny]"))
		result(h, HOST_WARN, "hugepages", "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled",
		       "huge pages are off for shared memory, which guest RAM is: guests are slower");
	content(h, "/proc/sys/vm/nr_hugepages", nr, sizeof(nr));
	if (nr[0] && strcmp(nr, "0"))
		result(h, HOST_PASS, "hugepages", "", "%s reserved, for guests with <hugepages/>", nr);
}

/* --- devices of others --- */

static void check_node(struct host *h, const char *check, const char *node, const char *module,
		       const char *why, const char *group)
{
	char remedy[200];

	if (!exists(h, node)) {
		snprintf(remedy, sizeof(remedy), "modprobe %s", module);
		result(h, HOST_WARN, check, remedy, "%s is not there: %s", node, why);
	} else if (!usable(h, node)) {
		snprintf(remedy, sizeof(remedy), "usermod -aG %s %s, then log in again", group, user_name());
		result(h, HOST_WARN, check, remedy, "you may not open %s: %s", node, why);
	} else {
		result(h, HOST_PASS, check, "", "%s can be used", node);
	}
}

static void check_cgroup(struct host *h)
{
	char mounts[4];

	if (exists(h, "/sys/fs/cgroup/cgroup.controllers"))
		result(h, HOST_PASS, "cgroup", "", "control groups v2");
	else
		result(h, HOST_WARN, "cgroup", "start the kernel with systemd.unified_cgroup_hierarchy=1",
		       "no control groups v2%s: guests can be limited by v1 only",
		       *content(h, "/sys/fs/cgroup/memory/tasks", mounts, sizeof(mounts)) ? " (v1 is there)" : "");
}

static void check_io_uring(struct host *h)
{
	char v[8];

	content(h, "/proc/sys/kernel/io_uring_disabled", v, sizeof(v));
	if (v[0] == '2' || (v[0] == '1' && geteuid()))
		result(h, HOST_FAIL, "io_uring", "sysctl kernel.io_uring_disabled=0", "io_uring is off: disks need it");
	else
		result(h, HOST_PASS, "io_uring", "", "io_uring is on");
}

/* Post-copy to this host: pages that the kernel touches wait, too. userfaultfd(2). */
static void check_userfaultfd(struct host *h)
{
	char v[8];

	content(h, "/proc/sys/vm/unprivileged_userfaultfd", v, sizeof(v));
	if (v[0] == '1' || !geteuid() || (exists(h, "/dev/userfaultfd") && usable(h, "/dev/userfaultfd")))
		result(h, HOST_PASS, "post-copy", "", "userfaultfd can be used");
	else if (!v[0])
		result(h, HOST_WARN, "post-copy", "boot a kernel with CONFIG_USERFAULTFD",
		       "the kernel has no userfaultfd: no guest can come here by post-copy");
	else
		result(h, HOST_WARN, "post-copy",
		       exists(h, "/dev/userfaultfd") ? "setfacl -m u:$USER:rw /dev/userfaultfd; or: sysctl vm.unprivileged_userfaultfd=1" :
		       "sysctl vm.unprivileged_userfaultfd=1",
		       "no right to userfaultfd: no guest can come here by post-copy");
}

static void check_iommu(struct host *h)
{
	if (dir_has_entries(h, "/sys/kernel/iommu_groups"))
		result(h, HOST_PASS, "iommu", "", "the IOMMU is on");
	else
		result(h, HOST_WARN, "iommu", "turn on the IOMMU in the firmware's setup, and start the kernel with iommu=pt",
		       "no IOMMU: host devices could not be passed through");
}

static void check_firmware(struct host *h)
{
	static const struct { const char *name; const char *path[4]; } fw[] = {
		{ "OVMF (UEFI)", { "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd",
				   "/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd" } },
		{ "SeaBIOS", { "/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/bios.bin",
			       "/usr/share/qemu/bios-256k.bin", NULL } },
	};

	for (size_t i = 0; i < sizeof(fw) / sizeof(fw[0]); i++) {
		const char *found = NULL;

		for (size_t p = 0; p < 4 && fw[i].path[p] && !found; p++)
			if (exists(h, fw[i].path[p]))
				found = fw[i].path[p];
		if (found)
			result(h, HOST_PASS, "firmware", "", "%s: %s", fw[i].name, found);
		else
			result(h, HOST_WARN, "firmware", "Debian: apt install ovmf seabios; Fedora: dnf install edk2-ovmf seabios-bin",
			       "%s is not installed; guests that boot a kernel directly do not need it", fw[i].name);
	}
}

static void check_program(struct host *h, const char *name, enum host_level level, const char *what)
{
	char *path = find_program(name);

	if (path)
		result(h, HOST_PASS, "programs", "", "%s: %s", name, path);
	else
		result(h, level, "programs", "make install", "%s is not installed: %s", name, what);
	free(path);
}

void host_check(const char *root, host_report_fn *report, void *opaque)
{
	struct host h = { .root = root, .report = report, .opaque = opaque };

	check_cpu(&h);
	check_module(&h);
	check_device(&h);
	check_kvm(&h);
	check_accel(&h);
	check_program(&h, "hvx-vmm", HOST_FAIL, "it runs the guests");
	check_program(&h, "hvx-net-slirp", HOST_WARN, "user-mode networking needs it");
	check_program(&h, "hvx-image-qsd", HOST_WARN, "disk images of other formats than raw need it");
	check_memory(&h);
	check_io_uring(&h);
	check_userfaultfd(&h);
	check_node(&h, "tun", "/dev/net/tun", "tun", "bridged interfaces need it", "netdev");
	check_node(&h, "vhost-net", "/dev/vhost-net", "vhost_net", "bridged interfaces are slower without it", "kvm");
	check_node(&h, "vhost-vsock", "/dev/vhost-vsock", "vhost_vsock", "<vsock> needs it", "kvm");
	check_cgroup(&h);
	check_iommu(&h);
	check_firmware(&h);
}
