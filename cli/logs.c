// SPDX-License-Identifier: GPL-2.0-only
/* Where guests in the background write their messages, and `hvx logs`. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"
#include "rundir.h"
#include "vmm/logfile.h"

static int make_dirs(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return 0;
}

char *log_path(const char *name)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n;

	if (!geteuid())
		n = asprintf(&path, "/var/log/hvx/%s.log", name);
	else if (xdg && *xdg == '/')
		n = asprintf(&path, "%s/hvx/%s.log", xdg, name);
	else
		n = asprintf(&path, "%s/.local/state/hvx/%s.log", home ? home : "", name);
	return n < 0 ? NULL : path;
}

char *log_open(const char *name, int *fd, off_t *start)
{
	char *path = log_path(name), when[64];
	time_t now = time(NULL);
	struct tm tm;

	*fd = -1;
	*start = 0;
	if (!path || make_dirs(path))
		return path;
	*fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return path;
	if (localtime_r(&now, &tm) && strftime(when, sizeof(when), "%F %T %z", &tm))
		dprintf(*fd, "--- %s: started %s\n", name, when);
	*start = lseek(*fd, 0, SEEK_END);
	return path;
}

/* --- hvx logs --- */

/* The log and what it was before, as they are now: [0] is written to, the higher the older. -1: none. */
struct logs {
	int fd[LOGFILE_BACKUPS + 1];
};

static int open_logs(struct logs *l, const char *path)
{
	for (unsigned int i = 0; i <= LOGFILE_BACKUPS; i++) {
		char *name = logfile_name(path, i);

		l->fd[i] = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
		if (!i && l->fd[0] < 0)
			cli_error("logs: %s: %s; only guests in the background have one", path, strerror(errno));
		free(name);
		if (l->fd[0] < 0)
			return -1;
	}
	return 0;
}

static void close_logs(struct logs *l)
{
	for (unsigned int i = 0; i <= LOGFILE_BACKUPS; i++)
		if (l->fd[i] >= 0)
			close(l->fd[i]);
}

/* From *at on, which moves on. */
static int copy_out(int fd, off_t *at)
{
	char buf[65536];
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), *at)) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
		*at += n;
	}
	fflush(stdout);
	return ferror(stdout) ? -1 : 0;
}

/* What has come. A log that is shorter than it was has become the first of the older ones. */
static int copy_new(const struct logs *l, off_t *at)
{
	struct stat st;
	int ret = 0;

	if (!fstat(l->fd[0], &st) && st.st_size < *at) {
		if (l->fd[1] >= 0)
			ret = copy_out(l->fd[1], at);
		*at = 0;
	}
	return copy_out(l->fd[0], at) | ret;
}

/* Where the last of the file's lines "---" begins; -1: nowhere. */
static off_t last_start(int fd)
{
	static const char mark[] = "--- ";
	off_t at = 0, found = -1;
	char buf[4096];
	bool line_start = true;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			char head[4];

			if (line_start && pread(fd, head, 4, at + i) == 4 && !memcmp(head, mark, 4))
				found = at + i;
			line_start = buf[i] == '\n';
		}
		at += n;
	}
	return found;
}

/* From the last start on, or all there is; *at: where the log itself ended. */
static int print_logs(const struct logs *l, bool all, off_t *at)
{
	unsigned int i = LOGFILE_BACKUPS;
	off_t from = 0;
	int ret = 0;

	if (!all) {
		for (i = 0; (l->fd[i] < 0 || (from = last_start(l->fd[i])) < 0) && i < LOGFILE_BACKUPS; i++)
			;
		if (from < 0)
			from = 0;
	}
	do {
		*at = from;
		if (l->fd[i] >= 0)
			ret |= copy_out(l->fd[i], at);
		from = 0;
	} while (i-- > 0);
	return ret;
}

static int show(const char *name, const char *path, bool all, bool follow)
{
	struct logs l;
	off_t at = 0;
	int status;
	char *dir;

	if (open_logs(&l, path))
		return VMM_ERR_SETUP;
	status = print_logs(&l, all, &at);
	while (!status && follow && (dir = rundir_find(name))) {
		free(dir);
		poll(NULL, 0, 200);
		status = copy_new(&l, &at);
	}
	status |= copy_new(&l, &at);
	close_logs(&l);
	return status ? VMM_ERR_SETUP : VMM_OK;
}

static int cmd_logs(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[8];
	int status = cli_parse(cmd, argc, argv, value, 1, 1);
	char *path;

	if (status >= 0)
		return status;
	if (!guest_name_ok(argv[optind]) || !(path = log_path(argv[optind]))) {
		cli_error("logs: %s: not a guest's name", argv[optind]);
		return VMM_ERR_USAGE;
	}
	status = show(argv[optind], path, value[0], value[1]);
	free(path);
	return status;
}

static const struct cli_cmd logs_verb = {
	.name = "logs", .group = CLI_LOOK, .args = "NAME", .run = cmd_logs,
	.summary = "show the messages of a guest in the background",
	.help =
"Prints what the guest's VMM had to say since it was last started, from\n"
"/var/log/hvx/NAME.log for root, $XDG_STATE_HOME/hvx/NAME.log for others. A log that\n"
"would become longer than 2 MiB is NAME.log.0 from then on, that NAME.log.1, that\n"
"NAME.log.2; what was there is dropped. All of them are shown as one.\n",
	.opts = OPTS(
		{ "all", 'a', NULL, "of earlier runs, too" },
		{ "follow", 'f', NULL, "go on until the guest ends" }),
};
CLI_VERB(logs_verb);
