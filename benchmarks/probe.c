/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what a program can see of its isolation. Static, since nothing else is in the root directory.
 */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static void print_namespaces(void)
{
	static const char *const names[] = { "mnt", "pid", "net", "uts", "ipc", "user", "cgroup" };
	char path[64], target[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
		ssize_t n = readlink(path, target, sizeof target - 1);

		if (n > 0)
			printf("ns %.*s\n", (int)n, target);
	}
}

static void print_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[512];

	while (file && fgets(line, sizeof line, file))
		printf("%s %s", path, line);
	if (file)
		fclose(file);
}

static void print_root(void)
{
	DIR *root = opendir("/");

	for (struct dirent *entry; root && (entry = readdir(root));)
		printf("root %s\n", entry->d_name);
	if (root)
		closedir(root);
}

static void print_writable(const char *path)
{
	FILE *file = fopen(path, "w");

	printf("%s %s\n", path, file ? "writable" : "refused");
	if (file)
		unlink(path);
}

int main(void)
{
	printf("pid %d uid %d\n", getpid(), getuid());
	print_namespaces();
	print_file("/proc/self/status");
	print_file("/proc/self/uid_map");
	print_root();
	print_writable("/tmp/written");
	print_writable("/etc/written");
	return 0;
}
