"""Where an encoder runs: in this process, or in one of its own that can die alone."""

import contextlib
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.resources import RenditionSpec
from services.hw_encode.encoder_child import EncoderChild
from services.hw_encode.kinds import EncoderKind
from services.hw_encode.libav_codec import Codec, EncoderFailed, open_codec

log = logging.getLogger(__name__)

Isolate = Literal["hardware", "all", "none"]


class Codecs:
    """Opens encoders. One per service; any thread.

    While one of them runs in a process of its own, another process waits for the moment that one dies: a start of
    Python would cost the viewers a dozen pictures.
    """

    def __init__(self, isolate: Isolate = "none") -> None:
        self._isolate = isolate
        # The kernel ends a process with the thread that started it: this one lives as long as all of them.
        self._starter = ThreadPoolExecutor(1, "start-encoders")
        self._lock = threading.Lock()
        self._spare: Future[EncoderChild] | None = None
        self._closed = False

    def isolated(self, kind: EncoderKind) -> bool:
        """Whether this encoder gets a process of its own."""
        return self._isolate == "all" or (self._isolate == "hardware" and (kind.hardware or kind.stalls))

    def open(
        self,
        kind: EncoderKind,
        spec: RenditionSpec,
        width: int,
        height: int,
        fps: float,
        colour_space: ColourSpace = UNSPECIFIED,
        *,
        on_trial: bool = False,
    ) -> Codec:
        """An open encoder.

        Args:
            colour_space: what its stream says of its pictures.
            on_trial: it is closed again at once, so nobody waits for its death.

        Raises:
            EncoderFailed: it does not work here, or not with these parameters.
        """
        if not self.isolated(kind):
            return open_codec(kind, spec, width, height, fps, colour_space)
        child = self._take()
        try:
            child.open(kind, spec, width, height, fps, colour_space)
        except EncoderFailed as error:
            if not error.died:
                self._give_back(child)
            else:
                child.close()
            raise
        except BaseException:
            child.close()
            raise
        if not on_trial:
            self._prepare()
        return child

    def close(self) -> None:
        """End the process that waits; those at work belong to whoever opened them."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare:
            with contextlib.suppress(OSError):
                spare.result().close()
        self._starter.shutdown()

    def _take(self) -> EncoderChild:
        with self._lock:
            spare, self._spare = self._spare, None
        try:
            if spare:
                child = spare.result()
                if child.alive:
                    return child
                child.close()
            return self._starter.submit(EncoderChild).result()
        except (OSError, RuntimeError) as error:  # RuntimeError: the service ends
            raise EncoderFailed(f"no process for it: {error}") from error

    def _give_back(self, child: EncoderChild) -> None:
        with self._lock:
            if self._spare is None and not self._closed and child.alive:
                self._spare = Future()
                self._spare.set_result(child)
                return
        child.close()

    def _prepare(self) -> None:
        with self._lock, contextlib.suppress(RuntimeError):  # the service ends
            if self._spare is None and not self._closed:
                self._spare = self._starter.submit(EncoderChild)
