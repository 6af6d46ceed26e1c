"""The verifier's logs, explained: real ones of six kernels, and odd ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sonde.bpf import verifier
from sonde.errors import VerifierError

TESTS = Path(__file__).parent.parent
PROGRAMS = TESTS / "kernel" / "rejected"
LOGS = TESTS / "golden" / "verifier"


def golden() -> dict[tuple[str, str], str]:
    logs = {}
    for path in sorted(LOGS.glob("linux-*.txt")):
        sections = re.split(r"^=== (\w+)\n", path.read_text(), flags=re.MULTILINE)
        for program, log in zip(sections[1::2], sections[2::2], strict=True):
            logs[path.stem, program] = log
    return logs


GOLDEN = golden()


def declared(program: str) -> tuple[str, str]:
    """What a program says of itself: its kind, and the text of the line that is rejected."""
    source = (PROGRAMS / f"{program}.bpf.c").read_text()
    kind = re.search(r"^// kind: (\S+)$", source, re.MULTILINE)
    assert kind
    rejected = re.search(r"^.*// rejected$", source, re.MULTILINE)
    return kind[1], rejected[0].strip() if rejected else ""


def test_golden_logs_are_complete() -> None:
    """Every program has its log of every kernel, but that which takes minutes under emulation."""
    kernels = {kernel for kernel, _ in GOLDEN}
    programs = {path.name.removesuffix(".bpf.c") for path in PROGRAMS.glob("*.bpf.c")}
    assert len(kernels) == 6
    missing = {(k, p) for k in kernels for p in programs} - set(GOLDEN)
    assert {program for _, program in missing} <= {"loop_too_long"}
    assert ("linux-6.18", "loop_too_long") in GOLDEN


@pytest.mark.parametrize(("kernel", "program"), GOLDEN)
def test_explains_a_real_rejection(kernel: str, program: str) -> None:
    """Class and line of C are those that the program declares, and the reason is words of this log."""
    log = GOLDEN[kernel, program]
    kind, text = declared(program)
    explanation = verifier.explain(log)
    assert explanation.kind == kind
    assert explanation.hint
    assert explanation.reason.split("; ")[0].split(": ")[0] in log
    if text:
        # Kernels before 6.9 print the text of the line only. The number was right when the log was made.
        place = "" if kernel in ("linux-5.10", "linux-6.1") else rf"{program}\.bpf\.c:\d+: "
        assert re.fullmatch(place + re.escape(text), explanation.source_line)
        assert re.match(r"\d+: \([0-9a-f]{2}\) ", explanation.instruction)
        assert explanation.instruction in log


def test_report_of_linux_7_3_adds_reason_and_suggestion() -> None:
    """The kernel's sentence follows its old message, and its suggestion is the hint."""
    explanation = verifier.explain(GOLDEN["linux-7.3", "missing_null_check"])
    assert explanation.reason == (
        "R0 invalid mem access 'map_value_or_null': R0 may be NULL here (a nullable map value pointer). The program "
        "could dereference NULL on this path, so the verifier cannot prove this access is safe"
    )
    assert explanation.hint == (
        "Add a NULL check before the access and dereference the pointer only on the non-NULL path"
    )


def test_report_of_linux_7_3_knows_lines_that_the_old_words_do_not() -> None:
    """A program checked before its first instruction is simulated has a line in the report only."""
    old = verifier.explain(GOLDEN["linux-7.2", "unreachable_code"])
    new = verifier.explain(GOLDEN["linux-7.3", "unreachable_code"])
    assert old.source_line == ""
    assert new.source_line == 'unreachable_code.bpf.c:9: asm volatile("r0 = 0; exit; r0 = 1; exit");'
    assert new.instruction == "2: (b7) r0 = 1"


def test_report_of_an_unknown_kind_is_named_by_its_headline() -> None:
    """A class that comes with a later kernel still has reason, place and suggestion."""
    log = GOLDEN["linux-7.3", "missing_null_check"].replace(
        "R0 invalid mem access 'map_value_or_null'", "R0 is odd"
    )
    log = log.replace("Register Type Safety: Invalid dereference", "Weather Safety: Rain in the basement")
    explanation = verifier.explain(log)
    assert explanation.kind == "rain-in-the-basement"
    assert explanation.reason.startswith("R0 is odd: R0 may be NULL here")
    assert explanation.source_line.startswith("missing_null_check.bpf.c:19: ")


def test_report_without_sections_is_its_headline() -> None:
    """A report that is cut after its first line loses nothing else."""
    log = GOLDEN["linux-7.3", "missing_null_check"]
    cut = log[: log.index("Reason:")]
    explanation = verifier.explain(cut)
    assert explanation.kind == "missing-null-check"
    assert explanation.reason == "R0 invalid mem access 'map_value_or_null'"
    assert explanation.hint.startswith("the pointer may be NULL here")


@pytest.mark.parametrize(
    "kernel", ["linux-5.10", "linux-6.1", "linux-6.12", "linux-6.18", "linux-7.2", "linux-7.3"]
)
def test_leak_tells_where_the_reference_was_taken(kernel: str) -> None:
    """The rejected line is the end of the function; what helps is where the reservation was made."""
    hint = verifier.explain(GOLDEN[kernel, "leaked_reference"]).hint
    assert hint.endswith("__u64 *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);")


def test_back_edge_shows_the_line_of_its_loop() -> None:
    """Without CAP_BPF loops are refused before simulation; the line stands after an instruction's number."""
    log = "13: while (a) {\n3: a += bpf_get_smp_processor_id();\nback-edge from insn 13 to 3\nprocessed 0 insns (limit 1000000)"
    explanation = verifier.explain(log)
    assert explanation.kind == "unbounded-loop"
    assert explanation.reason == "back-edge from insn 13 to 3"
    assert explanation.source_line == "while (a) {"


