// SPDX-License-Identifier: GPL-2.0-only
/* hvx clone: another guest like one that is off, with disks of its own; hvx autostart. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "guest.h"
#include "rundir.h"
#include "snapguest.h"
#include "store.h"
#include "vmm/config.h"
#include "xmledit.h"

/* The name within the last part of the path becomes the new one; where it is not in it, "-NEW" is added. */
static char *clone_path(const char *path, const char *from, const char *to)
{
	const char *base = strrchr(path, '/'), *at, *dot;
	char *out = NULL;
	int n;

	base = base ? base + 1 : path;
	at = strstr(base, from);
	dot = strrchr(base, '.');
	if (at)
		n = asprintf(&out, "%.*s%s%s", (int)(at - path), path, to, at + strlen(from));
	else if (dot && dot > base)
		n = asprintf(&out, "%.*s-%s%s", (int)(dot - path), path, to, dot);
	else
		n = asprintf(&out, "%s-%s", path, to);
	return n < 0 ? NULL : out;
}

/* Data only, holes stay holes. The offset is copy_file_range()'s to move. */
static int copy_data(int in, int out, off_t size)
{
	off_t at = 0, end;

	while (at < size) {
		at = lseek(in, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -1;
		end = lseek(in, at, SEEK_HOLE);
		if (end < 0)
			return -1;
		while (at < end) {
			off_t to = at;
			ssize_t n = copy_file_range(in, &at, out, &to, (size_t)(end - at), 0);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return -1;
		}
	}
	return 0;
}

/* Shares the blocks where the file system can (reflink). */
static int copy_disk(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, ret = -1, err;
	struct stat st;

	if (in >= 0 && !fstat(in, &st))
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0777);
	if (out >= 0)
		ret = ioctl(out, FICLONE, in) && (ftruncate(out, st.st_size) || copy_data(in, out, st.st_size)) ? -1 : fsync(out);
	err = errno;
	if (ret && out >= 0)
		unlink(to);
	if (ret)
		cli_error("%s: %s", out < 0 && in >= 0 ? to : from, strerror(err));
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return ret;
}

static bool own(const struct dom_disk *d)
{
	return d->file && !d->readonly && !d->shareable && !d->cdrom && !d->transient;
}

/* Where the guest writes to layers, its disks' own files hold what once was. */
static bool layered(const struct guest *g)
{
	struct snap_guest s;
	bool is = false;

	if (!snap_exists(g->name))
		return false;
	if (snap_begin(&s, g->name, false))
		return true;
	for (size_t i = 0; i < s.t->nr_disks; i++)
		is |= !snap_layer(&s.t->disk[i], s.t->disk[i].active)->home;
	snap_end(&s);
	if (is)
		cli_error("%s: it has snapshots, and its disks are in several files; delete the snapshots first", g->name);
	return is;
}

/* How many of the copies in paths[] were made. */
static unsigned int copy_disks(const struct domain *dom, const char *to, char **paths, xmlDoc *doc)
{
	unsigned int i;

	for (i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];

		if (!own(d))
			continue;
		if (d->block) {
			cli_error("%s: a block device cannot be cloned; copy it and change the XML by hand", d->file);
			return i;
		}
		paths[i] = clone_path(d->file, dom->name, to);
		if (!paths[i] || copy_disk(d->file, paths[i])) {
			free(paths[i]);
			paths[i] = NULL;
			return i;
		}
		xmledit_move_disk(doc, d->file, paths[i]);
	}
	return i;
}

static int keep(const char *to, xmlDoc *doc)
{
	uint8_t uuid[16];
	size_t len;
	char *text;
	int ret;

	if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return -1;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);	/* RFC 4122, 4.4: random */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	xmledit_set(doc, "name", to);
	xmledit_set_uuid(doc, uuid);
	xmledit_drop_macs(doc);
	text = xmledit_text(doc, &len);
	ret = text ? store_write(to, text, len) : -1;
	if (ret)
		cli_error("%s: %s", to, strerror(errno));
	free(text);
	return ret;
}

