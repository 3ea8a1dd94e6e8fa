/* SPDX-License-Identifier: Apache-2.0 */
/* What an image with musl does: threads, processes, files, sorting and printing. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 4096, THREADS = 8 };

static uint32_t numbers[COUNT];
static uint64_t sums[THREADS];

static void *sum(void *argument)
{
	uintptr_t number = (uintptr_t)argument;

	for (uintptr_t i = number; i < COUNT; i += THREADS)
		sums[number] += numbers[i];
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	struct stat stat_of;
	uint64_t total = 0;
	uint32_t seed = 1;
	int status;
	pid_t child;
	FILE *file;

	for (int i = 0; i < COUNT; i++)
		numbers[i] = seed = seed * 1664525u + 1013904223u;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, sum, (void *)i))
			return 1;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		total += sums[i];
	}
	qsort(numbers, COUNT, sizeof *numbers, compare);
	printf("%llu %u %u\n", (unsigned long long)total, numbers[0], numbers[COUNT - 1]);
	file = fopen("/tmp/file", "w");
	if (!file || fprintf(file, "%.10f\n", 1 / 3.0) < 0 || fclose(file))
		return 2;
	if (stat("/tmp/file", &stat_of))
		return 3;
	printf("%lld %o %u\n", (long long)stat_of.st_size, stat_of.st_mode, getuid());
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(argc + 40);
	if (waitpid(child, &status, 0) != child)
		return 4;
	printf("%d %s\n", WEXITSTATUS(status), argc > 1 ? argv[1] : "");
	return 0;
}
