/* SPDX-License-Identifier: BSD-2-Clause */
/* The consumer of a ring buffer. */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The data is mapped in windows, one at a time: what is mapped of a map is resident memory. */
struct sonde_ring {
	uint64_t *consumer_pos;
	const uint64_t *producer_pos;
	const uint8_t *window; /* NULL: none yet */
	uint64_t window_start; /* in the data */
	uint64_t window_bytes;
	uint64_t size_bytes;
	size_t page_bytes;
	int map_fd;
};

/* What is mapped of the ring: positions from start to end, start's at bytes. */
struct view {
	const uint8_t *bytes;
	uint64_t start, end;
};

static void *map_pages(const struct sonde_ring *ring, uint64_t offset, uint64_t bytes, int protection)
{
	void *pages = mmap(NULL, bytes, protection, MAP_SHARED, ring->map_fd, (off_t)offset);

	return pages == MAP_FAILED ? NULL : pages;
}

/* Map the window that a position is in, unless it is; 0, or a negative errno, and then all is as it was. */
static int move_view(struct sonde_ring *ring, uint64_t position, struct view *view)
{
	uint64_t start = position & ~(ring->window_bytes - 1);
	uint64_t in_data = start & (ring->size_bytes - 1);

	if (!ring->window || ring->window_start != in_data) {
		/*
		 * Others map the data twice in a row, so that no record is ever split; here records are copied anyway, those
		 * across an end in two pieces.
		 */
		const uint8_t *window = map_pages(ring, 2 * ring->page_bytes + in_data, ring->window_bytes, PROT_READ);

		if (!window)
			return -errno;
		if (ring->window)
			munmap((void *)ring->window, ring->window_bytes);
		ring->window = window;
		ring->window_start = in_data;
	}
	*view = (struct view){ ring->window, start, start + ring->window_bytes };
	return 0;
}

/* The window is a power of two of pages, at most the ring; with all of the ring in it it is mapped once, here. */
int sonde_ring_open(int map_fd, uint32_t size_bytes, uint32_t window_bytes, struct sonde_ring **out)
{
	struct sonde_ring *ring = calloc(1, sizeof(*ring));
	struct view view;
	int error = 0;

	if (!ring)
		return -ENOMEM;
	ring->map_fd = map_fd;
	ring->size_bytes = size_bytes;
	ring->window_bytes = window_bytes < size_bytes ? window_bytes : size_bytes;
	ring->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	ring->consumer_pos = map_pages(ring, 0, ring->page_bytes, PROT_READ | PROT_WRITE);
	if (ring->consumer_pos)
		ring->producer_pos = map_pages(ring, ring->page_bytes, ring->page_bytes, PROT_READ);
	if (!ring->producer_pos)
		error = -errno;
	else
		error = move_view(ring, *ring->consumer_pos, &view);
	if (error) {
		sonde_ring_close(ring);
		return error;
	}
	*out = ring;
	return 0;
}

void sonde_ring_close(struct sonde_ring *ring)
{
	if (!ring)
		return;
	if (ring->window)
		munmap((void *)ring->window, ring->window_bytes);
	if (ring->producer_pos)
		munmap((void *)ring->producer_pos, ring->page_bytes);
	if (ring->consumer_pos)
		munmap(ring->consumer_pos, ring->page_bytes);
	free(ring);
}

uint64_t sonde_ring_pending(const struct sonde_ring *ring)
{
	return __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
}

/*
 * Find the next record that was submitted, its header at *position; steps over discarded ones.  1: there is one; 0: the ring
 * is empty, or its oldest record is still being written (records behind it wait, in order); a negative errno.
 */
static inline int ring_next(struct sonde_ring *ring, struct view *view, uint64_t *position, uint64_t end, uint32_t *length)
{
	while (*position < end) {
		uint32_t word;
		int error;

		/* A header is never split: windows and headers begin at multiples of eight. */
		if (*position >= view->end && (error = move_view(ring, *position, view)))
			return error;
		word = __atomic_load_n((const uint32_t *)(view->bytes + (*position - view->start)), __ATOMIC_ACQUIRE);
		if (word & BPF_RINGBUF_BUSY_BIT)
			return 0;
		*length = word & ~BPF_RINGBUF_DISCARD_BIT;
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			return 1;
		*position += (*length + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL;
	}
	return 0;
}

/* Copy a record that goes on behind the end of the window. */
static int copy_across(struct sonde_ring *ring, struct view *view, uint64_t position, uint8_t *out, uint64_t length)
{
	while (length) {
		uint64_t piece;
		int error;

		if (position >= view->end && (error = move_view(ring, position, view)))
			return error;
		piece = view->end - position < length ? view->end - position : length;
		memcpy(out, view->bytes + (position - view->start), piece);
		out += piece;
		position += piece;
		length -= piece;
	}
	return 0;
}

/* Copy the record whose header is at a position. */
static inline int ring_copy(struct sonde_ring *ring, struct view *view, uint64_t position, void *out, uint32_t length)
{
	position += BPF_RINGBUF_HDR_SZ;
	if (position + length > view->end)
		return copy_across(ring, view, position, out, length);
	memcpy(out, view->bytes + (position - view->start), length);
	return 0;
}

static inline uint64_t ring_after(uint64_t position, uint32_t length)
{
	return position + ((length + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL);
}

/* Hand space back to the kernel this often, so that a full ring drains while we copy. */
#define RELEASE_EVERY_RECORDS 1024

/* What a drain gives: its records, or why there are none; what stopped it behind some is met again by the next one. */
static int64_t ring_drained(struct sonde_ring *ring, uint64_t position, uint64_t records, int error)
{
	__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	return records || error >= 0 ? (int64_t)records : error;
}

int64_t sonde_ring_drain_fixed(struct sonde_ring *ring, void *out, uint32_t record_bytes, uint64_t records_max)
{
	uint64_t position = __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
	uint64_t end = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);
	struct view view = { 0 };
	uint8_t *target = out;
	uint64_t records = 0;
	uint32_t length = 0;
	int error = 0;

	while (records < records_max && (error = ring_next(ring, &view, &position, end, &length)) > 0) {
		error = length == record_bytes ? ring_copy(ring, &view, position, target, record_bytes) : -EBADMSG;
		if (error)
			break;
		target += record_bytes;
		position = ring_after(position, length);
		if (++records % RELEASE_EVERY_RECORDS == 0)
			__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	}
	return ring_drained(ring, position, records, error);
}

/* Records of any length: each begins at out + offsets[i], aligned to eight bytes. */
int64_t sonde_ring_drain_variable(struct sonde_ring *ring, void *out, uint64_t out_bytes,
				  uint64_t *offsets, uint32_t *lengths, uint64_t records_max)
{
	uint64_t position = __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
	uint64_t end = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);
	struct view view = { 0 };
	uint64_t records = 0, used = 0;
	uint32_t length = 0;
	int error = 0;

	while (records < records_max && (error = ring_next(ring, &view, &position, end, &length)) > 0) {
		if (length > out_bytes - used)
			break;
		error = ring_copy(ring, &view, position, (uint8_t *)out + used, length);
		if (error)
			break;
		offsets[records] = used;
		lengths[records] = length;
		used = (used + length + 7) & ~7ULL;
		if (used > out_bytes)
			used = out_bytes;
		position = ring_after(position, length);
		if (++records % RELEASE_EVERY_RECORDS == 0)
			__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
	}
	return ring_drained(ring, position, records, error);
}
