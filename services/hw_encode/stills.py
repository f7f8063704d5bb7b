"""Still pictures: `pic-encode` makes an image file of a picture of the mesh, or of one that is sent along."""

import asyncio
import base64
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import NamedTuple

import av
import msgspec
import numpy as np

from schemas.errors import BadRequest, Conflict, InternalError, InvalidValue, NotFound, TooMany, Unavailable
from schemas.frames import FrameRef
from schemas.stills import EncodedPicture, EncodePicture, RawPicture
from schemas.subjects import RAW, frames
from schemas.units import parse_size
from shared import pixel_formats
from shared.bus import Bus, Message
from shared.demand import Wants
from shared.media.picture_file import PictureFile, encode_picture
from shared.pixel_formats import Picture
from shared.ring import FrameOverwritten, Lease, LeaseError, LeaseLimit, RingReader
from shared.tasks import set_within

_THREADS = 2  # files are made beside the live pictures, which come first; so many leases are held at once
_WAITING = 32  # requests under way; each may hold 8 MiB of the bus
_LEAST_WAIT_SECONDS = 0.2  # with wait_s 0: the time to take what is about to come
_HEADER_BYTES = 1024  # of a reply beside the file
_MARGIN = 0.85  # files do not shrink quite as their pixels do
_MAX_PIXELS = 8_192 * 8_192  # of the file: a small request must not take gigabytes
_MAX_WEBP_EDGE_PIXELS = 16_383  # of the format
_decode_ref = msgspec.json.Decoder(FrameRef).decode


class _Found(NamedTuple):
    """A picture that can be read until it is `released`."""

    array: Picture
    form: FrameRef | RawPicture
    release: Callable[[], None]


class Stills:
    """Makes image files. One per service."""

    def __init__(self, bus: Bus, node: str, reader: RingReader, wants: Wants, streams: Callable[[], set[str]]) -> None:
        """`streams`: those of this node."""
        self._bus, self._node, self._reader, self._wants, self._streams = bus, node, reader, wants, streams
        self._pool = ThreadPoolExecutor(_THREADS, "still")
        self._free = asyncio.Semaphore(_THREADS)
        self._under_way = 0
        self.made = 0
        self.refused = 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def encode(self, request: EncodePicture) -> EncodedPicture:
        """One image file.

        Raises:
            BadRequest: the request can never work, or its file is too large for the bus.
            NotFound: there is no such stream here, or the ring of that frame is gone.
            Conflict: another picture lies where that frame was.
            Unavailable: the stream gave no picture within `wait_s`.
            TooMany: as many are being made as may be.
        """
        size = _check(request, self._node)
        if self._under_way >= _WAITING:
            self.refused += 1
            raise TooMany(f"{_WAITING} pictures are being encoded or wait for it; try again, with fewer at a time")
        self._under_way += 1
        try:
            async with self._free:
                found = await self._find(request)
                making = asyncio.get_running_loop().run_in_executor(self._pool, _encode, found, request, size)
                # The thread reads the picture to its end, whoever asked for it.
                making.add_done_callback(lambda _: found.release())
                made = await making
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, BadRequest):
                raise
            raise InternalError(f"no {request.format} of this picture: {error}") from error
        finally:
            self._under_way -= 1
        self._check_reply(made, request)
        self.made += 1
        of_stream = found.form if isinstance(found.form, FrameRef) else None
        return EncodedPicture(
            format=request.format,
            width=made.width,
            height=made.height,
            data=made.data,
            stream=of_stream.stream if of_stream else "",
            epoch=of_stream.epoch if of_stream else 0,
            sequence=of_stream.sequence if of_stream else 0,
            captured_ns=of_stream.captured_ns if of_stream else 0,
        )

    async def _find(self, request: EncodePicture) -> _Found:
        if request.picture is not None:
            return _Found(_array(request.picture), request.picture, lambda: None)
        if request.frame is not None:
            lease = self._lease(request.frame)
        else:
            assert request.stream is not None  # _check() has seen to it
            lease = await self._next(request.stream, request.wait_s)
        return _Found(lease.array, lease.ref, lease.release)

    def _lease(self, ref: FrameRef) -> Lease:
        try:
            return self._reader.lease(ref)
        except FrameOverwritten as error:
            raise Conflict(f"frame: {error}; take a newer one, or ask by `stream`") from error
        except LeaseLimit as error:
            raise TooMany(f"frame: {error}") from error
        except LeaseError as error:
            raise NotFound(f"frame: {error}; send it as it came on the bus, soon") from error

    async def _next(self, stream: str, wait_seconds: float) -> Lease:
        """The next picture that is written; asks for pictures where nobody else does."""
        if stream not in self._streams():
            raise NotFound(f"stream {stream!r} does not exist on node {self._node}; start it with capture.start")
        leases: list[Lease] = []
        taken = asyncio.Event()

        def receive(message: Message) -> None:
            if not leases:
                with contextlib.suppress(LeaseError):  # the next one will do
                    leases.append(self._reader.lease(_decode_ref(message.data)))
                    taken.set()

        subscription = await self._bus.subscribe(frames(self._node, stream), receive)
        stop_wanting = self._wants.want(self._node, stream, RAW, "hw-encode-still")
        try:
            arrived = await set_within(taken, max(wait_seconds, _LEAST_WAIT_SECONDS))
        except BaseException:
            for lease in leases:
                lease.release()
            raise
        finally:
            stop_wanting()
            await subscription.close()
        if not arrived or not leases:
            for lease in leases:
                lease.release()
            raise Unavailable(f"no picture of {stream} within {wait_seconds:g} s; see its state in capture.list")
        return leases[0]

    def _check_reply(self, made: PictureFile, request: EncodePicture) -> None:
        needed, limit = len(base64.b64encode(made.data)) + _HEADER_BYTES, self._bus.max_payload_bytes
        if needed > limit:
            share = (limit / needed) ** 0.5 * _MARGIN
            fitting = f"{int(made.width * share) // 2 * 2}x{int(made.height * share) // 2 * 2}"
            raise BadRequest(
                f"size {request.size}: a {request.format} of {made.width}x{made.height} takes {needed} bytes on the "
                f"bus, which carries {limit}; use size {fitting} or less"
            )


