// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/sandbox.c vmm/log.c */
/*
 * What a thread can and cannot do once it has given up its rights. Each case is
 * a process of its own, without the sanitizers' own system calls in the way: it
 * makes one call and ends by _exit().
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <uapi/hvx.h>
#include "vmm/sandbox.h"

static int pipe_fd[2];

static void do_open(void)
{
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static void do_exec(void)
{
	char *argv[] = { (char *)"true", NULL };

	execv("/bin/true", argv);
}

static void do_fork(void)
{
	syscall(SYS_fork);
}

static void do_socket(void)
{
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static void do_mmap_exec(void)
{
	syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_mprotect_exec(void)
{
	syscall(SYS_mprotect, (uintptr_t)do_open & ~4095UL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void do_ptrace(void)
{
	syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void do_type_into_terminal(void)
{
	ioctl(0, TIOCSTI, "x");
}

static void do_unlink(void)
{
	syscall(SYS_unlink, "/nonexistent/file");
}

static void do_tcsetattr(void)
{
	struct termios t;

	memset(&t, 0, sizeof(t));
	ioctl(pipe_fd[0], TCSETS, &t);
}

static void do_nothing(void)
{
}

static void do_hvx_ioctl(void)
{
	ioctl(pipe_fd[0], HVX_RUN, 0);
}

static void do_uffd(void)
{
	ioctl(pipe_fd[0], UFFDIO_COPY, 0);
}

static void do_write(void)
{
	if (write(pipe_fd[1], "x", 1) != 1)
		_exit(9);
}

static void do_memory(void)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || munmap(p, 1 << 20))
		_exit(9);
}

/*
 * A thread as the C library makes one, without the sanitizers' part in it: they make
 * calls of their own. It shares its maker's thread-local storage, who only waits.
 */
static void raw_thread(int (*fn)(void *), void *arg)
{
	static char stack[256 << 10] __attribute__((aligned(64)));
	static volatile int tid;
	void *tls;

	__asm__("mov %%fs:0, %0" : "=r"(tls));
	tid = 1;
	if (clone(fn, stack + sizeof(stack), 0x3d0f00, arg, &tid, tls, &tid) < 0)
		_exit(9);
	while (tid)
		sched_yield();
}

static int late_ret;

static int late_thread(void *arg)
{
	late_ret = sandbox_enter_thread(SANDBOX_IO) ? 9 : 0;
	if (arg)
		do_unlink();
	syscall(SYS_exit, 0);
	return 0;
}

/* A thread that the main one starts when it is inside: it gets in, and is left with less. */
static void do_thread(void)
{
	late_ret = 9;
	raw_thread(late_thread, NULL);
	if (late_ret)
		_exit(late_ret);
}

static void do_thread_unlinks(void)
{
	raw_thread(late_thread, &late_ret);
}

static void do_clone_process(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void do_new_namespace(void)
{
	syscall(SYS_clone, 0x3d0f00 | 0x10000000 /* CLONE_NEWUSER */, 0, 0, 0, 0);
}

static void do_io_uring(void)
{
	syscall(SYS_io_uring_setup, 1, NULL);
}

static const struct {
	void (*call)(void);
	bool allowed[SANDBOX_NR];	/* main, vCPU, I/O */
} cases[] = {
	{ do_nothing, { true, true, true } },
	{ do_write, { true, true, true } },
	{ do_memory, { true, true, true } },
	{ do_hvx_ioctl, { true, true, true } },
	{ do_unlink, { true, false, false } },
	{ do_tcsetattr, { true, false, false } },
	{ do_uffd, { true, false, false } },
	{ do_thread, { true, false, false } },
	{ do_thread_unlinks, { false, false, false } },
	{ do_clone_process, { false, false, false } },
	{ do_new_namespace, { false, false, false } },
	{ do_io_uring, { false, false, false } },
	{ do_open, { false, false, false } },
	{ do_exec, { false, false, false } },
	{ do_fork, { false, false, false } },
	{ do_socket, { false, false, false } },
	{ do_mmap_exec, { false, false, false } },
	{ do_mprotect_exec, { false, false, false } },
	{ do_ptrace, { false, false, false } },
	{ do_type_into_terminal, { false, false, false } },
};

#define NR_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

static void *call_it(void *arg)
{
	void (*call)(void);

	memcpy(&call, arg, sizeof(call));
	call();
	_exit(0);
}

static void in_thread(enum sandbox_kind kind, void (*call)(void))
{
	pthread_t t;

	if (sandbox_thread(&t, &(struct sandbox_thread){ kind, "test", .run = call_it, .arg = &call }))
		_exit(8);
	pthread_join(t, NULL);
	_exit(7);
}

/* Status of a process that enters the sandbox as `kind` and makes the call. */
static int run(enum sandbox_kind kind, void (*call)(void))
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(SIGSYS, &dfl, NULL);
		if (sandbox_init(true, HVX_IOC))
			_exit(8);
		if (kind != SANDBOX_MAIN)
			in_thread(kind, call);
		if (sandbox_enter_thread(kind))
			_exit(8);
		call();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

START_TEST(calls)
{
	int kind;

	for (kind = 0; kind < SANDBOX_NR; kind++) {
		int status = run((enum sandbox_kind)kind, cases[_i].call);

		if (cases[_i].allowed[kind])
			ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status),
				      "kind %d: status %#x", kind, status);
		else
			ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
				      "kind %d: status %#x", kind, status);
	}
}
END_TEST

