// SPDX-License-Identifier: BSD-2-Clause
/*
 * Three functions that take 70, 20 and 10 % of the CPU time: `shares SECONDS`, of CPU time. The second has its time
 * in a function that is inlined into it. At the end it prints what each really took, by the clock, in seconds.
 */
#include "shares.h"

static volatile uint64_t sink;

/* Each reads the clock itself: gcc makes no frame for a function that calls none, whatever it is told. */
NOT_INLINED void seventy(uint64_t turns)
{
	double begun = spent_s();

	sink = turn(sink, turns);
	taken[0] += spent_s() - begun;
}

static INLINED uint64_t inlined_twenty(uint64_t state, uint64_t turns)
{
	return turn(state, turns);
}

NOT_INLINED void twenty(uint64_t turns)
{
	double begun = spent_s();

	sink = inlined_twenty(sink, turns);
	taken[1] += spent_s() - begun;
}

NOT_INLINED void ten(uint64_t turns)
{
	double begun = spent_s();

	sink = turn(sink, turns);
	taken[2] += spent_s() - begun;
}

NOT_INLINED void cycle(uint64_t turns)
{
	seventy(7 * turns);
	twenty(2 * turns);
	ten(turns);
	/* Not the last call: that would be a jump, and no frame. */
	sink = sink + 1;
}

int main(int count, char **arguments)
{
	double seconds = count > 1 ? atof(arguments[1]) : 1, begun;
	uint64_t state = 1, seed = 20260001, piece = turns_of_a_piece(&state);

	sink = state;
	for (begun = spent_s(); spent_s() - begun < seconds;)
		cycle(uneven(piece, &seed));
	say_what_was_taken();
	return 0;
}
