"""The colours of frames: Brendan Gregg's hues by kind, and a tone of each for its name, so that neighbours differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sonde.records.frames import INLINED, INTERPRETED, KERNEL, MARK, NATIVE, REASON, UNKNOWN
from sonde.views.flame.tree import THREAD, Name


@dataclass(frozen=True, slots=True)
class Hue:
    """A kind's colour: from ``hue`` on ``spread`` degrees, how strong, how light on white and on black."""

    hue: int
    spread: int
    saturation: int
    light: int
    dark: int


PALETTE: Mapping[str, Hue] = {
    NATIVE: Hue(2, 15, 82, 71, 62),
    KERNEL: Hue(29, 13, 93, 61, 55),
    INLINED: Hue(176, 14, 48, 63, 53),
    INTERPRETED: Hue(96, 38, 48, 65, 54),
    UNKNOWN: Hue(225, 20, 10, 74, 60),
    MARK: Hue(280, 12, 26, 77, 64),
    REASON: Hue(205, 18, 72, 70, 60),
    THREAD: Hue(212, 12, 22, 82, 52),
}

LEGEND: Mapping[str, str] = {
    KERNEL: "kernel",
    NATIVE: "native",
    INLINED: "inlined",
    INTERPRETED: "interpreted",
    UNKNOWN: "unknown",
    MARK: "broken off",
    REASON: "reason",
}
"""What the colours are called, in the legend's order."""

_TONES = 9


def colour(name: Name, *, is_dark: bool = False) -> str:
    """Give a box's colour, as hexadecimal."""
    hue = PALETTE.get(name.kind, PALETTE[UNKNOWN])
    tone = name.shade / _TONES
    lightness = (hue.dark if is_dark else hue.light) + 6 * tone
    return _hexadecimal(hue.hue + hue.spread * tone, hue.saturation / 100, lightness / 100)


def _hexadecimal(hue: float, saturation: float, lightness: float) -> str:
    import colorsys

    red, green, blue = colorsys.hls_to_rgb(hue % 360 / 360, lightness, saturation)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
