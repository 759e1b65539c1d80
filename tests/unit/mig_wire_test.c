// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/mig_*.c vmm/stream.c vmm/state.c devices/device.c vmm/sandbox.c vmm/log.c cli/wire.c cli/tls.c */
/*
 * Post-copy by TLS and by what looks like ssh, each relay in a process of its own, as `hvx
 * migrate` and `hvx receive` are; and kill -9 of a relay, or of either end, at each step. At
 * most one end ever runs the guest; before the change it is the source, and from then on
 * what the source keeps is enough to go on.
 */
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "cli/tls.h"
#include "cli/wire.h"
#include "mig_post_fixture.h"
#include "vmm/fdpass.h"

enum by { BY_TLS, BY_SSH, BY_SOCKET };
enum side { HERE, THERE };

static char dir[64], self[PATH_MAX];
static enum by by;
static pid_t hvx_pid[2];
static enum side victim;
static enum point wanted;	/* NR_POINTS: when the guest runs there, and the source knows */
static _Atomic bool killed;

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

const struct tls_ops *tls_load(void)
{
	return &hvx_tls;
}

/*
 * A relay whose half minute of patience runs out has not understood that its VMM is gone, or
 * that the other side is: it leaves a mark.
 */
int poll(struct pollfd *fds, nfds_t nr, int timeout)
{
	struct timespec ts = { .tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L };
	const char *mark = getenv("HVX_TEST_MARK");
	int n = ppoll(fds, nr, timeout < 0 ? NULL : &ts, NULL);

	if (!n && timeout >= 1000 && mark)
		close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	return n;
}

static void nobody_was_patient(void)
{
	ck_assert_msg(access(getenv("HVX_TEST_MARK"), F_OK), "a relay has waited for what could not come");
}

/* --------------------------------------------------------------- `hvx`, a process */

/* What it says of itself, and where it listens, if it does. */
struct hello {
	pid_t pid;
	unsigned int port;
};

static bool say_hello(int sock, int listener, int fd)
{
	struct hello h = { .pid = getpid() };
	struct sockaddr_in sa = { .sin_family = AF_UNSPEC };
	socklen_t len = sizeof(sa);

	if (listener >= 0 && !getsockname(listener, (struct sockaddr *)&sa, &len) && sa.sin_family == AF_INET)
		h.port = ntohs(sa.sin_port);
	return fd_send(sock, &h, sizeof(h), fd, 0) == sizeof(h);
}

static int listen_and_accept(const struct wire_uri *u, const struct wire_options *o, int sock, struct wire *w)
{
	int listener = wire_listen(u, o), ret;

	/* It waits now: said without a descriptor. */
	if (listener == -1 || !say_hello(sock, listener, -1))
		return -1;
	do {
		ret = wire_accept(listener, u, o, w);
	} while (ret > 0);
	if (listener >= 0)
		close(listener);
	return ret;
}

/* here|there, URI, certificates, a socket to whoever has the VMM. */
static int be_hvx(char **arg)
{
	bool receiving = !strcmp(arg[0], "there");
	struct wire_options o = { .pki = arg[2] };
	int sock = atoi(arg[3]), fd, ret;
	struct wire_uri u;
	struct wire w;

	signal(SIGPIPE, SIG_IGN);
	fcntl(sock, F_SETFD, FD_CLOEXEC);
	if (wire_uri_parse(arg[0], arg[1], receiving, &o, &u))
		return 2;
	ret = receiving ? listen_and_accept(&u, &o, sock, &w) : wire_connect(&u, &o, &w);
	wire_uri_free(&u);
	if (ret)
		return 3;
	fd = wire_give(&w);
	ret = say_hello(sock, -1, fd) ? 0 : 4;
	close(fd);
	close(sock);
	wire_close(&w);
	return ret;
}

static pid_t spawn(const char *side, const char *uri, int sock, int more)
{
	pid_t pid = fork();
	char fd[16], pki[96];

	if (pid)
		return pid;
	fcntl(sock, F_SETFD, 0);
	fcntl(more, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "%d", sock);
	snprintf(pki, sizeof(pki), "%s/pki", dir);
	execl(self, self, "hvx", side, uri, pki, fd, NULL);
	_exit(127);
}

static int hear_from(int sock, enum side side, unsigned int *port)
{
	struct hello h;
	int fd = -1;

	ck_assert_int_eq(fd_recv(sock, &h, sizeof(h), &fd, 0), sizeof(h));
	hvx_pid[side] = h.pid;
	if (port)
		*port = h.port;
	return fd;
}

