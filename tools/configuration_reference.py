"""Write the reference of the configuration into docs/guides/agent.md, made of the keys themselves.

``python tools/configuration_reference.py`` writes it, ``--check`` only tells whether it is up to date (status 1).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sonde.agent.config.key import Key, dotted, keys_of
from sonde.agent.config.key import Path as KeyPath
from sonde.agent.config.probe import ProbeConfig
from sonde.agent.config.sheet import is_free, sections, written

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "agent.md"
BEGIN = "<!-- made by tools/configuration_reference.py: begin -->"
END = "<!-- made by tools/configuration_reference.py: end -->"
PROBES = """\
A probe that has a section runs, unless `enabled` is false. `processes` and `syscalls` run without one. Beside these keys each knob of the
probe is one, `syscall = ["openat", "read"]`: `sonde config example` lists them. Probes on
interfaces have `interfaces` and `exclude_interfaces`, others have `pid`, `children`, `cgroup`, `comm` and `own`."""


def reference() -> str:
    """Write all sections as tables of Markdown; the probes' as one, for their knobs are theirs."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    has_probes = False
    for section in sections():
        if section.path[:1] == ("probes",):
            if not has_probes:
                yield from _table("`[probes.NAME]`", PROBES, keys_of(ProbeConfig, ("probes", "NAME")))
            has_probes = True
        else:
            title = f"`[{dotted(section.path)}]`" if section.path else "At the top"
            free = [key for path, key in section.keys.items() if is_free(path, key)]
            text = f"{section.text} For example `{free[0].example[2:-2]}`." if free else section.text
            yield from _table(title, text, {} if free else section.keys)


def _table(title: str, text: str, keys: dict[KeyPath, Key]) -> Iterator[str]:
    yield from ("", f"### {title}", "")
    if text:
        yield from (text, "")
    if keys:
        yield from ("| key | unless given | |", "|---|---|---|")
    for path, key in keys.items():
        default = f"`{written(key)}`" if written(key) else f"unset, e.g. `{_example(path, key)}`"
        if path == ("probes", "NAME", "output"):
            default = "what the probe says"
        if path == ("probes", "NAME", "enabled"):
            default = "`true`"
        yield f"| `{path[-1]}` | {default} | {key.text} |"


def _example(path: KeyPath, key: Key) -> str:
    return key.example.replace("SIGNAL", path[-2]) if len(path) > 1 else key.example


def updated(text: str) -> str:
    """Give the guide with the reference of now."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{reference()}\n\n{END}{tail}"


def main() -> int:
    """Write it, or check."""
    before = GUIDE.read_text()
    after = updated(before)
    if "--check" not in sys.argv[1:]:
        GUIDE.write_text(after)
    elif before != after:
        print(f"{GUIDE.name} is not what the keys are: run: python tools/configuration_reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