def _check(request: EncodePicture, node: str) -> tuple[int, int] | None:
    """The size that was asked for.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    given = [name for name in ("stream", "frame", "picture") if getattr(request, name) is not None]
    if len(given) != 1:
        raise InvalidValue("stream, frame, picture", ", ".join(given) or "none", "give exactly one of them")
    if request.frame is not None and request.frame.node != node:
        raise InvalidValue("frame.node", request.frame.node, f"this is node {node}; ask hw-encode of the frame's node")
    size = parse_size(request.size) if request.size is not None else None
    form = request.picture or request.frame
    width, height = size or ((form.width, form.height) if form else (0, 0))
    if width * height > _MAX_PIXELS:
        raise InvalidValue("size", f"{width}x{height}", f"at most {_MAX_PIXELS} pixels; ask for a smaller `size`")
    if request.format == "webp" and max(width, height) > _MAX_WEBP_EDGE_PIXELS:
        raise InvalidValue("size", f"{width}x{height}", f"a webp has edges of at most {_MAX_WEBP_EDGE_PIXELS} pixels")
    if request.picture is not None:
        _check_picture(request.picture)
    return size


def _check_picture(picture: RawPicture) -> None:
    if picture.pixel_format in pixel_formats.SUBSAMPLED and (picture.width % 2 or picture.height % 2):
        edges = f"{picture.width}x{picture.height}"
        raise InvalidValue("picture.width, picture.height", edges, f"{picture.pixel_format} takes even ones")
    needed = _picture_bytes(picture)
    if len(picture.data) != needed:
        form = f"{picture.pixel_format} of {picture.width}x{picture.height}"
        raise InvalidValue("picture.data", f"{len(picture.data)} bytes", f"{form} has {needed}")


def _picture_bytes(picture: RawPicture) -> int:
    shape = pixel_formats.array_shape(picture.pixel_format, picture.width, picture.height)
    return prod(shape) * np.dtype(pixel_formats.sample_type(picture.pixel_format)).itemsize


def _array(picture: RawPicture) -> Picture:
    """The bytes as they came, in place."""
    kind = pixel_formats.sample_type(picture.pixel_format)
    shape = pixel_formats.array_shape(picture.pixel_format, picture.width, picture.height)
    samples: Picture = np.frombuffer(picture.data, kind)  # numpy's types know no dtype of either size
    return samples.reshape(shape)


def _encode(found: _Found, request: EncodePicture, size: tuple[int, int] | None) -> PictureFile:
    form = found.form
    return encode_picture(
        found.array, form.pixel_format, form.width, form.height, request.format, quality=request.quality, size=size
    )
