"""The same records through BCC: a callback in Python for each, as its own tools do; run with Debian's Python."""

from __future__ import annotations

import signal
from typing import Any

from bcc import BPF

PROGRAM = """
struct record { u64 time_ns; u64 process_thread; };
BPF_RINGBUF_OUTPUT(ring, 4096);
BPF_ARRAY(lost, u64, 1);

TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
    struct record record = {};
    record.time_ns = bpf_ktime_get_ns();
    record.process_thread = bpf_get_current_pid_tgid();
    if (ring.ringbuf_output(&record, sizeof(record), 0))
        lost.atomic_increment(0);
    return 0;
}
"""


def main() -> None:
    """Count records until Ctrl-C."""
    delivered = last_ns = 0
    made = BPF(text=PROGRAM)

    def one(_context: Any, data: Any, _size: int) -> None:
        nonlocal delivered, last_ns
        record = made["ring"].event(data)
        delivered, last_ns = delivered + 1, record.time_ns

    # An exception in a callback of ctypes is printed and forgotten, Ctrl-C's too: a flag ends this.
    ending: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: ending.append(number))
    made["ring"].open_ring_buffer(one)
    while not ending:
        made.ring_buffer_poll(10)
    made.detach_tracepoint(b"syscalls:sys_enter_getppid")
    made.ring_buffer_consume()
    print(f"delivered {delivered} lost {made['lost'][0].value}, the last at {last_ns}")


if __name__ == "__main__":
    main()
