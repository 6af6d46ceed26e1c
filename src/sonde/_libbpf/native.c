/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* The kernel answers with it, although user space has no name for it. */
#ifndef ENOTSUPP
#define ENOTSUPP 524
#endif

extern void sonde_on_log(int level, const char *text);

/* ---- libbpf's messages ---------------------------------------------------------------------------------- */

static int log_level_max;

static int forward_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	va_list again;
	char *text;
	int length;

	if ((int)level > log_level_max)
		return 0;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0)
		return 0;
	text = malloc((size_t)length + 1); /* a verifier log can be megabytes */
	if (!text)
		return 0;
	vsnprintf(text, (size_t)length + 1, format, arguments);
	sonde_on_log((int)level, text);
	free(text);
	return length;
}

void sonde_log_start(int level_max)
{
	log_level_max = level_max;
	libbpf_set_print(forward_message);
}

/* ---- ring buffer ---------------------------------------------------------------------------------------- */

struct sonde_ring {
	uint64_t *consumer_pos;
	uint64_t *producer_pos;
	const uint8_t *data;
	uint64_t size_bytes;
	size_t page_bytes;
};

int sonde_ring_open(int map_fd, uint32_t size_bytes, struct sonde_ring **out)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	struct sonde_ring *ring = calloc(1, sizeof(*ring));
	void *consumer, *producer;
	int error;

	if (!ring)
		return -ENOMEM;
	consumer = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (consumer == MAP_FAILED)
		goto fail;
	/* The kernel maps the data twice in a row, so that no record is ever split at the end. */
	producer = mmap(NULL, page_bytes + 2 * (size_t)size_bytes, PROT_READ, MAP_SHARED, map_fd, (off_t)page_bytes);
	if (producer == MAP_FAILED) {
		error = errno;
		munmap(consumer, page_bytes);
		errno = error;
		goto fail;
	}
	ring->consumer_pos = consumer;
	ring->producer_pos = producer;
	ring->data = (const uint8_t *)producer + page_bytes;
	ring->size_bytes = size_bytes;
	ring->page_bytes = page_bytes;
	*out = ring;
	return 0;
fail:
	error = errno;
	free(ring);
	return -error;
}

void sonde_ring_close(struct sonde_ring *ring)
{
	if (!ring)
		return;
	munmap(ring->producer_pos, ring->page_bytes + 2 * ring->size_bytes);
	munmap(ring->consumer_pos, ring->page_bytes);
	free(ring);
}

uint64_t sonde_ring_pending(const struct sonde_ring *ring)
{
	return __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
}

/*
 * The next record that was submitted.  Steps over discarded ones; false when the ring is empty or when its
 * oldest record is still being written (records behind it wait, in order).
 */