/* --- threads --- */

static int opened, hold[2];

static void prepare_opens(void *arg)
{
	(void)arg;
	opened = open("/etc/passwd", O_RDONLY);
}

static void *wait_for_end(void *arg)
{
	char c;

	(void)arg;
	while (read(hold[0], &c, 1) < 0)
		;
	return NULL;
}

#define RIGHTS "CapPrm:\t0000000000000000 CapEff:\t0000000000000000 NoNewPrivs:\t1 Seccomp:\t2 "

/* What a thread's status says of its rights. */
static void rights(pid_t pid, const char *tid, char *buf, size_t len)
{
	char path[320], line[256];
	FILE *f;

	buf[0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, tid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "CapPrm:", 7) || !strncmp(line, "CapEff:", 7) ||
		    !strncmp(line, "NoNewPrivs:", 11) || !strncmp(line, "Seccomp:", 8)) {
			line[strcspn(line, "\n")] = ' ';
			strncat(buf, line, len - strlen(buf) - 1);
		}
	fclose(f);
}

/* All have given up their rights when the main one has: none can have come late. */
START_TEST(all_threads)
{
	char buf[1024], c;
	unsigned int n = 0;
	int said[2];
	struct dirent *e;
	pthread_t t;
	pid_t pid;
	DIR *d;

	ck_assert_int_eq(pipe(hold) | pipe(said), 0);
	pid = fork();
	if (!pid) {
		if (sandbox_init(true, HVX_IOC))
			_exit(8);
		for (n = 0; n < 16; n++)
			if (sandbox_thread(&t, &(struct sandbox_thread){ n & 1 ? SANDBOX_IO : SANDBOX_VCPU,
					"a thread with a long name", 256 << 10, prepare_opens, wait_for_end, NULL }) ||
			    opened < 0)
				_exit(9);
		if (sandbox_enter_thread(SANDBOX_MAIN))
			_exit(8);
		if (write(said[1], "x", 1) == 1)
			wait_for_end(NULL);
		_exit(0);
	}
	close(said[1]);
	ck_assert_int_eq(read(said[0], &c, 1), 1);
	n = 0;
	snprintf(buf, sizeof(buf), "/proc/%d/task", (int)pid);
	d = opendir(buf);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			rights(pid, e->d_name, buf, sizeof(buf));
			ck_assert_str_eq(buf, RIGHTS);
			n++;
		}
	closedir(d);
	ck_assert_uint_eq(n, 17);
	close(said[0]);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(hold[0]);
	close(hold[1]);
}
END_TEST

/* It returns when the thread has nothing left, while its maker has all. */
START_TEST(waits)
{
	char buf[1024];
	int status;
	pthread_t t;
	pid_t pid;

	ck_assert_int_eq(pipe(hold), 0);
	pid = fork();
	if (!pid) {
		struct dirent *e;
		DIR *d;

		if (sandbox_init(true, HVX_IOC) ||
		    sandbox_thread(&t, &(struct sandbox_thread){ SANDBOX_VCPU, "one", 0, prepare_opens, wait_for_end, NULL }))
			_exit(8);
		d = opendir("/proc/self/task");
		while (d && (e = readdir(d))) {
			if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
				continue;
			rights(getpid(), e->d_name, buf, sizeof(buf));
			_exit(strcmp(buf, RIGHTS) || prctl(PR_GET_SECCOMP) || opened < 0);
		}
		_exit(9);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(hold[0]);
	close(hold[1]);
}
END_TEST

static void *must_not_run(void *arg)
{
	(void)arg;
	_exit(9);
}

/* A thread that keeps rights does not run: where the kernel refuses the filter, or the main one has its own. */
START_TEST(refused)
{
	struct sock_filter no_filters[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(no_filters) / sizeof(no_filters[0]), no_filters };
	struct sandbox_thread what = { SANDBOX_MAIN, "one", .run = must_not_run };
	int status;
	pthread_t t;
	pid_t pid = fork();

	if (!pid) {
		if (sandbox_init(true, HVX_IOC) || sandbox_thread(&t, &what) != -EPERM)
			_exit(8);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
			_exit(7);
		what.kind = SANDBOX_VCPU;
		_exit(sandbox_thread(&t, &what) == -EACCES ? 0 : 6);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(disabled)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (sandbox_init(false, HVX_IOC) || sandbox_enter_thread(SANDBOX_MAIN))
			_exit(8);
		do_open();
		_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) || prctl(PR_GET_SECCOMP));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sandbox");
	TCase *t = tcase_create("sandbox");
	SRunner *r;
	int failed;

	if (pipe(pipe_fd))
		return EXIT_FAILURE;
	tcase_add_loop_test(t, calls, 0, NR_CASES);
	tcase_add_test(t, all_threads);
	tcase_add_test(t, waits);
	tcase_add_test(t, refused);
	tcase_add_test(t, disabled);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
