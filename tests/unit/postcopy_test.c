// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/postcopy.c vmm/memory.c vmm/mig_*.c vmm/stream.c vmm/state.c devices/device.c vmm/sandbox.c vmm/log.c */
/* Absent memory, with the kernel's userfaultfd: who touches it waits, in the kernel as well, and gets what was sent. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "vmm/postcopy.h"

#define NR_PAGES	1024U
#define MISSING		(1ULL << 1 | 1ULL << 2 | 1ULL << 5 | 1ULL << 63)

static struct postcopy p;
static struct guest_mem mem;
static struct mig_dest d;
static uint8_t *ram, page[RAM_PAGE];
static char dir[] = "/tmp/hvx-postcopy-XXXXXX";

static int place(void *o, uint64_t offset, const uint8_t *data)
{
	(void)o;
	return postcopy_place(&p, offset, data);
}

static const struct mig_dest_ops ops = { .place = place };

/* Pages 0 to 99 hold their number; the others were never written to. */
static void begin(void)
{
	struct mem_backing backing = { 0 };
	struct state_error err = { .text = "" };

	postcopy_open(&p, dir);
	ck_assert_msg(p.uffd >= 0 && p.sock >= 0, "%s", p.why_not);
	ck_assert_int_eq(guest_mem_init(&mem, (uint64_t)NR_PAGES * RAM_PAGE, &backing), 0);
	ram = mem.region[0].hva;
	memset(&d, 0, sizeof(d));
	mig_dest_init(&d, &ops, NULL);
	ck_assert_int_eq(mig_ram_init(&d.ram, ram, mem.ram_size, 1), 0);
	ck_assert_ptr_null(postcopy_ready(&p, &mem));
	for (unsigned int i = 0; i < 100; i++)
		memset(ram + (size_t)i * RAM_PAGE, (int)i, RAM_PAGE);
	d.post.missing = calloc(NR_PAGES / 64, 8);
	d.post.waited = calloc(NR_PAGES / 64, 8);
	d.post.missing[0] = MISSING;
	d.post.missing[NR_PAGES / 64 - 1] = 1ULL << 63;	/* the last page of all */
	d.post.on = true;
	ck_assert_msg(!postcopy_begin(&p, &d, &err), "%s", err.text);
}

static void finish(void)
{
	postcopy_close(&p);
	mig_dest_fini(&d);
	mig_ram_free(&d.ram);
	guest_mem_fini(&mem);
}

static void *look(void *arg)
{
	return (void *)(uintptr_t)*(volatile uint8_t *)(ram + (uintptr_t)arg * RAM_PAGE + 77);
}

static void wait_waited(unsigned int n)
{
	struct timespec ts = { .tv_nsec = 100000 };

	while (!(d.post.waited[n / 64] >> n % 64 & 1))
		nanosleep(&ts, NULL);
}

START_TEST(test_wait)
{
	pthread_t t;
	void *got;

	begin();
	ck_assert_uint_eq(ram[0], 0);
	ck_assert_uint_eq(ram[3 * RAM_PAGE], 3);	/* it had come */
	ck_assert_uint_eq(ram[99 * RAM_PAGE + 5], 99);
	ck_assert_uint_eq(ram[500 * RAM_PAGE], 0);	/* never was anything */
	ram[501 * RAM_PAGE] = 1;
	pthread_create(&t, NULL, look, (void *)5);
	wait_waited(5);
	memset(page, 0xab, sizeof(page));
	ck_assert_int_eq(postcopy_place(&p, 5 * RAM_PAGE, page), 0);
	pthread_join(t, &got);
	ck_assert_uint_eq((uintptr_t)got, 0xab);
	/* A second time changes nothing. */
	ram[5 * RAM_PAGE] = 0x11;
	ck_assert_int_eq(postcopy_place(&p, 5 * RAM_PAGE, page), -EEXIST);
	ck_assert_int_eq(postcopy_place(&p, 3 * RAM_PAGE, page), -EEXIST);
	ck_assert_uint_eq(ram[5 * RAM_PAGE], 0x11);
	ck_assert_uint_eq(ram[3 * RAM_PAGE], 3);
	/* The last one, as zeroes. */
	pthread_create(&t, NULL, look, (void *)(uintptr_t)(NR_PAGES - 1));
	wait_waited(NR_PAGES - 1);
	ck_assert_int_eq(postcopy_place(&p, (NR_PAGES - 1) * RAM_PAGE, NULL), 0);
	pthread_join(t, &got);
	ck_assert_uint_eq((uintptr_t)got, 0);
	ck_assert_int_eq(postcopy_place(&p, mem.ram_size, page) < 0, 1);
	/* Over: nobody waits for the rest. */
	postcopy_end(&p);
	ck_assert_uint_eq(ram[RAM_PAGE], 0);
	ck_assert_uint_eq(ram[501 * RAM_PAGE], 1);
	finish();
}
END_TEST

