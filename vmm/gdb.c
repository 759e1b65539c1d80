// SPDX-License-Identifier: GPL-2.0-only
/* GDB's Remote Serial Protocol (GDB manual, appendix E): connection and packets. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "gdb.h"
#include "gdb_packet.h"
#include "gdb_target.h"
#include "runstate.h"
#include "vcpu.h"

#define RX_MAX		(2 * GDB_MAX_PACKET)
#define TX_MAX		(256U << 10)	/* bytes that a peer may leave untaken */
#define REPLY_MAX	GDB_MAX_PACKET
#define SIGNAL_INT	2		/* GDB's numbers (include/gdb/signals.def) */
#define SIGNAL_TRAP	5
#define DR6_BS		(1U << 14)

enum gdb_action { ACT_HOLD, ACT_CONT, ACT_STEP };

struct gdb {
	struct machine *m;
	struct gdb_target t;
	struct gdb_framer framer;
	int listen_fd, fd;		/* fd -1: nobody is there */
	char *path;			/* of the socket */
	struct loop_fd *listen_watch, *watch;
	bool serving;			/* a machine_call() is on its way */
	bool acks;			/* until QStartNoAckMode */
	bool stopped;			/* GDB believes so */
	unsigned int current;		/* vCPU of 'g', 'm', ... */
	unsigned int thread_next;	/* of qsThreadInfo */
	enum gdb_action action[HVX_MAX_VCPUS];
	size_t rx_len, tx_len, last_len;
	uint8_t rx[RX_MAX];
	char last[2 * REPLY_MAX + 8];	/* frame that was sent last, for a '-' */
	char tx[TX_MAX];
	char reply[REPLY_MAX + 1];
};

/* ----------------------------------------------------------- connection */

static void conn_ready(void *opaque, uint32_t events);
static void serve(struct machine *m, void *opaque);

static void disarm(struct gdb *g)
{
	gdb_break_clear(&g->t);
	for (unsigned int i = 0; i < g->m->nr_vcpus; i++) {
		g->m->vcpu[i].held = false;
		gdb_arm(&g->t, &g->m->vcpu[i], false);
	}
}

/* The peer left, or has to. vCPUs are parked, machine lock held; true: let the guest go on. */
static bool part(struct gdb *g)
{
	bool ours = run_state(g->m) == RS_DEBUG;

	if (g->fd < 0)
		return false;
	loop_del_fd(g->watch);
	close(g->fd);
	g->fd = -1;
	g->watch = NULL;
	g->stopped = false;
	disarm(g);
	log_info("gdb: the debugger has left");
	return ours;
}

static void ask_to_serve(struct gdb *g)
{
	if (!g->serving && !machine_call(g->m, serve, g))
		g->serving = true;
}

static void flush(struct gdb *g)
{
	while (g->tx_len) {
		ssize_t n = send(g->fd, g->tx, g->tx_len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0)
			break;
		g->tx_len -= (size_t)n;
		memmove(g->tx, g->tx + n, g->tx_len);
	}
	loop_mod_fd(g->watch, EPOLLIN | (g->tx_len ? EPOLLOUT : 0));
}

static void transmit(struct gdb *g, const char *data, size_t len)
{
	if (g->fd < 0)
		return;
	if (len > TX_MAX - g->tx_len) {
		shutdown(g->fd, SHUT_RDWR);	/* it takes nothing: its end is read next */
		return;
	}
	memcpy(g->tx + g->tx_len, data, len);
	g->tx_len += len;
	flush(g);
}

static void send_packet(struct gdb *g, const char *data, size_t len)
{
	g->last_len = gdb_frame(data, len, g->last);
	transmit(g, g->last, g->last_len);
}

static void send_text(struct gdb *g, const char *text)
{
	send_packet(g, text, strlen(text));
}

static void send_error(struct gdb *g, int err)
{
	char text[8];

	snprintf(text, sizeof(text), "E%02x", (unsigned int)err & 0xff);
	send_text(g, text);
}

static void send_result(struct gdb *g, int err)
{
	if (err)
		send_error(g, -err);
	else
		send_text(g, "OK");
}

static struct vcpu *current(struct gdb *g)
{
	return &g->m->vcpu[g->current];
}

/* ---------------------------------------------------------- stop and go */

static void send_stop(struct gdb *g, unsigned int signal, const char *why)
{
	char text[96];

	snprintf(text, sizeof(text), "T%02xthread:%x;%s", signal, g->current + 1, why);
	send_text(g, text);
}

