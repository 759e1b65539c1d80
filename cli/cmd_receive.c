// SPDX-License-Identifier: GPL-2.0-only
/* hvx receive: the other end of hvx migrate. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "arrive.h"
#include "callers.h"
#include "guest.h"
#include "keepdef.h"
#include "rundir.h"
#include "store.h"
#include "vmm/domxml_int.h"
#include "vmm/fdpass.h"
#include "vmm/mig.h"
#include "wire.h"

struct arrival {
	struct wire wire[MIG_MAX_STREAMS];
	struct wire disk[DOM_MAX_DISKS];	/* in the order of images */
	struct json_object *hello;
	unsigned int nr;
	char id[64];
	struct arriving images;
	struct keepdef def;
};

/* What was asked for. */
struct receive {
	const struct wire_uri *uri;
	struct wire_options wire;
	const char *name, *file;
	char *xml;		/* file's; NULL: what comes with the guest */
	size_t xml_len;
	bool paused;
};

static const char *text_of(struct json_object *o, const char *name)
{
	return json_object_get_string(json_object_object_get(o, name));
}

/* "": go on; else why not. */
static void answer(struct wire *w, const char *why)
{
	struct json_object *o = json_object_new_object();
	const char *ignored;

	if (*why)
		json_object_object_add(o, "error", json_object_new_string(why));
	else
		json_object_object_add(o, "ok", json_object_new_boolean(true));
	wire_send(w, o, &ignored);
	json_object_put(o);
}

/* Where further connections meet, in the folder that nobody else enters. NULL after a message. free() it. */
static char *more_path(const char *id)
{
	bool good = strlen(id) >= 16 && strlen(id) <= 60 && strspn(id, "0123456789abcdef") == strlen(id);
	char *base = good ? rundir_base() : NULL, *path = NULL;

	if (!base)
		cli_error("receive: %s", good ? strerror(errno) : "an id that no migration has");
	else if (asprintf(&path, "%s/.receive-%s", base, id) < 0)
		path = NULL;
	free(base);
	return path;
}

/* A guest is here, and another connection comes for its memory. */
static bool resumes(struct json_object *hello)
{
	return json_object_get_boolean(json_object_object_get(hello, "resume"));
}

/* What the first connection says, against what can be. */
static const char *check_hello(struct json_object *o, const char *name, char *why, size_t room)
{
	int64_t streams = json_object_get_int64(json_object_object_get(o, "streams"));
	const char *own = text_of(o, "name"), *id = text_of(o, "id"), *xml = text_of(o, "xml");
	char *dir;

	if (!own || (!xml && !resumes(o)) || !id || strlen(id) < 16 || strlen(id) > 60)
		return "a greeting that is none";
	if (streams < 1 || streams > MIG_MAX_STREAMS)
		return "a number of connections that cannot be";
	name = name ? name : own;
	if (!guest_name_ok(name))
		return "a name that no guest can have";
	dir = rundir_find(name);
	if (resumes(o)) {
		snprintf(why, room, "no guest called %s is there", name);
		if (dir && streams == 1)
			why[0] = '\0';
		free(dir);
		return why;
	}
	if (!dir)
		return "";
	free(dir);
	snprintf(why, room, "a guest called %s runs there; use --dname", name);
	return why;
}

static void refuse(struct wire *w, const char *why)
{
	cli_error("receive: refused: %s", why);
	answer(w, why);
	wire_close(w);
}

/* Images for the disks that come along, where the XML has them. "": well; else why not. */
static const char *open_images(struct arrival *a, const struct receive *r, char *why, size_t room)
{
	struct json_object *disks = json_object_object_get(a->hello, "disks");
	bool overwrite = json_object_get_boolean(json_object_object_get(a->hello, "overwrite"));
	const char *text = r->xml ? r->xml : text_of(a->hello, "xml");
	struct domain *dom;

	if (!disks || resumes(a->hello))
		return "";
	dom = store_parse(r->file ? r->file : "(incoming guest)", text, r->xml ? r->xml_len : strlen(text), false);
	if (!dom)
		return "an XML that cannot be used there";
	if (!arriving_open(&a->images, disks, dom, overwrite, why, room))
		why = NULL;
	domain_free(dom);
	return why ? why : "";
}

