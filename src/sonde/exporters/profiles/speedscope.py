"""speedscope's own format (https://www.speedscope.app/file-format-schema.json): a sampled profile for each thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonde.records.profile import Profile, Stack

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def speedscope(profile: Profile) -> bytes:
    """Write a profile of everything, under threads' names, and one for each thread name of each process, the heaviest first.

    Weights are nanoseconds, of samples by the time between two of them; samples where that is not known.
    """
    import msgspec

    frames = _Frames(profile)
    threads = sorted(
        profile.threads.items(),
        key=lambda item: (-sum(each.weight for each in item[1]), item[0][1], item[0][0] or 0),
    )
    profiles = [
        _sampled(profile, _name(pid, comm), stacks, [frames.of(each) for each in stacks])
        for (pid, comm), stacks in threads
    ]
    if len(threads) != 1:
        under_names = [[frames.thread(each.comm), *frames.of(each)] for each in profile.stacks]
        profiles.insert(0, _sampled(profile, "everything", profile.stacks, under_names))
    file = {
        "$schema": SCHEMA,
        "shared": {"frames": frames.found},
        "profiles": profiles,
        "name": profile.measured.heading or "profile",
        "activeProfileIndex": 0,
        "exporter": "sonde",
    }
    return msgspec.json.encode(file) + b"\n"


class _Frames:
    """The frames of a file: functions, and the names of threads, numbered as they come."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._numbers: dict[int | str, int] = {}
        self.found: list[dict[str, Any]] = []

    def of(self, stack: Stack) -> list[int]:
        functions = self._profile.function_of
        return [self._function(functions[frame]) for frame in stack.frames]

    def _function(self, number: int) -> int:
        found = self._numbers.get(number)
        if found is None:
            function = self._profile.functions[number]
            frame: dict[str, Any] = {"name": function.name}
            if function.file or function.module:
                frame["file"] = function.file or function.module
            if function.line:
                frame["line"] = function.line
            found = self._add(number, frame)
        return found

    def thread(self, name: str) -> int:
        found = self._numbers.get(name)
        return self._add(name, {"name": name}) if found is None else found

    def _add(self, key: int | str, frame: dict[str, Any]) -> int:
        self._numbers[key] = len(self.found)
        self.found.append(frame)
        return self._numbers[key]


def _name(pid: int | None, comm: str) -> str:
    return comm if pid is None else f"{comm} ({pid})"


def _sampled(
    profile: Profile, name: str, stacks: Sequence[Stack], samples: Sequence[list[int]]
) -> dict[str, Any]:
    measured = profile.measured
    is_time = measured.is_time or bool(measured.frequency_hz)
    weights = [measured.time_ns(each.weight) if is_time else each.weight for each in stacks]
    return {
        "type": "sampled",
        "name": name,
        "unit": "nanoseconds" if is_time else "none",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
