"""A smaller rendition that somebody stops: who was given it gets what it asked for."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from test_viewer_in_step import Rendition, Wire, viewer_of

from schemas.packets import VideoCodec
from services.webrtc_gateway.congestion.adaptation import SILENT_SECONDS, Adaptation
from services.webrtc_gateway.congestion.ladder import Pace
from services.webrtc_gateway.congestion.moves import Moves
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.feeds import Feeds, OpenFeed
from services.webrtc_gateway.egress.source import Deliver
from services.webrtc_gateway.egress.viewer import Viewer
from tests.support.pace import patience

pytestmark = pytest.mark.unit


class Playing(Rendition):
    """A rendition as its subscription."""

    tracks, forces_key_frames = ("video", "opus"), True

    def __init__(self, rendition: str, deliver: Deliver) -> None:
        super().__init__(2, 2, 1)
        self.rendition = rendition
        self.feed.deliver = deliver  # type: ignore[method-assign]

    async def cached(self) -> list[Any]:
        return []

    def on_ended(self, ended: Any) -> None: ...

    async def close(self) -> None: ...


class Source:
    def __init__(self) -> None:
        self.playing: dict[str, Playing] = {}

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> Playing:
        assert rendition is not None
        return self.playing.setdefault(rendition, Playing(rendition, deliver))

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        return "h264"

    async def ensure(self, stream: str, codec: VideoCodec | None) -> str:
        return "low"


async def test_who_is_given_a_rendition_that_stops_gets_what_it_asked_for() -> None:
    source, counters, began_ns = Source(), EgressCounters(), time.time_ns()
    feeds = Feeds(source, counters)
    used = await feeds.acquire("cam0", "main")
    used.feed.promise("h264")
    moves: Counter[str] = Counter()

    def swap(_viewer: Viewer, entry: OpenFeed) -> OpenFeed:
        nonlocal used
        before, used = used, entry
        return before

    adaptation = Adaptation(
        Moves(feeds, swap), source, counters, lambda _, detail: moves.update([f"{detail['to']}"]), Pace(settle=0)
    )
    viewer = viewer_of(used.feed, Wire())
    adaptation.add(viewer)
    tick, now_s = 0, 1000.0

    async def play_until(rendition: str, *, stopped: str = "") -> None:
        nonlocal tick
        async with patience(2):
            while viewer.rendition != rendition or not moves[rendition]:
                tick += 1
                for name, playing in tuple(source.playing.items()):
                    if name != stopped:
                        playing.play(began_ns, tick)
                await asyncio.sleep(0.001)

    for _ in range(3):
        viewer.line.windows += 1
        viewer.line.fraction_lost = 0.5
        now_s += 1
        adaptation.tick(now_s)
    await play_until("low")
    assert (viewer.thin, adaptation.thin_count) == ("loss", 1)
    adaptation.tick(now_s)
    adaptation.tick(now_s + SILENT_SECONDS / 2)
    moves.clear()
    adaptation.tick(now_s + SILENT_SECONDS + 1)
    await play_until("main", stopped="low")
    assert (viewer.thin, adaptation.thin_count) == ("", 0)
    adaptation.forget(viewer)
    viewer.close("done")
    await feeds.close()
