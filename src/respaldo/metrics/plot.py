"""Small plots of recovery times: lines of text, and SVG. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from respaldo.metrics.recovery import Recovery
from respaldo.units import format_duration

_BAR = 40
_WIDTH, _HEIGHT, _MARGIN = 720, 280, 48
_LEGEND = 18
# Told apart by most who do not see all colours (Okabe and Ito); their red is the objective's.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#555555")


def plot_text(recoveries: Sequence[Recovery], objective_s: float) -> str:
    """Return one bar a recovery, target by target, each the oldest first, with a mark where the objective lies."""
    top = max([objective_s, *(recovery.seconds for recovery in recoveries)])
    mark = round(_BAR * objective_s / top)
    lines = []
    targets = sorted({recovery.target for recovery in recoveries})
    for target in targets:
        lines += [target] if len(targets) > 1 else []
        for recovery in recoveries:
            if recovery.target == target:
                filled = max(1, round(_BAR * recovery.seconds / top))
                bar = "".join("█" if place < filled else "│" if place == mark - 1 else " " for place in range(_BAR))
                lines.append(f"{recovery.made:%Y-%m-%d}  {bar}  {format_duration(recovery.seconds)}")
    return "\n".join(lines)


def plot_svg(recoveries: Sequence[Recovery], objective_s: float, *, title: str, objective: str) -> str:
    """Return a picture of the same: a point a recovery over time, a line a target, and a line at the objective.

    ``recoveries``: the oldest first, one at least.
    """
    top = max([objective_s, *(recovery.seconds for recovery in recoveries)]) * 1.1
    first, last = recoveries[0].made.timestamp(), recoveries[-1].made.timestamp()
    span = max(1.0, last - first)

    def place(recovery: Recovery) -> tuple[float, float]:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * (recovery.made.timestamp() - first) / span
        return x, _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * recovery.seconds / top

    by_target: dict[str, list[tuple[float, float]]] = {}
    for recovery in recoveries:
        by_target.setdefault(recovery.target, []).append(place(recovery))
    y = _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * objective_s / top
    height = _HEIGHT + _LEGEND * len(by_target)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_MARGIN}" y="24" font-size="16">{escape(title)}</text>'
        f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d1242f" '
        f'stroke-dasharray="6 4"/><text x="{_MARGIN}" y="{y - 6:.1f}" fill="#d1242f">{escape(objective)}</text>'
        f"{_lines(by_target)}"
        f'<text x="{_MARGIN}" y="{_HEIGHT - 16}">{recoveries[0].made:%Y-%m-%d}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 16}" text-anchor="end">'
        f"{recoveries[-1].made:%Y-%m-%d}</text></svg>\n"
    )


def _lines(by_target: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return each target's line and points in a colour of its own, and below the picture which is whose."""
    parts = []
    for number, (target, points) in enumerate(sorted(by_target.items())):
        colour, y = _COLOURS[number % len(_COLOURS)], _HEIGHT + _LEGEND * number
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        dots = "".join(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4"/>' for px, py in points)
        parts.append(
            f'<g fill="{colour}"><title>{escape(target)}</title>'
            f'<polyline points="{path}" fill="none" stroke="{colour}"/>{dots}'
            f'<circle cx="{_MARGIN + 4}" cy="{y - 4}" r="4"/></g>'
            f'<text x="{_MARGIN + 16}" y="{y}">{escape(target)}</text>'
        )
    return "".join(parts)
