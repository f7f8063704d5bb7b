"""Takes the pictures of one video into a row."""

import base64
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from schemas.sampling import PictureOptions, Sampling
from services.frame_extractor.engine import Limits, OpenVideo, Taken, VideoError, take
from services.frame_extractor.pictures import make_picture, picture_array
from services.frame_extractor.sampled.pile import Pile
from services.frame_extractor.sampled.row import SampledRow
from services.frame_extractor.storage import Uploads, Writer


@dataclass(frozen=True)
class Wanted:
    """What a row shall have, and how much it may take."""

    sampling: Sampling
    pictures: PictureOptions
    frames: bool
    base64: bool
    threads: int
    """That decode one video."""
    most_bytes: int
    """Of the arrays of one video, and of its base64."""
    limits: Limits


class _Told(NamedTuple):
    timestamp_s: float
    frame_index: int | None
    base64: str


def sample_video(video: OpenVideo, wanted: Wanted, uploads: Uploads | None = None) -> SampledRow:
    """The row of one video. Blocks.

    Pictures go to `uploads` as they come, and are written when it is finished.

    Raises:
        VideoError: nothing can be taken, or more than is allowed.
        StorageError: a picture cannot be written.
        InvalidValue, av.FFmpegError, ValueError: a picture cannot be made.
    """
    never = threading.Event()
    with video.opened(never) as (_, stream):
        sample_aspect = stream.sample_aspect_ratio
    gathering = _Gathering(wanted, sample_aspect, uploads)
    facts = take(
        video,
        wanted.sampling,
        gathering.add,
        threads=wanted.threads,
        stop=never,
        limits=wanted.limits,
        on_expected=gathering.expect,
    )
    return gathering.row(uploads.writer if uploads is not None else None, facts.note)


class _Gathering:
    """The pictures of one video as they come: from several threads, in no order."""

    def __init__(self, wanted: Wanted, sample_aspect: Fraction | None, uploads: Uploads | None) -> None:
        self._wanted, self._sample_aspect, self._uploads = wanted, sample_aspect, uploads
        self._pile = Pile(wanted.most_bytes)
        self._told: dict[int, _Told] = {}
        self._text_bytes = 0
        self._lock = threading.Lock()

    def expect(self, count: int) -> None:
        self._pile.expected = count

    def add(self, taken: Taken) -> None:
        wanted = self._wanted
        if wanted.frames:
            picture_array(
                taken.frame,
                wanted.pictures,
                sample_aspect=self._sample_aspect,
                order="bgr24",  # as OpenCV has it, which most of what reads arrays was made for
                new=lambda shape: self._pile.place(taken.number, shape),
            )
        text = ""
        if wanted.base64 or self._uploads is not None:
            data = make_picture(taken.frame, wanted.pictures, sample_aspect=self._sample_aspect).data
            if self._uploads is not None:
                self._uploads.put(taken.number, data)
            if wanted.base64:
                text = base64.b64encode(data).decode("ascii")
        with self._lock:
            self._told[taken.number] = _Told(taken.pts_s, taken.frame_index, text)
            self._text_bytes += len(text)
        if self._text_bytes > wanted.most_bytes:
            raise VideoError(
                "parameter",
                f"the base64 of its pictures takes more than {wanted.most_bytes} bytes; take fewer (max_frames), or"
                " none (output_base64=False), or raise FRAMEMESH_FRAME_EXTRACTOR_JOB_MEMORY_BYTES",
            )

    def row(self, writer: Writer | None, note: str) -> SampledRow:
        numbers = sorted(self._told)
        told = [self._told[number] for number in numbers]
        pixels, shapes = self._pile.pixels(numbers if self._wanted.frames else [])
        return SampledRow(
            pixels=pixels,
            shapes=shapes,
            base64=[one.base64 for one in told] if self._wanted.base64 else [],
            timestamps=[one.timestamp_s for one in told],
            frame_indices=[one.frame_index for one in told],
            tos_paths=[writer.path(number) for number in numbers] if writer is not None else [],
            note=note,
        )
