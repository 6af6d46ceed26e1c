"""Stacks by number → frames, with the code of this very process, and marks where a stack is not whole."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elf_programs import C_SOURCE, compiled, offset_of, symbols_by_nm
from sonde.bpf.side_band import EXEC, FORK, MappedPath, SideBandRecords, event_dtype
from sonde.enrich.address_spaces import AddressSpaces
from sonde.enrich.kernel_symbol import HIDDEN, KernelSymbols
from sonde.enrich.process_maps import CodeMapping, code_mappings
from sonde.enrich.stack import StackNames
from sonde.enrich.symbols import compiled_names, perf_map, places
from sonde.enrich.symbols.binaries import Binaries
from sonde.enrich.symbols.mapped_files import MappedFiles
from sonde.records.frames import INTERPRETED, KERNEL, MARK, NATIVE, UNKNOWN, Frame, frames_of
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.stacks import KERNEL_STACK, USER_STACK, StackTable

KALLSYMS = b"""\
ffffffff81000000 T do_syscall_64
ffffffff81000100 T ksys_read
ffffffff81000200 D data
ffffffffc0000000 t nf_hook\t[nf_tables]
ffffffffc0000100 t bpf_prog_6deef7357e7b4530_count\t[bpf]
ffffffffc0000200 d end\t[bpf]
"""
SCHEMA = Schema(
    "cpu.samples",
    (
        Column("pid"),
        Column("first_seen_ns"),
        Column("user_stack", USER_STACK, is_key=True),
        Column("kernel_stack", KERNEL_STACK, is_key=True),
        Column("count"),
    ),
)
C = ctypes.CDLL(None)


def address_of(function: str) -> int:
    found = ctypes.cast(getattr(C, function), ctypes.c_void_p).value
    assert found is not None
    return found


class Naming:
    """Names stacks of this process, unless it is told of others."""

    def __init__(self, mappings: list[CodeMapping] | None = None, *, kallsyms: bytes = KALLSYMS) -> None:
        self.stacks = StackTable()
        self.spaces = AddressSpaces(read=lambda pid: mappings if mappings is not None else code_mappings(pid))
        self.spaces.begin(lambda: [os.getpid()])
        self.files = MappedFiles()
        self.names = StackNames(
            self.stacks,
            self.spaces,
            binaries=Binaries(self.files),
            kernel=KernelSymbols(lambda: io.BytesIO(kallsyms)),
            weight="count",
        )

    def row(self, *user: int, kernel: Sequence[int] = (), pid: int = 0) -> list[Frame]:
        numbers = [0, 0]
        for which, addresses in enumerate((user, kernel)):
            if addresses:
                numbers[which] = hash(tuple(addresses)) & 0xFFFFFFFF | 0x100000000
                self.stacks.add([numbers[which]], [np.array(addresses, np.uint64)])
        (row,) = self.batch([(pid or os.getpid(), time.monotonic_ns(), *numbers, 1)]).rows()
        return frames_of(row)

    def batch(self, rows: Sequence[tuple[int, ...]]) -> RecordBatch:
        columns = {
            name: np.array([row[at] for row in rows], np.uint64) for at, name in enumerate(SCHEMA.names)
        }
        return self.names(RecordBatch(SCHEMA, columns))


@pytest.fixture
def naming() -> Naming:
    return Naming()


def names(frames: Sequence[Frame]) -> list[str]:
    return [each.name for each in frames]


def test_frames_stand_the_outermost_first_and_the_kernel_behind(naming: Naming) -> None:
    found = naming.row(
        address_of("qsort"),
        address_of("atoi") + 5,
        kernel=[0xFFFFFFFF81000110, 0xFFFFFFFF81000010],
    )
    assert [(each.name, each.kind) for each in found] == [
        ("[broken off]", MARK),
        ("atoi", NATIVE),
        ("qsort", NATIVE),
        ("do_syscall_64", KERNEL),
        ("ksys_read", KERNEL),
    ]
    assert os.path.basename(found[1].module).startswith("libc")
    assert found[3].module == "[kernel]"


def test_where_a_call_returns_to_may_be_the_next_function(naming: Naming) -> None:
    """A function that never returns ends with a call: its caller's next byte is another's first. Not so the innermost."""
    start = address_of("qsort")
    assert "qsort" in names(naming.row(start))
    assert "qsort" not in names(naming.row(address_of("atoi"), start))
    assert names(naming.row(kernel=[0xFFFFFFFF81000100, 0xFFFFFFFF81000100])) == [
        "do_syscall_64",
        "ksys_read",
    ]


def test_a_whole_stack_has_no_mark(naming: Naming) -> None:
    assert names(naming.row(address_of("qsort"), address_of("__libc_start_main") + 9))[1:] == ["qsort"]


def test_behind_where_a_thread_begins_stands_nothing(naming: Naming) -> None:
    """There a register that was no frame pointer has led somewhere."""
    start = address_of("__libc_start_main") + 9
    found = naming.row(address_of("qsort"), start, address_of("atoi") + 5, start)
    assert (len(found), found[-1].name) == (2, "qsort")


def test_the_mark_of_what_is_broken_off_names_the_binary(naming: Naming) -> None:
    mark, _ = naming.row(address_of("qsort"))
    assert (mark.kind, os.path.basename(mark.module)[:4]) == (MARK, "libc")


def test_what_is_no_code_is_no_frame(naming: Naming) -> None:
    assert names(naming.row(address_of("qsort"), 0x10, address_of("atoi") + 5)) == ["[broken off]", "qsort"]


def test_an_innermost_address_in_nothing_is_unknown(naming: Naming) -> None:
    assert [(each.name, each.kind) for each in naming.row(0x10)] == [
        ("[broken off]", MARK),
        ("[unknown]", UNKNOWN),
    ]


def test_of_a_process_that_nobody_knows_all_frames_are_unknown(naming: Naming) -> None:
    gone = 2**22 + 1
    assert names(naming.row(0x1000, 0x2000, pid=gone)) == ["[broken off]", "[unknown]", "[unknown]"]


def test_a_deep_stack_is_marked_as_cut(naming: Naming) -> None:
    deep = naming.row(*[address_of("qsort") + 5] * 127)
    assert (len(deep), deep[0]) == (128, Frame("[truncated]", MARK))
    kernel = naming.row(kernel=[0xFFFFFFFF81000110] * 127)
    assert (len(kernel), kernel[0].name) == (128, "[truncated]")


def test_modules_of_the_kernel_and_bpf_programs_have_their_names(naming: Naming) -> None:
    found = naming.row(kernel=[0xFFFFFFFFC0000108, 0xFFFFFFFFC0000010, 0xFFFFFFFF70000000])
    assert [(each.name, each.module, each.kind) for each in found] == [
        ("[kernel]", "[kernel]", UNKNOWN),
        ("nf_hook", "[nf_tables]", KERNEL),
        ("bpf_prog_6deef7357e7b4530_count", "[bpf]", KERNEL),
    ]


def test_why_there_is_no_stack_is_said(naming: Naming) -> None:
    """2: it could not be read (stack.bpf.h); a number that nobody knows any more; 0: there was none."""
    batch = naming.batch([(os.getpid(), 1, number, 0, 1) for number in (2, 999_999, 0)])
    assert [names(frames_of(row)) for row in batch.rows()] == [
        ["[no stack: not readable]"],
        ["[no stack: forgotten]"],
        [],
    ]


def test_stacks_keep_their_names_when_their_process_is_forgotten(naming: Naming) -> None:
    naming.stacks.add([77], [np.array([address_of("qsort")], np.uint64)])
    row = (os.getpid(), 5, 77, 0, 1)
    first = list(naming.batch([row]).rows())
    naming.spaces._spaces.clear()
    naming.stacks._stacks.clear()
    assert list(naming.batch([row]).rows()) == first


@pytest.mark.parametrize(
    "file", [MappedPath("", 0, 0), MappedPath("/memfd:jit", 1, 2)], ids=["none", "memfd"]
)
def test_compiled_code_has_the_names_that_its_process_gave_it(file: MappedPath) -> None:
    """Some compilers give their memory the look of a file."""
    at = 0x7F0000000000
    naming = Naming([CodeMapping(at, at + 0x10000, at, file)])
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    path.write_text(f"{at:x} 100 py::work:/srv/work.py\n{at + 0x100:x} 100 Interpreter\n")
    try:
        found = naming.row(at + 0x210, at + 0x110, at + 0x10)
    finally:
        path.unlink()
    assert [(each.name, each.kind, each.module, each.file) for each in found[1:]] == [
        ("work (work.py)", INTERPRETED, "[python]", "/srv/work.py"),
        ("Interpreter", INTERPRETED, "[jit]", ""),
        ("[jit]", UNKNOWN, "[jit]", ""),
    ]


@pytest.mark.skipif(
    os.geteuid() != 0, reason=f"needs root for /proc/PID/map_files, runs as user {os.geteuid()}"
)
def test_a_program_in_memory_is_a_program(tmp_path: Path) -> None:
    """Which fexecve runs: it looks like memory that something was compiled into, and is a file with symbols."""
    path = compiled(tmp_path, "program", C_SOURCE)
    address, _ = symbols_by_nm(path)["outer"]
    fd = os.memfd_create("program")
    try:
        os.write(fd, path.read_bytes())
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ | mmap.PROT_EXEC):
            mappings = code_mappings(os.getpid()) or ()
            here = next(each for each in mappings if each.file.path == "/memfd:program")
            frame = Naming().row(here.start - here.file_offset + offset_of(path, address))[-1]
    finally:
        os.close(fd)
    assert ("outer", NATIVE, "/memfd:program") == (frame.name, frame.kind, frame.module)


def test_compiled_code_gets_its_name_when_its_process_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without a name yet is asked for again at the next read."""
    monkeypatch.setattr(perf_map, "RESTS", 0)
    at = 0x7F0000000000
    naming = Naming([CodeMapping(at, at + 0x10000, at, MappedPath("", 0, 0))])
    naming.stacks.add([77], [np.array([at + 0x10], np.uint64)])
    row, path, found = (os.getpid(), 5, 77, 0, 1), Path(f"/tmp/perf-{os.getpid()}.map"), []
    try:
        for text in ("", f"{at:x} 100 compiled\n"):
            path.write_text(text)
            found += [names(frames_of(row))[-1] for row in naming.batch([row]).rows()]
    finally:
        path.unlink()
    assert found == ["[jit]", "compiled"]


