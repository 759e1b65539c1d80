// SPDX-License-Identifier: GPL-2.0-only
/*
 * tap devices: one that exists, a new one, a new one on a bridge (made by us with
 * CAP_NET_ADMIN, or by QEMU's setuid bridge helper where that is installed), and a
 * macvtap that exists.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "devices/device.h"
#include "devices/net/backend.h"
#include "vmm/fdpass.h"

#define TUN_DEVICE	"/dev/net/tun"
#define BRIDGE_HELPER	"/usr/lib/qemu/qemu-bridge-helper"
#define MAX_PAIRS	NET_MAX_QUEUES

extern char **environ;

struct tap {
	struct net_backend b;
	unsigned int attached;		/* queues that the kernel spreads frames over */
	bool multi_queue;
	char name[IFNAMSIZ];
	int fd[MAX_PAIRS];
};

/* ------------------------------------------------------------------- data path */

static int tap_fd(struct net_backend *b, unsigned int q)
{
	return ((struct tap *)b)->fd[q];
}

static int tap_send(struct net_backend *b, unsigned int q, const struct iovec *iov, unsigned int n)
{
	struct tap *t = (struct tap *)b;

	while (writev(t->fd[q], iov, n) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return -EAGAIN;
		/* EINVAL: a header the kernel does not like; EIO: the interface is down. */
		return errno == EBADFD ? -EBADFD : 0;
	}
	return 0;
}

static ssize_t tap_recv(struct net_backend *b, unsigned int q, uint8_t *buf, size_t size)
{
	struct tap *t = (struct tap *)b;
	ssize_t n;

	do {
		n = read(t->fd[q], buf, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EIO ? -EAGAIN : -errno;
	return n;
}

static void tap_set_offloads(struct net_backend *b, uint64_t features)
{
	struct tap *t = (struct tap *)b;
	unsigned int flags = 0, i;

	if (features & 1ULL << VIRTIO_NET_F_GUEST_CSUM) {
		flags |= TUN_F_CSUM;
		if (features & 1ULL << VIRTIO_NET_F_GUEST_TSO4)
			flags |= TUN_F_TSO4;
		if (features & 1ULL << VIRTIO_NET_F_GUEST_TSO6)
			flags |= TUN_F_TSO6;
		if (flags != TUN_F_CSUM && features & 1ULL << VIRTIO_NET_F_GUEST_ECN)
			flags |= TUN_F_TSO_ECN;
	}
	for (i = 0; i < t->b.nr_queues; i++)
		ioctl(t->fd[i], TUNSETOFFLOAD, flags);
}

static void tap_set_queues(struct net_backend *b, unsigned int n)
{
	struct tap *t = (struct tap *)b;
	struct ifreq ifr = { 0 };

	if (!t->multi_queue)
		return;
	for (; t->attached < n; t->attached++) {
		ifr.ifr_flags = IFF_ATTACH_QUEUE;
		ioctl(t->fd[t->attached], TUNSETQUEUE, &ifr);
	}
	for (; t->attached > n; t->attached--) {
		ifr.ifr_flags = IFF_DETACH_QUEUE;
		ioctl(t->fd[t->attached - 1], TUNSETQUEUE, &ifr);
	}
}

static void tap_close(struct net_backend *b)
{
	struct tap *t = (struct tap *)b;
	unsigned int i;

	for (i = 0; i < t->b.nr_queues; i++)
		close(t->fd[i]);
	free(t);
}

static const struct net_backend_ops tap_ops = {
	.fd = tap_fd,
	.send = tap_send,
	.recv = tap_recv,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
	.close = tap_close,
};

/* --------------------------------------------------------------------- opening */

static int set_header(int fd)
{
	int len = NET_HDR_LEN;

	return ioctl(fd, TUNSETVNETHDRSZ, &len) < 0 ? -errno : 0;
}

/* One queue of interface `name` ("vnet%d": the kernel's choice, written back). */
static int open_queue(char *name, bool multi_queue)
{
	struct ifreq ifr = { 0 };
	int fd, err;

	fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0);
	memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		err = errno;
		close(fd);
		return -err;
	}
	err = set_header(fd);
	if (err) {
		close(fd);
		return err;
	}
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	return fd;
}

static int add_fd(struct tap *t, int fd)
{
	if (fd < 0)
		return fd;
	t->fd[t->b.nr_queues++] = fd;
	t->attached = t->b.nr_queues;
	return 0;
}

