"""One job from its video to its pictures, in this process: the engine, the pictures, the places they go to."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import av

from schemas.errors import InvalidValue
from schemas.extraction import ExtractedFrame, FailureKind, SubmitJob, VideoFacts
from schemas.sampling import Sampling
from services.frame_extractor.engine import ExcerptError, Limits, OpenVideo, Taken, VideoError, take
from services.frame_extractor.excerpts import Source, make_excerpt
from services.frame_extractor.pictures import Picture, make_picture
from services.frame_extractor.storage import OpenedVideo, Places, StorageError, Uploads

# Fewer pictures than this, or rarer ones, need little of a long video: it is read in ranges rather than fetched.
_FEW_PICTURES = 16
_RARE_S = 30.0  # three times as long as groups of pictures are at most, as a rule


class ExtractionFailed(Exception):
    """It cannot be done; `may_pass`: now."""

    def __init__(self, kind: FailureKind, message: str, may_pass: bool = True) -> None:
        super().__init__(message)
        self.kind, self.message, self.may_pass = kind, message, may_pass


class Extraction:
    """Use once, as a context, `run` in it. Blocks; `done` and `expected` may be read from other threads."""

    def __init__(
        self,
        request: SubmitJob,
        places: Places,
        limits: Limits,
        *,
        threads: int,
        on_frame: Callable[[ExtractedFrame], None] = lambda _: None,
    ) -> None:
        """`on_frame` is told of each picture that is written, from several threads and out of order."""
        self.threads = threads
        self.done = 0
        self.expected: int | None = None
        self.stop = threading.Event()
        """To be set by who wants no more of it."""
        self.width = self.height = 0
        """Of the video, once it is entered."""
        self._request, self._places, self._limits, self._on_frame = request, places, limits, on_frame
        self._frames: dict[int, ExtractedFrame] = {}
        self._pending: dict[int, ExtractedFrame] = {}
        self._lock = threading.Lock()
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "Extraction":
        """Bring the video here, where that is needed, and look at the size of its pictures.

        Raises:
            ExtractionFailed: it is not there, or is no video.
        """
        with self._explained():
            self._open(needs_little(self._request.sampling))
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self) -> tuple[VideoFacts, list[ExtractedFrame]]:
        """Write every picture; they are in the order of time.

        Raises:
            ExtractionFailed: not all of them are written.
        """
        with self._explained():
            try:
                facts = self._take()
            except ExcerptError:
                # The same pictures go to the same places, whole this time; there may be fewer of them.
                self._frames.clear()
                self.done = 0
                self._closing.close()
                self._open(sparse=False)
                facts = self._take()
        return facts, [self._frames[number] for number in sorted(self._frames)]

    def _open(self, sparse: bool) -> None:
        opened: OpenedVideo = self._places.open_video(
            self._request.video, sparse=sparse, excerpt=self._excerpt if sparse else None, stop=self.stop
        )
        self._closing.callback(opened.close)
        try:
            self._video = OpenVideo.of_url(opened.url, excerpt=opened.excerpt)
            with self._video.opened(self.stop) as (_, stream):
                self._sample_aspect = stream.sample_aspect_ratio
                self.width, self.height = stream.codec_context.width, stream.codec_context.height
        except BaseException:
            self._closing.close()
            raise

    def _excerpt(self, source: Source, begins: bytes) -> Sequence[bytes] | None:
        return make_excerpt(source, begins, self._request.sampling, self._limits, self.stop)

    def _take(self) -> VideoFacts:
        writer = self._places.writer(self._request.to, self._request.pictures.format, self.stop)
        self._path = writer.path
        with self._places.uploads(writer, self._written) as uploads:
            try:
                return take(
                    self._video,
                    self._request.sampling,
                    lambda taken: self._make(taken, uploads),
                    threads=self.threads,
                    stop=self.stop,
                    limits=self._limits,
                    on_expected=self._expect,
                )
            except ExcerptError:
                uploads.finish()  # what is on its way must not be written over what follows
                raise

    def _expect(self, count: int) -> None:
        self.expected = count

    def _make(self, taken: Taken, uploads: Uploads) -> None:
        picture = self._picture(taken)
        frame = ExtractedFrame(
            index=taken.number,
            timestamp_s=taken.timestamp_s,
            pts_s=taken.pts_s,
            width=picture.width,
            height=picture.height,
            path=self._path(taken.number),
            frame_index=taken.frame_index,
        )
        with self._lock:
            self._pending[taken.number] = frame
        uploads.put(taken.number, picture.data)

    def _picture(self, taken: Taken) -> Picture:
        try:
            return make_picture(taken.frame, self._request.pictures, sample_aspect=self._sample_aspect)
        except (MemoryError, InvalidValue):
            raise
        except (av.FFmpegError, ValueError) as error:  # of the next attempt too
            kind: FailureKind = "extraction" if isinstance(error, av.FFmpegError) else "format"
            raise ExtractionFailed(kind, f"{self._video.name}: {error}", False) from None

    def _written(self, number: int) -> None:
        with self._lock:
            frame = self._frames[number] = self._pending.pop(number)
            self.done = len(self._frames)
        self._on_frame(frame)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except VideoError as error:
            raise ExtractionFailed(error.kind, error.message) from None
        except StorageError as error:
            raise ExtractionFailed(error.kind, error.message, error.may_pass) from None
        except InvalidValue as error:
            raise ExtractionFailed("parameter", error.message, False) from None


def needs_little(sampling: Sampling) -> bool:
    """Whether few pictures are asked for, or such that are far apart; of `frames` nobody knows before."""
    counts = (sampling.max_frames, sampling.count, len(sampling.timestamps_s) or None)
    if any(count is not None and count < _FEW_PICTURES for count in counts):
        return True
    if sampling.mode == "interval" and sampling.interval_s is not None:
        return sampling.interval_s >= _RARE_S
    return sampling.mode in ("middle", "fps") and sampling.fps is not None and sampling.fps * _RARE_S <= 1
