// SPDX-License-Identifier: GPL-2.0-only
/* hvx migrate, domjobinfo, domjobabort: a running guest moves to another host. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"
#include "depart.h"
#include "savefile.h"
#include "snaptree.h"
#include "store.h"
#include "vmm/mig.h"
#include "wire.h"

#define LOOK_MS	250

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted++;
}

enum { O_CONVERGE, O_BANDWIDTH, O_COMPRESS, O_COPY, O_COPY_INC, O_DNAME, O_DOWNTIME, O_LIVE, O_DISKS, O_OVERWRITE,
       O_PARALLEL, O_PERSISTENT, O_PKI, O_POSTCOPY, O_POST_AFTER, O_POST_BANDWIDTH, O_POST_RESUME, O_QUIET, O_RECOVER,
       O_REMOTE, O_TIMEOUT, O_TIMEOUT_POST, O_UNDEFINE, O_UNENCRYPTED, O_NR };

struct move {
	struct guest g;
	struct control *c;
	struct wire wire[MIG_MAX_STREAMS];
	unsigned int nr;
	struct moving disks;		/* that go along */
	bool overwrite;
	bool persistent, undefine;	/* a definition there; none here any more */
	char id[33];
	bool show;
	bool resume;		/* a post-copy that stands still */
	bool asked;		/* for post-copy */
	int64_t post_round, post_ms;	/* ask for it then; 0: not */
};

static const char *text_of(struct json_object *o, const char *name)
{
	return json_object_get_string(json_object_object_get(o, name));
}

static int64_t number_of(struct json_object *o, const char *name)
{
	return json_object_get_int64(json_object_object_get(o, name));
}

/* --------------------------------------------------------------- connections */

