// SPDX-License-Identifier: GPL-2.0-only
/*
 * hvx trace: the module's tracepoints (kmod/trace.h) of one guest, in an instance of
 * tracefs of its own, so that nobody else's tracing is disturbed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "guest.h"

#define MAX_VCPUS	256
#define MAX_REASONS	512

struct reason {
	uint64_t hw;			/* as the CPU numbers it */
	uint64_t count, us, longest;
};

struct trace {
	char *dir;			/* of the instance */
	int pipe;
	bool summary;
	long left;			/* lines; -1: no end */
	struct { bool open; double at; uint64_t hw; char line[160]; } exit[MAX_VCPUS];
	struct reason reason[MAX_REASONS];
	unsigned int nr_reasons;
	uint64_t lost;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	ended = sig;
}

/* --- the instance --- */

static int put(const struct trace *t, const char *file, const char *text)
{
	char *path = NULL;
	int fd = -1, ret = -1;

	if (asprintf(&path, "%s/%s", t->dir, file) > 0)
		fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	if (ret)
		cli_error("trace: %s: %s", path ? path : file, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

static const char *tracefs(void)
{
	static const char *const roots[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/events/hvx", roots[i]);
		if (!access(path, F_OK))
			return roots[i];
	}
	cli_error("trace: no tracepoints of hvx in /sys/kernel/tracing: %s",
		  geteuid() ? "only root can trace" : "mount -t tracefs none /sys/kernel/tracing");
	return NULL;
}

static void close_instance(struct trace *t)
{
	if (t->pipe >= 0)
		close(t->pipe);
	if (t->dir && rmdir(t->dir) && errno != ENOENT)
		cli_error("trace: %s: %s", t->dir, strerror(errno));
	free(t->dir);
}

/* The vCPUs' threads, and no others. */
static int choose_threads(struct trace *t, const struct guest *g)
{
	struct control *c = control_open_or_say(g->name);
	struct json_object *cpus = NULL;
	char text[MAX_VCPUS * 12] = "";
	size_t len = 0;

	if (!c)
		return -1;
	if (control_do(c, "query-cpus-fast", NULL, &cpus)) {
		control_close(c);
		return -1;
	}
	for (size_t i = 0; i < json_object_array_length(cpus) && len < sizeof(text) - 16; i++)
		len += (size_t)sprintf(text + len, "%d ", json_object_get_int(json_object_object_get(
				       json_object_array_get_idx(cpus, i), "thread-id")));
	json_object_put(cpus);
	control_close(c);
	return put(t, "set_event_pid", text);
}

static int open_instance(struct trace *t, const struct guest *g, bool all)
{
	static const char *const more[] = { "inject", "page_fault", "user_exit", "rdmsr", "wrmsr" };
	const char *root = tracefs();
	char path[64];

	if (!root || asprintf(&t->dir, "%s/instances/hvx-%d", root, (int)getpid()) < 0)
		return -1;
	if (mkdir(t->dir, 0700)) {
		cli_error("trace: %s: %s", t->dir, strerror(errno));
		free(t->dir);
		t->dir = NULL;
		return -1;
	}
	if (choose_threads(t, g) || put(t, "events/hvx/hvx_entry/enable", "1") ||
	    put(t, "events/hvx/hvx_exit/enable", "1"))
		return -1;
	for (size_t i = 0; all && i < sizeof(more) / sizeof(more[0]); i++) {
		snprintf(path, sizeof(path), "events/hvx/hvx_%s/enable", more[i]);
		if (put(t, path, "1"))
			return -1;
	}
	snprintf(path, sizeof(path), "%s/trace_pipe", t->dir);
	t->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return t->pipe < 0 ? -1 : 0;
}

/* --- lines --- */

static struct reason *reason_of(struct trace *t, uint64_t hw)
{
	unsigned int i;

	for (i = 0; i < t->nr_reasons; i++)
		if (t->reason[i].hw == hw)
			return &t->reason[i];
	if (i == MAX_REASONS)
		return NULL;
	t->reason[i] = (struct reason){ .hw = hw };
	t->nr_reasons++;
	return &t->reason[i];
}

static void say(struct trace *t, const char *line)
{
	if (t->summary)
		return;
	puts(line);
	if (t->left > 0)
		t->left--;
}

/* The guest goes on: what it left for has taken this long. */
static void entered(struct trace *t, unsigned int vcpu, double at)
{
	uint64_t us = (uint64_t)((at - t->exit[vcpu].at) * 1e6 + 0.5);
	struct reason *r = reason_of(t, t->exit[vcpu].hw);
	char line[256];

	t->exit[vcpu].open = false;
	if (r) {
		r->count++;
		r->us += us;
		if (us > r->longest)
			r->longest = us;
	}
	snprintf(line, sizeof(line), "%s took %" PRIu64 " us", t->exit[vcpu].line, us);
	say(t, line);
}

/* " vcpu0-812 [001] d..1.  98.123456: hvx_exit: vm 1 vcpu 0 rip 0x... hw_reason 0x7b info 0x.. 0x.." */
static void one_line(struct trace *t, char *line)
{
	char *event = strstr(line, ": hvx_"), *time;
	unsigned int vm, vcpu = 0;
	unsigned long long rip = 0, hw = 0;
	double at;

	if (!event) {
		t->lost += strstr(line, "LOST") != NULL;
		return;
	}
	*event = '\0';
	event += strlen(": hvx_");
	time = strrchr(line, ' ');
	at = time ? strtod(time, NULL) : 0;
	if (sscanf(event, "%*[a-z_]: vm %u vcpu %u rip 0x%llx", &vm, &vcpu, &rip) != 3 || vcpu >= MAX_VCPUS)
		return;
	if (!strncmp(event, "entry:", 6)) {
		if (t->exit[vcpu].open)
			entered(t, vcpu, at);
	} else if (!strncmp(event, "exit:", 5)) {
		char *hw_text = strstr(event, "hw_reason ");

		if (hw_text)
			sscanf(hw_text, "hw_reason 0x%llx", &hw);
		t->exit[vcpu].open = true;
		t->exit[vcpu].at = at;
		t->exit[vcpu].hw = hw;
		snprintf(t->exit[vcpu].line, sizeof(t->exit[vcpu].line), "%.6f %s", at, event);
	} else {
		char text[256];

		snprintf(text, sizeof(text), "%.6f %s", at, event);
		say(t, text);
	}
}

static void follow(struct trace *t, const struct guest *g)
{
	static char buf[65536];
	size_t len = 0;

	while (!ended && t->left) {
		struct pollfd p = { .fd = t->pipe, .events = POLLIN };
		ssize_t n = read(t->pipe, buf + len, sizeof(buf) - 1 - len);
		char *line = buf, *eol;

		if (n <= 0) {
			if ((n < 0 && errno != EAGAIN && errno != EINTR) || !guest_wait_end(g, 0))
				break;
			poll(&p, 1, 200);
			continue;
		}
		len += (size_t)n;
		buf[len] = '\0';
		while (t->left && (eol = memchr(line, '\n', len))) {
			*eol = '\0';
			one_line(t, line);
			len -= (size_t)(eol + 1 - line);
			line = eol + 1;
		}
		memmove(buf, line, len);
		if (len == sizeof(buf) - 1)
			len = 0;	/* no line is that long */
		fflush(stdout);
		if (ferror(stdout))
			break;
	}
}

static int by_time(const void *a, const void *b)
{
	const struct reason *x = a, *y = b;

	return x->us < y->us ? 1 : x->us > y->us ? -1 : 0;
}

static void print_summary(struct trace *t)
{
	qsort(t->reason, t->nr_reasons, sizeof(t->reason[0]), by_time);
	printf("%-12s %12s %14s %10s %10s\n", "HW REASON", "EXITS", "TIME us", "MEAN us", "MAX us");
	for (unsigned int i = 0; i < t->nr_reasons; i++) {
		const struct reason *r = &t->reason[i];

		printf("%#-12" PRIx64 " %12" PRIu64 " %14" PRIu64 " %10.1f %10" PRIu64 "\n", r->hw, r->count, r->us,
		       (double)r->us / (double)r->count, r->longest);
	}
	if (t->lost)
		printf("the kernel's buffer overflowed %" PRIu64 " times: there were more\n", t->lost);
}

enum { R_ALL, R_COUNT, R_SUMMARY, R_TIME, R_NR };

static int cmd_trace(const struct cli_cmd *cmd, int argc, char **argv)
{
	static struct trace t = { .pipe = -1, .left = -1 };	/* large */
	struct sigaction sa = { .sa_handler = on_signal };
	const char *v[R_NR + 1];
	struct guest g;
	long ms = 0;
	int status = cli_parse(cmd, argc, argv, v, 1, 1);

	if (status >= 0)
		return status;
	if (v[R_COUNT] && !cli_number(cmd, "count", v[R_COUNT], 1, LONG_MAX, &t.left))
		return VMM_ERR_USAGE;
	if (v[R_TIME] && (ms = cli_seconds(cmd, "time", v[R_TIME])) < 0)
		return VMM_ERR_USAGE;
	t.summary = v[R_SUMMARY];
	if (guest_find(argv[optind], &g))
		return VMM_ERR_SETUP;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	status = VMM_ERR_SETUP;
	if (!g.dir) {
		cli_error("%s: the guest is not running", g.name);
	} else if (!open_instance(&t, &g, v[R_ALL])) {
		if (v[R_TIME])
			setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { ms / 1000, ms % 1000 * 1000 + 1 } }, NULL);
		follow(&t, &g);
		if (t.summary)
			print_summary(&t);
		status = VMM_OK;
	}
	close_instance(&t);
	guest_free(&g);
	return status;
}

static const struct cli_cmd trace_verb = {
	.name = "trace", .group = CLI_LOOK, .args = "NAME", .run = cmd_trace,
	.summary = "show each exit of a guest, where it was and how long it took",
	.help =
"Prints a line for each time that the guest left to the module: when, which vCPU, where\n"
"the guest was, the CPU's own reason with its two words (SDM vol. 3, appendix C; APM\n"
"vol. 2, appendix C), and how long until the guest went on. For root; through the\n"
"module's tracepoints, see hvx(4). Until Ctrl-C, or the guest ends.\n",
	.opts = OPTS(
		[R_ALL] = { "all", 'a', NULL, "injected events, page faults, MSRs and returns to the VMM, too" },
		[R_COUNT] = { "count", 'c', "N", "stop after N lines" },
		[R_SUMMARY] = { "summary", 's', NULL, "print no lines, but at the end time and number for each reason" },
		[R_TIME] = { "time", 't', "SECONDS", "stop after this time" }),
};
CLI_VERB(trace_verb);
