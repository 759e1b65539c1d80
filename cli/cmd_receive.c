// SPDX-License-Identifier: GPL-2.0-only
/* hvx receive: the other end of hvx migrate. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"
#include "rundir.h"
#include "vmm/domxml_int.h"
#include "vmm/mig.h"
#include "wire.h"

struct arrival {
	struct wire wire[MIG_MAX_STREAMS];
	struct json_object *hello;
	unsigned int nr;
	char id[64];
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

/* What the first connection says, against what can be. */
static const char *check_hello(struct json_object *o, const char *name, char *why, size_t room)
{
	int64_t streams = json_object_get_int64(json_object_object_get(o, "streams"));
	const char *own = text_of(o, "name"), *id = text_of(o, "id"), *xml = text_of(o, "xml");
	char *dir;

	if (!own || !xml || !id || strlen(id) < 16 || strlen(id) > 60)
		return "a greeting that is none";
	if (streams < 1 || streams > MIG_MAX_STREAMS)
		return "a number of connections that cannot be";
	name = name ? name : own;
	if (!guest_name_ok(name))
		return "a name that no guest can have";
	dir = rundir_find(name);
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

/* 0; 1: this one was no good; -1: no more can come. */
static int first(struct arrival *a, int listener, const struct wire_uri *u, const struct wire_options *o,
		 const char *name)
{
	const char *why = "", *told;
	char buf[256];
	int ret = wire_accept(listener, u, o, &a->wire[0]);

	if (ret)
		return ret;
	a->hello = wire_receive(&a->wire[0], &why);
	told = a->hello ? check_hello(a->hello, name, buf, sizeof(buf)) : why;
	if (!*told) {
		snprintf(a->id, sizeof(a->id), "%s", text_of(a->hello, "id"));
		a->nr = 1;
		answer(&a->wire[0], "");
		return 0;
	}
	refuse(&a->wire[0], told);
	json_object_put(a->hello);
	a->hello = NULL;
	return u->kind == WIRE_STDIO ? -1 : 1;
}

/* Further connections, in any order; strangers are sent away. */
static int rest(struct arrival *a, int listener, const struct wire_uri *u, const struct wire_options *o)
{
	unsigned int want = (unsigned int)json_object_get_int64(json_object_object_get(a->hello, "streams"));
	unsigned int got = 1, tries;
	struct json_object *hello;
	const char *why, *id;
	struct wire w;
	int64_t stream;
	int ret;

	for (tries = 0; got < want && tries < 64; tries++) {
		ret = u->kind == WIRE_STDIO ? -1 : wire_accept(listener, u, o, &w);
		if (ret < 0)
			return -1;
		if (ret)
			continue;
		hello = wire_receive(&w, &why);
		id = hello ? text_of(hello, "id") : NULL;
		stream = hello ? json_object_get_int64(json_object_object_get(hello, "stream")) : 0;
		if (!id || strcmp(id, a->id) || stream < 1 || stream >= want || a->wire[stream].in >= 0) {
			refuse(&w, "another migration is under way");
		} else {
			answer(&w, "");
			a->wire[stream] = w;
			got++;
		}
		json_object_put(hello);
	}
	a->nr = want;
	return got == want ? 0 : -1;
}

static int take_guest(struct arrival *a, const char *name, const char *file, bool paused)
{
	const char *text = text_of(a->hello, "xml");
	size_t len = strlen(text);
	char *own = NULL, *why = NULL;
	int fd[MIG_MAX_STREAMS], status;
	unsigned int i;

	if (file) {
		own = doc_read(file, -1, DOMXML_MAX_FILE, &len, &why);
		if (!own) {
			cli_error("receive: %s: %s", file, why ? why : "out of memory");
			free(why);
			return VMM_ERR_USAGE;
		}
		text = own;
	}
	for (i = 0; i < a->nr; i++) {
		fd[i] = wire_give(&a->wire[i]);
		if (fd[i] < 0)
			break;
	}
	if (!name)
		name = text_of(a->hello, "name");
	if (i == a->nr) {
		status = run_incoming(file ? file : "(incoming guest)", text, len, name, paused, fd, a->nr);
	} else {
		status = VMM_ERR_SETUP;
		while (i--)
			close(fd[i]);
	}
	free(own);
	return status;
}

static int receive_one(const struct wire_uri *u, const struct wire_options *o, const char *name,
		       const char *file, bool paused)
{
	int listener = wire_listen(u), ret, status = VMM_ERR_SETUP;
	struct arrival a = { 0 };
	unsigned int i;

	if (listener == -1)
		return VMM_ERR_SETUP;
	for (i = 0; i < MIG_MAX_STREAMS; i++)
		a.wire[i] = (struct wire)WIRE_NONE;
	do {
		ret = first(&a, listener, u, o, name);
	} while (ret > 0);
	if (!ret)
		ret = rest(&a, listener, u, o);
	if (listener >= 0)
		close(listener);
	if (u->kind == WIRE_UNIX)
		unlink(u->path);
	if (!ret)
		status = take_guest(&a, name, file, paused);
	for (i = 0; i < a.nr; i++)
		wire_close(&a.wire[i]);
	json_object_put(a.hello);
	return status;
}

enum { O_NAME, O_PAUSED, O_PKI, O_UNENCRYPTED, O_XML, O_NR };

static int cmd_receive(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[O_NR];
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	struct wire_options o = { 0 };
	struct wire_uri u;

	if (status >= 0)
		return status;
	if (value[O_NAME] && !guest_name_ok(value[O_NAME])) {
		cli_error("receive: --name %s: not a name for a guest", value[O_NAME]);
		return VMM_ERR_USAGE;
	}
	o.pki = value[O_PKI];
	o.unencrypted = value[O_UNENCRYPTED];
	signal(SIGPIPE, SIG_IGN);
	status = VMM_ERR_USAGE;
	if (!wire_uri_parse(cmd->name, argv[optind], true, &o, &u))
		status = receive_one(&u, &o, value[O_NAME], value[O_XML], value[O_PAUSED]);
	wire_uri_free(&u);
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
"Disk images must be at the same paths here, on storage that both hosts share; the XML\n"
"that comes with the guest is used unless --xml gives another.\n"
"Exit status: 0 the guest is here; 64 and 65 it is not, and goes on where it was.\n",
	.opts = OPTS(
		{ "name", 'n', "NAME", "call the guest NAME here" },
		{ "paused", 'p', NULL, "let it stand still here until `hvx resume`" },
		{ "pki", 0, "FILE", "folder with cacert.pem, servercert.pem, serverkey.pem instead of libvirt's" },
		{ "unencrypted", 0, NULL, "let tcp:// be used: anybody may send a guest, and read it" },
		{ "xml", 'x', "FILE", "the guest's XML as it is on this host" }),
};
CLI_VERB(receive_verb);

/* clang-format on */
