/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a sandbox whose commands have every kind of restriction, and are audited where the
 * first byte is odd, and traced where its second bit is set. */
#include "kernel.h"

#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan {
		struct nsb_setup setup;
		struct nsb_rlimit rlimits[2];
		struct sock_filter seccomp[4], audit[1];
		char attach_at[8], landlock_paths[8];
	} plan = {
		.setup = {
			.header = { .kind = NSB_REQUEST_SETUP, .size = sizeof plan },
			.ops = sizeof(struct nsb_header),
			.attach_at = offsetof(struct plan, attach_at),
			.n_rlimits = 2,
			.rlimits = offsetof(struct plan, rlimits),
			.n_seccomp = 4,
			.seccomp = offsetof(struct plan, seccomp),
			.n_audit = size ? data[0] & 1 : 0,
			.audit = offsetof(struct plan, audit),
			.trace = size ? data[0] >> 1 & 1 : 0,
			.no_new_privs = 1,
			.n_landlock_paths = 2,
			.landlock_paths = offsetof(struct plan, landlock_paths),
			.landlock_handled = 1,
			.drop_groups = 1,
			.securebits = 1,
			.ambient = 3,
		},
		.seccomp = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), /* the first argument */
			     BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1),
			     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
			     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1) },
		.audit = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) },
		.attach_at = "/tmp",
		.landlock_paths = "/a\0/b",
	};
	const uint8_t start[] = { sizeof plan & 255, sizeof plan >> 8, 0, 0 };
	uint8_t *whole;

	if (!size)
		return -1;
	data++;
	size--;
	whole = malloc(sizeof start + sizeof plan + size);
	if (!whole)
		return -1;
	memcpy(whole, start, sizeof start);
	memcpy(whole + sizeof start, &plan, sizeof plan);
	memcpy(whole + sizeof start + sizeof plan, data, size);
	kernel_run(init_main, whole, sizeof start + sizeof plan + size, true);
	free(whole);
	return 0;
}
