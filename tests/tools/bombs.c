// SPDX-License-Identifier: Apache-2.0
/*
 * What tests of limits run inside a sandbox, as one static program. The first word says what:
 *
 *   memory KIND BYTES [PATH]     takes memory of one kind; tells how much, and what refused more
 *   tree COUNT BYTES             that many children with so much each, all at once
 *   early BYTES                  a child has the memory and ends before its parent does
 *   late MS BYTES                waits first
 *   cpu HOW COUNT MS             burns time in children (waited, unwaited, double, ignored)
 *   processes N, threads N       so many at once beside itself
 *   end STATUS, signal N         ends so
 *   orphan STATUS BYTES          a child takes memory; its parent ends with STATUS whatever came
 *   forks N STATUS               starts children until refused, ends them and then itself
 *   xcpu SECONDS                 burns until its own RLIMIT_CPU ends it
 *   trace                        asks to be traced, which a profile may answer with its end
 *   output N                     writes so many bytes
 *   fill FOLDER                  writes a file until refused
 *   entries FOLDER KIND          makes files, directories, symlinks or links until refused
 *   write FILE BYTES, read FILE  to and from the disk itself
 *   writable                     each file system that can be written, and its size
 *   stay KIND [N]                says "ready" and resists its end; N: RLIMIT_NPROC
 *
 * The truth is told as one line of JSON; the exit status is 3 where a request was refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, BLOCK = 1 << 16, REFUSED = 3, CHILDREN_MAX = 1024, SLOTS = 256 };

static char block[BLOCK];

static void fail(const char *what)
{
	perror(what);
	_exit(2);
}

static int told(size_t bytes, size_t wanted)
{
	const char *name = bytes < wanted ? strerrorname_np(errno) : NULL;

	printf(name ? "{\"bytes\": %zu, \"refused\": \"%s\"}\n" : "{\"bytes\": %zu}\n", bytes,
	       name);
	return name ? REFUSED : 0;
}

static void *shared(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

static size_t touch(char *at, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		((volatile char *)at)[i] = 1;
	return size;
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	return pid;
}

/* Memory by kind. Each returns how many bytes it got, errno having the reason for less. */

static size_t map_and_touch(int fd, size_t size)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		return 0;
	madvise(at, size, MADV_NOHUGEPAGE); /* what is touched is what is used */
	return touch(at, size);
}

static size_t take_anonymous(size_t size, const char *folder)
{
	(void)folder;
	return map_and_touch(-1, size);
}

static size_t write_to(int fd, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = write(fd, block, size - done < BLOCK ? size - done : BLOCK);

		if (n < 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static size_t take_file(size_t size, const char *folder)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/bomb", folder);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	return fd < 0 ? 0 : write_to(fd, size);
}

static size_t take_cached(size_t size, const char *path)
{
	int fd = open(path, O_RDONLY);
	size_t done = 0;
	ssize_t n;

	while (done < size && (n = read(fd, block, BLOCK)) > 0)
		done += (size_t)n;
	return done;
}

static size_t take_memfd(size_t size, const char *folder)
{
	int fd = memfd_create("bomb", MFD_CLOEXEC);

	(void)folder;
	return fd < 0 ? 0 : write_to(fd, size);
}

static size_t take_memfd_mapped(size_t size, const char *folder)
{
	int fd = memfd_create("bomb", MFD_CLOEXEC);

	(void)folder;
	return fd < 0 || ftruncate(fd, (off_t)size) < 0 ? 0 : map_and_touch(fd, size);
}

static size_t take_sysv(size_t size, const char *folder)
{
	int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
	char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

	(void)folder;
	return at == (void *)-1 ? 0 : touch(at, size);
}

static size_t take_posix(size_t size, const char *folder)
{
	int fd = shm_open("/bomb", O_CREAT | O_RDWR, 0600);

	(void)folder;
	return fd < 0 ? 0 : write_to(fd, size);
}

static size_t take_locked(size_t size, const char *folder)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)folder;
	return at == MAP_FAILED || mlock(at, size) < 0 ? 0 : size;
}

