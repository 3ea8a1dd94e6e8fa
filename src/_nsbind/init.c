/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1: read the set-up, build the sandbox, then serve the control socket and reap. EOF on the
 * control socket is the end: the kernel kills every other process of a PID namespace when its PID 1
 * is gone (pid_namespaces(7)).
 */
#include <linux/poll.h>
#include <linux/signalfd.h>
#include <linux/socket.h>

#include "init.h"
#include "init_socket.h"

struct credentials {
	uint32_t pid, uid, gid;
};

enum {
	SCM_CREDENTIALS_ = 2,
	MSG_TRUNC_ = 0x20,
	MSG_DONTWAIT_ = 0x40,
	SEND_TRIES = 8,
};

static char inline_buffer[NSB_INLINE_MAX] __attribute__((aligned(16)));
/* The set-up message outlives its reading: policy points into it. */
static char setup_buffer[NSB_INLINE_MAX] __attribute__((aligned(16)));

const void *message_at(const struct message *message, uint32_t offset, uint32_t count, size_t size)
{
	size_t alignment = size < 8 ? size : 8;

	if (offset < sizeof(struct nsb_header) || offset > message->size || offset % alignment ||
	    count > (message->size - offset) / size)
		return NULL;
	return message->bytes + offset;
}

/* The receiver put a NUL behind the last byte of the message, so a string always ends. */
const char *message_string(const struct message *message, uint32_t offset)
{
	return offset && offset < message->size ? message->bytes + offset : NULL;
}

/* The first of so many consecutive strings. */
const char *message_strings(const struct message *message, uint32_t offset, uint32_t count)
{
	const char *first = message_string(message, offset), *end = message->bytes + message->size;
	const char *text = first;

	for (uint32_t i = 0; text && i < count; i++)
		text = text < end ? text + text_length(text) + 1 : NULL;
	return text ? first : NULL;
}

/* Hand a descriptor out: the message no longer closes it. */
int take_fd(struct message *message, uint32_t index)
{
	int fd;

	if (index >= message->n_fds)
		return -1;
	fd = message->fds[index];
	message->fds[index] = -1;
	return fd;
}

void message_release(struct message *message)
{
	for (uint32_t i = 0; i < message->n_fds; i++)
		if (message->fds[i] >= 0)
			sys_close(message->fds[i]);
	if (message->mapped)
		(void)sys2(__NR_munmap, message->bytes, message->mapped);
}

static long map_payload(struct message *message, uint32_t size)
{
	int fd = take_fd(message, 0);
	struct statx stat;
	long address;

	if (fd < 0)
		return -E_PROTO;
	if (size < sizeof(struct nsb_header) || sys_statx(fd, "", AT_EMPTY_PATH_, &stat) < 0 ||
	    stat.stx_size != size)
		address = -E_PROTO;
	else
		address = sys_call6(__NR_mmap, 0, (long)size + 1, 3 /* READ|WRITE */,
				    0x22 /* PRIVATE|ANONYMOUS */, -1, 0);
	if (sys_failed(address)) {
		sys_close(fd);
		return address;
	}
	message->bytes = (char *)(uintptr_t)address;
	message->size = size;
	message->mapped = (size_t)size + 1;
	for (size_t done = 0; done < size;) {
		long n = sys4(__NR_pread64, fd, message->bytes + done, size - done, done);

		if (n <= 0) {
			sys_close(fd);
			return n < 0 ? n : -E_PROTO;
		}
		done += (size_t)n;
	}
	for (uint32_t i = 1; i < message->n_fds; i++)
		message->fds[i - 1] = message->fds[i];
	message->n_fds--;
	sys_close(fd);
	return 0;
}

static void collect_fds(struct message *message, const char *control, size_t control_size)
{
	const struct cmsghdr *header = (const void *)control;
	const int32_t *fds = (const void *)(control + sizeof *header);

	if (control_size < sizeof *header || header->level != SOL_SOCKET_ ||
	    header->type != SCM_RIGHTS_)
		return;
	message->n_fds = (uint32_t)((header->size - sizeof *header) / sizeof *fds);
	for (uint32_t i = 0; i < message->n_fds; i++)
		message->fds[i] = fds[i];
}

