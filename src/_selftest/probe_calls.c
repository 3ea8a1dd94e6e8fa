/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of system calls. A program is one argument: calls separated by `;`, each a list of words:
 *
 *   [?][+][i]NUMBER WORD...   `?`: its failure does not end the program; `+`: it is a fork, and the
 *                             program goes on in the child; `i`: the i386 call, int 0x80
 *
 *   123, -1, 0x7f    a number
 *   $2               the result of the third call
 *   @4096            a pointer to so many zero bytes
 *   =68690a          a pointer to these bytes and a NUL
 *   =0100>8=68690a   the same, with a pointer to other bytes at an offset
 *
 * Each program runs in a child of its own and ends at the first call that fails.
 */
#include "probe.h"

enum { CALLS_MAX = 32, ARENA_SIZE = 1 << 16, SECONDS = 5 };

#define CLONE_NEW_      0x7e020080ul /* all eight */
#define MS_REC_PRIVATE_ 0x44000ul

/* Shared with the child: what it has come to. */
struct progress {
	int64_t results[CALLS_MAX];
	uint32_t n;
};

static char arena[ARENA_SIZE];
static size_t arena_used;

static char *space(size_t size)
{
	char *at = arena + arena_used;

	if (arena_used + size + 8 > sizeof arena)
		sys_exit(4);
	arena_used += (size + 15) & ~15ul;
	return at;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint64_t number(const char **at)
{
	bool negative = **at == '-';
	uint64_t value = 0, base = 10;

	*at += negative;
	if ((*at)[0] == '0' && (*at)[1] == 'x') {
		*at += 2;
		base = 16;
	}
	for (int d; (d = digit(**at)) >= 0 && (uint64_t)d < base; ++*at)
		value = value * base + (uint64_t)d;
	return negative ? -value : value;
}

static char *bytes(const char **at)
{
	size_t n = 0;
	char *to;

	while (digit((*at)[2 * n]) >= 0 && digit((*at)[2 * n + 1]) >= 0)
		n++;
	to = space(n + 1);
	for (size_t i = 0; i < n; i++, *at += 2)
		to[i] = (char)(digit((*at)[0]) << 4 | digit((*at)[1]));
	return to;
}

static uint64_t word(const char **at, const struct progress *progress)
{
	char *start;
	uint64_t index;

	switch (**at) {
	case '$':
		++*at;
		index = number(at);
		return index < progress->n ? (uint64_t)progress->results[index] : 0;
	case '@':
		++*at;
		return (uint64_t)(uintptr_t)space(number(at));
	case '=':
		++*at;
		start = bytes(at);
		while (**at == '>') {
			char **slot;

			++*at;
			slot = (char **)(void *)(start + number(at));
			++*at; /* = */
			*slot = bytes(at);
		}
		return (uint64_t)(uintptr_t)start;
	default:
		return number(at);
	}
}

static int64_t call_i386(const uint64_t *words)
{
#if defined(__x86_64__)
	int32_t result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(words[0]), "b"(words[1]), "c"(words[2]), "d"(words[3]),
			   "S"(words[4]), "D"(words[5])
			 : "r8", "r9", "r10", "r11", "memory");
	return result;
#else
	(void)words;
	return -E_NOSYS;
#endif
}

/* Wait for the child in which the program goes on, and end as it ended. */
static _Noreturn void end_with(long pid)
{
	int status = 0;

	if (sys4(__NR_wait4, pid, &status, 0x40000000 /* __WALL */, 0) != pid)
		sys_exit(5);
	if (status & 0x7f)
		(void)sys2(__NR_kill, sys0(__NR_getpid), status & 0x7f);
	sys_exit(status >> 8 & 0xff);
}

