"""Which pictures of a video are taken, and as what files."""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.errors import InvalidValue
from schemas.still_format import StillFormat

SampleMode = Literal["middle", "uniform", "interval", "frames", "fps", "timestamps"]
MAX_TIMESTAMPS = 100_000
MAX_EDGE_PIXELS = 16_384
MAX_WHOLE_NUMBER = 2**53 - 1
"""Readers of JSON agree on whole numbers up to this one (RFC 8259 section 6)."""
Edge = Annotated[int, Meta(ge=1, le=MAX_EDGE_PIXELS)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]

# What a mode cannot do without.
_NEEDS: dict[str, str] = {
    "middle": "fps",
    "uniform": "count",
    "interval": "interval_s",
    "frames": "interval_frames",
    "fps": "fps",
    "timestamps": "timestamps_s",
}


class Sampling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Moments of a video; of each the picture that is shown then."""

    mode: SampleMode = "middle"
    """`middle`: of each of `fps` parts of every second, its middle · `fps`: from `start_s` on in steps of 1/`fps` ·
    `interval`: in steps of `interval_s` · `uniform`: `count` moments, first and last of them start and end ·
    `frames`: every `interval_frames`-th picture · `timestamps`: those of `timestamps_s` within start and end."""
    fps: Annotated[float, Meta(gt=0, le=240)] | None = None
    """None: 1 for `middle`."""
    count: Annotated[int, Meta(ge=1, le=MAX_TIMESTAMPS)] | None = None
    interval_s: Annotated[float, Meta(gt=0)] | None = None
    interval_frames: Annotated[int, Meta(ge=1, le=MAX_WHOLE_NUMBER)] | None = None
    timestamps_s: Annotated[tuple[float, ...], Meta(max_length=MAX_TIMESTAMPS)] = ()
    start_s: Seconds = 0.0
    end_s: Seconds | None = None
    """None: the end of the video."""
    max_frames: Annotated[int, Meta(ge=1, le=MAX_WHOLE_NUMBER)] | None = None
    """The first so many, in the order of time."""
    seed: Annotated[int, Meta(ge=-MAX_WHOLE_NUMBER, le=MAX_WHOLE_NUMBER)] = 42
    """Of the choice that `uniform` makes among the pictures of a video whose length nobody knows."""


class PictureOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a picture is written; of `short_side` and the two edges one, or none for the video's own size."""

    format: StillFormat = "jpg"
    quality: Annotated[int, Meta(ge=1, le=100)] = 85
    """Of jpg and webp."""
    short_side: Edge | None = None
    """Pixels; the aspect is kept."""
    width: Edge | None = None
    """Pixels. Alone: the height follows."""
    height: Edge | None = None


def check_sampling(sampling: Sampling, path: str = "") -> None:
    """Raises:
    InvalidValue: names the field, the value and the fix.
    """
    need = _NEEDS[sampling.mode]
    if need != "fps" or sampling.mode == "fps":
        value = getattr(sampling, need)
        if value is None or value == ():
            raise InvalidValue(f"{path}{need}", value, f"mode {sampling.mode} needs it")
    for moment_s in sampling.timestamps_s:
        if not math.isfinite(moment_s) or moment_s < 0:
            raise InvalidValue(f"{path}timestamps_s", moment_s, "use seconds from 0 on")
    if sampling.end_s is not None and sampling.end_s < sampling.start_s:
        raise InvalidValue(f"{path}end_s", sampling.end_s, f"use a moment from start_s, {sampling.start_s:g}, on")


def check_options(options: PictureOptions, path: str = "") -> None:
    """Raises:
    InvalidValue: names the field, the value and the fix.
    """
    if options.short_side is not None and (options.width or options.height):
        raise InvalidValue(f"{path}short_side", options.short_side, "use it or width and height, not both")
