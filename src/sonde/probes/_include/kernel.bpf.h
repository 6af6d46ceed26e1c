/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's types, by hand: only the fields in use. Their offsets come from the running kernel's BTF when the object
 * is loaded (CO-RE), so order and size mean nothing here. A name's part after ___ is ours and is not looked for.
 */
#ifndef SONDE_KERNEL_BPF_H
#define SONDE_KERNEL_BPF_H

#include "types.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define KERNEL_TYPE __attribute__((preserve_access_index))
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

struct ns_common {
	u32 inum;
} KERNEL_TYPE;

struct pid_namespace {
	struct ns_common ns;
} KERNEL_TYPE;

struct upid {
	s32 nr;
	struct pid_namespace *ns;
} KERNEL_TYPE;

struct pid {
	u32 level;
	struct upid numbers[1];
} KERNEL_TYPE;

struct atomic___count {
	s32 counter;
} KERNEL_TYPE;

struct signal_struct {
	struct atomic___count live;
} KERNEL_TYPE;

/* x86 has status; arm64 keeps its one bit of interest in flags. */
struct thread_info {
	unsigned long flags;
	u32 status;
} KERNEL_TYPE;

struct task_struct {
	struct thread_info thread_info;
	s32 pid;
	s32 tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	u64 start_boottime;
	char comm[COMM_LENGTH];
} KERNEL_TYPE;

enum bpf_func_id___sonde {
	BPF_FUNC_get_current_task_btf___sonde = 158,
};

/* bpf_get_current_task_btf came with Linux 5.11 (3ca1032ab7ab). A constant once loaded: the other branch vanishes. */
static __always_inline bool has_typed_task(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id___sonde, BPF_FUNC_get_current_task_btf___sonde);
}

static __always_inline struct task_struct *current_task(void)
{
	if (has_typed_task())
		return bpf_get_current_task_btf();
	return (struct task_struct *)bpf_get_current_task();
}

/* A field of the current task: a plain load where the verifier knows the pointer's type, else a probe read. */
#define TASK_READ(task, field) (has_typed_task() ? (task)->field : BPF_CORE_READ(task, field))

#endif
