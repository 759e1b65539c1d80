// SPDX-License-Identifier: GPL-2.0-only
/* hvx snapshot-*: a guest at several moments. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "snapguest.h"
#include "snapxml.h"
#include "vmm/domxml_int.h"

/* ---------------------------------------------------------------------- create */

/* Memory that is kept would come back with its file systems frozen, and nobody to thaw them. */
static int no_memory_kept(const struct cli_cmd *cmd, const struct snap_request *r)
{
	if (!r->quiesce || r->disks_only)
		return 0;
	cli_error("%s: --quiesce goes with --disk-only: with the memory, all that was not written yet is kept anyway", cmd->name);
	return -1;
}

static int cmd_create_as(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[8];
	struct snap_guest s;
	struct snap_request r;
	int status = cli_parse(cmd, argc, argv, v, 1, 3), n = argc - optind;

	if (status >= 0)
		return status;
	if ((n > 1 && v[0]) || (n > 2 && v[1])) {
		cli_error("%s: the name or the description is given twice", cmd->name);
		return VMM_ERR_USAGE;
	}
	r = (struct snap_request){
		.name = n > 1 ? argv[optind + 1] : v[0], .description = n > 2 ? argv[optind + 2] : v[1],
		.disks_only = v[2], .halt = v[3], .quiet = v[4], .quiesce = v[5],
	};
	if (no_memory_kept(cmd, &r))
		return VMM_ERR_USAGE;
	if (snap_begin(&s, argv[optind], true))
		return VMM_ERR_SETUP;
	status = snap_take(&s, &r) ? VMM_ERR_SETUP : VMM_OK;
	snap_end(&s);
	return status;
}

static const struct cli_cmd create_as_verb = {
	.name = "snapshot-create-as", .group = CLI_STATE, .args = "NAME [SNAPSHOT] [DESCRIPTION]", .run = cmd_create_as,
	.summary = "keep what a guest is at this moment",
	.help =
"Of a guest that is off, what its disks hold. Of one that runs, its memory and devices\n"
"too, as `hvx save` writes them: it stands still meanwhile. SNAPSHOT is made of the time\n"
"where it is not given. The new one becomes the current one, and the parent of the next.\n"
"\n"
"Where the disks' file system can share blocks between files, a copy of each is made\n"
"that does. Elsewhere the disk's file is left as it is, and what the guest writes goes\n"
"to a file over it, DISK.hvx-ID; `hvx snapshot-delete` merges them. Only disks in plain\n"
"files can have snapshots, of any format; those that are read only or transient stay out.\n"
"\n"
"All of it or nothing is done, whatever happens: after a crash the next command on the\n"
"guest finishes or undoes it. The guest must be defined.\n",
	.opts = OPTS(
		{ "name", 'n', "SNAPSHOT", "what to call it" },
		{ "description", 'D', "TEXT", "what it is for" },
		{ "disk-only", 'd', NULL, "no memory: the disks as after a power failure" },
		{ "halt", 'H', NULL, "end the guest afterwards" },
		{ "quiet", 'q', NULL, "no progress line" },
		{ "quiesce", 'Q', NULL, "the guest's agent freezes its file systems meanwhile; with --disk-only" }),
};
CLI_VERB(create_as_verb);

enum { C_DISK_ONLY, C_HALT, C_QUIET, C_QUIESCE, C_NR };

/* What the file says, and the options. -1 after a message. */
static int read_request(const struct snap_guest *s, const char *file, const char *v[C_NR], struct snap_xml *x)
{
	bool in = !strcmp(file, "-");
	char *why = NULL, *text;
	struct domain *dom;
	size_t len = 0;
	int ret = -1;

	text = doc_read(in ? NULL : file, in ? STDIN_FILENO : -1, DOMXML_MAX_FILE, &len, &why);
	if (!text)
		cli_error("%s: %s", file, why ? why : "out of memory");
	free(why);
	dom = text ? guest_domain(&s->g, true) : NULL;
	if (dom)
		ret = snap_xml_parse(x, in ? "(stdin)" : file, text, len, dom);
	if (!ret && x->memory && (v[C_DISK_ONLY] || !s->g.dir)) {
		cli_error("%s: <memory>: %s; remove it, or write snapshot='no'", file,
			  s->g.dir ? "not with --disk-only" : "the guest is off, and has none");
		ret = -1;
	}
	domain_free(dom);
	free(text);
	return ret;
}