/* A definition to be kept. "": well, or there is none; else why not. */
static const char *open_definition(struct arrival *a, const struct receive *r, char *why, size_t room)
{
	const char *text = text_of(a->hello, "definition"), *uuid = text_of(a->hello, "uuid");
	const char *source = text_of(a->hello, "undefine"), *name = r->name ? r->name : text_of(a->hello, "name");
	char store[STORE_ID];
	size_t len;

	if (!text || resumes(a->hello))
		return "";
	if (source && !store_id(store) && !strcmp(source, store))
		return "its definitions are those of the source, too: without --undefinesource, or with other folders";
	if (r->xml)
		text = r->xml;
	len = r->xml ? r->xml_len : strlen(text);
	return keepdef_open(&a->def, r->file ? r->file : "(incoming guest)", text, len, name, uuid ? uuid : "", why, room) ? why : "";
}

/* 0; 1: this one was no good; -1: no more can come. callers NULL: it comes on standard input. */
static int first(struct arrival *a, struct callers *callers, const struct receive *r, char **more)
{
	const char *why = "", *told;
	char buf[PATH_MAX + 256];

	if (callers ? callers_next(callers, NULL, &a->wire[0], &a->hello, &why) : wire_take(-2, r->uri, &a->wire[0]))
		return -1;
	if (!callers)
		a->hello = wire_receive(&a->wire[0], &why);
	told = a->hello ? check_hello(a->hello, r->name, buf, sizeof(buf)) : why;
	if (!*told) {
		snprintf(a->id, sizeof(a->id), "%s", text_of(a->hello, "id"));
		*more = r->uri->kind == WIRE_STDIO ? more_path(a->id) : NULL;
		told = r->uri->kind == WIRE_STDIO && !*more ? "no $XDG_RUNTIME_DIR there" :
		       open_definition(a, r, buf, sizeof(buf));
	}
	if (!*told)
		told = open_images(a, r, buf, sizeof(buf));
	if (!*told) {
		a->nr = 1;
		return 0;
	}
	refuse(&a->wire[0], told);
	keepdef_close(&a->def);
	json_object_put(a->hello);
	a->hello = NULL;
	return r->uri->kind == WIRE_STDIO ? -1 : 1;
}

/* Which of the further connections is it? NULL: none. */
static struct wire *place_of(struct arrival *a, struct json_object *hello, unsigned int streams)
{
	const char *id = hello ? text_of(hello, "id") : NULL, *disk = hello ? text_of(hello, "disk") : NULL;
	int64_t stream = hello ? json_object_get_int64(json_object_object_get(hello, "stream")) : 0;
	struct wire *w = NULL;

	if (!id || strcmp(id, a->id))
		return NULL;
	if (disk && arriving_find(&a->images, disk) >= 0)
		w = &a->disk[arriving_find(&a->images, disk)];
	else if (!disk && stream >= 1 && stream < streams)
		w = &a->wire[stream];
	return w && w->in < 0 ? w : NULL;
}

/* Further connections, in any order, as long as the first is there; strangers are sent away. */
static int rest(struct arrival *a, struct callers *callers)
{
	unsigned int streams = (unsigned int)json_object_get_int64(json_object_object_get(a->hello, "streams"));
	unsigned int got = 1, want = streams + a->images.nr;
	struct json_object *hello;
	struct wire w, *place;
	const char *why;

	while (got < want) {
		if (callers_next(callers, &a->wire[0], &w, &hello, &why))
			return -1;
		place = place_of(a, hello, streams);
		if (!place) {
			refuse(&w, "another migration is under way");
		} else {
			answer(&w, "");
			*place = w;
			got++;
		}
		json_object_put(hello);
	}
	a->nr = streams;
	return 0;
}

/* The VMM's ends. False after a message; then none is open. */
static bool give_all(struct wire *w, unsigned int n, int *fd)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		fd[i] = wire_give(&w[i]);
		if (fd[i] < 0)
			break;
	}
	if (i == n)
		return true;
	while (i--)
		close(fd[i]);
	return false;
}

