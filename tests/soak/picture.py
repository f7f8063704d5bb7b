"""A soak as a picture: a small one for each measure, a line for each thing, and the warm-up in grey."""

import math
from typing import Any

from tests.support.svg import BAD, COLOURS, FAINT, GOOD, INK, RULE, Svg

_COLUMNS = 3
_WIDTH, _HEIGHT = 380.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 16.0, 40.0, 66.0
_HEAD = 56.0
_MARGIN = 16.0
_MOST_LINES = len(COLOURS)  # of one small picture: those that change most
_LEGEND_COLUMNS = 2
_WARM = "#f0f2f5"


def draw(found: dict[str, Any]) -> str:
    """`found` as in soak.json."""
    measures = [name for name in found["measures"] if any(one["measure"] == name for one in found["verdicts"])]
    rows = math.ceil(len(measures) / _COLUMNS)
    svg = Svg(_COLUMNS * _WIDTH + 2 * _MARGIN, _HEAD + rows * _HEIGHT + _MARGIN, "What grows under steady load")
    svg.text(_MARGIN, 28, "What grows under steady load", 18, bold=True)
    bad = sum(not one["good"] for one in found["verdicts"])
    verdict = "all within their limits" if not bad else f"{bad} beyond their limits"
    svg.text(_MARGIN, 46, f"{found['seconds'] / 60:.1f} minutes, {found['date']}: {verdict}", 12, BAD if bad else GOOD)
    for number, name in enumerate(measures):
        x = _MARGIN + number % _COLUMNS * _WIDTH
        y = _HEAD + number // _COLUMNS * _HEIGHT
        lines = [one for one in found["verdicts"] if one["measure"] == name]
        lines.sort(key=lambda one: -abs(one["growth"]))
        _panel(svg, x, y, name, found["measures"][name]["unit"], lines, found)
    return svg.document()


def _panel(
    svg: Svg, x: float, y: float, name: str, unit: str, lines: list[dict[str, Any]], found: dict[str, Any]
) -> None:
    good = all(one["good"] for one in lines)
    shown = lines[:_MOST_LINES]
    more = f", {len(lines) - len(shown)} that change less left out" if len(lines) > len(shown) else ""
    svg.dot(x + 6, y + 16, 4, GOOD if good else BAD)
    svg.text(x + 16, y + 20, name, 13, bold=True)
    svg.text(x + _WIDTH - _RIGHT, y + 20, f"{unit}{more}".removeprefix(", "), 10, FAINT, "end")
    values = [value for one in shown for _, value in one["points"]]
    low, high = min(0.0, *values), max(*values, low_enough(values))
    left, right, top, bottom = x + _LEFT, x + _WIDTH - _RIGHT, y + _TOP - 8, y + _HEIGHT - _BOTTOM
    seconds = max(1.0, float(found["seconds"]))

    def at(second: float, value: float) -> tuple[float, float]:
        return left + (right - left) * second / seconds, bottom - (bottom - top) * (value - low) / (high - low)

    warm_x, _ = at(found["warm_up_seconds"], low)
    svg.box(left, top, warm_x - left, bottom - top, _WARM)
    for value in (low, (low + high) / 2, high):
        _, line_y = at(0, value)
        svg.line([(left, line_y), (right, line_y)], RULE, 0.6)
        svg.text(left - 5, line_y + 3.5, f"{value:.0f}" if high - low > 4 else f"{value:.1f}", 9.5, FAINT, "end")
    svg.text(right, bottom + 12, f"{seconds / 60:.1f} min".replace(".0 ", " "), 9.5, FAINT, "end")
    for colour, one in zip(COLOURS, shown, strict=False):
        svg.line([at(second, value) for second, value in one["points"]], colour, 1.4)
    for number, (colour, one) in enumerate(zip(COLOURS, shown, strict=False)):
        legend_x = left + number % _LEGEND_COLUMNS * (right - left) / _LEGEND_COLUMNS
        legend_y = bottom + 24 + number // _LEGEND_COLUMNS * 10.5
        svg.box(legend_x, legend_y - 5, 9, 3, colour)
        ink = INK if one["good"] else BAD
        svg.text(legend_x + 13, legend_y, f"{one['of']} {one['growth']:+.1f}", 9, ink)


def low_enough(values: list[float]) -> float:
    """A top of the scale for values that are all nought."""
    return min(values) + 1.0
