// SPDX-License-Identifier: Apache-2.0
/*
 * The account of what the filter refused. In an audit a command's filter asks us wherever the
 * filter proper would refuse (seccomp_unotify(2)); we answer what that one says of the registers
 * that the kernel copied. In a trace it asks us about every call, and we let go on what the filter
 * proper permits: that looks at registers only, which nobody can change meanwhile. Without us the
 * kernel answers ENOSYS. What a
 * program asks for so often is its own affair: each turn of our loop answers one call of each
 * filter, between other requests.
 */
#include <linux/audit.h>
#include <linux/ioctl.h>
#include <linux/poll.h>
#include <linux/seccomp.h>

#include "init.h"
#include "init_socket.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#else
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

enum {
	DOOMED_MAX = AUDIT_POLLS_MAX - COMMANDS_MAX,
	DOOMED_MS = 1000,
	STATUS_BUFFER = 4096,
	SEND_TRIES = 8,
	CLOCK_MONOTONIC_ = 1,
	WAIT_KILLABLE_RECV_ = 1 << 5, /* Linux 5.19 */
	SYNC_WAKE_UP_ = 1,
	CONTINUE_ = 1, /* SECCOMP_USER_NOTIF_FLAG_CONTINUE, Linux 5.5 */
};

#define IOCTL_SET_FLAGS 0x40082104 /* SECCOMP_IOCTL_NOTIF_SET_FLAGS, Linux 6.6 */

/* A message: the report and as many rows as its index says. */
struct denials {
	struct nsb_report report;
	struct nsb_denial rows[NSB_DENIALS_MAX];
};

struct audit {
	int32_t listener;        /* -1: nobody is left to ask */
	uint32_t command;        /* 0: it has ended, and left processes behind */
	struct denials *denials; /* of the command; NULL after its end */
};

/* A process that has got its SIGSYS. */
struct doomed {
	int32_t pidfd;
	int32_t pid;
	uint64_t until_ms;
};

static struct audit audits[COMMANDS_MAX];
static uint32_t n_audits;
static struct doomed doomed[DOOMED_MAX];
static uint32_t n_doomed;
static uint32_t n_watched, n_watched_doomed; /* by the last poll */
static struct denials of_all;

/* Of a trace. */
static struct {
	struct nsb_report report;
	struct nsb_call rows[NSB_CALLS_MAX];
} calls;

