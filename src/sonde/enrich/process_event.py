"""What happened to a process, by name; and how one ended, as its parent learns it."""

from __future__ import annotations

import signal
from functools import cache
from typing import TYPE_CHECKING

from sonde.enrich.each import TEXT
from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.records.model import Values

EVENTS = ("", "fork", "exec", "exit", "cgroup", "move")
"""Names by number: enum lifecycle_event, probes/processes/lifecycle.bpf.h."""

FORK, EXEC, EXIT, CGROUP, MOVE = range(1, 6)

LIVES = ("fork", "exec", "exit", "move")
"""Those that are of a process."""


@cache
def signal_name(number: int) -> str:
    """Name a signal: ``SIGKILL``, ``SIGRTMIN+3``; ``signal_32`` for those that the C library keeps."""
    try:
        return signal.Signals(number).name
    except ValueError:
        pass
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return f"signal_{number}"


@cache
def _event_names() -> npt.NDArray[np.object_]:
    import numpy as np

    return np.array([*EVENTS, *(f"event_{number}" for number in range(len(EVENTS), 256))], dtype=object)


@cache
def _code_words() -> npt.NDArray[np.object_]:
    import numpy as np

    return np.array([str(code) for code in range(256)], dtype=object)


def with_event(batch: RecordBatch) -> RecordBatch:
    """Name the events of the stream ``processes.lifecycle``, and add ``executable`` where one begins to run.

    A path that was too long for its record begins with an ellipsis instead of a slash.
    """
    import numpy as np

    event = np.asarray(batch["event"])
    text = batch["text"]
    added = {"event": _event_names()[event], "executable": _paths(text, event == EXEC)}
    return batch.adding(added, meanings=dict.fromkeys(added, TEXT))


def _paths(text: Values, where: npt.NDArray[np.bool_]) -> Values:
    import numpy as np

    known = np.flatnonzero(where & ~np.ma.getmaskarray(text))
    different, index = np.unique(np.ma.getdata(text)[known].astype(object), return_inverse=True)
    whole = [path if path.startswith("/") else f"…/{path}" for path in different.tolist()]
    paths, unknown = np.full(len(text), None, dtype=object), np.ones(len(text), dtype=bool)
    if len(known):
        paths[known], unknown[known] = np.array(whole, dtype=object)[index], False
    return np.ma.masked_array(paths, mask=unknown)


def with_exit(batch: RecordBatch) -> RecordBatch:
    """Mask ``exit_code`` and name ``exit_signal``, of which the one excludes the other; ``exit`` is either, as text.

    Needs a column ``exits``, how many ended so (a table), or ``event``.
    """
    import numpy as np

    if "exits" in batch.columns:
        ended = np.asarray(batch["exits"]) > 0
    else:
        ended = np.asarray(batch["event"]) == "exit"
    code, number = np.asarray(batch["exit_code"]), np.asarray(batch["exit_signal"])
    killed = ended & (number != 0)
    different, index = np.unique(number, return_inverse=True)
    names = np.array([signal_name(each) for each in different.tolist()], dtype=object)
    signals = names[index] if len(names) else np.empty(0, dtype=object)
    words = _code_words()[code]
    return batch.adding(
        {
            "exit_code": np.ma.masked_array(code, mask=~ended | killed),
            "exit_signal": np.ma.masked_array(signals, mask=~killed),
            "exit": np.ma.masked_array(np.where(killed, signals, words), mask=~ended),
        },
        meanings={"exit_signal": TEXT, "exit": TEXT},
    )
