/* SPDX-License-Identifier: BSD-2-Clause */
/* The consumer of a ring buffer. */
#define _GNU_SOURCE
#include "native.h"
#include "ring_bytes.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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
	/*
	 * Once, where others map the data twice in a row: what is mapped counts as resident memory, and records are copied
	 * anyway, those across the end in two pieces.
	 */
	producer = mmap(NULL, page_bytes + size_bytes, PROT_READ, MAP_SHARED, map_fd, (off_t)page_bytes);
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
	munmap(ring->producer_pos, ring->page_bytes + ring->size_bytes);
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
static inline bool ring_next(const struct sonde_ring *ring, uint64_t *position, uint64_t end, uint32_t *length)
{
	while (*position < end) {
		const uint8_t *header = ring->data + (*position & (ring->size_bytes - 1));
		uint32_t word = __atomic_load_n((const uint32_t *)header, __ATOMIC_ACQUIRE);

		if (word & BPF_RINGBUF_BUSY_BIT)
			return false;
		*length = word & ~BPF_RINGBUF_DISCARD_BIT;
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			return true;
		*position += (*length + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL;
	}
	return false;
}

/* Copy the record whose header is at a position; a header is never split, for both are multiples of eight. */
static inline void ring_copy(const struct sonde_ring *ring, uint64_t position, void *out, uint32_t length)
{
	copy_ring_bytes(ring->data, ring->size_bytes, position + BPF_RINGBUF_HDR_SZ, out, length);
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
	uint64_t records = 0;
	uint32_t length;

	while (records < records_max && ring_next(ring, &position, end, &length)) {
		if (length != record_bytes) {
			__atomic_store_n(ring->consumer_pos, position, __ATOMIC_RELEASE);
			return records ? (int64_t)records : -EBADMSG;
		}
		ring_copy(ring, position, target, record_bytes);
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
	uint64_t records = 0, used = 0;
	uint32_t length;

	while (records < records_max && ring_next(ring, &position, end, &length)) {
		if (length > out_bytes - used)
			break;
		ring_copy(ring, position, (uint8_t *)out + used, length);
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
