// SPDX-License-Identifier: GPL-2.0-only
/* The control socket's commands for migration, by QMP's names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate_out.h"
#include "qmp.h"

int migrate_take_fds(struct qmp_req *req, const char *uri, int *fd, unsigned int *nr)
{
	char *copy = NULL, *name, *save = NULL;

	*nr = 0;
	if (!strncmp(uri, "fd:", 3))
		copy = strdup(uri + 3);
	for (name = copy ? strtok_r(copy, ",", &save) : NULL; name; name = strtok_r(NULL, ",", &save)) {
		if (*nr == MIG_MAX_STREAMS)
			break;
		fd[*nr] = qmp_take_fd(req, name);
		if (fd[*nr] < 0)
			break;
		++*nr;
	}
	free(copy);
	if (*nr && !name)
		return 0;
	qmp_fail(req, "uri: fd:NAME of a socket that was sent by getfd, and at most %u of them; `hvx migrate` knows other ways to a host",
		 MIG_MAX_STREAMS);
	while (*nr)
		close(fd[--*nr]);
	return -EINVAL;
}

/* ------------------------------------------------------------- begin and end */

struct begin {
	struct qmp_req *req;
	int fd[MIG_MAX_STREAMS];
	unsigned int nr;
	struct disk_arg disk[MIRROR_MAX];
	unsigned int nr_disks;
	bool resume;
};

static void begin_drop(struct begin *b)
{
	while (b->nr)
		close(b->fd[--b->nr]);
	while (b->nr_disks)
		close(b->disk[--b->nr_disks].sock);
}

/* It takes the sockets, whatever comes. */
static int begin_all(struct migration *mg, struct begin *b, struct state_error *err)
{
	int ret = 0;

	migrate_prepare(mg);
	for (; b->nr_disks && !ret; b->nr_disks--)
		ret = migrate_disks_add(mg->m, &mg->disks, b->disk[b->nr_disks - 1].device,
					b->disk[b->nr_disks - 1].sock, err);
	if (!ret)
		return migrate_begin(mg, b->fd, b->nr, err);
	migrate_disks_drop(mg->m, &mg->disks);
	begin_drop(b);
	return ret;
}

/* A post-copy that stands still: the first socket is its new connection. Machine lock. */
static void resume_now(struct machine *m, struct begin *b)
{
	if (!migrate_running(m)) {
		begin_drop(b);
		qmp_fail(b->req, "there is no migration to resume");
		return;
	}
	b->nr--;
	if (mig_source_resume(&m->migration->s, b->fd[b->nr])) {
		qmp_reply(b->req, NULL);
	} else {
		qmp_fail(b->req, "the migration is in status %s; `migrate-pause` closes a connection that hangs",
			 migrate_status(m->migration));
	}
	begin_drop(b);		/* it takes one */
}

static void begin_now(struct machine *m, void *opaque)
{
	struct begin *b = opaque;
	struct state_error err = { .text = "" };
	enum run_state s = run_state(m);
	struct migration *mg;

	pthread_mutex_lock(&m->lock);
	mg = migrate_get(m);
	if (b->resume) {
		resume_now(m, b);
	} else if (!mg || m->save || m->template || mg->running ||
	    (s != RS_RUNNING && s != RS_PAUSED && s != RS_PRELAUNCH)) {
		qmp_fail(b->req, "the guest is in state %s%s and cannot be moved now", run_state_name(s),
			 mg && mg->running ? ", on its way to another host," : m->template ?
			 ", the template of forks," : "");
		begin_drop(b);
	} else if (!m->dom->cpu.migratable) {
		qmp_fail(b->req, "the guest's XML has <cpu migratable='off'>");
		begin_drop(b);
	} else if (begin_all(mg, b, &err)) {
		qmp_fail(b->req, "%s", err.text);
	} else {
		qmp_reply(b->req, NULL);
	}
	pthread_mutex_unlock(&m->lock);
	free(b);
}

static void run_migrate(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct begin *b = calloc(1, sizeof(*b));

	if (!b) {
		qmp_fail(req, "out of memory");
		return;
	}
	b->req = req;
	b->resume = qmp_bool(args, "resume", false);
	if (migrate_disks_args(req, json_object_object_get(args, "x-hvx-disks"), b->disk, &b->nr_disks)) {
		free(b);
		return;
	}
	if (migrate_take_fds(req, qmp_str(args, "uri"), b->fd, &b->nr)) {
		begin_drop(b);
		free(b);
		return;
	}
	if (!machine_call(m, begin_now, b))
		return;
	qmp_fail(req, "out of memory");
	begin_drop(b);
	free(b);
}

