"""The guest's first file system: busybox, a few modules, our scripts, as a cpio archive that QEMU hands to the kernel."""

from __future__ import annotations

from pathlib import Path

from vm.host import busybox
from vm.kernel import Kernel

GUEST = Path(__file__).resolve().parent / "guest"
FOLDER, FILE = 0o040755, 0o100755
FOLDERS = ("bin", "dev", "lower", "modules", "newroot", "proc", "sys", "upper")


def build(kernel: Kernel, *, settings: str, command: str) -> bytes:
    """The archive for one run; not compressed, for the guest would spend longer on unpacking than on reading."""
    parts = [entry(name, FOLDER) for name in FOLDERS]
    parts.append(entry("init", FILE, (GUEST / "init.sh").read_bytes()))
    parts.append(entry("main.sh", FILE, (GUEST / "main.sh").read_bytes()))
    parts.append(entry("settings.sh", FILE, settings.encode()))
    parts.append(entry("command.sh", FILE, command.encode()))
    parts.append(entry("bin/busybox", FILE, busybox().read_bytes()))
    for index, path in enumerate(kernel.boot_modules()):
        parts.append(entry(f"modules/{index:02}-{path.name}", FILE, path.read_bytes()))
    parts.append(entry("TRAILER!!!", 0))
    return b"".join(parts)


def entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """One file in cpio's `newc` form: thirteen numbers of eight hexadecimal digits, name, data, each padded to four."""
    path = name.encode() + b"\0"
    inode, owner, links, device = 0, 0, 1, 0
    numbers = (inode, mode, owner, owner, links, 0, len(data), device, device, device, device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + path
    return padded(head) + padded(data)


def padded(data: bytes) -> bytes:
    """The bytes, followed by as many zeros as make their length a multiple of four."""
    return data + bytes(-len(data) % 4)
