"""Metrics of mixes, read from their states when scraped."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from schemas.mix_resources import MixInputActual
from services.cloud_mix_proxy.mixer.protocol import Report
from services.cloud_mix_proxy.mixes.parts import MixCounts
from shared.metrics import Figures, Sample, one

if TYPE_CHECKING:
    from services.cloud_mix_proxy.mixes.runner import MixRunner

_PREFIX = "framemesh_cloud_mix_proxy"
_LEFT_OUT = ("late", "ring_full", "overwritten", "slow_tiles", "overflown")
_SOUND_LEFT_OUT = ("unmade_sound", "late_sound", "unusable_sound")


def register_metrics(figures: Figures, runners: "Mapping[str, MixRunner]", counts: MixCounts) -> None:
    """Register all that is read from the mixes of this node."""

    def each(read: Callable[[Report], float]) -> Callable[[], list[Sample]]:
        return lambda: [({"mix": mix}, read(runner.state.report)) for mix, runner in tuple(runners.items())]

    def left_out() -> list[Sample]:
        return [
            ({"mix": mix, "reason": reason}, getattr(runner.state.report, reason))
            for mix, runner in tuple(runners.items())
            for reason in (*_LEFT_OUT, *_SOUND_LEFT_OUT)
        ]

    def inputs() -> list[Sample]:
        found: list[tuple[str, MixInputActual]] = [
            (mix, given) for mix, runner in tuple(runners.items()) for given in runner.state.actual.inputs
        ]
        return [({"mix": mix, "input": given.input}, float(given.state == "live")) for mix, given in found]

    figures.gauge(f"{_PREFIX}_mixes", "Mixes of this node.", one(lambda: len(runners)))
    figures.gauge(f"{_PREFIX}_input_live", "1 while pictures of the input come.", inputs)
    figures.gauge(f"{_PREFIX}_fps", "Pictures made a second.", each(lambda report: report.fps))
    figures.counter(f"{_PREFIX}_pictures", "Pictures made by the process that runs.", each(lambda r: r.pictures))
    figures.counter(
        f"{_PREFIX}_left_out", "Pictures and blocks of sound left out by the process that runs, by reason.", left_out
    )
    figures.gauge(
        f"{_PREFIX}_lateness_seconds",
        "How long after their moment the slowest hundredth of pictures were handed over.",
        each(lambda report: report.lateness_p99_ms / 1_000),
    )
    figures.counter(f"{_PREFIX}_restarts", "Processes of mixes that ended by themselves.", one(lambda: counts.restarts))
    figures.counter(f"{_PREFIX}_lost_inputs", "Times an input was lost.", one(lambda: counts.lost_inputs))
    figures.counter(f"{_PREFIX}_failed_updates", "Changes that could not be shown.", one(lambda: counts.failed_updates))
    figures.counter(f"{_PREFIX}_ended_mixes", "Mixes that ended by themselves.", one(lambda: counts.ended))
