"""Reads the log of the kernel's verifier: why it rejected a program, at which line of C, and what to do about it.

Three forms are known. Up to Linux 6.8 a line of source is printed as ``; source text``; since then (kernel commit
7cc13adbd057) as ``; source text @ file.c:12``. Linux 7.3 (kernel commit ce7c9f6c599b) adds a report in sections after the
message: ``Verification failed: …``, ``Reason:``, ``At:``, ``Causal path:``, ``Suggestion:``. A log in none of these forms
explains nothing: the error then shows its end as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sonde.bpf.verdicts import classify

TAIL_BYTES = 256 << 10
"""A log may have many megabytes (a loop too long has every turn in it); its verdict is at the end."""

_PROGRAM = re.compile(r"prog '([^']*)': (?:BPF program load failed|failed to load)")

_INSTRUCTION = re.compile(r"^(\d+): (\([0-9a-f]{2}\) .*|<.*>)$")
_STATE_AFTER_INSTRUCTION = re.compile(r"\s+(?:; |\d+: )(?:R\d+(?:_\w+)?=|frame\d+:|safe|fp-\d+).*$|\s+; $")
_SOURCE = re.compile(r"^; ?(.*)$|^\d+: (?!\(|R\d|frame\d|<)(.+)$")
_SOURCE_PLACE = re.compile(r"^(.*) @ ([^@]*):(\d+)$", re.DOTALL)
_PROCESSED = re.compile(r"^processed \d+ insns")
_REPORT = re.compile(r"^Verification failed: ", re.MULTILINE)
_SECTION = re.compile(r"^(Reason|At|Causal path|Suggestion):$")
_ALLOCATED_AT = re.compile(r"alloc_insn=(\d+)")

# What the verifier prints about its own progress and state; everything else is meant for us.
_NOISE = re.compile(
    r"""^\s*(?:
      $ | R\d+(?:_\w+)?= | frame\d+: | \d+:\s | from\ \d+\ to\ \d+ | ;
    | (?:cur|old)\ state: | caller: | callee: | returning\ from\ callee | to\ caller\ at
    | func\#\d+\ @ | Func\#\d+\ .*\ is\ safe | Validating\ | Live\ regs | subprog\#\d+
    | arg\#\d+\ (?:reference\ type\(|type\ is\ not) | Unrecognized\ arg\# | last_idx\ | mark_precise: | regs= | parent\ (?:didn't|already) | propagating
    | processed\ \d+\ insns | verification\ time | stack\ depth | max_states_per_insn
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Explanation:
    """What a log says; each text is empty where the log does not tell.

    ``kind`` is a word for the class of rejection, such as ``missing-null-check`` (see verdicts.py), or ``unknown``.
    """

    kind: str
    reason: str
    source_line: str
    instruction: str
    hint: str


def failed_program(messages: Sequence[str]) -> str | None:
    """Find the name of the program that libbpf says failed to load; None if it names none."""
    names = [match[1] for message in messages for match in _PROGRAM.finditer(message)]
    return names[0] if names else None


def explain(log: str) -> Explanation:
    """Say why the verifier rejected a program, from its log in any known form; see Explanation."""
    log = log.replace("\r\n", "\n")
    report = _REPORT.search(log, max(0, len(log) - TAIL_BYTES))
    if report:
        return _explain_report(log, report.start())
    return _explain_lines(log)


def _explain_lines(log: str) -> Explanation:
    lines = log[-TAIL_BYTES:].splitlines()
    last = max((i for i, line in enumerate(lines) if _INSTRUCTION.match(line)), default=-1)
    complete = any(_PROCESSED.match(line) for line in lines[last + 1 :])
    reason = "; ".join(_messages(lines[last + 1 :]))
    if last < 0 and not complete:
        # No sign that a verifier wrote this. One of its known messages may still stand in it.
        verdict = classify(log[-TAIL_BYTES:])
        return Explanation(verdict.kind, "", "", "", verdict.hint) if verdict else _UNKNOWN
    if not reason and not complete:
        return Explanation("log-cut", _NO_VERDICT, _source_before(log), _instruction(lines, last), _LOG_CUT)
    verdict = classify(reason)
    # Before the first instruction there is only what belongs to no line: "unreachable insn 2".
    source = _source_before(log) if last >= 0 else _source_of_prefix(lines)
    return Explanation(
        verdict.kind if verdict else "unknown",
        reason,
        source,
        _instruction(lines, last),
        _hint(verdict.hint if verdict else "", reason, log),
    )


def _explain_report(log: str, start: int) -> Explanation:
    """Explain the sections of Linux 7.3; the message in the old words stands right before them."""
    before = _explain_lines(log[max(0, start - TAIL_BYTES) : start] + "\nprocessed 0 insns")
    header, *lines = log[start:].splitlines()
    sections = _sections(lines)
    headline = header.removeprefix("Verification failed: ")
    told = " ".join(line.strip() for line in sections.get("Reason", [])).rstrip(".")
    message = before.reason or headline
    source, instruction = _report_place(sections.get("At", []))
    if source.rpartition(": ")[0] == before.source_line.partition(": ")[0]:
        source = before.source_line  # the same line, which the report cuts at 88 columns
    suggestion = " ".join(line.strip() for line in sections.get("Suggestion", [])).rstrip(".")
    verdict = classify(message) or classify(headline)
    return Explanation(
        verdict.kind if verdict else _slug(headline),
        f"{message}: {told}" if told else message,
        source or before.source_line,
        instruction or before.instruction,
        _hint(suggestion or (verdict.hint if verdict else ""), message, log),
    )


def _sections(lines: Iterable[str]) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        if match := _SECTION.match(line):
            if match[1] in sections:
                break  # a second report follows; the first one tells what to do first
            current = sections.setdefault(match[1], [])
        elif line and not line.startswith(" "):
            current = None
        elif line and current is not None:
            current.append(line)
    return sections


def _report_place(at: Sequence[str]) -> tuple[str, str]:
    """Find source line and instruction in the section ``At:``: in each of its two blocks one line is marked."""
    place = re.match(r"^  (?:\S+ @ )?(.+):(\d+):\d+$", at[0]) if at else None
    source = instruction = ""
    for line in at[1:]:
        if marked := re.match(r"^\s*>>>\s*(\d+) \| (.*)$", line):
            if marked[2].startswith("("):
                instruction = f"{marked[1]}: {marked[2]}"
            elif place:
                source = f"{place[1]}:{place[2]}: {marked[2].strip()}"
    return source, instruction


def _messages(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if _PROCESSED.match(line):
            return
        if not _NOISE.match(line) and not _INSTRUCTION.match(line):
            # Some messages end without a newline, and the statistics are glued to them.
            yield re.sub(r"processed \d+ insns \(limit.*$", "", line).strip()


def _instruction(lines: Sequence[str], index: int) -> str:
    return _STATE_AFTER_INSTRUCTION.sub("", lines[index]) if index >= 0 else ""


def _source_before(log: str, end: int | None = None) -> str:
    """Find the line of source printed last before ``end``: it is printed only where it changes."""
    start = log.rfind("\n; ", 0, end)
    if start < 0 and not log.startswith("; "):
        return ""
    stop = log.find("\n", start + 1)
    return _place_source(log[start + 1 : stop if stop >= 0 else len(log)])


def _source_of_prefix(lines: Sequence[str]) -> str:
    """Find a line of source as ``back-edge from insn 13 to 3`` has it: after the instruction's number."""
    for line in lines:
        if (match := _SOURCE.match(line)) and match[2] and not _PROCESSED.match(line):
            return match[2].strip()
    return ""


def _place_source(line: str) -> str:
    text = line.removeprefix(";").strip()
    if match := _SOURCE_PLACE.match(line.removeprefix(";")):
        place = f"{match[2].strip()}:{match[3]}"
        return f"{place}: {match[1].strip()}" if match[1].strip() else place
    return text


def _hint(hint: str, reason: str, log: str) -> str:
    """Add to a hint where the reference that leaks was taken, which the message tells as an instruction."""
    if allocated := _ALLOCATED_AT.search(reason):
        found = re.search(rf"^{allocated[1]}: \(", log, re.MULTILINE)
        source = _source_before(log, found.start()) if found else ""
        if source:
            return f"{hint}; it was taken at {source}"
    return hint


def _slug(headline: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", headline.rpartition(": ")[2].lower()).strip("-")


_UNKNOWN = Explanation("unknown", "", "", "", "")
_NO_VERDICT = "its log ends before the verdict"
_LOG_CUT = (
    "this kernel keeps the beginning of a log that is too long (Linux 6.4 keeps the end): mostly that is a loop with too "
    "many turns, of which the verifier walks through every one: fewer turns, bpf_loop() (5.17), or global functions"
)
