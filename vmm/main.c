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
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chardev.h"
#include "devices/device.h"
#include "domxml_int.h"
#include "logfile.h"
#include "machine.h"
#include "migrate.h"
#include "number.h"
#include "qmp.h"
#include "sandbox.h"
#include "stream_ram.h"
#include "trim.h"
#include "tune.h"

struct options {
	const char *file, *name, *runtime_dir, *gdb, *log_file;
	const struct hv_ops *accel;
	int xml_fd, restore_fd, ram_fd, ready_fd, verbosity;
	int incoming_fd[MIG_MAX_STREAMS];
	unsigned int nr_incoming;
	struct disks_in disks;
	bool incoming;
	bool console, no_sandbox, paused, fork, reverted, own_dir, throwaway, agent;
};

static const char usage_text[] =
"Usage: hvx-vmm [OPTION...] FILE.xml\n"
"       hvx-vmm [OPTION...] --xml-fd N\n"
"       hvx-vmm [OPTION...] --restore-fd N\n"
"       hvx-vmm [OPTION...] --incoming-fd N\n"
"\n"
"Runs the guest that FILE.xml describes. Usually started by `hvx run`.\n"
"\n"
"  --accel hvx|kvm       what runs the guest: hvx.ko (default), or KVM where\n"
"                        hvx.ko cannot be loaded\n"
"  --console stdio|none  stdio: the guest's console is this terminal (default);\n"
"                        Ctrl-] then q stops the guest, Ctrl-] ? tells more\n"
"  --name NAME           instead of the XML's <name>\n"
"  --runtime-dir DIR     write DIR/pid, and links to the pseudo-terminals of the\n"
"                        guest as DIR/serial0.pty and so on; DIR/control.sock is\n"
"                        the control socket\n"
"  --own-runtime-dir DIR the same, and remove DIR when the guest has ended\n"
"  --xml-fd N            read the XML from this file descriptor\n"
"  --restore-fd N        begin with the saved state in this file, and with the XML\n"
"                        in it unless one is given\n"
"  --fork                with --restore-fd: share the memory in that file copy-on-\n"
"                        write, and write nothing to the disks' images\n"
"  --reverted            with --restore-fd: the guest goes back to it, and is told by\n"
"                        a new generation ID; --fork does that, too\n"
"  --incoming-fd N       receive a guest from another VMM over this socket, its XML too\n"
"                        unless one is given; again for each further stream\n"
"  --disk-fd TARGET=N    with --incoming-fd: the image of this disk, to be written to by\n"
"                        --nbd-fd before the guest is here\n"
"  --nbd-fd N            an NBD client on this socket writes to a disk of --disk-fd\n"
"  --incoming            wait for `migrate-incoming` on the control socket\n"
"  --ram-fd N            with --fork: the memory is in this file\n"
"  --ready-fd N          write a byte to this file descriptor when the guest begins;\n"
"                        where it is a socket, a guest that comes from elsewhere writes `n`\n"
"                        before, and reads `y`: what it needs here is there\n"
"  --throwaway           drop what the guest writes to its disks, as by <transient/>\n"
"  --agent               add the channel of qemu-guest-agent where the XML has none\n"
"  --paused              wait for `cont` on the control socket before the guest runs\n"
"  --gdb WHERE           let a debugger come: unix (DIR/gdb.sock), unix:PATH, tcp:PORT\n"
"                        (of 127.0.0.1) or tcp:HOST:PORT\n"
"  --log-file FILE       append messages to FILE, at most 2 MiB of them, and of earlier\n"
"                        ones to FILE.0, FILE.1, FILE.2; not to standard error\n"
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
       OPT_COMMANDS, OPT_PAUSED, OPT_RESTORE_FD,
       OPT_FORK, OPT_REVERTED, OPT_RAM_FD, OPT_OWN_DIR, OPT_GDB, OPT_THROWAWAY, OPT_AGENT,
       OPT_ACCEL, OPT_READY_FD, OPT_INCOMING, OPT_INCOMING_FD, OPT_DISK_FD, OPT_NBD_FD, OPT_LOG_FILE };

