"""What a process that is sonde's own sets up first: how its memory is given back, and who hears of everything."""

from __future__ import annotations

import sys


def set_up(*, is_debugging: bool) -> None:
    """Have large blocks given back; with ``is_debugging`` (--debug) libbpf's log, and sonde's, go to stderr."""
    from sonde.cli.allocation import give_back_large_blocks

    give_back_large_blocks()
    if not is_debugging:
        return
    import logging

    from sonde._libbpf import log

    logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s", stream=sys.stderr)
    log.start(debug=True)
