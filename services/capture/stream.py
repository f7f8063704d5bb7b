"""One stream's life: a thread that opens the source, delivers until it fails, and tries again for ever."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

import msgspec

from schemas.errors import InternalError, MeshError
from schemas.resources import AudioInfo, StreamActual, StreamSpec, StreamState, VideoInfo
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources import make_source
from services.capture.sources.base import Source
from shared.backoff import Backoff
from shared.epochs import next_epoch
from shared.reconcile import Reporter
from shared.ring import RingError
from shared.ring.folder import newest_epoch
from shared.secret_store import read_secret
from shared.service import Context

log = logging.getLogger(__name__)

# A source thread looks at its stop event between packets; longer than the read timeout only a stuck driver takes.
_JOIN_MARGIN_SECONDS = 2.0
_STABLE_SECONDS = 10.0  # a source that connects and fails at once has not recovered


# Changes of anything else are taken on by the sink, where the source agrees.
_OF_SOURCE = ("source", "source_secret", "transport", "loop", "audio", "delivery", "binning", "bit_depth", "trigger")


def _of_source(spec: StreamSpec) -> tuple[object, ...]:
    return tuple(getattr(spec, name) for name in _OF_SOURCE)


class StreamRunner:
    """Runs one stream as its spec says; see `shared.reconcile.Runner`."""

    def __init__(self, stream: str, context: Context[CaptureSettings], reporter: Reporter) -> None:
        self._stream = stream
        self._context = context
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._actual: StreamActual | None = None
        self._wants_raw = self._wants_packets = False
        self._spec: StreamSpec | None = None
        self.source: Source | None = None
        """The one that runs now."""
        self.sink: StreamSink | None = None
        self.reconnects = 0
        self.stalls = 0
        self.freezes = 0

    def set_demand(self, *, raw: bool, packets: bool) -> None:
        """Somebody needs decoded frames and sound, or the source's own packets, on the bus; or nobody does."""
        self._wants_raw, self._wants_packets = raw, packets
        if self.sink:
            self.sink.set_demand(raw=raw, packets=packets)

    async def start(self, spec: StreamSpec, revision: int) -> None:
        """Take a new epoch and start delivering.

        Raises:
            NotFound: the secret of the source is gone.
        """
        url = await read_secret(self._context.bus, spec.source_secret) if spec.source_secret else spec.source
        settings = self._context.settings
        epoch = await next_epoch(
            self._context.bus, self._stream, at_least=newest_epoch(settings.shm_dir, self._stream) + 1
        )
        self._actual = StreamActual(
            stream=self._stream,
            node=self._context.node,
            revision=revision,
            state="connecting",
            source=spec.source,
            since_ns=time.time_ns(),
            epoch=epoch,
        )
        self._reporter.report(self._stream, self._actual)
        self._spec = spec
        self.sink = StreamSink(self._context, spec, epoch, self._live_from_thread, self._decoding_from_thread)
        self.sink.set_demand(raw=self._wants_raw, packets=self._wants_packets)
        self._thread = threading.Thread(target=self._run, args=(spec, url), name=f"capture {self._stream}", daemon=True)
        self._thread.start()

    async def update(self, spec: StreamSpec, revision: int) -> bool:
        """Take a change on while the source runs, where it can; False: open it again.

        Raises:
            InvalidValue: the device refuses a value.
        """
        before, source, sink = self._spec, self.source, self.sink
        if before is None or source is None or sink is None or self._actual is None:
            return False
        if spec != before:
            if _of_source(spec) != _of_source(before) or not await asyncio.to_thread(source.adjust, spec):
                return False
            sink.adjust(spec)
            self._spec = spec
        self._actual = msgspec.structs.replace(self._actual, revision=revision)
        self._reporter.report(self._stream, self._actual)
        return True

    async def stop(self, *, removed: bool = False) -> None:
        """End the thread and take the rings away."""
        self._stop.set()
        if self._thread:
            deadline = self._context.settings.read_timeout_seconds + _JOIN_MARGIN_SECONDS
            await asyncio.to_thread(self._thread.join, deadline)
            if self._thread.is_alive():
                log.error("the source does not let go; its thread is left behind", extra={"stream": self._stream})
        if self.sink:
            self.sink.close()

    # -- in the stream's own thread --------------------------------------------------------------------------

    def _run(self, spec: StreamSpec, url: str) -> None:
        backoff = Backoff()
        sink = self.sink
        assert sink is not None  # set before the thread starts
        while not self._stop.is_set():
            live_seconds = 0.0
            try:
                source = make_source(self._spec or spec, url, self._context.settings)
                self.source = source
                try:
                    source.run(sink, self._stop)
                finally:
                    self.source = None
                    live_seconds = sink.live_seconds
                    sink.lost()
                if self._stop.is_set():
                    return
                self._change_from_thread("off", None)  # a file that is not looped has ended
                return
            except MeshError as error:
                problem = error
            except RingError as error:
                problem = InternalError(str(error))
                if sink.superseded:
                    self._change_from_thread("off", InternalError(f"another writer has taken over: {error}"))
                    return
            except Exception:  # a bug in one source must not end the others' process
                log.exception("source failed", extra={"stream": self._stream})
                problem = InternalError("internal error in the source; see the log of capture")
            if live_seconds > _STABLE_SECONDS:
                backoff.reset()
            self.reconnects += 1
            self._change_from_thread("reconnecting", problem)
            if self._stop.wait(backoff.next_seconds()):
                return

    def _live_from_thread(self, video: VideoInfo | None, audio: AudioInfo | None, tracks: tuple[str, ...]) -> None:
        self._call(lambda: self._report(state="live", error=None, video=video, audio=audio, source_tracks=tracks))

    def _decoding_from_thread(self, decoding: bool) -> None:
        self._call(lambda: self._report(decoding=decoding))

    def _change_from_thread(self, state: StreamState, error: MeshError | None) -> None:
        self._call(lambda: self._report(state=state, error=error.info if error else None, decoding=False))

    def _call(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(work)

    # -- in the event loop -----------------------------------------------------------------------------------

    def _report(self, **changes: object) -> None:
        if self._actual is None or self._stop.is_set():
            return
        if "state" in changes and changes["state"] != self._actual.state:
            changes["since_ns"] = time.time_ns()
        self._actual = msgspec.structs.replace(self._actual, restarts=self.reconnects, **changes)
        self._reporter.report(self._stream, self._actual)