def test_code_of_a_file_that_is_gone_is_named_by_its_file() -> None:
    naming = Naming([CodeMapping(0x1000, 0x2000, 0, MappedPath("/nowhere/tool", 5, 12345))])
    assert [(each.name, each.kind, each.module) for each in naming.row(0x1100)][1:] == [
        ("[tool]", UNKNOWN, "/nowhere/tool")
    ]


def test_another_file_of_the_same_name_is_not_taken() -> None:
    """The inode that was mapped is not the one that has that path now."""
    library = next(each for each in code_mappings(os.getpid()) or () if "libc.so" in each.file.path)
    other = MappedPath(library.file.path, library.file.device, library.file.inode + 1)
    naming = Naming([library._replace(file=other)])
    assert naming.row(address_of("qsort"))[-1].kind == UNKNOWN


def test_the_vdso_is_named(naming: Naming) -> None:
    from sonde.enrich.symbols.vdso import vdso

    mapped = next(each for each in code_mappings(os.getpid()) or () if each.file.path == "[vdso]")
    found = vdso()
    assert found is not None
    _, functions = found
    frame = naming.row(mapped.start + int(functions.starts[0]))[-1]
    assert (frame.name, frame.module) == (functions.name(0), "[vdso]")


def test_the_vdso_of_a_32_bit_program_is_another() -> None:
    """It lies below 4 GiB; its functions are not those of ours."""
    naming = Naming([CodeMapping(0x1000, 0x5000, 0, MappedPath("[vdso]", 0, 0))])
    assert {names(naming.row(at))[-1] for at in range(0x1000, 0x2000, 16)} == {"[vdso]"}


