"""shares.c in Python: three functions that take 70, 20 and 10 % of the CPU time, and say what each really took.

``shares.py SECONDS``, of CPU time. It imports nothing that is not built into the interpreter.
"""

import sys
import time

taken = {"seventy": 0.0, "twenty": 0.0, "ten": 0.0}


def turn(state, turns):
    for _ in range(turns):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return state


def seventy(turns):
    begun = time.thread_time()
    turn(1, turns)
    taken["seventy"] += time.thread_time() - begun


def twenty(turns):
    begun = time.thread_time()
    turn(2, turns)
    taken["twenty"] += time.thread_time() - begun


def ten(turns):
    begun = time.thread_time()
    turn(3, turns)
    taken["ten"] += time.thread_time() - begun


def cycle(turns):
    seventy(7 * turns)
    twenty(2 * turns)
    ten(turns)


def main(seconds):
    begun = time.thread_time()
    turn(1, 200_000)
    piece = int(200_000 * 0.020 / (time.thread_time() - begun))
    seed = 20260003
    begun = time.thread_time()
    while time.thread_time() - begun < seconds:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        # Between a half and one and a half of it, so that pieces keep step with no clock.
        cycle(piece // 2 + piece * seed // 0x80000000)
    print(str(taken).replace("'", '"'))


main(float(sys.argv[1]))
