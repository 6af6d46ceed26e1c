"""Write the C file that holds the SHA-256 of each packaged object, to be compiled into the extension.

An object that was changed after the build is then refused, whoever owns the environment that it is installed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sonde_build.stamps import write_if_changed

HEAD = """\
/* SPDX-License-Identifier: BSD-2-Clause */
/* Written by the build (tools/sonde_build/digests.py). */
#include "native.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *path;
	uint8_t sha256[32];
} sonde_digests[] = {
"""

TAIL = """\
	{ NULL, { 0 } },
};

const uint8_t *sonde_packaged_digest(const char *path)
{
	for (size_t i = 0; sonde_digests[i].path; i++)
		if (!strcmp(sonde_digests[i].path, path))
			return sonde_digests[i].sha256;
	return NULL;
}
"""


def write(output: Path, *, package: Path, objects: Iterable[Path]) -> None:
    """Write the digests of objects, by their paths relative to the package."""
    rows = [_row(path.relative_to(package).as_posix(), path.read_bytes()) for path in objects]
    write_if_changed(output, HEAD + "".join(rows) + TAIL)


def _row(path: str, content: bytes) -> str:
    numbers = ", ".join(f"0x{byte:02x}" for byte in hashlib.sha256(content).digest())
    return f'\t{{ "{path}",\n\t  {{ {numbers} }} }},\n'