/* vCPUs are parked, machine lock not held. */
static void stop(struct gdb *g)
{
	struct machine *m = g->m;
	enum run_state s = run_state(m);

	/* Others make the guest stand still for reasons of their own. */
	if (s == RS_RUNNING || s == RS_PAUSED || s == RS_PRELAUNCH)
		machine_stop(m, RS_DEBUG);
	for (unsigned int i = 0; i < m->nr_vcpus; i++) {
		m->vcpu[i].held = false;
		gdb_arm(&g->t, &m->vcpu[i], false);
	}
	g->stopped = true;
}

static void resume(struct gdb *g)
{
	struct machine *m = g->m;

	for (unsigned int i = 0; i < m->nr_vcpus; i++) {
		m->vcpu[i].held = g->action[i] == ACT_HOLD;
		if (gdb_arm(&g->t, &m->vcpu[i], g->action[i] == ACT_STEP))
			log_warn("gdb: vCPU %u cannot be set to debug", i);
	}
	g->stopped = false;
}

/* What a vCPU stopped for, as GDB wants to be told. */
static const char *reason(struct gdb *g, const struct vcpu *v, char *text, size_t room)
{
	if (v->debug.vector == 3)
		return "swbreak:;";
	for (unsigned int i = 0; i < GDB_MAX_HW; i++) {
		if (!g->t.hw[i].used || !(v->debug.dr6 & 1U << i))
			continue;
		if (g->t.hw[i].type == GDB_HW_EXEC)
			return "hwbreak:;";
		snprintf(text, room, "%s:%llx;", g->t.hw[i].type == GDB_HW_WRITE ? "watch" : "awatch",
			 (unsigned long long)g->t.hw[i].address);
		return text;
	}
	return "";
}

static void vcpu_hit(struct machine *m, void *opaque)
{
	struct vcpu *v = opaque;
	struct gdb *g = m->gdb;
	char text[48];

	/* Another came first: this one meets its breakpoint again when the guest goes on. */
	if (g->fd < 0 || g->stopped)
		return;
	g->current = (unsigned int)(v - m->vcpu);
	stop(g);
	pthread_mutex_lock(&m->lock);
	send_stop(g, SIGNAL_TRAP, reason(g, v, text, sizeof(text)));
	pthread_mutex_unlock(&m->lock);
}

void gdb_exit(struct vcpu *v, const struct hvx_exit_debug *debug)
{
	struct machine *m = v->m;
	bool ours = true;

	if (!m->gdb)
		return;
	pthread_mutex_lock(&m->lock);
	if (debug->vector == 3)
		ours = gdb_is_ours(&m->gdb->t, v, debug->rip);
	v->debug = *debug;
	pthread_mutex_unlock(&m->lock);
	if (ours)
		machine_call(m, vcpu_hit, v);
	else if (gdb_reflect_bp(v))
		machine_event(m, EV_FATAL, 0);
}

/* -------------------------------------------------------------- packets */

static bool thread_of(struct gdb *g, int64_t id, unsigned int *index)
{
	if (id < 1 || id > g->m->nr_vcpus)
		return false;
	*index = (unsigned int)id - 1;
	return true;
}

static void put_registers(struct gdb *g)
{
	uint8_t value[GDB_MAX_REG];
	struct gdb_cpu c;
	char *p = g->reply;

	if (gdb_load(current(g), &c)) {
		send_error(g, EIO);
		return;
	}
	for (unsigned int n = 0; n < GDB_REGS; n++) {
		gdb_reg_get(&c, n, value);
		gdb_put_bytes(&p, value, gdb_reg_size(n));
	}
	send_packet(g, g->reply, (size_t)(p - g->reply));
}

static void take_registers(struct gdb *g, const char *p)
{
	uint8_t value[GDB_MAX_REG];
	struct gdb_cpu c;
	int err = gdb_load(current(g), &c);

	for (unsigned int n = 0; n < GDB_REGS && !err; n++)
		if (!gdb_bytes(&p, value, gdb_reg_size(n)) || !gdb_reg_set(&c, n, value))
			err = -EINVAL;
	send_result(g, err ?: gdb_store(current(g), &c));
}

static void put_register(struct gdb *g, const char *p)
{
	uint8_t value[GDB_MAX_REG];
	struct gdb_cpu c;
	char *out = g->reply;
	uint64_t n;

	if (!gdb_hex(&p, &n) || n >= GDB_REGS || gdb_load(current(g), &c)) {
		send_error(g, EINVAL);
		return;
	}
	gdb_reg_get(&c, (unsigned int)n, value);
	gdb_put_bytes(&out, value, gdb_reg_size((unsigned int)n));
	send_packet(g, g->reply, (size_t)(out - g->reply));
}

