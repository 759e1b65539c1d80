// SPDX-License-Identifier: GPL-2.0-only
/* hvx qmp: a command of the control socket, as it is. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "control.h"

static void print(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
}

static void print_events(struct control *c)
{
	struct json_object *o;

	while ((o = control_event(c, -1))) {
		print(o);
		json_object_put(o);
	}
}

int cmd_qmp(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct json_object *args = NULL, *ret = NULL;
	bool events = false;
	struct control *c;
	const char *value;
	int opt, status;

	while ((opt = cli_getopt(cmd, argc, argv, &value)) != -1) {
		if (opt != 'e')
			return opt == CLI_OPT_HELP ? VMM_OK : VMM_ERR_USAGE;
		events = true;
	}
	if (argc - optind < 2 || argc - optind > 3) {
		cli_error("qmp: a guest and a command are wanted; see: hvx help qmp");
		return VMM_ERR_USAGE;
	}
	if (argc - optind == 3) {
		args = json_tokener_parse(argv[optind + 2]);
		if (!args || !json_object_is_type(args, json_type_object)) {
			json_object_put(args);
			cli_error("qmp: %s: the arguments are a JSON object, {\"name\": value}", argv[optind + 2]);
			return VMM_ERR_USAGE;
		}
	}
	c = control_open_or_say(argv[optind]);
	if (!c) {
		json_object_put(args);
		return VMM_ERR_SETUP;
	}
	status = control_do(c, argv[optind + 1], args, &ret) ? VMM_ERR_SETUP : VMM_OK;
	if (!status)
		print(ret);
	json_object_put(ret);
	if (!status && events)
		print_events(c);
	control_close(c);
	return status;
}
