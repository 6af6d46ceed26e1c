"""``perf record`` beside ours: started, ended, and its samples read."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Stacks = Counter[tuple[str, ...]]
"""How often a stack was seen: names, the outermost first."""

LAMBDA = re.compile(r"\{lambda\((.*?)\)#\d+\}")
"""How perf writes what LLVM's demangler, and so sonde, writes 'lambda'(…)."""

FRAME = re.compile(r"^\t *[0-9a-f]+ (.*)$")


@contextmanager
def recording(into: Path, *, frequency: int) -> Iterator[None]:
    """Let perf sample all CPUs for the time of a block, with stacks by frame pointers."""
    command = [
        "perf",
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        str(frequency),
        "-g",
        "-a",
        "-o",
        str(into),
    ]
    control, acknowledged = _fifo(into, "control"), _fifo(into, "acknowledged")
    # It begins when it is told to, and says that it has.
    process = subprocess.Popen(
        [*command, "--delay=-1", f"--control=fifo:{control},{acknowledged}"], stderr=subprocess.PIPE
    )
    try:
        with control.open("w") as told, acknowledged.open() as answer:
            told.write("enable\n")
            told.flush()
            assert answer.readline() == "ack\n"
            yield
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert into.stat().st_size, said


def _fifo(beside: Path, name: str) -> Path:
    path = beside.with_suffix(f".{name}")
    os.mkfifo(path)
    return path


def without_kernel_symbols(recorded: Path) -> None:
    """Turn records of BPF programs that come and go into ones that say nothing.

    Linux 6.18 makes some of them longer than what it writes into them, and perf then gives up the rest of the file.
    """
    kernel_symbol, bpf_event, finished_init = 17, 18, 82
    content = bytearray(recorded.read_bytes())
    # struct perf_file_header: magic, two sizes, then the sections of attributes and of data: offset, size.
    at, size = struct.unpack_from("<QQ", content, 40)
    end = at + size
    while at < end:
        kind, _, length = struct.unpack_from("<IHH", content, at)
        if kind in (kernel_symbol, bpf_event):
            struct.pack_into("<I", content, at, finished_init)
        at += length
    recorded.write_bytes(content)


def stacks(recorded: Path, pids: Sequence[int]) -> dict[int, Stacks]:
    """Read what perf recorded of some processes."""
    without_kernel_symbols(recorded)
    chosen = f"--pid={','.join(map(str, pids))}"
    command = ["perf", "script", "-i", str(recorded), chosen, "-F", "pid,ip,sym", "--no-inline"]
    found: dict[int, Stacks] = {pid: Counter() for pid in pids}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        pid, frames = 0, []
        for line in process.stdout:
            if frame := FRAME.match(line):
                frames.append(LAMBDA.sub(r"'lambda'(\1)", frame[1]))
            elif line.strip():
                pid, frames = int(line), []
            elif pid:
                found[pid][tuple(reversed(frames))] += 1
                pid = 0
    assert process.returncode == 0
    return found