static size_t deepen(size_t size)
{
	volatile char frame[BLOCK];

	touch((char *)frame, sizeof frame);
	return size <= BLOCK ? frame[0] * size : deepen(size - BLOCK) + (size_t)frame[0] * BLOCK;
}

static size_t take_stack(size_t size, const char *folder)
{
	(void)folder;
	return deepen(size);
}

/* A page table has 512 entries. All of these map the page of zeros, which is nobody's. */
static size_t take_page_tables(size_t size, const char *folder)
{
	size_t count = size / PAGE, span = (size_t)PAGE * 512;
	char *at = mmap(NULL, (count + 1) * span, PROT_READ,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)folder;
	if (at == MAP_FAILED)
		return 0;
	madvise(at, (count + 1) * span, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < count; i++)
		(void)((volatile char *)at)[i * span];
	return size;
}

static void *wait_with_stack(void *size)
{
	volatile char frame[2 * BLOCK];

	touch((char *)frame, sizeof frame);
	for (;;)
		pause();
	return size;
}

static size_t take_threads(size_t size, const char *folder)
{
	pthread_attr_t attr;
	size_t done = 0;

	(void)folder;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 4 * BLOCK);
	for (; done < size; done += 2 * BLOCK) {
		pthread_t thread;

		errno = pthread_create(&thread, &attr, wait_with_stack, NULL);
		if (errno)
			break;
	}
	return done;
}

/* Until the descriptors are used up, so further processes are needed for more. */
static size_t in_children(size_t (*fill)(void), size_t size)
{
	size_t *done = shared(sizeof *done);

	for (int i = 0; i < CHILDREN_MAX && *done < size; i++) {
		pid_t pid = child();
		int status;

		if (pid == 0) {
			size_t more;

			while (*done < size && (more = fill()) > 0)
				*done += more;
			raise(SIGSTOP);
			_exit(0);
		}
		if (waitpid(pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status)) {
			errno = ECHILD;
			return 0;
		}
	}
	return *done;
}

static size_t fill_pair(int fd)
{
	size_t done = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((n = write(fd, block, BLOCK)) > 0)
		done += (size_t)n;
	return done;
}

static size_t fill_pipe(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		return 0;
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	return fill_pair(fds[1]);
}

static size_t fill_socket(void)
{
	int fds[2], size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	return fill_pair(fds[1]);
}

static size_t take_pipes(size_t size, const char *folder)
{
	(void)folder;
	return in_children(fill_pipe, size);
}

static size_t take_sockets(size_t size, const char *folder)
{
	(void)folder;
	return in_children(fill_socket, size);
}

static size_t take_descriptors(size_t size, const char *folder)
{
	size_t count = 0;

	(void)folder;
	while (count < size && eventfd(0, 0) >= 0)
		count++;
	return count;
}

static const struct {
	const char *name;
	size_t (*take)(size_t size, const char *folder);
} kinds[] = {
	{ "anonymous", take_anonymous },
	{ "file", take_file },
	{ "cached", take_cached },
	{ "memfd", take_memfd },
	{ "memfd-mapped", take_memfd_mapped },
	{ "sysv", take_sysv },
	{ "posix", take_posix },
	{ "locked", take_locked },
	{ "stack", take_stack },
	{ "page-tables", take_page_tables },
	{ "threads", take_threads },
	{ "pipes", take_pipes },
	{ "sockets", take_sockets },
	{ "descriptors", take_descriptors },
};

static size_t bytes(const char *text)
{
	return strtoull(text, NULL, 10);
}

static int memory(char **words)
{
	size_t size = bytes(words[1]);

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(words[0], kinds[i].name))
			return told(kinds[i].take(size, words[2] ? words[2] : "/tmp"), size);
	return 2;
}

static int tree(char **words)
{
	int count = atoi(words[0]), up[2], down[2];
	size_t size = bytes(words[1]);
	char byte = 0;

	if (pipe(up) < 0 || pipe(down) < 0)
		fail("pipe");
	for (int i = 0; i < count; i++)
		if (child() == 0) {
			close(down[1]);
			map_and_touch(-1, size);
			if (write(up[1], "", 1) != 1 || read(down[0], &byte, 1) < 0)
				_exit(2);
			_exit(0);
		}
	for (int i = 0; i < count; i++)
		if (read(up[0], &byte, 1) != 1)
			fail("read");
	close(down[1]);
	while (wait(NULL) > 0)
		continue;
	return told((size_t)count * size, 0);
}

