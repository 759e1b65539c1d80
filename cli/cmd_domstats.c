// SPDX-License-Identifier: GPL-2.0-only
/* hvx domstats: what virsh's has, of one guest or all that run; hvx stat: the module's counters. */
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"

/* ---------------------------------------------------------------- gather */

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

/* o["PREFIX.KEY"] for each number and word in from. */
static void add_all(struct json_object *o, const char *prefix, struct json_object *from)
{
	char name[128];

	json_object_object_foreach(from, key, value) {
		snprintf(name, sizeof(name), "%s.%s", prefix, key);
		if (!json_object_is_type(value, json_type_object) && !json_object_is_type(value, json_type_array))
			json_object_object_add(o, name, json_object_get(value));
	}
}

static struct json_object *query(struct control *c, const char *command, const char *target)
{
	struct json_object *args = NULL, *ret = NULL;

	if (target) {
		args = json_object_new_object();
		json_object_object_add(args, "target", json_object_new_string(target));
	}
	return control_call(c, command, args, &ret) ? NULL : ret;
}

/* [{name, value}...] -> o["PREFIX.name"] */
static void add_counters(struct json_object *o, const char *prefix, struct json_object *stats)
{
	char name[128];

	for (size_t i = 0; i < json_object_array_length(stats); i++) {
		struct json_object *s = json_object_array_get_idx(stats, i);

		snprintf(name, sizeof(name), "%s.%s", prefix,
			 json_object_get_string(json_object_object_get(s, "name")));
		json_object_object_add(o, name, json_object_get(json_object_object_get(s, "value")));
	}
}

static void add_devices(struct json_object *o, struct control *c)
{
	struct json_object *disks = query(c, "query-blockstats", NULL), *nics = query(c, "x-hvx-query-nics", NULL);
	char prefix[32];

	if (disks)
		add_u64(o, "block.count", json_object_array_length(disks));
	for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);

		snprintf(prefix, sizeof(prefix), "block.%zu", i);
		add_all(o, prefix, d);
		add_all(o, prefix, json_object_object_get(d, "stats"));
	}
	if (nics)
		add_u64(o, "net.count", json_object_array_length(nics));
	for (size_t i = 0; nics && i < json_object_array_length(nics); i++) {
		snprintf(prefix, sizeof(prefix), "net.%zu", i);
		add_all(o, prefix, json_object_array_get_idx(nics, i));
	}
	json_object_put(disks);
	json_object_put(nics);
}

