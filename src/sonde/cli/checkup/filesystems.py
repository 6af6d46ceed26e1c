"""The kernel's own file systems."""

from __future__ import annotations

from collections.abc import Iterator

from sonde.bpf.link.tracefs import MOUNT_POINTS, tracefs
from sonde.cli.checkup.check import Check, read
from sonde.errors import SondeError

TITLE, ORDER = "File systems", 3


def checks() -> Iterator[Check]:
    """Look for tracefs, bpffs and cgroup version 2."""
    yield _tracefs()
    yield _mounted("bpffs", "bpf", "pins need it, and nothing else", "mount -t bpf bpf /sys/fs/bpf")
    yield _mounted("cgroup2", "cgroup2", "--cgroup needs it", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")


def _tracefs() -> Check:
    try:
        path = tracefs()
    except SondeError as error:
        return Check("tracefs", False, str(error), f"mount -t tracefs tracefs {MOUNT_POINTS[0]}")
    if path in MOUNT_POINTS:
        return Check("tracefs", True, path)
    return Check("tracefs", True, "not mounted: sonde opens it for itself alone")


def _mounted(name: str, kind: str, purpose: str, fix: str) -> Check:
    lines = (read("/proc/self/mounts") or "").splitlines()
    places = [fields[1] for fields in map(str.split, lines) if len(fields) > 2 and fields[2] == kind]
    if places:
        return Check(name, True, ", ".join(places))
    return Check(name, False, f"not mounted: {purpose}", fix)
