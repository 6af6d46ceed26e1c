"""How BPF C becomes an object: small, the same each time, and made again only when it must be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sonde_build.compilers import bpf_compiler, find_clang
from sonde_build.extension import ROOT, object_builder
from sonde_build.objects import ObjectBuilder

SOURCE = """\
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "limit.h"

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, LIMIT); __type(key, int); __type(value, __u64); }
counts SEC(".maps");

SEC("tp_btf/sys_enter") int count(void *context)
{
	int key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}
"""


def builder_in(folder: Path) -> ObjectBuilder:
    """A builder whose project is the folder, with one program in it."""
    shared = object_builder()
    folder.mkdir()
    (folder / "count.bpf.c").write_text(SOURCE)
    (folder / "limit.h").write_text("#define LIMIT 101\n")
    return ObjectBuilder(
        root=folder, include=folder, libbpf=shared.libbpf, host=shared.host, stamps=folder / "stamps"
    )


def test_an_object_is_the_same_wherever_it_is_built(tmp_path: Path) -> None:
    """The folder does not show in it, so one compiler gives one digest."""
    objects = []
    for name in ("here", "elsewhere"):
        builder = builder_in(tmp_path / name)
        builder.build(builder.root / "count.bpf.c", builder.root / "count.bpf.o")
        objects.append((builder.root / "count.bpf.o").read_bytes())
    assert objects[0] == objects[1]
    assert str(tmp_path).encode() not in objects[0]


def test_an_object_keeps_btf_and_drops_dwarf(tmp_path: Path) -> None:
    builder = builder_in(tmp_path / "project")
    output = builder.root / "count.bpf.o"
    builder.build(builder.root / "count.bpf.c", output)
    assert b".BTF.ext\0" in output.read_bytes()
    assert b".debug_info" not in output.read_bytes()
    assert output.stat().st_mode & 0o777 == 0o644


def test_an_object_is_made_again_only_when_it_must_be(tmp_path: Path) -> None:
    """Not when nothing changed; again after a change of a header, or of the object itself."""
    builder = builder_in(tmp_path / "project")
    source, output = builder.root / "count.bpf.c", builder.root / "count.bpf.o"
    assert builder.build(source, output)
    assert not builder.build(source, output)
    first = output.read_bytes()
    (builder.root / "limit.h").write_text("#define LIMIT 103\n")
    assert builder.build(source, output)
    assert output.read_bytes() != first
    output.write_bytes(first)
    assert builder.build(source, output)


def test_an_error_names_the_line(tmp_path: Path) -> None:
    """What the compiler said reaches the person, and nothing is left behind."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "broken.bpf.c").write_text("int broken(void) { return missing; }\n")
    command = [sys.executable, "-m", "sonde_build", "--into", str(folder), str(folder / "broken.bpf.c")]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(ROOT / "tools"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "broken.bpf.c:1:27: error: use of undeclared identifier 'missing'" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["broken.bpf.c"]


@pytest.fixture(params=["clang where there is one", "zig"])
def compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Either of the two compilers that a build may use."""
    monkeypatch.setenv("SONDE_CLANG", "none" if request.param == "zig" else "")
    for cached in (find_clang, bpf_compiler):
        cached.cache_clear()
    yield bpf_compiler().identity
    for cached in (find_clang, bpf_compiler):
        cached.cache_clear()


def test_both_compilers_accept_every_probe_and_example(compiler: str, tmp_path: Path) -> None:
    """Who develops with clang must not break the build of who has none, nor the other way round."""
    assert compiler
    folders = ("src/sonde/probes/*", "src/sonde/filter", "examples")
    sources = [path for folder in folders for path in ROOT.glob(f"{folder}/*.bpf.c")]
    builder = replace(object_builder(), stamps=tmp_path / "stamps")
    for source in sources:
        builder.build(source, tmp_path / source.relative_to(ROOT).with_suffix(".o"))
    assert len([*tmp_path.rglob("*.bpf.o")]) == len(sources) > 0
