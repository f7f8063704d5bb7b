"""What those who look at pictures get while the source is lost: `on_loss` hold, slate or none."""

import logging

from schemas.errors import MeshError
from schemas.frames import FrameRef
from schemas.resources import StreamSpec
from schemas.units import parse_size
from services.capture.sink import StreamSink
from services.capture.slate import short_reason, since_text, slate
from shared.ring import RingError, RingGeometry

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5  # somebody who joins waits no longer; encoders and viewers' timeouts are content with less
_SLATE_SIZE = (1280, 720)  # of a stream whose pictures nobody has seen yet


class Filler:
    """Writes into one stream's ring in place of its source."""

    def __init__(self, stream: str, sink: StreamSink) -> None:
        self._stream, self._sink = stream, sink
        self._said = ""

    def write(self, spec: StreamSpec, written: int, lost_since_ns: int, reason: str) -> None:
        """One picture, as `on_loss` says; blocks for some milliseconds, for a new slate for a tenth of a second.

        `written`: how many the source had written when it was seen to be lost; nothing is written once it is more.
        """
        if not self._sink.wants_raw:
            return
        try:
            if spec.on_loss == "hold":
                self._sink.frames.repeat(written)
            elif spec.on_loss == "slate":
                geometry = _geometry(spec, self._sink.frames.newest)
                text = short_reason(reason, spec.source)
                picture = slate(geometry, self._stream, since_text(lost_since_ns), text)
                self._sink.frames.stand_in(geometry, picture, written)
        except (MeshError, RingError) as error:  # no memory, no Pillow, another writer: the source's state stays
            if str(error) != self._said:
                self._said = str(error)
                log.warning("nothing stands in for the lost source: %s", error, extra={"stream": self._stream})


def _geometry(spec: StreamSpec, newest: FrameRef | None) -> RingGeometry:
    if newest is not None:
        return RingGeometry(pixel_format=newest.pixel_format, width=newest.width, height=newest.height)
    width, height = parse_size(spec.size) if spec.size else _SLATE_SIZE
    return RingGeometry(pixel_format=spec.pixel_format or "yuv420p", width=width & ~1, height=height & ~1)