def test_what_is_missing_in_the_names_is_noted(naming: Naming) -> None:
    naming.row(kernel=[0xFFFFFFFF81000110])
    assert naming.names.notes == ()
    naming.spaces.take(SideBandRecords(np.empty(0, event_dtype()), ()), lost=1234)
    assert naming.names.notes == ("1,234 records of mappings were lost: some frames may be unknown",)
    hidden = Naming(kallsyms=b"0000000000000000 T do_syscall_64\n")
    assert hidden.names.notes == ()
    hidden.row(kernel=[0xFFFFFFFF81000110])
    assert hidden.names.notes == (HIDDEN,)


def test_a_batch_without_stacks_stays_as_it_is(naming: Naming) -> None:
    batch = RecordBatch(Schema("x.y", (Column("count"),)), {"count": np.zeros(3, np.uint64)})
    assert naming.names(batch) is batch


def test_a_batch_without_rows_has_the_columns(naming: Naming) -> None:
    batch = naming.batch([])
    assert (len(batch), batch["stack"].tolist()) == (0, [])


@pytest.mark.parametrize("which", ["_rows", "_users", "_kernels"])
def test_what_is_kept_is_bounded(naming: Naming, which: str) -> None:
    kept: Any = getattr(naming.names, which)
    kept.bytes_max = 10_000
    for number in range(100, 400):
        naming.stacks.add([number], [np.array([address_of("qsort") + number % 7], np.uint64)])
        naming.stacks.add([number + 1000], [np.array([0xFFFFFFFF81000110 + number % 7], np.uint64)])
    naming.batch([(os.getpid(), 1, number, number + 1000, 1) for number in range(100, 400)])
    assert 0 < len(kept) < 60