static int cmd_create(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[C_NR];
	struct snap_guest s;
	struct snap_request r;
	struct snap_xml x = { 0 };
	int status = cli_parse(cmd, argc, argv, v, 1, 2);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], true))
		return VMM_ERR_SETUP;
	status = argv[optind + 1] && read_request(&s, argv[optind + 1], v, &x) ? VMM_ERR_USAGE : VMM_OK;
	r = (struct snap_request){
		.name = x.name, .description = x.description, .disks_only = v[C_DISK_ONLY] || x.no_memory,
		.halt = v[C_HALT], .quiet = v[C_QUIET], .quiesce = v[C_QUIESCE],
	};
	if (!status && no_memory_kept(cmd, &r))
		status = VMM_ERR_USAGE;
	if (!status && snap_take(&s, &r))
		status = VMM_ERR_SETUP;
	snap_xml_free(&x);
	snap_end(&s);
	return status;
}

static const struct cli_cmd create_verb = {
	.name = "snapshot-create", .group = CLI_STATE, .args = "NAME [FILE]", .run = cmd_create,
	.summary = "keep what a guest is at this moment, as an XML says",
	.help =
"As `hvx snapshot-create-as`, with libvirt's <domainsnapshot> from FILE (-: standard\n"
"input): <name>, <description>, <memory snapshot='internal' or 'no'/>, and <disks>, in\n"
"which a <disk name=> with snapshot='external' is one of the guest's. A snapshot always\n"
"has all disks that the guest writes to, in files that hvx names. What else\n"
"`hvx snapshot-dumpxml` prints is passed over. Without FILE a name is made up.\n",
	.opts = OPTS(
		{ "disk-only", 'd', NULL, "no memory: the disks as after a power failure" },
		{ "halt", 'H', NULL, "end the guest afterwards" },
		{ "quiet", 'q', NULL, "no progress line" },
		{ "quiesce", 'Q', NULL, "the guest's agent freezes its file systems meanwhile; with --disk-only" }),
};
CLI_VERB(create_verb);

/* ------------------------------------------------------------------------ list */

static void format_time(int64_t t, char *buf, size_t size)
{
	time_t when = (time_t)t;
	struct tm tm;

	if (!localtime_r(&when, &tm) || !strftime(buf, size, "%Y-%m-%d %H:%M:%S %z", &tm))
		snprintf(buf, size, "?");
}

static void put(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

static struct json_object *as_json(struct snap_tree *t, const struct snapshot *s)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct snapshot *parent = snap_by_id(t, s->parent);
	unsigned int kids = 0;

	for (size_t i = 0; i < t->nr_snaps; i++)
		kids += !strcmp(t->snap[i].parent, s->id);
	put(o, "name", s->name);
	put(o, "description", s->description);
	json_object_object_add(o, "parent", parent ? json_object_new_string(parent->name) : NULL);
	json_object_object_add(o, "current", json_object_new_boolean(!strcmp(t->current, s->id)));
	put(o, "state", snap_state_name(s->state));
	json_object_object_add(o, "created", json_object_new_int64(s->created));
	json_object_object_add(o, "children", json_object_new_int((int)kids));
	for (size_t i = 0; i < s->nr_refs; i++) {
		struct snap_disk *d = snap_disk(t, s->ref[i].file);
		char *path = layer_path(d, snap_layer(d, s->ref[i].layer));
		struct json_object *disk = json_object_new_object();

		put(disk, "target", s->ref[i].target);
		put(disk, "file", s->ref[i].file);
		put(disk, "held-in", path ? path : "");
		free(path);
		json_object_array_add(list, disk);
	}
	json_object_object_add(o, "disks", list);
	return o;
}

