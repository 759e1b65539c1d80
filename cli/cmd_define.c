// SPDX-License-Identifier: GPL-2.0-only
/* Verbs on definitions: define, undefine, edit, dumpxml, rename, autostart. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "guest.h"
#include "rundir.h"
#include "savefile.h"
#include "snapguest.h"
#include "store.h"
#include "vmm/domxml_int.h"
#include "xmledit.h"

static char *read_file(const char *file, size_t *len)
{
	bool in = !strcmp(file, "-");
	char *why = NULL, *text = doc_read(in ? NULL : file, in ? STDIN_FILENO : -1, DOMXML_MAX_FILE, len, &why);

	if (!text)
		cli_error("%s: %s", file, why ? why : "out of memory");
	free(why);
	return text;
}

/* --- define --- */

static int cmd_define(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[2], *file;
	char *text, *name = NULL;
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	size_t len;

	if (status >= 0)
		return status;
	file = argv[optind];
	text = read_file(file, &len);
	if (!text)
		return VMM_ERR_USAGE;
	status = store_define(strcmp(file, "-") ? file : "(stdin)", text, len, !value[0], &name) ? VMM_ERR_USAGE : VMM_OK;
	if (status == VMM_OK)
		printf("%s defined\n", name);
	free(name);
	free(text);
	return status;
}

static const struct cli_cmd define_verb = {
	.name = "define", .group = CLI_DEFINE, .args = "FILE", .run = cmd_define,
	.summary = "keep a guest's XML, to start it by name",
	.help =
"Checks the XML as `hvx validate` does and keeps it, in /etc/hvx for root and in\n"
"$XDG_CONFIG_HOME/hvx for others. A definition of the same name is replaced; a guest\n"
"that runs is not changed by that. A <uuid> is added where there is none, and paths\n"
"are written in full. - is the standard input.\n",
	.opts = OPTS({ "new", 'n', NULL, "refuse where a guest of this name is defined" }),
};
CLI_VERB(define_verb);

/* --- undefine --- */

/* Disks that are this guest's own, to write to. */
static int remove_storage(const struct domain *dom)
{
	int ret = 0;

	for (unsigned int i = 0; i < dom->nr_disks; i++) {
		const struct dom_disk *d = &dom->disk[i];
		struct stat st;

		if (!d->file || d->readonly || d->shareable || d->cdrom || d->block)
			continue;
		if (lstat(d->file, &st) && errno == ENOENT)
			continue;
		if (!S_ISREG(st.st_mode)) {
			cli_error("%s: not a plain file; it stays", d->file);
		} else if (unlink(d->file)) {
			cli_error("%s: %s", d->file, strerror(errno));
			ret = -1;
		} else {
			printf("%s removed\n", d->file);
		}
	}
	return ret;
}

static int undefine(struct guest *g, bool storage)
{
	struct domain *dom = storage ? guest_domain(g, true) : NULL;
	int lock, status = VMM_ERR_SETUP;

	if (storage && !dom)
		return status;
	lock = store_lock();
	if (lock >= 0 && store_set_autostart(g->name, false))
		cli_error("%s: autostart: %s", g->name, strerror(errno));
	else if (lock >= 0 && store_remove(g->name))
		cli_error("%s: its definition: %s", g->name, strerror(errno));
	else if (lock >= 0)
		status = VMM_OK;
	if (status == VMM_OK && dom && remove_storage(dom))
		status = VMM_ERR_SETUP;
	if (lock >= 0)
		close(lock);
	domain_free(dom);
	return status;
}

/* What managedsave kept: not there, or to go too. */
static bool state_may_go(const struct guest *g, bool remove)
{
	char *state = managedsave_path(g->name, false);
	bool there = state && !access(state, F_OK), ok = !there || remove;

	if (there && remove && unlink(state)) {
		cli_error("%s: %s", state, strerror(errno));
		ok = false;
	} else if (!ok) {
		cli_error("%s: it has a saved state; `hvx managedsave-remove %s` drops that", g->name, g->name);
	}
	free(state);
	return ok;
}

