"""Maps whose values stand for things in the kernel: other maps, programs, tasks, sockets, cgroups, interfaces, stacks."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.places import Network
from kernel.shaped import PACKET, loaded, send
from sonde.bpf.map import ArrayOfMaps, HashOfMaps, ProgramArray
from sonde.errors import NotSupportedError

pytestmark = pytest.mark.beside

CALLS = 13
Require = Callable[[str], None]


# ---- maps of maps, programs ---------------------------------------------------------------------------------


def test_maps_of_maps_swap_generations() -> None:
    with loaded("maps_in_maps") as made:
        generations: Any = made.maps["generations"]
        assert isinstance(generations, ArrayOfMaps)
        assert len(generations) == 2
        send(made.programs["count"])
        with generations[0] as even:
            assert even.id == made.maps["even"].id
            assert dict(even) == {len(PACKET): 1}
        with generations.create_inner("fresh", max_entries=16) as fresh:
            generations[0] = fresh
            send(made.programs["count"])
            assert dict(fresh) == {len(PACKET): 1}
        assert made.maps["even"][len(PACKET)] == 1  # type: ignore[index]
        made.variables["generation"].value = 3
        assert send(made.programs["count"]).return_value == 2
        with pytest.raises(KeyError):
            generations[3]
        generations[3] = made.maps["odd"]
        assert send(made.programs["count"]).return_value == 0
        assert generations.to_numpy()[0].tolist() == [0, 1, 3]
        del generations[3]
        assert 3 not in generations
        assert generations.to_numpy()[0].tolist() == [0, 1]


def test_hash_of_maps_is_filled_by_python() -> None:
    with loaded("maps_in_maps") as made:
        groups: Any = made.maps["by_group"]
        assert isinstance(groups, HashOfMaps)
        with groups.create_inner("group", max_entries=16) as inner:
            inner[1] = 61
            groups[77] = inner
        with groups[77] as found:
            assert (dict(found), found.name) == ({1: 61}, "group")
        assert list(groups) == [77]
        for other in groups.values():
            other.close()


def test_tail_calls_go_where_python_says() -> None:
    with loaded("tail_calls") as made:
        targets: Any = made.maps["targets"]
        assert isinstance(targets, ProgramArray)

        def results() -> list[int]:
            return [send(made.programs["entry"], mark=slot).return_value for slot in range(5)]

        assert results() == [11, 13, 7, 7, 7]
        targets[3] = made.programs["third"]
        del targets[0]
        assert results() == [7, 13, 7, 17, 7]
        assert targets[3] == made.programs["third"].id
        with pytest.raises(KeyError):
            targets[2]
        assert dict(targets) == {1: made.programs["second"].id, 3: made.programs["third"].id}


# ---- what belongs to something else ------------------------------------------------------------------------


def test_task_storage_by_pidfd(require_feature: Require) -> None:
    require_feature("task_storage")

    def edit(spec: Any) -> None:
        spec.knobs["target"].value = os.getpid()

    with loaded("task_storage", edit) as made:
        usage: Any = made.maps["usage"]
        pidfd = os.pidfd_open(os.getpid())
        try:
            with pytest.raises(KeyError):
                usage[pidfd]
            with made.programs["count"].attach():
                for _ in range(CALLS):
                    os.getppid()
            value = usage[pidfd]
            assert value.tgid == os.getpid()
            assert value.calls >= CALLS
            usage[pidfd] = (5, 0, 9)
            assert usage[pidfd] == (5, 0, 9)
            del usage[pidfd]
            assert pidfd not in usage
        finally:
            os.close(pidfd)
        with pytest.raises(NotSupportedError, match="usage"):
            usage.to_numpy()


def test_socket_storage_by_descriptor() -> None:
    def edit(spec: Any) -> None:
        spec.maps["by_cgroup"].autocreate = False
        spec.maps["by_inode"].autocreate = False

    with loaded("object_storage", edit) as made, socket.socket() as one, socket.socket() as other:
        by_socket: Any = made.maps["by_socket"]
        by_socket[one.fileno()] = 61
        assert by_socket[one.fileno()] == 61
        assert other.fileno() not in by_socket
        del by_socket[one.fileno()]
        assert one.fileno() not in by_socket


def test_cgroup_and_inode_storage_by_descriptor(
    require_feature: Require, cgroup: Path, tmp_path: Path
) -> None:
    require_feature("cgrp_storage")
    require_feature("inode_storage")
    with loaded("object_storage") as made:
        for name, path, value in (("by_cgroup", cgroup, 17), ("by_inode", tmp_path, "a folder")):
            storage: Any = made.maps[name]
            fd = os.open(path, os.O_RDONLY)
            try:
                storage[fd] = value
                assert storage[fd] == value
                del storage[fd]
                assert fd not in storage
            finally:
                os.close(fd)


def test_cgroup_array_holds_paths(cgroup: Path) -> None:
    def edit(spec: Any) -> None:
        spec.programs["sent"].autoload = False
        spec.maps["shared"].autocreate = spec.maps["per_cpu"].autocreate = False
        spec.knobs["target"].value = os.getpid()

    with loaded("cgroup_maps", edit) as made:
        made.maps["cgroups"][0] = cgroup  # type: ignore[index]
        with made.programs["compare"].attach():
            os.getppid()
        assert made.variables["outside"].value >= 1
        assert made.variables["inside"].value == 0


def test_cgroup_storages_of_an_attached_program(cgroup: Path) -> None:
    """One of them has a value for each CPU, although its type's name does not begin with it."""
    from sonde.bpf.hooks import Cgroup

    with loaded("cgroup_maps") as made, made.programs["sent"].attach(Cgroup(str(cgroup))):
        _send_from(cgroup, CALLS)
        ((key, count),) = made.maps["shared"].items()  # type: ignore[attr-defined]
        assert count == CALLS
        assert key.cgroup_inode_id == cgroup.stat().st_ino
        assert made.maps["per_cpu"].total(key) == CALLS  # type: ignore[attr-defined]


