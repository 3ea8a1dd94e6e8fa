/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that grow, within a bound for all of them; comparing and sorting. */
#include "layer.h"

enum { FIRST_SIZE = 1 << 16, READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22, MREMAP_MAYMOVE_ = 1 };

static uint64_t mapped;

static void region_grow(struct region *region, size_t needed)
{
	size_t size = region->size ? region->size : FIRST_SIZE;
	long address;

	while (size < needed)
		size *= 2;
	mapped += size - region->size;
	if (mapped > options.memory)
		fail_limit("memory");
	if (region->base)
		address = sys4(__NR_mremap, region->base, region->size, size, MREMAP_MAYMOVE_);
	else
		address = sys_call6(__NR_mmap, 0, (long)size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
	if (address < 0 && address >= -4095)
		fail("os", address, "memory");
	region->base = (char *)(uintptr_t)address;
	region->size = size;
}

void *region_add(struct region *region, size_t size)
{
	char *at;

	if (size > SIZE_MAX / 4 - region->used)
		fail_limit("memory");
	if (region->used + size > region->size)
		region_grow(region, region->used + size);
	at = region->base + region->used;
	region->used += size;
	return at;
}

void region_empty(struct region *region)
{
	region->used = 0;
}

void region_free(struct region *region)
{
	if (region->base)
		(void)sys2(__NR_munmap, region->base, region->size);
	mapped -= region->size;
	*region = (struct region){ 0 };
}

bool bytes_equal(const void *a, const void *b, size_t size)
{
	const char *left = a, *right = b;

	while (size && *left == *right) {
		left++;
		right++;
		size--;
	}
	return size == 0;
}

int text_compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

bool starts_with(const char *text, const char *prefix)
{
	while (*prefix && *text == *prefix) {
		text++;
		prefix++;
	}
	return *prefix == '\0';
}

static void sift_down(const char **items, size_t from, size_t n)
{
	for (size_t child; (child = 2 * from + 1) < n; from = child) {
		const char *item = items[from];

		if (child + 1 < n && text_compare(items[child], items[child + 1]) < 0)
			child++;
		if (text_compare(item, items[child]) >= 0)
			return;
		items[from] = items[child];
		items[child] = item;
	}
}

/* Heapsort: no memory, no bad case. */
void text_sort(const char **items, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(items, i, n);
	while (n > 1) {
		const char *last = items[--n];

		items[n] = items[0];
		items[0] = last;
		sift_down(items, 0, n);
	}
}
