/* SPDX-License-Identifier: Apache-2.0 */
/* Let a program decide about device nodes in a v2 control group (cgroup-v2.rst, "Device
 * controller"; bpf(2)). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api.h"

static int call(enum bpf_cmd command, union bpf_attr *attr)
{
	long ret = syscall(SYS_bpf, command, attr, sizeof *attr);

	return ret < 0 ? -errno : (int)ret;
}

static int load(const void *instructions, uint32_t n)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.expected_attach_type = BPF_CGROUP_DEVICE;
	attr.insns = (uintptr_t)instructions;
	attr.insn_cnt = n;
	attr.license = (uintptr_t)"Apache-2.0";
	return call(BPF_PROG_LOAD, &attr);
}

int nsb_cgroup_device(int cgroup_fd, const void *instructions, uint32_t n)
{
	union bpf_attr attr;
	int program = load(instructions, n);
	int err;

	if (program < 0)
		return program;
	memset(&attr, 0, sizeof attr);
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	/* Besides any of systemd's; all of them have to agree. */
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	err = call(BPF_PROG_ATTACH, &attr);
	close(program);
	return err;
}
