/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program with USDT probes and a function to probe.  It reads numbers, one a line, and for each calls
 * marked_function() that many times; after that it prints how often the probe with a semaphore was wanted.
 *
 * The notes are written here by hand, as https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation
 * describes them: sys/sdt.h need not be installed.
 */
#include <stdio.h>
#include <stdlib.h>

/* What a tracer adds one to while it wants the probe. */
__attribute__((section(".probes"), used)) volatile unsigned short sonde_wanted_semaphore;

#define NOTE(name, semaphore, arguments)                                                                    \
	"990: nop\n"                                                                                        \
	".pushsection .note.stapsdt,\"\",\"note\"\n"                                                        \
	".balign 4\n"                                                                                       \
	".4byte 992f-991f, 994f-993f, 3\n"                                                                  \
	"991: .asciz \"stapsdt\"\n"                                                                         \
	"992: .balign 4\n"                                                                                  \
	"993: .8byte 990b, _.stapsdt.base, " semaphore "\n"                                                 \
	".asciz \"sonde\"\n.asciz \"" name "\"\n.asciz \"" arguments "\"\n"                                 \
	"994: .balign 4\n"                                                                                  \
	".popsection\n"                                                                                     \
	".ifndef _.stapsdt.base\n"                                                                          \
	".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                             \
	".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n"                          \
	".size _.stapsdt.base, 1\n.popsection\n.endif\n"

__attribute__((noinline)) long marked_function(long number)
{
	/* Two arguments: four signed bytes of constant, eight of a register (x86: %reg, arm64: the register). */
	__asm__ volatile(NOTE("called", "0", "-4@%[constant] -8@%[number]")
			 : : [constant] "n"(42), [number] "r"(number));
	if (sonde_wanted_semaphore)
		__asm__ volatile(NOTE("wanted", "sonde_wanted_semaphore", "-8@%[number]") : : [number] "r"(number));
	return number + 1;
}

int main(void)
{
	char line[32];
	long wanted, sum = 0;

	while (fgets(line, sizeof(line), stdin)) {
		long count = atol(line);

		for (wanted = 0; count > 0; count--) {
			wanted += sonde_wanted_semaphore != 0;
			sum += marked_function(count);
		}
		printf("%ld\n", wanted);
		fflush(stdout);
	}
	return sum == 0;
}
