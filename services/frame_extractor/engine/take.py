"""Takes the pictures of a sampling out of a video."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from av.video.frame import VideoFrame

from schemas.extraction import VideoFacts
from schemas.sampling import Sampling
from services.frame_extractor.engine.decode import decode_shares
from services.frame_extractor.engine.errors import ExcerptError, VideoError
from services.frame_extractor.engine.index import Index, read_index
from services.frame_extractor.engine.limits import Halt, Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.outline import check_entries, read_outlined
from services.frame_extractor.engine.plan import Share, plan_runs, shares
from services.frame_extractor.engine.targets import Moment, moments

_QUARTER_DEGREES = 90
_NEARLY_DEGREES = 26  # a turn as near to a quarter as that is made one, see `pictures.orientation`
_LITTLE = 0.3  # of a remote video: three requests for every group take as long as reading on


@dataclass(frozen=True, slots=True)
class Taken:
    """One picture. Let go of `frame` soon: decoders have few."""

    number: int
    """From 0, in the order of time."""
    timestamp_s: float
    """The moment that was asked for."""
    pts_s: float
    """Of the picture that is shown then, from the first picture on."""
    frame_index: int | None
    """Of the video's pictures, in the order of time; None: packets do not tell."""
    frame: VideoFrame
    """As decoded: in its own size and colours, before rotation (`frame.rotation`). Not to be written to."""


OnPicture = Callable[[Taken], None]


def take(
    video: OpenVideo,
    sampling: Sampling,
    on_picture: OnPicture,
    *,
    threads: int = 1,
    stop: threading.Event | None = None,
    limits: Limits | None = None,
    on_expected: Callable[[int], None] | None = None,
) -> VideoFacts:
    """Hand every picture of `sampling` to `on_picture`, from several threads and in no order. Blocks.

    A video that is cut off or damaged gives what can be decoded; `note` of the facts says what was left out. After
    `stop` the facts come soon, with fewer pictures. What `on_picture` raises is raised here.

    Args:
        sampling: checked.
        threads: that decode and call `on_picture` at the same time.
        on_expected: gets the number of pictures before the first one.

    Raises:
        VideoError: nothing can be taken; `kind` says what is at fault.
        ExcerptError: not all can be taken of an excerpt; some pictures may have been handed over.
    """
    limits = limits or Limits()
    halt = Halt(stop or threading.Event(), limits.wall_s)
    index, chosen = _index(video, sampling, limits, halt)
    if on_expected is not None and not halt.is_set():
        on_expected(len(chosen))
    hand = _Hand(index, on_picture, limits, halt, counts=not video.excerpt)
    # A video of which nothing is asked still says what it is: by its first picture.
    asked = chosen or [Moment(-1, 0.0, 0)]
    missed = _decode(video, index, shares(plan_runs(index, asked), threads), threads, hand, halt, limits)
    if video.excerpt and (missed or hand.damaged or index.note) and not halt.is_set():
        raise ExcerptError("video", f"{video.name}: not all that is needed of it can be read in parts")
    if missed and not index.numbered and not halt.is_set():
        # Packets that are damaged, or that show nothing of their own: the picture that is shown is an earlier one.
        careful = replace(index, careful=True)
        again = shares(plan_runs(careful, missed, back=1), threads)
        missed = _decode(video, careful, again, threads, hand, halt, limits)
    if hand.failure is not None:
        raise hand.failure
    halt.check_time()
    if chosen and not hand.given and not halt.is_set():
        raise VideoError("extraction", f"{video.name}: none of its pictures can be decoded")
    notes = [index.note] if index.note else []
    if missed and not halt.is_set():
        notes.append(f"{len(missed)} of {len(chosen)} pictures cannot be decoded")
    if hand.damaged:
        notes.append(f"{hand.damaged} pictures are damaged")
    return hand.facts("; ".join(notes))


def _index(video: OpenVideo, sampling: Sampling, limits: Limits, halt: Halt) -> tuple[Index, list[Moment]]:
    """Of a remote video that little is needed of, without reading the rest."""
    outline = read_outlined(video, limits, halt) if video.remote else None
    if outline is not None:
        chosen = moments(sampling, outline, limits)
        asked = chosen or [Moment(-1, 0.0, 0)]
        needed = sum(run.cost for run in plan_runs(outline, asked))
        if needed < _LITTLE * outline.size.sum() and check_entries(video, outline, asked, halt):
            return outline, chosen
    index = read_index(video, limits, halt)
    return index, moments(sampling, index, limits)


class _Hand:
    """Hands over, and remembers what the video looks like."""

    def __init__(self, index: Index, on_picture: OnPicture, limits: Limits, halt: Halt, *, counts: bool) -> None:
        self._index, self._on_picture, self._limits, self._halt = index, on_picture, limits, halt
        self._counts = counts and (index.numbered or not index.careful)
        self._lock = threading.Lock()
        self._first: tuple[int, int, int] | None = None  # number, width, height
        self.given = 0
        self.damaged = 0
        self.failure: Exception | None = None
        """What `on_picture` raised."""

    def __call__(self, moment: Moment, at: int, frame: VideoFrame) -> None:
        self._limits.check_size(frame.width, frame.height)
        turned = abs(frame.rotation % (2 * _QUARTER_DEGREES) - _QUARTER_DEGREES) <= _NEARLY_DEGREES
        width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
        with self._lock:
            if self._first is None or moment.number < self._first[0]:
                self._first = moment.number, width, height
            if moment.number < 0:
                return
            self.given += 1
            self.damaged += frame.is_corrupt
        index = self._index
        pts = int(index.picture_pts[at]) if index.numbered else at
        counted = moment.picture if self._counts else None
        try:
            self._on_picture(Taken(moment.number, moment.timestamp_s, index.seconds(pts), counted, frame))
        except Exception as error:  # whatever it is, it is the caller's: to be raised there, not taken for the video's
            self.failure = error
            self._halt.set()

    def facts(self, note: str) -> VideoFacts:
        index = self._index
        _, width, height = self._first or (0, index.width, index.height)
        return VideoFacts(duration_s=index.duration_s, width=width, height=height, codec=index.codec, note=note)


def _decode(
    video: OpenVideo, index: Index, parts: list[Share], threads: int, hand: _Hand, halt: Halt, limits: Limits
) -> list[Moment]:
    """All parts, each thread one after the other; returns the moments whose pictures did not come out."""
    waiting: SimpleQueue[Share] = SimpleQueue()
    for part in parts:
        waiting.put(part)
    missed: SimpleQueue[Moment] = SimpleQueue()

    def next_share() -> Share | None:
        try:
            return waiting.get_nowait()
        except Empty:
            return None

    def work() -> None:
        try:
            for moment in decode_shares(video, index, next_share, hand, halt, limits):
                missed.put(moment)
        except BaseException:
            halt.set()  # nobody shall go on for a result that nobody gets
            raise

    count = min(threads, len(parts))
    with ThreadPoolExecutor(count, thread_name_prefix="decode") as pool:
        futures = [pool.submit(work) for _ in range(count)]
    for future in futures:
        future.result()
    return [missed.get() for _ in range(missed.qsize())]
