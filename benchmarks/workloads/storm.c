/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes system calls in a loop and prints nanoseconds per call: storm CALLS [KIND] [THREADS]. A kind is "tight" (getppid), or
 * "mixed" (reads, writes, opens, failures), or "open" (openat and close, a figure for both). Of several threads each makes CALLS; the figure is what one call takes of a CPU.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

enum { THREADS_MAX = 64, MIXED_CALLS = 8 };

static long calls = 1000000;
static const char *kind = "tight";

static void mixed_calls(int zero, int null)
{
	char room[64];
	struct stat told;
	int opened;

	syscall(SYS_getppid);
	syscall(SYS_read, zero, room, sizeof(room));
	syscall(SYS_write, null, room, sizeof(room));
	opened = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
	syscall(SYS_close, opened);
	syscall(SYS_newfstatat, AT_FDCWD, "/dev/zero", &told, 0);
	syscall(SYS_openat, AT_FDCWD, "/nonexistent", O_RDONLY);
	syscall(SYS_lseek, null, 0, SEEK_SET);
}

static void *run(void *unused)
{
	int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);

	if (strcmp(kind, "mixed") == 0)
		for (long i = 0; i < calls; i += MIXED_CALLS)
			mixed_calls(zero, null);
	else if (strcmp(kind, "open") == 0)
		for (long i = 0; i < calls; i++)
			syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY));
	else
		for (long i = 0; i < calls; i++)
			syscall(SYS_getppid);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS_MAX];
	int count = argc > 3 ? atoi(argv[3]) : 1, cpus;
	cpu_set_t allowed;
	double begun;

	if (argc > 1)
		calls = atol(argv[1]);
	if (argc > 2)
		kind = argv[2];
	if (count < 1 || count > THREADS_MAX)
		return 2;
	sched_getaffinity(0, sizeof(allowed), &allowed);
	cpus = CPU_COUNT(&allowed) < count ? CPU_COUNT(&allowed) : count;
	begun = now_ns(CLOCK_MONOTONIC);
	for (int i = 1; i < count; i++)
		pthread_create(&threads[i], NULL, run, NULL);
	run(NULL);
	for (int i = 1; i < count; i++)
		pthread_join(threads[i], NULL);
	printf("%.2f\n", (now_ns(CLOCK_MONOTONIC) - begun) * cpus / count / calls);
	return 0;
}
