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
from kernel.plain import SHAPES, example, shape, shape_names
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


def entries(output: Output, name: str) -> dict[Any, Any]:
    """The last reading of a map: value by key, as JSON has them."""
    found = {}
    for row in output.rows:
        if row.get("map") == name:
            found[json.dumps(row["key"])] = row["value"]
    return found


OPEN = f"for _ in range({COUNTS}): os.close(os.open('/dev/null', os.O_RDONLY))"


def opened(name: str, map: str, *, times: int = 1) -> tuple[dict[Any, Any], int]:
    """Watch a child that opens a file so many times; the map's entries, and the child's number.

    The map has room, for other processes open files, too.
    """
    room = ("--set", f"{map}.max_entries=65536")
    with child(OPEN) as made, ready("load", str(example(name)), *room, "--format", "json") as process:
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
    path = example("network_monitor")
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
    path = example("trace_syscall_openat_safe")
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
    path = example("trace_syscall_openat_safe")
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


def test_there_are_shapes_enough() -> None:
    assert len(list(SHAPES.glob("*.bpf.c"))) >= 20
