// SPDX-License-Identifier: GPL-2.0-only
/* hvx list, dominfo, domstate, domid, domuuid. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"
#include "vmm/domxml_int.h"

static struct json_object *str(const char *s)
{
	return json_object_new_string(s);
}

/* --- list --- */

enum { L_ALL, L_INACTIVE, L_NAME, L_UUID, L_RUNNING, L_PAUSED, L_SHUTOFF, L_OTHER, L_AUTOSTART, L_PERSISTENT,
       L_TRANSIENT, L_JSON, L_NR };

static bool wanted(const struct guest *g, const char *const v[])
{
	bool any_state = v[L_RUNNING] || v[L_PAUSED] || v[L_SHUTOFF] || v[L_OTHER];
	bool off = g->state == GUEST_OFF;

	if (v[L_INACTIVE] ? !off : !v[L_ALL] && !any_state && off)
		return false;
	if ((v[L_AUTOSTART] && !g->autostart) || (v[L_PERSISTENT] && !g->defined) ||
	    (v[L_TRANSIENT] && g->defined))
		return false;
	if (!any_state)
		return true;
	return (v[L_RUNNING] && g->state == GUEST_RUNNING) || (v[L_PAUSED] && g->state == GUEST_PAUSED) ||
	       (v[L_SHUTOFF] && off) || (v[L_OTHER] && g->state > GUEST_PAUSED);
}

static struct json_object *as_json(const struct guest *g)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", str(g->name));
	json_object_object_add(o, "id", g->pid ? json_object_new_int(g->pid) : NULL);
	json_object_object_add(o, "uuid", str(g->uuid));
	json_object_object_add(o, "state", str(guest_state_name(g->state)));
	json_object_object_add(o, "status", str(g->status));
	json_object_object_add(o, "persistent", json_object_new_boolean(g->defined));
	json_object_object_add(o, "autostart", json_object_new_boolean(g->autostart));
	return o;
}

static void print_table(const struct guest *g, size_t n, const char *const v[])
{
	int width = 4;

	for (size_t i = 0; i < n; i++)
		if (wanted(&g[i], v) && (int)strlen(g[i].name) > width)
			width = (int)strlen(g[i].name);
	printf(" %-7s  %-*s  %s\n", "Id", width, "Name", "State");
	for (int i = 0; i < width + 25; i++)
		putchar('-');
	putchar('\n');
	for (size_t i = 0; i < n; i++) {
		char id[16] = "-";

		if (!wanted(&g[i], v))
			continue;
		if (g[i].pid)
			snprintf(id, sizeof(id), "%d", (int)g[i].pid);
		printf(" %-7s  %-*s  %s\n", id, width, g[i].name, guest_state_name(g[i].state));
	}
}

static void print_names(const struct guest *g, size_t n, const char *const v[])
{
	for (size_t i = 0; i < n; i++) {
		if (!wanted(&g[i], v))
			continue;
		if (v[L_UUID])
			printf("%s%s", g[i].uuid, v[L_NAME] ? " " : "\n");
		if (v[L_NAME])
			puts(g[i].name);
	}
}

static int cmd_list(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[L_NR + 1];
	int status = cli_parse(cmd, argc, argv, v, 0, 0);
	struct json_object *list;
	struct guest *g;
	size_t n;

	if (status >= 0)
		return status;
	g = guests_list(v[L_ALL] || v[L_INACTIVE] || v[L_SHUTOFF], &n);
	if (v[L_JSON]) {
		list = json_object_new_array();
		for (size_t i = 0; i < n; i++)
			if (wanted(&g[i], v))
				json_object_array_add(list, as_json(&g[i]));
		print_json(list);
	} else if (v[L_NAME] || v[L_UUID]) {
		print_names(g, n, v);
	} else {
		print_table(g, n, v);
	}
	guests_free(g, n);
	return VMM_OK;
}

static const struct cli_cmd list_verb = {
	.name = "list", .group = CLI_LOOK, .args = "", .run = cmd_list,
	.summary = "list guests",
	.help =
"Lists the guests that run. A guest's id is the process id of its VMM.\n",
	.opts = OPTS(
		[L_ALL] = { "all", 'a', NULL, "those that are off, too" },
		[L_INACTIVE] = { "inactive", 'i', NULL, "only those that are off" },
		[L_NAME] = { "name", 'n', NULL, "print names only" },
		[L_UUID] = { "uuid", 'u', NULL, "print UUIDs only" },
		[L_RUNNING] = { "state-running", 'r', NULL, "only those that run" },
		[L_PAUSED] = { "state-paused", 'p', NULL, "only those that are paused" },
		[L_SHUTOFF] = { "state-shutoff", 's', NULL, "only those that are off" },
		[L_OTHER] = { "state-other", 'o', NULL, "only those in other states" },
		[L_AUTOSTART] = { "autostart", 'A', NULL, "only those that start with the host" },
		[L_PERSISTENT] = { "persistent", 'P', NULL, "only those that are defined" },
		[L_TRANSIENT] = { "transient", 'T', NULL, "only those that are not" },
		[L_JSON] = { "json", 'j', NULL, "print an array of {name, id, uuid, state, status, persistent, autostart}" }),
};
CLI_VERB(list_verb);

/* --- dominfo --- */

struct info {
	struct json_object *o;
	bool text;
};

static void put(struct info *i, const char *key, const char *label, struct json_object *v)
{
	if (i->text) {
		printf("%-16s%s\n", label, json_object_get_string(v));
		json_object_put(v);
	} else {
		json_object_object_add(i->o, key, v);
	}
}

