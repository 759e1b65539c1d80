// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/chardev.c vmm/console_share.c vmm/loop.c vmm/log.c vmm/logfile.c */
/* Character back ends: nothing is lost that could be kept, nothing blocks, peers come and go. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "devices/device.h"
#include "vmm/chardev.h"
#include "vmm/logfile.h"

#define RING (64U << 10)	/* what a chardev keeps at least, less one block */
#define BLOCK 4096U

static struct machine m;
static struct chardev *chr;
static char dir[] = "/tmp/hvx-chardev.XXXXXX";
static char path[128];
static enum machine_event seen_event;
static unsigned int buttons;

void machine_event(struct machine *mp, enum machine_event ev, int status)
{
	(void)mp;
	(void)status;
	seen_event = ev;
}

void acpi_pm_power_button(struct machine *mp)
{
	(void)mp;
	buttons++;
}

/* --- a device at the other side --- */

static uint8_t got[256];
static size_t got_len, room;

static size_t dev_room(void *opaque)
{
	(void)opaque;
	return room;
}

static void dev_rx(void *opaque, const uint8_t *data, size_t len)
{
	(void)opaque;
	ck_assert_uint_le(len, room);
	ck_assert_uint_le(got_len + len, sizeof(got));
	memcpy(got + got_len, data, len);
	got_len += len;
	room -= len;
}

static void stop_cb(void *opaque)
{
	(void)opaque;
	loop_stop(m.loop);
}

/* Let the loop do what there is to do. */
static void turn(void)
{
	struct loop_timer *t = loop_add_timer(m.loop, stop_cb, NULL);

	loop_timer_set(t, clock_now_ns() + 20000000);
	loop_run(m.loop);
	loop_del_timer(t);
}

/* What goes through a terminal takes the kernel's time. */
#define TURN_UNTIL(cond)					\
	do {							\
		for (int n = 0; n < 500 && !(cond); n++)	\
			turn();					\
	} while (0)

static void setup(void)
{
	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.lock, NULL);
	m.loop = loop_new(&m.lock);
	m.console_in = m.console_out = -1;
	strcpy(dir, "/tmp/hvx-chardev.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	m.runtime_dir = dir;
	got_len = 0;
	room = sizeof(got);
	seen_event = EV_NONE;
	buttons = 0;
	chr = NULL;
}

static void teardown(void)
{
	chardev_close(chr);
	loop_free(m.loop);
	ck_assert_int_eq(rmdir(dir), 0);	/* whatever it made, it took away */
}

static void open_chr(const struct dom_chr *cfg)
{
	chr = chardev_open(&m, cfg, "serial0");
	ck_assert_ptr_nonnull(chr);
	chardev_set_rx(chr, dev_room, dev_rx, NULL);
}

static size_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, buf + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

/* --- files --- */

static void file_is(const char *name, const char *want)
{
	int fd = open(name, O_RDONLY);
	char buf[64] = "";

	read_all(fd, buf, sizeof(buf) - 1);
	ck_assert_str_eq(buf, want);
	close(fd);
}

/* What is written is in both files without their being closed; each begins anew or goes on, as it is told. */
START_TEST(files)
{
	static const struct {
		bool append, log_append;
		const char *word, *file, *log;
	} step[] = {
		{ false, false, "one\n", "one\n", "one\n" },
		{ true, true, "two\n", "one\ntwo\n", "one\ntwo\n" },
		{ false, true, "three\n", "three\n", "one\ntwo\nthree\n" },
		{ true, false, "four\n", "three\nfour\n", "four\n" },
	};
	struct dom_chr cfg = { .type = CHR_FILE, .path = path };
	char log[160];

	snprintf(path, sizeof(path), "%s/out", dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	cfg.log_file = log;
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		cfg.append = step[i].append;
		cfg.log_append = step[i].log_append;
		open_chr(&cfg);
		ck_assert_uint_eq(chardev_write(chr, step[i].word, strlen(step[i].word)), strlen(step[i].word));
		turn();
		file_is(path, step[i].file);
		file_is(log, step[i].log);
		chardev_close(chr);
		chr = NULL;
	}
	unlink(path);
	unlink(log);
}
END_TEST