/* A connection, with a relay at each end of it. */
static void connect_relayed(int *here_fd, int *there_fd)
{
	char path[PATH_MAX + 80], number[16], uri[64];
	unsigned int port;
	int a[2], b[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, a), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, b), 0);
	if (by == BY_SSH) {
		snprintf(path, sizeof(path), "%s/bin:/usr/bin:/bin", dir);
		snprintf(number, sizeof(number), "%d", b[1]);
		setenv("PATH", path, 1);
		setenv("HVX_TEST_SELF", self, 1);
		setenv("HVX_TEST_SOCKET", number, 1);
		hvx_pid[HERE] = spawn("here", "ssh://host", a[1], b[1]);
		hear_from(b[0], THERE, NULL);
	} else {
		spawn("there", "tls://127.0.0.1:0", b[1], b[1]);
		hear_from(b[0], THERE, &port);
		snprintf(uri, sizeof(uri), "tls://localhost:%u", port);
		hvx_pid[HERE] = spawn("here", uri, a[1], a[1]);
	}
	close(a[1]);
	close(b[1]);
	*here_fd = hear_from(a[0], HERE, NULL);
	*there_fd = hear_from(b[0], THERE, NULL);
	ck_assert_int_ge(*here_fd, 0);
	ck_assert_int_ge(*there_fd, 0);
	close(a[0]);
	close(b[0]);
}

static void connect_ends(void)
{
	char mark[96];

	snprintf(mark, sizeof(mark), "%s/mark.%d", dir, (int)getpid());
	setenv("HVX_TEST_MARK", mark, 1);
	if (by == BY_SOCKET)
		connect_directly();
	else
		connect_relayed(&s.fd[0], &d.fd[0]);
}

static void kill_hvx(void)
{
	ck_assert_int_eq(kill(hvx_pid[victim], SIGKILL), 0);
	/* The other one's child is the other one's. */
	if (by == BY_TLS || victim == HERE)
		ck_assert_int_eq(waitpid(hvx_pid[victim], NULL, 0), hvx_pid[victim]);
}

/* A move whose `who` is killed `at`; most of the memory stays here until it is asked for. */
static void begin_to_break(enum by way, enum side who, enum point at)
{
	by = way;
	victim = who;
	wanted = at;
	begin(3 * RAM_CHUNK, 1);
	s.post_limit = 1;
	connect_ends();
}

/* It is over: no relay has waited in vain. */
static void finish_broken(void)
{
	nobody_was_patient();
	finish();
}

/* -------------------------------------------------------------------- tests */

START_TEST(test_move)
{
	by = (enum by)_i;
	begin(6 * RAM_CHUNK, 1);
	connect_ends();
	start_both();
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_msg(s.phase == MIG_COMPLETED && !dest_result, "%s / %s", s.err.text, d.err.text);
	ck_assert(!world->runs_here && world->runs_there && d.post.on);
	check_memory("move", _i);
	finish();
	/* Both relays end when both ends have. */
	while (waitpid(-1, NULL, 0) > 0)
		;
	nobody_was_patient();
}
END_TEST

static void kill_relay_at(enum point p)
{
	if (p == wanted && !atomic_exchange(&killed, true))
		kill_hvx();
}

static void go_on_relayed(void)
{
	int a, b;

	connect_relayed(&a, &b);
	s.post_limit = 0;
	ck_assert(mig_source_resume(&s, a));
	ck_assert(mig_dest_resume(&d, b));
}

/* `hvx migrate` or `hvx receive` is killed. */
START_TEST(test_relay_killed)
{
	bool again;

	begin_to_break(_i % 2 ? BY_SSH : BY_TLS, _i / 2 % 2 ? THERE : HERE, (enum point)(_i / 4));
	at_point = kill_relay_at;
	start_both();
	while (wanted == NR_POINTS && s.phase != MIG_POSTCOPY)
		nap_us(100);
	kill_relay_at(NR_POINTS);
	again = paused();
	/* Somebody looks whether it runs there. */
	while (again && !dest_ended && d.post.phase != MIG_POST_PAUSED)
		nap_us(100);
	ck_assert_msg(!(world->runs_here && world->runs_there), "both run");
	if (again && dest_ended) {
		ck_assert_int_eq(wanted, AT_RELEASE);
		ck_assert(!world->runs_there && !world->runs_here);
		ck_assert(mig_source_reclaim(&s));
	} else if (again) {
		ck_assert(world->runs_there && !world->runs_here);
		ck_assert_uint_gt(d.post.left, 0);
		go_on_relayed();
	}
	join_source();
	pthread_join(dest_thread, NULL);
	ck_assert_msg(world->runs_here != world->runs_there, "%s / %s", s.err.text, d.err.text);
	ck_assert(world->owns_here == world->runs_here && world->owns_there == world->runs_there);
	if (wanted < AT_RELEASE)
		ck_assert(world->runs_here && !again);
	if (wanted > AT_RELEASE)
		ck_assert(world->runs_there && again && s.phase == MIG_COMPLETED);
	if (world->runs_there)
		check_memory("relay killed", _i);
	finish_broken();
}
END_TEST

static void halt_at(enum point p)
{
	if (p != wanted)
		return;
	world->reached = true;
	for (;;)
		pause();
}

