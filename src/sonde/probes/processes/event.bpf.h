/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the outputs have in common: what is an event, whose it is, and how a process ended. */
#ifndef SONDE_PROCESSES_EVENT_BPF_H
#define SONDE_PROCESSES_EVENT_BPF_H

#include "accounting.bpf.h"
#include "cgroup.bpf.h"
#include "kernel.bpf.h"
#include "knob.bpf.h"
#include "selection.bpf.h"

enum {
	TASK_IS_KERNEL = 0x00200000, /* PF_KTHREAD */
	SIGNAL_IS_GROUP_EXIT = 0x4, /* SIGNAL_GROUP_EXIT */
};

/* Numbers are in enrich/process_event.py, too. */
typedef u8 sonde_process_event_t;

/* Each program has its own entry of the counters, and of the scratch memory. */
enum { PROGRAM_FORK, PROGRAM_EXEC, PROGRAM_EXIT, PROGRAM_MAKE, PROGRAM_MOVE, PROGRAMS };

/* A process that begins (with its parent's program), runs another program, or ends; told by who does it. */
struct event {
	/* The process that it is about; at a fork the new one, while the current task is its parent. */
	struct process process;
	/* Whose doing it is. */
	struct process actor;
};

static __always_inline struct event event_of_fork(const u64 *ctx)
{
	struct task_struct *child = (void *)ctx[1];

	return (struct event){
		.process = { child,
			     BPF_CORE_READ(child, start_boottime),
			     pidns_inum ? pidns_number(BPF_CORE_READ(child, thread_pid)) : BPF_CORE_READ(child, tgid) },
		.actor = current_process(),
	};
}

static __always_inline struct event event_of_current(void)
{
	struct process process = current_process();

	return (struct event){ process, process };
}

/* A new thread is no new process. */
static __always_inline bool is_new_process(const u64 *ctx)
{
	const struct task_struct *child = (const void *)ctx[1];

	return BPF_CORE_READ(child, pid) == BPF_CORE_READ(child, tgid);
}

/*
 * What a process does counts as its own, a fork as the parent's; so who follows a process sees its children begin. One
 * that comes into our pid namespace from outside begins there without a parent.
 */
static __always_inline bool event_is_selected(const struct event *event)
{
	if (pidns_inum && !event->process.pid)
		return false;
	if (pidns_inum && !event->actor.pid)
		return !only_pid && !only_followed && is_selected_now(&event->actor);
	return is_selected(&event->actor) && is_selected_now(&event->actor);
}

/* Linux 6.16 (e80c2ae9f9b0: "extend sched_process_exit") tells which thread is the last one. */
struct trace_event_raw_sched_process_exit___6_16 {
	bool group_dead;
} KERNEL_TYPE;

static __always_inline bool exit_tells_last(void)
{
	return bpf_core_field_exists(struct trace_event_raw_sched_process_exit___6_16, group_dead);
}

struct ended_process {
	u64 start_ns;
	u64 tgid;
};

/* Before that several threads may find that none is left: of processes with several the first one puts it in here. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ended_process);
	__type(value, u8);
} ended SEC(".maps");

/* Whether no thread is left but this one, or others that are past the same point. */
static __always_inline bool is_last_thread(const u64 *ctx)
{
	if (exit_tells_last())
		return ctx[1] & 0xff;
	return BPF_CORE_READ(current_task(), signal, live.counter) == 0;
}

enum { EXISTS = 17 /* EEXIST */ };

/* Of the last threads of a process the first that asks. */
static __always_inline bool is_first_of_last(void)
{
	struct task_struct *task = current_task();
	struct ended_process process = {};
	u8 value = 1;

	if (exit_tells_last())
		return true;
	process.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	process.tgid = BPF_CORE_READ(task, tgid);
	/* The only thread that the process has, now; but another may have been here, and gone since. */
	if (BPF_CORE_READ(task, signal, nr_threads) == 1)
		return !bpf_map_lookup_elem(&ended, &process);
	/* As an int: before Linux 6.4 (d7f10df86202) the upper half of a map's error is undefined. */
	return (int)bpf_map_update_elem(&ended, &process, &value, BPF_NOEXIST) != -EXISTS;
}

enum ending_verdict { END_IS_NONE, END_IS_FILTERED, END_COUNTS };

/*
 * Whether a process ends here, once for each, and whether it is selected. Then it is followed no more: a program beside this
 * one (unfollowed.bpf.h) might have found another thread to be the last, and taken the process out before we ask.
 */
static __always_inline enum ending_verdict end_of_process(const u64 *ctx, struct event *event)
{
	u32 pid;

	if (!is_last_thread(ctx) || !is_first_of_last())
		return END_IS_NONE;
	*event = event_of_current();
	if (!event_is_selected(event))
		return END_IS_FILTERED;
	pid = event->process.pid;
	if (only_followed)
		bpf_map_delete_elem(&followed, &pid);
	return END_COUNTS;
}

/* By the boot clock, which goes on while the machine sleeps; the kernel noted the start by it. */
static __always_inline u64 lifetime_of(const struct process *process)
{
	u64 now_ns = bpf_ktime_get_boot_ns();

	return now_ns > process->start_ns ? now_ns - process->start_ns : 0;
}

struct ending {
	u8 code;
	u8 signal;
};

/* As wait(2) tells the parent: of the whole group where that was ended as one, else of the first thread. */
static __always_inline struct ending ending_of(const struct task_struct *task)
{
	const struct signal_struct *signal = BPF_CORE_READ(task, signal);
	u32 code;

	if (BPF_CORE_READ(signal, flags) & SIGNAL_IS_GROUP_EXIT)
		code = BPF_CORE_READ(signal, group_exit_code);
	else
		code = BPF_CORE_READ(task, group_leader, exit_code);
	return (struct ending){ .code = code >> 8 & 0xff, .signal = code & 0x7f };
}

#endif
