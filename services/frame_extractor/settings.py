"""Settings of frame-extractor."""

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from services.frame_extractor.las.settings import LasSettings

Bytes = Annotated[int, Meta(ge=64 << 20, le=1 << 44)]


def _parallel_jobs() -> int:
    return max(1, (os.cpu_count() or 1) // 2)


def _half_the_memory() -> int:
    return max(1 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


class FrameExtractorSettings(LasSettings, frozen=True, kw_only=True):
    parallel_jobs: Annotated[int, Meta(ge=0, le=256)] = msgspec.field(default_factory=_parallel_jobs)
    """At once on this node; half its cores when not given. 0: this instance answers, and works on nothing."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 2
    """Decoders of one job, each with a part of the video: two were fastest for one file, more jobs are for more."""
    attempts: Annotated[int, Meta(ge=1, le=20)] = 4
    """How often a job is begun that fails by what may pass, or whose worker dies of it, before it is failed."""
    job_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """A job that takes longer is ended, and failed."""
    give_up_seconds: Annotated[float, Meta(ge=2, le=600)] = 6.0
    """A worker that says nothing for so long is given up, and its job goes to another. Of all instances the same."""
    job_memory_bytes: Bytes = 2 << 30
    """What one job's process may allocate; one that needs more fails, and nothing else with it."""
    memory_bytes: Bytes = msgspec.field(default_factory=_half_the_memory)
    """What the jobs at once are reckoned to need at most, by the size of their pictures; half the machine's when not
    given. A job that needs more than all of it runs alone."""
    max_waiting: Annotated[int, Meta(ge=1, le=1_000_000)] = 100_000
    """Jobs that wait in the queue; more are refused."""
