/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the kernel share. */
#pragma once

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

enum {
	E_BADF = 9,
	E_NOSPC = 28,
	FDS_MAX = 1024,
	LIVE_MAX = 64,
	MAPS_MAX = 64,
};

/* What a process has done, as bits. */
enum {
	DID_SETRESUID = 1,
	DID_SETRESGID = 2,
	DID_SETGROUPS = 4,
	DID_CAPSET = 8,
	DID_SECCOMP = 16,
	DID_NO_NEW_PRIVS = 32,
	DID_LANDLOCK = 64,
	DID_CHDIR = 128,
	LOST_CLOSE_RANGE = 256, /* close_range(2) was refused: 0 to 2 are what they were */
};

/* FD_HELD: one that may stay open between requests, a listener or a pidfd. */
enum fd_state { FD_CLOSED, FD_OPEN, FD_CLOEXEC, FD_HELD = 4 };

struct fake_process {
	uint8_t fds[FDS_MAX]; /* enum fd_state */
	uint32_t did;
};

struct fake_kernel {
	const uint8_t *front, *back; /* what is left of the input */
	bool obliging;               /* no call fails */
	bool tracing;                /* FUZZ_TRACE=1: show each call */
	uint32_t n_calls, n_messages;

	struct fake_process process; /* PID 1, or a child of vfork(2) until its exec */
	int live[LIVE_MAX];          /* children to wait for */
	uint32_t n_live;
	int next_pid;
	jmp_buf end_of_program, *end_of_child;

	int signal_fd, payload_fd;
	uint32_t fds_at_rest;
	bool handed_over; /* a listener, by a command to PID 1 */
	bool sweeping;    /* without close_range(2), every number is closed */

	struct nsb_setup setup; /* the first message, and the last */
	uint8_t payload[NSB_INLINE_MAX] __attribute__((aligned(8)));
	size_t payload_size;
	uint8_t command[NSB_INLINE_MAX] __attribute__((aligned(8))); /* that PID 1 is to become */

	struct {
		void *base;
		size_t size;
	} maps[MAPS_MAX];
};

extern struct fake_kernel kernel;

/* kernel.c: the input, and memory of the program as AddressSanitizer sees it */
void expect(bool condition, const char *what); /* else abort() */
uint8_t take(void);
size_t take_text(char *to, size_t size);
long refusal(void); /* 0, or a negative errno */
void touch(long address, size_t size);
void touch_text(long address);
void fill(long address, size_t size);

/* kernel_fds.c */
uint32_t count_fds(void);
long use_fd(long fd);
long new_fd(bool close_on_exec);
long open_from(uint64_t least, bool close_on_exec);
long open_held(void);
long open_name(long dirfd, long path, uint64_t flags);
long close_range(uint64_t first, uint64_t flags);
long describe(long fd, long path, struct statx *stat);
long read_link(long dirfd, long path, char *to, size_t size);
long pair_sockets(int32_t *pair);
long write_bytes(long fd, long address, size_t size);
long call_with_fd(long number, const long *a);

/* kernel_messages.c */
struct header;
bool becoming(void); /* PID 1 is to become its command */
long accept_caller(void);
long receive_from(long fd, struct header *header);
long send_message(long fd, const struct header *header);

/* kernel_processes.c */
struct rusage;
long wait_for(int pid, int32_t *status, struct rusage *usage);
long execute(long path, long arguments, long environment, bool of_command);
long restrict_process(long number, const long *a);
_Noreturn void end(void);