static inline bool ring_next(const struct sonde_ring *ring, uint64_t *position, uint64_t end,
			     const uint8_t **record, uint32_t *length)
{
	while (*position < end) {
		const uint8_t *header = ring->data + (*position & (ring->size_bytes - 1));
		uint32_t word = __atomic_load_n((const uint32_t *)header, __ATOMIC_ACQUIRE);

		if (word & BPF_RINGBUF_BUSY_BIT)
			return false;
		*length = word & ~BPF_RINGBUF_DISCARD_BIT;
		if (!(word & BPF_RINGBUF_DISCARD_BIT)) {
			*record = header + BPF_RINGBUF_HDR_SZ;
			return true;
		}
		*position += (*length + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL;
	}
	return false;
}

static inline uint64_t ring_after(uint64_t position, uint32_t length)
{
	return position + ((length + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL);
}

/* Hand space back to the kernel this often, so that a full ring drains while we copy. */
#define RELEASE_EVERY_RECORDS 1024

int64_t sonde_ring_drain_fixed(struct sonde_ring *ring, void *out, uint32_t record_bytes, uint64_t records_max)
{
	uint64_t position = __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
	uint64_t end = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);
	uint8_t *target = out;
	const uint8_t *record;
	uint64_t records = 0;
	uint32_t length;

	while (records < records_max && ring_next(ring, &position, end, &record, &length)) {
		if (length != record_bytes) {
			__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
			return records ? (int64_t)records : -EBADMSG;
		}
		memcpy(target, record, record_bytes);
		target += record_bytes;
		position = ring_after(position, length);
		if (++records % RELEASE_EVERY_RECORDS == 0)
			__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	}
	__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	return (int64_t)records;
}

/* Records of any length: each begins at out + offsets[i], aligned to eight bytes. */
int64_t sonde_ring_drain_variable(struct sonde_ring *ring, void *out, uint64_t out_bytes,
				  uint64_t *offsets, uint32_t *lengths, uint64_t records_max)
{
	uint64_t position = __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
	uint64_t end = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);
	const uint8_t *record;
	uint64_t records = 0, used = 0;
	uint32_t length;

	while (records < records_max && ring_next(ring, &position, end, &record, &length)) {
		if (length > out_bytes - used)
			break;
		memcpy((uint8_t *)out + used, record, length);
		offsets[records] = used;
		lengths[records] = length;
		used = (used + length + 7) & ~7ULL;
		if (used > out_bytes)
			used = out_bytes;
		position = ring_after(position, length);
		if (++records % RELEASE_EVERY_RECORDS == 0)
			__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	}
	__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	return (int64_t)records;
}

/* ---- perf event array ----------------------------------------------------------------------------------- */

struct sonde_perf_ring {
	struct perf_buffer *buffer;
	uint8_t *data;
	uint64_t used, capacity;
	uint64_t *offsets;
	uint32_t *lengths;
	uint64_t records, records_capacity;
	uint64_t lost;
	int error;
};

static bool grow(void **memory, uint64_t *capacity, uint64_t needed, size_t item_bytes)
{
	uint64_t wanted = *capacity ? *capacity : 1024;
	void *larger;

	while (wanted < needed)
		wanted *= 2;
	larger = realloc(*memory, wanted * item_bytes);
	if (!larger)
		return false;
	*memory = larger;
	*capacity = wanted;
	return true;
}

static void keep_sample(void *context, int cpu, void *sample, uint32_t sample_bytes)
{
	struct sonde_perf_ring *ring = context;
	uint64_t records_capacity = ring->records_capacity;

	(void)cpu;
	if (ring->used + sample_bytes + 8 > ring->capacity &&
	    !grow((void **)&ring->data, &ring->capacity, ring->used + sample_bytes + 8, 1))
		goto lost;
	if (ring->records == ring->records_capacity) {
		if (!grow((void **)&ring->offsets, &records_capacity, ring->records + 1, sizeof(*ring->offsets)))
			goto lost;
		if (!grow((void **)&ring->lengths, &ring->records_capacity, ring->records + 1,
			  sizeof(*ring->lengths)))
			goto lost;
	}
	memcpy(ring->data + ring->used, sample, sample_bytes);
	ring->offsets[ring->records] = ring->used;
	ring->lengths[ring->records] = sample_bytes;
	ring->records++;
	ring->used = (ring->used + sample_bytes + 7) & ~7ULL;
	return;
lost:
	ring->lost++;
	ring->error = -ENOMEM;
}

static void count_lost(void *context, int cpu, __u64 lost)
{
	struct sonde_perf_ring *ring = context;

	(void)cpu;
	ring->lost += lost;
}

int sonde_perf_ring_open(int map_fd, uint32_t pages_per_cpu, struct sonde_perf_ring **out)
{
	struct sonde_perf_ring *ring = calloc(1, sizeof(*ring));
	int error;

	if (!ring)
		return -ENOMEM;
	ring->buffer = perf_buffer__new(map_fd, pages_per_cpu, keep_sample, count_lost, ring, NULL);
	if (!ring->buffer) {
		error = errno;
		free(ring);
		return -error;
	}
	*out = ring;
	return 0;
}

