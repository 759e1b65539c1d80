// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verbs on a running guest's share of the host: its control group (vmm/cgroup.h), its
 * threads' CPUs, and the limits of its disks and interfaces.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"
#include "vmm/cgroup.h"
#include "vmm/domxml_int.h"

/* ------------------------------------------------------- control group */

/* Its group, and the guest, which guest_free() ends. NULL after a message. */
static char *group_of(const char *what, struct guest *g)
{
	char *group;

	if (guest_find(what, g))
		return NULL;
	group = g->dir ? cgroup_of(g->pid) : NULL;
	if (!g->dir)
		cli_error("%s: the guest is not running", g->name);
	else if (!group)
		cli_error("%s: it has no control group of its own: it was started without <cputune>, <memtune> and <blkiotune>, or none was delegated; "
			  "put one into its XML and start it again, as a user with: systemd-run --user --scope -p Delegate=yes hvx ...", g->name);
	if (!group)
		guest_free(g);
	return group;
}

/* "max", or a number that is scaled; *out "max" stays. False: neither. */
static bool value_of(const char *text, unsigned int shift, char *out, size_t size)
{
	unsigned long long n;
	char *end;

	if (!strcmp(text, "max") || !strcmp(text, "-1")) {
		snprintf(out, size, "max");
		return true;
	}
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > (unsigned long long)INT64_MAX >> shift)
		return false;
	snprintf(out, size, "%llu", n << shift);
	return true;
}

/* A number of a group, under virsh's name. */
struct param {
	const char *name, *file;
	unsigned int word;	/* of the file's line, from 0 */
	unsigned int shift;	/* shown and set in units of 1 << shift */
	const char *prefix;	/* before what is written: "default " */
};

static void show(const char *group, const struct param *p)
{
	char line[128], *save = NULL, *word;
	unsigned int i;

	if (cgroup_read(group, p->file, line, sizeof(line)))
		return;
	word = strtok_r(line, " ", &save);
	if (p->prefix && word && !strcmp(word, "default"))
		word = strtok_r(NULL, " ", &save);
	for (i = 0; word && i < p->word; i++)
		word = strtok_r(NULL, " ", &save);
	if (word && strcmp(word, "max"))
		printf("%-16s: %llu\n", p->name, strtoull(word, NULL, 10) >> p->shift);
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
	} else {
		snprintf(out, sizeof(out), "%s%s", p->prefix ? p->prefix : "", value);
	}
	ret = cgroup_write(group, p->file, out);
	if (!ret)
		return VMM_OK;
	cli_error("%s: %s: its control group does not take %s: %s", g->name, p->name, out, strerror(-ret));
	return VMM_ERR_SETUP;
}

/* value[i], where it was given, to params[i]; where none was, all are shown. */
static int group_verb(const char *guest, const struct param *params, unsigned int n, const char *const value[])
{
	bool any = false;
	int status = VMM_OK;
	struct guest g;
	unsigned int i;
	char *group = group_of(guest, &g);

	if (!group)
		return VMM_ERR_SETUP;
	for (i = 0; i < n && !status; i++) {
		any |= value[i] != NULL;
		if (value[i])
			status = set(&g, group, &params[i], value[i]);
	}
	for (i = 0; i < n && !any; i++)
		show(group, &params[i]);
	free(group);
	guest_free(&g);
	return status;
}

static const struct param sched_params[] = {
	{ .name = "cpu_shares", .file = "cpu.weight" },
	{ .name = "global_period", .file = "cpu.max", .word = 1 },
	{ .name = "global_quota", .file = "cpu.max" },
};

static int cmd_schedinfo(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[3], *value[3] = { NULL }, *eq;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);
	unsigned int i;

	if (status >= 0)
		return status;
	if (argc - optind > 1 && !v[0])
		v[0] = argv[optind + 1];
	if (v[0]) {
		eq = strchr(v[0], '=');
		for (i = 0; eq && i < 3; i++)
			if (strlen(sched_params[i].name) == (size_t)(eq - v[0]) && !strncmp(v[0], sched_params[i].name, (size_t)(eq - v[0])))
				value[i] = eq + 1;
		if (!value[0] && !value[1] && !value[2]) {
			cli_error("%s: %s: cpu_shares=N, global_period=US or global_quota=US", cmd->name, v[0]);
			return VMM_ERR_USAGE;
		}
	}
	return group_verb(argv[optind], sched_params, 3, value);
}