static int early(char **words)
{
	size_t size = bytes(words[0]);

	if (child() == 0) {
		map_and_touch(-1, size);
		_exit(0);
	}
	wait(NULL);
	return told(size, 0);
}

static void sleep_ms(int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) < 0)
		continue;
}

static int late(char **words)
{
	char kind[] = "anonymous";

	sleep_ms(atoi(words[0]));
	return memory((char *[]){ kind, words[1], NULL });
}

/* Time and numbers of processes. */

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void burn(double seconds)
{
	while (cpu_s() < seconds)
		for (volatile int i = 0; i < 10000; i++)
			continue;
}

static void burn_and_tell(double seconds, double *slot)
{
	burn(seconds);
	*slot = cpu_s();
	_exit(0);
}

/* A pipe whose other end all children hold tells when the last of them has ended. */
static int cpu(char **words)
{
	double *slots = shared(sizeof *slots * SLOTS), seconds = atof(words[2]) / 1000, sum = 0;
	int count = atoi(words[1]), fds[2];
	const char *how = words[0];
	char byte;

	if (2 * count > SLOTS || pipe(fds) < 0)
		return 2;
	if (!strcmp(how, "ignored"))
		signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < count; i++)
		if (child() == 0) {
			if (!strcmp(how, "double")) {
				setsid();
				if (child() > 0)
					burn_and_tell(0, &slots[count + i]);
			}
			burn_and_tell(seconds, &slots[i]);
		}
	close(fds[1]);
	if (!strcmp(how, "waited"))
		while (wait(NULL) > 0)
			continue;
	if (read(fds[0], &byte, 1) != 0)
		return 2;
	for (int i = 0; i < 2 * count; i++)
		sum += slots[i];
	printf("{\"cpu_s\": %.6f}\n", sum + cpu_s());
	return 0;
}

static void *wait_for_end(void *fd)
{
	char byte;

	return read(*(int *)fd, &byte, 1) < 0 ? fd : NULL;
}

static int processes(char **words)
{
	int fds[2];

	if (pipe(fds) < 0)
		return 2;
	for (int i = 0; i < atoi(words[0]); i++)
		if (child() == 0) {
			close(fds[1]);
			wait_for_end(fds);
			_exit(0);
		}
	close(fds[1]);
	while (wait(NULL) > 0)
		continue;
	return 0;
}

static int threads(char **words)
{
	int count = atoi(words[0]), fds[2];
	pthread_t made[SLOTS];

	if (count > SLOTS || pipe(fds) < 0)
		return 2;
	for (int i = 0; i < count; i++)
		if (pthread_create(&made[i], NULL, wait_for_end, fds))
			return REFUSED;
	close(fds[1]);
	for (int i = 0; i < count; i++)
		pthread_join(made[i], NULL);
	return 0;
}

/* Ends, and what looks like them. */

static int end(char **words)
{
	return atoi(words[0]);
}

static int signal_itself(char **words)
{
	raise(atoi(words[0]));
	return 0;
}

