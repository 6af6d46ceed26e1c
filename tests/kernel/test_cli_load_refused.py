"""``sonde load``: what is refused, in one sentence that says what would do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel.places import Network
from kernel.plain import example, shape
from kernel.sonde_process import sonde

# The same on every kernel, and a virtual machine takes long for each of them.
pytestmark = [pytest.mark.beside, pytest.mark.host_only]

Compile = Callable[[str | Path], Path]

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
    output = sonde("load", path if "/" in path else str(example(path)), *rest)

    assert output.status == status
    assert words in output.err
    assert output.err.count("\n") == 1


def test_two_xdp_programs_do_not_fit_one_interface(network: Network) -> None:
    output = sonde("load", str(shape("redirects")), "--interface", network.interface)

    assert output.status == 2
    assert "an interface takes one XDP program" in output.err


def test_an_object_that_others_can_write_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.bpf.o"
    path.write_bytes(example("trace_syscall").read_bytes())
    path.chmod(0o666)
    output = sonde("load", str(path), "--dry-run")

    assert output.status == 1
    assert f"chmod go-w -- {path}" in output.err


def test_strict_refuses_what_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.bpf.o"
    path.write_bytes(example("trace_syscall").read_bytes())
    path.chmod(0o644)

    assert sonde("load", str(path), "--dry-run").status == 0
    assert f"chmod go= -- {path}" in sonde("load", str(path), "--dry-run", "--strict").err


def test_the_verifiers_verdict_comes_with_its_line(compile_object: Compile) -> None:
    path = compile_object(Path(__file__).parent / "rejected" / "missing_null_check.bpf.c")
    output = sonde("load", str(path))

    assert output.status == 1
    assert "the verifier rejected it" in output.err
    assert "  at: " in output.err


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
