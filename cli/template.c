// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli.h"
#include "control.h"
#include "rundir.h"
#include "template.h"
#include "vmm/fdpass.h"
#include "vmm/stream.h"
#include "xmledit.h"

int template_reopen(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void template_close(struct template *t)
{
	if (t->state >= 0)
		close(t->state);
	if (t->ram >= 0)
		close(t->ram);
	free(t->xml);
	*t = (struct template){ .state = -1, .ram = -1 };
}

/* The XML that stands first in the state. */
static int read_xml(struct template *t, const char *what)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	struct stream_in in;
	uint64_t plain, len;
	uint32_t type = 0;

	if (lseek(t->state, 0, SEEK_SET) || stream_open(&in, t->state, &err) ||
	    stream_next(&in, &type, &b, &plain, &len, &err) || type != SEC_XML || !b.len) {
		cli_error("%s: %s", what, err.text[0] ? err.text : "not a state that hvx saved");
		sbuf_free(&b);
		return -1;
	}
	t->xml = (char *)b.data;
	t->xml_len = b.len;
	return 0;
}

/*
 * The descriptor that the VMM sends: read-only from here on, so that no fork writes to it. 0 and
 * *ram, -1 where the memory is in the state; or -1.
 */
static int receive_memory(int sock, int *ram)
{
	char byte;
	int fd;
	ssize_t n = fd_recv(sock, &byte, 1, &fd, 0);

	*ram = -1;
	if (n != 1 || fd < 0) {
		if (fd >= 0)
			close(fd);
		return n ? -1 : 0;
	}
	*ram = template_reopen(fd);
	close(fd);
	return *ram < 0 ? -1 : 0;
}

/* Others may have it saved, too: number is ours. */
static int wait_saved(struct control *c, const char *guest, int number)
{
	struct json_object *o, *data;
	const char *event, *status, *why, *still;
	int ret = 1;

	while (ret > 0 && (o = control_event(c, -1))) {
		event = json_object_get_string(json_object_object_get(o, "event"));
		data = json_object_object_get(o, "data");
		status = json_object_get_string(json_object_object_get(data, "status"));
		why = json_object_get_string(json_object_object_get(data, "error-desc"));
		still = json_object_get_string(json_object_object_get(data, "stands-still"));
		if (event && !strcmp(event, "X_HVX_SAVE_COMPLETED") &&
		    json_object_get_int(json_object_object_get(data, "save")) == number)
			ret = status && !strcmp(status, "completed") ? 0 : -1;
		if (!ret && still)
			cli_error("%s: it stands still from now on: %s", guest, still);
		if (ret < 0)
			cli_error("%s: it cannot be forked and goes on: %s", guest, why ? why : "?");
		json_object_put(o);
	}
	if (ret > 0)
		cli_error("%s: its VMM has hung up before its state was written", guest);
	return ret ? -1 : 0;
}

/* Ask for the state, and for the memory to be sent to sock. 0: it comes, with *number; or -1 after a message. */
static int request(struct template *t, struct control *c, int sock, const char *guest, int *number)
{
	struct json_object *args, *ret = NULL;
	bool again;

	do {
		if (control_send_fd(c, t->state, "state") || control_send_fd(c, sock, "memory"))
			break;
		args = json_object_new_object();
		json_object_object_add(args, "fd", json_object_new_string("state"));
		json_object_object_add(args, "form", json_object_new_string("shared"));
		json_object_object_add(args, "memory-socket", json_object_new_string("memory"));
		json_object_object_add(args, "then", json_object_new_string("cont"));
		if (!control_call(c, "x-hvx-save", args, &ret)) {
			*number = json_object_get_int(json_object_object_get(ret, "save"));
			json_object_put(ret);
			return 0;
		}
		/* Another fork of it is under way: that takes its time. */
		again = strstr(control_error(c), "state save-vm");
		if (again)
			poll(NULL, 0, 20);
	} while (again);
	cli_error("%s: %s", guest, control_error(c));
	return -1;
}

