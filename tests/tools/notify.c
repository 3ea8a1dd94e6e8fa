// SPDX-License-Identifier: Apache-2.0
/* Sends each argument as a message to the socket in NOTIFY_SOCKET (sd_notify(3)), then sleeps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (fd < 0 || !path || strlen(path) >= sizeof address.sun_path)
		return 2;
	memcpy(address.sun_path, path, strlen(path));
	for (int i = 1; i < argc && strcmp(argv[i], "end") != 0; i++)
		if (sendto(fd, argv[i], strlen(argv[i]), 0, (struct sockaddr *)&address,
			   sizeof address) < 0) {
			perror(path);
			return 1;
		}
	if (argc < 2 || strcmp(argv[argc - 1], "end") != 0)
		pause();
	return 0;
}
