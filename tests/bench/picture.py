"""The summary as a picture: of each row the goal as a line, ours and the peer's as bars, each row on its own scale."""

from itertools import groupby
from typing import Any

from tests.support.svg import BAD, FAINT, GOOD, INK, RULE, Svg

_WIDTH = 1080.0
_MARGIN = 24.0
_HEAD = 84.0
_ROW, _GROUP = 30.0, 32.0
_BARS_LEFT, _BARS_RIGHT = 330.0, 800.0
_NUMBERS = 816.0
_BAR = 9.0
_OURS, _PEER = "#0969da", "#b6bec7"
_SCALE_ROOM = 1.06  # what is longest ends before the numbers


def draw(found: dict[str, Any]) -> str:
    """`found` as in summary.json."""
    groups = [(name, list(rows)) for name, rows in groupby(found["rows"], key=lambda row: str(row["group"]))]
    height = _HEAD + sum(_GROUP + _ROW * len(rows) for _, rows in groups) + _MARGIN
    svg = Svg(_WIDTH, height, "Goal, ours and a peer's")
    svg.text(_MARGIN, 36, "What framemesh was to reach, and what it does", 20, bold=True)
    known = [row for row in found["rows"] if row["reached"] is not None]
    reached = sum(row["reached"] for row in known)
    waiting = len(found["rows"]) - len(known)
    later = f", {waiting} not measured yet" if waiting else ""
    svg.text(
        _MARGIN, 58, f"{reached} of {len(known)} goals reached{later}. Each row has a scale of its own.", 12, FAINT
    )
    _legend(svg)
    y = _HEAD
    for name, rows in groups:
        run = found["runs"][rows[0]["file"]]
        svg.text(_MARGIN, y + 21, name, 14, bold=True)
        svg.text(_WIDTH - _MARGIN, y + 21, run["date"] or "", 10.5, FAINT, "end")
        svg.line([(_MARGIN, y + 27), (_WIDTH - _MARGIN, y + 27)], RULE)
        y += _GROUP
        for row in rows:
            _row(svg, y, row)
            y += _ROW
    return svg.document()


def _legend(svg: Svg) -> None:
    x = _BARS_RIGHT - 40
    svg.box(x, 40, 22, _BAR, _OURS, 2)
    svg.text(x + 28, 49, "ours", 12)
    svg.box(x + 72, 40, 22, _BAR, _PEER, 2)
    svg.text(x + 100, 49, "peer", 12)
    svg.line([(x + 150, 36), (x + 150, 54)], INK, 1.6, "3 2")
    svg.text(x + 158, 49, "goal", 12)


def _row(svg: Svg, y: float, row: dict[str, Any]) -> None:
    colour = {True: GOOD, False: BAD, None: RULE}[row["reached"]]
    svg.dot(_MARGIN + 8, y + _ROW / 2, 4, colour)
    svg.text(_MARGIN + 20, y + _ROW / 2 + 4, row["what"], 12)
    longest = max(row["goal"], row["ours"] or 0.0, row["peer"] or 0.0) or 1.0
    pixels = (_BARS_RIGHT - _BARS_LEFT) / (longest * _SCALE_ROOM)
    if row["ours"] is not None:
        svg.box(_BARS_LEFT, y + 5, max(1.5, row["ours"] * pixels), _BAR, _OURS, 2)
    if row["peer"] is not None:
        svg.box(_BARS_LEFT, y + 5 + _BAR + 2, max(1.5, row["peer"] * pixels), _BAR, _PEER, 2)
    goal_x = _BARS_LEFT + row["goal"] * pixels
    svg.line([(goal_x, y + 1), (goal_x, y + _ROW - 3)], INK, 1.6, "3 2")
    svg.text(_NUMBERS, y + 14, _ours(row), 12, INK if row["ours"] is not None else FAINT, bold=row["ours"] is not None)
    svg.text(_NUMBERS, y + 26, _beside(row), 10, FAINT)


def _ours(row: dict[str, Any]) -> str:
    if row["ours"] is None:
        return "not measured yet"
    than = f"  ({row['times_better']:.3g}x)" if row["times_better"] else ""
    return f"{row['ours']:.3g} {row['unit']}".rstrip() + than


def _beside(row: dict[str, Any]) -> str:
    sign = "at most" if row["better"] == "lower" else "at least"
    peer = f", {row['peer_name']} {row['peer']:.3g}" if row["peer"] is not None else ""
    return f"{sign} {row['goal']:.3g}{peer}"
