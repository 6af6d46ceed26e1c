"""What a cgroup's path tells: container, pod and unit, over the shapes that there are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.enrich.container import container_of
from sonde.enrich.place import place_of
from sonde.enrich.unit import unit_of

GOLDEN = Path(__file__).parents[1] / "golden" / "cgroup_paths.toml"
CASES = tomllib.loads(GOLDEN.read_text())["path"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_path_tells_container_pod_and_unit(case: dict[str, Any]) -> None:
    container, unit = container_of(case["cgroup"]), unit_of(case["cgroup"])
    found = {
        "container": container.id,
        "runtime": container.runtime,
        "pod": container.pod_uid,
        # A slice is the unit where there is none in it.
        "unit": unit.name or unit.slice,
        "user_unit": unit.user_name,
    }
    expected = {name: case.get(name, "") for name in found}

    assert expected == found


def test_a_session_is_named_by_its_slice() -> None:
    """Sessions are numbered from one: as a key of series they would never end."""
    unit = unit_of("/user.slice/user-1000.slice/session-3.scope")

    assert ("session-3.scope", "user-1000.slice") == (unit.name, unit.stable)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/system.slice/docker-" + "7be92808767a" + "0" * 52 + ".scope", "7be92808767a"),
        ("/system.slice/nginx.service", "nginx.service"),
        ("/jobs/17", "/jobs/17"),
        ("/", "/"),
    ],
)
def test_a_place_for_people(path: str, place: str) -> None:
    assert place == place_of(path)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=300))
def test_any_path_is_read(text: str) -> None:
    """Whatever a cgroup is called: nothing is raised, and an id is nothing but digits."""
    container = container_of(f"/{text}")
    unit_of(f"/{text}")

    assert set(container.id) <= set("0123456789abcdef-")
    assert set(container.pod_uid) <= set("0123456789abcdef-")


@given(st.integers(0, 40), st.sampled_from(["a-", "a.", "-", "_", "pod", "kubepods-pod", ":", "0"]))
def test_a_hostile_path_is_read_in_no_time(repeats: int, piece: str) -> None:
    """The patterns do not go back and forth over what does not match; a path is 4,096 bytes at most."""
    container_of("/kubepods" + piece * repeats * 25)
    unit_of("/" + piece * repeats * 25)
