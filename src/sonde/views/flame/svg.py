"""A flame graph as one still picture, for documents and issues: every viewer of SVG shows it, tooltips included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from sonde.records.frames import KINDS
from sonde.records.profile import Profile
from sonde.views import cell
from sonde.views.flame.palette import LEGEND, PALETTE, colour
from sonde.views.flame.tree import THREAD, Box, Name, Tree, tree_of
from sonde.views.profile import broken_lines, facts, left_out, origin, share, weight

WIDTH, MARGIN = 1200, 12
ROW, LETTER = 17, 6.9
"""The height of a row, and how wide a letter is at most on average, in the units of the picture."""
WIDTH_MIN, THIN = 0.15, 4.0
"""The narrowest box; and the narrowest of which an outline leaves enough to see."""
BOXES_MAX = 20_000

_STYLE = """\
text{font:12px Verdana,"DejaVu Sans",sans-serif;fill:#1c1917}
.h{font-size:18px;font-weight:600}.m{font-size:11px;fill:#57534e}.w{font-size:11px;fill:#b45309}
.p{fill:#fffdfa}rect.f{stroke:#fffdfa;stroke-width:.6;rx:1.5px}g.b:hover rect{stroke:#1c1917}
@media (prefers-color-scheme:dark){.p{fill:#171412}.h,.k{fill:#f5f0eb}.m{fill:#a8a29e}.w{fill:#fbbf24}
rect.f{stroke:#171412}g.b:hover rect{stroke:#fff}}
"""


def svg(profile: Profile) -> bytes:
    """Draw a profile; boxes that would be narrower than a sixth of a unit are left out."""
    tree = tree_of(profile, boxes_max=BOXES_MAX)
    head = list(_head(profile, tree))
    top = 34 + 16 * len(head)
    legend = top + 6
    height = legend + 26 + tree.depth * ROW + MARGIN
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<title>{_text(profile.measured.title or 'flame graph')}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="p" width="{WIDTH}" height="{height}"/>',
        f'<text class="h" x="{MARGIN}" y="26">{_text(_title(profile))}</text>',
    ]
    body += [
        f'<text class="{style}" x="{MARGIN}" y="{44 + 16 * at}">{_text(line)}</text>'
        for at, (style, line) in enumerate(head)
    ]
    body += _legend(profile, legend)
    body += _drawn(profile, tree, height - MARGIN)
    return "\n".join([*body, "</svg>", ""]).encode()


def _title(profile: Profile) -> str:
    return _fitted(profile.measured.heading or "flame graph", (WIDTH - 2 * MARGIN) / 10)


def _head(profile: Profile, tree: Tree) -> Iterator[tuple[str, str]]:
    measured = profile.measured
    yield "m", "  ·  ".join([*origin(measured), *facts(profile)])
    yield "m", str(measured.accounting)
    for line in broken_lines(profile):
        yield "w", line
    if tree.left_out:
        yield "m", left_out(measured, tree.left_out, tree.lightest)


def _legend(profile: Profile, y: int) -> Iterator[str]:
    x = float(MARGIN)
    present = {function.kind for function in profile.functions.values()}
    for kind, words in LEGEND.items():
        if kind not in present:
            continue
        hue = PALETTE[kind]
        fill = f"hsl({hue.hue + hue.spread // 2},{hue.saturation}%,{hue.light + 2}%)"
        yield f'<rect x="{x:.0f}" y="{y}" width="12" height="12" rx="2" fill="{fill}"/>'
        yield f'<text class="k" x="{x + 17:.0f}" y="{y + 10}">{words}</text>'
        x += 34 + len(words) * LETTER


def _drawn(profile: Profile, tree: Tree, floor: int) -> Iterator[str]:
    total = profile.total or 1
    scale = (WIDTH - 2 * MARGIN) / total
    for box in tree.boxes:
        wide = box.weight * scale
        if wide < WIDTH_MIN:
            continue
        name = tree.names[box.name]
        x, y = MARGIN + box.start * scale, floor - (box.depth + 1) * ROW
        outlined = ' class="f"' if wide >= THIN else ""
        label = _fitted(name.text, (wide - 6) / LETTER)
        yield (
            f'<g class="b"><title>{_text(_tip(profile, name, box))}</title>'
            f'<rect{outlined} x="{x:.2f}" y="{y}" width="{wide:.2f}" height="{ROW - 1}" fill="{colour(name)}"/>'
            + (f'<text x="{x + 3:.2f}" y="{y + 12}">{_text(label)}</text>' if label else "")
            + "</g>"
        )


def _tip(profile: Profile, name: Name, box: Box) -> str:
    measured, total = profile.measured, profile.total
    kind = "" if name.kind == THREAD else KINDS.get(name.kind, "")
    lines = [
        name.text,
        f"{weight(measured, box.weight)}, {share(box.weight, total)}; its own {share(box.own, total)}",
    ]
    lines += [" · ".join(_known(kind, name.module, name.source))]
    return "\n".join(filter(None, lines))


def _known(*words: str) -> Iterable[str]:
    return (word for word in words if word)


def _fitted(text: str, letters: float) -> str:
    """Cut a name to a width; nothing of it where not even three letters fit."""
    if len(text) <= letters:
        return text
    return text[: int(letters) - 1] + "…" if letters >= 3 else ""


def _text(text: str) -> str:
    """Give text as XML takes it: no control characters, no markup."""
    return escape("\n".join(cell.text(line) for line in text.split("\n")))
