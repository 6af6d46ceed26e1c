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

struct inode {
	u16 i_mode;
} KERNEL_TYPE;

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
} KERNEL_TYPE;

struct fdtable {
	u32 max_fds;
	struct file **fd;
} KERNEL_TYPE;

struct files_struct {
	struct fdtable *fdt;
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
	struct files_struct *files;
	u64 start_boottime;
	char comm[COMM_LENGTH];
} KERNEL_TYPE;

struct in6_addr___bytes {
	u8 bytes[16];
};

/* The addresses are in unions of the kernel's, which CO-RE looks through. Ports and IPv4 addresses as on the wire. */
struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_family;
	volatile u8 skc_state;
	struct in6_addr___bytes skc_v6_daddr;
	struct in6_addr___bytes skc_v6_rcv_saddr;
} KERNEL_TYPE;

/* sk_protocol is a member of its own since Linux 5.6 (bf9765145b85). */
struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	s32 sk_err;
	struct socket *sk_socket;
} KERNEL_TYPE;

struct inet_sock {
	u16 inet_sport;
} KERNEL_TYPE;

struct tcp_sock {
	u64 bytes_received;
	u64 bytes_acked;
	u32 total_retrans;
	u32 srtt_us;
} KERNEL_TYPE;

struct socket {
	struct file *file;
	struct sock *sk;
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
