"""The encoder at work on one rendition, and the next one when it fails."""

import logging
import time
from collections.abc import Callable
from typing import Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from schemas.errors import Unavailable
from schemas.frames import FrameRef
from schemas.resources import RenditionSpec, VideoInfo
from services.hw_encode.encoders import Choice, explain, first_working, open_encoder
from services.hw_encode.placement import encoded_size

log = logging.getLogger(__name__)

_NS = 1_000_000_000
_DEFAULT_FPS = 30.0
_RETRY_SECONDS = 5.0  # after every encoder has failed: a driver may have recovered, a session may be free


class ActiveEncoder:
    """Chooses, opens, encodes, and moves on to the next encoder when one fails. Belongs to one thread."""

    def __init__(self, spec: RenditionSpec, on_running: Callable[[Choice, VideoInfo], None]) -> None:
        """`on_running` is called each time an encoder has been opened: the next picture must be a key frame."""
        self._spec = spec
        self._on_running = on_running
        self._context: VideoCodecContext | None = None
        self._choice: Choice | None = None
        self._size = (0, 0)
        self._failed_in_use: dict[str, str] = {}
        self._retry_at_seconds = 0.0
        self._none_works: Unavailable | None = None
        self.failovers = 0

    def prepare(self, ref: FrameRef) -> bool:
        """Have an encoder open for pictures like `ref`; True when it was opened just now.

        Raises:
            Unavailable: none works; tried again after a few seconds.
        """
        if self._context is not None and self._size == encoded_size(self._spec, ref):
            return False
        if self._none_works and time.monotonic() < self._retry_at_seconds:
            raise self._none_works
        while not self._open_next(ref):
            pass  # ends: each encoder is tried once, then `first_working` raises
        return True

    def change(self, spec: RenditionSpec) -> "list[av.Packet[Any]]":
        """Go on as `spec` says: the next `prepare` opens an encoder afresh. Returns what the one before still had."""
        self._spec = spec
        self._failed_in_use.clear()
        self._none_works = None
        return self.finish()

    def fits(self, ref: FrameRef) -> bool:
        """Whether the encoder that is open, if one is, takes pictures like `ref`; else `finish` it first."""
        return self._context is None or self._size == encoded_size(self._spec, ref)

    def finish(self) -> "list[av.Packet[Any]]":
        """What the encoder still has; the next `prepare` opens one afresh."""
        context, self._context = self._context, None
        if context is None:
            return []
        try:
            return context.encode(None)
        except av.FFmpegError as error:  # it goes anyway
            log.warning("the last pictures are lost: %s", error, extra={"stream": self._spec.stream})
            return []

    @property
    def pixel_format(self) -> str:
        """What `encode` takes."""
        assert self._choice is not None  # prepare() has been called
        return self._choice.kind.pixel_format

    @property
    def needs_copy(self) -> bool:
        """libav may read a picture after `encode` has returned."""
        return self._choice is None or self._choice.kind.keeps_input

    def encode(self, picture: VideoFrame) -> "list[av.Packet[Any]] | None":
        """The packets that came out; None when the encoder failed: `prepare` the next and give the picture again."""
        assert self._context is not None  # prepare() has been called
        assert self._choice is not None
        try:
            return self._context.encode(picture)
        except av.FFmpegError as error:
            self._give_up(self._choice, error)
            return None

    def _open_next(self, ref: FrameRef) -> bool:
        fps = _NS / ref.duration_ns if ref.duration_ns else _DEFAULT_FPS
        fps = min(fps, self._spec.fps or fps)
        width, height = size = encoded_size(self._spec, ref)
        try:
            choice = first_working(self._spec, width, height, self._failed_in_use)
        except Unavailable as error:
            # All have failed: forget what they failed of, so that the next attempt is one.
            self._failed_in_use.clear()
            self._none_works, self._retry_at_seconds = error, time.monotonic() + _RETRY_SECONDS
            raise
        try:
            self._context = open_encoder(choice.kind, self._spec, width, height, fps)
        except (av.FFmpegError, ValueError) as error:  # works here, but not with these parameters or not any more
            self._give_up(choice, error)
            return False
        self._choice, self._size, self._none_works = choice, size, None
        codec = self._spec.codec
        self._on_running(choice, VideoInfo(codec=codec, width=width, height=height, fps=round(fps, 3)))
        return True

    def _give_up(self, choice: Choice, error: Exception) -> None:
        log.error("encoder %s failed: %s", choice.kind.name, error, extra={"stream": self._spec.stream})
        self._failed_in_use[choice.kind.name] = f"failed in use: {explain(error)}"
        self._context = None
        self.failovers += 1
