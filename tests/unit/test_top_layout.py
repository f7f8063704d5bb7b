"""The live screen in a small terminal and without colours: every table is there, and what is wrong is seen first."""

import argparse
import asyncio

import pytest
from rich.text import Text

from services.cli.top_screen.app import TopApp
from services.cli.top_screen.panel import Panel
from services.cli.top_screen.scene import Scene, ServiceRow, StreamRow, WorkRow

pytestmark = pytest.mark.unit

_SERVICES = ("capture", "hw-encode", "publisher", "webrtc-gateway", "frame-extractor", "cloud-mix-proxy", "io-signal")
_STATES = ("live", "stalled", "live", "connecting", "away")
SCENE = Scene(
    at_ns=1,
    server="nats://h:1",
    streams=tuple(
        StreamRow(stream=f"cam{at:02}", state=_STATES[at % len(_STATES)], error="x" * 99) for at in range(50)
    ),
    services=tuple(
        ServiceRow(service=name, node="n", number=1, version="1", cpu_percent=1, rss_bytes=1, restarts=0, up_s=1)
        for name in _SERVICES
    ),
    work=tuple(WorkRow(kind="job", name=f"job-{at}", state="running") for at in range(9)),
)


class _Still(TopApp):
    """Shows what it is given, of no bus."""

    def _follow(self) -> None:  # type: ignore[override]  # the original is a worker
        pass


async def _look() -> tuple[dict[str, dict[str, int]], list[list[Text]]]:
    """By the table with the focus, how many rows of each are seen; states as they are sorted, also without colours."""
    app = _Still(argparse.Namespace(), 1.0)
    async with app.run_test(size=(80, 24)) as pilot:
        app.show(SCENE)
        seen: dict[str, dict[str, int]] = {}
        panels = {str(panel.id): panel for panel in app.query(Panel)}
        for name, panel in panels.items():
            panel.focus()
            await pilot.pause()
            seen[name] = {one: app.screen.find_widget(table).visible_region.height for one, table in panels.items()}
        streams: Panel[StreamRow] = panels["streams"]
        streams.sort_next()
        coloured = list(streams.get_column_at(1))
        app.no_color = True
        streams.turn_round()
        return seen, [coloured, list(streams.get_column_at(1))[::-1]]


def test_small_terminals_show_every_table_and_what_is_wrong_is_seen_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    seen, (coloured, plain) = asyncio.run(_look())
    for focused, heights in seen.items():
        assert all(height >= 2 for height in heights.values()), (focused, heights)  # its titles, and a row
    assert [seen[name][name] for name in ("streams", "services", "work")] == [8, 8, 8]
    assert list(dict.fromkeys(cell.plain for cell in coloured)) == ["away", "stalled", "connecting", "live"]
    assert [str(coloured[at].style) for at in (0, -1)] == ["bold red", "green"]
    assert [str(plain[at].style) for at in (0, -1)] == ["bold reverse", "none"]
