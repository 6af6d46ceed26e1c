/* SPDX-License-Identifier: BSD-2-Clause */
/* Many entries of a map in one call. */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <bpf/bpf.h>

/* The kernel answers with it, although user space has no name for it. */
#ifndef ENOTSUPP
#define ENOTSUPP 524
#endif

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
		if (error && error != -ENOENT && error != -EINTR)
			return error;
		*count += batch;
		if (batch || !error) {
			memcpy(cursor->token, next, sizeof(next));
			cursor->started = true;
		}
		cursor->done = error == -ENOENT;
		/* A key that lost its value meanwhile ended a batch before Linux 6.14, whose token is a key: go on by keys. */
		cursor->by_key = error == -EINTR;
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