static const struct option long_options[] = {
	{ "accel", required_argument, NULL, OPT_ACCEL },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR },
	{ "own-runtime-dir", required_argument, NULL, OPT_OWN_DIR },
	{ "xml-fd", required_argument, NULL, OPT_XML_FD },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "devices", no_argument, NULL, OPT_DEVICES },
	{ "commands", no_argument, NULL, OPT_COMMANDS },
	{ "paused", no_argument, NULL, OPT_PAUSED },
	{ "restore-fd", required_argument, NULL, OPT_RESTORE_FD },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "fork", no_argument, NULL, OPT_FORK },
	{ "reverted", no_argument, NULL, OPT_REVERTED },
	{ "incoming", no_argument, NULL, OPT_INCOMING },
	{ "incoming-fd", required_argument, NULL, OPT_INCOMING_FD },
	{ "disk-fd", required_argument, NULL, OPT_DISK_FD },
	{ "nbd-fd", required_argument, NULL, OPT_NBD_FD },
	{ "ram-fd", required_argument, NULL, OPT_RAM_FD },
	{ "gdb", required_argument, NULL, OPT_GDB },
	{ "log-file", required_argument, NULL, OPT_LOG_FILE },
	{ "throwaway", no_argument, NULL, OPT_THROWAWAY },
	{ "agent", no_argument, NULL, OPT_AGENT },
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
	long n;

	if (!number_parse(s, 0, 1 << 20, &n))
		return false;
	*out = (int)n;
	return true;
}

/* A descriptor that an option names; list full: none goes there any more. */
static bool take_fd(const char *option, int *fd, bool full)
{
	if (!full && number(optarg, fd))
		return true;
	log_error("--%s %s: not a file descriptor%s", option, optarg, full ? ", or too many" : "");
	return false;
}

static bool take_console(struct options *o)
{
	o->console = !strcmp(optarg, "stdio");
	if (o->console || !strcmp(optarg, "none"))
		return true;
	log_error("--console %s: stdio or none", optarg);
	return false;
}

static bool take_accel(struct options *o)
{
	o->accel = hv_named(optarg);
	if (!o->accel)
		log_error("--accel %s: hvx or kvm", optarg);
	return o->accel;
}

static bool take_disk(struct options *o)
{
	if (disks_in_add(&o->disks, optarg))
		return true;
	log_error("--disk-fd %s: TARGET=FD is wanted, and at most %d of them", optarg, MIRROR_MAX);
	return false;
}

/* Options that are a descriptor. False after a message. */
static bool fd_option(int c, struct options *o)
{
	switch (c) {
	case OPT_XML_FD:
		return take_fd("xml-fd", &o->xml_fd, false);
	case OPT_RESTORE_FD:
		return take_fd("restore-fd", &o->restore_fd, false);
	case OPT_RAM_FD:
		return take_fd("ram-fd", &o->ram_fd, false);
	case OPT_READY_FD:
		return take_fd("ready-fd", &o->ready_fd, false);
	case OPT_INCOMING_FD:
		o->incoming = true;
		if (!take_fd("incoming-fd", &o->incoming_fd[o->nr_incoming], o->nr_incoming == MIG_MAX_STREAMS))
			return false;
		o->nr_incoming++;
		return true;
	case OPT_NBD_FD:
		if (!take_fd("nbd-fd", &o->disks.sock[o->disks.nr_socks], o->disks.nr_socks == MIRROR_MAX))
			return false;
		o->disks.nr_socks++;
		return true;
	default:
		return false;	/* getopt has said what it is */
	}
}

/* What an option without an argument says, NULL: it is none of these. */
static bool *flag_of(struct options *o, int c)
{
	switch (c) {
	case OPT_NO_SANDBOX:
		return &o->no_sandbox;
	case OPT_INCOMING:
		return &o->incoming;
	case OPT_FORK:
		return &o->fork;
	case OPT_REVERTED:
		return &o->reverted;
	case OPT_PAUSED:
		return &o->paused;
	case OPT_THROWAWAY:
		return &o->throwaway;
	case OPT_AGENT:
		return &o->agent;
	default:
		return NULL;
	}
}