static void take_register(struct gdb *g, const char *p)
{
	uint8_t value[GDB_MAX_REG];
	struct gdb_cpu c;
	uint64_t n;

	if (!gdb_hex(&p, &n) || n >= GDB_REGS || !gdb_char(&p, '=') ||
	    !gdb_bytes(&p, value, gdb_reg_size((unsigned int)n)) || gdb_load(current(g), &c) ||
	    !gdb_reg_set(&c, (unsigned int)n, value))
		send_error(g, EINVAL);
	else
		send_result(g, gdb_store(current(g), &c));
}

static void read_memory(struct gdb *g, const char *p)
{
	uint8_t data[REPLY_MAX / 2];
	uint64_t address, len;
	char *out = g->reply;

	if (!gdb_hex(&p, &address) || !gdb_char(&p, ',') || !gdb_hex(&p, &len) || *p) {
		send_error(g, EINVAL);
		return;
	}
	if (len > sizeof(data))
		len = sizeof(data);
	/* Up to the end of what is there, as the protocol allows. */
	while (len && gdb_memory(current(g), address, data, len, false))
		len = len > 1 && (address & 4095) + len > 4096 ? 4096 - (address & 4095) : 0;
	if (!len) {
		send_error(g, EFAULT);
		return;
	}
	gdb_put_bytes(&out, data, len);
	send_packet(g, g->reply, (size_t)(out - g->reply));
}

static void write_memory(struct gdb *g, const char *p, const char *end, bool binary)
{
	uint8_t data[GDB_MAX_PACKET];
	uint64_t address, len;

	if (!gdb_hex(&p, &address) || !gdb_char(&p, ',') || !gdb_hex(&p, &len) || !gdb_char(&p, ':') ||
	    len > sizeof(data) || (binary ? len != (uint64_t)(end - p) : !gdb_bytes(&p, data, len))) {
		send_error(g, EINVAL);
		return;
	}
	if (binary)
		memcpy(data, p, len);
	send_result(g, gdb_memory(current(g), address, data, len, true));
}

static void breakpoint(struct gdb *g, const char *p, bool insert)
{
	static const enum gdb_hw hw[] = { [1] = GDB_HW_EXEC, [2] = GDB_HW_WRITE, [3] = GDB_HW_ACCESS, [4] = GDB_HW_ACCESS };
	uint64_t type, address, kind;
	int err;

	if (!gdb_hex(&p, &type) || !gdb_char(&p, ',') || !gdb_hex(&p, &address) || !gdb_char(&p, ',') || !gdb_hex(&p, &kind)) {
		send_error(g, EINVAL);
		return;
	}
	if (type > 4) {
		send_text(g, "");
		return;
	}
	if (type)
		err = kind > 8 ? -EINVAL :
		      (insert ? gdb_hw_add : gdb_hw_del)(&g->t, hw[type], address, (unsigned int)kind);
	else
		err = insert ? gdb_break_add(&g->t, current(g), address) : gdb_break_del(&g->t, address);
	/* What is there already, or no more, is as wanted. */
	send_result(g, err == -EEXIST || err == -ENOENT ? 0 : err);
}

/* "vCont;s:1;c": the first action that names a thread, or none, is its. */
static bool parse_vcont(struct gdb *g, const char *p)
{
	bool set[HVX_MAX_VCPUS] = { false }, any = false;

	for (unsigned int i = 0; i < g->m->nr_vcpus; i++)
		g->action[i] = ACT_HOLD;
	while (gdb_char(&p, ';')) {
		enum gdb_action act;
		int64_t id = -1;
		uint64_t signal;
		char c = *p++;

		if (c != 'c' && c != 's' && c != 'C' && c != 'S')
			return false;
		if ((c == 'C' || c == 'S') && !gdb_hex(&p, &signal))
			return false;
		act = c == 's' || c == 'S' ? ACT_STEP : ACT_CONT;
		if (gdb_char(&p, ':') && !gdb_hex_signed(&p, &id))
			return false;
		for (unsigned int i = 0; i < g->m->nr_vcpus; i++) {
			if (set[i] || (id > 0 && id != i + 1))
				continue;
			set[i] = any = true;
			g->action[i] = act;
		}
	}
	return any && !*p;
}