/* Its snapshots: not there, or to go too; the disks stay, in one file each. */
static bool snapshots_may_go(const struct guest *g, bool remove)
{
	struct snap_guest s;
	size_t n;
	bool ok;

	if (!snap_exists(g->name))
		return true;
	if (g->dir) {
		cli_error("%s: the guest is running, and has snapshots or files that wait to be merged; stop it first", g->name);
		return false;
	}
	if (snap_begin(&s, g->name, true))
		return false;
	n = s.t->nr_snaps;
	ok = !n || remove;
	if (!ok)
		cli_error("%s: it has %zu snapshot%s; `hvx undefine --snapshots-metadata %s` drops them, too", g->name, n,
			  n == 1 ? "" : "s", g->name);
	else if (s.t->exists && snap_flatten(s.t))
		ok = false;
	else if (s.t->exists)
		ok = false, cli_error("%s: its disks could not be merged into one file each; see above", g->name);
	snap_end(&s);
	return ok;
}

static int cmd_undefine(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[8];
	struct guest g;
	int status = cli_guest(cmd, argc, argv, value, 1, 1, &g);

	if (status >= 0)
		return status;
	status = VMM_ERR_SETUP;
	if (!g.defined)
		cli_error("%s: the guest is not defined; `hvx destroy %s` ends it", g.name, g.name);
	else if (value[0] && g.dir)
		cli_error("%s: the guest is running, and its disks cannot be removed; stop it first", g.name);
	else if (snapshots_may_go(&g, value[2]) && state_may_go(&g, value[1]))
		status = undefine(&g, value[0]);
	if (status == VMM_OK)
		printf("%s undefined%s\n", g.name, g.dir ? "; it runs on until it ends" : "");
	guest_free(&g);
	return status;
}

static const struct cli_cmd undefine_verb = {
	.name = "undefine", .group = CLI_DEFINE, .args = "NAME", .run = cmd_undefine,
	.summary = "forget a guest's definition",
	.help =
"A guest that runs goes on until it ends. One that managedsave has saved, or that has\n"
"snapshots, is refused, unless they may go, too. Its disks stay as they are now.\n",
	.opts = OPTS(
		{ "remove-all-storage", 's', NULL, "remove the files of its disks, but those read only or shared" },
		{ "managed-save", 'm', NULL, "remove what managedsave kept" },
		{ "snapshots-metadata", 'S', NULL, "remove its snapshots; it must be off" }),
};
CLI_VERB(undefine_verb);

/* --- dumpxml --- */

static int cmd_dumpxml(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[2];
	struct guest g;
	int status = cli_guest(cmd, argc, argv, value, 1, 1, &g);
	char *text;
	size_t len;

	if (status >= 0)
		return status;
	text = guest_xml(&g, value[0], &len);
	guest_free(&g);
	if (!text)
		return VMM_ERR_SETUP;
	fwrite(text, 1, len, stdout);
	free(text);
	return VMM_OK;
}

static const struct cli_cmd dumpxml_verb = {
	.name = "dumpxml", .group = CLI_DEFINE, .args = "NAME", .run = cmd_dumpxml,
	.summary = "print a guest's XML",
	.help = "Prints the XML that the guest runs with, or where it is off its definition.\n",
	.opts = OPTS({ "inactive", 'i', NULL, "its definition, in any case" }),
};
CLI_VERB(dumpxml_verb);

/* --- edit --- */

