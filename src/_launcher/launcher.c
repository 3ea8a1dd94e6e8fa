/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command `pycontain-runtime`: becomes the interpreter of the installation that it is part of,
 * isolated and without `site`, which take a third of the time that a script of pip's would.
 *
 * It stands beside the script `pycontain`, whose first line names that interpreter.
 */
#include "init.h"

#ifndef SOURCE_TREE /* of an editable installation */
#define SOURCE_TREE ""
#endif
#define CODE_ARGUMENTS 9 /* python -I -S -X no_debug_ranges -c BOOTSTRAP DIRECTORY SOURCE_TREE */

extern const char bootstrap[]; /* bootstrap.py, by setup.py */

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n\tandq $-16, %rsp\n\tcall launcher_main\n\thlt\n");
#else
__asm__(".text\n.globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tbl launcher_main\n\tbrk #1\n");
#endif

static _Noreturn void give_up(const char *text)
{
	(void)sys_write(2, "pycontain-runtime: ", 19);
	(void)sys_write(2, text, text_length(text));
	(void)sys_write(2, "\n", 1);
	sys_exit(127);
}

/* The directory of this program, symbolic links followed. */
static void find_directory(char *path, size_t size)
{
	long length = sys4(__NR_readlinkat, AT_FDCWD_, "/proc/self/exe", path, size - 1);

	if (length <= 0)
		give_up("/proc is not mounted");
	while (length > 0 && path[length - 1] != '/')
		length--;
	path[length > 1 ? length - 1 : length] = '\0';
}

/* The interpreter in the first line of the script beside us; -1 if it names none. */
static int read_interpreter(const char *script, char *path, size_t size)
{
	long fd = sys_openat(AT_FDCWD_, script, O_RDONLY_ | O_CLOEXEC_, 0);
	long length = fd < 0 ? fd : sys_read((int)fd, path, size - 1);
	long at = 2;

	if (fd >= 0)
		(void)sys_close((int)fd);
	if (length < 4 || path[0] != '#' || path[1] != '!' || path[2] != '/')
		return -1;
	while (at < length && path[at] != '\n' && path[at] != ' ')
		at++;
	if (at == length)
		return -1;
	path[at] = '\0';
	return text_equal(path + 2, "/bin/sh") ? -1 : 0;
}

static void *new_pages(size_t size)
{
	long address = sys_call6(__NR_mmap, 0, (long)size, 3 /* PROT_READ | PROT_WRITE */,
				 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, -1, 0);

	if (sys_failed(address))
		give_up("out of memory");
	return (void *)address;
}

static int run_python(const char *python, const char *directory, long *stack)
{
	long count = stack[0];
	const char **argv = (const char **)(stack + 1);
	const char *const *environment = argv + count + 1;
	const char **whole = new_pages((size_t)(count + CODE_ARGUMENTS) * sizeof *whole);

	whole[0] = python;
	whole[1] = "-I";
	whole[2] = "-S";
	whole[3] = "-X";
	whole[4] = "no_debug_ranges"; /* smaller code */
	whole[5] = "-c";
	whole[6] = bootstrap;
	whole[7] = directory;
	whole[8] = SOURCE_TREE;
	for (long i = 1; i <= count; i++) /* with the NULL at the end */
		whole[CODE_ARGUMENTS - 1 + i] = argv[i];
	return (int)sys3(__NR_execve, python, whole, environment);
}

_Noreturn void launcher_main(long *stack);
_Noreturn void launcher_main(long *stack)
{
	static char directory[PATH_SIZE], path[PATH_SIZE], found[PATH_SIZE];
	const char *end = path + sizeof path;

	find_directory(directory, sizeof directory);
	if (text_append(text_append(path, end, directory), end, "/pycontain") &&
	    read_interpreter(path, found, sizeof found) == 0)
		(void)run_python(found + 2, directory, stack);
	if (text_append(text_append(path, end, directory), end, "/python3"))
		(void)run_python(path, directory, stack);
	give_up("no Python beside this program: it must stay where pip put it");
}
