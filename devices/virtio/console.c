// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-console (virtio 1.2, 5.3) with several ports: consoles, and channels
 * that the guest finds by their names. Each port has a queue pair and a character
 * back end. Everything runs on the main loop.
 *
 * Queues: 0, 1 receive and transmit of port 0; 2, 3 the control pair; from 4 on
 * the pairs of ports 1, 2, ... Without MULTIPORT there is port 0 alone.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "devices/virtio/virtio.h"

#define DATA_QUEUE	128
#define CONTROL_QUEUE	64
#define CONTROL_RX	2
#define CONTROL_TX	3
#define MAX_MESSAGES	(DOM_MAX_PORTS * 8)	/* waiting for the driver's buffers */
#define MAX_WRITE	(1U << 20)		/* bytes of one buffer that are taken */

struct virtio_console;

struct port {
	struct virtio_console *con;
	struct chardev *chr;
	const char *name;
	bool is_console;
	bool present;
	bool guest_open;
	bool holds;		/* rx has a buffer that is not filled yet */
	struct vq_chain rx;
};

struct message {
	struct virtio_console_control c;
	bool with_name;
};

struct virtio_console {
	struct virtio_device v;
	unsigned int nr_ports;
	struct port port[DOM_MAX_PORTS];
	struct message msg[MAX_MESSAGES];
	unsigned int msg_head, nr_msgs;
};

static unsigned int rx_queue(unsigned int port)
{
	return port ? 2 + 2 * port : 0;
}

/* Port of a data queue. */
static struct port *port_of(struct virtio_console *con, unsigned int queue)
{
	unsigned int i = queue < 2 ? 0 : queue / 2 - 1;

	return i < con->nr_ports ? &con->port[i] : NULL;
}

/* ------------------------------------------------------------ control messages */

static void flush_messages(struct virtio_console *con)
{
	struct virtio_queue *q = &con->v.queue[CONTROL_RX];
	struct vq_chain c;

	while (q->running && con->nr_msgs && virtio_pop(q, &c)) {
		struct message *msg = &con->msg[con->msg_head];
		size_t len = iov_write(c.in, c.nr_in, 0, &msg->c, sizeof(msg->c));

		if (msg->with_name) {
			const char *name = con->port[le32toh(msg->c.id)].name;

			len += iov_write(c.in, c.nr_in, len, name, strlen(name) + 1);
		}
		vq_push(&q->vq, c.head, len);
		con->msg_head = (con->msg_head + 1) % MAX_MESSAGES;
		con->nr_msgs--;
	}
	if (q->running)
		virtio_publish(q);
}

static void send_message(struct virtio_console *con, unsigned int id, uint16_t event, uint16_t value)
{
	struct message *msg = &con->msg[(con->msg_head + con->nr_msgs) % MAX_MESSAGES];

	if (con->nr_msgs == MAX_MESSAGES) {
		log_guest("%s: the guest does not take control messages", con->v.dev.id);
		return;
	}
	msg->c.id = htole32(id);
	msg->c.event = htole16(event);
	msg->c.value = htole16(value);
	msg->with_name = event == VIRTIO_CONSOLE_PORT_NAME;
	con->nr_msgs++;
}

