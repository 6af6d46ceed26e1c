/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Globals of every kind: of all types, in all sections, with sections of their own. */
#include "shape.h"

enum mode { OFF, ON, AUTOMATIC = 10 };

struct limits {
	u64 most;
	s32 least;
	char name[12];
};

/* .rodata: knobs where they are volatile; the compiler has used up the value of a plain constant. */
const volatile u8 byte_knob = 200;
const volatile s8 signed_byte_knob = -100;
const volatile u16 short_knob = 60000;
const volatile u32 word_knob = 1;
const volatile s64 long_knob = -5;
const volatile _Bool flag_knob = 1;
const volatile enum mode mode_knob = ON;
const volatile char text_knob[16] = "before";
const volatile u32 list_knob[4] = { 1, 2, 3 };
const volatile struct limits limits_knob = { 10, -10, "ten" };
const u32 fixed = 42;
static volatile const u32 hidden_knob = 3;
const volatile u32 far_knob SEC(".rodata.far") = 4;

/* .data */
u64 number = 5;
s16 table[3][2] = { { 1, 2 }, { 3, -4 } };
struct limits limits = { 1, -1, "one" };
enum mode mode = AUTOMATIC;
u32 apart SEC(".data.apart") = 7;
static u32 hidden = 8;

/* .bss */
u64 runs;
u32 word_seen;
s64 long_seen;
char text_seen[16];
u32 sum_seen;
_Bool flag_seen;
enum mode mode_seen;
u64 many[512];
u32 more SEC(".bss.more");

SEC("tc")
int copy(struct __sk_buff *skb)
{
	int i;

	word_seen = word_knob + byte_knob + signed_byte_knob + short_knob + hidden_knob + far_knob;
	long_seen = long_knob;
	flag_seen = flag_knob;
	mode_seen = mode_knob;
	sum_seen = 0;
	for (i = 0; i < 16; i++)
		text_seen[i] = text_knob[i];
	for (i = 0; i < 4; i++)
		sum_seen += list_knob[i];
	sum_seen += limits_knob.least;
	number += number;
	table[2][1] = table[1][1];
	limits.least -= 1;
	mode = OFF;
	apart++;
	more++;
	hidden++;
	many[511] = skb->len;
	runs++;
	return fixed;
}
