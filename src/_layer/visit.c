/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that are still to be looked at: a stack, so that no tree is too deep. */
#include "layer.h"

static struct region waiting;

/* Behind its path, which is `size` bytes with the NUL. */
struct waiting {
	uint64_t mark, above, size;
};

static void push(const char *path, size_t length, uint64_t mark, uint64_t above)
{
	struct waiting item = { mark, above, length + 1 };
	char *at = region_add(&waiting, item.size + sizeof item);

	memcpy(at, path, item.size);
	memcpy(at + item.size, &item, sizeof item);
}

bool visit_later(const struct visit *directory, const char *name, uint64_t mark, uint64_t above)
{
	static char path[PATH_SIZE];
	size_t length = 1;

	if (directory) {
		memcpy(path, directory->path, directory->length + 1);
		length = path_add(path, directory->length, name, text_length(name));
	}
	if (length)
		push(directory ? path : "/", length, mark, above);
	return length;
}

bool visit_next(struct visit *ret)
{
	struct waiting item;

	if (waiting.used == 0)
		return false;
	memcpy(&item, waiting.base + waiting.used - sizeof item, sizeof item);
	waiting.used -= item.size + sizeof item;
	ret->mark = item.mark;
	ret->above = item.above;
	ret->length = item.size - 1;
	memcpy(ret->path, waiting.base + waiting.used, item.size);
	return true;
}