/* A line for people from somebody else's host. */
static void clean(char *to, size_t room, const char *text)
{
	size_t i;

	for (i = 0; text[i] && i + 1 < room; i++)
		to[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
	to[i] = '\0';
}

static int greet(struct wire *w, struct json_object *hello)
{
	struct json_object *o = NULL;
	const char *why = "", *error;
	char line[256];
	int ret = -1;

	if (!wire_send(w, hello, &why))
		o = wire_receive(w, &why);
	json_object_put(hello);
	error = o ? text_of(o, "error") : why;
	if (o && !error && json_object_get_boolean(json_object_object_get(o, "ok"))) {
		ret = 0;
	} else {
		clean(line, sizeof(line), error ? error : "no answer that can be understood");
		cli_error("migrate: the destination: %s", line);
	}
	json_object_put(o);
	return ret;
}

/* What is to be kept there: what is kept here, or else the guest as it is. NULL after a message. */
static char *definition(struct move *m, size_t *len)
{
	char *text = guest_xml(&m->g, m->g.defined, len), *flat;

	if (!text || !m->disks.nr)
		return text;
	flat = moving_xml(&m->disks, text, len);
	free(text);
	return flat;
}

static int add_definition(struct move *m, struct json_object *hello)
{
	char store[STORE_ID];
	size_t len;
	char *text = definition(m, &len);

	if (!text)
		return -1;
	json_object_object_add(hello, "definition", json_object_new_string_len(text, (int)len));
	json_object_object_add(hello, "uuid", json_object_new_string(m->g.uuid));
	if (m->undefine && m->g.defined && !store_id(store))
		json_object_object_add(hello, "undefine", json_object_new_string(store));
	free(text);
	return 0;
}

static int open_first(struct move *m, const struct wire_uri *u, const struct wire_options *o, const char *dname)
{
	struct json_object *hello = json_object_new_object();
	size_t len;
	char *text = m->resume ? NULL : guest_xml(&m->g, false, &len);
	char *xml = text && m->disks.nr ? moving_xml(&m->disks, text, &len) : text;

	if (xml != text)
		free(text);
	if ((!xml && !m->resume) || (m->persistent && add_definition(m, hello)) || wire_connect(u, o, &m->wire[0])) {
		free(xml);
		json_object_put(hello);
		return -1;
	}
	json_object_object_add(hello, "name", json_object_new_string(dname ? dname : m->g.name));
	json_object_object_add(hello, "streams", json_object_new_int((int)m->nr));
	json_object_object_add(hello, "id", json_object_new_string(m->id));
	if (m->resume)
		json_object_object_add(hello, "resume", json_object_new_boolean(true));
	else
		json_object_object_add(hello, "xml", json_object_new_string_len(xml, (int)len));
	free(xml);
	if (m->disks.nr) {
		json_object_object_add(hello, "disks", moving_list(&m->disks));
		json_object_object_add(hello, "overwrite", json_object_new_boolean(m->overwrite));
	}
	return greet(&m->wire[0], hello);
}

static int open_more(struct move *m, struct wire *w, const char *what, struct json_object *which,
		     const struct wire_uri *u, const struct wire_options *o)
{
	struct json_object *hello = json_object_new_object();

	json_object_object_add(hello, "id", json_object_new_string(m->id));
	json_object_object_add(hello, what, which);
	if (!wire_connect(u, o, w))
		return greet(w, hello);
	json_object_put(hello);
	return -1;
}

static int open_all(struct move *m, const struct wire_uri *u, const struct wire_options *o, const char *dname)
{
	struct wire_options more = *o;
	uint8_t raw[16];
	unsigned int i;

	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return -1;
	for (i = 0; i < sizeof(raw); i++)
		snprintf(m->id + 2 * i, 3, "%02x", raw[i]);
	if (open_first(m, u, o, dname))
		return -1;
	more.join = m->id;
	for (i = 1; i < m->nr; i++)
		if (open_more(m, &m->wire[i], "stream", json_object_new_int((int)i), u, &more))
			return -1;
	for (i = 0; i < m->disks.nr; i++)
		if (open_more(m, &m->disks.disk[i].wire, "disk", json_object_new_string(m->disks.disk[i].target), u, &more))
			return -1;
	return 0;
}

/* ------------------------------------------------------------------ the guest */

/* The VMM's end, sent to it under this name. */
static int give(struct move *m, struct wire *w, const char *name)
{
	int fd = wire_give(w), ret;

	if (fd < 0)
		return -1;
	ret = control_send_fd(m->c, fd, name);
	close(fd);
	if (ret)
		cli_error("%s: %s", m->g.name, control_error(m->c));
	return ret;
}

/* `x-hvx-disks` of migrate. NULL after a message. */
static struct json_object *hand_disks_over(struct move *m)
{
	struct json_object *list = json_object_new_array(), *o;
	char target[32];

	for (unsigned int i = 0; i < m->disks.nr; i++) {
		snprintf(target, sizeof(target), "fd:disk%u", i);
		if (give(m, &m->disks.disk[i].wire, target + 3)) {
			json_object_put(list);
			return NULL;
		}
		o = json_object_new_object();
		json_object_object_add(o, "device", json_object_new_string(m->disks.disk[i].target));
		json_object_object_add(o, "target", json_object_new_string(target));
		json_object_array_add(list, o);
	}
	return list;
}

/* "fd:m0,m1": the VMM's ends, sent to it. NULL after a message. */
static struct json_object *hand_over(struct move *m)
{
	char uri[24 * MIG_MAX_STREAMS] = "fd:", name[24];
	unsigned int i;

	for (i = 0; i < m->nr; i++) {
		snprintf(name, sizeof(name), "migrate%u", i);
		if (give(m, &m->wire[i], name))
			return NULL;
		strcat(uri, i ? "," : "");
		strcat(uri, name);
	}
	return json_object_new_string(uri);
}

/* The disks' part of the line, while they are all there is to see, and later. */
static bool show_disks(struct json_object *o, char *text, size_t room)
{
	struct json_object *disk = json_object_object_get(o, "disk");
	int64_t total = number_of(disk, "total"), left = number_of(disk, "remaining");
	double s = (double)number_of(o, "total-time") / 1000;
	double rate = s > 0 ? (double)number_of(disk, "transferred") / s : 0, speed = s > 0 ? (double)(total - left) / s : 0;

	if (!disk || total <= 0)
		return false;
	snprintf(text, room, "disks: %d %%, %lld MiB left, %.0f MiB/s, %.0f s left", (int)((total - left) * 100 / total),
		 (long long)left >> 20, rate / (1 << 20), speed > 0 ? (double)left / speed : 0);
	return true;
}

static void show(struct move *m, struct json_object *o)
{
	struct json_object *ram = json_object_object_get(o, "ram");
	int64_t total = number_of(ram, "total"), left = number_of(ram, "remaining");
	int64_t round = number_of(ram, "dirty-sync-count"), throttle = number_of(o, "cpu-throttle-percentage");
	double rate = json_object_get_double(json_object_object_get(ram, "mbps")) / 8.388608;
	double moved = (double)(number_of(ram, "normal-bytes") + number_of(ram, "duplicate") * 4096);
	double s = (double)number_of(o, "total-time") / 1000, speed = s > 0 ? moved / s : 0;
	char extra[48] = "", disks[96] = "";

	if (!m->show || total <= 0)
		return;
	if (show_disks(o, disks, sizeof(disks)) && !round) {
		fprintf(stderr, "\r%s \033[K", disks);
		return;
	}
	if (throttle)
		snprintf(extra, sizeof(extra), ", CPUs slowed by %d %%", (int)throttle);
	fprintf(stderr, "\rround %d: %3d %%, %lld MiB left, %.0f MiB/s%s, %.0f s left%s%s \033[K", (int)round,
		(int)((total - left) * 100 / total), (long long)left >> 20, rate, extra,
		speed > 0 ? (double)left / speed : 0, *disks ? "; " : "", disks);
}

/* Or stands still until somebody does something about it. */
static bool has_ended(const char *status)
{
	return !strcmp(status, "postcopy-paused") || !strcmp(status, "completed") || !strcmp(status, "failed") || !strcmp(status, "cancelled");
}

/* Whether it is time for post-copy, by the options. */
static void switch_over(struct move *m, struct json_object *o)
{
	int64_t round = number_of(json_object_object_get(o, "ram"), "dirty-sync-count");
	bool now = (m->post_round && round >= m->post_round) ||
		   (m->post_ms && number_of(o, "total-time") >= m->post_ms);

	if (!now || m->asked || strcmp(text_of(o, "status"), "active"))
		return;
	/* Refused: it is over without. */
	control_call(m->c, "migrate-start-postcopy", NULL, NULL);
	m->asked = true;
}

/* Ask how it went until it has ended; the events only make the answer come sooner. */
static struct json_object *wait_ended(struct move *m)
{
	struct json_object *o = NULL, *event;
	const char *status;
	int cancelled = 0;

	for (;;) {
		event = control_event(m->c, LOOK_MS);
		json_object_put(event);
		if (!event && errno == EPIPE)
			return NULL;
		if (interrupted > cancelled) {
			cancelled = interrupted;
			if (control_call(m->c, "migrate-cancel", NULL, NULL))
				cli_error("migrate: %s", control_error(m->c));
		}
		if (control_call(m->c, "query-migrate", NULL, &o))
			return NULL;
		status = text_of(o, "status");
		if (status && has_ended(status))
			return o;
		switch_over(m, o);
		show(m, o);
		json_object_put(o);
		o = NULL;
	}
}

/* The guest runs elsewhere: what is known of it here goes. */
static int forget(struct move *m)
{
	int lock = store_lock(), ret = -1;

	if (lock >= 0 && store_set_autostart(m->g.name, false))
		cli_error("%s: it has moved, but its autostart here stays: %s", m->g.name, strerror(errno));
	else if (lock >= 0 && store_remove(m->g.name) && errno != ENOENT)
		cli_error("%s: it has moved, but its definition here stays: %s", m->g.name, strerror(errno));
	else if (lock >= 0)
		ret = 0;
	if (lock >= 0)
		close(lock);
	return ret;
}

static int report(struct move *m, struct json_object *o)
{
	const char *status = o ? text_of(o, "status") : NULL, *why = o ? text_of(o, "error-desc") : NULL;
	struct json_object *ram = o ? json_object_object_get(o, "ram") : NULL;

	if (m->show)
		fputs("\r\033[K", stderr);
	if (!status) {
		/* What its last word was does not tell how far it came after that. */
		cli_error("%s: %s before it said how the move went: see whether the guest runs at the destination before it is started here",
			  m->g.name, *control_error(m->c) ? control_error(m->c) : "its VMM has ended");
		return VMM_ERR_INTERNAL;
	}
	if (!strcmp(status, "completed")) {
		if (m->show)
			printf("%s has moved: %.1f s, %lld MiB, stood still for %lld ms\n", m->g.name,
			       (double)number_of(o, "total-time") / 1000,
			       (long long)(number_of(ram, "transferred") + number_of(json_object_object_get(o, "disk"), "transferred")) >> 20,
			       (long long)number_of(o, "downtime"));
		/* What is left here is its shell. */
		if (save_quit(m->c, m->g.name))
			return VMM_ERR_SETUP;
		return m->undefine && m->g.defined && forget(m) ? VMM_ERR_INTERNAL : VMM_OK;
	}
	if (!strcmp(status, "postcopy-paused")) {
		cli_error("%s: the connection was lost (%s) while the guest's memory followed it: what it lacks there is kept here. To go on: hvx migrate --postcopy-resume %s URI%s",
			  m->g.name, why ? why : "?", m->g.name,
			  json_object_get_boolean(json_object_object_get(o, "x-hvx-unconfirmed")) ?
			  ". Whether it runs there was not said: where it does not, --recover lets it go on here" : "");
		return VMM_ERR_INTERNAL;
	}
	if (json_object_get_boolean(json_object_object_get(o, "x-hvx-unconfirmed"))) {
		cli_error("%s: the connection was lost at the moment of the change: the guest stands still here. If it does not run at the destination, `hvx migrate --recover %s` lets it go on here",
			  m->g.name, m->g.name);
		return VMM_ERR_INTERNAL;
	}
	if (!strcmp(status, "cancelled"))
		cli_error("%s: it was not moved, as you wished, and goes on here", m->g.name);
	else
		cli_error("%s: it was not moved and goes on here: %s", m->g.name, why ? why : "?");
	return VMM_ERR_SETUP;
}

/* --------------------------------------------------------------------- options */

static void set_number(struct json_object *o, const char *name, int64_t val)
{
	json_object_object_add(o, name, json_object_new_int64(val));
}

/* What was asked for, as migrate-set-parameters has it. NULL after a message. */
static struct json_object *parameters(const struct cli_cmd *cmd, const char *value[], unsigned int *streams)
{
	struct json_object *o = json_object_new_object();
	long n = 0;
	bool ok = true;

	/* Each migration begins with the defaults. */
	set_number(o, "max-bandwidth", 0);
	set_number(o, "downtime-limit", 300);
	set_number(o, "x-hvx-force-after", 0);
	json_object_object_add(o, "multifd-compression", json_object_new_string(value[O_COMPRESS] ? "zstd" : "none"));
	if (value[O_BANDWIDTH]) {
		ok &= cli_number(cmd, "bandwidth", value[O_BANDWIDTH], 0, 1 << 20, &n);
		set_number(o, "max-bandwidth", n << 20);
	}
	if (value[O_DOWNTIME]) {
		ok &= cli_number(cmd, "downtime", value[O_DOWNTIME], 1, 2000000, &n);
		set_number(o, "downtime-limit", n);
	}
	if (value[O_TIMEOUT]) {
		ok &= cli_number(cmd, "timeout", value[O_TIMEOUT], 1, 1 << 20, &n);
		set_number(o, value[O_TIMEOUT_POST] ? "x-post-ms" : "x-hvx-force-after", n * 1000);
	}
	set_number(o, "max-postcopy-bandwidth", 0);
	if (value[O_POST_BANDWIDTH]) {
		ok &= cli_number(cmd, "postcopy-bandwidth", value[O_POST_BANDWIDTH], 1, 1 << 20, &n);
		set_number(o, "max-postcopy-bandwidth", n << 20);
	}
	*streams = 1;
	if (value[O_PARALLEL]) {
		ok &= cli_number(cmd, "parallel", value[O_PARALLEL], 1, MIG_MAX_STREAMS, &n);
		*streams = (unsigned int)n;
	}
	if (ok)
		return o;
	json_object_put(o);
	return NULL;
}

static void add_capability(struct json_object *list, const char *name, bool on)
{
	struct json_object *item = json_object_new_object();

	json_object_object_add(item, "capability", json_object_new_string(name));
	json_object_object_add(item, "state", json_object_new_boolean(on));
	json_object_array_add(list, item);
}

static struct json_object *capabilities(bool converge, bool postcopy)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	add_capability(list, "auto-converge", converge);
	add_capability(list, "postcopy-ram", postcopy);
	json_object_object_add(o, "capabilities", list);
	return o;
}

