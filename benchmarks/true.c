/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary static program that says "ok" and succeeds. */
#include <unistd.h>

int main(void)
{
	return write(STDOUT_FILENO, "ok\n", 3) != 3;
}