/* One option. VMM_OK; VMM_ERR_USAGE after a message; -1: done, exit 0. */
static int take_option(int c, struct options *o)
{
	bool ok = true, *flag = flag_of(o, c);

	if (flag) {
		*flag = true;
		return VMM_OK;
	}
	switch (c) {
	case OPT_CONSOLE:
		ok = take_console(o);
		break;
	case OPT_ACCEL:
		ok = take_accel(o);
		break;
	case OPT_NAME:
		o->name = optarg;
		break;
	case OPT_OWN_DIR:
		o->own_dir = true;
		/* fall through */
	case OPT_RUNTIME_DIR:
		o->runtime_dir = optarg;
		break;
	case OPT_DEVICES:
		list_devices();
		return -1;
	case OPT_COMMANDS:
		qmp_print_markdown();
		return -1;
	case OPT_DISK_FD:
		ok = take_disk(o);
		break;
	case OPT_GDB:
		o->gdb = optarg;
		break;
	case OPT_LOG_FILE:
		o->log_file = optarg;
		break;
	case 'v':
		o->verbosity++;
		break;
	case 'h':
		fputs(usage_text, stdout);
		return -1;
	default:
		ok = fd_option(c, o);
		break;
	}
	return ok ? VMM_OK : VMM_ERR_USAGE;
}

/* VMM_OK: go on. -1: done, exit 0. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c, ret;

	o->xml_fd = o->restore_fd = o->ram_fd = o->ready_fd = -1;
	o->console = true;
	o->accel = &hv_hvx;
	while ((c = getopt_long(argc, argv, "vh", long_options, NULL)) != -1) {
		ret = take_option(c, o);
		if (ret)
			return ret;
	}
	if (optind + 1 == argc)
		o->file = argv[optind];
	else if (optind != argc || (o->xml_fd < 0 && o->restore_fd < 0 && !o->nr_incoming) ||
		 (o->fork && o->restore_fd < 0) || (o->incoming && o->restore_fd >= 0)) {
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

/* What `hvx` and this process put there; whoever waits for the lock sees that it is another. */
static void remove_runtime_dir(const char *dir)
{
	static const char *const names[] = { "domain.xml", "log", "lock" };
	char path[4096];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) < (int)sizeof(path))
			unlink(path);
	rmdir(dir);
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

/* What a guest is made from. */
struct source {
	struct domain *dom;
	char *xml;		/* its text */
	size_t xml_len;
	struct stream_in state;	/* with --restore-fd or --incoming-fd, behind its XML */
	struct mem_source ram;	/* with --fork */
};

/* The XML of a saved state: as if it came in a file. */
static int read_state_xml(struct source *src, int fd, struct state_error *err)
{
	struct sbuf b = { 0 };
	uint64_t plain, len;
	uint32_t type;
	int ret;

	ret = stream_open(&src->state, fd, err) ?:
	      stream_next(&src->state, &type, &b, &plain, &len, err);
	if (!ret && type != SEC_XML)
		ret = state_error(err, "no XML in it");
	if (!ret && !src->xml) {
		src->xml = malloc(b.len + 1);
		src->xml_len = b.len;
		if (src->xml)
			memcpy(src->xml, b.data, b.len);
		else
			ret = -ENOMEM;
	}
	sbuf_free(&b);
	return ret;
}

/* Where a fork's memory is: in the file of its state, or beside it. */
static int find_ram(struct source *src, int ram_fd, struct state_error *err)
{
	struct stream_in ahead = src->state;
	struct sbuf b = { 0 };
	uint64_t plain = 0, len;
	uint32_t type = 0;
	int ret = 0;

	while (!ret && type != SEC_RAM)
		ret = stream_next(&ahead, &type, &b, &plain, &len, err);
	if (!ret && sbuf_get_num(&b, 4) == RAM_SHARED) {
		src->ram = (struct mem_source){ .fd = ram_fd };
		if (ram_fd < 0)
			ret = state_error(err, "--fork needs --ram-fd for it");
	} else if (!ret) {
		ret = stream_next(&ahead, &type, &b, &plain, &len, err);
		if (!ret && type != SEC_RAM_PLAIN)
			ret = state_error(err, "its memory is compressed; forks need one that was saved with --plain");
		src->ram = (struct mem_source){ .fd = src->state.fd, .offset = plain };
	}
	sbuf_free(&b);
	if (!ret && lseek(src->state.fd, (off_t)src->state.bytes, SEEK_SET) < 0)
		ret = -errno;
	return ret;
}