/* What a guest writes without end stays short in both files, and a full disk is said once for each. */
START_TEST(files_end)
{
	struct dom_chr cfg = { .type = CHR_FILE, .path = path };
	static char text[1U << 16];
	struct rlimit rl = { 100000, RLIM_INFINITY };
	int keep = dup(2), said, n = 0;
	char log[160], name[192];
	struct stat st;
	ssize_t len;

	snprintf(path, sizeof(path), "%s/out", dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	cfg.log_file = log;
	memset(text, 'x', sizeof(text));
	open_chr(&cfg);
	for (unsigned int i = 0; i < 5 * LOGFILE_MAX / sizeof(text); i++)
		ck_assert_uint_eq(chardev_write(chr, text, sizeof(text)), sizeof(text));
	chardev_close(chr);
	for (int i = 0; i < 2; i++)
		for (int k = -1; k < LOGFILE_BACKUPS; k++) {
			snprintf(name, sizeof(name), k < 0 ? "%s" : "%s.%d", i ? log : path, k);
			ck_assert_int_eq(stat(name, &st), 0);
			ck_assert_int_le(st.st_size, LOGFILE_MAX);
		}
	open_chr(&cfg);		/* anew: none of that is left */
	said = memfd_create("said", 0);
	dup2(said, 2);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(chardev_write(chr, text, sizeof(text)), sizeof(text));
	rl.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	len = pread(said, text, sizeof(text), 0);
	for (ssize_t i = 0; i < len; i++)
		n += text[i] == '\n';
	ck_assert_int_eq(n, 2);
	chardev_close(chr);
	chr = NULL;
	dup2(keep, 2);
	close(keep);
	close(said);
	unlink(path);
	unlink(log);
}
END_TEST

START_TEST(refused)
{
	struct dom_chr cfg = { .type = CHR_FILE, .path = (char *)"/nonexistent/file" };
	int keep = dup(2), null = open("/dev/null", O_WRONLY), fd;
	char text[4];

	dup2(null, 2);
	ck_assert_ptr_null(chardev_open(&m, &cfg, "serial0"));
	cfg.type = CHR_UNIX;
	ck_assert_ptr_null(chardev_open(&m, &cfg, "serial0"));
	/* A file where the socket should be stays as it is. */
	snprintf(path, sizeof(path), "%s/precious", dir);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	ck_assert_int_eq(write(fd, "data", 4), 4);
	cfg.path = path;
	cfg.listen = true;
	ck_assert_ptr_null(chardev_open(&m, &cfg, "serial0"));
	ck_assert_int_eq(pread(fd, text, 4, 0), 4);
	ck_assert_int_eq(access(path, F_OK), 0);
	unlink(path);
	close(fd);
	dup2(keep, 2);
	close(keep);
	close(null);
}
END_TEST

/* --- sockets --- */

static int dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(sun.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

START_TEST(unix_socket)
{
	struct dom_chr cfg = { .type = CHR_UNIX, .path = path, .listen = true };
	char buf[64];
	int a, b;
	struct stat st;

	snprintf(path, sizeof(path), "%s/sock", dir);
	open_chr(&cfg);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 077, 0);
	chardev_write(chr, "early", 5);		/* kept for who comes */
	turn();
	a = dial();
	turn();
	ck_assert_int_eq(read(a, buf, sizeof(buf)), 5);
	ck_assert_int_eq(memcmp(buf, "early", 5), 0);
	/* Only one at a time. */
	b = dial();
	turn();
	ck_assert_int_eq(read(b, buf, sizeof(buf)), 0);
	close(b);
	/* Input, as far as there is room; the rest waits. */
	room = 3;
	ck_assert_int_eq(write(a, "abcdef", 6), 6);
	TURN_UNTIL(got_len == 3);
	ck_assert_uint_eq(got_len, 3);
	turn();
	ck_assert_uint_eq(got_len, 3);
	room = 100;
	chardev_rx_ready(chr);
	TURN_UNTIL(got_len == 6);
	ck_assert_uint_eq(got_len, 6);
	ck_assert_int_eq(memcmp(got, "abcdef", 6), 0);
	/* Gone, and back. */
	close(a);
	turn();
	a = dial();
	turn();
	chardev_write(chr, "again", 5);
	turn();
	ck_assert_int_eq(read(a, buf, sizeof(buf)), 5);
	close(a);
}
END_TEST

/* A socket that a guest left behind, which is gone, is taken over. */
START_TEST(stale_socket)
{
	struct dom_chr cfg = { .type = CHR_UNIX, .path = path, .listen = true };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(path, sizeof(path), "%s/sock", dir);
	strcpy(sun.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	open_chr(&cfg);
	close(dial());
	turn();
}
END_TEST

/* Nobody takes the output: the last of it is kept, all of it is accepted, and at once. */
START_TEST(overflow)
{
	struct dom_chr cfg = { .type = CHR_UNIX, .path = path, .listen = true };
	static uint8_t out[4 * RING], in[4 * RING];
	unsigned int i, done = 0;
	int a;

	snprintf(path, sizeof(path), "%s/sock", dir);
	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 251);
	open_chr(&cfg);
	for (i = 0; i < sizeof(out); i += 100)
		ck_assert_uint_eq(chardev_write(chr, out + i, i + 100 < sizeof(out) ? 100 : sizeof(out) - i),
				  i + 100 < sizeof(out) ? 100 : sizeof(out) - i);
	a = dial();
	for (i = 0; i < 10; i++) {
		ssize_t n;

		turn();
		while ((n = read(a, in + done, sizeof(in) - done)) > 0)
			done += (unsigned int)n;
	}
	ck_assert_uint_le(done, RING);
	ck_assert_uint_ge(done, RING - BLOCK);
	ck_assert_int_eq(memcmp(in, out + sizeof(out) - done, done), 0);
	close(a);
}
END_TEST

/* --- the terminal --- */

/* Standard output is a pipe that nobody reads: no blocking, and no flag set on what others share. */
START_TEST(stuck_pipe)
{
	struct dom_chr cfg = { .type = CHR_STDIO };
	static uint8_t out[BLOCK];
	int in[2], pipe_out[2];
	unsigned int i;

	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(pipe_out), 0);
	m.console_in = in[0];
	m.console_out = pipe_out[1];
	open_chr(&cfg);
	for (i = 0; i < 100; i++)
		ck_assert_uint_eq(chardev_write(chr, out, sizeof(out)), sizeof(out));
	turn();
	ck_assert_int_eq(fcntl(pipe_out[1], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);
	/* The reader goes: nothing but silence. */
	signal(SIGPIPE, SIG_IGN);
	close(pipe_out[0]);
	turn();
	chardev_write(chr, out, sizeof(out));
	turn();
	/* Input still works; its end is no harm. */
	ck_assert_int_eq(write(in[1], "x", 1), 1);
	TURN_UNTIL(got_len == 1);
	ck_assert_uint_eq(got_len, 1);
	close(in[1]);
	turn();
	close(in[0]);
	close(pipe_out[1]);
}
END_TEST

/* Standard output and error are one file: neither writes over the other. */
START_TEST(shared_file)
{
	struct dom_chr cfg = { .type = CHR_STDIO };
	char buf[32] = "";
	int fd, null = open("/dev/null", O_RDONLY);

	snprintf(path, sizeof(path), "%s/out", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, "before ", 7), 7);
	m.console_in = null;
	m.console_out = fd;
	open_chr(&cfg);
	chardev_write(chr, "guest ", 6);
	turn();
	ck_assert_int_eq(write(fd, "after", 5), 5);
	ck_assert_int_eq(pread(fd, buf, sizeof(buf), 0), 18);
	ck_assert_str_eq(buf, "before guest after");
	close(fd);
	close(null);
	unlink(path);
}
END_TEST

