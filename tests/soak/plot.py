"""Curves over time as SVG, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tests.bench import plot as bars

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 860, 130, 60, 20, 30, 46

POINTS = 400
"""Of a curve; of the values that fall on one, the highest is shown."""

COLOURS = ("#2f7de1", "#e08a2f", "#3c9a5f")
MARKS = {"upgrade": "#c0392b", "stop": "#8e44ad", "reload": "#999"}

STYLE = bars.STYLE + ".axis{stroke:#888;fill:none}polyline{fill:none;stroke-width:1.4}"

Curve = Sequence[tuple[float, float]]
"""Seconds and values."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves of one unit."""

    title: str
    curves: Mapping[str, Curve]


def draw(panels: Sequence[Panel], marks: Sequence[tuple[float, str]], seconds: tuple[float, float]) -> str:
    """Panels under each other, over the same time.

    Args:
        marks: what happened: seconds and one of MARKS.
        seconds: the first and the last shown.
    """
    drawn, y = [_legend()], TOP + 10.0
    for panel in panels:
        drawn += _panel(panel, marks, seconds, y)
        y += HEIGHT + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" role="img">'
    return f"{head}<style>{STYLE}</style>{''.join(drawn)}</svg>\n"


def _legend() -> str:
    parts = []
    for number, (name, colour) in enumerate(MARKS.items()):
        x = LEFT + 110 * number
        parts.append(f'<line x1="{x}" y1="8" x2="{x}" y2="20" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 7}" y="18">{name}</text>')
    return "".join(parts)


def _panel(panel: Panel, marks: Sequence[tuple[float, str]], seconds: tuple[float, float], y: float) -> list[str]:
    first, last = seconds
    top = max((value for curve in panel.curves.values() for _, value in curve), default=1.0) or 1.0
    wide, bottom = WIDTH - LEFT - RIGHT, y + HEIGHT

    def at(second: float) -> float:
        return LEFT + wide * (second - first) / (last - first)

    parts = [f'<text x="{LEFT}" y="{y - 6}">{escape(panel.title)}</text>']
    for second, what in marks:
        if what in MARKS and first <= second <= last:
            x, high = at(second), HEIGHT if what == "upgrade" else HEIGHT / 8
            parts.append(
                f'<line x1="{x:.1f}" y1="{bottom - high:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{MARKS[what]}" '
                'stroke-opacity=".6"/>'
            )
    for number, (name, curve) in enumerate(panel.curves.items()):
        colour = COLOURS[number]
        points = " ".join(f"{at(s):.1f},{bottom - HEIGHT * v / top:.1f}" for s, v in _thinned(curve, first, last))
        parts.append(f'<polyline points="{points}" stroke="{colour}"/>')
        parts.append(f'<text x="{LEFT + 210 + 150 * number}" y="{y - 6}" style="fill:{colour}">{escape(name)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {y:.1f}V{bottom:.1f}H{WIDTH - RIGHT}"/>')
    parts += [
        f'<text x="{LEFT - 6}" y="{y + 10:.1f}" text-anchor="end">{top:,.0f}</text>',
        f'<text x="{LEFT - 6}" y="{bottom:.1f}" text-anchor="end">0</text>',
    ]
    digits = 0 if last - first > 600 else 1
    for part, anchor in enumerate(("start", "middle", "middle", "middle", "end")):
        second = first + (last - first) * part / 4
        text = f"{second / 60:.{digits}f} min"
        parts.append(f'<text x="{at(second):.1f}" y="{bottom + 15:.1f}" text-anchor="{anchor}">{text}</text>')
    return parts


def _thinned(curve: Curve, first: float, last: float) -> list[tuple[float, float]]:
    highest: dict[int, tuple[float, float]] = {}
    for second, value in curve:
        if first <= second <= last:
            slot = int(POINTS * (second - first) / (last - first))
            if slot not in highest or value > highest[slot][1]:
                highest[slot] = second, value
    return list(highest.values())