static int begin(struct move *m, struct json_object *params, bool converge, bool postcopy)
{
	struct json_object *args, *uri, *disks;

	if (control_do(m->c, "migrate-set-parameters", json_object_get(params), NULL) ||
	    (!m->resume && control_do(m->c, "migrate-set-capabilities", capabilities(converge, postcopy), NULL)))
		return -1;
	disks = hand_disks_over(m);
	uri = disks ? hand_over(m) : NULL;
	if (!uri) {
		json_object_put(disks);
		return -1;
	}
	args = json_object_new_object();
	json_object_object_add(args, "uri", uri);
	json_object_object_add(args, "x-hvx-disks", disks);
	if (m->resume)
		json_object_object_add(args, "resume", json_object_new_boolean(true));
	return control_do(m->c, "migrate", args, NULL);
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int move_guest(struct move *m, const struct wire_uri *u, const struct wire_options *o,
		      const char *value[], struct json_object *params)
{
	struct json_object *ended;
	int status = VMM_ERR_SETUP;
	unsigned int i;

	for (i = 0; i < MIG_MAX_STREAMS; i++)
		m->wire[i] = (struct wire)WIRE_NONE;
	catch_signals();
	if (!open_all(m, u, o, value[O_DNAME]) && !begin(m, params, value[O_CONVERGE], value[O_POSTCOPY])) {
		ended = wait_ended(m);
		status = report(m, ended);
		json_object_put(ended);
	}
	for (i = 0; i < m->disks.nr; i++)
		wire_close(&m->disks.disk[i].wire);
	for (i = 0; i < m->nr; i++)
		wire_close(&m->wire[i]);
	return status;
}

static int recover(const char *name)
{
	struct guest g;
	struct control *c = guest_control(name, &g);
	int ret;

	if (!c)
		return VMM_ERR_SETUP;
	ret = control_do(c, "x-hvx-migrate-recover", NULL, NULL);
	control_close(c);
	guest_free(&g);
	return ret ? VMM_ERR_SETUP : VMM_OK;
}

/* False after a message. */
static bool copy_options(const char *value[])
{
	if (!value[O_COPY_INC])
		return true;
	cli_error("migrate: --copy-storage-inc: a disk that is copied becomes one image there, and lies on nothing: copy it whole with --copy-storage-all; or have all of its files where both hosts see them, and copy nothing");
	return false;
}

/* False after a message. */
static bool post_options(struct move *m, const char *value[])
{
	static const int needs[] = { O_POST_AFTER, O_POST_BANDWIDTH, O_TIMEOUT_POST };
	static const char *const names[] = { "postcopy-after-precopy", "postcopy-bandwidth", "timeout-postcopy" };
	size_t i;

	for (i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (value[needs[i]] && !value[O_POSTCOPY] && !(needs[i] == O_POST_BANDWIDTH && value[O_POST_RESUME])) {
			cli_error("migrate: --%s: only with --postcopy", names[i]);
			return false;
		}
	if (value[O_TIMEOUT_POST] && !value[O_TIMEOUT]) {
		cli_error("migrate: --timeout-postcopy: only with --timeout");
		return false;
	}
	if (value[O_POST_RESUME] && (value[O_POSTCOPY] || value[O_PARALLEL] || value[O_PERSISTENT])) {
		cli_error("migrate: --postcopy-resume: goes on with what was begun, over one connection");
		return false;
	}
	m->resume = value[O_POST_RESUME];
	m->post_round = value[O_POST_AFTER] ? 2 : 0;	/* the first one is over */
	return true;
}

/* What belongs to a definition and does not go along. False after a message. */
static bool may_change_home(const struct move *m)
{
	char *saved = m->undefine ? managedsave_path(m->g.name, false) : NULL;
	bool ok = true;

	if ((m->persistent || m->undefine) && snap_exists(m->g.name)) {
		cli_error("%s: it has snapshots, which stay here, and its definition is of no use without them; delete them first, or leave out --persistent and --undefinesource",
			  m->g.name);
		ok = false;
	} else if (saved && !access(saved, F_OK)) {
		cli_error("%s: it has a saved state, which goes with its definition; `hvx managedsave-remove %s` drops that",
			  m->g.name, m->g.name);
		ok = false;
	}
	free(saved);
	return ok;
}

static int cmd_migrate(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[O_NR];
	int status = cli_parse(cmd, argc, argv, value, 1, 2);
	struct wire_options o = { 0 };
	struct json_object *params;
	struct move m = { 0 };
	struct wire_uri u;

	if (status >= 0)
		return status;
	if (value[O_RECOVER] && argc - optind == 1)
		return recover(argv[optind]);
	if (argc - optind != 2 || value[O_RECOVER]) {
		cli_error("migrate: wanted: NAME URI, or --recover NAME; see: hvx help migrate");
		return VMM_ERR_USAGE;
	}
	if (!copy_options(value) || !post_options(&m, value))
		return VMM_ERR_USAGE;
	o.pki = value[O_PKI];
	o.unencrypted = value[O_UNENCRYPTED];
	o.remote = value[O_REMOTE];
	params = parameters(cmd, value, &m.nr);
	if (!params)
		return VMM_ERR_USAGE;
	m.post_ms = number_of(params, "x-post-ms");
	json_object_object_del(params, "x-post-ms");
	status = VMM_ERR_USAGE;
	if (!wire_uri_parse(cmd->name, argv[optind + 1], false, &o, &u)) {
		status = VMM_ERR_SETUP;
		m.show = !value[O_QUIET] && isatty(STDERR_FILENO);
		m.overwrite = value[O_OVERWRITE];
		m.persistent = value[O_PERSISTENT];
		m.undefine = value[O_UNDEFINE];
		m.c = guest_control(argv[optind], &m.g);
	}
	if (m.c) {
		if (may_change_home(&m) &&
		    ((!value[O_COPY] && !value[O_DISKS]) || !moving_choose(&m.disks, &m.g, m.c, value[O_DISKS])))
			status = move_guest(&m, &u, &o, value, params);
		control_close(m.c);
		guest_free(&m.g);
	}
	wire_uri_free(&u);
	json_object_put(params);
	return status;
}

/* ------------------------------------------------------ looking at one, ending it */

/* With the option, if there is one, the other command. */
static int with_guest(const struct cli_cmd *cmd, int argc, char **argv, const char *command, const char *other)
{
	const char *value[1] = { NULL };
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	struct json_object *ret = NULL;
	struct control *c;
	struct guest g;

	if (status >= 0)
		return status;
	c = guest_control(argv[optind], &g);
	if (!c)
		return VMM_ERR_SETUP;
	status = control_do(c, value[0] ? other : command, NULL, &ret) ? VMM_ERR_SETUP : VMM_OK;
	if (!status && json_object_object_length(ret))
		print_json(json_object_get(ret));
	json_object_put(ret);
	control_close(c);
	guest_free(&g);
	return status;
}

static int cmd_domjobinfo(const struct cli_cmd *cmd, int argc, char **argv)
{
	return with_guest(cmd, argc, argv, "query-migrate", NULL);
}

static int cmd_domjobabort(const struct cli_cmd *cmd, int argc, char **argv)
{
	return with_guest(cmd, argc, argv, "migrate-cancel", "migrate-pause");
}

static int cmd_migrate_postcopy(const struct cli_cmd *cmd, int argc, char **argv)
{
	return with_guest(cmd, argc, argv, "migrate-start-postcopy", NULL);
}

/* clang-format off: tables are read by row */

static const struct cli_cmd migrate_verb = {
	.name = "migrate", .group = CLI_STATE, .args = "NAME URI", .run = cmd_migrate,
	.summary = "move a running guest to another host",
	.help =
"The guest runs on while its memory is copied, round after round; when what is left can\n"
"go in the time that --downtime allows, it stands still for that long and goes on at the\n"
"other host. URI says where: ssh://[USER@]HOST[:PORT] starts `hvx receive` there by ssh;\n"
"tls://HOST[:PORT] and unix:PATH need an `hvx receive` that waits. TLS takes libvirt's\n"
"certificates: /etc/pki/CA/cacert.pem, /etc/pki/libvirt/clientcert.pem and\n"
"private/clientkey.pem, there servercert.pem and serverkey.pem.\n"
"Disk images are on storage that both hosts share, at the same paths; or they are copied\n"
"there, with --copy-storage-all, while the guest writes to them. The images here stay as\n"
"they were when it left, and are of no use to it any more. Its definition stays here, too,\n"
"and there is none there, but with --persistent and --undefinesource. Whatever goes wrong\n"
"before the change leaves the guest running here, and Ctrl-C does. Where the connection is\n"
"lost at the very moment of the change (exit status 69) the guest stands still here: look\n"
"whether it runs there, and if it does not, --recover lets it go on here.\n"
"With --postcopy, `hvx migrate-postcopy` or an option below lets the guest go over before\n"
"its memory, which follows, what it waits for first. Then each host has what the other\n"
"lacks: where one dies, the guest is lost. Where only the connection is lost (exit status\n"
"69, too), --postcopy-resume NAME URI goes on over another.\n"
"Exit status: 0 it has moved; 65 it has not, and goes on here; 69 see above, or its VMM has\n"
"ended and it may run there, or it has moved and its definition could not be removed here.\n",
	.opts = OPTS(
		{ "auto-converge", 0, NULL, "slow the guest's CPUs where memory changes faster than it travels" },
		{ "bandwidth", 'b', "MIB", "at most so many MiB a second while the guest runs" },
		{ "compressed", 'c', NULL, "compress memory by zstd" },
		{ "copy-storage-all", 0, NULL, "copy the disks, too, but those that are read only or shareable" },
		{ "copy-storage-inc", 0, NULL, "for virsh's sake: refused, with what to do instead" },
		{ "dname", 'n', "NAME", "call the guest NAME there" },
		{ "downtime", 'd', "MS", "the guest may stand still for so long (300)" },
		{ "live", 'l', NULL, "for virsh's sake: it always is" },
		{ "migrate-disks", 0, "LIST", "copy these disks: vda,vdb" },
		{ "overwrite", 0, NULL, "let images be overwritten that exist there" },
		{ "parallel", 'P', "N", "use N connections, at most 16" },
		{ "persistent", 0, NULL, "keep its definition there, under the name that it has there" },
		{ "pki", 0, "FILE", "folder with cacert.pem, clientcert.pem, clientkey.pem instead of libvirt's" },
		{ "postcopy", 0, NULL, "the guest may go over before its memory, by `hvx migrate-postcopy`" },
		{ "postcopy-after-precopy", 0, NULL, "and does so after the first round" },
		{ "postcopy-bandwidth", 0, "MIB", "at most so many MiB a second then, but for what it waits for" },
		{ "postcopy-resume", 0, NULL, "go on after the connection of a post-copy was lost" },
		{ "quiet", 'q', NULL, "no progress line" },
		{ "recover", 0, NULL, "let the guest go on here after a change that was not confirmed" },
		{ "remote", 0, "FILE", "the program `hvx` of the other host, for ssh" },
		{ "timeout", 't', "S", "after S seconds stop the guest, however much is left" },
		{ "timeout-postcopy", 0, NULL, "after --timeout let it go over before its memory instead" },
		{ "undefinesource", 0, NULL, "drop its definition here when it runs there" },
		{ "unencrypted", 0, NULL, "let tcp:// be used, which anybody can read and change" }),
};
CLI_VERB(migrate_verb);

static const struct cli_cmd domjobinfo_verb = {
	.name = "domjobinfo", .group = CLI_STATE, .args = "NAME", .run = cmd_domjobinfo,
	.summary = "how far a guest's migration is, as JSON",
	.help = "What `query-migrate` on the control socket says; nothing where there was no migration.\n",
	.opts = NO_OPTS,
};
CLI_VERB(domjobinfo_verb);

static const struct cli_cmd domjobabort_verb = {
	.name = "domjobabort", .group = CLI_STATE, .args = "NAME", .run = cmd_domjobabort,
	.summary = "give up a guest's migration; it goes on here",
	.help =
"Where none is under way nothing happens; too late is an error. Once its memory follows\n"
"the guest (post-copy), --postcopy closes a connection that hangs: both hosts keep what\n"
"they have, and `hvx migrate --postcopy-resume` goes on.\n",
	.opts = OPTS({ "postcopy", 0, NULL, "close the connection of a post-copy" }),
};
CLI_VERB(domjobabort_verb);

static const struct cli_cmd migrate_postcopy_verb = {
	.name = "migrate-postcopy", .group = CLI_STATE, .args = "NAME", .run = cmd_migrate_postcopy,
	.summary = "let a guest that is being moved go over before its memory",
	.help =
"For a migration that `hvx migrate --postcopy` has begun, from another terminal. From then\n"
"on the guest runs at the other host and waits for memory that has not come; where one of\n"
"the hosts dies before all has, the guest is lost.\n",
	.opts = NO_OPTS,
};
CLI_VERB(migrate_postcopy_verb);

/* clang-format on */
