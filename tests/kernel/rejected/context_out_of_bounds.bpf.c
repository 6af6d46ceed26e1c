// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: context-access
// Reads a context field that XDP programs do not have.
#include "rejected.h"

SEC("xdp")
int context_out_of_bounds(__u32 *ctx)
{
	return ctx[100]; // rejected
}
