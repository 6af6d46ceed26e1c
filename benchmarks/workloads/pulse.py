"""A target that watches itself: it makes system calls, and says how long it stood still at most; ends on SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import time

SECONDS_MAX = 600


def main() -> None:
    """Beat until SIGTERM, or for SECONDS_MAX at most; prints the longest pause in milliseconds and the beats of a second."""
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    # A terminal's Ctrl-C is for all of its processes, and whoever started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.alarm(SECONDS_MAX)
    print("ready", flush=True)
    begun = last = time.perf_counter()
    longest, beats = 0.0, 0
    while not ending:
        os.getppid()
        now = time.perf_counter()
        longest, last, beats = max(longest, now - last), now, beats + 1
    print(json.dumps({"longest_ms": longest * 1e3, "beats_per_s": beats / (last - begun)}))


if __name__ == "__main__":
    main()