/* A fork's disks: what it writes goes with it. */
static void detach_disks(struct domain *dom)
{
	unsigned int i;

	for (i = 0; i < dom->nr_disks; i++) {
		dom->disk[i].transient |= !dom->disk[i].readonly;
		dom->disk[i].shareable = true;
	}
}

/* The images are the other side's until the guest is ours. */
static void defer_disks(struct domain *dom)
{
	for (unsigned int i = 0; i < dom->nr_disks; i++)
		dom->disk[i].incoming = true;
}

/* domxml.c reads files: it gets one of exactly this text. */
static struct domain *parse_text(const char *name, const char *text, size_t len)
{
	int fd = memfd_create("domain.xml", MFD_CLOEXEC);
	struct domain *dom = NULL;

	if (fd >= 0 && write(fd, text, len) == (ssize_t)len)
		dom = domxml_load(name, fd, NULL);
	else
		log_error("%s: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return dom;
}

static int read_source(const struct options *o, struct source *src)
{
	const char *name = o->file ? o->file : o->restore_fd >= 0 ? "(saved state)" :
			   o->nr_incoming ? "(incoming guest)" : "(stdin)";
	int from = o->nr_incoming ? o->incoming_fd[0] : o->restore_fd;
	struct state_error err = { .text = "" };
	char *why = NULL;

	if (o->file || o->xml_fd >= 0) {
		src->xml = doc_read(o->file, o->xml_fd, DOMXML_MAX_FILE, &src->xml_len, &why);
		if (!src->xml) {
			fprintf(stderr, "%s: %s\n", name, why ? why : "out of memory");
			free(why);
			return VMM_ERR_USAGE;
		}
	}
	if (from >= 0 && (read_state_xml(src, from, &err) ||
			  (o->fork && find_ram(src, o->ram_fd, &err)))) {
		log_error("the %s: %s", o->nr_incoming ? "guest cannot be received" :
			  "saved state cannot be restored", err.text[0] ? err.text : "out of memory");
		return VMM_ERR_SETUP;
	}
	src->dom = parse_text(name, src->xml, src->xml_len);
	xmlCleanupParser();
	if (src->dom && o->fork)
		detach_disks(src->dom);
	if (src->dom && o->incoming)
		defer_disks(src->dom);
	if (src->dom && disks_in_apply(&o->disks, src->dom))
		return VMM_ERR_USAGE;
	return src->dom ? VMM_OK : VMM_ERR_USAGE;
}

static void drop_writes(struct domain *dom)
{
	for (unsigned int i = 0; i < dom->nr_disks; i++)
		if (!dom->disk[i].readonly)
			dom->disk[i].transient = true;
}

static void add_agent(struct domain *dom)
{
	static const char name[] = "org.qemu.guest_agent.0";
	struct dom_port *p = &dom->port[dom->nr_ports];

	for (unsigned int i = 0; i < dom->nr_ports; i++)
		if (dom->port[i].name && !strcmp(dom->port[i].name, name))
			return;
	if (dom->nr_ports == DOM_MAX_PORTS) {
		log_warn("no port is left for the guest agent's channel");
		return;
	}
	*p = (struct dom_port){ .name = strdup(name), .chr = { .type = CHR_UNIX, .listen = true } };
	dom->nr_ports++;
}

/* Whoever waits for memory must not go on without it: see incoming_partial(). The next `hvx` clears away. */
static void __attribute__((noreturn)) end_partial(struct machine *m, const struct options *o,
						  const char *pid_path, int status)
{
	char path[4096];

	mig_dest_stop(&m->incoming->d);
	log_warn("the guest has ended with memory of it at the other host");
	tune_end();
	terminal_restore();
	if (pid_path)
		unlink(pid_path);
	if (o->runtime_dir && snprintf(path, sizeof(path), "%s/control.sock", o->runtime_dir) < (int)sizeof(path))
		unlink(path);
	_exit(status);
}

static void set_up(struct machine *m, const struct options *o, struct source *src)
{
	static struct incoming incoming;

	m->console_in = o->console ? STDIN_FILENO : -1;
	m->console_out = o->console ? STDOUT_FILENO : -1;
	m->accel = o->accel;
	m->runtime_dir = o->runtime_dir;
	m->start_paused = o->paused;
	m->ready_fd = o->ready_fd;
	if (m->ready_fd >= 0)
		fcntl(m->ready_fd, F_SETFD, FD_CLOEXEC);
	m->xml = src->xml;
	m->xml_len = src->xml_len;
	m->load = o->restore_fd >= 0 ? &src->state : NULL;
	m->ram_from = o->fork ? &src->ram : NULL;
	m->reverted = o->fork || o->reverted;
	m->gdb_where = o->gdb;
	if (o->incoming) {
		memcpy(incoming.fd, o->incoming_fd, sizeof(incoming.fd));
		incoming.nr = o->nr_incoming;
		incoming.in = src->state;
		incoming.disks = o->disks;
		postcopy_open(&incoming.post, o->runtime_dir);
		m->incoming = &incoming;
	}
}

static int run_guest(const struct options *o, struct source *src)
{
	static struct machine m;	/* large: 64 vCPUs and two buses */
	char *pid_path = NULL;
	int status, err;

	set_up(&m, o, src);
	tune_begin(src->dom);
	status = machine_build(&m, src->dom);
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
	if (status && m.incoming)
		incoming_refuse(m.incoming);
	if (!status) {
		trim_memory();
		status = machine_run(&m);
	}
	if (incoming_partial(&m))
		end_partial(&m, o, pid_path, status);
	machine_free(&m);
	tune_end();
	terminal_restore();
	if (pid_path)
		unlink(pid_path);
	free(pid_path);
	if (o->own_dir && !(status >= VMM_ERR_USAGE && status <= VMM_ERR_HOST))
		remove_runtime_dir(o->runtime_dir);
	return status;
}

static void refuse_incoming(const struct options *o)
{
	struct incoming in = { .nr = o->nr_incoming };

	memcpy(in.fd, o->incoming_fd, sizeof(in.fd));
	incoming_refuse(&in);
}

static int run(const struct options *o, struct source *src)
{
	int status = read_source(o, src);

	if (status && o->nr_incoming)
		refuse_incoming(o);
	if (status)
		return status;
	if (o->name) {
		free(src->dom->name);
		src->dom->name = strdup(o->name);
	}
	log_init(src->dom->name, o->verbosity);
	if (o->throwaway)
		drop_writes(src->dom);
	if (o->agent)
		add_agent(src->dom);
	if (sandbox_init(!o->no_sandbox, o->accel->ioc))
		return VMM_ERR_SETUP;
	status = run_guest(o, src);
	domain_free(src->dom);
	free(src->xml);
	return status;
}

static void log_line(void *opaque, const char *line, size_t len)
{
	struct logfile *f = opaque;

	/* nowhere left to complain */
	logfile_put(f, line, len);
	logfile_flush(f);
}

/* NULL: stderr it is. */
static struct logfile *open_log(const struct options *o)
{
	struct logfile *f = o->log_file ? logfile_open(o->log_file, true) : NULL;

	if (f)	/* standard error is the same file: what the C library and other programs have to say */
		log_to(log_line, f);
	else if (o->log_file)
		log_warn("%s: %s; messages go to standard error", o->log_file, strerror(errno));
	return f;
}

static void close_log(struct logfile *f)
{
	log_to(NULL, NULL);
	logfile_close(f);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct source src = { 0 };
	struct logfile *log;
	int status;

	/* Many threads, little to allocate: one arena saves a heap for each. */
	mallopt(M_ARENA_MAX, 1);
	log_init(NULL, 0);
	status = parse_options(argc, argv, &o);
	if (status)
		return status < 0 ? VMM_OK : status;
	log_init(NULL, o.verbosity);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* a write fails instead */
	raise_limits();
	log = open_log(&o);

	status = run(&o, &src);
	close_log(log);
	return status;
}
