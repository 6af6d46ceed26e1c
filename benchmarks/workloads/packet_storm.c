/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sends frames of one length from an interface, so many times, and prints nanoseconds on the CPU per frame. The frames come on standard
 * input: all of them, one after the other. Sent on the CPU that this runs on, they are received there, too: a veth hands
 * them over in the same call, so what the other end does with them is in the time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

enum { BATCH = 64, FRAMES_MAX = 4096 };

static int open_wire(const char *interface)
{
	struct sockaddr_ll place = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(interface) };
	int bypass = 1, wire = socket(AF_PACKET, SOCK_RAW, 0);

	if (wire < 0 || bind(wire, (struct sockaddr *)&place, sizeof(place)) ||
	    setsockopt(wire, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass))) {
		perror("open the wire");
		exit(1);
	}
	return wire;
}

int main(int argc, char **argv)
{
	static char frames[FRAMES_MAX * 256];
	struct mmsghdr messages[BATCH] = {};
	struct iovec pieces[BATCH];
	size_t length, frame_bytes;
	long count, sent = 0, next = 0;
	double begun;
	int wire;

	if (argc != 4)
		return 2;
	wire = open_wire(argv[1]);
	frame_bytes = atol(argv[2]);
	count = atol(argv[3]);
	length = fread(frames, 1, sizeof(frames), stdin) / frame_bytes;
	if (!length)
		return 2;
	begun = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	while (sent < count) {
		int batch = count - sent < BATCH ? count - sent : BATCH, taken;

		for (int i = 0; i < batch; i++) {
			pieces[i] = (struct iovec){ frames + (next + i) % length * frame_bytes, frame_bytes };
			messages[i].msg_hdr = (struct msghdr){ .msg_iov = &pieces[i], .msg_iovlen = 1 };
		}
		taken = sendmmsg(wire, messages, batch, 0);
		if (taken <= 0) {
			perror("send");
			return 1;
		}
		sent += taken;
		next += taken;
	}
	printf("%.2f\n", (now_ns(CLOCK_PROCESS_CPUTIME_ID) - begun) / count);
	return 0;
}
