/* SPDX-License-Identifier: BSD-2-Clause */
/* Nanoseconds by a clock, for the work that the benchmarks time. */
#include <time.h>

static double now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}
