/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel for fuzzing programs without libc: it answers their system calls as the input says, and
 * ends the run by abort() when one does what no program of ours may do.
 *
 * An input is read from both ends. From the front come messages for recvmsg(2): 2 bytes of size, 1
 * of descriptors, 1 with the bits 1 for a message that travels in a memfd and 2 for one that may lie
 * about its size, then the message. From the back comes a byte for each call that can fail or has
 * something to tell; where none are left, calls succeed and files are empty.
 */
#pragma once

#include "init.h"

/* Run the program until it ends, with an input of which nothing is remembered by the next run.
 * obliging_at_first: no call of the set-up fails. */
void kernel_run(void (*program)(void), const uint8_t *data, size_t size, bool obliging_at_first);
