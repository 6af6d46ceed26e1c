"""Why sonde loses where it does: looked into by hand, one reason for a figure, or for a figure of one part."""

from __future__ import annotations

PYTHON = (
    "It is a Python process: the interpreter and sonde's modules are imported before anything is loaded, where the tools of libbpf are one small C "
    "program; loading the programs takes about as long."
)
NUMPY = "What is resident is the interpreter, libbpf's copy of the kernel's types, and NumPy: as much again as everything before it."
READING = "The last reading, its rows as text, and the end of an interpreter: some 30 ms of Python, where a program in C that sleeps ends at once."
ROOM = "A row for each process, call and error, with its name, and a histogram or a cell for each CPU; with 10,240 of them it is full. The others' maps have fewer rows and columns."
JSON = "Every line is formatted by Python, and is longer: all that is known of the event, in JSON."
ONCE = f"Of events as few as these most is what is taken once, right after attaching: imports, and names that are looked up. {JSON}"
MORE = "It answers more: each process, call and error, where the other has a sum for each process; and it is exact where two CPUs count at once."

EMULATED = (
    "An emulated processor counts instructions, and has no cost of what two CPUs share, nor of a cache's misses, by which sonde wins above. Linux 5.10 has no task storage for "
    f"such programs (5.12), so that what is known of a task is looked up in a hash. {MORE}"
)

OF_PART: dict[tuple[str, str], str] = {
    ("tools", "attached_s"): PYTHON,
    ("tools", "ended_s"): READING,
    ("tools", "kernel_mb"): ROOM,
    ("crowds", "kernel_mb"): ROOM,
    (
        "crowds",
        "ended_s",
    ): "Every row is written as JSON by Python, with the name of its process, its call and its error.",
    (
        "crowds",
        "found",
    ): "Rows of processes beyond the room are in one row named `other`: counted, and not under their process.",
    (
        "crowds",
        "process_us",
    ): "A process gets a row with its name for each of its calls, where the other adds to one sum for each process. Few processes take "
    "some milliseconds in all, in which a tool that has just attached still gets itself ready.",
    (
        "profiles",
        "added_us",
    ): "A sample costs some 15 µs (`python -m benchmarks.profile`), 0.15 % of the work: here all tools are within what the rounds differ by.",
    (
        "profiles",
        "cpu_us",
    ): "Stacks are added up and named while it runs, in Python; `perf record` copies samples to a file, which `perf script` names afterwards.",
    (
        "streams",
        "cpu_ns",
    ): "`sonde trace` formats every line in Python: all arguments, the result and the latency in JSON. `sonde record` makes columns of records, where "
    "`perf record` copies the kernel's buffer into its file. Of few records a second most is what a reader takes once, and each time that it looks.",
    (
        "streams",
        "delivered",
    ): "Its ring has 1 MiB unless `--max-entries` says otherwise; what finds no room is counted, and said.",
    (
        "switches",
        "cpu_us",
    ): "It reads its table at intervals, in Python, and names stacks meanwhile; the others sleep until Ctrl-C.",
    ("virtual", "tight_1_slowdown"): EMULATED,
    ("virtual", "tight_1_floors"): EMULATED,
    ("virtual", "mixed_slowdown"): EMULATED,
    ("virtual", "mixed_floors"): EMULATED,
    ("execs", "cpu_us"): ONCE,
    ("connections", "cpu_us"): ONCE,
    ("sizes", "own_mb"): "Three quarters of it is NumPy.",
    ("sizes", "installed_mb"): "Three quarters of it without Python is NumPy.",
    ("sizes", "packages"): "Most of them are Debian's below Python.",
    (
        "safety",
        "speed",
    ): "`sonde top syscalls` times every call; the others here count calls, or sample, which asks less. What the same costs is under counting above.",
    (
        "safety",
        "longest_ms",
    ): "A target's longest pause in some seconds is of the machine as much as of the tool: the rounds differ by more.",
    ("ease", "seconds"): PYTHON,
    (
        "ease",
        "characters",
    ): "Commands and options are whole words; a tool for one thing needs no more than its name.",
    ("reach", "ready"): "It is the youngest of them.",
    ("reach", "places"): "Kinds of hooks are compared with places here: not the same thing.",
    (
        "opens",
        "delivered",
    ): "A flood overruns a ring of 1 MiB; what was lost is told. Who holds the target up instead loses less.",
    (
        "packets",
        "storm_added",
    ): "`sonde filter` looks an address up in a trie of networks; xdp-filter knows single addresses, in a hash.",
    (
        "packets",
        "alone_ns",
    ): "`sonde filter` looks an address up in a trie of networks; xdp-filter knows single addresses, in a hash.",
}
OF_FIGURE = {
    "attached_s": PYTHON,
    "first_s": PYTHON,
    "ended_s": READING,
    "resident_mb": NUMPY,
    "memory_mb": NUMPY,
    "kernel_mb": ROOM,
    "cpu_us": JSON,
    "user_share": "NumPy and what prints are imported right after attaching; then it reads at intervals, in Python, where the others sleep until Ctrl-C.",
    "kernel_share": "It reads the table at intervals, so that rows of processes that ended leave the kernel's map.",
    "tight_1_added": MORE,
    "tight_2_added": MORE,
    "tight_8_added": MORE,
    "mixed_added": MORE,
}


def why(part: str, key: str) -> str:
    """Give the reason, or say that nobody has looked."""
    return OF_PART.get((part, key)) or OF_FIGURE.get(key) or "Why has not been looked into."
