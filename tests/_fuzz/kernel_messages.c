/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_parts.h"

#include <sanitizer/asan_interface.h>

enum { MESSAGE_HEAD = 4 };

struct vector {
	char *base;
	size_t size;
};

struct header {
	void *name;
	uint32_t name_size;
	struct vector *vector;
	size_t n_vectors;
	char *control;
	size_t control_size;
	uint32_t flags;
};

struct item {
	size_t size;
	int32_t level, type;
	int32_t fds[];
};

bool becoming(void)
{
	return kernel.setup.header.kind == NSB_REQUEST_SETUP &&
	       kernel.setup.flags & NSB_SETUP_BECOME;
}

/* Whoever waits for a caller when there is none any more waits until it is killed. */
long accept_caller(void)
{
	if (kernel.back - kernel.front < MESSAGE_HEAD)
		end();
	return new_fd(true);
}

/* SCM_RIGHTS, each with the lowest number that is free. */
static void attach_fds(struct header *header, uint32_t n)
{
	struct item *item = (struct item *)(void *)header->control;

	header->control_size = 0;
	for (uint32_t i = 0; i < n; i++) {
		long fd = open_from(0, true);

		if (fd < 0) {
			header->flags |= 8; /* MSG_CTRUNC */
			break;
		}
		item->fds[i] = (int32_t)fd;
		item->size = sizeof *item + (i + 1) * sizeof item->fds[0];
		item->level = item->type = 1;
		header->control_size = item->size;
	}
}

/* Between two requests nothing is open that was not before, but the commands' reply sockets. */
static void check_rest(void)
{
	kernel.n_messages++;
	if (becoming())
		return;
	if (kernel.n_messages == 2)
		kernel.fds_at_rest = count_fds();
	if (kernel.n_messages >= 2) {
		expect(count_fds() == kernel.fds_at_rest + kernel.n_live, "descriptors leak");
		kernel.obliging = false;
	}
}

/* A buffer is as long as its message, and a NUL behind it. */
static void cut_buffer(char *buffer, size_t size, size_t used)
{
	ASAN_POISON_MEMORY_REGION(buffer + used + 1, size - used);
}

static long receive_message(struct header *header)
{
	struct nsb_header start = { .payload_fd = 1 };
	size_t size, taken;
	bool in_memfd, honest;
	uint32_t n_fds;

	header->flags = 0;
	header->control_size = 0;
	ASAN_UNPOISON_MEMORY_REGION(header->vector->base, header->vector->size + 1);
	check_rest();
	if (kernel.back - kernel.front < MESSAGE_HEAD)
		return 0;
	size = kernel.front[0] | (size_t)kernel.front[1] << 8;
	n_fds = kernel.front[2] % (NSB_FDS_MAX + 2u);
	in_memfd = kernel.front[3] & 1;
	honest = !(kernel.front[3] & 2);
	kernel.front += MESSAGE_HEAD;
	if (size > (size_t)(kernel.back - kernel.front))
		size = (size_t)(kernel.back - kernel.front);
	memcpy(kernel.payload, kernel.front, size);
	kernel.payload_size = size;
	if (honest && size >= sizeof start) {
		((struct nsb_header *)(void *)kernel.payload)->size = (uint32_t)size;
		((struct nsb_header *)(void *)kernel.payload)->payload_fd = 0;
	}
	kernel.front += size;
	if (kernel.n_messages == 1)
		memcpy(&kernel.setup, kernel.payload,
		       size < sizeof kernel.setup ? size : sizeof kernel.setup);
	if (kernel.n_messages == 2)
		memcpy(kernel.command, kernel.payload, size);
	kernel.payload_fd = -1;
	attach_fds(header, n_fds);
	if (in_memfd) {
		if (n_fds)
			kernel.payload_fd = ((struct item *)(void *)header->control)->fds[0];
		start.size = (uint32_t)size;
		memcpy(header->vector->base, &start, sizeof start);
		cut_buffer(header->vector->base, header->vector->size, sizeof start);
		return sizeof start;
	}
	taken = size < header->vector->size ? size : header->vector->size;
	if (taken < size)
		header->flags |= 0x20; /* MSG_TRUNC */
	memcpy(header->vector->base, kernel.payload, taken);
	cut_buffer(header->vector->base, header->vector->size, taken);
	return (long)taken;
}

/* A command in an audit hands its listener over. */
static long hand_over(const struct header *header)
{
	const struct item *item = (const void *)header->control;

	expect(header->control_size >= sizeof *item && item->type == 1, "a message without use");
	kernel.handed_over = use_fd(item->fds[0]) == 0;
	return 1;
}

/* PID 1 has the listener, or the command has ended. */
static long take_over(struct header *header)
{
	header->flags = 0;
	header->control_size = 0;
	if (!kernel.handed_over)
		return 0;
	kernel.handed_over = false;
	attach_fds(header, 1);
	if (header->control_size)
		kernel.process.fds[((struct item *)(void *)header->control)->fds[0]] |= FD_HELD;
	return 1;
}

long receive_from(long fd, struct header *header)
{
	long err = use_fd(fd);

	bool of_caller = fd == NSB_CONTROL_FD || becoming();

	if (!err && !of_caller)
		err = refusal();
	if (err)
		return err;
	return of_caller ? receive_message(header) : take_over(header);
}

long send_message(long fd, const struct header *header)
{
	const struct nsb_report *report = (const void *)header->vector->base;
	size_t row, rows;
	long err = use_fd(fd);

	touch((long)(uintptr_t)header->control, header->control_size);
	if (kernel.tracing)
		fprintf(stderr, "event %u step %u err %d index %u\n", report->event, report->step,
			report->err, report->index);
	if (err || (err = refusal()))
		return err;
	if ((kernel.end_of_child || becoming()) && header->vector->size == 1)
		return hand_over(header);
	expect(header->n_vectors == 1 && header->vector->size >= sizeof *report, "no report");
	touch((long)(uintptr_t)report, header->vector->size);
	row = report->event == NSB_EVENT_CALLS ? sizeof(struct nsb_call)
					       : sizeof(struct nsb_denial);
	rows = (header->vector->size - sizeof *report) / row;
	expect(report->event >= NSB_EVENT_READY && report->event <= NSB_EVENT_SYNC, "no event");
	expect(rows == (report->event == NSB_EVENT_DENIALS || report->event == NSB_EVENT_CALLS
				? report->index
				: 0),
	       "another number of rows");
	expect(report->event != NSB_EVENT_FAILED || (report->err > 0 && report->step),
	       "a failure without reason");
	return (long)header->vector->size;
}
