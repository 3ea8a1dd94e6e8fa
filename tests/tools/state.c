// SPDX-License-Identifier: Apache-2.0
/*
 * Prints what a process in a sandbox is and may do, a "name value" a line, so that two runs can be
 * compared: whatever layer is missing changes a line. Namespaces are their inodes; everything else
 * is the same in each run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static void answer(const char *name, long result)
{
	printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "allowed");
}

/* Identity, signals, capabilities, filters. */
static void status(void)
{
	static const char *const kept[] = { "Umask",  "Uid",    "Gid", "Groups",     "SigBlk",
					    "SigIgn", "SigCgt", "Cap", "NoNewPrivs", "Seccomp" };
	FILE *file = fopen("/proc/self/status", "r");
	char line[512];

	while (file && fgets(line, sizeof line, file))
		for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
			if (strncmp(line, kept[i], strlen(kept[i])) == 0)
				printf("status %s", line);
	if (file)
		fclose(file);
}

static void mounts(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "r");
	char line[4096], point[1024], options[512];

	while (file && fgets(line, sizeof line, file)) {
		const char *type = strstr(line, " - ");

		if (type && sscanf(line, "%*d %*d %*s %*s %1023s %511s", point, options) == 2)
			printf("mount %s %s%s", point, options, type);
	}
	if (file)
		fclose(file);
}

static void namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc",  "mnt",  "net",
					     "pid",    "time", "user", "uts" };
	char path[32], link[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);

		ssize_t n = readlink(path, link, sizeof link - 1);

		link[n < 0 ? 0 : n] = '\0';
		printf("namespace %s %s\n", names[i], link);
	}
}

static void descriptors(void)
{
	struct stat stat;

	for (int fd = 0; fd < 4096; fd++)
		if (fstat(fd, &stat) == 0)
			printf("descriptor %d %o flags %x\n", fd, (unsigned)stat.st_mode & S_IFMT,
			       (unsigned)fcntl(fd, F_GETFD));
}

static void limits(void)
{
	struct rlimit limit;

	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &limit) == 0)
			printf("rlimit %d %llx %llx\n", i, (unsigned long long)limit.rlim_cur,
			       (unsigned long long)limit.rlim_max);
}

static void first_line(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256] = "";

	if (!file) {
		answer(path, -1);
		return;
	}
	if (!fgets(line, sizeof line, file))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	printf("%s %s\n", path, line);
	fclose(file);
}

/* PID 1 is out of reach, and what is masked stays so. */
static void reach(void)
{
	char link[64];

	answer("/proc/1/mem", open("/proc/1/mem", O_RDWR));
	answer("/proc/1/fd", open("/proc/1/fd", O_RDONLY));
	answer("/proc/1/exe", readlink("/proc/1/exe", link, sizeof link));
	answer("ptrace", ptrace(PTRACE_SEIZE, 1, 0, 0));
	answer("unshare user", unshare(CLONE_NEWUSER));
	answer("sethostname", sethostname("a", 1));
	answer("write root", open("/bin/new", O_WRONLY | O_CREAT, 0600));
	first_line("/proc/sys/user/max_user_namespaces");
	first_line("/proc/kcore");
	first_line("/proc/sysrq-trigger");
	first_line("/proc/self/cgroup");
	first_line("/proc/self/setgroups");
	first_line("/proc/self/uid_map");
	first_line("/proc/self/timens_offsets");
}

int main(void)
{
	struct utsname name;
	struct ifreq request = { .ifr_name = "lo" };
	char cwd[4096];

	status();
	mounts();
	namespaces();
	descriptors();
	limits();
	uname(&name);
	printf("uname %s %s\n", name.nodename, name.domainname);
	printf("securebits %d dumpable %d\n", prctl(PR_GET_SECUREBITS), prctl(PR_GET_DUMPABLE));
	printf("cwd %s\n", getcwd(cwd, sizeof cwd) ? cwd : strerrorname_np(errno));
	printf("session %d\n", getsid(0) == getpid());
	if (ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCGIFFLAGS, &request) == 0)
		printf("loopback %x\n", (unsigned)request.ifr_flags);
	reach();
	return 0;
}