def test_places_and_lists_of_compiled_code_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of places what is known is forgotten when there is more; nothing is misnamed thereby."""
    monkeypatch.setattr(places, "PLACES_MAX", 10)
    monkeypatch.setattr(compiled_names, "PERF_MAPS_MAX", 3)
    here, at = Naming(), address_of("qsort")
    for number in range(50):
        assert names(here.row(at + number % 5, at + number + 1))[-1] == "qsort"
    assert sum(map(len, here.names._places._known.values())) <= 12
    compiled = Naming([CodeMapping(0x1000, 0x2000, 0x1000, MappedPath("", 0, 0))])
    for pid in range(10):
        compiled.row(0x1100, pid=2**22 + pid)
    assert len(compiled.names._places._compiled._perf_maps) == 3


def test_names_of_the_heaviest_rows_are_kept(naming: Naming) -> None:
    """When there are too many, a program that has ended, and had many samples, keeps its names, however old they are."""
    kept: Any = naming.names._rows
    kept.bytes_max = 40_000
    heavy = (os.getpid(), 1, 77, 0, 4000)
    naming.stacks.add([77], [np.array([address_of("qsort")], np.uint64)])
    light = [(os.getpid(), 1, number, 0, 1) for number in range(100, 400)]
    for number in range(100, 400):
        naming.stacks.add([number], [np.array([address_of("qsort") + number % 7], np.uint64)])
    first = list(naming.batch([heavy]).rows())
    naming.batch([heavy, *light])
    naming.spaces._spaces.clear()
    assert list(naming.batch([heavy]).rows()) == first


def test_while_a_program_begins_the_stack_is_its_callers() -> None:
    """The kernel has the registers of who called execve(2) until it gives the new program its own."""
    naming = Naming()
    pid, exec_ns = 2**22 + 5, time.monotonic_ns()
    naming.spaces.take(
        SideBandRecords(
            np.array(
                [(exec_ns - 9, 0, 0, 0, pid, os.getpid(), 0, FORK), (exec_ns, 0, 0, 0, pid, 0, 0, EXEC)],
                event_dtype(),
            ),
            (),
        )
    )
    assert names(naming.row(address_of("execve") + 5, pid=pid)) == ["[broken off]", "execve"]


def test_stacks_of_the_same_names_have_one_number_by_which_they_are_named(naming: Naming) -> None:
    """What many processes did is one row then, of nobody: its stack is there when they and their addresses are not."""
    here = [address_of("qsort") + each for each in (0, 3)]
    for number, address in enumerate([*here, address_of("atoi")], 100):
        naming.stacks.add([number], [np.array([address], np.uint64)])
    kernel = [0xFFFFFFFF81000110]
    naming.stacks.add([200], [np.array(kernel, np.uint64)])
    pids, times = np.full(4, os.getpid(), np.uint32), np.full(4, 1, np.uint64)
    users, kernels = np.array([100, 101, 102, 0], np.uint64), np.array([0, 200, 200, 200], np.uint64)
    numbers = naming.names.numbers(pids, times, users, kernels)

    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[3] == 0
    naming.spaces._spaces.clear()
    rows = naming.batch([(0, 0, number, 0, 1) for number in numbers.tolist()]).rows()
    assert [names(frames_of(row))[-1:] for row in rows] == [["qsort"], ["qsort"], ["atoi"], []]
    again = naming.names.numbers(np.zeros(4, np.uint32), np.zeros(4, np.uint64), numbers, kernels)
    assert again.tolist() == numbers.tolist()


def test_names_that_no_row_has_any_more_are_forgotten(naming: Naming) -> None:
    naming.stacks.add([100], [np.array([address_of("qsort")], np.uint64)])
    one = [np.array([each], np.uint64) for each in (os.getpid(), 1, 100, 0)]
    naming.names.numbers(*one)
    naming.batch([])

    assert not naming.names._nobodys