/* One end in a process of its own, which is killed where it is wanted. */
static void with_victim(void)
{
	void *(*run[2])(void *) = { run_source, run_dest };
	pthread_t *survivor = victim == HERE ? &dest_thread : &source_thread;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	close((victim == HERE) == !pid ? d.fd[0] : s.fd[0]);
	if (!pid) {
		at_point = halt_at;
		run[victim](NULL);
		_exit(0);
	}
	pthread_create(survivor, NULL, run[!victim], NULL);
	while (wanted < NR_POINTS && !world->reached)
		nap_us(100);
	while (wanted == NR_POINTS && (victim == HERE ? (int)d.post.phase : (int)s.phase) != MIG_POSTCOPY)
		nap_us(100);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	/* Its guest and its locks go with it. */
	if (victim == HERE)
		world->runs_here = world->owns_here = false;
	else
		world->runs_there = world->owns_there = false;
}

START_TEST(test_dest_killed)
{
	static const enum point at[] = { AT_MISSING, AT_DEST_TAIL, AT_COMMIT, AT_RUNNING, NR_POINTS };

	begin_to_break((enum by)(_i % 3), THERE, at[_i / 3]);
	with_victim();
	if (wanted < AT_COMMIT) {
		ck_assert(!paused());
		join_source();
		ck_assert_int_eq(s.phase, MIG_FAILED);
		ck_assert(world->runs_here && world->owns_here);
		finish_broken();
		return;
	}
	/* It may have run: it stands still here, with all that it had. */
	ck_assert(paused());
	ck_assert(!world->runs_here && !world->owns_here);
	ck_assert_int_eq(s.post.confirmed, wanted == NR_POINTS);
	ck_assert_int_eq(mig_source_reclaim(&s), wanted != NR_POINTS);
	if (wanted == NR_POINTS)
		mig_source_over(&s);
	join_source();
	ck_assert_int_eq(s.phase, wanted == NR_POINTS ? MIG_UNCONFIRMED : MIG_FAILED);
	ck_assert_int_eq(world->runs_here, wanted != NR_POINTS);
	finish_broken();
}
END_TEST

START_TEST(test_source_killed)
{
	static const enum point at[] = { AT_PASS, AT_STOP, AT_SOURCE_TAIL, AT_RELEASE, NR_POINTS };

	begin_to_break((enum by)(_i % 3), HERE, at[_i / 3]);
	with_victim();
	while (!dest_ended && d.post.phase != MIG_POST_PAUSED)
		nap_us(100);
	if (wanted == NR_POINTS) {
		/* It goes on with what it has. */
		ck_assert(world->runs_there && !forgotten && !dest_ended);
		ck_assert_uint_gt(d.post.left, 0);
		mig_dest_stop(&d);
	}
	pthread_join(dest_thread, NULL);
	ck_assert_int_eq(world->runs_there, wanted == NR_POINTS);
	ck_assert_int_ne(dest_result, 0);
	finish_broken();
}
END_TEST

/* ------------------------------------------------------------------ what is needed */

static bool sh(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return !system(cmd);
}

/* An authority, a certificate of it for each side; an ssh that starts the other side. */
static bool prepare(void)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	strcpy(dir, "/tmp/hvx-mig.XXXXXX");
	return n > 0 && mkdtemp(dir) &&
	       sh("mkdir %s/pki %s/bin && cd %s/pki && exec >/dev/null 2>&1 && printf 'basicConstraints=CA:TRUE\\nkeyUsage=keyCertSign\\n' > ca.ext &&"
		  "openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -subj /CN=ca -out ca.csr &&"
		  "openssl x509 -req -in ca.csr -signkey ca.key -extfile ca.ext -days 2 -out cacert.pem &&"
		  "for n in server client; do openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ${n}key.pem -subj /CN=$n -out $n.csr &&"
		  "printf 'subjectAltName=DNS:localhost\\n' > $n.ext && openssl x509 -req -in $n.csr -CA cacert.pem -CAkey ca.key -CAcreateserial -extfile $n.ext -days 2 -out ${n}cert.pem || exit 1; done",
		  dir, dir, dir) &&
	       sh("printf '#!/bin/sh\\ncase \"$*\" in *ServerAliveInterval=10*--*host*receive*-) ;; *) exit 1 ;; esac\\nexec \"$HVX_TEST_SELF\" hvx there - none \"$HVX_TEST_SOCKET\"\\n' > %s/bin/ssh && chmod +x %s/bin/ssh", dir, dir);
}

int main(int argc, char **argv)
{
	SRunner *sr;
	Suite *suite;
	TCase *tc;
	int failed;

	if (argc == 6 && !strcmp(argv[1], "hvx"))
		return be_hvx(argv + 2);
	signal(SIGPIPE, SIG_IGN);
	if (!prepare()) {
		fprintf(stderr, "mig_wire_test: no certificates: openssl is needed\n");
		return 1;
	}
	suite = suite_create("mig_wire");
	tc = tcase_create("relays");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_move, 0, 2);
	tcase_add_loop_test(tc, test_relay_killed, 0, 4 * (NR_POINTS + 1));
	tcase_add_loop_test(tc, test_dest_killed, 0, 15);
	tcase_add_loop_test(tc, test_source_killed, 0, 15);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	sh("rm -rf %s", dir);
	return failed ? 1 : 0;
}
