"""Programs that this kernel's verifier rejects: the error shows why, at which line of C, and what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sonde.bpf import ObjectSpec, safe
from sonde.errors import UnsafeObjectError, VerifierError

pytestmark = pytest.mark.beside

PROGRAMS = sorted(
    path.name
    for path in (Path(__file__).parent / "rejected").glob("*.bpf.c")
    if "\n// slow: " not in path.read_text()
)

# The four that every user meets first; their lines must be shown whatever the kernel.
FIRST_FOUR = ("map_out_of_bounds", "unbounded_loop", "uninitialised_register", "missing_null_check")

LOAD = """
import json, sys
from sonde.bpf import ObjectSpec
from sonde.errors import VerifierError
try:
    ObjectSpec.open(sys.argv[1]).load()
except VerifierError as error:
    print(json.dumps([error.log, error.reason, error.source_line, error.instruction, error.hint, str(error), error.errno]))
"""


class Rejection:
    """What a rejected program declares in its source, and how it was rejected here."""

    def __init__(self, name: str, compile_object: Callable[[str | Path], Path]) -> None:
        self.name = name.removesuffix(".bpf.c")
        self.path = Path(__file__).parent / "rejected" / name
        source = self.path.read_text()
        self.kind = re.findall(r"^// kind: (\S+)$", source, re.MULTILINE)[0]
        self.capabilities = re.findall(r"^// capabilities: (\S+)$", source, re.MULTILINE)
        self.line = next(
            (
                (i, text.strip())
                for i, text in enumerate(source.splitlines(), 1)
                if text.endswith("// rejected")
            ),
            None,
        )
        self.error = self._load(compile_object(self.path))

    def _load(self, path: Path) -> VerifierError:
        if not self.capabilities:
            with pytest.raises(VerifierError) as caught, ObjectSpec.open(path) as spec:
                spec.load()
            return caught.value
        granted = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in self.capabilities)
        command = [
            "setpriv",
            "--inh-caps=-all",
            f"--bounding-set=-all,{granted}",
            sys.executable,
            "-c",
            LOAD,
            str(path),
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        log, reason, source_line, instruction, hint, text, number = json.loads(output)
        error = VerifierError(
            number,
            subject=self.name,
            log=log,
            reason=reason,
            source_line=source_line,
            instruction=instruction,
            hint=hint,
        )
        assert str(error) == text
        return error


@pytest.mark.parametrize("name", PROGRAMS)
def test_rejection_is_explained(name: str, compile_object: Callable[[str | Path], Path]) -> None:
    """Reason, line, instruction and hint; the line is the one that the source marks."""
    rejection = Rejection(name, compile_object)
    error = rejection.error
    assert error.subject == rejection.name
    assert error.reason
    assert error.hint
    assert error.reason.split("; ")[0].split(": ")[0] in error.log
    text = str(error)
    assert text.startswith(f"load program {rejection.name}: the verifier rejected it: {error.reason}")
    assert f"what to do: {error.hint}" in text
    if rejection.line:
        number, line = rejection.line
        assert error.source_line in (line, f"{rejection.path.name}:{number}: {line}")
        assert f"at: {error.source_line}" in text


@pytest.mark.parametrize("name", FIRST_FOUR)
def test_rejection_shows_its_line_of_source(name: str, compile_object: Callable[[str | Path], Path]) -> None:
    """Out of bounds, unbounded loop, uninitialised read, missing null check."""
    rejection = Rejection(f"{name}.bpf.c", compile_object)
    assert rejection.line is not None
    assert rejection.line[1] in str(rejection.error)


def test_long_log_is_whole_and_its_message_short(compile_object: Callable[[str | Path], Path]) -> None:
    """The log grows to what the kernel has to say: thousands of lines, of which the message shows a screen."""
    error = Rejection("jumps_too_complex.bpf.c", compile_object).error
    lines = error.log.rstrip().splitlines()
    assert lines[-1].startswith("processed 16386 insns")
    assert sum(bool(re.match(r"\d+: \(", line)) for line in lines) > 16_000
    assert 'asm volatile(".rept 8200; call 7;' in error.source_line
    assert len(str(error).splitlines()) < 25
    assert f"({len(lines) - VerifierError.LINES_SHOWN} lines omitted)" in str(error)


LOAD_AND_MEASURE = f"""{LOAD}
# getrusage would tell the peak of the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.host_only
def test_a_loop_too_long_is_explained_by_the_end_of_its_log(
    compile_object: Callable[[str | Path], Path],
) -> None:
    """The verifier would write 100 MB about it: the last 16 are kept, and it has to walk there twice, not six times."""
    path = compile_object(Path(__file__).parent / "rejected" / "loop_too_long.bpf.c")
    command = [sys.executable, "-c", LOAD_AND_MEASURE, str(path)]
    told, peak_kb = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    log, reason, source_line, *_ = json.loads(told)

    assert reason == "BPF program is too large. Processed 1000001 insn"
    assert source_line == ("loop_too_long.bpf.c:12: for (__u32 i = 0; i < 10000000; i++) // rejected")
    assert 15 << 20 < len(log) < 16 << 20
    assert int(peak_kb) < 200 << 10


def test_first_load_writes_no_log(compile_object: Callable[[str | Path], Path]) -> None:
    """A program that loads costs no log; nothing is printed, and nothing left in the kernel."""
    code = "import sys; from sonde.bpf import ObjectSpec; ObjectSpec.open(sys.argv[1]).load().close()"
    path = compile_object("safe/good.bpf.c")
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("", "")


def test_rejection_prints_nothing(compile_object: Callable[[str | Path], Path]) -> None:
    """libbpf's messages are in the exception, not on stderr."""
    path = compile_object(Path(__file__).parent / "rejected" / "missing_null_check.bpf.c")
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], check=True, capture_output=True, text=True
    )
    assert result.stderr == ""
    assert json.loads(result.stdout)[2]


def test_too_many_instructions_are_refused_before_the_kernel_sees_them(
    compile_object: Callable[[str | Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of a million holds per program; here it is lowered to be reached."""
    path = compile_object(Path(__file__).parent / "rejected" / "missing_null_check.bpf.c")
    monkeypatch.setattr(safe, "INSTRUCTIONS_MAX", 5)
    with pytest.raises(UnsafeObjectError, match="instructions, the bound is 5") as caught:
        ObjectSpec.open(path)
    assert caught.value.cause == "instructions"
