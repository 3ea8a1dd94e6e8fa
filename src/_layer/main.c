/* SPDX-License-Identifier: Apache-2.0 */
/* layer VERB NAME=NUMBER... */
#include "layer.h"

struct option {
	const char *name;
	uint64_t *value;
};

static const struct option known[] = {
	{ "entries=", &options.entries }, { "bytes=", &options.bytes },
	{ "header=", &options.header },   { "path=", &options.path },
	{ "xattrs=", &options.xattrs },   { "xattr=", &options.xattr },
	{ "memory=", &options.memory },   { "lowers=", &options.lowers },
	{ "strict=", &options.strict },   { "squash=", &options.squash },
	{ "sync=", &options.sync },       { "device=", &options.device },
	{ "inode=", &options.inode },     { "overlay=", &options.overlay },
	{ "root=", &options.root },       { "clamp=", &options.clamp },
	{ "handed=", &options.handed },
};

static void take_option(const char *text)
{
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		const char *digits = text + text_length(known[i].name);
		uint64_t value = 0;

		if (!starts_with(text, known[i].name))
			continue;
		for (; *digits >= '0' && *digits <= '9'; digits++)
			value = value * 10 + (uint64_t)(*digits - '0');
		if (*digits)
			break;
		*known[i].value = value;
		return;
	}
	fail("option", 0, text);
}

/* The stack at entry: argc, argv, NULL (System V ABI). */
_Noreturn void layer_main(const long *stack);
_Noreturn void layer_main(const long *stack)
{
	long argc = stack[0];
	const char *const *argv = (const void *)(stack + 1);
	const char *verb = argc > 1 ? argv[1] : "";

	(void)sys1(__NR_umask, 0);
	for (long i = 2; i < argc; i++)
		take_option(argv[i]);
	if (options.path > PATH_SIZE)
		options.path = PATH_SIZE;
	if (text_equal(verb, "extract")) {
		extract();
	} else if (text_equal(verb, "index")) {
		options.index = 1;
		extract();
		index_write();
	} else if (text_equal(verb, "pack")) {
		pack();
	} else if (text_equal(verb, "changes")) {
		changes();
	} else if (text_equal(verb, "remove")) {
		tree_open(false);
		directory_empty(root_fd);
	} else {
		fail("option", 0, verb);
	}
	report_done();
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n\tandq $-16, %rsp\n\tcall layer_main\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tbl layer_main\n\tbrk #1\n");
#endif
