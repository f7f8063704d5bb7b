"""One sample: when a picture is due, it is claimed, written and told of."""

import asyncio
import logging
import time
from typing import Any, Final

import msgspec

from schemas.errors import ErrorInfo, InternalError, MeshError, Unavailable
from schemas.events import Event
from schemas.frames import FrameRef
from schemas.ids import Id
from schemas.moments import TakenPicture, TakePicture
from schemas.packets import UNREADABLE
from schemas.sample_resources import SampleActual, SampleClaim, SampleReason, SampleSpec
from schemas.subjects import RAW, events_like
from schemas.units import NS_PER_SECOND, parse_bytes, parse_duration
from services.frame_extractor.live.moments import Moments
from services.frame_extractor.live.samples.claims import Claims
from services.frame_extractor.live.samples.motion_watch import MotionWatch
from services.frame_extractor.live.samples.names import SampleNames
from services.frame_extractor.live.samples.retention import take_away
from services.frame_extractor.storage import Places, StorageError
from shared.backoff import Backoff
from shared.bus import Message
from shared.demand import Wants
from shared.reconcile import Reporter
from shared.ring import RingReader
from shared.service import Context
from shared.tasks import end_tasks

_log = logging.getLogger(__name__)

SAMPLE_EVENT: Final = "sample"
_WAITING: Final = 8  # pictures that are due while one is being taken
# Pictures that are taken while the store is away: of 5 a second those of 12 s, of one a second those of a minute.
_HELD: Final = 64
_HELD_BYTES: Final = 32 << 20  # of one sample; a jpg of 4K has 2 MB
_WAIT_SECONDS: Final = 10.0  # for a picture: a source that has to be opened takes some
_WAKE_SECONDS: Final = 3.0  # before a picture is due: a camera's next key picture is waited for
# Who wants pictures so often has them decoded all the time: to begin costs a group of pictures.
_ALWAYS_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 30.0  # a store that restarts is back by then
_EXACT_NS: Final = 1_000_000
_RESUME_NS: Final = 3_600 * NS_PER_SECOND  # what was claimed before is in no memory and hardly in a recording
_TIDY_LEAST_SECONDS: Final = 1.0
_TIDY_SHARE: Final = 20  # of the time between two looks at the folder one look takes no more than one part of so many
_decode_event = msgspec.json.Decoder(Event).decode


