// SPDX-License-Identifier: GPL-2.0-only
/* The guest agent's commands, and what of their answers is believed. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent.h"

static int bad(struct agent *a, const char *command)
{
	a->error = AGENT_BAD;
	snprintf(a->text, sizeof(a->text), "the agent's answer to %s is not what its protocol says", command);
	agent_rest(a);
	return -1;
}

static bool member_int(struct json_object *o, const char *name, int64_t min, int64_t max, int64_t *out)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, name, &v) ||
	    !json_object_is_type(v, json_type_int))
		return false;
	*out = json_object_get_int64(v);
	return *out >= min && *out <= max;
}

/* false where it is absent. */
static bool member_bool(struct json_object *o, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_boolean) &&
	       json_object_get_boolean(v);
}

int agent_ping(struct agent *a)
{
	return agent_call(a, "guest-ping", NULL, NULL);
}

/* --- files --- */

int agent_file_open(struct agent *a, const char *path, const char *mode, int64_t *handle)
{
	struct json_object *args = json_object_new_object(), *ret = NULL;
	int err;

	json_object_object_add(args, "path", json_object_new_string(path));
	json_object_object_add(args, "mode", json_object_new_string(mode));
	if (agent_call(a, "guest-file-open", args, &ret))
		return -1;
	err = json_object_is_type(ret, json_type_int) ? 0 : bad(a, "guest-file-open");
	*handle = json_object_get_int64(ret);
	json_object_put(ret);
	return err;
}

static struct json_object *handle_args(int64_t handle)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "handle", json_object_new_int64(handle));
	return args;
}

long agent_file_read(struct agent *a, int64_t handle, void *buf, size_t size)
{
	struct json_object *args = handle_args(handle), *ret = NULL, *b64;
	int64_t count;
	long n = -1;

	json_object_object_add(args, "count", json_object_new_int64((int64_t)size));
	if (agent_call(a, "guest-file-read", args, &ret))
		return -1;
	if (member_int(ret, "count", 0, (int64_t)size, &count) && json_object_object_get_ex(ret, "buf-b64", &b64) &&
	    json_object_is_type(b64, json_type_string))
		n = base64_decode(json_object_get_string(b64), (size_t)json_object_get_string_len(b64), buf, size);
	if (n < 0 || n != count)
		n = bad(a, "guest-file-read");
	json_object_put(ret);
	return n;
}

int agent_file_write(struct agent *a, int64_t handle, const void *buf, size_t size)
{
	const char *p = buf;

	while (size) {
		size_t n = size < AGENT_CHUNK ? size : AGENT_CHUNK;
		struct json_object *args = handle_args(handle), *ret = NULL;
		char *b64 = base64_encode(p, n);
		int64_t count;
		bool ok;

		json_object_object_add(args, "buf-b64", json_object_new_string(b64 ? b64 : ""));
		free(b64);
		if (agent_call(a, "guest-file-write", args, &ret))
			return -1;
		ok = member_int(ret, "count", 1, (int64_t)n, &count);
		json_object_put(ret);
		if (!ok)
			return bad(a, "guest-file-write");
		p += count;
		size -= (size_t)count;
	}
	return 0;
}

int agent_file_flush(struct agent *a, int64_t handle)
{
	return agent_call(a, "guest-file-flush", handle_args(handle), NULL);
}

int agent_file_close(struct agent *a, int64_t handle)
{
	return agent_call(a, "guest-file-close", handle_args(handle), NULL);
}

/* --- processes --- */

static struct json_object *strings(char *const list[])
{
	struct json_object *array = json_object_new_array();

	for (; *list; list++)
		json_object_array_add(array, json_object_new_string(*list));
	return array;
}

