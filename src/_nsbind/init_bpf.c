// SPDX-License-Identifier: Apache-2.0
/*
 * What a seccomp filter says of a call: the part of classic BPF that our compiler writes, with
 * linux/filter.h's meaning. What is not a program of that kind refuses everything.
 */
#include <linux/seccomp.h>

#include "init.h"

static bool holds(const struct sock_filter *at, uint32_t value)
{
	switch (BPF_OP(at->code)) {
	case BPF_JEQ:
		return value == at->k;
	case BPF_JGT:
		return value > at->k;
	case BPF_JGE:
		return value >= at->k;
	default:
		return value & at->k;
	}
}

/* Returns the verdict; *ret_examined gets a bit for each argument that was loaded on the way to it.
 */
uint32_t filter_decide(const struct sock_filter *program, uint32_t n,
		       const struct seccomp_data *data, uint32_t *ret_examined)
{
	const uint32_t first_arg = offsetof(struct seccomp_data, args) / sizeof(uint32_t);
	uint32_t words[sizeof *data / sizeof(uint32_t)];
	uint32_t value = 0;

	__builtin_memcpy(words, data, sizeof words);
	*ret_examined = 0;
	/* Every jump is forward, so this ends. */
	for (uint64_t i = 0; i < n; i++) {
		const struct sock_filter *at = &program[i];

		switch (at->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (at->k % sizeof *words || at->k >= sizeof words)
				return SECCOMP_RET_KILL_PROCESS;
			value = words[at->k / sizeof *words];
			if (at->k / sizeof *words >= first_arg)
				*ret_examined |= 1u << (at->k / sizeof *words - first_arg) / 2;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			value &= at->k;
			break;
		case BPF_JMP | BPF_JA:
			i += at->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGT | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
		case BPF_JMP | BPF_JSET | BPF_K:
			i += holds(at, value) ? at->jt : at->jf;
			break;
		case BPF_RET | BPF_K:
			return at->k;
		default:
			return SECCOMP_RET_KILL_PROCESS;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}
