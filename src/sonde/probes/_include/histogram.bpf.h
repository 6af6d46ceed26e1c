/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Durations as base-2 exponential histograms of scale 1, two buckets per power of two, drawn as OpenTelemetry and
 * Prometheus draw them in seconds. In units of 2^-30 s (0.93 ns) bucket i holds (2^(i/2), 2^((i+1)/2)]; bucket 0 takes
 * 0 and 1 ns, too; the last takes all above 2^44 units, which are 2^14 s (4 h 33 min).
 */
#ifndef SONDE_HISTOGRAM_BPF_H
#define SONDE_HISTOGRAM_BPF_H

#include "types.bpf.h"

enum { HISTOGRAM_BITS = 44, HISTOGRAM_BUCKETS = 2 * HISTOGRAM_BITS };

#define HISTOGRAM_MAX_NS ((1ULL << (HISTOGRAM_BITS - 30)) * 1000000000ULL)

/*
 * A unit is 5^9 / 2^21 ns. So between two powers of two of nanoseconds, 2^e and 2^(e+1), lie two bounds: 2^(e + 1/2) and
 * 2^(e+1) units. Here they are as multiples of 2^(e-63) ns. The first is rounded down, and equals no integer; the second
 * is exact. No duration is rounded: each nanosecond is in the bucket where it belongs.
 */
#define BOUND_AT_HALF 0xA8965F74BF065071ULL
#define BOUND_AT_WHOLE (1953125ULL << 43)

/* The bucket of a duration up to HISTOGRAM_MAX_NS; the caller clamps, and counts that it did. */
static __always_inline u32 histogram_bucket(u64 duration_ns)
{
	u64 rest = duration_ns;
	u32 exponent = 0;

	/* floor(log2(duration_ns)), by halves: BPF has no instruction for it. */
	if (rest >> 32) {
		rest >>= 32;
		exponent = 32;
	}
	if (rest >> 16) {
		rest >>= 16;
		exponent += 16;
	}
	if (rest >> 8) {
		rest >>= 8;
		exponent += 8;
	}
	if (rest >> 4) {
		rest >>= 4;
		exponent += 4;
	}
	if (rest >> 2) {
		rest >>= 2;
		exponent += 2;
	}
	exponent += rest >> 1;
	duration_ns <<= 63 - exponent;
	/* What equals a bound belongs to the bucket below it. */
	return 2 * exponent + (duration_ns > BOUND_AT_HALF) + (duration_ns > BOUND_AT_WHOLE);
}

#endif