def _send_from(cgroup: Path, datagrams: int) -> None:
    """Send to a port of our own on the loopback interface, from a process in a cgroup."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        child = os.fork()
        if child == 0:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(datagrams):
                    sender.sendto(b"x", receiver.getsockname())
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_sockets_in_maps_are_written_as_descriptors_and_read_as_cookies(network: Network) -> None:
    with loaded("sockets") as made, socket.socket() as server, socket.socket() as client:
        _up_loopback()
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        cookie = int.from_bytes(client.getsockopt(socket.SOL_SOCKET, 57, 8), "little")  # SO_COOKIE
        for name, key in (("by_index", 2), ("by_key", 12345)):
            sockets: Any = made.maps[name]
            sockets[key] = client.fileno()
            assert sockets[key] == cookie
            assert dict(sockets) == {key: cookie}
            del sockets[key]
            assert key not in sockets
        listeners: Any = made.maps["listeners"]
        with socket.socket() as shared:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared.bind(("127.0.0.1", 0))
            shared.listen()
            listeners[3] = shared.fileno()
            assert list(listeners) == [3]


def _up_loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def test_redirects_of_xdp(network: Network) -> None:
    with loaded("redirects") as made:
        interfaces: Any = made.maps["interfaces"]
        interfaces[1] = {"ifindex": network.index, "bpf_prog": (0).to_bytes(4, "little")}
        assert interfaces[1].ifindex == network.index
        assert list(interfaces) == [1]
        by_key: Any = made.maps["interfaces_by_key"]
        by_key[1009] = network.index
        assert dict(by_key) == {1009: network.index}
        cpus: Any = made.maps["cpus"]
        cpus[0] = {"qsize": 192, "bpf_prog": (0).to_bytes(4, "little")}
        assert cpus[0].qsize == 192
        assert made.programs["to_interface"].test_run(PACKET).return_value == 4  # XDP_REDIRECT
        assert made.programs["to_socket"].test_run(PACKET).return_value == 2  # the slot is empty: XDP_PASS
        del interfaces[1]
        assert made.programs["to_interface"].test_run(PACKET).return_value == 1  # XDP_DROP
        with pytest.raises(NotSupportedError, match="sockets"):
            len(made.maps["sockets"])  # type: ignore[arg-type]


def test_stacks_are_read_by_their_number() -> None:
    def edit(spec: Any) -> None:
        spec.knobs["target"].value = os.getpid()

    with loaded("stacks", edit) as made:
        with made.programs["keep"].attach():
            os.getppid()
        number = made.variables["last"].value
        assert number >= 0
        stacks: Any = made.maps["stacks"]
        assert 0 < len(stacks[number]) <= 127
        assert all(stacks[number])
        assert stacks[number] == dict(stacks)[number]
        del stacks[number]
        with pytest.raises(KeyError):
            stacks[number]