static int open_queues(struct tap *t, unsigned int queues)
{
	int ret = 0;

	t->multi_queue = queues > 1;
	while (t->b.nr_queues < queues && !ret)
		ret = add_fd(t, open_queue(t->name, t->multi_queue));
	return ret;
}

static int set_ifreq(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof(*ifr));
	if (strlen(name) >= IFNAMSIZ)
		return -ENAMETOOLONG;
	strcpy(ifr->ifr_name, name);
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int link_up(const char *name, unsigned int mtu)
{
	struct ifreq ifr;
	int sock = set_ifreq(&ifr, name), ret = 0;

	if (sock < 0)
		return -errno;
	if (mtu) {
		ifr.ifr_mtu = mtu;
		if (ioctl(sock, SIOCSIFMTU, &ifr) < 0)
			ret = -errno;
	}
	if (!ret && ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		ret = -errno;
	if (!ret && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
			ret = -errno;
	}
	close(sock);
	return ret;
}

static int join_bridge(const char *name, const char *bridge)
{
	struct ifreq ifr;
	int sock = set_ifreq(&ifr, bridge), ret = 0;

	if (sock < 0)
		return sock == -ENAMETOOLONG ? sock : -errno;
	ifr.ifr_ifindex = if_nametoindex(name);
	if (ioctl(sock, SIOCBRADDIF, &ifr) < 0)
		ret = -errno;
	close(sock);
	return ret;
}

/* --------------------------------------------------------- QEMU's bridge helper */

static int receive_fd(int sock)
{
	char byte;
	int fd;

	if (fd_recv(sock, &byte, 1, &fd, 0) <= 0)
		return -EIO;
	return fd < 0 ? -EPROTO : fd;
}

/* The setuid helper makes a tap on a bridge that /etc/qemu/bridge.conf allows. */
static int ask_helper(const char *bridge)
{
	char br_arg[IFNAMSIZ + 8], fd_arg[24];
	char *argv[] = { BRIDGE_HELPER, br_arg, fd_arg, "--use-vnet", NULL };
	posix_spawn_file_actions_t actions;
	int pair[2], fd, ret, status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	snprintf(br_arg, sizeof(br_arg), "--br=%s", bridge);
	snprintf(fd_arg, sizeof(fd_arg), "--fd=%d", pair[1] + 100);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], pair[1] + 100);
	ret = -posix_spawn(&pid, BRIDGE_HELPER, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pair[1]);
	if (ret) {
		close(pair[0]);
		return ret;
	}
	fd = receive_fd(pair[0]);
	close(pair[0]);
	waitpid(pid, &status, 0);
	if (fd >= 0) {
		ret = set_header(fd);
		if (!ret)
			ret = fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
		if (ret) {
			close(fd);
			return ret;
		}
	}
	return fd;
}

/* ---------------------------------------------------------------------- kinds */

static int open_bridge(struct tap *t, const struct dom_nic *cfg, unsigned int queues)
{
	int ret;

	if (!if_nametoindex(cfg->source)) {
		log_error("network: there is no bridge '%s'; make it with: sudo ip link add %s type bridge && sudo ip link set %s up",
			  cfg->source, cfg->source, cfg->source);
		return -ENODEV;
	}
	ret = open_queues(t, queues);
	if (!ret)
		ret = join_bridge(t->name, cfg->source);
	if (!ret)
		ret = link_up(t->name, cfg->mtu);
	if (ret != -EPERM && ret != -EACCES) {
		if (ret)
			log_error("network: cannot put %s on bridge %s: %s", t->name, cfg->source,
				  strerror(-ret));
		return ret;
	}
	if (queues == 1 && !access(BRIDGE_HELPER, X_OK)) {
		if (t->b.nr_queues)
			close(t->fd[--t->b.nr_queues]);
		ret = add_fd(t, ask_helper(cfg->source));
		if (!ret)
			return 0;
		log_error("network: %s refuses bridge '%s'; allow it with: echo 'allow %s' | sudo tee -a /etc/qemu/bridge.conf",
			  BRIDGE_HELPER, cfg->source, cfg->source);
		return ret;
	}
	log_error("network: making a tap on bridge '%s' needs CAP_NET_ADMIN; make one for yourself: sudo ip tuntap add dev tap0 mode tap user $USER vnet_hdr && sudo ip link set tap0 master %s up, and use <interface type='ethernet'><target dev='tap0' managed='no'/>",
		  cfg->source, cfg->source);
	return ret;
}

