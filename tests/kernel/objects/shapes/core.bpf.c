/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* CO-RE: what the compiler leaves open and libbpf fills in from the running kernel's BTF. */
#include "shape.h"
#include <bpf/bpf_core_read.h>

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	/* Bit-fields, in C in another order and of another size than in the kernel. */
	unsigned sched_reset_on_fork : 1;
	unsigned in_execve : 1;
	char comm[4];
} __attribute__((preserve_access_index));

/* Never was in the kernel. */
struct task_struct___imagined {
	int favourite_colour;
} __attribute__((preserve_access_index));

struct never_was {
	int nothing;
} __attribute__((preserve_access_index));

/* Their numbers are wrong here, on purpose: they are the kernel's once the object is loaded. */
enum bpf_map_type___wrong { BPF_MAP_TYPE_HASH___wrong = 1001, BPF_MAP_TYPE_IMAGINED___wrong = 1002 };

const volatile u32 target;

u32 tgid_seen;
u32 leader_seen;
u32 hash_number;
u32 comm_size;
u32 comm_offset;
_Bool has_tgid;
_Bool has_favourite_colour;
_Bool has_type;
_Bool has_hash_number;
_Bool has_imagined_number;
s32 favourite_colour = -1;
u32 in_execve = 9;

SEC("raw_tp/sys_enter")
int read(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (bpf_get_current_pid_tgid() >> 32 != target)
		return 0;
	tgid_seen = BPF_CORE_READ(task, tgid);
	leader_seen = BPF_CORE_READ(task, group_leader, pid);
	in_execve = BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
	comm_size = bpf_core_field_size(task->comm);
	comm_offset = bpf_core_field_offset(task->comm);
	has_tgid = bpf_core_field_exists(task->tgid);
	has_type = bpf_core_type_exists(struct never_was);
	has_favourite_colour = bpf_core_field_exists(struct task_struct___imagined, favourite_colour);
	if (has_favourite_colour)
		favourite_colour = BPF_CORE_READ((struct task_struct___imagined *)task, favourite_colour);
	hash_number = bpf_core_enum_value(enum bpf_map_type___wrong, BPF_MAP_TYPE_HASH___wrong);
	has_hash_number = bpf_core_enum_value_exists(enum bpf_map_type___wrong, BPF_MAP_TYPE_HASH___wrong);
	has_imagined_number = bpf_core_enum_value_exists(enum bpf_map_type___wrong, BPF_MAP_TYPE_IMAGINED___wrong);
	return 0;
}
