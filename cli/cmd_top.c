// SPDX-License-Identifier: GPL-2.0-only
/* hvx top: all guests that run, and what they take, again and again. */
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

struct sample {
	char name[65], state[16];
	pid_t pid;
	uint64_t ns;			/* when */
	uint64_t cpu_ns, rss, exits, irqs, disk, net;
	unsigned int vcpus;
};

struct samples {
	struct sample *s;
	size_t n;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t number(struct json_object *o, const char *key)
{
	return json_object_get_uint64(json_object_object_get(o, key));
}

/* The sum over "PREFIX.N.KEY". */
static uint64_t sum(struct json_object *o, const char *prefix, const char *key)
{
	size_t plen = strlen(prefix);
	uint64_t total = 0;

	json_object_object_foreach(o, name, value) {
		const char *p = name + plen;

		if (strncmp(name, prefix, plen) || *p != '.')
			continue;
		p += 1 + strspn(p + 1, "0123456789");
		if (*p == '.' && !strcmp(p + 1, key))
			total += json_object_get_uint64(value);
	}
	return total;
}

static void take(struct sample *s, const struct guest *g)
{
	struct json_object *o = guest_stats(g);

	memset(s, 0, sizeof(*s));
	s->ns = now_ns();
	snprintf(s->name, sizeof(s->name), "%s", g->name);
	snprintf(s->state, sizeof(s->state), "%s", guest_state_name(g->state));
	s->pid = g->pid;
	s->cpu_ns = guest_cpu_time(g->pid);
	s->rss = number(o, "memory.rss");
	s->exits = number(o, "vm.exits");
	s->irqs = number(o, "vm.inj_irq");
	s->vcpus = (unsigned int)number(o, "vcpu.current");
	s->disk = sum(o, "block", "rd_bytes") + sum(o, "block", "wr_bytes");
	s->net = sum(o, "net", "rx-bytes") + sum(o, "net", "tx-bytes");
	json_object_put(o);
}

static struct samples take_all(void)
{
	struct samples all = { 0 };
	struct guest *g = guests_list(false, &all.n);

	all.s = calloc(all.n ? all.n : 1, sizeof(*all.s));
	for (size_t i = 0; all.s && i < all.n; i++)
		take(&all.s[i], &g[i]);
	guests_free(g, all.n);
	if (!all.s)
		all.n = 0;
	return all;
}

static const struct sample *same(const struct samples *before, const struct sample *s)
{
	for (size_t i = 0; i < before->n; i++)
		if (before->s[i].pid == s->pid && !strcmp(before->s[i].name, s->name))
			return &before->s[i];
	return NULL;
}

/* "1.5M" a second. */
static const char *rate(char buf[16], uint64_t now, uint64_t before, double seconds)
{
	static const char units[] = " kMGT";
	double r = now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
	int u = 0;

	for (; r >= 10000 && units[u + 1]; u++)
		r /= 1000;
	snprintf(buf, 16, "%.0f%c", r, units[u]);
	return buf;
}

static void print_json_line(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	fflush(stdout);
}

static void add_rate(struct json_object *o, const char *key, uint64_t now, uint64_t before, double seconds)
{
	json_object_object_add(o, key, json_object_new_double(now > before && seconds > 0 ? (double)(now - before) / seconds : 0));
}

static struct json_object *as_json(const struct sample *s, const struct sample *old)
{
	struct json_object *o = json_object_new_object();
	double seconds = old ? (double)(s->ns - old->ns) / 1e9 : 0;

