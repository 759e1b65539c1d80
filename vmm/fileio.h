/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads and writes that go on until all is done: the kernel may do a part, or be interrupted. */
#ifndef HVX_VMM_FILEIO_H
#define HVX_VMM_FILEIO_H

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

/* All of it, or -errno; what was written until then stays. */
static inline int write_full(int fd, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	while (len) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

static inline int pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	const uint8_t *from = buf;

	while (len) {
		ssize_t n = pwrite(fd, from, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes read, fewer than len only at the end of the file; or -errno. */
static inline ssize_t pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, (uint8_t *)buf + got, len - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

#endif
