"""test://?size=1280x720&fps=30&timecode=1&tone=1 : a moving pattern with sound, for demos and tests."""

import threading
import time
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import msgspec

from schemas.errors import InvalidValue
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from schemas.units import parse_size
from services.capture.settings import CaptureSettings
from services.capture.sink import RAW_SAMPLE_RATE, Picture, StreamSink
from services.capture.sources.base import Source
from shared.media.pacing import Pacer
from shared.media.pattern import MIN_HEIGHT, MIN_WIDTH, Pattern
from shared.media.timecode import burn
from shared.media.tone import tone
from shared.ring import RingGeometry

_NS = 1_000_000_000
_BLOCK_SAMPLES = 960  # 20 ms at 48 kHz
_CHANNELS = 2
_IDLE_WAIT_SECONDS = 0.02  # how soon the pattern starts when somebody begins to look


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: str = "1280x720"
    fps: float = 30.0
    timecode: bool = False
    tone: bool = True


class PatternSource(Source):
    """Draws only while somebody looks; its timeline runs on regardless."""

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        query = _parse(spec, url)
        width, height = parse_size(spec.size or query.size, "size")
        self._geometry = RingGeometry(pixel_format="yuv420p", width=width, height=height)
        self._fps = spec.fps or query.fps
        self._timecode = query.timecode and not spec.timecode  # the sink burns it when the spec asks
        self._tone = query.tone and spec.audio
        self._pattern = Pattern(width, height)

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: a query value that is not one, or a size too small for the pattern.
        """
        query = _parse(spec, spec.source)
        width, height = parse_size(spec.size or query.size, "size")
        if width < MIN_WIDTH or height < MIN_HEIGHT:
            raise InvalidValue("size", f"{width}x{height}", f"the pattern needs {MIN_WIDTH}x{MIN_HEIGHT} or more")
        if not 0 < query.fps <= 240:
            raise InvalidValue("fps", query.fps, "use more than 0 and at most 240")

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        width, height = self._geometry.width, self._geometry.height
        sink.live(
            VideoInfo(codec="raw", width=width, height=height, fps=self._fps, pixel_format="yuv420p"),
            AudioInfo(codec="pcm", sample_rate=RAW_SAMPLE_RATE, channels=_CHANNELS) if self._tone else None,
            (),
        )
        epoch_ns = time.time_ns()
        pacer = Pacer()
        duration_ns = round(_NS / self._fps)
        number, sample = 0, 0
        while True:
            media_ns = round(number * _NS / self._fps)
            if not pacer.wait(media_ns, stop):
                return
            sink.arrived()
            sink.decoding(sink.wants_raw)
            if sink.wants_raw:
                sink.picture(
                    self._geometry,
                    partial(self._draw, number),
                    pts_ns=epoch_ns + media_ns,
                    duration_ns=duration_ns,
                )
            # Sound is made up to the end of this picture, block by block, so both share one clock.
            while self._tone and sample * _NS // RAW_SAMPLE_RATE <= media_ns:
                if sink.wants_raw:
                    pts_ns = epoch_ns + sample * _NS // RAW_SAMPLE_RATE
                    block = tone(sample, _BLOCK_SAMPLES, RAW_SAMPLE_RATE, _CHANNELS).reshape(-1, _CHANNELS)
                    sink.sound(block, pts_ns=pts_ns, captured_ns=pts_ns)
                sample += _BLOCK_SAMPLES
            number += 1

    def _draw(self, number: int, array: Picture) -> None:
        now_ns = time.time_ns()
        self._pattern.draw(array, number, now_ns)
        if self._timecode:
            burn(array, time.time_ns() // 1_000_000, "yuv420p")


def _parse(spec: StreamSpec, url: str) -> _Query:
    pairs = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    try:
        return msgspec.convert(pairs, _Query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue("source", spec.source, f"{error}; test:// takes size, fps, timecode, tone") from None
