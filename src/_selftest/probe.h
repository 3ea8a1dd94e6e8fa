/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What attacks a sandbox from inside: a static program without libc, so that nothing but the kernel
 * stands between an attempt and its answer. It knows no policy. It prints one JSON object a line;
 * system calls are told by what the kernel returned, a negative errno on failure.
 */
#pragma once

#include "init.h" /* strings without libc */

/* probe_out.c */
void out_text(const char *name, const char *bytes, size_t size);
void out_number(const char *name, int64_t value);
void out_open(const char *name); /* a list of numbers */
void out_element(int64_t value);
void out_close(void);
void out_line(void);
void tell(const char *what, int64_t result); /* a whole line */

/* probe_calls.c */
int run_programs(char **programs, bool apart);

/* probe_attacks.c */
int attack_process(const char *pid, int pid_number);
int attack_with_signals(int pid);
int show_files(char **paths);
int show_objects(void);
int try_to_write(const char *directory);
