/* SPDX-License-Identifier: BSD-2-Clause */
/* What perf tells beside samples: code that is mapped, processes that begin, run another program and end. */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Wake the reader for as much as the smallest program says when it begins, and not for one more library. */
#define WAKE_BYTES 256
/* The longest record is a mapping's with a path of PATH_MAX. */
#define RECORD_BYTES_MAX 8192

struct sonde_side_band {
	int fd;
	struct perf_event_mmap_page *control;
	const uint8_t *data;
	uint64_t size_bytes;
	size_t page_bytes;
};

/* Records as the kernel writes them; each ends with its time (sample_id_all, PERF_SAMPLE_TIME). */
struct mapping_record {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t start, length, file_offset;
	uint32_t major, minor;
	uint64_t inode, generation;
	uint32_t protection, flags;
	char path[];
};

struct task_record {
	struct perf_event_header header;
	uint32_t pid, parent, tid, parent_tid;
};

struct name_record {
	struct perf_event_header header;
	uint32_t pid, tid;
};

struct lost_record {
	struct perf_event_header header;
	uint64_t id, lost;
};

int sonde_side_band_open(int cpu, uint32_t data_pages, struct sonde_side_band **out)
{
	struct perf_event_attr attributes = {
		.size = sizeof(attributes),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TIME,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED,
		.mmap = 1, /* of code alone: mmap_data would tell of the rest */
		.mmap2 = 1,
		.comm = 1,
		.comm_exec = 1,
		.task = 1,
		.sample_id_all = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.watermark = 1,
		.wakeup_watermark = WAKE_BYTES,
	};
	struct sonde_side_band *ring = calloc(1, sizeof(*ring));
	void *memory;
	int error;

	if (!ring)
		return -ENOMEM;
	ring->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	ring->size_bytes = (uint64_t)data_pages * ring->page_bytes;
	ring->fd = (int)syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (ring->fd < 0) {
		error = errno;
		free(ring);
		return -error;
	}
	memory = mmap(NULL, ring->page_bytes + ring->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (memory == MAP_FAILED) {
		error = errno;
		close(ring->fd);
		free(ring);
		return -error;
	}
	ring->control = memory;
	ring->data = (const uint8_t *)memory + ring->page_bytes;
	*out = ring;
	return 0;
}

void sonde_side_band_close(struct sonde_side_band *ring)
{
	if (!ring)
		return;
	munmap(ring->control, ring->page_bytes + ring->size_bytes);
	close(ring->fd);
	free(ring);
}

int sonde_side_band_fd(const struct sonde_side_band *ring)
{
	return ring->fd;
}

/* The ring's size is a power of two: what stands across its end goes on at its beginning. */
static inline void copy_out(const struct sonde_side_band *ring, uint64_t position, void *out, uint64_t length)
{
	uint64_t at = position & (ring->size_bytes - 1);
	uint64_t before_end = ring->size_bytes - at;

	if (length <= before_end) {
		memcpy(out, ring->data + at, length);
		return;
	}
	memcpy(out, ring->data + at, before_end);
	memcpy((uint8_t *)out + before_end, ring->data, length - before_end);
}

static uint32_t hash_of(const struct mapping_record *record, uint32_t length)
{
	uint64_t hash = 14695981039346656037ULL ^ record->inode ^ ((uint64_t)record->minor << 40);

	for (uint32_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)record->path[i]) * 1099511628211ULL;
	return (uint32_t)(hash ^ hash >> 32);
}

