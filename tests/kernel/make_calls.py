"""A process that makes a known number of the document's four system calls, and no other of their kind.

    python make_calls.py THREADS OPENAT READ WRITE CONNECT

It stops itself once its threads are ready, and makes the calls when it is continued: each thread so many of each.
"""

import os
import signal
import socket
import sys
import threading


def main() -> None:
    threads, openat, read, write, connect = map(int, sys.argv[1:])
    zero, null = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
    # Nobody listens there: the call fails, and no packet is sent.
    unknown = "\0sonde-test-nobody"
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(threads)]
    ready = threading.Barrier(threads + 1)
    done = threading.Barrier(threads + 1)

    def work(own: socket.socket) -> None:
        ready.wait()
        for _ in range(openat):
            os.close(os.open("/dev/null", os.O_RDONLY))
        for _ in range(read):
            os.read(zero, 1)
        for _ in range(write):
            os.write(null, b"x")
        for _ in range(connect):
            own.connect_ex(unknown)
        done.wait()

    for own in sockets:
        threading.Thread(target=work, args=(own,), daemon=True).start()
    os.kill(os.getpid(), signal.SIGSTOP)
    ready.wait()
    done.wait()
    # Leaving the interpreter in an orderly way would write and read.
    os._exit(0)


if __name__ == "__main__":
    main()