void sonde_perf_ring_close(struct sonde_perf_ring *ring)
{
	if (!ring)
		return;
	perf_buffer__free(ring->buffer);
	free(ring->data);
	free(ring->offsets);
	free(ring->lengths);
	free(ring);
}

int sonde_perf_ring_fd(const struct sonde_perf_ring *ring)
{
	return perf_buffer__epoll_fd(ring->buffer);
}

int sonde_perf_ring_consume(struct sonde_perf_ring *ring)
{
	int error = perf_buffer__consume(ring->buffer);

	return error < 0 ? error : ring->error;
}

void sonde_perf_ring_reset(struct sonde_perf_ring *ring)
{
	ring->used = 0;
	ring->records = 0;
	ring->error = 0;
}

const uint8_t *sonde_perf_ring_data(const struct sonde_perf_ring *ring, uint64_t *data_bytes)
{
	*data_bytes = ring->used;
	return ring->data;
}

const uint64_t *sonde_perf_ring_offsets(const struct sonde_perf_ring *ring, uint64_t *records)
{
	*records = ring->records;
	return ring->offsets;
}

const uint32_t *sonde_perf_ring_lengths(const struct sonde_perf_ring *ring)
{
	return ring->lengths;
}

uint64_t sonde_perf_ring_lost(const struct sonde_perf_ring *ring)
{
	return ring->lost;
}

/* ---- maps ----------------------------------------------------------------------------------------------- */

static bool has_no_batch(int error)
{
	return error == -EINVAL || error == -ENOTSUPP || error == -EOPNOTSUPP;
}

/* Key by key: for maps without batch operations (per-CPU arrays before 5.13, LPM tries before 5.13). */
static int read_by_key(int map_fd, struct sonde_cursor *cursor, uint32_t key_bytes, uint32_t value_bytes,
		       uint8_t *keys, uint8_t *values, uint32_t capacity, uint32_t *count)
{
	while (*count < capacity) {
		uint8_t *key = keys + (size_t)*count * key_bytes;
		int error = bpf_map_get_next_key(map_fd, cursor->started ? cursor->token : NULL, key);

		if (error == -ENOENT) {
			cursor->done = true;
			return 0;
		}
		if (error)
			return error;
		memcpy(cursor->token, key, key_bytes);
		cursor->started = true;
		error = bpf_map_lookup_elem(map_fd, key, values + (size_t)*count * value_bytes);
		if (error == -ENOENT)
			continue; /* deleted since its key was read */
		if (error)
			return error;
		(*count)++;
	}
	return 0;
}

/*
 * Read up to capacity entries; call again until cursor->done.  -ENOSPC with *count == 0: one bucket of the
 * hash holds more entries than capacity, come back with more room.
 */
int sonde_map_read(int map_fd, struct sonde_cursor *cursor, uint32_t key_bytes, uint32_t value_bytes,
		   void *keys, void *values, uint32_t capacity, uint32_t *count)
{
	uint8_t next[sizeof(cursor->token)];

	*count = 0;
	if (key_bytes > sizeof(cursor->token))
		return -E2BIG;
	while (!cursor->by_key && !cursor->done && *count < capacity) {
		uint32_t batch = capacity - *count;
		int error = bpf_map_lookup_batch(map_fd, cursor->started ? cursor->token : NULL, next,
						 (uint8_t *)keys + (size_t)*count * key_bytes,
						 (uint8_t *)values + (size_t)*count * value_bytes, &batch, NULL);

		if (error && !cursor->started && has_no_batch(error)) {
			cursor->by_key = true;
			break;
		}
		if (error == -ENOSPC)
			return *count ? 0 : error;
		if (error == -EINTR)
			continue;
		if (error && error != -ENOENT)
			return error;
		*count += batch;
		memcpy(cursor->token, next, sizeof(next));
		cursor->started = true;
		cursor->done = error == -ENOENT;
	}
	if (cursor->by_key && !cursor->done)
		return read_by_key(map_fd, cursor, key_bytes, value_bytes, keys, values, capacity, count);
	return 0;
}