/* Returns 1 with a message, 0 at the end of the control socket, or a negative errno. */
long receive_into(int fd, struct message *message, char *buffer)
{
	static char control[sizeof(struct cmsghdr) + sizeof message->fds]
		__attribute__((aligned(16)));
	struct iovec iov = { buffer, NSB_INLINE_MAX - 1 };
	struct msghdr header = {
		.iov = &iov, .n_iov = 1, .control = control, .control_size = sizeof control
	};
	const struct nsb_header *start;
	long n;

	*message = (struct message){ .bytes = buffer };
	n = sys3(__NR_recvmsg, fd, &header, MSG_CMSG_CLOEXEC_);
	if (n <= 0)
		return n;
	message->size = (size_t)n;
	buffer[n] = '\0';
	collect_fds(message, control, header.control_size);
	start = (const void *)buffer;
	if (header.flags & MSG_CTRUNC_)
		return -E_MFILE;
	if (header.flags & MSG_TRUNC_ || (size_t)n < sizeof *start)
		return -E_PROTO;
	if (start->payload_fd && (n = map_payload(message, start->size)) < 0)
		return n;
	start = (const void *)message->bytes;
	return start->size == message->size ? 1 : -E_PROTO;
}

long receive_on(int fd, struct message *message)
{
	return receive_into(fd, message, inline_buffer);
}

/*
 * attached_fd < 0: none. pid_to_tell: the kernel translates the pid in SCM_CREDENTIALS to the
 * receiver's PID namespace (unix(7)); 0: none. Returns a negative errno if it cannot be sent; who
 * waits for it then sees the end of the socket, once that is closed.
 */
long send_long_report(int fd, const void *report, size_t size, int attached_fd, int pid_to_tell)
{
	char control[64] __attribute__((aligned(16)));
	struct iovec iov = { (void *)(uintptr_t)report, size };
	struct msghdr header = { .iov = &iov, .n_iov = 1, .control = control };
	struct cmsghdr *item = (void *)control;
	long n = -E_AGAIN;

	if (pid_to_tell) {
		struct credentials *credentials = (void *)(item + 1);

		*item = (struct cmsghdr){ sizeof *item + sizeof *credentials, SOL_SOCKET_,
					  SCM_CREDENTIALS_ };
		*credentials =
			(struct credentials){ (uint32_t)pid_to_tell, (uint32_t)sys0(__NR_getuid),
					      (uint32_t)sys0(__NR_getgid) };
		header.control_size += (item->size + 7) & ~7ul;
		item = (void *)(control + header.control_size);
	}
	if (attached_fd >= 0) {
		*item = (struct cmsghdr){ sizeof *item + sizeof(int32_t), SOL_SOCKET_,
					  SCM_RIGHTS_ };
		*(int32_t *)(void *)(item + 1) = attached_fd;
		header.control_size += (item->size + 7) & ~7ul;
	}
	if (!header.control_size)
		header.control = NULL;
	/* There is room for it: what fails is the kernel's memory, and that may pass. */
	for (int i = 0; n < 0 && i < SEND_TRIES; i++)
		n = sys3(__NR_sendmsg, fd, &header, MSG_NOSIGNAL_ | MSG_DONTWAIT_);
	return n < 0 ? n : 0;
}

long send_report(int fd, const struct nsb_report *report, int attached_fd, int pid_to_tell)
{
	return send_long_report(fd, report, sizeof *report, attached_fd, pid_to_tell);
}

void send_failure(int fd, struct outcome outcome)
{
	struct nsb_report report = { .event = NSB_EVENT_FAILED,
				     .step = outcome.step,
				     .err = outcome.err,
				     .index = outcome.index };

	(void)send_report(fd, &report, -1, 0);
}

void send_done(int fd, int attached_fd)
{
	struct nsb_report report = { .event = NSB_EVENT_DONE };

	(void)send_report(fd, &report, attached_fd, 0);
}

/* The caller blocks signals around the clone and Python ignores SIGPIPE and SIGXFSZ; exec keeps
 * both. Commands inherit our dispositions, so one sweep serves them all. Signals stay blocked here:
 * SIGCHLD comes by signalfd. */
static long reset_signals(void)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} action = { 0 };
	long err = 0;

	for (int signal = 1; signal <= SIGNAL_COUNT && err >= 0; signal++)
		if (signal != SIG_KILL && signal != SIG_STOP)
			err = sys4(__NR_rt_sigaction, signal, &action, 0, sizeof action.mask);
	return err;
}

/* Linux < 5.9, or an outer filter, lacks close_range. */
static long close_from(unsigned first)
{
	struct {
		uint64_t soft, hard;
	} nofile = { 0, 0 };
	long err = sys_close_range(first, ~0u, 0);

	if (err != -E_NOSYS)
		return err;
	err = sys4(__NR_prlimit64, 0, 7 /* RLIMIT_NOFILE */, 0, &nofile);
	for (uint64_t fd = first; fd < nofile.soft; fd++)
		sys_close((int)fd);
	return err;
}

