/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages between processes with one file descriptor, or none (SCM_RIGHTS, unix(7)). */
#ifndef HVX_VMM_FDPASS_H
#define HVX_VMM_FDPASS_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_room {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int))];
};

/* As send(), with fd (-1: none), which stays the caller's. */
static inline ssize_t fd_send(int sock, const void *buf, size_t len, int fd, int flags)
{
	union fd_room room = { .buf = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = &room;
		msg.msg_controllen = sizeof(room);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
}

/*
 * As recv(), not interrupted; *fd becomes the caller's, -1: none came. The kernel is given room for one, which is
 * less than CMSG_SPACE(): others do not come in, and of a message that had more none is taken.
 */
static inline ssize_t fd_recv(int sock, void *buf, size_t len, int *fd, int flags)
{
	union fd_room room = { .buf = { 0 } };
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room,
			      .msg_controllen = CMSG_LEN(sizeof(int)) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (*fd >= 0 && msg.msg_flags & MSG_CTRUNC) {
		close(*fd);
		*fd = -1;
	}
	return n;
}

#endif
