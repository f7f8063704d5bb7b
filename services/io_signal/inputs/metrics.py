"""Metrics of inputs, read from their runners when scraped."""

from collections.abc import Callable, Mapping
from typing import Final

from services.io_signal.inputs.following import Following
from services.io_signal.inputs.runner import InputRunner
from shared.metrics import Figures, Sample

_PREFIX: Final = "framemesh_io_signal_input"


def register_metrics(figures: Figures, runners: Mapping[str, InputRunner], following: Following) -> None:
    """Register all that is read from the inputs of this node."""

    def each(read: Callable[[InputRunner], float]) -> Callable[[], list[Sample]]:
        return lambda: [({"input": name}, read(runner)) for name, runner in tuple(runners.items())]

    def left_out() -> list[Sample]:
        return [
            ({"input": name, "reason": reason}, float(count))
            for name, runner in tuple(runners.items())
            for reason, count in tuple(runner.actual.dropped.items())
        ]

    def frames() -> list[Sample]:
        return [
            ({"input": name, "result": result}, float(runner.joined[result]))
            for name, runner in tuple(runners.items())
            for result in ("joined", "none")
        ]

    figures.gauge(f"{_PREFIX}_active", "1 while its device is listened to.", each(lambda r: r.actual.state == "active"))
    figures.counter(f"{_PREFIX}_events", "Events of an input.", each(lambda r: r.actual.events))
    figures.counter(f"{_PREFIX}_left_out", "What an input delivered and was no event, by reason.", left_out)
    figures.counter(f"{_PREFIX}_frames", "Events with a stream: joined to a picture, or none was there.", frames)
    figures.gauge(
        f"{_PREFIX}_delay_seconds",
        "From the instant of an event to when it was told: the longest of the last 1,024.",
        each(lambda r: max(tuple(r.delays), default=0.0)),
    )
    figures.counter(
        f"{_PREFIX}_instants_left_out",
        "Instants that were not joined to a picture, as too many waited.",
        lambda: [({"stream": stream}, float(count)) for stream, count in tuple(following.left_out.items())],
    )
