/* SPDX-License-Identifier: Apache-2.0 */
/* A process that waits before it becomes its command: what it is asked to run meanwhile. */
#include <linux/time.h>
#include <linux/wait.h>

#include "init_command.h"

enum { HOOK_STACK_SIZE = 16384, WAIT_ALL = 0x40000000 /* __WALL */ };

struct hook {
	const char *path;
	const char *const *argv;
	const char *const *envp;
	const int *fds;
	long err;
};

static char hook_stack[HOOK_STACK_SIZE] __attribute__((aligned(16)));

/* Shares our memory until its exec, as commands do. */
static int hook_main(void *argument)
{
	static const uint64_t no_signals = 0;
	struct hook *hook = argument;

	for (int fd = 0; fd <= 2 && hook->err >= 0; fd++)
		hook->err = sys_dup3(hook->fds[fd ? 1 : 0], fd, 0);
	if (hook->err >= 0)
		hook->err = sys_sigmask(&no_signals);
	if (hook->err >= 0)
		hook->err = sys3(__NR_execve, hook->path, hook->argv, hook->envp);
	return 127;
}

static int64_t now_ms(void)
{
	struct __kernel_timespec now = { 0 };

	(void)sys2(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns the wait status, or a negative errno. */
static long wait_for_hook(long pid, uint32_t timeout_ms)
{
	const uint64_t child = 1ull << (SIG_CHLD - 1);
	int64_t left, end = now_ms() + timeout_ms;
	int32_t status;

	if (!timeout_ms)
		return sys4(__NR_wait4, pid, &status, WAIT_ALL, NULL) < 0 ? -E_CHILD : status;
	while ((left = end - now_ms()) > 0) {
		struct __kernel_timespec pause = { left / 1000, left % 1000 * 1000000 };
		long found = sys4(__NR_wait4, pid, &status, WNOHANG | WAIT_ALL, NULL);

		if (found)
			return found < 0 ? found : status;
		(void)sys4(__NR_rt_sigtimedwait, &child, NULL, &pause, sizeof child);
	}
	(void)sys2(__NR_kill, pid, SIG_KILL);
	(void)sys4(__NR_wait4, pid, &status, WAIT_ALL, NULL);
	return -E_TIMEDOUT;
}

static long run_hook(struct hook *hook, uint32_t timeout_ms)
{
	long pid = sys_clone2(CLONE_VM | CLONE_VFORK | SIG_CHLD, hook_stack + sizeof hook_stack,
			      NULL, hook_main, hook);
	long status = pid < 0 ? pid : wait_for_hook(pid, hook->err < 0 ? 0 : timeout_ms);

	return hook->err < 0 ? hook->err : status;
}

static long hook_request(struct message *message)
{
	const struct nsb_hook *request = (const void *)message->bytes;
	struct hook hook = { .fds = message->fds };
	const char **pointers, **at;
	size_t mapped;
	long address, status = -E_PROTO;

	if (message->size < sizeof *request || message->n_fds != 2)
		return -E_PROTO;
	address = map_pointers(message, (uint64_t)2 + request->n_argv + request->n_env, &mapped);
	if (sys_failed(address))
		return address;
	pointers = at = (const char **)(uintptr_t)address;
	hook.path = message_string(message, request->path);
	hook.argv = at;
	if (hook.path && collect_strings(message, request->argv, request->n_argv, &at)) {
		hook.envp = at;
		if (collect_strings(message, request->env, request->n_env, &at))
			status = run_hook(&hook, request->timeout_ms);
	}
	(void)sys2(__NR_munmap, pointers, mapped);
	return status;
}

static void serve_hook(int fd, struct message *message)
{
	struct nsb_report report = { .event = NSB_EVENT_EXITED };
	long status = hook_request(message);

	if (status < 0) {
		send_failure(fd, failed(NSB_STEP_HOOK, status, 0));
		return;
	}
	report.status = (int32_t)status;
	(void)send_report(fd, &report, -1, 0);
}

/* False: nobody is there any more. */
bool serve_until_go(int fd)
{
	struct message message;

	for (;;) {
		long n = receive_on(fd, &message);
		uint32_t kind =
			n > 0 ? ((const struct nsb_header *)(const void *)message.bytes)->kind : 0;

		if (kind == NSB_REQUEST_HOOK)
			serve_hook(fd, &message);
		message_release(&message);
		if (kind == NSB_REQUEST_GO)
			return true;
		if (kind != NSB_REQUEST_HOOK)
			return false;
	}
}

long op_sync(struct builder *builder, const struct nsb_op *op)
{
	struct nsb_report report = { .event = NSB_EVENT_SYNC,
				     .index = (uint32_t)(op - builder->op) };

	if (!builder->start)
		return -E_PROTO;
	if (send_report(builder->start->control_fd, &report, -1, 0) < 0 ||
	    !serve_until_go(builder->start->control_fd))
		sys_exit(1);
	return 0;
}
