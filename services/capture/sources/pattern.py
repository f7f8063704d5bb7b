"""test://?size=1280x720&fps=30&timecode=1&tone=1 : a moving pattern with sound, for demos and tests."""

import threading
import time
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np

from schemas.errors import InvalidValue
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from schemas.units import NS_PER_SECOND, parse_size
from services.capture.settings import CaptureSettings
from services.capture.shaping import only_shaping_changed
from services.capture.sink import StreamSink
from services.capture.sound_blocks import RAW_SAMPLE_RATE
from services.capture.sources.base import Source
from shared.media.pacing import Pacer
from shared.media.pattern import COLOUR_SPACE, MIN_HEIGHT, MIN_WIDTH, Pattern
from shared.media.timecode import burn
from shared.media.tone import tone
from shared.pixel_formats import Picture
from shared.ring import RingGeometry

_BLOCK_SAMPLES = 960  # 20 ms at 48 kHz
_CHANNELS = 2


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: str = "1280x720"
    fps: float = 30.0
    timecode: bool = False
    tone: bool = True


class _Drawing:
    """How the pictures of one spec are made."""

    def __init__(self, spec: StreamSpec, query: _Query) -> None:
        self.shaped = _is_shaped(spec)
        self.geometry = RingGeometry("yuv420p", *_drawn_size(spec, query))
        self.fps = spec.fps or query.fps
        self._timecode = query.timecode and not spec.timecode  # the sink burns it when the spec asks
        self._pattern = Pattern(self.geometry.width, self.geometry.height)
        self._canvas: Picture = np.empty(self.geometry.array_shape if self.shaped else 0, np.uint8)

    def write(self, number: int, sink: StreamSink, pts_ns: int) -> None:
        """Draw the picture of this number and hand it over."""
        duration_ns = round(NS_PER_SECOND / self.fps)
        if self.shaped:
            self._draw(number, self._canvas)
            sink.image(self._canvas, "yuv420p", pts_ns=pts_ns, duration_ns=duration_ns, colour_space=COLOUR_SPACE)
        else:
            draw = partial(self._draw, number)
            sink.picture(self.geometry, draw, pts_ns=pts_ns, duration_ns=duration_ns, colour_space=COLOUR_SPACE)

    def _draw(self, number: int, array: Picture) -> None:
        self._pattern.draw(array.view(np.uint8), number, time.time_ns())
        if self._timecode:
            burn(array, time.time_ns() // 1_000_000, "yuv420p")


class PatternSource(Source):
    """Draws only while somebody looks; its timeline runs on regardless."""

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self._query = _parse(spec, url)
        self._drawing = _Drawing(spec, self._query)
        self._tone = self._query.tone and spec.audio

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: a query value that is not one, or a size too small for the pattern.
        """
        query = _parse(spec, spec.source)
        width, height = _drawn_size(spec, query)
        if width < MIN_WIDTH or height < MIN_HEIGHT:
            raise InvalidValue("size", f"{width}x{height}", f"the pattern needs {MIN_WIDTH}x{MIN_HEIGHT} or more")
        if not 0 < query.fps <= 240:
            raise InvalidValue("fps", query.fps, "use more than 0 and at most 240")

    def adjust(self, spec: StreamSpec) -> bool:
        if not only_shaping_changed(self.spec, spec) or spec.fps != self.spec.fps:
            return False
        self._drawing, self.spec = _Drawing(spec, self._query), spec
        return True

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        geometry, fps = self._drawing.geometry, self._drawing.fps
        sink.live(
            VideoInfo(codec="raw", width=geometry.width, height=geometry.height, fps=fps, pixel_format="yuv420p"),
            AudioInfo(codec="pcm", sample_rate=RAW_SAMPLE_RATE, channels=_CHANNELS) if self._tone else None,
            (),
        )
        epoch_ns = time.time_ns()
        pacer = Pacer()
        number, sample = 0, 0
        while True:
            media_ns = round(number * NS_PER_SECOND / fps)
            if not pacer.wait(media_ns, stop):
                return
            sink.arrived()
            sink.decoding(sink.wants_raw)
            if sink.wants_raw:
                self._drawing.write(number, sink, epoch_ns + media_ns)
            # Sound is made up to the end of this picture, block by block, so both share one clock.
            while self._tone and sample * NS_PER_SECOND // RAW_SAMPLE_RATE <= media_ns:
                if sink.wants_sound:
                    pts_ns = epoch_ns + sample * NS_PER_SECOND // RAW_SAMPLE_RATE
                    block = tone(sample, _BLOCK_SAMPLES, RAW_SAMPLE_RATE, _CHANNELS).reshape(-1, _CHANNELS)
                    sink.sound(block, pts_ns=pts_ns, captured_ns=pts_ns)
                sample += _BLOCK_SAMPLES
            number += 1


def _is_shaped(spec: StreamSpec) -> bool:
    """Whether there is more to do than to draw in the size that is asked for, straight into the ring."""
    return bool(spec.masks or spec.crop or spec.rotate or spec.pixel_format not in (None, "yuv420p"))


def _drawn_size(spec: StreamSpec, query: _Query) -> tuple[int, int]:
    return parse_size(query.size if _is_shaped(spec) else spec.size or query.size, "size")


def _parse(spec: StreamSpec, url: str) -> _Query:
    pairs = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    try:
        return msgspec.convert(pairs, _Query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue("source", spec.source, f"{error}; test:// takes size, fps, timecode, tone") from None
