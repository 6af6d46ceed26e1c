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
	s32 nr_threads;
	s32 group_exit_code;
	u32 flags;
} KERNEL_TYPE;

struct kuid___val {
	u32 val;
} KERNEL_TYPE;

struct cred {
	struct kuid___val euid;
	struct kuid___val egid;
} KERNEL_TYPE;

struct qstr {
	u32 len;
	const unsigned char *name;
} KERNEL_TYPE;

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
} KERNEL_TYPE;

struct vfsmount {
	struct dentry *mnt_root;
} KERNEL_TYPE;

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
} KERNEL_TYPE;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} KERNEL_TYPE;

struct file {
	struct path f_path;
} KERNEL_TYPE;

struct mm_struct {
	struct file *exe_file;
} KERNEL_TYPE;

struct kernfs_node {
	u64 id;
} KERNEL_TYPE;

struct cgroup_root {
	s32 hierarchy_id;
} KERNEL_TYPE;

struct cgroup {
	s32 level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
} KERNEL_TYPE;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
} KERNEL_TYPE;

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
} KERNEL_TYPE;

/* x86 has status; arm64 keeps its one bit of interest in flags. */
struct thread_info {
	unsigned long flags;
	u32 status;
} KERNEL_TYPE;

struct task_struct {
	struct thread_info thread_info;
	u32 flags;
	s32 exit_code;
	s32 pid;
	s32 tgid;
	struct mm_struct *mm;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	const struct cred *cred;
	struct signal_struct *signal;
	struct css_set *cgroups;
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
