// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verbs on a guest's share of the host: its control group (vmm/cgroup.h), its threads'
 * CPUs, and the limits of its disks and interfaces; of the guest that runs, and of its
 * definition.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "defedit.h"
#include "plug.h"
#include "store.h"
#include "vmm/cgroup.h"
#include "vmm/domxml_int.h"

/* ------------------------------------------------------- control group */

/* What a verb does: the guest that runs, its definition, or both. */
struct tuning {
	struct guest g;
	struct scope scope;
	struct def def;		/* where scope.config */
};

/* VMM_OK, or an exit status after a message. tune_end() in either case. */
static int tune_begin(const struct cli_cmd *cmd, const char *v[], const char *guest, enum def_base base, const char *id,
		      struct tuning *t)
{
	int status;

	*t = (struct tuning){ .def.lock = -1 };
	if (guest_find(guest, &t->g))
		return VMM_ERR_SETUP;
	status = scope_find(cmd, v, &t->g, &t->scope);
	if (!status && t->scope.config && def_open(&t->def, t->g.name, base, id))
		status = VMM_ERR_SETUP;
	return status;
}

/* The definition is checked before anything is done, and kept when the guest that runs has it. */
static int tune_check(struct tuning *t)
{
	return t->scope.config && def_check(&t->def) ? VMM_ERR_SETUP : VMM_OK;
}

static int tune_keep(struct tuning *t)
{
	return t->scope.config && def_keep(&t->def) ? VMM_ERR_SETUP : VMM_OK;
}

static void tune_end(struct tuning *t)
{
	def_close(&t->def);
	guest_free(&t->g);
}

/* NULL after a message. */
static char *group_of(const struct guest *g)
{
	char *group = cgroup_of(g->pid);

	if (!group)
		cli_error("%s: it has no control group of its own: it was started without <cputune>, <memtune> and <blkiotune>, or none was delegated; "
			  "put one into its XML and start it again, as a user with: systemd-run --user --scope -p Delegate=yes hvx ...", g->name);
	return group;
}

/* "max", or a number that is scaled; *out "max" stays. False: neither. */
static bool value_of(const char *text, unsigned int shift, char *out, size_t size)
{
	long n;

	if (!strcmp(text, "max") || !strcmp(text, "-1")) {
		snprintf(out, size, "max");
		return true;
	}
	if (!number_parse(text, 0, LONG_MAX >> shift, &n))
		return false;
	snprintf(out, size, "%ld", n << shift);
	return true;
}

/* A number of a group, under virsh's name. */
struct param {
	const char *name, *file;
	unsigned int word;	/* of the file's line, from 0 */
	unsigned int shift;	/* shown and set in units of 1 << shift */
	const char *prefix;	/* before what is written: "default " */
	const char *beyond;	/* shown and set with the number of this file added to it */
	const char *path;	/* in the definition */
	const char *none;	/* "max" there; NULL: the element goes */
};

/* The number in a file of a group; ULLONG_MAX: there is no limit, or no such file. */
static unsigned long long number_in(const char *group, const char *file)
{
	char line[128];

	return cgroup_read(group, file, line, sizeof(line)) || !strncmp(line, "max", 3) ? ULLONG_MAX : strtoull(line, NULL, 10);
}

static void show(const char *group, const struct param *p)
{
	char line[128], *save = NULL, *word;
	unsigned long long more = p->beyond ? number_in(group, p->beyond) : 0;
	unsigned int i;

	if (cgroup_read(group, p->file, line, sizeof(line)))
		return;
	word = strtok_r(line, " ", &save);
	if (p->prefix && word && !strcmp(word, "default"))
		word = strtok_r(NULL, " ", &save);
	for (i = 0; word && i < p->word; i++)
		word = strtok_r(NULL, " ", &save);
	if (word && strcmp(word, "max") && more != ULLONG_MAX)
		printf("%-16s: %llu\n", p->name, (strtoull(word, NULL, 10) + more) >> p->shift);
	else if (word)
		printf("%-16s: unlimited\n", p->name);
}

