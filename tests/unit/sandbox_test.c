/* units: vmm/sandbox.c vmm/log.c */
// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a thread can and cannot do once it has given up its rights. Each case is
 * a process of its own, without the sanitizers' own system calls in the way: it
 * makes one call and ends by _exit().
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
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

/* Status of a process that enters the sandbox as `kind` and makes the call. */
static int run(enum sandbox_kind kind, void (*call)(void))
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(SIGSYS, &dfl, NULL);
		if (sandbox_init(true, HVX_IOC) || sandbox_enter_thread(kind))
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

/* The whole process goes, not the thread alone. */
static void *open_a_file(void *arg)
{
	(void)arg;
	if (!sandbox_enter_thread(SANDBOX_VCPU))
		do_open();
	return NULL;
}

static void from_a_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, open_a_file, NULL);
	pthread_join(t, NULL);
}

START_TEST(kills_the_process)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (sandbox_init(true, HVX_IOC))
			_exit(8);
		from_a_thread();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
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
	tcase_add_test(t, kills_the_process);
	tcase_add_test(t, disabled);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