static void run(const char *at, struct progress *progress)
{
	while (*at && progress->n < CALLS_MAX) {
		uint64_t words[7] = { 0 };
		bool optional = *at == '?', fork, i386;
		long self = sys0(__NR_getpid);
		int64_t result;

		at += optional;
		fork = *at == '+';
		at += fork;
		i386 = *at == 'i';
		at += i386;
		for (size_t i = 0; i < 7 && *at && *at != ';'; i++) {
			words[i] = word(&at, progress);
			at += *at == ' ';
		}
		at += *at == ';';
		result = i386 ? call_i386(words)
			      : sys_call6((long)words[0], (long)words[1], (long)words[2],
					  (long)words[3], (long)words[4], (long)words[5],
					  (long)words[6]);
		if (fork && result > 0)
			end_with(result);
		if (fork && result == 0)
			(void)sys_prctl(1 /* PR_SET_PDEATHSIG */, SIG_KILL, 0, 0, 0);
		else if (sys0(__NR_getpid) != self)
			sys_exit(0); /* the call was a fork that nothing follows */
		progress->results[progress->n++] = result;
		if (result < 0 && result > -4096 && !optional)
			return;
	}
}

static int write_to(const char *path, const char *text)
{
	long fd = sys_openat(AT_FDCWD_, path, O_WRONLY_, 0);

	return fd < 0 || sys_write((int)fd, text, text_length(text)) < 0 ? -1 : 0;
}

/* Namespaces in which a program can do no harm, with all capabilities. Returns a negative errno. */
static long leave_the_host(void)
{
	char map[64], *end;
	uint64_t uid = (uint64_t)sys0(__NR_geteuid), gid = (uint64_t)sys0(__NR_getegid);
	long result = sys1(__NR_unshare, CLONE_NEW_);

	if (result < 0)
		return result;
	end = number_append(text_append(map, map + sizeof map, "0 "), map + sizeof map, uid);
	text_append(end, map + sizeof map, " 1");
	if (write_to("/proc/self/uid_map", map) || write_to("/proc/self/setgroups", "deny"))
		return -E_PERM;
	end = number_append(text_append(map, map + sizeof map, "0 "), map + sizeof map, gid);
	text_append(end, map + sizeof map, " 1");
	if (write_to("/proc/self/gid_map", map))
		return -E_PERM;
	return sys_mount("none", "/", 0, MS_REC_PRIVATE_, 0);
}

/* Those of processes and of time are for children only. */
static void follow_into_the_namespaces(void)
{
	long pid = sys_call6(__NR_clone, SIG_CHLD, 0, 0, 0, 0, 0);
	int status = 0;

	if (pid == 0) {
		(void)sys_prctl(1 /* PR_SET_PDEATHSIG */, SIG_KILL, 0, 0, 0);
		return;
	}
	if (pid < 0 || sys4(__NR_wait4, pid, &status, 0x40000000 /* __WALL */, 0) != pid || status)
		sys_exit(5);
	sys_exit(0);
}

static _Noreturn void child(const char *program, bool apart, struct progress *progress)
{
	/* struct itimerval: the interval, then the time to the signal. */
	int64_t timer[4] = { 0, 0, SECONDS, 0 };

	(void)sys3(__NR_setitimer, 0, timer, 0);
	if (apart) {
		long result = leave_the_host();

		if (result < 0)
			sys_exit(5);
		follow_into_the_namespaces();
	}
	run(program, progress);
	sys_exit(0);
}

int run_programs(char **programs, bool apart)
{
	struct progress *progress;
	/* PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS */
	long shared = sys_call6(__NR_mmap, 0, sizeof *progress, 3, 0x21, -1, 0);

	if (shared < 0)
		return 2;
	progress = (struct progress *)shared;
	for (int64_t index = 0; programs[index]; index++) {
		int status = 0;
		long pid;

		*progress = (struct progress){ 0 };
		pid = sys_call6(__NR_clone, SIG_CHLD, 0, 0, 0, 0, 0);
		if (pid == 0)
			child(programs[index], apart, progress);
		if (pid < 0 || sys4(__NR_wait4, pid, &status, 0x40000000 /* __WALL */, 0) != pid)
			return 2;
		out_number("index", index);
		out_open("results");
		for (uint32_t i = 0; i < progress->n; i++)
			out_element(progress->results[i]);
		out_close();
		out_number("signal", status & 0x7f);
		out_number("status", status >> 8 & 0xff);
		out_line();
	}
	return 0;
}