/* The number of the mapped file in this batch, a new one if it was not mapped before; false where there is no room. */
static bool find_file(struct sonde_side_band_batch *batch, const struct mapping_record *record, uint32_t length,
		      uint32_t *number)
{
	uint32_t slot = hash_of(record, length) % SONDE_SIDE_BAND_SLOTS;
	struct sonde_side_band_file *file;

	for (; batch->slots[slot]; slot = (slot + 1) % SONDE_SIDE_BAND_SLOTS) {
		file = &batch->files[batch->slots[slot] - 1];
		if (file->inode == record->inode && file->major == record->major && file->minor == record->minor &&
		    file->path_bytes == length && !memcmp(batch->text + file->path_start, record->path, length)) {
			*number = batch->slots[slot] - 1;
			return true;
		}
	}
	if (batch->file_count == SONDE_SIDE_BAND_FILES || batch->text_bytes + length > batch->text_bytes_max)
		return false;
	file = &batch->files[batch->file_count];
	*file = (struct sonde_side_band_file){
		.inode = record->inode,
		.major = record->major,
		.minor = record->minor,
		.path_start = batch->text_bytes,
		.path_bytes = length,
	};
	memcpy(batch->text + batch->text_bytes, record->path, length);
	batch->text_bytes += length;
	*number = batch->file_count;
	batch->slots[slot] = ++batch->file_count;
	return true;
}

/* Take over one record; false where the batch is full. */
static bool take(struct sonde_side_band_batch *batch, const struct perf_event_header *header)
{
	const struct mapping_record *mapping = (const void *)header;
	const struct task_record *task = (const void *)header;
	const struct name_record *name = (const void *)header;
	const struct lost_record *lost = (const void *)header;
	struct sonde_side_band_event event = {};
	uint32_t path_bytes;

	memcpy(&event.time_ns, (const uint8_t *)header + header->size - 8, 8);
	if (header->type == PERF_RECORD_MMAP2 && header->size > sizeof(*mapping) + 8) {
		path_bytes = (uint32_t)strnlen(mapping->path, header->size - sizeof(*mapping) - 8);
		event.kind = SONDE_SIDE_BAND_MAP;
		event.pid = mapping->pid;
		event.start = mapping->start;
		event.end = mapping->start + mapping->length;
		event.file_offset = mapping->file_offset;
		if (!find_file(batch, mapping, path_bytes, &event.file))
			return false;
	} else if (header->type == PERF_RECORD_COMM && header->size >= sizeof(*name) + 8) {
		if (!(header->misc & PERF_RECORD_MISC_COMM_EXEC))
			return true;
		event.kind = SONDE_SIDE_BAND_EXEC;
		event.pid = name->pid;
	} else if (header->type == PERF_RECORD_FORK && header->size >= sizeof(*task) + 8) {
		if (task->pid == task->parent)
			return true;
		event.kind = SONDE_SIDE_BAND_FORK;
		event.pid = task->pid;
		event.parent = task->parent;
	} else if (header->type == PERF_RECORD_EXIT && header->size >= sizeof(*task) + 8) {
		if (task->pid != task->tid)
			return true;
		event.kind = SONDE_SIDE_BAND_EXIT;
		event.pid = task->pid;
	} else {
		if (header->type == PERF_RECORD_LOST && header->size >= sizeof(*lost))
			batch->lost += lost->lost;
		return true;
	}
	/* Of a process that is not in our pid namespace. */
	if (!event.pid || event.pid == UINT32_MAX)
		return true;
	batch->events[batch->event_count++] = event;
	return true;
}

void sonde_side_band_reset(struct sonde_side_band_batch *batch)
{
	batch->event_count = batch->file_count = batch->text_bytes = 0;
	memset(batch->slots, 0, sizeof(batch->slots));
}

int sonde_side_band_drain(struct sonde_side_band *ring, struct sonde_side_band_batch *batch)
{
	uint64_t head = __atomic_load_n(&ring->control->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = ring->control->data_tail;
	uint64_t buffer[RECORD_BYTES_MAX / 8];
	struct perf_event_header header;
	int is_full = 0;

	while (tail < head) {
		copy_out(ring, tail, &header, sizeof(header));
		/* No kernel writes such a record; following it would lead anywhere. */
		if (header.size < sizeof(header) + 8 || header.size > head - tail) {
			batch->lost++;
			tail = head;
			break;
		}
		if (header.size > sizeof(buffer)) {
			batch->lost++;
		} else {
			copy_out(ring, tail, buffer, header.size);
			if (batch->event_count == batch->event_count_max ||
			    !take(batch, (const struct perf_event_header *)buffer)) {
				is_full = 1;
				break;
			}
		}
		tail += header.size;
	}
	__atomic_store_n(&ring->control->data_tail, tail, __ATOMIC_RELEASE);
	return is_full;
}
