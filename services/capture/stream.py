"""One stream's life: what its source does becomes a state, and a state becomes what is done about it.

connecting    nothing has come yet; with `waiting_for`, it is known what for
live          pictures come
stalled       the source is open, and its pictures stay away; opened again after `read_timeout_seconds`
frozen        pictures come, and are all the same
reconnecting  the source was lost, or cannot be opened: tried again by `shared.backoff`
failed        it can never be played as it is (no media, no such codec, a forbidden path): tried again once a minute,
              and when the spec changes
off           a file that is not looped has ended, or another writer has the stream
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from schemas.errors import BadRequest, ErrorInfo, InternalError, MeshError, OutOfSpace, Unavailable
from schemas.picture_values import PictureValue
from schemas.resources import AudioInfo, StreamActual, StreamSpec, VideoInfo
from schemas.subjects import RAW
from services.capture.attached_values import AttachedValues
from services.capture.calls import Calls
from services.capture.device_calls import ask_device
from services.capture.filler import Filler
from services.capture.health import StreamHealth
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.source_thread import End, SourceThread, left_behind
from services.capture.sources import make_source
from services.capture.sources.base import Source
from services.capture.stream_state import StreamState
from shared.backoff import Backoff
from shared.epochs import next_epoch
from shared.reconcile import Reporter
from shared.ring.folder import newest_epoch
from shared.secret_store import read_secret
from shared.service import Context
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

# A source thread looks at its stop event between packets; longer than the read timeout only a stuck driver takes.
_JOIN_MARGIN_SECONDS = 2.0
_MAX_JOIN_SECONDS = 10.0  # the reconciler gives 15 s to a step, and would cut off what comes after the thread's end
_LOST = frozenset(("stalled", "reconnecting", "failed"))

# Changes of anything else are taken on by the sink, where the source agrees.
_OF_SOURCE = (
    "source",
    "source_secret",
    "transport",
    "loop",
    "audio",
    "delivery",
    "binning",
    "bit_depth",
    "trigger",
    "public_only",
)


def _of_source(spec: StreamSpec) -> tuple[object, ...]:
    return tuple(getattr(spec, name) for name in _OF_SOURCE)


class StreamRunner:
    """Runs one stream as its spec says; see `shared.reconcile.Runner`. `look` is called a few times a second."""

    def __init__(
        self,
        stream: str,
        context: Context[CaptureSettings],
        reporter: Reporter,
        open_commands: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`open_commands`: makes the stream's own commands answer; called again and again, for the same stream."""
        self._open_commands = open_commands
        self._stream = stream
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._state = StreamState(stream, reporter)
        self.health = StreamHealth(self._state, context.settings)
        self._wanted: frozenset[str] = frozenset()
        self._own_wants = 0
        self._spec: StreamSpec | None = None
        self._attached: AttachedValues | None = None
        self._thread: SourceThread | None = None
        self._filler: Filler | None = None
        self._calls = Calls(self._loop)
        self._restarting: asyncio.Task[None] | None = None
        self.sink: StreamSink | None = None

    @property
    def source(self) -> Source | None:
        """The one that runs now."""
        return self._thread.source if self._thread else None

    @property
    def actual(self) -> StreamActual | None:
        """The state as it was last reported; None before the start."""
        return self._state.actual

    @property
    def reconnects(self) -> int:
        """How often the source was lost, or opened anew."""
        return self._state.reconnects

    # -- demand ----------------------------------------------------------------------------------------------

    def set_demand(self, renditions: frozenset[str]) -> None:
        """Somebody needs these on the bus: decoded frames and sound (`RAW`), the source's own packets, its layers."""
        self._wanted = renditions
        self._show_demand()

    @contextlib.contextmanager
    def wanting_raw(self) -> Iterator[None]:
        """Pictures are needed within this process, until the end of the block."""
        self._own_wants += 1
        self._show_demand()
        try:
            yield
        finally:
            self._own_wants -= 1
            self._show_demand()

    def _show_demand(self) -> None:
        if self.sink:
            self.sink.set_demand(self._wanted | {RAW} if self._own_wants else self._wanted)

    def attach(self, values: tuple[PictureValue, ...]) -> None:
        """Have these go with the pictures captured since, until they are told anew or not told any more."""
        attached = self._attached = self._attached or AttachedValues()
        attached.take(values)
        if self.sink:
            self.sink.frames.attached = attached

    # -- the reconciler's side -------------------------------------------------------------------------------

    async def start(self, spec: StreamSpec, revision: int) -> None:
        """Take a new epoch and start delivering.

        Raises:
            NotFound: the secret of the source is gone.
            TooMany: earlier attempts at this stream hang in their driver.
        """
        self._state.begin(
            StreamActual(
                stream=self._stream,
                node=self._context.node,
                instance=self._context.share.number if self._context.share else 1,
                revision=revision,
                state="connecting",
                source=spec.source,
                since_ns=time.time_ns(),
            )
        )
        self._spec = spec
        await self._open()
        if self._open_commands:
            await self._open_commands(self._stream)

    async def _open(self) -> None:
        """A new epoch, a new sink, a new thread."""
        spec, settings = self._spec, self._context.settings
        assert spec is not None  # start() has set it
        url = await read_secret(self._context.bus, spec.source_secret) if spec.source_secret else spec.source
        epoch = await next_epoch(
            self._context.bus, self._stream, at_least=newest_epoch(settings.shm_dir, self._stream) + 1
        )
        self._state.report(epoch=epoch)
        here = Calls(self._loop)
        sink = StreamSink(
            self._context,
            spec,
            epoch,
            live=here.bring(self._opened),
            decoding=here.bring(lambda decoding: self._state.report(decoding=decoding)),
            layers=here.bring(lambda layers: self._state.report(layers=layers)),
            waiting=here.bring(self._waiting),
            arrival=here.bring(self._arrival),
        )
        thread = SourceThread(
            self._stream, lambda: make_source(self._spec or spec, url, settings), sink, here.bring(self._over)
        )
        sink.frames.attached = self._attached
        self._calls, self.sink, self._thread = here, sink, thread
        self._filler = Filler(self._stream, sink)
        self._show_demand()
        thread.start()

    async def update(self, spec: StreamSpec, revision: int) -> bool:
        """Take a change on while the source runs, where it can; False: open it again.

        What the device refuses is the stream's error from now on, beside pictures that go on as they were.
        """
        before, source, sink, state = self._spec, self.source, self.sink, self._state
        if before is None or source is None or sink is None or state.actual is None or self._restarting:
            return False
        if spec != before:
            try:
                if _of_source(spec) != _of_source(before):
                    return False
                if spec.history != before.history:
                    await asyncio.to_thread(sink.packets.keep, spec.history)
                if not await ask_device(self._stream, partial(source.adjust, spec)):
                    return False
                await self._adjust_sink(sink, source, before, spec)
            except (BadRequest, OutOfSpace) as error:
                state.refused = error.info
                state.report(revision=revision, error=state.refused)
                return True
            self._spec = spec
            if self.source is not source:  # lost meanwhile, and made again with the spec of before
                return False
            if spec.frozen_after != before.frozen_after and state.actual.state == "frozen":
                sink.arrivals.expect()  # it is judged anew
        shown = None if state.actual.error == state.refused else state.actual.error
        state.refused = None
        state.report(revision=revision, error=shown)
        return True

    async def _adjust_sink(self, sink: StreamSink, source: Source, before: StreamSpec, spec: StreamSpec) -> None:
        """Raises: InvalidValue: the pictures that come cannot be made so; the source is as it was."""
        try:
            sink.adjust(spec)
        except BadRequest:
            await ask_device(self._stream, partial(source.adjust, before))
            raise

    async def stop(self, *, removed: bool = False) -> None:
        """End the thread and take the rings away."""
        if self._restarting:
            await end_tasks(self._restarting)
        await self._close(self._join_seconds)

    async def _close(self, deadline_seconds: float) -> None:
        self._calls.heard = False
        thread, self._thread = self._thread, None
        if thread and not await thread.end(deadline_seconds):
            log.error("the source does not let go; its thread is left behind", extra={"stream": self._stream})
            self._context.event(self._stream, "source-stuck", detail={"left_behind": left_behind.of(self._stream)})
        if self.sink:
            self.sink.close()

    # -- what the source's thread tells, in the event loop ---------------------------------------------------

    def _opened(self, video: VideoInfo | None, audio: AudioInfo | None, tracks: tuple[str, ...]) -> None:
        waiting_for = "a trigger" if self._spec and self._spec.trigger else ""
        self._state.report(video=video, audio=audio, source_tracks=tracks, waiting_for=waiting_for)

    def _waiting(self, what: str) -> None:
        self._state.report(state="connecting", error=None, waiting_for=what, decoding=False)

    def _arrival(self) -> None:
        if self._spec is not None and self.sink is not None:
            self.health.arrival(self._spec, self.sink)

    def _over(self, end: End, error: ErrorInfo | None) -> None:
        if end in ("ended", "superseded"):
            self._state.report(state="off", error=error, decoding=False)
            return
        self._state.reconnects += 1
        self._state.report(state="failed" if end == "refused" else "reconnecting", error=error, decoding=False)

    # -- what is seen from outside, a few times a second -----------------------------------------------------

    def look(self, now: float) -> None:
        """Notice what no event tells; `now` is in monotonic seconds."""
        spec, sink, thread = self._spec, self.sink, self._thread
        if spec is None or sink is None or thread is None or self._restarting:
            return
        sink.rates.sample()
        if voice := sink.voice:
            voice.look(now)
        if not self.health.look(now, spec, sink, thread):
            self._restarting = start_task(self._leave_behind(), f"restart {self._stream}")

    def restart(self) -> bool:
        """Open the source anew, whatever its state; False: that is under way already."""
        if self._restarting:
            return False
        self._restarting = start_task(self._begin_anew(), f"restart {self._stream}")
        return True

    async def _begin_anew(self) -> None:
        self._state.reconnects += 1
        await self._close(self._join_seconds)
        self._state.report(state="connecting", error=None, decoding=False)
        await self._open_again()

    async def _leave_behind(self) -> None:
        """Go on without a thread that hangs: a new one, a new epoch, so that the old one can never write again."""
        self._state.reconnects += 1
        text = f"source {self._shown}: its driver hangs and does not let go; opened again beside it"
        await self._close(0.0)
        self._state.report(state="reconnecting", error=Unavailable(text).info, decoding=False)
        await self._open_again()

    async def _open_again(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._open()
            except Exception as error:  # no more threads, no more descriptors: the stream must not stay dead for that
                if self.sink:  # made in vain, and perhaps a slate was written into its ring
                    self.sink.close()
                if not isinstance(error, MeshError):
                    log.exception("not opened beside a source that hangs", extra={"stream": self._stream})
                    error = InternalError("internal error; see the log of capture")
                self._state.report(state="failed", error=error.info)
                await asyncio.sleep(backoff.next_seconds())
            else:
                self._restarting = None
                return

    def stand_in(self) -> Callable[[], None] | None:
        """What writes a picture in place of the lost source, to be called from any one thread; None: not wanted."""
        actual, spec, sink, filler = self._state.actual, self._spec, self.sink, self._filler
        if actual is None or spec is None or sink is None or filler is None or not sink.wants_raw:
            return None
        if actual.state not in _LOST or spec.on_loss == "none" or spec.source.startswith(("app:", "mix:")):
            return None  # who writes the pictures has the ring to itself
        reason = actual.error.message if actual.error else ""
        return partial(filler.write, spec, sink.frames.written, sink.arrivals.last_ns or actual.since_ns, reason)

    @property
    def _join_seconds(self) -> float:
        return min(self._context.settings.read_timeout_seconds + _JOIN_MARGIN_SECONDS, _MAX_JOIN_SECONDS)

    @property
    def _shown(self) -> str:
        return self._state.actual.source if self._state.actual else ""
