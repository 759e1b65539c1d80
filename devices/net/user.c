// SPDX-License-Identifier: GPL-2.0-only
/*
 * User-mode network: a helper process does NAT, DHCP and DNS behind a stream
 * socket on which each Ethernet frame follows its length (32 bits, big-endian).
 * What the guest sends reaches no parser in this process; when the helper dies,
 * the link goes down and the guest lives on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "devices/device.h"
#include "devices/net/backend.h"
#include "vmm/helper.h"

#define HELPER		"hvx-net-slirp"
#define HELPER_FD	3
#define START_MS	20000		/* a guard, for a helper that hangs */
#define IN_SIZE		(NET_MAX_FRAME + 4)
#define MAX_ARGS	(4 + DOM_MAX_FWD * 2)

struct user {
	struct net_backend b;
	int fd;
	pid_t pid;
	bool starting;			/* the empty frame is still to come */
	uint8_t *in;			/* IN_SIZE bytes */
	size_t in_pos, in_len;
	uint8_t *out;			/* rest of a frame that went out in part */
	size_t out_pos, out_len;
};

static int user_fd(struct net_backend *b, unsigned int q)
{
	return ((struct user *)b)->fd;
}

/* Finish the frame that is under way. */
static int flush(struct user *u)
{
	while (u->out_pos < u->out_len) {
		ssize_t n = send(u->fd, u->out + u->out_pos, u->out_len - u->out_pos,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		u->out_pos += n;
	}
	free(u->out);
	u->out = NULL;
	u->out_pos = u->out_len = 0;
	return 0;
}

/* Keep all but the first `sent` bytes of a frame. */
static int keep_rest(struct user *u, const struct iovec *iov, unsigned int n, size_t sent, size_t len)
{
	unsigned int i;
	size_t at = 0;

	u->out = malloc(len);
	if (!u->out)
		return -EPIPE;		/* the stream is out of step from here on */
	for (i = 0; i < n; at += iov[i++].iov_len)
		memcpy(u->out + at, iov[i].iov_base, iov[i].iov_len);
	u->out_pos = sent;
	u->out_len = len;
	return 0;
}

static int user_send(struct net_backend *b, unsigned int q, const struct iovec *frame, unsigned int n)
{
	struct user *u = (struct user *)b;
	struct iovec iov[IOV_MAX];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	uint32_t header;
	size_t len = 0;
	unsigned int i;
	ssize_t sent;
	int ret;

	if (n > IOV_MAX)
		return 0;
	ret = flush(u);
	if (ret)
		return ret;
	/* The length takes the place of the virtio header. */
	for (i = 1; i < n; i++) {
		iov[i] = frame[i];
		len += frame[i].iov_len;
	}
	header = htonl(len);
	iov[0] = (struct iovec){ &header, sizeof(header) };
	do {
		sent = sendmsg(u->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	if ((size_t)sent < len + sizeof(header))
		return keep_rest(u, iov, n, sent, len + sizeof(header));
	return 0;
}

/* More bytes of the stream: 0, or -errno. */
static int fetch(struct user *u)
{
	ssize_t n;

	if (u->in_pos) {
		memmove(u->in, u->in + u->in_pos, u->in_len - u->in_pos);
		u->in_len -= u->in_pos;
		u->in_pos = 0;
	}
	do {
		n = recv(u->fd, u->in + u->in_len, IN_SIZE - u->in_len, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -EPIPE;
	u->in_len += n;
	return 0;
}

static ssize_t user_recv(struct net_backend *b, unsigned int q, uint8_t *buf, size_t size)
{
	struct user *u = (struct user *)b;
	uint32_t len;
	int ret;

	for (;;) {
		size_t have = u->in_len - u->in_pos;

		if (have >= sizeof(len)) {
			memcpy(&len, u->in + u->in_pos, sizeof(len));
			len = ntohl(len);
			if (len > NET_MAX_FRAME || len + NET_HDR_LEN > size)
				return -EPROTO;
			if (!len && u->starting) {
				u->starting = false;
				u->in_pos += sizeof(len);
				continue;
			}
			if (have - sizeof(len) >= len)
				break;
		}
		ret = fetch(u);
		if (ret)
			return ret;
	}
	memset(buf, 0, NET_HDR_LEN);
	memcpy(buf + NET_HDR_LEN, u->in + u->in_pos + sizeof(len), len);
	u->in_pos += sizeof(len) + len;
	return len + NET_HDR_LEN;
}

static void user_close(struct net_backend *b)
{
	struct user *u = (struct user *)b;

	if (u->fd >= 0)
		close(u->fd);
	if (u->pid > 0) {
		kill(u->pid, SIGTERM);
		waitpid(u->pid, NULL, 0);
	}
	free(u->in);
	free(u->out);
	free(u);
}

static const struct net_backend_ops user_ops = {
	.fd = user_fd,
	.send = user_send,
	.recv = user_recv,
	.close = user_close,
};

/* ----------------------------------------------------------- starting the helper */

static char *forward_arg(const struct dom_fwd *f)
{
	char *arg = NULL;

	/* The address comes last: it may hold colons. */
	if (asprintf(&arg, "%s:%u:%u:%u:%s", f->udp ? "udp" : "tcp", f->host_port, f->guest_port,
		     f->count ? f->count : 1, f->host_addr ? f->host_addr : "") < 0)
		return NULL;
	return arg;
}

static char *network_arg(const struct dom_nic *cfg)
{
	char *arg = NULL;

	if (asprintf(&arg, "%s/%u", cfg->ip_address, cfg->ip_prefix ? cfg->ip_prefix : 24) < 0)
		return NULL;
	return arg;
}

/* argv for the helper; each element malloc()ed. False: no memory. */
static bool build_args(const struct dom_nic *cfg, char **argv)
{
	unsigned int i, n = 0;

	argv[n++] = strdup(HELPER);
	if (cfg->ip_address) {
		argv[n++] = strdup("--net");
		argv[n++] = network_arg(cfg);
	}
	for (i = 0; i < cfg->nr_fwd && i < DOM_MAX_FWD; i++) {
		argv[n++] = strdup("--forward");
		argv[n++] = forward_arg(&cfg->fwd[i]);
	}
	argv[n] = NULL;
	while (n--) {
		if (!argv[n])
			return false;
	}
	return true;
}

/* An empty frame says that the helper has set everything up. */
static int wait_ready(struct user *u)
{
	struct pollfd p = { .fd = u->fd, .events = POLLIN };
	uint32_t zero = 1;
	int ret;

	do {
		ret = poll(&p, 1, START_MS);
	} while (ret < 0 && errno == EINTR);
	if (ret == 1 && recv(u->fd, &zero, sizeof(zero), MSG_WAITALL) == sizeof(zero) && !zero)
		return 0;
	return -EIO;
}

static int start_helper(struct machine *m, struct user *u, const struct dom_nic *cfg)
{
	char *argv[MAX_ARGS + 1] = { NULL };
	int ret = -ENOMEM;

	if (build_args(cfg, argv))
		ret = helper_start("user-mode network", argv, SOCK_STREAM, HELPER_FD, false, &u->pid);
	else
		log_error("user-mode network: out of memory");
	for (int i = 0; i < MAX_ARGS; i++)
		free(argv[i]);
	if (ret < 0)
		return ret;
	u->fd = ret;
	/* A fork is to run soon; only a port that is taken cannot be found out later. */
	u->starting = m && m->ram_from && !cfg->nr_fwd;
	ret = u->starting ? 0 : wait_ready(u);
	if (ret)
		log_error("user-mode network: %s gave up; its message is above", HELPER);
	return ret;
}

static struct user *new_user(void)
{
	struct user *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->b.ops = &user_ops;
	u->b.nr_queues = 1;
	u->b.what = "user-mode network";
	u->fd = -1;
	u->in = malloc(IN_SIZE);
	if (u->in)
		return u;
	free(u);
	return NULL;
}

int net_user_start(const struct dom_nic *cfg)
{
	struct user u = { .fd = -1 };
	int ret = start_helper(NULL, &u, cfg);

	if (ret && u.fd >= 0)
		close(u.fd);
	return ret ? ret : u.fd;
}

struct net_backend *net_user_adopt(int fd)
{
	struct user *u = new_user();

	if (u)
		u->fd = fd;
	return u ? &u->b : NULL;
}

struct net_backend *net_user_open(struct machine *m, const struct dom_nic *cfg)
{
	struct user *u = new_user();

	if (!u)
		return NULL;
	if (start_helper(m, u, cfg)) {
		user_close(&u->b);
		return NULL;
	}
	return &u->b;
}
