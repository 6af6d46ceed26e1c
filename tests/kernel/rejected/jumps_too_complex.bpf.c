// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: too-complex
// Has more branches one after the other than the verifier keeps in mind (8,192).
#include "rejected.h"

SEC("raw_tp/sys_enter")
__attribute__((naked)) int jumps_too_complex(void)
{
	asm volatile(".rept 8200; call 7; if r0 > 7 goto +0; .endr; r0 = 0; exit");
}
