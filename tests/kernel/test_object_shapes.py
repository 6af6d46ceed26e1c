"""Objects that sonde did not build: functions, CO-RE, the kernel's configuration and symbols, odd shapes."""

from __future__ import annotations

import gzip
import os
import platform
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.plain import shape, shape_names
from kernel.shaped import PACKET, loaded, opened, send
from sonde.bpf import Btf, ObjectSpec
from sonde.bpf.btf import Enum, Int, Struct, resolve
from sonde.errors import KernelError, SondeError

pytestmark = pytest.mark.beside

Require = Callable[[str], None]
REFUSED = {"legacy_maps"}
"""Shapes that libbpf does not open."""


@pytest.mark.parametrize("name", sorted(set(shape_names()) - REFUSED))
def test_a_shape_opens_and_says_what_is_in_it(name: str) -> None:
    """Names, types and sizes, before anything of it is in the kernel; looking changes nothing."""
    with opened(name) as spec:
        for program in spec.programs.values():
            assert program.instruction_count > 0
            assert program.type != "unspec" or program.section == ".text"
            assert program.name in repr(program)
        for each in spec.maps.values():
            assert each.type not in ("unspec", "unknown")
            assert each.name in repr(each)
        for knob in spec.knobs.values():
            value = knob.value
            knob.value = value
            assert knob.value == value
        assert (spec.btf is None) == (name == "no_btf")


# ---- functions ----------------------------------------------------------------------------------------------


def test_static_and_global_functions() -> None:
    with loaded("subprograms") as made:
        assert set(made.programs) == {"divide", "divide_less"}
        assert send(made.programs["divide"], mark=801).return_value == 100
        assert made.variables["calls"].value == 4
        assert send(made.programs["divide_less"], mark=801).return_value == 200


def test_functions_that_the_kernel_calls_back(require_feature: Require) -> None:
    require_feature("loop")
    with loaded("callbacks") as made:
        numbers: Any = made.maps["numbers"]
        for index in range(7):
            numbers[index] = index * index
        send(made.programs["run"], mark=1009)
        assert made.variables["sum"].value == sum(index * index for index in range(7))
        assert made.variables["turns"].value == 1009
        assert send(made.programs["set_alarm"], mark=17).return_value == 0
        deadline = time.monotonic() + 60
        while made.variables["rung"].value == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert made.variables["rung"].value == 17


def test_values_with_a_lock_in_them() -> None:
    """The lock is the kernel's: it reads as bytes, and writing the value leaves it alone."""
    with loaded("locks") as made:
        accounts: Any = made.maps["accounts"]
        accounts[5] = {"lock": (0,), "owner": 5, "balance": -100, "changes": 0}
        for _ in range(3):
            assert send(made.programs["pay_in"], mark=5).return_value == 0
        assert (accounts[5].balance, accounts[5].changes) == (-100 + 3 * len(PACKET), 3)
        assert send(made.programs["pay_in"], mark=6).return_value == 2


# ---- CO-RE, configuration, symbols --------------------------------------------------------------------------


def kernel_member(name: str) -> Any:
    task = resolve(Btf.kernel().find("task_struct"))
    assert isinstance(task, Struct)
    return next(member for member in task.members if member.name == name)


def test_core_reads_the_running_kernel_s_layout() -> None:
    def edit(spec: ObjectSpec) -> None:
        spec.knobs["target"].value = os.getpid()

    with loaded("core", edit) as made:
        with made.programs["read"].attach():
            os.getppid()
        seen = {name: each.value for name, each in made.variables.items()}
    assert (seen["tgid_seen"], seen["leader_seen"]) == (os.getpid(), os.getpid())
    assert (seen["has_tgid"], seen["has_type"]) == (True, False)
    assert (seen["has_favourite_colour"], seen["favourite_colour"]) == (False, -1)
    assert seen["comm_size"] == kernel_member("comm").type.size == 16
    assert seen["comm_offset"] == kernel_member("comm").bit_offset // 8
    assert seen["in_execve"] == 0
    kinds = Btf.kernel().require("bpf_map_type", Enum)
    assert seen["hash_number"] == dict(kinds.values)["BPF_MAP_TYPE_HASH"] == 1
    assert (seen["has_hash_number"], seen["has_imagined_number"]) == (True, False)


def configuration(name: str, default: str = "") -> str:
    path = Path("/proc/config.gz")
    text = gzip.decompress(path.read_bytes()).decode() if path.exists() else ""
    text = text or Path(f"/boot/config-{platform.release()}").read_text()
    values = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_"))
    return values.get(name, default)