/* The depth of what is printed is that of the tree: at most SNAP_MAX. */
static void print_tree(struct snap_tree *t, const char *parent, const char *prefix)
{
	size_t n = 0, seen = 0;
	char *deeper = NULL;

	for (size_t i = 0; i < t->nr_snaps; i++)
		n += !strcmp(t->snap[i].parent, parent);
	for (size_t i = 0; i < t->nr_snaps; i++) {
		bool last;

		if (strcmp(t->snap[i].parent, parent))
			continue;
		last = ++seen == n;
		printf("%s%s%s%s\n", prefix, *parent ? last ? "`- " : "+- " : "", t->snap[i].name,
		       !strcmp(t->current, t->snap[i].id) ? " *" : "");
		if (asprintf(&deeper, "%s%s", prefix, *parent ? last ? "   " : "|  " : "  ") > 0) {
			print_tree(t, t->snap[i].id, deeper);
			free(deeper);
		}
	}
}

static void print_list(struct snap_tree *t, bool names, bool parents)
{
	int wide = 4;
	char when[64];

	for (size_t i = 0; i < t->nr_snaps; i++)
		wide = (int)strlen(t->snap[i].name) > wide ? (int)strlen(t->snap[i].name) : wide;
	if (!names)
		printf(" %-*s   %-25s   %-13s%s\n", wide, "Name", "Creation Time", "State", parents ? "   Parent" : "");
	for (size_t i = 0; i < t->nr_snaps; i++) {
		struct snapshot *s = &t->snap[i], *parent = snap_by_id(t, s->parent);

		format_time(s->created, when, sizeof(when));
		if (names)
			puts(s->name);
		else if (parents)
			printf(" %-*s   %-25s   %-13s   %s\n", wide, s->name, when, snap_state_name(s->state), parent ? parent->name : "");
		else
			printf(" %-*s   %-25s   %s\n", wide, s->name, when, snap_state_name(s->state));
	}
}

static int cmd_list(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[5];
	struct snap_guest s;
	struct json_object *list;
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], false))
		return VMM_ERR_SETUP;
	if (v[3]) {
		list = json_object_new_array();
		for (size_t i = 0; i < s.t->nr_snaps; i++)
			json_object_array_add(list, as_json(s.t, &s.t->snap[i]));
		print_json(list);
	} else if (v[0]) {
		print_tree(s.t, "", "");
	} else {
		print_list(s.t, v[1], v[2]);
	}
	snap_end(&s);
	return VMM_OK;
}

static const struct cli_cmd list_verb = {
	.name = "snapshot-list", .group = CLI_STATE, .args = "NAME", .run = cmd_list,
	.summary = "list a guest's snapshots",
	.help =
"The state is what the guest was in: running or paused (its memory is kept), shutoff,\n"
"or disk-snapshot (it ran, and its memory is not kept). In the tree, * is the current one.\n",
	.opts = OPTS(
		{ "tree", 't', NULL, "as a tree" },
		{ "names", 'n', NULL, "names only" },
		{ "parent", 'p', NULL, "with their parents" },
		{ "json", 'j', NULL, "print an array of objects" }),
};
CLI_VERB(list_verb);

/* ----------------------------------------------------------------- one of them */

/* The second operand, or --current. NULL after a message. */
static struct snapshot *pick(struct snap_guest *s, const struct cli_cmd *cmd, const char *name, bool current)
{
	struct snapshot *snap;

	if (!!name == current) {
		cli_error("%s: one snapshot is wanted: SNAPSHOT or --current; see: hvx help %s", cmd->name, cmd->name);
		return NULL;
	}
	snap = name ? snap_find(s->t, name) : snap_by_id(s->t, s->t->current);
	if (!snap)
		cli_error("%s: %s%s; `hvx snapshot-list %s` shows them", s->g.name, name ? "no snapshot called " : "it has no current snapshot",
			  name ? name : "", s->g.name);
	return snap;
}

