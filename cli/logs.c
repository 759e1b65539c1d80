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

#define LOG_LONG (1 << 20)

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
	char *path = log_path(name), *old = NULL, when[64];
	time_t now = time(NULL);
	struct stat st;
	struct tm tm;

	*fd = -1;
	*start = 0;
	if (!path || make_dirs(path))
		return path;
	if (!stat(path, &st) && st.st_size > LOG_LONG && asprintf(&old, "%s.1", path) > 0)
		rename(path, old);
	free(old);
	*fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return path;
	if (localtime_r(&now, &tm) && strftime(when, sizeof(when), "%F %T %z", &tm))
		dprintf(*fd, "--- %s: started %s\n", name, when);
	*start = lseek(*fd, 0, SEEK_END);
	return path;
}

/* --- hvx logs --- */

static int copy_out(int fd)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	fflush(stdout);
	return ferror(stdout) ? -1 : 0;
}

/* Where the last of the file's lines "---" begins. */
static off_t last_start(int fd)
{
	static const char mark[] = "--- ";
	off_t at = 0, found = 0;
	char buf[4096];
	bool line_start = true;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf) - 4, at)) > 0) {
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

static int cmd_logs(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *value[8];
	int status = cli_parse(cmd, argc, argv, value, 1, 1), fd;
	char *path, *dir;

	if (status >= 0)
		return status;
	if (!guest_name_ok(argv[optind]) || !(path = log_path(argv[optind]))) {
		cli_error("logs: %s: not a guest's name", argv[optind]);
		return VMM_ERR_USAGE;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		cli_error("logs: %s: %s; only guests in the background have one", path, strerror(errno));
		free(path);
		return VMM_ERR_SETUP;
	}
	free(path);
	if (!value[0])
		lseek(fd, last_start(fd), SEEK_SET);
	status = copy_out(fd);
	while (!status && value[1] && (dir = rundir_find(argv[optind]))) {
		free(dir);
		poll(NULL, 0, 200);
		status = copy_out(fd);
	}
	status |= copy_out(fd);
	close(fd);
	return status ? VMM_ERR_SETUP : VMM_OK;
}

static const struct cli_cmd logs_verb = {
	.name = "logs", .group = CLI_LOOK, .args = "NAME", .run = cmd_logs,
	.summary = "show the messages of a guest in the background",
	.help =
"Prints what the guest's VMM had to say since it was last started, from\n"
"/var/log/hvx/NAME.log for root, $XDG_STATE_HOME/hvx/NAME.log for others.\n",
	.opts = OPTS(
		{ "all", 'a', NULL, "of earlier runs, too" },
		{ "follow", 'f', NULL, "go on until the guest ends" }),
};
CLI_VERB(logs_verb);
