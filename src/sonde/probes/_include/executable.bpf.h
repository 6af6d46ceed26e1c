/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The path of the program that a task runs, as /proc/PID/exe has it: from the file upwards, over mount points, to the root
 * of its mount namespace. bpf_d_path, which would write it, is for other hooks (btf_allowlist_d_path).
 */
#ifndef SONDE_EXECUTABLE_BPF_H
#define SONDE_EXECUTABLE_BPF_H

#include "kernel.bpf.h"

enum {
	/* Powers of two: the verifier follows masks. The kernel's NAME_MAX is 255. */
	EXECUTABLE_BYTES = 512,
	NAME_BYTES = 256,
	/* Components and mount points on the way up. */
	EXECUTABLE_STEPS = 40,
};

/* A walk, and what it found: written from the end of the path forwards. */
struct executable_path {
	const struct dentry *dentry;
	const struct mount *mount;
	/* Where the path begins; it ends at EXECUTABLE_BYTES. */
	u64 begin;
	/* The rest is room for the verifier, who knows of no sum that it is small. */
	char text[EXECUTABLE_BYTES + NAME_BYTES];
};

/* For one program of an object only: two would meet where programs can be preempted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct executable_path);
} executable_scratch SEC(".maps");

/* Put the entry's name and a slash before what is there; false if there is no room for it. */
static __always_inline bool executable_prepend(struct executable_path *path)
{
	/* A variable of its own: what BPF_CORE_READ is given is looked for in the kernel's types, member by member. */
	const struct dentry *dentry = path->dentry;
	u32 length = BPF_CORE_READ(dentry, d_name.len), at = path->begin;

	if (length >= NAME_BYTES || at > EXECUTABLE_BYTES || at < length + 2)
		return false;
	at -= length;
	length &= NAME_BYTES - 1;
	bpf_probe_read_kernel(&path->text[at & (EXECUTABLE_BYTES - 1)], length, BPF_CORE_READ(dentry, d_name.name));
	at--;
	path->text[at & (EXECUTABLE_BYTES - 1)] = '/';
	path->begin = at;
	return true;
}

enum { STEP_ON, STEP_WHOLE, STEP_TOO_LONG };

/*
 * One step towards the root. Global, so that the verifier looks at it once and not on every turn of the loop; before Linux
 * 5.12 such functions take numbers only (e5069b9c23b3), so the walk is in the map.
 */
__attribute__((noinline)) int executable_step(u32 entry)
{
	struct executable_path *path = bpf_map_lookup_elem(&executable_scratch, &entry);
	const struct dentry *dentry, *parent;
	const struct mount *mount, *above;

	if (!path)
		return STEP_TOO_LONG;
	dentry = path->dentry;
	mount = path->mount;
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount)
			return STEP_WHOLE;
		path->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		path->mount = above;
		return STEP_ON;
	}
	if (!executable_prepend(path))
		return STEP_TOO_LONG;
	parent = BPF_CORE_READ(dentry, d_parent);
	/* A file without a place: of memfd_create. */
	if (parent == dentry)
		return STEP_WHOLE;
	path->dentry = parent;
	return STEP_ON;
}

/*
 * Walk from a task's executable; NULL only if the map fails. A path that begins with a slash is whole, another is the end
 * of one that was too long. Tasks of the kernel have an empty one.
 */
static __always_inline struct executable_path *executable_of(const struct task_struct *task)
{
	u32 entry = 0;
	struct executable_path *path = bpf_map_lookup_elem(&executable_scratch, &entry);
	const struct file *file = BPF_CORE_READ(task, mm, exe_file);
	int step = STEP_ON;

	if (!path)
		return NULL;
	path->begin = EXECUTABLE_BYTES;
	if (!file)
		return path;
	path->dentry = BPF_CORE_READ(file, f_path.dentry);
	path->mount = (const void *)((const char *)BPF_CORE_READ(file, f_path.mnt) -
				     bpf_core_field_offset(struct mount, mnt));
	for (u32 turn = 0; turn < EXECUTABLE_STEPS && step == STEP_ON; turn++)
		step = executable_step(entry);
	if (step != STEP_WHOLE && path->begin < EXECUTABLE_BYTES)
		path->begin++;
	return path;
}

/* Copy the path to a place of EXECUTABLE_BYTES; how many bytes it has, without a NUL. */
static __always_inline u32 executable_copy(char *to, const struct executable_path *path)
{
	u32 begin = path->begin, length;

	if (begin >= EXECUTABLE_BYTES)
		return 0;
	length = (EXECUTABLE_BYTES - begin) & (EXECUTABLE_BYTES - 1);
	bpf_probe_read_kernel(to, length, &path->text[begin & (EXECUTABLE_BYTES - 1)]);
	return length;
}

#endif