static int fds[2];

/* The kernel reads page 1, and writes into page 2. */
static void *by_kernel(void *arg)
{
	ck_assert_int_eq(write(fds[1], ram + RAM_PAGE, RAM_PAGE), RAM_PAGE);
	ck_assert_int_eq(read(fds[0], ram + 2 * RAM_PAGE + 8, RAM_PAGE - 8), RAM_PAGE - 8);
	return arg;
}

START_TEST(test_kernel)
{
	pthread_t t;

	begin();
	ck_assert_int_eq(pipe(fds), 0);
	pthread_create(&t, NULL, by_kernel, NULL);
	wait_waited(1);
	memset(page, 0x51, sizeof(page));
	ck_assert_int_eq(postcopy_place(&p, RAM_PAGE, page), 0);
	wait_waited(2);
	memset(page, 0x52, sizeof(page));
	ck_assert_int_eq(postcopy_place(&p, 2 * RAM_PAGE, page), 0);
	pthread_join(t, NULL);
	ck_assert_uint_eq(ram[2 * RAM_PAGE + 7], 0x52);
	ck_assert_uint_eq(ram[2 * RAM_PAGE + 8], 0x51);
	close(fds[0]);
	close(fds[1]);
	finish();
}
END_TEST

static void send_datagram(const char *text, size_t len, int *fd, unsigned int nr)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)text, len };
	struct msghdr mh = { .msg_name = &sun, .msg_namelen = sizeof(sun), .msg_iov = &iov, .msg_iovlen = 1 };
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/migrate.sock", dir);
	if (nr) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		*CMSG_FIRSTHDR(&mh) = (struct cmsghdr){ CMSG_LEN(nr * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), fd, nr * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(s, &mh, 0), (ssize_t)len);
	close(s);
}

/* Connections come in while somebody waits for a page; what is none does no harm. */
START_TEST(test_connections)
{
	struct timespec ts = { .tv_nsec = 100000 };
	int pair[2], none[2] = { -1, -1 }, fd = -1;
	char byte = 0;
	pthread_t t;

	begin();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	d.fd[0] = dup(pair[0]);
	d.nr_streams = 1;
	d.post.phase = MIG_POST_PAUSED;
	pthread_create(&t, NULL, look, (void *)5);
	wait_waited(5);
	send_datagram("no descriptor", 13, NULL, 0);
	send_datagram("", 0, NULL, 0);
	none[0] = none[1] = pair[0];
	send_datagram("x", 1, none, 2);
	ck_assert_int_eq(d.post.new_fd, -1);
	send_datagram("x", 1, &pair[1], 1);
	while (fd < 0) {
		nanosleep(&ts, NULL);
		pthread_mutex_lock(&d.post.lock);
		fd = d.post.new_fd;
		pthread_mutex_unlock(&d.post.lock);
	}
	/* It is the one that was sent, and the one there was is closed to its peer. */
	ck_assert_int_eq(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
	ck_assert_int_eq(postcopy_place(&p, 5 * RAM_PAGE, page), 0);
	pthread_join(t, NULL);
	close(d.fd[0]);
	close(pair[0]);
	close(pair[1]);
	finish();
}
END_TEST

/* Who has no right is told so, in time. */
START_TEST(test_no_right)
{
	FILE *f = fopen("/proc/sys/vm/unprivileged_userfaultfd", "r");
	int allowed = f ? fgetc(f) : '1', status;
	pid_t pid;

	if (f)
		fclose(f);
	if (geteuid() || allowed == '1')
		return;
	pid = fork();
	if (!pid) {
		if (setuid(65534))
			_exit(2);
		postcopy_open(&p, NULL);
		_exit(!(p.uffd < 0 && strstr(postcopy_ready(&p, &mem), "no right to userfaultfd")));
	}
	waitpid(pid, &status, 0);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(test_huge)
{
	postcopy_open(&p, NULL);
	mem = (struct guest_mem){ .fd = -1, .backing.hugetlb = true };
	ck_assert_ptr_nonnull(strstr(postcopy_ready(&p, &mem), "hugepages"));
	mem.backing.hugetlb = false;
	ck_assert_ptr_nonnull(postcopy_ready(&p, &mem));
	postcopy_close(&p);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("postcopy");
	TCase *tc = tcase_create("userfaultfd");
	SRunner *sr;
	int failed;

	postcopy_open(&p, NULL);
	if (p.uffd < 0) {
		printf("no userfaultfd here: %s\n", p.why_not);
		return 77;
	}
	postcopy_close(&p);
	if (!mkdtemp(dir))
		return 1;
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, test_wait);
	tcase_add_test(tc, test_kernel);
	tcase_add_test(tc, test_connections);
	tcase_add_test(tc, test_no_right);
	tcase_add_test(tc, test_huge);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	rmdir(dir);
	return failed ? 1 : 0;
}
