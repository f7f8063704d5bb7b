"""Reads of a video what a sampling needs, and looks whether that is enough before it is believed.

The picture of a moment is certain when, in one piece, there is a place before it where decoding can begin, and behind
it a packet that is decoded later than the moment: all that is shown up to then lies between the two.
"""

import logging
import math
import threading
from typing import Final

import av

from schemas.errors import MeshError
from schemas.sampling import Sampling
from services.frame_extractor.engine.errors import VideoError
from services.frame_extractor.engine.index import NO_TIME, read_index
from services.frame_extractor.engine.limits import Halt, Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.plan import plan_runs
from services.frame_extractor.engine.targets import Moment, moments
from services.frame_extractor.excerpts import fragments, matroska, transport
from services.frame_extractor.excerpts.held import MAX_BYTES, Held
from services.frame_extractor.excerpts.source import Bounded, Map, Source, TooMuchError

_log = logging.getLogger(__name__)

_MOST_SHARE: Final = 0.4  # of a video: more of it in pieces takes as long as all of it in one go
_MAX_MOMENTS: Final = 512  # each costs a request or two
_ROUNDS: Final = 8
_NEAR_S: Final = 2.0  # edit lists and the order of pictures shift them by less
_BEYOND_S: Final = math.inf  # after the end of any video, whatever an index says


def make_excerpt(
    source: Source, begins: bytes, sampling: Sampling, limits: Limits, stop: threading.Event
) -> list[bytes] | None:
    """The parts of a video of its own, of which the engine takes the same pictures; None: read all of it.

    Args:
        begins: the first bytes of the video.

    Raises:
        StorageError: the video cannot be read.
    """
    if sampling.mode == "frames":  # they would have to be counted
        return None
    try:
        source = Bounded(source)
        map_ = _map(source, begins)
        if map_ is None:
            return None
        held = Held(source, map_, min(MAX_BYTES, int(_MOST_SHARE * source.size_bytes)))
        return held.parts() if _fill(held, map_, sampling, limits, Halt(stop, limits.wall_s)) else None
    except TooMuchError:
        return None
    except (ValueError, IndexError, VideoError, MeshError, av.FFmpegError) as error:
        _log.debug("no excerpt: %s", error)  # what is wrong with it, the whole of it tells better
        return None


def _map(source: Source, begins: bytes) -> Map | None:
    if begins.startswith(matroska.MAGIC):
        return matroska.map_matroska(source)
    if begins[4:8] == fragments.MAGIC:
        return fragments.map_fragments(source)
    if begins[:1] == transport.SYNC.to_bytes():
        return transport.map_transport(source)
    return None


def _fill(held: Held, map_: Map, sampling: Sampling, limits: Limits, halt: Halt) -> bool:
    """Read until all is certain; False: that cannot be."""
    first, last = Moment(-1, 0.0, 0), Moment(-2, _BEYOND_S, -1)
    wider: dict[float, tuple[int, int]] = {}
    asked = [first, last]
    for _ in range(_ROUNDS):
        held.add([map_.around(one.timestamp_s, *wider.get(one.timestamp_s, (0, 0))) for one in asked])
        if halt.is_set():
            return False
        look = _Look(held, limits, halt)
        if not look.timed or not look.agrees(map_):
            return False
        ends = [first, last._replace(picture=len(look.index.picture_pts) - 1)]
        chosen = moments(sampling, look.index, limits)
        if len(chosen) > _MAX_MOMENTS:
            return False
        # The moments are those of the whole video once its first and its last picture are known.
        known = {one.timestamp_s for one in asked}
        asked = [*ends, *chosen]
        complete = all(one.timestamp_s in known for one in asked)
        for one in asked:
            if one.timestamp_s not in known:
                continue
            before, after = wider.get(one.timestamp_s, (0, 0))
            lacks = look.lacks(one, map_.around(one.timestamp_s, before, after)[0])
            if lacks is not None:
                complete = False
                wider[one.timestamp_s] = (before + 1, after) if lacks == "before" else (before, after + 1)
        if complete:
            return True
    return False


class _Look:
    """What the pieces say so far."""

    def __init__(self, held: Held, limits: Limits, halt: Halt) -> None:
        """Raises:
        VideoError: they are no video.
        """
        self._held = held
        data = b"".join(held.parts())
        video = OpenVideo.of_bytes(data)
        self.index = read_index(video, limits, halt)
        positions, durations, at = [], [], -1
        with video.opened(halt) as (container, stream):
            for packet in container.demux(stream):
                if packet.size:
                    at = packet.pos if packet.pos is not None and packet.pos >= 0 else at
                    positions.append(at)
                    durations.append(packet.duration or 0)
        self._pieces = [held.number_of(position) for position in positions]
        index = self.index
        # Without the duration of the last picture that of the video is an average, which pieces do not have.
        self.timed = (
            not index.numbered
            and index.duration_told
            and not index.note
            and not index.shift.any()  # a clock that was set back, perhaps also where nobody looks
            and len(positions) == len(index.pts)
            and durations[int(index.picture_packet[-1])] > 0
        )

    def agrees(self, map_: Map) -> bool:
        """Whether pieces begin when the map says; where their own times are broken, others were made up for them."""
        index = self.index
        for number, start in enumerate(self._held.starts()):
            told_s = map_.time_of(start)
            if told_s is not None:
                if number not in self._pieces:
                    return False
                begins_s = index.seconds(int(index.pts[self._pieces.index(number)]))
                if abs(begins_s - told_s) > _NEAR_S:
                    return False
        return True

    def lacks(self, moment: Moment, start: int) -> str | None:
        """`before` or `after`, where the pieces do not hold enough for a moment that was read from `start` on."""
        index = self.index
        packet = int(index.picture_packet[moment.picture])
        piece = self._pieces[packet]
        (run,) = plan_runs(index, [moment])
        expected = self._held.number_at(start)
        if piece != expected or self._pieces[run.first] != expected or not index.entry[run.first]:
            # Of a picture in a piece before it, what would show it is missing here.
            return "before" if piece <= expected else "after"
        if expected == self._held.last:
            return None  # up to the end of the video: whoever asks for its last picture has that
        at = int(index.picture_pts[0]) + moment.timestamp_s / float(index.time_base)
        for later in range(packet + 1, len(self._pieces)):
            if self._pieces[later] != piece:
                break
            if index.dts[later] != NO_TIME and index.dts[later] + index.shift[later] > at:
                return None
        return "after"