static struct json_object *kib(uint64_t bytes, bool text)
{
	char s[32];

	if (!text)
		return json_object_new_uint64(bytes);
	snprintf(s, sizeof(s), "%llu KiB", (unsigned long long)bytes >> 10);
	return str(s);
}

static uint64_t used_memory(const struct guest *g, uint64_t otherwise)
{
	struct control *c = g->dir ? control_open(g->name) : NULL;
	struct json_object *ret = NULL;

	if (c && !control_call(c, "query-balloon", NULL, &ret))
		otherwise = json_object_get_uint64(json_object_object_get(ret, "actual"));
	json_object_put(ret);
	control_close(c);
	return otherwise;
}

static void put_all(struct info *i, const struct guest *g, const struct domain *dom)
{
	char seconds[32];
	uint64_t ns = guest_cpu_time(g->pid);

	put(i, "id", "Id:", g->pid ? json_object_new_int(g->pid) : i->text ? str("-") : NULL);
	put(i, "name", "Name:", str(g->name));
	put(i, "uuid", "UUID:", str(g->uuid));
	put(i, "os-type", "OS Type:", str("hvm"));
	put(i, "state", "State:", str(guest_state_name(g->state)));
	put(i, "vcpus", "CPU(s):", json_object_new_int((int)dom->vcpus));
	if (g->pid) {
		snprintf(seconds, sizeof(seconds), "%.1fs", (double)ns / 1e9);
		put(i, "cpu-time-ns", "CPU time:", i->text ? str(seconds) : json_object_new_uint64(ns));
	}
	put(i, "max-memory", "Max memory:", kib(dom->memory, i->text));
	put(i, "used-memory", "Used memory:", kib(used_memory(g, dom->current_memory), i->text));
	put(i, "persistent", "Persistent:", i->text ? str(g->defined ? "yes" : "no") : json_object_new_boolean(g->defined));
	put(i, "autostart", "Autostart:",
	    i->text ? str(g->autostart ? "enable" : "disable") : json_object_new_boolean(g->autostart));
	if (dom->title)
		put(i, "title", "Title:", str(dom->title));
}

static int cmd_dominfo(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[2];
	struct guest g;
	struct domain *dom;
	struct info info;
	int status = cli_guest(cmd, argc, argv, v, 1, 1, &g);

	if (status >= 0)
		return status;
	dom = guest_domain(&g, false);
	if (dom) {
		info.text = !v[0];
		info.o = json_object_new_object();
		put_all(&info, &g, dom);
		if (v[0])
			print_json(info.o);
		else
			json_object_put(info.o);
	}
	status = dom ? VMM_OK : VMM_ERR_SETUP;
	domain_free(dom);
	guest_free(&g);
	return status;
}

static const struct cli_cmd dominfo_verb = {
	.name = "dominfo", .group = CLI_LOOK, .args = "NAME", .run = cmd_dominfo,
	.summary = "show what a guest is and how it is", .help = "Names, state, CPUs and memory of a guest.\n",
	.opts = OPTS({ "json", 'j', NULL, "print an object; memory in bytes" }),
};
CLI_VERB(dominfo_verb);

/* --- domstate, domid, domuuid, domname --- */

static int one(const struct cli_cmd *cmd, int argc, char **argv, void (*print)(const struct guest *g))
{
	const char *v[2];
	struct guest g;
	int status = cli_guest(cmd, argc, argv, v, 1, 1, &g);

	if (status >= 0)
		return status;
	if (v[0])
		print_json(as_json(&g));
	else
		print(&g);
	guest_free(&g);
	return VMM_OK;
}

#define ONE_OPTS OPTS({ "json", 'j', NULL, "print the object of `hvx list --json`" })

static void print_state(const struct guest *g)
{
	puts(guest_state_name(g->state));
}

static int cmd_domstate(const struct cli_cmd *cmd, int argc, char **argv)
{
	return one(cmd, argc, argv, print_state);
}

static const struct cli_cmd domstate_verb = {
	.name = "domstate", .group = CLI_LOOK, .args = "NAME", .run = cmd_domstate,
	.summary = "print a guest's state",
	.help = "One of: running, paused, shut off, in shutdown, crashed, starting.\n", .opts = ONE_OPTS,
};
CLI_VERB(domstate_verb);

static void print_id(const struct guest *g)
{
	if (g->pid)
		printf("%d\n", (int)g->pid);
	else
		puts("-");
}

static int cmd_domid(const struct cli_cmd *cmd, int argc, char **argv)
{
	return one(cmd, argc, argv, print_id);
}

static const struct cli_cmd domid_verb = {
	.name = "domid", .group = CLI_LOOK, .args = "NAME", .run = cmd_domid,
	.summary = "print a guest's id", .help = "The process id of its VMM, - where it is off.\n", .opts = ONE_OPTS,
};
CLI_VERB(domid_verb);

static void print_uuid(const struct guest *g)
{
	puts(g->uuid);
}

static int cmd_domuuid(const struct cli_cmd *cmd, int argc, char **argv)
{
	return one(cmd, argc, argv, print_uuid);
}

static const struct cli_cmd domuuid_verb = {
	.name = "domuuid", .group = CLI_LOOK, .args = "NAME", .run = cmd_domuuid,
	.summary = "print a guest's UUID", .help = "NAME may be an id, too.\n", .opts = ONE_OPTS,
};
CLI_VERB(domuuid_verb);
