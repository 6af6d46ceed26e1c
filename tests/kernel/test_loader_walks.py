"""Tables that iterators bring up to date, where the loader has the privileges and another process reads."""

from __future__ import annotations

import pytest

from sonde.agent.loader.loader import Loader
from sonde.probe import Selection
from sonde.probes.tcp.child import child, total

pytestmark = [pytest.mark.kernel]

CODE = """
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
client.sendall(bytes(2003))
left = 2003
while left: left -= len(accepted.recv(left))
step()
client.shutdown(1); accepted.recv(1); accepted.close(); client.recv(1); client.close()
"""


def test_open_connections_are_read_by_descriptors_when_the_loader_has_walked() -> None:
    """Each read has the loader's iterators run first; the end adds two FINs, and the account is balanced."""
    with child(CODE) as started, Loader.spawn(["tcp"]) as loader:
        selection = Selection(pid=started.pid)
        with loader.start("tcp", "processes", selection=selection, differences=True) as run:
            started.go()
            assert total(list(run.read().rows()), "received_bytes") == 2003
            assert not len(run.read()), "nothing has changed"
            started.finish()
            run.stop()
            batch = run.read()
            assert total(list(batch.rows()), "received_bytes") == 2
            assert batch.accounting.balanced, str(batch.accounting)


def test_what_was_counted_stays_readable_without_the_loader() -> None:
    with (
        child(CODE) as started,
        Loader.spawn(["tcp"]) as loader,
        loader.start("tcp", "processes", selection=Selection(pid=started.pid)) as run,
    ):
        started.go()
        assert total(list(run.read().rows()), "received_bytes") == 2003
        loader.close()
        assert total(list(run.read().rows()), "received_bytes") == 2003
        run.stop()