int agent_exec(struct agent *a, char *const argv[], char *const env[], bool capture, int64_t *pid)
{
	struct json_object *args = json_object_new_object(), *ret = NULL;
	bool ok;

	json_object_object_add(args, "path", json_object_new_string(argv[0]));
	json_object_object_add(args, "arg", strings(argv + 1));
	if (env)
		json_object_object_add(args, "env", strings(env));
	json_object_object_add(args, "capture-output", json_object_new_boolean(capture));
	if (agent_call(a, "guest-exec", args, &ret))
		return -1;
	ok = member_int(ret, "pid", 1, INT64_MAX, pid);
	json_object_put(ret);
	return ok ? 0 : bad(a, "guest-exec");
}

/* Absent: nothing was captured. */
static bool captured(struct json_object *o, const char *name, char **data, size_t *len)
{
	struct json_object *v;
	size_t n;
	long got;

	if (!json_object_object_get_ex(o, name, &v))
		return true;
	if (!json_object_is_type(v, json_type_string))
		return false;
	n = (size_t)json_object_get_string_len(v);
	*data = malloc(n + 1);
	got = *data ? base64_decode(json_object_get_string(v), n, *data, n) : -1;
	if (got < 0)
		return false;
	(*data)[got] = '\0';
	*len = (size_t)got;
	return true;
}

int agent_exec_status(struct agent *a, int64_t pid, struct agent_status *st)
{
	struct json_object *args = json_object_new_object(), *ret = NULL;
	int64_t v;
	bool ok;

	memset(st, 0, sizeof(*st));
	json_object_object_add(args, "pid", json_object_new_int64(pid));
	if (agent_call(a, "guest-exec-status", args, &ret))
		return -1;
	st->exited = member_bool(ret, "exited");
	ok = json_object_is_type(ret, json_type_object);
	if (st->exited) {
		if (member_int(ret, "exitcode", INT32_MIN, UINT32_MAX, &v))
			st->code = (int)(v & 0xff);
		else if (member_int(ret, "signal", 1, 127, &v))
			st->code = 128 + (int)v;
		else
			ok = false;
		st->truncated = member_bool(ret, "out-truncated") || member_bool(ret, "err-truncated");
		ok = ok && captured(ret, "out-data", &st->out, &st->out_len) &&
		     captured(ret, "err-data", &st->err, &st->err_len);
	}
	json_object_put(ret);
	if (ok)
		return 0;
	agent_status_free(st);
	return bad(a, "guest-exec-status");
}

void agent_status_free(struct agent_status *st)
{
	free(st->out);
	free(st->err);
	st->out = st->err = NULL;
}

int agent_exec_wait(struct agent *a, char *const argv[], int ms, struct agent_status *st)
{
	int64_t pid;
	int pause = 1, waited = 0;

	memset(st, 0, sizeof(*st));
	if (agent_exec(a, argv, NULL, true, &pid))
		return -1;
	for (;;) {
		if (agent_exec_status(a, pid, st))
			return -1;
		if (st->exited)
			return 0;
		if (waited >= ms)
			break;
		poll(NULL, 0, pause);
		waited += pause;
		pause = pause < 50 ? pause * 2 : 50;
	}
	a->error = AGENT_SILENT;
	snprintf(a->text, sizeof(a->text), "%s did not end in the guest in %d s", argv[0], ms / 1000);
	return -1;
}

/* --- the guest as a whole --- */

int agent_shutdown(struct agent *a, const char *mode)
{
	struct json_object *args = json_object_new_object();
	int timeout = a->timeout_ms, ret;

	json_object_object_add(args, "mode", json_object_new_string(mode));
	/* It answers only where it fails. */
	a->timeout_ms = 1000;
	ret = agent_call(a, "guest-shutdown", args, NULL);
	a->timeout_ms = timeout;
	return ret && a->error != AGENT_SILENT && a->error != AGENT_GONE ? -1 : 0;
}

int agent_set_time(struct agent *a)
{
	struct json_object *args = json_object_new_object();
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	json_object_object_add(args, "time", json_object_new_int64((int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec));
	return agent_call(a, "guest-set-time", args, NULL);
}
