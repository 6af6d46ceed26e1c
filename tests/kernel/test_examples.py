"""The document's four programs, compiled with plain clang, loaded by the library and by ``sonde load``."""

from __future__ import annotations

import math
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel.compiled import program_of
from kernel.network import DEADLINE_S
from kernel.places import Network
from kernel.plain import EXAMPLES, example
from kernel.sonde_process import PATIENCE_S, Output, busy, output_of, ready
from kernel.workload import Calls, assert_counted, stopped
from sonde import Object, ObjectSpec
from sonde.bpf.hooks import Tracepoint, Xdp
from sonde.bpf.map import possible_cpus

NAMES = ("network_monitor", "trace_syscall", "trace_syscall_openat_optimized", "trace_syscall_openat_safe")
DOCUMENT = {
    "trace_syscall": ("trace_syscall_openat", "syscall_count"),
    "network_monitor": ("xdp_prog", "packet_count"),
    "trace_syscall_openat_safe": ("trace_syscall_openat_safe", "syscall_count"),
    "trace_syscall_openat_optimized": ("trace_syscall_openat_optimized", "per_cpu_count"),
}
COUNTERS = ("trace_syscall", "trace_syscall_openat_safe", "trace_syscall_openat_optimized")
OPENAT = {"x86_64": 257, "aarch64": 56}[platform.machine()]


ROOM = 1 << 16
"""Rows for everybody's processes: of the document's 1,024 none may be left where others begin many."""


@contextmanager
def loaded(name: str, *, rows: int = 0, **knobs: Any) -> Iterator[Object]:
    with ObjectSpec.open(example(name), name=name) as spec:
        for knob, value in knobs.items():
            spec.knobs[knob].value = value
        if rows:
            spec.maps[DOCUMENT[name][1]].max_entries = rows
        with spec.load() as made:
            yield made


