// SPDX-License-Identifier: GPL-2.0-only
/* The control socket's commands for post-copy, by QMP's names. */
#include <unistd.h>

#include "migrate_out.h"
#include "qmp.h"

static void run_start(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	if (migrate_running(m) && mig_source_postcopy(&m->migration->s))
		qmp_reply(req, NULL);
	else
		qmp_fail(req, "no migration is under way that may become post-copy: it takes the capability `postcopy-ram` before its start, and status `active`");
}

static const struct qmp_command start_command = {
	.name = "migrate-start-postcopy", .run = run_start,
	.help = "Let the guest go over now, and its memory after it (docs/migration.md). From then on each host has what the other lacks: where one of them dies, the guest is lost.",
};
QMP_COMMAND(start_command);

static void run_pause(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct incoming *c = m->incoming;

	(void)args;
	if (migrate_running(m) ? mig_source_pause(&m->migration->s) : incoming_partial(m) && mig_dest_pause(&c->d))
		qmp_reply(req, NULL);
	else
		qmp_fail(req, "no migration is in status `postcopy-active`");
}

static const struct qmp_command pause_command = {
	.name = "migrate-pause", .run = run_pause,
	.help = "Close the connection of a migration in post-copy, as where it hangs. Both sides keep what they have, in status `postcopy-paused`.",
};
QMP_COMMAND(pause_command);

/* At the destination. The source's is `migrate` with resume. */
static void run_recover(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	int fd[MIG_MAX_STREAMS];
	unsigned int nr;

	if (migrate_take_fds(req, qmp_str(args, "uri"), fd, &nr))
		return;
	while (nr > 1)
		close(fd[--nr]);
	if (!incoming_partial(m)) {
		close(fd[0]);
		qmp_fail(req, "the guest does not wait for memory");
	} else if (mig_dest_resume(&m->incoming->d, fd[0])) {
		qmp_reply(req, NULL);
	} else {
		qmp_fail(req, "the guest does not wait for memory");
	}
}

static const struct qmp_command recover_command = {
	.name = "migrate-recover", .run = run_recover,
	.help = "At the destination of a post-copy: go on over another connection. Whoever needs memory that is missing may hold up this socket; then it is RUNTIME_DIR/migrate.sock that answers (docs/migration.md).",
	.args = QMP_ARGS({ "uri", QMP_STR, .help = "`fd:NAME`, a connected stream socket by its getfd name" }),
};
QMP_COMMAND(recover_command);