static int set(const struct guest *g, const char *group, const struct param *p, const char *text)
{
	char value[32], line[128] = "", first[32] = "max", second[32] = "100000", out[128];
	int ret;

	if (!value_of(text, p->shift, value, sizeof(value))) {
		cli_error("%s: %s: a number, or max", p->name, text);
		return VMM_ERR_USAGE;
	}
	if (!strcmp(p->file, "cpu.max")) {
		/* Quota and period stand in one file. */
		cgroup_read(group, p->file, line, sizeof(line));
		sscanf(line, "%31s %31s", first, second);
		snprintf(out, sizeof(out), "%s %s", p->word ? first : value, p->word ? value : second);
	} else if (p->beyond && strcmp(value, "max")) {
		unsigned long long less = number_in(group, p->beyond), all = strtoull(value, NULL, 10);

		if (all < less) {
			cli_error("%s: %s: it is of memory and swap together: not less than hard_limit, which must be set", g->name, p->name);
			return VMM_ERR_USAGE;
		}
		snprintf(out, sizeof(out), "%llu", all - less);
	} else {
		snprintf(out, sizeof(out), "%s%s", p->prefix ? p->prefix : "", value);
	}
	ret = cgroup_write(group, p->file, out);
	if (!ret)
		return VMM_OK;
	cli_error("%s: %s: its control group does not take %s: %s", g->name, p->name, out, strerror(-ret));
	return VMM_ERR_SETUP;
}

static int put_param(struct def *d, const struct param *p, const char *text)
{
	bool none = !strcmp(text, "max") || !strcmp(text, "-1");
	int ret = 0;

	if (p->shift && !none)
		ret = def_put(d, p->path, "unit", "KiB");
	return ret ?: def_put(d, p->path, NULL, none ? p->none : text);
}

static void show_param(const struct def *d, const struct param *p)
{
	char *text = def_get(d, p->path, NULL), *unit = p->shift ? def_get(d, p->path, "unit") : NULL;
	uint64_t bytes;

	if (text && p->shift && !parse_size(text, unit, &bytes))
		printf("%-16s: %" PRIu64 "\n", p->name, bytes >> p->shift);
	else if (text && strcmp(text, "-1"))
		printf("%-16s: %s\n", p->name, text);
	else
		printf("%-16s: %s\n", p->name, text || p->shift || p->none ? "unlimited" : "not set");
	xmlFree(text);
	xmlFree(unit);
}

/* value[i], where it was given, to params[i]; where none was, all are shown. */
static int group_verb(const struct cli_cmd *cmd, const char *v[], const char *guest, const struct param *params,
		      unsigned int n, const char *const value[])
{
	struct tuning t;
	bool any = false;
	unsigned int i;
	char *group = NULL;
	int status = tune_begin(cmd, v, guest, DEF_DOMAIN, NULL, &t);

	for (i = 0; i < n && !status; i++) {
		any |= value[i] != NULL;
		if (t.scope.config && value[i] && put_param(&t.def, &params[i], value[i]))
			status = VMM_ERR_SETUP;
	}
	if (!status && any)
		status = tune_check(&t);
	if (!status && t.scope.live) {
		group = group_of(&t.g);
		status = group ? VMM_OK : VMM_ERR_SETUP;
	}
	for (i = 0; i < n && !status; i++) {
		if (!any && group)
			show(group, &params[i]);
		else if (!any)
			show_param(&t.def, &params[i]);
		else if (group && value[i])
			status = set(&t.g, group, &params[i], value[i]);
	}
	if (!status && any)
		status = tune_keep(&t);
	free(group);
	tune_end(&t);
	return status;
}

static const struct param sched_params[] = {
	{ .name = "cpu_shares", .file = "cpu.weight", .path = "cputune/shares" },
	{ .name = "global_period", .file = "cpu.max", .word = 1, .path = "cputune/global_period" },
	{ .name = "global_quota", .file = "cpu.max", .path = "cputune/global_quota", .none = "-1" },
};

static int cmd_schedinfo(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 2], *value[3] = { NULL }, *eq, *one;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);
	unsigned int i;

	if (status >= 0)
		return status;
	one = v[O_OWN] ?: argc - optind > 1 ? argv[optind + 1] : NULL;
	if (one) {
		eq = strchr(one, '=');
		for (i = 0; eq && i < 3; i++)
			if (strlen(sched_params[i].name) == (size_t)(eq - one) && !strncmp(one, sched_params[i].name, (size_t)(eq - one)))
				value[i] = eq + 1;
		if (!value[0] && !value[1] && !value[2]) {
			cli_error("%s: %s: cpu_shares=N, global_period=US or global_quota=US", cmd->name, one);
			return VMM_ERR_USAGE;
		}
	}
	return group_verb(cmd, v, argv[optind], sched_params, 3, value);
}

#define HELP_GROUP \
"A guest that runs needs a control group of its own: see hvx-domain-xml(5), <cputune>.\n" \
HELP_SCOPE

