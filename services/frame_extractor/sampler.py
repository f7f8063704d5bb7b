"""Pictures out of many videos: one row for each, for Daft and Ray and for whoever has columns of videos."""

import contextlib
import logging
import math
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa

from schemas.errors import InvalidValue, MeshError
from schemas.sampling import PictureOptions, SampleMode, Sampling, check_sampling
from schemas.still_format import StillFormat
from services.frame_extractor.engine import Limits, OpenVideo, VideoError
from services.frame_extractor.extraction import needs_little
from services.frame_extractor.sampled import Destination, SampledRow, Wanted, rows_to_arrow, sample_video
from services.frame_extractor.settings import FrameExtractorSettings
from services.frame_extractor.storage import Places, StorageError
from shared.settings import load_settings
from shared.urls import redact, scrub

if TYPE_CHECKING:
    from daft import DataType

log = logging.getLogger(__name__)

_MODES: dict[str, SampleMode] = {
    "by_count_uniform": "uniform",
    "by_interval_time": "interval",
    "by_interval_frames": "frames",
    "by_fps": "fps",
    "by_timestamps": "timestamps",
}
_FORMATS: dict[str, StillFormat] = {".jpg": "jpg", ".png": "png", ".webp": "webp"}
# What modes need: of a sampling, and of the arguments.
_NEEDS = {
    "uniform": ("count", "count_k"),
    "interval": ("interval_s", "interval_sec"),
    "frames": ("interval_frames", "interval_frames"),
    "fps": ("fps", "target_fps"),
    "timestamps": ("timestamps_s", "timestamps_sec"),
}
_NAMES = {**dict(_NEEDS.values()), "start_s": "start_time_sec", "end_s": "end_time_sec"}
_LONGEST_SHOWN = 200  # characters of a path in a log line
_ANYWHERE = (Path("/"),)


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
        if sample_mode not in _MODES:
            raise ValueError(f"sample_mode {sample_mode!r}: use one of {', '.join(_MODES)}")
        self._sample_mode, self._mode = sample_mode, _MODES[sample_mode]
        self._pictures = PictureOptions(format=_FORMATS.get(str(img_type), "jpg"))
        self._with_frames, self._with_base64 = bool(output_frames), bool(output_base64)
        needed: dict[str, Any] = {"count_k": count_k, "interval_sec": interval_sec, "interval_frames": interval_frames}
        needed |= {"target_fps": target_fps, "timestamps_sec": timestamps_sec}
        # Of what other modes need nothing is looked at.
        field, argument = _NEEDS[self._mode]
        given = {field: needed[argument], "start_s": start_time_sec, "end_s": end_time_sec}
        self._given = {**given, "max_frames": max_frames, "seed": seed}
        self._destination: Destination | None = None
        self._fault = ""
        """What is wrong with the arguments; then no video is looked at."""
        try:
            self.sampling()
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
            return self._sample(path, binary, self.sampling(duration_s))
        except (VideoError, StorageError, MeshError) as error:
            reason = error.message
        except Exception as error:  # of millions of videos none may end the work on the others
            reason = f"{type(error).__name__}: {' '.join(scrub(str(error)).split())}"
        log.warning("no pictures of %s: %s", _shown(path, binary), reason)
        return SampledRow()

    def sampling(self, duration_s: float | None = None) -> Sampling:
        """Which pictures are taken of a video of which somebody says that it is that long.

        Raises:
            InvalidValue: names the argument, its value and the fix.
        """
        field, argument = _NEEDS[self._mode]
        if self._given[field] is None:
            raise InvalidValue(argument, None, f"{self._sample_mode} needs it")
        given = {name: _plain(value) for name, value in self._given.items() if value is not None}
        given["start_s"] = max(0.0, _number("start_time_sec", given.get("start_s", 0.0)))
        if "end_s" not in given and duration_s is not None and duration_s > 0:
            given["end_s"] = float(duration_s)
        if (moments := given.get("timestamps_s")) is not None:
            if not isinstance(moments, list):
                raise InvalidValue("timestamps_sec", moments, "give a list of seconds")
            # Those before the start are left out anyhow, and a sampling knows nothing before 0.
            moments = sorted(_number("timestamps_sec", moment) for moment in moments)
            given["timestamps_s"] = [moment for moment in moments if moment >= given["start_s"]]
            if not given["timestamps_s"]:
                raise InvalidValue("timestamps_sec", moments, "give moments from start_time_sec on")
        try:
            sampling = msgspec.convert({"mode": self._mode, **given}, Sampling)
            check_sampling(sampling)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `$.")
            name = where.partition("[")[0].strip("`")
            raise InvalidValue(_NAMES.get(name, name), given.get(name), reason) from None
        except InvalidValue as error:
            raise InvalidValue(_NAMES.get(error.field, error.field), error.value, error.fix) from None
        return sampling

    def _sample(self, path: str | None, binary: bytes | None, sampling: Sampling) -> SampledRow:
        if not path and not binary:
            raise InvalidValue("video_paths", path, "give the path of a video, or its content in video_binaries")
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
        with contextlib.ExitStack() as stack:
            if path:
                sparse = needs_little(sampling)
                opened = stack.enter_context(self._places.open_video(_address(path), sparse=sparse))
                video = OpenVideo.of_url(opened.url)
            else:
                video = OpenVideo.of_bytes(binary or b"")
            uploads = None
            if self._destination is not None:
                template = self._destination.template(path, binary, file_format)
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


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidValue(name, value, "use seconds")
    return number
