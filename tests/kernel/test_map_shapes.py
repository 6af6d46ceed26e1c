"""Every type of map, in objects that sonde did not build: as Python collections, and as NumPy arrays."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernel.plain import shape_names
from kernel.shaped import PACKET, loaded, opened, send
from sonde.bpf.map import (
    ArrayMap,
    BloomFilterMap,
    HashMap,
    LpmTrieMap,
    PerCpuArrayMap,
    PerCpuHashMap,
    QueueMap,
    StackMap,
    map_types,
    possible_cpus,
)
from sonde.errors import KernelError, SondeError

pytestmark = pytest.mark.beside

CALLS = 13
Require = Callable[[str], None]


def test_every_type_of_map_is_among_the_shapes() -> None:
    """What libbpf can name, a shape has."""
    found = set()
    for name in shape_names():
        if name == "legacy_maps":
            continue
        with opened(name) as spec:
            found |= {each.type for each in spec.maps.values()}
    assert set(map_types()) - found == {"unspec"}


# ---- hashes -------------------------------------------------------------------------------------------------


def test_hashes_count_what_python_chooses() -> None:
    flow = {"source": 1, "target": 2, "source_port": 3, "target_port": 4, "protocol": 6, "padding": b""}
    with loaded("hashes") as made:
        made.variables["chosen"].value = 7
        made.variables["chosen_flow"].value = flow
        for _ in range(CALLS):
            send(made.programs["count_all"])
        assert dict(made.maps["by_number"]) == {7: CALLS}
        assert dict(made.maps["by_flow"]) == {(1, 2, 3, 4, 6, b"\0\0\0"): CALLS}
        assert made.maps["by_flow"][flow] == CALLS
        assert [key.source_port for key in made.maps["by_flow"]] == [3]
        assert dict(made.maps["recent"]) == {7: CALLS}
        for name in ("per_cpu", "recent_per_cpu"):
            assert made.maps[name].total(7) == CALLS
            assert len(made.maps[name][7]) == possible_cpus()
        assert {type(made.maps[name]) for name in ("by_number", "by_flow", "recent", "by_name")} == {HashMap}
        assert {type(made.maps[name]) for name in ("per_cpu", "recent_per_cpu")} == {PerCpuHashMap}


def test_hash_is_a_dictionary() -> None:
    with loaded("hashes") as made:
        counts: Any = made.maps["by_number"]
        counts.update({number: number * number for number in range(11)})
        counts[3] += 1
        del counts[4]
        assert len(counts) == 10
        assert (counts[3], counts.pop(5), counts.get(99), counts.get(99, -1)) == (10, 25, None, -1)
        assert 3 in counts
        assert 4 not in counts
        assert sorted(counts) == [0, 1, 2, 3, 6, 7, 8, 9, 10]
        assert sum(counts.values()) == sum(dict(counts.items()).values())
        for missing in (lambda: counts[4], lambda: counts.__delitem__(4), lambda: counts.pop(4)):
            with pytest.raises(KeyError):
                missing()
        counts.clear()
        assert dict(counts) == {}


def test_text_keys_are_text() -> None:
    with loaded("hashes") as made:
        by_name: Any = made.maps["by_name"]
        by_name["systemd"] = 1
        by_name["sixteen_letters!"] = 2
        assert dict(by_name) == {"systemd": 1, "sixteen_letters!": 2}
        with pytest.raises(ValueError, match="16"):
            by_name["seventeen letters"] = 3
        with pytest.raises(ValueError, match=r"u8 takes 0\.\.255"):
            by_name["systemd"] = 256
        keys, values = by_name.to_numpy()
        assert sorted(keys.tolist()) == [b"sixteen_letters!", b"systemd"]
        assert values.dtype == np.uint8


def test_full_map_says_how_much_it_holds() -> None:
    with loaded("hashes") as made:
        counts: Any = made.maps["by_number"]
        counts.update_many(np.arange(61), np.zeros(61))
        with pytest.raises(KernelError, match="by_number: the map is full, it holds 61 entries") as caught:
            counts[61] = 1
        assert caught.value.errno == errno.E2BIG
        with pytest.raises(KernelError, match="61 entries"):
            counts.update_many(np.arange(100), np.zeros(100))
        assert len(counts) == 61
        counts[60] = 5  # what is there can still be changed


def test_maps_can_be_made_larger_before_load() -> None:
    def edit(spec: Any) -> None:
        spec.maps["by_number"].max_entries = 1009

    with loaded("hashes", edit) as made:
        made.maps["by_number"].update_many(np.arange(1009), np.arange(1009))
        assert len(made.maps["by_number"]) == 1009  # type: ignore[arg-type]
        assert made.maps["by_number"].max_entries == 1009


def test_per_cpu_hash_takes_and_gives_one_value_for_each_cpu() -> None:
    cpus = possible_cpus()
    with loaded("hashes") as made:
        per_cpu: Any = made.maps["per_cpu"]
        per_cpu[1] = list(range(cpus))
        assert per_cpu[1] == list(range(cpus))
        assert per_cpu.total(1) == sum(range(cpus))
        with pytest.raises(ValueError, match=f"each of {cpus} CPUs"):
            per_cpu[2] = [1] * (cpus + 1)
        per_cpu.update_many([5, 6], [[1] * cpus, [2] * cpus])
        keys, values = per_cpu.to_numpy()
        assert values.shape == (3, cpus)
        assert dict(zip(keys.tolist(), values.sum(axis=1).tolist(), strict=True)) == per_cpu.totals()
        with pytest.raises(ValueError, match="shape"):
            per_cpu.update_many([5], [1])


# ---- structs ------------------------------------------------------------------------------------------------

KEY = {"group": 5, "name": "eight ch", "low": 7, "middle": 1009, "high": 262143}
VALUE: dict[str, Any] = {
    "count": 1,
    "corner": (0, 0),
    "line": {"from": (1, 2), "to": (3, 4)},
    "left": 1,
    "right": 2,
    "either": b"\1\2\3\0",
    "union_28": b"\0\0\0\0",
    "negative": 15,
    "wide": 0,
    "very_wide": 0,
    "rest": 0,
    "colour": "GREEN",
    "direction": -1,
    "huge": 1,
    "text": "",
    "raw": b"abc",
    "flag": False,
    "matrix": [[1, 2, 3], [4, 5, 6]],
    "points": [(1, 1), (2, 2)],
    "pointer": 0xFFFF888000000000,
    "tail": 0,
}


def test_structs_with_everything_that_c_allows() -> None:
    """Python writes a value, a program changes it, Python reads what C meant."""
    with loaded("structs") as made:
        records: Any = made.maps["records"]
        records[KEY] = VALUE
        made.variables["chosen"].value = KEY
        assert send(made.programs["fill"]).return_value == 0
        ((key, value),) = records.items()
        assert key == (5, "eight ch", 7, 1009, 262143)
        assert value.count == 1010
        assert value.corner == (-3, 0)
        assert (value.line["from"], value.line.to.y) == ((1, 2), 1009)
        assert (value.left, value.right) == (1, 65535)
        assert value.either == b"\1\2\3\1"
        assert value.union_28 == (61).to_bytes(4, "little")
        assert (value.negative, value.wide) == (-9, 0xABCDEF)
        assert (value.very_wide, value.rest) == (0x123456789A, 0xFEDCBA)
        assert [str(each) for each in (value.colour, value.direction, value.huge)] == ["BLUE", "BACK", "HUGE"]
        assert (value.text, value.raw, value.flag) == ("twelve chars", b"a\xffc", True)
        assert value.matrix == ((1, 2, 3), (4, 5, -6))
        assert value.points[1].x == 11
        assert value.pointer == 0xFFFF888000000000
        assert value.tail == 97
        records[key] = value  # what was read can be written
        assert records[key] == value


def test_structs_as_numpy() -> None:
    from sonde.bpf.dtype import column

    with loaded("structs") as made:
        records: Any = made.maps["records"]
        for group in range(3):
            records[{**KEY, "group": group}] = {**VALUE, "negative": -group}
        keys, values = records.to_numpy()
        assert sorted(keys["group"].tolist()) == [0, 1, 2]
        assert values.dtype.itemsize == records.value_size
        value_type = records.shape.value_type
        assert sorted(column(value_type, values, "negative").tolist()) == [-2, -1, 0]
        assert column(records.shape.key_type, keys, "middle").tolist() == [1009] * 3
        assert values["line"]["to"]["x"].tolist() == [3] * 3
        assert values["matrix"].shape == (3, 2, 3)
        records.clear()
        records.update_many(keys, values)
        assert {key.group: value.negative for key, value in records.items()} == {0: 0, 1: -1, 2: -2}


def test_packed_structs_enumerations_and_wide_integers() -> None:
    with loaded("structs") as made:
        packed: Any = made.maps["packed_records"]
        packed[1, 0x01020304, 2] = (255, 1, 65535)
        assert packed.key_size == 7
        assert dict(packed) == {(1, 0x01020304, 2): (255, 1, 65535)}
        keys, values = packed.to_numpy()
        assert (keys["number"].tolist(), values["rest"].tolist()) == ([0x01020304], [65535])
        by_colour: Any = made.maps["by_colour"]
        by_colour["BLUE"] = (-1, 1)
        by_colour[7] = {"x": 3, "y": -3}
        assert {str(key): tuple(value) for key, value in by_colour.items()} == {
            "BLUE": (-1, 1),
            "GREEN": (3, -3),
        }
        wide: Any = made.maps["sixteen_bytes"]
        wide[1] = -(1 << 100)
        assert wide[1] == -(1 << 100)


# ---- arrays -------------------------------------------------------------------------------------------------


def test_arrays_have_all_their_entries() -> None:
    with loaded("arrays") as made:
        numbers: Any = made.maps["numbers"]
        assert type(numbers) is ArrayMap
        for _ in range(CALLS):
            send(made.programs["measure"])
        assert dict(numbers) == {index: -index * CALLS for index in range(7)}
        assert (len(numbers), 6 in numbers, 7 in numbers) == (7, True, False)
        for beyond in (7, -1):
            with pytest.raises(KeyError):
                numbers[beyond]
            with pytest.raises(KeyError):
                numbers[beyond] = 1
        with pytest.raises(SondeError, match="keeps all its entries"):
            del numbers[0]
        numbers.update_many([0, 6], [10, 60])
        keys, values = numbers.to_numpy()
        assert (keys.tolist(), values.tolist()) == (list(range(7)), [10, -13, -26, -39, -52, -65, 60])
        numbers.clear()
        assert sum(numbers.values()) == 0
        names: Any = made.maps["names"]
        names[1] = "a name"
        assert list(names.values()) == ["", "a name", ""]


def test_per_cpu_arrays_add_up() -> None:
    odd = PACKET + b"x"
    with loaded("arrays") as made:
        for _ in range(CALLS):
            send(made.programs["measure"], packet=odd)
        per_cpu: Any = made.maps["per_cpu"]
        assert type(per_cpu) is PerCpuArrayMap
        total = per_cpu.total(0)
        assert (total.sum, total.odd) == (CALLS * len(odd), CALLS)
        assert {value.largest for value in per_cpu[0]} <= {0, len(odd)}
        assert {value.least for value in per_cpu[0]} <= {0, -len(odd)}
        keys, values = per_cpu.to_numpy()
        assert (keys.tolist(), values["sum"].sum(axis=1).tolist()) == ([0, 1], [CALLS * len(odd), 0])


def test_per_cpu_values_of_odd_sizes() -> None:
    cpus = possible_cpus()
    texts = [f"{cpu:03}" for cpu in range(cpus)]
    with loaded("arrays") as made:
        text: Any = made.maps["per_cpu_text"]
        text[4] = texts
        assert text[4] == texts
        assert text[3] == [""] * cpus
        keys, values = text.to_numpy()
        assert values[4].tolist() == [each.encode() for each in texts]
        text.update_many(keys, values[::-1])
        assert text[0] == texts


# ---- tries, queues, filters ---------------------------------------------------------------------------------


def test_trie_finds_the_longest_prefix() -> None:
    with loaded("tries") as made:
        routes: Any = made.maps["routes4"]
        assert type(routes) is LpmTrieMap
        routes["0.0.0.0/0"] = 1
        routes["10.0.0.0/8"] = 2
        routes[ipaddress.ip_network("10.1.0.0/16")] = 3
        routes[32, bytes([10, 1, 2, 3])] = 4
        assert [routes[each] for each in ("10.1.2.3", "10.1.2.4", "10.2.0.0", "192.0.2.1")] == [4, 3, 2, 1]

        def verdict(address: str) -> int:
            return send(
                made.programs["route"], packet=bytes(14) + socket.inet_aton(address) + bytes(46)
            ).return_value

        assert [verdict(each) for each in ("10.1.2.3", "10.1.255.4", "10.200.0.0", "8.8.8.8")] == [4, 3, 2, 1]
        del routes["0.0.0.0/0"]
        with pytest.raises(KeyError):
            routes["192.0.2.1"]
        assert {str(key.network): value for key, value in routes.items()} == {
            "10.0.0.0/8": 2,
            "10.1.0.0/16": 3,
            "10.1.2.3/32": 4,
        }
        keys, values = routes.to_numpy()
        assert dict(zip(keys["length_bits"].tolist(), values.tolist(), strict=True)) == {8: 2, 16: 3, 32: 4}


def test_full_trie_says_how_much_it_holds() -> None:
    """A trie answers ENOSPC where other maps answer E2BIG."""
    with loaded("tries") as made:
        routes: Any = made.maps["routes4"]
        for number in range(5):
            routes[f"10.0.0.{number}"] = number
        with pytest.raises(KernelError, match="routes4: the map is full, it holds 5 entries"):
            routes["10.0.0.99"] = 99


def test_trie_of_ipv6() -> None:
    with loaded("tries") as made:
        routes: Any = made.maps["routes6"]
        routes["2001:db8::/32"] = "net"
        routes["2001:db8::1"] = "host"
        assert [routes[each] for each in ("2001:db8::1", "2001:db8:1::")] == ["host", "net"]
        with pytest.raises(KeyError):
            routes["fe80::1"]
        with pytest.raises(ValueError, match="16 bytes"):
            routes["10.0.0.1"] = "four"


def test_queue_and_stack() -> None:
    with loaded("queues") as made:
        jobs, plates = made.maps["jobs"], made.maps["plates"]
        assert isinstance(jobs, QueueMap)
        assert isinstance(plates, StackMap)
        for number in (2, 3, 5):
            jobs.push({"number": number, "name": f"job {number}"})
        with pytest.raises(KernelError, match="jobs: the map is full, it holds 3 entries"):
            jobs.push((7, "one too many"))
        assert jobs.peek() == (2, "job 2")
        assert send(made.programs["work"]).return_value == 0
        assert send(made.programs["work"]).return_value == 0
        assert (plates.pop(), plates.pop()) == (3, 2)
        assert jobs.pop().name == "job 5"
        for empty in (jobs.pop, jobs.peek, plates.pop):
            with pytest.raises(IndexError):
                empty()
        for number in range(4):
            jobs.push((number, ""), replace_oldest=True)
        assert [jobs.pop().number for _ in range(3)] == [1, 2, 3]


def test_bloom_filter_knows_what_was_pushed(require_feature: Require) -> None:
    require_feature("bloom_filter")
    with loaded("bloom") as made:
        known: Any = made.maps["known"]
        assert isinstance(known, BloomFilterMap)
        for number in range(0, 100, 2):
            known.push(number)
        assert all(number in known for number in range(0, 100, 2))
        unknown = [number for number in range(1, 100, 2) if number not in known]
        assert len(unknown) > 25
        assert send(made.programs["ask"], mark=4).return_value == 0
        assert send(made.programs["ask"], mark=unknown[0]).return_value == 2