static const struct qmp_command migrate_command = {
	.name = "migrate", .run = run_migrate,
	.help = "Move the running guest to a VMM that waits for one (docs/migration.md). Answers when it begins; events MIGRATION tell how far it is, the last one (status: completed, failed, cancelled) how it ended, and query-migrate why. A guest that could not be moved goes on here; one that was stays behind in state postmigrate, which only `quit` ends.",
	.args = QMP_ARGS({ "uri", QMP_STR,
			   .help = "`fd:NAME`, a connected stream socket by its getfd name; further streams behind commas" },
			 { "x-hvx-disks", QMP_LIST, .optional = true,
			   .help = "disks that are copied with it, and go on being copied until the guest stands still there: of {`device`: the disk's `<target dev=>`, `target`: `fd:NAME`, a connected socket at whose other end an NBD server has an export of that name}" },
			 { "resume", QMP_BOOL, .optional = true,
			   .help = "go on with a post-copy in status `postcopy-paused`" }),
};
QMP_COMMAND(migrate_command);

static void run_cancel(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	if (migrate_running(m) && !mig_source_cancel(&m->migration->s, false))
		qmp_fail(req, "too late: the destination was given the guest");
	else
		qmp_reply(req, NULL);
}

static const struct qmp_command cancel_command = {
	.name = "migrate-cancel", .run = run_cancel,
	.help = "Give up the migration under way; the guest goes on here. Where there is none, nothing happens. Event MIGRATION (cancelled) when it has ended.",
};
QMP_COMMAND(cancel_command);

static void recover_now(struct machine *m, void *opaque)
{
	struct state_error err = { .text = "" };
	int ret = m->migration ? migrate_recover(m->migration, &err) :
				 state_error(&err, "there was no migration");

	pthread_mutex_lock(&m->lock);
	if (ret)
		qmp_fail(opaque, "%s", err.text);
	else
		qmp_reply(opaque, NULL);
	pthread_mutex_unlock(&m->lock);
}

static void run_recover(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	(void)args;
	if (migrate_running(m))
		qmp_fail(req, "the migration has not ended");
	else if (machine_call(m, recover_now, req))
		qmp_fail(req, "out of memory");
}

static const struct qmp_command recover_command = {
	.name = "x-hvx-migrate-recover", .run = run_recover,
	.help = "Let a guest go on here whose migration ended without the destination's word (query-migrate: x-hvx-unconfirmed). Only after a look at the destination: it must not run there. Disk images that are locked there are found out.",
};
QMP_COMMAND(recover_command);

/* ------------------------------------------------------------------ how far */

static void add(struct json_object *o, const char *name, uint64_t val)
{
	json_object_object_add(o, name, json_object_new_int64((int64_t)val));
}

static uint64_t ms_between(uint64_t from, uint64_t to)
{
	return from && to > from ? (to - from) / 1000000 : 0;
}

static struct json_object *ram_object(const struct migration *mg, uint64_t total_ms)
{
	const struct mig_source *s = &mg->s;
	struct json_object *o = json_object_new_object();
	uint64_t wire = atomic_load(&s->ram.wire), pages = atomic_load(&s->ram.pages);
	uint64_t left = atomic_load(&s->remaining);
	uint64_t gone = (pages + atomic_load(&s->ram.zero) - atomic_load(&s->round_base)) * RAM_PAGE;

	add(o, "total", s->ram.size);
	add(o, "remaining", gone < left ? left - gone : 0);
	add(o, "transferred", wire);
	add(o, "normal", pages);
	add(o, "normal-bytes", pages * RAM_PAGE);
	add(o, "duplicate", atomic_load(&s->ram.zero));
	add(o, "page-size", RAM_PAGE);
	add(o, "dirty-sync-count", atomic_load(&s->round));
	add(o, "dirty-pages-rate", atomic_load(&s->dirty_rate));
	add(o, "postcopy-requests", atomic_load(&s->wants));
	json_object_object_add(o, "mbps", json_object_new_double(total_ms ? (double)wire * 8 / 1000 / (double)total_ms : 0));
	return o;
}

/* What a guest lacks that came before its memory. */
static void add_incoming(struct json_object *o, const struct machine *m)
{
	const struct mig_post_dest *p = &m->incoming->d.post;
	struct json_object *ram;

	json_object_object_add(o, "status", json_object_new_string(incoming_status(m)));
	if (!p->on)
		return;
	ram = json_object_new_object();
	add(ram, "remaining", atomic_load(&p->left) * RAM_PAGE);
	add(ram, "postcopy-requests", atomic_load(&p->faults));
	json_object_object_add(o, "ram", ram);
}

