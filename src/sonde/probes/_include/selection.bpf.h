/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose events count. Two kinds of question, the cheapest first: what a process is (its number, its parents), which does
 * not change while it runs; and what it is just now (its name, its cgroup), which may change between two events.
 * When nothing is selected nothing is looked up.
 */
#ifndef SONDE_SELECTION_BPF_H
#define SONDE_SELECTION_BPF_H

#include "knob.bpf.h"
#include "pidns.bpf.h"

KNOB(u32, own_pid, 0, "sonde's own process, whose events are filtered; 0: they count");
KNOB(u32, own_loader_pid, 0, "the process that has loaded this, where another one reads");
KNOB(u32, only_pid, 0, "only this process (thread group)");
KNOB(bool, only_followed, false, "only processes in the map followed, and all that they start");
KNOB(bool, only_cgroup, false, "only processes below the cgroup in the map cgroups");
KNOB(bool, only_comm, false, "only processes whose name is comm");
KNOB_ARRAY(char, comm, COMM_LENGTH, "the name of processes that only_comm selects");

struct process {
	struct task_struct *task;
	u64 start_ns;
	u32 pid;
};

/* pid → process_start_ns; Python puts 0 there for the first ones, and their first event replaces it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, sonde_pid_t);
	__type(value, sonde_boottime_ns_t);
} followed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} cgroups SEC(".maps");

static __always_inline struct process current_process(void)
{
	struct task_struct *task = current_task();

	return (struct process){
		.task = task,
		/* Two steps: a probe read takes each by itself, which TASK_READ cannot spell. */
		.start_ns = has_typed_task() ? task->group_leader->start_boottime :
					       BPF_CORE_READ(task, group_leader, start_boottime),
		.pid = pidns_pid(task),
	};
}

static __always_inline void read_comm(char *name, const struct task_struct *task)
{
	/* Up to the NUL only: before Linux 6.0 exec left the old name's tail behind it. */
	bpf_probe_read_kernel_str(name, COMM_LENGTH, &BPF_CORE_READ(task, group_leader)->comm);
}

static __always_inline bool is_followed(const struct process *process)
{
	u32 pid = process->pid;
	u64 *start_ns = bpf_map_lookup_elem(&followed, &pid);

	if (!start_ns)
		return false;
	if (*start_ns == 0)
		*start_ns = process->start_ns;
	/* Another process has got the number of one that ended. */
	return *start_ns == process->start_ns;
}

static __always_inline bool is_selected(const struct process *process)
{
	if (pidns_inum && !process->pid)
		return false;
	if (own_pid && (process->pid == own_pid || process->pid == own_loader_pid))
		return false;
	if (only_pid && process->pid != only_pid)
		return false;
	return !only_followed || is_followed(process);
}

static __always_inline bool has_comm(const struct process *process)
{
	union {
		char text[COMM_LENGTH];
		u64 words[2];
	} name = {};
	const volatile u64 *wanted = (const volatile u64 *)comm;

	read_comm(name.text, process->task);
	return name.words[0] == wanted[0] && name.words[1] == wanted[1];
}

static __always_inline bool is_selected_now(const struct process *process)
{
	if (only_comm && !has_comm(process))
		return false;
	return !only_cgroup || bpf_current_task_under_cgroup(&cgroups, 0) == 1;
}

#endif
