// SPDX-License-Identifier: GPL-2.0-only
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "kernel.h"
#include "vmm/fileio.h"
#include "vmm/unnamed.h"

#define INIT_PATH	".hvx/init"
#define COMMAND_PATH	".hvx/command"
#define COMMAND_MAX	(128U << 10)

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

static int complain(const char *what, struct archive *a)
{
	cli_error("run: %s: %s", what, archive_error_string(a) ? archive_error_string(a) : "out of memory");
	return -1;
}

static int add_bytes(struct archive *out, const char *name, mode_t mode, const void *data, size_t len)
{
	struct archive_entry *e = archive_entry_new();
	int ret;

	archive_entry_set_pathname(e, name);
	archive_entry_set_mode(e, mode);
	archive_entry_set_size(e, (la_int64_t)len);
	if (S_ISCHR(mode)) {
		archive_entry_set_rdevmajor(e, 5);	/* /dev/console, the only one */
		archive_entry_set_rdevminor(e, 1);
	}
	ret = archive_write_header(out, e) < ARCHIVE_WARN || (len && archive_write_data(out, data, len) < 0);
	archive_entry_free(e);
	return ret ? complain(name, out) : 0;
}

static int add_contents(struct archive *out, const char *path)
{
	char buf[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		if (archive_write_data(out, buf, (size_t)n) < 0) {
			close(fd);
			return complain(path, out);
		}
	if (n < 0)
		cli_error("run: %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

static int add_file(struct archive *out, struct archive *disk, FTSENT *f, size_t prefix)
{
	struct archive_entry *e = archive_entry_new();
	const char *name = f->fts_path + prefix;
	int ret;

	while (*name == '/')
		name++;
	archive_entry_copy_sourcepath(e, f->fts_accpath);
	archive_entry_set_pathname(e, *name ? name : ".");
	ret = archive_read_disk_entry_from_file(disk, e, -1, f->fts_statp);
	archive_entry_unset_size(e);
	archive_entry_set_size(e, S_ISREG(f->fts_statp->st_mode) ? f->fts_statp->st_size : 0);
	archive_entry_set_nlink(e, 1);	/* a hard link becomes a file */
	/* Whoever has unpacked the folder is its root. */
	if (geteuid() && f->fts_statp->st_uid == geteuid()) {
		archive_entry_set_uid(e, 0);
		archive_entry_set_gid(e, 0);
	}
	if (ret < ARCHIVE_WARN) {
		ret = complain(f->fts_path, disk);
	} else if (S_ISSOCK(f->fts_statp->st_mode)) {
		ret = 0;
	} else if (archive_write_header(out, e) < ARCHIVE_WARN) {
		ret = complain(f->fts_path, out);
	} else {
		ret = S_ISREG(f->fts_statp->st_mode) && f->fts_statp->st_size ? add_contents(out, f->fts_accpath) : 0;
	}
	archive_entry_free(e);
	return ret;
}

static int add_tree(struct archive *out, const char *dir)
{
	char *const roots[] = { (char *)dir, NULL };
	struct archive *disk = archive_read_disk_new();
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *f;
	int ret = fts ? 0 : -1;

	archive_read_disk_set_symlink_physical(disk);
	while (!ret && (f = fts_read(fts))) {
		if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS) {
			cli_error("run: --root: %s: %s", f->fts_path, strerror(f->fts_errno));
			ret = -1;
		} else if (f->fts_info != FTS_DP) {
			ret = add_file(out, disk, f, strlen(dir));
		}
	}
	if (fts)
		fts_close(fts);
	archive_read_free(disk);
	return ret;
}

/* Folder, number of variables, variables, command: cli/init/hvx_init.c reads it. */
static int add_command(struct archive *out, const struct kernel_guest *k)
{
	char *buf = malloc(COMMAND_MAX), *path = find_program("hvx-init");
	size_t len = 0, nr = 0;
	struct stat st;
	int ret = -1;

	while (k->env && k->env[nr])
		nr++;
	if (buf && path && !stat(path, &st)) {
		len = (size_t)snprintf(buf, COMMAND_MAX, "%s%c%zu", k->dir ? k->dir : "", 0, nr) + 1;
		for (char *const *list = k->env; list && *list && len < COMMAND_MAX; list++)
			len += (size_t)snprintf(buf + len, COMMAND_MAX - len, "%s", *list) + 1;
		for (char *const *list = k->argv; *list && len < COMMAND_MAX; list++)
			len += (size_t)snprintf(buf + len, COMMAND_MAX - len, "%s", *list) + 1;
		if (len >= COMMAND_MAX)
			cli_error("run: the command line is longer than %u KiB", COMMAND_MAX >> 10);
		else
			ret = add_bytes(out, ".hvx", S_IFDIR | 0755, NULL, 0) ?:
			      add_bytes(out, COMMAND_PATH, S_IFREG | 0600, buf, len);
	} else {
		cli_error("run: hvx-init is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again");
	}
	if (!ret) {
		struct archive_entry *e = archive_entry_new();

		archive_entry_set_pathname(e, INIT_PATH);
		archive_entry_set_mode(e, S_IFREG | 0755);
		archive_entry_set_size(e, st.st_size);
		ret = archive_write_header(out, e) < ARCHIVE_WARN ? complain(path, out) : add_contents(out, path);
		archive_entry_free(e);
	}
	free(path);
	free(buf);
	return ret;
}

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
	static const char *const dirs[] = { "dev", "proc", "sys", "tmp", "run" };
	struct archive *out;
	int ret = 0;

	k->image = anonymous_file();
	if (k->image < 0 || (k->initrd && copy_initrd(k->image, k->initrd)))
		return -1;
	out = archive_write_new();
	archive_write_set_format_cpio_newc(out);
	archive_write_add_filter_none(out);
	if (archive_write_open_fd(out, k->image) != ARCHIVE_OK)
		ret = complain("initramfs", out);
	if (!ret && k->root)
		ret = add_tree(out, k->root);
	for (size_t i = 0; !ret && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", k->root ? k->root : "", dirs[i]);
		if (!k->root || access(path, F_OK))
			ret = add_bytes(out, dirs[i], S_IFDIR | 0755, NULL, 0);
	}
	if (!ret)
		ret = add_bytes(out, "dev/console", S_IFCHR | 0600, NULL, 0);
	if (!ret && k->argv)
		ret = add_command(out, k);
	if (!ret && archive_write_close(out) != ARCHIVE_OK)
		ret = complain("initramfs", out);
	archive_write_free(out);
	return ret;
}

/* What the kernel starts first: ours, or what the folder has. */
static const char *first_program(const struct kernel_guest *k)
{
	static const char *const names[] = { "/init", "/sbin/init", "/usr/lib/systemd/systemd", "/bin/sh" };

	if (k->argv)
		return "/" INIT_PATH;
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
