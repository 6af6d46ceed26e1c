"""``sonde load``: objects that sonde did not build, attached and shown from the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.places import Network
from kernel.plain import EXAMPLES, SHAPES, plain_object_of, shape, shape_names
from kernel.sonde_process import Output, child, line_with, output_of, ready, sonde, standing_still

# The same on every kernel, and a virtual machine takes long for each of them.
pytestmark = [pytest.mark.beside, pytest.mark.host_only]

COUNTS = 1_009
Compile = Callable[[str | Path], Path]

STREAM = """
#include "stream.bpf.h"
struct opened {
	u64 number;
	s32 pid;
	u32 flags;
	char path[16];
};
RECORD_STREAM(openings, struct opened, 4096);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} raw SEC(".maps");
const volatile u32 target;
const volatile u64 wanted = 110;
u64 seen;
SEC("raw_tp/sys_enter")
int on_call(u64 *ctx)
{
	struct opened *record;
	u32 *word;

	if (bpf_get_current_pid_tgid() >> 32 != target || ctx[1] != wanted)
		return 0;
	record = bpf_ringbuf_reserve(&openings, sizeof(*record), 0);
	if (record) {
		record->number = seen;
		record->pid = (s32)target;
		record->flags = 7;
		__builtin_memcpy(record->path, "/a\\033[2J", 7);
		bpf_ringbuf_submit(record, 0);
	}
	word = bpf_ringbuf_reserve(&raw, sizeof(*word), 0);
	if (word) {
		*word = 0x04030201;
		bpf_ringbuf_submit(word, 0);
	}
	__sync_fetch_and_add(&seen, 1);
	return 0;
}
char licence[] SEC("license") = "GPL";
"""
MACHINE = os.uname().machine
GETPPID = {"x86_64": 110, "aarch64": 173}[MACHINE]
OPENAT = {"x86_64": 257, "aarch64": 56}[MACHINE]

UNSIZED = """
#include "kernel.bpf.h"
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(key_size, sizeof(u32));
} stacks SEC(".maps");
SEC("uretprobe/readline")
int on_line(void *ctx)
{
	u64 one = (u64)bpf_get_stackid(ctx, &stacks, 0);
	u32 key = 1;

	bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	return 0;
}
char licence[] SEC("license") = "GPL";
"""
"""As libbpf's tools are: a loader of their own says how large maps are, and which file has the function."""

ITERATOR = """
#include "kernel.bpf.h"
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
} KERNEL_TYPE;
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} KERNEL_TYPE;
SEC("iter/task")
int show(struct bpf_iter__task *ctx)
{
	static const char format[] = "process %d\\n";
	struct task_struct *task = ctx->task;
	u64 argument;

	if (!task || task->pid != task->tgid)
		return 0;
	argument = (u64)task->tgid;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), &argument, sizeof(argument));
	return 0;
}
char licence[] SEC("license") = "GPL";
"""


def at(example: str) -> str:
    return str(plain_object_of(EXAMPLES / f"{example}.bpf.c"))


def entries(output: Output, name: str) -> dict[Any, Any]:
    """The last reading of a map: value by key, as JSON has them."""
    found = {}
    for row in output.rows:
        if row.get("map") == name:
            found[json.dumps(row["key"])] = row["value"]
    return found


OPEN = f"for _ in range({COUNTS}): os.close(os.open('/dev/null', os.O_RDONLY))"


def opened(example: str, map: str, *, times: int = 1) -> tuple[dict[Any, Any], int]:
    """Watch a child that opens a file so many times; the map's entries, and the child's number.

    The map has room, for other processes open files, too.
    """
    room = ("--set", f"{map}.max_entries=65536")
    with child(OPEN) as made, ready("load", at(example), *room, "--format", "json") as process:
        for _ in range(times):
            made.run()
        process.send_signal(signal.SIGINT)
        output = output_of(process)
    assert output.status == 0
    assert output.lines[0]["attached"] == "tracepoint:syscalls/sys_enter_openat"
    return entries(output, map), made.pid


def test_the_documents_programs_count_to_the_last_call() -> None:
    by_call, pid = opened("trace_syscall", "syscall_count")
    assert by_call[json.dumps({"pid": pid, "syscall": OPENAT})] == COUNTS

    by_process, pid = opened("trace_syscall_openat_safe", "syscall_count")
    assert by_process[json.dumps(pid)] == COUNTS