static int send_to(const char *dir, int fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = -1;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/migrate.sock", d);
	if (d >= 0 && s >= 0 && !connect(s, (struct sockaddr *)&sun, sizeof(sun)) && fd_send(s, "", 1, fd, 0) == 1)
		ret = 0;
	if (d >= 0)
		close(d);
	if (s >= 0)
		close(s);
	return ret;
}

/* Give the connection to the VMM that waits for it, by the socket that answers whatever else waits. */
static int resume_guest(struct arrival *a, const char *name)
{
	char *dir;
	int fd, ret;

	name = name ? name : text_of(a->hello, "name");
	dir = rundir_find(name);
	fd = dir ? wire_give(&a->wire[0]) : -1;
	ret = fd < 0 ? -1 : send_to(dir, fd);
	if (fd >= 0)
		close(fd);
	if (ret)
		cli_error("receive: %s waits for no memory: it has all of it, or has ended", name);
	free(dir);
	return ret ? VMM_ERR_SETUP : VMM_OK;
}

static int take_guest(struct arrival *a, const struct receive *r)
{
	const char *text = r->xml ? r->xml : text_of(a->hello, "xml");
	const char *name = r->name ? r->name : text_of(a->hello, "name");
	size_t len = r->xml ? r->xml_len : strlen(text);
	int fd[MIG_MAX_STREAMS], nbd[DOM_MAX_DISKS];
	struct incoming in = { &a->images, nbd, a->images.nr, &a->def, fd, a->nr };
	unsigned int i;

	if (!give_all(a->wire, a->nr, fd))
		return VMM_ERR_SETUP;
	if (!give_all(a->disk, in.nr_disks, nbd)) {
		for (i = 0; i < a->nr; i++)
			close(fd[i]);
		return VMM_ERR_SETUP;
	}
	return run_incoming(r->file ? r->file : "(incoming guest)", text, len, name, r->paused, &in);
}

/* With ssh: the others come over `receive --join`. */
static int rest_by_ssh(struct arrival *a, const struct receive *r, const char *more)
{
	const struct wire_uri here = { .kind = WIRE_UNIX };
	int fd = wire_listen_more(more), ret = -1;
	struct callers *callers = fd < 0 ? NULL : callers_new(fd, &here, &r->wire);

	if (!callers) {
		refuse(&a->wire[0], "no further connection can come");
	} else {
		answer(&a->wire[0], "");
		ret = rest(a, callers);
	}
	callers_free(callers);
	if (fd >= 0) {
		close(fd);
		unlink(more);
	}
	return ret;
}

/* All of one migration. -1: it does not come. */
static int all_connections(struct arrival *a, int listener, const struct receive *r)
{
	bool stdio = r->uri->kind == WIRE_STDIO;
	struct callers *callers = stdio ? NULL : callers_new(listener, r->uri, &r->wire);
	char *more = NULL;
	int ret;

	if (!stdio && !callers)
		return -1;
	do {
		ret = first(a, callers, r, &more);
	} while (ret > 0);
	if (!ret && stdio) {
		ret = rest_by_ssh(a, r, more);
	} else if (!ret) {
		answer(&a->wire[0], "");
		ret = rest(a, callers);
	}
	callers_free(callers);
	free(more);
	return ret;
}

static int receive_one(const struct receive *r)
{
	int listener = wire_listen(r->uri, &r->wire), ret, status = VMM_ERR_SETUP;
	struct arrival a = { 0 };
	unsigned int i;

	if (listener == -1)
		return VMM_ERR_SETUP;
	for (i = 0; i < MIG_MAX_STREAMS; i++)
		a.wire[i] = (struct wire)WIRE_NONE;
	for (i = 0; i < DOM_MAX_DISKS; i++)
		a.disk[i] = (struct wire)WIRE_NONE;
	ret = all_connections(&a, listener, r);
	if (listener >= 0)
		close(listener);
	if (r->uri->kind == WIRE_UNIX)
		unlink(r->uri->path);
	if (!ret && resumes(a.hello))
		status = resume_guest(&a, r->name);
	else if (!ret)
		status = take_guest(&a, r);
	/* What was not named by now goes. */
	arriving_close(&a.images);
	keepdef_close(&a.def);
	for (i = 0; i < DOM_MAX_DISKS; i++)
		wire_close(&a.disk[i]);
	for (i = 0; i < MIG_MAX_STREAMS; i++)
		wire_close(&a.wire[i]);
	json_object_put(a.hello);
	return status;
}