static int orphan(char **words)
{
	int status;
	pid_t pid = child();

	if (pid == 0) {
		map_and_touch(-1, bytes(words[1]));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("{\"child\": %d}\n", WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
	return atoi(words[0]);
}

static int forks(char **words)
{
	pid_t made[CHILDREN_MAX];
	int count = 0;

	while (count < atoi(words[0]) && count < CHILDREN_MAX) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (pid == 0)
			for (;;)
				pause();
		made[count++] = pid;
	}
	for (int i = 0; i < count; i++)
		kill(made[i], SIGKILL);
	while (wait(NULL) > 0)
		continue;
	printf("{\"made\": %d}\n", count);
	return atoi(words[1]);
}

static int xcpu(char **words)
{
	rlim_t seconds = (rlim_t)atoi(words[0]);

	setrlimit(RLIMIT_CPU, &(struct rlimit){ seconds, seconds + 5 });
	burn(1e9);
	return 0;
}

static int trace(char **words)
{
	(void)words;
	return syscall(SYS_ptrace, 0, 0, 0, 0) < 0 ? REFUSED : 0;
}

static int output(char **words)
{
	return write_to(1, bytes(words[0])) == bytes(words[0]) ? 0 : REFUSED;
}

/* Disks. */

static int fill(char **words)
{
	return told(take_file(SIZE_MAX, words[0]), SIZE_MAX);
}

static int make_entry(const char *kind, const char *path, const char *first)
{
	if (!strcmp(kind, "directories"))
		return mkdir(path, 0700);
	if (!strcmp(kind, "symlinks"))
		return symlink("target", path);
	if (!strcmp(kind, "links") && strcmp(path, first) != 0)
		return link(first, path);
	return mknod(path, S_IFREG | 0600, 0);
}

static int entries(char **words)
{
	size_t most = words[2] ? bytes(words[2]) : SIZE_MAX, count = 0;
	char path[256], first[256];

	snprintf(first, sizeof first, "%s/e0", words[0]);
	for (; count < most; count++) {
		snprintf(path, sizeof path, "%s/e%zu", words[0], count);
		if (make_entry(words[1], path, first) < 0)
			break;
	}
	return told(count, most);
}

static int direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT, 0600);

	return fd >= 0 || errno != EINVAL ? fd : open(path, flags, 0600);
}

static void *aligned(void)
{
	void *at = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : memset(at, 1, BLOCK);
}

static int write_disk(char **words)
{
	int fd = direct(words[0], O_CREAT | O_TRUNC | O_WRONLY);
	char *at = aligned();
	size_t done = 0;

	while (done < bytes(words[1]) && write(fd, at, BLOCK) == BLOCK)
		done += BLOCK;
	return fsync(fd) < 0 ? 2 : told(done, bytes(words[1]));
}

static int read_disk(char **words)
{
	int fd = direct(words[0], O_RDONLY);
	char *at = aligned();
	size_t done = 0;
	ssize_t n;

	while ((n = read(fd, at, BLOCK)) > 0)
		done += (size_t)n;
	return told(done, 0);
}

static bool can_write(const char *path, const struct stat *found)
{
	char name[PATH_MAX];
	int fd;

	if (S_ISREG(found->st_mode))
		return access(path, W_OK) == 0;
	if (!S_ISDIR(found->st_mode))
		return false;
	snprintf(name, sizeof name, "%s/.bombs", path);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		return false;
	close(fd);
	unlink(name);
	return true;
}

static dev_t told_of[SLOTS];
static size_t told_count;

static int tell_writable(const char *path, const struct stat *found, int type, struct FTW *level)
{
	struct statvfs size;
	struct statfs kind;

	(void)type;
	(void)level;
	if (statfs(path, &kind) < 0 || statvfs(path, &size) < 0)
		return FTW_CONTINUE;
	if (kind.f_type == PROC_SUPER_MAGIC || size.f_flag & ST_RDONLY)
		return FTW_SKIP_SUBTREE;
	for (size_t i = 0; i < told_count; i++)
		if (told_of[i] == found->st_dev)
			return FTW_CONTINUE;
	if (told_count == SLOTS || !can_write(path, found))
		return FTW_CONTINUE;
	printf("%s{\"path\": \"%s\", \"bytes\": %llu, \"inodes\": %llu}", told_count ? ", " : "",
	       path, (unsigned long long)size.f_blocks * size.f_frsize,
	       (unsigned long long)size.f_files);
	told_of[told_count++] = found->st_dev;
	return FTW_CONTINUE;
}

static int writable(char **words)
{
	FILE *table = setmntent("/proc/self/mounts", "r");
	struct mntent *row;

	(void)words;
	if (!table)
		return 2;
	putchar('[');
	while ((row = getmntent(table)))
		nftw(row->mnt_dir, tell_writable, 32, FTW_PHYS | FTW_MOUNT | FTW_ACTIONRETVAL);
	puts("]");
	return 0;
}

