"""A process that spawns a loader, drops its privileges, and then does what a test says: the agent without its loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sonde

PATIENCE_S = 240
PACKAGE = os.path.dirname(os.path.dirname(sonde.__file__))


class Agent:
    """The process; ``do`` runs statements in it, which leave what is to be known in ``result``.

    They find ``loader``, ``dropped``, ``runs`` (a list) and ``counts(batch)`` there.
    """

    def __init__(self, *, python: str = sys.executable, before: Sequence[str] = (), **spawning: Any) -> None:
        places = os.pathsep.join(place for place in sys.path if os.path.isabs(place) and "-packages" in place)
        self.process = subprocess.Popen(
            [*before, python, __file__, json.dumps(spawning)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((PACKAGE, places))},
        )
        self.pid = self.process.pid
        self.loader_pid = int(self._answer())

    def do(self, code: str, **values: Any) -> Any:
        """Run statements with these values; gives ``result``. An exception there is an AssertionError here."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([code, values]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the agent's process ended with {self.process.wait(10)}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def fails(self, code: str, **values: Any) -> tuple[str, str]:
        """Run statements that raise; gives the exception's class and its message."""
        tried = f"result = None\ntry:\n    exec({code!r})\nexcept Exception as e:\n    result = [type(e).__name__, str(e)]"
        result = self.do(tried, **values)
        assert result is not None, f"nothing was raised by {code}"
        return result[0], result[1]


@contextmanager
def agent(**spawning: Any) -> Iterator[Agent]:
    """Start one; it is killed at the end, if it has not ended."""
    started = Agent(**spawning)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def fields(pid: int, thread: int | None = None) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    path = f"/proc/{pid}/task/{thread or pid}/status"
    return {
        name: value.strip()
        for name, _, value in (line.partition(":") for line in Path(path).read_text().splitlines())
    }


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def main() -> None:
    """Be the agent."""
    from sonde.agent.loader.loader import Loader
    from sonde.agent.privileges import drop_privileges

    spawning = json.loads(sys.argv[1])
    loader = Loader.spawn(**spawning)
    dropped = drop_privileges(trial=loader.try_reading, user=spawning.get("user"))

    def counts(batch: Any) -> list[Any]:
        names = ("syscall", "error", "count") if "count" in batch.columns else ("syscall", "error")
        found: dict[tuple[str, str | None], int] = {}
        for row in batch.rows(names):
            key = row["syscall"], row["error"]
            found[key] = found.get(key, 0) + row.get("count", 1)
        return [[*key, count] for key, count in found.items()]

    space: dict[str, Any] = {"loader": loader, "dropped": dropped, "runs": [], "counts": counts}
    print(json.dumps({"result": loader.pid}), flush=True)
    for line in sys.stdin:
        code, values = json.loads(line)
        space.update(values, result=None)
        try:
            exec(code, space)
            answer = {"result": space["result"]}
        except Exception as error:  # noqa: BLE001 - it is the test's to judge
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    loader.close()


if __name__ == "__main__":
    main()
