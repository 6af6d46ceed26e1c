/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The stream lifecycle: each process that begins, runs another program, moves to another cgroup, or ends. */
#ifndef SONDE_PROCESSES_LIFECYCLE_BPF_H
#define SONDE_PROCESSES_LIFECYCLE_BPF_H

#include "event.bpf.h"
#include "executable.bpf.h"
#include "stream.bpf.h"

KNOB(bool, with_cgroups, false, "cgroups that are made, and processes that move to one, are records too");

struct lifecycle_counters {
	u64 seen;
	u64 filtered;
	u64 lost_ring_full;
	u64 lost_rate;
};

ACCOUNTING(lifecycle, struct lifecycle_counters, PROGRAMS);

/* The names are in enrich/process_event.py, too. */
enum lifecycle_event {
	EVENT_FORK = 1,
	EVENT_EXEC,
	EVENT_EXIT,
	EVENT_CGROUP,
	EVENT_MOVE,
};

struct lifecycle_record {
	sonde_time_ns_t time_ns;
	sonde_boottime_ns_t process_start_ns;
	sonde_boottime_ns_t parent_start_ns;
	/* How long an ended process has lived. */
	sonde_duration_ns_t lifetime_ns;
	sonde_cgroup_id_t cgroup_id;
	sonde_hierarchy_t hierarchy;
	sonde_pid_t pid;
	sonde_pid_t ppid;
	sonde_uid_t uid;
	u32 gid;
	sonde_process_event_t event;
	u8 exit_code;
	u8 exit_signal;
	bool is_kernel;
	sonde_comm_t comm[COMM_LENGTH];
	/* Of an exec the path of the executable, of a new cgroup its own. */
	sonde_text_t text[];
};
_Static_assert(sizeof(struct lifecycle_record) == 80, "hidden padding");

/* 5,000 processes a second that fork, exec and exit are 1.5 MB of records. */
RECORD_STREAM(lifecycle, struct lifecycle_record, 4 << 20);

/* A record and its text. */
struct lifecycle_scratch {
	u64 words[(sizeof(struct lifecycle_record) + EXECUTABLE_BYTES) / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PROGRAMS);
	__type(key, u32);
	__type(value, struct lifecycle_scratch);
} lifecycle_scratch SEC(".maps");

static __always_inline void lifecycle_fill(struct lifecycle_record *record, const struct event *event)
{
	const struct task_struct *task = event->process.task;
	struct task_struct *parent = BPF_CORE_READ(task, group_leader, real_parent, group_leader);
	struct cgroup_place place = cgroup_place(task);
	const struct cred *cred = BPF_CORE_READ(task, cred);

	record->time_ns = bpf_ktime_get_ns();
	record->process_start_ns = event->process.start_ns;
	record->parent_start_ns = BPF_CORE_READ(parent, start_boottime);
	record->lifetime_ns = DURATION_UNKNOWN;
	record->cgroup_id = place.id;
	record->hierarchy = place.hierarchy;
	record->pid = event->process.pid;
	record->ppid = pidns_inum ? pidns_number(BPF_CORE_READ(parent, thread_pid)) : BPF_CORE_READ(parent, tgid);
	record->uid = BPF_CORE_READ(cred, euid.val);
	record->gid = BPF_CORE_READ(cred, egid.val);
	record->is_kernel = (BPF_CORE_READ(task, flags) & TASK_IS_KERNEL) != 0;
	/* The scratch memory holds the record before this one. */
	__builtin_memset(record->comm, 0, sizeof(record->comm));
	read_comm(record->comm, task);
}

static __always_inline bool lifecycle_has_room(struct lifecycle_counters *counters)
{
	if (stream_has_room(&lifecycle_turn, bpf_ktime_get_ns()))
		return true;
	counters->lost_rate++;
	return false;
}

/* A record without text. */
static __always_inline void lifecycle_submit(struct lifecycle_counters *counters, const struct event *event,
					     enum lifecycle_event what)
{
	struct lifecycle_record *record;

