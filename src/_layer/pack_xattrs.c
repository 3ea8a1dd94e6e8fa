/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes of what is packed: those that another machine has a use for. */
#include "layer.h"

enum {
	LIST_SIZE = 65536,
	CAPABILITY_REVISION = 0xff000000,
	CAPABILITY_2 = 0x02000000,
	CAPABILITY_3 = 0x03000000,
	CAPABILITY_2_SIZE = 20,
};

static char list[LIST_SIZE];
static char value[XATTR_VALUE_MAX];
static struct region pointers;

static bool is_wanted(const char *name)
{
	/* Overlayfs's own; what was escaped for its sake was somebody else's. */
	if (options.overlay && starts_with(name, OVERLAY))
		return starts_with(name, OVERLAY "overlay.");
	return starts_with(name, "user.") || starts_with(name, "system.posix_acl_") ||
	       text_equal(name, "security.capability");
}

/* Of a user namespace that is not this one the kernel shows the third form (capabilities(7)). */
static size_t second_form(size_t size)
{
	uint32_t magic;

	memcpy(&magic, value, sizeof magic);
	if (size <= CAPABILITY_2_SIZE || (magic & CAPABILITY_REVISION) != CAPABILITY_3)
		return size;
	magic = (magic & ~(uint32_t)CAPABILITY_REVISION) | CAPABILITY_2;
	memcpy(value, &magic, sizeof magic);
	return CAPABILITY_2_SIZE;
}

static void add(int fd, const char *name)
{
	long n = sys4(__NR_fgetxattr, fd, name, value, sizeof value);
	size_t size = n < 0 ? 0 : (size_t)n;

	if (n == -E_NODATA)
		return;
	if (n < 0)
		fail("xattr", n, name);
	if (size > options.xattr)
		fail_limit("xattr");
	if (text_equal(name, "security.capability"))
		size = second_form(size);
	for (const char *at = name; *at; at++)
		if (*at == '=')
			size = 0;
	if (size == 0) { /* to pax, a record without a value is none, and "=" ends a key */
		warn("xattr-unstorable", 0);
		return;
	}
	if (options.overlay && starts_with(name, OVERLAY))
		pax_record("SCHILY.xattr." OVERLAY, name + sizeof(OVERLAY "overlay.") - 1, value,
			   size);
	else
		pax_record("SCHILY.xattr.", name, value, size);
}

/* An unescaped name sorts as the escaped one: what they begin with is the same. */
void pack_xattrs(int fd)
{
	long found = sys3(__NR_flistxattr, fd, list, sizeof list);
	size_t size = found < 0 ? 0 : (size_t)found;
	const char **names;
	size_t n = 0;

	if (found < 0 && found != -E_OPNOTSUPP)
		fail("os", found, "listxattr");
	region_empty(&pointers);
	for (const char *name = list; name < list + size; name += text_length(name) + 1)
		if (is_wanted(name)) {
			memcpy(region_add(&pointers, sizeof name), &name, sizeof name);
			n++;
		}
	if (n > options.xattrs)
		fail_limit("xattrs");
	names = (const char **)(void *)pointers.base;
	text_sort(names, n);
	for (size_t i = 0; i < n; i++)
		add(fd, names[i]);
}

/* The first byte of one of overlayfs's own, '\0' without it. */
char overlay_flag(int fd, const char *name)
{
	char flag[XATTR_NAME_SIZE] = { 0 };

	if (options.overlay)
		(void)sys4(__NR_fgetxattr, fd, name, flag, sizeof flag - 1);
	return flag[0];
}
