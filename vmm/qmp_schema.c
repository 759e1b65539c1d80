// SPDX-License-Identifier: GPL-2.0-only
/* Arguments of commands: checked, fetched, described. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp.h"

/* No command is registered in some test programs: the section's bounds exist all the same. */
static const struct qmp_command *const none __attribute__((used, section("hvx_qmp"))) = NULL;

static const char *const type_name[] = {
	[QMP_ANY] = "any", [QMP_STR] = "string", [QMP_INT] = "int", [QMP_NUM] = "number",
	[QMP_BOOL] = "bool", [QMP_OBJ] = "object", [QMP_LIST] = "list",
};

static bool has_type(struct json_object *v, enum qmp_type type)
{
	switch (type) {
	case QMP_ANY:
		return true;
	case QMP_STR:
		/* C strings everywhere: a NUL would cut it. */
		return json_object_is_type(v, json_type_string) &&
		       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
	case QMP_INT:
		return json_object_is_type(v, json_type_int);
	case QMP_NUM:
		return json_object_is_type(v, json_type_int) ||
		       (json_object_is_type(v, json_type_double) && isfinite(json_object_get_double(v)));
	case QMP_BOOL:
		return json_object_is_type(v, json_type_boolean);
	case QMP_OBJ:
		return json_object_is_type(v, json_type_object);
	case QMP_LIST:
		return json_object_is_type(v, json_type_array);
	}
	return false;
}

static bool is_choice(const char *const *choices, const char *s)
{
	for (; *choices; choices++)
		if (!strcmp(*choices, s))
			return true;
	return false;
}

static const struct qmp_arg *find_arg(const struct qmp_command *cmd, const char *name)
{
	const struct qmp_arg *a;

	for (a = cmd->args; a && a->name; a++)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

static char *check_value(const struct qmp_arg *a, struct json_object *v)
{
	char *why = NULL;
	int n = 0;

	if (!has_type(v, a->type)) {
		n = asprintf(&why, "%s: not of type %s", a->name, type_name[a->type]);
	} else if (a->type == QMP_INT && a->min != a->max) {
		int64_t i;

		errno = 0;
		i = json_object_get_int64(v);
		/* json-c keeps numbers above INT64_MAX apart and caps them here. */
		if (errno || i < a->min || i > a->max)
			n = asprintf(&why, "%s: from %lld to %lld", a->name, (long long)a->min,
				     (long long)a->max);
	} else if (a->type == QMP_STR && a->choices && !is_choice(a->choices, json_object_get_string(v))) {
		n = asprintf(&why, "%s: %.64s is not one of its values", a->name, json_object_get_string(v));
	}
	return n < 0 ? strdup("out of memory") : why;
}

char *qmp_check_args(const struct qmp_command *cmd, struct json_object *args)
{
	const struct qmp_arg *a;
	char *why = NULL;

	if (args) {
		json_object_object_foreach(args, key, value) {
			a = find_arg(cmd, key);
			if (!a && asprintf(&why, "%.64s: there is no such argument", key) < 0)
				why = strdup("out of memory");
			if (a)
				why = check_value(a, value);
			if (why)
				return why;
		}
	}
	for (a = cmd->args; a && a->name; a++) {
		if (a->optional || (args && json_object_object_get_ex(args, a->name, NULL)))
			continue;
		return asprintf(&why, "%s: missing", a->name) < 0 ? strdup("out of memory") : why;
	}
	return NULL;
}

const char *qmp_str(struct json_object *args, const char *name)
{
	struct json_object *v = args ? json_object_object_get(args, name) : NULL;

	return v ? json_object_get_string(v) : NULL;
}

int64_t qmp_int(struct json_object *args, const char *name, int64_t otherwise)
{
	struct json_object *v = args ? json_object_object_get(args, name) : NULL;

	return v ? json_object_get_int64(v) : otherwise;
}

bool qmp_bool(struct json_object *args, const char *name, bool otherwise)
{
	struct json_object *v = args ? json_object_object_get(args, name) : NULL;

	return v ? json_object_get_boolean(v) : otherwise;
}

/* ---------------------------------------------------------- description */

static struct json_object *describe_arg(const struct qmp_arg *a)
{
	struct json_object *o = json_object_new_object(), *list;
	const char *const *c;

	json_object_object_add(o, "name", json_object_new_string(a->name));
	json_object_object_add(o, "type", json_object_new_string(type_name[a->type]));
	json_object_object_add(o, "optional", json_object_new_boolean(a->optional));
	if (a->help)
		json_object_object_add(o, "help", json_object_new_string(a->help));
	if (a->type == QMP_INT && a->min != a->max) {
		json_object_object_add(o, "min", json_object_new_int64(a->min));
		json_object_object_add(o, "max", json_object_new_int64(a->max));
	}
	if (a->choices) {
		list = json_object_new_array();
		for (c = a->choices; *c; c++)
			json_object_array_add(list, json_object_new_string(*c));
		json_object_object_add(o, "values", list);
	}
	return o;
}

struct json_object *qmp_describe(const struct qmp_command *cmd)
{
	struct json_object *o = json_object_new_object(), *args = json_object_new_array();
	const struct qmp_arg *a;

	json_object_object_add(o, "name", json_object_new_string(cmd->name));
	json_object_object_add(o, "help", json_object_new_string(cmd->help));
	for (a = cmd->args; a && a->name; a++)
		json_object_array_add(args, describe_arg(a));
	json_object_object_add(o, "arguments", args);
	if (cmd->returns)
		json_object_object_add(o, "returns", json_object_new_string(cmd->returns));
	return o;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct qmp_command *const *)a)->name,
		      (*(const struct qmp_command *const *)b)->name);
}

const struct qmp_command **qmp_sorted(size_t *n)
{
	const struct qmp_command *const *c, **list;

	*n = 0;
	list = calloc((size_t)(__stop_hvx_qmp - __start_hvx_qmp) + 1, sizeof(*list));
	if (!list)
		return NULL;
	for (c = __start_hvx_qmp; c < __stop_hvx_qmp; c++)
		if (*c)
			list[(*n)++] = *c;
	qsort(list, *n, sizeof(*list), by_name);
	return list;
}

void qmp_print_markdown(void)
{
	const struct qmp_command **list;
	const struct qmp_arg *a;
	const char *const *c;
	size_t i, n;

	list = qmp_sorted(&n);
	for (i = 0; list && i < n; i++) {
		printf("### %s\n\n%s\n\n", list[i]->name, list[i]->help);
		for (a = list[i]->args; a && a->name; a++) {
			printf("- `%s` (%s%s): %s", a->name, type_name[a->type],
			       a->optional ? ", optional" : "", a->help ? a->help : "");
			if (a->type == QMP_INT && a->min != a->max)
				printf("; %lld to %lld", (long long)a->min, (long long)a->max);
			for (c = a->choices; c && *c; c++)
				printf("%s`%s`", c == a->choices ? ": " : ", ", *c);
			putchar('\n');
		}
		printf("%sReturns %s.\n\n", list[i]->args ? "\n" : "",
		       list[i]->returns ? list[i]->returns : "{}");
	}
	free(list);
}
