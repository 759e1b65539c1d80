// SPDX-License-Identifier: GPL-2.0-only
/* Absent memory, by userfaultfd(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fdpass.h"
#include "log.h"
#include "postcopy.h"
#include "sandbox.h"

#ifndef USERFAULTFD_IOC_NEW		/* Linux 6.1 */
#define USERFAULTFD_IOC_NEW	_IO(0xAA, 0x00)
#endif

/*
 * One that faults in the kernel come to: CAP_SYS_PTRACE, vm.unprivileged_userfaultfd, or a
 * right to /dev/userfaultfd.
 */
static int open_uffd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), dev;

	if (fd >= 0)
		return fd;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -1;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	close(dev);
	return fd;
}

static void no_uffd(struct postcopy *p, const char *why)
{
	if (p->uffd >= 0)
		close(p->uffd);
	p->uffd = -1;
	snprintf(p->why_not, sizeof(p->why_not), "%s", why);
}

/* The folder's name may be longer than a socket's address: go by its descriptor. */
static int open_socket(struct postcopy *p, const char *dir)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), ret = -1;
	mode_t mask = umask(077);

	if (fd >= 0 && d >= 0 && asprintf(&p->path, "%s/migrate.sock", dir) >= 0) {
		unlinkat(d, "migrate.sock", 0);
		snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/migrate.sock", d);
		ret = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	}
	umask(mask);
	if (d >= 0)
		close(d);
	if (!ret)
		return fd;
	if (fd >= 0)
		close(fd);
	free(p->path);
	p->path = NULL;
	return -1;
}

void postcopy_open(struct postcopy *p, const char *runtime_dir)
{
	struct uffdio_api api = { .api = UFFD_API };

	*p = (struct postcopy){ .open = true, .sock = -1, .wake = -1 };
	p->uffd = open_uffd();
	if (p->uffd < 0)
		no_uffd(p, errno == ENOSYS ? "this kernel has no userfaultfd" :
			"no right to userfaultfd here: give access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1 (`hvx host` tells)");
	else if (ioctl(p->uffd, UFFDIO_API, &api) < 0 || !(api.features & UFFD_FEATURE_MISSING_SHMEM))
		no_uffd(p, "this kernel's userfaultfd does not know shared memory");
	if (p->uffd >= 0)
		p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->uffd >= 0 && p->wake < 0)
		no_uffd(p, "out of file descriptors");
	if (p->uffd >= 0 && runtime_dir)
		p->sock = open_socket(p, runtime_dir);
}

void postcopy_close(struct postcopy *p)
{
	if (!p->open)
		return;
	postcopy_end(p);
	if (p->uffd >= 0)
		close(p->uffd);
	if (p->sock >= 0)
		close(p->sock);
	if (p->wake >= 0)
		close(p->wake);
	if (p->path)
		unlink(p->path);
	free(p->path);
	*p = (struct postcopy){ .uffd = -1, .sock = -1, .wake = -1, .why_not = "it is over" };
}

const char *postcopy_ready(struct postcopy *p, const struct guest_mem *mem)
{
	if (p->uffd < 0)
		return p->why_not;
	if (mem->backing.hugetlb)
		return "the guest's memory is of huge pages there (<hugepages>)";
	if (mem->fd < 0)
		return "the guest's memory is another guest's";
	/* A huge page would fill a hole that a page is missing in. */
	madvise(mem->region[0].hva, mem->ram_size, MADV_NOHUGEPAGE);
	p->mem = mem;
	return NULL;
}

/* ------------------------------------------------------------------ beginning */

/* The next run of missing pages from *at on, in bytes of RAM; false: none. */
static bool next_run(const struct mig_dest *d, uint64_t *at, uint64_t *end)
{
	uint64_t page = *at / RAM_PAGE, pages = d->ram.size / RAM_PAGE;

	while (page < pages && !(d->post.missing[page / 64] >> page % 64 & 1))
		page = d->post.missing[page / 64] ? page + 1 : (page / 64 + 1) * 64;
	*at = page * RAM_PAGE;
	while (page < pages && d->post.missing[page / 64] >> page % 64 & 1)
		page++;
	*end = page * RAM_PAGE;
	return *at < *end;
}

