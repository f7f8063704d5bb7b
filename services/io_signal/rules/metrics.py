"""What rules did, counted."""

from collections.abc import Mapping
from typing import Final

from services.io_signal.rules.runner import RuleRunner
from shared.metrics import Distribution, Figures

_DELAY_BOUNDS_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)


def register_metrics(figures: Figures, runners: Mapping[str, RuleRunner]) -> Distribution:
    """Returns where runners count the delay of their first commands."""
    name = "framemesh_io_signal_rule"
    delays = Distribution(_DELAY_BOUNDS_SECONDS)
    figures.histogram(f"{name}_delay_seconds", "From an event's arrival to the first command of a rule.", delays)
    figures.counter(
        f"{name}_fired",
        "Events that a rule has acted on.",
        lambda: [({"rule": rule}, float(one.fired)) for rule, one in tuple(runners.items())],
    )
    figures.counter(
        f"{name}_failed_actions",
        "Actions of a rule that failed.",
        lambda: [({"rule": rule}, float(one.failed)) for rule, one in tuple(runners.items())],
    )
    figures.counter(
        f"{name}_left_out",
        "Events that a rule did not act on, by reason.",
        lambda: [
            ({"rule": rule, "reason": reason}, float(count))
            for rule, one in tuple(runners.items())
            for reason, count in tuple(one.left_out.items())
        ],
    )
    return delays
