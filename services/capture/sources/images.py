"""images:///folder/shot-*.png?fps=5 : the pictures of a folder whose names fit, in their order, again and again.

Each has its own size: where sizes differ the stream's size changes with them, unless `size` makes them alike. Decoded
only while somebody looks. What is added is played in the next round.
"""

import fnmatch
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np

from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.resources import StreamSpec, VideoInfo
from schemas.units import NS_PER_SECOND
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.container_source import ContainerSource
from services.capture.sources.picture_reader import read_picture
from shared.media.pacing import Pacer
from shared.netguard import GuardedUrl, Policy, check

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

_MAX_PICTURES = 100_000  # a round of five hours at the default rate; a folder beyond it is a mistake
_LOOK_SECONDS = 1.0  # how often a picture is decoded for `frozen_after` while nobody looks


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fps: float = 5.0


class ImagesSource(ContainerSource):
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self._fps = _parse(spec).fps
        self._bad: set[str] = set()

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: an option that there is not, or a rate that cannot be.
        """
        _parse(spec)

    def probe(self) -> None:
        """Raises:
        NotFound: no picture's name fits.
        """
        self._names(self._guarded())

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        guarded = self._guarded()
        names = self._names(guarded)
        first = next(self._whole(guarded, names, sink), None)
        if first is None:
            raise BadRequest(f"source {self.spec.source}: none of the {len(names)} pictures can be read")
        sink.live(VideoInfo(codec="images", width=first.width, height=first.height, fps=self._fps), None, ())
        pacer, epoch_ns, number, looked_at = Pacer(), time.time_ns(), 0, 0.0
        duration_ns = round(NS_PER_SECOND / self._fps)
        while True:
            for name in names:
                media_ns = round(number * NS_PER_SECOND / self._fps)
                if not pacer.wait(media_ns, stop):
                    return
                number += 1
                path = self._inside(guarded, name)
                if path is None:
                    continue
                sink.arrived(_size(path))
                sink.decoding(sink.wants_raw)
                if sink.wants_raw:
                    if (frame := self._read(path, sink)) is not None:
                        sink.frame(frame, pts_ns=epoch_ns + media_ns, duration_ns=duration_ns)
                elif (stillness := sink.stillness) and time.monotonic() - looked_at >= _LOOK_SECONDS:
                    looked_at = time.monotonic()
                    if (frame := self._read(path, sink)) is not None:
                        stillness.compare(frame.to_ndarray(format="gray").astype(np.uint8, copy=False))
            if not self.spec.loop:
                return
            names = self._names(guarded)

    def _guarded(self) -> GuardedUrl:
        policy = Policy(schemes=frozenset(("images",)), file_roots=self.settings.file_roots)
        return check(self.url, policy, field="source")

    def _names(self, guarded: GuardedUrl) -> list[str]:
        """Names that fit, in order.

        Raises:
            NotFound: there are none.
        """
        assert guarded.file is not None
        try:
            with os.scandir(guarded.file) as entries:
                names = sorted(entry.name for entry in entries if fnmatch.fnmatchcase(entry.name, guarded.path))
        except OSError as error:
            raise NotFound(f"source {self.spec.source}: the folder cannot be read ({error.strerror})") from None
        if not names:
            raise NotFound(f"source {self.spec.source}: no picture's name fits {guarded.path!r} yet")
        if len(names) > _MAX_PICTURES:
            log.warning("%s: only the first %d of %d pictures", self.spec.source, _MAX_PICTURES, len(names))
        return names[:_MAX_PICTURES]

    def _inside(self, guarded: GuardedUrl, name: str) -> Path | None:
        """The resolved path; None for what leads out of the allowed folders, or is no file any more."""
        assert guarded.file is not None
        try:
            path = (guarded.file / name).resolve()
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            return None
        allowed = any(path.is_relative_to(root.resolve()) for root in self.settings.file_roots)
        return path if allowed and path.is_file() else None

    def _whole(self, guarded: GuardedUrl, names: list[str], sink: StreamSink) -> "Iterator[VideoFrame]":
        for name in names:
            if (path := self._inside(guarded, name)) and (frame := self._read(path, sink)) is not None:
                yield frame

    def _read(self, path: Path, sink: StreamSink) -> "VideoFrame | None":
        """The picture; None for one that is damaged, with a line of log for each such file."""
        try:
            return read_picture(path)
        except (BadRequest, OSError) as error:
            sink.dropped["damaged"] += 1
            if len(self._bad) < _MAX_PICTURES and path.name not in self._bad:
                self._bad.add(path.name)
                log.warning("%s: left out: %s", self.spec.source, error, extra={"stream": self.spec.stream})
            return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # taken away a moment ago
        return 0


def _parse(spec: StreamSpec) -> _Query:
    try:
        query = msgspec.convert(dict(parse_qsl(urlsplit(spec.source).query)), _Query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue("source", spec.source, f"{error}; images:// takes fps") from None
    if not 0 < query.fps <= 240:
        raise InvalidValue("source", spec.source, "use an fps of more than 0 and at most 240")
    return query