/* What came of them is old. That the kernel took them away is looked after: old memory must not be run. */
static int punch(struct postcopy *p, const struct mig_dest *d, struct state_error *err)
{
	uint64_t at = 0, end;
	off_t data;

	while (next_run(d, &at, &end)) {
		if (fallocate(p->mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
			      (off_t)(end - at)) < 0)
			return state_error(err, "old memory cannot be dropped: %s", strerror(errno));
		data = lseek(p->mem->fd, (off_t)at, SEEK_DATA);
		if (data >= 0 && (uint64_t)data < end)
			return state_error(err, "old memory at %#llx stays", (unsigned long long)data);
		at = end;
	}
	return 0;
}

static void take_connection(struct postcopy *p)
{
	char byte;
	int fd;

	if (fd_recv(p->sock, &byte, 1, &fd, MSG_DONTWAIT) >= 0 && fd >= 0)
		mig_dest_resume(p->d, fd);
}

static void take_faults(struct postcopy *p)
{
	uint64_t base = (uintptr_t)p->mem->region[0].hva;
	struct uffd_msg msg[16];
	ssize_t n = read(p->uffd, msg, sizeof(msg));
	size_t i;

	for (i = 0; n > 0 && i < (size_t)n / sizeof(msg[0]); i++)
		if (msg[i].event == UFFD_EVENT_PAGEFAULT)
			mig_dest_fault(p->d, msg[i].arg.pagefault.address - base);
}

static void *serve(void *arg)
{
	struct postcopy *p = arg;
	struct pollfd fd[3] = {
		{ .fd = p->wake, .events = POLLIN },
		{ .fd = p->uffd, .events = POLLIN },
		{ .fd = p->sock, .events = POLLIN },
	};

	while (!fd[0].revents) {
		if (poll(fd, 3, -1) < 0) {
			fd[0].revents = 0;
			continue;
		}
		if (fd[1].revents)
			take_faults(p);
		if (fd[2].revents)
			take_connection(p);
	}
	return NULL;
}

static int registration(struct postcopy *p, bool on)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p->mem->region[0].hva, .len = p->mem->ram_size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(p->uffd, on ? UFFDIO_REGISTER : UFFDIO_UNREGISTER, on ? (void *)&reg : (void *)&reg.range) < 0)
		return -errno;
	return 0;
}

int postcopy_begin(struct postcopy *p, struct mig_dest *d, struct state_error *err)
{
	int ret = punch(p, d, err);

	if (ret)
		return ret;
	p->d = d;
	ret = registration(p, true);
	if (ret)
		return state_error(err, "userfaultfd refuses guest memory: %s", strerror(-ret));
	if (sandbox_thread(&p->thread, &(struct sandbox_thread){
			SANDBOX_MAIN, "postcopy", .run = serve, .arg = p })) {
		registration(p, false);
		return state_error(err, "cannot start a thread");
	}
	p->running = true;
	return 0;
}

int postcopy_place(struct postcopy *p, uint64_t offset, const uint8_t *page)
{
	static const uint8_t zeroes[RAM_PAGE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)p->mem->region[0].hva + offset,
		.src = (uintptr_t)(page ? page : zeroes), .len = RAM_PAGE,
	};
	struct uffdio_range range = { .start = copy.dst, .len = RAM_PAGE };
	unsigned int tries = 0;
	int ret;

	do {	/* EAGAIN: the address space is being changed */
		ret = ioctl(p->uffd, UFFDIO_COPY, &copy) < 0 ? -errno : 0;
	} while (ret == -EAGAIN && ++tries < 1000);
	if (ret == -EEXIST)
		ioctl(p->uffd, UFFDIO_WAKE, &range);
	return ret;
}

void postcopy_end(struct postcopy *p)
{
	uint64_t one = 1;

	if (!p->running)
		return;
	p->running = false;
	while (write(p->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(p->thread, NULL);
	registration(p, false);
	madvise(p->mem->region[0].hva, p->mem->ram_size, MADV_HUGEPAGE);
}