int sonde_map_update(int map_fd, uint32_t key_bytes, uint32_t value_bytes, const void *keys,
		     const void *values, uint32_t count, uint64_t flags, uint32_t *done)
{
	uint32_t batch = count;
	int error = 0;

	*done = 0;
	if (!count)
		return 0;
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = flags);
	error = bpf_map_update_batch(map_fd, keys, values, &batch, &options);
	if (!has_no_batch(error)) {
		*done = error ? batch : count;
		return error;
	}
	for (; *done < count; (*done)++) {
		error = bpf_map_update_elem(map_fd, (const uint8_t *)keys + (size_t)*done * key_bytes,
					    (const uint8_t *)values + (size_t)*done * value_bytes, flags);
		if (error)
			return error;
	}
	return 0;
}

/* Delete these keys; one that is not there (any more) is no error.  *done counts those that were. */
int sonde_map_delete(int map_fd, uint32_t key_bytes, const void *keys, uint32_t count, uint32_t *done)
{
	uint32_t at = 0;

	*done = 0;
	for (; at < count; at++) {
		int error = bpf_map_delete_elem(map_fd, (const uint8_t *)keys + (size_t)at * key_bytes);

		if (!error)
			(*done)++;
		else if (error != -ENOENT)
			return error;
	}
	return 0;
}

/* ---- system calls --------------------------------------------------------------------------------------- */

/* Bit of attr.inherit_thread, which headers before 5.13 do not name; the bit-field follows read_format. */
#define PERF_INHERIT_THREAD (1ULL << 35)

int sonde_perf_event_open(const struct sonde_perf_event *event)
{
	uint64_t flags;
	struct perf_event_attr attributes = {
		.size = sizeof(attributes),
		.type = event->type,
		.config = event->config,
		.config1 = event->config1,
		.config2 = event->config2,
		.sample_period = event->period,
		.freq = event->is_frequency,
		.inherit = event->inherit,
	};
	uint8_t *bits = (uint8_t *)&attributes.read_format + sizeof(attributes.read_format);
	long fd;

	memcpy(&flags, bits, sizeof(flags));
	if (event->inherit_thread)
		flags |= PERF_INHERIT_THREAD;
	memcpy(bits, &flags, sizeof(flags));
	fd = syscall(SYS_perf_event_open, &attributes, event->pid, event->cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#define SONDE_FSOPEN_CLOEXEC 1
#define SONDE_FSMOUNT_CLOEXEC 1
#define SONDE_FSCONFIG_CMD_CREATE 6

int sonde_mount_detached(const char *filesystem)
{
	int context = (int)syscall(SYS_fsopen, filesystem, SONDE_FSOPEN_CLOEXEC);
	int error = 0, root = -1;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, SONDE_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
	    (root = (int)syscall(SYS_fsmount, context, SONDE_FSMOUNT_CLOEXEC, 0)) < 0)
		error = -errno;
	close(context);
	return error ? error : root;
}

#define SONDE_MEMBARRIER_CMD_GLOBAL 1

int sonde_membarrier_global(void)
{
	return syscall(SYS_membarrier, SONDE_MEMBARRIER_CMD_GLOBAL, 0, 0) < 0 ? -errno : 0;
}

int sonde_spawn_stopped(const char *path, char **argv, char **envp)
{
	sigset_t none;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child > 0)
		return (int)child;
	/*
	 * Python ignores SIGPIPE and may block signals: the command starts with neither.  The stop is the last
	 * system call before execve, and its own return is traced before the signal is delivered.
	 */
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	syscall(SYS_kill, (pid_t)syscall(SYS_getpid), SIGSTOP);
	execve(path, argv, envp);
	_exit(errno == ENOENT ? 127 : 126);
}
