"""``sonde filter`` as a process of a test's own, at the far end of a pair, and packets for it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from filtering import TCP, UDP, frame_of
from kernel.network import Pair
from kernel.sonde_process import Output, output_of, ready
from sonde.filter.packet import Packet


@contextmanager
def filtering(net: Pair, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run it on the far end; on from the moment when it is attached."""
    with ExitStack() as stack:
        with net.far.entered():
            process = stack.enter_context(ready("filter", net.far.interface, *arguments, env=environment()))
        yield process


def environment(**variables: str) -> dict[str, str]:
    """The tests' own, without what whoever runs them is logged in by."""
    return {name: text for name, text in os.environ.items() if not name.startswith("SSH_")} | variables


def ended(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Output:
    process.send_signal(number)
    return output_of(process)


def rule(port: int) -> str:
    """Write a rule as a file of rules has it."""
    return f'[[rule]]\naction = "drop"\nmatch = "udp dst port {port}"\n'


def write(path: Path, text: str) -> None:
    """In the place of what was there, at once, as editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)


def said(process: subprocess.Popen[str], words: str) -> str:
    """Read what it says on stderr until some words come."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without {words!r}")


def frame(net: Pair, source: str | IPv4Address, port: int = 53, protocol: int = UDP) -> bytes:
    flags = 2 if protocol == TCP else None
    raw = frame_of(Packet(ip_address(str(source)), ip_address(net.far.address), protocol, 4242, port, flags))
    return net.far.mac + net.near.mac + raw[12:]


def counts(output: Output) -> dict[str, tuple[int, int]]:
    """Packets and dropped ones of the last reading, by what they met."""
    return {row["match"]: (row["packets"], row["dropped"]) for row in output.final}
