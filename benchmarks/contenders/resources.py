"""What a running tool takes: CPU time, memory with that of its BPF maps, and what it holds in the kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MB_OF_KB = 1.024 / 1000
KERNEL_HELD = ("anon_inode:bpf-prog", "anon_inode:bpf_link", "anon_inode:[perf_event]", "anon_inode:bpf-map")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU time in user space and in the kernel, to a tick; and of threads that live, to a nanosecond."""

    user_s: float
    kernel_s: float
    exact_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes: what the processes had resident at most, and what the kernel holds for them in maps and buffers.

    ``mapped_mb`` is what of the latter they have mapped, and is no part of what is resident.
    """

    resident_mb: float
    kernel_mb: float
    mapped_mb: float = 0.0


def tree(pid: int) -> list[int]:
    """Give a process and all that it has started and that still runs."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            # Each thread has its own.
            for thread in os.scandir(f"/proc/{each}/task"):
                found += map(int, Path(thread.path, "children").read_text().split())
    return found


def cpu(pid: int) -> Cpu:
    """Read the CPU time of a process and its children, those that have ended included."""
    user = kernel = exact_ns = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_bytes().rpartition(b")")[2].split()
            user += int(fields[11]) + int(fields[13])
            kernel += int(fields[12]) + int(fields[14])
            for thread in os.scandir(f"/proc/{each}/task"):
                exact_ns += int(Path(thread.path, "schedstat").read_text().split()[0])
    return Cpu(user / TICKS_PER_S, kernel / TICKS_PER_S, exact_ns / 1e9)


def held(pid: int) -> list[str]:
    """Name the BPF and perf descriptors of a process and its children; a tool has attached when they are all there."""
    found = []
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{each}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(entry.path)
                    if target in KERNEL_HELD:
                        found.append(f"{each}/{entry.name} {target}")
    return sorted(found)


def memory(pid: int) -> Memory:
    """Read the memory of a process and its children.

    Pages of maps that are mapped (ring buffers) are the kernel's here, not the process's: else they would count twice.
    """
    resident_kb, maps, buffers_kb, all_mapped_kb = 0.0, {}, 0.0, 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError, StopIteration):
            peak_kb = _peak_kb(each)
            mapped_kb, beside_kb = _mapped(each)
            resident_kb += max(0, peak_kb - mapped_kb)
            all_mapped_kb += mapped_kb
            buffers_kb += beside_kb
            maps.update(_maps(each))
    kernel_mb = sum(maps.values()) / 1e6 + buffers_kb * MB_OF_KB
    return Memory(resident_kb * MB_OF_KB, kernel_mb, all_mapped_kb * MB_OF_KB)


def peak_mb(pid: int) -> float:
    """Read what a process and its children had resident at most, mapped maps included: it holds them up no longer than a read."""
    found = 0
    for each in tree(pid):
        with contextlib.suppress(OSError, StopIteration):
            found += _peak_kb(each)
    return found * MB_OF_KB


def _peak_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def _maps(pid: int) -> dict[int, int]:
    """Give the bytes of each BPF map that a process holds, as the kernel tells them in fdinfo."""
    found = {}
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError, KeyError):
            if os.readlink(entry.path) == "anon_inode:bpf-map":
                lines = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().splitlines()
                told = dict(line.split(":", 1) for line in lines if ":" in line)
                found[int(told["map_id"])] = int(told["memlock"])
    return found


def _mapped(pid: int) -> tuple[int, int]:
    """Give kilobytes of mapped BPF maps that are resident, and of perf's buffers that are mapped."""
    maps_kb = perf_kb = 0
    for name, size in _mappings(pid):
        if "bpf-map" in name:
            maps_kb += size["Rss"]
        elif "[perf_event]" in name:
            maps_kb += size["Rss"]
            perf_kb += size["Size"]
    return maps_kb, perf_kb


def _mappings(pid: int) -> Iterator[tuple[str, dict[str, int]]]:
    name, size = "", {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if first.endswith(":"):
            if rest and rest[-1] == "kB":
                size[first[:-1]] = int(rest[0])
            continue
        if size:
            yield name, size
        name, size = " ".join(rest[4:]), {}
    if size:
        yield name, size
