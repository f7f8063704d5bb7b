"""Pictures out of many videos: one row for each, for Daft and Ray and for whoever has columns of videos."""

import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pyarrow as pa

from schemas.errors import InvalidValue, MeshError
from schemas.sampling import PictureOptions, Sampling
from schemas.still_format import StillFormat
from services.frame_extractor.engine import ExcerptError, Limits, OpenVideo, VideoError
from services.frame_extractor.excerpts import Source, make_excerpt
from services.frame_extractor.extraction import needs_little
from services.frame_extractor.sampled import Arguments, Destination, SampledRow, Wanted, rows_to_arrow, sample_video
from services.frame_extractor.settings import FrameExtractorSettings
from services.frame_extractor.storage import Places, StorageError
from shared.settings import load_settings
from shared.urls import redact, scrub

if TYPE_CHECKING:
    from daft import DataType

log = logging.getLogger(__name__)

_FORMATS: dict[str, StillFormat] = {".jpg": "jpg", ".png": "png", ".webp": "webp"}
_LONGEST_SHOWN = 200  # characters of a path in a log line
_ANYWHERE = (Path("/"),)
_NEVER = threading.Event()


class VideoFrameSampler:
    """Takes pictures out of each video of a column; any thread may call it, many at once.

    Args:
        sample_mode: `by_count_uniform`: `count_k` moments from start to end · `by_interval_time`: every
            `interval_sec` · `by_fps`: every 1/`target_fps` · `by_timestamps`: at `timestamps_sec` ·
            `by_interval_frames`: every `interval_frames`-th picture.
        start_time_sec: less than 0 is 0.
        end_time_sec: None: what the column of durations says, else the end of the video.
        img_type: `.jpg`, `.png` or `.webp`, of `base64` and of files; anything else is `.jpg`.
        output_tos_dir: `tos://bucket/folder`, `s3://…`, `file:///…` or an absolute path, where each video gets a
            folder of its own; empty: nothing is written.
        max_frames: the first so many, in the order of time.
        seed: of the choice that `by_count_uniform` makes among the pictures of a video whose length nobody knows.
        output_frames: else `frames` is empty.
        output_base64: else `base64` is empty.

    Raises:
        ValueError: there is no such `sample_mode`. What else is wrong is logged, and then every row is empty.
    """

    def __init__(
        self,
        sample_mode: str = "by_count_uniform",
        start_time_sec: float = 0.0,
        end_time_sec: float | None = None,
        count_k: int | None = None,
        interval_sec: float | None = None,
        interval_frames: int | None = None,
        target_fps: float | None = None,
        timestamps_sec: list[float] | None = None,
        img_type: str = ".jpg",
        output_tos_dir: str | None = None,
        max_frames: int | None = None,
        seed: int = 42,
        output_frames: bool = True,
        output_base64: bool = True,
    ) -> None:
        self._arguments = Arguments(
            sample_mode,
            {
                "start_time_sec": start_time_sec,
                "end_time_sec": end_time_sec,
                "count_k": count_k,
                "interval_sec": interval_sec,
                "interval_frames": interval_frames,
                "target_fps": target_fps,
                "timestamps_sec": timestamps_sec,
                "max_frames": max_frames,
                "seed": seed,
            },
        )
        self._pictures = PictureOptions(format=_FORMATS.get(str(img_type), "jpg"))
        self._with_frames, self._with_base64 = bool(output_frames), bool(output_base64)
        self._destination: Destination | None = None
        self._fault = ""
        """What is wrong with the arguments; then no video is looked at."""
        try:
            self._arguments.sampling()
            if output_tos_dir:
                self._destination = Destination(output_tos_dir)
        except InvalidValue as error:
            self._fault = error.message
            log.warning("no pictures of any video: %s", self._fault)

    @staticmethod
    def return_dtype() -> "DataType":
        """Of one row, as Daft has it.

        `frames` holds arrays of uint8, height x width x 3, blue first. As tensors they carry their shape, are one
        block of memory that Daft takes over without a copy, and are numpy arrays again to who reads them.
        """
        from daft import DataType

        row: DataType = DataType.struct(
            {
                "frames": DataType.list(DataType.tensor(DataType.uint8())),
                "base64": DataType.list(DataType.string()),
                "timestamps": DataType.list(DataType.float64()),
                "frame_indices": DataType.list(DataType.int64()),
                "tos_paths": DataType.list(DataType.string()),
            }
        )
        return row

    def __call__(
        self,
        video_paths: Any = None,
        video_binaries: Any = None,
        video_formats: Any = None,
        video_durations: Any = None,
    ) -> pa.StructArray:
        """One row for each video, in their order. Blocks. Of a video without pictures all five lists are empty.

        Args:
            video_paths: texts: a path, or an address as jobs take it. A row without one is its binary.
            video_binaries: the content of video files.
            video_formats: is not needed: a video is what its content says.
            video_durations: seconds, greater than 0: where its pictures end, unless `end_time_sec` says it.

        Raises:
            ValueError: columns of different lengths, or none.
        """
        columns = [_items(column) for column in (video_paths, video_binaries, video_formats, video_durations)]
        lengths = {len(column) for column in columns if column is not None}
        if len(lengths) != 1:
            raise ValueError("give video_paths or video_binaries, and columns of one length")
        count = lengths.pop()
        paths, binaries, _, durations = (column if column is not None else [None] * count for column in columns)
        return rows_to_arrow([self.sample(*row) for row in zip(paths, binaries, durations, strict=True)])

    def sample(self, path: str | None, binary: bytes | None = None, duration_s: float | None = None) -> SampledRow:
        """The pictures of one video; never raises. A log line says why there are none."""
        if self._fault:
            return SampledRow()
        try:
            row = self._sample(path, binary, self._arguments.sampling(duration_s))
            if not row.timestamps:
                raise VideoError("parameter", "no moment that is asked for is one of the video's")
            if row.note:
                log.warning("not all pictures of %s: %s", _shown(path, binary), row.note)
            return row
        except (VideoError, StorageError, MeshError) as error:
            reason = error.message
        except Exception as error:  # of millions of videos none may end the work on the others
            reason = f"{type(error).__name__}: {' '.join(scrub(str(error)).split())}"
        log.warning("no pictures of %s: %s", _shown(path, binary), reason)
        return SampledRow()

    def _sample(self, path: str | None, binary: bytes | None, sampling: Sampling) -> SampledRow:
        if not path and not binary:
            raise InvalidValue("video_paths", path, "give the path of a video, or its content in video_binaries")
        try:
            return self._taken(path, binary, sampling, sparse=bool(path) and needs_little(sampling))
        except ExcerptError:
            # The same pictures go to the same places, whole this time.
            return self._taken(path, binary, sampling, sparse=False)

    def _taken(self, path: str | None, binary: bytes | None, sampling: Sampling, sparse: bool) -> SampledRow:
        settings, file_format = self._settings, self._pictures.format
        wanted = Wanted(
            sampling=sampling,
            pictures=self._pictures,
            frames=self._with_frames,
            base64=self._with_base64,
            threads=settings.threads,
            most_bytes=settings.job_memory_bytes,
            limits=Limits(wall_s=settings.job_seconds),
        )

        def excerpt(source: Source, begins: bytes) -> Sequence[bytes] | None:
            return make_excerpt(source, begins, sampling, wanted.limits, _NEVER)

        with contextlib.ExitStack() as stack:
            if path:
                opened = stack.enter_context(
                    self._places.open_video(_address(path), sparse=sparse, excerpt=excerpt if sparse else None)
                )
                video = OpenVideo.of_url(opened.url, excerpt=opened.excerpt)
            else:
                video = OpenVideo.of_bytes(binary or b"")
            uploads = None
            if self._destination is not None:
                template = self._destination.template(path, binary, file_format, self._places.claim)
                uploads = stack.enter_context(self._places.uploads(self._places.writer(template, file_format)))
            return sample_video(video, wanted, uploads)

    @cached_property
    def _settings(self) -> FrameExtractorSettings:
        settings = load_settings(FrameExtractorSettings, "frame-extractor")
        written = self._destination.roots if self._destination is not None else ()
        # Whoever runs a query may read and write what they like; FILE_ROOTS narrows that.
        return msgspec.structs.replace(
            settings, file_roots=settings.file_roots or _ANYWHERE, picture_roots=written or settings.picture_roots
        )

    @cached_property
    def _places(self) -> Places:
        return Places(self._settings)


def _items(column: Any) -> Sequence[Any] | None:
    """Of a column of Daft, Arrow or Python."""
    if column is None:
        return None
    items: Sequence[Any] = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return items


def _address(path: str) -> str:
    """A path as jobs take it."""
    return path if "://" in path else f"file://{quote(os.path.abspath(path))}"


def _shown(path: str | None, binary: bytes | None) -> str:
    """In a log line: short, without secrets, and in one line whatever is in it."""
    return repr(redact(str(path))[0][:_LONGEST_SHOWN]) if path else f"a video of {len(binary or b'')} bytes"
