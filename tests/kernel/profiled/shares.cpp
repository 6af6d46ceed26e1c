// SPDX-License-Identifier: BSD-2-Clause
/* shares.c in C++: a member of a template in a namespace, a lambda, and an overloaded function. */
#include <functional>
#include <string>
#include <vector>

#include "shares.h"

namespace proof
{
volatile uint64_t sink;

template <typename State> class Engine {
    public:
	NOT_INLINED void seventy(uint64_t turns)
	{
		double begun = spent_s();

		state_ = turn(state_, turns);
		sink = state_;
		taken[0] += spent_s() - begun;
	}

    private:
	State state_ = 1;
};

NOT_INLINED void ten(const std::string &text)
{
	sink = text.size();
}

NOT_INLINED void ten(std::vector<uint64_t> &turns)
{
	double begun = spent_s();

	turns[0] = turn(turns[0], turns[1]);
	taken[2] += spent_s() - begun;
}

NOT_INLINED void cycle(Engine<uint64_t> &engine, const std::function<void(uint64_t)> &twenty, uint64_t turns)
{
	std::vector<uint64_t> rest{ 1, turns };

	engine.seventy(7 * turns);
	twenty(2 * turns);
	ten(rest);
}

void run(double seconds)
{
	Engine<uint64_t> engine;
	uint64_t state = 1, seed = 20260002, piece = turns_of_a_piece(&state);
	auto twenty = [](uint64_t turns) NOT_INLINED {
		double begun = spent_s();

		sink = turn(sink, turns);
		taken[1] += spent_s() - begun;
	};

	ten(std::string());
	for (double begun = spent_s(); spent_s() - begun < seconds;)
		cycle(engine, twenty, uneven(piece, &seed));
	say_what_was_taken();
}
} // namespace proof

int main(int count, char **arguments)
{
	proof::run(count > 1 ? atof(arguments[1]) : 1);
	return 0;
}
