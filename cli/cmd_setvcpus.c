// SPDX-License-Identifier: GPL-2.0-only
/* hvx setvcpus: vCPUs that come and go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "plug.h"
#include "store.h"

#define OUT_MS 60000
#define MAX_VCPUS 64

enum { S_MAXIMUM = O_OWN, S_TIMEOUT, S_NR };

/* How many it has. -1 after a message. */
static int count_now(struct control *c)
{
	struct json_object *list = NULL;
	int n = -1;

	if (!control_do(c, "query-cpus-fast", NULL, &list))
		n = (int)json_object_array_length(list);
	json_object_put(list);
	return n;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int set_live(struct control *c, const char *guest, unsigned int want, long ms)
{
	struct json_object *args = json_object_new_object(), *event;
	int64_t end = now_ms() + ms, left;
	int n;

	json_object_object_add(args, "vcpus", json_object_new_int((int)want));
	if (control_do(c, "x-hvx-set-vcpus", args, NULL))
		return VMM_ERR_SETUP;
	while ((n = count_now(c)) > (int)want && (left = end - now_ms()) > 0) {
		event = control_event(c, (int)left);
		if (!event && errno != ETIMEDOUT) {
			cli_error("%s: the guest has ended", guest);
			return VMM_ERR_SETUP;
		}
		json_object_put(event);
	}
	if (n < 0)
		return VMM_ERR_SETUP;
	if (n <= (int)want)
		return VMM_OK;
	cli_error("%s: the guest has not let go of vCPUs in %ld s, and has %d; they still go when it does so later. "
		  "A kernel without ACPI hotplug of CPUs, a paused guest or one that is not up yet cannot", guest, ms / 1000, n);
	return CLI_TIMEOUT;
}

static int set_config(const char *guest, unsigned int want, bool maximum)
{
	const char *why = "out of memory";
	size_t len, new_len;
	char *old = store_read(guest, &len), *text = NULL;
	struct domain *dom = old ? store_parse(guest, old, len, false) : NULL, *new = NULL;
	unsigned int now;
	int status = VMM_ERR_SETUP;

	if (!dom) {
		free(old);
		return status;
	}
	now = !maximum ? want : dom->vcpus < want ? dom->vcpus : want;
	if (!maximum && want > dom->max_vcpus) {
		cli_error("%s: %u vCPUs are the most that it can have; --maximum changes that", guest, dom->max_vcpus);
		goto out;
	}
	text = livexml_vcpus(old, len, now, maximum ? want : 0, &new_len, &why);
	new = text ? store_parse(guest, text, new_len, false) : NULL;
	if (!text)
		cli_error("%s: its definition: %s", guest, why);
	else if (new && store_write(guest, text, new_len))
		cli_error("%s: its definition: %s", guest, strerror(errno));
	else if (new)
		status = VMM_OK;
out:
	free(old);
	free(text);
	domain_free(dom);
	domain_free(new);
	return status;
}

static int change(const struct cli_cmd *cmd, const char *v[], struct guest *g, unsigned int want, long ms)
{
	struct control *c;
	struct scope s;
	int status = scope_find(cmd, v, g, &s), lock;

	if (!status && v[S_MAXIMUM] && s.live) {
		cli_error("%s: --maximum is of the definition, for the next start: add --config", cmd->name);
		return VMM_ERR_USAGE;
	}
	if (!status && s.config) {
		lock = store_lock();
		status = lock < 0 ? VMM_ERR_SETUP : set_config(g->name, want, v[S_MAXIMUM]);
		if (lock >= 0)
			close(lock);
	}
	if (!status && s.live) {
		c = control_open_or_say(g->name);
		status = c ? set_live(c, g->name, want, ms) : VMM_ERR_SETUP;
		control_close(c);
	}
	return status;
}

static int cmd_setvcpus(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[S_NR + 1];
	struct guest g;
	long want, ms;
	int status = cli_parse(cmd, argc, argv, v, 2, 2);

	if (status >= 0)
		return status;
	if (!cli_number(cmd, NULL, argv[optind + 1], 1, MAX_VCPUS, &want))
		return VMM_ERR_USAGE;
	ms = v[S_TIMEOUT] ? cli_seconds(cmd, "timeout", v[S_TIMEOUT]) : OUT_MS;
	if (ms < 0)
		return VMM_ERR_USAGE;
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	status = change(cmd, v, &g, (unsigned int)want, ms);
	guest_free(&g);
	return status;
}

static const struct cli_cmd setvcpus_verb = {
	.name = "setvcpus", .group = CLI_CHANGE, .args = "NAME COUNT", .run = cmd_setvcpus,
	.summary = "let a guest have more or fewer vCPUs",
	.help =
"Up to the number in <vcpu>, of which current= says how many it starts with. vCPUs that\n"
"come are there at once; most systems bring them into use by themselves, others by\n"
"`echo 1 > /sys/devices/system/cpu/cpuN/online`. The guest gives up those that shall go\n"
"in its own time: this waits until it has, or says that it keeps them (exit status 124).\n"
"\n" HELP_SCOPE,
	.opts = OPTS(SCOPE_OPTS,
		[S_MAXIMUM] = { "maximum", 'm', NULL, "of the definition: the most that it can have" },
		[S_TIMEOUT] = { "timeout", 't', "SECONDS", "wait so long for the guest (default: 60)" }),
};
CLI_VERB(setvcpus_verb);
