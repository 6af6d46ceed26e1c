/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A value for each task: PER_TASK(NAME, TYPE) gives NAME_look, NAME_find, NAME_make and NAME_forget.
 *
 * It lies in the task's own storage, which costs a third of a hash and goes with the task. There the scheduler's hooks only
 * look: making it allocates memory, which may wake kswapd, and a wake-up from below a runqueue's lock can wait for that
 * very lock. (Since Linux 6.4 task storage comes from a pool, 6ae9d5e99e1d; before, it does not.) So it is made where
 * nothing is locked: when a task is forked, and by an iterator over those that are there already.
 *
 * Where tracing programs have no task storage (before Linux 5.12, a10787e6d58c), or where the hook's arguments are mere
 * numbers to the verifier (raw tracepoints), it is a hash by the task's address, whose entries are allocated when it is
 * loaded: these are made at need, and forgotten when the task is dead. Of the two maps one is left out.
 */
#ifndef SONDE_PER_TASK_BPF_H
#define SONDE_PER_TASK_BPF_H

#include "kernel.bpf.h"
#include "knob.bpf.h"

enum { PER_TASK_MAX = 32768 };

KNOB(bool, in_task_storage, true, "false where values of tasks are in a hash by address");

#define PER_TASK(name, value_type)                                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);                                                               \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__type(key, int);                                                                                      \
		__type(value, value_type);                                                                             \
	} name SEC(".maps");                                                                                           \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, PER_TASK_MAX);                                                                     \
		__type(key, u64);                                                                                      \
		__type(value, value_type);                                                                             \
	} name##_by_task SEC(".maps");                                                                                 \
	static const value_type name##_none;                                                                           \
	/* NULL where there is none. */                                                                                \
	static __always_inline value_type *name##_look(struct task_struct *task)                                       \
	{                                                                                                              \
		u64 address = (u64)task;                                                                               \
                                                                                                                       \
		if (in_task_storage)                                                                                   \
			return bpf_task_storage_get(&name, task, NULL, 0);                                             \
		return bpf_map_lookup_elem(&name##_by_task, &address);                                                 \
	}                                                                                                              \
	/* On the scheduler's hooks; NULL where there is no room, or no storage yet. */                                \
	static __always_inline value_type *name##_find(struct task_struct *task)                                       \
	{                                                                                                              \
		value_type *found = name##_look(task);                                                                 \
		u64 address = (u64)task;                                                                               \
                                                                                                                       \
		if (in_task_storage || found)                                                                          \
			return found;                                                                                  \
		bpf_map_update_elem(&name##_by_task, &address, &name##_none, BPF_NOEXIST);                             \
		return bpf_map_lookup_elem(&name##_by_task, &address);                                                 \
	}                                                                                                              \
	/* Where nothing is locked; NULL where there is no room, or the kernel is changing this task's storage. */         \
	static __always_inline value_type *name##_make(struct task_struct *task)                                       \
	{                                                                                                              \
		if (in_task_storage)                                                                                   \
			return bpf_task_storage_get(&name, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);                \
		return name##_find(task);                                                                              \
	}                                                                                                              \
	/* When it does not run again. */                                                                              \
	static __always_inline void name##_forget(struct task_struct *task)                                            \
	{                                                                                                              \
		u64 address = (u64)task;                                                                               \
                                                                                                                       \
		if (!in_task_storage)                                                                                  \
			bpf_map_delete_elem(&name##_by_task, &address);                                                \
	}                                                                                                              \
	_Static_assert(sizeof(value_type) % 8 == 0, "hidden padding")

struct bpf_iter__task {
	void *meta;
	struct task_struct *task;
};

#endif
