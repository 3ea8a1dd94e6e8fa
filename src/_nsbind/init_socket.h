/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's structs of sendmsg(2) and recvmsg(2), for who goes without libc. */
#pragma once

#include "syscalls.h"

enum {
	SOL_SOCKET_ = 1,
	SCM_RIGHTS_ = 1,
	MSG_CTRUNC_ = 0x8,
	MSG_NOSIGNAL_ = 0x4000,
	MSG_CMSG_CLOEXEC_ = 0x40000000,
};

struct iovec {
	void *base;
	size_t size;
};

struct msghdr {
	void *name;
	uint32_t name_size;
	struct iovec *iov;
	size_t n_iov;
	void *control;
	size_t control_size;
	uint32_t flags;
};

struct cmsghdr {
	size_t size;
	int32_t level;
	int32_t type;
};

/* One descriptor on its way. */
struct attached {
	struct cmsghdr header;
	int32_t fd;
	uint32_t padding;
};
