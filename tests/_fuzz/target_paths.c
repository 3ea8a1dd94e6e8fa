/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names below a root without openat2(2), in a small tree that the input describes: the walk finds
 * what a plain model finds, follows no link, leaves the root nowhere, makes nothing on a file system
 * that is not ours and keeps no descriptor.
 *
 * Input: an operation, a number of nodes, a byte for each, the name.
 */
#include "init.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 24, FDS_MAX = 64, GONE = -1, OURS = 1 };
enum type { DIRECTORY, DIRECTORY_FOREIGN, FILE_REGULAR, SYMLINK };

static struct node {
	enum type type;
	int parent;
	char name[2];
} nodes[NODES_MAX];
static int n_nodes;
static struct {
	bool open;
	int node;
} fds[FDS_MAX];

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "paths: %s\n", what);
	abort();
}

static bool is_directory(int node)
{
	return nodes[node].type == DIRECTORY || nodes[node].type == DIRECTORY_FOREIGN;
}

static int child_of(int parent, const char *name)
{
	if (strcmp(name, ".") == 0)
		return parent;
	for (int i = 1; i < n_nodes; i++)
		if (nodes[i].parent == parent && strcmp(nodes[i].name, name) == 0)
			return i;
	return GONE;
}

static long new_fd(int node)
{
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (!fds[fd].open) {
			fds[fd].open = true;
			fds[fd].node = node;
			return fd;
		}
	expect(false, "descriptors leak");
	return -E_MFILE;
}

static int node_of(long fd)
{
	expect(fd >= 0 && fd < FDS_MAX && fds[fd].open, "a closed descriptor is used");
	return fds[fd].node;
}

/* A name that the caller may use alone: of one component, which cannot lead up. */
static const char *component(long address)
{
	const char *name = (const char *)(uintptr_t)address;

	expect(*name && !strchr(name, '/') && strcmp(name, "..") != 0,
	       "a name of several components");
	return name;
}

static long make_node(int parent, const char *name, enum type type)
{
	expect(nodes[parent].type == DIRECTORY, "something is made on a foreign file system");
	if (strlen(name) > 1 || n_nodes == NODES_MAX)
		return -E_MFILE;
	nodes[n_nodes] = (struct node){ type, parent, { name[0], 0 } };
	return n_nodes++;
}

static long open_at(long dirfd, long path, long flags)
{
	const char *name = component(path);
	int parent = node_of(dirfd), node = child_of(parent, name);

	expect(flags & O_CLOEXEC_, "a descriptor that children inherit");
	expect(flags & O_NOFOLLOW_ || strcmp(name, ".") == 0, "a link may be followed");
	if (!is_directory(parent))
		return -E_NOTDIR;
	if (node == GONE && flags & O_CREAT_)
		node = (int)make_node(parent, name, FILE_REGULAR);
	else if (node != GONE && flags & O_EXCL_)
		return -E_EXIST;
	if (node < 0)
		return node == GONE ? -E_NOENT : node;
	if (flags & O_DIRECTORY_ && !is_directory(node))
		return -E_NOTDIR;
	if (nodes[node].type == SYMLINK && !(flags & O_PATH_))
		return -E_LOOP;
	return new_fd(node);
}

static long describe(long dirfd, long path, struct statx *stat)
{
	static const uint16_t modes[] = { 0040755, 0040755, 0100644, 0120777 };
	int node = node_of(dirfd);

	if (*(const char *)(uintptr_t)path)
		node = is_directory(node) ? child_of(node, component(path)) : GONE;
	if (node == GONE)
		return -E_NOENT;
	memset(stat, 0, sizeof *stat);
	stat->stx_mode = modes[nodes[node].type];
	stat->stx_dev_major = nodes[node].type == DIRECTORY ? OURS : 0;
	return 0;
}

long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	(void)d;
	(void)f;
	switch (n) {
	case __NR_openat2:
		return -E_NOSYS;
	case __NR_openat:
		return open_at(a, b, c);
	case __NR_close:
		(void)node_of(a);
		fds[a].open = false;
		return 0;
	case __NR_statx:
		return describe(a, b, (struct statx *)(uintptr_t)e);
	case __NR_mkdirat:
		if (child_of(node_of(a), component(b)) != GONE)
			return -E_EXIST;
		n = make_node(node_of(a), component(b), DIRECTORY);
		return n < 0 ? n : 0;
	case __NR_fchownat:
		(void)node_of(a);
		return 0;
	default:
		return 0;
	}
}

/* The node, or the errno: the plain model. */
static long find(const char *path)
{
	int node = 0;

	while (*path) {
		char name[256];
		size_t n = strcspn(path, "/");

		if (n == 0) {
			path++;
			continue;
		}
		if (n > 255)
			return -E_NAMETOOLONG;
		if (n == 2 && memcmp(path, "..", n) == 0)
			return -E_XDEV;
		if (!is_directory(node))
			return -E_NOTDIR;
		memcpy(name, path, n);
		name[n] = '\0';
		path += n;
		node = child_of(node, name);
		if (node == GONE)
			return -E_NOENT;
		if (nodes[node].type == SYMLINK)
			return -E_LOOP;
	}
	return node;
}

static void check(uint8_t operation, long root, const char *path)
{
	static const struct making making = { .mode = 0755 };
	long before = find(path), result;
	char name[256];

	switch (operation % 5) {
	case 0:
		result = open_in_root((int)root, path, O_PATH_, 0, operation & 128);
		expect(before < 0 ? result == before : result >= 0 && node_of(result) == before,
		       "another node than the model's");
		break;
	case 1:
		result = open_in_root((int)root, path, O_PATH_ | O_DIRECTORY_, 0, false);
		expect(before < 0 ? result == before : (result >= 0) == is_directory((int)before),
		       "another directory than the model's");
		break;
	case 2:
		result = make_directory((int)root, path, &making);
		expect(result || (find(path) >= 0 && is_directory((int)find(path))),
		       "a directory is said to be made");
		return;
	case 3:
		result = open_parent_in_root((int)root, path, name, operation & 128, &making);
		expect(result < 0 || !strchr(name, '/'), "a last name with a slash");
		break;
	default:
		result = make_mount_point((int)root, path, operation & 128, false);
		expect(result < 0 || node_of(result) == find(path), "another mount point");
	}
	if (result >= 0)
		(void)sys_close((int)result);
}

static void own_the_device(long root)
{
	static bool known;

	if (!known)
		own_device_add((int)root);
	known = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[2 * PATH_SIZE];
	size_t n_given = size > 2 ? data[1] % NODES_MAX : 0;
	long root;

	if (size < 2 + n_given || size - 2 - n_given >= sizeof path)
		return -1;
	memset(fds, 0, sizeof fds);
	nodes[0] = (struct node){ DIRECTORY, 0, "" };
	n_nodes = 1;
	for (size_t i = 0; i < n_given; i++) {
		uint8_t byte = data[2 + i];

		nodes[n_nodes] = (struct node){ byte >> 6,
						(byte & 15) % n_nodes,
						{ (char)('a' + (byte >> 4 & 3)), 0 } };
		if (is_directory(nodes[n_nodes].parent))
			n_nodes++;
	}
	memcpy(path, data + 2 + n_given, size - 2 - n_given);
	path[size - 2 - n_given] = '\0';
	root = new_fd(0);
	own_the_device(root);
	check(data[0], root, path);
	for (int fd = 0; fd < FDS_MAX; fd++)
		expect(fd == root || !fds[fd].open, "a descriptor stays open");
	return 0;
}
