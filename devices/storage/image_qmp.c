// SPDX-License-Identifier: GPL-2.0-only
/* Commands to the storage daemon, one at a time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "devices/storage/image_qmp.h"
#include "devices/storage/nbd_wire.h"

#define MAX_MESSAGES	1000U	/* that may come before an answer */

/* The next message. NULL: the daemon is gone, or talks nonsense. */
static struct json_object *message(struct image_qmp *q)
{
	struct json_object *o;
	char *end;
	ssize_t n;

	while (!(end = memchr(q->line, '\n', q->len))) {
		if (q->len == sizeof(q->line) || !q->wait())
			return NULL;
		n = recv(q->sock, q->line + q->len, sizeof(q->line) - q->len, MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EINTR && errno != EAGAIN))
			return NULL;
		q->len += n > 0 ? (size_t)n : 0;
	}
	*end = '\0';
	o = json_tokener_parse(q->line);
	q->len -= (size_t)(end + 1 - q->line);
	memmove(q->line, end + 1, q->len);
	if (json_object_is_type(o, json_type_object))
		return o;
	json_object_put(o);
	return NULL;
}

static bool say(struct image_qmp *q, const char *command, struct json_object *args)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	bool ok;

	json_object_object_add(o, "execute", json_object_new_string(command));
	json_object_object_add(o, "id", json_object_new_int(++q->serial));
	if (args)
		json_object_object_add(o, "arguments", args);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE);
	ok = !sock_put(q->sock, text, strlen(text), true) && !sock_put(q->sock, "\n", 1, false);
	json_object_put(o);
	return ok;
}

/* True: it is the answer, and *ok what it says. */
static bool is_answer(struct image_qmp *q, struct json_object *o, bool *ok, char *why, size_t size)
{
	struct json_object *error = json_object_object_get(o, "error");
	const char *desc = json_object_get_string(json_object_object_get(error, "desc"));

	if (json_object_get_int(json_object_object_get(o, "id")) != q->serial)
		return false;
	*ok = !error;
	if (error)
		snprintf(why, size, "%s", desc ? desc : "the storage daemon refuses it");
	return true;
}

static bool call(struct image_qmp *q, const char *command, struct json_object *args, const char *event, char *why, size_t size)
{
	bool ok = false, answered = false, came = !event;
	struct json_object *o;

	if (!say(q, command, args))
		goto lost;
	for (unsigned int i = 0; i < MAX_MESSAGES; i++) {
		const char *name;

		o = message(q);
		if (!o)
			break;
		name = json_object_get_string(json_object_object_get(o, "event"));
		if (name)
			came |= event && !strcmp(name, event);
		else
			answered |= is_answer(q, o, &ok, why, size);
		json_object_put(o);
		if (answered && (came || !ok))
			return ok;
	}
lost:
	snprintf(why, size, "the storage daemon does not answer to %s", command);
	return false;
}

bool image_qmp_call(struct image_qmp *q, const char *command, struct json_object *args, const char *event,
		    char *why, size_t size)
{
	if (q->sock >= 0 && !q->greeted)
		q->greeted = call(q, "qmp_capabilities", NULL, NULL, why, size);
	if (q->greeted)
		return call(q, command, args, event, why, size);
	if (q->sock < 0)
		snprintf(why, size, "the storage daemon is not there");
	json_object_put(args);
	return false;
}
