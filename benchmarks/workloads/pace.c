/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes getppid calls at a rate: pace CALLS_PER_S SECONDS. Prints how many it made, and how many it made in a second. It makes a
 * millisecond's calls at once; where they take longer than that, it is late for good, and the rate that it prints is less than the one wanted.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

enum { PER_S = 1000, NS_PER_S = 1000000000 };

static void wait_until(double then)
{
	struct timespec until = { .tv_sec = then / NS_PER_S, .tv_nsec = (long)(then - (long)(then / NS_PER_S) * 1e9) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
		;
}

int main(int argc, char **argv)
{
	double rate = argc > 1 ? atof(argv[1]) : 1000, seconds = argc > 2 ? atof(argv[2]) : 1, begun = now_ns(CLOCK_MONOTONIC);
	long made = 0;

	while (now_ns(CLOCK_MONOTONIC) - begun < seconds * 1e9) {
		long due = rate * ((now_ns(CLOCK_MONOTONIC) - begun) / 1e9 + 1.0 / PER_S);

		/* What is late is not made up for at once: a burst would be another rate. */
		if (due - made > rate / PER_S)
			due = made + rate / PER_S + 1;
		for (; made < due; made++)
			syscall(SYS_getppid);
		wait_until(now_ns(CLOCK_MONOTONIC) < begun + made / rate * 1e9 ? begun + made / rate * 1e9 : 0);
	}
	printf("%ld %.0f\n", made, made / ((now_ns(CLOCK_MONOTONIC) - begun) / 1e9));
	return 0;
}
