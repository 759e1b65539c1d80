// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"
#include "rundir.h"
#include "store.h"
#include "vmm/domxml_int.h"

#define LOOK_MS	3000	/* a VMM that does not answer in this time is listed as it is */

/* --- command lines --- */

int cli_parse(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max)
{
	const char *arg;
	int c, i;

	for (i = 0; cmd->opts[i].name; i++)
		value[i] = NULL;
	while ((c = cli_getopt(cmd, argc, argv, &arg)) != -1) {
		if (c < 0)
			return c == CLI_OPT_HELP ? VMM_OK : VMM_ERR_USAGE;
		for (i = 0; cmd->opts[i].name; i++)
			if (c == (cmd->opts[i].letter ? cmd->opts[i].letter : CLI_OPT_INDEX + i))
				value[i] = cmd->opts[i].arg ? arg : "";
	}
	if (argc - optind >= min && (max < 0 || argc - optind <= max))
		return -1;
	cli_error("%s: %s: %s; see: hvx help %s", cmd->name, argc - optind < min ? "wanted" : "no more than",
		  *cmd->args ? cmd->args : "no arguments", cmd->name);
	return VMM_ERR_USAGE;
}

void print_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

/* --- one guest --- */

const char *guest_state_name(enum guest_state s)
{
	static const char *const names[] = {
		[GUEST_OFF] = "shut off", [GUEST_RUNNING] = "running", [GUEST_PAUSED] = "paused",
		[GUEST_SHUTDOWN] = "in shutdown", [GUEST_CRASHED] = "crashed", [GUEST_STARTING] = "starting",
	};

	return names[s];
}

static pid_t read_pid(const char *dir)
{
	char *path = NULL, text[32] = "";
	int fd = -1;

	if (asprintf(&path, "%s/pid", dir) > 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return (pid_t)strtol(text, NULL, 10);
}

static enum guest_state state_of(const char *status)
{
	if (!strcmp(status, "running"))
		return GUEST_RUNNING;
	if (!strcmp(status, "shutdown"))
		return GUEST_SHUTDOWN;
	if (!strcmp(status, "guest-panicked"))
		return GUEST_CRASHED;
	return GUEST_PAUSED;
}

static void copy_member(struct json_object *o, const char *key, char *to, size_t size)
{
	const char *s = json_object_get_string(json_object_object_get(o, key));

	snprintf(to, size, "%s", s ? s : "");
}

/* What its VMM says. */
static void ask(struct guest *g)
{
	struct control *c = control_open(g->name);
	struct json_object *ret = NULL;

	g->state = GUEST_STARTING;
	snprintf(g->status, sizeof(g->status), "starting");
	if (!c && errno == ETIMEDOUT) {
		g->state = GUEST_RUNNING;
		snprintf(g->status, sizeof(g->status), "unresponsive");
	}
	if (!c)
		return;
	control_timeout(c, LOOK_MS);
	if (!control_call(c, "query-status", NULL, &ret)) {
		copy_member(ret, "status", g->status, sizeof(g->status));
		g->state = state_of(g->status);
	}
	json_object_put(ret);
	ret = NULL;
	if (!control_call(c, "query-uuid", NULL, &ret))
		copy_member(ret, "UUID", g->uuid, sizeof(g->uuid));
	json_object_put(ret);
	control_close(c);
}

/* The definition's <uuid>, without the trouble of a whole parse where that is not wanted. */
static void look_uuid(struct guest *g)
{
	size_t len;
	char *text = store_read(g->name, &len);
	xmlDoc *doc = text ? doc_parse(text, len, &(unsigned int){ 0 }, &(char *){ NULL }) : NULL;
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	for (xmlNode *n = root ? root->children : NULL; n; n = n->next) {
		xmlChar *s;

		if (n->type != XML_ELEMENT_NODE || strcmp((const char *)n->name, "uuid"))
			continue;
		s = xmlNodeGetContent(n);
		snprintf(g->uuid, sizeof(g->uuid), "%s", s ? (char *)s : "");
		xmlFree(s);
	}
	if (doc)
		xmlFreeDoc(doc);
	free(text);
}

static void look(struct guest *g)
{
	g->dir = rundir_find(g->name);
	g->defined = store_has(g->name);
	g->autostart = g->defined && store_autostart(g->name);
	if (g->dir) {
		g->pid = read_pid(g->dir);
		ask(g);
	} else {
		g->state = GUEST_OFF;
		snprintf(g->status, sizeof(g->status), "shutdown");
	}
	if (!g->uuid[0] && g->defined)
		look_uuid(g);
}

void guest_free(struct guest *g)
{
	free(g->dir);
	g->dir = NULL;
}

int guest_find(const char *what, struct guest *g)
{
	struct guest *all;
	long pid = strtol(what, NULL, 10);
	size_t n, i;

	memset(g, 0, sizeof(*g));
	if (guest_name_ok(what)) {
		snprintf(g->name, sizeof(g->name), "%s", what);
		look(g);
		if (g->dir || g->defined)
			return 0;
	}
	all = guests_list(true, &n);
	for (i = 0; i < n; i++)
		if (!strcasecmp(all[i].uuid, what) || (pid > 0 && all[i].pid == pid && !what[strspn(what, "0123456789")]))
			break;
	if (i < n) {
		*g = all[i];
		all[i].dir = NULL;
	}
	guests_free(all, n);
	if (i < n)
		return 0;
	cli_error("%s: no such guest; `hvx list --all` shows them", what);
	return -1;
}

struct control *guest_control(const char *what, struct guest *g)
{
	struct control *c;

	if (guest_find(what, g))
		return NULL;
	if (!g->dir) {
		cli_error("%s: the guest is not running; `hvx start %s` starts it", g->name, g->name);
		return NULL;
	}
	c = control_open_or_say(g->name);
	if (!c)
		guest_free(g);
	return c;
}

int cli_guest(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max,
	      struct guest *g)
{
	int status = cli_parse(cmd, argc, argv, value, min, max);

	return status >= 0 || !guest_find(argv[optind], g) ? status : VMM_ERR_SETUP;
}

int cli_control(const struct cli_cmd *cmd, int argc, char **argv, const char *value[], int min, int max,
		struct guest *g, struct control **c)
{
	int status = cli_parse(cmd, argc, argv, value, min, max);

	*c = status >= 0 ? NULL : guest_control(argv[optind], g);
	return status >= 0 || *c ? status : VMM_ERR_SETUP;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Its folder's lock is let go when the VMM is gone: pids may be used again. */
int guest_wait_end(const struct guest *g, long ms)
{
	int64_t end = now_ms() + ms;
	pid_t pid = g->pid;
	char *dir;

	while ((dir = rundir_find(g->name))) {
		pid_t now = read_pid(dir);
		bool same = now == pid || !now;	/* its file goes before the process does */

		free(dir);
		if (!same)
			return 0;
		if (ms >= 0 && now_ms() >= end)
			return -1;
		poll(NULL, 0, 20);
	}
	return 0;
}

/* --- its share of the host --- */

uint64_t guest_cpu_time(pid_t pid)
{
	unsigned long long user = 0, sys = 0;
	char path[32], buf[1024], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = pid ? fopen(path, "re") : NULL;
	if (!f)
		return 0;
	if (fgets(buf, sizeof(buf), f) && (p = strrchr(buf, ')')))
		sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys);
	fclose(f);
	return (user + sys) * (1000000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK));
}