static void port_ready(struct virtio_console *con, unsigned int id)
{
	struct port *p = &con->port[id];

	if (p->is_console)
		send_message(con, id, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	if (p->name)
		send_message(con, id, VIRTIO_CONSOLE_PORT_NAME, 1);
	/* Output is kept for a peer that comes later, so the port is open from the start. */
	send_message(con, id, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void control_message(struct virtio_console *con, const struct virtio_console_control *c)
{
	uint32_t id = le32toh(c->id);
	uint16_t value = le16toh(c->value);
	unsigned int i;

	switch (le16toh(c->event)) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		for (i = 0; value && i < con->nr_ports; i++) {
			if (con->port[i].present)
				send_message(con, i, VIRTIO_CONSOLE_PORT_ADD, 1);
		}
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (value && id < con->nr_ports && con->port[id].present)
			port_ready(con, id);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (id >= con->nr_ports || !con->port[id].present)
			break;
		con->port[id].guest_open = value;
		if (value)
			chardev_rx_ready(con->port[id].chr);
		break;
	}
}

static void handle_control(struct virtio_console *con, struct virtio_queue *q)
{
	struct virtio_console_control c;
	struct vq_chain chain;

	while (virtio_pop(q, &chain)) {
		if (iov_read(chain.out, chain.nr_out, 0, &c, sizeof(c)) == sizeof(c))
			control_message(con, &c);
		vq_push(&q->vq, chain.head, 0);
	}
	virtio_publish(q);
	flush_messages(con);
}

/* ------------------------------------------------------------------------ data */

static void handle_output(struct port *p, struct virtio_queue *q)
{
	struct vq_chain c;
	unsigned int i;

	while (virtio_pop(q, &c)) {
		size_t left = MAX_WRITE;

		for (i = 0; p && p->chr && i < c.nr_out && left; i++) {
			size_t n = c.out[i].iov_len < left ? c.out[i].iov_len : left;

			chardev_write(p->chr, c.out[i].iov_base, n);
			left -= n;
		}
		vq_push(&q->vq, c.head, 0);
	}
	virtio_publish(q);
}

static struct virtio_queue *port_rx(struct port *p)
{
	return &p->con->v.queue[rx_queue(p - p->con->port)];
}

static size_t port_room(void *opaque)
{
	struct port *p = opaque;
	struct virtio_queue *q = port_rx(p);

	if (!q->running || q->vq.broken)
		return 0;
	if (virtio_has(&p->con->v, VIRTIO_CONSOLE_F_MULTIPORT) && !p->guest_open)
		return 0;
	if (!p->holds) {
		q->budget = 1;	/* not the driver's doing, but as much as the peer sends */
		p->holds = virtio_pop(q, &p->rx);
	}
	return p->holds ? p->rx.in_len : 0;
}

static void port_input(void *opaque, const uint8_t *data, size_t len)
{
	struct port *p = opaque;
	struct virtio_queue *q = port_rx(p);

	while (len && port_room(p)) {
		size_t n = iov_write(p->rx.in, p->rx.nr_in, 0, data, len);

		vq_push(&q->vq, p->rx.head, n);
		p->holds = false;
		data += n;
		len -= n;
	}
	if (q->running)
		virtio_publish(q);
}

static void console_handle(struct virtio_queue *q)
{
	struct virtio_console *con = (struct virtio_console *)q->v;
	struct port *p;

	if (q->index == CONTROL_RX) {
		flush_messages(con);
		return;
	}
	if (q->index == CONTROL_TX) {
		handle_control(con, q);
		return;
	}
	p = port_of(con, q->index);
	if (q->index & 1)
		handle_output(p, q);
	else if (p && p->chr)
		chardev_rx_ready(p->chr);
}

static void console_stop(struct virtio_device *v)
{
	struct virtio_console *con = (struct virtio_console *)v;
	unsigned int i;

	con->nr_msgs = 0;
	for (i = 0; i < con->nr_ports; i++)
		con->port[i].guest_open = false;
}

/* A buffer that is held goes back into the ring: after a pause it is popped anew. */
static void console_queue_stop(struct virtio_queue *q)
{
	struct virtio_console *con = (struct virtio_console *)q->v;
	struct port *p = port_of(con, q->index);

	if (q->index & 1 || q->index == CONTROL_RX || !p || !p->holds)
		return;
	vq_unpop(&q->vq);
	p->holds = false;
}

/* The emergency console: one character without any queue. */
static void console_config_written(struct virtio_device *v, unsigned int off, unsigned int len)
{
	struct virtio_console *con = (struct virtio_console *)v;
	const struct virtio_console_config *c = (const void *)v->config;
	uint8_t ch = le32toh(c->emerg_wr);

	if (off == offsetof(struct virtio_console_config, emerg_wr) && con->port[0].chr)
		chardev_write(con->port[0].chr, &ch, 1);
}

static const struct virtio_ops console_virtio_ops = {
	.handle = console_handle,
	.queue_stop = console_queue_stop,
	.stop = console_stop,
	.config_written = console_config_written,
};

/* ---------------------------------------------------------------------- making */

static void console_destroy(struct device *dev)
{
	struct virtio_console *con = (struct virtio_console *)dev;
	unsigned int i;

	virtio_reset(dev);
	for (i = 0; i < con->nr_ports; i++) {
		if (con->port[i].chr)
			chardev_close(con->port[i].chr);
	}
	virtio_fini(&con->v);
	free(con);
}

/* -------------------------------------------------------------------- state */

struct message_state {
	uint32_t id;
	uint16_t event, value;
};

struct console_state {
	struct virtio_state virtio;
	uint32_t nr_ports, nr_msgs;
	uint8_t guest_open[DOM_MAX_PORTS];
	struct message_state msg[MAX_MESSAGES];
};

static const struct state_field message_fields[] = {
	STATE_NUM(struct message_state, id, 1, .max = DOM_MAX_PORTS - 1),
	STATE_NUM(struct message_state, event, 1),
	STATE_NUM(struct message_state, value, 1),
	STATE_END
};

static const struct state_field console_fields[] = {
	STATE_GROUP(struct console_state, virtio, virtio_state_fields, 1),
	STATE_NUM(struct console_state, nr_ports, 1, .max = DOM_MAX_PORTS),
	STATE_SOME(struct console_state, guest_open, nr_ports, 1, .max = 1),
	STATE_NUM(struct console_state, nr_msgs, 1, .max = MAX_MESSAGES),
	STATE_SOME_GROUPS(struct console_state, msg, nr_msgs, message_fields, 1),
	STATE_END
};

static int console_save(struct device *dev, void *state, struct state_error *err)
{
	const struct virtio_console *con = (struct virtio_console *)dev;
	struct console_state *s = state;
	unsigned int i;

	s->nr_ports = con->nr_ports;
	for (i = 0; i < con->nr_ports; i++)
		s->guest_open[i] = con->port[i].guest_open;
	s->nr_msgs = con->nr_msgs;
	for (i = 0; i < con->nr_msgs; i++) {
		const struct message *msg = &con->msg[(con->msg_head + i) % MAX_MESSAGES];

		s->msg[i] = (struct message_state){
			.id = le32toh(msg->c.id), .event = le16toh(msg->c.event),
			.value = le16toh(msg->c.value),
		};
	}
	return virtio_save(dev, state, err);
}

static int console_load(struct device *dev, const void *state, unsigned int version,
			struct state_error *err)
{
	struct virtio_console *con = (struct virtio_console *)dev;
	const struct console_state *s = state;
	unsigned int i;

	if (s->nr_ports != con->nr_ports)
		return state_error(err, "%u ports, here there are %u", s->nr_ports, con->nr_ports);
	for (i = 0; i < s->nr_msgs; i++) {
		uint32_t id = s->msg[i].id;

		if (id >= con->nr_ports || !con->port[id].present)
			return state_error(err, "a message about port %u, which is not there", id);
		if (s->msg[i].event == VIRTIO_CONSOLE_PORT_NAME && !con->port[id].name)
			return state_error(err, "port %u had a name", id);
	}
	for (i = 0; i < con->nr_ports; i++)
		con->port[i].guest_open = s->guest_open[i] && con->port[i].present;
	con->msg_head = con->nr_msgs = 0;
	for (i = 0; i < s->nr_msgs; i++)
		send_message(con, s->msg[i].id, s->msg[i].event, s->msg[i].value);
	return virtio_load(dev, state, version, err);
}

static const struct state_desc console_state_desc = {
	.version = 1, .size = sizeof(struct console_state), .fields = console_fields,
	.save = console_save, .load = console_load,
};

static const struct device_ops console_ops = {
	.name = "virtio-console",
	.xml = "<console> with <target type='virtio'>, <channel> with <target type='virtio' name=>",
	.help = "Consoles (hvc0, ...) and named channels (/dev/virtio-ports/NAME).",
	.reset = virtio_reset,
	.pause = virtio_pause,
	.resume = virtio_resume,
	.destroy = console_destroy,
	.state = &console_state_desc,
};
DEVICE_REGISTER(console_ops);

static int open_port(struct virtio_console *con, const struct dom_port *cfg, unsigned int id)
{
	struct port *p = &con->port[id];
	char name[32];

	/* The one that `hvx exec` and its like look for. */
	if (cfg->name && !strcmp(cfg->name, "org.qemu.guest_agent.0"))
		snprintf(name, sizeof(name), "agent");
	else
		snprintf(name, sizeof(name), "%s%u", cfg->console ? "console" : "channel", id);
	p->chr = chardev_open(con->v.dev.m, &cfg->chr, name);
	if (!p->chr && cfg->chr.type != CHR_NONE)
		return -EIO;
	p->con = con;
	p->name = cfg->name;
	p->is_console = cfg->console;
	p->present = true;
	if (p->chr)
		chardev_set_rx(p->chr, port_room, port_input, p);
	return 0;
}

/* Ports get their numbers in the XML's order, consoles first: port 0 is the one every driver finds. */
static int open_ports(struct virtio_console *con, const struct dom_port *cfg, unsigned int nr)
{
	unsigned int i, id = 0;
	int ret, consoles;

	for (consoles = 1; consoles >= 0; consoles--) {
		for (i = 0; i < nr; i++) {
			if (cfg[i].console != consoles)
				continue;
			/* Port 0 is for consoles alone: a driver without MULTIPORT takes it for one. */
			if (!id && !consoles)
				id = 1;
			if (id == con->nr_ports)
				return -ENOSPC;
			ret = open_port(con, &cfg[i], id++);
			if (ret)
				return ret;
		}
	}
	return 0;
}

int virtio_console_create(struct machine *m, const struct dom_port *cfg, unsigned int nr)
{
	uint16_t sizes[2 * (DOM_MAX_PORTS + 1)];
	struct virtio_console *con;
	struct virtio_console_config *c;
	unsigned int i, ports = 0;
	bool any = false;
	int ret;

	for (i = 0; i < nr; i++)
		any |= cfg[i].console;
	ports = nr + !any;
	if (ports > DOM_MAX_PORTS) {
		log_error("console: %u consoles and channels are too many; %u are possible", nr,
			  DOM_MAX_PORTS - !any);
		return -E2BIG;
	}
	con = calloc(1, sizeof(*con));
	if (!con)
		return -ENOMEM;
	con->nr_ports = ports;
	for (i = 0; i < 2 * (ports + 1); i++)
		sizes[i] = i == CONTROL_RX || i == CONTROL_TX ? CONTROL_QUEUE : DATA_QUEUE;
	for (i = 0; i < ports; i++)
		con->port[i].con = con;
	ret = virtio_init(&con->v, m, &console_ops, &console_virtio_ops, VIRTIO_ID_CONSOLE,
			  1ULL << VIRTIO_CONSOLE_F_MULTIPORT | 1ULL << VIRTIO_CONSOLE_F_EMERG_WRITE,
			  sizeof(*c), 2 * (ports + 1), sizes, "console");
	if (ret) {
		free(con);
		return ret;
	}
	c = (void *)con->v.config;
	c->max_nr_ports = htole32(ports);
	con->v.config_wmask = calloc(1, sizeof(*c));
	ret = con->v.config_wmask ? 0 : -ENOMEM;
	if (!ret) {
		memset(con->v.config_wmask + offsetof(struct virtio_console_config, emerg_wr), 0xff, 4);
		ret = open_ports(con, cfg, nr);
	}
	if (!ret)
		ret = virtio_add_kicks(&con->v);
	if (ret)
		console_destroy(&con->v.dev);
	return ret;
}