/* What resists its end. */

static void rest(void)
{
	for (;;)
		pause();
}

static void *spawn_threads(void *nothing)
{
	pthread_t thread;

	for (;;)
		if (!pthread_create(&thread, NULL, spawn_threads, nothing))
			pthread_detach(thread);
	return nothing;
}

static void fork_bomb(void)
{
	for (;;)
		fork();
}

static void thread_bomb(void)
{
	spawn_threads(NULL);
}

/* Each process of the chain starts the next in a session of its own and ends. */
static void sessions(void)
{
	if (child() > 0)
		rest();
	for (;;)
		if (fork() > 0)
			_exit(0);
		else
			setsid();
}

static void daemons(void)
{
	for (int i = 0; i < 8; i++)
		if (child() == 0) {
			setsid();
			if (child() == 0)
				rest();
			_exit(0);
		}
	rest();
}

static void stop_itself(void)
{
	for (;;)
		raise(SIGSTOP);
}

static void stop_group(void)
{
	for (int i = 0; i < 4 && child() > 0; i++)
		continue;
	for (;;)
		kill(0, SIGSTOP);
}

static void deaf(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, SIG_IGN);
	for (int i = 0; i < 4 && child() > 0; i++)
		continue;
	for (;;)
		sleep_ms(1000000);
}

static void closed(void)
{
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	child();
	rest();
}

/* A grandchild that goes on writing into our output. */
static void holder(void)
{
	if (child() > 0)
		rest();
	setsid();
	if (child() > 0)
		_exit(0);
	for (;;)
		if (write(2, "x", 1) < 0)
			rest();
}

static void flood_init(void)
{
	for (int i = 0; i < 2 && child() > 0; i++)
		continue;
	for (unsigned number = 0;; number++) {
		union sigval value = { .sival_int = (int)number };

		kill(1, (int)(number % (unsigned)SIGRTMAX) + 1);
		sigqueue(1, SIGRTMIN, value);
	}
}

static void vfork_stopped(void)
{
	/* What a child does by vfork(2) while its parent stands still in the kernel. */
	if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL) == 0)
		stop_itself();
	rest();
}

static const struct {
	const char *name;
	void (*run)(void);
} stubborn[] = {
	{ "fork-bomb", fork_bomb },
	{ "thread-bomb", thread_bomb },
	{ "sessions", sessions },
	{ "daemons", daemons },
	{ "stop-itself", stop_itself },
	{ "stop-group", stop_group },
	{ "deaf", deaf },
	{ "closed", closed },
	{ "holder", holder },
	{ "flood-init", flood_init },
	{ "vfork-stopped", vfork_stopped },
};

static int stay(char **words)
{
	if (words[1]) {
		rlim_t most = (rlim_t)atoi(words[1]);

		setrlimit(RLIMIT_NPROC, &(struct rlimit){ most, most });
	}
	for (size_t i = 0; i < sizeof stubborn / sizeof *stubborn; i++)
		if (!strcmp(words[0], stubborn[i].name)) {
			puts("ready");
			fflush(stdout);
			stubborn[i].run();
		}
	return 2;
}

static const struct {
	const char *name;
	int words;
	int (*run)(char **words);
} commands[] = {
	{ "memory", 2, memory },     { "tree", 2, tree },        { "early", 1, early },
	{ "late", 2, late },         { "cpu", 3, cpu },          { "processes", 1, processes },
	{ "threads", 1, threads },   { "end", 1, end },          { "signal", 1, signal_itself },
	{ "orphan", 2, orphan },     { "forks", 2, forks },      { "xcpu", 1, xcpu },
	{ "trace", 0, trace },       { "output", 1, output },    { "fill", 1, fill },
	{ "entries", 2, entries },   { "write", 2, write_disk }, { "read", 1, read_disk },
	{ "writable", 0, writable }, { "stay", 1, stay },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
		if (!strcmp(argv[1], commands[i].name) && argc - 2 >= commands[i].words)
			return commands[i].run(argv + 2);
	fprintf(stderr, "bombs: unknown, or words are missing\n");
	return 2;
}