static void add_error(struct json_object *o, struct migration *mg)
{
	int phase = atomic_load(&mg->s.phase);
	bool paused = mg->running && phase == MIG_POST_PAUSED;
	struct state_error err = { .text = "" };

	if (paused)
		mig_source_why(&mg->s, &err);
	else if (!mg->running && phase != MIG_COMPLETED)
		err = mg->s.err;
	else
		return;
	json_object_object_add(o, "error-desc", json_object_new_string(err.text));
	if (paused ? !mg->s.post.confirmed : phase == MIG_UNCONFIRMED)
		json_object_object_add(o, "x-hvx-unconfirmed", json_object_new_boolean(true));
}

static void run_query(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct migration *mg = m->migration;
	struct json_object *o = json_object_new_object(), *disk;
	const struct mig_source *s;
	uint64_t start, stop, end, total_ms;

	(void)args;
	if (!mg || !mg->started) {
		if (incoming_status(m))
			add_incoming(o, m);
		qmp_reply(req, o);
		return;
	}
	s = &mg->s;
	start = atomic_load(&s->start_ns);
	stop = atomic_load(&s->stop_ns);
	end = mg->running ? clock_now_ns() : atomic_load(&s->end_ns);
	total_ms = ms_between(start, end);
	json_object_object_add(o, "status", json_object_new_string(migrate_status(mg)));
	add(o, "total-time", total_ms);
	add(o, "setup-time", ms_between(start, atomic_load(&s->setup_ns)));
	if (stop)
		add(o, "downtime", ms_between(stop, end));
	else
		add(o, "expected-downtime", atomic_load(&s->expected_ns) / 1000000);
	if (atomic_load(&s->throttle))
		add(o, "cpu-throttle-percentage", atomic_load(&s->throttle));
	json_object_object_add(o, "ram", ram_object(mg, total_ms));
	disk = migrate_disks_query(&m->migration->disks);
	if (disk)
		json_object_object_add(o, "disk", disk);
	add_error(o, mg);
	qmp_reply(req, o);
}

static const struct qmp_command query_command = {
	.name = "query-migrate", .run = run_query,
	.help = "How far the migration is, or how the last one ended.",
	.returns = "`status`: `setup`, `active`, `device` (the guest stands still), `cancelling`, `postcopy-active` (it runs at the destination, its memory follows), `postcopy-paused` (and the connection is lost), `postcopy-recover`, `completed`, `failed`, `cancelled`; `total-time`, `setup-time`, `downtime` or `expected-downtime` (ms); `cpu-throttle-percentage`; `ram`: {`total`, `remaining`, `transferred`, `normal-bytes` (bytes), `normal`, `duplicate` (pages; those of zeroes), `page-size`, `dirty-sync-count`, `dirty-pages-rate` (a second), `postcopy-requests` (pages that the guest waited for), `mbps`}; `disk`: {`total`, `remaining`, `transferred`} (bytes), where disks go along; `error-desc`; `x-hvx-unconfirmed`: true where the destination was given the guest and has not said that it runs it. Of a guest that came from elsewhere: `status` and, of a post-copy, `ram`: {`remaining`, `postcopy-requests`}. Nothing where there was none",
};
QMP_COMMAND(query_command);

/* --------------------------------------------------------------- parameters */

static const char *const compressions[] = { "none", "zstd", NULL };

static void run_set(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct migration *mg = migrate_get(m);
	const char *zstd = qmp_str(args, "multifd-compression");
	struct migrate_params *p;

	if (!mg) {
		qmp_fail(req, "out of memory");
		return;
	}
	p = &mg->p;
	p->max_bandwidth = (uint64_t)qmp_int(args, "max-bandwidth", (int64_t)p->max_bandwidth);
	p->post_bandwidth = (uint64_t)qmp_int(args, "max-postcopy-bandwidth", (int64_t)p->post_bandwidth);
	p->downtime_ms = (uint64_t)qmp_int(args, "downtime-limit", (int64_t)p->downtime_ms);
	p->force_ms = (uint64_t)qmp_int(args, "x-hvx-force-after", (int64_t)p->force_ms);
	p->zstd_level = (int)qmp_int(args, "multifd-zstd-level", p->zstd_level);
	p->zstd = zstd ? !strcmp(zstd, "zstd") : p->zstd;
	p->throttle_first = (unsigned int)qmp_int(args, "cpu-throttle-initial", p->throttle_first);
	p->throttle_step = (unsigned int)qmp_int(args, "cpu-throttle-increment", p->throttle_step);
	p->throttle_max = (unsigned int)qmp_int(args, "max-cpu-throttle", p->throttle_max);
	if (mg->running)
		migrate_apply(mg);
	qmp_reply(req, NULL);
}

