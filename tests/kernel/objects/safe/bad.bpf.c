// SPDX-License-Identifier: GPL-2.0-only
// The bad one of two objects that differ in nothing but the name of their program.
char LICENSE[] __attribute__((section("license"))) = "GPL";

__attribute__((section("raw_tp/sys_enter")))
int bad(void *ctx)
{
	return 0;
}
