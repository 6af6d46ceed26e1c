/* SPDX-License-Identifier: BSD-2-Clause */
/* The consumer of a perf event array: samples of all CPUs, gathered into one buffer. */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

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
