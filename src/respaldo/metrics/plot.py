"""Small plots of recovery times: lines of text, and SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from respaldo.metrics.recovery import Recovery
from respaldo.units import format_duration

_BAR = 40
_WIDTH, _HEIGHT, _MARGIN = 720, 280, 48


def plot_text(recoveries: Sequence[Recovery], objective_s: float) -> str:
    """Return one bar a recovery, the oldest first, with a mark where the objective lies."""
    top = max([objective_s, *(recovery.seconds for recovery in recoveries)])
    mark = round(_BAR * objective_s / top)
    lines = []
    for recovery in recoveries:
        filled = max(1, round(_BAR * recovery.seconds / top))
        bar = "".join("█" if place < filled else "│" if place == mark - 1 else " " for place in range(_BAR))
        lines.append(f"{recovery.made:%Y-%m-%d}  {bar}  {format_duration(recovery.seconds)}")
    return "\n".join(lines)


def plot_svg(recoveries: Sequence[Recovery], objective_s: float, *, title: str, objective: str) -> str:
    """Return a picture of the same: a point a recovery over time, and a line at the objective."""
    top = max([objective_s, *(recovery.seconds for recovery in recoveries)]) * 1.1
    first, last = recoveries[0].made.timestamp(), recoveries[-1].made.timestamp()
    span = max(1.0, last - first)

    def place(recovery: Recovery) -> tuple[float, float]:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * (recovery.made.timestamp() - first) / span
        return x, _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * recovery.seconds / top

    points = [place(recovery) for recovery in recoveries]
    y = _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * objective_s / top
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    dots = "".join(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="#1f6feb"/>' for px, py in points)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_MARGIN}" y="24" font-size="16">{escape(title)}</text>'
        f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d1242f" '
        f'stroke-dasharray="6 4"/><text x="{_MARGIN}" y="{y - 6:.1f}" fill="#d1242f">{escape(objective)}</text>'
        f'<polyline points="{path}" fill="none" stroke="#1f6feb"/>{dots}'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 16}">{recoveries[0].made:%Y-%m-%d}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 16}" text-anchor="end">'
        f"{recoveries[-1].made:%Y-%m-%d}</text></svg>\n"
    )
