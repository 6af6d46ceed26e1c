// SPDX-License-Identifier: BSD-2-Clause
/*
 * Two processes hand a byte to and fro through pipes, on one CPU: `switches ROUNDS`. Prints the nanoseconds of CPU time
 * that a switch took: what others did on the CPU meanwhile is not in them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double spent_ns(int who)
{
	struct rusage used;

	getrusage(who, &used);
	return 1e9 * (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       1e3 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void hand_on(int from, int to, long rounds, int first)
{
	char byte = 1;

	for (long at = 0; at < rounds; at++) {
		if (first && write(to, &byte, 1) != 1)
			exit(1);
		if (read(from, &byte, 1) != 1)
			exit(1);
		if (!first && write(to, &byte, 1) != 1)
			exit(1);
	}
}

int main(int count, char **arguments)
{
	long rounds = count > 1 ? atol(arguments[1]) : 100000;
	int there[2], back[2];
	pid_t other;

	if (pipe(there) || pipe(back) || (other = fork()) < 0)
		return 1;
	/* Each has its own ends alone: where one is killed, the other reads an end of file. */
	if (!other) {
		close(there[1]);
		close(back[0]);
		hand_on(there[0], back[1], rounds, 0);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	hand_on(back[0], there[1], rounds, 1);
	waitpid(other, NULL, 0);
	printf("%.1f\n", (spent_ns(RUSAGE_SELF) + spent_ns(RUSAGE_CHILDREN)) / (2.0 * (double)rounds));
	return 0;
}
