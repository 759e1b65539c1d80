// SPDX-License-Identifier: GPL-2.0-only
/*
 * hvx-net-slirp: a guest's user-mode network in a process of its own. It speaks
 * Ethernet frames, each behind its length (32 bits, big-endian), on descriptor 3,
 * and translates them to the host's sockets with libslirp: NAT, DHCP, DNS, port
 * forwards. An empty frame tells the VMM that all is set up.
 *
 * The library parses what the guest sends, so this process gives up what it can
 * before the first frame: capabilities, new privileges, the file system except
 * name-server settings (Landlock), and all system calls that sockets do not need.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "filters.h"
#include "vmm/number.h"

#define VMM_FD		3
#define MAX_FRAME	(65535 + 18)
#define MAX_TIMERS	4
#define MAX_POLLFDS	4096
#define FRAMES_A_TURN	64

struct timer {
	SlirpTimerCb cb;
	void *cb_opaque;
	int64_t expires_ms;	/* -1: not set */
	bool used;
};

static struct {
	Slirp *slirp;
	struct timer timer[MAX_TIMERS];
	struct pollfd *pfd;
	unsigned int nr_pfd, room_pfd;
	uint8_t in[4 + MAX_FRAME];	/* from the VMM */
	size_t in_len;
	uint8_t out[4 + MAX_FRAME];	/* rest of a frame that went out in part */
	size_t out_pos, out_len;
} net;

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	fputs("hvx-net-slirp: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* ------------------------------------------------------------------- to the VMM */

/* False: the VMM is gone. */
static bool flush_out(void)
{
	while (net.out_pos < net.out_len) {
		ssize_t n = send(VMM_FD, net.out + net.out_pos, net.out_len - net.out_pos,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		net.out_pos += n;
	}
	net.out_pos = net.out_len = 0;
	return true;
}

static ssize_t send_packet(const void *frame, size_t len, void *opaque)
{
	uint32_t header = htonl(len);

	(void)opaque;
	if (!len || len > MAX_FRAME || !flush_out())
		return -1;
	/* The guest does not keep up: as on any network, the frame is lost. */
	if (net.out_len)
		return len;
	memcpy(net.out, &header, sizeof(header));
	memcpy(net.out + sizeof(header), frame, len);
	net.out_len = sizeof(header) + len;
	flush_out();
	/* Not a byte of it went: then drop it whole rather than stall behind it. */
	if (!net.out_pos)
		net.out_len = 0;
	return len;
}

static void guest_error(const char *msg, void *opaque)
{
	static unsigned int count;

	(void)opaque;
	if (count++ < 10)
		fprintf(stderr, "hvx-net-slirp: %s\n", msg);
}

/* ----------------------------------------------------------------------- timers */

static int64_t now_ns(void *opaque)
{
	struct timespec ts;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void *timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
	unsigned int i;

	(void)opaque;
	for (i = 0; i < MAX_TIMERS; i++) {
		if (!net.timer[i].used) {
			net.timer[i] = (struct timer){ cb, cb_opaque, -1, true };
			return &net.timer[i];
		}
	}
	die("out of timers");
}

static void timer_free(void *timer, void *opaque)
{
	(void)opaque;
	((struct timer *)timer)->used = false;
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	(void)opaque;
	((struct timer *)timer)->expires_ms = expire_ms;
}

static uint32_t earliest(uint32_t timeout)
{
	int64_t now = now_ns(NULL) / 1000000;
	unsigned int i;

	for (i = 0; i < MAX_TIMERS; i++) {
		int64_t left = net.timer[i].expires_ms - now;

		if (!net.timer[i].used || net.timer[i].expires_ms < 0)
			continue;
		if (left < 0)
			left = 0;
		if (left < timeout)
			timeout = left;
	}
	return timeout;
}

static void run_timers(void)
{
	int64_t now = now_ns(NULL) / 1000000;
	unsigned int i;

	for (i = 0; i < MAX_TIMERS; i++) {
		struct timer *t = &net.timer[i];

		if (t->used && t->expires_ms >= 0 && t->expires_ms <= now) {
			t->expires_ms = -1;
			t->cb(t->cb_opaque);
		}
	}
}

static void nothing_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void nothing(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = now_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = nothing_fd,
	.unregister_poll_fd = nothing_fd,
	.notify = nothing,
};

/* ---------------------------------------------------------------------- polling */

static int add_poll(int fd, int events, void *opaque)
{
	short ev = 0;

	(void)opaque;
	if (net.nr_pfd == net.room_pfd) {
		unsigned int room = net.room_pfd ? 2 * net.room_pfd : 32;
		struct pollfd *pfd;

		if (room > MAX_POLLFDS)
			return -1;
		pfd = realloc(net.pfd, room * sizeof(*pfd));
		if (!pfd)
			return -1;
		net.pfd = pfd;
		net.room_pfd = room;
	}
	if (events & SLIRP_POLL_IN)
		ev |= POLLIN;
	if (events & SLIRP_POLL_OUT)
		ev |= POLLOUT;
	if (events & SLIRP_POLL_PRI)
		ev |= POLLPRI;
	net.pfd[net.nr_pfd] = (struct pollfd){ .fd = fd, .events = ev };
	return net.nr_pfd++;
}

static int get_revents(int i, void *opaque)
{
	short ev;
	int ret = 0;

	(void)opaque;
	if (i < 0)
		return 0;
	ev = net.pfd[i].revents;
	if (ev & POLLIN)
		ret |= SLIRP_POLL_IN;
	if (ev & POLLOUT)
		ret |= SLIRP_POLL_OUT;
	if (ev & POLLPRI)
		ret |= SLIRP_POLL_PRI;
	if (ev & POLLERR)
		ret |= SLIRP_POLL_ERR;
	if (ev & POLLHUP)
		ret |= SLIRP_POLL_HUP;
	return ret;
}

/* Frames of the guest. False: the VMM is gone, or talks nonsense. */
static bool take_frames(void)
{
	unsigned int turn;
	ssize_t n;

	for (turn = 0; turn < FRAMES_A_TURN; turn++) {
		size_t at = 0;

		n = recv(VMM_FD, net.in + net.in_len, sizeof(net.in) - net.in_len, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (!n)
			return false;
		net.in_len += n;
		while (net.in_len - at >= 4) {
			uint32_t len;

			memcpy(&len, net.in + at, 4);
			len = ntohl(len);
			if (len > MAX_FRAME)
				return false;
			if (net.in_len - at - 4 < len)
				break;
			slirp_input(net.slirp, net.in + at + 4, len);
			at += 4 + len;
		}
		memmove(net.in, net.in + at, net.in_len - at);
		net.in_len -= at;
	}
	return true;
}

static void run(void)
{
	for (;;) {
		uint32_t timeout = UINT32_MAX;
		int ret, vmm;

		net.nr_pfd = 0;
		vmm = add_poll(VMM_FD, SLIRP_POLL_IN | (net.out_len ? SLIRP_POLL_OUT : 0), NULL);
		slirp_pollfds_fill(net.slirp, &timeout, add_poll, NULL);
		timeout = earliest(timeout);
		ret = poll(net.pfd, net.nr_pfd, timeout > INT_MAX ? -1 : (int)timeout);
		if (ret < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		slirp_pollfds_poll(net.slirp, ret < 0, get_revents, NULL);
		run_timers();
		if (ret > 0 && net.pfd[vmm].revents & POLLOUT && !flush_out())
			return;
		if (ret > 0 && net.pfd[vmm].revents & (POLLIN | POLLHUP | POLLERR) && !take_frames())
			return;
	}
}

/* ---------------------------------------------------------------------- settings */

static void set_network(SlirpConfig *cfg, const char *arg)
{
	char text[INET_ADDRSTRLEN];
	const char *slash = strchr(arg, '/');
	long prefix = 24;
	struct in_addr addr;
	uint32_t base;
	size_t len = slash ? (size_t)(slash - arg) : strlen(arg);

	if (len >= sizeof(text) || (slash && !number_parse(slash + 1, 8, 28, &prefix)))
		die("network '%s': write ADDRESS/PREFIX with a prefix of 8 to 28", arg);
	memcpy(text, arg, len);
	text[len] = 0;
	if (inet_pton(AF_INET, text, &addr) != 1)
		die("network '%s': '%s' is not an IPv4 address", arg, text);
	cfg->vnetmask.s_addr = htonl(~0U << (32 - prefix));
	cfg->vnetwork.s_addr = addr.s_addr & cfg->vnetmask.s_addr;
	base = ntohl(cfg->vnetwork.s_addr);
	cfg->vhost.s_addr = htonl(base + 2);
	cfg->vnameserver.s_addr = htonl(base + 3);
	/* An address inside of the network is the guest's own. */
	cfg->vdhcp_start.s_addr = addr.s_addr != cfg->vnetwork.s_addr ? addr.s_addr : htonl(base + 15);
	if (ntohl(cfg->vdhcp_start.s_addr) - base < 4)
		die("network '%s': the first four addresses are the network's own", arg);
}

static unsigned int port_number(const char *text)
{
	long v;

	if (!number_parse(text, 0, 65535, &v))
		die("'%s' is not a port number", text);
	return (unsigned int)v;
}

static void forward_one(bool udp, struct in_addr host, unsigned int hport, unsigned int gport,
			const char *addr)
{
	struct in_addr guest = { 0 };	/* the one that DHCP gave out first */

	if (!slirp_add_hostfwd(net.slirp, udp, host, hport, guest, gport))
		return;
	die("cannot listen on %s port %u of %s: %s%s", udp ? "UDP" : "TCP", hport,
	    *addr ? addr : "the host", strerror(errno),
	    errno == EACCES && hport < 1024 ? "; ports below 1024 need root, take a higher one" :
	    errno == EADDRINUSE ? "; another program has it" : "");
}

/* PROTO:HOSTPORT:GUESTPORT:COUNT:[ADDRESS] */
static void add_forward(char *arg)
{
	char *part[4], *addr = arg;
	struct in_addr host = { .s_addr = INADDR_ANY };
	unsigned int i, count, hport, gport;

	for (i = 0; i < 4; i++) {
		part[i] = addr;
		addr = strchr(addr, ':');
		if (!addr)
			die("forward '%s' is not PROTO:HOSTPORT:GUESTPORT:COUNT:[ADDRESS]", arg);
		*addr++ = 0;
	}
	if (strcmp(part[0], "tcp") && strcmp(part[0], "udp"))
		die("forward: '%s' is neither tcp nor udp", part[0]);
	hport = port_number(part[1]);
	gport = port_number(part[2]);
	count = port_number(part[3]);
	if (*addr && inet_pton(AF_INET, addr, &host) != 1)
		die("forward: '%s' is not an IPv4 address", addr);
	if (!count || hport + count > 65536 || gport + count > 65536)
		die("forward: %u ports from %u are too many", count, hport > gport ? hport : gport);
	for (i = 0; i < count; i++)
		forward_one(!strcmp(part[0], "udp"), host, hport + i, gport + i, addr);
}

/* ----------------------------------------------------------------------- sandbox */

/* Files: reading below /etc and where its resolv.conf may point to, nothing else. */
static void restrict_files(void)
{
	static const char *const readable[] = {
		"/etc", "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf",
	};
	struct landlock_ruleset_attr attr = { .handled_access_fs = (1ULL << 13) - 1 };
	unsigned int i;
	int set;

	set = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (set < 0)
		return;		/* an older kernel: system-call filter and permissions remain */
	for (i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
		struct landlock_path_beneath_attr rule = {
			.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
			.parent_fd = open(readable[i], O_PATH | O_CLOEXEC),
		};

		if (rule.parent_fd < 0)
			continue;
		syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
		close(rule.parent_fd);
	}
	if (syscall(SYS_landlock_restrict_self, set, 0))
		die("Landlock: %s", strerror(errno));
	close(set);
}

static void restrict_calls(void)
{
	static const struct sock_fprog prog = {
		sizeof(filter_net) / sizeof(filter_net[0]), (struct sock_filter *)filter_net,
	};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		die("system-call filter: %s", strerror(errno));
}

static void drop_rights(void)
{
	struct rlimit none = { 0, 0 };
	cap_t empty = cap_init();

	if (!empty || cap_set_proc(empty))
		die("capabilities: %s", strerror(errno));
	cap_free(empty);
	/* Neither core dumps nor debuggers. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs: %s", strerror(errno));
	restrict_files();
	restrict_calls();
}

/* -------------------------------------------------------------------------- main */

static void say_ready(void)
{
	uint32_t zero = 0;

	if (send(VMM_FD, &zero, sizeof(zero), MSG_NOSIGNAL) != sizeof(zero))
		die("descriptor %d is not the VMM's socket; this program is started by hvx-vmm", VMM_FD);
}

static void defaults(SlirpConfig *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	cfg->version = 4;
	cfg->in_enabled = true;
	set_network(cfg, "10.0.2.0/24");
	cfg->in6_enabled = true;
	cfg->vprefix_len = 64;
	inet_pton(AF_INET6, "fec0::", &cfg->vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &cfg->vhost6);
	inet_pton(AF_INET6, "fec0::3", &cfg->vnameserver6);
}

int main(int argc, char **argv)
{
	SlirpConfig cfg;
	int i;

	signal(SIGPIPE, SIG_IGN);
	defaults(&cfg);
	for (i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--net"))
			set_network(&cfg, argv[i + 1]);
		else if (strcmp(argv[i], "--forward"))
			die("unknown option '%s'", argv[i]);
	}
	if (i != argc)
		die("option '%s' needs a value", argv[i]);
	net.slirp = slirp_new(&cfg, &callbacks, NULL);
	if (!net.slirp)
		die("libslirp does not start");
	for (i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--forward"))
			add_forward(argv[i + 1]);
	}
	drop_rights();
	say_ready();
	run();
	return 0;
}
