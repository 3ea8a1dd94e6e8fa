/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 that becomes its command, as containers of the OCI runtime specification have it. The same
 * set-up and the same steps as of other commands, without a clone between them. In place of the
 * service it waits: at each SYNC op, at the end of the set-up until its maker has written down what
 * there is, and, where asked, at a listening socket for the start.
 */
#include <linux/poll.h>
#include <linux/signalfd.h>

#include "init_command.h"

/* Signals whose default action ends a process; PID 1 of a namespace must see to that itself. The
 * others: CHLD to URG, which are 17 to 23, and WINCH. */
static const uint64_t ending_signals = ~(0x7full << 16 | 1ull << 27);

static char command_buffer[NSB_INLINE_MAX] __attribute__((aligned(16)));
static struct message request;
static struct start start;

static _Noreturn void give_up(int fd)
{
	send_failure(fd, start.outcome);
	sys_exit(1);
}

/* No descriptor of ours has a number that one of the command's is to have. */
static bool move_control(void)
{
	long fd = sys3(__NR_fcntl, NSB_CONTROL_FD, F_DUPFD_CLOEXEC_, start.highest + 1);

	if (step_failed(&start, NSB_STEP_FDS, fd, 0))
		return false;
	sys_close(NSB_CONTROL_FD);
	start.control_fd = (int)fd;
	return true;
}

static bool take_request(void)
{
	long n = receive_into(NSB_CONTROL_FD, &request, command_buffer);
	const struct nsb_exec *exec = (const void *)request.bytes;
	size_t mapped;

	if (step_failed(&start, NSB_STEP_RECEIVE, n ? n : -E_PROTO, 3))
		return false;
	if (request.size < sizeof *exec || exec->header.kind != NSB_REQUEST_EXEC)
		return !step_failed(&start, NSB_STEP_REQUEST, -E_PROTO, 3);
	start.request = exec;
	n = map_pointers(&request, (uint64_t)3 + exec->n_paths + exec->n_argv + exec->n_env,
			 &mapped);
	if (step_failed(&start, NSB_STEP_REQUEST, sys_failed(n) ? n : 0, 2))
		return false;
	if (!parse_command(&request, &start, (const char **)(uintptr_t)n))
		return !step_failed(&start, NSB_STEP_REQUEST, -E_PROTO, 0);
	if (!raise_fds(&request, &start, request.n_fds - exec->n_fds) || !move_control())
		return false;
	if (exec->flags & NSB_EXEC_WAIT)
		start.listener_fd = request.fds[0];
	return true;
}

static bool make_directory_of_work(void)
{
	static const struct making making = { .mode = 0755, .symlinks = true, .dangling = true };

	return !(start.request->flags & NSB_EXEC_MAKE_CWD) ||
	       !step_failed(&start, NSB_STEP_CWD, make_directory(AT_FDCWD_, start.cwd, &making), 1);
}

/*
 * All that can be done before the start, so that what cannot be is an error of the creation. While
 * it waits a process keeps the privileges that it needs to load its filter, and no other ones.
 */
static bool prepare(const struct nsb_setup *setup)
{
	if (setup->personality && step_failed(&start, NSB_STEP_PERSONALITY,
					      sys1(__NR_personality, setup->personality), 0))
		return false;
	if (step_failed(&start, NSB_STEP_CWD, sys1(__NR_chdir, "/"), 2) ||
	    !make_directory_of_work())
		return false;
	if (start.request->flags & NSB_EXEC_PTY && start.pty_master < 0 &&
	    !open_pty(&start, AT_FDCWD_))
		return false;
	return session(&start) && place_fds(&start) &&
	       (filters_first(&start) || give_up_privileges(&start)) && program_exists(&start);
}

static void report_ready(void)
{
	struct nsb_report ready = { .event = NSB_EVENT_READY };

	if (send_report(start.control_fd, &ready, start.pty_master, 0) < 0)
		sys_exit(1);
	if (start.pty_master >= 0)
		sys_close(start.pty_master);
}

static void wait_for_caller(int signal_fd)
{
	struct pollfd fds[2] = { { .fd = start.listener_fd, .events = POLLIN },
				 { .fd = signal_fd, .events = POLLIN } };
	struct signalfd_siginfo info;
	long n;

	do
		n = sys5(__NR_ppoll, fds, 2, NULL, NULL, 0);
	while (n == -E_INTR || n == -E_AGAIN || n == -E_NOMEM);
	if (n < 0)
		sys_exit(1);
	if (fds[1].revents && sys_read(signal_fd, &info, sizeof info) == (long)sizeof info)
		sys_exit(128 + (int)info.ssi_signo);
}

/* Returns the connection of who starts us, on which success is its end. */
static int wait_for_start(void)
{
	static const struct __kernel_timespec pause = { .tv_nsec = 10000000 };
	struct nsb_report going = { .event = NSB_EVENT_DONE };
	long signal_fd = sys4(__NR_signalfd4, -1, &ending_signals, sizeof ending_signals,
			      SFD_CLOEXEC | SFD_NONBLOCK);

	if (signal_fd < 0)
		sys_exit(1);
	for (;;) {
		long fd;

		wait_for_caller((int)signal_fd);
		fd = sys4(__NR_accept4, start.listener_fd, NULL, NULL, O_CLOEXEC_);
		if (fd < 0) {
			(void)sys2(__NR_nanosleep, &pause, NULL);
			continue;
		}
		if (serve_until_go((int)fd) && send_report((int)fd, &going, -1, 0) >= 0) {
			sys_close((int)signal_fd);
			return (int)fd;
		}
		sys_close((int)fd);
	}
}

_Noreturn void become_command(struct message *message, const struct nsb_setup *setup)
{
	static struct policy policy;
	int reply_fd;

	start = (struct start){ .policy = &policy,
				.pty_master = -1,
				.pty_slave = -1,
				.audit_socks = { -1, -1 },
				.cgroup_fd = -1,
				.control_fd = NSB_CONTROL_FD,
				.listener_fd = -1 };
	if (!take_request() || !join_groups(&start))
		give_up(start.control_fd);
	start.outcome = set_up(message, setup, &policy, &start);
	if (start.outcome.step || !prepare(setup))
		give_up(start.control_fd);
	report_ready();
	if (!serve_until_go(start.control_fd))
		sys_exit(1);
	reply_fd = start.control_fd;
	if (start.listener_fd >= 0) {
		sys_close(start.control_fd);
		reply_fd = wait_for_start();
	}
	start.audit_socks[1] = reply_fd;
	/* Signals before the filter, which need not allow anything but the exec then. */
	if (limit(&start) && unblock_signals(&start) &&
	    (!filters_first(&start) || give_up_privileges(&start)) && seal(&start))
		execute_program(&start);
	send_failure(reply_fd, start.outcome);
	sys_exit(127); /* all that is seen where the filter does not allow to say it */
}
