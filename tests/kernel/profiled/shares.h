/* SPDX-License-Identifier: BSD-2-Clause */
/* What the programs share: work that takes time exactly in proportion to its amount, and a program's own account of it. */
#ifndef SHARES_H
#define SHARES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOT_INLINED __attribute__((noinline, noclone))
#define INLINED __attribute__((always_inline)) inline

/* The product's chain of dependencies cannot be shortened: so many cycles for each turn, whatever surrounds it. */
static INLINED uint64_t turn(uint64_t state, uint64_t turns)
{
	for (uint64_t at = 0; at < turns; at++) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		__asm__ volatile("" : "+r"(state));
	}
	return state;
}

/* CPU time of this thread: what a sample of the CPU clock stands for, however the CPU is shared. */
static INLINED double spent_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Pieces have lengths that keep step with no clock: between a half and one and a half of the mean. */
static INLINED uint64_t uneven(uint64_t mean, uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return mean / 2 + (uint64_t)((double)mean * (double)(*seed >> 11) / 9007199254740992.0);
}

/* How many turns take twenty milliseconds here. */
static NOT_INLINED __attribute__((unused)) uint64_t turns_of_a_piece(uint64_t *state)
{
	const uint64_t tried = 4000000;
	double begun = spent_s();

	*state = turn(*state, tried);
	return (uint64_t)((double)tried * 0.020 / (spent_s() - begun));
}

static double taken[3] __attribute__((unused));

static inline void __attribute__((unused)) say_what_was_taken(void)
{
	printf("{\"seventy\": %.6f, \"twenty\": %.6f, \"ten\": %.6f}\n", taken[0], taken[1], taken[2]);
}

#endif
