// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What passes an interface: packets and bytes, by protocol (the table protocols) and by flow (the table flows).
 *
 * Each has a program for XDP, for what comes in and for what goes out by traffic control, and for the same on interfaces
 * without Ethernet headers. All of them let every packet pass, whatever they find.
 */
#include "flows.bpf.h"
#include "protocols.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
