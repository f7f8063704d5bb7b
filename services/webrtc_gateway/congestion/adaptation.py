"""Viewers whose line is too thin for what they asked for get less, and more again when it carries more.

Three steps: what was asked for, the smaller rendition, and the key pictures of that alone. A viewer moves at a key
frame and keeps its tracks; the ladder says when, this does it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import MeshError
from services.webrtc_gateway.congestion.ladder import Ladder, Pace
from services.webrtc_gateway.congestion.line import Sign
from services.webrtc_gateway.congestion.moves import Moves, NoKeyFrame
from services.webrtc_gateway.congestion.smaller import Smaller
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.viewer import Viewer

logger = logging.getLogger(__name__)

_SMALLER, _KEYS_ONLY = 1, 2
# Of what the step above was: key pictures are several others at once, and a line that is just enough has queues.
_MARGIN = 1.2
_MIN_STEP_UP = 1.5  # of what is sent now, where the step above is not known
# A smaller rendition without a packet may have been stopped: what was asked for is tried instead.
SILENT_SECONDS = 10.0
SILENT_KEYS_SECONDS = 60.0  # where only key pictures are sent, which may be far apart


def _nothing() -> None:
    """Of a viewer that nobody looks after any more."""


Moved = Callable[[str, dict[str, Any]], None]
"""Called with the stream and what happened, once a viewer gets something else."""


@dataclass(slots=True)
class _Climber:
    viewer: Viewer
    asked: str
    """The rendition it came for."""
    ladder: Ladder
    needed_bps: dict[int, int] = field(default_factory=dict)
    """Of each step that it had to leave."""
    windows: int = 0
    task: asyncio.Task[None] | None = None
    packets: int = 0
    heard_s: float = 0.0
    """When the viewer was last seen to be sent something new."""

    def is_silent(self, now_s: float) -> bool:
        """It has less than it came for, and of that nothing."""
        if not self.ladder.step or self.viewer.packets_sent != self.packets:
            self.packets, self.heard_s = self.viewer.packets_sent, now_s
        return now_s - self.heard_s > (SILENT_KEYS_SECONDS if self.viewer.keys_only else SILENT_SECONDS)


class Adaptation:
    """The climbers of one gateway."""

    def __init__(
        self,
        moves: Moves,
        smaller: Smaller,
        counters: EgressCounters,
        moved: Moved,
        pace: Pace | None = None,
    ) -> None:
        self._moves, self._smaller, self._counters = moves, smaller, counters
        self._moved = moved
        self._pace = pace or Pace()
        self._climbers: dict[str, _Climber] = {}
        self.thin_count = 0
        """Viewers that have less than they asked for now; safe to read from any thread."""

    def add(self, viewer: Viewer) -> None:
        """Look after a viewer that did not ask for one particular rendition."""
        if not viewer.has_pictures:
            return  # sound is the same in each
        self._look_after(_Climber(viewer, viewer.rendition, Ladder(_KEYS_ONLY, self._pace)))

    def forget(self, viewer: Viewer) -> None:
        self._set_thin(viewer, "")
        climber = self._climbers.pop(viewer.session, None)
        viewer.line.on_judged = _nothing
        if climber is not None and climber.task is not None:
            climber.task.cancel()

    @contextlib.contextmanager
    def left_alone(self, viewer: Viewer) -> Iterator[None]:
        """Somebody else moves the viewer, and it is not looked after any more; as before, should that fail."""
        climber, thin, keys_only = self._climbers.get(viewer.session), viewer.thin, viewer.keys_only
        self.forget(viewer)
        try:
            yield
        except BaseException:  # a cancellation too: what was not done changes nothing
            if climber is not None and viewer.state != "closed":
                self._look_after(climber)
                self._set_thin(viewer, thin)
                viewer.send_keys_only(keys_only)
            raise

    def tick(self, now_s: float) -> None:
        """Once a second: judge each line that has reported since."""
        for climber in self._climbers.values():
            if climber.task is None and climber.is_silent(now_s):
                climber.heard_s = now_s
                self._begin(climber, 0, "", probe=False)
            else:
                self._judge(climber, now_s)

    def _look_after(self, climber: _Climber) -> None:
        climber.task = None
        self._climbers[climber.viewer.session] = climber
        # Where every packet's arrival is known, half a second tells as much as two reports do.
        climber.viewer.line.on_judged = lambda: self._judge(climber, asyncio.get_running_loop().time())

    def _judge(self, climber: _Climber, now_s: float) -> None:
        line = climber.viewer.line
        if climber.task is not None or line.windows == climber.windows:
            return
        climber.windows, sign = line.windows, line.sign
        step = climber.ladder.next_step(sign, line.calm, now_s, probes=line.measured)
        if step != climber.ladder.step:
            self._begin(climber, step, sign, probe=line.measured and step < climber.ladder.step)

    def _begin(self, climber: _Climber, step: int, sign: Sign, *, probe: bool) -> None:
        climber.task = asyncio.create_task(self._climb(climber, step, sign, probe), name="adaptation")

    async def _climb(self, climber: _Climber, step: int, sign: Sign, probe: bool) -> None:
        viewer, before = climber.viewer, climber.viewer.rendition
        try:
            if probe:
                needed_bps = int(climber.needed_bps.get(step, viewer.line.bitrate_bps * _MIN_STEP_UP) * _MARGIN)
                if not await viewer.carries(needed_bps):
                    climber.ladder.probe_failed()
                    return
            elif step > climber.ladder.step:
                sent_bps = viewer.feed.video.bitrate_bps or viewer.line.bitrate_bps
                if sent_bps:  # else it came a moment ago
                    climber.needed_bps[climber.ladder.step] = sent_bps
                if viewer.line.overflows:
                    viewer.pause_pictures()  # what comes is broken anyway: the next key picture finds room
            if step < _SMALLER:
                await self._moves.cross(viewer, climber.asked)
            elif before == climber.asked:
                smaller = await self._smaller.ensure(viewer.feed.stream, viewer.feed.codec)
                await self._moves.cross(viewer, smaller)
            viewer.send_keys_only(step == _KEYS_ONLY)
        except NoKeyFrame as error:
            self._failed(climber, "timeout", error.message)
        except MeshError as error:
            self._failed(climber, type(error).__name__, error.message)
        except Exception:  # a bug of ours: the viewer keeps what it has, and the log has the rest
            logger.exception("moving a viewer of %s", viewer.feed.stream)
            self._failed(climber, "internal_error", "")
        else:
            self._done(climber, step, sign, before)
        finally:
            climber.task = None

    def _done(self, climber: _Climber, step: int, sign: Sign, before: str) -> None:
        viewer, loop = climber.viewer, asyncio.get_running_loop()
        down = step > climber.ladder.step
        climber.ladder.moved(step, loop.time(), viewer.line.rtt_s)
        viewer.line.moved()
        if down:
            self._set_thin(viewer, sign)
            self._counters.moved_down[sign or "unknown"] += 1
        else:
            self._set_thin(viewer, viewer.thin if step else "")
            self._counters.moved_up += 1
        detail = {
            "session": viewer.session[:8],
            "from": before,
            "to": viewer.rendition,
            "keys_only": viewer.keys_only,
            "reason": sign or "recovered",
            "bitrate": viewer.line.bitrate_bps,
            "available_bitrate": viewer.line.estimate_bps(loop.time()),
        }
        logger.info("session %s of %s: %s", viewer.session[:8], viewer.feed.stream, detail)
        self._moved(viewer.feed.stream, detail)

    def _set_thin(self, viewer: Viewer, why: str) -> None:
        self.thin_count += bool(why) - bool(viewer.thin)
        viewer.thin = why

    def _failed(self, climber: _Climber, reason: str, message: str) -> None:
        climber.ladder.not_now(asyncio.get_running_loop().time())
        self._counters.not_moved[reason] += 1
        if climber.viewer.state == "waiting":
            climber.viewer.feed.request_key_frame()  # its pictures were paused
        logger.warning("a viewer of %s keeps what it has: %s", climber.viewer.feed.stream, message)