static const struct cli_cmd schedinfo_verb = {
	.name = "schedinfo", .group = CLI_CHANGE, .args = "NAME [PARAMETER=VALUE]", .run = cmd_schedinfo,
	.summary = "show or change a guest's share of CPU time",
	.help =
"cpu_shares is its weight among its neighbours, 1 to 10000; global_quota the time in us\n"
"that all of it may run in each global_period, or max.\n"
"\n" HELP_GROUP,
	.opts = OPTS(SCOPE_OPTS, [O_OWN] = { "set", 's', "PARAMETER=VALUE", "change this one" }),
};
CLI_VERB(schedinfo_verb);

static const struct param mem_params[] = {
	{ .name = "hard_limit", .file = "memory.max", .shift = 10, .path = "memtune/hard_limit" },
	{ .name = "soft_limit", .file = "memory.high", .shift = 10, .path = "memtune/soft_limit" },
	{ .name = "swap_hard_limit", .file = "memory.swap.max", .shift = 10, .beyond = "memory.max", .path = "memtune/swap_hard_limit" },
	{ .name = "min_guarantee", .file = "memory.min", .shift = 10, .path = "memtune/min_guarantee" },
};

static int cmd_memtune(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 5];
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	return status >= 0 ? status : group_verb(cmd, v, argv[optind], mem_params, 4, v + O_OWN);
}

static const struct cli_cmd memtune_verb = {
	.name = "memtune", .group = CLI_CHANGE, .args = "NAME", .run = cmd_memtune,
	.summary = "show or change how much of the host's memory a guest may take",
	.help =
"In KiB, or max. These are of the guest with its VMM; --swap-hard-limit is of memory\n"
"and swap together. Above --hard-limit the kernel ends the VMM.\n"
"\n" HELP_GROUP,
	.opts = OPTS(SCOPE_OPTS,
		[O_OWN] = { "hard-limit", 0, "KIB", "never more than this" },
		{ "soft-limit", 0, "KIB", "above this it is slowed down and swapped out" },
		{ "swap-hard-limit", 0, "KIB", "never more than this, swap included" },
		{ "min-guarantee", 0, "KIB", "never swapped out below this" }),
};
CLI_VERB(memtune_verb);

static const struct param io_params[] = { { .name = "weight", .file = "io.weight", .prefix = "default ", .path = "blkiotune/weight" } };

static int cmd_blkiotune(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 2];
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	return status >= 0 ? status : group_verb(cmd, v, argv[optind], io_params, 1, v + O_OWN);
}

static const struct cli_cmd blkiotune_verb = {
	.name = "blkiotune", .group = CLI_CHANGE, .args = "NAME", .run = cmd_blkiotune,
	.summary = "show or change a guest's weight at the host's block devices",
	.help = "1 to 10000; of an I/O scheduler that knows weights.\n\n" HELP_GROUP,
	.opts = OPTS(SCOPE_OPTS, [O_OWN] = { "weight", 0, "N", "change it" }),
};
CLI_VERB(blkiotune_verb);

/* ------------------------------------------------------------- pinning */

static void print_set(const cpu_set_t *set)
{
	const char *comma = "";
	int i, last;

	for (i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, set))
			continue;
		for (last = i; last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set); last++)
			;
		printf(last > i ? "%s%d-%d" : "%s%d", comma, i, last);
		comma = ",";
		i = last;
	}
	putchar('\n');
}

/* Show, or with cpus change, on which CPUs a thread may run. */
static int pin_thread(const char *what, int tid, const char *cpus)
{
	struct dom_cpuset want;
	cpu_set_t set;

	CPU_ZERO(&set);
	if (cpus && cpuset_parse(cpus, &want)) {
		cli_error("%s: not a set of CPUs; write 0-3,^2 or 0,2", cpus);
		return VMM_ERR_USAGE;
	}
	for (int i = 0; cpus && i < DOM_MAX_HOST_CPUS && i < CPU_SETSIZE; i++)
		if (want.bits[i / 64] >> i % 64 & 1)
			CPU_SET(i, &set);
	if (cpus ? sched_setaffinity(tid, sizeof(set), &set) : sched_getaffinity(tid, sizeof(set), &set)) {
		cli_error("%s: %s", what, errno == EINVAL ? "none of these CPUs is there" : strerror(errno));
		return VMM_ERR_SETUP;
	}
	if (!cpus) {
		printf(" %-8s ", what);
		print_set(&set);
	}
	return VMM_OK;
}

