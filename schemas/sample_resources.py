"""Pictures of a live stream again and again: what is asked for (specs), and what is (actuals)."""

import re
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.errors import ErrorInfo, InvalidValue
from schemas.ids import Id
from schemas.sampling import PictureOptions, check_options
from schemas.units import BytesText, DurationText, parse_bytes, parse_duration

SampleState = Literal["waiting", "running", "failed", "away"]
SampleReason = Literal["schedule", "event", "motion", "scene"]
Share = Annotated[float, Meta(gt=0, le=1)]
Levels = Annotated[float, Meta(gt=0, le=255)]
# Each picture is two writes of state; what is faster is a rendition, or a job's work.
LEAST_EVERY_SECONDS: Final = 0.2
_TRIGGERS: Final = ("every", "event", "motion", "scene")
_EVENT_PATTERN: Final = re.compile(
    r"(?:(?:\*|[\w-]{1,128})\.){2}(?:\*|[\w-]{1,128})|(?:(?:\*|[\w-]{1,128})\.){0,2}>", re.ASCII
)


class SampleSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Pictures of a live stream as files: owned by frame-extractor on the stream's node.

    Of `every`, `event`, `motion` and `scene` at least one.
    """

    stream: Id
    sample: Id
    to: str
    """`file://…` below a root for pictures, `s3://…` or `tos://…`, with `{sequence}` in it.

    `{stream}`, `{sample}`, `{start:%Y%m%d-%H%M%S}` (of the capture, UTC), `{epoch}`, `{sequence}` and `{autoext}` are
    filled in: the frame's identity, so that the same picture has the same name whoever writes it.
    """
    every: DurationText | None = None
    """The picture nearest to the beginning of each such piece of time, counted from 1970. 200ms at least."""
    event: str | None = None
    """On each event of this service, id and name, with `*` and `>` as NATS has them: `io-signal.di1.edge`."""
    motion: Share | None = None
    """When so much of the picture changes: the share of its cells whose brightness moves by `levels`."""
    scene: Levels | None = None
    """When the whole picture changes: the mean difference of brightness to the one before, in levels of 0 to 255."""
    levels: Levels = 12.0
    """Of motion: less is the noise of a camera."""
    quiet_for: DurationText = "2s"
    """Of motion: it is over when less than half of `motion` changed for so long; then the next one counts."""
    at_most_every: DurationText = "1s"
    """Of events, motion and scenes: so long after one picture there is no other."""
    pictures: PictureOptions = PictureOptions()
    keep_for: DurationText | None = None
    """Of file://: pictures that are older are taken away."""
    keep_bytes: BytesText | None = None
    """Of file://: the oldest are taken away while all of this sample's are more than this."""


class SampleActual(Struct, frozen=True, kw_only=True):
    """What frame-extractor sees of one sample."""

    stream: Id
    sample: Id
    node: Id
    revision: int
    state: SampleState
    since_ns: int = 0
    error: ErrorInfo | None = None
    """Why there are no pictures now; or why the last one failed."""
    pictures: int = 0
    """Written since this service was started."""
    missed: int = 0
    """That were due, and could not be taken or written."""
    last: str = ""
    """Where the last picture is."""
    last_captured_ns: int = 0


class SampleClaim(Struct, frozen=True, kw_only=True):
    """Which picture a sample takes, told before it is written: nobody else takes another in its place."""

    piece: int
    """Of `every`: which piece of time; of the others 0."""
    captured_ns: int
    epoch: int
    sequence: int
    reason: SampleReason
    done: bool = False
    """It is written."""


def check_sample(spec: SampleSpec, path: str = "") -> None:
    """Raises:
    InvalidValue: names the field, the value and the fix.
    """
    if all(getattr(spec, name) is None for name in _TRIGGERS):
        raise InvalidValue(f"{path}every", None, "say when: every, event, motion or scene")
    if spec.every is not None and parse_duration(spec.every, f"{path}every") < LEAST_EVERY_SECONDS:
        raise InvalidValue(f"{path}every", spec.every, f"write {LEAST_EVERY_SECONDS * 1000:.0f}ms or more")
    if parse_duration(spec.at_most_every, f"{path}at_most_every") < LEAST_EVERY_SECONDS:
        fix = f"write {LEAST_EVERY_SECONDS * 1000:.0f}ms or more"
        raise InvalidValue(f"{path}at_most_every", spec.at_most_every, fix)
    parse_duration(spec.quiet_for, f"{path}quiet_for")
    if spec.event is not None and not _EVENT_PATTERN.fullmatch(spec.event):
        fix = "write what stands behind mesh.v1.evt., for example capture.cam0.state or io-signal.*.edge"
        raise InvalidValue(f"{path}event", spec.event, fix)
    if spec.keep_for is not None:
        parse_duration(spec.keep_for, f"{path}keep_for")
    if spec.keep_bytes is not None:
        parse_bytes(spec.keep_bytes, f"{path}keep_bytes")
    for name in ("keep_for", "keep_bytes"):
        if getattr(spec, name) is not None and not spec.to.startswith("file://"):
            fix = "leave it out: a bucket forgets by the rules that its owner gives it"
            raise InvalidValue(f"{path}{name}", getattr(spec, name), fix)
    if "{sequence}" not in spec.to:
        raise InvalidValue(f"{path}to", spec.to, "put {sequence} into the name, so that every picture has its own")
    check_options(spec.pictures, f"{path}pictures.")