/* Each vCPU's share of host time, from its thread. */
static uint64_t thread_time(pid_t pid, int tid)
{
	unsigned long long user = 0, sys = 0;
	char path[64], buf[1024], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, tid);
	f = fopen(path, "re");
	if (f && fgets(buf, sizeof(buf), f) && (p = strrchr(buf, ')')))
		sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys);
	if (f)
		fclose(f);
	return (user + sys) * (1000000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static void add_cpus(struct json_object *o, const struct guest *g, struct control *c)
{
	struct json_object *cpus = query(c, "query-cpus-fast", NULL), *counters = query(c, "query-stats", "vcpu");
	char prefix[32], name[48];

	if (cpus)
		add_u64(o, "vcpu.current", json_object_array_length(cpus));
	for (size_t i = 0; cpus && i < json_object_array_length(cpus); i++) {
		struct json_object *cpu = json_object_array_get_idx(cpus, i);

		snprintf(name, sizeof(name), "vcpu.%zu.time", i);
		add_u64(o, name, thread_time(g->pid, json_object_get_int(json_object_object_get(cpu, "thread-id"))));
	}
	for (size_t i = 0; counters && i < json_object_array_length(counters); i++) {
		snprintf(prefix, sizeof(prefix), "vcpu.%zu", i);
		add_counters(o, prefix, json_object_object_get(json_object_array_get_idx(counters, i), "stats"));
	}
	json_object_put(cpus);
	json_object_put(counters);
}

static uint64_t resident(pid_t pid)
{
	unsigned long long pages = 0;
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*u %llu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct json_object *guest_stats(const struct guest *g)
{
	struct control *c = g->dir ? control_open(g->name) : NULL;
	struct json_object *o = json_object_new_object(), *ret;

	json_object_object_add(o, "name", json_object_new_string(g->name));
	json_object_object_add(o, "state", json_object_new_string(guest_state_name(g->state)));
	if (!c)
		return o;
	ret = query(c, "query-stats", "vm");
	if (ret && json_object_array_length(ret))
		add_counters(o, "vm", json_object_object_get(json_object_array_get_idx(ret, 0), "stats"));
	json_object_put(ret);
	add_cpus(o, g, c);
	ret = query(c, "query-balloon", NULL);
	if (ret) {
		add_all(o, "balloon", ret);
		add_all(o, "balloon", json_object_object_get(ret, "x-hvx-stats"));
	}
	json_object_put(ret);
	add_u64(o, "memory.rss", resident(g->pid));
	add_devices(o, c);
	control_close(c);
	return o;
}

/* ---------------------------------------------------------------- domstats */

static void print_text(struct json_object *o)
{
	printf("Domain: '%s'\n", json_object_get_string(json_object_object_get(o, "name")));
	json_object_object_foreach(o, key, value)
		if (strcmp(key, "name"))
			printf("  %s=%s\n", key, json_object_get_string(value));
	putchar('\n');
}

/* Those that argv names, or all that run. NULL after a message. */
static struct json_object *gather_wanted(int argc, char **argv)
{
	struct json_object *list = json_object_new_array();
	struct guest *all, g;
	size_t n;

	for (int i = 0; i < argc; i++) {
		if (guest_find(argv[i], &g)) {
			json_object_put(list);
			return NULL;
		}
		json_object_array_add(list, guest_stats(&g));
		guest_free(&g);
	}
	if (argc)
		return list;
	all = guests_list(false, &n);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, guest_stats(&all[i]));
	guests_free(all, n);
	return list;
}

static int cmd_domstats(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *list;
	const char *v[2];
	int status = cli_parse(cmd, argc, argv, v, 0, -1);

	if (status >= 0)
		return status;
	list = gather_wanted(argc - optind, argv + optind);
	if (!list)
		return VMM_ERR_SETUP;
	if (v[0]) {
		print_json(list);
		return VMM_OK;
	}
	for (size_t i = 0; i < json_object_array_length(list); i++)
		print_text(json_object_array_get_idx(list, i));
	json_object_put(list);
	return VMM_OK;
}

static const struct cli_cmd domstats_verb = {
	.name = "domstats", .group = CLI_LOOK, .args = "[NAME...]", .run = cmd_domstats,
	.summary = "print all statistics of guests",
	.help =
"Of the guests named, or all that run: the module's counters (vm., vcpu.N.), memory,\n"
"disks and interfaces. Counters are since the guest's start, times in ns.\n",
	.opts = OPTS({ "json", 'j', NULL, "print an array of objects" }),
};
CLI_VERB(domstats_verb);

/* -------------------------------------------------------------------- stat */

/* Prometheus' text format 0.0.4: label values escape backslash, quote and newline. */
static void print_label(const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			putchar('\\');
		putchar(*s);
	}
}

/* "vcpu.3.exits" -> hvx_vcpu_exits{guest="x",vcpu="3"}; numbers only. */
static void print_metric(const char *guest, const char *key, struct json_object *value)
{
	char part[32], rest[96], index[16] = "";

	if (!json_object_is_type(value, json_type_int))
		return;
	if (sscanf(key, "%31[a-z].%15[0-9].%95s", part, index, rest) != 3) {
		index[0] = '\0';
		if (sscanf(key, "%31[a-z].%95s", part, rest) != 2)
			return;
	}
	for (char *p = rest; *p; p++)
		if (*p == '-' || *p == '.')
			*p = '_';
	printf("hvx_%s_%s{guest=\"", part, rest);
	print_label(guest);
	if (*index)
		printf("\",%s=\"%s", part, index);
	printf("\"} %" PRIu64 "\n", json_object_get_uint64(value));
}

