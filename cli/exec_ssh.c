// SPDX-License-Identifier: GPL-2.0-only
/*
 * A command in a guest without an agent, by ssh(1) through the guest's vsock. The
 * host's kernel sees to it that an address is that guest's alone, so that its host key
 * proves nothing more.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <linux/vm_sockets.h>
#include <unistd.h>
#include "control.h"
#include "exec.h"
#include "guest.h"
#include "vmm/fdpass.h"

#define COMMAND_MAX	3500
#define SSH_PORT	22
#define CONNECT_S	30	/* for a guest that is slow to answer; the kernel's own limit is 2 */

/* 0: there is none, and that was said. */
static uint32_t ask_cid(const struct guest *g)
{
	struct control *c = control_open_or_say(g->name);
	struct json_object *ret = NULL;
	uint32_t cid = 0;

	if (!c)
		return 0;
	if (!control_call(c, "x-hvx-query-vsock", NULL, &ret))
		cid = (uint32_t)json_object_get_int64(json_object_object_get(ret, "cid"));
	else if (!strcmp(control_error_class(c), "DeviceNotActive"))
		cli_error("exec: %s has no vsock; add to its <devices>: <vsock><cid auto='yes'/></vsock>", g->name);
	else
		cli_error("exec: %s: %s", g->name, control_error(c));
	json_object_put(ret);
	control_close(c);
	return cid;
}

/* Where ssh gets its connection from: this program. A shell takes it apart, and ssh looks for % in it. */
static int proxy_command(char *buf, size_t size, uint32_t cid)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t at = (size_t)snprintf(buf, size, "ProxyCommand='");

	if (n < 0)
		return -1;
	self[n] = '\0';
	for (const char *s = self; *s; s++) {
		const char *is = *s == '\'' ? "'\\''" : *s == '%' ? "%%" : (char[]){ *s, '\0' };

		if (at + strlen(is) >= size)
			return -1;
		at += (size_t)snprintf(buf + at, size - at, "%s", is);
	}
	at += (size_t)snprintf(buf + at, size - at, "' vsock-connect %u %u", cid, SSH_PORT);
	return at < size ? 0 : -1;
}

int exec_ssh(const struct guest *g, const char *user, const struct exec_req *req)
{
	static const char *const options[] = {
		"ProxyUseFdpass=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
		"GlobalKnownHostsFile=/dev/null", "LogLevel=ERROR",
	};
	char proxy[PATH_MAX + 64], to[128], limit[16], command[COMMAND_MAX], *argv[32];
	uint32_t cid = ask_cid(g);
	unsigned int n = 0;
	bool bad;

	if (!cid)
		return EXEC_FAILED;
	exec_quote(req, false, command, sizeof(command), &bad);
	if (bad || proxy_command(proxy, sizeof(proxy), cid)) {
		cli_error("exec: the command is longer than %d bytes; copy a script into the guest", COMMAND_MAX);
		return EXEC_FAILED;
	}
	snprintf(to, sizeof(to), "%s@%s", user ? user : "root", g->name);
	if (req->timeout_s) {
		snprintf(limit, sizeof(limit), "%u", req->timeout_s);
		argv[n++] = "timeout";
		argv[n++] = limit;
	}
	argv[n++] = "ssh";
	argv[n++] = "-T";
	if (req->in < 0)
		argv[n++] = "-n";
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		argv[n++] = "-o";
		argv[n++] = (char *)options[i];
	}
	argv[n++] = "-o";
	argv[n++] = proxy;
	argv[n++] = "--";
	argv[n++] = to;
	argv[n++] = command;
	argv[n] = NULL;
	execvp(argv[0], argv);
	cli_error("exec: %s: %s; install openssh-client", argv[0], strerror(errno));
	return EXEC_FAILED;
}

/* --- the connection --- */

static int cmd_vsock_connect(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK };
	struct timeval limit = { .tv_sec = CONNECT_S };
	long cid, port;
	int fd;

	if (argc != 3) {
		cli_error("%s: wanted: %s", cmd->name, cmd->args);
		return VMM_ERR_USAGE;
	}
	if (!cli_number(cmd, NULL, argv[1], 0, UINT_MAX - 1, &cid) ||
	    !cli_number(cmd, NULL, argv[2], 0, UINT_MAX - 1, &port))
		return VMM_ERR_USAGE;
	sa.svm_cid = (unsigned int)cid;
	sa.svm_port = (unsigned int)port;
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit)) ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		cli_error("vsock: cid %u, port %u: %s%s", sa.svm_cid, sa.svm_port, strerror(errno),
			  errno == ECONNRESET ? "; nobody listens there in the guest" : "");
		return VMM_ERR_SETUP;
	}
	if (fd_send(STDOUT_FILENO, "", 1, fd, 0) != 1) {
		cli_error("vsock: the standard output does not take a connection: %s", strerror(errno));
		return VMM_ERR_SETUP;
	}
	return VMM_OK;
}

static const struct cli_cmd vsock_connect_verb = {
	.name = "vsock-connect", .group = CLI_TOOLS, .args = "CID PORT", .run = cmd_vsock_connect,
	.help = "For ssh's ProxyCommand with ProxyUseFdpass: connects to a guest's vsock and hands the connection over.\n",
	.opts = NO_OPTS,
};
CLI_VERB(vsock_connect_verb);