static int clone_guest(const struct guest *g, const char *to)
{
	char *paths[DOM_MAX_DISKS] = { NULL }, *text;
	struct domain *dom = guest_domain(g, true);
	xmlDoc *doc = NULL;
	size_t len = 0;
	int ret = -1;

	text = dom ? guest_xml(g, true, &len) : NULL;
	doc = text ? xmledit_open(text, len) : NULL;
	if (doc && copy_disks(dom, to, paths, doc) == dom->nr_disks)
		ret = keep(to, doc);
	for (unsigned int i = 0; i < DOM_MAX_DISKS; i++) {
		if (paths[i] && ret)
			unlink(paths[i]);
		else if (paths[i])
			printf("%s\n", paths[i]);
		free(paths[i]);
	}
	if (doc)
		xmlFreeDoc(doc);
	free(text);
	domain_free(dom);
	return ret;
}

static int cmd_clone(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[1], *to;
	struct guest g;
	int status = cli_parse(cmd, argc, argv, v, 2, 2), lock;

	if (status >= 0)
		return status;
	to = argv[optind + 1];
	if (!guest_name_ok(to)) {
		cli_error("clone: %s: a name has 1 to 64 characters, no '/', and no dot in front", to);
		return VMM_ERR_USAGE;
	}
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	lock = store_lock();
	status = VMM_ERR_SETUP;
	if (g.dir)
		cli_error("%s: the guest is running; stop it first, so that its disks are whole", g.name);
	else if (lock >= 0 && store_has(to))
		cli_error("%s: a guest of this name is defined already", to);
	else if (lock >= 0 && !layered(&g) && !clone_guest(&g, to))
		status = VMM_OK;
	if (status == VMM_OK)
		printf("%s cloned to %s\n", g.name, to);
	if (lock >= 0)
		close(lock);
	guest_free(&g);
	return status;
}

static const struct cli_cmd clone_verb = {
	.name = "clone", .group = CLI_DEFINE, .args = "NAME NEW-NAME", .run = cmd_clone,
	.summary = "define another guest like one that is off",
	.help =
"With a UUID and MAC addresses of its own, and copies of the disks that it writes to,\n"
"beside them and called after it; they share their blocks where the file system can.\n"
"Disks that are read only, shareable or transient are used by both.\n",
	.opts = NO_OPTS,
};
CLI_VERB(clone_verb);

/* ------------------------------------------------------------- autostart */

/* systemctl enable or disable, of the user's manager unless this is root. True: done. */
static bool systemctl(const char *verb, const char *name)
{
	char *unit = NULL;
	int status = -1;
	pid_t pid;

	if (asprintf(&unit, "hvx@%s.service", name) < 0)
		return false;
	pid = fork();
	if (!pid) {
		if (geteuid())
			execlp("systemctl", "systemctl", "--user", "--quiet", verb, unit, NULL);
		else
			execlp("systemctl", "systemctl", "--quiet", verb, unit, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	free(unit);
	return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* A unit's instance name, unescaped: what systemd would have to escape is refused. */
static bool unit_ok(const char *name)
{
	return !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")];
}

static int cmd_autostart(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[2];
	struct guest g;
	bool on;
	int status = cli_parse(cmd, argc, argv, v, 1, 1), lock = -1;

	if (status >= 0)
		return status;
	on = !v[0];
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	status = VMM_ERR_SETUP;
	if (!g.defined)
		cli_error("%s: the guest is not defined", g.name);
	else if (!unit_ok(g.name))
		cli_error("%s: a name for systemd has letters, digits, '_', '-' and '.' only; see: hvx help rename", g.name);
	else if ((lock = store_lock()) < 0)
		status = VMM_ERR_SETUP;
	else if (store_set_autostart(g.name, on))
		cli_error("%s: autostart: %s", g.name, strerror(errno));
	else
		status = VMM_OK;
	if (status == VMM_OK && !systemctl(on ? "enable" : "disable", g.name)) {
		cli_error("%s: systemctl failed; is hvx@.service installed? (make install)", g.name);
		store_set_autostart(g.name, !on);
		status = VMM_ERR_SETUP;
	}
	if (status == VMM_OK)
		printf("%s %s\n", g.name, on ? "starts with the host" : "does not start with the host");
	if (lock >= 0)
		close(lock);
	guest_free(&g);
	return status;
}

static const struct cli_cmd autostart_verb = {
	.name = "autostart", .group = CLI_DEFINE, .args = "NAME", .run = cmd_autostart,
	.summary = "start a guest with the host",
	.help =
"Enables systemd's unit hvx@NAME.service: of the system for root, else of the user's\n"
"own manager, which runs without a login where `loginctl enable-linger` has said so.\n",
	.opts = OPTS({ "disable", 'd', NULL, "no longer" }),
};
CLI_VERB(autostart_verb);
