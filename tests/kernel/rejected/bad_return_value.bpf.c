// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: return-value
// Returns a verdict that cgroup programs do not have.
#include "rejected.h"

SEC("cgroup_skb/ingress")
int bad_return_value(void *ctx)
{
	return 5; // rejected
}
