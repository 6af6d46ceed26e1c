// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: stack-too-large
// Two functions that need 800 bytes of stack between them. (Since 6.13 tracing programs get stacks of their own.)
#include "rejected.h"

static __attribute__((noinline)) int fill(int seed)
{
	volatile char bytes[400];

	for (int i = 0; i < 400; i++)
		bytes[i] = seed;
	return bytes[seed & 255];
}

SEC("xdp")
int stack_too_large(void *ctx)
{
	volatile char bytes[400];

	for (int i = 0; i < 400; i++)
		bytes[i] = i;
	return fill(bytes[3]) + bytes[7];
}