/* In the definition: show, or with cpus change. */
static int pin_config(struct tuning *t, const char *what, const char *path, const char *cpus)
{
	char *text;

	if (cpus)
		return def_put(&t->def, path, "cpuset", cpus) ? VMM_ERR_SETUP : tune_check(t);
	text = def_get(&t->def, path, "cpuset");
	printf(" %-8s %s\n", what, text ? text : "any");
	xmlFree(text);
	return VMM_OK;
}

/* which NULL: all of them, which can only be shown. */
static int pin_vcpus_config(struct tuning *t, const char *which, const char *cpus)
{
	unsigned int first = which ? (unsigned int)strtoul(which, NULL, 10) : 0, i;
	struct domain *dom;
	int status;

	status = def_check(&t->def) ? VMM_ERR_SETUP : VMM_OK;
	dom = status ? NULL : store_parse(t->g.name, t->def.text, t->def.len, false);
	free(t->def.text);
	t->def.text = NULL;
	if (!dom)
		return VMM_ERR_SETUP;
	if (first >= dom->max_vcpus) {
		cli_error("%s: it has no vCPU %u", t->g.name, first);
		status = VMM_ERR_SETUP;
	}
	for (i = first; !status && i < (which ? first + 1 : dom->max_vcpus); i++) {
		char name[16], path[64];

		snprintf(name, sizeof(name), "%u", i);
		snprintf(path, sizeof(path), "cputune/vcpupin[vcpu=%u]", i);
		status = pin_config(t, name, path, cpus);
	}
	domain_free(dom);
	return status;
}

static int pin_vcpus(const char *guest, const char *which, const char *cpus)
{
	struct control *c = control_open_or_say(guest);
	struct json_object *list = NULL, *o;
	bool found = false;
	int status = c && !control_do(c, "query-cpus-fast", NULL, &list) ? VMM_OK : VMM_ERR_SETUP;

	for (size_t i = 0; !status && i < json_object_array_length(list); i++) {
		char name[16];

		o = json_object_array_get_idx(list, i);
		snprintf(name, sizeof(name), "%d", json_object_get_int(json_object_object_get(o, "cpu-index")));
		if (which && strcmp(which, name))
			continue;
		found = true;
		status = pin_thread(name, json_object_get_int(json_object_object_get(o, "thread-id")), cpus);
	}
	if (!status && !found) {
		cli_error("%s: it has no vCPU %s", guest, which ? which : "");
		status = VMM_ERR_SETUP;
	}
	json_object_put(list);
	control_close(c);
	return status;
}

static int cmd_vcpupin(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 1], *which, *cpus;
	struct tuning t;
	long number;
	int status = cli_parse(cmd, argc, argv, v, 1, 3);

	if (status >= 0)
		return status;
	which = argc - optind > 1 ? argv[optind + 1] : NULL;
	cpus = argc - optind > 2 ? argv[optind + 2] : NULL;
	if (which && !cli_number(cmd, NULL, which, 0, DOM_MAX_VCPUS - 1, &number))
		return VMM_ERR_USAGE;
	status = tune_begin(cmd, v, argv[optind], DEF_DOMAIN, NULL, &t);
	if (!status && t.scope.config && (cpus || !t.scope.live))
		status = pin_vcpus_config(&t, which, cpus);
	if (!status && t.scope.live)
		status = pin_vcpus(t.g.name, which, cpus);
	if (!status && cpus)
		status = tune_keep(&t);
	tune_end(&t);
	return status;
}

static const struct cli_cmd vcpupin_verb = {
	.name = "vcpupin", .group = CLI_CHANGE, .args = "NAME [VCPU] [CPUS]", .run = cmd_vcpupin,
	.summary = "show or change the host's CPUs that a guest's vCPUs run on",
	.help = "CPUS is like 0-3,^2. Without it, those of VCPU, or of all, are shown.\n\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS),
};
CLI_VERB(vcpupin_verb);

static int cmd_emulatorpin(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[O_OWN + 1], *cpus;
	struct tuning t;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);

	if (status >= 0)
		return status;
	cpus = argc - optind > 1 ? argv[optind + 1] : NULL;
	status = tune_begin(cmd, v, argv[optind], DEF_DOMAIN, NULL, &t);
	if (!status && t.scope.config && (cpus || !t.scope.live))
		status = pin_config(&t, "emulator", "cputune/emulatorpin", cpus);
	if (!status && t.scope.live)
		status = pin_thread("emulator", t.g.pid, cpus);
	if (!status && cpus)
		status = tune_keep(&t);
	tune_end(&t);
	return status;
}

