/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starts so many processes, each of which makes so many getppid calls and ends: crowd PROCESSES CALLS. Prints nanoseconds per process,
 * then the number of each process. A child makes no other call than those and its end: one who counts can be told wrong.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

enum { ALIVE_MAX = 64 };

int main(int argc, char **argv)
{
	int processes = argc > 1 ? atoi(argv[1]) : 10, calls = argc > 2 ? atoi(argv[2]) : 101, alive = 0;
	long *pids = calloc(processes, sizeof(*pids));
	double begun = now_ns(CLOCK_MONOTONIC);

	for (int i = 0; i < processes; i++) {
		if (alive == ALIVE_MAX) {
			wait(NULL);
			alive--;
		}
		pids[i] = syscall(SYS_fork);
		if (pids[i] < 0)
			return 1;
		if (pids[i] == 0) {
			for (int call = 0; call < calls; call++)
				syscall(SYS_getppid);
			syscall(SYS_exit_group, 0);
		}
		alive++;
	}
	while (wait(NULL) > 0)
		;
	printf("%.2f\n", (now_ns(CLOCK_MONOTONIC) - begun) / processes);
	for (int i = 0; i < processes; i++)
		printf("%ld\n", pids[i]);
	return 0;
}
