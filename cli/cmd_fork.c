// SPDX-License-Identifier: GPL-2.0-only
/* hvx fork: guests that go on from where another one stands. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent.h"
#include "exec.h"
#include "guest.h"
#include "template.h"
#include "vmm/config.h"
#include "vmm/domxml.h"

#define MAX_COUNT	10000
#define AGENT_MS	30000	/* it ran in the template: it answers as soon as it gets the CPU */
#define SCRIPT_MS	60000

struct forks {
	bool hostname, json;
	struct json_object *list;	/* of names, with json */
};

/*
 * In the guest. $1: its name; then pairs of MAC addresses, the template's and the fork's. A
 * driver keeps the address that it knows until it is told another.
 */
static const char script[] =
	"n=$1; shift\n"
	"hostnamectl set-hostname \"$n\" 2>/dev/null || {\n"
	"	if command -v hostname >/dev/null; then hostname \"$n\"; else echo \"$n\" >/proc/sys/kernel/hostname; fi &&\n"
	"	echo \"$n\" >/etc/hostname; } || exit 1\n"
	"while [ $# -ge 2 ]; do\n"
	"	for i in /sys/class/net/*; do\n"
	"		[ \"$(cat \"$i/address\" 2>/dev/null)\" != \"$1\" ] || [ ! -e \"$i/device\" ] ||\n"
	"			ip link set dev \"${i##*/}\" address \"$2\" || exit 1\n"
	"	done\n"
	"	shift 2\n"
	"done\n";

/* nics: what the guest has now; to: what its XML says. */
static int run_script(const char *name, struct json_object *nics, const struct domain *to)
{
	char macs[DOM_MAX_NICS][18], *argv[5 + 2 * DOM_MAX_NICS + 1], *sock = NULL;
	struct agent_status st = { 0 };
	struct agent *a;
	unsigned int i, n = 0;
	int ret;

	argv[n++] = "/bin/sh";
	argv[n++] = "-c";
	argv[n++] = (char *)script;
	argv[n++] = "hvx";
	argv[n++] = (char *)name;
	for (i = 0; i < to->nr_nics && i < json_object_array_length(nics); i++) {
		const char *now = json_object_get_string(json_object_object_get(json_object_array_get_idx(nics, i), "mac"));
		const uint8_t *m = to->nic[i].mac;

		snprintf(macs[i], sizeof(macs[i]), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
		argv[n++] = (char *)(now ? now : "");
		argv[n++] = macs[i];
	}
	argv[n] = NULL;
	if (exec_find("fork", name, &sock))
		return VMM_ERR_SETUP;
	a = exec_agent("fork", name, sock, AGENT_MS, -1);
	free(sock);
	if (!a)
		return VMM_ERR_SETUP;
	ret = agent_exec_wait(a, argv, SCRIPT_MS, &st);
	if (ret)
		cli_error("fork: --hostname: %s: %s", name, a->text);
	else if (st.code)
		cli_error("fork: --hostname: %s: %.*s", name, (int)strcspn(st.err ? st.err : "", "\n"),
			  st.err ? st.err : "");
	ret = ret || st.code ? VMM_ERR_SETUP : VMM_OK;
	if (st.exited)
		agent_status_free(&st);
	agent_close(a);
	return ret;
}

/* Tell the guest its own name and addresses. An exit status. */
static int rename_guest(const char *name)
{
	struct json_object *nics = NULL;
	struct domain *to = NULL;
	struct guest g;
	struct control *c = guest_control(name, &g);
	int ret = VMM_ERR_SETUP;

	if (!c)
		return ret;
	if (!control_do(c, "x-hvx-query-nics", NULL, &nics) && json_object_is_type(nics, json_type_array))
		to = guest_domain(&g, false);
	if (to)
		ret = run_script(name, nics, to);
	domain_free(to);
	json_object_put(nics);
	control_close(c);
	guest_free(&g);
	return ret;
}

static int begun(void *opaque, const char *name)
{
	struct forks *f = opaque;

	if (f->json) {
		json_object_array_add(f->list, json_object_new_string(name));
	} else {
		printf("%s\n", name);
		fflush(stdout);
	}
	return f->hostname ? rename_guest(name) : VMM_OK;
}

enum { O_COUNT, O_HOSTNAME, O_JSON, O_NAME, NR_OPTS };

static int cmd_fork(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[NR_OPTS];
	struct template t;
	struct forks f = { 0 };
	long count = 1;
	int status = cli_parse(cmd, argc, argv, value, 1, 1);

	if (status >= 0)
		return status;
	if (value[O_COUNT] && !cli_number(cmd, "count", value[O_COUNT], 1, MAX_COUNT, &count))
		return VMM_ERR_USAGE;
	if (value[O_NAME] && (count > 1 || !guest_name_ok(value[O_NAME]))) {
		cli_error("fork: --name %s: %s", value[O_NAME], count > 1 ? "for one fork only; without it, each gets a number" :
			  "a name has 1 to 64 characters, no '/', and no dot in front");
		return VMM_ERR_USAGE;
	}
	f.hostname = value[O_HOSTNAME];
	f.json = value[O_JSON];
	f.list = json_object_new_array();
	status = VMM_ERR_SETUP;
	if (!template_open(&t, argv[optind])) {
		status = run_forks(&t, argv[optind], value[O_NAME], (unsigned int)count, begun, &f);
		template_close(&t);
	}
	if (f.json)
		print_json(f.list);
	else
		json_object_put(f.list);
	return status;
}

/* clang-format off: tables are read by row */

static const struct cli_cmd fork_verb = {
	.name = "fork", .group = CLI_STATE, .args = "NAME", .run = cmd_fork,
	.summary = "make guests that go on from where another one stands",
	.help =
"NAME is a running guest, or a file that `hvx save --plain` wrote. Each fork runs in\n"
"the background, shares the template's memory until it writes to it, and has a name,\n"
"a UUID and MAC addresses of its own. What it writes to its disks goes with it.\n"
"\n"
"A running guest goes on afterwards, with memory of its own for what it writes from\n"
"then on. Where it has disks that it writes to, it stands still instead, for the rest\n"
"of its life: its forks read them. A file's disks must stay as they are, too. To make\n"
"many forks, suspend the guest before: each is then as quick as the first.\n"
"\n"
"The guest's kernel is told that it was copied (vmgenid), and takes new random numbers.\n"
"It goes on using the host name and the MAC addresses that it knows, until --hostname\n"
"tells it its own. Prints the names of the forks.\n",
	.opts = OPTS(
		{ "count", 'c', "N", "make N forks" },
		{ "hostname", 'H', NULL, "through its agent, call each guest as its fork, and set its MAC addresses" },
		{ "json", 'j', NULL, "print the names as an array" },
		{ "name", 'n', "NAME", "call the fork NAME (default: the template's, and a number)" }),
};
CLI_VERB(fork_verb);

/* clang-format on */