/* Input from a file comes whole, however little room there is at a time. */
START_TEST(input_file)
{
	struct dom_chr cfg = { .type = CHR_STDIO };
	int fd, null = open("/dev/null", O_WRONLY);
	unsigned int i;

	snprintf(path, sizeof(path), "%s/in", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, "0123456789", 10), 10);
	lseek(fd, 0, SEEK_SET);
	m.console_in = fd;
	m.console_out = null;
	room = 4;
	open_chr(&cfg);
	for (i = 0; i < 4; i++) {
		turn();
		room = 4;
		chardev_rx_ready(chr);
	}
	TURN_UNTIL(got_len == 10);
	ck_assert_uint_eq(got_len, 10);
	ck_assert_int_eq(memcmp(got, "0123456789", 10), 0);
	close(fd);
	close(null);
	unlink(path);
}
END_TEST

/* The keys after Ctrl-], on a terminal only. */
START_TEST(escape)
{
	struct dom_chr cfg = { .type = CHR_PTY };
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct termios t;

	ck_assert_int_ge(master, 0);
	grantpt(master);
	unlockpt(master);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ck_assert_int_eq(tcgetattr(slave, &t), 0);
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	m.console_in = m.console_out = slave;
	open_chr(&cfg);
	ck_assert_int_eq(m.console_out, -1);	/* taken: the next one gets a terminal of its own */
	ck_assert_int_eq(write(master, "ab\x1dpcd\x1d\x1d" "e", 9), 9);
	TURN_UNTIL(got_len == 6);
	ck_assert_uint_eq(got_len, 6);
	ck_assert_int_eq(memcmp(got, "abcd\x1d" "e", 6), 0);
	ck_assert_uint_eq(buttons, 1);
	/* In two pieces */
	ck_assert_int_eq(write(master, "\x1d", 1), 1);
	turn();
	ck_assert_int_eq(write(master, "r", 1), 1);
	TURN_UNTIL(seen_event == EV_RESET);
	ck_assert_int_eq(seen_event, EV_RESET);
	ck_assert_int_eq(write(master, "\x1dq", 2), 2);
	TURN_UNTIL(seen_event == EV_STOP);
	ck_assert_int_eq(seen_event, EV_STOP);
	ck_assert_uint_eq(got_len, 6);
	close(slave);
	close(master);
}
END_TEST