def test_instruction_that_is_too_new_names_the_compilers_option() -> None:
    """As Linux 5.10 rejects an atomic addition that fetches, before it looks at anything else."""
    log = "BPF_STX uses reserved fields\nprocessed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0\n"
    explanation = verifier.explain(log)
    assert (explanation.kind, explanation.reason) == ("unknown-instruction", "BPF_STX uses reserved fields")
    assert "-mcpu=v2" in explanation.hint


def test_message_glued_to_the_statistics_is_cut_free() -> None:
    """Some messages of the kernel end without a newline."""
    log = "0: (95) exit\nR0 !read_okprocessed 1 insns (limit 1000000) max_states_per_insn 0\n"
    assert verifier.explain(log).reason == "R0 !read_ok"


def test_source_text_may_hold_an_at_sign() -> None:
    """Only the last @ parts text and place."""
    log = '; x = "a @ b.c:3"; @ dir/file name.c:12\n0: (95) exit\nR0 !read_ok\nprocessed 1 insns\n'
    assert verifier.explain(log).source_line == 'dir/file name.c:12: x = "a @ b.c:3";'


@pytest.mark.parametrize(
    "log",
    ["", "\n", "Hello", "the format of 2031\nnobody knows\n", "\x00\xff\n" * 9, "; int x;\n", "1: \n2: \n"],
)
def test_unknown_form_explains_nothing_and_the_error_shows_its_end(log: str) -> None:
    """No guess is better than a wrong one: the raw end of the log stands in the message."""
    explanation = verifier.explain(log)
    assert explanation == verifier.Explanation("unknown", "", "", "", "")
    error = VerifierError(13, subject="p", log=log, reason=explanation.reason)
    assert "permission denied (EACCES)" in str(error)
    for line in log.strip().splitlines():
        assert line in str(error)


def test_cut_log_says_so() -> None:
    """A log that ends within the instructions has no verdict to show."""
    log = GOLDEN["linux-6.18", "map_out_of_bounds"]
    cut = log[: log.index("R6 unbounded")]
    explanation = verifier.explain(cut)
    assert explanation.kind == "log-cut"
    assert explanation.reason == "its log ends before the verdict"
    assert "fewer turns" in explanation.hint
    assert explanation.source_line.startswith("map_out_of_bounds.bpf.c:25: ")


def test_every_prefix_and_suffix_of_a_log_is_explained_without_an_error() -> None:
    """Logs arrive cut at either end; whatever remains, explaining it must not fail."""
    for kernel in ("linux-5.10", "linux-7.3"):
        log = GOLDEN[kernel, "leaked_reference"]
        for cut in range(0, len(log), 7):
            verifier.explain(log[:cut])
            verifier.explain(log[cut:])


def test_the_program_that_failed_is_named_by_libbpf() -> None:
    """Of an object's programs the one that the messages name; many failures have none."""
    messages = [
        "libbpf: prog 'counter': BPF program load failed: -EACCES",
        "libbpf: prog 'counter': failed to load: -EACCES",
        "libbpf: failed to load object 'object'",
    ]
    assert verifier.failed_program(messages) == "counter"
    assert verifier.failed_program(["libbpf: map 'x': failed to create"]) is None


def test_error_is_one_readable_block_with_the_whole_log_kept() -> None:
    """What, why, where, what to do, the end of the log, and how much of it is left out."""
    log = GOLDEN["linux-6.18", "map_out_of_bounds"]
    explanation = verifier.explain(log)
    error = VerifierError(
        13,
        subject="map_out_of_bounds",
        log=log,
        reason=explanation.reason,
        source_line=explanation.source_line,
        instruction=explanation.instruction,
        hint=explanation.hint,
    )
    text = str(error)
    count = len(log.splitlines())
    assert text.startswith(
        "load program map_out_of_bounds: the verifier rejected it: R6 unbounded memory access"
    )
    assert "\n  at: map_out_of_bounds.bpf.c:25: table->counts[bpf_get_prandom_u32()] = 1;" in text
    assert "\n  instruction: 15: (7b) *(u64 *)(r6 +0) = r1\n" in text
    assert "\n  what to do: bound the index" in text
    assert f"({count - VerifierError.LINES_SHOWN} lines omitted)" in text
    assert len(text.splitlines()) == 5 + VerifierError.LINES_SHOWN
    assert error.log == log


def test_error_of_linux_7_3_shows_what_led_to_the_report() -> None:
    """The report's words are in reason, line and hint; the log shown is the instructions before it."""
    log = GOLDEN["linux-7.3", "missing_null_check"]
    text = str(VerifierError(13, subject="p", log=log, reason="r"))
    assert "R0 invalid mem access" in text.splitlines()[-1]
    assert "Suggestion" not in text
    shown = len(text.splitlines()) - 2
    assert f"({len(log.splitlines()) - shown} lines omitted)" in text


def test_a_log_of_a_hundred_megabytes_is_explained_in_a_second() -> None:
    """A loop too long has every turn in its log; only the end is read line by line."""
    turn = "; for (;;) @ f.c:3\n5: (07) r6 += 1                       ; R6=0x186a0\n"
    log = turn * (100_000_000 // len(turn)) + GOLDEN["linux-6.18", "loop_too_long"]
    import time

    times = []
    for _ in range(3):
        start = time.process_time()
        explanation = verifier.explain(log)
        str(VerifierError(7, subject="p", log=log, reason=explanation.reason))
        times.append(time.process_time() - start)
    # What the host of a virtual machine takes from it counts as the process's.
    assert min(times) < 1
    assert explanation.kind == "too-complex"