#define LIVE_OPT { "live", 'l', NULL, "the guest that runs (the default, and all there is)" }
#define HELP_GROUP \
"The guest needs a control group of its own: see hvx-domain-xml(5), <cputune>. Its\n" \
"definition does not change.\n"

static const struct cli_cmd schedinfo_verb = {
	.name = "schedinfo", .group = CLI_CHANGE, .args = "NAME [PARAMETER=VALUE]", .run = cmd_schedinfo,
	.summary = "show or change a running guest's share of CPU time",
	.help =
"cpu_shares is its weight among its neighbours, 1 to 10000; global_quota the time in us\n"
"that all of it may run in each global_period, or max.\n"
"\n" HELP_GROUP,
	.opts = OPTS({ "set", 's', "PARAMETER=VALUE", "change this one" }, LIVE_OPT),
};
CLI_VERB(schedinfo_verb);

static const struct param mem_params[] = {
	{ .name = "hard_limit", .file = "memory.max", .shift = 10 },
	{ .name = "soft_limit", .file = "memory.high", .shift = 10 },
	{ .name = "swap_hard_limit", .file = "memory.swap.max", .shift = 10 },
	{ .name = "min_guarantee", .file = "memory.min", .shift = 10 },
};

static int cmd_memtune(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[6];
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	return status >= 0 ? status : group_verb(argv[optind], mem_params, 4, v);
}

static const struct cli_cmd memtune_verb = {
	.name = "memtune", .group = CLI_CHANGE, .args = "NAME", .run = cmd_memtune,
	.summary = "show or change how much of the host's memory a running guest may take",
	.help =
"In KiB, or max. These are of the guest with its VMM; --swap-hard-limit is of swap\n"
"alone. Above --hard-limit the kernel ends the VMM.\n"
"\n" HELP_GROUP,
	.opts = OPTS({ "hard-limit", 0, "KIB", "never more than this" },
		     { "soft-limit", 0, "KIB", "above this it is slowed down and swapped out" },
		     { "swap-hard-limit", 0, "KIB", "never more swap than this" },
		     { "min-guarantee", 0, "KIB", "never swapped out below this" }, LIVE_OPT),
};
CLI_VERB(memtune_verb);

static const struct param io_params[] = { { .name = "weight", .file = "io.weight", .prefix = "default " } };

static int cmd_blkiotune(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[3];
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	return status >= 0 ? status : group_verb(argv[optind], io_params, 1, v);
}

static const struct cli_cmd blkiotune_verb = {
	.name = "blkiotune", .group = CLI_CHANGE, .args = "NAME", .run = cmd_blkiotune,
	.summary = "show or change a running guest's weight at the host's block devices",
	.help = "1 to 10000; of an I/O scheduler that knows weights.\n\n" HELP_GROUP,
	.opts = OPTS({ "weight", 0, "N", "change it" }, LIVE_OPT),
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

static int cmd_vcpupin(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[2], *which, *cpus;
	struct json_object *list = NULL, *o;
	struct control *c;
	struct guest g;
	bool found = false;
	int status = cli_parse(cmd, argc, argv, v, 1, 3);

	if (status >= 0)
		return status;
	which = argc - optind > 1 ? argv[optind + 1] : NULL;
	cpus = argc - optind > 2 ? argv[optind + 2] : NULL;
	c = guest_control(argv[optind], &g);
	if (!c)
		return VMM_ERR_SETUP;
	status = control_do(c, "query-cpus-fast", NULL, &list) ? VMM_ERR_SETUP : VMM_OK;
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
		cli_error("%s: it has no vCPU %s", g.name, which ? which : "");
		status = VMM_ERR_SETUP;
	}
	json_object_put(list);
	control_close(c);
	guest_free(&g);
	return status;
}

static const struct cli_cmd vcpupin_verb = {
	.name = "vcpupin", .group = CLI_CHANGE, .args = "NAME [VCPU] [CPUS]", .run = cmd_vcpupin,
	.summary = "show or change the host's CPUs that a running guest's vCPUs run on",
	.help = "CPUS is like 0-3,^2. Without it, those of VCPU, or of all, are shown. The definition\ndoes not change.\n",
	.opts = OPTS(LIVE_OPT),
};
CLI_VERB(vcpupin_verb);

static int cmd_emulatorpin(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[2];
	struct guest g;
	int status = cli_parse(cmd, argc, argv, v, 1, 2);

	if (status >= 0)
		return status;
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	if (!g.dir)
		cli_error("%s: the guest is not running", g.name);
	status = g.dir ? pin_thread("emulator", g.pid, argc - optind > 1 ? argv[optind + 1] : NULL) : VMM_ERR_SETUP;
	guest_free(&g);
	return status;
}

