/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of memory that all processes of a fault build share with the test that drives them: it
 * counts their system calls, and its rules say what becomes of some of them. tests/_faults/page.py
 * has the same layout.
 */
#pragma once

#include <stdint.h>

enum {
	FAULT_FD = 999, /* where PID 1 finds the page */
	FAULT_CALLS_MAX = 8192,
	FAULT_RULES_MAX = 4,
};

/* Who calls. A sandbox starts with CHILD, which executes INIT. */
enum fault_role {
	FAULT_PARENT,  /* the core's part of the caller */
	FAULT_HELPER,  /* its clones in the caller's PID namespace */
	FAULT_CHILD,   /* PID 1 before its exec */
	FAULT_INIT,    /* PID 1 */
	FAULT_COMMAND, /* a command before its exec */
	FAULT_ROLES
};

enum fault_action {
	FAULT_FAIL, /* return err; what close(2) names is closed all the same, as the kernel does */
	FAULT_PAUSE, /* wait until somebody sets released: the moment to kill the caller */
	FAULT_DIE,   /* end at once */
};

struct fault_rule {
	uint32_t role;
	uint32_t n; /* which of the role's calls, counted from 0 */
	uint32_t action;
	int32_t err;
};

struct fault_call {
	uint32_t role;
	uint32_t n;
	int64_t number;
	int64_t a, b;
	uint32_t hit; /* 1: a rule was applied */
	uint32_t spare;
};

#define FAULT_MARK "pycontain faults"

struct fault_page {
	char mark[24]; /* FAULT_MARK, so that PID 1 takes no other file for the page */
	uint32_t enabled;
	int32_t parent_pid;
	uint32_t paused;
	uint32_t released;
	uint32_t counts[FAULT_ROLES];
	uint32_t n_rules;
	struct fault_rule rules[FAULT_RULES_MAX];
	uint32_t n_calls;
	uint32_t spare;
	struct fault_call calls[FAULT_CALLS_MAX];
};
