"""A smaller rendition that somebody stops: who was given it gets what it asked for."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from test_viewer_in_step import Rendition, Wire, viewer_of

from schemas.errors import NotFound
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


class Climbing:
    """One viewer of `main` that is looked after, and what it is moved to."""

    def __init__(self, source: Source, feeds: Feeds, used: OpenFeed) -> None:
        self.source, self.feeds, self._used = source, feeds, used
        self.moves: Counter[str] = Counter()
        self.adaptation = Adaptation(
            Moves(feeds, self._swap),
            source,
            EgressCounters(),
            lambda _, detail: self.moves.update([f"{detail['to']}"]),
            Pace(settle=0),
        )
        self.viewer = viewer_of(used.feed, Wire())
        self.now_s = 1000.0
        self._tick, self._began_ns = 0, time.time_ns()
        self.adaptation.add(self.viewer)

    def _swap(self, _viewer: Viewer, entry: OpenFeed) -> OpenFeed:
        before, self._used = self._used, entry
        return before

    def lose(self) -> None:
        """Three reports in a row say that half is lost."""
        for _ in range(3):
            self.viewer.line.windows += 1
            self.viewer.line.fraction_lost = 0.5
            self.now_s += 1
            self.adaptation.tick(self.now_s)

    async def play_until(self, rendition: str, *, stopped: str = "") -> None:
        async with patience(2):
            while self.viewer.rendition != rendition or not self.moves[rendition]:
                self._tick += 1
                for name, playing in tuple(self.source.playing.items()):
                    if name != stopped:
                        playing.play(self._began_ns, self._tick)
                await asyncio.sleep(0.001)


@pytest.fixture
async def climbing() -> AsyncIterator[Climbing]:
    source = Source()
    feeds = Feeds(source, EgressCounters())
    used = await feeds.acquire("cam0", "main")
    used.feed.promise("h264")
    made = Climbing(source, feeds, used)
    yield made
    made.adaptation.forget(made.viewer)
    made.viewer.close("done")
    await feeds.close()


async def test_who_is_given_a_rendition_that_stops_gets_what_it_asked_for(climbing: Climbing) -> None:
    viewer, adaptation = climbing.viewer, climbing.adaptation
    climbing.lose()
    await climbing.play_until("low")
    assert (viewer.thin, adaptation.thin_count) == ("loss", 1)
    now_s = climbing.now_s
    adaptation.tick(now_s)
    adaptation.tick(now_s + SILENT_SECONDS / 2)
    climbing.moves.clear()
    adaptation.tick(now_s + SILENT_SECONDS + 1)
    await climbing.play_until("main", stopped="low")
    assert (viewer.thin, adaptation.thin_count) == ("", 0)


async def test_a_move_by_hand_that_fails_leaves_the_viewer_as_it_was(climbing: Climbing) -> None:
    viewer, adaptation = climbing.viewer, climbing.adaptation
    climbing.lose()
    await climbing.play_until("low")

    def fail() -> None:
        with adaptation.left_alone(viewer):
            assert (viewer.thin, adaptation.thin_count) == ("", 0)
            raise NotFound("there is no such rendition")

    with pytest.raises(NotFound):
        fail()
    assert (viewer.thin, adaptation.thin_count) == ("loss", 1)
    # It is still known to have come for main.
    adaptation.tick(climbing.now_s)
    adaptation.tick(climbing.now_s + SILENT_SECONDS + 1)
    await climbing.play_until("main", stopped="low")


async def test_a_move_by_hand_is_not_undone(climbing: Climbing) -> None:
    with climbing.adaptation.left_alone(climbing.viewer):
        pass
    climbing.lose()
    await asyncio.sleep(0)
    assert (climbing.viewer.rendition, climbing.source.playing.keys()) == ("main", {"main"})