	json_object_object_add(o, "name", json_object_new_string(s->name));
	json_object_object_add(o, "state", json_object_new_string(s->state));
	json_object_object_add(o, "vcpus", json_object_new_int((int)s->vcpus));
	add_rate(o, "cpu-percent", s->cpu_ns / 100000, old ? old->cpu_ns / 100000 : 0, seconds * 100);
	json_object_object_add(o, "memory", json_object_new_int64((int64_t)s->rss));
	add_rate(o, "exits", s->exits, old ? old->exits : 0, seconds);
	add_rate(o, "interrupts", s->irqs, old ? old->irqs : 0, seconds);
	add_rate(o, "disk-bytes", s->disk, old ? old->disk : 0, seconds);
	add_rate(o, "net-bytes", s->net, old ? old->net : 0, seconds);
	return o;
}

static void print_one(const struct sample *s, const struct sample *old)
{
	static const struct sample none;
	char exits[16], irqs[16], disk[16], net[16];
	double seconds, cpu;

	if (!old)
		old = &none;
	seconds = old->ns ? (double)(s->ns - old->ns) / 1e9 : 0;
	cpu = seconds > 0 && s->cpu_ns > old->cpu_ns ? (double)(s->cpu_ns - old->cpu_ns) / 1e7 / seconds : 0;
	printf("%-20.20s %-10s %5u %6.1f %8" PRIu64 "M %9s %9s %9s %9s\n", s->name, s->state, s->vcpus, cpu,
	       s->rss >> 20, rate(exits, s->exits, old->exits, seconds), rate(irqs, s->irqs, old->irqs, seconds),
	       rate(disk, s->disk, old->disk, seconds), rate(net, s->net, old->net, seconds));
}

static int by_cpu(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return x->cpu_ns < y->cpu_ns ? 1 : x->cpu_ns > y->cpu_ns ? -1 : strcmp(x->name, y->name);
}

static void print_all(struct samples *now, const struct samples *before, bool clear, bool json)
{
	if (json) {
		struct json_object *list = json_object_new_array();

		for (size_t i = 0; i < now->n; i++)
			json_object_array_add(list, as_json(&now->s[i], same(before, &now->s[i])));
		print_json_line(list);
		return;
	}
	if (clear)
		fputs("\033[H\033[J", stdout);
	printf("%-20s %-10s %5s %6s %9s %9s %9s %9s %9s\n", "NAME", "STATE", "VCPUS", "CPU%", "MEMORY", "EXITS/s",
	       "IRQS/s", "DISK B/s", "NET B/s");
	if (now->n)
		qsort(now->s, now->n, sizeof(now->s[0]), by_cpu);
	for (size_t i = 0; i < now->n; i++)
		print_one(&now->s[i], same(before, &now->s[i]));
	if (!clear)
		putchar('\n');
	fflush(stdout);
}

enum { T_BATCH, T_COUNT, T_INTERVAL, T_JSON, T_NR };

static int cmd_top(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct samples before, now;
	const char *v[T_NR + 1];
	long ms = 2000, count = -1;
	bool clear;
	int status = cli_parse(cmd, argc, argv, v, 0, 0);

	if (status >= 0)
		return status;
	if (v[T_INTERVAL] && (ms = cli_seconds(cmd, "interval", v[T_INTERVAL])) < 0)
		return VMM_ERR_USAGE;
	if (v[T_COUNT] && !cli_number(cmd, "count", v[T_COUNT], 1, LONG_MAX, &count))
		return VMM_ERR_USAGE;
	if (ms < 100)
		ms = 100;
	clear = !v[T_BATCH] && !v[T_JSON] && isatty(STDOUT_FILENO);
	before = take_all();
	if (clear)
		print_all(&before, &(struct samples){ 0 }, clear, false);
	while (count < 0 || count-- > 0) {
		poll(NULL, 0, (int)ms);
		now = take_all();
		print_all(&now, &before, clear, v[T_JSON]);
		free(before.s);
		before = now;
		if (ferror(stdout))
			break;
	}
	free(before.s);
	return VMM_OK;
}

static const struct cli_cmd top_verb = {
	.name = "top", .group = CLI_LOOK, .args = "", .run = cmd_top,
	.summary = "watch what all guests take",
	.help =
"All guests that run, those with the most CPU time first: CPU in percent of one of the\n"
"host's, resident memory, exits and injected interrupts, bytes of disk and network, a\n"
"second. Ctrl-C ends it.\n",
	.opts = OPTS(
		[T_BATCH] = { "batch", 'b', NULL, "page after page, without clearing the screen" },
		[T_COUNT] = { "count", 'c', "N", "stop after N times" },
		[T_INTERVAL] = { "interval", 'i', "SECONDS", "between them, instead of 2" },
		[T_JSON] = { "json", 'j', NULL, "print an array a line: rates per second, memory in bytes" }),
};
CLI_VERB(top_verb);