static void all_actions(struct gdb *g, enum gdb_action act)
{
	for (unsigned int i = 0; i < g->m->nr_vcpus; i++)
		g->action[i] = act == ACT_STEP && i != g->current ? ACT_HOLD : act;
}

static void put_threads(struct gdb *g)
{
	char *p = g->reply;

	if (g->thread_next >= g->m->nr_vcpus) {
		send_text(g, "l");
		return;
	}
	*p++ = 'm';
	for (; g->thread_next < g->m->nr_vcpus; g->thread_next++)
		p += sprintf(p, "%s%x", p[-1] == 'm' ? "" : ",", g->thread_next + 1);
	send_packet(g, g->reply, (size_t)(p - g->reply));
}

static void thread_info(struct gdb *g, const char *p)
{
	struct hvx_events e = { 0 };
	unsigned int i;
	char text[48], *out = g->reply;
	int64_t id;

	if (!gdb_hex_signed(&p, &id) || !thread_of(g, id, &i)) {
		send_error(g, EINVAL);
		return;
	}
	hv_get_state(&g->m->vcpu[i].hv, HVX_STATE_EVENTS, &e, sizeof(e));
	snprintf(text, sizeof(text), "vCPU %u, %s", g->m->vcpu[i].id,
		 e.mp_state == HVX_MP_RUNNABLE ? "runs" : e.mp_state == HVX_MP_HALTED ? "halted" : "not started");
	gdb_put_bytes(&out, text, strlen(text));
	send_packet(g, g->reply, (size_t)(out - g->reply));
}

static void target_xml(struct gdb *g, const char *p)
{
	const char *xml = gdb_target_xml();
	size_t total = strlen(xml);
	uint64_t offset, len;

	if (!gdb_hex(&p, &offset) || !gdb_char(&p, ',') || !gdb_hex(&p, &len) || offset > total) {
		send_error(g, EINVAL);
		return;
	}
	if (len > REPLY_MAX / 2 - 1)
		len = REPLY_MAX / 2 - 1;
	if (len > total - offset)
		len = total - offset;
	g->reply[0] = offset + len == total ? 'l' : 'm';
	memcpy(g->reply + 1, xml + offset, len);
	send_packet(g, g->reply, len + 1);
}

static void query(struct gdb *g, const char *p)
{
	char text[160];

	if (gdb_word(&p, "Supported")) {
		snprintf(text, sizeof(text), "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;"
			 "swbreak+;hwbreak+", GDB_MAX_PACKET);
		send_text(g, text);
	} else if (gdb_word(&p, "Xfer:features:read:target.xml:")) {
		target_xml(g, p);
	} else if (gdb_word(&p, "fThreadInfo")) {
		g->thread_next = 0;
		put_threads(g);
	} else if (gdb_word(&p, "sThreadInfo")) {
		put_threads(g);
	} else if (gdb_word(&p, "ThreadExtraInfo,")) {
		thread_info(g, p);
	} else if (gdb_word(&p, "Attached")) {
		send_text(g, "1");
	} else if (!strcmp(p, "C")) {
		snprintf(text, sizeof(text), "QC%x", g->current + 1);
		send_text(g, text);
	} else {
		send_text(g, "");
	}
}

enum verdict { STAY, GO, LEAVE, QUIT };

static enum verdict v_packet(struct gdb *g, const char *p)
{
	if (!strcmp(p, "Cont?")) {
		send_text(g, "vCont;c;C;s;S");
	} else if (gdb_word(&p, "Cont")) {
		if (parse_vcont(g, p))
			return GO;
		send_error(g, EINVAL);
	} else if (gdb_word(&p, "Kill")) {
		send_text(g, "OK");
		return QUIT;
	} else {
		send_text(g, "");
	}
	return STAY;
}

/* 'H', 'T': is it a thread? 0 and -1 are any. */
static void choose_thread(struct gdb *g, const char *p, bool choose)
{
	unsigned int i;
	int64_t id;

	if (!gdb_hex_signed(&p, &id) || (id > 0 && !thread_of(g, id, &i))) {
		send_error(g, EINVAL);
		return;
	}
	if (choose && id > 0)
		g->current = i;
	send_text(g, "OK");
}