def test_there_are_these_four_and_no_others() -> None:
    assert sorted(path.name.removesuffix(".bpf.c") for path in EXAMPLES.glob("*.bpf.c")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_document_s(name: str) -> None:
    program, table = DOCUMENT[name]
    with ObjectSpec.open(example(name)) as spec:
        assert list(spec.programs) == [program]
        assert [each for each in spec.maps if not each.startswith(".")] == [table]
        assert spec.maps[table].max_entries == 1024


@pytest.mark.parametrize("name", NAMES)
def test_licence_is_the_document_s(name: str) -> None:
    assert b"Dual BSD/GPL\0" in example(name).read_bytes()


# ---- system calls -------------------------------------------------------------------------------------------


def exactly(name: str) -> dict[str, Any]:
    """The knobs with which a program counts every call."""
    return {"sample_factor": 1} if name.endswith("optimized") else {}


def counts_of(made: Object) -> dict[int, int]:
    """The counts by process, whatever else is in the keys."""
    (table,) = (each for name, each in made.maps.items() if not name.startswith("."))
    entries: Any = table.totals() if table.per_cpu else dict(table)  # type: ignore[attr-defined, call-overload]
    counts: dict[int, int] = {}
    for key, count in entries.items():
        pid = key if isinstance(key, int) else key.pid
        counts[pid] = counts.get(pid, 0) + count
    return counts


@pytest.mark.parametrize("name", COUNTERS)
def test_every_openat_of_eight_threads_is_counted(name: str) -> None:
    few = Calls(read=0, write=0, connect=0)
    with stopped(few) as calls, loaded(name, rows=ROOM, **exactly(name)) as made:
        made.attach_all()
        calls.run()
        assert_counted(counts_of(made)[calls.pid], calls.expected["openat"], made)
        assert made.variables["syscalls_other"].value == 0


@pytest.mark.host_only
@pytest.mark.parametrize("name", COUNTERS)
def test_a_storm_on_one_entry_loses_no_count(name: str) -> None:
    """A count that is read, increased and written back loses some thousands of these 1.6 million."""
    storm = Calls(read=200_003, openat=0, write=0, connect=0)
    with stopped(storm) as calls, loaded(name, rows=ROOM, **exactly(name)) as made:
        made.programs[DOCUMENT[name][0]].attach(Tracepoint("syscalls/sys_enter_read"))
        calls.run()
        assert_counted(counts_of(made)[calls.pid], calls.expected["read"], made)


@pytest.mark.host_only
@pytest.mark.parametrize("name", COUNTERS)
def test_race_for_a_first_entry_loses_no_count(name: str) -> None:
    """Threads make their process's first call at once: the document's programs lose a third of these races."""
    races, threads = 1009, 2
    with ObjectSpec.open(example(name)) as spec:
        for knob, value in exactly(name).items():
            spec.knobs[knob].value = value
        spec.maps[DOCUMENT[name][1]].max_entries = ROOM
        with spec.load() as made:
            made.attach_all()
            command = [program_of("race_calls.c"), str(races), str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            counts = counts_of(made)
    pids = [int(line) for line in done.stdout.splitlines()]
    assert len(pids) == races
    assert [counts.get(pid) for pid in pids] == [threads] * races


@pytest.mark.parametrize("name", COUNTERS)
def test_what_finds_the_map_full_is_counted(name: str) -> None:
    few = Calls(threads=4, openat=251, read=0, write=0, connect=0)
    with stopped(few) as calls, loaded(name, **exactly(name)) as made:
        table: Any = made.maps[DOCUMENT[name][1]]
        zero = [0] * possible_cpus() if table.per_cpu else 0
        for number in range(1024):
            table[(1 << 30, number) if name == "trace_syscall" else (1 << 30) + number] = zero
        made.attach_all()
        calls.run()
        # Other processes' calls are there, too.
        other, wanted = made.variables["syscalls_other"].value, calls.expected["openat"]
        assert_counted(min(other, wanted), wanted, made)


def test_samples_are_of_events_and_say_their_rate() -> None:
    """One in a hundred, whoever makes the call; the estimate is within six standard deviations."""
    factor = 100
    many = Calls(threads=8, openat=10_007, read=0, write=0, connect=0)
    with stopped(many) as calls, loaded("trace_syscall_openat_optimized", rows=ROOM) as made:
        made.attach_all()
        calls.run()
        table: Any = made.maps["per_cpu_count"]
        estimate, made_calls = table.total(calls.pid), calls.expected["openat"]
    assert estimate % factor == 0
    assert 0 < estimate != made_calls
    deviation = math.sqrt(made_calls * factor)
    assert abs(estimate - made_calls) < 6 * deviation


# ---- packets ------------------------------------------------------------------------------------------------

ETHERNET = bytes.fromhex("0200000000010200000000 02".replace(" ", ""))
VLAN, SERVICE_VLAN = struct.pack("!HH", 0x8100, 7), struct.pack("!HH", 0x88A8, 9)


def ipv4(protocol: int, size: int) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return struct.pack("!H", 0x0800) + header.ljust(size, b"x")


def ipv6(chain: bytes, first: int) -> bytes:
    header = struct.pack(
        "!IHBB16s16s", 6 << 28, len(chain), first, 64, b"\xfe\x80" + bytes(14), bytes(15) + b"\1"
    )
    return struct.pack("!H", 0x86DD) + header + chain


HOP_BY_HOP = bytes([60, 0]) + bytes(6)  # then destination options
DESTINATION = bytes([51, 1]) + bytes(14)  # 16 bytes, then authentication
AUTHENTICATION = bytes([44, 4]) + bytes(22)  # 24 bytes, then a fragment
FIRST_FRAGMENT = bytes([17, 0, 0, 1]) + bytes(4)
LATER_FRAGMENT = bytes([17, 0, 0x12, 0x38]) + bytes(4)

TAG_CUT_SHORT = ETHERNET + VLAN[:3]

FRAMES = [
    # (frame, protocol, how many)
    (ETHERNET + ipv4(6, 60), 6, 13),
    (ETHERNET + ipv4(17, 1000), 17, 17),
    (ETHERNET + VLAN + ipv4(1, 61), 1, 7),
    (ETHERNET + SERVICE_VLAN + VLAN + ipv4(47, 100), 47, 5),
    (ETHERNET + ipv6(bytes(20), 6), 6, 11),
    (ETHERNET + VLAN + ipv6(bytes(8), 58), 58, 3),
    (ETHERNET + ipv6(HOP_BY_HOP + DESTINATION + AUTHENTICATION + FIRST_FRAGMENT + bytes(8), 0), 17, 19),
    (ETHERNET + ipv6(LATER_FRAGMENT + bytes(100), 44), 17, 2),
    (ETHERNET + ipv6(b"", 59), 59, 1),
    (ETHERNET + struct.pack("!H", 0x0806) + bytes(28), 256, 23),
    (ETHERNET + VLAN + struct.pack("!H", 0x0806) + bytes(28), 256, 2),
    (ETHERNET + ipv4(6, 60)[:18], 257, 3),
    (TAG_CUT_SHORT, 257, 2),
    (ETHERNET + ipv6(bytes(20), 6)[:30], 257, 5),
    (ETHERNET + ipv6(HOP_BY_HOP, 0), 257, 2),
]


def expected_traffic() -> dict[int, tuple[int, int]]:
    totals: dict[int, tuple[int, int]] = {}
    for frame, protocol, count in FRAMES:
        packets, size = totals.get(protocol, (0, 0))
        totals[protocol] = (packets + count, size + count * len(frame))
    return totals


def test_every_kind_of_frame_is_passed_on_unchanged() -> None:
    with loaded("network_monitor") as made:
        program = made.programs["xdp_prog"]
        for frame, _, count in FRAMES:
            for _ in range(count):
                done = program.test_run(frame)
                assert (done.return_value, done.data) == (2, frame)  # XDP_PASS
        traffic: Any = made.maps["packet_count"]
        assert {key: tuple(value) for key, value in traffic.totals().items()} == expected_traffic()


@contextmanager
def wire() -> Iterator[tuple[str, socket.socket, socket.socket]]:
    """A veth pair in the namespace that the thread is in: its receiving end, a socket there, one at the other."""
    _ip("link", "add", "sonde-in", "type", "veth", "peer", "name", "sonde-out")
    for name in ("sonde-in", "sonde-out"):
        _ip("link", "set", name, "arp", "off", "up")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as receiver:
        receiver.bind(("sonde-in", 3))
        receiver.settimeout(DEADLINE_S)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind(("sonde-out", 0))
            yield "sonde-in", sender, receiver


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def send_frames(sender: socket.socket, receiver: socket.socket) -> None:
    """Send all, and wait until each has arrived behind the program."""
    for frame, _, count in FRAMES:
        for _ in range(count):
            sender.send(frame)
            # Behind the program the kernel itself drops a tag without what it tags.
            if frame != TAG_CUT_SHORT:
                receiver.recv(2048)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_every_packet_on_the_wire_is_counted_with_its_bytes(network: Network, mode: Any) -> None:
    with wire() as (interface, sender, receiver), loaded("network_monitor") as made:
        with made.programs["xdp_prog"].attach(Xdp(interface, mode=mode)):
            send_frames(sender, receiver)
        send_frames(sender, receiver)  # detached: nobody counts
        traffic: Any = made.maps["packet_count"]
        assert {key: tuple(value) for key, value in traffic.totals().items()} == expected_traffic()


# ---- sonde load ---------------------------------------------------------------------------------------------


def interrupted(process: subprocess.Popen[str]) -> Output:
    process.send_signal(signal.SIGINT)
    ended = output_of(process)
    assert ended.status == 0, ended.err
    return ended


def entries(ended: Output, table: str) -> list[dict[str, Any]]:
    """The rows of a map at the last reading."""
    rows = [row for row in ended.rows if row.get("map") == table]
    return [row for row in rows if row["time"] == rows[-1]["time"]]


@pytest.mark.host_only
@pytest.mark.parametrize("name", COUNTERS)
def test_sonde_load_shows_every_call(name: str) -> None:
    settings = ["--set", f"{DOCUMENT[name][1]}.max_entries={ROOM}"]
    settings += ["--set", "sample_factor=1"] if name.endswith("optimized") else []
    arguments = ["load", str(example(name)), *settings, "--format", "json"]
    with stopped(Calls(read=0, write=0, connect=0)) as calls, ready(*arguments) as process:
        calls.run()
        ended = interrupted(process)
    rows = entries(ended, DOCUMENT[name][1])
    key: Any = {"pid": calls.pid, "syscall": OPENAT} if name == "trace_syscall" else calls.pid
    (value,) = [row["value"] for row in rows if row["key"] == key]
    assert (sum(value) if isinstance(value, list) else value) == calls.expected["openat"]


@pytest.mark.host_only
def test_sonde_load_attaches_where_it_is_told() -> None:
    place = "trace_syscall_openat=tracepoint:syscalls/sys_enter_connect"
    settings = ["--set", f"syscall_count.max_entries={ROOM}"]
    arguments = ["load", str(example("trace_syscall")), *settings, "--attach", place, "--format", "json"]
    with stopped(Calls(openat=3, read=5)) as calls, ready(*arguments) as process:
        calls.run()
        ended = interrupted(process)
    counts = [row["value"] for row in entries(ended, "syscall_count") if row["key"]["pid"] == calls.pid]
    assert counts == [calls.expected["connect"]]


@pytest.mark.host_only
def test_sonde_load_shows_every_packet(network: Network) -> None:
    with wire() as (interface, sender, receiver):
        arguments = ["load", str(example("network_monitor")), "--interface", interface, "--format", "json"]
        with ready(*arguments) as process:
            send_frames(sender, receiver)
            ended = interrupted(process)
    shown = {}
    for row in entries(ended, "packet_count"):
        value = row["value"]
        cpus = value if isinstance(value, list) else [value]
        shown[row["key"]] = (sum(each["packets"] for each in cpus), sum(each["size_bytes"] for each in cpus))
    assert shown == expected_traffic()


# ---- the README ---------------------------------------------------------------------------------------------


BUSY = """
import os, socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    os.close(os.open("/dev/null", os.O_RDONLY))
    sender.sendto(b"x", ("127.0.0.1", 9))
    time.sleep(0.005)
"""


def programs_of(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.host_only
@pytest.mark.parametrize("at", range(len(programs_of(EXAMPLES / "README.md"))))
def test_programs_of_the_readme_run(network: Network, tmp_path: Path, at: int) -> None:
    """As they are printed, in a folder with the four objects and a network of their own."""
    program = programs_of(EXAMPLES / "README.md")[at]
    assert len([line for line in program.splitlines() if line]) <= 10
    for name in NAMES:
        shutil.copyfile(example(name), tmp_path / f"{name}.bpf.o")
        (tmp_path / f"{name}.bpf.o").chmod(0o644)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with busy(BUSY):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert any(character.isdigit() for character in done.stdout)
