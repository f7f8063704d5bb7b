"""The encoder at work on one rendition, and the next one when it fails."""

import logging
import time
from collections.abc import Callable

from av.video.frame import VideoFrame

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.errors import Unavailable
from schemas.frames import FrameRef
from schemas.resources import RenditionSpec, VideoInfo
from schemas.units import NS_PER_SECOND
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import Choice, first_working
from services.hw_encode.kinds import EncoderKind
from services.hw_encode.libav_codec import Codec, Encoded, EncoderFailed
from services.hw_encode.placement import encoded_colours, encoded_size

log = logging.getLogger(__name__)

_DEFAULT_FPS = 30.0
# What every encoder opens for, SVT-AV1 the fewest: a source that says nonsense is encoded nevertheless.
_LOWEST_FPS, _HIGHEST_FPS = 1.0, 240.0
_RETRY_SECONDS = 5.0  # after every encoder has failed: a driver may have recovered, a session may be free
# An encoder's process that worked for so long and died, the last of its kind that works, is started again at once; one
# that dies sooner is not met with a storm of processes.
_STEADY_SECONDS = 1.0

_Form = tuple[tuple[int, int], ColourSpace]
"""Width and height of the pictures that an encoder takes, and their colours."""


class ActiveEncoder:
    """Chooses, opens, encodes, and moves on to the next encoder when one fails. Belongs to one thread."""

    def __init__(
        self,
        spec: RenditionSpec,
        codecs: Codecs,
        on_running: Callable[[Choice, VideoInfo], None],
        on_restarted: Callable[[Choice, str], None] = lambda choice, why: None,
    ) -> None:
        """Args:
        on_running: called each time an encoder has been opened: the next picture must be a key frame.
        on_restarted: called when the encoder's process has died, why, and the same encoder has been opened again.
        """
        self._spec = spec
        self._codecs = codecs
        self._on_running, self._on_restarted = on_running, on_restarted
        self._codec: Codec | None = None
        self._choice: Choice | None = None
        self._form: _Form = ((0, 0), UNSPECIFIED)
        self._failed_in_use: dict[str, str] = {}
        self._retry_at_seconds = 0.0
        # The text alone: an error that is kept keeps the picture it failed at, and with it a slot of the ring.
        self._none_works = ""
        self._opened_at_seconds = 0.0
        self._died: tuple[EncoderKind, str] | None = None
        """The encoder whose process has died after working for long enough, and how."""
        self.failovers = 0
        self.restarts = 0

    def prepare(self, ref: FrameRef) -> bool:
        """Have an encoder open for pictures like `ref`; True when it was opened just now.

        Raises:
            Unavailable: none works; tried again after a few seconds.
        """
        if self._codec is not None and self._form == self._form_of(ref):
            return False
        if self._none_works and time.monotonic() < self._retry_at_seconds:
            raise Unavailable(self._none_works)
        while not self._open_next(ref):
            pass  # ends: each encoder is tried once, then `first_working` raises
        return True

    def change(self, spec: RenditionSpec) -> list[Encoded]:
        """Go on as `spec` says: the next `prepare` opens an encoder afresh. Returns what the one before still had."""
        self._spec = spec
        self._failed_in_use.clear()
        self._none_works = ""
        return self.finish()

    def fits(self, ref: FrameRef) -> bool:
        """Whether the encoder that is open, if one is, takes pictures like `ref`; else `finish` it first."""
        return self._codec is None or self._form == self._form_of(ref)

    def finish(self) -> list[Encoded]:
        """What the encoder still has; the next `prepare` opens one afresh."""
        codec, self._codec = self._codec, None
        if codec is None:
            return []
        try:
            return codec.finish()
        except EncoderFailed as error:  # it goes anyway
            log.warning("the last pictures are lost: %s", error, extra={"stream": self._spec.stream})
            return []
        finally:
            codec.close()

    def close(self) -> None:
        """Give back what is held; `finish` first for what is inside."""
        if self._codec is not None:
            self._codec.close()

    @property
    def pixel_format(self) -> str:
        """What `encode` takes."""
        assert self._choice is not None  # prepare() has been called
        return self._choice.kind.pixel_format

    @property
    def sd_matrix(self) -> bool:
        """It takes BT.601 only."""
        return self._choice is not None and self._choice.kind.sd_matrix

    @property
    def needs_copy(self) -> bool:
        """libav may read a picture after `encode` has returned."""
        return self._codec is None or self._codec.keeps_input

    def encode(self, picture: VideoFrame) -> list[Encoded] | None:
        """The packets that came out; None when the encoder failed: `prepare` the next and give the picture again."""
        assert self._codec is not None  # prepare() has been called
        assert self._choice is not None
        try:
            return self._codec.encode(picture)
        except EncoderFailed as error:
            self._give_up(self._choice, error)
            return None

    def _form_of(self, ref: FrameRef) -> "_Form":
        return encoded_size(self._spec, ref), encoded_colours(self._spec, ref)

    def _open_next(self, ref: FrameRef) -> bool:
        fps = NS_PER_SECOND / ref.duration_ns if ref.duration_ns else _DEFAULT_FPS
        fps = min(fps, self._spec.fps or fps)
        form = self._form_of(ref)
        (width, height), colour_space = form
        choice, restarted = self._choose(width, height)
        try:
            told_fps = min(max(fps, _LOWEST_FPS), _HIGHEST_FPS)
            self._codec = self._codecs.open(choice.kind, self._spec, width, height, told_fps, colour_space)
        except EncoderFailed as error:  # works here, but not with these parameters or not any more
            self._give_up(choice, error)
            return False
        self._choice, self._form, self._none_works = choice, form, ""
        codec = self._spec.codec
        self._on_running(choice, VideoInfo(codec=codec, width=width, height=height, fps=round(fps, 3)))
        self._opened_at_seconds = time.monotonic()
        if restarted:
            self.restarts += 1
            self._on_restarted(choice, restarted)
        return True

    def _choose(self, width: int, height: int) -> tuple[Choice, str]:
        """The next encoder; and how its process died, when it is the same one as before."""
        died, self._died = self._died, None
        try:
            return first_working(self._spec, width, height, self._codecs, self._failed_in_use), ""
        except Unavailable as error:
            if died:
                kind, how = died
                del self._failed_in_use[kind.name]
                return Choice(kind, f"{error.message}; {kind.name} is started again"), how
            # All have failed: forget what they failed of, so that the next attempt is one.
            self._failed_in_use.clear()
            self._none_works, self._retry_at_seconds = error.message, time.monotonic() + _RETRY_SECONDS
            raise

    def _give_up(self, choice: Choice, error: EncoderFailed) -> None:
        why = str(error)  # a log that keeps the error itself keeps the picture as well
        log.error("encoder %s failed: %s", choice.kind.name, why, extra={"stream": self._spec.stream})
        self._failed_in_use[choice.kind.name] = f"failed in use: {why}"
        worked_seconds = time.monotonic() - self._opened_at_seconds
        if error.died and self._codec is not None and worked_seconds >= _STEADY_SECONDS:
            self._died = choice.kind, why
        if self._codec is not None:
            self._codec.close()
        self._codec = None
        self.failovers += 1
