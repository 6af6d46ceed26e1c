"""Where the programs of a user's object go: as their sections say, and as options say where those are silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sonde.errors import AttachError, CommandError
from sonde.nearest import nearest

if TYPE_CHECKING:
    from sonde.bpf.link import Hook, Link
    from sonde.bpf.object import Object, ObjectSpec
    from sonde.bpf.program import Program, ProgramSpec

NOWHERE = "none"
"""What ``--attach PROGRAM=none`` says: load it and leave it unattached."""

_SEPARATE_FILES = ("uprobe", "uretprobe", "usdt")


@dataclass(frozen=True, slots=True)
class Places:
    """What the options say: interfaces, a cgroup, a process, and hooks by program."""

    interfaces: tuple[str, ...] = ()
    cgroup: str | None = None
    pid: int | None = None
    attach: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attached:
    """A program and where it is; ``why_not`` says why it is nowhere."""

    program: str
    section: str
    hooks: tuple[str, ...]
    why_not: str = ""


def read_hook(text: str) -> Hook:
    """Read ``kind:place``; raises CommandError (2) with the kinds that there are, or what a kind takes."""
    from sonde.bpf.hooks import hook_examples, hook_from_text, hook_kinds

    kind = text.partition(":")[0]
    if kind not in hook_kinds():
        near = nearest(kind, hook_kinds(), 2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        examples = ", ".join(hook_examples().values())
        raise CommandError(
            f"read hook {text}", why=f"there is no kind {kind!r}", hint=f"{hint}valid: {examples}", status=2
        )
    try:
        return hook_from_text(text)
    except AttachError as error:
        raise CommandError(error.what, why=error.why, hint=error.hint, status=2) from error


def plan(spec: ObjectSpec, places: Places) -> dict[str, tuple[Hook, ...]]:
    """Decide the hooks of every program that will be loaded, and prepare it for them.

    Raises CommandError (2) for what only an option can say.
    """
    for name in places.attach:
        if name not in spec.programs:
            raise CommandError(
                f"attach program {name}",
                why="the object has no such program",
                hint=f"valid: {', '.join(spec.programs)}",
                status=2,
            )
        # A program that its section leaves out (SEC("?…")) is wanted if somebody says where.
        spec.programs[name].autoload = True
    chosen = {
        name: _hooks_for(program, places) for name, program in spec.programs.items() if program.autoload
    }
    _check_interfaces(chosen)
    for name, hooks in chosen.items():
        for hook in hooks:
            hook.configure(spec.programs[name])
    return chosen


def _check_interfaces(chosen: Mapping[str, tuple[Hook, ...]]) -> None:
    """Refuse a second XDP program on an interface, which takes one."""
    taken: dict[str, str] = {}
    for name, hooks in chosen.items():
        for hook in map(str, hooks):
            if not hook.startswith("xdp:"):
                continue
            if hook in taken:
                raise CommandError(
                    f"attach program {name} to {hook}",
                    why=f"an interface takes one XDP program, and {taken[hook]} is to go there",
                    hint=f"leave one out: --attach {name}=none",
                    status=2,
                )
            taken[hook] = name


def _hooks_for(program: ProgramSpec, places: Places) -> tuple[Hook, ...]:
    from sonde.bpf.link.section import Section

    given = places.attach.get(program.name)
    if given is not None:
        return tuple(read_hook(text) for text in given if text != NOWHERE)
    section, kind = program.section, program.type
    if kind == "xdp":
        from sonde.bpf.hooks import Xdp

        return tuple(Xdp(name) for name in _interfaces(program, places))
    if kind == "sched_cls":
        from sonde.bpf.hooks import Tc

        direction = "egress" if section.endswith("egress") else "ingress"
        return tuple(Tc(name, direction) for name in _interfaces(program, places))  # type: ignore[arg-type]
    if kind.startswith("cgroup") or kind == "sock_ops":
        from sonde.bpf.hooks import Cgroup

        if places.cgroup is None:
            raise _needs(program, "a cgroup", "--cgroup PATH")
        return (Cgroup(places.cgroup),)
    if kind == "perf_event":
        from sonde.bpf.hooks import PerfEvent

        return (PerfEvent(pid=places.pid),)
    word, _, place = section.removeprefix("?").partition("/")
    word = word.removesuffix(".s")
    if places.pid is not None and ":" in place and word in _SEPARATE_FILES:
        return (replace(read_hook(f"{word}:{place}"), pid=places.pid),)  # type: ignore[type-var]
    return (Section(),)


def _interfaces(program: ProgramSpec, places: Places) -> Sequence[str]:
    if not places.interfaces:
        raise _needs(program, "a network interface", "--interface NAME")
    return places.interfaces


def _needs(program: ProgramSpec, what: str, option: str) -> CommandError:
    return CommandError(
        f"attach program {program.name}",
        why=f'its section "{program.section}" names no place, it needs {what}',
        hint=f"give {option}, or --attach {program.name}=none to leave it unattached",
        status=2,
    )


def attach(loaded: Object, chosen: Mapping[str, tuple[Hook, ...]]) -> list[Attached]:
    """Attach every program to its hooks; one whose section names no place at all is left alone, and that is told.

    Raises what the hooks raise.
    """
    told = []
    for name, hooks in chosen.items():
        program = loaded.programs[name]
        links, why = _attach(program, hooks) if hooks else ([], "")
        told.append(Attached(name, program.section, tuple(str(link.hook) for link in links), why))
    return told


def _attach(program: Program, hooks: Sequence[Hook]) -> tuple[list[Link], str]:
    from sonde.bpf.link.section import Section

    try:
        return [program.attach(hook) for hook in hooks], ""
    except AttachError as error:
        # A section that says what a program is and not where it goes: "socket", "syscall", "kprobe".
        if not isinstance(hooks[0], Section) or error.hook != str(hooks[0]):
            raise
        return [], f"{error.why}: --attach {program.name}=HOOK does"