def test_the_documents_sampling_program_estimates_in_steps_of_its_rate() -> None:
    """One call in a hundred, by chance: of so many it is never none, nor three times as many."""
    counts, pid = opened("trace_syscall_openat_optimized", "per_cpu_count", times=10)

    assert counts[json.dumps(pid)] % 100 == 0
    assert 0 < counts[json.dumps(pid)] < 3 * 10 * COUNTS


def test_the_documents_packet_monitor_counts_packets(network: Network) -> None:
    path = plain_object_of(EXAMPLES / "network_monitor.bpf.c")
    with ready("load", str(path), "--interface", network.interface, "--format", "json") as process:
        replies = network.ping(101)
        process.send_signal(signal.SIGTERM)
        output = output_of(process)

    assert replies == 101
    assert entries(output, "packet_count")[json.dumps(socket.IPPROTO_ICMP)]["packets"] == 101


@pytest.mark.parametrize("name", shape_names())
def test_every_shape_is_listed_and_loaded_or_refused_in_words(
    name: str, network: Network, cgroup: Path
) -> None:
    """None makes sonde fall over, whatever this kernel thinks of it."""
    path = str(shape(name))
    listed = sonde("load", path, "--dry-run", "--format", "json")
    output = sonde(
        "load",
        path,
        "--for",
        "50ms",
        "--interface",
        network.interface,
        "--cgroup",
        str(cgroup),
        "--format",
        "json",
    )

    assert listed.status in (0, 1)
    assert output.status in (0, 1, 2)
    if output.status:
        assert output.err.startswith("sonde: ")
    else:
        assert "accounting" in output.lines[-1]


def test_what_is_in_an_object_is_shown_without_loading_it() -> None:
    (found,) = sonde("load", str(shape("globals")), "--dry-run", "--format", "json").lines
    text = sonde("load", str(shape("globals")), "--dry-run").out

    assert {"programs", "maps", "knobs"} <= set(found)
    assert all(program["instructions"] > 0 for program in found["programs"])
    assert {knob["name"] for knob in found["knobs"]} <= set(re.findall(r"^\w+", text, re.MULTILINE))


def test_records_are_decoded_by_their_type_and_else_shown_as_bytes(compile_object: Compile) -> None:
    path = str(compile_object(STREAM))
    with child(f"for _ in range({COUNTS // 100}): os.getppid()") as made:
        options = ("--set", f"target={made.pid}", "--set", f"wanted={GETPPID}", "--format", "json")
        with ready("load", path, *options) as process:
            made.run()
            process.send_signal(signal.SIGINT)
            output = output_of(process)
    records = [row["record"] for row in output.rows if row.get("stream") == "openings"]
    raw = [row["bytes"] for row in output.rows if row.get("stream") == "raw"]

    assert [record["number"] for record in records] == list(range(10))
    assert records[0] == {"number": 0, "pid": made.pid, "flags": 7, "path": "/a\x1b[2J"}
    assert raw == ["01020304"] * 10
    assert output.accounting == {
        "openings": {"delivered": 10, "lost": None},
        "raw": {"delivered": 10, "lost": None},
    }
    assert next(row["value"] for row in output.rows[::-1] if row.get("variable") == "seen") == 10


def test_what_a_ring_lost_is_told_where_the_program_counts_it(compile_object: Compile) -> None:
    """In a map as sonde's probes have it, in a variable, or nowhere: then it is not known, and not zero."""
    path = str(compile_object("probes/counted_loss.bpf.c"))
    with child("for _ in range(5003): os.getppid()") as made:
        options = ("--set", f"target={made.pid}", "--set", f"wanted={GETPPID}", "--format", "json")
        with ready("load", path, *options) as process:
            with standing_still(process):
                made.run()
            process.send_signal(signal.SIGINT)
            output = output_of(process)

    for ring in ("mapped", "told"):
        tally = output.accounting[ring]
        assert tally["lost"] > 0
        assert tally["delivered"] + tally["lost"] == 5003
    assert output.accounting["silent"]["lost"] is None


