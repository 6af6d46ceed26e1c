/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program that runs when user space asks for it, with a context that both may write (Linux 5.14). */
#include "shape.h"

struct request {
	u64 left;
	u64 right;
	u64 sum;
};

SEC("syscall")
int add(struct request *request)
{
	request->sum = request->left + request->right;
	return request->sum > 100;
}