static uint64_t now_ms(void)
{
	struct __kernel_timespec now = { 0 };

	(void)sys2(__NR_clock_gettime, CLOCK_MONOTONIC_, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Of a command that has not ended. */
static struct audit *audit_of(uint32_t command)
{
	for (uint32_t i = 0; i < n_audits; i++)
		if (audits[i].command == command && audits[i].denials)
			return &audits[i];
	return NULL;
}

/*
 * The listener must reach PID 1 by a call that the filter lets pass; if it does not, nobody would
 * answer. So ask the filter first.
 */
long audit_install(const struct policy *policy, int to_init)
{
	struct sock_fprog program = {
		.len = (unsigned short)policy->n_audit,
		.filter = (struct sock_filter *)(uintptr_t)policy->audit,
	};
	unsigned long flags = policy->seccomp_flags | SECCOMP_FILTER_FLAG_NEW_LISTENER;
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct attached attached = {
		{ sizeof(struct cmsghdr) + sizeof(int32_t), SOL_SOCKET_, SCM_RIGHTS_ }, -1, 0
	};
	struct msghdr header = { .iov = &iov, .n_iov = 1 };
	struct seccomp_data call = {
		.nr = __NR_sendmsg,
		.arch = NATIVE_ARCH,
		.args = { (uint32_t)to_init, (uint64_t)(uintptr_t)&header, MSG_NOSIGNAL_ },
	};
	uint32_t examined;
	long fd;

	if (filter_decide(policy->audit, policy->n_audit, &call, &examined) != SECCOMP_RET_ALLOW)
		return -E_OPNOTSUPP;
	fd = sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags | WAIT_KILLABLE_RECV_, &program);
	if (fd == -E_INVAL)
		fd = sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (fd < 0)
		return fd;
	attached.fd = (int32_t)fd;
	header.control = &attached;
	header.control_size = sizeof attached;
	fd = sys3(__NR_sendmsg, to_init, &header, MSG_NOSIGNAL_);
	return fd < 0 ? fd : 0;
}

static bool same(const struct nsb_denial *a, const struct nsb_denial *b)
{
	if (a->number != b->number || a->arch != b->arch || a->verdict != b->verdict ||
	    a->examined != b->examined)
		return false;
	for (uint32_t i = 0; i < 6; i++)
		if (a->examined & 1u << i && a->args[i] != b->args[i])
			return false;
	return true;
}

/* Returns the row of the call, which has no count yet if it is the first of its kind; NULL where
 * there is no room. */
static struct nsb_denial *row_of(struct denials *denials, const struct nsb_denial *call)
{
	uint32_t n = denials->report.index;

	for (uint32_t i = 0; i < n; i++)
		if (same(&denials->rows[i], call))
			return &denials->rows[i];
	if (n == NSB_DENIALS_MAX)
		return NULL;
	denials->report.index++;
	denials->rows[n] = *call;
	return &denials->rows[n];
}

/* At most size - 1 bytes, and a NUL behind them. */
static long read_about(int pid, const char *name, char *ret, size_t size)
{
	char path[64];
	const char *end = path + sizeof path;
	char *at = number_append(text_append(path, end, "/proc/"), end, (uint64_t)pid);
	long fd = -E_NAMETOOLONG, n;

	ret[0] = '\0';
	at = text_append(text_append(at, end, "/"), end, name);
	if (at)
		fd = sys_openat(AT_FDCWD_, path, O_RDONLY_ | O_CLOEXEC_, 0);
	if (fd < 0)
		return fd;
	n = sys_read((int)fd, ret, size - 1);
	sys_close((int)fd);
	ret[n > 0 ? n : 0] = '\0';
	return n;
}

/* The value of a field of /proc/PID/status, where names are escaped (proc_pid_status(5)). */
static uint64_t status_field(const char *status, const char *name, uint64_t base, uint64_t missing)
{
	uint64_t value = 0;

	for (const char *at = status; *at; at++) {
		const char *want = name;

		while (*want && *at == *want)
			at++, want++;
		if (!*want) {
			for (; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f'); at++)
				value = value * base +
					(uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
			return value;
		}
		while (*at && *at != '\n')
			at++;
		if (!*at)
			break;
	}
	return missing;
}

static void introduce(struct nsb_denial *row, int thread, const char *status)
{
	char name[sizeof row->name + 1] = { 0 };
	long n = read_about(thread, "comm", name, sizeof name);

	row->pid = (int32_t)status_field(status, "Tgid:\t", 10, (uint64_t)thread);
	for (long i = 0; i < n - 1; i++) /* a newline ends it */
		row->name[i] = (uint8_t)name[i];
}

static void enter(struct denials *denials, const struct nsb_denial *call, int thread)
{
	struct nsb_denial *row = row_of(denials, call);
	char status[STATUS_BUFFER];

	denials->report.denied++;
	if (!row)
		return;
	if (!row->count++) {
		(void)read_about(thread, "status", status, sizeof status);
		introduce(row, thread, status);
	}
}

static void kill_for_sure(int pidfd, int pid)
{
	if (pidfd < 0 || sys4(__NR_pidfd_send_signal, pidfd, SIG_KILL, NULL, 0) < 0)
		(void)sys2(__NR_kill, pid, SIG_KILL);
	command_refused(pid);
}

/*
 * End a process as SECCOMP_RET_KILL_PROCESS does, by a SIGSYS that it can neither handle nor block.
 * For us it can, so where it looks like that it is SIGKILL, and a process that is still there after
 * some time gets that too. The thread waits for our answer meanwhile.
 */
static void end_process(const struct audit *audit, const struct seccomp_notif *call)
{
	const int thread = (int)call->pid;
	const uint64_t sigsys = 1ull << (SIG_SYS - 1);
	char status[STATUS_BUFFER];
	uint64_t refused;
	int pid;
	long pidfd = -1;

	(void)read_about(thread, "status", status, sizeof status);
	pid = (int)status_field(status, "Tgid:\t", 10, (uint64_t)thread);
	refused = status_field(status, "SigBlk:\t", 16, ~0ull) |
		  status_field(status, "SigIgn:\t", 16, ~0ull) |
		  status_field(status, "SigCgt:\t", 16, ~0ull);
	if (status_field(status, "TracerPid:\t", 10, 1))
		refused = sigsys;
	if (n_doomed < DOOMED_MAX)
		pidfd = sys2(__NR_pidfd_open, pid, 0);
	/* It has ended meanwhile, and what we looked at may be another. */
	if (sys3(__NR_ioctl, audit->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) ==
	    -E_NOENT) {
		if (pidfd >= 0)
			sys_close((int)pidfd);
		return;
	}
	if (refused & sigsys || pidfd < 0 || sys3(__NR_tgkill, pid, thread, SIG_SYS) < 0) {
		kill_for_sure((int)pidfd, pid);
		if (pidfd >= 0)
			sys_close((int)pidfd);
		return;
	}
	doomed[n_doomed++] = (struct doomed){ (int32_t)pidfd, pid, now_ms() + DOOMED_MS };
}

/* From now on the kernel answers ENOSYS. */
static void hang_up(struct audit *audit)
{
	if (audit->listener >= 0)
		sys_close(audit->listener);
	audit->listener = -1;
}

static void count(const struct seccomp_data *data)
{
	uint32_t n = calls.report.index, i = 0;

	while (i < n &&
	       (calls.rows[i].number != (uint32_t)data->nr || calls.rows[i].arch != data->arch))
		i++;
	if (i == NSB_CALLS_MAX)
		return;
	if (i == n)
		calls.rows[calls.report.index++] =
			(struct nsb_call){ (uint32_t)data->nr, data->arch, 0 };
	calls.rows[i].count++;
}

static void refuse(struct audit *audit, const struct nsb_denial *denial, int thread)
{
	if (audit->denials)
		enter(audit->denials, denial, thread);
	enter(&of_all, denial, thread);
}

static bool permits(uint32_t verdict)
{
	verdict &= SECCOMP_RET_ACTION_FULL;
	return verdict == SECCOMP_RET_ALLOW || verdict == SECCOMP_RET_LOG;
}

/* Before the exec it is our own affair, and not told. */
static void answer(struct audit *audit, const struct policy *policy, bool told)
{
	union {
		struct seccomp_notif call;
		char room[256]; /* for a kernel whose struct is larger */
	} received = { .room = { 0 } };
	const struct seccomp_notif *call = &received.call;
	struct nsb_denial denial = { 0 };
	struct seccomp_notif_resp reply = { 0 };
	uint32_t verdict;
	long err = -E_AGAIN;

	/* ENOENT: its caller has been killed, or interrupted and will ask again. */
	if (sys3(__NR_ioctl, audit->listener, SECCOMP_IOCTL_NOTIF_RECV, &received) < 0)
		return;
	verdict = filter_decide(policy->seccomp, policy->n_seccomp, &call->data, &denial.examined);
	denial.verdict = verdict;
	denial.number = (uint32_t)call->data.nr;
	denial.arch = call->data.arch;
	for (uint32_t i = 0; i < 6; i++)
		denial.args[i] = call->data.args[i];
	if (told && policy->trace)
		count(&call->data);
	reply.id = call->id;
	if (policy->trace && permits(verdict))
		reply.flags = CONTINUE_;
	else if (told)
		refuse(audit, &denial, (int)call->pid);
	reply.error = reply.flags ? 0 : -E_NOSYS;
	if ((verdict & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
		reply.error = -(int32_t)(verdict & SECCOMP_RET_DATA);
	else if ((verdict & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_KILL_PROCESS)
		end_process(audit, call);
	/* ENOENT: it no longer waits. Who waits must not wait for ever. */
	for (int i = 0; err < 0 && err != -E_NOENT && i < SEND_TRIES; i++)
		err = sys3(__NR_ioctl, audit->listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
	if (err < 0 && err != -E_NOENT)
		hang_up(audit);
}

/* What to poll: returns how many of fds are set. */
uint32_t audits_watch(struct pollfd *fds)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_audits; i++)
		fds[n++] = (struct pollfd){ .fd = audits[i].listener, .events = POLLIN };
	for (uint32_t i = 0; i < n_doomed; i++)
		fds[n++] = (struct pollfd){ .fd = doomed[i].pidfd, .events = POLLIN };
	n_watched = n_audits;
	n_watched_doomed = n_doomed;
	return n;
}

/* Whether something has to be done in some time though nothing happens. */
bool audits_hurry(void)
{
	return n_doomed;
}

static void end_doomed(uint32_t i, bool dead)
{
	if (!dead)
		kill_for_sure(doomed[i].pidfd, doomed[i].pid);
	sys_close(doomed[i].pidfd);
	doomed[i] = doomed[--n_doomed];
}

/* fds are those of audits_watch(). Since then there may be more at the end of our tables; only here
 * does anything leave them, from the end on, so that what takes its place has been looked at. */
void audits_serve(const struct pollfd *fds, const struct policy *policy)
{
	uint64_t now = n_watched_doomed ? now_ms() : 0;

	for (uint32_t i = n_watched_doomed; i-- > 0;)
		if (fds[n_watched + i].revents || now >= doomed[i].until_ms)
			end_doomed(i, fds[n_watched + i].revents);
	for (uint32_t i = n_watched; i-- > 0;) {
		if (fds[i].revents & POLLIN)
			answer(&audits[i], policy, true);
		else if (fds[i].revents) /* nobody is left under this filter (Linux 5.9) */
			hang_up(&audits[i]);
		if (audits[i].listener < 0 && !audits[i].command)
			audits[i] = audits[--n_audits];
	}
}

/* Returns 1 with a listener, 0 at the end of the socket, or a negative errno. */
static long receive_listener(int sock, int *ret)
{
	struct attached attached = { { 0, 0, 0 }, -1, 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr header = {
		.iov = &iov, .n_iov = 1, .control = &attached, .control_size = sizeof attached
	};
	long n = sys3(__NR_recvmsg, sock, &header, MSG_CMSG_CLOEXEC_);

	if (n <= 0)
		return n;
	if (header.control_size < sizeof attached.header || header.flags & MSG_CTRUNC_)
		return -E_MFILE;
	*ret = attached.fd;
	return 1;
}

/* The listener is ours from here on. */
static long add(int listener, uint32_t command)
{
	long address = sys_call6(__NR_mmap, 0, sizeof(struct denials), 3 /* READ|WRITE */,
				 0x22 /* PRIVATE|ANONYMOUS */, -1, 0);

	if (sys_failed(address)) {
		sys_close(listener);
		return address;
	}
	(void)sys3(__NR_ioctl, listener, IOCTL_SET_FLAGS, SYNC_WAKE_UP_);
	audits[n_audits++] = (struct audit){ listener, command, (void *)(uintptr_t)address };
	return 0;
}

/* Whoever gets it answers, and not we. */
static long hand_over(int listener, int reply_fd)
{
	struct nsb_report report = { .event = NSB_EVENT_LISTENER };
	long err = send_report(reply_fd, &report, listener, 0);

	sys_close(listener);
	return err;
}

/*
 * Follow a command from its clone to its exec, which closes its end of the socket: where privileges
 * are dropped behind the filter, this may refuse what they need. Returns 0 or a negative errno; the
 * command has a listener then, or has ended.
 */
long audit_follow(int sock, uint32_t command, const struct policy *policy, int reply_fd)
{
	/* In this order: a question from after the exec is not seen without the exec. */
	struct pollfd fds[2] = { { .fd = -1, .events = POLLIN }, { .fd = sock, .events = POLLIN } };
	bool handed = false;
	int listener;
	long n;

	for (;;) {
		n = sys5(__NR_ppoll, fds, 2, 0, 0, 8);
		if (n == -E_INTR || n == -E_AGAIN || n == -E_NOMEM)
			continue;
		if (n < 0)
			return n;
		if (!fds[1].revents) {
			if (fds[0].revents & POLLIN)
				answer(&audits[n_audits - 1], policy, false);
			fds[0].fd = audits[n_audits - 1].listener;
			continue;
		}
		n = receive_listener(sock, &listener);
		if (n == 0)
			return fds[0].fd < 0 && !handed ? -E_CHILD : 0;
		if (n > 0 && policy->hand_listener) {
			handed = true;
			n = hand_over(listener, reply_fd);
		} else if (n > 0) {
			n = add(listener, command);
			fds[0].fd = listener;
		}
		if (n < 0)
			return n;
	}
}

bool audits_full(void)
{
	return n_audits == COMMANDS_MAX;
}

static void send_denials(int reply_fd, struct denials *denials)
{
	denials->report.event = NSB_EVENT_DENIALS;
	(void)send_long_report(
		reply_fd, denials,
		sizeof denials->report + denials->report.index * sizeof denials->rows[0], -1, 0);
}

/* Close the account of a command that has ended. Returns how many of its calls were refused. */
uint64_t audit_end(uint32_t command, int reply_fd)
{
	struct audit *audit = audit_of(command);
	uint64_t denied;

	if (!audit)
		return 0;
	denied = audit->denials->report.denied;
	if (denied)
		send_denials(reply_fd, audit->denials);
	(void)sys2(__NR_munmap, audit->denials, sizeof *audit->denials);
	audit->denials = NULL;
	audit->command = 0;
	return denied;
}

void denials_request(struct message *message)
{
	const struct nsb_header *request = (const void *)message->bytes;
	const struct audit *audit = request->id ? audit_of(request->id) : NULL;

	if (message->n_fds == 0)
		return;
	if (request->id && !audit)
		send_failure(message->fds[0], failed(NSB_STEP_REQUEST, -E_SRCH, 0));
	else
		send_denials(message->fds[0], audit ? audit->denials : &of_all);
}

void calls_request(struct message *message)
{
	if (message->n_fds == 0)
		return;
	calls.report.event = NSB_EVENT_CALLS;
	(void)send_long_report(message->fds[0], &calls,
			       sizeof calls.report + calls.report.index * sizeof calls.rows[0], -1,
			       0);
}
