// SPDX-License-Identifier: GPL-2.0-only
/* hvx host: run the checks, print what came of them. */
#include <json-c/json.h>
#include <unistd.h>
#include "cli.h"
#include "host.h"

static const char *const names[] = { [HOST_PASS] = "PASS", [HOST_WARN] = "WARN", [HOST_FAIL] = "FAIL" };

struct report {
	struct json_object *array;	/* NULL: text */
	unsigned int count[3];
};

static void print_result(void *opaque, const struct host_result *r)
{
	struct report *rep = opaque;
	struct json_object *o;

	rep->count[r->level]++;
	if (!rep->array) {
		printf("%s  %-12s %s\n", names[r->level], r->check, r->text);
		if (r->remedy[0])
			printf("                   -> %s\n", r->remedy);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "check", json_object_new_string(r->check));
	json_object_object_add(o, "result", json_object_new_string(names[r->level]));
	json_object_object_add(o, "text", json_object_new_string(r->text));
	json_object_object_add(o, "remedy", json_object_new_string(r->remedy));
	json_object_array_add(rep->array, o);
}

int cmd_host(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct report rep = { 0 };
	const char *value;
	bool json = false;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		if (c == 'j')
			json = true;
		else
			return c == CLI_OPT_HELP ? VMM_OK : VMM_ERR_USAGE;
	}
	if (optind < argc) {
		cli_error("host: %s: takes no arguments", argv[optind]);
		return VMM_ERR_USAGE;
	}
	if (json)
		rep.array = json_object_new_array();
	host_check("", print_result, &rep);
	if (json) {
		puts(json_object_to_json_string_ext(rep.array, JSON_C_TO_STRING_PRETTY |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(rep.array);
	} else {
		printf("%u passed, %u warnings, %u failed\n", rep.count[HOST_PASS], rep.count[HOST_WARN],
		       rep.count[HOST_FAIL]);
	}
	return rep.count[HOST_FAIL] ? VMM_ERR_HOST : VMM_OK;
}