static int cmd_info(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[3];
	struct snap_guest s;
	struct snapshot *snap, *parent;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);
	unsigned int kids = 0;
	char when[64];

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], false))
		return VMM_ERR_SETUP;
	snap = pick(&s, cmd, argv[optind + 1], v[0]);
	if (snap && v[1]) {
		print_json(as_json(s.t, snap));
	} else if (snap) {
		parent = snap_by_id(s.t, snap->parent);
		for (size_t i = 0; i < s.t->nr_snaps; i++)
			kids += !strcmp(s.t->snap[i].parent, snap->id);
		format_time(snap->created, when, sizeof(when));
		printf("%-16s%s\n%-16s%s\n%-16s%s\n%-16s%s\n%-16s%s\n%-16s%s\n%-16s%u\n", "Name:", snap->name, "Domain:", s.g.name,
		       "Current:", strcmp(s.t->current, snap->id) ? "no" : "yes", "State:", snap_state_name(snap->state),
		       "Created:", when, "Parent:", parent ? parent->name : "-", "Children:", kids);
		if (*snap->description)
			printf("%-16s%s\n", "Description:", snap->description);
	}
	snap_end(&s);
	return snap ? VMM_OK : VMM_ERR_SETUP;
}

static const struct cli_cmd info_verb = {
	.name = "snapshot-info", .group = CLI_STATE, .args = "NAME [SNAPSHOT]", .run = cmd_info,
	.summary = "tell about one snapshot",
	.help = "Its state, when it was made, its parent, and how many have it for theirs.\n",
	.opts = OPTS(
		{ "current", 'c', NULL, "the current one" },
		{ "json", 'j', NULL, "print an object, with the files that hold its disks" }),
};
CLI_VERB(info_verb);

static void add_child(xmlNode *parent, const char *name, const char *text)
{
	xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

/* The definition, and the rest in front of it, in libvirt's form. */
static int print_xml(struct snap_guest *s, const struct snapshot *snap)
{
	xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0"), *domain = NULL;
	xmlNode *root = xmlNewNode(NULL, (const xmlChar *)"domainsnapshot"), *n;
	struct snapshot *parent = snap_by_id(s->t, snap->parent);
	char *path = snap_path(s->t, snap->id, "xml"), *why = NULL, *text, when[32];
	bool memory = snap->state == SNAP_RUNNING || snap->state == SNAP_PAUSED;
	size_t len = 0;

	text = path ? doc_read(path, -1, DOMXML_MAX_FILE, &len, &why) : NULL;
	domain = text ? doc_parse(text, len, &(unsigned int){ 0 }, &why) : NULL;
	if (!domain)
		cli_error("%s: %s", path ? path : s->g.name, why ? why : "out of memory");
	if (domain && doc && root) {
		xmlDocSetRootElement(doc, root);
		add_child(root, "name", snap->name);
		if (*snap->description)
			add_child(root, "description", snap->description);
		add_child(root, "state", snap_state_name(snap->state));
		if (parent)
			add_child(xmlNewChild(root, NULL, (const xmlChar *)"parent", NULL), "name", parent->name);
		snprintf(when, sizeof(when), "%lld", (long long)snap->created);
		add_child(root, "creationTime", when);
		n = xmlNewChild(root, NULL, (const xmlChar *)"memory", NULL);
		xmlSetProp(n, (const xmlChar *)"snapshot", (const xmlChar *)(memory ? "internal" : "no"));
		n = xmlNewChild(root, NULL, (const xmlChar *)"disks", NULL);
		for (size_t i = 0; i < snap->nr_refs; i++) {
			xmlNode *d = xmlNewChild(n, NULL, (const xmlChar *)"disk", NULL);

			xmlSetProp(d, (const xmlChar *)"name", (const xmlChar *)snap->ref[i].target);
			xmlSetProp(d, (const xmlChar *)"snapshot", (const xmlChar *)"external");
		}
		xmlAddChild(root, xmlDocCopyNode(xmlDocGetRootElement(domain), doc, 1));
		xmlDocFormatDump(stdout, doc, 1);
	}
	if (domain)
		xmlFreeDoc(domain);
	xmlFreeDoc(doc);
	free(text);
	free(why);
	free(path);
	return domain ? VMM_OK : VMM_ERR_SETUP;
}

static int cmd_dumpxml(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[1];
	struct snap_guest s;
	struct snapshot *snap;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], false))
		return VMM_ERR_SETUP;
	snap = pick(&s, cmd, argv[optind + 1], false);
	status = snap ? print_xml(&s, snap) : VMM_ERR_SETUP;
	snap_end(&s);
	return status;
}