static int fork_running(struct template *t, struct control *c, const char *guest)
{
	int pair[2] = { -1, -1 }, ret = -1, number = 0;

	t->state = memfd_create("state", MFD_CLOEXEC);
	if (t->state < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		cli_error("%s: %s", guest, strerror(errno));
	else
		ret = request(t, c, pair[1], guest, &number) ?: wait_saved(c, guest, number);
	if (pair[1] >= 0)
		close(pair[1]);
	if (!ret && receive_memory(pair[0], &t->ram)) {
		cli_error("%s: its VMM did not send its memory", guest);
		ret = -1;
	}
	if (pair[0] >= 0)
		close(pair[0]);
	return ret ?: read_xml(t, guest);
}

int template_open(struct template *t, const char *what)
{
	struct control *c = strchr(what, '/') ? NULL : control_open(what);
	int ret;

	*t = (struct template){ .state = -1, .ram = -1 };
	if (c) {
		ret = fork_running(t, c, what);
		control_close(c);
	} else {
		t->state = open(what, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		ret = t->state < 0 ? -1 : read_xml(t, what);
		if (t->state < 0)
			cli_error("%s: neither a running guest nor a file: %s", what, strerror(errno));
	}
	if (ret)
		template_close(t);
	return ret ? -1 : 0;
}

static xmlNode *child(xmlDoc *doc, const char *name)
{
	xmlNode *n = xmlDocGetRootElement(doc) ? xmlDocGetRootElement(doc)->children : NULL;

	while (n && xmlStrcmp(n->name, BAD_CAST name))
		n = n->next;
	return n;
}

/* The template's name. NULL: no memory, or no XML. */
static char *base_name(const struct template *t)
{
	xmlDoc *doc = xmledit_open(t->xml, t->xml_len);
	xmlNode *n = doc ? child(doc, "name") : NULL;
	xmlChar *text = n ? xmlNodeGetContent(n) : NULL;
	char *name = doc ? strdup(text ? (char *)text : "fork") : NULL;

	xmlFree(text);
	if (doc)
		xmlFreeDoc(doc);
	return name;
}

static bool is_taken(const char *name)
{
	char *dir = rundir_find(name);
	bool taken = dir;

	free(dir);
	return taken;
}

char *template_claim(struct template *t, struct rundir *dir)
{
	char *base = base_name(t), *name = NULL;

	do {
		free(name);
		if (!base || asprintf(&name, "%.50s-%u", base, ++t->last) < 0)
			name = NULL;
		/* Another hvx may take it in between. */
	} while (name && t->last < 100000 &&
		 (is_taken(name) || (rundir_open(dir, name) && errno == EWOULDBLOCK)));
	free(base);
	if (!name || dir->path)
		return name;
	cli_error("the runtime folder of %s cannot be made: %s", name,
		  errno == ENXIO ? "set XDG_RUNTIME_DIR to a folder of yours" : strerror(errno));
	free(name);
	return NULL;
}

char *template_name(const struct template *t)
{
	char *base = base_name(t), *name = NULL;

	if (!base || asprintf(&name, "%.50s.%d", base, (int)getpid()) < 0)
		name = NULL;
	free(base);
	return name;
}

char *template_xml(const struct template *t, const char *name, size_t *len)
{
	xmlDoc *doc = xmledit_open(t->xml, t->xml_len);
	char *text = NULL;
	uint8_t uuid[16];

	if (doc && getrandom(uuid, sizeof(uuid), 0) == sizeof(uuid)) {
		uuid[6] = (uuid[6] & 0x0f) | 0x40;	/* RFC 4122: random */
		uuid[8] = (uuid[8] & 0x3f) | 0x80;
		xmledit_set(doc, "name", name);
		xmledit_set_uuid(doc, uuid);
		xmledit_drop_macs(doc);
		text = xmledit_text(doc, len);
	}
	if (doc && !text)
		cli_error("out of memory");
	if (doc)
		xmlFreeDoc(doc);
	return text;
}
