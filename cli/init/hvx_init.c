// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a guest of `hvx run --kernel ... -- COMMAND`: a static
 * program that needs nothing of the guest's own system.
 *
 * /.hvx/command holds NUL-terminated strings: the folder to run in, the number of
 * variables, the variables, the command and its arguments. What the command writes
 * goes out of the serial ports COM2 (output) and COM3 (errors), byte for byte, by
 * port I/O: no driver in the guest's kernel is needed for them. Its exit status
 * goes out of COM4 as "exit N\n"; then a write to the debug-exit port ends the
 * machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define COM2		0x2f8
#define COM3		0x3e8
#define COM4		0x2e8
#define DEBUG_EXIT	0x501

#define MAX_ARGS	4096
#define MAX_COMMAND	(128U << 10)

static char command[MAX_COMMAND];
static char *argv[MAX_ARGS], *envv[MAX_ARGS + 3];

static void __attribute__((noreturn)) end(int status)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "exit %d\n", status);

	sync();
	outsb(COM4, text, (unsigned long)n);
	outb(0, DEBUG_EXIT);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) fail(const char *what)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "hvx: in the guest: %s: %s\n", what, strerror(errno));

	outsb(COM3, text, (unsigned long)n);
	end(125);
}

static void mount_all(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 01777);
	mkdir("/run", 0755);
	mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	mount("pts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, NULL);
	mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	/* Where devtmpfs is not configured. */
	mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3));
}

/* The folder; argv and envv are filled. */
static const char *read_command(void)
{
	int fd = open("/.hvx/command", O_RDONLY | O_CLOEXEC), nr_env, n = 0, e = 0;
	ssize_t len = fd < 0 ? -1 : read(fd, command, sizeof(command) - 1);
	char *p = command, *end_p, *dir;

	if (len <= 0)
		fail("/.hvx/command");
	end_p = command + len;
	dir = p;
	p += strlen(p) + 1;
	nr_env = atoi(p);
	p += strlen(p) + 1;
	envv[e++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	envv[e++] = "HOME=/root";
	for (; p < end_p && nr_env > 0 && e < MAX_ARGS; p += strlen(p) + 1, nr_env--)
		envv[e++] = p;
	for (; p < end_p && n < MAX_ARGS - 1; p += strlen(p) + 1)
		argv[n++] = p;
	close(fd);
	return dir;
}

static void __attribute__((noreturn)) run(const char *dir, const int out[2], const int err[2])
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	dup2(null, 0);
	dup2(out[1], 1);
	dup2(err[1], 2);
	if (*dir && chdir(dir)) {
		dprintf(2, "%s: %s\n", dir, strerror(errno));
		_exit(125);
	}
	/* The last that is named counts, as in a shell. */
	clearenv();
	for (char **e = envv; *e; e++)
		putenv(*e);
	execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* False: its end. */
static int copy(int fd, unsigned short port)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (n <= 0)
		return 0;
	outsb(port, buf, (unsigned long)n);
	return 1;
}

/* Only so that poll() ends. */
static void on_child(int sig)
{
	(void)sig;
}

/*
 * Until the command has ended and what it wrote is out. Others may go on writing: a
 * pipe holds 64 KiB, so that much after its end was written before.
 */
static int relay(pid_t pid, int out, int err)
{
	struct pollfd p[2] = { { .fd = out, .events = POLLIN }, { .fd = err, .events = POLLIN } };
	int status = -1, after = 0, s;

	for (;;) {
		int ready = poll(p, 2, status < 0 ? 200 : 0);
		pid_t gone;

		if (ready > 0 && p[0].revents && !copy(out, COM2))
			p[0].fd = -1;
		if (ready > 0 && p[1].revents && !copy(err, COM3))
			p[1].fd = -1;
		if (status >= 0 && (ready == 0 || ++after > 32))
			return status;
		while ((gone = waitpid(-1, &s, WNOHANG)) > 0)	/* orphans come here, too */
			if (gone == pid)
				status = WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
		if (gone < 0 && errno == ECHILD && status < 0)
			return 125;
		if (status >= 0 && p[0].fd < 0 && p[1].fd < 0)
			return status;
	}
}

int main(void)
{
	int out[2], err[2];
	const char *dir;
	pid_t pid;

	if (iopl(3))
		_exit(1);	/* the kernel panics, which the host sees */
	signal(SIGCHLD, on_child);
	mount_all();
	dir = read_command();
	if (!argv[0])
		fail("no command");
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		fail("pipe");
	pid = fork();
	if (!pid)
		run(dir, out, err);
	if (pid < 0)
		fail("fork");
	close(out[1]);
	close(err[1]);
	end(relay(pid, out[0], err[0]));
}
