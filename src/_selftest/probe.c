/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   probe calls PROGRAM...    programs of system calls (probe_calls.c)
 *   probe apart PROGRAM...    the same, each in namespaces of its own, where root can harm nobody
 *   probe reach PID           what can be had of another process
 *   probe signals PID         each signal by each call
 *   probe show PATH...        files and links
 *   probe objects             every object that a process in /proc stands for
 *   probe write DIRECTORY     the files below that open for writing
 *   probe swap A B            exchanges two names without end
 *   probe pause               says that it is there and sleeps
 *   probe hoard inotify|queues|signals|processes   takes until no more is given, and sleeps
 */
#include "probe.h"

static int swap(const char *a, const char *b)
{
	tell("ready", 0);
	for (;;) {
		long result =
			sys5(__NR_renameat2, AT_FDCWD_, a, AT_FDCWD_, b, 2 /* RENAME_EXCHANGE */);

		if (result < 0) {
			tell("renameat2", result);
			return 1;
		}
	}
}

static _Noreturn void pause_for_ever(void)
{
	tell("ready", 0);
	for (;;)
		(void)sys4(__NR_ppoll, 0, 0, 0, 0);
}

static const char *queue_name(uint64_t number)
{
	static char name[32];

	number_append(text_append(name, name + sizeof name, "hoard-"), name + sizeof name, number);
	return name;
}

static long take_one(const char *what, uint64_t number)
{
	int info[32] = { 0, 0, -1 /* SI_QUEUE */ };
	uint64_t all = ~0ull;
	long result;

	if (text_equal(what, "inotify"))
		return sys1(__NR_inotify_init1, 0);
	if (text_equal(what, "queues"))
		return sys4(__NR_mq_open, queue_name(number), O_RDWR_ | O_CREAT_, 0600, 0);
	if (text_equal(what, "signals")) {
		(void)sys4(__NR_rt_sigprocmask, 2, &all, 0, sizeof all);
		return sys3(__NR_rt_sigqueueinfo, sys0(__NR_getpid), 40, info);
	}
	result = sys_call6(__NR_clone, SIG_CHLD, 0, 0, 0, 0, 0);
	if (result == 0)
		for (;;)
			(void)sys4(__NR_ppoll, 0, 0, 0, 0);
	return result;
}

static _Noreturn void hoard(const char *what)
{
	uint64_t number = 0;

	while (number < 100000 && take_one(what, number) >= 0)
		number++;
	tell("ready", (int64_t)number);
	for (;;)
		(void)sys4(__NR_ppoll, 0, 0, 0, 0);
}

static int to_number(const char *text)
{
	int value = 0;

	while (*text >= '0' && *text <= '9')
		value = value * 10 + (*text++ - '0');
	return value;
}

static int dispatch(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *first = argc > 2 ? argv[2] : "1";

	if (text_equal(what, "calls") || text_equal(what, "apart"))
		return run_programs(argv + 2, text_equal(what, "apart"));
	if (text_equal(what, "reach"))
		return attack_process(first, to_number(first));
	if (text_equal(what, "signals"))
		return attack_with_signals(to_number(first));
	if (text_equal(what, "show"))
		return show_files(argv + 2);
	if (text_equal(what, "objects"))
		return show_objects();
	if (text_equal(what, "write"))
		return try_to_write(first);
	if (text_equal(what, "pause"))
		pause_for_ever();
	if (text_equal(what, "hoard"))
		hoard(first);
	if (text_equal(what, "swap") && argc == 4)
		return swap(argv[2], argv[3]);
	return 2;
}

/* The stack at entry: argc, argv, NULL (System V ABI). */
_Noreturn void probe_main(long *stack);
_Noreturn void probe_main(long *stack)
{
	sys_exit(dispatch((int)stack[0], (char **)(stack + 1)));
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n\tandq $-16, %rsp\n\tcall probe_main\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tbl probe_main\n\tbrk #1\n");
#endif