def test_records_for_people_cannot_move_the_cursor(compile_object: Compile) -> None:
    path = str(compile_object(STREAM))
    with child("os.getppid()") as made:
        options = ("--set", f"target={made.pid}", "--set", f"wanted={GETPPID}")
        with ready("load", path, *options) as process:
            made.run()
            process.send_signal(signal.SIGINT)
            output = output_of(process)

    assert "path=/a\\x1b[2J" in output.out
    assert "\x1b" not in output.out
    assert "raw  01 02 03 04" in output.out


@pytest.mark.parametrize(("map", "other"), [("fixed", "write_variable"), ("variable", "write_fixed")])
def test_perf_buffers_are_read_and_their_loss_is_counted(map: str, other: str, network: Network) -> None:
    """One at a time: a program that says TC_ACT_OK hides the packet from those behind it."""
    where = ("--interface", network.interface, "--attach", f"{other}=none")
    with ready("load", str(shape("perf_events")), *where, "--format", "json") as process:
        network.ping(11)
        process.send_signal(signal.SIGINT)
        output = output_of(process)

    assert output.accounting[map] == {"delivered": 11, "lost": 0}
    assert len([row for row in output.rows if row.get("stream") == map]) == 11


def test_an_iterators_text_is_shown(compile_object: Compile, require_feature: Callable[[str], None]) -> None:
    require_feature("task_iterator")
    output = sonde("load", str(compile_object(ITERATOR)), "--for", "50ms", "--format", "json")
    texts = [row["text"] for row in output.rows if row.get("iterator") == "show"]

    assert f"process {os.getpid()}\n" in texts[-1]


def test_a_uprobe_is_attached_to_one_process_only(
    compile_object: Compile, require_feature: Callable[[str], None]
) -> None:
    require_feature("uprobe")
    path = compile_object(
        '#include "kernel.bpf.h"\nu64 hits;\nSEC("uprobe/libc.so.6:getppid")\n'
        "int on_getppid(void *ctx)\n{\n\t__sync_fetch_and_add(&hits, 1);\n\treturn 0;\n}\n"
        'char licence[] SEC("license") = "GPL";\n'
    )
    code = "import ctypes\nlibc = ctypes.CDLL('libc.so.6')\nfor _ in range(53): libc.getppid()"
    with (
        child(code) as made,
        child(code) as other,
        ready("load", str(path), "--pid", str(made.pid), "--format", "json") as process,
    ):
        made.run()
        other.run()
        process.send_signal(signal.SIGINT)
        output = output_of(process)

    assert next(row["value"] for row in output.rows[::-1] if row.get("variable") == "hits") == 53


def test_a_program_goes_where_it_is_told(compile_object: Compile) -> None:
    path = plain_object_of(EXAMPLES / "trace_syscall_openat_safe.bpf.c")
    where = "trace_syscall_openat_safe=tracepoint:syscalls/sys_enter_getppid"
    with (
        child("for _ in range(7): os.getppid()") as made,
        ready("load", str(path), "--attach", where, "--format", "json") as process,
    ):
        made.run()
        process.send_signal(signal.SIGINT)
        output = output_of(process)

    assert output.lines[0]["attached"] == "tracepoint:syscalls/sys_enter_getppid"
    assert entries(output, "syscall_count")[json.dumps(made.pid)] == 7


def test_a_command_is_watched_to_its_end() -> None:
    path = plain_object_of(EXAMPLES / "trace_syscall_openat_safe.bpf.c")
    output = sonde("load", str(path), "--format", "json", "--", "sh", "-c", "echo $$ >&2; exec cat /dev/null")

    assert output.status == 0
    assert entries(output, "syscall_count")[json.dumps(int(output.err))] > 1


