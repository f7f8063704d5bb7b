"""screen://:0?size=1280x720&offset=100,50&fps=30&cursor=1 : a display of this machine, or a part of it (X11).

The display is the URL's or, of `screen://`, the one in DISPLAY; who may look at it XAUTHORITY says, both in the
environment of capture. Only `size` at `offset` is taken from the X server; `crop` and the stream's `size` are done
afterwards. Taken only while somebody looks.
"""

import os
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import av
import msgspec
import numpy as np

from schemas.errors import InvalidValue, Unavailable
from schemas.resources import StreamSpec, VideoInfo
from schemas.units import NS_PER_SECOND, parse_size
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.container_source import ContainerSource
from shared.media.pacing import Pacer
from shared.netguard import Policy, check, interruptible

if TYPE_CHECKING:
    from av.container import InputContainer

_MAX_OFFSET_PIXELS = 32_767  # of X11's coordinates
_LOOK_SECONDS = 1.0  # how often an X server that nobody looks at is asked whether it is there


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: str = ""
    offset: str = "0,0"
    fps: float = 30.0
    cursor: bool = True


class ScreenSource(ContainerSource):
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self._query, self._offset = _parse(spec)
        self._what = f"source {spec.source!r}"

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: an option that there is not, or a value that cannot be.
        """
        _parse(spec)

    def probe(self) -> None:
        """Raises:
        Unavailable: there is no such display here.
        InvalidValue: the area is not within it.
        """
        with self._open():
            return

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        with interruptible(stop), self._open() as container:
            video = container.streams.video[0]
            width, height = video.width, video.height
        fps = self._query.fps
        sink.live(VideoInfo(codec="raw", width=width, height=height, fps=fps), None, ())
        while not stop.is_set():
            sink.decoding(sink.wants_raw)
            if sink.wants_raw:
                self._show(sink, stop)
            else:
                self._wait(sink, stop)

    def _show(self, sink: StreamSink, stop: threading.Event) -> None:
        """Write the pictures for as long as somebody looks."""
        duration_ns = round(NS_PER_SECOND / self._query.fps)
        with interruptible(stop), self._open() as container:
            try:
                for frame in container.decode(video=0):
                    if stop.is_set() or not sink.wants_raw:
                        return
                    now_ns = time.time_ns()
                    sink.arrived()
                    sink.frame(frame, pts_ns=now_ns, duration_ns=duration_ns, captured_ns=now_ns)
            except av.FFmpegError:
                pass
        if not stop.is_set():
            raise Unavailable(f"{self._what}: the X server has gone")

    def _wait(self, sink: StreamSink, stop: threading.Event) -> None:
        """Let time pass as if the pictures were taken, until somebody looks; see now and then that they could be."""
        pacer, duration_ns = Pacer(), round(NS_PER_SECOND / self._query.fps)
        for number in range(max(1, round(_LOOK_SECONDS * self._query.fps))):
            if not pacer.wait(number * duration_ns, stop) or sink.wants_raw:
                return
            sink.arrived()
        with interruptible(stop), self._open() as container:
            if stillness := sink.stillness:
                for frame in container.decode(video=0):
                    stillness.compare(frame.to_ndarray(format="gray").astype(np.uint8, copy=False))
                    break

    def _open(self) -> "InputContainer":
        policy = Policy(schemes=frozenset(("screen",)))
        display = check(self.url, policy, field="source").host or os.environ.get("DISPLAY", "")
        if not display:
            raise Unavailable(f"{self._what}: no display; name one, screen://:0, or set DISPLAY for capture")
        options = {
            "fpsprobesize": "0",  # every picture that libav looks at first is one late
            "analyzeduration": "1",
            "framerate": f"{self._query.fps:g}",
            "draw_mouse": str(int(self._query.cursor)),
            "grab_x": str(self._offset[0]),
            "grab_y": str(self._offset[1]),
        }
        if self._query.size:
            options["video_size"] = self._query.size
        timeout = (self.settings.open_timeout_seconds, self.settings.read_timeout_seconds)
        try:
            return av.open(display, "r", format="x11grab", container_options=options, timeout=timeout)
        except av.ArgumentError:
            raise InvalidValue("source", self.spec.source, "the area does not lie within the screen") from None
        except (av.FFmpegError, ValueError):
            raise Unavailable(
                f"{self._what}: display {display} cannot be opened; is an X server running there, and may capture "
                "use it (XAUTHORITY)?"
            ) from None


def _parse(spec: StreamSpec) -> tuple[_Query, tuple[int, int]]:
    """The options, and where the area begins."""
    try:
        query = msgspec.convert(dict(parse_qsl(urlsplit(spec.source).query)), _Query, strict=False)
    except msgspec.ValidationError as error:
        names = ", ".join(_Query.__struct_fields__)
        raise InvalidValue("source", spec.source, f"{error}; screen:// takes {names}") from None
    if query.size:
        parse_size(query.size, "size")
    if not 0 < query.fps <= 240:
        raise InvalidValue("source", spec.source, "use an fps of more than 0 and at most 240")
    left, comma, top = query.offset.partition(",")
    if not (comma and left.isascii() and left.isdigit() and top.isascii() and top.isdigit()):
        raise InvalidValue("source", spec.source, "write the offset as pixels from the left and the top: offset=100,50")
    offset = int(left), int(top)
    if max(offset) > _MAX_OFFSET_PIXELS:
        raise InvalidValue("source", spec.source, f"use an offset of at most {_MAX_OFFSET_PIXELS}")
    return query, offset