/* What leaves the guest as it stands; 'end' is the packet's. */
static void request(struct gdb *g, const char *p, const char *end)
{
	switch (*p++) {
	case '?':
		send_stop(g, SIGNAL_TRAP, "");
		break;
	case 'g':
		put_registers(g);
		break;
	case 'G':
		take_registers(g, p);
		break;
	case 'p':
		put_register(g, p);
		break;
	case 'P':
		take_register(g, p);
		break;
	case 'm':
		read_memory(g, p);
		break;
	case 'M':
	case 'X':
		write_memory(g, p, end, p[-1] == 'X');
		break;
	case 'Z':
	case 'z':
		breakpoint(g, p, p[-1] == 'Z');
		break;
	case 'H':
		choose_thread(g, p + (*p != '\0'), *p == 'g');
		break;
	case 'T':
		choose_thread(g, p, false);
		break;
	case 'q':
		query(g, p);
		break;
	case 'Q':
		if (!strcmp(p, "StartNoAckMode")) {
			send_text(g, "OK");
			g->acks = false;
		} else {
			send_text(g, "");
		}
		break;
	default:
		send_text(g, "");
	}
}

static enum verdict packet(struct gdb *g, const char *p, size_t len)
{
	switch (*p) {
	case 'c':
	case 'C':
		all_actions(g, ACT_CONT);
		return GO;
	case 's':
	case 'S':
		all_actions(g, ACT_STEP);
		return GO;
	case 'v':
		return v_packet(g, p + 1);
	case 'D':
		send_text(g, "OK");
		return LEAVE;
	case 'k':
		return QUIT;
	default:
		request(g, p, p + len);
		return STAY;
	}
}

/* -------------------------------------------------------------- serving */

/* One byte, machine lock held. */
static enum verdict take_byte(struct gdb *g, uint8_t byte, bool *interrupt)
{
	switch (gdb_feed(&g->framer, byte)) {
	case GDB_NONE:
	case GDB_ACK:
		return STAY;
	case GDB_NAK:
		transmit(g, g->last, g->last_len);
		return STAY;
	case GDB_BAD:
		if (g->acks)
			transmit(g, "-", 1);
		else
			send_error(g, EINVAL);
		return STAY;
	case GDB_INTERRUPT:
		*interrupt = true;
		return STAY;
	case GDB_ALIEN:
		log_warn("gdb: a peer that does not speak GDB's protocol is sent away");
		return LEAVE;
	case GDB_PACKET:
		break;
	}
	if (g->acks)
		transmit(g, "+", 1);
	return packet(g, g->framer.data, g->framer.len);
}

/* All vCPUs are parked, machine lock not held. */
static void serve(struct machine *m, void *opaque)
{
	struct gdb *g = opaque;
	enum verdict v = STAY;
	bool interrupt = false, gone = false, ran = !g->stopped;
	size_t i = 0;
	ssize_t n;

	pthread_mutex_lock(&m->lock);
	g->serving = false;
	n = g->fd < 0 ? 0 : recv(g->fd, g->rx, sizeof(g->rx), MSG_DONTWAIT);
	gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	pthread_mutex_unlock(&m->lock);
	/* GDB looks at nothing while the guest runs: but whatever asks finds it standing still. */
	if (g->fd >= 0 && !g->stopped && n > 0 && (memchr(g->rx, '$', (size_t)n) || memchr(g->rx, 3, (size_t)n))) {
		stop(g);
	} else if (g->fd >= 0 && g->stopped && run_state(m) == RS_RUNNING) {
		stop(g);	/* the control socket let it go on */
	}
	pthread_mutex_lock(&m->lock);
	while (!gone && n > 0 && i < (size_t)n && v == STAY) {
		bool told = false;

		v = take_byte(g, g->rx[i++], &told);
		interrupt |= told && ran;
		if (v == GO && i < (size_t)n && g->rx[i] == 3) {	/* let go and stopped in one breath */
			interrupt = true;
			v = STAY;
			i++;
		}
	}
	if (interrupt && v == STAY)
		send_stop(g, SIGNAL_INT, "");
	if (v == GO)
		resume(g);
	if (gone || v == LEAVE || v == QUIT)
		v = part(g) && v != QUIT ? GO : v;
	pthread_mutex_unlock(&m->lock);
	if (v == GO && run_state(m) == RS_DEBUG)
		machine_cont(m);
	if (v == QUIT)
		machine_quit(m);
}

/* Bytes are left where they are until the vCPUs stand still. */
static void conn_ready(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;

	if (events & EPOLLOUT)
		flush(g);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		ask_to_serve(g);
}

static void attach(struct machine *m, void *opaque)
{
	struct gdb *g = opaque;

	(void)m;
	if (g->fd >= 0)
		stop(g);
}

