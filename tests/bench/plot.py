"""A small bar chart as SVG, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, ROW, LEFT = 760, 18, 250

COLOURS = {"castd": "#2f7de1", "icecast2": "#e08a2f"}

STYLE = "text{font:12px system-ui,sans-serif;fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}"


def bars(values: Mapping[str, Mapping[str, float]]) -> str:
    """Groups of bars.

    Args:
        values: percent of a core by server by load.
    """
    most = max((value for servers in values.values() for value in servers.values()), default=1.0) or 1.0
    drawn, y = [], 30.0
    for name, servers in values.items():
        drawn.append(
            f'<text x="{LEFT - 10}" y="{y + ROW * len(servers) / 2 + 4}" text-anchor="end">{escape(name)}</text>'
        )
        for server, value in servers.items():
            width = (WIDTH - LEFT - 90) * value / most
            drawn.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{ROW - 4}" fill="{COLOURS[server]}"/>')
            drawn.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + ROW - 7}">{value:.1f} % {server}</text>')
            y += ROW
        y += 10
    title = f'<text x="{LEFT}" y="18">CPU, percent of a core (median)</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" role="img">'
    return f"{head}<style>{STYLE}</style>{title}{''.join(drawn)}</svg>\n"
