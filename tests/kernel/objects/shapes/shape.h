/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all shapes use. They are compiled as other people compile: without the build's flags and its linker. */
#ifndef SHAPES_SHAPE_H
#define SHAPES_SHAPE_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;

enum { TC_ACT_OK = 0, TC_ACT_SHOT = 2 };

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
