// SPDX-License-Identifier: BSD-2-Clause
/*
 * What is taken from a busy program: `stolen SECONDS DEPTH`. It looks at the clock again and again, with DEPTH calls on
 * its stack, and adds up the gaps that are too long for a look and too short for another program's turn: interrupts,
 * and what runs in them. Prints their share of its own turns, in parts of a million, for each tenth of a second of these: what
 * comes regularly is in all of them, and whatever else disturbs comes on top in some.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A look takes some 25 ns; the shortest interrupt takes more than half a microsecond, and a turn of another milliseconds. */
#define GAP_MIN_NS 300
#define GAP_MAX_NS 60000

#define WINDOW_NS 100000000

static uint64_t stolen_ns, turns_ns;

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void look(uint64_t end_ns)
{
	uint64_t last = now_ns(), now;

	for (; last < end_ns; last = now) {
		now = now_ns();
		if (now - last > GAP_MAX_NS)
			continue;
		turns_ns += now - last;
		if (now - last >= GAP_MIN_NS)
			stolen_ns += now - last;
		if (turns_ns >= WINDOW_NS) {
			printf("%.1f\n", 1e6 * (double)stolen_ns / (double)turns_ns);
			stolen_ns = turns_ns = 0;
			/* What printing took is nobody's. */
			now = now_ns();
		}
	}
}

__attribute__((noinline, noclone)) static void descend(int depth, uint64_t end_ns)
{
	if (depth)
		descend(depth - 1, end_ns);
	else
		look(end_ns);
	/* Not a jump: each call has its frame. */
	__asm__ volatile("");
}

int main(int count, char **arguments)
{
	double seconds = count > 1 ? atof(arguments[1]) : 1;

	descend(count > 2 ? atoi(arguments[2]) : 24, now_ns() + (uint64_t)(seconds * 1e9));
	return 0;
}