static const struct cli_cmd emulatorpin_verb = {
	.name = "emulatorpin", .group = CLI_CHANGE, .args = "NAME [CPUS]", .run = cmd_emulatorpin,
	.summary = "show or change the host's CPUs that a guest's VMM runs on",
	.help = "Its main thread's; CPUS is like 0-3,^2.\n\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS),
};
CLI_VERB(emulatorpin_verb);

/* --------------------------------------------------- disks, interfaces */

/* NULL: not given. 0 is no limit. */
static bool put_num(const struct cli_cmd *cmd, struct json_object *args, const char *option, const char *key,
		    const char *text, unsigned int shift)
{
	long n;

	if (!text)
		return true;
	if (!cli_number(cmd, option, text, 0, LONG_MAX >> shift, &n))
		return false;
	json_object_object_add(args, key, json_object_new_int64((int64_t)n << shift));
	return true;
}

static int call(const char *guest, const char *command, struct json_object *args, struct json_object **ret)
{
	struct guest g;
	struct control *c = guest_control(guest, &g);
	int status;

	if (!c) {
		json_object_put(args);
		return VMM_ERR_SETUP;
	}
	status = control_do(c, command, args, ret) ? VMM_ERR_SETUP : VMM_OK;
	control_close(c);
	guest_free(&g);
	return status;
}

static const char *const rate_names[][2] = {
	{ "total_bytes_sec", "bps" }, { "read_bytes_sec", "bps_rd" }, { "write_bytes_sec", "bps_wr" },
	{ "total_iops_sec", "iops" }, { "read_iops_sec", "iops_rd" }, { "write_iops_sec", "iops_wr" },
};

/* Its number, as it is in the definition; what is not given is no limit. */
static int put_config(struct def *d, const char *path, const char *attr, const char *text)
{
	bool none = !text || !strcmp(text, "0");

	return def_put(d, path, attr, none ? NULL : text) ? VMM_ERR_SETUP : VMM_OK;
}

static int show_rates_config(const struct def *d)
{
	for (unsigned int i = 0; i < 6; i++) {
		char path[64], *text;

		snprintf(path, sizeof(path), "iotune/%s", rate_names[i][0]);
		text = def_get(d, path, NULL);
		printf("%-16s: %s\n", rate_names[i][0], text ? text : "0");
		xmlFree(text);
	}
	return VMM_OK;
}

static int show_rates(const char *guest, const char *disk)
{
	struct json_object *list = NULL, *in = NULL, *o, *n;
	int status = call(guest, "query-block", NULL, &list);

	for (size_t i = 0; !status && i < json_object_array_length(list); i++) {
		o = json_object_array_get_idx(list, i);
		if (!strcmp(json_object_get_string(json_object_object_get(o, "device")), disk))
			in = json_object_object_get(o, "inserted");
	}
	for (unsigned int i = 0; in && i < 6; i++)
		if (json_object_object_get_ex(in, rate_names[i][1], &n))
			printf("%-16s: %" PRId64 "\n", rate_names[i][0], json_object_get_int64(n));
	if (!status && !in) {
		cli_error("%s: it has no disk %s", guest, disk);
		status = VMM_ERR_SETUP;
	}
	json_object_put(list);
	return status;
}

static int set_rates(struct tuning *t, const char *const v[], const char *disk, struct json_object *args)
{
	int status = VMM_OK;

	for (unsigned int i = 0; i < 6 && !status && t->scope.config; i++) {
		char path[64];

		snprintf(path, sizeof(path), "iotune/%s", rate_names[i][0]);
		status = put_config(&t->def, path, NULL, v[i]);
	}
	status = status ?: tune_check(t);
	if (!status && t->scope.live) {
		json_object_object_add(args, "device", json_object_new_string(disk));
		status = call(t->g.name, "block_set_io_throttle", json_object_get(args), NULL);
	}
	return status ?: tune_keep(t);
}

static int cmd_blkdeviotune(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *args;
	const char *v[O_OWN + 7], *disk;
	struct tuning t;
	bool any = false, ok = true;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	disk = argv[optind + 1];
	args = json_object_new_object();
	for (unsigned int i = 0; i < 6 && ok; i++) {
		any |= v[O_OWN + i] != NULL;
		ok = put_num(cmd, args, cmd->opts[O_OWN + i].name, rate_names[i][1], v[O_OWN + i], 0);
	}
	if (!ok) {
		json_object_put(args);
		return VMM_ERR_USAGE;
	}
	status = tune_begin(cmd, v, argv[optind], DEF_DISK, disk, &t);
	if (!status && any)
		status = set_rates(&t, v + O_OWN, disk, args);
	else if (!status)
		status = t.scope.live ? show_rates(t.g.name, disk) : show_rates_config(&t.def);
	json_object_put(args);
	tune_end(&t);
	return status;
}

