"""A video that can be opened as often as there are threads that read it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from schemas.errors import BadRequest, InvalidValue, MeshError
from services.frame_extractor.engine.errors import VideoError
from shared.netguard import (
    GuardedUrl,
    NotMedia,
    OtherFormat,
    TooLong,
    explain_av_error,
    interruptible,
    open_input,
)
from shared.netguard.libav import ANY_TEXT, MEDIA_FORMATS

# A file may call itself what it likes and holds a video or nothing: no playlist, no list of other files.
_FILE_OPTIONS = {"format_whitelist": MEDIA_FORMATS, "protocol_whitelist": "file"}
_BYTES_OPTIONS = {"format_whitelist": MEDIA_FORMATS, "protocol_whitelist": "none"}
_SNIFFED_BYTES = 4096  # PNG says that it moves before its first picture, behind texts and colour profiles at most
_WEBP_MOVES = 2  # of the flags of its header: https://developers.google.com/speed/webp/docs/riff_container
# By their names libav takes pictures for a numbered sequence of them, which is refused; by their content, for one.
_PICTURES = {b"\xff\xd8\xff": "jpeg_pipe", b"\x89PNG\r\n\x1a\n": "png_pipe", b"RIFF": "webp_pipe", b"BM": "bmp_pipe"}


class OpenVideo:
    """Where a video is. Each thread opens it for itself."""

    def __init__(
        self,
        opener: Callable[[], InputContainer],
        name: str,
        remote: bool,
        url: GuardedUrl | None = None,
        excerpt: bool = False,
    ) -> None:
        self._opener = opener
        self.url = url
        self.excerpt = excerpt
        """Only what one sampling needs is in it."""
        self.name = name
        """For people; without secrets."""
        self.remote = remote

    @classmethod
    def of_path(cls, path: str | Path) -> "OpenVideo":
        """A file of this machine; the caller has checked that it may be read."""
        return cls(lambda: _open_path(Path(path)), Path(path).name, remote=False)

    @classmethod
    def of_bytes(cls, data: bytes) -> "OpenVideo":
        """A file's content."""
        return cls(lambda: _open(BytesIO(data), _BYTES_OPTIONS), "the video", remote=False)

    @classmethod
    def of_url(cls, url: GuardedUrl, *, excerpt: bool = False) -> "OpenVideo":
        """What netguard let pass; `file://` too."""
        if url.scheme == "file" and (path := url.file) is not None:
            # A fetched video is known by the address that it came from.
            return cls(lambda: _open_path(path), url.shown, remote=False, excerpt=excerpt)
        return cls(lambda: open_input(url), url.shown, remote=True, url=url)

    @contextmanager
    def opened(
        self, halt: threading.Event, opener: Callable[[], InputContainer] | None = None
    ) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The container and its video; reading ends soon after `halt`. `opener` opens it in another way.

        Raises:
            VideoError: it cannot be opened, or there is no video in it.
        """
        with interruptible(halt):
            try:
                container = (opener or self._opener)()
            except (MeshError, av.FFmpegError, OSError, ValueError) as error:
                raise self.explain(error, opening=True) from None
            with container:
                yield container, self._video_of(container)

    def explain(self, error: Exception, opening: bool = False) -> VideoError:
        """What an exception of netguard or libav means to the one who asked for pictures."""
        if isinstance(error, VideoError):
            return error
        if isinstance(error, InvalidValue):
            return VideoError("url", error.message)
        if isinstance(error, TooLong):
            return VideoError("video", f"{error.message}; raise FRAMEMESH_FRAME_EXTRACTOR_VIDEO_BYTES")
        told = explain_av_error(error, self.name)
        if opening and isinstance(told, OtherFormat):
            return VideoError("format", f"{told.message}; MP4, Matroska, WebM, MPEG-TS, AVI and FLV are read")
        if isinstance(told, NotMedia):
            return VideoError("video", told.message)
        if isinstance(error, MeshError):
            ours = type(error).code == BadRequest.code and not self.remote
            return VideoError("video" if ours else "download", error.message)
        if isinstance(error, av.error.DecoderNotFoundError | av.error.PatchWelcomeError):
            return VideoError("format", f"{self.name}: this libav cannot decode it")
        if self.remote:
            return VideoError("download", told.message)
        return VideoError("video", told.message)

    def _video_of(self, container: InputContainer) -> VideoStream:
        # The cover of a record is a video stream to libav.
        videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not videos:
            raise VideoError("video", f"{self.name} has no video in it")
        best = container.streams.best("video")
        stream = next((video for video in videos if video is best), videos[0])
        if stream.codec_context is None:
            raise VideoError("format", f"{self.name} is coded in a way that this libav cannot decode")
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all  # the demuxer need not even read it
        return stream


def _open_path(path: Path) -> InputContainer:
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES)
    picture = next((form for magic, form in _PICTURES.items() if head.startswith(magic)), None)
    if picture == "webp_pipe" and head[8:12] != b"WEBP":
        picture = None  # AVI is RIFF too
    if picture == "png_pipe" and b"acTL" in head[: head.find(b"IDAT")]:
        picture = "apng"
    if picture == "webp_pipe" and head[12:16] == b"VP8X" and head[20] & _WEBP_MOVES:
        raise av.error.PatchWelcomeError(0, "moving WebP")  # what libav leaves to its decoder to say of each picture
    return _open(str(path), _FILE_OPTIONS, picture)


def _open(source: str | BytesIO, options: dict[str, str], form: str | None = None) -> InputContainer:
    return av.open(source, "r", format=form, container_options=options, metadata_errors=ANY_TEXT)