static void peer_arrived(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;
	int fd = loop_accept(g->listen_watch);

	(void)events;
	if (fd < 0)
		return;
	if (g->fd >= 0) {
		close(fd);	/* one debugger at a time */
		return;
	}
	g->watch = loop_add_fd(g->m->loop, fd, EPOLLIN, conn_ready, g);
	if (!g->watch || machine_call(g->m, attach, g)) {
		loop_del_fd(g->watch);
		g->watch = NULL;
		close(fd);
		return;
	}
	memset(&g->framer, 0, sizeof(g->framer));
	g->fd = fd;
	g->acks = true;
	g->stopped = false;
	g->current = 0;
	g->tx_len = g->last_len = 0;
	log_info("gdb: a debugger is here");
}

/* -------------------------------------------------------------- opening */

static int listen_unix(struct gdb *g, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int ret;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	g->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (g->listen_fd < 0)
		return -errno;
	/* One that a guest left behind may be replaced, nothing else. */
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode) &&
	    connect(g->listen_fd, (struct sockaddr *)&sun, sizeof(sun)) && errno == ECONNREFUSED)
		unlink(path);
	mask = umask(077);
	ret = bind(g->listen_fd, (struct sockaddr *)&sun, sizeof(sun));
	umask(mask);
	if (ret)
		return -errno;
	g->path = strdup(path);
	return 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24 == 127;
	return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

/* "HOST:PORT", "[HOST]:PORT", "PORT" */
static int listen_tcp(struct gdb *g, const char *where)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *ai;
	const char *colon = strrchr(where, ':'), *port = colon ? colon + 1 : where;
	char host[256] = "127.0.0.1";
	int ret, one = 1;

	if (colon > where)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	if (*host == '[' && strchr(host, ']')) {
		*strchr(host, ']') = '\0';
		memmove(host, host + 1, strlen(host));
	}
	if (getaddrinfo(host, port, &hints, &ai))
		return -EHOSTUNREACH;
	g->listen_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ret = g->listen_fd < 0 ? -errno : 0;
	if (!ret)
		setsockopt(g->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!ret && bind(g->listen_fd, ai->ai_addr, ai->ai_addrlen))
		ret = -errno;
	if (!ret && !is_loopback(ai->ai_addr))
		log_warn("gdb: everybody who reaches %s can control this guest", where);
	freeaddrinfo(ai);
	return ret;
}

static int open_listener(struct gdb *g, const char *where)
{
	char *path = NULL;
	int ret;

	if (!strncmp(where, "tcp:", 4))
		return listen_tcp(g, where + 4);
	if (!strncmp(where, "unix:", 5) && where[5])
		return listen_unix(g, where + 5);
	if (strcmp(where, "unix") || !g->m->runtime_dir) {
		log_error("--gdb %s: %s; write unix:PATH, tcp:PORT or tcp:HOST:PORT", where,
			  strcmp(where, "unix") ? "not an address" : "there is no runtime directory");
		return -EINVAL;
	}
	if (asprintf(&path, "%s/gdb.sock", g->m->runtime_dir) < 0)
		return -ENOMEM;
	ret = listen_unix(g, path);
	free(path);
	return ret;
}

int gdb_create(struct machine *m, const char *where)
{
	struct gdb *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return -ENOMEM;
	m->gdb = g;
	g->m = g->t.m = m;
	g->listen_fd = g->fd = -1;
	if (!(m->hv.info.features & HVX_FEAT_SINGLE_STEP))
		log_warn("gdb: this module cannot single-step");
	ret = open_listener(g, where);
	if (!ret && listen(g->listen_fd, 1))
		ret = -errno;
	if (!ret) {
		g->listen_watch = loop_add_fd(m->loop, g->listen_fd, EPOLLIN, peer_arrived, g);
		ret = g->listen_watch ? 0 : -ENOMEM;
	}
	if (ret)
		log_error("--gdb %s: %s", where, strerror(-ret));
	return ret;
}

void gdb_free(struct machine *m)
{
	struct gdb *g = m->gdb;

	if (!g)
		return;
	loop_del_fd(g->watch);
	loop_del_fd(g->listen_watch);
	if (g->fd >= 0)
		close(g->fd);
	if (g->listen_fd >= 0)
		close(g->listen_fd);
	if (g->path)
		unlink(g->path);
	free(g->path);
	free(g);
	m->gdb = NULL;
}
