// SPDX-License-Identifier: GPL-2.0-only
/* The helper of an image that is not raw, and connections to its daemon. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "devices/storage/foreign.h"
#include "devices/storage/nbd.h"
#include "devices/storage/nbd_disk.h"
#include "devices/storage/nbd_wire.h"
#include "vmm/fdpass.h"
#include "vmm/helper.h"
#include "vmm/log.h"

#define MAX_ARGS	80
#define HANG_S		30	/* for a daemon that does not greet */
#define FLUSH_MS	30000	/* for one that does not flush */
#define ORDER_MS	60000	/* for a helper, which gives its daemon 40 s to end */

void nbd_disk_lost(struct nbd_disk *d, const char *why)
{
	if (!atomic_exchange(&d->said, true))
		log_error("disk %s: the storage daemon of '%s' %s: from now on reads and writes fail with I/O errors; stop the guest, check the image ('qemu-img check'), and start it again",
			  d->target, d->name, why);
}

/* ----------------------------------------------------------- the helper's orders */

static int ms_until(uint64_t end)
{
	uint64_t now = clock_now_ns();

	return now < end ? (int)((end - now) / 1000000) + 1 : 0;
}

/* Does the helper answer? One that does so later would answer another order. */
static bool answers(struct nbd_disk *d)
{
	struct pollfd p = { .fd = d->control, .events = POLLIN };
	uint64_t end = clock_now_ns() + (uint64_t)d->order_ms * 1000000;
	int left;

	if (d->order_ms < 0)
		return true;
	while (!p.revents && (left = ms_until(end)))
		poll(&p, 1, left);
	d->stuck = !p.revents;
	if (d->stuck)
		shutdown(d->control, SHUT_RDWR);
	return !d->stuck;
}

/* The answer, with its descriptor or -1. 0, or -errno with text. */
static int get_answer(struct nbd_disk *d, int *fd, char text[FOREIGN_ANSWER])
{
	ssize_t n;

	if (!answers(d)) {
		strcpy(text, "its helper " FOREIGN_HELPER " does not answer");
		return -ETIMEDOUT;
	}
	n = fd_recv(d->control, text, FOREIGN_ANSWER - 1, fd, 0);

	if (n <= 0) {
		strcpy(text, "its helper " FOREIGN_HELPER " is gone");
		return -EPIPE;
	}
	if (text[0] == FOREIGN_OK)
		return 0;
	memmove(text, text + 1, (size_t)n - 1);
	text[n - 1] = '\0';
	return strstr(text, "in use by") ? -EAGAIN : -EIO;
}

/* with: a descriptor that goes along; -1: none. */
static int send_order(struct nbd_disk *d, const void *what, size_t len, int with, int *fd, char text[FOREIGN_ANSWER])
{
	*fd = -1;
	if (fd_send(d->control, what, len, with, 0) != (ssize_t)len) {
		strcpy(text, "its helper " FOREIGN_HELPER " is gone");
		return -EPIPE;
	}
	return get_answer(d, fd, text);
}

static int order(struct nbd_disk *d, enum foreign_order what, int *fd, char text[FOREIGN_ANSWER])
{
	char c = (char)what;

	return send_order(d, &c, 1, -1, fd, text);
}