static int run_editor(const char *file)
{
	const char *editor = getenv("VISUAL") ?: getenv("EDITOR") ?: "vi";
	int status;
	pid_t pid = fork();

	if (!pid) {
		execlp("sh", "sh", "-c", "eval \"$1 \\\"\\$2\\\"\"", "sh", editor, file, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	cli_error("the editor (%s) failed; set VISUAL or EDITOR", editor);
	return -1;
}

/* True: once more. Without a terminal nobody can answer. */
static bool ask_again(void)
{
	char line[16];

	if (!isatty(STDIN_FILENO))
		return false;
	fputs("Edit again? [y/N] ", stderr);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

/* The definition must still be what was edited, and its name the same. */
static int keep_edit(const struct guest *g, const char *before, const char *file, const char *text, size_t len)
{
	struct domain *dom = store_parse(file, text, len, true);
	char *now, *name = NULL;
	size_t now_len;
	int ret = -1;

	if (!dom)
		return -1;
	if (strcmp(dom->name, g->name)) {
		cli_error("%s: <name>%s</name>: the name cannot be changed here; see: hvx help rename", file, dom->name);
		domain_free(dom);
		return -1;
	}
	domain_free(dom);
	now = store_read(g->name, &now_len);
	if (!now || strcmp(now, before))
		cli_error("%s: its definition was changed by somebody else meanwhile", g->name);
	else
		ret = store_define(file, text, len, true, &name);
	free(name);
	free(now);
	return ret;
}

static int edit_file(const struct guest *g, const char *before, char *file)
{
	char *text = NULL;
	size_t len = 0;
	int status = VMM_ERR_SETUP;

	do {
		free(text);
		text = NULL;
		if (run_editor(file) || !(text = read_file(file, &len)))
			break;
		if (!strcmp(text, before)) {
			printf("%s not changed\n", g->name);
			status = VMM_OK;
		} else if (!keep_edit(g, before, file, text, len)) {
			printf("%s changed%s\n", g->name, g->dir ? "; it takes effect when the guest is started anew" : "");
			status = VMM_OK;
		}
	} while (status != VMM_OK && ask_again());
	if (status != VMM_OK)
		cli_error("%s: its definition is as before; what you wrote is in %s", g->name, file);
	free(text);
	return status;
}

static int cmd_edit(const struct cli_cmd *cmd, int argc, char **argv)
{
	char file[] = "/tmp/hvx-edit-XXXXXX.xml", *before;
	const char *value[1];
	struct guest g;
	int status = cli_guest(cmd, argc, argv, value, 1, 1, &g), fd;
	size_t len;

	if (status >= 0)
		return status;
	before = guest_xml(&g, true, &len);
	fd = before ? mkostemps(file, 4, O_CLOEXEC) : -1;
	status = VMM_ERR_SETUP;
	if (before && (fd < 0 || write(fd, before, len) != (ssize_t)len))
		cli_error("%s: %s", file, strerror(errno));
	else if (before)
		status = edit_file(&g, before, file);
	if (fd >= 0)
		close(fd);
	if (status == VMM_OK)
		unlink(file);
	free(before);
	guest_free(&g);
	return status;
}

static const struct cli_cmd edit_verb = {
	.name = "edit", .group = CLI_DEFINE, .args = "NAME", .run = cmd_edit,
	.summary = "edit a guest's definition",
	.help =
"Opens the definition in $VISUAL, $EDITOR or vi, checks the result as `hvx validate`\n"
"does, and keeps it only if it can be run. A running guest is not changed.\n",
	.opts = NO_OPTS,
};
CLI_VERB(edit_verb);

/* --- rename --- */

static int rename_to(const struct guest *g, const char *to)
{
	size_t len = 0;
	char *text = guest_xml(g, true, &len), *done = NULL;
	xmlDoc *doc = text ? xmledit_open(text, len) : NULL;
	int ret = -1;

	free(text);
	if (!doc)
		return -1;
	xmledit_set(doc, "name", to);
	done = xmledit_text(doc, &len);
	xmlFreeDoc(doc);
	/* The new one first: a crash leaves both, never none. */
	if (!done || store_write(to, done, len) || (store_autostart(g->name) && store_set_autostart(to, true)))
		cli_error("%s: %s", to, strerror(errno));
	else if (store_set_autostart(g->name, false) || store_remove(g->name))
		cli_error("%s: %s", g->name, strerror(errno));
	else
		ret = 0;
	free(done);
	return ret;
}

static int cmd_rename(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[1], *to;
	struct guest g;
	int status = cli_parse(cmd, argc, argv, value, 2, 2), lock;

	if (status >= 0)
		return status;
	to = argv[optind + 1];
	if (!guest_name_ok(to)) {
		cli_error("rename: %s: a name has 1 to 64 characters, no '/', and no dot in front", to);
		return VMM_ERR_USAGE;
	}
	lock = store_lock();
	if (lock < 0 || guest_find(argv[optind], &g)) {
		if (lock >= 0)
			close(lock);
		return VMM_ERR_SETUP;
	}
	status = VMM_ERR_SETUP;
	if (g.dir)
		cli_error("%s: the guest is running; stop it first", g.name);
	else if (store_has(to))
		cli_error("%s: a guest of this name is defined already", to);
	else if (snap_exists(g.name))
		cli_error("%s: it has snapshots, which are kept under its name; delete them first", g.name);
	else if (state_may_go(&g, false) && !rename_to(&g, to))
		status = VMM_OK;
	if (status == VMM_OK)
		printf("%s is called %s now\n", g.name, to);
	close(lock);
	guest_free(&g);
	return status;
}

static const struct cli_cmd rename_verb = {
	.name = "rename", .group = CLI_DEFINE, .args = "NAME NEW-NAME", .run = cmd_rename,
	.summary = "give a guest that is off another name",
	.help = "Its UUID, MAC addresses and disks stay as they are.\n", .opts = NO_OPTS,
};
CLI_VERB(rename_verb);
