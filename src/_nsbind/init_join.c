/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper enters namespaces before it clones. It shares no memory with the caller, so who is there
 * already finds nothing in it.
 */
#include "init.h"

/*
 * First with the privileges of the caller, then the user namespace, then what only its root may
 * enter. None of the type `without`. Returns 0 or a negative errno; *ret_index: of which.
 */
long join_namespaces(const int *fds, const uint32_t *types, uint32_t n, uint32_t without,
		     uint32_t *ret_index)
{
	bool joined[NSB_JOINS_MAX] = { false };

	for (int pass = 0; pass < 3; pass++) {
		for (uint32_t i = 0; i < n; i++) {
			bool user = types[i] == CLONE_NEWUSER;
			long err;

			if (joined[i] || types[i] == without || user != (pass == 1))
				continue;
			err = sys2(__NR_setns, fds[i], types[i]);
			joined[i] = err >= 0;
			*ret_index = i;
			if (err < 0 && (pass || err != -E_PERM))
				return err;
		}
	}
	return 0;
}