static void no_hang(int sock, time_t seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

/* Past the handshake. sock is closed where it fails. */
static int greet(struct nbd_disk *d, int sock, char text[FOREIGN_ANSWER])
{
	struct nbd_client c;
	int ret;

	if (sock < 0) {
		strcpy(text, "the helper sent no connection");
		return -EPROTO;
	}
	no_hang(sock, HANG_S);
	ret = nbd_hello(&c, sock, FOREIGN_EXPORT);
	if (!ret && (!(c.flags & NBD_FLAG_HAS_FLAGS) || c.max_data < NBD_MAX_DATA || c.size > INT64_MAX ||
		     (d->size && c.size != d->size))) {
		strcpy(c.text, "the storage daemon says nonsense of its size");
		ret = -EPROTO;
	}
	if (ret) {
		snprintf(text, FOREIGN_ANSWER, "no NBD handshake: %s", c.text);
		close(sock);
		return ret;
	}
	no_hang(sock, 0);
	d->owed = false;
	d->size = c.size;
	d->flags = c.flags;
	return 0;
}

static int connect_more(struct nbd_disk *d, enum foreign_order what, int *sock, char text[FOREIGN_ANSWER])
{
	int ret = order(d, what, sock, text);

	if (ret && *sock >= 0)
		close(*sock);
	return ret ?: greet(d, *sock, text);
}

int nbd_disk_hand_out(struct nbd_disk *d)
{
	char text[FOREIGN_ANSWER];
	int sock, ret;

	pthread_mutex_lock(&d->lock);
	ret = order(d, FOREIGN_CONNECT, &sock, text);
	pthread_mutex_unlock(&d->lock);
	if (!ret)
		return sock;
	log_error("disk %s: '%s': %s", d->target, d->name, text);
	if (sock >= 0)
		close(sock);
	return -1;
}

int nbd_disk_connect(struct nbd_disk *d)
{
	char text[FOREIGN_ANSWER];
	int sock, ret;

	pthread_mutex_lock(&d->lock);
	ret = connect_more(d, FOREIGN_CONNECT, &sock, text);
	pthread_mutex_unlock(&d->lock);
	if (ret)
		log_error("disk %s: '%s': %s", d->target, d->name, text);
	return ret ? -1 : sock;
}

/* --------------------------------------------------------- starting the helper */

static const char *the_file(const struct dom_disk *cfg)
{
	return cfg->nr_backing ? cfg->backing[cfg->nr_backing - 1].file : cfg->file;
}

static bool add_image(char **argv, unsigned int *n, enum disk_format format, const char *file)
{
	argv[(*n)++] = strdup("--image");
	if (asprintf(&argv[*n], "%s:%s", foreign_name(format), file) < 0)
		argv[*n] = NULL;
	return argv[(*n)++];
}

/* Each malloc()ed; NULL in the midst of them: no memory. */
static bool build_args(const struct dom_disk *cfg, char **argv)
{
	bool ro = cfg->readonly || cfg->transient || cfg->nr_backing, ok;
	const struct { bool on; const char *name; } flag[] = {
		{ cfg->block, "--block" }, { ro, "--readonly" }, { cfg->discard_unmap && !ro, "--discard" },
		{ cfg->cache == CACHE_NONE || cfg->cache == CACHE_DIRECTSYNC, "--direct" },
		{ cfg->cache == CACHE_UNSAFE, "--no-flush" }, { cfg->detect_zeroes_unmap && !ro, "--detect-zeroes" },
	};
	unsigned int n = 0, i;

	argv[n++] = strdup(FOREIGN_HELPER);
	for (i = 0; i < sizeof(flag) / sizeof(flag[0]); i++)
		if (flag[i].on)
			argv[n++] = strdup(flag[i].name);
	ok = add_image(argv, &n, cfg->format, the_file(cfg));
	for (i = 0; i < cfg->nr_chain && n + 3 < MAX_ARGS; i++)
		ok = add_image(argv, &n, cfg->chain[i].format, cfg->chain[i].file) && ok;
	argv[n] = NULL;
	return ok && i == cfg->nr_chain;
}

/* What it says goes where ours goes; a helper that outlives us has no hold on our terminal or pipe. */
static int start_helper(struct nbd_disk *d, const struct dom_disk *cfg)
{
	char what[64], *argv[MAX_ARGS] = { NULL };
	int ret = -ENOMEM;

	snprintf(what, sizeof(what), "disk %s", d->target);
	if (build_args(cfg, argv))
		ret = helper_start(what, argv, SOCK_SEQPACKET, FOREIGN_FD, cfg->handed_on, &d->pid);
	else
		log_error("%s: out of memory", what);
	for (unsigned int i = 0; i < MAX_ARGS; i++)
		free(argv[i]);
	if (ret < 0)
		return ret;
	d->control = ret;
	return 0;
}

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct nbd_disk *all;

void nbd_disks_wake(void)
{
	const char c = FOREIGN_WAKE;

	pthread_mutex_lock(&all_lock);
	for (struct nbd_disk *d = all; d; d = d->next)
		send(d->control, &c, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	pthread_mutex_unlock(&all_lock);
}

/* Once it has its helper's socket, for as long as it has that. */
static void list_disk(struct nbd_disk *d, bool on)
{
	struct nbd_disk **at = &all;

	pthread_mutex_lock(&all_lock);
	while (*at && *at != d)
		at = &(*at)->next;
	if (on) {
		d->next = all;
		all = d;
	} else if (*at) {
		*at = d->next;
	}
	pthread_mutex_unlock(&all_lock);
}

static void disk_free(struct nbd_disk *d)
{
	free(d->name);
	if (d->gate >= 0)
		close(d->gate);
	if (d->hurry >= 0)
		close(d->hurry);
	pthread_mutex_destroy(&d->gate_lock);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static struct nbd_disk *new_disk(const struct dom_disk *cfg)
{
	struct nbd_disk *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->target = cfg->target;
	d->name = strdup(the_file(cfg));
	d->control = d->sock = -1;
	d->order_ms = ORDER_MS;
	d->flush_ms = FLUSH_MS;
	d->fua = cfg->cache == CACHE_WRITETHROUGH || cfg->cache == CACHE_DIRECTSYNC;
	d->gate = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	d->hurry = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&d->lock, NULL);
	pthread_mutex_init(&d->gate_lock, NULL);
	if (d->name && d->gate >= 0 && d->hurry >= 0)
		return d;
	disk_free(d);
	return NULL;
}

struct nbd_disk *nbd_disk_open(const struct dom_disk *cfg, const char *xml, bool look)
{
	struct nbd_disk *d = new_disk(cfg);
	char text[FOREIGN_ANSWER];
	int ret;

	if (!d)
		return NULL;
	ret = start_helper(d, cfg);
	if (!ret) {
		d->order_ms = -1;	/* an image may have much to repair */
		ret = connect_more(d, look ? FOREIGN_LOOK : FOREIGN_OPEN, &d->sock, text);
		d->order_ms = ORDER_MS;
		if (ret) {
			d->sock = -1;
			if (xml)
				log_error("%s:%u: disk %s: %s", xml, cfg->line, cfg->target, text);
			else
				log_error("%s: %s", d->name, text);
		}
	}
	if (!ret && look)
		ret = nbd_disk_own(d, false);
	if (!ret) {
		list_disk(d, true);
		return d;
	}
	nbd_disk_close(d);
	return NULL;
}

struct nbd_disk *nbd_disk_adopt(const struct dom_disk *cfg, int control)
{
	struct nbd_disk *d = new_disk(cfg);
	char text[FOREIGN_ANSWER];

	if (!d)
		return NULL;
	d->control = control;
	if (!connect_more(d, FOREIGN_CONNECT, &d->sock, text)) {
		list_disk(d, true);
		return d;
	}
	log_error("disk %s: %s", cfg->target, text);
	d->control = d->sock = -1;
	nbd_disk_close(d);
	return NULL;
}

struct nbd_disk *nbd_disk_on(int sock, const char *file)
{
	struct dom_disk cfg = { .target = (char *)(uintptr_t)file, .file = (char *)(uintptr_t)file };
	struct nbd_disk *d = new_disk(&cfg);
	char text[FOREIGN_ANSWER];

	if (!d) {
		close(sock);
		return NULL;
	}
	d->target = d->name;
	if (!greet(d, sock, text)) {
		d->sock = sock;
		return d;
	}
	log_error("'%s': %s", d->name, text);
	disk_free(d);
	return NULL;
}

int nbd_disk_control(const struct nbd_disk *d)
{
	return d->control;
}

uint64_t nbd_disk_size(const struct nbd_disk *d)
{
	return d->size;
}

static void hang_up(struct nbd_disk *d)
{
	if (d->sock >= 0)
		close(d->sock);
	d->sock = -1;
}

void nbd_disk_leave(struct nbd_disk *d)
{
	hang_up(d);
	list_disk(d, false);
	close(d->control);
	disk_free(d);
}

void nbd_disk_close(struct nbd_disk *d)
{
	char text[FOREIGN_ANSWER];
	int fd;

	if (!d)
		return;
	hang_up(d);
	/* Whoever starts the next guest on the image finds it closed. */
	if (d->control >= 0) {
		int ret = order(d, FOREIGN_CLOSE, &fd, text);

		if (ret == -EIO || ret == -ETIMEDOUT)
			log_error("disk %s: '%s': %s", d->target, d->name, text);
		list_disk(d, false);
		close(d->control);
	}
	/* Its daemon ends with it. */
	if (d->pid > 0 && d->stuck)
		kill(d->pid, SIGKILL);
	if (d->pid > 0)
		waitpid(d->pid, NULL, 0);
	disk_free(d);
}

static void hang_up_all(struct nbd_disk *d)
{
	for (struct nbd_queue *q = d->queues; q; q = *nbd_queue_link(q))
		nbd_queue_detach(q);
	hang_up(d);
}

static int let_go(struct nbd_disk *d)
{
	char text[FOREIGN_ANSWER] = "";
	int fd, ret = nbd_disk_flush(d);

	hang_up_all(d);
	return order(d, FOREIGN_CLOSE, &fd, text) ?: ret;
}

/* Past the handshake, or ret and text say why not. */
static int take_up(struct nbd_disk *d, int ret, const char *text)
{
	if (ret) {
		d->sock = -1;
		log_error("disk %s: '%s': %s", d->target, d->name, text);
		return ret;
	}
	d->said = false;
	for (struct nbd_queue *q = d->queues; q && !ret; q = *nbd_queue_link(q))
		ret = nbd_queue_attach(q);
	return ret;
}

static int take(struct nbd_disk *d, enum foreign_order how)
{
	char text[FOREIGN_ANSWER] = "";
	int ret = connect_more(d, how, &d->sock, text);

	return take_up(d, ret, text);
}

int nbd_disk_own(struct nbd_disk *d, bool own)
{
	return own ? take(d, FOREIGN_OPEN) : let_go(d);
}

int nbd_disk_share(struct nbd_disk *d, bool share)
{
	/* A closed one has nothing to lose. */
	return (d->sock < 0 ? 0 : let_go(d)) ?: take(d, share ? FOREIGN_READ : FOREIGN_OPEN);
}

int nbd_disk_merge(struct nbd_disk *d, int image, char *why, size_t len)
{
	const char what = FOREIGN_MERGE;
	char text[FOREIGN_ANSWER] = "";
	int ret;

	if (!(d->flags & NBD_FLAG_READ_ONLY))
		return 0;
	ret = let_go(d);
	snprintf(why, len, "the storage daemon is gone");
	if (ret)
		return ret;
	ret = send_order(d, &what, 1, image, &d->sock, text);
	if (!ret)
		ret = greet(d, d->sock, text);
	else if (d->sock >= 0)
		close(d->sock);
	snprintf(why, len, "%s", text);
	/* It is read by the guest as before. */
	if (ret)
		return take(d, FOREIGN_OPEN) ?: ret;
	d->merging = true;
	return take_up(d, 0, text);
}

int nbd_disk_merged(struct nbd_disk *d)
{
	if (!d->merging)
		return 0;
	d->merging = false;
	return let_go(d) ?: take(d, FOREIGN_OPEN);
}

int nbd_disk_resize(struct nbd_disk *d, uint64_t size, char *why, size_t len)
{
	uint64_t old = d->size;
	char text[FOREIGN_ANSWER] = "", what[1 + sizeof(size)] = { FOREIGN_RESIZE };
	int sock = -1, ret = nbd_disk_flush(d);

	snprintf(why, len, "what was written before cannot be put on stable storage");
	if (ret)
		return ret;
	hang_up_all(d);
	memcpy(what + 1, &size, sizeof(size));
	ret = send_order(d, what, sizeof(what), -1, &sock, text);
	if (ret) {
		if (sock >= 0)
			close(sock);
		snprintf(why, len, "%s", text);
		take(d, FOREIGN_CONNECT);
		return ret;
	}
	d->sock = sock;
	d->size = 0;
	ret = greet(d, sock, text);
	if (!ret && d->size != size) {
		snprintf(text, sizeof(text), "the storage daemon says that it has another size now than it was told");
		hang_up(d);
		ret = -EPROTO;
	}
	if (ret)
		d->size = old;
	snprintf(why, len, "%s", text);
	return take_up(d, ret, text);
}

/* -------------------------------------------------- for those who wait */

int nbd_disk_patience(struct nbd_disk *d)
{
	uint64_t end = atomic_load(&d->deadline);

	return end ? ms_until(end) : -1;
}

void nbd_disk_hurry(struct nbd_disk *d, uint64_t deadline)
{
	eventfd_t n;

	atomic_store(&d->deadline, deadline);
	if (deadline)
		eventfd_write(d->hurry, 1);
	else
		eventfd_read(d->hurry, &n);
}

/* Until something comes in; limit 0: none. -ECANCELED: see nbd_disk_hurry(); -ETIMEDOUT. */
static int wait_more(struct nbd_disk *d, uint64_t limit)
{
	struct pollfd p[] = { { .fd = d->sock, .events = POLLIN }, { .fd = d->hurry, .events = POLLIN } };

	for (;;) {
		int hurry = nbd_disk_patience(d), own = limit ? ms_until(limit) : -1;
		int ms = hurry < 0 || (own >= 0 && own < hurry) ? own : hurry;

		p[1].fd = hurry < 0 ? d->hurry : -1;
		if (poll(p, 2, ms) > 0 && p[0].revents)
			return 0;
		if (!hurry)
			return -ECANCELED;
		if (!own)
			return -ETIMEDOUT;
	}
}

static int get(struct nbd_disk *d, uint8_t *to, uint32_t len, uint32_t *have, uint64_t limit)
{
	int ret = 0;

	while (!ret && *have < len) {
		ssize_t n = recv(d->sock, to + *have, len - *have, MSG_DONTWAIT);

		if (n > 0)
			*have += (uint32_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR))
			ret = n ? -errno : -EPIPE;
		else
			ret = wait_more(d, limit);
	}
	return ret;
}

/* All of an answer, its data to in; NULL: to nowhere. *error is the server's. */
static int take_answer(struct nbd_disk *d, uint8_t *in, uint64_t limit, int *error)
{
	int ret = get(d, d->reply, sizeof(d->reply), &d->reply_len, limit);
	uint32_t err = (uint32_t)get_be(d->reply + 4, 4);
	uint8_t sink[4096];

	if (!ret && (get_be(d->reply, 4) != NBD_SIMPLE_REPLY_MAGIC || get_be(d->reply + 8, 8) != d->handle))
		return -EPROTO;
	if (err)
		d->data_len = 0;
	if (!ret && in)
		ret = get(d, in, d->data_len, &d->data_have, limit);
	while (!ret && d->data_have < d->data_len) {
		uint32_t left = d->data_len - d->data_have, n = 0;

		ret = get(d, sink, left < sizeof(sink) ? left : sizeof(sink), &n, limit);
		d->data_have += n;
	}
	*error = !err ? 0 : err == NBD_ENOSPC ? -ENOSPC : -EIO;
	return ret;
}

/* One request, with its data from out or to in. */
static int ask(struct nbd_disk *d, enum nbd_cmd type, uint64_t offset, const void *out, void *in, uint32_t len,
	       uint64_t limit)
{
	uint8_t head[NBD_REQUEST_LEN], *at = head;
	int error, ret = d->owed ? take_answer(d, NULL, limit, &error) : 0;

	if (ret)
		goto fail;
	at = put_be(at, NBD_REQUEST_MAGIC, 4);
	at = put_be(at, 0, 2);
	at = put_be(at, type, 2);
	at = put_be(at, ++d->handle, 8);
	at = put_be(at, offset, 8);
	put_be(at, len, 4);
	d->reply_len = d->data_have = 0;
	d->data_len = in ? len : 0;
	ret = sock_put(d->sock, head, sizeof(head), out);
	if (!ret && out)
		ret = sock_put(d->sock, out, len, false);
	if (!ret)
		ret = take_answer(d, in, limit, &error);
	d->owed = ret;
	if (!ret)
		return error;
fail:
	/* The connection is sound: the answer comes when it comes. */
	if (ret == -ECANCELED || ret == -ETIMEDOUT)
		return ret;
	nbd_disk_lost(d, ret == -EPROTO ? "broke the protocol" : "is gone");
	hang_up(d);
	return -EIO;
}

/* In parts of what one request may have: out, or in. */
static int in_parts(struct nbd_disk *d, enum nbd_cmd type, const uint8_t *out, uint8_t *in, uint64_t len, uint64_t offset)
{
	int ret = 0;

	for (uint64_t done = 0; done < len && !ret;) {
		uint32_t part = len - done < NBD_MAX_DATA ? (uint32_t)(len - done) : NBD_MAX_DATA;

		ret = d->sock < 0 ? -EIO : ask(d, type, offset + done, out ? out + done : NULL, in ? in + done : NULL, part, 0);
		done += part;
	}
	return ret;
}

int nbd_disk_read(struct nbd_disk *d, void *buf, uint64_t len, uint64_t offset)
{
	uint64_t has;
	int ret;

	pthread_mutex_lock(&d->lock);
	/* As of a file: zeroes behind its end. */
	has = offset >= d->size ? 0 : len < d->size - offset ? len : d->size - offset;
	memset((uint8_t *)buf + has, 0, len - has);
	ret = in_parts(d, NBD_CMD_READ, NULL, buf, has, offset);
	pthread_mutex_unlock(&d->lock);
	return ret;
}

int nbd_disk_write(struct nbd_disk *d, const void *buf, uint64_t len, uint64_t offset)
{
	int ret = -ENOSPC;

	pthread_mutex_lock(&d->lock);
	if (offset <= d->size && len <= d->size - offset)
		ret = in_parts(d, NBD_CMD_WRITE, buf, NULL, len, offset);
	pthread_mutex_unlock(&d->lock);
	return ret;
}

int nbd_disk_zero(struct nbd_disk *d, uint32_t len, uint64_t offset)
{
	int ret = 0;

	pthread_mutex_lock(&d->lock);
	if (d->sock < 0)
		ret = -EIO;
	else if (!(d->flags & NBD_FLAG_SEND_WRITE_ZEROES))
		ret = -EOPNOTSUPP;
	else
		ret = ask(d, NBD_CMD_WRITE_ZEROES, offset, NULL, NULL, len, 0);
	pthread_mutex_unlock(&d->lock);
	return ret;
}

int nbd_disk_flush(struct nbd_disk *d)
{
	int ret = 0;

	pthread_mutex_lock(&d->lock);
	if (d->sock < 0)
		ret = -EIO;
	else if (!(d->flags & NBD_FLAG_READ_ONLY) && atomic_load(&d->orphans))
		ret = -ETIMEDOUT;
	else if (d->flags & NBD_FLAG_SEND_FLUSH && !(d->flags & NBD_FLAG_READ_ONLY))
		ret = ask(d, NBD_CMD_FLUSH, 0, NULL, NULL, 0, clock_now_ns() + (uint64_t)d->flush_ms * 1000000);
	pthread_mutex_unlock(&d->lock);
	if (ret == -ETIMEDOUT)
		log_error("disk %s: the storage daemon of '%s' does not answer; is it stopped (kill -CONT), or what the image is on? Then try again",
			  d->target, d->name);
	return ret;
}
