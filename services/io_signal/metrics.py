"""Metrics of outputs, read when scraped; those of inputs and rules are theirs."""

from collections.abc import Callable, Iterable
from typing import Final

from services.io_signal.link.hand_link import HandLink
from services.io_signal.signals.parts import SignalFigures, SignalParts
from shared.metrics import Distribution, Figures, Sample, one

_PREFIX: Final = "framemesh_io_signal"


def register_metrics(figures: Figures, parts: SignalParts, link: HandLink) -> None:
    """Register all that is read from the outputs of this node."""

    def counts(label: str, read: Callable[[SignalFigures], Iterable[tuple[str, int]]]) -> Callable[[], list[Sample]]:
        return lambda: [
            ({"signal": signal, label: name}, count)
            for signal, found in tuple(parts.figures.items())
            for name, count in tuple(read(found))
        ]

    def each(read: Callable[[SignalFigures], Distribution]) -> Callable[[], list[tuple[dict[str, str], Distribution]]]:
        return lambda: [({"signal": signal}, read(found)) for signal, found in tuple(parts.figures.items())]

    figures.gauge(f"{_PREFIX}_signals", "Outputs of this node.", one(lambda: len(parts.running)))
    figures.gauge(f"{_PREFIX}_off_mode", "1 while off-mode is active.", one(lambda: float(parts.off_mode.active)))
    figures.counter(
        f"{_PREFIX}_commands",
        "Commands, by what came of them: `done`, or the code of the error.",
        counts("result", lambda found: found.results.items()),
    )
    figures.counter(
        f"{_PREFIX}_changes",
        "Times a device was told on or off, by cause.",
        counts("cause", lambda found: found.causes.items()),
    )
    figures.histograms(
        f"{_PREFIX}_command_to_edge_seconds",
        "From a command's arrival to the moment when the device has it.",
        each(lambda found: found.latency),
    )
    figures.histograms(
        f"{_PREFIX}_capture_to_edge_seconds",
        "From a picture's capture to the edge that it was the reason for.",
        each(lambda found: found.since_capture),
    )
    figures.histograms(
        f"{_PREFIX}_keep_error_seconds",
        "How long after the end of its keep time an output was off.",
        each(lambda found: found.keep_error),
    )
    figures.counter(
        f"{_PREFIX}_dropped_changes",
        "Changes of while the bus was away that nobody is told of.",
        one(lambda: parts.audit.dropped),
    )
    figures.counter(f"{_PREFIX}_hand_restarts", "Times the hand was lost.", one(lambda: link.restarts))
    figures.counter(f"{_PREFIX}_hand_stuck", "Times it was killed as it stood still.", one(lambda: link.stuck))
