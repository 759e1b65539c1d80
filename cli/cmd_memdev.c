// SPDX-License-Identifier: GPL-2.0-only
/* hvx update-memory-device: how much a memory device gives the guest. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "plug.h"
#include "store.h"
#include "vmm/domxml_int.h"

#define WAIT_MS	60000

enum { U_ALIAS = O_OWN, U_NODE, U_REQUESTED, U_WAIT, U_TIMEOUT, U_NR };

static uint64_t number(struct json_object *list, size_t i, const char *key)
{
	struct json_object *data = json_object_object_get(json_object_array_get_idx(list, i), "data");

	return json_object_get_uint64(json_object_object_get(data, key));
}

static const char *id_of(struct json_object *list, size_t i)
{
	struct json_object *data = json_object_object_get(json_object_array_get_idx(list, i), "data");
	const char *id = json_object_get_string(json_object_object_get(data, "id"));

	return id ? id : "";
}

static struct json_object *query(struct control *c)
{
	struct json_object *list = NULL;

	return control_do(c, "query-memory-devices", NULL, &list) ? NULL : list;
}

/* By its id, or the only one. free() it; NULL after a message. */
static char *pick(struct control *c, const char *guest, const char *alias)
{
	struct json_object *list = query(c);
	size_t i, n = list ? json_object_array_length(list) : 0;
	char *id = NULL;

	for (i = 0; i < n && alias && strcmp(id_of(list, i), alias); i++)
		;
	if (i < n && (alias || n == 1))
		id = strdup(id_of(list, i));
	else if (list && !alias && n > 1)
		cli_error("%s: it has %zu memory devices; tell which by --alias", guest, n);
	else if (list)
		cli_error("%s: it has no memory device%s%s", guest, alias ? " " : "", alias ? alias : "");
	json_object_put(list);
	return id;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What it gives now; -1 after a message. */
static int64_t size_now(struct control *c, const char *id)
{
	struct json_object *list = query(c);
	int64_t size = list ? 0 : -1;

	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (!strcmp(id_of(list, i), id))
			size = (int64_t)number(list, i, "size");
	json_object_put(list);
	return size;
}

static int wait_for(struct control *c, const char *guest, const char *id, uint64_t want, long ms)
{
	int64_t end = now_ms() + ms, left, size;
	struct json_object *event;

	while ((size = size_now(c, id)) >= 0 && (uint64_t)size != want && (left = end - now_ms()) > 0) {
		event = control_event(c, (int)(left < 1000 ? left : 1000));
		if (!event && errno != ETIMEDOUT) {
			cli_error("%s: the guest has ended", guest);
			return VMM_ERR_SETUP;
		}
		json_object_put(event);
	}
	if (size < 0 || (uint64_t)size == want)
		return size < 0 ? VMM_ERR_SETUP : VMM_OK;
	cli_error("%s: after %ld s %s gives it %" PRId64 " KiB; it still follows when it can. A kernel without virtio-mem does not, "
		  "nor does one that brings new memory into use only when it is told to (memhp_default_state=online_movable)",
		  guest, ms / 1000, id, size >> 10);
	return CLI_TIMEOUT;
}

static int change_live(struct control *c, const char *v[], const char *guest, uint64_t bytes, long ms)
{
	char *id = pick(c, guest, v[U_ALIAS]);
	struct json_object *args;
	int status = id ? VMM_OK : VMM_ERR_SETUP;

	if (id) {
		args = json_object_new_object();
		json_object_object_add(args, "path", json_object_new_string(id));
		json_object_object_add(args, "property", json_object_new_string("requested-size"));
		json_object_object_add(args, "value", json_object_new_uint64(bytes));
		status = control_do(c, "qom-set", args, NULL) ? VMM_ERR_SETUP : VMM_OK;
	}
	if (!status && v[U_WAIT])
		status = wait_for(c, guest, id, bytes, ms);
	free(id);
	return status;
}

static int change_config(const char *guest, const char *alias, uint64_t bytes)
{
	const char *why = "out of memory", *id = alias;
	size_t len, new_len;
	char *old = store_read(guest, &len), *text = NULL;
	struct domain *dom = old ? store_parse(guest, old, len, false) : NULL, *new = NULL;
	int status = VMM_ERR_SETUP;

	if (dom && !id && dom->nr_memdevs == 1)
		id = dom->memdev[0].id;
	if (dom && !id)
		cli_error("%s: its definition has %u memory devices%s", guest, dom->nr_memdevs,
			  dom->nr_memdevs ? "; tell which by --alias" : "");
	if (id && dom) {
		text = livexml_memdev(old, len, id, bytes, 0, &new_len, &why);
		new = text ? store_parse(guest, text, new_len, false) : NULL;
		if (!text)
			cli_error("%s: its definition: %s: %s", guest, id, why);
		else if (new && store_write(guest, text, new_len))
			cli_error("%s: its definition: %s", guest, strerror(errno));
		else if (new)
			status = VMM_OK;
	}
	free(old);
	free(text);
	domain_free(dom);
	domain_free(new);
	return status;
}

static int change(const struct cli_cmd *cmd, const char *v[], struct guest *g, uint64_t bytes, long ms)
{
	struct control *c;
	struct scope s;
	int status = scope_find(cmd, v, g, &s), lock;

	if (!status && s.config) {
		lock = store_lock();
		status = lock < 0 ? VMM_ERR_SETUP : change_config(g->name, v[U_ALIAS], bytes);
		if (lock >= 0)
			close(lock);
	}
	if (status || !s.live)
		return status;
	c = control_open_or_say(g->name);
	status = c ? change_live(c, v, g->name, bytes, ms) : VMM_ERR_SETUP;
	control_close(c);
	return status;
}

/* "512M"; in KiB without a unit. False: neither. */
static bool parse(const char *text, uint64_t *bytes)
{
	size_t digits = strspn(text, "0123456789");
	char num[32];

	if (!digits || digits >= sizeof(num))
		return false;
	memcpy(num, text, digits);
	num[digits] = '\0';
	return !parse_size(num, text + digits, bytes);
}

static int cmd_update_memory_device(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[U_NR + 1];
	uint64_t bytes = 0;
	struct guest g;
	long ms;
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	if (status >= 0)
		return status;
	if (!v[U_REQUESTED] || !parse(v[U_REQUESTED], &bytes)) {
		cli_error("%s: --requested-size %s: a size in KiB, or with a unit: K, M, G", cmd->name,
			  v[U_REQUESTED] ? v[U_REQUESTED] : "is needed");
		return VMM_ERR_USAGE;
	}
	if (v[U_NODE] && strcmp(v[U_NODE], "0")) {
		cli_error("%s: --node %s: the guest has one node, 0", cmd->name, v[U_NODE]);
		return VMM_ERR_USAGE;
	}
	ms = v[U_TIMEOUT] ? cli_seconds(cmd, "timeout", v[U_TIMEOUT]) : WAIT_MS;
	if (ms < 0)
		return VMM_ERR_USAGE;
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	status = change(cmd, v, &g, bytes, ms);
	guest_free(&g);
	return status;
}

static const struct cli_cmd update_verb = {
	.name = "update-memory-device", .group = CLI_CHANGE, .args = "NAME", .run = cmd_update_memory_device,
	.summary = "let a memory device give its guest more or less",
	.help =
"Sets what is requested of a <memory model='virtio-mem'>: a multiple of its <block>, at\n"
"most its <size>, in KiB or with a unit (K, M, G). The guest follows in its own time: what\n"
"it cannot give up stays. --wait waits until it has (exit status 124: it has not).\n"
"\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS,
		[U_ALIAS] = { "alias", 'a', "ALIAS", "which one, where there are several: its <alias name=>, or virtiomemN" },
		[U_NODE] = { "node", 0, "NODE", "of this node of the guest: 0" },
		[U_REQUESTED] = { "requested-size", 'r', "SIZE", "what the guest shall have of it" },
		[U_WAIT] = { "wait", 'w', NULL, "wait until the guest has followed" },
		[U_TIMEOUT] = { "timeout", 't', "SECONDS", "with --wait: so long (default: 60)" }),
};
CLI_VERB(update_verb);