enum { O_JOIN, O_NAME, O_PAUSED, O_PKI, O_UNENCRYPTED, O_XML, O_NR };

static int join(const char *id)
{
	char *path = more_path(id);
	int ret = path ? wire_join(path) : -1;

	free(path);
	return ret ? VMM_ERR_SETUP : VMM_OK;
}

static int cmd_receive(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[O_NR];
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	struct receive r = { 0 };
	struct wire_uri u;
	char *why = NULL;

	if (status >= 0)
		return status;
	r.name = value[O_NAME];
	r.file = value[O_XML];
	r.paused = value[O_PAUSED];
	r.uri = &u;
	r.wire = (struct wire_options){ .pki = value[O_PKI], .unencrypted = value[O_UNENCRYPTED] };
	if (r.name && !guest_name_ok(r.name)) {
		cli_error("receive: --name %s: not a name for a guest", r.name);
		return VMM_ERR_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (value[O_JOIN] && !strcmp(argv[optind], "-"))
		return join(value[O_JOIN]);
	if (r.file) {
		r.xml = doc_read(r.file, -1, DOMXML_MAX_FILE, &r.xml_len, &why);
		if (!r.xml) {
			cli_error("receive: %s: %s", r.file, why ? why : "out of memory");
			free(why);
			return VMM_ERR_USAGE;
		}
	}
	status = VMM_ERR_USAGE;
	if (!value[O_JOIN] && !wire_uri_parse(cmd->name, argv[optind], true, &r.wire, &u)) {
		status = receive_one(&r);
		wire_uri_free(&u);
	} else if (value[O_JOIN]) {
		cli_error("receive: --join goes with -");
	}
	free(r.xml);
	return status;
}

/* clang-format off: tables are read by row */

static const struct cli_cmd receive_verb = {
	.name = "receive", .group = CLI_STATE, .args = "URI", .run = cmd_receive,
	.summary = "wait for a guest that `hvx migrate` sends",
	.help =
"Waits at URI for one guest, which then runs here in the background, and returns when it\n"
"has arrived. URI is unix:PATH, tls://[ADDRESS][:PORT] or tcp://[ADDRESS][:PORT] (port\n"
"49152), or -: standard input and output, which is what `hvx migrate` with ssh:// starts.\n"
"Disk images are where the XML says, on storage that both hosts share; or they come with\n"
"the guest (`hvx migrate --copy-storage-all`), and are made here, without a name until the\n"
"guest runs, so that nothing is left of one that did not come. The XML that comes with the\n"
"guest is used unless --xml gives another; so it is with the definition that is kept\n"
"here with `hvx migrate --persistent`, before the guest runs. Another guest that is\n"
"defined by its name or UUID is never replaced.\n"
"Where the connection of a post-copy was lost, this takes the one with which\n"
"`hvx migrate --postcopy-resume` goes on, too.\n"
"Exit status: 0 the guest is here; 64 and 65 it is not, and goes on where it was.\n",
	.opts = OPTS(
		{ "join", 0, "ID", "with -: a further connection of the migration ID; `hvx migrate` with ssh:// does this" },
		{ "name", 'n', "NAME", "call the guest NAME here" },
		{ "paused", 'p', NULL, "let it stand still here until `hvx resume`" },
		{ "pki", 0, "FILE", "folder with cacert.pem, servercert.pem, serverkey.pem instead of libvirt's" },
		{ "unencrypted", 0, NULL, "let tcp:// be used: anybody may send a guest, and read it" },
		{ "xml", 'x', "FILE", "the guest's XML as it is on this host" }),
};
CLI_VERB(receive_verb);

/* clang-format on */
