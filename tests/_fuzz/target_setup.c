/* SPDX-License-Identifier: Apache-2.0 */
/* The set-up message, its steps, and what commands there are afterwards. */
#include "kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kernel_run(init_main, data, size, false);
	return 0;
}
