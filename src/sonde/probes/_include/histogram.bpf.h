/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Base-2 exponential histograms of scale 1, two buckets per power of two, exactly as OpenTelemetry draws them:
 * bucket i holds (2^(i/2), 2^((i+1)/2)]. Bucket 0 takes 0 and 1, too; the last takes all above 2^43.
 */
#ifndef SONDE_HISTOGRAM_BPF_H
#define SONDE_HISTOGRAM_BPF_H

#include "types.bpf.h"

enum { HISTOGRAM_BITS = 43, HISTOGRAM_BUCKETS = 2 * HISTOGRAM_BITS };

#define HISTOGRAM_MAX (1ULL << HISTOGRAM_BITS)

/* 2^63.5, rounded down: shifted right by 63 - e it is 2^(e + 1/2) rounded down, which no integer equals. */
#define SQRT_2_SHIFTED 0xB504F333F9DE6484ULL

/* The bucket of a value up to HISTOGRAM_MAX; the caller clamps, and counts that it did. */
static __always_inline u32 histogram_bucket(u64 value)
{
	u64 rest;
	u32 exponent = 0;

	if (value <= 1)
		return 0;
	/* floor(log2(value - 1)), by halves: BPF has no instruction for it. The bounds belong to the bucket below. */
	rest = value - 1;
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
	return 2 * exponent + (value > SQRT_2_SHIFTED >> (63 - exponent));
}

#endif
