"""A flame graph as one page to look around in: everything is in the file, and it asks for nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from sonde.records.frames import KINDS
from sonde.records.profile import Profile
from sonde.views import cell
from sonde.views.flame.palette import LEGEND, PALETTE
from sonde.views.flame.tree import THREAD, Tree, tree_of
from sonde.views.profile import facts, left_out, origin, remarks

BOXES_MAX = 30_000
SCRIPTS = (
    *(
        f"d3-{name}"
        for name in ("color", "dispatch", "ease", "timer", "interpolate", "array", "format", "time")
    ),
    *(f"d3-{name}" for name in ("time-format", "scale", "hierarchy", "selection", "transition")),
    "d3-flamegraph.umd",
)
"""The vendored scripts, each after those that it needs (tools/vendor_flame_graph.py)."""

_NOTICE = (
    "made by sonde; holds d3-flame-graph 5.0.0 (Apache-2.0, Martin Spier and contributors), modules of d3 (ISC, Mike Bostock) "
    "and d3-ease (BSD-3-Clause, Mike Bostock, Robert Penner)"
)
_KEYS = "<kbd>/</kbd> search <kbd>click</kbd> zoom <kbd>arrows</kbd> walk <kbd>Enter</kbd> zoom <kbd>i</kbd> turn <kbd>Esc</kbd> back"


def html(profile: Profile) -> bytes:
    """Make the page."""
    tree = tree_of(profile, boxes_max=BOXES_MAX)
    folder = files("sonde.views.flame")
    style = folder.joinpath("page.css").read_text()
    vendored = (folder.joinpath("vendor", f"{name}.min.js").read_text() for name in SCRIPTS)
    script = "\n".join([*vendored, folder.joinpath("page.js").read_text()])
    title = profile.measured.heading or "flame graph"
    return "\n".join(
        [
            "<!doctype html>",
            f"<!-- {_NOTICE} -->",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{_text(title)}</title>",
            f"<style>{style}</style>",
            *_header(profile, tree),
            *_tools(profile),
            '<main><div id="chart" tabindex="0" role="img" aria-label="flame graph"></div></main>',
            f'<footer id="details" aria-live="polite"><span>{_KEYS}</span></footer>',
            '<div id="tip" role="tooltip" hidden></div>',
            "<noscript>This page draws with JavaScript, all of which is in it.</noscript>",
            f'<script type="application/json" id="profile">{_data(profile, tree)}</script>',
            f"<script>{script}</script>",
            "</html>",
            "",
        ]
    ).encode()


def _policy(script: str) -> str:
    """Let nothing but this very script run, whatever the names in the data are, and nothing be fetched."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"


def _header(profile: Profile, tree: Tree) -> Iterator[str]:
    measured = profile.measured
    request = (
        f' <code title="{_text(measured.request)}">{_text(measured.request)}</code>'
        if measured.request
        else ""
    )
    yield f"<header><h1>{_text(measured.title or 'Flame graph')}{request}</h1>"
    items = [*origin(measured), *facts(profile)]
    yield f'<ul class="facts">{"".join(f"<li>{_text(item)}</li>" for item in items)}</ul>'
    yield f'<p class="equation">{_text(str(measured.accounting))}</p>'
    if lines := remarks(profile):
        yield f'<div class="warn">{"".join(f"<p>{_text(line)}</p>" for line in lines)}</div>'
    if tree.left_out:
        yield f'<p class="equation">{left_out(measured, tree.left_out, tree.lightest)}</p>'
    yield "</header>"


def _tools(profile: Profile) -> Iterator[str]:
    present = {function.kind for function in profile.functions.values()}
    yield '<nav><input id="search" type="search" placeholder="Search functions (regex)"'
    yield 'aria-label="Search functions" spellcheck="false" autocomplete="off">'
    yield '<button id="turn" title="callers at the top (i)">Icicle</button>'
    yield '<button id="reset" title="back to everything (Esc)" disabled>Reset zoom</button>'
    yield '<span id="matched" role="status"></span>'
    chips = [
        f'<button data-kind="{kind}" aria-pressed="false" title="find all of these"><i></i>{words}</button>'
        for kind, words in LEGEND.items()
        if kind in present
    ]
    yield f'<div class="legend">{"".join(chips)}</div></nav>'


def _data(profile: Profile, tree: Tree) -> str:
    """Write the tree as JSON that holds nothing which could end its element."""
    import msgspec

    data: dict[str, Any] = {
        "unit": profile.measured.unit,
        "thread": THREAD,
        "kinds": {**KINDS, THREAD: ""},
        "palette": {
            kind: (hue.hue, hue.spread, hue.saturation, hue.light, hue.dark) for kind, hue in PALETTE.items()
        },
        "names": [
            (cell.text(each.text), each.kind, cell.text(each.module), cell.text(each.source), each.shade)
            for each in tree.names
        ],
        "boxes": [number for box in tree.boxes for number in (box.depth, box.name, box.weight, box.own)],
    }
    text = msgspec.json.encode(data).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(text: str) -> str:
    return escape(cell.text(text))
