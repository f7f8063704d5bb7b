"""Commands of samples: pictures of a live stream again and again."""

from msgspec import Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, Changed, WaitSeconds
from schemas.ids import Id
from schemas.sample_resources import SampleActual, SampleSpec


class StartSample(SampleSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """frame-extractor.start-sample: take pictures of a stream from now on, or change how."""

    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopSample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """frame-extractor.stop-sample: take no more; those that were taken stay."""

    stream: Id
    sample: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class SampleChanged(Changed, frozen=True, kw_only=True):
    actual: SampleActual | None = None


class SampleEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: SampleSpec
    actual: SampleActual | None = None


class SampleList(Struct, frozen=True, kw_only=True):
    samples: tuple[SampleEntry, ...]