def test_kernel_configuration_is_filled_in() -> None:
    if not Path("/proc/config.gz").exists() and not Path(f"/boot/config-{platform.release()}").exists():
        with opened("kconfig") as spec, pytest.raises(KernelError, match="config"):
            spec.load()
        return
    with loaded("kconfig") as made:
        send(made.programs["copy"])
        seen = {name: each.value for name, each in made.variables.items()}
    version = seen["version"]
    assert f"{version >> 16}.{version >> 8 & 255}" == ".".join(
        platform.release().split("-")[0].split(".")[:2]
    )
    assert seen["frequency_hz"] == int(configuration("CONFIG_HZ"))
    assert (seen["has_bpf"], seen["has_net"]) == (1, int(configuration("CONFIG_NET") == "y"))
    assert seen["hostname"] == configuration("CONFIG_DEFAULT_HOSTNAME").strip('"')
    assert seen["never_was"] == 0


def test_kernel_symbols_have_their_addresses() -> None:
    with loaded("ksyms") as made:
        with made.programs["look"].attach():
            os.getppid()
        address = made.variables["address"].value
        assert made.variables["nothing"].value == 0
    found = [
        line.split()[0]
        for line in Path("/proc/kallsyms").read_text().splitlines()
        if line.endswith(" schedule")
    ]
    assert int(found[0], 16) == address != 0


def test_kernel_variables_of_each_cpu(require_feature: Require) -> None:
    require_feature("ksym_variable")
    with loaded("ksym_variable") as made:
        with made.programs["look"].attach():
            os.getppid()
        assert made.variables["first_cpu"].value == 0
        assert made.variables["cpu_here"].value >= 0


# ---- odd shapes ---------------------------------------------------------------------------------------------


def test_object_without_btf_has_programs_and_bytes() -> None:
    with loaded("no_btf") as made:
        send(made.programs["count"])
        assert (list(made.variables), made.btf) == ([], None)
        data: Any = made.maps[".data"]
        assert data[0] == struct.pack("Q", 12)
        _, values = data.to_numpy()
        assert values[0].tobytes() == struct.pack("Q", 12)


def test_maps_from_before_btf_are_refused_in_words() -> None:
    with pytest.raises(KernelError) as caught:
        ObjectSpec.open(shape("legacy_maps"))
    text = str(caught.value)
    assert "legacy map definitions in 'maps' section are not supported" in text
    assert 'SEC(".maps")' in text


def test_programs_of_many_types_in_one_object() -> None:
    expected = {
        "on_tc": "sched_cls",
        "on_xdp": "xdp",
        "on_socket": "socket_filter",
        "on_raw_tp": "raw_tracepoint",
        "on_tracepoint": "tracepoint",
        "on_cgroup": "cgroup_skb",
        "on_perf_event": "perf_event",
        "on_bind": "cgroup_sock_addr",
        "on_lookup": "sk_lookup",
        "on_flow": "flow_dissector",
    }
    with opened("many_types") as spec:
        assert {each.name for each in spec.programs.values() if not each.autoload} == {"when_asked", "never"}
        with spec.load() as made:
            assert {name: program.type for name, program in made.programs.items()} == expected
            for name in ("on_tc", "on_xdp", "on_socket", "on_cgroup"):
                made.programs[name].test_run(PACKET)
            with made.programs["on_raw_tp"].attach(), made.programs["on_tracepoint"].attach():
                for _ in range(7):
                    os.getppid()
            runs = made.variables["runs"].value
            assert runs[:3] == (1, 1, 1)
            assert runs[3] >= 7
            assert runs[4] >= 7
            assert runs[5] == 1


def test_programs_marked_as_optional_are_loaded_on_request() -> None:
    def ask(spec: ObjectSpec) -> None:
        for program in spec.programs.values():
            program.autoload = program.name == "when_asked"

    with loaded("many_types", ask) as made:
        assert set(made.programs) == {"when_asked"}
        made.attach_all()
        os.getppid()
        assert made.variables["runs"].value[10] >= 1
    with opened("many_types") as spec:
        spec.programs["never"].autoload = True
        with pytest.raises(KernelError, match="never_was"):
            spec.load()


def test_tracepoint_of_an_optional_program_can_be_chosen() -> None:
    def choose(spec: ObjectSpec) -> None:
        for program in spec.programs.values():
            program.autoload = program.name == "never"
        assert spec.programs["never"].attach_target == "never_was"
        spec.programs["never"].attach_target = "sys_exit"

    with loaded("many_types", choose) as made:
        made.attach_all()
        os.getppid()
        assert made.variables["runs"].value[11] >= 1


