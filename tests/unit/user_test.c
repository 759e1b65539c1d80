// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/net/user.c vmm/helper.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c */
/*
 * The stream to the user-mode network's helper: frames in any pieces, a helper
 * that stalls, talks nonsense, or dies. And the helper itself, where it is built:
 * DHCP, a forwarded port, random frames, a port that is taken.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "fake_machine.h"
#include "devices/net/backend.h"

#define BUF (NET_HDR_LEN + NET_MAX_FRAME)

static struct net_backend *b;
static uint8_t buf[BUF], frame[NET_HDR_LEN + 70000];
static char helper[PATH_MAX], saved[PATH_MAX];

/*
 * The code under test looks for its helper beside the running program: there the
 * test puts a script or a link.
 */
static void find_place(void)
{
	ssize_t n = readlink("/proc/self/exe", helper, sizeof(helper) - 64);

	ck_assert_int_gt(n, 0);
	helper[n] = 0;
	strcpy(strrchr(helper, '/') + 1, "hvx-net-slirp");
}

static void script(const char *text)
{
	FILE *f;

	find_place();
	unlink(helper);
	f = fopen(helper, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/bash\n%s\n", text);
	fclose(f);
	chmod(helper, 0755);
}

static void setup(void)
{
	memset(&fdom, 0, sizeof(fdom));
	fake_machine(0);
	signal(SIGPIPE, SIG_IGN);
	b = NULL;
}

static void teardown(void)
{
	if (b)
		b->ops->close(b);
	unlink(helper);
	fake_free();
}

/* Descriptor 3 is the socket; the ready message, then what is given. */
static void open_script(const char *text)
{
	char all[4096];

	snprintf(all, sizeof(all), "printf '\\0\\0\\0\\0' >&3\n%s", text);
	script(all);
	b = net_user_open(&fm, &fdom.nic[0]);
	ck_assert_ptr_nonnull(b);
}

/* The next frame; a guard of 20 s. */
static ssize_t next(void)
{
	struct pollfd p = { .fd = b->ops->fd(b, 0), .events = POLLIN };
	unsigned int i;
	ssize_t n;

	for (i = 0; i < 2000; i++) {
		n = b->ops->recv(b, 0, buf, sizeof(buf));
		if (n != -EAGAIN)
			return n;
		poll(&p, 1, 10);
	}
	return -ETIMEDOUT;
}

static int send_frame(const uint8_t *data, size_t len)
{
	uint8_t hdr[NET_HDR_LEN] = { 0 };
	struct iovec iov[3] = {
		{ hdr, sizeof(hdr) }, { (void *)(uintptr_t)data, len / 3 },
		{ (void *)(uintptr_t)(data + len / 3), len - len / 3 },
	};

	return b->ops->send(b, 0, iov, 3);
}

START_TEST(pieces)
{
	/* Two frames, cut in odd places. */
	open_script("printf '\\0\\0' >&3; sleep 0.05; printf '\\0\\5abc' >&3; sleep 0.05\n"
		    "printf 'de\\0\\0\\0\\1x\\0' >&3; sleep 0.05; printf '\\0\\0\\2yz' >&3; exec sleep 30");
	ck_assert_int_eq(next(), NET_HDR_LEN + 5);
	ck_assert_mem_eq(buf + NET_HDR_LEN, "abcde", 5);
	ck_assert_uint_eq(buf[0] | buf[11], 0);
	ck_assert_int_eq(next(), NET_HDR_LEN + 1);
	ck_assert_int_eq(next(), NET_HDR_LEN + 2);
	ck_assert_mem_eq(buf + NET_HDR_LEN, "yz", 2);
}
END_TEST

/* A fork does not wait for its helper, and its guest gets no empty frame. */
START_TEST(not_waited_for)
{
	struct mem_source from = { .fd = -1 };
	char ch = 'x';

	script("read -r -N 1 <&3; printf '\\0\\0\\0\\0\\0\\0\\0\\2yz' >&3; exec sleep 30");
	fm.ram_from = &from;
	b = net_user_open(&fm, &fdom.nic[0]);
	fm.ram_from = NULL;
	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(b->ops->recv(b, 0, buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_eq(write(b->ops->fd(b, 0), &ch, 1), 1);
	ck_assert_int_eq(next(), NET_HDR_LEN + 2);
	ck_assert_mem_eq(buf + NET_HDR_LEN, "yz", 2);
}
END_TEST

START_TEST(too_long)
{
	open_script("printf '\\xff\\xff\\xff\\xff' >&3; exec sleep 30");
	ck_assert_int_eq(next(), -EPROTO);
}
END_TEST

START_TEST(just_too_long)
{
	/* 65554: one more than the longest frame. */
	open_script("printf '\\0\\1\\0\\x12' >&3; head -c 70000 /dev/zero >&3; exec sleep 30");
	ck_assert_int_eq(next(), -EPROTO);
}
END_TEST

START_TEST(longest)
{
	open_script("printf '\\0\\1\\0\\x11' >&3; head -c 65553 /dev/zero >&3; exec sleep 30");
	ck_assert_int_eq(next(), NET_HDR_LEN + 65553);
}
END_TEST

START_TEST(dies)
{
	open_script("printf '\\0\\0\\0\\5ab' >&3");
	ck_assert_int_eq(next(), -EPIPE);
	while (send_frame(frame, 100) == 0)
		;
	ck_assert_int_eq(send_frame(frame, 100), -EPIPE);
}
END_TEST

START_TEST(echo)
{
	unsigned int i;
	size_t len;

	open_script("exec cat <&3 >&3");
	for (i = 0; i < 300; i++) {
		len = 14 + i * 211 % 60000;
		memset(frame, i, len);
		ck_assert_int_eq(send_frame(frame, len), 0);
		ck_assert_int_eq(next(), NET_HDR_LEN + len);
		ck_assert_mem_eq(buf + NET_HDR_LEN, frame, len);
	}
}
END_TEST

/* A helper that does not read: the sender is told, nothing is lost, nothing is cut. */
START_TEST(stalls)
{
	unsigned int taken = 0, got = 0, i;
	int ret;

	open_script("sleep 1; exec cat <&3 >&3");
	for (i = 0; i < 100000; i++) {
		memset(frame, taken, 9000);
		ret = send_frame(frame, 9000);
		if (ret)
			break;
		taken++;
	}
	ck_assert_int_eq(ret, -EAGAIN);
	ck_assert_uint_gt(taken, 1);
	while (got < taken) {
		/* Sending anything finishes the frame that went in part. */
		if (got == taken - 1) {
			memset(frame, taken, 9000);
			if (!send_frame(frame, 9000))
				taken++;
			if (taken > 10000)
				break;
		}
		if (b->ops->recv(b, 0, buf, sizeof(buf)) == -EAGAIN) {
			usleep(100);
			continue;
		}
		ck_assert_uint_eq(buf[NET_HDR_LEN], (uint8_t)got);
		ck_assert_uint_eq(buf[NET_HDR_LEN + 8999], (uint8_t)got);
		if (++got > 200)
			break;
	}
}
END_TEST

START_TEST(does_not_start)
{
	static const char *const bad[] = {
		"exit 1", "printf '\\0\\0' >&3", "printf 'abcd' >&3; exec sleep 30",
	};

	script(bad[_i]);
	ck_assert_ptr_null(net_user_open(&fm, &fdom.nic[0]));
}
END_TEST

START_TEST(not_there)
{
	if (!access(HVX_LIBEXECDIR "/hvx-net-slirp", X_OK))
		return;		/* installed: it would be found there */
	find_place();
	unlink(helper);
	ck_assert_ptr_null(net_user_open(&fm, &fdom.nic[0]));
}
END_TEST

START_TEST(arguments)
{
	struct dom_nic *nic = &fdom.nic[0];

	nic->ip_address = (char *)"192.168.9.0";
	nic->ip_prefix = 24;
	nic->nr_fwd = 2;
	nic->fwd[0] = (struct dom_fwd){ .host_port = 2222, .guest_port = 22, .count = 1,
					.host_addr = (char *)"127.0.0.1" };
	nic->fwd[1] = (struct dom_fwd){ .udp = true, .host_port = 5000, .guest_port = 5000, .count = 3 };
	open_script("args=\"$*\"; printf \"\\0\\0\\0\\x$(printf %x ${#args})\" >&3; printf '%s' \"$args\" >&3; exec sleep 30");
	ck_assert_int_gt(next(), NET_HDR_LEN);
	ck_assert_str_eq((char *)buf + NET_HDR_LEN,
			 "--net 192.168.9.0/24 --forward tcp:2222:22:1:127.0.0.1 --forward udp:5000:5000:3:");
}
END_TEST

/* -------------------------------------------------------------- the helper itself */

static bool real_helper(void)
{
	find_place();
	unlink(helper);
	/* build/tests/unit/ -> build/ */
	strcpy(saved, helper);
	strcpy(strstr(saved, "/tests/unit/") + 1, "hvx-net-slirp");
	if (access(saved, X_OK))
		return false;
	ck_assert_int_eq(symlink(saved, helper), 0);
	return true;
}

static uint16_t csum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;
	size_t i;

	for (i = 0; i < len; i += 2)
		s += p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~s;
}

/* DHCPDISCOVER as a broadcast; the address of the offer. */
static uint32_t discover(void)
{
	static const uint8_t head[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 2, 3, 8, 0,
		0x45, 0, 1, 0x20, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
		0, 68, 0, 67, 1, 0x0c, 0, 0,
	};
	uint8_t p[14 + 0x120] = { 0 }, *boot = p + sizeof(head);
	uint16_t sum;

	memcpy(p, head, sizeof(head));
	sum = csum(p + 14, 20);
	p[24] = sum >> 8;
	p[25] = sum;
	memcpy(boot, "\1\1\6\0\x12\x34\x56\x78\0\0\x80\0", 12);
	memcpy(boot + 28, p + 6, 6);
	memcpy(boot + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8);
	ck_assert_int_eq(send_frame(p, sizeof(p)), 0);
	for (;;) {
		uint8_t *f = buf + NET_HDR_LEN;
		uint32_t addr;

		ck_assert_int_gt(next(), 0);
		if (f[12] == 8 && f[23] == 17 && f[37] == 68) {
			memcpy(&addr, f + 42 + 16, 4);
			return ntohl(addr);
		}
	}
}

START_TEST(dhcp)
{
	if (!real_helper()) {
		puts("skipped: hvx-net-slirp is not built (make vmm)");
		return;
	}
	if (_i) {
		fdom.nic[0].ip_address = (char *)"172.30.4.0";
		fdom.nic[0].ip_prefix = 24;
	}
	b = net_user_open(&fm, &fdom.nic[0]);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(discover(), _i ? 0xac1e040f : 0x0a00020f);
}
END_TEST

/* The guest's end of a connection from the host through a forwarded port: the SYN arrives. */
START_TEST(forward)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct dom_nic *nic = &fdom.nic[0];
	socklen_t len = sizeof(addr);
	int probe = socket(AF_INET, SOCK_STREAM, 0), fd;

	if (!real_helper())
		return;
	ck_assert_int_eq(bind(probe, (struct sockaddr *)&addr, sizeof(addr)), 0);
	getsockname(probe, (struct sockaddr *)&addr, &len);
	listen(probe, 1);
	nic->nr_fwd = 1;
	nic->fwd[0] = (struct dom_fwd){ .host_port = ntohs(addr.sin_port), .guest_port = 22, .count = 1,
					.host_addr = (char *)"127.0.0.1" };
	/* Taken by the test: refused with a message. */
	ck_assert_ptr_null(net_user_open(&fm, nic));
	close(probe);
	b = net_user_open(&fm, nic);
	ck_assert_ptr_nonnull(b);
	discover();
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	/* The helper asks who has the guest's address, to send the SYN there. */
	for (;;) {
		const uint8_t *f = buf + NET_HDR_LEN;

		ck_assert_int_gt(next(), 0);
		if ((f[12] == 8 && f[13] == 6) || (f[12] == 8 && f[23] == 6 && f[37] == 22))
			break;
	}
	close(fd);
}
END_TEST

START_TEST(nonsense)
{
	unsigned int i;
	size_t len, k;

	if (!real_helper())
		return;
	b = net_user_open(&fm, &fdom.nic[0]);
	ck_assert_ptr_nonnull(b);
	for (i = 0; i < 20000; i++) {
		static const uint8_t types[][3] = { { 8, 0, 0x45 }, { 8, 6, 0 }, { 0x86, 0xdd, 0x60 }, { 8, 0, 0x4f } };

		len = 14 + fake_random() % (i & 15 ? 200 : 3000);
		for (k = 0; k < len; k++)
			frame[k] = fake_random();
		memcpy(frame, "\x52\x55\x0a\0\2\2", 6);
		memcpy(frame + 12, types[i & 3], len > 14 ? 3 : 2);
		while (send_frame(frame, len) == -EAGAIN)
			usleep(100);
		while (b->ops->recv(b, 0, buf, sizeof(buf)) > 0)
			;
	}
	ck_assert_uint_eq(discover(), 0x0a00020f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("user");
	TCase *t = tcase_create("stream"), *h = tcase_create("helper");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, pieces);
	tcase_add_test(t, not_waited_for);
	tcase_add_test(t, too_long);
	tcase_add_test(t, just_too_long);
	tcase_add_test(t, longest);
	tcase_add_test(t, dies);
	tcase_add_test(t, echo);
	tcase_add_test(t, stalls);
	tcase_add_loop_test(t, does_not_start, 0, 3);
	tcase_add_test(t, not_there);
	tcase_add_test(t, arguments);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(h, setup, teardown);
	tcase_set_timeout(h, 120);
	tcase_add_loop_test(h, dhcp, 0, 2);
	tcase_add_test(h, forward);
	tcase_add_test(h, nonsense);
	suite_add_tcase(s, h);
	return fake_main(s);
}