/* --- its XML --- */

static char *read_live_xml(const struct guest *g, size_t *len)
{
	char *path = NULL, *text = NULL, *why = NULL;

	if (asprintf(&path, "%s/domain.xml", g->dir) < 0)
		return NULL;
	text = doc_read(path, -1, DOMXML_MAX_FILE, len, &why);
	if (!text)
		cli_error("%s: %s", path, why ? why : "out of memory");
	free(why);
	free(path);
	return text;
}

/* What the VMM has is the guest as it is now; NULL: it does not tell. */
static char *ask_live_xml(const struct guest *g, size_t *len)
{
	struct control *c = control_open(g->name);
	struct json_object *ret = NULL, *xml = NULL;
	char *text = NULL;

	if (c && !control_call(c, "x-hvx-query-xml", NULL, &ret))
		xml = json_object_object_get(ret, "xml");
	if (xml && json_object_get_string_len(xml) > 0) {
		text = strdup(json_object_get_string(xml));
		*len = text ? strlen(text) : 0;
	}
	json_object_put(ret);
	control_close(c);
	return text;
}

char *guest_xml(const struct guest *g, bool inactive, size_t *len)
{
	char *text;

	if (g->dir && !inactive) {
		text = ask_live_xml(g, len);
		return text ? text : read_live_xml(g, len);
	}
	text = store_read(g->name, len);
	if (!text && errno == ENOENT)
		cli_error("%s: the guest is not defined; it has only the XML that it runs with", g->name);
	else if (!text && errno != EIO)
		cli_error("%s: its definition: %s", g->name, strerror(errno));
	return text;
}

struct domain *guest_domain(const struct guest *g, bool inactive)
{
	size_t len;
	char *text = guest_xml(g, inactive, &len), *path = store_path(g->name);
	struct domain *dom = text ? store_parse(path ? path : g->name, text, len, false) : NULL;

	free(path);
	free(text);
	return dom;
}

/* --- all of them --- */

struct list {
	struct guest *g;
	size_t n, room;
};

static bool add(void *opaque, const char *name, const char *path)
{
	struct list *l = opaque;
	struct guest *p;

	(void)path;
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->g[i].name, name))
			return true;
	if (l->n == l->room) {
		p = realloc(l->g, (l->room + 16) * 2 * sizeof(*p));
		if (!p)
			return false;
		l->g = p;
		l->room = (l->room + 16) * 2;
	}
	memset(&l->g[l->n], 0, sizeof(l->g[0]));
	snprintf(l->g[l->n++].name, sizeof(l->g[0].name), "%s", name);
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct guest *)a)->name, ((const struct guest *)b)->name);
}

struct guest *guests_list(bool defined, size_t *n)
{
	struct list l = { 0 };

	rundir_each(add, &l);
	if (defined)
		store_each(add, &l);
	if (l.n)
		qsort(l.g, l.n, sizeof(l.g[0]), by_name);
	for (size_t i = 0; i < l.n; i++)
		look(&l.g[i]);
	*n = l.n;
	return l.g;
}

struct guest *guests_defined(size_t *n)
{
	struct list l = { 0 };

	store_each(add, &l);
	for (size_t i = 0; i < l.n; i++) {
		l.g[i].defined = true;
		look_uuid(&l.g[i]);
	}
	*n = l.n;
	return l.g;
}

void guests_free(struct guest *g, size_t n)
{
	for (size_t i = 0; i < n; i++)
		guest_free(&g[i]);
	free(g);
}