def test_maps_for_people_are_tables_and_unchanged_ones_are_not_repeated() -> None:
    where = ("load", str(shape("maps_in_maps")), "--attach", "count=none")
    with ready(*where, "--every", "100ms") as process:
        first = line_with(process, "generations  ")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output = output_of(process, first)

    assert re.search(r"^generations  array_of_maps, 2 of ", output.out, re.MULTILINE)
    assert output.out.count("generations  ") == 2  # the first reading, and the last


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["/no/such.o"], 1, "sonde: open /no/such.o: no such file or directory (ENOENT)"),
        (["network_monitor"], 2, "it needs a network interface: give --interface NAME, or --attach xdp_prog=none"),
        (["network_monitor", "--interface", "no-such"], 1, "there is no network interface no-such"),
        (["trace_syscall", "--attach", "trace=none"], 2, "the object has no such program: valid: trace_syscall_openat"),
        (["trace_syscall", "--attach", "trace_syscall_openat=kprob:x"], 2, "there is no kind 'kprob': did you mean kprobe"),
        (["trace_syscall", "--attach", "trace_syscall_openat=tracepoint:syscalls/sys_enter_opnat"], 1, "the nearest are syscalls/sys_enter_openat"),
        (["trace_syscall", "--set", "sped=1"], 2, "the object has no such knob"),
        (["trace_syscall", "--sha256", "ab"], 1, "is no SHA-256: give 64 hexadecimal digits"),
        (["trace_syscall", "--format", "csv"], 2, "there is no format 'csv': valid: table, json"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(arguments: list[str], status: int, words: str) -> None:
    path, *rest = arguments
    output = sonde("load", path if "/" in path else at(path), *rest)

    assert output.status == status
    assert words in output.err
    assert output.err.count("\n") == 1


def test_an_object_that_leaves_sizes_and_files_to_its_loader(compile_object: Compile) -> None:
    """What is missing is named, and can be said; a program without a place is loaded, and that is told."""
    unsized = str(compile_object(UNSIZED))
    sizes = [
        "--set",
        "counts.max_entries=7",
        "--set",
        "stacks.value_size=128",
        "--set",
        "stacks.max_entries=0x40",
    ]
    for given, missing in (
        (sizes[2:], "counts.max_entries"),
        (sizes[:2], "stacks.value_size"),
        (sizes[:4], "stacks.max_entries"),
    ):
        output = sonde("load", unsized, *given)
        assert output.status == 1
        assert f"--set {missing}=" in output.err
        assert output.err.count("\n") == 1

    output = sonde("load", unsized, *sizes, "--for", "100ms", "--format", "json")

    assert output.status == 0
    assert (
        'on_line is loaded and not attached: SEC("uretprobe/readline"): uretprobe needs a file' in output.err
    )
    assert "--attach on_line=HOOK" in output.err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("count.max_entries=7", "there is no map 'count': did you mean counts"),
        ("counts.max_entry=7", "there is no size of a map 'max_entry': did you mean max_entries"),
        ("counts.max_entries=-1", "'-1' is no size: give a number from 1 to"),
        ("counts.max_entries=4294967296", "is no size"),
        ("counts.max_entries=many", "is no size"),
    ],
)
def test_a_size_that_cannot_be_is_one_sentence(setting: str, words: str, compile_object: Compile) -> None:
    output = sonde("load", str(compile_object(UNSIZED)), "--set", setting)

    assert output.status == 2
    assert words in output.err
    assert output.err.count("\n") == 1


def test_two_xdp_programs_do_not_fit_one_interface(network: Network) -> None:
    output = sonde("load", str(shape("redirects")), "--interface", network.interface)

    assert output.status == 2
    assert "an interface takes one XDP program" in output.err


def test_an_object_that_others_can_write_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.bpf.o"
    path.write_bytes(Path(at("trace_syscall")).read_bytes())
    path.chmod(0o666)
    output = sonde("load", str(path), "--dry-run")

    assert output.status == 1
    assert f"chmod go-w -- {path}" in output.err


def test_strict_refuses_what_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.bpf.o"
    path.write_bytes(Path(at("trace_syscall")).read_bytes())
    path.chmod(0o644)

    assert sonde("load", str(path), "--dry-run").status == 0
    assert f"chmod go= -- {path}" in sonde("load", str(path), "--dry-run", "--strict").err


def test_the_verifiers_verdict_comes_with_its_line(compile_object: Compile) -> None:
    path = compile_object(Path(__file__).parent / "rejected" / "missing_null_check.bpf.c")
    output = sonde("load", str(path))

    assert output.status == 1
    assert "the verifier rejected it" in output.err
    assert "  at: " in output.err


def test_there_are_shapes_enough() -> None:
    assert len(list(SHAPES.glob("*.bpf.c"))) >= 20
