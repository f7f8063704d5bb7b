"""Snapshots: the newest picture of a running stream as a file, one picture for all who ask at the same time."""

import asyncio
import base64
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy.typing as npt

from schemas.capture_commands import Snapshot, SnapshotRequest
from schemas.errors import BadRequest, InternalError, MeshError, Unavailable
from schemas.frames import FrameRef
from schemas.stills import StillFormat
from schemas.subjects import frames
from services.capture.settings import CaptureSettings
from services.capture.stream import StreamRunner
from shared.bus import Message
from shared.media.picture_file import encode_picture
from shared.ring import Lease, LeaseError, RingReader, newest_picture
from shared.service import Context
from shared.tasks import end_tasks, set_within, start_task

_MAX_LEASES = 16  # one per stream of which a snapshot is being made; beyond, the next picture is waited for
_ENCODING_THREADS = 2  # files are made beside the live pictures, which come first
_LEAST_WAIT_SECONDS = 0.2  # with wait_s 0: the time to take what is there
_HEADER_BYTES = 1024  # of a reply beside the file
_MARGIN = 0.85  # files do not shrink quite as their pixels do
_DELIVERING = ("live", "frozen")
_WRITTEN_ELSEWHERE = ("app://", "mix://")
_decode_ref = msgspec.json.Decoder(FrameRef).decode


class _Form(NamedTuple):
    """What makes two requests ask for the same file."""

    format: StillFormat
    quality: int
    max_width: int | None


@dataclass
class _Shot:
    """One picture, and the files that are asked of it until it is taken."""

    taken: asyncio.Event = field(default_factory=asyncio.Event)
    files: dict[_Form, "asyncio.Future[Snapshot | MeshError]"] = field(default_factory=dict)
    waiting: int = 0
    task: asyncio.Task[None] | None = None


