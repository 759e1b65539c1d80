/* SPDX-License-Identifier: GPL-2.0-only */
/* The protocol's numbers, all big-endian, and moving bytes. Names as in its document. */
#ifndef HVX_STORAGE_NBD_WIRE_H
#define HVX_STORAGE_NBD_WIRE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define NBD_MAGIC		0x4e42444d41474943ULL	/* "NBDMAGIC" */
#define NBD_OPT_MAGIC		0x49484156454f5054ULL	/* "IHAVEOPT" */
#define NBD_REP_MAGIC		0x0003e889045565a9ULL
#define NBD_REQUEST_MAGIC	0x25609513U
#define NBD_SIMPLE_REPLY_MAGIC	0x67446698U

#define NBD_FLAG_FIXED_NEWSTYLE	1U	/* of both handshakes */
#define NBD_FLAG_NO_ZEROES	2U

enum nbd_opt { NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_LIST = 3, NBD_OPT_INFO = 6, NBD_OPT_GO = 7 };

#define NBD_REP_ACK		1U
#define NBD_REP_SERVER		2U
#define NBD_REP_INFO		3U
#define NBD_REP_ERROR		(1U << 31)
#define NBD_REP_ERR_UNSUP	(NBD_REP_ERROR | 1)
#define NBD_REP_ERR_POLICY	(NBD_REP_ERROR | 2)
#define NBD_REP_ERR_INVALID	(NBD_REP_ERROR | 3)
#define NBD_REP_ERR_UNKNOWN	(NBD_REP_ERROR | 6)

#define NBD_INFO_EXPORT		0U
#define NBD_INFO_BLOCK_SIZE	3U

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS		(1U << 0)
#define NBD_FLAG_READ_ONLY		(1U << 1)
#define NBD_FLAG_SEND_FLUSH		(1U << 2)
#define NBD_FLAG_SEND_FUA		(1U << 3)
#define NBD_FLAG_SEND_TRIM		(1U << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES	(1U << 6)

enum nbd_cmd { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_DISC, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE, NBD_CMD_WRITE_ZEROES };
#define NBD_CMD_FLAG_FUA	1U
#define NBD_CMD_FLAG_NO_HOLE	2U

/* Errors: these of Linux' numbers, and no others. */
#define NBD_EPERM	1U
#define NBD_EIO		5U
#define NBD_ENOMEM	12U
#define NBD_EINVAL	22U
#define NBD_ENOSPC	28U

#define NBD_REQUEST_LEN	28U
#define NBD_REPLY_LEN	16U

static inline uint8_t *put_be(uint8_t *at, uint64_t val, unsigned int bytes)
{
	for (unsigned int i = bytes; i--; val >>= 8)
		at[i] = (uint8_t)val;
	return at + bytes;
}

static inline uint64_t get_be(const uint8_t *at, unsigned int bytes)
{
	uint64_t val = 0;

	while (bytes--)
		val = val << 8 | *at++;
	return val;
}

/* All of it: 0; -EPIPE: the other side has hung up; -errno. */
static inline int sock_get(int sock, void *to, size_t len)
{
	uint8_t *at = to;

	while (len) {
		ssize_t n = recv(sock, at, len, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static inline int sock_put(int sock, const void *from, size_t len, bool more)
{
	const uint8_t *at = from;

	while (len) {
		ssize_t n = send(sock, at, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

#endif
