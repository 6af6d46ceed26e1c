/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes processes as fast as the machine can, or at a rate: make_processes COUNT [RATE [exec]]. Each ends at once, with
 * code 3; with "exec" it runs this program again before. Waits for each, and prints the seconds that it took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void sleep_until(double time_s)
{
	struct timespec until = { .tv_sec = time_s, .tv_nsec = (time_s - (long)time_s) * 1e9 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

int main(int count, char **words)
{
	long processes = count > 1 ? atol(words[1]) : 0;
	double rate = count > 2 ? atof(words[2]) : 0, begun_s;
	int execs = count > 3 && strcmp(words[3], "exec") == 0;
	char *again[] = { words[0], NULL };

	/* Run again: nothing to do. */
	if (count == 1)
		return 3;
	begun_s = now_s();
	for (long made = 0; made < processes; made++) {
		pid_t pid = vfork();

		if (pid == 0) {
			if (execs)
				execv(words[0], again);
			_exit(3);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
			perror("vfork");
			return 1;
		}
		/* In bursts, for sleeping takes longer than a process. */
		if (rate > 0 && made % 50 == 49 && begun_s + made / rate > now_s())
			sleep_until(begun_s + made / rate);
	}
	printf("%.3f\n", now_s() - begun_s);
	return 0;
}