static const struct cli_cmd emulatorpin_verb = {
	.name = "emulatorpin", .group = CLI_CHANGE, .args = "NAME [CPUS]", .run = cmd_emulatorpin,
	.summary = "show or change the host's CPUs that a running guest's VMM runs on",
	.help = "Its main thread's; CPUS is like 0-3,^2. The definition does not change.\n",
	.opts = OPTS(LIVE_OPT),
};
CLI_VERB(emulatorpin_verb);

/* --------------------------------------------------- disks, interfaces */

static bool put_num(const struct cli_cmd *cmd, struct json_object *args, const char *key, const char *text, unsigned int shift)
{
	unsigned long long n;
	char *end;

	if (!text)
		return true;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > (unsigned long long)INT64_MAX >> shift) {
		cli_error("%s: %s: not a number; 0 is no limit", cmd->name, text);
		return false;
	}
	json_object_object_add(args, key, json_object_new_int64((int64_t)(n << shift)));
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

static int cmd_blkdeviotune(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *args;
	const char *v[8];
	bool any = false;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	for (unsigned int i = 0; i < 6; i++)
		any |= v[i] != NULL;
	if (!any)
		return show_rates(argv[optind], argv[optind + 1]);
	args = json_object_new_object();
	json_object_object_add(args, "device", json_object_new_string(argv[optind + 1]));
	for (unsigned int i = 0; i < 6; i++)
		if (!put_num(cmd, args, rate_names[i][1], v[i], 0)) {
			json_object_put(args);
			return VMM_ERR_USAGE;
		}
	return call(argv[optind], "block_set_io_throttle", args, NULL);
}

static const struct cli_cmd blkdeviotune_verb = {
	.name = "blkdeviotune", .group = CLI_CHANGE, .args = "NAME DISK", .run = cmd_blkdeviotune,
	.summary = "show or change what a running guest's disk may carry in a second",
	.help = "DISK is a target, vda. 0 is no limit; what is not given is 0 where anything is. The\ndefinition does not change.\n",
	.opts = OPTS({ "total-bytes-sec", 0, "N", "both ways" }, { "read-bytes-sec", 0, "N", "read" },
		     { "write-bytes-sec", 0, "N", "written" }, { "total-iops-sec", 0, "N", "requests" },
		     { "read-iops-sec", 0, "N", "requests to read" }, { "write-iops-sec", 0, "N", "other requests" }, LIVE_OPT),
};
CLI_VERB(blkdeviotune_verb);

/* "AVERAGE[,PEAK[,BURST]]" in KiB. */
static bool put_rate(const struct cli_cmd *cmd, struct json_object *args, const char *key, const char *burst_key, const char *text)
{
	char *copy = text ? strdup(text) : NULL, *peak, *burst = NULL;
	bool ok;

	if (!text)
		return true;
	if (!copy)
		return false;
	peak = strchr(copy, ',');
	if (peak) {
		*peak++ = '\0';
		burst = strchr(peak, ',');
		if (burst)
			burst++;
	}
	ok = put_num(cmd, args, key, copy, 10) && put_num(cmd, args, burst_key, burst && *burst ? burst : NULL, 10);
	free(copy);
	return ok;
}

static int cmd_domiftune(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *args;
	const char *v[4];
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	args = json_object_new_object();
	json_object_object_add(args, "id", json_object_new_string(argv[optind + 1]));
	if (!put_rate(cmd, args, "inbound", "inbound-burst", v[0]) || !put_rate(cmd, args, "outbound", "outbound-burst", v[1])) {
		json_object_put(args);
		return VMM_ERR_USAGE;
	}
	return call(argv[optind], "x-hvx-set-nic-rates", args, NULL);
}

static const struct cli_cmd domiftune_verb = {
	.name = "domiftune", .group = CLI_CHANGE, .args = "NAME INTERFACE", .run = cmd_domiftune,
	.summary = "change what a running guest's network interface may carry in a second",
	.help =
"INTERFACE is a MAC address or net0, net1, ... A rate is AVERAGE,PEAK,BURST in KiB, of\n"
"which PEAK has no effect; 0 is no limit, and so is what is not given. The definition\n"
"does not change.\n",
	.opts = OPTS({ "inbound", 0, "RATE", "what the guest receives" }, { "outbound", 0, "RATE", "what it sends" }, LIVE_OPT),
};
CLI_VERB(domiftune_verb);