static const struct cli_cmd dumpxml_verb = {
	.name = "snapshot-dumpxml", .group = CLI_STATE, .args = "NAME SNAPSHOT", .run = cmd_dumpxml,
	.summary = "print a snapshot as XML",
	.help = "Libvirt's <domainsnapshot>, with the definition that the guest had.\n", .opts = NO_OPTS,
};
CLI_VERB(dumpxml_verb);

static int cmd_current(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[2];
	struct snap_guest s;
	struct snapshot *snap;
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], false))
		return VMM_ERR_SETUP;
	snap = pick(&s, cmd, NULL, true);
	status = !snap ? VMM_ERR_SETUP : v[0] ? VMM_OK : print_xml(&s, snap);
	if (snap && v[0])
		puts(snap->name);
	snap_end(&s);
	return status;
}

static const struct cli_cmd current_verb = {
	.name = "snapshot-current", .group = CLI_STATE, .args = "NAME", .run = cmd_current,
	.summary = "print the current snapshot",
	.help = "The last that was made or gone back to: as XML, or only what it is called.\n",
	.opts = OPTS({ "name", 'n', NULL, "only its name" }),
};
CLI_VERB(current_verb);

static int cmd_parent(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[1];
	struct snap_guest s;
	struct snapshot *snap, *parent;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], false))
		return VMM_ERR_SETUP;
	snap = pick(&s, cmd, argv[optind + 1], v[0]);
	parent = snap ? snap_by_id(s.t, snap->parent) : NULL;
	if (parent)
		puts(parent->name);
	else if (snap)
		cli_error("%s: %s has no parent: it was made from no other snapshot", s.g.name, snap->name);
	snap_end(&s);
	return parent ? VMM_OK : VMM_ERR_SETUP;
}

static const struct cli_cmd parent_verb = {
	.name = "snapshot-parent", .group = CLI_STATE, .args = "NAME [SNAPSHOT]", .run = cmd_parent,
	.summary = "print which snapshot one was made from",
	.help = "Its name. Exit status 65 where there is none.\n",
	.opts = OPTS({ "current", 'c', NULL, "of the current one" }),
};
CLI_VERB(parent_verb);

/* -------------------------------------------------------------- revert, delete */

static int cmd_revert(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[5];
	struct snap_guest s;
	struct snapshot *snap;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], true))
		return VMM_ERR_SETUP;
	snap = pick(&s, cmd, argv[optind + 1], v[0]);
	if (snap && v[3])
		snap->state = SNAP_DISKS;	/* here, not in the tree */
	status = snap ? snap_go_back(&s, snap, v[1], v[2]) : VMM_ERR_SETUP;
	snap_end(&s);
	return status;
}

static const struct cli_cmd revert_verb = {
	.name = "snapshot-revert", .group = CLI_STATE, .args = "NAME [SNAPSHOT]", .run = cmd_revert,
	.summary = "let a guest go back to a snapshot",
	.help =
"What the guest has written since its last snapshot is lost, and if it runs, it ends.\n"
"Its disks and its definition become what they were. Where the snapshot has its memory,\n"
"it goes on from there: with the time of now, and told by a new generation ID that it\n"
"went back. The snapshot stays, and becomes the current one.\n",
	.opts = OPTS(
		{ "current", 'c', NULL, "to the current one" },
		{ "running", 'r', NULL, "let it run, also where it was off or paused" },
		{ "paused", 'p', NULL, "let it wait for `hvx resume`" },
		{ "disk-only", 'd', NULL, "leave the memory alone: as after a power failure" }),
};
CLI_VERB(revert_verb);

