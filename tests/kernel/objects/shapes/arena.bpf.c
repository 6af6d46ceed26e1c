/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory that programs and user space share, page by page (Linux 6.9). */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} arena SEC(".maps");

void *bpf_arena_alloc_pages(void *map, void *address, u32 pages, int node, u64 flags) __ksym;

SEC("syscall")
int allocate(void *ctx)
{
	return bpf_arena_alloc_pages(&arena, 0, 1, -1, 0) ? 0 : 1;
}
