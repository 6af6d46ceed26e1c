"""Many entries of a map at once, in objects that sonde did not build: by batch system calls, as NumPy arrays."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

from kernel.shaped import loaded
from sonde.bpf.map import map as map_module
from sonde.bpf.map import possible_cpus
from sonde.errors import KernelError

MANY = 100_000


@pytest.mark.parametrize("room", [map_module.ROOM_FIRST_BYTES, 0])
@pytest.mark.parametrize("name", ["many", "many_slots", "many_per_cpu", "many_routes"])
def test_many_entries_in_a_few_system_calls(name: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading begins with room for all, or for 4,096 and grows until the kernel has no more."""
    monkeypatch.setattr(map_module, "ROOM_FIRST_BYTES", room)
    with loaded("big_hash") as made:
        big = made.maps[name]
        keys = np.zeros(MANY, big.key_dtype)
        values = np.zeros((MANY, possible_cpus()) if big.per_cpu else MANY, big.value_dtype)
        numbers = np.arange(MANY)
        if name == "many_routes":
            keys["length_bits"] = 32
            keys["address"] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
        else:
            keys[:] = numbers
        if name == "many":
            values["first"], values["third"] = numbers * 3, numbers % 7
        elif big.per_cpu:
            values[:, -1] = numbers
        else:
            values[:] = numbers
        big.update_many(keys, values)
        read_keys, read_values = big.to_numpy()
        assert len(read_keys) == MANY
        order = np.argsort(read_keys, kind="stable") if name != "many_routes" else _by_address(read_keys)
        assert np.array_equal(read_keys[order], keys)
        assert np.array_equal(read_values[order], values)
        assert len(big) == MANY  # type: ignore[arg-type]


def _by_address(keys: Any) -> Any:
    return np.argsort(keys["address"].copy().view(">u4").reshape(-1), kind="stable")


def test_many_entries_can_be_deleted_at_once() -> None:
    with loaded("big_hash") as made:
        many = made.maps["many"]
        many.update_many(np.arange(MANY), np.zeros(MANY, many.value_dtype))
        assert many.delete_many(np.arange(0, MANY + 10, 2)) == MANY // 2
        keys, _ = many.to_numpy()
        assert len(keys) == MANY // 2
        assert np.all(keys % 2 == 1)


def test_lru_hash_lets_the_oldest_go() -> None:
    with loaded("big_hash") as made:
        recent = made.maps["many_recent"]
        recent.update_many(np.arange(2 * MANY), np.arange(2 * MANY) % 1009)
        keys, values = recent.to_numpy()
        assert 0 < len(keys) <= MANY
        assert np.array_equal(keys % 1009, values)
        assert 2 * MANY - 1 in keys


def test_a_batch_that_fails_has_written_what_came_before() -> None:
    with loaded("hashes") as made:
        counts: Any = made.maps["by_number"]
        counts[7] = 1
        with pytest.raises(KernelError) as caught:
            counts.update_many(np.arange(10), np.full(10, 5), flags=1)  # BPF_NOEXIST
        assert caught.value.errno == errno.EEXIST
        assert dict(counts) == {**dict.fromkeys(range(7), 5), 7: 1}
