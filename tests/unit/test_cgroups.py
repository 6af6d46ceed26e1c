"""Paths of cgroups, from the directories and from what the kernel tells of new ones."""

from __future__ import annotations

from pathlib import Path

from sonde.enrich.cgroup import WALK_EVERY_S, Cgroups


def number_of(path: Path) -> int:
    return path.stat().st_ino


def test_in_a_namespace_told_paths_begin_where_the_mount_does(tmp_path: Path) -> None:
    """The kernel tells paths from the top of the hierarchy: all of them have to be those that a walk finds."""
    now = 1000.0
    unit = tmp_path / "system.slice" / "web.service"
    unit.mkdir(parents=True)
    cgroups = Cgroups({0: str(tmp_path)}, clock_s=lambda: now)

    # A cgroup that is gone tells nothing of where the mount is, and is not taken for what it may not be.
    cgroups.learn([(0, 1 << 40, "/machine/gone.service")])
    assert cgroups.path(1 << 40) is None
    now += WALK_EVERY_S
    cgroups.learn([(0, number_of(unit), "/machine/of mine/system.slice/web.service")])
    cgroups.learn([(0, 1 << 41, "/machine/of mine/short.service"), (0, 1 << 42, "/machine/other/a.service")])

    assert cgroups.path(number_of(unit)) == "/system.slice/web.service"
    assert cgroups.path(1 << 41) == "/short.service"
    assert cgroups.path(1 << 42) == "/machine/other/a.service"


def test_where_the_mount_is_the_hierarchy_told_paths_are_kept(tmp_path: Path) -> None:
    cgroups = Cgroups({0: "/nonexistent"})

    cgroups.learn([(0, 7, "/system.slice/web.service"), (9, 7, "/of a hierarchy that nobody looks at")])

    assert cgroups.path(7) == "/system.slice/web.service"
    assert cgroups.path(7, 9) is None
