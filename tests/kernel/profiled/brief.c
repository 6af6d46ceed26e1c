// SPDX-License-Identifier: BSD-2-Clause
/* A process that lives for a few milliseconds, `brief MILLISECONDS` of CPU time, all of them in brief_work(). */
#include "shares.h"

static volatile uint64_t sink;

NOT_INLINED void brief_work(double seconds)
{
	double begun = spent_s();

	while (spent_s() - begun < seconds)
		sink = turn(sink, 10000);
}

int main(int count, char **arguments)
{
	brief_work((count > 1 ? atof(arguments[1]) : 20) / 1000);
	return 0;
}