class Snapshots:
    """Takes pictures out of the rings of this node's streams. One per service.

    Of each stream one picture is held at a time, so its writer is never short of slots.
    """

    def __init__(self, context: Context[CaptureSettings]) -> None:
        self._context = context
        self._folder = context.settings.shm_dir
        self._reader = RingReader(self._folder, max_leases=_MAX_LEASES, max_open_rings=_MAX_LEASES)
        self._pool = ThreadPoolExecutor(_ENCODING_THREADS, "snapshot")
        self._next: dict[str, _Shot] = {}
        self._busy: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, stream: str, runner: StreamRunner, request: SnapshotRequest) -> Snapshot:
        """The newest picture.

        Raises:
            Unavailable: none came within `wait_s`; says how the stream is.
            BadRequest: the file is too large for the bus.
        """
        form = _Form(request.format, request.quality, request.max_width)
        shot = self._next.get(stream)
        if shot is None:
            shot = self._next[stream] = _Shot()
            shot.task = start_task(self._shoot(stream, runner, shot), f"snapshot {stream}")
            self._tasks.add(shot.task)
            shot.task.add_done_callback(self._tasks.discard)
        if form not in shot.files:
            shot.files[form] = asyncio.get_running_loop().create_future()
        shot.waiting += 1
        try:
            if not await set_within(shot.taken, max(request.wait_s, _LEAST_WAIT_SECONDS)):
                raise _no_picture(stream, runner, request.wait_s)
        finally:
            shot.waiting -= 1
            if not shot.waiting and not shot.taken.is_set() and shot.task:
                shot.task.cancel()
                self._forget(stream, shot)
        found = await asyncio.shield(shot.files[form])
        if isinstance(found, MeshError):
            raise found
        return found

    async def close(self) -> None:
        await end_tasks(*self._tasks)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._reader.close()

    def forget(self, stream: str) -> None:
        """The stream is gone."""
        self._busy.pop(stream, None)
        self._reader.trim()

    def _forget(self, stream: str, shot: _Shot) -> None:
        if self._next.get(stream) is shot:
            del self._next[stream]

    async def _shoot(self, stream: str, runner: StreamRunner, shot: _Shot) -> None:
        """Take one picture and make every file that was asked for until then."""
        async with self._busy.setdefault(stream, asyncio.Lock()):
            lease = self._there(stream, runner) or await self._grab(stream, runner)
            self._forget(stream, shot)  # whoever asks from now on wants a newer picture
            shot.taken.set()
            with lease:
                made = [self._file(lease.ref, lease.array, form) for form in shot.files]
                for done, future in zip(await asyncio.gather(*made), shot.files.values(), strict=True):
                    future.set_result(done)

    async def _file(self, ref: FrameRef, array: npt.NDArray[Any], form: _Form) -> Snapshot | MeshError:
        loop = asyncio.get_running_loop()
        try:
            made = await loop.run_in_executor(self._pool, _encode, array, ref, form)
        except Exception as error:  # libav's, of a picture that it cannot take; told to whoever asked
            return InternalError(f"{ref.stream}: no {form.format} of a {ref.pixel_format} picture: {error}")
        needed, limit = len(base64.b64encode(made.data)) + _HEADER_BYTES, self._context.bus.max_payload_bytes
        if needed > limit:
            fitting = int(made.width * (limit / needed) ** 0.5 * _MARGIN)
            return BadRequest(
                f"max_width {form.max_width}: a {form.format} of {made.width}x{made.height} takes {needed} bytes on "
                f"the bus, which carries {limit}; use max_width {fitting} or less"
            )
        return Snapshot(
            stream=ref.stream,
            epoch=ref.epoch,
            sequence=ref.sequence,
            captured_ns=ref.captured_ns,
            pts_ns=ref.pts_ns,
            width=made.width,
            height=made.height,
            format=form.format,
            data=made.data,
        )

    # -- finding the picture ---------------------------------------------------------------------------------

    def _there(self, stream: str, runner: StreamRunner) -> Lease | None:
        """The newest picture of the ring, where pictures are being written; others may be of any age."""
        actual = runner.actual
        if actual is None or actual.state not in _DELIVERING:
            return None
        if not actual.decoding and not actual.source.startswith(_WRITTEN_ELSEWHERE):
            return None
        ref = newest_picture(self._folder, stream)
        if ref is None or not _shown(runner, ref):
            return None
        with contextlib.suppress(LeaseError):  # overwritten meanwhile: the next one will do
            return self._reader.lease(ref)
        return None

    async def _grab(self, stream: str, runner: StreamRunner) -> Lease:
        """The next picture that is written; asks for pictures where nobody else does."""
        found: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()

        def receive(message: Message) -> None:
            delivering = runner.actual is not None and runner.actual.state in _DELIVERING
            if found.done() or not delivering:  # what is written while the source is lost is not from it
                return
            ref = _decode_ref(message.data)
            if _shown(runner, ref):
                with contextlib.suppress(LeaseError):
                    found.set_result(self._reader.lease(ref))

        subscription = await self._context.bus.subscribe(frames(self._context.node, stream), receive)
        try:
            with runner.wanting_raw():
                return await found
        finally:
            await subscription.close()


def _shown(runner: StreamRunner, ref: FrameRef) -> bool:
    """Not a slate from before the source came back, nor what new masks hide; an application's own always."""
    sink, actual = runner.sink, runner.actual
    if sink is None or (actual and actual.source.startswith(_WRITTEN_ELSEWHERE)):
        return True
    return ref.epoch == sink.epoch and sink.frames.shows(
        ref
    )  # a source that hangs still has its ring of an epoch before


def _encode(array: npt.NDArray[Any], ref: FrameRef, form: _Form) -> Any:
    return encode_picture(
        array,
        ref.pixel_format,
        ref.width,
        ref.height,
        form.format,
        quality=form.quality,
        max_width=form.max_width,
        colour_space=ref.colour_space,
    )


def _no_picture(stream: str, runner: StreamRunner, wait_s: float) -> Unavailable:
    actual = runner.actual
    state = actual.state if actual else "connecting"
    why = f" ({actual.error.message})" if actual and actual.error else ""
    return Unavailable(f"no picture of {stream} within {wait_s:g} s: it is {state}{why}")
