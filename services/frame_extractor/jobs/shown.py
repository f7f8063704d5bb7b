"""Pictures of completed jobs for whoever looks: read from where they lie, made smaller where that is asked for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from schemas.errors import BadRequest, Conflict, InternalError, NotFound, Unavailable
from schemas.extraction import ExtractedFrame, FetchJobPicture, JobPicture, JobReply, PollJob
from schemas.sampling import PictureOptions
from schemas.still_format import StillFormat
from services.frame_extractor.pictures import make_picture
from services.frame_extractor.storage.errors import StorageError

log = logging.getLogger(__name__)

_MAX_FILE_BYTES: Final = 64 << 20  # a png of 4K has 20 MB
_AT_ONCE: Final = 2  # each may take a file and a decoded picture of 67 million pixels
_REPLY_BYTES: Final = 8192  # beside the file: a path has 4 KiB at most, and may be escaped
_MAX_PIXELS: Final = "67108864"  # larger ones are not made
_SMALL_QUALITY: Final = 80
# Whoever may write to the place may put anything there. Only decoders of pictures get to see it: a demuxer would take
# a playlist, and open what it names.
_MAGIC: Final[dict[bytes, StillFormat]] = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n": "png", b"RIFF": "webp"}
_DECODERS: Final[dict[StillFormat, str]] = {"jpg": "mjpeg", "png": "png", "webp": "webp"}


class Reader(Protocol):
    """Where pictures lie."""

    def read_picture(self, path: str, most_bytes: int) -> bytes:
        """Raises: StorageError: it is not there, or larger. Blocks."""


class JobPictures:
    """What `fetch` answers with."""

    def __init__(
        self, poll: Callable[[PollJob], Awaitable[JobReply]], reader: Reader, max_payload_bytes: Callable[[], int]
    ) -> None:
        """`max_payload_bytes`: of one message, as the bus is now."""
        self._poll, self._reader, self._max_payload_bytes = poll, reader, max_payload_bytes
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def fetch(self, request: FetchJobPicture) -> JobPicture:
        """One picture of a job.

        Raises:
            NotFound: there is no such job or picture, or it was removed from its place.
            Conflict: the job is not completed.
            BadRequest: it is larger than the bus carries; ask for a smaller one.
            Unavailable: its place does not answer, or the bus.
        """
        frame = await self._frame(request)
        async with self._at_once:
            picture = await asyncio.to_thread(self._read, frame, request.max_width)
        needed, limit = -(-len(picture.data) // 3) * 4 + _REPLY_BYTES, self._max_payload_bytes()  # base64
        if needed > limit:
            raise BadRequest(
                f"index {request.index}: the file takes {needed} bytes on the bus, which carries {limit}; "
                "give max_width, or read it from where it lies"
            )
        return picture

    async def _frame(self, request: FetchJobPicture) -> ExtractedFrame:
        """Of this index: where pictures before it could not be decoded, it stands further up in the list."""
        first, back = request.index, True
        while True:
            reply = await self._poll(PollJob(job=request.job, first=first, owner=request.owner))
            job, frames = reply.job, reply.frames
            if job.state != "completed":
                raise Conflict(f"{request.job} is {job.state}; its pictures are listed once it is completed")
            if back and first > 0 and (not frames or frames[0].index > request.index):
                # No two have one index, so by as much as this one is too high at the most.
                first = max(0, first - (frames[0].index - request.index) if frames else min(first, job.done) - 1)
                continue
            found = next((frame for frame in frames if frame.index >= request.index), None)
            if found is not None and found.index == request.index:
                return found
            if found is not None or not reply.more:
                raise NotFound(f"{request.job} has no picture {request.index}; it has {job.done}, from 0 on")
            first, back = first + len(frames), False

    def _read(self, frame: ExtractedFrame, max_width: int | None) -> JobPicture:
        try:
            data = self._reader.read_picture(frame.path, _MAX_FILE_BYTES)
        except StorageError as error:
            if error.may_pass:
                raise Unavailable(error.message) from None
            log.info("picture %d of a job: %s", frame.index, error.message)  # it may name folders of this machine
            raise NotFound(f"{frame.path}: is not there any more, or not for this service to read") from None
        kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
        if kind is None:
            raise NotFound(f"{frame.path}: something that is no jpg, png or webp has been written there since")
        if max_width is None or frame.width <= max_width:
            return JobPicture(frame=frame, format=kind, data=data)
        try:
            small = make_picture(_decoded(data, kind), PictureOptions(width=max_width, quality=_SMALL_QUALITY))
        except (av.FFmpegError, ValueError) as error:
            log.info("%s cannot be made smaller: %s", frame.path, error)
            raise InternalError(f"{frame.path}: cannot be decoded, though it begins as a {kind}") from None
        return JobPicture(frame=frame, format="jpg", data=small.data)


def _decoded(data: bytes, kind: StillFormat) -> VideoFrame:
    """Raises: av.FFmpegError, ValueError: it is damaged, or too large."""
    decoder = av.CodecContext.create(_DECODERS[kind], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.options = {"max_pixels": _MAX_PIXELS}
    decoder.thread_count = 1  # else it wants another packet before it gives the picture
    for frame in (*decoder.decode(Packet(data)), *decoder.decode(None)):
        return frame
    raise ValueError("there is no picture in it")