static const struct qmp_command set_command = {
	.name = "migrate-set-parameters", .run = run_set,
	.help = "What migrations may take. Counts for one that is under way, too, but for compression.",
	.args = QMP_ARGS({ "max-bandwidth", QMP_INT, .optional = true, .max = 1LL << 50,
			   .help = "bytes a second while the guest runs; 0: no limit (default)" },
			 { "max-postcopy-bandwidth", QMP_INT, .optional = true, .max = 1LL << 50,
			   .help = "the same in post-copy, for memory that nobody waits for; 0: no limit (default)" },
			 { "downtime-limit", QMP_INT, .optional = true, .min = 1, .max = 2000000,
			   .help = "the guest may stand still for so many ms at the end; 300" },
			 { "x-hvx-force-after", QMP_INT, .optional = true, .max = 1LL << 40,
			   .help = "after so many ms the guest is stopped, however much is left; 0: never (default)" },
			 { "multifd-compression", QMP_STR, .optional = true, .choices = compressions,
			   .help = "of memory; none is the default" },
			 { "multifd-zstd-level", QMP_INT, .optional = true, .min = 1, .max = 19, .help = "1" },
			 { "cpu-throttle-initial", QMP_INT, .optional = true, .min = 1, .max = 99,
			   .help = "with auto-converge: percent of the time that vCPUs sleep at first; 20" },
			 { "cpu-throttle-increment", QMP_INT, .optional = true, .min = 1, .max = 99,
			   .help = "and how many more each time; 10" },
			 { "max-cpu-throttle", QMP_INT, .optional = true, .min = 1, .max = 99, .help = "and at most; 99" }),
};
QMP_COMMAND(set_command);

static void run_query_parameters(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct migration *mg = migrate_get(m);
	struct json_object *o = json_object_new_object();

	(void)args;
	if (mg) {
		add(o, "max-bandwidth", mg->p.max_bandwidth);
		add(o, "max-postcopy-bandwidth", mg->p.post_bandwidth);
		add(o, "downtime-limit", mg->p.downtime_ms);
		add(o, "x-hvx-force-after", mg->p.force_ms);
		json_object_object_add(o, "multifd-compression",
				       json_object_new_string(compressions[mg->p.zstd]));
		add(o, "multifd-zstd-level", (uint64_t)mg->p.zstd_level);
		add(o, "cpu-throttle-initial", mg->p.throttle_first);
		add(o, "cpu-throttle-increment", mg->p.throttle_step);
		add(o, "max-cpu-throttle", mg->p.throttle_max);
	}
	qmp_reply(req, o);
}

static const struct qmp_command query_parameters_command = {
	.name = "query-migrate-parameters", .run = run_query_parameters,
	.help = "What migrate-set-parameters has set.",
	.returns = "its arguments, with their values",
};
QMP_COMMAND(query_parameters_command);

static void run_capabilities(struct machine *m, struct qmp_req *req, struct json_object *args)
{
	struct json_object *list = json_object_object_get(args, "capabilities"), *item, *state;
	struct migration *mg = migrate_get(m);
	bool converge = mg && mg->p.converge, postcopy = mg && mg->p.postcopy;
	size_t i, n = json_object_array_length(list);
	const char *name;

	for (i = 0; mg && i < n; i++) {
		item = json_object_array_get_idx(list, i);
		if (!json_object_is_type(item, json_type_object))
			break;
		name = json_object_get_string(json_object_object_get(item, "capability"));
		state = json_object_object_get(item, "state");
		if (!name || !json_object_is_type(state, json_type_boolean))
			break;
		if (!strcmp(name, "auto-converge"))
			converge = json_object_get_boolean(state);
		else if (!strcmp(name, "postcopy-ram"))
			postcopy = json_object_get_boolean(state);
		else
			break;
	}
	if (!mg || i < n) {
		qmp_fail(req, "capabilities: a list of {capability: `auto-converge` or `postcopy-ram`, state: bool}");
		return;
	}
	mg->p.converge = converge;
	mg->p.postcopy = postcopy;
	if (mg->running)
		migrate_apply(mg);
	qmp_reply(req, NULL);
}

static const struct qmp_command capabilities_command = {
	.name = "migrate-set-capabilities", .run = run_capabilities,
	.help = "Switch what migrations can do besides.",
	.args = QMP_ARGS({ "capabilities", QMP_LIST,
			   .help = "of {`capability`: `auto-converge` (a guest that writes faster than memory travels gets less CPU time) or `postcopy-ram` (the next migration may become a post-copy, by `migrate-start-postcopy`), `state`: bool}" }),
};
QMP_COMMAND(capabilities_command);