static void print_prometheus(struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *name = json_object_get_string(json_object_object_get(o, "name"));
		const char *state = json_object_get_string(json_object_object_get(o, "state"));

		printf("hvx_running{guest=\"");
		print_label(name);
		printf("\"} %d\n", !strcmp(state, "running"));
		json_object_object_foreach(o, key, value)
			print_metric(name, key, value);
	}
}

/* What was counted in a second, for each counter of the VM that moved. */
static void print_rates(const char *guest, struct json_object *before, struct json_object *now, double seconds, bool json)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(guest));
	if (!json)
		printf("%s:\n", guest);
	json_object_object_foreach(now, key, value) {
		struct json_object *old = NULL;
		double rate;

		if (strncmp(key, "vm.", 3) || !json_object_object_get_ex(before, key, &old))
			continue;
		rate = (double)(json_object_get_int64(value) - json_object_get_int64(old)) / seconds;
		if (rate > 0 && json)
			json_object_object_add(o, key + 3, json_object_new_double(rate));
		else if (rate > 0)
			printf("  %-20s %14.0f/s\n", key + 3, rate);
	}
	if (json)
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	fflush(stdout);
}

static int watch(const char *what, long ms, long count, bool json)
{
	struct json_object *before = NULL, *now;
	struct guest g;

	for (long i = 0; count < 0 || i <= count; i++) {
		if (guest_find(what, &g))
			return VMM_ERR_SETUP;
		if (!g.dir) {
			cli_error("%s: the guest is not running", g.name);
			guest_free(&g);
			json_object_put(before);
			return VMM_ERR_SETUP;
		}
		now = guest_stats(&g);
		if (before)
			print_rates(g.name, before, now, (double)ms / 1000, json);
		guest_free(&g);
		json_object_put(before);
		before = now;
		if (count < 0 || i < count)
			poll(NULL, 0, (int)ms);
	}
	json_object_put(before);
	return VMM_OK;
}

enum { S_COUNT, S_INTERVAL, S_JSON, S_PROMETHEUS, S_NR };

static int cmd_stat(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[S_NR + 1];
	struct json_object *list;
	long ms = 1000, count = -1;
	int status = cli_parse(cmd, argc, argv, v, 0, -1);

	if (status >= 0)
		return status;
	if (v[S_PROMETHEUS]) {
		list = gather_wanted(argc - optind, argv + optind);
		if (list)
			print_prometheus(list);
		json_object_put(list);
		return list ? VMM_OK : VMM_ERR_SETUP;
	}
	if (argc - optind != 1) {
		cli_error("stat: one guest is wanted; see: hvx help stat");
		return VMM_ERR_USAGE;
	}
	if (v[S_INTERVAL] && (ms = cli_seconds(cmd, "interval", v[S_INTERVAL])) < 0)
		return VMM_ERR_USAGE;
	if (ms < 100)
		ms = 100;
	if (v[S_COUNT] && !cli_number(cmd, "count", v[S_COUNT], 1, LONG_MAX, &count))
		return VMM_ERR_USAGE;
	return watch(argv[optind], ms, count, v[S_JSON]);
}

static const struct cli_cmd stat_verb = {
	.name = "stat", .group = CLI_LOOK, .args = "[NAME...]", .run = cmd_stat,
	.summary = "watch a guest's exits, or print metrics for Prometheus",
	.help =
"Prints, second by second until it is stopped, how often the guest NAME left to the\n"
"module and why, what was injected, and what else the module counts (docs/api.md,\n"
"HVX_GET_STATS). With --prometheus, all counters of `hvx domstats` once, in the text\n"
"format that Prometheus' node exporter takes from files.\n",
	.opts = OPTS(
		[S_COUNT] = { "count", 'c', "N", "stop after N times" },
		[S_INTERVAL] = { "interval", 'i', "SECONDS", "between them, instead of 1" },
		[S_JSON] = { "json", 'j', NULL, "print an object a line: the guest's name, and rates per second" },
		[S_PROMETHEUS] = { "prometheus", 'p', NULL, "print metrics of the guests named, or all that run" }),
};
CLI_VERB(stat_verb);