/* A child stands behind its parent: from the end, no child is left without one. */
static void remove_below(struct snap_tree *t, const char *id)
{
	for (size_t i = t->nr_snaps; i--;) {
		const struct snapshot *s = &t->snap[i];

		while (s && strcmp(s->parent, id))
			s = snap_by_id(t, s->parent);
		if (s)
			snap_remove(t, &t->snap[i]);
	}
}

static int cmd_delete(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[4], *name;
	struct snap_guest s;
	struct snapshot *snap;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);
	char id[SNAP_ID], *shown = NULL;

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], true))
		return VMM_ERR_SETUP;
	snap = pick(&s, cmd, argv[optind + 1], v[0]);
	status = VMM_ERR_SETUP;
	if (snap) {
		memcpy(id, snap->id, SNAP_ID);
		shown = strdup(snap->name);
		name = shown ? shown : "";
		if (v[1] || v[2])
			remove_below(s.t, id);
		if (!v[2])
			snap_remove(s.t, snap_by_id(s.t, id));
		if (!snap_commit(s.t) && !snap_recover(s.t, s.g.dir)) {
			printf("Domain snapshot %s %sdeleted\n", name, v[2] ? "children " : "");
			status = VMM_OK;
		}
		/* It is deleted, whatever comes of that. */
		if (status == VMM_OK && s.g.dir && s.t->nr_disks)
			snap_merge_live(&s, NULL, false);
		free(shown);
	}
	snap_end(&s);
	return status;
}

static const struct cli_cmd delete_verb = {
	.name = "snapshot-delete", .group = CLI_STATE, .args = "NAME [SNAPSHOT]", .run = cmd_delete,
	.summary = "forget a snapshot",
	.help =
"The guest and its other snapshots stay as they are: what they share with it is merged\n"
"into them. Its children become its parent's. While the guest runs, that is done where it\n"
"does not write; `hvx blockcommit` does the rest, or the next command on it once it is off.\n",
	.opts = OPTS(
		{ "current", 'c', NULL, "the current one" },
		{ "children", 'C', NULL, "with all that were made from it" },
		{ "children-only", 'o', NULL, "those, but not itself" }),
};
CLI_VERB(delete_verb);

/* ---------------------------------------------------------------- blockcommit */

static int cmd_blockcommit(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct snap_guest s;
	int status = cli_parse(cmd, argc, argv, NULL, 1, 2);

	if (status >= 0)
		return status;
	if (snap_begin(&s, argv[optind], true))
		return VMM_ERR_SETUP;
	/* Of one that is off, snap_begin() has merged all. */
	status = !s.g.dir || !s.t->nr_disks || !snap_merge_live(&s, argv[optind + 1], true) ? VMM_OK : VMM_ERR_SETUP;
	snap_end(&s);
	return status;
}

static const struct cli_cmd blockcommit_verb = {
	.name = "blockcommit", .group = CLI_STATE, .args = "NAME [DISK]", .run = cmd_blockcommit,
	.summary = "merge the files of a running guest's disks that no snapshot needs",
	.help =
"Snapshots that were deleted while the guest ran have left files that lie on each other\n"
"(docs/snapshots.md). They become as few as there can be, of DISK (vda) or of all disks,\n"
"while the guest goes on: what it writes meanwhile goes to a new file, so that one more\n"
"than necessary stays until it is off. It stands still for some milliseconds.\n"
"\n"
"Nothing is lost whenever it is killed, or the disk is full; it can be begun again.\n",
	.opts = NO_OPTS,
};
CLI_VERB(blockcommit_verb);
