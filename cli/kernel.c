// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "archive.h"
#include "cli.h"
#include "kernel.h"
#include "vmm/fileio.h"
#include "vmm/unnamed.h"

static int anonymous_file(void)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	if (!dir || !*dir)
		dir = "/var/tmp";
	fd = open_unnamed(dir);
	if (fd < 0)
		cli_error("no room for a temporary file in %s: %s; set TMPDIR", dir, strerror(errno));
	else
		fcntl(fd, F_SETFD, 0);	/* the VMM opens it as /proc/self/fd/N */
	return fd;
}

/* ------------------------------------------------------------- initramfs */

/* The kernel takes several archives one behind another, each from a multiple of 4. */
static int copy_initrd(int to, const char *path)
{
	char buf[65536] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t sum = 0;
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0) {
		if (write_full(to, buf, (size_t)n)) {
			n = -1;
			break;
		}
		sum += n;
	}
	if (n < 0)
		cli_error("run: --initrd %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	memset(buf, 0, 4);
	if (n >= 0 && sum % 4 && write(to, buf, (size_t)(4 - sum % 4)) < 0)
		n = -1;
	return n < 0 ? -1 : 0;
}

static int make_image(struct kernel_guest *k)
{
	const struct archive_ops *ops = archive_load();
	char *init = ops && k->argv ? find_program("hvx-init") : NULL;
	int ret = -1;

	k->image = ops ? anonymous_file() : -1;
	if (k->argv && ops && !init)
		cli_error("run: hvx-init is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again");
	else if (k->image >= 0 && !(k->initrd && copy_initrd(k->image, k->initrd)))
		ret = ops->initramfs(k->image, k, init);
	free(init);
	return ret;
}

/* What the kernel starts first: ours, or what the folder has. */
static const char *first_program(const struct kernel_guest *k)
{
	static const char *const names[] = { "/init", "/sbin/init", "/usr/lib/systemd/systemd", "/bin/sh" };

	if (k->argv)
		return "/" KERNEL_INIT;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && k->root; i++) {
		char path[4096];
		struct stat st;

		snprintf(path, sizeof(path), "%s%s", k->root, names[i]);
		if (!lstat(path, &st))
			return names[i];
	}
	return NULL;
}

/* ------------------------------------------------------------------- XML */

static void put_text(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '&')
			fputs("&amp;", f);
		else if (*s == '<')
			fputs("&lt;", f);
		else if (*s == '>')
			fputs("&gt;", f);
		else
			fputc(*s, f);
	}
}

static void put_port(FILE *f, unsigned int port, int fd)
{
	fprintf(f, "<serial type='file'><source path='/proc/self/fd/%d' append='on'/><target port='%u'/></serial>", fd, port);
}

static int open_ports(struct kernel_guest *k)
{
	k->out = anonymous_file();
	k->err = k->out < 0 ? -1 : anonymous_file();
	k->status = k->err < 0 ? -1 : anonymous_file();
	return k->status < 0 ? -1 : 0;
}

char *kernel_xml(struct kernel_guest *k, size_t *len)
{
	char *text = NULL, *kernel = realpath(k->kernel, NULL);
	const char *first = first_program(k);
	struct stat st = { 0 };
	FILE *f;

	if (!kernel) {
		cli_error("run: --kernel %s: %s", k->kernel, strerror(errno));
		return NULL;
	}
	if (k->root && !first) {
		cli_error("run: --root %s: has no /init, /sbin/init or /bin/sh; give a command behind --", k->root);
		goto out;
	}
	if ((k->root || k->argv || k->initrd) && make_image(k))
		goto out;
	if (k->argv && open_ports(k))
		goto out;
	if (k->image >= 0 && fstat(k->image, &st))
		goto out;
	if (!k->memory_mib)	/* the image, what it unpacks to, and 256 MiB to run in */
		k->memory_mib = 256 + ((unsigned int)(st.st_size >> 20) * 2 + 255) / 256 * 256;
	f = open_memstream(&text, len);
	fprintf(f, "<domain type='kvm' xmlns:hvx='urn:hvx:domain:1'><name>kernel</name><memory unit='MiB'>%u</memory>"
		"<vcpu>%u</vcpu><os><type arch='x86_64' machine='q35'>hvm</type><kernel>", k->memory_mib, k->cpus ? k->cpus : 1);
	put_text(f, kernel);
	fputs("</kernel>", f);
	if (k->image >= 0)
		fprintf(f, "<initrd>/proc/self/fd/%d</initrd>", k->image);
	fputs("<cmdline>console=ttyS0 panic=-1", f);
	if (first)
		fprintf(f, " rdinit=%s", first);
	if (k->append) {
		fputc(' ', f);
		put_text(f, k->append);
	}
	fputs("</cmdline></os><features><acpi/><apic/></features><cpu mode='host-passthrough'/><clock offset='utc'/>"
	      "<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash><devices>"
	      "<interface type='user'><model type='virtio'/></interface>"
	      "<serial type='pty'><target port='0'/></serial>", f);
	if (k->argv) {
		put_port(f, 1, k->out);
		put_port(f, 2, k->err);
		put_port(f, 3, k->status);
	}
	fputs("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><panic model='isa'/></devices>"
	      "<hvx:debug-exit/></domain>\n", f);
	if (fclose(f)) {
		free(text);
		text = NULL;
	}
out:
	free(kernel);
	return text;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void kernel_close(struct kernel_guest *k)
{
	close_one(&k->image);
	close_one(&k->out);
	close_one(&k->err);
	close_one(&k->status);
}

int kernel_status(const struct kernel_guest *k)
{
	char text[32] = "";
	int status;

	if (k->status < 0 || pread(k->status, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "exit %d", &status) != 1)
		return -1;
	return status & 0xff;
}
