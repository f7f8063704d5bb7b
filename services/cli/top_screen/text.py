"""A scene as plain text, for scripts and for terminals that can do no more."""

from typing import TypeVar

from services.cli.table import printable
from services.cli.top_screen.cells import EVENTS, SERVICES, STREAMS, WORK, Column, clock, fitting
from services.cli.top_screen.scene import Scene

RowT = TypeVar("RowT")
_SHOWN_EVENTS = 10
_GAP = 2


def headline(scene: Scene) -> str:
    """The mesh in one line."""
    live = sum(row.state == "live" for row in scene.streams)
    where = scene.server.partition("://")[2] or scene.server
    return (
        f"{where}  {_many(len(scene.services), 'service')} on {_many(scene.nodes, 'node')}, "
        f"{_many(len(scene.streams), 'stream')}, {live} live, {_many(scene.viewers, 'viewer')}"
    )


def away(scene: Scene) -> str:
    """What is said while the bus is away; empty: it is there."""
    if scene.connected:
        return ""
    return f"THE BUS IS AWAY for {scene.away_s:.0f} s: what is shown is as old. Trying again …"


def troubles(scene: Scene) -> list[str]:
    """What is wrong, and what could not be found out; of a mesh with nothing in it what to do."""
    rows = (*((row.stream, row.error) for row in scene.streams), *((row.name, row.error) for row in scene.work))
    found = [f"{name}: {error}" for name, error in rows if error] + list(scene.notes)
    if not scene.streams and scene.connected:
        found.append('no streams yet: framemesh call capture.start \'{"stream":"cam0","source":"test://"}\'')
    return [printable(line) for line in found]


def describe(scene: Scene, width: int) -> str:
    lines = [f"{clock(scene.at_ns)}  {headline(scene)}"]
    if said := away(scene):
        lines.append(said)
    lines += _table(STREAMS, list(scene.streams), width)
    lines += _table(SERVICES, list(scene.services), width)
    lines += _table(WORK, list(scene.work), width)
    lines += _table(EVENTS, list(scene.events[-_SHOWN_EVENTS:]), width)
    if wrong := troubles(scene):
        lines += ["", *(f"! {one}" for one in wrong)]
    return "\n".join(line[:width] for line in lines)


def _table(columns: tuple[Column[RowT], ...], rows: list[RowT], width: int) -> list[str]:
    """None of what there is none of; else a blank line before it."""
    if not rows:
        return []
    shown = fitting(columns, rows, width, _GAP)
    cells = [[one.title for one in shown], *([one.cell(row) for one in shown] for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(shown))]
    lines = [
        (" " * _GAP)
        .join(
            text.rjust(wide) if one.right else text.ljust(wide)
            for text, wide, one in zip(line, widths, shown, strict=True)
        )
        .rstrip()
        for line in cells
    ]
    return ["", *lines]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
