/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What sonde needs in C beside libbpf: loops over records that must not run Python, and system calls that
 * neither libbpf nor the standard library wraps.  Every function returns 0 (or a count) or a negative errno;
 * cffi releases the GIL around each call.
 */
#ifndef SONDE_NATIVE_H
#define SONDE_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

/* libbpf's messages: start forwarding those up to level_max (libbpf_print_level) to sonde_on_log. */
void sonde_log_start(int level_max);

/* The consumer of a BPF ring buffer: mapped once, drained in batches. */
struct sonde_ring;
int sonde_ring_open(int map_fd, uint32_t size_bytes, uint32_t window_bytes, struct sonde_ring **ring);
void sonde_ring_close(struct sonde_ring *ring);
uint64_t sonde_ring_pending(const struct sonde_ring *ring);
int64_t sonde_ring_drain_fixed(struct sonde_ring *ring, void *out, uint32_t record_bytes, uint64_t records_max);
int64_t sonde_ring_drain_variable(struct sonde_ring *ring, void *out, uint64_t out_bytes,
				  uint64_t *offsets, uint32_t *lengths, uint64_t records_max);

/* The consumer of a perf event array, for kernels and programs without ring buffers. */
struct sonde_perf_ring;
int sonde_perf_ring_open(int map_fd, uint32_t pages_per_cpu, struct sonde_perf_ring **ring);
void sonde_perf_ring_close(struct sonde_perf_ring *ring);
int sonde_perf_ring_fd(const struct sonde_perf_ring *ring);
int sonde_perf_ring_consume(struct sonde_perf_ring *ring);
void sonde_perf_ring_reset(struct sonde_perf_ring *ring);
const uint8_t *sonde_perf_ring_data(const struct sonde_perf_ring *ring, uint64_t *data_bytes);
const uint64_t *sonde_perf_ring_offsets(const struct sonde_perf_ring *ring, uint64_t *records);
const uint32_t *sonde_perf_ring_lengths(const struct sonde_perf_ring *ring);
uint64_t sonde_perf_ring_lost(const struct sonde_perf_ring *ring);

#include "decl/side_band.h"

/*
 * Where a batched read of a map has come to.  The kernel's token is four bytes for hashes and a key for all
 * others; by_key is set once the kernel has answered that this map has no batch operations.
 */
struct sonde_cursor {
	bool started;
	bool done;
	bool by_key;
	uint8_t token[512];
};

int sonde_map_read(int map_fd, struct sonde_cursor *cursor, uint32_t key_bytes, uint32_t value_bytes,
		   void *keys, void *values, uint32_t capacity, uint32_t *count);
int sonde_map_update(int map_fd, uint32_t key_bytes, uint32_t value_bytes, const void *keys,
		     const void *values, uint32_t count, uint64_t flags, uint32_t *done);
int sonde_map_delete(int map_fd, uint32_t key_bytes, const void *keys, uint32_t count, uint32_t *done);

struct sonde_perf_event {
	uint32_t type;
	uint64_t config;
	uint64_t config1;
	uint64_t config2;
	uint64_t period;   /* or the frequency in Hz */
	bool is_frequency;
	bool inherit;        /* children of the task too */
	bool inherit_thread; /* its new threads, not its new processes; Linux 5.13 */
	bool is_disabled;    /* until it is enabled */
	int pid;
	int cpu;
};
/* What a read of it gives: the count, and for how long it was enabled, in ns. */
struct sonde_perf_count {
	uint64_t value;
	uint64_t enabled_ns;
};
int sonde_perf_event_open(const struct sonde_perf_event *event);

/* A file system mounted nowhere: the descriptor of its root.  fsopen(2), fsmount(2); Linux 5.2. */
int sonde_mount_detached(const char *filesystem);

/* The kind of file system that an open file is on: a magic number of linux/magic.h. */
int64_t sonde_filesystem_type(int fd);

/* Wait until every CPU has passed a quiescent state: no program that began before is still running. */
int sonde_membarrier_global(void);

/* Give the kernel what the C library keeps of freed memory, where it does (glibc's malloc_trim(3)). */
void sonde_give_back_memory(void);

/* Give the calling thread a network namespace of its own, with nothing but a loopback; CAP_SYS_ADMIN. */
int sonde_unshare_network(void);

/*
 * Start path stopped before its execve: the child stops itself with SIGSTOP and the next system call that it
 * makes is execve.  Returns the child's pid; the caller waits, sends SIGCONT, and reaps.
 */
int sonde_spawn_stopped(const char *path, char **argv, char **envp);

/*
 * A program on clsact, and the child that takes it away when we end, however we end (guardian.c).  One place is
 * one interface and direction (parent); program_fd is used at the start only.
 */
struct sonde_clsact {
	uint32_t interface;
	uint32_t parent;
	uint32_t program_fd;
	uint32_t program_id;
	bool first;         /* before all other filters, else behind them */
	bool owns_qdisc;    /* in: we made it for another link; out: it is ours */
};

struct sonde_clsact_answer {
	int error;
	bool owns_qdisc;
};

struct sonde_guardian {
	int pid;
	int channel;
};

/* Attach by way of a new guardian; on an error there is none. */
int sonde_guardian_start(struct sonde_clsact *place, struct sonde_guardian *guardian);
/* Have it detach and end; where it was killed, detach ourselves. */
int sonde_guardian_stop(struct sonde_guardian *guardian, struct sonde_clsact *place);
/* Detach without a guardian: what one that was killed together with its parent has left. */
int sonde_clsact_remove(struct sonde_clsact *place);

/* Giving up privileges, for the calling thread; masks have bit CAP_… (privileges.c). */
int sonde_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable);
int sonde_keep_bounding(uint64_t kept);
int sonde_clear_ambient(void);
int sonde_set_no_new_privileges(void);
int sonde_keep_capabilities_over_setuid(bool keep);

/* The SHA-256 of an object in this package, as it was built; NULL where there is none (digests.c). */
const uint8_t *sonde_packaged_digest(const char *path);

#endif
