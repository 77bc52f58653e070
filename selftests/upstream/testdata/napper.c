// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Sleeps twice when it is told to. The Go runtime sleeps at any time, so this is C. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct timespec first = {.tv_nsec = 1}, second = {.tv_sec = 60};
	char go;

	if (read(0, &go, 1) != 1)
		return 1;
	syscall(__NR_nanosleep, &first, NULL);
	syscall(__NR_nanosleep, &second, NULL);
	return 0;
}
