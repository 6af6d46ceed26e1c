"""What a process that is sonde's own sets up first: how little memory it keeps, and who hears of everything."""

from __future__ import annotations

import sys


def set_up(*, is_debugging: bool) -> None:
    """Have the C library keep little; with ``is_debugging`` (--debug) libbpf's log, and sonde's, go to stderr."""
    from sonde.cli.allocation import give_back_large_blocks, share_one_arena

    give_back_large_blocks()
    share_one_arena()
    if not is_debugging:
        return
    import logging

    from sonde._libbpf import log

    logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s", stream=sys.stderr)
    log.start(debug=True)
