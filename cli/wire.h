/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections between two hosts' `hvx` for a migration (docs/migration.md): where to,
 * the greeting, and the socket that the VMM is given. The VMM speaks plain text to a
 * Unix or TCP socket; TLS and pipes are a relay's matter, in a thread of this process.
 */
#ifndef HVX_CLI_WIRE_H
#define HVX_CLI_WIRE_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct tls;

enum wire_kind { WIRE_UNIX, WIRE_TLS, WIRE_TCP, WIRE_SSH, WIRE_STDIO };

struct wire_uri {
	enum wire_kind kind;
	char *host, *port;	/* NULL: any, default; ssh: [USER@]HOST */
	char *path;		/* of a Unix socket */
};

struct wire_options {
	bool unencrypted;	/* tcp: may be used */
	const char *pki;	/* folder of the certificates; NULL: libvirt's places */
	const char *remote;	/* ssh: the `hvx` of the other host */
	const char *join;	/* ssh: the migration that it is a further connection of; NULL: it is the first */
};

/*
 * unix:PATH, tls://HOST[:PORT], tcp://HOST[:PORT], ssh://[USER@]HOST[:PORT], "-". 0, or -1
 * after a message. receiving: HOST may be left out, and ssh makes no sense.
 */
int wire_uri_parse(const char *verb, const char *text, bool receiving, const struct wire_options *o,
		   struct wire_uri *u);
void wire_uri_free(struct wire_uri *u);

struct wire {
	int in, out;		/* the same, where that is a socket; -1: closed, or given away */
	bool socket;
	struct tls *tls;
	pid_t ssh;		/* 0: none */
	int relay;		/* its end of the pair, -1: none */
	bool relayed;
	pthread_t thread;
};

#define WIRE_NONE { .in = -1, .out = -1, .relay = -1 }

/* 0, or -1 after a message. */
int wire_connect(const struct wire_uri *u, const struct wire_options *o, struct wire *w);
int wire_listen(const struct wire_uri *u, const struct wire_options *o);	/* a socket; WIRE_STDIO: -2 */
/*
 * Where the further connections of a migration that came on standard input meet: `receive
 * --join` passes each on. A socket, or -1 after a message.
 */
int wire_listen_more(const char *path);
/* That command: standard input and output are the connection. 0, or -1 after a message. */
int wire_join(const char *path);
/* The next connection. 1: this one was no good, try again; said with a message. */
int wire_accept(int listener, const struct wire_uri *u, const struct wire_options *o, struct wire *w);

/* That in two steps: the connection, 0, or -1 after a message, or with EAGAIN where listener does not block and none is there; */
int wire_take(int listener, const struct wire_uri *u, struct wire *w);
/* and what makes it secure, where that is asked for: 0, or -1 after a message; w is to be closed then. Any thread. */
int wire_secure(const struct wire_uri *u, const struct wire_options *o, struct wire *w);

#define WIRE_PATIENCE_S	30	/* for an answer, and for a host that is silent */

/* One message each way; each piece at most 30 s after the last, but with ssh; until a signal without SA_RESTART. -1 with *why (static). */
int wire_send(struct wire *w, struct json_object *o, const char **why);
struct json_object *wire_receive(struct wire *w, const char **why);

/* The socket for a VMM, the caller's. -1 after a message. */
int wire_give(struct wire *w);
/* What the relay has on its way goes, then it ends; ms at most. */
void wire_close(struct wire *w);

#endif