static int open_child_signal(void)
{
	uint64_t mask = 1ull << (SIG_CHLD - 1);

	return (int)sys4(__NR_signalfd4, -1, &mask, sizeof mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void serve(struct message *message, const struct policy *policy)
{
	switch (((const struct nsb_header *)(const void *)message->bytes)->kind) {
	case NSB_REQUEST_EXEC:
		command_request(message, policy);
		break;
	case NSB_REQUEST_KILL:
		kill_request(message);
		break;
	case NSB_REQUEST_OPEN:
		open_request(message);
		break;
	case NSB_REQUEST_CALLS:
		calls_request(message);
		break;
	case NSB_REQUEST_DENIALS:
		denials_request(message);
		break;
	default:
		if (message->n_fds)
			send_failure(message->fds[0], failed(NSB_STEP_REQUEST, -E_PROTO, 0));
	}
}

/* A message that could not be read whole is answered where it can be: its first descriptor is its
 * reply socket. */
static bool serve_next(const struct policy *policy)
{
	struct message message;
	long n = receive_on(NSB_CONTROL_FD, &message);

	if (n == 0)
		return false;
	if (n > 0)
		serve(&message, policy);
	else if (message.n_fds && message.fds[0] >= 0)
		send_failure(message.fds[0], failed(NSB_STEP_RECEIVE, n, 0));
	message_release(&message);
	return true;
}

static _Noreturn void run(const struct policy *policy, int signal_fd)
{
	static const struct __kernel_timespec soon = { .tv_nsec = 100000000 };
	static struct pollfd fds[2 + AUDIT_POLLS_MAX];
	struct signalfd_siginfo info[8];

	fds[0] = (struct pollfd){ .fd = NSB_CONTROL_FD, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = signal_fd, .events = POLLIN };
	for (;;) {
		uint32_t n_fds = 2 + audits_watch(fds + 2);
		long n = sys5(__NR_ppoll, fds, n_fds, audits_hurry() ? &soon : NULL, 0, 8);

		/* A passing want of memory (poll(2)). */
		if (n == -E_INTR || n == -E_AGAIN || n == -E_NOMEM)
			continue;
		/* Without ears there is nothing to wait for: the caller sees our end. */
		if (n < 0)
			sys_exit(1);
		if (fds[1].revents) {
			while (sys_read(signal_fd, info, sizeof info) == (long)sizeof info)
				;
			commands_reap();
		}
		if (fds[0].revents && !serve_next(policy))
			sys_exit(0);
		audits_serve(fds + 2, policy);
	}
}

static _Noreturn void give_up(struct outcome outcome)
{
	send_failure(NSB_CONTROL_FD, outcome);
	sys_exit(1);
}

_Noreturn void init_main(void)
{
	static struct policy policy;
	static struct message message;
	struct nsb_report ready = { .event = NSB_EVENT_READY };
	const struct nsb_setup *setup;
	struct outcome outcome;
	int signal_fd;
	long n;

	if ((n = sys3(__NR_fcntl, NSB_CONTROL_FD, 2 /* F_SETFD */, 1 /* FD_CLOEXEC */)) < 0 ||
	    (n = reset_signals()) < 0)
		give_up(failed(NSB_STEP_RECEIVE, n, 0));
	n = receive_into(NSB_CONTROL_FD, &message, setup_buffer);
	if (n <= 0)
		give_up(failed(NSB_STEP_RECEIVE, n ? n : -E_PROTO, 0));
	setup = (const void *)message.bytes;
	if (setup->header.kind == NSB_REQUEST_KEEP)
		keep();
	if (setup->header.kind != NSB_REQUEST_SETUP || message.size < sizeof *setup ||
	    setup->flags & ~(uint32_t)(NSB_SETUP_BECOME | NSB_SETUP_OPEN_ROOT))
		give_up(failed(NSB_STEP_RECEIVE, -E_PROTO, 0));
	if (setup->flags & NSB_SETUP_BECOME)
		become_command(&message, setup);
	outcome = set_up(&message, setup, &policy, NULL);
	if (outcome.step)
		give_up(outcome);
	/* Of the set-up only its volumes stay open, the root's writable layer among them: no later
	 * command can find a way to the host through us. */
	n = volumes_compact(NSB_CONTROL_FD + 1);
	if (n < 0 || (n = close_from((unsigned)n)) < 0)
		give_up(failed(NSB_STEP_FDS, n, 0));
	signal_fd = open_child_signal();
	if (signal_fd < 0)
		give_up(failed(NSB_STEP_REQUEST, signal_fd, 0));
	if (send_report(NSB_CONTROL_FD, &ready, -1, 0) < 0)
		sys_exit(1);
	run(&policy, signal_fd);
}
