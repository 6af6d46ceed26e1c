"""Attaches one case, says the numbers of what it made, and waits to be killed: ``attach_and_wait.py CASE TARGET CGROUP``."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

from kernel import places
from kernel.hook_cases import CASES, Stage


def main(name: str, target: str, cgroup: str) -> None:
    """Attach, report on stdout, sleep."""
    (case,) = (case for case in CASES if case.name == name)
    stage = Stage(target=int(target), cgroup=Path(cgroup) if cgroup else None)
    if "network" in case.needs:
        stage.network = places.Network("sonde0", socket.if_nametoindex("sonde0"), "", "")
    loaded = case.load(stage)
    link = loaded.programs[case.program].attach(case.hook(stage))
    made = {"pid": os.getpid(), "program": loaded.programs[case.program].id, "links": link.ids}
    print(json.dumps(made), flush=True)
    time.sleep(600)


main(*sys.argv[1:])
