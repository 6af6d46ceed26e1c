"""Fixtures of the tests that need a kernel: compiled objects, features, networks and mounts of their own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel import places
from kernel.agent_process import Agent, agent
from kernel.compiled import ROOT, object_of
from kernel.evidence import absent
from kernel.network import Pair, pair

HERE = Path(__file__).parent
EXPECTED = ROOT / "tools" / "vm" / "expected.toml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here; without root the reason of every skip is the user id."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.kernel)
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason=f"needs root, runs as user {os.geteuid()}: use sudo"))


@pytest.fixture(scope="session")
def compile_object() -> Callable[[str | Path], Path]:
    """Give the compiled object of a source: a path below ``tests/kernel/objects``, or a text of several lines."""
    return object_of


def expected_features() -> frozenset[str]:
    """What the virtual machine that runs this must be able to do; nothing outside one."""
    kernel = os.environ.get("SONDE_VM_KERNEL")
    if not kernel:
        return frozenset()
    table = tomllib.loads(EXPECTED.read_text())
    return frozenset(table[kernel]["features"])


@pytest.fixture(scope="session")
def require_feature() -> Callable[[str], None]:
    """Skip a test for evidence that the kernel lacks a feature; where a list expects it, never."""

    def require(feature: str) -> None:
        reason = absent(feature)
        if reason is None:
            return
        if feature in expected_features():
            pytest.fail(f"{feature} is expected on {os.environ['SONDE_VM_KERNEL']}, but {reason}")
        pytest.skip(f"{feature}: {reason}")

    return require


@pytest.fixture
def network() -> Iterator[places.Network]:
    """Enter a network namespace of its own with one end of a veth pair; the other end answers pings."""
    with places.network() as made:
        yield made


@pytest.fixture
def bpf_filesystem(tmp_path: Path) -> Iterator[Path]:
    """Mount a BPF file system of its own for pins."""
    with places.mounted("bpf", tmp_path / "bpf") as path:
        yield path


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Make a cgroup (version 2) of its own, without members."""
    with places.cgroup() as path:
        yield path


@pytest.fixture
def net(require_feature: Callable[[str], None]) -> Iterator[Pair]:
    """Two network namespaces with a pair of interfaces between them, where XDP is there."""
    require_feature("xdp")
    with pair() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    """One pair of processes for the tests of a file that leave it as it was."""
    with agent(probes=["syscalls"], statistics=True, identities=True) as started:
        yield started
