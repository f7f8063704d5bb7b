"""Still pictures: `pic-encode` makes an image file of a picture of the mesh, or of one that is sent along."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import NamedTuple

import av
import numpy as np

from schemas.colours import UNSPECIFIED
from schemas.errors import BadRequest, Conflict, InternalError, InvalidValue, NotFound, TooMany, Unavailable
from schemas.frames import FrameRef
from schemas.stills import EncodedPicture, EncodePicture, RawPicture, StillFormat
from schemas.subjects import RAW, frames
from schemas.units import parse_size
from services.hw_encode.coming_picture import ComingPicture
from shared import pixel_formats
from shared.bus import Bus
from shared.demand import Wants
from shared.media.picture_file import PictureFile, encode_picture
from shared.pixel_formats import Picture
from shared.ring import FrameOverwritten, Lease, LeaseError, LeaseLimit, RingReader

_THREADS = 2  # files are made beside the live pictures, which come first; so many leases are held at once
_WAITING = 32  # requests under way; each may hold 8 MiB of the bus
_LEAST_WAIT_SECONDS = 0.2  # with wait_s 0: the time to take what is about to come
_HEADER_BYTES = 1024  # of a reply beside the file
_MARGIN = 0.85  # files do not shrink quite as their pixels do
_MAX_PIXELS = 8_192 * 8_192  # of the file: a small request must not take gigabytes
_MAX_WEBP_EDGE_PIXELS = 16_383  # of the format


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
            # Waited for outside: a stream that stands still must not keep others from the threads.
            async with self._picture(request) as take, self._free:
                found = await take()
                _check_size(found.form.width, found.form.height, size, request.format)
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

    @contextlib.asynccontextmanager
    async def _picture(self, request: EncodePicture) -> AsyncIterator[Callable[[], Awaitable[_Found]]]:
        """How to take the picture, once there is one and somebody to encode it: nothing is held while that is busy."""
        if request.stream is None:

            async def take() -> _Found:
                if request.picture is not None:
                    return _Found(_array(request.picture), request.picture, lambda: None)
                assert request.frame is not None  # _check() has seen to it
                return _found(self._lease(request.frame))

            yield take
            return
        if request.stream not in self._streams():
            message = f"stream {request.stream!r} does not exist on node {self._node}; start it with capture.start"
            raise NotFound(message)
        coming = ComingPicture(self._reader)
        subscription = await self._bus.subscribe(frames(self._node, request.stream), coming.receive)
        stop_wanting = self._wants.want(self._node, request.stream, RAW, "hw-encode-still")
        try:
            if await coming.within(max(request.wait_s, _LEAST_WAIT_SECONDS)):
                yield lambda: self._next(coming, request)
                return
        finally:
            stop_wanting()
            await subscription.close()
        raise _none_came(request)

    async def _next(self, coming: ComingPicture, request: EncodePicture) -> _Found:
        lease = await coming.lease(_LEAST_WAIT_SECONDS)
        if lease is None:
            raise _none_came(request)
        return _found(lease)

    def _lease(self, ref: FrameRef) -> Lease:
        try:
            return self._reader.lease(ref)
        except FrameOverwritten as error:
            raise Conflict(f"frame: {error}; take a newer one, or ask by `stream`") from error
        except LeaseLimit as error:
            raise TooMany(f"frame: {error}") from error
        except LeaseError as error:
            raise NotFound(f"frame: {error}; send it as it came on the bus, soon") from error

    def _check_reply(self, made: PictureFile, request: EncodePicture) -> None:
        needed, limit = len(base64.b64encode(made.data)) + _HEADER_BYTES, self._bus.max_payload_bytes
        if needed > limit:
            share = (limit / needed) ** 0.5 * _MARGIN
            fitting = f"{int(made.width * share) // 2 * 2}x{int(made.height * share) // 2 * 2}"
            raise BadRequest(
                f"size {request.size}: a {request.format} of {made.width}x{made.height} takes {needed} bytes on the "
                f"bus, which carries {limit}; use size {fitting} or less"
            )


def _found(lease: Lease) -> _Found:
    return _Found(lease.array, lease.ref, lease.release)


def _none_came(request: EncodePicture) -> Unavailable:
    return Unavailable(f"no picture of {request.stream} within {request.wait_s:g} s; see its state in capture.list")


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
    if form := request.picture or request.frame:
        _check_size(form.width, form.height, size, request.format)
    if request.picture is not None:
        _check_picture(request.picture)
    return size


def _check_size(width: int, height: int, size: tuple[int, int] | None, file_format: StillFormat) -> None:
    """Of the file: that of the picture, or what was asked for."""
    width, height = size or (width, height)
    if width * height > _MAX_PIXELS:
        raise InvalidValue("size", f"{width}x{height}", f"at most {_MAX_PIXELS} pixels; ask for a smaller `size`")
    if file_format == "webp" and max(width, height) > _MAX_WEBP_EDGE_PIXELS:
        raise InvalidValue("size", f"{width}x{height}", f"a webp has edges of at most {_MAX_WEBP_EDGE_PIXELS} pixels")


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
        found.array,
        form.pixel_format,
        form.width,
        form.height,
        request.format,
        quality=request.quality,
        size=size,
        colour_space=form.colour_space if isinstance(form, FrameRef) else UNSPECIFIED,
    )
