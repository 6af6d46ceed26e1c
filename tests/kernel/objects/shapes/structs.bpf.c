/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys and values with everything that C allows in a struct. */
#include "shape.h"

enum colour { RED, GREEN = 7, BLUE = 1000 };
enum direction { BACK = -1, NOWHERE, FORTH };
enum huge { SMALL = 1, HUGE = 0x100000000ULL };

typedef struct {
	s16 x;
	s16 y;
} point_t;

struct key {
	u32 group;
	char name[8];
	u32 low : 3;
	u32 middle : 11;
	u32 high : 18;
};

struct value {
	u64 count;
	point_t corner;
	struct {
		point_t from;
		point_t to;
	} line;
	/* Anonymous: its members are the struct's own. */
	struct {
		u16 left;
		u16 right;
	};
	union {
		u32 number;
		u8 octets[4];
	} either;
	union {
		u32 seconds;
		u16 halves[2];
	};
	s32 negative : 5;
	u32 : 3;
	u32 wide : 24;
	u64 very_wide : 40;
	u64 rest : 24;
	enum colour colour;
	enum direction direction;
	enum huge huge;
	char text[12];
	u8 raw[3];
	_Bool flag;
	s16 matrix[2][3];
	point_t points[2];
	void *pointer;
	u8 tail;
};

/* No byte between the members, none at the end. */
struct __attribute__((packed)) packed {
	u8 kind;
	u32 number;
	u16 rest;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct key);
	__type(value, struct value);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct packed);
	__type(value, struct packed);
} packed_records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, enum colour);
	__type(value, point_t);
} by_colour SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, __int128);
} sixteen_bytes SEC(".maps");

struct key chosen;

SEC("tc")
int fill(struct __sk_buff *skb)
{
	struct key key = chosen;
	struct value *value = bpf_map_lookup_elem(&records, &key);

	if (!value)
		return TC_ACT_SHOT;
	value->count += key.middle;
	value->corner.x = -3;
	value->line.to.y = 1009;
	value->right = 65535;
	value->either.octets[3] = 1;
	value->seconds = 61;
	value->negative = -9;
	value->wide = 0xABCDEF;
	value->very_wide = 0x123456789AULL;
	value->rest = 0xFEDCBA;
	value->colour = BLUE;
	value->direction = BACK;
	value->huge = HUGE;
	__builtin_memcpy(value->text, "twelve chars", 12);
	value->raw[1] = 255;
	value->flag = 1;
	value->matrix[1][2] = -6;
	value->points[1].x = 11;
	value->tail = 97;
	return TC_ACT_OK;
}