START_TEST(pty)
{
	struct dom_chr cfg = { .type = CHR_PTY };
	char buf[16];
	int fd;

	open_chr(&cfg);
	snprintf(path, sizeof(path), "%s/serial0.pty", dir);
	chardev_write(chr, "hello", 5);
	turn();
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, buf, sizeof(buf)), 5);
	ck_assert_int_eq(write(fd, "in", 2), 2);
	TURN_UNTIL(got_len == 2);
	ck_assert_uint_eq(got_len, 2);
	close(fd);
	/* Hung up, and dialled again. */
	turn();
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	ck_assert_int_eq(write(fd, "!", 1), 1);
	TURN_UNTIL(got_len == 3);
	ck_assert_uint_eq(got_len, 3);
	close(fd);
}
END_TEST

START_TEST(none)
{
	struct dom_chr cfg = { .type = CHR_NULL };

	open_chr(&cfg);
	ck_assert_uint_eq(chardev_write(chr, "x", 1), 1);
	turn();
	chardev_rx_ready(chr);
	chardev_close(NULL);
	ck_assert_uint_eq(chardev_write(NULL, "x", 1), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chardev");
	TCase *t = tcase_create("chardev");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, files);
	tcase_add_test(t, files_end);
	tcase_add_test(t, refused);
	tcase_add_test(t, unix_socket);
	tcase_add_test(t, stale_socket);
	tcase_add_test(t, overflow);
	tcase_add_test(t, stuck_pipe);
	tcase_add_test(t, shared_file);
	tcase_add_test(t, input_file);
	tcase_add_test(t, escape);
	tcase_add_test(t, pty);
	tcase_add_test(t, none);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
