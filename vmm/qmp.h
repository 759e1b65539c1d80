/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket, in QMP's wire form (docs/control.md): JSON objects on a Unix
 * stream socket, RUNTIME_DIR/control.sock. The server greets, the client sends
 * {"execute": "qmp_capabilities"}, and from then on one command after another;
 * each gets one {"return": ...} or {"error": ...}, with its "id". Events may stand
 * between them.
 *
 * A command is a struct qmp_command in any file of the VMM:
 *
 *	static void run_frob(struct machine *m, struct qmp_req *req, struct json_object *args)
 *	{
 *		if (!frob(m, qmp_str(args, "name")))
 *			qmp_fail(req, "%s: no such thing", qmp_str(args, "name"));
 *		else
 *			qmp_reply(req, NULL);
 *	}
 *
 *	static const struct qmp_command frob_command = {
 *		.name = "x-hvx-frob", .help = "Frob the thing of that name.",
 *		.args = QMP_ARGS({ "name", QMP_STR, .help = "which" },
 *				 { "count", QMP_INT, .optional = true, .min = 1, .max = 99, .help = "times" }),
 *		.returns = "nothing", .run = run_frob,
 *	};
 *	QMP_COMMAND(frob_command);
 *
 * Handlers run on the main loop under the machine lock, after the arguments were
 * checked against .args: no others are there, types and bounds hold. Each request
 * is answered exactly once with qmp_reply() or qmp_fail(): in the handler, or any
 * time later under the machine lock; the client's next command waits for it, other
 * clients do not. A client that left meanwhile is no error.
 *
 * A handler that needs the guest to stand still, or must not hold the machine
 * lock, goes on in machine_call() (vmm/runstate.h).
 */
#ifndef HVX_VMM_QMP_H
#define HVX_VMM_QMP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;
struct qmp_req;

/* Bounds. A client over one of them is told so and, for all but the size of values, cut off. */
#define QMP_MAX_CLIENTS	16
#define QMP_MAX_MESSAGE	(1U << 20)	/* bytes of one command */
#define QMP_MAX_VALUES	8192U		/* members and elements of one command */
#define QMP_MAX_DEPTH	24
#define QMP_MAX_UNSENT	(4U << 20)	/* bytes that a client does not take */
#define QMP_MAX_FDS	64		/* descriptors that a client has sent and not used */

enum qmp_type { QMP_ANY, QMP_STR, QMP_INT, QMP_NUM, QMP_BOOL, QMP_OBJ, QMP_LIST };

struct qmp_arg {
	const char *name;
	enum qmp_type type;
	bool optional;
	int64_t min, max;		/* QMP_INT: where they differ */
	const char *const *choices;	/* QMP_STR: one of these, ends with NULL */
	const char *help;
};

struct qmp_command {
	const char *name;		/* QMP's, or "x-hvx-..." */
	const char *help;		/* a sentence, for docs/control.md and x-hvx-commands */
	const struct qmp_arg *args;	/* ends with name NULL; NULL: takes none */
	const char *returns;		/* what "return" holds, in words; NULL: {} */
	void (*run)(struct machine *m, struct qmp_req *req, struct json_object *args);
};

#define QMP_ARGS(...) (const struct qmp_arg[]){ __VA_ARGS__, { .name = NULL } }
#define QMP_COMMAND(cmd_) \
	static const struct qmp_command *const qmp_reg_##cmd_ \
	__attribute__((used, section("hvx_qmp"))) = &(cmd_)
extern const struct qmp_command *const __start_hvx_qmp[], *const __stop_hvx_qmp[];

/*
 * Before the sandbox: listen at dir/control.sock. 0 or -errno after a message.
 * qmp_close() sends what the sockets take at once, and removes the socket.
 */
int qmp_open(struct machine *m, const char *dir);
void qmp_close(struct machine *m);

/* --- answers; machine lock held; req is gone afterwards --- */
void qmp_reply(struct qmp_req *req, struct json_object *ret);	/* takes ret; NULL: {} */
void qmp_fail(struct qmp_req *req, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* With a class other than GenericError: "DeviceNotFound", "DeviceNotActive". */
void qmp_fail_class(struct qmp_req *req, const char *class, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Has the client gone? A long task may then stop early; it still answers. */
bool qmp_gone(const struct qmp_req *req);

/* --- arguments --- */
const char *qmp_str(struct json_object *args, const char *name);	/* NULL: not given */
int64_t qmp_int(struct json_object *args, const char *name, int64_t otherwise);
bool qmp_bool(struct json_object *args, const char *name, bool otherwise);

/*
 * A descriptor that this client sent with SCM_RIGHTS and named by "getfd". The
 * caller's from now on; -1: none of that name. The sandboxed VMM opens no files:
 * what a command reads or writes comes this way.
 */
int qmp_take_fd(struct qmp_req *req, const char *name);

/* Tell all clients. data NULL: none; taken. Machine lock held; m may have no control socket. */
void qmp_event(struct machine *m, const char *name, struct json_object *data);

/* --- for what is written about commands (qmp_schema.c) --- */
/* NULL: fits; else why not. free() it. */
char *qmp_check_args(const struct qmp_command *cmd, struct json_object *args);
struct json_object *qmp_describe(const struct qmp_command *cmd);
/* All commands, sorted by name. n: their number. free() the array. */
const struct qmp_command **qmp_sorted(size_t *n);
void qmp_print_markdown(void);		/* the reference part of docs/control.md, to stdout */

#endif