class Sampler:
    """Runs one sample on the node of its stream. Belongs to the event loop."""

    def __init__(
        self,
        sample: Id,
        context: Context[Any],
        reporter: Reporter,
        moments: Moments,
        places: Places,
        wants: Wants,
        reader: RingReader,
    ) -> None:
        self._sample, self._context, self._reporter = sample, context, reporter
        self._moments, self._places, self._wants, self._reader = moments, places, wants, reader
        self._tasks: list[asyncio.Task[Any]] = []
        self._due: asyncio.Queue[tuple[int, SampleReason]] = asyncio.Queue(_WAITING)
        self._held: asyncio.Queue[tuple[TakenPicture, SampleReason, int]] = asyncio.Queue(_HELD)
        self._held_bytes = 0
        self._one = asyncio.Lock()
        self._accepted_s = float("-inf")
        self._tidied_s, self._tidying_s = float("-inf"), 0.0
        self.actual: SampleActual | None = None

    async def start(self, spec: SampleSpec, revision: int) -> None:
        """Raises:
        MeshError: it can never work here, or the bus does not answer.
        """
        self._spec, self._names = spec, SampleNames(spec)
        try:
            self._places.check_place(self._names.place(0, 0, 0))
        except StorageError as error:
            raise Unavailable(f"to: {error.message}") from None
        self._claims = await Claims.open(self._context.bus, self._sample)
        self.actual = SampleActual(
            stream=spec.stream,
            sample=spec.sample,
            node=self._context.node,
            revision=revision,
            state="running",
            since_ns=time.time_ns(),
        )
        self._reporter.report(self._sample, self.actual)
        self._begin(self._resume(), "resume")
        self._begin(self._take_due(), "due")
        self._begin(self._write_held(), "write")
        if spec.every is not None:
            self._begin(self._schedule(parse_duration(spec.every, "every")), "schedule")
        if spec.event is not None:
            self._begin(self._follow_events(events_like(spec.event)), "events")
        if spec.motion is not None or spec.scene is not None:
            watch = MotionWatch(self._context.bus, self._wants, self._reader, self._context.node, spec, self._changed)
            self._begin(watch.run(), "motion")

    async def update(self, spec: SampleSpec, revision: int) -> bool:
        return False

    async def stop(self, *, removed: bool = False) -> None:
        await end_tasks(*self._tasks)
        if removed and self.actual is not None:
            await self._claims.forget()

    def _begin(self, work: Any, name: str) -> None:
        self._tasks.append(self._context.spawn(work, f"sample {self._sample} {name}"))

    # -- what is due ---------------------------------------------------------------------------------------------

    async def _schedule(self, every_s: float) -> None:
        every_ns = round(every_s * NS_PER_SECOND)
        stop_wanting = None
        if every_s < _ALWAYS_SECONDS:
            name = f"frame-extractor-{self._spec.sample}"
            stop_wanting = self._wants.want(self._context.node, self._spec.stream, RAW, name)
        piece = 0
        try:
            while True:
                due = max(piece, time.time_ns() // every_ns) + 1
                if piece and due > piece + 1:  # the picture before took as long
                    self._skipped(due - piece - 1)
                piece = due
                at_ns = piece * every_ns
                # The wall clock's own moment is waited for; nothing tells of it.
                await asyncio.sleep(max(0.0, (at_ns - time.time_ns()) / NS_PER_SECOND - _WAKE_SECONDS))
                await self._take(at_ns, "schedule", piece, within_ns=every_ns // 2)
        finally:
            if stop_wanting is not None:
                stop_wanting()

    async def _follow_events(self, subject: str) -> None:
        subscription = await self._context.bus.subscribe(subject, self._heard)
        try:
            await asyncio.Event().wait()
        finally:
            await subscription.close()

    def _heard(self, message: Message) -> None:
        try:
            event = _decode_event(message.data)
        except UNREADABLE:
            return
        if event.service == self._context.service and event.event == SAMPLE_EVENT:
            return  # what follows from a picture asks for no other
        self._accept(event.at_ns, "event")

    def _changed(self, ref: FrameRef, reason: SampleReason) -> None:
        self._accept(ref.captured_ns, reason)

    def _accept(self, at_ns: int, reason: SampleReason) -> None:
        now_s = time.monotonic()
        if now_s - self._accepted_s < parse_duration(self._spec.at_most_every, "at_most_every"):
            return
        self._accepted_s = now_s
        try:
            self._due.put_nowait((at_ns, reason))
        except asyncio.QueueFull:
            self._missed(Unavailable(f"{_WAITING} pictures are due, and none has come yet").info)

    async def _take_due(self) -> None:
        while True:
            at_ns, reason = await self._due.get()
            await self._take(at_ns, reason)

    # -- one picture ---------------------------------------------------------------------------------------------

    async def _resume(self) -> None:
        """Write what an earlier run has claimed and perhaps not written: the same picture, under the same name."""
        async with self._one:
            try:
                claim = await self._claims.last()
                if claim is None or claim.done or claim.captured_ns < time.time_ns() - _RESUME_NS:
                    return
                picture = await self._picture(claim.captured_ns, _EXACT_NS)
                if (picture.epoch, picture.sequence) == (claim.epoch, claim.sequence):
                    await self._write(picture, claim)
                await self._claims.done(claim)
            except (MeshError, StorageError) as error:
                self._missed(ErrorInfo(code=getattr(error, "code", 503), message=f"claimed before: {error}"))

    async def _take(self, at_ns: int, reason: SampleReason, piece: int = 0, *, within_ns: int | None = None) -> None:
        """Take it now and hold it: who waits for the store would miss the pictures that come meanwhile."""
        try:
            picture = await self._picture(at_ns, within_ns)
        except MeshError as error:
            self._missed(error.info)
            return
        except Exception:  # a bug of ours with one picture must not end all others of this service
            _log.exception("sample %s", self._sample)
            self._missed(InternalError("internal error; see the service's log").info)
            return
        if self._held.full() or self._held_bytes + len(picture.data) > _HELD_BYTES:
            text = f"{self._held.qsize()} pictures wait to be written to {self._spec.to}; is it there, and fast enough?"
            self._missed(Unavailable(text).info)
            return
        self._held_bytes += len(picture.data)
        self._held.put_nowait((picture, reason, piece))

    async def _write_held(self) -> None:
        while True:
            picture, reason, piece = await self._held.get()
            try:
                async with self._one:
                    await self._claim_and_write(picture, reason, piece)
            except MeshError as error:
                self._missed(error.info)
            except StorageError as error:
                self._places.counts.note(dropped=1)
                self._missed(ErrorInfo(code=503, message=error.message))
            except Exception:  # as above
                _log.exception("sample %s", self._sample)
                self._missed(InternalError("internal error; see the service's log").info)
            finally:
                self._held_bytes -= len(picture.data)

    async def _claim_and_write(self, picture: TakenPicture, reason: SampleReason, piece: int) -> None:
        claim = SampleClaim(
            piece=piece,
            captured_ns=picture.captured_ns,
            epoch=picture.epoch,
            sequence=picture.sequence,
            reason=reason,
        )
        if await self._claims.take(claim) is None:
            return
        await self._write(picture, claim)
        await self._claims.done(claim)

    async def _picture(self, at_ns: int, within_ns: int | None) -> TakenPicture:
        within = None if within_ns is None else f"{within_ns / NS_PER_SECOND:.6f}s"
        request = TakePicture(
            stream=self._spec.stream, pictures=self._spec.pictures, within=within, wait_s=_WAIT_SECONDS
        )
        return await self._moments.picture(request, at_ns)

    async def _write(self, picture: TakenPicture, claim: SampleClaim) -> None:
        """Raises: StorageError: not within the time that is tried."""
        place = self._names.place(claim.captured_ns, claim.epoch, claim.sequence)
        path = self._names.path(claim.captured_ns, claim.epoch, claim.sequence)
        backoff, deadline_s = Backoff(), time.monotonic() + _WRITE_SECONDS
        while True:
            try:
                await asyncio.to_thread(self._places.put, place, picture.data, picture.format)
                break
            except StorageError as error:
                wait_s = backoff.next_seconds()
                if not error.may_pass or time.monotonic() + wait_s > deadline_s:
                    raise
                self._places.counts.note(retries=1)
                await asyncio.sleep(wait_s)
        self._places.counts.note(written=1, written_bytes=len(picture.data))
        self._written(picture, claim, path)
        await self._tidy()

    def _written(self, picture: TakenPicture, claim: SampleClaim, path: str) -> None:
        assert self.actual is not None
        self.actual = msgspec.structs.replace(
            self.actual,
            state="running",
            error=None,
            pictures=self.actual.pictures + 1,
            last=path,
            last_captured_ns=picture.captured_ns,
        )
        self._reporter.report(self._sample, self.actual)
        detail = {
            "path": path,
            "captured_ns": picture.captured_ns,
            "epoch": picture.epoch,
            "sequence": picture.sequence,
            "reason": claim.reason,
            "origin": picture.origin,
        }
        self._context.event(self._sample, SAMPLE_EVENT, detail=detail)

    def _missed(self, error: ErrorInfo) -> None:
        assert self.actual is not None
        self.actual = msgspec.structs.replace(self.actual, state="failed", error=error, missed=self.actual.missed + 1)
        self._reporter.report(self._sample, self.actual)

    def _skipped(self, count: int) -> None:
        assert self.actual is not None
        self.actual = msgspec.structs.replace(self.actual, missed=self.actual.missed + count)
        self._reporter.report(self._sample, self.actual)

    async def _tidy(self) -> None:
        spec, now_s = self._spec, time.monotonic()
        if spec.keep_for is None and spec.keep_bytes is None:
            return
        if now_s - self._tidied_s < max(_TIDY_LEAST_SECONDS, self._tidying_s * _TIDY_SHARE):
            return
        local = self._places.local(self._names.place(0, 0, 0))
        if local is None:
            return
        root, path = local
        head = self._names.path(0, 0, 0).removesuffix(path)
        folder = self._names.folder_of(path)
        await asyncio.to_thread(
            take_away,
            root,
            folder,
            self._names.pattern(),
            head,
            time.time(),
            parse_duration(spec.keep_for, "keep_for") if spec.keep_for else None,
            parse_bytes(spec.keep_bytes, "keep_bytes") if spec.keep_bytes else None,
        )
        self._tidied_s = time.monotonic()
        self._tidying_s = self._tidied_s - now_s
