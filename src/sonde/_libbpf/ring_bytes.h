/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes of a ring of the kernel's, whose size is a power of two: what stands across its end goes on at its beginning. */
#ifndef SONDE_RING_BYTES_H
#define SONDE_RING_BYTES_H

#include <stdint.h>
#include <string.h>

static inline void copy_ring_bytes(const uint8_t *data, uint64_t size_bytes, uint64_t position, void *out, uint64_t length)
{
	uint64_t at = position & (size_bytes - 1);
	uint64_t before_end = size_bytes - at;

	if (length <= before_end) {
		memcpy(out, data + at, length);
		return;
	}
	memcpy(out, data + at, before_end);
	memcpy((uint8_t *)out + before_end, data, length - before_end);
}

#endif
