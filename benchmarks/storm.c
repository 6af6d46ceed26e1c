/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes so many getppid calls and prints nanoseconds per call. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 1000000;
	double begun = now_ns();

	for (long i = 0; i < calls; i++)
		syscall(SYS_getppid);
	printf("%.2f\n", (now_ns() - begun) / calls);
	return 0;
}