	if (!lifecycle_has_room(counters))
		return;
	record = bpf_ringbuf_reserve(&lifecycle, sizeof(*record), 0);
	if (!record) {
		counters->lost_ring_full++;
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	lifecycle_fill(record, event);
	record->event = what;
	if (what == EVENT_EXIT) {
		struct ending ending = ending_of(event->process.task);

		record->exit_code = ending.code;
		record->exit_signal = ending.signal;
		record->lifetime_ns = lifetime_of(&event->process);
	}
	stream_submit(&lifecycle, record, sizeof(*record));
}

/* A record with as much text as there is in the scratch. */
static __always_inline void lifecycle_output(struct lifecycle_counters *counters, struct lifecycle_scratch *scratch,
					     u32 text_bytes)
{
	u64 flags = stream_wakeup(&lifecycle, sizeof(scratch->words));

	text_bytes &= EXECUTABLE_BYTES - 1;
	if (bpf_ringbuf_output(&lifecycle, scratch->words, sizeof(struct lifecycle_record) + text_bytes, flags))
		counters->lost_ring_full++;
}

static __always_inline struct lifecycle_counters *lifecycle_counters_of(u32 program)
{
	return active ? bpf_map_lookup_elem(&lifecycle_accounting, &program) : NULL;
}

SEC("tp_btf/sched_process_fork")
int lifecycle_fork(u64 *ctx)
{
	struct lifecycle_counters *counters = lifecycle_counters_of(PROGRAM_FORK);
	struct event event;

	if (!counters || !is_new_process(ctx))
		return 0;
	counters->seen++;
	event = event_of_fork(ctx);
	if (event_is_selected(&event))
		lifecycle_submit(counters, &event, EVENT_FORK);
	else
		counters->filtered++;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int lifecycle_exec(u64 *ctx)
{
	struct lifecycle_counters *counters = lifecycle_counters_of(PROGRAM_EXEC);
	struct lifecycle_scratch *scratch;
	struct executable_path *path;
	u32 program = PROGRAM_EXEC;
	struct lifecycle_record *record;
	struct event event;

	if (!counters)
		return 0;
	counters->seen++;
	event = event_of_current();
	scratch = bpf_map_lookup_elem(&lifecycle_scratch, &program);
	if (!scratch || !event_is_selected(&event)) {
		counters->filtered++;
		return 0;
	}
	if (!lifecycle_has_room(counters))
		return 0;
	record = (void *)scratch->words;
	lifecycle_fill(record, &event);
	record->event = EVENT_EXEC;
	path = executable_of(event.process.task);
	lifecycle_output(counters, scratch, path ? executable_copy(record->text, path) : 0);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int lifecycle_exit(u64 *ctx)
{
	struct lifecycle_counters *counters = lifecycle_counters_of(PROGRAM_EXIT);
	enum ending_verdict verdict;
	struct event event;

	if (!counters)
		return 0;
	verdict = end_of_process(ctx, &event);
	if (verdict == END_IS_NONE)
		return 0;
	counters->seen++;
	if (verdict == END_COUNTS)
		lifecycle_submit(counters, &event, EVENT_EXIT);
	else
		counters->filtered++;
	return 0;
}

/* So that the path of a cgroup is known even when it is gone before anybody has looked. */
SEC("tp_btf/cgroup_mkdir")
int lifecycle_mkdir(u64 *ctx)
{
	struct lifecycle_counters *counters = lifecycle_counters_of(PROGRAM_MAKE);
	struct lifecycle_scratch *scratch;
	struct lifecycle_record *record;
	struct cgroup_place place;
	u32 program = PROGRAM_MAKE;
	long length;

	if (!with_cgroups || !counters)
		return 0;
	scratch = bpf_map_lookup_elem(&lifecycle_scratch, &program);
	if (!scratch)
		return 0;
	counters->seen++;
	if (!lifecycle_has_room(counters))
		return 0;
	record = (void *)scratch->words;
	place = cgroup_place_of((const void *)ctx[0]);
	record->time_ns = bpf_ktime_get_ns();
	record->lifetime_ns = DURATION_UNKNOWN;
	record->cgroup_id = place.id;
	record->hierarchy = place.hierarchy;
	record->event = EVENT_CGROUP;
	length = bpf_probe_read_kernel_str(record->text, EXECUTABLE_BYTES, (const void *)ctx[1]);
	lifecycle_output(counters, scratch, length > 0 ? length - 1 : 0);
	return 0;
}

/* The task is not the current one: that writes to cgroup.procs. */
SEC("tp_btf/cgroup_attach_task")
int lifecycle_move(u64 *ctx)
{
	struct lifecycle_counters *counters = lifecycle_counters_of(PROGRAM_MOVE);
	struct task_struct *task = (void *)ctx[2];
	struct event event = {};

	if (!with_cgroups || !counters)
		return 0;
	counters->seen++;
	event.process.task = task;
	event.process.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	event.process.pid = pidns_inum ? pidns_number(BPF_CORE_READ(task, group_leader, thread_pid)) :
					 BPF_CORE_READ(task, tgid);
	if (is_selected(&event.process))
		lifecycle_submit(counters, &event, EVENT_MOVE);
	else
		counters->filtered++;
	return 0;
}

#endif