def test_library_has_maps_and_no_programs() -> None:
    with loaded("library") as made:
        assert list(made.programs) == []
        shared: Any = made.maps["shared"]
        shared[1] = 2
        assert dict(shared) == {1: 2}
        assert made.attach_all() == []


def test_replacement_says_that_it_has_nothing_to_replace() -> None:
    with opened("replacement") as spec:
        assert (spec.programs["eighth"].type, spec.programs["eighth"].attach_target) == ("ext", "quarter")
        with pytest.raises(KernelError, match="attach program FD is not set"):
            spec.load()


def test_pinned_map_is_found_again(bpf_filesystem: Path) -> None:
    def edit(spec: ObjectSpec) -> None:
        assert spec.maps["lasting"].pin_path == "/sys/fs/bpf/lasting"
        spec.maps["lasting"].pin_path = bpf_filesystem / "lasting"

    for runs in (1, 2, 3):
        with loaded("pinned", edit) as made:
            send(made.programs["count"])
            assert made.maps["lasting"][0] == runs  # type: ignore[index]


def test_program_for_what_the_kernel_lacks_says_how_to_leave_it_out(
    compile_object: Callable[[str | Path], Path],
) -> None:
    path = compile_object("links/lacking.bpf.c")
    with (
        ObjectSpec.open(path) as spec,
        pytest.raises(
            KernelError, match=r"program lost is for no_such_tracepoint.*\['lost'\].autoload = False"
        ),
    ):
        spec.load()
    with ObjectSpec.open(path) as spec:
        spec.programs["lost"].autoload = False
        with spec.load() as made:
            assert list(made.programs) == ["kept"]


def test_pin_path_outside_a_bpf_file_system_is_refused_in_words(tmp_path: Path) -> None:
    with opened("pinned") as spec:
        spec.maps["lasting"].pin_path = tmp_path / "lasting"
        with pytest.raises(KernelError, match="is not on BPF FS: mount one: mount -t bpf"):
            spec.load()


def test_program_on_request_writes_its_context(require_feature: Require) -> None:
    require_feature("syscall_program")
    request = struct.pack("QQQ", 60, 41, 0)
    with loaded("on_request") as made:
        done = made.programs["add"].test_run(ctx=request)
        assert (done.return_value, struct.unpack("QQQ", done.context)) == (1, (60, 41, 101))
        assert request == struct.pack("QQQ", 60, 41, 0), "the caller's own bytes were written"


def test_arena_gives_memory(require_feature: Require) -> None:
    require_feature("arena")
    with loaded("arena") as made:
        assert made.maps["arena"].max_entries == 4
        assert made.programs["allocate"].test_run().return_value == 0


def test_context_of_a_packet_program_comes_back() -> None:
    with loaded("tail_calls") as made:
        done = send(made.programs["third"], mark=1009)
        assert (done.return_value, struct.unpack_from("III", done.context)[2], done.data) == (
            17,
            1009,
            PACKET,
        )


def test_numbers_of_bits_and_whole_types_are_btf_s_own() -> None:
    """The shape with everything: BTF in the object says what the compiler meant."""
    with opened("structs") as spec:
        assert spec.btf is not None
        value = resolve(spec.btf.find("value"))
        assert isinstance(value, Struct)
        assert value.size == spec.maps["records"].value_size
        negative = next(member for member in value.members if member.name == "negative")
        whole = resolve(negative.type)
        assert isinstance(whole, Int)
        assert (negative.bit_size, whole.signed) == (5, True)


def test_everything_is_gone_after_close() -> None:
    """Programs, maps and links by their numbers, for every shape that loads."""
    numbers: list[int] = []
    for name in ("hashes", "maps_in_maps", "many_types", "globals"):
        with loaded(name) as made:
            numbers += [each.id for each in made.maps.values()]
            program_ids = [program.id for program in made.programs.values()]
            assert all(program_ids)
        with pytest.raises(SondeError, match="closed"):
            made.maps[next(iter(made.maps))].id  # noqa: B018
    from sonde.bpf.map import map_by_id

    deadline = time.monotonic() + 60
    alive = set(numbers)
    while alive and time.monotonic() < deadline:  # maps are freed after a grace period
        alive = {number for number in alive if _is_there(map_by_id, number)}
        time.sleep(0.01)
    assert alive == set()


def _is_there(open_by_id: Callable[[int], Any], number: int) -> bool:
    try:
        open_by_id(number).close()
    except KernelError:
        return False
    return True
