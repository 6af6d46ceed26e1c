"""Who processes are, from /proc: what the agent may not see by itself."""

from __future__ import annotations

from sonde.agent.loader.protocol import Identity
from sonde.enrich.process_files import process_file

NAME_BYTES_MAX = 4096


def identity_of(pid: int) -> Identity | None:
    """Read who a process is; None when there is none, or another one has got the number meanwhile.

    The executable needs CAP_SYS_PTRACE, unless the process is this user's own.
    """
    found = process_file(pid)
    if found is None:
        return None
    return Identity(
        pid=pid,
        start_ticks=found.start_ticks,
        parent=found.parent,
        user=found.user,
        comm=found.comm,
        executable=found.executable[:NAME_BYTES_MAX],
        cgroup=found.cgroup[:NAME_BYTES_MAX],
    )
