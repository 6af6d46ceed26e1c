// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TCP connections: whose they are, how long they take, what they carry, how they end.
 *
 * One set of programs serves all outputs; the knob output says which one is loaded, and the rest is removed. Of
 * accept_returned and accept_exited one is loaded: the first where the kernel takes fexit programs. process_fork and
 * process_exit follow children.
 */
#include "accepted.bpf.h"
#include "followed.bpf.h"
#include "owners.bpf.h"
#include "unfollowed.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