static const struct cli_cmd blkdeviotune_verb = {
	.name = "blkdeviotune", .group = CLI_CHANGE, .args = "NAME DISK", .run = cmd_blkdeviotune,
	.summary = "show or change what a guest's disk may carry in a second",
	.help = "DISK is a target, vda. 0 is no limit; what is not given is 0 where anything is.\n\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS,
		[O_OWN] = { "total-bytes-sec", 0, "N", "both ways" }, { "read-bytes-sec", 0, "N", "read" },
		{ "write-bytes-sec", 0, "N", "written" }, { "total-iops-sec", 0, "N", "requests" },
		{ "read-iops-sec", 0, "N", "requests to read" }, { "write-iops-sec", 0, "N", "other requests" }),
};
CLI_VERB(blkdeviotune_verb);

/* "AVERAGE[,PEAK[,BURST]]" in KiB; pieces that are not there are "". */
struct rate_text {
	char average[24], burst[24];
};

static bool take_rate(const struct cli_cmd *cmd, const char *text, struct rate_text *r)
{
	int end = 0;

	*r = (struct rate_text){ .average = "0" };
	if (!text)
		return true;
	if (sscanf(text, "%23[0-9]%n,%*[0-9],%23[0-9]%n", r->average, &end, r->burst, &end) >= 1 &&
	    (!text[end] || (text[end] == ',' && !text[end + 1 + strspn(text + end + 1, "0123456789")])))
		return true;
	cli_error("%s: %s: not AVERAGE,PEAK,BURST in KiB; 0 is no limit", cmd->name, text);
	return false;
}

static bool put_rate(const struct cli_cmd *cmd, struct json_object *args, const char *key, const char *burst_key, const struct rate_text *r)
{
	return put_num(cmd, args, NULL, key, r->average, 10) &&
	       put_num(cmd, args, NULL, burst_key, r->burst[0] ? r->burst : NULL, 10);
}

static int put_rate_config(struct def *d, const char *path, const struct rate_text *r)
{
	int status = strcmp(r->average, "0") ? VMM_OK : put_config(d, path, NULL, NULL);

	if (strcmp(r->average, "0"))
		status = put_config(d, path, "average", r->average) ?: put_config(d, path, "burst", r->burst[0] ? r->burst : NULL);
	return status;
}

static int cmd_domiftune(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *args;
	const char *v[O_OWN + 3];
	struct rate_text in, out;
	struct tuning t;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	if (!take_rate(cmd, v[O_OWN], &in) || !take_rate(cmd, v[O_OWN + 1], &out))
		return VMM_ERR_USAGE;
	args = json_object_new_object();
	json_object_object_add(args, "id", json_object_new_string(argv[optind + 1]));
	if (!put_rate(cmd, args, "inbound", "inbound-burst", &in) || !put_rate(cmd, args, "outbound", "outbound-burst", &out)) {
		json_object_put(args);
		return VMM_ERR_USAGE;
	}
	status = tune_begin(cmd, v, argv[optind], DEF_NIC, argv[optind + 1], &t);
	if (!status && t.scope.config)
		status = put_rate_config(&t.def, "bandwidth/inbound", &in) ?: put_rate_config(&t.def, "bandwidth/outbound", &out);
	status = status ?: tune_check(&t);
	if (!status && t.scope.live)
		status = call(t.g.name, "x-hvx-set-nic-rates", json_object_get(args), NULL);
	status = status ?: tune_keep(&t);
	json_object_put(args);
	tune_end(&t);
	return status;
}

static const struct cli_cmd domiftune_verb = {
	.name = "domiftune", .group = CLI_CHANGE, .args = "NAME INTERFACE", .run = cmd_domiftune,
	.summary = "change what a guest's network interface may carry in a second",
	.help =
"INTERFACE is a MAC address or net0, net1, ... A rate is AVERAGE,PEAK,BURST in KiB, of\n"
"which PEAK has no effect; 0 is no limit, and so is what is not given.\n"
"\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS, [O_OWN] = { "inbound", 0, "RATE", "what the guest receives" }, { "outbound", 0, "RATE", "what it sends" }),
};
CLI_VERB(domiftune_verb);
