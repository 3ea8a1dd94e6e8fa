/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_parts.h"

#include <sys/resource.h>

enum { NEW_LISTENER = 1 << 3 }; /* SECCOMP_FILTER_FLAG_NEW_LISTENER */

long wait_for(int pid, int32_t *status, struct rusage *usage)
{
	uint32_t i = 0;

	if (pid == -1 && (!kernel.n_live || take() % 2))
		return kernel.n_live ? 0 : -E_CHILD;
	if (pid == -1)
		pid = kernel.live[take() % kernel.n_live];
	while (i < kernel.n_live && kernel.live[i] != pid)
		i++;
	expect(i < kernel.n_live, "a process is waited for that is not there");
	kernel.live[i] = kernel.live[--kernel.n_live];
	if (status)
		*status = take() << 8 | take() % 16;
	if (usage)
		fill((long)(uintptr_t)usage, sizeof *usage);
	return pid;
}

/* vfork(2): the child has the caller's memory, and descriptors of its own until it ends. */
static long run_child(uint64_t flags, int32_t *pidfd, int (*function)(void *), void *argument)
{
	struct fake_process parent = kernel.process;
	bool fails = kernel.n_live == LIVE_MAX;
	jmp_buf here, *outer = kernel.end_of_child;

	expect(flags & CLONE_VM, "a clone that copies memory");
	if (fails)
		return -E_AGAIN;
	kernel.process.did = 0;
	kernel.end_of_child = &here;
	if (!setjmp(here))
		(void)function(argument);
	kernel.end_of_child = outer;
	if (flags & CLONE_FILES)
		memcpy(parent.fds, kernel.process.fds, sizeof parent.fds);
	kernel.process = parent;
	if (flags & CLONE_PIDFD)
		*pidfd = (int32_t)open_from(0, true);
	if (!(flags & CLONE_PARENT))
		kernel.live[kernel.n_live++] = (int)kernel.next_pid;
	return kernel.next_pid++;
}

long sys_clone3(struct sys_clone_args *args, size_t size, int (*fn)(void *), void *arg)
{
	long err = refusal();

	touch((long)(uintptr_t)args, size);
	expect(args->stack && args->stack_size, "a clone without a stack");
	if (!err && args->flags & CLONE_INTO_CGROUP)
		err = use_fd((long)args->cgroup);
	return err ? err : run_child(args->flags, (int32_t *)(uintptr_t)args->pidfd, fn, arg);
}

long sys_clone2(uint64_t flags, void *stack_top, int32_t *ptid, int (*fn)(void *), void *arg)
{
	long err = refusal();

	expect(stack_top, "a clone without a stack");
	return err ? err : run_child(flags, ptid, fn, arg);
}

/* Numbers that the caller asked for, and no other, are inherited. */
static void check_inherited(const struct nsb_exec *request, const uint32_t *targets)
{
	for (uint32_t fd = 0; fd < FDS_MAX; fd++) {
		bool wanted = fd <= 2 && (request->flags & NSB_EXEC_PTY ||
					  kernel.process.did & LOST_CLOSE_RANGE);

		for (uint32_t i = 0; i < request->n_fds; i++)
			wanted |= targets[i] == fd;
		expect(wanted || kernel.process.fds[fd] != FD_OPEN, "a descriptor goes in unasked");
		expect(kernel.process.did & LOST_CLOSE_RANGE || !wanted ||
			       kernel.process.fds[fd] == FD_OPEN,
		       "a descriptor is missing");
	}
}

/* No restriction of the set-up is missing at the exec. */
static void check_command(void)
{
	struct nsb_exec request;
	uint32_t targets[NSB_FDS_MAX];
	uint32_t wanted = DID_SETRESUID | DID_SETRESGID | DID_CAPSET | DID_CHDIR;
	const uint8_t *message = becoming() ? kernel.command : kernel.payload;

	memcpy(&request, message, sizeof request);
	memcpy(targets, message + request.fds, request.n_fds * sizeof *targets);
	check_inherited(&request, targets);
	wanted |= kernel.setup.drop_groups ? DID_SETGROUPS : 0;
	wanted |= kernel.setup.n_seccomp ? DID_SECCOMP : 0;
	wanted |= kernel.setup.no_new_privs ? DID_NO_NEW_PRIVS : 0;
	wanted |= kernel.setup.landlock_handled ? DID_LANDLOCK : 0;
	expect((kernel.process.did & wanted) == wanted, "a command starts without a restriction");
}

static void touch_list(long address)
{
	const char *const *list = (const char *const *)(uintptr_t)address;

	for (; *list; list++)
		touch_text((long)(uintptr_t)*list);
}

_Noreturn void end(void)
{
	if (kernel.end_of_child)
		longjmp(*kernel.end_of_child, 1);
	longjmp(kernel.end_of_program, 1);
}

long execute(long path, long arguments, long environment, bool of_command)
{
	long err = refusal();

	expect(kernel.end_of_child || becoming(), "PID 1 executes another program");
	touch_text(path);
	touch_list(arguments);
	touch_list(environment);
	if (err)
		return err;
	if (of_command && (!kernel.end_of_child || !becoming())) /* else it is a hook */
		check_command();
	end();
}

/* Calls that restrict the process, with what they point to. */
long restrict_process(long number, const long *a)
{
	const struct {
		unsigned short size;
		struct sock_filter *filter;
	} *program = (const void *)(uintptr_t)a[2];
	uint32_t did = 0;
	long err;

	if (number == __NR_setgroups) {
		touch(a[1], (size_t)a[0] * sizeof(uint32_t));
		did = DID_SETGROUPS;
	} else if (number == __NR_seccomp) {
		touch((long)(uintptr_t)program->filter, program->size * sizeof *program->filter);
		did = program->size ? DID_SECCOMP : 0;
	} else if (number == __NR_prctl) {
		if (a[0] == PR_CAPBSET_DROP_)
			return 0;
		did = a[0] == PR_SET_NO_NEW_PRIVS_ ? DID_NO_NEW_PRIVS : 0;
	} else {
		did = number == __NR_setresuid                ? DID_SETRESUID
		      : number == __NR_setresgid              ? DID_SETRESGID
		      : number == __NR_capset                 ? DID_CAPSET
		      : number == __NR_fchdir                 ? DID_CHDIR
		      : number == __NR_landlock_restrict_self ? DID_LANDLOCK
							      : 0;
	}
	err = refusal();
	if (err)
		return err;
	kernel.process.did |= did;
	return number == __NR_seccomp && a[1] & NEW_LISTENER ? open_from(0, true) : 0;
}
