/* SPDX-License-Identifier: Apache-2.0 */
/* Ask a keeper to clone PID 1 (init_keeper.c is its side). */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "spawn.h"

enum { KEEPER_TIMEOUT_MS = 30000 }; /* it serves one caller's threads in turn */

static int send_request(const struct nsb_spawn_args *args, int reply_fd, int init_control_fd)
{
	struct nsb_clone request = {
		.header = { .kind = NSB_REQUEST_CLONE, .size = sizeof request },
		.namespaces = args->namespaces,
		.flags = args->flags,
		.has_cgroup = args->cgroup_fd >= 0,
		.has_userns = args->userns_fd >= 0,
		.n_affinity = args->n_affinity,
		.n_joins = args->n_joins,
	};
	int32_t fds[6 + NSB_JOINS_MAX] = { reply_fd, args->init_fd, args->null_fd,
					   init_control_fd };
	uint32_t n_fds = 4;

	if (args->n_affinity)
		memcpy(request.affinity, args->affinity, args->n_affinity * sizeof *args->affinity);
	if (request.has_cgroup)
		fds[n_fds++] = args->cgroup_fd;
	if (request.has_userns)
		fds[n_fds++] = args->userns_fd;
	for (uint32_t i = 0; i < args->n_joins; i++) {
		fds[n_fds++] = args->join_fds[i];
		request.joins[i] = args->joins[i];
	}
	return nsb_send(args->keeper_fd, &request, sizeof request, fds, n_fds);
}

/* Returns 0 or a negative errno; *ret_pidfd is -1 if none came. */
static int receive_reply(int fd, struct nsb_report *ret, int32_t *ret_pidfd)
{
	int err = wait_ready(fd, POLLIN, KEEPER_TIMEOUT_MS);
	int64_t n;

	*ret_pidfd = -1;
	if (err < 0)
		return err == -EAGAIN ? -ETIMEDOUT : err;
	n = nsb_receive(fd, ret, sizeof *ret, ret_pidfd);
	if (n < 0)
		return (int)n;
	return n == sizeof *ret ? 0 : -ECONNRESET;
}

int keeper_ask(const struct nsb_spawn_args *args, int init_control_fd, int *ret_reply_fd,
	       struct nsb_failure *reterr)
{
	int pair[2], err;

	if (args->n_tasks || args->n_joins > NSB_JOINS_MAX)
		return set_failure(reterr, NSB_STEP_KEEPER, EINVAL, 0);
	if (args->n_affinity > NSB_CPU_WORDS)
		return set_failure(reterr, NSB_STEP_AFFINITY, EINVAL, 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return set_failure(reterr, NSB_STEP_SOCKETPAIR, errno, 0);
	err = send_request(args, pair[1], init_control_fd);
	close_fd(&pair[1]);
	if (err) {
		close_fd(&pair[0]);
		return set_failure(reterr, NSB_STEP_KEEPER, -err, 0);
	}
	*ret_reply_fd = pair[0];
	return 0;
}

int keeper_answer(int reply_fd, struct nsb_sandbox *ret, struct nsb_failure *reterr)
{
	struct nsb_report report = { 0 };
	int32_t pidfd;
	int err = receive_reply(reply_fd, &report, &pidfd);

	if (report.status > 0)
		reap_pid(report.status);
	if (!err && report.event == NSB_EVENT_DONE && pidfd >= 0) {
		*ret = (struct nsb_sandbox){ .pid = report.pid, .pidfd = pidfd, .control_fd = -1 };
		return 0;
	}
	if (report.pid > 0)
		reap_pid(report.pid);
	close_fd(&pidfd);
	if (!err && report.event == NSB_EVENT_FAILED)
		return set_failure(reterr, report.step, report.err, report.index);
	return set_failure(reterr, NSB_STEP_KEEPER, err ? -err : EPROTO, 0);
}
