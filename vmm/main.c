// SPDX-License-Identifier: GPL-2.0-only
/* hvx-vmm: one process, one guest. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libxml/parser.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chardev.h"
#include "devices/device.h"
#include "domxml.h"
#include "machine.h"
#include "qmp.h"
#include "sandbox.h"
#include "trim.h"

struct options {
	const char *file, *name, *runtime_dir;
	int xml_fd, verbosity;
	bool console, no_sandbox, paused;
};

static const char usage_text[] =
"Usage: hvx-vmm [OPTION...] FILE.xml\n"
"       hvx-vmm [OPTION...] --xml-fd N\n"
"\n"
"Runs the guest that FILE.xml describes. Usually started by `hvx run`.\n"
"\n"
"  --console stdio|none  stdio: the guest's console is this terminal (default);\n"
"                        Ctrl-] then q stops the guest, Ctrl-] ? tells more\n"
"  --name NAME           instead of the XML's <name>\n"
"  --runtime-dir DIR     write DIR/pid, and links to the pseudo-terminals of the\n"
"                        guest as DIR/serial0.pty and so on; DIR/control.sock is\n"
"                        the control socket\n"
"  --xml-fd N            read the XML from this file descriptor\n"
"  --paused              wait for `cont` on the control socket before the guest runs\n"
"  --no-sandbox          keep capabilities and system calls (for debugging)\n"
"  --devices             list the devices there are, and the XML that makes them\n"
"  --commands            describe the commands of the control socket, in Markdown\n"
"  -v, --verbose         say more; twice: much more\n"
"  -h, --help            this text\n"
"\n"
"Signals: SIGTERM, SIGINT, SIGHUP stop the guest at once, SIGUSR1 presses its\n"
"power button, SIGUSR2 writes the registers of all vCPUs to standard error.\n"
"\n"
"Exit status: 0 the guest powered off, 64 bad command line or XML, 65 the guest\n"
"could not be started, 66 no /dev/hvx or the CPU is held by another hypervisor,\n"
"67 the guest panicked, 68 triple fault, 69 the VMM or the module failed,\n"
"70 stopped by a signal, other odd numbers: (V << 1) | 1 where the guest wrote V\n"
"to its debug-exit port.\n";

enum { OPT_CONSOLE = 256, OPT_NAME, OPT_RUNTIME_DIR, OPT_XML_FD, OPT_NO_SANDBOX, OPT_DEVICES,
       OPT_COMMANDS, OPT_PAUSED };

static const struct option long_options[] = {
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR },
	{ "xml-fd", required_argument, NULL, OPT_XML_FD },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "devices", no_argument, NULL, OPT_DEVICES },
	{ "commands", no_argument, NULL, OPT_COMMANDS },
	{ "paused", no_argument, NULL, OPT_PAUSED },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void list_devices(void)
{
	const struct device_ops *const *ops;

	for (ops = __start_hvx_devices; ops < __stop_hvx_devices; ops++)
		printf("%s\n  %s\n  %s\n\n", (*ops)->name, (*ops)->xml ? (*ops)->xml : "",
		       (*ops)->help ? (*ops)->help : "");
}

static bool number(const char *s, int *out)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(s, &end, 10);
	if (errno || *end || end == s || n < 0 || n > 1 << 20)
		return false;
	*out = (int)n;
	return true;
}

/* VMM_OK: go on. -1: done, exit 0. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	o->xml_fd = -1;
	o->console = true;
	while ((c = getopt_long(argc, argv, "vh", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_CONSOLE:
			if (strcmp(optarg, "stdio") && strcmp(optarg, "none")) {
				log_error("--console %s: stdio or none", optarg);
				return VMM_ERR_USAGE;
			}
			o->console = !strcmp(optarg, "stdio");
			break;
		case OPT_NAME:
			o->name = optarg;
			break;
		case OPT_RUNTIME_DIR:
			o->runtime_dir = optarg;
			break;
		case OPT_XML_FD:
			if (!number(optarg, &o->xml_fd)) {
				log_error("--xml-fd %s: not a file descriptor", optarg);
				return VMM_ERR_USAGE;
			}
			break;
		case OPT_NO_SANDBOX:
			o->no_sandbox = true;
			break;
		case OPT_DEVICES:
			list_devices();
			return -1;
		case OPT_COMMANDS:
			qmp_print_markdown();
			return -1;
		case OPT_PAUSED:
			o->paused = true;
			break;
		case 'v':
			o->verbosity++;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return -1;
		default:
			return VMM_ERR_USAGE;
		}
	}
	if (optind + 1 == argc)
		o->file = argv[optind];
	else if (optind != argc || o->xml_fd < 0) {
		log_error("one XML file is wanted; see hvx-vmm --help");
		return VMM_ERR_USAGE;
	}
	return VMM_OK;
}

static int write_pid(const char *dir, char **path)
{
	char text[16];
	int fd, len;

	if (asprintf(path, "%s/pid", dir) < 0) {
		*path = NULL;
		return -ENOMEM;
	}
	fd = open(*path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (write(fd, text, (size_t)len) != len) {
		close(fd);
		return -EIO;
	}
	close(fd);
	return 0;
}

/* Each vCPU, virtqueue and file of a big guest takes a descriptor. */
static void raise_limits(void)
{
	struct rlimit rl;

	if (!getrlimit(RLIMIT_NOFILE, &rl) && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max < 65536 ? rl.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static int run_guest(const struct options *o, const struct domain *dom)
{
	static struct machine m;	/* large: 64 vCPUs and two buses */
	char *pid_path = NULL;
	int status, err;

	m.console_in = o->console ? STDIN_FILENO : -1;
	m.console_out = o->console ? STDOUT_FILENO : -1;
	m.runtime_dir = o->runtime_dir;
	m.start_paused = o->paused;
	status = machine_build(&m, dom);
	if (!status && o->runtime_dir) {
		err = write_pid(o->runtime_dir, &pid_path);
		if (err) {
			log_error("%s/pid: %s", o->runtime_dir, strerror(-err));
			status = VMM_ERR_SETUP;
		}
	}
	if (!status && o->console) {
		err = terminal_raw(STDIN_FILENO);
		if (err)
			log_warn("cannot put the terminal into raw mode: %s", strerror(-err));
	}
	if (!status) {
		trim_memory();
		status = machine_run(&m);
	}
	machine_free(&m);
	terminal_restore();
	if (pid_path)
		unlink(pid_path);
	free(pid_path);
	return status;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct domain *dom;
	int status;

	/* Many threads, little to allocate: one arena saves a heap for each. */
	mallopt(M_ARENA_MAX, 1);
	log_init(NULL, 0);
	status = parse_options(argc, argv, &o);
	if (status)
		return status < 0 ? VMM_OK : status;
	log_init(NULL, o.verbosity);
	signal(SIGPIPE, SIG_IGN);
	raise_limits();

	dom = domxml_load(o.file ? o.file : "(stdin)", o.xml_fd, NULL);
	xmlCleanupParser();
	if (!dom)
		return VMM_ERR_USAGE;
	if (o.name) {
		free(dom->name);
		dom->name = strdup(o.name);
	}
	log_init(dom->name, o.verbosity);
	if (sandbox_init(!o.no_sandbox))
		return VMM_ERR_SETUP;
	status = run_guest(&o, dom);
	domain_free(dom);
	return status;
}
