/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest agent behind a socket, on a thread of its own. What it does with commands is the test's. */
#ifndef AGENT_FIXTURE_H
#define AGENT_FIXTURE_H

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct agent_fixture {
	char dir[64], path[128];	/* path: what the client connects to */
	int listen_fd;
	pthread_t thread;
	_Atomic int connections;
	bool in_pieces;			/* answers, byte by byte */
	void (*greet)(int fd);		/* somebody is there; NULL: nothing */
	void (*sync)(int fd, long long id);	/* guest-sync-delimited */
	bool (*command)(int fd, const char *line);	/* any other; false: hang up */
} agent_fixture;

static void agent_say(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t done = send(fd, data, agent_fixture.in_pieces ? 1 : len, MSG_NOSIGNAL);

		if (done <= 0)
			return;
		data += done;
		len -= (size_t)done;
	}
}

/* The answer to guest-sync-delimited. */
static void agent_synced(int fd, long long id)
{
	char text[64];

	snprintf(text, sizeof(text), "\xff{\"return\": %lld}\n", id);
	agent_say(fd, text, strlen(text));
}

static bool agent_get_line(int fd, char *line, size_t room)
{
	size_t n = 0;
	char c;

	while (recv(fd, &c, 1, 0) == 1) {
		if (c == '\n') {
			line[n] = '\0';
			return true;
		}
		if (c != '\xff' && n + 1 < room)
			line[n++] = c;
	}
	return false;
}

static void *agent_main(void *arg)
{
	struct agent_fixture *a = &agent_fixture;
	char line[4096];
	int fd;

	while ((fd = accept(a->listen_fd, NULL, NULL)) >= 0) {
		bool more = true;

		a->connections++;
		if (a->greet)
			a->greet(fd);
		while (more && agent_get_line(fd, line, sizeof(line))) {
			const char *id = strstr(line, "\"id\":");

			if (strstr(line, "guest-sync-delimited"))
				a->sync(fd, id ? atoll(id + 5) : -1);
			else
				more = a->command(fd, line);
		}
		close(fd);
	}
	return arg;
}

static void agent_begin(bool (*command)(int fd, const char *line))
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct agent_fixture *a = &agent_fixture;

	memset(a, 0, sizeof(*a));
	a->sync = agent_synced;
	a->command = command;
	strcpy(a->dir, "/tmp/hvx-agent.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(a->dir));
	snprintf(a->path, sizeof(a->path), "%s/agent.sock", a->dir);
	strcpy(sun.sun_path, a->path);
	a->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(a->listen_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(a->listen_fd, 4), 0);
	ck_assert_int_eq(pthread_create(&a->thread, NULL, agent_main, NULL), 0);
}

/* All clients are gone. */
static void agent_end(void)
{
	char cmd[128];

	shutdown(agent_fixture.listen_fd, SHUT_RDWR);
	pthread_join(agent_fixture.thread, NULL);
	close(agent_fixture.listen_fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", agent_fixture.dir);
	ck_assert_int_eq(system(cmd), 0);
}

#endif
