/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The cgroup that says whose a task is: of version 2 where it is in one, and else (its root holds all tasks of a machine
 * that still uses version 1) that of the memory controller, which every container has. Ids are unique in a hierarchy.
 */
#ifndef SONDE_CGROUP_BPF_H
#define SONDE_CGROUP_BPF_H

#include "kernel.bpf.h"

enum cgroup_subsys_id___sonde {
	memory_cgrp_id___sonde = 4,
};

struct cgroup_place {
	u64 id;
	u32 hierarchy;
};

static __always_inline struct cgroup_place cgroup_place_of(const struct cgroup *cgroup)
{
	return (struct cgroup_place){ BPF_CORE_READ(cgroup, kn, id), BPF_CORE_READ(cgroup, root, hierarchy_id) };
}

static __always_inline const struct cgroup *cgroup_of_memory(const struct css_set *set)
{
	const char *subsystems = (const char *)set + bpf_core_field_offset(set->subsys);
	struct cgroup_subsys_state *state = NULL;
	u64 number;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id___sonde, memory_cgrp_id___sonde))
		return NULL;
	number = bpf_core_enum_value(enum cgroup_subsys_id___sonde, memory_cgrp_id___sonde);
	bpf_probe_read_kernel(&state, sizeof(state), subsystems + number * sizeof(state));
	return BPF_CORE_READ(state, cgroup);
}

static __always_inline struct cgroup_place cgroup_place(const struct task_struct *task)
{
	const struct css_set *set = BPF_CORE_READ(task, cgroups);
	const struct cgroup *cgroup = BPF_CORE_READ(set, dfl_cgrp);

	if (BPF_CORE_READ(cgroup, level) == 0) {
		const struct cgroup *of_memory = cgroup_of_memory(set);

		if (of_memory && BPF_CORE_READ(of_memory, root, hierarchy_id))
			cgroup = of_memory;
	}
	return cgroup_place_of(cgroup);
}

#endif