static int open_named(struct tap *t, const struct dom_nic *cfg, unsigned int queues)
{
	bool exists = if_nametoindex(t->name);
	int ret;

	if (!cfg->managed_tap && !exists) {
		log_error("network: there is no tap '%s'; make it with: sudo ip tuntap add dev %s mode tap user $USER%s vnet_hdr && sudo ip link set %s up",
			  t->name, t->name, queues > 1 ? " multi_queue" : "", t->name);
		return -ENODEV;
	}
	ret = open_queues(t, queues);
	if (ret == -EPERM || ret == -EACCES)
		log_error("network: tap '%s' is not yours: %s; give it to yourself: sudo ip tuntap del dev %s mode tap; sudo ip tuntap add dev %s mode tap user $USER vnet_hdr",
			  t->name, strerror(-ret), t->name, t->name);
	else if (ret == -EINVAL)
		log_error("network: tap '%s' was made with other options; make it with%s multi_queue%s", t->name,
			  queues > 1 ? "" : "out", queues > 1 ? "" : ", or ask for more <driver queues=>");
	else if (ret == -EBUSY)
		log_error("network: tap '%s' is in use by another guest", t->name);
	else if (ret)
		log_error("network: tap '%s': %s", t->name, strerror(-ret));
	if (ret || !cfg->managed_tap)
		return ret;
	ret = link_up(t->name, cfg->mtu);
	if (ret == -EPERM) {
		log_warn("network: cannot set '%s' up; if it is down: sudo ip link set %s up", t->name,
			 t->name);
		ret = 0;
	}
	if (ret)
		log_error("network: tap '%s': %s", t->name, strerror(-ret));
	return ret;
}

/* A macvtap has a character device of its own, numbered by its interface index. */
static int open_macvtap(struct tap *t, const struct dom_nic *cfg, unsigned int queues)
{
	unsigned int index = cfg->ifname ? if_nametoindex(cfg->ifname) : 0;
	char path[32];
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd, ret = 0;

	if (!index) {
		log_error("network: <interface type='direct'> uses a macvtap that exists; make one: sudo ip link add link %s name macvtap0 type macvtap mode bridge && sudo ip link set macvtap0 up, and name it in <target dev='macvtap0'/>",
			  cfg->source ? cfg->source : "eth0");
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "/dev/tap%u", index);
	if (queues > 1) {
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
		t->multi_queue = true;
	}
	while (t->b.nr_queues < queues && !ret) {
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0) {
			ret = -errno;
			log_error("network: cannot open %s (%s): %s; sudo chown $USER %s", path,
				  cfg->ifname, strerror(-ret), path);
			return ret;
		}
		add_fd(t, fd);
		if (ioctl(fd, TUNSETIFF, &ifr) < 0)
			ret = -errno;
		else
			ret = set_header(fd);
	}
	if (ret)
		log_error("network: %s: %s", path, strerror(-ret));
	return ret;
}

struct net_backend *net_tap_adopt(const int *fd, unsigned int n)
{
	struct tap *t = n && n <= MAX_PAIRS ? calloc(1, sizeof(*t)) : NULL;
	unsigned int i;

	if (!t)
		return NULL;
	t->b.ops = &tap_ops;
	t->b.vnet_hdr = true;
	t->b.what = "tap";
	t->multi_queue = n > 1;
	for (i = 0; i < n; i++)
		add_fd(t, fd[i]);
	return &t->b;
}

struct net_backend *net_tap_open(struct machine *m, const struct dom_nic *cfg, unsigned int queues)
{
	struct tap *t = calloc(1, sizeof(*t));
	const char *name = cfg->ifname ? cfg->ifname : "vnet%d";
	int ret = 0;

	if (!t)
		return NULL;
	t->b.ops = &tap_ops;
	t->b.vnet_hdr = true;
	t->b.what = "tap";
	if (queues > MAX_PAIRS)
		queues = MAX_PAIRS;
	if (strlen(name) >= IFNAMSIZ) {
		log_error("network: interface name '%s' is longer than %d characters", name,
			  IFNAMSIZ - 1);
		ret = -EINVAL;
	} else {
		strcpy(t->name, name);
	}
	if (!ret && cfg->type == NIC_BRIDGE)
		ret = open_bridge(t, cfg, queues);
	else if (!ret && cfg->type == NIC_DIRECT)
		ret = open_macvtap(t, cfg, queues);
	else if (!ret)
		ret = open_named(t, cfg, queues);
	if (ret) {
		tap_close(&t->b);
		return NULL;
	}
	return &t->b;
}
