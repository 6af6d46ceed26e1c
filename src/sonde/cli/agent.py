"""The agent as a process: what ``sonde run`` becomes (exec) once its command line is read, and what it does then.

An agent stays for weeks, and what reads command lines (click, gettext) and looks users up (the name service's
libraries) would stay with it: 2 MB, never used again. So the process starts itself a second time, by the words that it
was started with, and finds in its environment what they were read as. Its pid, its words and its name stay what they
were.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sonde.agent.patience import is_taken, write_patiently
from sonde.cli import RESUMED
from sonde.cli.ready import tell_ready

if TYPE_CHECKING:
    from sonde.agent.agent import Agent
    from sonde.agent.config import Config
    from sonde.agent.summary import Summary

OWN_USER = "sonde"
READ_WITHIN_S = 1.0
COMM = "/proc/self/comm"


@dataclass(frozen=True, slots=True)
class Request:
    """What ``sonde run`` was asked for, and what only the process that was asked knows: its name, and who is there.

    ``own_user`` is who the agent shall be where the configuration says ``sonde``; ``blocked`` are signals that whoever
    started the process has it not hear.
    """

    path: str | None
    overrides: Mapping[str, str]
    for_s: float | None
    form: str
    ready_fd: int | None
    is_debugging: bool
    own_user: str
    comm: str = ""
    blocked: tuple[int, ...] = ()


def become(request: Request) -> None:
    """Start this process again, with the request in its environment (``RESUMED``); returns where that cannot be."""
    if not sys.executable:
        return
    # A Ctrl-C that comes while the interpreter starts would be its traceback; it is heard as soon as it has.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with open(COMM, encoding="utf-8", errors="surrogateescape") as file:
            comm = file.read().rstrip("\n")
        told = json.dumps(asdict(replace(request, comm=comm, blocked=tuple(map(int, blocked)))))
        # Columns of lines, for tracebacks, are there for each instruction: 0.15 MB.
        environment = {**os.environ, "PYTHONNODEBUGRANGES": "1", RESUMED: f"{os.getpid()} {told}"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def resume(told: str) -> int:
    """Be the agent that a request asks for, after ``become``; gives the exit status."""
    from sonde.cli.failure import carried_out
    from sonde.cli.own_process import set_up

    request = Request(**json.loads(told))
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    with suppress(OSError), open(COMM, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(request.comm)
    set_up(is_debugging=request.is_debugging)
    return carried_out(lambda: serve(request), is_debugging=request.is_debugging)


def serve(request: Request) -> int:
    """Measure and export until the end, and print the summary; gives the exit status."""
    from sonde.agent.config import load_config
    from sonde.agent.log import set_up
    from sonde.exporters.json_lines.settings import STDOUT

    # NumPy's library for matrices starts a thread for each CPU as soon as it is loaded; there are no matrices here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    def read() -> Config:
        return load_config(request.path, os.environ, request.overrides)

    config = read()
    set_up(config.log.level, config.log.format)
    user = request.own_user if config.process.user == OWN_USER else config.process.user
    agent = _agent(config, read, request.ready_fd, user)
    summary = agent.run(duration_s=request.for_s)
    _print(summary, request.form, beside_lines=agent.config.file.path == STDOUT)
    # Why it failed was said when it did.
    return 0 if agent.failure is None else 1


def _agent(config: Config, read: Callable[[], Config], ready_fd: int | None, user: str) -> Agent:
    """Start the loader while there are privileges, give them up, and only then import what parses and serves."""
    from sonde.agent.loader.loader import Loader
    from sonde.agent.privileges import drop_privileges
    from sonde.enrich.kernel_symbol import kernel_symbols

    log = logging.getLogger("sonde.agent")
    for warning in config.warnings:
        log.warning("%s", warning)
    loader = Loader.spawn(
        [run.probe for run in config.runs], statistics=config.budget.cpu is not None, identities=True
    )
    try:
        _ = loader.ready
        kept = [fd for fd in (loader.fileno(), ready_fd) if fd is not None]
        # The kernel shows addresses to whoever opened their list.
        kernel_symbols().open()
        dropped = drop_privileges(trial=loader.try_reading, user=user, keep_descriptors=kept)
        log.debug("the agent %s; the loader has pid %d", dropped, loader.pid)
        for note in dropped.notes:
            log.info("%s", note)

        from sonde.agent.agent import Agent

        def announce(agent: Agent) -> None:
            log.info("%s", agent.status)
            tell_ready(ready_fd)

        return Agent(config, loader, read, announce)
    except BaseException:
        loader.close()
        raise


def own_user() -> str:
    """Name the package's own user; nobody where it was not made, as when sonde was installed by pip."""
    import pwd

    try:
        return pwd.getpwnam(OWN_USER).pw_name
    except KeyError:
        return "nobody"


def _print(summary: Summary, form: str, *, beside_lines: bool) -> None:
    """Write it to standard output; where JSON lines go there, text goes beside them, and all where nobody reads any more."""
    text = json.dumps({"summary": summary.as_dict()}) if form == "json" else "\n".join(summary.lines())
    is_beside = (beside_lines and form != "json") or not is_taken(sys.stdout, READ_WITHIN_S)
    if not write_patiently(sys.stderr if is_beside else sys.stdout, f"{text}\n", READ_WITHIN_S):
        logging.getLogger("sonde.agent").warning("the summary was not written: nobody takes it")
