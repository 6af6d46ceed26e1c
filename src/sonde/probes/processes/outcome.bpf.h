/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The key of the tables: what is stable of a process when it is gone, and how it ended. */
#ifndef SONDE_PROCESSES_OUTCOME_BPF_H
#define SONDE_PROCESSES_OUTCOME_BPF_H

#include "event.bpf.h"

enum {
	/* Names × cgroups × ends. */
	ROWS_MAX = 10240,
};

struct table_counters {
	u64 seen;
	u64 filtered;
};

struct outcome_key {
	sonde_cgroup_id_t cgroup_id;
	sonde_hierarchy_t hierarchy;
	u8 exit_code;
	u8 exit_signal;
	u8 padding[2];
	sonde_comm_t comm[COMM_LENGTH];
};
_Static_assert(sizeof(struct outcome_key) == 32, "hidden padding");

/* Of a process that has not ended: code 0, no signal. */
static __always_inline struct outcome_key outcome_of(const struct event *event)
{
	struct cgroup_place place = cgroup_place(event->process.task);
	struct outcome_key key = { .cgroup_id = place.id, .hierarchy = place.hierarchy };

	read_comm(key.comm, event->process.task);
	return key;
}

static __always_inline struct outcome_key outcome_at_exit(const struct event *event)
{
	struct ending ending = ending_of(event->process.task);
	struct outcome_key key = outcome_of(event);

	key.exit_code = ending.code;
	key.exit_signal = ending.signal;
	return key;
}

#endif
