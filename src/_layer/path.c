/* SPDX-License-Identifier: Apache-2.0 */
/* Names of an archive become clean paths: "/", or "/a/b" without empty, "." and ".." parts. */
#include "layer.h"

/* Returns whether ".." was to lead out of the root, where it stays in it instead. */
enum escape path_clean(const char *name, size_t size, char ret[PATH_SIZE], size_t *ret_length)
{
	enum escape escape = ESCAPE_NONE;
	size_t length = 0, part;

	if (size == 0)
		fail("empty-name", 0, NULL);
	for (size_t at = 0; at < size; at += part + 1) {
		const char *text = name + at;

		for (part = 0; at + part < size && text[part] != '/'; part++)
			if (text[part] == '\0')
				fail("nul-in-name", 0, NULL);
		if (part == 0 || (part == 1 && text[0] == '.'))
			continue;
		if (part == 2 && text[0] == '.' && text[1] == '.') {
			if (length == 0)
				escape = ESCAPE_CLAMPED;
			while (length && ret[--length] != '/')
				;
			continue;
		}
		if (length + 1 + part >= options.path)
			fail_limit("path");
		ret[length] = '/';
		memcpy(ret + length + 1, text, part);
		length += 1 + part;
	}
	if (length == 0)
		ret[length++] = '/';
	ret[length] = '\0';
	*ret_length = length;
	return escape;
}

const char *base_of(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/')
			base = path + 1;
	return base;
}

/* Of "/a/b" 2, of "/a" 1: the length of "/a" and "/". */
size_t parent_length(const char *path)
{
	size_t length = (size_t)(base_of(path) - path);

	return length > 1 ? length - 1 : length;
}

/* "/" and "a" give "/a", "/a" and "b" give "/a/b". Returns the new length, 0 if it is too long. */
size_t path_add(char path[PATH_SIZE], size_t length, const char *name, size_t name_length)
{
	if (length == 1)
		length = 0;
	if (length + 1 + name_length >= PATH_SIZE)
		return 0;
	path[length] = '/';
	memcpy(path + length + 1, name, name_length);
	length += 1 + name_length;
	path[length] = '\0';
	return length;
}
